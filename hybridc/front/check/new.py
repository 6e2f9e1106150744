"""Values made by a call of a struct, a case of an enum, or a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.types import INT, POISON, FnType, ModelType, Named, Option, Poison, Substitution, Type
from hybridc.front.check import call as check_call
from hybridc.front.check import fn as check_fn
from hybridc.front.check import library as check_library
from hybridc.front.check import place as check_place
from hybridc.front.check import tree
from hybridc.front.check.bounds import COPIED
from hybridc.front.check.config_values import worded
from hybridc.front.check.scope import EnumSig, FieldSig, ModelSig, ParamSig, StructSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

def fresh_args(c: Body, sig: StructSig | EnumSig, span: Span) -> tuple[Substitution, Named]:
    s: Substitution = {}
    args: list[Type | Dim] = []
    for p in sig.params:
        if isinstance(p, DimVar):
            d = Dim.of(c.solver.fresh_dim(p.name))
            s[p] = d
            args.append(d)
        else:
            t = c.fresh(span, f"`{p.name}` of `{sig.name}`", (p.bound,) if p.bound and p.bound != "method" else ())
            if not sig.key.startswith("std."):
                c.require(t, COPIED, span, f"`{p.name}` of `{sig.name}`")
            s[p] = t
            args.append(t)
    return s, Named(sig.key, tuple(args))


def fields(c: Body, fs: Sequence[FieldSig], e: syntax.Call, args: tuple[syntax.Argument, ...], s: Substitution,
           what: str, hint: tuple[Type, Type] | None) -> tuple[tree.Expr | None, ...] | None:
    found = check_call.bind(c, [f.name for f in fs], [f.has_default for f in fs], args, e.span, what)
    if found is None:
        check_call.poison_args(c, e)
        return None
    bound, order = found
    params = [ParamSig(f.name, f.type, False, f.has_default, f.span) for f in fs]
    waiting = len(c.solver.postponed)
    done = check_call.arguments(c, params, bound, s, what, order, None, hint)
    bad = c.solver.settle_postponed(waiting)
    if bad is not None:
        c.error("HYB401", f"{what}: a dimension must be {bad[0]}, and it is {bad[1]}", e.span)
    return tuple(a.value for a in done)


def make_struct(c: Body, sig: StructSig, e: syntax.Call, brackets: Any, expected: Type | None) -> tree.Expr:
    s, t = fresh_args(c, sig, e.span)
    special = check_library.make_container(c, sig, e, brackets, expected)
    if special is not None:
        return special
    if brackets is not None:
        given = c.reader.generic(sig, brackets, e.fn.span)
        if isinstance(given, Poison):
            check_call.poison_args(c, e)
            return c.poison(e.span)
        c.solver.unify(t, given)
    values = fields(c, sig.fields, e, e.args, s, f"`{sig.name}`", _asked_for(c, t, expected))
    if values is None:
        return tree.Const(t if not sig.params else POISON, e.span, None)
    return tree.MakeStruct(t, e.span, values)


def _asked_for(c: Body, t: Named, expected: Type | None) -> tuple[Type, Type] | None:
    """What type arguments that the fields leave open are solved from. Options are known before: `Box(3)` where a
    `Box[int?]` is expected holds an option."""
    want = c.head(expected) if expected is not None else None
    while isinstance(want, Option):
        want = c.head(want.item)
    if want is None or not t.args:
        return None
    if isinstance(want, Named) and want.key == t.key:
        for own, asked in zip(t.args, want.args):
            if not isinstance(own, Dim) and not isinstance(asked, Dim) and isinstance(c.head(asked), Option):
                c.solver.attempt(own, asked)
    return (t, want)


def make_enum(c: Body, sig: EnumSig, case: str, args: tuple[syntax.Argument, ...] | None, e: syntax.Expr,
              expected: Type | None, given: Type | None = None) -> tree.Expr:
    fs = sig.cases[case]
    if args is None and fs:
        if isinstance(expected, FnType):
            return check_fn.builtin_value(c, e, expected)
        c.error("HYB306", f"`{case}` of `{sig.name}` has fields: "
                + ", ".join(f"{f.name}: {f.type}" for f in fs), e.span, help=f"write `{case}(...)`")
        return c.poison(e.span)
    s, t = fresh_args(c, sig, e.span)
    if given is not None:
        c.solver.unify(t, given)
    hint = _asked_for(c, t, expected)
    if args is None or not isinstance(e, syntax.Call):
        if hint is not None:
            c.solver.attempt(hint[1], hint[0])
        return tree.MakeEnum(t, e.span, case, ())
    values = fields(c, fs, e, args, s, f"`{case}`", hint)
    if hint is not None and not e.args:
        c.solver.attempt(hint[1], hint[0])
    if values is None:
        return tree.Const(t if not sig.params else POISON, e.span, None)
    return tree.MakeEnum(t, e.span, case, values)


def make_model(c: Body, sig: ModelSig, e: syntax.Call, brackets: Any) -> tree.Expr:
    """`M(8, "relu", seed=1)`: its configuration becomes part of its type."""
    if brackets is not None:
        c.error("HYB306", f"the configuration of `{sig.name}` is given as arguments", e.fn.span,
                help=f"write `{sig.name}(...)`")
        return c.poison(e.span)
    seed: tree.Expr | None = None
    rest: list[syntax.Argument] = []
    for a in e.args:
        if a.name == "seed":
            seed = c.typed(a.value, INT, "`seed`")
        else:
            rest.append(a)
    found = check_call.bind(c, [p.name for p in sig.config], [p.has_default for p in sig.config], tuple(rest), e.span,
                 f"`{sig.name}`")
    if found is None:
        return c.poison(e.span)
    config: list[Any] = []
    waiting = len(c.computed)
    for p, given in zip(sig.config, found[0]):
        if given is None:
            config.append(p.default)
        elif p.type == INT and worded(c.world, p, given.value) is None:
            x = c.typed(given.value, INT, f"`{p.name}` of `{sig.name}`")
            d = c.known_dim(x)
            if d is None:
                if not isinstance(c.head(x.type), Poison) and not c.initialising:
                    c.error("HYB602", f"`{p.name}` of `{sig.name}` must be known when the program is compiled",
                            given.value.span,
                            help="a configuration argument is a constant or the configuration of a model")
                d = c.fresh_dim()
                c.computed.append((d, x))
            else:
                check_place.static_dim(c, d, p.name, sig.name, given.value.span)
            config.append(d)
        else:
            config.append(c.reader.config_value(given.value, p))
    computed = tuple(c.computed[waiting:])
    del c.computed[waiting:]
    return tree.MakeModel(ModelType(sig.key, tuple(config)), e.span, seed, computed)


def bracket_args(c: Body, e: syntax.Index) -> Type | None:
    t = c.reader.type(e)
    return None if isinstance(t, Poison) else t
