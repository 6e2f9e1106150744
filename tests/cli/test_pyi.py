"""The `.pyi` beside an artifact, as a type checker reads it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hybridc import driver
from hybridc.link.pyi import stub

pytestmark = pytest.mark.usefixtures("unoptimised")

api = pytest.importorskip("mypy.api")

SOURCE = '''
"""A module."""
struct Pair[T]:
    a: T
    b: list[T] = []
enum Maybe[T]:
    Some(value: T)
    Missing
enum Tree:
    Leaf(word: int)
    Node(left: Tree, right: Tree)
    Nothing
struct Point:
    x: f64
    class: int = 3
model Net(side: (int, int), n: int, rate: f32 = 0.5, act: fn(f32) -> f32 = half, on: bool = true):
    """A net."""
    param w: f32[n] = ones()
    fn forward(x: f32[n]) -> f32[n]:
        return x * self.w
    mut fn step(x: f32[n], is: bool = false) -> (f32, int)?:
        return none
fn half(x: f32) -> f32:
    return x / 2
fn parts(q: deque[int], s: set[str], m: map[str, list[Point]], lambda: int, t: Tree) -> (list[str], Tree):
    return ([], t)
fn use(m: Net, f: fn(int) -> str) -> f32:
    return 1.0
fn turned(p: Pair[int], q: Pair[str]) -> Maybe[Pair[str]]:
    return Some(q)
fn asked(m: Maybe[int]) -> int:
    return 0
export turned
export asked
export Net(2, 3)
export Net(2, 4) as small
export parts
export use
'''
GOOD = '''
from collections import deque
import numpy as np
import m
n = m.Net((2, 2), 3, rate=0.5, seed=4)
k: int = n.n
on: bool = n.on
y: np.ndarray = n(np.ones(3))
step: tuple[float, int] | None = n.step(np.ones(3))
s: m.Net = m.small(seed=1)
n.save("x")
n.value_and_grad("step", 1), n.to_torch(), n.state_dict()["w"]
t: m.Tree = m.Tree.Node(m.Tree.Leaf(1), m.Tree.Nothing)
names, tree = m.parts(deque([1]), {"a"}, {"b": [m.Point(1.0)]}, 3, t)
f: float = m.use(n, str)
some: m.Maybe = m.turned(m.Pair(1, [2]), m.Pair("a"))
asked: int = m.asked(m.Maybe.Some(3)) + m.asked(m.Maybe.Missing)
'''
BAD = '''
import m
m.Net("x", "y")
m.Net((1, 1), 3, nothing=1)
m.small(3)
x: str = m.use(m.small(), str)
m.Tree.Leaf("a")
m.Point()
m.Pair(b"")
'''


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("stub")
    (folder / "m.hyb").write_text(SOURCE)
    core, interface = driver.lower(driver.check(str(folder / "m.hyb")))
    (folder / "m.pyi").write_text(stub(interface, core))

    def run(text: str) -> list[str]:
        (folder / "use.py").write_text(text)
        args = ["--no-incremental", "--no-error-summary", "--config-file=", "--hide-error-context"]
        out, err, _ = api.run([*args, str(folder / "use.py"), str(folder / "m.pyi")])
        assert not err
        return out.replace(f"{folder}/", "").splitlines()

    return run


def test_what_is_right_passes(check):
    assert check(GOOD) == []


def test_what_is_wrong_is_found(check):
    found = check(BAD)
    assert [line.split(":")[:2] for line in found if ": error:" in line] == [["use.py", str(n)] for n in range(3, 10)]


def test_constants(tmp_path):
    (tmp_path / "c.hyb").write_text("const RATE = 1 / 3\nconst SIZES = [3, 4]\nconst BIG = 2 ** 70\nconst NAME = 'a'\n")
    core, interface = driver.lower(driver.check(str(tmp_path / "c.hyb")))
    lines = stub(interface, core).splitlines()
    assert {"RATE: float", "SIZES: list", "BIG: int", "NAME: str"} <= set(lines)


def test_other_names_and_words_of_python(tmp_path):
    """A class that is imported by another name is one class; what Python cannot say is no line of the stub."""
    (tmp_path / "shapes.hyb").write_text("struct Point:\n    x: int\nenum Kind:\n    A\n    B\n")
    (tmp_path / "c.hyb").write_text(
        "from shapes import Point as P, Kind\nfn f(p: P) -> P: return p\nfn lambda(k: Kind) -> int: return 1\n")
    core, interface = driver.lower(driver.check(str(tmp_path / "c.hyb")))
    text = stub(interface, core)
    ast.parse(text)
    assert text.count("class Point:") == 1 and "\nP = Point\n" in text and "def f(p: Point) -> Point:" in text
