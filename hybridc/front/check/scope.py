"""What names mean: entities of modules, signatures of declarations, and the scopes of a body.

Signatures are plain values that can be pickled with the checked declarations of a module (`ModuleDecls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybridc.base.dims import Dim, DimVar, PackVar
from hybridc.base.immutable import immutable
from hybridc.base.source import Span
from hybridc.base.types import ConfigValue, FnRef, FnType, Type, TypeVar
from hybridc.front.check import tree
from hybridc.front.parse import syntax


@immutable(frozen=True, slots=True)
class Entity:
    """`kind` is fn, struct, enum, model, const or module; `key` names it in the world (a module: its name)."""

    kind: str
    key: str


@dataclass(slots=True)
class ParamSig:
    name: str
    type: Type
    mut: bool
    has_default: bool
    span: Span
    bare_model: bool = False


@dataclass(slots=True)
class MethodSig:
    """What a method bound demands: `[F: forward(f32[*B, N]) -> f32[*B, M]]`. `free_dims` and `free_packs` are bound by
    nothing but the bound itself: every call binds them anew."""

    name: str
    params: tuple[tuple[Type, bool], ...]
    result: Type
    free_dims: tuple[DimVar, ...] = ()
    free_packs: tuple[PackVar, ...] = ()


@dataclass(slots=True)
class FnSig:
    """`result` is None until inferred. `type_params` are the owner's, then those in brackets, then the implicit ones of
    bare model parameters; `brackets` are those in brackets (TypeVars and, for `m[3, 4]()`, packs or dims), in order."""

    key: str
    name: str
    module: str
    span: Span
    params: tuple[ParamSig, ...] = ()
    result: Type | None = None
    type_params: tuple[TypeVar, ...] = ()
    brackets: tuple[TypeVar | DimVar | PackVar, ...] = ()
    dims: tuple[DimVar, ...] = ()
    packs: tuple[PackVar, ...] = ()
    given: tuple[DimVar, ...] = ()
    """The dimensions in brackets that no parameter binds: a call gives them, as ints behind its other arguments."""
    owner: str | None = None
    mutates_self: bool = False
    host: str | None = None
    doc: str | None = None
    methods: dict[str, MethodSig] = field(default_factory=dict)
    """What is demanded of a type parameter with a method bound, by the variable's key."""
    custom_grad: str | None = None


@dataclass(slots=True)
class FieldSig:
    name: str
    type: Type
    has_default: bool
    span: Span


@dataclass(slots=True)
class StructSig:
    key: str
    name: str
    span: Span
    params: tuple[TypeVar | DimVar, ...] = ()
    fields: tuple[FieldSig, ...] = ()
    methods: dict[str, str] = field(default_factory=dict)

    def field_named(self, name: str) -> FieldSig | None:
        return next((f for f in self.fields if f.name == name), None)


@dataclass(slots=True)
class EnumSig:
    key: str
    name: str
    span: Span
    params: tuple[TypeVar | DimVar, ...] = ()
    cases: dict[str, tuple[FieldSig, ...]] = field(default_factory=dict)
    with_fields: frozenset[str] = frozenset()
    """Cases declared with parentheses."""
    methods: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ConfigSig:
    """A configuration argument: an int is the DimVar, anything else the TypeVar (bound "config", or "model")."""

    name: str
    type: Type
    var: DimVar | TypeVar
    has_default: bool
    default: ConfigValue
    span: Span
    is_model: bool = False
    indices: set[int] = field(default_factory=set)
    """Which items of a list of ints are used as dimensions: `sizes[0]`."""


@dataclass(slots=True)
class MemberSig:
    """`kind` is param, state, model (a submodel or a container of them) or let (a compile-time value)."""

    name: str
    kind: str
    type: Type
    span: Span
    dim: Dim | None = None
    init: tree.Expr | None = None
    """Of a parameter that is an option: what says in which configurations it is there."""


@dataclass(slots=True)
class ModelSig:
    key: str
    name: str
    span: Span
    config: tuple[ConfigSig, ...] = ()
    members: dict[str, MemberSig] = field(default_factory=dict)
    member_names: tuple[str, ...] = ()
    methods: dict[str, str] = field(default_factory=dict)
    elem: Type | None = None
    resource: bool = False
    lets: dict[str, tree.Expr] = field(default_factory=dict)
    sizes: list[DimVar] = field(default_factory=list)
    """Int `let`s whose value only lowering knows."""

    def config_named(self, name: str) -> ConfigSig | None:
        return next((c for c in self.config if c.name == name), None)


@dataclass(slots=True)
class ConstSig:
    key: str
    name: str
    span: Span
    value: object = None


TypeSig = StructSig | EnumSig | ModelSig
Sig = FnSig | TypeSig | ConstSig


@dataclass
class ModuleDecls:
    """One module, checked. Nothing in it refers to another module but by key, so modules can be stored one by one."""

    name: str
    path: str
    names: dict[str, Entity] = field(default_factory=dict)
    cases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Case names that can be written here, and the keys of their enums."""
    imports: tuple[str, ...] = ()
    sigs: dict[str, Sig] = field(default_factory=dict)
    decls: dict[str, tree.Decl] = field(default_factory=dict)
    exports: list[tree.Export] = field(default_factory=list)
    tests: list[tree.Test] = field(default_factory=list)
    public: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@immutable(frozen=True, slots=True)
class GivenFn:
    """A function that is given as configuration where one of a type is asked for."""

    ref: FnRef
    config: ConfigSig
    type: FnType
    span: Span


@dataclass
class World:
    """Everything declared in the modules read so far."""

    modules: dict[str, ModuleDecls] = field(default_factory=dict)
    sigs: dict[str, Sig] = field(default_factory=dict)
    decls: dict[str, tree.Decl] = field(default_factory=dict)
    missing_bounds: set[tuple[TypeVar, str]] = field(default_factory=set)
    """What was said already: a type parameter and the bound that it needs."""
    given: list[GivenFn] = field(default_factory=list)

    def entity(self, module: ModuleDecls, name: str) -> Entity | None:
        """What a name means in a module, `tools.SIZE` what it means in one that it imports."""
        base, _, last = name.rpartition(".")
        if not base:
            return module.names.get(name)
        imported = module.names.get(base)
        if imported is None or imported.kind == "missing":
            return imported
        return self.modules[imported.key].names.get(last) if imported.kind == "module" else None

    def fn(self, key: str) -> FnSig:
        sig = self.sigs[key]
        assert isinstance(sig, FnSig)
        return sig

    def type(self, key: str) -> TypeSig | None:
        sig = self.sigs.get(key)
        return sig if isinstance(sig, StructSig | EnumSig | ModelSig) else None

    def model(self, key: str) -> ModelSig:
        sig = self.sigs[key]
        assert isinstance(sig, ModelSig)
        return sig

    def method(self, owner: str, name: str) -> FnSig | None:
        sig = self.type(owner)
        key = sig.methods.get(name) if sig is not None else None
        return self.fn(key) if key is not None else None


@dataclass(slots=True)
class Local:
    """A variable in scope. `dim` is its value as a dimension, if it is an int that never changes. `kind` is let, var,
    param, pattern or loop."""

    var: tree.Var
    kind: str
    span: Span
    dim: Dim | None = None
    config: str | None = None


@dataclass
class Frame:
    """The scopes of one fn, local fn or lambda. `result` is the type `return` must have (None while it is inferred,
    then `results` collects what was returned)."""

    node: syntax.Fn | syntax.Lambda | None
    result: Type | None
    scopes: list[dict[str, Local]] = field(default_factory=lambda: [{}])
    captures: dict[str, tree.Var] = field(default_factory=dict)
    returns: int = 0
    self_local: Local | None = None
    self_used: bool = False
    ended: dict[str, Local] = field(default_factory=dict)
    """Variables of blocks that have ended, for messages."""

    def find(self, name: str) -> Local | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None


Names = Mapping[str, Entity]
