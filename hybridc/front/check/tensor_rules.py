"""Typing rules of elementwise functions, reductions and functions that look for elements.

A rule takes the arguments of a call and what the context expects, and gives a tree.Builtin. What it says about axes is
counted from the end. The forms that lowering reads are listed in front/lower/tensor.py.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridc.base.types import NUMBERS, STD_TYPES, Named, TupleType
from hybridc.front.check import tree
from hybridc.front.check.soft import FLOAT_FUNCTIONS
from hybridc.front.check.tensor_args import Arguments
from hybridc.front.check.tensor_types import (
    BOOL,
    INT,
    Dim,
    PackVar,
    Shape,
    Stop,
    Tensor,
    Type,
    broadcast,
    cast,
    dim_at,
    drop_axes,
    elem,
    has_rank,
    hint,
    is_float,
    is_literal,
    join,
    of_shape,
    replace_axis,
    same_dim,
    same_shape,
    shape,
    show_shape,
)

Rule = Callable[[Arguments, "Type | None"], tree.Expr]
RULES: dict[str, tuple[str, Rule]] = {}
"""Name -> (signature, rule)."""


def rule(names: str, signature: str) -> Callable[[Rule], Rule]:
    def mark(f: Rule) -> Rule:
        for name in names.split():
            RULES[name] = (signature, f)
        return f

    return mark


# ---- elementwise -----------------------------------------------------------------------------------------------------
@rule(FLOAT_FUNCTIONS, "x")
def _float_function(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.get("x", hint(expected))
    if a.name == "relu" and elem(x.type) in NUMBERS and not is_literal(x):
        return a.built(x.type, x)
    target, (x,) = join(a.ctx, [x], a.call.span, a.name, True, hint(expected))
    return a.built(of_shape(target, shape(x.type)), x)


@rule("abs sign floor round", "x")
def _number_function(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.get("x", hint(expected))
    target, (x,) = join(a.ctx, [x], a.call.span, a.name, False, hint(expected))
    if target == BOOL:
        raise a.wrong(f"{a.name} is for numbers, not bools", x)
    return a.built(of_shape(target, shape(x.type)), x)


def elementwise(
    a: Arguments, operands: list[tree.Expr], expected: Type | None, floats: bool = False
) -> tuple[Type, list[tree.Expr]]:
    """The type of a function of operands of one element type, and those operands."""
    target, operands = join(a.ctx, operands, a.call.span, a.name, floats, hint(expected))
    dims = broadcast(a.ctx, [shape(x.type) for x in operands], a.call.span, a.name)
    return of_shape(target, dims), operands


@rule("minimum maximum", "a b")
def _pair(a: Arguments, expected: Type | None) -> tree.Expr:
    t, operands = elementwise(a, [a.get("a"), a.get("b")], expected)
    if elem(t) == BOOL:
        raise a.wrong(f"{a.name} is for numbers, not bools")
    return a.built(t, *operands)


@rule("pow", "x exponent")
def _pow(a: Arguments, expected: Type | None) -> tree.Expr:
    t, operands = elementwise(a, [a.get("x"), a.get("exponent")], expected)
    return tree.Binary(t, a.call.span, "**", *operands)


@rule("atan2", "y x")
def _atan2(a: Arguments, expected: Type | None) -> tree.Expr:
    t, operands = elementwise(a, [a.get("y"), a.get("x")], expected, floats=True)
    return a.built(t, *operands)


@rule("where", "condition a b")
def _where(a: Arguments, expected: Type | None) -> tree.Expr:
    condition = a.get("condition", BOOL)
    if elem(condition.type) != BOOL:
        raise a.wrong(f"the condition of where is a bool or a tensor of bools, not {condition.type}", condition)
    target, operands = join(a.ctx, [a.get("a"), a.get("b")], a.call.span, "where", False, hint(expected))
    dims = broadcast(a.ctx, [shape(x.type) for x in (condition, *operands)], a.call.span, "where")
    return a.built(of_shape(target, dims), condition, *operands)


@rule("clamp", "x min max")
def _clamp(a: Arguments, expected: Type | None) -> tree.Expr:
    given = [n for n in ("min", "max") if a.has(n)]
    if not given:
        raise a.wrong("clamp needs `min`, `max` or both")
    t, operands = elementwise(a, [a.get("x"), *(a.get(n) for n in given)], expected)
    return a.built(t, *operands, min="min" in given, max="max" in given)


@rule("stop_gradient", "x")
def _stop_gradient(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.whole("x", expected)
    return a.built(x.type, x)


# ---- reductions ------------------------------------------------------------------------------------------------------
def _as_int(x: tree.Expr) -> tree.Expr:
    """What sums and products of bools and small integers are made of, as in torch."""
    return cast(x, INT) if elem(x.type) in NUMBERS | {BOOL} and not is_float(elem(x.type)) else x


@rule("sum prod mean max min any all argmax argmin logsumexp", "x axis keepdim")
def _reduction(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.get("x")
    name, kind = a.name, elem(x.type)
    if is_literal(x):
        _, (x,) = join(a.ctx, [x], a.call.span, name, False, hint(expected))
        kind = elem(x.type)
    if name in ("mean", "logsumexp") and not is_float(kind):
        raise a.wrong(f"{name} is for floats, not {x.type}", x, "cast first, as in `f32(x)`")
    if name in ("any", "all") and kind != BOOL:
        raise a.wrong(f"{name} is for bools, not {x.type}", x, "compare first, as in `x != 0`")
    if name in ("max", "min", "argmax", "argmin") and kind == BOOL:
        raise a.wrong(f"{name} is for numbers, not bools", x, "`any` and `all` are for bools")
    if name in ("sum", "prod"):
        x = _as_int(x)
        kind = elem(x.type)
    dims = shape(x.type)
    axes = a.axes(dims)
    keep = a.flag("keepdim")
    result = INT if name in ("argmax", "argmin") else kind
    if axes is None:
        if keep and any(isinstance(d, PackVar) for d in dims):
            raise a.wrong("keepdim needs an axis where `*` stands for any number of dimensions")
        kept: Shape = tuple(Dim.of(1) for _ in dims) if keep else ()
        return a.built(of_shape(result, kept), x, axis=None, keepdim=keep)
    if name in ("argmax", "argmin") and len(axes) > 1:
        raise a.wrong(f"{name} takes one axis")
    return a.built(of_shape(result, drop_axes(dims, axes, keep)), x, axis=axes, keepdim=keep)


@rule("norm", "x p axis keepdim")
def _norm(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.get("x")
    target, (x,) = join(a.ctx, [x], a.call.span, "norm", True)
    p = a.constant("p", 2)
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        raise a.wrong("`p` of norm is a number", a.given["p"])
    axes = a.axes(shape(x.type))
    keep = a.flag("keepdim")
    dims = shape(x.type)
    if axes is None:
        kept: Shape = tuple(Dim.of(1) for _ in dims) if keep else ()
    else:
        kept = drop_axes(dims, axes, keep)
    return a.built(of_shape(target, kept), x, axis=axes, keepdim=keep, p=float(p))


@rule("softmax log_softmax", "x axis")
def _softmax(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.float_tensor("x")
    return a.built(x.type, x, axis=a.axis(shape(x.type), -1))


@rule("cumsum", "x axis")
def _cumsum(a: Arguments, expected: Type | None) -> tree.Expr:
    x = _as_int(a.tensor("x"))
    return a.built(x.type, x, axis=a.axis(shape(x.type), -1 if len(shape(x.type)) == 1 else None))


# ---- looking for elements --------------------------------------------------------------------------------------------
@rule("sort argsort", "x axis descending")
def _sort(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    t = x.type if a.name == "sort" else of_shape(INT, shape(x.type))
    return a.built(t, x, axis=a.axis(shape(x.type), -1), descending=a.flag("descending"))


@rule("topk", "x k axis largest")
def _topk(a: Arguments, expected: Type | None) -> tree.Expr:
    x = a.tensor("x")
    dims = shape(x.type)
    axis = a.axis(dims, -1)
    k = a.size(a.need("k"))
    count = a.ctx.dim_of(k)
    have = dim_at(dims, axis)
    if count.constant is not None and have.constant is not None and count.constant > have.constant:
        raise a.wrong(f"topk of {count} beyond the length {have} of shape {show_shape(dims)}", k)
    new = replace_axis(dims, axis, (count,))
    t = TupleType((Tensor(elem(x.type), new), Tensor(INT, new)))
    return a.built(t, x, k, axis=axis, largest=a.flag("largest", True))


def _agree(a: Arguments, x: Shape, index: Shape, what: str) -> None:
    """That index tensors of gather and scatter have the tensor's rank; their sizes are checked when they run."""
    packs = ((d, e) for d, e in zip(x, index, strict=False) if isinstance(d, PackVar) or isinstance(e, PackVar))
    if len(x) != len(index) or any(d != e for d, e in packs):
        a.ctx.error("HYB401", f"{a.name} takes {what} of the tensor's rank: {show_shape(x)} and {show_shape(index)}",
                    a.call.span)
        raise Stop


@rule("gather", "x axis index")
def _gather(a: Arguments, expected: Type | None) -> tree.Expr:
    x, index = a.tensor("x"), a.indices("index")
    axis = a.axis(shape(x.type))
    _agree(a, shape(x.type), shape(index.type), "an index")
    return a.built(of_shape(elem(x.type), shape(index.type)), x, index, axis=axis)


@rule("scatter_add", "x axis index src")
def _scatter_add(a: Arguments, expected: Type | None) -> tree.Expr:
    x, index = a.tensor("x"), a.indices("index")
    axis = a.axis(shape(x.type))
    target, (x, source) = join(a.ctx, [x, a.tensor("src", x.type)], a.call.span, a.name)
    _agree(a, shape(x.type), shape(index.type), "an index")
    same_shape(a.ctx, shape(index.type), shape(source.type), a.call.span, a.name)
    return a.built(of_shape(target, shape(x.type)), x, index, source, axis=axis)


@rule("equal", "a b")
def _equal(a: Arguments, expected: Type | None) -> tree.Expr:
    _, operands = join(a.ctx, [a.get("a"), a.get("b")], a.call.span, "equal")
    return a.built(BOOL, *operands)


@rule("shape", "x")
def _shape(a: Arguments, expected: Type | None) -> tree.Expr:
    return a.built(Named(STD_TYPES["list"], (INT,)), a.get("x"))


@rule("one_hot", "x classes")
def _one_hot(a: Arguments, expected: Type | None) -> tree.Expr:
    x, n = a.indices("x"), a.size(a.need("classes"))
    return a.built(Tensor(INT, (*shape(x.type), a.ctx.dim_of(n))), x, n)


@rule("embedding", "index weight")
def _embedding(a: Arguments, expected: Type | None) -> tree.Expr:
    index, weight = a.indices("index"), a.tensor("weight")
    if not has_rank(shape(weight.type), 2):
        raise a.wrong(f"the weight of embedding is [entries, size], not {show_shape(shape(weight.type))}", weight)
    return a.built(of_shape(elem(weight.type), (*shape(index.type), shape(weight.type)[1])), index, weight)


# ---- losses ----------------------------------------------------------------------------------------------------------
@rule("cross_entropy", "logits labels")
def _cross_entropy(a: Arguments, expected: Type | None) -> tree.Expr:
    logits, labels = a.float_tensor("logits"), a.indices("labels")
    dims, wanted = shape(logits.type), shape(labels.type)
    if not any(has_rank(dims, n) and has_rank(wanted, n - 1) for n in (1, 2)):
        a.ctx.error("HYB401", f"cross_entropy takes logits [C] with a label, or [N, C] with labels [N]; not "
                    f"{show_shape(dims)} with {show_shape(wanted)}", a.call.span, "reshape the logits to [N, C]")
        raise Stop
    if wanted and same_dim(a.ctx, dims[0], wanted[0]) is None:  # type: ignore[arg-type]
        message = f"cross_entropy of logits {show_shape(dims)} with labels {show_shape(wanted)}"
        a.ctx.error("HYB401", message, a.call.span)
        raise Stop
    return a.built(elem(logits.type), logits, labels)


@rule("mse", "a b")
def _mse(a: Arguments, expected: Type | None) -> tree.Expr:
    t, operands = elementwise(a, [a.get("a"), a.get("b")], expected, floats=True)
    return a.built(elem(t), *operands)
