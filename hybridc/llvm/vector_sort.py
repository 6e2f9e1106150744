"""Sorting words of 64 bits as ints, where vectors can pack their chosen elements (AVX-512): quicksort, down to what
networks in registers put in order; where they lie close to each other by counting (counting_sort.py).

After Bramas, "A Novel Hybrid Quicksort Algorithm Vectorized using AVX-512 on Intel Skylake", 2017. Here a
vector is permuted and written whole to both ends, since packing is slow on some processors, into memory most of all.

Elsewhere nothing calls this but by a name: the library sorts by digits there.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridc.core.ir import F64, BufferT, Op
from hybridc.llvm import support
from hybridc.llvm.buffer_ops import CTX, Results, owned
from hybridc.llvm.code import Code
from hybridc.llvm.counting_sort import counting_kernel
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.module import Module
from hybridc.llvm.word_vectors import CHOICE, LANES, VECTOR, Words

EIGHT = ((0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6), (0, 4), (3, 7), (1, 5), (2, 6),
         (1, 4), (3, 6), (2, 4), (3, 5), (3, 4))
"""The least network that sorts eight: Knuth, "Sorting and Searching", 5.3.4."""
ORDERED = 128
"""Words that a network puts in order at most."""
BLOCK = ORDERED // 2
"""Words that are read one after the other where a stretch is split."""
FAR = 8 * BLOCK
"""So many words further what comes next in a split is asked for: hardware does not guess at which end that is."""
SPLITS = 64
"""So many times all words are split before what is left is sorted by a heap (Musser, "Introspective Sorting and
Selection Algorithms", 1997)."""
MANY, LONG = 64, 1024
"""Words that are looked at for a pivot of a stretch that is LONG."""


def packs(module: Module) -> bool:
    return module.vector_bytes == 8 * LANES


# ---- the operator
def _sort_words(e: FnEmitter, op: Op) -> Results:
    block, n = owned(e, op.args[0].type.item, e.one(op.args[0])), e.one(op.args[1])  # type: ignore[union-attr]
    data = e.buffer_data(block)
    e.leave_unless(e.call("i1", sort_kernel(e.module), [CTX, ("ptr", data), ("i64", n)]))
    if op.args[0].type == BufferT(F64):
        e.call("void", _turn_negatives(e.module), [("ptr", data), ("i64", n)])
    return ((block,),)


def _packs(e: FnEmitter, op: Op) -> Results:
    return (("true" if packs(e.module) else "false",),)


# ---- quicksort
def sort_kernel(module: Module) -> str:
    """i1 (ctx, data, n): the n words at `data` in order. False if somebody interrupts, and then the words are in some
    order."""
    return module.helper("kernel.sort_words", lambda name: (_quicksort if packs(module) else _heap_alone)(module, name))


SORT = [CTX, ("ptr", "%data"), ("i64", "%n")]


def _heap_alone(module: Module, name: str) -> None:
    code = Code(module, name, SORT, "i1", attributes="noinline nounwind")
    code.call("void", _heapsort(module), [("ptr", "%data"), ("i64", "%n")])
    code.ret("true")
    code.finish()


def _quicksort(module: Module, name: str) -> None:
    """The shorter part is sorted first, so that few wait."""
    k = Code(module, name, SORT, "i1", attributes="noinline nounwind")
    with k.when(k.call("i1", counting_kernel(module), SORT)):
        k.ret("true")
    flag = support.flag_of(k)
    waits = k.alloca(2 * 8 * 64)
    before, head, large, split, slow, short, following, pop, done = k.here, *map(k.label, (
        "stretch", "large", "split", "slow", "short", "next", "pop", "sorted"))
    k.jump(head)
    k.start(head)
    slots = [k.phi_slot("i64") for _ in range(4)]
    low, high, before_this, waiting = (out for out, _ in slots)
    arrivals: list[tuple[tuple[str, ...], str]] = [(("0", "%n", "0", "0"), before)]
    size = k.sub(high, low)
    start = k.element("%data", "i64", low)
    k.branch(k.icmp("sle", size, str(ORDERED)), short, large)

    k.start(short)
    k.call("void", _order_kernel(module), [("ptr", start), ("ptr", start), ("i64", size)])
    k.jump(following)

    k.start(large)
    spent = k.add(before_this, size)
    k.branch(k.icmp("sgt", k.op2("udiv", "i64", spent, str(SPLITS)), "%n"), slow, split)
    k.start(slow)
    k.call("void", _heapsort(module), [("ptr", start), ("i64", size)])
    k.jump(following)

    k.start(split)
    with support.interrupted(k, flag):
        k.ret("false")
    pivot = k.call("i64", _pivot(module), [("ptr", start), ("i64", size)])
    stretch = [("ptr", "%data"), ("i64", low), ("i64", high)]
    end = k.call("i64", _split(module), [*stretch, ("i64", pivot)])
    least, parts, over, equal = (k.label(x) for x in ("least", "parts", "over", "equal"))
    k.branch(k.icmp("eq", end, low), least, parts)

    k.start(least)  # nothing is less: what equals the pivot comes first, and is in order
    k.branch(k.icmp("eq", pivot, str((1 << 63) - 1)), equal, over)
    k.start(over)
    more = k.call("i64", _split(module), [*stretch, ("i64", k.add(pivot, "1"))])
    k.jump(equal)
    k.start(equal)
    stop = k.phi("i64", [(high, least), (more, over)])
    arrivals.append(((stop, high, spent, waiting), k.here))
    k.jump(head)

    k.start(parts)
    first = k.icmp("slt", k.sub(end, low), k.sub(high, end))
    place = k.element(waits, "i64", waiting)
    k.store("i64", k.select(first, "i64", end, low), place)
    k.store("i64", k.select(first, "i64", high, end), k.ptr_add(place, 8))
    arrivals.append(((k.select(first, "i64", low, end), k.select(first, "i64", end, high), spent, k.add(waiting, "2")),
                     k.here))
    k.jump(head)

    k.start(following)
    k.branch(k.icmp("eq", waiting, "0"), done, pop)
    k.start(pop)
    last = k.sub(waiting, "2")
    place = k.element(waits, "i64", last)
    arrivals.append(((k.load("i64", place), k.load("i64", k.ptr_add(place, 8)), before_this, last), k.here))
    k.jump(head)
    for i, (_, slot) in enumerate(slots):
        k.fill_phi(slot, [(values[i], block) for values, block in arrivals])
    k.start(done)
    k.ret("true")
    k.finish()


def _pivot(module: Module) -> str:
    """i64 (data, n): a word near the median of more than ORDERED. Of a long stretch the median of MANY; of a short one
    that of the medians of three in eight places."""

    def make(name: str) -> None:
        k = Code(module, name, [("ptr", "%data"), ("i64", "%n")], "i64", attributes="noinline nounwind")
        v = Words(k)
        with k.when(k.icmp("sgt", "%n", str(LONG))):
            sample = k.alloca(8 * MANY)
            step = k.op2("udiv", "i64", "%n", str(MANY))
            with k.loop(str(MANY)) as turn:
                x = k.load("i64", k.element("%data", "i64", k.mul(turn.index, step)))
                k.store("i64", x, k.element(sample, "i64", turn.index))
            k.call("void", _order_kernel(module), [("ptr", sample), ("ptr", sample), ("i64", str(MANY))])
            k.ret(k.load("i64", k.ptr_add(sample, 8 * MANY // 2)))
        quarter = k.op2("lshr", "i64", "%n", "2")
        a, b, c = (v.load(k.element("%data", "i64", k.mul(quarter, str(i)))) for i in (1, 2, 3))
        low, high = v.ordered(a, b)
        x = v.greatest(low, v.least(high, c))
        size = 2
        while size <= LANES:
            x = _exchanged(v, x, size - 1, size // 2)
            x = _risen_within(v, x, size // 4)
            size *= 2
        k.ret(k.ins(f"extractelement {VECTOR} {x}, i64 {LANES // 2}"))
        k.finish()

    return module.helper("kernel.pivot", make)


def _split(module: Module) -> str:
    """i64 (data, low, high, pivot): of the more than ORDERED words [low, high) those below the pivot first; gives their
    end.

    A block of both ends is put aside, and what leaves whole blocks, which begin on lines of the cache where there are
    many. This is room. Blocks are read from the end that has less of it, so that both have a block's; whole vectors are
    written to both ends, where of each that part counts that belongs there, and the rest falls into the room. What was
    put aside comes last, first of it what fills no vector: the last vector leaves no room."""

    def make(name: str) -> None:
        params = [("ptr", "%data"), ("i64", "%low"), ("i64", "%high"), ("i64", "%pivot")]
        code = Code(module, name, params, "i64", attributes="noinline nounwind")
        v, words = Words(code), 8 * LANES
        pivot = v.splat("%pivot")
        slots = code.alloca(8 * (BLOCK + ORDERED), words)

        def put(x: str, kept: str, others: str, there: str = "") -> tuple[str, str]:
            """A vector's words, or those that are `there`, where they belong: what is below the pivot at `kept`,
            upwards, the others below `others`."""
            less = front = code.ins(f"icmp slt {VECTOR} {x}, {pivot}")
            if there:
                less = code.ins(f"and {CHOICE} {less}, {there}")
                front = code.ins(f"or {CHOICE} {less}, {code.ins(f'xor {CHOICE} {there}, splat (i1 true)')}")
            v.store(v.parted(x, less), code.element("%data", "i64", kept))
            v.store(v.parted(x, front), code.element("%data", "i64", code.sub(others, str(LANES))))
            above = code.sub(str(LANES), v.count(front))
            return code.add(kept, v.count(less)), code.sub(others, above)

        size = code.sub("%high", "%low")
        end = code.convert("ptrtoint", "ptr", code.beyond("%data", "i64", "%high"), "i64")
        past_line = code.op2("and", "i64", code.op2("lshr", "i64", end, "3"), str(LANES - 1))
        past = code.select(code.icmp("sgt", size, str(2 * ORDERED)), "i64", past_line, "0")
        last = code.sub("%high", code.add(past, str(BLOCK)))
        ahead = code.add(code.op2("and", "i64", code.sub(last, "%low"), str(BLOCK - 1)), str(BLOCK))
        first = code.add("%low", ahead)
        for start, count, to in ((last, BLOCK, 0), ("%low", ORDERED, BLOCK)):
            for i in range(0, count, LANES):
                v.store(v.load(code.beyond("%data", "i64", code.add(start, str(i)))), code.ptr_add(slots, 8 * (to + i)))
        end_vector = v.load(code.beyond("%data", "i64", code.sub("%high", str(LANES))))
        turns = code.op2("lshr", "i64", code.sub(last, first), str(BLOCK.bit_length() - 1))
        with code.loop(turns, [("i64", x) for x in ("%low", "%high", first, last)]) as turn:
            kept, others, first, last = turn.values
            left = code.icmp("sle", code.sub(first, kept), code.sub(others, last))
            back = code.sub(last, str(BLOCK))
            at = code.element("%data", "i64", code.select(left, "i64", first, back))
            later = code.beyond(at, "i64", code.select(left, "i64", str(FAR), str(-FAR)))
            read = [v.load(code.ptr_add(at, 8 * i)) for i in range(0, BLOCK, LANES)]
            for i, x in enumerate(read):
                code.prefetch(code.beyond(later, "i64", str(i * LANES)), writes=True)
                kept, others = put(x, kept, others)
            first = code.select(left, "i64", code.add(first, str(BLOCK)), first)
            turn.next = [kept, others, first, code.select(left, "i64", last, back)]
        kept, others, _, _ = turn.values
        odd = code.op2("and", "i64", ahead, str(LANES - 1))
        whole = code.add(code.sub(ahead, odd), str(BLOCK))
        kept, others = put(v.load(code.element(slots, "i64", whole)), kept, others, v.below(odd))
        there = code.ins(f"xor {CHOICE} {v.below(code.sub(str(LANES), past))}, splat (i1 true)")
        kept, others = put(end_vector, kept, others, there)
        with code.loop(whole, [("i64", kept), ("i64", others)], step=LANES) as turn:
            turn.next = [*put(v.load(code.element(slots, "i64", turn.index)), *turn.values)]
        code.ret(turn.values[0])
        code.finish()

    return module.helper("kernel.split", make)


# ---- networks
def _order_kernel(module: Module) -> str:
    """void (source, target, size): at most ORDERED words in order, all of them in registers; of two sizes."""

    def make(name: str) -> None:
        params = [("ptr", "%source"), ("ptr", "%target"), ("i64", "%size")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        v = Words(code)
        half = ORDERED // 2
        with code.when(code.icmp("sle", "%size", str(half))):
            _network(v, "%source", "%target", "%size", half // LANES)
            code.ret()
        _network(v, "%source", "%target", "%size", ORDERED // LANES)
        code.ret()
        code.finish()

    return module.helper("kernel.order", make)


def _network(v: Words, source: str, target: str, size: str, vectors: int) -> None:
    """Up to `vectors` times LANES elements; places that are left over count as the greatest number."""
    code = v.code
    most = f"splat (i64 {(1 << 63) - 1})"
    lanes = [v.below(code.sub(size, str(LANES * i))) for i in range(vectors)]
    at = [code.beyond(source, "i64", str(LANES * i)) for i in range(vectors)]
    rows = [v.load_some(a, m, most) for a, m in zip(at, lanes, strict=True)]
    for i in range(0, vectors, LANES):
        rows[i : i + LANES] = _turned(v, _columns(v, rows[i : i + LANES]))
    length = 1
    while length < vectors:
        for i in range(0, vectors, 2 * length):
            rows[i : i + 2 * length] = _merged(v, rows[i : i + length], rows[i + length : i + 2 * length])
        length *= 2
    for i, (row, m) in enumerate(zip(rows, lanes, strict=True)):
        v.store_some(row, code.beyond(target, "i64", str(LANES * i)), m)


def _columns(v: Words, rows: list[str]) -> list[str]:
    """The first elements of eight vectors in order, the second ones, and so on."""
    for i, j in EIGHT:
        rows[i], rows[j] = v.ordered(rows[i], rows[j])
    return rows


def _turned(v: Words, rows: list[str]) -> list[str]:
    """Columns as rows: blocks on both sides of the diagonal change places, of one, two and four."""
    distance = 1
    while distance < LANES:
        upper = [i if not i & distance else LANES + (i ^ distance) for i in range(LANES)]
        lower = [i | distance if not i & distance else LANES + i for i in range(LANES)]
        for i in range(LANES):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = v.pick(a, b, upper), v.pick(a, b, lower)
        distance *= 2
    return rows


def _merged(v: Words, a: list[str], b: list[str]) -> list[str]:
    """Two ordered stretches as one (Batcher's bitonic merge): the second is read from its end."""
    opposite = [v.back_to_front(x) for x in reversed(b)]
    low, high = zip(*(v.ordered(x, y) for x, y in zip(a, opposite, strict=True)), strict=True)
    return _risen(v, list(low)) + _risen(v, list(high))


def _risen(v: Words, rows: list[str]) -> list[str]:
    """A stretch that rises and then falls, or the other way round, in order."""
    distance = len(rows) // 2
    while distance:
        for i in range(len(rows)):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = v.ordered(a, b)
        distance //= 2
    return [_risen_within(v, x) for x in rows]


def _risen_within(v: Words, x: str, distance: int = LANES // 2) -> str:
    while distance:
        x = _exchanged(v, x, distance, distance)
        distance //= 2
    return x


def _exchanged(v: Words, x: str, other: int, upper: int) -> str:
    """The elements i and i ^ other in order; the greater one stands where i has the bit `upper`. By a comparison and a
    choice: the least and the greatest of words are two steps each on some processors."""
    opposite = v.pick(x, "poison", [i ^ other for i in range(LANES)])
    up = "<" + ", ".join(f"i1 {'true' if i & upper else 'false'}" for i in range(LANES)) + ">"
    change = v.code.ins(f"xor {CHOICE} {v.code.ins(f'icmp sgt {VECTOR} {x}, {opposite}')}, {up}")
    return v.code.ins(f"select {CHOICE} {change}, {VECTOR} {opposite}, {VECTOR} {x}")


# ---- floats
def _turn_negatives(module: Module) -> str:
    """void (data, n): floats in the order of their bits as ints in that of their size, -0.0 before 0.0: the bits of a
    negative number grow with its size, so those, which come first, change places from end to end."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%data"), ("i64", "%n")], "void", attributes="noinline nounwind")
        v = Words(code)
        digits = code.sub("64", code.call("i64", "@llvm.ctlz.i64", [("i64", "%n"), ("i1", "false")]))
        with code.loop(digits, [("i64", "0")]) as turn:  # how many are negative, digit by digit
            far = code.add(turn.values[0], code.op2("shl", "i64", "1", code.sub(code.sub(digits, "1"), turn.index)))
            last = code.sub(code.call("i64", "@llvm.smin.i64", [("i64", far), ("i64", "%n")]), "1")
            negative = code.icmp("slt", code.load("i64", code.element("%data", "i64", last)), "0")
            yes = code.op2("and", "i1", negative, code.icmp("sle", far, "%n"))
            turn.next = [code.select(yes, "i64", far, turn.values[0])]
        end = turn.values[0]
        vectors = code.op2("and", "i64", code.op2("lshr", "i64", end, "1"), str(-LANES))
        with code.loop(vectors, step=LANES) as turn:
            low = code.element("%data", "i64", turn.index)
            high = code.element("%data", "i64", code.sub(code.sub(end, str(LANES)), turn.index))
            a, b = v.load(low), v.load(high)
            v.store(v.back_to_front(b), low)
            v.store(v.back_to_front(a), high)
        with code.loop(code.op2("lshr", "i64", end, "1"), start=vectors) as turn:
            low = code.element("%data", "i64", turn.index)
            high = code.element("%data", "i64", code.sub(code.sub(end, "1"), turn.index))
            x, y = code.load("i64", low), code.load("i64", high)
            code.store("i64", y, low)
            code.store("i64", x, high)
        code.ret()
        code.finish()

    return module.helper("kernel.turn_negatives", make)


# ---- where splitting did not help
def _heapsort(module: Module) -> str:
    """void (data, n): in place (Floyd, "Algorithm 245: Treesort 3", 1964)."""

    def make(name: str) -> None:
        k = Code(module, name, [("ptr", "%data"), ("i64", "%n")], "void", attributes="noinline nounwind")
        half = k.op2("lshr", "i64", "%n", "1")
        with k.loop(half) as turn:
            hole = k.sub(k.sub(half, "1"), turn.index)
            x = k.load("i64", k.element("%data", "i64", hole))
            k.call("void", _sink(module), [("ptr", "%data"), ("i64", "%n"), ("i64", hole), ("i64", x)])
        with k.loop(k.sub("%n", "1")) as turn:
            size = k.sub(k.sub("%n", "1"), turn.index)
            end = k.element("%data", "i64", size)
            x = k.load("i64", end)
            k.store("i64", k.load("i64", "%data"), end)
            k.call("void", _sink(module), [("ptr", "%data"), ("i64", size), ("i64", "0"), ("i64", x)])
        k.ret()
        k.finish()

    return module.helper("kernel.heapsort", make)


def _sink(module: Module) -> str:
    """void (heap, size, hole, x): fill a hole in a heap whose greatest is on top."""

    def make(name: str) -> None:
        params = [("ptr", "%heap"), ("i64", "%size"), ("i64", "%hole"), ("i64", "%x")]
        k = Code(module, name, params, "void", attributes="noinline nounwind")
        sink(k, "%x", lambda a, b: k.icmp("sgt", a, b))
        k.finish()

    return module.helper("kernel.sink_words", make)


def sink(k: Code, word: str, after: Callable[[str, str], str]) -> None:
    """The rest of a function with parameters %heap, %size and %hole: the hole goes down to where nothing below
    comes `after` `word`, which fills it. What comes after all others is on top."""
    before, head, below, down, done = k.here, *(k.label(n) for n in ("sink", "below", "down", "sunk"))
    k.jump(head)
    k.start(head)
    hole, slot = k.phi_slot("i64")
    left = k.add(k.mul(hole, "2"), "1")
    k.branch(k.icmp("slt", left, "%size"), below, done)
    k.start(below)
    right = k.call("i64", "@llvm.smin.i64", [("i64", k.add(left, "1")), ("i64", k.sub("%size", "1"))])
    a, b = (k.load("i64", k.element("%heap", "i64", at)) for at in (left, right))
    turned = after(b, a)
    child, last = k.select(turned, "i64", right, left), k.select(turned, "i64", b, a)
    k.branch(after(last, word), down, done)
    k.start(down)
    k.store("i64", last, k.element("%heap", "i64", hole))
    k.fill_phi(slot, [("%hole", before), (child, down)])
    k.jump(head)
    k.start(done)
    k.store("i64", word, k.element("%heap", "i64", hole))
    k.ret()


ROWS = {"sort_words": _sort_words, "packs": _packs}
