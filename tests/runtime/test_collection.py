"""Values, models and their module that one collection of garbage finds together."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from hybridc_runtime import native, values
from hybridc_runtime.memory import allocate

import hybridc

SOURCE = """
enum T:
    L(x: f64)
    N(a: T, b: T)

model M(n: int):
    param w: f32[n] = normal(1)
    fn forward(x: f32[n]) -> f32[n]:
        return self.w * x

fn make(n: int) -> T:
    if n == 0:
        return L(1.0)
    return N(make(n - 1), make(n - 1))
"""
SCRIPT = """
import gc, sys
import hybridc

for turn in range(40):
    mod = hybridc.load(sys.argv[1])
    cycle = [mod, mod.M(3), mod.make.native(4)]
    cycle.append(cycle)
    del mod, cycle
    gc.collect()
print("alive")
"""


def test_a_cycle_of_a_module_and_its_values(tmp_path: Path) -> None:
    file = tmp_path / "a.hyb"
    file.write_text(SOURCE)
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(file)], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


def test_a_context_whose_making_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at Python's limit of calls, before its first line or within: nothing is left, and nothing is said."""
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    native.Context.__new__(native.Context).__del__()
    for turn in range(2):
        lent: list[int] = []

        def lend(size: int, *, turn: int = turn, lent: list[int] = lent) -> int:
            if len(lent) == turn:
                raise RecursionError
            lent.append(allocate(size))
            return lent[-1]

        monkeypatch.setattr(native, "allocate", lend)
        with pytest.raises(RecursionError):
            native.Context(Retired())  # type: ignore[arg-type]
        gc.collect()
    assert said == []


class Retired:
    def retire(self, context: int) -> None:
        assert context


def test_a_native_value_that_outlives_the_names_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process ends, modules lose their names before the last values go."""
    path = tmp_path / "m.hyb"
    path.write_text("fn f(xs: list[int]) -> int: return len(xs)\n")
    value = hybridc.load(path).native([1, 2], "list[int]")
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    monkeypatch.setattr(values, "sys", None)
    del value
    assert raised == []
