"""`hybridc build`."""

from __future__ import annotations

import click

from hybridc import driver
from hybridc.build import write_artifact
from hybridc.commands.common import ERROR_FORMAT, FILES, ROOT, Failure, for_each, progress, warn


@click.command()
@FILES
@click.option(
    "-o", "--output", type=click.Path(file_okay=False), help="Folder for what is built; the file's own by default."
)
@click.option("--target", default="cpu", show_default=True, help="cpu, or cpu:NAME for a named processor.")
@click.option("--emit", type=click.Choice(driver.STAGES), help="Print a stage instead of building.")
@ROOT
@ERROR_FORMAT
def build(
    files: tuple[str, ...], output: str | None, target: str, emit: str | None, root: str | None, error_format: str
) -> None:
    """Compile each FILE to NAME.hybx and NAME.pyi."""

    def work(file: str) -> None:
        if emit:
            click.echo(driver.emit(file, emit, root=root, target=target), nl=False)
            return
        try:
            with progress(f"building {file}"):
                write_artifact(file, output, root=root, target=target, warn=lambda c: warn(c, error_format))
        except (OSError, ValueError) as e:  # an artifact that cannot be read, a folder that cannot be written
            raise Failure(f"{file}: {e}") from None

    for_each(files, work, error_format)
