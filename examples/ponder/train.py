"""Trains `ponder.hyb` on parity, and shows how long it thinks about rows of which more or less is filled."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import hybridc

HERE = Path(__file__).parent
ROUNDS = [(8000, 0.005, 0.01), (6000, 0.003, 0.005)]  # steps of 32 rows, learning rate, weight of the divergence


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", action="store_true", help="show the trained weights that are there already")
    parser.add_argument("--save", help="where to write the weights, a .safetensors file")
    options = parser.parse_args()
    mod = hybridc.load(str(HERE / "ponder.hyb"))
    m = mod.Ponder()
    start = time.perf_counter()
    if options.load:
        m.load(str(HERE / "ponder.safetensors"))
    else:
        g = hybridc.rng(0)
        for steps, lr, weight in ROUNDS:
            loss, turns = mod.train(m, steps, lr, 0.12, weight, g)
            print(f"{time.perf_counter() - start:.0f} s: loss {loss:.3f}, {turns:.1f} turns")
    if options.save:
        m.save(options.save)
    table = Table("filled places of 12", "right", "turns", title="1 000 rows each")
    reports = [mod.report(m, filled, 1000, 9) for filled in range(1, 13)]
    for r in reports:
        table.add_row(str(r.filled), f"{r.right:.1%}", f"{r.turns:.1f}")
    Console().print(table)
    return 0 if min(r.right for r in reports) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
