"""Lists and maps of submodels that are not alike: what is taken out of one has a type of its own.

With an index that is known when the program is compiled (a constant, the turn of a loop over the container) the item is
a model like any other. Loops over such a container are unrolled. (Where the index is known at run time only:
choice.py.) A `let` of such an item, or of a part of the
container, is another name for the expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hybridc.base.dims import Dim, DimVar
from hybridc.base.types import INT, STD_TYPES, FnRef, ModelType, Named, Option, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open, is_open
from hybridc.front.lower.core import Lowerer, Value
from hybridc.front.lower.cursor import cursor_of
from hybridc.front.lower.layout import Sub
from hybridc.front.lower.match import bind_always
from hybridc.front.lower.scan import walk
from hybridc.front.lower.static import know, static_or_none

Made = TypeVar("Made")
LONGEST = 1024
"""A loop over constants is unrolled up to this many turns."""
WHOLE = "the submodels here are not alike, so together they are no value that can be passed around"
CHOSEN = "which submodel this is, is known only at run time, so it is no value that can be passed around"
ONE_BY_ONE = "take them one by one: `for m in self.layers: ...`, `self.layers[i](x)`"


# ---- which submodel an expression is ---------------------------------------------------------------------------------
def found(lw: Lowerer, e: tree.Expr | tree.Place | None) -> Sub | None:
    """The submodel, or container of submodels, that an expression or place means; None for anything else, and where
    that is known at run time only."""
    match e:
        case tree.Local(var=var):
            other = alias(lw, var.key)
            return None if other is None else found(lw, other)
        case tree.Field(value=owner, name=name) | tree.PlaceField(base=owner, name=name):
            model = owner_model(lw, owner)
            return None if model is None else lw.ctx.models.layout(model).subs.get(name)
        case tree.TupleItem(value=container, index=at) | tree.PlaceItem(base=container, index=at):
            inside = found(lw, container)
            return inside.items[at] if inside is not None and inside.kind == "tuple" else None
        case tree.Unwrap(value=inner) | tree.Refine(value=inner) | tree.PlaceSome(base=inner):
            return found(lw, inner)
        case tree.Call() if is_element(e):
            return _item(lw, e, found(lw, e.args[0].value), e.args[1].value)
        case tree.PlaceElement(base=base, index=index):
            return _item(lw, e, found(lw, base), index)
    return None


def is_element(e: object) -> bool:
    """`xs[i]` or `m[k]`, read."""
    return isinstance(e, tree.Call) and e.fn.key in _GETS and len(e.args) == 2 and all(a.value for a in e.args)


_GETS = frozenset(f"{STD_TYPES[name]}._get" for name in ("list", "map"))


def owner_model(lw: Lowerer, owner: tree.Expr | tree.Place) -> ModelType | None:
    """The model whose member is read."""
    sub = found(lw, owner)
    if sub is not None:
        return sub.model
    t = lw.concrete(owner.type)
    return t if isinstance(t, ModelType) and not holds_open(t) else None


def _item(lw: Lowerer, e: tree.Call | tree.PlaceElement, container: Sub | None, index: tree.Expr | None) -> Sub | None:
    if container is None or container.kind not in ("list", "map") or index is None:
        return None
    at = static_or_none(lw, index)
    if at is None:
        return None
    place = position(container, at)
    if place is None:
        if not container.mixed:
            return None
        if container.kind == "map":
            known = ", ".join(map(repr, container.keys)) or "none"
            raise lw.refuse("HYB805", f"there is no submodel {at!r} here; there is {known}", e.span)
        raise lw.refuse("HYB805", f"the index {at} is out of range: there are {len(container.items)} submodels", e.span)
    return container.items[place]


def position(container: Sub, at: Any) -> int | None:
    if container.kind == "map":
        return container.keys.index(at) if at in container.keys else None
    n = len(container.items)
    return at % n if isinstance(at, int) and -n <= at < n else None


def alias(lw: Any, key: str) -> tree.Expr | None:
    """The expression that a `let` names, here or around a closure."""
    while lw is not None:
        if key in lw.aliases:
            return lw.aliases[key]
        lw = lw.parent
    return None


# ---- types ----------------------------------------------------------------------------------------------------------
def settle(lw: Lowerer, t: Type, sub: Sub) -> None:
    """Let the open configuration in a type stand for what a submodel has."""
    match t:
        case Option(item):
            settle(lw, item, sub)
        case ModelType(config=config) if sub.model is not None:
            _settle_config(lw, config, sub.model.config)
        case TupleType(items):
            for item, part in zip(items, sub.items, strict=False):
                settle(lw, item, part)
        case Named(key, args) if key in (STD_TYPES["list"], STD_TYPES["map"]) and sub.items and not sub.mixed:
            settle(lw, args[-1], sub.items[0])  # type: ignore[arg-type]


def _settle_config(lw: Lowerer, config: Sequence[Any], actual: Sequence[Any]) -> None:
    for variable, value in zip(config, actual, strict=True):
        if isinstance(variable, tuple):
            _settle_config(lw, variable, value)
        elif isinstance(variable, ModelType):
            _settle_config(lw, variable.config, value.config)
        elif is_open(variable):
            know(lw, variable, value)


# ---- loops -----------------------------------------------------------------------------------------------------------
@dataclass
class Unrolled:
    """A loop over a container of unlike submodels: for each turn the expression of its item. `lengths` are those of
    other lists walked along with it, which may be shorter."""

    turns: int
    item: Callable[[int], tree.Expr]
    lengths: Sequence[ir.Atom] = ()


def unrolled(lw: Lowerer, e: tree.Expr, body: object, pattern: tree.Pattern) -> Unrolled | None:
    """The turns of a loop or of a clause of a comprehension; None if it is an ordinary one."""
    if _walks_mixed(lw, e):
        return _turns_of(lw, e)
    if isinstance(e, tree.Builtin) and e.name == "range" and isinstance(pattern, tree.BindPattern):
        if _picks_by(lw, body, pattern.var.key):
            numbers = static_or_none(lw, e)
            if numbers is not None and len(numbers) <= LONGEST:
                return Unrolled(len(numbers), lambda k: tree.Const(INT, e.span, numbers[k]))
    return None


def _walks_mixed(lw: Lowerer, e: tree.Expr) -> bool:
    match e:
        case tree.Builtin(name="enumerate" | "zip" | "reversed", args=args):
            return any(_walks_mixed(lw, a) for a in args)
        case tree.Call(args=args) if e.fn.key in _VIEWS and args[0].value is not None:
            return _walks_mixed(lw, args[0].value)
    sub = found(lw, e)
    return sub is not None and sub.mixed


_VIEWS = frozenset({*(f"{STD_TYPES['map']}.{name}" for name in ("keys", "values", "items")),
                    *(f"{STD_TYPES['list']}.{name}" for name in ("_slice", "reversed"))})


def _picks_by(lw: Lowerer, body: object, key: str) -> bool:
    """Whether a body takes a submodel out of a mixed container by a variable."""
    for node in walk(body):
        match node:
            case tree.Call(args=args) if is_element(node):
                container, index = args[0].value, args[1].value
                assert container is not None
            case tree.PlaceElement(base=container, index=index):
                pass
            case _:
                continue
        if any(isinstance(n, tree.Local) and n.var.key == key for n in walk(index)):
            if holds_open(container.type) or isinstance(container, tree.Field) and _walks_mixed(lw, container):
                return True
    return False


def _turns_of(lw: Lowerer, e: tree.Expr) -> Unrolled:
    match e:
        case tree.Builtin(name="enumerate", args=args):
            inner = _turns_of(lw, args[0])
            first = lw.expr(args[1]) if len(args) > 1 else integer(0)

            def numbered(k: int) -> tree.Expr:
                at = integer(int(first.value) + k) if isinstance(first, ir.Const) else lw.op(
                    "add", [first, integer(k)], ir.INT)
                return _pair(e, [_number(lw, at, e), inner.item(k)])

            return Unrolled(inner.turns, numbered, inner.lengths)
        case tree.Builtin(name="zip", args=args):
            parts = [_turns_of(lw, a) if _walks_mixed(lw, a) else _listed(lw, a) for a in args]
            known = [p.turns for p in parts if not p.lengths]
            lengths = [n for p in parts for n in p.lengths]
            return Unrolled(min(known), lambda k: _pair(e, [p.item(k) for p in parts]), lengths)
        case tree.Builtin(name="reversed", args=args):
            return _reversed(_turns_of(lw, args[0]))
        case tree.Call(args=args) if e.fn.key in _VIEWS:
            container = args[0].value
            assert container is not None
            return _view(lw, e, e.fn.key.rpartition(".")[2], container)
    sub = found(lw, e)
    assert sub is not None
    if sub.kind == "map":
        return Unrolled(len(sub.keys), lambda k: sub.key(k, e.span))
    frozen = freeze(lw, e)
    return Unrolled(len(sub.items), lambda k: _element(frozen, tree.Const(INT, e.span, k)))


def _view(lw: Lowerer, e: tree.Call, name: str, container: tree.Expr) -> Unrolled:
    """`xs.reversed()`, `xs[1:]`, `m.items()`."""
    if name == "reversed":
        return _reversed(_turns_of(lw, container))
    if name == "_slice":
        bounds = [None if a.value is None else static_or_none(lw, _bare(a.value)) for a in e.args[1:]]
        given = [a.value for a in e.args[1:]]
        if any(b is None and not _is_none(g) for b, g in zip(bounds, given, strict=True)):
            raise lw.refuse("HYB809", WHOLE, e.span, "the bounds of this slice must be constants")
        whole = _turns_of(lw, container)
        chosen = range(whole.turns)[slice(*bounds)]
        return Unrolled(len(chosen), lambda k: whole.item(chosen[k]))
    sub = found(lw, container)
    assert sub is not None
    frozen = freeze(lw, container)
    keys = [sub.key(k, e.span) for k in range(len(sub.keys))]
    match name:
        case "keys":
            return Unrolled(len(keys), lambda k: keys[k])
        case "values":
            return Unrolled(len(keys), lambda k: _element(frozen, keys[k]))
        case _:
            return Unrolled(len(keys), lambda k: _pair(e, [keys[k], _element(frozen, keys[k])]))


def _bare(e: tree.Expr) -> tree.Expr:
    return e.value if isinstance(e, tree.Some) else e


def _is_none(e: tree.Expr | None) -> bool:
    return e is None or isinstance(e, tree.Const) and e.value is None


def _reversed(whole: Unrolled) -> Unrolled:
    return Unrolled(whole.turns, lambda k: whole.item(whole.turns - 1 - k))


def _listed(lw: Lowerer, e: tree.Expr) -> Unrolled:
    """What is walked along with a container of submodels, as a list."""
    cursor = cursor_of(lw, e)
    if cursor.length is None or cursor.at is None:
        raise lw.refuse("HYB809", "only what has an index is walked along with unlike submodels", e.span,
                        "make a list of it first")
    at, length = cursor.at, cursor.length()
    return Unrolled(LONGEST, lambda k: _value_expr(lw, cursor.item_type, at(integer(k)), e), [length])


def _value_expr(lw: Lowerer, t: Type, value: Value, e: tree.Expr) -> tree.Expr:
    return tree.Local(t, e.span, lw.fresh("item", t, value))


def _number(lw: Lowerer, at: ir.Atom, e: tree.Expr) -> tree.Expr:
    return tree.Const(INT, e.span, int(at.value)) if isinstance(at, ir.Const) else _value_expr(lw, INT, at, e)


def _pair(e: tree.Expr, items: Sequence[tree.Expr]) -> tree.Expr:
    return tree.MakeTuple(TupleType(tuple(i.type for i in items)), e.span, tuple(items))


def _element(container: tree.Expr, index: tree.Expr) -> tree.Expr:
    assert isinstance(container.type, Named)
    kind = "map" if container.type.key == STD_TYPES["map"] else "list"
    args = (tree.Arg(container), tree.Arg(index))
    types = tuple(a for a in container.type.args if not isinstance(a, Dim))
    return tree.Call(container.type.args[-1], container.span, FnRef(f"{STD_TYPES[kind]}._get", types), args, (0, 1))  # type: ignore[arg-type]


def bind(lw: Lowerer, pattern: tree.Pattern, e: tree.Expr) -> None:
    """Bind a pattern that always matches to an expression, which may be a submodel or a container of them."""
    match pattern:
        case tree.BindPattern(var) if not var.mutable and _named(lw, e):
            lw.aliases[var.key] = freeze(lw, e)
        case tree.BindPattern(var):
            value = lw.value(e)
            sub = found(lw, e)
            if sub is not None:
                settle(lw, var.type, sub)
            lw.declare(var, value)
            if isinstance(e, tree.Const) and isinstance(e.value, int) and e.type == INT:
                know(lw, DimVar(var.key, var.name), Dim.of(e.value))
        case tree.TuplePattern(items) if isinstance(e, tree.MakeTuple):
            for item, part in zip(items, e.items, strict=True):
                bind(lw, item, part)
        case tree.AnyPattern():
            pass
        case _:
            bind_always(lw, pattern, lw.value(e), e.type)


def _named(lw: Lowerer, e: tree.Expr) -> bool:
    """Whether a `let` of the expression is another name for it: a container of unlike submodels, or one of them that
    only the run chooses."""
    sub = found(lw, e)
    return sub.mixed if sub is not None else choice(lw, e) is not None and holds_open(e.type)


def freeze(lw: Lowerer, e: tree.Expr) -> tree.Expr:
    """The expression with what it depends on evaluated now."""
    match e:
        case tree.Local(var=var) if alias(lw, var.key) is not None:
            return e
        case tree.Field(value=owner):
            if found(lw, owner) is not None or choice(lw, owner) is not None:
                return replace(e, value=freeze(lw, owner))
            return replace(e, value=lw.local("owner", owner.type, lw.value(owner)))
        case tree.TupleItem(value=inner) | tree.Unwrap(value=inner) | tree.Refine(value=inner):
            return replace(e, value=freeze(lw, inner))
        case tree.Call() if is_element(e):
            container, index = e.args[0].value, e.args[1].value
            assert container is not None and index is not None
            inside = freeze(lw, container)
            return replace(e, args=(tree.Arg(inside), tree.Arg(_frozen_index(lw, index))))
    return lw.local("owner", e.type, lw.value(e))


def _frozen_index(lw: Lowerer, index: tree.Expr) -> tree.Expr:
    at = static_or_none(lw, index)
    if at is not None:
        return tree.Const(index.type, index.span, at)
    return lw.local("index", index.type, lw.value(index))


# ---- an item that the run chooses ------------------------------------------------------------------------------------
@dataclass
class Choice:
    """An element of a mixed container whose index is known at run time only: `node` is the expression or place."""

    node: tree.Call | tree.PlaceElement
    container: Sub
    index: tree.Expr


def choice(lw: Lowerer, e: object) -> Choice | None:
    """The innermost such element that an expression or place is a part of."""
    match e:
        case tree.Local(var=var):
            other = alias(lw, var.key)
            return None if other is None else choice(lw, other)
        case tree.Field(value=inner) | tree.TupleItem(value=inner) | tree.Unwrap(value=inner) | tree.Refine(
                value=inner) | tree.PlaceField(base=inner) | tree.PlaceItem(base=inner) | tree.PlaceSome(base=inner):
            return choice(lw, inner)
        case tree.Call() if is_element(e):
            container, index = e.args[0].value, e.args[1].value
        case tree.PlaceElement(base=container, index=index):
            pass
        case _:
            return None
    within = choice(lw, container)
    if within is not None:
        return within
    sub = found(lw, container)  # type: ignore[arg-type]
    if sub is None or not sub.mixed or found(lw, e) is not None or index is None:  # type: ignore[arg-type]
        return None
    return Choice(e, sub, index)
