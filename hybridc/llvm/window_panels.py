"""Rows times the matrix whose columns are the windows of an image, which is never in memory: its panels are copied from
the image, one at a time, to the room where all rows of a block are multiplied by them.

For windows of which a vector lies in one line of the image (kernels/graph.py: in_lines). What lies beyond the image
is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.kernels.graph import WindowSizes
from hybridc.llvm.block_product import DEPTH_BYTES, panel_width, rows_by_panel
from hybridc.llvm.code import Code
from hybridc.llvm.lane import Lane
from hybridc.llvm.module import Module
from hybridc.llvm.strided import least
from hybridc.llvm.tiles import Heights, ints, tile_vectors


def channels_together(kind: Prim, sizes: WindowSizes, settings: Sequence[int]) -> int:
    """Of which a panel has lines: as many as fit where other panels do."""
    most = DEPTH_BYTES // Lane(kind, 64).size // (settings[0] * settings[1])
    return min(max(most, 1), sizes.channels)


def window_room(module: Module, kind: Prim, sizes: WindowSizes, settings: Sequence[int]) -> str:
    """Bytes for a panel."""
    lines = channels_together(kind, sizes, settings) * settings[0] * settings[1]
    return str(lines * panel_width(module, kind) * Lane(kind, 64).size)


def window_panels(
    module: Module, kind: Prim, heights: Heights, sizes: WindowSizes, settings: Sequence[int], count: int
) -> str:
    """void (c, ldc, a, lda, image, rows, room): c = a @ the matrix of so many windows, for `rows` rows in tiles of
    those heights. `settings` are the windows' height and width, strides, padding and dilation."""

    def make(name: str) -> None:
        t, width, vectors = Lane(kind, 64).scalar, panel_width(module, kind), tile_vectors(module)
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%image")]
        code = Code(module, name, [*params, *ints("rows"), ("ptr noalias", "%room")], "void",
                    attributes="noinline nounwind")
        area, some = settings[0] * settings[1], channels_together(kind, sizes, settings)
        with code.loop(str(sizes.channels), step=some, rolled=True) as first:
            channels = least(code, code.sub(str(sizes.channels), first.index), str(some))
            image = code.element("%image", t, code.mul(first.index, str(sizes.height * sizes.width)))
            a = code.element("%a", t, code.mul(first.index, str(area)))

            def panel(at: str, across: int, edge: bool) -> None:
                copy = _copy(module, kind, across, sizes, tuple(settings))
                code.call("void", copy, [("ptr", "%room"), ("ptr", image), ("i64", channels), ("i64", at)])
                code.call("void", rows_by_panel(module, kind, heights, across, edge, "copied", "rows"), [
                    ("ptr", code.element("%c", t, at)), ("i64", "%ldc"), ("ptr", a), ("i64", "%lda"),
                    ("ptr", "%room"), ("i64", "0"), ("i64", "%rows"), ("i64", code.mul(channels, str(area))),
                    ("i64", code.sub(str(count), at)), ("i1", code.icmp("sgt", first.index, "0")),
                    ("ptr", "%room")])

            filled = count // width * width
            with code.loop(str(filled), step=width, rolled=True) as j:
                panel(j.index, vectors, False)
            if filled < count:
                narrow = vectors > 2 and count - filled <= width // 2
                panel(str(filled), vectors // 2 if narrow else vectors, True)
        code.ret()
        code.finish()

    return module.helper(("kernel.window_panels", kind, tuple(heights), sizes, tuple(settings), count), make)


def _copy(module: Module, kind: Prim, vectors: int, sizes: WindowSizes, settings: tuple[int, ...]) -> str:
    """void (to, image, channels, first): the panel of so many vectors of windows from the first on, for so many
    channels from the image's."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, plane = lane.scalar, sizes.height * sizes.width
        params = [("ptr noalias", "%to"), ("ptr", "%image"), *ints("channels", "first")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        height, width, down, _, above, left, dy, dx = settings
        at = [code.add("%first", str(v * lane.count)) for v in range(vectors)]
        ys = [code.sub(code.mul(code.op2("udiv", "i64", p, str(sizes.across)), str(down)), str(above)) for p in at]
        xs = [code.sub(code.op2("urem", "i64", p, str(sizes.across)), str(left)) for p in at]
        step = lane.count * vectors
        with code.loop(str(height), rolled=True) as i, code.loop(str(width), rolled=True) as j:
            sources, masks = [], []
            for y0, x0 in zip(ys, xs, strict=True):
                y, x = code.add(y0, code.mul(i.index, str(dy))), code.add(x0, code.mul(j.index, str(dx)))
                inside = code.icmp("ult", y, str(sizes.height))
                masks.append(_within(code, lane, x, code.select(inside, "i64", str(sizes.width), "0")))
                sources.append(code.add(code.mul(y, str(sizes.width)), x))
            line = code.add(code.mul(i.index, str(width)), j.index)
            to = code.element("%to", t, code.mul(line, str(step)))
            with code.loop("%channels", rolled=True) as c:
                image = code.element("%image", t, code.mul(c.index, str(plane)))
                there = code.element(to, t, code.mul(c.index, str(height * width * step)))
                for v, (source, mask) in enumerate(zip(sources, masks, strict=True)):
                    value = lane.load(code, code.beyond(image, t, source), mask)
                    lane.store(code, value, code.ptr_add(there, lane.bytes * v))
        code.ret()
        code.finish()

    return module.helper(("kernel.copy_windows", kind, vectors, sizes, settings), make)


def _within(code: Code, lane: Lane, start: str, end: str) -> str:
    """The lanes of a vector of elements from `start` on that lie between 0 and `end`; both fit in 32 bits."""
    wide = f"<{lane.count} x i32>"

    def splat(value: str) -> str:
        one = code.ins(f"insertelement {wide} poison, i32 {code.convert('trunc', 'i64', value, 'i32')}, i32 0")
        return code.ins(f"shufflevector {wide} {one}, {wide} poison, <{lane.count} x i32> zeroinitializer")

    numbers = ", ".join(f"i32 {i}" for i in range(lane.count))
    places = code.ins(f"add {wide} {splat(start)}, <{numbers}>")
    return code.ins(f"icmp ult {wide} {places}, {splat(end)}")
