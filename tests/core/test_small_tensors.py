"""What aggregates hold and windows give is computed by elements (passes/scalars.py, slices.py, shapes.py): which
operators are left. That it means the same: tests/lang/tensors/held.hyb and windows.hyb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.ir import Fused, If, Loop, Op, TensorT
from hybridc.core.walk import statements, statements_in
from hybridc.llvm import processors

HELD = """
struct Body:
    x: f64[3]
    v: f64[3]
    m: f64

fn step(mut bs: list[Body], dt: f64):
    for i in range(len(bs)):
        let d = bs[0].x - bs[i].x
        bs[i].v += d * (dt / sqrt(dot(d, d) + 1.0))
        bs[i].x += bs[i].v * dt

fn length(points: list[f64[3]]) -> f64:
    var total: f64 = 0.0
    for i in range(1, len(points)):
        let d = points[i] - points[i - 1]
        total += sqrt(dot(d, d))
    return total
"""
WINDOWS = """
fn blur(x: f64[N, M]) -> f64[N, M]:
    var y: f64[N, M] = zeros()
    for i in range(1, N - 1):
        for j in range(1, M - 1):
            y[i, j] = mean(x[i - 1:i + 2, j - 1:j + 2])
    return y

fn filtered(x: f32[N], k: f32[3]) -> f32[N]:
    var y = zeros(N)
    for i in range(1, N - 1):
        y[i] = dot(x[i - 1:i + 2], k)
    return y

fn lengths(x: f64[N, M]) -> f64:
    var total: f64 = 0.0
    for i in range(M // 2 - 1):
        let v = x[0, i:i + 3] * x[1, 2 * i:2 * i + 3]
        total += dot(v, v)
    return total
"""
COMPUTING = {"map", "reduce", "matmul"}


def better(text: str, tmp_path: Path):
    path = tmp_path / "program.hyb"
    path.write_text(text)
    checked = driver.check(str(path))
    core, interface = driver.lower(checked)
    return pipeline.optimise(core, interface, checked.sources).fns


def computing(stmts) -> list[str]:
    return [s.op for s in stmts if isinstance(s, Op) and s.op in COMPUTING] + [
        "fused" for s in stmts if isinstance(s, Fused)]


@pytest.mark.parametrize("name", ["step", "length"])
def test_what_is_held_is_computed_by_elements(name: str, tmp_path: Path) -> None:
    fn = better(HELD, tmp_path)[name]
    assert computing(statements_in(fn)) == []


@pytest.mark.parametrize(("name", "size"), [("blur", 9), ("filtered", 3), ("lengths", 3)])
def test_windows_within_are_computed_by_elements(name: str, size: int, tmp_path: Path) -> None:
    fn = better(WINDOWS, tmp_path)[name]
    versions = [s for s in statements_in(fn) if isinstance(s, If) and any(isinstance(t, Loop) for t in statements(s.then))]
    parts = [[list(statements(b)) for b in (v.then, v.orelse)] for v in versions]
    ((quick, _),) = [(quick, rest) for quick, rest in parts if computing(quick) == [] and computing(rest) != []]
    reads = [s for s in quick if isinstance(s, Op) and s.op == "index" and not isinstance(s.outs[0].type, TensorT)]
    assert len(reads) >= size


def test_new_values_lie_where_the_old_ones_lay(tmp_path: Path) -> None:
    """The memory of a vector that is replaced holds the new one, but where somebody else holds the old one."""
    path = tmp_path / "held.hyb"
    path.write_text(HELD)
    mod = hybridc.load(str(path))
    bodies = mod.native([mod.Body(np.arange(3.0) + i, np.zeros(3), 1.0) for i in range(4)], "list[Body]")
    before = bodies.to_python()
    mod.step(bodies, 0.5)
    after = bodies.to_python()
    for old, new in zip(before, after, strict=True):
        d = before[0].x - old.x
        v = d * (0.5 / np.sqrt(d @ d + 1.0))
        np.testing.assert_allclose(new.v, v)
        np.testing.assert_allclose(new.x, old.x + v * 0.5)
    assert "hyb.alone" in llvm(path)


def llvm(path: Path) -> str:
    checked = driver.check(str(path))
    core, interface = driver.lower(checked)
    better = pipeline.optimise(core, interface, checked.sources)
    return driver.native(better, interface, [processors.HOST])[0].llvm
