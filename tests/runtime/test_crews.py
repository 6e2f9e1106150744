"""The machine code of `parallel` loops: contexts that are used again after faults, prints and services; signals while a
thread waits for the others; several Python threads, loops within services, forks; and depth on every thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hybridc_runtime import glue
from hybridc_runtime.linking import jit
from hybridc_runtime.memory import word

import hybridc
from tests.leaks import live_blocks

SOURCE = """
extern fn outside(n: int) -> int

fn squares(n: int) -> list[int]:
    return parallel [i * i for i in range(n)]

fn spin(turns: int) -> int:
    var x = 1
    var i = 0
    while i < turns:
        x = (x * 5 + i) % 1000003
        i += 1
    return x

fn waits(first: int, others: int, n: int) -> list[int]:
    return parallel [spin(first if i == 0 else others) for i in range(n)]

fn checked(i: int, bad: list[int]) -> int:
    if i in bad:
        raise f"no {i}"  # checked
    return i

fn fails(n: int, bad: list[int]) -> int:
    return sum(parallel [checked(i, bad) for i in range(n)])  # fails

fn told(i: int, every: int, bad: int) -> int:
    if i == bad:
        raise f"no {i}"
    if i % every == 0:
        print(f"{i}")
    return i

fn says(n: int, every: int, bad: int) -> int:
    return sum(parallel [told(i, every, bad) for i in range(n)])

fn asks(n: int) -> list[int]:
    return parallel [outside(i) for i in range(n)]

fn depth(n: int) -> int:
    return 0 if n == 0 else 1 + depth(n - 1)

fn deep(n: int, turns: int) -> list[int]:
    return parallel [depth(n) + spin(20000) * 0 for i in range(turns)]

fn product(a: f32[M, K], b: f32[K, N]) -> f32[M, N]:
    return a @ b

enum Tree:
    Tip(n: int)
    Node(left: Tree, right: Tree)

fn tree(depth: int) -> Tree:
    return Tip(1) if depth == 0 else Node(tree(depth - 1), tree(depth - 1))

fn size(t: Tree) -> int:
    match t:
        case Tip(n): return n
        case Node(left, right): return size(left) + size(right)

fn churned(t: Tree, turns: int) -> int:
    var held: list[Tree] = []
    for i in range(turns):
        held.push(t)
    return len(held)

fn shared(t: Tree, n: int) -> int:
    return sum(parallel [churned(t, i % 50) for i in range(n)]) + churned(t, 1000)

fn put(path: str, i: int, bad: int) -> int:
    var m = store[int, int](path)
    m[i] = i
    if i == bad:
        raise "not this one"
    return i

fn puts(path: str, n: int, bad: int) -> int:
    return sum(parallel [put(path, i, bad) for i in range(n)])

fn puts_and_sees(path: str, n: int, bad: int, f: fn(int) -> int) -> list[int]:
    # What is there after puts, of which `f` says whether it failed.
    var m = store[int, int](path)
    m[-1] = 7
    var seen = [f(n)]
    for k in m:
        seen.push(m[k])
    return seen
"""
called: list = []
"""What the extern does."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("loops") / "loops.hyb"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module", params=["2", "3"])
def mod(request, path):
    """With more threads than this machine may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYB_THREADS", request.param)
        return hybridc.load(path, externs={"outside": lambda n: called[-1](n)})


@pytest.fixture(autouse=True)
def nobody_is_inside():
    yield
    assert word(jit().inside) == word(jit().inside + glue.LONE) == 0


def test_every_index_once(mod):
    for n in (0, 1, 2, 3, 5, 8, 63, 64, 65, 257, 1000, 100_003):
        assert mod.squares(n) == [i * i for i in range(n)]


def test_indices_of_a_long_turn_are_taken_over(mod):
    """The first thread takes several indices and stays at the first of them."""
    assert mod.waits(3_000_000, 10, 500) == [*mod.waits(3_000_000, 10, 1), *mod.waits(10, 10, 1) * 499]


def test_the_lowest_fault_over_and_over(mod):
    mod.fails(100, [])
    before = live_blocks(mod)
    for turn in range(60):
        bad = [100 - turn, 150, 199]
        with pytest.raises(hybridc.HybError, match=f"no {100 - turn}$") as found:
            mod.fails(200, bad)
        assert [name for _, _, name in found.value.frames] == ["fails", "checked"]
        assert mod.fails(200, []) == 199 * 100
    assert live_blocks(mod) == before


def test_some_turns_print(mod, capsys):
    for every, bad in ((1, -1), (7, -1), (50, 120), (1000, -1), (1000, 3), (1, 0)):
        lines = [str(i) for i in range(0, bad if bad >= 0 else 200, every)]
        if bad < 0:
            assert mod.says(200, every, bad) == 199 * 100
        else:
            with pytest.raises(hybridc.HybError, match=f"no {bad}"):
                mod.says(200, every, bad)
        assert capsys.readouterr().out.splitlines() == lines


def test_services_of_threads_that_python_did_not_know(mod):
    own = threading.local()
    seen: dict[int, int] = {}

    def outside(n):
        own.count = getattr(own, "count", 0) + 1
        seen[threading.get_ident()] = own.count
        time.sleep(0.0002)
        return n + 1

    called.append(outside)
    for _ in range(3):
        assert mod.asks(60) == list(range(1, 61))
    assert len(seen) > 1 and sum(seen.values()) == 180  # each thread kept its own


def test_a_fault_in_a_service(mod):
    def outside(n):
        if n in (11, 40):
            raise LookupError(str(n))
        return n

    called.append(outside)
    for _ in range(20):
        with pytest.raises(LookupError, match="^11$"):
            mod.asks(60)
    called.append(lambda n: n)
    assert mod.asks(60) == list(range(60))


def test_a_loop_within_a_service(mod):
    called.append(lambda n: sum(mod.squares(n)))
    assert mod.asks(30) == [sum(i * i for i in range(n)) for n in range(30)]


def test_several_python_threads(mod):
    wrong: list = []

    def work(k):
        try:
            for turn in range(60):
                n = 50 * k + turn
                assert mod.squares(n) == [i * i for i in range(n)]
                with pytest.raises(hybridc.HybError, match=f"no {k}$"):
                    mod.fails(40, [k, 30])
        except BaseException as e:  # noqa: B036 (shown below)
            wrong.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not wrong and not any(t.is_alive() for t in threads)


def test_owners_are_counted_by_all(mod):
    t = mod.tree.native(4)
    block = next(leaf for leaf in t._owned.leaves if leaf > 1 << 20)
    for _ in range(30):
        assert mod.shared(t, 300) == sum(i % 50 for i in range(300)) + 1000
        assert word(block) == 1
    assert mod.size(t) == 16


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("first", "others", "n"), [
    (4_000_000_000, 10, 2), (10, 4_000_000_000, 2), (4_000_000_000, 4_000_000_000, 3), (30_000, 30_000, 10_000_000),
])
def test_a_signal_ends_the_loop(mod, first, others, n):
    """Wherever the thread that sees signals is: in a long turn, between quick ones, or waiting for the others."""
    sent: list[float] = []

    def handler(*_):
        raise Stopped

    def send():
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGALRM)

    mod.waits(1000, 1000, 5)
    before = live_blocks(mod)
    old = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(2):
            sent.clear()
            timer = threading.Timer(0.2, send)
            timer.start()
            with pytest.raises(Stopped):
                mod.waits(first, others, n)
            assert time.monotonic() - sent[0] < 1.0  # a tick takes 0.05 s where nothing else runs
            timer.join()
            assert mod.squares(100) == [i * i for i in range(100)]
    finally:
        signal.signal(signal.SIGALRM, old)
    assert live_blocks(mod) == before


def test_depth_on_every_thread(mod):
    assert mod.deep(9000, 40) == [9000] * 40
    for _ in range(5):
        with pytest.raises(RecursionError, match="maximum call depth exceeded"):
            mod.deep(20_000, 40)
    assert mod.deep(10, 4) == [10] * 4


def test_what_a_failing_call_wrote_is_undone(mod, tmp_path):
    at = str(tmp_path / "store")

    def calls(bad):
        def f(n):
            try:
                return mod.puts(at, n, bad)
            except hybridc.HybError:
                return -1

        return f

    found, *seen = mod.puts_and_sees(at, 5, 0, calls(-1))
    assert found == 10 and sorted(seen) == [0, 1, 2, 3, 4, 7]
    for _ in range(3):
        assert mod.puts_and_sees(at, 40, 0, calls(20)) == [-1, 7]


FORKS = """
import os, sys, threading, time
import hybridc
mod = hybridc.load(sys.argv[1], externs={"outside": lambda n: n})
expected = [i * i for i in range(200)]
if sys.argv[2] == "before":
    assert mod.squares(200) == expected
stop = False
def work():
    while not stop:
        mod.waits(100000, 100000, 20)
thread = threading.Thread(target=work)
if sys.argv[2] == "during":
    thread.start()
    time.sleep(0.2)
for _ in range(4):
    child = os.fork()
    if not child:
        ok = mod.squares(200) == expected and mod.asks(50) == list(range(50))
        try:
            mod.fails(50, [7])
        except hybridc.HybError:
            ok = ok and mod.fails(50, []) == 1225
        if ok and not os.fork():
            os._exit(0 if mod.squares(200) == expected else 1)
        os._exit(0 if ok and os.wait()[1] == 0 else 1)
    end = time.monotonic() + 60
    found = 0, 0
    while found[0] == 0 and time.monotonic() < end:
        found = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    print(found[1] if found[0] else "hangs")
    assert mod.squares(200) == expected
stop = True
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("when", ["first", "before", "during"])
def test_children_of_a_fork(path, when):
    done = subprocess.run([sys.executable, "-c", FORKS, str(path), when], capture_output=True, text=True, timeout=200,
                          env={**os.environ, "HYB_THREADS": "3"}, check=False)
    assert (done.stdout, done.stderr) == ("0\n" * 4, "")


ENDS = """
import atexit, sys, threading
import hybridc
mod = hybridc.load(sys.argv[1], externs={"outside": lambda n: sum(mod.squares(n))})
assert mod.asks(50)[3] == 5
print(len(threading.enumerate()) > 1)
atexit.register(lambda: print(sum(mod.squares(2000)), mod.asks(5)))
"""


def test_the_process_ends(path):
    """Though threads that Python does not join have called it, and used contexts of their own."""
    done = subprocess.run([sys.executable, "-c", ENDS, str(path)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HYB_THREADS": "3"}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "True\n2664667000 [0, 0, 1, 5, 14]\n", "")


TORCH = """
import sys
import numpy as np
import torch
import hybridc
mod = hybridc.load(sys.argv[1], externs={"outside": lambda n: n})
a = np.ones((500, 500), np.float32)
for turn in range(5):
    assert (mod.product(a, a) == 500).all() and float((torch.ones(500, 500) @ torch.ones(500, 500))[0, 0]) == 500
    assert mod.deep(9000, 40) == [9000] * 40
    assert mod.asks(40) == list(range(40))
    try:
        mod.deep(11000, 40)
    except RecursionError as e:
        print(e)
"""


@pytest.mark.parametrize("threads", ["2", "4"])
def test_beside_the_team_of_torch(path, threads):
    """Its threads have other stacks."""
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", TORCH, str(path)], capture_output=True, text=True, timeout=200,
                          env={**os.environ, "HYB_THREADS": threads}, check=False)
    assert (done.stdout, done.stderr) == ("maximum call depth exceeded\n" * 5, "")


NUMBA = """
import sys
import numba
import hybridc
calls = []
def outside(n):
    calls.append(n)
    return n
mod = hybridc.load(sys.argv[1], externs={"outside": outside})
total, fails = mod.total, mod.fails_at
@numba.njit
def run(n):
    s = 0
    for i in range(n):
        s += total(i)
    return s
@numba.njit
def bad(n):
    return fails(n)
assert run(40) == sum(i * i for i in range(40)) and run(40) > 0
for _ in range(3):
    try:
        bad(30)
    except hybridc.HybError as e:
        print(e)
print(len(calls))
"""


def test_callers_of_numba(tmp_path):
    """They have the GIL, for which services of the other threads wait."""
    pytest.importorskip("numba")
    path = tmp_path / "called.hyb"
    path.write_text("""
extern fn outside(n: int) -> int

fn total(n: int) -> int:
    return sum(parallel [outside(n) for i in range(n)])

fn bad(i: int) -> int:
    if i > 11:
        raise f"no {i}"
    return i

fn fails_at(n: int) -> int:
    return sum(parallel [bad(i) for i in range(n)])
""")
    done = subprocess.run([sys.executable, "-c", NUMBA, str(path)], capture_output=True, text=True, timeout=200,
                          env={**os.environ, "HYB_THREADS": "3"}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no 12\n" * 3 + f"{2 * 780}\n", "")
