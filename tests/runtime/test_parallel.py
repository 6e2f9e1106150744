"""`parallel` within `parallel`, which one thread does: as deep as calls may be, in order, with the first fault; and loops
of quick bodies, which a signal interrupts too."""

from __future__ import annotations

import signal
import threading
import time

import pytest

import hybridc
from hybridc import driver
from hybridc.core.interp import InterpFault, Interpreter

DEPTH = 10_000
"""Calls that may be nested."""
SOURCE = """
fn deep(n: int) -> int:
    if n == 0:
        return 0
    return 1 + (parallel [deep(k) for k in [n - 1]])[0]

fn cell(i: int, j: int, bad: int) -> int:
    print(f"{i} {j}")
    if i * 10 + j == bad:
        raise f"no {i} {j}"  # cell
    return i * 10 + j

fn row(i: int, n: int, bad: int) -> list[int]:
    print(f"row {i}")
    let cells = parallel [cell(i, j, bad) for j in range(n)]  # row
    print(f"end {i}")
    return cells

fn table(n: int, bad: int) -> list[list[int]]:
    return parallel [row(i, n, bad) for i in range(n)]  # table

fn mixed(i: int) -> u8:
    var x = i
    for k in range(16):
        x = (x * 31 + k) % 1000003
    return u8(x % 256)

fn quick(n: int) -> int:
    return len(parallel [mixed(i) for i in range(n)])

fn quick_within(n: int) -> int:
    return len(parallel [len(parallel [mixed(i + j) for j in range(n)]) for i in range(4)])
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("parallel") / "loops.hyb"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(request, path):
    if request.param == "source":
        return hybridc.load(path)
    built = path.with_suffix(".hybx")
    built.write_bytes(driver.artifact(driver.check(str(path))))
    return hybridc.load(built, trust=True)


def test_as_deep_as_other_calls(mod, path):
    assert mod.deep(DEPTH - 3) == DEPTH - 3
    for n in (DEPTH + 1, 3 * DEPTH):
        with pytest.raises(RecursionError, match="maximum call depth exceeded") as found:
            mod.deep(n)
        assert isinstance(found.value, hybridc.RuntimeFault)
    assert mod.deep(5) == 5
    machine = Interpreter(driver.lower(driver.check(str(path)))[0])
    assert machine.call("deep", (DEPTH - 3,)) == (DEPTH - 3,)
    with pytest.raises(InterpFault, match="maximum call depth exceeded"):
        machine.call("deep", (DEPTH + 1,))


def expected(n, bad):
    for i in range(n):
        yield f"row {i}"
        for j in range(n):
            yield f"{i} {j}"
            if i * 10 + j == bad:
                return
        yield f"end {i}"


def test_in_order_up_to_the_first_fault(mod, capsys):
    assert mod.table(4, -1) == [[10 * i + j for j in range(4)] for i in range(4)]
    assert capsys.readouterr().out.splitlines() == list(expected(4, -1))
    for bad in (0, 12, 21):
        with pytest.raises(hybridc.HybError, match=f"no {bad // 10} {bad % 10}") as found:
            mod.table(4, bad)
        assert capsys.readouterr().out.splitlines() == list(expected(4, bad))
        assert [name for _, _, name in found.value.frames] == ["table", "row", "cell"]


@pytest.mark.parametrize(("name", "n"), [("quick", 1 << 27), ("quick_within", 1 << 26)])
def test_quick_bodies_are_interrupted(mod, name, n):
    """The numbers take many seconds: a loop that nobody interrupts would be seen."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            getattr(mod, name)(n)
    finally:
        timer.cancel()  # a signal that comes later would end the tests
    assert time.monotonic() - sent[0] < 1.0
    timer.join()
    assert getattr(mod, name)(3) in (3, 4)
