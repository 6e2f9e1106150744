"""The form in which a function is differentiated.

A *context* is what an `exit` may leave: the function, a loop, a scope. In this form
- an `exit` leaves the innermost context around it, no further;
- each branch of an `if` or `match` either always ends in an exit, or never does; where one does, at most one other goes
  on to what follows.

So the reverse part can tell from a branch's condition alone whether what comes after it has run. An exit that goes
further becomes a number that says where to, beside the values; a branch that sometimes exits becomes one that says
whether it has. What was not computed on the way is the zero of its type, and never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.immutable import replace
from hybridc.core.builder import Builder, boolean, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    Atom,
    Block,
    Const,
    Exit,
    Fault,
    Fn,
    If,
    Loop,
    Match,
    Parallel,
    Prim,
    Scope,
    Stmt,
    Tail,
    Type,
    Yield,
)
from hybridc.core.types import without_dims
from hybridc.core.walk import (
    all_blocks,
    blocks_of,
    diverges,
    highest_id,
    highest_label,
    map_blocks,
    statements,
    statements_in,
    substitute,
)


def structured(fn: Fn) -> Fn:
    """The function in that form."""
    return replace(fn, body=_Structurer(fn).block(fn.body))


def exits(block: Block) -> bool:
    """Does the block leave its context (rather than end)? In this form: always or never."""
    own = {s.label for s in statements(block) if isinstance(s, (Loop, Scope))}
    return any(isinstance(b.tail, Exit) and b.tail.label not in own for b in all_blocks(block))


def leaving(stmt: Stmt) -> bool:
    """Is it a branch of which some arm leaves the context?"""
    return isinstance(stmt, (If, Match)) and any(exits(b) for b in blocks_of(stmt))


def ends(block: Block) -> bool:
    """Can control come to the block's own end?"""
    return isinstance(block.tail, Yield) and not (block.stmts and diverges(block.stmts[-1]))


class _Structurer:
    def __init__(self, fn: Fn):
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.types: dict[int, tuple[Type, ...]] = {RETURN: fn.results}
        """What an exit to each label gives."""
        for s in statements_in(fn):
            if isinstance(s, (Loop, Scope)):
                self.types[s.label] = tuple(o.type for o in s.outs)

    # ---- contexts
    def block(self, block: Block) -> Block:
        """A block of one context: exits that go further have been rewritten when the context was."""
        self.b.open()
        for stmt in block.stmts:
            tail = self.stmt(stmt)
            if tail is not None:
                return self.b.close(tail)
        return self.b.close(block.tail)

    def stmt(self, stmt: Stmt) -> Tail | None:
        """Add the statement; a tail if it never ends."""
        match stmt:
            case Loop() | Scope():
                return self.context(stmt)
            case If() | Match():
                self.branch(stmt)
            case Parallel():
                self.b.add(map_blocks(stmt, self.block))
            case _:
                self.b.add(stmt)
        return Yield() if diverges(stmt) else None

    def context(self, stmt: Loop | Scope) -> Tail | None:
        own = {s.label for s in statements(stmt.body) if isinstance(s, (Loop, Scope))} | {stmt.label}
        further = sorted({b.tail.label for b in all_blocks(stmt.body)
                          if isinstance(b.tail, Exit) and b.tail.label not in own})
        if not further:
            self.b.add(map_blocks(stmt, self.block))
            return Yield() if diverges(stmt) else None
        groups = [tuple(o.type for o in stmt.outs), *(self.types[label] for label in further)]
        code = self.b.var(INT)
        fresh = [tuple(self.b.var(without_dims(k)) for k in group) for group in groups[1:]]
        outs = (code, *stmt.outs, *(v for group in fresh for v in group))

        def ended(number: int, values: Sequence[Atom]) -> tuple[Atom, ...]:
            return (integer(number), *(v for i, group in enumerate(groups)
                                       for v in (values if i == number else self.zeros(group))))

        def rewrite(block: Block) -> Block:
            self.b.open()
            for s in block.stmts:
                self.b.add(map_blocks(s, rewrite))
            tail = block.tail
            if isinstance(tail, Exit):
                if tail.label == stmt.label:
                    tail = Exit(stmt.label, ended(0, tail.values))
                elif tail.label in further:
                    tail = Exit(stmt.label, ended(1 + further.index(tail.label), tail.values))
            return self.b.close(tail)

        body = rewrite(stmt.body)
        if isinstance(stmt, Scope) and ends(body):
            self.b.open()
            for s in body.stmts:
                self.b.add(s)
            body = self.b.close(Yield(ended(0, body.tail.values)))
        self.types[stmt.label] = tuple(o.type for o in outs)
        self.b.add(replace(stmt, outs=outs, body=self.block(body)))
        for number, (label, values) in enumerate(zip(further, fresh, strict=True), 1):
            if number == len(further) and diverges(stmt):
                return Exit(label, values)  # it never ends in its own way
            gone = self.b.op("eq", [code, integer(number)], BOOL)
            self.b.add(If((), gone, Block((), Exit(label, values)), Block((), Yield()), stmt.span))
        return None

    def zeros(self, types: Sequence[Type]) -> list[Atom]:
        return [self.zero(k) for k in types]

    def zero(self, kind: Type) -> Atom:
        if isinstance(kind, Prim):
            return Const(False if kind == BOOL else 0.0 if kind.name[0] in "fb" else 0, kind)
        return self.b.op("zero", [], without_dims(kind))

    # ---- branches
    def branch(self, stmt: If | Match) -> None:
        stmt = map_blocks(stmt, self.block)  # type: ignore[assignment]
        inner = blocks_of(stmt)
        gone = [exits(b) for b in inner]
        mixed = any(x and ends(b) for x, b in zip(gone, inner, strict=True))
        if not any(gone) or not mixed and sum(map(ends, inner)) <= 1:
            self.b.add(stmt)
            return
        label = next(b.tail.label for block in inner for b in self.leaves(block))  # type: ignore[union-attr]
        found = self.flagged(stmt, label)
        self.b.add(found)
        left, *rest = found.outs
        n = len(stmt.outs)
        self.b.add(If((), left, Block((), Exit(label, tuple(rest[n:]))), Block((), Yield()), stmt.span))

    def leaves(self, block: Block) -> list[Block]:
        """The blocks within that end in an exit from the context."""
        own = {s.label for s in statements(block) if isinstance(s, (Loop, Scope))}
        return [b for b in all_blocks(block) if isinstance(b.tail, Exit) and b.tail.label not in own]

    def flagged(self, stmt: If | Match, label: int) -> If | Match:
        """The branch with results (has it left, its results, the values of the exit)."""
        normal = [o.type for o in stmt.outs]
        gone = list(self.types[label])
        outs = (self.b.var(BOOL), *stmt.outs, *(self.b.var(without_dims(k)) for k in gone))
        return map_blocks(replace(stmt, outs=outs), lambda b: self.valued(b, normal, gone))  # type: ignore[return-value]

    def valued(self, block: Block, normal: Sequence[Type], gone: Sequence[Type]) -> Block:
        """A block that never leaves, but gives (has it left, its results, the values of the exit)."""
        self.b.open()
        return self.b.close(self.into(list(block.stmts), block.tail, normal, gone))

    def into(self, stmts: list[Stmt], tail: Tail, normal: Sequence[Type], gone: Sequence[Type]) -> Tail:
        for at, stmt in enumerate(stmts):
            if leaving(stmt):
                return self.after(stmt, stmts[at + 1 :], tail, normal, gone)  # type: ignore[arg-type]
            self.b.add(stmt)
            if diverges(stmt):
                return Yield()
        match tail:
            case Yield(values):
                return Yield((boolean(False), *values, *self.zeros(gone)))
            case Exit(_, values):
                return Yield((boolean(True), *self.zeros(normal), *values))
            case Fault():
                return tail

    def after(self, stmt: If | Match, rest: list[Stmt], tail: Tail, normal: Sequence[Type], gone: Sequence[Type]
              ) -> Tail:
        """A branch that leaves in some arms, and what comes after it in the others."""
        stay = [b for b in blocks_of(stmt) if not exits(b)]
        outs = (self.b.var(BOOL), *(self.b.var(without_dims(k)) for k in (*normal, *gone)))
        if len(stay) <= 1:

            def arm(block: Block) -> Block:
                if exits(block):
                    return self.valued(block, normal, gone)
                if not isinstance(block.tail, Yield) or not ends(block):
                    return block
                values = dict(zip(stmt.outs, block.tail.values, strict=True))
                following = substitute(Block(tuple(rest), tail), values)  # type: ignore[arg-type]
                self.b.open()
                for s in block.stmts:
                    self.b.add(s)
                return self.b.close(self.into(list(following.stmts), following.tail, normal, gone))

            self.b.add(map_blocks(replace(stmt, outs=outs), arm))
            return Yield(outs)
        own = [o.type for o in stmt.outs]
        left, *values = flags = (self.b.var(BOOL), *stmt.outs, *(self.b.var(without_dims(k)) for k in gone))
        self.b.add(map_blocks(replace(stmt, outs=tuple(flags)), lambda b: self.valued(b, own, gone)))
        self.b.open()
        gave = self.b.close(Yield((boolean(True), *self.zeros(normal), *values[len(own):])))
        self.b.open()
        others = self.b.close(self.into(rest, tail, normal, gone))
        self.b.add(If(outs, left, gave, others, stmt.span))
        return Yield(outs)

