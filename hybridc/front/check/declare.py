"""From declarations to signatures: what each module declares, what its imports mean, and the types of it all.

The steps run over all modules in turn, so that declarations may use each other in any order:
`names`, `imports`, `constants`, `shapes` (of structs, enums and models), `functions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    PRIMS,
    STD_TYPES,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import implicit, tree
from hybridc.front.check.bounds import BOUNDS, resource_in
from hybridc.front.check.consts import BUILTIN_CONSTS, NotConst, constant
from hybridc.front.check.scope import (
    ConfigSig,
    ConstSig,
    Entity,
    EnumSig,
    FieldSig,
    FnSig,
    ModelSig,
    ModuleDecls,
    StructSig,
    World,
)
from hybridc.front.check.typeexpr import TypeReader
from hybridc.front.parse import habits, syntax
from hybridc.front.parse.as_type import dotted_name, type_argument
from hybridc.front.parse.modules import Unit

FORBIDDEN_MEMBERS = frozenset({"load", "save", "state_dict", "load_state_dict", "to_torch", "value_and_grad"})
"""Names of what Python gives every model."""


@dataclass
class Source:
    """What the checker still needs of a declared function: its syntax, and how to read types in its body."""

    fn: syntax.Fn
    reader: TypeReader
    unit: Unit


@dataclass
class Declarer:
    """Declares one module after the other into a world."""

    world: World
    diagnostics: list[Diagnostic]
    units: dict[str, Unit] = field(default_factory=dict)
    fns: dict[str, Source] = field(default_factory=dict)
    types: dict[str, tuple[Any, TypeReader]] = field(default_factory=dict)
    """The syntax of each struct, enum and model, and the reader of its types."""
    consts: dict[str, tuple[syntax.Const, Unit]] = field(default_factory=dict)
    _evaluating: list[str] = field(default_factory=list)
    _defaulted: set[str] = field(default_factory=set)
    _imported: set[str] = field(default_factory=set)

    def report(self, code: str, message: str, span: Span, help: str | None = None,
               notes: tuple[tuple[str, Span], ...] = ()) -> None:
        self.diagnostics.append(Diagnostic(code, message, span, help, notes))

    # -- names ---------------------------------------------------------------------------------------------------------
    def names(self, unit: Unit) -> None:
        """Every declaration gets its key and an empty signature."""
        self.units[unit.name] = unit
        module = ModuleDecls(unit.name, unit.path)
        self.world.modules[unit.name] = module
        spans: dict[str, Span] = {}
        for decl in unit.file.decls:
            name = getattr(decl, "name", None)
            if isinstance(decl, syntax.Import | syntax.Export | syntax.Test) or name is None:
                continue
            if name in spans:
                self.report("HYB202", f"`{name}` is declared twice in this file", decl.name_span,
                            notes=(("declared first here", spans[name]),))
                continue
            spans[name] = decl.name_span
            key = f"{unit.name}:{name}"
            match decl:
                case syntax.Fn():
                    module.names[name] = Entity("fn", key)
                    self.add_sig(module, FnSig(key, name, unit.name, decl.name_span, doc=decl.doc))
                case syntax.Struct():
                    module.names[name] = Entity("struct", key)
                    self.add_sig(module, StructSig(key, name, decl.name_span))
                case syntax.Enum():
                    module.names[name] = Entity("enum", key)
                    cases = {c.name: () for c in decl.cases}
                    self.add_sig(module, EnumSig(key, name, decl.name_span, cases=cases,  # type: ignore[arg-type]
                                              with_fields=frozenset(c.name for c in decl.cases if c.fields)))
                case syntax.Model():
                    module.names[name] = Entity("model", key)
                    self.add_sig(module, ModelSig(key, name, decl.name_span))
                case syntax.Const():
                    module.names[name] = Entity("const", key)
                    self.add_sig(module, ConstSig(key, name, decl.name_span))
                    self.consts[key] = (decl, unit)
        for name in unit.broken:
            module.names.setdefault(name, Entity("missing", name))

    def add_sig(self, module: ModuleDecls, sig: Any) -> None:
        module.sigs[sig.key] = sig
        self.world.sigs[sig.key] = sig

    # -- imports -------------------------------------------------------------------------------------------------------
    def imports(self, unit: Unit) -> None:
        """What each import brings in; the case names that can be written in this module."""
        if unit.name in self._imported:
            return
        self._imported.add(unit.name)
        module = self.world.modules[unit.name]
        used: dict[str, None] = {}
        for decl in unit.file.decls:
            if not isinstance(decl, syntax.Import):
                continue
            target = unit.imports.get(".".join(decl.module))
            if target is None or target not in self.world.modules:
                for name in [".".join(decl.module)] if decl.names is None else [name for _, name, _ in decl.names]:
                    module.names.setdefault(name, Entity("missing", name))
                continue
            used[target] = None
            if target in self.units:
                self.imports(self.units[target])
            if decl.names is None:
                self._bring(module, ".".join(decl.module), Entity("module", target), decl.span)
                continue
            there = self.world.modules[target].names
            for original, name, span in decl.names:
                entity = there.get(original)
                if entity is None or original.startswith("_") and not unit.std:
                    shown = ".".join(decl.module)
                    self.report("HYB206", f"module `{shown}` has no `{original}`", span,
                                help=habits.LAYERS.get(original) or nearest(original, there))
                    module.names.setdefault(name, Entity("missing", name))
                elif entity.kind == "missing":
                    module.names.setdefault(name, entity)
                else:
                    self._bring(module, name, entity, span)
        module.imports = tuple(used)
        cases: dict[str, list[str]] = {}
        for entity in module.names.values():
            sig = self.world.sigs.get(entity.key) if entity.kind == "enum" else None
            if isinstance(sig, EnumSig):
                for case in sig.cases:
                    if sig.key not in cases.setdefault(case, []):
                        cases[case].append(sig.key)
        module.cases = {name: tuple(keys) for name, keys in cases.items()}

    def _bring(self, module: ModuleDecls, name: str, entity: Entity, span: Span) -> None:
        known = module.names.get(name)
        if known is not None and known != entity:
            self.report("HYB202", f"`{name}` is declared in this file or imported twice", span,
                        help="import it under another name: `import ... as ...`")
            return
        module.names[name] = entity

    # -- constants -----------------------------------------------------------------------------------------------------
    def constants(self) -> None:
        for key in list(self.consts):
            self.const_value(key)

    def const_value(self, key: str) -> Any:
        sig = self.world.sigs[key]
        assert isinstance(sig, ConstSig)
        if sig.value is not None or key not in self.consts:
            return sig.value
        decl, unit = self.consts[key]
        if key in self._evaluating:
            self.report("HYB314", f"the constant `{sig.name}` depends on itself", decl.name_span)
            return None
        self._evaluating.append(key)

        def lookup(name: str) -> Any:
            entity = self.world.entity(self.world.modules[unit.name], name)
            if entity is not None and entity.kind == "const":
                value = self.const_value(entity.key)
                if value is None:
                    raise KeyError(name)
                return value
            return BUILTIN_CONSTS[name]

        try:
            sig.value = constant(decl.value, lookup)
        except NotConst as error:
            # of what cannot be imported that is said where it is imported
            known = [n for n, e in self.world.modules[unit.name].names.items() if e.kind in ("const", "missing")]
            if isinstance(error.at, syntax.Name) and error.at.id not in known:
                self.report("HYB201", f"there is no constant `{error.at.id}`", error.at.span,
                            help=nearest(error.at.id, known) or "a constant is made of literals and other constants")
            elif not isinstance(error.at, syntax.Name):
                self.report("HYB314", "this is not known when the program is compiled"
                            + (f": {error.why}" if error.why else ""), error.at.span,
                            help=None if error.why else "a constant is a number, bool or string, or a tuple or list of "
                            "such; a `fn` without parameters gives anything else")
        finally:
            self._evaluating.pop()
            self.consts.pop(key, None)
        return sig.value

    # -- structs, enums, models ----------------------------------------------------------------------------------------
    def reader(self, unit: Unit, key: str) -> TypeReader:
        return TypeReader(self.world, self.world.modules[unit.name], self.report, key, unit.std)

    def params_of_types(self, unit: Unit) -> None:
        """The bracket parameters of structs and enums, and the configuration of models."""
        for decl in self.own(unit, syntax.Struct, syntax.Enum):
            key = f"{unit.name}:{decl.name}"
            sig = self.world.type(key)
            assert isinstance(sig, StructSig | EnumSig)
            reader = self.reader(unit, key)
            params: list[TypeVar | DimVar] = []
            for p in decl.type_params:
                if any(q.name == p.name for q in params):
                    self.report("HYB202", f"`{p.name}` is declared twice", p.span)
                    continue
                if self._is_dim(unit, decl, p, frozenset()):
                    dim = DimVar(f"{key}.{p.name}", p.name)
                    reader.dims[p.name] = Dim.of(dim)
                    params.append(dim)
                else:
                    var = TypeVar(f"{key}.{p.name}", p.name, self.bound(p))
                    reader.types[p.name] = var
                    params.append(var)
            sig.params = tuple(params)
            self.types[key] = (decl, reader)
        for model in self.own(unit, syntax.Model):
            self._config(unit, model)

    def own(self, unit: Unit, *kinds: type) -> Iterator[Any]:
        """The declarations of these kinds, without those that a name declared before hides."""
        seen: set[str] = set()
        for decl in unit.file.decls:
            name = getattr(decl, "name", None)
            if isinstance(decl, syntax.Import | syntax.Export | syntax.Test) or name in seen:
                continue
            seen.add(name)  # type: ignore[arg-type]
            if isinstance(decl, kinds):
                yield decl

    def bound(self, p: syntax.TypeParam) -> str | None:
        if p.method is not None:
            return "method"
        if p.bound is not None and p.bound not in BOUNDS:
            self.report("HYB310", f"there is no bound `{p.bound}`", p.span, help=nearest(p.bound, BOUNDS)
                        or "the bounds are int, float, number, key, order, model, or a method")
            return None
        return p.bound

    def _is_dim(self, unit: Unit, decl: Any, p: syntax.TypeParam, seen: frozenset[tuple[str, str]]) -> bool:
        """Whether a bracket parameter stands for a dimension: it does if a field or method uses it as one."""
        if p.bound is not None or p.method is not None:
            return False
        here = (f"{unit.name}:{decl.name}", p.name)
        if here in seen:
            return False
        return any(self.used_as_dim(unit, t, p.name, seen | {here}) for t in _types_in(decl))

    def used_as_dim(self, unit: Unit, t: Any, name: str, seen: frozenset[tuple[str, str]]) -> bool:
        match t:
            case syntax.TypeName(name=head, args=args) if args is not None:
                return self._args_as_dim(unit, head, args, name, seen)
            case syntax.Index(value=syntax.Name(id=head), items=args):
                return self._args_as_dim(unit, head, args, name, seen)
            case syntax.TupleType(items=items) | syntax.Tuple(items=items):
                return any(self.used_as_dim(unit, i, name, seen) for i in items)
            case syntax.OptionType(item=item):
                return self.used_as_dim(unit, item, name, seen)
            case syntax.FnType(params=params, result=result):
                return any(self.used_as_dim(unit, x, name, seen) for x, _ in params) or (
                    result is not None and self.used_as_dim(unit, result, name, seen))
        return False

    def _args_as_dim(self, unit: Unit, head: str, args: Any, name: str, seen: frozenset[tuple[str, str]]) -> bool:
        entity = self.world.modules[unit.name].names.get(head)
        if entity is not None and entity.kind in ("struct", "enum"):
            owner_unit = self.units.get(entity.key.rpartition(":")[0])
            if owner_unit is None:
                sig = self.world.type(entity.key)
                kinds = [isinstance(q, DimVar) for q in sig.params] if isinstance(sig, StructSig | EnumSig) else []
            else:
                other = next(d for d in self.own(owner_unit, syntax.Struct, syntax.Enum)
                             if f"{owner_unit.name}:{d.name}" == entity.key)
                kinds = [self._is_dim(owner_unit, other, q, seen) for q in other.type_params]
            return any(
                (k and _mentions(a, name)) or (not k and self.used_as_dim(unit, a, name, seen))
                for k, a in zip(kinds, args))
        if entity is not None and entity.kind == "model":
            return any(_mentions(a, name) for a in args)
        if head in STD_TYPES or head == "buffer":
            return any(self.used_as_dim(unit, a, name, seen) for a in args)
        return any(_mentions(a, name) for a in args)

    def _config(self, unit: Unit, decl: syntax.Model) -> None:
        key = f"{unit.name}:{decl.name}"
        sig = self.world.model(key)
        reader = self.reader(unit, key)
        reader.model = sig
        config: list[ConfigSig] = []
        for p in decl.config:
            if p.name == "seed":
                self.report("HYB601", "a configuration argument may not be called `seed`: every model has that one",
                            p.span)
            if p.name in reader.config:
                self.report("HYB202", f"`{p.name}` is declared twice", p.span)
                continue
            is_model = isinstance(p.type, syntax.TypeName) and p.type.name == "model" and p.type.args is None
            t: Type = PRIMS["int"]
            if is_model:
                t = TypeVar(f"{key}.{p.name}", p.name, "model")
            elif p.type is not None:
                t = reader.type(p.type)
                if not _is_config_type(t):
                    self.report("HYB602", f"a configuration argument is an int, float, bool, str, tuple or list of "
                                f"these, fn or model, not {t}", p.span)
            else:
                self.report("HYB601", f"`{p.name}` needs a type", p.span, help=f"write `{p.name}: int`")
            var: DimVar | TypeVar
            if t == PRIMS["int"] or isinstance(t, Poison):
                var = DimVar(f"{key}.{p.name}", p.name)
            else:
                var = TypeVar(f"{key}.{p.name}", p.name, "model" if is_model else "config")
            item = ConfigSig(p.name, t, var, p.default is not None, None, p.span, is_model)
            config.append(item)
            reader.config[p.name] = item
        sig.config = tuple(config)
        members: list[str] = []
        for m in (*implicit.submodels(decl), *decl.members):
            if isinstance(m, syntax.ModelState) and isinstance(m.type, syntax.TypeName):
                if m.type.name in ("store", "rng"):
                    sig.resource = True
            if not isinstance(m, syntax.Fn):
                members.append(m.name)
        sig.member_names = tuple(members)
        self.types[key] = (decl, reader)

    def defaults(self, unit: Unit) -> None:
        """Of configurations: a type that leaves an argument out means them, a field's or another default's too."""
        for decl in self.own(unit, syntax.Model):
            self._defaults_of(f"{unit.name}:{decl.name}")

    def _defaults_of(self, key: str) -> None:
        decl, reader = self.types.get(key, (None, None))
        if not isinstance(decl, syntax.Model) or reader is None or key in self._defaulted:
            return
        self._defaulted.add(key)
        for p, c in zip(decl.config, self.world.model(key).config):
            if p.default is None:
                continue
            names = [(name, n.span) for n in implicit.nodes(p.default)
                     if (name := getattr(n, "id", getattr(n, "name", None))) is not None
                     and isinstance(n, syntax.Name | syntax.TypeName)]
            others = [(name, span) for name, span in names if name in reader.config]
            for name, span in others:
                self.report("HYB602", f"the default of `{p.name}` is a constant, and `{name}` is another argument",
                            span, help="compute it in a `let` of the model")
            for name, _ in names:
                if (entity := reader.entity(name)) is not None and entity.kind == "model":
                    self._defaults_of(entity.key)
            if not others:
                c.default = reader.config_value(_as_type(reader, p.default) if c.is_model else p.default, c)

    def shapes(self, unit: Unit) -> None:
        """Fields of structs, cases of enums."""
        module = self.world.modules[unit.name]
        for decl in self.own(unit, syntax.Struct):
            key = f"{unit.name}:{decl.name}"
            sig = self.world.sigs[key]
            assert isinstance(sig, StructSig)
            sig.fields = self._fields(decl.fields, self.types[key][1])
            module.decls[key] = tree.StructDecl(key, decl.name, sig.params, _field_decls(sig.fields), sig.methods,
                                                decl.name_span, decl.doc)
        for decl in self.own(unit, syntax.Enum):
            key = f"{unit.name}:{decl.name}"
            enum = self.world.sigs[key]
            assert isinstance(enum, EnumSig)
            cases: dict[str, tuple[FieldSig, ...]] = {}
            for case in decl.cases:
                if case.name in cases:
                    self.report("HYB202", f"`{enum.name}` has two cases `{case.name}`", case.span)
                    continue
                if not case.name[:1].isupper():
                    self.report("HYB310", f"the name of a case is CamelCase: `{case.name}` would be a variable in a "
                                "pattern", case.span, help=f"write `{case.name[:1].upper()}{case.name[1:]}`")
                cases[case.name] = self._fields(case.fields or (), self.types[key][1])
            enum.cases = cases
            module.decls[key] = tree.EnumDecl(
                key, decl.name, enum.params, tuple(tree.CaseDecl(n, _field_decls(f)) for n, f in cases.items()),
                enum.methods, decl.name_span, decl.doc)
        for key in list(module.decls):
            self.world.decls[key] = module.decls[key]

    def _fields(self, params: tuple[syntax.Param, ...], reader: TypeReader) -> tuple[FieldSig, ...]:
        fields: list[FieldSig] = []
        for p in params:
            if any(f.name == p.name for f in fields):
                self.report("HYB202", f"two fields are called `{p.name}`", p.span)
                continue
            if p.type is None:
                self.report("HYB310", f"the field `{p.name}` needs a type", p.span)
                continue
            t = reader.type(p.type)
            if not reader.std and (resource := resource_in(self.world, t)) is not None:
                self.report("HYB508", f"a {resource} is never copied, so it cannot be a field", p.type.span,
                            help="hold it in a `var` or a model's `state`, and pass it as `mut`")
            fields.append(FieldSig(p.name, t, p.default is not None, p.span))
        return tuple(fields)


def types_of_fn(fn: syntax.Fn) -> Iterator[Any]:
    for p in fn.params:
        if p.type is not None:
            yield p.type
    if fn.result is not None:
        yield fn.result


def _field_decls(fields: tuple[FieldSig, ...]) -> tuple[tree.FieldDecl, ...]:
    return tuple(tree.FieldDecl(f.name, f.type, None) for f in fields)


def _as_type(reader: TypeReader, e: syntax.Expr) -> syntax.Expr | syntax.TypeExpr:
    """A model that a default makes, `Net(2, act="relu")`, as its type, `Net[2, "relu"]`."""
    if not isinstance(e, syntax.Call) or (name := dotted_name(e.fn)) is None:
        return e
    entity = reader.entity(name)
    if entity is None or entity.kind != "model":
        return e
    places = [c.name for c in reader.world.model(entity.key).config]
    given = {a.name or place: a.value for a, place in zip(e.args, places)}
    args = [given[place] for place in places[:len(given)] if place in given]
    if len(args) < len(e.args):
        return e
    return syntax.TypeName(e.span, name, tuple(map(type_argument, args)))


def _is_config_type(t: Type) -> bool:
    match t:
        case Prim() | FnType():
            return True
        case TupleType(items):
            return all(_is_config_type(i) for i in items)
        case Named(key, args):
            if key == STD_TYPES["str"]:
                return True
            return key == STD_TYPES["list"] and _is_config_type(args[0])  # type: ignore[arg-type]
    return not isinstance(t, Tensor | Option | ModelType | TypeVar)


def _types_in(decl: Any) -> Iterator[Any]:
    if isinstance(decl, syntax.Struct):
        fields = decl.fields
    else:
        fields = tuple(f for c in decl.cases for f in c.fields or ())
    for f in fields:
        if f.type is not None:
            yield f.type
    for m in decl.methods:
        yield from types_of_fn(m)


def _mentions(e: Any, name: str) -> bool:
    """Whether an expression in brackets mentions a name."""
    match e:
        case syntax.Name(id=other):
            return other == name
        case syntax.TypeName(name=other, args=None):
            return other == name
        case syntax.Unary(operand=x):
            return _mentions(x, name)
        case syntax.Binary(left=l, right=r):
            return _mentions(l, name) or _mentions(r, name)
    return False

