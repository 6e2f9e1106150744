"""Compiled units on disk, found by the content of everything that went into them.

A record, named by what is known before anything is read (the file's path, options, the compiler itself, the processor),
lists the files that were read with their digests and the unit they gave. A unit is used only when every listed file has
still that digest and the unit its own; whatever else happens (a damaged or missing entry, a full disk, a read-only
home) means compiling again. Entries appear by one atomic rename.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import hybridc_runtime

import hybridc.grammar as grammar
from hybridc.base.made import cache_folder, write

PACKAGES = (str(Path(__file__).parent.parent), grammar.__path__[0], hybridc_runtime.__path__[0])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.cache
def compiler_digest() -> str:
    """Of the compiler's own sources: another compiler never finds this one's entries."""
    state = hashlib.sha256()
    for root in PACKAGES:
        for path in _sources(root):
            with open(path, "rb") as f:
                state.update(path[len(root):].encode() + b"\0" + f.read() + b"\0")
    return state.hexdigest()


def _sources(root: str) -> list[str]:
    """Files that a package was written as, without what was made from them; in an order of its own."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("made", "__pycache__")]
        found += [os.path.join(folder, n) for n in names if n.endswith((".py", ".hyb", ".lark"))]
    return sorted(found)


def name_of(parts: Iterable[object]) -> str:
    """The name of a record: the digest of its parts and of the compiler."""
    text = json.dumps([compiler_digest(), *map(str, parts)])
    return digest(text.encode())


def find(name: str) -> bytes | None:
    """The unit of a record whose files are all unchanged."""
    try:
        record = json.loads((cache_folder() / "records" / f"{name}.json").read_text())
        for path, expected in record["files"]:
            if digest(Path(path).read_bytes()) != expected:
                return None
        data = (cache_folder() / "units" / record["unit"]).read_bytes()
        return data if digest(data) == record["unit"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(name: str, files: Sequence[tuple[str, bytes]], data: bytes) -> None:
    """Keep a unit made from these files (path and content as read). A disk that refuses costs only the next compile."""
    unit = digest(data)
    record = {"files": [(os.path.abspath(path), digest(content)) for path, content in files], "unit": unit}
    try:
        write(cache_folder() / "units" / unit, data)
        write(cache_folder() / "records" / f"{name}.json", json.dumps(record).encode())
    except OSError:
        return
