"""`hybridc run`."""

from __future__ import annotations

import inspect
from itertools import zip_longest

import click
from hybridc_runtime import rng

from hybridc import loading
from hybridc.base.diagnostic import CompileError
from hybridc.commands.common import (
    FILE,
    ROOT,
    USER_ERRORS,
    Failure,
    Interrupted,
    cause,
    plain_warnings,
    progress,
    rendered,
    shown,
)
from hybridc.expressions import value_or_text


@click.command(context_settings={"ignore_unknown_options": True})
@FILE
@click.argument("function")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@ROOT
def run(file: str, function: str, args: tuple[str, ...], root: str | None) -> None:
    """Call FUNCTION of FILE with ARGS and print its result. Each is a literal of Python or Hyb, or a call of what FILE
    has, as in `Point(1, 2)`, or of `rng`; other text is a str."""
    try:
        with progress(f"compiling {file}"), plain_warnings():
            module = loading.load(file, root=root)
    except CompileError as e:
        raise rendered(e) from None
    except (OSError, ValueError) as e:  # an artifact that cannot be read, an extern that nobody supplies
        raise Failure(cause(file, e)) from None
    target = None if function.startswith("__") else getattr(module, function, None)
    if not callable(target):
        own = {n: v for n, v in vars(module).items() if not n.startswith("_") and v is not rng}
        names = ", ".join(n for n, v in own.items() if callable(v))
        raise Failure(f"{file} has no function {function}; it has {names or 'none'}")
    try:
        signature = inspect.signature(target)
        types = [str(p.annotation) for p in signature.parameters.values()]
        result = target(*(value_or_text(module, text, wanted) for text, wanted in zip_longest(args, types[:len(args)])))
    except USER_ERRORS as e:
        raise Failure(shown(e)) from None
    except KeyboardInterrupt as e:
        raise Interrupted(shown(e)) from None
    if result is not None or signature.return_annotation != "None":
        click.echo(repr(result))
