"""Core of unknown origin made safe to run: what Core leaves to its containers is checked at every use.

Core that is well formed may still be wrong where no type says it: an index beyond a buffer, a dimension that a tensor
does not have, an enum that nobody made, a list that claims more elements than it has. Core that this compiler made does
none of this; in a stranger's,

- dimensions known beforehand are forgotten (but of tensors that are written out), so that sizes are compared,
- an operator that assumes something stands behind a test of it (`CHECKS`), and so does a `match`,
- what goes to Python, which reads values as their types say, is looked through first (passes/guard_values.py).

It runs after derivatives are written out, since what these assume of a stranger's functions is checked too. What
nobody can check, because only later passes make it, is refused by `refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from hybridc.base.immutable import replace
from hybridc.core.builder import Builder, integer
from hybridc.core.interface import Interface
from hybridc.core.ir import (
    BOOL,
    INT,
    STR,
    Atom,
    Block,
    Fault,
    Fn,
    Fused,
    Match,
    Op,
    Program,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.types import without_dims
from hybridc.core.walk import Freshener, bound_in, highest_id, highest_label, map_blocks, outs_of, statements_in
from hybridc.passes.guard_values import Values

MOST_DIGITS = 100_000
"""Of a number's text."""


def refused(program: Program) -> Iterator[str]:
    """What only passes make, and no check makes safe."""
    for fn in program.fns.values():
        vars_ = list(fn.params)
        for s in statements_in(fn):
            vars_ += [*outs_of(s), *bound_in(s)]
            if isinstance(s, Fused) or isinstance(s, Op) and OPS[s.op].late:
                yield f"{fn.name} holds {s.op if isinstance(s, Op) else 'a fused kernel'}, which only passes make"
            if isinstance(s, Op) and "p" in (s.attr("kinds") or ()):  # type: ignore[operator]
                yield f"{fn.name} has an index without a check, which only passes make"
            if isinstance(s, Op) and s.op == "host" and str(s.attr("name")).startswith("device."):
                yield f"{fn.name} asks for {s.attr('name')}, which only compiled code does"
        if any(isinstance(v.type, TensorT) and v.type.device for v in vars_):
            yield f"{fn.name} has values in a GPU's memory"


def run(program: Program, roots: Collection[str], interface: Interface) -> Program:
    """Every function with its checks; the `roots`, which are called from outside, check what they give."""
    values = Values(program, interface)
    fns = {name: _Guarded(_without_dims(fn), values).run() for name, fn in program.fns.items()}
    return values.outside(Program(program.structs, program.enums, fns), roots)


# ---- dimensions
class _Plain(Freshener):
    """Copies a body with types without dimensions, but for the variables that are `known`."""

    def __init__(self, fn: Fn, known: set[int]):
        super().__init__(0, highest_label(fn) + 1)
        self.known = known

    def var(self, v: Var) -> Var:
        return v if v.id in self.known else replace(v, type=without_dims(v.type))


def _without_dims(fn: Fn) -> Fn:
    known = {o.id for s in statements_in(fn) if isinstance(s, Op) and s.op == "tensor" for o in s.outs}
    plain = _Plain(fn, known)
    params = tuple(map(plain.var, fn.params))
    body = plain.copy(fn.body, dict(zip(fn.params, params)), {})  # type: ignore[arg-type]
    return replace(fn, params=params, results=tuple(map(without_dims, fn.results)), body=body)


# ---- tests, each a bool that must hold
class Tests(Builder):
    """What checks are made of."""

    def both(self, *conditions: Atom) -> Atom:
        first, *rest = conditions
        for c in rest:
            first = self.op("bit_and", [first, c], BOOL)
        return first

    def either(self, *conditions: Atom) -> Atom:
        first, *rest = conditions
        for c in rest:
            first = self.op("bit_or", [first, c], BOOL)
        return first

    def compare(self, op: str, a: Atom, b: Atom) -> Atom:
        return self.op(op, [a, b], BOOL)

    def within(self, start: Atom, count: Atom, size: Atom) -> Atom:
        """Do `count` elements from `start` on lie among `size`?"""
        room = self.op("sub", [size, count], INT)
        zero = integer(0)
        return self.both(self.compare("ge", start, zero), self.compare("ge", count, zero),
                         self.compare("le", count, size), self.compare("le", start, room))

    def length(self, buffer: Atom) -> Atom:
        return self.op("buffer_len", [buffer], INT)

    def dims(self, t: Atom) -> list[Atom]:
        assert isinstance(t.type, TensorT)
        return [self.op("dim", [t], INT, axis=i) for i in range(len(t.type.dims))]

    def empty(self, dims: list[Atom]) -> Atom:
        return self.either(*(self.compare("eq", d, integer(0)) for d in dims))

    def equal(self, xs: list[Atom], ys: list[Atom]) -> Atom:
        return self.both(*(self.compare("eq", x, y) for x, y in zip(xs, ys, strict=True)))


def _element(b: Tests, op: Op) -> Atom:
    return b.within(op.args[1], integer(1), b.length(op.args[0]))


def _first(b: Tests, op: Op) -> Atom:
    return b.within(integer(0), op.args[1], b.length(op.args[0]))


def _leading(b: Tests, op: Op) -> Atom:
    return b.within(integer(0), op.args[1], b.length(op.args[0]))


def _move(b: Tests, op: Op) -> Atom:
    whole, dst, src, n = op.args
    size = b.length(whole)
    return b.both(b.within(dst, n, size), b.within(src, n, size))


def _copy(b: Tests, op: Op) -> Atom:
    dst, at, src, start, n = op.args
    return b.both(b.within(at, n, b.length(dst)), b.within(start, n, b.length(src)))


def _compare(b: Tests, op: Op) -> Atom:
    x, y, n = op.args
    return b.both(b.within(integer(0), n, b.length(x)), b.within(integer(0), n, b.length(y)))


def _match(b: Tests, op: Op) -> Atom:
    return b.within(op.args[1], integer(4), b.length(op.args[0]))


def _find(b: Tests, op: Op) -> Atom:
    hay, start, n, needle, m = op.args
    zero = integer(0)
    return b.both(b.compare("ge", start, zero), b.within(zero, n, b.length(hay)), b.within(zero, m, b.length(needle)))


def _outside(b: Tests, op: Op) -> Atom:
    bytes_, start, n = op.args[:3]
    return b.within(start, b.op("sub", [n, start], INT), b.length(bytes_))


def _kept_text(b: Tests, op: Op) -> Atom:
    size = b.op("shr", [op.args[2], integer(56)], INT)
    return b.compare("lt", size, integer(16))


def _part(b: Tests, op: Op) -> Atom:
    return b.within(op.args[1], op.args[2], b.length(op.args[0]))


def _precision(b: Tests, op: Op) -> Atom:
    return b.within(integer(0), op.args[2], integer(MOST_DIGITS))


def _view(b: Tests, op: Op) -> Atom:
    vector, at, *sizes = op.args
    zero, good, count = integer(0), [], integer(1)
    for n in sizes:
        high, count = b.op("mulhi", [count, n], INT), b.op("mul", [count, n], INT)  # type: ignore[assignment]
        good += [b.compare("ge", n, zero), b.compare("eq", high, zero), b.compare("ge", count, zero)]
    return b.both(*good, b.within(at, count, *b.dims(vector)))


def _shaped(b: Tests, op: Op) -> Atom:
    t, *sizes = op.args
    have = b.dims(t)
    fits = b.both(*(b.compare("ge", n, integer(0)) for n in sizes))
    return b.both(fits, b.either(b.empty(have), b.equal(have, sizes)))


def _accumulate(b: Tests, op: Op) -> Atom:
    xs, ys = b.dims(op.args[0]), b.dims(op.args[1])
    return b.either(b.empty(xs), b.empty(ys), b.equal(xs, ys))


def _made(b: Tests, op: Op) -> Atom:
    return b.op("made", op.args, BOOL)


CHECKS: dict[str, Callable[[Tests, Op], Atom]] = {
    **dict.fromkeys(("buffer_get", "buffer_set", "buffer_take"), _element),
    **dict.fromkeys(("text_key", "stack", "join"), _first),
    "buffer_move": _move,
    "buffer_copy": _copy,
    "sort_words": _leading,
    **dict.fromkeys(("buffer_compare", "buffer_same"), _compare),
    "buffer_match": _match,
    "buffer_find": _find,
    "buffer_outside": _outside,
    "kept_text": _kept_text,
    "parse_float": _part,
    "format_float": _precision,
    "tensor_view": _view,
    "shaped": _shaped,
    "accumulate": _accumulate,
    "tag": _made,
}
"""Operators that assume something which they do not check."""


class _Guarded:
    def __init__(self, fn: Fn, values: Values):
        self.fn = fn
        self.values = values
        self.b = Tests(highest_id(fn) + 1, highest_label(fn) + 1)

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body))

    def block(self, block: Block) -> Block:
        b = self.b
        b.open()
        for s in block.stmts:
            b.span = getattr(s, "span", b.span)
            if isinstance(s, Op) and s.attr("fits"):
                s = replace(s, attrs=())  # a reshape that asks
            if isinstance(s, Op) and s.op in CHECKS:
                self.need(CHECKS[s.op](b, s), s.op)
            elif isinstance(s, Op) and s.op == "host":
                self.look_through(s.args)
            elif isinstance(s, Match):
                self.need(b.op("made", [s.subject], BOOL), "match")
            b.add(map_blocks(s, self.block))
        if isinstance(block.tail, Fault):
            self.look_through(block.tail.values)
        return b.close(block.tail)

    def need(self, condition: Atom, what: str) -> None:
        """A fault unless it holds."""
        b = self.b
        b.open()
        text = b.op("str", [], STR, text=f"the artifact's Core is wrong: {what} beyond what there is")
        fault = b.close(Fault("ValueError", (text,), b.span))
        b.if_(condition, Block((), Yield()), fault)

    def look_through(self, given: Collection[Atom]) -> None:
        for a in given:
            if check := self.values.check_of(a.type):
                self.b.call(check, [a], ())


