"""docs/errors.md: every code of a diagnostic is there, with a program that has the mistake and one that is mended."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from hybridc import checking, driver
from hybridc.base.codes import CODES
from hybridc.base.diagnostic import CompileError
from hybridc.base.source import Source
from hybridc.cli import main
from hybridc.core.reader import read
from hybridc.fmt import format_source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text()


@dataclass
class Example:
    """Files by name (Core's text apart) and the commands that are run on them; without one, `check` and lowering."""

    files: dict[str, str] = field(default_factory=dict)
    core: str | None = None
    commands: list[str] = field(default_factory=list)
    written: bool = False
    """By a Python program."""

    def run(self, folder: Path) -> list[str]:
        """The codes of its errors and warnings."""
        if self.core is not None:
            return [d.code for d in read(self.core, "main.core")[1]]
        for name, text in self.files.items():
            (folder / name).write_text(text)
        for command in self.commands:
            if command.startswith("hybridc "):
                done = CliRunner().invoke(main, [*command.replace("main.hyb", str(folder / "main.hyb")).split()[1:]])
                if done.exit_code:
                    return re.findall(r"error\[(\w+)\]", done.output)
        if self.commands:
            return []
        try:
            checked = checking.check(str(folder / "main.hyb"))
            driver.lower(checked, all_names=True)
        except CompileError as e:
            return [d.code for d in e.diagnostics]
        return [d.code for d in checked.warnings]


def _example(text: str) -> Example:
    found = Example()
    for kind, name, body in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "core":
            found.core = body
        elif kind == "python":
            found.written = True
            written = io.StringIO()
            with contextlib.redirect_stdout(written):
                exec(body, {})  # of this repository
            text = written.getvalue()
            if text.startswith("fn "):
                found.core = text
            else:
                found.files["main.hyb"] = text
        elif kind == "sh":
            found.commands = body.splitlines()
        else:
            found.files[name or "main.hyb"] = body
    return found


def _without_triton(name: str) -> str:
    """`importlib.metadata.version` where Triton is not installed."""
    if name == "triton":
        raise metadata.PackageNotFoundError(name)
    return VERSION(name)


VERSION = metadata.version
SECTIONS = re.findall(r"^### (HYB\d+): (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = {code: tuple(_example(part) for part in text.split("\nMended:\n")) for code, _, text in SECTIONS}


def test_the_page_lists_the_table() -> None:
    assert [(code, title) for code, title, _ in SECTIONS] == list(CODES.items())
    assert list(CODES) == sorted(CODES)


def test_the_table_lists_what_the_compiler_says() -> None:
    sources = [p for p in (ROOT / "hybridc").rglob("*.py") if p.name != "codes.py"]
    said = {code for p in sources for code in re.findall(r'"(HYB\d{3})"', p.read_text())}
    assert said == {*CODES}


@pytest.mark.parametrize("code", CODES)
def test_the_mistake_and_no_other(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if code == "HYB703":
        monkeypatch.setattr(metadata, "version", _without_triton)
    assert set(EXAMPLES[code][0].run(tmp_path)) == {code}


@pytest.mark.parametrize("code", CODES)
def test_mended(code: str, tmp_path: Path) -> None:
    if code == "HYB703":
        pytest.importorskip("triton")
    mended = EXAMPLES[code][1]
    assert mended.run(tmp_path) == []
    for name, text in mended.files.items() if not mended.written else ():
        assert format_source(Source(name, text)) == text
