"""The front half of the road: a file, read with all it imports, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.source import Sources
from hybridc.front.check import tree
from hybridc.front.check.checker import Checker
from hybridc.front.check.kept import KeptModules
from hybridc.link import std_cache

KEPT = KeptModules()


@dataclass
class Checked:
    """A program that has no errors, the texts it was read from, and where an import was looked for in vain."""

    program: tree.Program
    sources: Sources
    path: str
    warnings: list[Diagnostic] = field(default_factory=list)
    absent: tuple[str, ...] = ()


def read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def check(path: str, root: str | None = None) -> Checked:
    """Read, parse and check a file and all it imports; CompileError with every error."""
    checker = Checker(read_text, root, std_cache.standard(), kept=KEPT)
    program = checker.run(path)
    if checker.diagnostics or program is None:
        raise CompileError(checker.diagnostics, checker.sources)
    return Checked(program, checker.sources, path, checker.warnings, tuple(checker.reader.absent))
