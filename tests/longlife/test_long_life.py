"""The short forms of `python -m tests.longlife`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.longlife import living  # noqa: E402


@pytest.mark.parametrize("what, amount", [("calls", 20_000), ("threads", 2.0), ("forks", 8), ("interrupts", 40), ("modules", 40)])
def test_a_process_lives_on(what: str, amount: float, tmp_path: Path) -> None:
    print(living.apart(what, tmp_path, amount, 300))


@pytest.mark.parametrize("seed", ["ci"])
def test_every_allocation_may_fail(seed: str, tmp_path: Path) -> None:
    """Each fails alone: the call ends with a MemoryError, or does without; nothing is left, and the next call is right."""
    command = [sys.executable, "-m", "tests.longlife", "inject", "--faults", "200", "--seed", seed, "--most", "30"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=Path(__file__).parent.parent.parent)
    assert done.returncode == 0, done.stdout + done.stderr
