"""The schedule table: how many rows, columns and steps of a product a program takes, and how many warps it has, by the
kernel's shape and the architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridc.base.types import BF16, F16, F64
from hybridc.kernels.device import Launch
from hybridc.kernels.graph import Graph
from hybridc.kernels.online import Online, online

TILE = 2048
"""Elements that a program holds of each value of a kernel without products."""
LINE = 2048
"""Columns up to which a row is held whole."""
PRODUCT = (64, 64, 32)
HALF_PRODUCT = (64, 128, 64)
"""Rows, columns and depth of a product's tile, of f32 and of half precision."""
STAGES = {"hip": 2}
"""Of a product's pipeline, by the kind of GPU; AMD's have 64 KiB for what NVIDIA's have 160 or more for."""
ATTENTION = (64, 32, 32)
"""Rows and columns of scores that a program of attention holds at once, and the depth of the product before: so chosen
that nothing is kept in local memory (an exact f32 product holds its operands in registers)."""
WIDE_HEAD = 64
"""Columns of a head up to which it is not wide."""


@dataclass(frozen=True)
class Blocks:
    rows: int
    columns: dict[int, int]
    """By space."""
    depth: int
    warps: int
    stages: int = 1


def power(n: int, least: int = 1, most: int = 1 << 20) -> int:
    """The power of two that holds n, within bounds."""
    p = least
    while p < n and p < most:
        p *= 2
    return p


def blocks_of(launch: Launch, target: str = "") -> Blocks:
    """The tile of a kernel of rows, for a GPU if one is named."""
    graph = launch.graph
    assert graph is not None
    widths = []
    for space in graph.spaces:
        total: int | None = 1
        for c in space:
            size = graph.axes.size(c)
            total = None if total is None or size is None else total * size
        widths.append(total)
    products = graph.of_kind("product")
    rows: int | None = 1
    for c in graph.rows[graph.batch :]:
        size = graph.axes.size(c)
        rows = None if rows is None or size is None else rows * size
    attention = online(graph)
    if attention is not None:
        return _attention(graph, attention, widths, rows)
    if products:
        half = any(p.type in (F16, BF16) for p in products)
        m, n, k = HALF_PRODUCT if half else PRODUCT
        few = power(rows, 16, m) if rows is not None else m
        whole = [w for p, w in ((p, widths[p.space]) for p in products if p.space is not None) if w is not None]
        reduced = any(x.kind == "reduce" for x in graph.nodes)
        columns = {}
        for i, w in enumerate(widths):
            most = 512 if reduced and w is not None and w in whole else n
            columns[i] = power(w, 16, most) if w is not None else n
        if max(columns.values()) > 128:
            few = 16
        inner = [widths[p.args[0].space] for p in products if p.args[0].space is not None]
        depth = min([power(w, 16, k) if w is not None else k for w in inner], default=k)
        # Addresses of open sizes need registers beside an exact product's operands.
        warps = 8 if not half and few > 16 and None in (rows, *widths) else 4
        return Blocks(few, columns, depth, warps, STAGES.get(target.partition(":")[0], 3))
    columns = {i: power(w, 1, LINE) if w is not None else 1024 for i, w in enumerate(widths)}
    widest = max(columns.values(), default=1)
    many = max(1, TILE // widest)
    return Blocks(power(rows, 1, many) if rows is not None else many, columns, 16, 4 if widest * many >= 1024 else 1)


def _attention(graph: Graph, found: Online, widths: Sequence[int | None], rows: int | None) -> Blocks:
    """A program holds ATTENTION's rows and columns of scores at a time, and of the result as many columns as a head
    usually has; half as many rows, among twice as many warps, where a head is or may be wide or there is a mask."""
    many, scores, depth = ATTENTION
    others = [w for i, w in enumerate(widths) if i != found.space]
    masked = any(n.kind == "load" and n.space == found.space for n in graph.nodes)
    wide = masked or any(w is None or w > WIDE_HEAD for w in others)
    if wide:
        many //= 2
    if found.scores.type == F64:
        many, scores, depth = many // 2, scores // 2, depth // 2
    columns = {i: power(w, 16, 128) if w is not None else 64 for i, w in enumerate(widths)}
    columns[found.space] = power(widths[found.space] or scores, 16, scores)
    return Blocks(power(rows, 16, many) if rows is not None else many, columns, depth, 8 if wide else 4, 2)
