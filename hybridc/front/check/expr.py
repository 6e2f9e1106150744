"""Expressions: literals, names, attributes, indexing, and where the rest of the rules are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.dims import Dim
from hybridc.base.source import Span
from hybridc.base.types import (
    INT,
    FnRef,
    FnType,
    Named,
    Option,
    Type,
    substitute,
)
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    builtin as check_builtin,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    fn as check_fn,
)
from hybridc.front.check import (
    generic as check_generic,
)
from hybridc.front.check import (
    make as check_make,
)
from hybridc.front.check import (
    model as check_model,
)
from hybridc.front.check import (
    new as check_new,
)
from hybridc.front.check import (
    ops as check_ops,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.consts import BUILTIN_CONSTS
from hybridc.front.check.literal import literal, untyped
from hybridc.front.check.narrowing import path_of
from hybridc.front.check.scope import ConstSig, EnumSig, FnSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def check(c: Body, e: syntax.Expr, expected: Type | None) -> tree.Expr:
    match e:
        case syntax.Literal():
            return literal(c, e.value, e.span, expected)
        case syntax.Name():
            return name(c, e, expected)
        case syntax.FString():
            return check_make.fstring(c, e)
        case syntax.Attribute():
            return check_access.attribute(c, e, expected)
        case syntax.Index():
            if untyped(c, e):
                return literal(c, c.const(e), e.span, expected)
            return check_access.index(c, e, expected)
        case syntax.Call():
            return check_call.call(c, e, expected)
        case syntax.Unary():
            return check_ops.unary(c, e, expected)
        case syntax.Binary():
            return check_ops.binary(c, e, expected)
        case syntax.Compare():
            return check_ops.compare(c, e)
        case syntax.Logic():
            return check_ops.logic(c, e)
        case syntax.Conditional():
            return check_ops.conditional(c, e, expected)
        case syntax.Coalesce():
            return check_ops.coalesce(c, e, expected)
        case syntax.Tuple():
            return check_make.make_tuple(c, e, expected)
        case syntax.List():
            return check_make.make_list(c, e, expected)
        case syntax.MapLiteral():
            return check_make.make_map(c, e, expected)
        case syntax.SetLiteral():
            return check_make.make_set(c, e, expected)
        case syntax.Comprehension():
            return check_make.comprehension(c, e, expected)
        case syntax.Lambda():
            return check_fn.make_lambda(c, e, expected)
    c.error("HYB209", "a type stands where a value is expected", e.span)
    return c.poison(e.span)


def narrow(c: Body, e: tree.Expr) -> tree.Expr:
    """An option that is known to have a value is that value."""
    t = c.head(e.type)
    if isinstance(t, Option) and c.narrowed and path_of(e) in c.narrowed:
        return tree.Unwrap(t.item, e.span, e)
    return e


def name(c: Body, e: syntax.Name, expected: Type | None, raw: bool = False) -> tree.Expr:
    """A name as a value. With `raw` an option stays one even where it is known to have a value."""
    local = c.use(e.id, e.span)
    if local is not None:
        return read_local(c, local, e, raw)
    if e.id == "self":
        c.error("HYB201", "there is no `self` outside of a method", e.span)
        return c.poison(e.span)
    if e.id in c.reader.dims:
        return tree.DimValue(INT, e.span, c.reader.dims[e.id])
    config = c.reader.config.get(e.id)
    if config is not None:
        return check_access.config_value(c, config, e.span)
    if c.model is not None and e.id in c.model.members and c.model.members[e.id].kind == "let":
        own = check_access.own_type(c.model)
        return check_model.let_value(c, c.model, own, own, c.model.members[e.id], e.span)
    if isinstance(expected, Named):
        sig = c.world.type(expected.key)
        if isinstance(sig, EnumSig) and e.id in sig.cases:
            return check_new.make_enum(c, sig, e.id, None, e, expected)
    entity = c.entity(e.id)
    if entity is None:
        enum = check_call.enum_of_case(c, e.id, e.span, expected)
        if enum is not None:
            return check_new.make_enum(c, enum, e.id, None, e, expected)
        if e.id in c.module.cases:
            return c.poison(e.span)
        if e.id in BUILTIN_CONSTS:
            return literal(c, BUILTIN_CONSTS[e.id], e.span, expected)
        if e.id in check_builtin.NAMES:
            return check_fn.builtin_value(c, e, expected)
        return c.unknown_name(e.id, e.span)
    return entity_value(c, entity, e, expected)


def entity_value(c: Body, entity: object, e: syntax.Expr, expected: Type | None) -> tree.Expr:
    from_sig = c.world.sigs.get(entity.key)  # type: ignore[attr-defined]
    kind = entity.kind  # type: ignore[attr-defined]
    if isinstance(from_sig, ConstSig):
        if from_sig.value is None:
            c.had_errors = True
            return c.poison(e.span)
        return literal(c, from_sig.value, e.span, expected)
    if isinstance(from_sig, FnSig):
        return fn_value(c, from_sig, e.span, expected)
    if kind in ("struct", "model") and isinstance(expected, FnType) and kind == "struct":
        return check_fn.builtin_value(c, e, expected)
    if kind == "missing":
        c.had_errors = True
        return c.poison(e.span)
    word = {"struct": "a struct", "enum": "an enum", "model": "a model", "module": "a module"}[kind]
    c.error("HYB209", f"`{c.checker.text(e.span)}` is {word}, not a value", e.span,
            help="call it to make one" if kind in ("struct", "model") else None)
    return c.poison(e.span)


def read_local(c: Body, local: object, e: syntax.Expr, raw: bool = False) -> tree.Expr:
    var: tree.Var = local.var  # type: ignore[attr-defined]
    t = c.fresh_unknowns(var.type) if var.mutable else var.type
    x: tree.Expr = tree.Local(t, e.span, var)
    return x if raw else narrow(c, x)


def fn_value(c: Body, sig: FnSig, span: Span, expected: Type | None, types: tuple[Type, ...] | None = None
             ) -> tree.Expr:
    """A declared function as a value: its type parameters come from what is expected."""
    c.checker.ensure_result(c, sig, span)
    if sig.result is None or check_generic.needs_dims(c, sig, span):
        return c.poison(span)
    s, metas, packs = check_generic.instantiate(c, sig, span, types)
    t = FnType(tuple((substitute(p.type, s), p.mut) for p in sig.params), substitute(sig.result, s))
    if isinstance(expected, FnType) and len(expected.params) == len(t.params):
        c.solver.attempt(expected, t)
    return tree.FnValue(t, span, FnRef(sig.key, metas, packs))


def dim_value(d: Dim, span: Span) -> tree.Expr:
    value = d.constant
    return tree.Const(INT, span, value) if value is not None else tree.DimValue(INT, span, d)

