"""Fast calls for tensors of PyTorch, also in tuples and lists: they are given as arrays over the same memory, and what
is made comes back as tensors. What is not plain (another device or layout, bf16, a result with more than tensors and
numbers) goes the slow way, which has the same outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
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
    if torch is None or not any(has_tensors(torch, v) for v in values) or not caller.plain:
        return DECLINED
    try:
        given = [arrays_of(torch, v) for v in values]
    except (RuntimeError, TypeError, NotImplementedError):  # elements that numpy does not know, or that are elsewhere
        return DECLINED
    try:
        return tensors(torch, fast(*receiver, *given))
    except ArgumentError as e:
        if e.frames:
            raise
        return DECLINED  # the message speaks of the tensor


def has_tensors(torch: Any, value: Any) -> bool:
    """Of a list the first item tells: its items are of one type."""
    if type(value) in (tuple, list):
        return any(has_tensors(torch, v) for v in (value if type(value) is tuple else value[:1]))
    return isinstance(value, torch.Tensor)


def arrays_of(torch: Any, value: Any) -> Any:
    if not has_tensors(torch, value):
        return value
    if type(value) in (tuple, list):
        return type(value)(arrays_of(torch, v) for v in value)
    if type(value) is not torch.Tensor or value.requires_grad:
        value = value.detach()
    a = value.numpy()
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


def tensors(torch: Any, value: Any) -> Any:
    if type(value) is np.ndarray:
        return torch.from_numpy(value)
    return tuple(tensors(torch, v) for v in value) if type(value) is tuple else value


__all__ = ["DECLINED", "call"]
