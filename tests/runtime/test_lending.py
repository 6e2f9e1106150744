"""Arrays cross without a copy where nobody else can have them: on the way in if nothing of them stays, on the way out if
compiled code lets go of their memory."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import hybridc
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "lending.hyb"
N = 20_000
"""More than what is copied in any case."""


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE)


def ones(n=N):
    return np.ones(n, np.float32)


def weights(m):
    return m.state_dict()["w"]


def entry(mod, name):
    """The entry of a function of models, which is compiled at its first call."""
    return next(e for p in mod._parts for e in p.manifest.fns.get(name, ()))


@pytest.mark.parametrize("repeat", [1, 4])  # by the general way, and fast
def test_what_stays_is_copied(mod, repeat):
    m, x = mod.M(N), ones()
    for _ in range(repeat):
        mod.store_it(m, x)
    x[:] = 7
    assert (weights(m) == 1).all()
    rows = [np.zeros(N, np.float32), ones()]
    for _ in range(repeat):
        mod.store_one(m, rows)
    rows[1][:] = 7
    assert (weights(m) == 1).all()
    assert [p.stays for p in entry(mod, "store_it").params] == [False, True]
    assert entry(mod, "store_one").params[1].stays


@pytest.mark.parametrize("repeat", [1, 4])
def test_what_a_native_list_takes_over_is_copied(mod, repeat):
    xs = mod.many.native(N)
    for i in range(repeat):
        rows = [ones() * 2, ones() * 3]
        assert mod.joined(xs, rows) == 5 + 2 * i
        rows[0][:], rows[1][:] = 7, 8
        del rows
    assert [float(x[0]) for x in xs.to_python()] == [1, 1, 0] + [2, 3] * repeat


def test_what_is_looked_at_is_not(mod):
    m, x = mod.M(N), ones()
    for _ in range(4):
        assert mod.look_at_it(m, x) == N
    assert (weights(m) == 4).all()
    assert not entry(mod, "look_at_it").params[1].stays
    memory = mod.Memory()
    mod.train(m, memory, x)
    assert [p.stays for p in entry(mod, "train").params] == [False, False, False]


def test_what_is_remembered_is_new_each_time(mod):
    """Who holds what was remembered before has it as it was, and may write it; a fault changes nothing."""
    m, memory, g = mod.M(N), mod.Memory(), ones()
    held = []
    for step in range(1, 5):
        mod.train(m, memory, g)
        held.append(memory.kept.x)
        assert memory.steps == step and (memory.kept.x == step + 1).all() and memory.kept.x.flags.writeable
    held[1][:] = -1
    assert [h[0] for h in held] == [2, -1, 4, 5]
    before = weights(m)
    with pytest.raises(AssertionError, match="enough"):
        mod.train(m, memory, g)
    assert memory.steps == 4 and memory.kept.x is held[3] and (memory.kept.x == 5).all()
    assert (weights(m) == before).all()


def test_results_that_share_memory_are_apart(mod):
    pair = mod.twice(N)
    pair.a.x[:] = 5
    assert (pair.b.x == 1).all()
    one, other = mod.shared(N)
    one.x[:] = 5
    assert one is other or (other.x == 1).all()
    xs = mod.many(N)
    xs[0][:] = 5
    assert (xs[1] == 1).all() and (xs[2] == 0).all()
    found = mod.table(N)
    found[1][:] = 5
    assert (mod.table(N)[1] == 1).all() and (found[2] == 0).all()


def test_native_values_stay_what_they_are(mod):
    """Python's form of a native value is a copy of it, also where nobody else holds its memory."""
    pair, xs = mod.twice.native(N), mod.many.native(N)
    for value in (pair, copy.copy(pair)):
        value.to_python().a.x[:] = 5
        assert (value.to_python().a.x == 1).all()
    xs.to_python()[2][:] = 5
    xs[2][:] = 6
    assert (xs.to_python()[2] == 0).all() and (xs[2] == 0).all()


def test_memory_comes_back(mod):
    before = live_blocks(mod)
    kept = [mod.twice(N), mod.shared(N), mod.many(N), mod.table(N), mod.row(N)]
    assert live_blocks(mod) > before  # arrays over memory of compiled code
    view = kept[4][3:]
    del kept
    assert live_blocks(mod) == before + 1 and (view == 0).all()
    del view
    assert live_blocks(mod) == before
