"""The C functions of fast calls (fastcall.py), as LLVM's assembly, and where they read descriptors and objects."""

from __future__ import annotations

import struct

import numpy as np
from hybridc_runtime import native

KINDS = ("f64", "f32", "int", "i32", "u8", "bool")
TENSOR = len(KINDS)
HEAD, PARAM, RESULT = 7, 5, 2
"""Words of the parts of a descriptor."""
BOX = 1024
"""Bytes on the stack for arguments and results."""
NOTHING, ONE, TUPLE = range(3)
F32_LIMIT = 3.4028235677973366e38
"""What rounds to infinity, and does not fit."""

# Of CPython 3.11 and numpy: the type of an object, a float, items of a tuple, bytes; fields of an array.
TYPE, FLOAT, ITEMS, BYTES = 8, 16, 24, 32
DATA, RANK, DIMS, DESCR, FLAGS = 16, 24, 32, 56, 64
FUNCTION, SELF = 16, 24
"""The callable of a functools.partial; the first argument of a built-in function."""
GOOD = 0x101
"""Flags of an array: contiguous in C's order, aligned."""


def _float_bits(x: float) -> str:
    return "0x" + struct.pack(">d", x).hex().upper()


def text() -> str:
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
{at("x0", "%arg", FLOAT, "double")}
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
