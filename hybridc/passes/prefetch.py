"""The slot where a loop looks for its key is asked for some turns before, where the table is large.

A search begins at a place in its table that nothing foretells but the key, and waits for that line of memory; the
processor goes on meanwhile, but not past a guess that was wrong, and the end of a search is one. Where a loop counts
and the key of a turn follows from its number (it is an element of a list, or computed), the key that is some turns on
is known too: what leads to its slot is computed twice, and the slot asked for. (Software prefetching for indirect
accesses: Ainsworth and Jones, CGO 2017.)

That a function begins by probing a table is seen from its body. Only what cannot fault is computed ahead, and an
element of a list only within it. Asking means nothing, and the pass stands after all that would take it out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice

from hybridc.base.immutable import immutable, replace
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    Call,
    Const,
    Fault,
    Fn,
    Loop,
    Op,
    Prim,
    Program,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import OPS, may_fault
from hybridc.core.types import is_counted
from hybridc.core.walk import called, highest_id, leading_to, map_blocks, once, operators, rebuilt, with_body
from hybridc.passes.counted import Counted, counted, within
from hybridc.passes.each import each
from hybridc.passes.inline import callees_first

AHEAD = 16
"""Turns: a line from memory takes about as long."""
LARGE = 1 << 18
"""Elements of a table that lies in no cache of its own: a megabyte."""
MOST = 60
"""Operators that lead from a key to its slot."""

BY_OTHER = frozenset({"floordiv", "mod", "shl", "shr", "lshr"})
"""Operators that fault by their second argument alone, and not if that is positive."""


@immutable(frozen=True, slots=True)
class Probe:
    """A table, the element where a search in it begins, and what leads there, to the table first."""

    ops: tuple[Op, ...]
    table: Atom
    at: Atom


def run(program: Program) -> Program:
    if not any("buffer_match" in operators(fn) for fn in program.fns.values()):
        return program
    probing: dict[str, Probe] = {}
    for name in callees_first(program):
        fn = program.fns[name]
        if "buffer_match" in operators(fn) or not called(fn).isdisjoint(probing):
            probe = _first(fn, program, probing)
            if probe:
                probing[name] = probe

    def looked_at(fn: Fn) -> Hashable:
        return tuple((n, probing.get(n), _numbers(program.fns[n])) for n in sorted(called(fn)))

    return each(program, "prefetch", lambda fn: _Loops(program, probing, fn).run(), looked_at)


# ---- what leads to a place -------------------------------------------------------------------------------------------
class _Ways:
    """How what a block defines is computed from what comes from outside of it, as far as that is simple."""

    def __init__(self, program: Program, probing: Mapping[str, Probe], b: Builder):
        self.program, self.probing, self.b = program, probing, b
        self.made_by: dict[int, Op] = {}
        self.same: dict[int, Atom] = {}
        """What a variable is a name of."""

    def atom(self, a: Atom) -> Atom:
        return self.same.get(a.id, a) if isinstance(a, Var) else a

    def define(self, stmt: Stmt) -> None:
        if isinstance(stmt, Op) and (_simple(stmt) or self.looks(stmt)):
            self.made_by[stmt.outs[0].id] = replace(stmt, args=tuple(map(self.atom, stmt.args)))
        elif isinstance(stmt, Op) and stmt.op == "place":
            self.same[stmt.outs[0].id] = self.atom(stmt.args[0])  # a place from the end is not asked for
        elif isinstance(stmt, Call):
            fn = self.program.fns[stmt.fn]
            ops = _numbers(fn)
            if ops is not None:
                values = self.written_out(fn, ops, stmt.args, fn.body.tail.values)
                self.same.update((o.id, v) for o, v in zip(stmt.outs, values, strict=True))

    def looks(self, op: Op) -> bool:
        """A part of a value, or a number that lies in a buffer."""
        return op.op in ("get", "buffer_len") or op.op == "buffer_get" and not is_counted(op.outs[0].type, self.program)

    def written_out(self, fn: Fn, ops: Iterable[Op], args: Iterable[Atom], wanted: Iterable[Atom]) -> list[Atom]:
        """Operators of a function that is called, with new variables, and what some of its variables are then."""
        given = {p.id: self.atom(a) for p, a in zip(fn.params, args, strict=True)}

        def atom(a: Atom) -> Atom:
            return given.get(a.id, a) if isinstance(a, Var) else a

        for op in ops:
            out = self.b.var(op.outs[0].type)
            self.made_by[out.id] = replace(op, outs=(out,), args=tuple(map(atom, op.args)))
            given[op.outs[0].id] = out
        return [atom(a) for a in wanted]

    def probes(self, block: Block) -> Iterator[Probe]:
        """What is looked for on the way through the block that nothing leads away from: of loops, what they begin with.
        """
        for stmt in block.stmts:
            self.define(stmt)
            if isinstance(stmt, Op) and stmt.op == "buffer_match":
                yield self.probe(*map(self.atom, stmt.args[:2]))
            elif isinstance(stmt, Call) and stmt.fn in self.probing:
                probe = self.probing[stmt.fn]
                fn = self.program.fns[stmt.fn]
                yield self.probe(*self.written_out(fn, probe.ops, stmt.args, (probe.table, probe.at)))
            elif isinstance(stmt, Scope):
                yield from self.probes(stmt.body)
            elif isinstance(stmt, Loop) and not counted(stmt):
                self.same.update((p.id, self.atom(a)) for p, a in zip(stmt.params, stmt.inits, strict=True))
                yield from islice(self.probes(stmt.body), 1)

    def probe(self, table: Atom, at: Atom) -> Probe:
        return Probe(tuple(leading_to(self.made_by, table, at)), table, at)


def _simple(op: Op) -> bool:
    """Makes a number of numbers, and cannot fault."""
    if len(op.outs) != 1 or OPS[op.op].effect or not all(isinstance(a.type, Prim) for a in (*op.outs, *op.args)):
        return False
    if not may_fault(op):
        return True
    other = op.args[-1]
    return op.op in BY_OTHER and isinstance(other, Const) and other.value > 0


@once
def _numbers(fn: Fn) -> tuple[Op, ...] | None:
    """What a function does that only makes numbers of numbers; nothing of another."""
    ops = tuple(s for s in fn.body.stmts if isinstance(s, Op) and _simple(s))
    done = len(ops) == len(fn.body.stmts) <= MOST and not isinstance(fn.body.tail, Fault)
    return ops if done else None


def _first(fn: Fn, program: Program, probing: Mapping[str, Probe]) -> Probe | None:
    """What a function looks for first, if that is in one of its own parameters, at a place that the others say."""
    probe = next(_Ways(program, probing, Builder(highest_id(fn) + 1)).probes(fn.body), None)
    if probe is None or len(probe.ops) > MOST or probe.table not in fn.params:
        return None
    return probe if _leaves(probe) <= {p.id for p in fn.params} else None


def _leaves(probe: Probe) -> set[int]:
    """Ids of the variables that all is computed from."""
    made = {op.outs[0].id for op in probe.ops}
    atoms = [probe.table, probe.at, *(a for op in probe.ops for a in op.args)]
    return {a.id for a in atoms if isinstance(a, Var)} - made


# ---- loops -----------------------------------------------------------------------------------------------------------
class _Loops:
    """Of one function."""

    def __init__(self, program: Program, probing: Mapping[str, Probe], fn: Fn):
        self.program, self.probing, self.fn = program, probing, fn
        self.b = Builder(highest_id(fn) + 1)

    def run(self) -> Fn:
        if "buffer_match" not in operators(self.fn) and called(self.fn).isdisjoint(self.probing):
            return self.fn
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        return rebuilt(b, [self.statement(map_blocks(stmt, self.block)) for stmt in b.stmts], b.tail)

    def statement(self, stmt: Stmt) -> Stmt:
        turn = counted(stmt) if isinstance(stmt, Loop) else None
        if not isinstance(stmt, Loop) or turn is None:
            return stmt
        own = within(stmt)
        probes = _Ways(self.program, self.probing, self.b).probes(turn.rest)
        asked = {_known_by(probe): probe for probe in probes if _foretold(stmt, turn, own, probe)}
        if not asked:
            return stmt
        self.b.open()
        for probe in asked.values():
            _ask(self.b, turn, probe)
        asking = self.b.close(Yield()).stmts
        return replace(stmt, body=replace(stmt.body, stmts=(*stmt.body.stmts[:2], *asking, *turn.rest.stmts)))


def _foretold(loop: Loop, turn: Counted, own: set[int], probe: Probe) -> bool:
    """Does the place follow from the turn's number, and the table stand where a turn begins?"""
    if len(probe.ops) > MOST:
        return False
    # Of the table, and of what else a turn begins with, only the length may be asked: it may change until then.
    tables = {p.id for p in loop.params if p != turn.index}
    looked_into = {a.id for op in probe.ops if op.op != "buffer_len" for a in op.args if isinstance(a, Var)}
    leaves = _leaves(probe)
    return turn.index.id in leaves and not any(
        v in own and v != turn.index.id and (v not in tables or v in looked_into) for v in leaves
    )


def _known_by(probe: Probe) -> Hashable:
    """The same for probes that are computed alike."""
    number = {op.outs[0].id: i for i, op in enumerate(probe.ops)}

    def name(a: Atom) -> Hashable:
        return number.get(a.id, a) if isinstance(a, Var) else (repr(a.value), a.type)

    return tuple((op.op, op.attrs, *map(name, op.args)) for op in probe.ops), name(probe.table), name(probe.at)


def _ask(b: Builder, turn: Counted, probe: Probe) -> None:
    """Statements that ask for one place, in the block that is open."""
    conditions: list[Atom] = []
    later = b.op("add", [turn.index, integer(AHEAD)], INT)
    value: dict[int, Atom] = {turn.index.id: later}

    def atom(a: Atom) -> Atom:
        return value.get(a.id, a) if isinstance(a, Var) else a

    def when(op: str, x: Atom, y: Atom) -> None:
        conditions.append(b.op(op, [x, y], BOOL))
        b.open()

    def do(op: Op) -> None:
        args = [atom(a) for a in op.args]
        if op.op == "buffer_get":
            when("ge", args[1], integer(0))
            when("lt", args[1], b.op("buffer_len", args[:1], INT))
        value[op.outs[0].id] = out = b.var(op.outs[0].type)
        b.add(replace(op, outs=(out,), args=tuple(args)))

    made = [op.outs[0] for op in probe.ops]
    before = made.index(probe.table) + 1 if probe.table in made else 0
    for op in probe.ops[:before]:
        do(op)
    when("gt", b.op("buffer_len", [atom(probe.table)], INT), integer(LARGE))
    for op in probe.ops[before:]:
        do(op)
    b.op("buffer_prefetch", [atom(probe.table), atom(probe.at)], probe.table.type)
    for condition in reversed(conditions):
        b.if_(condition, b.close(Yield()), Block((), Yield()))
