"""What a call that failed had written to a store is undone, in the order of keys too, and at the cost of what it wrote."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "stores.hyb"


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE)


def changed(entries, steps):
    """A dictionary after the steps of `Memory.many`."""
    entries = dict(entries)
    for key, n in steps:
        if n is not None:
            entries[key] = n
        else:
            entries.pop(key, None)
    return entries


def test_a_removal_is_undone_with_its_place(mod, tmp_path):
    m = mod.Memory(str(tmp_path / "memory"))
    m.many([("a", 1), ("b", 2), ("c", 3)], False)
    with pytest.raises(hybridc.HybError):
        m.many([("a", None), ("b", 9), ("d", 4), ("a", 5)], True)
    assert m.all() == [("a", 1), ("b", 2), ("c", 3)]
    m.commit()
    assert m.all() == [("a", 1), ("b", 2), ("c", 3)]


@pytest.mark.parametrize("seed", range(8))
def test_calls_that_fail_leave_no_trace(mod, tmp_path, seed):
    rand = random.Random(seed)
    path = str(tmp_path / "memory")
    m = mod.Memory(path)
    expected: dict[str, int] = {}
    committed = expected
    for _ in range(60):
        steps = [(rand.choice("abcdefgh"), rand.choice([None, rand.randrange(100)])) for _ in range(rand.randrange(6))]
        fail = rand.random() < 0.4
        if fail:
            with pytest.raises(hybridc.HybError):
                m.many(steps, fail)
        else:
            m.many(steps, fail)
            expected = changed(expected, steps)
        assert m.all() == list(expected.items())
        if rand.random() < 0.2:
            m.commit()
            committed = expected
    del m
    assert mod.Memory(path).all() == list(committed.items())


def test_a_call_keeps_what_it_wrote_itself(mod, tmp_path):
    """Not a copy of all that is not committed, which would make n calls cost n²."""
    from hybridc_runtime import store as stores

    path = str(tmp_path / "memory")
    m = mod.Memory(path)
    m.many([(str(i), i) for i in range(1000)], False)
    kept = []
    begin = stores.Store.end_call

    def end_call(self, call, failed):
        kept.append(len(self.before.get(call, ())))
        begin(self, call, failed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores.Store, "end_call", end_call)
        m.put("new", 1)
    assert kept == [1]
