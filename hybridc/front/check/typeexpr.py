"""From what is written as a type to a type: names looked up, dimensions normalised, arguments counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hybridc.base.dims import Dim, DimVar, PackVar, Shape
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    BUFFER,
    INT,
    POISON,
    PRIMS,
    RNG,
    STD_TYPES,
    VOID,
    ConfigValue,
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
from hybridc.front.check.bounds import bound_phrase, is_resource, key_help, not_written, satisfies
from hybridc.front.check.config_fns import named_fn
from hybridc.front.check.config_values import config_item, fit_config, ints, worded
from hybridc.front.check.consts import NotConst, constant, fits, too_large
from hybridc.front.check.scope import (
    ConfigSig,
    ConstSig,
    Entity,
    EnumSig,
    GivenFn,
    ModelSig,
    ModuleDecls,
    StructSig,
    World,
)
from hybridc.front.parse import syntax
from hybridc.front.parse.as_type import dotted_name
from hybridc.front.parse.habits import type_called

Report = Callable[..., None]
"""report(code, message, span, help=None, notes=())"""


@dataclass
class TypeReader:
    """Reads types where some names stand for type parameters, dimensions and configuration.

    With `binding` (a signature), an unknown upper-case dimension name is a new dimension; `bare_model` then makes the
    type variable of a bare `M`. In a body, `value` gives the dimension that a local int is."""

    world: World
    module: ModuleDecls
    report: Report
    key: str
    std: bool = False
    types: dict[str, TypeVar] = field(default_factory=dict)
    dims: dict[str, Dim] = field(default_factory=dict)
    packs: dict[str, PackVar] = field(default_factory=dict)
    config: dict[str, ConfigSig] = field(default_factory=dict)
    model: ModelSig | None = None
    binding: bool = False
    new_dims: list[DimVar] = field(default_factory=list)
    new_packs: list[PackVar] = field(default_factory=list)
    dim_spans: dict[DimVar | PackVar, Span] = field(default_factory=dict)
    bare_model: Callable[[str, Span], Type] | None = None
    value: Callable[[str, Span | None], Dim | None] | None = None
    model_value: Callable[[str], Type | None] | None = None
    computed: Callable[[Any, str, Type], TypeVar | None] | None = None
    unknowns: int = 0
    quiet: bool = False
    prepare: Callable[[str], None] | None = None

    def child(self, key: str, **changes: Any) -> TypeReader:
        """A reader for an inner scope: what is known here, and room for more."""
        r = TypeReader(self.world, self.module, self.report, key, self.std, dict(self.types), dict(self.dims),
                       dict(self.packs), dict(self.config), self.model, prepare=self.prepare)
        for name, v in changes.items():
            setattr(r, name, v)
        return r

    # -- types ---------------------------------------------------------------------------------------------------------
    def type(self, t: Any) -> Type:
        match t:
            case syntax.TypeName(name=name, args=args):
                return self._named(t, name, args)
            case syntax.TupleType(items=items):
                return TupleType(tuple(self._item(i) for i in items))
            case syntax.OptionType(item=item):
                return Option(self._item(item))
            case syntax.FnType(params=params, result=result):
                return FnType(tuple((self.type(p), mut) for p, mut in params),
                              VOID if result is None else self.type(result))
            case syntax.Name(id=name):
                return self._named(t, name, None)
            case syntax.Attribute():
                dotted = dotted_name(t)
                if dotted is not None:
                    return self._named(t, dotted, None)
            case syntax.Index(value=value, items=items):
                dotted = dotted_name(value)
                if dotted is not None:
                    return self._named(t, dotted, items)
            case syntax.Tuple(items=items):
                return TupleType(tuple(self._item(i) for i in items))
        self.report("HYB310", "a type stands here: a name, a tuple of types, `T?` or `fn(A) -> B`", t.span)
        return POISON

    def _item(self, t: Any, listed: bool = False) -> Type:
        """A type inside another: no resource, but in a list generators, as `g.split(n)` gives them, and models."""
        inner = self.type(t)
        given = listed and (inner == RNG or isinstance(inner, ModelType))
        if not self.std and not given and is_resource(self.world, inner):
            self.report("HYB508", f"a {_resource_word(inner)} is never copied, so it cannot be held inside another "
                        f"value", t.span, help="hold it in a `var` or a model's `state`, and pass it as `mut`")
            return POISON
        return inner

    def _named(self, t: Any, name: str, args: Any) -> Type:
        span = t.span
        if name in self.types:
            var = self.types[name]
            if args is None:
                return var
            return self._tensor(var, args, span)
        entity = self.entity(name)
        if entity is None and name in PRIMS:
            prim = PRIMS[name]
            return prim if args is None else self._tensor(prim, args, span)
        if entity is None and name == "buffer" and self.std:
            return Named(BUFFER, tuple(self.type(a) for a in args or ()))
        key = entity.key if entity is not None else STD_TYPES.get(name) if "." not in name else None
        if key is None:
            config = self.config.get(name)
            if config is not None and config.is_model and args is None:
                assert isinstance(config.var, TypeVar)
                return config.var
            if not self.quiet:
                known = [*self.types, *PRIMS, *STD_TYPES,
                         *(n for n, e in self.module.names.items() if e.kind in _TYPES)]
                help = type_called(name) or nearest(name, known)
                self.report("HYB201", f"there is no type `{name}`", span, help=help)
            return POISON
        if entity is not None and entity.kind == "missing":
            return POISON  # the import said so
        if entity is not None and entity.kind not in _TYPES:
            self.report("HYB209", f"`{name}` is a {_KIND_WORDS[entity.kind]}, not a type", span)
            return POISON
        if self.prepare is not None:
            self.prepare(key)
        sig = self.world.type(key)
        if sig is None:
            self.report("HYB201", f"there is no type `{name}`", span)
            return POISON
        if isinstance(sig, ModelSig):
            return self._model(sig, args, span)
        return self.generic(sig, args, span)

    def entity(self, name: str) -> Entity | None:
        return self.world.entity(self.module, name)

    def _tensor(self, elem: Type, args: Any, span: Span) -> Type:
        if isinstance(elem, TypeVar) and elem.bound not in ("number", "int", "float"):
            self.report("HYB309", f"the elements of a tensor are numbers, and `{elem}` may be anything", span,
                        help=f"give it a bound: [{elem}: number]")
            return POISON
        return Tensor(elem, self.shape(args)) if args else elem

    def shape(self, args: Iterable[Any]) -> Shape:
        items: list[Dim | PackVar] = []
        for a in args:
            if isinstance(a, syntax.Pack):
                pack = self._pack(a)
                if any(isinstance(x, PackVar) for x in items):
                    self.report("HYB310", f"a shape has one `*`, and `*{a.name}` would be a second", a.span)
                elif pack is not None:
                    items.append(pack)
            else:
                items.append(self.size(a))
        return tuple(items)

    def _pack(self, a: syntax.Pack) -> PackVar | None:
        pack = self.packs.get(a.name)
        if pack is None:
            if not self.binding:
                self.report("HYB402", f"nothing binds `*{a.name}` here", a.span)
                return None
            pack = self.packs[a.name] = PackVar(f"{self.key}.*{a.name}", a.name)
            self.new_packs.append(pack)
            self.dim_spans[pack] = a.span
        return pack

    def generic(self, sig: StructSig | EnumSig, args: Any, span: Span) -> Type:
        args = tuple(args or ())
        if len(args) != len(sig.params):
            if sig.params:
                shown = ", ".join(p.name for p in sig.params)
                self.report("HYB310", f"`{sig.name}` takes {_count(len(sig.params), 'argument')} [{shown}], "
                            f"{len(args)} given", span)
            else:
                self.report("HYB310", f"`{sig.name}` takes no arguments in brackets", span)
            return POISON
        values: list[Type | Dim] = []
        bad = False
        for a, p in zip(args, sig.params):
            if isinstance(p, DimVar):
                values.append(self.size(a))
                continue
            value = self._item(a, sig.key == STD_TYPES["list"])
            values.append(value)
            bad = bad or isinstance(value, Poison)
            if p.bound is not None and not satisfies(self.world, value, p.bound):
                if isinstance(value, TypeVar):
                    self.world.missing_bounds.add((value, p.bound))
                self.report("HYB309", f"{value} cannot be the {p.name} of a {sig.name}: "
                            f"{bound_phrase(value, p.bound)}", a.span, help=_bound_help(self.world, value, p.bound))
                bad = True
        if sig.key == STD_TYPES["store"] and not bad and (why := not_written(self.world, values[1])):  # type: ignore[arg-type]
            self.report("HYB309", f"{values[1]} cannot be the V of a store: {why}", args[1].span)
            bad = True
        return POISON if bad else Named(sig.key, tuple(values))

    def _model(self, sig: ModelSig, args: Any, span: Span) -> Type:
        if args is None:
            if not sig.config:
                return ModelType(sig.key)
            if self.bare_model is not None:
                return self.bare_model(sig.key, span)
            shown = ", ".join(c.name for c in sig.config)
            self.report("HYB310", f"which {sig.name}? Its configuration [{shown}] is part of its type here", span,
                        help=f"write `{sig.name}[...]`; only a parameter of a fn may be any `{sig.name}`")
            return POISON
        values: list[ConfigValue] = []
        if len(args) > len(sig.config):
            self.report("HYB310", f"`{sig.name}` has {_count(len(sig.config), 'configuration argument')}, "
                        f"{len(args)} given", span)
            return POISON
        for i, c in enumerate(sig.config):
            if i >= len(args):
                if not c.has_default:
                    self.report("HYB310", f"`{sig.name}` needs its configuration argument `{c.name}`", span)
                    return POISON
                values.append(c.default)
                continue
            values.append(self.config_value(args[i], c))
        return ModelType(sig.key, tuple(values))

    # -- configuration -------------------------------------------------------------------------------------------------
    def config_value(self, e: Any, c: ConfigSig) -> ConfigValue:
        """A configuration argument of the type that `c` asks for."""
        if c.is_model:
            t = self.model_value(e) if self.model_value is not None and not isinstance(e, syntax.TypeName) else None
            if t is None:
                t = self.type(e)
            return t  # type: ignore[return-value]
        word = worded(self.world, c, e)
        if word is not None:
            return word
        if c.type == PRIMS["int"] and (not isinstance(e, syntax.Literal) or type(e.value) is int):
            d = self.dim(e)
            if d.constant is None or fits(d.constant, INT):
                return d
            self.report("HYB313", too_large(d.constant, INT), e.span)
            return self.unknown()
        if isinstance(e, syntax.Name) and e.id in self.config:
            other = self.config[e.id]
            if other.type == PRIMS["int"] and ints(c.type):
                return (Dim.of(other.var),) * ints(c.type)  # type: ignore[arg-type]
            if other.type != c.type and POISON not in (other.type, c.type):
                self.report("HYB301", f"`{c.name}` is a {c.type}, and `{e.id}` is a {other.type}", e.span)
            return other.var if isinstance(other.var, TypeVar) else Dim.of(other.var)  # type: ignore[return-value]
        if isinstance(c.type, FnType):
            ref = named_fn(self, dotted_name(e))
            if ref is not None:
                self.world.given.append(GivenFn(ref, c, c.type, e.span))
                return ref
        else:
            try:
                value = self._constant(e)
            except NotConst:
                value = None
            if value is not None:
                fitted = fit_config(value, c.type)
                if fitted is None and c.type is not POISON:
                    self.report("HYB301", f"`{c.name}`: expected {c.type}, found {_show_const(value)}", e.span)
                return fitted
            if isinstance(c.type, Named) and isinstance(e, syntax.List | syntax.Tuple) and c.type.args:
                item = ConfigSig(c.name, c.type.args[0], c.var, False, None, e.span)  # type: ignore[arg-type]
                return tuple(self.config_value(i, item) for i in e.items)
            if isinstance(c.type, TupleType) and isinstance(e, syntax.Tuple) and len(e.items) == len(c.type.items):
                typed = [ConfigSig(c.name, t, c.var, False, None, e.span) for t in c.type.items]
                return tuple(map(self.config_value, e.items, typed))
            if isinstance(e, syntax.Unary | syntax.Binary) and ints(c.type):
                return (self.dim(e),) * ints(c.type)
        var = self.computed(e, c.name, c.type) if self.computed is not None else None
        if var is not None:
            return var
        self.report("HYB602", f"`{c.name}` must be known when the program is compiled", e.span,
                    help="a configuration argument is a constant, or the configuration of the enclosing model")
        return None

    def _constant(self, e: syntax.Expr) -> Any:
        return constant(e, self._const_name)

    def _const_name(self, name: str) -> Any:
        if name in self.config or self.value is not None and self.value(name, None) is not None:
            raise KeyError(name)
        entity = self.world.entity(self.module, name)
        if entity is not None and entity.kind == "const":
            sig = self.world.sigs[entity.key]
            if isinstance(sig, ConstSig) and sig.value is not None:
                return sig.value
        raise KeyError(name)

    # -- dimensions ----------------------------------------------------------------------------------------------------
    def unknown(self) -> Dim:
        self.unknowns += 1
        return Dim.of(DimVar(f"?{self.key}.{self.unknowns}", "?"))

    def size(self, e: Any) -> Dim:
        """A dimension that stands by itself."""
        d = self.dim(e)
        if d.constant is None or 0 <= d.constant < 2**63:
            return d
        self.report("HYB403", f"a dimension of {d.constant} is "
                    + ("negative" if d.constant < 0 else "more than there can be"), e.span)
        return self.unknown()

    def dim(self, e: Any) -> Dim:
        """A dimension, or a part of one: a polynomial over what is known here."""
        match e:
            case syntax.Unknown():
                return self.unknown()
            case syntax.Literal(value=int() as value) if not isinstance(value, bool):
                return Dim.of(value)
            case syntax.Name(id=name) | syntax.TypeName(name=name, args=None):
                return self._dim_name(name, e.span)
            case syntax.Unary(op="-", operand=x):
                return Dim.of(0) - self.dim(x)
            case syntax.Binary(op=op, left=l, right=r):
                return self._dim_binary(e, op, l, r)
            case syntax.Attribute(value=syntax.Name(id=base), name=name):
                d = self._dim_attribute(base, name)
                if d is not None:
                    return d
            case (syntax.Index(value=syntax.Name(id=name), items=(item,))
                  | syntax.TypeName(name=name, args=(item,))) if name in self.config:
                index = item.value if isinstance(item, syntax.Literal) else None
                if isinstance(item, syntax.Unary) and item.op == "-" and isinstance(item.operand, syntax.Literal):
                    index = -item.operand.value  # type: ignore[operator]
                if isinstance(index, int):
                    return config_item(self.config[name], index)
        if isinstance(e, syntax.TypeName) and e.args is not None and len(e.args) == 1:
            # what looked like a type is an element of a constant
            e = syntax.Index(e.span, syntax.Name(e.span, e.name), e.args)
        try:
            known = self._constant(e) if not isinstance(e, syntax.TypeName) else None
        except NotConst:
            known = None
        if isinstance(known, int) and not isinstance(known, bool):
            return Dim.of(known)
        self.report("HYB403", "a dimension is a polynomial over constants, configuration, dimension names and `let`s",
                    e.span, help=self._compute_before())
        return self.unknown()

    def _compute_before(self) -> str:
        """What to do where something else is wanted for a dimension."""
        if self.value is None:  # a signature
            return "in a signature it is `?`, or a dimension name, `N`, where a parameter binds it"
        return "compute it in a `let` before, and use its name here"

    def _dim_name(self, name: str, span: Span) -> Dim:
        if self.value is not None:
            local = self.value(name, span)
            if local is not None:
                return local
        if name in self.dims:
            return self.dims[name]
        config = self.config.get(name)
        if config is not None:
            if isinstance(config.var, DimVar):
                return Dim.of(config.var)
            self.report("HYB403", f"`{name}` is a {config.type}; a dimension is an int", span)
            return self.unknown()
        if self.model is not None and name in self.model.members:
            member = self.model.members[name]
            if member.dim is not None:
                return member.dim
        entity = self.module.names.get(name)
        if entity is not None and entity.kind == "const":
            try:
                value = self._const_name(name)
            except KeyError:
                return self.unknown()
            if isinstance(value, int) and not isinstance(value, bool):
                return Dim.of(value)
            self.report("HYB403", f"the constant `{name}` is {_show_const(value)}; a dimension is an int", span)
            return self.unknown()
        if entity is not None and entity.kind == "missing":
            return self.unknown()
        if name[:1].isupper() and self.binding and name not in self.types:
            var = DimVar(f"{self.key}.{name}", name)
            self.new_dims.append(var)
            self.dim_spans[var] = span
            self.dims[name] = Dim.of(var)
            return self.dims[name]
        if name in self.types:
            self.report("HYB403", f"`{name}` is a type parameter; here stands a dimension", span)
        elif name[:1].isupper():
            self.report("HYB402", f"nothing binds the dimension `{name}` here", span,
                        help=nearest(name, self.dims) or "a dimension name is bound by a parameter of the fn")
        else:
            known = [*self.dims, *self.config, *(n for n, x in self.module.names.items() if x.kind == "const")]
            of_models = [n for n in self.dims if n.endswith(f".{name}")]
            self.report("HYB201", f"there is no dimension `{name}`", span, help=nearest(name, known)
                        or (f"the model's is `{of_models[0]}`" if of_models else None)
                        or "a dimension name that parameters bind starts upper-case, `N`; an `int` parameter is none, "
                        "and what follows from one is `?`")
        d = self.unknown()
        self.dims[name] = d
        return d

    def _dim_binary(self, e: syntax.Binary, op: str, l: Any, r: Any) -> Dim:
        match op:
            case "+":
                return self.dim(l) + self.dim(r)
            case "-":
                return self.dim(l) - self.dim(r)
            case "*":
                return self.dim(l) * self.dim(r)
            case "**":
                power = self.dim(r).constant
                if power is not None and 0 <= power <= 16:
                    return self.dim(l).power(power)
                self.report("HYB403", "the power in a dimension is a small constant", r.span)
                return self.unknown()
        try:
            value = self._constant(e)
        except NotConst:
            value = None
        if isinstance(value, int):
            return Dim.of(value)
        self.report("HYB403", f"`{op}` makes no polynomial, so it cannot stand in a dimension", e.op_span,
                    help=self._compute_before())
        return self.unknown()

    def _dim_attribute(self, base: str, name: str) -> Dim | None:
        if base == "self" and self.model is not None:
            config = self.model.config_named(name)
            if config is not None and isinstance(config.var, DimVar):
                return Dim.of(config.var)
            member = self.model.members.get(name)
            return member.dim if member is not None else None
        if self.value is not None:
            local = self.value(f"{base}.{name}", None)
            if local is not None:
                return local
        return self.dims.get(f"{base}.{name}")


def _resource_word(t: Type) -> str:
    return t.name if isinstance(t, Named) else f"model with a store ({t})"


def _bound_help(world: World, t: Type, bound: str) -> str | None:
    if isinstance(t, TypeVar):
        return f"declare it `[{t.name}: {bound}]`"
    if bound == "key":
        return key_help(world, t)
    return None


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _show_const(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "a list"
    return repr(value)


_TYPES = frozenset({"struct", "enum", "model"})
_KIND_WORDS = {"fn": "function", "const": "constant", "module": "module"}
