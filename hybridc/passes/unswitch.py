"""What a loop does only if something holds that no turn changes: that is asked before it (loop unswitching).

`text[i]` calls a function where the text is not all ASCII, and `for c in text` reads there how many bytes a letter
takes. A loop with such a question is written twice: without the calls and reads, for when none of them would
be made, and as it is. A loop that calls nothing keeps its values in registers, and its checks can leave it; one whose
letters take one byte each counts them.
"""

from __future__ import annotations

from collections.abc import Container

from hybridc.base.immutable import replace
from hybridc.core.ir import BOOL, Atom, Block, Call, Const, Fn, If, Loop, Op, Parallel, Program, Stmt, Var, Yield
from hybridc.core.walk import (
    Freshener,
    count,
    highest_id,
    highest_label,
    map_blocks,
    rebuilt,
    statements,
    statements_in,
    substitute,
)
from hybridc.passes.counted import innermost, within
from hybridc.passes.each import each
from hybridc.passes.invariant import hoisted
from hybridc.passes.simplify import simplify_fn

LARGEST = 240
"""Statements of a loop that is worth writing twice."""
ASKED = frozenset("eq ne lt le gt ge".split())
NOTHING = frozenset({"tuple", "struct"})
"""What an arm may do that does nothing."""
TRUTH = Var(0, BOOL)


def run(program: Program) -> Program:
    """Every function."""
    return each(program, "unswitch", lambda fn: _Unswitched(fn, program).run())


class _Unswitched:
    def __init__(self, fn: Fn, program: Program):
        self.fn, self.program = fn, program
        self.found = False

    def run(self) -> Fn:
        if not any(isinstance(s, If) and _quick_arm(s) is not None for s in statements_in(self.fn)):
            return self.fn
        self.fresh = Freshener(highest_id(self.fn) + 1, highest_label(self.fn) + 1)
        body = self.block(self.fn.body)
        return simplify_fn(replace(self.fn, body=body), self.program) if self.found else self.fn

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if not isinstance(stmt, Loop) or not self.loop(stmt, out):
                out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, b.tail)

    def loop(self, loop: Loop, out: list[Stmt]) -> bool:
        """Is it written twice, or at least in another form?"""
        if count(loop.body) > LARGEST or any(isinstance(s, Parallel) for s in statements(loop.body)):
            return False
        inner = innermost(loop, ())
        before: list[Stmt] = []
        loop = hoisted(loop, before)
        asked = _Asked(within(loop))
        body = asked.block(loop.body)
        if not asked.answers:
            if inner:
                out += [*before, loop]
            return inner
        self.found = True
        out += before
        every: Atom = Const(True, BOOL)
        for op, args, truth in asked.answers:
            holds = self.op(op, args, loop, out)
            every = self.op("bit_and", (every, holds if truth else self.op("not", (holds,), loop, out)), loop, out)
        quick = replace(loop, body=substitute(body, asked.instead))
        then, orelse = (self.fresh.copy(Block((v,), Yield(loop.outs)), {}, {}) for v in (quick, loop))
        out.append(If(loop.outs, every, then, orelse, loop.span))
        return True

    def op(self, name: str, args: tuple[Atom, ...], loop: Loop, out: list[Stmt]) -> Atom:
        result = self.fresh.var(TRUTH)
        out.append(Op((result,), name, args, (), loop.span))
        return result


class _Asked:
    """What a loop asks at every turn. `inside`: ids of what it defines."""

    def __init__(self, inside: Container[int]):
        self.inside = inside
        self.answers: dict[tuple[str, tuple[Atom, ...], bool], None] = {}
        """Comparisons, and how each turns out where nothing is called."""
        self.instead: dict[Var, Atom] = {}
        self.made: dict[Atom, Op] = {}

    def block(self, b: Block) -> Block:
        """Without what is not done where all of them turn out so."""
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Op):
                self.made.update((v, stmt) for v in stmt.outs)
            quick = _quick_arm(stmt) if isinstance(stmt, If) else None
            asks = self.made.get(stmt.cond) if isinstance(stmt, If) else None
            if isinstance(stmt, If) and quick is not None and asks is not None and self.before(asks):
                self.answers[asks.op, asks.args, quick is stmt.then] = None
                out += quick.stmts
                values = (self.instead.get(a, a) if isinstance(a, Var) else a for a in quick.tail.values)
                self.instead.update(zip(stmt.outs, values, strict=True))
            else:
                out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, b.tail)

    def before(self, op: Op) -> bool:
        """Can it be computed before the loop?"""
        return op.op in ASKED and not any(isinstance(a, Var) and a.id in self.inside for a in op.args)


def _quick_arm(stmt: If) -> Block | None:
    """The arm that does nothing, where the other one calls something; or gives constants, where that reads memory."""
    for quick, other in ((stmt.then, stmt.orelse), (stmt.orelse, stmt.then)):
        nothing = all(isinstance(s, Op) and s.op in NOTHING for s in quick.stmts) and isinstance(quick.tail, Yield)
        if nothing and isinstance(other.tail, Yield) and any(_slow(s, quick) for s in other.stmts):
            return quick
    return None


def _slow(stmt: Stmt, quick: Block) -> bool:
    if isinstance(stmt, Op):
        return stmt.op == "buffer_get" and all(isinstance(a, Const) for a in quick.tail.values)
    return isinstance(stmt, Call)
