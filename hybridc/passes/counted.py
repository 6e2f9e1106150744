"""Loops that count: `while i < stop`, one more at every turn, where `stop` stays the same."""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.core.ir import INT, Atom, Block, Const, If, Loop, Op, Stmt, Var, Yield
from hybridc.core.walk import bound_in, outs_of, statements


@dataclass(frozen=True)
class Counted:
    """`place` is that of the index among the loop's parameters; does it begin at 0? `test` is what the loop begins
    with, `leave` what happens where it does not hold, `rest` the body after that."""

    place: int
    index: Var
    stop: Atom
    test: Var
    leave: Block
    rest: Block
    from_zero: bool


def counted(loop: Loop) -> Counted | None:
    """What a loop counts, if it does so."""
    stmts, tail = loop.body.stmts, loop.body.tail
    if len(stmts) < 2 or not isinstance(tail, Yield) or len(tail.values) != len(loop.params):
        return None
    test, branch = stmts[0], stmts[1]
    if not (isinstance(test, Op) and test.op == "lt" and isinstance(branch, If) and branch.cond == test.outs[0]):
        return None
    index, stop = test.args
    if branch.outs or branch.then != Block((), Yield()) or index not in loop.params or stop in loop.params:
        return None
    assert isinstance(index, Var)
    place = loop.params.index(index)
    again = tail.values[place]
    steps = (Op((), "add", (index, ONE)), Op((), "add", (ONE, index)))
    found = [s for s in stmts if isinstance(s, Op) and s.op == "add" and s.outs == (again,)]
    if index.type != INT or not found or found[0].args not in [s.args for s in steps]:
        return None
    return Counted(place, index, stop, test.outs[0], branch.orelse, Block(stmts[2:], tail),
                   loop.inits[place] == Const(0, INT))


ONE = Const(1, INT)


def positive_stop(loop: Loop, turn: Counted | None) -> Atom | None:
    """What a loop counts to, if that is positive wherever its body does something."""
    if turn is None or turn.leave.stmts:
        return None
    start = loop.inits[turn.place]
    return turn.stop if isinstance(start, Const) and start.value >= 0 else None


def within(loop: Loop) -> set[int]:
    """Ids of the variables that a loop defines: all others are the same at every turn."""
    found = {p.id for p in loop.params}
    for stmt in statements(loop.body):
        found.update(v.id for v in (*outs_of(stmt), *bound_in(stmt)))
    return found


def innermost(loop: Loop, other: tuple[type[Stmt], ...]) -> bool:
    """No loop within, and no statement of these kinds."""
    return not any(isinstance(s, (Loop, *other)) for s in statements(loop.body))
