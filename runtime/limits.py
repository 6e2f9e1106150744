"""What bounds a call: depth, the stack of its thread, and the seed of its hashes."""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import threading

STACK = 64 << 20
"""What the main thread's stack may grow to: the kernel leaves room for 128 MiB whatever the limit was at the start."""
MARGIN = 512 << 10
"""Stack left to Python when a callback is reached at the limit."""


@functools.cache
def hash_seed() -> int:
    """Nobody can choose keys that collide without it. Results never depend on it."""
    given = os.environ.get("HYB_HASH_SEED")
    return int.from_bytes(os.urandom(8), "little", signed=True) if given is None else int(given)


def depth_limit() -> int:
    return int(os.environ.get("HYB_DEPTH", "10000"))


@functools.cache
def _raise_stack_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < STACK and (hard == resource.RLIM_INFINITY or hard >= STACK):
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))


class _Attributes(ctypes.Structure):
    _fields_ = [("opaque", ctypes.c_char * 64)]


def stack_limit() -> int:
    """The lowest address that this thread's compiled code may reach."""
    _raise_stack_limit()
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_size_t
    attributes, low, size = _Attributes(), ctypes.c_size_t(), ctypes.c_size_t()
    if libc.pthread_getattr_np(ctypes.c_size_t(libc.pthread_self()), ctypes.byref(attributes)):
        raise OSError("the bounds of the stack are not known")
    libc.pthread_attr_getstack(ctypes.byref(attributes), ctypes.byref(low), ctypes.byref(size))
    libc.pthread_attr_destroy(ctypes.byref(attributes))
    usable = min(size.value, STACK) if threading.current_thread() is threading.main_thread() else size.value
    return low.value + size.value - usable + min(MARGIN, usable // 4)
