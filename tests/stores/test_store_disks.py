"""What a store's file may meet: a killed writer, a full disk, other types, another version, a second writer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hybridc_runtime import store as stores

import hybridc

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.stores import crashes  # noqa: E402

SOURCE = '''
fn put(path: str, first: int, count: int, size: int) -> int:
    """Commits one number after the other, each with much data."""
    var mem = store[int, list[int]](path)
    for n in range(first, first + count):
        mem[n] = [n for i in range(size)]
        mem.commit()
    return len(mem)

fn whole(path: str) -> int:
    """How many are there, from 0 on, each with all its data; -1 if one is torn."""
    var mem = store[int, list[int]](path)
    for n, data in mem.items():
        if [x for x in data if x != n] != []:
            return -1
    return len(mem)

fn pending(path: str, n: int) -> int:
    var mem = store[int, list[int]](path)
    mem[n] = [n]
    return len(mem)

fn named(path: str) -> int:
    var mem = store[str, list[int]](path)
    return len(mem)
'''


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("stores") / "disks.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_killed_writers(tmp_path: Path) -> None:
    report = crashes.torment(tmp_path, 150, 7, burst=20)
    assert report.commits >= 150 and report.kills >= 3 and report.looks > 0


def test_a_full_disk(mod, small_disk: Path) -> None:
    path, filler = str(small_disk / "memory"), small_disk / "filler"
    assert mod.put(path, 0, 3, 500) == 3
    filler.write_bytes(b"x" * 500_000)
    with pytest.raises(OSError, match="No space left on device|MDB"):
        mod.put(path, 3, 1000, 2000)
    there = mod.whole(path)
    assert 3 <= there < 1003  # what was committed, whole
    with pytest.raises(OSError):
        mod.put(path, there, 1, 500_000)
    assert mod.whole(path) == there
    filler.unlink()
    assert mod.put(path, there, 2, 500) == there + 2 == mod.whole(path)


def test_a_disk_that_is_full_from_the_start(mod, small_disk: Path) -> None:
    with open(small_disk / "filler", "wb", buffering=0) as f:
        try:
            while f.write(b"x" * 65536):
                pass
        except OSError:
            pass
    with pytest.raises(OSError, match="store .*memory"):
        mod.put(str(small_disk / "memory"), 0, 1, 10)
    (small_disk / "filler").unlink()
    assert mod.put(str(small_disk / "memory"), 0, 1, 10) == 1


def test_a_disk_that_may_only_be_read(mod, small_disk: Path) -> None:
    path = str(small_disk / "memory")
    mod.put(path, 0, 1, 10)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="store .*memory.*Read-only"):
        mod.put(path, 1, 1, 10)


def test_what_was_not_committed_is_gone(mod, tmp_path: Path) -> None:
    path = str(tmp_path / "memory")
    mod.put(path, 0, 1, 1)
    assert mod.pending(path, 1) == 2 and mod.whole(path) == 1


def test_another_version(mod, tmp_path: Path) -> None:
    """A later Hyb may keep its stores another way; this one must not touch them."""
    path = str(tmp_path / "memory")
    mod.put(path, 0, 1, 1)
    with lmdb.open(path, subdir=False, max_dbs=4) as env, env.begin(write=True) as txn:
        assert txn.get(b"version", db=env.open_db(b"meta", txn)) == b"1"
        txn.put(b"version", b"7", db=env.open_db(b"meta", txn))
    before = Path(path).read_bytes()
    message = f"store {path} is of version 7, and this hybridc reads version 1"
    with pytest.raises(OSError, match=message):
        mod.put(path, 1, 1, 1)
    with pytest.raises(OSError, match=message):
        hybridc.open_store(path)
    assert Path(path).read_bytes() == before


def test_other_types(mod, tmp_path: Path) -> None:
    path = str(tmp_path / "memory")
    mod.put(path, 0, 1, 1)
    with pytest.raises(OSError, match=r"is a store\[int, list\[int\]\], opened as store\[str, list\[int\]\]"):
        mod.named(path)
    assert mod.whole(path) == 1


def test_a_file_that_is_no_store(mod, tmp_path: Path) -> None:
    for name, data in (("text", b"hello\n" * 1000), ("zeros", bytes(100_000))):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(OSError, match=f"store {path}"):
            mod.put(str(path), 0, 1, 1)
        assert path.read_bytes() == data


def test_a_second_writer(mod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "memory")
    mod.put(path, 0, 1, 1)
    monkeypatch.setattr(stores, "PATIENCE", 0.2)
    holder = "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\nfcntl.flock(fd, fcntl.LOCK_EX)\nprint(1, flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        assert p.stdout is not None and p.stdout.readline() == b"1\n"
        with pytest.raises(OSError, match="another process holds it for writing"):
            mod.put(path, 1, 1, 1)
        assert mod.whole(path) == 1
        assert p.stdin is not None
        p.stdin.close()
    assert mod.put(path, 1, 1, 1) == 2
    assert os.path.exists(path)
