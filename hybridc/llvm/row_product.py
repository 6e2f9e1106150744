"""One row times a matrix whose rows lie along it: as much work as reading the matrix.

Each sum runs in the lanes of one vector, lane by lane, and these are added up for as many rows as there are lanes
together. A vector that lies across two lines of the cache is read as two; where the matrix is no longer in the first
cache that halves the speed. So rows that do not begin on a line are read from the line on, and the lanes are rotated
back at the end: the sums are the same whatever the address is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from hybridc.base.types import Prim
from hybridc.llvm.code import Code, Module
from hybridc.llvm.lane import Lane
from hybridc.llvm.strided import least, times
from hybridc.llvm.tiles import ints

ROWS = 4
"""Multiplied together, so that each part of the row is read once for them."""
LINE = 64
"""Bytes of a line of the cache."""
FIRST_CACHE = 1 << 15
"""Bytes of a matrix from which on lines count."""
SIDES = [("ptr noalias", "%c"), ("ptr", "%a"), ("ptr", "%b"), *ints("ldb", "n", "k")]


def row_by_rows(module: Module, kind: Prim) -> str:
    """void (c, a, b, ldb, n, k): c[j] = a . b[j]."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        code = Code(module, name, SIDES, "void", attributes="noinline nounwind")
        done = _long_rows(code, lane) if lane.bytes == LINE else "0"
        _straight(code, lane, done)
        code.ret()
        code.finish()

    return module.helper(("kernel.row", kind), make)


def _long_rows(code: Code, lane: Lane) -> str:
    """Blocks of rows that do not begin on lines, where that counts; how many rows these are."""
    block = ROWS * lane.count
    across = code.op2("or", "i64", _address(code, "%b"), code.mul("%ldb", str(lane.size)))
    split = code.icmp("ne", code.op2("and", "i64", across, str(LINE - 1)), "0")
    large = code.icmp("sge", code.mul(code.mul("%n", "%k"), str(lane.size)), str(FIRST_CACHE))
    tall, long = (code.icmp("sge", size, str(block)) for size in ("%n", "%k"))
    before, lines, after = code.here, code.label("lines"), code.label("straight")
    code.branch(_all(code, split, large, tall, long), lines, after)
    code.start(lines)
    rows = code.op2("and", "i64", "%n", str(-block))
    sides = [(t.removesuffix(" noalias"), rows if p == "%n" else p) for t, p in SIDES]
    code.call("void", _from_lines(code.module, lane.kind), sides)
    code.jump(after)
    code.start(after)
    return code.phi("i64", [("0", before), (rows, lines)])


def _all(code: Code, *conditions: str) -> str:
    return reduce(lambda a, b: code.op2("and", "i1", a, b), conditions)


def _address(code: Code, pointer: str) -> str:
    return code.convert("ptrtoint", "ptr", pointer, "i64")


def _straight(code: Code, lane: Lane, start: str) -> None:
    """Rows from `start` on, from where they begin."""
    count = lane.count
    kept = code.alloca(lane.bytes * count, 64)
    filled = code.op2("and", "i64", "%k", str(-count))
    mask = lane.mask(code, code.sub("%k", filled), 0)
    ragged = code.icmp("slt", filled, "%k")
    last = lane.load(code, code.element("%a", lane.scalar, filled), mask)
    with code.loop("%n", start=start, step=count, rolled=True) as j:
        left = code.sub("%n", j.index)
        with code.loop(least(code, left, str(count)), step=ROWS, rolled=True) as r:
            first = code.add(j.index, r.index)
            # Beyond the end the first one stands for them.
            numbers = [first]
            for q in range(1, ROWS):
                at = code.add(first, str(q))
                numbers.append(code.select(code.icmp("slt", at, "%n"), "i64", at, first))
            rows = [code.element("%b", lane.scalar, code.mul(number, "%ldb")) for number in numbers]
            sums = _run(code, lane, rows, "%a", "0", filled, ["zeroinitializer"] * ROWS)
            sums = _rest(code, lane, rows, filled, ragged, last, mask, sums)
            _keep(code, lane, sums, kept, r.index, "1")
        _add_up(code, lane, kept, code.element("%c", lane.scalar, j.index), lane.mask(code, left, 0))


def _from_lines(module: Module, kind: Prim) -> str:
    """As `row_by_rows`, for whole blocks of long rows: those that begin at the same place of a line are multiplied
    together."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t, count = lane.scalar, lane.count
        code = Code(module, name, SIDES, "void", attributes="noinline nounwind")
        block = ROWS * count
        kept = code.alloca(lane.bytes * block, 64)
        # So many rows on, one begins at the same place again.
        common = code.call("i64", "@llvm.cttz.i64", [
            ("i64", code.op2("or", "i64", "%ldb", str(count))), ("i1", "true")])
        period = code.op2("lshr", "i64", str(count), common)
        with code.loop("%n", step=block, rolled=True) as j:
            with code.loop(str(block), step=ROWS, rolled=True) as r:
                # A group of ROWS periods, and in it a row of the first.
                group = code.op2("and", "i64", r.index, code.sub("0", code.mul(period, str(ROWS))))
                within = code.op2("udiv", "i64", code.sub(r.index, group), str(ROWS))
                number = code.add(group, within)
                _keep(code, lane, _group(code, lane, code.add(j.index, number), period), kept, number, period)
            with code.loop(str(block), step=count, rolled=True) as r:
                own = code.ptr_add(kept, code.mul(r.index, str(lane.bytes)))
                _add_up(code, lane, own, code.element("%c", t, code.add(j.index, r.index)), "")
        code.ret()
        code.finish()

    return module.helper(("kernel.row_from_lines", kind), make)


def _group(code: Code, lane: Lane, first: str, period: str) -> list[str]:
    """The sums of rows `first`, `first + period`, ..., lane by lane."""
    t, count = lane.scalar, lane.count
    start = code.element("%b", t, code.mul(first, "%ldb"))
    before = code.op2("udiv", "i64", code.op2("and", "i64", _address(code, start), str(LINE - 1)), str(lane.size))
    row = code.element("%a", t, code.sub("0", before))
    step = code.mul(period, "%ldb")
    rows = []
    for _ in range(ROWS):
        rows.append(code.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", start), ("i64", str(-LINE))]))
        start = code.element(start, t, step)
    own = code.op2("xor", lane.bits, lane.mask(code, before, 0), "splat (i1 true)")
    a = lane.load(code, row, own)
    sums = [lane.fma(code, a, lane.load(code, p, own), "zeroinitializer") for p in rows]
    end = code.add("%k", before)
    filled = code.op2("and", "i64", end, str(-count))
    sums = _run(code, lane, rows, row, str(count), filled, sums)
    mask = lane.mask(code, code.sub(end, filled), 0)
    last = lane.load(code, code.element(row, t, filled), mask)
    sums = _rest(code, lane, rows, filled, code.icmp("slt", filled, end), last, mask, sums)
    return [lane.rotated(code, total, before) for total in sums]


def _run(
    code: Code, lane: Lane, rows: list[str], row: str, start: str, stop: str, sums: Sequence[str]
) -> list[str]:
    """Whole vectors."""
    t = lane.scalar
    with code.loop(stop, [(lane.type, s) for s in sums], start=start, step=lane.count, rolled=True) as turn:
        a = lane.load(code, code.element(row, t, turn.index))
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


def _keep(code: Code, lane: Lane, sums: list[str], kept: str, first: str, period: str) -> None:
    """The vectors of rows `first`, `first + period`, ..."""
    to, step = code.ptr_add(kept, code.mul(first, str(lane.bytes))), times(code, period, str(lane.bytes))
    for total in sums:
        lane.store(code, total, to)
        to = code.ptr_add(to, step)


def _add_up(code: Code, lane: Lane, kept: str, to: str, mask: str) -> None:
    """The lanes of as many vectors as there are lanes."""
    vectors = [lane.load(code, code.ptr_add(kept, lane.bytes * i)) for i in range(lane.count)]
    lane.store(code, lane.sums(code, vectors), to, mask)
