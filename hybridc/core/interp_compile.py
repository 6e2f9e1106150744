"""Core to Python: the reference interpreter turns each function into the source of a Python function, once.

Variable %7 is `v7`. A `loop` or `scope` is a `while True`; leaving one from within another sets `x` to its label and
breaks until it is reached (-1: the function, with its results in `r`). `at` is the number of the place that a fault
would have. `d` is the depth of calls. Python allows few loops within each other and limited indentation, so a block
that lies deep becomes a function beside this one: it takes the variables it uses, and returns `x`, `r` and what it has
assigned for the constructs around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from hybridc.base.source import Span
from hybridc.base.types import F32, F64, I32, INT, U8
from hybridc.core.interp_ops import MAKERS
from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    Call,
    EnumT,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    Tail,
    Var,
    Yield,
)
from hybridc.core.ops import may_fault
from hybridc.core.rounding import round_f32, wrap64
from hybridc.core.values import Buffer, EnumValue, InterpFault, Machine, Some
from hybridc.core.walk import all_blocks, diverges, free_vars, hands_on

MAX_LOOPS = 14
MAX_INDENT = 60
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def compile_fn(
    fn: Fn, machine: Machine, symbols: dict[str, str], depth_limit: int, fault: Callable, counted: bool = False
) -> Callable:
    """The Python function for `fn`: (arguments..., depth) -> tuple of results. `symbols` gives the Python name under
    which each Core function is found in `machine.namespace`; `fault(kind, values)` makes the exception of a tail; with
    `counted`, every call and turn of a loop is told to `machine.turn`."""
    c = _Compiler(fn, machine, symbols, depth_limit, counted)
    source = c.source()
    names = machine.namespace  # type: ignore[attr-defined]
    constants = {
        "InterpFault": InterpFault, "Some": Some, "EnumValue": EnumValue, "_wrap": wrap64, "_f32": round_f32,
        "_inf": math.inf, "_nan": math.nan, "_fault": fault, **c.constants,
    }  # fmt: skip
    scope: dict[str, object] = {}
    code = compile(source, f"<core {fn.name}>", "exec")
    exec(code, names, scope)  # noqa: S102 - the source is made here, from Core
    make = scope["_make"]
    return make(constants)  # type: ignore[operator, no-any-return]


class _Compiler:
    def __init__(self, fn: Fn, machine: Machine, symbols: dict[str, str], depth_limit: int, counted: bool):
        self.fn = fn
        self.machine = machine
        self.symbols = symbols
        self.depth_limit = depth_limit
        self.lines: list[str] = []
        self.indent = 0
        self.loops: list[int] = []
        """Labels of the `while`s around, in the Python function being written; a parallel's is -1."""
        self.leave = "return r"
        """What the Python function being written does when an exit goes beyond it."""
        self.parts: list[str] = []
        """The functions for blocks that lie deep."""
        self.outs: dict[int, tuple[Var, ...]] = {}
        self.constants: dict[str, object] = {}
        self.sites: list[tuple[str, Span]] = []
        self.counter = 0
        self.has_parts = False
        self.turn = self.constant("turn", machine.turn) if counted else ""  # type: ignore[attr-defined]

    # ---- text
    def emit(self, line: str) -> None:
        self.lines.append("\t" * self.indent + line)

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"_{stem}{self.counter}"

    def constant(self, stem: str, value: object) -> str:
        name = self.fresh(stem)
        self.constants[name] = value
        return name

    def site(self, span: Span) -> None:
        self.sites.append((self.fn.name, span))
        self.emit(f"at = {len(self.sites) - 1}")

    def atom(self, a: Atom) -> str:
        if isinstance(a, Var):
            return f"v{a.id}"
        value = a.value
        if isinstance(value, float):
            if value != value:
                return "_nan"
            if math.isinf(value):
                return "_inf" if value > 0 else "(-_inf)"
        text = repr(value)
        return f"({text})" if text.startswith("-") else text

    def atoms(self, atoms: Sequence[Atom]) -> str:
        return ", ".join(map(self.atom, atoms))

    def source(self) -> str:
        def body() -> None:
            self.site(self.fn.span)
            self.emit(f"if d > {self.depth_limit}: raise InterpFault('RecursionError', 'maximum call depth exceeded')")
            if self.turn:
                self.emit(f"{self.turn}()")
            self.block(self.fn.body, lambda values: self.exit(RETURN, values))

        main = self.define("f", self.fn.params, body)
        self.lines = [*self.parts, *main, "\treturn f"]
        self.constants["_sites"] = self.sites
        head = ["def _make(constants):"]
        names = ["InterpFault", "Some", "EnumValue", "_wrap", "_f32", "_inf", "_nan", "_fault", *self.constants]
        head += [f"\t{name} = constants[{name!r}]" for name in names]
        return "\n".join(head + self.lines) + "\n"

    def define(self, name: str, params: Iterable[Var], body: Callable[[], None]) -> list[str]:
        """The lines of a Python function."""
        saved = (self.lines, self.indent, self.loops)
        self.lines, self.indent, self.loops = [], 1, []
        self.emit(f"def {name}({''.join(f'v{p.id}, ' for p in params)}d):")
        self.indent = 2
        self.emit("x = at = 0")
        self.emit("r = None")
        self.emit("try:")
        self.indent = 3
        body()
        self.indent = 2
        self.emit("except InterpFault as e:")
        self.emit("\tif at >= 0: e.trace.append(_sites[at])")
        self.emit("\traise")
        lines = self.lines
        self.lines, self.indent, self.loops = saved
        return lines

    # ---- blocks
    def block(self, b: Block, give: Callable[[Sequence[Atom]], None], targets: Sequence[Var] = ()) -> None:
        """`give` writes what a yield does; `targets` are the variables that it assigns."""
        if self.indent > MAX_INDENT or len(self.loops) > MAX_LOOPS:
            self.outlined(b, give, targets)
        else:
            self.inline(b, give)

    def inline(self, b: Block, give: Callable[[Sequence[Atom]], None]) -> None:
        before = len(self.lines)
        for stmt in b.stmts:
            self.statement(stmt)
            if diverges(stmt):
                self.emit("raise AssertionError('unreachable')")
                return
        self.tail(b.tail, give)
        if len(self.lines) == before:
            self.emit("pass")

    def outlined(self, b: Block, give: Callable[[Sequence[Atom]], None], targets: Sequence[Var]) -> None:
        assigned = {t.id: t for t in targets}
        for inner in all_blocks(b):
            if isinstance(inner.tail, Exit) and inner.tail.label in self.outs:
                assigned.update((o.id, o) for o in self.outs[inner.tail.label])
        taken = free_vars(b)
        name = self.fresh("part")
        results = "x, r" + "".join(f", v{t}" for t in assigned)
        saved, self.leave = self.leave, f"return {results}"

        def body() -> None:
            for t in assigned.values():
                if t not in taken:
                    self.emit(f"v{t.id} = None")
            self.inline(b, give)
            self.emit(self.leave)

        self.parts += self.define(name, taken, body)
        self.leave = saved
        self.has_parts = True
        self.emit("at = -1")  # the part adds its own place to the trace
        self.emit(f"{results} = {name}({''.join(f'v{v.id}, ' for v in taken)}d)")
        self.leave_on()

    def leave_on(self) -> None:
        """If an exit is under way, go on leaving."""
        self.emit("if x: break" if self.loops else f"if x: {self.leave}")

    def assign(self, targets: Sequence[Var], values: Sequence[Atom]) -> None:
        pairs = [(f"v{t.id}", self.atom(v)) for t, v in zip(targets, values, strict=True)]
        pairs = [(t, v) for t, v in pairs if t != v]
        if pairs:
            self.emit(f"{', '.join(t for t, _ in pairs)} = {', '.join(v for _, v in pairs)}")

    def tail(self, tail: Tail, give: Callable[[Sequence[Atom]], None]) -> None:
        match tail:
            case Yield(values):
                give(values)
            case Exit(label, values):
                self.exit(label, values)
            case Fault(kind, values, span):
                self.site(span)
                self.emit(f"raise _fault({kind!r}, ({self.atoms(values)}{',' if values else ''}))")

    def exit(self, label: int, values: Sequence[Atom]) -> None:
        if label == RETURN:
            result = f"({self.atoms(values)}{',' if values else ''})"
            if self.leave == "return r":
                self.emit(f"return {result}")
            else:
                self.emit(f"r = {result}")
                self.emit("x = -1")
                self.emit(self.leave)
            return
        self.assign(self.outs[label], values)
        if not (self.loops and self.loops[-1] == label):
            self.emit(f"x = {label}")
        self.emit("break" if self.loops else self.leave)

    # ---- statements
    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case Op():
                self.operator(stmt)
            case Call(outs, fn, args, span):
                self.site(span)
                depth = "d" if hands_on(self.fn) else "d + 1"
                call = f"{self.symbols[fn]}({''.join(self.atom(a) + ', ' for a in args)}{depth})"
                self.emit("".join(f"v{o.id}, " for o in outs) + ("= " if outs else "") + call)
            case If(outs, cond, then, orelse, _):
                self.emit(f"if {self.atom(cond)}:")
                self.inner(then, outs)
                if orelse.stmts or not isinstance(orelse.tail, Yield) or outs:
                    self.emit("else:")
                    self.inner(orelse, outs)
            case Match():
                self.match(stmt)
            case Loop(outs, label, params, inits, body, _):
                self.assign(params, inits)
                self.outs[label] = outs
                self.looped(label, body, lambda values: self.assign(params, values), params)
            case Fused(outs, body, _):
                for op in stmt.ops:
                    self.operator(op)
                self.assign(outs, body.tail.values)
            case Scope(outs, label, body, _):
                self.outs[label] = outs

                def give(values: Sequence[Atom]) -> None:
                    self.exit(label, values)

                self.looped(label, body, give, outs)
            case Parallel(out, index, count, body, span):
                self.site(span)
                items = self.fresh("items")
                self.emit(f"{items} = []")
                self.emit(f"if {self.atom(count)} < 0: raise InterpFault('ValueError', 'negative length')")
                self.emit(f"for v{index.id} in range({self.atom(count)}):")
                self.loops.append(-1)
                self.indent += 1
                self.block(body, lambda values: self.emit(f"{items}.append({self.atom(values[0])})"))
                self.indent -= 1
                self.loops.pop()
                self.emit(f"v{out.id} = {self.constant('buffer', Buffer)}({items})")

    def inner(self, b: Block, outs: Sequence[Var]) -> None:
        self.indent += 1
        self.block(b, lambda values: self.assign(outs, values), outs)
        self.indent -= 1

    def looped(self, label: int, body: Block, give: Callable[[Sequence[Atom]], None], targets: Sequence[Var]) -> None:
        self.emit("while True:")
        self.loops.append(label)
        self.indent += 1
        if self.turn:
            self.emit(f"{self.turn}()")
        self.block(body, give, targets)
        self.indent -= 1
        self.loops.pop()
        if self.leaves_further(body, label):
            self.emit(f"if x == {label}: x = 0")
            self.leave_on()

    def leaves_further(self, body: Block, label: int) -> bool:
        """Can `x` be set when the loop has been left: by an exit from a loop within, outwards, or a part?"""
        if self.has_parts:
            return True
        for b in all_blocks(body):
            if isinstance(b.tail, Exit) and b.tail.label not in (RETURN, label):
                return True
            for stmt in b.stmts:
                if isinstance(stmt, (Loop, Scope)) and any(
                    isinstance(i.tail, Exit) and i.tail.label == label for i in all_blocks(stmt.body)
                ):
                    return True
        return False

    def match(self, stmt: Match) -> None:
        subject = self.atom(stmt.subject)
        tag = self.fresh("tag")
        self.emit(f"{tag} = {subject}.tag")
        for i, arm in enumerate(stmt.arms):
            self.emit(f"{'if' if i == 0 else 'elif'} {tag} == {i}:")
            self.indent += 1
            for j, f in enumerate(arm.fields):
                self.emit(f"v{f.id} = {subject}.fields[{j}]")
            self.indent -= 1
            self.inner(arm.body, stmt.outs)

    # ---- operators
    def operator(self, op: Op) -> None:
        if op.op in ("retain", "release"):
            return
        if may_fault(op):
            self.site(op.span)
        out = f"v{op.outs[0].id}" if len(op.outs) == 1 else ", ".join(f"v{o.id}" for o in op.outs)
        text = self.written(op)
        if text is None:
            make = self.constant("op", MAKERS[op.op](op, self.machine))
            text = f"{make}({self.atoms(op.args)})"
        self.emit(f"{out} = {text}" if op.outs else text)
        if op.op in ("add", "sub", "mul") and op.outs[0].type == INT:
            self.emit(f"if not {_LOW} <= {out} <= {_HIGH}: {out} = _wrap({out})")

    def written(self, op: Op) -> str | None:
        """The expression for an operator that is worth writing out; None for a call of its function."""
        name, args = op.op, [self.atom(a) for a in op.args]
        t = op.args[0].type if op.args else None
        if name in _INFIX and t in (INT, F64, F32, I32, U8):
            text = f"{args[0]} {_INFIX[name]} {args[1]}"
            if name in _COMPARISONS or t in (INT, F64):
                return text
            return f"_f32({text})" if t == F32 else f"{text} & 255" if t == U8 and name == "add" else None
        match name:
            case "not":
                return f"not {args[0]}"
            case "select":
                return f"{args[1]} if {args[0]} else {args[2]}"
            case "get":
                return f"{args[0]}[{op.attr('index')}]"
            case "tuple" | "struct":
                return f"({''.join(a + ', ' for a in args)})"
            case "destruct" if op.outs:
                return args[0] if len(op.outs) > 1 else f"{args[0]}[0]"
            case "enum":
                assert isinstance(op.outs[0].type, EnumT)
                cases = [n for n, _ in self.machine.program.enums[op.outs[0].type.name].cases]
                tag = cases.index(str(op.attr("case")))
                if not args:
                    return self.constant("case", EnumValue(tag))
                return f"EnumValue({tag}, ({''.join(a + ', ' for a in args)}))"
            case "tag":
                return f"{args[0]}.tag"
            case "some":
                return f"Some({args[0]})"
            case "none":
                return "None"
            case "is_some":
                return f"{args[0]} is not None"
            case "unwrap":
                return f"{args[0]}.value"
            case "buffer_get":
                return f"{args[0]}[{args[1]}]"
            case "buffer_set":
                return f"{args[0]}.put({args[1]}, {args[2]})"
            case "cast" if (t, op.outs[0].type) in ((INT, F64), (I32, F64), (U8, F64), (F32, F64)):
                return f"float({args[0]})"
            case "cast" if (t, op.outs[0].type) in ((U8, INT), (I32, INT)):
                return args[0]
        return None


_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}

