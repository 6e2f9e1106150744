"""What `export` names: functions and models are tested elsewhere; here types."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc.build import write_artifact

POINTS = '''struct Point:
    x: int

    fn moved() -> Point:
        return Point(self.x + 1)

enum Side:
    Left
    Right(by: int)

fn hidden() -> int:
    return 1

export Point
export Side as Way
'''


def test_types_alone(tmp_path: Path) -> None:
    source = tmp_path / "points.hyb"
    source.write_text(POINTS)
    built = write_artifact(str(source), str(tmp_path / "out"), target="cpu:host")
    for mod in (hybridc.load(str(source)), hybridc.load(str(built))):
        assert mod.Point(3).x == 3 and mod.Way.Right(2) == mod.Way.Right(by=2)


def test_generic_types_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "pairs.hyb"
    source.write_text("struct Pair[T]:\n    a: T\n    b: T\n\nexport Pair\n")
    with pytest.raises(hybridc.CompileError, match=r"HYB603.*`Pair` is generic"):
        hybridc.load(str(source))
