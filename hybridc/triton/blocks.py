"""The schedule table: how many rows, columns and steps of a product a program takes, and how many warps it has, by the
kernel's shape and the architecture."""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.base.types import BF16, F16
from hybridc.kernels.device import Launch

TILE = 2048
"""Elements that a program holds of each value of a kernel without products."""
LINE = 2048
"""Columns up to which a row is held whole."""
PRODUCT = (64, 64, 32)
HALF_PRODUCT = (64, 128, 64)
"""Rows, columns and depth of a product's tile, of f32 and of half precision."""


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


def blocks_of(launch: Launch) -> Blocks:
    """The tile of a kernel of rows."""
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
        return Blocks(few, columns, depth, 4, 3)
    columns = {i: power(w, 1, LINE) if w is not None else 1024 for i, w in enumerate(widths)}
    widest = max(columns.values(), default=1)
    many = max(1, TILE // widest)
    return Blocks(power(rows, 1, many) if rows is not None else many, columns, 16, 4 if widest * many >= 1024 else 1)
