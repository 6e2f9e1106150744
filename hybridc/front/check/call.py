"""Calls: which declaration is meant, arguments in their places, type parameters solved, what is made by a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    F32,
    INT,
    POISON,
    RNG,
    VOID,
    FnRef,
    Named,
    Option,
    PackVar,
    Poison,
    Prim,
    Substitution,
    Tensor,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    apply as check_apply,
)
from hybridc.front.check import (
    builtin as check_builtin,
)
from hybridc.front.check import (
    expr as check_expr,
)
from hybridc.front.check import (
    generic as check_generic,
)
from hybridc.front.check import (
    library as check_library,
)
from hybridc.front.check import (
    new as check_new,
)
from hybridc.front.check import (
    place as check_place,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.bounds import COPIED
from hybridc.front.check.infer import Meta
from hybridc.front.check.literal import open_literal
from hybridc.front.check.narrowing import root_name
from hybridc.front.check.scope import Entity, EnumSig, FnSig, MethodSig, ModelSig, ParamSig, StructSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


# ---- which call ------------------------------------------------------------------------------------------------------
def call(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    fn = e.fn
    brackets: tuple[Any, ...] | None = None
    if isinstance(fn, syntax.Index):
        if _takes_brackets(c, fn.value):
            brackets, fn = fn.items, fn.value
    if isinstance(fn, syntax.Name) and not c.within(fn.id):
        entity = c.entity(fn.id)
        case = _expected_case(c, fn.id, expected)
        if case is not None:
            return check_new.make_enum(c, case, fn.id, e.args, e, expected)
        if entity is not None:
            return call_entity(c, entity, e, brackets, expected)
        enum = enum_of_case(c, fn.id, fn.span, expected)
        if enum is not None:
            return check_new.make_enum(c, enum, fn.id, e.args, e, expected)
        if fn.id not in c.module.cases and fn.id not in c.reader.dims:
            return check_builtin.call(c, fn.id, e, brackets, expected)
    if isinstance(fn, syntax.Attribute):
        entity = check_access.qualified(c, fn)
        if entity is not None:
            return call_entity(c, entity, e, brackets, expected)
        enum = check_access.enum_named(c, fn.value)
        if enum is not None and fn.name in enum.cases:
            types = check_new.bracket_args(c, fn.value) if isinstance(fn.value, syntax.Index) else None
            return check_new.make_enum(c, enum, fn.name, e.args, e, expected, types)
        if enum is None:
            return call_attribute(c, fn, e, brackets, expected)
    c.applied[id(fn)] = e.args
    value = c.value(fn)
    return check_apply.call_value(c, value, e, expected)


def _takes_brackets(c: Body, fn: syntax.Expr) -> bool:
    """Whether brackets after `fn` give type or dimension arguments to what is called."""
    if isinstance(fn, syntax.Name):
        entity = c.entity(fn.id) if not c.within(fn.id) else None
        return entity is not None and entity.kind != "const"
    if isinstance(fn, syntax.Attribute):
        if check_access.module_path(c, fn.value) is not None:
            return True
        if check_access.enum_named(c, fn.value) is not None:
            return False
        value = c.value(fn.value)
        c.prechecked[id(fn.value)] = value
        t = c.head(value.type)
        if t == RNG:
            return True
        sig = check_access.method_of(c, t, fn.name)
        return sig is not None and bool(sig.brackets)
    return False


def _expected_case(c: Body, name: str, expected: Type | None) -> EnumSig | None:
    while isinstance(expected, Option):
        expected = c.head(expected.item)
    if isinstance(expected, Named):
        sig = c.world.type(expected.key)
        if isinstance(sig, EnumSig) and name in sig.cases:
            return sig
    return None


def enum_of_case(c: Body, name: str, span: Span, expected: Type | None) -> EnumSig | None:
    """The enum that a case name means here: of the expected type, else the only one that has it."""
    sig = _expected_case(c, name, expected)
    if sig is not None:
        return sig
    keys = c.module.cases.get(name, ())
    if len(keys) > 1:
        shown = " or ".join(f"`{k.rpartition(':')[2]}.{name}`" for k in keys)
        c.error("HYB207", f"several enums have a case `{name}`", span, help=f"write {shown}")
        return None
    found = c.world.type(keys[0]) if keys else None
    return found if isinstance(found, EnumSig) else None


def call_entity(c: Body, entity: Entity, e: syntax.Call, brackets: Any, expected: Type | None) -> tree.Expr:
    sig = c.world.sigs.get(entity.key)
    match sig:
        case FnSig():
            types = check_generic.bracket_types(c, sig, brackets, e.fn.span) if brackets is not None else None
            return call_fn(c, sig, None, e, types, expected)
        case StructSig():
            return check_new.make_struct(c, sig, e, brackets, expected)
        case ModelSig():
            return check_new.make_model(c, sig, e, brackets)
        case EnumSig():
            c.error("HYB307", f"`{sig.name}` is an enum: one of its cases makes a value", e.fn.span,
                    help="write " + " or ".join(f"`{n}`" for n in list(sig.cases)[:4]))
            return c.poison(e.span)
    if entity.kind == "missing":
        poison_args(c, e)
        return c.poison(e.span)
    return check_apply.call_value(c, check_expr.entity_value(c, entity, e.fn, None), e, expected)


def call_attribute(c: Body, fn: syntax.Attribute, e: syntax.Call, brackets: Any, expected: Type | None) -> tree.Expr:
    """`value.name(...)`: a method, or a field that is called."""
    receiver = c.value(fn.value)
    t = c.head(receiver.type)
    if isinstance(t, Poison):
        poison_args(c, e)
        return c.poison(e.span)
    special = check_library.method(c, receiver, t, fn, e, brackets, expected)
    if special is not None:
        return special
    sig = check_access.method_of(c, t, fn.name)
    if sig is not None:
        types = check_generic.bracket_types(c, sig, brackets, fn.name_span) if brackets is not None else None
        return call_fn(c, sig, (fn.value, receiver), e, types, expected)
    if isinstance(t, TypeVar):
        demanded = demanded_method(c, t, fn.name)
        if demanded is not None:
            return call_demanded(c, demanded, (fn.value, receiver), e)
        if t.bound == "model" and fn.name == "forward":
            return call_any_model(c, (fn.value, receiver), e)
    value = check_access.field(c, receiver, fn.name, fn.span)
    if value is not None:
        return check_apply.call_value(c, check_expr.narrow(c, value), e, expected)
    check_access.no_member(c, t, fn.name, fn.name_span, receiver)
    poison_args(c, e)
    return c.poison(e.span)


def demanded_method(c: Body, t: TypeVar, name: str) -> MethodSig | None:
    """The method that a bound of the type parameter promises."""
    m = c.sig.methods.get(t.key) if c.sig is not None else None
    return m if m is not None and m.name == name else None


def call_demanded(c: Body, m: MethodSig, receiver: tuple[syntax.Expr, tree.Expr], e: syntax.Call) -> tree.Expr:
    s: Substitution = {d: Dim.of(c.solver.fresh_dim(d.name)) for d in m.free_dims}
    s.update({p: (c.solver.fresh_pack(p.name),) for p in m.free_packs})
    params = [ParamSig(f"argument {i + 1}", substitute(t, s), mut, False, e.span)
              for i, (t, mut) in enumerate(m.params)]
    args = check_apply.positional(c, params, e, f"`{m.name}`")
    if args is None:
        return c.poison(e.span)
    return _by_name(c, c.fresh_unknowns(substitute(m.result, s)), receiver, m.name, e, args, [None] * len(args))


def call_any_model(c: Body, receiver: tuple[syntax.Expr, tree.Expr], e: syntax.Call) -> tree.Expr:
    """A call of a model of which only `model` is known: its `forward` is settled when it is made concrete. Its result
    has as many dimensions as the first tensor given; which, the run compares."""
    args: list[tree.Arg] = []
    shape: Type | None = None
    for a in e.args:
        if a.mut:
            at = check_place.place(c, a.value, "mut")
            args.append(tree.Arg(c.poison(a.span)) if at is None else tree.Arg(place=at))
            continue
        x = c.value(a.value)
        t = c.head(x.type)
        if shape is None and isinstance(t, Tensor):
            shape = Tensor(t.elem, tuple(d if isinstance(d, PackVar) else c.fresh_dim() for d in t.shape))
        args.append(tree.Arg(x))
    return _by_name(c, shape if shape is not None else F32, receiver, "forward", e, args, [a.name for a in e.args])


def _by_name(c: Body, result: Type, receiver: tuple[syntax.Expr, tree.Expr], name: str, e: syntax.Call,
             args: Sequence[tree.Arg], names: Sequence[str | None]) -> tree.Expr:
    """The call of a method that may change its receiver, if that stands where it can be changed."""
    at, value = receiver
    place = check_place.changeable(c, at)
    check_place.distinct(c, [(p, e.span) for p in (place, *(a.place for a in args)) if p is not None])
    for p in (place, *(a.place for a in args)):
        if p is not None:
            check_place.changed(c, p)
    return tree.CallMethod(result, e.span, value, place, name, tuple(args), tuple(names))


def poison_args(c: Body, e: syntax.Call) -> None:
    """Look for independent mistakes in the arguments of a call that is wrong itself."""
    for a in e.args:
        if not isinstance(a.value, syntax.Lambda):
            c.expr(a.value, POISON)


# ---- arguments -------------------------------------------------------------------------------------------------------
def bind(c: Body, names: Sequence[str], optional: Sequence[bool], args: tuple[syntax.Argument, ...], span: Span,
         what: str) -> tuple[list[syntax.Argument | None], tuple[int, ...]] | None:
    """Arguments by parameter, as in Python, and the order in which they were written; None if they do not fit."""
    bound: list[syntax.Argument | None] = [None] * len(names)
    order: list[int] = []
    ok = True
    for i, a in enumerate(args):
        if a.name is None:
            if i >= len(names):
                shown = "no arguments" if not names else f"{len(names)} argument" + ("s" if len(names) > 1 else "")
                c.error("HYB306", f"{what} takes {shown}, {len(args)} given", a.span)
                return None
            at = i
        else:
            if a.name not in names:
                help = nearest(a.name, names)
                if a.name == "dim" and "axis" in names:
                    help = "it is called `axis=`"
                c.error("HYB306", f"{what} has no parameter `{a.name}`", a.span, help=help)
                ok = False
                continue
            at = names.index(a.name)
        if bound[at] is not None:
            c.error("HYB306", f"`{names[at]}` of {what} is given twice", a.span)
            ok = False
            continue
        bound[at] = a
        order.append(at)
    missing = [n for n, o, b in zip(names, optional, bound) if b is None and not o]
    if missing and ok:
        shown = ", ".join(f"`{n}`" for n in missing)
        c.error("HYB306", f"{what} needs {shown}", span)
        ok = False
    return (bound, tuple(order)) if ok else None


def arguments(c: Body, params: Sequence[ParamSig], bound: Sequence[syntax.Argument | None], s: Substitution, what: str,
              order: Sequence[int], sig: FnSig | None = None, hint: tuple[Type, Type] | None = None) -> list[tree.Arg]:
    """Check each argument against its parameter. What has a type of its own comes first, then what takes its type
    from context, then lambdas; `hint` is (result, expected) to solve type parameters from, in between."""
    done: list[tree.Arg] = [tree.Arg() for _ in params]
    ranks = {i: _rank(c, bound[i].value) for i in order if bound[i] is not None}  # type: ignore[union-attr]
    hinted = hint is None
    for rank in (0, 1, 2):
        if rank > 0 and not hinted and hint is not None:
            hinted = True
            c.solver.attempt(hint[1], hint[0])
        for i in order:
            a = bound[i]
            if a is None or ranks[i] != rank:
                continue
            done[i] = argument(c, params[i], a, substitute(params[i].type, s), what)
            if sig is not None:
                check_generic.link_models(c, sig, s)
    places = [(a.place, bound[i]) for i, a in enumerate(done) if a.place is not None]
    check_place.distinct(c, [(p, b.span) for p, b in places if b is not None])
    return done


def _rank(c: Body, e: syntax.Expr) -> int:
    if isinstance(e, syntax.Lambda):
        return 2
    return 1 if open_literal(c, e) else 0


def argument(c: Body, p: ParamSig, a: syntax.Argument, t: Type, what: str) -> tree.Arg:
    shown = f"`{p.name}` of {what}" if not p.name.startswith("argument ") else f"{p.name} of {what}"
    if p.mut:
        if not a.mut:
            c.error("HYB506", f"{shown} is a `mut` parameter: what it changes is marked at the call too", a.value.span,
                    help=f"write `mut {c.checker.text(a.value.span)}`"
                    if root_name(a.value) is not None or _is_temporary(c, a.value, t)
                    else "put it into a `var` first, and pass that as `mut`")
            return tree.Arg(c.poison(a.span))
        if isinstance(a.value, syntax.Call) and not p.name.startswith("argument "):
            value = c.value(a.value, t)
            if check_place.temporary(c, value):
                return tree.Arg(c.coerce(value, t, shown))
            c.prechecked[id(a.value)] = value
        place = check_place.place(c, a.value, "mut")
        if place is None:
            return tree.Arg(c.poison(a.span))
        if not isinstance(c.head(t), Option):
            place = check_place.held(c, place)
        before = c.resolve(place.type)
        if not c.solver.unify(t, place.type):
            c.error("HYB401" if str(before).partition("[")[0] == c.show(t).partition("[")[0] else "HYB301",
                    f"{shown}: expected {c.show(t)}, found {before}", a.value.span,
                    help="a `mut` argument has exactly the parameter's type")
            return tree.Arg(c.poison(a.span))
        c.solver.undecided.clear()
        return tree.Arg(place=place)
    if a.mut:
        c.error("HYB506", f"{shown} is not a `mut` parameter", a.span, help="leave out the `mut`")
    value = c.value(a.value, t)
    check_place.not_copied(c, value, f"{shown} would copy it")
    return tree.Arg(c.coerce(value, t, shown))


def _is_temporary(c: Body, e: syntax.Expr, t: Type) -> bool:
    return isinstance(e, syntax.Call) and check_place.temporary(c, c.value(e, t))


# ---- functions and methods -------------------------------------------------------------------------------------------
def call_fn(c: Body, sig: FnSig, receiver: tuple[syntax.Expr, tree.Expr] | None, e: syntax.Call,
            types: Sequence[Any] | None, expected: Type | None) -> tree.Expr:
    """A call of a declared function, or of a method of `receiver`."""
    c.checker.ensure_result(c, sig, e.fn.span)
    s, metas, packs = check_generic.instantiate(c, sig, e.span, types, None if receiver is None else receiver[1].type)
    waiting = len(c.solver.postponed)
    what = f"`{shown_name(sig)}`"
    first: list[tree.Arg] = []
    params = sig.params
    if receiver is not None:
        params = sig.params[1:]
        arg = receiver_arg(c, sig, receiver, substitute(sig.params[0].type, s))
        if arg is None:
            poison_args(c, e)
            return c.poison(e.span)
        first = [arg]
        check_generic.link_models(c, sig, s)
    found = bind(c, [p.name for p in params], [p.has_default for p in params], e.args, e.span, what)
    if found is None:
        poison_args(c, e)
        return tree.Const(_known_result(sig), e.span, None)
    bound, order = found
    hint = None
    if expected is not None and sig.result is not None and (metas or sig.dims or packs):
        result = substitute(sig.result, s)
        want = c.head(expected)
        if isinstance(c.head(result), Meta):
            while isinstance(want, Option):
                want = c.head(want.item)
        hint = (result, want)
    args = arguments(c, params, bound, s, what, order, sig, hint)
    if hint is None or not isinstance(hint[1], Tensor) or not isinstance(c.head(hint[1].elem), Meta):
        check_generic.settle_elements(c, args)
    bad = c.solver.settle_postponed(waiting)
    if bad is not None:
        c.error("HYB401", f"{what}: a dimension must be {bad[0]}, and it is {bad[1]}", e.span)
    for v, t in zip(sig.type_params, metas):
        if v.key in sig.methods:
            check_generic.check_demand(c, sig, sig.methods[v.key], t, s, e.span)
        elif v.bound is not None and v.bound not in ("method", "config") and types is None:
            c.require(t, v.bound, e.span, f"`{v.name}` of {what}")
        if v.bound in (None, "model", "method") and not sig.key.startswith("std."):
            c.require(t, COPIED, e.span, f"`{v.name}` of {what}")
    if receiver is not None:
        order = (0, *(i + 1 for i in order))
    if sig.mutates_self and receiver is not None and first[0].place is not None:
        check_place.distinct(c, [(p.place, e.span) for p in [*first, *args] if p.place is not None])
    for a in [*first, *args]:
        if a.place is not None:
            check_place.changed(c, a.place)
    if sig.result is None:
        return c.poison(e.span)
    check_resource_use(c, sig, receiver, e.span)
    result = c.fresh_unknowns(substitute(sig.result, s)) if sig.result != VOID else VOID
    args += [tree.Arg(tree.DimValue(INT, e.span, s[d])) for d in sig.given]  # type: ignore[arg-type]
    order = (*order, *range(len(order), len(order) + len(sig.given)))
    return tree.Call(result, e.span, FnRef(sig.key, metas, packs), (*first, *args), order)


def _known_result(sig: FnSig) -> Type:
    """The result type where it does not depend on the arguments, so that one mistake gives one message."""
    return sig.result if isinstance(sig.result, Prim) else POISON


def shown_name(sig: FnSig) -> str:
    """The name that the user wrote: `sort` for the library's `_sort_by`."""
    return sig.name.removeprefix("_").removesuffix("_by") if sig.module.startswith("std.") else sig.name


def receiver_arg(c: Body, sig: FnSig, receiver: tuple[syntax.Expr, tree.Expr], t: Type) -> tree.Arg | None:
    at, value = receiver
    is_model = check_access.model_of(c, c.head(value.type)) is not None
    if sig.mutates_self and check_place.temporary(c, value):
        return tree.Arg(value)
    if not sig.mutates_self:
        if is_model:
            return tree.Arg(value)
        return tree.Arg(c.coerce(value, t, "the receiver"))
    place = check_place.place(c, at, f"`{shown_name(sig)}`")
    if place is None:
        return None
    place = check_place.held(c, place)
    if not is_model:
        c.solver.unify(t, place.type)
    return tree.Arg(place=place)


def check_resource_use(c: Body, sig: FnSig, receiver: Any, span: Span) -> None:
    if c.parallel and receiver is not None and sig.name not in ("at",):
        check_place.parallel_resource(c, receiver[1], span)


def method_call(c: Body, sig: FnSig, receiver: tree.Expr | tree.Arg, args: list[tree.Expr], span: Span) -> tree.Expr:
    """A call of a method of the element protocol with checked arguments; of one that changes, on a place."""
    c.checker.ensure_result(c, sig, span)
    s, metas, packs = check_generic.instantiate(c, sig, span, None)
    first = receiver if isinstance(receiver, tree.Arg) else tree.Arg(receiver)
    at = first.place if first.value is None else first.value
    assert at is not None
    c.solver.unify(substitute(sig.params[0].type, s), at.type)
    done = [c.coerce(a, substitute(p.type, s), f"`{p.name}`") for a, p in zip(args, sig.params[1:])]
    if c.parallel and first.value is not None:
        check_place.parallel_resource(c, first.value, span)
    result = c.fresh_unknowns(substitute(sig.result or POISON, s))
    return tree.Call(result, span, FnRef(sig.key, metas, packs),
                     (first, *(tree.Arg(a) for a in done)), tuple(range(len(done) + 1)))


def option_int(c: Body, e: syntax.Expr | None, span: Span) -> tree.Expr:
    """A bound of a slice as an `int?`."""
    if e is None:
        return tree.Const(Option(INT), span, None)
    x = c.typed(e, INT, "a bound of a slice")
    return tree.Some(Option(INT), x.span, x)
