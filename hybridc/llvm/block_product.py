"""Products within a kernel: a block of rows times a matrix.

The matrix is read in panels of two vectors of columns, each for all rows of the block: in tiles of rows that stay in
registers while the sum runs. A panel is read where it lies, or from a packed copy (`pack`). What does not fill a panel
is masked. A few rows times a matrix that lies the other way are dot products (tensor_matmul.py: dots).
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.llvm.code import Code, Module
from hybridc.llvm.tensor_matmul import WIDE, Lane

VECTORS = 2


def tile_rows(module: Module) -> int:
    """Rows of the largest tile: with two vectors each, their sums fill the registers."""
    return 12 if module.vector_bytes == 64 else 6


def panel_width(module: Module, kind: Prim) -> int:
    return VECTORS * Lane(kind, module.vector_bytes).count


def _ints(*names: str) -> list[tuple[str, str]]:
    return [("i64", f"%{n}") for n in names]


def tile(module: Module, kind: Prim, rows: int, vectors: int, masked: bool) -> str:
    """void (c, ldc, a, lda, b, ldb, k, left): a tile of the result; if masked, of `left` columns."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        params = [("ptr noalias", "%c"), *_ints("ldc"), ("ptr", "%a"), *_ints("lda"), ("ptr", "%b")]
        k = Code(module, name, [*params, *_ints("ldb", "k", "left")], "void", attributes="noinline nounwind")
        masks = [lane.mask(k, "%left", v) for v in range(vectors)] if masked else [""] * vectors
        starts = [k.element("%a", lane.scalar, k.mul("%lda", str(r)) if r else "0") for r in range(rows)]
        zero = (lane.type, "zeroinitializer")
        with k.loop("%k", [zero] * (rows * vectors)) as turn:
            line = k.element("%b", lane.scalar, k.mul(turn.index, "%ldb"))
            bs = [lane.load(k, k.ptr_add(line, lane.bytes * v), masks[v]) for v in range(vectors)]
            for r in range(rows):
                a = lane.splat(k, k.load(lane.scalar, k.element(starts[r], lane.scalar, turn.index)))
                turn.next += [lane.fma(k, a, b, turn.values[r * vectors + v]) for v, b in enumerate(bs)]
        for r in range(rows):
            to = k.element("%c", lane.scalar, k.mul("%ldc", str(r)) if r else "0")
            for v in range(vectors):
                lane.store(k, turn.values[r * vectors + v], k.ptr_add(to, lane.bytes * v), masks[v])
        k.ret()
        k.finish()

    return module.helper((f"kernel.rows{rows}x{vectors}", kind, masked), make)


def row_sizes(module: Module, rows: str) -> Sequence[int]:
    """Heights of tiles that cover a block of `rows`."""
    full = tile_rows(module)
    if rows.startswith("%"):
        return (full, 4, 2, 1)
    count = int(rows)
    return tuple(dict.fromkeys(n for n in (full if count >= full else 0, count % full) if n))


def panels(module: Module, kind: Prim, heights: Sequence[int], whole: bool) -> str:
    """void (c, ldc, a, lda, b, step, ldb, rows, n, k): c = a @ b for `rows` rows, panel after panel; `step` is from one
    panel of b to the next. `whole`: panels fill n."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, width = lane.scalar, lane.count * VECTORS
        params = [("ptr noalias", "%c"), *_ints("ldc"), ("ptr", "%a"), *_ints("lda"), ("ptr", "%b")]
        params += _ints("step", "ldb", "rows", "n", "k")
        code = Code(module, name, params, "void", attributes="noinline nounwind")

        def part(column: str, b: str, vectors: int, masked: bool, left: str) -> None:
            at = "0"
            for h in heights:
                rest = code.sub("%rows", at)
                count = code.mul(code.op2("udiv", "i64", rest, str(h)), str(h))
                stop = code.add(at, count)
                with code.loop(stop, start=at, step=h) as i:
                    code.call("void", tile(module, kind, h, vectors, masked), [
                        ("ptr", code.element("%c", t, code.add(code.mul(i.index, "%ldc"), column))), ("i64", "%ldc"),
                        ("ptr", code.element("%a", t, code.mul(i.index, "%lda"))), ("i64", "%lda"), ("ptr", b),
                        ("i64", "%ldb"), ("i64", "%k"), ("i64", left)])
                at = stop

        begin = "0"
        if tuple(heights) == (1,):
            # One row alone reads a wide strip at a time, where the columns lie side by side.
            strip = lane.count * WIDE
            beside = code.icmp("eq", "%step", str(width))
            begin = code.select(beside, "i64", code.op2("and", "i64", "%n", str(-strip)), "0")
            with code.loop(begin, step=strip) as j:
                part(j.index, code.element("%b", t, j.index), WIDE, False, "0")
        filled = code.op2("and", "i64", "%n", str(-width))
        with code.loop(filled, start=begin, step=width) as j:
            panel = code.op2("udiv", "i64", j.index, str(width))
            part(j.index, code.element("%b", t, code.mul(panel, "%step")), VECTORS, False, "0")
        if not whole:
            left = code.sub("%n", filled)
            with code.when(code.icmp("ne", left, "0")):
                panel = code.op2("udiv", "i64", filled, str(width))
                part(filled, code.element("%b", t, code.mul(panel, "%step")), VECTORS, True, left)
        code.ret()
        code.finish()

    return module.helper(("kernel.panels", kind, tuple(heights), whole), make)


def pack(module: Module, kind: Prim, transposed: bool) -> str:
    """void (to, b, n, k): the panels of b one after the other, each k lines of a panel's width. `transposed`: b is n
    rows of k. What lies beyond n in the last panel is not written."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        width = count * VECTORS
        params = [("ptr noalias", "%to"), ("ptr", "%b"), *_ints("n", "k")]
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
            with code.loop(filled, step=count) as j:
                with code.loop(lines, step=count) as i:
                    source = code.element("%b", t, code.add(code.mul(j.index, "%k"), i.index))
                    rows = [lane.load(code, code.element(source, t, code.mul("%k", str(r)) if r else "0"))
                            for r in range(count)]
                    to = place(i.index, j.index)
                    for r, v in enumerate(lane.transpose(code, rows)):
                        lane.store(code, v, code.element(to, t, str(r * width)))
                _scalars(code, t, place, lines, j.index, code.add(j.index, str(count)))
            _scalars(code, t, place, "0", filled, "%n")
        else:
            with code.loop(filled, step=count) as j, code.loop("%k") as i:
                source = code.element("%b", t, code.add(code.mul(i.index, "%n"), j.index))
                lane.store(code, lane.load(code, source), place(i.index, j.index))
            with code.loop("%n", start=filled) as j, code.loop("%k") as i:
                source = code.element("%b", t, code.add(code.mul(i.index, "%n"), j.index))
                code.store(t, code.load(t, source), place(i.index, j.index))
        code.ret()
        code.finish()

    return module.helper(("kernel.pack_panels", kind, transposed), make)


def _scalars(code: Code, t: str, place, line: str, start: str, stop: str) -> None:  # type: ignore[no-untyped-def]
    """Elements one by one: columns from start to stop, lines from `line` on."""
    with code.loop(stop, start=start) as j, code.loop("%k", start=line) as i:
        source = code.element("%b", t, code.add(code.mul(j.index, "%k"), i.index))
        code.store(t, code.load(t, source), place(i.index, j.index))
