"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile


def write_whole(path: str | os.PathLike[str], data: bytes, *, lasting: bool = False) -> None:
    """Write a file by one rename, which what else reads it sees before or after; `lasting`: through any crash."""
    target = os.fspath(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(target)), prefix=".", suffix=".tmp")
    except OSError as e:
        raise type(e)(e.errno, e.strerror, target) from None  # not the name of a file that nobody asked for
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            if lasting:
                f.flush()
                os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:  # also of a signal's: the file that was begun goes, and what was raised goes on
        os.unlink(temporary)
        raise
