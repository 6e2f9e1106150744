"""A program's LLVM text, function by function, as it is before it is divided into pieces (partition.py). It can be kept
in a file, and is read again without the rest of the compiler."""

from __future__ import annotations

import marshal
import re
import zlib
from dataclasses import astuple, dataclass

NAME = re.compile(r'@(?:"[^"]*"|[\w.$]+)')
"""A global in a text."""
LOOP = "!loop"
"""Stands for the number of a loop's metadata until a text is put together."""


def symbol(name: str) -> str:
    """A global's name as LLVM text; any character is allowed."""
    if all(c.isalnum() and c.isascii() or c in "._$" for c in name):
        return "@" + name
    return (
        '@"'
        + "".join(
            c if 32 <= ord(c) < 127 and c not in '"\\' else "".join(f"\\{b:02X}" for b in c.encode()) for c in name
        )
        + '"'
    )


def plain(symbol: str) -> str:
    """The name that `symbol` wrote."""
    written = symbol[1:].strip('"').encode()
    return re.sub(rb"\\([0-9A-F]{2})", lambda m: bytes.fromhex(m[1].decode()), written).decode()


@dataclass(frozen=True)
class Def:
    """A function as text."""

    name: str
    exported: bool
    """Is it called from outside the program?"""
    signature: str
    """What stands between `declare` and the attributes."""
    head: str
    """What stands between the linkage and the body."""
    body: str
    size: int
    """Lines."""
    uses: tuple[str, ...]
    """What its body names, itself not: functions, constants, numbers."""

    def text(self, linkage: str) -> str:
        return f"define {linkage} {self.head} {{\n{self.body}\n}}"


@dataclass
class Text:
    """All of a program. Everything is named as LLVM names it."""

    defs: dict[str, Def]
    constants: dict[str, str]
    """By name, the text that defines it."""
    declared: dict[str, str]
    """Functions of the C library and LLVM's own: by name the signature."""
    numbers: dict[str, int]
    """Constants that the whole program decides."""
    more: list[str]
    """Variables."""

    @property
    def size(self) -> int:
        """Lines."""
        return sum(d.size for d in self.defs.values())

    def to_bytes(self) -> bytes:
        defs = [astuple(d) for d in self.defs.values()]
        return zlib.compress(marshal.dumps((defs, self.constants, self.declared, self.numbers, self.more)), 1)

    @staticmethod
    def from_bytes(data: bytes) -> Text:
        """Of bytes that `to_bytes` made (others may break the process)."""
        defs, *rest = marshal.loads(zlib.decompress(data))
        return Text({d[0]: Def(*d) for d in defs}, *rest)
