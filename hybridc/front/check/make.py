"""Values made of others: tuples, lists, maps, sets, comprehensions, f-strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.base.dims import Dim, DimVar
from hybridc.base.types import (
    BOOL,
    FLOATS,
    INTS,
    POISON,
    STD_TYPES,
    STR,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import format_specs, tree
from hybridc.front.check import place as check_place
from hybridc.front.check import stmt as check_stmt
from hybridc.front.check.bounds import not_showable
from hybridc.front.check.infer import Meta, map_dims
from hybridc.front.check.literal import has_fraction, open_literal
from hybridc.front.check.narrowing import facts
from hybridc.front.check.open_models import is_open, reopened
from hybridc.front.check.tensor import literal_tensor
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def _inner(c: Body, expected: Type | None) -> Type | None:
    """What is expected of a value that an option is to hold."""
    while isinstance(expected, Option):
        expected = c.head(expected.item)
    return expected


def make_tuple(c: Body, e: syntax.Tuple, expected: Type | None) -> tree.Expr:
    want = _inner(c, expected)
    hints: Sequence[Type | None] = [None] * len(e.items)
    if isinstance(want, TupleType) and len(want.items) == len(e.items):
        hints = want.items
    items: list[tree.Expr] = []
    for i, h in zip(e.items, hints):
        x = c.value(i, h)
        check_place.not_inside(c, x, "a tuple")
        if h is not None and not isinstance(c.head(h), Meta):
            x = c.coerce(x, h, "an item of the tuple")
        items.append(x)
    return tree.MakeTuple(TupleType(tuple(x.type for x in items)), e.span, tuple(items))


def make_list(c: Body, e: syntax.List, expected: Type | None) -> tree.Expr:
    want = _inner(c, expected)
    if isinstance(want, Tensor):
        return literal_tensor(c, e, want)
    hint: Type | None = None
    if isinstance(want, Named) and want.key == STD_TYPES["list"]:
        hint = want.args[0]  # type: ignore[assignment]
    if not e.items:
        t = hint if hint is not None else c.fresh(e.span, "the elements of this list")
        return tree.MakeList(Named(STD_TYPES["list"], (t,)), e.span, ())
    items, t = elements(c, e.items, hint, "the elements of a list")
    return tree.MakeList(Named(STD_TYPES["list"], (t,)), e.span, items)


def elements(c: Body, es: Sequence[syntax.Expr], hint: Type | None, what: str,
             ) -> tuple[tuple[tree.Expr, ...], Type]:
    """Expressions under one type. Without a hint, those that have a type of their own decide it, then those in which a
    float is written."""
    from_hint = hint is not None and not isinstance(c.head(hint), Meta)
    done: dict[int, tree.Expr] = {}
    anchor: Type | None = hint
    for i in sorted(range(len(es)), key=lambda i: _decides_late(c, es[i])):
        x = c.value(es[i], anchor)
        check_place.not_inside(c, x, "a list", streams=what == "the elements of a list")
        done[i] = c.coerce(x, hint, what) if from_hint and hint is not None else x
        if anchor is None and not isinstance(c.head(x.type), Poison):
            anchor = x.type
    items = [done[i] for i in range(len(es))]
    if from_hint and hint is not None:
        return tuple(items), hint
    t: Type = items[0].type
    for i in range(1, len(items)):
        first, items[i], t = c.join(tree.Local(t, items[0].span, tree.Var("", "", t)), items[i], what, items[i].span)
        if isinstance(c.head(t), Poison):
            return tuple(items), POISON
    # the first may have been less than the whole (an int before a float, a value before none)
    done_items = tuple(c.coerce(x, t, what) for x in items)
    if hint is not None:
        c.solver.unify(hint, t)
    return done_items, t


def _decides_late(c: Body, e: syntax.Expr) -> int:
    if isinstance(e, syntax.Lambda):
        return 2
    fraction = has_fraction(c, e)
    return int(open_literal(c, e)) if fraction is None else 2 - fraction


def make_map(c: Body, e: syntax.MapLiteral, expected: Type | None) -> tree.Expr:
    want = _inner(c, expected)
    if not e.items and isinstance(want, Named) and want.key == STD_TYPES["set"]:
        return tree.MakeSet(want, e.span, ())
    kh: Type | None = None
    vh: Type | None = None
    if isinstance(want, Named) and want.key == STD_TYPES["map"]:
        kh, vh = want.args  # type: ignore[assignment]
    if not e.items:
        k = kh if kh is not None else c.fresh(e.span, "the keys of this map", ("key",))
        v = vh if vh is not None else c.fresh(e.span, "the values of this map")
        return tree.MakeMap(Named(STD_TYPES["map"], (k, v)), e.span, ())
    keys, kt = elements(c, [k for k, _ in e.items], kh, "the keys of a map")
    values, vt = elements(c, [v for _, v in e.items], vh, "the values of a map")
    c.require(kt, "key", e.span, "the keys of a map")
    return tree.MakeMap(Named(STD_TYPES["map"], (kt, vt)), e.span, tuple(zip(keys, values)))


def make_set(c: Body, e: syntax.SetLiteral, expected: Type | None) -> tree.Expr:
    want = _inner(c, expected)
    hint: Type | None = None
    if isinstance(want, Named) and want.key == STD_TYPES["set"]:
        hint = want.args[0]  # type: ignore[assignment]
    items, t = elements(c, e.items, hint, "the elements of a set")
    c.require(t, "key", e.span, "the elements of a set")
    return tree.MakeSet(Named(STD_TYPES["set"], (t,)), e.span, items)


# ---- comprehensions --------------------------------------------------------------------------------------------------
def comprehension(c: Body, e: syntax.Comprehension, expected: Type | None) -> tree.Expr:
    want = _inner(c, expected)
    key = STD_TYPES[e.kind]
    args: Sequence[Type | None] = (None, None)
    if isinstance(want, Named) and want.key == key:
        args = want.args  # type: ignore[assignment]
    tensor = want if isinstance(want, Tensor) and e.kind == "list" else None
    saved = c.narrowed
    clauses: list[tree.Clause] = []
    opened = 0
    for clause in e.clauses:
        iterable, item = check_stmt.iterable(c, clause.iterable)
        if opened == 0 and e.parallel:
            c.parallel.append((len(c.frames), len(c.frame.scopes)))
        c.push()
        opened += 1
        pattern = check_stmt.loop_binding(c, clause.pattern, iterable, item)
        conditions = []
        for cond in clause.conditions:
            x = c.condition(cond)
            conditions.append(x)
            c.narrowed = c.narrowed | facts(x)[0]
        clauses.append(tree.Clause(pattern, iterable, tuple(conditions)))
    hint = args[0]
    if tensor is not None:
        hint = tensor.elem if len(tensor.shape) == 1 else Tensor(tensor.elem, tensor.shape[1:])
    element = c.value(e.element, hint)
    check_place.not_inside(c, element, f"a {e.kind}", streams=e.kind == "list")
    if hint is not None and not isinstance(c.head(hint), Meta):
        element = c.coerce(element, hint, f"the elements of this {e.kind}")
    value = None
    if e.value is not None:
        value = c.value(e.value, args[1])
        if args[1] is not None and not isinstance(c.head(args[1]), Meta):
            value = c.coerce(value, args[1], "the values of this map")
    for _ in range(opened):
        c.pop()
    if e.parallel:
        c.parallel.pop()
    c.narrowed = saved & c.narrowed
    if e.kind == "map":
        assert value is not None
        t: Type = Named(key, (element.type, outliving(c, value.type)))
    else:
        t = Named(key, (outliving(c, element.type),))
    if e.kind != "list":
        c.require(element.type, "key", e.element.span, f"the {'keys' if e.kind == 'map' else 'elements'} of a {e.kind}")
    return tree.Comprehension(t, e.span, element, value, tuple(clauses), e.parallel)


def outliving(c: Body, t: Type) -> Type:
    """The type without dimensions that are known inside of the comprehension only."""
    h = c.head(t)
    if not isinstance(h, Tensor | Named | TupleType | ModelType):
        return t
    visible = {d.variable for frame in c.frames for scope in frame.scopes for d in
               (local.dim for local in scope.values()) if d is not None}
    own = c.key + "."
    hidden: dict[DimVar, Dim] = {}

    def forget(d: Dim) -> Dim:
        for v in d.variables():
            if v in c.solver.births and v.key.startswith(own) and v not in visible and v not in hidden:
                hidden[v] = c.fresh_dim()
        return d.substitute(hidden) if hidden else d

    def outlived(value: object) -> bool:
        return is_open(value) or isinstance(value, Dim) and forget(value) != value

    return map_dims(reopened(c, c.resolve(h), outlived), forget)


FORMATTED = {"int": INTS, "float": FLOATS, "str": {STR}, "bool": {BOOL}}
"""The types whose values have format specifications, by what these are."""


# ---- f-strings -------------------------------------------------------------------------------------------------------
def fstring(c: Body, e: syntax.FString) -> tree.Expr:
    parts: list[str | tuple[tree.Expr, str]] = []
    for p in e.parts:
        if isinstance(p, str):
            parts.append(p)
            continue
        value, spec = p
        x = shown(c, value)
        if spec:
            format_spec(c, x, spec)
        parts.append((x, spec))
    return tree.FString(STR, e.span, tuple(parts))


def shown(c: Body, e: syntax.Expr) -> tree.Expr:
    """A value that becomes text. What is empty and stands nowhere else is the same text whatever it might hold."""
    match e:
        case syntax.Literal(value=None):
            x = c.value(e, Option(BOOL))
        case syntax.List(items=()):
            x = c.value(e, Named(STD_TYPES["list"], (BOOL,)))
        case syntax.MapLiteral(items=()):
            x = c.value(e, Named(STD_TYPES["map"], (BOOL, BOOL)))
        case _:
            x = c.value(e)
    t = c.resolve(x.type)
    bad = not_showable(c.world, t)
    if bad is not None and not isinstance(t, Poison):
        word = "a function" if isinstance(bad, FnType) else f"a {c.word(bad)}"
        c.error("HYB315", f"{word} cannot be shown as text", x.span)
    return x


def format_spec(c: Body, x: tree.Expr, spec: str) -> None:
    """A format specification must fit the value's type."""
    t = c.head(x.type)
    kind = next((name for name, types in FORMATTED.items() if t in types), "")
    if kind:
        why = format_specs.unfit(spec, kind)
        if why is not None:
            c.error("HYB318", f"the format `{spec}` is not for {c.show(t)}: {why}", x.span)
    elif not isinstance(t, Poison | Meta | TypeVar):
        c.error("HYB318", f"a format is for numbers and strings, not {c.show(t)}", x.span,
                help="format the text: f\"{str(x):>10}\"")
