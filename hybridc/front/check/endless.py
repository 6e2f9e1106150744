"""What would have no end, or be very large: structs and models that hold themselves by value, types that need ever
larger ones.

A struct holds its fields, a model its state, and a tuple and an option their items, by value; a list, map or enum
refers to what it holds, which ends the chain. A generic type that holds itself of larger arguments, `S[list[T]]` in
`S[T]`, is another type at each step, and a fn that calls itself so another function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybridc.base.dims import Dim
from hybridc.base.types import (
    FnType,
    ModelType,
    Named,
    Option,
    Substitution,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check.scope import EnumSig, FieldSig, MemberSig, ModelSig, StructSig, World

LONGEST = 50
"""Beyond so many nested structs a generic struct grows without end."""
MOST = 2000
"""Parts of a value beyond which copying it takes longer than going where it is."""


def endless_field(sig: StructSig, world: World) -> FieldSig | None:
    """The field through which a struct holds itself, or None."""
    return next((f for f in sig.fields if _holds(f.type, sig.key, 0, set(), world)), None)


def endless_states(world: World) -> list[tuple[ModelSig, MemberSig]]:
    """The models that hold themselves in state, and where."""
    own = [sig for sig in world.sigs.values() if isinstance(sig, ModelSig) and not sig.key.startswith("std.")]
    return [(sig, m) for sig in own for m in sig.members.values()
            if m.kind == "state" and _holds(m.type, sig.key, 0, set(), world)]


def _holds(t: Type, key: str, depth: int, seen: set[Type], world: World) -> bool:
    """`seen` are the structs and models that do not, or are being looked at."""
    match t:
        case TupleType(items):
            return any(_holds(i, key, depth, seen, world) for i in items)
        case Option(item):
            return _holds(item, key, depth, seen, world)
        case Named():
            sig = world.sigs.get(t.key)
            if not isinstance(sig, StructSig) or t in seen:
                return False
            if t.key == key or depth > LONGEST:
                return True
            seen.add(t)
            return any(_holds(f, key, depth + 1, seen, world) for f in _fields(sig, t))
        case ModelType():
            model = world.sigs.get(t.key)
            if not isinstance(model, ModelSig) or t in seen:
                return False
            seen.add(t)
            return t.key == key or any(_holds(m.type, key, depth + 1, seen, world) for m in model.members.values())
    return False


def _fields(sig: StructSig, t: Named) -> list[Type]:
    s: Substitution = dict(zip(sig.params, t.args, strict=False))
    return [substitute(f.type, s) for f in sig.fields]


def large_field(sig: StructSig, world: World, known: dict[Type, int]) -> FieldSig | None:
    """The field with which a struct has more than MOST parts by value, or None; also where a field alone has, which its
    own type is to blame for. `known` are the parts of structs, none of which is endless."""
    n = 0
    for f in sig.fields:
        size = _size(f.type, world, known)
        n += size
        if n > MOST:
            return f if size <= MOST else None
    return None


def _size(t: Type, world: World, known: dict[Type, int]) -> int:
    match t:
        case TupleType(items):
            return sum(_size(i, world, known) for i in items)
        case Option(item):
            return 1 + _size(item, world, known)
        case Named():
            sig = world.sigs.get(t.key)
            if isinstance(sig, StructSig) and t not in known:
                known[t] = sum(_size(f, world, known) for f in _fields(sig, t))
            return known.get(t, 1)
    return 1


# ---- types of ever larger arguments ----------------------------------------------------------------------------------
def growing_fields(world: World) -> list[tuple[StructSig | EnumSig, FieldSig]]:
    """The fields through which a generic type needs itself of larger arguments, with their types.

    A type parameter leads to another where that one's argument is made of it; there is no end where a way that leads
    back to its start passes an argument that is more than the parameter."""
    leads: dict[TypeVar, set[TypeVar]] = {}
    larger: list[tuple[TypeVar, TypeVar, StructSig | EnumSig, FieldSig]] = []
    for sig in world.sigs.values():
        if not isinstance(sig, StructSig | EnumSig) or sig.key.startswith("std."):
            continue
        fields = [sig.fields] if isinstance(sig, StructSig) else sig.cases.values()
        for f in (f for group in fields for f in group):
            for param, arg in _arguments(f.type, world):
                for v in (p for p in _parts(arg) if isinstance(p, TypeVar)):
                    leads.setdefault(v, set()).add(param)
                    if arg != v:
                        larger.append((v, param, sig, f))
    return [(sig, f) for v, param, sig, f in larger if _leads_to(param, v, leads)]


def _arguments(t: Type, world: World) -> Iterator[tuple[TypeVar, Type]]:
    """Each type argument of the program's own types within `t`, with its parameter."""
    for part in _parts(t):
        sig = world.sigs.get(part.key) if isinstance(part, Named) and not part.key.startswith("std.") else None
        if isinstance(part, Named) and isinstance(sig, StructSig | EnumSig):
            yield from ((p, a) for p, a in zip(sig.params, part.args, strict=False)  # type: ignore[misc]
                        if isinstance(p, TypeVar))


def _leads_to(start: TypeVar, goal: TypeVar, leads: dict[TypeVar, set[TypeVar]]) -> bool:
    seen, work = {start}, [start]
    while work:
        v = work.pop()
        if v == goal:
            return True
        new = leads.get(v, set()) - seen
        seen |= new
        work += new
    return False


def _items(t: Type) -> list[Type]:
    """The types that a type is written with."""
    match t:
        case Tensor(elem):
            return [elem]
        case TupleType(items):
            return list(items)
        case Option(item):
            return [item]
        case FnType(params, result):
            return [*(p for p, _ in params), result]
        case Named(args=args):
            return [a for a in args if not isinstance(a, Dim)]
    return []


def _parts(t: Type) -> Iterator[Type]:
    """A type and all that it is written with."""
    yield t
    for i in _items(t):
        yield from _parts(i)


LARGEST = 1000
"""Type arguments of more parts are none that anybody has written."""
DEEPEST = 100
"""As deep as brackets nest."""


def too_large(types: Sequence[Type]) -> bool:
    """Whether the type arguments of an instance are larger than any that are written."""
    count = 0
    level = list(types)
    depth = 0
    while level:
        count += len(level)
        depth += 1
        if count > LARGEST or depth > DEEPEST:
            return True
        level = [i for t in level for i in _items(t)]
    return False
