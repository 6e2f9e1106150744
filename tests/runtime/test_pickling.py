"""Copies and pickles of values, models and functions, in this process and others."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hybridc_runtime import load_artifact

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
enum Tree:
    Leaf(word: int)
    Node(left: Tree, right: Tree)
    Many(items: list[Tree])
    Nothing

struct Point:
    x: f32[2]
    tag: str = "p"

struct Both:
    tree: Tree
    points: list[Point]

extern fn halve(x: f64) -> f64

model Net(n: int):
    param w: f32[n] = normal(1)
    state steps: int = 0
    state seen: map[str, int] = {}

    fn forward(x: f32[n]) -> f32:
        return dot(self.w, x)

    mut fn see(word: str) -> int:
        self.steps += 1
        self.seen[word] = self.steps
        return self.steps

fn words(t: Tree) -> int:
    return match_words(t)

fn match_words(t: Tree) -> int:
    match t:
        case Leaf(word):
            return word
        case Node(left, right):
            return match_words(left) + match_words(right)
        case Many(items):
            return sum([match_words(t) for t in items])
        case Nothing:
            return 0

fn both(b: Both) -> int:
    return match_words(b.tree) + len(b.points)

fn adder(n: int) -> fn(int) -> int:
    return fn(x: int): x + n

fn double(n: f64) -> f64:
    return 4 * halve(n)

export Net(2)
export Net(2) as small
export words
export both
export adder
export double
"""
EXTERNS = {"halve": lambda x: x / 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    file = tmp_path_factory.mktemp("pickling") / "things.hyb"
    file.write_text(SOURCE)
    built = file.with_suffix(".hybx")
    built.write_bytes(driver.artifact(driver.check(str(file))))
    return file, built


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(files, request):
    return hybridc.load(files[request.param == "artifact"], externs=EXTERNS)


def again(value):
    return pickle.loads(pickle.dumps(value))


def tree(mod):
    Tree = mod.Tree
    return Tree.Many([Tree.Node(Tree.Leaf(3), Tree.Nothing), Tree.Leaf(4)])


def test_values(mod):
    t = tree(mod)
    b = mod.Both(t, [mod.Point(np.ones(2, np.float32))])
    for made in (again(b), copy.deepcopy(b), copy.copy(b)):
        assert made == b and made is not b and type(made) is mod.Both and mod.both(made) == 8
    assert again(mod.Tree.Nothing) is copy.deepcopy(mod.Tree.Nothing) is mod.Tree.Nothing
    assert again(t).items[0].right is mod.Tree.Nothing
    assert again([t, {"a": t}]) == [t, {"a": t}]


def test_what_a_deep_copy_shares(mod):
    b = mod.Both(tree(mod), [mod.Point(np.ones(2, np.float32))])
    shallow, deep = copy.copy(b), copy.deepcopy(b)
    b.points[0].x[0] = 5
    b.points.append(mod.Point(np.zeros(2, np.float32)))
    assert len(shallow.points) == 2 and shallow.points[0].x[0] == 5
    assert len(deep.points) == 1 and deep.points[0].x[0] == 1
    part = mod.Point(np.ones(2, np.float32))
    twice = again(mod.Both(mod.Tree.Nothing, [part, part]))
    assert twice.points[0] is twice.points[1]


def test_deep_values(mod):
    t = mod.Tree.Leaf(1)
    for _ in range(100_000):
        t = mod.Tree.Node(t, mod.Tree.Nothing)
    assert again(t) == copy.deepcopy(t) == t
    loop = mod.Both(mod.Tree.Nothing, [])
    loop.points.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        copy.deepcopy(loop)


def test_models(mod):
    m = mod.Net(2, seed=3)
    m.see("a")
    for made in (again(m), copy.deepcopy(m)):
        assert repr(made) == repr(m) and type(made) is mod.Net
        assert (made.state_dict()["w"] == m.state_dict()["w"]).all() and made.state_dict()["seen"] == {"a": 1}
        assert made.see("b") == 2
    assert m.state_dict()["steps"] == 1


def test_functions_and_the_module(mod):
    for whole in (mod, mod.words, mod.small):
        assert again(whole) is copy.copy(whole) is copy.deepcopy(whole) is whole
    plus = mod.adder(3)
    assert copy.deepcopy(plus)(1) == 4
    with pytest.raises(TypeError, match="cannot be pickled; a fn of the module can"):
        pickle.dumps(plus)


def test_native_values(mod):
    t = mod.native(tree(mod), "Tree")
    assert copy.copy(t) == copy.deepcopy(t) == t
    with pytest.raises(TypeError, match=r"its to_python\(\) can"):
        pickle.dumps(t)
    assert mod.words(again(t.to_python())) == 7


SCRIPT = """
import pickle, sys
import hybridc
{load}
value, words, net = pickle.load(sys.stdin.buffer)
print(words(value), net.see("c"), type(value).__name__)
"""


def test_another_process(mod, files):
    m = mod.Net(2)
    m.see("a")
    data = pickle.dumps((tree(mod), mod.words, m))

    def run(load: str) -> subprocess.CompletedProcess:
        script = SCRIPT.format(load=load)
        return subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, timeout=120)

    path = files[str(files[1]).encode() in data]
    loaded = run(f"mod = hybridc.load({str(path)!r}, externs={{'halve': abs}})")
    assert loaded.stdout.split() == [b"7", b"2", b"Many"], loaded.stderr
    missing = run("").stderr.decode()
    assert f"what is unpickled needs {path}, which has to be loaded first" in missing and "halve" in missing


def count(t):
    return t.items[0].left.word


def test_a_pool_of_processes(mod):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(mod.words, [tree(mod)] * 2) == [7, 7]
        assert pool.map(count, [tree(mod)]) == [3]


def test_what_was_not_loaded_from_a_file(files):
    mod = load_artifact(files[1].read_bytes(), trust=True, externs=EXTERNS)
    t = mod.Tree.Leaf(1)
    assert copy.deepcopy(t) == t and copy.deepcopy([mod])[0] is mod
    with pytest.raises(TypeError, match="things was not loaded from a file"):
        pickle.dumps(t)


def test_another_declaration(tmp_path):
    file = tmp_path / "p.hyb"
    file.write_text("struct P:\n    x: int\n")
    data = pickle.dumps(hybridc.load(file).P(1))
    gc.collect()  # and the module is gone
    file.write_text("struct P:\n    y: int\n")
    with pytest.raises(TypeError, match="no type P like the one that was pickled"):
        pickle.loads(data)


def test_loaded_by_the_pickle(tmp_path):
    file = tmp_path / "q.hyb"
    file.write_text("struct P:\n    x: int\n")
    data = pickle.dumps([hybridc.load(file).P(x) for x in (1, 2)])
    gc.collect()
    found = pickle.loads(data)
    assert [p.x for p in found] == [1, 2] and type(found[0]) is type(found[1])
