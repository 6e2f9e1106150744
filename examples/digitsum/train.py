"""Trains `digitsum.hyb` on questions about scikit-learn's handwritten digits, and asks it about held-out images."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import hybridc

LOOPS = [1, 0, 0, 0, 0, 0, 1, 0, 2, 1]  # closed loops in the shape of each digit
TRAINED_ON = 1300  # the images before this one in the shuffled order; the others are held out
KINDS = ("Sum", "Largest", "Count", "Sorted")
Lists = list[tuple[list[np.ndarray], list[int]]]


def digit_lists(rng: np.random.Generator, count: int, held_out: bool, lengths: tuple[int, int] = (2, 5)) -> Lists:
    """Lists of images, each of 64 floats in [0, 1], with the digits that they show."""
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    order = order[TRAINED_ON:] if held_out else order[:TRAINED_ON]
    out = []
    for _ in range(count):
        picked = rng.choice(order, rng.integers(lengths[0], lengths[1] + 1))
        out.append(([(images[i] / 16).astype(np.float32) for i in picked], [int(digits[i]) for i in picked]))
    return out


def question(mod: ModuleType, kind: str, images: list[np.ndarray], digits: list[int]) -> object:
    """What is asked about a list, and the answer; all that training is told."""
    task = mod.Task.Count(digits[0]) if kind == "Count" else getattr(mod.Task, kind)
    answer = {"Sum": [sum(digits)], "Largest": [max(digits)], "Count": [digits.count(digits[0])],
              "Sorted": sorted(digits)}[kind]
    return mod.Question(task, images, answer)


def train(mod: ModuleType, kinds: tuple[str, ...], count: int, epochs: int) -> object:
    """A reader trained on `count` questions, of each kind in turn."""
    lists = digit_lists(np.random.default_rng(1), count, held_out=False)
    questions = [question(mod, kinds[i % len(kinds)], *pair) for i, pair in enumerate(lists)]
    reader = mod.Reader(seed=1)
    mod.train(reader, questions, epochs, 0.003, hybridc.rng(0))
    return reader


def right(mod: ModuleType, reader: object, kind: str, lists: Lists) -> float:
    """The share of held-out questions that are answered right, entirely."""
    asked = [question(mod, kind, *pair) for pair in lists]
    return float(np.mean([reader.answer(q.task, q.images) == q.answer for q in asked]))


def loops(lists: Lists) -> list[tuple[list[np.ndarray], int]]:
    return [(images, sum(LOOPS[d] for d in digits)) for images, digits in lists]


def loops_right(model: object, examples: list[tuple[list[np.ndarray], int]]) -> float:
    return float(np.mean([model.answer(images) == answer for images, answer in examples]))


def main() -> int:
    console = Console()
    mod = hybridc.load(str(Path(__file__).parent / "digitsum.hyb"))
    held = digit_lists(np.random.default_rng(2), 1000, held_out=True)
    table = Table("trained on 4 000 answers of", "seconds", *KINDS, "one digit", title="right on 1 000 held-out lists")
    for kinds in (("Sum",), KINDS):
        start = time.perf_counter()
        reader = train(mod, kinds, 4000, 8)
        seconds = time.perf_counter() - start
        shares = [right(mod, reader, kind, held) for kind in KINDS]
        single = np.mean([np.argmax(reader.digit(x)) == d for images, digits in held
                          for x, d in zip(images, digits, strict=True)])
        table.add_row(" ".join(kinds), f"{seconds:.1f}", *(f"{s:.1%}" for s in [*shares, single]))
    console.print(table)

    few, many = loops(digit_lists(np.random.default_rng(3), 60, held_out=False)), loops(held)
    taught = mod.transfer(reader, few, 40, 0.05)
    fresh = mod.Looped(fixed=False)
    mod.learn(fresh, few, 40, 0.003)
    console.print(f"sums of loops, told for 60 lists: {loops_right(taught, many):.1%} right with the trained reader, "
                  f"{loops_right(fresh, many):.1%} from nothing")
    return 0 if min(shares) > 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
