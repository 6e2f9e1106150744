"""Loops whose tape would be larger than HYB_TAPE bytes, known how often they turn or not.

The first turns, as many as the tape may hold, are as ever. Those that follow are divided in segments of 1, 2, 3, ...
turns, each a call of which a derivative keeps the arguments alone and computes the rest again (`checkpoint`). So after
n turns there are about sqrt(2 n) states, and at any time the records of one segment, of about as many turns. What has
an effect is not done twice: a loop that prints or calls the host stays as it is.

A loop becomes a function `(state, captured, limit) -> (ended, state, results)`, differentiated once for both uses.
"""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.autodiff.tangent import Tangents
from hybridc.base.immutable import replace
from hybridc.base.names import unused
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, boolean, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    Atom,
    Block,
    Call,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Prim,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import without_dims
from hybridc.core.walk import free_vars, highest_id, highest_label, map_blocks, outs_of, statements

WORD = 8
"""Bytes of a number in a record, about."""


def segmented(fn: Fn, tangents: Tangents, budget: int) -> tuple[Fn, list[str]]:
    """The function, in the form of structure.py, with such loops; and the names of functions that are the program's
    from now on, for their turns."""
    segments = _Segments(fn, tangents, budget)
    return replace(fn, body=segments.block(fn.body)), segments.made


class _Segments:
    def __init__(self, fn: Fn, tangents: Tangents, budget: int):
        self.fn = fn
        self.tangents = tangents
        self.program = tangents.program
        self.budget = budget
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.made: list[str] = []

    def block(self, block: Block) -> Block:
        self.b.open()
        for s in block.stmts:
            s = map_blocks(s, self.block)
            if isinstance(s, Loop) and self.fits(s):
                self.b.span = s.span
                self.loop(s)
            else:
                self.b.add(s)
        return self.b.close(block.tail)

    def fits(self, s: Loop) -> bool:
        """Is there something to save, and no effect?"""
        floats = any(self.tangents.active(v.type) for each in statements(s.body) for v in outs_of(each))
        return floats and not self.effects(s.body, set())

    def effects(self, block: Block, seen: set[str]) -> bool:
        for s in statements(block):
            if isinstance(s, Op) and s.op == "host":
                return True
            if isinstance(s, Call) and s.fn not in seen:
                seen.add(s.fn)
                if self.effects(self.program.fns[s.fn].body, seen):
                    return True
        return False

    # ---- one loop
    def loop(self, s: Loop) -> None:
        b = self.b
        captured = [v for v in free_vars(s.body) if v not in s.params]
        state = [without_dims(p.type) for p in s.params]
        results = [BOOL, *state, *(without_dims(o.type) for o in s.outs)]
        first, again = self.functions(s, captured, results)
        ended, *rest = b.call(first, [*s.inits, *captured, self.first_turns(s, captured)], results)
        label = b.label()
        done, length = b.var(BOOL), b.var(INT)
        now, gives = [b.var(k) for k in state], [b.var(without_dims(o.type)) for o in s.outs]
        b.open()
        b.add(If((), done, Block((), Exit(label, tuple(gives))), Block((), Yield()), s.span))
        found = b.call(again, [*now, *captured, length], results)
        longer = b.op("add", [length, integer(1)], INT)
        turn = b.close(Yield((found[0], longer, *found[1:])))
        b.add(Loop(s.outs, label, (done, length, *now, *gives), (ended, integer(1), *rest), turn, s.span))

    def functions(self, s: Loop, captured: list[Var], results: list[Type]) -> tuple[str, str]:
        """The turns of a loop up to a limit, and the same as a checkpoint."""
        b = self.b
        n = len(s.params)
        given = [b.var(p.type, p.name) for p in s.params]
        limit, left = b.var(INT, "limit"), b.var(INT, "left")
        outs = [b.var(k) for k in results]

        def inner(block: Block) -> Block:
            b.open()
            for each in block.stmts:
                b.add(map_blocks(each, inner) if isinstance(each, If | Match) else each)
            tail = block.tail
            if isinstance(tail, Exit) and tail.label == s.label:
                tail = Exit(s.label, (boolean(True), *self.zeros(results[1 : n + 1]), *tail.values))
            return b.close(tail)

        b.open()
        over = b.op("le", [left, integer(0)], BOOL)
        b.open()
        stop = b.close(Exit(s.label, (boolean(False), *s.params, *self.zeros(results[n + 1 :]))))
        b.add(If((), over, stop, Block((), Yield())))
        body = inner(s.body)
        for each in body.stmts:
            b.add(each)
        tail = body.tail
        if isinstance(tail, Yield):
            tail = Yield((*tail.values, b.op("sub", [left, integer(1)], INT)))
        turns = b.close(tail)
        b.open()
        b.add(Loop(tuple(outs), s.label, (*s.params, left), (*given, limit), turns, s.span))
        whole = b.close(Exit(RETURN, tuple(outs)))
        params = (*given, *captured, limit)
        name = self.claim(f"{self.fn.name} turns")
        self.program.fns[name] = Fn(name, params, tuple(results), whole, self.fn.title, True, s.span)
        again = self.claim(f"{self.fn.name} segment")
        b.open()
        body = b.close(Exit(RETURN, tuple(b.call(name, params, results))))
        self.program.fns[again] = Fn(again, params, tuple(results), body, self.fn.title, True, s.span, checkpoint=True)
        return name, again

    def claim(self, name: str) -> str:
        unique = unused(name, self.program.fns)
        self.made.append(unique)
        return unique

    def zeros(self, types: Iterable[Type]) -> list[Atom]:
        return [self.tangents.zero(self.b, k) if k not in (BOOL, INT) else boolean(False) if k == BOOL else integer(0)
                for k in types]

    def first_turns(self, s: Loop, captured: list[Var]) -> Atom:
        """How many turns the tape may hold: by what a turn computes, where tensors of unknown size are taken to be as
        large as the largest that the loop is given."""
        made = [v.type for each in statements(s.body) for v in outs_of(each)]
        known = sum(WORD * _elements(k) for k in made)
        unknown = sum(isinstance(k, TensorT) and None in k.dims for k in made)
        b = self.b
        largest: Atom = integer(0)
        for x in (*s.inits, *captured) if unknown else ():
            if isinstance(x.type, TensorT) and None in x.type.dims and isinstance(x, Var):
                largest = b.op("maximum", [largest, t.product(b, t.dims(b, x))], INT)
        size = b.op("add", [b.op("mul", [largest, integer(WORD * unknown)], INT), integer(known + 1)], INT)
        return b.op("maximum", [b.op("floordiv", [integer(self.budget), size], INT), integer(1)], INT)


def _elements(kind: Type) -> int:
    """Numbers in a value of the type, as far as it says."""
    if isinstance(kind, TensorT):
        return 0 if None in kind.dims else _product(kind.dims)
    return 1 if isinstance(kind, Prim) else 2


def _product(sizes: Iterable[int | None]) -> int:
    found = 1
    for n in sizes:
        found *= n or 1
    return found
