"""Sorting along the last axis: whole lines by merging runs, the first few places of a line by a heap of them, or in
registers."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import BF16, F16, F32, F64, FLOATS, INT, Prim
from hybridc.core.ir import Op
from hybridc.llvm.casts import widen
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.strided import least
from hybridc.llvm.tensor_access import Tensor, new_tensor, release_tensor, tensor_of
from hybridc.llvm.tensor_map import product
from hybridc.llvm.vector_sort import packs, sink, sort_kernel

Results = tuple[Leaves, ...]
FEW, ALWAYS = 8, 4
"""A line's first places are kept in a heap if they are at most the FEWth part of it, or so many; else it is sorted
whole."""
SHORT = 64
"""Elements of a line whose first places, if they are at most ALWAYS, are kept in registers, without a branch."""
RUN = 8
"""Elements that are sorted by insertion before runs are merged."""


# ---- whole lines -----------------------------------------------------------------------------------------------------
def _before(k: Code, kind: Prim, a: str, b: str, descending: bool) -> str:
    """Does a stand before b, and not merely beside it? nan is the greatest."""
    if kind in (F16, BF16):
        a, b = widen(k, a, kind), widen(k, b, kind)
        kind = F32
    llvm = SCALARS[kind.name][0]
    if kind not in FLOATS:
        sign = "u" if kind.name in ("u8", "bool") else "s"
        return k.icmp(sign + ("gt" if descending else "lt"), a, b, llvm)
    # Unordered comparison against the other's order: one of them is nan.
    one, other = (a, b) if descending else (b, a)
    alone = k.op2("and", "i1", k.fcmp("uno", llvm, one, one), k.fcmp("ord", llvm, other, other))
    return k.op2("or", "i1", k.fcmp("ogt" if descending else "olt", llvm, a, b), alone)


LINES = [("ptr", "%ctx"), ("ptr noalias", "%out"), ("ptr noalias", "%scratch"), ("ptr", "%x"), ("i64", "%rows"),
         ("i64", "%n")]


def _sort_kernel(module: Module, kind: Prim, descending: bool) -> str:
    """i1 (ctx, out, scratch, in, rows, n): merge sort of positions, from short runs upwards; stable."""

    def make(name: str) -> None:
        k = Code(module, name, LINES, "i1", attributes="noinline nounwind")
        llvm = SCALARS[kind.name][0]
        with k.loop("%rows") as row:
            base = k.mul(row.index, "%n")
            result, x = k.element("%out", "i64", base), k.element("%x", llvm, base)
            with k.loop("%n", step=RUN) as start:
                with k.loop(least(k, k.add(start.index, str(RUN)), "%n"), start=start.index) as i:
                    _insert(k, kind, descending, result, x, start.index, i.index)
            _passes(k, kind, llvm, descending, result, x)
        k.ret("true")
        k.finish()

    return module.helper(("kernel.argsort", kind, descending), make)


def _insert(k: Code, kind: Prim, descending: bool, result: str, x: str, start: str, position: str) -> None:
    """Put a position where it belongs among those from `start` on."""
    llvm = SCALARS[kind.name][0]
    value = k.load(llvm, k.element(x, llvm, position))
    before, head, look, move, done = k.here, *(k.label(n) for n in ("head", "look", "move", "found"))
    k.jump(head)
    k.start(head)
    at, slot = k.phi_slot("i64")
    k.branch(k.icmp("sgt", at, start), look, done)
    k.start(look)
    left = k.sub(at, "1")
    other = k.load("i64", k.element(result, "i64", left))
    k.branch(_before(k, kind, value, k.load(llvm, k.element(x, llvm, other)), descending), move, done)
    k.start(move)
    k.store("i64", other, k.element(result, "i64", at))
    k.fill_phi(slot, [(position, before), (left, move)])
    k.jump(head)
    k.start(done)
    k.store("i64", position, k.element(result, "i64", at))


def _passes(k: Code, kind: Prim, llvm: str, descending: bool, result: str, x: str) -> None:
    """Runs of `width` are merged in pairs, then of twice the width, between two buffers that change places."""
    before, head, work, done = k.here, k.label("pass"), k.label("merge"), k.label("merged")
    k.jump(head)
    k.start(head)
    width, width_slot = k.phi_slot("i64")
    source, source_slot = k.phi_slot("ptr")
    target, target_slot = k.phi_slot("ptr")
    k.branch(k.icmp("slt", width, "%n"), work, done)
    k.start(work)
    double = k.mul(width, "2")
    pairs = k.op2("udiv", "i64", k.add("%n", k.ins(f"sub i64 {double}, 1")), double)
    with k.loop(pairs) as pair:
        low = k.mul(pair.index, double)
        middle = k.call("i64", "@llvm.smin.i64", [("i64", k.add(low, width)), ("i64", "%n")])
        high = k.call("i64", "@llvm.smin.i64", [("i64", k.add(low, double)), ("i64", "%n")])
        with k.loop(high, [("i64", low), ("i64", middle)], start=low) as place:
            i, j = place.values
            left_open, right_open = k.icmp("slt", i, middle), k.icmp("slt", j, high)
            # Where one run is used up its place is read all the same, at a position that exists.
            safe_i = k.select(left_open, "i64", i, low)
            safe_j = k.select(right_open, "i64", j, low)
            left = k.load("i64", k.element(source, "i64", safe_i))
            right = k.load("i64", k.element(source, "i64", safe_j))
            a, b = k.load(llvm, k.element(x, llvm, left)), k.load(llvm, k.element(x, llvm, right))
            first = k.op2("and", "i1", right_open, _before(k, kind, b, a, descending))
            first = k.op2("or", "i1", first, k.op2("xor", "i1", left_open, "true"))
            k.store("i64", k.select(first, "i64", right, left), k.element(target, "i64", place.index))
            moved = k.convert("zext", "i1", first, "i64")
            place.next = [k.add(i, k.op2("xor", "i64", moved, "1")), k.add(j, moved)]
    k.fill_phi(width_slot, [(str(RUN), before), (double, k.here)])
    k.fill_phi(source_slot, [(result, before), (target, k.here)])
    k.fill_phi(target_slot, [("%scratch", before), (source, k.here)])
    k.jump(head)
    k.start(done)
    with k.when(k.icmp("ne", source, result, "ptr")):
        k.copy_bytes(result, source, k.mul("%n", "8"))


# ---- whole lines, as words -------------------------------------------------------------------------------------------
def _rank(k: Code, kind: Prim, x: str, descending: bool) -> str:
    """An i64 that is as great among the ranks as the element in the order: equal ones for 0.0 and -0.0, and nan after
    everything."""
    llvm = SCALARS[kind.name][0]
    if kind in (F16, BF16):
        x, kind, llvm = widen(k, x, kind), F32, "float"
    if kind in FLOATS:
        bits = 64 if kind == F64 else 32
        number = f"i{bits}"
        word = k.convert("bitcast", llvm, x, number)
        # The bits of a negative number grow with its size.
        turned = k.op2("lshr", number, k.op2("ashr", number, word, str(bits - 1)), "1")
        word = k.op2("xor", number, word, turned)
        word = k.select(k.fcmp("oeq", llvm, x, "0.0"), number, "0", word)
        x = k.select(k.fcmp("uno", llvm, x, x), number, str((1 << bits - 1) - 1), word)
        llvm = number
    if llvm != "i64":
        x = k.convert("zext" if kind.name in ("u8", "bool") else "sext", llvm, x, "i64")
    return k.op2("xor", "i64", x, "-1") if descending else x


def _word_kernel(module: Module, kind: Prim, descending: bool) -> str:
    """i1 (ctx, out, scratch, in, rows, n): the leading digits of each rank and its place make one number, these are
    sorted, and ranks that differ only in what was left out are put right by insertion; or by merging, where that is
    much."""

    def make(name: str) -> None:
        k = Code(module, name, LINES, "i1", attributes="noinline nounwind")
        llvm = SCALARS[kind.name][0]
        place = _width(k, k.sub("%n", "1"))
        mask = k.sub(k.op2("shl", "i64", "1", place), "1")
        with k.loop("%rows") as row:
            base = k.mul(row.index, "%n")
            result, x = k.element("%out", "i64", base), k.element("%x", llvm, base)
            ends = [("i64", str((1 << 63) - 1)), ("i64", str(-1 << 63))]
            with k.loop("%n", ends) as i:
                r = _rank(k, kind, k.load(llvm, k.element(x, llvm, i.index)), descending)
                i.next = [least(k, i.values[0], r), k.call("i64", "@llvm.smax.i64", [("i64", i.values[1]), ("i64", r)])]
            low, high = i.values
            bits = _width(k, k.sub(high, low))
            skip = k.call("i64", "@llvm.smax.i64", [("i64", k.sub(k.add(bits, place), "63")), ("i64", "0")])
            with k.loop("%n") as i:
                r = k.sub(_rank(k, kind, k.load(llvm, k.element(x, llvm, i.index)), descending), low)
                leading = k.op2("shl", "i64", k.op2("lshr", "i64", r, skip), place)
                k.store("i64", k.op2("or", "i64", leading, i.index), k.element(result, "i64", i.index))
            whole = k.call("i1", sort_kernel(module), [("ptr", "%ctx"), ("ptr", result), ("i64", "%n")])
            with k.when(k.op2("xor", "i1", whole, "true")):
                k.ret("false")
            with k.when(k.icmp("ne", skip, "0")):
                args = [("ptr", result), ("ptr", x), ("i64", "%n"), ("i64", place)]
                good = k.call("i1", _put_right(module, kind, descending), args)
                with k.when(k.op2("xor", "i1", good, "true")):
                    lines = [("ptr", result), ("ptr", "%scratch"), ("ptr", x), ("i64", "1"), ("i64", "%n")]
                    k.call("i1", _sort_kernel(module, kind, descending), [("ptr", "%ctx"), *lines])
            with k.loop("%n") as i:  # of places alone this changes nothing
                at = k.element(result, "i64", i.index)
                k.store("i64", k.op2("and", "i64", k.load("i64", at), mask), at)
        k.ret("true")
        k.finish()

    return module.helper(("kernel.argsort_words", kind, descending), make)


def _width(k: Code, x: str) -> str:
    """How many binary digits a number without sign has."""
    return k.sub("64", k.call("i64", "@llvm.ctlz.i64", [("i64", x), ("i1", "false")]))


def _put_right(module: Module, kind: Prim, descending: bool) -> str:
    """i1 (words, x, n, place): insertion of what has the leading digits of its neighbour and a smaller rank; false
    after four moves for each element."""

    def make(name: str) -> None:
        params = [("ptr", "%words"), ("ptr", "%x"), ("i64", "%n"), ("i64", "%place")]
        k = Code(module, name, params, "i1", attributes="noinline nounwind")
        llvm = SCALARS[kind.name][0]
        mask = k.sub(k.op2("shl", "i64", "1", "%place"), "1")

        def rank_of(word: str) -> str:
            return _rank(k, kind, k.load(llvm, k.element("%x", llvm, k.op2("and", "i64", word, mask))), descending)

        with k.loop("%n", [("i64", k.mul("%n", "4"))], "1") as i:
            word = k.load("i64", k.element("%words", "i64", i.index))
            before = k.here
            head, look, same, move, done = (k.label(n) for n in ("head", "look", "same", "move", "found"))
            k.jump(head)
            k.start(head)
            at, slot = k.phi_slot("i64")
            k.branch(k.icmp("sgt", at, "0"), look, done)
            k.start(look)
            left = k.sub(at, "1")
            other = k.load("i64", k.element("%words", "i64", left))
            differ = k.op2("lshr", "i64", k.op2("xor", "i64", other, word), "%place")
            k.branch(k.icmp("eq", differ, "0"), same, done)
            k.start(same)
            k.branch(k.icmp("sgt", rank_of(other), rank_of(word)), move, done)
            k.start(move)
            k.store("i64", other, k.element("%words", "i64", at))
            k.fill_phi(slot, [(i.index, before), (left, move)])
            k.jump(head)
            k.start(done)
            k.store("i64", word, k.element("%words", "i64", at))
            room = k.sub(i.values[0], k.sub(i.index, at))
            with k.when(k.icmp("slt", room, "0")):
                k.ret("false")
            i.next = [room]
        k.ret("true")
        k.finish()

    return module.helper(("kernel.put_right", kind, descending), make)


def _whole_lines(e: FnEmitter, x: Tensor, descending: bool, out: str, scratch: str, rows: str) -> None:
    n = x.dims[-1]
    args = [("ptr", "%ctx"), ("ptr", out), ("ptr", scratch), ("ptr", x.data), ("i64", rows), ("i64", n)]
    kernel = merging = _sort_kernel(e.module, x.elem, descending)
    if packs(e.module):
        kernel = e.select(e.icmp("sgt", n, str(RUN)), "ptr", _word_kernel(e.module, x.elem, descending), merging)
    e.leave_unless(e.call("i1", kernel, args))


# ---- the first places ------------------------------------------------------------------------------------------------
def _after(k: Code, kind: Prim, x: str, p: str, q: str, descending: bool) -> str:
    """Does position p come after position q? Of equal elements the later does."""
    llvm = SCALARS[kind.name][0]
    a, b = k.load(llvm, k.element(x, llvm, p)), k.load(llvm, k.element(x, llvm, q))
    beside = k.op2("xor", "i1", _before(k, kind, a, b, descending), "true")
    later = k.op2("and", "i1", beside, k.icmp("sgt", p, q))
    return k.op2("or", "i1", _before(k, kind, b, a, descending), later)


def _sink(module: Module, kind: Prim, descending: bool) -> str:
    """void (heap, x, size, hole, position): fill a hole in a heap of positions, whose last in the order is on top."""

    def make(name: str) -> None:
        params = [("ptr", "%heap"), ("ptr", "%x"), ("i64", "%size"), ("i64", "%hole"), ("i64", "%position")]
        k = Code(module, name, params, "void", attributes="noinline nounwind")
        sink(k, "%position", lambda p, q: _after(k, kind, "%x", p, q, descending))
        k.finish()

    return module.helper(("kernel.sink", kind, descending), make)


def _first_kernel(module: Module, kind: Prim, descending: bool) -> str:
    """void (out, in, rows, n, count <= n): the places of the first `count` of each line, in order: those of what was
    seen so far are kept in a heap, which sorts them at the end (Floyd, "Algorithm 245: Treesort 3", 1964)."""

    def make(name: str) -> None:
        params = [("ptr", "%out"), ("ptr", "%x"), ("i64", "%rows"), ("i64", "%n"), ("i64", "%count")]
        k = Code(module, name, params, "void", attributes="noinline nounwind")
        llvm = SCALARS[kind.name][0]
        fill_hole = _sink(module, kind, descending)
        with k.when(k.icmp("slt", "%count", "1")):
            k.ret()
        with k.loop("%rows") as row:
            heap = k.element("%out", "i64", k.mul(row.index, "%count"))
            x = k.element("%x", llvm, k.mul(row.index, "%n"))

            def fill(size: str, hole: str, position: str, heap: str = heap, x: str = x) -> None:
                k.call("void", fill_hole, [("ptr", heap), ("ptr", x), ("i64", size), ("i64", hole), ("i64", position)])

            with k.loop("%count") as i:
                k.store("i64", i.index, k.element(heap, "i64", i.index))
            half = k.op2("lshr", "i64", "%count", "1")
            with k.loop(half) as i:
                hole = k.sub(k.sub(half, "1"), i.index)
                fill("%count", hole, k.load("i64", k.element(heap, "i64", hole)))
            with k.loop("%n", start="%count") as i:
                last = k.load(llvm, k.element(x, llvm, k.load("i64", heap)))
                with k.when(_before(k, kind, k.load(llvm, k.element(x, llvm, i.index)), last, descending)):
                    fill("%count", "0", i.index)
            with k.loop(k.sub("%count", "1")) as i:
                size = k.sub(k.sub("%count", "1"), i.index)
                end = k.element(heap, "i64", size)
                position = k.load("i64", end)
                k.store("i64", k.load("i64", heap), end)
                fill(size, "0", position)
        k.ret()
        k.finish()

    return module.helper(("kernel.first", kind, descending), make)


def _best_kernel(module: Module, kind: Prim, descending: bool, count: int) -> str:
    """void (out, in, rows, n >= count): the same for a known count of a short line. Where an element comes nobody could
    foresee, so each is compared with all that are kept, and these move by selection."""

    def make(name: str) -> None:
        k = Code(module, name, [("ptr noalias", "%out"), ("ptr", "%x"), ("i64", "%rows"), ("i64", "%n")], "void",
                 attributes="noinline nounwind")
        llvm = SCALARS[kind.name][0]
        with k.loop("%rows") as row:
            out = k.element("%out", "i64", k.mul(row.index, str(count)))
            x = k.element("%x", llvm, k.mul(row.index, "%n"))

            def inserted(best: Sequence[tuple[str, str]], at: str, x: str = x) -> list[tuple[str, str]]:
                """(element, position) in order, and one more."""
                new = k.load(llvm, k.element(x, llvm, at))
                made, last = [], (new, at)
                for value, position in reversed(best):
                    before = _before(k, kind, new, value, descending)
                    made.append((k.select(before, llvm, value, last[0]), k.select(before, "i64", position, last[1])))
                    last = (k.select(before, llvm, new, value), k.select(before, "i64", at, position))
                return [last, *reversed(made)]

            best: list[tuple[str, str]] = []
            for i in range(count):
                best = inserted(best, str(i))
            carry = [(t, v) for pair in best for t, v in zip((llvm, "i64"), pair, strict=True)]
            with k.loop("%n", carry, start=str(count)) as turn:
                pairs = list(zip(turn.values[::2], turn.values[1::2], strict=True))
                turn.next = [v for pair in inserted(pairs, turn.index)[:count] for v in pair]
            for j, position in enumerate(turn.values[1::2]):
                k.store("i64", position, k.element(out, "i64", str(j)))
        k.ret()
        k.finish()

    return module.helper(("kernel.best", kind, descending, count), make)


def argsort_dims(e: FnEmitter, op: Op) -> list[str]:
    """The dimensions of the result."""
    dims = list(tensor_of(e, op.args[0]).dims)
    if len(op.args) > 1:
        wanted, have = e.one(op.args[1]), dims[-1]
        if wanted.isdigit() and have.isdigit():
            return [*dims[:-1], str(min(int(wanted), int(have)))]
        count = e.call("i64", "@llvm.smax.i64", [("i64", e.one(op.args[1])), ("i64", "0")])
        dims[-1] = e.call("i64", "@llvm.smin.i64", [("i64", count), ("i64", dims[-1])])
    return dims


def emit_argsort(e: FnEmitter, op: Op) -> Results:
    x, dims, down = tensor_of(e, op.args[0]), argsort_dims(e, op), bool(op.attr("descending"))
    out = new_tensor(e, INT, dims)
    n, rows = x.dims[-1], product(e, x.dims[:-1])
    ends = [("ptr", x.data), ("i64", rows), ("i64", n)]
    if len(op.args) == 1:
        with e.holding(out.owner):
            scratch = new_tensor(e, INT, [n])
        with e.holding(out.owner), e.holding(scratch.owner):
            _whole_lines(e, x, down, out.data, scratch.data, rows)
        release_tensor(e, scratch)
        return (out.leaves,)
    few, many, done = e.label("few"), e.label("many"), e.label("places")
    heap = e.op2("or", "i1", e.icmp("sle", e.mul(dims[-1], str(FEW)), n), e.icmp("sle", dims[-1], str(ALWAYS)))
    e.branch(heap, few, many)
    e.start(few)
    if dims[-1].isdigit() and 0 < int(dims[-1]) <= ALWAYS and int(n) <= SHORT:
        e.call("void", _best_kernel(e.module, x.elem, down, int(dims[-1])), [("ptr", out.data), *ends])
    else:
        e.call("void", _first_kernel(e.module, x.elem, down), [("ptr", out.data), *ends, ("i64", dims[-1])])
    e.jump(done)
    e.start(many)
    with e.holding(out.owner):
        whole = new_tensor(e, INT, [*x.dims[:-1], n])
    with e.holding(out.owner), e.holding(whole.owner):
        scratch = new_tensor(e, INT, [n])
    with e.holding(out.owner), e.holding(whole.owner), e.holding(scratch.owner):
        _whole_lines(e, x, down, whole.data, scratch.data, rows)
    with e.loop(rows) as row:
        target = e.element(out.data, "i64", e.mul(row.index, dims[-1]))
        e.copy_bytes(target, e.element(whole.data, "i64", e.mul(row.index, n)), e.mul(dims[-1], "8"))
    release_tensor(e, scratch)
    release_tensor(e, whole)
    e.jump(done)
    e.start(done)
    return (out.leaves,)


ROWS = {"argsort": emit_argsort}
