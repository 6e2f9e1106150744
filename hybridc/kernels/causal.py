"""Columns beyond the diagonal that need not be computed.

In causal attention a score whose column lies beyond its row becomes -inf, its exponential 0, and so on: what is added
up over the columns does not change. Where all that is made of such columns is shown to be neutral so, a block of rows
goes over the columns up to its last row only. (A value that is infinite or nan beyond the diagonal is then not
multiplied by the zero that stands before it.)
"""

from __future__ import annotations

import math

from hybridc.core.ir import Const
from hybridc.kernels.graph import Graph, Node


def limited(graph: Graph) -> int | None:
    """The space whose columns beyond the row's own number are neutral, if there is one."""
    if len(graph.rows) - graph.batch != 1:
        return None
    for node in graph.nodes:
        if node.space is not None and masked(graph, node) and _neutral(graph, node.space):
            return node.space
    return None


def masked(graph: Graph, node: Node) -> bool:
    """-inf beyond the diagonal, and what else stands there before it."""
    if node.kind != "map" or node.op is None or node.op.attr("fn") != "select":
        return False
    cond, _, other = node.args
    if cond.kind != "map" or cond.op is None or other.atom is None or len(cond.args) != 2:
        return False
    low = isinstance(other.atom, Const) and other.atom.value == -math.inf
    row, column = cond.args if cond.op.attr("fn") in ("ge", "gt") else reversed(cond.args)
    compared = cond.op.attr("fn") in ("ge", "gt", "le", "lt") and row.kind == column.kind == "iota"
    return low and compared and row.space is None and row.rows == graph.rows[-1:] and column.space == node.space


def _neutral(graph: Graph, space: int) -> bool:
    beyond: dict[Node, float | None] = {}
    for node in graph.nodes:
        if node.space == space:
            beyond[node] = _value(graph, node, beyond)
        for a in node.args:
            if a.space != space or node.kind == "map" and node.space == space:
                continue
            fn = node.op.attr("fn") if node.op is not None else None
            wanted = {("reduce", "max"): -math.inf, ("reduce", "sum"): 0.0}.get((node.kind, str(fn)))
            if node.kind == "product":
                wanted = 0.0
            if wanted is None or beyond[a] != wanted:
                return False
    return all(node.space != space for node in graph.outputs)


def _value(graph: Graph, node: Node, beyond: dict[Node, float | None]) -> float | None:
    """What stands beyond the diagonal, where it is known whatever the rows' own values are (but for nan)."""
    if masked(graph, node):
        return -math.inf
    if node.kind != "map" or node.op is None or not node.args:
        return None
    first = beyond.get(node.args[0])
    alone = all(a.space is None for a in node.args[1:])
    match node.op.attr("fn"):
        case "exp" if first == -math.inf:
            return 0.0
        case "sub" if first == -math.inf and alone:
            return first
        case "div" | "mul" if first == 0.0 and alone:
            return first
    return None
