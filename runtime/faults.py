"""What goes wrong at run time, as Python exceptions: each is a RuntimeFault and the built-in exception of its kind.

The exception's traceback ends in frames of the `.hyb` program, made here: `File "x.hyb", line 10, in find`.
`frames` holds the same as (path, line, name), outermost first.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Sequence
from typing import TypeVar

FAULTS = (
    "HybError", "IndexError", "KeyError", "ZeroDivisionError", "ValueError", "AssertionError", "RecursionError",
    "MemoryError", "OSError", "KeyboardInterrupt", "HostError",
)
"""As in the native ABI: the context's `fault` is 1 + an index."""
_HERE = os.path.dirname(__file__)
DEFAULTS = {
    "ZeroDivisionError": "integer division or modulo by zero",
    "RecursionError": "maximum call depth exceeded",
    "MemoryError": "out of memory",
    "AssertionError": "assertion failed",
    "KeyError": "key not found",
    "IndexError": "index out of range",
    "ValueError": "invalid value",
    "OSError": "operation failed",
    "HybError": "raised",
}
Frame = tuple[str, int, str]


class RuntimeFault(Exception):
    """A Hyb program stopped. `frames`: (path, line, function) of each call in the program, outermost first."""

    frames: list[Frame] = []

    def __str__(self) -> str:
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()

    def __reduce__(self) -> tuple[object, ...]:
        """Crosses processes as its message and frames."""
        return _again, (self._hyb_kind, str(self), self.frames)

    _hyb_kind = "RuntimeFault"


class HybError(RuntimeFault):
    """`raise` in a Hyb program."""

    _hyb_kind = "HybError"


class ArgumentError(RuntimeFault, ValueError, TypeError):
    """A Python value that does not fit what a Hyb function declares."""

    _hyb_kind = "ArgumentError"
    fits = 0.0
    """How many arguments before it fit: of several entries, the one that fits most says what is wrong."""


def _kind_class(name: str) -> type[RuntimeFault]:
    builtin = getattr(__import__("builtins"), name)
    doc = f"{name} of a Hyb program."
    return type(name, (RuntimeFault, builtin), {"__doc__": doc, "__module__": "hybridc", "_hyb_kind": name})


CLASSES: dict[str, type[RuntimeFault]] = {"HybError": HybError, "ArgumentError": ArgumentError}
CLASSES |= {name: _kind_class(name) for name in FAULTS if name not in ("HybError", "KeyboardInterrupt", "HostError")}
for _cls in (RuntimeFault, HybError, ArgumentError):
    _cls.__module__ = "hybridc"


def _again(kind: str, message: str, frames: list[Frame]) -> RuntimeFault:
    return make(kind, message, frames)


def make(kind: str, message: str, frames: Sequence[Frame] = ()) -> RuntimeFault:
    """The exception of a fault, its traceback set."""
    return located(CLASSES[kind](message), frames)


_E = TypeVar("_E", bound=BaseException)


def located(error: _E, frames: Sequence[Frame]) -> _E:
    """Give an exception the program's frames; what was its traceback goes below them."""
    trace = error.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == _HERE:
        trace = trace.tb_next  # how the program called back into Python
    try:
        for path, line, name in reversed(frames):
            trace = _above(trace, path, line, name)
        if isinstance(error, RuntimeFault):
            error.frames = list(frames)
        return error.with_traceback(trace)
    finally:
        # The program's frames lead back to this one: whoever holds the exception should not hold it by a cycle.
        del error, trace


def _without_columns(code: types.CodeType) -> types.CodeType:
    """Its line only, so that no traceback underlines a part of it (entries of kind 13, PEP 626)."""
    units = len(code.co_code) // 2
    table = b"".join(bytes([0x80 | 13 << 3 | min(8, units - at) - 1, 0]) for at in range(0, units, 8))
    return code.replace(co_linetable=table)


_GRAB = _without_columns(compile("sys._getframe()", "", "eval"))


def _above(trace: types.TracebackType | None, path: str, line: int, name: str) -> types.TracebackType:
    """A traceback with a frame more, which claims to be a line of a Hyb function."""
    code = _GRAB.replace(co_filename=path, co_name=name, co_qualname=name, co_firstlineno=line)
    frame = eval(code, {"sys": sys, "__name__": name, "__file__": path})  # noqa: S307 (a constant)
    try:
        return types.TracebackType(trace, frame, frame.f_lasti, line)
    finally:
        del frame, trace  # as in `located`


def chain(error: BaseException) -> str:
    """The call chain as text, innermost last, for those who show no traceback."""
    return "\n".join(f'  File "{path}", line {line}, in {name}' for path, line, name in getattr(error, "frames", ()))
