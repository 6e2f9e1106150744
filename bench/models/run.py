"""Whole models beside what one would otherwise write: `python bench/models/run.py [--only WORD] [--write]`.

One thread. The peers are connect4.cpp (g++ -O3 -march=native), connect4_python.py (with numpy or PyTorch) and
tensor_peers.py (PyTorch, eager), with the same weights; what they give is compared before anything is timed. Each
round times every contender once, in turn; the table has medians, the ratio of Hyb's to the peer's named first, and
lines of code. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import statistics
import subprocess
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import connect4_python
import numpy as np
import tensor_peers
import torch

import hybridc

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples"
PAGE = HERE.parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- models: begin -->\n", "<!-- models: end -->\n"
FLOATS = ctypes.POINTER(ctypes.c_float)


@dataclass
class Workload:
    """`peers`: what runs, and its lines of code; `aims`: for each peer the ratio of Hyb's time to its that is aimed at;
    `same`: whether two contenders' results agree."""

    name: str
    hyb: tuple[Callable[[], object], int]
    peers: dict[str, tuple[Callable[[], object], int]]
    aims: dict[str, float]
    same: Callable[[object, object], bool]
    rounds: int = 9


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


def shared(name: str) -> ctypes.CDLL:
    out = Path(tempfile.mkdtemp()) / f"{name}.so"
    options = ["-std=c++20", "-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["g++", *options, "-o", str(out), str(HERE / f"{name}.cpp")], check=True)
    return ctypes.CDLL(str(out))


def near(tolerance: float) -> Callable[[object, object], bool]:
    return lambda a, b: bool(np.allclose(np.asarray(a), np.asarray(b), atol=tolerance))


# ---- Connect-Four ----
SIMULATIONS, OPENING = 800, (3, 3, 2, 4)


def connect4() -> Iterator[Workload]:
    mod = hybridc.load(str(EXAMPLES / "alphazero" / "alphazero.hyb"))
    player = mod.Player(seed=4)
    p = mod.Position()
    for move in OPENING:
        p = player.play(p, move)
    weights = player.state_dict()
    library = shared("connect4")
    library.connect4_network.restype = ctypes.c_void_p
    held = [np.ascontiguousarray(weights[f"{layer}.{part}"]) for layer in ("first", "second", "head")
            for part in ("weight", "bias")]
    network = library.connect4_network(*(w.ctypes.data_as(FLOATS) for w in held))

    def cpp(net: int | None) -> list[float]:
        shares = (ctypes.c_float * 7)()
        library.connect4_search(ctypes.c_void_p(net), ctypes.c_int64(p.mine), ctypes.c_int64(p.all),
                                ctypes.c_int64(SIMULATIONS), shares)
        return list(shares)

    g = hybridc.rng(0)
    source = EXAMPLES / "alphazero" / "alphazero.hyb"
    ours = lines_between(source, "struct Position", "fn blur") - lines_between(source, "fn loss", "# ---- the search")
    theirs = lines_between(HERE / "connect4.cpp", "#include <bit>")
    python = HERE / "connect4_python.py"
    common = lines_between(python, "COLUMNS", "def in_numpy") + lines_between(python, "def place")
    in_numpy, in_torch = connect4_python.in_numpy(weights), connect4_python.in_torch(weights)
    yield Workload(
        f"Connect-Four, a move of {SIMULATIONS} simulations with the network",
        (lambda: player.search(p, SIMULATIONS, mod.Guide.Network, 0.0, g), ours),
        {"C++": (lambda: cpp(network), theirs),
         "Python + numpy": (lambda: connect4_python.search(p.mine, p.all, SIMULATIONS, in_numpy),
                            common + lines_between(python, "def in_numpy", "def in_torch")),
         "Python + torch": (lambda: connect4_python.search(p.mine, p.all, SIMULATIONS, in_torch),
                            common + lines_between(python, "def in_torch", "def place"))},
        {"C++": 1.0, "Python + numpy": 1 / 15, "Python + torch": 1 / 28}, near(0.02))
    yield Workload(
        f"Connect-Four, a move of {SIMULATIONS} random games",
        (lambda: player.search(p, SIMULATIONS, mod.Guide.Rollout, 0.0, g), ours),
        {"C++": (lambda: cpp(None), theirs)}, {"C++": 1.0}, near(0.5))


# ---- beam search ----
def beam() -> Iterator[Workload]:
    mod = hybridc.load(str(HERE / "models.hyb"))
    writer, twin = mod.Writer(seed=1), tensor_peers.Writer()
    weights = writer.state_dict()
    weights["embed.weight"] *= 0.5
    weights["head.weight"] *= 4.0
    weights["head.bias"][1] += 2.0  # so that texts end
    writer.load_state_dict(weights)
    twin.load_state_dict({n: torch.tensor(w) for n, w in weights.items()})
    start = np.random.default_rng(0).normal(size=256).astype(np.float32)
    given = torch.tensor(start)

    def hyb() -> tuple[list[int], float]:
        found = writer.beam(start, 8, 40)
        return found.tokens, found.surprise

    yield Workload(
        "beam search, GRU 256, vocabulary 2 000, width 8",
        (hyb, lines_between(HERE / "models.hyb", "model Writer", "model Digits")),
        {"torch eager": (lambda: twin.beam(given, 8, 40),
                         lines_between(HERE / "tensor_peers.py", "class Writer", "# ---- a mixture"))},
        {"torch eager": 0.8}, lambda a, b: a[0] == b[0] and abs(a[1] - b[1]) < 1e-2)  # type: ignore[index]


# ---- a mixture of experts ----
def experts() -> Iterator[Workload]:
    source = EXAMPLES / "router" / "router.hyb"
    mod = hybridc.load(str(source))
    layer = mod.Experts(128, 256, seed=1)
    x = np.random.default_rng(0).normal(size=(512, 128)).astype(np.float32)
    plain, grouped = (kind(layer.state_dict(), 2, 1.25) for kind in (tensor_peers.Experts, tensor_peers.Grouped))
    given = torch.tensor(x)
    peers = HERE / "tensor_peers.py"

    def run(module: torch.nn.Module) -> np.ndarray:
        with torch.inference_mode():
            return module(given).numpy()

    base = lines_between(peers, "class Experts", "class Grouped")
    yield Workload(
        "mixture of 8 experts, 512 tokens of 128, hidden 256",
        (lambda: layer(x), lines_between(source, "struct Plan", "model Reader")),
        {"torch eager": (lambda: run(plain), base),
         "torch eager, one batched product": (
             lambda: run(grouped), base + lines_between(peers, "class Grouped", "# ---- digits"))},
        {"torch eager": 0.5, "torch eager, one batched product": 0.5}, near(1e-3))


# ---- digits by sums ----
def digits() -> Iterator[Workload]:
    mod = hybridc.load(str(HERE / "models.hyb"))
    chance = np.random.default_rng(0)
    data = [([chance.random(64, np.float32) for _ in range(4)], float(chance.integers(0, 37))) for _ in range(100)]
    weights = mod.Digits(seed=1).state_dict()
    native = mod.native(data, "list[(list[f32[64]], f32)]")
    given = [([torch.tensor(image) for image in images], answer) for images, answer in data]

    def hyb() -> float:
        m = mod.Digits(seed=1)
        return mod.epoch(m, mod.Adam(), native)

    def eager() -> float:
        m = tensor_peers.Digits()
        m.load_state_dict({n: torch.tensor(w) for n, w in weights.items()})
        return tensor_peers.epoch(m, torch.optim.Adam(m.parameters()), given)

    yield Workload(
        "digits from sums, 100 training steps of one list of 4",
        (hyb, lines_between(HERE / "models.hyb", "model Digits")),
        {"torch eager": (eager, lines_between(HERE / "tensor_peers.py", "class Digits"))},
        {"torch eager": 1 / 40}, lambda a, b: abs(a - b) < 1e-2 * abs(b))  # type: ignore[operator,arg-type]


def row(w: Workload) -> str:
    contenders = {"Hyb": w.hyb, **w.peers}
    wanted = w.hyb[0]()
    for name, (run, _) in w.peers.items():
        got = run()
        if not w.same(wanted, got):
            raise SystemExit(f"{w.name}: Hyb gives {wanted}, {name} {got}")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(w.rounds):
        for name, (run, _) in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) for name, t in times.items()}
    beside = ", ".join(f"{name} {1000 * medians[name]:.2f}" for name in w.peers)
    ratios = []
    for name, aim in w.aims.items():
        ratio = medians["Hyb"] / medians[name]
        verdict = "" if ratio <= aim else ": **not reached**"
        ratios.append(f"{ratio:.3f} × {name} (≤ {aim:.3f}{verdict})")
    lines = ", ".join(f"{name} {count}" for name, (_, count) in contenders.items())
    return f"| {w.name} | {1000 * medians['Hyb']:.2f} | {beside} | {'; '.join(ratios)} | {lines} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the groups whose name contains this")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| model | Hyb ms | beside it, ms | ratio (aim) | lines of code |", "| --- | --- | --- | --- | --- |"]
    print("\n".join(lines))
    for group in (connect4, beam, experts, digits):
        if options.only in group.__name__:
            for w in group():
                lines.append(row(w))
                print(lines[-1], flush=True)
    if options.write:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()
