"""Every file in check/: `good_*` has no errors, `errors_*` has exactly those marked `# error: CODE` on their lines, and
their rendered text is the snapshot beside it (HYB_BLESS=1 rewrites it)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hybridc.base.codes import CODES
from hybridc.base.diagnostic import CompileError
from hybridc.front.check import tree
from hybridc.front.check.checker import check

FOLDER = Path(__file__).parent / "check"
MARK = re.compile(r"# error: (HYB\d+(?:, HYB\d+)*)\s*$")


def read(path: str) -> str:
    return (FOLDER / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("good_*.hyb")))
def test_good(name: str) -> None:
    program, diagnostics, sources = check(name, read)
    assert not diagnostics, str(CompileError(diagnostics, sources))
    assert isinstance(program, tree.Program)


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("errors_*.hyb")))
def test_errors(name: str) -> None:
    program, diagnostics, sources = check(name, read)
    assert program is None
    text = read(name)
    wanted = sorted((line, code) for line, content in enumerate(text.split("\n"), 1)
                    for found in MARK.findall(content) for code in found.split(", "))
    source = sources[name]
    found = sorted((source.line_column(d.span.start)[0], d.code) for d in diagnostics)
    rendered = str(CompileError(diagnostics, sources)) + "\n"
    snapshot = FOLDER / name.replace(".hyb", ".txt")
    if os.environ.get("HYB_BLESS"):
        snapshot.write_text(rendered, encoding="utf-8")
    assert found == wanted, rendered
    assert rendered == snapshot.read_text(encoding="utf-8")


def test_codes_are_listed() -> None:
    folder = Path(__file__).parents[2] / "hybridc" / "front"
    used = {code for p in folder.glob("*.py") if p.name != "codes.py"
            for code in re.findall(r'"(HYB[2-6]\d\d)"', p.read_text(encoding="utf-8"))}
    assert used <= CODES.keys()


def test_numbers_are_known_beside_what_cannot_be_read() -> None:
    text = "model M(n: int = 2):\n    param w: f32[n] = ones()\n\nfn match(xs: list[int]):\n    pass\n\ntotal = int(3)\n"
    _, diagnostics, _ = check("m.hyb", {"m.hyb": text}.__getitem__)
    assert [d.code for d in diagnostics] == ["HYB113", "HYB119"]


def test_notes_about_the_library_show_its_line_though_it_was_checked_before() -> None:
    name = "errors_exports.hyb"
    for _ in range(2):  # the second time the library is not read again
        _, diagnostics, sources = check(name, read)
        assert "   10 | model Linear(" in str(CompileError(diagnostics, sources))
