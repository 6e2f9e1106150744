"""`hybridc build`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hybridc import driver
from hybridc.base.targets import KNOWN
from hybridc.build import Written, write_all, write_depfile
from hybridc.c_library import NoLibrary
from hybridc.commands.common import ERROR_FORMAT, FILES, ROOT, Failure, cause, for_each, progress, warn


@click.command()
@FILES
@click.option(
    "-o", "--output", type=click.Path(file_okay=False), help="Folder for what is built; the file's own by default."
)
@click.option(
    "--target", default="cpu", show_default=True,
    help=f"What to make code for, with commas between: {KNOWN} (NAME is a processor by LLVM's name).",
)
@click.option(
    "--weights", multiple=True, metavar="NAME=FILE",
    help="A safetensors file with the values of the model that is exported as NAME; may be given for several models.",
)
@click.option(
    "--emit", type=click.Choice(driver.STAGES),
    help="Print a stage instead of building: the text as tokens, the syntax tree, Core after its passes, what each"
    " tensor kernel computes, the host's LLVM code and assembly, the GPU kernels as Triton, and those as machine code"
    f" (PTX, for AMD's GPUs GCN; without a GPU among the targets, for {driver.EXAMPLE_GPU}).",
)
@click.option(
    "--c-header", is_flag=True,
    help="Also NAME.h and libNAME.so, for callers from C, by the system's C compiler ($CC, else cc).",
)
@click.option(
    "--depfile", type=click.Path(dir_okay=False),
    help="Write a rule that says which files were read for what was made, for make and ninja.",
)
@ROOT
@ERROR_FORMAT
def build(
    files: tuple[str, ...], output: str | None, target: str, weights: tuple[str, ...], emit: str | None,
    c_header: bool, depfile: str | None, root: str | None, error_format: str,
) -> None:
    """Compile each FILE to NAME.hybx and NAME.pyi."""
    values = _weights(weights)
    if values and (emit or len(files) > 1):
        raise click.UsageError("--weights goes with one FILE, which is built")
    if values and c_header:
        raise click.UsageError("--weights is for the artifact; a library for C reads values with NAME_load")
    if not emit:
        _apart(files, output)
    made: list[Written] = []

    def work(file: str) -> None:
        if emit:
            click.echo(driver.emit(file, emit, root=root, target=target), nl=False)
            return
        try:
            with progress(f"building {file}"):
                made.append(write_all(file, output, root=root, target=target, weights=values, c_header=c_header,
                                      warn=lambda c: warn(c, error_format)))
        except (OSError, ValueError) as e:  # an artifact that cannot be read, a folder that cannot be written
            raise Failure(cause(file, e)) from None
        except NoLibrary as e:
            raise Failure(str(e)) from None

    for_each(files, work, error_format)
    if depfile:
        try:
            write_depfile(depfile, made)
        except OSError as e:
            raise Failure(cause(depfile, e)) from None


def _apart(files: tuple[str, ...], output: str | None) -> None:
    """No two of the files may become one artifact."""
    made: dict[str, str] = {}
    for file in files:
        path = os.path.join(output or os.path.dirname(file), f"{Path(file).stem}.hybx")
        other = made.setdefault(os.path.realpath(path), file)
        if os.path.realpath(other) != os.path.realpath(file):
            raise click.UsageError(f"{other} and {file} would both be {path}: build them into different folders")


def _weights(given: tuple[str, ...]) -> dict[str, str]:
    """Name -> file."""
    found: dict[str, str] = {}
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file:
            raise click.UsageError(f"--weights takes NAME=FILE, not {text!r}")
        if name in found:
            raise click.UsageError(f"--weights is given twice for {name}")
        found[name] = file
    return found
