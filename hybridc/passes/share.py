"""What was computed before is not computed again.

An operator or a call that has no effect, with the same arguments as one that stands before it on every way, gives what
that gave: `m[k] = (m.get(k) ?? 0) + 1` finds its entry once. Only where the results are scalars, so that nothing lives
longer for it; of other parts of values it is only known that they are alike.

A part of an element of a buffer is what it was, whichever element has been updated since, if the update left this part
of that element alone: `bodies[i].u -= ...` changes no mass.
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
        self.elements: dict[int, tuple[Hashable, Hashable]] = {}
        """Of what has been read or taken out of a buffer: the names of that and of the index."""
        self.fields: dict[int, tuple[int, int]] = {}
        """Of parts of those: the element, and which part."""
        self.made: dict[int, tuple[Atom, ...]] = {}
        """Tuples and structs, by what they are made of."""
        self.updated: dict[Hashable, tuple[Hashable, frozenset[int]]] = {}
        """Of a buffer with another element: what it was before, and which parts of that element have stayed."""

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
        if isinstance(stmt, Op):
            self.look(stmt)
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
        if s.outs[0].id in self.fields and s.op == "get" and _scalars(s.outs):
            return self.part(*self.fields[s.outs[0].id])
        if row.effect or "c" in row.own or not (row.alias or _scalars(s.outs)):
            return None
        return ("op", s.op, s.attrs, tuple(v.type for v in s.outs), *map(self.name, s.args))

    def look(self, s: Op) -> None:
        """Note what it has to do with elements of buffers."""
        match s:
            case Op((element,), "buffer_get", (buffer, index)) | Op((_, element), "buffer_take", (buffer, index)):
                self.elements[element.id] = self.name(buffer), self.name(index)
                if s.op == "buffer_take":
                    self.elements[s.outs[0].id] = self.elements[element.id]
            case Op(outs, "get" | "destruct", (Var() as element,)) if element.id in self.elements:
                first = s.attr("index", 0)
                assert isinstance(first, int)
                self.fields.update((o.id, (element.id, first + i)) for i, o in enumerate(outs))
            case Op((whole,), "tuple" | "struct", parts):
                self.made[whole.id] = parts
            case Op((new,), "buffer_set", (Var() as rest, index, Var() as element)) if element.id in self.made:
                before, taken = self.elements.get(rest.id, (None, None))
                if before is not None and taken == self.name(index):
                    stays = frozenset(
                        i for i, p in enumerate(self.made[element.id]) if isinstance(p, Var) and p.id in self.fields
                        and self.part(*self.fields[p.id]) == self.part(rest.id, i))
                    self.updated[new.id] = before, stays

    def part(self, element: int, index: int) -> Hashable:
        """What names a part of an element of a buffer."""
        buffer, at = self.elements[element]
        while buffer in self.updated and index in self.updated[buffer][1]:
            buffer = self.updated[buffer][0]
        return "part", buffer, at, index

    def name(self, a: Atom) -> Hashable:
        """0.0 and -0.0 differ, and so do 1 and 1.0."""
        return (repr(a.value), a.type.name) if isinstance(a, Const) else self.alike.get(a.id, a.id)


def _scalars(outs: tuple[Var, ...]) -> bool:
    return all(isinstance(v.type, Prim) for v in outs)
