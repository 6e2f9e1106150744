"""Fast calls of values that are more than numbers and arrays: each outcome is that of the slow way, and nothing leaks."""

from __future__ import annotations

import copy
import gc
import os
import signal
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import interrupts, memory
from hybridc_runtime.calls import Caller
from hybridc_runtime.fastcall import wrap

import hybridc
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "fast.hyb"


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE)


def awake():
    """The timer of interrupts runs: without it functions that may last are called the slow way."""
    end = time.monotonic() + 5
    while not memory.word(interrupts.AWAKE):
        assert time.monotonic() < end
        interrupts.start_timer()  # again: it may just be falling asleep
        time.sleep(0.001)


class Counted:
    """A fast callable of a function, and how often it took the slow way."""

    def __init__(self, mod, name):
        function = getattr(mod, name)
        self.slow, self.declined = function._call, 0
        callers = [(None, c) for _, c in function._overloads]
        self.fast = wrap(callers, self.decline, name)
        assert self.fast != self.decline

    def decline(self, *args):
        self.declined += 1
        return self.slow(*args)


def outcome(f, *args):
    """A value as text that tells types and bits apart, or what was raised."""
    try:
        return "value", exact(f(*args))
    except Exception as e:  # whatever it is, both ways are to raise it
        return type(e).__name__, str(e), [n for _, n, _ in getattr(e, "frames", [])]


def exact(v):
    if isinstance(v, np.ndarray):
        return "array", str(v.dtype), v.shape, v.tobytes()
    if isinstance(v, (list, tuple)):
        return type(v).__name__, [exact(x) for x in v]
    if isinstance(v, float):
        return "float", v.hex()
    if hasattr(v, "_hyb_name"):
        return v._hyb_name, [(k, exact(x)) for k, x in v.__dict__.items()]
    return type(v).__name__, repr(v)


class Text(str):
    pass


def values(mod):
    """By function: what a fast call serves, and what it leaves to the slow way."""
    S, P, T = mod.Shape, mod.Point, mod.Tree
    p = P(1.5, -3, "p")
    deep = T.Leaf(0)
    for i in range(300):
        deep = T.Node(deep, T.Leaf(i))
    dag = T.Leaf(1)
    for _ in range(10):
        dag = T.Node(dag, dag)
    odd = P(1.0, 2, "x")
    odd.extra = 3
    less = P(1.0, 2, "x")
    del less.name
    huge = list(range(1000))
    f32 = np.float32
    return {
        "floats": ([[], [1.5], [float("nan"), 1, -0.0], [0.5] * 1000, [np.float64(2)]], [(1.0,), [None], ["x"], [True], None, [10**400], [np.float16(2)]]),
        "singles": ([[0.1, 1e-50, float("inf")]], [[3.5e38], [1.0, "x"]]),
        "bytes": ([[0, 255], huge[:256]], [[256], [-1], [1.0], [True], [10**30]]),
        "flags": ([[True, False, np.bool_(True)]], [[1], [None], [np.int64(1)]]),
        "texts": ([["", "a", "é", "日本", "\0"], ["x" * 10000]], [["\ud800"], [Text("a")], [b"a"]]),
        "nested": ([[], [[]], [[1], [], [2, 3]], [huge] * 40], [[[1], [2.0]], [[1], None], [1]]),
        "pairs": ([[(1, "a"), (2, "b")]], [[(1,)], [(1, "a", 2)], [[1, "a"]], [("a", 1)]]),
        "maybe": ([None, 5, 2**63 - 1], [2**63, 1.0, "x", False]),
        "maybes": ([[None, "a", "", None]], [[1]]),
        "text": (["", "abc", "é" * 100, "a\0b"], ["\udc80", Text("a"), None, 1]),
        "shape": ([S.Circle(1.5), S.Box(1, 2), S.Unit], [S.Circle("x"), S, p, None, S.Box(1.0, None)]),
        "shapes": ([[S.Circle(1.5), S.Unit, S.Box(1, 2)] * 10], [[S.Unit, mod.Color.Red]]),
        "color": ([mod.Color.Red, mod.Color.Green], [S.Unit, 0, "Red", mod.Color]),
        "point": ([p, odd], [less, P("x", 1, ""), P(1.0, 2**31, ""), S.Unit, {"x": 1}]),
        "line": ([mod.Line(p, odd), mod.Line(p, p, np.ones(4, f32))], [mod.Line(p, 1), mod.Line(p, p, [1.0, 2.0])]),
        "tree": ([T.Leaf(3), T.Node(T.Leaf(1), T.Node(T.Leaf(2), T.Leaf(3)))], [T.Node(T.Leaf(1), None), T.Node(1, 2)]),
        "depth": ([T.Node(T.Leaf(1), T.Leaf(2))], [deep, dag]),
        "vector": ([np.arange(5, dtype=f32), np.zeros(0, f32), np.ones(100_000, f32)], [np.arange(3.0), [1.0, 2.0], np.ones((2, 2), f32), np.ones(6, f32)[::2]]),
        "tensors": ([[], [np.ones(3, f32), np.zeros(3, f32)]], [[np.ones((1, 3), f32)], [[1.0, 2.0, 3.0]]]),
        "large": ([0, 10, 1 << 20], []),
        "integers": ([np.arange(6, dtype=np.int32).reshape(3, 2)], [np.ones((3, 3), np.int32), np.ones((3, 2), np.int64)]),
        "masks": ([np.array([True, False])], [np.array([1, 0], np.uint8)]),
    }


NAMES = [
    "floats", "singles", "bytes", "flags", "texts", "nested", "pairs", "maybe", "maybes", "text", "shape", "shapes",
    "color", "point", "line", "tree", "depth", "vector", "tensors", "large", "integers", "masks",
]


@pytest.mark.parametrize("name", NAMES)
def test_values_as_on_the_slow_way(mod, name):
    awake()
    f = Counted(mod, name)
    good, others = values(mod)[name]
    for v in good:
        awake()
        assert outcome(f.fast, v) == outcome(f.slow, v)
        assert outcome(f.slow, v)[0] == "value"
    assert not f.declined
    for i, v in enumerate(others):
        assert outcome(f.fast, v) == outcome(f.slow, v), i
        assert f.declined == i + 1, i


def test_every_kind_is_tried(mod):
    assert set(NAMES) == set(values(mod))


def test_a_value_deeper_than_machine_code_reads(mod):
    """The result is deeper than what is read here, and Python reads it after the call."""
    t = mod.Tree.Leaf(0)
    for i in range(90):
        t = mod.Tree.Node(t, mod.Tree.Leaf(i))
    f = Counted(mod, "tree")
    assert f.fast(t) == t and not f.declined
    for i in range(5000):
        t = mod.Tree.Node(mod.Tree.Leaf(i), t)
    n = mod.native(t, "Tree")
    assert f.fast(n) == t and not f.declined
    assert f.fast(t) == t and f.declined == 1


def test_a_part_with_many_owners_is_one_object(mod):
    t = mod.Tree.Leaf(0)
    for _ in range(60):
        t = mod.Tree.Node(t, t)
    n = mod.native(t, "Tree")
    found = Counted(mod, "tree").fast(n)
    for _ in range(60):
        assert found.left is found.right
        found = found.left
    assert found == mod.Tree.Leaf(0)


RECURSIVE = """
enum Doc:
    Num(v: f64)
    Some(d: Doc, rest: Doc?)
    Rows(xs: list[Doc], p: Part?)
    Named(m: map[str, Doc])

enum Part:
    End
    Of(xs: list[Doc])

fn doc(n: int) -> Doc:
    return Some(Rows([Num(f64(n))], Of([Num(0.5)])), Named({"a": Num(1.5)}))

fn part(n: int) -> Part:
    return Of([doc(n)])

fn same(d: Doc, p: Part) -> (Doc, Part):
    return (d, p)
"""


def test_an_enum_that_holds_itself_where_nothing_crosses_fast(tmp_path):
    """In a map; what is made on the way there is not used later."""
    (tmp_path / "recursive.hyb").write_text(RECURSIVE)
    mod = hybridc.load(tmp_path / "recursive.hyb")
    D, P = mod.Doc, mod.Part
    doc = D.Some(D.Rows([D.Num(2.0)], P.Of([D.Num(0.5)])), D.Named({"a": D.Num(1.5)}))
    for _ in range(5):
        awake()
        assert mod.doc(2) == doc and mod.part(2) == P.Of([doc])
        assert mod.same(mod.doc(2), mod.part(2)) == (doc, P.Of([doc]))
        assert mod.same(D.Num(1), P.End) == (D.Num(1.0), P.End)


# ---- mut
def mutated(f, *args):
    """What a call does to copies of its arguments."""
    given = [copy.deepcopy(a) for a in args]
    result = outcome(f, *given)
    return result, [exact(a) for a in given]


def test_mut_arguments_as_on_the_slow_way(mod):
    awake()
    P, f32 = mod.Point, np.float32
    frozen = np.zeros(3, f32)
    frozen.flags.writeable = False
    cases = {
        "push": [([1, 2], 2), ([], 0), ([1], 5), ((1, 2), 1), (3, 1), ([1.0], 0)],
        "move": [(P(1.0, 7, "a"), 2.0, 2), (P(1.0, 7, "a"), 2.0, 0), (P(1.0, 7, "a"), "x", 1), (None, 1.0, 1)],
        "fill": [(np.zeros(3, f32), 1.5), (np.zeros(0, f32), 1.5), ([1.0, 2.0], 3.0), (np.zeros(3), 1.0), (frozen, 1.0)],
        "grow": [(np.ones(3, f32), 3), (np.ones(3, f32), 4)],
        "both": [(["a"], P(1.0, 2, "b")), ([], P(0.0, 0, "")), (["a"], P(1.0, 2, 3))],
    }
    fast = {"push": 3, "move": 2, "fill": 2, "grow": 2, "both": 2}
    for name, rows in cases.items():
        f = Counted(mod, name)
        for i, args in enumerate(rows):
            awake()
            assert mutated(f.fast, *args) == mutated(f.slow, *args), (name, i)
            assert (f.declined == 0) == (i < fast[name]), (name, i)
    with pytest.raises(TypeError, match="a read-only numpy.ndarray cannot be changed"):
        mod.fill(frozen, 1.0)


def test_a_fault_leaves_mut_arguments_alone(mod):
    awake()
    p = mod.Point(1.0, 7, "a")
    with pytest.raises(ZeroDivisionError):
        Counted(mod, "move").fast(p, 1.0, 0)
    assert p == mod.Point(1.0, 7, "a")
    xs = [1]
    with pytest.raises(IndexError):
        Counted(mod, "push").fast(xs, 5)
    assert xs == [1]
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"shape \[4\]"):
        Counted(mod, "grow").fast(x, 4)
    assert x.tolist() == [1, 1, 1]


def test_random_generators(mod):
    awake()
    f = Counted(mod, "draw")
    a, b = hybridc.rng(7), hybridc.rng(7)
    assert [f.fast(a) for _ in range(50)] == [f.slow(b) for _ in range(50)]
    assert f.declined == 1  # the first has a seed only


# ---- native values
def test_native_values(mod):
    awake()
    f, g = Counted(mod, "total"), Counted(mod, "push")
    xs = mod.native([1, 2, 3], "list[int]")
    assert f.fast(xs) == 6 and not f.declined
    assert g.fast(xs, 3) == 3 and g.fast(xs, 3) == 3 and not g.declined
    assert xs.to_python() == [1, 2, 3, 3, 3] and f.fast(xs) == 12
    with pytest.raises(IndexError):
        g.fast(xs, 77)
    assert xs.to_python() == [1, 2, 3, 3, 3]
    assert outcome(f.fast, mod.native([1.0], "list[f64]")) == outcome(f.slow, mod.native([1.0], "list[f64]"))
    assert f.declined == 1


# ---- models
def is_fast(m, name):
    return type(vars(type(m)).get(name)).__name__ == "instancemethod"


def test_methods(mod):
    awake()
    m = mod.Cell(3)
    x = np.arange(3, dtype=np.float32)
    two, three = np.ones((2, 3), np.float32), np.ones((4, 2, 3), np.float32)
    for _ in range(3):
        awake()
        assert m(x).tolist() == m.forward(x).tolist() == [0, 1, 2]
        assert m(two).shape == (2, 3) and m(three).shape == (4, 2, 3) and m.seen() == 0
    assert is_fast(m, "forward") and is_fast(m, "__call__") and is_fast(m, "seen")
    assert m(x=x).tolist() == [0, 1, 2] and m([1.0, 2.0, 3.0]).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="argument x"):
        m(np.ones(4, np.float32))
    with pytest.raises(TypeError, match="x"):
        m()
    other = mod.Cell(5)
    y = np.ones(5, np.float32)
    for _ in range(3):
        assert other(y).shape == (5,) and m(x).shape == (3,)
    with pytest.raises(ValueError, match="argument x"):
        other(x)
    with pytest.raises((TypeError, AttributeError)):
        mod.Cell.forward()
    with pytest.raises((TypeError, AttributeError)):
        mod.Cell.forward(x, x)


def test_calls_with_defaults_are_fast(mod, monkeypatch):
    awake()
    m, x, f = mod.Defaulted(3), np.ones(3, np.float32), mod.defaulted
    rows = np.ones((2, 3), np.float32)
    expected = [[3, 3, 3], [4, 4, 4], [12, 12, 12], [1, 1, 1]]

    def calls():
        results = [m(x), m(x, 3), m(x, y=x * 10), m(on=False, x=x)]
        assert [r.tolist() for r in results] == expected and m(rows).tolist() == [[3] * 3] * 2
        assert [f(x), f(x, 3), f(x, y=x * 2), f(k=0, x=x, names=["a", "b"])] == [10.0, 13.0, 13.0, 5.0]

    calls()
    calls()
    assert [m.held(x), m.held(x), m.held(x, names=[]), m.held(z=x, x=x)] == [7, 7, 6, 4]
    with monkeypatch.context() as patch:
        for kind, name in ((type(m), "_enter"), (type(f), "_choose"), (Caller, "__call__")):
            patch.setattr(kind, name, lambda *_: pytest.fail("on the slow way"))
        awake()
        calls()
    for wrong, why in (((x, "a"), "argument k"), ((x, 1, 2), "argument y"), ((), "needs x"), ((x, 1, x, [], 3), "takes")):
        for call in (m, f):
            with pytest.raises((TypeError, ValueError), match=why):
                call(*wrong)


def test_methods_that_write_state(mod):
    awake()
    m, n = mod.Cell(3), mod.Cell(3)
    x = np.ones(3, np.float32)
    for i in range(1, 6):
        awake()
        assert m.step(x, 1).tolist() == [1, 1, 1] and m.seen() == i and n.seen() == 0
    assert is_fast(m, "step")
    state = m.state_dict()
    for _ in range(2):
        awake()
        with pytest.raises(ZeroDivisionError):
            m.step(x, 0)
    assert m.history() == [1.0] * 5 and m.seen() == state["calls"] == 5
    assert m._lock.acquire(False)
    m._lock.release()


def test_a_subclass_keeps_its_own_methods(mod):
    class Mine(mod.Cell):
        def forward(self, x):
            return super().forward(x) + 1

    awake()
    m = Mine(3)
    x = np.ones(3, np.float32)
    assert [m.forward(x).tolist() for _ in range(4)] == [[2, 2, 2]] * 4
    assert mod.Cell(3).forward(x).tolist() == [1, 1, 1]


def test_models_as_arguments(mod):
    awake()
    m = mod.Cell(3)
    f, g = Counted(mod, "weight"), Counted(mod, "double")
    assert f.fast(m) == 1 and g.fast(m) is None and f.fast(m) == 2 and not f.declined + g.declined
    n = copy.copy(m)
    g.fast(m)
    assert f.fast(m) == 4 and f.fast(n) == 2
    assert outcome(f.fast, mod.Cell(4)) == outcome(f.slow, mod.Cell(4))
    assert outcome(f.fast, None) == outcome(f.slow, None)


def test_a_method_waits_for_another_thread(mod):
    awake()
    m = mod.Cell(3)
    x = np.ones(3, np.float32)
    m.step(x, 1), m.step(x, 1)
    seen = []
    m._lock.acquire()
    thread = threading.Thread(target=lambda: seen.append(m.step(x, 1)))
    thread.start()
    thread.join(0.1)
    assert not seen and m.seen() == 2
    m._lock.release()
    thread.join()
    assert len(seen) == 1 and m.seen() == 3


def test_many_threads_write_one_model(mod):
    awake()
    m = mod.Cell(3)
    x = np.ones(3, np.float32)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda: [m.step(x, 1) for _ in range(500)]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert m.seen() == 2000 and len(m.history()) == 2000


# ---- calls that call themselves
def test_recursion_is_counted(tmp_path):
    path = tmp_path / "deep.hyb"
    path.write_text(
        "fn down(n: int) -> int:\n    return 0 if n == 0 else 1 + down(n - 1)\n\n"
        "fn forever(n: int) -> int:\n    return forever(n + 1) + 1\n\n"
        "fn spin(n: int) -> int:\n    var i = n\n    while i > 0:\n        i = max(1, down(i % 7))\n    return i\n"
    )
    mod = hybridc.load(str(path))
    awake()
    f, g = Counted(mod, "down"), Counted(mod, "forever")
    assert f.fast(9000) == 9000 and not f.declined
    for _ in range(2):
        awake()
        with pytest.raises(RecursionError):
            g.fast(0)
    assert f.fast(100) == 100 and not f.declined + g.declined
    found = []
    thread = threading.Thread(target=lambda: found.append(f.fast(50)))
    thread.start()
    thread.join()
    assert found == [50] and f.declined == 1  # the context knows the stack of one thread
    threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
    awake()
    with pytest.raises(KeyboardInterrupt):
        Counted(mod, "spin").fast(5)


# ---- memory
def test_nothing_leaks(mod):
    awake()
    rows = [(Counted(mod, name), good, others) for name, (good, others) in values(mod).items()]
    push, both, draw = Counted(mod, "push"), Counted(mod, "both"), Counted(mod, "draw")
    m, g, x = mod.Cell(3), hybridc.rng(1), np.ones(3, np.float32)
    xs = mod.native([1, 2, 3], "list[int]")

    def work(n):
        for _ in range(n):
            awake()
            for f, good, others in rows:
                for v in (*good, *others[:2]):
                    outcome(f.fast, v)
            outcome(push.fast, [1, 2], 1)
            outcome(push.fast, [1, 2], 9)
            outcome(push.fast, xs, 99)
            outcome(both.fast, ["a"], mod.Point(1.0, 2, "b"))
            draw.fast(g)
            m.step(x, 1)
            outcome(m.step, x, 0)

    def live():
        gc.collect()
        return live_blocks(mod)

    def growth():
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        work(6)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - held

    work(3)
    before = live()
    tracemalloc.start()
    work(3)
    # What leaks grows every time; other threads of the test process allocate now and then.
    grown = [growth()]
    while min(grown) >= 5_000 and len(grown) < 8:
        grown.append(growth())
    tracemalloc.stop()
    # A state that grows is one list with one block.
    assert live() == before and min(grown) < 5_000, grown
