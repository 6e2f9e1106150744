"""`value_and_grad` beside the primal, and beside torch eager: medians of interleaved runs of one thread, by the time
that the processor gave it (other work shares the machine). What is short is called several times in a row, as it is in
training, so that it does not find its code and weights where another contender left them.

    python bench/gradients/ratios.py
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

import hybridc

RUNS = 61
BLOCK = 0.004
"""Seconds that a run takes, if a call takes less."""


def seconds(f: Callable[[], object], clock: Callable[[], float], calls: int = 1) -> float:
    """A call's, of so many in a row."""
    start = clock()
    for _ in range(calls):
        f()
    return (clock() - start) / calls


def compare(
    name: str, one: Callable[[], object], other: Callable[[], object], clock: Callable[[], float] = time.thread_time
) -> None:
    """The median of other / one, pair by pair."""
    one(), other()
    calls = [1 + int(BLOCK / max(seconds(f, clock, 3), 1e-6)) for f in (one, other)]
    pairs = [(seconds(one, clock, calls[0]), seconds(other, clock, calls[1])) for _ in range(RUNS)]
    times = [statistics.median(column) * 1e3 for column in zip(*pairs, strict=True)]
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"| {name} | {times[0]:.3f} | {times[1]:.3f} | {ratio:.2f} |")


def gradbench() -> None:
    """The scalar and container code among GradBench's problems."""
    m = hybridc.load(str(Path(__file__).with_name("gradbench.hyb")))
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape)

    n, k, d = 1000, 5, 10
    mixture = [normal(k), normal(k, d), normal(k, d), normal(k, d * (d - 1) // 2), normal(n, d), 1.0, 0]
    mixture.append([math.lgamma(0.5 * (d + 1 - j)) for j in range(d)])
    cameras, points, seen = 49, 776, 3000
    pairs = np.stack([random.integers(0, cameras, seen), random.integers(0, points, seen)], 1)
    bundle = [normal(cameras, 11), normal(points, 3) + [0, 0, 5], normal(seen), normal(seen, 2), pairs]
    layers = [normal(4, 56), normal(3, 14), normal(4, 14), normal(100, 14)]
    x = [float(v) for v in normal(50)]
    rows = {
        "gmm (1 000 points, 5 Gaussians, 10 dimensions)": (m.gmm, m.gmm_gradient, mixture),
        "ba (49 cameras, 776 points, 3 000 observations)": (m.ba, m.ba_gradient, bundle),
        "lstm (2 layers of 14, 100 steps)": (m.lstm, m.lstm_gradient, layers),
        "det (7 x 7, by expansion)": (m.det, m.det_gradient, [[list(map(float, row)) for row in normal(7, 7)]]),
        "ode (50 unknowns, 100 steps)": (m.ode, m.ode_gradient, [x, 100]),
        "llsq (16 coefficients, 1 000 points)": (m.llsq, m.llsq_gradient, [x[:16], 1000]),
    }
    for name, (primal, gradient, args) in rows.items():
        compare(f"GradBench's {name}, with gradient", partial(primal, *args), partial(gradient, *args))


def main() -> None:
    torch.set_num_threads(1)
    m = hybridc.load(str(Path(__file__).with_name("ratios.hyb")))
    random = np.random.default_rng(0)
    x, mass = m.native(list(random.normal(size=400)), "list[f64]"), m.native([1.0] * 400, "list[f64]")
    many = m.native(list(random.normal(size=100_000)), "list[f64]")
    net, rnn = m.MLP(a=784, h=512, o=10), m.RNN(d=128)
    images, labels = random.normal(size=(128, 784)).astype(np.float32), random.integers(0, 10, 128)
    steps = random.normal(size=(50, 128)).astype(np.float32)
    print("| | ms | ms | ratio |\n| --- | --- | --- | --- |")
    compare("n-body energy, with gradient", lambda: m.energy(x, mass), lambda: m.d_energy.native(x, mass))
    compare("while solver, with gradient", lambda: m.solver(2.0, 100_000), lambda: m.d_solver(2.0, 100_000))
    compare("map, with gradient", lambda: m.mapped(many), lambda: m.d_mapped.native(many))
    compare("MLP, with gradient", lambda: net.loss(images, labels), lambda: net.value_and_grad("loss", images, labels))
    compare("RNN, with gradient", lambda: rnn.loss(steps), lambda: rnn.value_and_grad("loss", steps))

    gradbench()
    nn = torch.nn
    peer = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    tensor, target = torch.tensor(images), torch.tensor(labels)

    def torch_mlp() -> None:
        peer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(peer(tensor), target).backward()

    w, u = (torch.tensor(rnn.state_dict()[k], requires_grad=True) for k in "wu")
    b, sequence = torch.zeros(128, requires_grad=True), torch.tensor(steps)

    def torch_rnn() -> None:
        w.grad = u.grad = b.grad = None
        h = torch.zeros(128)
        for row in sequence:
            h = torch.tanh(w @ h + u @ row + b)
        h.sum().backward()

    compare("MLP: torch eager, Hyb", torch_mlp, lambda: net.value_and_grad("loss", images, labels))
    compare("RNN: torch eager, Hyb", torch_rnn, lambda: rnn.value_and_grad("loss", steps))


if __name__ == "__main__":
    main()
