"""Functions that were compiled before are known again, with what passes made of them (core/ir.py, `Fn.known`).

A program that is loaded again after an edit has, but for what was edited, the functions that it had, and those of the
library. `Recogniser.program` puts the very objects of before in their places, where a function is the same text and the
types that it names are the same. So that a line more in a declaration does not change every method below it, places in
them count from where the function begins (their path is then MARK and its name): `origins` says where that is, and
`absolute` takes that back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cached_property

from hybridc.base.immutable import replace
from hybridc.base.source import MARK
from hybridc.core.ir import (
    NOWHERE,
    BufferT,
    EnumDef,
    EnumT,
    Fn,
    OptionT,
    Program,
    Span,
    StructDef,
    StructT,
    TupleT,
    Type,
)
from hybridc.core.printer import print_fn
from hybridc.core.walk import all_blocks, bound_in, calls, map_spans, once, operators, outs_of, size

Origins = Mapping[str, Span]
"""By name of a function, where it stands."""
_ITSELF = object()
LASTS = 8
"""Compiles for which a function is kept that none of them has."""


def absolute(span: Span, origins: Origins) -> Span:
    """A place as lowering made it."""
    if not span.path.startswith(MARK):
        return span
    origin = origins[span.path[len(MARK):]]
    return Span(origin.path, origin.start + span.start, origin.start + span.end)


class _Meanings:
    """What the names of types mean in one program, by which of the meanings `known` of each it is."""

    def __init__(self, program: Program, known: dict[str, list[StructDef | EnumDef | None]]):
        self._program = Program(program.structs, program.enums)
        self._known = known
        self._numbers: dict[str, int] = {}
        self._all: dict[str, frozenset[tuple[str, int]]] = {}

    def of(self, name: str) -> frozenset[tuple[str, int]]:
        """Of a name, and of those in what it means, and so on."""
        found = self._all.get(name)
        if found is None:
            seen = {name: None}
            todo = [name]
            while todo:
                inner = [n for t in _held(self._meaning(todo.pop())) for n in _names_in(t) if n not in seen]
                seen.update(dict.fromkeys(inner))
                todo += inner
            found = self._all[name] = frozenset((n, self._number(n)) for n in seen)
        return found

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            meaning, known = self._meaning(name), self._known.setdefault(name, [])
            if meaning not in known:
                known.append(meaning)
            number = self._numbers[name] = known.index(meaning)
        return number

    def _meaning(self, name: str) -> StructDef | EnumDef | None:
        return self._program.structs.get(name) or self._program.enums.get(name)


class _Kept:
    """A function of before; what it is compared by is found out when there is another of its name."""

    def __init__(self, fn: Fn, meanings: _Meanings):
        self.fn = _relative(fn)
        self.used = 0
        self._origin = NOWHERE if fn.span.path.startswith(MARK) else self.fn.span
        self._meanings = meanings

    @cached_property
    def text(self) -> str:
        return print_fn(self.fn, origin=self._origin)

    @cached_property
    def _types(self) -> dict[str, frozenset[tuple[str, int]]]:
        return {name: self._meanings.of(name) for name in _named(self.fn)}

    def means(self, meanings: _Meanings) -> bool:
        """Do the types that it names mean the same?"""
        return meanings is self._meanings or all(meanings.of(name) == then for name, then in self._types.items())


class Recogniser:
    """What was compiled in this process."""

    def __init__(self) -> None:
        self.kept: dict[str, list[_Kept]] = {}
        """By name."""
        self.types: dict[str, list[StructDef | EnumDef | None]] = {}
        """What the names of types meant."""
        self.compiles = 0
        self.lock = threading.Lock()

    def program(self, program: Program) -> tuple[Program, Origins]:
        """With the functions of before, where they are the same."""
        with self.lock:
            self.compiles += 1
            fns = self._functions(program)
            recent = self.compiles - LASTS
            kept = {name: [k for k in found if k.used >= recent] for name, found in self.kept.items()}
            self.kept = {name: found for name, found in kept.items() if found}
        return Program(program.structs, program.enums, fns), {name: fn.span for name, fn in program.fns.items()}

    def made(self, program: Program) -> Program:
        """The same for functions that a pass has made, of those that `program` gave."""
        with self.lock:
            return Program(program.structs, program.enums, self._functions(program))

    def _functions(self, program: Program) -> dict[str, Fn]:
        meanings = _Meanings(program, self.types)
        return {name: self._function(fn, meanings) for name, fn in program.fns.items()}

    def _function(self, fn: Fn, meanings: _Meanings) -> Fn:
        same = fn.known.get(MARK)
        if same is _ITSELF:
            return fn
        if same is None or not same.means(meanings):
            same = fn.known[MARK] = self._same(fn, meanings)
        same.used = self.compiles
        return same.fn  # type: ignore[no-any-return]

    def _same(self, fn: Fn, meanings: _Meanings) -> _Kept:
        every = self.kept.setdefault(fn.name, [])
        found = [kept for kept in every if _alike(kept.fn, fn)]
        text = print_fn(fn, origin=NOWHERE if fn.span.path.startswith(MARK) else fn.span) if found else ""
        for kept in found:
            if kept.text == text and kept.means(meanings):
                return kept
        kept = _Kept(fn, meanings)
        kept.fn.known[MARK] = _ITSELF
        every.append(kept)
        return kept


def _alike(fn: Fn, other: Fn) -> bool:
    """May they be the same? As a rule not, where a pass has changed one; so it is not printed."""
    return size(fn) == size(other) and calls(fn) == calls(other) and operators(fn) == operators(other)


def _relative(fn: Fn) -> Fn:
    """With places that count from its beginning."""
    origin = fn.span
    if origin.path.startswith(MARK) or not origin.path:
        return replace(fn)

    def place(span: Span) -> Span:
        if span.path != origin.path:
            return span
        return Span(MARK + fn.name, span.start - origin.start, span.end - origin.start)

    return map_spans(fn, place)


# ---- types
def _held(meaning: StructDef | EnumDef | None) -> list[Type]:
    match meaning:
        case StructDef():
            return [t for _, t in meaning.fields]
        case EnumDef():
            return [t for _, fields in meaning.cases for _, t in fields]
    return []


@once
def _named(fn: Fn) -> frozenset[str]:
    found: set[Type] = {*fn.results, *(p.type for p in fn.params)}
    for b in all_blocks(fn.body):
        for stmt in b.stmts:
            found.update(v.type for v in outs_of(stmt))
            found.update(v.type for v in bound_in(stmt))
    return frozenset(name for t in found for name in _names_in(t))


def _names_in(t: Type) -> Iterator[str]:
    """The structs and enums that a type names itself."""
    match t:
        case StructT(name) | EnumT(name):
            yield name
        case TupleT(items):
            for item in items:
                yield from _names_in(item)
        case OptionT(item) | BufferT(item):
            yield from _names_in(item)
