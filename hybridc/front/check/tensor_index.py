"""Typing of `x[i, :, idx]`, as in torch."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.dims import Dim, PackVar
from hybridc.base.source import Span
from hybridc.base.types import BOOL, INT, INTS, Tensor, Type
from hybridc.front.check import tree
from hybridc.front.check.tensor_types import (
    Context,
    Shape,
    Stop,
    broadcast,
    elem,
    has_float,
    is_int,
    is_literal,
    of_shape,
    plain,
    same_dim,
    shape,
    show_shape,
)
from hybridc.front.parse import syntax

Index = tree.Expr | tree.SliceIndex


def index_place(
    ctx: Context, value: tree.Expr, items: Sequence[syntax.Node], span: Span
) -> tuple[Type, tuple[Index, ...]]:
    """The type of the place `value[items]`, and the indices of the tree.PlaceTensor. POISON after an error."""
    new = next((x for x in items if _is_new(x)), None)
    if new is not None:
        ctx.error("HYB311", "`none` is no index where something is assigned", new.span,
                  "leave it out: the value broadcasts to the place")
        return ctx.poison(span).type, ()
    try:
        return _index(ctx, plain(ctx, value), items, span)
    except Stop:
        return ctx.poison(span).type, ()


def read_tensor(ctx: Context, value: tree.Expr, items: Sequence[syntax.Node], span: Span) -> tree.Expr:
    """`value[items]`, of which each `none` puts in an axis of size 1: what the others give, unsqueezed there."""
    try:
        return _read(ctx, plain(ctx, value), items, span)
    except Stop:
        return tree.TensorIndex(ctx.poison(span).type, span, value, ())


def _read(ctx: Context, value: tree.Expr, items: Sequence[syntax.Node], span: Span) -> tree.Expr:
    t, indices = _index(ctx, value, [x for x in items if not _is_new(x)], span)
    made: tree.Expr = tree.TensorIndex(t, span, value, indices)
    if len(indices) == len(items):
        return made
    if sum(_is_tensor(x) for x in indices) > 1:
        ctx.error("HYB311", "`none` goes with one index tensor, not with several", span,
                  "`unsqueeze(x, axis)` puts in an axis of size 1")
        raise Stop
    dims = shape(t)
    kept = [_kept(x) for x in indices]
    rest = len(dims) - sum(kept)
    """Axes of `...`, or behind the last index."""
    whole = any(isinstance(x, tree.SliceIndex) and x.rest for x in indices)
    behind = 0 if whole else rest
    for item in reversed(items):
        if not _is_new(item):
            x = indices[len(kept) - 1]
            behind += rest if isinstance(x, tree.SliceIndex) and x.rest else kept[-1]
            kept.pop()
            continue
        before, after = dims[:len(dims) - behind], dims[len(dims) - behind:]
        if any(isinstance(d, PackVar) for d in after):
            ctx.error("HYB405", f"`none` stands before the `*` of {show_shape(dims)}, for any number of dimensions",
                      item.span, "axes are counted from the end: put it behind, with `...`")
            raise Stop
        dims = (*before, Dim.of(1), *after)
        made = tree.Builtin(of_shape(elem(value.type), dims), span, "unsqueeze", (made,), (("axis", -behind - 1),))
        behind += 1
    return made


def _kept(index: Index) -> int:
    """How many axes of the result an index gives, but for `...`."""
    if isinstance(index, tree.SliceIndex):
        return 0 if index.rest else 1
    if not isinstance(index.type, Tensor):
        return 0
    return 1 if elem(index.type) == BOOL else len(shape(index.type))


def _is_tensor(index: Index) -> bool:
    return not isinstance(index, tree.SliceIndex) and isinstance(index.type, Tensor)


def _is_new(item: syntax.Node) -> bool:
    return isinstance(item, syntax.Literal) and item.value is None


def _index(ctx: Context, value: tree.Expr, items: Sequence[syntax.Node], span: Span) -> tuple[Type, tuple[Index, ...]]:
    found = [item if isinstance(item, syntax.Slice) else _value(ctx, item) for item in items]
    places, rest = _axes(ctx, value, found, span)
    tensors = [x for x in found if not isinstance(x, syntax.Slice) and isinstance(x.type, Tensor)]
    if len(tensors) > 1 and any(elem(x.type) == BOOL for x in tensors):
        ctx.error("HYB311", "a mask goes with no other tensor in an index", tensors[1].span,
                  "index with the others first")
        raise Stop
    together: Shape = ()
    if tensors and elem(tensors[0].type) != BOOL:
        together = broadcast(ctx, [shape(x.type) for x in tensors], span, "these indices")
    result: list[Dim | PackVar] = []
    indices: list[Index] = []
    runs: list[int] = []
    """Where each tensor falls among the axes that stay."""
    for x, dims in zip(found, places, strict=True):
        if isinstance(x, syntax.Rest):
            indices.append(tree.SliceIndex(None, None, None, True))
            result += dims
        elif isinstance(x, syntax.Slice):
            assert isinstance(dims[0], Dim)
            index, size = _slice(ctx, x, dims[0])
            indices.append(index)
            result.append(size)
        elif isinstance(x.type, Tensor):
            indices.append(x)
            runs.append(len(result))
            if elem(x.type) == BOOL:
                _mask(ctx, value, x, dims)
                result.append(ctx.fresh_dim())
        else:
            indices.append(ctx.coerce(x, INT, "an index"))
    if together:
        # Beside one another they are one; with a slice between them theirs come first.
        at = runs[0] if len(set(runs)) == 1 else 0
        result[at:at] = together
    return of_shape(elem(value.type), (*result, *rest)), tuple(indices)


def _value(ctx: Context, item: syntax.Node) -> tree.Expr:
    """An index that is no slice: an int, or a tensor of ints or bools."""
    expected = Tensor(INT, (Dim.of(len(item.items)),)) if isinstance(item, syntax.List) else None
    e = plain(ctx, ctx.expr(item, expected))  # type: ignore[arg-type]
    if isinstance(e.type, Tensor) and (e.type.elem == BOOL or e.type.elem in INTS):
        return e
    if e.type == BOOL or not (is_int(e.type) or is_literal(e) and not has_float(e)):
        ctx.error("HYB311", f"a tensor's index is an int, a slice, or ints or bools, not {e.type}", e.span)
        raise Stop
    return e


def _axes(
    ctx: Context, value: tree.Expr, found: Sequence[syntax.Slice | tree.Expr], span: Span
) -> tuple[list[Shape], Shape]:
    """The dimensions that each index is for, and those that are left."""
    rests = [i for i, x in enumerate(found) if isinstance(x, syntax.Rest)]
    if len(rests) > 1:
        ctx.error("HYB311", "`...` stands once in an index", found[rests[1]].span)
        raise Stop
    dims = list(shape(value.type))
    middle = rests[0] if rests else len(found)
    front = [_take(ctx, value, x, dims, True, span) for x in found[:middle]]
    back = [_take(ctx, value, x, dims, False, span) for x in reversed(found[middle + 1:])]
    if not rests:
        return front, tuple(dims)
    return [*front, tuple(dims), *reversed(back)], ()


def _take(
    ctx: Context, value: tree.Expr, x: syntax.Slice | tree.Expr, dims: list[Dim | PackVar], first: bool, span: Span
) -> Shape:
    """Of the dimensions that are left the first or last that one index is for: more than one for a mask."""
    mask = not isinstance(x, syntax.Slice) and elem(x.type) == BOOL
    covers = len(shape(x.type)) if mask else 1  # type: ignore[union-attr]
    taken = dims[:covers] if first else dims[len(dims) - covers:] if covers <= len(dims) else []
    pack = next((d for d in taken if isinstance(d, PackVar)), None)
    if pack is not None:
        shown = show_shape(shape(value.type))
        ctx.error("HYB311", f"an index of {shown} falls where `{pack}` stands for any number of dimensions", x.span,
                  "reshape first, so that the number of dimensions is known; `...` stands for "
                  "all that the other indices leave")
        raise Stop
    if len(taken) < covers:
        if mask:
            _bad_mask(ctx, value, x)  # type: ignore[arg-type]
        ctx.error("HYB311", f"too many indices for shape {show_shape(shape(value.type))}", span)
        raise Stop
    dims[:] = dims[covers:] if first else dims[:len(dims) - covers]
    return tuple(taken)


def _mask(ctx: Context, value: tree.Expr, mask: tree.Expr, dims: Shape) -> None:
    for want, have in zip(shape(mask.type), dims, strict=True):
        if isinstance(want, PackVar) or isinstance(have, PackVar) or same_dim(ctx, have, want) is None:
            _bad_mask(ctx, value, mask)


def _bad_mask(ctx: Context, value: tree.Expr, mask: tree.Expr) -> None:
    shown = f"{show_shape(shape(mask.type))} for a tensor of shape {show_shape(shape(value.type))}"
    ctx.error("HYB401", f"a mask of shape {shown}", mask.span, "a mask has the leading dimensions of what it masks")
    raise Stop


def _slice(ctx: Context, item: syntax.Slice, d: Dim) -> tuple[tree.SliceIndex, Dim]:
    """A slice of an axis of size `d` and the size of the part."""
    bounds = [None if e is None else ctx.coerce(ctx.expr(e, INT), INT, "a slice's bound")
              for e in (item.start, item.stop, item.step)]
    index = tree.SliceIndex(bounds[0], bounds[1], bounds[2])
    if all(b is None for b in bounds):
        return index, d
    known = [None if b is None else ctx.dim_of(b) for b in bounds]
    start, stop, step = known
    if step is not None and step.constant == 0:
        ctx.error("HYB311", "a slice's step is not 0", item.span)
        raise Stop
    if d.constant is not None and all(k is None or k.constant is not None for k in known):
        numbers = [None if k is None else k.constant for k in known]
        return index, Dim.of(len(range(*slice(*numbers).indices(d.constant))))
    whole_start = start is None or start.constant == 0
    if step is None and whole_start and stop is not None and ctx.equal_dims(stop, d) is True:
        return index, d
    return index, ctx.fresh_dim()
