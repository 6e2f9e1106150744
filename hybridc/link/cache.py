"""Compiled units on disk, found by the content of everything that went into them.

A record, named by what is known before anything is read (the file's path, options, the compiler itself, LLVM,
the processor), lists the files that were read with their digests, the paths where an import was looked for
in vain, and the unit they gave. A unit is used only when every listed file still has that digest, nothing has appeared
where nothing was, and record and unit are whole; whatever else happens (a damaged or missing entry, a full disk, a
read-only home, another process at the same moment) means compiling again. Entries appear by one atomic rename. Beyond
`HYB_CACHE_SIZE` the units that were not used for longest go; when that was is all that a clock is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import hybridc_runtime

import hybridc.grammar as grammar
from hybridc.base import knobs
from hybridc.base.immutable import immutable
from hybridc.base.made import cache_folder, write

PACKAGES = (str(Path(__file__).parent.parent), grammar.__path__[0], hybridc_runtime.__path__[0])
LEFT_BEHIND = 3600
"""Seconds after which a temporary file belongs to a process that has died."""
KEPT = 0.8
"""Of the bound, what stays when it has been passed."""
DAY = 86_400
"""Seconds after which the cache is looked through whatever it holds."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def compiler_digest() -> str:
    """Of the compiler's own sources: another compiler never finds this one's entries."""
    return _COMPILER


def digest_of_sources() -> str:
    """Of the sources as they are now."""
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


_COMPILER = digest_of_sources()
"""As it is imported: the package may be replaced while a process runs, which would keep what it makes as the new one's.
"""


def name_of(parts: Iterable[object]) -> str:
    """The name of a record: the digest of its parts, of the compiler and of Python's version."""
    text = json.dumps([compiler_digest(), sys.version_info[:2], *map(str, parts)])
    return digest(text.encode())


def _record(name: str) -> Path:
    return cache_folder() / "records" / f"{name}.json"


def _unit(name: str) -> Path:
    return cache_folder() / "units" / name


def _text_digest(path: str) -> str:
    """Of a file as the compiler reads it: its text, with line ends of one kind."""
    return digest(Path(path).read_text(encoding="utf-8").encode())


def find(name: str) -> bytes | None:
    """The unit of a record whose files are all unchanged."""
    try:
        check, _, text = _record(name).read_bytes().partition(b"\n")
        if digest(text).encode() != check:
            return None
        record = json.loads(text)
        if any(_text_digest(path) != expected for path, expected in record["files"]):
            return None
        if any(os.path.lexists(path) for path in record["absent"]):
            return None
        data = _unit(record["unit"]).read_bytes()
        if digest(data) != record["unit"]:
            return None
    except (OSError, ValueError):
        return None
    _used(name, record["unit"])
    return data


def _used(name: str, unit: str) -> None:
    """Now."""
    with suppress(OSError):
        os.utime(_record(name))
        os.utime(_unit(unit))


def keep(name: str, files: Sequence[tuple[str, str]], absent: Iterable[str], data: bytes) -> None:
    """Keep a unit made from these files (path and text as read), with nothing at the paths `absent`. A disk that
    refuses costs only the next compile."""
    unit = digest(data)
    record = {
        "files": [(os.path.abspath(path), digest(text.encode())) for path, text in files],
        "absent": [os.path.abspath(path) for path in absent],
        "unit": unit,
    }
    text = json.dumps(record).encode()
    with suppress(OSError):
        write(_unit(unit), data)
        write(_record(name), digest(text).encode() + b"\n" + text)
    with suppress(OSError):
        _grown(len(data) + len(text))


class Objects:
    """Machine code of pieces of programs, by what decides it. A file begins with the digest of what follows."""

    def find(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            check, _, data = path.read_bytes().partition(b"\n")
            if digest(data).encode() != check:
                return None
            os.utime(path)
        except OSError:
            return None
        return data

    def keep(self, made: dict[str, bytes]) -> None:
        with suppress(OSError):
            for name, data in made.items():
                write(self._path(name), digest(data).encode() + b"\n" + data)
            _grown(sum(map(len, made.values())))

    @staticmethod
    def _path(name: str) -> Path:
        return cache_folder() / "objects" / digest(f"{compiler_digest()} {name}".encode())


OBJECTS = Objects()


# ---- its size
@immutable(frozen=True, slots=True)
class Entry:
    """A file of the cache."""

    path: Path
    size: int
    used: float


def entries() -> list[Entry]:
    """All units, records, objects and kernels for GPUs (hybridc/triton/binaries.py), the one that was not used for
    longest first."""
    found = [e for folder in ("units", "records", "objects", "kernels") for e in _files(cache_folder() / folder)]
    return sorted(found, key=lambda e: (e.used, e.path))


def _files(folder: Path) -> Iterator[Entry]:
    with suppress(OSError):
        for file in os.scandir(folder):
            with suppress(OSError):  # another process may have taken it away
                about = file.stat(follow_symlinks=False)
                yield Entry(Path(file.path), about.st_size, about.st_mtime)


def _size() -> Path:
    return cache_folder() / "size"


def _grown(size: int) -> None:
    """So many bytes more are kept. To look through tens of thousands of files takes as long as to compile a small one,
    so the sum stands in a file, and they are looked through where it passes the bound, and once a day: two processes
    that add at once may lose a part of it."""
    place, bound, now = _size(), knobs.cache_size(), int(time.time())
    try:
        total, looked = map(int, place.read_text().split())
    except (OSError, ValueError):
        total, looked = 0, 0
    total += size
    if total > bound or abs(now - looked) > DAY:
        total, looked = _evict(bound), now
    write(place, f"{total} {looked}\n".encode())


def _evict(bound: int) -> int:
    """Take away what dead processes left behind, and beyond the bound what was not used for longest; what is left."""
    now = time.time()
    found = entries()
    for e in [e for e in found if e.path.suffix == ".tmp" and abs(now - e.used) > LEFT_BEHIND]:
        e.path.unlink(missing_ok=True)
        found.remove(e)
    total = sum(e.size for e in found)
    if total <= bound:
        return total
    for e in found:
        if total <= KEPT * bound:
            break
        if e.path.suffix != ".tmp":
            e.path.unlink(missing_ok=True)
            total -= e.size
    return total


def clear() -> tuple[int, int]:
    """Take away every unit, record, object and kernel; how many files, and of how many bytes. Notes of what was built
    here stay (hybridc_runtime/origin.py)."""
    found = entries()
    for e in found:
        e.path.unlink(missing_ok=True)
    _size().unlink(missing_ok=True)
    return len(found), sum(e.size for e in found)
