"""Calls of values of fn type, and of derivatives where they are taken."""

from __future__ import annotations

from hybridc.base.types import FnType, Type
from hybridc.front.check import tree
from hybridc.front.lower.call import Arguments, arg_type, finish
from hybridc.front.lower.core import Lowerer, Value, lowers
from hybridc.front.lower.expr import default_value
from hybridc.front.lower.gradient import Gradient, checkpoint
from hybridc.front.lower.instance import resolve
from hybridc.front.lower.types import erase


def _defaults(lw: Lowerer, e: tree.CallValue, arguments: Arguments) -> None:
    """What a call of a derivative leaves out, from the declaration of the function."""
    missing = [i for i, a in enumerate(e.args) if a.value is None and a.place is None]
    if not missing:
        return
    f = tree.differentiated(e.fn)
    assert f is not None
    types: list[Type | None] = [arg_type(a) for a in e.args]
    if isinstance(f, tree.BoundMethod):
        types.insert(0, f.receiver.type)
    _, decl, there = resolve(lw, f.fn, types)
    for i in missing:
        default = decl.params[i + len(types) - len(e.args)].default
        assert default is not None
        arguments.atoms[i] = lw.whole(default_value(lw, default, there))


@lowers(tree.CallValue)
def call_value(lw: Lowerer, e: tree.CallValue) -> Value | None:
    fn_type = lw.concrete(e.fn.type)
    assert isinstance(fn_type, FnType)
    derivative = Gradient(lw, e.fn) if isinstance(e.fn, tree.Gradient) else None
    again = checkpoint(lw, e.fn) if isinstance(e.fn, tree.Checkpoint) else None
    fn = lw.expr(e.fn) if derivative is None and again is None else None
    arguments = Arguments(lw)
    for position in e.order or range(len(e.args)):
        arguments.evaluate(position, e.args[position])
    _defaults(lw, e, arguments)
    arguments.take(e.args)
    lw.b.span = e.span
    atoms = arguments.list(len(e.args))
    if again is not None:
        results = lw.ctx.closures.signature(erase(fn_type))[1]  # type: ignore[arg-type]
        outs = list(lw.b.call(again.fn, [*(a for _, a in again.captures), *atoms], results))
    elif derivative is None:
        assert fn is not None
        outs = list(lw.ctx.closures.apply(lw, fn_type, fn, atoms))
    else:
        captured = [a for _, a in derivative.captures]
        outs = list(lw.b.call(derivative.fn, [*captured, *atoms], derivative.results))
        if derivative.place is not None:
            derivative.place.put(outs.pop(1))
    return finish(lw, e, fn_type.result, outs, arguments, outside=True)
