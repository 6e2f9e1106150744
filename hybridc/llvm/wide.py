"""WIDTH elements at a time: what writes a scalar operator (scalar_ops.py, elementary.py) writes one of vectors when it
is given a `Wide` in place of the function's code. So a kernel's loops are vectors without LLVM having to find out.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.llvm.code import Code

WIDTH = 16
"""Elements, whatever their type, unless said: LLVM takes them apart as the processor's vectors need."""
SHORT = {"float": "f32", "double": "f64", "half": "f16"}


class NotWide(Exception):
    """An operator that is written for scalars only: a call of the C library, or one that can fault."""


def vector(llvm: str, width: int = WIDTH) -> str:
    return f"<{width} x {llvm}>"


class Wide:
    """Code for vectors, with the methods of Code that operators use. Types are given as those of one element; operands
    are vectors or constants, which stand for all elements."""

    positive: frozenset[str] = frozenset()
    natural: frozenset[str] = frozenset()

    def __init__(self, code: Code, width: int = WIDTH):
        self.code = code
        self.module = code.module
        self.width = width
        self.counted = "<" + ", ".join(f"i64 {i}" for i in range(width)) + ">"

    def vector(self, llvm: str) -> str:
        return vector(llvm, self.width)

    def __getattr__(self, name: str) -> object:
        raise NotWide(name)

    def of(self, llvm: str, operand: str) -> str:
        return operand if operand.startswith("%") else f"splat ({llvm} {operand})"

    def splat(self, llvm: str, operand: str) -> str:
        """A scalar, in all elements."""
        if not operand.startswith("%"):
            return operand
        t = self.vector(llvm)
        one = self.code.ins(f"insertelement {t} poison, {llvm} {operand}, i32 0")
        return self.code.ins(f"shufflevector {t} {one}, {t} poison, <{self.width} x i32> zeroinitializer")

    # ---- instructions
    def op2(self, op: str, llvm: str, a: str, b: str) -> str:
        return self.code.ins(f"{op} {self.vector(llvm)} {self.of(llvm, a)}, {self.of(llvm, b)}")

    def fneg(self, llvm: str, a: str) -> str:
        return self.code.ins(f"fneg {self.vector(llvm)} {self.of(llvm, a)}")

    def icmp(self, how: str, a: str, b: str, llvm: str = "i64") -> str:
        return self.op2(f"icmp {how}", llvm, a, b)

    def fcmp(self, how: str, llvm: str, a: str, b: str) -> str:
        return self.op2(f"fcmp {how}", llvm, a, b)

    def select(self, cond: str, llvm: str, a: str, b: str) -> str:
        t = self.vector(llvm)
        choice = f"{self.vector('i1')} {self.of('i1', cond)}"
        return self.code.ins(f"select {choice}, {t} {self.of(llvm, a)}, {t} {self.of(llvm, b)}")

    def convert(self, how: str, source: str, value: str, target: str) -> str:
        return self.code.ins(f"{how} {self.vector(source)} {self.of(source, value)} to {self.vector(target)}")

    def call(self, result: str, name: str, args: Sequence[tuple[str, str]], flags: str = "") -> str:
        """Of an intrinsic, whose name ends in its types; flags of its own stay scalars."""
        if not name.startswith("@llvm."):
            raise NotWide(name)
        parts = name.split(".")
        named = {SHORT.get(t, t) for t, _ in [(result, ""), *args]}
        wide = ".".join(f"v{self.width}{p}" if p in named else p for p in parts)
        given = [
            (t, a) if t == "i1" and not a.startswith("%") else (self.vector(t), self.of(t, a)) for t, a in args
        ]
        return self.code.call(self.vector(result), wide, given, flags)

    def numbers(self, first: str) -> str:
        """first, first + 1, ..."""
        first = self.of("i64", self.splat("i64", first))
        return self.code.ins(f"add {self.vector('i64')} {first}, {self.counted}")

    # ---- memory; a bool is a byte
    def mask(self, left: str) -> str:
        """The first `left` elements."""
        limit = self.of("i64", self.splat("i64", left))
        return self.code.ins(f"icmp slt {self.vector('i64')} {self.counted}, {limit}")

    def load(self, llvm: str, address: str, mask: str = "") -> str:
        if llvm == "i1":
            return self.convert("trunc", "i8", self.load("i8", address, mask), "i1")
        t, size = self.vector(llvm), _size(llvm)
        if not mask:
            return self.code.ins(f"load {t}, ptr {address}, align {size}")
        name = f"@llvm.masked.load.v{self.width}{SHORT.get(llvm, llvm)}.p0"
        self.module.declare(f"{t} {name}(ptr, i32 immarg, {self.vector('i1')}, {t})")
        return self.code.ins(
            f"call {t} {name}(ptr {address}, i32 {size}, {self.vector('i1')} {mask}, {t} zeroinitializer)")

    def gather(self, llvm: str, base: str, places: str, mask: str) -> str:
        """base[place] for each place, where the mask holds."""
        if llvm == "i1":
            return self.convert("trunc", "i8", self.gather("i8", base, places, mask), "i1")
        t, bits, pointers = self.vector(llvm), self.vector("i1"), self.vector("ptr")
        name = f"@llvm.masked.gather.v{self.width}{SHORT.get(llvm, llvm)}.v{self.width}p0"
        self.module.declare(f"{t} {name}({pointers}, i32 immarg, {bits}, {t})")
        where = self.code.ins(f"getelementptr {llvm}, ptr {base}, {self.vector('i64')} {self.of('i64', places)}")
        return self.code.ins(
            f"call {t} {name}({pointers} {where}, i32 {_size(llvm)}, {bits} {mask}, {t} zeroinitializer)")

    def store(self, llvm: str, value: str, address: str, mask: str = "") -> None:
        value = self.of(llvm, value)
        if llvm == "i1":
            value, llvm = self.code.ins(f"zext {self.vector('i1')} {value} to {self.vector('i8')}"), "i8"
        t, size = self.vector(llvm), _size(llvm)
        if not mask:
            self.code.do(f"store {t} {value}, ptr {address}, align {size}")
            return
        name = f"@llvm.masked.store.v{self.width}{SHORT.get(llvm, llvm)}.p0"
        self.module.declare(f"void {name}({t}, ptr, i32 immarg, {self.vector('i1')})")
        self.code.do(f"call void {name}({t} {value}, ptr {address}, i32 {size}, {self.vector('i1')} {mask})")

    def halves(self, llvm: str, value: str, width: int) -> tuple[str, str]:
        """Of a vector of `width` elements."""
        t, half = f"<{width} x {llvm}>", width // 2
        parts = [
            self.code.ins(f"shufflevector {t} {value}, {t} poison, <{half} x i32> "
                          f"<{', '.join(f'i32 {start + i}' for i in range(half))}>")
            for start in (0, half)
        ]
        return parts[0], parts[1]


def _size(llvm: str) -> int:
    return {"float": 4, "double": 8, "half": 2}.get(llvm) or int(llvm[1:]) // 8
