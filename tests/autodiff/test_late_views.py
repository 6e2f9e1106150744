"""Views that are made where they are used (hybridc/autodiff/late_views.py)."""

from __future__ import annotations

from itertools import count

import numpy as np

from hybridc.autodiff.late_views import into_arms
from hybridc.core.interp import Interpreter
from hybridc.core.ir import Program, Var
from hybridc.core.reader import read
from hybridc.core.verify import check_after
from hybridc.core.walk import outs_of, with_body

BOTH = """
fn f(c%1: bool, v%2: f32[?]) -> (f32) {
  %3: f32[2] = tensor_view(v%2, 1, 2)
  %4: f32 = if c%1 {
    %5: f32 = index[kinds=("i",)](%3, 0)
    yield %5
  } else {
    %6: f32 = index[kinds=("i",)](%3, 1)
    yield %6
  }
  exit 0 %4
}
"""


def test_each_arm_has_a_view_of_its_own() -> None:
    """As a submodel's parameters in a method that ends early, of which both ways call something of the submodel:
    `nn.Attention` with and without keys."""
    program, errors = read(BOTH)
    assert errors == []
    fn = program.fns["f"]
    (view,) = outs_of(fn.body.stmts[0])
    ids = count(100)
    body = into_arms(fn.body, {view}, lambda v: Var(next(ids), v.type, v.name))
    moved = Program({}, {}, {"f": with_body(fn, body)})
    check_after("into_arms", moved)
    assert len(body.stmts) == 1
    v = np.array([1.0, 2.0, 3.0], np.float32)
    assert [Interpreter(moved).call("f", (c, v))[0] for c in (True, False)] == [2.0, 3.0]
