"""`hybridc build`: NAME.hybx and NAME.pyi beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hybridc_runtime import origin
from hybridc_runtime.artifact import read, read_file

from hybridc import driver, rebuild
from hybridc.base.made import write
from hybridc.checking import Checked
from hybridc.link.pyi import stub


def write_artifact(
    path: str, output: str | None, *, root: str | None = None, target: str = "cpu",
    weights: Mapping[str, str] | None = None, warn: Callable[[Checked], object] = lambda checked: None,
) -> Path:
    """Compile a file, or the Core of an artifact again; the path of the artifact. Both files appear whole or not at
    all. `weights` are files with the values of exported models, by name; `warn` is given the program that was
    checked."""
    if path.endswith(".hybx"):
        built = rebuild.rebuilt(read_file(path), driver.processors_of(target), weights)
    else:
        checked = driver.check(path, root)
        warn(checked)
        built = driver.build(checked, target, weights)
    folder = Path(output) if output else Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    target_file = folder / (Path(path).stem + ".hybx")
    write(target_file, built.data)
    write(target_file.with_suffix(".pyi"), stub(built.interface, built.core).encode())
    origin.remember(read(built.data).digest)
    return target_file
