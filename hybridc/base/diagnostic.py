"""Errors are data: made where the mistake is seen, rendered in one place."""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.base.source import Sources, Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error: a stable code (`HYB301`), one sentence, where; `help` says what to write instead."""

    code: str
    message: str
    span: Span
    help: str | None = None
    notes: tuple[tuple[str, Span], ...] = ()


def render(diagnostic: Diagnostic, sources: Sources) -> str:
    """`FILE:LINE:COLUMN: error[CODE]: message`, the source line, the span marked below, notes and help."""
    lines = [_headline(diagnostic.span, f"error[{diagnostic.code}]: {diagnostic.message}", sources)]
    lines += _excerpt(diagnostic.span, sources)
    for message, span in diagnostic.notes:
        lines.append(_headline(span, f"note: {message}", sources))
        lines += _excerpt(span, sources)
    if diagnostic.help:
        lines.append(f"  help: {diagnostic.help}")
    return "\n".join(lines)


def _headline(span: Span, text: str, sources: Sources) -> str:
    source = sources.get(span.path)
    if source is None:
        return f"{span.path}:1:1: {text}" if span.path else text
    line, column = source.line_column(span.start)
    return f"{span.path}:{line}:{column}: {text}"


def _excerpt(span: Span, sources: Sources) -> list[str]:
    source = sources.get(span.path)
    if source is None:
        return []
    line, column = source.line_column(span.start)
    text = source.line_text(line)
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    gutter = f"{line:>5} | "
    pad = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
    return [gutter + text, " " * 5 + " | " + pad + "^" * width]


class CompileError(Exception):
    """Every error found in a program; `str` is their rendered text, one after the other in order of place."""

    def __init__(self, diagnostics: list[Diagnostic], sources: Sources):
        order = {path: i for i, path in enumerate(sources)}
        unique = dict.fromkeys(diagnostics)
        self.diagnostics = sorted(unique, key=lambda d: (order.get(d.span.path, -1), d.span.start, d.code))
        self.sources = sources
        super().__init__("\n\n".join(render(d, sources) for d in self.diagnostics))
