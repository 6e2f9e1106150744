"""Does an interface fit its program? Of an artifact that somebody else made nothing is taken on trust: the runtime
moves values by what the interface says, so each type in it must be the program's own."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Kind, Model, ModelState
from hybridc.core.types import same, show_type

TEXT = (("data", ir.BufferT(ir.U8)), ("size", ir.INT), ("points", ir.INT))


def faults(interface: Interface, program: ir.Program) -> list[str]:
    """What does not fit; [] for an interface that was made from this program."""
    return list(_faults(interface, program))


def _faults(interface: Interface, program: ir.Program) -> Iterator[str]:
    for name, group in interface.fns.items():
        for e in group:
            yield from _entry(name, e, program)
    for name, kind in interface.kinds.items():
        yield from _kind(name, kind, program)
    for title, name in interface.classes.items():
        if name not in interface.kinds or interface.kinds[name].kind not in ("struct", "enum"):
            yield f"class {title} is of {name}, which is no struct or enum"
    for m in interface.models:
        yield from _model(m, program)
    for title, symbol in interface.tests:
        yield from _function(f"test {title}", symbol, [], [], program)


def _function(
    what: str, symbol: str, params: list[ir.Type], results: list[ir.Type], program: ir.Program
) -> Iterator[str]:
    fn = program.fns.get(symbol)
    if fn is None:
        yield f"{what}: there is no function {symbol}"
        return
    for which, wanted, found in (("takes", params, [p.type for p in fn.params]), ("gives", results, list(fn.results))):
        if len(wanted) != len(found) or not all(map(same, wanted, found)):
            yield (f"{what}: {symbol} {which} ({', '.join(map(show_type, found))}), "
                   f"not ({', '.join(map(show_type, wanted))})")


def _entry(what: str, e: Entry, program: ir.Program) -> Iterator[str]:
    results = [*([] if e.result is None else [e.result]), *(p.type for p in e.params if p.mut)]
    yield from _function(what, e.symbol, [p.type for p in e.params], results, program)
    for p in e.params:
        if p.default is not None:
            yield from _function(f"{what}, default of {p.name}", p.default, [], [p.type], program)
    for variant in e.variants:
        yield from _entry(what, variant, program)


def _kind(name: str, kind: Kind, program: ir.Program) -> Iterator[str]:
    struct, enum = program.structs.get(name), program.enums.get(name)
    fields = struct.fields if struct is not None else ()
    me: ir.Type = ir.StructT(name) if struct is not None else ir.EnumT(name)
    if struct is None and enum is None:
        yield f"kind {name}: there is no such struct or enum"
        return
    wanted = "enum" if kind.kind in ("enum", "fn") else "struct"
    if (struct is not None) != (wanted == "struct"):
        yield f"kind {name}: a {kind.kind} is no {'struct' if struct is not None else 'enum'}"
        return
    match kind.kind:
        case "str":
            if tuple(fields) != TEXT:
                yield f"kind {name}: a str has other fields"
        case "list":
            if not _are_lists([me], kind.args, program):
                yield f"kind {name}: a list has other fields"
        case "rng":
            if not _alike(fields[:2], [("key", ir.INT), ("counter", ir.INT)]):  # what else it keeps is its own
                yield f"kind {name}: an rng has other fields"
        case "map" | "set" | "deque" | "heap" | "graph":
            yield from _wire(name, kind, me, program)
        case "struct" | "enum":
            cases = enum.cases if enum is not None else ()
            named = [(f"{case}.{field}", t) for case, own in cases for field, t in own] if cases else fields
            for field, t in named:
                helper = kind.helpers.get(f"default.{field}")
                if helper is not None:
                    yield from _function(f"default of {name}.{field}", helper, [], [t], program)
        case "fn":
            yield from _closure(name, kind, me, program)
        case "model" | "store":
            pass
        case _:
            yield f"kind {name}: there is no kind {kind.kind}"


def _alike(fields: object, wanted: list[tuple[str, ir.Type]]) -> bool:
    found = list(fields)  # type: ignore[call-overload]
    return len(found) == len(wanted) and all(
        f == w and same(t, u) for (f, t), (w, u) in zip(found, wanted, strict=True)
    )


def _wire(name: str, kind: Kind, me: ir.Type, program: ir.Program) -> Iterator[str]:
    """Containers cross as a list of items, or of pairs; a graph as a list of nodes and one of edges."""
    if len(kind.args) != (2 if kind.kind in ("map", "heap", "graph") else 1):
        yield f"kind {name}: a {kind.kind} of {len(kind.args)} types"
        return
    items: list[ir.Type] = list(kind.args)
    if kind.kind == "graph":
        items[1] = ir.TupleT((ir.INT, ir.INT, items[1]))
        first = [t for _, t in program.structs[name].fields[:1]]
        if not _are_lists(first, items[:1], program):
            yield f"kind {name}: a graph begins with its nodes"
    elif len(items) == 2:
        items = [ir.TupleT(tuple(items))]
    for helper in ("to_wire", "from_wire"):
        fn = program.fns.get(kind.helpers.get(helper, ""))
        types = [] if fn is None else [[p.type for p in fn.params], list(fn.results)]
        wire, own = types if helper == "from_wire" and types else reversed(types) if types else ([], [])
        if kind.kind == "graph" and len(wire) == 1 and isinstance(wire[0], ir.TupleT):
            wire = list(wire[0].items)
        if len(own) != 1 or not same(own[0], me) or not _are_lists(wire, items, program):
            lists = " and ".join(f"a list of {show_type(item)}" for item in items)
            yield f"kind {name}: its {helper} is no function between {lists} and it"


def _are_lists(types: list[ir.Type], items: list[ir.Type], program: ir.Program) -> bool:
    return len(types) == len(items) and all(
        isinstance(t, ir.StructT)
        and _alike(program.structs[t.name].fields, [("data", ir.BufferT(item)), ("size", ir.INT)])
        for t, item in zip(types, items, strict=True)
    )


def _closure(name: str, kind: Kind, me: ir.Type, program: ir.Program) -> Iterator[str]:
    if not kind.args:
        yield f"kind {name}: a fn without a result type"
        return
    params, result = kind.args[:-1], kind.args[-1]
    muts = kind.muts or [False] * len(params)
    if len(muts) != len(params):
        yield f"kind {name}: {len(params)} parameters, {len(muts)} marks"
        return
    results = [] if result == ir.TupleT(()) else [result]
    results += [p for p, mut in zip(params, muts, strict=True) if mut]
    yield from _function(f"kind {name}", kind.helpers.get("apply", ""), [me, *params], results, program)
    host = next((fields for case, fields in program.enums[name].cases if case == "Host"), None)
    if host is not None and not _alike(host, [("id", ir.INT)]):
        yield f"kind {name}: its case for functions of the host has other fields"


def _model(m: Model, program: ir.Program) -> Iterator[str]:
    struct = program.structs.get(m.struct)
    if struct is None or not struct.fields:
        yield f"model {m.shown}: there is no struct {m.struct}"
        return
    field, vector = struct.fields[0]
    if field != "params" or not isinstance(vector, ir.TensorT) or vector.elem.name != m.elem or len(vector.dims) != 1:
        yield f"model {m.shown}: its first field is no vector of parameters"
    yield from _function(f"model {m.shown}", m.init, [ir.INT], [ir.StructT(m.struct)], program)
    for p in m.params:
        if p.offset < 0 or any(d < 0 for d in p.shape) or p.offset + prod(p.shape) > m.size:
            yield f"model {m.shown}: parameter {p.path} lies outside of the vector"
    for s in m.states:
        yield from _state(m, s, program)
        if s.check:
            yield from _function(f"model {m.shown}, state {s.path}", s.check, [s.type], [], program)
    for table in (m.methods, m.gradients, m.pullbacks, m.curvatures):
        for name, e in table.items():
            yield from _entry(f"{m.shown}.{name}", e, program)


def _state(m: Model, state: ModelState, program: ir.Program) -> Iterator[str]:
    """The route leads through fields and numbered parts to a value of the type."""
    t: ir.Type | None = ir.StructT(m.struct)
    for step in state.route:
        t = _part(t, step, program)
    if t is None or not same(t, state.type):
        yield f"model {m.shown}: state {state.path} is not where the route to it leads"


def _part(t: ir.Type | None, step: str | int, program: ir.Program) -> ir.Type | None:
    match t:
        case ir.StructT(name):
            fields = program.structs[name].fields
            data = dict(fields).get("data")
            if isinstance(step, str):
                return dict(fields).get(step)
            if isinstance(data, ir.BufferT):  # an element of a list
                return data.item
            return fields[step][1] if 0 <= step < len(fields) else None
        case ir.TupleT(items):
            return items[step] if isinstance(step, int) and 0 <= step < len(items) else None
        case ir.OptionT(item):
            return _part(item, step, program)
    return None
