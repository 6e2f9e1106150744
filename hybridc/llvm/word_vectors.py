"""Vectors of eight words of 64 bits, as sorting uses them (vector_sort.py)."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.llvm.code import Code

LANES = 8
VECTOR = f"<{LANES} x i64>"
CHOICE = f"<{LANES} x i1>"
PLACES = "<" + ", ".join(f"i64 {i}" for i in range(LANES)) + ">"


class Words:
    """Instructions on vectors of words."""

    def __init__(self, code: Code):
        self.code = code

    def pick(self, a: str, b: str, lanes: Sequence[int]) -> str:
        """Elements of both, those of `b` numbered after those of `a`."""
        numbers = ", ".join(f"i32 {i}" for i in lanes)
        return self.code.ins(f"shufflevector {VECTOR} {a}, {VECTOR} {b}, <{LANES} x i32> <{numbers}>")

    def back_to_front(self, a: str) -> str:
        return self.pick(a, "poison", range(LANES - 1, -1, -1))

    def least(self, a: str, b: str) -> str:
        return self.code.call(VECTOR, f"@llvm.smin.v{LANES}i64", [(VECTOR, a), (VECTOR, b)])

    def greatest(self, a: str, b: str) -> str:
        return self.code.call(VECTOR, f"@llvm.smax.v{LANES}i64", [(VECTOR, a), (VECTOR, b)])

    def ordered(self, a: str, b: str) -> tuple[str, str]:
        """The lesser of each two elements, and the greater: what is left of both."""
        low = self.least(a, b)
        both = self.code.ins(f"xor {VECTOR} {a}, {b}")
        return low, self.code.ins(f"xor {VECTOR} {both}, {low}")

    def splat(self, x: str) -> str:
        first = self.code.ins(f"insertelement {VECTOR} poison, i64 {x}, i64 0")
        return self.pick(first, "poison", [0] * LANES)

    def below(self, count: str) -> str:
        """Which lanes are among the first `count`."""
        return self.code.ins(f"icmp slt {VECTOR} {PLACES}, {self.splat(count)}")

    def packed(self, a: str, chosen: str) -> str:
        """The chosen elements first."""
        name = f"@llvm.experimental.vector.compress.v{LANES}i64"
        return self.code.call(VECTOR, name, [(VECTOR, a), (CHOICE, chosen), (VECTOR, "poison")])

    def count(self, chosen: str) -> str:
        code = self.code
        bits = code.ins(f"bitcast {CHOICE} {chosen} to i{LANES}")
        return code.convert("zext", f"i{LANES}", code.call(f"i{LANES}", f"@llvm.ctpop.i{LANES}",
                                                           [(f"i{LANES}", bits)]), "i64")

    def load(self, at: str) -> str:
        return self.code.ins(f"load {VECTOR}, ptr {at}, align 8")

    def store(self, a: str, at: str) -> None:
        self.code.do(f"store {VECTOR} {a}, ptr {at}, align 8")

    def load_some(self, at: str, lanes: str, other: str) -> str:
        name = f"@llvm.masked.load.v{LANES}i64.p0"
        return self.code.call(VECTOR, name, [("ptr", at), ("i32", "8"), (CHOICE, lanes), (VECTOR, other)])

    def store_some(self, a: str, at: str, lanes: str) -> None:
        name = f"@llvm.masked.store.v{LANES}i64.p0"
        self.code.call("void", name, [(VECTOR, a), ("ptr", at), ("i32", "8"), (CHOICE, lanes)])
