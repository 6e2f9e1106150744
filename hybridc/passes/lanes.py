"""Turns of a counted loop whose numbers can be computed before the turns themselves, many turns at once.

`for i in range(n): total += escape(i)`: what `escape` computes with a loop of its own, which ends when it will, needs
nothing but the turn's number and what no turn changes. So it may be computed for many turns together, each of them in
a lane of a vector, and the turns then do the rest one after the other, as they stand (llvm/lanes.py). Such a statement
of a turn, with the operators that lead to it, is taken out here as a block of numbers alone, which cannot fault and
calls nothing: functions that it calls stand in it.

It pays where a loop within goes on for some time and LLVM can make no vectors of it: it ends by what it computes, or
each of its turns needs the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from hybridc.base.types import BOOL, F32, F64, FLOATS, I32, INT, U8
from hybridc.core.ir import (
    RETURN,
    Block,
    BufferT,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.ops import ONLY_MEMORY, may_fault
from hybridc.core.walk import (
    Freshener,
    all_blocks,
    args_of,
    blocks_of,
    bound_in,
    calls,
    count,
    diverges,
    free_vars,
    highest_id,
    highest_label,
    map_blocks,
    once,
    outs_of,
    rebuilt,
    statements,
    statements_in,
)
from hybridc.passes.counted import ONE, Counted, counted, within

KINDS = frozenset({BOOL, U8, I32, INT, F32, F64})
NUMBERS = frozenset(
    "add sub mul div neg abs sign minimum maximum bit_and bit_or bit_xor bit_not shl shr lshr floordiv mod eq ne lt le"
    " gt ge not select cast bitcast floor round sqrt rsqrt".split()
)
"""Operators that vectors have."""
FEW = 16
"""Turns of a loop within, or of the loop itself, that are worth nothing."""
MOST = 160
"""Statements that are computed for all lanes."""
CARRIED = frozenset({"add", "sub", "minimum", "maximum", "bit_and", "bit_or", "bit_xor"})
"""What LLVM makes vectors of where a loop carries whole numbers by it."""


@dataclass(frozen=True)
class Ahead:
    """`block` yields what the statements `whole` of a turn define, in their order. From outside it has `counters`,
    which are one more at each turn, elements that no turn before has changed, and what no turn changes. Buffers in
    `ends` say how long they are."""

    block: Block
    whole: tuple[Stmt, ...]
    counters: tuple[Var, ...]
    ends: frozenset[int]


def ahead(fn: Fn, loop: Loop, turn: Counted, program: Program) -> Ahead | None:
    """What of a loop's turns is worth being computed ahead, if anything is."""
    if not _may_hold(turn.rest, program):
        return None
    if few(loop, turn):
        return None
    return Turn(fn, loop, turn, program).found()


def few(loop: Loop, turn: Counted) -> bool:
    """Is it known to have few turns?"""
    start = loop.inits[turn.place]
    return isinstance(start, Const) and isinstance(turn.stop, Const) and turn.stop.value - start.value <= FEW


@once
def alone(fn: Fn) -> bool:
    """Does a function only compute numbers of numbers, but for what it calls?"""
    return not fn.adjoint and plain((*fn.params, *fn.results)) and _numbers(fn.body, {RETURN}, lambda s: True)


def within_reach(name: str, program: Program) -> bool:
    """Is a function such that its calls may stand in what is computed ahead? It and all that it comes to only compute
    numbers of numbers, and none calls itself."""
    leads = {}
    for fn in _come_to(name, program):
        if not alone(fn):
            return False
        leads[fn.name] = calls(fn)
    try:
        TopologicalSorter(leads).prepare()
    except CycleError:
        return False
    return True


def _come_to(name: str, program: Program) -> Iterator[Fn]:
    """A function, and all that are called when it is, each once."""
    seen, todo = {name}, [name]
    while todo:
        fn = program.fns[todo.pop()]
        yield fn
        new = [n for n in calls(fn) if n not in seen]
        seen.update(new)
        todo += new


def fits(name: str, program: Program) -> bool:
    """And is a call of it worth that?"""
    fn = program.fns[name]
    return within_reach(name, program) and long_in(fn, program) and not has_lanes(statements_in(fn), fn, program)


def has_lanes(found: Iterable[Stmt], fn: Fn, program: Program) -> bool:
    """Is there a loop among these statements whose own turns go together?"""
    turns = [(s, counted(s)) for s in found if isinstance(s, Loop)]
    return any(turn is not None and ahead(fn, s, turn, program) is not None for s, turn in turns)


@once
def _long_in(fn: Fn) -> bool:
    return any(isinstance(s, Loop) and long(s) for s in statements_in(fn))


def long_in(fn: Fn, program: Program) -> bool:
    """Is there such a loop in a function, or in what it calls?"""
    return any(map(_long_in, _come_to(fn.name, program)))


def long(loop: Loop) -> bool:
    """Does it go on for some time, and has LLVM no vectors for it?"""
    turn = counted(loop)
    if turn is None:
        return True
    if few(loop, turn):
        return False
    if any(isinstance(b.tail, Exit) for b in all_blocks(turn.rest)):
        return True
    makers = {o.id: s for s in turn.rest.stmts for o in outs_of(s)}
    for i, (p, value) in enumerate(zip(loop.params, turn.rest.tail.values, strict=True)):
        made = makers.get(value.id) if isinstance(value, Var) else None
        summed = isinstance(made, Op) and made.op in CARRIED and p in made.args and p.type not in FLOATS
        if i != turn.place and not summed:
            return True
    return False


def _may_hold(block: Block, program: Program) -> bool:
    """A quick look: is there a loop, or a call of one?"""
    return any(isinstance(s, Loop) or isinstance(s, Call) and fits(s.fn, program) for s in block.stmts)


def plain(things: tuple[object, ...]) -> bool:
    return all((t.type if isinstance(t, (Var, Const)) else t) in KINDS for t in things)


def _numbers(block: Block, labels: set[int], callable_: Callable[[str], bool]) -> bool:
    """Does a block only compute numbers, and end or leave to one of these labels?"""
    tail = block.tail
    if isinstance(tail, Fault) or isinstance(tail, Exit) and tail.label not in labels or not plain(tail.values):
        return False
    return all(_number(s, labels, callable_) for s in block.stmts)


def _number(s: Stmt, labels: set[int], callable_: Callable[[str], bool]) -> bool:
    if not plain((*args_of(s), *outs_of(s), *bound_in(s))):
        return False
    match s:
        case Op():
            return in_vectors(s)
        case Call():
            return callable_(s.fn)
        case If():
            return all(_numbers(b, labels, callable_) for b in blocks_of(s))
        case Loop() | Scope():
            return _numbers(s.body, {*labels, s.label}, callable_)
    return False


def in_vectors(op: Op, once: bool = False) -> bool:
    """An operator that vectors have. Divisions of whole numbers are by powers of two, which are shifts, or by constants
    if it is done `once` for a turn; shifts are by constants."""
    if op.op not in NUMBERS or may_fault(op) or not plain((*op.args, *op.outs)):
        return False
    by = op.args[-1]
    if op.op in ("floordiv", "mod"):
        whole = isinstance(by, Const) and by.type not in FLOATS and by.value > 0
        return whole and (once or int(by.value).bit_count() == 1)  # type: ignore[union-attr]
    return op.op not in ("shl", "shr", "lshr") or isinstance(by, Const)


class Turn:
    """One turn of a loop."""

    def __init__(self, fn: Fn, loop: Loop, turn: Counted, program: Program):
        self.fn, self.loop, self.turn, self.program = fn, loop, turn, program
        self.fresh = Freshener(highest_id(fn) + 1, highest_label(fn) + 1)
        self.steady = _steady(turn.rest, program)
        self.next = dict(zip(loop.params, turn.rest.tail.values, strict=True))
        self.makers = {o: s for s in turn.rest.stmts if isinstance(s, Op) for o in s.outs}
        self.counters = tuple(p for p in loop.params if self.counts(p))
        self.rows = {p.id for p in loop.params if self.writes_its_place(p)}
        """What a turn changes at its own place alone."""
        self.own = within(loop) - {p.id for p in self.counters}
        """What the turn defines and is not known ahead."""

    def counts(self, p: Var) -> bool:
        made = self.made(p)
        return p.type == INT and made is not None and made.op == "add" and set(made.args) == {p, ONE}

    def writes_its_place(self, p: Var) -> bool:
        made = self.made(p)
        if made is None or made.args[:1] != (p,):
            return False
        start = self.loop.inits[self.turn.place]
        natural = isinstance(start, Const) and start.value >= 0  # else it may be a place from the end
        return made.op == "buffer_set" and made.args[1] == self.turn.index or (
            made.op == "update" and natural and made.attr("axes") == () and made.args[2:] == (self.turn.index,))

    def made(self, p: Var) -> Op | None:
        """The operator that gives a parameter's value to the next turn."""
        value = self.next[p]
        return self.makers.get(value) if isinstance(value, Var) else None

    def found(self) -> Ahead | None:
        """What is computed when a turn comes to the first of these statements: it is sure to come to the others."""
        taken: list[Stmt] = []
        whole: list[Stmt] = []
        for s in self.turn.rest.stmts:
            if not whole:
                written = {p for p in self.loop.params if p.id in self.rows and self.made(p) is s}
                if any(not written.isdisjoint(args_of(t)) for t in taken):
                    return None  # the element would be read when the turn has changed it
                self.rows -= {p.id for p in written}
            elif not _steady(Block((s,), Yield()), self.program):
                break
            if self.known(s):
                taken.append(s)
                self.own -= {o.id for o in outs_of(s)}
                if self.worth(s):
                    whole.append(s)
        if not whole:
            return None
        block = self.spliced(Block(_needed(taken, whole), Yield(tuple(o for s in whole for o in outs_of(s)))))
        return Ahead(block, tuple(whole), self.counters, _blocks(self.fn) | self.rows) if count(block) <= MOST else None

    def known(self, s: Stmt) -> bool:
        """Can it be computed ahead?"""
        reads = isinstance(s, Op) and s.op in ("buffer_get", "index")
        args = {a for a in args_of(s)[reads:] if isinstance(a, Var)} if isinstance(s, Op) else set(
            free_vars(Block((s,), Yield())))
        if any(v.id in self.own for v in args):
            return False
        if isinstance(s, Op) and reads:
            return self.read(s)
        if isinstance(s, Op):
            return s.op == "place" or in_vectors(s, once=True)
        return _number(s, set(), lambda name: within_reach(name, self.program))

    def read(self, s: Op) -> bool:
        """An element; of a buffer that does not say where it ends one that every turn reads."""
        of, t = s.args[0], s.args[0].type
        if not isinstance(of, Var) or not plain((*s.args[1:], *s.outs)) or any(a.type != INT for a in s.args[1:]):
            return False
        if of.id in self.own and (of.id not in self.rows or s.args[1:] != (self.turn.index,)):
            return False
        if isinstance(t, TensorT):
            return s.attr("kinds") == ("i",) and not t.device
        return self.steady or of.id in self.rows or of.id in _blocks(self.fn)

    def worth(self, s: Stmt) -> bool:
        if not isinstance(s, Loop) or diverges(s):
            return isinstance(s, Call) and fits(s.fn, self.program)
        inner = (s, *statements(s.body))
        if has_lanes(inner, self.fn, self.program):
            return False
        return any(isinstance(x, Loop) and long(x) or isinstance(x, Call) and fits(x.fn, self.program) for x in inner)

    def spliced(self, block: Block) -> Block:
        """With what it calls in its place."""

        def one(s: Stmt) -> Stmt:
            if not isinstance(s, Call):
                return map_blocks(s, self.spliced)
            callee, label = self.program.fns[s.fn], self.fresh.label()
            values = dict(zip(callee.params, s.args, strict=True))
            return Scope(s.outs, label, self.spliced(self.fresh.copy(callee.body, values, {RETURN: label})), s.span)

        return rebuilt(block, [one(s) for s in block.stmts], block.tail)


@once
def _blocks(fn: Fn) -> frozenset[int]:
    """The buffers in it that say where they end, since they come out of structs: parts of others (passes/views.py), as
    which parameters may be given, do not."""
    found = (s for s in statements_in(fn) if isinstance(s, Op) and s.op in ("get", "destruct"))
    return frozenset(o.id for s in found for o in s.outs if isinstance(o.type, BufferT))


def _needed(taken: list[Stmt], whole: list[Stmt]) -> tuple[Stmt, ...]:
    """Of what can be computed ahead these statements, and what leads to them."""
    wanted: set[Var] = set()
    out: list[Stmt] = []
    for s in reversed(taken):
        if any(s is w for w in whole) or not wanted.isdisjoint(outs_of(s)):
            wanted.update(free_vars(Block((s,), Yield())))
            out.append(s)
    return tuple(reversed(out))


def _steady(block: Block, program: Program) -> bool:
    """Does each turn whose rest this is come to its end, unless memory runs out or somebody asks for an interrupt?"""
    inside = {s.label for s in statements(block) if isinstance(s, (Loop, Scope))}

    def leaves(s: Stmt) -> bool:
        if isinstance(s, Op):
            return may_fault(s) and s.op not in ONLY_MEMORY
        return isinstance(s, (Parallel, Fused)) or isinstance(s, Call) and not within_reach(s.fn, program)

    tails = [b.tail for b in all_blocks(block)]
    out = any(isinstance(t, Fault) or isinstance(t, Exit) and t.label not in inside for t in tails)
    return not out and not any(map(leaves, statements(block)))
