"""Python numbers, text and arrays to native leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime import arrays
from hybridc_runtime.arrays import INT_RANGES
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import HEADER, MEMORY, set_word

if TYPE_CHECKING:
    from hybridc_runtime.convert_in import Writing

Writer = Callable[[Any, "Writing", int], Any]
"""f(value, writing, the address where its leaves will be packed) -> its leaves"""


class Misfit(Exception):
    """A value that does not fit; `path` leads to it from the argument, outermost last."""

    def __init__(self, expected: str, found: str):
        self.expected, self.found, self.path = expected, found, []  # type: ignore[var-annotated]

    def at(self, step: str) -> Misfit:
        self.path.append(step)
        return self

    def message(self, what: str) -> str:
        return f"{what}{''.join(reversed(self.path))}: expected {self.expected}, found {self.found}"


# ---- scalars
def scalar_writer(name: str) -> Writer:
    if name == "bool":
        return write_bool
    if name in INT_RANGES:
        return int_writer(name)
    return float_writer(name)


def _item(v: Any, expected: str) -> Any:
    """The Python number of a numpy scalar or an array without dimensions."""
    if getattr(v, "shape", None) == () and hasattr(v, "item"):
        if arrays.is_torch(v) and v.device.type != "cpu":
            raise Misfit(expected, f"a tensor on {v.device}")
        return v.item()
    return None


def write_bool(v: Any, c: Writing, at: int) -> bool:
    if v is True or v is False:
        return v
    v2 = _item(v, "bool")
    if v2 is True or v2 is False:
        return v2
    raise Misfit("bool", arrays.kind_of(v))


def int_writer(name: str) -> Writer:
    low, high = INT_RANGES[name]

    def write(v: Any, c: Writing, at: int) -> int:
        if type(v) is not int:
            n = _item(v, name)
            if n is None and not isinstance(v, bool) and hasattr(type(v), "__index__") and not hasattr(v, "shape"):
                n = v.__index__()
            if type(n) is not int:
                raise Misfit(name, arrays.kind_of(v))
            v = n
        if low <= v <= high:
            return v
        raise Misfit(name, f"{v}, which is out of range")

    return write


def float_writer(name: str) -> Writer:
    limit = {"f64": None, "f32": 3.4028235677973366e38, "f16": None, "bf16": None}[name]
    infinity = float("inf")

    def write(v: Any, c: Writing, at: int) -> Any:
        if type(v) is not float:
            n = _item(v, name)
            if n is None and type(v) is not bool and isinstance(v, (float, int)):
                n = v
            if type(n) is int:
                try:
                    n = float(n)
                except OverflowError:
                    raise Misfit(name, f"{v}, which is out of range") from None
            if not isinstance(n, float):
                raise Misfit(name, arrays.kind_of(v))
            v = n
        if limit is not None and not -limit < v < limit and v == v and abs(v) != infinity:
            raise Misfit(name, f"{v}, which is out of range")
        if name == "f16":
            with np.errstate(over="ignore"):
                return float(np.float64(v).astype(np.float16)) if abs(v) > 65504 else v
        if name == "bf16":
            return int(arrays.to_bf16(np.array([v], np.float32))[0])
        return v

    return write


def write_text(v: Any, c: Writing, at: int) -> tuple[int, int, int]:
    if not isinstance(v, str):
        raise Misfit("str", arrays.kind_of(v))
    if not v:
        return 0, 0, 0
    try:
        data = v.encode()
    except UnicodeEncodeError:
        raise Misfit("str", "text with half a surrogate pair, which UTF-8 cannot hold") from None
    size = len(data)
    block = c.block(HEADER + size)
    set_word(block + 8, size)
    MEMORY[block + HEADER:block + HEADER + size] = data
    return block, size, len(v)


# ---- tensors
def tensor_writer(t: Type) -> Writer:
    elem, dims = t[1], t[2]
    rank = len(dims)
    fixed = [(i, d) for i, d in enumerate(dims) if d is not None]
    expected = arrays.shown(elem, ["?" if d is None else d for d in dims])
    dtype = arrays.DTYPES[elem]
    ndarray = np.ndarray

    def write(v: Any, c: Writing, at: int) -> Any:
        if type(v) is ndarray and v.dtype == dtype and v.flags.c_contiguous:
            a = v
        else:
            try:
                a, torch = arrays.as_array(v, elem)
            except arrays.Unfit as e:
                raise Misfit(expected, e.found) from None
            if torch:
                c.torch = True
            c.guests.append(a)
            if rank > a.ndim and not a.size and isinstance(v, (list, tuple)):
                a = a.reshape(a.shape + (0,) * (rank - a.ndim))
        shape = a.shape
        if len(shape) != rank:
            raise Misfit(expected, arrays.shown(elem, shape))
        for i, d in fixed:
            if shape[i] != d:
                raise Misfit(expected, arrays.shown(elem, shape))
        if not c.copy:
            return 0, a.__array_interface__["data"][0], *shape
        # Compiled code may hold on to it, so it gets a copy, which nobody changes under it.
        block = c.block(HEADER + a.nbytes, filled=True)
        set_word(block + 8, a.size)
        if a.size:
            MEMORY[block + HEADER:block + HEADER + a.nbytes] = a.reshape(-1).view(np.uint8).data
        return block, block + HEADER, *shape

    return write
