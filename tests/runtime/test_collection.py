"""Values, models and their module that one collection of garbage finds together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
