"""Trains the cascade from random weights in Hyb alone, and reads held-out digits with it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import hybridc

PROTOTYPES = 300


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and digits to learn from, and held-out ones."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    x, held, y, answers = train_test_split(images, labels.astype(np.int64), test_size=0.3, random_state=seed)
    return x, y, held, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, y, held, answers = data()
    mod = hybridc.load(str(Path(__file__).with_name("digits.hyb")))
    cascade = mod.Cascade(width=options.width, seed=options.seed)
    start = time.perf_counter()
    losses = mod.train(cascade, x, y, options.epochs, options.seed)
    for image, digit in zip(x[:PROTOTYPES], y[:PROTOTYPES], strict=True):
        cascade.remember(image, int(digit))
    print(f"{options.epochs} epochs in {time.perf_counter() - start:.2f} s, loss {losses[0]:.3f} to {losses[-1]:.4f}")
    print(f"{mod.accuracy(cascade, held, answers):.1%} of {len(held)} held-out digits")


if __name__ == "__main__":
    main()
