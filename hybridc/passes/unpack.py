"""A tuple or struct that a function only takes apart is passed as its parts.

A method of a container reads the fields of `self`. Where the caller keeps the container's fields apart, passing them as
one struct would first make that struct, which counts every buffer in it up and down again around a call that only
reads them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Call, Fn, Op, Program, Stmt, StructT, TupleT, Type, Var
from hybridc.core.types import parts
from hybridc.core.walk import (
    all_blocks,
    args_of,
    calls,
    highest_id,
    map_atoms,
    map_blocks,
    map_tail,
    once,
    rebuilt,
    with_body,
)
from hybridc.passes.each import each

MOST = 12
"""Parts beyond which an aggregate stays whole."""
DEPTH = 3
"""How deep aggregates inside aggregates are opened."""

Places = set[tuple[str, int]]
"""Parameters, by function and position."""


def run(program: Program, roots: Iterable[str] = ()) -> Program:
    """`roots` are called from outside, so their parameters stay as they are."""
    kept = set(roots)
    for _ in range(DEPTH):
        places = unpacked(program, kept)
        if not places:
            break
        program = _without(program, places)
    return program


def _without(program: Program, places: Places) -> Program:
    """With these parameters passed as their parts."""
    positions: dict[str, list[int]] = {}
    for name, i in sorted(places):
        positions.setdefault(name, []).append(i)

    def looked_at(fn: Fn) -> Hashable:
        return tuple((name, *positions[name]) for name in (fn.name, *calls(fn)) if name in positions)

    return each(program, "unpack", lambda fn: _Unpacker(program, fn, places).run(), looked_at)


def unpacked(program: Program, roots: set[str]) -> Places:
    """The greatest set of parameters that are only taken apart, or handed on as one of the set."""
    found: Places = set()
    handed_on: dict[tuple[str, int], Places] = {}
    for name, fn in program.fns.items():
        if name in roots:
            continue
        candidates = {p.id: i for i, p in enumerate(fn.params) if _opens(p.type, program)}
        if not candidates:
            continue
        used_whole, given = _uses(fn)
        for v, i in candidates.items():
            if v not in used_whole:
                found.add((name, i))
                handed_on[name, i] = given.get(v, set())
    changed = True
    while changed:
        lost = {place for place in found if not handed_on[place] <= found}
        found -= lost
        changed = bool(lost)
    return found


def _opens(t: Type, program: Program) -> bool:
    return isinstance(t, (TupleT, StructT)) and 0 < len(parts(t, program)) <= MOST


@once
def _uses(fn: Fn) -> tuple[set[int], dict[int, Places]]:
    """Which of its parameters that are aggregates are used as a whole, and to which parameters each is handed on."""
    candidates = {p.id for p in fn.params if isinstance(p.type, (TupleT, StructT))}
    whole: set[int] = set()
    given: dict[int, Places] = {}
    for b in all_blocks(fn.body):
        for stmt in b.stmts:
            if isinstance(stmt, Op) and stmt.op in ("get", "destruct"):
                continue
            if isinstance(stmt, Call):
                for i, a in enumerate(stmt.args):
                    if isinstance(a, Var) and a.id in candidates:
                        given.setdefault(a.id, set()).add((stmt.fn, i))
                continue
            whole.update(a.id for a in args_of(stmt) if isinstance(a, Var) and a.id in candidates)
        whole.update(a.id for a in b.tail.values if isinstance(a, Var) and a.id in candidates)
    return whole, given


class _Unpacker:
    def __init__(self, program: Program, fn: Fn, places: Places):
        self.program = program
        self.fn = fn
        self.places = places
        self.next_id = highest_id(fn) + 1
        self.parts: dict[int, tuple[Var, ...]] = {}
        """Of each parameter that is unpacked."""
        self.instead: dict[int, Atom] = {}

    def fresh(self, t: Type, name: str) -> Var:
        self.next_id += 1
        return Var(self.next_id - 1, t, name)

    def run(self) -> Fn:
        params: list[Var] = []
        for i, p in enumerate(self.fn.params):
            if (self.fn.name, i) in self.places:
                self.parts[p.id] = tuple(self.fresh(t, p.name) for t in parts(p.type, self.program))
                params += self.parts[p.id]
            else:
                params.append(p)
        body = self.block(self.fn.body)
        return replace(self.fn, params=tuple(params), body=body) if self.parts else with_body(self.fn, body)

    def atom(self, a: Atom) -> Atom:
        return self.instead.get(a.id, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Op) and stmt.op in ("get", "destruct") and self.named(stmt):
                continue
            stmt = map_atoms(stmt, self.atom)
            if isinstance(stmt, Call):
                args = self.args(stmt, out)
                stmt = stmt if args == stmt.args else replace(stmt, args=args)
            out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def named(self, op: Op) -> bool:
        """Whether it only names parts that there are already."""
        whole = op.args[0]
        if not isinstance(whole, Var) or whole.id not in self.parts:
            return False
        first = op.attr("index", 0)
        assert isinstance(first, int)
        self.instead.update((o.id, part) for o, part in zip(op.outs, self.parts[whole.id][first:], strict=False))
        return True

    def args(self, call: Call, out: list[Stmt]) -> tuple[Atom, ...]:
        args: list[Atom] = []
        for i, a in enumerate(call.args):
            if (call.fn, i) not in self.places:
                args.append(a)
                continue
            assert isinstance(a, Var)
            found = self.parts.get(a.id)
            if found is None:
                found = tuple(self.fresh(t, a.name) for t in parts(a.type, self.program))
                out += [Op((v,), "get", (a,), (("index", k),), call.span) for k, v in enumerate(found)]
            args += found
        return tuple(args)
