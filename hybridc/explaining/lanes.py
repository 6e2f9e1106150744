"""Which loops compute their turns' numbers several at once (passes/lanes.py), and why others that have a long loop
within do not: what decides is asked again, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hybridc.base.source import Span
from hybridc.core.ir import (
    RETURN,
    Block,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    Fused,
    Loop,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import may_fault
from hybridc.core.walk import all_blocks, args_of, bound_in, calls, free_vars, outs_of, statements, statements_in
from hybridc.llvm import lanes as code
from hybridc.passes import lanes
from hybridc.passes.counted import Counted, counted

LIBRARY = "<std>/"
SIGNS = {"floordiv": "//", "mod": "%", "mul": "*", "shr": ">>"}


@dataclass(frozen=True)
class Said:
    """Of the loop at `loop`: how many `turns` are computed at once (1 if not so), and what, or why not, at `span`."""

    loop: Span
    turns: int
    what: str
    span: Span


def said(fn: Fn, program: Program, vector_bytes: int) -> Iterator[Said]:
    """Of the loops of a function that have a long one within."""
    for loop in statements_in(fn):
        turn = counted(loop) if isinstance(loop, Loop) else None
        if not isinstance(loop, Loop) or turn is None or not (inner := list(_long(turn, program))):
            continue
        found = lanes.ahead(fn, loop, turn, program)
        if found is None:
            why = _Why(fn, loop, turn, program).found(inner)
        elif vector_bytes < code.LONG:
            why = "the processor has too short vectors", loop.span
        elif (op := code.lacks(found, vector_bytes)) is not None:
            why = f"AVX2 has no `{SIGNS.get(op.op, op.op)}` of whole numbers, AVX-512 has", op.span
        else:
            whole = found.whole[0]
            yield Said(loop.span, code.width(vector_bytes), _called(whole), _span(whole))
            continue
        if why is not None:
            yield Said(loop.span, 1, *why)


def _long(turn: Counted, program: Program) -> Iterator[Stmt]:
    """The statements of a turn that are, or call, a loop of the program's author that goes on for some time and whose
    turns hand on numbers alone."""
    for s in turn.rest.stmts:
        if isinstance(s, Loop) and lanes.plain((*s.params, *s.outs)):
            if any(map(_of_author, (s, *statements(s.body)))):
                yield s
        elif isinstance(s, Call) and lanes.plain(program.fns[s.fn].results) and not _recursive(s.fn, program):
            if lanes.long_in(program.fns[s.fn], program) and any(map(_of_author, statements_in(program.fns[s.fn]))):
                yield s


def _of_author(s: Stmt) -> bool:
    return isinstance(s, Loop) and not s.span.path.startswith(LIBRARY) and lanes.plain(s.params) and lanes.long(s)


def _recursive(name: str, program: Program) -> bool:
    """Does a function, or one that it calls, come to itself again?"""
    done: set[str] = set()

    def again(name: str, above: frozenset[str]) -> bool:
        if name in above:
            return True
        if name in done:
            return False
        found = any(again(n, above | {name}) for n in calls(program.fns[name]))
        done.add(name)
        return found

    return again(name, frozenset())


def _span(s: Stmt) -> Span:
    return s.span  # type: ignore[union-attr]


def _called(s: Stmt) -> str:
    return f"what `{s.fn.rpartition('.')[2]}` gives" if isinstance(s, Call) else "what a loop within gives"


Cause = tuple[str, Span]


class _Why:
    """Why nothing of a loop's turns is computed ahead."""

    def __init__(self, fn: Fn, loop: Loop, turn: Counted, program: Program):
        self.fn, self.loop, self.turn, self.program = fn, loop, turn, program
        self.state = lanes.Turn(fn, loop, turn, program)
        self.state.found()  # which leaves behind what is not known ahead
        self.makers = {o.id: s for s in turn.rest.stmts for o in outs_of(s)}

    def found(self, inner: list[Stmt]) -> Cause | None:
        """None if the loops within have lanes of their own."""
        if lanes.few(self.loop, self.turn):
            return f"it has at most {lanes.FEW} turns", self.loop.span
        causes = [self.of(s) for s in inner]
        return next((c for c in causes if c is not None), None)

    def of(self, s: Stmt) -> Cause | None:
        body = list(statements(s.body)) if isinstance(s, Loop) else []
        if isinstance(s, Loop) and lanes.has_lanes((s, *body), self.fn, self.program):
            return None
        if isinstance(s, Call) and lanes.has_lanes(statements_in(self.program.fns[s.fn]), self.fn, self.program):
            return None
        return self.unknown(s) or self.inside(s) or (f"it has more than {lanes.MOST} statements", _span(s))

    def unknown(self, s: Stmt) -> Cause | None:
        """What it needs that is not there before the turn."""
        own = [v for v in free_vars(Block((s,), Yield())) if v.id in self.state.own]
        if not own:
            return None
        if not lanes.plain(tuple(own)):
            return "it reads what the turn changes", _span(s)
        made = self.makers.get(own[0].id)
        if made is None:
            return f"it needs {_name(own[0])} of the turn before", _span(s)
        return self.unknown(made) or self.inside(made) or (f"{_name(own[0])} is not known before the turn", _span(made))

    def inside(self, s: Stmt, above: tuple[str, ...] = ()) -> Cause | None:
        """What it does that vectors do not."""
        blocks = list(all_blocks(Block((s,), Yield())))
        labels = {x.label for b in blocks for x in b.stmts if isinstance(x, (Loop, Scope))}
        labels |= {RETURN} if above else set()
        for b in blocks:
            for x in b.stmts:
                if (cause := self.piece(x, above)) is not None:
                    return cause
            if isinstance(b.tail, Fault):
                return f"{_article(b.tail.kind)} may end it", b.tail.span
            if isinstance(b.tail, Exit) and b.tail.label not in labels:
                return "it leaves the loop around it", _span(s)
        return None

    def piece(self, s: Stmt, above: tuple[str, ...]) -> Cause | None:
        if isinstance(s, Call):
            return self.call(s, above)
        if not lanes.plain((*args_of(s), *outs_of(s), *bound_in(s))) or isinstance(s, (Parallel, Fused)):
            return "it uses more than numbers, which is all that lanes hold", _span(s)
        if not isinstance(s, Op) or lanes.in_vectors(s):
            return None
        if s.op == "place":
            return "an index may be out of range", s.span
        if may_fault(s):
            return f"`{SIGNS.get(s.op, s.op)}` may fault", s.span
        if s.op in ("floordiv", "mod"):
            return "vectors divide whole numbers by powers of two only", s.span
        return f"vectors have no `{s.op}`", s.span

    def call(self, s: Call, above: tuple[str, ...]) -> Cause | None:
        """Of what a function does the place where it is called."""
        callee, name = self.program.fns[s.fn], s.fn.rpartition(".")[2]
        if s.fn in above:
            return f"`{name}` calls itself", s.span
        if not lanes.plain((*callee.params, *callee.results)):
            return f"`{name}` uses more than numbers, which is all that lanes hold", s.span
        cause = next((c for x in callee.body.stmts if (c := self.inside(x, (*above, s.fn))) is not None), None)
        if cause is None and isinstance(callee.body.tail, Fault):
            cause = f"{_article(callee.body.tail.kind)} may end it", callee.body.tail.span
        return cause


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _name(v: Var | Const) -> str:
    return f"`{v.name}`" if isinstance(v, Var) and v.name else "a value"


__all__ = ["Said", "said"]
