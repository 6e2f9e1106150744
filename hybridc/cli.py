"""The command line: `hybridc build | cache | check | explain | fmt | run | serve | test | train | tune`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from hybridc.base.garbage import searched_seldom

COMMANDS = ["build", "cache", "check", "explain", "fmt", "run", "serve", "test", "train", "tune"]


class Lazy(click.Group):
    """Imports a command when it is asked for: `check` needs no code generator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return COMMANDS

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        with searched_seldom():
            return getattr(import_module(f"hybridc.commands.{name}"), name)  # type: ignore[no-any-return]

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is no failure of the command: 130, where click has 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # One that went through text run by `exec`, as of a dataclass, counts for Python as handled by nobody until
            # the next such text: `python -m` would end by SIGINT itself.
            exec("")  # noqa: S102
            click.echo("interrupted", err=True)
            ctx.exit(130)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hybridc")
def main() -> None:
    """Hyb: programs around differentiable layers, compiled."""
