"""Programs of tests, as Core's text."""

from __future__ import annotations

from hybridc.core.ir import Program
from hybridc.core.reader import read


def parsed(text: str) -> Program:
    """The program of a text, which is a good one."""
    program, diagnostics = read(text)
    assert program is not None, diagnostics
    return program
