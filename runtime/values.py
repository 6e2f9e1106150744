"""Values that stay on the native side: `Native`, function values, and random generators."""

from __future__ import annotations

import functools
import operator
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hybridc_runtime.classes import equal, text_of
from hybridc_runtime.convert_out import Reading
from hybridc_runtime.linking import jit
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import HEADER, word

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec


class Owned:
    """Leaves of a native value, and one share of the blocks they point to."""

    __slots__ = ("codec", "type", "leaves", "calm", "__weakref__")

    leaves: Any
    """None when another value has taken them."""
    calm: Any
    """The leaves that were passed last: who passes the same ones again may do so often."""

    def __init__(self, codec: Codec, t: Type, leaves: tuple[Any, ...]):
        self.codec, self.type, self.leaves, self.calm = codec, t, leaves, None

    def share(self) -> tuple[Any, ...]:
        """The leaves, with another share for whoever takes them: at once, since another thread may replace them."""
        at = _leaves_at()
        if at:
            return jit().own(id(self) + at, self.codec.layouts.of(self.type).table)
        leaves = self.leaves
        self.codec.retain(self.type, leaves)
        return leaves

    def passed(self, places: int) -> tuple[Any, ...]:
        """The same for a call; if the value has many parameters, `places` for panels that may be kept beside them."""
        leaves = self.share()
        if places and leaves is self.calm:
            jit().keep(leaves[0], places)
        self.calm = leaves
        return leaves

    def replace(self, leaves: tuple[Any, ...]) -> None:
        """Another value takes this one's place."""
        at = _leaves_at()
        if at:
            old = jit().swap(id(self) + at, leaves)
        else:
            old, self.leaves = self.leaves, leaves
        self.codec.release_leaves(self.type, old)

    def __del__(self, at_exit: Callable[[], bool] = sys.is_finalizing) -> None:
        # As the process ends, the names of this module may be gone already.
        leaves, self.leaves = getattr(self, "leaves", None), None
        if leaves is not None and not at_exit():
            self.codec.release_leaves(self.type, leaves)


LOCKED = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Is this CPython, with the GIL? Only there machine code looks into objects."""


def slot(value: object, name: str) -> int:
    """Where an object keeps an attribute of its class's slots; 0 where that is not to be seen."""
    held = id(getattr(value, name))
    places = [at for at in range(16, type(value).__basicsize__, 8) if word(id(value) + at) == held]
    return places[0] if len(places) == 1 else 0


@functools.cache
def _leaves_at() -> int:
    if not LOCKED:
        return 0
    owned = Owned(object(), ("struct", "x"), (object(),))  # type: ignore[arg-type]
    at = slot(owned, "leaves")
    owned.leaves = None
    return at


class Native:
    """A Hyb value that has not been converted. It passes to functions as it is; `mut` parameters change it in place."""

    __slots__ = ("_owned", "__weakref__")

    def __init__(self, owned: Owned):
        self._owned = owned

    def to_python(self) -> Any:
        """The value converted, a graph to `(nodes, edges)`; TypeError for what exists natively only."""
        value = self._owned.codec.to_python(self._owned)
        if type(value) is Native:
            raise TypeError(f"a {self._owned.codec.show(self._owned.type)} has no Python form")
        return value

    def _items(self) -> tuple[Type, int, int] | None:
        """Item type, block and size, of a list, or of the nodes of a graph."""
        owned = self._owned
        kind = owned.codec.kind_or_none(owned.type)
        if kind is None or kind.kind not in ("list", "graph"):
            return None
        block, size, *_ = owned.leaves  # a graph's first field is the list of its nodes
        return kind.args[0], block, size

    def __bool__(self) -> bool:
        """As Python's of the value: a struct is true, and so is a graph with nodes."""
        found = self._items()
        return bool(found[2] if found else self.to_python())

    def __len__(self) -> int:
        found = self._items()
        return found[2] if found else len(self.to_python())

    def __getitem__(self, index: Any) -> Any:
        found = self._items()
        if found is None:
            return self.to_python()[index]
        item, block, size = found
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(size))]
        at = operator.index(index)
        at += size if at < 0 else 0
        if not 0 <= at < size:
            raise IndexError(f"index {index} is out of range for length {size}")
        codec = self._owned.codec
        reading = Reading()
        value = codec.readers.read(item, block + HEADER + at * codec.layouts.of(item).size, reading)
        codec.finish(reading)
        return value

    def __iter__(self) -> Iterator[Any]:
        if self._items() is None:
            return iter(self.to_python())
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return equal(self.to_python(), other.to_python() if isinstance(other, Native) else other)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Native:
        owned = self._owned
        return Native(Owned(owned.codec, owned.type, owned.share()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Native:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a native value stays in its process and cannot be pickled; its to_python() can")

    def __repr__(self) -> str:
        text = self._owned.codec.show(self._owned.type)
        try:
            value = text_of(self.to_python())
        except TypeError:
            return f"<native {text}>"
        return f"<native {text}: {value if len(value) <= 1000 else value[:1000] + '...'}>"


class NativeFunction:
    """A function value made by a Hyb program."""

    __slots__ = ("_owned", "_call", "__weakref__")

    def __init__(self, owned: Owned):
        self._owned = owned
        self._call = owned.codec.apply_caller(owned.type)

    def __call__(self, *args: Any) -> Any:
        if len(args) != len(self._call.types) - 1:
            n = len(self._call.types) - 1
            raise TypeError(f"{self!r} takes {n} argument{'s' * (n != 1)}, {len(args)} were given")
        return self._call((self, *args))

    def __copy__(self) -> NativeFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> NativeFunction:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self!r} was made by a Hyb program and cannot be pickled; a fn of the module can")

    def __repr__(self) -> str:
        return f"<{self._owned.codec.show(self._owned.type)}>"


class rng:  # noqa: N801 (as the language calls it)
    """A random generator; a function that takes one as `mut` moves it on."""

    __slots__ = ("_state",)

    def __init__(self, seed: int = 0):
        if not isinstance(seed, int) or isinstance(seed, bool) or not -(1 << 63) <= seed < 1 << 63:
            raise ValueError(f"a seed is a 64-bit int, found {seed!r}")
        self._state: tuple[int, ...] = (seed,)

    def __repr__(self) -> str:
        return f"rng({', '.join(map(str, self._state))})"

    def leaves(self, codec: Codec, t: Type) -> tuple[Any, ...]:
        """The state as the program keeps it; of a fresh one the seed, and zeros."""
        layout = codec.layouts.of(t)
        self._state = (*self._state, *layout.zeros[len(self._state):])
        return self._state


__all__ = ["Native", "NativeFunction", "Owned", "rng", "word"]
