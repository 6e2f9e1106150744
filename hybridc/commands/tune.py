"""`hybridc tune`."""

from __future__ import annotations

import click
from hybridc_runtime.cuda import Cuda
from hybridc_runtime.hip import Hip

from hybridc.commands.common import ERROR_FORMAT, FILE, ROOT, Failure, for_each
from hybridc.tuning import target_of
from hybridc.tuning import tune as tuned


@click.command()
@FILE
@click.option("--size", default=256, show_default=True, help="Taken for sizes that are known only at run time.")
@ROOT
@ERROR_FORMAT
def tune(file: str, size: int, root: str | None, error_format: str) -> None:
    """Run every kernel of FILE on this machine's GPU with several schedules, and keep the fastest of each in the cache,
    where `hybridc build` finds it."""

    def work(path: str) -> None:
        reasons = []
        for kind in (Cuda, Hip):
            try:
                target_of(kind)
                break
            except (OSError, ValueError) as e:
                reasons.append(str(e))
        else:
            raise Failure("nothing is measured: " + "; ".join(reasons))
        for o in tuned(path, kind, root=root, size=size):
            schedule = ", ".join(f"{n}={v}" for n, v in o.best.constants.items())
            click.echo(f"{o.kernel}: {o.seconds * 1e6:.1f} µs with {schedule}, {o.best.warps} warps, {o.best.stages} "
                       f"stages; {o.before * 1e6:.1f} before, {o.tried} tried")

    for_each([file], work, error_format)
