"""What dimensions a type speaks of, at the top and inside."""

from __future__ import annotations

from collections.abc import Iterator

from hybridc.base.dims import Dim
from hybridc.base.types import STD_TYPES, Named, Option, Tensor, TupleType, Type
from hybridc.front.lower.context import Context
from hybridc.front.lower.types import erase

WIDE = 4
"""A type that contains itself with ever other dimensions is followed this often."""


def is_declared(ctx: Context, t: object) -> bool:
    """Whether it is a struct or enum of the program."""
    return isinstance(t, Named) and t.key not in STD_TYPES.values() and (ctx.types.is_struct(t) or ctx.types.is_enum(t))


def parts(ctx: Context, t: Type) -> list[Type]:
    """The types of what a value holds, with their dimensions."""
    match t:
        case TupleType(items):
            return list(items)
        case Option(item):
            return [item]
        case Named(key, args) if key in STD_TYPES.values():
            return [a for a in args if not isinstance(a, Dim)]
        case Named() if ctx.types.is_struct(t):
            return [f for _, f in ctx.types.fields(t)]
        case Named() if ctx.types.is_enum(t):
            return [f for _, fields in ctx.types.cases(t) for _, f in fields]
        case _:
            return []


def inside(ctx: Context, t: Type) -> dict[Type, None]:
    """Every type that a value of `t` can hold, at any depth."""

    def look() -> dict[Type, None]:
        found: dict[Type, None] = {}
        often: dict[Type, int] = {}
        waiting = parts(ctx, t)
        while waiting:
            one = waiting.pop()
            kind = erase(one)
            if one not in found and often.get(kind, 0) < WIDE:
                often[kind] = often.get(kind, 0) + 1
                found[one] = None
                waiting += parts(ctx, one)
        return found

    return ctx.once(("inside", t), look)  # type: ignore[no-any-return]


def dims_of(ctx: Context, t: object) -> Iterator[Dim]:
    """Every dimension in a type; of what the program declares those of its arguments, and constant ones inside."""
    match t:
        case Dim():
            yield t
        case Tensor(_, shape):
            for d in shape:
                if isinstance(d, Dim):
                    yield d
        case TupleType(items):
            for item in items:
                yield from dims_of(ctx, item)
        case Option(item):
            yield from dims_of(ctx, item)
        case Named(_, args):
            for a in args:
                yield from dims_of(ctx, a)
            if is_declared(ctx, t):
                yield from _constants(ctx, t)  # type: ignore[arg-type]
        case _:
            return


def _constants(ctx: Context, t: Named) -> tuple[Dim, ...]:
    """The constant dimensions of tensors inside."""

    def look() -> tuple[Dim, ...]:
        shapes = [x.shape for x in inside(ctx, t) if isinstance(x, Tensor)]
        return tuple(d for s in shapes for d in s if isinstance(d, Dim) and d.constant is not None)

    return ctx.once(("dims", t), look)  # type: ignore[no-any-return]


def is_open(d: Dim) -> bool:
    """Whether it is a `?`."""
    return any(v.name == "?" for v in d.variables())


def unchecked(ctx: Context, t: Type, within: bool = False) -> bool:
    """Whether a parameter's type says something of dimensions that the prologue does not compare: a constant one, or
    any in what a container, an option or an enum holds (`within`)."""
    match t:
        case Tensor(_, shape):
            known = [d for d in shape if isinstance(d, Dim) and not is_open(d)]
            return any(within or d.constant is not None for d in known)
        case TupleType(items):
            return any(unchecked(ctx, i, within) for i in items)
        case Option(item):
            return unchecked(ctx, item, True)
        case Named(key, args) if key in STD_TYPES.values():
            return any(unchecked(ctx, a, True) for a in args if not isinstance(a, Dim))
        case Named() if within or ctx.types.is_enum(t):
            return any(not is_open(d) for d in dims_of(ctx, t))
        case Named() if ctx.types.is_struct(t):
            return bool(_constants(ctx, t)) or any(
                unchecked(ctx, f) for _, f in ctx.types.fields(t) if any(True for _ in dims_of(ctx, f)))
        case _:
            return False


def ragged(ctx: Context, t: Type) -> bool:
    """Whether what it holds may have other dimensions from one value to the next: a `?` within a container."""
    match t:
        case TupleType(items):
            return any(ragged(ctx, i) for i in items)
        case Named(key) if key in STD_TYPES.values() or ctx.types.is_enum(t):
            return any(is_open(d) for d in dims_of(ctx, t))
        case Named() if ctx.types.is_struct(t):
            return any(ragged(ctx, f) for _, f in ctx.types.fields(t) if any(is_open(d) for d in dims_of(ctx, f)))
        case _:
            return False
