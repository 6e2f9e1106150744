"""Attention is one kernel, and computes what its operators compute one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Program
from hybridc.core.verify import check_after
from hybridc.kernels.graph import graph_of
from hybridc.kernels.late import divided_late
from hybridc.kernels.schedule import schedule
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from hybridc.llvm.row_kernel import NEAR
from hybridc.passes import fuse
from tests.core.texts import parsed
from tests.kernels.test_fused import fused_statements, run_native

CAUSAL = """
fn f(q%1: f32[?, ?, ?], k%2: f32[?, ?, ?], v%3: f32[?, ?, ?]) -> (f32[?, ?, ?]) {
  s%8: f32[?, ?, ?] = matmul[ta=false, tb=true](q%1, k%2)
  n%4: int = dim[axis=1](q%1)
  m%5: int = dim[axis=1](k%2)
  i%6: int[?] = iota(n%4)
  j%7: int[?] = iota(m%5)
  c%9: bool[?, ?] = map[axes=((0, none,), (none, 0,),), `fn`="ge"](i%6, j%7)
  t%10: f32[?, ?, ?] = map[axes=((none, 0, 1,), (0, 1, 2,), (none, none, none,),), `fn`="select"](c%9, s%8, f32(-inf))
  a%11: f32[?, ?] = reduce[axes=(2,), `fn`="max"](t%10)
  b%12: f32[?, ?, ?] = map[axes=((0, 1, 2,), (0, 1, none,),), `fn`="sub"](t%10, a%11)
  e%13: f32[?, ?, ?] = map[axes=((0, 1, 2,),), `fn`="exp"](b%12)
  d%14: f32[?, ?] = reduce[axes=(2,), `fn`="sum"](e%13)
  p%15: f32[?, ?, ?] = map[axes=((0, 1, 2,), (0, 1, none,),), `fn`="div"](e%13, d%14)
  o%16: f32[?, ?, ?] = matmul[ta=false, tb=false](p%15, v%3)
  yield o%16
}
"""


def program_of(text: str) -> Program:
    program = parsed(text)
    better = fuse.run(program)
    check_after("fuse", better)
    (statement,) = fused_statements(better)
    assert schedule(graph_of(statement)).limited is not None
    return better


@pytest.mark.parametrize("cpu", ["host", "x86-64-v3", "x86-64-v2"])
def test_causal(cpu: str) -> None:
    better = program_of(CAUSAL)
    loaded = Loaded(compile_program(better, ["f"], cpu=cpu))
    rng = np.random.default_rng(0)
    for heads, n, m, width in ((1, 1, 1, 1), (2, 5, 5, 3), (3, 57, 57, 16), (2, 130, 130, 20), (2, 9, 40, 8), (2, 40, 9, 8),
                               (0, 4, 4, 2), (2, 0, 3, 4), (2, 200, 70, 5)):  # fmt: skip
        q, k, v = (rng.standard_normal((heads, s, width)).astype(np.float32) for s in (n, m, m))
        (want,) = Interpreter(better).call("f", [q, k, v])
        (got,) = run_native(loaded, better.fns["f"], [q, k, v])
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("how", ["gt", "le", "lt"])
def test_with_and_without_the_diagonal(how: str) -> None:
    """Vectors before the diagonal are computed without asking; what lies on it is the comparison's business."""
    compared = "c%9: bool[?, ?] = map[axes=((0, none,), (none, 0,),), `fn`=\"ge\"](i%6, j%7)"
    turned = f"c%9: bool[?, ?] = map[axes=((none, 0,), (0, none,),), `fn`=\"{how}\"](j%7, i%6)"
    assert compared in CAUSAL
    better = program_of(CAUSAL.replace(compared, compared.replace("ge", how) if how == "gt" else turned))
    loaded = Loaded(compile_program(better, ["f"]))
    rng = np.random.default_rng(2)
    for n, m in ((5, 5), (16, 16), (33, 33), (64, 70), (70, 64)):
        q, k, v = (rng.standard_normal((2, s, 8)).astype(np.float32) for s in (n, m, m))
        (want,) = Interpreter(better).call("f", [q, k, v])
        (got,) = run_native(loaded, better.fns["f"], [q, k, v])
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
        if how != "le":
            assert np.isnan(got[:, 0]).all()


def test_blocks_of_few_rows_and_of_many_have_the_same_bits() -> None:
    """Few rows go together, since a block computes what its last row needs; many where keys and values are larger than
    a cache. Zeros in the rest of each head's width change no sum."""
    better = program_of(CAUSAL)
    loaded = Loaded(compile_program(better, ["f"]))
    rng = np.random.default_rng(1)
    n, width, wide = 61, 64, 4608
    q, k, v = (rng.standard_normal((2, n, width)).astype(np.float32) for _ in range(3))
    assert 2 * n * wide * 4 > NEAR > 2 * n * width * 4
    (few,) = run_native(loaded, better.fns["f"], [q, k, v])
    padded = [np.pad(x, ((0, 0), (0, 0), (0, wide - width))) for x in (q, k, v)]
    (many,) = run_native(loaded, better.fns["f"], padded)
    np.testing.assert_array_equal(many[..., :width], few)
    assert not many[..., width:].any()


def test_causal_with_what_is_not_finite() -> None:
    """Beyond the diagonal it is not looked at; before it, it counts."""
    better = program_of(CAUSAL)
    loaded = Loaded(compile_program(better, ["f"]))
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((2, 70, 8)).astype(np.float32) for _ in range(3))
    k[0, 20], k[1, 30, 2], v[1, 60, 1] = np.nan, np.inf, np.nan
    (got,) = run_native(loaded, better.fns["f"], [q, k, v])
    with np.errstate(all="ignore"):
        (want,) = Interpreter(better).call("f", [q, np.where(np.isfinite(k), k, 0), np.where(np.isfinite(v), v, 0)])
    np.testing.assert_allclose(got[0, :20], want[0, :20], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(got[1, :30], want[1, :30], rtol=2e-5, atol=2e-6)
    assert np.isnan(got[0, 20:]).all()
    assert np.isnan(got[1, 60:, 1]).all()


def test_scores_that_are_needed_whole_are_computed_whole() -> None:
    """A result that shows the probabilities, or a sum of what is not masked: no column is left out."""
    text = CAUSAL.replace("-> (f32[?, ?, ?]) {", "-> (f32[?, ?, ?], f32[?, ?, ?]) {").replace(
        "yield o%16", "yield o%16, p%15")
    program = parsed(text)
    better = fuse.run(program)
    for statement in fused_statements(better):
        assert schedule(graph_of(statement)).limited is None
    q, k, v = (np.random.default_rng(2).standard_normal((2, 65, 4)).astype(np.float32) for _ in range(3))
    want = Interpreter(better).call("f", [q, k, v])
    got = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [q, k, v])
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-6)


def test_the_division_comes_after_the_product() -> None:
    """A row of exponentials is multiplied as it is; where the weights are a result too they are divided before."""
    (statement,) = fused_statements(program_of(CAUSAL))
    graph = divided_late(graph_of(statement))
    (out,) = graph.outputs
    assert out.op is not None and out.op.attr("fn") == "div" and out.args[0].kind == "product"
    powers = out.args[0].args[0]
    assert powers.op is not None and powers.op.attr("fn") == "exp"
    both = CAUSAL.replace("-> (f32[?, ?, ?]) {", "-> (f32[?, ?, ?], f32[?, ?, ?]) {").replace("yield o%16", "yield o%16, p%15")
    program = parsed(both)
    for statement in fused_statements(fuse.run(program)):
        plain, late = graph_of(statement), divided_late(graph_of(statement))
        assert [n.kind for n in late.nodes] == [n.kind for n in plain.nodes]


def test_rows_without_columns() -> None:
    """Attention to nothing is 0."""
    better = program_of(CAUSAL.replace('`fn`="max"]', '`fn`="max", least=true]'))
    loaded = Loaded(compile_program(better, ["f"]))
    q, k, v = (np.ones((2, n, 8), np.float32) for n in (3, 0, 0))
    (want,) = Interpreter(better).call("f", [q, k, v])
    (got,) = run_native(loaded, better.fns["f"], [q, k, v])
    assert got.shape == want.shape == (2, 3, 8) and (got == 0).all() and (want == 0).all()


def test_large_scores() -> None:
    """Scores of which only the largest counts, and rows with nothing but -inf before the diagonal's own."""
    better = program_of(CAUSAL)
    loaded = Loaded(compile_program(better, ["f"]))
    rng = np.random.default_rng(2)
    q, k, v = (rng.standard_normal((2, 50, 8)).astype(np.float32) for _ in range(3))
    q *= np.float32(1e4)
    v *= np.float32(1e37)
    (want,) = Interpreter(better).call("f", [q, k, v])
    (got,) = run_native(loaded, better.fns["f"], [q, k, v])
    np.testing.assert_allclose(got, want, rtol=1e-4)
