"""`hybridc explain`."""

from __future__ import annotations

import click

from hybridc.commands.common import ERROR_FORMAT, FILE, ROOT, Failure, for_each
from hybridc.explaining import explain as explained


@click.command()
@FILE
@click.argument("function", required=False)
@click.option("--target", default="cpu", show_default=True, help="cpu, or a GPU, for what becomes its kernels.")
@ROOT
@ERROR_FORMAT
def explain(file: str, function: str | None, target: str, root: str | None, error_format: str) -> None:
    """What of FILE, or of one FUNCTION of it, runs where: each kernel with its operators, the bytes it moves and its
    arithmetic; which operators are no kernel together, and why; transfers and waits for a GPU;
    and which containers are copied."""

    def work(path: str) -> None:
        try:
            click.echo(explained(path, function, target=target, root=root), nl=False)
        except LookupError as e:
            raise Failure(str(e.args[0])) from None

    for_each([file], work, error_format)
