"""Where products lie: in the memory of a result that takes their place element by element, if none reads them later."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import F32, TensorT
from hybridc.kernels.graph import graph_of
from hybridc.kernels.schedule import schedule
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from tests.kernels.test_fused import fused_statements, program_of, run_native

COLUMNS = 20
LAYER = """
fn f(x%1: f32[?, 12], w%2: f32[12, 20], v%3: f32[20, 20]) -> (RESULTS) {
  p%4: f32[?, 20] = matmul[ta=false, tb=false](x%1, w%2)
BODY
}
"""
EACH = "map[axes=((0, 1,),), `fn`="
BOTH = "map[axes=((0, 1,), (0, 1,),), `fn`="
ROW = "map[axes=((0, 1,), (0, none,),), `fn`="
CASES = {
    # Columns of the results (0: a value for each row), statements, and where the products lie.
    "one map": ([20], [f'a%5: f32[?, 20] = {EACH}"abs"](p%4)', "yield a%5"], [-1]),
    "the product too": ([20, 20], [f'a%5: f32[?, 20] = {EACH}"exp"](p%4)', "yield a%5, p%4"], [-1]),
    "two of it": ([20, 20], [f'a%5: f32[?, 20] = {EACH}"abs"](p%4)', f'b%6: f32[?, 20] = {EACH}"neg"](p%4)',
                             "yield a%5, b%6"], [-1]),
    "less its mean": ([20], ['a%5: f32[?] = reduce[axes=(1,), `fn`="sum"](p%4)',
                             f'b%6: f32[?, 20] = {ROW}"sub"](p%4, a%5)', "yield b%6"], [-1]),
    "a result before it is read last": (
        [20, 20], [f'a%5: f32[?, 20] = {EACH}"exp"](p%4)', 'b%6: f32[?] = reduce[axes=(1,), `fn`="sum"](a%5)',
                   f'c%7: f32[?, 20] = {ROW}"mul"](p%4, b%6)', "yield a%5, c%7"], [-2]),
    "read last where nothing is stored": (
        [20, 0], [f'a%5: f32[?, 20] = {EACH}"exp"](p%4)', 'b%6: f32[?] = reduce[axes=(1,), `fn`="sum"](a%5)',
                  f'c%7: f32[?, 20] = {ROW}"mul"](p%4, b%6)', 'd%8: f32[?] = reduce[axes=(1,), `fn`="max"](c%7)',
                  "yield a%5, d%8"], [0]),
    "other columns": ([10], ['a%5: f32[?, 10] = index[kinds=("", "ab",)](p%4, 0, 10)',
                             'b%6: f32[?, 10] = index[kinds=("", "ab",)](p%4, 10, 20)',
                             f'c%7: f32[?, 10] = {BOTH}"mul"](a%5, b%6)', "yield c%7"], [0]),
    "the left side of another": (
        [20, 20], [f'a%5: f32[?, 20] = {EACH}"abs"](p%4)', "b%6: f32[?, 20] = matmul[ta=false, tb=false](p%4, v%3)",
                   f'c%7: f32[?, 20] = {EACH}"exp"](b%6)', "yield a%5, c%7"], [0, -2]),
    "two products, one place": (
        [20], [f'a%5: f32[?, 20] = {EACH}"abs"](p%4)', "b%6: f32[?, 20] = matmul[ta=false, tb=false](a%5, v%3)",
               f'c%7: f32[?, 20] = {BOTH}"add"](b%6, a%5)', "yield c%7"], [0, -1]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_products_lie_where_what_is_computed_of_them_will(name: str) -> None:
    results, body, wanted = CASES[name]
    kinds = ", ".join(f"f32[?, {n}]" if n else "f32[?]" for n in results)
    program = program_of(LAYER.replace("RESULTS", kinds).replace("BODY", "\n".join(f"  {line}" for line in body)))
    found = []
    for statement in fused_statements(program):
        plan = schedule(graph_of(statement))
        found += [plan.kept[n] for n in plan.graph.of_kind("product")]
    assert found == wanted
    fn = program.fns["f"]
    assert all(isinstance(t, TensorT) and t.elem == F32 for t in fn.results)
    loaded = Loaded(compile_program(program, ["f"]))
    rng = np.random.default_rng(0)
    w, v = (rng.uniform(-1, 1, s).astype(np.float32) for s in ((12, COLUMNS), (COLUMNS, COLUMNS)))
    for rows in (1, 5, 40, 400):
        x = rng.uniform(-1, 1, (rows, 12)).astype(np.float32)
        for got, want in zip(run_native(loaded, fn, [x, w, v]), Interpreter(program).call("f", [x, w, v]), strict=True):
            np.testing.assert_allclose(got, want, rtol=3e-5, atol=1e-5)
