"""Loops that ask whether their index has come to a place are two (passes/split.py), and give what they gave."""

from __future__ import annotations

import random

import pytest

import hybridc
from hybridc import driver
from hybridc.core.ir import If, Loop, Op
from hybridc.core.walk import statements
from tests.core.texts import parsed

FN = """
fn f{0}(xs: list[int], ys: list[int], at: int, n: int) -> (list[int], int):
    var out = [0] * n
    var total = 0
    for i in range({1}, n):
        out[i] = ys[i] * 3
        if {2}:
            out[i] += xs[i - at] if {3} else 7
            total += i
        else:
            total -= out[i]
    return (out, total)
"""
CASES = [("0", "at <= i", "true"), ("0", "i >= at", "true"), ("0", "i > at", "true"), ("0", "at < i", "true"),
         ("0", "i < at", "false"), ("0", "i <= at", "false"), ("0", "not i < at", "true"), ("3", "at <= i", "true"),
         ("0", "at > i", "false"), ("0", "at >= i", "false")]
FAR = (1 << 63) - 1


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("split") / "split.hyb"
    file.write_text("".join(FN.format(k, *case) for k, case in enumerate(CASES)))
    return str(file)


def test_they_are_two(path: str) -> None:
    """In each of them a turn asks nothing but whether it is there."""
    core = parsed(driver.emit(path, "core"))
    for k in range(len(CASES)):
        loops = [s for s in statements(core.fns[f"f{k}"].body) if isinstance(s, Loop)]
        writes = [s for s in loops if any(isinstance(x, Op) and x.op == "mul" for x in s.body.stmts)]
        assert sum(len([x for x in s.body.stmts if isinstance(x, If)]) == 1 for s in writes) >= 2, k


@pytest.mark.parametrize("k", range(len(CASES)))
def test_what_they_give(path: str, k: int) -> None:
    f = getattr(hybridc.load(path), f"f{k}")
    start, test, reads = CASES[k]
    random.seed(k)
    for n in (0, 1, 2, 5, 40):
        xs, ys = ([random.randint(-9, 9) for _ in range(n)] for _ in range(2))
        for at in (0, 1, 2, n - 1, n, n + 1, FAR, FAR - 1, -1, -FAR - 1):
            try:
                wanted = turns(xs, ys, at, n, int(start), test, reads == "true")
            except IndexError:
                with pytest.raises(IndexError):
                    f(xs, ys, at, n)
                continue
            assert f(xs, ys, at, n) == wanted, (n, at)


def turns(xs: list[int], ys: list[int], at: int, n: int, start: int, test: str, reads: bool) -> tuple[list[int], int]:
    out, total = [0] * n, 0
    for i in range(start, n):
        out[i] = ys[i] * 3
        if eval(test, {"i": i, "at": at}):
            place = (i - at + (1 << 63)) % (1 << 64) - (1 << 63)
            if reads and not -n <= place < n:
                raise IndexError
            out[i] += xs[place] if reads else 7
            total += i
        else:
            total -= out[i]
    return out, total
