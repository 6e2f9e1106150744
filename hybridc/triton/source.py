"""The Triton module of a program: one file of source, and for each kernel what its launcher has to know.

A kernel's parameters are, in order: its results `o0..`, what it reads `x0..` (pointers, and scalars by value), its
sizes (int64), for kernels that check indices `fault`, then the constants of its schedule. A launch says how many rows,
and how many columns, there are to share out; the launcher divides them by the constants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from hybridc.core.ir import Op, TensorT, Var
from hybridc.core.printer import show_atom
from hybridc.core.types import elem
from hybridc.kernels.device import LINES, Kernels, Launch
from hybridc.kernels.online import online
from hybridc.triton.rows import grid_columns, write_rows
from hybridc.triton.scalars import PRELUDE
from hybridc.triton.schedules import Schedule, column_names, schedule_of
from hybridc.triton.single import write_single
from hybridc.triton.text import SIGNATURE, Writer

HEAD = '''\
"""The GPU kernels of {name}, made by hybridc: o are results, x what is read, the rest sizes."""

import triton
import triton.language as tl
from triton.language.extra import libdevice
'''
HELPERS = {
    **PRELUDE,
    "times": '''\
@triton.jit
def times(a, b):
    return a * b
''',
    "any_nan": '''\
@triton.jit
def any_nan(x, y):
    """y, or nan where a row of x holds one."""
    found = tl.max((x != x).to(tl.int32), axis=1, keep_dims=True)
    return tl.where(found != 0, float("nan"), y)
''',
    "note_wrong": '''\
@triton.jit
def note_wrong(fault, wrong, at):
    """Keep the lowest place of an index that is out of range."""
    lowest = tl.min(tl.where(wrong, at, 9223372036854775807), axis=0)
    tl.atomic_min(fault, lowest, mask=lowest < 9223372036854775807)
''',
}


@dataclass
class KernelInfo:
    """What a launcher knows of a kernel; the record of the same name in hybridc_runtime.launch mirrors it."""

    name: str
    params: list[list[str]]
    """[name, "pointer" | "scalar" | "size" | "fault", Triton's type of what it is or points to]"""
    constants: dict[str, int]
    grid: list[str]
    """The constants by which the counts of a launch are divided."""
    warps: int
    stages: int
    operators: list[str] = field(default_factory=list)


def module_of(name: str, kernels: Kernels, target: str = "") -> tuple[str, list[KernelInfo]]:
    """The source, cut up for a target if one is named, and its kernels in the order of their numbers."""
    texts, infos = [], []
    for i, launch in enumerate(kernels.launches):
        text, info = kernel_of(f"kernel_{i}_{_title(launch)}", launch, schedule_of(launch, target))
        texts.append(text)
        infos.append(info)
    return module_text(name, texts), infos


def module_text(name: str, texts: Sequence[str]) -> str:
    """The file that holds these kernels."""
    body = "\n\n".join(texts)
    used: list[str] = []
    for helper, text in HELPERS.items():
        if re.search(rf"\b{helper}\b", body):
            used.append(text)
    return "\n\n".join([HEAD.format(name=name), *used, *texts])


def record(infos: Sequence[KernelInfo]) -> list[dict[str, object]]:
    """For the artifact."""
    return [asdict(i) for i in infos]


def kernel_of(name: str, launch: Launch, schedule: Schedule) -> tuple[str, KernelInfo]:
    """One kernel as source."""
    params = parameters(launch)
    constants = dict(schedule.constants)
    w = Writer()
    for p in [*HELPERS, *(p[0] for p in params), *constants]:
        w.taken[p] = 1
    if launch.kind == "rows":
        write_rows(w, launch, schedule.blocks(launch))
    else:
        write_single(w, launch)
    operators = list(map(_shown, launch.stmt.ops))
    doc = [f'    """{operators[0]}"""'] if len(operators) == 1 else [
        f'    """{operators[0]}', *(f"    {o}" for o in operators[1:]), '    """']
    names = [p[0] for p in params] + [f"{c}: tl.constexpr" for c in constants]
    head = f"def {name}({', '.join(names)}):"
    text = "\n".join(["@triton.jit", head, *doc, *w.lines]) + "\n"
    return text, KernelInfo(name, params, constants, _grid(launch), schedule.warps, schedule.stages, operators)


def parameters(launch: Launch) -> list[list[str]]:
    rows = []
    for i, v in enumerate(launch.stmt.outs):
        rows.append([f"o{i}", "pointer", SIGNATURE[elem(v.type)]])
    for i, a in enumerate(launch.inputs):
        kind = "pointer" if isinstance(a.type, TensorT) else "scalar"
        rows.append([f"x{i}", kind, SIGNATURE[elem(a.type)]])
    rows += [[launch.size_name(s), "size", "i64"] for s in launch.sizes]
    if launch.checked is not None:
        rows.append(["fault", "fault", "i64"])
    return rows


def _grid(launch: Launch) -> list[str]:
    """The constants by which rows and columns are shared out."""
    if launch.graph is not None:
        shared = grid_columns(launch.graph)
        return ["ROWS", column_names(launch)[shared] if shared is not None else ""]
    if launch.kind == "matmul":
        return ["ROWS", "COLUMNS"]
    return ["ROWS" if launch.kind in LINES and launch.kind != "argsort" else "BLOCK", ""]


def _title(launch: Launch) -> str:
    """A word or two on what a kernel does."""
    if launch.graph is not None and online(launch.graph) is not None:
        return "attention"
    words: list[str] = []
    for op in launch.stmt.ops:
        word = str(op.attr("fn")) if op.op in ("map", "reduce") else op.op
        if word not in words and op.op not in ("reshape", "broadcast"):
            words.append(word)
    return "_".join(words[:4]) or launch.stmt.ops[0].op


def _shown(op: Op) -> str:
    """An operator in a kernel's doc."""
    word = str(op.attr("fn")) if op.op in ("map", "reduce") else op.op
    args = ", ".join((a.name or f"%{a.id}") if isinstance(a, Var) else show_atom(a) for a in op.args)
    axes = f" over axes {op.attr('axes')}" if op.op == "reduce" else ""
    return f"{op.outs[0].name or f'%{op.outs[0].id}'} = {word}({args}){axes}"


__all__ = ["KernelInfo", "kernel_of", "module_of", "module_text", "record"]
