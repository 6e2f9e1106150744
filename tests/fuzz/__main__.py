"""The command line of the generators; `python -m tests.fuzz --help`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tests.fuzz import campaign, shrink
from tests.fuzz.program import case


@click.group()
def main() -> None:
    """Random programs and hostile text."""


@main.command()
@click.option("--seed", default="1", help="another seed, other programs")
@click.option("--count", default=1000, help="how many programs")
@click.option("--first", default=0, help="the number of the first")
@click.option("--size", default=30, help="programs in a file")
@click.option("--seconds", default=None, type=float, help="stop after these")
@click.option("--timeout", default=240.0, help="seconds for one file")
@click.option("--subject", default="all")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="a folder for what fails")
def programs(seed: str, count: int, first: int, size: int, seconds: float | None, timeout: float, subject: str, out: Path | None) -> None:
    """Run random programs on every engine."""
    started = time.monotonic()
    tally = campaign.run(seed, count, size, timeout, out, subject, seconds, first)
    spent = time.monotonic() - started
    print(f"{tally.cases} programs, {tally.calls} calls, {tally.faults} faults, {tally.lines} lines in {spent:.0f} s: "
          f"{60 * tally.cases / spent:.0f} programs a minute; {len(tally.failures)} failures")
    raise SystemExit(bool(tally.failures))


@main.command()
@click.argument("seed")
@click.option("--subject", default="all")
@click.option("--variant", type=int, default=None)
def show(seed: str, subject: str, variant: int | None) -> None:
    """Print the program of a seed."""
    print(case(seed, "k", subject, variant).source)


@main.command("shrink")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--timeout", default=60.0)
@click.option("--seconds", default=300.0, help="how long to try")
def shrink_(file: Path, timeout: float, seconds: float) -> None:
    """Make a failing program small; print it."""
    print(shrink.shrink(file.read_text(), timeout=timeout, seconds=seconds))


if __name__ == "__main__":
    main()
