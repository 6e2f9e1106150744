"""The compiler that stays: what other processes ask it for is what they would have made, and where it is not there, busy,
ended or another version, they make it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Client
from pathlib import Path

import pytest

import hybridc
from hybridc.base.diagnostic import CompileError
from hybridc.link import resident

MAIN = "fn f(x: f64) -> f64:\n    return x * 2.0\n"
LOADS = """
import sys, warnings
import hybridc
from hybridc.base.diagnostic import CompileError
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    try:
        print(hybridc.load("main.hyb").f(3.0))
    except (CompileError, hybridc.RuntimeFault) as e:
        print(type(e).__name__, str(e).splitlines()[0])
for w in told:
    print(w.category.__name__, str(w.message).splitlines()[0])
print("compiled here:", "hybridc.driver" in sys.modules)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HYB_OPT", "0")
    monkeypatch.setenv("HYB_SERVE_WAIT", "60")  # other tests want the processors too
    (tmp_path / "main.hyb").write_text(MAIN)
    return tmp_path


def started() -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "hybridc", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"serving at {resident.socket()}; Ctrl-C ends it\n"
    return process


@pytest.fixture
def server(program: Path) -> Iterator[subprocess.Popen[str]]:
    process = started()
    yield process
    process.kill()
    process.communicate()


def run(program: Path, code: str = LOADS, **variables: str) -> list[str]:
    env = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", code], cwd=program, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.usefixtures("server")
def test_it_compiles_for_another_process(program: Path) -> None:
    assert run(program) == ["6.0", "compiled here: False"]
    (program / "main.hyb").write_text(MAIN.replace("2.0", "5.0"))
    assert run(program) == ["15.0", "compiled here: False"]


def test_without_it_each_compiles_for_itself(program: Path) -> None:
    assert run(program) == ["6.0", "compiled here: True"]


@pytest.mark.usefixtures("server")
def test_errors_and_warnings_are_those_of_who_asks(program: Path) -> None:
    (program / "main.hyb").write_text("fn f(x: f64) -> f64:\n    return y\n")
    said, place = run(program)
    assert said.startswith("CompileError main.hyb:2:12: error[HYB")  # the path as it was given
    assert place == "compiled here: False"
    (program / "main.hyb").write_text("fn f(x: f64) -> f64:\n    x == 1.0\n    return x\n")
    value, warning, place = run(program)
    assert value == "3.0" and place == "compiled here: False"
    assert warning.startswith("CompileWarning main.hyb:2:5: warning[HYB")


@pytest.mark.usefixtures("server")
def test_variables_are_those_of_who_asks(program: Path) -> None:
    (program / "main.hyb").write_text("fn f(x: f64) -> f64:\n    return log(-x)\n")
    assert run(program) == ["nan", "compiled here: False"]
    found, place = run(program, HYB_TRAP_NAN="1")
    assert found.startswith("RuntimeFault") or "nan" in found and found != "nan"
    assert place == "compiled here: False"


@pytest.mark.usefixtures("server")
def test_another_configuration_of_a_model_is_asked_for_too(program: Path) -> None:
    (program / "main.hyb").write_text(
        "model Scale(n: int):\n    param w: f32[n] = ones()\n\n    fn forward(x: f32[n]) -> f32[n]:\n"
        "        return x * self.w * 2.0\n"
    )
    code = (
        "import sys, numpy\nimport hybridc\nm = hybridc.load('main.hyb')\n"
        "print(m.Scale(n=3)(numpy.ones(3, 'f')))\nprint('hybridc.driver' in sys.modules)"
    )
    assert run(program, code) == ["[2. 2. 2.]", "False"]


@pytest.mark.usefixtures("server")
def test_a_build_is_the_same(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program / "main.hyb").write_text(MAIN + "\nexport f\n")
    command = [sys.executable, "-m", "hybridc", "build", "main.hyb", "-o"]
    subprocess.run([*command, "served"], cwd=program, check=True)
    other = {**os.environ, "HYB_CACHE_DIR": str(program / "other")}
    subprocess.run([*command, "alone"], cwd=program, env=other, check=True)
    for name in ("main.hybx", "main.pyi"):
        assert (program / "served" / name).read_bytes() == (program / "alone" / name).read_bytes()
    monkeypatch.chdir(program)
    assert hybridc.load("served/main.hybx").f(1.0) == 2.0


def test_it_says_what_it_did_and_ends_at_ctrl_c(program: Path, server: subprocess.Popen[str]) -> None:
    run(program)
    assert server.stdout is not None
    assert server.stdout.readline().startswith("main.hyb: ")
    server.send_signal(signal.SIGINT)
    assert server.wait(10) == 0
    assert not resident.socket().exists()
    assert run(program, LOADS.replace("3.0", "4.0")) == ["8.0", "compiled here: False"]  # from the cache


def test_one_is_enough(program: Path, server: subprocess.Popen[str]) -> None:
    second = subprocess.run([sys.executable, "-m", "hybridc", "serve"], capture_output=True, text=True)
    assert second.returncode == 1
    assert second.stderr == f"there is one already, at {resident.socket()}\n"
    assert run(program) == ["6.0", "compiled here: False"]


def test_a_killed_one_is_in_nobodys_way(program: Path) -> None:
    first = started()
    first.kill()
    first.communicate()
    assert resident.socket().exists()
    assert run(program) == ["6.0", "compiled here: True"]
    second = started()
    second.kill()
    second.communicate()


def test_another_compiler_lets_it_begin_anew(program: Path, server: subprocess.Popen[str]) -> None:
    given = ("main.hyb", None, False, "cpu", None)
    with Client(str(resident.socket()), "AF_UNIX") as connection:
        connection.send(resident.Request("load", given, str(program), {}, "of another compiler"))
        assert connection.recv() is False
    assert server.stdout is not None
    assert server.stdout.readline().startswith("serving at ")
    assert run(program) == ["6.0", "compiled here: False"]


def test_who_is_busy_keeps_nobody_waiting(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_SERVE_WAIT", "0.05")
    with resident.listening():  # and answers nobody
        assert resident.asked("load", "main.hyb", None, False, "cpu", None) is None
        with pytest.raises(resident.Busy), resident.listening():
            pass
    assert resident.asked("load", "main.hyb", None, False, "cpu", None) is None


def test_what_it_cannot_do_is_done_by_who_asks(program: Path) -> None:
    def fails() -> list[str]:
        raise RuntimeError("inside")

    told: list[str] = []

    def done(request: resident.Request, seconds: float) -> None:
        told.append(request.kind)
        if len(told) == 2:
            raise resident.Stale

    def serves() -> None:
        with suppress(resident.Stale):
            resident.serve(listener, {"f": fails}, done)

    with resident.listening() as listener:
        thread = threading.Thread(target=serves, daemon=True)
        thread.start()
        assert resident.asked("f") is None
        assert resident.asked("f") is None
        thread.join(10)
    assert told == ["f", "f"]


def test_its_memory_is_not_that_of_who_started_it() -> None:
    """Linux lets a process begin with the largest size of the one that started it."""
    child = "from hybridc.link import resident; print(resident.memory())"
    parent = f"""
import subprocess, sys
held = b"x" * (1 << 29)
subprocess.run([sys.executable, "-c", {child!r}], check=True)
"""
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(done.stdout) < 1 << 28


def test_a_compile_error_goes_from_process_to_process(program: Path) -> None:
    (program / "main.hyb").write_text("fn f() -> int:\n    return y\n")
    with pytest.raises(CompileError) as found:
        hybridc.load(program / "main.hyb")
    again = pickle.loads(pickle.dumps(found.value))
    assert str(again) == str(found.value) and again.diagnostics == found.value.diagnostics
