"""Counting owners without atomic operations while one thread is in compiled code: alone, met by another, and left."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest
from hybridc_runtime import glue
from hybridc_runtime.linking import jit
from hybridc_runtime.memory import set_word, word

import hybridc

SOURCE = """
extern fn outside(n: int) -> int

enum Tree:
    Tip(n: int)
    Node(left: Tree, right: Tree)

fn tree(depth: int) -> Tree:
    if depth == 0:
        return Tip(1)
    return Node(tree(depth - 1), tree(depth - 1))

fn size(t: Tree) -> int:
    match t:
        case Tip(n): return n
        case Node(left, right): return size(left) + size(right)

# Takes and gives up owners of all its parts, over and over.
fn churn(t: Tree, turns: int) -> int:
    var held: list[Tree] = []
    var total = 0
    for i in range(turns):
        held.push(t)
        match held[len(held) - 1]:
            case Node(left, right):
                held.push(left)
                held.push(right)
            case _: pass
        if len(held) > 60:
            total += len(held)
            held = []
    return total

fn ask(t: Tree, n: int) -> int:
    let more = [t, t]
    return outside(n) + size(more[1])

fn fails(t: Tree, turns: int) -> int:
    let n = churn(t, turns)
    assert n < 0, "as it should"
    return n

fn together(t: Tree, turns: int) -> int:
    return sum(parallel [churn(t, turns + i) for i in range(8)])
"""

called = []
"""What the extern is to do next."""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "trees.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path, externs={"outside": lambda n: called.pop()(n)})


@pytest.fixture(autouse=True)
def fresh():
    """As in a process where no two threads have met; at the end nobody is inside."""
    inside = jit().inside
    set_word(inside + glue.MET, 0)
    yield
    assert word(inside) == word(inside + glue.LONE) == 0


def lone() -> int:
    return word(jit().inside + glue.LONE)


def met() -> int:
    return word(jit().inside + glue.MET)


def root(native) -> int:
    """The address of the block of a tree."""
    return next(leaf for leaf in native._owned.leaves if leaf > 1 << 20)


@contextlib.contextmanager
def running(f, *args):
    """While another thread runs f, after it went into compiled code."""
    results = []
    thread = threading.Thread(target=lambda: results.append(f(*args)))
    thread.start()
    end = time.monotonic() + 20
    while not lone() and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.0005)
    yield results
    thread.join(60)
    assert not thread.is_alive()


def test_who_counts_from_python_waits(mod):
    """For as long as the other thread takes to come to a poll, not to its end; and then that one counts atomically."""
    t = mod.tree.native(3)
    block = root(t)
    with running(mod.churn, t, 20_000_000) as results:
        assert lone() and not met()
        jit().retain(block)
        assert not lone() and met() and not results
        assert word(jit().inside) == 1
        for _ in range(2000):
            jit().retain(block)
            assert not jit().drop(block)
        assert not jit().drop(block)
    assert results and word(block) == 1
    with running(mod.churn, t, 1_000_000):
        assert not lone()  # not again in this process


def test_no_owner_is_lost(mod):
    """Two threads over the same tree, that meet again and again."""
    t = mod.tree.native(4)
    block = root(t)
    stop, turns = threading.Event(), [0, 0]

    def work(k):
        while not stop.is_set():
            mod.churn(t, 20_000)
            mod.tree.native(2)
            turns[k] += 1
            time.sleep(0.0007 * (k + 1))  # while both are outside, the next can be alone

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    meetings, end = 0, time.monotonic() + 60
    while (meetings < 200 or min(turns) < 50) and time.monotonic() < end:
        set_word(jit().inside + glue.MET, 0)
        jit().retain(block)
        jit().drop(block)
        meetings += met()
        time.sleep(0.0002)
    stop.set()
    for thread in threads:
        thread.join()
    assert meetings >= 200 and min(turns) >= 50
    assert word(block) == 1
    assert mod.size(t) == 16


def test_nobody_waits_for_a_service(mod):
    t = mod.tree.native(3)
    entered, done = threading.Event(), threading.Event()

    def wait(n):
        entered.set()
        assert done.wait(20)
        return n

    called.append(wait)
    results = []
    thread = threading.Thread(target=lambda: results.append(mod.ask(t, 5)))
    thread.start()
    assert entered.wait(20)
    assert not lone()
    assert mod.churn(t, 1000) > 0 and mod.size(t) == 8
    done.set()
    thread.join(20)
    assert results == [13] and not met() and word(root(t)) == 1


def test_a_call_within_a_service(mod):
    t = mod.tree.native(3)
    called.append(lambda n: mod.churn(t, 100) * 0 + mod.size(mod.tree.native(2)) + n)
    assert mod.ask(t, 1) == 4 + 1 + 8
    assert not met() and word(root(t)) == 1


def test_faults(mod):
    t = mod.tree.native(3)
    with pytest.raises(AssertionError, match="as it should"):
        mod.fails(t, 1000)

    def fail(n):
        raise LookupError("outside")

    called.append(fail)
    with pytest.raises(LookupError):
        mod.ask(t, 1)
    assert word(root(t)) == 1 and not met()


def test_workers_are_not_alone(mod):
    t = mod.tree.native(3)
    assert mod.together(t, 20_000) > 0
    assert word(root(t)) == 1 and not met()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_begins_anew(mod):
    """A fork while another thread is alone in compiled code: the child has no such thread, and waits for none."""
    t = mod.tree.native(3)
    with running(mod.churn, t, 8_000_000):
        assert lone()
        child = os.fork()
        if not child:
            ok = not lone() and mod.size(mod.tree.native(3)) == 8 and word(jit().inside) == 0
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
