"""What was computed before is not computed again.

An operator or a call that has no effect, with the same arguments as one that stands before it on every way, gives what
that gave: `m[k] = (m.get(k) ?? 0) + 1` finds its entry once. Only where the results are scalars, so that nothing lives
longer for it; of other parts of values it is only known that they are alike.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import takewhile

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Call, Const, Fn, Op, Prim, Program, Scope, Stmt, Var
from hybridc.core.ops import OPS
from hybridc.core.walk import called, map_atoms, map_blocks, map_tail, rebuilt, with_body
from hybridc.passes.dce import silent_functions
from hybridc.passes.each import each


def run(program: Program) -> Program:
    repeatable = _repeatable(program)
    return each(
        program, "share", lambda fn: with_body(fn, _Sharer(repeatable).block(fn.body)),
        lambda fn: called(fn) & repeatable)


def within(fn: Fn) -> Fn:
    """A function alone: what it calls may have effects."""
    return with_body(fn, _Sharer(frozenset()).block(fn.body))


def _repeatable(program: Program) -> frozenset[str]:
    """Functions without effects whose results are scalars."""
    silent = silent_functions(program)
    return frozenset(n for n, f in program.fns.items() if n in silent and all(isinstance(t, Prim) for t in f.results))


class _Sharer:
    """Of one function."""

    def __init__(self, repeatable: frozenset[str]):
        self.repeatable = repeatable
        self.known: dict[Hashable, tuple[Var, ...]] = {}
        """What has been computed on the way here."""
        self.value: dict[int, Var] = {}
        self.alike: dict[int, int] = {}
        """Ids of variables that name what another one names: the same part of the same value."""

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        before = self.known
        self.known = dict(before)
        out: list[Stmt] = []
        for stmt in b.stmts:
            self.statement(stmt, out)
        tail = map_tail(b.tail, self.atom)
        self.known = before
        return rebuilt(b, out, tail)

    def statement(self, stmt: Stmt, out: list[Stmt]) -> None:
        if isinstance(stmt, Scope):
            # What a scope begins with happens whatever way it is left: it may as well stand before it.
            first = list(takewhile(lambda s: isinstance(s, (Op, Call)), stmt.body.stmts))
            for s in first:
                self.statement(s, out)
            if first:
                stmt = replace(stmt, body=replace(stmt.body, stmts=stmt.body.stmts[len(first) :]))
        stmt = map_atoms(stmt, self.atom)
        key = self.key(stmt)
        if not isinstance(stmt, (Op, Call)) or key is None:
            out.append(map_blocks(stmt, self.block))
        elif key in self.known and not _scalars(stmt.outs):
            self.alike.update((o.id, v.id) for o, v in zip(stmt.outs, self.known[key], strict=True))
            out.append(stmt)
        elif key in self.known:
            self.value.update((o.id, v) for o, v in zip(stmt.outs, self.known[key], strict=True))
        else:
            self.known[key] = stmt.outs
            out.append(stmt)

    def key(self, s: Stmt) -> Hashable | None:
        if isinstance(s, Call):
            return ("call", s.fn, *map(self.name, s.args)) if s.outs and s.fn in self.repeatable else None
        if not isinstance(s, Op) or not s.outs:
            return None
        row = OPS[s.op]
        if row.effect or "c" in row.own or not (row.alias or _scalars(s.outs)):
            return None
        return ("op", s.op, s.attrs, tuple(v.type for v in s.outs), *map(self.name, s.args))

    def name(self, a: Atom) -> Hashable:
        """0.0 and -0.0 differ, and so do 1 and 1.0."""
        return (repr(a.value), a.type.name) if isinstance(a, Const) else self.alike.get(a.id, a.id)


def _scalars(outs: tuple[Var, ...]) -> bool:
    return all(isinstance(v.type, Prim) for v in outs)
