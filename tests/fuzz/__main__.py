"""The command line of the generators; `python -m tests.fuzz --help`."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from tests.fuzz import campaign, engines, shrink, source
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
@click.option("--subject", default="all", help="all, small, tiny, data, tensors, models, gradients, slopes, woven")
@click.option("--engines", "which", default=",".join(engines.ENGINES), help="also passes, guarded, device, and oracle: the meaning in Python")
@click.option("--variants", default=0, help="one of so many files is also written another way")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="a folder for what fails")
def programs(
    seed: str, count: int, first: int, size: int, seconds: float | None, timeout: float, subject: str, which: str, variants: int,
    out: Path | None,
) -> None:
    """Run random programs on every engine."""
    started = time.monotonic()
    tally = campaign.run(seed, count, size, timeout, out, subject, seconds, first, which=which.split(","), every=variants)
    spent = time.monotonic() - started
    print(f"{tally.cases} programs and {tally.variants} variants, {tally.calls} calls, {tally.faults} faults, {tally.judged} judged by the oracle, {tally.lines} lines in {spent:.0f} s: "
          f"{60 * tally.cases / spent:.0f} programs a minute; {tally.undecided} points undecided; {len(tally.failures)} failures")
    for construct, count in tally.used.most_common():
        print(f"{count:6} {construct}")
    raise SystemExit(bool(tally.failures))


@main.command("source")
@click.option("--seed", default="1")
@click.option("--count", default=10_000)
@click.option("--seconds", default=None, type=float)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="a folder for what fails")
def source_(seed: str, count: int, seconds: float | None, out: Path | None) -> None:
    """Give the compiler hostile text."""
    with tempfile.TemporaryDirectory(prefix="hyb-source-") as folder:
        tally = source.run(seed, count, Path(folder), seconds)
    kinds: dict[str, list[bytes]] = {}
    for w in tally.wrong:
        kinds.setdefault(w.kind, []).append(w.data)
    for i, (kind, found) in enumerate(kinds.items()):
        least = min(found, key=len)
        print(f"{len(found)} times {kind}\n    {least[:300]!r}")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{seed}_{i}.hyb").write_bytes(least)
    print(f"{tally.inputs} inputs, {tally.accepted} accepted, {tally.refused} refused, slowest {tally.slowest:.1f} s, "
          f"{tally.seconds:.0f} s: {60 * tally.inputs / tally.seconds:.0f} a minute; {len(tally.wrong)} wrong")
    raise SystemExit(bool(tally.wrong))


@main.command()
@click.argument("seed")
@click.option("--subject", default="all")
@click.option("--variant", type=int, default=None)
def show(seed: str, subject: str, variant: int | None) -> None:
    """Print the program of a seed."""
    print(case(seed, "k", subject, variant).source)


@main.command()
@click.option("--seed", default="ci")
@click.option("--count", default=3072)
def constructs(seed: str, count: int) -> None:
    """Print in how many small differentiable programs each construct is."""
    used = Counter(name for made in campaign.make(seed, 0, count, "slopes") for name in made.used)
    for name, found in used.most_common():
        print(f"{found:6} {name}")


@main.command("shrink")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--timeout", default=60.0)
@click.option("--seconds", default=300.0, help="how long to try")
def shrink_(file: Path, timeout: float, seconds: float) -> None:
    """Make a failing program small; print it."""
    print(shrink.shrink(file.read_text(), timeout=timeout, seconds=seconds))


if __name__ == "__main__":
    main()
