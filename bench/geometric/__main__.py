"""`python bench/geometric [--threads N] [--compile] [NAME...]`: a table of medians, every peer in one process, runs
interleaved; of one thread by the time that the processor gave, of several by the clock. --compile adds torch.compile,
with max-autotune and frozen parameters (compiling takes a quarter of an hour). A name chooses the workloads that
contain it. Where memory takes the time, a copy into new memory runs between the others: the figures in GB/s are of what
must be read and written."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("names", nargs="*")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--seconds", type=float, default=0.6, help="of measuring, for each of a workload's peers")
options = parser.parse_args()
COPY = "a copy"
PAUSE = 0.15
"""Seconds after each block with several threads: those of a library spin when it is done, onnxruntime's for 50 ms, on a
core that the next one needs."""
if options.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch._inductor.config as inductor  # noqa: E402
from workloads import Workload, jax, workloads  # noqa: E402

torch.set_num_threads(options.threads)
torch.set_grad_enabled(False)
inductor.freezing = True
clock = time.process_time if options.threads == 1 else time.perf_counter


def peers(w: Workload) -> dict[str, object]:
    found = {"Hyb": w.hyb, "torch": w.eager()}
    if options.compile:
        found["torch.compile"] = w.compiled()
    if w.jax is not None and jax is not None:
        inputs = [jax.numpy.asarray(x.numpy()) for x in w.inputs]
        quick = jax.jit(w.jax)
        found["JAX"] = lambda: jax.block_until_ready(quick(*inputs))
    onnx = w.onnx()
    if onnx is not None:
        found["onnxruntime"] = onnx
    if w.bytes:
        found[COPY] = w.inputs[0].clone
    return found


def agree(results: dict[str, object], name: str) -> None:
    def flat(r: object) -> np.ndarray:
        parts = r if isinstance(r, (tuple, list)) else [r]
        return np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])

    want = flat(results["torch"])
    for peer, r in results.items():
        np.testing.assert_allclose(flat(r), want, rtol=2e-3, atol=2e-3, err_msg=f"{name}: {peer}")


def measure(w: Workload) -> tuple[dict[str, float], dict[str, object]]:
    """Median seconds of each peer: blocks of calls, one peer after the other, until the time is up."""
    runs = peers(w)
    agree({p: f() for p, f in runs.items() if p != COPY}, w.name)
    times: dict[str, list[float]] = {p: [] for p in runs}
    block: dict[str, int] = {}
    for p, f in runs.items():
        f()
        start = clock()
        f()
        block[p] = max(1, int(2e-3 / max(clock() - start, 1e-7)))
    stop = time.perf_counter() + options.seconds * len(runs)
    while time.perf_counter() < stop or len(times["Hyb"]) < 5:
        for p, f in runs.items():
            if options.threads > 1:
                time.sleep(PAUSE)
                f()
            start = clock()
            for _ in range(block[p]):
                f()
            times[p].append((clock() - start) / block[p])
    return {p: float(np.median(t)) for p, t in times.items()}, runs


def forest() -> None:
    """One tree at a time: ratios to torch eager and to C++ by hand."""
    import tree

    runs, nodes = tree.runs()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(9):
        for name, run in runs.items():
            if options.threads > 1:
                time.sleep(PAUSE)
            start = clock()
            run()
            times[name].append((clock() - start) / nodes * 1e6)
    hyb, torch_, cpp, floor = (float(np.median(times[n])) for n in ("Hyb", "torch", "C++", "floor"))
    print(f"| TreeLSTM, dim 150, a node | {hyb:.2f} | {cpp:.2f} C++ by hand | {hyb / cpp:.2f} | torch {torch_:.1f}, "
          f"reading the weights {floor:.2f} |", flush=True)


def main() -> None:
    print("| workload | Hyb µs | best peer µs | ratio | all |\n| --- | --- | --- | --- | --- |")
    for w in workloads():
        if options.names and not any(n in w.name for n in options.names):
            continue
        found, _ = measure(w)
        best = min((p for p in found if p not in ("Hyb", COPY)), key=found.__getitem__)
        rate = f" ({w.flops / found['Hyb'] / 1e9:.0f} GF/s)" if w.flops else ""
        if COPY in found:
            most = 2 * w.inputs[0].nbytes / found[COPY]
            rate = f" ({w.bytes / found['Hyb'] / 1e9:.1f} GB/s, {w.bytes / found['Hyb'] / most:.2f} of a copy's)"
        others = ", ".join(f"{p} {t * 1e6:.1f}" for p, t in found.items() if p != "Hyb")
        print(f"| {w.name} | {found['Hyb'] * 1e6:.1f}{rate} | {found[best] * 1e6:.1f} {best} "
              f"| {found['Hyb'] / found[best]:.2f} | {others} |", flush=True)
    if not options.names or any(n in "TreeLSTM" for n in options.names):
        forest()


main()
