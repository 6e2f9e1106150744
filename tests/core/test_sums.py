"""What a loop adds up is added where it goes (passes/sums.py): what it means stays."""

from __future__ import annotations

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.passes import sums
from tests.core.texts import parsed

LOOP = """fn f(all%1: f64[?, ?], v%2: f64[?], row%3: int, n%4: int) -> (f64[?, ?], f64[?]) {
  size%5: int = dim[axis=0](v%2)
  none%6: f64[?] = zero()
  start%7: f64[?] = shaped(none%6, size%5)
  sum%8: f64[?], x%9: f64 = loop 1 (i%10: int = 0, s%11: f64[?] = start%7, t%12: f64 = 0.0) {
    done%13: bool = ge(i%10, n%4)
    if done%13 { exit 1 s%11, t%12 } else { yield }
    j%14: int = add(i%10, 2)
    part%15: f64[?] = index[kinds=("ab",)](v%2, i%10, j%14)
    s%16: f64[?] = update[axes=(0,), fn="add", kinds=("ab",)](s%11, part%15, i%10, j%14)
    x%17: f64 = index[kinds=("i",)](v%2, i%10)
    s%18: f64[?] = update[axes=(), fn="add", kinds=("i",)](s%16, x%17, 0)
    t%19: f64 = add(t%12, x%17)
    k%20: int = add(i%10, 1)
    yield k%20, s%18, t%19
  }
"""
FITS = "  whole%21: f64[?] = shaped(sum%8, size%5)\n"
ROW = ("  out%22: f64[?, ?] = update[axes=(0,), fn=\"add\", kinds=(\"i\", \"\",)](all%1, whole%21, row%3)\n"
       "  yield out%22, v%2\n}\n")
SURE = "  v%24: f64[?] = shaped(v%2, size%5)\n"
MAP = "  w%23: f64[?] = map[axes=((0,), (0,),), fn=\"mul\"](v%24, v%24)\n"
MORE = "  out%22: f64[?] = accumulate(sum%8, w%23)\n  yield all%1, out%22\n}\n"
FIRST = LOOP.replace("  none%6", SURE + "  none%6")
TAKEN = {
    "a row": LOOP + FITS + ROW,
    "a row, as it is": LOOP + ROW.replace("whole%21", "sum%8"),
    "a map before": FIRST.replace("  none%6", MAP + "  none%6") + MORE,
    "a map after": FIRST + MAP + MORE,
}
LEFT = {
    "no derivative's zeros": LOOP.replace("none%6: f64[?] = zero()", "none%6: f64[?] = map[axes=((0,),), fn=\"neg\"]"
                                          "(v%2)") + FITS + ROW,
    "used twice": LOOP + FITS + ROW.replace("out%22, v%2", "out%22, whole%21"),
    "a row that is known later": LOOP + FITS + "  at%25: int = sub(row%3, 0)\n" + ROW.replace("row%3", "at%25"),
    "of what the loop reads": LOOP.replace("  x%17", "  y%25: f64 = index[kinds=(\"i\", \"i\",)](all%1, 0, 0)\n  x%17")
        + FITS + ROW,
    "read in a turn": LOOP.replace("t%19: f64 = add(t%12, x%17)", "y%25: f64 = index[kinds=(\"i\",)](s%11, 0)\n"
                                   "    t%19: f64 = add(t%12, y%25)") + FITS + ROW,
    "set, not added": LOOP + FITS + ROW.replace("fn=\"add\", ", ""),
    "a map that may have no elements": LOOP + MAP.replace("v%24", "v%2") + MORE,
    "what the loop gives": FIRST + "  w%23: f64[?] = map[axes=((0,), (none,),), fn=\"mul\"](v%24, x%9)\n" + MORE,
}


def both(text):
    program = parsed(text)
    after = sums.run(program)
    check_after("sums", after)
    return program, after


def results(program, n):
    arrays = np.arange(12.0).reshape(3, 4), np.array([2.0, 3.0, 5.0, 7.0])
    return [x.tolist() for x in Interpreter(program).call("f", [*arrays, 1, n])]


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("name", TAKEN)
def test_added_where_it_goes(name, n):
    before, after = both(TAKEN[name])
    assert "start%7" not in print_program(after)
    assert results(before, n) == results(after, n)


@pytest.mark.parametrize("name", LEFT)
def test_left_as_it_is(name):
    before, after = both(LEFT[name])
    assert "start%7: f64[?]" in print_program(after)
    assert results(before, 3) == results(after, 3)


def test_what_has_its_shape_needs_none():
    text = FIRST + MAP + "  w%26: f64[?] = shaped(w%23, size%5)\n" + MORE.replace("w%23", "w%26").replace(
        "accumulate(sum%8, w%26)", "map[axes=((0,), (0,),), fn=\"add\"](sum%8, w%26)")
    before, after = both(text)
    assert "w%26" not in print_program(after)
    assert results(before, 2) == results(after, 2)
