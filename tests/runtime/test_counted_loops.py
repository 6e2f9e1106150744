"""Counted loops: checks of indices taken out of them, strips between polls, buffers that are made one's own before."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.ir import Loop, Op
from hybridc.core.walk import statements

SOURCE = """
fn total(xs: list[int], a: int, b: int) -> int:
    var t = 0
    for i in range(a, b):
        t += xs[i]
    return t

fn ahead(xs: list[int], a: int, b: int) -> int:
    var t = 0
    for i in range(a, b):
        t += xs[i + 2] * 10 + xs[i - 1]
    return t

fn shifted(xs: list[int], a: int, b: int, by: int) -> int:
    var t = 0
    for i in range(a, b):
        t += xs[i + by] + 3 * xs[i - by] + 100 * xs[by]
    return t

fn fill(mut xs: list[int], a: int, b: int):
    for i in range(a, b):
        xs[i] = i * i

fn kept(xs: list[int], a: int, b: int) -> list[int]:
    var ys = xs
    for i in range(a, b):
        ys[i] = ys[i] + 1
    for i in range(len(xs)):
        ys[i] += 10 * xs[i]
    return ys

fn raised(x: f32[N], a: int, b: int) -> (f32[N], f32[N]):
    var y = x
    for i in range(a, b):
        y[i] = y[i] + 1.0
    return (x, y)

fn marks(bits: int, n: int) -> f32[?]:
    var x: f32[64] = zeros()
    for i in range(n):
        if bits >> i & 1 == 1:
            x[i] = x[i] + 1.0
            x[63 - i] += 2.0
    return x

fn both(x: f32[N]) -> (f32[N], f32[N], f32):
    # Before each change there is another owner.
    var y: f32[N] = zeros()
    var before = y
    for i in range(N):
        before = y
        y[i] = x[i]
    return (before, y, y[0])

fn halves(n: int) -> (int, int, int, int):
    return (n // 2, n % 2, n // 8, n % 8)

fn spin(n: int) -> int:
    var t = 0
    for i in range(n):
        t = t * 31 + i
        t = t ^ (t >> 3)
    return t

fn places(n: int) -> int:
    var t = 0
    for i in range(n):
        t = t * 31 + i // 7 % 9 + i % 27 // 3
        for k in range(1, 5):
            t = t ^ (t >> k)
    return t

fn alike(a: str, b: str) -> int:
    var t = 0
    for i in range(len(a)):
        if a[i] == b[i]:
            t += i
    return t

fn seldom(n: int, least: int) -> int:
    var xs: list[int] = []
    var t = 0
    for i in range(n):
        if t >= least:
            xs.push(i)
        t = (t * 31 + i) & 1023
    return len(xs)

fn slowly(n: int) -> int:
    var t = 0
    for i in range(n):
        if t < 0:
            t += 1
        else:
            t += len([i & 7] * 500_000)
    return t
"""
EDGES = [0, 1, 2, 5, -1, -3, 2**62, -(2**62), 2**63 - 1, -(2**63)]


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("loops") / "loops.hyb"
    path.write_text(SOURCE)
    return hybridc.load(str(path))


def outcome(f, *args):
    try:
        return f(*args)
    except IndexError as e:
        return str(e).splitlines()[0]


def at(xs, i):
    if -len(xs) <= i < len(xs):
        return xs[i]
    raise IndexError(f"index {(i + 2**63) % 2**64 - 2**63} is out of range for length {len(xs)}")


def wrapped(n):
    return (n + 2**63) % 2**64 - 2**63


def python(name, xs, a, b, by=0):
    """What a loop gives; few turns or a fault, since huge ranges leave the list at once."""
    t = 0
    i = a
    while i < b:
        match name:
            case "total":
                t += at(xs, i)
            case "ahead":
                t += at(xs, wrapped(i + 2)) * 10 + at(xs, wrapped(i - 1))
            case "shifted":
                t += at(xs, wrapped(i + by)) + 3 * at(xs, wrapped(i - by)) + 100 * at(xs, by)
        i += 1
    return t


def test_faults_stay_where_they_are(mod):
    for xs in ([], [7], [3, 1, 4, 1, 5, 9]):
        for a, b in itertools.product(EDGES, EDGES):
            assert outcome(mod.total, xs, a, b) == outcome(python, "total", xs, a, b), (xs, a, b)
            assert outcome(mod.ahead, xs, a, b) == outcome(python, "ahead", xs, a, b), (xs, a, b)
            for by in EDGES:
                assert outcome(mod.shifted, xs, a, b, by) == outcome(python, "shifted", xs, a, b, by), (xs, a, b, by)


def test_a_list_is_written_up_to_the_fault(mod):
    xs = [0] * 5
    mod.fill(xs, 1, 4)
    assert xs == [0, 1, 4, 9, 0]
    mod.fill(xs, -2, 3)
    assert xs == [0, 1, 4, 4, 1]
    with pytest.raises(IndexError):
        mod.fill([], 0, 1)
    big = list(range(10_000))
    mod.fill(big, 0, len(big))
    assert big == [i * i for i in range(10_000)]


def test_what_is_shared_is_copied_once(mod):
    xs = list(range(9000))
    assert mod.kept(xs, 0, 9000) == [x + 1 + 10 * x for x in xs]
    assert mod.kept([], 0, 0) == []
    assert mod.kept([1, 2], 1, 1) == [11, 22]


def test_a_tensor_that_is_shared_is_copied_once(mod):
    x = np.arange(9000, dtype=np.float32)
    kept, found = mod.raised(x, 0, 9000)
    np.testing.assert_array_equal(kept, np.arange(9000))
    np.testing.assert_array_equal(found, np.arange(9000) + 1)
    kept, found = mod.raised(x, 5000, 9000)
    assert found[4999] == 4999 and found[5000] == 5001 and kept[5000] == x[5000] == 5000
    with pytest.raises(IndexError, match="index 9000 "):
        mod.raised(x, 8990, 9001)
    assert (x == np.arange(9000)).all()
    before, after, _ = mod.both(np.ones(5, np.float32))
    assert before.tolist() == [1, 1, 1, 1, 0] and after.tolist() == [1] * 5
    marks = mod.marks(0b1011, 4)
    assert marks[:4].tolist() == [1, 1, 0, 1] and marks[60:].tolist() == [2, 0, 2, 2] and marks[4:60].sum() == 0


def test_a_tensor_made_here_is_written_without_asking(tmp_path):
    path = tmp_path / "marks.hyb"
    path.write_text("fn marks" + SOURCE.split("fn marks")[1].split("fn both")[0])
    assert "hyb.copy_tensor" not in driver.emit(str(path), "llvm")


def test_division_by_powers_of_two(mod):
    for n in [*range(-20, 20), 2**63 - 1, -(2**63)]:
        assert mod.halves(n) == (n // 2, n % 2, n // 8, n % 8)


def test_places_are_divided_without_signs(mod, tmp_path):
    for n in (0, 1, 40, 5000):
        t = 0
        for i in range(n):
            t = wrapped(t * 31 + i // 7 % 9 + i % 27 // 3)
            for k in range(1, 5):
                t ^= t >> k
        assert mod.places(n) == t
    path = tmp_path / "places.hyb"
    path.write_text("fn places" + SOURCE.split("fn places")[1].split("fn alike")[0])
    text = driver.emit(str(path), "llvm")
    assert "udiv" in text and "sdiv" not in text


def test_letters_are_compared_in_strips(mod, tmp_path):
    a, b = "abcabcabc" * 700, "abdaccabc" * 700
    same = sum(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x == y)
    assert mod.alike(a, b) == same and mod.alike("äbc", "äbd") == 1
    path = tmp_path / "alike.hyb"
    path.write_text("fn alike" + SOURCE.split("fn alike")[1].split("fn seldom")[0])
    assert "strip" in driver.emit(str(path), "llvm")


def test_checks_leave_the_quick_version(tmp_path):
    path = tmp_path / "loops.hyb"
    path.write_text(SOURCE)
    checked = driver.check(str(path))
    core, interface = driver.lower(checked, all_names=True)
    core = pipeline.optimise(core, interface, checked.sources)
    for name in ("total", "ahead", "shifted"):
        loops = [s for s in statements(core.fns[name].body) if isinstance(s, Loop)]
        checks = [sum(isinstance(s, Op) and s.op == "place" for s in statements(loop.body)) for loop in loops]
        assert checks[0] == 0 and checks[1] > 0, name


@pytest.mark.parametrize(
    "name, args",
    [("spin", ()), ("places", ()), ("seldom", (2000,)), ("seldom", (1020,)), ("slowly", ())],
    ids=["quick turns", "with a short loop", "no slow turn", "some", "each"],
)
def test_a_loop_in_strips_is_interrupted(mod, name, args):
    def later():
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=later).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        getattr(mod, name)(2**62, *args)
    assert time.perf_counter() - start < 1.0
