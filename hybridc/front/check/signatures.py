"""Signatures of functions and methods: parameters, type parameters, the dimension names they bind, results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim, DimVar, PackVar, Shape
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    POISON,
    VOID,
    FnType,
    ModelType,
    Named,
    Option,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check.bounds import resource_in
from hybridc.front.check.declare import FORBIDDEN_MEMBERS, Source, types_of_fn
from hybridc.front.check.scope import EnumSig, FnSig, MethodSig, ModelSig, ParamSig, StructSig, World
from hybridc.front.check.typeexpr import TypeReader
from hybridc.front.parse import syntax
from hybridc.front.parse.modules import Unit

if TYPE_CHECKING:
    from hybridc.front.check.declare import Declarer


def functions(d: Declarer, unit: Unit) -> None:
    """Signatures of functions and of the methods of structs and enums."""
    for decl in d.own(unit, syntax.Fn):
        signature(d, unit, decl, None, d.reader(unit, ""), None)
    for decl in d.own(unit, syntax.Struct, syntax.Enum):
        key = f"{unit.name}:{decl.name}"
        sig, reader = d.world.type(key), d.types[key][1]
        assert isinstance(sig, StructSig | EnumSig)
        args = tuple(Dim.of(p) if isinstance(p, DimVar) else p for p in sig.params)
        taken = {f.name for f in sig.fields} if isinstance(sig, StructSig) else set()
        methods(d, unit, decl, sig, reader, Named(key, args), taken)


def methods(d: Declarer, unit: Unit, decl: Any, sig: StructSig | EnumSig | ModelSig, reader: TypeReader,
            self_type: Type, taken: set[str]) -> None:
    fns = [m for m in decl.members if isinstance(m, syntax.Fn)] if isinstance(decl, syntax.Model) else decl.methods
    for fn in fns:
        if fn.name in sig.methods or fn.name in taken:
            d.report("HYB202", f"`{sig.name}` has two members called `{fn.name}`", fn.name_span)
            continue
        if isinstance(decl, syntax.Model) and fn.name in FORBIDDEN_MEMBERS:
            d.report("HYB601", f"a member of a model may not be called `{fn.name}`: Python gives every model "
                        "one of that name", fn.name_span)
        key = f"{sig.key}.{fn.name}"
        sig.methods[fn.name] = key
        module = d.world.modules[unit.name]
        d.add_sig(module, FnSig(key, fn.name, unit.name, fn.name_span, owner=sig.key, doc=fn.doc))
        signature(d, unit, fn, sig, reader, self_type)


def signature(d: Declarer, unit: Unit, decl: syntax.Fn, owner: Any, outer: TypeReader, self_type: Type | None) -> None:
    """The signature of one function or method."""
    key = f"{owner.key}.{decl.name}" if owner is not None else f"{unit.name}:{decl.name}"
    sig = d.world.fn(key)
    reader = outer.child(key, binding=True)
    brackets: list[TypeVar | DimVar | PackVar] = []
    bounded: dict[TypeVar, TypeVar] = {}
    method_params: list[tuple[TypeVar, syntax.MethodBound]] = []
    names: set[str] = set()
    for p in decl.type_params:
        if p.name in names:
            d.report("HYB202", f"`{p.name}` is declared twice", p.span)
            continue
        names.add(p.name)
        if p.pack:
            pack = reader.packs[p.name] = PackVar(f"{key}.*{p.name}", p.name)
            brackets.append(pack)
            continue
        if owner is not None and p.name in outer.types:
            # the parameter of the struct, with one more bound in this method
            plain = outer.types[p.name]
            bounded[plain] = reader.types[p.name] = TypeVar(plain.key, plain.name, d.bound(p))
            continue
        if p.bound is None and p.method is None and any(
                d.used_as_dim(unit, t, p.name, frozenset()) for t in types_of_fn(decl)):
            dim = DimVar(f"{key}.{p.name}", p.name)
            reader.dims[p.name] = Dim.of(dim)
            brackets.append(dim)
            continue
        var = TypeVar(f"{key}.{p.name}", p.name, d.bound(p))
        reader.types[p.name] = var
        brackets.append(var)
        if p.method is not None:
            method_params.append((var, p.method))
    implicit: list[TypeVar] = []
    params: list[ParamSig] = []
    errors = len(d.diagnostics)
    if self_type is not None:
        self_type = substitute(self_type, {plain: var for plain, var in bounded.items()})
        params.append(ParamSig("self", self_type, decl.mutates_self, False, decl.name_span))
        sig.mutates_self = decl.mutates_self
    elif decl.mutates_self:
        d.report("HYB506", "only a method of a struct or model can be a `mut fn`", decl.name_span)
    seen: set[str] = set()
    for q in decl.params:
        if q.name in seen or q.name == "self":
            d.report("HYB202", f"two parameters are called `{q.name}`" if q.name != "self" else
                        "`self` is not written among the parameters: every method has it", q.span)
            continue
        seen.add(q.name)
        params.append(_param(d, q, reader, key, implicit))
    bound_by = sig.brackets = tuple(brackets)
    if not decl.extern:
        alone = _alone(params)
        sig.given = tuple(b for b in brackets if isinstance(b, DimVar) and b not in alone)
    if len(d.diagnostics) == errors:
        _check_bound(d, params, reader, decl, {b for b in bound_by if not isinstance(b, TypeVar)})
    methods = {v.key: _method_bound(m, reader) for v, m in method_params}
    free = [d for m in methods.values() for d in m.free_dims]
    n_dims, n_packs = len(reader.new_dims), len(reader.new_packs)
    reader.bare_model = None
    result: Type | None = VOID
    if decl.result is not None:
        result = reader.type(decl.result)
        for extra_dim in reader.new_dims[n_dims:]:
            _unbound(d, extra_dim, reader)
        for extra_pack in reader.new_packs[n_packs:]:
            _unbound(d, extra_pack, reader)
    elif not decl.extern and returns_value(decl.body):
        result = None
    owner_types = tuple(bounded.get(p, p) for p in owner.params if isinstance(p, TypeVar)) if _has_params(
        owner) else ()
    owner_dims = tuple(p for p in owner.params if isinstance(p, DimVar)) if _has_params(owner) else ()
    sig.params = tuple(params)
    sig.result = result
    sig.type_params = owner_types + tuple(b for b in brackets if isinstance(b, TypeVar)) + tuple(implicit)
    sig.dims = owner_dims + tuple(b for b in brackets if isinstance(b, DimVar)) + tuple(
        d for d in reader.new_dims[:n_dims] if d not in free)
    sig.packs = tuple(b for b in brackets if isinstance(b, PackVar)) + tuple(
        p for p in reader.new_packs[:n_packs] if not any(p in m.free_packs for m in methods.values()))
    sig.methods = methods
    if decl.extern:
        sig.host = "extern pure" if decl.pure else "extern"
    reader.binding = False
    d.fns[key] = Source(decl, reader, unit)


def _param(d: Declarer, q: syntax.Param, reader: TypeReader, key: str, implicit: list[TypeVar]) -> ParamSig:
    bare: list[TypeVar] = []

    def bare_model(model: str, span: Span) -> Type:
        suffix = f"#{len(bare) + 1}" if bare else ""
        var = TypeVar(f"{key}.{q.name}{suffix}", model.rpartition(":")[2], f"model {model}")
        bare.append(var)
        return var

    reader.bare_model = bare_model
    if q.type is None:
        d.report("HYB310", f"the parameter `{q.name}` needs a type", q.span, help=f"write `{q.name}: int`")
        t: Type = POISON
    else:
        t = reader.type(q.type)
    implicit += bare
    if isinstance(t, TypeVar) and t in bare:
        for name, size in config_dims(d.world, t).items():
            reader.dims[f"{q.name}.{name}"] = size
    elif isinstance(t, ModelType):
        model = d.world.model(t.key)
        for c, value in zip(model.config, t.config):
            if isinstance(value, Dim):
                reader.dims[f"{q.name}.{c.name}"] = value
    if not q.mut and not reader.std and (resource := resource_in(d.world, t)) is not None:
        d.report("HYB508", f"a {_name_of(resource)} is never copied: it is passed only as `mut`",
                    q.type.span if q.type is not None else q.span, help=f"write `mut {q.name}: {t}`")
    return ParamSig(q.name, t, q.mut, q.default is not None, q.span, isinstance(t, TypeVar) and t in bare)


def _check_bound(d: Declarer, params: list[ParamSig], reader: TypeReader, decl: syntax.Fn, given: set[Any]) -> None:
    """Each dimension name must stand alone in some parameter."""
    if decl.extern and reader.std:
        return
    alone = given | _alone(params)
    new: list[DimVar | PackVar] = [*reader.new_dims, *reader.new_packs]
    for var in new:
        if var not in alone:
            _unbound(d, var, reader)


def _alone(params: list[ParamSig]) -> set[Any]:
    """The names that stand alone as a dimension of a parameter, which binds them."""
    items = [item for p in params for shape in shapes_in(p.type) for item in shape]
    return {item if isinstance(item, PackVar) else item.variable for item in items} - {None}


def _unbound(d: Declarer, var: DimVar | PackVar, reader: TypeReader) -> None:
    shown = f"*{var.name}" if isinstance(var, PackVar) else var.name
    known = [*reader.dims, *(n for n, e in reader.module.names.items() if e.kind == "const")]
    d.report("HYB402", f"no parameter binds `{shown}`: none has it standing alone as a dimension",
                reader.dim_spans[var], help=nearest(var.name, [k for k in known if k != var.name])
                or "use `?` for a dimension known only at run time")


def _method_bound(m: syntax.MethodBound, reader: TypeReader) -> MethodSig:
    n_dims, n_packs = len(reader.new_dims), len(reader.new_packs)
    params = tuple((reader.type(t), mut) for t, mut in m.params)
    result = VOID if m.result is None else reader.type(m.result)
    return MethodSig(m.name, params, result, tuple(reader.new_dims[n_dims:]), tuple(reader.new_packs[n_packs:]))


def shapes_in(t: Any) -> Iterator[Shape]:
    """Every shape in a type, and each dimension argument as a shape of its own."""
    match t:
        case Tensor(_, shape):
            yield shape
        case TupleType(items):
            for i in items:
                yield from shapes_in(i)
        case Option(item):
            yield from shapes_in(item)
        case Named(_, args):
            for a in args:
                if isinstance(a, Dim):
                    yield (a,)
                else:
                    yield from shapes_in(a)
        case ModelType(_, config):
            for c in config:
                if isinstance(c, Dim):
                    yield (c,)
        case FnType(params, result):
            for p, _ in params:
                yield from shapes_in(p)
            yield from shapes_in(result)


def config_dims(world: World, var: TypeVar) -> dict[str, Dim]:
    """`m.size` of a parameter that is any configuration: the dimension of each int."""
    assert var.bound is not None
    model = world.model(var.bound.removeprefix("model "))
    return {c.name: Dim.of(DimVar(f"{var.key}.{c.name}", c.name)) for c in model.config if isinstance(c.var, DimVar)}


def returns_value(body: tuple[syntax.Stmt, ...]) -> bool:
    """Whether some `return` of this body has a value."""
    for s in body:
        match s:
            case syntax.Return(value=value) if value is not None:
                return True
            case syntax.If(then=a, orelse=b):
                if returns_value(a) or returns_value(b):
                    return True
            case syntax.While(body=b) | syntax.For(body=b):
                if returns_value(b):
                    return True
            case syntax.Match(cases=cases):
                if any(returns_value(c.body) for c in cases):
                    return True
    return False


def _has_params(owner: Any) -> bool:
    return isinstance(owner, StructSig | EnumSig)


def _name_of(t: Type) -> str:
    return t.name if isinstance(t, Named | ModelType) else str(t)
