"""The list of run-time failures in language.md, kind by kind: the class, the message, the line and the chain of calls;
the process and the module live on, and `mut` arguments are as before; from source and from an artifact."""

from __future__ import annotations

import builtins
import gc
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import hybridc
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "kinds.hyb"
LINES = SOURCE.read_text().splitlines()


def line_of(mark: str) -> int:
    (found,) = [i for i, line in enumerate(LINES, 1) if line.endswith(mark)]
    return found


def pairs() -> list[tuple[str, str, str, list[tuple[int, str]]]]:
    """(function to call, kind, message, the chain of (line, function)) of each pair in the file."""
    found, faults, calls, name, within = [], {}, {}, "", ""
    for i, line in enumerate(LINES, 1):
        if m := re.match(r"struct (\w+):", line):
            within = m[1] + "."
        if m := re.match(r"( *)(?:mut )?fn (\w+)\(", line):
            name = (within if m[1] else "") + m[2]
        if m := re.search(r"  # (\w+): (.*)$", line):
            faults[name] = (i, m[1], m[2])
        if line.endswith("  # call"):
            calls[name] = (i, re.findall(r"(\w+)\(", line))
    for name, (line, called) in calls.items():
        (inner,) = [f for f in faults if f.split(".")[-1] in called]
        at, kind, message = faults[inner]
        found.append((name, kind, message, [(line, name), (at, inner)]))
    return found


PAIRS = {p[0]: p for p in pairs()}


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(request, tmp_path_factory):
    externs = {"host": lambda n: 10 // (n - 3)}
    if request.param == "source":
        return hybridc.load(SOURCE, externs=externs)
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hybridc", "build", str(SOURCE), "-o", str(folder), "--target", "cpu:host"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return hybridc.load(folder / "kinds.hybx", externs=externs)


def frames(e: BaseException) -> list[tuple[int, str]]:
    """The frames of the program in the traceback, as (line, function)."""
    return [(f.lineno, f.name) for f in traceback.extract_tb(e.__traceback__) if f.filename.endswith("kinds.hyb")]


@pytest.mark.parametrize("name", PAIRS)
def test_fault(mod, name):
    _, kind, message, chain = PAIRS[name]
    xs = [1, 2, 3]
    with pytest.raises(getattr(hybridc, kind, None) or getattr(builtins, kind)) as found:
        getattr(mod, name)(xs)
    assert isinstance(found.value, hybridc.RuntimeFault)
    assert message in str(found.value)
    assert frames(found.value) == chain
    assert [(line, fn) for _, line, fn in found.value.frames] == chain
    assert xs == [1, 2, 3] and mod.sound(4) == 8


def test_the_list_is_walked():
    """Every pair is found, and together they are every kind that a program alone can cause."""
    kinds = {kind for _, kind, _, _ in PAIRS.values()}
    assert kinds == {
        "IndexError", "KeyError", "ZeroDivisionError", "ValueError", "AssertionError", "HybError", "MemoryError", "OSError",
    }
    assert len(PAIRS) == sum(line.endswith("# call") for line in LINES) > 45


def test_in_a_lambda(mod):
    xs = [1]
    with pytest.raises(ZeroDivisionError) as found:
        mod.at_closure(xs)
    made, called = line_of("# the lambda"), line_of("# call of the lambda")
    assert frames(found.value) == [(made, "at_closure"), (called, "closure"), (made, "lambda in at_closure")] and xs == [1]


def test_recursion(mod):
    xs = [1]
    with pytest.raises(RecursionError) as found:
        mod.deep(xs, 1_000_000)
    assert isinstance(found.value, hybridc.RuntimeFault) and xs == [1]
    chain = frames(found.value)
    assert chain[0] == (line_of("# call of down"), "deep")
    assert chain[1] == (line_of("# RecursionError"), "down")
    assert len("".join(traceback.format_exception(found.value))) < 10_000
    assert mod.down(9_000) == 9_000 and mod.deep(xs, 3) == 3 and xs == [1, 3]


@pytest.mark.parametrize(("depth", "n", "fits"), [("100", 90, True), ("100", 110, False), ("30000", 25_000, True)])
def test_depth_is_set_by_the_environment(depth, n, fits):
    code = f"""import hybridc
mod = hybridc.load({str(SOURCE)!r}, externs={{"host": abs}})
try:
    print(mod.down({n}))
except RecursionError as e:
    print(type(e).__mro__[1].__name__, mod.down(5))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"HYB_DEPTH": depth})
    assert done.stdout.split() == ([str(n)] if fits else ["RuntimeFault", "5"]), done.stderr


def test_an_exception_in_an_extern(mod):
    xs = [1]
    with pytest.raises(ZeroDivisionError, match="by zero") as found:
        mod.asks(xs, 3)
    assert type(found.value) is ZeroDivisionError, "the host's own exception comes through"
    assert frames(found.value) == [(line_of("return ask(n)  # call of ask"), "asks"), (line_of("# call of host"), "ask")]
    assert xs == [1] and mod.asks(xs, 5) == 6 and xs == [1, 5]


def test_an_extern_with_another_result():
    mod = hybridc.load(SOURCE, externs={"host": lambda n: "text"})
    xs = [1]
    with pytest.raises(ValueError, match="host: expected int, found str") as found:
        mod.asks(xs, 3)
    assert isinstance(found.value, hybridc.RuntimeFault) and frames(found.value)[-1] == (line_of("# call of host"), "ask")
    assert xs == [1] and mod.sound(1) == 2


def test_an_extern_that_is_missing():
    with pytest.raises(ValueError, match="host"):
        hybridc.load(SOURCE)


def test_effects_before_a_fault_happen_once():
    asked = []
    mod = hybridc.load(SOURCE, externs={"host": lambda n: asked.append(n) or 7})
    out, xs = io.StringIO(), [1]
    with redirect_stdout(out), pytest.raises(IndexError) as found:
        mod.prints_first(xs)
    assert out.getvalue() == "before\nasked 7\n" and asked == [3] and xs == [1]
    assert frames(found.value) == [(line_of("# after the prints"), "prints_first")]


def test_interrupt(mod):
    found = [interrupted(mod) for _ in range(4)]  # the first ones may come while the code is made
    chain = found[-1]
    assert chain[0] == (line_of("# call of endless"), "spin") and chain[1][1] == "endless"
    assert all(c in ([], chain) for c in found) and mod.sound(3) == 6


def interrupted(mod):
    """The frames of an endless call that is ended after some time."""
    sent, xs = [], [0]
    timer = threading.Timer(0.3, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT)))
    timer.start()
    with pytest.raises(KeyboardInterrupt) as found:
        mod.spin(xs)
    assert time.monotonic() - sent[0] < 1 and xs == [0]
    return frames(found.value)


def test_a_models_state_is_as_before(mod):
    m = mod.Counter(size=3)
    assert m.count(1) == 1
    before = m.state_dict()
    with pytest.raises(ZeroDivisionError) as found:
        m.count(0)
    assert frames(found.value) == [(line_of("# in count"), "Counter.count")]
    assert m.state_dict().keys() == before.keys() and m.count(1) == 2


def test_the_process_lives_on(mod):
    """Many faults of every kind in one process leave nothing behind."""

    def live():
        gc.collect()
        return live_blocks(mod)

    before = live()
    for _ in range(3):
        for name in PAIRS:
            with pytest.raises(hybridc.RuntimeFault):
                getattr(mod, name)([1, 2, 3])
    assert live() == before
