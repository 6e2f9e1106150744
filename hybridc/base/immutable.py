"""Immutable values: small records that are compared by what they hold, and never change.

They are `@dataclass(frozen=True, slots=True)`, but that nothing is written to one is seen to by the type checker alone,
not in the making of each: a compile begins by declaring some two hundred kinds of them, and makes them by the hundred
thousand, each in a third of the time. `replace` is that of dataclasses, in a third of the time too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

__all__ = ["immutable", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable
    from dataclasses import replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """Like a value, with other fields."""
        return _maker(type(value))(value, **changes)

    def immutable(*, frozen: bool, slots: bool):
        def made(cls: type) -> type:
            if "__repr__" not in vars(cls):
                cls.__repr__ = _shown
            return dataclass(slots=True, unsafe_hash="__hash__" not in vars(cls), repr=False)(cls)

        return made


def _shown(self: Any) -> str:
    parts = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({parts})"


@cache
def _maker(cls: type) -> Any:
    """What makes a value of a class that is like another one."""
    names = [f.name for f in fields(cls) if f.init]
    asked = ", ".join(f"{name}=_same" for name in names)
    given = ", ".join(f"_value.{name} if {name} is _same else {name}" for name in names)
    made: dict[str, Any] = {"_cls": cls, "_same": object()}
    exec(f"def make(_value, /, *, {asked}): return _cls({given})", made)
    return made["make"]
