"""Turns of a loop that change nothing are passed over by blocks.

`for x in xs: if x > least: ...` does nothing at most turns: it compares, and goes on to the next element. Where the
turns of a counted loop have a way on which all but the counter stays as it was, and the other ways call, loop, grow a
buffer or leave, a search goes ahead of them: of the next 32 elements all are compared, with no branch between them,
which vectors do, till a block has a turn that would do something. The loop itself goes on from there.

Where all other ways leave the loop, the search stands before it, if there are 64 turns. Else it begins when so many
turns in a row have been quiet, so that a loop that is seldom quiet for long has one comparison more at each:

    loop (params, i):
        loop (params, i, far = i + 64): the loop as it was;
            a turn that does something sets far = i + 65;
            exit when the next turn is far
        loop (i): if a turn of i .. i + 31 would do something: exit; i + 32

What decides must be computed from numbers, elements at places that follow the counter, and what no quiet turn changes.
The search asks each buffer for its length, since the loop might have left before it came to its end.
"""

from __future__ import annotations

from hybridc.base.immutable import immutable, replace
from hybridc.core.builder import Builder, boolean, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    Call,
    Const,
    Exit,
    Fn,
    If,
    Loop,
    Op,
    Prim,
    Program,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import may_fault
from hybridc.core.types import is_counted
from hybridc.core.walk import (
    diverges,
    highest_id,
    highest_label,
    leading_to,
    map_blocks,
    rebuilt,
    statements,
    with_body,
)
from hybridc.passes.counted import ONE, Counted, counted, within
from hybridc.passes.each import each

RUN = 64
"""Quiet turns in a row, after which more of them are likely; turns that are worth a search before the loop."""
BLOCK = 32
"""Turns that are looked at together: a few vectors."""
MOST = 24
"""Operators that decide."""
NUMBERS = frozenset(
    "add sub mul neg abs minimum maximum bit_and bit_or bit_xor bit_not not eq ne lt le gt ge cast select".split()
)
"""Operators that vectors have."""
LOOKS = frozenset({"get", "buffer_len"})
PARTS = frozenset({"tuple", "struct", "zero", "some", "none", "is_some", "unwrap"})
FALSE = boolean(False)


def run(program: Program) -> Program:
    """Every function."""
    return each(program, "quiet", lambda fn: _Quiet(fn, program).run(), needs=("buffer_get",))


@immutable(frozen=True, slots=True)
class Way:
    """The quiet way through a block: what it yields there, and whether a turn takes another one."""

    values: tuple[Atom, ...]
    other: Atom


class _Quiet:
    """Of one function."""

    def __init__(self, fn: Fn, program: Program):
        self.fn, self.program = fn, program
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        return rebuilt(b, [s for stmt in b.stmts for s in self.statement(map_blocks(stmt, self.block))], b.tail)

    def statement(self, stmt: Stmt) -> list[Stmt]:
        turn = counted(stmt) if isinstance(stmt, Loop) else None
        if not isinstance(stmt, Loop) or turn is None or isinstance(turn.stop, Const) and turn.stop.value <= RUN:
            return [stmt]
        found = _Turn(self.b, stmt, turn, self.program)
        way = found.quiet()
        if way is None:
            return [stmt]
        self.b.span = stmt.span
        return (self.before if found.leaves() else self.within)(stmt, turn, found, way.other)

    def before(self, loop: Loop, turn: Counted, found: _Turn, other: Atom) -> list[Stmt]:
        """The loop after a search: the first turn that is not quiet is its last one."""
        b = self.b
        b.open()
        start = loop.inits[turn.place]
        room = b.op("sub", [turn.stop, start], INT)
        long = b.op("ge", [room, integer(RUN)], BOOL)
        now: dict[int, Atom] = {p.id: v for p, v in zip(loop.params, loop.inits, strict=True)}
        b.open()
        searched = b.close(Yield((self.search(turn, found, other, now),)))
        reached = b.if_(long, searched, Block((), Yield((start,))), (INT,))
        inits = tuple(reached[0] if i == turn.place else v for i, v in enumerate(loop.inits))
        return [*b.close(Yield()).stmts, replace(loop, inits=inits)]

    def within(self, loop: Loop, turn: Counted, found: _Turn, other: Atom) -> list[Stmt]:
        """The loop, with a search after some quiet turns."""
        b = self.b
        params = [b.var(p.type, p.name) for p in loop.params]
        b.open()
        here = self.near(loop, turn, found, params)
        now: dict[int, Atom] = {p.id: v for p, v in zip(loop.params, here, strict=True)}
        reached = self.search(turn, found, other, now)
        again = [reached if i == turn.place else v for i, v in enumerate(here)]
        return [replace(loop, params=tuple(params), body=b.close(Yield(tuple(again))))]

    def near(self, loop: Loop, turn: Counted, found: _Turn, params: list[Var]) -> tuple[Var, ...]:
        """The loop as it was, until some turns in a row are quiet; its parameters then."""
        b = self.b
        label, far = b.label(), b.var(INT)
        start = b.op("add", [params[turn.place], integer(RUN)], INT)
        b.open()
        for stmt in loop.body.stmts[:2]:
            b.add(stmt)
        later = b.op("add", [turn.index, integer(RUN + 1)], INT)
        stmts, reached = found.told(turn.rest, far, later)
        for stmt in stmts:
            b.add(stmt)
        again = turn.rest.tail.values
        end = b.op("eq", [again[turn.place], reached], BOOL)
        b.if_(end, Block((), Exit(label, again)), Block((), Yield()))
        body = b.close(Yield((*again, reached)))
        return b.loop(label, (*loop.params, far), (*params, start), body, [p.type for p in loop.params])

    def search(self, turn: Counted, found: _Turn, other: Atom, now: dict[int, Atom]) -> Var:
        """The first turn from now on in whose block one takes another way, or of which no block is left."""
        b = self.b
        label, first = b.label(), b.var(INT)
        b.open()
        room = b.op("sub", [_given(turn.stop, now), first], INT)
        whole: Atom = b.op("ge", [room, integer(BLOCK)], BOOL)
        ops = leading_to(found.made, other)
        for buffer, place in {op.args: None for op in ops if op.op == "buffer_get"}:
            made = {**now, turn.index.id: first}
            for op in leading_to(found.made, buffer, place):
                self.again(op, made)
            start, wanted = _given(place, made), 1 if found.stays(place) else BLOCK
            left = b.op("sub", [b.op("buffer_len", [_given(buffer, made)], INT), start], INT)
            for bound in (b.op("ge", [left, integer(wanted)], BOOL), b.op("ge", [start, integer(0)], BOOL)):
                whole = b.op("bit_and", [whole, bound], BOOL)
        b.if_(whole, Block((), Yield()), Block((), Exit(label, (first,))))
        steady = dict(now)
        for op in ops:
            if found.stays(op.outs[0]):
                self.again(op, steady)
        moving = [op for op in ops if not found.stays(op.outs[0])]
        any_other = self.any_other(turn, moving, other, steady, first)
        b.if_(any_other, Block((), Exit(label, (first,))), Block((), Yield()))
        body = b.close(Yield((b.op("add", [first, integer(BLOCK)], INT),)))
        return b.loop(label, (first,), (now[turn.index.id],), body, (INT,))[0]

    def any_other(self, turn: Counted, ops: list[Op], other: Atom, now: dict[int, Atom], first: Var) -> Var:
        """Does any turn of the block take another way?"""
        b = self.b
        label, k, found = b.label(), b.var(INT), b.var(BOOL)
        b.open()
        inside = b.op("lt", [k, integer(BLOCK)], BOOL)
        b.if_(inside, Block((), Yield()), Block((), Exit(label, (found,))))
        made = {**now, turn.index.id: b.op("add", [first, k], INT)}
        for op in ops:
            self.again(op, made)
        more = b.op("bit_or", [found, _given(other, made)], BOOL)
        body = b.close(Yield((b.op("add", [k, ONE], INT), more)))
        return b.loop(label, (k, found), (integer(0), FALSE), body, (BOOL,))[0]

    def again(self, op: Op, made: dict[int, Atom]) -> None:
        """One operator with what stands for its arguments."""
        out = self.b.var(op.outs[0].type)
        self.b.add(replace(op, outs=(out,), args=tuple(_given(a, made) for a in op.args)))
        made[op.outs[0].id] = out


class _Turn:
    """What the turns of a loop do where they are quiet, and what decides whether they are."""

    def __init__(self, b: Builder, loop: Loop, turn: Counted, program: Program):
        self.b, self.loop, self.turn, self.program = b, loop, turn, program
        self.made: dict[int, Op] = {}
        self.same: dict[int, Atom] = {}
        """What a variable is, where the turn is quiet."""
        self.loud: dict[int, Block] = {}
        """By their addresses, the arms that a quiet turn does not come to."""
        self.forks: dict[int, If] = {}
        """By their addresses, the branches some of whose ways are loud."""

    def quiet(self) -> Way | None:
        """The quiet way, if there is one and searching is worth it."""
        loop, turn = self.loop, self.turn
        way = self.follow(turn.rest)
        if way is None or way.other == FALSE or not all(map(_lasts, self.loud.values())):
            return None
        if any(v != p for i, (v, p) in enumerate(zip(way.values, loop.params, strict=True)) if i != turn.place):
            return None
        ops = leading_to(self.made, way.other)
        own = within(loop) - {p.id for p in loop.params} - {op.outs[0].id for op in ops}
        reads = [op for op in ops if op.op == "buffer_get" and not all(map(self.stays, op.args))]
        known = all(isinstance(a, Const) or a.id not in own for op in ops for a in op.args)
        return way if reads and len(ops) <= MOST and known and all(map(self.follows, reads)) else None

    def follows(self, read: Op) -> bool:
        """Is what is read a number, one place further at each turn?"""
        buffer, place = read.args
        index = self.turn.index
        if not self.stays(buffer) or not isinstance(read.outs[0].type, Prim):
            return False
        op = self.made.get(place.id) if isinstance(place, Var) else None
        if op is None:
            return place == index
        steps = op.args if op.args[0] == index or op.op != "add" else op.args[::-1]
        return op.op in ("add", "sub") and steps[0] == index and self.stays(steps[1])

    def stays(self, a: Atom) -> bool:
        """Does no quiet turn change it?"""
        op = self.made.get(a.id) if isinstance(a, Var) else None
        return a != self.turn.index if op is None else all(map(self.stays, op.args))

    def leaves(self) -> bool:
        """Do all ways but the quiet one leave the loop?"""
        return not any(isinstance(b.tail, Yield) for b in self.loud.values())

    # ---- the quiet way
    def atom(self, a: Atom) -> Atom:
        return self.same.get(a.id, a) if isinstance(a, Var) else a

    def follow(self, block: Block) -> Way | None:
        """The quiet way through a block, if it has one."""
        if not isinstance(block.tail, Yield):
            return None
        other: Atom = FALSE
        for stmt in block.stmts:
            if isinstance(stmt, Op) and _plain(stmt, self.program):
                self.made[stmt.outs[0].id] = replace(stmt, args=tuple(map(self.atom, stmt.args)))
            elif isinstance(stmt, If):
                way = self.branch(stmt)
                if way is None:
                    return None
                self.same.update((v.id, a) for v, a in zip(stmt.outs, way.values, strict=True))
                other = self.op("bit_or", other, way.other)
            else:
                return None
        return Way(tuple(map(self.atom, block.tail.values)), other)

    def branch(self, stmt: If) -> Way | None:
        cond = self.atom(stmt.cond)
        then, orelse = self.follow(stmt.then), self.follow(stmt.orelse)
        if then is None and orelse is None:
            return None
        self.loud.update((id(b), b) for b, way in ((stmt.then, then), (stmt.orelse, orelse)) if way is None)
        if then is None or orelse is None or then.other != FALSE or orelse.other != FALSE:
            self.forks[id(stmt)] = stmt
        if then is None:
            assert orelse is not None
            return Way(orelse.values, self.op("bit_or", cond, orelse.other))
        if orelse is None:
            return Way(then.values, self.op("bit_or", self.op("not", cond), then.other))
        other = self.op("bit_or", self.op("bit_and", cond, then.other),
                        self.op("bit_and", self.op("not", cond), orelse.other))
        values = []
        for v, x, y in zip(stmt.outs, then.values, orelse.values, strict=True):
            if x != y and is_counted(v.type, self.program):
                return None
            values.append(x if x == y else self.op("select", cond, x, y))
        return Way(tuple(values), other)

    def op(self, name: str, *args: Atom) -> Atom:
        """Of truths, but for a choice."""
        if FALSE in args and name != "select":
            rest = [a for a in args if a != FALSE]
            return FALSE if name == "bit_and" else rest[0] if rest else FALSE
        out = self.b.var(args[-1].type)
        self.made[out.id] = Op((out,), name, args)
        return out

    # ---- telling
    def told(self, block: Block, far: Atom, later: Atom) -> tuple[list[Stmt], Atom]:
        """A block's statements, and `later` where it came to a loud arm, else `far`."""
        out: list[Stmt] = []
        for stmt in block.stmts:
            if id(stmt) in self.forks:
                assert isinstance(stmt, If)
                then, orelse = (self.arm(arm, far, later) for arm in (stmt.then, stmt.orelse))
                far = self.b.var(INT)
                stmt = replace(stmt, outs=(*stmt.outs, far), then=then, orelse=orelse)
            out.append(stmt)
        return out, far

    def arm(self, block: Block, far: Atom, later: Atom) -> Block:
        if id(block) not in self.loud:
            stmts, reached = self.told(block, far, later)
        elif isinstance(block.tail, Yield) and not any(map(diverges, block.stmts[-1:])):
            stmts, reached = list(block.stmts), later
        else:
            return block
        return Block(tuple(stmts), Yield((*block.tail.values, reached)))


def _given(a: Atom, values: dict[int, Atom]) -> Atom:
    return values.get(a.id, a) if isinstance(a, Var) else a


def _plain(op: Op, program: Program) -> bool:
    """A number of numbers, or a look at what holds no memory; it cannot fault."""
    if len(op.outs) != 1 or may_fault(op):
        return False
    return op.op in NUMBERS or op.op in LOOKS or (op.op in PARTS or op.op == "buffer_get") and not is_counted(
        op.outs[0].type, program)


def _lasts(block: Block) -> bool:
    """Does an arm leave the loop, or take longer than a comparison?"""
    return not isinstance(block.tail, Yield) or any(
        isinstance(s, (Call, Loop)) or isinstance(s, Op) and s.op == "buffer_resize" for s in statements(block)
    )
