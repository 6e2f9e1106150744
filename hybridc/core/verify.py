"""Is a program well formed? Run after the passes, with HYB_VERIFY=1 after each: scoping, single assignment, types,
labels, shape of control."""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    STR,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    EnumT,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    OptionT,
    Parallel,
    Prim,
    Program,
    Scope,
    Stmt,
    StructT,
    Tail,
    TensorT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.tensor_ops import ANYWHERE
from hybridc.core.types import on_host, same, show_type
from hybridc.core.walk import diverges, mentions, once, statements_in

RANGES = {"int": (-(1 << 63), (1 << 63) - 1), "i32": (-(1 << 31), (1 << 31) - 1), "u8": (0, 255)}
FAULT_KINDS = (
    "HybError", "IndexError", "KeyError", "ZeroDivisionError", "ValueError", "AssertionError", "RecursionError",
    "MemoryError", "OSError", "KeyboardInterrupt", "HostError",
)  # fmt: skip


class CoreError(Exception):
    """Core that is not well formed: a mistake of the compiler, never of the user."""


def verify(program: Program, before: Program | None = None) -> list[str]:
    """What is wrong, each naming its function and statement; [] for a good program. A function that a good program
    `before` had, and what it calls has the same types as there, is not looked at again."""
    errors: list[str] = []
    for table in (program.structs, program.enums, program.fns):
        errors += [f"{name}: stands under the name {d.name}" for name, d in table.items() if d.name != name]  # type: ignore[attr-defined]
    known = before is not None and _same_types(program, before)
    if not known or len(program.structs) + len(program.enums) > len(before.structs) + len(before.enums):  # type: ignore[union-attr]
        errors += _wrong_types(program)
    if errors:
        return errors
    good_types: set[Type] = set()
    if before is None or not known:
        return [e for fn in program.fns.values() for e in _Checker(program, fn, good_types).check()]
    for fn in _others(program, before):
        old = before.fns.get(fn.name)
        known_ops = frozenset() if old is None else _operators(old)
        signatures = tuple(_signature(program.fns[name]) if name in program.fns else None for name in mentions(fn))
        if fn.known.get("good") != signatures:
            found = _Checker(program, fn, good_types, known_ops).check()
            errors += found
            if not found:
                fn.known["good"] = signatures
    return errors


@once
def _operators(fn: Fn) -> frozenset[int]:
    """The numbers of the operators themselves, which are held by the function."""
    return frozenset(id(s) for s in statements_in(fn) if isinstance(s, Op))


def _wrong_types(program: Program) -> list[str]:
    """Of the structs and enums."""
    errors: list[str] = []
    for name in program.structs.keys() & program.enums.keys():
        errors.append(f"{name}: is both a struct and an enum")
    for struct in program.structs.values():
        for field, t in struct.fields:
            errors += [f"struct {struct.name}, field {field}: {e}" for e in _type_errors(t, program)]
    for enum in program.enums.values():
        for case, fields in enum.cases:
            for field, t in fields:
                errors += [f"enum {enum.name}, {case}.{field}: {e}" for e in _type_errors(t, program)]
    return errors or [f"struct {name}: contains itself" for name in _endless(program)]


def _others(program: Program, before: Program) -> list[Fn]:
    """The functions that may be wrong although `before`, which has the same types, is good."""
    others = {
        name for name, fn in before.fns.items()
        if name not in program.fns or program.fns[name] is not fn and _signature(program.fns[name]) != _signature(fn)
    }
    return [fn for fn in program.fns.values()
            if before.fns.get(fn.name) is not fn or others and not others.isdisjoint(mentions(fn))]


def _same_types(program: Program, before: Program) -> bool:
    """Has the program the types of `before`?"""
    tables = (program.structs, before.structs), (program.enums, before.enums)
    return all(new.get(name) is d for new, old in tables for name, d in old.items())  # type: ignore[attr-defined]


@once
def _signature(fn: Fn) -> tuple[object, ...]:
    return tuple(p.type for p in fn.params), fn.results


def check_after(pass_name: str, program: Program, before: Program | None = None) -> None:
    """CoreError if the program is not well formed, naming the pass that made it, of a good one `before`."""
    errors = verify(program, before)
    if errors:
        more = f"\n... and {len(errors) - 20} more" if len(errors) > 20 else ""
        raise CoreError(f"after {pass_name}:\n" + "\n".join(errors[:20]) + more)


def _type_errors(t: Type, program: Program) -> list[str]:
    match t:
        case Prim():
            return []
        case TensorT(elem, dims):
            if not dims or not isinstance(elem, Prim) or any(d is not None and d < 0 for d in dims):
                return [f"{t!r} is no tensor type"]
            return []
        case TupleT(items):
            return [e for i in items for e in _type_errors(i, program)]
        case OptionT(item) | BufferT(item):
            return _type_errors(item, program)
        case StructT(name):
            return [] if name in program.structs else [f"there is no struct {name}"]
        case EnumT(name):
            return [] if name in program.enums else [f"there is no enum {name}"]
    return [f"{t!r} is no type"]


def _endless(program: Program) -> list[str]:
    """Structs that contain themselves by value (buffers and enums are references, which end it)."""
    done: set[str] = set()
    bad: list[str] = []

    def visit(t: Type, path: tuple[str, ...]) -> None:
        match t:
            case TupleT(items):
                for i in items:
                    visit(i, path)
            case OptionT(item):
                visit(item, path)
            case StructT(name):
                if name in path:
                    bad.append(name)
                elif name not in done:
                    for _, f in program.structs[name].fields:
                        visit(f, (*path, name))
                    done.add(name)

    for name in program.structs:
        visit(StructT(name), ())
    return list(dict.fromkeys(bad))


class _Checker:
    def __init__(self, program: Program, fn: Fn, good_types: set[Type], known_ops: frozenset[int] = frozenset()):
        self.program = program
        self.good_types = good_types
        self.known_ops = known_ops
        """Operators that fit their arguments, as a good program with these types had them."""
        self.fn = fn
        self.errors: list[str] = []
        self.on_device = False
        """Within a kernel of the GPU, whose tensors from outside lie there."""
        self.assigned: set[int] = set()
        self.visible: dict[int, Var] = {}
        self.labels: dict[int, tuple[Type, ...]] = {RETURN: fn.results}
        self.seen_labels: set[int] = {RETURN}
        self.at: str | tuple[str, int, Stmt] = "its header"
        """Where we are; made into text only for an error or a block within."""

    def check(self) -> list[str]:
        for t in (*self.fn.results, *(p.type for p in self.fn.params)):
            self.type(t)
        self.bind(self.fn.params)
        self.block(self.fn.body, self.fn.results, "its body")
        return self.errors

    def wrong(self, message: str) -> None:
        self.errors.append(f"{self.fn.name}, {self.place()}: {message}")

    def place(self) -> str:
        if isinstance(self.at, str):
            return self.at
        where, index, stmt = self.at
        what = type(stmt).__name__.lower()
        if isinstance(stmt, (Op, Call)):
            what = stmt.op if isinstance(stmt, Op) else f"call {stmt.fn}"
        return f"{where}, statement {index} ({what})"

    def type(self, t: Type) -> None:
        if t not in self.good_types:
            errors = _type_errors(t, self.program)
            for e in errors:
                self.wrong(e)
            if not errors:
                self.good_types.add(t)

    # ---- variables
    def bind(self, vs: Iterable[Var]) -> None:
        for v in vs:
            if v.id in self.assigned:
                self.wrong(f"{_var(v)} is assigned twice")
            self.type(v.type)
            self.assigned.add(v.id)
            self.visible[v.id] = v

    def atom(self, a: Atom) -> None:
        if isinstance(a, Var):
            known = self.visible.get(a.id)
            if known is None:
                self.wrong(f"{_var(a)} is not visible here" if a.id in self.assigned else f"{_var(a)} is not defined")
            elif known != a:
                defined = f"{_var(known)}: {show_type(known.type)}"
                self.wrong(f"{_var(a)} is used as {show_type(a.type)} and defined as {defined}")
        elif isinstance(a, Const):
            self.const(a)
        else:
            self.wrong(f"{a!r} is no atom")

    def const(self, a: Const) -> None:
        low_high = RANGES.get(a.type.name)
        if a.type == BOOL:
            good = isinstance(a.value, bool)
        elif low_high:
            good = isinstance(a.value, int) and not isinstance(a.value, bool) and low_high[0] <= a.value <= low_high[1]
        else:
            good = isinstance(a.value, float)
        if not good:
            self.wrong(f"{a.value!r} is no {a.type.name}")

    def expect(self, given: tuple[Atom, ...], wanted: tuple[Type, ...], what: str) -> None:
        for a in given:
            self.atom(a)
        if len(given) != len(wanted):
            self.wrong(f"{what}: {len(given)} values instead of {len(wanted)}")
        for i, (a, t) in enumerate(zip(given, wanted, strict=False)):
            if not same(a.type, t):
                self.wrong(f"{what}: value {i} is {show_type(a.type)} instead of {show_type(t)}")

    # ---- blocks
    def block(self, b: Block, yields: tuple[Type, ...], what: str) -> None:
        """`yields` is what a yield must give."""
        outer, self.visible = self.visible, dict(self.visible)
        stopped = False
        for i, stmt in enumerate(b.stmts):
            self.at = (what, i, stmt)
            if stopped:
                self.wrong("cannot be reached")
                break
            self.statement(stmt)
            stopped = diverges(stmt)
        self.at = f"{what}, its end"
        if stopped:  # the tail is never reached: anything that says nothing
            if b.tail.values:
                self.wrong("has values after a statement that never ends normally")
        else:
            self.tail(b.tail, yields)
        self.visible = outer

    def tail(self, tail: Tail, yields: tuple[Type, ...]) -> None:
        match tail:
            case Yield(values):
                self.expect(values, yields, "yield")
            case Exit(label, values):
                if label in self.labels:
                    self.expect(values, self.labels[label], f"exit {label}")
                else:
                    self.wrong(f"no enclosing construct has label {label}")
            case Fault(kind, values, _):
                if kind not in FAULT_KINDS:
                    self.wrong(f"{kind} is no kind of fault")
                types = tuple(a.type for a in values)
                for a in values:
                    self.atom(a)
                if not (types in ((), (STR,)) or (types == (INT, INT) and kind == "IndexError")):
                    self.wrong("the values of a fault are one str, or two ints of an IndexError")
            case _:
                self.wrong(f"{tail!r} is no tail")

    def statement(self, stmt: Stmt) -> None:
        here = "" if isinstance(stmt, (Op, Call)) else self.place()
        match stmt:
            case Op():
                for a in stmt.args:
                    self.atom(a)
                self.operator(stmt)
                self.bind(stmt.outs)
            case Call(outs, name, args, _):
                callee = self.program.fns.get(name)
                if callee is None:
                    self.wrong("there is no such function")
                    self.expect(args, tuple(a.type for a in args), "call")
                else:
                    self.expect(args, tuple(p.type for p in callee.params), "arguments")
                    self.outs(outs, callee.results)
                self.bind(outs)
            case If(outs, cond, then, orelse, _):
                self.expect((cond,), (BOOL,), "condition")
                wanted = tuple(o.type for o in outs)
                self.block(then, wanted, f"{here}, then")
                self.block(orelse, wanted, f"{here}, else")
                self.at = here
                self.bind(outs)
            case Match(outs, subject, _, _):
                self.atom(subject)
                self.arms(stmt, here)
                self.at = here
                self.bind(outs)
            case Loop(outs, label, params, inits, body, _):
                types = tuple(p.type for p in params)
                self.expect(inits, types, "initial values")
                outer = dict(self.visible)
                self.bind(params)
                self.labelled(label, tuple(o.type for o in outs), body, types, here)
                self.visible = outer
                self.bind(outs)
            case Scope(outs, label, body, _):
                wanted = tuple(o.type for o in outs)
                self.labelled(label, wanted, body, wanted, here)
                self.bind(outs)
            case Parallel(out, index, count, body, _):
                self.parallel(out, index, count, body, here)
            case Fused(outs, body, _, device):
                if not isinstance(body.tail, Yield) or any(not isinstance(s, Op) for s in body.stmts):
                    self.wrong("holds operators and yields")
                    return
                if any(OPS[s.op].effect for s in stmt.ops if s.op in OPS):
                    self.wrong("holds an effect")
                self.placed(stmt)
                self.on_device = device
                self.block(body, tuple(on_host(o.type) for o in outs), f"{here}, body")
                self.on_device = False
                self.at = here
                self.bind(outs)
            case _:
                self.wrong(f"{stmt!r} is no statement")

    def placed(self, stmt: Fused) -> None:
        """Tensors that a kernel reads and makes lie where it runs."""
        for v in (*stmt.args, *stmt.outs):
            if isinstance(v.type, TensorT) and v.type.device != stmt.device:
                self.wrong(f"{_var(v) if isinstance(v, Var) else v} lies elsewhere than where the kernel runs")

    def operator(self, stmt: Op) -> None:
        if id(stmt) not in self.known_ops:
            self.fits(stmt)
        moved = stmt.op not in ANYWHERE and not self.on_device
        if moved and any(isinstance(a.type, TensorT) and a.type.device for a in (*stmt.args, *stmt.outs)):
            self.wrong("is computed on the host, and one of its tensors lies on the device")

    def fits(self, stmt: Op) -> None:
        """What it says by itself."""
        row = OPS.get(stmt.op)
        if row is None:
            self.wrong("there is no such operator")
            return
        if list(stmt.attrs) != sorted(stmt.attrs, key=lambda a: a[0]):
            self.wrong("attributes are not in order")
        types = tuple(a.type for a in stmt.args)
        outs = tuple(o.type for o in stmt.outs)
        try:
            message = row.rule(types, dict(stmt.attrs), outs, self.program)
        except (LookupError, TypeError, AttributeError) as error:  # a rule met what it did not foresee
            message = f"does not fit ({error!r})"
        if message:
            self.wrong(message)
        name = stmt.attr("fn") if stmt.op in ("map",) else None
        if isinstance(name, str) and name not in OPS:
            self.wrong(f"fn {name} is no operator")

    def outs(self, outs: tuple[Var, ...], types: tuple[Type, ...]) -> None:
        if len(outs) != len(types):
            self.wrong(f"{len(outs)} results instead of {len(types)}")
        for o, t in zip(outs, types, strict=False):
            if not same(o.type, t):
                self.wrong(f"result {_var(o)} is {show_type(o.type)} instead of {show_type(t)}")

    def arms(self, stmt: Match, here: str) -> None:
        if not isinstance(stmt.subject.type, EnumT) or stmt.subject.type.name not in self.program.enums:
            self.wrong("the subject is no enum")
            return
        cases = self.program.enums[stmt.subject.type.name].cases
        if [a.case for a in stmt.arms] != [name for name, _ in cases]:
            self.wrong(f"arms {[a.case for a in stmt.arms]} for cases {[name for name, _ in cases]}")
            return
        wanted = tuple(o.type for o in stmt.outs)
        for arm, (name, fields) in zip(stmt.arms, cases, strict=True):
            self.at = f"{here}, case {name}"
            self.outs(arm.fields, tuple(t for _, t in fields))
            outer = dict(self.visible)
            self.bind(arm.fields)
            self.block(arm.body, wanted, f"{here}, case {name}")
            self.visible = outer

    def labelled(self, label: int, results: tuple[Type, ...], body: Block, yields: tuple[Type, ...], here: str) -> None:
        if label in self.seen_labels:
            self.wrong(f"label {label} is used twice")
        self.seen_labels.add(label)
        outer, self.labels = self.labels, {**self.labels, label: results}
        self.block(body, yields, f"{here}, body")
        self.labels = outer
        self.at = here

    def parallel(self, out: Var, index: Var, count: Atom, body: Block, here: str) -> None:
        self.expect((count,), (INT,), "count")
        if not isinstance(out.type, BufferT):
            self.wrong(f"the result is a buffer, not {show_type(out.type)}")
            return
        if index.type != INT:
            self.wrong("the index is an int")
        outer, labels = dict(self.visible), self.labels
        self.labels = {}  # nothing leaves the body
        self.bind((index,))
        self.block(body, (out.type.item,), f"{here}, body")
        self.visible, self.labels = outer, labels
        self.at = here
        self.bind((out,))


def _var(v: Var) -> str:
    return f"{v.name or ''}%{v.id}"
