"""A function's text is written once: where all that it depends on is as it was when this process wrote it before, its
text, and what that uses, are taken again."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakValueDictionary

from hybridc.core.ir import Fn, Fused, Type
from hybridc.core.walk import calls, once, statements_in
from hybridc.llvm.definitions import NAME, Def
from hybridc.llvm.functions import emit_fn
from hybridc.llvm.module import Service, Site
from hybridc.llvm.unit import Unit, fn_symbol


@dataclass
class Written:
    """What a module holds for a function, and what it shares."""

    defs: list[Def]
    constants: dict[str, str]
    declared: dict[str, str]
    helpers: dict[object, str]
    services: dict[str, Service]
    kinds: dict[str, Type]
    places: dict[str, dict[Site, int]]
    needed: list[str]


def write(unit: Unit, fn: Fn) -> None:
    """Put a function into the unit's module."""
    if _on_device(fn):  # kernels are numbered as they come
        emit_fn(unit, fn)
        return
    key = "written", _looked_at(unit, fn)
    found = fn.known.get(key)
    if found is not None and _put(unit, found):
        return
    before = set(unit.module.defs)
    emit_fn(unit, fn)
    fn.known[key] = _written(unit, fn, before)


@once
def _on_device(fn: Fn) -> bool:
    return any(isinstance(s, Fused) and s.device for s in statements_in(fn))


class _Look:
    """All that the text of a caller depends on in a function that it calls. What is alike is one object, so that the
    key of a caller is short, by however many ways functions that may stand in it come to each other."""

    known: ClassVar[WeakValueDictionary[Hashable, _Look]] = WeakValueDictionary()

    def __init__(self, held: Hashable):
        self.held = held
        """So that nothing else has the numbers by which it is known."""


def _looked_at(unit: Unit, fn: Fn) -> Hashable:
    """All that the text of a function depends on, besides the function and the types that it names."""
    facts = unit.facts
    own = facts.may_fault(fn.name), facts.is_recursive(fn.name), unit.borrowed[fn.name]
    return unit.module.vector_bytes, fn.name in unit.once, own, tuple(_look(unit, name) for name in calls(fn))


def _look(unit: Unit, name: str) -> _Look:
    if name in unit.looks:
        return unit.looks[name]
    facts, callee = unit.facts, unit.module.program.fns[name]
    held = (callee, *(_look(unit, n) for n in calls(callee))) if unit.may_stand_inside(name) else ()
    types = tuple(p.type for p in callee.params), callee.results
    of = (facts.may_fault(name), facts.is_recursive(name), unit.borrowed[name], types, unit.pace.get(name),
          unit.sizes.get(name))
    found = unit.looks[name] = _Look.known.setdefault((*of, *map(id, held)), _Look(held))
    return found


def _written(unit: Unit, fn: Fn, before: set[str]) -> Written:
    """What stands in the module for a function that was just written; `before` had been there already."""
    module = unit.module
    names: dict[str, None] = {fn_symbol(fn.name): None}
    names.update((n, None) for n in module.defs if n not in before)
    needed: list[str] = []
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in module.defs:
            for used in module.defs[name].uses:
                callee = unit.name_of(used)
                if callee is not None and callee != fn.name:
                    needed.append(callee)
                elif used not in names:
                    names[used] = None
                    todo.append(used)
        elif name in module.constants:
            for used in NAME.findall(module.constants[name]):
                names[used] = None
                todo.append(used)
    return Written(
        [d for n, d in module.defs.items() if n in names],  # in the order in which they came
        {n: module.constants[n] for n in names if n in module.constants},
        {n: module.declared[n] for n in names if n in module.declared},
        {key: n for key, n in module.helpers.items() if n in names},
        {n: module.tables.services[n] for n in names if n in module.tables.services},
        {n: module.tables.kinds[n] for n in names if n in module.tables.kinds},
        {n: dict(module.tables.places[n]) for n in names if n in module.tables.places},
        list(dict.fromkeys(needed)),
    )


def _put(unit: Unit, found: Written) -> bool:
    """Put it into the module; not where that has numbered the places of the function otherwise."""
    module, places = unit.module, unit.module.tables.places
    if any(n in places and places[n] != own for n, own in found.places.items()):
        return False
    for d in found.defs:
        module.defs.setdefault(d.name, d)
        module.defined.add(d.name)
    module.constants |= found.constants
    module.declared |= found.declared
    module.helpers |= found.helpers
    for name, own in found.places.items():
        places[name] = dict(own)
    module.tables.services |= found.services
    module.tables.kinds |= found.kinds
    unit.needed.update(found.needed)
    return True
