"""Blocks of enum values are pooled: what Python makes, what other threads make, and blocks of different sizes mix."""

from __future__ import annotations

import gc
import resource

import pytest

import hybridc
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
enum Tree:
    Node(left: Tree, right: Tree, a: int, b: int)
    Tip(n: int)
    Flag(on: bool)

fn make(depth: int) -> Tree:
    if depth == 0:
        return Tip(1)
    if depth == 1:
        return Flag(true)
    return Node(make(depth - 1), make(depth - 2), depth, 2 * depth)

fn count(t: Tree) -> int:
    match t:
        case Tip(n):
            return n
        case Flag(on):
            return 2 if on else 0
        case Node(left, right, a, b):
            return count(left) + count(right) + b - 2 * a

fn rebuilt(t: Tree) -> Tree:
    match t:
        case Node(left, right, a, b):
            return Node(rebuilt(right), rebuilt(left), a, b)
        case _:
            return t

fn many(n: int, depth: int) -> int:
    let trees = parallel [make(depth) for i in range(n)]
    return sum([count(t) for t in trees])
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "trees.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def live(mod) -> int:
    gc.collect()
    return live_blocks(mod)


def test_blocks_of_python_and_of_compiled_code_mix(mod):
    Tree = mod.Tree
    before = live(mod)

    def build(depth: int):
        if depth < 2:
            return Tree.Flag(True) if depth else Tree.Tip(1)
        return Tree.Node(build(depth - 1), build(depth - 2), depth, 2 * depth)

    for depth in (9, 12, 7, 13):
        given = build(depth)
        made = mod.rebuilt(given)
        assert mod.count(made) == mod.count(given) == mod.count(mod.make(depth))
        assert mod.rebuilt(made) == given
    native = mod.make.native(15)
    assert mod.count(native) == mod.count(mod.rebuilt.native(native))
    del native
    assert live(mod) == before


def test_blocks_that_workers_make_come_back(mod):
    before = live(mod)
    expected = mod.many(8, 18)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(40):  # each makes about 4 MB
        assert mod.many(8, 18) == expected
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 40_000
    assert live(mod) == before


def test_contexts_that_end_leave_their_blocks(tmp_path):
    for i in range(8):
        path = tmp_path / f"trees{i}.hyb"
        path.write_text(SOURCE)
        module = hybridc.load(path)
        assert module.count(module.make.native(25)) == module.count(module.make.native(25))
        del module
        gc.collect()
        if i == 2:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Code stays for good (about 3 MB each time), a tree's 12 MB do not pile up.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 40_000
