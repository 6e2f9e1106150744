"""A counted loop that asks at every turn whether its index has come to a place is two loops: before and after.

    for w in range(n):                           for w in range(size):
        if size <= w: ...              becomes       (no longer asked)
                                                 for w in range(size, n): ...

where no turn changes `size`. The second one, of a knapsack, reads at `w - size`, which is then known to be a place, and
neither of them has a branch, so that both can be vectors.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.builder import FreshBuilder, boolean
from hybridc.core.ir import INT, Atom, Block, Exit, If, Loop, Op, Stmt, Var, Yield
from hybridc.core.walk import Freshener, all_blocks, count, statements, substitute
from hybridc.passes.counted import ONE, Counted, counted, within

LARGEST = 50
"""Statements of a loop that is written twice."""
OPPOSITE = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def split(loop: Loop, fresh: Freshener) -> list[Stmt]:
    """The loops instead of a loop; nothing if it asks no such thing."""
    turn = counted(loop)
    if turn is None or count(loop.body) > LARGEST:
        return []
    if any(isinstance(s, Loop) for s in statements(loop.body)) or any(
        isinstance(b.tail, Exit) for b in all_blocks(Block(turn.rest.stmts, turn.rest.tail))
    ):
        return []
    inside = within(loop)
    asked = {s.cond for s in statements(loop.body) if isinstance(s, If) and (s.then.stmts or s.orelse.stmts)}
    for s in turn.rest.stmts:
        if isinstance(s, Op) and s.op in OPPOSITE and s.outs[0] in asked:
            op, (a, b) = s.op, s.args
            if b == turn.index:
                op, a, b = OPPOSITE[op], b, a
            if a == turn.index and not (isinstance(b, Var) and b.id in inside):
                return _parts(loop, turn, s.outs[0], op, b, fresh)
    return []


def _parts(loop: Loop, turn: Counted, cond: Var, op: str, place: Atom, fresh: Freshener) -> list[Stmt]:
    """The index is compared with `place` by `op`, which gives `cond`. Nothing below wraps where the loop has a turn."""
    b = FreshBuilder(fresh)
    b.span = loop.span
    b.open()
    if op in ("gt", "le"):  # the next place is the first one where it is otherwise
        last = b.op("sub", [turn.stop, ONE], INT)
        place = b.op("add", [b.op("minimum", [place, last], INT), ONE], INT)
    middle = b.op("minimum", [place, turn.stop], INT)
    early = op in ("lt", "le")
    label = b.label()
    first = _known(loop, cond, early)
    test, leave, *rest = first.body.stmts
    assert isinstance(test, Op) and isinstance(leave, If)
    test = replace(test, args=(turn.index, middle))
    leave = replace(leave, orelse=Block((), Exit(label, loop.params)))
    outs = tuple(b.var(p.type, p.name) for p in loop.params)
    body = Block((test, leave, *rest), first.body.tail)
    copied = fresh.copy(Block((replace(first, outs=outs, label=label, body=body),), Yield(outs)), {}, {})
    for stmt in copied.stmts:
        b.add(stmt)
    b.add(replace(_known(loop, cond, not early), inits=copied.tail.values))
    return list(b.close(Yield()).stmts)


def _known(loop: Loop, cond: Var, value: bool) -> Loop:
    return replace(loop, body=substitute(loop.body, {cond: boolean(value)}))
