"""The command line: `hybridc build | run | check | test | explain`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import click

from hybridc import build as builder
from hybridc import driver, loading
from hybridc.base.diagnostic import CompileError
from hybridc_runtime import RuntimeFault

USER_ERRORS = (RuntimeFault, TypeError, KeyboardInterrupt)
STAGES = ["tokens", "ast", "core", "llvm", "asm"]


class Failure(click.ClickException):
    """An error for the user, as it is."""

    def show(self, file: object = None) -> None:
        click.echo(self.message, err=True)


def _errors(e: CompileError) -> Failure:
    n = len(e.diagnostics)
    return Failure(f"{e}\n\n{n} error{'s' if n != 1 else ''}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hybridc")
def main() -> None:
    """Hyb: programs around differentiable layers, compiled."""


ROOT = click.option("--root", type=click.Path(file_okay=False), help="Where imports are looked up besides the file's own folder.")
FILE = click.argument("file", type=click.Path(dir_okay=False))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("-o", "--output", type=click.Path(file_okay=False), help="Folder for what is built; the file's own by default.")
@click.option("--target", default="cpu", show_default=True, help="cpu, or cpu:NAME for a named processor.")
@click.option("--weights", multiple=True, metavar="NAME=FILE", help="Initial weights (safetensors) of an exported model.")
@click.option("--emit", type=click.Choice(STAGES), help="Print a stage instead of building.")
@ROOT
def build(files: tuple[str, ...], output: str | None, target: str, weights: tuple[str, ...], emit: str | None, root: str | None) -> None:
    """Compile each FILE to NAME.hybx and NAME.pyi."""
    failed = False
    for file in files:
        try:
            if emit:
                click.echo(driver.emit(file, emit, root=root, target=target), nl=False)
                continue
            with driver.progress(f"building {file}"):
                builder.build(file, output, root=root, target=target, weights=dict(_pair(w) for w in weights))
        except CompileError as e:
            failed = True
            _errors(e).show()
    if failed:
        sys.exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=FILE, found {text!r}", param_hint="--weights")
    return name, file


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
@ROOT
def check(files: tuple[str, ...], root: str | None) -> None:
    """Report every error in FILES."""
    failed = False
    for file in files:
        try:
            driver.check(file, root=root)
        except CompileError as e:
            failed = True
            _errors(e).show()
    if failed:
        sys.exit(1)


@main.command(context_settings={"ignore_unknown_options": True})
@FILE
@click.argument("function")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@ROOT
def run(file: str, function: str, args: tuple[str, ...], root: str | None) -> None:
    """Call FUNCTION of FILE with ARGS (Python literals) and print its result."""
    values = []
    for text in args:
        try:
            values.append(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            values.append(text)
    try:
        with driver.progress(f"compiling {file}"):
            module = loading.load(file, root=root)
    except CompileError as e:
        raise _errors(e) from None
    target = getattr(module, function, None)
    if not callable(target):
        raise Failure(f"{file} has no function {function}; it has: {', '.join(n for n in dir(module) if not n.startswith('_'))}")
    try:
        result = target(*values)
    except USER_ERRORS as e:
        raise Failure(f"{type(e).__name__}: {e}") from None
    if result is not None:
        click.echo(repr(result))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
@ROOT
def test(files: tuple[str, ...], root: str | None) -> None:
    """Run the `test` blocks of FILES."""
    passed = failed = 0
    for file in files:
        try:
            with driver.progress(f"compiling {file}"):
                tests = loading.tests(file, root=root)
        except CompileError as e:
            _errors(e).show()
            failed += 1
            continue
        for name, call in tests:
            try:
                call()
            except USER_ERRORS as e:
                failed += 1
                click.echo(f"FAIL {Path(file).name}: {name}\n{type(e).__name__}: {e}", err=True)
            else:
                passed += 1
    click.echo(f"{passed} passed, {failed} failed")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
