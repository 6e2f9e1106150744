"""Programs as people write them over text and containers, beside C++: `python bench/everyday/run.py [--only WORD]`.

The peers in the .cpp files are built with g++ -O3 -march=native. Each round times both, in turn; the table has medians
of processor time and of the rounds' ratios. Both must give the same answer.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hybridc

HERE = Path(__file__).parent
Call = Callable[[], object]


def peers() -> ctypes.CDLL:
    out = Path(tempfile.mkdtemp()) / "peers.so"
    sources = sorted(str(p) for p in HERE.glob("*.cpp"))
    command = ["g++", "-O3", "-march=native", "-std=c++20", "-shared", "-fPIC", "-o", str(out), *sources]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(out))


def data() -> dict[str, str]:
    rng = random.Random(1)
    vowels, others = "aeiou", "bcdfghklmnprstvw"
    vocabulary = ["".join(rng.choice(others if k % 2 else vowels) for k in range(rng.randint(1, 9)))
                  for _ in range(5000)] + ["the", "and", "of", "level", "radar", "stressed"]
    picks = [vocabulary[min(int(rng.paretovariate(0.6)) - 1, len(vocabulary) - 1)] for _ in range(150_000)]
    prose = " ".join(w + rng.choice(["", "", "", "", ",", "."]) for w in picks)
    rows = [f"{rng.randint(1, 99)},item-{rng.randint(1, 999)},{rng.randint(1, 9999)},{rng.uniform(0, 500):.2f}"
            for _ in range(50_000)]
    levels = ["INFO", "INFO", "DEBUG", "WARNING", "ERROR"]
    log = [f"2024-03-{rng.randint(1, 28):02} 12:{rng.randint(0, 59):02}:07 {rng.choice(levels)} "
           f"service {rng.choice(vocabulary)} request took={rng.randint(1, 999)}ms" for _ in range(40_000)]
    side = 300
    maze = ["".join("#" if rng.random() < 0.25 and 0 < r + c < 2 * side - 2 else "." for c in range(side))
            for r in range(side)]
    names = [f"package{i}" for i in range(10_000)]
    needs = [f"{names[i]}: " + " ".join(names[rng.randrange(i)] for _ in range(rng.randint(0, 3) if i else 0))
             for i in range(10_000)]
    sums = [" + ".join(rng.choice(["alpha * 3", "(beta + 12) * 4", "x_1 - 5", "77", "2 * (3 + alpha)"])
                       for _ in range(12)) for _ in range(3000)]
    return {
        "words": " ".join(picks), "prose": prose, "rows": "\n".join(rows), "log": "\n".join(log),
        "maze": "\n".join(maze), "needs": "\n".join(needs), "sums": "\n".join(sums),
        "runs": "".join(rng.choice("abcdef") * rng.randint(1, 12) for _ in range(60_000)),
        "brackets": "".join(rng.choice("(([{}])) x") for _ in range(500_000)),
        "short": "".join(rng.choice("ab") for _ in range(2000)), "pattern": "a*b.*c*a*.*b*.a*b*" * 6,
    }


TEXTS = {
    "turned_letters": "words", "turned_slice": "words", "two_letters": "words", "words_by_while": "words",
    "csv_ints": "rows", "csv_floats": "rows", "anagrams": "words", "palindromes": "words",
    "palindromes_by_hand": "words", "longest_palindrome": "short", "log_levels": "log", "bigrams": "words",
    "trigrams": "words", "caesar_letters": "words", "run_lengths": "runs", "without_repeats": "words",
    "top_words": "prose", "balanced": "brackets", "title": "words", "regex": "short,pattern", "replaced": "words",
    "vowel_counts": "words",
}
NUMBERS = {"romans": (20_000,), "big_fibonacci": (3000,), "report": (50_000,)}
VALUE_TEXTS = {"maze_set": "maze", "maze_list": "maze", "build_order": "needs"}
VALUE_NUMBERS = {
    "rotation": (400, 10), "sieve": (2_000_000,), "permutations": (9,), "lru": (500_000,), "two_sums": (20_000, 10),
    "life": (100,), "coins": (200_000,), "windows": (500_000,), "subsets": (15,), "union_find": (200_000,),
    "quick_sorted": (100_000,),
}
RECORD_TEXTS = {"tokenized": "sums", "calculated": "sums"}
RECORD_NUMBERS = {"scheduled": (100_000,), "bank": (200_000,), "inserted": (100_000,), "payroll": (50_000,)}


def workloads(library: ctypes.CDLL) -> dict[str, tuple[Call, Call]]:
    texts, values, records = (hybridc.load(str(HERE / f"{name}.hyb")) for name in ("texts", "values", "records"))
    library.text_new.restype = ctypes.c_void_p
    given = data()
    kept = {name: library.text_new(text.encode(), len(text)) for name, text in given.items()}
    out: dict[str, tuple[Call, Call]] = {}

    def peer(name: str, args: list[object]) -> Call:
        f = library[name]
        f.restype = ctypes.c_double if name == "csv_floats" else ctypes.c_int64
        return lambda: f(*args)

    for mod, table in ((texts, TEXTS), (values, VALUE_TEXTS), (records, RECORD_TEXTS)):
        for name, text in table.items():
            f, native = getattr(mod, name), [mod.native(given[t], "str") for t in text.split(",")]
            out[name] = (lambda f=f, native=native: f(*native),
                         peer(name, [ctypes.c_void_p(kept[t]) for t in text.split(",")]))
    for mod, numbers in ((texts, NUMBERS), (values, VALUE_NUMBERS), (records, RECORD_NUMBERS)):
        for name, args in numbers.items():
            f = getattr(mod, name)
            out[name] = (lambda f=f, args=args: f(*args), peer(name, [ctypes.c_int64(a) for a in args]))
    library.intervals_new.restype = ctypes.c_void_p
    native = values.intervals.native(200_000)
    out["merged"] = (lambda: values.merged(native), peer("merged", [ctypes.c_void_p(library.intervals_new(200_000))]))
    return out


def measured(hyb: Call, peer: Call, rounds: int) -> tuple[float, float, float]:
    """Medians of both in ms, and of the rounds' ratios."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        pair = []
        for run in (hyb, peer):
            start = time.process_time()
            run()
            pair.append(time.process_time() - start)
        times.append((pair[0], pair[1]))
    return (1000 * statistics.median(a for a, _ in times), 1000 * statistics.median(b for _, b in times),
            statistics.median(a / b for a, b in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="programs whose name contains this; several are joined by |")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print("| program | Hyb ms | C++ ms | × C++ |\n| --- | --- | --- | --- |")
    for name, (hyb, peer) in workloads(peers()).items():
        if not any(word in name for word in options.only.split("|")):
            continue
        first, second = hyb(), peer()
        if abs(first - second) > 1e-9 * abs(second):  # type: ignore[operator,arg-type]
            raise SystemExit(f"{name}: Hyb gives {first}, C++ {second}")
        a, b, ratio = measured(hyb, peer, options.rounds)
        print(f"| {name} | {a:.2f} | {b:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
