"""Values as the reference interpreter has them, and what an operator's implementation there may use.

    bool int i32 u8      bool, int
    f64 f32 f16 bf16     float, rounded to the type
    tensor               numpy array, never written; bf16 as float32 that holds rounded values
    tuple, struct        tuple
    option               None or Some
    enum                 EnumValue
    buffer               Buffer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from hybridc.base.source import Span
from hybridc.core.ir import Op, Program, Type


class InterpFault(Exception):
    """The program stopped. `trace` is (function, span), innermost first; hidden functions are still in it."""

    def __init__(self, kind: str, message: str = ""):
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.trace: list[tuple[str, Span]] = []

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def index_fault(index: int, length: int) -> InterpFault:
    return InterpFault("IndexError", f"index {index} is out of range for length {length}")


@dataclass(slots=True, unsafe_hash=True)  # not frozen: that makes them three times as slow to build
class Some:
    """An option that holds a value."""

    value: object


@dataclass(slots=True, unsafe_hash=True)
class EnumValue:
    """A case of an enum: its position and its fields."""

    tag: int
    fields: tuple[object, ...] = ()


class Buffer:
    """A buffer as a value: writing gives a new one and leaves this one as it was.

    The newest version holds the list; an older one holds what it must put back to differ from its successor (Baker's
    arrays), and copies only if it is read again. So a loop that updates a buffer costs O(1) each turn."""

    __slots__ = ("_items", "_start", "_old", "_next", "_steps")

    def __init__(self, items: list[object]):
        self._items: list[object] | None = items
        self._start = 0
        self._old: list[object] = []
        self._next: Buffer | None = None
        self._steps = 0
        """Versions that may still hang on this list."""

    def items(self) -> list[object]:
        """The elements; not to be written."""
        if self._items is None:
            self._copy()
        return self._items  # type: ignore[return-value]

    def _copy(self) -> None:
        chain: list[Buffer] = []
        at: Buffer = self
        while at._items is None:
            chain.append(at)
            at = at._next  # type: ignore[assignment]
        items = list(at._items)
        for step in reversed(chain):
            items[step._start : step._start + len(step._old)] = step._old
        self._items, self._old, self._next, self._steps = items, [], None, 0

    def write(self, start: int, values: list[object]) -> Buffer:
        """With `values` from `start` on."""
        items = self.items()
        stop = start + len(values)
        assert 0 <= start and stop <= len(items), f"write [{start}, {stop}) in a buffer of length {len(items)}"
        if self._steps > len(items) + 32:  # so that a handle kept from long ago holds a bounded chain
            items = items[:]
            items[start:stop] = values
            return Buffer(items)
        new = Buffer(items)
        new._steps = self._steps + len(values)
        self._start, self._old, self._next, self._items = start, items[start:stop], new, None
        items[start:stop] = values
        return new

    def put(self, index: int, value: object) -> Buffer:
        """With element `index` replaced."""
        items = self._items
        if items is None or self._steps > len(items) + 32:
            return self.write(index, [value])
        assert 0 <= index < len(items), f"element {index} of a buffer of length {len(items)}"
        new = Buffer(items)
        new._steps = self._steps + 1
        self._start, self._old, self._next, self._items = index, [items[index]], new, None
        items[index] = value
        return new

    def __len__(self) -> int:
        return len(self.items())

    def __getitem__(self, index: int) -> object:
        items = self.items()
        assert 0 <= index < len(items), f"element {index} of a buffer of length {len(items)}"
        return items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buffer) and self.items() == other.items()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Buffer({self.items()!r})"


class Machine(Protocol):
    """What the interpreter offers to an operator."""

    program: Program

    def call(self, fn: str, args: Iterable[object]) -> tuple[object, ...]:
        """Run a Core function."""

    def zero(self, type: Type) -> object:
        """The value that a fresh buffer holds."""

    def host(self, name: str, args: tuple[object, ...], op: Op) -> object:
        """Ask the host; the result of `op`, a tuple if it has several or none."""


Maker = Callable[[Op, Machine], Callable[..., object]]
"""Given a use of an operator, what computes it: a Python function of the arguments that gives the result, or for
several results (or none) a tuple of them. Faults are raised as InterpFault; the interpreter adds the place."""
