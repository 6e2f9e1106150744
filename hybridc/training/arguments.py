"""What a training function is called with: what the command line says, else what can be made without being told."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hybridc_runtime.classes import Record
from hybridc_runtime.models import ModelBase
from hybridc_runtime.module import Module
from hybridc_runtime.values import Native, rng

from hybridc.base.dims import Dim
from hybridc.base.types import INT, RNG, ConfigValue, ModelType, Named, Type, TypeVar
from hybridc.expressions import Unusable, value
from hybridc.front.check import tree

COUNTERS = ("step", "epoch")
"""Parameters of these names are given the number of the call."""


@dataclass
class Arguments:
    """The values by name, in the order of the parameters. `lasting` are changed by the function."""

    values: dict[str, Any]
    lasting: list[str]
    counters: list[str]


def declared(program: tree.Program, name: str) -> tree.FnDecl:
    """The function of that name; Unusable if there is none."""
    decl = program.decls.get(program.names.get(name, ""))
    if not isinstance(decl, tree.FnDecl):
        raise Unusable(f"there is no function `{name}`")
    return decl


def make(
    module: Module, program: tree.Program, decl: tree.FnDecl, given: Mapping[str, str], seed: int, folder: Path
) -> Arguments:
    """Build the arguments. `given` are expressions by parameter: a literal, a call of something in the module, or
    `@FILE` (.npy, .npz:KEY, .json), looked up in `folder`."""
    names = [p.var.name for p in decl.params]
    for name in given:
        if name not in names:
            raise Unusable(f"`{decl.name}` has no parameter `{name}`; it has {', '.join(names)}")
    made = Arguments({}, [], [])
    for p in decl.params:
        name = p.var.name
        if name in given:
            made.values[name] = value(module, given[name], seed, folder)
        elif name in COUNTERS and p.var.type == INT and not p.mut:
            made.values[name] = 0
            made.counters.append(name)
        else:
            found = _unasked(module, program, p, seed)
            if found is None:
                if p.default is None:
                    raise Unusable(f"`{decl.name}` needs `{name}`: say {name}=VALUE")
                continue
            made.values[name] = found
        if p.mut:
            made.lasting.append(name)
            made.values[name] = changeable(module, made.values[name], p)
    return made


def changeable(module: Module, found: Any, p: tree.ParamDecl) -> Any:
    """A value that a call can change: what Python cannot change, enums too, stays native."""
    if isinstance(found, ModelBase | Native | rng | list | dict | set | deque | np.ndarray):
        return found
    if isinstance(found, Record) and "." not in found._hyb_name:  # a struct
        return found
    return module.native(found, str(p.var.type))


def _from_python(c: ConfigValue) -> Any:
    """An argument of a configuration as Python gives it; None for a function or a model."""
    match c:
        case Dim():
            return c.constant
        case tuple():
            items = [_from_python(x) for x in c]
            return None if None in items else items
        case bool() | float() | str():
            return c
    return None


def _unasked(module: Module, program: tree.Program, p: tree.ParamDecl, seed: int) -> Any:
    """A generator, a model of the configuration that its type says, or the one exported or by default, a struct of
    defaults; else None."""
    t: Type = p.var.type
    if t == RNG:
        return rng(seed)
    if not isinstance(t, Named | ModelType | TypeVar):
        return None
    key = t.key if isinstance(t, Named | ModelType) else (t.bound or "").removeprefix("model ")
    decl = program.decls.get(key)
    if isinstance(decl, tree.ModelDecl):
        exports = [e for e in program.exports if isinstance(e.target, ModelType) and e.target.key == key]
        said = isinstance(t, ModelType) and t.config
        if not said and len(exports) == 1 and hasattr(module, exports[0].name) and exports[0].name != decl.name:
            return getattr(module, exports[0].name)(seed=seed)
        known = t if said else exports[0].target if len(exports) == 1 else None
        given = [_from_python(c) for c in known.config] if isinstance(known, ModelType) else [None]
        if None not in given:
            return getattr(module, decl.name)(*given, seed=seed)
        if not said and all(c.has_default for c in decl.config):
            return getattr(module, decl.name)(seed=seed)
        raise Unusable(f"say of which configuration `{p.var.name}` is: {p.var.name}={decl.name}(...)")
    if isinstance(decl, tree.StructDecl) and decl.name in vars(module):
        return getattr(module, decl.name)() if all(f.default is not None for f in decl.fields) else None
    return None
