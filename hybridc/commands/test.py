"""`hybridc test`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hybridc import loading
from hybridc.base.diagnostic import CompileError
from hybridc.commands.common import FILES, ROOT, USER_ERRORS, Failure, cause, plain_warnings, progress, rendered, shown


@click.command()
@FILES
@ROOT
def test(files: tuple[str, ...], root: str | None) -> None:
    """Run the `test` blocks of FILES."""
    passed = failed = 0
    for file in files:
        try:
            with progress(f"compiling {file}"), plain_warnings():
                tests = loading.tests(file, root=root)
        except CompileError as e:
            rendered(e).show()
            failed += 1
            continue
        except (OSError, ValueError) as e:  # an extern that nobody supplies
            Failure(cause(file, e)).show()
            failed += 1
            continue
        for name, call in tests:
            try:
                call()
            except USER_ERRORS as e:
                failed += 1
                click.echo(f"FAIL {Path(file).name}: {name}\n{shown(e)}", err=True)
            else:
                passed += 1
    click.echo(f"{passed} passed, {failed} failed")
    if failed:
        sys.exit(1)
