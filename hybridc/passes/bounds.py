"""Checks of indices taken out of counted loops.

In `for i in range(a, b)` a check of `i`, of `i + c` or of something that stays the same can only fail at one end, and
so can one of `a + i * step`, which a range with a step is made of. Where an innermost loop makes such checks, it is
written twice: as it is, and without them for when both ends are in range, which is found out before it begins. Faults
stay where they were, and a loop without checks can be vectorised. So it is with the question whether a buffer that only
grows, as adjoints do, has room for element `i`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    BufferT,
    Const,
    Fn,
    If,
    Loop,
    Op,
    Parallel,
    Prim,
    Program,
    Stmt,
    Var,
    Yield,
)
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
    uses,
)
from hybridc.passes.counted import Counted, counted, innermost, within
from hybridc.passes.each import each
from hybridc.passes.invariant import hoisted
from hybridc.passes.rows import Rows, less, rows
from hybridc.passes.simplify import simplify_fn
from hybridc.passes.split import split

ROUNDS = 2
LARGEST = 150
"""Statements of a loop that is worth writing twice."""
LARGEST_THRICE = 60
"""And of one that is written three times: without its checks, without those that every turn makes, and as it is."""


def run(program: Program) -> Program:
    """Every function with the innermost counted loops that check indices in two versions."""
    return each(program, "bounds", lambda fn: _Versions(fn, program).run())


@dataclass(frozen=True)
class _Affine:
    """index + more, or index - more (`sign`); or, without the index, a value that stays the same; or the sum of the
    terms of `falling`, each with its sign, of which the last is the index, less; or index * times + more, where the
    index begins at 0."""

    moves: bool
    more: Atom
    sign: int = 1
    falling: tuple[tuple[Atom, int], ...] = ()
    times: Atom | None = None


Checks = dict[int, tuple[_Affine, Atom]]
"""For each check, by what it defines: what of, and the length."""


class _Versions:
    def __init__(self, fn: Fn, program: Program):
        self.fn = fn
        self.program = program
        self.guards = 0
        """How many loops have two versions. Some guards are known beforehand, and the function is simplified then."""
        self.parts: set[int] = set()
        """The labels of loops that are parts of others."""

    def run(self) -> Fn:
        if not any(isinstance(s, Op) and s.op in ("place", "buffer_resize") for s in statements_in(self.fn)):
            return self.fn
        self.fresh = Freshener(highest_id(self.fn) + 1, highest_label(self.fn) + 1)
        ops = [s for s in statements_in(self.fn) if isinstance(s, Op) and len(s.outs) == 1]
        self.made = {s.outs[0]: s for s in ops}
        self.places = frozenset[Atom](s.outs[0] for s in ops if s.op == "place")
        body = self.block(self.fn.body)
        return simplify_fn(replace(self.fn, body=body), self.program) if self.guards else self.fn

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Loop) and innermost(stmt, (Parallel,)):
                out += self.loop(hoisted(stmt, out), ROUNDS, self.places)
            else:
                out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, b.tail)

    def loop(self, loop: Loop, rounds: int, places: frozenset[Atom]) -> Sequence[Stmt]:
        """The loop in versions, and the one without checks once more: what it reads at every turn is now known before
        it begins, such as the length of a row. `places` lie within their buffers."""
        turn = counted(loop)
        if turn is None or count(loop.body) > LARGEST or not rounds:
            return [loop]
        at_hand = rows(loop, self.program, self.fresh, places, self.made)
        if at_hand is not None:
            return self.at_hand(loop, turn, at_hand, rounds, places)
        checks = _checks(loop, turn)
        if not checks:
            return [loop]
        always = {o.id for s in loop.body.stmts if isinstance(s, Op) for o in s.outs}
        rest: Sequence[Stmt] = [loop]
        if count(loop.body) <= LARGEST_THRICE:
            some = {v: check for v, check in checks.items() if v in always}
            if some and set(some.values()) < set(checks.values()):
                # A check that stands in a branch may be true there only: x[i - 1] if i > 0.
                rest = self.unchecked(loop, turn, some, rest, 1, places)
        return self.unchecked(loop, turn, checks, rest, rounds, places)

    def unchecked(self, loop: Loop, turn: Counted, checks: Checks, rest: Sequence[Stmt], rounds: int,
                  places: frozenset[Atom]) -> Sequence[Stmt]:
        """The loop without the checks where they hold at every turn, else `rest`."""
        out: list[Stmt] = []
        safe = self.guard(loop, turn, checks, out)
        body, known = _without(loop.body, checks)
        before: list[Stmt] = []
        held = places.union(affine.more for affine, n in checks.values() if not affine.moves and n.type == INT)
        without = hoisted(self.passed(replace(loop, body=body), turn, held, before), before, known)
        parts = [] if loop.label in self.parts else split(without, self.fresh)
        quick = self.each(parts, held) if parts else self.loop(without, rounds - 1, held)
        self.two(loop, safe, [*before, *quick], rest, out)
        return out

    def each(self, parts: Sequence[Stmt], held: frozenset[Atom]) -> Sequence[Stmt]:
        """The parts of a loop, each of which may have fewer checks than all. They are not split again."""
        self.parts.update(part.label for part in parts if isinstance(part, Loop))
        return [s for part in parts for s in (self.loop(part, 1, held) if isinstance(part, Loop) else [part])]

    def passed(self, loop: Loop, turn: Counted, held: frozenset[Atom], before: list[Stmt]) -> Loop:
        """The loop without checks, and without what it reads in a buffer before all places that it writes there:
        `a[i][k]` in `for j in range(k + 1, n): a[i][j] -= a[i][k] * a[k][j]`."""
        read: dict[Var, Atom] = {}
        start = loop.inits[turn.place]
        for i, init in enumerate(loop.inits):
            for get in _reads(loop, i, turn.index):
                if get.args[1] in held and less(get.args[1], start, self.made):
                    read[get.outs[0]] = now = self.fresh.var(get.outs[0])
                    before.append(Op((now,), "buffer_get", (init, get.args[1]), (), get.span))
        if not read:
            return loop
        kept = tuple(s for s in loop.body.stmts if not (isinstance(s, Op) and s.outs[:1] and s.outs[0] in read))
        return replace(loop, body=substitute(replace(loop.body, stmts=kept), read))

    def at_hand(
        self, loop: Loop, turn: Counted, at_hand: Rows, rounds: int, places: frozenset[Atom]
    ) -> Sequence[Stmt]:
        """The loop with its rows at hand, where they are different ones."""
        self.guards += 1
        before = list(at_hand.before)
        inner = hoisted(at_hand.loop, before)
        quick = [*before, *self.loop(inner, rounds, places), *at_hand.after]
        if not at_hand.apart and not at_hand.entered:
            return quick
        out: list[Stmt] = []
        apart = [self.op(out, loop, "ne", p, q) for p, q in at_hand.apart]
        if at_hand.entered:
            apart.append(self.op(out, loop, "lt", loop.inits[turn.place], turn.stop))
        self.two(loop, self.all_of(apart, loop, out), quick, [loop], out)
        return out

    def two(self, loop: Loop, safe: Atom, quick: Sequence[Stmt], rest: Sequence[Stmt], out: list[Stmt]) -> None:
        """`quick` where that is safe, else `rest`; each gives what the loop gives."""
        self.guards += 1

        def version(stmts: Sequence[Stmt]) -> Block:
            return self.fresh.copy(Block(tuple(stmts), Yield(loop.outs)), {}, {})

        out.append(If(loop.outs, safe, version(quick), version(rest), loop.span))

    def op(self, out: list[Stmt], loop: Loop, name: str, *args: Atom) -> Atom:
        result = self.fresh.var(Var(0, BOOL if name in ("ge", "lt", "le", "ne", "bit_and") else INT))
        out.append(Op((result,), name, args, (), loop.span))
        return result

    def guard(self, loop: Loop, turn: Counted, checks: Checks, out: list[Stmt]) -> Atom:
        """Is every index in range at every turn? No sum below can wrap where the answer is yes."""
        start, zero = loop.inits[turn.place], Const(0, INT)
        parts: list[Atom] = []
        if start != zero and any(a.moves and (a.more != zero or a.falling) for a, _ in checks.values()):
            parts.append(self.op(out, loop, "ge", start, zero))
        turns: Atom | None = None
        for affine, length in dict.fromkeys(checks.values()):
            if isinstance(length.type, BufferT):
                length = self.op(out, loop, "buffer_len", length)
            if not affine.moves:
                parts += [self.op(out, loop, "ge", affine.more, zero), self.op(out, loop, "lt", affine.more, length)]
                continue
            if turns is None:
                turns = self.op(out, loop, "sub", turn.stop, start)
            if affine.times is not None:
                parts += self.steps(loop, affine.more, affine.times, turns, length, out)
                continue
            if affine.falling:
                high: Atom = zero
                for term, sign in affine.falling:
                    first = start if term == turn.index else term
                    high = self.op(out, loop, "add" if sign > 0 else "sub", high, first)
                parts += [self.op(out, loop, "ge", high, zero), self.op(out, loop, "lt", high, length),
                          self.op(out, loop, "le", turns, self.op(out, loop, "add", high, Const(1, INT)))]
                continue
            how = "add" if affine.sign > 0 else "sub"
            low = start if affine.more == zero else self.op(out, loop, how, start, affine.more)
            if affine.sign < 0 and not isinstance(affine.more, Const):
                # start - more would wrap for a very negative one.
                parts.append(self.op(out, loop, "ge", affine.more, zero))
            parts.append(self.op(out, loop, "ge", low, zero))
            parts.append(self.op(out, loop, "le", turns, self.op(out, loop, "sub", length, low)))
        return self.all_of(parts, loop, out)

    def steps(self, loop: Loop, first: Atom, step: Atom, turns: Atom, length: Atom, out: list[Stmt]) -> list[Atom]:
        """Is `first`, with this step added at every turn, in range? Asked by a division, which cannot wrap."""
        zero, one = Const(0, INT), Const(1, INT)
        room = self.op(out, loop, "sub", self.op(out, loop, "sub", length, one), first)
        by = self.op(out, loop, "maximum", step, one)
        most = self.op(out, loop, "add", self.op(out, loop, "floordiv", room, by), one)
        return [self.op(out, loop, "ge", first, zero), self.op(out, loop, "ge", step, one),
                self.op(out, loop, "ge", room, zero), self.op(out, loop, "le", turns, most)]

    def all_of(self, parts: Sequence[Atom], loop: Loop, out: list[Stmt]) -> Atom:
        whole = parts[0]
        for part in parts[1:]:
            whole = self.op(out, loop, "bit_and", whole, part)
        return whole


def _checks(loop: Loop, turn: Counted) -> Checks:
    """For each check that can be made before the loop: what of, and the length."""
    inside = within(loop)
    made = {s.outs[0].id: s for s in statements(loop.body) if isinstance(s, Op) and len(s.outs) == 1}
    found: Checks = {}
    for s in statements(loop.body):
        if isinstance(s, Op) and s.op == "place" and not _moves(s.args[1], inside):
            affine = _affine(s.args[0], turn, inside, made)
            if affine is not None:
                found[s.outs[0].id] = affine, s.args[1]
    for param, start in zip(loop.params, loop.inits, strict=True):
        numbers = isinstance(param.type, BufferT) and isinstance(param.type.item, Prim)
        asked = _room_for(loop, param) if numbers else []
        indices = [_affine(s.args[0], turn, inside, made) for s in asked]
        if None not in indices:
            found.update((s.outs[0].id, (i, start)) for s, i in zip(asked, indices, strict=True) if i is not None)
    return found


def _room_for(loop: Loop, param: Var) -> list[Op]:
    """The comparisons of an index with the length of a buffer that grows only where one of these does not hold."""
    grows: set[Atom] = {param}
    lengths: set[Atom] = set()
    asked: dict[Atom, Op] = {}
    other = 0

    def inner(b: Block, missing: bool) -> None:
        nonlocal other
        for s in b.stmts:
            match s:
                case Op((out,), "buffer_len", args) if args[0] in grows:
                    lengths.add(out)
                case Op((out,), "lt", args) if args[1] in lengths:
                    asked[out] = s
                case Op((out, *_), "buffer_take" | "buffer_set", args) if args[0] in grows:
                    grows.add(out)
                    other += any(a in grows for a in args[1:])
                case Op(_, "buffer_get", args) if args[0] in grows:
                    pass
                case Op((out,), "buffer_resize", args) if args[0] in grows and missing:
                    grows.add(out)
                case If(outs, cond, then, orelse):
                    inner(then, missing)
                    inner(orelse, missing or cond in asked)
                    for i, out in enumerate(outs):
                        arms = [t.tail.values[i] for t in (then, orelse) if isinstance(t.tail, Yield) and t.tail.values]
                        if any(a in grows for a in arms):
                            other += not all(a in grows for a in arms)
                            grows.add(out)
                case _:
                    other += any(a in grows for a in uses(Block((s,), Yield())))
    inner(loop.body, False)
    again = loop.body.tail.values
    ended = [v for v, p in zip(again, loop.params, strict=True) if (p == param) != (v in grows)]
    return [] if other or ended or len(grows) == 1 else list(asked.values())


def _moves(a: Atom, inside: set[int]) -> bool:
    return isinstance(a, Var) and a.id in inside


def _affine(a: Atom, turn: Counted, inside: set[int], made: dict[int, Op]) -> _Affine | None:
    if not _moves(a, inside):
        return _Affine(False, a)
    if a == turn.index:
        return _Affine(True, Const(0, INT))
    assert isinstance(a, Var)
    op = made.get(a.id)
    if op is not None and op.op == "mul":
        return _scaled(a, Const(0, INT), turn, inside, made)
    if op is None or op.op not in ("add", "sub"):
        return None
    x, y = op.args
    scaled = _scaled(x, y, turn, inside, made) if op.op == "add" else None
    if scaled is not None:
        return scaled
    if op.op == "add" and y == turn.index:
        x, y = y, x
    if x != turn.index or _moves(y, inside):
        return _falling(a, turn, inside, made)
    if isinstance(y, Const) and abs(int(y.value)) >> 32:
        return None
    return _Affine(True, y, 1 if op.op == "add" else -1)


def _scaled(x: Atom, y: Atom, turn: Counted, inside: set[int], made: dict[int, Op]) -> _Affine | None:
    """index * times + more."""
    if not _moves(x, inside):
        x, y = y, x
    op = made.get(x.id) if isinstance(x, Var) else None
    if op is None or op.op != "mul" or _moves(y, inside) or not turn.from_zero:
        return None
    index, times = op.args if op.args[0] == turn.index else op.args[::-1]
    return _Affine(True, y, times=times) if index == turn.index and not _moves(times, inside) else None


def _falling(a: Atom, turn: Counted, inside: set[int], made: dict[int, Op]) -> _Affine | None:
    """Of what stays the same minus the index, and of that plus or minus what stays the same."""
    terms: list[tuple[Atom, int]] = []
    while isinstance(a, Var) and (op := made.get(a.id)) is not None and op.op in ("add", "sub"):
        x, y = op.args
        sign = 1 if op.op == "add" else -1
        if sign > 0 and not _moves(x, inside):
            x, y = y, x
        if sign < 0 and y == turn.index and not _moves(x, inside):
            return _Affine(True, Const(0, INT), falling=(*terms, (x, 1), (y, -1)))
        if _moves(y, inside):
            return None
        terms.append((y, sign))
        a = x
    return None


def _reads(loop: Loop, which: int, index: Var) -> list[Op]:
    """What every turn reads in a buffer of numbers of which it changes no element but that at the index."""
    kin: set[Atom] = {loop.params[which]}
    found: list[Op] = []
    for s in loop.body.stmts:
        if isinstance(s, Op) and s.args[:1] and s.args[0] in kin:
            if s.op == "buffer_get" and isinstance(s.outs[0].type, Prim):
                found.append(s)
            elif s.op in ("buffer_take", "buffer_set") and s.args[1] == index:
                kin.add(s.outs[0])
    return found if loop.body.tail.values[which] in kin and len(kin) > 1 else []


def _without(body: Block, checks: Checks) -> tuple[Block, frozenset[int]]:
    """Without these checks; and the elements that every turn reads at places that were checked."""
    known = frozenset(
        s.outs[0].id
        for s in body.stmts
        if isinstance(s, Op) and s.op == "buffer_get" and isinstance(s.args[1], Var) and s.args[1].id in checks
    )
    instead: dict[Var, Atom] = {}

    def inner(b: Block) -> Block:
        kept: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Op) and stmt.outs and stmt.outs[0].id in checks:
                instead[stmt.outs[0]] = stmt.args[0] if stmt.op == "place" else Const(True, BOOL)
            else:
                kept.append(map_blocks(stmt, inner))
        return rebuilt(b, kept, b.tail)

    stripped = inner(body)
    # An index may itself be the place of another: what stands for it is looked up to the end.
    for v in instead:
        a = instead[v]
        while isinstance(a, Var) and a in instead:
            a = instead[a]
        instead[v] = a
    return substitute(stripped, instead), known
