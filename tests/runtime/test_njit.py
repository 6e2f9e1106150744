"""Compiled functions in numba's code: values, faults, threads; and a process without numba."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hybridc

SOURCE = """
fn add(x: f64, n: int) -> f64:
    return x + f64(n)

fn each(a: bool, b: u8, c: i32, d: int, e: f64, f: f32) -> (bool, u8, i32, int, f64, f32):
    return (not a, b + 1, c + 1, d + 1, e + 1.0, f + 1.0)

fn total(x: f64[N]) -> f64:
    return sum(x)

fn at(x: f32[N, M], i: int, j: int) -> f32:
    return x[i, j]

fn changed(x: f64[N]) -> f64:
    var y = x
    y[0] = 5.0
    return sum(y)

fn same(x: f64[N], y: f64[N]) -> f64:
    return sum(x * y)

fn check(n: int):
    assert n > 0, "not above zero"

fn depth(n: int) -> int:
    return 0 if n == 0 else 1 + depth(n - 1)

fn rows(x: f64[N]) -> f64[N]:
    return x

fn mutates(mut xs: list[int]) -> int:
    return len(xs)
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("njit") / "njit.hyb"
    path.write_text(SOURCE)
    return hybridc.load(str(path))


@pytest.fixture(scope="module")
def numba():
    return pytest.importorskip("numba")


def test_numbers(mod, numba) -> None:
    add, each = mod.add, mod.each

    @numba.njit
    def run(n):
        s = 0.0
        for i in range(n):
            s = add(s, i)
        return s, each(True, np.uint8(255), np.int32(2), 3, 4.5, 5)

    for n in (10, 11):
        assert run(n) == (sum(range(n)), (False, 0, 3, 4, 5.5, 6.0))


def test_arrays(mod, numba) -> None:
    total, at, changed = mod.total, mod.at, mod.changed

    @numba.njit
    def run(x, y):
        z = x * 2
        return total(z), at(y, 1, -1), changed(x), total(x)

    x, y = np.arange(4.0), np.arange(6, dtype=np.float32).reshape(2, 3)
    before = mod._parts[0].program.live_blocks()
    assert run(x, y) == (12, 5, 11, 6)
    x.flags.writeable = False
    assert run(x, y) == (12, 5, 11, 6)
    assert mod._parts[0].program.live_blocks() == before


def test_faults(mod, numba) -> None:
    at, check, same, depth = mod.at, mod.check, mod.same, mod.depth

    @numba.njit
    def run(x, i, y, z, n, d):
        check(n)
        return at(x, i, 0), same(y, z), depth(d)

    x = np.ones((2, 2), np.float32)
    good = (x, 1, np.ones(3), np.ones(3), 1, 5)
    for place, value, error, text in (
        (1, 7, IndexError, "index 7 is out of range for length 2"), (4, 0, AssertionError, "not above zero"),
        (3, np.ones(4), ValueError, "dimension 0 of y is 4, but N is 3"), (5, 20_000, RecursionError, "maximum call depth"),
    ):
        for _ in range(2):
            assert run(*good) == (1, 3, 5)
            with pytest.raises(error, match=text) as found:
                run(*(value if i == place else v for i, v in enumerate(good)))
            assert isinstance(found.value, hybridc.RuntimeFault)
    assert run(*good) == (1, 3, 5)


def test_what_does_not_fit(mod, numba) -> None:
    add, total, rows, mutates = mod.add, mod.total, mod.rows, mod.mutates

    def refused(f, *args) -> str:
        with pytest.raises(numba.TypingError) as error:
            numba.njit(f)(*args)
        return str(error.value)

    assert "add() cannot be called from code of numba: it takes 2 arguments, not 1" in refused(lambda x: add(x), 1.0)
    assert "it takes (float64, int64), not (float64, float64)" in refused(lambda x: add(x, x), 1.0)
    assert "its result is more than numbers" in refused(lambda x: rows(x), np.ones(2))
    assert "its arguments are more than numbers" in refused(lambda x: mutates(x), np.ones(2))
    assert "it takes (Array(float64, 1, 'C'" in refused(lambda x: total(x[::2]), np.ones(4))
    assert "takes no named arguments" in refused(lambda x: total(x=x), np.ones(4))


def test_threads(mod, numba) -> None:
    add, check = mod.add, mod.check

    @numba.njit(nogil=True)
    def run(n):
        s = 0.0
        for i in range(n):
            check(i + 1)
            s = add(s, i)
        return s

    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(run(300))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [sum(range(300))] * 4


WITHOUT = """
import sys
sys.modules["numba"] = None
import hybridc
print(hybridc.load(sys.argv[1]).add(1.5, 2))
"""


def test_without_numba(tmp_path: Path) -> None:
    path = tmp_path / "njit.hyb"
    path.write_text(SOURCE)
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(path)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "3.5\n", done.stderr
