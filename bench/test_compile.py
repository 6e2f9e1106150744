"""What starting costs: a cold compile, a load from the cache, imports, and the memory of a compile. Each in a process
of its own, with a cache of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LOAD = (
    "import time, hybridc\n"
    "start = time.perf_counter()\n"
    "load = hybridc.load\n"
    "ready = time.perf_counter()\n"
    f"mod = load({str(HERE / 'treelstm.hyb')!r})\n"
    "loaded = time.perf_counter()\n"
    "m = mod.TreeLSTM(vocab=10000, dim=150)\n"
    "print(loaded - ready, ready - start, time.perf_counter() - loaded)\n"
)
"""Seconds of the load, of importing what it needs, and of making the model (1.6 million random parameters)."""
MEMORY = LOAD + "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"


def run(code: str, cache: Path) -> list[float]:
    env = dict(os.environ, HYB_CACHE_DIR=str(cache))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    return [float(line) for line in done.stdout.split()]


def seconds_of_import(module: str, cache: Path) -> float:
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    return run(code, cache)[0]


WHAT = ["cold compile", "from the cache", "first use", "a model", "import hybridc", "import hybridc_runtime"]


@pytest.mark.parametrize("what", WHAT)
def test_start(benchmark, tmp_path, what):
    """The figure is `extra_info['median s']`: seconds inside the process, without Python's own start."""
    figures = []

    def once() -> None:
        match what:
            case "cold compile":
                for old in (tmp_path / "records").glob("*"):
                    old.unlink()
                figures.append(run(LOAD, tmp_path)[0])
            case "from the cache":
                figures.append(run(LOAD, tmp_path)[0])
            case "first use":
                figures.append(run(LOAD, tmp_path)[1])
            case "a model":
                figures.append(run(LOAD, tmp_path)[2])
            case _:
                figures.append(seconds_of_import(what.split()[1], tmp_path))

    run(LOAD, tmp_path)  # the standard library is checked once per installation
    benchmark.pedantic(once, rounds=5, iterations=1)
    benchmark.extra_info["median s"] = sorted(figures)[len(figures) // 2]
    print(f"\n{what}: {benchmark.extra_info['median s']:.3f} s")


def test_peak_memory(benchmark, tmp_path):
    run(LOAD, tmp_path / "warm")
    megabytes = benchmark.pedantic(lambda: run(MEMORY, tmp_path / "cold")[-1], rounds=1)
    benchmark.extra_info["MiB"] = megabytes
    print(f"\npeak memory of a cold compile: {megabytes:.0f} MiB")
