"""Contractions and layers to Core."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridc.base.types import BOOL, INT
from hybridc.core import ir
from hybridc.core.builder import Builder, integer
from hybridc.front.check import tree
from hybridc.front.check.tensor_layer_rules import REST, result_spelled, spelled
from hybridc.front.lower.core import Lowerer, Value
from hybridc.front.lower.tensor_base import (
    args,
    elem,
    lowers,
    number,
    ones,
    rank,
    require_equal,
    stretched,
    t,
)
from hybridc.front.lower.tensor_math import mean, softmax


# ---- contractions ----------------------------------------------------------------------------------------------------
def matmul(
    lw: Lowerer, x: ir.Atom, y: ir.Atom, x_ones: Sequence[bool], y_ones: Sequence[bool],
    ta: bool = False, tb: bool = False,
) -> ir.Atom:
    """`x @ y` of any ranks; `ones` says of each dimension whether it is written as 1. `ta` and `tb`: the last two axes
    of the value given lie the other way."""
    b = lw.b
    xs, ys = rank(x.type), rank(y.type)
    if xs == 1 and ys == 1:
        n, m = t.dim(b, x, 0), t.dim(b, y, 0)
        row, column = t.reshape(b, x, [integer(1), n]), t.reshape(b, y, [integer(1), m])
        return t.reshape(b, t.matmul(b, row, column, tb=True), [])
    if xs == 1:
        row = t.reshape(b, x, [integer(1), t.dim(b, x, 0)])
        product = t.matmul(b, row, y, tb=tb)
        sizes = t.dims(b, product)
        return t.reshape(b, product, [*sizes[:-2], sizes[-1]])
    if ys == 1:
        # A vector on the right is one row, lying the other way.
        column = t.reshape(b, y, [integer(1), t.dim(b, y, 0)])
        flat, lead = _flat(lw, x, ta)
        product = t.matmul(b, flat, column, ta=ta, tb=True)
        sizes = t.dims(b, product) if lead is None else [*lead, integer(1)]
        return t.reshape(b, product, sizes[:-1])
    if ys == 2:
        flat, lead = _flat(lw, x, ta)
        product = t.matmul(b, flat, y, ta=ta, tb=tb)
        return product if lead is None else t.reshape(b, product, [*lead, t.dim(b, product, 1)])
    if xs > 2:
        x, y = _same_batch(lw, x, y, x_ones[:-2], y_ones[:-2])
    return t.matmul(b, x, y, ta, tb)


def _flat(lw: Lowerer, x: ir.Atom, ta: bool) -> tuple[ir.Atom, list[ir.Atom] | None]:
    """A batched left side as one matrix, and the sizes that its product's rows stand for."""
    if rank(x.type) == 2 or ta:
        return x, None
    lead = t.dims(lw.b, x)
    columns = lead.pop()
    return t.reshape(lw.b, x, [t.product(lw.b, lead), columns]), lead


def _same_batch(
    lw: Lowerer, x: ir.Atom, y: ir.Atom, x_ones: Sequence[bool], y_ones: Sequence[bool]
) -> tuple[ir.Atom, ir.Atom]:
    """Give both the same leading dimensions."""
    b = lw.b
    count = max(len(x_ones), len(y_ones))
    if len(x_ones) == len(y_ones) and not any(x_ones) and not any(y_ones):
        return x, y
    sizes: list[ir.Atom] = []
    axes: list[list[int | None]] = [[], []]
    for i in range(count):
        at = [i - (count - len(x_ones)), i - (count - len(y_ones))]
        sized = [h >= 0 and not f[h] for h, f in zip(at, (x_ones, y_ones), strict=True)]
        for k in range(2):
            axes[k].append(at[k] if sized[k] else None)
        chosen = next((k for k in range(2) if sized[k]), None)
        sizes.append(integer(1) if chosen is None else t.dim(b, (x, y)[chosen], at[chosen]))
    wide = []
    for z, flags, a in zip((x, y), (x_ones, y_ones), axes, strict=True):
        own = t.dims(b, z)[-2:]
        wide.append(t.broadcast(b, z, (*a, len(flags), len(flags) + 1), [*sizes, *own]))
    return wide[0], wide[1]


@lowers("outer")
def _outer(lw: Lowerer, node: tree.Builtin) -> Value:
    return t.map(lw.b, "mul", args(lw, node), [(0, None), (None, 0)])


@lowers("dot")
def _dot(lw: Lowerer, node: tree.Builtin) -> Value:
    x, y = args(lw, node)
    return matmul(lw, x, y, [False], [False])


@lowers("einsum")
def _einsum(lw: Lowerer, node: tree.Builtin) -> Value:
    """Operands are contracted from left to right, two at a time."""
    operands = args(lw, node)
    inputs, output = node.attr("inputs"), node.attr("output")
    assert isinstance(inputs, tuple) and isinstance(output, str)
    inputs = [spelled(names, rank(x.type)) for x, names in zip(operands, inputs, strict=True)]
    output = result_spelled(output, inputs)
    ones = node.attr("ones")
    assert isinstance(ones, tuple)
    terms = [_diagonal(lw, *_without(lw, x, names, at)) for x, names, at in zip(operands, inputs, ones, strict=True)]
    while len(terms) > 1:
        (x, left), (y, right) = terms[:2]
        later = set(output).union(*(names for _, names in terms[2:]))
        terms[:2] = [_contract(lw, x, left, y, right, later)]
    x, names = terms[0]
    x, names = _sum_out(lw, x, names, set(output))
    return t.transpose(lw.b, x, [names.index(c) for c in output]) if output else x


def _without(lw: Lowerer, x: ir.Atom, names: str, ones: Sequence[int]) -> tuple[ir.Atom, str]:
    """Without axes that are 1, as far as others have these letters longer."""
    if not ones:
        return x, names
    kept = [i for i in range(len(names)) if i not in ones and i - len(names) not in ones]
    sizes = t.dims(lw.b, x)
    return t.reshape(lw.b, x, [sizes[i] for i in kept]), "".join(names[i] for i in kept)


def _diagonal(lw: Lowerer, x: ir.Atom, names: str) -> tuple[ir.Atom, str]:
    """Take the diagonal of repeated letters: every (n + 1)th element of the two axes made one."""
    b = lw.b
    while True:
        again = next((c for c in names if names.count(c) > 1), None)
        if again is None:
            return x, names
        one = names.index(again)
        other = names.index(again, one + 1)
        rest = [i for i in range(len(names)) if i not in (one, other)]
        x = t.transpose(b, x, [one, other, *rest])
        n, *_ = sizes = t.dims(b, x)
        require_equal(lw, n, sizes[1], f"einsum: the sizes of `{again}` differ")
        x = t.reshape(b, x, [t.mul(b, n, n), *sizes[2:]])
        x = t.index(b, x, ["c", *[""] * len(rest)], [t.add(b, n, integer(1))])
        names = again + "".join(names[i] for i in rest)


def _sum_out(lw: Lowerer, x: ir.Atom, names: str, needed: set[str]) -> tuple[ir.Atom, str]:
    gone = [i for i, c in enumerate(names) if c not in needed]
    return t.reduce(lw.b, "sum", x, gone), "".join(c for c in names if c in needed)


def _contract(lw: Lowerer, x: ir.Atom, left: str, y: ir.Atom, right: str, later: set[str]) -> tuple[ir.Atom, str]:
    """The product of two terms: letters of both that are needed later are a batch, those not needed are summed."""
    b = lw.b
    x, left = _sum_out(lw, x, left, later | set(right))
    y, right = _sum_out(lw, y, right, later | set(left))
    batch = [c for c in left if c in right and c in later]
    summed = [c for c in left if c in right and c not in later]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    sizes = {c: t.dim(b, x, left.index(c)) for c in left}
    other = {c: t.dim(b, y, right.index(c)) for c in right}
    names = "".join(batch + rows + columns)
    if not summed:
        x = t.transpose(b, x, [left.index(c) for c in names if c in left])
        y = t.transpose(b, y, [right.index(c) for c in names if c in right])
        return t.map(b, "mul", [x, y], [_ascending([c in z for c in names]) for z in (left, right)]), names
    for c in (*batch, *summed):
        shown = c if c.isalpha() else REST
        require_equal(lw, sizes[c], other[c], f"einsum: the sizes of `{shown}` differ")

    def arranged(z: ir.Atom, letters: str, free: list[str], have: dict[str, ir.Atom]) -> ir.Atom:
        z = t.transpose(b, z, [letters.index(c) for c in (*batch, *free, *summed)])
        inner = [t.product(b, [have[c] for c in free]), t.product(b, [have[c] for c in summed])]
        outer = [t.product(b, [have[c] for c in batch])] if batch else []
        return t.reshape(b, z, [*outer, *inner])

    product = t.matmul(b, arranged(x, left, rows, sizes), arranged(y, right, columns, other), tb=True)
    all_sizes = {**other, **sizes}
    return t.reshape(b, product, [all_sizes[c] for c in names]), names


def _ascending(present: Sequence[bool]) -> t.Axes:
    """Axes in order of those present."""
    axes: list[int | None] = []
    for p in present:
        axes.append(sum(a is not None for a in axes) if p else None)
    return tuple(axes)


# ---- normalisation ---------------------------------------------------------------------------------------------------
@lowers("layer_norm rms_norm")
def _norms(lw: Lowerer, node: tree.Builtin) -> Value:
    x, eps, *weights = args(lw, node)
    b, count = lw.b, rank(x.type)
    last = (count - 1,)
    whole = tuple(range(count))
    row = t.left_out(count, last)
    along: t.Axes = (*(None,) * (count - 1), 0)
    if node.name == "layer_norm":
        x = t.map(b, "sub", [x, mean(lw, x, last)], [whole, row])
    scale = t.map(b, "rsqrt", [t.map(b, "add", [mean(lw, t.map(b, "mul", [x, x]), last), eps])])
    y = t.map(b, "mul", [x, scale], [whole, row])
    if node.attr("weight"):
        y = t.map(b, "mul", [y, weights.pop(0)], [whole, along])
    if node.attr("bias"):
        y = t.map(b, "add", [y, weights.pop(0)], [whole, along])
    return y


# ---- windows ---------------------------------------------------------------------------------------------------------
@lowers("conv1d conv2d")
def _conv(lw: Lowerer, node: tree.Builtin) -> Value:
    """The windows of x as the columns of a matrix, multiplied by the weight."""
    x, w, *rest = args(lw, node)
    b = lw.b
    n = 1 if node.name == "conv1d" else 2
    bias = rest.pop(0) if node.attr("bias") else None
    groups = rest.pop()
    stride, padding, dilation = (rest[i * n : (i + 1) * n] for i in range(3))
    lead = t.dims(b, x)
    area = lead[-n:]
    channels = lead[-n - 1]
    lead = lead[: -n - 1]
    out_channels, each, *kernel = t.dims(b, w)
    if n == 1:
        area, kernel = [integer(1), *area], [integer(1), *kernel]
        stride, dilation, padding = [integer(1), *stride], [integer(1), *dilation], [integer(0), *padding]
    spread: list[ir.Atom] = []
    if node.attr("same"):
        spread = [t.mul(b, d, t.sub(b, k, integer(1))) for d, k in zip(dilation, kernel, strict=True)]
        padding = [_half(b, t.add(b, s, integer(1))) for s in spread]
    batch = t.product(b, lead)
    settings = [*kernel, *stride, *padding, *dilation]
    seen = t.windows(b, t.reshape(b, x, [batch, channels, *area]), settings, number(0, x))
    out = t.dims(b, seen)[4:]
    columns = t.product(b, out)
    rows = t.product(b, [each, *kernel])
    if isinstance(groups, ir.Const) and groups.value == 1:
        require_equal(lw, channels, each, f"{node.name}: the weight is for another number of channels")
        y = t.matmul(b, t.reshape(b, w, [out_channels, rows]), t.reshape(b, seen, [batch, rows, columns]))
    else:
        ok = b.op("gt", [groups, integer(0)], BOOL)
        lw.check(ok, "ValueError", f"{node.name}: groups is positive")
        wanted = t.mul(b, each, groups)
        require_equal(lw, channels, wanted, f"{node.name}: the weight is for another number of channels")
        share = b.op("floordiv", [out_channels, groups], INT)
        require_equal(lw, t.mul(b, share, groups), out_channels, f"{node.name}: groups divides the number of channels")
        weights = t.broadcast(b, t.reshape(b, w, [groups, share, rows]), (None, 0, 1, 2), [batch, groups, share, rows])
        y = t.matmul(b, weights, t.reshape(b, seen, [batch, groups, rows, columns]))
        y = t.reshape(b, y, [batch, out_channels, columns])
    if bias is not None:
        y = t.map(b, "add", [y, bias], [(0, 1, 2), (None, 0, None)])
    return _kept(b, t.reshape(b, y, [*lead, out_channels, *out[2 - n :]]), spread[2 - n :])


def _half(b: Builder, n: ir.Atom) -> ir.Atom:
    return integer(int(n.value) // 2) if isinstance(n, ir.Const) else b.op("floordiv", [n, integer(2)], INT)


def _kept(b: Builder, y: ir.Atom, spread: Sequence[ir.Atom]) -> ir.Atom:
    """Without the first place of an axis whose windows were given an odd number of zeros, one more at the end than
    before: so many stood at both ends."""
    count = rank(y.type)
    kinds, bounds = [""] * count, []
    for axis, n in enumerate(spread, count - len(spread)):
        if isinstance(n, ir.Const) and n.value % 2 == 0:
            continue
        kinds[axis] = "ab"
        bounds += [t.sub(b, n, t.mul(b, _half(b, n), integer(2))), t.dim(b, y, axis)]
    return t.index(b, y, kinds, bounds)


@lowers("max_pool2d avg_pool2d")
def _pool(lw: Lowerer, node: tree.Builtin) -> Value:
    x, *settings = args(lw, node)
    b = lw.b
    lead = t.dims(b, x)
    area, lead = lead[-2:], lead[:-2]
    fill = number(-math.inf if node.name == "max_pool2d" else 0, x)
    seen = t.windows(b, t.reshape(b, x, [t.product(b, lead), integer(1), *area]), settings, fill)
    y = t.reduce(b, "max", seen, (2, 3), first=True) if node.name == "max_pool2d" else mean(lw, seen, (2, 3))
    return t.reshape(b, y, [*lead, *t.dims(b, y)[2:]])


# ---- attention -------------------------------------------------------------------------------------------------------
@lowers("attention")
def _attention(lw: Lowerer, node: tree.Builtin) -> Value:
    q, k, v, *mask = args(lw, node)
    b = lw.b
    kinds = [a.type for a in node.args]
    width = t.cast(b, t.dim(b, q, -1), elem(q.type))
    q = t.map(b, "mul", [q, t.map(b, "rsqrt", [width])])
    # `k` lies the other way, but has the leading dimensions that the product's right side has.
    q_ones, k_ones, v_ones = (ones(kind, rank(z.type)) for kind, z in zip(kinds, (q, k, v), strict=False))
    scores = matmul(lw, q, k, q_ones, k_ones, tb=True)
    count = rank(scores.type)
    one = [all(f[i - count] for f in (q_ones, k_ones) if len(f) >= count - i) for i in range(count)]
    least = number(-math.inf, q)
    if node.attr("causal"):
        rows, columns = t.iota(b, t.dim(b, scores, -2)), t.iota(b, t.dim(b, scores, -1))
        seen = t.map(b, "ge", [rows, columns], [(0, None), (None, 0)])
        scores = _masked(lw, scores, seen, (*(None,) * (count - 2), 0, 1), least)
    if mask:
        axes = stretched(lw, kinds[3], rank(mask[0].type), count)
        if elem(mask[0].type) == BOOL:
            scores = _masked(lw, scores, mask[0], axes, least)
        else:
            scores = t.map(b, "add", [scores, mask[0]], [tuple(range(count)), axes])
    weights = softmax(lw, scores, count - 1)
    return matmul(lw, weights, v, one, v_ones)


def _masked(lw: Lowerer, scores: ir.Atom, seen: ir.Atom, axes: t.Axes, least: ir.Atom) -> ir.Atom:
    count = rank(scores.type)
    return t.map(lw.b, "select", [seen, scores, least], [axes, tuple(range(count)), (None,) * count])
