"""Which variables reach a result through floats. What else is active (only compared, shown, or behind `stop_gradient`)
needs no adjoint: one of zeros costs as much as another, and where a derivative is infinite makes nan of nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from hybridc.core.ir import RETURN, Atom, Block, Call, Exit, Fn, If, Loop, Match, Op, Parallel, Scope, Stmt, Var, Yield


def wanted(fn: Fn, active: Set[int], constant: Set[str]) -> set[int]:
    """Of the active variables of a function those; nothing flows through the operators of `constant`. All active
    arguments are."""
    return {p.id for p in fn.params if p.id in active} | _Wanted(fn, active, constant).run()


class _Wanted:
    def __init__(self, fn: Fn, active: Set[int], constant: Set[str]):
        self.fn, self.active, self.constant = fn, active, constant
        self.found: set[int] = set()
        self.given: dict[int, Sequence[bool]] = {RETURN: [True] * len(fn.results)}
        """Which values of an exit to each label are."""

    def run(self) -> set[int]:
        self.block(self.fn.body, self.given[RETURN])
        return self.found

    def mark(self, atoms: Iterable[Atom]) -> None:
        self.found.update(a.id for a in atoms if isinstance(a, Var) and a.id in self.active)

    def of(self, outs: Sequence[Var]) -> list[bool]:
        return [o.id in self.found for o in outs]

    def block(self, block: Block, yields: Sequence[bool]) -> None:
        match block.tail:
            case Exit(label, values):
                self.mark(a for a, use in zip(values, self.given[label], strict=True) if use)
            case Yield(values) if values:  # none where the end is never reached
                self.mark(a for a, use in zip(values, yields, strict=True) if use)
        for s in reversed(block.stmts):
            self.stmt(s)

    def stmt(self, s: Stmt) -> None:
        match s:
            case Op() | Call():
                if any(self.of(s.outs)) and not (isinstance(s, Op) and s.op in self.constant):
                    self.mark(s.args)
            case If():
                self.block(s.then, self.of(s.outs))
                self.block(s.orelse, self.of(s.outs))
            case Match():
                for arm in s.arms:
                    self.block(arm.body, self.of(s.outs))
                    if any(self.of(arm.fields)):
                        self.mark([s.subject])
            case Loop():
                self.given[s.label] = self.of(s.outs)
                before = -1
                while len(self.found) != before:
                    before = len(self.found)
                    self.block(s.body, self.of(s.params))
                self.mark(a for a, use in zip(s.inits, self.of(s.params), strict=True) if use)
            case Scope():
                self.given[s.label] = self.of(s.outs)
                self.block(s.body, self.of(s.outs))
            case Parallel():
                self.block(s.body, [s.out.id in self.found])
