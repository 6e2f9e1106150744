"""`hybridc check`."""

from __future__ import annotations

import click

from hybridc import checking
from hybridc.base.garbage import searched_seldom
from hybridc.commands.common import ERROR_FORMAT, FILES, ROOT, for_each, warn


@click.command()
@FILES
@ROOT
@ERROR_FORMAT
@searched_seldom()
def check(files: tuple[str, ...], root: str | None, error_format: str) -> None:
    """Report every error in FILES."""
    for_each(files, lambda file: warn(checking.check(file, root), error_format), error_format)
