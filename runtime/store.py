"""Stores: maps on disk, over LMDB. What a process has written and not committed is kept in memory above the file.

The file holds three tables: `data` (key -> number, value), `order` (number -> key), whose numbers grow so that keys
come in the order in which they were first put, and `meta` (the version, the schemas, the next number). A key is its
encoding, or the digest of one too long for LMDB.

One process writes a file: the one that has the lock on it (flock). A variable or model that opens a store takes the
lock if nobody has it, and else at its first write, when the others' variables have ended; it keeps it to its end. Who
opens the file from Python has the lock from the first write to the commit. Within a process all share one `Store`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

from hybridc_runtime import encoding, faults

MAP_SIZE = 1 << 36
READERS = 512
LOCK_SIZE = 64 * READERS + 128
"""LMDB's table of readers, and its head."""
MAGIC_AT, MAGIC = 16, b"\xde\xc0\xef\xbe"
"""How LMDB's files begin."""
LONGEST_KEY = 500
VERSION = b"1"
"""Of how a file holds a store, in `meta`."""
PATIENCE = 10.0
"""Seconds to wait for another process that is writing."""
_NUMBER = struct.Struct(">Q")
NEW = bytes(8) + b"\1"
"""What a record in memory has before the value: room for its number in the order, and a byte that says nothing."""
HEAD = len(NEW)


def _trouble(message: str) -> BaseException:
    return faults.make("OSError", message)


@contextmanager
def _lmdb_errors(path: str) -> Iterator[None]:
    import lmdb

    try:
        yield
    except lmdb.Error as e:
        raise _told(path, e) from None


def _told(path: str, e: BaseException) -> BaseException:
    """Trouble of LMDB's as an exception of the program's."""
    return _trouble(f"store {path}: {str(e).removeprefix(f'{path}: ')}")


def _reserve(path: str) -> None:
    """Room for LMDB's table of readers, which it maps: a disk that is full when it is written ends the process."""
    try:
        with suppress(FileNotFoundError), open(path, "rb") as f:
            head = f.read(MAGIC_AT + len(MAGIC))
            if head and head[MAGIC_AT:] != MAGIC:
                return  # what else it is, LMDB says
        fd = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return  # LMDB says what is wrong, or does without on a disk that is not written
    try:
        os.posix_fallocate(fd, 0, LOCK_SIZE)
    except OSError as e:
        raise _trouble(f"store {path}: {e.strerror}") from None
    finally:
        os.close(fd)


Written = tuple[tuple[int, bytes] | None, bytes | None, bool]
"""How a key stands in an overlay: new (with its place in their order), changed, removed."""


class Overlay:
    """Writes that are not committed, as records: keys that are new (or put again after a removal), changed,
    and removed."""

    __slots__ = ("new", "changed", "removed", "next")

    def __init__(self) -> None:
        self.new: dict[bytes, tuple[int, bytes]] = {}
        """With the number of each in the order of their coming."""
        self.changed: dict[bytes, bytes] = {}
        self.removed: set[bytes] = set()
        self.next = 0

    def add(self, key: bytes, value: bytes) -> None:
        """A new key, or another value of one."""
        before = self.new.get(key)
        if before is None:
            self.next += 1
        self.new[key] = (self.next if before is None else before[0], value)

    def ordered(self) -> list[bytes]:
        """The new keys in their order, which is not the dictionary's once a removal was undone."""
        return sorted(self.new, key=lambda key: self.new[key][0])

    def written(self, key: bytes) -> Written:
        return self.new.get(key), self.changed.get(key), key in self.removed

    def restore(self, key: bytes, as_it_was: Written) -> None:
        new, changed, removed = as_it_was
        self.new.pop(key, None)
        self.changed.pop(key, None)
        self.removed.discard(key)
        if new is not None:
            self.new[key] = new
        if changed is not None:
            self.changed[key] = changed
        if removed:
            self.removed.add(key)

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)


class Store:
    """One file, open once in a process however many variables hold it."""

    def __init__(self, path: str):
        self.path = path
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise _trouble(f"store {path}: there is no folder {folder}")
        if os.path.isdir(path):
            raise _trouble(f"store {path}: it is a folder")
        self._open_file()
        self.overlay = Overlay()
        self.before: dict[int, dict[bytes, Written]] = {}
        """By call in progress that has written: how each key stood that it wrote. (A copy of the overlay would cost
        every call what all before it have written.)"""
        self.holders = 0
        self.owners = 0
        """Of the holders those that are variables and models of compiled code."""
        self.schemas: str | None = None
        self.lock = threading.RLock()
        self.writer: int | None = None

    def _open_file(self) -> None:
        import lmdb

        _reserve(self.path)
        self.trouble = lmdb.Error
        with _lmdb_errors(self.path):
            self.env = lmdb.open(
                self.path, subdir=False, max_dbs=4, map_size=MAP_SIZE, max_readers=READERS, metasync=True)
            self.data, self.order, self.meta = (self.env.open_db(name) for name in (b"data", b"order", b"meta"))

    def forked(self) -> None:
        """In a child process: what was written and not committed is the parent's, and so is the lock."""
        if self.writer is not None:
            os.close(self.writer)  # the parent's descriptor keeps the lock
            self.writer = None
        self.lock = threading.RLock()
        self.overlay = Overlay()
        self.before = {}
        self.env.close()
        self._open_file()

    # ---- schemas
    def read_schemas(self) -> str | None:
        with _lmdb_errors(self.path), self.env.begin(self.meta) as txn:
            version, found = txn.get(b"version"), txn.get(b"schema")
            if version not in (None, VERSION):
                other, this = bytes(version).decode("utf-8", "replace"), VERSION.decode()
                raise _trouble(f"store {self.path} is of version {other}, and this hybridc reads version {this}")
            return None if found is None else bytes(found).decode()

    def agree(self, text: str) -> None:
        """The types of keys and values, which must be those the file was made with."""
        known = self.schemas or self.read_schemas()
        if known is not None and known != text:
            found, wanted = (encoding.shown_store(json.loads(s)) for s in (known, text))
            other = ", another of these names" if found == wanted else ""
            raise _trouble(f"store {self.path} is a {found}{other}, opened as {wanted}")
        self.schemas = text

    # ---- reading
    def _key(self, key: bytes) -> bytes:
        return b"=" + key if len(key) < LONGEST_KEY else b"#" + hashlib.sha256(key).digest()

    def _base(self, key: bytes, looked_at: bool = False) -> Any:
        """The record in the file, or None; one that is only `looked_at` is not copied, and not to be read."""
        try:
            with self.env.begin(self.data, buffers=looked_at) as txn:  # type: ignore[call-overload]
                return txn.get(self._key(key))
        except self.trouble as e:  # without `_lmdb_errors`, which takes as long as all this
            raise _told(self.path, e) from None

    def damaged(self) -> BaseException:
        return _trouble(f"store {self.path} is damaged: it holds bytes that are of no value of its type")

    def get(self, key: bytes) -> bytes | None:
        """The key's record: HEAD bytes, then the value's."""
        with self.lock:
            o = self.overlay
            new = o.new.get(key)
            if new is not None:
                return new[1]
            changed = o.changed.get(key)
            if changed is not None or key in o.removed:
                return changed
            return self._base(key)  # type: ignore[no-any-return]

    def has(self, key: bytes) -> bool:
        with self.lock:
            o = self.overlay
            return key in o.new or key in o.changed or key not in o.removed and self._base(key, True) is not None

    def __len__(self) -> int:
        with self.lock, _lmdb_errors(self.path), self.env.begin() as txn:
            return txn.stat(self.data)["entries"] - len(self.overlay.removed) + len(self.overlay.new)

    def keys(self) -> list[bytes]:
        with self.lock, _lmdb_errors(self.path), self.env.begin() as txn:
            removed = self.overlay.removed
            base = [bytes(key) for _, key in txn.cursor(self.order)]
            return [k for k in base if k not in removed] + self.overlay.ordered()

    # ---- writing
    def _begin_write(self, call: int, key: bytes) -> None:
        if self.writer is None:
            self._lock_file()
        if call:
            written = self.before.setdefault(call, {})
            if key not in written:
                written[key] = self.overlay.written(key)

    def put(self, key: bytes, record: bytes, call: int = 0) -> None:
        """`record`: NEW, then the value."""
        with self.lock:
            self._begin_write(call, key)
            o = self.overlay
            if key in o.changed or key not in o.new and key not in o.removed and self._base(key, True) is not None:
                o.changed[key] = record
            else:
                o.add(key, record)

    def remove(self, key: bytes, call: int = 0) -> bool:
        with self.lock:
            o = self.overlay
            if not self.has(key):
                return False
            self._begin_write(call, key)
            if key in o.new:
                del o.new[key]
            else:
                o.changed.pop(key, None)
                o.removed.add(key)
            return True

    def commit(self) -> None:
        """All writes, or none, on disk when it returns."""
        import lmdb

        with self.lock:
            while self.overlay:
                try:
                    with _lmdb_errors(self.path):
                        self._write()
                except faults.RuntimeFault as e:
                    if "MDB_MAP_FULL" not in str(e):
                        raise
                    try:
                        self.env.set_mapsize(2 * self.env.info()["map_size"])
                    except lmdb.Error as error:
                        raise _trouble(f"store {self.path}: {error}") from None
                else:
                    break
            self.overlay = Overlay()
            for call in self.before:
                self.before[call] = {}
            self._unlock_unless_owned()

    def _write(self) -> None:
        o = self.overlay
        with self.env.begin(write=True) as txn:
            txn.put(b"version", VERSION, db=self.meta)
            if self.schemas is not None:
                txn.put(b"schema", self.schemas.encode(), db=self.meta)
            last = txn.get(b"next", db=self.meta)
            number = 0 if last is None else _NUMBER.unpack(last)[0]
            for key in o.removed:
                old = txn.pop(self._key(key), db=self.data)
                if old is not None:
                    txn.delete(bytes(old)[:8], db=self.order)
            for key, record in o.changed.items():
                old = txn.get(self._key(key), db=self.data)
                if old is not None:
                    txn.put(self._key(key), bytes(old)[:8] + record[8:], db=self.data)
            for key in o.ordered():
                place = _NUMBER.pack(number)
                number += 1
                txn.put(self._key(key), place + o.new[key][1][8:], db=self.data)
                txn.put(place, key, db=self.order)
            txn.put(b"next", _NUMBER.pack(number), db=self.meta)

    def hand_over(self, part: int, call: int) -> None:
        """What was written in a part of a call (by a thread of a parallel loop) ends with the call."""
        with self.lock:
            before = self.before.pop(part, {})
            self.before[call] = before | self.before.get(call, {})

    def end_call(self, call: int, failed: bool) -> None:
        with self.lock:
            before = self.before.pop(call, None)
            if failed and before is not None:
                for key, as_it_was in before.items():
                    self.overlay.restore(key, as_it_was)
                self._unlock_unless_owned()

    # ---- one writing process
    def own(self) -> None:
        """A variable or model of compiled code opened it."""
        with self.lock:
            self.owners += 1
            if self.writer is None:
                self._try_lock()

    def disown(self) -> None:
        with self.lock:
            self.owners -= 1
            self._unlock_unless_owned()

    def _try_lock(self) -> bool:
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self.writer = fd
        return True

    def _lock_file(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.writer is None and not self._try_lock():
            if time.monotonic() > deadline:
                raise _trouble(f"store {self.path}: another process holds it for writing")
            time.sleep(0.005)

    def _unlock_unless_owned(self) -> None:
        if not self.owners and not self.overlay:
            self._unlock_file()

    def _unlock_file(self) -> None:
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None


# ---- open stores
_stores: dict[str, Store] = {}
_lock = threading.RLock()
holds: dict[int, Store] = {}
"""By the handle of the block that compiled code holds."""


def acquire(path: str) -> Store:
    if "\0" in path:
        raise _trouble(f"store {path!r}: no path has a null character")
    key = os.path.realpath(path)
    with _lock:
        found = _stores.get(key)
        if found is None:
            found = _stores[key] = Store(key)
        found.holders += 1
        return found


def release(store: Store) -> None:
    """The last to let go drops what was not committed."""
    with _lock:
        store.holders -= 1
        if store.holders == 0:
            _stores.pop(store.path, None)
            store._unlock_file()
            store.env.close()


def let_go(handle: int) -> None:
    """Compiled code let go of a store's block."""
    store = holds.pop(handle)
    store.disown()
    release(store)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for store in _stores.values():
        store.forked()


os.register_at_fork(after_in_child=_after_fork)


# ---- from Python
class OpenStore(MutableMapping):  # type: ignore[type-arg]
    """A store's file as a dictionary. Writes last from `commit()` on; closing drops what was not committed."""

    def __init__(self, path: str | os.PathLike[str]):
        path = os.fspath(path)
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no store {path}")
        self._store: Store | None = acquire(path)
        text = self._store.schemas or self._store.read_schemas()
        if text is None:
            self.close()
            raise _trouble(f"store {path}: nothing was ever committed to it")
        self._key, self._value = json.loads(text)
        self._keys, self._values = encoding.Maker(self._key), encoding.Maker(self._value)

    def _open(self) -> Store:
        if self._store is None:
            raise ValueError("the store is closed")
        return self._store

    def __getitem__(self, key: Any) -> Any:
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return self._decoded(self._value, found[HEAD:], self._values)

    def _decoded(self, schema: dict[str, Any], data: bytes, maker: encoding.Maker) -> Any:
        try:
            return encoding.decode(schema, data, maker)
        except encoding.Damaged:
            raise self._open().damaged() from None

    def _find(self, key: Any) -> bytes | None:
        try:
            data = encoding.encode(self._key, key)
        except ValueError:
            return None
        return self._open().get(data)

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def __setitem__(self, key: Any, value: Any) -> None:
        self._open().put(encoding.encode(self._key, key), NEW + encoding.encode(self._value, value))

    def __delitem__(self, key: Any) -> None:
        if not self._open().remove(encoding.encode(self._key, key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter([self._decoded(self._key, k, self._keys) for k in self._open().keys()])

    def __len__(self) -> int:
        return len(self._open())

    def commit(self) -> None:
        """Make all writes durable, all or none."""
        self._open().commit()

    def close(self) -> None:
        if self._store is not None:
            release(self._store)
            self._store = None

    def __enter__(self) -> OpenStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_store", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return f"<store {self._store.path if self._store else 'closed'}>"


def open_store(path: str | os.PathLike[str]) -> OpenStore:
    """Open a store that a Hyb program made."""
    return OpenStore(path)
