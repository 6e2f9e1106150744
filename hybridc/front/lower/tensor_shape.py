"""Functions that make tensors, change their shape, or put them together, to Core."""

from __future__ import annotations

from hybridc.base.types import BOOL, FLOATS, INT
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer, Parts, Value
from hybridc.front.lower.tensor_base import (
    args,
    axis_of,
    concrete_elem,
    elem,
    lowers,
    number,
    ones,
    rank,
    sizes_of,
    t,
)


# ---- making ----------------------------------------------------------------------------------------------------------
@lowers("zeros ones")
def _filled(lw: Lowerer, node: tree.Builtin) -> Value:
    sizes = args(lw, node)
    lw.b.span = node.span
    if node.attr("context"):
        sizes = sizes_of(lw, node.type)
    kind = concrete_elem(lw, node.type)
    value = 1 if node.name == "ones" else 0
    fill = bool(value) if kind == BOOL else float(value) if kind in FLOATS else value
    return t.full(lw.b, ir.Const(fill, kind), sizes)


@lowers("full")
def _full(lw: Lowerer, node: tree.Builtin) -> Value:
    value, *sizes = args(lw, node)
    return t.full(lw.b, value, sizes)


@lowers("arange")
def _arange(lw: Lowerer, node: tree.Builtin) -> Value:
    start, stop, step = args(lw, node)
    b, kind = lw.b, elem(start.type)
    zero = isinstance(start, ir.Const) and start.value == 0
    one = isinstance(step, ir.Const) and step.value == 1
    if not one:
        lw.check(b.op("ne", [step, number(0, step)], BOOL), "ValueError", "the step of arange is 0")
    if kind in FLOATS:
        # The number of steps that start before stop: rounded up.
        steps = b.op("div", [b.op("sub", [start, stop], kind), step], kind)
        up = b.op("neg", [b.op("floor", [steps], kind)], kind)
        count: ir.Atom = b.op("cast", [up], INT, checked=True)
    elif one:
        count = stop if zero else t.sub(b, stop, start)
    else:
        count = b.op("neg", [b.op("floordiv", [b.op("sub", [start, stop], INT), step], INT)], INT)
    x: ir.Atom = t.iota(b, count)
    x = t.cast(b, x, kind)
    if not one:
        x = t.map(b, "mul", [x, step])
    return x if zero else t.map(b, "add", [x, start])


@lowers("eye")
def _eye(lw: Lowerer, node: tree.Builtin) -> Value:
    n, m = args(lw, node)
    same = t.map(lw.b, "eq", [t.iota(lw.b, n), t.iota(lw.b, m)], [(0, None), (None, 0)])
    return t.cast(lw.b, same, concrete_elem(lw, node.type))


# ---- shape -----------------------------------------------------------------------------------------------------------
@lowers("reshape")
def _reshape(lw: Lowerer, node: tree.Builtin) -> Value:
    x, *sizes = args(lw, node)
    if node.attr("like"):
        sizes = t.dims(lw.b, sizes[0])
    if sum(isinstance(s, ir.Const) and s.value == -1 for s in sizes) == 1 and rank(x.type):
        sizes = _fill_in(x, sizes)
    return t.reshape(lw.b, x, sizes)


def _fill_in(x: ir.Atom, sizes: list[ir.Atom]) -> list[ir.Atom]:
    """What -1 stands for, where all sizes are numbers."""
    have = t.static(x)
    given = [t.known(s) for s in sizes if not (isinstance(s, ir.Const) and s.value == -1)]
    if None in have or None in given:
        return sizes
    total, part = 1, 1
    for d in have:
        total *= d  # type: ignore[operator]
    for d in given:
        part *= d  # type: ignore[operator]
    if part == 0 or total % part:
        return sizes
    return [integer(total // part) if isinstance(s, ir.Const) and s.value == -1 else s for s in sizes]


@lowers("transpose")
def _transpose(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    axes = node.attr("axes")
    assert isinstance(axes, tuple)
    one, other = axes
    perm = list(range(rank(x.type)))
    perm[one], perm[other] = perm[other], perm[one]
    return t.transpose(lw.b, x, perm)


@lowers("T")
def _reverse(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.transpose(lw.b, x, list(reversed(range(rank(x.type)))))


@lowers("permute")
def _permute(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.transpose(lw.b, x, node.attr("perm"))  # type: ignore[arg-type]


@lowers("flip")
def _flip(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    count = rank(x.type)
    axes = {a + count for a in node.attr("axis")}  # type: ignore[attr-defined]
    kinds = ["c" if i in axes else "" for i in range(count)]
    return t.index(lw.b, x, kinds, [integer(-1)] * len(axes))


@lowers("squeeze")
def _squeeze(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    count = rank(x.type)
    axes = {a + count for a in node.attr("axis")}  # type: ignore[attr-defined]
    return t.reshape(lw.b, x, [t.dim(lw.b, x, i) for i in range(count) if i not in axes])


@lowers("unsqueeze")
def _unsqueeze(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    return t.insert_axis(lw.b, x, axis_of(node, rank(x.type) + 1))


@lowers("expand")
def _expand(lw: Lowerer, node: tree.Builtin) -> Value:
    x, *sizes = args(lw, node)
    count = rank(x.type)
    flags = ones(node.args[0].type, count)
    lead = len(sizes) - count
    axes: list[int | None] = [None] * len(sizes)
    for i in range(count):
        keep = isinstance(sizes[lead + i], ir.Const) and sizes[lead + i].value == -1  # type: ignore[union-attr]
        if keep:
            sizes[lead + i] = t.dim(lw.b, x, i)
        if keep or not flags[i]:
            axes[lead + i] = i
    for i in node.attr("maybe"):  # type: ignore[attr-defined]
        x = _widened(lw, x, count + i, sizes[len(sizes) + i])
    return t.broadcast(lw.b, x, tuple(axes), sizes)


def _widened(lw: Lowerer, x: ir.Atom, axis: int, size: ir.Atom) -> ir.Atom:
    """The tensor, repeated along an axis of which there is one."""
    sizes = t.dims(lw.b, x)
    one = lw.b.op("eq", [sizes[axis], integer(1)], BOOL)
    sizes[axis] = size
    axes = tuple(None if i == axis else i for i in range(len(sizes)))
    kind = t.typed(elem(x.type), (None,) * len(sizes))
    return lw.if_(one, lambda: [t.broadcast(lw.b, x, axes, sizes)], lambda: [x], [kind])[0]


@lowers("pad")
def _pad(lw: Lowerer, node: tree.Builtin) -> Value:
    """The value everywhere, then the tensor over it; a negative width cuts."""
    x, value, *widths = args(lw, node)
    b, count = lw.b, rank(x.type)
    pairs = {count - 1 - i: (widths[2 * i], widths[2 * i + 1]) for i in range(len(widths) // 2)}
    zero = integer(0)

    def negative(w: ir.Atom) -> bool:
        return not (isinstance(w, ir.Const) and w.value >= 0)

    kinds, bounds = [""] * count, []
    for i, (low, high) in sorted(pairs.items()):
        if negative(low) or negative(high):
            size = t.dim(b, x, i)
            kinds[i] = "ab"
            bounds += [b.op("maximum", [b.op("neg", [low], INT), zero], INT),
                       t.add(b, size, b.op("minimum", [high, zero], INT))]
    if bounds:
        x = t.index(b, x, kinds, bounds)
        pairs = {i: (b.op("maximum", [low, zero], INT), b.op("maximum", [high, zero], INT))
                 for i, (low, high) in pairs.items()}
    sizes = t.dims(b, x)
    kinds, bounds = [""] * count, []
    for i, (low, high) in sorted(pairs.items()):
        kinds[i] = "ab"
        bounds += [low, t.add(b, low, sizes[i])]
        sizes[i] = t.add(b, t.add(b, sizes[i], low), high)
    if not pairs:
        return x
    return t.update(b, t.full(b, value, sizes), kinds, x, bounds, tuple(range(count)))


# ---- several tensors -------------------------------------------------------------------------------------------------
def _buffer(lw: Lowerer, items: ir.Atom) -> tuple[ir.Atom, ir.Atom]:
    """The buffer of a list and how many of its elements count."""
    fields = lw.ctx.types.parts(items.type)
    assert fields is not None
    return tuple(lw.b.op("get", [items], kind, index=i) for i, kind in enumerate(fields[:2]))  # type: ignore[return-value]


@lowers("concat")
def _concat(lw: Lowerer, node: tree.Builtin) -> Value:
    values = args(lw, node)
    if node.attr("list"):
        buffer, count = _buffer(lw, values[0])
        result = lw.type(node.type)
        return t.join_buffer(lw.b, buffer, count, axis_of(node, len(result.dims)))  # type: ignore[union-attr]
    return t.concat(lw.b, values, axis_of(node, rank(values[0].type)))


@lowers("stack")
def _stack(lw: Lowerer, node: tree.Builtin) -> Value:
    values = args(lw, node)
    b = lw.b
    if node.attr("list"):
        buffer, size = _buffer(lw, values[0])
        whole = t.stack_buffer(b, buffer, size)
        count = rank(whole.type)
        axis = axis_of(node, count)
        order = list(range(1, count))
        return t.transpose(b, whole, [*order[:axis], 0, *order[axis:]])
    if not rank(values[0].type):
        return t.make(b, elem(values[0].type), (len(values),), values)
    axis = axis_of(node, rank(values[0].type) + 1)
    return t.concat(b, [t.insert_axis(b, v, axis) for v in values], axis)


@lowers("split")
def _split(lw: Lowerer, node: tree.Builtin) -> Value:
    (x,) = args(lw, node)
    b, n = lw.b, node.attr("n")
    assert isinstance(n, int)
    count = rank(x.type)
    axis = axis_of(node, count)
    size = t.dim(b, x, axis)
    part: ir.Atom
    if isinstance(size, ir.Const):
        part = integer(int(size.value) // n)
        fits: ir.Atom = ir.Const(size.value % n == 0, BOOL)
    else:
        part = b.op("floordiv", [size, integer(n)], INT)
        fits = b.op("eq", [b.op("mul", [part, integer(n)], INT), size], BOOL)
    lw.check(fits, "ValueError", f"split into {n} equal parts: the size does not divide")
    kinds = ["ab" if i == axis else "" for i in range(count)]
    parts = []
    for i in range(n):
        parts.append(t.index(b, x, kinds, [t.mul(b, part, integer(i)), t.mul(b, part, integer(i + 1))]))
    return Parts(lw.type(node.type), tuple(parts))
