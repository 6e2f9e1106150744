"""Core, on one page: the typed functional language that every pass reads and writes.

    program = struct NAME { field: type, ... }* enum NAME { CASE(field: type, ...) ... }* fn*
    type    = bool int i32 u8 f64 f32 f16 bf16 | elem[dim, ...] | (type, ...) | type? | buffer[type] | NAME
    fn      = fn NAME(var: type, ...) -> (type, ...) [adjoint NAME] [checkpoint] block
    block   = { stmt* tail }
    tail    = yield atom*                  the values of this block
            | exit LABEL atom*             leave the enclosing construct with that label, giving its values
            | fault KIND atom*             stop the program with an exception
    stmt    = var* = OP[attr=value, ...](atom, ...)        an operator of core/ops.py or core/tensor_ops.py
            | var* = call NAME(atom, ...)
            | var* = if atom block else block
            | var* = match atom { CASE(var, ...) block }*  every case of the enum, in order
            | var* = loop LABEL (var = atom, ...) block    yield is the next turn; left only by exit
            | var* = scope LABEL block                     yield and exit LABEL give its values
            | var  = parallel var < atom block             a buffer of what the block yields for each index
            | var* = fused block                           tensor operators that run as one kernel (passes/fuse.py);
                                                           `fused device`: on the GPU (passes/place.py)
    atom    = var | constant

Every value is immutable: an update makes a new value, and the code generator writes in place where the old one has no
other owner (passes/ownership.py). A variable is assigned once and visible to the end of its block and in the blocks
within. Statements happen in the order written; an operator that can fault or has an effect stays where it is.
Label 0 is the function itself: `exit 0 values` returns, and so does the yield of its body. After a statement that never
ends normally (both branches exit, say) a block has no further statement, and its tail, never reached, has no values.
Dimensions in tensor types are knowledge, not identity: `f32[3]` may stand where `f32[?]` is asked and the other way
round; inside structs, enums and buffers they are all `?`. `f32[3] device` lies in a GPU's memory, and is another type.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Union

from hybridc.base.immutable import immutable
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import BF16, BOOL, F16, F32, F64, FLOATS, I32, INT, U8, Prim
from hybridc.core.rounding import ROUND


# ---- types -----------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class TensorT:
    """A contiguous row-major tensor of at least one dimension; None is a dimension known only at run time."""

    elem: Prim
    dims: tuple[int | None, ...]
    device: bool = False
    """Its elements lie in a GPU's memory (passes/place.py)."""


@immutable(frozen=True, slots=True)
class TupleT:
    items: tuple[Type, ...]


@immutable(frozen=True, slots=True)
class OptionT:
    item: Type


@immutable(frozen=True, slots=True)
class BufferT:
    """A counted block of elements of fixed length; a fresh one holds the zero of its type (0, false, empty)."""

    item: Type


@immutable(frozen=True, slots=True)
class StructT:
    name: str


@immutable(frozen=True, slots=True)
class EnumT:
    name: str


Type = Union[Prim, TensorT, TupleT, OptionT, BufferT, StructT, EnumT]
UNIT = TupleT(())
STR = StructT("str")
"""Text, declared by every program as `struct str { bytes: buffer[u8], size: int, count: int }`: UTF-8, its length in
bytes and in code points."""


# ---- atoms -----------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Var:
    """`name` is for reading; `id` is unique in its function."""

    id: int
    type: Type
    name: str = ""

    def __hash__(self) -> int:
        return self.id


@immutable(frozen=True, slots=True)
class Const:
    """A bool, int or float of a scalar type; a float is rounded to its type."""

    value: int | float | bool
    type: Prim

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and self.type in FLOATS:
            rounded = ROUND[self.type](self.value) if self.value == self.value else math.nan  # one nan, equal to itself
            object.__setattr__(self, "value", rounded)


Atom = Union[Var, Const]
Attrs = tuple[tuple[str, object], ...]
"""Sorted (name, value) pairs; values are str, int, float, bool, None, and tuples of these."""
RETURN = 0


# ---- statements ------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Op:
    outs: tuple[Var, ...]
    op: str
    args: tuple[Atom, ...]
    attrs: Attrs = ()
    span: Span = NOWHERE

    def attr(self, name: str, default: object = None) -> object:
        for key, value in self.attrs:
            if key == name:
                return value
        return default


@immutable(frozen=True, slots=True)
class Call:
    outs: tuple[Var, ...]
    fn: str
    args: tuple[Atom, ...]
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class If:
    outs: tuple[Var, ...]
    cond: Atom
    then: Block
    orelse: Block
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class Arm:
    case: str
    fields: tuple[Var, ...]
    body: Block


@immutable(frozen=True, slots=True)
class Match:
    outs: tuple[Var, ...]
    subject: Atom
    arms: tuple[Arm, ...]
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class Loop:
    outs: tuple[Var, ...]
    label: int
    params: tuple[Var, ...]
    inits: tuple[Atom, ...]
    body: Block
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class Scope:
    outs: tuple[Var, ...]
    label: int
    body: Block
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class Parallel:
    """`out` has type buffer[T]; the body yields one T and neither assigns nor exits outward."""

    out: Var
    index: Var
    count: Atom
    body: Block
    span: Span = NOWHERE


@immutable(frozen=True, slots=True)
class Fused:
    """Operators, and nothing else, that run as one kernel: what they compute is what they would one by one. A leaf for
    passes: it borrows the variables it uses from outside (but for what is `taken`), and nobody sees those within."""

    outs: tuple[Var, ...]
    body: Block
    span: Span = NOWHERE
    device: bool = False
    """Runs on the GPU: its tensors from outside and its results lie there."""

    @property
    def ops(self) -> tuple[Op, ...]:
        return self.body.stmts  # type: ignore[return-value]

    @property
    def inner(self) -> tuple[Var, ...]:
        """What the operators define."""
        return tuple(o for op in self.ops for o in op.outs)

    @property
    def taken(self) -> tuple[Atom, ...]:
        """The tensor to a part of which the value of all else goes, where the last operator is an update
        (passes/into_part.py): it is taken over. A kernel on the GPU makes another tensor."""
        return self.ops[-1].args[:1] if self.ops[-1].op == "update" and not self.device else ()

    @property
    def args(self) -> tuple[Atom, ...]:
        """What comes from outside, each once, in order of use."""
        own = {v.id for v in self.inner}
        atoms = [a for op in self.ops for a in op.args] + list(self.body.tail.values)
        return tuple(dict.fromkeys(a for a in atoms if not (isinstance(a, Var) and a.id in own)))


Stmt = Union[Op, Call, If, Match, Loop, Scope, Parallel, Fused]


# ---- tails -----------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Yield:
    values: tuple[Atom, ...] = ()


@immutable(frozen=True, slots=True)
class Exit:
    label: int
    values: tuple[Atom, ...] = ()


@immutable(frozen=True, slots=True)
class Fault:
    """`kind` is the exception's name. `values`: none; one str (the message); or for IndexError two ints
    (index, length)."""

    kind: str
    values: tuple[Atom, ...] = ()
    span: Span = NOWHERE


Tail = Union[Yield, Exit, Fault]


@immutable(frozen=True, slots=True)
class Block:
    stmts: tuple[Stmt, ...]
    tail: Tail
    yields: bool | None = field(default=None, init=False, repr=False, compare=False)
    """Whether control comes to a tail that yields, once `walk.ends_in_yield` was asked."""


# ---- programs --------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class StructDef:
    name: str
    fields: tuple[tuple[str, Type], ...]


@immutable(frozen=True, slots=True)
class EnumDef:
    """Cases in order: the position is the tag."""

    name: str
    cases: tuple[tuple[str, tuple[tuple[str, Type], ...]], ...]

    @property
    def plain(self) -> bool:
        """No case has fields: the value is its tag."""
        return all(not fields for _, fields in self.cases)


@immutable(frozen=True, slots=True)
class Fn:
    """`title` is how call chains name it ("Shelf.find"); `hidden` for library code, which they leave out. `adjoint` is
    the function that gives its derivative, where the user wrote one. A derivative through a `checkpoint` keeps the
    arguments and computes the rest again."""

    name: str
    params: tuple[Var, ...]
    results: tuple[Type, ...]
    body: Block
    title: str = ""
    hidden: bool = False
    span: Span = NOWHERE
    adjoint: str = ""
    checkpoint: bool = False
    known: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was found out about it, or made of it, under a name and with all else that was looked at: a function never
    changes, so that holds for as long as there is the function (core/walk.py, passes/each.py)."""


@dataclass
class Program:
    structs: dict[str, StructDef] = field(default_factory=dict)
    enums: dict[str, EnumDef] = field(default_factory=dict)
    fns: dict[str, Fn] = field(default_factory=dict)


__all__ = [
    "BF16", "BOOL", "F16", "F32", "F64", "I32", "INT", "NOWHERE", "RETURN", "STR", "U8", "UNIT",
    "Arm", "Atom", "Attrs", "Block", "BufferT", "Call", "Const", "EnumDef", "EnumT", "Exit", "Fault", "Fn", "Fused",
    "If",
    "Loop", "Match", "Op", "OptionT", "Parallel", "Prim", "Program", "Scope", "Span", "Stmt", "StructDef", "StructT",
    "Tail", "TensorT", "TupleT", "Type", "Var", "Yield",
]
