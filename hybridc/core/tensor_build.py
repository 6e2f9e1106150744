"""Makes tensor operators of Core: result types and known sizes follow from the operands.

Every function takes the Builder first. A "tensor" may be a scalar where the operator allows one; `map` of scalars only
is the scalar operator itself. Sizes are int atoms; known ones are constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Atom, BufferT, Const, Prim, TensorT, Type, Var
from hybridc.core.tensor_ops import PREDICATES, kept_axes
from hybridc.core.types import elem, rank

Axes = tuple["int | None", ...]


def typed(element: Prim, dims: Sequence[int | None]) -> Type:
    return TensorT(element, tuple(dims)) if dims else element


def known(size: Atom) -> int | None:
    return int(size.value) if isinstance(size, Const) and size.value >= 0 else None


def static(x: Atom) -> tuple[int | None, ...]:
    return x.type.dims if isinstance(x.type, TensorT) else ()


def dim(b: Builder, x: Atom, axis: int) -> Atom:
    """The size of an axis; negative ones count from the end."""
    if axis < 0:
        axis += rank(x.type)
    size = static(x)[axis]
    return integer(size) if size is not None else b.op("dim", [x], INT, axis=axis)


def dims(b: Builder, x: Atom) -> list[Atom]:
    return [dim(b, x, i) for i in range(rank(x.type))]


# ---- ints ------------------------------------------------------------------------------------------------------------
def add(b: Builder, x: Atom, y: Atom) -> Atom:
    if isinstance(x, Const) and isinstance(y, Const):
        return integer(int(x.value + y.value))
    return b.op("add", [x, y], INT)


def sub(b: Builder, x: Atom, y: Atom) -> Atom:
    if isinstance(x, Const) and isinstance(y, Const):
        return integer(int(x.value - y.value))
    return b.op("sub", [x, y], INT)


def mul(b: Builder, x: Atom, y: Atom) -> Atom:
    if isinstance(x, Const) and isinstance(y, Const):
        return integer(int(x.value * y.value))
    if isinstance(x, Const) and x.value == 1:
        return y
    if isinstance(y, Const) and y.value == 1:
        return x
    return b.op("mul", [x, y], INT)


def product(b: Builder, sizes: Sequence[Atom]) -> Atom:
    total: Atom = integer(1)
    for size in sizes:
        total = mul(b, total, size)
    return total


# ---- shape -----------------------------------------------------------------------------------------------------------
def reshape(b: Builder, x: Atom, sizes: Sequence[Atom]) -> Atom:
    new = [known(s) for s in sizes]
    if x.type == typed(elem(x.type), new) and None not in new:
        return x
    return b.op("reshape", [x, *sizes], typed(elem(x.type), new))


def transpose(b: Builder, x: Atom, perm: Sequence[int]) -> Atom:
    if list(perm) == list(range(len(perm))):
        return x
    old = static(x)
    return b.op("transpose", [x], typed(elem(x.type), [old[i] for i in perm]), perm=tuple(perm))


def broadcast(b: Builder, x: Atom, axes: Axes, sizes: Sequence[Atom]) -> Atom:
    """`axes[i]` is the axis of x that axis i of the result is, or None."""
    if not sizes:
        return x
    out = [known(s) if a is None or static(x)[a] is None else static(x)[a] for a, s in zip(axes, sizes, strict=True)]
    return b.op("broadcast", [x, *sizes], typed(elem(x.type), out), axes=tuple(axes))


def full(b: Builder, value: Atom, sizes: Sequence[Atom]) -> Atom:
    return broadcast(b, value, (None,) * len(sizes), sizes)


def insert_axis(b: Builder, x: Atom, at: int) -> Atom:
    """With an axis of size 1 before axis `at`."""
    sizes = dims(b, x)
    return reshape(b, x, [*sizes[:at], integer(1), *sizes[at:]])


# ---- elements --------------------------------------------------------------------------------------------------------
def map(
    b: Builder, fn: str, operands: Sequence[Atom], axes: Sequence[Axes] | None = None, to: Prim | None = None,
    **attrs: object,
) -> Atom:
    """`fn` elementwise. Without `axes`, operands are scalars and tensors of one shape. `to` is the type of a cast."""
    out_rank = max(rank(x.type) for x in operands) if axes is None else len(axes[0])
    if axes is None:
        whole: Axes = tuple(range(out_rank))
        axes = [whole if rank(x.type) else (None,) * out_rank for x in operands]
    element = to or (BOOL if fn in PREDICATES else elem(operands[-1].type))
    if out_rank == 0:
        return b.op(fn, operands, element, "", **attrs)
    out: list[int | None] = [None] * out_rank
    for a, x in zip(axes, operands, strict=True):
        for i, axis in enumerate(a):
            if axis is not None and out[i] is None:
                out[i] = static(x)[axis]
    return b.op("map", operands, typed(element, out), fn=fn, axes=tuple(axes), **attrs)  # type: ignore[arg-type]


def cast(b: Builder, x: Atom, to: Prim, checked: bool = False) -> Atom:
    if elem(x.type) == to:
        return x
    if isinstance(x, Const) and to.name.startswith(("f", "bf")):
        return Const(float(x.value), to)
    return map(b, "cast", [x], to=to, checked=checked)


def left_out(count: int, axes: Sequence[int]) -> Axes:
    """How a tensor whose `axes` were reduced stands beside the whole one, of rank `count`."""
    left = iter(range(count))
    return tuple(None if i in axes else next(left) for i in range(count))


def reduce(b: Builder, fn: str, x: Atom, axes: Sequence[int], **attrs: Any) -> Atom:
    """Over `axes`, which go."""
    if not axes:
        return x
    left = [d for i, d in enumerate(static(x)) if i not in axes]
    element = INT if fn in ("argmax", "argmin") else elem(x.type)
    return b.op("reduce", [x], typed(element, left), fn=fn, axes=tuple(sorted(axes)), **attrs)


def matmul(b: Builder, x: Atom, y: Atom, ta: bool = False, tb: bool = False) -> Atom:
    xs, ys = static(x), static(y)
    batch = xs[:-2] if len(xs) >= len(ys) else ys[:-2]
    out = (*batch, xs[-1] if ta else xs[-2], ys[-2] if tb else ys[-1])
    return b.op("matmul", [x, y], typed(elem(x.type), out), ta=ta, tb=tb)


# ---- parts -----------------------------------------------------------------------------------------------------------
def index(b: Builder, x: Atom, kinds: Sequence[str], ints: Sequence[Atom]) -> Atom:
    if all(not k for k in kinds):
        return x
    given = iter(ints)
    bounds = [[next(given) for _ in kind] for kind in kinds]
    out = [part_length(static(x)[i], kinds[i], bounds[i]) for i in kept_axes(tuple(kinds))]
    return b.op("index", [x, *ints], typed(elem(x.type), out), kinds=tuple(kinds))


def part_length(size: int | None, kind: str, bounds: Sequence[Atom]) -> int | None:
    """Of a part from `a` to before `b`, if all is known."""
    if not kind or size is None:
        return size
    values = [int(v.value) for v in bounds if isinstance(v, Const)]
    if kind not in ("a", "b", "ab") or len(values) != len(bounds):
        return None
    start, stop = (values[0] if "a" in kind else None), (values[-1] if "b" in kind else None)
    return len(range(size)[start:stop])


def update(
    b: Builder, x: Atom, kinds: Sequence[str], value: Atom, ints: Sequence[Atom], axes: Axes, **attrs: str
) -> Atom:
    return b.op("update", [x, value, *ints], x.type, kinds=tuple(kinds), axes=axes, **attrs)


def take(b: Builder, x: Atom, axis: int, indices: Atom, wrap: bool) -> Atom:
    old = static(x)
    out = (*old[:axis], *static(indices), *old[axis + 1 :])
    return b.op("take", [x, indices], typed(elem(x.type), out), axis=axis, wrap=wrap)


def put(b: Builder, x: Atom, axis: int, indices: Atom, value: Atom, fn: str) -> Atom:
    return b.op("put", [x, indices, value], x.type, axis=axis, fn=fn)


def gather(b: Builder, x: Atom, axis: int, indices: Atom) -> Atom:
    return b.op("gather", [x, indices], typed(elem(x.type), static(indices)), axis=axis)


def scatter(b: Builder, x: Atom, axis: int, indices: Atom, value: Atom, fn: str) -> Atom:
    return b.op("scatter", [x, indices, value], x.type, axis=axis, fn=fn)


def concat(b: Builder, xs: Sequence[Atom], axis: int) -> Atom:
    if len(xs) == 1:
        return xs[0]
    out: list[int | None] = []
    for i in range(rank(xs[0].type)):
        sizes = [static(x)[i] for x in xs]
        if i == axis:
            out.append(None if None in sizes else sum(s for s in sizes if s is not None))
        else:
            out.append(next((s for s in sizes if s is not None), None))
    return b.op("concat", xs, typed(elem(xs[0].type), out), axis=axis)


def stack_buffer(b: Builder, buffer: Atom, count: Atom) -> Atom:
    assert isinstance(buffer.type, BufferT)
    item = buffer.type.item
    inner = item.dims if isinstance(item, TensorT) else ()
    return b.op("stack", [buffer, count], typed(elem(item), (known(count), *inner)))


def join_buffer(b: Builder, buffer: Atom, count: Atom, axis: int) -> Atom:
    assert isinstance(buffer.type, BufferT) and isinstance(buffer.type.item, TensorT)
    item = buffer.type.item
    return b.op("join", [buffer, count], typed(item.elem, (None,) * len(item.dims)), axis=axis)


def windows(b: Builder, x: Atom, settings: Sequence[Atom], fill: Atom) -> Atom:
    """`settings`: kernel, stride, padding and dilation, two ints each."""
    n, c, height, width = static(x)
    kernel = [known(s) for s in settings[:2]]
    out: list[int | None] = []
    for i, length in enumerate((height, width)):
        k, s, p, d = (known(settings[2 * j + i]) for j in range(4))
        fits = None not in (length, k, s, p, d) and s
        size = (length + 2 * p - d * (k - 1) - 1) // s + 1 if fits else None  # type: ignore[operator]
        out.append(size if size is None or size >= 0 else None)
    return b.op("windows", [x, *settings, fill], typed(elem(x.type), (n, c, *kernel, *out)))


def fold(b: Builder, x: Atom, size: Sequence[Atom], settings: Sequence[Atom]) -> Atom:
    """`size`: height and width of the image; `settings`: stride, padding and dilation, two ints each."""
    shape = (*static(x)[:2], *(known(s) for s in size))
    return b.op("fold", [x, *size, *settings], typed(elem(x.type), shape))


def unpool(b: Builder, x: Atom, d: Atom, settings: Sequence[Atom], fill: Atom) -> Atom:
    """`settings` as for `windows`."""
    return b.op("unpool", [x, d, *settings, fill], typed(elem(x.type), static(x)))


def argsort(b: Builder, x: Atom, descending: bool, count: Atom | None = None) -> Atom:
    """With a count that is not above the length, the first so many places of the order."""
    if count is None:
        return b.op("argsort", [x], typed(INT, static(x)), descending=descending)
    return b.op("argsort", [x, count], typed(INT, (*static(x)[:-1], known(count))), descending=descending)


def iota(b: Builder, n: Atom) -> Var:
    return b.op("iota", [n], TensorT(INT, (known(n),)))


def make(b: Builder, element: Prim, sizes: Sequence[int], items: Sequence[Atom]) -> Atom:
    return b.op("tensor", items, TensorT(element, tuple(sizes)))


def cumsum(b: Builder, x: Atom, axis: int) -> Atom:
    return b.op("cumsum", [x], x.type, axis=axis)


def nonzero(b: Builder, mask: Atom) -> Atom:
    return b.op("nonzero", [mask], TensorT(INT, (None,)))
