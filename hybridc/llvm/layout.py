"""How Core values look in registers and in memory.

In registers a value is its *leaves*: the scalars and pointers it consists of, in order (a tuple of LLVM operands). A
struct or tuple is the leaves of its fields, an option a bool and then the leaves of its item (all zero for none), a
tensor (owner, data, dims...), a buffer or an enum with fields one pointer, a plain enum its tag. LLVM therefore never
sees an aggregate, which keeps it fast.

In memory a value is the natural C struct (the native ABI); a bool is one byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hybridc.core.ir import (
    BOOL,
    BufferT,
    EnumT,
    OptionT,
    Prim,
    Program,
    StructT,
    TensorT,
    TupleT,
    Type,
)
from hybridc.core.types import without_dims

SCALARS = {
    "bool": ("i1", 1),
    "u8": ("i8", 1),
    "i32": ("i32", 4),
    "int": ("i64", 8),
    "f64": ("double", 8),
    "f32": ("float", 4),
    "f16": ("half", 2),
    "bf16": ("i16", 2),
}
HEADER = 16
"""Bytes before the elements of a buffer and the fields of an enum: the count, and the length or the tag."""


class Leaf(NamedTuple):
    """`counted` says what kind of counted block a pointer leads to: a BufferT, an EnumT, or None."""

    llvm: str
    offset: int
    counted: BufferT | EnumT | None = None

    @property
    def memory(self) -> str:
        """The LLVM type in memory."""
        return "i8" if self.llvm == "i1" else self.llvm


@dataclass(frozen=True)
class Shape:
    """Leaves, size and alignment of a type."""

    leaves: tuple[Leaf, ...]
    size: int
    align: int

    @property
    def counted(self) -> bool:
        return any(leaf.counted is not None for leaf in self.leaves)


class Layouts:
    """Computes layouts, once for each type."""

    def __init__(self, program: Program):
        self.program = program
        self._shapes: dict[Type, Shape] = {}

    def shape(self, t: Type) -> Shape:
        found = self._shapes.get(t)
        if found is None:
            found = self._shapes[t] = self._compute(without_dims(t))
        return found

    def leaves(self, t: Type) -> tuple[Leaf, ...]:
        return self.shape(t).leaves

    def types(self, t: Type) -> list[str]:
        """The LLVM types of the leaves."""
        return [leaf.llvm for leaf in self.shape(t).leaves]

    def counted(self, t: Type) -> bool:
        return self.shape(t).counted

    def fields(self, t: Type) -> tuple[Type, ...]:
        """Field types of a struct or tuple."""
        if isinstance(t, TupleT):
            return t.items
        if isinstance(t, StructT):
            return tuple(f for _, f in self.program.structs[t.name].fields)
        raise TypeError(f"{t} has no fields")

    def leaf_range(self, t: Type, index: int) -> tuple[int, int]:
        """Which leaves of a struct or tuple belong to field `index`."""
        fields = self.fields(t)
        start = sum(len(self.shape(f).leaves) for f in fields[:index])
        return start, start + len(self.shape(fields[index]).leaves)

    def case(self, t: EnumT, name: str) -> tuple[int, tuple[Type, ...]]:
        """Tag and field types of a case."""
        for tag, (case, fields) in enumerate(self.program.enums[t.name].cases):
            if case == name:
                return tag, tuple(f for _, f in fields)
        raise KeyError(f"{t.name} has no case {name}")

    def payload(self, fields: tuple[Type, ...]) -> Shape:
        """The fields of an enum's case, as a C struct."""
        return self.shape(TupleT(fields))

    def struct(self, types: list[Type] | tuple[Type, ...]) -> Shape:
        """Several values as a C struct (arguments, results, captured variables)."""
        return self.shape(TupleT(tuple(types)))

    def _compute(self, t: Type) -> Shape:
        match t:
            case Prim(name):
                llvm, size = SCALARS[name]
                return Shape((Leaf(llvm, 0),), size, size)
            case TensorT(elem, dims):
                leaves = [Leaf("ptr", 0, BufferT(elem)), Leaf("ptr", 8)]
                leaves += [Leaf("i64", 16 + 8 * i) for i in range(len(dims))]
                return Shape(tuple(leaves), 16 + 8 * len(dims), 8)
            case BufferT():
                return Shape((Leaf("ptr", 0, t),), 8, 8)
            case EnumT(name):
                if self.program.enums[name].plain:
                    return Shape((Leaf("i64", 0),), 8, 8)
                return Shape((Leaf("ptr", 0, t),), 8, 8)
            case OptionT(item):
                return self._sequence((BOOL, item))
            case TupleT(items):
                return self._sequence(items)
            case StructT():
                return self._sequence(self.fields(t))
        raise TypeError(f"not a Core type: {t!r}")

    def _sequence(self, types: tuple[Type, ...]) -> Shape:
        leaves: list[Leaf] = []
        at, align = 0, 1
        for t in types:
            shape = self.shape(t)
            at = -(-at // shape.align) * shape.align
            leaves += [Leaf(leaf.llvm, at + leaf.offset, leaf.counted) for leaf in shape.leaves]
            at += shape.size
            align = max(align, shape.align)
        return Shape(tuple(leaves), -(-at // align) * align, align)

    # ---- which counted blocks may lead to others of their own kind
    def children(self, block: BufferT | EnumT) -> list[BufferT | EnumT]:
        """The kinds of counted blocks that a block of this kind may hold."""
        if isinstance(block, BufferT):
            inner: list[Type] = [block.item]
        else:
            inner = [f for _, fields in self.program.enums[block.name].cases for _, f in fields]
        return [leaf.counted for t in inner for leaf in self.shape(t).leaves if leaf.counted is not None]

    def recursive(self, block: BufferT | EnumT) -> bool:
        """A block that can contain, at any distance, another of its own kind: freed by a worklist, not by recursion."""
        seen: set[BufferT | EnumT] = set()
        todo = self.children(block)
        while todo:
            child = todo.pop()
            if child == block:
                return True
            if child not in seen:
                seen.add(child)
                todo += self.children(child)
        return False
