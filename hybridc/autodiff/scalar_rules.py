"""Adjoints of scalar operators, applied to numbers or elementwise to tensors: for each argument, what is added to its
adjoint. `m.x`, `m.x1` are the arguments, `m.y` is the result, `d` its adjoint; kinks and ties are torch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hybridc.base.types import BF16, F16, Prim
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import Atom, Const, Op
from hybridc.core.types import elem, rank

if TYPE_CHECKING:
    from hybridc.autodiff.reverse import Reverse

Axes = tuple["int | None", ...]


class Pass(Protocol):
    """What a rule asks of the pass that applies it: forward mode or reverse mode."""

    b: Builder

    def need(self, a: Atom) -> Atom: ...

    def twin(self, op: Op, name: str) -> Atom | None:
        """What another operator makes of the same arguments, where the program has it anyway."""


@dataclass(frozen=True)
class Elem:
    """An operand of elementwise arithmetic: `axes` are its axes beside those of the whole result, as in `map`."""

    m: Elementwise
    atom: Atom
    axes: Axes

    def __add__(self, other: Elem | float) -> Elem:
        return self.m.op("add", self, other)

    def __sub__(self, other: Elem | float) -> Elem:
        return self.m.op("sub", self, other)

    def __mul__(self, other: Elem | float) -> Elem:
        return self.m.op("mul", self, other)

    def __truediv__(self, other: Elem | float) -> Elem:
        return self.m.op("div", self, other)

    def __neg__(self) -> Elem:
        return self.m.op("neg", self)

    def __rsub__(self, other: float) -> Elem:
        return self.m.op("sub", self.m.const(other), self)


class Elementwise:
    """One use of an elementwise operator."""

    def __init__(self, r: Pass, op: Op):
        self.r = r
        self.op_ = op
        out = op.outs[0]
        self.rank = rank(out.type)
        self.kind: Prim = elem(out.type)
        axes = op.attr("axes")
        none: Axes = ()
        self.axes: Sequence[Axes] = axes if isinstance(axes, tuple) else [none] * len(op.args)

    @property
    def x(self) -> Elem:
        return self.argument(0)

    @property
    def x1(self) -> Elem:
        return self.argument(1)

    @property
    def y(self) -> Elem:
        return self.whole(self.r.need(self.op_.outs[0]))

    def argument(self, i: int) -> Elem:
        return Elem(self, self.r.need(self.op_.args[i]), self.axes[i])

    def whole(self, atom: Atom) -> Elem:
        return Elem(self, atom, tuple(range(self.rank)) if rank(atom.type) else (None,) * self.rank)

    def const(self, value: float) -> Elem:
        return Elem(self, Const(float(value), self.kind), (None,) * self.rank)

    def op(self, name: str, *operands: Elem | float, to: Prim | None = None) -> Elem:
        """A scalar operator on operands that broadcast."""
        xs = [x if isinstance(x, Elem) else self.const(x) for x in operands]
        if name in ("mul", "div") and _is(xs[1], 1):
            return xs[0]
        if name == "mul" and _is(xs[0], 1):
            return xs[1]
        used = [i for i in range(self.rank) if any(x.axes[i] is not None for x in xs)]
        place = {i: k for k, i in enumerate(used)}
        axes: Axes = tuple(place.get(i) for i in range(self.rank))
        beside: list[Axes] = [tuple(x.axes[i] for i in used) for x in xs]
        return Elem(self, t.map(self.r.b, name, [x.atom for x in xs], beside if used else None, to), axes)

    def beside(self, name: str) -> Elem:
        """Another operator of the argument, once more only if it was not computed before."""
        found = self.r.twin(self.op_, name)
        return self.op(name, self.x) if found is None else self.whole(found)

    def select(self, cond: Elem, a: Elem | float, b: Elem | float) -> Elem:
        return self.op("select", cond, a, b)



def _is(x: Elem, value: float) -> bool:
    return isinstance(x.atom, Const) and x.atom.value == value


Rule = Callable[[Elementwise, Elem], Elem]


def _pow_base(m: Elementwise, d: Elem) -> Elem:
    """y * x^(y - 1), 0 where y is."""
    exponent = m.x1
    if isinstance(exponent.atom, Const):
        p = float(exponent.atom.value)
        if p == 2:
            return d * (m.x * 2)
        if p == 1:
            return d
        if p == 0:
            return d * 0
        return d * (m.op("pow", m.x, p - 1) * p)
    slope = d * (exponent * m.op("pow", m.x, exponent - 1))
    return m.select(m.op("eq", exponent, 0), 0, slope)


def _pow_exponent(m: Elementwise, d: Elem) -> Elem:
    """x^y * log x, 0 where x is 0 and y is not negative."""
    flat = m.op("bit_and", m.op("eq", m.x, 0), m.op("ge", m.x1, 0))
    return m.select(flat, 0, d * (m.y * m.op("log", m.x)))


def _extreme(compare: str, other: str) -> tuple[Rule, Rule]:
    """Of minimum and maximum: at a tie each has half."""

    def mine(which: str) -> Rule:
        return lambda m, d: m.select(
            m.op(which, m.x, m.x1), d, m.select(m.op("eq", m.x, m.x1), d * 0.5, 0))

    return mine(compare), mine(other)


def _angle(m: Elementwise, d: Elem) -> Elem:
    """d over the square of the distance from 0; what is multiplied by it is 0 there."""
    square = m.x * m.x + m.x1 * m.x1
    return d / m.select(m.op("eq", square, 0), 1, square)


def _over(d: Elem, x: Elem) -> Elem:
    """d / x by the reciprocal of x, which is one for all that is divided by it, and there before d is. (It is infinite
    for denormal x; halves overflow long before.)"""
    return d / x if d.m.kind in (F16, BF16) else d * d.m.op("div", 1, x)


def _cast(m: Elementwise, d: Elem) -> Elem:
    return m.op("cast", d, to=elem(m.op_.args[0].type))


SCALAR_ADJOINTS: dict[str, tuple[Rule | None, ...]] = {
    "add": (lambda m, d: d, lambda m, d: d),
    "sub": (lambda m, d: d, lambda m, d: -d),
    "mul": (lambda m, d: d * m.x1, lambda m, d: d * m.x),
    "div": (lambda m, d: _over(d, m.x1), lambda m, d: -(_over(d, m.x1) * m.y)),
    "floordiv": (None, None),
    "mod": (lambda m, d: d, lambda m, d: -(d * m.op("floor", m.x / m.x1))),
    "pow": (_pow_base, _pow_exponent),
    "neg": (lambda m, d: -d,),
    "abs": (lambda m, d: d * m.op("sign", m.x),),
    "sign": (None,),
    "floor": (None,),
    "round": (None,),
    "minimum": _extreme("lt", "gt"),
    "maximum": _extreme("gt", "lt"),
    "select": (None, lambda m, d: m.select(m.x, d, 0), lambda m, d: m.select(m.x, 0, d)),
    "cast": (_cast,),
    "exp": (lambda m, d: d * m.y,),
    "expm1": (lambda m, d: d * (m.y + 1),),
    "log": (lambda m, d: d / m.x,),
    "log1p": (lambda m, d: d / (m.x + 1),),
    "sqrt": (lambda m, d: _over(d, m.y) * 0.5,),
    "rsqrt": (lambda m, d: d * (m.y * m.y * m.y) * -0.5,),
    "sin": (lambda m, d: d * m.beside("cos"),),
    "cos": (lambda m, d: -(d * m.beside("sin")),),
    "tan": (lambda m, d: d * (m.y * m.y + 1),),
    "asin": (lambda m, d: d * m.op("rsqrt", 1 - m.x * m.x),),
    "acos": (lambda m, d: -(d * m.op("rsqrt", 1 - m.x * m.x)),),
    "atan": (lambda m, d: d / (m.x * m.x + 1),),
    "atan2": (lambda m, d: _angle(m, d) * m.x1, lambda m, d: -(_angle(m, d) * m.x)),
    "tanh": (lambda m, d: d * (1 - m.y * m.y),),
    "sigmoid": (lambda m, d: d * (m.y * (1 - m.y)),),
    "erf": (lambda m, d: d * (m.op("exp", -(m.x * m.x)) * (2 / math.sqrt(math.pi))),),
}
"""None: the derivative is 0 everywhere it exists."""


def elementwise(r: Reverse, op: Op, d: Atom) -> None:
    """The adjoint of a scalar operator or of its `map`."""
    name = str(op.attr("fn")) if op.op == "map" else op.op
    m = Elementwise(r, op)
    if name == "mul" and op.args[0] == op.args[1] and m.axes[0] == m.axes[1] and r.is_active(op.args[0]):
        r.give(op.args[0], to_operand(r, m.whole(d) * (m.x * 2), op, 0))
        return
    for i, rule in enumerate(SCALAR_ADJOINTS[name]):
        if rule is not None and r.is_active(op.args[i]):
            r.give(op.args[i], to_operand(r, rule(m, m.whole(d)), op, i))


def to_operand(r: Reverse, e: Elem, op: Op, i: int) -> Atom:
    """Summed over the axes along which the operand does not vary, in the operand's shape."""
    operand = op.args[i]
    if e.m.rank == 0:
        return e.atom
    return collect(r, e.atom, e.axes, operand, e.m.axes[i], lambda k: r.sizes(op.outs[0])[k])


def collect(r: Reverse, x: Atom, have: Axes, operand: Atom, axes: Axes, size: Callable[[int], Atom]) -> Atom:
    """`x`, which varies along `have` of the axes of a result, summed to the shape of an operand that stands in that
    result by `axes`."""
    b = r.b
    missing = [i for i, a in enumerate(have) if a is None]
    if missing:  # the same along an axis of the result: as often as that is long, or broadcast along the operand's
        x = t.broadcast(b, x, have, [size(i) for i in range(len(have))])
    gone = [i for i, a in enumerate(axes) if a is None]
    x = t.reduce(b, "sum", x, gone)
    if rank(operand.type) != rank(x.type):
        x = t.reshape(b, x, r.sizes(operand))
    return x
