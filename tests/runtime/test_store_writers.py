"""One process writes a store at a time: from the moment a variable or model opens it to that one's end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hybridc_runtime import store as stores

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "stores.hyb"


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "memory")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 0.2)


def elsewhere(code, path):
    """What another process prints, or the last line of its error."""
    start = (f"import hybridc\nfrom hybridc_runtime import store\nstore.PATIENCE = 0.2\n"
             f"mod = hybridc.load({str(SOURCE)!r})\npath = {path!r}\n")
    p = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=100, check=False)
    return p.stdout.strip() if p.returncode == 0 else p.stderr.strip().splitlines()[-1]


def failed(m):
    """Without what pytest.raises keeps: the frames, which hold the model."""
    try:
        m.fails("z")
    except hybridc.HybError:
        return True
    return False


READ = "print(mod.size(path), len(hybridc.open_store(path)))"
WRITE = "print(mod.put(path, 'there', 1))"
WRITE_PYTHON = "s = hybridc.open_store(path)\ns['there'] = 1\ns.commit()"
HELD = "another process holds it for writing"


def test_a_variable_holds_the_store_between_commits(mod, path):
    seen = []

    def look(n):
        seen.extend(elsewhere(code, path) for code in (READ, WRITE, WRITE_PYTHON))
        return n

    assert mod.while_held(path, look) == 1
    assert seen[0] == "1 1" and HELD in seen[1] and HELD in seen[2]
    assert elsewhere(WRITE, path) == "3"


def test_one_that_only_reads_holds_it_too(mod, path):
    mod.put(path, "a", 1)
    seen = []
    mod.while_read(path, lambda n: seen.append(elsewhere(WRITE, path)) or 0)
    assert HELD in seen[0]
    assert elsewhere(WRITE, path) == "2"


def test_who_came_second_reads_and_writes_when_the_first_is_gone(mod, path):
    mod.put(path, "a", 1)
    code = ("import sys\ndef wait(n):\n    print('held', flush=True)\n    sys.stdin.readline()\n    return n\n"
            "mod.while_read(path, wait)\nprint('gone', flush=True)\nsys.stdin.readline()")
    start = f"import hybridc\nmod = hybridc.load({str(SOURCE)!r})\npath = {path!r}\n"
    with subprocess.Popen([sys.executable, "-c", start + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as p:
        assert p.stdout.readline() == "held\n"
        m = mod.Memory(path)
        assert m.size() == 1
        with pytest.raises(OSError, match=HELD):
            m.put("b", 2)
        assert m.size() == 1
        print(file=p.stdin, flush=True)
        assert p.stdout.readline() == "gone\n"
        m.put("b", 2)
        m.commit()
        assert m.size() == 2
        print(file=p.stdin, flush=True)


def test_a_model_holds_the_store_for_its_life(mod, path):
    a, b = mod.Memory(path), mod.Memory(path)
    a.put("x", 1)
    a.commit()
    b.put("y", 2)
    assert a.size() == b.size() == mod.size(path) == 2  # within a process writes are shared
    assert failed(a) and b.size() == 2
    assert elsewhere(READ, path) == "1 1"
    a.commit()
    del a
    assert HELD in elsewhere(WRITE, path)
    del b
    assert elsewhere(WRITE, path) == "3"


def test_two_variables_of_one_file(mod, path):
    assert mod.two(path) == (2, 2, 1)


def test_python_holds_it_from_write_to_commit(mod, path):
    mod.put(path, "a", 1)
    with hybridc.open_store(path) as s:
        assert elsewhere(WRITE, path) == "2" and len(s) == 2
        s["b"] = 5
        assert HELD in elsewhere(WRITE_PYTHON, path)
        s.commit()
        assert elsewhere(WRITE_PYTHON, path) == ""
        assert dict(s) == {"a": 1, "there": 1, "b": 5}


def test_other_types(mod, path):
    mod.put(path, "a", 1)
    message = r"is a store\[str, int\], opened as store\[int, list\[f32\[\?\]\]\]"
    with pytest.raises(OSError, match=message) as e:
        mod.other_types(path)
    assert isinstance(e.value, hybridc.RuntimeFault)
    m = mod.Memory(path)
    with pytest.raises(OSError, match=message):
        mod.other_types(path)
    assert m.size() == mod.size(path) == 1


def test_a_child_process_reads_and_does_not_write(mod, path):
    m = mod.Memory(path)
    m.put("a", 1)
    m.commit()
    m.put("b", 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert m.size() == 1
            try:
                m.put("c", 1)
            except OSError as e:
                code = 0 if HELD in str(e) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert m.size() == 2
    assert HELD in elsewhere(WRITE, path)


def test_a_fault_keeps_nothing_alive(mod, path):
    """The exception goes with its last reference, so what its frames hold does too."""
    m = mod.Memory(path)
    assert failed(m)
    del m
    assert elsewhere(WRITE, path) == "1"


@pytest.mark.parametrize("bad, message", [
    ("", "it is a folder"), ("no/such/place", "there is no folder"), ("a\0b", "null"), ("no.store", "MDB_INVALID"),
])
def test_paths(mod, bad, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.store").write_text("something else\n" * 1000)
    with pytest.raises(OSError, match=message):
        mod.size(bad)
