"""Trains `routes.hyb` on maps of 12 x 12 places, told good ways and no costs, and tries it on others and larger."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

import hybridc

SIZE = 12


def trained(mod: ModuleType, steps: int) -> object:
    """A surveyor after two rounds of steps over 8 maps each."""
    surveyor, g = mod.Surveyor(), hybridc.rng(0)
    for _ in range(2):
        mod.train(surveyor, SIZE, steps // 2, 0.005, 0.3, 4, g)
    return surveyor


def drawn(mod: ModuleType, surveyor: object, size: int, seed: int) -> str:
    """A map with the way found: road, grass, sand and water are `.,:~`."""
    m = mod.random_map(size, hybridc.rng(seed))
    marks = [".,:~"[kind] for kind in m.ground]
    marks[m.source] = "A"
    for step in mod.shortest_way(m, surveyor(m)):
        marks[m.end[step]] = "#"
    marks[m.target] = "B"
    return "\n".join(" ".join(marks[row * size:(row + 1) * size]) for row in range(size))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="of 8 maps each")
    options = parser.parse_args()
    mod = hybridc.load(str(Path(__file__).parent / "routes.hyb"))
    table = Table("maps", "network, untrained", "trained", "fewest steps", title="longer than the best ways")
    start = time.perf_counter()
    surveyor = trained(mod, options.steps)
    print(f"{8 * options.steps} maps in {time.perf_counter() - start:.0f} s")
    for size in (SIZE, 20):
        before, _ = mod.excess(mod.Surveyor(), size, 500, 77)
        after, straight = mod.excess(surveyor, size, 500, 77)
        table.add_row(f"500 of {size} x {size}", *(f"{x:.1%}" for x in (before, after, straight)))
        if size == SIZE:
            reached = after
    Console().print(table)
    print(drawn(mod, surveyor, SIZE, 3))
    return 0 if reached <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
