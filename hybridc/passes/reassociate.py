"""What a turn of a loop has from the one before comes last in a chain of minima or maxima.

`min(min(above + 1, left + 1), diagonal)` of an edit distance waits for `left`, which the turn before has just made, and
then for two minima; with `left + 1` last, one of them is done meanwhile. LLVM orders sums and products of integers so,
and minima not. Only of integers: of floats the sign of a zero could change.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.base.types import INTS
from hybridc.core.ir import Atom, Block, Fn, Loop, Op, Program, Stmt, Var
from hybridc.core.walk import (
    args_of,
    blocks_of,
    free_vars,
    map_blocks,
    operators,
    outs_of,
    rebuilt,
    uses,
    with_body,
)
from hybridc.passes.counted import counted
from hybridc.passes.each import each

CHAINS = frozenset({"minimum", "maximum"})


def run(program: Program) -> Program:
    return each(program, "reassociate", lambda fn: fn if CHAINS.isdisjoint(operators(fn)) else _Chains(fn).run())


class _Chains:
    """Of one function."""

    def __init__(self, fn: Fn):
        self.fn = fn
        self.uses = uses(fn.body)
        self.late: set[int] = set()
        """Variables that the innermost loop around has from its turn before, or has made of such."""

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        stmts: dict[Atom | int, Stmt] = {}
        """In their order; the chains' operators are found by what they define."""
        for at, stmt in enumerate(b.stmts):
            stmt = self.loop(stmt) if isinstance(stmt, Loop) else map_blocks(stmt, self.block)
            needed = {a.id for a in args_of(stmt) if isinstance(a, Var)}
            needed.update(v.id for inner in blocks_of(stmt) for v in free_vars(inner))
            if not needed.isdisjoint(self.late):
                self.late.update(v.id for v in outs_of(stmt))
            if isinstance(stmt, Op) and stmt.op in CHAINS and stmt.outs[0].type in INTS:
                self.link(stmt, stmts)
            else:
                stmts[at] = stmt
        return rebuilt(b, list(stmts.values()), b.tail)

    def link(self, op: Op, stmts: dict[Atom | int, Stmt]) -> None:
        """`f(f(a, late), b)` as `f(f(a, b), late)`, where nothing else uses what stands within."""
        for within, other in (op.args, op.args[::-1]):
            inner = stmts.get(within)
            if not isinstance(inner, Op) or inner.op != op.op or self.uses[inner.outs[0]] > 1 or self.is_late(other):
                continue
            late = [a for a in inner.args if self.is_late(a)]
            if len(late) == 1:
                early = next(a for a in inner.args if a not in late)
                del stmts[within]  # it goes to the end
                stmts[within] = replace(inner, args=(early, other))
                op = replace(op, args=(inner.outs[0], late[0]))
                self.late.discard(inner.outs[0].id)
                break
        stmts[op.outs[0]] = op

    def is_late(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.late

    def loop(self, loop: Loop) -> Loop:
        turn, outside = counted(loop), self.late
        self.late = {p.id for p in loop.params if turn is None or p != turn.index}
        made = map_blocks(loop, self.block)
        self.late = outside
        assert isinstance(made, Loop)
        return made
