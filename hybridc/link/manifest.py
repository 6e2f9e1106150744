"""The manifest of a compiled program: its interface, its types, and the side tables that name sites and services."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from hybridc_runtime import manifest as stored
from hybridc_runtime.manifest import VERSION, Manifest, manifest_of_record

from hybridc.base.source import Source, Sources, Span, in_file
from hybridc.base.types import PRIMS
from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Kind, Model, ModelClass, ModelParam, ModelState, Param
from hybridc.llvm.module import Tables
from hybridc.passes.recognise import Origins, absolute


def type_record(t: ir.Type) -> Any:
    """A Core type as the manifest writes it."""
    match t:
        case ir.Prim(name):
            return name
        case ir.TensorT(elem, dims):
            return ["tensor", elem.name, list(dims)]
        case ir.TupleT(items):
            return ["tuple", [type_record(i) for i in items]]
        case ir.OptionT(item):
            return ["option", type_record(item)]
        case ir.BufferT(item):
            return ["buffer", type_record(item)]
        case ir.StructT(name):
            return ["struct", name]
        case ir.EnumT(name):
            return ["enum", name]


def type_of_record(t: Any) -> ir.Type:
    """The Core type of a manifest's; ValueError for what is none."""
    match t:
        case str() if t in PRIMS:
            return PRIMS[t]
        case ("tensor", elem, (*dims,)) if elem in PRIMS and all(d is None or isinstance(d, int) for d in dims):
            return ir.TensorT(PRIMS[elem], tuple(dims))
        case ("tuple", (*items,)):
            return ir.TupleT(tuple(map(type_of_record, items)))
        case ("option", item):
            return ir.OptionT(type_of_record(item))
        case ("buffer", item):
            return ir.BufferT(type_of_record(item))
        case ("struct", str(name)):
            return ir.StructT(name)
        case ("enum", str(name)):
            return ir.EnumT(name)
    raise ValueError(f"{t!r} is not a type")


def _entry(e: stored.Entry) -> Entry:
    params = [
        Param(p.name, type_of_record(p.type), p.mut, p.default, p.shown, p.pack, p.leading, p.stays) for p in e.params
    ]
    result = None if e.result is None else type_of_record(e.result)
    return Entry(e.symbol, params, result, e.result_shown, e.doc, e.pace, [_entry(v) for v in e.variants])


def interface_of(m: stored.Manifest) -> Interface:
    """The interface that a manifest was made from; ValueError for one that is not well formed."""
    kinds = {
        name: Kind(k.kind, [type_of_record(a) for a in k.args], k.title, k.helpers, k.muts, k.shown, k.doc)
        for name, k in m.kinds.items()
    }
    models = []
    for x in m.models:
        groups = (x.methods, x.gradients, x.pullbacks, x.curvatures)
        tables = ({name: _entry(e) for name, e in group.items()} for group in groups)
        params = [ModelParam(p.path, p.offset, p.shape) for p in x.params]
        states = [ModelState(s.path, type_of_record(s.type), s.route, s.check, list(s.dims)) for s in x.states]
        models.append(Model(
            x.key, x.name, x.config, x.shown, x.struct, x.init, x.elem, x.size, params, states, *tables
        ))
    classes = {
        name: ModelClass(c.key, c.name, [(n, shown, default, has) for n, shown, default, has in c.config], c.methods,
                         c.doc, c.words)
        for name, c in m.model_classes.items()
    }
    return Interface(
        {name: [_entry(e) for e in group] for name, group in m.fns.items()}, kinds, m.classes, models, classes,
        {name: (key, config) for name, (key, config) in m.exports.items()}, m.constants,
        [(title, symbol) for title, symbol in m.tests], m.externs, m.doc,
    )


def sources_of(m: stored.Manifest) -> Sources:
    """Stand-ins for the sources, of which a manifest knows the lengths of lines: places in them are found."""
    return {path: Source(path, "\n".join(" " * n for n in lengths)) for path, lengths in m.lines.items()}


def _record(value: Any) -> Any:
    """Plain data of an interface: records by field, types as the manifest writes them."""
    if isinstance(value, ir.Prim | ir.TensorT | ir.TupleT | ir.OptionT | ir.BufferT | ir.StructT | ir.EnumT):
        return type_record(value)
    if is_dataclass(value):
        return {f.name: _record(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {k: _record(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_record(v) for v in value]
    return value


def _site(span: Span, title: str, hidden: bool, sources: Sources) -> list[Any]:
    source = sources.get(span.path)
    line, column = source.line_column(span.start) if source else (0, 0)
    return [span.path, line, column, title, hidden]


def manifest_of(
    name: str,
    path: str,
    interface: Interface,
    program: ir.Program,
    tables: Tables,
    sources: Sources,
    origins: Origins,
) -> Manifest:
    """Everything a loader needs besides the code. `origins`: where places count from (passes/recognise.py)."""
    sites = [(in_file(absolute(span, origins), sources), title, hidden) for span, title, hidden in tables.sites]
    hosts = tables.hosts
    record = _record(interface) | {"version": VERSION, "name": name, "path": path}
    record["lines"] = {
        path: [len(line) for line in sources[path].text.split("\n")]
        for path in sorted({span.path for span, _, _ in sites}) if path in sources
    }
    record["hosts"] = [
        [n, [type_record(t) for t in params], [type_record(t) for t in results]] for n, params, results in hosts
    ]
    record["sites"] = [_site(span, title, hidden, sources) for span, title, hidden in sites]
    record["structs"] = {n: [[f, type_record(t)] for f, t in s.fields] for n, s in sorted(program.structs.items())}
    record["enums"] = {
        n: [[case, [[f, type_record(t)] for f, t in case_fields]] for case, case_fields in e.cases]
        for n, e in sorted(program.enums.items())
    }
    return manifest_of_record(record)
