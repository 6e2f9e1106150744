"""Transposes that undo each other behind what is computed place by place (passes/transposed.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.verify import check_after
from hybridc.passes import transposed

HEAD = "fn f(x%1: f32[?, ?], y%2: f32[?]) -> ({result}) {{\n  %3: f32[?, ?] = transpose[perm=(1, 0,)](x%1)\n"
SIN = "  %4: f32[?, ?] = map[axes=((0, 1,),), `fn`=\"sin\"](%3)\n"
ROW = "  %5: f32[?, ?] = map[axes=((0, 1,), (0, none,),), `fn`=\"mul\"](%4, y%2)\n"
BACK = "  %6: f32[?, ?] = transpose[perm=(1, 0,)](%5)\n"

GONE = {
    "turned back": HEAD.format(result="f32[?, ?]") + SIN + ROW + BACK + "  yield %6\n}\n",
    "reduced whole": HEAD.format(result="f32") + SIN + ROW
        + "  %6: f32 = reduce[axes=(0, 1,), `fn`=\"max\"](%5)\n  yield %6\n}\n",
    "reduced along an axis": HEAD.format(result="f32[?]") + SIN + ROW
        + "  %6: f32[?] = reduce[axes=(0,), `fn`=\"sum\"](%5)\n  yield %6\n}\n",
    "asked for a size": HEAD.format(result="int, f32[?, ?]") + SIN + ROW + BACK
        + "  %7: int = dim[axis=1](%3)\n  yield %7, %6\n}\n",
}
LEFT = {
    "needed as it lies": HEAD.format(result="f32[?, ?]") + SIN + ROW + "  yield %5\n}\n",
    "beside what is not turned": HEAD.format(result="f32[?, ?]")
        + "  %4: f32[?, ?] = map[axes=((0, 1,), (0, 1,),), `fn`=\"add\"](%3, x%1)\n  yield %4\n}\n",
    "a search": HEAD.format(result="int[?]")
        + "  %6: int[?] = reduce[axes=(0,), `fn`=\"argmax\"](%3)\n  yield %6\n}\n",
}


def programs(text):
    program, diagnostics = read(text)
    assert program is not None, diagnostics
    after = transposed.run(program)
    check_after("transposed", after)
    return program, after


@pytest.mark.parametrize("name", GONE)
def test_gone(name):
    before, after = programs(GONE[name])
    assert "transpose" not in print_program(after)
    rng = np.random.default_rng(0)
    for n, m in ((2, 3), (4, 1), (3, 3)):
        args = [rng.standard_normal((n, m)).astype(np.float32), rng.standard_normal(m).astype(np.float32)]
        for a, b in zip(Interpreter(before).call("f", args), Interpreter(after).call("f", args), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6)
            assert np.shape(a) == np.shape(b)


@pytest.mark.parametrize("name", LEFT)
def test_left_as_it_is(name):
    before, after = programs(LEFT[name])
    assert after.fns["f"] is before.fns["f"]


def test_three_axes():
    text = """fn f(x%1: f32[2, ?, 4], y%2: f32[2]) -> (f32[?, 4, 2]) {
  %3: f32[4, 2, ?] = transpose[perm=(2, 0, 1,)](x%1)
  %4: f32[4, 2, ?] = map[axes=((0, 1, 2,), (none, 0, none,),), `fn`="mul"](%3, y%2)
  %5: f32[?, 4, 2] = transpose[perm=(2, 0, 1,)](%4)
  yield %5
}
"""
    before, after = programs(text)
    assert print_program(after).count("transpose") == 1
    args = [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.array([2, -1], np.float32)]
    (a,), (b,) = Interpreter(before).call("f", args), Interpreter(after).call("f", args)
    np.testing.assert_array_equal(a, b)
