"""Whole products of matrices: blocks that fit the caches.

Large ones go in blocks of rows and of columns; the sums go on where the block of k before left them, so that their
order is k's whatever the blocks are. Between blocks somebody may interrupt.
"""

from __future__ import annotations

from hybridc.base.types import Prim
from hybridc.llvm import support
from hybridc.llvm.block_product import TURN_FROM, copies, dots, narrow, panel_width, panels, room_of
from hybridc.llvm.code import Code
from hybridc.llvm.ends import end_of
from hybridc.llvm.kept_panels import kept_width
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.row_product import BACK
from hybridc.llvm.strided import least, most, parts
from hybridc.llvm.support import CTX
from hybridc.llvm.team import READING, spread
from hybridc.llvm.tiles import TILE_ROWS, ints, tile_heights

MATRICES = [("ptr", "%c"), ("ptr", "%a"), ("ptr", "%b")]
KEPT = [("ptr", "%kept")]

ROWS_IN_BLOCK = 180 * TILE_ROWS
"""Few blocks copy the right side seldom; the rows of one are read again for each panel."""
PANELS_IN_BLOCK = 8
"""Between two looks whether to stop."""


def matrix_product(module: Module, kind: Prim, ta: bool, tb: bool, *, adds: bool = False) -> str:
    """i32 (ctx, c, a, b, m, n, k): c = a @ b, or of a transposed left side c += a @ b; either side transposed; nonzero
    after a fault (no memory to pack, or an interrupt). If b is transposed there is one argument more: where its
    panels are kept, or null."""
    assert ta or not adds

    def make(name: str) -> None:
        kept = KEPT * tb
        code = Code(module, name, [CTX, *MATRICES, *ints("m", "n", "k"), *kept], "i32", attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%m", "0")):
            code.ret("0")
        args = [*MATRICES, *ints("m", "n", "k"), *kept]
        work = code.mul(code.mul(most(code, "%m", str(READING)), "%n"), "%k")
        panels_, rows = parts(code, "%n", panel_width(module, kind)), parts(code, "%m", TILE_ROWS)
        if tb and not ta:
            with code.when(code.icmp("slt", "%m", str(TURN_FROM))):
                back = end_of(code, "%b", code.mul(code.mul("%n", "%k"), str(SCALARS[kind.name][1])))
                dotted = _part(module, kind, ta, tb, "dots", adds)
                code.ret(spread(code, dotted, [*args, ("i64", back)], panels_, work, polls=False))
            with code.when(code.icmp("sle", "%n", str(narrow(module, kind)))):
                dotted = _part(module, kind, ta, tb, "rows of dots", adds)
                code.ret(spread(code, dotted, args, rows, work, polls=False))
        with code.when(code.icmp("sle", "%k", "0")):
            if not adds:
                code.zero_bytes("%c", code.mul(code.mul("%m", "%n"), str(SCALARS[kind.name][1])))
            code.ret("0")
        # Of the side that is not cut each thread copies all.
        with code.when(code.icmp("sge", code.mul("%n", "2"), "%m")):
            code.ret(spread(code, _part(module, kind, ta, tb, "columns", adds), args, panels_, work))
        code.ret(spread(code, _part(module, kind, ta, tb, "rows", adds), args, rows, work))
        code.finish()

    return module.helper(("kernel.product", kind, ta, tb, adds), make)


def _part(module: Module, kind: Prim, ta: bool, tb: bool, cut: str, adds: bool) -> str:
    """i32 (ctx, c, a, b, m, n, k, [kept,] first, last): those panels of columns, or `rows` by the tallest tile (also
    `rows of dots`), of a product. Columns of `dots` have an argument more before these two: the end from which b is
    read."""
    by_rows = cut.startswith("rows")

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [CTX, *MATRICES, *ints("m", "n", "k"), *KEPT * tb, *[BACK] * (cut == "dots"), *ints("first", "last")]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        unit = TILE_ROWS if by_rows else panel_width(module, kind)
        begin = code.mul("%first", str(unit))
        end = least(code, code.mul("%last", str(unit)), "%m" if by_rows else "%n")
        count = code.sub(end, begin)
        lda, ldb = "%m" if ta else "%k", "%k" if tb else "%n"
        a, b, m, n = "%a", "%b", "%m", "%n"
        if by_rows:
            a, m = code.element("%a", t, begin if ta else code.mul(begin, "%k")), count
            c = code.element("%c", t, code.mul(begin, "%n"))
        else:
            b, n = code.element("%b", t, code.mul(begin, "%k") if tb else begin), count
            c = code.element("%c", t, begin)
        sides = [("ptr", c), ("i64", "%n"), ("ptr", a), ("i64", lda), ("ptr", b), ("i64", ldb)]
        sizes = [("i64", m), ("i64", n), ("i64", "%k")]
        if cut.endswith("dots"):
            code.call("void", dots(module, kind), [*sides, *sizes, ("i64", "%back" if cut == "dots" else "0")])
            code.ret("0")
        else:
            more = []
            if tb:
                more = [*KEPT, ("i64", kept_width(code, kind, "%n")), ("i64", "0" if cut == "rows" else begin)]
            code.ret(code.call("i32", _blocks(module, kind, ta, tb, adds), [CTX, *sides, *sizes, *more]))
        code.finish()

    return module.helper(("kernel.part", kind, ta, tb, cut, adds), make)


def _blocks(module: Module, kind: Prim, ta: bool, tb: bool, adds: bool) -> str:
    """i32 (ctx, c, ldc, a, lda, b, ldb, m, n, k, [kept, wide, from]): a product, block by block."""

    def make(name: str) -> None:
        params = [CTX, ("ptr", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += [*ints("ldb", "m", "n", "k"), *[*KEPT, *ints("wide", "from")] * tb]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        _write_blocks(code, module, kind, ta, tb, adds)
        code.ret("0")
        code.finish()

    return module.helper(("kernel.blocks", kind, ta, tb, adds), make)


def _write_blocks(code: Code, module: Module, kind: Prim, ta: bool, tb: bool, adds: bool) -> None:
    t = SCALARS[kind.name][0]
    most = PANELS_IN_BLOCK * panel_width(module, kind)
    memory = code.call("ptr", "@malloc", [("i64", code.add(room_of(code, module, kind, "%k"), "64"))])
    with code.when(code.icmp("eq", memory, "null", "ptr")):
        support.no_memory(code)
        code.ret("1")
    room = code.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", code.ptr_add(memory, 63)), ("i64", "-64")])
    flag = support.flag_of(code)
    kernel = panels(module, kind, tile_heights("%m"), turned=tb, lies="columns" if ta else "rows", adds=adds)
    # Blocks of rows are about as large as each other, since each copies the right side.
    some = parts(code, "%m", ROWS_IN_BLOCK)
    high = code.mul(parts(code, parts(code, "%m", some), TILE_ROWS), str(TILE_ROWS))
    with code.loop("%m", step=high) as i, code.loop("%n", step=most) as j:
        rows = least(code, code.sub("%m", i.index), high)
        wide = least(code, code.sub("%n", j.index), str(most))
        a = code.element("%a", t, i.index if ta else code.mul(i.index, "%lda"))
        b = code.element("%b", t, code.mul(j.index, "%ldb") if tb else j.index)
        c = code.element("%c", t, code.add(code.mul(i.index, "%ldc"), j.index))
        more = [*KEPT, ("i64", "%wide"), ("i64", code.add("%from", j.index))] if tb else []
        copied = "true" if tb else copies(code, kind, b, "%ldb", rows, "%k")
        code.call("void", kernel, [
            ("ptr", c), ("i64", "%ldc"), ("ptr", a), ("i64", "%lda"), ("ptr", b), ("i64", "%ldb"), ("i64", rows),
            ("i64", wide), ("i64", "%k"), ("ptr", room), ("i1", copied), *more])
        with support.interrupted(code, flag):
            code.call("void", "@free", [("ptr", memory)])
            code.ret("1")
    code.call("void", "@free", [("ptr", memory)])
