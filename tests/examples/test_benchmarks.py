"""The programs of bench/ go through the compiler; what they give is looked at when they are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc import driver
from hybridc.checking import check

ROOT = Path(__file__).parent.parent.parent
BESIDE = {"games": ROOT / "examples" / "alphazero", "ways": ROOT / "examples" / "routes"}
"""Where programs find what they import."""


@pytest.mark.filterwarnings("ignore::hybridc.CompileWarning")
@pytest.mark.parametrize("path", sorted((ROOT / "bench").rglob("*.hyb")), ids=lambda p: p.stem)
def test_it_compiles(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridc.llvm.compile.LARGE", 0)  # LLVM has nothing to do
    checked = check(str(path), str(BESIDE.get(path.stem, "")) or None)
    assert driver.artifact(checked, all_names=True, portable=False, later=True)
