"""Core as text, which core/reader.py reads back to the same program. The grammar heads core/ir.py; beside it:

    var      NAME%ID at its definition with `: type`; the name may be missing
    names    that are not plain words stand in backquotes
    constant 3 (int), 2.5 (f64), true; of another type: i32(3), f32(2.5), f32(nan)
    places   @path:start:end after a statement's first line
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from hybridc.base.source import NOWHERE, Span
from hybridc.core.ir import (
    BOOL,
    F64,
    INT,
    Atom,
    Block,
    Call,
    EnumDef,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    StructDef,
    Tail,
    Var,
    Yield,
)
from hybridc.core.types import show_name, show_type
from hybridc.core.walk import outs_of

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./<>-]+\Z")


def print_program(program: Program, spans: bool = True) -> str:
    """The whole program; `spans=False` leaves places out, for reading."""
    parts = [_struct(s) for s in program.structs.values()]
    parts += [_enum(e) for e in program.enums.values()]
    parts += [print_fn(f, spans) for f in program.fns.values()]
    return "\n".join(parts) + "\n"


def print_fn(fn: Fn, spans: bool = True, origin: Span = NOWHERE) -> str:
    """One function. Places in the file of `origin` are shown as they count from where that begins."""
    lines: list[str] = []
    head = "hidden fn " if fn.hidden else "fn "
    title = f" {json.dumps(fn.title)}" if fn.title else ""
    results = ", ".join(map(show_type, fn.results))
    adjoint = f" adjoint {show_name(fn.adjoint)}" if fn.adjoint else ""
    adjoint += " checkpoint" if fn.checkpoint else ""
    printer = _Printer(spans, lines, origin)
    place = printer.place(fn.span)
    lines.append(f"{head}{show_name(fn.name)}{title}({_defs(fn.params)}) -> ({results}){adjoint}{place} {{")
    printer.block(fn.body, 1)
    lines.append("}")
    return "\n".join(lines) + "\n"


def _struct(s: StructDef) -> str:
    return f"struct {show_name(s.name)} {{ {_fields(s.fields)} }}\n"


def _enum(e: EnumDef) -> str:
    cases = [show_name(name) + (f"({_fields(fields)})" if fields else "") for name, fields in e.cases]
    return f"enum {show_name(e.name)} {{ {' '.join(cases)} }}\n"


def _fields(fields: Iterable[tuple]) -> str:
    return ", ".join(f"{show_name(name)}: {show_type(t)}" for name, t in fields)


def _op_name(op: str) -> str:
    """`struct`, `enum` and `none` are operators too, and need no backquotes where one stands."""
    return op if op in ("struct", "enum", "none") else show_name(op)


def _var(v: Var) -> str:
    return f"{show_name(v.name) if v.name else ''}%{v.id}"


def _defs(vs: Iterable[Var]) -> str:
    return ", ".join(f"{_var(v)}: {show_type(v.type)}" for v in vs)


def number_text(value: int | float) -> str:
    """A number as Core's text has it; a float is never taken for an integer."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return str(value)


def show_atom(a: Atom) -> str:
    if isinstance(a, Var):
        return _var(a)
    if a.type == BOOL:
        return "true" if a.value else "false"
    text = number_text(a.value)
    if (a.type == INT and isinstance(a.value, int)) or (a.type == F64 and isinstance(a.value, float)):
        return text
    return f"{a.type.name}({text})"


def _atoms(atoms: Iterable[Atom]) -> str:
    return ", ".join(map(show_atom, atoms))


def show_attr(value: object) -> str:
    """An attribute's value."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case str():
            return json.dumps(value)
        case tuple():
            return "(" + "".join(show_attr(v) + ", " for v in value).rstrip() + ")"
    raise TypeError(f"{value!r} cannot be an attribute")


class _Printer:
    def __init__(self, spans: bool, lines: list[str], origin: Span):
        self.spans = spans
        self.lines = lines
        self.origin = origin

    def place(self, span: Span) -> str:
        if not self.spans or span == NOWHERE:
            return ""
        if self.origin.path and span.path == self.origin.path:
            return f" @+{span.start - self.origin.start}:{span.end - self.origin.start}"
        path = span.path if _PLAIN_PATH.match(span.path) else json.dumps(span.path)
        return f" @{path}:{span.start}:{span.end}"

    def block(self, b: Block, depth: int) -> None:
        for stmt in b.stmts:
            self.statement(stmt, depth)
        self.lines.append("  " * depth + self.tail(b.tail))

    def tail(self, tail: Tail) -> str:
        match tail:
            case Yield(values):
                return f"yield {_atoms(values)}".rstrip()
            case Exit(label, values):
                return f"exit {label} {_atoms(values)}".rstrip()
            case Fault(kind, values, span):
                return f"fault {kind} {_atoms(values)}".rstrip() + self.place(span)

    def statement(self, stmt: Stmt, depth: int) -> None:
        pad = "  " * depth
        outs = _defs(outs_of(stmt))
        head = pad + (f"{outs} = " if outs else "")
        place = self.place(stmt.span)
        match stmt:
            case Op(_, op, args, attrs, _):
                shown = ", ".join(f"{show_name(name)}={show_attr(value)}" for name, value in attrs)
                self.lines.append(f"{head}{_op_name(op)}{f'[{shown}]' if attrs else ''}({_atoms(args)}){place}")
                return
            case Call(_, fn, args, _):
                self.lines.append(f"{head}call {show_name(fn)}({_atoms(args)}){place}")
                return
            case If(_, cond, then, orelse, _):
                self.lines.append(f"{head}if {show_atom(cond)}{place} {{")
                self.block(then, depth + 1)
                self.lines.append(f"{pad}}} else {{")
                self.block(orelse, depth + 1)
            case Match(_, subject, arms, _):
                self.lines.append(f"{head}match {show_atom(subject)}{place} {{")
                for arm in arms:
                    self.lines.append(f"{pad}  {show_name(arm.case)}({_defs(arm.fields)}) {{")
                    self.block(arm.body, depth + 2)
                    self.lines.append(f"{pad}  }}")
            case Loop(_, label, params, inits, body, _):
                start = ", ".join(
                    f"{_var(p)}: {show_type(p.type)} = {show_atom(i)}" for p, i in zip(params, inits, strict=True)
                )
                self.lines.append(f"{head}loop {label} ({start}){place} {{")
                self.block(body, depth + 1)
            case Fused(_, body, _):
                self.lines.append(f"{head}fused{' device' if stmt.device else ''}{place} {{")
                self.block(body, depth + 1)
            case Scope(_, label, body, _):
                self.lines.append(f"{head}scope {label}{place} {{")
                self.block(body, depth + 1)
            case Parallel(_, index, count, body, _):
                self.lines.append(f"{head}parallel {_defs([index])} < {show_atom(count)}{place} {{")
                self.block(body, depth + 1)
        self.lines.append(pad + "}")
