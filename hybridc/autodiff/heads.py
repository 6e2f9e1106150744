"""Loops that end at their head, as `for` and `while` without `break` or `return` do: their last turn does nothing but
decide, so the tape has no record of it; and numbers that go up by the same step each turn, or by one that itself does,
which no tape needs."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from hybridc.autodiff.structure import exits, leaving
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import INT, Atom, Const, Exit, If, Loop, Op, Stmt, Var, Yield
from hybridc.core.walk import all_blocks, bound_in, diverges, outs_of


@dataclass(frozen=True)
class Head:
    """`values` are what the loop gives; `turn` is a turn that is not the last, without the decision; `first` is what
    the last turn does too."""

    values: tuple[Atom, ...]
    first: tuple[Stmt, ...]
    turn: tuple[Stmt, ...]
    cond: Atom
    stays: bool
    """What the condition is in such a turn."""


def head_of(loop: Loop, active: Container[int]) -> Head | None:
    """None if it may end elsewhere, or if what is active is computed in the last turn."""
    stmts = loop.body.stmts
    at = next((i for i, s in enumerate(stmts) if leaving(s)), None)
    if at is None or not isinstance(loop.body.tail, Yield):
        return None
    branch = stmts[at]
    if not isinstance(branch, If) or branch.outs or any(leaving(s) for s in stmts[at + 1 :]):
        return None
    stays = not exits(branch.then)
    stay, gone = (branch.then, branch.orelse) if stays else (branch.orelse, branch.then)
    if stay.stmts or not isinstance(stay.tail, Yield) or not isinstance(gone.tail, Exit):
        return None
    last = {v.id for s in (*stmts[:at], *gone.stmts) for v in outs_of(s)}
    if any(isinstance(v, Var) and v.id in last and v.id in active for v in gone.tail.values):
        return None
    return Head(gone.tail.values, stmts[:at], (*stmts[:at], *stmts[at + 1 :]), branch.cond, stays)


@dataclass(frozen=True)
class Step:
    """A number that is `start` in the first turn. At its end `terms` are added, each so many times, which are there
    before the loop; at the end of each turn that follows `more` more than before."""

    start: Atom
    terms: tuple[tuple[Atom, int], ...]
    more: int = 0

    @property
    def by(self) -> int | None:
        """The same at each turn, and known."""
        (term, times), *others = self.terms
        return int(term.value) * times if isinstance(term, Const) and not others and not self.more else None

    @property
    def outside(self) -> tuple[Atom, ...]:
        """What it needs from before the loop."""
        return (self.start, *(a for a, _ in self.terms))

    def at(self, b: Builder, turn: Atom) -> Atom:
        """What it is in a turn, counted from 0."""
        found = self.start
        for term, times in self.terms:
            one = integer(int(term.value) * times) if isinstance(term, Const) else _times(b, term, times)
            found = b.op("add", [turn if one == integer(1) else b.op("mul", [turn, one], INT), found], INT)
        if self.more:  # turn * (turn - 1) / 2 times, of which one factor is even
            half = b.op("shr", [turn, integer(1)], INT)
            odd = b.op("bit_or", [b.op("sub", [turn, integer(1)], INT), integer(1)], INT)
            found = b.op("add", [_times(b, b.op("mul", [half, odd], INT), self.more), found], INT)
        return found


def _times(b: Builder, a: Atom, times: int) -> Atom:
    return a if times == 1 else b.op("mul", [a, integer(times)], INT)


def steps_of(loop: Loop) -> dict[Var, Step]:
    """Such parameters of a loop."""
    stmts, tail = loop.body.stmts, loop.body.tail
    if not isinstance(tail, Yield) or stmts and diverges(stmts[-1]):  # there is no second turn
        return {}
    makers = {s.outs[0]: s for s in stmts if isinstance(s, Op) and s.op in ("add", "sub") and s.outs[0].type == INT}
    changing = {*loop.params, *_made_in(loop)}
    found: dict[Var, Step] = {}

    def increment(a: Atom) -> tuple[tuple[tuple[Atom, int], ...], int] | None:
        """The terms of what is added in the first turn, and by how much it goes up; None if it does otherwise."""
        if a not in changing:
            return ((a, 1),), 0
        made = makers.get(a) if isinstance(a, Var) else None
        second = -1 if made is not None and made.op == "sub" else 1
        terms: list[tuple[Atom, int]] = []
        more = 0
        for x, times in [(a, 1)] if made is None else zip(made.args, (1, second), strict=True):  # as in D - 1 - i
            step = found.get(x) if isinstance(x, Var) else None
            by = 0 if x not in changing else None if step is None else step.by
            if by is None:
                return None
            terms.append((x if step is None else step.start, times))
            more += by * times
        return tuple(terms), more

    adds = [(param, start, made.args) for param, start, value in zip(loop.params, loop.inits, tail.values, strict=True)
            if isinstance(value, Var) and (made := makers.get(value)) is not None and made.op == "add"]
    for known in (True, False):  # those that go by the same first, by which others may go
        for param, start, args in adds:
            others = [a for a in args if a != param]
            if len(others) == 1 and (known == isinstance(others[0], Const)):
                added = increment(others[0])
                if added is not None:
                    found[param] = Step(start, *added)
    return found


def _made_in(loop: Loop) -> set[Var]:
    return {v for b in all_blocks(loop.body) for s in b.stmts for v in (*outs_of(s), *bound_in(s))}


def bounds_of(loop: Loop, head: Head, steps: dict[Var, Step]) -> list[tuple[Step, Atom]]:
    """Numbers that count the turns by ones, and what each must stay below (as those of a `zip` do), where these alone
    decide; none if others do."""
    makers = {s.outs[0]: s for s in loop.body.stmts if isinstance(s, Op) and s.outs}
    found: list[tuple[Step, Atom]] = []
    todo = [head.cond]
    while todo:
        cond = todo.pop()
        made = makers.get(cond) if isinstance(cond, Var) else None
        if made is not None and made.op == "bit_and":
            todo += made.args
            continue
        if made is None or made.op != "lt" or not head.stays:
            return []
        count, limit = made.args
        step = steps.get(count) if isinstance(count, Var) else None
        if step is None or step.by != 1 or limit in _made_in(loop) or limit in loop.params:
            return []
        found.append((step, limit))
    return found
