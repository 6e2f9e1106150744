"""What one compiled program's values are, both ways: its types, classes, converters and helper functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hybridc_runtime import classes
from hybridc_runtime.convert_in import Writers, Writing
from hybridc_runtime.convert_leaf import Misfit, Writer
from hybridc_runtime.convert_out import Reader, Readers, Reading
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.layout import Layouts, erased
from hybridc_runtime.linking import jit
from hybridc_runtime.manifest import FLOATS, Entry, Kind, Manifest, Param, Type
from hybridc_runtime.memory import HEADER, MEMORY, TAGGED, allocate, free, set_word, word
from hybridc_runtime.native import Program
from hybridc_runtime.needs import release_name
from hybridc_runtime.pickling import Home
from hybridc_runtime.values import Native, NativeFunction, Owned, rng

MANY = 4096
"""Parameters from which on panels of some may be worth keeping."""

if TYPE_CHECKING:
    from hybridc_runtime.calls import Caller
    from hybridc_runtime.fastplans import Plans
    from hybridc_runtime.stored import BytePlans

UNIT: Type = ("tuple", ())
class Codec:
    """One program. `classes` (title -> Python class) are shared by the programs of a module."""

    def __init__(
        self, manifest: Manifest, program: Program, shared: dict[Any, Any] | None = None, home: Home | None = None
    ):
        self.manifest, self.program, self.home = manifest, program, home
        self.layouts = Layouts(manifest)
        self.readers, self.writers = Readers(self), Writers(self)
        self.shared = shared if shared is not None else {}
        self.make_caller: Callable[[Entry], Caller]
        self.model_of: Callable[[Owned], Any]  # these two make a model object, and are set by the module
        self.model_from: Callable[[str, bytes], Any]
        self._classes: dict[Type, Any] = {}
        self._pointers: dict[Type, bool] = {}
        self._callers: dict[str, Any] = {}
        self._releasers: dict[Type, Callable[[int, int], object] | None] = {}
        self._retain = jit().retain
        self._alike: dict[Any, bool] = {}
        self.alike: dict[Type, Codec] = {}
        """By type the first other program that lays its values out alike."""
        self._applies: dict[Type, Caller] = {}
        self._lists = {erased(k.args[0]): name for name, k in manifest.kinds.items() if k.kind == "list"}
        self.plans: Plans | None = None
        self.byte_plans: BytePlans | None = None
        """Of fast calls, and of values as bytes, once there are any."""
        self.callables: dict[int, Any] = {}
        self._callable_ids: dict[int, int] = {}
        self._next_id = 1

    # ---- types
    def kind(self, t: Type) -> Kind:
        found = self.kind_or_none(t)
        if found is not None:
            return found
        return Kind("struct" if t[0] == "struct" else "enum", title=t[1])

    def kind_or_none(self, t: Type) -> Kind | None:
        return self.manifest.kinds.get(t[1]) if not isinstance(t, str) and t[0] in ("struct", "enum") else None

    def is_model(self, t: Type) -> bool:
        kind = self.kind_or_none(t)
        return kind is not None and kind.kind == "model"

    def panel_places(self, t: Type) -> int:
        """How many matrices may be kept otherwise beside a value's parameters: 0 but for models with many of these."""
        model = next((m for m in self.manifest.models if t == ("struct", m.struct)), None)
        if model is None or model.size < MANY:
            return 0
        return 4 << sum(len(p.shape) > 1 for p in model.params).bit_length()

    def show(self, t: Type) -> str:
        """The type as a program would write it."""
        if isinstance(t, str):
            return t
        match t[0]:
            case "tensor":
                return f"{t[1]}[{', '.join('?' if d is None else str(d) for d in t[2])}]"
            case "tuple":
                return "(" + ", ".join(map(self.show, t[1])) + ("," if len(t[1]) == 1 else "") + ")"
            case "option":
                return self.show(t[1]) + "?"
            case "buffer":
                return f"buffer[{self.show(t[1])}]"
        kind = self.kind(t)
        if kind.kind in ("list", "map", "set", "deque", "heap", "graph"):
            return f"{kind.kind}[{', '.join(map(self.show, kind.args))}]"
        if kind.kind == "fn":
            muts = kind.muts or [False] * len(kind.args)
            params = [("mut " if m else "") + self.show(a) for a, m in zip(kind.args[:-1], muts, strict=False)]
            result = "" if kind.args[-1] == UNIT else f" -> {self.show(kind.args[-1])}"
            return f"fn({', '.join(params)}){result}"
        return t[1]

    def class_of(self, t: Type) -> Any:
        """The Python class of a struct or enum; types of one title and the same fields share one."""
        cls = self._classes.get(t)
        if cls is None:
            kind = self.kind(t)
            title = (kind.title or t[1]).rpartition(":")[2]
            if t[0] == "struct":
                names = tuple(n for n, _ in self.layouts.structs[t[1]])
                key = (title, names)
                cls = self.shared.get(key)
                if cls is None:
                    defaults = self._defaults(kind, "", self.layouts.structs[t[1]])
                    cls = self.shared[key] = classes.struct_class(title, names, defaults, kind.doc)
            else:
                cases = tuple((case, tuple(n for n, _ in fields)) for case, fields in self.layouts.enums[t[1]])
                key = (title, cases)
                cls = self.shared.get(key)
                if cls is None:
                    by_case = {case: self._defaults(kind, f"{case}.", fs) for case, fs in self.layouts.enums[t[1]]}
                    cls = self.shared[key] = classes.enum_class(title, cases, by_case, kind.doc)
            cls._hyb_home = self.home
            self._classes[t] = cls
        return cls

    def _defaults(self, kind: Kind, prefix: str, fields: Sequence[tuple[str, Type]]) -> dict[str, Callable[[], Any]]:
        """Those of a struct's fields, or of a case's."""
        helpers = {n: (kind.helpers.get(f"default.{prefix}{n}"), t) for n, t in fields}
        return {n: self._default(symbol, t) for n, (symbol, t) in helpers.items() if symbol is not None}

    def _default(self, symbol: str, t: Type) -> Callable[[], Any]:
        """The default of a field: computed once if nothing outside can change it, nor who gets it."""
        known: list[Any] = []

        def default() -> Any:
            if known:
                return known[0]
            value = self.helper(symbol, [], t)(())
            if classes.fixed(value) and not self.manifest.externs:
                known.append(value)
            return value

        return default

    def holds_pointers(self, t: Type) -> bool:
        """May its conversion leave work for later: does it contain an enum with fields, at any distance?"""
        known = self._pointers.get(t)
        if known is None:
            self._pointers[t] = False
            known = self._pointers[t] = self._find_pointers(t)
        return known

    def holds_resource(self, t: Type) -> bool:
        """Does a model's state of this type hold a store? (Nothing else that holds one can be state.)"""
        if isinstance(t, str) or t[0] in ("tensor", "enum"):
            return False
        if t[0] in ("option", "buffer"):
            return self.holds_resource(t[1])
        if t[0] == "struct" and self.kind(t).kind == "store":
            return True
        return any(map(self.holds_resource, self.layouts.fields(t)))

    def holds_floats(self, t: Type) -> bool:
        """Does it contain a float or a float tensor, at any distance?"""
        seen: set[Any] = set()
        todo = [t]
        while todo:
            t = todo.pop()
            if t in FLOATS or t[0] == "tensor" and t[1] in FLOATS:
                return True
            if isinstance(t, str) or t[0] == "tensor" or t in seen:
                continue
            seen.add(t)
            if t[0] in ("option", "buffer"):
                todo.append(t[1])
            elif t[0] == "enum":
                todo += [ft for _, fields in self.layouts.enums[t[1]] for _, ft in fields]
            else:
                todo += self.layouts.fields(t)
        return False

    def _find_pointers(self, t: Type) -> bool:
        if isinstance(t, str) or t[0] == "tensor":
            return False
        if t[0] == "enum":
            return self.kind(t).kind != "fn" and not self.layouts.plain(t[1])
        if t[0] in ("option", "buffer"):
            return self.holds_pointers(t[1])
        if t[0] == "struct" and self.kind(t).kind not in ("struct", "str"):
            return any(map(self.holds_pointers, self.kind(t).args))
        return any(map(self.holds_pointers, self.layouts.fields(t)))

    def accepts(self, owned: Owned, t: Type) -> bool:
        """May a native value pass as it is: of the same type, from this program or from one that lays it out alike?"""
        if erased(owned.type) != erased(t):
            return False
        other = owned.codec
        if other is self:
            return True
        key = (id(other), t)
        found = self._alike.get(key)
        if found is None:
            found = self._alike[key] = all(self._same_definition(other, name) for name in self.named(t))
            if found and erased(t) not in self.alike:
                self.alike[erased(t)] = other
                if self.plans is not None:
                    self.plans.alike(erased(t), other)
        return found

    def _same_definition(self, other: Codec, name: tuple[str, str]) -> bool:
        """Function values are numbered by each program in its own way."""
        if self.kind(name).kind == "fn":
            return False
        if name[0] == "struct":
            return self.layouts.structs[name[1]] == other.layouts.structs.get(name[1])
        return self.layouts.enums[name[1]] == other.layouts.enums.get(name[1])

    def named(self, t: Type) -> set[Any]:
        """Every struct and enum in a type, at any distance."""
        found: set[Any] = set()
        todo = [t]
        while todo:
            t = todo.pop()
            if isinstance(t, str) or t[0] == "tensor" or t in found:
                continue
            if t[0] in ("option", "buffer"):
                todo.append(t[1])
                continue
            if t[0] == "enum":
                todo += [ft for _, fields in self.layouts.enums[t[1]] for _, ft in fields]
            else:
                todo += self.layouts.fields(t)
            if t[0] != "tuple":
                found.add(t)
        return found

    # ---- the wire form of containers
    def wire_type(self, t: Type) -> Type:
        kind = self.kind(t)
        if kind.kind == "graph":
            edge = ("tuple", ("int", "int", kind.args[1]))
            return ("tuple", (self._list_type(t, kind.args[0]), self._list_type(t, edge)))
        return self._list_type(t, ("tuple", tuple(kind.args)) if kind.kind in ("map", "heap") else kind.args[0])

    def _list_type(self, t: Type, item: Type) -> Type:
        name = self._lists.get(erased(item))
        if name is None:
            raise TypeError(f"{self.show(t)} cannot cross to Python: the program has no list[{self.show(item)}]")
        return ("struct", name)

    def wire_of(self, t: Type, leaves: tuple[Any, ...]) -> int:
        """The address of what a container crosses as, to be released and freed."""
        wire = self.wire_type(t)
        self.retain(t, leaves)
        target = allocate(self.layouts.of(wire).size)
        self.run(self.kind(t).helpers["to_wire"], t, leaves, target)
        return target

    def from_wire(self, t: Type, leaves: tuple[Any, ...], target: int) -> None:
        self.run(self.kind(t).helpers["from_wire"], self.wire_type(t), leaves, target)

    # ---- compiled helpers
    def run(self, symbol: str, t: Type, leaves: tuple[Any, ...], target: int) -> None:
        """Call an entry of one parameter with leaves that it consumes; the results go to `target`."""
        program = self.program
        context = program.acquire()
        try:
            self.layouts.of(t).struct.pack_into(MEMORY, context.scratch, *leaves)
            program.call(program.code.entry("hyb." + symbol), context, context.scratch, target)
        finally:
            program.release(context)

    def helper(self, symbol: str, params: list[Type], result: Type | None) -> Caller:
        """A caller of a compiled function that Python never sees by name."""
        found = self._callers.get(symbol)
        if found is None:
            entry = Entry(symbol, [Param(f"argument {i}", p) for i, p in enumerate(params)], result)
            found = self._callers[symbol] = self.make_caller(entry)
        return found

    def retain(self, t: Type, leaves: tuple[Any, ...]) -> None:
        """One more owner for every block that the leaves point to."""
        for place in self.layouts.of(t).blocks:
            if leaves[place]:
                self._retain(leaves[place])

    def release_leaves(self, t: Type, leaves: tuple[Any, ...]) -> None:
        if any(leaves[place] for place in self.layouts.of(t).blocks):
            layout = self.layouts.of(t)
            address = allocate(layout.size)
            layout.struct.pack_into(MEMORY, address, *leaves)
            self.release_at(t, address)
            free(address)

    def release_at(self, t: Type, address: int) -> None:
        """Release the value at an address."""
        release = self.releaser(t)
        if release is not None:
            program = self.program
            context = program.acquire()
            release(context.address, address)
            program.release(context)

    def releaser(self, t: Type) -> Callable[[int, int], object] | None:
        """f(context, address): releases a value of the type; None where there is nothing to release."""
        if t not in self._releasers:
            release: Callable[[int, int], object] | None = None
            if self.layouts.of(t).blocks:
                address = self.release_address(t)
                if address:
                    release = functools.partial(jit().release, address)
                else:
                    def release(context: int, address: int) -> None:
                        self._release_parts(t, address)

            self._releasers[t] = release
        return self._releasers[t]

    def release_address(self, t: Type) -> int:
        """The address of the compiled release of a type, or 0."""
        return self.program.code.find(release_name(t))

    def _release_parts(self, t: Type, address: int) -> None:
        """For aggregates without a helper of their own: part by part."""
        if t[0] in ("tuple", "struct"):
            parts = self.layouts.fields(t)
            for part, offset in zip(parts, self.layouts.offsets(parts), strict=True):
                self.release_at(part, address + offset)
        elif t[0] == "option":
            if MEMORY[address]:
                self.release_at(t[1], address + self.layouts.offsets(["bool", t[1]])[1])
        elif t[0] == "tensor" or t[0] == "buffer" and isinstance(t[1], str):
            if word(address):
                self.program.drop_block(word(address))
        # A block of blocks without a helper cannot be walked safely; the linker provides helpers for all that cross.

    # ---- whole values
    def finish(self, reading: Reading) -> None:
        reading.finish()
        for t, address in reading.temps:
            self.release_at(t, address)
            free(address)
        reading.temps.clear()

    def read(self, t: Type, address: int, torch: bool = False, ordered: bool = False) -> Any:
        reading = Reading(torch, ordered=ordered)
        try:
            return self.readers.read(t, address, reading)
        finally:
            self.finish(reading)

    def read_leaves(self, t: Type, leaves: tuple[Any, ...], torch: bool = False) -> Any:
        reading = Reading(torch)
        try:
            return self.readers.reader(t)(*leaves, reading)
        finally:
            self.finish(reading)

    def write_leaves(self, t: Type, value: Any, what: str) -> tuple[Any, ...]:
        """Leaves of a new native value, which the caller owns."""
        layout = self.layouts.of(t)
        writing = Writing(self, True)
        address = allocate(layout.size)
        try:
            self.writers.write(t, value, writing, address)
            writing.finish()
            writing.commit()
            return layout.struct.unpack_from(MEMORY, address)
        except Misfit as e:
            raise ArgumentError(e.message(what)) from None
        finally:
            writing.undo()
            free(address)

    def to_python(self, owned: Owned, ordered: bool = False) -> Any:
        """A native value converted: what is native only by value too, where it has such a form."""
        t = owned.type
        if self.kind_or_none(t) is None or self.kind(t).kind != "graph":
            return self.read_leaves(t, owned.leaves)
        wire, address = self.wire_type(t), self.wire_of(t, owned.leaves)
        try:
            return self.read(wire, address, ordered=ordered)
        finally:
            self.release_at(wire, address)
            free(address)

    def native(self, value: Any, t: Type) -> Native:
        if isinstance(value, Native):
            if self.accepts(value._owned, t) and t == erased(t):
                return Native(Owned(self, t, value._owned.share()))
            value = value.to_python()
        return Native(Owned(self, erased(t), self.write_leaves(t, value, "native value")))

    # ---- kinds that do not cross by value
    def special_reader(self, t: Type) -> Reader:
        kind = self.kind(t)
        if kind.kind == "rng":
            return lambda leaves, r: _rng_of(leaves)
        make = {"fn": self._function_of, "model": self._model_of}.get(kind.kind, Native)  # a graph stays native

        def special(leaves: tuple[Any, ...], r: Reading) -> Any:
            self.retain(t, leaves)
            return make(Owned(self, t, leaves))

        return special

    def _model_of(self, owned: Owned) -> Any:
        return self.model_of(owned)

    def _function_of(self, owned: Owned) -> Any:
        host = self._host_case(owned.type)
        plain = self.layouts.plain(owned.type[1])
        if host is not None and not plain and TAGGED.unpack_from(MEMORY, owned.leaves[0])[1] == host:
            found = self.callables.get(word(owned.leaves[0] + HEADER))
            if found is not None:
                return found
        return NativeFunction(owned)

    def _host_case(self, t: Type) -> int | None:
        return next((i for i, (case, _) in enumerate(self.layouts.enums[t[1]]) if case == "Host"), None)

    def apply_caller(self, t: Type) -> Caller:
        """Calls a function value, which is the first argument."""
        found = self._applies.get(t)
        if found is None:
            kind = self.kind(t)
            muts = kind.muts or [False] * (len(kind.args) - 1)
            params = [Param("function", t)]
            for i, (p, mut) in enumerate(zip(kind.args[:-1], muts, strict=True), 1):
                params.append(Param(f"argument {i}", p, mut))
            result = None if kind.args[-1] == UNIT else kind.args[-1]
            found = self._applies[t] = self.make_caller(Entry(kind.helpers["apply"], params, result))
        return found

    def special_writer(self, t: Type) -> Writer:
        kind = self.kind(t)
        expected = self.show(t)
        if kind.kind == "fn":
            return self._function_writer(t, expected)

        def write(v: Any, c: Writing, at: int) -> Any:
            if kind.kind == "rng":
                if not isinstance(v, rng):
                    raise Misfit("hybridc.rng(seed)", type(v).__name__)
                return v.leaves(self, t)
            owned = getattr(v, "_owned", None)
            if owned is None or not self.accepts(owned, t):
                raise Misfit(expected, getattr(v, "_hyb_shown", None) or type(v).__name__)
            leaves = owned.passed(places)
            c.log.append(lambda: self.release_leaves(t, leaves))
            return leaves

        places = self.panel_places(t)
        return write

    def _function_writer(self, t: Type, expected: str) -> Writer:
        host = self._host_case(t)

        def write(v: Any, c: Writing, at: int) -> Any:
            if isinstance(v, NativeFunction) and v._owned.codec is self and v._owned.type == t:
                leaves = v._owned.share()
                c.log.append(lambda: self.release_leaves(t, leaves))
                return leaves
            if not callable(v):
                raise Misfit(expected, type(v).__name__)
            if host is None:
                raise Misfit(expected, "a Python function, which this program never calls")
            block = c.block(HEADER + 8)
            set_word(block + 8, host)
            set_word(block + HEADER, self.register(v, c))
            return (block,)

        return write

    def register(self, function: Any, c: Writing) -> int:
        """An id for a Python callable: for good if compiled code may keep it, else until the call ends."""
        known = self._callable_ids.get(id(function))
        if known is not None:
            return known
        number = self._next_id
        self._next_id += 1
        self.callables[number] = function
        if c.keep:
            self._callable_ids[id(function)] = number
        else:
            c.callables.append(number)
        return number


def _rng_of(leaves: tuple[Any, ...]) -> rng:
    g = rng(0)
    g._state = leaves
    return g


__all__ = ["Codec", "UNIT"]
