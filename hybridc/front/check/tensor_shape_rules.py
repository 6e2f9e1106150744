"""Typing rules of functions that make tensors and of those that change their shape."""

from __future__ import annotations

from hybridc.base.types import STD_TYPES, Named, Poison, TupleType
from hybridc.front.check import tree
from hybridc.front.check.tensor_args import Arguments
from hybridc.front.check.tensor_rules import rule
from hybridc.front.check.tensor_types import (
    BOOL,
    F32,
    INT,
    ONE,
    Dim,
    PackVar,
    Shape,
    Stop,
    Tensor,
    Type,
    dim_at,
    divided,
    elem,
    find_axis,
    hint,
    is_float,
    is_int,
    is_literal,
    is_unknown,
    join,
    of_shape,
    replace_axis,
    same_dim,
    shape,
    show_shape,
    size,
)
from hybridc.front.parse import syntax


# ---- making ----------------------------------------------------------------------------------------------------------
def _sizes_of(a: Arguments, wanted: Type) -> list[tree.Expr]:
    """The sizes that the context gives."""
    dims = shape(wanted)
    if any(not isinstance(d, PackVar) and is_unknown(d) for d in dims):
        a.ctx.error("HYB404", f"the size of {wanted} is not known here", a.call.span, f"give it: `{a.name}(n)`")
        raise Stop
    return [tree.DimValue(INT, a.call.span, d) for d in dims if isinstance(d, Dim)]


@rule("zeros ones", "*sizes")
def _filled(a: Arguments, expected: Type | None) -> tree.Expr:
    """attr `context`: shape and type are those of the node's type."""
    wanted = hint(expected)
    if not a.rest:
        if isinstance(expected, Poison):
            raise Stop
        if wanted is None:
            a.ctx.error("HYB404", f"{a.name}() takes shape and element type from its context, and there is none here",
                        a.call.span, f"give the sizes, `{a.name}(3, 4)`, or the type, `let t: f32[3] = {a.name}()`")
            raise Stop
        if not shape(wanted):
            return a.built(wanted, context=True)
        return a.built(wanted, *_sizes_of(a, wanted), context=True)
    values, dims = a.sizes(a.rest)
    kind = elem(wanted) if wanted is not None else F32
    return a.built(of_shape(kind, dims), *values, context=False)


@rule("full", "sizes value")
def _full(a: Arguments, expected: Type | None) -> tree.Expr:
    wanted = hint(expected)
    values, dims = a.sizes([a.need("sizes")])
    value = a.get("value", elem(wanted) if wanted is not None else None)
    if shape(value.type):
        raise a.wrong(f"full takes one number, not {value.type}", value)
    kind, (value,) = join(a.ctx, [value], a.call.span, "full", False, wanted)
    return a.built(of_shape(kind, dims), value, *values)


@rule("arange", "*bounds")
def _arange(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: start, stop, step."""
    if not 1 <= len(a.rest) <= 3:
        raise a.wrong("arange takes `stop`, or `start, stop` and a `step`")
    bounds = [a.value(e) for e in a.rest]
    kind, bounds = join(a.ctx, bounds, a.call.span, "arange", False, hint(expected))
    if len(bounds) == 1:
        bounds.insert(0, tree.Const(kind, a.call.span, 0.0 if is_float(kind) else 0))
    if len(bounds) == 2:
        bounds.append(tree.Const(kind, a.call.span, 1.0 if is_float(kind) else 1))
    start, stop, step = bounds
    count = a.ctx.fresh_dim()
    if kind == INT and is_literal(step) and _literal(step) == 1:
        # Where stop is before start, making it is a ValueError, as in torch.
        count = a.ctx.dim_of(stop) - a.ctx.dim_of(start)
    elif kind == INT and all(is_literal(b) for b in bounds) and _literal(step) != 0:
        count = Dim.of(len(range(*(int(_literal(b)) for b in bounds))))
    return a.built(Tensor(kind, (count,)), *bounds)


def _literal(e: tree.Expr) -> int | float:
    if isinstance(e, tree.Unary):
        return -_literal(e.operand)
    assert isinstance(e, tree.Const) and isinstance(e.value, (int, float))
    return e.value


@rule("eye", "n m")
def _eye(a: Arguments, expected: Type | None) -> tree.Expr:
    wanted = hint(expected)
    n = a.size(a.need("n"))
    m = a.size(a.given["m"]) if a.has("m") else n
    kind = elem(wanted) if wanted is not None else F32
    return a.built(Tensor(kind, (a.ctx.dim_of(n), a.ctx.dim_of(m))), n, m)


# ---- shape -----------------------------------------------------------------------------------------------------------
@rule("reshape", "x *sizes")
def _reshape(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: x and the sizes; with attr `like` x and a tensor of the shape asked for (`reshape(x, shape(y))`)."""
    x = a.get("x")
    like = _shape_of(a)
    if like is not None:
        total, wanted = size(shape(x.type)), size(shape(like.type))
        if total is not None and wanted is not None and a.ctx.equal_dims(total, wanted) is False:
            a.ctx.error("HYB401", f"reshape of {show_shape(shape(x.type))} to {show_shape(shape(like.type))}: {total} "
                        f"elements are not {wanted}", a.call.span)
            raise Stop
        return a.built(of_shape(elem(x.type), shape(like.type)), x, like, like=True)
    values, dims = a.sizes(a.rest)
    minus = [i for i, d in enumerate(dims) if d.constant == -1]
    if len(minus) > 1:
        raise a.wrong("reshape takes one -1 at most")
    if any(d.constant is not None and d.constant < -1 for d in dims):
        raise a.wrong(f"reshape to {show_shape(dims)}: a size is negative")
    total = size(shape(x.type))
    given = size(tuple(d for d in dims if d.constant != -1))
    result = list(dims)
    if minus:
        result[minus[0]] = _quotient(a, total, given, x, dims)  # type: ignore[arg-type]
    elif total is not None and a.ctx.equal_dims(total, given) is False:  # type: ignore[arg-type]
        a.ctx.error("HYB401", f"reshape of {show_shape(shape(x.type))} to {show_shape(dims)}: {total} elements are not "
                    f"{given}", a.call.span)
        raise Stop
    return a.built(of_shape(elem(x.type), tuple(result)), x, *values)


def _shape_of(a: Arguments) -> tree.Expr | None:
    """The `y` of a single size `shape(y)`, whose rank may be open."""
    if len(a.rest) != 1 or not isinstance(a.rest[0], syntax.Call):
        return None
    call = a.rest[0]
    if not isinstance(call.fn, syntax.Name) or call.fn.id != "shape" or len(call.args) != 1:
        return None
    y = a.value(call.args[0].value)
    return y if isinstance(y.type, Tensor) else None


def _quotient(a: Arguments, total: Dim | None, given: Dim, x: tree.Expr, dims: Shape) -> Dim:
    """What -1 stands for."""
    if total is None or given.constant == 0:
        return a.ctx.fresh_dim()
    if given.constant is not None:
        found = divided(a.ctx, total, given.constant)
        if found is None:
            a.ctx.error("HYB401", f"reshape of {show_shape(shape(x.type))} to {show_shape(dims)}: {total} elements do "
                        f"not divide by {given}", a.call.span)
            raise Stop
        return found
    if len(given.terms) == 1 and len(total.terms) == 1:
        # One product by another: take its factors away.
        (below, n), (above, m) = given.terms[0], total.terms[0]
        powers = dict(above)
        if m % n == 0 and all(powers.get(v, 0) >= p for v, p in below):
            left = Dim.of(m // n)
            for v, p in above:
                left = left * Dim.of(v).power(p - dict(below).get(v, 0))
            return left
    return a.ctx.fresh_dim()


@rule("transpose", "x a b")
def _transpose(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    one, other = a.axis(dims, None, "a"), a.axis(dims, None, "b")
    result = list(dims)
    result[one], result[other] = result[other], result[one]
    return a.built(of_shape(elem(x.type), tuple(result)), x, axes=(one, other))


@rule("permute", "x *axes")
def _permute(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    items = a.rest
    if len(items) == 1 and isinstance(items[0], (syntax.List, syntax.Tuple)):
        items = list(items[0].items)
    axes = [find_axis(a.ctx, a.ctx.const(e), dims, e.span, "permute") for e in items]
    if any(isinstance(d, PackVar) for d in dims) or sorted(axes) != list(range(-len(dims), 0)):
        raise a.wrong(f"permute takes every axis of {show_shape(dims)} once")
    return a.built(of_shape(elem(x.type), tuple(dims[i] for i in axes)), x, perm=tuple(i + len(dims) for i in axes))


def transposed(a: tree.Expr, span: object) -> tree.Expr:
    """`x.T`: the axes in reverse order."""
    dims = shape(a.type)
    return tree.Builtin(of_shape(elem(a.type), tuple(reversed(dims))), span, "T", (a,))  # type: ignore[arg-type]


@rule("flip", "x *axes axis")
def _flip(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    if "axis" in a.given:
        axes = a.axes(dims) or ()
    else:
        items = a.rest
        if len(items) == 1 and isinstance(items[0], (syntax.List, syntax.Tuple)):
            items = list(items[0].items)
        axes = tuple(find_axis(a.ctx, a.ctx.const(e), dims, e.span, "flip") for e in items)
    if not axes:
        raise a.wrong("flip needs an axis")
    return a.built(x.type, x, axis=axes)


@rule("squeeze", "x axis")
def _squeeze(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    if "axis" in a.given:
        axes = a.axes(dims) or ()
    else:
        axes = tuple(i - len(dims) for i, d in enumerate(dims) if d == ONE)
    for i in axes:
        if a.ctx.equal_dims(dim_at(dims, i), ONE) is False:
            raise a.wrong(f"squeeze of an axis of size {dims[i]} in {show_shape(dims)}")
    kept = tuple(d for i, d in enumerate(dims) if i - len(dims) not in axes)
    return a.built(of_shape(elem(x.type), kept), x, axis=axes)


@rule("unsqueeze", "x axis")
def _unsqueeze(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.get("x")
    dims = shape(x.type)
    axis = a.axis(dims, None, "axis", 1)
    at = len(dims) + 1 + axis
    return a.built(of_shape(elem(x.type), (*dims[:at], ONE, *dims[at:])), x, axis=axis)


@rule("expand", "x *sizes")
def _expand(a: Arguments, expected: Type | None) -> tree.Expr:
    """-1 keeps a size. `maybe` are the axes, from the last, that expand if they are 1 when the program runs."""
    x = a.get("x")
    dims = shape(x.type)
    values, sizes = a.sizes(a.rest)
    if any(isinstance(d, PackVar) for d in dims):
        raise a.wrong("expand takes a tensor of known rank")
    if len(sizes) < len(dims):
        raise a.wrong(f"expand of {show_shape(dims)} to {show_shape(sizes)}: fewer dimensions than it has")
    lead = len(sizes) - len(dims)
    result: list[Dim] = list(sizes)
    maybe = []
    for i, d in enumerate(dims):
        assert isinstance(d, Dim)
        if sizes[lead + i].constant == -1:
            result[lead + i] = d
        elif d.constant is None and d != sizes[lead + i]:
            maybe.append(i - len(dims))
        elif d != ONE:
            agreed = same_dim(a.ctx, d, sizes[lead + i])
            if agreed is None:
                a.ctx.error("HYB401", f"expand of {show_shape(dims)} to {show_shape(sizes)}", a.call.span,
                            "only a dimension known to be 1 expands")
                raise Stop
            result[lead + i] = agreed
    return a.built(of_shape(elem(x.type), tuple(result)), x, *values, maybe=tuple(maybe))


@rule("pad", "x widths value")
def _pad(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: x, value, then before and after of each padded axis, the last axis first."""
    x = a.tensor("x")
    e = a.need("widths")
    items = list(e.items) if isinstance(e, (syntax.List, syntax.Tuple)) else [e]
    widths = [a.size(i) for i in items]
    dims = list(shape(x.type))
    if len(widths) % 2 or len(widths) > 2 * sum(not isinstance(d, PackVar) for d in dims):
        raise a.wrong("pad takes two widths for each axis, those of the last axis first", e)
    for i in range(len(widths) // 2):
        before, after = a.ctx.dim_of(widths[2 * i]), a.ctx.dim_of(widths[2 * i + 1])
        dims[-1 - i] = dims[-1 - i] + before + after  # type: ignore[operator]
        d = dims[-1 - i]
        assert isinstance(d, Dim)
        if d.constant is not None and d.constant < 0:
            raise a.wrong(f"pad makes a size of {d}", e)
    kind = elem(x.type)
    if kind == BOOL:
        value: tree.Expr = a.get("value", BOOL) if a.has("value") else tree.Const(BOOL, a.call.span, False)
    else:
        value = a.scalar("value", kind, 0)
    return a.built(of_shape(kind, tuple(dims)), x, value, *widths)


# ---- several tensors -------------------------------------------------------------------------------------------------
def _list_item(a: Arguments, t: Type) -> Type | None:
    """The item type of a list of tensors."""
    if isinstance(t, Named) and t.key == STD_TYPES["list"]:
        return a.ctx.resolve(t.args[0])  # type: ignore[arg-type]
    return None


def _operands(a: Arguments, expected: Type | None) -> tuple[list[tree.Expr], tree.Expr | None, Type | None]:
    """Tensors given one by one or as a list literal; or else one list, and its item type."""
    items = a.rest
    if len(items) == 1 and isinstance(items[0], (syntax.List, syntax.Tuple)):
        items = list(items[0].items)
    elif len(items) == 1:
        value = a.ctx.expr(items[0])
        t = a.ctx.resolve(value.type)
        item = _list_item(a, t)
        if isinstance(item, Poison):
            raise Stop
        if item is not None:
            return [], value, item
    if not items:
        raise a.wrong(f"{a.name} of nothing")
    values = [a.value(e) for e in items]
    _, values = join(a.ctx, values, a.call.span, a.name, False, expected)
    return values, None, None


@rule("concat", "*xs axis")
def _concat(a: Arguments, expected: Type | None) -> tree.Expr:
    values, from_list, item = _operands(a, hint(expected))
    if from_list is not None:
        if not isinstance(item, Tensor):
            raise a.wrong(f"concat takes tensors, not {item}", from_list)
        axis = a.axis(item.shape, -len(item.shape) if not any(isinstance(d, PackVar) for d in item.shape) else 0)
        result = replace_axis(item.shape, axis, (a.ctx.fresh_dim(),))
        return a.built(of_shape(item.elem, result), from_list, axis=axis, list=True)
    first = shape(values[0].type)
    for v in values:
        if not shape(v.type):
            raise a.wrong(f"concat takes tensors, not {v.type}", v, "`stack` makes a tensor of numbers")
        if len(shape(v.type)) != len(first):
            _differ(a, values)
    axis = a.axis(first, 0)
    total = Dim.of(0)
    result_dims = list(first)
    for v in values:
        for i, d in enumerate(shape(v.type)):
            if i - len(first) == axis:
                continue
            old = result_dims[i]
            if isinstance(d, PackVar) or isinstance(old, PackVar):
                if d != old:
                    _differ(a, values)
                continue
            agreed = same_dim(a.ctx, old, d)
            if agreed is None:
                _differ(a, values)
            result_dims[i] = agreed  # type: ignore[assignment, call-overload]
        if isinstance(own := shape(v.type)[axis], PackVar):
            _differ(a, values)
        total = total + own  # type: ignore[operator]
    result_dims[axis] = total
    return a.built(of_shape(elem(values[0].type), tuple(result_dims)), *values, axis=axis, list=False)


def _differ(a: Arguments, values: list[tree.Expr]) -> None:
    shown = " and ".join(dict.fromkeys(show_shape(shape(v.type)) for v in values))
    a.ctx.error("HYB401", f"shapes {shown} do not fit in {a.name}", a.call.span)
    raise Stop


@rule("stack", "*xs axis")
def _stack(a: Arguments, expected: Type | None) -> tree.Expr:
    values, from_list, item = _operands(a, hint(expected))
    if from_list is not None:
        if item is None or not (shape(item) or is_float(item) or is_int(item) or item == BOOL):
            raise a.wrong(f"stack takes tensors and numbers, not {item}", from_list)
        count: Dim = a.ctx.fresh_dim()
        common, kind = shape(item), elem(item)
    else:
        count, kind = Dim.of(len(values)), elem(values[0].type)
        common = shape(values[0].type)
        for v in values[1:]:
            other = shape(v.type)
            if len(other) != len(common):
                _differ(a, values)
            agreed: list[Dim | PackVar] = []
            for x, y in zip(common, other, strict=True):
                if isinstance(x, PackVar) or isinstance(y, PackVar):
                    if x != y:
                        _differ(a, values)
                    agreed.append(x)
                    continue
                d = same_dim(a.ctx, x, y)
                if d is None:
                    _differ(a, values)
                agreed.append(d)  # type: ignore[arg-type]
            common = tuple(agreed)
    packed = any(isinstance(d, PackVar) for d in common)
    axis = a.axis(common, None if packed else -len(common) - 1, "axis", 1)
    at = len(common) + 1 + axis
    result = (*common[:at], count, *common[at:])
    args = values if from_list is None else [from_list]
    return a.built(of_shape(kind, result), *args, axis=axis, list=from_list is not None)


@rule("split", "x n axis")
def _split(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    n = a.constant("n")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise a.wrong("split takes a positive number of parts, which are equal", a.given["n"])
    axis = a.axis(dims, -len(dims) if not any(isinstance(d, PackVar) for d in dims) else None)
    part = divided(a.ctx, dim_at(dims, axis), n)
    if part is None:
        raise a.wrong(f"split of {show_shape(dims)} into {n} equal parts: {dims[axis]} does not divide by {n}")
    t = of_shape(elem(x.type), replace_axis(dims, axis, (part,)))
    return a.built(TupleType((t,) * n), x, n=n, axis=axis)
