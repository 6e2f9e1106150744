"""`hybridc train`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from hybridc_runtime import RuntimeFault
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hybridc.base.diagnostic import CompileError
from hybridc.commands.common import FILE, ROOT, Failure, progress, rendered, shown
from hybridc.expressions import Unusable
from hybridc.training.run import NotFinite, Report, Training

BETWEEN = 2.0
"""Seconds between lines where there is no terminal."""


@click.command()
@FILE
@click.argument("function")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--calls", default=100, show_default=True, help="How often FUNCTION is called, all runs together.")
@click.option("--seed", default=0, show_default=True, help="Of models and generators that are made.")
@click.option("-o", "--output", type=click.Path(file_okay=False), help="Folder of checkpoint, weights and loss curve; "
              "FILE's name with .train by default.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between checkpoints.")
@click.option("--fresh", is_flag=True, help="Start again, whatever checkpoint there is.")
@ROOT
def train(
    file: str, function: str, arguments: tuple[str, ...], calls: int, seed: int, output: str | None, every: float,
    fresh: bool, root: str | None,
) -> None:
    """Call the training function FUNCTION of FILE, which gives a loss (and a number of items), again and again.

    Its `mut` arguments go on from call to call, and from run to run: a run that was stopped or killed goes on where its
    checkpoint is. VALUE is a literal, a call of something in FILE, as in m=Net(64), or data, @x.npy, @data.npz:x,
    @data.json. A generator, a model of the only exported or the default configuration and a struct of defaults need not
    be said; parameters `step` and `epoch` count the calls.
    """
    given = dict(a.partition("=")[::2] for a in arguments)
    wrong = next((a for a in arguments if "=" not in a), None)
    if wrong is not None:
        raise Failure(f"{wrong!r} is not NAME=VALUE")
    folder = Path(output) if output else Path(file).with_suffix(".train")
    try:
        with progress(f"compiling {file}"):
            training = Training(file, function, given, calls=calls, seed=seed, folder=folder, seconds=every, root=root,
                                fresh=fresh)
    except CompileError as e:
        raise rendered(e) from None
    except (Unusable, OSError, ValueError, TypeError, RuntimeFault) as e:
        raise Failure(str(e) if isinstance(e, Unusable) else shown(e)) from None
    start = len(training.losses)
    if training.changed:
        click.echo("the program has changed since the checkpoint", err=True)
    if start:
        click.echo(f"going on after call {start}", err=True)
    try:
        with Display(calls, start) as display:
            training.run(display)
    except KeyboardInterrupt:
        click.echo(f"stopped after call {len(training.losses)}; the same command goes on from there", err=True)
        sys.exit(130)
    except NotFinite as e:
        raise Failure(f"{e}; the last checkpoint is from before it. HYB_TRAP_NAN=1 says where it comes from") from None
    except (Unusable, RuntimeFault, TypeError, ValueError, OSError) as e:
        raise Failure(str(e) if isinstance(e, Unusable) else shown(e)) from None
    last = f", loss {training.losses[-1]:.6g}" if training.losses else ""
    click.echo(f"{len(training.losses)} calls{last}; {folder}")


class Display:
    """A progress bar on a terminal, else a line now and then."""

    def __init__(self, calls: int, start: int):
        self.calls, self.start, self.began = calls, start, time.monotonic()
        self.items = 0
        self.said = 0.0
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("loss {task.fields[loss]}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[speed]} items/s"), TimeRemainingColumn(), console=Console(stderr=True))
            self.task = self.bar.add_task("", total=calls, completed=start, loss="", speed="")

    def __enter__(self) -> Display:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, r: Report) -> None:
        now = time.monotonic()
        self.items += r.items
        taken = max(now - self.began, 1e-9)
        speed, loss = f"{self.items / taken:.4g}", f"{r.loss:.6g}"
        if self.bar is not None:
            self.bar.update(self.task, completed=r.done, loss=loss, speed=speed)
        elif now - self.said > BETWEEN or r.done == self.calls:
            self.said = now
            left = taken / (r.done - self.start) * (self.calls - r.done)
            click.echo(f"call {r.done}/{self.calls}  loss {loss}  {speed} items/s  {left:.0f} s left", err=True)
