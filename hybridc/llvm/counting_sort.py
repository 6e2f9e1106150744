"""Sorting words by counting, where they lie close to each other: how often each of them occurs says where they go, so
that none is moved (Seward, "Information sorting in the application of electronic digital computers", 1954).

A sample says whether it is worth looking for the least and the greatest of all, and blocks of them whether it still is.
"""

from __future__ import annotations

from hybridc.llvm import support
from hybridc.llvm.code import Code
from hybridc.llvm.module import Module
from hybridc.llvm.word_vectors import LANES, Words

FEWEST = 512
"""Words of a stretch that is worth a look."""
LOOKED = 32
"""Words that are looked at first."""
MOST = 1 << 21
"""Numbers that are counted at most: more of them than of words, or than a cache holds, take longer than a sort."""
BLOCK = 1 << 14
"""Words between two looks at how far apart they are, and between two polls."""
APART = 1024
"""Up to so many numbers are counted in four places, since the same one may come again before it is written."""
WAYS = 4
"""Stretches that are counted side by side."""
SPLAT = 2
"""Vectors that are written of each number, whether there are so many of it or not: what comes next writes over them."""


def counting_kernel(module: Module) -> str:
    """i1 (ctx, data, n): the n words at `data` in order; false where nothing was done: they lie too far apart, or there
    is no memory, or somebody interrupts."""

    def make(name: str) -> None:
        params = [("ptr", "%ctx"), ("ptr", "%data"), ("i64", "%n")]
        k = Code(module, name, params, "i1", attributes="noinline nounwind")
        with k.when(k.op2("or", "i1", k.icmp("slt", "%n", str(FEWEST)), k.icmp("sge", "%n", str(1 << 32)))):
            k.ret("false")
        limit = k.call("i64", "@llvm.smin.i64", [("i64", "%n"), ("i64", str(MOST))])
        low, high = _ends(k, limit)
        size = k.add(k.sub(high, low), "1")
        gap = k.select(k.icmp("sle", size, str(APART)), "i64", size, "0")
        bytes_ = k.mul(k.add(size, k.mul(gap, str(WAYS - 1))), "4")
        counts = k.call("ptr", "@calloc", [("i64", "1"), ("i64", bytes_)])
        with k.when(k.icmp("eq", counts, "null", "ptr")):
            k.ret("false")
        _count(k, counts, low, size, gap)
        _write(k, counts, low, size)
        k.call("void", "@free", [("ptr", counts)])
        k.ret("true")
        k.finish()

    return module.helper("kernel.counting_sort", make)


def _ends(k: Code, limit: str) -> tuple[str, str]:
    """The least and the greatest word; it returns where they are `limit` or more apart."""
    first = k.load("i64", "%data")
    step = k.op2("lshr", "i64", "%n", str(LOOKED.bit_length() - 1))
    with k.loop(str(LOOKED), [("i64", first), ("i64", first)]) as turn:
        turn.next = _wider(k, turn.values, k.mul(turn.index, step))
    _leave_if_far(k, turn.values, limit)
    with k.loop("%n", [("i64", x) for x in turn.values], step=BLOCK) as block:
        end = k.call("i64", "@llvm.smin.i64", [("i64", k.add(block.index, str(BLOCK))), ("i64", "%n")])
        with k.loop(end, [("i64", x) for x in block.values], start=block.index) as turn:
            turn.next = _wider(k, turn.values, turn.index)
        _leave_if_far(k, turn.values, limit)
        block.next = turn.values
    return block.values[0], block.values[1]


def _wider(k: Code, ends: list[str], place: str) -> list[str]:
    x = k.load("i64", k.element("%data", "i64", place))
    return [k.call("i64", f"@llvm.{name}.i64", [("i64", end), ("i64", x)])
            for name, end in zip(("smin", "smax"), ends, strict=True)]


def _leave_if_far(k: Code, ends: list[str], limit: str) -> None:
    """Their distance is a number without sign."""
    with k.when(k.icmp("uge", k.sub(ends[1], ends[0]), limit)):
        k.ret("false")


def _count(k: Code, counts: str, low: str, size: str, gap: str) -> None:
    """How often each number occurs, as an i32. It returns if somebody interrupts."""
    flag = support.flag_of(k)
    ways = [k.element(counts, "i32", k.mul(gap, str(i))) for i in range(WAYS)]
    part = k.op2("udiv", "i64", "%n", str(WAYS))

    def one(way: str, place: str) -> None:
        number = k.sub(k.load("i64", k.element("%data", "i64", place)), low)
        at = k.element(way, "i32", number)
        k.store("i32", k.op2("add", "i32", k.load("i32", at), "1"), at)

    with k.loop(part, step=BLOCK) as block:
        with support.interrupted(k, flag):
            k.call("void", "@free", [("ptr", counts)])
            k.ret("false")
        end = k.call("i64", "@llvm.smin.i64", [("i64", k.add(block.index, str(BLOCK))), ("i64", part)])
        with k.loop(end, start=block.index) as turn:
            for i, way in enumerate(ways):
                one(way, k.add(turn.index, k.mul(part, str(i))))
    with k.loop("%n", start=k.mul(part, str(WAYS))) as turn:
        one(ways[0], turn.index)
    with k.when(k.icmp("ne", gap, "0")), k.loop(size) as turn:
        found = k.load("i32", k.element(counts, "i32", turn.index))
        for way in ways[1:]:
            found = k.op2("add", "i32", found, k.load("i32", k.element(way, "i32", turn.index)))
        k.store("i32", found, k.element(counts, "i32", turn.index))


def _write(k: Code, counts: str, low: str, size: str) -> None:
    """Each number as often as it occurs."""
    v = Words(k)
    ahead = SPLAT * LANES
    room = k.sub("%n", str(ahead))
    with k.loop(size, [("i64", "0")]) as turn:
        (at,) = turn.values
        number = k.add(low, turn.index)
        x = v.splat(number)
        times = k.convert("zext", "i32", k.load("i32", k.element(counts, "i32", turn.index)), "i64")
        after = k.add(at, times)

        def few() -> None:
            """Beyond what is there."""
            for i in range(SPLAT):
                v.store(x, k.element("%data", "i64", k.add(at, str(i * LANES))))

        def last() -> None:
            with k.loop(after, start=at) as place:
                k.store("i64", number, k.element("%data", "i64", place.index))

        k.fork(k.icmp("sle", at, room), few, last)
        with k.when(k.op2("and", "i1", k.icmp("sgt", times, str(ahead)), k.icmp("sle", at, room))):
            with k.loop(k.sub(after, str(LANES)), start=k.add(at, str(ahead)), step=LANES) as place:
                v.store(x, k.element("%data", "i64", place.index))
            v.store(x, k.element("%data", "i64", k.sub(after, str(LANES))))
        turn.next = [after]
