"""Functions that this process has lowered before are taken again where all that lowering them looked at is the very
same: the declarations, of the types that they use too, the names that it was given.

What lowering a function does to the program (notes.py) is then done again: the functions that it calls are asked
for, in the same order, and its cases put to the fn types, so that the program becomes what it becomes without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from hybridc.base.names import unused
from hybridc.base.types import FnType, ModelType
from hybridc.front.lower.context import Context, Instance
from hybridc.front.lower.notes import Applied, Called, Case, Claimed, Defined, Extern, Generated, Record

LASTS = 8
"""Programs for which a function is kept that none of them has."""


class Stale(Exception):
    """What was done again does not fit what came between."""


@dataclass
class KeptFns:
    """Records by (what the names of all functions depend on, instance)."""

    records: dict[object, Record] = field(default_factory=dict)
    programs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, found: dict[object, Record]) -> None:
        """All functions of one program."""
        with self.lock:
            self.programs += 1
            for record in found.values():
                record.used = self.programs
            kept = {key: r for key, r in self.records.items() if r.used >= self.programs - LASTS}
            self.records = kept | found


class Keeper:
    """Makes the functions of one program, or takes them again."""

    def __init__(self, ctx: Context, kept: KeptFns):
        self.ctx = ctx
        self.kept = kept
        self.naming = ctx.program.module, frozenset(ctx.types.ambiguous)
        self.instances: dict[object, Record] = {}
        self.generated: dict[str, Record] = {}
        self._new: list[Record] = []
        self._fit: dict[int, bool] = {}
        """By number of a record, whether all is the same that it looked at."""

    def instance(self, instance: Instance, make: Callable[[], None]) -> None:
        key = self.naming, instance
        found = self.kept.records.get(key)
        if found is not None and self._fits(found) and self._free(found):
            self._again(found)
        else:
            found = self._made(make)
        if found is not None:
            self.instances[key] = found

    def later(self, name: str, make: Callable[[], None]) -> None:
        found = self._made(make)
        if found is not None:
            self.generated[name] = found

    def finish(self) -> None:
        """Keep everything."""
        for record in self._new:
            names = [e.name for e in record.events if isinstance(e, Generated)]
            record.inner = {name: self.generated[name] for name in names if name in self.generated}
        self.kept.keep(self.instances)

    # ---- the first time
    def _made(self, make: Callable[[], None]) -> Record | None:
        ctx = self.ctx
        record = ctx.record = Record()
        try:
            with ctx.decls.noted(record.notes):
                make()
        finally:
            ctx.record = None
        if record.notes.sound:
            record.notes = ctx.types.all_notes(record.notes)
        if not record.notes.sound or ctx.models.any_mixed and _of_models(record):
            return None
        self._new.append(record)
        return record

    # ---- again
    def _fits(self, record: Record) -> bool:
        """Whether all that it looked at, and what it has generated looks at, is the very same."""
        fits = self._fit.get(id(record))
        if fits is None:
            self._fit[id(record)] = True  # until something else is found out, if it is asked for again on the way
            decls = self.ctx.decls.decls
            fits = all(decls.get(key) is decl for key, decl in record.notes.reads.items()) and all(
                event.name in record.inner and self._fits(record.inner[event.name])
                for event in record.events if isinstance(event, Generated))
            self._fit[id(record)] = fits
        return fits

    def _free(self, record: Record) -> bool:
        """Whether all names are given now that were given then."""
        ctx = self.ctx
        if ctx.models.any_mixed and _of_models(record):  # whose elements are lowered in another way then
            return False
        claimed: set[str] = set()
        named: dict[FnType, list[str]] = {}
        for event in record.events:
            match event:
                case Called(name, instance):
                    known = ctx.names.get(instance)
                    if known is None and (name in ctx.taken or ctx.instance_name(instance) != name):
                        return False
                    if known is not None and known != name:
                        return False
                case Generated(name, got):
                    known = ctx.generated.get(name)
                    if known != got and (known is not None or unused(name, ctx.taken) != got):
                        return False
                case Claimed(name, got):
                    if unused(name, ctx.taken | claimed if claimed else ctx.taken) != got:
                        return False
                    claimed.add(got)
                case Case(t, identity, title, name):
                    enum = ctx.closures.enums.get(t)
                    known_case = enum.cases.get(identity) if enum is not None else None
                    if known_case is None:
                        if ctx.closures.case_name(t, title, named.get(t, ())) != name:
                            return False
                        named.setdefault(t, []).append(name)
                    elif known_case != event:
                        return False
        return True

    def _again(self, record: Record) -> None:
        """Do again what lowering did."""
        ctx = self.ctx
        for name, t in record.notes.types.items():
            if name not in ctx.types.fronts:
                ctx.types.core(t)
        for event in record.events:
            match event:
                case Called(name, instance):
                    if ctx.instance(instance) != name:
                        raise Stale
                case Generated(name, got):
                    inner = record.inner[name]
                    if ctx.put(name, lambda _, name=name, inner=inner: self._later(name, inner)) != got:  # type: ignore[misc]
                        raise Stale
                case Claimed(name, got):
                    if ctx.claim(name) != got:
                        raise Stale
                case Applied(_, t):
                    ctx.closures.enum(t)
                case Case():
                    if event.identity not in ctx.closures.enums[event.type].cases:
                        ctx.closures.add(event)
                case Extern(name):
                    ctx.extern(name)
                case Defined(definition):
                    ctx.define(definition)
        for fn in record.fns:
            ctx.add(fn)

    def _later(self, name: str, record: Record) -> None:
        if not self._free(record):
            raise Stale
        self._again(record)
        self.generated[name] = record


def _of_models(record: Record) -> bool:
    """Whether it looked at the layout of a model."""
    return any(isinstance(t, ModelType) for t in record.notes.types.values())
