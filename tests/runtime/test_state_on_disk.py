"""State of every kind, saved and loaded; what stores hold of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver

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
    """They are walked in the order in which they were made, also after they have been on disk."""
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


AGENT = '''
model Net(n: int):
    param w: f32[n] = ones()
    state calls: int = 0

    mut fn forward(x: f32[n]) -> f32:
        self.calls += 1
        return sum(self.w * x)

struct Score:
    net: Net[2]? = none
    value: f32 = 0.0

enum Found:
    Nothing
    One(net: Net[2])

model Agent():
    let net = Net(2)
    state target: Net[2] = Net(2)
    state best: Score = Score()
    state found: Found = Nothing
    state older: list[Net[2]] = []
    state g: rng = rng(5)
    state streams: list[rng] = []
    state places: graph[str, set[str]] = graph[str, set[str]]()

    mut fn step(x: f32[2]) -> f32:
        self.older.push(self.target)
        self.target = self.net
        set_params(mut self.net, params(self.net) + self.g.uniform())
        self.best = Score(self.net, self.net(x))
        self.found = One(self.target)
        self.streams = self.g.split(2)
        let i = self.places.add_node(f"step {len(self.older)}")
        self.places.add_edge(i, 0, {f"{x[0]}", "b", "a", "c", "d"})
        return self.target(x) + self.streams[1].uniform()

    fn older_ones() -> list[Net[2]]:
        return self.older

    fn all() -> str:
        let best = self.best.net
        let of_best = f"{params(best)} {best.calls}" if best != none else "-"
        let found = match_net(self.found)
        return f"{params(self.target)} {self.target.calls} {of_best} {found} {len(self.older)} {self.places}"

    fn loss(x: f32[2]) -> f32:
        return sum(self.net.w * x) - sum(self.target.w * x)

fn match_net(f: Found) -> str:
    match f:
        case Nothing: return "nothing"
        case One(net): return f"{params(net)}"

model Applies():
    param w: f32 = constant(3.0)
    state f: fn(f32) -> f32 = fn(x): x + 1.0

    mut fn choose(a: f32):
        self.f = fn(x): x * a

    fn forward(x: f32) -> f32:
        return self.f(x) * self.w

export Agent() as agent
export Applies() as applies
'''
X = np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize("built", [False, True])
def test_what_lives_in_the_program_alone_is_saved_too(tmp_path: Path, built: bool) -> None:
    """Models, generators and graphs."""
    file = tmp_path / "agent.hyb"
    file.write_text(AGENT)
    if built:
        path = tmp_path / "agent.hybx"
        path.write_bytes(driver.artifact(driver.check(str(file))))
        file = path
    mod = hybridc.load(file)
    m = mod.agent()
    for _ in range(3):
        m.step(X)
    m.save(tmp_path / "a.safetensors")
    before = m.all()
    loaded, taken = mod.agent(), mod.agent()
    loaded.load(tmp_path / "a.safetensors")
    taken.load_state_dict(m.state_dict())
    assert loaded.all() == before
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    after = m.step(X)
    assert after == loaded.step(X) == taken.step(X)
    assert m.all() == loaded.all() and m.value_and_grad("loss", X)[1].tolist() == X.tolist()
    *_, older = m.older_ones()
    assert older(X) == loaded.older_ones()[-1](X) and m.state_dict()["target"](X) != older(X)
    if not built:
        assert pickle.loads(pickle.dumps(m)).all() == m.all()


def test_function_values_in_state(tmp_path: Path) -> None:
    """They stay in the program that made them, which has the derivatives too."""
    file = tmp_path / "agent.hyb"
    file.write_text(AGENT)
    m = hybridc.load(file).Applies()
    assert m(2.0) == 9.0
    m.choose(5.0)
    assert m.value_and_grad("forward", 2.0)[0] == 30.0 and m.value_and_grad("forward", 2.0)[1].tolist() == [10.0]
    with pytest.raises(TypeError, match=r"^Applies\[\]\.f: a fn\(f32\) -> f32 cannot be written to disk$"):
        m.save(tmp_path / "f.safetensors")
