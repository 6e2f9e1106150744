"""Whole models beside what one would otherwise write: `python bench/models/run.py [--only WORD] [--write]`.

The peers are C++ (g++ -O3 -march=native), numba, Python with numpy or PyTorch, PyTorch eager and compiled, scipy, LMDB,
and where they are installed JAX with mctx and OpenSpiel (`pip install jax mctx open_spiel`), with the same weights;
what they give is compared before anything is timed. Each round times every contender once, in another order, after a
pause and a call that is not timed; the table has medians, the ratio of Hyb's to the peer's named first, and lines of
code. One thread, by the time that the processor gave; two where a row says so, by the clock: those are measured by
`--threads 2`, in a process of its own. `--write` puts the rows that were measured in the place of those of the same
name in docs/benchmarks.md, and the plot of all beside it (`pip install matplotlib`).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
HEAD = ["| model | Hyb ms | beside it, ms | ratio (aim) | lines of code |", "| --- | --- | --- | --- | --- |"]


def bounded(threads: int) -> None:
    """Libraries count their threads when they are imported."""
    os.environ["HYB_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the groups whose name contains this")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    bounded(options.threads)
    import torch
    import workloads
    from measuring import measure

    torch.set_num_threads(options.threads)
    rows = []
    print("\n".join(HEAD))
    for group in workloads.ALL:
        if options.only in group.__name__:
            for w in group(options.threads):
                clock = time.process_time if options.threads == 1 else time.perf_counter
                rows.append(measure(w, clock))
                print(rows[-1].markdown(), flush=True)
    if options.write:
        begin, end = (f"<!-- models, {options.threads}: {word} -->\n" for word in ("begin", "end"))
        page = PAGE.read_text()
        before, (table, after) = page.split(begin)[0], page.split(begin)[1].split(end)
        lines = {line.split("|")[1].strip(): line for line in table.splitlines()[len(HEAD) :]}
        lines |= {r.name: r.markdown() for r in rows}
        PAGE.write_text(before + begin + "\n".join([*HEAD, *lines.values()]) + "\n" + end + after)
        import plot

        plot.draw(PAGE, PAGE.with_name("models.svg"))


if __name__ == "__main__":
    main()
