"""The records of an inner loop lie in the same memory in every turn of the loop around, where a turn has no use for
those of the turn before: a derivative whose two loops have become one (one_loop.py) keeps one turn's records only.

`buffer_room(n)` in a turn becomes what the turn before has left, if that is long enough. Only for elements that hold no
memory of their own, which would be kept for a turn longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.immutable import replace
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
    Prim,
    Program,
    Stmt,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.walk import Mentions, diverges, highest_id, map_blocks, rebuilt, tail_values, with_body
from hybridc.passes.each import each

READS = ("buffer_get", "buffer_len")
CHANGES = ("buffer_set", "buffer_resize")


def run(program: Program) -> Program:
    return each(program, "reuse", lambda fn: _Reuse(fn).run(), needs=["buffer_room"])


class _Escapes(Exception):
    """The buffer goes where it cannot be followed."""


class _Reuse:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.next_id = highest_id(fn) + 1
        self.mentions = Mentions()

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_blocks(stmt, self.block)
            if isinstance(stmt, Loop) and isinstance(stmt.body.tail, Yield):
                for made in [s for s in stmt.body.stmts if isinstance(s, Op) and _is_room(s)]:
                    first = Op((self.var(made.outs[0].type),), "buffer_room", (Const(0, INT),), (), made.span)
                    kept = self.kept(stmt, made, first.outs[0])
                    if kept is not None:
                        out.append(first)
                        stmt = kept
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def var(self, type: Type) -> Var:
        self.next_id += 1
        return Var(self.next_id - 1, type)

    def kept(self, loop: Loop, made: Op, first: Var) -> Loop | None:
        """The loop whose turns hand on the buffer that each of them made; None if one of them needs it for more."""
        (room,) = made.outs
        body = loop.body
        at = body.stmts.index(made)
        try:
            last = self.followed(room, body.stmts[at + 1 :], {})
        except _Escapes:
            return None
        if last in tail_values(body.tail):
            return None
        before = self.var(room.type)
        length, enough, new = self.var(INT), self.var(BOOL), self.var(room.type)
        fresh = Block((replace(made, outs=(new,)),), Yield((new,)))
        start = (
            Op((length,), "buffer_len", (before,), (), made.span),
            Op((enough,), "le", (*made.args, length), (), made.span),
            If((room,), enough, Block((), Yield((before,))), fresh, made.span),
        )
        stmts = (*body.stmts[:at], *start, *body.stmts[at + 1 :])
        return replace(loop, params=(*loop.params, before), inits=(*loop.inits, first),
                       body=Block(stmts, Yield((*tail_values(body.tail), last))))

    def followed(self, v: Var, stmts: Sequence[Stmt], exits: dict[int, list[int | None]]) -> Var:
        """What the buffer is after these statements, each of which reads it or changes it in its place. Adds to `exits`
        the place that it has among the values of each way out; all other ways out must do without it."""
        for s in stmts:
            if v not in self.mentions(s):
                continue
            match s:
                case Op(_, op, args) if op in READS and args[0] == v:
                    continue
                case Op(outs, op, args) if op in CHANGES and args[0] == v and args.count(v) == 1:
                    v = outs[0]
                case If(outs, cond, then, orelse) if cond != v:
                    v = _joined(v, outs, [self.arm(v, b, exits) for b in (then, orelse)])
                case Loop():
                    v = self.through(v, s, exits)
                case _:
                    raise _Escapes
        return v

    def arm(self, v: Var, b: Block, exits: dict[int, list[int | None]]) -> tuple[Var, int | None] | None:
        """What it is at the end of an arm, and its place among what that yields; None if that is not reached."""
        last = self.followed(v, b.stmts, exits)
        values = tail_values(b.tail)
        if any(map(diverges, b.stmts)):
            return None
        if isinstance(b.tail, Exit):
            _leaves(last, b.tail.label, values, exits)
            return None
        if not isinstance(b.tail, Yield):
            return None
        return last, _place(last, values)

    def through(self, v: Var, s: Loop, exits: dict[int, list[int | None]]) -> Var:
        """What it is after a loop."""
        given = [p for p, init in zip(s.params, s.inits, strict=True) if init == v]
        inside = v in s.body.tail.values or any(v in self.mentions(x) for x in s.body.stmts)
        if len(given) + inside != 1:
            raise _Escapes
        start = given[0] if given else v
        out: dict[int, list[int | None]] = {**exits, s.label: []}
        last = self.followed(start, s.body.stmts, out)
        values = tail_values(s.body.tail)
        place = _place(last, values)
        if not given:
            if last != v or place is not None or any(p is not None for p in out[s.label]):
                raise _Escapes
            return v
        if not any(map(diverges, s.body.stmts)):
            if isinstance(s.body.tail, Exit):
                _leaves(last, s.body.tail.label, values, out)
            elif isinstance(s.body.tail, Yield) and (place is None or s.params[place] != start):
                raise _Escapes
        places = set(out[s.label])
        if len(places) != 1 or None in places:
            raise _Escapes
        return s.outs[places.pop()]  # type: ignore[index]


def _is_room(op: Op) -> bool:
    kind = op.outs[0].type if op.op == "buffer_room" else None
    return isinstance(kind, BufferT) and _plain(kind.item)


def _plain(kind: Type) -> bool:
    return isinstance(kind, Prim) or isinstance(kind, TupleT) and all(map(_plain, kind.items))


def _leaves(v: Var, label: int, values: Sequence[Atom], exits: dict[int, list[int | None]]) -> None:
    place = _place(v, values)
    if label in exits:
        exits[label].append(place)
    if place is not None and label not in exits:
        raise _Escapes


def _place(v: Var, values: Sequence[Atom]) -> int | None:
    places = [i for i, x in enumerate(values) if x == v]
    if len(places) > 1:
        raise _Escapes
    return places[0] if places else None


def _joined(v: Var, outs: Sequence[Var], arms: Sequence[tuple[Var, int | None] | None]) -> Var:
    ends = [a for a in arms if a is not None]
    places = {place for _, place in ends}
    if len(places) > 1:
        raise _Escapes
    place = places.pop() if places else None
    if place is not None:
        return outs[place]
    if any(last != v for last, _ in ends):  # one of them has changed it and keeps it for itself
        raise _Escapes
    return v
