"""`hybridc build`: NAME.hybx and NAME.pyi beside each other."""

from __future__ import annotations

from pathlib import Path

from hybridc import driver
from hybridc.base.made import write
from hybridc.link.pyi import stub


def write_artifact(
    path: str, output: str | None, *, root: str | None = None, target: str = "cpu"
) -> Path:
    """Compile a file; the path of the artifact. Both files appear whole or not at all."""
    checked = driver.check(path, root)
    core, interface = driver.lower(checked)
    data = driver.artifact(checked, target=target)
    folder = Path(output) if output else Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    target_file = folder / (Path(path).stem + ".hybx")
    write(target_file, data)
    write(target_file.with_suffix(".pyi"), stub(interface, core).encode())
    return target_file
