"""Models whose configuration is open: what only lowering can compute stands in their type as a variable.

`[Linear(sizes[i], sizes[i + 1]) for i in range(n)]` is a list of such models. Its items differ, so each one that is
taken out gets variables of its own; lowering gives them their values where it meets the item."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim
from hybridc.base.types import STD_TYPES, ModelType, Named, Option, TupleType, Type, TypeVar
from hybridc.front.check.infer import is_unknown

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

HELD = frozenset({STD_TYPES["list"], STD_TYPES["map"]})


def is_open(value: object) -> bool:
    """Whether a configuration value is known to lowering only."""
    match value:
        case Dim():
            return any(is_unknown(v) for v in value.variables())
        case TypeVar(key=key):
            return key.startswith("?")
        case ModelType(config=config):
            return any(map(is_open, config))
        case tuple():
            return any(map(is_open, value))
    return False


def holds_open(t: Type) -> bool:
    """Whether a type is made of models and some configuration in it is open."""
    match t:
        case ModelType():
            return is_open(t)
        case Option(item):
            return holds_open(item)
        case TupleType(items):
            return any(map(holds_open, items))
        case Named(key, args) if key in HELD:
            return holds_open(args[-1])  # type: ignore[arg-type]
    return False


def fresh_config(c: Body, name: str) -> TypeVar:
    """A variable for a configuration argument that is no int."""
    return TypeVar(f"?{c.solver.tick()}", name, "config")


def reopened(c: Body, t: Type, opens: Callable[[object], bool] = is_open) -> Type:
    """The type with every open configuration argument replaced by a variable of its own; equal ones stay equal."""
    made: dict[object, Any] = {}

    def renew(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(renew, value))
        if isinstance(value, ModelType):
            return ModelType(value.key, tuple(map(renew, value.config)))
        if isinstance(value, Dim | TypeVar) and opens(value):
            if value not in made:
                made[value] = c.fresh_dim() if isinstance(value, Dim) else fresh_config(c, value.name)
            return made[value]
        return value

    def walk(t: Type) -> Type:
        match t:
            case ModelType():
                return renew(t)
            case Option(item):
                return Option(walk(item))
            case TupleType(items):
                return TupleType(tuple(map(walk, items)))
            case Named(key, args) if key in HELD:
                return Named(key, (*args[:-1], walk(args[-1])))  # type: ignore[arg-type]
        return t

    return walk(t)
