"""Columns that need nothing of other columns, which several threads may therefore share.

A layer's result at a column needs its rows and one line of the weights, a cell's one line for each gate. So each thread
reads a part of the weights, and finds it in its own caches at the next call.
"""

from __future__ import annotations

from hybridc.kernels.graph import Graph, Node


def apart(graph: Graph, unit: int) -> dict[int, int]:
    """By space, how many parts beside each other its columns are of which the results need one column each; none where
    columns need others. What lies in memory may be read anywhere. There are several parts only where each is a multiple
    of `unit`."""
    spaces = {n.space for n in graph.outputs}
    products = graph.of_kind("product")
    if not products or graph.batch or graph.windows or len(spaces) != 1 or None in spaces:
        return {}
    (own,) = spaces
    assert own is not None
    found = {own: 1}
    for node in graph.of_kind("slice"):
        (source,) = node.args
        assert source.space is not None
        if source.kind == "load":
            continue
        size, whole = (_size(graph, s) for s in (own, source.space))
        if node.space != own or not size or whole is None or size % unit or whole % size or node.start % size:
            return {}
        found[source.space] = whole // size
    return found if all(_fits(n, found) for n in graph.nodes) else {}


def _fits(node: Node, found: dict[int, int]) -> bool:
    if node.kind in ("load", "matrix", "scalar"):
        return True
    if node.kind == "product" and node.args[0].kind != "load":
        return False
    return node.kind in ("product", "map", "slice", "iota") and (node.space is None or node.space in found)


def _size(graph: Graph, space: int) -> int | None:
    total = 1
    for c in graph.spaces[space]:
        size = graph.axes.size(c)
        if size is None:
            return None
        total *= size
    return total
