"""Derivatives of layers and tensor operators beside the primal and torch eager, f32, one thread, by the time that the
processor gave: medians of interleaved runs. What both give is compared first.

    python bench/gradients/layers.py [WORD]     only rows with this word
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ratios import BLOCK, seconds
from torch import nn
from torch.nn import functional as F

import hybridc

RUNS = 15
R = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.out = nn.Linear(64 * 8 * 8, 10)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        a = F.max_pool2d(F.relu(self.first(x)), 2)
        return F.cross_entropy(self.out(F.max_pool2d(F.relu(self.second(a)), 2).flatten(1)), y)


class Block(nn.Module):
    def __init__(self, d: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(d, heads, hidden, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x).mean()


class Recurrent(nn.Module):
    """A whole layer of torch's, whose loop is in C++."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.cell = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0][-1].sum()


def operators(m: Any) -> dict[str, tuple[str, tuple[np.ndarray, ...], Callable[..., torch.Tensor]]]:
    """By name: the function of `m`, what it is given, and torch's."""
    x, y, classes = normal(1024, 1024), normal(1024, 1024), R.integers(0, 1024, 1024)
    heads = tuple(normal(8, 256, 64) for _ in range(3))

    def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0] * v).sum()

    return {
        "layer norm 1024²": ("norm", (x, normal(1024), normal(1024)),
                             lambda x, w, b: torch.sin(F.layer_norm(x, (1024,), w, b)).sum()),
        "softmax 1024²": ("soft", (x, y), lambda x, y: (x.softmax(1) * y).sum()),
        "cross entropy 1024²": ("entropy", (x, classes), F.cross_entropy),
        "attention, 8 heads, T = 256, causal": ("attended", heads, attended),
        "cumulative sums 1024²": ("summed", (x,), lambda x: torch.sin(x.cumsum(1)).sum()),
        "GELU 1024²": ("activated", (x,), lambda x: F.gelu(x).sum()),
        "gather, 64 of each line": ("picked", (x, R.integers(0, 1024, (1024, 64))),
                                    lambda x, i: (x.gather(1, i) ** 2).sum()),
        "4 096 rows of 1 024": ("looked_up", (x, R.integers(0, 1024, 4096)), lambda x, i: (x[i] ** 2).sum()),
        "mean pool 16×32×32×32": ("pooled", (normal(16, 32, 32, 32),),
                                  lambda x: torch.sin(F.avg_pool2d(x, 2)).sum()),
        "conv1d 16×32×256, 64 of 5": ("along", (normal(16, 32, 256), normal(64, 32, 5)),
                                      lambda x, w: torch.sin(F.conv1d(x, w, padding=2)).sum()),
        "sort 1024²": ("ordered", (x,), lambda x: (x.sort(1)[0] ** 3).sum()),
        "transposed 1024²": ("turned", (x,), lambda x: (torch.sin(x.T) * x.T).sum()),
        "products, 16 of 64×128×64": ("products", (normal(16, 64, 128), normal(16, 128, 64)),
                                      lambda x, y: torch.sin(x @ y).sum()),
    }


def models(m: Any) -> dict[str, tuple[Any, nn.Module, tuple[np.ndarray, ...]]]:
    found = {}
    for batch in (1, 16):
        images = normal(batch, 3, 32, 32), R.integers(0, 10, batch)
        found[f"conv net 3×32×32, batch {batch}"] = m.ConvNet(), ConvNet(), images
    for batch in (1, 4):
        found[f"transformer block, dim 256, T = 128, batch {batch}"] = (
            m.Block(256, 8, 1024), Block(256, 8, 1024), (normal(batch, 128, 256),))
    for name, layer in (("LSTM", nn.LSTM), ("GRU", nn.GRU)):
        for batch in (1, 4, 16, 64):
            found[f"{name} 128, 50 steps, batch {batch}"] = (
                getattr(m, name)(128), Recurrent(layer(128, 128)), (normal(50, batch, 128),))
    return found


def row(name: str, primal: Callable[[], object], mine: Callable[[], object], peer: Callable[[], object]) -> None:
    fs = (primal, mine, peer)
    calls = [1 + int(BLOCK / max(seconds(f, time.thread_time, 2), 1e-6)) for f in fs]
    runs = [[seconds(f, time.thread_time, n) for f, n in zip(fs, calls, strict=True)] for _ in range(RUNS)]
    ms = [statistics.median(column) * 1e3 for column in zip(*runs, strict=True)]
    over, beside = (statistics.median(r[1] / r[i] for r in runs) for i in (0, 2))
    print(f"| {name} | {ms[0]:.2f} | {ms[1]:.2f} | {over:.1f} | {ms[2]:.2f} | {beside:.2f} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    m = hybridc.load(Path(__file__).with_name("layers.hyb"))
    word = "".join(sys.argv[1:])
    print("| | primal, ms | gradient, ms | ratio | torch's gradient, ms | × torch |\n" + "| --- " * 6 + "|")
    for name, (net, peer, given) in models(m).items():
        if word in name:
            tensors, weights = [torch.tensor(g) for g in given], list(peer.parameters())
            ours = {key.removeprefix("cell."): value for key, value in net.state_dict().items()}
            with torch.no_grad():
                for key, w in peer.named_parameters():
                    w.copy_(torch.tensor(ours[key.removeprefix("cell.").removesuffix("_l0")].reshape(w.shape)))
            value, slope = net.value_and_grad("loss", *given)
            loss = peer(*tensors)
            np.testing.assert_allclose(value, loss.item(), rtol=1e-3, atol=1e-3)
            total = sum(float((g**2).sum()) for g in torch.autograd.grad(loss, weights)) ** 0.5
            np.testing.assert_allclose(np.linalg.norm(np.asarray(slope)), total, rtol=1e-2)
            row(name, partial(net.loss, *given), partial(net.value_and_grad, "loss", *given),
                lambda peer=peer, tensors=tensors, weights=weights: torch.autograd.grad(peer(*tensors), weights))
    for name, (fn, given, wanted) in operators(m).items():
        if word in name:
            tensors = [torch.tensor(g, requires_grad=g.dtype == np.float32) for g in given]
            leaves = [x for x in tensors if x.requires_grad]
            slopes = getattr(m, f"{fn}_slopes")(*given)
            for a, b in zip(slopes if isinstance(slopes, tuple) else (slopes,),
                            torch.autograd.grad(wanted(*tensors), leaves), strict=True):
                np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-2, atol=1e-2 * float(b.abs().max()))
            row(name, partial(getattr(m, fn), *given), partial(getattr(m, f"{fn}_slopes"), *given),
                lambda wanted=wanted, tensors=tensors, leaves=leaves: torch.autograd.grad(wanted(*tensors), leaves))


if __name__ == "__main__":
    main()
