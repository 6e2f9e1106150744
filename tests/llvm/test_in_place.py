"""Which functions stand in the place of their calls, that their frames are in traces all the same, and how functions
with four results are called."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import hybridc
from hybridc import driver

SOURCE = """
fn root(mut parent: list[int], i: int) -> int:
    var x = i
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x

fn weighed(xs: list[int], i: int) -> int:
    var total = 0
    for x in xs:
        if x > i:
            total += x * x - i
        elif x < -i:
            total -= x * i + 3
        elif x == 0:
            total ^= i
        else:
            total = total * 3 + x // 7
    return total

fn deep(mut xs: list[int], n: int) -> int:
    if n == 0:
        return len(xs)
    xs[n % 3] += 1
    return deep(mut xs, n - 1) + xs[0]

fn join(parent: list[int], a: int, b: int) -> (list[int], bool):
    var p = parent
    let x = root(mut p, a)
    let y = root(mut p, b)
    p[x] = y
    return (p, root(mut p, a) == root(mut p, b))

fn both(xs: list[int]) -> int:
    return weighed(xs, 1) + weighed(xs, 2)

fn down(n: int) -> (int, list[int]):
    var xs = [0, 0, 0]
    let found = deep(mut xs, n)
    return (found, xs)

export join
export both
export down
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("in_place") / "p.hyb"
    file.write_text(SOURCE)
    return file


def test_a_short_loop_stands_in_several_places(path: Path) -> None:
    text = driver.emit(str(path), "llvm")
    assert "@f.root(" not in text
    assert text.count("call i64 @f.weighed(") + text.count("} @f.weighed(") >= 2


def test_four_numbers_come_back_in_registers(path: Path) -> None:
    """The call and the function agree; a status and three others."""
    text = driver.emit(str(path), "llvm")
    assert "define internal swiftcc { i32, i64, ptr, i64 } @f.deep(" in text
    assert text.count("swiftcc { i32, i64, ptr, i64 } @f.deep") == text.count("@f.deep(") + text.count("@f.deep$careful(")


def test_what_they_give(path: Path) -> None:
    mod = hybridc.load(str(path))
    assert mod.join([0, 0, 1, 3, 3, 4], 2, 5) == ([3, 0, 0, 3, 3, 3], True)
    xs = [3, -4, 0, 1, 2]
    assert mod.both(xs) == weighed(xs, 1) + weighed(xs, 2)
    xs, total = [0, 0, 0], 0
    for n in range(5, 0, -1):
        xs[n % 3] += 1
    total = 3 + xs[0] * 5
    assert mod.down(5) == (total, xs)


def weighed(xs: list[int], i: int) -> int:
    total = 0
    for x in xs:
        if x > i:
            total += x * x - i
        elif x < -i:
            total -= x * i + 3
        elif x == 0:
            total ^= i
        else:
            total = total * 3 + x // 7
    return total


def test_its_frames_are_in_traces(path: Path) -> None:
    mod = hybridc.load(str(path))
    with pytest.raises(IndexError) as caught:
        mod.join([0, 9, 1], 0, 1)
    frames = [(f.lineno, f.name) for f in traceback.extract_tb(caught.value.__traceback__) if f.filename == str(path)]
    lines = SOURCE.splitlines()
    assert [(lines[(line or 0) - 1].strip(), name) for line, name in frames] == [
        ("let y = root(mut p, b)", "join"), ("parent[x] = parent[parent[x]]", "root")]
