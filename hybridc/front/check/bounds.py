"""What a type can do: meet a bound, be shown, compared, hashed, copied."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.base.dims import Dim
from hybridc.base.types import (
    BF16,
    BOOL,
    BUFFER,
    F16,
    F32,
    F64,
    FLOATS,
    I32,
    INT,
    INTS,
    NUMBERS,
    RNG,
    STD_TYPES,
    STR,
    U8,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check.infer import Meta
from hybridc.front.check.scope import EnumSig, ModelSig, StructSig, World

BOUNDS = ("int", "float", "number", "key", "order", "model")
_IMPLIED: dict[str, frozenset[str]] = {
    "int": frozenset({"int", "number", "key", "order"}),
    "float": frozenset({"float", "number", "order"}),
    "number": frozenset({"number", "order"}),
    "key": frozenset({"key"}),
    "order": frozenset({"order"}),
    "model": frozenset({"model"}),
}
_WIDEST_FIRST = (F64, F32, BF16, F16, INT, I32, U8)
_NO_KEYS = frozenset(
    {STD_TYPES[n] for n in ("list", "map", "set", "heap", "deque", "graph", "store", "rng")} | {BUFFER})


def implied(bound: str | None) -> frozenset[str]:
    """The bounds that a type parameter declared with `bound` meets."""
    if bound is None:
        return frozenset()
    if bound.startswith("model "):
        return frozenset({"model", bound})
    return _IMPLIED.get(bound, frozenset({bound}))


COPIED = "copied"
"""What every type parameter may be, without being declared so."""


def satisfies(world: World, t: Type, bound: str) -> bool:
    """Whether a type meets a bound. What is not known yet, or wrong already, does."""
    return _satisfies(world, t, bound, set())


def _satisfies(world: World, t: Type, bound: str, seen: set[Type]) -> bool:
    if isinstance(t, Meta):
        return t.ref is None or _satisfies(world, t.ref, bound, seen)
    if isinstance(t, Poison) or bound in ("method", "config"):
        return True
    if bound == COPIED:
        return resource_in(world, t) is None
    if isinstance(t, TypeVar):
        return bound in implied(t.bound)
    match bound:
        case "int":
            return t in INTS
        case "float":
            return t in FLOATS
        case "number":
            return t in NUMBERS
        case "model":
            return isinstance(t, ModelType)
        case "order":
            match t:
                case Prim():
                    return True
                case TupleType(items):
                    return all(_satisfies(world, i, bound, seen) for i in items)
                case Named(key, args):
                    if key == STD_TYPES["list"]:
                        return _satisfies(world, args[0], bound, seen)  # type: ignore[arg-type]
                    return t == STR
            return False
        case "key":
            return _is_key(world, t, seen)
    if bound.startswith("model "):
        return isinstance(t, ModelType) and t.key == bound[6:]
    return True


def _is_key(world: World, t: Type, seen: set[Type]) -> bool:
    match t:
        case Prim():
            return t in INTS or t == BOOL
        case TupleType(items):
            return all(_satisfies(world, i, "key", seen) for i in items)
        case Named(key, args):
            if t == STR or t in seen:
                return True
            if key in _NO_KEYS:
                return False
            sig = world.type(key)
            seen.add(t)
            return all(_satisfies(world, f, "key", seen) for f in parts_of(sig, args))
    return False


def parts_of(sig: object, args: tuple[Type | Dim, ...]) -> list[Type]:
    """The types of all fields of a struct or enum with these arguments."""
    if isinstance(sig, StructSig):
        fields = [f.type for f in sig.fields]
    elif isinstance(sig, EnumSig):
        fields = [f.type for case in sig.cases.values() for f in case]
    else:
        return []
    s = dict(zip(sig.params, args))
    return [substitute(f, s) for f in fields]  # type: ignore[arg-type]


def bound_phrase(t: Type, bound: str) -> str:
    """Why `t` does not meet `bound`."""
    if isinstance(t, TypeVar):
        return f"`{t}` may be any type, and here it must be {_WORDS.get(bound, bound)}"
    return f"{t} is not {_WORDS.get(bound, bound)}"


def key_help(world: World, t: Type) -> str:
    """What keys are made of, and the part of `t` that is something else, where that is hidden in it."""
    def within(p: Type) -> bool:
        made_of_others = isinstance(p, TupleType) or isinstance(p, Named) and p.key not in _NO_KEYS
        return not made_of_others and not satisfies(world, p, "key")

    found = _contains(world, t, within)
    hidden = f"; {t} holds a {found}" if found is not None and found != t else ""
    return "keys are made of ints, bools, strings, tuples, enums and structs of these" + hidden


def wanted(bound: str) -> str:
    if bound.startswith("model "):
        return "a model " + bound.rpartition(":")[2]
    return _WORDS.get(bound, bound)


_WORDS = {
    "int": "an integer type (bound int)", "float": "a float type (bound float)", "number": "a number (bound number)",
    COPIED: "a value that may be copied, as any `T` may",
    "key": "a key (bound key)", "order": "ordered by `<` (bound order)", "model": "a model",
}


def is_resource(world: World, t: Type) -> bool:
    """A store, a rng, or a model whose state holds one, or that of a model which it is made for: never copied."""
    match t:
        case Meta():
            return t.ref is not None and is_resource(world, t.ref)
        case Named(key):
            return key in (STD_TYPES["store"], STD_TYPES["rng"])
        case ModelType(key, config):
            sig = world.sigs.get(key)
            return isinstance(sig, ModelSig) and sig.resource or any(
                isinstance(c, ModelType) and is_resource(world, c) for c in config)
        case TypeVar(bound=str() as bound) if bound.startswith("model "):
            sig = world.sigs.get(bound[6:])
            return isinstance(sig, ModelSig) and sig.resource
    return False


def resource_in(world: World, t: Type) -> Type | None:
    """The resource that a value of this type is, or holds."""
    return _contains(world, t, lambda p: is_resource(world, p))


def _contains(world: World, t: Type, bad: Callable[[Type], bool], seen: set[Type] | None = None) -> Type | None:
    """The first part of a type for which `bad` holds."""
    seen = set() if seen is None else seen
    if bad(t):
        return t
    if t in seen or t == STR:
        return None
    seen.add(t)
    parts: list[Type]
    match t:
        case Meta():
            parts = [t.ref] if t.ref is not None else []
        case TupleType(items):
            parts = list(items)
        case Option(item):
            parts = [item]
        case Named(key, args):
            if key == BUFFER or key in _NO_KEYS:
                parts = [a for a in args if not isinstance(a, Dim)]
            else:
                parts = parts_of(world.type(key), args)
        case _:
            return None
    for p in parts:
        found = _contains(world, p, bad, seen)
        if found is not None:
            return found
    return None


def holds_floats(world: World, t: Type, seen: set[Type] | None = None) -> bool:
    """Whether a value of this type can carry a derivative; `seen` are types that are looked at already."""
    seen = set() if seen is None else seen
    match t:
        case Tensor(elem):
            return is_float(elem)
        case TupleType(items):
            return any(holds_floats(world, i, seen) for i in items)
        case Option(item):
            return holds_floats(world, item, seen)
        case TypeVar():
            return is_float(t) or t.bound in (None, "number", "method", "model") or (t.bound or "").startswith("model ")
        case ModelType():
            return True
        case Named(key, args):
            if t in seen or t == RNG:
                return False
            seen.add(t)
            if key == BUFFER or (key.startswith("std.") and args):
                return any(holds_floats(world, a, seen) for a in args if not isinstance(a, Dim))
            return any(holds_floats(world, p, seen) for p in parts_of(world.type(key), args))
    return t in FLOATS


def not_comparable(world: World, t: Type) -> Type | None:
    """The part of a type that keeps it from being compared with `==`: a function or a resource."""
    return _contains(world, t, lambda p: isinstance(p, FnType) or is_resource(world, p))


def not_showable(world: World, t: Type) -> Type | None:
    """The part of a type that keeps it from being shown in an f-string: a function or a resource."""
    return _contains(world, t, lambda p: isinstance(p, FnType) or is_resource(world, p))


def not_written(world: World, t: Type) -> str:
    """Why no store writes values of a type to disk; nothing if one does."""
    part = not_showable(world, t)
    return "" if part is None else f"{'a function' if isinstance(part, FnType) else part} is not written to disk"


def is_plain(t: Type) -> bool:
    """Numbers, bools and text, and lists and tuples of these: what is known of a value when the program is compiled is
    the whole of it."""
    match t:
        case TupleType(items):
            return all(map(is_plain, items))
        case Named(key, args) if key == STD_TYPES["list"]:
            return is_plain(args[0])  # type: ignore[arg-type]
    return isinstance(t, Prim) or t == STR


def is_number(t: Type) -> bool:
    """A scalar number, of a type parameter bound to numbers too."""
    return t in NUMBERS or (isinstance(t, TypeVar) and "number" in implied(t.bound))


def is_float(t: Type) -> bool:
    return t in FLOATS or (isinstance(t, TypeVar) and "float" in implied(t.bound))


def is_int(t: Type) -> bool:
    return t in INTS or (isinstance(t, TypeVar) and "int" in implied(t.bound))


def wider(a: Type, b: Type) -> Type:
    """Which of two types of numbers a cast should be to: it keeps more of both."""
    return min(a, b, key=lambda t: _WIDEST_FIRST.index(t) if t in _WIDEST_FIRST else 0)


def model_of(t: Type) -> str | None:
    """The declaration of a model, of one configuration or any."""
    if isinstance(t, TypeVar):
        return t.bound.removeprefix("model ") if (t.bound or "").startswith("model ") else None  # type: ignore[union-attr]
    return t.key if isinstance(t, ModelType) else None


def elem_of(t: Type) -> Type:
    return t.elem if isinstance(t, Tensor) else t
