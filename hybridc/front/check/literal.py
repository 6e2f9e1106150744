"""Literals and constants: what they are depends on what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.source import Span
from hybridc.base.types import (
    BOOL,
    F32,
    INT,
    INTS,
    POISON,
    STD_TYPES,
    STR,
    Named,
    Option,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check import tree
from hybridc.front.check.bounds import is_float
from hybridc.front.check.consts import ListConst, fits, too_large, written
from hybridc.front.check.scope import EnumSig, FnSig, StructSig
from hybridc.front.check.soft import ARITHMETIC, MADE
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def numeric_hint(expected: Type | None) -> Type | None:
    """The number type that an expected type suggests to a literal."""
    while isinstance(expected, Option):
        expected = expected.item
    if isinstance(expected, Tensor):
        expected = expected.elem
    if expected is None:
        return None
    return expected if isinstance(expected, Prim | TypeVar) and expected != BOOL else None


def literal(c: Body, value: object, span: Span, expected: Type | None) -> tree.Expr:
    """A literal or constant under the type that its context asks for."""
    match value:
        case None:
            option = expected if isinstance(expected, Option) else Option(c.fresh(span, "`none`"))
            return tree.Const(option, span, None)
        case bool():
            return tree.Const(BOOL, span, value)
        case str():
            return tree.Const(STR, span, value)
        case int():
            hint = numeric_hint(c.head(expected) if expected is not None else None)
            if hint is not None and hint not in INTS:
                x = c.literal_as(tree.Const(INT, span, value), hint)
                if x is not None:
                    return x
            t = hint if hint in INTS else INT
            x = tree.Const(INT, span, value)
            if t == INT and not fits(value, t):
                c.error("HYB313", too_large(value, t), span)
                return c.poison(span)
            return (c.literal_as(x, t) if t is not None else None) or x
        case float():
            hint = numeric_hint(c.head(expected) if expected is not None else None)
            return tree.Const(hint if hint is not None and is_float(hint) else F32, span, value)
        case ListConst() if isinstance(expected, Tensor):
            return c.expr(written(value, span), expected)
        case tuple():
            return _sequence(c, value, span, expected)
    return c.poison(span)


def _sequence(c: Body, value: tuple[object, ...], span: Span, expected: Type | None) -> tree.Expr:
    """A constant tuple or list. What configuration holds is a tuple, also where a list is asked for."""
    while isinstance(expected, Option):
        expected = c.head(expected.item)
    is_list = isinstance(expected, Named) and expected.key == STD_TYPES["list"]
    if not isinstance(value, ListConst) and not is_list:
        wanted = expected.items if isinstance(expected, TupleType) and len(expected.items) == len(value) else ()
        hints: list[Type | None] = [c.head(t) for t in wanted] or [None for _ in value]
        items = tuple(literal(c, v, span, t) for v, t in zip(value, hints, strict=True))
        return tree.MakeTuple(TupleType(tuple(i.type for i in items)), span, items)
    elem: Type | None = c.head(expected.args[0]) if isinstance(expected, Named) and is_list else None  # type: ignore[arg-type]
    hint = elem if elem is not None else _of_floats(value)
    items = tuple(literal(c, v, span, hint) for v in value)
    elem = elem or c.fresh(span, "the elements of this list")
    for i in items:
        if elem is POISON or not c.solver.unify(elem, i.type):
            c.error("HYB301", f"the elements of this list: {c.show(elem)} and {c.show(i.type)} are different types",
                    span)
            return c.poison(span)
    return tree.MakeList(Named(STD_TYPES["list"], (elem,)), span, items)


def _of_floats(value: tuple[object, ...]) -> Type | None:
    """The type of the items of a constant list, at any depth of which one float makes all numbers floats."""
    if any(isinstance(v, float) for v in value):
        return F32
    if not value or not all(isinstance(v, ListConst) for v in value):
        return None
    inner = _of_floats(tuple(x for v in value if isinstance(v, ListConst) for x in v))
    return None if inner is None else Named(STD_TYPES["list"], (inner,))


def untyped(c: Body, e: syntax.Expr) -> bool:
    """Whether an expression is made of number literals and constants only: it takes its type from its context."""
    match e:
        case syntax.Literal(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case syntax.Name() | syntax.Index() | syntax.Attribute():
            root: object = e
            while isinstance(root, syntax.Index | syntax.Attribute):
                root = root.value
            if not isinstance(root, syntax.Name) or c.within(root.id) or root.id in c.reader.dims:
                return False
            value = c.const(e)
            return isinstance(value, int | float) and not isinstance(value, bool)
        case syntax.Unary(op="-" | "+" | "~", operand=x):
            return untyped(c, x)
        case syntax.Binary(left=l, right=r):
            return untyped(c, l) and untyped(c, r)
        case syntax.Conditional(then=t, orelse=o):
            return untyped(c, t) and untyped(c, o)
    return False


def open_literal(c: Body, e: syntax.Expr) -> bool:
    """Whether an expression takes its type from context: numbers, `none`, `[]`, `{}` and what is made of these, tensors
    and values of generic types too."""
    match e:
        case syntax.Literal(value=None):
            return True
        case syntax.List(items=items) | syntax.Tuple(items=items) | syntax.SetLiteral(items=items):
            return all(open_literal(c, i) for i in items)
        case syntax.MapLiteral(items=pairs):
            return all(open_literal(c, v) for _, v in pairs)
        case syntax.Call(fn=fn, args=args):
            return _open_call(c, fn, [a.value for a in args])
        case syntax.Name(id=name) if name in c.module.cases and not c.within(name) and c.entity(name) is None:
            return _any_gives_parameter(c, c.module.cases[name])
        case syntax.Binary(op="*", left=syntax.List() as items):
            return open_literal(c, items)
        case syntax.Unary(op="-", operand=x):
            return open_literal(c, x)
        case syntax.Binary(op=op, left=l, right=r) if op in ARITHMETIC:
            return open_literal(c, l) and open_literal(c, r)
    return untyped(c, e)


def _open_call(c: Body, fn: syntax.Expr, args: list[syntax.Expr]) -> bool:
    """Of a struct, a case or a function that is generic, or one that makes a tensor, with nothing that has a type."""
    if isinstance(fn, syntax.Name) and not c.within(fn.id):
        entity = c.entity(fn.id)
        if entity is None and fn.id in MADE | {"tensor"} and fn.id not in c.module.cases:
            elements = {"full": args[1:], "tensor": args, "arange": args}.get(fn.id, [])
            return all(open_literal(c, a) for a in elements)
        keys: tuple[str, ...] = (entity.key,) if entity is not None else c.module.cases.get(fn.id, ())
    elif isinstance(fn, syntax.Attribute) and isinstance(fn.value, syntax.Name) and not c.within(fn.value.id):
        entity = c.entity(fn.value.id)
        keys = (entity.key,) if entity is not None and entity.kind == "enum" else ()
    else:
        return False
    return _any_gives_parameter(c, keys) and all(open_literal(c, a) for a in args)


def _any_gives_parameter(c: Body, keys: tuple[str, ...]) -> bool:
    return any(_gives_parameter(c.world.sigs.get(key)) for key in keys)


def _gives_parameter(sig: object) -> bool:
    """Does its result hold what a type parameter stands for?"""
    match sig:
        case StructSig(params=params) | EnumSig(params=params):
            return any(isinstance(p, TypeVar) for p in params)
        case FnSig(result=result, type_params=params) if result is not None:
            return substitute(result, dict.fromkeys(params, POISON)) != result
    return False


def has_fraction(c: Body, e: syntax.Expr) -> bool | None:
    """Whether a float stands in what is made of literals only, None for any other expression."""
    match e:
        case syntax.Literal(value=value):
            return isinstance(value, float)
        case syntax.Unary(operand=x):
            return has_fraction(c, x)
        case syntax.List(items=items) | syntax.Tuple(items=items) | syntax.SetLiteral(items=items):
            parts = [has_fraction(c, i) for i in items]
        case syntax.MapLiteral(items=pairs):
            parts = [has_fraction(c, v) for _, v in pairs]
        case syntax.Binary(left=l, right=r) | syntax.Conditional(then=l, orelse=r):
            parts = [has_fraction(c, l), has_fraction(c, r)]
        case _:
            return isinstance(c.const(e), float) if untyped(c, e) else None
    return None if None in parts else any(parts)
