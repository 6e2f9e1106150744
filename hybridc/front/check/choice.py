"""`estimator=` of `g.categorical` and `argmax`: how a derivative goes on at a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.types import STD_TYPES, Type
from hybridc.front.check import call as check_call
from hybridc.front.check import tree
from hybridc.front.check.scope import FnSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

ESTIMATORS = "reinforce, reinforce(baseline), rloo(k), straight_through, gumbel(tau), exact"


def asks(e: syntax.Call) -> bool:
    return any(a.name == "estimator" for a in e.args)


def categorical(c: Body, receiver: tree.Expr, fn: syntax.Attribute, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`g.categorical(logits, estimator=...)`: an index; of `straight_through` and `gumbel` a one-hot vector."""
    found = _estimator(c, e)
    if found is None:
        check_call.poison_args(c, e)
        return c.poison(e.span)
    name, given, rest = found
    zero, none = syntax.Literal(e.span, 0.0), syntax.Literal(e.span, 0)
    more: dict[str, tuple[str, list[syntax.Expr]]] = {
        "reinforce": ("_categorical_score", [*(given or [zero]), none]),
        "rloo": ("_categorical_score", [zero, *given]),
        "exact": ("_categorical_exact", []),
        "straight_through": ("_categorical_straight", []),
        "gumbel": ("_categorical_gumbel", given),
    }
    method, args = more[name]
    sig = c.world.method(STD_TYPES["rng"], method)
    assert sig is not None
    inner = syntax.Call(e.span, fn, (*rest, *(syntax.Argument(a.span, None, False, a) for a in args)))
    return check_call.call_fn(c, sig, (fn.value, receiver), inner, None, expected)


def argmax(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`argmax(x, estimator=...)`: one-hot along the last axis."""
    found = _estimator(c, e)
    if found is None:
        check_call.poison_args(c, e)
        return c.poison(e.span)
    name, given, rest = found
    if name not in ("straight_through", "gumbel"):
        c.error("HYB621", f"`{name}` estimates random choices, and argmax is none", e.span,
                help="`straight_through` or `gumbel(tau)`; or draw it, `g.categorical(x, estimator=...)`")
        check_call.poison_args(c, e)
        return c.poison(e.span)
    rest = [a for a in rest if not (a.name == "axis" and c.const(a.value) == -1)]
    sig = c.world.sigs.get("std.rng:_argmax_straight" if name == "straight_through" else "std.rng:_argmax_gumbel")
    assert isinstance(sig, FnSig)
    inner = syntax.Call(e.span, e.fn, (*rest, *(syntax.Argument(a.span, None, False, a) for a in given)))
    return check_call.call_fn(c, sig, None, inner, None, expected)


def _estimator(c: Body, e: syntax.Call) -> tuple[str, list[syntax.Expr], list[syntax.Argument]] | None:
    """Its name and arguments, and the other arguments of the call."""
    value = next(a.value for a in e.args if a.name == "estimator")
    rest = [a for a in e.args if a.name != "estimator"]
    args: list[syntax.Expr] = []
    name = value
    if isinstance(value, syntax.Call) and all(a.name is None for a in value.args):
        name, args = value.fn, [a.value for a in value.args]
    counts = {"reinforce": (0, 1), "rloo": (1,), "straight_through": (0,), "gumbel": (1,), "exact": (0,)}
    if not isinstance(name, syntax.Name) or name.id not in counts or len(args) not in counts[name.id]:
        c.error("HYB621", "this is no estimator", value.span, help=f"an estimator is one of {ESTIMATORS}")
        return None
    return name.id, args, rest
