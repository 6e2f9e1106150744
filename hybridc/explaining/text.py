"""A report as text."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.explaining.report import Called, Flow, Function, Item, Kernel, Move, Report, where

WITHIN = {"loop": "in a loop", "parallel": "in parallel", "if": "in a branch", "else": "in a branch"}
NOTHING = "nothing here computes with tensors, nothing is copied, and no loop has a long one within"


def text(report: Report) -> str:
    return "\n".join(map(_function, report.functions)) or NOTHING + "\n"


def _function(f: Function) -> str:
    lines = [f"{f.title}({f.signature}){where(f.place)}", *_items(f.items, ""), *(f"  copies {c}" for c in f.copies)]
    for title, notes in (("not in one kernel", f.apart), ("on the host", f.hosted), ("checked when it runs", f.checks),
                         ("in lanes", f.lanes), ("turn by turn", f.single)):
        if notes:
            lines += [f"  {title}:", *(f"    {n}" for n in notes)]
    return "\n".join(lines) + "\n"


def _items(items: Sequence[Item], within: str) -> list[str]:
    lines: list[str] = []
    for item in items:
        match item:
            case Kernel():
                kind = "GPU kernel" if item.gpu else "kernel"
                lines.append(f"  {kind} {item.number}{where(item.place)}{within}: {', '.join(item.operators)}")
                lines.append(f"    bytes: {item.read} read, {item.written} written; operations: {item.operations}")
                if item.waits:
                    lines.append("    the host waits for its result, a number")
            case Move():
                to = "the host, which waits for it, of" if item.to_host else "the GPU of"
                lines.append(f"  transfer to {to} {item.name}: {item.bytes} bytes{within}")
            case Called():
                lines.append(f"  call of {item.title}{where(item.place)}{within}")
            case Flow():
                lines += _items(item.items, within + ", " + WITHIN.get(item.kind, "in a branch"))
    return lines


__all__ = ["NOTHING", "text"]
