"""`@custom_grad(back)`: the function that computes the derivative of another one fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import POISON, VOID, FnRef, TupleType, Type, substitute
from hybridc.front.check.generic import instantiate
from hybridc.front.check.grad import derivative
from hybridc.front.check.scope import FnSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def custom_grad(c: Body, sig: FnSig, fn: syntax.Fn) -> FnRef | None:
    """The function that a decorator of `fn` names; an error if there is none, or it does not fit."""
    for d in fn.decorators:
        if d.name != "custom_grad":
            c.error("HYB605", f"there is no decorator `@{d.name}`", d.span, help=nearest(d.name, ["custom_grad"]))
            continue
        arg = d.args[0].value if len(d.args) == 1 else None
        entity = c.entity(arg.id) if isinstance(arg, syntax.Name) else None
        back = c.world.sigs.get(entity.key) if entity is not None else None
        if not isinstance(back, FnSig):
            c.error("HYB605", "`@custom_grad` takes the name of the fn that computes the derivative", d.span)
            continue
        return _fitting(c, sig, back, d.span)
    return None


def _fitting(c: Body, sig: FnSig, back: FnSig, span: Span) -> FnRef | None:
    """`back(arguments..., result, derivative of the result)` gives a derivative for each argument that has one."""
    assert sig.result is not None
    c.checker.ensure_result(c, back, span)
    types = [p.type for p in sig.params]
    result = c.head(sig.result)
    seed = derivative(c, result) if result != VOID else None
    found = [(p, derivative(c, p.type)) for p in sig.params]
    derivatives = [t for _, t in found if t is not None]
    if POISON in (result, *types, back.result):
        return None
    if seed is None or not derivatives:
        what = "its result holds" if seed is None else "its arguments hold"
        c.error("HYB605", f"`{sig.name}` has no derivative: {what} no floats", span)
        return None
    if any(p.mut and t is not None for p, t in found) or any(p.mut for p in back.params):
        c.error("HYB605", f"`{sig.name}` and `{back.name}` change no argument: a derivative of its own is one of "
                "arguments and result alone", span)
        return None
    if sig.given or back.given:
        c.error("HYB605", f"`{(sig if sig.given else back).name}` has a dimension that no argument binds", span)
        return None
    if len(back.params) != len(types) + 2:
        c.error("HYB605", f"`{back.name}` takes the arguments of `{sig.name}`, its result and the derivative of the "
                f"result: {len(types) + 2} parameters, not {len(back.params)}", span)
        return None
    waiting = len(c.solver.postponed)
    s, metas, packs = instantiate(c, back, span, None)
    for p, t in zip(back.params, [*types, result, seed]):
        if not c.solver.attempt(substitute(p.type, s), t):
            c.error("HYB605", f"`{p.name}` of `{back.name}` must be {c.show(t)}, and it is {c.show(p.type)}", span,
                    help=f"it takes the arguments of `{sig.name}`, its result and the derivative of the result")
            return None
    wanted: Type = derivatives[0] if len(derivatives) == 1 else TupleType(tuple(derivatives))
    if back.result is None or not c.solver.attempt(wanted, substitute(back.result, s)):
        given = "nothing" if back.result in (None, VOID) else c.show(back.result)  # type: ignore[arg-type]
        c.error("HYB605", f"`{back.name}` must give {c.show(wanted)}, and it gives {given}", span,
                help=f"one derivative for each argument of `{sig.name}` that has one")
        return None
    bad = c.solver.settle_postponed(waiting)
    if bad is not None:
        c.error("HYB605", f"`{back.name}`: a dimension must be {bad[0]}, and it is {bad[1]}", span)
    return FnRef(back.key, metas, packs)
