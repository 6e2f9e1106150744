"""Targets as the command line names them: `cpu`, `cpu:NAME`, several with commas between."""

from __future__ import annotations

from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.source import NOWHERE


def parse_targets(text: str) -> list[tuple[str, str]]:
    """(kind, name) of each; the name is "" where none is said. CompileError for what is no target."""
    found = []
    for part in filter(None, (t.strip() for t in text.split(","))):
        kind, _, name = part.partition(":")
        if kind != "cpu":
            raise unknown(f"there is no target {part!r}; targets are cpu and cpu:NAME")
        found.append((kind, name))
    if not found:
        raise unknown("no target is given; targets are cpu and cpu:NAME")
    return list(dict.fromkeys(found))


def unknown(message: str) -> CompileError:
    """The error of a target that does not exist."""
    return CompileError([Diagnostic("HYB702", message, NOWHERE)], {})
