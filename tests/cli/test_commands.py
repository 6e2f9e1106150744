"""The command line as a user has it: exit codes, output, files."""

from __future__ import annotations

import ast
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

GOOD = '''
fn mean(xs: list[f64]) -> f64:
    assert len(xs) > 0, "mean of nothing"
    return sum(xs) / len(xs)

test "of three":
    assert mean([1, 2, 6]) == 3.0

test "fails":
    assert mean([1, 2]) == 3.0, "not three"
'''


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "mean.hyb").write_text(GOOD)
    (tmp_path / "bad.hyb").write_text("fn f() -> int:\n    return x\n")

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hybridc", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return call


def test_run(run):
    assert run("run", "mean.hyb", "mean", "[1.0, 2.0, 6.0]").stdout == "3.0\n"
    fault = run("run", "mean.hyb", "mean", "[]")
    assert fault.returncode == 1
    assert fault.stderr.endswith('mean.hyb", line 3, in mean\nAssertionError: mean of nothing\n')
    unfit = run("run", "mean.hyb", "mean", "3")
    assert unfit.returncode == 1 and "argument xs: expected list[f64], found int" in unfit.stderr
    missing = run("run", "mean.hyb", "nope")
    assert missing.returncode == 1 and missing.stderr == "mean.hyb has no function nope; it has mean\n"


def test_run_with_values_of_the_file(run, tmp_path: Path):
    (tmp_path / "trees.hyb").write_text("""
struct Point:
    x: int
    y: f64 = 1.5

enum Tree:
    Leaf(n: int)
    Node(left: Tree, right: Tree)

fn total(t: Tree) -> int:
    match t:
        case Leaf(n): return n
        case Node(left, right): return total(left) + total(right)

fn show(p: Point, s: str) -> str:
    return f"{p.x} {p.y} {s}"
""")
    assert run("run", "trees.hyb", "total", "Tree.Node(Tree.Leaf(1), Tree.Leaf(-4))").stdout == "-3\n"
    assert run("run", "trees.hyb", "total", "Node(Leaf(1), Tree.Leaf(-4))").stdout == "-3\n"
    wrong = run("run", "trees.hyb", "total", "Nod(Leaf(1), Leaf(2))")
    assert wrong.returncode == 1 and "'Nod(Leaf(1), Leaf(2))': there is no Nod" in wrong.stderr
    assert run("run", "trees.hyb", "show", "Point(2, y=2.5)", "some(text)").stdout == "'2 2.5 some(text)'\n"
    short = run("run", "trees.hyb", "show", "Point()", "a")
    assert short.returncode == 1 and "needs field 'x'" in short.stderr


def test_run_with_words_of_hyb_and_python(run, tmp_path: Path):
    (tmp_path / "words.hyb").write_text("""
enum Color:
    Red
    Green(n: int)

fn turned(x: bool) -> bool: return not x
fn maybe(x: int?) -> int?: return x
fn text(x: str) -> str: return x
fn number(x: f64) -> f64: return x
fn numbers(x: list[f64]) -> list[f64]: return x
fn flags(x: list[(int, bool)]) -> list[(int, bool)]: return x
fn colors(x: map[str, Color]) -> map[str, Color]: return x
fn applied(f: fn(int) -> int, x: int) -> int: return f(x)
fn twice(x: int) -> int: return 2 * x
fn size(x: set[int]) -> int: return len(x)
fn drawn(mut g: rng) -> f64: return f64(g.uniform())
fn nothing(): pass
""")
    for function, argument, printed in [
        ("turned", "true", "False"), ("turned", "True", "False"), ("turned", "false", "True"),
        ("maybe", "none", "None"), ("maybe", "None", "None"), ("maybe", "3", "3"),
        ("text", "true", "'true'"), ("text", "12", "'12'"), ("text", "'a b'", "'a b'"), ("text", "none", "'none'"),
        ("number", "inf", "inf"), ("number", "-inf", "-inf"), ("number", "nan", "nan"), ("number", "-3", "-3.0"),
        ("numbers", "[nan, -inf, 1]", "[nan, -inf, 1.0]"), ("flags", "[(1, true)]", "[(1, True)]"),
        ("colors", "{'a': Color.Green(2)}", "{'a': Color.Green(n=2)}"), ("colors", "{}", "{}"),
        ("size", "set()", "0"), ("size", "{4, 4}", "1"), ("drawn", "rng(3)", "0.8166549801826477"),
    ]:
        assert run("run", "words.hyb", function, argument).stdout == printed + "\n", (function, argument)
    assert run("run", "words.hyb", "applied", "twice", "4").stdout == "8\n"
    assert run("run", "words.hyb", "nothing").stdout == ""
    for function, argument, said in [
        ("turned", "yes", "expected bool, found str"), ("turned", "1", "expected bool, found int"),
        ("applied", "never", "expected fn(int) -> int, found str"), ("numbers", "[a, 1]", "expected list[f64], found str"),
    ]:
        given = run("run", "words.hyb", function, argument, *(["1"] if function == "applied" else []))
        assert given.returncode == 1 and said in given.stderr, (function, argument)


def test_long_chains(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every stage goes as deep as the parser lets a program be."""
    monkeypatch.setenv("HYB_OPT", "0")
    chain = "".join(f"    elif n == {i}: return {i * i}\n" for i in range(1, 330))
    (tmp_path / "chain.hyb").write_text(
        f"fn squared(n: int) -> int:\n    if n == 0: return 0\n{chain}    return n * n\n\n"
        'test "the last":\n    assert squared(329) == 108241\n')
    assert run("run", "chain.hyb", "squared", "30").stdout == "900\n"
    for command in (["check"], ["fmt"], ["test"], ["explain"], ["build", "--emit", "core"], ["build"]):
        done = run(command[0], "chain.hyb", *command[1:])
        assert done.returncode == 0, (command, done.stderr[-300:])
    assert run("build", "chain.hybx", "-o", "again").returncode == 0


def test_check(run):
    assert run("check", "mean.hyb").returncode == 0
    bad = run("check", "mean.hyb", "bad.hyb", "absent.hyb")
    assert bad.returncode == 1
    assert "bad.hyb:2:12: error[HYB201]" in bad.stderr and "absent.hyb:1:1: error[HYB203]" in bad.stderr


@pytest.mark.parametrize("command", ["check", "build"])
def test_errors_as_json(run, tmp_path: Path, command: str):
    (tmp_path / "two.hyb").write_text("fn f() -> int:\n    return (x +\n        y)\n")
    assert run(command, "mean.hyb", "--error-format=json").stderr == ""
    done = run(command, "bad.hyb", "two.hyb", "absent.hyb", "--error-format=json")
    assert done.returncode == 1 and done.stdout == ""
    errors = [json.loads(line) for line in done.stderr.splitlines()]
    places = [(e["code"], e["file"], e["line"], e["column"], e["end_line"], e["end_column"]) for e in errors]
    assert places == [
        ("HYB201", "bad.hyb", 2, 12, 2, 13),
        ("HYB201", "two.hyb", 2, 13, 2, 14),
        ("HYB201", "two.hyb", 3, 9, 3, 10),
        ("HYB203", "absent.hyb", 1, 1, 1, 1),
    ]
    assert all(set(e) == {"severity", "message", "help", "notes", "code", "file", "line", "column", "end_line", "end_column"}
               for e in errors)
    text = run(command, "bad.hyb", "two.hyb", "absent.hyb").stderr
    assert all(f"{e['file']}:{e['line']}:{e['column']}: error[{e['code']}]: {e['message']}" in text for e in errors)


def test_notes_in_json_have_their_places(run, tmp_path: Path):
    (tmp_path / "twice.hyb").write_text("fn f() -> int:\n    return 1\n\nfn f() -> int:\n    return 2\n")
    [error] = [json.loads(line) for line in run("check", "twice.hyb", "--error-format=json").stderr.splitlines()]
    assert error["line"] == 4
    assert [(n["file"], n["line"], n["column"]) for n in error["notes"]] == [("twice.hyb", 1, 4)]


def test_exit_codes(run):
    """0 done, 1 the program's fault, 2 the command line's."""
    assert run("check", "mean.hyb").returncode == 0
    assert run("check", "bad.hyb").returncode == 1
    assert run("check", "bad.hyb", "--error-format=yaml").returncode == 2
    assert run("check").returncode == 2


def test_test(run):
    done = run("test", "mean.hyb")
    assert done.returncode == 1 and done.stdout == "1 passed, 1 failed\n"
    assert "FAIL mean.hyb: fails" in done.stderr and "AssertionError: not three" in done.stderr


def test_build(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("one", "two"):
        monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache" / folder))
        assert run("build", "mean.hyb", "-o", folder).returncode == 0
    one, two = (tmp_path / folder / "mean.hybx" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert stat.S_IMODE(one.stat().st_mode) & 0o400 == 0o400
    stub = ast.parse((tmp_path / "one" / "mean.pyi").read_text())
    assert [n.name for n in stub.body if isinstance(n, ast.FunctionDef)] == ["mean"]
    assert hybridc.load(one).mean([2.0, 4.0]) == 3.0


@pytest.mark.parametrize("stage, text", [
    ("tokens", "mean"), ("ast", "Fn"), ("core", "fn mean"), ("llvm", "define"), ("asm", ".text"), ("triton", "import triton"),
    ("kernels", "nothing here computes with tensors"), ("ptx", "nothing here is a GPU kernel"),
])
def test_emit(run, stage: str, text: str):
    done = run("build", "mean.hyb", "--emit", stage)
    assert done.returncode == 0 and text in done.stdout


def test_bad_targets_and_files(run, tmp_path: Path):
    for command in (["build", "mean.hyb", "mean.hyb"], ["build", "mean.hyb", "--emit", "llvm"], ["explain", "mean.hyb"]):
        done = run(*command, "--target", "cuda:sm_12")
        assert done.returncode == 2 and done.stderr.count("there is no target 'cuda:sm_12'") == 1
    (tmp_path / "latin.hyb").write_bytes(b"fn f():\n    print('\xe9')\n")
    latin = run("check", "latin.hyb")
    assert latin.returncode == 1 and "latin.hyb:2:12" in latin.stderr and "not UTF-8" in latin.stderr and "Traceback" not in latin.stderr
    (tmp_path / "made.hybx").write_bytes(b"HYBX0008\x9f\x00")
    for command in ("check", "test", "explain", "fmt"):
        made = run(command, "made.hybx")
        assert made.returncode == 1 and "made.hybx:1:1" in made.stderr and "this is an artifact" in made.stderr, command


def test_fmt_writes_where_a_link_leads_and_keeps_the_mode(run, tmp_path: Path):
    (tmp_path / "a.hyb").write_text("fn f( ): pass\n")
    (tmp_path / "a.hyb").chmod(0o750)
    (tmp_path / "link.hyb").symlink_to("a.hyb")
    assert run("fmt", "link.hyb").returncode == 0
    assert (tmp_path / "link.hyb").is_symlink()
    assert (tmp_path / "a.hyb").read_text() == "fn f(): pass\n"
    assert stat.S_IMODE((tmp_path / "a.hyb").stat().st_mode) == 0o750


def test_a_file_that_fails_keeps_no_other(run, tmp_path: Path):
    (tmp_path / "a.hyb").write_text("fn f( ): pass\n")
    done = run("fmt", "missing.hyb", "a.hyb")
    assert done.returncode == 1 and done.stderr == "missing.hyb: No such file or directory\n"
    assert (tmp_path / "a.hyb").read_text() == "fn f(): pass\n"


def test_what_is_no_error_of_a_program_is_json_too(run):
    done = run("build", "mean.hyb", "--weights", "mean=none", "--error-format=json")
    found = json.loads(done.stderr)
    assert done.returncode == 1 and found["severity"] == "error"
    assert found["message"].startswith("mean.hyb: --weights mean=none: ")
    assert found["code"] is found["file"] is found["line"] is None


def test_two_files_do_not_become_one_artifact(run, tmp_path: Path):
    for folder, value in (("x", 1), ("y", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.hyb").write_text(f"fn f() -> int: return {value}\n")
    done = run("build", "x/s.hyb", "y/s.hyb", "-o", "out")
    assert done.returncode == 2 and "x/s.hyb and y/s.hyb would both be out/s.hybx" in done.stderr
    assert not (tmp_path / "out").exists()
    assert run("build", "x/s.hyb", "y/s.hyb", "x/../x/s.hyb").returncode == 0
    assert (tmp_path / "x/s.hybx").exists() and (tmp_path / "y/s.hybx").exists()


def test_explain_says_where_it_cannot_write(run):
    done = run("explain", "mean.hyb", "-o", "mean.hyb/out.txt")
    assert done.returncode == 1 and done.stderr.startswith("mean.hyb/out.txt: ") and "Traceback" not in done.stderr


def test_a_warning_is_its_text_alone(run, tmp_path: Path):
    (tmp_path / "w.hyb").write_text(
        "fn h(x: f32) -> f32: return f32(int(x)) * x\nfn g(x: f32) -> f32: return grad(h)(x)\n")
    warned = run("check", "w.hyb")
    assert warned.stderr.startswith("w.hyb:1:33: warning[HYB620]")
    for command in (("run", "w.hyb", "g", "2.0"), ("test", "w.hyb")):
        assert run(*command).stderr == warned.stderr


def test_what_cannot_be_loaded_is_said_in_a_line(run, tmp_path: Path):
    (tmp_path / "damaged.hybx").write_bytes(b"HYBX")
    (tmp_path / "outside.hyb").write_text("extern fn e(x: f64) -> f64\nfn f(x: f64) -> f64: return e(x)\n")
    missing = run("run", "missing.hybx", "f")
    assert (missing.returncode, missing.stderr) == (1, "missing.hybx: No such file or directory\n")
    for command in (("run", "damaged.hybx", "f"), ("run", "outside.hyb", "f", "1.0"), ("test", "outside.hyb")):
        done = run(*command)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stderr.startswith(f"{command[1]}: ")


def test_run_has_parameters_that_are_words_of_python(run, tmp_path: Path):
    (tmp_path / "words.hyb").write_text("fn f(from: int, class: int) -> int: return from - class\n")
    assert run("run", "words.hyb", "f", "5", "3").stdout == "2\n"
