"""What a program offers: which functions are made because the file exports or declares them, and the records that tell
the runtime how to call them and how values look from Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hybridc.base.dims import Dim
from hybridc.base.immutable import immutable
from hybridc.base.types import (
    STD_TYPES,
    FnRef,
    FnType,
    ModelType,
    Named,
    Option,
    PackVar,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    Void,
)
from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Kind, Model, ModelClass, ModelParam, ModelState, Param
from hybridc.core.walk import host_types
from hybridc.front.check import tree
from hybridc.front.check.consts import record
from hybridc.front.check.signatures import shapes_in
from hybridc.front.lower.core import Context, Instance, Lowerer, Refused, bind_types, generated, outside
from hybridc.front.lower.fits import check_of, checked
from hybridc.front.lower.inside import dims_of, unchecked
from hybridc.front.lower.instance import enter_instance
from hybridc.front.lower.layout import ParamSlot, leaves
from hybridc.front.lower.pullback import curvature, method_gradient, pullback
from hybridc.front.lower.scan import walk
from hybridc.front.lower.types import erase, is_concrete


@immutable(frozen=True, slots=True)
class Leading:
    """How many dimensions `*` names stand for where Python calls a function, or a method of a model."""

    call: str
    model: ModelType | None
    ranks: Mapping[str, int]


def ranks(packs: int) -> range:
    """The numbers of leading dimensions for which a function with so many `*` names is offered, of each."""
    return range(4 if packs == 1 else 3)


class Surface:
    def __init__(
        self, ctx: Context, models: Sequence[ModelType], all_names: bool, tests: bool, leading: Leading | None = None
    ):
        self.ctx = ctx
        self.program = ctx.program
        self.interface = Interface()
        self.models: dict[ModelType, None] = dict.fromkeys(models)
        self.all_names = all_names or not self.program.exports
        self.with_defaults = not all_names and not self.program.exports
        """Whether models whose whole configuration has defaults are built (from source they are when Python asks)."""
        self.interface.doc = self.program.doc
        if self.all_names:
            self.interface.constants = {name: record(v) for name, v in self.program.constants.items()}
        self.tests = tests
        self.leading = leading
        self._kinds: dict[str, None] = {}
        self._done: set[str] = set()
        self._looked: set[str] = set()
        self._offered: dict[str, list[Instance]] = {}

    # ---- targets
    def targets(self) -> None:
        for export in self.program.exports:
            if isinstance(export.target, ModelType):
                self.models.setdefault(export.target)
        if self.all_names:
            for key in self.program.names.values():
                self._signature_models(key)
            for name, key in self.program.names.items():
                self._each(self._name, name, key)
        for export in self.program.exports:
            self._each(self._export, export)
        for model in list(self.models):
            self._each(self._model, model)
        if self.tests:
            for test in self.program.tests:
                symbol = self.ctx.instance(Instance(test.fn))
                self.interface.tests.append((test.name, symbol))

    def _each(self, work: Callable[..., None], *args: Any) -> None:
        """Do a piece of work; what it cannot lower does not keep the others."""
        try:
            work(*args)
        except Refused as refused:
            self.ctx.diagnostics.append(refused.diagnostic)

    def _name(self, name: str, key: str) -> None:
        decl = self.program.decls.get(key)
        match decl:
            case tree.FnDecl():
                if decl.host is None:
                    self._fn(name, FnRef(key))
            case tree.StructDecl() | tree.EnumDecl():
                if not any(isinstance(p, TypeVar) for p in decl.params) and key not in STD_TYPES.values():
                    t = Named(key, tuple(Dim.of(p) for p in decl.params))  # type: ignore[arg-type]
                    self._class(name, t)
            case tree.ModelDecl():
                self._model_class(name, decl)
                model = ModelType(key, tuple(p.default for p in decl.config))
                asked = all(p.has_default for p in decl.config) if self.with_defaults else not decl.config
                if asked and is_concrete(model) and not any(m.key == key for m in self.models):
                    self.models[model] = None

    def _signature_models(self, key: str) -> None:
        """Configurations that a public function names come with it, so functions of the bare model are offered for
        them too."""
        decl = self.program.decls.get(key)
        if not isinstance(decl, tree.FnDecl) or decl.host is not None:
            return
        todo: list[Any] = [*(p.var.type for p in decl.params), decl.result]
        while todo:
            match todo.pop():
                case ModelType() as t if is_concrete(t):
                    self.models.setdefault(t)
                case Named(_, args):
                    todo += args
                case TupleType(items):
                    todo += items
                case Option(item):
                    todo.append(item)

    def _class(self, name: str, t: Named) -> None:
        core = self.ctx.types.inner(t)
        assert isinstance(core, (ir.StructT, ir.EnumT))
        self.interface.classes[name] = core.name
        self._kinds[core.name] = None

    def _export(self, export: tree.Export) -> None:
        target: Any = export.target
        if isinstance(target, FnRef):
            self._fn(export.name, target)
        elif isinstance(target, ModelType):
            decl = self.program.decls[target.key]
            assert isinstance(decl, tree.ModelDecl)
            self._model_class(decl.name, decl)
            self.interface.exports[export.name] = (target.key, [plain(c) for c in target.config])
        else:
            self._name(export.name, target)

    def _fn(self, name: str, ref: FnRef) -> None:
        decl = self.ctx.fn(ref.key)
        entries, offered = self.interface.fns.setdefault(name, []), self._offered.setdefault(name, [])
        for instance in self.instances(name, decl, ref.types):
            if instance not in offered:  # what is exported is offered by name already, where everything is
                offered.append(instance)
                entries.append(self.entry(decl, instance))
        bare = any((v.bound or "").startswith("model ") for v in decl.type_params)
        if not entries and not (bare and self.all_names):
            del self.interface.fns[name]

    def instances(
        self, name: str, decl: tree.FnDecl, types: Sequence[Type], model: ModelType | None = None
    ) -> Iterator[Instance]:
        """The instances in which a function is offered: of its bare models every configuration there is."""
        choices: list[list[Type]] = []
        for i, v in enumerate(decl.type_params):
            if i < len(types) and is_concrete(types[i]):
                choices.append([erase(types[i])])
            elif v.bound is not None and v.bound.startswith("model "):
                key = v.bound.removeprefix("model ")
                choices.append([m for m in self.models if m.key == key])
            else:
                return
        if decl.given or any(p.var.type == Void() for p in decl.params):
            return
        asked = self.leading
        known = asked.ranks if asked is not None and (asked.call, asked.model) == (name, model) else {}
        leadings = [[known[p.name]] if p.name in known else ranks(len(decl.packs)) for p in decl.packs]
        for chosen in itertools.product(*choices):
            for dims in self._config_dims(decl, model):
                for leading in itertools.product(*leadings):
                    yield Instance(decl.key, tuple(chosen), leading, model, dims)

    def _config_dims(self, decl: tree.FnDecl, model: ModelType | None) -> list[tuple[tuple[str, int], ...]]:
        """Values of the dimension names that a parameter's model configuration binds."""
        found: list[dict[str, int]] = [{}]
        for p in decl.params[1 if model is not None else 0:]:
            if isinstance(p.var.type, ModelType) and not is_concrete(p.var.type):
                grown = []
                for so_far, candidate in itertools.product(found, [m for m in self.models if m.key == p.var.type.key]):
                    dims: dict[str, int] = dict(so_far)
                    bind_types(p.var.type, candidate, {}, {}, dims)
                    grown.append(dims)
                found = grown
        return [tuple(sorted(d.items())) for d in found]

    # ---- entries
    def entry(self, decl: tree.FnDecl, instance: Instance) -> Entry:
        ctx = self.ctx
        symbol = ctx.instance(instance)
        lw = Lowerer(ctx)
        enter_instance(lw, instance, decl)
        types = [lw.concrete(p.var.type) for p in decl.params]
        params = []
        for p, t in zip(decl.params, types, strict=True):
            with outside(decl.span):
                core = ctx.types.core(t)
            self.reach(core)
            pack = next((d for shape in shapes_in(p.var.type) for d in shape if isinstance(d, PackVar)), None)
            packed = ("", 0) if pack is None else (pack.name, len(lw.packs[pack.key]))
            params.append(Param(p.var.name, core, p.mut, self._default(decl, instance, p), str(t), *packed))
        result_type = lw.concrete(decl.result)
        result = None if isinstance(result_type, Void) else ctx.types.core(result_type)
        if result is not None:
            self.reach(result)
        if any(unchecked(ctx, t) for t in types):
            symbol = checked(ctx, decl, instance, symbol)
        return Entry(symbol, params, result, "" if result is None else str(result_type), decl.doc)

    def _default(self, decl: tree.FnDecl, instance: Instance, p: tree.ParamDecl) -> str | None:
        """A Core function for a default value, if it depends on no run-time dimension."""
        if p.default is None:
            return None
        ctx = self.ctx
        spec = Lowerer(ctx)
        enter_instance(spec, instance, decl)
        return self._thunk(f"{ctx.instance(instance)}.{p.var.name} default", spec, p.default, p.var.type)

    def _thunk(self, name: str, spec: Lowerer, default: tree.Expr, t: Type) -> str | None:
        ctx = self.ctx
        for node in walk(default):
            nothing = isinstance(node, tree.Const) and node.value is None
            if isinstance(node, tree.Typed) and not nothing and any(
                    spec.concrete_dim(d).constant is None for d in dims_of(ctx, spec.concrete(node.type))):
                return None

        def body(lw: Lowerer, _: list[ir.Var]) -> Sequence[ir.Atom]:
            lw.type_args, lw.consts, lw.packs = spec.type_args, spec.consts, spec.packs
            lw.model, lw.self_type = spec.model, spec.self_type
            return [lw.expr(default)]

        kind = ctx.types.inner(spec.concrete(t))
        return ctx.later(name, lambda symbol: generated(ctx, symbol, "", [], [kind], body))

    # ---- models
    def _model_class(self, name: str, decl: tree.ModelDecl) -> None:
        config = [(c.name, str(c.type) if not isinstance(c.type, TypeVar) else "model", plain(c.default), c.has_default)
                  for c in decl.config]
        methods = [m for m in decl.methods if not m.startswith("_")]
        words = {c.name: dict(c.words) for c in decl.config if c.words}
        self.interface.model_classes[name] = ModelClass(decl.key, decl.name, config, methods, decl.doc, words)

    def _model(self, t: ModelType) -> None:
        ctx = self.ctx
        layout = ctx.models.layout(t)
        params, states = [], []
        for leaf in leaves(ctx.models, t):
            if isinstance(leaf.slot, ParamSlot):
                params.append(ModelParam(leaf.path, leaf.offset, list(leaf.slot.shape)))
            else:
                kind = ctx.types.inner(leaf.slot.type)
                self.reach(kind)
                check = check_of(ctx, leaf.slot.type, leaf.path, layout.decl.span)
                shape = leaf.slot.type.shape if isinstance(leaf.slot.type, Tensor) else ()
                dims = [d.constant if isinstance(d, Dim) else None for d in shape]
                states.append(ModelState(leaf.path, kind, list(leaf.route), check, dims))
        self.reach(ir.StructT(layout.struct))
        methods: dict[str, Entry] = {}
        gradients: dict[str, Entry] = {}
        pullbacks: dict[str, Entry] = {}
        curvatures: dict[str, Entry] = {}
        for name, key in layout.decl.methods.items():
            decl = ctx.fn(key)
            if name.startswith("_"):
                continue
            for instance in self.instances(name, decl, (), t):
                entry = self.entry(decl, instance)
                _offer(methods, name, entry)
                _offer(gradients, name, method_gradient(ctx, t, decl, instance, entry))
                if name == "forward":
                    pull = pullback(ctx, t, decl, instance, entry)
                    _offer(pullbacks, name, pull)
                    _offer(curvatures, name, None if pull is None else curvature(ctx, t, decl, instance, pull))
        self.interface.models.append(Model(
            t.key, layout.decl.name, [plain(c) for c in t.config], ctx.types.show(t), layout.struct, ctx.models.init(t),
            layout.elem.name, layout.size, params, states, methods, gradients, pullbacks, curvatures))
        for entry in (*gradients.values(), *pullbacks.values(), *curvatures.values()):
            for each in (entry, *entry.variants):
                assert each.result is not None
                self.reach(each.result)

    # ---- kinds
    def reach(self, t: ir.Type) -> None:
        """A type that crosses the boundary, and all it is made of."""
        match t:
            case ir.TupleT(items):
                for item in items:
                    self.reach(item)
            case ir.OptionT(item) | ir.BufferT(item):
                self.reach(item)
            case ir.StructT(name) | ir.EnumT(name):
                self._kinds.setdefault(name)

    def more(self) -> bool:
        """Records for every struct and enum that crosses and has none yet; whether there were any."""
        for name, fn in list(self.ctx.core.fns.items()):
            if name not in self._looked and not name.startswith("apply "):
                self._looked.add(name)
                for t in host_types(fn):
                    self.reach(t)
        waiting = [name for name in self._kinds if name not in self._done]
        for name in waiting:
            self._done.add(name)
            self._each(self._kind, name)
        return bool(waiting)

    def _kind(self, name: str) -> None:
        ctx = self.ctx
        front = ctx.types.fronts.get(name)
        if front is None:
            self._state_kind(name)
            return
        match front:
            case FnType():
                self.interface.kinds[name] = self._fn_kind(front)
            case ModelType():
                for _, kind in ctx.core.structs[name].fields:
                    self.reach(kind)
                decl = self.program.decls[front.key]
                self.interface.kinds[name] = Kind("model", title=name, doc=decl.doc)
                if front not in self.models:
                    self.models[front] = None
                    if front.key not in {c.key for c in self.interface.model_classes.values()}:
                        assert isinstance(decl, tree.ModelDecl)
                        self._model_class(decl.name, decl)
                    self._model(front)
            case Named(key) if key in STD_TYPES.values():
                self.interface.kinds[name] = self._container(name, front)
            case Named():
                self._user(name, front)

    def _state_kind(self, name: str) -> None:
        """The state of submodels, and lists of them."""
        fields = self.ctx.core.structs[name].fields
        for _, kind in fields:
            self.reach(kind)
        if isinstance(fields[0][1], ir.BufferT) and name.startswith("list["):
            self.interface.kinds[name] = Kind("list", [fields[0][1].item])
        else:
            self.interface.kinds[name] = Kind("struct", title=name)

    def _fn_kind(self, t: FnType) -> Kind:
        params, results = self.ctx.closures.signature(t)
        for kind in params + results:
            self.reach(kind)
        result = ir.UNIT if isinstance(t.result, Void) else results[0]
        helper = self.ctx.closures.apply_name(t)
        return Kind("fn", [*params, result], helpers={"apply": helper}, muts=[mut for _, mut in t.params])

    def _container(self, core: str, t: Named) -> Kind:
        ctx = self.ctx
        kind = t.name
        args = [ctx.types.inner(a) for a in t.args if not isinstance(a, Dim)]  # type: ignore[arg-type]
        for a in args:
            self.reach(a)
        helpers: dict[str, str] = {}
        types = tuple(a for a in t.args if not isinstance(a, Dim))
        to_wire = ctx.method(t, "_to_wire")
        if to_wire is not None:
            helpers["to_wire"] = ctx.instance(Instance(to_wire.key, types))
            made = Lowerer(ctx)
            made.type_args = {v.key: a for v, a in zip(to_wire.type_params, types, strict=True)}  # type: ignore[misc]
            self.reach(ctx.types.inner(made.concrete(to_wire.result)))
            back = f"{t.key}_from_wire"
            if ctx.has(back):
                helpers["from_wire"] = ctx.instance(Instance(back, types))  # type: ignore[arg-type]
        return Kind(kind, args, helpers=helpers)

    def _user(self, name: str, t: Named) -> None:
        ctx = self.ctx
        decl = self.program.decls[t.key]
        spec = Lowerer(ctx)
        spec.type_args = {k.key: v for k, v in ctx.types.substitution(t).items() if isinstance(k, TypeVar)}  # type: ignore[misc]
        kind = Kind("struct", title=decl.name, doc=decl.doc)
        groups: list[tuple[str, tuple[tree.FieldDecl, ...]]]
        if isinstance(decl, tree.StructDecl):
            groups = [("", decl.fields)]
        else:
            assert isinstance(decl, tree.EnumDecl)
            kind.kind = "enum"
            groups = [(f"{c.name}.", c.fields) for c in decl.cases]
        for prefix, fields in groups:
            for f in fields:
                shown = spec.concrete(f.type)
                kind.shown.append(str(shown))
                self.reach(ctx.types.inner(shown))
                if f.default is not None:
                    helper = self._thunk(f"{name}.{prefix}{f.name} default", spec, f.default, f.type)
                    if helper is not None:
                        kind.helpers[f"default.{prefix}{f.name}"] = helper
        self.interface.kinds[name] = kind
        self.interface.classes.setdefault(decl.name, name)


def _offer(entries: dict[str, Entry], name: str, entry: Entry | None) -> None:
    """One more entry of a method, for another number of leading dimensions if there is one already."""
    if entry is not None and name in entries:
        entries[name].variants.append(entry)
    elif entry is not None:
        entries[name] = entry


def plain(value: Any) -> Any:
    """A configuration value as the manifest has it."""
    match value:
        case Dim():
            return value.constant
        case tuple():
            return [plain(v) for v in value]
        case FnRef(key):
            return {"fn": key}
        case ModelType(key, config):
            return {"model": key, "config": [plain(v) for v in config]}
        case _:
            return value


