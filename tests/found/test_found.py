"""Programs that the generators found: every engine agrees on each now. `run_*` of a file are called as generated
programs are (tests/fuzz/engines.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.fuzz import compare, engines  # noqa: E402

FILES = sorted(HERE.glob("*.hyb"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_engines_agree(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    report = engines.run(copy, ("interpreter", "passes", "O0", "artifact"))
    assert all(report.outcomes["interpreter"].values())
    assert list(compare.disagreements(report)) == []
