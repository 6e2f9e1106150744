"""What goes up together with the number of a loop's turn is that number, and what a loop counts to is known before it.

A comprehension counts its turns twice: `i` goes through the range, and a place of its own through the list that is
made. Where both begin alike they are one; and a loop that is left only when it has counted to its end gives the end.
So the length of a list is the number that it was made for, which others are made for too (passes/tables.py).
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import INT, Atom, Block, Const, Exit, Fn, Loop, Op, Stmt, Var
from hybridc.core.walk import all_blocks, highest_id, map_atoms, map_blocks, map_tail, rebuilt, substitute, with_body
from hybridc.passes.counted import ONE, Counted, counted

ZERO = Const(0, INT)


def counters(fn: Fn) -> Fn:
    """A function with as few counters as its loops need."""
    return with_body(fn, _Counters(fn).block(fn.body))


class _Counters:
    def __init__(self, fn: Fn):
        self.next = highest_id(fn) + 1
        self.value: dict[Atom, Atom] = {}
        """What stands for what a loop has counted."""

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a, a)

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_blocks(map_atoms(stmt, self.atom), self.block)
            turn = counted(stmt) if isinstance(stmt, Loop) else None
            if isinstance(stmt, Loop) and turn is not None:
                stmt = self.loop(stmt, turn, out)
            out.append(stmt)
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def loop(self, loop: Loop, turn: Counted, out: list[Stmt]) -> Loop:
        start = loop.inits[turn.place]
        together = {p: loop.inits[i] for i, p in enumerate(loop.params) if _steps(loop, i)}
        self.counts(loop, turn, together, out)
        same: dict[Var, Atom] = {p: turn.index for p, init in together.items() if p != turn.index and init == start}
        if not same:
            return loop
        kept = [i for i, p in enumerate(loop.params) if p not in same]
        tail = replace(loop.body.tail, values=tuple(loop.body.tail.values[i] for i in kept))
        body = substitute(replace(loop.body, tail=tail), same)
        params, inits = tuple(loop.params[i] for i in kept), tuple(loop.inits[i] for i in kept)
        return replace(loop, params=params, inits=inits, body=body)

    def counts(self, loop: Loop, turn: Counted, together: dict[Var, Atom], out: list[Stmt]) -> None:
        """Where it is left in one way only, by its end: what it has counted then."""
        ways = [b.tail for b in all_blocks(loop.body) if isinstance(b.tail, Exit) and b.tail.label == loop.label]
        if ways != [turn.leave.tail]:
            return
        start = loop.inits[turn.place]
        for result, value in zip(loop.outs, ways[0].values, strict=True):
            init = together.get(value) if isinstance(value, Var) else None
            if init is None:
                continue
            end = self.op(out, loop, "maximum", turn.stop, start)
            if init != start:
                end = end if start == ZERO else self.op(out, loop, "sub", end, start)
                end = end if init == ZERO else self.op(out, loop, "add", end, init)
            self.value[result] = end

    def op(self, out: list[Stmt], loop: Loop, name: str, *args: Atom) -> Var:
        result = Var(self.next, INT)
        self.next += 1
        out.append(Op((result,), name, args, (), loop.span))
        return result


def _steps(loop: Loop, i: int) -> bool:
    """Does a parameter go up by one at every turn?"""
    again, p = loop.body.tail.values[i], loop.params[i]
    return p.type == INT and any(
        isinstance(s, Op) and s.op == "add" and s.outs == (again,) and s.args in ((p, ONE), (ONE, p))
        for s in loop.body.stmts)
