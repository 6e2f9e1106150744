"""Vectors of eight words of 64 bits, as sorting uses them (vector_sort.py)."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.llvm.code import Code
from hybridc.llvm.module import byte_string

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

    def parted(self, a: str, chosen: str) -> str:
        """The chosen elements first, then the others: where each comes from is in a table, as packing takes twice as
        long, and would give one half."""
        code = self.code
        row = code.ptr_add(_orders(code), code.mul(self.bits(chosen), str(LANES)))
        found = code.ins(f"load <{LANES} x i8>, ptr {row}, align {LANES}")
        order = code.ins(f"zext <{LANES} x i8> {found} to {VECTOR}")
        return code.call(VECTOR, "@llvm.x86.avx512.permvar.di.512", [(VECTOR, a), (VECTOR, order)])

    def bits(self, chosen: str) -> str:
        code = self.code
        return code.convert("zext", f"i{LANES}", code.ins(f"bitcast {CHOICE} {chosen} to i{LANES}"), "i64")

    def count(self, chosen: str) -> str:
        return self.code.call("i64", "@llvm.ctpop.i64", [("i64", self.bits(chosen))])

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


def _orders(code: Code) -> str:
    """For each choice of LANES places these, and then the others, a byte each."""
    rows = []
    for choice in range(1 << LANES):
        rows += sorted(range(LANES), key=lambda i: (not choice >> i & 1, i))
    return code.module.constant(f"[{len(rows)} x i8]", byte_string(bytes(rows)), 64, "orders")
