"""`hybridc build`: NAME.hybx and NAME.pyi beside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hybridc import driver
from hybridc.base.made import write
from hybridc.checking import Checked
from hybridc.link.pyi import stub


def write_artifact(
    path: str, output: str | None, *, root: str | None = None, target: str = "cpu",
    warn: Callable[[Checked], object] = lambda checked: None,
) -> Path:
    """Compile a file; the path of the artifact. Both files appear whole or not at all. `warn` is given the program that
    was checked."""
    checked = driver.check(path, root)
    warn(checked)
    core, interface = driver.lower(checked)
    data = driver.artifact(checked, target=target)
    folder = Path(output) if output else Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    target_file = folder / (Path(path).stem + ".hybx")
    write(target_file, data)
    write(target_file.with_suffix(".pyi"), stub(interface, core).encode())
    return target_file
