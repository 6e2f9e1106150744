"""Calls without Python code between: C functions that serve the plain cases of any entry (fastcode.py).

What an entry needs is in a plan of words (fastplan.py), made here from its types. Whatever is not exactly as the plan
says goes unchanged to the slow callable.

Arrays, ints and lists are read where CPython 3.11 and numpy keep them. The places are compared with what the public
calls say before the first use; if one differs there are no fast calls.

One context serves all fast calls of a program, one at a time: its address lies in a *cell*, is taken out of it while
the GIL is held, and put back after the call. Who finds the cell empty takes the slow way. A function that may run for
long gives up the GIL, and is called fast only while the timer that raises the flags of interrupts runs; the timer
knows by the empty cell that the context is in a call. One that calls itself is called fast only by the thread whose
stack the context knows.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime import cfunction, interrupts, limits, linking, native
from hybridc_runtime import fastplan as plan
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.fastplans import Plans
from hybridc_runtime.memory import allocate, free, set_word, word
from hybridc_runtime.values import LOCKED, Native, Owned, rng, slot

if TYPE_CHECKING:
    from hybridc_runtime.calls import Caller

TYPE_VECTORCALL, TYPE_FLAGS, HAVE_VECTORCALL = 56, 168, 1 << 11
"""Of types: the offset of tp_vectorcall_offset, that of tp_flags, and the flag."""
ARRAY_NEW = 93
"""PyArray_New in numpy's table of functions."""


# ---- is all where it is expected?
def _layouts_agree() -> bool:
    """Do objects lie in memory as read above?"""
    if not LOCKED:
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return False
    if tuple.__basicsize__ != plan.ITEMS or bytes.__basicsize__ != plan.BYTES + 1:
        return False
    text, row, items = b"hyb fast", (1.5, "x"), [2.5, "y", None]
    if ctypes.string_at(id(text) + plan.BYTES, 8) != text or word(id(row) + plan.ITEMS + 8) != id(row[1]):
        return False
    if word(id(row) + plan.LENGTH) != 2 or word(id(items) + plan.LENGTH) != 3:
        return False
    if any(word(id(x) + plan.TYPE) != id(type(x)) for x in (1.5, 7, True, row, text, items, np.zeros(2))):
        return False
    if float.__basicsize__ != plan.FLOAT + 8 or ctypes.c_double.from_address(id(row[0]) + plan.FLOAT).value != 1.5:
        return False
    numbers = np.float64(1.5), np.float32(-2.5), np.int64(-7)
    if any(ctypes.string_at(id(x) + plan.FLOAT, x.nbytes) != x.tobytes() for x in numbers):
        return False
    fresh = object()
    if word(id(fresh)) != sys.getrefcount(fresh) - 1:
        return False
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    samples = [whole, whole[:, ::2], whole.T, np.zeros(5, np.int64), np.zeros((0, 3)), np.zeros((), np.uint8)]
    return all(_array_agrees(a) for a in samples) and all(np.zeros(1, t).dtype is t for t in DTYPES.values())


def _array_agrees(a: Any) -> bool:
    at, ndim = id(a), ctypes.c_int32.from_address(id(a) + plan.NDIM).value
    if ndim != a.ndim or word(at + plan.DATA) != a.ctypes.data or word(at + plan.DESCR) != id(a.dtype):
        return False
    flags = ctypes.c_int32.from_address(at + plan.ARRAY_FLAGS).value
    if flags != a.flags.num or (flags & plan.GOOD == plan.GOOD) != (a.flags.c_contiguous and a.flags.aligned):
        return False
    if (flags & plan.WRITEABLE != 0) != a.flags.writeable:
        return False
    if word(at + plan.BASE) != (0 if a.base is None else id(a.base)):
        return False
    shape = word(at + plan.SHAPE)
    return ndim == 0 or tuple(word(shape + 8 * i) for i in range(ndim)) == a.shape


def _array_maker() -> int:
    """The address of PyArray_New, 0 unless it makes what it should."""
    homes = [sys.modules.get(f"numpy.{core}._multiarray_umath") for core in ("_core", "core")]
    capsule = next((home._ARRAY_API for home in homes if home is not None), None)
    if capsule is None:
        return 0
    pointer = ctypes.pythonapi["PyCapsule_GetPointer"]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = word(pointer(capsule, None) + 8 * ARRAY_NEW)
    size, i32 = ctypes.c_size_t, ctypes.c_int32
    make = ctypes.PYFUNCTYPE(ctypes.py_object, size, i32, size, i32, size, size, i32, i32, size)(address)
    dims = (ctypes.c_int64 * 2)(2, 3)
    for dtype in set(DTYPES.values()):
        a = make(id(np.ndarray), 2, ctypes.addressof(dims), dtype.num, 0, 0, 0, 0, 0)
        if type(a) is not np.ndarray or a.shape != (2, 3) or a.dtype is not dtype or not a.flags.carray:
            return 0
    return address


class _Native:
    """The C functions: `fast` is for METH_FASTCALL | METH_KEYWORDS, `vector` the vectorcall of a partial of it."""

    def __init__(self, known: dict[str, int], keep: object):
        jit = linking.jit()
        self.keep = keep
        table = jit.address["hyb_known"]
        for i, name in enumerate(jit.known):
            set_word(table + 8 * i, known[name])
        self.fast, self.vector = jit.address["hyb_fast"], jit.address["hyb_vector"]

    def make(self, name: str, doc: str | None, table: int, *keep: object) -> Any:
        """The C function of a table."""
        return cfunction.make(
            name, self.fast, cfunction.KEYWORDS, table.to_bytes(8, "little"), *keep, self, doc=doc)


@functools.cache
def _native() -> _Native | None:
    """None where there are no fast calls."""
    if not _layouts_agree():
        return None
    marks = [object() for _ in range(4)]
    owned = Owned(marks[0], ("struct", "x"), ())  # type: ignore[arg-type]
    owned.leaves, owned.calm = marks[2:]
    g = rng(0)
    names = [sys.intern(n) for n in ("_owned", "_model", "_lock", "acquire", "release")]
    replace = b"replace\0"
    places = [slot(owned, n) for n in ("codec", "type", "leaves", "calm")] + [slot(g, "_state")]
    owned.leaves = None
    maker = _array_maker()
    if not all(places) or not maker:
        return None
    known = dict(zip(["owned_codec", "owned_type", "owned_leaves", "owned_calm", "rng_state"], places, strict=True))
    known |= dict(zip(["owned_name", "model_name", "lock_name", "acquire_name", "release_name"], map(id, names),
                      strict=True))
    types = {"float": float, "int": int, "str": str, "list": list, "tuple": tuple, "dict": dict, "set": set,
             "frozenset": frozenset, "deque": deque, "ndarray": np.ndarray,
             "native": Native, "owned": Owned, "rng": rng, "np_float64": np.float64, "np_float32": np.float32,
             "np_int64": np.int64}
    known |= {name: id(t) for name, t in types.items()}
    known |= {"true": id(True), "false": id(False), "none": id(None), "empty": id("")}
    known |= {"np_true": id(np.True_), "np_false": id(np.False_)}
    known |= {"new_array": maker, "replace": id(replace) + plan.BYTES, "awake": interrupts.AWAKE}
    known |= {"inside": linking.jit().inside, "let_array": linking.jit().address["hyb_let_array"]}
    return _Native(known, (names, replace))


# ---- callable objects
def _not_served(*args: Any, **kwargs: Any) -> Any:
    raise TypeError("this function has nothing to call yet")


class Quick(functools.partial):  # type: ignore[type-arg]
    """A callable object with attributes that costs hardly more than what serves its calls (`_serve`)."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls, _not_served)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if _partials_agree() and word(id(cls) + TYPE_FLAGS) == cls.__flags__:
            # Python 3.12 does this by itself: calls need no tuple of their arguments.
            set_word(id(cls) + TYPE_FLAGS, cls.__flags__ | HAVE_VECTORCALL)

    def _serve(self, function: Callable[..., Any]) -> None:
        """From now on this serves calls. What did is kept, since it may be in the middle of one."""
        own = self.__dict__
        own.setdefault("_served", []).append(function)
        self.__setstate__((function, (), {}, own))  # type: ignore[attr-defined]
        given = getattr(function, "__self__", None)
        if type(given) is tuple and given and type(given[-1]) is _Native and _partials_agree():
            # Straight to the C function, past the two calls that partial and the built-in function would add.
            set_word(id(self) + word(id(functools.partial) + TYPE_VECTORCALL), given[-1].vector)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {self!r}")


@functools.cache
def _partials_agree() -> bool:
    """Do partials, built-in functions and types lie in memory as used above?"""
    if not _layouts_agree() or functools.partial.__module__ != "functools":
        return False
    vectorcall = ctypes.pythonapi["PyVectorcall_Function"]
    vectorcall.restype, vectorcall.argtypes = ctypes.c_void_p, [ctypes.py_object]
    row: list[int] = []
    method: Any = row.append
    cls = functools.partial
    p = cls(method)
    if word(id(p) + plan.FUNCTION) != id(method) or word(id(method) + plan.SELF) != id(row):
        return False
    if word(id(cls) + TYPE_FLAGS) != cls.__flags__ or not cls.__flags__ & HAVE_VECTORCALL:
        return False
    offset = word(id(cls) + TYPE_VECTORCALL)
    return 0 < offset <= cls.__basicsize__ - 8 and word(id(p) + offset) == vectorcall(p) != 0


# ---- contexts
class Cell:
    """The context of a program's fast calls, and two words: its address while no call has it, and the thread whose
    stack it knows."""

    def __init__(self, program: native.Program):
        self.address = allocate(16)
        self.context = native.Context(program)
        set_word(self.context.address + native.STACK_LIMIT, limits.stack_limit())
        set_word(self.address + plan.CONTEXT, self.context.address)
        set_word(self.address + plan.THREAD, threading.get_ident())
        interrupts.cells[self.address] = self.context.flag

    def __del__(self) -> None:
        interrupts.cells.pop(self.address, None)
        free(self.address)

    def fault(self) -> None:
        """Raise the fault in the context, which nobody else has until it is put back."""
        try:
            raise self.context.take_fault()
        finally:
            set_word(self.address, self.context.address)


def _cell(program: native.Program) -> Cell:
    if program.cell is None:
        program.cell = Cell(program)
    return program.cell


# ---- callables
class _Table:
    """The memory of a table."""

    def __init__(self, slow: object, rows: Sequence[tuple[int, int]]):
        self.address = allocate(plan.ROWS + plan.ROW * len(rows))
        set_word(self.address + plan.SLOW, id(slow))
        set_word(self.address + plan.ROW_COUNT, len(rows))
        for i, (key, head) in enumerate(rows):
            set_word(self.address + plan.ROWS + plan.ROW * i, key)
            set_word(self.address + plan.ROWS + plan.ROW * i + 8, head)

    def __del__(self) -> None:
        free(self.address)


def _plans(caller: Caller) -> Plans:
    codec = caller.codec
    if codec.plans is None:
        codec.plans = Plans(codec)
    return codec.plans


def wrap(
    callers: Sequence[tuple[Any, Caller]], slow: Callable[..., Any], name: str = "", doc: str | None = None
) -> Callable[..., Any]:
    """A built-in function that does what `slow` does, for calls of these entries in the order given; `slow` itself
    where that cannot be. With each caller stands the model record that the first argument must have, or None."""
    code = _native()
    if code is None:
        return slow
    rows: list[tuple[int, int]] = []
    keep: list[object] = []
    closed: set[int] = set()
    for key, caller in callers:
        head = _plans(caller).head(caller, key is not None, _cell(caller.codec.program)) if caller.entry.pace else None
        if head is None:
            closed.add(id(key))  # what comes after it must not be tried before it
        elif id(key) not in closed:
            rows.append((0 if key is None else id(key), head))
            keep += [key, caller, _plans(caller)]
    if not rows:
        return slow
    table = _Table(slow, rows)
    return code.make(name or callers[0][1].entry.symbol, doc, table.address, table, slow, *keep)


_bind = ctypes.pythonapi["PyInstanceMethod_New"]
_bind.restype, _bind.argtypes = ctypes.py_object, [ctypes.py_object]


def as_method(function: Callable[..., Any]) -> Any:
    """For a class: what binds a built-in function to an instance."""
    return _bind(function)


__all__ = ["Quick", "as_method", "wrap"]
