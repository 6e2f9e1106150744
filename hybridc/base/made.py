"""Files made from the package's own sources: the parser's tables and the checked standard library.

They are kept in the package's folder `made/` where that can be written (an installation makes them once, see
`python -m hybridc.std`), else in the user's cache. Names hold a digest of what a file was made from, so a stale one is
never found.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_dir

from hybridc.base import knobs

PACKAGE = Path(__file__).resolve().parent.parent / "made"


def cache_folder() -> Path:
    """The user's cache."""
    return Path(knobs.cache_dir() or user_cache_dir("hyb"))


def find(name: str) -> Path | None:
    """Where a made file is."""
    return next((path for folder in (PACKAGE, cache_folder()) if (path := folder / name).is_file()), None)


def keep(name: str, data: bytes) -> None:
    """Keep a made file in the first folder that takes it; a machine where none does makes it again."""
    for folder in (PACKAGE, cache_folder()):
        try:
            write(folder / name, data)
            for old in folder.glob(f"{name.partition('-')[0]}-*"):
                if old.name != name:
                    old.unlink()
        except OSError:
            continue
        return


def write(path: Path, data: bytes, mode: int | None = None) -> None:
    """All of the data or nothing, by one rename; who may read it as `mode` or as the user's umask says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        if mode is None:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
