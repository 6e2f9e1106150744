"""Which variables of counted types are used later, at every point of a function."""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Parallel,
    Program,
    Scope,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import is_counted
from hybridc.core.walk import all_blocks, args_of, bound_in, outs_of, statements

Live = frozenset[int]
"""Variables by id."""


class Counted:
    """Does a variable hold counted memory? Remembers the answer for each type."""

    def __init__(self, program: Program):
        self.program = program
        self.known: dict[Type, bool] = {}

    def of(self, t: Type) -> bool:
        answer = self.known.get(t)
        if answer is None:
            answer = self.known[t] = is_counted(t, self.program)
        return answer

    def __call__(self, a: Atom) -> bool:
        return isinstance(a, Var) and self.of(a.type)


class Liveness:
    """Answers by the identity of blocks and loops: no block may stand in the function twice."""

    def __init__(self, fn: Fn, counted: Counted):
        self.counted = counted
        self._after: dict[int, list[Live]] = {}
        self._head: dict[int, Live] = {}
        self._again: dict[int, Live] = {}
        self._block(fn.body, frozenset(), {RETURN: frozenset()})

    def after(self, b: Block) -> list[Live]:
        """For each statement of the block, what is used after it (its own results included)."""
        return self._after[id(b)]

    def at_head(self, b: Block) -> Live:
        return self._head[id(b)]

    def again(self, loop: Loop) -> Live:
        """What the loop uses from outside in the turns to come, or code after it does."""
        return self._again[id(loop)]

    def _ids(self, atoms: Iterable[Atom]) -> Live:
        return frozenset(a.id for a in atoms if isinstance(a, Var) and self.counted.of(a.type))

    def _block(self, b: Block, yields: Live, exits: dict[int, Live]) -> Live:
        tail = b.tail
        live = self._ids(tail.values)
        if isinstance(tail, Yield):
            live |= yields
        elif isinstance(tail, Exit):
            live |= exits[tail.label]
        after: list[Live] = [live] * len(b.stmts)
        for i in range(len(b.stmts) - 1, -1, -1):
            after[i] = live
            stmt = b.stmts[i]
            outs = self._ids(outs_of(stmt))
            use = live - outs if outs else live
            match stmt:
                case If():
                    live = self._block(stmt.then, use, exits) | self._block(stmt.orelse, use, exits)
                case Match():
                    live = frozenset()
                    for arm in stmt.arms:
                        live |= self._block(arm.body, use, exits) - self._ids(arm.fields)
                case Scope():
                    live = self._block(stmt.body, use, {**exits, stmt.label: use})
                case Loop():
                    live = self._loop(stmt, {**exits, stmt.label: use})
                case Parallel():
                    self._block(stmt.body, frozenset(), {})
                    live = use | self._free(stmt.body)
                case _:
                    live = use
            live |= self._ids(args_of(stmt))
        self._after[id(b)] = after
        self._head[id(b)] = live
        return live

    def _free(self, b: Block) -> Live:
        """What a block uses from outside."""
        used: set[int] = set()
        defined: set[int] = set()
        for inner in all_blocks(b):
            used |= self._ids(inner.tail.values)
            for stmt in inner.stmts:
                used |= self._ids(args_of(stmt))
        for stmt in statements(b):
            defined.update(v.id for v in (*outs_of(stmt), *bound_in(stmt)))
        return frozenset(used - defined)

    def _loop(self, stmt: Loop, exits: dict[int, Live]) -> Live:
        # Nothing outside is assigned in the body, so what any path through it uses is used in the next turn too.
        again = self._free(stmt.body) - self._ids(stmt.params)
        for inner in all_blocks(stmt.body):
            if isinstance(inner.tail, Exit):
                again |= exits.get(inner.tail.label, frozenset())
        self._again[id(stmt)] = again
        return (self._block(stmt.body, again, exits) - self._ids(stmt.params)) | again
