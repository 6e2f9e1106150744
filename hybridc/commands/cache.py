"""`hybridc cache`."""

from __future__ import annotations

import click

from hybridc.base import knobs
from hybridc.base.made import cache_folder
from hybridc.commands.common import Failure
from hybridc.link import cache as store


@click.group()
def cache() -> None:
    """What has been compiled, kept for the next time."""


@cache.command()
def info() -> None:
    """Where the cache is, how large, and how large it may become (HYB_CACHE_SIZE)."""
    found = store.entries()
    units = [e for e in found if e.path.parent.name == "units"]
    click.echo(f"folder {cache_folder()}")
    click.echo(f"units  {len(units)}")
    click.echo(f"bytes  {sum(e.size for e in found)} of at most {knobs.cache_size()}")


@cache.command()
def clear() -> None:
    """Take away everything in it; programs are compiled again when they are loaded."""
    try:
        count, size = store.clear()
    except OSError as e:
        raise Failure(f"{cache_folder()}: {e.strerror or e}") from None
    click.echo(f"{count} files, {size} bytes")
