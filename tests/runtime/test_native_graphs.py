"""Graphs from Python: native, made from and converted to nodes and edges."""

from __future__ import annotations

import pytest

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised", "no_leak")

SOURCE = """
enum Place:
    Town(name: str, size: int)
    Crossing

fn ring(n: int) -> graph[int, f64]:
    var g = graph[int, f64]()
    for i in range(n):
        g.add_node(10 * i)
    for i in range(n):
        g.add_edge(i, (i + 1) % n, 0.5)
    return g

fn grow(mut g: graph[int, f64], n: int) -> int:
    return g.add_node(n)

fn weight(g: graph[int, f64]) -> f64:
    var total: f64 = 0
    for u in range(len(g)):
        for v, e in g.edges(u):
            total += e
    return total

fn names(g: graph[Place, list[int]]) -> list[str]:
    return [f"{g.node(i)}" for i in range(len(g))]

fn several(gs: list[graph[int, f64]]) -> list[graph[int, f64]]:
    return gs
"""


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("graphs") / "ways.hyb"
    file.write_text(SOURCE)
    if request.param == "source":
        return hybridc.load(file)
    built = file.with_suffix(".hybx")
    built.write_bytes(driver.artifact(driver.check(str(file))))
    return hybridc.load(built)


def test_nodes(mod):
    g = mod.ring(3)
    assert len(g) == 3 and list(g) == [0, 10, 20] and g[-1] == 20 and g[1:] == [10, 20] and 10 in g
    with pytest.raises(IndexError, match="index 3 is out of range for length 3"):
        g[3]
    assert mod.grow(g, 7) == 3 and list(g) == [0, 10, 20, 7] and mod.weight(g) == 1.5


def test_nodes_and_edges(mod):
    g = mod.ring(2)
    assert g.to_python() == ([0, 10], [(0, 1, 0.5), (1, 0, 0.5)])
    assert repr(g) == "<native graph[int, f64]: ([0, 10], [(0, 1, 0.5), (1, 0, 0.5)])>"
    same = mod.native(g.to_python(), "graph[int, f64]")
    assert same == g and g == same.to_python() and g != mod.ring(3)
    mod.grow(same, 0)
    assert same != g
    assert mod.weight(([1, 2], [(0, 1, 2.0), (0, 1, 3.0)])) == 3.0  # a second edge replaces
    assert mod.native(([], []), "graph[int, f64]").to_python() == ([], [])


def test_nodes_with_parts(mod):
    Place = mod.Place
    parts = ([Place.Town("Ulm", 3), Place.Crossing], [(1, 0, [1, 2]), (1, 1, [])])
    g = mod.native(parts, "graph[Place, list[int]]")
    assert g.to_python() == parts and list(g) == parts[0] and len(mod.names(g)) == 2
    assert mod.names(parts) == mod.names(g) and "Ulm" in mod.names(g)[0]


def test_within_others(mod):
    one, other = mod.several([mod.ring(2), ([5], [])])
    assert len(one) == 2 and other.to_python() == ([5], [])


@pytest.mark.parametrize("value, message", [
    (3, r"argument g: expected graph\[int, f64\], native or \(nodes, edges\), found"),
    ([1, 2], "argument g: expected graph"),
    (([1, "x"], []), r"argument g\[0\]\[1\]: expected int, found"),
    (([1], [(0, 1, 1.0)]), r"argument g\[1\]\[0\]\[1\]: expected a node from 0 to 0, found 1"),
    (([], [(0, 0, 1.0)]), r"argument g\[1\]\[0\]\[0\]: expected one of no nodes, found 0"),
    (([1], [(0, 0)]), r"argument g\[1\]\[0\]"),
    (([1], 5), r"argument g\[1\]: expected list"),
])
def test_what_is_no_graph(mod, value, message):
    with pytest.raises(hybridc.ArgumentError, match=message):
        mod.weight(value)
