"""Loops whose turns compute numbers ahead, several at once: which do, and that nobody can tell."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from pathlib import Path

import pytest

import hybridc
from hybridc import driver
from hybridc.core.ir import Loop
from hybridc.explaining import explain
from hybridc.passes import lanes
from hybridc.passes.counted import counted
from tests.core.texts import parsed

sys.path.insert(0, str(Path(__file__).parent))
import lane_programs  # noqa: E402

HALVED = """
fn halved(x: f64) -> int:
    var y = x
    var n = 0
    while y > 1.0:
        y = y * 0.5
        n += 1
    return n

"""
IN_LANES = {
    "a list": "fn f(xs: list[f64]) -> list[int]:\n    return [halved(x) for x in xs]",
    "the place": "fn f(n: int) -> int:\n    var t = 0\n    for i in range(n):\n        t += halved(f64(i))\n    return t",
    "leaving": "fn f(xs: list[f64]) -> int:\n    for x in xs:\n        if halved(x) > 9:\n            return 1\n    return 0",
    "indices": "fn f(xs: list[f64], at: list[int]) -> list[int]:\n    return [halved(xs[i]) for i in at]",
    "a chain": "fn f(n: int, xs: list[int]) -> list[int]:\n    var out: list[int] = []\n    for x in xs:\n"
               "        var s = x\n        for k in range(n):\n            s = s * 25214903917 + 11\n        out.push(s)\n"
               "    return out",
}
ONE_BY_ONE = {
    "few turns": ("fn f(x: f64) -> int:\n    var t = 0\n    for i in range(9):\n        t += halved(x + f64(i))\n    return t",
                  12, "it has at most 16 turns", 12),
    "what a turn before gives": ("fn f(n: int) -> int:\n    var t = 7\n    for i in range(n):\n        t += halved(f64(t))\n"
                                 "    return t", 12, "it needs a value of the turn before", 13),
    "a call of the C library": ("fn f(xs: list[f64]) -> int:\n    var t = 0\n    for x in xs:\n        var y = x\n        var n = 0\n"
                                "        while y > 1.0:\n            y = log(y)\n            n += 1\n        t += n\n    return t",
                                12, "vectors have no `log`", 16),
    "a function that calls it": ("fn g(x: f64) -> f64:\n    var y = x\n    while y > 1.0:\n        y = exp(y) - y * y\n    return y\n\n"
                                 "fn f(xs: list[f64]) -> list[f64]:\n    return [g(x) for x in xs]",
                                 17, "vectors have no `exp`", 13),
    "text": ("fn f(n: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n"
             "        while k > 0:\n            k -= len(f\"{k}\")\n        t += k\n    return t",
             12, "it uses more than numbers, which is all that lanes hold", 15),
    "an element of a tensor": ("fn f(n: int, xs: f64[N]) -> f64:\n    var t: f64 = 0\n    for i in range(n):\n        var k = i\n"
                                   "        var s: f64 = 0\n        while s < 3.0:\n            s += 1.0 + xs[k]\n            k += 1\n"
                                   "        t += s\n    return t", 12, "it uses more than numbers, which is all that lanes hold", 16),
    "a fault of its own": ("fn f(n: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n        while k != 1:\n"
                           "            assert k > 0\n            k = k >> 1\n        t += k\n    return t",
                           12, "an AssertionError may end it", 15),
    "a way out of both loops": ("fn f(n: int) -> int:\n    for i in range(n):\n        var k = i * 3\n        while k > 5:\n"
                                "            k = k - 7\n            if k == 3:\n                return i\n    return -1",
                                11, "it leaves the loop around it", 13),
    "what the turn has changed": ("fn f(xs: list[int]) -> list[int]:\n    var out = xs\n    for i in range(len(out)):\n"
                                  "        out[i] = out[i] * 3\n        var k = out[i]\n        while k > 9:\n            k = k - 7\n"
                                  "        out[i] = k\n    return out", 12, "it reads what the turn changes", 14),
    "a shift by a variable": ("fn f(n: int, by: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n"
                              "        while k > 9:\n            k = k >> by\n        t += k\n    return t",
                              12, "`>>` may fault", 15),
    "an index": ("fn f(n: int, steps: list[int]) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n"
                 "        while k > 0:\n            k -= steps[k & 3]\n        t += k\n    return t",
                 12, "an index may be out of range", 15),
    "sums": ("fn f(n: int) -> list[int]:\n    var out: list[int] = []\n    for i in range(n):\n        var s = 0\n"
             "        for k in range(i):\n            s += k * k\n        out.push(s)\n    return out", 0, "", 0),
    "a division that may fault": ("fn f(n: int, by: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n"
                                  "        while k > 0:\n            k = k // by\n        t += k\n    return t",
                                  12, "`//` may fault", 15),
    "a division by a constant": ("fn f(n: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n"
                                 "        while k > 4:\n            k = k // 5\n        t += k\n    return t",
                                 12, "vectors divide whole numbers by powers of two only", 15),
    "too much": ("fn f(n: int) -> int:\n    var t = 0\n    for i in range(n):\n        var k = i\n        while k > 4:\n"
                 + "            k = (k * 3 + i) & 1023\n" * 60 + "        t += k\n    return t",
                 12, "it has more than 160 statements", 14),
}
"""What is computed turn by turn, the line of its loop, and why, with the line of the cause; nothing is said of a loop
that has no long one within."""


def in_lanes(tmp_path: Path, source: str, cpu: str) -> bool:
    """Does `hybridc explain` say so too?"""
    path = tmp_path / "program.hyb"
    path.write_text(HALVED + source + "\n")
    text = driver.emit(str(path), "llvm", target=f"cpu:{cpu}")
    found = any(line.startswith("lanes") for line in text.splitlines())
    width = {"x86-64-v4": 16, "x86-64-v3": 8}.get(cpu)
    assert (f"): {width} turns at once, what " in explain(str(path), target=f"cpu:{cpu}")) == found
    return found


@pytest.mark.parametrize("name", IN_LANES)
def test_in_lanes(tmp_path, name):
    assert in_lanes(tmp_path, IN_LANES[name], "x86-64-v4")
    assert in_lanes(tmp_path, IN_LANES[name], "x86-64-v3") == (name != "a chain")  # whose products AVX2 has not
    assert not in_lanes(tmp_path, IN_LANES[name], "x86-64-v2")


def test_processors_without(tmp_path):
    path = tmp_path / "program.hyb"
    path.write_text(HALVED + IN_LANES["a chain"] + "\n")
    said = [line.strip().replace(str(path), "") for line in explain(str(path), target="cpu:x86-64-v3").splitlines()]
    assert "the loop (:12): AVX2 has no `*` of whole numbers, AVX-512 has (:15)" in said
    said = [line.strip().replace(str(path), "") for line in explain(str(path), target="cpu:x86-64-v2").splitlines()]
    assert "the loop (:12): the processor has too short vectors (:12)" in said


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_by_one(tmp_path, name):
    source, loop, why, line = ONE_BY_ONE[name]
    assert not in_lanes(tmp_path, source, "x86-64-v4")
    path = tmp_path / "program.hyb"
    said = [text.strip().replace(str(path), "") for text in explain(str(path), target="cpu:x86-64-v4").splitlines()]
    found = [text for text in said if text.startswith("the loop")]
    assert found == ([f"the loop (:{loop}): {why} (:{line})"] if why else [])


ANEW = """
fn f(n%1: int) -> (int, int) {
  %13: int, %14: int = loop 1 (%2: int = 0, %3: int = 0, %4: int = 0) {
    %5: bool = lt(%4, n%1)
    if %5 {
      yield
    } else {
      exit 1 %2, %3
    }
    %6: int = loop 2 (%7: int = %4) {
      %8: bool = gt(%7, 9)
      if %8 {
        yield
      } else {
        exit 2 %7
      }
      %9: int = sub(%7, 7)
      yield %9
    }
    %10: int = add(%2, %6)
    %11: int = hash_seed()
    %12: int = add(%4, 1)
    yield %10, %11, %12
  }
  yield %13, %14
}
"""


def test_what_the_next_turn_has_from_an_operator_without_arguments():
    program = parsed(ANEW)
    fn = program.fns["f"]
    loop = fn.body.stmts[0]
    found = lanes.ahead(fn, loop, counted(loop), program)
    assert found is not None and [type(s) for s in found.whole] == [Loop] and found.counters == (loop.params[2],)


def bits(x: float) -> bytes:
    return struct.pack("d", x) if x == x else b"nan"


@pytest.mark.parametrize("seed", range(12))
def test_the_same_bits(tmp_path, seed):
    path = tmp_path / "program.hyb"
    path.write_text(lane_programs.program(seed))
    said = explain(str(path), "many", target="cpu:x86-64-v4")
    assert ("16 turns at once" in said) != ("it has more than 160 statements" in said)
    mod = hybridc.load(path)
    some = lane_programs.random.Random(seed)
    xs = [some.choice([some.uniform(-4, 4), 0.0, float(some.randint(-3, 3)), some.uniform(0, 1e6)]) for _ in range(77)]
    ks = [some.randint(-100, 1000) for _ in xs]
    single = [mod.one(x, k) for x, k in zip(xs, ks, strict=True)]
    assert list(map(bits, mod.many(xs, ks))) == list(map(bits, single))
    turns = [mod.one(xs[i & 31], i) for i in range(-40, 200)]
    for start in (-40, -3, 0, 5):
        least = max((v for v in turns[start + 40 : start + 140] if v == v), default=0.0)
        assert mod.first(xs, start, least) == next(i for i in range(start, 200) if turns[i + 40] >= least)
    for count in range(18):
        assert list(map(bits, mod.many(xs[:count], ks))) == list(map(bits, single[:count]))


ENDLESS = """
fn steps(x: int) -> int:
    var n = x
    var count = 0
    while n != 0:
        n = n - 2
        count += 1
    return count

fn total(xs: list[int], n: int) -> int:
    var kept = [0]
    var t = 0
    for i in range(n):
        let c = steps(xs[i])
        kept.push(c)
        t += c
    return t + len(kept)

fn told(xs: list[int], n: int):
    for i in range(n):
        print(i)
        if xs[i] == 1:
            print("odd")
            return
        print(steps(xs[i]))
"""


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("lanes") / "endless.hyb"
    path.write_text(ENDLESS)
    return hybridc.load(path)


def test_a_fault_comes_at_its_turn(endless):
    assert endless.total([2 * i for i in range(40)], 40) == 780 + 41
    with pytest.raises(IndexError, match="index 5 is out of range for length 5") as found:
        endless.total([2, 4, 6, 8, 10], 30)
    assert [name for _, _, name in found.value.frames] == ["total"]


def test_effects_come_before_what_does_not_end(endless, capfd):
    endless.told([2, 4, 1, 1], 4)
    assert capfd.readouterr().out.split() == ["0", "1", "1", "2", "2", "odd"]


def test_an_interrupt_ends_what_does_not_end(endless, capfd):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        endless.total([4, 1] * 20, 40)
