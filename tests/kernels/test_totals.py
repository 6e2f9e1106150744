"""What all rows of a kernel add to: beside the rows' own results, in one run (kernels/totals.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Fused
from hybridc.kernels.device import refusal
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from tests.kernels.test_fused import fused_statements, program_of, run_native

NORM = """
fn f(x%1: f32[?, ?], w%2: f32[?]) -> (f32[?, ?], f32[?], f32[?]) {
  a%3: f32[?] = reduce[axes=(1,), `fn`="sum"](x%1)
  b%4: f32[?, ?] = map[axes=((0, 1,), (0, none,),), `fn`="sub"](x%1, a%3)
  c%5: f32[?, ?] = map[axes=((0, 1,), (none, 0,),), `fn`="mul"](b%4, w%2)
  d%6: f32[?] = reduce[axes=(0,), `fn`="FN"](c%5)
  e%7: f32[?, ?] = map[axes=((0, 1,),), `fn`="tanh"](c%5)
  g%8: f32[?] = reduce[axes=(0,), `fn`="sum"](e%7)
  yield e%7, d%6, g%8
}
"""
SIZES = [(0, 5), (1, 1), (1, 40), (2, 7), (31, 16), (64, 33), (65, 3), (600, 65), (1100, 20)]


@pytest.mark.parametrize("fn", ["sum", "max", "prod"])
@pytest.mark.parametrize("known", [False, True])
def test_beside_rows(fn: str, known: bool) -> None:
    text = NORM.replace("FN", fn).replace('"max"', '"max", least=true')
    rng = np.random.default_rng(0)
    for n, m in SIZES if not known else SIZES[3:-1]:
        sized = text.replace("?, ?", f"{n}, {m}").replace("w%2: f32[?]", f"w%2: f32[{m}]") if known else text
        better = program_of(sized)
        (statement,) = better.fns["f"].body.stmts
        assert isinstance(statement, Fused) and len(statement.ops) == 6
        x, w = rng.uniform(0.5, 1.5, (n, m)).astype(np.float32), rng.uniform(-1, 1, m).astype(np.float32)
        with np.errstate(all="ignore"):
            want = Interpreter(better).call("f", [x, w])
        loaded = Loaded(compile_program(better, ["f"]))
        live = loaded.live
        for g, v in zip(run_native(loaded, better.fns["f"], [x, w]), want, strict=True):
            np.testing.assert_allclose(g, v, rtol=2e-3, atol=2e-4)
        assert loaded.live == live + 3  # the results


def test_a_total_is_no_operand_of_the_same_kernel_and_no_kernel_of_a_gpu() -> None:
    better = program_of("""
fn f(x%1: f32[?, ?]) -> (f32[?, ?]) {
  a%2: f32[?, ?] = map[axes=((0, 1,),), `fn`="exp"](x%1)
  b%3: f32[?] = reduce[axes=(0,), `fn`="sum"](a%2)
  c%4: f32[?, ?] = map[axes=((0, 1,), (none, 0,),), `fn`="div"](a%2, b%3)
  yield c%4
}
""")
    first, *_ = fused_statements(better)
    assert [op.op for op in first.ops] == ["map", "reduce"]
    assert refusal(first.ops, list(first.body.tail.values)) is not None  # type: ignore[arg-type]
    x = np.random.default_rng(0).standard_normal((70, 20)).astype(np.float32)
    (want,) = Interpreter(better).call("f", [x])
    (got,) = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [x])
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_short_rows_do_not_go_one_by_one_for_a_total() -> None:
    text = """
fn f(x%1: f32[?, 3]) -> (f32[?, 3], f32[3]) {
  a%2: f32[?, 3] = map[axes=((0, 1,),), `fn`="exp"](x%1)
  c%4: f32[?, 3] = map[axes=((0, 1,),), `fn`="neg"](a%2)
  b%3: f32[3] = reduce[axes=(0,), `fn`="sum"](c%4)
  yield c%4, b%3
}
"""
    assert [op.op for s in fused_statements(program_of(text)) for op in s.ops] == ["map", "map"]
    longer = program_of(text.replace("3]", "30]"))
    assert [op.op for s in fused_statements(longer) for op in s.ops] == ["map", "map", "reduce"]


def test_a_total_that_is_a_number_leaves_no_axis() -> None:
    """The least of each row of a table of distances was put beside the table's sums as one number."""
    text = """
fn f(x%1: f32[?, ?], y%2: f32[?, ?]) -> (f32[?]) {
  d%3: f32[?, ?, ?] = map[axes=((0, none, 1,), (none, 0, 1,),), `fn`="sub"](x%1, y%2)
  s%4: f32[?, ?] = reduce[axes=(2,), `fn`="sum"](d%3)
  a%5: f32[?] = reduce[axes=(1,), `fn`="FN"](s%4)
  yield a%5
}
"""
    rng = np.random.default_rng(0)
    for fn in ("min", "sum"):
        better = program_of(text.replace("FN", fn))
        for n, k, m in ((1, 1, 1), (5, 3, 2), (20, 9, 33)):
            x, y = rng.standard_normal((n, m)).astype(np.float32), rng.standard_normal((k, m)).astype(np.float32)
            (got,) = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [x, y])
            np.testing.assert_allclose(got, getattr(np, fn)((x[:, None] - y).sum(2), 1), rtol=1e-3, atol=1e-4)
