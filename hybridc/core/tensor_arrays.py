"""Tensors as numpy arrays, as the reference interpreter holds them, and the scalar operators on whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hybridc.base.types import BF16, BOOL, F64, FLOATS, INTS, Prim
from hybridc.core.interp_scalar import scalar_function
from hybridc.core.ir import TensorT, Type
from hybridc.core.types import elem
from hybridc.core.values import InterpFault

DTYPES = {
    "bool": np.bool_, "int": np.int64, "i32": np.int32, "u8": np.uint8, "f64": np.float64, "f32": np.float32,
    "f16": np.float16, "bf16": np.float32,
}  # fmt: skip
"""How numpy holds the elements of a tensor; bf16 as float32 that holds rounded values."""
Array = np.ndarray


def show(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def value_error(message: str) -> InterpFault:
    return InterpFault("ValueError", message)


def round_bf16(x: Array) -> Array:
    """Nearest bf16, ties to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32)).astype(np.float32)


def finish(x: Array, to: Prim) -> Array:
    """An array of what `to` can hold."""
    x = np.asarray(x)
    y = round_bf16(x) if to == BF16 else np.ascontiguousarray(x, DTYPES[to.name])
    return y.reshape(x.shape)  # numpy gives what has no dimension one


def result(x: Array | np.generic, t: Type) -> object:
    """As the interpreter holds it: a Python number if the result is a scalar."""
    if isinstance(t, TensorT):
        return np.ascontiguousarray(x)
    return x.item() if isinstance(x, (np.ndarray, np.generic)) else x


def array(x: object, t: Type) -> Array:
    return np.asarray(x, DTYPES[elem(t).name])


# ---- elementwise -----------------------------------------------------------------------------------------------------
def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


ANY: dict[str, Callable[..., Array]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "select": np.where, "minimum": np.minimum, "maximum": np.maximum,
}  # fmt: skip
INTEGER: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or, "bit_xor": np.bitwise_xor, "abs": np.abs,
}  # fmt: skip
FLOAT: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "floor": np.floor,
    "round": np.round, "log1p": np.log1p, "expm1": np.expm1, "sigmoid": _sigmoid,
}  # fmt: skip


def elementwise(fn: str, source: Prim, target: Prim, checked: bool) -> Callable[..., Array]:
    """The scalar operator on arrays that broadcast."""
    if fn in ANY:
        return ANY[fn]
    if fn == "cast" and target in FLOATS and source not in FLOATS | {BOOL} and target != BF16:
        return lambda x: x.astype(DTYPES[target.name])
    if source in FLOATS and fn in FLOAT:
        f = FLOAT[fn]
        wide = np.float64 if source == F64 else np.float32
        return lambda *xs: f(*(x.astype(wide, copy=False) for x in xs))
    if source in INTS and fn in INTEGER:
        return INTEGER[fn]
    one = scalar_function(fn, source, target, checked)
    dtype = DTYPES[target.name]

    def by_elements(*xs: Array) -> Array:
        shape = np.broadcast_shapes(*(x.shape for x in xs))
        flat = [np.broadcast_to(x, shape).ravel().tolist() for x in xs]
        return np.array([one(*v) for v in zip(*flat, strict=True)], dtype).reshape(shape)

    return by_elements


def spread(x: Array, axes: Sequence[int | None]) -> Array:
    """The operand with an axis for each of the result's: of size 1 where it does not vary."""
    kept = [a for a in axes if a is not None]
    others = [i for i in range(x.ndim) if i not in kept]
    x = x.reshape([x.shape[i] for i in range(x.ndim) if i in kept]) if others else x
    sizes = iter(x.shape)
    return x.reshape([1 if a is None else next(sizes) for a in axes])
