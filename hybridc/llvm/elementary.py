"""exp, log, log1p, sigmoid, tanh, erf, sin and cos of f32 as straight-line polynomials (after Cephes; erf after N.
Juffa), of scalars or (sin and cos only) of vectors.

Errors are at most 2.5 units in the last place; nan, infinities and subnormal results are right. Vectors that fill a
register of AVX-512 have exp and erf of their own (in_registers.py). Everything else is a call of the C library
(scalar_ops.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from hybridc.base.types import BF16, F16, F32, Prim
from hybridc.llvm import in_registers
from hybridc.llvm.casts import narrow, widen
from hybridc.llvm.code import Code, float_text
from hybridc.llvm.scalar_ops import AS_THEY_ARE, emit_scalar
from hybridc.llvm.wide import WIDTH, Wide, vector

LOG2E = 1.44269504088896341
ROUNDER = 12582912.0
"""1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits."""
ROUNDER_BITS = 0x4B400000


def constant(value: float) -> str:
    return float_text(value, "float")


def _add(k: Code | Wide, a: str, b: str) -> str:
    return k.op2("fadd contract", "float", a, b)


def _mul(k: Code | Wide, a: str, b: str) -> str:
    return k.op2("fmul contract", "float", a, b)


def _fma(k: Code | Wide, a: str, b: str, c: str) -> str:
    return k.call("float", "@llvm.fmuladd.f32", [("float", a), ("float", b), ("float", c)])


def polynomial(k: Code | Wide, x: str, coefficients: Sequence[float]) -> str:
    """Highest power first."""
    value = constant(coefficients[0])
    for c in coefficients[1:]:
        value = _fma(k, value, x, constant(c))
    return value


def _power_of_two(k: Code | Wide, n: str) -> str:
    """2**n for -126 <= n <= 127, from an i32."""
    bits = k.op2("shl", "i32", k.op2("add", "i32", n, "127"), "23")
    return k.convert("bitcast", "i32", bits, "float")


def exp(k: Code | Wide, x: str) -> str:
    if in_registers.fits(k):
        return in_registers.exp(k, x)  # type: ignore[arg-type]
    # Beyond these the result is 0 or infinity; nan goes through both comparisons. What gives 0 is put in at the end:
    # where a multiplication underflows, as for all that a mask has set to -inf, processors take a hundred cycles.
    x = k.select(k.fcmp("ogt", "float", x, constant(90.0)), "float", constant(90.0), x)
    none = k.fcmp("olt", "float", x, constant(-105.0))
    x = k.select(none, "float", constant(0.0), x)
    rounded = k.op2("fadd", "float", k.op2("fmul", "float", x, constant(LOG2E)), constant(ROUNDER))
    whole = k.op2("fsub", "float", rounded, constant(ROUNDER))
    n = k.op2("sub", "i32", k.convert("bitcast", "float", rounded, "i32"), str(ROUNDER_BITS))
    r = _fma(k, whole, constant(-0.693359375), x)
    r = _fma(k, whole, constant(2.12194440e-4), r)
    p = polynomial(k, r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                          5.0000001201e-1))
    p = _fma(k, p, _mul(k, r, r), r)
    p = k.op2("fadd", "float", p, constant(1.0))
    # In two steps, so that neither factor leaves the range when the result is subnormal.
    half = k.op2("ashr", "i32", n, "1")
    p = k.op2("fmul", "float", p, _power_of_two(k, half))
    y = k.op2("fmul", "float", p, _power_of_two(k, k.op2('sub', 'i32', n, half)))
    return k.select(none, "float", constant(0.0), y)


def _quotient(k: Code | Wide, a: str, b: str) -> str:
    """a / b, with b from 1 on."""
    if in_registers.fits(k):
        return in_registers.quotient(k, a, b)  # type: ignore[arg-type]
    return k.op2("fdiv", "float", a, b)


def sigmoid(k: Code | Wide, x: str) -> str:
    """Of exp(-|x|), which does not overflow: results that are subnormal stay right."""
    size = k.call("float", "@llvm.fabs.f32", [("float", x)])
    e = exp(k, k.fneg("float", size))
    above = k.select(k.fcmp("oge", "float", x, constant(0.0)), "float", constant(1.0), e)
    return _quotient(k, above, k.op2("fadd", "float", constant(1.0), e))


def tanh(k: Code | Wide, x: str) -> str:
    size = k.call("float", "@llvm.fabs.f32", [("float", x)])
    square = _mul(k, x, x)
    p = polynomial(k, square, (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                               -3.33332819422e-1))
    small = _fma(k, _mul(k, p, square), x, x)
    e = exp(k, k.op2("fadd", "float", size, size))
    ratio = k.op2("fdiv", "float", constant(2.0), k.op2("fadd", "float", e, constant(1.0)))
    large = k.op2("fsub", "float", constant(1.0), ratio)
    value = k.select(k.fcmp("olt", "float", size, constant(0.625)), "float", small, large)
    return k.call("float", "@llvm.copysign.f32", [("float", value), ("float", x)])  # of -0.0 too


def log(k: Code | Wide, x: str) -> str:
    tiny = k.fcmp("olt", "float", x, constant(2.0**-126))
    scaled = k.select(tiny, "float", k.op2("fmul", "float", x, constant(2.0**23)), x)
    bits = k.convert("bitcast", "float", scaled, "i32")
    exponent = k.op2("sub", "i32", k.op2("lshr", "i32", bits, "23"), "126")
    exponent = k.select(tiny, "i32", k.op2("sub", "i32", exponent, "23"), exponent)
    m_bits = k.op2("or", "i32", k.op2("and", "i32", bits, str(0x007FFFFF)), str(0x3F000000))
    m = k.convert("bitcast", "i32", m_bits, "float")  # in [0.5, 1)
    low = k.fcmp("olt", "float", m, constant(math.sqrt(0.5)))
    exponent = k.select(low, "i32", k.op2("sub", "i32", exponent, "1"), exponent)
    m = k.select(low, "float", k.op2("fadd", "float", m, m), m)
    f = k.op2("fsub", "float", m, constant(1.0))
    e = k.convert("sitofp", "i32", exponent, "float")
    z = _mul(k, f, f)
    p = polynomial(k, f, (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                          -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))
    y = _mul(k, _mul(k, p, f), z)
    y = _fma(k, e, constant(-2.12194440e-4), y)
    y = _fma(k, z, constant(-0.5), y)
    y = _fma(k, e, constant(0.693359375), _add(k, f, y))
    zero = k.fcmp("oeq", "float", x, constant(0.0))
    y = k.select(zero, "float", constant(-math.inf), y)
    y = k.select(k.fcmp("olt", "float", x, constant(0.0)), "float", constant(math.nan), y)
    same = k.op2("or", "i1", k.fcmp("uno", "float", x, x), k.fcmp("oeq", "float", x, constant(math.inf)))
    return k.select(same, "float", x, y)


def log1p(k: Code | Wide, x: str) -> str:
    """log(u) for u = 1 + x rounded, and what the rounding took away in proportion."""
    one = constant(1.0)
    u = k.op2("fadd", "float", x, one)
    part = k.op2("fsub", "float", u, one)
    scaled = k.op2("fmul", "float", log(k, u), k.op2("fdiv", "float", x, part))
    scaled = k.select(k.fcmp("oeq", "float", part, constant(0.0)), "float", x, scaled)
    infinite = k.fcmp("oeq", "float", u, constant(math.inf))
    least = k.fcmp("oeq", "float", x, constant(-1.0))
    return k.select(least, "float", constant(-math.inf), k.select(infinite, "float", u, scaled))


def erf(k: Code | Wide, x: str) -> str:
    if in_registers.fits(k):
        return in_registers.erf(k, x)  # type: ignore[arg-type]
    size = k.call("float", "@llvm.fabs.f32", [("float", x)])
    square = _mul(k, x, x)
    r = _fma(k, constant(-1.72853470e-5), size, constant(3.83197126e-4))
    u = _fma(k, constant(-3.88396438e-3), size, constant(2.42546219e-2))
    r = _fma(k, r, square, u)
    for c in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        r = _fma(k, r, size, constant(c))
    r = _fma(k, r, size, k.fneg("float", size))
    large = k.op2("fsub", "float", constant(1.0), exp(k, r))
    large = k.call("float", "@llvm.copysign.f32", [("float", large), ("float", x)])
    p = polynomial(k, square, (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1,
                               1.28379166e-1))
    small = _fma(k, p, x, x)
    return k.select(k.fcmp("ogt", "float", size, constant(0.927734375)), "float", large, small)


ITSELF = 0b1110
"""The processor's word for 0, -0 and infinity."""


def _sqrt(k: Wide, x: str) -> str:
    """From the approximation of 1 / sqrt(x) to 14 bits that AVX-512 has, so that the divider is free for a division,
    which often follows. `root` is refined (Goldschmidt), then put right by what its square lacks: where that
    does not underflow (x above 2**-103) it is the number next to the root, else off by a unit in the last place at
    most."""
    t, given = vector("float"), f"{vector('float')} {k.of('float', x)}"
    k.module.declare(f"{t} @llvm.x86.avx512.rsqrt14.ps.512({t}, {t}, i16)")
    k.module.declare(f"{vector('i1')} @llvm.x86.avx512.fpclass.ps.512({t}, i32 immarg)")
    y = k.code.ins(f"call {t} @llvm.x86.avx512.rsqrt14.ps.512({given}, {t} zeroinitializer, i16 -1)")
    root, half = k.op2("fmul", "float", x, y), k.op2("fmul", "float", y, constant(0.5))
    off = _fma(k, k.fneg("float", root), half, constant(0.5))
    root, half = _fma(k, root, off, root), _fma(k, half, off, half)
    root = _fma(k, _fma(k, k.fneg("float", root), root, x), half, root)
    same = k.code.ins(f"call {vector('i1')} @llvm.x86.avx512.fpclass.ps.512({given}, i32 {ITSELF})")
    return k.select(same, "float", x, root)


QUARTER = 1.57079632673412561417, 6.07710050650619224932e-11
"""Half of pi: its first 33 bits, and the rest (fdlibm)."""
NEAR = 1e6
"""Up to which the number of quarters times their first part is exact."""


def _circular(k: Wide, fn: str, x: str) -> str:
    """sin or cos: reduced by quarters of a turn in double. Where an element is far away (or nan), the C library does
    all of them."""
    code, t = k.code, vector("float")
    size = k.call("float", "@llvm.fabs.f32", [("float", x)])
    far = code.convert("bitcast", vector("i1"), k.fcmp("ugt", "float", size, constant(NEAR)), f"i{WIDTH}")
    slow, quick, done = code.label("far"), code.label("near"), code.label("both")
    memory = code.alloca(4 * WIDTH, 64)
    code.branch(code.icmp("ne", far, "0", f"i{WIDTH}"), slow, quick)
    code.start(slow)
    code.do(f"store {t} {x}, ptr {memory}, align 64")
    with code.loop(str(WIDTH), rolled=True) as turn:
        at = code.element(memory, "float", turn.index)
        code.store("float", code.call("float", f"@{fn}f", [("float", code.load("float", at))]), at)
    exact, after = code.ins(f"load {t}, ptr {memory}, align 64"), code.here
    code.jump(done)
    code.start(quick)
    wide = k.convert("fpext", "float", x, "double")
    turns = k.op2("fmul", "double", wide, float_text(2 / math.pi, "double"))
    n = k.call("double", "@llvm.roundeven.f64", [("double", turns)])
    for part in QUARTER:
        wide = k.op2("fsub", "double", wide, k.op2("fmul", "double", n, float_text(part, "double")))
    r, q = k.convert("fptrunc", "double", wide, "float"), k.convert("fptosi", "double", n, "i32")
    z = _mul(k, r, r)  # type: ignore[arg-type]
    s = polynomial(k, z, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
    s = _fma(k, _mul(k, s, z), r, r)  # type: ignore[arg-type]
    s = k.select(k.fcmp("oeq", "float", x, constant(0.0)), "float", x, s)  # -0.0 is its own sine
    c = polynomial(k, z, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1.0))
    if fn == "cos":
        q = k.op2("add", "i32", q, "1")
    odd = k.icmp("ne", k.op2("and", "i32", q, "1"), "0", "i32")
    value = k.select(odd, "float", c, s)
    turned = k.icmp("ne", k.op2("and", "i32", q, "2"), "0", "i32")
    value = k.select(turned, "float", k.fneg("float", value), value)
    near = code.here
    code.jump(done)
    code.start(done)
    return code.phi(t, [(exact, after), (value, near)])


FAST: dict[str, Callable[[Code | Wide, str], str]] = {
    "exp": exp, "sigmoid": sigmoid, "tanh": tanh, "log": log, "log1p": log1p, "erf": erf,
}  # fmt: skip


def element(
    k: Code | Wide, fn: str, args: tuple[str, ...], types: tuple[Prim, ...], out: Prim, attrs: Mapping[str, object]
) -> str:
    """A scalar operator inside a kernel, or one of vectors; NotWide where there is none of these."""
    kind = types[0] if types else out
    if fn in ("sin", "cos") and kind == F32 and isinstance(k, Wide):
        return _circular(k, fn, args[0])
    if fn == "sqrt" and kind == F32 and isinstance(k, Wide) and k.module.vector_bytes == 64:
        return _sqrt(k, args[0])
    if fn not in FAST or kind not in (F32, F16, BF16) or fn in AS_THEY_ARE:
        return emit_scalar(k, fn, args, types, out, attrs)  # type: ignore[arg-type]
    if kind == F32:
        return FAST[fn](k, args[0])
    wide = widen(k, args[0], kind)  # type: ignore[arg-type]
    return narrow(k, FAST[fn](k, wide), kind)  # type: ignore[arg-type]
