"""Makes Core: statements are appended to the innermost open block."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from hybridc.base.source import NOWHERE, Span
from hybridc.core.ir import (
    BOOL,
    F64,
    INT,
    Arm,
    Atom,
    Block,
    Call,
    Const,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Prim,
    Scope,
    Stmt,
    Tail,
    Type,
    Var,
)
from hybridc.core.walk import Freshener


def attrs_of(attrs: dict[str, object]) -> tuple[tuple[str, object], ...]:
    """Attributes as Core keeps them: sorted pairs."""
    return tuple(sorted(attrs.items()))


def integer(value: int) -> Const:
    return Const(value, INT)


def boolean(value: bool) -> Const:
    return Const(value, BOOL)


def number(value: int | float, type: Prim = F64) -> Const:
    return Const(value, type)


class Builder:
    """For one function. `span` is what new statements get when no other is given."""

    def __init__(self, first_id: int = 1, first_label: int = 1):
        self._ids = itertools.count(first_id)
        self._labels = itertools.count(first_label)
        self._open: list[list[Stmt]] = []
        self.span: Span = NOWHERE

    def var(self, type: Type, name: str = "") -> Var:
        return Var(next(self._ids), type, name)

    def label(self) -> int:
        return next(self._labels)

    # ---- blocks
    def open(self) -> None:
        """Begin a block; what follows goes into it until `close`."""
        self._open.append([])

    def close(self, tail: Tail) -> Block:
        return Block(tuple(self._open.pop()), tail)

    @property
    def depth(self) -> int:
        """How many blocks are open."""
        return len(self._open)

    def latest(self) -> Iterator[Stmt]:
        """The statements of the block that is open, the last first."""
        return reversed(self._open[-1])

    def add(self, stmt: Stmt) -> None:
        self._open[-1].append(stmt)

    # ---- statements
    def op(self, op: str, args: Iterable[Atom], type: Type, name: str = "", **attrs: object) -> Var:
        """An operator with one result."""
        out = self.var(type, name)
        self.add(Op((out,), op, tuple(args), attrs_of(attrs), self.span))
        return out

    def ops(
        self, op: str, args: Iterable[Atom], types: Iterable[Type], names: Iterable[str] = (), **attrs: object
    ) -> tuple[Var, ...]:
        """An operator with any number of results."""
        given = list(names)
        outs = tuple(self.var(t, given[i] if i < len(given) else "") for i, t in enumerate(types))
        self.add(Op(outs, op, tuple(args), attrs_of(attrs), self.span))
        return outs

    def call(self, fn: str, args: Iterable[Atom], types: Iterable[Type], names: Iterable[str] = ()) -> tuple[Var, ...]:
        given = list(names)
        outs = tuple(self.var(t, given[i] if i < len(given) else "") for i, t in enumerate(types))
        self.add(Call(outs, fn, tuple(args), self.span))
        return outs

    def if_(self, cond: Atom, then: Block, orelse: Block, types: Iterable[Type] = ()) -> tuple[Var, ...]:
        outs = tuple(self.var(t) for t in types)
        self.add(If(outs, cond, then, orelse, self.span))
        return outs

    def match(self, subject: Atom, arms: Iterable[Arm], types: Iterable[Type] = ()) -> tuple[Var, ...]:
        outs = tuple(self.var(t) for t in types)
        self.add(Match(outs, subject, tuple(arms), self.span))
        return outs

    def loop(
        self, label: int, params: Iterable[Var], inits: Iterable[Atom], body: Block, types: Iterable[Type] = ()
    ) -> tuple[Var, ...]:
        outs = tuple(self.var(t) for t in types)
        self.add(Loop(outs, label, tuple(params), tuple(inits), body, self.span))
        return outs

    def scope(self, label: int, body: Block, types: Iterable[Type] = ()) -> tuple[Var, ...]:
        outs = tuple(self.var(t) for t in types)
        self.add(Scope(outs, label, body, self.span))
        return outs

    def parallel(self, out_type: Type, index: Var, count: Atom, body: Block) -> Var:
        out = self.var(out_type)
        self.add(Parallel(out, index, count, body, self.span))
        return out


class FreshBuilder(Builder):
    """Makes variables and labels of a function that also has copies of its blocks, which take theirs from the same."""

    def __init__(self, fresh: Freshener):
        super().__init__()
        self.fresh = fresh

    def var(self, type: Type, name: str = "") -> Var:
        return self.fresh.var(Var(0, type, name))

    def label(self) -> int:
        return self.fresh.label()
