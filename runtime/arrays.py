"""Arrays across the boundary: numpy, torch, DLPack, the buffer protocol, and lists of numbers."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

DTYPES = {
    "bool": np.dtype(np.bool_), "u8": np.dtype(np.uint8), "i32": np.dtype(np.int32), "int": np.dtype(np.int64),
    "f16": np.dtype(np.float16), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "bf16": np.dtype(np.uint16),
}
"""As it lies in memory; numpy has no bf16, which is kept as its bits."""
INT_RANGES = {"int": (-(1 << 63), (1 << 63) - 1), "i32": (-(1 << 31), (1 << 31) - 1), "u8": (0, 255)}
_SHOWN = {d: name for name, d in DTYPES.items() if name != "bf16"}
_TORCH = {"torch.bool": "bool", "torch.uint8": "u8", "torch.int32": "i32", "torch.int64": "int",
          "torch.float16": "f16", "torch.float32": "f32", "torch.float64": "f64", "torch.bfloat16": "bf16"}


DEVICES = {2: "cuda", 3: "cuda, pinned", 10: "rocm", 11: "rocm, pinned", 13: "cuda, managed"}
"""Places that DLPack knows, but for host memory."""


class Unfit(Exception):
    """What was found where an array was expected."""

    def __init__(self, found: str):
        self.found = found


def is_torch(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def shown(elem: str, shape: Any) -> str:
    return f"{elem}[{', '.join(map(str, shape))}]" if len(shape) else elem


def describe(array: Any) -> str:
    """An array's type as Hyb writes it, with the library's name for what Hyb does not have."""
    name = str(array.dtype)
    elem = _TORCH.get(name) or _SHOWN.get(array.dtype) if not name.startswith("torch") else _TORCH.get(name, name)
    return shown(elem or name, tuple(array.shape))


MOST = 64
"""Dimensions that an array can have, numpy's and torch's."""


def depth(value: Any) -> int:
    """How many dimensions a value has as a tensor: an array, or lists in one another."""
    n = 0
    while isinstance(value, (list, tuple)) and n <= MOST:
        n += 1
        value = value[0] if value else None
    return n + getattr(value, "ndim", 0)


def as_array(value: Any, elem: str) -> tuple[Any, bool]:
    """A contiguous array of the element type over the value's memory where possible, and whether it was torch's.

    The value's own element type must be the declared one; numbers in a list become it. Unfit if neither.
    """
    if type(value) is np.ndarray:
        return _contiguous(value, elem), False
    if is_torch(value):
        return _from_torch(value, elem), True
    if isinstance(value, (list, tuple)):
        return _from_list(value, elem), False
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise Unfit(f"{describe(value)} with masked elements")
    if isinstance(value, np.ndarray) or isinstance(value, np.generic):
        return _contiguous(np.asarray(value), elem), False
    if isinstance(value, (str, bytes)) or value is None:
        raise Unfit(kind_of(value))
    device = getattr(value, "__dlpack_device__", None)
    if device is not None:
        kind = int(device()[0])
        if kind != 1:
            where = DEVICES.get(kind, f"device {kind}")
            raise Unfit(f"an array on {where} (only arrays in host memory are accepted)")
        try:
            return _contiguous(np.from_dlpack(value), elem), False
        except (BufferError, RuntimeError, TypeError) as e:
            raise Unfit(f"{kind_of(value)}, which numpy cannot read ({e})") from None
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return _contiguous(np.asarray(value), elem), False
    try:
        view = memoryview(value)
    except TypeError:
        raise Unfit(kind_of(value)) from None
    return _contiguous(np.asarray(view), elem), False


def _contiguous(a: Any, elem: str) -> Any:
    dtype = DTYPES[elem]
    if a.dtype != dtype or elem == "bf16":
        if elem == "bf16" and str(a.dtype) == "bfloat16":
            return np.ascontiguousarray(a).view(np.uint16)
        raise Unfit(describe(a))
    flags = a.flags
    if flags.c_contiguous and flags.aligned:
        return a
    return np.array(a, dtype=dtype, order="C").reshape(a.shape)


def _from_torch(value: Any, elem: str) -> Any:
    torch = sys.modules["torch"]
    if value.device.type != "cpu":
        raise Unfit(f"{describe(value)} on {value.device} (only tensors in host memory are accepted)")
    if value.layout is not torch.strided:
        raise Unfit(f"{describe(value)}, which is sparse")
    if _TORCH.get(str(value.dtype)) != elem:
        raise Unfit(describe(value))
    try:
        value = value.detach().resolve_neg().contiguous()
        return value.view(torch.int16).numpy().view(np.uint16) if elem == "bf16" else value.numpy()
    except (RuntimeError, NotImplementedError) as e:  # one that only stands for others, within vmap say
        raise Unfit(f"{describe(value)}, whose elements torch does not give here, as within torch.func.vmap: call it "
                    f"outside of that ({e})") from None


def _from_list(value: Any, elem: str) -> Any:
    try:
        a = np.array(value) if len(value) else np.zeros(0)
    except (ValueError, TypeError):
        raise Unfit("a list that is no array") from None
    except OverflowError:
        raise Unfit("a number out of range") from None
    if not a.size:
        return np.zeros(a.shape, DTYPES[elem])
    kind = a.dtype.kind
    if elem == "bool":
        fits = kind == "b"
    elif elem in ("f16", "f32", "f64", "bf16"):
        fits = kind in "fiu"
    else:
        fits = kind in "iu"
        if fits:
            low, high = int(a.min()), int(a.max())
            least, most = INT_RANGES[elem]
            if low < least or high > most:
                raise Unfit(f"{low if low < least else high}, which is out of range")
    if not fits:
        names = {"b": "bool", "f": "float", "i": "int", "u": "int", "U": "str"}
        if kind == "O":
            odd = next((x for x in a.reshape(-1) if type(x) is not int), a.reshape(-1)[0])
            raise Unfit(f"{odd}, which is out of range" if type(odd) is int else f"a list of {kind_of(odd)}")
        raise Unfit(f"a list of {names.get(kind, a.dtype.name)}")
    with np.errstate(over="ignore"):
        if elem == "bf16":
            return to_bf16(a.astype(np.float32))
        done = np.ascontiguousarray(a.astype(DTYPES[elem]))
    if elem == "f32" and not np.array_equal(np.isinf(done), np.isinf(a)):
        raise Unfit(f"{a[np.isinf(done) & ~np.isinf(a)][0]}, which is out of range")
    return done


def to_bf16(a: Any) -> Any:
    """float32 to the bits of bf16, rounding to the nearest, ties to even."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(a), np.uint16(0x7FC0), rounded.astype(np.uint16))


def from_bf16(bits: Any) -> Any:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_torch(array: Any, elem: str) -> Any:
    torch = sys.modules["torch"]
    if elem == "bf16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def kind_of(value: object) -> str:
    """What a value is, in a message."""
    if value is None:
        return "none"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return describe(value)
    return type(value).__name__


class Holder:
    """Memory as a buffer that calls `free` when the last array over it is gone."""

    __slots__ = ("memory",)

    def __init__(self, address: int, size: int, free: Callable[[], None]):
        self.memory = (ctypes.c_ubyte * size).from_address(address)
        weakref.finalize(self.memory, free).atexit = False
