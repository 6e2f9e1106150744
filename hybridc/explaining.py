"""`hybridc explain`: what runs where, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hybridc import driver
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import NOWHERE, Sources, Span
from hybridc.core import ir
from hybridc.core.ir import Fused, Loop, Op, Parallel, Stmt, TensorT, Var
from hybridc.core.printer import show_atom
from hybridc.core.tensor_ops import ANYWHERE, TENSOR_ROWS
from hybridc.core.types import show_type
from hybridc.core.walk import blocks_of
from hybridc.kernels.cost import cost_of
from hybridc.kernels.device import refusal
from hybridc.link import surface
from hybridc.passes import copies, fuse, place
from hybridc.passes.ownership import own

TENSOR_OPS = frozenset(r.name for r in TENSOR_ROWS)
SILENT = frozenset(ANYWHERE) - {"to_device", "to_host"}
"""Operators that look at no element."""


@dataclass
class _Notes:
    """What the passes said on the way."""

    refusals: dict[str, list[fuse.Refusal]] = field(default_factory=dict)
    hosted: dict[str, list[place.Placed]] = field(default_factory=dict)
    copied: dict[str, list[copies.Copy]] = field(default_factory=dict)


def explain(path: str, function: str | None = None, *, target: str = "cpu", root: str | None = None) -> str:
    """Every function of a file that computes with tensors or copies containers, or the one of that name. CompileError
    for what cannot be compiled, LookupError if there is no such function."""
    checked = driver.check(path, root)
    core, interface = driver.lower(checked)
    device, notes = bool(driver.gpus_of(target)), _Notes()
    roots = surface.symbols(interface)
    with deep_recursion():
        core = driver.differentiated(driver.dce.prune(core, roots), roots, checked.sources)
        for name, run in driver.PASSES[:-2]:
            core = driver.passed(name, run, core, roots)
        core = fuse.run(core, refusal if device else fuse.on_cpu, notes.refusals)
        if device:
            core = place.run(core, driver.knobs.place_everything(), notes.hosted)
        notes.copied = copies.copies(own(core))
    parts = []
    for fn in core.fns.values():
        title = _title(fn)
        if function is not None and function not in (title, title.rpartition(".")[2]):
            continue
        text = _function(fn, notes, checked.sources)
        if text:
            parts.append(text)
    if not parts and function is not None:
        raise LookupError(f"{path} has no function {function} that computes with tensors or copies")
    return "\n".join(parts) or "nothing here computes with tensors, and nothing is copied\n"


def _title(fn: ir.Fn) -> str:
    """As call chains name it; a derivative as what it is."""
    return fn.name if fn.name.startswith("gradient of ") else fn.title or fn.name


def _function(fn: ir.Fn, notes: _Notes, sources: Sources) -> str:
    lines: list[str] = []
    number = 0
    for stmt, within in _statements(fn.body, ""):
        if isinstance(stmt, Fused) or isinstance(stmt, Op) and stmt.op in TENSOR_OPS - SILENT - MOVED:
            number += 1
            lines += _kernel(number, stmt, within, sources)
        elif isinstance(stmt, Op) and stmt.op in MOVED:
            lines.append(f"  {MOVED_TEXT[stmt.op]} {_named(stmt.args[0])}: {_bytes(stmt)} bytes{within}")
    lines += dict.fromkeys(
        f"  copies {_named(c.what)}{_at(c.stmt.span, sources)}: "
        + ("it is written, and stays where it was read" if c.element else "it is written, and needed as it was")
        for c in notes.copied.get(fn.name, ())
    )
    if not lines:
        return ""
    apart = dict.fromkeys(
        f"    {_word(r.op)}{_at(r.op.span, sources)} with {_word(r.before)}{_at(r.before.span, sources)}: {r.reason}"
        for r in notes.refusals.get(fn.name, ())
    )
    hosted = dict.fromkeys(
        f"    {', '.join(_words(p.stmt))}{_at(p.stmt.span, sources)}: {p.reason}" for p in notes.hosted.get(fn.name, ())
    )
    if apart:
        lines += ["  not in one kernel:", *apart]
    if hosted:
        lines += ["  on the host:", *hosted]
    params = ", ".join(f"{p.name or f'%{p.id}'}: {show_type(p.type)}" for p in fn.params)
    return "\n".join([f"{_title(fn)}({params}){_at(fn.span, sources)}", *lines]) + "\n"


MOVED = frozenset({"to_device", "to_host"})
MOVED_TEXT = {"to_device": "transfer to the GPU of", "to_host": "transfer to the host, which waits for it, of"}


def _statements(b: ir.Block, within: str) -> Iterator[tuple[Stmt, str]]:
    """With the loops that each stands in, as text."""
    for stmt in b.stmts:
        yield stmt, within
        deeper = within + (", in a loop" if isinstance(stmt, Loop) else ", in parallel" * isinstance(stmt, Parallel))
        for inner in blocks_of(stmt):
            yield from _statements(inner, deeper)


def _kernel(number: int, stmt: Op | Fused, within: str, sources: Sources) -> list[str]:
    ops: Sequence[Op] = stmt.ops if isinstance(stmt, Fused) else [stmt]
    results = stmt.outs if not isinstance(stmt, Fused) else [v for v in stmt.body.tail.values if isinstance(v, Var)]
    cost = cost_of(ops, stmt.args, results)
    where = "GPU kernel" if isinstance(stmt, Fused) and stmt.device else "kernel"
    lines = [f"  {where} {number}{_at(stmt.span, sources)}{within}: {', '.join(_words(stmt))}"]
    lines.append(f"    bytes: {cost.read} read, {cost.written} written; operations: {cost.operations}")
    if isinstance(stmt, Fused) and stmt.device and any(not isinstance(v.type, TensorT) for v in stmt.outs):
        lines.append("    the host waits for its result, a number")
    return lines


def _words(stmt: Op | Fused) -> list[str]:
    ops = stmt.ops if isinstance(stmt, Fused) else [stmt]
    return [_word(op) for op in ops if op.op != "reshape" or len(ops) == 1]


def _word(op: Op) -> str:
    return str(op.attr("fn")) if op.op in ("map", "reduce") else "product" if op.op == "matmul" else op.op


def _named(a: ir.Atom) -> str:
    return show_atom(a) if not isinstance(a, Var) else f"{a.name or f'%{a.id}'}: {show_type(a.type)}"


def _bytes(stmt: Op) -> str:
    return str(cost_of([stmt], stmt.args, stmt.outs).written)


def _at(span: Span, sources: Sources) -> str:
    source = sources.get(span.path)
    if source is None or span == NOWHERE:
        return ""
    return f" ({span.path}:{source.line_column(span.start)[0]})"


__all__ = ["explain"]
