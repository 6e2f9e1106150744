"""What the compiler makes of loops over lists changes neither sums nor faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver

PROGRAM = '''\
fn harmonic(n: int, by: f64) -> f64:
    var total: f64 = 0
    for i in range(n):
        total += by / f64(i * i + 1)
    return total

fn row_sum(grid: list[list[int]], i: int, start: int, n: int) -> int:
    var total = 0
    for k in range(start, n):
        total += grid[i][k] + grid[k][0]
    return total

fn share(x: int, by: int) -> int:
    return x // by

fn shares(xs: list[int], by: list[int]) -> int:
    var total = 0
    for i in range(len(xs)):
        total += share(xs[i], by[i])
    return total

fn told(xs: list[int], n: int) -> int:
    var total = 0
    for i in range(n):
        print(i)
        total += xs[i]
    return total
'''


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("loops") / "loops.hyb"
    Path(path).write_text(PROGRAM)
    return hybridc.load(path)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8, 33, 5000])
def test_floats_are_added_in_order(mod, n):
    total = 0.0
    for i in range(n):
        total += 1.7 / (i * i + 1)
    assert mod.harmonic(n, 1.7) == total


def expected(grid: list[list[int]], i: int, start: int, n: int) -> int | type[BaseException]:
    try:
        return sum(grid[i][k] + grid[k][0] for k in range(start, n))
    except IndexError:
        return IndexError


GRIDS = {
    "square": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
    "ragged": [[1, 2], [3, 4, 5, 6], [7]],
    "an empty row": [[1, 2, 3], [], [4, 5, 6]],
    "empty": [],
}


@pytest.mark.parametrize("name", GRIDS)
def test_rows(mod, name):
    grid = GRIDS[name]
    for i in range(-4, 5):
        for start in range(-4, 4):
            for n in range(-2, 6):
                wanted = expected(grid, i, start, n)
                if wanted is IndexError:
                    with pytest.raises(IndexError):
                        mod.row_sum(grid, i, start, n)
                else:
                    assert mod.row_sum(grid, i, start, n) == wanted


def test_a_fault_in_a_small_function_in_a_loop(mod):
    assert mod.shares(list(range(10_000)), [3] * 10_000) == sum(x // 3 for x in range(10_000))
    with pytest.raises(ZeroDivisionError) as found:
        mod.shares(list(range(9000)), [1] * 8999 + [0])
    assert [(line, name) for _, line, name in found.value.frames] == [(19, "shares"), (14, "share")]
    with pytest.raises(IndexError):
        mod.shares([1, 2, 3], [1, 1])


def test_what_gives_nothing_in_a_loop_with_checks(mod, capfd):
    assert mod.told([3, 4], 2) == 7
    with pytest.raises(IndexError):
        mod.told([3, 4], 3)
    assert capfd.readouterr().out.split() == ["0", "1", "0", "1", "2"]


LENT = """
fn firsts(xs: list[f64[8]]) -> f64:
    var total: f64 = 0.0
    var kept: list[f64] = []
    for x in xs:
        kept.push(x[0])
        total += sum(x * x)
    return total + kept[-1]
"""
CHANGED = """
fn replaced(xs: list[f64[2]]) -> f64:
    var ys = xs
    var total: f64 = 0.0
    for i in range(len(ys)):
        let y = ys[i]
        ys[i] = y * 2.0
        ys.push(y)
        total += sum(y) + sum(ys[i]) * 10.0
    return total
"""


def test_elements_of_a_list_that_stays_are_not_counted(tmp_path):
    """Though another list grows, and may give up its memory, meanwhile; those of one that changes are."""
    file = tmp_path / "lent.hyb"
    file.write_text(LENT)
    assert 'call void @"hyb.retain' not in driver.emit(str(file), "llvm")
    file.write_text(LENT + CHANGED)
    assert 'call void @"hyb.retain' in driver.emit(str(file), "llvm")
    mod = hybridc.load(file)
    rows = np.arange(24.0).reshape(3, 8)
    assert mod.firsts(list(rows)) == (rows * rows).sum() + 16
    assert mod.replaced([np.array([1.0, 2.0]), np.array([3.0, 4.0])]) == 3 + 60 + 7 + 140
