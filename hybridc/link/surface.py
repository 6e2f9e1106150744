"""What of a program is called from outside: the symbols to export and the types whose values cross."""

from __future__ import annotations

from collections.abc import Iterator

from hybridc_runtime.more import Table

from hybridc.core import ir
from hybridc.core.interface import Entry, Interface


def entries(interface: Interface) -> Iterator[Entry]:
    """Every function and method with its parameters."""
    for group in interface.fns.values():
        yield from group
    for model in interface.models:
        for method in model.methods.values():
            yield method
            yield from method.variants
        for derivative in (*model.gradients.values(), *model.pullbacks.values()):
            yield derivative
            yield from derivative.variants


def symbols(interface: Interface) -> list[str]:
    """Core functions to export: entries, defaults, helpers, initialisers, tests."""
    found: dict[str, None] = {}
    for entry in entries(interface):
        found[entry.symbol] = None
        found.update(dict.fromkeys(p.default for p in entry.params if p.default))
    for kind in interface.kinds.values():
        found.update(dict.fromkeys(kind.helpers.values()))
    found.update(dict.fromkeys(model.init for model in interface.models))
    found.update(dict.fromkeys(symbol for _, symbol in interface.tests))
    return list(found)


def once(interface: Interface) -> list[str]:
    """Of these, what runs once or so: initialisers, defaults, tests."""
    found = dict.fromkeys(model.init for model in interface.models)
    found.update((p.default, None) for entry in entries(interface) for p in entry.params if p.default)
    found.update((symbol, None) for _, symbol in interface.tests)
    return list(found)


def types(interface: Interface, program: ir.Program) -> list[ir.Type]:
    """Types of arguments and results, and of what they hold: the runtime may have to release any of them."""
    found: dict[ir.Type, None] = {}

    def add(t: ir.Type | None) -> None:
        if t is None or t in found:
            return
        found[t] = None
        match t:
            case ir.TupleT(items):
                for item in items:
                    add(item)
            case ir.OptionT(item) | ir.BufferT(item):
                add(item)
            case ir.StructT(name):
                for _, field in program.structs[name].fields:
                    add(field)
            case ir.EnumT(name):
                for _, fields in program.enums[name].cases:
                    for _, field in fields:
                        add(field)

    for symbol in symbols(interface):
        fn = program.fns[symbol]
        for param in fn.params:
            add(param.type)
        for result in fn.results:
            add(result)
        if fn.results:
            add(ir.TupleT(fn.results))
    for name in interface.kinds:
        add(ir.StructT(name) if name in program.structs else ir.EnumT(name) if name in program.enums else None)
    return list(found)


def keep_model(interface: Interface, key: str) -> None:
    """Leave only one model and the functions that take or give a value of it: a further configuration of a program
    that is loaded already."""
    interface.models = [m for m in interface.models if m.key == key]
    structs = {ir.StructT(m.struct) for m in interface.models}
    interface.fns = {
        name: kept
        for name, group in interface.fns.items()
        if (kept := [e for e in group if structs & {p.type for p in e.params} or e.result in structs])
    }
    interface.tests = []


def keep_call(interface: Interface, name: str, table: Table, struct: str) -> None:
    """Leave only one function, or method or derivative of a method of the model of that struct: what a call with
    another combination of configurations needs of a program that is loaded already."""
    interface.fns = {name: interface.fns.get(name, [])} if table == "fns" else {}
    for m in interface.models:
        for kept, entries in (("methods", m.methods), ("gradients", m.gradients), ("pullbacks", m.pullbacks)):
            if m.struct != struct or table != kept:
                entries.clear()
            for other in [n for n in entries if n != name]:
                del entries[other]
    interface.tests = []


def without_derivatives(interface: Interface) -> None:
    """Leave out the derivatives of methods, which a module that can compile more makes when they are asked for."""
    for m in interface.models:
        m.gradients, m.pullbacks = {}, {}
