"""Indices of tensors' elements in loops: what they read and change stays the same, and where they fault, and counted
loops that stay within have no checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.checking import check
from hybridc.core.ir import Op
from hybridc.core.walk import statements_in

SOURCE = """\
fn products(x: f32[N]) -> f32[N]:
    var out = x
    for i in range(1, N):
        out[i] = out[i - 1] * x[i]
    return out

fn paths(x: f32[N, M]) -> f32[N, M]:
    var out: f32[N, M] = zeros()
    for i in range(N):
        for j in range(1, M):
            if x[i, j] > 0.0:
                out[i, j] += out[i, j - 1] + x[i, j]
            elif i > 0:
                out[i, j] = out[i - 1, j]
    return out

fn from_the_end(x: f32[N], n: int) -> f32:
    var found: f32 = 0.0
    for i in range(n):
        found = 10.0 * found + x[-1 - i]
    return found

fn picked(x: f32[N], at: list[int]) -> f32:
    var found: f32 = 0.0
    for i in at:
        found = 10.0 * found + x[i]
    return found

fn replaced(x: f32[N], n: int) -> f32[?]:
    var out: f32[?] = x
    for i in range(n):
        out[i] = 7.0
        if i == 2:
            out = out[1:]
    return out

fn known(n: int) -> f32[4]:
    var out: f32[4] = zeros(4)
    for i in range(n):
        out[i] += f32(i) + out[3 - i]
    return out
"""
QUICK = ("products", "from_the_end")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("places") / "p.hyb"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def module(path: Path) -> object:
    return hybridc.load(str(path))


def test_elements_are_those_of_numpy(module: object) -> None:
    x = np.array([2, 3, 5, 7, 11], "f")
    assert module.products(x).tolist() == np.cumprod(x).tolist()
    assert module.products(x[:0]).tolist() == [] and module.products(x[:1]).tolist() == [2]
    assert module.from_the_end(x, 3) == 1175.0
    assert module.picked(x, [0, -1, 4, -5]) == 2 * 1000 + 11 * 100 + 11 * 10 + 2
    assert module.replaced(x, 4).tolist() == [7, 7, 7, 7]
    assert module.known(4).tolist() == [0, 1, 2 + 1, 3 + 0]
    grid = np.array([[1, 2, -1, 4], [1, -2, 3, -4], [5, 6, 7, 8]], "f")
    expected = np.zeros_like(grid)
    for i in range(3):
        for j in range(1, 4):
            if grid[i, j] > 0:
                expected[i, j] += expected[i, j - 1] + grid[i, j]
            elif i > 0:
                expected[i, j] = expected[i - 1, j]
    assert module.paths(grid).tolist() == expected.tolist()


@pytest.mark.parametrize(("name", "args", "index", "size"), [
    ("from_the_end", (np.ones(3, "f"), 4), -4, 3),
    ("picked", (np.ones(3, "f"), [0, 2, 3]), 3, 3),
    ("picked", (np.ones(0, "f"), [-1]), -1, 0),
    ("replaced", (np.ones(3, "f"), 4), 3, 2),
    ("known", (5,), 4, 4),
])
def test_what_is_not_there_faults_as_before(module: object, name: str, args: tuple, index: int, size: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is out of range for length {size}"):
        getattr(module, name)(*args)


def test_loops_that_stay_within_have_no_checks(path: Path) -> None:
    checked = check(str(path))
    core, interface = driver.lower(checked)
    better = pipeline.optimise(core, interface, checked.sources)
    for name in QUICK:
        elements = [s for s in statements_in(better.fns[name]) if isinstance(s, Op) and "p" in (s.attr("kinds") or ())]
        places = {s.outs[0] for s in statements_in(better.fns[name]) if isinstance(s, Op) and s.op == "place"}
        assert any(places.isdisjoint(s.args) for s in elements)
