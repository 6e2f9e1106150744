"""Immutable values: small records that are compared by what they hold, and never change.

They are `@dataclass(frozen=True, slots=True)`, but that nothing is written to one is seen to by the type checker alone,
not in the making of each: a compile begins by declaring some two hundred kinds of them, and makes them by the hundred
thousand, each in a third of the time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

__all__ = ["immutable"]

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable
else:

    def immutable(*, frozen: bool, slots: bool):
        def made(cls: type) -> type:
            if "__repr__" not in vars(cls):
                cls.__repr__ = _shown
            return dataclass(slots=True, unsafe_hash="__hash__" not in vars(cls), repr=False)(cls)

        return made


def _shown(self: Any) -> str:
    parts = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({parts})"
