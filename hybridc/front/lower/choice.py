"""A submodel that is chosen at run time from a container of unlike ones: what is done with it is lowered once for each
item, and the index chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hybridc.base.types import INT, STR, Void
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower import derive
from hybridc.front.lower.core import Lowerer, Value
from hybridc.front.lower.layout import Sub
from hybridc.front.lower.mixed import Choice, alias, choice, found, is_element

Made = TypeVar("Made")


def parts(e: tree.Expr) -> list[tree.Expr | tree.Place]:
    """Where in an expression a submodel may stand that it does something with."""
    match e:
        case tree.Call(args=args):
            return [node for a in args if (node := a.value if a.value is not None else a.place) is not None]
        case tree.BoundMethod(receiver=receiver):
            return [receiver]
        case tree.Field(value=value):
            return [value]
        case tree.Builtin(name="params" | "num_params" | "with_params" | "set_params", args=args):
            return [args[0]]
    return []


def chosen(lw: Lowerer, e: tree.Expr) -> Choice | None:
    """The choice on which an expression depends."""
    if not lw.ctx.models.any_mixed or is_element(e):
        return None
    if isinstance(e, tree.Field) and holds_open(e.type):
        return None
    for part in parts(e):
        picked = choice(lw, part)
        if picked is not None:
            return picked
    return None


def dispatch(lw: Lowerer, e: tree.Expr, picked: Choice) -> Value | None:
    """The expression lowered for each item, and the index that chooses."""
    e, index = _evaluated(lw, e, picked)
    lw.b.span = e.span
    count = len(picked.container.items)
    t = lw.concrete(e.type)
    if holds_open(t):
        raise lw.refuse("HYB809", "which submodel this gives is known only at run time", e.span,
                        "call the method of the item here")
    kinds = [] if isinstance(t, Void) else [lw.ctx.types.inner(t)]

    def one(k: int) -> list[ir.Atom]:
        return alternative(lw, lambda: _lowered(lw, _picked(lw, e, picked, k), kinds))

    if not count:  # the index was out of range
        outs: Sequence[ir.Atom] = lw.if_(lw.op("eq", [index, index], ir.BOOL), lw.unreachable, lw.unreachable, kinds)
    else:
        outs = among(lw, index, count, one, kinds)
    return outs[0] if kinds else None


def among(lw: Lowerer, index: ir.Atom, count: int, one: Callable[[int], list[ir.Atom]], kinds: Sequence[ir.Type]
          ) -> Sequence[ir.Atom]:
    """What `one` gives for the number that the index is."""
    def rest(k: int) -> Sequence[ir.Atom]:
        if k == count - 1:
            return one(k)
        same = lw.op("eq", [index, integer(k)], ir.BOOL)
        return lw.if_(same, lambda: one(k), lambda: rest(k + 1), kinds)

    return rest(0)


def alternative(lw: Lowerer, make: Callable[[], Made]) -> Made:
    """Lower one of several: what it knows of configurations is its own."""
    saved = lw.consts, lw.type_args, dict(lw.aliases)
    try:
        return make()
    finally:
        lw.consts, lw.type_args, lw.aliases = saved


def _lowered(lw: Lowerer, e: tree.Expr, kinds: Sequence[ir.Type]) -> list[ir.Atom]:
    value = lw.effect(e)
    if lw.tail is not None or not kinds:
        return []
    assert value is not None
    atom = lw.whole(value)
    assert _same_kind(atom.type, kinds[0]), f"{atom.type} where the checker found {kinds[0]}"
    return [atom]


def _same_kind(a: ir.Type, b: ir.Type) -> bool:
    if isinstance(a, ir.TensorT) and isinstance(b, ir.TensorT):
        return a.elem == b.elem and len(a.dims) == len(b.dims)
    return a == b


def _evaluated(lw: Lowerer, e: tree.Expr, picked: Choice) -> tuple[tree.Expr, ir.Atom]:
    """The index, and the expression with its other arguments evaluated once, in their order."""
    if not isinstance(e, tree.Call):
        return e, _index(lw, picked)
    args, index = list(e.args), None
    for at in e.order:
        value, place = args[at].value, args[at].place
        own = choice(lw, value if value is not None else place)
        if own is not None and own.node is picked.node:
            if index is None:
                index = _index(lw, picked)
        elif value is not None and own is None and found(lw, value) is None and not isinstance(
                value, tree.Const | tree.Lambda):
            args[at] = tree.Arg(lw.local("arg", value.type, lw.value(value)))
    assert index is not None
    return replace(e, args=tuple(args)), index


def _index(lw: Lowerer, picked: Choice) -> ir.Atom:
    """The number of the item; IndexError or KeyError if there is none."""
    at = lw.expr(picked.index)
    lw.b.span = picked.node.span
    if picked.container.kind == "map":
        return key_index(lw, picked.container, at)
    return lw.ctx.models.checked_index(lw, at, len(picked.container.items))


def _picked(lw: Lowerer, e: Any, picked: Choice, k: int) -> Any:
    """The expression with the item's number in the place of its index."""
    container = picked.container
    at = container.key(k, e.span) if container.kind == "map" else tree.Const(INT, e.span, k)

    def put(node: Any) -> Any:
        if node is picked.node:
            if isinstance(node, tree.PlaceElement):
                return replace(node, index=at)
            return replace(node, args=(node.args[0], tree.Arg(at)))
        match node:
            case tree.Local(var=var) if (other := alias(lw, var.key)) is not None:
                return put(other)
            case tree.Field() | tree.TupleItem() | tree.Unwrap() | tree.Refine():
                return replace(node, value=put(node.value))
            case tree.PlaceField() | tree.PlaceItem() | tree.PlaceElement() | tree.PlaceSome():
                return replace(node, base=put(node.base))
            case tree.Call() if is_element(node):
                return replace(node, args=(tree.Arg(put(node.args[0].value)), node.args[1]))
        return node

    match e:
        case tree.Call(args=args):
            return replace(e, args=tuple(replace(a, value=put(a.value), place=put(a.place)) for a in args))
        case tree.BoundMethod(receiver=receiver):
            return replace(e, receiver=put(receiver))
        case tree.Builtin(args=args):
            return replace(e, args=(put(args[0]), *args[1:]))
    return put(e)


def key_index(lw: Lowerer, sub: Sub, key: ir.Atom) -> ir.Atom:
    """The position of a key among those of a map of submodels; KeyError if there is none."""
    result: ir.Atom = integer(-1)
    text = sub.key_type == STR
    for i in range(len(sub.keys)):
        mine = lw.expr(sub.key(i, lw.b.span))
        same = lw.call_method(STR, "_eq", [key, mine])[0] if text else lw.op("eq", [key, mine], ir.BOOL)
        result = lw.op("select", [same, integer(i), result], ir.INT)
    ok = lw.op("ge", [result, integer(0)], ir.BOOL)
    lw.check(ok, "KeyError", lambda: derive.shown(lw, sub.key_type, key, True))
    return result
