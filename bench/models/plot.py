"""The rows of docs/benchmarks.md as a picture: how many times as long as Hyb each peer takes. What it needs:
`pip install matplotlib`."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {"C++": "#4c72b0", "numba": "#dd8452", "Python": "#55a868", "torch": "#c44e52", "JAX": "#8172b3",
           "mctx": "#8172b3", "OpenSpiel": "#937860"}


def rows(page: str) -> list[tuple[str, float, list[tuple[str, float]]]]:
    """Of each row between the marks: the model, Hyb's milliseconds, and each peer's."""
    found = []
    for text in re.findall(r"<!-- models, \d: begin -->\n(.*?)<!-- models, \d: end -->", page, re.S):
        for line in text.splitlines()[2:]:
            _, name, ours, beside, *_ = (cell.strip() for cell in line.split("|"))
            peers = re.findall(r"(\S.*?) ([\d.]+)(?:, |$)", beside)
            found.append((name, float(ours), [(peer, float(ms)) for peer, ms in peers]))
    return found


def draw(page: Path, out: Path) -> None:
    """Writes an SVG, the same bytes for the same rows."""
    matplotlib.rcParams.update({"svg.hashsalt": "hyb", "svg.fonttype": "none", "font.size": 8})
    table = rows(page.read_text())
    lines = sum(len(peers) + 2 for _, _, peers in table)
    figure, axes = plt.subplots(figsize=(8, 0.2 * lines + 0.6))
    y, longest = 0.0, max(ms / ours for _, ours, peers in table for _, ms in peers)
    for name, ours, peers in table:
        axes.text(0.11, y, name, va="center", weight="bold")
        for peer, ms in peers:
            y += 1
            colour = next((c for key, c in COLOURS.items() if key in peer), "#8c8c8c")
            axes.barh(y, ms / ours, left=0, height=0.8, color=colour)
            axes.text(max(ms / ours, 0.11) * 1.06, y, f"{peer}: {ms / ours:.2g} ×", va="center")
        y += 1.5
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlim=(0.1, 20 * longest), ylim=(y, -1), yticks=[], xlabel="time, in multiples of Hyb's")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.savefig(out, bbox_inches="tight", metadata={"Date": None, "Creator": None})
