"""The innermost loops of products: a tile of the result stays in registers while the sum over k runs.

`tile` is an outer product at each k (vectors of columns of b by single elements of a). `dot_tile` multiplies rows by
rows, for a right side that lies the other way: each sum is a vector of partial sums, added up at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.llvm.code import Code
from hybridc.llvm.lane import Lane
from hybridc.llvm.module import Module


def ints(*names: str) -> list[tuple[str, str]]:
    """Parameters of kernels."""
    return [("i64", f"%{n}") for n in names]


TILE_ROWS = 6
"""Of the largest tile: its sums and operands fill the registers."""
AHEAD = 8
"""Lines of the right side that a tile asks for before it multiplies them: they lie in the second cache, or a page
apart."""
LINE = 64
"""Bytes of a line of the caches."""


def tile(
    module: Module, kind: Prim, rows: int, vectors: int, *, copied: bool, masked: bool = False, ragged: bool = False,
    copies: bool = False, lies: str = "rows",
) -> str:
    """void (c, ldc, a, lda, b, step, k, left, adds, later): a tile of c = a @ b, or of c += a @ b. The next line of b
    lies `step` on; or right after it in one that is `copied` (`step` is not looked at). Meanwhile tiles of several rows
    ask memory for k lines of the caches at `later`, which lie as those of b do, or one after the other if copied or if
    it `copies`: then it writes the lines of b to `to`, an argument more, one after the other. a lies in `rows` (of lda
    elements) or `columns` (lda from one k to the next). If masked, there are `left` columns of c, and if ragged of b
    too."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        params = [("ptr noalias", "%c"), *ints("ldc"), ("ptr", "%a"), *ints("lda"), ("ptr", "%b")]
        params += [*ints("step", "k", "left"), ("i1", "%adds"), ("ptr", "%later")]
        params += [("ptr noalias", "%to")] * copies
        k = Code(module, name, params, "void", attributes="noinline nounwind")
        masks = [lane.mask(k, "%left", v) for v in range(vectors)] if masked else [""] * vectors
        step = str(lane.count * vectors) if copied else "%step"
        ahead = k.opaque("ptr", k.beyond("%b", lane.scalar, k.mul(step, str(AHEAD))))

        def places() -> list[tuple[str, str]]:
            lines = [k.element("%c", lane.scalar, k.mul("%ldc", str(r)) if r else "0") for r in range(rows)]
            return [(k.ptr_add(line, lane.bytes * v), masks[v]) for line in lines for v in range(vectors)]

        fresh, loaded, run = k.label("fresh"), k.label("loaded"), k.label("run")
        k.branch("%adds", loaded, fresh)
        k.start(loaded)
        old = [lane.load(k, *place) for place in places()]
        k.jump(run)
        k.start(fresh)
        for place, _ in places():
            k.prefetch(place, writes=True)
        k.jump(run)
        k.start(run)
        sums = [(lane.type, k.phi(lane.type, [("zeroinitializer", fresh), (v, loaded)])) for v in old]
        # Few registers hold addresses: those of three rows are a multiple of lda from one of them.
        across = lies == "rows"
        bases = [k.opaque("ptr", k.element("%a", lane.scalar, k.mul("%lda", str(r)) if r else "0"))
                 for r in range(0, rows * across or 1, 3)]
        with k.loop("%k", sums, rolled=True) as turn:
            if rows > 1:
                apart = str(LINE // lane.size) if copied or copies else step
                k.prefetch(k.beyond("%later", lane.scalar, k.mul(turn.index, apart)), near=False)
            soon = k.beyond(ahead, lane.scalar, k.mul(turn.index, step))
            for v in range(0, lane.bytes * vectors, LINE):
                k.prefetch(k.beyond(soon, "i8", str(v)))
            line = k.element("%b", lane.scalar, k.mul(turn.index, step))
            bs = [lane.load(k, k.ptr_add(line, lane.bytes * v), masks[v] if ragged else "") for v in range(vectors)]
            if copies:
                to = k.element("%to", lane.scalar, k.mul(turn.index, str(lane.count * vectors)))
                for v in range(0, lane.bytes * vectors, LINE):
                    k.prefetch(k.beyond(to, "i8", str(AHEAD * lane.bytes * vectors + v)), writes=True)
                for v, value in enumerate(bs):
                    lane.store(k, value, k.ptr_add(to, lane.bytes * v))
            start = turn.index if across else k.mul(turn.index, "%lda")
            lefts = [k.element(base, lane.scalar, start) for base in bases]
            for r in range(rows):
                offset = str(r) if not across else k.mul("%lda", str(r % 3)) if r % 3 else "0"
                place = k.element(lefts[r // 3 * across], lane.scalar, offset)
                a = lane.splat(k, k.load(lane.scalar, place))
                turn.next += [lane.fma(k, a, b, turn.values[r * vectors + v]) for v, b in enumerate(bs)]
        for value, (to, mask) in zip(turn.values, places(), strict=True):
            lane.store(k, value, to, mask)
        k.ret()
        k.finish()

    return module.helper((f"kernel.tile{rows}x{vectors}", kind, copied, masked, ragged, copies, lies), make)


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
                    k.prefetch(k.element(p, t, k.add(turn.index, start)))
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


def _store(k: Code, lane: Lane, vector: str, first: int, count: int, to: str, mask: str) -> None:
    """Some lanes of a vector."""
    numbers = ", ".join(f"i32 {i}" for i in range(first, first + count))
    value = k.ins(f"shufflevector {lane.type} {vector}, {lane.type} poison, <{count} x i32> <{numbers}>")
    Lane(lane.kind, count * lane.size).store(k, value, to, mask)


def tile_vectors(module: Module) -> int:
    """Vectors of columns of a tile. A wide one reads its rows less often, and less for each multiplication."""
    return 4 if module.vector_bytes == 64 else 2


Heights = Sequence[tuple[int, int]]
"""Of tiles that cover a block of rows one after the other, each with the row at which it ends; 0 where the next would
not fit."""


def tile_heights(rows: str) -> Heights:
    """As even as can be where the number of rows is known."""
    if rows.startswith("%"):
        return tuple((h, 0) for h in (TILE_ROWS, 4, 2, 1))
    count = max(int(rows), 1)
    each, more = divmod(count, -(-count // TILE_ROWS))
    tall = (each + 1) * more
    return ((each + 1, tall), (each, count)) if more else ((each, count),)
