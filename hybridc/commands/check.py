"""`hybridc check`."""

from __future__ import annotations

import click

from hybridc import checking
from hybridc.commands.common import FILES, ROOT, for_each


@click.command()
@FILES
@ROOT
def check(files: tuple[str, ...], root: str | None) -> None:
    """Report every error in FILES."""
    for_each(files, lambda file: checking.check(file, root))
