"""What the tensor operators compute, in numpy: the part of the reference interpreter for core/tensor_ops.py.

Arithmetic on f16 and bf16 is done in float32 and rounded after each operator; sums of them are rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from hybridc.base.types import BF16, F16, F32, F64, Prim
from hybridc.core.ir import Op, TensorT
from hybridc.core.tensor_arrays import DTYPES, Array, array, elementwise, finish, result, show, spread, value_error
from hybridc.core.tensor_faults import UNFIT
from hybridc.core.tensor_ops import kept_axes
from hybridc.core.types import elem, rank
from hybridc.core.values import Buffer, Machine, Maker, index_fault


# ---- elementwise -----------------------------------------------------------------------------------------------------
def _map(op: Op, machine: Machine) -> Callable[..., object]:
    axes = op.attr("axes")
    types = [a.type for a in op.args]
    source, target = elem(types[-1]), elem(op.outs[0].type)
    f = elementwise(str(op.attr("fn")), source, target, bool(op.attr("checked", False)))

    def run(*values: object) -> object:
        operands = [array(v, t) for v, t in zip(values, types, strict=True)]
        shape: dict[int, int] = {}
        for x, a in zip(operands, axes, strict=True):  # type: ignore[call-overload]
            for i, axis in enumerate(a):
                if axis is not None and shape.setdefault(i, x.shape[axis]) != x.shape[axis]:
                    shown = " and ".join(show(o.shape) for o in operands if o.shape)
                    raise value_error(f"shapes {shown}{UNFIT}")
        whole = [shape[i] for i in range(len(shape))]
        wide = [np.broadcast_to(spread(x, a), whole) for x, a in zip(operands, axes, strict=True)]  # type: ignore[call-overload]
        with np.errstate(all="ignore"):
            return finish(f(*wide), target)

    return run


# ---- reductions ------------------------------------------------------------------------------------------------------
def _sum_type(t: Prim) -> type:
    return np.float32 if t in (F16, BF16) else DTYPES[t.name]


def _reduce(op: Op, machine: Machine) -> Callable[..., object]:
    fn, axes, t = op.attr("fn"), op.attr("axes"), op.args[0].type
    kind, out = elem(t), op.outs[0].type
    assert isinstance(axes, tuple)

    def run(x: Array) -> object:
        if fn in ("sum", "prod"):
            with np.errstate(all="ignore"):
                y = getattr(np, str(fn))(x, axis=axes, dtype=_sum_type(kind))
            return result(finish(y, kind), out)
        if fn in ("any", "all"):
            return result(getattr(np, fn)(x, axis=axes), out)
        count = prod(x.shape[a] for a in axes)
        if count == 0:
            if prod(n for i, n in enumerate(x.shape) if i not in axes) == 0:
                shape = [n for i, n in enumerate(x.shape) if i not in axes]
                return result(np.zeros(shape, DTYPES[elem(out).name]), out)
            if op.attr("least"):
                return result(np.full([n for i, n in enumerate(x.shape) if i not in axes], -np.inf, x.dtype), out)
            raise value_error(f"{fn} of nothing")
        if fn in ("max", "min"):
            return result(getattr(np, fn)(x, axis=axes), out)
        return result(getattr(np, str(fn))(x, axis=axes[0]), out)

    return run


def _cumsum(op: Op, machine: Machine) -> Callable[..., object]:
    axis: Any = op.attr("axis")
    kind = elem(op.args[0].type)
    return lambda x: finish(np.cumsum(x, axis=axis, dtype=_sum_type(kind)), kind)


def _matmul(op: Op, machine: Machine) -> Callable[..., object]:
    ta, tb, kind = op.attr("ta"), op.attr("tb"), elem(op.args[0].type)

    def run(a: Array, b: Array) -> object:
        x = np.swapaxes(a, -1, -2) if ta else a
        y = np.swapaxes(b, -1, -2) if tb else b
        both = a.ndim > 2 and b.ndim > 2
        if x.shape[-1] != y.shape[-2] or both and a.shape[:-2] != b.shape[:-2]:
            raise value_error(f"shapes {show(x.shape)} and {show(y.shape)} do not fit in `@`")
        with np.errstate(all="ignore"):
            wide = _sum_type(kind)
            return finish(np.matmul(x.astype(wide, copy=False), y.astype(wide, copy=False)), kind)

    return run


# ---- shape -----------------------------------------------------------------------------------------------------------
def _reshape(op: Op, machine: Machine) -> Callable[..., object]:
    t, out = op.args[0].type, op.outs[0].type

    def run(value: object, *sizes: int) -> object:
        x = array(value, t)
        wrong = value_error(f"a tensor of shape {show(x.shape)} does not fit in shape {show(sizes)}")
        new = list(sizes)
        if any(n < -1 for n in new) or new.count(-1) > 1:
            raise wrong
        rest = prod(n for n in new if n != -1)
        if -1 in new:
            if rest == 0 or x.size % rest:
                raise wrong
            new[new.index(-1)] = x.size // rest
        elif rest != x.size:
            raise wrong
        return result(x.reshape(new), out)

    return run


def _transpose(op: Op, machine: Machine) -> Callable[..., object]:
    perm: Any = op.attr("perm")
    return lambda x: np.ascontiguousarray(np.transpose(x, perm))


def _broadcast(op: Op, machine: Machine) -> Callable[..., object]:
    t, axes = op.args[0].type, op.attr("axes")

    def run(value: object, *sizes: int) -> object:
        x = array(value, t)
        for a, n in zip(axes, sizes, strict=True):  # type: ignore[call-overload]
            if n < 0:
                raise value_error(f"a size of {n} is negative")
            if a is not None and x.shape[a] != n:
                raise value_error(f"a tensor of shape {show(x.shape)} does not fit in shape {show(sizes)}")
        return np.ascontiguousarray(np.broadcast_to(spread(x, axes), sizes))  # type: ignore[arg-type]

    return run


def _dim(op: Op, machine: Machine) -> Callable[..., object]:
    axis = op.attr("axis")
    return lambda x: x.shape[axis]


# ---- parts -----------------------------------------------------------------------------------------------------------
def _selector(kinds: Sequence[str], shape: Sequence[int], ints: Sequence[int]) -> Any:
    """numpy's index for a basic one."""
    given = iter(ints)
    index: list[object] = []
    for kind, n in zip(kinds, shape, strict=True):
        if kind in ("i", "p"):
            i = next(given)
            if not -n <= i < n:
                raise index_fault(i, n)
            assert kind == "i" or i >= 0, "an index that is known to be a place is none"
            index.append(i)
            continue
        bounds = {letter: next(given) for letter in kind}
        if bounds.get("c") == 0:
            raise value_error("a slice's step is 0")
        index.append(slice(bounds.get("a"), bounds.get("b"), bounds.get("c")))
    return tuple(index)


def _index(op: Op, machine: Machine) -> Callable[..., object]:
    kinds, out = op.attr("kinds"), op.outs[0].type
    return lambda x, *ints: result(x[_selector(kinds, x.shape, ints)], out)  # type: ignore[arg-type]


def _update(op: Op, machine: Machine) -> Callable[..., object]:
    kinds, axes, t = op.attr("kinds"), op.attr("axes"), op.args[1].type
    assert isinstance(kinds, tuple) and isinstance(axes, tuple)

    def run(x: Array, value: object, *ints: int) -> object:
        v, new = array(value, t), x.copy()
        where = _selector(kinds, x.shape, ints)
        part = new[where]
        assert part.ndim == len(kept_axes(kinds))
        for i, a in enumerate(axes):
            if a is not None and v.shape[a] != part.shape[i]:
                shown = f"{show(v.shape)} does not fit in a place of shape {show(part.shape)}"
                raise value_error(f"a value of shape {shown}")
        new[where] = finish(part + spread(v, axes), elem(t)) if op.attr("fn") == "add" else spread(v, axes)
        return new

    return run


def _accumulate(op: Op, machine: Machine) -> Callable[..., object]:
    to = elem(op.outs[0].type)
    return lambda x, v: v if x.size == 0 else x if v.size == 0 else finish(x + v, to)


def _shaped(op: Op, machine: Machine) -> Callable[..., object]:
    return lambda x, *sizes: x if x.size else np.zeros(sizes, x.dtype)


def _add_product(op: Op, machine: Machine) -> Callable[..., object]:
    kind = elem(op.outs[0].type)
    wide = _sum_type(kind)

    def run(v: Array, a: Array, b: Array, at: int) -> object:
        count = a.shape[1] * b.shape[1]
        if a.shape[0] != b.shape[0] or at < 0 or at + count > v.size:
            shown = f"shapes {show(a.shape[::-1])} and {show(b.shape)}"
            raise value_error(f"the product of {shown} does not fit in a vector of {v.size} from {at} on")
        new = v.copy()
        with np.errstate(all="ignore"):
            made: Array = np.matmul(a.T.astype(wide, copy=False), b.astype(wide, copy=False))
            new[at : at + count] = finish(new[at : at + count] + made.reshape(-1), kind)
        return new

    return run


def _positions(idx: object, n: int, wrap: bool) -> Array:
    """Checked indices, the first wrong one in order reported."""
    flat = np.asarray(idx, np.int64)
    low = -n if wrap else 0
    bad = (flat < low) | (flat >= n)
    if bad.any():
        raise index_fault(int(flat[bad].ravel()[0]) if flat.ndim else int(flat), n)
    return np.where(flat < 0, flat + n, flat)


def _take(op: Op, machine: Machine) -> Callable[..., object]:
    axis, wrap, out = op.attr("axis"), bool(op.attr("wrap")), op.outs[0].type
    assert isinstance(axis, int)
    return lambda x, idx: result(np.take(x, _positions(idx, x.shape[axis], wrap), axis=axis), out)


def _put(op: Op, machine: Machine) -> Callable[..., object]:
    axis, fn, kind = op.attr("axis"), op.attr("fn"), elem(op.args[0].type)
    idx_rank, out = rank(op.args[1].type), op.args[2].type
    assert isinstance(axis, int)

    def run(x: Array, idx: Any, value: object) -> object:
        v = array(value, out)
        wanted = (*x.shape[:axis], *np.shape(idx), *x.shape[axis + 1 :])
        if v.shape != wanted:
            raise value_error(f"a value of shape {show(v.shape)} does not fit in a place of shape {show(wanted)}")
        at = _positions(idx, x.shape[axis], True)
        new = np.moveaxis(x.copy(), axis, 0)
        rows = np.moveaxis(v.reshape(*x.shape[:axis], at.size, *x.shape[axis + 1 :]), axis, 0) if idx_rank else v[None]
        with np.errstate(all="ignore"):
            for i, row in zip(at.ravel().tolist(), rows, strict=True):
                new[i] = row if fn == "set" else finish(new[i] + row if fn == "add" else new[i] - row, kind)
        return np.ascontiguousarray(np.moveaxis(new, 0, axis))

    return run


def _fits(x: Array, idx: Array, axis: int, what: str) -> None:
    if any(m > n for i, (m, n) in enumerate(zip(idx.shape, x.shape, strict=True)) if i != axis):
        raise value_error(f"{what} of shape {show(x.shape)} by indices of shape {show(idx.shape)}")


def _grid(idx: Array, at: Array, axis: int) -> tuple[Array, ...]:
    grid: list[Array] = list(np.indices(idx.shape, sparse=True))
    grid[axis] = at
    return tuple(grid)


def _gather(op: Op, machine: Machine) -> Callable[..., object]:
    axis = op.attr("axis")
    assert isinstance(axis, int)

    def run(x: Array, idx: Array) -> object:
        _fits(x, idx, axis, "gather")
        return np.ascontiguousarray(x[_grid(idx, _positions(idx, x.shape[axis], False), axis)])

    return run


def _scatter(op: Op, machine: Machine) -> Callable[..., object]:
    axis, fn, kind = op.attr("axis"), op.attr("fn"), elem(op.args[0].type)
    assert isinstance(axis, int)

    def run(x: Array, idx: Array, v: Array) -> object:
        _fits(x, idx, axis, "scatter")
        if any(m > n for m, n in zip(idx.shape, v.shape, strict=True)):
            raise value_error(f"scatter of a value of shape {show(v.shape)} by indices of shape {show(idx.shape)}")
        at = _positions(idx, x.shape[axis], False)
        new = x.copy()
        with np.errstate(all="ignore"):
            for place in np.ndindex(*idx.shape):
                target = (*place[:axis], int(at[place]), *place[axis + 1 :])
                new[target] = v[place] if fn == "set" else finish(new[target] + v[place], kind)
        return new

    return run


def _nonzero(op: Op, machine: Machine) -> Callable[..., object]:
    return lambda x: np.flatnonzero(x).astype(np.int64)


def _concat(op: Op, machine: Machine) -> Callable[..., object]:
    axis = op.attr("axis")
    return lambda *xs: _joined(xs, axis)  # type: ignore[arg-type]


def _joined(xs: Sequence[Array], axis: int) -> Array:
    for x in xs[1:]:
        if any(m != n for i, (m, n) in enumerate(zip(x.shape, xs[0].shape, strict=True)) if i != axis):
            raise value_error(f"shapes {show(xs[0].shape)} and {show(x.shape)} do not fit in concat")
    return np.concatenate(xs, axis)


def _stack(op: Op, machine: Machine) -> Callable[..., object]:
    t = op.outs[0].type

    def run(buffer: Buffer, n: int) -> object:
        items = buffer.items()[:n]
        if rank(t) == 1:
            return array(items, t)
        if not items:
            raise value_error("stack of an empty list")
        for x in items[1:]:
            if x.shape != items[0].shape:  # type: ignore[attr-defined]
                shapes = f"{show(items[0].shape)} and {show(x.shape)}"  # type: ignore[attr-defined]
                raise value_error(f"shapes {shapes} do not fit in stack")
        return np.stack(items)  # type: ignore[arg-type]

    return run


def _join(op: Op, machine: Machine) -> Callable[..., object]:
    axis = op.attr("axis")
    assert isinstance(axis, int)

    def run(buffer: Buffer, n: int) -> object:
        items = buffer.items()[:n]
        if not items:
            raise value_error("concat of an empty list")
        return _joined(items, axis)  # type: ignore[arg-type]

    return run


def _check_windows(kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int) -> None:
    if min(kh, kw, sh, sw, dh, dw) < 1 or min(ph, pw) < 0:
        raise value_error("a window's size, stride and dilation are positive and its padding is not negative")


def _windows(op: Op, machine: Machine) -> Callable[..., object]:
    kind = elem(op.args[0].type)
    return lambda x, *settings: _seen(x, kind, *settings)


def _seen(
    x: Array, kind: Prim, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int, fill: object
) -> Array:
    """What each window sees."""
    n, c, height, width = x.shape
    _check_windows(kh, kw, sh, sw, ph, pw, dh, dw)
    high, wide = height + 2 * ph - dh * (kh - 1), width + 2 * pw - dw * (kw - 1)
    if high < 1 or wide < 1:
        window, area = show([dh * (kh - 1) + 1, dw * (kw - 1) + 1]), show([height + 2 * ph, width + 2 * pw])
        raise value_error(f"a window of {window} does not fit in {area}")
    rows, columns = (high - 1) // sh + 1, (wide - 1) // sw + 1
    padded = np.full((n, c, height + 2 * ph, width + 2 * pw), fill, DTYPES[kind.name])
    padded[:, :, ph : ph + height, pw : pw + width] = x
    out = np.empty((n, c, kh, kw, rows, columns), DTYPES[kind.name])
    for i in range(kh):
        for j in range(kw):
            out[:, :, i, j] = padded[:, :, i * dh : i * dh + (rows - 1) * sh + 1 : sh,
                                     j * dw : j * dw + (columns - 1) * sw + 1 : sw]
    return out


def _fold(op: Op, machine: Machine) -> Callable[..., object]:
    return _folded


def _folded(x: Array, height: int, width: int, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int) -> Array:
    n, c, kh, kw, rows, columns = x.shape
    _check_windows(1, 1, sh, sw, ph, pw, dh, dw)
    if min(height, width) < 0:
        raise value_error(f"an image of {show([height, width])}")
    out = np.zeros((n, c, height, width), x.dtype)
    ys, xs = np.arange(rows) * sh - ph, np.arange(columns) * sw - pw
    for i in range(kh):
        for j in range(kw):
            down, across = ys + i * dh, xs + j * dw
            seen, beside = (down >= 0) & (down < height), (across >= 0) & (across < width)
            for r in np.flatnonzero(seen):
                out[:, :, down[r], across[beside]] += x[:, :, i, j, r, beside]
    return out


def _unpool(op: Op, machine: Machine) -> Callable[..., object]:
    kind = elem(op.args[0].type)

    def run(x: Array, d: Array, kh: int, kw: int, *rest: object) -> object:
        *settings, fill = rest
        seen = _seen(x, kind, kh, kw, *settings, fill)  # type: ignore[arg-type, call-arg]
        n, c, _, _, rows, columns = seen.shape
        if d.shape != (n, c, rows, columns):
            raise value_error(f"shapes {show(d.shape)} and {show((n, c, rows, columns))} do not fit in unpool")
        first = np.argmax(seen.reshape(n, c, kh * kw, rows, columns), axis=2)
        places = np.arange(kh * kw).reshape(kh, kw, 1, 1)
        parts = np.where(first[:, :, None, None] == places, d[:, :, None, None], np.zeros((), d.dtype))
        return _folded(parts, *x.shape[2:], *settings)  # type: ignore[arg-type]

    return run


def _argsort(op: Op, machine: Machine) -> Callable[..., object]:
    def run(x: Array, count: int | None = None) -> object:
        if op.attr("descending"):
            # Stable the other way round: the order of the reversed, reversed.
            order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            order = np.argsort(x, axis=-1, kind="stable")
        kept = order if count is None else order[..., : max(count, 0)]
        return np.ascontiguousarray(kept).astype(np.int64)

    return run


# ---- making ----------------------------------------------------------------------------------------------------------
def _make(op: Op, machine: Machine) -> Callable[..., object]:
    t = op.outs[0].type
    assert isinstance(t, TensorT)
    return lambda *items: np.array(items, DTYPES[t.elem.name]).reshape(t.dims)  # type: ignore[arg-type]


def _iota(op: Op, machine: Machine) -> Callable[..., object]:
    def run(n: int) -> object:
        if n < 0:
            raise value_error(f"a size of {n} is negative")
        return np.arange(n, dtype=np.int64)

    return run


def _orthogonal(op: Op, machine: Machine) -> Callable[..., object]:
    """Twice, since one pass loses orthogonality to rounding."""
    kind = elem(op.args[0].type)

    def run(x: Array) -> object:
        a = np.array(x, np.float32 if kind != F64 else np.float64)
        a = a.T.copy() if x.shape[0] > x.shape[1] else a
        for i in range(len(a)):
            for _ in range(2):
                for j in range(i):
                    a[i] -= a[j] * np.dot(a[i], a[j])
            a[i] /= np.sqrt(np.dot(a[i], a[i]))
        return finish(a.T if x.shape[0] > x.shape[1] else a, kind)

    return run


def _view(op: Op, machine: Machine) -> Callable[..., object]:
    out = op.outs[0].type
    return lambda v, at, *sizes: result(v[at : at + prod(sizes)].reshape(sizes), out)


def _moved(op: Op, machine: Machine) -> Callable[..., object]:
    """There is one memory here."""
    return lambda x: x


def _equal(op: Op, machine: Machine) -> Callable[..., object]:
    return lambda a, b: bool(np.array_equal(a, b))


TENSOR_MAKERS: dict[str, Maker] = {
    "dim": _dim, "reshape": _reshape, "reshaped": _reshape, "transpose": _transpose, "broadcast": _broadcast,
    "map": _map, "reduce": _reduce, "cumsum": _cumsum, "matmul": _matmul, "index": _index, "part": _index,
    "update": _update, "take": _take, "put": _put, "gather": _gather, "scatter": _scatter, "nonzero": _nonzero,
    "concat": _concat, "stack": _stack, "join": _join, "windows": _windows, "fold": _fold, "unpool": _unpool,
    "argsort": _argsort,
    "tensor": _make, "iota": _iota, "orthogonal": _orthogonal, "tensor_view": _view, "tensor_equal": _equal,
    "accumulate": _accumulate, "shaped": _shaped, "add_product": _add_product, "to_device": _moved, "to_host": _moved,
}  # fmt: skip
"""By operator; core/values.py says what a Maker is, core/interp.py: DTYPES how numpy holds elements."""
__all__ = ["F32", "TENSOR_MAKERS"]
