"""The two parts of a function that is differentiated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hybridc.autodiff.activity import Mask
from hybridc.core.ir import Type

T = TypeVar("T")


@dataclass(frozen=True)
class Derived:
    """`forward` gives the results and the tape; `reverse` takes what is `kept`, the leaves of the adjoints of active
    results, and those of active arguments, which it gives back with its share added. `first` says what is kept: the
    next of the tape, or the argument at a place, which whoever calls has. A function that calls itself does so by
    `shared_forward` and `shared` (recursion.py), or by `within` where it keeps products (products.py), which takes and
    gives the lists too."""

    forward: str
    reverse: str
    tape: tuple[Type, ...]
    results: Mask
    first: tuple[int | None, ...]
    shared_forward: str = ""
    shared: str = ""
    within: str = ""

    def kept(self, tape: Iterable[T], args: Sequence[T]) -> list[T]:
        rest = iter(tape)
        return [next(rest) if i is None else args[i] for i in self.first]
