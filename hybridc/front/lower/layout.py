"""How a concrete model lies in memory: its parameters in one flat vector, its persistent values in a struct.

The Core struct of a model is { params, then a field for each `state`, then one for each submodel that has state }; a
submodel's field is its *state struct*, the same without `params`. A list or map of submodels keeps a list of their
state structs, a tuple a tuple of those that have state. Everything here is known at compile time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import STD_TYPES, STR, ModelType, Named, Option, Prim, Tensor, Type, TypeVar
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open, is_open
from hybridc.front.lower.core import Context, Lowerer, Refused, outside
from hybridc.front.lower.notes import Notes
from hybridc.front.lower.static import as_config, config_dims, know, known, static


@dataclass
class ParamSlot:
    """A parameter: its initialiser, where it begins in its model's vector, and its shape. `type` is what it holds."""

    decl: tree.ModelParam
    init: tree.Builtin
    type: Type
    offset: int
    shape: tuple[int, ...]


@dataclass
class StateSlot:
    """A persistent value: the index of its field in the Core struct."""

    decl: tree.ModelState
    type: Type
    index: int


@dataclass
class Sub:
    """What a `let` of a model holds. `kind` is model, list, tuple, map or none; `optional` if its type is an option;
    `mixed` for a list or map whose items are not all alike; `state` is the Core type of its state, if it has any;
    `index` the field of the owner's struct with it."""

    kind: str
    size: int
    state: ir.Type | None
    model: ModelType | None = None
    items: list[Sub] = field(default_factory=list)
    keys: list[str] | list[int] = field(default_factory=list)
    key_type: Type = STR
    optional: bool = False
    mixed: bool = False
    offset: int = 0
    index: int | None = None

    def key(self, item: int, span: Span) -> tree.Expr:
        """The key of an item of a map."""
        return tree.Const(self.key_type, span, self.keys[item])

    def keyed(self, lw: Lowerer, keys: list[Any], e: tree.Expr) -> Sub:
        """The same as the map that an expression gives."""
        t = lw.concrete(e.type)
        assert isinstance(t, Named) and not isinstance(t.args[0], Dim)
        twice = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if twice is not None:
            message = f"two models have the key {twice!r}, which is part of their parameters' names"
            raise lw.refuse("HYB601", message, e.span)
        self.keys, self.key_type = keys, t.args[0]
        return self

    @property
    def in_tuple(self) -> bool:
        """Whether the states of its items are a tuple, with a place for each item that has state."""
        return self.kind == "tuple" or self.mixed

    def state_place(self, item: int) -> int:
        """Where the state of an item is among those of all."""
        return sum(s.state is not None for s in self.items[:item])

    def like(self, other: Sub) -> bool:
        """Whether both are made of the same models in the same way."""
        mine, others = (self.kind, self.model, self.optional, self.keys), (
            other.kind, other.model, other.optional, other.keys)
        return mine == others and len(self.items) == len(other.items) and all(
            a.like(b) for a, b in zip(self.items, other.items, strict=True))

    @property
    def stride(self) -> int:
        """Parameters of each item of a list."""
        return self.items[0].size if self.items else 0


@dataclass
class Layout:
    type: ModelType
    decl: tree.ModelDecl
    struct: str
    elem: Prim
    size: int = 0
    params: dict[str, ParamSlot] = field(default_factory=dict)
    states: dict[str, StateSlot] = field(default_factory=dict)
    subs: dict[str, Sub] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Names of params and submodels, in the order of the vector."""
    missing: set[str] = field(default_factory=set)
    """Optional params that this configuration does not have."""
    state: ir.Type | None = None
    """Its state struct, if it has state."""


class Layouts:
    """The layouts of the models of one program, made when first asked for."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.made: dict[ModelType, Layout] = {}
        self._open: list[ModelType] = []
        self._refused: dict[ModelType, Diagnostic] = {}
        self.lets: dict[tuple[ModelType, str], tuple[Any, Notes]] = {}
        """The compile-time values of models, and what was looked at for each."""
        self.any_mixed = False
        """Whether some model has a container of unlike submodels."""

    def decl(self, t: ModelType) -> tree.ModelDecl:
        decl = self.ctx.decls[t.key]
        assert isinstance(decl, tree.ModelDecl)
        return decl

    def enter(self, lw: Lowerer, t: ModelType) -> None:
        """Let `lw` see the configuration of a model: ints as dimensions, everything else as types' arguments."""
        for param, value in zip(self.decl(t).config, t.config, strict=True):
            know(lw, param.dim or TypeVar(f"{t.key}.{param.name}", param.name, "config"), value)
        for name in self.decl(t).sizes:
            know(lw, DimVar(f"{t.key}.{name}", name), Dim.of(self.let(lw, t, name)))

    def let(self, lw: Lowerer, t: ModelType, name: str) -> Any:
        """A compile-time value of a model."""
        def value() -> Any:
            within = lw if lw.model == t else self.inside(t)  # which may be on its way into the model
            return static(within, dict(self.decl(t).lets)[name])

        return self.ctx.once((t, name), value, self.lets)

    def config_dims(self, t: ModelType, prefix: str) -> dict[str, Dim]:
        """`m.size` of a parameter that is any configuration."""
        dims: dict[str, Dim] = {}
        for p, value in zip(self.decl(t).config, t.config, strict=True):
            dims.update(config_dims(f"{prefix}.{p.name}", value))
        return dims

    def inside(self, t: ModelType) -> Lowerer:
        """Knows the types and constants in a model's declaration."""
        lw = Lowerer(self.ctx)
        lw.name = str(t)
        lw.model = t
        self.enter(lw, t)
        return lw

    def layout(self, t: ModelType) -> Layout:
        refused = self._refused.get(t)
        if refused is not None:
            raise Refused(refused)  # said once, whoever asks
        found = self.made.get(t)
        if found is None:
            notes = self.ctx.types.notes[self.ctx.types.show(t)] = Notes()
            try:
                with self.ctx.decls.noted(notes):
                    found = self._lay_out(t)
            except Refused as error:
                self._refused[t] = error.diagnostic
                raise
        self.ctx.decls.used(found.struct, t)
        return found

    def _lay_out(self, t: ModelType) -> Layout:
        decl = self.decl(t)
        if is_open(t):
            message = f"which {decl.name} this is, is known only where it is taken out of its model"
            help = ("call a method of it; one that writes is a `mut fn`. Models of different configurations stand "
                    "together in a `let` of a model; here each has a name of its own")
            raise Refused(Diagnostic("HYB809", message, NOWHERE, help))
        lw = self.inside(t)
        if t in self._open:
            raise lw.refuse("HYB601", f"the model {decl.name} contains itself", decl.span)
        self._open.append(t)
        elem = lw.concrete(decl.elem)
        assert isinstance(elem, Prim)
        layout = Layout(t, decl, self.ctx.types.show(t), elem)
        self.made[t] = layout
        fields: list[tuple[str, ir.Type]] = []
        for member in decl.members:
            match member:
                case tree.ModelParam():
                    slot = self._param(lw, layout, member)
                    if slot is None:
                        layout.missing.add(member.name)
                    else:
                        layout.params[member.name] = slot
                        layout.order.append(member.name)
                case tree.ModelLet():
                    sub = self.sub(lw, member.value, lw.concrete(member.type))
                    sub.offset = layout.size
                    layout.size += sub.size
                    layout.subs[member.name] = sub
                    self.any_mixed = self.any_mixed or _has_mixed(sub)
                    layout.order.append(member.name)
                case tree.ModelState():
                    kind = lw.concrete(member.type)
                    layout.states[member.name] = StateSlot(member, kind, 1 + len(fields))
                    fields.append((member.name, self.ctx.types.inner(kind)))
        for name, sub in layout.subs.items():
            if sub.state is not None:
                sub.index = 1 + len(fields)
                fields.append((name, sub.state))
        vector = ir.TensorT(elem, (None,))
        self.ctx.core.structs[layout.struct] = ir.StructDef(layout.struct, (("params", vector), *fields))
        self.ctx.types.fronts[layout.struct] = t
        if fields:
            name = f"{layout.struct}.state"
            self.ctx.core.structs[name] = ir.StructDef(name, tuple(fields))
            layout.state = ir.StructT(name)
        self._open.pop()
        return layout

    def _param(self, lw: Lowerer, layout: Layout, member: tree.ModelParam) -> ParamSlot | None:
        """The place of a parameter, or None if this configuration has no such one."""
        init = member.init
        while isinstance(init, tree.Conditional):
            init = init.then if static(lw, init.cond) else init.orelse
        if isinstance(init, tree.Const):
            return None
        assert isinstance(init, tree.Builtin)
        t = lw.concrete(member.type)
        t = t.item if isinstance(t, Option) else t
        dims: list[int] = []
        for d in t.shape if isinstance(t, Tensor) else ():
            assert isinstance(d, Dim)
            if d.constant is None:
                message = f"the shape of the parameter `{member.name}` is not known when the program is compiled"
                raise lw.refuse("HYB802", message, member.span)
            if d.constant < 0:
                message = f"the parameter `{member.name}` of {layout.struct} has the shape {t}"
                raise lw.refuse("HYB803", message, member.span)
            dims.append(d.constant)
        size = 1
        for n in dims:
            size *= n
        slot = ParamSlot(member, init, t, layout.size, tuple(dims))
        layout.size += size
        return slot

    # ---- submodels
    def sub(self, lw: Lowerer, e: tree.Expr, t: Type) -> Sub:
        """What a `let` holds, from its expression."""
        match e:
            case tree.Const(value=None):
                return Sub("none", 0, None, optional=True)
            case tree.Some(value=inner):
                made = self.sub(lw, inner, t.item if isinstance(t, Option) else t)
                made.optional = True
                return made
            case tree.Conditional(cond=cond, then=then, orelse=orelse):
                return self.sub(lw, then if static(lw, cond) else orelse, t)
            case tree.MakeList(items=items):
                return self._list("list", [self.sub(lw, i, lw.concrete(i.type)) for i in items], t)
            case tree.MakeTuple(items=items):
                subs = [self.sub(lw, i, lw.concrete(i.type)) for i in items]
                return Sub("tuple", _place(subs), _state_tuple(subs), items=subs)
            case tree.MakeMap(items=entries):
                made = self._list("map", [self.sub(lw, v, lw.concrete(v.type)) for _, v in entries], t)
                return made.keyed(lw, [static(lw, k) for k, _ in entries], e)
            case tree.Comprehension():
                return self._comprehension(lw, e, t)
            case tree.MakeModel(computed=computed):
                for variable, value in computed:
                    know(lw, variable, as_config(static(lw, value)))
        model = lw.concrete(e.type)
        if not isinstance(model, ModelType):
            raise lw.refuse("HYB601", "a submodel is a model, or a list, tuple, option or map of models", e.span)
        with outside(e.span):
            inner_layout = self.layout(model)
        return Sub("model", inner_layout.size, inner_layout.state, model)

    def _list(self, kind: str, subs: list[Sub], t: Type) -> Sub:
        size = _place(subs)
        if holds_open(t) or any(not sub.like(subs[0]) for sub in subs):
            return Sub(kind, size, _state_tuple(subs), items=subs, mixed=True)
        state: ir.Type | None = None
        if subs and subs[0].state is not None:
            state = self.state_list(subs[0].state)
        return Sub(kind, size, state, items=subs)

    def state_list(self, item: ir.Type) -> ir.StructT:
        """The Core struct of a list of state structs."""
        name = f"list[{item.name if isinstance(item, (ir.StructT, ir.EnumT)) else item}]"
        if name not in self.ctx.core.structs:
            decl = self.ctx.decls[STD_TYPES["list"]]
            assert isinstance(decl, tree.StructDecl)
            names = [f.name for f in decl.fields]
            fields: tuple[tuple[str, ir.Type], ...] = ((names[0], ir.BufferT(item)), (names[1], ir.INT))
            self.ctx.core.structs[name] = ir.StructDef(name, fields)
        return ir.StructT(name)

    def _comprehension(self, lw: Lowerer, e: tree.Comprehension, t: Type) -> Sub:
        """Over compile-time ranges and lists."""
        subs: list[Sub] = []
        keys: list[Any] = []

        def bind(pattern: tree.Pattern, item: Any) -> None:
            if isinstance(pattern, tree.TuplePattern):
                for part, value in zip(pattern.items, item, strict=True):
                    bind(part, value)
            if isinstance(pattern, tree.BindPattern):
                if isinstance(item, int):
                    lw.consts[pattern.var.key] = Dim.of(item)
                known(lw)[pattern.var.key] = item

        def turns(clauses: tuple[tree.Clause, ...]) -> None:
            if not clauses:
                element = e.element if e.value is None else e.value
                subs.append(self.sub(lw, element, lw.concrete(element.type)))
                if e.value is not None:
                    keys.append(static(lw, e.element))
                return
            clause = clauses[0]
            for item in static(lw, clause.iterable):
                bind(clause.pattern, item)
                if all(static(lw, c) for c in clause.conditions):
                    turns(clauses[1:])

        turns(e.clauses)
        if e.value is None:
            return self._list("list", subs, t)
        return self._list("map", subs, t).keyed(lw, keys, e)


def _has_mixed(sub: Sub) -> bool:
    return sub.mixed or any(map(_has_mixed, sub.items))


def _state_tuple(subs: list[Sub]) -> ir.Type | None:
    states = tuple(s.state for s in subs if s.state is not None)
    return ir.TupleT(states) if states else None


def _place(subs: list[Sub]) -> int:
    """Put submodels one after the other; their size together."""
    size = 0
    for sub in subs:
        sub.offset = size
        size += sub.size
    return size


@dataclass
class Leaf:
    """A parameter or state of a whole model: its path, and the model that declares it."""

    path: str
    model: ModelType
    slot: ParamSlot | StateSlot
    offset: int = 0
    route: tuple[str | int, ...] = ()


def leaves(layouts: Layouts, t: ModelType) -> Iterator[Leaf]:
    """Every parameter of a model, in the order of its vector, then every state in the order of the declarations."""
    yield from _params(layouts, layouts.layout(t), "", 0)
    yield from _states(layouts, layouts.layout(t), "", ())


def _params(layouts: Layouts, layout: Layout, path: str, at: int) -> Iterator[Leaf]:
    for name in layout.order:
        slot = layout.params.get(name)
        if slot is not None:
            yield Leaf(path + name, layout.type, slot, at + slot.offset)
        else:
            sub = layout.subs[name]
            yield from _sub_params(layouts, sub, path + name, at + sub.offset)


def _sub_params(layouts: Layouts, sub: Sub, path: str, at: int) -> Iterator[Leaf]:
    if sub.model is not None:
        yield from _params(layouts, layouts.layout(sub.model), path + ".", at)
    for i, item in enumerate(sub.items):
        name = str(sub.keys[i] if sub.keys else i)
        yield from _sub_params(layouts, item, f"{path}.{name}", at + item.offset)


def _states(layouts: Layouts, layout: Layout, path: str, route: tuple[str | int, ...]) -> Iterator[Leaf]:
    for name, slot in layout.states.items():
        yield Leaf(path + name, layout.type, slot, route=(*route, name))
    for name, sub in layout.subs.items():
        if sub.state is not None:
            yield from _sub_states(layouts, sub, path + name, (*route, name))


def _sub_states(layouts: Layouts, sub: Sub, path: str, route: tuple[str | int, ...]) -> Iterator[Leaf]:
    if sub.model is not None:
        yield from _states(layouts, layouts.layout(sub.model), path + ".", route)
    at = 0
    for i, item in enumerate(sub.items):
        if item.state is None:
            continue
        name = str(sub.keys[i] if sub.keys else i)
        yield from _sub_states(layouts, item, f"{path}.{name}", (*route, at))
        at += 1
