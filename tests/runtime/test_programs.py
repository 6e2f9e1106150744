"""Whole programs from Python: containers, random generators, native values, functions, models, stores, artifacts."""

from __future__ import annotations

import copy
import io
import threading
import traceback
from collections import deque
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import RuntimeFault

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "crossing.hyb"
EXTERNS = {"halve": lambda x: x / 2, "shout": lambda s: s.upper() + "!"}


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE, externs=EXTERNS)


def test_whether_a_native_value_is_true(mod):
    """As in Python: by its length where it has one."""
    point, pairs = mod.Point(1), "list[(Point, int)]"
    assert mod.native(point, "Point") and mod.native([(point, 1)], pairs) and mod.ring.native(2)
    assert not mod.native([], pairs) and not mod.ring.native(0)
    with pytest.raises(TypeError, match="len"):
        len(mod.native(point, "Point"))


def test_externs(mod):
    assert mod.call_halve(3.0) == 2.5 and mod.call_shout("é") == "É!"
    with pytest.raises(ValueError, match="shout"):
        hybridc.load(SOURCE, externs={"halve": abs})

    def fails(x):
        raise OSError("disk")

    other = hybridc.load(SOURCE, externs=EXTERNS | {"halve": fails})
    with pytest.raises(OSError, match="disk") as e:
        other.call_halve(1.0)
    assert type(e.value) is OSError and 'crossing.hyb", line 19' in "".join(traceback.format_exception(e.value))
    numba = pytest.importorskip("numba")
    native = numba.cfunc("float64(float64)")(lambda x: x * 10)
    assert hybridc.load(SOURCE, externs=EXTERNS | {"halve": native}).call_halve(2.0) == 21


def test_json(mod, no_leak):
    j = mod.Json
    value = j.Fields({"b": j.Items([j.Null, j.Number(1.5), j.Text("é")]), "a": j.Fields({}), "": j.Null})
    found = mod.json(value)
    assert found == value and list(found.m) == ["b", "a", ""]
    with pytest.raises(ValueError, match="Json"):
        mod.json(j.Fields({"a": j.Items([j.Null, j.Fields({"x": j.Items([3])})])}))
    deep = j.Null
    for i in range(20_000):
        deep = j.Fields({"k": deep}) if i % 2 else j.Items([deep])
    assert mod.json(deep) == deep


def test_containers(mod, no_leak):
    m, s, d, h = {"a": 1}, {1, 2}, deque([5]), [(3, "c"), (1, "a")]
    with pytest.raises(AssertionError, match="as asked"):
        mod.grow(m, s, d, h, True)
    assert (m, s, d, h) == ({"a": 1}, {1, 2}, deque([5]), [(3, "c"), (1, "a")])
    assert mod.grow(m, s, d, h, False) == 2
    assert m == {"a": 1, "new": 1} and s == {1, 2, 99} and d == deque([0, 5])
    assert h == [(0, "first"), (1, "a"), (3, "c")] and mod.popped(h) == h
    with pytest.raises(TypeError, match="tuple"):
        mod.grow(m, s, (1,), h, False)
    with pytest.raises(ValueError, match=r"argument m\['a'\]: expected int, found str"):
        mod.grow({"a": "x"}, s, d, h, False)


def test_rng(mod):
    a, b = hybridc.rng(3), hybridc.rng(3)
    first = mod.draw(a)
    assert first == mod.draw(b) and mod.draw(a) != first
    c = hybridc.rng(3)
    assert isinstance(first[0], float) and mod.draws(3) != [] and mod.draw(c) == first
    with pytest.raises(TypeError):
        mod.draw(3)


def test_defaults(mod, no_leak):
    assert mod.defaults(1) == (1, "b", mod.Point(1.0, 2.0), [1, 2])
    assert mod.defaults(1, xs=[], b="c") == (1, "c", mod.Point(1.0, 2.0), [])
    for args, kw in (((), {}), ((1,), {"q": 2}), ((1, "b"), {"b": "c"})):
        with pytest.raises(TypeError):
            mod.defaults(*args, **kw)
    assert "xs" in str(mod.defaults.__signature__)


def test_native(mod, no_leak):
    pairs = [(mod.Point(float(i)), i) for i in range(100)]
    data = mod.native(pairs, "list[(Point, int)]")
    assert mod.total(data) == mod.total(pairs) == sum(i * i for i in range(100))
    mod.push(data, 7)
    assert len(data) == 101 and data[-1] == (mod.Point(7.0), 7) and len(pairs) == 100
    assert sum(n for _, n in data) == 4957 and data == data.to_python()
    with pytest.raises(IndexError):
        data[101]
    g = mod.ring(5)
    assert mod.edges(g) == 5 and "graph" in repr(g)
    with pytest.raises(ValueError):
        mod.native(pairs, "list[(Point")


def test_functions(mod, no_leak):
    xs = [1, 2, 3]
    assert mod.apply_to(xs, lambda x, i: x * i) == 3 and xs == [0, 2, 6]
    f = mod.compose(lambda x: x + 1, lambda x: x * 10)
    assert f(1) == 20 and mod.compose(f, f)(0) == 110
    with pytest.raises(ZeroDivisionError):
        mod.apply_to(xs, lambda x, i: x // i)
    assert xs == [0, 2, 6]
    with pytest.raises(ValueError, match="int"):
        mod.apply_to(xs, lambda x, i: "no")


def test_prints_of_workers(mod, no_leak):
    out = io.StringIO()
    with redirect_stdout(out):
        assert mod.chatter(5) == [0, 1, 4, 9, 16]
        with pytest.raises(AssertionError, match="seven"):
            mod.chatter(1000)
    assert out.getvalue() == "".join(f"at {i}\n" for i in [*range(5), *range(8)])


def test_model(mod, tmp_path):
    m = mod.Counter(d=2, seed=1)
    x = np.array([1, -1], np.float32)
    assert m.see("a", x) == 1
    with pytest.raises(AssertionError, match="as asked"):
        m.see("b", x, fail=True)
    assert m.facts()[:2] == (1, ["a"]) and (m.facts()[2] == m(x)).all() and m.d == 2 and "Counter" in repr(m)
    twin = copy.deepcopy(m)
    m.see("c", x)
    assert twin.facts()[1] == ["a"] and mod.step(m, x) == 3
    m.save(tmp_path / "m.safetensors")
    other = mod.Counter(2, seed=9)
    other.load(tmp_path / "m.safetensors")
    assert other.facts()[:2] == (3, ["a", "c", "step"]) and (other(x) == m(x)).all()
    other.save(tmp_path / "n.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()
    sd = m.state_dict()
    assert list(sd)[:3] == ["inner.weight", "inner.bias", "scale"] and sd["seen"] == 3
    for change, kind in (({"more": 1}, KeyError), ({"scale": np.zeros(2, np.float32)}, ValueError), ({"seen": "x"}, ValueError)):
        with pytest.raises(kind):
            m.load_state_dict({**sd, **change})
    with pytest.raises(KeyError):
        m.load_state_dict({})
    assert m.facts()[0] == 3 and isinstance(mod.fresh(1), mod.Counter)
    with pytest.raises(ValueError, match="expected int, found str"):
        mod.Counter("two")
    with pytest.raises(ValueError):
        m.value_and_grad("forward", x)


def test_threads(mod):
    m = mod.Counter(2)
    x = np.ones(2, np.float32)
    threads = [threading.Thread(target=lambda: [m.see("t", x) for _ in range(50)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert m.facts()[0] == 200


def test_store(mod, tmp_path):
    path = str(tmp_path / "facts")
    assert mod.remember(path, "one", mod.Point(1.0)) == 1 and mod.recall(path, "two") is None
    assert mod.recall(path, "one")[0] == mod.Point(1.0, 2.0)
    with hybridc.open_store(path) as s:
        assert list(s) == ["one"] and s["one"][0].y == 2.0 and s["one"][1][0].tolist() == [0.5, 0.5]
        s["two"] = (mod.Point(5.0), [])
        s.commit()
        s["three"] = (mod.Point(6.0), [])
        del s["one"]
        assert list(s) == ["two", "three"] and "one" not in s
    assert mod.recall(path, "two")[0].x == 5 and mod.recall(path, "three") is None and mod.recall(path, "one")
    for bad in (str(tmp_path), str(tmp_path / "no" / "such")):
        with pytest.raises(OSError) as e:
            mod.recall(bad, "x")
        assert isinstance(e.value, RuntimeFault)
    with pytest.raises(FileNotFoundError):
        hybridc.open_store(tmp_path / "absent")
