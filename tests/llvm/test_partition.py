"""A program's text in pieces: which change with an edit, and what they are put together to."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hybridc_runtime import archive
from hybridc_runtime.artifact import features, load_artifact, read
from hybridc_runtime.module import Module

from hybridc import driver, pipeline
from hybridc.c_library import write_library
from hybridc.checking import check
from hybridc.llvm import backend

pytestmark = pytest.mark.usefixtures("unoptimised")

FUNCTION = """
fn table{i}(n: int) -> map[int, list[int]]:
    var found: map[int, list[int]] = {{}}
    for k in range(n):
        let at = k % {mod}
        if at not in found:
            found[at] = []
        found[at].push(k * {i})
    return found

fn total{i}(n: int) -> int:
    var sum = 0
    for key, values in table{i}(n).items():
        for v in values:
            sum += v // (key + 1)
    return sum + sink({i})
"""
SINK = """
fn sink(n: int) -> int:
    assert n < 1000, "too deep"
    return 0 if n <= 0 else 1 + sink(n - 7)
"""
COUNT = 24
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def source(**more: str) -> str:
    """`more` are lines put before a function's last, by its name."""
    text = SINK + "".join(FUNCTION.format(i=i, mod=3 + i) for i in range(COUNT))
    for name, line in more.items():
        before, _, after = text.partition(f"fn {name}(")
        body, _, rest = after.partition("\n    return ")
        text = f"{before}fn {name}({body}\n    {line}\n    return {rest}"
    return text


def expected(i: int, n: int) -> int:
    return sum(k * i // (k % (3 + i) + 1) for k in range(n)) + -(-i // 7)


def loaded(path: Path) -> Module:
    """With all code made at once."""
    return load_artifact(driver.artifact(check(str(path)), all_names=True), trust=True)


def texts(path: Path) -> list[str]:
    core, interface = driver.lower(check(str(path)), all_names=True)
    return driver.native(pipeline.optimise(core, interface, {}), interface, ["host"])[0].pieces


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces that LLVM compiles."""
    found: list[str] = []
    compile_one = backend._object

    def watched(text: str, cpu: str, opt: int) -> bytes:
        found.append(text)
        return compile_one(text, cpu, opt)

    monkeypatch.setattr(backend, "_object", watched)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_pieces_make_the_program(tmp_path: Path, folder: Path, made: list[str]) -> None:
    path = tmp_path / "many.hyb"
    path.write_text(source())
    m = loaded(path)
    assert len(made) > 8
    for i in (0, 1, 13, COUNT - 1):
        assert getattr(m, f"total{i}")(100) == expected(i, 100)
    with pytest.raises(AssertionError, match="too deep") as raised:
        m.sink(1000)
    assert raised.traceback[-1].lineno + 1 == source().split("\n").index('    assert n < 1000, "too deep"') + 1


def test_an_edit_compiles_what_changed(tmp_path: Path, folder: Path, made: list[str]) -> None:
    path = tmp_path / "many.hyb"
    path.write_text(source())
    loaded(path)
    pieces = len(made)
    made.clear()
    path.write_text(source(total9="sum += 1"))  # all that follows stands one line further down
    m = loaded(path)
    assert 1 <= len(made) <= 3 < pieces / 2
    assert m.total9(50) == expected(9, 50) + 1
    assert m.total23(50) == expected(23, 50)
    path.write_text(source(total9="sum += n // (n - 50)"))
    with pytest.raises(ZeroDivisionError) as raised:
        loaded(path).total9(50)
    line = raised.traceback[-1].lineno
    assert path.read_text().split("\n")[line] == "    sum += n // (n - 50)"


def test_a_line_more_changes_no_text_but_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "many.hyb"
    path.write_text(source())
    before = texts(path)
    path.write_text("\n\n# a comment\n" + source())
    after = texts(path)
    assert len(before) > 8 and before == after
    assert texts(path) == after


@pytest.mark.parametrize("name", ["router", "routes", "translate"])
def test_what_a_piece_names_another_one_gives(name: str) -> None:
    """Also what stands only in the functions that a piece is shown."""
    divided = texts(EXAMPLES / name / f"{name}.hyb")
    made: dict[str, list[str]] = {}
    for text in divided:
        for linkage, symbol in re.findall(r'^define ([^@]*)@("[^"]+"|[\w.$]+)', text, re.MULTILINE):
            made.setdefault(symbol, []).append(linkage)
    assert len(divided) > 3 and any("available_externally" in linkage for found in made.values() for linkage in found)
    for text in divided:
        for symbol in re.findall(r'^declare [^@]*@("[^"]+"|[\w.$]+)', text, re.MULTILINE):
            given = [x for x in made.get(symbol, ()) if "internal" not in x and "available_externally" not in x]
            assert len(given) == 1 or symbol not in made, symbol


@pytest.mark.parametrize("how", ["other bytes", "cut off", "gone"])
def test_a_damaged_object_is_made_again(tmp_path: Path, folder: Path, made: list[str], how: str) -> None:
    path = tmp_path / "many.hyb"
    path.write_text(source())
    loaded(path)
    pieces = len(made)
    made.clear()
    for file in (folder / "objects").iterdir():
        data = file.read_bytes()
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(data[:-1] if how == "cut off" else data[:200] + bytes([data[200] ^ 1]) + data[201:])
    path.write_text(source(total3="sum += 1"))
    assert loaded(path).total3(50) == expected(3, 50) + 1
    assert len(made) == pieces


def test_a_small_program_is_one_piece(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "small.hyb"
    path.write_text(SINK)
    assert len(texts(path)) == 1
    loaded(path)
    assert not (folder / "objects").exists()


def test_objects_in_one_file() -> None:
    objects = [b"", b"one", b"\x7fELF two", bytes(1000)]
    data = archive.archive(objects)
    assert archive.objects(data) == objects
    for damaged in (b"", data[1:], data[:70], b"!<arch>\n" + b"x" * 60):
        with pytest.raises(ValueError, match="no archive of objects"):
            archive.objects(damaged)


def test_the_systems_tools_read_the_file(tmp_path: Path) -> None:
    if shutil.which("ar") is None:
        pytest.skip("there is no ar here")
    file = tmp_path / "a.a"
    file.write_bytes(archive.archive([b"one", b"two!"]))
    assert subprocess.run(["ar", "p", file, "1.o"], capture_output=True, check=True).stdout == b"two!"


def test_a_library_for_c_of_many_pieces(tmp_path: Path, folder: Path) -> None:
    if not (shutil.which("cc") or os.environ.get("CC")):
        pytest.skip("there is no C compiler here")
    path = tmp_path / "many.hyb"
    path.write_text(source() + "\nexport sink\nexport total9\nexport total12\nexport total20\n")
    built = driver.build(check(str(path)), "cpu:x86-64-v2")
    _, library = write_library(read(built.data), tmp_path / "many.hybx")
    assert len(read(built.data).code("cpu", features()).objects()) > 2
    total, result = ctypes.CDLL(str(library)).many_total9, ctypes.c_int64()
    assert total(ctypes.c_int64(100), ctypes.byref(result)) == 0
    assert result.value == expected(9, 100)
