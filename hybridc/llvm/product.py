"""Whole products of matrices: blocks that fit the caches.

Large ones go in blocks of k and of n, whose part of the right side is packed, and for each of these through blocks of
rows; the sums go on where the block before left them, so that their order is k's whatever the blocks are. A few rows
are multiplied by a right side where it lies. Between blocks somebody may interrupt.
"""

from __future__ import annotations

from hybridc.base.types import Prim
from hybridc.llvm import support
from hybridc.llvm.block_product import dots, pack, pack_rows, panel_width, panels
from hybridc.llvm.code import Code, Module
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.strided import least, parts
from hybridc.llvm.support import CTX
from hybridc.llvm.team import spread
from hybridc.llvm.tiles import ints, tile_heights, tile_rows

MATRICES = [("ptr", "%c"), ("ptr", "%a"), ("ptr", "%b")]

PACK_FROM = 24
"""Rows from which a right side is packed that could be read where it lies."""
DOT_ROWS = 96
"""Rows up to which a right side that lies the other way is multiplied row by row."""
K_BYTES = 2048
"""Of k in a block: a panel of it fits the first cache, beside a tile's rows."""
BLOCK_BYTES = 1 << 22
"""Of the packed right side."""
PACK_ROWS_FROM = 512
"""Columns from which the rows of the left side are packed too."""
ROWS_IN_BLOCK = 140
"""A multiple of a tile's rows, between two looks whether to stop."""


def matrix_product(module: Module, kind: Prim, ta: bool, tb: bool) -> str:
    """i32 (ctx, c, a, b, m, n, k): c = a @ b, either side transposed; nonzero after a fault (no memory to pack, or an
    interrupt)."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, *MATRICES, *ints("m", "n", "k")], "i32", attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%m", "0")):
            code.ret("0")
        args = [*MATRICES, *ints("m", "n", "k")]
        work = code.mul(code.mul("%m", "%n"), "%k")
        panels_ = parts(code, "%n", panel_width(module, kind))
        if tb and not ta:
            with code.when(code.icmp("sle", "%m", str(DOT_ROWS))):
                code.ret(spread(code, _part(module, kind, ta, tb, "dots"), args, panels_, work))
        with code.when(code.icmp("sle", "%k", "0")):
            code.zero_bytes("%c", code.mul(code.mul("%m", "%n"), str(SCALARS[kind.name][1])))
            code.ret("0")
        # Of the side that is not cut each thread packs all.
        with code.when(code.icmp("sge", code.mul("%n", "2"), "%m")):
            code.ret(spread(code, _part(module, kind, ta, tb, "columns"), args, panels_, work))
        code.ret(spread(code, _part(module, kind, ta, tb, "rows"), args, parts(code, "%m", tile_rows(module)), work))
        code.finish()

    return module.helper(("kernel.product", kind, ta, tb), make)


def _part(module: Module, kind: Prim, ta: bool, tb: bool, cut: str) -> str:
    """i32 (ctx, c, a, b, m, n, k, first, last): those panels of columns (by `dots`, or as `columns`), or `rows` by the
    tallest tile, of a product."""

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [CTX, *MATRICES, *ints("m", "n", "k", "first", "last")]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        unit = tile_rows(module) if cut == "rows" else panel_width(module, kind)
        begin = code.mul("%first", str(unit))
        end = least(code, code.mul("%last", str(unit)), "%m" if cut == "rows" else "%n")
        count = code.sub(end, begin)
        lda, ldb = "%m" if ta else "%k", "%k" if tb else "%n"
        a, b, m, n = "%a", "%b", "%m", "%n"
        if cut == "rows":
            a, m = code.element("%a", t, begin if ta else code.mul(begin, "%k")), count
            c = code.element("%c", t, code.mul(begin, "%n"))
        else:
            b, n = code.element("%b", t, code.mul(begin, "%k") if tb else begin), count
            c = code.element("%c", t, begin)
        sides = [("ptr", c), ("i64", "%n"), ("ptr", a), ("i64", lda), ("ptr", b), ("i64", ldb)]
        sizes = [("i64", m), ("i64", n), ("i64", "%k")]
        if cut == "dots":
            code.call("void", dots(module, kind), [*sides, *sizes])
            code.ret("0")
        else:
            code.ret(code.call("i32", _blocks(module, kind, ta, tb), [CTX, *sides, *sizes]))
        code.finish()

    return module.helper(("kernel.part", kind, ta, tb, cut), make)


def _blocks(module: Module, kind: Prim, ta: bool, tb: bool) -> str:
    """i32 (ctx, c, ldc, a, lda, b, ldb, m, n, k): a product, block by block."""

    def make(name: str) -> None:
        params = [CTX, ("ptr", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        code = Code(module, name, [*params, *ints("ldb", "m", "n", "k")], "i32", attributes="noinline nounwind")
        _write_blocks(code, module, kind, ta, tb)
        code.ret("0")
        code.finish()

    return module.helper(("kernel.blocks", kind, ta, tb), make)


def _write_blocks(code: Code, module: Module, kind: Prim, ta: bool, tb: bool) -> None:
    t, size = SCALARS[kind.name]
    width, depth = panel_width(module, kind), K_BYTES // size
    most = BLOCK_BYTES // (depth * size) // width * width
    heights = tile_heights(module, "%rows")

    def both(a: str, b: str) -> str:
        return code.op2("and", "i1", a, b)

    # No more memory than the product needs: for the right side, and after it for rows of the left one.
    lines, columns = least(code, "%k", str(depth)), least(code, "%n", str(most))
    packs = "true" if tb else code.icmp("sge", "%m", str(PACK_FROM))
    packs_rows = both(code.icmp("sge", "%m", str(ROWS_IN_BLOCK // 2)), code.icmp("sge", "%n", str(PACK_ROWS_FROM)))
    panels_of = code.op2("udiv", "i64", code.add(columns, str(width - 1)), str(width))
    room = code.select(packs, "i64", code.mul(code.mul(lines, panels_of), str(width * size)), "0")
    rows_room = code.select(packs_rows, "i64", code.mul(lines, str(ROWS_IN_BLOCK * size)), "0")
    memory = code.call("ptr", "@malloc", [("i64", code.add(code.add(room, rows_room), "128"))])
    with code.when(code.icmp("eq", memory, "null", "ptr")):
        support.no_memory(code)
        code.ret("1")
    packed = code.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", code.ptr_add(memory, 63)), ("i64", "-64")])
    packed_rows = code.ptr_add(packed, room)
    flag = code.load("ptr", support.context_field(code, "flag"))
    with code.loop("%n", step=most) as j, code.loop("%k", step=depth) as p:
        wide, deep = least(code, code.sub("%n", j.index), str(most)), least(code, code.sub("%k", p.index), str(depth))
        at = (j.index, p.index) if tb else (p.index, j.index)
        source = code.element("%b", t, code.add(code.mul(at[0], "%ldb"), at[1]))
        with code.when(packs):
            code.call("void", pack(module, kind, tb), [
                ("ptr", packed), ("ptr", source), ("i64", "%ldb"), ("i64", wide), ("i64", deep)])
        b = code.select(packs, "ptr", packed, source)
        step = code.select(packs, "i64", code.mul(deep, str(width)), str(width))
        line = code.select(packs, "i64", str(width), "%ldb")
        adds = code.icmp("sgt", p.index, "0")
        with code.loop("%m", step=ROWS_IN_BLOCK) as i:
            rows = least(code, code.sub("%m", i.index), str(ROWS_IN_BLOCK))
            line_, column = (p.index, i.index) if ta else (i.index, p.index)
            a = code.element("%a", t, code.add(code.mul(line_, "%lda"), column))
            c = code.element("%c", t, code.add(code.mul(i.index, "%ldc"), j.index))
            rest = [("ptr", b), ("i64", step), ("i64", line), ("i64", rows), ("i64", wide), ("i64", deep), ("i1", adds)]
            plain, quick, done = code.label("plain"), code.label("packed"), code.label("done")
            code.branch(packs_rows, quick, plain)
            code.start(plain)
            code.call("void", panels(module, kind, heights, lies="columns" if ta else "rows"), [
                ("ptr", c), ("i64", "%ldc"), ("ptr", a), ("i64", "%lda"), *rest])
            code.jump(done)
            code.start(quick)
            code.call("void", pack_rows(module, kind, heights, ta), [
                ("ptr", packed_rows), ("ptr", a), ("i64", "%lda"), ("i64", rows), ("i64", deep)])
            code.call("void", panels(module, kind, heights, lies="packed"), [
                ("ptr", c), ("i64", "%ldc"), ("ptr", packed_rows), ("i64", deep), *rest])
            code.jump(done)
            code.start(done)
            asked = code.icmp("ne", code.ins(f"load volatile i32, ptr {flag}"), "0", "i32")
            with code.when(asked):
                stop = support.interrupt(code)
                with code.when(stop):
                    code.call("void", "@free", [("ptr", memory)])
                    code.ret("1")
    code.call("void", "@free", [("ptr", memory)])
