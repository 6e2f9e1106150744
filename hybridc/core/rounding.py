"""The values of the scalar types: integers wrap, floats round to the nearest, ties to even."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from ctypes import c_float

from hybridc.base.types import BF16, BOOL, F16, F32, F64, I32, INT, U8, Prim

MASK64 = (1 << 64) - 1
BITS = {INT: 64, I32: 32, U8: 8, BOOL: 1}
LOWEST = {INT: -(1 << 63), I32: -(1 << 31), U8: 0}
HIGHEST = {INT: (1 << 63) - 1, I32: (1 << 31) - 1, U8: 255}


def wrap64(x: int) -> int:
    return ((x + (1 << 63)) & MASK64) - (1 << 63)


def wrap32(x: int) -> int:
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def wrap8(x: int) -> int:
    return x & 255


def round_f32(x: float) -> float:
    return c_float(x).value


def round_f16(x: float) -> float:
    try:
        return struct.unpack("e", struct.pack("e", x))[0]  # type: ignore[no-any-return]
    except OverflowError:
        return math.copysign(math.inf, x)


def round_bf16(x: float) -> float:
    """8 significant bits, the exponents of f32."""
    if x == 0 or not math.isfinite(x):
        return x
    _, exponent = math.frexp(x)
    unit = max(exponent - 8, -133)
    rounded = math.ldexp(round(math.ldexp(x, -unit)), unit)
    return math.copysign(math.inf, x) if abs(rounded) >= 2.0**128 else math.copysign(rounded, x)


def same(x: object) -> object:
    return x


ROUND: dict[Prim, Callable] = {
    INT: wrap64, I32: wrap32, U8: wrap8, BOOL: bool, F64: same, F32: round_f32, F16: round_f16, BF16: round_bf16,
}  # fmt: skip
