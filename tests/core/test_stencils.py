"""Which parts of a matrix passes/stencils.py computes in one run. That it means the same:
tests/lang/tensors/stencils.hyb."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc import driver, pipeline
from hybridc.core.ir import Fused, If, Op
from hybridc.core.walk import statements, statements_in

SOURCE = """
fn around(x: f64[N, M]) -> f64[?, ?]:
    return x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]

fn heat(start: f64[N, M], turns: int) -> f64[N, M]:
    var u = start
    for _ in range(turns):
        u[1:-1, 1:-1] = u[1:-1, 1:-1] * 0.5 + (u[:-2, 1:-1] + u[2:, 1:-1]) * 0.25
    return u

fn others(x: f64[N, M], y: f64[N, M]) -> f64[?, ?]:
    return x[1:, 1:] + y[:-1, :-1]

fn lines(x: f64[N, M]) -> f64[?, ?]:
    return x[1:] - x[:-1]

fn unlike(x: f64[N, M], k: int) -> f64[?, ?]:
    return x[1:, k:] - x[:-1, k:]

fn faulting(x: int[N, M]) -> int[?, ?]:
    return x[1:, 1:] // x[:-1, :-1]
"""


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("stencils") / "stencils.hyb"
    path.write_text(SOURCE)
    checked = driver.check(str(path))
    core, interface = driver.lower(checked)
    return pipeline.optimise(core, interface, checked.sources).fns


def slices(stmts) -> int:
    return sum(isinstance(s, Op) and s.op == "index" for s in stmts)


@pytest.mark.parametrize(("name", "parts"), [("around", 4), ("heat", 3)])
def test_one_run(name: str, parts: int, better) -> None:
    (branch,) = [s for s in statements_in(better[name]) if isinstance(s, If) and slices(statements(s.orelse)) == parts]
    quick = list(statements(branch.then))
    assert slices(quick) == 0 and sum(isinstance(s, Fused) for s in quick) == 1
    assert sum(isinstance(s, Op) and s.op == "tensor_view" for s in quick) == parts + 1


@pytest.mark.parametrize("name", ["others", "lines", "unlike", "faulting"])
def test_not(name: str, better) -> None:
    assert not any(isinstance(s, Op) and s.op == "tensor_view" for s in statements_in(better[name]))
