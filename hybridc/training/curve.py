"""A loss curve as SVG, on a logarithmic scale where all losses are above 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45
MOST_POINTS = 1000
"""More losses than these are averaged, as many at a time."""


def svg(losses: Sequence[float], title: str) -> str:
    """The losses by number of call."""
    points = _thinned([(i + 1, x) for i, x in enumerate(losses) if math.isfinite(x)])
    if not points:
        points = [(1, 0.0)]
    log = all(y > 0 for _, y in points)
    heights = [math.log10(y) if log else y for _, y in points]
    low, high = min(heights), max(heights)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT),
                TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM))

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="14">{escape(title)}</text>',
    ]
    for mark in _marks(low, high):
        _, y = place(first, mark)
        shown = f"{10**mark:.3g}" if log else f"{mark:.4g}"
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    for mark in _marks(first, last):
        x, _ = place(mark, low)
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{mark:g}</text>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(p[0], h) for p, h in zip(points, heights, strict=True)))
    lines.append(f'<polyline points="{path}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>')
    lines.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">call</text>')
    return "\n".join([*lines, "</svg>", ""])


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    step = -(-len(points) // MOST_POINTS) or 1
    groups = [points[i : i + step] for i in range(0, len(points), step)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _marks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    rough = (high - low) / 5
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(s * scale for s in (1, 2, 5, 10) if s * scale >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
