"""Elementwise functions, reductions, searches and losses to Core. Composites are expanded here, as in torch."""

from __future__ import annotations

import math
from collections.abc import Callable

from hybridc.base.types import BOOL, FLOATS
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer, Parts, Value
from hybridc.front.lower.tensor_base import (
    args,
    axis_of,
    elem,
    lowers,
    number,
    rank,
    require_equal,
    t,
    to_last,
    zip_map,
)


# ---- elementwise -----------------------------------------------------------------------------------------------------
@lowers("exp log sqrt rsqrt sin cos tan asin acos atan tanh sigmoid erf log1p expm1 abs sign")
def _scalar_function(lw: Lowerer, node: tree.Builtin) -> Value:
    return t.map(lw.b, node.name, args(lw, node))


@lowers("floor round")
def _rounded(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.map(lw.b, node.name, [x]) if elem(x.type) in FLOATS else x


@lowers("relu")
def _relu(lw: Lowerer, node: tree.Builtin) -> Value:
    """nan stays, and the derivative at 0 is 0."""
    (x,) = args(lw, node)
    zero = number(0, x)
    return t.map(lw.b, "select", [t.map(lw.b, "le", [x, zero]), zero, x], _select_axes(rank(x.type), (0, None, 0)))


def _select_axes(count: int, which: tuple[int | None, ...]) -> list[t.Axes]:
    """Axes of operands that are whole (0) or scalar (None)."""
    whole = tuple(range(count))
    return [(None,) * count if w is None else whole for w in which]


@lowers("gelu")
def _gelu(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    b = lw.b
    inner = t.map(b, "erf", [t.map(b, "mul", [x, number(math.sqrt(0.5), x)])])
    return t.map(b, "mul", [t.map(b, "mul", [x, number(0.5, x)]), t.map(b, "add", [inner, number(1, x)])])


@lowers("silu")
def _silu(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.map(lw.b, "mul", [x, t.map(lw.b, "sigmoid", [x])])


@lowers("softplus")
def _softplus(lw: Lowerer, node: tree.Builtin) -> Value:
    """log(1 + exp(x)), which beyond 20 is x itself, as in torch. What is not taken has no infinite exponential, since
    its derivative would be infinitely many times nothing."""
    (x,) = args(lw, node)
    b = lw.b
    large = t.map(b, "gt", [x, number(20, x)])
    near = t.map(b, "select", [large, number(0, x), x], _select_axes(rank(x.type), (0, None, 0)))
    return t.map(b, "select", [large, x, t.map(b, "log1p", [t.map(b, "exp", [near])])])


@lowers("minimum maximum atan2")
def _pair(lw: Lowerer, node: tree.Builtin) -> Value:
    return zip_map(lw, node.name, args(lw, node), [a.type for a in node.args])


@lowers("where")
def _where(lw: Lowerer, node: tree.Builtin) -> Value:
    return zip_map(lw, "select", args(lw, node), [a.type for a in node.args])


@lowers("clamp")
def _clamp(lw: Lowerer, node: tree.Builtin) -> Value:
    """At a bound it is still x, whose derivative is 1; nan stays; where min is over max the result is max."""
    values = args(lw, node)
    written = [a.type for a in node.args]
    x, kind = values[0], node.args[0].type
    bounds = list(zip(values[1:], written[1:], strict=True))
    for name, compare in (("min", "lt"), ("max", "gt")):
        if node.attr(name):
            bound, bound_kind = bounds.pop(0)
            beyond = zip_map(lw, compare, [x, bound], [kind, bound_kind])
            x = zip_map(lw, "select", [beyond, bound, x], [node.type, bound_kind, kind])
            kind = node.type
    return x


@lowers("stop_gradient")
def _stop_gradient(lw: Lowerer, node: tree.Builtin) -> Value:
    return constant(lw, lw.expr(node.args[0]))


def constant(lw: Lowerer, x: ir.Atom) -> ir.Atom:
    """The value, to derivatives a constant."""
    return x if isinstance(x, ir.Const) else lw.op("stop_gradient", [x], x.type)


# ---- reductions ------------------------------------------------------------------------------------------------------
def reduced_axes(node: tree.Builtin, count: int) -> tuple[int, ...]:
    """The `axis` attribute, from the front; every axis for none."""
    axes = node.attr("axis")
    if axes is None:
        return tuple(range(count))
    return tuple(sorted(a + count for a in axes))  # type: ignore[attr-defined]


def _kept(lw: Lowerer, node: tree.Builtin, x: ir.Atom, y: ir.Atom, axes: tuple[int, ...]) -> ir.Atom:
    """The result with reduced axes of size 1 where they are to be kept."""
    if not node.attr("keepdim"):
        return y
    sizes = [integer(1) if i in axes else t.dim(lw.b, x, i) for i in range(rank(x.type))]
    return t.reshape(lw.b, y, sizes)


def mean(lw: Lowerer, x: ir.Atom, axes: tuple[int, ...]) -> ir.Atom:
    total = t.reduce(lw.b, "sum", x, axes)
    count = t.product(lw.b, [t.dim(lw.b, x, i) for i in axes])
    return t.map(lw.b, "div", [total, t.cast(lw.b, count, elem(x.type))])


@lowers("sum prod max min any all mean argmax argmin logsumexp")
def _reduction(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    axes = reduced_axes(node, rank(x.type))
    if node.name in ("argmax", "argmin"):
        if node.attr("axis") is None and rank(x.type) > 1:
            flat = t.reshape(lw.b, x, [t.product(lw.b, t.dims(lw.b, x))])
            y = t.reduce(lw.b, node.name, flat, (0,))
        else:
            y = t.reduce(lw.b, node.name, x, axes) if axes else integer(0)
    elif node.name == "mean":
        y = mean(lw, x, axes)
    elif node.name == "logsumexp":
        y = logsumexp(lw, x, axes)
    else:
        y = t.reduce(lw.b, node.name, x, axes)
    return _kept(lw, node, x, y, axes)


def logsumexp(lw: Lowerer, x: ir.Atom, axes: tuple[int, ...]) -> ir.Atom:
    b = lw.b
    top = constant(lw, t.reduce(b, "max", x, axes, least=True))
    endless = t.map(b, "eq", [t.map(b, "abs", [top]), number(math.inf, x)])
    # Infinity less infinity would be nan. What is taken off is put back, so its derivative cancels.
    top = t.map(b, "select", [endless, number(0, x), top], _select_axes(rank(top.type), (0, None, 0)))
    count = rank(x.type)
    spread = t.map(b, "sub", [x, top], [tuple(range(count)), t.left_out(count, axes)])
    return t.map(b, "add", [t.map(b, "log", [t.reduce(b, "sum", t.map(b, "exp", [spread]), axes)]), top])


@lowers("norm")
def _norm(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    b, p = lw.b, node.attr("p")
    assert isinstance(p, float)
    axes = reduced_axes(node, rank(x.type))
    size = t.map(b, "abs", [x])
    if p == 2:
        y = _but_at_0(lw, t.reduce(b, "sum", t.map(b, "mul", [x, x]), axes), lambda v: t.map(b, "sqrt", [v]))
    elif p == 1:
        y = t.reduce(b, "sum", size, axes)
    elif math.isinf(p):
        y = t.reduce(b, "max" if p > 0 else "min", size, axes)
    elif p == 0:
        y = t.reduce(b, "sum", t.cast(b, t.map(b, "ne", [x, number(0, x)]), elem(x.type)), axes)
    else:
        each = _but_at_0(lw, size, lambda v: _power(lw, v, p)) if 0 < p < 1 else _power(lw, size, p)
        total = t.reduce(b, "sum", each, axes)
        y = _but_at_0(lw, total, lambda v: _power(lw, v, 1 / p)) if p > 1 else _power(lw, total, 1 / p)
    return _kept(lw, node, x, y, axes)


def _power(lw: Lowerer, x: ir.Atom, p: float) -> ir.Atom:
    return t.map(lw.b, "pow", [x, number(p, x)])


def _but_at_0(lw: Lowerer, x: ir.Atom, root: Callable[[ir.Atom], ir.Atom]) -> ir.Atom:
    """A root, whose derivative at 0 is infinite: that of the norm there is taken to be 0, as in torch."""
    b, axes = lw.b, _select_axes(rank(x.type), (0, None, 0))
    nothing = t.map(b, "eq", [x, number(0, x)])
    return t.map(b, "select", [nothing, number(0, x), root(t.map(b, "select", [nothing, number(1, x), x], axes))], axes)


def _shifted(lw: Lowerer, x: ir.Atom, axis: int) -> tuple[ir.Atom, ir.Atom, list[t.Axes]]:
    """x less its greatest along the axis, the greatest, and how the two stand beside each other."""
    count = rank(x.type)
    beside = [tuple(range(count)), t.left_out(count, (axis,))]
    top = constant(lw, t.reduce(lw.b, "max", x, (axis,), least=True))  # the result does not depend on it
    return t.map(lw.b, "sub", [x, top], beside), top, beside


def softmax(lw: Lowerer, x: ir.Atom, axis: int) -> ir.Atom:
    shifted, _, beside = _shifted(lw, x, axis)
    e = t.map(lw.b, "exp", [shifted])
    return t.map(lw.b, "div", [e, t.reduce(lw.b, "sum", e, (axis,))], beside)


def log_softmax(lw: Lowerer, x: ir.Atom, axis: int) -> ir.Atom:
    shifted, _, beside = _shifted(lw, x, axis)
    total = t.map(lw.b, "log", [t.reduce(lw.b, "sum", t.map(lw.b, "exp", [shifted]), (axis,))])
    return t.map(lw.b, "sub", [shifted, total], beside)


@lowers("softmax log_softmax")
def _softmax(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return (softmax if node.name == "softmax" else log_softmax)(lw, x, axis_of(node, rank(x.type)))


@lowers("cumsum")
def _cumsum(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.cumsum(lw.b, x, axis_of(node, rank(x.type)))


# ---- looking for elements --------------------------------------------------------------------------------------------
@lowers("sort argsort")
def _sort(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    axis = axis_of(node, rank(x.type))
    x = to_last(lw.b, x, axis)
    order = t.argsort(lw.b, x, bool(node.attr("descending")))
    y = order if node.name == "argsort" else t.gather(lw.b, x, rank(x.type) - 1, order)
    return to_last(lw.b, y, axis)


@lowers("topk")
def _topk(lw: Lowerer, node: tree.Builtin) -> Value:
    x, k = args(lw, node)
    b = lw.b
    axis, last = axis_of(node, rank(x.type)), rank(x.type) - 1
    x = to_last(b, x, axis)
    have = t.dim(b, x, last)
    fits = b.op("bit_and", [b.op("le", [k, have], BOOL), b.op("ge", [k, integer(0)], BOOL)], BOOL)
    lw.check(fits, "ValueError", "topk of more elements than there are")
    order = t.argsort(b, x, bool(node.attr("largest")), k)
    values = t.gather(b, x, last, order)
    outs = (to_last(b, values, axis), to_last(b, order, axis))
    return Parts(lw.type(node.type), outs)


@lowers("gather")
def _gather(lw: Lowerer, node: tree.Builtin) -> Value:
    x, index = args(lw, node)
    return t.gather(lw.b, x, axis_of(node, rank(x.type)), index)


@lowers("scatter_add")
def _scatter_add(lw: Lowerer, node: tree.Builtin) -> Value:
    x, index, source = args(lw, node)
    return t.scatter(lw.b, x, axis_of(node, rank(x.type)), index, source, "add")


@lowers("equal")
def _equal(lw: Lowerer, node: tree.Builtin) -> Value:
    x, y = args(lw, node)
    if rank(x.type) != rank(y.type):
        return ir.Const(False, BOOL)
    return lw.b.op("tensor_equal" if rank(x.type) else "eq", [x, y], BOOL)


@lowers("shape")
def _shape(lw: Lowerer, node: tree.Builtin) -> Value:
    """A list of the sizes."""
    (x,) = args(lw, node)
    sizes = t.dims(lw.b, x) if rank(x.type) else []
    kind = ir.BufferT(ir.INT)
    data: ir.Atom = lw.b.op("buffer_new", [integer(len(sizes))], kind)
    for i, size in enumerate(sizes):
        data = lw.b.op("buffer_set", [data, integer(i), size], kind)
    return Parts(lw.type(node.type), (data, integer(len(sizes))))


@lowers("one_hot")
def _one_hot(lw: Lowerer, node: tree.Builtin) -> Value:
    index, n = args(lw, node)
    b = lw.b
    sizes = t.dims(b, index) if rank(index.type) else []
    zeros = t.full(b, integer(0), [*sizes, n])
    positions = t.reshape(b, index, [*sizes, integer(1)])
    return t.scatter(b, zeros, len(sizes), positions, t.full(b, integer(1), [*sizes, integer(1)]), "set")


@lowers("embedding")
def _embedding(lw: Lowerer, node: tree.Builtin) -> Value:
    index, weight = args(lw, node)
    return t.take(lw.b, weight, 0, index, False)


# ---- losses ----------------------------------------------------------------------------------------------------------
@lowers("cross_entropy")
def _cross_entropy(lw: Lowerer, node: tree.Builtin) -> Value:
    logits, labels = args(lw, node)
    b = lw.b
    last = rank(logits.type) - 1
    shifted, top, _ = _shifted(lw, logits, last)
    total = t.map(b, "log", [t.reduce(b, "sum", t.map(b, "exp", [shifted]), (last,))])
    # The label's logit is taken from the logits: nobody needs the logarithms of all the other probabilities.
    if last == 0:
        picked = t.take(b, logits, 0, labels, False)
        return t.map(b, "sub", [total, t.map(b, "sub", [picked, top])])
    n = t.dim(b, logits, 0)
    require_equal(lw, n, t.dim(b, labels, 0), "cross_entropy: as many labels as rows of logits")
    picked = t.reshape(b, t.gather(b, logits, 1, t.reshape(b, labels, [n, integer(1)])), [n])
    return mean(lw, t.map(b, "sub", [total, t.map(b, "sub", [picked, top])]), (0,))


@lowers("mse")
def _mse(lw: Lowerer, node: tree.Builtin) -> Value:
    d = zip_map(lw, "sub", args(lw, node), [a.type for a in node.args])
    return mean(lw, t.map(lw.b, "mul", [d, d]), tuple(range(rank(d.type))))
