"""`value_and_grad` beside the primal, of twenty typical losses over numbers and containers (programs.hyb): medians of
interleaved runs of one thread, by the time that the processor gave it. A ratio above 4 is a cliff to be understood.

    python bench/gradients/programs.py [NAME ...]
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ratios import compare

import hybridc

ROW, ROWS = "list[f64]", "list[list[f64]]"


def cases(m: Any) -> dict[str, list[Any]]:
    """The arguments of each loss; what is a pair is a value and its type in Hyb."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return random.normal(size=shape).tolist()

    n = 10
    beside = [(i * n + j, i * n + j + 1) for i in range(n) for j in range(n - 1)]
    springs = [m.Spring(a, b, 1.0) for a, b in (*beside, *((i, i + n) for i in range(n * (n - 1))))]
    grid = [float(c + e) for i in range(n) for j in range(n) for c, e in zip((i, j), random.uniform(0, 0.1, 2))]
    bodies = [m.Body(*normal(6), 1.0) for _ in range(8)]
    spheres = [(x, 0.1, 5.0 + i, 0.5) for i, x in enumerate(normal(6))]
    words = random.integers(0, 500, (1000, 30)).tolist()
    motion = np.eye(4) + 0.03 * random.normal(size=(4, 4))
    return {
        "kalman": [([0.1, 0.1, 0.3], ROW), (normal(10_000), ROW)],
        "springs": [([1.0] * len(springs), ROW), (grid, ROW), (springs, "list[Spring]"), 200],
        "asian": [([1.0, 0.02, 0.2, 1.0], ROW), (normal(40_000), ROW), 20],
        "logistic": [(normal(20), ROW), (normal(4_000, 20), ROWS), (random.integers(0, 2, 4000).tolist(), "list[int]")],
        "soft_viterbi": [(normal(10, 10), ROWS), (normal(200, 10), ROWS)],
        "logdet": [((8 * np.eye(60) + random.normal(size=(60, 60))).tolist(), ROWS)],
        "spline": [(normal(100), ROW), (random.uniform(0, 98, 20_000).tolist(), ROW)],
        "orbits": [(bodies, "list[Body]"), 500],
        "soft_path": [(random.uniform(size=2_500).tolist(), ROW), 50],
        "gillespie": [([1.0, 0.05], ROW), (random.uniform(0.01, 0.99, 20_000).tolist(), ROW)],
        "march": [(spheres, "list[(f64, f64, f64, f64)]"), 600],
        "attend": [(normal(60, 8), ROWS), (normal(60, 8), ROWS), (normal(60, 8), ROWS)],
        "sparse": [(dict(enumerate(normal(500))), "map[int, f64]"), (words, "list[list[int]]"), (normal(1000), ROW)],
        "value": [m.grown.native(12, 0.3)],
        "tracked": [motion, 0.1, random.normal(size=(500, 2))],
        "net": [(normal(3, 10, 10), "list[list[list[f64]]]"), (normal(200, 10), ROWS)],
        "roots": [([1.0, 2.0], ROW), (random.uniform(1, 9, 4_000).tolist(), ROW)],
        "heat": [(normal(100), ROW), 500],
        "soft_dtw": [(normal(60), ROW), (normal(60), ROW)],
        "returns": [(normal(50_000), ROW), 0.99],
    }


def main(names: list[str]) -> None:
    m = hybridc.load(str(Path(__file__).with_name("programs.hyb")))
    print("| | ms | ms | ratio |\n| --- | --- | --- | --- |")
    for name, given in cases(m).items():
        if not names or name in names:
            args = [m.native(*a) if isinstance(a, tuple) else a for a in given]
            gradient = getattr(m, f"{name}_g").native
            compare(f"{name}, with gradient", partial(getattr(m, name), *args), partial(gradient, *args))


if __name__ == "__main__":
    main(sys.argv[1:])
