"""`hybridc` within make, ninja and scripts: rules of dependencies, exit codes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("unoptimised")

HYBRIDC = f"{sys.executable} -m hybridc"
MAIN = "from part import g\n\nfn f() -> int:\n    return g()\n"
PART = "fn g() -> int:\n    return 1\n"
FAST = "--target cpu:x86-64-v2"


def hybridc(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hybridc", *args], cwd=cwd, capture_output=True, text=True, timeout=120)


def tool(name: str, cwd: Path) -> str:
    done = subprocess.run([name], cwd=cwd, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"  # make and ninja see the name only as dependencies write it
    folder.mkdir()
    (folder / "main.hyb").write_text(MAIN)
    (folder / "part.hyb").write_text(PART)
    return folder


def later(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (time.time() + 5, time.time() + 5))


def earlier(folder: Path, *names: str) -> None:
    for name in names:
        os.utime(folder / name, (time.time() - 100, time.time() - 100))


# ---- dependencies
def test_a_depfile(project: Path) -> None:
    assert hybridc("build", "main.hyb", "part.hyb", "-o", "o", "--depfile", "o.d", *FAST.split(), cwd=project).returncode == 0
    assert (project / "o.d").read_text() == (
        "o/main.hybx o/main.pyi: main.hyb part.hyb\no/part.hybx o/part.pyi: part.hyb\npart.hyb:\n")
    (project / "odd #1$.hyb").write_text(PART)
    assert hybridc("build", "odd #1$.hyb", "--depfile", "d", *FAST.split(), cwd=project).returncode == 0
    assert (project / "d").read_text() == "odd\\ \\#1$$.hybx odd\\ \\#1$$.pyi: odd\\ \\#1$$.hyb\n"


def test_a_program_with_errors_leaves_the_depfile(project: Path) -> None:
    (project / "o.d").write_text("as it was")
    (project / "part.hyb").write_text("fn g() -> int:\n    return x\n")
    assert hybridc("build", "main.hyb", "--depfile", "o.d", cwd=project).returncode == 1
    assert (project / "o.d").read_text() == "as it was" and not (project / "main.hybx").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make(project: Path) -> None:
    (project / "Makefile").write_text(
        f"main.hybx: main.hyb\n\t@echo built\n\t@{HYBRIDC} build main.hyb {FAST} --depfile main.d\n-include main.d\n")
    earlier(project, "main.hyb", "part.hyb", "Makefile")
    assert "built" in tool("make", project)
    assert "built" not in tool("make", project)
    later(project / "part.hyb", PART.replace("1", "2"))  # an import changes
    assert "built" in tool("make", project)
    (project / "part.hyb").unlink()  # it is gone, and nobody imports it any more
    later(project / "main.hyb", PART)
    assert "built" in tool("make", project)


@pytest.mark.skipif(shutil.which("ninja") is None, reason="there is no ninja")
def test_ninja(project: Path) -> None:
    (project / "build.ninja").write_text(
        f"rule hyb\n  command = {HYBRIDC} build $in -o out {FAST} --depfile $out.d\n  depfile = $out.d\n  deps = gcc\n"
        "  description = built\nbuild out/main.hybx: hyb main.hyb\n")
    earlier(project, "main.hyb", "part.hyb", "build.ninja")
    assert "built" in tool("ninja", project)
    assert "no work to do" in tool("ninja", project)
    (project / "part.hyb").write_text(PART.replace("1", "2"))
    assert "built" in tool("ninja", project)
    assert "no work to do" in tool("ninja", project)


# ---- exit codes
@pytest.mark.parametrize("code, args", [
    (0, ["check", "good.hyb"]), (1, ["check", "bad.hyb"]), (1, ["check", "good.hyb", "bad.hyb"]), (1, ["check", "none.hyb"]),
    (0, ["build", "good.hyb", "-o", "out", "--target", "cpu:x86-64-v2"]), (1, ["build", "bad.hyb"]), (1, ["build", "damaged.hybx"]),
    (1, ["build", "good.hyb", "-o", "good.hyb/out"]), (1, ["build", "good.hyb", "--depfile", "bad.hyb/d", "-o", "out"]),
    (2, ["build", "good.hyb", "--target", "cpu:nonsense"]),
    (0, ["run", "good.hyb", "f", "2"]), (1, ["run", "good.hyb", "f", "0"]), (1, ["run", "good.hyb", "nothing"]), (1, ["run", "bad.hyb", "f"]),
    (0, ["test", "good.hyb"]), (1, ["test", "failing.hyb"]), (1, ["test", "bad.hyb"]),
    (0, ["fmt", "--check", "good.hyb"]), (1, ["fmt", "--check", "crooked.hyb"]), (1, ["fmt", "none.hyb"]),
    (0, ["explain", "good.hyb"]), (1, ["explain", "good.hyb", "nothing"]),
    (0, ["cache", "info"]), (2, ["cache", "nonsense"]), (2, ["build"]), (2, ["build", "good.hyb", "--nonsense"]), (2, ["nonsense"]),
], ids=lambda v: " ".join(v) if isinstance(v, list) else str(v))  # fmt: skip
def test_exit_codes(code: int, args: list[str], tmp_path: Path) -> None:
    (tmp_path / "good.hyb").write_text("fn f(x: int) -> int:\n    return 6 // x\n\ntest \"one\":\n    assert f(1) == 6\n")
    (tmp_path / "bad.hyb").write_text("fn f() -> int:\n    return x\n")
    (tmp_path / "failing.hyb").write_text("test \"no\":\n    assert 1 > 2\n")
    (tmp_path / "crooked.hyb").write_text("fn f( ) -> int: return   1\n")
    (tmp_path / "damaged.hybx").write_bytes(b"HYBX")
    done = hybridc(*args, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stderr == "") == (code == 0)


def test_an_interrupt_is_130(tmp_path: Path) -> None:
    (tmp_path / "long.hyb").write_text("fn f():\n    print(\"begun\")\n    while true:\n        pass\n")
    process = subprocess.Popen([sys.executable, "-u", "-m", "hybridc", "run", "long.hyb", "f"], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "KeyboardInterrupt" in errors and "Traceback" not in errors


def test_an_interrupt_within_exec_is_130(tmp_path: Path) -> None:
    (tmp_path / "hybridc_probe.py").write_text(
        "import sys\nimport click\nfrom hybridc import cli\ncli.COMMANDS.append('probe')\n"
        "sys.modules['hybridc.commands.probe'] = sys.modules['__main__']\n"
        "@click.command()\ndef probe():\n    exec('raise KeyboardInterrupt')\n\ncli.main(['probe'])\n")
    done = subprocess.run([sys.executable, "-m", "hybridc_probe"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_an_interrupt_while_it_compiles_is_130(tmp_path: Path) -> None:
    (tmp_path / "long.hyb").write_text("".join(f"fn g{i}(x: f32[N]) -> f32[N]:\n    return tanh(x) * {i}.0\n\n" for i in range(1500)))
    process = subprocess.Popen([sys.executable, "-m", "hybridc", "build", "long.hyb"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "interrupted\n" and not (tmp_path / "long.hybx").exists()
