"""The manifest: everything that Python needs to know of a compiled program, as JSON.

    {"version": 5, "name": "tree", "path": "tree.hyb", "doc": null,
     "structs": {NAME: [[FIELD, TYPE], ...]}, "enums": {NAME: [[CASE, [[FIELD, TYPE], ...]], ...]},
     "kinds": {NAME: KIND}, "fns": {NAME: [ENTRY, ...]}, "classes": {TITLE: NAME}, "models": [MODEL, ...],
     "model_classes": {NAME: MODELCLASS}, "exports": {NAME: [MODEL KEY, [CONFIG, ...]]}, "constants": {NAME: VALUE},
     "tests": [[TITLE, SYMBOL], ...], "externs": [NAME, ...],
     "sites": [[PATH, LINE, COLUMN, TITLE, HIDDEN], ...],          a site id of the trace is an index into it
     "lines": {PATH: [LENGTH, ...]},                               of the lines of sources, for places after a rebuild
     "hosts": [[NAME, [PARAM TYPE, ...], [RESULT TYPE, ...]], ...]} the id given to ctx.host is an index into it

    TYPE = "int" | ["tensor", "f32", [null, 3]] | ["tuple", [TYPE, ...]] | ["option", TYPE] | ["buffer", TYPE]
         | ["struct", NAME] | ["enum", NAME]

ENTRY, KIND, MODEL and MODELCLASS are objects with the fields of the records of the same name below, which mirror
`hybridc.core.interface`. In Python a TYPE is the same thing made of tuples, so that it can be a key. A VALUE that is
a tuple is {"tuple": [...]}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, get_args

from hybridc_runtime.more import Table

VERSION = 8
Type: TypeAlias = "str | tuple[Any, ...]"
FLOATS = ("f16", "bf16", "f32", "f64")


@dataclass(slots=True)
class Param:
    name: str
    type: Type
    mut: bool = False
    default: str | None = None
    shown: str = ""
    pack: str = ""
    leading: int = 0
    stays: bool = True


@dataclass(slots=True)
class Entry:
    symbol: str
    params: list[Param]
    result: Type | None
    result_shown: str = ""
    doc: str | None = None
    pace: str = ""
    variants: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Kind:
    kind: str
    args: list[Type] = field(default_factory=list)
    title: str = ""
    helpers: dict[str, str] = field(default_factory=dict)
    muts: list[bool] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    doc: str | None = None


@dataclass(slots=True)
class ModelParam:
    path: str
    offset: int
    shape: list[int]


@dataclass(slots=True)
class ModelState:
    path: str
    type: Type
    route: list[Any]
    check: str = ""
    dims: list[int | None] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    key: str
    name: str
    config: list[Any]
    shown: str
    struct: str
    init: str
    elem: str
    size: int
    params: list[ModelParam]
    states: list[ModelState]
    methods: dict[str, Entry]
    gradients: dict[str, Entry] = field(default_factory=dict)
    pullbacks: dict[str, Entry] = field(default_factory=dict)
    curvatures: dict[str, Entry] = field(default_factory=dict)


@dataclass(slots=True)
class ModelClass:
    key: str
    name: str
    config: list[list[Any]]
    methods: list[str]
    doc: str | None = None
    words: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Manifest:
    name: str = ""
    path: str = ""
    doc: str | None = None
    structs: dict[str, list[tuple[str, Type]]] = field(default_factory=dict)
    enums: dict[str, list[tuple[str, list[tuple[str, Type]]]]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    fns: dict[str, list[Entry]] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    model_classes: dict[str, ModelClass] = field(default_factory=dict)
    exports: dict[str, list[Any]] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    tests: list[list[str]] = field(default_factory=list)
    externs: list[str] = field(default_factory=list)
    sites: list[list[Any]] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=dict)
    hosts: list[tuple[str, list[Type], list[Type]]] = field(default_factory=list)

    def to_json(self) -> str:
        """The same text for the same program."""
        record = {"version": VERSION} | _record(self)
        return json.dumps(record, separators=(",", ":"), ensure_ascii=False, default=_record)

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        return manifest_of_record(json.loads(text))


def _record(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__slots__}


def as_type(j: Any) -> Type:
    """A type as it stands in JSON, made of tuples."""
    if isinstance(j, str):
        return j
    match j[0]:
        case "tensor":
            return ("tensor", j[1], tuple(j[2]))
        case "tuple":
            return ("tuple", tuple(as_type(i) for i in j[1]))
        case "option" | "buffer":
            return (j[0], as_type(j[1]))
        case _:
            return (j[0], j[1])


def _fields(pairs: Any) -> list[tuple[str, Type]]:
    return [(name, as_type(t)) for name, t in pairs]


def _param(j: dict[str, Any]) -> Param:
    return Param(**{**j, "type": as_type(j["type"])})


def _entry(j: dict[str, Any]) -> Entry:
    result = None if j["result"] is None else as_type(j["result"])
    variants = [_entry(e) for e in j.get("variants", ())]
    return Entry(**{**j, "params": [_param(p) for p in j["params"]], "result": result, "variants": variants})


def _model(j: dict[str, Any]) -> Model:
    return Model(**{
        **j,
        "params": [ModelParam(**p) for p in j["params"]],
        "states": [ModelState(**{**s, "type": as_type(s["type"])}) for s in j["states"]],
        **{table: {name: _entry(e) for name, e in j[table].items()} for table in get_args(Table)[1:]},
    })


def manifest_of_record(j: dict[str, Any]) -> Manifest:
    """From parsed JSON; ValueError for another version."""
    if j.get("version") != VERSION:
        raise ValueError(f"made by another version of hybridc (format {j.get('version')}, this one reads {VERSION})")
    known = {f.name for f in fields(Manifest)}
    m = Manifest(**{k: v for k, v in j.items() if k in known})
    m.structs = {name: _fields(pairs) for name, pairs in m.structs.items()}
    m.enums = {name: [(case, _fields(pairs)) for case, pairs in cases] for name, cases in m.enums.items()}
    m.kinds = {name: Kind(**{**k, "args": [as_type(a) for a in k["args"]]}) for name, k in j["kinds"].items()}
    m.fns = {name: [_entry(e) for e in entries] for name, entries in j["fns"].items()}
    m.models = [_model(x) for x in j["models"]]
    m.model_classes = {name: ModelClass(**c) for name, c in j["model_classes"].items()}
    m.hosts = [(name, [as_type(t) for t in params], [as_type(t) for t in results]) for name, params, results in m.hosts]
    return m
