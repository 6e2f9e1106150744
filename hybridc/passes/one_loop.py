"""A derivative's two loops, one that keeps a record of each turn and one that reads them from last to first, are one
loop without records where the second only adds things up: then it does not matter which turn adds first.

So the gradient of a sum over a data set needs no tape as long as the data, and what a turn has computed is still in
registers when its share of the derivative is computed. What flows from turn to turn, the state of a recurrence say,
keeps both loops: its adjoint is known from the last turn on only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

from hybridc.base.immutable import replace
from hybridc.base.types import FLOATS
from hybridc.core.ir import (
    INT,
    RETURN,
    Atom,
    Block,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Program,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import ONLY_MEMORY, is_pure, op_row
from hybridc.core.types import same
from hybridc.core.walk import (
    Mentions,
    all_blocks,
    args_of,
    blocks_of,
    calls,
    diverges,
    free_vars,
    highest_id,
    map_blocks,
    outs_of,
    rebuilt,
    statements,
    substitute,
    tail_values,
    uses,
    with_body,
)
from hybridc.passes.counted import Counted, counted, within
from hybridc.passes.dce import silent_functions

ADDS = frozenset({"accumulate", "shaped", "add_product"})
"""They add to their first argument, whatever is in it."""
ADDS_IF = frozenset({"update", "put", "scatter"})
"""They do so where `fn` says it."""
DEPTH = 1
"""Of calls that are followed."""


def run(program: Program) -> Program:
    silent = silent_functions(program)
    return Program(program.structs, program.enums, {n: _made(program, fn, silent) for n, fn in program.fns.items()})


def _made(program: Program, fn: Fn, silent: frozenset[str]) -> Fn:
    """What was made of it before, if the functions that it calls are the same ones."""
    looked = [program.fns[name] for name in calls(fn)]
    heard = [f.name in silent for f in looked]
    for others, before, made in fn.known.get("one_loop", ()):
        if len(others) == len(looked) and all(map(is_, others, looked)) and before == heard:
            return fn if made is None else made
    new = _OneLoop(program, fn, silent).run()
    fn.known["one_loop"] = ((looked, heard, None if new is fn else new),)
    return new


@dataclass(frozen=True)
class Kept:
    """A loop that keeps records."""

    loop: Loop
    count: Counted
    turns: Var
    """The parameter that counts turns from 0 on."""
    turns_out: Var
    records: Var | None = None
    """The parameter that holds the records, if it keeps any."""
    records_out: Var | None = None
    push: Op | None = None


@dataclass(frozen=True)
class Back:
    """A loop that goes back over them. `turn` is the number of the record, `read` what gives it, if any does; both are
    known from outside once the loop is another's part, so they are not among its `stmts`."""

    loop: Loop
    count: Counted
    turn: Op
    read: Op | None
    stmts: tuple[Stmt, ...]


def kept_by(loop: Loop, mentions: Mentions) -> list[Kept]:
    """What it may be keeping: one for each parameter that counts turns."""
    c = _plain(loop)
    if c is None:
        return []
    found = []
    made = {o: s for s in c.rest.stmts if isinstance(s, Op) for o in s.outs}
    for p, init, value in zip(loop.params, loop.inits, c.rest.tail.values, strict=True):
        step = made.get(value) if isinstance(value, Var) else None
        if init != Const(0, INT) or step is None or step.op != "add" or step.args != (p, Const(1, INT)):
            continue
        turns_out = _out(loop, c, p)
        if turns_out is None:
            continue
        found.append(Kept(loop, c, p, turns_out))
        for r, again in zip(loop.params, c.rest.tail.values, strict=True):
            push = made.get(again) if isinstance(again, Var) else None
            if push is not None and push.op == "buffer_set" and push.args[:2] == (r, p):
                records_out = _out(loop, c, r)
                if records_out is not None and sum(r in mentions(s) for s in c.rest.stmts) == 1:
                    found.insert(0, replace(found[-1], records=r, records_out=records_out, push=push))
    return found


def _plain(loop: Loop) -> Counted | None:
    """A counted loop that is left at its head only."""
    c = counted(loop)
    if c is None or c.leave.stmts or not isinstance(c.leave.tail, Exit) or c.leave.tail.label != loop.label:
        return None
    own = {s.label for s in statements(c.rest) if isinstance(s, (Loop, Scope))}
    left = any(isinstance(b.tail, Exit) and b.tail.label not in own for b in all_blocks(c.rest))
    return None if left else c


def _out(loop: Loop, c: Counted, p: Var) -> Var | None:
    """The one result that is a parameter at the end."""
    places = [i for i, v in enumerate(c.leave.tail.values) if v == p]
    return loop.outs[places[0]] if len(places) == 1 else None


class _OneLoop:
    def __init__(self, program: Program, fn: Fn, silent: frozenset[str]):
        self.program = program
        self.fn = fn
        self.silent = silent
        self.next_id = highest_id(fn) + 1
        self.mentions = Mentions()

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        stmts = list(b.stmts)
        at = 0
        while at < len(stmts):
            first = stmts[at]
            options = kept_by(first, self.mentions) if isinstance(first, Loop) else []
            joined = next((j for kept in options if (j := self.joined(kept, at, stmts, b)) is not None), None)
            if joined is None:
                at += 1
            else:
                stmts = joined
        return rebuilt(b, [map_blocks(s, self.block) for s in stmts], b.tail)

    # ---- two loops
    def goes_back(self, stmt: Stmt, kept: Kept) -> bool:
        """Is it a loop of as many turns, which reads the records?"""
        if not isinstance(stmt, Loop):
            return False
        mentioned = self.mentions(stmt)
        return kept.turns_out in mentioned and (kept.records_out is None or kept.records_out in mentioned)

    def joined(self, kept: Kept, at: int, stmts: Sequence[Stmt], b: Block) -> list[Stmt] | None:
        """The block's statements with the loop at `at` and the one that reads its records as one."""
        k = next((k for k in range(at + 1, len(stmts)) if self.goes_back(stmts[k], kept)), None)
        if k is None:
            return None
        between, after = stmts[at + 1 : k], stmts[k + 1 :]
        loop = stmts[k]
        assert isinstance(loop, Loop)
        back = self.back(loop, kept, between)
        if back is None or not self.only_adds(back):
            return None
        if kept.records_out is not None:
            others = Block((*between, *after), b.tail)
            if kept.records_out in uses(others):
                return None
        made = self.from_zero(self.one(kept, back), kept.loop, between)
        if made is None:
            return None
        starts, one, added = made
        before = self.first([*free_vars(one.body), *(i for s in starts for i in args_of(s)), *one.inits], one,
                            kept.loop, between)
        if before is None:
            return None
        new = [*stmts[:at], *before, *starts, one, *(s for s in between if s not in before), *added, *after]
        return _without_room(new, kept, b)

    def from_zero(
        self, one: Loop, a: Loop, between: Sequence[Stmt]
    ) -> tuple[list[Stmt], Loop, list[Stmt]] | None:
        """Where something is added to that is not there before the loop, to zeros instead: what makes these, the loop,
        and what adds its results."""
        makers = {o: s for s in between for o in outs_of(s)}
        leave = one.body.stmts[1].orelse.tail.values  # type: ignore[union-attr]
        inits, outs = list(one.inits), list(one.outs)
        starts: list[Stmt] = []
        added: list[Stmt] = []
        for i, init in enumerate(one.inits):
            if not isinstance(init, Var) or self.first([init], one, a, between) is not None:
                continue
            made = makers.get(init)
            if isinstance(made, Op) and made.op == "shaped":
                zero, start = self.fresh(init), self.fresh(init)
                inits[i] = start
                starts += [Op((zero,), "zero", ()), replace(made, outs=(start,), args=(zero, *made.args[1:]))]
            elif init.type in FLOATS:
                inits[i] = Const(0.0, init.type)
            else:
                return None
            for k, o in enumerate(one.outs):
                if leave[k] == one.params[i]:
                    outs[k] = self.fresh(o)
                    added.append(Op((o,), "add" if o.type in FLOATS else "accumulate", (init, outs[k])))
        return starts, replace(one, inits=tuple(inits), outs=tuple(outs)), added

    def fresh(self, v: Var) -> Var:
        self.next_id += 1
        return replace(v, id=self.next_id - 1)

    def back(self, loop: Loop, kept: Kept, between: Sequence[Stmt]) -> Back | None:
        """The loop that goes back over what is kept, if it does nothing else with it."""
        c = _plain(loop)
        if c is None or c.stop != kept.turns_out or loop.inits[c.place] != Const(0, INT):
            return None
        last = {s.outs[0] for s in (*between, *c.rest.stmts)
                if isinstance(s, Op) and s.op == "sub" and s.args == (kept.turns_out, Const(1, INT))}
        turns = [s for s in c.rest.stmts if isinstance(s, Op) and s.op == "sub" and s.args[0] in last
                 and s.args[1] == c.index]
        if len(turns) != 1:
            return None
        turn = turns[0]
        read = None
        if kept.records_out is not None:
            reads = [s for s in c.rest.stmts if isinstance(s, Op) and s.op == "buffer_get"
                     and s.args == (kept.records_out, turn.outs[0])]
            if len(reads) != 1:
                return None
            read = reads[0]
        counting = c.rest.tail.values[c.place]
        stmts = tuple(
            s for s in c.rest.stmts
            if s is not turn and s is not read and not (isinstance(s, Op) and s.outs[0] in {counting, *last})
        )
        left = uses(Block(stmts, Yield(tuple(v for i, v in enumerate(c.rest.tail.values) if i != c.place))))
        if c.index in left or kept.records_out in left or any(v in left for v in last):
            return None
        if any(isinstance(x.tail, Fault) for x in all_blocks(Block(stmts, Yield()))):
            return None
        for s in statements(Block(stmts, Yield())):
            if isinstance(s, Op) and op_row(s.op).effect or isinstance(s, Call) and s.fn not in self.silent:
                return None
        return Back(loop, c, turn, read, stmts)

    def one(self, kept: Kept, back: Back) -> Loop:
        """Each turn of the first loop, and what the second one does with it."""
        a, b = kept.loop, back.loop
        known: dict[Var, Atom] = {back.turn.outs[0]: kept.turns}
        gone: list[Stmt] = []
        if back.read is not None and kept.push is not None:
            record, read = kept.push.args[2], back.read.outs[0]
            known[read] = record
            gone += self.apart(kept, record, read, back, known)
        mine = [i for i, p in enumerate(a.params) if p != kept.records]
        theirs = [i for i, _ in enumerate(b.params) if i != back.count.place]
        second = substitute(
            Block(tuple(s for s in back.stmts if s not in gone),
                  Yield(tuple(back.count.rest.tail.values[i] for i in theirs))), known)
        first = [s for s in kept.count.rest.stmts if s is not kept.push and s not in gone]
        tail = Yield((*(kept.count.rest.tail.values[i] for i in mine), *tail_values(second.tail)))
        outs = [o for o in a.outs if o != kept.records_out]
        values = [v for o, v in zip(a.outs, tail_values(kept.count.leave.tail), strict=True) if o != kept.records_out]
        leave = Block((), Exit(a.label, (*values, *tail_values(back.count.leave.tail))))
        test, branch = a.body.stmts[:2]
        assert isinstance(branch, If)
        body = Block((test, replace(branch, orelse=leave), *first, *second.stmts), tail)
        return replace(
            a, outs=(*outs, *b.outs), params=tuple(a.params[i] for i in mine) + tuple(b.params[i] for i in theirs),
            inits=tuple(a.inits[i] for i in mine) + tuple(b.inits[i] for i in theirs), body=body)

    def apart(self, kept: Kept, record: Atom, read: Var, back: Back, known: dict[Var, Atom]) -> list[Stmt]:
        """A record that is only put together to be taken apart is neither: what is not done any more. Adds to `known`
        what its parts are."""
        users = [s for s in back.stmts if read in self.mentions(s)]
        if not all(isinstance(s, Op) and s.op == "destruct" for s in users):
            return []
        stmts = kept.count.rest.stmts
        made = next((s for s in stmts if isinstance(s, Op) and s.op == "tuple" and s.outs == (record,)), None)
        if made is None or sum(made.outs[0] in self.mentions(s) for s in stmts) != 1:
            return []
        for s in users:
            known.update(zip(outs_of(s), made.args, strict=True))
        return [made, *users]

    def first(self, wanted: Sequence[Atom], one: Loop, a: Loop, between: Sequence[Stmt]) -> list[Stmt] | None:
        """What stands between the loops and has to come before the one for this; None if that cannot be."""
        makers = {o: s for s in between for o in outs_of(s)}
        known = set(a.outs)
        needed: list[Stmt] = []
        todo = [v for v in wanted if isinstance(v, Var)]
        inside = within(one)
        while todo:
            v = todo.pop()
            if v.id in inside:
                continue
            if v in known:
                return None
            s = makers.get(v)
            if s is not None and s not in needed:
                if not _movable(s):
                    return None
                needed.append(s)
                todo += [a for a in self.mentions(s) if isinstance(a, Var)]
        return [s for s in between if s in needed]

    # ---- adding
    def only_adds(self, back: Back) -> bool:
        """Does the loop do nothing but add to what it carries?"""
        end = Block(back.stmts, back.count.rest.tail)
        left = tail_values(back.count.leave.tail)
        return all(
            i == back.count.place or left.count(p) <= 1 and self.flows(p, end, i)
            for i, p in enumerate(back.loop.params)
        ) and back.count.index not in left

    def flows(self, v: Var, b: Block, end: int, depth: int = 0) -> bool:
        """Is the value at `end` of what the block gives `v` with something added, and `v` nothing else?"""
        values = tail_values(b.tail)
        while True:
            users = [s for s in b.stmts if v in self.mentions(s)]
            places = [i for i, x in enumerate(values) if x == v]
            if not users:
                return places == [end]
            if places:
                return False
            following = self.following(v, users, b, depth)
            if following is None:
                return False
            v = following

    def becomes(self, v: Var, new: Atom, by: Stmt, b: Block, depth: int) -> bool:
        """Is `new`, of which a statement alone makes something, what the block gives `v` with something added?"""
        while v not in tail_values(b.tail):
            users = [s for s in b.stmts if v in self.mentions(s)]
            if v == new:
                return users == [by] and args_of(by).count(v) == 1
            following = self.following(v, users, b, depth)
            if following is None:
                return False
            v = following
        return False

    def following(self, v: Var, users: Sequence[Stmt], b: Block, depth: int) -> Var | None:
        """What `v` becomes by these, its users, if they do nothing but add to it."""
        match users:
            case [Op((rest, old), "buffer_take", (_, place))]:
                match [s for s in b.stmts if rest in self.mentions(s)]:
                    case [Op(outs, "buffer_set", (into, at, new)) as put] if (into, at) == (rest, place):
                        if rest not in tail_values(b.tail) and self.becomes(old, new, put, b, depth):
                            return outs[0]
                return None
            case [Op(parts, "destruct")]:
                makers = (s for s in b.stmts if isinstance(s, Op) and s.op in ("tuple", "struct")
                          and s.outs[0].type == v.type)
                return next((s.outs[0] for s in makers if all(
                    self.becomes(p, x, s, b, depth) for p, x in zip(parts, s.args, strict=True))), None)
            case [s]:
                return self.through(v, s, depth)
        return self.element(users, b.stmts)

    def through(self, v: Var, s: Stmt, depth: int) -> Var | None:
        """What `v` becomes, if the statement does nothing but add to it."""
        match s:
            case Op(outs, op, args):
                adds = op in ADDS or op in ADDS_IF and s.attr("fn") in ("add", "sub")
                if args.count(v) == 1 and (op == "add" and v.type in FLOATS or adds and args[0] == v):
                    return outs[0]
            case Loop(outs, _, params, inits, body):
                c = _plain(s)
                if c is None or inits.count(v) != 1 or v in uses(body):
                    return None
                p = params[inits.index(v)]
                if self.flows(p, c.rest, params.index(p), depth):
                    return _out(s, c, p)
            case If() | Match():
                if v in args_of(s):
                    return None
                blocks = blocks_of(s)
                if all(isinstance(b.tail, Yield) and not any(map(diverges, b.stmts)) for b in blocks):
                    return next((o for i, o in enumerate(s.outs) if o.type == v.type
                                 and all(self.flows(v, b, i, depth) for b in blocks)), None)
            case Call(outs, name, args):
                fn = self.program.fns[name]
                single = not any(isinstance(b.tail, Exit) and b.tail.label == RETURN
                                 for b in all_blocks(fn.body) if b is not fn.body)
                if args.count(v) == 1 and depth < DEPTH and single and not isinstance(fn.body.tail, Fault):
                    p = fn.params[args.index(v)]
                    return next((o for i, o in enumerate(outs) if same(o.type, v.type)
                                 and self.flows(p, fn.body, i, depth + 1)), None)
        return None

    def element(self, users: Sequence[Stmt], stmts: Sequence[Stmt]) -> Var | None:
        """What a buffer becomes when something is added to one of its elements, and that is all."""
        if len(users) != 2:
            return None
        get, put = users
        if not (isinstance(get, Op) and isinstance(put, Op) and get.op == "buffer_get" and put.op == "buffer_set"):
            return None
        element, new = get.outs[0], put.args[2]
        added = [s for s in stmts if element in self.mentions(s)]
        stored = [s for s in stmts if new in self.mentions(s)]
        if len(added) != 1 or stored != [put] or get.args != put.args[:2] or element.type not in FLOATS:
            return None
        add = added[0]
        if isinstance(add, Op) and add.op == "add" and add.outs[0] == new and add.args.count(element) == 1:
            return put.outs[0]
        return None


def _movable(s: Stmt) -> bool:
    """Does it not matter when it happens? That memory might not do is not looked at."""
    if isinstance(s, Op):
        return is_pure(s) or s.op in ONLY_MEMORY
    return isinstance(s, If) and all(
        isinstance(b.tail, Yield) and all(map(_movable, b.stmts)) for b in (s.then, s.orelse))


def _without_room(stmts: list[Stmt], kept: Kept, b: Block) -> list[Stmt]:
    """Without the buffer that was made for the records."""
    if kept.records is None:
        return stmts
    room = kept.loop.inits[kept.loop.params.index(kept.records)]
    if isinstance(room, Var) and room not in uses(Block(tuple(stmts), b.tail)):
        return [s for s in stmts if not (isinstance(s, Op) and s.op == "buffer_room" and s.outs[0] == room)]
    return stmts
