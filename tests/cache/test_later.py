"""Code that is made when it is called: what a call makes, that the order of calls is all the same, and that nothing that
happens meanwhile leaves a program half made."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hybridc_runtime import linking
from hybridc_runtime.calls import Caller
from hybridc_runtime.convert_in import Writers

import hybridc
from hybridc.llvm import backend, compile, partition

PROGRAM = """
struct Pair:
    key: str
    value: int

enum Tree:
    Leaf
    Node(left: Tree, value: int, right: Tree)

fn counted(words: list[str]) -> map[str, int]:
    var found: map[str, int] = {}
    for w in words:
        found[w] = found.get(w, 0) + 1
    return found

fn pairs(words: list[str]) -> list[Pair]:
    return [Pair(k, v) for k, v in counted(words).items()]

fn best(words: list[str]) -> Pair?:
    var found: Pair? = none
    for p in pairs(words):
        if found == none or p.value > found.value:
            found = p
    return found

fn grown(t: Tree, value: int) -> Tree:
    match t:
        case Leaf:
            return Node(Leaf, value, Leaf)
        case Node(left, v, right):
            return Node(grown(left, value), v, right) if value < v else Node(left, v, grown(right, value))

fn tree(values: list[int]) -> Tree:
    var t = Leaf
    for v in values:
        t = grown(t, v)
    return t

fn in_order(t: Tree) -> list[int]:
    match t:
        case Leaf:
            return []
        case Node(left, v, right):
            return in_order(left) + [v] + in_order(right)

enum Label:
    Nothing
    Labels(counts: map[str, int])

fn labelled(word: str) -> Label:
    return Nothing if word == "" else Labels(counted([word]))

fn squared(x: f64[N]) -> f64:
    return sum(x * x)

fn slope(x: f64[N]) -> f64[N]:
    return grad(squared)(x)

fn adder(k: int) -> fn(int) -> int:
    return fn(x: int): x + k

fn applied(f: fn(int) -> int, x: int) -> int:
    return f(f(x))

fn fails(n: int) -> int:
    return 10 // (n - n)

fn through(n: int) -> int:
    return fails(n) + 1

fn squares(n: int) -> list[int]:
    return parallel [i * i for i in range(n)]

model Scale(n: int):
    param w: f32[n] = ones()
    state calls: int = 0

    mut fn forward(x: f32[n]) -> f32[n]:
        self.calls += 1
        return x * self.w * 2.0

model Named(name: str):
    state calls: int = 0

    mut fn forward() -> str:
        self.calls += 1
        return self.name

fn called(m: Named) -> int:
    return m.calls
"""
WORDS = ["a", "bc", "a", "d", "bc", "a"]


def fault(m: Any) -> list[str]:
    with pytest.raises(ZeroDivisionError) as raised:
        m.through(3)
    return [entry.name for entry in raised.traceback[-2:]]


def scaled(m: Any) -> Any:
    model = m.Scale(n=3)
    return model(np.ones(3, "f")).tolist(), model(np.ones(3, "f")).tolist(), int(model.state_dict()["calls"])


def named(m: Any) -> Any:
    """Symbols with signs that LLVM writes otherwise."""
    model = m.Named(name='a "b" \\ c')
    return [model() for _ in range(3)][-1], [m.called(model) for _ in range(3)][-1]


CALLS: list[tuple[str, Callable[[Any], Any], Any]] = [
    ("counted", lambda m: m.counted(WORDS), {"a": 3, "bc": 2, "d": 1}),
    ("pairs", lambda m: [(p.key, p.value) for p in m.pairs(WORDS)], [("a", 3), ("bc", 2), ("d", 1)]),
    ("best", lambda m: (m.best(WORDS).value, m.best([])), (3, None)),
    ("labelled", lambda m: m.labelled("b").counts, {"b": 1}),
    ("tree", lambda m: m.in_order(m.tree([3, 1, 2])), [1, 2, 3]),
    ("native", lambda m: m.in_order(m.tree.native([3, 1, 2])), [1, 2, 3]),
    ("slope", lambda m: m.slope(np.array([1.0, 2.0])).tolist(), [2.0, 4.0]),
    ("squared", lambda m: m.squared(np.array([1.0, 2.0])), 5.0),
    ("adder", lambda m: m.adder(3)(4), 7),
    ("applied", lambda m: (m.applied(m.adder(3), 4), m.applied(lambda x: x * x, 3)), (10, 81)),
    ("fault", fault, ["through", "fails"]),
    ("squares", lambda m: m.squares(5), [0, 1, 4, 9, 16]),
    ("model", scaled, ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0], 2)),
    ("named", named, ('a "b" \\ c', 3)),
    ("again", lambda m: m.counted(WORDS[:1]), {"a": 1}),
]
"""What is asked of the program, and what it says."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HYB_OPT", "0")
    monkeypatch.setattr(compile, "LARGE", 0)
    path = tmp_path / "main.hyb"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that LLVM compiles."""
    found: list[str] = []
    compile_one = backend._object

    def watched(text: str, cpu: str, opt: int) -> bytes:
        found.append(text)
        return compile_one(text, cpu, opt)

    monkeypatch.setattr(backend, "_object", watched)
    return found


def defined(texts: list[str], function: str) -> int:
    return sum(f'"f.{function}"(' in line or f"@f.{function}(" in line
               for text in texts for line in text.split("\n")
               if line.startswith("define") and "available_externally" not in line)


def test_only_what_is_called_is_made_and_once(program: Path, made: list[str]) -> None:
    m = hybridc.load(program)
    assert not any("define" in text for text in made)
    made.clear()
    assert m.best(WORDS).key == "a"
    assert defined(made, "best") == 1
    assert not any(defined(made, f) for f in ("grown", "tree", "squared", "fails"))
    made.clear()
    assert m.best(WORDS[1:2]).key == "bc" and not made
    assert m.in_order(m.tree([2, 1])) == [1, 2]
    assert defined(made, "grown") == 1 and not defined(made, "best")
    m.tree([1])
    assert defined(made, "grown") == 1


def test_a_small_program_is_made_at_once(program: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("HYB_CACHE_DIR", str(program.parent / "cache"))
    program.write_text("fn f(x: int) -> int:\n    return x + 1\n")
    assert hybridc.load(program).f(1) == 2
    assert not (program.parent / "cache" / "objects").exists()


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_calls_is_all_the_same(program: Path, seed: int) -> None:
    calls = CALLS[::-1] if seed == 0 else random.Random(seed).sample(CALLS, len(CALLS))
    m = hybridc.load(program)
    for name, call, expected in calls:
        assert call(m) == expected, name


def test_what_was_made_is_found_by_the_next_process(program: Path, made: list[str]) -> None:
    first = hybridc.load(program)
    for _, call, expected in CALLS:
        assert call(first) == expected
    made.clear()
    again = hybridc.load(program)
    for _, call, expected in CALLS:
        assert call(again) == expected
    assert not made


def test_an_edit_makes_what_it_changes(program: Path, made: list[str]) -> None:
    m = hybridc.load(program)
    m.best(WORDS)
    m.tree([1])
    made.clear()
    program.write_text(PROGRAM.replace("p.value > found.value", "p.value < found.value"))
    m = hybridc.load(program)
    assert m.best(WORDS).key == "d"
    assert defined(made, "best") == 1
    made.clear()
    assert m.in_order(m.tree([2, 1])) == [1, 2]
    assert not defined(made, "grown")


def test_values_of_cases_come_with_what_reads_them(
    program: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    m = hybridc.load(program)
    m.labelled("a")
    made.clear()
    assert m.labelled("a").counts == {"a": 1} and not made


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError])
def test_a_call_that_was_ended_can_be_made_again(
    program: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
) -> None:
    m = hybridc.load(program)
    written: list[Any] = []
    write = Caller._write

    def ends(*args: Any) -> bytes:
        raise how

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_object", ends)
        patch.setattr(Caller, "_write", lambda *args: written.append(args) or write(*args))
        for _ in range(2):
            with pytest.raises(how):
                m.best(WORDS)
            with pytest.raises(how):
                m.tree.native([1])
    assert not written  # what nobody would have freed
    for _, call, expected in CALLS:
        assert call(m) == expected


def test_a_call_within_the_making_of_another(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a handler of signals does it, or the end of a value, here in a thread that the other one waits for."""
    monkeypatch.setattr(partition, "WHOLE", 0)
    monkeypatch.setattr(partition, "LEAST", 20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    m = hybridc.load(program)
    compile_one = backend._object
    inner: list[Any] = []

    def watched(text: str, cpu: str, opt: int) -> bytes:
        if not inner:
            assert threading.current_thread() is not threading.main_thread()
            inner.append(None)
            inner[0] = m.pairs(WORDS)[0].value
        return compile_one(text, cpu, opt)

    monkeypatch.setattr(backend, "_object", watched)
    assert m.best(WORDS).value == 3
    assert inner == [3]
    for _, call, expected in CALLS:
        assert call(m) == expected


def test_many_threads_make_it_once(program: Path, made: list[str]) -> None:
    m = hybridc.load(program)
    found: list[Any] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _, call, expected in CALLS[number % 3:9]:
            found.append(call(m) == expected)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == sum(9 - i % 3 for i in range(8)) and all(found)
    assert defined(made, "counted") == defined(made, "grown") == 1


def test_values_go_from_one_to_the_other(program: Path) -> None:
    m = hybridc.load(program)
    tree = m.tree.native([5, 3, 8])
    for value in (4, 9):
        tree = m.grown.native(tree, value)
    assert m.in_order(tree) == [3, 4, 5, 8, 9]
    del tree
    add = m.adder(2)
    assert [m.applied(add, i) for i in range(3)] == [4, 5, 6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_child_makes_what_its_parent_did_not(program: Path) -> None:
    code = f"""
import os, hybridc
from hybridc.llvm import compile
compile.LARGE = 0
m = hybridc.load({str(program)!r})
assert m.adder(1)(1) == 2
child = os.fork()
if not child:
    assert m.in_order(m.tree([2, 1, 3])) == [1, 2, 3]
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert m.in_order(m.tree([2, 1, 3])) == [1, 2, 3]
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


BEGIN = """
import os, signal, sys, threading, time
import hybridc
from hybridc.llvm import backend, compile, partition
from hybridc_runtime import linking
compile.LARGE = partition.WHOLE = 0
partition.LEAST, partition.MOST = 20, 40
os.sched_getaffinity = lambda process: {0, 1, 2}
linking.PATIENCE = 1
m = hybridc.load(sys.argv[1])
words = ["a", "b", "a"]
compile_one = backend._object
inside, go_on = threading.Event(), threading.Event()
def waits(*args):
    inside.set()
    go_on.wait(WAIT)
    return compile_one(*args)
"""


def run(program: Path, code: str, wait: float = 60) -> str:
    """What a process says."""
    code = BEGIN.replace("WAIT", str(wait)) + code
    done = subprocess.run([sys.executable, "-c", code, str(program)], capture_output=True, text=True, timeout=120)
    assert not done.returncode and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize("wait", [0.3, 3], ids=["which ends first", "which takes longer"])
def test_a_child_of_a_process_that_makes_code(program: Path, wait: float) -> None:
    """Its locks are held by threads that it has not. What the child is to make has no thread beside it."""
    said = run(program, """
import gc
before = gc.get_threshold()
backend._object = waits
thread = threading.Thread(target=lambda: print(m.best(words).value))
thread.start()
inside.wait()
child = os.fork()
if not child:
    backend._object = compile_one
    signal.alarm(60)
    assert gc.get_threshold() == before
    assert m.best(words).value == 2
    assert m.in_order(m.tree([2, 1, 3])) == [1, 2, 3]
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on.set()
thread.join()
print(m.in_order(m.tree([2, 1, 3])))
""", wait).splitlines()
    assert sorted(said[:2]) == ["2", "7"] and said[2:] == ["[1, 2, 3]"]


def test_first_calls_as_the_process_ends(program: Path) -> None:
    """Python begins no thread of a pool any more."""
    assert run(program, """
import atexit
def work():
    threading.main_thread().join()
    print(m.best(words).value)
threading.Thread(target=work).start()
atexit.register(lambda: print(m.in_order(m.tree([2, 1]))))
""") == "2\n[1, 2]\n"


def test_a_signal_while_an_argument_is_understood(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What writes a type's values is made at the first call, by parts that may be of that type."""
    m = hybridc.load(program)

    def ends(*args: Any) -> Any:
        raise KeyboardInterrupt

    tree = m.tree([2, 1])
    with monkeypatch.context() as patch:
        patch.setattr(Writers, "_enum", ends)
        with pytest.raises(KeyboardInterrupt):
            m.in_order(tree)
    assert m.in_order(tree) == [1, 2]


def test_a_signal_while_it_is_made(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = hybridc.load(program)
    compile_one = backend._object

    def watched(text: str, cpu: str, opt: int) -> bytes:
        os.kill(os.getpid(), signal.SIGINT)
        return compile_one(text, cpu, opt)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_object", watched)
        with pytest.raises(KeyboardInterrupt):
            m.best(WORDS)
    assert m.best(WORDS).value == 3


def test_names_with_any_characters(program: Path) -> None:
    program.write_text(
        "model Named(name: str, sizes: (int, int)):\n    param w: f32[sizes[0]] = ones()\n\n    fn forward() -> str:\n"
        "        return self.name\n"
    )
    m = hybridc.load(program)
    for name in ('a "b" \\ 50', "é\n", "@x"):
        assert m.Named(name, (2, 3))() == name


def test_a_signal_while_it_is_linked(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come where llvmlite has just taken its lock."""
    m = hybridc.load(program)

    def ends(*args: Any) -> Any:
        linking._lock_of_llvm().acquire()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(llvm.JITLibraryBuilder, "link", ends)
        with pytest.raises(KeyboardInterrupt):
            m.best(WORDS)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(m.best(WORDS).value), daemon=True)
    thread.start()
    thread.join(60)
    assert found == [3]


def test_two_programs_with_the_same_names(program: Path) -> None:
    first = hybridc.load(program)
    other = program.parent / "other.hyb"
    other.write_text(PROGRAM.replace("i * i", "i + 100"))
    second = hybridc.load(other)
    for m, _ in itertools.product((first, second), range(2)):
        assert m.squares(2) == ([0, 1] if m is first else [100, 101])
        assert m.best(WORDS).value == 3
