"""`hybridc explain`."""

from __future__ import annotations

from pathlib import Path

import click

from hybridc.base.made import write
from hybridc.commands.common import ERROR_FORMAT, FILE, ROOT, Failure, cause, for_each
from hybridc.explaining import explain as explained
from hybridc.explaining import explain_page


@click.command()
@FILE
@click.argument("function", required=False)
@click.option("--target", default="cpu", show_default=True, help="cpu, or a GPU, for what becomes its kernels.")
@click.option("--html", is_flag=True, help="Write one HTML page that needs no other file and no network.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Where to write, instead of to stdout.")
@ROOT
@ERROR_FORMAT
def explain(
    file: str, function: str | None, target: str, html: bool, output: str | None, root: str | None, error_format: str
) -> None:
    """What of FILE, or of one FUNCTION of it, runs where: each kernel with its operators, the bytes it moves and its
    arithmetic; which operators are no kernel together, and why; transfers and waits for a GPU; sizes that are compared
    when it runs; and which containers are copied."""

    def work(path: str) -> None:
        try:
            text = (explain_page if html else explained)(path, function, target=target, root=root)
        except LookupError as e:
            raise Failure(str(e.args[0])) from None
        if output is None:
            click.echo(text, nl=False)
        else:
            try:
                write(Path(output), text.encode())
            except OSError as e:
                raise Failure(cause(output, e)) from None

    for_each([file], work, error_format)
