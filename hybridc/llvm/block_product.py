"""A block of rows times a matrix, for kernels that hold both in memory.

The matrix goes panel by panel, a tile's vectors of columns wide, and is read where it lies or from a copy of one panel
in a small room, which stays in the caches while all rows of the block are multiplied by it. So each line is copied
once, and no packed matrix goes out to memory and back. A matrix that lies the other way is turned when it is copied;
few rows are multiplied by its rows instead (`dots`).
"""

from __future__ import annotations

from typing import Literal

from hybridc.base.types import Prim
from hybridc.llvm.code import Code
from hybridc.llvm.ends import turned
from hybridc.llvm.lane import Lane
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.row_product import row_by_rows, strips_from_lines
from hybridc.llvm.strided import least, most, times
from hybridc.llvm.tiles import AHEAD, LINE, TILE_ROWS, Heights, dot_tile, ints, tile, tile_vectors

WIDE = 8
"""Vectors at a time for a single row."""
DEPTH_BYTES = 4096
"""Of k in a block: a panel of it fits the second cache, beside the block's rows."""
COLUMNS_DEPTH = 64
"""The same for rows that lie in columns: each k is a line of the caches of which a tile needs a part only, and the
first cache is to have them all for the next tile."""
TURN_FROM = 12
"""Rows from which a matrix that lies the other way is turned."""
COPY_FROM, COPY_BESIDE_FROM, COPY_ALIGNED_FROM, COPY_CROWDED_FROM = 18, 48, 160, 12
"""Rows from which panels are copied: where vectors cross the lines of the caches, where they do and the lines of b are
those of a panel anyway, where they do not, and where a panel's lines crowd in few sets of the second cache, which
cannot keep it."""
CROWD = 1 << 20
"""Lines of a panel, times the power of two in the distance between them, beyond which they crowd: the second cache is
of that size, or twice."""


def panel_width(module: Module, kind: Prim) -> int:
    return tile_vectors(module) * Lane(kind, module.vector_bytes).count


def narrow(module: Module, kind: Prim) -> int:
    """Columns up to which rows are multiplied by the rows of a matrix however many they are: less than a quarter of a
    panel's work would count."""
    return panel_width(module, kind) // 4


def room_of(code: Code, module: Module, kind: Prim, k: str) -> str:
    """Bytes for a panel."""
    size = SCALARS[kind.name][1]
    lines = least(code, k, str(DEPTH_BYTES // size))
    return times(code, lines, str(panel_width(module, kind) * size))


def copies(code: Code, kind: Prim, b: str, ldb: str, rows: str, k: str) -> str:
    """i1: are the panels of a matrix that lies in lines copied for so many rows?"""
    size = SCALARS[kind.name][1]
    distance = code.mul(ldb, str(size))
    ends = code.op2("or", "i64", code.convert("ptrtoint", "ptr", b, "i64"), distance)
    aligned = code.icmp("eq", code.op2("and", "i64", ends, str(LINE - 1)), "0")
    power = code.op2("and", "i64", distance, code.sub("0", distance))
    crowd = code.icmp("sgt", code.mul(least(code, k, str(DEPTH_BYTES // size)), power), str(CROWD))
    beside = code.icmp("sle", ldb, str(panel_width(code.module, kind)))
    few = code.select(beside, "i64", str(COPY_BESIDE_FROM), str(COPY_FROM))
    few = code.select(aligned, "i64", str(COPY_ALIGNED_FROM), few)
    return code.icmp("sge", rows, code.select(crowd, "i64", str(COPY_CROWDED_FROM), few))


def panels(
    module: Module, kind: Prim, heights: Heights, *, turned: bool, whole: bool = False, lies: str = "rows",
    adds: bool = False,
) -> str:
    """void (c, ldc, a, lda, b, ldb, rows, n, k, room, copies): c = a @ b for `rows` rows in tiles of those heights.
    Panels are copied to the room if so said, or if they are not full (`whole`: all are). `turned`: b is n rows of k,
    and there are three more arguments (kept, wide, from): where its panels are kept (kept_panels.py), or null, how many
    columns these have, and which is the first one of b. Else all panels are copied. a `lies` as for `tile`."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t = lane.scalar
        vectors, width = tile_vectors(module), panel_width(module, kind)
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += [*ints("ldb", "rows", "n", "k"), ("ptr noalias", "%room"), ("i1", "%copies")]
        params += [("ptr", "%kept"), *ints("wide", "from")] if turned else []
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        alone = lies == "rows" and not turned
        if alone and any(h == 1 for h, _ in heights):
            with code.when(code.icmp("eq", "%rows", "1")):
                _line_by_lines(code, module, kind)
                code.ret()
        depth = COLUMNS_DEPTH if lies == "columns" else DEPTH_BYTES // lane.size
        with code.loop(most(code, "%k", "1"), step=depth, rolled=True) as p:
            deep = least(code, code.sub("%k", p.index), str(depth))
            a = code.element("%a", t, p.index if lies == "rows" else code.mul(p.index, "%lda"))
            first = code.element("%b", t, p.index if turned else code.mul(p.index, "%ldb"))
            goes_on = "true" if adds else code.icmp("sgt", p.index, "0")

            def panel(column: str, across: int, edge: bool) -> None:
                b, left = code.element(first, t, code.mul(column, "%ldb") if turned else column), code.sub("%n", column)

                def multiply(by: str, lines: Lines, other: str = "%room") -> None:
                    code.call("void", rows_by_panel(module, kind, heights, across, edge, lines, lies), [
                        ("ptr", code.element("%c", t, column)), ("i64", "%ldc"), ("ptr", a), ("i64", "%lda"),
                        ("ptr", by), ("i64", "%ldb"), ("i64", "%rows"), ("i64", deep), ("i64", left), ("i1", goes_on),
                        ("ptr", other)])

                to_room = [("ptr", "%room"), ("ptr", b), ("i64", "%ldb"), ("i64", left), ("i64", deep)]
                # The next panel is asked of memory while this one is multiplied, where it lies together.
                if turned:
                    def kept() -> None:
                        before = code.add(code.mul(p.index, "%wide"), code.mul(code.add(column, "%from"), deep))
                        there = code.element("%kept", t, before)
                        multiply(there, "copied", code.beyond(there, t, code.mul(deep, str(width))))

                    def fresh() -> None:
                        code.call("void", turn(module, kind), [*to_room, ("i64", str(across))])
                        next_ = code.beyond(b, t, code.mul("%ldb", str(width)))
                        more = code.op2("and", "i1", code.icmp("eq", deep, "%ldb"), code.icmp("sgt", left, str(width)))
                        multiply("%room", "copied", code.select(more, "ptr", next_, "%room"))

                    code.fork(code.icmp("ne", "%kept", "null", "ptr"), kept, fresh)
                elif edge:
                    multiply(b, "copying")
                else:
                    more = code.icmp("sge", left, str(2 * width))
                    beside = code.select(more, "ptr", code.beyond(b, t, str(width)), b)
                    code.fork("%copies", lambda: multiply(b, "copying"), lambda: multiply(b, "placed", beside))

            filled = code.op2("and", "i64", "%n", str(-width))
            with code.loop(filled, step=width, rolled=True) as j:
                panel(j.index, vectors, False)
            if not whole:
                with code.when(code.icmp("slt", filled, "%n")):
                    # Half a panel is a kernel of its own where panels are wide.
                    if vectors > 2:
                        half = code.icmp("sle", code.sub("%n", filled), str(width // 2))
                        code.fork(half, lambda: panel(filled, vectors // 2, True), lambda: panel(filled, vectors, True))
                    else:
                        panel(filled, vectors, True)
        code.ret()
        code.finish()

    return module.helper(("kernel.panels", kind, tuple(heights), turned, whole, lies, adds), make)


Lines = Literal["placed", "copied", "copying"]
"""Of a panel: where they are in the matrix, one after the other, or to be so after the first tile."""


def rows_by_panel(
    module: Module, kind: Prim, heights: Heights, vectors: int, edge: bool, lines: Lines, lies: str
) -> str:
    """void (c, ldc, a, lda, b, step, rows, k, left, adds, later or room): all rows by a panel. If its lines are
    `copying` to a room, the first tile does it while it multiplies, and the others ask memory for the next rows. Else
    the first ones ask for a panel that lies at `later`, k lines of the caches each: as this one does, or line after
    line if it is copied."""
    # Where masks cost little there are no other tiles.
    masked, ragged = edge or module.vector_bytes == 64, edge and lines == "copying"

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, line = lane.scalar, LINE // lane.size
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += [*ints("step", "rows", "k", "left"), ("i1", "%adds")]
        params += [("ptr noalias", "%room") if lines == "copying" else ("ptr", "%later")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        panel_lines = max(lane.bytes * vectors // LINE, 1)
        whole = "%k" if lines == "copied" else "1"
        together = code.icmp("eq", "%lda", "%k") if lies == "rows" else "false"

        def part(i: str, h: int, copies: bool) -> None:
            b = "%room" if lines == "copying" and not copies else "%b"
            kernel = tile(module, kind, h, vectors, copied=b == "%room" or lines == "copied", masked=masked,
                          ragged=ragged and copies, copies=copies, lies=lies)
            row = code.mul(i, "1" if lies == "columns" else "%lda")
            if lines == "copying":
                after = code.beyond("%a", t, code.add(row, code.mul("%lda", str(h))))
                asked = code.select(together, "ptr", after, b)
            else:
                number = code.op2("udiv", "i64", i, str(TILE_ROWS))
                share = code.beyond("%later", t, code.mul(code.mul(number, whole), str(line)))
                asked = code.select(code.icmp("slt", i, str(panel_lines * TILE_ROWS)), "ptr", share, b)
            code.call("void", kernel, [
                ("ptr", code.element("%c", t, code.mul(i, "%ldc"))), ("i64", "%ldc"),
                ("ptr", code.element("%a", t, row)), ("i64", "%lda"), ("ptr", b), ("i64", "%step"), ("i64", "%k"),
                ("i64", "%left"), ("i1", "%adds"), ("ptr", asked), *[("ptr", "%room")] * copies])

        def first() -> str:
            part("0", heights[0][0], True)
            return str(heights[0][0])

        def apart() -> str:
            sides = [("ptr", "%room"), ("ptr", "%b")]
            code.call("void", _copy(module, kind, vectors), [*sides, *ints("step", "left", "k")])
            return "0"

        at = "0"
        if lines == "copying":
            enough = code.icmp("sge", "%rows", str(heights[0][0]))
            # Few rows are multiplied by whole panels where they lie.
            at = first() if heights[0][1] or not edge else code.either(enough, "i64", first, apart)
        for h, end in heights:
            stop = str(end)
            if not end:
                stop = code.add(at, code.mul(code.op2("udiv", "i64", code.sub("%rows", at), str(h)), str(h)))
            with code.loop(stop, start=at, step=h, rolled=True) as i:
                part(i.index, h, False)
            at = stop
        code.ret()
        code.finish()

    return module.helper(("kernel.column", kind, tuple(heights), vectors, masked, ragged, lines, lies), make)


def _line_by_lines(code: Code, module: Module, kind: Prim) -> None:
    """A single row, by wide strips of the lines of a matrix where they lie."""
    lane = Lane(kind, module.vector_bytes)
    t, strip = lane.scalar, lane.count * WIDE

    def part(column: str, ragged: bool) -> None:
        kernel = tile(module, kind, 1, WIDE, copied=False, masked=ragged, ragged=ragged)
        b = code.element("%b", t, column)
        code.call("void", kernel, [
            ("ptr", code.element("%c", t, column)), ("i64", "%ldc"), ("ptr", "%a"), ("i64", "%lda"), ("ptr", b),
            ("i64", "%ldb"), ("i64", "%k"), ("i64", code.sub("%n", column)), ("i1", "false"), ("ptr", b)])

    if lane.bytes == LINE:
        filled = strips_from_lines(code, lane)
    else:
        filled = code.op2("and", "i64", "%n", str(-strip))
        with code.loop(filled, step=strip, rolled=True) as j:
            part(j.index, False)
    with code.loop("%n", start=filled, step=strip, rolled=True) as j:
        part(j.index, True)


def dots(module: Module, kind: Prim) -> str:
    """void (c, ldc, a, lda, b, ldb, rows, n, k, back): c[i, j] = a[i] . b[j]; by the last rows of b first if `back` is
    1 (ends.py)."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t = lane.scalar
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        code = Code(module, name, [*params, *ints("ldb", "rows", "n", "k", "back")], "void",
                    attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%rows", "1")):
            sides = [("ptr", f"%{n}") for n in "cab"]
            code.call("void", row_by_rows(module, kind), [*sides, *ints("ldb", "n", "k", "back")])
            code.ret()
        rows, columns = 4, max(lane.count // 4, 2)
        tall = code.op2("and", "i64", "%rows", str(-rows))
        straight = code.op2("and", "i64", "%n", str(-columns))
        # The next rows of b are asked for while these are multiplied: half by one tile of them, half by the next; all
        # if there is one.
        single, half = code.icmp("sle", "%rows", str(rows)), code.mul("%ldb", str(columns // 2))
        apart, other = (code.select(single, "i64", *v) for v in ((half, "0"), ("0", half)))
        onward = code.select(code.icmp("eq", "%back", "0"), "i64", str(columns), str(-columns))
        following = code.mul("%ldb", onward)

        def together(i: str, j: str, edge: bool) -> None:
            odd = code.icmp("ne", code.op2("and", "i64", i, str(rows)), "0")
            code.call("void", dot_tile(module, kind, rows, columns, edge=edge), [
                ("ptr", code.element("%c", t, code.add(code.mul(i, "%ldc"), j))), ("i64", "%ldc"),
                ("ptr", code.element("%a", t, code.mul(i, "%lda"))), ("i64", "%lda"),
                ("ptr", code.element("%b", t, code.mul(j, "%ldb"))), ("i64", "%ldb"), ("i64", "%k"),
                ("i64", code.sub("%rows", i)), ("i64", code.sub("%n", j)),
                ("i64", code.add(following, code.select(odd, "i64", other, "0"))), ("i64", apart)])

        with code.when(code.icmp("sge", "%rows", str(TURN_FROM))):
            # They are many and b is narrow, so it stays in the first cache.
            with code.loop("%rows", step=rows, rolled=True) as i:
                inner = code.select(code.icmp("slt", i.index, tall), "i64", straight, "0")
                with code.loop(inner, step=columns, rolled=True) as j:
                    together(i.index, j.index, False)
                with code.loop("%n", start=inner, step=columns, rolled=True) as j:
                    together(i.index, j.index, True)
            code.ret()
        last = code.op2("and", "i64", code.sub("%n", "1"), str(-columns))
        with code.loop("%n", step=columns, rolled=True) as turn_:
            column = turned(code, "%back", turn_.index, last)
            inner = code.select(code.icmp("slt", column, straight), "i64", tall, "0")
            with code.loop(inner, step=rows, rolled=True) as i:
                together(i.index, column, False)
            with code.loop("%rows", start=inner, step=rows, rolled=True) as i:
                together(i.index, column, True)
        code.ret()
        code.finish()

    return module.helper(("kernel.dots", kind), make)


def _copy(module: Module, kind: Prim, vectors: int) -> str:
    """void (to, b, ldb, left, k): lines of so many vectors, one after the other: `left` columns, and 0 after them."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        params = [("ptr noalias", "%to"), ("ptr", "%b"), *ints("ldb", "left", "k")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        masks = [lane.mask(code, "%left", v) for v in range(vectors)]
        with code.loop("%k", rolled=True) as i:
            line = code.element("%b", lane.scalar, code.mul(i.index, "%ldb"))
            to = code.element("%to", lane.scalar, code.mul(i.index, str(lane.count * vectors)))
            soon = code.beyond(line, lane.scalar, code.mul("%ldb", str(AHEAD)))
            for v in range(0, lane.bytes * vectors, LINE):
                code.prefetch(code.beyond(soon, "i8", str(v)), near=False)
            for v, mask in enumerate(masks):
                value = lane.load(code, code.ptr_add(line, lane.bytes * v), mask)
                lane.store(code, value, code.ptr_add(to, lane.bytes * v))
        code.ret()
        code.finish()

    return module.helper(("kernel.copy", kind, vectors), make)


def turn(module: Module, kind: Prim) -> str:
    """void (to, b, ldb, left, k, vectors): a panel of so many vectors as `_copy` makes it, from rows of k, of which
    there are `left`: after them the last one again."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        params = [("ptr noalias", "%to"), ("ptr", "%b"), *ints("ldb", "left", "k", "vectors")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        # Addresses of rows stay in memory: there are more than registers, and LLVM would move them about.
        rows = code.alloca(8 * count)
        last, end = code.sub("%left", "1"), code.sub("%k", str(count))
        step = code.mul("%vectors", str(count))
        with code.loop("%vectors", rolled=True) as v:
            with code.loop(str(count), rolled=True) as r:
                number = least(code, code.add(code.mul(v.index, str(count)), r.index), last)
                code.store("ptr", code.element("%b", t, code.mul(number, "%ldb")), code.element(rows, "ptr", r.index))
            to = code.element("%to", t, code.mul(v.index, str(count)))

            def row(r: int, p: str) -> str:
                start = code.ins(f"load volatile ptr, ptr {code.ptr_add(rows, 8 * r)}")
                return code.element(start, t, p)

            short, long, done = code.label("short"), code.label("long"), code.label("done")
            code.branch(code.icmp("slt", end, "0"), short, long)
            code.start(long)
            # The last square repeats some lines of the one before.
            with code.loop("%k", step=count, rolled=True) as q:
                at = least(code, q.index, end)
                for c, value in enumerate(lane.turned(code, lambda r: row(r, at))):
                    lane.store(code, value, code.element(to, t, code.mul(code.add(at, str(c)), step)))
            code.jump(done)
            code.start(short)
            with code.loop(str(count), rolled=True) as r, code.loop("%k", rolled=True) as p:
                start = code.load("ptr", code.element(rows, "ptr", r.index))
                place = code.element(to, t, code.add(code.mul(p.index, step), r.index))
                code.store(t, code.load(t, code.element(start, t, p.index)), place)
            code.jump(done)
            code.start(done)
        code.ret()
        code.finish()

    return module.helper(("kernel.turn", kind), make)
