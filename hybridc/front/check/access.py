"""What stands after a value: `.name`, `[index]`, `[a:b]`; and `m.size`, `E.Case`, `module.name` on the way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    INT,
    NUMBERS,
    PRIMS,
    STD_TYPES,
    FnRef,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check import (
    builtin as check_builtin,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    expr as check_expr,
)
from hybridc.front.check import (
    fn as check_fn,
)
from hybridc.front.check import (
    generic as check_generic,
)
from hybridc.front.check import (
    model as check_model,
)
from hybridc.front.check import (
    new as check_new,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.bounds import model_of as declaration_of
from hybridc.front.check.config_values import config_item
from hybridc.front.check.infer import Meta
from hybridc.front.check.open_models import is_open
from hybridc.front.check.scope import ConfigSig, Entity, EnumSig, FnSig, ModelSig, StructSig
from hybridc.front.check.soft import MADE
from hybridc.front.check.tensor import transpose_of
from hybridc.front.check.tensor_index import read_tensor
from hybridc.front.parse import habits, syntax
from hybridc.front.parse.as_type import dotted_name

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


# ---- attributes ------------------------------------------------------------------------------------------------------
def module_path(c: Body, e: syntax.Expr) -> str | None:
    """The dotted name of an imported module, if the expression is one."""
    entity = _module(c, e)
    return entity.key if entity is not None and entity.kind == "module" else None


def _module(c: Body, e: syntax.Expr) -> Entity | None:
    """An imported module, or one that is missing."""
    match e:
        case syntax.Name(id=name):
            dotted = name
        case syntax.Attribute(value=value, name=name):
            base = dotted_name(value)
            if base is None:
                return None
            dotted = f"{base}.{name}"
        case _:
            return None
    if c.within(dotted.partition(".")[0]):
        return None
    entity = c.module.names.get(dotted)
    return entity if entity is not None and entity.kind in ("module", "missing") else None


def qualified(c: Body, e: syntax.Attribute) -> Entity | None:
    """`nn.Linear`: what a module declares; reports a name that it does not have."""
    module = _module(c, e.value)
    if module is None:
        return None
    if module.kind == "missing":
        c.had_errors = True
        return module
    names = c.world.modules[module.key].names
    entity = names.get(e.name)
    if entity is None or e.name.startswith("_"):
        c.error("HYB206", f"module `{c.checker.text(e.value.span)}` has no `{e.name}`", e.name_span,
                help=habits.LAYERS.get(e.name) or nearest(e.name, names))
        return Entity("missing", e.name)
    return entity


def enum_named(c: Body, e: syntax.Expr) -> EnumSig | None:
    """`Tree` in `Tree.Leaf`."""
    entity: Entity | None = None
    if isinstance(e, syntax.Name) and not c.within(e.id):
        entity = c.entity(e.id)
    elif isinstance(e, syntax.Attribute) and module_path(c, e.value) is not None:
        entity = qualified(c, e)
    elif isinstance(e, syntax.Index):
        return enum_named(c, e.value)
    if entity is None or entity.kind != "enum":
        return None
    sig = c.world.sigs[entity.key]
    assert isinstance(sig, EnumSig)
    return sig


def attribute(c: Body, e: syntax.Attribute, expected: Type | None, raw: bool = False) -> tree.Expr:
    entity = qualified(c, e)
    if entity is not None:
        if entity.kind == "missing":
            return c.poison(e.span)
        return check_expr.entity_value(c, entity, e, expected)
    enum = enum_named(c, e.value)
    if enum is not None:
        if e.name not in enum.cases:
            help = nearest(e.name, enum.cases) or listed("its cases are", enum.cases)
            c.error("HYB208", f"`{enum.name}` has no case `{e.name}`", e.name_span, help=help)
            return c.poison(e.span)
        return check_new.make_enum(c, enum, e.name, None, e, expected)
    value = c.value(e.value)
    return member(c, value, e, expected, raw)


def member(c: Body, value: tree.Expr, e: syntax.Attribute, expected: Type | None, raw: bool = False) -> tree.Expr:
    """`value.name`, where it is not called."""
    x = field(c, value, e.name, e.span)
    if x is not None:
        return x if raw else check_expr.narrow(c, x)
    t = c.head(value.type)
    sig = method_of(c, t, e.name)
    if sig is not None:
        return bound_method(c, value, sig, e, expected)
    if not isinstance(t, Poison):
        no_member(c, t, e.name, e.name_span, value)
    return c.poison(e.span)


def field(c: Body, value: tree.Expr, name: str, span: Span) -> tree.Expr | None:
    """A field, member or configuration of a value, or None if it has no such."""
    t = c.head(value.type)
    if isinstance(t, Tensor) and name == "T":
        return transpose_of(c, value, span)
    match t:
        case Poison():
            return c.poison(span)
        case Named(key, args):
            sig = c.world.type(key)
            if isinstance(sig, StructSig):
                f = sig.field_named(name)
                if f is not None and (c.std or sig.key.startswith("std.") is False or not name.startswith("_")):
                    if key in STD_TYPES.values() and not c.std:
                        return None
                    ft = substitute(f.type, dict(zip(sig.params, args)))  # type: ignore[arg-type]
                    return tree.Field(c.fresh_unknowns(ft), span, value, name)
        case ModelType() | TypeVar():
            return model_member(c, value, t, name, span)
    return None


def model_of(c: Body, t: Type) -> tuple[ModelSig, ModelType] | None:
    """The model that a type means, with its configuration; a bare `M` over its own variables."""
    if isinstance(t, ModelType):
        return c.world.model(t.key), t
    if isinstance(t, TypeVar) and t.bound is not None and t.bound.startswith("model "):
        sig = c.world.model(t.bound.removeprefix("model "))
        config = tuple(Dim.of(DimVar(f"{t.key}.{p.name}", p.name)) if isinstance(p.var, DimVar)
                       else TypeVar(f"{t.key}.{p.name}", p.name, p.var.bound) for p in sig.config)
        return sig, ModelType(sig.key, config)  # type: ignore[arg-type]
    return None


def model_member(c: Body, value: tree.Expr, t: Type, name: str, span: Span) -> tree.Expr | None:
    found = model_of(c, t)
    if found is None:
        return None
    sig, model = found
    config = sig.config_named(name)
    if config is not None and not check_model.is_member(c, sig, name):
        i = sig.config.index(config)
        if i < len(model.config):
            given = model.config[i]
            if is_open(given):
                return tree.Field(config.type, span, value, name)
            if isinstance(given, Dim):
                return check_expr.dim_value(given, span)
            if config.is_model and not c.initialising:
                return not_held(c, sig, name, span)
            return tree.ConfigValueOf(substitute(config.type, check_generic.config_substitution(c, sig, model)), span,
                                      t, name)
    member_sig = check_model.member(sig, name, span, c)
    if member_sig is None:
        return None
    declared = check_model.param_type(member_sig, sig, model) if member_sig.init is not None else member_sig.type
    mt = substitute(declared, check_generic.config_substitution(c, sig, model))
    if member_sig.kind == "let":
        return check_model.let_value(c, sig, model, t, member_sig, span)
    return tree.Field(c.fresh_unknowns(mt) if member_sig.kind == "model" else mt, span, value, name)


def config_value(c: Body, config: ConfigSig, span: Span) -> tree.Expr:
    """A configuration argument by its bare name, inside its model."""
    if isinstance(config.type, Poison):
        return c.poison(span)
    if isinstance(config.var, DimVar):
        return tree.DimValue(INT, span, Dim.of(config.var))
    assert c.model is not None
    own = own_type(c.model)
    if config.is_model and not c.initialising:
        receiver = c.use("self", span)
        if receiver is None or not check_model.is_member(c, c.model, config.name):
            return not_held(c, c.model, config.name, span)
        member = model_member(c, tree.Local(own, span, receiver.var), own, config.name, span)
        assert member is not None
        return member
    return tree.ConfigValueOf(config.type, span, own, config.name)


def not_held(c: Body, sig: ModelSig, name: str, span: Span) -> tree.Expr:
    """A model of the configuration is a value only where the model holds it."""
    c.error("HYB602", f"`{name}` says which model `{sig.name}` is made for, and no member holds a value of it", span,
            help=f"write `let {name} = {name}` among the members of `{sig.name}`")
    return c.poison(span)


def own_type(sig: ModelSig) -> ModelType:
    """The type of `self` in a model: itself over its own configuration variables."""
    return ModelType(sig.key, tuple(Dim.of(p.var) if isinstance(p.var, DimVar) else p.var  # type: ignore[misc]
                                    for p in sig.config))


def method_of(c: Body, t: Type, name: str) -> FnSig | None:
    """The declared method of a type."""
    if name.startswith("_") and not c.std and not name.startswith("__"):
        owner = c.module.name
        if not (isinstance(t, Named | ModelType) and t.key.startswith(owner + ":")):
            return None
    match t:
        case Named(key) | ModelType(key):
            return c.world.method(key, name)
        case TypeVar(bound=str() as bound) if bound.startswith("model "):
            return c.world.method(bound.removeprefix("model "), name)
    return None


def bound_method(c: Body, value: tree.Expr, sig: FnSig, e: syntax.Attribute, expected: Type | None) -> tree.Expr:
    """`m.loss` as a value: the receiver is captured."""
    if sig.mutates_self:
        c.error("HYB510", f"`{sig.name}` is a `mut fn`; as a value it would change a copy of its receiver", e.span,
                help=f"call it, `...{e.name}(...)`; for a derivative, `value_and_grad(mut {c.checker.text(e.span)})`")
        return c.poison(e.span)
    c.checker.ensure_result(c, sig, e.span)
    if sig.result is None or check_generic.needs_dims(c, sig, e.span):
        return c.poison(e.span)
    s, metas, packs = check_generic.instantiate(c, sig, e.span, None, value.type)
    receiver = value
    if model_of(c, c.head(value.type)) is None:
        receiver = c.coerce(value, substitute(sig.params[0].type, s), "the receiver")
    check_generic.link_models(c, sig, s)
    t = FnType(tuple((substitute(p.type, s), p.mut) for p in sig.params[1:]), substitute(sig.result, s))
    if isinstance(expected, FnType) and len(expected.params) == len(t.params):
        c.solver.attempt(expected, t)
    return tree.BoundMethod(t, e.span, FnRef(sig.key, metas, packs), receiver)


FEW = 8
"""So many names can be listed."""


def listed(begin: str, names: Collection[str]) -> str | None:
    return f"{begin} {', '.join(f'`{n}`' for n in names)}" if 0 < len(names) <= FEW else None


def kind_of(t: Type) -> str | None:
    """The name of a type that the language brings, of which other languages have their own."""
    if isinstance(t, Tensor):
        return "tensor"
    if t in NUMBERS:
        return "number"
    if declaration_of(t) is not None:
        return "model"
    return t.name if isinstance(t, Named) and t.key.startswith("std.") else None


def no_member(c: Body, t: Type, name: str, span: Span, value: tree.Expr | None = None) -> None:
    """Report a member that a type does not have, with the nearest that it has."""
    shown = c.show(t)
    if isinstance(t, Meta):
        c.error("HYB308", f"the type of this value is not known yet, so `.{name}` cannot be found", span,
                help="write its type where it is declared")
        return
    names: list[str] = []
    help = None
    if isinstance(t, Option):
        why = c.why_none(value) if value is not None else ""
        help = f"{why or 'it may be none: '}test it first, `if x != none:`, or give a default, `(x ?? ...).{name}`"
    elif isinstance(t, Named):
        sig = c.world.type(t.key)
        if isinstance(sig, StructSig):
            names = [f.name for f in sig.fields if c.std or not t.key.startswith("std.")] + list(sig.methods)
        elif isinstance(sig, EnumSig):
            names = list(sig.methods)
            help = "take its fields by `match`" if not names else None
    else:
        found = model_of(c, t)
        if found is not None:
            names = [*found[0].member_names, *found[0].methods, *(p.name for p in found[0].config)]
    names = [n for n in names if not n.startswith("_")]
    if help is None:
        kind = kind_of(t)
        help = habits.member(kind, name, names) if kind is not None else None
        if value is not None and kind == "number" and c.checker.text(value.span).endswith("."):
            help = "numbers from a to b are `range(a, b)`"
        help = help or nearest(name, names)
        if help is None and kind in ("tensor", "number") and name in check_builtin.NAMES:
            help = f"{kind} functions are called as functions: `{name}(x, ...)`"
        if help is None and isinstance(t, TypeVar) and t.bound == "model":
            help = f"`{t}` may be any model, of which only calls and parameters are known"
        if help is None and isinstance(t, TypeVar):
            help = f"`{t}` may be any type; a bound says what it has: `[{t}: {name}(...)]`"
        help = help or listed("it has", names)
    c.error("HYB208", f"{shown} has no `{name}`", span, help=help)


# ---- indexing --------------------------------------------------------------------------------------------------------
def index(c: Body, e: syntax.Index, expected: Type | None) -> tree.Expr:
    applied = type_application(c, e, expected)
    if applied is not None:
        return applied
    value = c.value(e.value)
    t = c.head(value.type)
    match t:
        case Poison():
            for i in e.items:
                if not isinstance(i, syntax.Slice | syntax.Unknown):
                    c.had_errors = True
            return c.poison(e.span)
        case Tensor():
            return tensor_index(c, value, e)
        case TupleType(items):
            return tuple_item(c, value, items, e)
        case Named():
            return container_index(c, value, t, e)
        case ModelType() | TypeVar():
            pass
        case Option():
            c.error("HYB311", f"{c.show(t)} may be none, so it cannot be indexed", e.span,
                    help="test it first, `if x != none:`, or give a default with `??`")
            return c.poison(e.span)
        case Meta():
            c.error("HYB308", "the type of what is indexed is not known here", e.value.span,
                    help="write its type where it is declared")
            return c.poison(e.span)
    c.error("HYB311", f"{c.show(t)} cannot be indexed", e.span)
    return c.poison(e.span)


def tensor_index(c: Body, value: tree.Expr, e: syntax.Index) -> tree.Expr:
    if any(isinstance(i, syntax.TypeName | syntax.TupleType | syntax.OptionType | syntax.FnType | syntax.Unknown)
           for i in e.items):
        c.error("HYB311", "a type stands where an index is expected", e.span)
        return c.poison(e.span)
    return read_tensor(c, value, e.items, e.span)  # type: ignore[arg-type]


def tuple_item(c: Body, value: tree.Expr, items: tuple[Type, ...], e: syntax.Index) -> tree.Expr:
    i = c.const(e.items[0]) if len(e.items) == 1 and not isinstance(e.items[0], syntax.Slice) else None  # type: ignore[arg-type]
    if not isinstance(i, int) or isinstance(i, bool):
        c.error("HYB311", "the index of a tuple is one constant int", e.span,
                help="take it apart, `let a, b = t`; a list, `[1, 2]`, has any index and slices")
        return c.poison(e.span)
    if not -len(items) <= i < len(items):
        c.error("HYB311", f"the index {i} is out of range for {c.show(value.type)}", e.span)
        return c.poison(e.span)
    if i < 0:
        i += len(items)
    x = tree.TupleItem(c.fresh_unknowns(items[i]), e.span, value, i)
    return x


def keyed(c: Body, t: Named, e: syntax.Index) -> syntax.Index:
    """`m[i, j]`, where keys are tuples, is `m[(i, j)]`."""
    sig = c.world.method(t.key, "_get")
    if sig is None or len(e.items) == 1 or any(isinstance(i, syntax.Slice | syntax.Rest) for i in e.items):
        return e
    kind = c.head(substitute(sig.params[1].type, check_generic.owner_substitution(c, t)))
    if not isinstance(kind, TupleType):
        return e
    return replace(e, items=(syntax.Tuple(e.items[0].span.to(e.items[-1].span), e.items),))  # type: ignore[arg-type]


def one_index(c: Body, t: Named, e: syntax.Index) -> tree.Expr:
    c.error("HYB311", f"{c.show(t)} takes one index", e.span, help="write `xs[i][j]` for a list in a list")
    return c.poison(e.span)


def container_index(c: Body, value: tree.Expr, t: Named, e: syntax.Index) -> tree.Expr:
    e = keyed(c, t, e)
    if len(e.items) != 1:
        return one_index(c, t, e)
    item = e.items[0]
    if isinstance(item, syntax.Rest):
        c.error("HYB311", f"`...` is for tensors, and this is {c.show(t)}", item.span, help="`xs[:]` is all of it")
        return c.poison(e.span)
    if isinstance(item, syntax.Slice):
        sig = c.world.method(t.key, "_slice")
        if sig is None:
            c.error("HYB311", f"{c.show(t)} has no slices", e.span)
            return c.poison(e.span)
        args = [check_call.option_int(c, part, e.span) for part in (item.start, item.stop, item.step)]
        return check_call.method_call(c, sig, value, args, e.span)
    if isinstance(item, syntax.TypeName | syntax.TupleType | syntax.OptionType | syntax.FnType | syntax.Unknown
                  | syntax.Pack):
        c.error("HYB311", "a type stands where an index is expected", item.span)
        return c.poison(e.span)
    config = config_index(c, e, item)
    if config is not None:
        return config
    sig = c.world.method(t.key, "_get")
    if sig is None:
        c.error("HYB311", f"{c.show(t)} cannot be indexed", e.span)
        return c.poison(e.span)
    s = check_generic.owner_substitution(c, t)
    i = c.typed(item, substitute(sig.params[1].type, s), f"the index of {c.show(t)}")
    return check_call.method_call(c, sig, value, [i], e.span)


def config_index(c: Body, e: syntax.Index, item: syntax.Expr) -> tree.Expr | None:
    """`sizes[0]` of a configuration list is a dimension."""
    name = e.value.id if isinstance(e.value, syntax.Name) else (
        e.value.name if isinstance(e.value, syntax.Attribute) and isinstance(e.value.value, syntax.Name)
        and e.value.value.id == "self" else None)
    if name is None or (isinstance(e.value, syntax.Name) and c.find(name)[0] is not None):
        return None
    config = c.reader.config.get(name)
    i = c.const(item)
    if config is None or not isinstance(i, int) or not (
            isinstance(config.type, Named) and config.type.args == (INT,)):
        return None
    return tree.DimValue(INT, e.span, config_item(config, i))


# ---- type and dimension arguments ------------------------------------------------------------------------------------
def type_application(c: Body, e: syntax.Index, expected: Type | None) -> tree.Expr | None:
    """`f[int]` as a value: a generic function with its types; None if `e` indexes a value."""
    entity: Entity | None = None
    if isinstance(e.value, syntax.Name):
        if c.within(e.value.id):
            return None
        entity = c.entity(e.value.id)
    elif isinstance(e.value, syntax.Attribute) and module_path(c, e.value.value) is not None:
        entity = qualified(c, e.value)
    if entity is None:
        name = e.value.id if isinstance(e.value, syntax.Name) and e.value.id not in c.reader.config else ""
        return _built_in_of_types(c, e, name) if name in check_builtin.NAMES and name not in PRIMS else None
    sig = c.world.sigs.get(entity.key)
    if isinstance(sig, FnSig):
        types = check_generic.bracket_types(c, sig, e.items, e.span)
        return check_expr.fn_value(c, sig, e.span, expected, types)
    if entity.kind in ("struct", "enum", "model"):
        return check_fn.builtin_value(c, e, expected) if isinstance(expected, FnType) else _type_as_value(c, e)
    return None


def _built_in_of_types(c: Body, e: syntax.Index, name: str) -> tree.Expr:
    help = "leave the brackets out"
    if name in MADE:
        help = f"its elements are what is asked for, `let x: i32[n] = {name}(...)`, or cast: `i32({name}(...))`"
    c.error("HYB306", f"`{name}` takes no types in brackets", e.span, help=help)
    return c.poison(e.span)


def _type_as_value(c: Body, e: syntax.Index) -> tree.Expr:
    c.error("HYB209", f"`{c.checker.text(e.span)}` is a type, not a value", e.span, help="call it to make one")
    return c.poison(e.span)

