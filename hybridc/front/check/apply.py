"""Calls of what is no declared function: values of fn type, derivatives, models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hybridc.base.types import FnType, ModelType, Option, Poison, Type, TypeVar
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    fn as check_fn,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.infer import Meta
from hybridc.front.check.scope import ParamSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def call_value(c: Body, value: tree.Expr, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """A call of a value: of fn type, or a model, whose `forward` is meant."""
    t = c.head(value.type)
    match t:
        case Poison():
            check_call.poison_args(c, e)
            return c.poison(e.span)
        case FnType(params, result):
            known = tree.differentiated(value)
            if known is not None:
                return call_derivative(c, value, known, t, e)
            if isinstance(value, tree.Local) and value.var.key in c.local_fns:
                return call_local(c, value, c.local_fns[value.var.key], t, e)
            sigs = [ParamSig(f"argument {i + 1}", p, mut, False, e.span) for i, (p, mut) in enumerate(params)]
            of = value.kind if isinstance(value, tree.Gradient) and value.kind in ("jvp", "hvp") else None
            help = "after the arguments stands a direction for each that it is taken by, of its type" if of else None
            args = positional(c, sigs, e, f"`{of}(f)`" if of else "this function", help)
            if args is None:
                return c.poison(e.span)
            return tree.CallValue(c.fresh_unknowns(result), e.span, value, args)
        case ModelType() | TypeVar():
            sig = check_access.method_of(c, t, "forward")
            if sig is not None:
                return check_call.call_fn(c, sig, (e.fn, value), e, None, expected)
            if isinstance(t, TypeVar):
                demanded = check_call.demanded_method(c, t, "forward")
                if demanded is not None:
                    return check_call.call_demanded(c, demanded, (e.fn, value), e)
                if t.bound == "model":
                    return check_call.call_any_model(c, (e.fn, value), e)
            if check_access.model_of(c, t) is not None:
                c.error("HYB307", f"{c.show(t)} has no `forward`, so it cannot be called", e.fn.span)
                check_call.poison_args(c, e)
                return c.poison(e.span)
        case Option():
            c.error("HYB307", f"{c.show(t)} may be none, so it cannot be called", e.fn.span,
                    help="test it first: `if f != none:`")
            check_call.poison_args(c, e)
            return c.poison(e.span)
        case Meta():
            args_e = [c.value(a.value) for a in e.args if not a.mut]
            if len(args_e) == len(e.args):
                result_t = c.fresh(e.span, "the result of this call")
                c.solver.unify(t, FnType(tuple((a.type, False) for a in args_e), result_t))
                return tree.CallValue(result_t, e.span, value, tuple(tree.Arg(a) for a in args_e))
    check_call.poison_args(c, e)
    c.error("HYB307", f"{c.show(t)} is not a function", e.fn.span)
    return c.poison(e.span)


def call_derivative(
    c: Body, value: tree.Expr, f: tree.FnValue | tree.BoundMethod, t: FnType, e: syntax.Call
) -> tree.Expr:
    """A call of `grad(f)` and the like: with the names and defaults of f."""
    sig = c.world.fn(f.fn.key)
    own = sig.params[1:] if isinstance(f, tree.BoundMethod) else sig.params
    return _by_name(c, value, own, f"the derivative of `{check_call.shown_name(sig)}`", t, e)


def call_local(c: Body, value: tree.Local, own: Sequence[ParamSig], t: FnType, e: syntax.Call) -> tree.Expr:
    """A call of a variable that is a known function: with the names of its parameters, and the defaults of a `fn`."""
    return _by_name(c, value, own, f"`{value.var.name}`", t, e, [check_fn.default_name(p) for p in own])


def _by_name(c: Body, value: tree.Expr, own: Sequence[ParamSig], what: str, t: FnType, e: syntax.Call,
             defaults: list[str] | None = None) -> tree.Expr:
    """A call of a value whose parameters are known; `defaults` are the variables that hold what is left out."""
    params = [replace(p, type=kind, mut=mut) for p, (kind, mut) in zip(own, t.params, strict=True)]
    found = check_call.bind(c, [p.name for p in params], [p.has_default for p in params], e.args, e.span, what)
    if found is None:
        check_call.poison_args(c, e)
        return c.poison(e.span)
    bound, order = found
    for i, name in enumerate(defaults or ()):
        if bound[i] is None:
            bound[i] = syntax.Argument(e.span, None, False, syntax.Name(e.span, name))
            order = (*order, i)
    args = check_call.arguments(c, params, bound, {}, what, order)
    return tree.CallValue(c.fresh_unknowns(t.result), e.span, value, tuple(args), order)


def positional(
    c: Body, params: list[ParamSig], e: syntax.Call, what: str, help: str | None = None
) -> tuple[tree.Arg, ...] | None:
    """The arguments of a call of a value: by position only."""
    for a in e.args:
        if a.name is not None:
            c.error("HYB306", f"{what} is a value: its arguments have no names", a.span)
            return None
    if len(e.args) != len(params):
        c.error("HYB306", f"{what} takes {len(params)} argument" + ("" if len(params) == 1 else "s")
                + f", {len(e.args)} given", e.span, help=help)
        check_call.poison_args(c, e)
        return None
    bound = [a for a in e.args]
    done = check_call.arguments(c, params, bound, {}, what, tuple(range(len(params))))
    return tuple(done)
