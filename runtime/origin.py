"""Which artifacts were built on this machine: native code of any other origin loads only on the caller's word.

`hybridc build` leaves a file of the artifact's digest in the user's cache, so whoever can write there is trusted, as
with everything that is compiled ahead. One that was built from the Core of another artifact has that one's origin: its
code may be run, since it was made here with all checks, but its Core is still a stranger's.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir

NOTES = 10_000
"""How many are kept."""
OWN = b"own"


def _folder() -> Path:
    return Path(os.environ.get("HYB_CACHE_DIR") or user_cache_dir("hyb")) / "built"


def known(digest: str) -> bool:
    """Was an artifact of this digest built here?"""
    return (_folder() / digest).is_file()


def foreign(digest: str) -> bool:
    """May somebody else have made its Core?"""
    try:
        return (_folder() / digest).read_bytes() != OWN
    except OSError:
        return True


def remember(digest: str, foreign: bool = False) -> None:
    """An artifact of this digest was built here, of Core that may be `foreign`. Where that cannot be kept, it will be
    compiled from its Core."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / digest).write_bytes(b"foreign" if foreign else OWN)
        notes = sorted(os.scandir(_folder()), key=lambda e: e.stat().st_mtime)
        for old in notes[:-NOTES]:
            os.unlink(old)
    except OSError:
        return
