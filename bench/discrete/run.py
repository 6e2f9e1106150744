"""Discrete code beside C++, numpy, scipy and numba: `python bench/discrete/run.py [--only WORD] [--write]`.

The peers in the .cpp files are built with g++ -O3 -march=native. Each round times every contender of a workload once,
in turn; the table has medians of processor time, and the ratio of Hyb's to the best peer's named first. `--write` puts
the rows into docs/benchmarks.md. All contenders must give the same answer. `--memory` measures the most memory that a
call takes instead.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

import hybridc

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "benchmarks.md"
MARK = "<!-- discrete{}: {} -->\n"
MEMORY_AIM = 1.2
NEGLIGIBLE = 1 << 20
"""Peaks below so many bytes are those of pages of code and of the stack."""
INTS = ctypes.POINTER(ctypes.c_int64)
FLOATS = ctypes.POINTER(ctypes.c_double)
LIBC = ctypes.CDLL(None)


@dataclass
class Workload:
    """`aims`: for each group of peers, the ratio of Hyb's time to the best of them that is aimed at."""

    name: str
    hyb: Callable[[], object]
    peers: dict[str, Callable[[], object]]
    aims: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    same: Callable[[object, object], bool] = lambda a, b: a == b
    rounds: int = 7
    clock: Callable[[], float] = time.process_time
    """What others do on the machine does not count, unless waiting is what is measured."""


def peers() -> ctypes.CDLL:
    out = Path(tempfile.mkdtemp()) / "peers.so"
    sources = sorted(str(p) for p in HERE.glob("*.cpp"))
    subprocess.run(["g++", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(out), *sources], check=True)
    return ctypes.CDLL(str(out))


def c_function(library: ctypes.CDLL, name: str, *args: object, result: type = ctypes.c_int64) -> Callable[[], object]:
    f = library[name]
    f.restype = result
    f.argtypes = [ctypes.c_int64 if isinstance(a, int) else type(a) for a in args]
    return lambda: f(*args)


def close(a: object, b: object) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))  # type: ignore[operator,arg-type]


def numeric(library: ctypes.CDLL, numba: object) -> list[Workload]:
    mod = hybridc.load(str(HERE / "numeric.hyb"))
    out = []
    for name, n, result, like in (
        ("nbody", 500_000, ctypes.c_double, None),
        ("spectral_norm", 700, ctypes.c_double, "spectral_norm"),
        ("mandelbrot", 600, ctypes.c_int64, "mandelbrot"),
        ("longest", 100_000, ctypes.c_int64, "longest"),
        ("anomalies", 100_000, ctypes.c_double, "anomalies"),
        ("matrix_chain", 400, ctypes.c_int64, "matrix_chain"),
        ("edit_distance", 3000, ctypes.c_int64, "edit_distance"),
    ):
        f = getattr(mod, name)
        w = Workload(name, lambda f=f, n=n: f(n), {"C++": c_function(library, name, n, result=result)},
                     [(("C++",), 1.05)], close)
        if numba is not None and like:
            g = getattr(numba, like)
            w.peers["numba"] = lambda g=g, n=n: g(n)
            w.aims.append((("numba",), 1.0))
        out.append(w)
    return out


def programs(library: ctypes.CDLL, numba: object) -> list[Workload]:
    programs, games = (hybridc.load(str(HERE / name)) for name in ("programs.hyb", "games.hyb"))
    return [
        Workload(what, partial(getattr(mod, name), *sizes), {"C++": c_function(library, name, *sizes, result=result)},
                 [(("C++",), 1.05)], close)
        for mod, rows in ((programs, (
            ("longest common subsequence", "lcs", (2000,), ctypes.c_int64),
            ("edit distance, a table", "letter_distance", (2000,), ctypes.c_int64),
            ("knapsack", "knapsack", (200, 10_000), ctypes.c_int64),
            ("percolation", "percolation", (100,), ctypes.c_int64),
            ("sudoku", "sudoku", (3,), ctypes.c_int64),
            ("LU decomposition", "decomposition", (300,), ctypes.c_double),
            ("product of matrices", "product", (300,), ctypes.c_double),
        )), (games, (
            ("life, lists of lists", "life", (200,), ctypes.c_int64),
            ("tic-tac-toe, minimax", "tictactoe", (9,), ctypes.c_int64),
            ("Connect-Four, alpha-beta to depth 12", "connect", (12,), ctypes.c_int64),
            ("spiral", "spiral", (1000,), ctypes.c_int64),
            ("7 to the power of 2¹², by squares", "powers", (12,), ctypes.c_int64),
            ("roman numerals, there and back", "romans", (20_000,), ctypes.c_int64),
        )))
        for what, name, sizes, result in rows
    ]


def control(library: ctypes.CDLL, numba: object) -> list[Workload]:
    mod = hybridc.load(str(HERE / "control.hyb"))
    out = [
        Workload("fib 35", lambda: mod.fib(35), {"C++": c_function(library, "fib", 35)}, [(("C++",), 1.1)]),
        Workload("Ackermann 2, 2000", lambda: mod.ackermann(2, 2000),
                 {"C++": c_function(library, "ackermann", 2, 2000)}, [(("C++",), 1.1)]),
        Workload("10-queens", lambda: mod.queens(10), {"C++": c_function(library, "queens", 10)}, [(("C++",), 1.1)]),
        Workload("binary trees, depth 18", lambda: mod.binary_trees(18),
                 {"C++": c_function(library, "binary_trees", 18)}, [(("C++",), 0.7)]),
        Workload("10 000 uneven tasks, parallel", lambda: mod.uneven_parallel(10_000),
                 {"Hyb, serial": lambda: mod.uneven(10_000), "C++, serial": c_function(library, "uneven", 10_000)},
                 [(("Hyb, serial",), 1 / 1.85)], clock=time.perf_counter),
    ]
    if numba is not None:
        out[0].peers["numba"] = lambda: numba.fib(35)  # type: ignore[attr-defined]
    return out


def words() -> str:
    """50 MB of words, some of them often."""
    rng = np.random.default_rng(1)
    vocabulary = [f"word{i}" if i % 3 else f"{i}th" for i in range(50_000)]
    picks = np.minimum(rng.zipf(1.3, 7_000_000) - 1, len(vocabulary) - 1)
    return " ".join([vocabulary[i] for i in picks])[: 50_000_000]


def hash_tables(library: ctypes.CDLL, numba: object) -> list[Workload]:
    mod = hybridc.load(str(HERE / "containers.hyb"))
    n = 10_000_000
    out = []
    for name, what in (("map_ints", "10⁷ int keys"), ("map_pairs", "10⁷ (int, int) keys")):
        f = getattr(mod, name)
        out.append(Workload(
            what, lambda f=f: f(n),
            {"C++ dense": c_function(library, name + "_dense", n),
             "C++ unordered_map": c_function(library, name + "_standard", n)},
            [(("C++ dense",), 1.1), (("C++ unordered_map",), 0.4)], rounds=3))
    if numba is not None:
        out[0].peers["numba"] = lambda: numba.map_ints(n)  # type: ignore[attr-defined]
        out[0].aims.append((("numba",), 0.2))
    text = words()
    native = mod.native(text, "str")
    data = text.encode()

    def python_count() -> int:
        counts = Counter(text.split())
        return max(counts.values()) + len(counts)

    out.append(Workload(
        "word count, 50 MB", lambda: mod.word_count(native),
        {"C++ unordered_map": c_function(library, "word_count", ctypes.c_char_p(data), len(data)),
         "Python Counter": python_count},
        [(("C++ unordered_map",), 1.0), (("Python Counter",), 0.1)], rounds=3))
    return out


def sorting(library: ctypes.CDLL, numba: object) -> list[Workload]:
    mod = hybridc.load(str(HERE / "containers.hyb"))
    rng = np.random.default_rng(2)
    n = 1_000_000
    ints, floats = rng.integers(-(2**62), 2**62, n), rng.normal(size=n)
    small = rng.integers(0, 100_000, n)
    at_ints = ints.ctypes.data_as(INTS)
    at_small = small.ctypes.data_as(INTS)
    at_floats = floats.ctypes.data_as(FLOATS)
    native_ints, native_floats = mod.native(ints.tolist(), "list[int]"), mod.native(floats.tolist(), "list[f64]")
    native_small = mod.native(small.tolist(), "list[int]")
    third = n // 3
    best = (("numpy", "C++ radix", "std::sort"), 1.0)
    out = [
        Workload("sort 10⁶ ints", lambda: mod.sort_ints(native_ints), {
            "numpy": lambda: int(np.sort(ints)[third]),
            "C++ radix": c_function(library, "sort_ints_radix", at_ints, n),
            "std::sort": c_function(library, "sort_ints_std", at_ints, n)}, [best]),
        Workload("sort 10⁶ ints below 10⁵", lambda: mod.sort_ints(native_small), {
            "numpy": lambda: int(np.sort(small)[third]),
            "C++ radix": c_function(library, "sort_ints_radix", at_small, n),
            "std::sort": c_function(library, "sort_ints_std", at_small, n)}, [best]),
        Workload("sort 10⁶ floats", lambda: mod.sort_floats(native_floats), {
            "numpy": lambda: float(np.sort(floats)[third]),
            "C++ radix": c_function(library, "sort_floats_radix", at_floats, n, result=ctypes.c_double),
            "std::sort": c_function(library, "sort_floats_std", at_floats, n, result=ctypes.c_double)}, [best]),
        Workload("argsort 10⁶ ints", lambda: mod.argsort_ints(native_ints), {
            "numpy": lambda: int(np.argsort(ints)[third]),
            "C++ radix": c_function(library, "argsort_ints_radix", at_ints, n),
            "std::sort": c_function(library, "argsort_ints_std", at_ints, n)}, [best]),
        Workload("argsort 10⁶ floats", lambda: mod.argsort_floats(native_floats), {
            "numpy": lambda: int(np.argsort(floats)[third]),
            "C++ radix": c_function(library, "argsort_floats_radix", at_floats, n),
            "std::sort": c_function(library, "argsort_floats_std", at_floats, n)}, [best]),
        Workload("make 10⁶ (int, str) records", lambda: mod.make_records(native_small), {
            "C++": c_function(library, "make_records", at_small, n)}, [(("C++",), 1.0)]),
        Workload("make and sort 10⁶ (int, str) records", lambda: mod.sort_records(native_small), {
            "std::stable_sort": c_function(library, "sort_records", at_small, n)}, [(("std::stable_sort",), 1.0)]),
        Workload("top 100 of 10⁶", lambda: mod.top100(native_ints), {
            "C++ heap": c_function(library, "top100", at_ints, n),
            "numpy": lambda: int(np.partition(ints, n - 100)[n - 100])}, [(("C++ heap",), 1.0), (("numpy",), 1.0)]),
    ]
    try:
        import torch
    except ImportError:
        return out
    torch.set_num_threads(1)
    whole, real, short = map(torch.from_numpy, (ints, floats, small))
    peers = [lambda: int(torch.sort(whole)[0][third]), lambda: int(torch.sort(short)[0][third]),
             lambda: float(torch.sort(real)[0][third]), lambda: int(torch.argsort(whole)[third]),
             lambda: int(torch.argsort(real)[third]), lambda: int(torch.topk(whole, 100)[0][-1])]
    for work, peer in zip([*out[:5], out[-1]], peers, strict=True):
        work.peers["torch"] = peer
        work.aims = [*work.aims, (("torch",), 1.0)]
    return out


def graphs(library: ctypes.CDLL, numba: object) -> list[Workload]:
    mod = hybridc.load(str(HERE / "containers.hyb"))
    rng = np.random.default_rng(3)
    nodes, count = 100_000, 500_000
    places = rng.permutation(np.unique(rng.integers(0, nodes * nodes, count + 1000)))[:count]
    u, v = places // nodes, places % nodes
    w = rng.random(count)
    g = mod.make_graph.native(nodes, u.tolist(), v.tolist(), w.tolist())
    library.graph_new.restype = ctypes.c_void_p
    library.graph_new.argtypes = [ctypes.c_int64, INTS, INTS, FLOATS, ctypes.c_int64]
    built = library.graph_new(nodes, u.ctypes.data_as(INTS), v.ctypes.data_as(INTS), w.ctypes.data_as(FLOATS), count)
    work = Workload("Dijkstra, 10⁵ nodes, 5·10⁵ edges", lambda: mod.shortest_paths(g), {
        "C++ priority_queue": c_function(library, "graph_dijkstra", ctypes.c_void_p(built), result=ctypes.c_double)},
        [(("C++ priority_queue",), 1.0)], close)
    if numba is not None:
        order = np.argsort(u, kind="stable")
        starts = np.searchsorted(u[order], np.arange(nodes + 1))
        ends, weights = v[order], w[order]
        work.peers["numba"] = lambda: numba.dijkstra(starts, ends, weights, np.int64(0))
        work.aims.append((("numba",), 1.0))
    try:
        import rustworkx
    except ImportError:
        pass
    else:
        other = rustworkx.PyDiGraph()
        other.add_nodes_from(range(nodes))
        other.add_edges_from(list(zip(u.tolist(), v.tolist(), w.tolist(), strict=True)))
        work.peers["rustworkx"] = lambda: sum(rustworkx.dijkstra_shortest_path_lengths(other, 0, float).values())
        work.aims.append((("rustworkx",), 1.0))
    try:
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra
    except ImportError:
        return [work]
    matrix = csr_matrix((w, (u, v)), (nodes, nodes))

    def scipy() -> float:
        lengths = dijkstra(matrix, indices=0)
        return float(lengths[np.isfinite(lengths)].sum())

    work.peers["scipy"] = scipy
    work.aims[0] = (("C++ priority_queue", "scipy"), 1.0)
    return [work]


def measure(w: Workload) -> dict[str, float]:
    """Medians, after one round whose answers are compared."""
    contenders = {"Hyb": w.hyb, **w.peers}
    wanted = w.hyb()
    for name, run in w.peers.items():
        got = run()
        if not w.same(wanted, got):
            raise SystemExit(f"{w.name}: Hyb gives {wanted}, {name} {got}")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(w.rounds):
        for name, run in contenders.items():
            start = w.clock()
            run()
            times[name].append(w.clock() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def peak(run: Callable[[], object]) -> int:
    """By how many bytes one call makes a process grow at most."""
    LIBC.malloc_trim(0)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss * 1024 - before


def memory_row(w: Workload) -> str:
    """Each contender in a process of its own, none having run before; less what a process takes that calls next to
    nothing."""
    mod = hybridc.load(str(HERE / "containers.hyb"))
    mod.scrambled(1)
    hyb = max(peak(w.hyb) - peak(lambda: mod.scrambled(1)), 0)
    nothing = peak(lambda: None)
    others = [max(peak(run) - nothing, 0) for run in w.peers.values()]
    beside = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in zip(w.peers, others, strict=True))
    peers = {name: size for name, size in zip(w.peers, others, strict=True) if name.startswith(("C++", "std::"))}
    if hyb < NEGLIGIBLE or not peers:
        return f"| {w.name} | {hyb / 1e6:.1f} | {beside} | |"
    name = next(iter(peers))
    ratio = hyb / max(peers[name], 1)
    verdict = "" if ratio <= MEMORY_AIM else ": **not reached**"
    return f"| {w.name} | {hyb / 1e6:.1f} | {beside} | {ratio:.2f} × {name} (≤ {MEMORY_AIM:.2f}{verdict}) |"


def row(w: Workload, medians: dict[str, float]) -> str:
    hyb = medians["Hyb"]
    beside = ", ".join(f"{name} {1000 * medians[name]:.1f}" for name in w.peers)
    ratios = []
    for names, aim in w.aims:
        best = min(names, key=lambda n: medians[n])
        ratio = hyb / medians[best]
        verdict = "" if ratio <= aim else ": **not reached**"
        ratios.append(f"{ratio:.2f} × {best} (≤ {aim:.2f}{verdict})")
    return f"| {w.name} | {1000 * hyb:.1f} | {beside} | {'; '.join(ratios)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="workloads whose name contains this; several are joined by |")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--memory", action="store_true", help="the most memory that a call takes, not its time")
    options = parser.parse_args()
    unit, what = ("MB", " memory") if options.memory else ("ms", "")
    library = peers()
    try:
        import numba_peers as numba
    except ImportError:
        numba = None
    lines = [f"| workload | Hyb {unit} | beside it, {unit} | ratio (aim) |", "| --- | --- | --- | --- |"]
    print("\n".join(lines))
    wanted = options.only.split("|")
    for group in (numeric, programs, control, hash_tables, sorting, graphs):
        if not any(word in n for word in wanted for n in names(group)):
            continue
        for w in group(library, numba):
            if any(word in w.name for word in wanted):
                lines.append(memory_row(w) if options.memory else row(w, measure(w)))
                print(lines[-1], flush=True)
    if options.write:
        page = PAGE.read_text()
        begin, end = MARK.format(what, "begin"), MARK.format(what, "end")
        before, _, rest = page.partition(begin)
        old, _, after = rest.partition(end)
        PAGE.write_text(before + begin + merged(old.splitlines(), lines) + end + after)


def merged(old: list[str], new: list[str]) -> str:
    """The table with the rows that were measured in the place of those of the same workloads."""
    rows = {line.split("|")[1].strip(): line for line in old}
    rows.update((line.split("|")[1].strip(), line) for line in new)
    return "\n".join(rows.values()) + "\n"


def names(group: Callable[..., list[Workload]]) -> tuple[str, ...]:
    """Strings in the group's code: enough to leave out what was not asked for without preparing its data."""
    return tuple(str(c) for c in _constants(group.__code__))


def _constants(code: object) -> list[object]:
    out: list[object] = []
    for c in code.co_consts:  # type: ignore[attr-defined]
        out += _constants(c) if hasattr(c, "co_consts") else list(c) if isinstance(c, tuple) else [c]
    return [x for y in out for x in (y if isinstance(y, tuple) else (y,))]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
