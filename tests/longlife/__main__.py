"""The long forms; `python -m tests.longlife --help`."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

import click

from tests.longlife import living

AMOUNTS = {"calls": 1_000_000, "threads": 60.0, "forks": 200, "interrupts": 1000, "modules": 1000}


@click.group()
def main() -> None:
    """Whether a process can live long with compiled code."""


@main.command("live")
@click.argument("what", type=click.Choice(["all", *AMOUNTS]))
@click.option("--amount", default=None, type=float, help="how many, or how many seconds")
def live(what: str, amount: float | None) -> None:
    """Calls, threads, forks, interrupts, modules."""
    for name in AMOUNTS if what == "all" else [what]:
        with tempfile.TemporaryDirectory(prefix="hyb-long-") as folder:
            n = AMOUNTS[name] if amount is None else amount
            print(living.apart(name, Path(folder), n if name == "threads" else int(n), 7200), flush=True)


@main.command("inject")
@click.option("--faults", default=10_000)
@click.option("--seed", default="long")
@click.option("--most", default=60, help="in one call")
def inject_(faults: int, seed: str, most: int) -> None:
    """Every allocation and every access of a store to its file fails, one at a time."""
    from tests.longlife import injecting

    os.environ["HYB_DEPTH"] = "400"
    allocations, report, i = injecting.Allocations(), injecting.Report(), 0
    with tempfile.TemporaryDirectory(prefix="hyb-inject-") as folder, contextlib.chdir(folder):
        while report.allocations + report.accesses < faults:
            with contextlib.redirect_stdout(io.StringIO()):
                injecting.inject(Path(folder), allocations, f"{seed}{i}", 12, most, "small" if i % 2 else "all", report)
            i += 1
    for line in report.wrong:
        print(line)
    print(f"{report.allocations} allocations and {report.accesses} accesses failed in {report.programs} programs, "
          f"{report.seconds:.0f} s: {len(report.wrong)} wrong")
    raise SystemExit(bool(report.wrong))


if __name__ == "__main__":
    main()
