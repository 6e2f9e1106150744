"""A CRF's negative log-likelihood and gradient (T = 100, K = 40) beside torch eager, C++ with its backward by hand, and
JAX's scan where that is installed: medians of interleaved runs of one thread, by the time the processor gave it.

    python bench/gradients/crf.py
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ratios import compare

import hybridc

T, K = 100, 40
HERE = Path(__file__).parent


def by_hand(folder: str) -> ctypes.CDLL:
    library = Path(folder) / "crf.so"
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, str(HERE / "crf.cpp"), "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    found.crf.restype = ctypes.c_float
    return found


def main() -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    scores, moves = (random.normal(size=s).astype(np.float32) for s in ((T, K), (K, K)))
    labels = random.integers(0, K, T)
    mod = hybridc.load(HERE / "crf.hyb")

    def eager() -> tuple[torch.Tensor, ...]:
        s, m = torch.tensor(scores, requires_grad=True), torch.tensor(moves, requires_grad=True)
        alpha = s[0]
        for t in range(1, T):
            alpha = s[t] + torch.logsumexp(alpha[:, None] + m, 0)
        at = torch.tensor(labels)
        loss = torch.logsumexp(alpha, 0) - s[torch.arange(T), at].sum() - m[at[:-1], at[1:]].sum()
        return loss.detach(), *torch.autograd.grad(loss, (s, m))

    with tempfile.TemporaryDirectory() as folder:
        library = by_hand(folder)
        dscores, dmoves = np.empty_like(scores), np.empty_like(moves)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (scores, moves, labels, dscores, dmoves)]

        def compiled() -> float:
            return library.crf(T, K, *pointers)

        want = eager()
        for value, slopes in (mod.nll_gradient(scores, moves, labels), mod.products_gradient(scores, moves, labels),
                              (compiled(), (dscores, dmoves))):
            np.testing.assert_allclose(value, want[0], rtol=1e-4)
            for a, b in zip(slopes, want[1:], strict=True):
                np.testing.assert_allclose(a, b, atol=2e-4)

        print("| | ms | ms | ratio |\n| --- | --- | --- | --- |")
        for name in ("nll", "products"):
            value = partial(getattr(mod, name), scores, moves, labels)
            gradient = partial(getattr(mod, f"{name}_gradient"), scores, moves, labels)
            compare(f"{name}: value, with gradient", value, gradient)
            compare(f"{name}: torch eager, Hyb", eager, gradient)
            compare(f"{name}: C++ by hand, Hyb", compiled, gradient)
            jax_scan(name, scores, moves, labels, gradient)


def jax_scan(name: str, scores: np.ndarray, moves: np.ndarray, labels: np.ndarray, hyb: Callable[[], object]
             ) -> None:
    try:
        import jax
    except ImportError:
        return
    at = jax.numpy.asarray(labels)

    def loss(s: jax.Array, m: jax.Array) -> jax.Array:
        def step(alpha: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            return row + jax.nn.logsumexp(alpha[:, None] + m, axis=0), None

        alpha, _ = jax.lax.scan(step, s[0], s[1:])
        return jax.nn.logsumexp(alpha) - s[jax.numpy.arange(T), at].sum() - m[at[:-1], at[1:]].sum()

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    given = jax.numpy.asarray(scores), jax.numpy.asarray(moves)
    compare(f"{name}: JAX's scan, Hyb (by the clock: JAX has threads of its own)",
            lambda: jax.block_until_ready(gradient(*given)), hyb, time.perf_counter)


if __name__ == "__main__":
    main()
