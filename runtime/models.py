"""Models as Python classes: built by configuration, called by method, saved and loaded."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from operator import index
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from hybridc_runtime import fastcall, fasttorch, pickling, torch_module, weights
from hybridc_runtime.arrays import MOST
from hybridc_runtime.classes import python_name
from hybridc_runtime.configuration import blamed, configuration, same_config, show_call, show_config
from hybridc_runtime.contents import Contents
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.manifest import Entry, Model, ModelClass, Type
from hybridc_runtime.more import More, Table, Unfit
from hybridc_runtime.values import Native, Owned

if TYPE_CHECKING:
    from hybridc_runtime.calls import Caller
    from hybridc_runtime.module import Module, Part


class Models:
    """The model classes of a module, and the configurations that are compiled."""

    def __init__(self, module: Module):
        self.module = module
        self.classes: dict[str, type[ModelBase]] = {}
        """By the declaration's key."""
        self.compiled: list[tuple[Part, Model]] = []
        self._asked: set[str] = set()
        self.weights: dict[str, bytes] = {}
        """Values that the artifact has for models, by the name that each is exported under, as safetensors."""

    def add(self, part: Part) -> None:
        space = self.module.__dict__
        for name, declared in part.manifest.model_classes.items():
            cls = self.classes.get(declared.key)
            if cls is None:
                cls = self.classes[declared.key] = model_class(self, declared)
            space.setdefault(name, cls)
        for model in part.manifest.models:
            cls = self.classes.get(model.key)
            if cls is None:
                declared = ModelClass(model.key, model.name, [], sorted(model.methods))
                cls = self.classes[model.key] = model_class(self, declared)
            for method in model.methods:
                cls._add_method(method)
            self.compiled.append((part, model))
        for name, (key, config) in part.manifest.exports.items():
            space.setdefault(name, Exported(self, name, key, config))

    def find(self, key: str, config: list[Any]) -> tuple[Part, Model]:
        """The compiled configuration; from source it is compiled now."""
        found = self._find(key, config)
        if found is None and self.module._specialise is not None:
            with self.module._lock:
                found = self._find(key, config)
                if found is None:
                    try:
                        self.module._add(*self.module._specialise(More(((key, config),))))
                    except Unfit as e:
                        raise ArgumentError(f"{blamed(self.classes[key]._declared, config)}: {e}") from None
                    found = self._find(key, config)
        if found is not None:
            return found
        declared = self.classes[key]._declared
        known = [show_call(declared, m.config) for _, m in self.compiled if m.key == key]
        raise ValueError(
            f"{show_call(declared, config)} is not in the artifact; it has {', '.join(known) or 'none of that model'}"
        )

    def _find(self, key: str, config: list[Any]) -> tuple[Part, Model] | None:
        found = None
        for part, model in self.compiled:
            if model.key == key and same_config(model.config, config):
                if model.methods:
                    return part, model
                found = found or (part, model)
        return found

    def wrap(self, owned: Owned) -> ModelBase:
        """A model that compiled code made. A program that was compiled for one function has not the model's methods:
        the model is then of the program that has."""
        for part, model in self.compiled:
            if part.codec is owned.codec and model.struct == owned.type[1]:
                home, known = self._find(model.key, model.config) or (part, model)
                if home is not part and home.codec.accepts(owned, owned.type):
                    leaves, owned.leaves = owned.leaves, None
                    part, model, owned = home, known, Owned(home.codec, owned.type, leaves)
                m = object.__new__(self.classes[model.key])
                m._start(part, model, owned)
                return m
        raise TypeError(f"no model {owned.type[1]}")

    def unpacked(self, struct: str, contents: bytes) -> ModelBase:
        """The model of that struct with what its `_packed` gave."""
        for _, model in self.compiled:
            if model.struct == struct:
                return self.classes[model.key]._restore(model.config, contents)
        raise TypeError(f"no model {struct}")

    def extend(
        self, call: str, known: Caller | None, given: list[ModelBase], table: Table = "fns",
        leading: Mapping[str, int] | None = None,
    ) -> Part | None:
        """Compile a function, method or derivative of a method for the configurations of these models, and for so many
        `leading` dimensions, if it takes such models, by what is `known` of it, they are of this module, and that is
        possible and new; the program that has it."""
        module = self.module
        ranks = tuple(sorted((leading or {}).items()))
        more = More(tuple((m._declared.key, m._model.config) for m in given), call, table, ranks)
        if module._specialise is None or any(m._models is not self for m in given) or repr(more) in self._asked:
            return None
        if known is not None:
            wanted = [declared(t[1]) for t in known.types if known.codec.is_model(t)]
            if sorted(wanted) != sorted(declared(m._model.struct) for m in given):
                return None
        with module._lock:
            added = module._add(*module._specialise(more))
            self._asked.add(repr(more))
            return added


def ranks_beyond(callers: list[Caller], best: Caller, values: Any) -> dict[str, int]:
    """The number of dimensions for each `*` name that these values ask for, if none of the callers is for that; empty
    where one is."""
    wanted = best.leading(values)
    if any(n > MOST for n in wanted.values()):
        return {}
    offered = [{p.pack: p.leading for p in caller.entry.params if p.pack} for caller in callers]
    return {} if any(wanted.items() <= known.items() for known in offered) else wanted


def declared(struct: str) -> str:
    """The declaration's part of the name of a model's struct."""
    return struct.partition("[")[0]


OF_MODULES = frozenset(("parameters", "named_parameters", "to", "cuda", "cpu", "train", "eval", "zero_grad"))
"""What users of PyTorch look for first."""


class Exported:
    """`export M(size=8) as name`: mod.name(seed=0), or mod.name() with the weights that the artifact has for it."""

    def __init__(self, models: Models, name: str, key: str, config: list[Any]):
        self._models, self.__name__, self._key, self._config = models, name, key, config

    def __call__(self, *args: Any, seed: int | None = None, **kwargs: Any) -> ModelBase:
        if args or kwargs:
            raise TypeError(f"{self.__name__}() takes seed= only: its configuration was exported with it")
        m = object.__new__(self._models.classes[self._key])
        m._build(self._config, seed, self.__name__)
        return m

    def __copy__(self) -> Exported:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Exported:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._models.module._home, self.__name__)

    def __repr__(self) -> str:
        return f"<hyb model {self.__name__}>"


class ModelBase(Contents):
    """A model: parameters, state, methods. `m(x)` calls `forward`."""

    _models: Models
    _declared: ModelClass
    _quick: dict[tuple[Table, str], dict[int, list[tuple[Model, Any]]]]
    """By method, or derivative of one, and configuration: what its fast calls are made of."""
    _fast: dict[Table, dict[str, Any]]
    """By method: what makes them."""

    def __init__(self, *args: Any, seed: int | None = None, **kwargs: Any):
        self._build(configuration(self._declared, args, kwargs), seed, self._declared.name)

    def _build(self, config: list[Any], seed: int | None, name: str) -> None:
        """With the first values of a seed; without one those that the artifact has under this name, else of seed 0."""
        given = self._models.weights.get(name) if seed is None else None
        seed = 0 if seed is None else seed
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not -(1 << 63) <= index(seed) < 1 << 63:
            raise ArgumentError(f"{self._declared.name}() argument seed: expected an int of 64 bits, found {seed!r}")
        part, model = self._models.find(self._declared.key, config)
        t: Type = ("struct", model.struct)
        leaves = part.codec.helper(model.init, ["int"], t).leaves((seed,))[0]
        self._start(part, model, Owned(part.codec, t, leaves))
        if given is None:
            self._settle()
        else:
            self._take_contents(*weights.from_bytes(given, name), name)

    def _start(self, part: Part, model: Model, owned: Owned) -> None:
        self._part, self._model, self._owned = part, model, owned
        self._lock = threading.RLock()

    # ---- configuration
    @property
    def _hyb_shown(self) -> str:
        return self._model.shown

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            for row, value in zip(self._declared.config, self._model.config, strict=False):
                if name in (row[0], python_name(row[0])):
                    if isinstance(value, dict):
                        return getattr(self._models.module, show_config(value), show_config(value))
                    return tuple(value) if row[1].startswith("(") else value
        help = "; the nn.Module that m.to_torch() gives has it" if name in OF_MODULES else ""
        held = [path for path in self._held() if path.partition(".")[0] == name]
        if held:
            help = f" for Python; state_dict() has {', '.join(map(repr, held[:3]))}{', ...' if held[3:] else ''}"
        raise AttributeError(f"{self._declared.name} has no {name!r}{help}")

    def _held(self) -> list[str]:
        """The paths of parameters and state."""
        return [*(p.path for p in self._model.params), *(s.path for s in self._model.states)]

    def __setattr__(self, name: str, value: Any) -> None:
        """What Python would keep beside the model is refused under a name of the model's."""
        if name[:1] != "_":
            if any(row[0] == name for row in self._declared.config):
                raise AttributeError(f"{self._declared.name}.{name} is configuration, which never changes")
            if any(path.partition(".")[0] == name for path in self._held()):
                raise AttributeError(f"{self._declared.name}.{name} is changed by load_state_dict() or a `mut fn`")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return show_call(self._declared, self._model.config)

    # ---- calls
    @classmethod
    def _add_method(cls, name: str) -> None:
        if name not in cls.__dict__:
            setattr(cls, name, _early(name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "forward" not in self._model.methods:
            raise TypeError(f"{self._declared.name} has no method forward")
        return self._call("forward", args, kwargs)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        entry = self._model.methods.get(name)
        if entry is None:
            raise AttributeError(f"{self._model.shown} has no method {name!r}")
        return self._through("methods", name, (self._part, entry), args, kwargs)

    def _through(
        self, table: Table, name: str, first: tuple[Part, Entry], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call that is not fast itself, but may be with its defaults, and makes later ones fast."""
        part, entry = first
        self._quicken(table, name, part, entry)
        fast = self._fast[table].get(name)
        if fast is not None:
            caller, signature = part.method(self._title(table, name), entry)
            whole = not kwargs and len(args) == len(entry.params) - 1
            values = args if whole else signature.bind(args, kwargs)
            if not any(type(v) is Native for v in values):  # a default of one number of leading dimensions, maybe
                found = fasttorch.call(fast, caller, (self,), values)
                if found is not fasttorch.DECLINED:
                    return found
                if not whole:
                    return fast(self, *values)
        return self._enter(table, name, args, kwargs)

    def _quicken(self, table: Table, name: str, part: Part, entry: Entry) -> None:
        """The second call of a method makes further ones of this configuration fast: who calls twice may call often."""
        calls = self._quick.setdefault((table, name), {})
        known = calls.get(id(self._model))
        if known is None:
            calls[id(self._model)] = []
        elif not known:
            known += [(self._model, part.caller(e)) for e in [entry, *entry.variants]]
            rows = [row for rows in calls.values() for row in rows]
            slow = _method(name) if table == "methods" else _derivative(table, name)
            function = fastcall.wrap(rows, slow, name, entry.doc)
            if isinstance(function, BuiltinFunctionType):
                cls = self._models.classes[self._declared.key]
                cls._fast[table][name] = function
                if table == "methods":
                    setattr(cls, name, fastcall.as_method(function))
                    if name == "forward":
                        cls.__call__ = fastcall.as_method(function)  # type: ignore[method-assign]

    def _title(self, table: Table, name: str) -> str:
        title = f"{self._declared.name}.{name}"
        return f"value_and_grad({title})" if table == "gradients" else title

    def _entries(self, table: Table, name: str) -> list[tuple[Part, Entry]]:
        """Where a method, or a derivative of one, is compiled; a derivative is compiled now if that is possible."""
        entry = getattr(self._model, table).get(name)
        own = [] if entry is None else [(self._part, e) for e in (entry, *entry.variants)]
        more = self._part.more.setdefault((table, self._model.struct, name), [])
        if not own and not more and name in self._model.methods:
            self._learn(table, name, None, [])
        return own + more

    def _learn(
        self, table: Table, name: str, known: Caller | None, models: list[ModelBase],
        leading: Mapping[str, int] | None = None,
    ) -> bool:
        """Have a method, or its derivative, compiled for these models among its arguments, and so many `leading`
        dimensions; whether there is that."""
        part = self._models.extend(name, known, [self, *models], table, leading)
        if part is None:
            return False
        struct = self._model.struct
        added = next((getattr(m, table).get(name) for m in part.manifest.models if m.struct == struct), None)
        if added is not None:
            self._part.more[table, struct, name] += [(part, e) for e in (added, *added.variants)]
        return added is not None

    def _enter(self, table: Table, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method, or a derivative of it, of which there is one."""
        title = self._title(table, name)
        entries = self._entries(table, name)
        models = [v for v in (*args, *kwargs.values()) if isinstance(v, ModelBase)]
        if len(entries) == 1 and not models:
            ((part, entry),) = entries
            caller, signature = part.method(title, entry)
            values = (self, *signature.bind(args, kwargs))
            if caller.muts and caller.muts[0] == 0:
                with self._lock:
                    return caller(values)
            return caller(values)
        tried: list[tuple[ArgumentError, Caller, Any]] = []
        for part, entry in entries:
            caller, signature = part.method(title, entry)
            values = (self, *signature.bind(args, kwargs))
            try:
                with self._lock:
                    return caller(values)
            except ArgumentError as e:
                if e.frames:
                    raise
                tried.append((e, caller, values))
        error, best, values = max(tried, key=lambda found: found[0].fits)
        leading = ranks_beyond([caller for _, caller, _ in tried], best, values)
        if (models or leading) and self._learn(table, name, tried[0][1], models, leading):
            return self._enter(table, name, args, kwargs)
        raise error

    def value_and_grad(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """The method's value and its derivative with respect to the parameters, as one vector."""
        fast = self._fast["gradients"].get(method) if type(method) is str else None
        if fast is not None and not kwargs:
            return fast(self, *args)
        return self._differentiate(method, args, kwargs)

    def _differentiate(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(method, str):
            raise TypeError(f"value_and_grad() takes the name of a method, {getattr(method, '__name__', 'forward')!r}, "
                            "then its arguments")
        entries = self._entries("gradients", method)
        if not entries:
            if method not in self._model.methods:
                raise AttributeError(f"{self._declared.name} has no method {method!r}")
            raise ValueError(f"{self._declared.name}.{method} gives no float, or the model has no parameters: there is "
                             "no derivative")
        return self._through("gradients", method, entries[0], args, kwargs)

    def to_torch(self) -> Any:
        """An nn.Module over this model's parameters, whose autograd runs the compiled derivative of `forward`."""
        if "forward" not in self._model.methods:
            raise ValueError(f"{self._declared.name} has no forward, which to_torch() needs")
        found = self._entries("pullbacks", "forward")
        if not found:
            what = "parameters, and a forward that gives float tensors"
            raise ValueError(f"{self._declared.name}: to_torch() needs {what}")
        return torch_module.build(self, found[0][1])

    # ---- copies
    def __copy__(self) -> ModelBase:
        codec = self._part.codec
        self._copyable("copied")
        new = object.__new__(type(self))
        with self._lock:
            new._start(self._part, self._model, Owned(codec, self._owned.type, self._owned.share()))
            if self._shown():
                new._set_vector(self._vector())
        return new

    def _as_it_is(self) -> ModelBase:
        """A model with the state that this one has now, over the same parameters; itself where state holds a store."""
        if self._holds_store():
            return self
        new = object.__new__(type(self))
        with self._lock:
            new._start(self._part, self._model, Owned(self._part.codec, self._owned.type, self._owned.share()))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelBase:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        self._copyable("pickled")
        return pickling.model, (self._models.module._home, self._declared.key, self._model.config, self._packed())

    def _packed(self) -> bytes:
        return weights.to_bytes(*self._contents())

    @classmethod
    def _restore(cls, config: list[Any], contents: bytes) -> ModelBase:
        m = object.__new__(cls)
        m._build(config, 0, "")
        m._take_contents(*weights.from_bytes(contents, cls._declared.name), cls._declared.name)
        return m

    def _holds_store(self) -> bool:
        return any(self._part.codec.holds_resource(s.type) for s in self._model.states)

    def _copyable(self, how: str) -> None:
        if self._holds_store():
            raise TypeError(f"{self._declared.name} holds a store and cannot be {how}")


def _method(name: str) -> Callable[..., Any]:
    def method(self: ModelBase, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, args, kwargs)

    method.__name__ = method.__qualname__ = name
    return method


def _early(name: str) -> Callable[..., Any]:
    """A class's method until it is called fast. Who holds one, bound to a model, is served fast from then on too."""
    slow = _method(name)

    def method(self: ModelBase, *args: Any, **kwargs: Any) -> Any:
        return self._fast["methods"].get(name, slow)(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


def _derivative(table: Table, name: str) -> Callable[..., Any]:
    def derivative(self: ModelBase, *args: Any, **kwargs: Any) -> Any:
        if table == "gradients":
            return self._differentiate(name, args, kwargs)
        return self._enter(table, name, args, kwargs)

    return derivative


def model_class(models: Models, declared: ModelClass) -> type[ModelBase]:
    cls: type[ModelBase] = type(declared.name, (ModelBase,), {
        "_models": models, "_declared": declared, "_quick": {}, "_fast": defaultdict(dict),
        "__doc__": declared.doc, "__module__": models.module._name,
    })
    for name in declared.methods:
        cls._add_method(name)
    return cls
