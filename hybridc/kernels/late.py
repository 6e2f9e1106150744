"""Softmax that goes into a product is divided by its sum after it: a pass less over what may be long rows.

(e / sum(e)) @ v is (e @ v) / sum(e) but for rounding. The exponentials are of differences to the row's largest, so none
is above 1, and what is added up cannot overflow where the quotients would not. Their sum is at least 1, or nan; of rows
without columns it is 0, and 1 is put in its place, since there are no quotients.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import Const, Op
from hybridc.kernels.graph import Graph, Node


def divided_late(graph: Graph) -> Graph:
    """The same graph, changed."""
    for product in graph.of_kind("product"):
        weights = product.args[0]
        if not _is(weights, "div") or weights in graph.outputs or _users(graph, weights) != {product}:
            continue
        powers, total = weights.args
        if not (_sums(total, "sum", powers) and _is(powers, "exp") and _is(powers.args[0], "sub")):
            continue
        scores, largest = powers.args[0].args
        if not _sums(largest, "max", scores) or weights.op is None:
            continue
        product.args = (powers, product.args[1])
        one = Node("scalar", total.type, atom=Const(1.0, total.type))
        divisor = Node("map", total.type, (total, one), op=_operator(weights.op, "maximum"), rows=total.rows,
                       all_rows=total.all_rows)
        quotient = Node("map", product.type, (product, divisor), op=_operator(weights.op, "div"), rows=product.rows,
                        all_rows=product.all_rows, space=product.space)
        for node in graph.nodes:
            node.args = tuple(quotient if a is product else a for a in node.args)
        graph.outputs = [quotient if n is product else n for n in graph.outputs]
        graph.nodes.remove(weights)
        at = graph.nodes.index(product) + 1
        graph.nodes[at:at] = [one, divisor, quotient]
    return graph


def _operator(op: Op, fn: str) -> Op:
    """Another one of scalars in a place, with nothing else said of it."""
    return replace(op, attrs=(("fn", fn),))


def _is(node: Node, fn: str) -> bool:
    return node.kind == "map" and node.op is not None and node.op.attr("fn") == fn


def _sums(node: Node, fn: str, of: Node) -> bool:
    return node.kind == "reduce" and node.op is not None and node.op.attr("fn") == fn and node.args == (of,)


def _users(graph: Graph, node: Node) -> set[Node]:
    return {n for n in graph.nodes if node in n.args}
