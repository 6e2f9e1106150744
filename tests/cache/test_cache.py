"""The cache never gives a wrong result: whatever happens to it, at worst a program is compiled again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hybridc
from hybridc import driver
from hybridc.link import cache

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were compiled."""
    done: list[str] = []
    real = driver.artifact

    def counted(checked: driver.Checked, **options: object) -> bytes:
        done.append(checked.path)
        return real(checked, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "artifact", counted)
    return done


def source(value: int) -> str:
    return f"fn f() -> int:\n    return {value}\n"


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name in ("units", "records"))


# ---- the key
def test_what_did_not_change_is_found(tmp_path: Path, compiles: list[str]) -> None:
    path = tmp_path / "a.hyb"
    path.write_bytes(source(1).replace("\n", "\r\n").encode())
    for _ in range(3):
        assert hybridc.load(path).f() == 1
    assert len(compiles) == 1
    path.write_text(source(1))  # other line ends are the same text
    assert hybridc.load(path).f() == 1 and len(compiles) == 1
    path.write_text(source(2))
    assert hybridc.load(path).f() == 2 and len(compiles) == 2
    path.write_text(source(1))
    os.utime(path, (0, 0))
    assert hybridc.load(path).f() == 1


def test_imports(tmp_path: Path, compiles: list[str]) -> None:
    (tmp_path / "lib").mkdir()
    main, part, deep = tmp_path / "main.hyb", tmp_path / "part.hyb", tmp_path / "deep.hyb"
    main.write_text("from part import g\n\nfn f() -> int:\n    return g()\n")
    part.write_text("from deep import h\n\nfn g() -> int:\n    return h()\n")
    for value in (1, 2, 3):
        deep.write_text(f"fn h() -> int:\n    return {value}\n")
        assert hybridc.load(main).f() == value
    assert len(compiles) == 3
    assert hybridc.load(main).f() == 3 and len(compiles) == 3
    deep.unlink()
    with pytest.raises(hybridc.CompileError):
        hybridc.load(main)


def test_a_file_that_appears_goes_first(tmp_path: Path) -> None:
    """An import is looked up beside the file and then in the root."""
    (tmp_path / "sub").mkdir()
    main = tmp_path / "sub" / "main.hyb"
    main.write_text("from part import g\n\nfn f() -> int:\n    return g()\n")
    (tmp_path / "part.hyb").write_text("fn g() -> int:\n    return 1\n")
    assert hybridc.load(main, root=str(tmp_path)).f() == 1
    (tmp_path / "sub" / "part.hyb").write_text("fn g() -> int:\n    return 2\n")
    assert hybridc.load(main, root=str(tmp_path)).f() == 2
    (tmp_path / "sub" / "part.hyb").unlink()
    assert hybridc.load(main, root=str(tmp_path)).f() == 1


def test_a_file_of_a_standard_name_appears(tmp_path: Path) -> None:
    main = tmp_path / "main.hyb"
    main.write_text("from graphs import bfs\n\nfn f() -> int:\n    return 1\n")
    assert hybridc.load(main).f() == 1
    (tmp_path / "graphs.hyb").write_text("fn bfs() -> int:\n    return 2\n")
    with pytest.raises(hybridc.CompileError, match="HYB205"):
        hybridc.load(main)


@pytest.mark.parametrize("what", ["compiler", "option", "processor", "path"])
def test_other_circumstances(what: str, tmp_path: Path, compiles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.hyb"
    path.write_text(source(1))
    assert hybridc.load(path).f() == 1
    if what == "compiler":
        monkeypatch.setattr(cache, "compiler_digest", lambda: "another")
    elif what == "option":
        monkeypatch.setenv("HYB_OPT", "1")
    elif what == "processor":
        monkeypatch.setattr("hybridc.loading.processor", lambda: "another")
    else:
        monkeypatch.chdir(tmp_path)
        path = Path("a.hyb")
    assert hybridc.load(path).f() == 1
    assert len(compiles) == 2


def test_a_compiler_that_is_replaced_while_a_process_runs() -> None:
    """What the process makes is the old compiler's: it is not kept as the new one's."""
    code = "from hybridc.link import cache; cache.PACKAGES = (); print(cache.compiler_digest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cache.compiler_digest()


# ---- damage
def test_every_damage(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.hyb"
    path.write_text(source(7))
    assert hybridc.load(path).f() == 7
    g = random.Random(0)
    for victim in files(folder):
        good = victim.read_bytes()
        changes = [b"", good[: len(good) // 2], good + b"x", b"\xff" * len(good), b"[]\n[]", b"null"]
        for _ in range(3):
            changed = bytearray(good)
            changed[g.randrange(len(good))] ^= 1 << g.randrange(8)
            changes.append(bytes(changed))
        for change in changes:
            victim.write_bytes(change)
            assert hybridc.load(path).f() == 7
            assert victim.read_bytes() == good  # made again
        victim.unlink()
        assert hybridc.load(path).f() == 7
        victim.unlink()
        victim.mkdir()
        assert hybridc.load(path).f() == 7
        victim.rmdir()


def test_a_unit_of_another_program(tmp_path: Path, folder: Path) -> None:
    one, two = tmp_path / "one.hyb", tmp_path / "two.hyb"
    one.write_text(source(1))
    two.write_text(source(2))
    hybridc.load(one)
    [unit] = (folder / "units").iterdir()
    hybridc.load(two)
    other = next(u for u in (folder / "units").iterdir() if u != unit)
    shutil.copy(other, unit)
    assert hybridc.load(one).f() == 1


# ---- disks
@pytest.mark.parametrize("kind", ["a file", "no permission", "dangling link", "proc"])
def test_a_cache_that_cannot_be_written(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    if kind == "a file":
        place.write_text("")
    elif kind == "no permission":
        place.mkdir(mode=0o555)
        if os.access(place, os.W_OK):
            pytest.skip("root may write everywhere")
    elif kind == "dangling link":
        place.symlink_to(tmp_path / "nowhere" / "at all")
    else:
        place = Path("/proc/self")
    monkeypatch.setenv("HYB_CACHE_DIR", str(place / "cache" if kind != "dangling link" else place))
    path = tmp_path / "a.hyb"
    for value in (1, 2):
        path.write_text(source(value))
        assert hybridc.load(path).f() == value
    built = subprocess.run([sys.executable, "-m", "hybridc", "build", "a.hyb"], cwd=tmp_path, capture_output=True, timeout=120)
    assert built.returncode == 0
    assert hybridc.load(tmp_path / "a.hybx").f() == 2  # its origin could not be noted, so it is compiled again


LOAD = """
import resource, sys
import hybridc
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print(hybridc.load(sys.argv[1]).f())
"""


def test_a_full_disk(tmp_path: Path, folder: Path) -> None:
    """Writes that end in the middle."""
    path = tmp_path / "a.hyb"
    for limit in (1, 100, 1000, 10_000):
        path.write_text(source(limit))
        done = subprocess.run([sys.executable, "-c", LOAD, path, str(limit)], capture_output=True, text=True, timeout=120)
        assert done.stdout == f"{limit}\n", done.stderr
        assert not [p for p in folder.rglob("*.tmp")]
        assert hybridc.load(path).f() == limit


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 64 KiB, where the cache is."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    monkeypatch.setenv("HYB_CACHE_DIR", str(place / "cache"))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_without_room(tmp_path: Path, disk: Path) -> None:
    path = tmp_path / "a.hyb"
    for room in (0, 1, 4096, 20_000):
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as f, suppress(OSError):
            while f.write(b"x" * 512):
                pass
        os.truncate(filler, max(filler.stat().st_size - room, 0))
        path.write_text(source(room))
        for _ in range(2):
            assert hybridc.load(path).f() == room
        assert not [p for p in disk.rglob("*.tmp")]
        filler.unlink()
    assert hybridc.load(path).f() == 20_000


def test_a_disk_that_may_only_be_read(tmp_path: Path, disk: Path, compiles: list[str]) -> None:
    """What is in the cache is used; what is not is compiled, every time."""
    path, other = tmp_path / "a.hyb", tmp_path / "b.hyb"
    path.write_text(source(1))
    other.write_text(source(2))
    assert hybridc.load(path).f() == 1
    kept = bool(files(disk / "cache"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert hybridc.load(path).f() == 1 and hybridc.load(other).f() == 2 and hybridc.load(other).f() == 2
    assert len(compiles) == (3 if kept else 4)


# ---- processes
def test_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.hyb"
    path.write_text(source(5))
    running = [subprocess.Popen([sys.executable, "-c", LOAD, path, "0"], stdout=subprocess.PIPE) for _ in range(4)]
    assert [p.communicate(timeout=200)[0] for p in running] == [b"5\n"] * 4


CHANGING = """
import sys
import hybridc
from pathlib import Path
path = Path(sys.argv[1])
for value in range(10_000):
    path.write_text(f"fn f() -> int:\\n    return {value}\\n")
    assert hybridc.load(path).f() == value
    print(value, flush=True)
"""


@pytest.mark.parametrize("seed", range(3 if os.environ.get("HYB_SLOW") else 1))
def test_killed_at_any_moment(seed: int, tmp_path: Path, folder: Path) -> None:
    g = random.Random(seed)
    path = tmp_path / "a.hyb"
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", CHANGING, path], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline()
        time.sleep(g.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        text = path.read_text()
        if text.endswith("\n"):
            assert hybridc.load(path).f() == int(text.split()[-1])
        for value in (0, 1, 2):
            path.write_text(source(value))
            assert hybridc.load(path).f() == value


def test_while_it_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "a.hyb"
    process = subprocess.Popen([sys.executable, "-c", CHANGING, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(10):
        process.stdout.readline()
        cache.clear()
    process.kill()
    _, errors = process.communicate(timeout=60)
    assert errors == ""


# ---- size and clocks
def _fill(count: int, size: int) -> None:
    for i in range(count):
        cache.keep(f"{i:064}", [], [], bytes([i]) * size)
        for e in cache.entries():
            if e.path.name == cache.digest(bytes([i]) * size) or e.path.stem == f"{i:064}":
                os.utime(e.path, (1000 + i, 1000 + i))


def test_what_was_not_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_CACHE_SIZE", "100000")
    _fill(9, 10_000)
    assert all(cache.find(f"{i:064}") for i in range(9))
    for i in range(9):
        os.utime(cache.cache_folder() / "units" / cache.digest(bytes([i]) * 10_000), (1000 + i, 1000 + i))
        os.utime(cache.cache_folder() / "records" / f"{i:064}.json", (1000 + i, 1000 + i))
    assert cache.find(f"{0:064}")  # used now
    cache.keep("f" * 64, [], [], b"z" * 15_000)
    assert sum(e.size for e in cache.entries()) <= 80_000
    assert cache.find("f" * 64) and cache.find(f"{0:064}") and cache.find(f"{8:064}")
    assert cache.find(f"{1:064}") is None


def test_it_is_looked_through_seldom(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """At first, where its sum is damaged, beyond its bound, and a day later."""
    looked: list[int] = []
    entries = cache.entries
    monkeypatch.setattr(cache, "entries", lambda: looked.append(1) or entries())
    for i in range(5):
        cache.keep(f"{i:064}", [], [], bytes([i]) * 1000)
    assert len(looked) == 1
    for damage in ("", "12", "a b", "\0"):
        (folder / "size").write_text(damage)
        cache.keep("a" * 64, [], [], b"x" * 1000)
        cache.keep("b" * 64, [], [], b"x" * 1000)
    assert len(looked) == 5
    tomorrow = time.time() + cache.DAY + 2
    monkeypatch.setattr(cache.time, "time", lambda: tomorrow)
    cache.keep("c" * 64, [], [], b"x" * 1000)
    cache.keep("d" * 64, [], [], b"x" * 1000)
    assert len(looked) == 6


@pytest.mark.parametrize("when", [0, 2**31 - 1, 2**33])
def test_a_clock_that_jumps(when: int, tmp_path: Path, folder: Path, compiles: list[str],
                            monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.hyb"
    path.write_text(source(1))
    assert hybridc.load(path).f() == 1
    for file in files(folder):
        os.utime(file, (when, when))
    os.utime(path, (when, when))
    monkeypatch.setattr("time.time", lambda: float(2**33 - when))
    (folder / "units" / ".left.tmp").write_bytes(b"left behind")
    assert hybridc.load(path).f() == 1 and len(compiles) == 1
    path.write_text(source(2))
    os.utime(path, (when, when))
    assert hybridc.load(path).f() == 2
    assert not (folder / "units" / ".left.tmp").exists()


def test_a_bound_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_CACHE_SIZE", "0")
    path = tmp_path / "a.hyb"
    for value in (1, 2):
        path.write_text(source(value))
        assert hybridc.load(path).f() == value
    assert cache.entries() == []


def test_command(tmp_path: Path, folder: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "hybridc", "cache", *args], capture_output=True, text=True, timeout=60)

    (tmp_path / "a.hyb").write_text(source(1))
    hybridc.load(tmp_path / "a.hyb")
    size = sum(p.stat().st_size for p in files(folder))
    assert run("info").stdout == f"folder {folder}\nunits  1\nbytes  {size} of at most {1 << 30}\n"
    assert run("clear").stdout == f"2 files, {size} bytes\n"
    assert files(folder) == [] and "units  0" in run("info").stdout
    assert hybridc.load(tmp_path / "a.hyb").f() == 1
    assert run("nonsense").returncode == 2
