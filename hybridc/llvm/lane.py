"""Vectors of one element type: the operands and instructions of kernels that are written for vectors by hand."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.base.types import Prim
from hybridc.llvm.code import Code
from hybridc.llvm.layout import SCALARS


class Lane:
    """Vectors of an element type."""

    def __init__(self, kind: Prim, bytes: int):
        self.kind = kind
        self.scalar, self.size = SCALARS[kind.name]
        self.bytes = bytes
        self.count = bytes // self.size
        self.type = f"<{self.count} x {self.scalar}>"
        self.short = {"float": "f32", "double": "f64"}[self.scalar]

    def load(self, k: Code, address: str, mask: str = "") -> str:
        """What a mask leaves out is 0, and not read."""
        if not mask:
            return k.ins(f"load {self.type}, ptr {address}, align {self.size}")
        name = f"@llvm.masked.load.v{self.count}{self.short}.p0"
        args = [("ptr", address), ("i32 immarg", str(self.size)), (self.bits, mask), (self.type, "zeroinitializer")]
        return self.masked(k, self.type, name, args)

    def store(self, k: Code, value: str, address: str, mask: str = "") -> None:
        if not mask:
            k.do(f"store {self.type} {value}, ptr {address}, align {self.size}")
            return
        name = f"@llvm.masked.store.v{self.count}{self.short}.p0"
        args = [(self.type, value), ("ptr", address), ("i32 immarg", str(self.size)), (self.bits, mask)]
        self.masked(k, "void", name, args)

    def masked(self, k: Code, result: str, name: str, args: list[tuple[str, str]]) -> str:
        k.module.declare(f"{result} {name}({', '.join(t for t, _ in args)})")
        given = ", ".join(f"{t.removesuffix(' immarg')} {v}" for t, v in args)
        if result == "void":
            k.do(f"call void {name}({given})")
            return ""
        return k.ins(f"call {result} {name}({given})")

    @property
    def bits(self) -> str:
        return f"<{self.count} x i1>"

    def mask(self, k: Code, left: str, vector: int) -> str:
        """The lanes of a vector that lie before `left` elements."""
        numbers = ", ".join(f"i64 {vector * self.count + i}" for i in range(self.count))
        wide = f"<{self.count} x i64>"
        one = k.ins(f"insertelement {wide} poison, i64 {left}, i32 0")
        limit = k.ins(f"shufflevector {wide} {one}, {wide} poison, <{self.count} x i32> zeroinitializer")
        return k.ins(f"icmp slt {wide} <{numbers}>, {limit}")

    def turned(self, k: Code, row: Callable[[int], str]) -> list[str]:
        """The columns of a square, whose rows begin at those addresses: pieces of 16 bytes are loaded to where they
        belong, and what lies within them changes places. (Nothing moves across pieces but what is loaded.)"""
        per = 16 // self.size
        # [i][q]: from the rows i, i + per, ... the piece number q.
        pieces: list[list[str]] = []
        for i in range(per):
            rows = [row(i + first) for first in range(0, self.count, per)]
            pieces.append([self._pieces(k, [k.ptr_add(r, 16 * q) for r in rows]) for q in range(self.count // per)])
        columns = []
        for q in range(self.count // per):
            vectors = [line[q] for line in pieces]
            step = per // 2
            while step:
                pairs = [(vectors[i], vectors[i + per // 2]) for i in range(per // 2)]
                vectors = [self._woven(k, a, b, per, half) for a, b in pairs for half in (0, per // 2)]
                step //= 2
            columns += vectors
        return columns

    def _pieces(self, k: Code, addresses: list[str]) -> str:
        """16 bytes from each of some addresses, side by side."""
        n, per = self.count, 16 // self.size
        wide = ", ".join(f"i32 {j}" if j < per else "i32 poison" for j in range(n))
        value = ""
        for at, address in enumerate(addresses):
            piece = k.ins(f"load <{per} x {self.scalar}>, ptr {address}, align {self.size}")
            if len(addresses) > 1:
                t = f"<{per} x {self.scalar}>"
                piece = k.ins(f"shufflevector {t} {piece}, {t} poison, <{n} x i32> <{wide}>")
            if at:
                lanes = ", ".join(f"i32 {n + j - per * at if 0 <= j - per * at < per else j}" for j in range(n))
                piece = k.ins(f"shufflevector {self.type} {value}, {self.type} {piece}, <{n} x i32> <{lanes}>")
            value = piece
        return value

    def _woven(self, k: Code, a: str, b: str, per: int, first: int) -> str:
        """From `first` on, elements of a and b in turns, half of each piece."""
        n = self.count
        picks = [s + first + j + other for s in range(0, n, per) for j in range(per // 2) for other in (0, n)]
        lanes = ", ".join(f"i32 {p}" for p in picks)
        return k.ins(f"shufflevector {self.type} {a}, {self.type} {b}, <{n} x i32> <{lanes}>")

    @property
    def places(self) -> str:
        """Vectors of numbers of lanes, as wide as the elements."""
        return f"<{self.count} x i{8 * self.size}>"

    def numbers(self, k: Code) -> str:
        """0, 1, ... in memory, twice as many as there are lanes."""
        integer, count = f"i{8 * self.size}", 2 * self.count
        values = ", ".join(f"{integer} {i}" for i in range(count))
        return k.module.constant(f"[{count} x {integer}]", f"[{values}]", 64)

    def load_numbers(self, k: Code, address: str) -> str:
        return k.ins(f"load {self.places}, ptr {address}, align {self.size}")

    def picked(self, k: Code, a: str, b: str, places: str) -> str:
        """Lanes of two vectors of 64 bytes, numbered from the first of a to the last of b."""
        name = f"@llvm.x86.avx512.vpermi2var.{'ps' if self.size == 4 else 'pd'}.512"
        return k.call(self.type, name, [(self.type, a), (self.places, places), (self.type, b)])

    def splat(self, k: Code, value: str) -> str:
        one = k.ins(f"insertelement {self.type} poison, {self.scalar} {value}, i32 0")
        return k.ins(f"shufflevector {self.type} {one}, {self.type} poison, <{self.count} x i32> zeroinitializer")

    def fma(self, k: Code, a: str, b: str, c: str) -> str:
        return k.call(self.type, f"@llvm.fmuladd.v{self.count}{self.short}", [(self.type, v) for v in (a, b, c)])

    def sums(self, k: Code, vectors: list[str]) -> str:
        """The sum of the lanes of each of some vectors (at most as many as lanes), in the first lanes of one: halves of
        two vectors are added to make one, then quarters, and so on."""
        width, values = self.count, list(vectors)
        while width > 1:
            half = width // 2
            # Vector i is joined with vector i + half; there is none, the result is not used.
            pairs = [(values[i], values[i + half] if i + half < len(values) else "poison")
                     for i in range(min(half, len(values)))]
            values = [self._halves(k, a, b, width) for a, b in pairs]
            width = half
        return values[0]

    def _halves(self, k: Code, a: str, b: str, width: int) -> str:
        """In each run of `width` lanes: the halves of a's run added, then those of b's."""
        n, half = self.count, width // 2
        parts = []
        for offset in (0, half):
            picks = [s + offset + j + (n if other else 0) for s in range(0, n, width) for other in (0, 1)
                     for j in range(half)]
            lanes = ", ".join(f"i32 {p}" if b != "poison" or p < n else "i32 poison" for p in picks)
            parts.append(k.ins(f"shufflevector {self.type} {a}, {self.type} {b}, <{n} x i32> <{lanes}>"))
        return k.op2("fadd", self.type, *parts)
