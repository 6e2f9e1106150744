"""The rows of a table have one length, which is known where it is made.

`[[0] * m for i in range(n)]` is a list of lists, whose rows may have any length: `t[i][j]` reads that of row i and
compares. Where a function makes a table of equal rows and then only changes their elements, it is the length that all
were made with: a value from before, so that checks against it leave loops (passes/bounds.py), and where a program has
compared an index with it already, nothing is left to compare.

A table is here all that one buffer of structs becomes. What is put into it is looked at; a whole number in its elements
is known if nothing puts another there. Only tables that are filled by a loop which counts to their length: a fresh
buffer holds rows without elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hybridc.core.ir import (
    INT,
    Atom,
    Block,
    BufferT,
    Const,
    Exit,
    Fn,
    If,
    Loop,
    Op,
    Program,
    Scope,
    Stmt,
    StructT,
    Var,
    Yield,
)
from hybridc.core.walk import blocks_of, bound_in, outs_of, statements_in, substitute, uses, with_body
from hybridc.passes import share
from hybridc.passes.counted import Counted, counted
from hybridc.passes.counters import ZERO, counters
from hybridc.passes.each import each
from hybridc.passes.invariant import numbers_hoisted
from hybridc.passes.simplify import simplify_fn

Path = tuple[int, ...]
"""Where a statement stands: its place in the body, the block within it, its place there, and so on."""


def run(program: Program) -> Program:
    """Every function."""
    lengths = _Lengths(program)
    return each(program, "tables", lambda fn: _known(fn, program, lengths))


def _known(fn: Fn, program: Program, lengths: _Lengths) -> Fn:
    if not any(isinstance(s, Op) and s.op == "buffer_new" and lengths.of(s.outs[0]) for s in statements_in(fn)):
        return fn
    better = counters(fn)
    better = share.within(with_body(better, numbers_hoisted(better.body)))
    values = _Tables(better, lengths).values()
    return simplify_fn(with_body(better, substitute(better.body, values)), program) if values else fn


class _Lengths:
    """Which fields of the elements of a buffer are whole numbers."""

    def __init__(self, program: Program):
        self.program = program

    def of(self, a: Atom) -> list[int]:
        if not isinstance(a.type, BufferT) or not isinstance(a.type.item, StructT):
            return []
        return [i for i, (_, t) in enumerate(self.program.structs[a.type.item.name].fields) if t == INT]


@dataclass
class _Table:
    """`members` is where its variables are defined, `rows` what is put into it. Other rows may be in one that is
    `open`."""

    members: list[Path] = field(default_factory=list)
    rows: list[Atom] = field(default_factory=list)
    open: bool = False


class _Tables:
    """Of one function."""

    def __init__(self, fn: Fn, lengths: _Lengths):
        self.fn, self.lengths = fn, lengths
        self.made = {o: s for s in statements_in(fn) if isinstance(s, Op) for o in s.outs}
        self.uses = uses(fn.body)
        self.path: dict[Var, Path] = {p: (-1,) for p in fn.params}
        self.like: dict[Var, Var] = {}
        """For a variable that holds a table: another one of that table."""
        self.filling: set[Var] = set()
        """Tables that are being filled,"""
        self.filled: dict[Var, Atom] = {}
        """those that have been, and what each turn put into it."""
        self.open: set[Var] = {*fn.params}
        """Those of which is not known what was put into them."""

    def values(self) -> dict[Var, Atom]:
        """What the lengths are that are known."""
        self.block(self.fn.body, (), {})
        tables = self.tables()
        known = {(v, i): self.known(v, table, i) for v, table in tables.items() for i in self.lengths.of(v)}
        found = {}
        for v, op in self.made.items():
            if op.op == "get":
                length = known.get((self.table_of(op.args[0]), op.attr("index")))  # type: ignore[arg-type]
                if length is not None:
                    found[v] = length
        return found

    # ---- which variables are one table
    def root(self, v: Var) -> Var:
        while v in self.like:
            v = self.like[v]
        return v

    def one(self, a: Var, b: Atom) -> None:
        if isinstance(b, Var) and self.lengths.of(a) and self.root(a) != self.root(b):
            self.like[self.root(a)] = self.root(b)

    def block(self, b: Block, at: Path, ends: Mapping[int, tuple[Var, ...]]) -> None:
        """`ends`: what the exits of labels give."""
        for i, stmt in enumerate(b.stmts):
            here = (*at, i)
            self.path.update((v, here) for v in outs_of(stmt))
            self.path.update((v, (*here, 0, -1)) for v in bound_in(stmt))
            self.statement(stmt, here, ends)
        if isinstance(b.tail, Exit):
            self.ways(ends.get(b.tail.label, ()), b.tail.values)

    def ways(self, outs: Iterable[Var], values: Iterable[Atom]) -> None:
        for o, value in zip(outs, values, strict=False):  # after what never ends there are none
            if value not in self.filling:
                self.one(o, value)

    def statement(self, stmt: Stmt, here: Path, ends: Mapping[int, tuple[Var, ...]]) -> None:
        outs = again = outs_of(stmt)
        match stmt:
            case Op(_, "buffer_set" | "buffer_take", args):
                self.one(outs[0], args[0])
            case Loop(_, label, params, inits):
                turn = counted(stmt)
                if turn is not None:
                    self.fills(stmt, turn)
                ends = {**ends, label: outs}
                again = params
                self.ways(params, inits)
            case Scope(_, label):
                ends = {**ends, label: outs}
            case If():
                pass
            case _:
                self.open.update(outs, bound_in(stmt))
        for k, inner in enumerate(blocks_of(stmt)):
            self.block(inner, (*here, k), ends)
            if isinstance(inner.tail, Yield):
                self.ways(again, inner.tail.values)

    def fills(self, loop: Loop, turn: Counted) -> None:
        """Tables that the loop fills from the first row to the last."""
        for i, (p, init) in enumerate(zip(loop.params, loop.inits, strict=True)):
            new, put = self.made.get(init), self.made.get(loop.body.tail.values[i])  # type: ignore[arg-type]
            if (
                new is not None and new.op == "buffer_new" and self.turns(new.args[0], loop.inits[turn.place], turn)
                and put in loop.body.stmts and put.op == "buffer_set" and put.args[:2] == (p, turn.index)
                and p in turn.leave.tail.values and isinstance(turn.leave.tail, Exit)
                and [self.uses[v] for v in (new.outs[0], p, put.outs[0])] == [1, 2, 1]
            ):
                self.filling.update((new.outs[0], p, put.outs[0]))
                self.filled[loop.outs[turn.leave.tail.values.index(p)]] = put.args[2]

    def turns(self, size: Atom, start: Atom, turn: Counted) -> bool:
        """Is it how often a loop turns that begins with 0?"""
        made = self.made.get(size) if isinstance(size, Var) else None
        at_least = made is not None and made.op == "maximum" and set(made.args) == {turn.stop, ZERO}
        return start == ZERO and (size == turn.stop or at_least)

    # ---- what is put into tables
    def tables(self) -> dict[Var, _Table]:
        """By the variable that stands for all of one."""
        found: dict[Var, _Table] = {}
        for v, path in self.path.items():
            if self.lengths.of(v) and v not in self.filling:
                table = found.setdefault(self.root(v), _Table())
                table.members.append(path)
                table.open |= v in self.open or not self.closes(v)
                op = self.made.get(v)
                if v in self.filled:
                    table.rows.append(self.filled[v])
                elif op is not None and op.op == "buffer_set":
                    table.rows.append(op.args[2])
        return found

    def closes(self, v: Var) -> bool:
        """Is a row that was taken out put back next, so that nobody sees what is there meanwhile?"""
        take = self.made.get(v)
        if take is None or take.op != "buffer_take":
            return True
        back = [s for s in self.made.values() if s.op == "buffer_set" and s.args[:2] == (v, take.args[1])]
        return len(back) == self.uses.get(v, 0)

    def table_of(self, row: Atom) -> Var | None:
        """The table that a row was read from."""
        op = self.made.get(row) if isinstance(row, Var) else None
        if op is None or op.op not in ("buffer_get", "buffer_take") or not isinstance(op.args[0], Var):
            return None
        return self.root(op.args[0])

    def known(self, of: Var, table: _Table, index: int) -> Atom | None:
        """What a number in all rows is."""
        found: set[Atom] = set()
        for row in table.rows:
            length = self.number(of, row, index)
            if length is None:
                return None
            found.add(length)
        found.discard(of)
        if table.open or len(found) != 1:
            return None
        length = found.pop()
        seen = isinstance(length, Const) or all(_sees(m, self.path[length]) for m in table.members)
        return length if seen else None

    def number(self, of: Var, row: Atom, index: int) -> Atom | None:
        """What a number in a row is; `of` itself for that of another row of the table."""
        if self.table_of(row) == of:
            return of
        op = self.made.get(row) if isinstance(row, Var) else None
        if op is None or op.op != "struct":
            return None
        length = op.args[index]
        part = self.made.get(length) if isinstance(length, Var) else None
        if part is not None and part.op == "get" and part.attr("index") == index and self.table_of(part.args[0]) == of:
            return of
        return length


def _sees(at: Path, other: Path) -> bool:
    """Is what was defined at the other place defined where this one is?"""
    last = len(other) - 1
    return at[:last] == other[:last] and len(at) > last and at[last] > other[last]
