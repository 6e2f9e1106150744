"""Every Hyb file at hand parses, but for those that are broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc.base.diagnostic import render
from hybridc.base.source import Source
from hybridc.front.parse.parser import parse

ROOT = Path(__file__).parents[2]
FOLDERS = ["hybridc/std", "examples", "tests/front", "shared/conformance/cases", "../shared/conformance/cases"]
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("**/*.hyb"))
BROKEN = {"check_errors__syntax.hyb": (2, "HYB100"), "checked_unused__tab.hyb": (2, "HYB102")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file(path: Path) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    file, diagnostics = parse(source)
    if path.name == "errors_syntax.hyb":
        assert file is None and len(diagnostics) > 5  # beside it stand its messages
    elif path.name in BROKEN:
        line, code = BROKEN[path.name]
        assert [(source.line_column(d.span.start)[0], d.code) for d in diagnostics] == [(line, code)]
    else:
        assert file is not None, "\n".join(render(d, {path.name: source}) for d in diagnostics)
