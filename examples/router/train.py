"""Trains `router.hyb` on digits whose pixels are shuffled in 32 ways, beside dense networks as dear and as large."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import hybridc

WAYS, SHOWN = 32, 1300
NETWORKS = {"8 experts of 16, 2 for each": (16, 8, 2), "dense, as dear": (32, 1, 1), "dense, as large": (128, 1, 1)}
"""Hidden units of an expert, experts, experts that compute one image."""


def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order] / 16).astype(np.float32), labels[order]


def trained(mod: ModuleType, config: tuple[int, int, int], ways: int, steps: int) -> tuple[object, float, float]:
    """A network with room for all assignments, the loss in training, and the share of assignments dropped there."""
    images, labels = digits()
    m = mod.Reader(*config, room=1.25)
    loss, dropped = mod.train(m, list(images[:SHOWN]), labels[:SHOWN].tolist(), ways, steps, 0.003, 0.02,
                              hybridc.rng(0))
    roomy = mod.Reader(*config, room=float(config[1]))
    roomy.load_state_dict(m.state_dict())
    return roomy, loss, dropped


def asked(mod: ModuleType, m: object, ways: int) -> tuple[float, np.ndarray]:
    """The share of held-out images that are read right, and of each way's assignments the share of each expert."""
    images, labels = digits()
    right, used = [], []
    for way in range(ways):
        shown = np.array([mod.shuffled(image, way) for image in images[SHOWN:]])
        right.append(np.mean(np.argmax(m(shown), 1) == labels[SHOWN:]))
        used.append(m.used(shown))
    shares = np.array(used, float)
    return float(np.mean(right)), shares / shares.sum(axis=1, keepdims=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000, help="of 128 images each")
    options = parser.parse_args()
    mod = hybridc.load(str(Path(__file__).parent / "router.hyb"))
    table = Table("network", "seconds", "dropped", "read right", "of a way in its two best experts",
                  title="held-out images in all ways")
    found = []
    for name, config in NETWORKS.items():
        start = time.perf_counter()
        m, _, dropped = trained(mod, config, WAYS, options.steps)
        seconds = time.perf_counter() - start
        right, shares = asked(mod, m, WAYS)
        found.append(right)
        best = float(np.mean(np.sort(shares, axis=1)[:, -2:].sum(axis=1)))
        table.add_row(name, f"{seconds:.1f}", f"{dropped:.1%}", f"{right:.1%}", f"{best:.0%}" if config[1] > 1 else "")
    Console().print(table)
    return 0 if found[0] > found[1] + 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
