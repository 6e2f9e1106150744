"""What tests of GPU kernels share."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc


@pytest.fixture(scope="module")
def both(file: Path):
    """The program of a test module's `file`: compiled for the CPU, and with its kernels interpreted."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_PLACE", "all")
    patch.setenv("HYB_INTERPRET_APART", "1")
    yield hybridc.load(file), hybridc.load(file, device="interpret")
    patch.undo()
