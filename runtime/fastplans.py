"""Makes the plans of fast calls, rows of words, from the types of a program's entries."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hybridc_runtime import fastplan as plan
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.layout import erased
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import MEMORY, PAIR, allocate, free, set_word, word

if TYPE_CHECKING:
    from hybridc_runtime.calls import Caller
    from hybridc_runtime.codec import Codec

LEAF_KINDS = {"q": plan.I64, "i": plan.I32, "B": plan.U8, "?": plan.BOOL, "d": plan.F64, "f": plan.F32}
NATIVE_READ = frozenset(("fn", "model", "graph", "rng", "store"))
"""Kinds that do not leave a program by value."""


class Plans:
    """Nodes and heads of one program. They live as long as this; so do the objects whose addresses they hold."""

    scalars: Mapping[str, int] = plan.SCALARS
    tensors = frozenset(DTYPES) - {"bf16"}
    """What elements of tensors may be."""

    def __init__(self, codec: Codec):
        self.codec = codec
        self.layouts = codec.layouts
        self._nodes: dict[Any, int | None] = {}
        self._heads: dict[int, int | None] = {}
        self._keep: list[object] = []
        self._memory: list[int] = []
        self._natives: dict[Type, list[int]] = {}

    def __del__(self) -> None:
        for address in self._memory:
            free(address)

    def _object(self, value: object) -> int:
        """The address of an object that stays alive."""
        self._keep.append(value)
        return id(value)

    def row(self, words: list[int]) -> int:
        """The address of a row of words that stay."""
        address = self._place(len(words))
        self._fill(address, words)
        return address

    def _place(self, words: int) -> int:
        self._memory.append(allocate(8 * words))
        return self._memory[-1]

    def _fill(self, address: int, words: list[int]) -> None:
        struct.pack_into(f"={len(words)}q", MEMORY, address, *words)

    # ---- nodes
    def node(self, t: Type) -> int | None:
        """The node of a type; None where its values do not cross fast."""
        if t not in self._nodes:
            before = len(self._nodes)
            self._nodes[t] = None
            try:
                self._nodes[t] = self._make(t)
            except Unfit:
                # What was made within may hold the address of an enum that met itself and is no node after all.
                for within in list(self._nodes)[before:]:
                    del self._nodes[within]
                self._nodes[t] = None
        return self._nodes[t]

    def _need(self, t: Type) -> int:
        found = self.node(t)
        if found is None:
            raise Unfit
        return found

    def _make(self, t: Type) -> int:
        size = self.layouts.of(t).size
        if isinstance(t, str):
            if t not in self.scalars:
                raise Unfit
            return self.row([self.scalars[t], size])
        match t[0]:
            case "tensor":
                return self._tensor(t, size)
            case "tuple":
                offsets = self.layouts.offsets(list(t[1]))
                fields = [w for part, at in zip(t[1], offsets, strict=True) for w in (0, self._need(part), at)]
                return self.row([plan.TUPLE, size, 0, len(t[1]), *fields])
            case "option":
                return self.row([plan.OPTION, size, self._need(t[1]), self.layouts.offsets(["bool", t[1]])[1]])
            case "enum":
                return self._enum(t, size)
        if t[0] != "struct":
            raise Unfit
        match self.codec.kind(t).kind:
            case "str":
                if [ft for _, ft in self.layouts.structs[t[1]]] != [("buffer", "u8"), "int", "int"]:
                    raise Unfit
                return self.row([plan.TEXT, size])
            case "list":
                places = self._places(t)
                item = self._need(self.codec.kind(t).args[0])
                return self.row([plan.LIST, size, item, places["data"], places["size"]])
            case "struct":
                cls = self._object(self.codec.class_of(t))
                fields = self._fields(self.layouts.structs[t[1]])
                return self.row([plan.STRUCT, size, cls, len(fields) // 3, *fields])
            case "model" | "rng":
                return self.native(t)
            case kind if kind in plan.CONTAINERS:
                return self._container(t, plan.CONTAINERS[kind])
        raise Unfit

    def _container(self, t: Type, kind: int) -> int:
        codec, layout = self.codec, self.layouts.of(t)
        wire = codec.wire_type(t)
        sizes = layout.size, self.layouts.of(wire).size
        if max(sizes) > plan.WIRE_BOX:
            raise Unfit
        helpers = codec.kind(t).helpers
        entries = [codec.program.code.entry("hyb." + helpers[name]) for name in ("to_wire", "from_wire")]
        owners = [layout.offsets[i] for i in layout.blocks]
        words = [plan.WIRE, sizes[0], self._need(wire), sizes[1], *entries, self.release(wire), self.release(t), kind]
        return self.row([*words, len(owners), *owners])

    def _places(self, t: Type) -> dict[str, int]:
        pairs = self.layouts.structs[t[1]]
        return dict(zip([n for n, _ in pairs], self.layouts.offsets([ft for _, ft in pairs]), strict=True))

    def _tensor(self, t: Type, size: int) -> int:
        if t[1] not in self.tensors:
            raise Unfit
        dtype = DTYPES[t[1]]
        dims = [-1 if d is None else d for d in t[2]]
        return self.row([plan.TENSOR, size, id(dtype), dtype.num, dtype.itemsize, len(dims), *dims])

    def _fields(self, pairs: list[tuple[str, Type]]) -> list[int]:
        offsets = self.layouts.offsets([ft for _, ft in pairs])
        words = []
        for (name, ft), at in zip(pairs, offsets, strict=True):
            words += [self._object(sys.intern(name)), self._need(ft), at]
        return words

    def _enum(self, t: Type, size: int) -> int:
        if self.codec.kind(t).kind == "fn":
            raise Unfit
        cls, cases = self.codec.class_of(t), self.layouts.enums[t[1]]
        plain = self.layouts.plain(t[1])
        address = self._place(4 + 6 * len(cases))
        self._nodes[t] = address  # a recursive type meets itself
        words = [plan.PLAIN if plain else plan.ENUM, size, 0, len(cases)]
        for tag, (name, fields) in enumerate(cases):
            words.append(self._object(cls._hyb_classes[tag]))
            if fields:
                block = plan.HEADER + self.layouts.row([ft for _, ft in fields]).size
                row = self._fields(fields)
                words += [0, block, tag, len(fields), self.row(row)]
            else:
                words += [self._object(getattr(cls, name)), 0, tag if plain else self._static(tag), 0, 0]
        self._fill(address, words)
        return address

    def _static(self, tag: int) -> int:
        """The block of a case without fields. It is never freed: a value may hold it as long as the process lives."""
        block = allocate(plan.HEADER)
        PAIR.pack_into(MEMORY, block, -1, tag)
        return block

    def native(self, t: Type) -> int:
        """The node of values of a type that stay native."""
        layout = self.layouts.of(t)
        if layout.size > plan.BOX:
            raise Unfit
        kind = plan.OWNED
        if not isinstance(t, str) and t[0] == "struct" and self.codec.kind(t).kind == "rng":
            kind = plan.RNG
        leaves: list[int] = []
        for char, offset, counted in zip(layout.chars, layout.offsets, layout.counted, strict=True):
            if char not in LEAF_KINDS:
                raise Unfit
            leaves += [LEAF_KINDS[char], offset, int(counted)]
        head = [kind, layout.size, id(self.codec), len(layout.chars), self._object(erased(t)), self.release(t)]
        address = self.row([*head, self.codec.panel_places(t), 0, *leaves])
        self._natives.setdefault(erased(t), []).append(address)
        other = self.codec.alike.get(erased(t))
        if other is not None:
            self.alike(erased(t), other)
        return address

    def alike(self, t: Type, other: Codec) -> None:
        """Values of a type, without the names of dimensions, may be another program's as well."""
        for address in self._natives.get(t, []):
            set_word(address + plan.ALIKE, self._object(other))

    def release(self, t: Type) -> int:
        """The address of the compiled release of a type, 0 where there is nothing to release."""
        if not self.layouts.of(t).blocks:
            return 0
        address = self.codec.release_address(t)
        if not address:
            raise Unfit
        return address

    def readable(self, t: Type, seen: set[Type] | None = None) -> bool:
        """Can a value of the type, which has a node, be read by fast calls?"""
        seen = set() if seen is None else seen
        if isinstance(t, str) or t[0] == "tensor" or t in seen:
            return True
        seen.add(t)
        if t[0] == "tuple":
            return all(self.readable(i, seen) for i in t[1])
        if t[0] in ("option", "buffer"):
            return self.readable(t[1], seen)
        kind = self.codec.kind(t)
        if kind.kind in NATIVE_READ:
            return False
        if kind.kind == "list":
            return self.readable(kind.args[0], seen)
        if kind.kind in plan.CONTAINERS:
            # Keys that refer to themselves are hashed when all of them are there.
            hashed_later = kind.kind in ("map", "set") and self.codec.holds_pointers(kind.args[0])
            return not hashed_later and all(self.readable(a, seen) for a in kind.args)
        if t[0] == "enum":
            return all(self.readable(ft, seen) for _, fields in self.layouts.enums[t[1]] for _, ft in fields)
        return all(self.readable(ft, seen) for _, ft in self.layouts.structs[t[1]])

    # ---- heads
    def head(self, caller: Caller, method: bool, cell: Any) -> int | None:
        """The head of an entry, called with a cell's context; None where its calls cannot be fast."""
        if id(caller) not in self._heads:
            self._keep.append(caller)
            try:
                self._heads[id(caller)] = self._head(caller, method, cell)
            except Unfit:
                self._heads[id(caller)] = None
        return self._heads[id(caller)]

    def _head(self, caller: Caller, method: bool, cell: Any) -> int:
        entry, types = caller.entry, caller.types
        function = self.codec.program.code.find("hyb." + entry.symbol)
        results_at = -(-caller.args_layout.size // 16) * 16
        if not function or caller.alike or len(types) > plan.MOST or results_at + caller.results_layout.size > plan.BOX:
            raise Unfit
        flags = 0 if entry.pace == "brief" else plan.LONG
        flags |= plan.DEEP if entry.pace == "deep" else 0
        flags |= plan.KEEP if caller.keeps else 0
        flags |= plan.LOCKED if method and caller.muts[:1] == [0] else 0
        values = len(caller.results) - len(caller.muts)
        words = [
            function, cell.address, len(types), flags, results_at, values, len(caller.muts),
            self.codec.program.live, self._object(cell.fault), self._object(caller.complete),
        ]
        for t, offset, param in zip(types, caller.offsets, entry.params, strict=True):
            words += [self._need(t), offset, self._native_or_none(t), int(param.stays)]
        for k, (t, offset) in enumerate(zip(caller.results, caller.result_offsets, strict=True)):
            mut = k - values
            if mut < 0 and not self.readable(t):
                raise Unfit
            if mut >= 0 and not self._changes(t):
                raise Unfit
            words += [self._need(t), offset, self.release(t), caller.muts[mut] if mut >= 0 else 0]
        return self.row(words)

    def _changes(self, t: Type) -> bool:
        """Does fastcode.change know how to change an argument of this type in place?"""
        node = self.node(t)
        if node is None:
            return False
        return word(node) in (plan.OWNED, plan.RNG, plan.TENSOR) or (
            word(node) in (plan.LIST, plan.STRUCT) and self.readable(t)
        )

    def _native_or_none(self, t: Type) -> int:
        if isinstance(t, str) or t[0] == "tensor":
            return 0
        try:
            return self.native(t)
        except Unfit:
            return 0


class Unfit(Exception):
    """A type whose values do not cross fast."""
