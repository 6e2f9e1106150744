"""Typing of everything about tensors, for the checker: built-in functions, operators, indexing, literals, updates.

`BUILTINS[name](ctx, call, expected)` gives the typed call of a tensor function; for names that lists and scalars have
too (`sum`, `max`, ...) the checker comes here when an argument is a tensor. What lowering reads is a tree.Builtin of
the name (`x.T` is "T"; `pow` is the operator `**`), whose attributes are described at each rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hybridc.base.dims import Dim, PackVar
from hybridc.base.source import Span
from hybridc.base.types import BOOL, INT, STD_TYPES, STR, Named, Poison, Prim, Tensor, Type
from hybridc.front.check import tensor_layer_rules, tensor_shape_rules, tree
from hybridc.front.check.bounds import model_of
from hybridc.front.check.consts import written
from hybridc.front.check.tensor_args import bind
from hybridc.front.check.tensor_layer_rules import INITIALISERS, initialiser, matmul
from hybridc.front.check.tensor_rules import RULES
from hybridc.front.check.tensor_shape_rules import transposed
from hybridc.front.check.tensor_types import (
    Context,
    Shape,
    Stop,
    adapt,
    broadcast,
    cast,
    elem,
    has_float,
    hint,
    is_float,
    is_int,
    is_literal,
    is_numeric,
    join,
    of_shape,
    plain,
    same_dim,
    shape,
    show_shape,
)
from hybridc.front.parse import syntax

Builtin = Callable[[Context, syntax.Call, "Type | None"], tree.Expr]


def _with_lists(ctx: Context, e: syntax.Call) -> syntax.Call:
    """A call in which constant lists and tuples are literals: a shape, the elements of a tensor."""
    def given(a: syntax.Argument) -> syntax.Argument:
        value = ctx.const(a.value) if isinstance(a.value, syntax.Name) else None
        return replace(a, value=written(value, a.value.span)) if isinstance(value, tuple) else a

    return replace(e, args=tuple(map(given, e.args)))


def _call(name: str, ctx: Context, call: syntax.Call, expected: Type | None = None) -> tree.Expr:
    signature, rule = RULES[name]
    try:
        return rule(bind(ctx, _with_lists(ctx, call), name, signature), expected)
    except Stop:
        return ctx.poison(call.span)


def _literal_call(ctx: Context, call: syntax.Call, expected: Type | None = None) -> tree.Expr:
    """`tensor([[1, 2], [3, 4]])`, or of a list of numbers, as `stack` makes one."""
    call = _with_lists(ctx, call)
    if len(call.args) != 1 or call.args[0].name is not None or not isinstance(call.args[0].value, syntax.List):
        value = ctx.expr(call.args[0].value) if len(call.args) == 1 else None
        t = ctx.resolve(value.type) if value is not None else None
        if isinstance(t, Poison):
            return ctx.poison(call.span)
        item = t.args[0] if isinstance(t, Named) and t.key == STD_TYPES["list"] else None
        if isinstance(item, Prim) and item != STR and value is not None and call.args[0].name is None:
            ctx.prechecked[id(call.args[0].value)] = value
            return _call("stack", ctx, call, expected)
        help = "a number is a tensor without dimensions as it is" if t is not None and isinstance(t, Prim) else (
            "it is a tensor already" if isinstance(t, Tensor) else
            "`stack([stack(row) for row in xs])` makes one of rows" if isinstance(item, Named) else
            "`stack` makes a tensor of a list")
        ctx.error("HYB306", "tensor takes one list literal, or one list of numbers", call.span, help)
        return ctx.poison(call.span)
    return literal_tensor(ctx, call.args[0].value, hint(expected))


BUILTINS: dict[str, Builtin] = {name: partial(_call, name) for name in RULES} | {"tensor": _literal_call}

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


# ---- operators -------------------------------------------------------------------------------------------------------
def of_models(*types: Type | None) -> str | None:
    """What to write instead of arithmetic on a model."""
    if not any(t is not None and model_of(t) for t in types):
        return None
    return "arithmetic is for a model's parameters: `with_params(m, params(m) - d)`, or `set_params(mut m, ...)`"


def binary_tensor(ctx: Context, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    """An operator or comparison with a tensor on one side at least."""
    try:
        left, right = plain(ctx, left), plain(ctx, right)
        for e in (left, right):
            if not is_numeric(e.type) and not is_literal(e):
                ctx.error("HYB302", f"`{op}` is not for {left.type} and {right.type}", span,
                          of_models(left.type, right.type))
                raise Stop
        if op == "@":
            return matmul(ctx, left, right, span)
        what = f"`{op}` of {left.type} and {right.type}"
        if op == "/" and not any(is_float(elem(e.type)) or is_literal(e) and has_float(e) for e in (left, right)):
            ctx.error("HYB304", f"{what}: `/` is for floats", span, "`//` divides integers; or cast, `f32(x)`")
            raise Stop
        kind, (left, right) = join(ctx, [left, right], span, what)
        dims = broadcast(ctx, [shape(left.type), shape(right.type)], span, f"`{op}`")
        if op in ("&", "|", "^"):
            allowed = kind == BOOL or is_int(kind)
        elif op in ("<<", ">>"):
            allowed = is_int(kind)
        else:
            allowed = kind != BOOL or op in COMPARISONS
        if not allowed:
            ctx.error("HYB302", f"`{op}` is not for {left.type} and {right.type}", span)
            raise Stop
        return tree.Binary(of_shape(BOOL if op in COMPARISONS else kind, dims), span, op, left, right)
    except Stop:
        return ctx.poison(span)


def unary_tensor(ctx: Context, op: str, operand: tree.Expr, span: Span) -> tree.Expr:
    """`-`, `+`, `~` of a tensor."""
    try:
        operand = plain(ctx, operand)
        kind = elem(operand.type)
        if op == "not" or kind == BOOL and op != "~" or op == "~" and kind != BOOL and not is_int(kind):
            ctx.error("HYB302", f"`{op}` is not for {operand.type}", span,
                      "`~x` turns each element" if op == "not" and kind == BOOL else None)
            raise Stop
        return operand if op == "+" else tree.Unary(operand.type, span, op, operand)
    except Stop:
        return ctx.poison(span)


def transpose_of(ctx: Context, value: tree.Expr, span: Span) -> tree.Expr:
    """`x.T`"""
    try:
        value = plain(ctx, value)
        if any(isinstance(d, PackVar) for d in shape(value.type)):
            ctx.error("HYB405", f"`.T` reverses all axes, and {value.type} has any number of them", span,
                      "`transpose(x, -2, -1)` exchanges the last two")
            raise Stop
        return transposed(value, span)
    except Stop:
        return ctx.poison(span)


# ---- literals --------------------------------------------------------------------------------------------------------
def literal_tensor(ctx: Context, literal: syntax.List, expected: Type | None) -> tree.Expr:
    """A list literal, nested or flat, as a tensor."""
    try:
        return _literal_tensor(ctx, literal, expected)
    except Stop:
        return ctx.poison(literal.span)


def _literal_tensor(ctx: Context, literal: syntax.List, expected: Type | None) -> tree.Expr:
    wanted = elem(expected) if expected is not None else None
    dims, leaves = _rows(ctx, literal, wanted)
    if not leaves:
        if expected is not None and len(shape(expected)) > len(dims):
            # `[]` for f32[0, 3]: what the literal does not say, the context does.
            return tree.MakeTensor(of_shape(elem(expected), (*dims, *shape(expected)[len(dims) :])), literal.span, ())
        kind = wanted if wanted is not None else _no_type(ctx, literal)
        return tree.MakeTensor(of_shape(kind, dims), literal.span, ())
    kind, leaves = join(ctx, leaves, literal.span, "a tensor", False, expected)
    if wanted is not None and wanted != kind and kind == INT and is_float(wanted):
        kind, leaves = wanted, [cast(e, wanted) for e in leaves]
    tail = shape(leaves[0].type)
    for e in leaves[1:]:
        if len(shape(e.type)) != len(tail):
            _uneven(ctx, tail, shape(e.type), e.span)
        tail = _common(ctx, tail, shape(e.type), e.span)
    return tree.MakeTensor(of_shape(kind, dims + tail), literal.span, tuple(leaves))


def _rows(ctx: Context, literal: syntax.List, wanted: Type | None) -> tuple[tuple[Dim, ...], list[tree.Expr]]:
    """The dimensions that brackets give, and all elements: numbers, or tensors of one shape."""
    parts: list[tuple[tuple[Dim, ...], list[tree.Expr]]] = []
    for item in literal.items:
        if isinstance(item, syntax.List):
            parts.append(_rows(ctx, item, wanted))
            continue
        e = plain(ctx, ctx.expr(item, wanted))
        if not is_numeric(e.type) and not is_literal(e):
            ctx.error("HYB301", f"an element of a tensor is a number, not {e.type}", e.span)
            raise Stop
        parts.append(((), [e]))
    if any(isinstance(e.type, Tensor) for _, leaves in parts for e in leaves):
        # Beside a tensor, brackets are one.
        for i, (nest, leaves) in enumerate(parts):
            if nest:
                e = _literal_tensor(ctx, literal.items[i], of_shape(wanted, ()) if wanted else None)  # type: ignore[arg-type]
                parts[i] = ((), [e])
            del leaves
    count = Dim.of(len(parts))
    if not parts:
        return (count,), []
    for i, (nest, _) in enumerate(parts):
        if nest != parts[0][0]:
            sizes = f"{show_shape(parts[0][0])} and {show_shape(nest)}"
            ctx.error("HYB401", f"rows of a tensor are equally long: {sizes}", literal.items[i].span)
            raise Stop
    return (count, *parts[0][0]), [e for _, leaves in parts for e in leaves]


def _common(ctx: Context, a: Shape, b: Shape, span: Span) -> Shape:
    """One shape for two rows of a literal."""
    out: list[Dim | PackVar] = []
    for x, y in zip(a, b, strict=True):
        agreed = x if x == y else None if isinstance(x, PackVar) or isinstance(y, PackVar) else same_dim(ctx, x, y)
        if agreed is None:
            _uneven(ctx, a, b, span)
        out.append(agreed)  # type: ignore[arg-type]
    return tuple(out)


def _uneven(ctx: Context, a: Shape, b: Shape, span: Span) -> None:
    ctx.error("HYB401", f"rows of a tensor have one shape: {show_shape(a)} and {show_shape(b)}", span)
    raise Stop


def _no_type(ctx: Context, literal: syntax.List) -> Type:
    ctx.error("HYB404", "the element type of an empty tensor is not known", literal.span)
    raise Stop


# ---- updates ---------------------------------------------------------------------------------------------------------
def update_value(ctx: Context, part: Type, op: str | None, value: tree.Expr, span: Span) -> tree.Expr:
    """The right side of `PLACE = value` or `PLACE op= value`, where the place is a tensor or a part of one of type
    `part`: with the part's element type, and of a shape that broadcasts to it. The place's own shape never changes."""
    try:
        value = plain(ctx, value)
        part = ctx.resolve(part)
        if isinstance(part, Poison):
            raise Stop
        if op == "@":
            result = binary_tensor(ctx, "@", tree.Builtin(part, span, "part", ()), value, span)
            if isinstance(result, tree.Binary):
                _fits(ctx, shape(part), shape(result.type), "`@=`", span)
                return value
            raise Stop
        what = f"`{op}=`" if op else "an assignment"
        kind = elem(part)
        if op is not None:
            probe = tree.Builtin(part, span, "part", ())
            result = binary_tensor(ctx, op, probe, value, span)
            if not isinstance(result, tree.Binary):
                raise Stop
            if elem(result.type) != kind:
                ctx.error("HYB303", f"{what} of {value.type} to {part} would change its type", span,
                          f"cast the right side, `{kind}(x)`")
                raise Stop
            value = result.right
        elif is_numeric(value.type) or is_literal(value):
            if elem(value.type) != kind:
                if is_literal(value) and (is_float(kind) or is_int(kind) and not has_float(value)):
                    value = adapt(value, kind)
                elif elem(value.type) == INT and is_float(kind):
                    value = cast(value, kind)
                else:
                    ctx.error("HYB301", f"the new value: expected {part}, found {value.type}", value.span,
                              f"cast it: `{kind}(...)`")
                    raise Stop
        else:
            ctx.error("HYB301", f"the new value: expected {part}, found {value.type}", value.span)
            raise Stop
        _fits(ctx, shape(part), shape(value.type), what, span if op else value.span)
        return value
    except Stop:
        return ctx.poison(span)


def _fits(ctx: Context, place: Shape, value: Shape, what: str, span: Span) -> None:
    """That a value broadcasts to the shape of the place it goes to."""
    dims = broadcast(ctx, [place, value], span, what)
    ok = len(dims) == len(place)
    for d, p in zip(dims, place, strict=False):
        ok = ok and (d == p or not isinstance(d, PackVar) and not isinstance(p, PackVar)
                     and ctx.equal_dims(d, p) is not False)
    if not ok:
        shown = f"{show_shape(value)} does not fit in a place of shape {show_shape(place)}"
        ctx.error("HYB401", f"a value of shape {shown}", span)
        raise Stop


__all__ = [
    "BUILTINS", "INITIALISERS", "Context", "binary_tensor", "initialiser", "literal_tensor",
    "tensor_layer_rules", "tensor_shape_rules", "transpose_of", "unary_tensor", "update_value",
]
