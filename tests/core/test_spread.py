"""A broadcast to the sizes of another operand of a map is part of the map (passes/spread.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import InterpFault, Interpreter
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.passes import spread
from tests.core.texts import parsed

HEAD = "fn f(x%1: f32[?], y%2: f32[?, ?]) -> (f32[?, ?]) {\n"
SIZES = "  %3: int = dim[axis=0](y%2)\n  %4: int = dim[axis=1](y%2)\n"
ROW = "  %5: f32[?, ?] = broadcast[axes=(none, 0,)](x%1, %3, %4)\n"
MAP = "  %6: f32[?, ?] = map[axes=((0, 1,), (0, 1,),), `fn`=\"mul\"](%5, y%2)\n"
END = "  yield %6\n}\n"

TAKEN = {
    "a row": HEAD + SIZES + ROW + MAP + END,
    "a column": HEAD + SIZES + "  %5: f32[?, ?] = broadcast[axes=(0, none,)](x%1, %3, %4)\n" + MAP + END,
    "a number": HEAD + SIZES + "  %5: f32[?, ?] = broadcast[axes=(none, none,)](f32(3.0), %3, %4)\n" + MAP + END,
    "sizes of what the operand was made of": HEAD + SIZES + ROW
        + "  %7: f32[?, ?] = map[axes=((0, 1,),), `fn`=\"neg\"](y%2)\n" + MAP.replace("y%2)", "%7)") + END,
    "sizes it was said to have": HEAD + SIZES + "  %7: f32[?, ?] = shaped(y%2, %3, %4)\n" + ROW
        + MAP.replace("y%2)", "%7)") + END,
    "sizes that a map has compared": HEAD + SIZES + "  %9: f32[?, ?] = map[axes=((0, 1,), (none, 0,),), `fn`=\"add\"](y%2, x%1)\n"
        + "  %7: int = dim[axis=0](x%1)\n" + ROW.replace("%4)", "%7)") + MAP + END,
    "past what is quiet": HEAD + SIZES + ROW + "  %7: int = add(%3, %4)\n" + MAP + END,
}
LEFT = {
    "other sizes": HEAD + SIZES + "  %7: int = add(%4, 1)\n" + ROW.replace("%4)", "%7)") + MAP + END,
    "sizes of another axis": HEAD + SIZES + ROW.replace("%3, %4", "%4, %3") + MAP + END,
    "past what may stop": HEAD + SIZES + ROW + "  %7: int = floordiv(%3, %4)\n" + MAP + END,
}


def values(text):
    program = parsed(text)
    after = spread.run(program)
    check_after("spread", after)
    return program, after


def outcome(program, *args):
    try:
        return Interpreter(program).call("f", list(args))[0].tolist()
    except InterpFault as fault:
        return str(fault.kind)


ARGUMENTS = [
    (np.arange(n, dtype=np.float32), np.ones(shape, np.float32)) for n in (1, 2, 3) for shape in ((2, 3), (3, 2), (2, 2))
]


@pytest.mark.parametrize("name", TAKEN)
def test_taken_into_the_map(name):
    before, after = values(TAKEN[name])
    assert "broadcast" not in print_program(after)
    for args in ARGUMENTS:
        assert outcome(after, *args) == outcome(before, *args)


@pytest.mark.parametrize("name", LEFT)
def test_left_as_it_is(name):
    before, after = values(LEFT[name])
    assert print_program(after) == print_program(before) and after.fns["f"] is before.fns["f"]


def test_needed_elsewhere_too():
    """It is made for who needs it, and a map of what was made of it spreads the operand itself."""
    text = HEAD + SIZES + ROW + "  %7: f32[?, ?] = map[axes=((0, 1,),), `fn`=\"neg\"](%5)\n" + MAP.replace("y%2)", "%7)")
    before, after = values(text + END)
    printed = print_program(after)
    assert "broadcast" in printed and "((none, 0,), (0, 1,),)" in printed
    for args in ARGUMENTS:
        assert outcome(after, *args) == outcome(before, *args)
