"""Trees have the values that Python computes; a small network learns them in seconds, one level deeper too."""

from __future__ import annotations

import statistics

import pytest

import hybridc


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "treelstm" / "treelstm.hyb")


def of_python(words: list[str]) -> int:
    """The value of the tree at the head of the words, which are consumed."""
    word = words.pop(0)
    if word != "[":
        return int(word)
    op, args = words.pop(0), []
    while words[0] != "]":
        args.append(of_python(words))
    words.pop(0)
    return {"MAX": max, "MIN": min, "MED": lambda a: int(statistics.median(a)), "SM": lambda a: sum(a) % 10}[op](args)


def test_values(mod):
    g = hybridc.rng(3)
    seen = set()
    for i in range(300):
        tree = mod.random_tree(i % 5, g)
        text = mod.show(tree)
        assert mod.depth(tree) == i % 5 and mod.parse(text) == tree
        assert mod.value(tree) == of_python(text.replace("[", "[ ").replace("]", " ] ").split())
        seen.add(text.count("["))
    assert max(seen) > 8


def test_what_is_no_tree_is_refused(mod):
    with pytest.raises(AssertionError, match="there is no operator MEAN"):
        mod.parse("[MEAN 1 2]")
    with pytest.raises(AssertionError, match="text after"):
        mod.parse("1 2")
    with pytest.raises(IndexError):
        mod.parse("[MAX 1")


def test_learns(mod):
    m = mod.TreeLSTM(32)
    before = mod.accuracy(m, 3, 500, 1)
    mod.train(m, 2, 1500, 0.005, hybridc.rng(0))
    assert before < 0.4 and mod.accuracy(m, 3, 500, 1) > 0.55


def test_trained_on_depth_3_it_knows_depth_5(mod, examples):
    m = mod.TreeLSTM()
    m.load(str(examples / "treelstm" / "treelstm.safetensors"))
    assert mod.accuracy(m, 4, 500, 1) > 0.99 and mod.accuracy(m, 5, 500, 1) > 0.99
