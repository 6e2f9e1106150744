"""Attention in one pass over the columns of its scores (the online softmax of Milakov and Gimelshein, and
FlashAttention by Dao et al.): a row keeps the largest score so far, the sum of the exponentials below it, and the sum
of matrix rows weighted by them; a larger score scales both sums down. No score is kept in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.kernels.graph import Graph, Node


@dataclass(frozen=True)
class Online:
    """softmax(scores) @ matrix, and the nodes between."""

    scores: Node
    largest: Node
    total: Node
    product: Node

    @property
    def space(self) -> int:
        """Of the scores' columns."""
        assert self.scores.space is not None
        return self.scores.space


def online(graph: Graph) -> Online | None:
    """The attention that a graph is, with anything before the scores but reductions, and maps after the product."""
    reductions = graph.of_kind("reduce")
    if len(reductions) != 2 or {_fn(r) for r in reductions} != {"max", "sum"}:
        return None
    largest, total = sorted(reductions, key=_fn)
    scores, powers = largest.args[0], total.args[0]
    if not _is(powers, "exp") or not _is(powers.args[0], "sub") or powers.args[0].args != (scores, largest):
        return None
    shifted = powers.args[0]
    for product in graph.of_kind("product"):
        weights = product.args[0]
        if _is(weights, "div") and weights.args == (powers, total):
            break
    else:
        return None
    between = {largest: {shifted}, shifted: {powers}, powers: {total, weights}, total: {weights}, weights: {product}}
    only = all(_users(graph, node) == users for node, users in between.items()) and _users(graph, scores) == {
        largest, shifted}
    outside = not {*between, scores} & set(graph.outputs)
    after = _above(graph, product)
    maps = all(n.kind == "map" and n.space == product.space for n in after)
    complete = set(graph.outputs) <= after | {product}
    products = set(graph.of_kind("product")) - {product}
    plain = not any(n in _below(p.args[0]) for p in products for n in products)
    if not (only and outside and maps and complete and plain and products and products <= _below(scores)):
        return None
    return Online(scores, largest, total, product)


def _fn(node: Node) -> str:
    return str(node.op.attr("fn")) if node.op is not None and node.op.op in ("map", "reduce") else node.kind


def _is(node: Node, fn: str) -> bool:
    return node.kind == "map" and _fn(node) == fn


def _users(graph: Graph, node: Node) -> set[Node]:
    return {n for n in graph.nodes if node in n.args}


def _below(node: Node) -> set[Node]:
    """A node and what it is computed from."""
    found: set[Node] = set()
    open_ = [node]
    while open_:
        n = open_.pop()
        if n not in found:
            found.add(n)
            open_.extend(n.args)
    return found


def _above(graph: Graph, node: Node) -> set[Node]:
    """What is computed from a node."""
    found: set[Node] = set()
    for n in graph.nodes:
        if node in n.args or found & set(n.args):
            found.add(n)
    return found


__all__ = ["Online", "online"]
