"""What the scalar operators compute, as Python functions of Python's numbers: the reference for every other backend."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import numpy as np

from hybridc.base.types import BOOL, F32, F64, FLOATS, I32, INT, Prim
from hybridc.core.rounding import BITS, HIGHEST, LOWEST, MASK64, ROUND, same
from hybridc.core.values import InterpFault


# ---- floats, before rounding
def _guarded(f: Callable[[float], float]) -> Callable[[float], float]:
    """Python raises where IEEE has nan."""

    def g(x: float) -> float:
        try:
            return f(x)
        except ValueError:
            return math.nan

    return g


def f_exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def f_expm1(x: float) -> float:
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def f_log(x: float) -> float:
    return -math.inf if x == 0 else math.nan if x < 0 else math.log(x)


def f_log1p(x: float) -> float:
    return -math.inf if x == -1 else math.nan if x < -1 else math.log1p(x)


def f_sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + f_exp(-x))
    e = f_exp(x)
    return e / (1.0 + e)


def f_floor(x: float) -> float:
    return math.copysign(float(math.floor(x)), x) if math.isfinite(x) else x


def f_round(x: float) -> float:
    return math.copysign(float(round(x)), x) if math.isfinite(x) else x


def f_div(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)
    return a / b


def f_floordiv(a: float, b: float) -> float:
    return f_div(a, b) if b == 0 else a // b


def f_mod(a: float, b: float) -> float:
    return math.nan if b == 0 else a % b


def f_pow(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(a), np.float64(b)))


def f_minimum(a: float, b: float) -> float:
    if a != a or b != b:
        return math.nan
    if a == b:
        return a if math.copysign(1.0, a) < 0 else b
    return a if a < b else b


def f_maximum(a: float, b: float) -> float:
    if a != a or b != b:
        return math.nan
    if a == b:
        return b if math.copysign(1.0, a) < 0 else a
    return a if a > b else b


def f_sign(x: float) -> float:
    return float((x > 0) - (x < 0))


FLOAT1: dict[str, Callable[[float], float]] = {
    "exp": f_exp, "log": f_log, "sqrt": _guarded(math.sqrt), "sin": _guarded(math.sin), "cos": _guarded(math.cos),
    "tan": _guarded(math.tan), "tanh": math.tanh, "asin": _guarded(math.asin), "acos": _guarded(math.acos),
    "atan": math.atan, "erf": math.erf, "log1p": f_log1p, "expm1": f_expm1, "sigmoid": f_sigmoid, "floor": f_floor,
    "round": f_round, "neg": lambda x: -x, "abs": abs, "sign": f_sign,
}  # fmt: skip
FLOAT2: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": f_div,
    "floordiv": f_floordiv, "mod": f_mod, "pow": f_pow, "minimum": f_minimum, "maximum": f_maximum,
    "atan2": math.atan2,
}  # fmt: skip


# ---- integers, before wrapping
def i_floordiv(a: int, b: int) -> int:
    if b == 0:
        raise InterpFault("ZeroDivisionError", "integer division or modulo by zero")
    return a // b


def i_mod(a: int, b: int) -> int:
    if b == 0:
        raise InterpFault("ZeroDivisionError", "integer division or modulo by zero")
    return a % b


def i_pow(a: int, b: int) -> int:
    if b < 0:
        raise InterpFault("ValueError", "negative power of an integer")
    return pow(a, b, 1 << 64)


def _shift(f: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def g(a: int, b: int) -> int:
        if b < 0:
            raise InterpFault("ValueError", "negative shift count")
        return f(a, min(b, 64))

    return g


INT1: dict[str, Callable[[int], int]] = {
    "neg": lambda x: -x, "abs": abs, "sign": lambda x: (x > 0) - (x < 0), "bit_not": lambda x: ~x,
    "ctz": lambda x: (x & -x).bit_length() - 1 if x else 64,
}  # fmt: skip
INT2: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "floordiv": i_floordiv,
    "mod": i_mod, "pow": i_pow, "minimum": min, "maximum": max, "bit_and": lambda a, b: a & b,
    "bit_or": lambda a, b: a | b, "bit_xor": lambda a, b: a ^ b, "shl": _shift(lambda a, b: a << b),
    "shr": _shift(lambda a, b: a >> b), "mulhi": lambda a, b: ((a & MASK64) * (b & MASK64)) >> 64,
}  # fmt: skip
COMPARE: dict[str, Callable] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


def scalar_function(op: str, source: Prim, target: Prim, checked: bool = False) -> Callable:
    """The function that an operator on scalars of type `source` with a result of type `target` computes."""
    finish = ROUND[target]
    if op in COMPARE:
        return COMPARE[op]
    if op == "cast":
        return cast_function(source, target, checked)
    if op == "bitcast":
        return _bitcast(source, target)
    if op == "not" or (op == "bit_not" and source == BOOL):
        return lambda x: not x
    if op == "lshr":
        mask = (1 << BITS[source]) - 1
        return _shift(lambda a, b: finish((a & mask) >> b))
    if op == "rsqrt":
        root = FLOAT1["sqrt"]
        return lambda x: finish(f_div(1.0, finish(root(x))))
    one, two = (FLOAT1, FLOAT2) if source in FLOATS else (INT1, INT2)
    if op in one:
        f = one[op]
        return f if finish is same else lambda x: finish(f(x))
    g = two[op]
    return g if finish is same else lambda a, b: finish(g(a, b))


def cast_function(source: Prim, target: Prim, checked: bool) -> Callable:
    """Conversion from one scalar type to another."""
    if target == source:
        return same
    if target == BOOL:
        return lambda x: x != 0
    if target in FLOATS:
        if target == F32 and source == INT:
            return lambda x: float(np.int64(x).astype(np.float32))  # rounded once
        finish = ROUND[target]
        return lambda x: finish(float(x))
    low, high, wrap = LOWEST[target], HIGHEST[target], ROUND[target]
    wrong = f"value out of range for {target}"

    def from_int(x: int) -> int:
        if checked and not low <= x <= high:
            raise InterpFault("ValueError", wrong)
        return wrap(int(x))  # type: ignore[no-any-return]

    def from_float(x: float) -> int:
        if x != x or math.isinf(x):
            if checked:
                raise InterpFault("ValueError", wrong)
            return 0 if x != x else high if x > 0 else low
        whole = math.trunc(x)
        if low <= whole <= high:
            return whole
        if checked:
            raise InterpFault("ValueError", wrong)
        return high if whole > 0 else low

    return from_float if source in FLOATS else from_int


def _bitcast(source: Prim, target: Prim) -> Callable:
    codes = {F64: "d", INT: "q", F32: "f", I32: "i"}
    start, end = struct.Struct("<" + codes[source]), struct.Struct("<" + codes[target])
    return lambda x: end.unpack(start.pack(x))[0]
