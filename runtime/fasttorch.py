"""Fast calls for tensors of PyTorch, also in tuples and lists: they are given as arrays over the same memory, and what
is made comes back as tensors. What is not plain (another device or layout, bf16, a result with more than tensors and
numbers) goes the slow way, which has the same outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime.faults import ArgumentError

if TYPE_CHECKING:
    from hybridc_runtime.calls import Caller

DECLINED = object()


def call(fast: Callable[..., Any], caller: Caller, receiver: tuple[Any, ...], values: Sequence[Any]) -> Any:
    """The outcome of a fast call that was given tensors; DECLINED if there is none among the values, or the call is for
    the slow way."""
    torch = sys.modules.get("torch")
    if torch is None or not caller.plain:
        return DECLINED
    try:
        given = [arrays_of(torch, v) for v in values]
    except (RuntimeError, TypeError, NotImplementedError):  # elements that numpy does not know, or that are elsewhere
        return DECLINED
    if all(map(is_, given, values)):
        return DECLINED
    try:
        return tensors(torch, fast(*receiver, *given))
    except ArgumentError as e:
        if e.frames:
            raise
        return DECLINED  # the message speaks of the tensor


def arrays_of(torch: Any, value: Any) -> Any:
    """The value itself if it has no tensors. Of a list the first item tells: its items are of one type."""
    if type(value) is tuple:
        found = tuple(arrays_of(torch, v) for v in value)
        return value if all(map(is_, found, value)) else found
    if type(value) is list and value:
        first = arrays_of(torch, value[0])
        return value if first is value[0] else [first, *(arrays_of(torch, v) for v in value[1:])]
    if not isinstance(value, torch.Tensor):
        return value
    if type(value) is not torch.Tensor or value.requires_grad:
        value = value.detach()
    a = value.numpy()
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


def tensors(torch: Any, value: Any) -> Any:
    if type(value) is np.ndarray:
        return torch.from_numpy(value)
    return tuple(tensors(torch, v) for v in value) if type(value) is tuple else value


__all__ = ["DECLINED", "call"]
