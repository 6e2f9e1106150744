"""A build of what was built before compiles nothing, and leaves the same files; whatever is different is compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
from hybridc_runtime import origin
from hybridc_runtime.artifact import read_file

import hybridc
from hybridc import driver
from hybridc.build import write_all, write_depfile

pytestmark = pytest.mark.usefixtures("unoptimised")
MAIN = "from part import g\n\nfn f() -> int:\n    return g()\n\nexport f\n"
ENDS = """\
fn loss(x: f32) -> f32: return x * f32(int(x))

fn f() -> int:
    return int(grad(loss)(2.5))

export f
"""
"""A derivative that ends at a cast is warned of."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "main.hyb").write_text(MAIN)
    (tmp_path / "part.hyb").write_text(part(1))
    return tmp_path


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were compiled."""
    done: list[str] = []
    real = driver.build

    def counted(checked: driver.Checked, *options: object) -> driver.Built:
        done.append(checked.path)
        return real(checked, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "build", counted)
    return done


def part(value: int) -> str:
    return f"fn g() -> int:\n    return {value}\n"


def built(place: Path, output: str = "out", **options: object) -> int:
    write_all(str(place / "p" / "main.hyb"), str(place / output), root=str(place), **options)  # type: ignore[arg-type]
    return hybridc.load(str(place / output / "main.hybx")).f()


def test_what_was_built_before(place: Path, compiles: list[str]) -> None:
    made = []
    for output in ("one", "two"):
        written = write_all(str(place / "p" / "main.hyb"), str(place / output), root=str(place))
        write_depfile(str(place / "rule"), [written])
        rule = (place / "rule").read_text().replace(str(place / output), "")
        made.append((rule, *((place / output / f"main{end}").read_bytes() for end in (".hybx", ".pyi"))))
    assert len(compiles) == 1 and made[0] == made[1] and "part.hyb" in made[0][0]
    digest = read_file(str(place / "two" / "main.hybx")).digest
    assert origin.known(digest) and not origin.foreign(digest)


def test_an_import_that_changed(place: Path, compiles: list[str]) -> None:
    for value in (1, 2, 3, 3, 1):
        (place / "part.hyb").write_text(part(value))
        assert built(place) == value
    assert len(compiles) == 4  # one is kept for a path


def test_a_file_that_appears(place: Path) -> None:
    assert built(place) == 1
    (place / "p" / "part.hyb").write_text(part(2))
    assert built(place) == 2


@pytest.mark.parametrize("what", ["target", "option", "damage"])
def test_other_circumstances(
    what: str, place: Path, compiles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built(place) == 1
    if what == "option":
        monkeypatch.setenv("HYB_TRAP_NAN", "1")
    if what == "damage":
        for unit in (place / "cache" / "units").iterdir():
            unit.write_bytes(unit.read_bytes()[:-1] + b"?")
    assert built(place, target="cpu:host" if what == "target" else "cpu") == 1
    assert len(compiles) == 2


def test_warnings_are_given_each_time(place: Path, compiles: list[str]) -> None:
    (place / "p" / "main.hyb").write_text(ENDS)
    found: list[int] = []
    for _ in range(2):
        assert built(place, warn=lambda checked: found.append(len(checked.warnings))) == 2
    assert found == [1, 1] and len(compiles) == 2
