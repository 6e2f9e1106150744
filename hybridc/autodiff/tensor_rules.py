"""Adjoints of tensor operators. Each rule adds to the adjoints of the arguments that are active: `r.give` a tensor of
the argument's shape, `r.into` by changing the argument's adjoint in place, so that reading one row costs one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hybridc.autodiff.factors import others
from hybridc.autodiff.loops import add_product
from hybridc.autodiff.scalar_rules import collect, elementwise
from hybridc.base.types import BF16, F16, F32
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Atom, BufferT, Const, Op, Prim, TensorT, Type, Var
from hybridc.core.tensor_ops import kept_axes
from hybridc.core.types import elem, rank, type_key

if TYPE_CHECKING:
    from hybridc.autodiff.reverse import Reverse

Rule = Callable[["Reverse", Op, Atom], None]


def _attr(op: Op, name: str) -> tuple:
    value = op.attr(name)
    assert isinstance(value, tuple)
    return value


def _axis(op: Op) -> int:
    axis = op.attr("axis")
    assert isinstance(axis, int)
    return axis


def _zero(x: Atom) -> Const:
    return Const(0.0, elem(x.type))


def _added_in(kind: Prim) -> Prim:
    """What elements of this type are added up in."""
    return F32 if kind in (F16, BF16) else kind


# ---- shape -----------------------------------------------------------------------------------------------------------
def _reshape(r: Reverse, op: Op, d: Atom) -> None:
    r.give(op.args[0], t.reshape(r.b, d, r.sizes(op.args[0])))


def _transpose(r: Reverse, op: Op, d: Atom) -> None:
    perm = _attr(op, "perm")
    r.give(op.args[0], t.transpose(r.b, d, [perm.index(i) for i in range(len(perm))]))


def _broadcast(r: Reverse, op: Op, d: Atom) -> None:
    axes = _attr(op, "axes")
    whole = tuple(range(len(axes)))
    r.give(op.args[0], collect(r, d, whole, op.args[0], axes, lambda i: integer(0)))


# ---- reductions ------------------------------------------------------------------------------------------------------
def _back(r: Reverse, x: Atom, of: Atom, axes: tuple[int, ...]) -> Atom:
    """A reduced tensor as long again as what was reduced."""
    return t.broadcast(r.b, x, t.left_out(rank(of.type), axes), r.sizes(of))


def first_of(b: Builder, x: Atom, largest: Atom, axes: tuple[int, ...]) -> Atom:
    """Whether an element is the first along the axes that is the largest there, as bools like `x`: the one of a window
    that has its derivative, where `max` shares it among all."""
    sizes = t.dims(b, x)
    whole = tuple(range(len(sizes)))
    beside = [whole, t.left_out(len(sizes), axes)]
    count = t.product(b, [sizes[i] for i in axes])
    numbers = t.reshape(b, t.iota(b, count), [sizes[i] for i in axes])
    along: t.Axes = tuple(axes.index(i) if i in axes else None for i in whole)
    at = t.map(b, "eq", [x, largest], beside)
    places = t.map(b, "select", [at, numbers, count], [whole, along, (None,) * len(whole)])
    return t.map(b, "eq", [numbers, t.reduce(b, "min", places, axes)], [along, beside[1]])


def _unpooled(r: Reverse, op: Op, d: Atom) -> bool:
    """Of a pool the windows are not needed, only the image; False for what is none."""
    windows = r.regions.makers.get(op.args[0].id) if isinstance(op.args[0], Var) else None
    if windows is None or windows.op != "windows" or _attr(op, "axes") != (2, 3) or r.is_active(windows.args[9]):
        return False
    x, *settings, fill = windows.args
    b, kind, needed = r.b, elem(x.type), [r.need(s) for s in settings]
    image, d, fill = (t.cast(b, v, _added_in(kind)) for v in (r.need(x), d, r.need(fill)))
    r.give(x, t.cast(b, t.unpool(b, image, d, needed, fill), kind))
    return True


def _unpool(r: Reverse, op: Op, d: Atom) -> None:
    x, of, *settings, fill = op.args
    if not r.is_active(of):
        return
    b, needed = r.b, [r.need(s) for s in settings]
    seen = t.windows(b, r.need(x), needed, r.need(fill))
    mine = first_of(b, seen, t.reduce(b, "max", seen, (2, 3)), (2, 3))
    parts = t.map(b, "select", [mine, t.windows(b, d, needed, _zero(of)), _zero(of)])
    r.give(of, t.reduce(b, "sum", parts, (2, 3)))


def _reduce(r: Reverse, op: Op, d: Atom) -> None:
    x, axes, fn = op.args[0], _attr(op, "axes"), op.attr("fn")
    b = r.b
    count = rank(x.type)
    beside = [tuple(range(count)), t.left_out(count, axes)]
    if fn == "sum":
        r.give(x, _back(r, d, x, axes))
    elif op.attr("first") and _unpooled(r, op, d):
        return
    elif op.attr("first"):
        mine = first_of(b, r.need(x), r.need(op.outs[0]), axes)
        r.give(x, t.map(b, "select", [mine, d, _zero(x)], [*beside, (None,) * count]))
    elif fn in ("max", "min"):
        at = t.cast(b, t.map(b, "eq", [r.need(x), r.need(op.outs[0])], beside), elem(x.type))
        share = t.map(b, "div", [d, t.reduce(b, "sum", at, axes)])
        r.give(x, t.map(b, "mul", [at, share], beside))
    else:
        assert fn == "prod"
        whole = r.need(x)
        each = others(r.tangents, b, whole, r.need(op.outs[0]), axes)
        r.give(x, t.map(b, "mul", [each, d], beside))


def _cumsum(r: Reverse, op: Op, d: Atom) -> None:
    axis = _axis(op)
    kinds = ["c" if i == axis else "" for i in range(rank(d.type))]

    def flip(x: Atom) -> Atom:
        turned = t.index(r.b, x, kinds, [integer(-1)])
        assert isinstance(turned, Var) and isinstance(x.type, TensorT)
        return turned

    r.give(op.args[0], flip(t.cumsum(r.b, flip(d), axis)))


# ---- products --------------------------------------------------------------------------------------------------------
def _matmul(r: Reverse, op: Op, d: Atom) -> None:
    x, y = op.args
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    b = r.b
    height, width = t.static(op.outs[0])[-2:]
    plain = rank(op.outs[0].type) == 2 and not ta
    if r.is_active(x):
        other = r.need(y)
        if not (plain and width == 1 and _kept(r, x, d, other)):
            if plain and width == 1:
                dx = _outer(b, d, 0, other, 1 if tb else 0)
            else:
                dx = t.matmul(b, other, d, tb, True) if ta else t.matmul(b, d, other, False, not tb)
            r.give(x, _unbatched(r, dx, x))
    if r.is_active(y):
        other = r.need(x)
        if plain and height == 1 and _kept(r, y, *((d, other) if tb else (other, d))):
            return
        if not ta and rank(y.type) == 2 and rank(x.type) > 2:
            other, d = _rows(r, other, r.sizes(x)), _rows(r, d, r.sizes(op.outs[0]))
        if plain and height == 1:
            dy = _outer(b, d, 1, other, 1) if tb else _outer(b, other, 1, d, 1)
        else:
            dy = t.matmul(b, d, other, True, ta) if tb else t.matmul(b, other, d, not ta, False)
        r.give(y, _unbatched(r, dy, y))


def _kept(r: Reverse, x: Atom, left: Atom, right: Atom) -> bool:
    """Are two vectors kept, whose product is to be added to the derivative of `x`?"""
    return add_product(r, x, left, right) or r.kept.add(r, x, left, right)


def _outer(b: Builder, left: Atom, down: int, right: Atom, across: int) -> Atom:
    """The products of the elements of two matrices with one row or column, which lie along these axes: not a matrix
    product, so that it becomes one kernel with what is made of it."""
    return t.map(b, "mul", [left, right], [(down, None), (None, across)])


def _rows(r: Reverse, x: Atom, sizes: list[Atom]) -> Atom:
    """Batches of rows as rows."""
    return t.reshape(r.b, x, [t.product(r.b, sizes[:-1]), sizes[-1]])


def _unbatched(r: Reverse, d: Atom, x: Atom) -> Atom:
    """Summed over the batch, for an operand that served every one."""
    return t.reduce(r.b, "sum", d, range(rank(d.type) - rank(x.type)))


# ---- parts -----------------------------------------------------------------------------------------------------------
def _row(r: Reverse, x: Atom, index: Atom, d: Atom) -> bool:
    """Add `d` to a row of the adjoint of `x`, a part of a vector: to that vector's adjoint, since one for `x` alone
    would be as large as a table of embeddings. False if `x` is no such part."""
    view = r.regions.makers.get(x.id) if isinstance(x, Var) else None
    if view is None or view.op != "tensor_view" or not all(isinstance(a, Const) for a in view.args[1:]):
        return False
    vector, at, count, *sizes = view.args
    b, i, size = r.b, r.need(index), t.product(r.b, sizes)
    if not r.regions.is_index(index):
        i = b.op("select", [b.op("lt", [i, integer(0)], BOOL), t.add(b, i, count), i], INT)
    start = t.add(b, at, t.mul(b, i, size))
    row = t.reshape(b, d, [size])
    r.into(vector, lambda sums: b.op(
        "update", [sums, row, start, t.add(b, start, size)], vector.type, kinds=("ab",), axes=(0,), fn="add"))
    return True


def _index(r: Reverse, op: Op, d: Atom) -> None:
    x, kinds = op.args[0], _attr(op, "kinds")
    if len(kinds) > 1 and kinds[0] == "i" and not any(kinds[1:]) and _row(r, x, op.args[1], d):
        return
    ints = [r.need(i) for i in op.args[1:]]
    whole = tuple(range(len(kept_axes(kinds))))
    r.into(x, lambda sums: r.b.op("update", [sums, d, *ints], x.type, kinds=kinds, axes=whole, fn="add"))


def _update(r: Reverse, op: Op, d: Atom) -> None:
    x, value, *rest = op.args
    kinds, axes = _attr(op, "kinds"), _attr(op, "axes")
    ints = [r.need(i) for i in rest]
    b = r.b
    if r.is_active(value):
        part = t.index(b, d, kinds, ints)
        r.give(value, collect(r, part, tuple(range(len(axes))), value, axes, lambda i: integer(0)))
    if r.is_active(x):
        if op.attr("fn") != "add":
            d = b.op("update", [d, _zero(x), *ints], d.type, kinds=kinds, axes=(None,) * len(axes))
        r.give(x, d)


def _take(r: Reverse, op: Op, d: Atom) -> None:
    if _axis(op) == 0 and not rank(op.args[1].type) and rank(d.type) and _row(r, op.args[0], op.args[1], d):
        return
    index = r.need(op.args[1])
    r.into(op.args[0], lambda sums: t.put(r.b, sums, _axis(op), index, d, "add"))


def _put(r: Reverse, op: Op, d: Atom) -> None:
    x, index, value = op.args
    axis, fn, b = _axis(op), op.attr("fn"), r.b
    at = r.need(index)
    if r.is_active(value):
        part = t.take(b, d, axis, at, True)
        if fn == "set" and rank(index.type):
            part = _last_only(r, part, r.sizes(x)[axis], at, axis, rank(index.type))
        r.give(value, t.map(b, "neg", [part]) if fn == "sub" else part)
    if fn == "set":
        sizes = t.dims(b, at) if isinstance(at.type, TensorT) else []
        kept = r.sizes(x)
        nothing = t.full(b, _zero(x), [*kept[:axis], *sizes, *kept[axis + 1 :]])
        d = t.put(b, d, axis, at, nothing, "set")
    r.give(x, d)


def _last_only(r: Reverse, part: Atom, size: Atom, at: Atom, axis: int, count: int) -> Atom:
    """Zero where a later index wrote the same place."""
    b = r.b
    total = t.product(b, t.dims(b, at))
    numbers = t.reshape(b, t.iota(b, total), t.dims(b, at))
    owner = t.put(b, t.full(b, integer(0), [size]), 0, at, numbers, "set")
    mine = t.map(b, "eq", [t.take(b, owner, 0, at, True), numbers])
    whole = rank(part.type)
    mask_axes = tuple(i - axis if axis <= i < axis + count else None for i in range(whole))
    return t.map(b, "select", [mine, part, _zero(part)], [mask_axes, tuple(range(whole)), (None,) * whole])


def _gather(r: Reverse, op: Op, d: Atom) -> None:
    index = r.need(op.args[1])
    r.into(op.args[0], lambda sums: t.scatter(r.b, sums, _axis(op), index, d, "add"))


def _scatter(r: Reverse, op: Op, d: Atom) -> None:
    x, index, value = op.args
    at, axis = r.need(index), _axis(op)
    if r.is_active(value):
        r.give(value, t.gather(r.b, d, axis, at))
    if op.attr("fn") == "set":
        d = t.scatter(r.b, d, axis, at, t.full(r.b, _zero(x), t.dims(r.b, at)), "set")
    r.give(x, d)


def _concat(r: Reverse, op: Op, d: Atom) -> None:
    axis, at = _axis(op), integer(0)
    kinds = ["ab" if i == axis else "" for i in range(rank(d.type))]
    start: Atom = at
    for x in op.args:
        size = r.sizes(x)[axis] if isinstance(x, Var) else integer(1)
        stop = t.add(r.b, start, size)
        if r.is_active(x):
            r.give(x, t.index(r.b, d, kinds, [start, stop]))
        start = stop


def _stack(r: Reverse, op: Op, d: Atom) -> None:
    buffer, count = op.args
    kind = r.tangents.leaves(buffer.type)[0]
    tangents = r.tangents
    assert isinstance(buffer, Var) and isinstance(kind, BufferT) and isinstance(buffer.type, BufferT)
    item: Type = buffer.type.item
    kinds = ["i", *[""] * rank(item)]

    def body(b, v):
        sums, whole, n = v
        return tangents.count_up(b, n, [sums], lambda i, s: [
            tangents.add_at(b, s[0], i, t.index(b, whole, kinds, [i]))])

    whole = r.leaf_type(d.type)
    name = tangents.helper(f"adjoint stack {type_key(item)}", [("sums", kind), ("d", whole), ("n", INT)], [kind], body)
    sums = r.pop_or_zero(buffer, 0, kind)
    r.add_leaf(buffer, 0, r.b.call(name, [sums, d, r.need(count)], [kind])[0])


def _join(r: Reverse, op: Op, d: Atom) -> None:
    buffer, count = op.args
    axis = _axis(op)
    kind = r.tangents.leaves(buffer.type)[0]
    tangents = r.tangents
    assert isinstance(buffer, Var) and isinstance(kind, BufferT) and isinstance(buffer.type, BufferT)
    item: Type = buffer.type.item
    kinds = ["ab" if i == axis else "" for i in range(rank(item))]

    def body(b, v):
        sums, whole, values, n = v

        def turn(i, state):
            sums, at = state
            size = b.op("dim", [b.op("buffer_get", [values, i], item)], INT, axis=axis)
            stop = b.op("add", [at, size], INT)
            return [tangents.add_at(b, sums, i, t.index(b, whole, kinds, [at, stop])), stop]

        return tangents.count_up(b, n, [sums, integer(0)], turn)[:1]

    whole = r.leaf_type(d.type)
    name = tangents.helper(f"adjoint join {axis} {type_key(item)}",
                           [("sums", kind), ("d", whole), ("values", buffer.type), ("n", INT)], [kind], body)
    sums = r.pop_or_zero(buffer, 0, kind)
    r.add_leaf(buffer, 0, r.b.call(name, [sums, d, r.need(buffer), r.need(count)], [kind])[0])


def _windows(r: Reverse, op: Op, d: Atom) -> None:
    x, *settings, fill = op.args
    b, sizes, needed = r.b, r.sizes(x), [r.need(s) for s in settings]
    if r.is_active(x):
        kind = elem(x.type)
        sums = t.fold(b, t.cast(b, d, _added_in(kind)), sizes[2:], needed[2:])
        r.give(x, t.cast(b, sums, kind))
    if r.is_active(fill):
        one, none = Const(1.0, elem(x.type)), _zero(x)
        seen = t.windows(b, t.full(b, one, sizes), needed, none)
        beside = t.map(b, "select", [t.map(b, "eq", [seen, none]), d, none])
        r.give(fill, t.reduce(b, "sum", beside, range(6)))


def _fold(r: Reverse, op: Op, d: Atom) -> None:
    x, _, _, *settings = op.args
    kernel = r.sizes(x)[2:4]
    r.give(x, t.windows(r.b, d, [*kernel, *(r.need(s) for s in settings)], _zero(x)))


def _make(r: Reverse, op: Op, d: Atom) -> None:
    dims = [n or 0 for n in t.static(op.outs[0])]
    for number, x in enumerate(op.args):
        if r.is_active(x):
            rest = number
            place: list[Atom] = []
            for n in reversed(dims):
                place.insert(0, integer(rest % n))
                rest //= n
            r.give(x, t.index(r.b, d, ["i"] * len(dims), place))


def _view(r: Reverse, op: Op, d: Atom) -> None:
    vector, at, *sizes = op.args
    start = r.need(at)
    b = r.b
    if not sizes:
        r.into(vector, lambda sums: b.op("update", [sums, d, start], vector.type, kinds=("i",), axes=(), fn="add"))
        return
    size = t.product(b, [r.need(s) for s in sizes])
    part = t.reshape(b, d, [size])
    stop = t.add(b, start, size)
    r.into(vector, lambda sums: b.op(
        "update", [sums, part, start, stop], vector.type, kinds=("ab",), axes=(0,), fn="add"))


def _accumulate(r: Reverse, op: Op, d: Atom) -> None:
    for x in op.args:
        r.add_leaf(x, 0, d)


def _shaped(r: Reverse, op: Op, d: Atom) -> None:
    r.add_leaf(op.args[0], 0, d)


TENSOR_ADJOINTS: dict[str, Rule] = {
    "reshape": _reshape, "transpose": _transpose, "broadcast": _broadcast, "map": elementwise, "reduce": _reduce,
    "cumsum": _cumsum, "matmul": _matmul, "index": _index, "update": _update, "take": _take, "put": _put,
    "gather": _gather, "scatter": _scatter, "concat": _concat, "stack": _stack, "join": _join, "windows": _windows,
    "fold": _fold, "unpool": _unpool, "tensor": _make, "tensor_view": _view, "accumulate": _accumulate,
    "shaped": _shaped,
}  # fmt: skip
