"""A loaded program as a Python object: functions, classes, models, constants."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType
from typing import Any

from hybridc_runtime import fastcall, fasttorch, hosts, parallel
from hybridc_runtime.calls import Caller
from hybridc_runtime.classes import python_name, spoken
from hybridc_runtime.codec import Codec
from hybridc_runtime.device import Device
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.linking import Later
from hybridc_runtime.manifest import Entry, Manifest, Param, Type
from hybridc_runtime.models import ModelBase, Models, ranks_beyond
from hybridc_runtime.more import More, Table
from hybridc_runtime.native import Program
from hybridc_runtime.pickling import Again, Home
from hybridc_runtime.typetext import read_type
from hybridc_runtime.values import Native, Owned, rng

Specialise = Callable[[More], "tuple[Manifest, Iterable[bytes] | Later, Device | None]"]


class Part:
    """One compiled program of a module; from source there is one more for each model configuration Python builds."""

    def __init__(
        self, module: Module, manifest: Manifest, code: Iterable[bytes] | Later, externs: Mapping[str, Any],
        launcher: Device | None,
    ):
        self.launcher = launcher
        """Runs its GPU kernels, where it has some."""
        self.manifest = manifest
        self.program = Program(code, manifest.sites)
        self.codec = Codec(manifest, self.program, module._classes, module._home)
        self.codec.make_caller = lambda entry: Caller(self.codec, entry)
        self.codec.model_of, self.codec.model_from = module._models.wrap, module._models.unpacked
        self.program.services = hosts.services(self.codec, externs, launcher)
        self.program.prepare, self.program.finish = parallel.prepare, parallel.finish
        self._callers: dict[int, Caller] = {}
        self._methods: dict[int, tuple[Caller, Signature]] = {}
        self.more: dict[tuple[Table, str, str], list[tuple[Part, Entry]]] = {}
        """Methods and derivatives compiled since for other models among their arguments, by struct and name."""

    def caller(self, entry: Entry) -> Caller:
        found = self._callers.get(id(entry))
        if found is None:
            found = self._callers[id(entry)] = Caller(self.codec, entry)
        return found

    def method(self, name: str, entry: Entry) -> tuple[Caller, Signature]:
        """The caller of a method, and the signature without `self`."""
        found = self._methods.get(id(entry))
        if found is None:
            found = self._methods[id(entry)] = (self.caller(entry), Signature(name, self, entry.params[1:]))
        return found


class Signature:
    """The parameters of a function: finds the value of each from what a call gives."""

    def __init__(self, name: str, part: Part, params: list[Param]):
        self.name, self.part, self.params = name, part, params
        places = {p.name: i for i, p in enumerate(params)}
        self.names = {said: places[name] for said, name in spoken(places).items()}
        self.count = len(params)
        self._defaults: dict[int, Any] = {}

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) == self.count and not kwargs:
            return args
        if len(args) > self.count:
            raise TypeError(f"{self.name}() takes {self._takes(self.count)}, {len(args)} were given")
        values: list[Any] = [*args, *[_MISSING] * (self.count - len(args))]
        for key, value in kwargs.items():
            at = self.names.get(key)
            if at is None:
                known = ", ".join(p.name for p in self.params) or "none"
                raise TypeError(f"{self.name}() has no parameter {key!r}; it has {known}")
            if values[at] is not _MISSING:
                raise TypeError(f"{self.name}() got parameter {key!r} twice")
            values[at] = value
        for i, value in enumerate(values):
            if value is _MISSING:
                param = self.params[i]
                if param.default is None:
                    given = zip(self.params, values, strict=True)
                    missing = [p.name for p, v in given if v is _MISSING and p.default is None]
                    raise TypeError(f"{self.name}() needs {', '.join(missing)}")
                values[i] = self._default(i, param.default)
        return values

    def _default(self, i: int, symbol: str) -> Any:
        """A default: computed once where nothing outside can change it, and left native, to be passed on as it is."""
        value = self._defaults.get(i, _MISSING)
        if value is _MISSING:
            codec, t = self.part.codec, self.params[i].type
            native = Native(Owned(codec, t, codec.helper(symbol, [], t).leaves(())[0]))
            nothing = not isinstance(t, str) and t[0] == "option" and not native._owned.leaves[0]
            value = native.to_python() if isinstance(t, str) or nothing else native
            if not self.part.manifest.externs:
                self._defaults[i] = value
        return value

    def _takes(self, n: int) -> str:
        return f"{n} argument" + ("" if n == 1 else "s")

    def python(self) -> inspect.Signature:
        kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
        params = []
        for p in self.params:
            if p.name.isidentifier():
                default = empty if p.default is None else ...
                shown = p.shown or empty
                params.append(inspect.Parameter(python_name(p.name), kind, default=default, annotation=shown))
        return inspect.Signature(params)


_MISSING = object()
FLOAT = re.compile(r"\bb?f(?:16|32|64)\b")
"""In the text of types. An int fits a float too, so what takes ints as they are is asked first."""


class Function(fastcall.Quick):
    """A function of the module. `f.native(...)` leaves its result native."""

    def __init__(self, module: Module, name: str):
        self.__doc__ = None
        self._module = module
        self._name = name
        self._overloads: list[tuple[Signature, Caller]] = []
        self.__name__ = self.__qualname__ = self._hyb_function = name
        self.__module__ = module._name

    def _add(self, part: Part, entries: list[Entry]) -> None:
        self._overloads += [(Signature(self._name, part, e.params), part.caller(e)) for e in entries]
        self._overloads.sort(key=lambda overload: len(FLOAT.findall(str(overload[1].types))))
        if entries and not self.__doc__:
            self.__doc__ = entries[0].doc
        self._single = self._overloads[0] if len(self._overloads) == 1 else None
        self._by_model = any(caller.codec.is_model(t) for _, caller in self._overloads for t in caller.types)
        self._called = False
        self._fast: Any = None
        self._serve(self._first)

    @property
    def __signature__(self) -> inspect.Signature:
        if not self._overloads:
            return inspect.Signature()
        signature, caller = self._overloads[0]
        python = signature.python()
        shown = caller.entry.result_shown or ("None" if caller.entry.result is None else inspect.Signature.empty)
        return python.replace(return_annotation=shown)

    def _first(self, *args: Any, **kwargs: Any) -> Any:
        """The first calls: who calls twice may call often."""
        if self._called:
            callers = [(None, caller) for _, caller in self._overloads]
            function = fastcall.wrap(callers, self._call, self._name, self.__doc__)
            self._fast = function if isinstance(function, BuiltinFunctionType) else None
            self._serve(function)
        self._called = True
        return self._call(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if self._single is not None:
            signature, caller = self._single
            whole = not kwargs and len(args) == signature.count
            if not whole:
                args = tuple(signature.bind(args, kwargs))
                kwargs = {}
            if self._fast is not None:
                found = fasttorch.call(self._fast, caller, (), args)
                if found is not fasttorch.DECLINED:
                    return found
                if not whole:
                    return self._fast(*args)  # which takes calls that are complete
            if not self._by_model:
                return caller(args)
        elif self._fast is not None and not kwargs:
            found = fasttorch.call(self._fast, self._overloads[0][1], (), args)
            if found is not fasttorch.DECLINED:
                return found
        return self._choose(args, kwargs, False)

    def native(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; the result stays native."""
        return self._choose(args, kwargs, True)

    def _choose(self, args: tuple[Any, ...], kwargs: dict[str, Any], native: bool) -> Any:
        """The first overload that the arguments fit."""
        tried: list[tuple[ArgumentError, Caller, Any]] = []
        for signature, caller in self._overloads:
            values = signature.bind(args, kwargs)
            if caller.takes_models(values):
                try:
                    return caller(values, native)
                except ArgumentError as e:
                    if e.frames:
                        raise
                    tried.append((e, caller, values))
        models = [v for v in (*args, *kwargs.values()) if isinstance(v, ModelBase)]
        if tried:
            error, best, values = max(tried, key=lambda found: found[0].fits)
            leading = ranks_beyond([caller for _, caller, _ in tried], best, values)
            if leading and self._module._models.extend(self._name, best, models, leading=leading) is not None:
                return self._choose(args, kwargs, native)
            raise error
        known = self._overloads[0][1] if self._overloads else None
        if models and self._module._models.extend(self._name, known, models) is not None:
            return self._choose(args, kwargs, native)
        if not models and self._overloads:
            signature, caller = self._overloads[0]
            return caller(signature.bind(args, kwargs), native)
        if not models:
            raise ArgumentError(f"{self._name}() takes a model, of any configuration")
        shown = ", ".join(m._hyb_shown for m in models)
        raise ArgumentError(f"{self._name}() is not compiled for {shown}")

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._module._home, self._name)

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        return self

    def __repr__(self) -> str:
        return f"<hyb function {self._module._name}.{self._name}>"


def _constant(value: Any) -> Any:
    """A constant of a manifest, where a tuple is `{"tuple": [...]}`."""
    if isinstance(value, dict):
        return tuple(map(_constant, value["tuple"]))
    return list(map(_constant, value)) if isinstance(value, list) else value


class Module:
    """What `hybridc.load` gives."""

    def __init__(self, name: str, again: Again | None = None):
        self._name = name
        self._home = Home(self, again)
        self._classes: dict[Any, Any] = {}
        self._parts: list[Part] = []
        self._externs: dict[str, Any] = {}
        self._specialise: Specialise | None = None
        self._models = Models(self)
        self._lock = threading.RLock()
        self._tests: list[tuple[str, Callable[[], None]]] = []

    def _add(self, manifest: Manifest, code: Iterable[bytes] | Later, launcher: Device | None = None) -> Part:
        """Link a program and offer what it exports."""
        part = Part(self, manifest, code, self._externs, launcher)
        first = not self._parts
        self._parts.append(part)
        space = self.__dict__
        for title, name in manifest.classes.items():
            kind = "struct" if name in manifest.structs else "enum"
            space.setdefault(title, part.codec.class_of((kind, name)))
        for name, entries in manifest.fns.items():
            function = space.get(name)
            if not isinstance(function, Function):
                function = space[name] = Function(self, name)
            function._add(part, entries)
        self._models.add(part)
        if first:
            self.__doc__ = manifest.doc
            for name, value in manifest.constants.items():
                space.setdefault(name, _constant(value))
            self._tests = [(title, self._test(part, symbol)) for title, symbol in manifest.tests]
            if "rng" not in space:
                space["rng"] = rng
        return part

    def _test(self, part: Part, symbol: str) -> Callable[[], None]:
        return lambda: part.codec.helper(symbol, [], None)(())

    def native(self, value: Any, type_text: str) -> Native:
        """The value as a native one of the type a program would write: mod.native(pairs, "list[(Tree, int)]")."""
        error: Exception | None = None
        for part in self._parts:
            try:
                t: Type = read_type(type_text, part.codec)
            except ValueError as e:
                error = error or e
            else:
                return part.codec.native(value, t)
        raise error or ValueError("nothing is loaded")

    def _class_of(self, title: str, parts: Any, tag: int | None = None) -> Any:
        """The class of a struct, or of a case of an enum, by what it is made of."""
        for part in self._parts:  # of all types, also of those that nobody has asked for
            for name, kind in part.manifest.kinds.items():
                if (title, parts) not in self._classes and kind.kind in ("struct", "enum"):
                    part.codec.class_of((kind.kind, name))
        found = self._classes.get((title, parts))
        if found is None:
            raise TypeError(f"{self!r} has no type {title} like the one that was pickled")
        return found if tag is None else found._hyb_classes[tag]

    def __copy__(self) -> Module:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self._home.__reduce__()

    def __repr__(self) -> str:
        return f"<hyb module {self._name}>"


def link(
    manifest: Manifest, code: Iterable[bytes] | Later, *, externs: Mapping[str, Any] | None = None,
    specialise: Specialise | None = None, launcher: Device | None = None, weights: Mapping[str, bytes] | None = None,
    again: Again | None = None,
) -> Module:
    """Load a compiled program. `specialise` compiles what is asked for beyond it, for a module loaded from source;
    `launcher` runs its kernels where it has some; `weights` are the values of exported models, by name; `again` loads
    it in another process."""
    module = Module(manifest.name, again)
    if externs is not None and not isinstance(externs, Mapping):
        raise TypeError(f"externs are a dict of functions by name, not {type(externs).__name__}")
    module._externs = dict(externs or {})
    module._specialise = specialise
    module._models.weights = dict(weights or {})
    module._add(manifest, code, launcher)
    return module
