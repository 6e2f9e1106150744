"""Configuration values: what fits the type of an argument, and which of its parts are dimensions."""

from __future__ import annotations

from typing import Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.types import INT, PRIMS, STD_TYPES, ConfigValue, Named, Prim, TupleType, Type
from hybridc.front.check.consts import fits, rounded
from hybridc.front.check.scope import ConfigSig, ConstSig, World
from hybridc.front.parse import syntax


def config_item(config: ConfigSig, index: int) -> Dim:
    """`sizes[0]` of a configuration list, as a dimension."""
    config.indices.add(index)
    return Dim.of(DimVar(f"{config.var.key}[{index}]", f"{config.name}[{index}]"))


def fit_config(value: Any, t: Type) -> ConfigValue:
    """A constant as a configuration value of this type; None if it does not fit."""
    match t:
        case Prim("int"):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return Dim.of(value) if whole and fits(value, INT) else None
        case Prim("bool"):
            return value if isinstance(value, bool) else None
        case Prim():
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            return rounded(value) if t.name[0] in "fb" else Dim.of(value)  # type: ignore[arg-type]
        case Named() if t.key == STD_TYPES["str"]:
            return value if isinstance(value, str) else None
        case Named() if t.key == STD_TYPES["list"] and isinstance(value, tuple):
            items = tuple(fit_config(v, t.args[0]) for v in value)  # type: ignore[arg-type]
            return None if any(i is None for i in items) else items
        case TupleType() if isinstance(value, int) and ints(t):
            return (fit_config(value, PRIMS["int"]),) * ints(t)
        case TupleType(items) if isinstance(value, tuple) and len(value) == len(items):
            fitted = tuple(fit_config(v, i) for v, i in zip(value, items))
            return None if any(i is None for i in fitted) else fitted
    return None


def ints(t: Type) -> int:
    """How many ints a configuration tuple holds, for each of which one int may stand; 0 for any other type."""
    return len(t.items) if isinstance(t, TupleType) and all(i == PRIMS["int"] for i in t.items) else 0


def words(world: World, config: ConfigSig) -> dict[str, int]:
    """Texts that may stand for the ints of an argument: `padding="same"` is the constant PADDING_SAME of the module
    that declares the model."""
    if config.type != PRIMS["int"] and not ints(config.type):
        return {}
    module = world.modules[config.var.key.partition(":")[0]]
    found = {}
    for name, entity in module.names.items():
        sig = world.sigs.get(entity.key) if name.startswith(f"{config.name.upper()}_") else None
        if isinstance(sig, ConstSig) and type(sig.value) is int:
            found[name[len(config.name) + 1:].lower()] = sig.value
    return found


def worded(world: World, config: ConfigSig, e: object) -> ConfigValue:
    """What a text stands for as this argument; None if it stands for nothing."""
    value = words(world, config).get(e.value) if isinstance(e, syntax.Literal) and isinstance(e.value, str) else None
    return None if value is None else fit_config(value, config.type)
