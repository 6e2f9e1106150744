"""exp, erf and quotients of f32 for AVX-512: of vectors that fill a register, with tables that lie in registers too.

A table has 32 entries, in two registers, from which one instruction takes an entry for each element by the low bits of
a number. Adding ROUNDER rounds to the table's steps and leaves the entry's number in just these bits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import cache

from hybridc.llvm.code import float_text
from hybridc.llvm.wide import WIDTH, Wide, vector

ENTRIES = 32
BITS = 1.5 * 2**23
ROUNDER = {step: BITS * step for step in (1 / 8, 1 / 32)}
LN2 = 0.693359375, -2.12194440e-4
"""ln(2) in two parts: the first has few bits."""
STEP = 1 / 8
"""Between the places at which erf has a polynomial each."""
LAST = (ENTRIES - 1) * STEP
"""Around here and from here on it is 1."""
FLOATS, INTS = vector("float"), vector("i32")


def fits(k: object) -> bool:
    """Is this code of such vectors?"""
    return isinstance(k, Wide) and k.module.vector_bytes == 4 * WIDTH


def _constant(value: float) -> str:
    return float_text(value, "float")


def _rounded(value: float) -> float:
    """To f32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _fma(k: Wide, a: str, b: str, c: str) -> str:
    return k.call("float", "@llvm.fma.f32", [("float", a), ("float", b), ("float", c)])


def _entry(k: Wide, table: Sequence[float], number: str) -> str:
    halves = [f"<{', '.join(f'float {_constant(v)}' for v in part)}>" for part in (table[:WIDTH], table[WIDTH:])]
    return k.code.call(FLOATS, "@llvm.x86.avx512.vpermi2var.ps.512", [
        (FLOATS, halves[0]), (INTS, number), (FLOATS, halves[1])])


def _nearest(k: Wide, x: str, scale: float, step: float) -> tuple[str, str]:
    """x * scale rounded to a multiple of the step, and the number of that multiple in the low bits."""
    rounded = _fma(k, x, _constant(scale), _constant(ROUNDER[step]))
    return k.op2("fsub", "float", rounded, _constant(ROUNDER[step])), k.convert("bitcast", "float", rounded, "i32")


def exp(k: Wide, x: str) -> str:
    """2**(i/32) from a table, times a polynomial, times a power of two."""
    x = k.select(k.fcmp("ogt", "float", x, _constant(90.0)), "float", _constant(90.0), x)
    none = k.fcmp("olt", "float", x, _constant(-105.0))
    # What gives 0 is not computed: where a result underflows processors may take a hundred cycles.
    x = k.select(none, "float", _constant(0.0), x)
    whole, number = _nearest(k, x, 1 / math.log(2), 1 / ENTRIES)
    r = x
    for part in LN2:
        r = _fma(k, whole, _constant(-part), r)
    p = _fma(k, r, _constant(1 / 6), _constant(0.5))
    p = _fma(k, p, k.op2("fmul", "float", r, r), r)
    roots = [2 ** (i / ENTRIES) for i in range(ENTRIES)]
    root, rest = _entry(k, roots, number), _entry(k, [v - _rounded(v) for v in roots], number)
    p = k.op2("fadd", "float", root, _fma(k, p, root, rest))
    some = k.code.convert("bitcast", vector("i1"), k.op2("xor", "i1", none, "true"), f"i{WIDTH}")
    # Times 2**floor(whole), where there is something.
    return k.code.call(FLOATS, "@llvm.x86.avx512.mask.scalef.ps.512", [
        (FLOATS, p), (FLOATS, whole), (FLOATS, "zeroinitializer"), (f"i{WIDTH}", some),
        ("i32", "4")])


@cache
def _erf_around(place: float, h: float) -> tuple[float, ...]:
    """Coefficients of erf(place + t) for |t| <= h, those of t**5 first: the series, with t**6 by Chebyshev's polynomial
    of degree 6, so that of it only a thirty-second is lost."""
    hermite = [1.0, 2 * place]
    for n in range(1, 5):
        hermite.append(2 * place * hermite[n] - 2 * n * hermite[n - 1])
    slope = 2 / math.sqrt(math.pi) * math.exp(-place * place)
    c = [math.erf(place), *(slope * (-1) ** n * hermite[n] / math.factorial(n + 1) for n in range(6))]
    c[4] += 1.5 * h**2 * c[6]
    c[2] -= 9 / 16 * h**4 * c[6]
    c[0] += h**6 / 32 * c[6]
    return tuple(reversed(c[:6]))


def erf(k: Wide, x: str) -> str:
    """A polynomial of its own around each multiple of STEP."""
    size = k.call("float", "@llvm.fabs.f32", [("float", x)])
    size = k.select(k.fcmp("ogt", "float", size, _constant(LAST)), "float", _constant(LAST), size)
    place, number = _nearest(k, size, 1.0, STEP)
    t = k.op2("fsub", "float", size, place)
    table = [*(_erf_around(i * STEP, STEP / 2) for i in range(ENTRIES - 1)), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)]
    value = _entry(k, [row[0] for row in table], number)
    for i in range(1, 6):
        value = _fma(k, value, t, _entry(k, [row[i] for row in table], number))
    return k.call("float", "@llvm.copysign.f32", [("float", value), ("float", x)])


def quotient(k: Wide, a: str, b: str) -> str:
    """a / b for b of ordinary size, within 1 unit in the last place: an approximation of 1 / b and a step of Newton's,
    where a division keeps the divider busy for as long as all the rest."""
    near = k.code.call(FLOATS, "@llvm.x86.avx512.rcp14.ps.512", [
        (FLOATS, k.of("float", b)), (FLOATS, "zeroinitializer"), (f"i{WIDTH}", "-1")])
    q = k.op2("fmul", "float", a, near)
    rest = _fma(k, k.fneg("float", b), q, a)
    return _fma(k, rest, near, q)
