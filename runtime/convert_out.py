"""Native values to Python, one reader made for each type.

A reader is a Python function of a value's leaves and the reading in progress. For structs, tuples, options and lists
its source is written out here and compiled. An enum with fields is created empty and its fields are read later from a
worklist, so that a value nested a million deep needs no recursion; a block with several owners is read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime import arrays
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import HEADER, MEMORY, PAIR, TAGGED, set_word, word

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

Reader = Callable[..., Any]


STEAL = 1 << 14
"""An array of at least so many bytes keeps the memory that compiled code made for it, if nobody else will have it."""


class Ordered(set[Any]):
    """A set on its way from a program to bytes or back, which is walked as the program walks it."""

    def __init__(self, items: Iterable[Any] = ()):
        super().__init__()
        self.items: list[Any] = []
        self.update(items)

    def update(self, *others: Iterable[Any]) -> None:
        for items in others:
            self.items += items
        super().update(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Reading:
    """One value's way out: work to do, temporaries to release, and what was read before, by address. `alone`: what
    holds the part that is read now has one owner, who lets go of it after the reading. `ordered`: sets are."""

    __slots__ = ("jobs", "temps", "seen", "torch", "alone", "ordered")

    def __init__(self, torch: bool = False, *, alone: bool = False, ordered: bool = False):
        self.jobs: list[tuple[Callable[..., None], int, Any, bool]] = []
        """What to call, with which address and target, and whether alone."""
        self.temps: list[tuple[Type, int]] = []
        self.seen: dict[int, Any] = {}
        self.torch, self.alone, self.ordered = torch, alone, ordered

    def finish(self) -> None:
        jobs = self.jobs
        while jobs:
            fill, address, target, self.alone = jobs.pop()
            fill(address, target, self)


class Readers:
    """Makes and keeps the readers of one program's types."""

    def __init__(self, codec: Codec):
        self.codec = codec
        self.layouts = codec.layouts
        self._readers: dict[Type, Reader] = {}
        self._space: dict[str, Any] = {"MEMORY": MEMORY, "new": object.__new__}
        self._count = 0

    def reader(self, t: Type) -> Reader:
        """f(*leaves, reading) -> value"""
        found = self._readers.get(t)
        if found is None:
            names = [f"l{i}" for i in range(len(self.layouts.of(t).chars))]
            found = self._readers[t] = self._compile([*names, "r"], "return " + self.expression(t, iter(names)))
        return found

    def read(self, t: Type, address: int, reading: Reading) -> Any:
        """The value at an address; `reading.finish()` completes it."""
        return self.reader(t)(*self.layouts.of(t).struct.unpack_from(MEMORY, address), reading)

    def _compile(self, params: list[str], body: str) -> Reader:
        scope: dict[str, Any] = {}
        exec(f"def f({', '.join(params)}):\n    " + body.replace("\n", "\n    "), self._space, scope)  # noqa: S102 (our own text)
        return scope["f"]

    def _name(self, value: object) -> str:
        self._count += 1
        name = f"v{self._count}"
        self._space[name] = value
        return name

    # ---- expressions over leaves
    def expression(self, t: Type, leaves: Iterator[str]) -> str:
        """Python source for the value whose leaves have these names."""
        if isinstance(t, str):
            leaf = next(leaves)
            return f"{self._name(_bf16)}({leaf})" if t == "bf16" else leaf
        match t[0]:
            case "tensor":
                rank = len(t[2])
                names = [next(leaves) for _ in range(2 + rank)]
                dims = ", ".join(names[2:])
                return f"{self._name(self._tensor_reader(t[1]))}({names[0]}, {names[1]}, ({dims},), r)"
            case "tuple":
                items = [self.expression(i, leaves) for i in t[1]]
                return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
            case "option":
                has = next(leaves)
                return f"({self.expression(t[1], leaves)} if {has} else None)"
            case "buffer":
                return f"{self._name(self._lazy(self._buffer_reader, t))}({next(leaves)}, r)"
            case "enum":
                return self._enum_expression(t, next(leaves))
        return self._struct_expression(t, leaves)

    def _struct_expression(self, t: Type, leaves: Iterator[str]) -> str:
        kind = self.codec.kind(t)
        names: dict[str, list[str]] = {}
        for field, ft in self.layouts.structs[t[1]]:
            names[field] = [next(leaves) for _ in self.layouts.of(ft).chars]
        every = [n for group in names.values() for n in group]
        match kind.kind:
            case "str":
                return f"{self._name(read_text)}({every[0]}, {every[1]})"
            case "list":
                read = self._lazy(self._items_reader, kind.args[0])
                return f"{self._name(read)}({names['data'][0]}, {names['size'][0]}, r)"
            case "map" | "set" | "deque" | "heap":
                return f"{self._name(self._lazy(self._wire_reader, t))}({', '.join(every)}, r)"
            case "struct":
                cls = self._name(self.codec.class_of(t))
                fields = [(field, self.expression(ft, iter(names[field]))) for field, ft in self.layouts.structs[t[1]]]
                return f"{self._name(_make_record)}({cls}, {{{', '.join(f'{f!r}: {e}' for f, e in fields)}}})"
        return f"{self._name(self.codec.special_reader(t))}(({', '.join(every)}{',' if len(every) == 1 else ''}), r)"

    def _enum_expression(self, t: Type, leaf: str) -> str:
        kind = self.codec.kind(t)
        if kind.kind == "fn":
            return f"{self._name(self.codec.special_reader(t))}(({leaf},), r)"
        if self.layouts.plain(t[1]):
            cls = self.codec.class_of(t)
            return f"{self._name([getattr(cls, case) for case in cls._hyb_cases])}[{leaf}]"
        return f"{self._name(self._lazy(self._enum_reader, t))}({leaf}, r)"

    def _lazy(self, make: Callable[[Type], Reader], t: Type) -> Reader:
        """The reader `make` gives for the type, made at the first use (types may be recursive)."""
        key = (make.__name__, t)
        found = self._readers.get(key)
        if found is None:
            def first(*args: Any) -> Any:
                holder[0] = make(t)
                return holder[0](*args)

            holder: list[Reader] = [first]

            def found(*args: Any) -> Any:
                return holder[0](*args)

            self._readers[key] = found
        return found

    # ---- parts behind pointers
    def _buffer_reader(self, t: Type) -> Reader:
        read = self._items_reader(t[1])

        def buffer(block: int, r: Reading) -> Any:
            return read(block, PAIR.unpack_from(MEMORY, block)[1] if block else 0, r)

        return buffer

    def _items_reader(self, item: Type) -> Reader:
        """f(block, count, reading) -> list"""
        layout = self.layouts.of(item)
        size, unpack = layout.size, layout.struct.iter_unpack
        if not size:
            read = self.reader(item)
            return lambda block, n, r: [read(r) for _ in range(n)]
        names = [f"l{i}" for i in range(len(layout.chars))]
        value = self.expression(item, iter(names))
        source = f"{self._name(unpack)}(MEMORY[block + {HEADER}:block + {HEADER} + n * {size}])"
        target = ", ".join(names) + ("," if len(names) == 1 else "")
        read = self._compile(["block", "n", "r"], f"return [{value} for {target} in {source}] if n else []")
        if not layout.blocks:
            return read

        def items(block: int, n: int, r: Reading) -> Any:
            before = r.alone
            r.alone = before and n > 0 and word(block) == 1
            found = read(block, n, r)
            r.alone = before
            return found

        return items

    def _tensor_reader(self, elem: str) -> Reader:
        """f(owner, data, dims, reading) -> an array, new or over the memory that compiled code made"""
        dtype = arrays.DTYPES[elem]
        size, drop = dtype.itemsize, self.codec.program.drop_block

        def tensor(owner: int, data: int, dims: tuple[int, ...], r: Reading) -> Any:
            count = 1
            for d in dims:
                count *= d
            alone = r.alone and owner and word(owner) == 1 and word(owner + 8) >= 0
            if alone and count * size >= STEAL and elem != "bf16":
                set_word(owner, 2)
                holder = arrays.Holder(data, count * size, lambda: drop(owner))
                a = np.frombuffer(holder.memory, dtype).reshape(dims)
            else:
                a = np.empty(dims, dtype)
                if count:
                    a.reshape(-1).view(np.uint8)[:] = MEMORY[data:data + count * size]
            if r.torch:
                return arrays.to_torch(a, elem)
            return arrays.from_bf16(a) if elem == "bf16" else a

        return tensor

    def _enum_reader(self, t: Type) -> Reader:
        """f(pointer, reading) -> instance, its fields to come"""
        cls = self.codec.class_of(t)
        cases: list[tuple[Any, Any]] = []
        for i, (name, fields) in enumerate(self.layouts.enums[t[1]]):
            if fields:
                cases.append((cls._hyb_classes[i], self._case_filler([n for n, _ in fields], [ft for _, ft in fields])))
            else:
                cases.append((getattr(cls, name), None))
        unpack, new = TAGGED.unpack_from, object.__new__

        def enum(pointer: int, r: Reading) -> Any:
            owners, tag = unpack(MEMORY, pointer)
            case, fill = cases[tag]
            if fill is None:
                return case
            if owners != 1:
                value = r.seen.get(pointer)
                if value is not None:
                    return value
                value = r.seen[pointer] = new(case)
            else:
                value = new(case)
            r.jobs.append((fill, pointer, value.__dict__, r.alone and owners == 1))
            return value

        return enum

    def _case_filler(self, names: list[str], types: list[Type]) -> Reader:
        layout = self.layouts.row(types)
        leaves = [f"l{i}" for i in range(len(layout.chars))]
        source = iter(leaves)
        values = [(name, self.expression(t, source)) for name, t in zip(names, types, strict=True)]
        unpack = self._name(layout.struct.unpack_from)
        lines = []
        if leaves:
            lines.append(f"{', '.join(leaves)}{',' if len(leaves) == 1 else ''} = {unpack}(MEMORY, address + {HEADER})")
        lines += [f"d[{name!r}] = {value}" for name, value in values]
        return self._compile(["address", "d", "r"], "\n".join(lines))

    def _wire_reader(self, t: Type) -> Reader:
        """Containers that cross as a list made by a compiled helper."""
        codec, kind = self.codec, self.codec.kind(t)
        wire = codec.wire_type(t)
        read = self.reader(wire)
        unpack = self.layouts.of(wire).struct.unpack_from
        hashed_later = kind.kind in ("map", "set") and codec.holds_pointers(kind.args[0])

        def items(leaves: tuple[Any, ...], r: Reading) -> Any:
            address = codec.wire_of(t, leaves)
            r.temps.append((wire, address))
            return read(*unpack(MEMORY, address), r)

        def collect(address: int, target: Any, r: Reading) -> None:
            target[0].update(target[1])

        def later(empty: Any, values: Any, r: Reading) -> Any:
            # The keys can be hashed when their fields are there: below everything pushed for them.
            r.jobs.append((collect, 0, (empty, values), False))
            return empty

        def container(*args: Any) -> Any:
            r = args[-1]
            if not hashed_later:
                values = items(args[:-1], r)
                match kind.kind:
                    case "map":
                        return dict(values)
                    case "set":
                        return Ordered(values) if r.ordered else set(values)
                    case "deque":
                        return deque(values)
                return values
            empty: Any = {} if kind.kind == "map" else Ordered() if r.ordered else set()
            pairs: list[Any] = []
            later(empty, pairs, r)
            pairs.extend(items(args[:-1], r))
            return empty

        return container


def _make_record(cls: Any, fields: dict[str, Any]) -> Any:
    value = object.__new__(cls)
    value.__dict__.update(fields)
    return value


def read_text(block: int, size: int) -> str:
    return str(MEMORY[block + HEADER:block + HEADER + size], "utf-8", "replace") if size else ""


def _bf16(bits: int) -> float:
    return float(arrays.from_bf16(np.array([bits], np.uint16))[0])


__all__ = ["Reading", "Readers", "read_text"]
