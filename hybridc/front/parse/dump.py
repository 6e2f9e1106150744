"""Tokens and syntax trees as text, for `--emit tokens` and `--emit ast`."""

from __future__ import annotations

from dataclasses import fields

from hybridc.base.source import Source, Span
from hybridc.front.parse.parser import tokens
from hybridc.front.parse.syntax import File, Node


def dump_tokens(source: Source) -> str:
    """One token a line: where it stands, its kind, its text; layout and comments too."""
    lexed = tokens(source)
    lines = []
    for token in sorted(lexed.tokens + lexed.comments, key=lambda t: t.start_pos):
        line, column = source.line_column(token.start_pos)
        shown = "" if token.type in ("NEWLINE", "INDENT", "DEDENT") else f" {token.value!r}"
        lines.append(f"{line}:{column} {token.type}{shown}")
    return "".join(line + "\n" for line in lines)


def dump_ast(file: File) -> str:
    """One node a line, its parts indented below it, each after the name of its field; simple values stand in line."""
    lines: list[str] = []
    # A stack of our own, for an expression may be deeper than Python would recurse.
    waiting: list[tuple[int, str, object]] = [(0, "", file)]
    while waiting:
        indent, label, value = waiting.pop()
        lead = "  " * indent + (f"{label}: " if label else "")
        if isinstance(value, Node):
            simple, parts = [], []
            for field in fields(value):
                part = getattr(value, field.name)
                if isinstance(part, Span):
                    continue
                if _is_simple(part):
                    simple.append(f"{field.name}={_show(part)}")
                else:
                    parts.append((indent + 1, field.name, part))
            lines.append(" ".join([lead + type(value).__name__, *simple]))
            waiting += reversed(parts)
        elif isinstance(value, tuple):
            lines.append(f"{lead}[]")
            waiting += reversed([(indent + 1, "", part) for part in value if not isinstance(part, Span)])
        else:
            lines.append(f"{lead}{value!r}")
    return "".join(line + "\n" for line in lines)


def _is_simple(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(item, (str, int, bool)) for item in value)
    return not isinstance(value, Node)


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(repr, value)) + ")"
    return repr(value)
