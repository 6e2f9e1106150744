"""Calls without Python code between: a C function, made once in a process, that serves the plain cases of any entry.

What a case needs is in a descriptor, an array of words:

    entry  cell  count  flags  shape  results_at  results   then for each parameter   kind  offset  dtype  rank  dims_at
                                                            then for each result      kind  offset
                                                            then the static dimensions of tensors, -1 for any

Whatever is not exactly as the descriptor says (another type, a number out of range, names, an array that is not
contiguous) goes unchanged to the slow callable, which converts it or says what is wrong with it. So nothing here
raises but faults of the program itself.

Arrays and ints are read where CPython 3.11 and numpy keep them. The places are compared with what the public calls say
before the first use; if one differs there are no fast calls.

One context serves all fast calls of a program, one at a time: its address lies in a *cell*, is taken out of it while
the GIL is held, and put back after the call. Who finds the cell empty takes the slow way. A function that may run for
long gives up the GIL, and is called fast only while the timer that raises the flags of interrupts runs; the timer
knows by the empty cell that the context is in a call.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from hybridc_runtime import fastcall_ir, native
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.fastcall_ir import (
    BOX,
    BYTES,
    DATA,
    DESCR,
    DIMS,
    FLAGS,
    FLOAT,
    FUNCTION,
    GOOD,
    HEAD,
    ITEMS,
    KINDS,
    NOTHING,
    ONE,
    PARAM,
    RANK,
    RESULT,
    SELF,
    TENSOR,
    TUPLE,
    TYPE,
)
from hybridc_runtime.layout import Layouts
from hybridc_runtime.manifest import Entry, Manifest, Type
from hybridc_runtime.memory import allocate, free, set_word, word

METH_FASTCALL_KEYWORDS = 0x82
TYPE_VECTORCALL, TYPE_FLAGS, HAVE_VECTORCALL = 56, 168, 1 << 11
"""Of types: the offset of tp_vectorcall_offset, that of tp_flags, and the flag."""
OPT = 0
"""Of the code generator: better code would cost 40 ms once, and gain a nanosecond."""


class _Method(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    ]


# ---- is all where it is expected?
def _layouts_agree() -> bool:
    """Do objects lie in memory as read above?"""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return False
    if tuple.__basicsize__ != ITEMS or bytes.__basicsize__ != BYTES + 1:
        return False
    text, row = b"hyb fast", (1.5, "x")
    if ctypes.string_at(id(text) + BYTES, 8) != text or word(id(row) + ITEMS + 8) != id(row[1]):
        return False
    if any(word(id(x) + TYPE) != id(type(x)) for x in (1.5, 7, True, row, text, np.zeros(2))):
        return False
    if float.__basicsize__ != FLOAT + 8 or ctypes.c_double.from_address(id(row[0]) + FLOAT).value != 1.5:
        return False
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    samples = [whole, whole[:, ::2], whole.T, np.zeros(5, np.int64), np.zeros((0, 3)), np.zeros((), np.uint8)]
    return all(_array_agrees(a) for a in samples) and all(np.zeros(1, t).dtype is t for t in DTYPES.values())


def _array_agrees(a: Any) -> bool:
    at, ndim = id(a), ctypes.c_int32.from_address(id(a) + RANK).value
    if ndim != a.ndim or word(at + DATA) != a.ctypes.data or word(at + DESCR) != id(a.dtype):
        return False
    flags = ctypes.c_int32.from_address(at + FLAGS).value
    if flags != a.flags.num or (flags & GOOD == GOOD) != (a.flags.c_contiguous and a.flags.aligned):
        return False
    dims = word(at + DIMS)
    return ndim == 0 or tuple(word(dims + 8 * i) for i in range(ndim)) == a.shape


class _Native:
    """The C functions: `fast` is for METH_FASTCALL | METH_KEYWORDS, `vector` the vectorcall of a partial of it."""

    def __init__(self) -> None:
        jit = native.jit()
        machine = llvm.Target.from_default_triple().create_target_machine(opt=OPT, codemodel="large", jit=True)
        image = machine.emit_object(llvm.parse_assembly(fastcall_ir.text()))
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in ("hyb_fast", "hyb_vector"):
            builder.export_symbol(name)
        with jit.lock:
            self.tracker = builder.link(jit.lljit, "hyb_fastcall")
        self.fast, self.vector = self.tracker["hyb_fast"], self.tracker["hyb_vector"]
        new = ctypes.pythonapi["PyCFunction_NewEx"]
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
        self.new = new

    def make(self, name: str, doc: str | None, words: bytes, slow: object, fault: object, *keep: object) -> Any:
        """The C function of a descriptor."""
        method = _Method(name.encode(), self.fast, METH_FASTCALL_KEYWORDS, doc.encode() if doc else None)
        return self.new(ctypes.addressof(method), (words, slow, fault, *keep, method, self), None)


@functools.cache
def _native() -> _Native | None:
    """None where there are no fast calls."""
    return _Native() if _layouts_agree() else None


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
    if word(id(p) + FUNCTION) != id(method) or word(id(method) + SELF) != id(row):
        return False
    if word(id(cls) + TYPE_FLAGS) != cls.__flags__ or not cls.__flags__ & HAVE_VECTORCALL:
        return False
    offset = word(id(cls) + TYPE_VECTORCALL)
    return 0 < offset <= cls.__basicsize__ - 8 and word(id(p) + offset) == vectorcall(p) != 0


# ---- contexts
class Cell:
    """The context of a program's fast calls, and the word that holds its address while no call has it."""

    def __init__(self, program: native.Program):
        self.address = allocate(8)
        self.context = native.Context(program)
        set_word(self.address, self.context.address)
        native.cells[self.address] = self.context.flag

    def __del__(self) -> None:
        native.cells.pop(self.address, None)
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


# ---- entries
def _scalars(t: Type | None) -> list[str] | None:
    """The scalars of a result, or None if it is something else."""
    if t is None:
        return []
    types = (t,) if isinstance(t, str) else t[1] if t[0] == "tuple" else (t,)
    return list(types) if all(isinstance(i, str) and i in KINDS for i in types) else None


def eligible(entry: Entry) -> bool:
    """Can any call of it be fast?"""
    if not entry.pace or _scalars(entry.result) is None:
        return False
    return all(not p.mut and (p.type in KINDS or p.type[0] == "tensor" and p.type[1] != "bf16") for p in entry.params)


def _descriptor(program: native.Program, entry: Entry, cell: Cell) -> bytes | None:
    layouts = Layouts(Manifest())
    types: list[Type] = [p.type for p in entry.params]
    outs = _scalars(entry.result) or []
    given = layouts.row(types)
    results_at = -(-given.size // 16) * 16
    if results_at + layouts.row(outs).size > BOX:
        return None
    shape = NOTHING if entry.result is None else ONE if isinstance(entry.result, str) else TUPLE
    function = program.find("hyb." + entry.symbol)
    words = [function, cell.address, len(types), int(entry.pace != "brief"), shape, results_at, len(outs)]
    dims: list[int] = []
    dims_at = 8 * (HEAD + PARAM * len(types) + RESULT * len(outs))
    for t, offset in zip(types, layouts.offsets(types), strict=True):
        if isinstance(t, str):
            words += [KINDS.index(t), offset, 0, 0, 0]
        else:
            words += [TENSOR, offset, id(DTYPES[t[1]]), len(t[2]), dims_at + 8 * len(dims)]
            dims += [-1 if d is None else d for d in t[2]]
    for out, offset in zip(outs, layouts.offsets(outs), strict=True):
        words += [KINDS.index(out), offset]
    return struct.pack(f"={len(words) + len(dims)}q", *words, *dims) if function else None


def wrap(program: native.Program, entry: Entry, slow: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """A built-in function that does what `slow` does, for calls of this entry; `slow` itself where that cannot be."""
    code = _native() if eligible(entry) else None
    if code is None:
        return slow
    cell = _cell(program)
    words = _descriptor(program, entry, cell)
    return slow if words is None else code.make(name or entry.symbol, entry.doc, words, slow, cell.fault, program)


__all__ = ["Quick", "eligible", "wrap"]
