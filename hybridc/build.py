"""`hybridc build`: NAME.hybx and NAME.pyi beside each other; for C NAME.h and libNAME.so; for make and ninja what they
were made from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridc_runtime import origin
from hybridc_runtime.artifact import processor, read, read_file

from hybridc import c_library, driver, rebuild
from hybridc.base import knobs
from hybridc.base.garbage import searched_seldom
from hybridc.base.made import write
from hybridc.base.source import texts
from hybridc.checking import Checked
from hybridc.link import cache, resident
from hybridc.link.artifact import compiler
from hybridc.link.pyi import stub

END = b"\0"
"""Of the stub, which comes first in the cache."""


@dataclass
class Written:
    """What was made, the artifact first, and the files it was made from."""

    files: list[Path]
    sources: list[str]


def write_artifact(
    path: str, output: str | None, *, root: str | None = None, target: str = "cpu",
    weights: Mapping[str, str] | None = None,
) -> Path:
    """The artifact of a file, written; its path."""
    return write_all(path, output, root=root, target=target, weights=weights).files[0]


@searched_seldom()
def write_all(
    path: str, output: str | None, *, root: str | None = None, target: str = "cpu",
    weights: Mapping[str, str] | None = None, c_header: bool = False,
    warn: Callable[[Checked], object] = lambda checked: None,
) -> Written:
    """Compile a file, or the Core of an artifact again. Each file appears whole or not at all. `weights` are
    files with the values of exported models, by name; `c_header` asks for the library for C; `warn` is given the
    program that was checked. What was built before of the same sources in the same way is taken from the cache, if
    there was nothing to warn of; not with weights, whose files are read anew, nor for GPUs, for which tuning decides
    too.

    Raises:
        CompileError: errors of the program. OSError, ValueError: what cannot be read or written.
        c_library.NoLibrary: why there is none.
    """
    if path.endswith(".hybx"):
        cpus, gpus = driver.processors_of(target), driver.gpus_of(target)
        given = read_file(path)
        foreign = origin.foreign(given.digest)
        built, sources = rebuild.rebuilt(given, cpus, weights, gpus, guarded=foreign), [path]
        made, typed = built.data, stub(built.interface, built.core).encode()
    else:
        keeps = not weights and not driver.gpus_of(target)
        name = _name(path, root, target)
        found = cache.find(name) if keeps else None
        if found is None and keeps and resident.asked("build", path, root, target) is not None:
            found = cache.find(name)
        if found is None:
            found = _compiled(path, root, target, weights, name if keeps else None, warn)
        typed, _, made = found.partition(END)
        foreign, sources = False, [p for p, _ in read(made).sources]
    folder = Path(output) if output else Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    artifact = folder / (Path(path).stem + ".hybx")
    write(artifact, made)
    write(artifact.with_suffix(".pyi"), typed)
    contents = read(made)
    origin.remember(contents.digest, foreign)
    files = [artifact, artifact.with_suffix(".pyi")]
    if c_header:
        files += c_library.write_library(contents, artifact)
    return Written(files, [*sources, *(weights or {}).values()])


def keep(path: str, root: str | None, target: str) -> list[str]:
    """Build into the cache, for another process to find. What is to be warned of is not kept, so there is nothing that
    its user would have to be told."""
    _compiled(path, root, target, None, _name(path, root, target), lambda checked: None)
    return []


def _compiled(
    path: str, root: str | None, target: str, weights: Mapping[str, str] | None, name: str | None,
    warn: Callable[[Checked], object],
) -> bytes:
    """A stub and an artifact, as the cache has them; kept under a name if there is nothing to warn of."""
    checked = driver.check(path, root)
    warn(checked)
    built = driver.build(checked, target, weights)
    made = stub(built.interface, built.core).encode() + END + built.data
    if name is not None and not checked.warnings:
        cache.keep(name, texts(checked.sources), checked.absent, made)
    return made


def _name(path: str, root: str | None, target: str) -> str:
    """In the cache, of what is built of a file. Paths stand in it as they are given."""
    places = path, os.path.abspath(path), root, None if root is None else os.path.abspath(root)
    return cache.name_of(("built", *places, target, *knobs.of_code(), processor(), compiler()))


def write_depfile(path: str, made: Sequence[Written]) -> None:
    """A rule for what was made from each file, as `cc -MD -MP` writes them; OSError if it cannot be written. A source
    that is no longer there is no error for make: each is a target too."""
    rules = [f"{_names(map(str, w.files))}: {_names(w.sources)}" for w in made]
    sources = dict.fromkeys(s for w in made for s in w.sources[1:])
    write(Path(path), "\n".join([*rules, *(f"{_names([s])}:" for s in sources), ""]).encode())


def _names(paths: Iterable[str]) -> str:
    return " ".join(re.sub(r"([ \t#\\])", r"\\\1", p).replace("$", "$$") for p in paths)
