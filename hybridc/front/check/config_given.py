"""Configurations as Python gives them, as types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridc.base.dims import Dim
from hybridc.base.types import FnRef, FnType, ModelType, Named, TupleType, Type, TypeVar, show_config
from hybridc.front.check import tree
from hybridc.front.check.config_fns import fits
from hybridc.front.check.scope import ParamSig, World


def model_type(program: tree.Program, key: str, config: Sequence[Any]) -> ModelType:
    """A configuration as Python gives it, as a type."""
    decl = program.decls[key]
    assert isinstance(decl, tree.ModelDecl)
    values = []
    for param, value in zip(decl.config, config, strict=True):
        made = _config_value(program, value)
        _check_config(program, f"{decl.name}() argument {param.name}", made, param.type)
        values.append(made)
    return ModelType(key, tuple(values))


def _check_config(program: tree.Program, what: str, made: Any, t: Type) -> None:
    """TypeError for a function or a model where another function, or no model, is expected; in lists too."""
    match made, t:
        case tuple(), Named(_, (item,)):
            for x in made:
                _check_config(program, what, x, item)  # type: ignore[arg-type]
        case tuple(), TupleType(items):
            for x, k in zip(made, items):
                _check_config(program, what, x, k)
        case _:
            asked = isinstance(t, TypeVar) and t.bound == "model"
            if isinstance(made, ModelType) != asked:
                raise TypeError(f"{what}: expected {'a model' if asked else f'{t}, found the model {made}'}")
            if isinstance(made, FnRef) and not _is_of(program, made, t):
                raise TypeError(f"{what}: expected {t}, and {show_config(made)} is another function")


def _config_value(program: tree.Program, value: Any) -> Any:
    match value:
        case bool() | float() | str() | None:
            return value
        case int():
            return Dim.of(value)
        case list() | tuple():
            return tuple(_config_value(program, v) for v in value)
        case {"fn": name} if isinstance(program.decls.get(program.names.get(name, name)), tree.FnDecl):
            return FnRef(program.names.get(name, name))
        case {"model": key, "config": config}:
            return model_type(program, key, config)
    kind = type(value).__name__
    raise TypeError(f"a configuration argument is an int, float, bool, str, a list of these, a function of the module "
                    f"or a model, not {kind}")


def _is_of(program: tree.Program, fn: FnRef, t: Type) -> bool:
    """Whether a function is of a fn type."""
    decl = program.decls[fn.key]
    assert isinstance(decl, tree.FnDecl)
    params = [ParamSig(p.var.name, p.var.type, p.mut, p.default is not None, decl.span) for p in decl.params]
    return isinstance(t, FnType) and fits(World(), decl, params, decl.result, t)
