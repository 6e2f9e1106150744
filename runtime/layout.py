"""Where the parts of a native value lie: the natural C layout of Core's types, as formats of the `struct` module.

A value is a row of *leaves*, its scalars and pointers in order; a struct or tuple is the leaves of its fields, an
option a bool and then its item's, a tensor (owner, data, dimensions), a buffer or an enum with fields one pointer, an
enum without any its tag. One `pack_into` or `unpack_from` moves a whole row.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import cached_property

from hybridc_runtime.manifest import Manifest, Type
from hybridc_runtime.memory import align_up, allocate, set_word

SCALARS = {
    "bool": ("?", 1), "u8": ("B", 1), "i32": ("i", 4), "int": ("q", 8),
    "f64": ("d", 8), "f32": ("f", 4), "f16": ("e", 2), "bf16": ("H", 2),
}
ZEROS = {"?": False, "f": 0.0, "d": 0.0, "e": 0.0}


class Layout:
    """Leaves of a type: format characters and offsets; `counted` says which leaves point to counted blocks."""

    def __init__(self, chars: Sequence[str], offsets: Sequence[int], size: int, align: int, counted: Sequence[bool]):
        self.chars, self.offsets, self.size, self.align, self.counted = chars, offsets, size, align, counted

    @cached_property
    def format(self) -> str:
        """Native byte order, padding written out, no trailing alignment but the size's."""
        text, at = "=", 0
        for char, offset in zip(self.chars, self.offsets, strict=True):
            if offset > at:
                text += f"{offset - at}x"
            text += char
            at = offset + struct.calcsize("=" + char)
        return text + (f"{self.size - at}x" if self.size > at else "")

    @cached_property
    def struct(self) -> struct.Struct:
        return struct.Struct(self.format)

    @cached_property
    def zeros(self) -> tuple[object, ...]:
        return tuple(ZEROS.get(c, 0) for c in self.chars)

    @cached_property
    def blocks(self) -> list[int]:
        """Which leaves point to counted blocks."""
        return [i for i, counted in enumerate(self.counted) if counted]

    @cached_property
    def table(self) -> int:
        """The address of how many these are, and which, for machine code; for good, as layouts are."""
        address = allocate(8 + 8 * len(self.blocks))
        for i, n in enumerate((len(self.blocks), *self.blocks)):
            set_word(address + 8 * i, n)
        return address


class Layouts:
    """Layouts of a program's types, each computed once."""

    def __init__(self, manifest: Manifest):
        self.structs, self.enums = manifest.structs, manifest.enums
        self._known: dict[Type, Layout] = {}
        self._plain = {name: all(not fields for _, fields in cases) for name, cases in manifest.enums.items()}

    def plain(self, enum: str) -> bool:
        """Has no case fields? Then a value is its tag."""
        return self._plain[enum]

    def of(self, t: Type) -> Layout:
        found = self._known.get(t)
        if found is None:
            found = self._known[t] = self._compute(t)
        return found

    def row(self, types: Sequence[Type]) -> Layout:
        """Several values as one C struct: arguments, results, the fields of a case."""
        return self.of(("tuple", tuple(types)))

    def offsets(self, types: Sequence[Type]) -> list[int]:
        """Where each of several values begins in their common C struct."""
        at, out = 0, []
        for t in types:
            inner = self.of(t)
            at = align_up(at, inner.align)
            out.append(at)
            at += inner.size
        return out

    def fields(self, t: Type) -> list[Type]:
        """The parts of a tuple or struct."""
        return list(t[1]) if t[0] == "tuple" else [ft for _, ft in self.structs[t[1]]]

    def _compute(self, t: Type) -> Layout:
        if isinstance(t, str):
            char, size = SCALARS[t]
            return Layout([char], [0], size, size, [False])
        match t[0]:
            case "tensor":
                rank = len(t[2])
                words = 2 + rank
                offsets = [8 * i for i in range(words)]
                return Layout(["q"] * words, offsets, 8 * words, 8, [True] + [False] * (words - 1))
            case "buffer":
                return Layout(["q"], [0], 8, 8, [True])
            case "enum":
                return Layout(["q"], [0], 8, 8, [not self.plain(t[1])])
            case "option":
                return self._sequence(["bool", t[1]])
            case "tuple" | "struct":
                return self._sequence(self.fields(t))
        raise TypeError(f"not a type: {t!r}")

    def _sequence(self, types: Sequence[Type]) -> Layout:
        chars: list[str] = []
        offsets: list[int] = []
        counted: list[bool] = []
        at, align = 0, 1
        for t in types:
            inner = self.of(t)
            at = align_up(at, inner.align)
            chars += inner.chars
            offsets += [at + o for o in inner.offsets]
            counted += inner.counted
            at += inner.size
            align = max(align, inner.align)
        return Layout(chars, offsets, align_up(at, align), align, counted)


def type_key(t: Type) -> str:
    """The type as Core writes it with every dimension unknown: the name of its helpers in an object."""
    if isinstance(t, str):
        return t
    match t[0]:
        case "tensor":
            return f"{t[1]}[{', '.join('?' for _ in t[2])}]"
        case "tuple":
            return "(" + ", ".join(map(type_key, t[1])) + ("," if len(t[1]) == 1 else "") + ")"
        case "option":
            return f"{type_key(t[1])}?"
        case "buffer":
            return f"buffer[{type_key(t[1])}]"
    return _shown_name(t[1])


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_WORDS = frozenset(
    "bool int i32 u8 f64 f32 f16 bf16 buffer struct enum fn hidden yield exit fault call if else match loop scope"
    " parallel true false none nan inf".split()
)


def _shown_name(name: str) -> str:
    if _PLAIN_NAME.match(name) and name not in _WORDS:
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n").replace("\r", "\\r")
    return f"`{escaped}`"


def erased(t: Type) -> Type:
    """With every dimension unknown."""
    if isinstance(t, str):
        return t
    match t[0]:
        case "tensor":
            return ("tensor", t[1], (None,) * len(t[2]))
        case "tuple":
            return ("tuple", tuple(erased(i) for i in t[1]))
        case "option" | "buffer":
            return (t[0], erased(t[1]))
    return t
