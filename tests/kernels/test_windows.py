"""Convolutions and pools without their windows in memory compute what their operators compute one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Fused
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from tests.core.texts import parsed
from tests.kernels.test_fused import fused_statements, program_of, run_native

PROCESSORS = ["host", "x86-64-v3", "x86-64-v2"]
"""This one, and those of vectors half and a quarter as long as the longest."""


def convolution(kind: str, channels: int, out: int, size: tuple[int, int], settings: tuple[int, ...]) -> str:
    kh, kw, sh, sw, ph, pw, dh, dw = settings
    rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in (
        (size[0], kh, sh, ph, dh), (size[1], kw, sw, pw, dw)))
    depth, count = channels * kh * kw, rows * columns
    return f"""
fn f(x%1: {kind}[?, {channels}, {size[0]}, {size[1]}], w%2: {kind}[{out}, {depth}], b%3: {kind}[{out}])
    -> ({kind}[?, {out}, ?]) {{
  n%4: int = dim[axis=0](x%1)
  s%5: {kind}[?, {channels}, {kh}, {kw}, ?, ?] = windows(x%1, {", ".join(map(str, settings))}, {kind}(0.0))
  m%6: {kind}[?, {depth}, ?] = reshape(s%5, n%4, {depth}, {count})
  y%7: {kind}[?, {out}, ?] = matmul[ta=false, tb=false](w%2, m%6)
  z%8: {kind}[?, {out}, ?] = map[axes=((0, 1, 2,), (none, 0, none,),), `fn`="add"](y%7, b%3)
  yield z%8
}}
"""


def check(text: str, kind: str, shapes: list[tuple[int, ...]], bound: float, cpu: str = "host") -> None:
    plain = parsed(text)
    better = program_of(text)
    (fused,) = fused_statements(better)
    assert fused.ops[0].op == "windows"
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32 if kind == "f32" else np.float64) for s in shapes]
    (want,) = Interpreter(better).call("f", arrays)
    for program in (better, plain):
        loaded = Loaded(compile_program(program, ["f"], cpu=cpu))
        (got,) = run_native(loaded, program.fns["f"], arrays)
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound * float(np.abs(want).max()))


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize(("kind", "channels", "out", "size", "settings"), [
    ("f32", 3, 8, (32, 32), (3, 3, 1, 1, 1, 1, 1, 1)),
    ("f32", 2, 13, (5, 48), (3, 5, 1, 1, 0, 2, 1, 1)),  # a last panel that is not whole
    ("f32", 4, 1, (9, 20), (2, 3, 2, 1, 3, 0, 1, 2)),  # lines apart, columns of a window apart, one row
    ("f32", 130, 6, (2, 16), (3, 3, 1, 1, 1, 1, 1, 1)),  # more lines than a panel has
    ("f32", 2, 200, (4, 16), (1, 1, 1, 1, 0, 0, 1, 1)),  # several blocks of rows
    ("f32", 1, 5, (40, 16), (35, 33, 1, 1, 20, 16, 1, 1)),  # a window larger than a panel
    ("f64", 3, 7, (6, 32), (3, 3, 1, 1, 1, 1, 1, 1)),
])  # fmt: skip
def test_convolution(kind: str, channels: int, out: int, size: tuple[int, int], settings: tuple[int, ...],
                     cpu: str) -> None:
    text = convolution(kind, channels, out, size, settings)
    depth = channels * settings[0] * settings[1]
    check(text, kind, [(3, channels, *size), (out, depth), (out,)], 2e-6 if kind == "f32" else 1e-14, cpu)


def test_windows_that_stay_in_memory() -> None:
    """Where a vector of them is not a run of a line."""
    for size, settings in (((6, 30), (3, 3, 1, 1, 1, 1, 1, 1)), ((6, 33), (3, 3, 1, 2, 1, 1, 1, 1))):
        better = program_of(convolution("f32", 3, 8, size, settings))
        assert any(getattr(s, "op", "") == "windows" for s in better.fns["f"].body.stmts)


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(("fn", "fill", "size", "settings"), [
    ("max", "-inf", (32, 32), (2, 2, 2, 2, 0, 0, 1, 1)),
    ("max", "-inf", (7, 37), (3, 3, 1, 1, 1, 1, 1, 1)),
    ("min", "inf", (9, 50), (3, 2, 3, 3, 1, 1, 1, 2)),
    ("sum", "0.0", (8, 71), (2, 3, 2, 2, 1, 1, 2, 1)),
])  # fmt: skip
def test_pool(fn: str, fill: str, size: tuple[int, int], settings: tuple[int, ...], kind: str, cpu: str) -> None:
    kh, kw = settings[:2]
    text = f"""
fn f(x%1: {kind}[?, 2, {size[0]}, {size[1]}]) -> ({kind}[?, 2, ?, ?]) {{
  s%2: {kind}[?, 2, {kh}, {kw}, ?, ?] = windows(x%1, {", ".join(map(str, settings))}, {kind}({fill}))
  y%3: {kind}[?, 2, ?, ?] = reduce[axes=(2, 3,), `fn`="{fn}"](s%2)
  yield y%3
}}
"""
    check(text, kind, [(3, 2, *size)], 1e-6, cpu)


def test_the_largest_of_a_window_with_nan() -> None:
    text = """
fn f(x%1: f32[?, 1, 4, 40]) -> (f32[?, 1, ?, ?]) {
  s%2: f32[?, 1, 2, 2, ?, ?] = windows(x%1, 2, 2, 2, 2, 0, 0, 1, 1, f32(-inf))
  y%3: f32[?, 1, ?, ?] = reduce[axes=(2, 3,), `fn`="max"](s%2)
  yield y%3
}
"""
    better = program_of(text)
    assert isinstance(better.fns["f"].body.stmts[0], Fused)
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 40)).astype(np.float32)
    x[0, 0, 1, 5], x[1, 0, 2, 38], x[1, 0, 0, 0] = np.nan, np.nan, np.inf
    (got,) = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [x])
    (want,) = Interpreter(better).call("f", [x])
    np.testing.assert_array_equal(got, want)
    assert np.isnan(got).sum() == 2
