"""Loops that end at their head, as `for` and `while` without `break` or `return` do: their last turn does nothing but
decide, so the tape has no record of it; and numbers that go up by the same step each turn, which no tape needs."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from hybridc.autodiff.structure import exits, leaving
from hybridc.core.ir import INT, Atom, Const, Exit, If, Loop, Op, Stmt, Var, Yield
from hybridc.core.walk import all_blocks, bound_in, diverges, outs_of


@dataclass(frozen=True)
class Head:
    """`values` are what the loop gives; `turn` is a turn that is not the last, without the decision."""

    values: tuple[Atom, ...]
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
    return Head(gone.tail.values, (*stmts[:at], *stmts[at + 1 :]), branch.cond, stays)


@dataclass(frozen=True)
class Step:
    """A number that is `start` in the first turn, and `by` more in each that follows."""

    start: Atom
    by: int


def steps_of(loop: Loop) -> dict[Var, Step]:
    """Such parameters of a loop."""
    stmts, tail = loop.body.stmts, loop.body.tail
    if not isinstance(tail, Yield) or stmts and diverges(stmts[-1]):  # there is no second turn
        return {}
    makers = {s.outs[0]: s for s in stmts if isinstance(s, Op) and s.op == "add"}
    found: dict[Var, Step] = {}
    for param, start, value in zip(loop.params, loop.inits, tail.values, strict=True):
        made = makers.get(value) if isinstance(value, Var) else None
        if param.type == INT and made is not None:
            first, by = made.args
            if first == param and isinstance(by, Const):
                found[param] = Step(start, int(by.value))
    return found


def bound_of(loop: Loop, head: Head, steps: dict[Var, Step]) -> tuple[Step, Atom] | None:
    """The number that counts the turns by ones, and what it must stay below, where this alone decides."""
    made = next((s for s in loop.body.stmts if isinstance(s, Op) and s.outs[:1] == (head.cond,)), None)
    if made is None or made.op != "lt" or not head.stays:
        return None
    count, limit = made.args
    step = steps.get(count) if isinstance(count, Var) else None
    inner = {v for b in all_blocks(loop.body) for s in b.stmts for v in (*outs_of(s), *bound_in(s))}
    if step is None or step.by != 1 or limit in inner or limit in loop.params:
        return None
    return step, limit
