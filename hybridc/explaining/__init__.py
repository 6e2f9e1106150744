"""`hybridc explain`: what runs where. report.py asks the passes, lanes.py of loops, text.py and page.py
show what they said."""

from __future__ import annotations

from hybridc.base.recursion import deep_recursion
from hybridc.explaining.page import page
from hybridc.explaining.report import report_of
from hybridc.explaining.text import text


@deep_recursion()
def explain(path: str, function: str | None = None, *, target: str = "cpu", root: str | None = None) -> str:
    """Every function of a file of which there is something to say, or the one of that name. CompileError for what
    cannot be compiled, LookupError if there is no such function."""
    return text(report_of(path, function, target=target, root=root))


@deep_recursion()
def explain_page(path: str, function: str | None = None, *, target: str = "cpu", root: str | None = None) -> str:
    """The same as an HTML page that needs nothing else."""
    return page(report_of(path, function, target=target, root=root))


__all__ = ["explain", "explain_page"]
