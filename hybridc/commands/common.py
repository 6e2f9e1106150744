"""What the commands share: options, errors for the user, and a sign of life."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click
from hybridc_runtime import RuntimeFault
from hybridc_runtime.faults import chain

from hybridc.base.diagnostic import CompileError, Diagnostic, record, render
from hybridc.base.source import NOWHERE
from hybridc.base.targets import UnknownTarget

if TYPE_CHECKING:
    from hybridc.checking import Checked

FILE = click.argument("file", type=click.Path(dir_okay=False))
FILES = click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
ROOT = click.option(
    "--root", type=click.Path(file_okay=False), help="Where imports are looked up besides the file's own folder."
)
ERROR_FORMAT = click.option(
    "--error-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How errors are written on stderr: for people, or one JSON object a line.",
)
USER_ERRORS = (RuntimeFault, TypeError, ValueError, OSError)
"""What a program can end with that is not the compiler's doing."""


class Failure(click.ClickException):
    """An error for the user, as it is."""

    def show(self, file: object = None) -> None:
        click.echo(self.message, err=True)


class Interrupted(Failure):
    """Ctrl-C; the exit code is as shells have it."""

    exit_code = 130


def rendered(e: CompileError) -> Failure:
    """All errors of a compilation and their number."""
    n = len(e.diagnostics)
    return Failure(f"{e}\n\n{n} error{'s' if n != 1 else ''}")


def as_json(e: CompileError) -> str:
    """All errors of a compilation, one JSON object a line."""
    return "\n".join(json.dumps(record(d, e.sources)) for d in e.diagnostics)


def warn(checked: Checked, error_format: str = "text") -> None:
    """What the checker has to say of a program that is right."""
    for d in checked.warnings:
        text = render(d, checked.sources) if error_format == "text" else json.dumps(record(d, checked.sources))
        click.echo(text, err=True)


def shown(e: BaseException) -> str:
    """A fault as a program's user sees it: the chain of calls in `.hyb` files, then what happened."""
    return "\n".join(filter(None, [chain(e), f"{type(e).__name__}: {e}"]))


def cause(file: str, e: OSError | ValueError) -> str:
    """Why a file cannot be read, loaded or written; what a fault of the system says without its name twice."""
    text = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
    return text if text.startswith(f"{file}: ") else f"{file}: {text}"


def for_each(files: Iterable[str], work: Callable[[str], object], error_format: str = "text") -> None:
    """Do something with each file; errors of one do not keep the others. Ends with exit code 1 if there were any, and
    with 2 at once where the command line asks for a target that does not exist."""
    failed = False
    for file in files:
        try:
            work(file)
        except CompileError as e:
            failed = True
            if error_format == "json":
                click.echo(as_json(e), err=True)
            else:
                rendered(e).show()
            if isinstance(e, UnknownTarget):
                sys.exit(2)
        except Interrupted:
            raise
        except Failure as e:
            failed = True
            if error_format == "json":
                click.echo(json.dumps(record(Diagnostic("", e.message, NOWHERE), {}) | {"code": None}), err=True)
            else:
                e.show()
    if failed:
        sys.exit(1)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """A warning is its text alone: where in this package it was raised is nothing to a user."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_args, **_kwargs: click.echo(str(message), err=True)
        yield


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """A sign of life on a terminal, once the work has taken a second."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def show() -> None:
        signs = itertools.cycle("-\\|/")
        wait = 1.0
        while not done.wait(wait):
            click.echo(f"\r{next(signs)} {text}", nl=False, err=True)
            wait = 0.1
        if wait < 1:
            click.echo("\r\x1b[K", nl=False, err=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
