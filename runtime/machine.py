"""Machine code of the runtime's own, written in a small part of Python and translated to LLVM's assembly.

A function of this kind takes and gives 64-bit ints (addresses too) and floats, which its annotations name. It has
assignments, `if`, `while`, `break`, `continue`, `return`, arithmetic, comparisons, `and`, `or` and `not` in conditions,
and calls: of functions translated with it, of what stands in this file, and of C functions as `api.NAME`. `known.NAME`
is a word that the loader fills in: the address of an object or a function that only the running process knows;
`plan.NAME` is a constant. Unlike Python's, ints wrap.
"""

from __future__ import annotations

import ast
import ctypes
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

from hybridc_runtime.memory import MEMORY, WORD, set_word, word

INT, REAL = "i64", "double"
VOID, HALF = "void", "i32"

API: dict[str, tuple[str, str]] = {
    "calloc": (INT, "ii"), "malloc": (INT, "i"), "free": (VOID, "i"), "realloc": (INT, "ii"), "memcpy": (INT, "iii"),
    "PyLong_AsLongLongAndOverflow": (INT, "ii"), "PyLong_AsDouble": (REAL, "i"), "PyLong_FromLongLong": (INT, "i"),
    "PyFloat_FromDouble": (INT, "d"), "PyBool_FromLong": (INT, "i"), "PyErr_Occurred": (INT, ""),
    "PyErr_Clear": (VOID, ""), "Py_IncRef": (VOID, "i"), "Py_DecRef": (VOID, "i"),
    "PyObject_Vectorcall": (INT, "iiii"), "PyTuple_New": (INT, "i"), "PyTuple_SetItem": (HALF, "iii"),
    "PyList_New": (INT, "i"), "PyList_SetItem": (HALF, "iii"), "PyList_GetItem": (INT, "ii"),
    "PyList_Append": (HALF, "ii"), "PyList_SetSlice": (HALF, "iiii"), "PyObject_GetAttr": (INT, "ii"),
    "PyObject_GenericSetAttr": (HALF, "iii"), "PyObject_RichCompareBool": (HALF, "iii"),
    "PyType_GenericAlloc": (INT, "ii"), "PyUnicode_AsUTF8AndSize": (INT, "ii"), "PyUnicode_GetLength": (INT, "i"),
    "PyUnicode_DecodeUTF8": (INT, "iii"), "PyEval_SaveThread": (INT, ""), "PyEval_RestoreThread": (VOID, "i"),
    "PyThread_get_thread_ident": (INT, ""), "PyObject_VectorcallMethod": (INT, "iiii"),
    "PyBytes_AsString": (INT, "i"), "PyBytes_Size": (INT, "i"), "PyBytes_FromStringAndSize": (INT, "ii"),
    "PyObject_GetItem": (INT, "ii"), "PyTuple_GetItem": (INT, "ii"), "usleep": (HALF, "i"),
    "PyCapsule_New": (INT, "iii"), "PyCapsule_GetPointer": (INT, "ii"), "PyCapsule_SetContext": (HALF, "ii"),
    "PyCapsule_GetContext": (INT, "i"), "PyErr_Fetch": (VOID, "iii"), "PyErr_Restore": (VOID, "iii"),
    "PyDict_Items": (INT, "i"), "PySequence_List": (INT, "i"), "PyDict_New": (INT, ""), "PySet_New": (INT, "i"),
    "PyDict_MergeFromSeq2": (HALF, "iii"),
    "hyb_outside": (INT, "ii"), "hyb_ask_host": (INT, "iii"), "hyb_hold": (INT, ""), "hyb_let_hold": (VOID, "i"),
    "hyb_team_take": (INT, ""), "hyb_team_age": (INT, ""), "hyb_team_start": (VOID, "iiii"),
    "hyb_team_close": (VOID, ""), "hyb_team_left": (INT, ""), "hyb_team_rest": (VOID, "i"),
    "hyb_team_release": (VOID, ""),
}
"""C functions, and those of the assembly beside: what they give, and their parameters (i, d). An `int` of C is `i32`
and arrives with its sign."""


# ---- what the functions may use: its meaning in Python, and in LLVM's assembly
def half(p: int) -> int:
    """The signed 32-bit int at an address."""
    return ctypes.c_int32.from_address(p).value


def byte(p: int) -> int:
    return MEMORY[p]


def real(p: int) -> float:
    return ctypes.c_double.from_address(p).value


def single(p: int) -> float:
    """The 32-bit float at an address."""
    return ctypes.c_float.from_address(p).value


def set_half(p: int, value: int) -> None:
    ctypes.c_int32.from_address(p).value = value


def set_byte(p: int, value: int) -> None:
    MEMORY[p] = value & 255


def set_real(p: int, value: float) -> None:
    ctypes.c_double.from_address(p).value = value


def set_single(p: int, value: float) -> None:
    ctypes.c_float.from_address(p).value = value


def magnitude(x: float) -> float:
    return math.fabs(x)


def add_at(p: int, change: int) -> int:
    """Add to the word at an address, as one step for every thread; what it was."""
    old = word(p)
    WORD.pack_into(MEMORY, p, old + change)
    return old


def atomic(p: int) -> int:
    """The word at an address, in one order with what other threads do."""
    return word(p)


def set_atomic(p: int, value: int) -> None:
    """Who reads the word sees what was written before it."""
    set_word(p, value)


def lower_at(p: int, value: int) -> None:
    """The word at an address is this value, if it was more, as one step."""
    set_word(p, min(word(p), value))


def swap_at(p: int, old: int, new: int) -> int:
    """A new word at an address if the old one is there, as one step; 1 if so."""
    if word(p) != old:
        return 0
    set_word(p, new)
    return 1


_kept: list[Any] = []


def room(size: int) -> int:
    """Memory for as long as the function runs; a constant size."""
    _kept.append(ctypes.create_string_buffer(size))
    return ctypes.addressof(_kept[-1])


def enter(function: int, context: int, args: int, results: int) -> int:
    """Call a compiled entry: its status."""
    size = ctypes.c_size_t
    return ctypes.CFUNCTYPE(ctypes.c_int32, size, size, size)(function)(context, args, results)


def ask(function: int, context: int) -> int:
    """Call a poll: its status."""
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_size_t)(function)(context)


def let_go(function: int, context: int, value: int) -> None:
    """Call a compiled release."""
    ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t)(function)(context, value)


def new_array(function: int, cls: int, rank: int, dims: int, number: int, data: int, flags: int) -> int:
    """numpy's PyArray_New: an array over that memory, or its own (0 and 0)."""
    size = ctypes.c_size_t
    make = ctypes.PYFUNCTYPE(size, size, ctypes.c_int32, size, ctypes.c_int32, size, size, ctypes.c_int32,
                             ctypes.c_int32, size)
    return make(function)(cls, rank, dims, number, 0, data, 0, flags, 0)


INLINE: dict[str, tuple[str, str, str]] = {
    "word": (INT, "i", "%p = inttoptr i64 {0} to ptr\n%r = load i64, ptr %p, align 1"),
    "half": (INT, "i", "%p = inttoptr i64 {0} to ptr\n%v = load i32, ptr %p, align 1\n%r = sext i32 %v to i64"),
    "byte": (INT, "i", "%p = inttoptr i64 {0} to ptr\n%v = load i8, ptr %p\n%r = zext i8 %v to i64"),
    "real": (REAL, "i", "%p = inttoptr i64 {0} to ptr\n%r = load double, ptr %p, align 1"),
    "single": (REAL, "i",
               "%p = inttoptr i64 {0} to ptr\n%v = load float, ptr %p, align 1\n%r = fpext float %v to double"),
    "set_word": (VOID, "ii", "%p = inttoptr i64 {0} to ptr\nstore i64 {1}, ptr %p, align 1"),
    "set_half": (VOID, "ii", "%p = inttoptr i64 {0} to ptr\n%v = trunc i64 {1} to i32\nstore i32 %v, ptr %p, align 1"),
    "set_byte": (VOID, "ii", "%p = inttoptr i64 {0} to ptr\n%v = trunc i64 {1} to i8\nstore i8 %v, ptr %p"),
    "set_real": (VOID, "id", "%p = inttoptr i64 {0} to ptr\nstore double {1}, ptr %p, align 1"),
    "set_single": (VOID, "id",
                   "%p = inttoptr i64 {0} to ptr\n%v = fptrunc double {1} to float\nstore float %v, ptr %p, align 1"),
    "magnitude": (REAL, "d", "%r = call double @llvm.fabs.f64(double {0})"),
    "add_at": (INT, "ii", "%p = inttoptr i64 {0} to ptr\n%r = atomicrmw add ptr %p, i64 {1} seq_cst"),
    "atomic": (INT, "i", "%p = inttoptr i64 {0} to ptr\n%r = load atomic i64, ptr %p seq_cst, align 8"),
    "set_atomic": (VOID, "ii", "%p = inttoptr i64 {0} to ptr\nstore atomic i64 {1}, ptr %p release, align 8"),
    "lower_at": (VOID, "ii", "%p = inttoptr i64 {0} to ptr\n%r = atomicrmw min ptr %p, i64 {1} seq_cst"),
    "swap_at": (INT, "iii",
                "%p = inttoptr i64 {0} to ptr\n%x = cmpxchg ptr %p, i64 {1}, i64 {2} seq_cst seq_cst\n"
                "%y = extractvalue {{ i64, i1 }} %x, 1\n%r = zext i1 %y to i64"),
    "ask": (INT, "ii", "%f = inttoptr i64 {0} to ptr\n%s = call i32 %f(i64 {1})\n%r = sext i32 %s to i64"),
    "enter": (INT, "iiii",
              "%f = inttoptr i64 {0} to ptr\n%s = call i32 %f(i64 {1}, i64 {2}, i64 {3})\n%r = sext i32 %s to i64"),
    "let_go": (VOID, "iii", "%f = inttoptr i64 {0} to ptr\ncall void %f(i64 {1}, i64 {2})"),
    "new_array": (INT, "iiiiiii",
                  "%f = inttoptr i64 {0} to ptr\n%n = trunc i64 {2} to i32\n%t = trunc i64 {4} to i32\n"
                  "%g = trunc i64 {6} to i32\n"
                  "%r = call i64 %f(i64 {1}, i32 %n, i64 {3}, i32 %t, i64 0, i64 {5}, i32 0, i32 %g, i64 0)"),
}
"""Result, parameters, and the text: {i} is an argument, %r the result, the other names are made new at each use."""
_ARITHMETIC = {
    ast.Add: ("add", "fadd"), ast.Sub: ("sub", "fsub"), ast.Mult: ("mul", "fmul"), ast.BitAnd: ("and", ""),
    ast.BitOr: ("or", ""), ast.LShift: ("shl", ""), ast.RShift: ("ashr", ""),
}
_COMPARED = {
    ast.Eq: ("eq", "oeq"), ast.NotEq: ("ne", "une"), ast.Lt: ("slt", "olt"), ast.LtE: ("sle", "ole"),
    ast.Gt: ("sgt", "ogt"), ast.GtE: ("sge", "oge"),
}


class _Known:
    """`known.NAME`, for those who read the functions as Python."""

    def __getattr__(self, name: str) -> int:
        raise AttributeError(f"{name} is known to machine code only")


known = _Known()
api = ctypes.pythonapi


class _Body:
    """One function."""

    def __init__(self, unit: Unit, fn: ast.FunctionDef):
        self.unit, self.fn = unit, fn
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.kinds: dict[str, str] = {}
        self.count = 0
        self.loops: list[tuple[str, str]] = []
        self.open = True
        self.result = _kind(fn.returns)

    def text(self) -> str:
        params = []
        for arg in self.fn.args.args:
            kind = _kind(arg.annotation)
            params.append(f"{kind} %{arg.arg}")
            self.local(arg.arg, kind)
            self.lines.append(f"store {kind} %{arg.arg}, ptr %{arg.arg}.at")
        self.block(self.fn.body)
        if self.open:
            self.end("ret void" if self.result == VOID else "unreachable")
        where = "" if self.fn.name in self.unit.exported else "internal "
        head = f"define {where}{self.result} @{self.fn.name}({', '.join(params)}) {{\nstart.:"
        return "\n".join([head, *("  " + s for s in self.slots + self.lines), "}"])

    # ---- lines
    def emit(self, line: str) -> None:
        if not self.open:
            self.label(self.name("dead"))
        self.lines.append(line)

    def name(self, base: str) -> str:
        self.count += 1
        return f"{base}.{self.count}"

    def label(self, label: str) -> None:
        if self.open:
            self.lines.append(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.open = True

    def end(self, line: str) -> None:
        self.emit(line)
        self.open = False

    def local(self, name: str, kind: str) -> None:
        if self.kinds.setdefault(name, kind) != kind:
            raise TypeError(f"{self.fn.name}: {name} is {self.kinds[name]} and {kind}")
        slot = f"%{name}.at = alloca {kind}"
        if slot not in self.slots:
            self.slots.append(slot)

    # ---- statements
    def block(self, body: list[ast.stmt]) -> None:
        for s in body:
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Expr(ast.Constant()):
                pass
            case ast.Expr(value):
                self.value(value)
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, value) if value is not None:
                self.assign(name, *self.value(value))
            case ast.AugAssign(ast.Name(name), op, value):
                self.assign(name, *self.value(ast.BinOp(ast.Name(name), op, value)))
            case ast.Return(None):
                self.end("ret void")
            case ast.Return(value):
                x, kind = self.value(value)  # type: ignore[arg-type]
                self.end(f"ret {kind} {x}")
            case ast.If(test, body, orelse):
                yes, no, after = self.name("then"), self.name("else"), self.name("after")
                self.branch(test, yes, no)
                self.lines.append(f"{yes}:")
                self.open = True
                self.block(body)
                self.jump(after)
                self.lines.append(f"{no}:")
                self.open = True
                self.block(orelse)
                self.label(after)
            case ast.While(test, body, []):
                head, inside, after = self.name("loop"), self.name("body"), self.name("end")
                self.label(head)
                self.branch(test, inside, after)
                self.lines.append(f"{inside}:")
                self.open = True
                self.loops.append((head, after))
                self.block(body)
                self.loops.pop()
                self.jump(head)
                self.lines.append(f"{after}:")
                self.open = True
            case ast.Break():
                self.end(f"br label %{self.loops[-1][1]}")
            case ast.Continue():
                self.end(f"br label %{self.loops[-1][0]}")
            case _:
                raise TypeError(f"{self.fn.name}: not a statement of machine code: {ast.unparse(s)}")

    def jump(self, label: str) -> None:
        if self.open:
            self.end(f"br label %{label}")

    def assign(self, name: str, x: str, kind: str) -> None:
        self.local(name, kind)
        self.emit(f"store {kind} {x}, ptr %{name}.at")

    def branch(self, test: ast.expr, yes: str, no: str) -> None:
        """Go to one of two labels."""
        match test:
            case ast.BoolOp(op, values):
                for v in values[:-1]:
                    on = self.name("or" if isinstance(op, ast.Or) else "and")
                    self.branch(v, *((yes, on) if isinstance(op, ast.Or) else (on, no)))
                    self.lines.append(f"{on}:")
                    self.open = True
                self.branch(values[-1], yes, no)
            case ast.UnaryOp(ast.Not(), value):
                self.branch(value, no, yes)
            case ast.Compare(left, [op], [right]):
                self.end(f"br i1 {self.compare(left, op, right)}, label %{yes}, label %{no}")
            case _:
                raise TypeError(f"{self.fn.name}: not a condition of machine code: {ast.unparse(test)}")

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        a, kind = self.value(left)
        b, other = self.value(right)
        if kind != other:
            raise TypeError(f"{self.fn.name}: {ast.unparse(left)} and {ast.unparse(right)} are of two kinds")
        names = _COMPARED[type(op)]
        r = self.name("%c")
        self.emit(f"{r} = icmp {names[0]} i64 {a}, {b}" if kind == INT else f"{r} = fcmp {names[1]} double {a}, {b}")
        return r

    # ---- values
    def value(self, e: ast.expr) -> tuple[str, str]:
        match e:
            case ast.Constant(bool()):
                raise TypeError(f"{self.fn.name}: machine code has no bool")
            case ast.Constant(int() as n):
                return str(n), INT
            case ast.Constant(float() as x):
                return _bits(x), REAL
            case ast.Name(name):
                return self.named(name)
            case ast.Attribute(ast.Name("known"), name):
                r = self.name("%k")
                self.emit(f"{r} = load i64, ptr getelementptr (i64, ptr @hyb_known, i64 {self.unit.known(name)})")
                return r, INT
            case ast.Attribute(ast.Name("plan"), name):
                return self.constant(name)
            case ast.UnaryOp(ast.USub(), ast.Constant(value)):
                return self.value(ast.Constant(-value))  # type: ignore[operator]
            case ast.BinOp(left, op, right):
                a, kind = self.value(left)
                b, other = self.value(right)
                if kind != other:
                    raise TypeError(f"{self.fn.name}: {ast.unparse(e)} mixes ints and floats")
                r = self.name("%x")
                self.emit(f"{r} = {_ARITHMETIC[type(op)][kind == REAL]} {kind} {a}, {b}")
                return r, kind
            case ast.Call(function, args):
                return self.call(function, args)
        raise TypeError(f"{self.fn.name}: not an expression of machine code: {ast.unparse(e)}")

    def named(self, name: str) -> tuple[str, str]:
        if name in self.kinds:
            r = self.name("%v")
            self.emit(f"{r} = load {self.kinds[name]}, ptr %{name}.at")
            return r, self.kinds[name]
        raise NameError(f"{self.fn.name}: {name} is no variable")

    def constant(self, name: str) -> tuple[str, str]:
        constant = self.unit.constants.get(name)
        if isinstance(constant, float):
            return _bits(constant), REAL
        if not isinstance(constant, int):
            raise NameError(f"{self.fn.name}: {name} is no constant")
        return str(constant), INT

    def call(self, function: ast.expr, args: list[ast.expr]) -> tuple[str, str]:
        name = function.attr if isinstance(function, ast.Attribute) else function.id  # type: ignore[attr-defined]
        if name == "room":
            size, _ = self.value(args[0])
            slot = self.name("%room")
            self.slots += [f"{slot}.at = alloca [{size} x i8], align 16", f"{slot} = ptrtoint ptr {slot}.at to i64"]
            return slot, INT
        given = [self.value(a) for a in args]
        external = isinstance(function, ast.Attribute)
        result, params = self.unit.signature(name, external)
        kinds = [INT if p == "i" else REAL for p in params]
        if [kind for _, kind in given] != kinds:
            raise TypeError(f"{self.fn.name}: {name} takes {kinds}, found {[kind for _, kind in given]}")
        if not external and name in INLINE:
            return self.inline(INLINE[name], [x for x, _ in given])
        call = f"call {result} @{name}({', '.join(f'{kind} {x}' for x, kind in given)})"
        if result == VOID:
            self.emit(call)
            return "0", VOID
        r = self.name("%r")
        self.emit(f"{r} = {call}")
        if result == HALF:
            wide = self.name("%w")
            self.emit(f"{wide} = sext i32 {r} to i64")
            return wide, INT
        return r, result

    def inline(self, row: tuple[str, str, str], args: list[str]) -> tuple[str, str]:
        self.count += 1
        text = re.sub(r"%([a-z])\b", rf"%\1.{self.count}", row[2])
        for line in text.format(*args).splitlines():
            self.emit(line)
        return f"%r.{self.count}", row[0]


def _kind(annotation: ast.expr | None) -> str:
    name = annotation.id if isinstance(annotation, ast.Name) else ""
    return {"int": INT, "float": REAL}.get(name, VOID)


def _bits(x: float) -> str:
    return "0x" + struct.pack(">d", x).hex().upper()


class Unit:
    """The functions of some files. `constants` are what `plan.NAME` means; `beside` is assembly of the same module."""

    def __init__(self, source: str, constants: Mapping[str, Any], exported: tuple[str, ...], beside: str = ""):
        self.constants, self.exported = constants, exported
        self.names: list[str] = []
        """Of the words that the loader fills in, in order."""
        self._used: dict[str, None] = {}
        found = [s for s in ast.parse(source).body if isinstance(s, ast.FunctionDef)]
        self._own = {
            f.name: (_kind(f.returns), "".join("d" if _kind(a.annotation) == REAL else "i" for a in f.args.args))
            for f in found
        }
        bodies = [_Body(self, f).text() for f in found]
        there = set(re.findall(r"^(?:declare|define)[^@]*@(\w+)", beside, re.MULTILINE))
        declared = [f"declare {API[n][0]} @{n}({', '.join(INT if p == 'i' else REAL for p in API[n][1])})"
                    for n in self._used if n not in there]
        table = f"@hyb_known = global [{len(self.names)} x i64] zeroinitializer"
        self.text = "\n\n".join([table, "declare double @llvm.fabs.f64(double)", *declared, *bodies]) + "\n"

    def known(self, name: str) -> int:
        """The place of a word that the loader fills in."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def signature(self, name: str, external: bool) -> tuple[str, str]:
        if external:
            self._used.setdefault(name)
            return API[name]
        return INLINE[name][:2] if name in INLINE else self._own[name]


__all__ = [
    "Unit", "add_at", "api", "ask", "atomic", "byte", "enter", "half", "known", "let_go", "lower_at", "magnitude",
    "new_array", "real", "room", "set_atomic", "set_byte", "set_half", "set_real", "set_single", "set_word", "single",
    "swap_at", "word",
]
