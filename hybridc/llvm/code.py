"""LLVM text: the instructions of one function.

Operands are strings ("%t3", "0", "null"); a method that makes an instruction returns the operand it defines. Types are
LLVM's, as strings ("i64", "float", "ptr"). Text is several times faster to make than llvmlite's objects, and LLVM's
own parser checks it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hybridc.llvm.definitions import LOOP
from hybridc.llvm.module import Leaves, Module

IMMORTAL = "%always"
"""How operands begin that are blocks which nobody counts, though they are no constants."""


def immortal(block: str) -> bool:
    """Whether a block is none, or one that nobody counts."""
    return block == "null" or block.startswith(("@", IMMORTAL))


def float_text(value: float, llvm: str) -> str:
    """A float constant, rounded to its type."""
    if llvm == "double":
        return "0x" + struct.pack(">d", value).hex().upper()
    if llvm == "float":
        try:
            single = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            single = float("inf") if value > 0 else float("-inf")
        return "0x" + struct.pack(">d", single).hex().upper()
    if llvm == "half":
        try:
            return "0xH" + struct.pack(">e", value).hex().upper()
        except OverflowError:
            return "0xH7C00" if value > 0 else "0xHFC00"
    raise ValueError(f"no float type {llvm}")


def bf16_bits(value: float) -> int:
    """Nearest bf16, ties to even, straight from the double (a float between would round twice)."""
    if value != value:
        return 0x7FC0
    sign = 0x8000 if struct.pack(">d", value)[0] & 0x80 else 0
    if value in (float("inf"), float("-inf")):
        return sign | 0x7F80
    low, high = 0, 0x7F80
    magnitude = abs(value)

    def number(bits: int) -> float:
        # One past the largest finite bf16 is where infinity begins to be nearer.
        return 2.0**128 if bits == 0x7F80 else struct.unpack(">f", struct.pack(">I", bits << 16))[0]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if number(middle) <= magnitude else (low, middle)
    if magnitude >= 2.0**128:
        return sign | 0x7F80
    below, above = magnitude - number(low), number(high) - magnitude
    return sign | (low if below < above or (below == above and low % 2 == 0) else high)


class Code:
    """The instructions of one function. Instructions go to the open block; `dead` says there is none."""

    positive: frozenset[str] = frozenset()
    """Operands of whole numbers that are known to be positive."""
    natural: frozenset[str] = frozenset()
    """And to be positive or zero."""

    def __init__(
        self,
        module: Module,
        name: str,
        params: Sequence[tuple[str, str]],
        result: str,
        *,
        exported: bool = False,
        convention: str = "",
        attributes: str = "nounwind",
    ):
        """`exported`: it is called from outside. `convention`: for calls of it, where that is not C's."""
        self.module = module
        self.layouts = module.layouts
        self.name = name
        self.params = list(params)
        self.result = result
        self.exported, self.convention, self.attributes = exported, convention, attributes
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.cold: list[str] = []
        self.here = "entry"
        self.dead = False
        self._count = 0
        self.perhaps: set[str] = set()
        """Pointers that are blocks which nobody counts, on some ways that lead to them."""

    # ---- names and text
    def tmp(self) -> str:
        self._count += 1
        return f"%t{self._count}"

    def label(self, hint: str = "b") -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def ins(self, text: str) -> str:
        """An instruction with a result."""
        self._count += 1
        out = f"%t{self._count}"
        self.lines.append(f"  {out} = {text}")
        return out

    def immortal(self, text: str) -> str:
        """An instruction that gives such a block."""
        self._count += 1
        out = f"{IMMORTAL}{self._count}"
        self.lines.append(f"  {out} = {text}")
        return out

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append("  " + text)

    def finish(self) -> None:
        """Write the function to its module."""
        self.module.define(self)

    def mark(self) -> tuple[int, int, int, str, bool]:
        """Where the text stands, for `reset`: what was written since is dropped."""
        return len(self.lines), len(self.allocas), len(self.cold), self.here, self.dead

    def reset(self, mark: tuple[int, int, int, str, bool]) -> None:
        lines, allocas, cold, self.here, self.dead = mark
        del self.lines[lines:], self.allocas[allocas:], self.cold[cold:]

    # ---- blocks
    def start(self, label: str) -> None:
        """Begin the block `label`."""
        self.lines.append(label + ":")
        self.here = label
        self.dead = False

    def jump(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")
        self.dead = True

    def branch(self, cond: str, yes: str, no: str, *, likely: bool = False) -> None:
        """`likely`: it goes to `yes`."""
        self.lines.append(f"  br i1 {cond}, label %{yes}, label %{no}" + ", !prof !1" * likely)
        self.dead = True

    def ret(self, value: str = "") -> None:
        self.lines.append(f"  ret {self.result} {value}" if value else "  ret void")
        self.dead = True

    def unreachable(self) -> None:
        self.lines.append("  unreachable")
        self.dead = True

    def phi(self, llvm: str, incoming: Sequence[tuple[str, str]]) -> str:
        """(value, label) pairs."""
        text = f"phi {llvm} " + ", ".join(f"[ {v}, %{b} ]" for v, b in incoming)
        return self._one_of(llvm, [v for v, _ in incoming], text)

    def _one_of(self, llvm: str, values: Sequence[str], text: str) -> str:
        """The instruction that gives one of these."""
        uncounted = [immortal(v) or v in self.perhaps for v in values] if llvm == "ptr" else []
        if uncounted and all(map(immortal, values)):
            return self.immortal(text)
        out = self.ins(text)
        if any(uncounted):
            self.perhaps.add(out)
        return out

    def phi_slot(self, llvm: str) -> tuple[str, int]:
        """A phi whose incoming values are given later with `fill_phi`."""
        out = self.tmp()
        self.lines.append(f"  {out} = phi {llvm} ")
        return out, len(self.lines) - 1

    def fill_phi(self, slot: int, incoming: Sequence[tuple[str, str]]) -> None:
        self.lines[slot] += ", ".join(f"[ {v}, %{b} ]" for v, b in incoming)

    @contextmanager
    def out_of_line(self, label: str) -> Iterator[None]:
        """Write the block `label` at the function's end; it must end itself."""
        lines, here, dead = self.lines, self.here, self.dead
        self.lines = []
        self.start(label)
        try:
            yield
        finally:
            self.cold += self.lines
            self.lines, self.here, self.dead = lines, here, dead

    @contextmanager
    def when(self, cond: str) -> Iterator[None]:
        """`if cond:` for code without results."""
        yes, after = self.label("then"), self.label("after")
        self.branch(cond, yes, after)
        self.start(yes)
        yield
        if not self.dead:
            self.jump(after)
        self.start(after)

    def fork(self, cond: str, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """`if cond: yes() else: no()` for code without results."""
        labels, done = (self.label("then"), self.label("else")), self.label("done")
        self.branch(cond, *labels)
        for label, write in zip(labels, (yes, no), strict=True):
            self.start(label)
            write()
            if not self.dead:
                self.jump(done)
        self.start(done)

    def either(self, cond: str, llvm: str, yes: Callable[[], str], no: Callable[[], str]) -> str:
        """`yes() if cond else no()`."""
        labels, done = (self.label("then"), self.label("else")), self.label("done")
        self.branch(cond, *labels)
        ends = []
        for label, make in zip(labels, (yes, no), strict=True):
            self.start(label)
            ends.append((make(), self.here))
            self.jump(done)
        self.start(done)
        return self.phi(llvm, ends)

    @contextmanager
    def loop(
        self, count: str, carry: Sequence[tuple[str, str]] = (), start: str = "0", step: int | str = 1,
        rolled: bool = False,
    ) -> Iterator[Counted]:
        """`for index in range(start, count, step)`: see Counted. `carry` are (type, initial value). `rolled`: LLVM does
        not unroll it (what fills the registers would be spilled)."""
        head, body, after = self.label("for"), self.label("body"), self.label("after")
        before = self.here
        self.jump(head)
        self.start(head)
        index, index_slot = self.phi_slot("i64")
        phis = [self.phi_slot(t) for t, _ in carry]
        turn = Counted(index, [p for p, _ in phis])
        self.branch(self.icmp("slt", index, count), body, after)
        self.start(body)
        yield turn
        following = self.add(index, str(step))
        self.fill_phi(index_slot, [(start, before), (following, self.here)])
        if len(turn.next) != len(phis):
            raise ValueError("a loop's body sets `next` for every carried value")
        for (_, initial), (_, slot), new in zip(carry, phis, turn.next, strict=True):
            self.fill_phi(slot, [(initial, before), (new, self.here)])
        self.jump(head)
        if rolled:
            self.lines[-1] += f", !llvm.loop {LOOP}"
        self.start(after)

    # ---- integers and comparisons (64 bits unless said)
    def op2(self, op: str, llvm: str, a: str, b: str) -> str:
        return self.ins(f"{op} {llvm} {a}, {b}")

    def fneg(self, llvm: str, a: str) -> str:
        return self.ins(f"fneg {llvm} {a}")

    def add(self, a: str, b: str) -> str:
        if b == "0":
            return a
        return b if a == "0" else self.ins(f"add i64 {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return a if b == "0" else self.ins(f"sub i64 {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        if a == "1":
            return b
        return a if b == "1" else self.ins(f"mul i64 {a}, {b}")

    def icmp(self, how: str, a: str, b: str, llvm: str = "i64") -> str:
        return self.ins(f"icmp {how} {llvm} {a}, {b}")

    def fcmp(self, how: str, llvm: str, a: str, b: str) -> str:
        return self.ins(f"fcmp {how} {llvm} {a}, {b}")

    def select(self, cond: str, llvm: str, a: str, b: str) -> str:
        return self._one_of(llvm, (a, b), f"select i1 {cond}, {llvm} {a}, {llvm} {b}")

    def convert(self, how: str, source: str, value: str, target: str) -> str:
        """zext, sext, trunc, sitofp, fpext, bitcast..."""
        return self.ins(f"{how} {source} {value} to {target}")

    def opaque(self, llvm: str, a: str) -> str:
        """The same, but LLVM does not know it, so that what is computed from it is not computed from `a`."""
        return self.ins(f'call {llvm} asm "", "=r,0"({llvm} {a})')

    # ---- memory
    def alloca(self, size: int, align: int = 16) -> str:
        """Stack memory for the whole call, reused by every turn of a loop."""
        out = self.tmp()
        self.allocas.append(f"  {out} = alloca [{max(size, 1)} x i8], align {align}")
        return out

    def ptr_add(self, base: str, offset: int | str) -> str:
        """The address `offset` bytes on."""
        if offset in (0, "0"):
            return base
        return self.ins(f"getelementptr inbounds i8, ptr {base}, i64 {offset}")

    def element(self, base: str, llvm: str, index: str) -> str:
        """&base[index] for elements of a scalar type."""
        if llvm == "i1":
            llvm = "i8"
        return base if index == "0" else self.ins(f"getelementptr inbounds {llvm}, ptr {base}, i64 {index}")

    def load(self, llvm: str, address: str) -> str:
        """A scalar; a bool is a byte in memory."""
        if llvm == "i1":
            return self.ins(f"trunc i8 {self.ins(f'load i8, ptr {address}')} to i1")
        return self.ins(f"load {llvm}, ptr {address}")

    def store(self, llvm: str, value: str, address: str) -> None:
        if llvm == "i1":
            value, llvm = self.ins(f"zext i1 {value} to i8"), "i8"
        self.lines.append(f"  store {llvm} {value}, ptr {address}")

    def beyond(self, base: str, llvm: str, index: str) -> str:
        """&base[index], which may be no element."""
        return base if index == "0" else self.ins(f"getelementptr {llvm}, ptr {base}, i64 {index}")

    def prefetch(self, address: str, *, writes: bool = False, near: bool = True) -> None:
        """A line of memory that is used soon, to the first cache or the second; any address will do."""
        args = [("ptr", address), ("i32", str(int(writes))), ("i32", "3" if near else "2"), ("i32", "1")]
        self.call("void", "@llvm.prefetch.p0", args)

    def load_value(self, t: object, base: str) -> Leaves:
        """A Core value of type `t` from memory."""
        return tuple(self.load(leaf.llvm, self.ptr_add(base, leaf.offset)) for leaf in self.layouts.leaves(t))  # type: ignore[arg-type]

    def store_value(self, t: object, value: Leaves, base: str) -> None:
        leaves = self.layouts.leaves(t)  # type: ignore[arg-type]
        for leaf, operand in zip(leaves, value, strict=True):
            self.store(leaf.llvm, operand, self.ptr_add(base, leaf.offset))

    def copy_bytes(self, target: str, source: str, size: str, move: bool = False) -> None:
        name = "llvm.memmove.p0.p0.i64" if move else "llvm.memcpy.p0.p0.i64"
        self.call("void", "@" + name, [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")])

    def zero_bytes(self, target: str, size: str) -> None:
        self.call("void", "@llvm.memset.p0.i64", [("ptr", target), ("i8", "0"), ("i64", size), ("i1", "false")])

    # ---- calls
    def call(
        self, result: str, name: str, args: Sequence[tuple[str, str]], flags: str = "", attributes: str = "",
    ) -> str:
        """A call of a helper or of a C function or intrinsic, which it declares. Returns "" for void. `flags` are of
        floating point, or a calling convention; `attributes` those of the call."""
        if not name.startswith("%") and name not in self.module.defined:
            self.module.declare(f"{result} {name}({', '.join(t for t, _ in args)})")
        text = f"call {flags + ' ' if flags else ''}{result} {name}({', '.join(f'{t} {v}' for t, v in args)})"
        if attributes:
            text += " " + attributes
        if result == "void":
            self.lines.append("  " + text)
            return ""
        return self.ins(text)


class Counted:
    """One turn of a `loop`: `index`, the carried values `values`; the body sets `next`. After the loop `values` are the
    final ones."""

    def __init__(self, index: str, values: list[str]):
        self.index = index
        self.values = values
        self.next: list[str] = []
