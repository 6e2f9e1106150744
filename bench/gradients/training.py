"""Training beside PyTorch, JAX where it is installed, and C++ by hand: medians of interleaved runs of one thread, by
the time the processor gave it; and the memory of tapes, in processes of their own.

    python bench/gradients/training.py
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ratios import compare

import hybridc

HERE = Path(__file__).parent
SOURCE = HERE / "training.hyb"
D, STEPS, BATCH = 128, 50, 32
CPP = r"""
#include <cmath>
#include <cstring>
extern "C" float rnn(const float* w, const float* u, const float* b, const float* x, long T) {
    const int D = 128;
    alignas(64) float h[D] = {}, z[D];
    for (long t = 0; t < T; t++) {
        float top = 0;
        for (int i = 0; i < D; i++) {
            float s = b[i];
            for (int k = 0; k < D; k++) s += w[i * D + k] * h[k] + u[i * D + k] * x[t * D + k];
            z[i] = std::tanh(s);
        }
        for (int i = 0; i < D; i++) { h[i] = z[i]; top = std::fmax(top, std::fabs(z[i])); }
        if (top > 0.99999994f) break;
    }
    float s = 0;
    for (int i = 0; i < D; i++) s += h[i];
    return s;
}
"""


def by_hand() -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp())
    (folder / "rnn.cpp").write_text(CPP)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, "-o", str(folder / "rnn.so"), str(folder / "rnn.cpp")], check=True)
    found = ctypes.CDLL(str(folder / "rnn.so"))
    found.rnn.restype = ctypes.c_float
    return found


def weights(m: Any) -> list[torch.Tensor]:
    return [torch.tensor(m.state_dict()[k], requires_grad=True) for k in "wub"]


def torch_loss(w: torch.Tensor, u: torch.Tensor, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    h = torch.zeros(D)
    for row in x:
        h = torch.tanh(w @ h + u @ row + b)
        if h.abs().max() > 0.99999994:
            break
    return h.sum()


def mlp(mod: Any) -> None:
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(128, 784)).astype(np.float32), random.integers(0, 10, 128)
    net, opt = mod.MLP(784, 512, 10), mod.Adam(lr=1e-3)
    nn = torch.nn
    peer = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    adam = torch.optim.Adam(peer.parameters(), lr=1e-3, fused=True)
    x, y = torch.tensor(images), torch.tensor(labels)

    def eager() -> None:
        adam.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(peer(x), y).backward()
        adam.step()

    compare("MLP 784-512-512-10, batch 128, Adam: torch eager (fused Adam), Hyb", eager,
            lambda: mod.step(net, opt, images, labels))


def rnn(mod: Any) -> None:
    net = mod.RNN(D)
    x = np.random.default_rng(0).normal(size=(STEPS, D)).astype(np.float32)
    ws, given = weights(net), torch.tensor(x)
    library = by_hand()
    arrays = [np.ascontiguousarray(net.state_dict()[k]) for k in "wub"]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, x)]
    np.testing.assert_allclose(net.loss(x), library.rnn(*pointers, STEPS), rtol=1e-3, atol=1e-3)

    def forward() -> None:
        with torch.no_grad():
            torch_loss(*ws, given)

    def gradient() -> None:
        torch.autograd.grad(torch_loss(*ws, given), ws)

    compare("RNN, forward: C++ by hand, Hyb", lambda: library.rnn(*pointers, STEPS), lambda: net.loss(x))
    compare("RNN, forward: torch eager, Hyb", forward, lambda: net.loss(x))
    compare("RNN, value and gradient: torch eager, Hyb", gradient, lambda: net.value_and_grad("loss", x))


def lengths(mod: Any) -> None:
    """Sequences of lengths that are known at run time, which JAX pads and masks: of a batch it makes one scan."""
    try:
        import jax
    except ImportError:
        return
    random = np.random.default_rng(0)
    sizes = random.integers(5, STEPS + 1, size=BATCH)
    sequences = [random.normal(size=(n, D)).astype(np.float32) for n in sizes]
    padded = np.zeros((BATCH, STEPS, D), np.float32)
    for row, x in zip(padded, sequences, strict=True):
        row[: len(x)] = x
    net, j = mod.RNN(D), jax.numpy

    def loss(weights: tuple[Any, Any, Any], x: Any, n: Any) -> Any:
        w, u, b = weights
        inputs = x @ u.T + b

        def step(h: Any, given: tuple[Any, Any]) -> tuple[Any, None]:
            t, row = given
            going = (t < n) & (j.abs(h).max() < 0.99999994)
            return j.where(going, j.tanh(w @ h + row), h), None

        return jax.lax.scan(step, j.zeros(D), (j.arange(len(x)), inputs))[0].sum()

    def total(weights: tuple[Any, Any, Any], x: Any, n: Any) -> Any:
        return jax.vmap(loss, in_axes=(None, 0, 0))(weights, x, n).sum()

    given = tuple(j.asarray(net.state_dict()[k]) for k in "wub"), j.asarray(padded), j.asarray(sizes)
    gradient = jax.jit(jax.value_and_grad(total))
    xs = mod.native(sequences, f"list[f32[?, {D}]]")
    value, slopes = gradient(*given)
    flat = np.concatenate([np.asarray(g).ravel() for g in slopes])
    for name, how in (("total", "one after the other"), ("together", "a step of all at once")):
        mine, slope = net.value_and_grad(name, xs)
        np.testing.assert_allclose(mine, value, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.asarray(slope).ravel()[: len(flat)], flat, rtol=2e-2, atol=2e-2)
        compare(f"RNN, value and gradient of {BATCH} sequences of 5 to {STEPS} steps: JAX's masked scan under vmap, "
                f"Hyb, {how}", lambda: jax.block_until_ready(gradient(*given)),
                lambda name=name: net.value_and_grad(name, xs), time.process_time)


# ---- memory ----------------------------------------------------------------------------------------------------------
LONG = 4_000


def peak() -> int:
    """KiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def measure(which: str) -> None:
    """What a gradient over LONG steps needs beyond what is there before it."""
    net = hybridc.load(SOURCE).RNN(D)
    x = np.random.default_rng(0).normal(size=(LONG, D)).astype(np.float32) * 0.1
    if which == "torch":
        ws, given = weights(net), torch.tensor(x)
        torch.autograd.grad(torch_loss(*ws, given[:10]), ws)
        before = peak()
        torch.autograd.grad(torch_loss(*ws, given), ws)
    else:
        net.value_and_grad("loss", x[:10])
        before = peak()
        net.value_and_grad("loss", x)
    print((peak() - before) / 1024)


def memory() -> None:
    found = [float(subprocess.run([sys.executable, __file__, w], capture_output=True, text=True, check=True).stdout)
             for w in ("torch", "hyb")]
    print(f"\nMiB for a gradient over {LONG} steps of the RNN: torch {found[0]:.0f}, Hyb {found[1]:.0f}")


def main() -> None:
    torch.set_num_threads(1)
    mod = hybridc.load(SOURCE)
    print("| | ms | ms | ratio |\n| --- | --- | --- | --- |")
    mlp(mod)
    rnn(mod)
    lengths(mod)
    memory()


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
