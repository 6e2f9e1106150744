"""The manifest of a compiled program: its interface, its types, and the side tables that name sites and services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hybridc_runtime.manifest import VERSION, Manifest, manifest_of_record

from hybridc.base.source import Sources, Span
from hybridc.core import ir
from hybridc.core.interface import Interface


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
    sites: Sequence[tuple[Span, str, bool]],
    hosts: Sequence[tuple[str, Sequence[ir.Type], Sequence[ir.Type]]],
    sources: Sources,
) -> Manifest:
    """Everything a loader needs besides the code."""
    record = _record(interface) | {"version": VERSION, "name": name, "path": path}
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
