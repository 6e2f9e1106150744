"""Structs that would have no end: those that hold themselves by value.

A struct holds its fields, and a tuple and an option their items, by value; a list, map or enum refers to what it holds,
which ends the chain.
"""

from __future__ import annotations

from hybridc.base.types import Named, Option, Substitution, TupleType, Type, substitute
from hybridc.front.scope import FieldSig, StructSig, World

LONGEST = 50
"""Beyond so many nested structs a generic struct grows without end."""


def endless_field(sig: StructSig, world: World) -> FieldSig | None:
    """The field through which a struct holds itself, or None."""
    return next((f for f in sig.fields if _holds(f.type, sig.key, (), world)), None)


def _holds(t: Type, key: str, path: tuple[Type, ...], world: World) -> bool:
    match t:
        case TupleType(items):
            return any(_holds(i, key, path, world) for i in items)
        case Option(item):
            return _holds(item, key, path, world)
        case Named():
            sig = world.sigs.get(t.key)
            if not isinstance(sig, StructSig) or t in path:
                return False
            if t.key == key or len(path) > LONGEST:
                return True
            s: Substitution = dict(zip(sig.params, t.args, strict=False))
            return any(_holds(substitute(f.type, s), key, (*path, t), world) for f in sig.fields)
    return False
