"""`python bench/geometric [--threads N] [--compile] [NAME...]`: a table of medians, runs interleaved; of one thread
every peer in one process, by the time that the processor gave; of several each in a process of its own, by the clock.
--compile adds torch.compile, with max-autotune and frozen parameters (compiling takes a quarter of an hour). A name
chooses the workloads that contain it. Where memory takes the time, a copy into new memory runs between the others: the
figures in GB/s are of what must be read and written."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("names", nargs="*")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--seconds", type=float, default=0.6, help="of measuring, for each of a workload's peers")
parser.add_argument("--peer", help="be this one's process, told what to do by the one that made it")
options = parser.parse_args()
COPY = "a copy"
if options.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch._inductor.config as inductor  # noqa: E402
from turns import PAUSE, Processes, serve  # noqa: E402
from workloads import Run, Workload, jax, workloads  # noqa: E402

torch.set_num_threads(options.threads)
torch.set_grad_enabled(False)
inductor.freezing = True
clock = time.process_time if options.threads == 1 else time.perf_counter


def peers(w: Workload) -> dict[str, Callable[[], Run | None]]:
    """How each peer's run is made; none where the peer has none."""
    found: dict[str, Callable[[], Run | None]] = {"Hyb": lambda: w.hyb, "torch": w.eager}
    if options.compile:
        found["torch.compile"] = w.compiled
    if w.jax is not None and jax is not None:
        found["JAX"] = lambda: in_jax(w)
    found["onnxruntime"] = w.onnx
    if w.bytes:
        found[COPY] = lambda: w.inputs[0].clone
    return found


def in_jax(w: Workload) -> Run:
    inputs = [jax.numpy.asarray(x.numpy()) for x in w.inputs]
    quick = jax.jit(w.jax)
    return lambda: jax.block_until_ready(quick(*inputs))


def flat(result: object) -> np.ndarray:
    parts = result if isinstance(result, (tuple, list)) else [result]
    return np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])


def agree(results: dict[str, np.ndarray], name: str) -> None:
    for peer, r in results.items():
        if peer != COPY:
            np.testing.assert_allclose(r, results["torch"], rtol=2e-3, atol=2e-3, err_msg=f"{name}: {peer}")


def here(w: Workload) -> tuple[dict[str, Callable[[], float]], dict[str, np.ndarray]]:
    """For each peer a block of calls in this process, which says what one took, in seconds; and the results."""
    runs = {p: run for p, make in peers(w).items() if (run := make()) is not None}
    return {p: block(run) for p, run in runs.items()}, {p: flat(run()) for p, run in runs.items() if p != COPY}


def block(run: Run) -> Callable[[], float]:
    # The first calls find out what is to be done, the second one of Hyb makes those after it fast.
    for _ in range(3):
        run()
    start = clock()
    run()
    count = max(1, int(2e-3 / max(clock() - start, 1e-7)))

    def measured() -> float:
        start = clock()
        for _ in range(count):
            run()
        return (clock() - start) / count

    return measured


def measure(blocks: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds of each peer: blocks of calls, one peer after the other, until the time is up."""
    times: dict[str, list[float]] = {p: [] for p in blocks}
    stop = time.perf_counter() + options.seconds * len(blocks)
    while time.perf_counter() < stop or len(times["Hyb"]) < 5:
        for p, run in blocks.items():
            times[p].append(run())
    return {p: float(np.median(t)) for p, t in times.items()}


def made(name: str) -> Iterator[tuple[str, Callable[[], tuple[Callable[[], float], np.ndarray] | None]]]:
    """Of one peer, by workload: what makes its block of calls, and its result."""
    for w in chosen():
        def make(w: Workload = w) -> tuple[Callable[[], float], np.ndarray] | None:
            run = peers(w).get(name, lambda: None)()
            if run is None:
                return None
            timed = block(run)

            def awake() -> float:
                timed()  # what slept is awake then, and in the caches what a loop finds there
                return timed()

            return awake, flat(run())

        yield w.name, make


def chosen() -> Iterator[Workload]:
    return (w for w in workloads() if not options.names or any(n in w.name for n in options.names))


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
    if options.peer:
        return serve(made(options.peer))
    print("| workload | Hyb µs | best peer µs | ratio | all |\n| --- | --- | --- | --- | --- |")
    apart = None
    if options.threads > 1:
        names = ["Hyb", "torch", "JAX", "onnxruntime", COPY, *["torch.compile"] * options.compile]
        apart = Processes({p: [sys.executable, *sys.argv, "--peer", p] for p in names})
    for w in chosen():
        blocks, results = apart.blocks(w.name) if apart else here(w)
        agree(results, w.name)
        row(w, measure(blocks))
    if not options.names or any(n in "TreeLSTM" for n in options.names):
        forest()


def row(w: Workload, found: dict[str, float]) -> None:
    best = min((p for p in found if p not in ("Hyb", COPY)), key=found.__getitem__)
    rate = f" ({w.flops / found['Hyb'] / 1e9:.0f} GF/s)" if w.flops else ""
    if COPY in found:
        most = 2 * w.inputs[0].nbytes / found[COPY]
        rate = f" ({w.bytes / found['Hyb'] / 1e9:.1f} GB/s, {w.bytes / found['Hyb'] / most:.2f} of a copy's)"
    others = ", ".join(f"{p} {t * 1e6:.1f}" for p, t in found.items() if p != "Hyb")
    print(f"| {w.name} | {found['Hyb'] * 1e6:.1f}{rate} | {found[best] * 1e6:.1f} {best} "
          f"| {found['Hyb'] / found[best]:.2f} | {others} |", flush=True)


main()
