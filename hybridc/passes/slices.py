"""A window that a loop moves over a tensor, `x[i - 1:i + 2, j - 1:j + 2]`, is so many elements.

A slice is cut off at the ends of its axis, so the size of a window is known only when it is taken: each would be a
tensor of its own, and what is computed of it a loop. Where an innermost counted loop takes windows whose bounds differ
by a constant and move evenly, it is written twice: for when all of them lie within the tensor, which is found out at
both ends before it begins, with windows as small tensors made of their elements (passes/scalars.py), and as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from hybridc.base.immutable import replace
from hybridc.core.builder import Builder, FreshBuilder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    Const,
    Fn,
    If,
    Loop,
    Op,
    Parallel,
    Program,
    Stmt,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.types import LARGEST, PLAIN
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
    with_body,
)
from hybridc.passes.counted import Counted, counted, innermost, within
from hybridc.passes.each import each

MOST = 100
"""Statements of a loop that is worth writing twice."""
FAR = 1 << 32


@dataclass(frozen=True)
class Sum:
    """Atoms times constants, and a constant."""

    terms: tuple[tuple[Atom, int], ...]
    more: int

    def __sub__(self, other: Sum) -> Sum:
        terms = dict(self.terms)
        for a, n in other.terms:
            terms[a] = terms.get(a, 0) - n
        return Sum(tuple((a, n) for a, n in terms.items() if n), self.more - other.more)


@dataclass(frozen=True)
class Axis:
    """What a window takes of an axis: from where on, and how many, or the one that is there (`one`)."""

    start: Atom
    size: int
    one: bool


def run(program: Program) -> Program:
    """Every function with the loops that move windows in two versions."""
    return each(program, "slices", lambda fn: _Slices(fn).run(), needs=["index"])


class _Slices:
    def __init__(self, fn: Fn):
        self.fn = fn

    def run(self) -> Fn:
        if not any(isinstance(s, Op) and _sliced(s) for s in statements_in(self.fn)):
            return self.fn
        self.made = {s.outs[0]: s for s in statements_in(self.fn) if isinstance(s, Op) and len(s.outs) == 1}
        self.fresh = Freshener(highest_id(self.fn) + 1, highest_label(self.fn) + 1)
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Loop) and innermost(stmt, (Parallel,)):
                out += self.loop(stmt)
            else:
                out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, b.tail)

    def loop(self, loop: Loop) -> Sequence[Stmt]:
        turn = counted(loop)
        if turn is None or count(loop.body) > MOST:
            return [loop]
        inside = within(loop)
        windows = {
            s.outs[0]: axes for s in statements(loop.body)
            if isinstance(s, Op) and _sliced(s) and (axes := self.axes(s, turn, inside)) is not None
        }
        if not windows:
            return [loop]
        b = FreshBuilder(self.fresh)
        b.span = loop.span
        b.open()
        safe = self.guard(b, loop, turn, windows)
        flat = {x: _flat(b, x) for x in dict.fromkeys(self.made[w].args[0] for w in windows)}
        before = b.close(Yield()).stmts
        quick = replace(loop, body=_written(loop.body, windows, flat, b))
        then, orelse = (self.fresh.copy(Block((v,), Yield(loop.outs)), {}, {}) for v in (quick, loop))
        return [*before, If(loop.outs, safe, then, orelse, loop.span)]

    def axes(self, op: Op, turn: Counted, inside: set[int]) -> tuple[Axis, ...] | None:
        """What a slice takes, if it is small and known how it moves."""
        x, *numbers = op.args
        if not isinstance(x, Var) or x.id in inside:
            return None
        found: list[Axis] = []
        for kind in op.attr("kinds"):  # type: ignore[attr-defined]
            given = [numbers.pop(0) for _ in kind]
            if kind == "i":
                axis = Axis(given[0], 1, True)
            elif kind in ("ab", "b"):
                start, stop = given if kind == "ab" else (integer(0), given[0])
                width = self.sum(stop) - self.sum(start)
                axis = Axis(start, width.more, False)
                if width.terms or isinstance(start, Const) and start.value < 0:
                    return None
            else:
                return None
            moves = self.sum(axis.start)
            steps = [n for a, n in moves.terms if a == turn.index]
            others = [a for a, _ in moves.terms if a != turn.index and isinstance(a, Var) and a.id in inside]
            if others or steps and not 0 < steps[0] < FAR:
                return None
            found.append(axis)
        sizes = [a.size for a in found if not a.one]
        return tuple(found) if all(n > 0 for n in sizes) and prod(sizes) <= LARGEST else None

    def sum(self, a: Atom) -> Sum:
        """What an int is made of; sums wrap, as the ints do."""
        if isinstance(a, Const):
            return Sum((), int(a.value))
        op = self.made.get(a)
        if op is not None and op.op in ("add", "sub"):
            x, y = map(self.sum, op.args)
            return x - y if op.op == "sub" else x - (Sum((), 0) - y)
        if op is not None and op.op == "mul" and any(isinstance(x, Const) for x in op.args):
            factor, by = op.args if isinstance(op.args[1], Const) else op.args[::-1]
            n = int(by.value)  # type: ignore[union-attr]
            if 0 < n < FAR:
                inner = self.sum(factor)
                return Sum(tuple((t, m * n) for t, m in inner.terms), inner.more * n)
        return Sum(((a, 1),), 0)

    # ---- before the loop
    def guard(self, b: Builder, loop: Loop, turn: Counted, windows: Mapping[Var, Sequence[Axis]]) -> Atom:
        """Do all windows lie within their tensors at every turn, and is there one? A window that is there at both ends,
        and goes forward by no more turns than there are places, cannot have wrapped in between."""
        parts: dict[tuple[object, ...], Atom] = {}
        first, last = loop.inits[turn.place], b.op("sub", [turn.stop, integer(1)], INT)
        turns = b.op("sub", [turn.stop, first], INT)
        some = b.op("ge", [turns, integer(1)], BOOL)
        for window, axes in windows.items():
            x = self.made[window].args[0]
            for i, axis in enumerate(axes):
                moves = self.sum(axis.start)
                key = (x, i, moves, axis.size)
                if key in parts:
                    continue
                size = b.op("dim", [x], INT, axis=i)
                room = b.op("sub", [size, integer(axis.size)], INT)
                low = _at(b, moves, turn.index, first)
                fits = b.op("ge", [low, integer(0)], BOOL)
                if any(a == turn.index for a, _ in moves.terms):
                    low = _at(b, moves, turn.index, last)
                    few = b.op("le", [turns, size], BOOL)
                    ends = b.op("bit_and", [few, b.op("ge", [low, integer(0)], BOOL)], BOOL)
                    fits = b.op("bit_and", [fits, ends], BOOL)
                parts[key] = b.op("bit_and", [fits, b.op("le", [low, room], BOOL)], BOOL)
        for part in parts.values():
            some = b.op("bit_and", [some, part], BOOL)
        return some


def _sliced(op: Op) -> bool:
    """Does it take a part whose size is not known?"""
    if op.op != "index":
        return False
    kinds, x, part = op.attr("kinds"), op.args[0].type, op.outs[0].type
    assert isinstance(kinds, tuple) and isinstance(x, TensorT)
    unknown = isinstance(part, TensorT) and None in part.dims
    return unknown and any("b" in k for k in kinds) and not x.device and x.elem in PLAIN


def _at(b: Builder, moves: Sum, index: Var, value: Atom) -> Atom:
    """The sum with a value for the index."""
    total: Atom = integer(moves.more)
    for a, n in moves.terms:
        term = value if a == index else a
        total = b.op("add", [total, term if n == 1 else b.op("mul", [term, integer(n)], INT)], INT)
    return total


def _flat(b: Builder, x: Atom) -> tuple[Atom, list[Atom]]:
    """All elements of a tensor in one row, and the sizes of its axes."""
    t = x.type
    assert isinstance(t, TensorT)
    sizes: list[Atom] = [integer(n) if n is not None else b.op("dim", [x], INT, axis=i) for i, n in enumerate(t.dims)]
    if len(sizes) == 1:
        return x, sizes
    total = sizes[0]
    for n in sizes[1:]:
        total = b.op("mul", [total, n], INT)
    return b.op("reshape", [x, total], TensorT(t.elem, (None,)), fits=True), sizes


def _written(
    body: Block, windows: Mapping[Var, Sequence[Axis]], flat: Mapping[Atom, tuple[Atom, list[Atom]]], b: Builder
) -> Block:
    """With the windows made of their elements."""
    instead: dict[Var, Atom] = {}

    def inner(block: Block) -> Block:
        b.open()
        for stmt in block.stmts:
            axes = windows.get(stmt.outs[0]) if isinstance(stmt, Op) and stmt.outs else None
            if axes is None:
                b.add(map_blocks(stmt, inner))
                continue
            assert isinstance(stmt, Op)
            b.span = stmt.span
            instead[stmt.outs[0]] = _window(b, stmt, axes, *flat[stmt.args[0]])
        return b.close(block.tail)

    return substitute(inner(body), instead)


def _window(b: Builder, op: Op, axes: Sequence[Axis], row: Atom, sizes: Sequence[Atom]) -> Atom:
    t = op.outs[0].type
    assert isinstance(t, TensorT)
    elements: list[Atom] = []
    for at in product(*(range(a.size) for a in axes[:-1])):
        start: Atom = integer(0)
        for axis, n, k in zip(axes, sizes, (*at, 0), strict=True):
            place = axis.start if not k else b.op("add", [axis.start, integer(k)], INT)
            start = place if start == integer(0) else b.op("add", [b.op("mul", [start, n], INT), place], INT)
        few = axes[-1].size
        line = b.op("tensor_view", [row, start, integer(few)], TensorT(t.elem, (few,)))
        elements += [b.op("index", [line, integer(i)], t.elem, kinds=("i",)) for i in range(few)]
    return b.op("tensor", elements, TensorT(t.elem, tuple(a.size for a in axes if not a.one)))
