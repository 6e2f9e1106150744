"""Errors are data: made where the mistake is seen, rendered in one place."""

from __future__ import annotations

from dataclasses import replace

from hybridc.base.immutable import immutable
from hybridc.base.source import Sources, Span, in_file

MAX_WIDTH = 200
"""How much of a source line is shown."""


@immutable(frozen=True, slots=True)
class Diagnostic:
    """One error or warning: a stable code (`HYB301`), one sentence, where; `help` says what to write instead."""

    code: str
    message: str
    span: Span
    help: str | None = None
    notes: tuple[tuple[str, Span], ...] = ()
    severity: str = "error"

    def in_file(self, sources: Sources) -> Diagnostic:
        """With all places in their files."""
        notes = tuple((message, in_file(span, sources)) for message, span in self.notes)
        return replace(self, span=in_file(self.span, sources), notes=notes)


def render(diagnostic: Diagnostic, sources: Sources) -> str:
    """`FILE:LINE:COLUMN: error[CODE]: message` (or warning), the source line, the span marked below, notes and help."""
    lines = [_headline(diagnostic.span, f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}", sources)]
    lines += _excerpt(diagnostic.span, sources)
    for message, span in diagnostic.notes:
        lines.append(_headline(span, f"note: {message}", sources))
        lines += _excerpt(span, sources)
    if diagnostic.help:
        lines.append(f"  help: {diagnostic.help}")
    return "\n".join(lines)


def record(diagnostic: Diagnostic, sources: Sources) -> dict[str, object]:
    """A diagnostic as plain data for other programs; lines and columns count from 1, the end is exclusive."""
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        **_place(diagnostic.span, sources),
        "help": diagnostic.help,
        "notes": [{"message": message, **_place(span, sources)} for message, span in diagnostic.notes],
    }


def _place(span: Span, sources: Sources) -> dict[str, object]:
    """Of a file that could not be read the first character; nulls where there is no file."""
    source = sources.get(span.path)
    if source is not None:
        line, column = source.line_column(span.start)
        end_line, end_column = source.line_column(max(span.start, span.end))
        return {"file": span.path, "line": line, "column": column, "end_line": end_line, "end_column": end_column}
    one = 1 if span.path else None
    return {"file": span.path or None, "line": one, "column": one, "end_line": one, "end_column": one}


def _headline(span: Span, text: str, sources: Sources) -> str:
    source = sources.get(span.path)
    if source is None:
        return f"{span.path}:1:1: {text}" if span.path else text
    line, column = source.line_column(span.start)
    return f"{span.path}:{line}:{column}: {text}"


def _excerpt(span: Span, sources: Sources) -> list[str]:
    """The line where the span begins, and marks below it; of a span over several lines the part on the first."""
    source = sources.get(span.path)
    if source is None:
        return []
    line, column = source.line_column(span.start)
    # What a terminal would take for a command, or not show, must not move the marks.
    text = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in source.line_text(line))
    if len(text) >= column:
        text = text.rstrip().ljust(column)
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    shown, start = text, column - 1
    if len(text) > MAX_WIDTH:
        # Of a very long line the part around the span.
        cut = max(0, min(start - MAX_WIDTH // 4, len(text) - MAX_WIDTH))
        shown = text[cut : cut + MAX_WIDTH]
        start -= cut
        if cut:
            shown, start = "..." + shown, start + 3
        width = max(1, min(width, len(shown) - start))
        if cut + MAX_WIDTH < len(text):
            shown += "..."
    pad = "".join("\t" if c == "\t" else " " for c in shown[:start])
    return [f"{line:>5} | {shown}".rstrip(), " " * 5 + " | " + pad + "^" * width]


class CompileError(Exception):
    """Every error found in a program; `str` is their rendered text, one after the other in order of place."""

    def __init__(self, diagnostics: list[Diagnostic], sources: Sources):
        order = {path: i for i, path in enumerate(sources)}
        unique = dict.fromkeys(d.in_file(sources) for d in diagnostics)
        self.diagnostics = sorted(unique, key=lambda d: (order.get(d.span.path, -1), d.span.start, d.code))
        self.sources = sources
        super().__init__("\n\n".join(render(d, sources) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[CompileError], tuple[list[Diagnostic], Sources]]:
        """As it goes from one process to another."""
        return type(self), (self.diagnostics, self.sources)


class CompileWarning(UserWarning):
    """What a program may say, and may not mean; `hybridc.load` gives it to Python's `warnings`."""
