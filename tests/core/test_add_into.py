"""A product that is only added to a part of a vector is added there as it is computed (passes/add_into.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.passes import add_into
from tests.core.texts import parsed

HEAD = "fn f(v%1: f32[?], a%2: f32[?, 2], b%3: f32[?, 3]) -> (f32[?]) {\n"
PRODUCT = "  %4: f32[2, 3] = matmul[ta=true, tb=false](a%2, b%3)\n"
FLAT = "  %5: f32[6] = reshape(%4, 6)\n"
ADDED = "  %6: f32[?] = update[axes=(0,), `fn`=\"add\", kinds=(\"ab\",)](v%1, %5, 1, 7)\n"
END = "  yield %6\n}\n"
SIZE = "  %7: int = dim[axis=0](v%1)\n"

WHOLE = """fn f(v%1: f32[2, 3], a%2: f32[?, 2], b%3: f32[?, 3]) -> (f32[2, 3]) {
  %4: f32[2, 3] = matmul[ta=true, tb=false](a%2, b%3)
  %5: f32[2, 3] = accumulate(v%1, %4)
  yield %5
}
"""

TAKEN = {
    "one after the other": HEAD + PRODUCT + FLAT + ADDED + END,
    "past a sum": HEAD + PRODUCT + "  %8: f32[2] = reduce[axes=(0,), `fn`=\"sum\"](a%2)\n" + FLAT + ADDED + END,
}
LEFT = {
    "used twice": HEAD + PRODUCT + FLAT + ADDED.replace("(v%1", "(%8").replace("%6:", "  %8: f32[?] = map[axes=((0,),), "
                  "`fn`=\"neg\"](%5)\n  %6:", 1) + END,
    "set, not added": HEAD + PRODUCT + FLAT + ADDED.replace("\"add\"", "\"set\"") + END,
    "turned the other way": HEAD.replace("[?, 2]", "[2, ?]") + PRODUCT.replace("ta=true", "ta=false") + FLAT + ADDED + END,
    "of another size": HEAD + PRODUCT + FLAT + ADDED.replace(", 1, 7)", ", 1, 9)") + END,
    "not at a known place": HEAD + SIZE + PRODUCT + FLAT + ADDED.replace(", 1, 7)", ", %7, 7)") + END,
    "past what may stop otherwise": HEAD + SIZE + PRODUCT + "  %9: int = floordiv(1, %7)\n" + FLAT + ADDED + END,
    "added to what is a matrix of its own twice": WHOLE.replace("yield %5", "%6: f32[2, 3] = accumulate(%5, %4)\n  yield %6"),
    "the product is what is added to": WHOLE.replace("(v%1, %4)", "(%4, v%1)"),
    "past a call": "fn g() -> () {\n  yield\n}\n\n" + HEAD + PRODUCT + "  call g()\n" + FLAT + ADDED + END,
}


def values(text):
    program = parsed(text)
    after = add_into.run(program)
    check_after("add_into", after)
    return program, after


@pytest.mark.parametrize("name", TAKEN)
def test_added_as_it_is_computed(name):
    before, after = values(TAKEN[name])
    shown = print_program(after)
    assert "add_product(v%1, a%2, b%3, 1)" in shown and "matmul" not in shown
    args = [np.arange(n, dtype=np.float32).reshape(shape) for n, shape in ((8, (8,)), (8, (4, 2)), (12, (4, 3)))]
    want, got = (Interpreter(p).call("f", list(args))[0] for p in (before, after))
    assert got.tolist() == want.tolist() and got[0] == 0 and got[7] == 7


@pytest.mark.parametrize("name", LEFT)
def test_left_as_it_is(name):
    before, after = values(LEFT[name])
    assert print_program(after) == print_program(before) and after.fns["f"] is before.fns["f"]


@pytest.mark.parametrize("there", [True, False], ids=["to a matrix", "where nothing is yet"])
def test_added_to_a_matrix(there):
    before, after = values(WHOLE)
    shown = print_program(after)
    assert "add_product" in shown and "matmul" not in shown and "accumulate" not in shown
    sums = np.ones((2, 3), np.float32) if there else np.zeros((0, 0), np.float32)
    sides = [np.arange(n, dtype=np.float32).reshape(4, -1) for n in (8, 12)]
    want, got = (Interpreter(p).call("f", [sums.copy(), *sides])[0] for p in (before, after))
    assert got.tolist() == want.tolist() == (sides[0].T @ sides[1] + there).tolist()
