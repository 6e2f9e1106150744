"""Branches and matches, and where their ways meet again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hybridc.core.ir import Arm, Atom, Block, Call, Const, EnumT, If, Match, Op, Stmt, Var
from hybridc.llvm.aggregate_ops import tag_of
from hybridc.llvm.conditions import Decision, conditions, decide, is_plain
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Leaves
from hybridc.llvm.opening import opened, opening
from hybridc.llvm.unit import Join, Pace, Unit, leaf_types, pace_of


@dataclass(frozen=True)
class Strip:
    """What a slow statement needs to be the last one of its strip: the turn's number, and where the strip's end is."""

    index: str
    limit: str


class Branches:
    """What writes branches into one function; `block` is the rest of it (control.py)."""

    def __init__(self, unit: Unit, e: FnEmitter):
        self.unit = unit
        self.e = e
        self.itself: Callable[[Call], Leaves] | None = None
        """Writes a call of the function itself in place; what it returns."""
        self.targets: dict[int, Join] = {}
        self.strip: Strip | None = None
        """The strip that this is a turn of, if some of its ways are not quick."""
        self.instead: dict[int, Callable[[Callable[[], None]], None]] = {}
        """What is written in the place of statements, by their addresses; it may write the statement too."""

    # ---- joins
    def join(self, outs: Sequence[Var], hint: str) -> Join:
        return Join(self.e.label(hint), leaf_types(self.unit, [v.type for v in outs]))

    def arrive(self, join: Join, values: Sequence[Atom]) -> None:
        if isinstance(join, Decision):
            return join.decided(self.e, *values)
        leaves = tuple(leaf for a in values for leaf in self.e.leaves(a))
        self.bring(join, leaves)
        self.e.jump(join.label)

    def bring(self, join: Join, leaves: Leaves) -> None:
        """These values arrive from the block being written."""
        join.arrivals.append((leaves, self.e.here))
        join.shared.update(i for i, leaf in enumerate(leaves) if not self.e.alone(leaf))

    def meet(self, join: Join) -> Leaves:
        """Begin the join's block; its values. Without arrivals what follows is dead."""
        if not join.arrivals:
            self.e.dead = True
            return ()
        self.e.start(join.label)
        if len(join.arrivals) == 1:
            return join.arrivals[0][0]
        values: list[str] = []
        for i, llvm in enumerate(join.types):
            given = [(leaves[i], block) for leaves, block in join.arrivals]
            same = all(v == given[0][0] for v, _ in given)
            values.append(given[0][0] if same else self.e.phi(llvm, given))
            if i not in join.shared:
                self.e.sole.add(values[-1])
        return tuple(values)

    def bind(self, outs: Sequence[Var], value: Leaves) -> None:
        if self.e.dead:
            return
        at = 0
        for var in outs:
            count = len(self.e.layouts.leaves(var.type))
            self.e.bind(var, value[at : at + count])
            at += count

    # ---- branches
    def block(self, block: Block, end: Join, start: int = 0) -> None:
        """Write a block, from a statement on; its yield arrives at `end`."""
        raise NotImplementedError

    def stmt(self, stmt: Stmt, over: Var | None = None) -> None:
        """Write a statement."""
        raise NotImplementedError

    def if_(self, stmt: If) -> None:
        """An arm that only yields needs no block: the branch leads straight to the end; two such are a select."""
        e = self.e
        if isinstance(stmt.cond, Const):
            taken = stmt.then if stmt.cond.value else stmt.orelse
            end = self.join(stmt.outs, "end")
            self.block(taken, end)
            self.bind(stmt.outs, self.meet(end))
            return
        end = self.join(stmt.outs, "end")
        direct = [is_plain(arm) for arm in (stmt.then, stmt.orelse)]
        cond = e.one(stmt.cond)
        if all(direct):
            self.choose(stmt, cond, end.types)
            return
        labels = [end.label if d else e.label(hint) for d, hint in zip(direct, ("then", "else"), strict=True)]
        for d, arm in zip(direct, (stmt.then, stmt.orelse), strict=True):
            if d:
                self.bring(end, tuple(leaf for a in arm.tail.values for leaf in e.leaves(a)))
        e.branch(cond, *labels)
        for d, label, arm in zip(direct, labels, (stmt.then, stmt.orelse), strict=True):
            if not d:
                e.start(label)
                self.block(arm, end)
        self.bind(stmt.outs, self.meet(end))

    def conditions(self, block: Block, at: int) -> list[If]:
        """Branches that are one with a condition of several parts, but for those that have to be last in their strip,
        or are written in another way."""
        found = conditions(self.e.fn, block.stmts, at)
        slow = self.strip and any(pace_of(self.unit, s) == Pace.SLOW for s in found)
        return [] if slow or any(id(s) in self.instead for s in found) else found

    def put_together(self, parts: list[If]) -> None:
        e = self.e
        *before, stmt = parts
        e.span = stmt.span
        end = self.join(stmt.outs, "end")
        labels = e.label("then"), e.label("else")
        decide(e, before, *labels, self.block)
        for label, arm in zip(labels, (stmt.then, stmt.orelse), strict=True):
            e.start(label)
            self.block(arm, end)
        self.bind(stmt.outs, self.meet(end))

    def choose(self, stmt: If, cond: str, types: list[str]) -> None:
        e = self.e
        a, b = (tuple(leaf for x in arm.tail.values for leaf in e.leaves(x)) for arm in (stmt.then, stmt.orelse))
        chosen = [x if x == y else e.select(cond, t, x, y) for t, x, y in zip(types, a, b, strict=True)]
        e.sole.update(c for c, x, y in zip(chosen, a, b, strict=True) if e.alone(x) and e.alone(y))
        self.bind(stmt.outs, tuple(chosen))

    def match(self, stmt: Match) -> None:
        e = self.e
        t = stmt.subject.type
        assert isinstance(t, EnumT)
        subject = e.one(stmt.subject)
        plain = e.module.program.enums[t.name].plain
        labels = [e.label("case") for _ in stmt.arms]
        end = self.join(stmt.outs, "end")
        if len(labels) == 1:
            e.jump(labels[0])
        else:
            # Every case is there: the last needs no test.
            tags = [e.layouts.case(t, arm.case)[0] for arm in stmt.arms[:-1]]
            cases = " ".join(f"i64 {tag}, label %{label}" for tag, label in zip(tags, labels, strict=False))
            e.do(f"switch i64 {tag_of(e, t, subject)}, label %{labels[-1]} [ {cases} ]")
        for label, arm in zip(labels, stmt.arms, strict=True):
            e.start(label)
            if not plain:
                self.load_fields(subject, arm.fields)
            self.block(arm.body, end, 0 if plain else self.opened(t, subject, arm))
        self.bind(stmt.outs, self.meet(end))

    def opened(self, t: EnumT, subject: str, arm: Arm) -> int:
        """Take a value apart that is needed no more (opening.py); how many statements of the arm have done so."""
        at = opening(arm)
        head = arm.body.stmts[: max(at, 0)]
        retains = [s for s in head if isinstance(s, Op) and s.op == "retain"]
        for s in head:
            if s not in retains:
                self.stmt(s)
        if at < 0 or opened(self.e, t, subject, arm, at):
            return at + 1
        for retain in retains:
            self.stmt(retain)
        return at

    def load_fields(self, subject: str, fields: Sequence[Var]) -> None:
        e = self.e
        payload = e.layouts.payload(tuple(v.type for v in fields))
        loaded = tuple(e.load(leaf.llvm, e.ptr_add(subject, HEADER + leaf.offset)) for leaf in payload.leaves)
        self.bind(fields, loaded)
