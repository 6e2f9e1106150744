"""Fast calls: whatever the C function does not serve itself, and whatever goes wrong, is as on the slow way."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import sys
import threading
import time
import tracemalloc
import types

import numpy as np
import pytest
from hybridc_runtime import fastcall, fastplan, interrupts, memory
from hybridc_runtime.fastcall import wrap

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """\
fn first(a: f64, b: f64) -> f64:
    return a

fn single(x: f32) -> f32:
    return x

fn whole(n: int) -> int:
    return n

fn small(n: i32) -> i32:
    return n

fn byte(n: u8) -> u8:
    return n

fn flip(b: bool) -> bool:
    return not b

fn pair(a: int, b: f64, c: bool, d: u8) -> (int, f64, bool, u8):
    return (a, b, c, d)

fn nothing(a: int):
    pass

fn sizes(x: f32[N, M]) -> int:
    return N * 1000 + M

fn fixed(x: f64[3]) -> f64:
    return x[1]

fn at(x: int[N], i: int) -> int:
    return x[i]

fn halves(x: f16[N], y: u8[K], z: bool[K], w: i32[K]) -> int:
    return N + K

fn divide(a: int, b: int) -> int:
    return a // b

fn outer(a: int, b: int) -> int:
    return divide(a, b) + 1

fn count(n: int) -> int:
    var total = 0
    for i in range(n):
        total += i % 3
    return total

fn spin(n: int) -> int:
    var i = 0
    while i >= 0:
        i = (i + n) % 1000
    return i

fn recursive(n: int) -> int:
    return n if n < 2 else recursive(n - 1) + recursive(n - 2)

fn defaults(a: int, b: int = 7) -> int:
    return a + b

fn long_message(n: int) -> int:
    if n < 0:
        var i = 0
        while i > n:
            i -= 1
        raise f"{i}"
    return n

fn short_message(n: int) -> int:
    if n < 0:
        raise f"{n} is negative"
    return n

fn says(n: int) -> int:
    print(f"{n}")
    return n
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("fast") / "fast.hyb"
    path.write_text(SOURCE)
    return hybridc.load(str(path))


def fast(mod, name):
    """The function, served by C from now on."""
    function = getattr(mod, name)
    caller = function._single[1]
    function._serve(wrap([(None, caller)], function._call, name))
    assert is_fast(function)
    return function


def is_fast(function):
    return isinstance(function.func, types.BuiltinFunctionType)


def awake():
    """The timer of interrupts runs: without it functions that may last are called the slow way."""
    interrupts.start_timer()
    end = time.monotonic() + 5
    while not memory.word(interrupts.AWAKE):
        assert time.monotonic() < end
        time.sleep(0.001)


class Slow:
    """Counts the calls that come the slow way."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function._call(*args, **kwargs)


def counted(mod, name):
    function = getattr(mod, name)
    caller = function._single[1]
    slow = Slow(function)
    made = wrap([(None, caller)], slow, name)
    assert made is not slow
    return made, slow


def outcome(f, *args, **kwargs):
    """What a call gives, to the bit and the type, or what it raises."""
    try:
        value = f(*args, **kwargs)
    except Exception as e:  # whatever it is, both ways are to raise it
        return type(e), str(e), getattr(e, "frames", None)
    parts = value if isinstance(value, tuple) else (value,)
    return [(type(v), np.float64(v).tobytes() if isinstance(v, float) else v) for v in parts]


# ---- which functions
def test_paces(mod):
    paces = {name: entries[0].pace for name, entries in mod._parts[0].manifest.fns.items()}
    assert {n for n, p in paces.items() if p == "plain"} == {"count", "spin", "long_message"}
    assert {n for n, p in paces.items() if p == "deep"} == {"recursive"}
    assert {n for n, p in paces.items() if not p} == {"says"}


def test_there_need_be_no_fast_calls(mod, monkeypatch):
    monkeypatch.setattr(fastplan, "ARRAY_FLAGS", fastplan.ARRAY_FLAGS + 4)
    assert not fastcall._layouts_agree()
    monkeypatch.setattr(fastcall, "_native", lambda: None)
    f = mod.short_message
    assert [f(1), f(2), f(3)] == [1, 2, 3] and not is_fast(f)
    monkeypatch.undo()
    assert fastcall._layouts_agree()
    g = fast(mod, "short_message")
    assert g(1) == 1 and outcome(g, -5) == outcome(g._call, -5)
    assert outcome(g, -5)[1] == "-5 is negative"


def test_the_second_call_makes_it_fast(mod):
    f = mod.defaults
    assert not is_fast(f)
    assert (f(1), f(1, 2), f(1, 2), f(a=1, b=3), f(2)) == (8, 3, 3, 4, 9)
    assert is_fast(f)
    assert mod.recursive(10) == mod.recursive(10) == 55
    assert is_fast(mod.recursive)
    assert mod.says(1) == mod.says(1) == mod.says(1) == 1
    assert not is_fast(mod.says)


def test_it_still_looks_like_a_function(mod):
    f = fast(mod, "first")
    assert repr(f) == "<hyb function fast.first>" and f.__name__ == "first"
    assert list(inspect.signature(f).parameters) == ["a", "b"]
    assert f.native(1.0, 2.0) is not None
    assert f(*[1.0, 2.0]) == 1.0 and list(map(f, [1.0, 2.0], [3.0, 4.0])) == [1.0, 2.0]
    f.note = "kept"
    assert f.note == "kept"


# ---- values
INF, NAN = float("inf"), float("nan")


class Index:
    def __index__(self):
        return 5


class Integer(int):
    pass


class Number(float):
    pass


INTS = [
    0, -1, 1, 127, 128, 255, 256, -128, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, 2**63,
    -(2**63), -(2**63) - 1, 10**30, -(10**30),
    True, False, Integer(3), Index(), np.int64(4), np.int64(-300), np.int64(2**31), np.int32(4), np.uint8(4), np.float32(1.0), np.array(3), 1.0, "1",
    None, [1],
]
FLOATS = [
    0.0, -0.0, 1.5, -1.0, 5e-324, 1e-50, 3.4028234663852886e38, 3.4028235677973362e38, 3.4028235677973366e38, 3.5e38,
    -3.5e38, 1.7e308, INF, -INF, NAN, 0.1, 1, -1, 0, 2**53 + 1, 2**70, 10**308, 10**309, -(10**400), True, Number(2.5),
    np.float64(1.5), np.float64(3.5e38), np.float64(NAN), np.float32(0.1), np.float32(INF), np.float16(2), np.int64(3), np.bool_(True), np.array(2.0), "1.0", None, 1j, Integer(4),
]
BOOLS = [True, False, 0, 1, 1.0, None, np.bool_(True), np.bool_(False), "x", np.array(True)]


@pytest.mark.parametrize(
    ("name", "values"),
    [("whole", INTS), ("small", INTS), ("byte", INTS), ("single", FLOATS), ("flip", BOOLS), ("nothing", INTS)],
)
def test_scalars_as_on_the_slow_way(mod, name, values):
    f = fast(mod, name)
    for v in values:
        assert outcome(f, v) == outcome(f._call, v), v


def test_floats_as_on_the_slow_way(mod):
    f = fast(mod, "first")
    for v in FLOATS:
        assert outcome(f, v, 1.0) == outcome(f._call, v, 1.0), v
        assert outcome(f, 1.0, v) == outcome(f._call, 1.0, v), v


def test_common_scalars_do_not_take_the_slow_way(mod):
    for name, args in [
        ("whole", (2**63 - 1,)), ("whole", (-(2**63),)), ("small", (-(2**31),)), ("byte", (255,)),
        ("single", (3.4e38,)),
        ("single", (INF,)), ("single", (NAN,)), ("first", (1, -1)), ("flip", (True,)), ("nothing", (1,)),
        ("first", (-1.0, 2**70)), ("whole", (np.int64(-5),)), ("first", (np.float64(0.1), np.float32(0.1))),
        ("single", (np.float64(2.5),)), ("flip", (np.bool_(True),)), ("flip", (np.float64(1) < 0,)),
    ]:
        f, slow = counted(mod, name)
        f(*args)
        assert not slow.calls, (name, args)


def test_results(mod):
    f = fast(mod, "pair")
    assert outcome(f, -5, 2.5, True, 200) == outcome(f._call, -5, 2.5, True, 200)
    assert f(-5, 2.5, True, 200) == (-5, 2.5, True, 200)
    assert fast(mod, "nothing")(1) is None


@pytest.mark.parametrize(
    ("args", "names"),
    [((), {}), ((1.0,), {}), ((1.0, 2.0, 3.0), {}), ((1.0,), {"b": 2.0}), ((), {"b": 1.0, "a": 2.0}),
     ((1.0, 2.0), {"c": 1.0}), ((1.0,), {"a": 2.0}), ((1.0, 2.0), {})],
)
def test_counts_and_names(mod, args, names):
    f = fast(mod, "first")
    assert outcome(f, *args, **names) == outcome(f._call, *args, **names)


# ---- arrays
class Sub(np.ndarray):
    pass


def test_arrays(mod):
    base = np.arange(60, dtype=np.float32).reshape(6, 10)
    f, slow = counted(mod, "sizes")
    for a in (base, base[2:4], np.zeros((0, 3), np.float32), base.T.copy()):
        assert f(a) == a.shape[0] * 1000 + a.shape[1]
    assert not slow.calls
    unaligned = np.frombuffer(bytearray(25), np.uint8)[1:].view(np.float32).reshape(2, 3)
    assert not unaligned.flags.aligned
    others = [
        base[:, ::2], base.T, base.view(Sub), base.astype(">f4"), base.astype(np.float64), base[0], base.tolist(),
        base[None], unaligned, np.float32(1), None, "x", 3, memoryview(base), np.ma.masked_array(base),
    ]
    for i, a in enumerate(others):
        before = slow.calls
        assert outcome(f, a) == outcome(mod.sizes._call, a), i
        assert slow.calls == before + 1, i


def test_arrays_of_other_elements(mod):
    f, slow = counted(mod, "halves")
    args = (np.zeros(4, np.float16), np.zeros(3, np.uint8), np.zeros(3, bool), np.zeros(3, np.int32))
    assert f(*args) == 7 and not slow.calls
    for i in range(4):
        wrong = (*args[:i], args[i].astype(np.int64), *args[i + 1:])
        assert outcome(f, *wrong) == outcome(mod.halves._call, *wrong)
    mismatch = (*args[:3], np.zeros(5, np.int32))
    assert outcome(f, *mismatch)[:2] == outcome(mod.halves._call, *mismatch)[:2]
    assert outcome(f, *mismatch)[0] is not list


def test_static_dimensions(mod):
    f, slow = counted(mod, "fixed")
    assert f(np.array([1.0, 2.0, 3.0])) == 2.0 and not slow.calls
    for n in (0, 2, 4):
        assert outcome(f, np.zeros(n)) == outcome(mod.fixed._call, np.zeros(n))


# ---- faults
def test_faults_name_their_lines(mod):
    f = fast(mod, "divide")
    line = SOURCE[:SOURCE.index("a // b")].count("\n") + 1
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as e:
            f(1, 0)
        assert [(n, name) for _, n, name in e.value.frames] == [(line, "divide")]
        assert f(7, 2) == 3
    g = fast(mod, "outer")
    assert outcome(g, 1, 0) == outcome(g._call, 1, 0) and len(outcome(g, 1, 0)[2]) == 2
    h, slow = counted(mod, "at")
    x = np.arange(5)
    assert (h(x, 2), h(x, -1)) == (2, 4)
    for i in (5, -6, 2**62):
        assert outcome(h, x, i) == outcome(mod.at._call, x, i) and outcome(h, x, i)[0].__name__ == "IndexError"
    assert not slow.calls


def test_faults_in_many_threads(mod):
    f = fast(mod, "divide")
    wrong = []

    def work(k):
        for i in range(1500):
            try:
                if i % 3 == 0:
                    f(i, 0)
                    wrong.append("no fault")
                elif f(i * k, 2) != i * k // 2:
                    wrong.append(i)
            except ZeroDivisionError as e:
                if len(e.frames) != 1:
                    wrong.append(e.frames)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


# ---- functions that may last
def test_lasting_calls_let_other_threads_run(mod):
    f, slow = counted(mod, "count")
    awake()
    expected = f(100)
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.002)

    t = threading.Thread(target=tick)
    t.start()
    awake()
    slow.calls = 0
    start = time.monotonic()
    f(60_000_000)
    end = time.monotonic()
    done.set()
    t.join()
    assert not slow.calls and expected == 99
    if end - start > 0.1:
        assert sum(start < x < end for x in ticks) > 3


def test_one_context_serves_one_thread(mod):
    f, slow = counted(mod, "count")
    awake()
    results = []
    threads = [threading.Thread(target=lambda: results.append(f(3_000_000))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(results) == {3_000_000} and len(results) == 4


def test_an_interrupt_ends_a_fast_call(mod):
    f, slow = counted(mod, "spin")
    awake()
    threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        f(1)
    assert time.monotonic() - start < 5 and not slow.calls
    assert fast(mod, "whole")(3) == 3


def test_without_the_timer_lasting_calls_go_the_slow_way(mod):
    f, slow = counted(mod, "count")
    before = memory.word(interrupts.AWAKE)
    memory.set_word(interrupts.AWAKE, 0)
    try:
        assert f(10) == 9 and slow.calls == 1
    finally:
        memory.set_word(interrupts.AWAKE, before)


# ---- memory
def test_nothing_leaks(mod):
    f, g, h = fast(mod, "first"), fast(mod, "sizes"), fast(mod, "pair")
    d = fast(mod, "divide")
    x, big, a = 1234.5, 10**15, np.zeros((2, 3), np.float32)
    program = mod._parts[0].program

    def work(n):
        for _ in range(n):
            f(x, x)
            g(a)
            h(big, x, True, 3)
        for _ in range(n // 100):
            try:
                d(big, 0)
            except ZeroDivisionError:
                pass
            try:
                f(x, "no")
            except TypeError:
                pass

    work(1000)
    gc.collect()
    live, counts = program.live_blocks(), [sys.getrefcount(o) for o in (x, big, a)]
    tracemalloc.start()
    work(1000)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work(100_000)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20_000
    assert [sys.getrefcount(o) for o in (x, big, a)] == counts
    assert program.live_blocks() == live


def test_a_module_that_is_gone_leaves_nothing(tmp_path):
    path = tmp_path / "gone.hyb"
    path.write_text("fn one(n: int) -> int:\n    return n + 1\n")
    cells = len(interrupts.cells)
    module = hybridc.load(str(path))
    f = fast(module, "one")
    assert f(1) == 2 and len(interrupts.cells) == cells + 1
    del module
    gc.collect()
    assert f(2) == 3
    del f
    gc.collect()
    assert len(interrupts.cells) == cells
