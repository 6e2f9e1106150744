"""`hybridc build`: NAME.hybx and NAME.pyi beside each other; for C NAME.h and libNAME.so; for make and ninja what they
were made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridc_runtime import origin
from hybridc_runtime.artifact import read, read_file

from hybridc import c_library, driver, rebuild
from hybridc.base.garbage import searched_seldom
from hybridc.base.made import write
from hybridc.checking import Checked
from hybridc.link.pyi import stub


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
    program that was checked.

    Raises:
        CompileError: errors of the program. OSError, ValueError: what cannot be read or written.
        c_library.NoLibrary: why there is none.
    """
    if path.endswith(".hybx"):
        cpus, gpus = driver.processors_of(target), driver.gpus_of(target)
        given = read_file(path)
        foreign = origin.foreign(given.digest)
        built, sources = rebuild.rebuilt(given, cpus, weights, gpus, guarded=foreign), [path]
    else:
        foreign, checked = False, driver.check(path, root)
        warn(checked)
        built, sources = driver.build(checked, target, weights), [p for p in checked.sources if p[:1] != "<"]
    folder = Path(output) if output else Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    artifact = folder / (Path(path).stem + ".hybx")
    write(artifact, built.data)
    write(artifact.with_suffix(".pyi"), stub(built.interface, built.core).encode())
    contents = read(built.data)
    origin.remember(contents.digest, foreign)
    files = [artifact, artifact.with_suffix(".pyi")]
    if c_header:
        files += c_library.write_library(contents, artifact)
    return Written(files, [*sources, *(weights or {}).values()])


def write_depfile(path: str, made: Sequence[Written]) -> None:
    """A rule for what was made from each file, as `cc -MD -MP` writes them; OSError if it cannot be written. A source
    that is no longer there is no error for make: each is a target too."""
    rules = [f"{_names(map(str, w.files))}: {_names(w.sources)}" for w in made]
    sources = dict.fromkeys(s for w in made for s in w.sources[1:])
    write(Path(path), "\n".join([*rules, *(f"{_names([s])}:" for s in sources), ""]).encode())


def _names(paths: Iterable[str]) -> str:
    return " ".join(re.sub(r"([ \t#\\])", r"\\\1", p).replace("$", "$$") for p in paths)
