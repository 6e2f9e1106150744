"""What README.md and docs/language.md show runs as it is printed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hybridc.cli import main

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("unoptimised")

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.M | re.S)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def session(text: str, folder: Path) -> int:
    """Commands behind `$`, each with what it prints; those that are `cat` say what stands in a file. How many ran."""
    ran = 0
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, output = part.partition("\n")
        command, *words = shlex.split(line)
        if command == "cat":
            (folder / words[0]).write_text(output.strip() + "\n")
            continue
        assert command == "hybridc"
        done = CliRunner().invoke(main, words)
        assert (done.exit_code, done.stdout.strip()) == (0, output.strip()), line
        ran += 1
    return ran


def calls(text: str, names: dict[str, Any]) -> int:
    """The lines of a page's Python; behind `#` stands what a line gives, or which fault it is. How many were compared."""
    compared = 0
    for line in text.strip().splitlines():
        code, _, said = (part.strip() for part in line.partition("#"))
        fault = re.match(r"(\w+Error): (.*), with the line", said)
        if fault is not None:
            with pytest.raises(Exception, match=fault[2]) as error:
                exec(code, names)
            assert fault[1] in {kind.__name__ for kind in type(error.value).__mro__}
            compared += 1
        elif re.fullmatch(r"[\d.]+", said):
            assert eval(code, names) == float(said), line
            compared += 1
        else:
            exec(code, names)
    return compared


def test_readme(here: Path) -> None:
    (shell,) = (b for b in blocks("README.md") if b.startswith("$ cat hello.hyb"))
    (python,) = (b for b in blocks("README.md") if b.startswith("import hybridc"))
    assert session(shell, here) == 1
    assert calls(python, {}) == 2


def test_the_first_program_is_that_of_the_example() -> None:
    """But for what it leaves out: each of its lines is one of the example's."""
    program, *_ = blocks("README.md")
    example = {line.strip() for line in (ROOT / "examples" / "digits" / "digits.hyb").read_text().splitlines()}
    assert [line for line in program.splitlines() if line.strip() not in example] == []


def test_language(here: Path) -> None:
    program, python = blocks("docs/language.md")
    (here / "tree.hyb").write_text(program)
    assert "passed" in CliRunner().invoke(main, ["test", "tree.hyb"]).stdout
    names: dict[str, Any] = {}
    before, after = python.split("m.state_dict();")
    calls(before, names)
    exec("sd = m.state_dict()", names)
    calls("m.state_dict();" + after, names)
    assert names["logits"].shape == (5,) and names["loss"] > 0
    assert isinstance(names["net"], torch.nn.Module)
