"""Questions about Core types: are two the same, does a value hold counted memory, how is a type written."""

from __future__ import annotations

import re
from math import prod

from hybridc.core.ir import (
    BOOL,
    F32,
    F64,
    I32,
    INT,
    U8,
    BufferT,
    EnumT,
    OptionT,
    Prim,
    Program,
    StructT,
    TensorT,
    TupleT,
    Type,
)

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
WORDS = frozenset(
    "bool int i32 u8 f64 f32 f16 bf16 buffer struct enum fn hidden yield exit fault call if else match loop scope"
    " parallel fused device true false none nan inf".split()
)
"""What Core's text uses itself; a name that is one of these stands in backquotes there."""
LARGEST = 16
"""Elements of a tensor that may be moved about one by one."""
PLAIN = (F64, F32, INT, I32, U8, BOOL)


def same(a: Type, b: Type) -> bool:
    """Are they one type? Dimensions are knowledge and do not count; the rank does."""
    if a is b or a == b:
        return True
    match a, b:
        case TensorT(), TensorT():
            return a.elem == b.elem and len(a.dims) == len(b.dims) and a.device == b.device
        case TupleT(xs), TupleT(ys):
            return len(xs) == len(ys) and all(map(same, xs, ys))
        case OptionT(x), OptionT(y):
            return same(x, y)
        case BufferT(x), BufferT(y):
            return same(x, y)
    return False


def without_dims(t: Type) -> Type:
    """The type with every dimension `?`."""
    match t:
        case TensorT(elem, dims, device):
            return TensorT(elem, (None,) * len(dims), device)
        case TupleT(items):
            return TupleT(tuple(map(without_dims, items)))
        case OptionT(item):
            return OptionT(without_dims(item))
        case BufferT(item):
            return BufferT(without_dims(item))
    return t


def is_counted(t: Type, program: Program) -> bool:
    """Does a value of the type hold reference-counted memory: a buffer, a tensor, an enum with fields?"""
    match t:
        case Prim():
            return False
        case TensorT() | BufferT():
            return True
        case TupleT(items):
            return any(is_counted(i, program) for i in items)
        case OptionT(item):
            return is_counted(item, program)
        case StructT(name):
            return any(is_counted(f, program) for _, f in program.structs[name].fields)
        case EnumT(name):
            return not program.enums[name].plain


def elem(t: Type) -> Prim:
    """The element type of a tensor, or the scalar itself."""
    if isinstance(t, TensorT):
        return t.elem
    if isinstance(t, Prim):
        return t
    raise TypeError(f"{t} is not a tensor or scalar")


def rank(t: Type) -> int:
    return len(t.dims) if isinstance(t, TensorT) else 0


def shape(t: Type) -> tuple[int, ...]:
    """The sizes of a small tensor; none of a scalar."""
    return tuple(d for d in t.dims if d is not None) if isinstance(t, TensorT) else ()


def small(t: Type) -> bool:
    """A tensor that may be taken apart (passes/scalars.py)."""
    if not isinstance(t, TensorT) or t.device or t.elem not in PLAIN or None in t.dims:
        return False
    return 0 < prod(shape(t)) <= LARGEST


def parts(t: Type, program: Program) -> tuple[Type, ...]:
    """The fields of a tuple or struct type."""
    match t:
        case TupleT(items):
            return items
        case StructT(name):
            return tuple(f for _, f in program.structs[name].fields)
    raise TypeError(f"{show_type(t)} has no parts")


def show_name(name: str) -> str:
    """A name as Core's text has it: in backquotes where it is not a plain word."""
    if _PLAIN_NAME.match(name) and name not in WORDS:
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n").replace("\r", "\\r")
    return f"`{escaped}`"


def show_type(t: Type) -> str:
    """A type as Core's text has it."""
    match t:
        case Prim(name):
            return name
        case TensorT(elem, dims, device):
            sizes = ", ".join("?" if d is None else str(d) for d in dims)
            return f"{elem.name}[{sizes}]{' device' if device else ''}"
        case TupleT(items):
            return "(" + ", ".join(map(show_type, items)) + ("," if len(items) == 1 else "") + ")"
        case OptionT(item):
            return show_type(item) + "?"
        case BufferT(item):
            return f"buffer[{show_type(item)}]"
        case StructT(name) | EnumT(name):
            return show_name(name)


def on_host(t: Type) -> Type:
    """A tensor type as it is in the host's memory."""
    return TensorT(t.elem, t.dims) if isinstance(t, TensorT) and t.device else t


def on_device(t: Type) -> Type:
    """A tensor type as it is in a GPU's memory; a scalar is always the host's."""
    return TensorT(t.elem, t.dims, True) if isinstance(t, TensorT) else t


def type_key(t: Type) -> str:
    """One text for all types that are `same`."""
    return show_type(without_dims(t))
