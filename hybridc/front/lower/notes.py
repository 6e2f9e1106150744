"""What lowering one function looks at and does to the program, noted so that it can be done again without lowering it
(kept.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from hybridc.base.immutable import immutable
from hybridc.base.types import FnType, Type
from hybridc.core import ir
from hybridc.front.check import tree

if TYPE_CHECKING:
    from hybridc.front.lower.context import Instance


@dataclass
class Notes:
    """The declarations that were looked at, None where there was none; the types, by their names in Core. They are not
    `sound` if what was looked at depends on something else too."""

    reads: dict[str, tree.Decl | None] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    sound: bool = True

    def add(self, other: Notes) -> None:
        self.reads.update(other.reads)
        self.types.update(other.types)
        self.sound &= other.sound


class Decls(Mapping[str, tree.Decl]):
    """The declarations of a program, which are noted when they are looked at."""

    def __init__(self, decls: Mapping[str, tree.Decl]):
        self.decls = decls
        self.notes: Notes | None = None

    def __getitem__(self, key: str) -> tree.Decl:
        found = self.decls.get(key)
        if self.notes is not None:
            self.notes.reads[key] = found
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.decls)

    def __len__(self) -> int:
        return len(self.decls)

    @contextmanager
    def noted(self, notes: Notes) -> Iterator[None]:
        """What is looked at within is noted there instead of where it was before."""
        outer, self.notes = self.notes, notes
        try:
            yield
        finally:
            self.notes = outer

    def used(self, name: str, t: Type) -> None:
        """A type, by its name in Core."""
        if self.notes is not None:
            self.notes.types[name] = t

    def looked(self, notes: Notes) -> None:
        """What was looked at before, for what is used now."""
        if self.notes is not None:
            self.notes.add(notes)


# ---- what it does to the program -------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Claimed:
    """A name for a Core function that no other has; `name` is what was wished for."""

    name: str
    got: str


@immutable(frozen=True, slots=True)
class Called:
    """An instance, whose name in Core is `name`."""

    name: str
    instance: Instance


@immutable(frozen=True, slots=True)
class Generated:
    """A function of the compiler's own, which `name` identifies, is made later."""

    name: str
    got: str


@immutable(frozen=True, slots=True)
class Applied:
    """The enum of a fn type is defined."""

    name: str
    type: FnType


@immutable(frozen=True, slots=True)
class Case:
    """A function is a value of a fn type: as the case `name`, by which the function `fn` is meant. That takes the
    captures, then the arguments; one that calls itself takes its own value first."""

    type: FnType
    identity: object
    title: str
    name: str
    fn: str
    captures: tuple[tuple[str, ir.Type], ...]
    takes_self: bool = False


@immutable(frozen=True, slots=True)
class Extern:
    name: str


@immutable(frozen=True, slots=True)
class Defined:
    """An enum that only a function of the compiler's own uses."""

    definition: ir.EnumDef


Event = Union[Claimed, Called, Generated, Applied, Case, Extern, Defined]  # noqa: UP007


@dataclass
class Record:
    """One function that was lowered. `inner` are the functions that it had generated."""

    notes: Notes = field(default_factory=Notes)
    events: dict[Event, None] = field(default_factory=dict)
    fns: list[ir.Fn] = field(default_factory=list)
    inner: dict[str, Record] = field(default_factory=dict)
    used: int = 0
