"""`hybridc fmt`."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import click

from hybridc.base.diagnostic import CompileError
from hybridc.base.made import write
from hybridc.base.source import Source
from hybridc.commands.common import ERROR_FORMAT, Failure, cause, for_each
from hybridc.fmt import FormatError, format_source
from hybridc.front.parse.modules import not_utf8


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file would change.")
@ERROR_FORMAT
def fmt(files: tuple[str, ...], check: bool, error_format: str) -> None:
    """Write FILES in one style, in place; of a folder every .hyb in it, of - standard input to standard output."""
    changed: list[str] = []

    def work(file: str) -> None:
        name = "<stdin>" if file == "-" else file
        text = _read(file, name)
        try:
            found = format_source(Source(name, text))
        except FormatError as e:
            raise Failure(str(e)) from None
        if found != text:
            changed.append(file)
        if file == "-" and not check:
            sys.stdout.buffer.write(found.encode())
        elif found != text:
            if check:
                click.echo(f"{file} is not formatted", err=True)
            else:
                _write(file, found)

    for_each([f for name in files for f in _files(name)], work, error_format)
    if check and changed:
        sys.exit(1)


def _files(name: str) -> list[str]:
    return sorted(map(str, Path(name).rglob("*.hyb"))) if Path(name).is_dir() else [name]


def _read(file: str, name: str) -> str:
    """The text with its line ends as they are."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except UnicodeDecodeError as e:
        diagnostic, source = not_utf8(name, e)
        raise CompileError([diagnostic], {name: source}) from None
    except OSError as e:
        raise Failure(cause(file, e)) from None


def _write(file: str, text: str) -> None:
    """In place of the file, also where a link leads to it; who may read or run it stays."""
    try:
        path = Path(file).resolve()
        write(path, text.encode(), stat.S_IMODE(path.stat().st_mode))
    except OSError as e:
        raise Failure(cause(file, e)) from None
