"""Trains the cascade in PyTorch, builds `digits.hyb`, and classifies held-out digits with both, one at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch_twin import train

import hybridc

HERE = Path(__file__).parent
PROTOTYPES = 300


def timed(classify, images) -> tuple[list, float]:
    """The answers, and the median seconds an image takes."""
    answers, seconds = [], []
    for image in images:
        start = time.perf_counter()
        answers.append(classify(image))
        seconds.append(time.perf_counter() - start)
    return answers, median(seconds)


def main() -> int:
    console = Console()
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(images, labels, test_size=0.3, random_state=0)
    torch.set_num_threads(1)

    console.print("training the networks in PyTorch ...")
    twin = train(torch.from_numpy(x), torch.from_numpy(y))

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "digits.safetensors"
        save_file({k: v.contiguous() for k, v in twin.state_dict().items()}, weights)
        console.print("hybridc build digits.hyb ...")
        subprocess.run([sys.executable, "-m", "hybridc", "build", HERE / "digits.hyb", "-o", folder], check=True)
        cascade = hybridc.load(str(Path(folder) / "digits.hybx")).Cascade()
        cascade.load(str(weights))

    with torch.no_grad():
        for image, digit in zip(x[:PROTOTYPES], y[:PROTOTYPES], strict=True):
            cascade.remember(image, int(digit))
            twin.remember(torch.from_numpy(image), int(digit))
        ours, our_time = timed(cascade.classify, x_test)
        theirs, their_time = timed(twin.classify, [torch.from_numpy(i) for i in x_test])

    same = sum((a.digit, a.layers, a.from_memory) == b for a, b in zip(ours, theirs, strict=True))
    table = Table("", "Hyb", "PyTorch eager", title=f"{len(x_test)} held-out digits, one at a time")
    table.add_row("correct", *(f"{np.mean([d == t for d, t in zip(digits, y_test, strict=True)]):.1%}"
                               for digits in ([a.digit for a in ours], [b[0] for b in theirs])))
    layers = [np.mean([a.layers for a in ours]), np.mean([b[1] for b in theirs])]
    table.add_row("networks used, mean", *(f"{mean:.2f}" for mean in layers))
    table.add_row("asked the memory", str(sum(a.from_memory for a in ours)), str(sum(b[2] for b in theirs)))
    table.add_row("time per image, median", f"{our_time * 1e6:.1f} µs", f"{their_time * 1e6:.1f} µs")
    console.print(table)
    console.print(f"the same answers: {same} of {len(x_test)}; {their_time / our_time:.1f} times as fast")
    return 0 if same >= 0.995 * len(x_test) else 1


if __name__ == "__main__":
    sys.exit(main())
