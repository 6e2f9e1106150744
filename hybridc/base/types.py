"""The types of the language, as the checker sees them: they may mention type variables and symbolic dimensions.

    type = Prim | Tensor | TupleType | Option | FnType | Named | ModelType | TypeVar | Void | Poison

Declarations are named by keys "MODULE:Name" ("std.list:list", "main:Tree"), so types are plain values that can be
stored and compared.
"""

from __future__ import annotations

from typing import Union

from hybridc.base.dims import Dim, DimVar, PackVar, Shape, show_shape
from hybridc.base.immutable import immutable


@immutable(frozen=True, slots=True)
class Prim:
    """A scalar type: `bool int i32 u8 f64 f32 f16 bf16`."""

    name: str

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)


BOOL, INT, I32, U8 = Prim("bool"), Prim("int"), Prim("i32"), Prim("u8")
F64, F32, F16, BF16 = Prim("f64"), Prim("f32"), Prim("f16"), Prim("bf16")
PRIMS = {t.name: t for t in (BOOL, INT, I32, U8, F64, F32, F16, BF16)}
FLOATS = frozenset({F64, F32, F16, BF16})
INTS = frozenset({INT, I32, U8})
NUMBERS = FLOATS | INTS


@immutable(frozen=True, slots=True)
class Tensor:
    """A tensor with at least one shape item; `elem` is a Prim or a TypeVar bound to numbers."""

    elem: Type
    shape: Shape

    def __str__(self) -> str:
        return f"{self.elem}{show_shape(self.shape)}"


@immutable(frozen=True, slots=True)
class TupleType:
    items: tuple[Type, ...]

    def __str__(self) -> str:
        return "(" + ", ".join(map(str, self.items)) + ("," if len(self.items) == 1 else "") + ")"


@immutable(frozen=True, slots=True)
class Option:
    item: Type

    def __str__(self) -> str:
        return f"({self.item})?" if isinstance(self.item, FnType) else f"{self.item}?"


@immutable(frozen=True, slots=True)
class FnType:
    """`params` are (type, mut)."""

    params: tuple[tuple[Type, bool], ...]
    result: Type

    def __str__(self) -> str:
        params = ", ".join(("mut " if mut else "") + str(t) for t, mut in self.params)
        return f"fn({params})" + ("" if self.result == VOID else f" -> {self.result}")


@immutable(frozen=True, slots=True)
class Named:
    """A struct or enum: the user's, or a container of the standard library ("std.list:list", "std.str:str").

    `args`, one for each bracket parameter, are types and dimensions. `buffer[T]` is Named("core:buffer", (T,))."""

    key: str
    args: tuple[Union[Type, Dim], ...] = ()

    @property
    def name(self) -> str:
        return self.key.rpartition(":")[2]

    def __str__(self) -> str:
        return self.name + (f"[{', '.join(map(str, self.args))}]" if self.args else "")


ConfigValue = Union[Dim, float, bool, str, "FnRef", "ModelType", "TypeVar", tuple["ConfigValue", ...], None]
"""A model's configuration argument: an int is a Dim (a list is a tuple here). Inside a model its own arguments are
variables: a DimVar for an int, a TypeVar "MODULE:Model.name" (bound "config" or "model") for anything else."""


@immutable(frozen=True, slots=True)
class FnRef:
    """A function made concrete up to the types here: `types` for its type parameters, `packs` for its `*B`s."""

    key: str
    types: tuple[Type, ...] = ()
    packs: tuple[Shape, ...] = ()


@immutable(frozen=True, slots=True)
class ModelType:
    """A model with its configuration, in the order of the declaration."""

    key: str
    config: tuple[ConfigValue, ...] = ()

    @property
    def name(self) -> str:
        return self.key.rpartition(":")[2]

    def __str__(self) -> str:
        return self.name + (f"[{', '.join(show_config(c) for c in self.config)}]" if self.config else "")


def show_config(value: ConfigValue) -> str:
    """A configuration value as it is written in a program."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple():
            return "[" + ", ".join(map(show_config, value)) + "]"
        case FnRef():
            module, _, name = value.key.rpartition(":")
            return name.removeprefix("_") if module == "std._elementwise" else name
        case None:
            return "none"
        case _:
            return str(value)


@immutable(frozen=True, slots=True)
class TypeVar:
    """A type parameter. `bound` is none, one of `int float number key order model config`, "model MODULE:Name" for a
    parameter declared as a bare model `m: Net` (the variable then stands for its configuration; `m.size` is the
    DimVar "KEY.size"), or "method" when its declaration lists required methods."""

    key: str
    name: str
    bound: str | None = None

    def __str__(self) -> str:
        return self.name


@immutable(frozen=True, slots=True)
class Void:
    """The result of a function that returns nothing."""

    def __str__(self) -> str:
        return "nothing"


@immutable(frozen=True, slots=True)
class Poison:
    """The type of what is wrong already; it agrees with everything and causes no further message."""

    def __str__(self) -> str:
        return "?"


VOID, POISON = Void(), Poison()
Type = Union[Prim, Tensor, TupleType, Option, FnType, Named, ModelType, TypeVar, Void, Poison]

BUFFER = "core:buffer"
STD_NAMES = ("list", "map", "set", "heap", "deque", "graph", "str", "store", "rng")
STD_TYPES = {name: f"std.{name}:{name}" for name in STD_NAMES}
"""The built-in container names and the declarations of the standard library that they mean."""
STR = Named(STD_TYPES["str"])
RNG = Named(STD_TYPES["rng"])


def list_of(item: Type) -> Named:
    return Named(STD_TYPES["list"], (item,))


Substitution = dict[Union[TypeVar, DimVar, PackVar], Union[Type, Dim, Shape]]


def substitute_shape(shape: Shape, s: Substitution) -> Shape:
    """Replace dimension variables and packs; a pack becomes the shape it stands for."""
    dims = {k: v for k, v in s.items() if isinstance(k, DimVar) and isinstance(v, Dim)}
    items: list[Dim | PackVar] = []
    for item in shape:
        if isinstance(item, PackVar):
            replacement = s.get(item)
            items.extend(replacement if isinstance(replacement, tuple) else (item,))
        else:
            items.append(item.substitute(dims))
    return tuple(items)


def substitute(t: Type, s: Substitution) -> Type:
    """The type with its variables replaced; a tensor whose shape becomes empty is its element."""
    if not s:
        return t
    match t:
        case TypeVar():
            return s.get(t, t)  # type: ignore[return-value]
        case Tensor(elem, shape):
            new = substitute_shape(shape, s)
            return Tensor(substitute(elem, s), new) if new else substitute(elem, s)
        case TupleType(items):
            return TupleType(tuple(substitute(i, s) for i in items))
        case Option(item):
            return Option(substitute(item, s))
        case FnType(params, result):
            return FnType(tuple((substitute(p, s), mut) for p, mut in params), substitute(result, s))
        case Named(key, args):
            return Named(key, tuple(_substitute_argument(a, s) for a in args))
        case ModelType(key, config):
            return ModelType(key, tuple(_substitute_config(c, s) for c in config))
        case _:
            return t


def _substitute_argument(a: Type | Dim, s: Substitution) -> Type | Dim:
    if isinstance(a, Dim):
        return a.substitute({k: v for k, v in s.items() if isinstance(k, DimVar) and isinstance(v, Dim)})
    return substitute(a, s)


def _substitute_config(c: ConfigValue, s: Substitution) -> ConfigValue:
    match c:
        case Dim():
            return _substitute_argument(c, s)  # type: ignore[return-value]
        case ModelType():
            return substitute(c, s)  # type: ignore[return-value]
        case FnRef(key, types, packs):
            return FnRef(key, tuple(substitute(t, s) for t in types), tuple(substitute_shape(p, s) for p in packs))
        case tuple():
            return tuple(_substitute_config(x, s) for x in c)
        case TypeVar():
            return s.get(c, c)  # type: ignore[return-value]
        case _:
            return c
