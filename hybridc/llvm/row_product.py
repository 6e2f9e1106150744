"""One row times a matrix, whose rows lie along it or across: as much work as reading the matrix.

Each sum runs in the lanes of one vector, lane by lane, and these are added up for as many rows as there are lanes
together. A vector that lies across two lines of the cache is read as two; where the matrix is no longer in the first
cache that halves the speed. So rows that do not begin on a line are read line by line, and their vectors put together
from two: the sums are the same whatever the address is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from hybridc.base.types import Prim
from hybridc.llvm.code import Code
from hybridc.llvm.ends import turned
from hybridc.llvm.lane import Lane
from hybridc.llvm.module import Module
from hybridc.llvm.tiles import ints

ROWS = 4
"""Multiplied together, so that each part of the row is read once for them."""
LINE = 64
"""Bytes of a line of the cache."""
MOST_VECTORS = 16
"""Of a row, up to which a kernel may be written for its length."""
STRIP = 8
"""Vectors of columns that are summed together, where rows lie across."""
FIRST_CACHE = 1 << 15
"""Bytes of a matrix from which on lines count."""
SIDES = [("ptr noalias", "%c"), ("ptr", "%a"), ("ptr", "%b"), *ints("ldb", "n", "k")]
BACK = ("i64", "%back")


def row_by_rows(module: Module, kind: Prim, k: int = 0) -> str:
    """void (c, a, b, ldb, n, k, back): c[j] = a . b[j]; the last rows first if `back` is 1 (ends.py). A k that is given
    is that of all calls, and rows lie side by side."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        code = Code(module, name, [*SIDES, BACK], "void", attributes="noinline nounwind")
        done = _long_rows(code, lane) if lane.bytes == LINE else "0"
        _straight(code, lane, done, k)
        code.ret()
        code.finish()

    return module.helper(("kernel.row", kind, k), make)


def written_out(module: Module, kind: Prim, n: int, k: int) -> bool:
    """Are n rows of k that lie side by side multiplied by a kernel for this k, without loops over it?"""
    lane = Lane(kind, module.vector_bytes)
    return k % lane.count == 0 and k <= MOST_VECTORS * lane.count and n * k * lane.size >= FIRST_CACHE


def _long_rows(code: Code, lane: Lane) -> str:
    """Long rows that do not begin on lines, where that counts, all but the last few; how many these are."""
    tall, long = (code.icmp("sge", size, str(ROWS * lane.count)) for size in ("%n", "%k"))
    when = _all(code, _split(code, lane), tall, long)
    return _done_by(code, _from_lines(code.module, lane.kind), when, lane.count, [BACK])


def _split(code: Code, lane: Lane) -> str:
    """i1: does a large matrix have rows that do not begin on lines?"""
    across = code.op2("or", "i64", _address(code, "%b"), code.mul("%ldb", str(lane.size)))
    split = code.icmp("ne", code.op2("and", "i64", across, str(LINE - 1)), "0")
    large = code.icmp("sge", code.mul(code.mul("%n", "%k"), str(lane.size)), str(FIRST_CACHE))
    return _all(code, split, large)


def strips_from_lines(code: Code, lane: Lane) -> str:
    """A row a of k times rows of a matrix b that lie across, where these do not begin on lines: whole strips of
    columns; how many columns these are."""
    return _done_by(code, _across(code.module, lane.kind), _split(code, lane), STRIP * lane.count)


def _done_by(code: Code, kernel: str, when: str, unit: int, more: Sequence[tuple[str, str]] = ()) -> str:
    """Let another kernel do as many of the n results as are whole units, where that is so; how many it did."""
    before, lines, after = code.here, code.label("lines"), code.label("straight")
    code.branch(when, lines, after)
    code.start(lines)
    done = code.op2("and", "i64", "%n", str(-unit))
    code.call("void", kernel, [*((t.removesuffix(" noalias"), done if p == "%n" else p) for t, p in SIDES), *more])
    code.jump(after)
    code.start(after)
    return code.phi("i64", [("0", before), (done, lines)])


def _across(module: Module, kind: Prim) -> str:
    """void (c, a, b, ldb, n, k): c[j] is the sum of a[i] b[i, j], for whole strips of columns."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        code = Code(module, name, SIDES, "void", attributes="noinline nounwind")
        numbers, stride = lane.numbers(code), code.mul("%ldb", str(lane.size))
        with code.loop("%n", step=STRIP * count, rolled=True) as j:
            first = code.element("%b", t, j.index)
            with code.loop("%k", [(lane.type, "zeroinitializer")] * STRIP, rolled=True) as turn:
                row = code.ptr_add(first, code.mul(turn.index, stride))
                line = code.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", row), ("i64", str(-LINE))])
                begin = code.op2("and", "i64", _address(code, row), str(LINE - 1))
                # The line of the strip's last element; a row that begins on a line needs none after it.
                end = code.op2("and", "i64", code.add(begin, str(STRIP * LINE - lane.size)), str(-LINE))
                read = [lane.load(code, code.ptr_add(line, LINE * v)) for v in range(STRIP)]
                read.append(lane.load(code, code.ptr_add(line, end)))
                picks = lane.load_numbers(code, code.ptr_add(numbers, begin))
                a = lane.splat(code, code.load(t, code.element("%a", t, turn.index)))
                bs = [lane.picked(code, read[v], read[v + 1], picks) for v in range(STRIP)]
                turn.next = [lane.fma(code, a, b, s) for b, s in zip(bs, turn.values, strict=True)]
            for v, total in enumerate(turn.values):
                lane.store(code, total, code.ptr_add(code.element("%c", t, j.index), LINE * v))
        code.ret()
        code.finish()

    return module.helper(("kernel.row_across", kind), make)


def _all(code: Code, *conditions: str) -> str:
    return reduce(lambda a, b: code.op2("and", "i1", a, b), conditions)


def _address(code: Code, pointer: str) -> str:
    return code.convert("ptrtoint", "ptr", pointer, "i64")


def _straight(code: Code, lane: Lane, start: str, known: int) -> None:
    """Rows from `start` on, from where they begin. Where their length is `known`, each of their vectors has an address
    that is so many bytes from the first one: rows take no registers, and no turn of a loop ends early."""
    count = lane.count
    kept = code.alloca(lane.bytes * count, 64)
    filled = code.op2("and", "i64", "%k", str(-count))
    mask = lane.mask(code, code.sub("%k", filled), 0)
    ragged = code.icmp("slt", filled, "%k")
    last = lane.load(code, code.element("%a", lane.scalar, filled), mask)
    end = code.add(code.op2("and", "i64", code.sub(code.sub("%n", start), "1"), str(-count)), start)
    def together(first: str, limit: str = "") -> list[str]:
        """The sums of some rows, of which there may be fewer: then the first one stands for the others."""
        numbers = [code.add(first, str(q)) for q in range(ROWS)]
        if limit:
            numbers[1:] = [code.select(code.icmp("slt", n, limit), "i64", n, first) for n in numbers[1:]]
        rows = [code.element("%b", lane.scalar, code.mul(number, "%ldb")) for number in numbers]
        return _rest(code, lane, rows, filled, ragged, last, mask, _run(code, lane, rows, filled))

    def all_known(first: str) -> list[str]:
        a, b, totals = "%a", code.element("%b", lane.scalar, code.mul(first, str(known))), []
        for r in range(0, count, ROWS):
            sums = ["zeroinitializer"] * ROWS
            for v in range(0, known * lane.size, lane.bytes):
                x = lane.load(code, code.ptr_add(a, v))
                rows = [code.ptr_add(b, (r + q) * known * lane.size + v) for q in range(ROWS)]
                sums = [lane.fma(code, x, lane.load(code, p), s) for p, s in zip(rows, sums, strict=True)]
            totals += sums
        return totals

    with code.loop("%n", start=start, step=count, rolled=True) as turn:
        j = turned(code, "%back", turn.index, end, start)
        left, to = code.sub("%n", j), code.element("%c", lane.scalar, j)
        whole, some, done = code.label("whole"), code.label("some"), code.label("done")
        code.branch(code.icmp("sge", left, str(count)), whole, some)
        code.start(whole)
        sums = all_known(j) if known else [s for r in range(0, count, ROWS) for s in together(code.add(j, str(r)))]
        lane.store(code, lane.sums(code, sums), to)
        code.jump(done)
        code.start(some)
        with code.loop(left, step=ROWS, rolled=True) as r:
            for q, total in enumerate(together(code.add(j, r.index), "%n")):
                lane.store(code, total, _place(code, lane, kept, r.index, q))
        _add_up(code, lane, kept, to, lane.mask(code, left, 0))
        code.jump(done)
        code.start(done)


def _from_lines(module: Module, kind: Prim) -> str:
    """As `row_by_rows`, for long rows, as many as there are lanes or a multiple: each is read from the line on in which
    it begins, and each of its vectors put together from two lines."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        code = Code(module, name, [*SIDES, BACK], "void", attributes="noinline nounwind")
        kept = code.alloca(lane.bytes * count, 64)
        numbers = lane.numbers(code)
        stride, size = code.mul("%ldb", str(lane.size)), code.mul("%k", str(lane.size))
        # The last vector, of one element at least, is apart: its second line may have nothing of the row.
        filled = code.op2("and", "i64", code.sub("%k", "1"), str(-count))
        mask = lane.mask(code, code.sub("%k", filled), 0)
        rest = lane.load(code, code.element("%a", t, filled), mask)
        with code.loop("%n", step=count, rolled=True) as place:
            j = turned(code, "%back", place.index, code.sub("%n", str(count)))
            with code.loop(str(count), step=ROWS, rolled=True) as r:
                first = code.ptr_add("%b", code.mul(code.add(j, r.index), stride))
                rows = [code.ptr_add(first, code.mul(stride, str(q)) if q else "0") for q in range(ROWS)]
                lines = [code.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", p), ("i64", str(-LINE))]) for p in rows]
                before = [code.op2("and", "i64", _address(code, p), str(LINE - 1)) for p in rows]
                picks = [lane.load_numbers(code, code.ptr_add(numbers, n)) for n in before]
                carried = [(lane.type, "zeroinitializer")] * ROWS + [(lane.type, lane.load(code, p)) for p in lines]
                with code.loop(filled, carried, step=count, rolled=True) as turn:
                    a = lane.load(code, code.element("%a", t, turn.index))
                    after = code.add(turn.index, str(count))
                    news = [lane.load(code, code.element(p, t, after)) for p in lines]
                    vectors = map(lane.picked, [code] * ROWS, turn.values[ROWS:], news, picks)
                    sums = turn.values[:ROWS]
                    turn.next = [*(lane.fma(code, a, b, s) for b, s in zip(vectors, sums, strict=True)), *news]
                for q in range(ROWS):
                    # The line of the row's last element.
                    end = code.op2("and", "i64", code.sub(code.add(before[q], size), str(lane.size)), str(-LINE))
                    new = lane.load(code, code.ptr_add(lines[q], end))
                    b = lane.picked(code, turn.values[ROWS + q], new, picks[q])
                    b = code.ins(f"select {lane.bits} {mask}, {lane.type} {b}, {lane.type} zeroinitializer")
                    total = lane.fma(code, rest, b, turn.values[q])
                    lane.store(code, total, _place(code, lane, kept, r.index, q))
            _add_up(code, lane, kept, code.element("%c", t, j), "")
        code.ret()
        code.finish()

    return module.helper(("kernel.row_from_lines", kind), make)


def _run(code: Code, lane: Lane, rows: list[str], stop: str) -> list[str]:
    """Whole vectors."""
    t = lane.scalar
    with code.loop(stop, [(lane.type, "zeroinitializer")] * ROWS, step=lane.count, rolled=True) as turn:
        a = lane.load(code, code.element("%a", t, turn.index))
        turn.next = [lane.fma(code, a, lane.load(code, code.element(p, t, turn.index)), s)
                     for p, s in zip(rows, turn.values, strict=True)]
    return list(turn.values)


def _rest(
    code: Code, lane: Lane, rows: list[str], at: str, ragged: str, last: str, mask: str, sums: list[str]
) -> list[str]:
    """What does not fill a vector: `last` of the row."""
    before, rest, done = code.here, code.label("rest"), code.label("done")
    code.branch(ragged, rest, done)
    code.start(rest)
    more = [lane.fma(code, last, lane.load(code, code.element(p, lane.scalar, at), mask), s)
            for p, s in zip(rows, sums, strict=True)]
    code.jump(done)
    code.start(done)
    return [code.phi(lane.type, [(a, before), (b, rest)]) for a, b in zip(sums, more, strict=True)]


def _place(code: Code, lane: Lane, kept: str, first: str, q: int) -> str:
    """Of the q-th vector from the first on."""
    return code.ptr_add(code.ptr_add(kept, code.mul(first, str(lane.bytes))), q * lane.bytes)


def _add_up(code: Code, lane: Lane, kept: str, to: str, mask: str) -> None:
    """The lanes of as many vectors as there are lanes."""
    vectors = [lane.load(code, code.ptr_add(kept, lane.bytes * i)) for i in range(lane.count)]
    lane.store(code, lane.sums(code, vectors), to, mask)
