"""Minima that wait for the one before, by vectors of each width and without them, against a loop in Python."""

from __future__ import annotations

import ctypes
import random

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Program
from hybridc.core.verify import verify
from hybridc.llvm import processors
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from tests.core.texts import parsed

SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100]
SCAN = """
fn f(xs%1: buffer[int], marks%2: buffer[int], n%3: int, before%4: int, step%5: int) -> (buffer[int]) {{
  size%6: int = add(n%3, 2)
  b%7: buffer[int] = buffer_new(size%6)
  end%8: int = add(n%3, 1)
  b%9: buffer[int] = buffer_set(b%7, 0, 77)
  b%10: buffer[int] = buffer_set(b%9, end%8, 78)
  b%11: buffer[int] = buffer_scan[of="{of}"](b%10, 1, xs%1, n%3, before%4, {step}{anew})
  exit 0 b%11
}}
"""
"""Into the middle of a buffer, between elements that stay."""
ENTRY = """
fn main(seed%1: int, shift%2: int, n%3: int, before%4: int, step%5: int) -> (int) {
  xs%6: buffer[int] = buffer_new(n%3)
  marks%7: buffer[int] = buffer_new(n%3)
  xs%8: buffer[int], marks%9: buffer[int], last%10: int = loop 1 (xs%11: buffer[int] = xs%6, marks%12: buffer[int] = marks%7, x%13: int = seed%1, i%14: int = 0) {
    %15: bool = lt(i%14, n%3)
    if %15 { yield } else { exit 1 xs%11, marks%12, x%13 }
    %16: int = mul(x%13, 6364136223846793005)
    x%17: int = add(%16, 1442695040888963407)
    %18: int = shr(x%17, shift%2)
    xs%19: buffer[int] = buffer_set(xs%11, i%14, %18)
    %20: int = shr(x%17, 40)
    %21: int = bit_and(%20, 3)
    %22: int = floordiv(%21, 3)
    marks%23: buffer[int] = buffer_set(marks%12, i%14, %22)
    i%24: int = add(i%14, 1)
    yield xs%19, marks%23, x%17, i%24
  }
  out%25: buffer[int] = call f(xs%8, marks%9, n%3, before%4, step%5)
  size%26: int = add(n%3, 2)
  sum%27: int = loop 2 (sum%28: int = 0, i%29: int = 0) {
    %30: bool = lt(i%29, size%26)
    if %30 { yield } else { exit 2 sum%28 }
    %31: int = mul(sum%28, 31)
    %32: int = buffer_get(out%25, i%29)
    sum%33: int = add(%31, %32)
    i%34: int = add(i%29, 1)
    yield sum%33, i%34
  }
  exit 0 sum%27
}
"""
"""Of numbers that a seed gives, the `shift` highest digits left out; all that is found, as one number."""
KINDS = [(of, steps, anew) for of in ("minimum", "maximum") for steps in (False, True) for anew in (False, True)]


def program(of: str, steps: bool, anew: bool) -> Program:
    made = parsed(SCAN.format(of=of, step="step%5" if steps else "0", anew=", marks%2" if anew else "") + ENTRY)
    assert verify(made) == []
    return made


def wrapped(x: int) -> int:
    return (x + (1 << 63)) % (1 << 64) - (1 << 63)


def wanted(of: str, anew: bool, seed: int, shift: int, n: int, before: int, step: int) -> int:
    out, x = [77], seed
    for _ in range(n):
        x = wrapped(x * 6364136223846793005 + 1442695040888963407)
        here = x >> shift
        best = (min if of == "minimum" else max)(here, before + step)
        before = here if anew and (x >> 40 & 3) == 3 else best
        out.append(before)
    total = 0
    for y in [*out, 78]:
        total = wrapped(total * 31 + y)
    return total


def cases(steps: bool) -> list[tuple[int, int, int, int, int]]:
    """Seeds, digits left out, sizes, what is before, steps; without steps any number may be there."""
    random.seed(7)
    return [(random.getrandbits(60), shift, n, wrapped(random.getrandbits(64)) >> shift, step)
            for n in SIZES for shift, step in ([(58, -1), (55, 3), (14, 1 << 30), (3, 0)] if steps else [(58, 0), (0, 0)])]


@pytest.mark.parametrize(("of", "steps", "anew"), KINDS)
def test_interpreter(of: str, steps: bool, anew: bool) -> None:
    machine = Interpreter(program(of, steps, anew))
    for case in cases(steps):
        assert machine.call("main", case) == (wanted(of, anew, *case),), case


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize(("of", "steps", "anew"), KINDS)
def test_compiled(of: str, steps: bool, anew: bool, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of any width run on this processor: LLVM takes several, or parts of its own."""
    monkeypatch.setattr(processors, "vector_bytes", lambda cpu: width)
    loaded = Loaded(compile_program(program(of, steps, anew), ["main"], ()))
    for case in cases(steps):
        (got,) = loaded.scalars("main", [(ctypes.c_int64, x) for x in case], [ctypes.c_int64])
        assert got == wanted(of, anew, *case), case
    assert loaded.live == 0
