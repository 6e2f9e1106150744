"""What a program's functions become: kernels, transfers and the control flow around them, as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import dropwhile, takewhile

from hybridc import driver, pipeline
from hybridc.base import knobs
from hybridc.base.source import NOWHERE, Source, Sources, Span
from hybridc.core import ir
from hybridc.core.ir import Call, Const, Fault, Fused, If, Loop, Match, Op, Parallel, Stmt, TensorT, Var
from hybridc.core.printer import show_atom
from hybridc.core.tensor_ops import ANYWHERE, TENSOR_ROWS
from hybridc.core.types import show_type
from hybridc.core.walk import blocks_of
from hybridc.explaining import lanes
from hybridc.kernels.cost import cost_of
from hybridc.kernels.device import refusal
from hybridc.link import surface
from hybridc.llvm.processors import vector_bytes
from hybridc.passes import copies, dce, fuse, place
from hybridc.passes.ownership import own

MOVED = frozenset({"to_device", "to_host"})
SILENT = frozenset(ANYWHERE) - MOVED
"""Operators that look at no element."""
COMPUTING = frozenset(r.name for r in TENSOR_ROWS) - SILENT - MOVED
Place = tuple[str, int]
"""A file and a line."""


@dataclass
class Kernel:
    """Operators that run as one. Sizes are polynomials in those that are known only at run time."""

    number: int
    gpu: bool
    operators: list[str]
    read: str
    written: str
    operations: str
    place: Place | None
    lines: list[Place]
    waits: bool
    """The host waits for its result, a number."""


@dataclass
class Move:
    """A transfer between the memories; one to the host waits for the device."""

    to_host: bool
    name: str
    bytes: str
    place: Place | None


@dataclass
class Called:
    """A call of a function that computes with tensors too."""

    title: str
    place: Place | None


@dataclass
class Flow:
    """Control flow around some of the rest."""

    kind: str
    """`loop`, `parallel`, `if`, `else`, `case`"""
    place: Place | None
    items: list[Item]


Item = Kernel | Move | Called | Flow


@dataclass
class Function:
    title: str
    derivative: bool
    signature: str
    place: Place | None
    items: list[Item]
    apart: list[str]
    """Pairs of operators that are not one kernel, and why."""
    hosted: list[str]
    """What could be a GPU kernel and is none, and why."""
    copies: list[str]
    """Containers that are copied, and why."""
    checks: list[str]
    """Sizes that are compared when it runs, since types leave them open."""
    lanes: list[str]
    """Loops that compute numbers of many turns at once."""
    single: list[str]
    """Loops with long ones within that do not, and why."""


@dataclass
class Report:
    path: str
    target: str
    functions: list[Function]
    sources: Sources
    hosts: set[Place]
    """Lines of which something runs on the host that is no kernel."""


@dataclass
class _Notes:
    """What the passes said on the way."""

    refusals: dict[str, list[fuse.Refusal]] = field(default_factory=dict)
    hosted: dict[str, list[place.Placed]] = field(default_factory=dict)
    copied: dict[str, list[copies.Copy]] = field(default_factory=dict)
    lanes: dict[str, list[lanes.Said]] = field(default_factory=dict)


AFTERWARDS = ("into_part", "place")
"""The passes from which on kernels are as they are reported, or placed."""


def report_of(path: str, function: str | None = None, *, target: str = "cpu", root: str | None = None) -> Report:
    """Of every function of a file of which there is something to say, or the one of that name. CompileError for what
    cannot be compiled, LookupError if there is no such function."""
    checked = driver.check(path, root)
    core, interface = driver.lower(checked)
    surface.without_curvatures(interface)
    device, notes = bool(driver.gpus_of(target)), _Notes()
    roots = surface.symbols(interface)
    core = pipeline.differentiated(dce.prune(core, roots), roots, checked.sources)
    passes = pipeline.DEVICE_PASSES if device else pipeline.PASSES
    for name, run in takewhile(lambda p: p[0] not in AFTERWARDS, passes):
        if name != "fuse":
            core = pipeline.passed(name, run, core, roots)
    core = fuse.run(core, refusal if device else fuse.on_cpu, notes.refusals)
    if device:
        core = place.run(core, knobs.place_everything(), notes.hosted)
    notes.copied = copies.copies(own(core))
    ready = core
    for name, run in dropwhile(lambda p: p[0] not in AFTERWARDS, passes):
        if name != "place":
            ready = pipeline.passed(name, run, ready, roots)
    owned, width = own(ready).program, vector_bytes(driver.processors_of(target)[0])
    seldom = surface.once(interface, ready)
    notes.lanes = {n: list(lanes.said(fn, owned, width)) for n, fn in owned.fns.items() if n not in seldom}
    builder = _Builder(core, notes, with_library(core, checked.sources))
    found = [f for f in map(builder.function, core.fns.values()) if f is not None]
    if function is not None:
        found = [f for f in found if function in (f.title, f.title.rpartition(".")[2])]
    if not found and function is not None:
        raise LookupError(f"{path} has no function {function} of which there is anything to say")
    return Report(path, target, found, builder.sources, builder.hosts)


def with_library(core: ir.Program, sources: Sources) -> Sources:
    """The sources, and the standard library's files that functions come from."""
    found = dict(sources)
    for fn in core.fns.values():
        path = fn.span.path
        if path.startswith("<std>/") and path not in found:
            file = resources.files("hybridc.std") / path.removeprefix("<std>/")
            if file.is_file():
                found[path] = Source(path, file.read_text(encoding="utf-8"))
    return found


class _Builder:
    def __init__(self, core: ir.Program, notes: _Notes, sources: Sources):
        self.core, self.notes, self.sources = core, notes, sources
        self.hosts: set[Place] = set()
        self.computing = {n for n, fn in core.fns.items() if any(map(_computes, _statements(fn.body)))}

    def place(self, span: Span) -> Place | None:
        source = self.sources.get(span.path)
        return None if source is None or span == NOWHERE else (span.path, source.line_column(span.start)[0])

    def at(self, span: Span) -> str:
        return where(self.place(span))

    def function(self, fn: ir.Fn) -> Function | None:
        self.number = 0
        items = self.items(fn.body)
        copied = dict.fromkeys(
            f"{_named(c.what)}{self.at(c.stmt.span)}: "
            + ("it is written, and stays where it was read" if c.element else "it is written, and needed as it was")
            for c in self.notes.copied.get(fn.name, ())
        )
        loops = self.notes.lanes.get(fn.name, ())
        if not copied and not loops and not any(map(_shown, items)):
            return None
        apart = dict.fromkeys(
            f"{word(r.op)}{self.at(r.op.span)} with {word(r.before)}{self.at(r.before.span)}: {r.reason}"
            for r in self.notes.refusals.get(fn.name, ())
        )
        hosted = dict.fromkeys(
            f"{', '.join(words(p.stmt))}{self.at(p.stmt.span)}: {p.reason}" for p in self.notes.hosted.get(fn.name, ())
        )
        checks = dict.fromkeys(self.checks(fn.body))
        together = dict.fromkeys(f"the loop{self.at(s.loop)}: {s.turns} turns at once, {s.what}{self.at(s.span)}"
                                 for s in loops if s.turns > 1)
        single = dict.fromkeys(f"the loop{self.at(s.loop)}: {s.what}{self.at(s.span)}" for s in loops if s.turns == 1)
        params = ", ".join(f"{p.name or f'%{p.id}'}: {show_type(p.type)}" for p in fn.params)
        derivative = fn.name.startswith("gradient of ") or " reverse" in fn.name or " forward" in fn.name
        return Function(_title(fn), derivative, params, self.place(fn.span), items, list(apart), list(hosted),
                        list(copied), list(checks), list(together), list(single))

    # ---- what runs
    def items(self, b: ir.Block) -> list[Item]:
        found: list[Item] = []
        for stmt in b.stmts:
            place = self.place(getattr(stmt, "span", NOWHERE))
            if isinstance(stmt, Fused) or isinstance(stmt, Op) and stmt.op in COMPUTING:
                found.append(self.kernel(stmt))
                continue
            if isinstance(stmt, Op) and stmt.op in MOVED:
                moved = str(cost_of([stmt], stmt.args, stmt.outs).written)
                found.append(Move(stmt.op == "to_host", _named(stmt.args[0]), moved, place))
                continue
            if place is not None and not (isinstance(stmt, Op) and stmt.op in SILENT):
                self.hosts.add(place)
            if isinstance(stmt, Call) and stmt.fn in self.computing:
                found.append(Called(_title(self.core.fns[stmt.fn]), place))
            for kind, inner in _within(stmt):
                items = self.items(inner)
                if kind and any(map(_shown, items)):
                    found.append(Flow(kind, place, items))
                elif not kind:
                    found += items
        return found

    def kernel(self, stmt: Op | Fused) -> Kernel:
        self.number += 1
        ops: Sequence[Op] = stmt.ops if isinstance(stmt, Fused) else [stmt]
        results = stmt.outs if isinstance(stmt, Op) else [v for v in stmt.body.tail.values if isinstance(v, Var)]
        cost = cost_of(ops, stmt.args, results)
        gpu = isinstance(stmt, Fused) and stmt.device
        waits = gpu and any(not isinstance(v.type, TensorT) for v in stmt.outs)
        lines = dict.fromkeys(p for p in (self.place(op.span) for op in ops) if p is not None)
        return Kernel(self.number, gpu, words(stmt), str(cost.read), str(cost.written), str(cost.operations),
                      self.place(stmt.span), list(lines), waits)

    # ---- sizes that are compared at run time
    def checks(self, b: ir.Block) -> Iterator[str]:
        for stmt in b.stmts:
            ops = stmt.ops if isinstance(stmt, Fused) else [stmt] if isinstance(stmt, Op) else []
            for op in ops:
                if op.op in SIZES and fuse.checks_sizes(op):
                    yield f"{SIZES[op.op].format(word(op))}{self.at(op.span)}"
            for inner in blocks_of(stmt):
                tail = inner.tail
                if isinstance(stmt, If) and isinstance(tail, Fault) and tail.kind == "ValueError":
                    said = _said(inner)
                    if said.startswith(("dimension", "sizes", "shape")):
                        yield f"{said}{self.at(tail.span)}"
                else:
                    yield from self.checks(inner)


SIZES = {
    "map": "the operands of {} agree", "matmul": "the inner sizes of a {} agree",
    "reshape": "a {} keeps the number of elements", "concat": "the parts of a {} agree",
}
"""Operators that compare sizes, and what they do; open are those that fuse.checks_sizes names."""


def _said(b: ir.Block) -> str:
    """The text of a message, numbers left out."""
    parts = [str(s.attr("text")) for s in b.stmts if isinstance(s, Op) and s.op == "str" and s.attr("text")]
    return " …".join(parts) + " …" * bool(len(parts) > 1)


def _statements(b: ir.Block) -> Iterator[Stmt]:
    for stmt in b.stmts:
        yield stmt
        for inner in blocks_of(stmt):
            yield from _statements(inner)


def _computes(stmt: Stmt) -> bool:
    return isinstance(stmt, Fused) or isinstance(stmt, Op) and stmt.op in COMPUTING


def _shown(item: Item) -> bool:
    return not isinstance(item, Called)


def _within(stmt: Stmt) -> list[tuple[str, ir.Block]]:
    """The blocks of a statement, and what they are; empty for a scope, which only names an exit."""
    match stmt:
        case If():
            return [("if", stmt.then), ("else", stmt.orelse)]
        case Match():
            return [(f"case {arm.case}", arm.body) for arm in stmt.arms]
        case Loop():
            return [("loop", stmt.body)]
        case Parallel():
            return [("parallel", stmt.body)]
    return [("", b) for b in blocks_of(stmt)]


def _title(fn: ir.Fn) -> str:
    """As call chains name it; a derivative as what it is."""
    return fn.name if fn.name.startswith("gradient of ") else fn.title or fn.name


def words(stmt: Op | Fused) -> list[str]:
    ops = stmt.ops if isinstance(stmt, Fused) else [stmt]
    return [word(op) for op in ops if op.op != "reshape" or len(ops) == 1]


def word(op: Op) -> str:
    return str(op.attr("fn")) if op.op in ("map", "reduce") else "product" if op.op == "matmul" else op.op


def _named(a: ir.Atom) -> str:
    return show_atom(a) if isinstance(a, Const) else f"{a.name or f'%{a.id}'}: {show_type(a.type)}"


def where(place: Place | None) -> str:
    return f" ({place[0]}:{place[1]})" if place is not None else ""


__all__ = ["Called", "Flow", "Function", "Item", "Kernel", "Move", "Place", "Report", "report_of", "where"]
