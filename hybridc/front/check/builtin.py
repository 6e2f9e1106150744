"""Built-in functions that are not about tensors alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import PackVar
from hybridc.base.types import (
    BOOL,
    F32,
    INT,
    PRIMS,
    STR,
    VOID,
    ModelType,
    Named,
    Option,
    Poison,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    list_of,
)
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    choice as check_choice,
)
from hybridc.front.check import (
    grad as check_grad,
)
from hybridc.front.check import (
    make as check_make,
)
from hybridc.front.check import (
    model as check_model,
)
from hybridc.front.check import (
    ops as check_ops,
)
from hybridc.front.check import (
    place as check_place,
)
from hybridc.front.check import (
    stmt as check_stmt,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.bounds import is_float, is_number
from hybridc.front.check.infer import Meta
from hybridc.front.check.tensor import BUILTINS as TENSOR_BUILTINS
from hybridc.front.check.tensor import binary_tensor
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

OF_LIST = {"sum": "_sum", "min": "_min", "max": "_max", "sorted": "sorted", "reversed": "reversed", "any": "_any",
           "all": "_all", "prod": "_prod"}
"""Functions that are methods of lists too."""
BY_KEY = {"sort": "_sort_by", "sorted": "_sorted_by", "min": "_min_by", "max": "_max_by"}
"""The method that takes `key=`."""


def call(c: Body, name: str, e: syntax.Call, brackets: Any, expected: Type | None) -> tree.Expr:
    """A call of a name that no declaration has taken."""
    if brackets is not None:
        c.error("HYB306", f"`{name}` takes no arguments in brackets", e.fn.span)
        check_call.poison_args(c, e)
        return c.poison(e.span)
    if name in PRIMS:
        return cast(c, PRIMS[name], e)
    if name in c.reader.types:
        return cast(c, c.reader.types[name], e)
    if name == "argmax" and check_choice.asks(e):
        return check_choice.argmax(c, e, expected)
    special = SPECIAL.get(name)
    if special is not None:
        return special(c, e, expected)
    if name in OF_LIST:
        return of_list(c, name, e, expected)
    if name in TENSOR_BUILTINS:
        return TENSOR_BUILTINS[name](c, e, expected)
    check_call.poison_args(c, e)
    return c.unknown_name(name, e.fn.span)


def _args(c: Body, e: syntax.Call, name: str, least: int, most: int | None) -> list[syntax.Expr] | None:
    """Arguments by position only."""
    for a in e.args:
        if a.name is not None:
            c.error("HYB306", f"`{name}` has no parameter `{a.name}`", a.span)
            check_call.poison_args(c, e)
            return None
    if len(e.args) < least or (most is not None and len(e.args) > most):
        wanted = f"{least}" if most == least else f"{least} to {most}" if most is not None else f"at least {least}"
        c.error("HYB306", f"`{name}` takes {wanted} argument{'' if wanted == '1' else 's'}, {len(e.args)} given",
                e.span)
        check_call.poison_args(c, e)
        return None
    return [a.value for a in e.args]


# ---- casts -----------------------------------------------------------------------------------------------------------
def cast(c: Body, to: Prim | TypeVar, e: syntax.Call) -> tree.Expr:
    """`f64(x)`, `int("3")`."""
    args = _args(c, e, str(to), 1, 1)
    if args is None:
        return tree.Const(to, e.span, None) if isinstance(to, Prim) else c.poison(e.span)
    exact = isinstance(args[0], syntax.Literal) or (is_float(to) and isinstance(c.const(args[0]), float))
    hint = to if exact else None
    x = c.value(args[0], hint)
    t = c.head(x.type)
    if isinstance(t, Poison):
        return x
    if isinstance(t, Meta):
        c.solver.unify(t, to)
        return x
    if t == to and (exact or isinstance(x, tree.Const)):
        # A number stays a cast: as a bare literal it would take another type from its context.
        return x if to == BOOL else tree.Cast(to, e.span, x, False)
    if t == STR and to in (INT, *(p for p in PRIMS.values() if p != BOOL)):
        return tree.Builtin(to, e.span, str(to), (x,))
    if isinstance(t, Tensor):
        if to == BOOL and t.elem != BOOL:
            return binary_tensor(c, "!=", x, tree.Const(t.elem, e.span, 0), e.span)
        return x if t.elem == to else tree.Cast(Tensor(to, t.shape), e.span, x, False)
    if to == BOOL and is_number(t):
        zero = tree.Const(t, e.span, 0.0 if is_float(t) else 0)
        return tree.Binary(BOOL, e.span, "!=", x, zero)
    if is_number(t) or (t == BOOL and to != BOOL):
        return x if t == to else tree.Cast(to, e.span, x, False)
    if t == to:
        return x
    help = "an option may be none: `x ?? 0`" if isinstance(t, Option) else None
    c.error("HYB317", f"{c.show(t)} cannot be cast to {to}", e.span, help=help)
    return tree.Const(to, e.span, 0)


# ---- printing, lengths, ranges ---------------------------------------------------------------------------------------
def print_(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    values: list[tree.Expr] = []
    for a in e.args:
        if a.name is not None:
            c.error("HYB306", f"`print` has no parameter `{a.name}`", a.span, help="join the text in an f-string")
        values.append(check_make.shown(c, a.value))
    return tree.Builtin(VOID, e.span, "print", tuple(values))


def to_str(c: Body, e: syntax.Call, name: str = "str") -> tree.Expr:
    args = _args(c, e, name, 1, 1)
    if args is None:
        return tree.Const(STR, e.span, "")
    return tree.Builtin(STR, e.span, name, (check_make.shown(c, args[0]),))


def len_(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "len", 1, 1)
    if args is None:
        return tree.Const(INT, e.span, 0)
    x = c.value(args[0])
    t = c.head(x.type)
    match t:
        case Poison():
            return tree.Const(INT, e.span, 0)
        case Tensor(_, (PackVar(),)):
            c.error("HYB302", f"{c.show(t)} may be a number, which has no length", e.span,
                    help="name a dimension beside the `*`: `f32[*B, N]`")
            return tree.Const(INT, e.span, 0)
        case Tensor() | TupleType():
            return tree.Builtin(INT, e.span, "len", (x,))
        case Named(key):
            sig = c.world.method(key, "_len")
            if sig is not None:
                return check_call.method_call(c, sig, x, [], e.span)
        case Meta():
            c.error("HYB308", "the type of this value is not known here", x.span,
                    help="write its type where it is declared")
            return tree.Const(INT, e.span, 0)
        case ModelType() | TypeVar():
            pass
    help = "it may be none: test it first, `if x != none:`" if isinstance(t, Option) else None
    c.error("HYB302", f"{c.show(t)} has no length", e.span, help=help)
    return tree.Const(INT, e.span, 0)


def range_(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "range", 1, 3)
    values = tuple(c.typed(a, INT, "a bound of `range`") for a in args or ())
    return tree.Builtin(list_of(INT), e.span, "range", values)


def enumerate_(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    if len(e.args) == 2 and e.args[1].name == "start":
        e = replace(e, args=(e.args[0], replace(e.args[1], name=None)))
    args = _args(c, e, "enumerate", 1, 2)
    if args is None:
        return c.poison(e.span)
    x, item = check_stmt.iterable(c, args[0])
    values = [x, *(c.typed(a, INT, "the start of `enumerate`") for a in args[1:])]
    return tree.Builtin(list_of(TupleType((INT, item))), e.span, "enumerate", tuple(values))


def zip_(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "zip", 2, None)
    if args is None:
        return c.poison(e.span)
    pairs = [check_stmt.iterable(c, a) for a in args]
    return tree.Builtin(list_of(TupleType(tuple(t for _, t in pairs))), e.span, "zip", tuple(x for x, _ in pairs))


# ---- lists and scalars -----------------------------------------------------------------------------------------------
def of_list(c: Body, name: str, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`sum(xs)`, `max(a, b)`, `sorted(xs, key=f)`: of a list, of scalars, or the tensor function."""
    if not e.args or e.args[0].name is not None or e.args[0].mut:
        if name in TENSOR_BUILTINS:
            return TENSOR_BUILTINS[name](c, e, expected)
        c.error("HYB306", f"`{name}` needs a list", e.span)
        return c.poison(e.span)
    scalars = name in ("min", "max") and len(e.args) > 1 and all(a.name is None for a in e.args)
    if scalars:
        return extreme(c, name, e, expected)
    first = e.args[0].value
    hint = None
    if name in ("sorted", "reversed"):
        hint = expected
    elif isinstance(first, syntax.List) and expected is not None and is_number(c.head(expected)):
        hint = list_of(c.head(expected))
    value = c.value(first, hint)
    t = c.head(value.type)
    if isinstance(t, Poison):
        check_call.poison_args(c, syntax.Call(e.span, e.fn, e.args[1:]))
        return c.poison(e.span)
    if isinstance(t, Named):
        return list_method(c, name, value, t, e)
    if name in TENSOR_BUILTINS:
        c.prechecked[id(first)] = value
        return TENSOR_BUILTINS[name](c, e, expected)
    c.error("HYB302", f"`{name}` is for lists, not {c.show(t)}", e.span)
    return c.poison(e.span)


def list_method(c: Body, name: str, value: tree.Expr, t: Named, e: syntax.Call) -> tree.Expr:
    method = OF_LIST[name]
    if any(a.name == "key" for a in e.args):
        method = BY_KEY.get(name, method)
    sig = c.world.method(t.key, method)
    if sig is None:
        to_list = c.world.method(t.key, "_to_list")
        if to_list is not None:
            value = check_call.method_call(c, to_list, value, [], e.args[0].value.span)
            t = c.head(value.type)  # type: ignore[assignment]
            sig = c.world.method(t.key, method)
    if sig is None:
        c.error("HYB302", f"`{name}` is not for {c.show(t)}", e.span)
        return c.poison(e.span)
    rest = syntax.Call(e.span, e.fn, e.args[1:])
    return check_call.call_fn(c, sig, (e.args[0].value, value), rest, None, None)


def extreme(c: Body, name: str, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`max(a, b)` of scalars; of tensors it is the tensor function."""
    values: list[tree.Expr] = [c.poison(e.span)] * len(e.args)
    anchor: Type | None = None
    for literal in (False, True):
        for i, a in enumerate(e.args):
            if check_ops.untyped(c, a.value) is literal:
                values[i] = c.value(a.value, anchor if anchor is not None else expected)
                if anchor is None:
                    anchor = values[i].type
    if any(isinstance(c.head(v.type), Tensor) for v in values):
        for a, v in zip(e.args, values):
            c.prechecked[id(a.value)] = v
        return TENSOR_BUILTINS[name](c, e, expected)
    t: Type = values[0].type
    for i in range(1, len(values)):
        one, other = values[0], values[i]
        if is_number(c.head(one.type)) and is_number(c.head(other.type)):
            joined = check_ops.join_numbers(c, f"{name}()", one, other, e.span)
            if joined is None:
                return c.poison(e.span)
            values[0], values[i], t = joined
        else:
            values[0], values[i], t = c.join(one, other, f"the arguments of `{name}`", e.span)
    if isinstance(c.head(t), Poison):
        return c.poison(e.span)
    done = tuple(v if c.head(v.type) == c.head(t) else _as(c, v, t) for v in values)
    c.require(t, "order", e.span, f"`{name}`")
    return tree.Builtin(t, e.span, name, done)


def _as(c: Body, v: tree.Expr, t: Type) -> tree.Expr:
    if c.head(v.type) == INT and is_float(c.head(t)):
        return tree.Cast(t, v.span, v, True)
    return c.coerce(v, t, "an argument")


# ---- models ----------------------------------------------------------------------------------------------------------
def _elem(c: Body, t: Type, wanted: Type | None = None) -> Type:
    """What a model's parameters are; of any model (`M: model`) what the context asks for."""
    found = check_access.model_of(c, t)
    if found is None:
        wanted = c.head(wanted) if wanted is not None else None
        return wanted.elem if isinstance(wanted, Tensor) and is_float(wanted.elem) else F32
    return check_model.elem_of_model(c.checker, found[0]) or F32


def _model_arg(c: Body, x: tree.Expr, name: str) -> Type | None:
    t = c.head(x.type)
    if isinstance(t, Poison):
        return None
    if isinstance(t, ModelType) or (isinstance(t, TypeVar) and (t.bound or "").startswith("model")):
        return t
    if isinstance(t, TypeVar) and t.bound == "method":
        return t
    c.error("HYB301", f"`{name}` is for models, not {c.show(t)}", x.span)
    return None


def params(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "params", 1, 1)
    if args is None:
        return c.poison(e.span)
    x = c.value(args[0])
    t = _model_arg(c, x, "params")
    if t is None:
        return c.poison(e.span)
    return tree.Builtin(Tensor(_elem(c, t, expected), (c.fresh_dim(),)), e.span, "params", (x,))


def num_params(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "num_params", 1, 1)
    x = c.value(args[0]) if args is not None else c.poison(e.span)
    if args is not None:
        _model_arg(c, x, "num_params")
    return tree.Builtin(INT, e.span, "num_params", (x,))


def with_params(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "with_params", 2, 2)
    if args is None:
        return c.poison(e.span)
    x = c.value(args[0])
    t = _model_arg(c, x, "with_params")
    if t is None:
        c.expr(args[1])
        return c.poison(e.span)
    check_place.not_copied(c, x, "`with_params` would copy it")
    v = c.typed(args[1], Tensor(_elem(c, t), (c.fresh_dim(),)), "the parameters")
    return tree.Builtin(t, e.span, "with_params", (x, v))


def set_params(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    args = _args(c, e, "set_params", 2, 2)
    if args is None:
        return c.poison(e.span)
    if not e.args[0].mut:
        c.error("HYB506", "`set_params` changes its model: mark it at the call", args[0].span,
                help=f"write `mut {c.checker.text(args[0].span)}`")
        c.expr(args[1])
        return tree.Builtin(VOID, e.span, "pass", ())
    place = check_place.place(c, args[0], "mut")
    if place is None:
        c.expr(args[1])
        return tree.Builtin(VOID, e.span, "pass", ())
    place = check_place.held(c, place)
    t = _model_arg(c, place, "set_params")  # type: ignore[arg-type]
    if t is not None and check_access.model_of(c, t) is None:
        v = c.value(args[1])
        v = c.coerce(v, Tensor(_elem(c, t, v.type), (c.fresh_dim(),)), "the parameters")
    else:
        v = c.typed(args[1], Tensor(F32 if t is None else _elem(c, t), (c.fresh_dim(),)), "the parameters")
    return tree.Builtin(VOID, e.span, "set_params", (place, v))  # type: ignore[arg-type]


SPECIAL: dict[str, Callable[[Body, syntax.Call, Type | None], tree.Expr]] = {
    "print": print_,
    "len": len_,
    "range": range_,
    "enumerate": enumerate_,
    "zip": zip_,
    "repr": lambda c, e, expected: to_str(c, e, "repr"),
    "params": params,
    "num_params": num_params,
    "with_params": with_params,
    "set_params": set_params,
    **dict.fromkeys(("grad", "value_and_grad", "jvp", "hvp", "jacobian"), check_grad.gradient),
    "checkpoint": check_grad.checkpoint,
}
NAMES = frozenset(SPECIAL) | frozenset(OF_LIST) | frozenset(TENSOR_BUILTINS) | frozenset(PRIMS)
"""Every built-in function."""
