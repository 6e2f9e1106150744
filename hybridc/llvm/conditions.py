"""Conditions that are put together of several, as `a < n and b[a] > x`: each part leads to one of the arms at once, as
it does in C; so LLVM sees which ways lead where, and no turn of a loop waits for the whole condition as a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hybridc.core.ir import BOOL, Atom, Block, Const, Fn, If, Stmt, Var, Yield
from hybridc.core.walk import once, uses
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.unit import Join


@dataclass
class Decision(Join):
    """Where a condition arrives: its value decides which of two blocks is next."""

    no: str = ""

    def decided(self, e: FnEmitter, value: Atom) -> None:
        if isinstance(value, Const):
            e.jump(self.label if value.value else self.no)
        else:
            e.branch(e.one(value), self.label, self.no)


def is_plain(block: Block) -> bool:
    """Does it only yield?"""
    return not block.stmts and isinstance(block.tail, Yield)


def conditions(fn: Fn, stmts: Sequence[Stmt], at: int) -> list[If]:
    """Branches from here on of which each but the last gives the condition of the next, and nothing else, with that."""
    found: list[If] = []
    for stmt in stmts[at:]:
        if not isinstance(stmt, If) or found and stmt.cond != found[-1].outs[0]:
            break
        found.append(stmt)
        if len(stmt.outs) != 1 or stmt.outs[0].type != BOOL or _times(fn).get(stmt.outs[0]) != 1:
            break
    last = found[-1] if found else None
    return found if len(found) > 1 and last and not (is_plain(last.then) and is_plain(last.orelse)) else []


@once
def _times(fn: Fn) -> dict[Var, int]:
    return uses(fn.body)


def decide(e: FnEmitter, parts: Sequence[If], yes: str, no: str, write: Callable[[Block, Join], None]) -> None:
    """Go to one of two blocks by the condition that these give in the end."""
    *before, part = parts
    end = Decision(yes, [], no=no)
    labels: list[str] = []
    for arm, hint in ((part.then, "then"), (part.orelse, "else")):
        value = arm.tail.values[0] if is_plain(arm) else None
        labels.append((yes if value.value else no) if isinstance(value, Const) else e.label(hint))
    if before:
        decide(e, before, labels[0], labels[1], write)
    else:
        e.branch(e.one(part.cond), *labels)
    for arm, label in zip((part.then, part.orelse), labels, strict=True):
        if label not in (yes, no):
            e.start(label)
            write(arm, end)
