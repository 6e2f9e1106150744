"""A remainder by the number of a loop's turns lies within what has as many elements: `xs[(i + 1) % n]`, in a loop that
counts to `n`, needs no check if `xs` was made for `n` elements. (Such an `n` is positive.)"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridc.core.ir import Atom, Block, Loop, Op, Program, Stmt, Var
from hybridc.core.walk import map_atoms, map_blocks, map_tail, operators, rebuilt, with_body
from hybridc.passes.counted import counted, positive_stop
from hybridc.passes.counters import ZERO
from hybridc.passes.each import each


def run(program: Program) -> Program:
    return each(
        program, "remainders",
        lambda fn: with_body(fn, _Remainders().block(fn.body)) if {"mod", "place"} <= operators(fn) else fn)


@dataclass
class _Remainders:
    """Of one function."""

    made: dict[Atom, Op] = field(default_factory=dict)
    value: dict[Atom, Atom] = field(default_factory=dict)
    """What places are that need no check."""
    positive: frozenset[Atom] = frozenset()

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a, a)

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_atoms(stmt, self.atom)
            if isinstance(stmt, Op) and stmt.outs:
                self.made[stmt.outs[0]] = stmt
                if stmt.op == "place" and self.within(*stmt.args):
                    self.value[stmt.outs[0]] = stmt.args[0]
                    continue
            before = self.positive
            if isinstance(stmt, Loop):
                stop = positive_stop(stmt, counted(stmt))
                self.positive |= {stop} if isinstance(stop, Var) else set()
            out.append(map_blocks(stmt, self.block))
            self.positive = before
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def within(self, index: Atom, size: Atom) -> bool:
        rest, room = self.made.get(index), self.made.get(size)
        if rest is None or rest.op != "mod" or rest.args[1] not in self.positive:
            return False
        return rest.args[1] == size or room is not None and room.op == "maximum" and set(room.args) == {
            rest.args[1], ZERO}
