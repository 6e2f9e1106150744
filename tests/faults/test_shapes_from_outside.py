"""What comes from outside a program, and what the checker could not decide, has the dimensions of its type or is a
ValueError: through enums, containers, callbacks, externs, stores and a model's state; from source and an artifact."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc.build import write_artifact

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "shapes.hyb"


def ones(n):
    return np.ones(n, np.float32)


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(request, tmp_path_factory):
    path = SOURCE
    if request.param == "artifact":
        path = write_artifact(str(SOURCE), str(tmp_path_factory.mktemp("built")), target="cpu:host")
    loaded = hybridc.load(path, externs={"outside": lambda n: loaded.Box(ones(n))})
    return loaded


def calls(mod, n):
    """By name: a call with a tensor of n elements where the type says 4."""
    x = ones(n)
    leaf = mod.Tree.Leaf(x)

    def deep():
        tree, good = leaf, mod.Tree.Leaf(ones(4))
        for _ in range(20_000):
            tree = mod.Tree.Node(good, tree)
        return mod.Tree.Node(good, tree)

    json = mod.Json.Object({"a": mod.Json.Object({"b": mod.Json.Number(x)})})
    link = mod.Chain.Link(ones(4), [mod.Chain.End, mod.Chain.Link(x, [])])
    return {
        "leaf": lambda: mod.tree(leaf, True),
        "deep": lambda: mod.tree(deep(), True),
        "json": lambda: mod.json(json),
        "maybe": lambda: mod.maybe(mod.Maybe.Just(x), ones(4)),
        "chain": lambda: mod.chain(link, ones(4)),
        "deque": lambda: mod.deque_of(deque([ones(4), x])),
        "heap": lambda: mod.heap_of([(1, x)]),
        "given": lambda: mod.given(lambda i: x),
    }


NAMES = ["leaf", "deep", "json", "maybe", "chain", "deque", "heap", "given"]


@pytest.mark.parametrize("name", NAMES)
def test_arguments(mod, name):
    calls(mod, 4)[name]()
    with pytest.raises(ValueError, match=r"dimension 0 of .* is 3"):
        calls(mod, 3)[name]()


def test_extern(mod):
    assert mod.from_outside(4).tolist() == [2] * 4
    with pytest.raises(ValueError, match="dimension 0 of the value.x is 3, not 4"):
        mod.from_outside(3)


def test_between_functions(mod):
    assert mod.ragged(2) == 2
    with pytest.raises(ValueError, match="dimension 0 of an element of xs is 3, but N is 2"):
        mod.ragged(3)
    assert mod.of_place(3).tolist() == [3] * 3
    with pytest.raises(ValueError, match="dimension 0 of x is 4, not 3"):
        mod.of_place(4)


def test_store(mod, tmp_path):
    path = str(tmp_path / "store")
    mod.kept(path, 4)
    assert mod.read(path).tolist() == mod.items(path).tolist() == [2] * 4
    mod.kept(path, 3)
    for call in (mod.read, mod.items):
        with pytest.raises(ValueError, match=r"dimension 0 of .* is 3, not 4"):
            call(path)


@pytest.mark.parametrize("name, value, message", [
    ("x", lambda mod: ones(3), "dimension 0 of x is 3, not 4"),
    ("xs", lambda mod: [ones(4), ones(3)], "dimension 0 of an element of xs is 3, not 4"),
    ("box", lambda mod: mod.Box(ones(3)), "dimension 0 of box.x is 3, not 4"),
])
def test_state(mod, name, value, message):
    m = mod.Keeps(4)
    before = m.state_dict()
    with pytest.raises(ValueError, match=message):
        m.load_state_dict({**before, "w": ones(4) * 5, name: value(mod)})
    after = m.state_dict()
    assert after["w"].tolist() == [1] * 4 and after["x"].tolist() == [0] * 4 and after["xs"] == []
    assert m.get().tolist() == [0] * 4
