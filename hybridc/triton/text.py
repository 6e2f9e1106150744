"""Triton source as text: lines with indentation, names, types and constants. Nothing here imports triton."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from hybridc.base.types import BF16, BOOL, F16, F32, F64, FLOATS, I32, INT, U8, Prim
from hybridc.core.ir import Const

STORED = {
    BOOL: "uint8", INT: "int64", I32: "int32", U8: "uint8", F64: "float64", F32: "float32", F16: "float16",
    BF16: "bfloat16",
}
"""How an element lies in memory."""
SIGNATURE = {BOOL: "u8", INT: "i64", I32: "i32", U8: "u8", F64: "fp64", F32: "fp32", F16: "fp16", BF16: "bf16"}
"""Types as a kernel's signature has them."""


def computed(t: Prim) -> str:
    """The type that values are computed in: half precision in f32, rounded after each operator."""
    return "tl.int1" if t == BOOL else "tl.float32" if t in (F16, BF16) else f"tl.{STORED[t]}"


def widened(t: Prim, text: str) -> str:
    """A loaded element as it is computed with."""
    if t == BOOL:
        return f"{text} != 0"
    return f"{text}.to(tl.float32)" if t in (F16, BF16) else text


def narrowed(t: Prim, text: str) -> str:
    """A computed value as it is stored."""
    return f"{text}.to(tl.{STORED[t]})" if t in (BOOL, F16, BF16) else text


def rounded(t: Prim, text: str) -> str:
    """The result of an operator in a type."""
    return f"({text}).to(tl.{STORED[t]}).to(tl.float32)" if t in (F16, BF16) else text


def number(value: float | int | bool, t: Prim) -> str:
    """A constant; with its type said where a literal would get another."""
    if t in FLOATS:
        text = repr(float(value)) if math.isfinite(value) else f'float("{value}")'
        return text if t == F32 else f"tl.full((), {text}, {computed(t)})"
    if t == BOOL:
        return f"tl.full((), {bool(value)}, tl.int1)"
    return f"tl.full((), {int(value)}, {computed(t)})"


def constant(c: Const) -> str:
    return number(c.value, c.type)


class Writer:
    """The lines of one function."""

    def __init__(self, depth: int = 1):
        self.lines: list[str] = []
        self.depth = depth
        self.taken: dict[str, int] = {}

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text if text else "")

    def name(self, hint: str) -> str:
        """A name that is not used yet."""
        plain = "".join(c for c in hint if c.isalnum() or c == "_").strip("_") or "t"
        hint = "t" if not plain.isascii() or plain[0].isdigit() else plain
        n = self.taken.get(hint, 0)
        self.taken[hint] = n + 1
        if not n:
            return hint if hint not in RESERVED else self.name(hint + "_")
        return self.name(f"{hint}_{n}")

    def let(self, hint: str, text: str) -> str:
        """A new name for an expression."""
        name = self.name(hint)
        self.line(f"{name} = {text}")
        return name

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self.depth += 1
        yield
        self.depth -= 1


RESERVED = frozenset(
    "tl triton libdevice row rows if for in not and or is def return lambda None True False pass while else elif from"
    " import as with assert del global class try raise except finally yield nonlocal break continue print range float"
    " int bool str min max sum abs len".split()
)
