"""Trains `treelstm.hyb` on ListOps trees of depth 1 to 3 and asks it about deeper ones."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import hybridc


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=15_000, help="of 16 trees each")
    parser.add_argument("--save", help="where to write the weights, a .safetensors file")
    options = parser.parse_args()
    console = Console()
    mod = hybridc.load(str(Path(__file__).parent / "treelstm.hyb"))
    table = Table("what goes up", "seconds", *(f"depth {d}" for d in range(1, 6)),
                  title="right of 2 000 trees; trained on depth 1 to 3")
    for mixed in (False, True):
        m = mod.TreeLSTM(mixed=mixed)
        start = time.perf_counter()
        mod.train(m, 3, options.steps, 0.003, hybridc.rng(0))
        seconds = time.perf_counter() - start
        shares = [mod.accuracy(m, depth, 2000, 9) for depth in range(1, 6)]
        table.add_row("digits" if mixed else "state", f"{seconds:.0f}", *(f"{s:.1%}" for s in shares))
    console.print(table)
    text = "[SM 7 [MAX 2 [MED 3 9 [MIN 8 4]] 1] 6]"
    t = mod.parse(text)
    console.print(f"{text} is {mod.value(t)}; the network says {int(np.argmax(m(t)))}", markup=False)
    if options.save:
        m.save(options.save)
    return 0 if shares[3] >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
