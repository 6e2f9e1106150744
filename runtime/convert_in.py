"""Python values to native ones, one writer made for each type.

A writer is f(value, writing, address) -> leaves, the address being where the caller will pack them. Fields of an
enum's case are written later from a worklist, so that a deep value needs no recursion, and a Python object met twice
becomes one block with two owners. What was allocated is recorded, to be freed if a later part does not fit.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from hybridc_runtime import arrays
from hybridc_runtime.convert_leaf import Misfit, Writer, scalar_writer, tensor_writer, write_text
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import HEADER, MEMORY, PAIR, allocate, free, set_word, word

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

EXACT = {"int": int, "i32": int, "u8": int, "f64": float, "f32": float, "bool": bool}
"""Python's types whose values are written as they are."""


class Writing:
    """One call's way in. `keep`: compiled code may hold on to what it gets; `copy`: to the arrays of the argument that
    is written now, so they are copied."""

    __slots__ = ("codec", "log", "jobs", "seen", "open", "keep", "copy", "torch", "guests", "callables")

    def __init__(self, codec: Codec, keep: bool):
        self.codec = codec
        self.log: list[Any] = []
        self.jobs: list[tuple[Callable[..., None], Any, int]] = []
        self.seen: dict[tuple[str, int, bool], int] = {}
        self.open: set[int] = set()
        self.keep = self.copy = keep
        self.torch = False
        self.guests: list[Any] = []
        """What must stay alive until the call has ended."""
        self.callables: list[int] = []
        """Ids of Python functions that compiled code may call until then."""

    def finish(self) -> None:
        jobs = self.jobs
        while jobs:
            write, value, address = jobs.pop()
            write(value, self, address)

    def block(self, size: int, *, filled: bool = False) -> int:
        """A counted block with one owner, zeros after its count, if it is not to be `filled` anyway."""
        address = allocate(size, filled=filled)
        set_word(address, 1)
        self.log.append(address)
        return address

    def commit(self) -> None:
        """The compiled program owns it all now."""
        self.codec.program.count_live(sum(1 for entry in self.log if type(entry) is int))
        self.log.clear()

    def undo(self) -> None:
        """Free what was made for a value that did not fit."""
        for entry in reversed(self.log):
            if type(entry) is int:
                free(entry)
            else:
                entry()
        self.log.clear()
        self.jobs.clear()


class Writers:
    """Makes and keeps the writers of one program's types."""

    def __init__(self, codec: Codec):
        self.codec = codec
        self.layouts = codec.layouts
        self._writers: dict[Type, Writer] = {}

    def writer(self, t: Type) -> Writer:
        found = self._writers.get(t)
        if found is None:
            holder: list[Writer] = []

            def meanwhile(v: Any, c: Writing, at: int) -> Any:
                if not holder:  # another thread is at it, or a signal ended it
                    holder.append(self._make(t))
                return holder[0](v, c, at)

            self._writers[t] = meanwhile  # a recursive type meets itself here
            holder.append(self._make(t))
            found = self._writers[t] = holder[0]
        return found

    def row(self, t: Type) -> Callable[[Any, Writing, int], tuple[Any, ...]]:
        """As `writer`, always giving a tuple of leaves."""
        write = self.writer(t)
        return (lambda v, c, at: (write(v, c, at),)) if self._single(t) else write

    def _single(self, t: Type) -> bool:
        """Does its writer give one bare leaf?"""
        return isinstance(t, str) or t[0] == "buffer" or (t[0] == "enum" and self.codec.kind(t).kind != "fn")

    def write(self, t: Type, value: Any, c: Writing, address: int) -> None:
        leaves = self.row(t)(value, c, address)
        self.layouts.of(t).struct.pack_into(MEMORY, address, *leaves)

    def _make(self, t: Type) -> Writer:
        if isinstance(t, str):
            return scalar_writer(t)
        match t[0]:
            case "tensor":
                return tensor_writer(t)
            case "tuple":
                return self._tuple(t)
            case "option":
                return self._option(t)
            case "enum":
                return self._enum(t) if self.codec.kind(t).kind != "fn" else self.codec.special_writer(t)
            case "buffer":
                return self._buffer(t[1])
        kind = self.codec.kind(t)
        match kind.kind:
            case "str":
                return write_text
            case "list":
                return self._list(t, kind.args[0])
            case "map" | "set" | "deque" | "heap":
                return self._wire(t)
            case "graph":
                return self._graph(t)
            case "struct":
                return self._struct(t)
        return self.codec.special_writer(t)

    # ---- aggregates
    def _fields(self, types: list[Type], names: list[str], steps: list[str]) -> Writer:
        """f(values, writing, address) -> leaves, for values named by Python variables."""
        space: dict[str, Any] = {"Misfit": Misfit}
        parts = []
        for i, (t, offset) in enumerate(zip(types, self.layouts.offsets(types), strict=True)):
            space[f"w{i}"] = self.writer(t)
            star = "" if self._single(t) else "*"
            parts.append(f"{star}w{i}({names[i]}, c, at + {offset})")
        space["steps"] = steps
        lines = ["def f(v, c, at):", "    k = 0", "    try:"]
        for i, part in enumerate(parts):
            lines.append(f"        k = {i}; p{i} = " + (part[1:] if part.startswith("*") else part))
        result = ", ".join(("*" if not self._single(t) else "") + f"p{i}" for i, t in enumerate(types))
        lines.append(f"        return ({result}{',' if types else ''})")
        lines += ["    except Misfit as e:", "        raise e.at(steps[k])"]
        exec("\n".join(lines), space)  # noqa: S102 (our own text)
        return space["f"]

    def _tuple(self, t: Type) -> Writer:
        types = list(t[1])
        count = len(types)
        fields = self._fields(types, [f"v[{i}]" for i in range(count)], [f"[{i}]" for i in range(count)])
        expected = self.codec.show(t)

        def write(v: Any, c: Writing, at: int) -> Any:
            if not isinstance(v, tuple) or len(v) != count:
                raise Misfit(expected, f"a tuple of {len(v)}" if isinstance(v, tuple) else arrays.kind_of(v))
            return fields(v, c, at)

        return write

    def _option(self, t: Type) -> Writer:
        inner, single = self.writer(t[1]), self._single(t[1])
        nothing = self.layouts.of(t).zeros
        offset = self.layouts.offsets(["bool", t[1]])[1]

        def write(v: Any, c: Writing, at: int) -> Any:
            if v is None:
                return nothing
            try:
                value = inner(v, c, at + offset)
            except Misfit as e:
                raise e if e.path else Misfit(f"{e.expected}?", e.found) from None
            return (True, value) if single else (True, *value)

        return write

    def _struct(self, t: Type) -> Writer:
        pairs = self.layouts.structs[t[1]]
        cls = self.codec.class_of(t)
        names = [n for n, _ in pairs]
        fields = self._fields([ft for _, ft in pairs], [f"v[{n!r}]" for n in names], [f".{n}" for n in names])

        def write(v: Any, c: Writing, at: int) -> Any:
            if type(v) is not cls and not same_class(cls, type(v)):
                raise Misfit(cls._hyb_name, arrays.kind_of(v))
            own = v.__dict__
            try:
                return fields(own, c, at)
            except KeyError as e:
                raise Misfit(cls._hyb_name, f"one without field {e}") from None

        return write

    def _enum(self, t: Type) -> Writer:
        cls = self.codec.class_of(t)
        cases = self.layouts.enums[t[1]]
        plain = self.layouts.plain(t[1])
        known: dict[type, tuple[int, int, Any]] = {}
        for tag, (_, fields) in enumerate(cases):
            size = HEADER + self.layouts.row([ft for _, ft in fields]).size
            known[cls._hyb_classes[tag]] = (tag, size, self._case(cls._hyb_classes[tag], fields) if fields else None)
        statics: dict[int, int] = {}
        name = t[1]

        def static(tag: int) -> int:
            """The block of a case without fields, which is never freed."""
            if tag not in statics:
                statics[tag] = allocate(HEADER)
                PAIR.pack_into(MEMORY, statics[tag], -1, tag)
            return statics[tag]

        def write(v: Any, c: Writing, at: int) -> int:
            try:
                tag, size, fill = known[type(v)]
            except KeyError:
                for case, found in list(known.items()):
                    if same_class(case, type(v)):
                        known[type(v)] = found
                        return write(v, c, at)
                raise Misfit(cls._hyb_name, arrays.kind_of(v)) from None
            if plain:
                return tag
            if fill is None:
                return static(tag)
            key = (name, id(v), c.copy)
            block = c.seen.get(key)
            if block is not None:
                if block in c.open:
                    raise Misfit(cls._hyb_name, "a value that contains itself")
                set_word(block, word(block) + 1)
                return block
            block = c.seen[key] = c.block(size)
            set_word(block + 8, tag)
            c.jobs.append((fill, v, block))
            return block

        return write

    def _case(self, cls: Any, fields: list[tuple[str, Type]]) -> Callable[[Any, Writing, int], None]:
        names, types = [n for n, _ in fields], [ft for _, ft in fields]
        write = self._fields(types, [f"v[{n!r}]" for n in names], [f" ({cls._hyb_name}).{n}" for n in names])
        pack = self.layouts.row(types).struct.pack_into

        def fill(v: Any, c: Writing, block: int) -> None:
            before = len(c.jobs)
            c.open.add(block)
            try:
                pack(MEMORY, block + HEADER, *write(v.__dict__, c, block + HEADER))
            except KeyError as e:
                raise Misfit(cls._hyb_name, f"one without field {e}") from None
            if len(c.jobs) > before:
                # Below the work of its parts: a value met again until then contains itself.
                c.jobs.insert(before, (close, None, block))
            else:
                c.open.discard(block)

        return fill

    # ---- sequences
    def _buffer(self, item: Type) -> Writer:
        items = self._items(item)
        return lambda v, c, at: items(v, c)

    def _list(self, t: Type, item: Type) -> Writer:
        items, expected = self._items(item), self.codec.show(t)
        order = [n for n, _ in self.layouts.structs[t[1]]]
        data_first = order.index("data") < order.index("size")

        def write(v: Any, c: Writing, at: int) -> Any:
            if not isinstance(v, (list, tuple)):
                v = _as_list(v, expected)
            block = items(v, c)
            return (block, len(v)) if data_first else (len(v), block)

        return write

    def _items(self, item: Type) -> Callable[[Any, Writing], int]:
        """f(list, writing) -> block"""
        layout = self.layouts.of(item)
        write, single, size = self.writer(item), self._single(item), layout.size
        pack = layout.struct.pack_into
        char = layout.chars[0] if single else ""
        exact = EXACT.get(item) if isinstance(item, str) else None

        def items(v: Any, c: Writing) -> int:
            count = len(v)
            if not count:
                return 0
            block = c.block(HEADER + size * count)
            set_word(block + 8, count)
            at = block + HEADER
            if exact is not None and set(map(type, v)) == {exact}:
                try:
                    struct.pack_into(f"={count}{char}", MEMORY, at, *v)
                    return block
                except (struct.error, OverflowError):
                    pass  # the one that does not fit is found below
            x: Any = None
            i = 0
            try:
                if single:
                    leaves = []
                    for i, x in enumerate(v):
                        leaves.append(write(x, c, at + size * i))
                    struct.pack_into(f"={count}{char}", MEMORY, at, *leaves)
                else:
                    for x in v:
                        leaves = write(x, c, at)
                        pack(MEMORY, at, *leaves)
                        at += size
                        i += 1
            except Misfit as e:
                raise e.at(f"[{i}]") from None
            return block

        return items

    def _graph(self, t: Type) -> Writer:
        native, parts = self.codec.special_writer(t), self._wire(t)

        def write(v: Any, c: Writing, at: int) -> Any:
            return (parts if getattr(v, "_owned", None) is None else native)(v, c, at)

        return write

    def _wire(self, t: Type) -> Writer:
        """Containers that a compiled helper makes from a list, or two for a graph."""
        codec, kind = self.codec, self.codec.kind(t)
        wire = codec.wire_type(t)
        write, layout = self.writer(wire), self.layouts.of(t)
        expected, name = codec.show(t), kind.kind
        deferred = codec.holds_pointers(wire)

        def wire_of(v: Any) -> Any:
            if name == "map":
                if not isinstance(v, Mapping):
                    raise Misfit(expected, arrays.kind_of(v))
                return list(v.items())
            if name == "set":
                if not isinstance(v, AbstractSet):
                    raise Misfit(expected, arrays.kind_of(v))
                return list(v)
            if name == "graph":
                return _nodes_and_edges(v, expected)
            if name == "deque" and isinstance(v, deque) or isinstance(v, (list, tuple)):
                return list(v)
            raise Misfit(expected, arrays.kind_of(v))

        def convert(leaves: Any, c: Writing, target: int, mark: int) -> None:
            consumed = c.log[mark:]
            del c.log[mark:]
            codec.program.count_live(sum(1 for entry in consumed if type(entry) is int))
            codec.from_wire(t, leaves, target)
            c.log.append(lambda: codec.release_at(t, target))

        def later(job: Any, c: Writing, target: int) -> None:
            leaves, mark = job
            convert(leaves, c, target, mark)

        def write_wire(v: Any, c: Writing, at: int) -> Any:
            items = wire_of(v)
            mark = len(c.log)
            if deferred:
                position = len(c.jobs)
                leaves = _in_map(write, items, c, name)
                c.jobs.insert(position, (later, (leaves, mark), at))
                return layout.zeros
            leaves = _in_map(write, items, c, name)
            convert(leaves, c, at, mark)
            return layout.struct.unpack_from(MEMORY, at)

        return write_wire


def _nodes_and_edges(v: Any, expected: str) -> Any:
    if not isinstance(v, tuple) or len(v) != 2:
        raise Misfit(f"{expected}, native or (nodes, edges)", arrays.kind_of(v))
    nodes, edges = v
    if isinstance(nodes, (list, tuple)) and isinstance(edges, (list, tuple)):  # else the writers of lists refuse them
        for i, edge in enumerate(edges):
            for k, u in enumerate(edge[:2] if isinstance(edge, tuple) else ()):
                if isinstance(u, int) and not 0 <= u < len(nodes):
                    known = f"a node from 0 to {len(nodes) - 1}" if nodes else "one of no nodes"
                    raise Misfit(known, repr(u)).at(f"[{k}]").at(f"[{i}]").at("[1]")
    return v


def _in_map(write: Writer, items: Any, c: Writing, kind: str) -> Any:
    """Errors in a map or set say the key, not the place in the list that it crosses as."""
    try:
        return write(items, c, 0)
    except Misfit as e:
        if kind in ("map", "set") and e.path:
            index = int(e.path.pop().strip("[]"))
            if kind == "map" and e.path:
                part = e.path.pop()
                e.at(f"[{items[index][0]!r}]" if part == "[1]" else f" key {items[index][0]!r}")
            else:
                e.at(f" item {items[index]!r}")
        raise


def close(_: Any, c: Writing, block: int) -> None:
    c.open.discard(block)


def same_class(cls: Any, other: Any) -> bool:
    """The class of the same declaration in another module object (a file loaded twice)."""
    return (
        getattr(other, "_hyb_name", None) == cls._hyb_name and getattr(other, "_hyb_fields", None) == cls._hyb_fields
    )


def _as_list(v: Any, expected: str) -> list[Any]:
    if isinstance(v, (range, deque)):
        return list(v)
    if hasattr(v, "tolist") and getattr(v, "ndim", 0) > 0:
        return list(v) if v.ndim > 1 else v.tolist()
    raise Misfit(expected, arrays.kind_of(v))
