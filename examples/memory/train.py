"""Trains `memory.hyb` on seven digits, teaches it the other three by showing some of each, and fills its memory."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import hybridc

HERE = Path(__file__).parent
NEW = (2, 4, 7)  # never trained on
SHOWN, WIDTH = 1300, 32


def load(memory: Path) -> ModuleType:
    """The program with its memory in that file."""
    return hybridc.load(str(HERE / "memory.hyb"), externs={"place": lambda: str(memory)})


def digits() -> tuple[list[np.ndarray], list[int]]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return [(images[i] / 16).astype(np.float32) for i in order], [int(labels[i]) for i in order]


def trained(mod: ModuleType, steps: int = 100) -> dict[str, np.ndarray]:
    """The weights, learned from the digits that are not new."""
    images, labels = digits()
    seen = [i for i in range(SHOWN) if labels[i] not in NEW]
    m = mod.Recogniser(WIDTH)
    mod.train(m, [images[i] for i in seen], [labels[i] for i in seen], steps, 0.003, hybridc.rng(0))
    return m.state_dict()


def show(m: object, shots: int) -> None:
    """Remembers some images of every digit, and commits them."""
    images, labels = digits()
    for digit in range(10):
        for i in [i for i in range(SHOWN) if labels[i] == digit][:shots]:
            m.remember(images[i], digit)
    m.save_memory()


def right(m: object) -> tuple[float, float]:
    """The shares of held-out images that are recognised: of all digits, of the new ones."""
    images, labels = digits()
    hits = {i: m.recognise(images[i]) == labels[i] for i in range(SHOWN, len(images))}
    return float(np.mean(list(hits.values()))), float(np.mean([hit for i, hit in hits.items() if labels[i] in NEW]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000, help="random ones, to see how it grows")
    options = parser.parse_args()
    table = Table("shown of each digit", "all digits", "the new ones", "all, untrained", "new, untrained",
                  title="held-out images recognised")
    with tempfile.TemporaryDirectory() as folder:
        weights = trained(load(Path(folder) / "first"))
        for shots in (1, 5, 10, 20):
            m = load(Path(folder) / f"untrained{shots}").Recogniser(WIDTH)
            show(m, shots)
            before = right(m)
            place = Path(folder) / f"shown{shots}"
            mod = load(place)
            m = mod.Recogniser(WIDTH)
            m.load_state_dict(weights)
            show(m, shots)
            every, new = right(m)
            table.add_row(str(shots), *(f"{share:.1%}" for share in (every, new, *before)))
        Console().print(table)
        start = time.perf_counter()
        mod.fill(m, 0, options.entries, 10_000)
        m.save_memory()
        seconds = time.perf_counter() - start
        print(f"{options.entries} more entries: {1e6 * seconds / options.entries:.0f} µs each, "
              f"{place.stat().st_size / 1e6:.0f} MB")
        keys = [mod.random_key(i, 64 + WIDTH) for i in range(0, options.entries, max(1, options.entries // 200))]
        start = time.perf_counter()
        found = [m.nearest(key, 1)[0] for key in keys]
        seconds = time.perf_counter() - start
        share = np.mean([n.likeness > 0.999 for n in found])
        print(f"looking one up: {1e6 * seconds / len(keys):.0f} µs; {share:.1%} of {len(keys)} were found")
    return 0 if every > 0.9 and new > 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
