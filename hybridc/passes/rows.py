"""Elements of a buffer that a loop takes, changes and puts back at every turn are taken before the loop and put back
after it.

So `m[i][j] -= f * m[k][j]` in a loop over j has the two rows at hand: nothing is written but numbers, the lengths of
rows are known before the loop (passes/bounds.py), and it can be vectorised. Rows that the loop only reads are read
before it. Where it is not known that these are others than the rows that are changed, that is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    Atom,
    Block,
    BufferT,
    Const,
    Exit,
    If,
    Loop,
    Match,
    Op,
    Program,
    Stmt,
    StructT,
    Tail,
    Type,
    Var,
    Yield,
)
from hybridc.core.ops import ONLY_MEMORY, is_pure
from hybridc.core.walk import (
    Freshener,
    all_blocks,
    args_of,
    blocks_of,
    bound_in,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
    statements,
    substitute,
)
from hybridc.passes.counted import within

Fields = tuple[Atom, ...]
T = TypeVar("T")
PARTS = ("get", "destruct")
MOST = 3
"""Rows that are changed."""
FAR = 1 << 32
"""What is added to a place comes to no number that wraps."""


@dataclass(frozen=True)
class Rows:
    """`before`, `loop` and `after` do what the loop did, if the places of each pair in `apart` differ, and if it has a
    turn where it has to be `entered`: the first one finds the row at its place."""

    apart: tuple[tuple[Atom, Atom], ...]
    entered: bool
    before: tuple[Stmt, ...]
    loop: Loop
    after: tuple[Stmt, ...]


class _Otherwise(Exception):
    """The loop does something else with the buffer."""


def rows(loop: Loop, program: Program, fresh: Freshener, valid: Set[Atom], made: Mapping[Var, Op]) -> Rows | None:
    """Of the first of the loop's buffers of which it changes few rows. `valid` are places that lie within their buffers
    where they are used, `made` is what made other variables."""
    inside = within(loop)
    for param in loop.params:
        if isinstance(param.type, BufferT) and isinstance(param.type.item, StructT):
            try:
                return _Taken(loop, param, program, fresh, frozenset(v for v in valid if not _in(v, inside))).rows(made)
            except _Otherwise:
                pass
    return None


def _in(a: Atom, inside: Set[int]) -> bool:
    return isinstance(a, Var) and a.id in inside


class _Taken:
    """A loop that has the parts of some rows instead of the buffer."""

    def __init__(self, loop: Loop, buffer: Var, program: Program, fresh: Freshener, valid: frozenset[Atom]):
        assert isinstance(buffer.type, BufferT) and isinstance(buffer.type.item, StructT)
        self.loop, self.buffer, self.item = loop, buffer, buffer.type.item
        self.types: tuple[Type, ...] = tuple(t for _, t in program.structs[self.item.name].fields)
        self.fresh, self.valid = fresh, valid
        self.start = loop.inits[loop.params.index(buffer)]
        self.kin = self._kin()
        """The buffer and what it becomes in the loop."""
        self.first = self._first()
        """Places that the first turn uses, whatever it does then."""
        self.places = self._places_changed()
        """Where the rows lie that are changed."""
        self.whole: dict[Atom, Fields] = {}
        """What these rows are made of, one after the other, in each of the kin; what is taken out was so."""
        self.taken: dict[Atom, frozenset[Atom]] = {}
        """The places of rows that are taken out."""
        self.elements: dict[Atom, Fields] = {}
        """What structs of the row's type are made of."""
        self.others: dict[Atom, Fields] = {}
        """Rows that are read, by their places."""
        self.wanted = self._wanted()
        """What is used as a whole."""
        self.instead: dict[Var, Atom] = {}
        self.before: list[Stmt] = []

    # ---- what the loop does with the buffer
    def _kin(self) -> set[Atom]:
        kin: set[Atom] = {self.buffer}
        size = 0
        while size != len(kin):  # statements of a branch come after it
            size = len(kin)
            for stmt in statements(self.loop.body):
                kin |= self._offspring(stmt, kin)
        return kin

    def _offspring(self, stmt: Stmt, kin: set[Atom]) -> set[Atom]:
        if isinstance(stmt, Op) and stmt.op in ("buffer_take", "buffer_set") and stmt.args[0] in kin:
            return {stmt.outs[0]}
        if isinstance(stmt, (If, Match)):
            return {stmt.outs[i] for i in self._places(stmt, kin)}
        return set()

    def _places(self, stmt: If | Match, kin: Set[Atom]) -> set[int]:
        """Which results of a branch are the buffer."""
        tails = [b.tail for b in _arms(stmt)]
        return {i for t in tails if isinstance(t, Yield) for i, v in enumerate(t.values) if v in kin}

    def _first(self) -> set[Atom]:
        found: set[Atom] = set()
        for s in self.loop.body.stmts[2:]:  # after the head
            if isinstance(s, Op) and s.args and s.args[0] in self.kin and s.op != "buffer_len":
                found.add(s.args[1])
            elif may_end(s):
                break
        return found

    def _places_changed(self) -> tuple[Atom, ...]:
        found = {s.args[1]: None for s in statements(self.loop.body)
                 if isinstance(s, Op) and s.op in ("buffer_take", "buffer_set") and s.args[0] in self.kin}
        inside = within(self.loop)
        for p in found:
            if p not in self.valid and (p not in self.first or _in(p, inside)):
                raise _Otherwise
        if not 0 < len(found) <= MOST:
            raise _Otherwise
        return tuple(found)

    def _wanted(self) -> set[Atom]:
        found = {v for b in all_blocks(self.loop.body) for v in b.tail.values}
        for s in statements(self.loop.body):
            if not isinstance(s, Op) or s.op not in PARTS and s.args[:1] not in [(v,) for v in self.kin]:
                found.update(args_of(s))
        return found

    # ---- the loop anew
    def rows(self, made: Mapping[Var, Op]) -> Rows:
        loop, at = self.loop, self.loop.params.index(self.buffer)
        hole, inits = self.start, list[Atom]()
        for place in self.places:
            left, row = self.fresh.var(self.buffer), self.fresh.var(Var(0, self.item))
            self.before.append(Op((left, row), "buffer_take", (hole, place), (), loop.span))
            inits += self._parts(row, self.before)
            hole = left
        params = self._vars()
        self.whole[self.buffer] = params
        results = {i for b in all_blocks(loop.body) if isinstance(b.tail, Exit) and b.tail.label == loop.label
                   for i, v in enumerate(b.tail.values) if v in self.kin}
        if len(results) > 1:
            raise _Otherwise
        body = self._block(loop.body, {at}, results)
        outs = self._outs(loop.outs, results)
        new = Loop(outs, loop.label, _spliced(loop.params, {at}, lambda _: params),
                   _spliced(loop.inits, {at}, lambda _: inits), body, loop.span)
        after: list[Stmt] = []
        for i in results:
            for k, place in enumerate(self.places):
                back = self.fresh.var(Var(0, self.item))
                after.append(Op((back,), "struct", self._at(loop.outs[i], place), (), loop.span))
                filled = loop.outs[i] if k == len(self.places) - 1 else self.fresh.var(self.buffer)
                after.append(Op((filled,), "buffer_set", (hole, place, back), (), loop.span))
                hole = filled
        changed = list(combinations(self.places, 2))
        apart = tuple(pair for pair in (*changed, *product(self.places, self.others)) if not _differ(*pair, made))
        entered = not self.valid.issuperset((*self.places, *self.others))
        return Rows(apart, entered, tuple(self.before), _fewer(new), tuple(after))

    def _vars(self) -> tuple[Var, ...]:
        """For the parts of all rows that are changed."""
        return tuple(self.fresh.var(Var(0, t)) for _ in self.places for t in self.types)

    def _at(self, buffer: Atom, place: Atom) -> Fields:
        """The parts of the row at a place."""
        at = self.places.index(place) * len(self.types)
        return self.whole[buffer][at : at + len(self.types)]

    def _parts(self, row: Atom, out: list[Stmt]) -> Fields:
        parts = tuple(self.fresh.var(Var(0, t)) for t in self.types)
        out += [Op((part,), "get", (row,), (("index", i),), self.loop.span) for i, part in enumerate(parts)]
        return parts

    def _outs(self, outs: Sequence[Var], which: Set[int]) -> tuple[Var, ...]:
        def parts(v: Var) -> tuple[Var, ...]:
            self.whole[v] = found = self._vars()
            return found

        return _spliced(outs, which, parts)

    def _atom(self, a: Atom) -> Atom:
        return self.instead.get(a, a) if isinstance(a, Var) else a

    def _block(self, block: Block, yielded: Set[int], results: Set[int]) -> Block:
        """`yielded` and `results`: which values of its yield, and of exits of the loop, are the buffer."""
        out: list[Stmt] = []
        for stmt in block.stmts:
            out += self._stmt(stmt, results)
        tail = block.tail
        if isinstance(tail, Yield):
            return Block(tuple(out), self._tail(tail, yielded))
        return Block(tuple(out), self._tail(tail, results if _leaves(tail, self.loop) else set()))

    def _tail(self, tail: Tail, which: Set[int]) -> Tail:
        if any((v in self.kin) != (i in which) for i, v in enumerate(tail.values)):
            raise _Otherwise
        tail = replace(tail, values=_spliced(tail.values, which, self._row))
        return map_tail(tail, self._atom)

    def _row(self, a: Atom) -> Fields:
        if a not in self.whole or self.taken.get(a):
            raise _Otherwise
        return self.whole[a]

    def _stmt(self, stmt: Stmt, results: Set[int]) -> Sequence[Stmt]:
        if isinstance(stmt, Op) and stmt.args and stmt.args[0] in self.kin:
            return self._touch(stmt)
        if isinstance(stmt, Op) and stmt.op == "get" and stmt.args[0] in self.elements:
            index = stmt.attr("index")
            assert isinstance(index, int)
            self.instead[stmt.outs[0]] = self._atom(self.elements[stmt.args[0]][index])
            return ()
        if isinstance(stmt, Op) and stmt.op == "destruct" and stmt.args[0] in self.elements:
            self.instead.update(zip(stmt.outs, map(self._atom, self.elements[stmt.args[0]]), strict=True))
            return ()
        if any(a in self.kin for a in args_of(stmt)):
            raise _Otherwise
        if isinstance(stmt, Op) and stmt.op == "struct" and stmt.outs[0].type == self.item:
            return self._element(stmt.outs[0], tuple(map(self._atom, stmt.args)), stmt)
        new = map_atoms(stmt, self._atom)
        if isinstance(new, (If, Match)):
            which = self._places(new, self.kin)
            new = map_blocks(new, lambda b: self._block(b, which, results))
            assert isinstance(new, (If, Match))
            return (self._merged(new, which),)
        return (map_blocks(new, lambda b: self._block(b, set(), results)),)

    def _merged(self, branch: If | Match, which: Set[int]) -> If | Match:
        """With results for the parts of the row that it may change."""
        own = {v.id for b in _arms(branch) for s in statements(b) for v in (*outs_of(s), *bound_in(s))}
        own |= {v.id for v in bound_in(branch)}
        given = [b.tail.values for b in _arms(branch) if isinstance(b.tail, Yield) and b.tail.values]
        outs: list[Var] = []
        same: set[int] = set()
        at = 0
        for i, out in enumerate(branch.outs):
            if i not in which:
                outs.append(out)
                at += 1
                continue
            parts: list[Atom] = []
            for t in self.types * len(self.places):
                found = {values[at] for values in given}
                if len(found) == 1 and not _in(next(iter(found)), own):
                    parts += found
                    same.add(at)
                else:
                    outs.append(self.fresh.var(Var(0, t)))
                    parts.append(outs[-1])
                at += 1
            self.whole[out] = tuple(parts)

        def fewer(b: Block) -> Block:
            return replace(b, tail=replace(b.tail, values=_spliced(b.tail.values, same, lambda _: ()))) if isinstance(
                b.tail, Yield) else b

        new = map_blocks(branch, fewer)
        assert isinstance(new, (If, Match))
        return replace(new, outs=tuple(outs))

    def _element(self, row: Var, parts: Fields, op: Op) -> Sequence[Stmt]:
        self.elements[row] = parts
        return (Op((row,), "struct", parts, (), op.span),) if row in self.wanted else ()

    def _touch(self, op: Op) -> Sequence[Stmt]:
        buffer = op.args[0]
        if buffer not in self.whole or op.op not in ("buffer_take", "buffer_get", "buffer_set"):
            raise _Otherwise
        place, gone = op.args[1], self.taken.get(buffer, frozenset())
        if op.op == "buffer_set":
            row, made = op.args[2], list[Stmt]()
            parts = self.elements[row] if row in self.elements else self._parts(row, made)
            at = self.places.index(place) * len(self.types)
            whole = self.whole[buffer]
            self.whole[op.outs[0]] = (*whole[:at], *parts, *whole[at + len(parts) :])
            self.taken[op.outs[0]] = gone - {place}
            return made
        if place in gone:
            raise _Otherwise
        if op.op == "buffer_take":
            self.whole[op.outs[0]], self.taken[op.outs[0]] = self.whole[buffer], gone | {place}
            return self._element(op.outs[1], self._at(buffer, place), op)
        return self._element(op.outs[0], self._at(buffer, place) if place in self.places else self._other(op), op)

    def _other(self, get: Op) -> Fields:
        """What a row is made of that is read before the loop."""
        place = get.args[1]
        if place not in self.valid and (place not in self.first or _in(place, within(self.loop))):
            raise _Otherwise
        if place not in self.others:
            row = self.fresh.var(get.outs[0])
            self.before.insert(0, Op((row,), "buffer_get", (self.start, place), (), get.span))
            self.others[place] = self._parts(row, self.before)
        return self.others[place]


def may_end(stmt: Stmt) -> bool:
    """May what follows not be reached?"""
    if isinstance(stmt, Op):
        return not is_pure(stmt) and stmt.op not in ONLY_MEMORY
    blocks = blocks_of(stmt)
    return not isinstance(stmt, (If, Match)) or any(
        not isinstance(b.tail, Yield) or any(map(may_end, b.stmts)) for b in blocks)


def _arms(stmt: If | Match) -> tuple[Block, ...]:
    return (stmt.then, stmt.orelse) if isinstance(stmt, If) else tuple(a.body for a in stmt.arms)


def _leaves(tail: Tail, loop: Loop) -> bool:
    return isinstance(tail, Exit) and tail.label == loop.label


def _spliced(items: Sequence[T], which: Set[int], parts: Callable[[T], Sequence[T]]) -> tuple[T, ...]:
    """With the parts of some of the items instead of these."""
    return tuple(x for i, item in enumerate(items) for x in (parts(item) if i in which else (item,)))


def _fewer(loop: Loop) -> Loop:
    """Without parameters that stay as they are."""
    again = loop.body.tail.values
    same: dict[Var, Atom] = {p: a for p, a, v in zip(loop.params, loop.inits, again, strict=True) if v == p}
    which = {i for i, p in enumerate(loop.params) if p in same}

    def rest(items: Sequence[T]) -> tuple[T, ...]:
        return _spliced(items, which, lambda _: ())

    body = replace(loop.body, tail=replace(loop.body.tail, values=rest(again)))
    return replace(loop, params=rest(loop.params), inits=rest(loop.inits), body=substitute(body, same))


def _differ(p: Atom, q: Atom, made: Mapping[Var, Op]) -> bool:
    """Are two places, both in range, known to be different ones?"""
    if isinstance(p, Const) and isinstance(q, Const):
        return p.value != q.value
    (a, m), (b, n) = _apart(p, made), _apart(q, made)
    return a == b and m != n


def less(p: Atom, q: Atom, made: Mapping[Var, Op]) -> bool:
    """Is p, a place in range, known to be less than q?"""
    if isinstance(p, Const) and isinstance(q, Const):
        return p.value < q.value
    (a, m), (b, n) = _apart(p, made), _apart(q, made)
    return a == b and -FAR < m < n < FAR


def _apart(a: Atom, made: Mapping[Var, Op]) -> tuple[Atom, int]:
    """A sum of another atom and a number."""
    op = made.get(a) if isinstance(a, Var) else None
    if op is not None and op.op in ("add", "sub"):
        x, y = op.args
        if op.op == "add" and isinstance(x, Const):
            x, y = y, x
        if isinstance(y, Const):
            return x, int(y.value) * (1 if op.op == "add" else -1)
    return a, 0
