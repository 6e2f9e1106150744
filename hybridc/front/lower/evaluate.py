"""What is known when the program is compiled, and takes more than arithmetic: calls, floats, comprehensions, text. Such
an expression becomes a Core program of its own, which the reference interpreter runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hybridc.base.types import STD_TYPES, STR, Named, TupleType, Type
from hybridc.core import ir
from hybridc.core.interp import LETTERS, Interpreter, letters
from hybridc.core.interp_ops import str_text
from hybridc.core.values import Buffer, InterpFault
from hybridc.front.check import tree
from hybridc.front.check.bounds import is_plain
from hybridc.front.lower.core import Context, Lowerer, Refused, generated
from hybridc.front.lower.expr import config_constant
from hybridc.front.lower.scan import walk
from hybridc.front.lower.static import as_config, known

TURNS = 1_000_000
"""Turns of loops and calls that an expression may take."""
DEPTH = 500


def evaluate(inner: Context, finish: Callable[[Context], None], lw: Lowerer, e: tree.Expr) -> Any:
    """The value of an expression, by an empty context of the same program and what makes all functions in one."""
    names = _outer(lw, e)
    t = lw.concrete(e.type)
    if not is_plain(t):
        raise lw.refuse("HYB805", "this is not known when the program is compiled", e.span)

    def body(own: Lowerer, _: list[ir.Var]) -> Sequence[ir.Atom]:
        own.model, own.self_type, own.consts, own.type_args = lw.model, lw.self_type, lw.consts, lw.type_args
        for var, value in names.items():
            own.declare(var, config_constant(own, as_config(value), lw.concrete(var.type), e))
        own.b.span = e.span
        return [own.expr(e)]

    name = inner.later("value", lambda symbol: generated(inner, symbol, "", [], [inner.types.inner(t)], body))
    finish(inner)
    if inner.diagnostics:
        raise Refused(inner.diagnostics[0])
    try:
        found = Interpreter(inner.core, _letters_only, DEPTH, TURNS).call(name, ())[0]
    except InterpFault as fault:
        message = f"this is computed when the program is compiled, and cannot be: {fault.message or fault.kind}"
        raise lw.refuse("HYB805", message, e.span) from None
    return _plain(t, found)


def _outer(lw: Lowerer, e: tree.Expr) -> dict[tree.Var, Any]:
    """The variables from outside of the expression, with their values."""
    nodes = list(walk(e))
    bound = {n.var.key for n in nodes if isinstance(n, tree.BindPattern)}
    bound |= {p.key for n in nodes if isinstance(n, tree.Lambda) for p in n.params}
    names: dict[tree.Var, Any] = {}
    for node in nodes:
        if isinstance(node, tree.Local) and node.var.key not in bound:
            here = lw.env.get(node.var.key)
            if node.var.key in known(lw):
                names[node.var] = known(lw)[node.var.key]
            elif isinstance(here, ir.Const):
                names[node.var] = here.value
            elif node.var.key not in lw.consts:
                message = f"`{node.var.name}` is not known when the program is compiled"
                raise lw.refuse("HYB805", message, node.span)
    return names


def _letters_only(name: str, args: Sequence[object], types: Sequence[ir.Type]) -> Sequence[object]:
    if name in LETTERS:
        return letters(name, args)
    raise InterpFault("HostError", f"`{name.lstrip('_')}` cannot be called while the program is compiled")


def _plain(t: Type, value: Any) -> Any:
    """A value of the interpreter as configuration has it."""
    match t:
        case TupleType(items):
            return tuple(_plain(k, v) for k, v in zip(items, value, strict=True))
        case Named(key, args) if key == STD_TYPES["list"]:
            data, size = value
            assert isinstance(data, Buffer)
            return tuple(_plain(args[0], v) for v in data.items()[:size])  # type: ignore[arg-type]
    return str_text(value) if t == STR else value
