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
from dataclasses import replace
from functools import cached_property

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


class _Kept:
    """A function of before; what it is compared by is found out when there is another of its name."""

    def __init__(self, fn: Fn, program: Program):
        self.fn = _relative(fn)
        self.used = 0
        self._origin = NOWHERE if fn.span.path.startswith(MARK) else self.fn.span
        self._program = Program(program.structs, program.enums)

    @cached_property
    def text(self) -> str:
        return print_fn(self.fn, origin=self._origin)

    @cached_property
    def types(self) -> dict[str, StructDef | EnumDef | None]:
        """What the names of types in it meant, and in these, and so on."""
        return _types(self.fn, self._program)


class Recogniser:
    """What was compiled in this process."""

    def __init__(self) -> None:
        self.kept: dict[str, list[_Kept]] = {}
        """By name."""
        self.compiles = 0
        self.lock = threading.Lock()

    def program(self, program: Program) -> tuple[Program, Origins]:
        """With the functions of before, where they are the same."""
        with self.lock:
            self.compiles += 1
            fns = {name: self._function(fn, program) for name, fn in program.fns.items()}
            recent = self.compiles - LASTS
            kept = {name: [k for k in found if k.used >= recent] for name, found in self.kept.items()}
            self.kept = {name: found for name, found in kept.items() if found}
        return Program(program.structs, program.enums, fns), {name: fn.span for name, fn in program.fns.items()}

    def made(self, program: Program) -> Program:
        """The same for functions that a pass has made, of those that `program` gave."""
        with self.lock:
            fns = {name: self._function(fn, program) for name, fn in program.fns.items()}
        return Program(program.structs, program.enums, fns)

    def _function(self, fn: Fn, program: Program) -> Fn:
        same = fn.known.get(MARK)
        if same is not None:
            return fn if same is _ITSELF else same  # type: ignore[no-any-return]
        every = self.kept.setdefault(fn.name, [])
        found = [kept for kept in every if _alike(kept.fn, fn)]
        text = print_fn(fn, origin=NOWHERE if fn.span.path.startswith(MARK) else fn.span) if found else ""
        for kept in found:
            if kept.text == text and all(_meaning(name, program) == d for name, d in kept.types.items()):
                break
        else:
            kept = _Kept(fn, program)
            kept.fn.known[MARK] = _ITSELF
            every.append(kept)
        kept.used = self.compiles
        fn.known[MARK] = kept.fn
        return kept.fn


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
def _types(fn: Fn, program: Program) -> dict[str, StructDef | EnumDef | None]:
    """What the names of types in a function mean, and those in these."""
    found: dict[str, StructDef | EnumDef | None] = {}
    todo = list(_named(fn))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = meaning = _meaning(name, program)
            todo += [n for t in _held(meaning) for n in _names_in(t)]
    return found


def _meaning(name: str, program: Program) -> StructDef | EnumDef | None:
    return program.structs.get(name) or program.enums.get(name)


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
