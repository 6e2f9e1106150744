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
from hybridc_runtime import native
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.layout import Layouts
from hybridc_runtime.manifest import Entry, Manifest, Type
from hybridc_runtime.memory import allocate, free, set_word, word

KINDS = ("f64", "f32", "int", "i32", "u8", "bool")
TENSOR = len(KINDS)
HEAD, PARAM, RESULT = 7, 5, 2
"""Words of the parts of a descriptor."""
BOX = 1024
"""Bytes on the stack for arguments and results."""
NOTHING, ONE, TUPLE = range(3)
F32_LIMIT = 3.4028235677973366e38
"""What rounds to infinity, and does not fit."""

# Of CPython 3.11 and numpy: header of an object, items of a tuple, bytes; fields of an array.
TYPE, ITEMS, BYTES = 8, 24, 32
DATA, RANK, DIMS, DESCR, FLAGS = 16, 24, 32, 56, 64
FUNCTION, SELF = 16, 24
"""The callable of a functools.partial; the first argument of a built-in function."""
TYPE_VECTORCALL, TYPE_FLAGS, HAVE_VECTORCALL = 56, 168, 1 << 11
GOOD = 0x101
"""Flags of an array: contiguous in C's order, aligned."""
METH_FASTCALL_KEYWORDS = 0x82
OPT = 0
"""Better code would cost 40 ms once, and gain a nanosecond."""


def _float_bits(x: float) -> str:
    return "0x" + struct.pack(">d", x).hex().upper()


def _ir() -> str:
    """`hyb_fast`, a METH_FASTCALL | METH_KEYWORDS function; `self` is (descriptor, slow, on fault, what to keep)."""

    def at(name: str, base: str, offset: int, type_: str = "i64") -> str:
        return f"  %{name}.at = getelementptr i8, ptr {base}, i64 {offset}\n  %{name} = load {type_}, ptr %{name}.at"

    def same(name: str, value: str, obj: object) -> str:
        return f"  %{name} = icmp eq i64 {value}, {id(obj)}"

    items = [f"i64 {i}, label %{name}" for i, name in enumerate(("int", "i32", "u8"), KINDS.index("int"))]
    return f"""
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare double @PyLong_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyFloat_FromDouble(double)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyBool_FromLong(i64)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

define internal ptr @item(i64 %kind, ptr %p) alwaysinline {{
entry:
  switch i64 %kind, label %f64 [ i64 1, label %f32  {"  ".join(items)}  i64 5, label %bool ]
f64:
  %d = load double, ptr %p
  %r0 = tail call ptr @PyFloat_FromDouble(double %d)
  ret ptr %r0
f32:
  %s = load float, ptr %p
  %wide = fpext float %s to double
  %r1 = tail call ptr @PyFloat_FromDouble(double %wide)
  ret ptr %r1
int:
  %i = load i64, ptr %p
  %r2 = tail call ptr @PyLong_FromLongLong(i64 %i)
  ret ptr %r2
i32:
  %h = load i32, ptr %p
  %h64 = sext i32 %h to i64
  %r3 = tail call ptr @PyLong_FromLongLong(i64 %h64)
  ret ptr %r3
u8:
  %b = load i8, ptr %p
  %b64 = zext i8 %b to i64
  %r4 = tail call ptr @PyLong_FromLongLong(i64 %b64)
  ret ptr %r4
bool:
  %t = load i8, ptr %p
  %t64 = zext i8 %t to i64
  %r5 = tail call ptr @PyBool_FromLong(i64 %t64)
  ret ptr %r5
}}

define ptr @hyb_fast(ptr %self, ptr %args, i64 %n, ptr %names) {{
entry:
  %box = alloca [{BOX} x i8], align 16
  %overflow = alloca i32, align 4
{at("bytes", "%self", ITEMS, "ptr")}
  %d = getelementptr i8, ptr %bytes, i64 {BYTES}
{at("count", "%d", 16)}
  %right = icmp eq i64 %n, %count
  %nameless = icmp eq ptr %names, null
  %fits = and i1 %right, %nameless
  br i1 %fits, label %ready, label %slow

ready:
{at("cell", "%d", 8, "ptr")}
{at("flags", "%d", 24)}
  %long = icmp ne i64 %flags, 0
  br i1 %long, label %watched, label %params
watched:
  %awake = load i64, ptr inttoptr (i64 {native.AWAKE} to ptr)
  %is_awake = icmp ne i64 %awake, 0
  br i1 %is_awake, label %params, label %slow

params:
  %i = phi i64 [ 0, %ready ], [ 0, %watched ], [ %i1, %next ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %param, label %call
param:
  %index = mul i64 %i, {8 * PARAM}
  %p0 = getelementptr i8, ptr %d, i64 {8 * HEAD}
  %p = getelementptr i8, ptr %p0, i64 %index
  %kind = load i64, ptr %p
{at("offset", "%p", 8)}
  %to = getelementptr i8, ptr %box, i64 %offset
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
{at("type", "%arg", TYPE)}
  %whole = icmp uge i64 %kind, 2
  br i1 %whole, label %not_float, label %float

float:
{same("is_float", "%type", float)}
  br i1 %is_float, label %a_float, label %no_float
a_float:
  %x0 = call double @PyFloat_AsDouble(ptr %arg)
  br label %have_float
no_float:
{same("is_int0", "%type", int)}
  br i1 %is_int0, label %an_int, label %slow
an_int:
  %x1 = call double @PyLong_AsDouble(ptr %arg)
  %minus = fcmp oeq double %x1, -1.0
  br i1 %minus, label %perhaps, label %have_float
perhaps:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %have_float, label %large
large:
  call void @PyErr_Clear()
  br label %slow
have_float:
  %x = phi double [ %x0, %a_float ], [ %x1, %an_int ], [ -1.0, %perhaps ]
  %single = icmp eq i64 %kind, 1
  br i1 %single, label %narrow, label %double
double:
  store double %x, ptr %to
  br label %next
narrow:
  %size = call double @llvm.fabs.f64(double %x)
  %below = fcmp ult double %size, {_float_bits(F32_LIMIT)}
  %infinite = fcmp oeq double %size, {_float_bits(float("inf"))}
  %in_range = or i1 %below, %infinite
  br i1 %in_range, label %rounded, label %slow
rounded:
  %f = fptrunc double %x to float
  store float %f, ptr %to
  br label %next

not_float:
  %tensor = icmp eq i64 %kind, {TENSOR}
  br i1 %tensor, label %array, label %not_array
not_array:
  %truth = icmp eq i64 %kind, 5
  br i1 %truth, label %bool, label %integer
bool:
  %address = ptrtoint ptr %arg to i64
{same("is_true", "%address", True)}
{same("is_false", "%address", False)}
  %either = or i1 %is_true, %is_false
  br i1 %either, label %a_bool, label %slow
a_bool:
  %t8 = zext i1 %is_true to i8
  store i8 %t8, ptr %to
  br label %next

integer:
{same("is_int", "%type", int)}
  br i1 %is_int, label %number, label %slow
number:
  %v = call i64 @PyLong_AsLongLongAndOverflow(ptr %arg, ptr %overflow)
  %over = load i32, ptr %overflow
  %no_over = icmp eq i32 %over, 0
  br i1 %no_over, label %of_size, label %slow
of_size:
  switch i64 %kind, label %slow [ {"  ".join(items)} ]
int:
  store i64 %v, ptr %to
  br label %next
i32:
  %v32 = trunc i64 %v to i32
  %back = sext i32 %v32 to i64
  %fits32 = icmp eq i64 %back, %v
  br i1 %fits32, label %good32, label %slow
good32:
  store i32 %v32, ptr %to
  br label %next
u8:
  %v8 = trunc i64 %v to i8
  %fits8 = icmp ult i64 %v, 256
  br i1 %fits8, label %good8, label %slow
good8:
  store i8 %v8, ptr %to
  br label %next

array:
{same("is_array", "%type", np.ndarray)}
  br i1 %is_array, label %described, label %slow
described:
{at("descr", "%arg", DESCR)}
{at("dtype", "%p", 16)}
  %right_dtype = icmp eq i64 %descr, %dtype
{at("nd", "%arg", RANK, "i32")}
  %nd64 = sext i32 %nd to i64
{at("rank", "%p", 24)}
  %right_rank = icmp eq i64 %nd64, %rank
{at("array_flags", "%arg", FLAGS, "i32")}
  %good_flags = and i32 %array_flags, {GOOD}
  %right_flags = icmp eq i32 %good_flags, {GOOD}
  %right1 = and i1 %right_dtype, %right_rank
  %right2 = and i1 %right1, %right_flags
  br i1 %right2, label %an_array, label %slow
an_array:
  store ptr null, ptr %to
{at("data", "%arg", DATA, "ptr")}
  %to.data = getelementptr i8, ptr %to, i64 8
  store ptr %data, ptr %to.data
  %to.dims = getelementptr i8, ptr %to, i64 16
{at("dims", "%arg", DIMS, "ptr")}
{at("static.offset", "%p", 32)}
  %static = getelementptr i8, ptr %d, i64 %static.offset
  br label %axes
axes:
  %k = phi i64 [ 0, %an_array ], [ %k1, %axis_done ]
  %more_axes = icmp ult i64 %k, %rank
  br i1 %more_axes, label %axis, label %next
axis:
  %dim.at = getelementptr i64, ptr %dims, i64 %k
  %dim = load i64, ptr %dim.at
  %want.at = getelementptr i64, ptr %static, i64 %k
  %want = load i64, ptr %want.at
  %any = icmp slt i64 %want, 0
  %exact = icmp eq i64 %want, %dim
  %allowed = or i1 %any, %exact
  br i1 %allowed, label %axis_done, label %slow
axis_done:
  %to.dim = getelementptr i64, ptr %to.dims, i64 %k
  store i64 %dim, ptr %to.dim
  %k1 = add i64 %k, 1
  br label %axes

next:
  %i1 = add i64 %i, 1
  br label %params

call:
  %context = load ptr, ptr %cell
  %free = icmp ne ptr %context, null
  br i1 %free, label %take, label %slow
take:
  store ptr null, ptr %cell
  %entry_point = load ptr, ptr %d
{at("results_at", "%d", 40)}
  %results = getelementptr i8, ptr %box, i64 %results_at
  br i1 %long, label %run_long, label %run
run:
  %status1 = call i32 %entry_point(ptr %context, ptr %box, ptr %results)
  br label %ran
run_long:
  %thread = call ptr @PyEval_SaveThread()
  %status2 = call i32 %entry_point(ptr %context, ptr %box, ptr %results)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  %status = phi i32 [ %status1, %run ], [ %status2, %run_long ]
  %ok = icmp eq i32 %status, 0
  br i1 %ok, label %done, label %fault

fault:
{at("on_fault", "%self", ITEMS + 16, "ptr")}
  %nothing = call ptr @PyObject_Vectorcall(ptr %on_fault, ptr null, i64 0, ptr null)
  ret ptr %nothing

done:
  store ptr %context, ptr %cell
{at("shape", "%d", 32)}
  %r.index = mul i64 %n, {8 * PARAM}
  %r0 = getelementptr i8, ptr %d, i64 {8 * HEAD}
  %r = getelementptr i8, ptr %r0, i64 %r.index
  switch i64 %shape, label %none [ i64 {ONE}, label %one  i64 {TUPLE}, label %tuple ]
none:
  call void @Py_IncRef(ptr inttoptr (i64 {id(None)} to ptr))
  ret ptr inttoptr (i64 {id(None)} to ptr)
one:
  %one.kind = load i64, ptr %r
  %one.item = call ptr @item(i64 %one.kind, ptr %results)
  ret ptr %one.item
tuple:
{at("length", "%d", 48)}
  %row = call ptr @PyTuple_New(i64 %length)
  %no_row = icmp eq ptr %row, null
  br i1 %no_row, label %failed, label %fill
fill:
  %j = phi i64 [ 0, %tuple ], [ %j1, %put ]
  %more_items = icmp ult i64 %j, %length
  br i1 %more_items, label %part, label %full
part:
  %q.index = mul i64 %j, {8 * RESULT}
  %q = getelementptr i8, ptr %r, i64 %q.index
  %q.kind = load i64, ptr %q
{at("q.offset", "%q", 8)}
  %q.at = getelementptr i8, ptr %results, i64 %q.offset
  %made = call ptr @item(i64 %q.kind, ptr %q.at)
  %missing = icmp eq ptr %made, null
  br i1 %missing, label %drop, label %put
put:
  %set = call i32 @PyTuple_SetItem(ptr %row, i64 %j, ptr %made)
  %j1 = add i64 %j, 1
  br label %fill
drop:
  call void @Py_DecRef(ptr %row)
  ret ptr null
full:
  ret ptr %row
failed:
  ret ptr null

slow:
{at("callable", "%self", ITEMS + 8, "ptr")}
  %forwarded = call ptr @PyObject_Vectorcall(ptr %callable, ptr %args, i64 %n, ptr %names)
  ret ptr %forwarded
}}
declare double @llvm.fabs.f64(double)

define ptr @hyb_vector(ptr %callable, ptr %args, i64 %n, ptr %names) {{
{at("function", "%callable", FUNCTION, "ptr")}
{at("self", "%function", SELF, "ptr")}
  %plain = and i64 %n, {(1 << 63) - 1}
  %result = tail call ptr @hyb_fast(ptr %self, ptr %args, i64 %plain, ptr %names)
  ret ptr %result
}}
"""


class _Method(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


# ---- is all where it is expected?
def _layouts_agree() -> bool:
    """Do objects lie in memory as read above?"""
    if sys.implementation.name != "cpython" or sys.version_info[:2] < (3, 11) or sysconfig.get_config_var("Py_GIL_DISABLED"):
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
        image = machine.emit_object(llvm.parse_assembly(_ir()))
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
        self.__setstate__((function, (), {}, own))
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
    method, cls = [].append, functools.partial
    p = cls(method)
    if word(id(p) + FUNCTION) != id(p.func) or word(id(method) + SELF) != id(method.__self__):
        return False
    if word(id(cls) + TYPE_FLAGS) != cls.__flags__ or not cls.__flags__ & HAVE_VECTORCALL:
        return False
    offset = word(id(cls) + TYPE_VECTORCALL)
    return 0 < offset <= cls.__basicsize__ - 8 and word(id(p) + offset) == vectorcall(p) != 0


# ---- contexts
class Cell:
    """The context of a program's fast calls, and the word that holds its address while no call has it."""

    def __init__(self, program: native.Program):
        self.context = native.Context(program)
        self.address = allocate(8)
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
    return bool(entry.pace) and _scalars(entry.result) is not None and not any(p.mut for p in entry.params) and all(
        p.type in KINDS if isinstance(p.type, str) else p.type[0] == "tensor" and p.type[1] != "bf16" for p in entry.params
    )


def _descriptor(program: native.Program, entry: Entry, cell: Cell) -> bytes | None:
    layouts = Layouts(Manifest())
    types: list[Type] = [p.type for p in entry.params]
    outs = _scalars(entry.result) or []
    given = layouts.row(types)
    results_at = -(-given.size // 16) * 16
    if results_at + layouts.row(outs).size > BOX:
        return None
    shape = NOTHING if entry.result is None else ONE if isinstance(entry.result, str) else TUPLE
    words = [
        program.find("hyb." + entry.symbol), cell.address, len(types), int(entry.pace != "brief"), shape, results_at, len(outs),
    ]
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
    return struct.pack(f"={len(words) + len(dims)}q", *words, *dims) if words[0] else None


def wrap(program: native.Program, entry: Entry, slow: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """A built-in function that does what `slow` does, for calls of this entry; `slow` itself where that cannot be."""
    code = _native() if eligible(entry) else None
    if code is None:
        return slow
    cell = _cell(program)
    words = _descriptor(program, entry, cell)
    return slow if words is None else code.make(name or entry.symbol, entry.doc, words, slow, cell.fault, program)


__all__ = ["Quick", "eligible", "wrap"]
