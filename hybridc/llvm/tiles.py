"""The innermost loops of products: a tile of the result stays in registers while the sum over k runs.

`tile` is an outer product at each k (a vector of columns of b by single elements of a). `dot_tile` multiplies rows by
rows, for a right side that lies the other way: each sum is a vector of partial sums, added up at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.llvm.code import Code, Module
from hybridc.llvm.lane import Lane


def ints(*names: str) -> list[tuple[str, str]]:
    """Parameters of kernels."""
    return [("i64", f"%{n}") for n in names]


def tile(module: Module, kind: Prim, rows: int, vectors: int, *, masked: bool = False, lies: str = "rows") -> str:
    """void (c, ldc, a, lda, b, ldb, k, left, adds): a tile of c = a @ b, or of c += a @ b; if masked, of `left`
    columns. a lies in `rows` (of lda elements) or `columns` (lda from one k to the next)."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        k = Code(module, name, [*params, *ints("ldb", "k", "left"), ("i1", "%adds")], "void",
                 attributes="noinline nounwind")
        masks = [lane.mask(k, "%left", v) for v in range(vectors)] if masked else [""] * vectors

        def places() -> list[tuple[str, str]]:
            lines = [k.element("%c", lane.scalar, k.mul("%ldc", str(r)) if r else "0") for r in range(rows)]
            return [(k.ptr_add(line, lane.bytes * v), masks[v]) for line in lines for v in range(vectors)]

        before, loaded, run = k.here, k.label("loaded"), k.label("run")
        k.branch("%adds", loaded, run)
        k.start(loaded)
        old = [lane.load(k, *place) for place in places()]
        k.jump(run)
        k.start(run)
        sums = [(lane.type, k.phi(lane.type, [("zeroinitializer", before), (v, loaded)])) for v in old]
        across = lies == "rows"
        starts = [k.element("%a", lane.scalar, k.mul("%lda", str(r)) if r else "0") for r in range(rows * across or 1)]
        with k.loop("%k", sums, rolled=True) as turn:
            line = k.element("%b", lane.scalar, k.mul(turn.index, "%ldb"))
            bs = [lane.load(k, k.ptr_add(line, lane.bytes * v), masks[v]) for v in range(vectors)]
            at = "" if across else k.element("%a", lane.scalar, k.mul(turn.index, "%lda"))
            for r in range(rows):
                place = k.element(starts[r], lane.scalar, turn.index) if across else k.element(at, lane.scalar, str(r))
                a = lane.splat(k, k.load(lane.scalar, place))
                turn.next += [lane.fma(k, a, b, turn.values[r * vectors + v]) for v, b in enumerate(bs)]
        for value, (to, mask) in zip(turn.values, places(), strict=True):
            lane.store(k, value, to, mask)
        k.ret()
        k.finish()

    return module.helper((f"kernel.tile{rows}x{vectors}", kind, masked, lies), make)


def dot_tile(module: Module, kind: Prim, rows: int, columns: int, *, edge: bool) -> str:
    """void (c, ldc, a, lda, b, ldb, k, high, wide, ahead, apart): c[i, j] = a[i] . b[j] for i < rows, j < columns, as
    many sums added up together as there are lanes; at an edge only for i < high, j < wide (at least one of each). What
    lies `ahead` of the first half of b's rows is asked of memory meanwhile, and what lies `apart` from that."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += ints("ldb", "k", "high", "wide", "ahead", "apart")
        k = Code(module, name, params, "void", attributes="noinline nounwind")
        t = lane.scalar

        def number(i: int, count: str) -> str:
            """At an edge the last one stands for those beyond it."""
            if i == 0 or not edge:
                return str(i)
            return k.call("i64", "@llvm.smin.i64", [("i64", str(i)), ("i64", k.sub(count, "1"))])

        lefts, rights = ([number(i, n) for i in range(size)] for size, n in ((rows, "%high"), (columns, "%wide")))
        a_at = [k.element("%a", t, k.mul(i, "%lda") if i != "0" else "0") for i in lefts]
        b_at = [k.element("%b", t, k.mul(j, "%ldb") if j != "0" else "0") for j in rights]

        def step(index: str, sums: Sequence[str], mask: str) -> list[str]:
            xs = [lane.load(k, k.element(p, t, index), mask) for p in a_at]
            new = list(sums)
            for j, p in enumerate(b_at):
                y = lane.load(k, k.element(p, t, index), mask)
                for i, x in enumerate(xs):
                    new[i * columns + j] = lane.fma(k, x, y, sums[i * columns + j])
            return new

        filled = k.op2("and", "i64", "%k", str(-lane.count))
        with k.loop(filled, [(lane.type, "zeroinitializer")] * (rows * columns), step=lane.count, rolled=True) as turn:
            for start in ("%ahead", k.add("%ahead", "%apart")):
                for p in b_at[: columns // 2]:
                    _ask_for(k, k.element(p, t, k.add(turn.index, start)))
            turn.next = step(turn.index, turn.values, "")
        before, rest, done = k.here, k.label("rest"), k.label("done")
        k.branch(k.icmp("eq", filled, "%k"), done, rest)
        k.start(rest)
        more = step(filled, turn.values, lane.mask(k, k.sub("%k", filled), 0))
        k.jump(done)
        k.start(done)
        sums = [k.phi(lane.type, [(a, before), (b, rest)]) for a, b in zip(turn.values, more, strict=True)]
        mask = Lane(kind, columns * lane.size).mask(k, "%wide", 0) if edge else ""
        together = lane.count // columns
        for first in range(0, rows, together):
            found = lane.sums(k, sums[first * columns : (first + together) * columns])
            for i in range(first, first + together):
                to = k.element("%c", t, k.mul("%ldc", lefts[i]) if i else "0")
                _store(k, lane, found, (i - first) * columns, columns, to, mask)
        k.ret()
        k.finish()

    return module.helper((f"kernel.dots{rows}x{columns}", kind, edge), make)


def _ask_for(k: Code, address: str) -> None:
    """Of memory; beyond its end nothing happens."""
    to_read, near, data = ("i32", "0"), ("i32", "3"), ("i32", "1")
    k.call("void", "@llvm.prefetch.p0", [("ptr", address), to_read, near, data])


def _store(k: Code, lane: Lane, vector: str, first: int, count: int, to: str, mask: str) -> None:
    """Some lanes of a vector."""
    numbers = ", ".join(f"i32 {i}" for i in range(first, first + count))
    value = k.ins(f"shufflevector {lane.type} {vector}, {lane.type} poison, <{count} x i32> <{numbers}>")
    Lane(lane.kind, count * lane.size).store(k, value, to, mask)


def tile_rows(module: Module) -> int:
    """Rows of the largest tile of two vectors of columns: its sums and operands fill the registers."""
    return 14 if module.vector_bytes == 64 else 6


def tile_heights(module: Module, rows: str) -> Sequence[int]:
    """Heights of tiles that cover a block of rows, the tallest first; as even as can be where the number is known."""
    full = tile_rows(module)
    if rows.startswith("%"):
        return (full, 4, 2, 1)
    count = max(int(rows), 1)
    each, more = divmod(count, -(-count // full))
    return (each + 1, each) if more else (each,)
