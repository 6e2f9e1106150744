"""What a workload is, and how its rows are measured and written."""

from __future__ import annotations

import ctypes
import io
import random
import statistics
import subprocess
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples"
PAUSE = 0.15
"""Seconds that threads of libraries are given to fall asleep. OpenMP's spin for 3 to 7 ms after the last call, on the
core that the next contender needs, and JAX's as long; what they do meanwhile would count as its processor time."""
FLOATS, INTS = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_int64)


@dataclass
class Workload:
    """`peers`: what runs, and its lines of code; `aims`: for each peer the ratio of Hyb's time to its that is aimed at;
    `same`: whether two contenders' results agree; `unlike`: peers that may find something else, and `share`: how much
    of a call's time is counted, where one call does more of the work than ours. `units`: by what is in a result, how
    much was done, where chance decides that; times are those of one unit."""

    name: str
    hyb: tuple[Callable[[], object], int]
    peers: dict[str, tuple[Callable[[], object], int]]
    aims: dict[str, float]
    same: Callable[[object, object], bool]
    rounds: int = 9
    unlike: frozenset[str] = frozenset()
    share: dict[str, float] | None = None
    units: Callable[[object], float] = lambda _: 1.0


@dataclass
class Row:
    """Medians in seconds, and lines of code, of Hyb and its peers."""

    name: str
    times: dict[str, float]
    aims: dict[str, float]
    lines: dict[str, int]

    def ratio(self, peer: str) -> float:
        return self.times["Hyb"] / self.times[peer]

    def markdown(self) -> str:
        beside = ", ".join(f"{name} {1000 * t:.2f}" for name, t in self.times.items() if name != "Hyb")
        ratios = []
        for name, aim in self.aims.items():
            verdict = "" if self.ratio(name) <= aim else ": **not reached**"
            ratios.append(f"{self.ratio(name):.3f} × {name} (≤ {aim:.3f}{verdict})")
        lines = ", ".join(f"{name} {count}" for name, count in self.lines.items())
        return f"| {self.name} | {1000 * self.times['Hyb']:.2f} | {beside} | {'; '.join(ratios)} | {lines} |"


def measure(w: Workload, clock: Callable[[], float]) -> Row:
    """Compares what all give, then times each once in every round, each round in another order, since what has just
    run changes the caches, the memory that is at hand, and the processor's frequency. A pause and a call that is not
    timed come before."""
    contenders = {"Hyb": w.hyb, **w.peers}
    wanted = w.hyb[0]()
    for name, (run, _) in w.peers.items():
        got = run()
        if name not in w.unlike and not w.same(wanted, got):
            raise SystemExit(f"{w.name}: Hyb gives {wanted}, {name} {got}")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    shuffled = random.Random(0)
    for _ in range(w.rounds):
        shuffled.shuffle(order)
        for name, (run, _) in order:
            time.sleep(PAUSE)
            run()
            start = clock()
            done = run()
            times[name].append((clock() - start) / w.units(done))
    share = w.share or {}
    return Row(w.name, {name: share.get(name, 1.0) * statistics.median(t) for name, t in times.items()}, w.aims,
               {name: lines for name, (_, lines) in contenders.items()})


def lines_between(path: Path, first: str, last: str = "") -> int:
    """Lines that are neither empty nor comments nor documentation, from one that begins with `first` to before one that
    begins with `last`."""
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith(first))
    end = next((i for i in range(start + 1, len(lines)) if last and lines[i].strip().startswith(last)), len(lines))
    text = "\n".join(lines[start:end]) + "\n"
    if path.suffix == ".cpp":
        return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("//"))
    return len(set(_lines_of_code(text)))


def _lines_of_code(text: str) -> Iterator[int]:
    """Hyb's tokens are Python's, as far as this is concerned."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    fresh = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            fresh = True
        elif token.type not in skipped:
            if not (fresh and token.type == tokenize.STRING):
                yield from range(token.start[0], token.end[0] + 1)
            fresh = False


def shared(name: str, *options: str) -> ctypes.CDLL:
    """NAME.cpp beside this file, as a library."""
    out = Path(tempfile.mkdtemp()) / f"{name}.so"
    subprocess.run(["g++", "-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", *options, "-o", str(out),
                    str(HERE / f"{name}.cpp")], check=True)
    return ctypes.CDLL(str(out))


def floats(x: np.ndarray) -> ctypes._Pointer[ctypes.c_float]:
    """A pointer to a contiguous array, which has to live on."""
    assert x.dtype == np.float32 and x.flags.c_contiguous
    return x.ctypes.data_as(FLOATS)


def near(tolerance: float) -> Callable[[object, object], bool]:
    return lambda a, b: bool(np.allclose(np.asarray(a), np.asarray(b), atol=tolerance))
