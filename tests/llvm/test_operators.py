"""Scalar operators on every type, against Python and numpy."""

from __future__ import annotations

import ctypes
import math
import random

import numpy as np
import pytest

from hybridc.core.builder import Builder
from hybridc.core.interp_ops import place
from hybridc.core.ir import BF16, BOOL, F16, F32, F64, I32, INT, U8, Fn, Prim, Program, Yield
from hybridc.core.values import InterpFault
from hybridc.llvm.code import bf16_bits
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded, NativeFault

C = {
    INT: ctypes.c_int64,
    I32: ctypes.c_int32,
    U8: ctypes.c_uint8,
    BOOL: ctypes.c_bool,
    F64: ctypes.c_double,
    F32: ctypes.c_float,
    F16: ctypes.c_uint16,
    BF16: ctypes.c_uint16,
}
BITS = {INT: 64, I32: 32, U8: 8}
INT_OPS = "add sub mul floordiv mod pow minimum maximum bit_and bit_or bit_xor shl shr lshr eq ne lt le gt ge".split()
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}


def wrap(value: int, t: Prim) -> int:
    bits = BITS[t]
    value &= (1 << bits) - 1
    return value if t == U8 or value < 1 << (bits - 1) else value - (1 << bits)


def expected(op: str, t: Prim, a: int, b: int):
    bits = BITS[t]
    match op:
        case "add":
            return wrap(a + b, t)
        case "sub":
            return wrap(a - b, t)
        case "mul":
            return wrap(a * b, t)
        case "floordiv":
            return "ZeroDivisionError" if b == 0 else wrap(a // b, t)
        case "mod":
            return "ZeroDivisionError" if b == 0 else wrap(a % b, t)
        case "pow":
            return "ValueError" if b < 0 else wrap(pow(a, b, 1 << bits), t)
        case "minimum":
            return min(a, b)
        case "maximum":
            return max(a, b)
        case "bit_and":
            return a & b
        case "bit_or":
            return a | b
        case "bit_xor":
            return a ^ b
        case "shl":
            return "ValueError" if b < 0 else wrap(a << b, t) if b < bits else 0
        case "shr":
            return "ValueError" if b < 0 else a >> min(b, bits)
        case "lshr":
            return "ValueError" if b < 0 else wrap((a & ((1 << bits) - 1)) >> b, t)
        case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
            return getattr(a, f"__{op}__")(b)


def name(op: str, *types: Prim) -> str:
    return "_".join([op, *(t.name for t in types)])


def make(op: str, types: tuple[Prim, ...], out: Prim, **attrs) -> Fn:
    b = Builder()
    params = tuple(b.var(t) for t in types)
    b.open()
    result = b.op(op, params, out, **attrs)
    return Fn(name(op, *types, out), params, (out,), b.close(Yield((result,))))


def load(fns: list[Fn]) -> Loaded:
    p = Program(fns={fn.name: fn for fn in fns})
    return Loaded(compile_program(p, list(p.fns), opt=1))


def run(jit: Loaded, fn: str, args: list[tuple[Prim, object]], out: Prim):
    try:
        return jit.scalars(fn, [(C[t], v) for t, v in args], [C[out]])[0]
    except NativeFault as fault:
        return fault.kind


def test_integers():
    fns = [make(op, (t, t), BOOL if op in COMPARISONS else t) for t in BITS for op in INT_OPS]
    jit = load(fns)
    some = random.Random(3)
    for t, bits in BITS.items():
        low, high = (0, 255) if t == U8 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        edges = [v for v in (0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 65, -1, -2, -7, low, high, low + 1) if low <= v <= high]
        pairs = [(a, b) for a in edges for b in edges] + [
            (some.randint(low, high), some.randint(low, high)) for _ in range(50)
        ]
        for op in INT_OPS:
            out = BOOL if op in COMPARISONS else t
            for a, b in pairs:
                assert run(jit, name(op, t, t, out), [(t, a), (t, b)], out) == expected(op, t, a, b), (op, t, a, b)


def test_one_integer():
    jit = load(
        [make(op, (t,), t) for t in BITS for op in ("neg", "abs", "sign", "bit_not")] + [make("mulhi", (INT, INT), INT), make("ctz", (INT,), INT)]
    )
    for t in BITS:
        for v in (0, 1, 5, 255) if t == U8 else (0, 1, -1, -5, -(1 << (BITS[t] - 1))):
            v = wrap(v, t)
            assert run(jit, name("neg", t, t), [(t, v)], t) == wrap(-v, t)
            assert run(jit, name("abs", t, t), [(t, v)], t) == wrap(abs(v), t)
            assert run(jit, name("sign", t, t), [(t, v)], t) == (v > 0) - (v < 0)
            assert run(jit, name("bit_not", t, t), [(t, v)], t) == wrap(~v, t)
    for v in (0, 1, -1, 40, -(1 << 63)):
        assert run(jit, name("ctz", INT, INT), [(INT, v)], INT) == (64 if v == 0 else (v & -v).bit_length() - 1)
    big = 0x9E3779B97F4A7C15
    assert run(jit, "mulhi_int_int_int", [(INT, wrap(big, INT)), (INT, -3)], INT) == wrap(big * (2**64 - 3) >> 64, INT)


def test_place():
    """Compiled, and as the interpreter has it."""
    jit = load([make("place", (INT, INT), INT)])
    for n in (0, 1, 5, 2**62):
        for i in (0, 1, 4, 5, -1, -5, -6, n - 1, n, -n, -n - 1, 2**63 - 1, -(2**63)):
            want = i if 0 <= i < n else i + n if -n <= i < 0 else "IndexError"
            assert run(jit, "place_int_int_int", [(INT, i), (INT, n)], INT) == want, (i, n)
            try:
                got = place(i, n)
            except InterpFault as fault:
                got = fault.kind
            assert got == want, (i, n)


def python_floordiv(a: float, b: float) -> float:
    return a // b if b else float(np.float64(a) / np.float64(b))


def python_mod(a: float, b: float) -> float:
    return a % b if b and not math.isinf(a) else math.nan


def test_floats():
    ones = "neg abs sign exp log sqrt rsqrt sin cos tan tanh asin acos atan erf log1p expm1 sigmoid floor round".split()
    twos = "add sub mul div floordiv mod pow minimum maximum atan2".split()
    fns = [make(op, (t,), t) for t in (F64, F32) for op in ones] + [
        make(op, (t, t), t) for t in (F64, F32) for op in twos
    ]
    jit = load(fns)
    reference = {
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "erf": lambda x: np.float64(math.erf(x)),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "neg": np.negative,
        "round": np.rint,
        "div": np.divide,
        "asin": np.arcsin,
        "acos": np.arccos,
        "atan": np.arctan,
        "pow": np.power,
        "atan2": np.arctan2,
        "sub": np.subtract,
        "mul": np.multiply,
        "floordiv": python_floordiv,
        "mod": python_mod,
        "sign": lambda x: (x > 0) * 1.0 - (x < 0),  # of nan 0, as torch has it
    }
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 3.5, -2.5, 1e-3, 7.25, -3.75, 100.0, math.inf, -math.inf, math.nan]
    with np.errstate(all="ignore"):
        for t, tolerance in ((F64, 1e-14), (F32, 3e-6)):
            round_to = np.float32 if t == F32 else np.float64
            for op in ones:
                f = reference.get(op) or getattr(np, op)
                for x in values:
                    x = float(round_to(x))
                    got, want = run(jit, name(op, t, t), [(t, x)], t), float(round_to(f(np.float64(x))))
                    assert got == pytest.approx(want, rel=tolerance, abs=1e-7 if t == F32 else 1e-14, nan_ok=True), (
                        op,
                        x,
                    )
                    if op in ("floor", "round", "neg", "sqrt", "sign") and want == 0 and op != "sign":
                        assert math.copysign(1, got) == math.copysign(1, want), (op, x)
            for op in twos:
                f = reference.get(op) or getattr(np, op)
                for x in values:
                    for y in values:
                        x, y = float(round_to(x)), float(round_to(y))
                        if op in ("floordiv", "mod") and (math.isinf(y) or math.isnan(x) or math.isnan(y)):
                            continue
                        if op == "floordiv" and math.isinf(x):
                            continue
                        if op == "pow" and x == -math.inf and y == 0.5:
                            continue  # numpy takes a square root there, and says nan
                        got, want = (
                            run(jit, name(op, t, t, t), [(t, x), (t, y)], t),
                            float(round_to(f(np.float64(x), np.float64(y)))),
                        )
                        assert got == pytest.approx(want, rel=tolerance, abs=1e-30, nan_ok=True), (op, x, y)


CASTS = [(s, t) for s in (*BITS, BOOL, F64, F32) for t in (*BITS, BOOL, F64, F32) if s != t]


def test_casts():
    fns = [make("cast", (s,), t, checked=True) for s, t in CASTS]
    jit = load(fns)
    ints = [0, 1, -1, 127, 128, 255, 256, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]
    floats = [
        0.0,
        -0.5,
        0.99,
        255.9,
        256.0,
        -1.0,
        2147483647.0,
        2147483648.0,
        2.0**63,
        -(2.0**63),
        1e300,
        math.inf,
        math.nan,
    ]
    for s, t in CASTS:
        values = [True, False] if s == BOOL else floats if s in (F64, F32) else [v for v in ints if wrap(v, s) == v]
        for v in values:
            if s == F32:
                v = float(np.float32(min(v, 3e38) if v == v and not math.isinf(v) else v))
            got = run(jit, name("cast", s, t), [(s, v)], t)
            if t in (F64, F32):
                want = (
                    float(v)
                    if t == F64
                    else float(np.float32(v))
                    if abs(v) < 1e39 or v != v
                    else math.copysign(math.inf, v)
                )
                assert got == pytest.approx(want, rel=0, abs=0, nan_ok=True)
            elif t == BOOL:
                assert got == (v != 0)
            else:
                fits = v == v and not (isinstance(v, float) and math.isinf(v)) and wrap(int(v), t) == int(v)
                assert got == (int(v) if fits else "ValueError"), (s, t, v)


def test_unchecked_casts():
    jit = load([make("cast", (s,), t) for s, t in ((INT, U8), (INT, I32), (F64, INT), (F64, U8))])
    assert run(jit, "cast_int_u8", [(INT, -1)], U8) == 255
    assert run(jit, "cast_int_i32", [(INT, 2**31)], I32) == -(2**31)
    assert run(jit, "cast_f64_int", [(F64, math.nan)], INT) == 0
    assert run(jit, "cast_f64_int", [(F64, 1e30)], INT) == 2**63 - 1
    assert run(jit, "cast_f64_u8", [(F64, -5.0)], U8) == 0


def test_halves():
    fns = [make("cast", (F64,), t) for t in (F16, BF16)] + [make("cast", (t,), F64) for t in (F16, BF16)]
    fns += [make("cast", (F32,), t) for t in (F16, BF16)] + [
        make(op, (t, t), t) for t in (F16, BF16) for op in ("add", "mul", "div", "pow")
    ]
    fns += [make("sqrt", (t,), t) for t in (F16, BF16)] + [make("cast", (INT,), t) for t in (F16, BF16)]
    jit = load(fns)
    some = random.Random(4)
    values = [
        0.0,
        1.0,
        -2.5,
        65504.0,
        65519.99,
        65520.0,
        1e-8,
        6e-8,
        1 + 2**-11,
        1 + 2**-11 + 2**-40,
        1 + 2**-8,
        1 + 2**-8 + 2**-45,
        math.inf,
        3.4e38,
        3.39e38,
    ]
    values += [some.uniform(-100, 100) for _ in range(100)]
    with np.errstate(all="ignore"):
        for x in values:
            assert run(jit, "cast_f64_f16", [(F64, x)], F16) == int(np.float64(x).astype(np.float16).view(np.uint16)), x
            assert run(jit, "cast_f32_f16", [(F32, x)], F16) == int(np.float32(x).astype(np.float16).view(np.uint16)), x
            assert run(jit, "cast_f64_bf16", [(F64, x)], BF16) == bf16_bits(x), x
            assert run(jit, "cast_f32_bf16", [(F32, x)], BF16) == bf16_bits(float(np.float32(x))), x
        for _ in range(100):
            a, b = (np.float16(some.uniform(-50, 50)) for _ in range(2))
            for op, f in (("add", np.add), ("mul", np.multiply), ("div", np.divide)):
                got = run(jit, f"{op}_f16_f16_f16", [(F16, int(a.view(np.uint16))), (F16, int(b.view(np.uint16)))], F16)
                assert got == int(np.float16(f(a, b)).view(np.uint16))
            x = bf16_bits(float(a))
            back = run(jit, "cast_bf16_f64", [(BF16, x)], F64)
            assert bf16_bits(back) == x
            assert run(jit, "add_bf16_bf16_bf16", [(BF16, x), (BF16, x)], BF16) == bf16_bits(2 * back)
    assert run(jit, "cast_int_f16", [(INT, 70000)], F16) == 0x7C00
    assert run(jit, "cast_int_bf16", [(INT, 257)], BF16) == bf16_bits(257.0)


def test_constants_of_halves():
    assert [bf16_bits(x) for x in (0.0, -0.0, 1.0, -1.0, math.inf, math.nan, 1e39)] == [
        0,
        0x8000,
        0x3F80,
        0xBF80,
        0x7F80,
        0x7FC0,
        0x7F80,
    ]
    for bits in range(0, 0x7F80, 37):
        exact = float(np.uint32(bits << 16).view(np.float32))
        assert bf16_bits(exact) == bits
