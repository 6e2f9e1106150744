"""Tensors of the oracle are numpy's arrays: of int64, bool, and float64 for floats of every width, which generated
programs only compare within a bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.oracle_values import Fault, Unknown

Array = np.ndarray
FLOATS = ("f64", "f32", "f16", "bf16")
_erf = np.vectorize(math.erf, otypes=[np.float64])


def plain(v: Any) -> Any:
    """A tensor of no dimension is its scalar."""
    return v.item() if isinstance(v, np.generic) or isinstance(v, Array) and v.ndim == 0 else v


def tensor(v: Any) -> Array:
    """Of a scalar or of numbers in lists too."""
    made = np.asarray(v)
    return made.astype(np.float64) if made.dtype.kind == "f" else made.astype(np.int64) if made.dtype.kind in "iu" else made


def number(v: Any) -> Any:
    return int(v) if isinstance(v, int) and not isinstance(v, bool) else v


def fit(shape: Any, wanted: Any) -> None:
    if tuple(shape) != tuple(wanted):
        raise Fault("ValueError")


# ---- operators
def binary(op: str, a: Any, b: Any) -> Any:
    a, b = number(a), number(b)
    if op != "@":
        _check(a, b)
    match op:
        case "@":
            if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
                raise Fault("ValueError")
            return plain(np.matmul(a, b))
        case "//" | "%" if not isinstance(b, float) and tensor(a).dtype.kind == "i":
            if np.any(tensor(b) == 0) and np.broadcast(a, b).size:  # of no elements none is divided
                raise Fault("ZeroDivisionError")
    return _OPS[op](a, b)


def _check(a: Any, b: Any) -> None:
    """Only a missing dimension, or one written as 1, broadcasts: what differs in sizes does not fit."""
    if isinstance(a, Array) and isinstance(b, Array) and a.ndim == b.ndim and a.shape != b.shape:
        if not all(x == y or 1 in (x, y) for x, y in zip(a.shape, b.shape, strict=True)):
            raise Fault("ValueError")


_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide, "//": np.floor_divide, "%": np.mod,
    "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor, ">>": np.right_shift,
}  # fmt: skip
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}


def unary(op: str, a: Array) -> Array:
    return -a if op == "-" else ~a if op == "~" else a


def compare(op: str, a: Any, b: Any) -> Any:
    return _COMPARE[op](number(a), number(b))


# ---- parts
def index(t: Array, items: tuple[Any, ...]) -> Any:
    """`t[items]`: ints, slices, or one tensor of ints."""
    for size, i in zip(t.shape, items, strict=False):
        at = tensor(i) if not isinstance(i, slice) else np.zeros(0)
        if at.size and not (np.all(at >= -size) and np.all(at < size)):
            raise Fault("IndexError")
    return plain(t[items if len(items) > 1 else items[0]])


def put(t: Array, items: tuple[Any, ...], value: Any, op: str | None) -> None:
    """`t[items] = value` or `op=`, duplicates one after the other."""
    index(t, items)
    where = items if len(items) > 1 else items[0]
    if op is None:
        t[where] = value
    elif op.rstrip("=") in ("+", "-"):
        np.add.at(t, where, value if op[0] == "+" else -value)
    else:
        raise Unknown(op)


# ---- functions
def function(name: str, args: list[Any], named: dict[str, Any]) -> Any:
    if name in _ELEMENTWISE:
        return plain(_ELEMENTWISE[name](*args))
    if name in _MAKING:
        return _MAKING[name](*args)
    if name in _REDUCING:
        return _reduced(name, args[0], named.get("axis"))
    f = _OTHER.get(name)
    if f is None:
        raise Unknown(name)
    return plain(f(*args, **named))


def _reduced(name: str, x: Array, axis: int | None) -> Any:
    if name in ("max", "min", "argmax", "argmin") and x.size == 0:
        if axis is None or np.sum(x, axis=axis).size:
            raise Fault("ValueError")
        return np.zeros_like(np.sum(x, axis=axis))  # of nothing from nothing
    return plain(_REDUCING[name](x, axis))


def _logsumexp(x: Array, axis: int | None) -> Any:
    if x.size == 0:
        return np.log(np.sum(np.exp(x), axis=axis))
    top = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))


def _softmax(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def _log_softmax(x: Array, axis: int = -1) -> Array:
    return x if x.size == 0 else x - np.expand_dims(_logsumexp(x, axis), axis)


def _layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    fit(weight.shape, x.shape[-1:])
    fit(bias.shape, x.shape[-1:])
    if x.size == 0:
        return x
    mean = np.mean(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(np.mean((x - mean) ** 2, axis=-1, keepdims=True) + eps) * weight + bias


def _rms_norm(x: Array, weight: Array, eps: float = 1e-5) -> Array:
    fit(weight.shape, x.shape[-1:])
    return x if x.size == 0 else x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * weight


def _einsum(form: str, *xs: Array) -> Array:
    try:
        return np.einsum(form, *xs)
    except ValueError:
        raise Fault("ValueError") from None


def _stack(xs: list[Array]) -> Array:
    for x in xs:
        fit(x.shape, xs[0].shape)
    return np.stack(xs)


def _reshape(x: Array, shape: list[int]) -> Array:
    if math.prod(shape) != x.size:
        raise Fault("ValueError")
    return x.reshape(shape).copy()


def _pair(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(a: Any, b: Any) -> Any:
        _check(a, b)
        return f(a, b)

    return checked


def _where(c: Any, a: Any, b: Any) -> Any:
    for x, y in ((c, a), (a, b)):
        _check(x, y)
    return np.where(c, a, b)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs,
    "floor": np.floor,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "erf": _erf,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "clamp": np.clip,
    "maximum": _pair(np.maximum), "minimum": _pair(np.minimum),
    "where": _where,
}  # fmt: skip
_MAKING: dict[str, Callable[..., Any]] = {
    "full": lambda shape, value: np.full(shape, value, tensor(value).dtype),
    "arange": lambda n: np.arange(n, dtype=np.int64),
    "eye": np.eye,
    "reshape": _reshape,
    "stack": _stack,
}
_REDUCING: dict[str, Callable[[Any, int | None], Any]] = {
    "sum": lambda x, axis: np.sum(x, axis=axis),
    "mean": lambda x, axis: np.sum(x, axis=axis) / np.float64(x.size if axis is None else x.shape[axis]),
    "max": lambda x, axis: np.max(x, axis=axis), "min": lambda x, axis: np.min(x, axis=axis),
    "argmax": lambda x, axis: np.argmax(x, axis=axis), "argmin": lambda x, axis: np.argmin(x, axis=axis),
    "norm": lambda x, axis: np.sqrt(np.sum(x * x, axis=axis)),
    "logsumexp": _logsumexp,
}  # fmt: skip
_OTHER: dict[str, Callable[..., Any]] = {
    "flip": lambda x, axis: np.flip(x, axis),
    "transpose": np.swapaxes,
    "permute": lambda x, *axes: np.transpose(x, axes),
    "unsqueeze": np.expand_dims,
    "argsort": lambda x, axis=-1: np.argsort(x, axis=axis, kind="stable"),
    "sort": lambda x, axis=-1: np.sort(x, axis=axis),
    "cumsum": lambda x, axis: np.cumsum(x, axis=axis),
    "softmax": _softmax, "log_softmax": _log_softmax, "layer_norm": _layer_norm, "rms_norm": _rms_norm,
    "outer": np.outer, "einsum": _einsum, "dot": lambda a, b: (fit(a.shape, b.shape), np.dot(a, b))[1],
    "len": len,
    "int": lambda x: x.astype(np.int64),
    **dict.fromkeys(FLOATS, lambda x: x.astype(np.float64)),
}  # fmt: skip
MADE = frozenset(_MAKING)
"""Functions that make a tensor of what is none."""
