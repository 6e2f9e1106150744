"""Which artifacts were built on this machine: native code of any other origin loads only on the caller's word.

`hybridc build` leaves a file of the artifact's digest in the user's cache, so whoever can write there is trusted, as
with everything that is compiled ahead.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir

NOTES = 10_000
"""How many are kept."""


def _folder() -> Path:
    return Path(os.environ.get("HYB_CACHE_DIR") or user_cache_dir("hyb")) / "built"


def known(digest: str) -> bool:
    """Was an artifact of this digest built here?"""
    return (_folder() / digest).is_file()


def remember(digest: str) -> None:
    """An artifact of this digest was built here. Where that cannot be kept, it will be compiled from its Core."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / digest).touch()
        notes = sorted(os.scandir(_folder()), key=lambda e: e.stat().st_mtime)
        for old in notes[:-NOTES]:
            os.unlink(old)
    except OSError:
        return
