"""Adjoints that every call begins with nothing begin with nothing (passes/zeros.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.verify import check_after
from hybridc.passes import simplify, zeros

ADDS = """fn g(x%1: f32[?], y%2: f32[?]) -> (f32[?]) {
  %3: f32[?] = accumulate(y%2, x%1)
  yield %3
}

"""
CALL = """fn f(x%1: f32[?]) -> (f32[?]) {
  %2: f32[?] = zero()
  %3: f32[?] = call g(x%1, %2)
SECOND  yield %3
}
"""
AGAIN = "  %4: f32[?] = call g(x%1, %3)\n"


def run(text, roots):
    program, diagnostics = read(text)
    assert program is not None, diagnostics
    after = zeros.run(program, roots)
    check_after("zeros", after)
    return program, simplify.run(after)


def test_what_every_call_begins_with():
    before, after = run(ADDS + CALL.replace("SECOND", ""), ["f"])
    assert "accumulate" not in print_program(after)
    x = np.array([1, 2], np.float32)
    assert Interpreter(after).call("f", [x])[0].tolist() == Interpreter(before).call("f", [x])[0].tolist() == [1, 2]


@pytest.mark.parametrize("second, roots", [(AGAIN, ["f"]), ("", ["f", "g"])])
def test_other_calls(second, roots):
    _, after = run(ADDS + CALL.replace("SECOND", second), roots)
    assert "accumulate" in print_program(after)
