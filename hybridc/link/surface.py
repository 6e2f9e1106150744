"""What of a program is called from outside: the symbols to export and the types whose values cross."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from hybridc_runtime.more import Table

from hybridc.core import ir, walk
from hybridc.core.interface import Entry, Interface
from hybridc.core.walk import calls, host_types, statements, statements_in


def entries(interface: Interface) -> Iterator[Entry]:
    """Every function and method with its parameters."""
    for group in interface.fns.values():
        yield from group
    for model in interface.models:
        for method in model.methods.values():
            yield method
            yield from method.variants
        for derivative in (
            *model.gradients.values(), *model.pullbacks.values(), *model.curvatures.values()
        ):
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
    found.update(dict.fromkeys(s.check for model in interface.models for s in model.states if s.check))
    found.update(dict.fromkeys(symbol for _, symbol in interface.tests))
    return list(found)


def once(interface: Interface, program: ir.Program) -> set[str]:
    """What runs once or so: initialisers, defaults, checks of state, tests, and functions without loops that only
    these call, outside their own loops (the initialiser of a model that only tests make)."""
    found = _once_by_itself(interface)
    often = set(symbols(interface)) - found
    callers: dict[str, set[str]] = {}
    for fn in program.fns.values():
        for callee in calls(fn):
            callers.setdefault(callee, set()).add(fn.name)
        often |= _often(fn)
    todo = [callee for name in found for callee in calls(program.fns[name])]
    while todo:
        name = todo.pop()
        if name not in found and name not in often and callers[name] <= found:
            found.add(name)
            todo += calls(program.fns[name])
    return found


@walk.once
def _often(fn: ir.Fn) -> set[str]:
    """What it calls in loops, and itself if it has loops."""
    turns = [s for s in statements_in(fn) if isinstance(s, (ir.Loop, ir.Parallel))]
    called = {s.fn for turn in turns for s in statements(turn.body) if isinstance(s, ir.Call)}
    return called | {fn.name} if turns else called


def _once_by_itself(interface: Interface) -> set[str]:
    found = {model.init for model in interface.models}
    found.update(s.check for model in interface.models for s in model.states if s.check)
    found.update(p.default for entry in entries(interface) for p in entry.params if p.default)
    found.update(symbol for _, symbol in interface.tests)
    return found


def types(interface: Interface, program: ir.Program) -> list[ir.Type]:
    """Types of arguments and results, and of what they hold: the runtime may have to release any of them."""
    start: list[ir.Type] = []
    for symbol in symbols(interface):
        fn = program.fns[symbol]
        start += [param.type for param in fn.params]
        start += fn.results
        if fn.results:
            start.append(ir.TupleT(fn.results))
    start += [ir.StructT(name) if name in program.structs else ir.EnumT(name) for name in interface.kinds
              if name in program.structs or name in program.enums]
    return list(_held(start, program))


def enums(interface: Interface, program: ir.Program) -> set[str]:
    """Enums whose values cross: in arguments and results, or to services of the host and from them."""
    start = types(interface, program)
    for fn in program.fns.values():
        start += host_types(fn)
    return {t.name for t in _held(start, program) if isinstance(t, ir.EnumT)}


def _held(start: Iterable[ir.Type], program: ir.Program) -> dict[ir.Type, None]:
    """These types and those of what they hold."""
    found: dict[ir.Type, None] = {}

    def add(t: ir.Type) -> None:
        if t in found:
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

    for t in start:
        add(t)
    return found


def keep_model(interface: Interface, key: str, program: ir.Program) -> None:
    """Leave only one model and the functions that take or give a value of it, with the models that these hold in
    state or make: a further configuration of a program that is loaded already."""
    structs = {ir.StructT(m.struct) for m in interface.models if m.key == key}
    interface.fns = {
        name: kept
        for name, group in interface.fns.items()
        if (kept := [e for e in group if structs & {p.type for p in e.params} or e.result in structs])
    }
    entries = [e for group in interface.fns.values() for e in group]
    entries += [e for m in interface.models if m.key == key for e in m.methods.values()]
    made = _held([*structs, *(e.result for e in entries if e.result is not None)], program)
    interface.models = [m for m in interface.models if ir.StructT(m.struct) in made]
    interface.tests = []


def keep_call(interface: Interface, name: str, table: Table, struct: str) -> None:
    """Leave only one function, or method or derivative of a method of the model of that struct: what a call with
    another combination of configurations needs of a program that is loaded already."""
    interface.fns = {name: interface.fns.get(name, [])} if table == "fns" else {}
    for m in interface.models:
        for kept in get_args(Table)[1:]:
            entries = getattr(m, kept)
            if m.struct != struct or table != kept:
                entries.clear()
            for other in [n for n in entries if n != name]:
                del entries[other]
    interface.tests = []


def without_derivatives(interface: Interface, program: ir.Program) -> None:
    """Leave out the derivatives of methods, which a module that can compile more makes when they are asked for; not
    those of a model whose state holds function values, which another program could not read."""
    fns = {name for name, kind in interface.kinds.items() if kind.kind == "fn"}
    for m in interface.models:
        if not any(isinstance(t, ir.EnumT) and t.name in fns for t in _held([ir.StructT(m.struct)], program)):
            m.gradients, m.pullbacks, m.curvatures = {}, {}, {}


def without_curvatures(interface: Interface) -> None:
    """Leave out second derivatives for PyTorch, which few programs ask for."""
    for m in interface.models:
        m.curvatures = {}
