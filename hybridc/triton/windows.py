"""Windows of images as Triton source: as a tensor, under a reduction (pooling), and as the matrix of a product, which a
convolution is. Only the first of them puts windows into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.base.types import BF16, F16
from hybridc.core.ir import Const, Op
from hybridc.core.types import elem
from hybridc.kernels.graph import WindowSizes
from hybridc.triton.reductions import combined, nothing
from hybridc.triton.text import Writer, computed, narrowed, rounded

if TYPE_CHECKING:
    from hybridc.triton.single import Single


def write_windows(s: Single) -> None:
    dims = s.dims()
    at, (b, ch, i, j, r, c), ok = s.elements(dims)
    where, inside = _place(s, b, ch, dims[1], (i, j), (r, c), ok)
    value = s.load(0, where, inside)
    fill = s.scalar(s.op.args[9])
    s.store(narrowed(s.kind, s.w.let("value", f"tl.where({inside}, {value}, {fill})")), at, ok)


def write_fold(s: Single) -> None:
    """An element of the image goes through the places in a window: for each there is one window at most that saw it."""
    w, dims = s.w, s.dims()
    at, (b, ch, y, x), ok = s.elements(dims)
    sh, sw, ph, pw, dh, dw = (s.scalar(a) for a in s.op.args[3:])
    total = w.let("total", f"tl.full((BLOCK,), 0, {computed(s.kind)})")
    with w.block("for i in range(0, kh):"), w.block("for j in range(0, kw):"):
        down, across = w.let("down", f"{y} + {ph} - i * {dh}"), w.let("across", f"{x} + {pw} - j * {dw}")
        seen = w.let("seen", f"{ok} & ({down} >= 0) & ({across} >= 0) & ({down} % {sh} == 0) & ({across} % {sw} == 0)")
        r, c = w.let("r", f"{down} // {sh}"), w.let("c", f"{across} // {sw}")
        seen = w.let("seen", f"{seen} & ({r} < rows) & ({c} < columns)")
        where = f"(((({b} * {dims[1]} + {ch}) * kh + i) * kw + j) * rows + {r}) * columns + {c}"
        w.line(f"{total} += {s.load(0, where, seen)}")
    s.store(narrowed(s.kind, total), at, ok)


def write_unpool(s: Single) -> None:
    """An element of the image asks each window that saw it whether it was the first greatest there."""
    w, dims = s.w, s.dims()
    at, (b, ch, y, x), ok = s.elements(dims)
    kh, kw, sh, sw, ph, pw, dh, dw, fill = (s.scalar(a) for a in s.op.args[2:])
    total = w.let("total", f"tl.full((BLOCK,), 0, {computed(s.kind)})")
    plane = w.let("plane", f"{b} * {dims[1]} + {ch}")
    with w.block(f"for i in range(0, {kh}):"), w.block(f"for j in range(0, {kw}):"):
        down, across = w.let("down", f"{y} + {ph} - i * {dh}"), w.let("across", f"{x} + {pw} - j * {dw}")
        seen = w.let("seen", f"{ok} & ({down} >= 0) & ({across} >= 0) & ({down} % {sh} == 0) & ({across} % {sw} == 0)")
        r, c = w.let("r", f"{down} // {sh}"), w.let("c", f"{across} // {sw}")
        seen = w.let("seen", f"{seen} & ({r} < rows) & ({c} < columns)")
        best = w.let("best", f"tl.full((BLOCK,), float('-inf'), {computed(s.kind)})")
        place = w.let("place", "tl.full((BLOCK,), 0, tl.int64)")
        with w.block(f"for p in range(0, {kh}):"), w.block(f"for q in range(0, {kw}):"):
            v, u = w.let("v", f"{r} * {sh} + p * {dh} - {ph}"), w.let("u", f"{c} * {sw} + q * {dw} - {pw}")
            inside = w.let("inside", f"{seen} & ({v} >= 0) & ({v} < {dims[2]}) & ({u} >= 0) & ({u} < {dims[3]})")
            value = s.load(0, f"({plane} * {dims[2]} + {v}) * {dims[3]} + {u}", inside)
            value = w.let("value", f"tl.where({inside}, {value}, {fill})")
            over = w.let("over", f"(({value} > {best}) | ({value} != {value})) & ({best} == {best})")
            w.line(f"{best} = tl.where({over}, {value}, {best})")
            w.line(f"{place} = tl.where({over}, p * {kw} + q, {place})")
        mine = w.let("mine", f"{seen} & ({place} == i * {kw} + j)")
        w.line(f"{total} += {s.load(1, f'({plane} * rows + {r}) * columns + {c}', mine)}")
    s.store(narrowed(s.kind, total), at, ok)


def write_pool(s: Single) -> None:
    """A reduction of each window: an element of the result goes through its window's."""
    reduce, w = s.launch.stmt.ops[1], s.w
    kind, fn = elem(reduce.outs[0].type), str(reduce.attr("fn"))
    at, (b, ch, r, c), ok = s.elements(["d0", "d1", "d2", "d3"])
    fill = s.scalar(s.op.args[9])
    total = w.let("total", f"tl.full((BLOCK,), {nothing(fn, kind)}, {computed(kind)})")
    high, wide = s.scalar(s.op.args[1]), s.scalar(s.op.args[2])
    with w.block(f"for i in range(0, {high}):"), w.block(f"for j in range(0, {wide}):"):
        where, inside = _place(s, b, ch, "d1", ("i", "j"), (r, c), ok)
        value = w.let("value", f"tl.where({inside}, {s.load(0, where, inside)}, {fill})")
        w.line(f"{total} = {combined(fn, kind, total, value)}")
    result = rounded(kind, total) if kind in (F16, BF16) else total
    s.store(narrowed(kind, result), at, ok)


def _place(
    s: Single, b: str, ch: str, channels: str, within: Sequence[str], window: Sequence[str], ok: str
) -> tuple[str, str]:
    """Where the operand's element lies that is at a place within a window, and whether it is there or padding."""
    sh, sw, ph, pw, dh, dw = (s.scalar(a) for a in s.op.args[3:9])
    y = s.w.let("y", f"{window[0]} * {sh} + {within[0]} * {dh} - {ph}")
    x = s.w.let("x", f"{window[1]} * {sw} + {within[1]} * {dw} - {pw}")
    inside = s.w.let("inside", f"{ok} & ({y} >= 0) & ({y} < h) & ({x} >= 0) & ({x} < w)")
    return f"(({b} * {channels} + {ch}) * h + {y}) * w + {x}", inside


def window_tile(w: Writer, op: Op, sizes: WindowSizes, base: str, inner: str, column: str, ok: str) -> str:
    """Rows `inner` and columns `column` of the matrix whose columns are the windows of one image, which begins at
    `base`."""
    settings = [a.value for a in op.args[1:9] if isinstance(a, Const)]
    (kh, kw, sh, sw, ph, pw, dh, dw), (height, width, across) = settings, (sizes.height, sizes.width, sizes.across)
    channel = w.let("channel", f"{inner} // {kh * kw}")
    y = w.let("y", f"({column} // {across}) * {sh} + ({inner} // {kw} % {kh}) * {dh} - {ph}")
    x = w.let("x", f"({column} % {across}) * {sw} + ({inner} % {kw}) * {dw} - {pw}")
    inside = f"{ok} & ({y} >= 0) & ({y} < {height}) & ({x} >= 0) & ({x} < {width})"
    return f"tl.load({base} + ({channel} * {height} + {y}) * {width} + {x}, mask={inside}, other=0.0)"


__all__ = ["window_tile", "write_fold", "write_pool", "write_unpool", "write_windows"]
