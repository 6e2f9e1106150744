"""`hybridc serve`."""

from __future__ import annotations

import os
import sys

import click

from hybridc import build, loading
from hybridc.commands.common import Failure
from hybridc.link import resident


@click.command()
def serve() -> None:
    """Stay, and compile for other processes of yours until Ctrl-C.

    While it runs, `hybridc.load` and `hybridc build` of any process with the same cache let it do what they do not find
    there. It remembers what it compiled, so that after an edit only what the edit changes is compiled again.
    """
    try:
        with resident.listening() as listener:
            click.echo(f"serving at {resident.socket()}; Ctrl-C ends it")
            resident.serve(listener, {"load": loading.keep, "build": build.keep}, _told)
    except resident.Busy:
        raise Failure(f"there is one already, at {resident.socket()}") from None
    except resident.Stale:
        os.execv(sys.executable, [sys.executable, "-m", "hybridc", "serve"])  # noqa: S606
    except KeyboardInterrupt:
        click.echo("")
    except OSError as e:
        raise Failure(f"{resident.socket()}: {e.strerror or e}; HYB_CACHE_DIR names another folder") from None


def _told(request: resident.Request, seconds: float) -> None:
    click.echo(f"{request.given[0]}: {seconds:.2f} s")
