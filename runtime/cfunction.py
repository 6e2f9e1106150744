"""Built-in functions of Python whose code is machine code of the runtime's own."""

from __future__ import annotations

import ctypes
from typing import Any

FAST, KEYWORDS = 0x80, 0x82
"""Calling conventions: METH_FASTCALL, and with METH_KEYWORDS."""


class _Method(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    ]


_new = ctypes.pythonapi["PyCFunction_NewEx"]
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]


def make(name: str, address: int, convention: int, first: object, *keep: object, doc: str | None = None) -> Any:
    """A function whose code is at an address. The code gets a tuple whose first item is `first`; the rest of it is kept
    alive."""
    method = _Method(name.encode(), address, convention, doc.encode() if doc else None)
    return _new(ctypes.addressof(method), (first, method, *keep), None)
