"""Loops each of whose turns waits for a minimum (or maximum) of the turn before, as tables of distances are filled.

    row[j + 1] = min(min(above[j + 1], row[j]) + 1, above[j] + cost(j))

What a turn writes is `min(x + step, e)`, where x is what the turn before wrote, and e (or what is written instead,
where `a[i] == b[j]`) can be computed for many turns at once. So a stretch of turns is two loops: the first one computes
the e, which vectors do; `buffer_scan` makes of these what is written (llvm/scans.py says how).

    loop (row, j):                              till fewer than a stretch are left
        es = [e of j .. j + 255]
        if a sum may wrap: leave                before anything is written
        row = buffer_scan(row, j + 1, es, ...)
    the loop as it was, for what is left

`min(m, x) + step` is `min(m + step, x + step)` where nothing wraps, so that is asked of each e: whether it is far from
both ends of what an int can be. Floats stay as they are: their sums are not the same in another order.
"""

from __future__ import annotations

from hybridc.base.immutable import immutable, replace
from hybridc.core.builder import FreshBuilder, boolean, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    BufferT,
    Const,
    Exit,
    Fn,
    If,
    Loop,
    Op,
    Program,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import ONLY_MEMORY, OPS, may_fault
from hybridc.core.walk import (
    Freshener,
    count,
    highest_id,
    highest_label,
    map_blocks,
    operators,
    rebuilt,
    statements,
    with_body,
)
from hybridc.passes.counted import ONE, Counted, counted, within
from hybridc.passes.each import each

STRETCH = 256
"""Turns that are computed together; what they leave stays in the first cache."""
LEAST = 32
"""Turns that are worth it."""
LARGEST = 80
"""Statements of a loop that is written twice."""
FAR = 1 << 62
"""A number from -FAR on and below FAR is no sum that has wrapped, of one like it and a few steps."""
STEP = 1 << 31
INTS = BufferT(INT)
ZERO, FALSE, TRUE = integer(0), boolean(False), boolean(True)
CHAINS = frozenset({"minimum", "maximum"})


def run(program: Program) -> Program:
    return each(program, "scans", lambda fn: fn if CHAINS.isdisjoint(operators(fn)) else _Scans(fn).run(),
                needs=("buffer_set",))


class _Scans:
    """Of one function."""

    def __init__(self, fn: Fn):
        self.fn = fn
        self.b = FreshBuilder(Freshener(highest_id(fn) + 1, highest_label(fn) + 1))

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        return rebuilt(b, [s for stmt in b.stmts for s in self.statement(map_blocks(stmt, self.block))], b.tail)

    def statement(self, stmt: Stmt) -> list[Stmt]:
        turn = counted(stmt) if isinstance(stmt, Loop) and count(stmt.body) <= LARGEST else None
        if not isinstance(stmt, Loop) or turn is None:
            return [stmt]
        for place, written in enumerate(stmt.params):
            if written.type != INTS:
                continue
            for before in (None, *(p for p in stmt.params if p.type == INT and p != turn.index)):
                found = _Turn(self.b, stmt, turn, written, before).scan(place)
                if found is not None:
                    return _Split(self.b, stmt, turn, found).loops()
        return [stmt]


@immutable(frozen=True, slots=True)
class Form:
    """A value that is `e` where `anew` holds, and else the best of `e` (if there is one) and x + the sum of `steps`.

    `moved`: something was added to e together with x, so that it must not wrap. `odd`: negative if something did."""

    anew: Atom = FALSE
    e: Atom | None = None
    steps: tuple[tuple[Atom, int], ...] = ()
    moved: bool = False
    odd: Atom = ZERO


@immutable(frozen=True, slots=True)
class Scan:
    """What a turn does: `body` computes e, `anew` and `odd` of `form`, and what becomes of the loop's other parameters.
    `written` is where the buffer stands among the loop's parameters, `before` where x does, if it is one of them;
    `ahead` is by how much the place that is written is beyond the index."""

    of: str
    form: Form
    body: tuple[Stmt, ...]
    written: int
    before: int | None
    ahead: int


class _Unfit(Exception):
    """The loop is no such loop."""


class _Turn:
    """The turns of a loop, if all that they write goes to the buffer `written`, minima with what the turn before wrote:
    that is read there again, or is the parameter `before`."""

    def __init__(self, b: FreshBuilder, loop: Loop, turn: Counted, written: Var, before: Var | None):
        self.b, self.loop, self.turn, self.written, self.before = b, loop, turn, written, before
        self.inside = within(loop)
        self.of: str | None = None
        self.late: dict[int, Form] = {before.id: Form()} if before is not None else {}
        """What the turn before has part in."""
        self.writes: dict[int, Form] = {}
        """The buffer, once it is written, and what was written."""
        self.moves: dict[int, int] = {turn.index.id: 0}
        """By how much variables are beyond the index."""
        self.ahead = self.first_place()

    def scan(self, place: int) -> Scan | None:
        try:
            body = self.stmts(self.turn.rest)
            again = self.turn.rest.tail.values
            form = self.written_form(again[place])
            at = None
            for i, (v, p) in enumerate(zip(again, self.loop.params, strict=True)):
                if p == self.before and self.form(v) == form:
                    at = i
                elif i != place and (self.is_late(v) or self.is_written(v)):
                    return None
        except _Unfit:
            return None
        if self.of is None or form.anew == TRUE or form.e is None or (at is None) != (self.before is None):
            return None
        assert self.ahead is not None
        return Scan(self.of, form, tuple(body), place, at, self.ahead)

    def first_place(self) -> int | None:
        """How far ahead the first write is: all others have to be there too."""
        ops = {s.outs[0]: s for s in statements(self.loop.body) if isinstance(s, Op) and len(s.outs) == 1}
        for op in ops.values():
            if op.op == "buffer_set" and op.args[0] == self.written:
                at = ops.get(op.args[1]) if isinstance(op.args[1], Var) else None
                return 0 if op.args[1] == self.turn.index else None if at is None else self.move(at)
        return None

    def move(self, op: Op) -> int | None:
        if op.op not in ("add", "sub") or op.outs[0].type != INT:
            return None
        for a, k in (op.args, op.args[::-1]):
            if a == self.turn.index and isinstance(k, Const) and (op.op == "add" or a == op.args[0]):
                return int(k.value) if op.op == "add" else -int(k.value)
        return None

    # ---- values
    def is_late(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.late

    def is_written(self, a: Atom) -> bool:
        return a == self.written or isinstance(a, Var) and a.id in self.writes

    def form(self, a: Atom) -> Form:
        return self.late[a.id] if isinstance(a, Var) and a.id in self.late else Form(TRUE, a)

    def written_form(self, a: Atom) -> Form:
        if not isinstance(a, Var) or a.id not in self.writes:
            raise _Unfit
        return self.writes[a.id]

    # ---- statements
    def stmts(self, block: Block) -> list[Stmt]:
        """Those of a block that do not wait for the turn before."""
        if not isinstance(block.tail, Yield):
            raise _Unfit
        out: list[Stmt] = []
        for stmt in block.stmts:
            if isinstance(stmt, Op):
                out += self.op(stmt)
            elif isinstance(stmt, If) and not self.is_late(stmt.cond):
                out.append(self.branch(stmt))
            else:
                raise _Unfit
        return out

    def op(self, op: Op) -> list[Stmt]:
        if op.op == "buffer_get" and op.args[0] == self.written:
            return self.read(op)
        if op.op == "buffer_set" and op.args[0] == self.written:
            if self.moved_by(op.args[1]) != self.ahead or self.ahead is None or self.is_written(op.args[2]):
                raise _Unfit
            self.writes[op.outs[0].id] = self.form(op.args[2])
            return []
        if any(map(self.is_written, op.args)):
            raise _Unfit
        if any(map(self.is_late, op.args)):
            return self.waiting(op)
        fixed = op.op in ONLY_MEMORY and all(isinstance(a, Const) for a in op.args)
        if OPS[op.op].effect or may_fault(op) and not fixed:
            raise _Unfit
        move = self.move(op) if len(op.outs) == 1 else None
        if move is not None:
            self.moves[op.outs[0].id] = move
        return [op]

    def moved_by(self, a: Atom) -> int | None:
        return self.moves.get(a.id) if isinstance(a, Var) else None

    def read(self, op: Op) -> list[Stmt]:
        """What the turn before wrote, or something further on, which is as it was before the loop."""
        move = self.moved_by(op.args[1])
        if move is None or self.ahead is None or move < self.ahead - 1:
            raise _Unfit
        if move >= self.ahead:
            return [op]
        if self.before is not None:
            raise _Unfit
        self.late[op.outs[0].id] = Form()
        return []

    def waiting(self, op: Op) -> list[Stmt]:
        """An operator on something that waits for the turn before."""
        b, out = self.b, op.outs[0]
        if len(op.args) != 2 or out.type != INT:
            raise _Unfit
        b.open()
        b.span = op.span
        for a, other in (op.args, op.args[::-1]):
            if self.is_late(other) or not self.is_late(a):
                continue
            form = self.form(a)
            with_other = None if form.e is None else b.op(op.op, [form.e, other], INT)
            if op.op in CHAINS and self.of in (None, op.op):
                self.of = op.op
                odd: Atom = form.odd
                if form.moved and form.e is not None:
                    odd = b.op("bit_or", [odd, self.far(form.e)], INT)
                self.late[out.id] = replace(form, e=with_other or other, moved=False, odd=odd)
            elif (op.op == "add" or op.op == "sub" and a == op.args[0]) and self.steady(other):
                steps = (*form.steps, (other, 1 if op.op == "add" else -1))
                self.late[out.id] = replace(form, e=with_other, steps=steps, moved=with_other is not None)
        stmts = b.close(Yield()).stmts
        if out.id not in self.late:
            raise _Unfit
        return list(stmts)

    def steady(self, a: Atom) -> bool:
        """May a step be this, which no turn changes?"""
        return abs(int(a.value)) < STEP if isinstance(a, Const) else a.id not in self.inside

    def far(self, e: Atom) -> Var:
        """Negative if `e` may have wrapped."""
        return self.b.op("add", [e, integer(FAR)], INT)

    # ---- branches
    def branch(self, stmt: If) -> Stmt:
        """A branch, with e, and what belongs to it, for each of its results that waits for the turn before."""
        then, orelse = self.stmts(stmt.then), self.stmts(stmt.orelse)
        outs: list[Var] = []
        ways: tuple[list[Atom], list[Atom]] = ([], [])
        known: dict[tuple[Form, Form], Form] = {}

        def chosen(a: Atom, c: Atom) -> Atom:
            if a == c and isinstance(a, Const):
                return a
            outs.append(self.b.var(a.type))
            ways[0].append(a)
            ways[1].append(c)
            return outs[-1]

        def merged(a: Form, c: Form) -> Form:
            if (a, c) not in known:
                waits = [f for f in (a, c) if f.anew != TRUE]
                if any(f.e is None for f in (a, c)) or len({_sum(f.steps) for f in waits}) > 1:
                    raise _Unfit
                assert a.e is not None and c.e is not None
                known[a, c] = Form(chosen(a.anew, c.anew), chosen(a.e, c.e), waits[0].steps if waits else (),
                                   a.moved or c.moved, chosen(a.odd, c.odd))
            return known[a, c]

        for v, a, c in zip(stmt.outs, stmt.then.tail.values, stmt.orelse.tail.values, strict=True):
            if self.is_written(a) or self.is_written(c):
                self.writes[v.id] = merged(self.written_form(a), self.written_form(c))
            elif self.is_late(a) or self.is_late(c):
                self.late[v.id] = merged(self.form(a), self.form(c))
            else:
                outs.append(v)
                ways[0].append(a)
                ways[1].append(c)
        return replace(stmt, outs=tuple(outs), then=Block(tuple(then), Yield(tuple(ways[0]))),
                       orelse=Block(tuple(orelse), Yield(tuple(ways[1]))))


def _sum(steps: tuple[tuple[Atom, int], ...]) -> tuple[object, ...]:
    """Steps that are the same in another order are the same."""
    number = sum(sign * int(a.value) for a, sign in steps if isinstance(a, Const))
    return number, *sorted((a.id, sign) for a, sign in steps if isinstance(a, Var))


class _Split:
    """Makes the loops."""

    def __init__(self, b: FreshBuilder, loop: Loop, turn: Counted, scan: Scan):
        self.b, self.loop, self.turn, self.scan = b, loop, turn, scan
        self.steps = [(a, sign) for a, sign in scan.form.steps if a != ZERO]

    def loops(self) -> list[Stmt]:
        """Stretches, if there are enough turns, and then the loop itself."""
        b, loop, turn = self.b, self.loop, self.turn
        b.span = loop.span
        b.open()
        room = b.op("sub", [turn.stop, loop.inits[turn.place]], INT)
        many: Atom = b.op("bit_and", [b.op("scans", [], BOOL), b.op("ge", [room, integer(LEAST)], BOOL)], BOOL)
        step: Atom = ZERO
        for a, sign in self.steps:
            step = b.op("add" if sign > 0 else "sub", [step, a], INT)
            if isinstance(a, Var):
                for test, bound in (("lt", STEP), ("gt", -STEP)):
                    many = b.op("bit_and", [many, b.op(test, [a, integer(bound)], BOOL)], BOOL)
        types = [p.type for p in loop.params]
        b.open()
        reached = self.stretches(step, b.op("minimum", [room, integer(STRETCH)], INT))
        far = b.close(Yield(reached))
        inits = b.if_(many, far, Block((), Yield(loop.inits)), types)
        return [*b.close(Yield()).stmts, replace(loop, inits=inits)]

    def stretches(self, step: Atom, size: Atom) -> tuple[Var, ...]:
        b, loop, turn, scan = self.b, self.loop, self.turn, self.scan
        params = [b.var(p.type, p.name) for p in loop.params]
        room = [b.var(INTS) for _ in self.kept()]
        label, now = b.label(), params[turn.place]
        first = [b.op("buffer_new", [size], INTS) for _ in room]
        b.open()
        more = b.op("lt", [now, turn.stop], BOOL)
        b.if_(more, Block((), Yield()), Block((), Exit(label, tuple(params))))
        left = b.op("sub", [turn.stop, now], INT)
        many = b.op("minimum", [left, size], INT)
        end = b.op("add", [now, many], INT)
        after, room_after, odd = self.ahead(params, room, end)
        written = params[scan.written]
        at = b.op("add", [now, integer(scan.ahead)], INT)
        last = b.op("sub", [at, ONE], INT)
        before = b.op("buffer_get", [written, last], INT) if scan.before is None else params[scan.before]
        if odd is not None:
            odd = b.op("bit_or", [odd, b.op("add", [before, integer(FAR)], INT)], INT)
            wraps = b.op("lt", [odd, ZERO], BOOL)
            b.if_(wraps, Block((), Exit(label, tuple(params))), Block((), Yield()))
        new = b.op("buffer_scan", [written, at, room_after[0], many, before, step, *room_after[1:]], INTS, of=scan.of)
        after[scan.written] = new
        if scan.before is not None:
            last = b.op("sub", [b.op("add", [at, many], INT), ONE], INT)
            after[scan.before] = b.op("buffer_get", [new, last], INT)
        body = b.close(Yield((*after, *room_after)))
        return b.loop(label, (*params, *room), (*loop.inits, *first), body, [p.type for p in params])

    def kept(self) -> list[Atom]:
        """What is kept of each turn, in buffers."""
        form = self.scan.form
        assert form.e is not None
        return [form.e] if form.anew == FALSE else [form.e, form.anew]

    def ahead(self, params: list[Var], room: list[Var], end: Var) -> tuple[list[Atom], tuple[Var, ...], Var | None]:
        """What turns till the end compute: the loop's parameters afterwards, but for those that wait, what is kept, and
        a number that is negative if something may have wrapped."""
        b, loop, turn, scan = self.b, self.loop, self.turn, self.scan
        waiting = {scan.written, scan.before}
        others = [i for i in range(len(params)) if i not in waiting]
        label, start = b.label(), params[turn.place]
        values: dict[Var, Atom] = {turn.test: TRUE}
        carried, mine = [], [b.var(INTS) for _ in room]
        for i, p in enumerate(loop.params):
            values[p] = params[i] if i in waiting else b.var(p.type, p.name)
            if i not in waiting:
                carried.append(values[p])
        odd = b.var(INT) if self.steps else None
        b.open()
        index = values[turn.index]
        more = b.op("lt", [index, end], BOOL)
        everything = (*carried, *mine, *([odd] if odd else []))
        b.if_(more, Block((), Yield()), Block((), Exit(label, everything)))  # type: ignore[arg-type]
        again = tuple(loop.body.tail.values[i] for i in others)
        form = scan.form
        wanted = (*again, *self.kept(), form.odd)
        copied = b.fresh.copy(Block(scan.body, Yield(wanted)), values, {})
        for stmt in copied.stmts:
            b.add(stmt)
        kept = copied.tail.values[len(again) : -1]
        place = b.op("sub", [index, start], INT)
        new = []
        for buffer, value in zip(mine, kept, strict=True):
            number = value if value.type == INT else b.op("cast", [value], INT, checked=False)
            new.append(b.op("buffer_set", [buffer, place, number], INTS))
        following: list[Atom] = [*copied.tail.values[: len(again)], *new]
        if odd is not None:
            far = b.op("add", [kept[0], integer(FAR)], INT)
            following.append(b.op("bit_or", [b.op("bit_or", [odd, far], INT), copied.tail.values[-1]], INT))
        body = b.close(Yield(tuple(following)))
        inits = (*(params[i] for i in others), *room, *([ZERO] if odd else []))
        outs = b.loop(label, everything, inits, body, [v.type for v in everything])  # type: ignore[arg-type]
        after: list[Atom] = list(params)
        for i, out in zip(others, outs, strict=False):
            after[i] = out
        rest = outs[len(others) :]
        return after, rest[: len(room)], rest[-1] if odd is not None else None
