"""Sets in state and in stores are walked in the order in which they were made, also after they have been on disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SETS = '''
enum Tree:
    Leaf(words: set[str])
    Node(left: Tree, right: Tree)

struct Seen:
    words: set[str] = {"start"}
    pairs: map[int, set[(int, str)]] = {}

model Reader:
    param w: f32 = ones()
    state seen: Seen = Seen()
    state last: set[str] = {"start"}

    mut fn read(words: list[str]):
        for i, word in enumerate(words):
            self.last.add(word)
            self.seen.words.add(word)
            if i % 7 not in self.seen.pairs:
                self.seen.pairs[i % 7] = {(i, word)}
            self.seen.pairs[i % 7].add((i, word))

    fn order() -> str:
        return f"{self.last} {self.seen}"

fn keep(path: str, words: list[str], depth: int):
    var found = store[str, Tree](path)
    var tree = Leaf({word for word in words})
    for i in range(depth):
        tree = Node(tree, Leaf({w for w in reversed(words)}))
    found["tree"] = tree
    found.commit()

fn kept(path: str) -> list[str]:
    var found = store[str, Tree](path)
    return words_of(found["tree"])

fn words_of(t: Tree) -> list[str]:
    match t:
        case Leaf(words): return [w for w in words]
        case Node(left, right): return words_of(left) + words_of(right)
'''
WORDS = [f"word {i * 37 % 101}" for i in range(40)]


def test_sets_come_back_in_order(tmp_path: Path) -> None:
    file = tmp_path / "sets.hyb"
    file.write_text(SETS)
    mod = hybridc.load(file)
    m = mod.Reader()
    m.read(WORDS)
    assert m.order().startswith("{'start', 'word 0', 'word 37', 'word 74', ")
    m.save(tmp_path / "w.safetensors")
    again = mod.Reader()
    again.load(tmp_path / "w.safetensors")
    assert again.order() == m.order() == pickle.loads(pickle.dumps(m)).order()
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()
    assert type(m.state_dict()["last"]) is set and m.state_dict()["last"] == {"start", *WORDS}
    for depth in (0, 3):
        path = str(tmp_path / f"{depth}.store")
        mod.keep(path, WORDS, depth)
        assert mod.kept(path) == WORDS + WORDS[::-1] * depth
    with hybridc.open_store(path) as found:
        assert type(found["tree"].left.right.words) is set
