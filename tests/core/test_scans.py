"""Which loops passes/scans.py computes by stretches, and that they give what they gave: where sums wrap too."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import hybridc
from hybridc import driver
from hybridc.core.interp import Interpreter
from hybridc.core.verify import check_after
from hybridc.passes import scans
from hybridc.passes.scans import LEAST, STRETCH
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome

SOURCE = """
fn rows(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(n):
        row[j + 1] = min(min(above[j + 1] + 1, row[j] + 1), above[j] + costs[j])
    return row

fn either(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(1, n + 1):
        if costs[j - 1] == 0:
            row[j] = above[j - 1]
        else:
            row[j] = 1 + min(above[j], row[j - 1], above[j - 1])
    return row

fn common(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(n):
        if costs[j] == 0:
            row[j + 1] = above[j] + 1
        else:
            row[j + 1] = max(above[j + 1], row[j])
    return row

fn carried(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = above
    var last = left
    var corner = above[0]
    row[0] = left
    for j in range(n):
        let here = row[j + 1]
        last = min(min(last, here) + 1, corner + costs[j])
        row[j + 1] = last
        corner = here
    return row

fn local(above: list[int], costs: list[int], left: int, n: int, gap: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(n):
        row[j + 1] = max(max(0, above[j] + costs[j]), max(above[j + 1] - gap, row[j] - gap))
    return row

fn highest(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(n):
        row[j + 1] = max(row[j], above[j + 1])
    return row

fn nested(above: list[int], costs: list[int], left: int, n: int) -> list[int]:
    var row = [left] * (n + 1)
    for j in range(n):
        row[j + 1] = min(min(row[j], above[j]) - 3, costs[j]) + 2
    return row
"""
OTHERS = {
    "two turns before": "row[j + 2] = min(row[j], above[j])",
    "what comes next": "row[j] = min(row[j + 1], above[j])",
    "two chains": "row[j + 1] = max(min(row[j], above[j]), costs[j])",
    "a product": "row[j + 1] = min(row[j] * 2, above[j])",
    "a step of its own": "row[j + 1] = min(row[j] + costs[j], above[j])",
    "a choice by what comes late": "row[j + 1] = min(row[j], above[j]) if row[j] > 3 else costs[j]",
    "no minimum": "row[j + 1] = row[j] + 1 if costs[j] == 0 else above[j]",
    "one that stays": "row[j + 1] = min(row[j], above[j]) if costs[j] == 0 else row[j]",
    "steps that differ": "row[j + 1] = min(row[j], above[j]) if costs[j] == 0 else min(row[j] + 1, above[j])",
}
"""Turns that are none of these, or that nothing is gained by."""
HEAD = "fn f(above: list[int], costs: list[int], n: int) -> list[int]:\n    var row = [0] * (n + 2)\n"
GREATEST = (1 << 63) - 1


def wrapped(x: int) -> int:
    return (x + (1 << 63)) % (1 << 64) - (1 << 63)


def turns(above: list[int], costs: list[int], left: int, n: int, new: Callable[..., int]) -> list[int]:
    row = [left]
    for j in range(n):
        row.append(new(above[j], above[j + 1], row[j], costs[j]))
    return row


def plus(*numbers: int) -> int:
    return wrapped(sum(numbers))


def by(gap: int) -> Callable[..., int]:
    return lambda d, u, x, c: max(0, plus(d, c), plus(u, -gap), plus(x, -gap))


WANTED: dict[str, Callable[..., int]] = {
    "rows": lambda d, u, x, c: min(plus(u, 1), plus(x, 1), plus(d, c)),
    "either": lambda d, u, x, c: d if c == 0 else plus(1, min(u, x, d)),
    "common": lambda d, u, x, c: plus(d, 1) if c == 0 else max(u, x),
    "carried": lambda d, u, x, c: min(plus(min(x, u), 1), plus(d, c)),
    "highest": lambda d, u, x, c: max(x, u),
    "nested": lambda d, u, x, c: plus(min(plus(min(x, d), -3), c), 2),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("scans") / "rows.hyb"
    file.write_text(SOURCE)
    return str(file)


@pytest.fixture(scope="module")
def mod(path: str):
    return hybridc.load(path)


def test_which_loops(path: str) -> None:
    found = driver.emit(path, "core").split("\nfn ")
    names = {part.split()[0] for part in found if "buffer_scan" in part}
    assert names == {*WANTED, "local"}


@pytest.mark.parametrize("turn", OTHERS.values(), ids=OTHERS)
def test_others_stay(turn: str, tmp_path) -> None:
    file = tmp_path / "others.hyb"
    file.write_text(HEAD + f"    for j in range(n):\n        {turn}\n    return row\n")
    assert "buffer_scan" not in driver.emit(str(file), "core")


def numbers(n: int, far: int) -> tuple[list[int], list[int], int]:
    above = [random.choice([random.randint(-9, 9), random.randint(-far, far), far, -far]) for _ in range(n + 1)]
    return above, [random.randint(0, 2) for _ in range(n)], random.randint(-far, far)


@pytest.mark.parametrize("far", [20, 1 << 40, (1 << 62) - 2, 1 << 62, GREATEST])
@pytest.mark.parametrize("name", WANTED)
def test_what_is_written(mod, name: str, far: int) -> None:
    random.seed(far)
    for n in (0, 1, LEAST - 1, LEAST, LEAST + 1, 100, STRETCH, STRETCH + 1, 3 * STRETCH + 40):
        above, costs, left = numbers(n, far)
        got = getattr(mod, name)(above, costs, left, n)
        assert got[1:] == turns(above, costs, left, n, WANTED[name])[1:], (name, n)


@pytest.mark.parametrize("gap", [0, 2, -2, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 60, GREATEST, -GREATEST - 1])
def test_a_step_that_no_turn_changes(mod, gap: int) -> None:
    random.seed(3)
    for far in (20, GREATEST):
        above, costs, left = numbers(700, far)
        assert mod.local(above, costs, left, 700, gap) == turns(above, costs, left, 700, by(gap))


def test_one_that_wraps_late(mod) -> None:
    """What is before it stays as it was written, what comes after it is computed one by one."""
    for place in (0, 1, 255, 256, 300, 511, 512, 900):
        above, costs = [*range(1001)], [1] * 1000
        above[place] = GREATEST
        for name in ("rows", "carried"):
            assert getattr(mod, name)(above, costs, 0, 1000)[1:] == turns(above, costs, 0, 1000, WANTED[name])[1:]


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    better = scans.run(program)
    check_after("scans", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(Interpreter(program, depth_limit=60).call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
