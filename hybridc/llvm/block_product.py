"""A block of rows times a matrix, for kernels that hold both in memory.

A matrix whose columns lie side by side is read in panels of two vectors of columns, each for all rows of the block,
where it lies or from a packed copy (`pack`); what does not fill a panel is masked. A matrix that lies the other way is
multiplied row by row (`dots`), or packed too.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.llvm.code import Code, Module
from hybridc.llvm.lane import Lane
from hybridc.llvm.row_product import row_by_rows
from hybridc.llvm.tiles import dot_tile, ints, tile, tile_heights

VECTORS = 2
"""Of a panel."""
WIDE = 8
"""Vectors at a time for a single row."""
SHORT, TURN_FROM = 160, 12
"""Rows of so many elements, at most, are packed as columns for so many rows, at least, that are multiplied by them."""


def panel_width(module: Module, kind: Prim) -> int:
    return VECTORS * Lane(kind, module.vector_bytes).count


def panels(module: Module, kind: Prim, heights: Sequence[int], *, whole: bool = False, lies: str = "rows") -> str:
    """void (c, ldc, a, lda, b, step, ldb, rows, n, k, adds): c = a @ b, or c += a @ b, for `rows` rows in tiles of
    those heights, panel after panel; `step` is from one panel of b to the next. `whole`: panels fill n. a `lies` as
    for `tile`, or as `pack_rows` leaves it."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, width = lane.scalar, lane.count * VECTORS
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += [*ints("step", "ldb", "rows", "n", "k"), ("i1", "%adds")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")

        if len(heights) > 1 and 1 in heights and lies == "rows":
            with code.when(code.icmp("eq", "%rows", "1")):
                code.call("void", panels(module, kind, (1,), whole=whole), [
                    (t.removesuffix(" noalias"), name_) for t, name_ in params])
                code.ret()

        def row(i: str) -> str:
            return code.element("%a", t, i if lies == "columns" else code.mul(i, "%lda"))

        def part(column: str, b: str, vectors: int, masked: bool) -> None:
            at = "0"
            for h in heights:
                rest = code.sub("%rows", at)
                stop = code.add(at, code.mul(code.op2("udiv", "i64", rest, str(h)), str(h)))
                kernel = tile(module, kind, h, vectors, masked=masked, lies="rows" if lies == "rows" else "columns")
                with code.loop(stop, start=at, step=h, rolled=True) as i:
                    code.call("void", kernel, [
                        ("ptr", code.element("%c", t, code.add(code.mul(i.index, "%ldc"), column))), ("i64", "%ldc"),
                        ("ptr", row(i.index)), ("i64", str(h) if lies == "packed" else "%lda"), ("ptr", b),
                        ("i64", "%ldb"), ("i64", "%k"), ("i64", code.sub("%n", column)), ("i1", "%adds")])
                at = stop

        def panel(column: str, masked: bool) -> None:
            number = code.op2("udiv", "i64", column, str(width))
            part(column, code.element("%b", t, code.mul(number, "%step")), VECTORS, masked)

        # Where masks cost nothing there are no other tiles.
        free = module.vector_bytes == 64
        begin, strip = "0", lane.count * WIDE
        if tuple(heights) == (1,):
            # One row alone reads a wide strip at a time, where the columns lie side by side.
            beside = code.icmp("eq", "%step", str(width))
            begin = code.select(beside, "i64", "%n" if free else code.op2("and", "i64", "%n", str(-strip)), "0")
            with code.loop(begin, step=strip, rolled=True) as j:
                part(j.index, code.element("%b", t, j.index), WIDE, free)
        if free:
            with code.loop("%n", start=begin, step=width, rolled=True) as j:
                panel(j.index, True)
        else:
            filled = code.op2("and", "i64", "%n", str(-width))
            with code.loop(filled, start=begin, step=width, rolled=True) as j:
                panel(j.index, False)
            if not whole:
                with code.when(code.icmp("slt", filled, "%n")):
                    panel(filled, True)
        code.ret()
        code.finish()

    return module.helper(("kernel.panels", kind, tuple(heights), whole, lies), make)


def dots(module: Module, kind: Prim) -> str:
    """void (c, ldc, a, lda, b, ldb, rows, n, k): c[i, j] = a[i] . b[j]."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t = lane.scalar
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        code = Code(module, name, [*params, *ints("ldb", "rows", "n", "k")], "void", attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%rows", "1")):
            sides = [("ptr", f"%{n}") for n in "cab"]
            code.call("void", row_by_rows(module, kind), [*sides, *ints("ldb", "n", "k")])
            code.ret()
        # The sums of short rows take longer to add up than to turn the rows.
        short = code.op2("and", "i1", code.icmp("sle", "%k", str(SHORT)), code.icmp("sgt", "%k", "0"))
        with code.when(code.op2("and", "i1", short, code.icmp("sge", "%rows", str(TURN_FROM)))):
            _turned(code, module, kind)
            code.ret()
        rows, columns = 4, max(lane.count // 4, 2)
        tall = code.op2("and", "i64", "%rows", str(-rows))
        straight = code.op2("and", "i64", "%n", str(-columns))
        # The next rows of b are asked for while these are multiplied: half by one tile of them, half by the next; all
        # if there is one.
        single, half = code.icmp("sle", "%rows", str(rows)), code.mul("%ldb", str(columns // 2))
        apart, other = (code.select(single, "i64", *v) for v in ((half, "0"), ("0", half)))

        def together(i: str, j: str, edge: bool) -> None:
            odd = code.icmp("ne", code.op2("and", "i64", i, str(rows)), "0")
            code.call("void", dot_tile(module, kind, rows, columns, edge=edge), [
                ("ptr", code.element("%c", t, code.add(code.mul(i, "%ldc"), j))), ("i64", "%ldc"),
                ("ptr", code.element("%a", t, code.mul(i, "%lda"))), ("i64", "%lda"),
                ("ptr", code.element("%b", t, code.mul(j, "%ldb"))), ("i64", "%ldb"), ("i64", "%k"),
                ("i64", code.sub("%rows", i)), ("i64", code.sub("%n", j)),
                ("i64", code.add(code.mul("%ldb", str(columns)), code.select(odd, "i64", other, "0"))), ("i64", apart)])

        with code.loop("%n", step=columns, rolled=True) as j:
            inner = code.select(code.icmp("slt", j.index, straight), "i64", tall, "0")
            with code.loop(inner, step=rows, rolled=True) as i:
                together(i.index, j.index, False)
            with code.loop("%rows", start=inner, step=rows, rolled=True) as i:
                together(i.index, j.index, True)
        code.ret()
        code.finish()

    return module.helper(("kernel.dots", kind), make)


def _turned(code: Code, module: Module, kind: Prim) -> None:
    """A panel's rows of b packed as columns, panel after panel, in memory that stays in the first cache."""
    lane = Lane(kind, module.vector_bytes)
    t, width = lane.scalar, lane.count * VECTORS
    memory = code.alloca(SHORT * width * lane.size, 64)
    kernel = panels(module, kind, tile_heights(module, "%rows"))
    with code.loop("%n", step=width, rolled=True) as j:
        wide = code.call("i64", "@llvm.smin.i64", [("i64", code.sub("%n", j.index)), ("i64", str(width))])
        source = code.element("%b", t, code.mul(j.index, "%ldb"))
        code.call("void", pack(module, kind, True), [
            ("ptr", memory), ("ptr", source), ("i64", "%ldb"), ("i64", wide), ("i64", "%k")])
        code.call("void", kernel, [
            ("ptr", code.element("%c", t, j.index)), ("i64", "%ldc"), ("ptr", "%a"), ("i64", "%lda"), ("ptr", memory),
            ("i64", "0"), ("i64", str(width)), ("i64", "%rows"), ("i64", wide), ("i64", "%k"), ("i1", "false")])


def pack(module: Module, kind: Prim, transposed: bool) -> str:
    """void (to, b, ldb, n, k): the panels of b one after the other, each k lines of a panel's width. `transposed`: b is
    n rows of k. What lies beyond n in the last panel is not written."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        width = count * VECTORS
        params = [("ptr noalias", "%to"), ("ptr", "%b"), *ints("ldb", "n", "k")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        step = code.mul("%k", str(width))

        def place(line: str, column: str) -> str:
            """Where an element of the matrix is packed."""
            panel = code.mul(code.op2("udiv", "i64", column, str(width)), step)
            within = code.op2("and", "i64", column, str(width - 1))
            return code.element("%to", t, code.add(panel, code.add(code.mul(line, str(width)), within)))

        filled = code.op2("and", "i64", "%n", str(-count))
        if transposed:
            lines = code.op2("and", "i64", "%k", str(-count))
            with code.loop(filled, step=count, rolled=True) as j:
                with code.loop(lines, step=count, rolled=True) as i:
                    source = code.element("%b", t, code.add(code.mul(j.index, "%ldb"), i.index))
                    rows = [lane.load(code, code.element(source, t, code.mul("%ldb", str(r)) if r else "0"))
                            for r in range(count)]
                    to = place(i.index, j.index)
                    for r, v in enumerate(lane.transpose(code, rows)):
                        lane.store(code, v, code.element(to, t, str(r * width)))
                _scalars(code, t, place, lines, j.index, code.add(j.index, str(count)))
            _scalars(code, t, place, "0", filled, "%n")
        else:
            mask = lane.mask(code, code.sub("%n", filled), 0)
            with code.loop("%k", rolled=True) as i:
                line = code.element("%b", t, code.mul(i.index, "%ldb"))
                with code.loop(filled, step=count, rolled=True) as j:
                    lane.store(code, lane.load(code, code.element(line, t, j.index)), place(i.index, j.index))
                with code.when(code.icmp("slt", filled, "%n")):
                    value = lane.load(code, code.element(line, t, filled), mask)
                    lane.store(code, value, place(i.index, filled), mask)
        code.ret()
        code.finish()

    return module.helper(("kernel.pack", kind, transposed), make)


def pack_rows(module: Module, kind: Prim, heights: Sequence[int], transposed: bool) -> str:
    """void (to, a, lda, rows, k): the rows that each tile of those heights multiplies, one tile after the other, each k
    lines of its height. `transposed`: a is k lines of rows. Up to a vector is written beyond the end."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        params = [("ptr noalias", "%to"), ("ptr", "%a"), *ints("lda", "rows", "k")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        filled = code.op2("and", "i64", "%k", str(-count))
        at = "0"
        for h in heights:
            stop = code.add(at, code.mul(code.op2("udiv", "i64", code.sub("%rows", at), str(h)), str(h)))
            with code.loop(stop, start=at, step=h, rolled=True) as i:
                to = code.element("%to", t, code.mul(i.index, "%k"))
                if transposed:
                    with code.loop("%k", rolled=True) as p, code.loop(str(h)) as r:
                        source = code.element("%a", t, code.add(code.mul(p.index, "%lda"), i.index))
                        value = code.load(t, code.element(source, t, r.index))
                        code.store(t, value, code.element(to, t, code.add(code.mul(p.index, str(h)), r.index)))
                else:
                    source = code.element("%a", t, code.mul(i.index, "%lda"))
                    # There are few of the lower tiles.
                    _pack_lines(code, lane, h, to, source, filled if h == heights[0] else "0")
            at = stop
        code.ret()
        code.finish()

    return module.helper(("kernel.pack_rows", kind, tuple(heights), transposed), make)


def _pack_lines(code: Code, lane: Lane, h: int, to: str, source: str, filled: str) -> None:
    """Rows transposed, a square of vectors at a time. Each line of h is written as whole vectors, and the next over
    what was too much."""
    t = lane.scalar
    if filled != "0":
        _pack_squares(code, lane, h, to, source, filled)
    with code.loop("%k", start=filled, rolled=True) as p, code.loop(str(h), rolled=True) as r:
        value = code.load(t, code.element(source, t, code.add(code.mul(r.index, "%lda"), p.index)))
        code.store(t, value, code.element(to, t, code.add(code.mul(p.index, str(h)), r.index)))


def _pack_squares(code: Code, lane: Lane, h: int, to: str, source: str, filled: str) -> None:
    t, count = lane.scalar, lane.count
    with code.loop(filled, step=count, rolled=True) as p:
        for first in range(0, h, count):
            rows = [
                lane.load(code, code.element(source, t, code.add(code.mul("%lda", str(first + r)), p.index)))
                if first + r < h else "zeroinitializer" for r in range(count)
            ]
            mask = "" if first == 0 or first + count <= h else lane.mask(code, str(h - first), 0)
            for q, v in enumerate(lane.transpose(code, rows)):
                line = code.add(code.mul(code.add(p.index, str(q)), str(h)), str(first))
                lane.store(code, v, code.element(to, t, line), mask)


def _scalars(code: Code, t: str, place, line: str, start: str, stop: str) -> None:  # type: ignore[no-untyped-def]
    """Elements one by one: columns from start to stop, lines from `line` on."""
    with code.loop(stop, start=start, rolled=True) as j, code.loop("%k", start=line, rolled=True) as i:
        source = code.element("%b", t, code.add(code.mul(j.index, "%ldb"), i.index))
        code.store(t, code.load(t, source), place(i.index, j.index))
