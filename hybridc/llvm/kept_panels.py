"""Panels of weights that are turned once, and kept beside the parameters that they are made of; and rows of weights
that do not begin on lines of the cache, laid out so that they do, for products of one row.

The block of a model's parameters may have a table, whose address stands where its length would (abi.py). The host
gives it one when it has passed the same parameters twice; from then on no code writes to that block, since it is not
`alone` whatever its count is: who changes the parameters makes a copy, which has no table. Memory that the host may
write to (an array over it was given out) never gets one. So what is kept cannot be stale, and goes with the block.

Who finds a matrix first takes a place; others turn panels as ever until it is filled.
A place says the bytes of a vector, since code for another processor lays panels out otherwise. Of rows it says 0, and
its address is one more.
"""

from __future__ import annotations

from hybridc.base.types import Prim
from hybridc.llvm.abi import KEPT, KEPT_ADDRESS, KEPT_PLACE, KEPT_VECTOR
from hybridc.llvm.block_product import DEPTH_BYTES, TURN_FROM, narrow, panel_width, turn
from hybridc.llvm.code import Code
from hybridc.llvm.lane import Lane
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.row_product import LINE
from hybridc.llvm.strided import least, parts, times
from hybridc.llvm.support import COLD, LARGE, in_large_pages
from hybridc.llvm.tiles import ints, tile_vectors

LEAST = 1024
"""Elements of a matrix that is worth it."""
MIX = 0x9E3779B1
"""Of an address, bits of its product with this number are the first place that it may have."""


def kept_panels(module: Module, kind: Prim) -> str:
    """ptr (owner, b, n, k, rows): the panels of a matrix of n rows of k, to multiply so many rows by, or null."""

    def make(name: str) -> None:
        params = [("ptr", "%owner"), ("ptr", "%b"), *ints("n", "k", "rows")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        few = code.op2("or", "i1", code.icmp("slt", "%rows", str(TURN_FROM)),
                       code.icmp("sle", "%n", str(narrow(module, kind))))
        small = code.icmp("slt", code.mul("%n", "%k"), str(LEAST))
        with code.when(code.op2("or", "i1", few, small)):
            code.ret("null")
        args = [("ptr", "%owner"), ("ptr", "%b"), *ints("n", "k")]
        code.ret(code.call("ptr", _found(module, kind, "panels"), args))
        code.finish()

    return module.helper(("kernel.kept_panels", kind), make)


def kept_rows(module: Module, kind: Prim) -> str:
    """ptr (owner, b, n, k): n rows of k, each from the beginning of a line on (`row_room`), or null."""
    return _found(module, kind, "rows")


def row_room(kind: Prim, k: int) -> int:
    """Elements from one such row to the next."""
    line = LINE // SCALARS[kind.name][1]
    return -(-k // line) * line


def _found(module: Module, kind: Prim, what: str) -> str:
    """ptr (owner, b, n, k): the rows or panels that are kept of a matrix of n rows of k, or are from now on; null if
    there is no room."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%owner"), ("ptr", "%b"), *ints("n", "k")], "ptr",
                    attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%owner", "null", "ptr")):
            code.ret("null")
        length = code.ins(f"load atomic i64, ptr {code.ptr_add('%owner', 8)} monotonic, align 8")
        with code.when(code.icmp("sge", length, "-1")):
            code.ret("null")
        address = code.op2("and", "i64", length, str(KEPT_ADDRESS))
        with code.when(code.icmp("eq", address, "0")):
            code.ret("null")
        table = code.convert("inttoptr", "i64", address, "ptr")
        last = code.sub(code.load("i64", table), "1")
        key = code.add(code.convert("ptrtoint", "ptr", "%b", "i64"), str(int(what == "rows")))
        mixed = code.op2("lshr", "i64", code.mul(code.op2("lshr", "i64", key, "4"), str(MIX)), "24")
        with code.loop(code.add(last, "1")) as turn_:
            number = code.op2("and", "i64", code.add(mixed, turn_.index), last)
            place = code.ptr_add(code.ptr_add(table, KEPT), code.mul(number, str(KEPT_PLACE)))
            found = code.ins(f"load atomic i64, ptr {place} acquire, align 8")
            with code.when(code.icmp("eq", found, key)):
                code.ret(_filled(code, place, what))
            with code.when(code.icmp("eq", found, "0")):
                pair = code.ins(f"cmpxchg ptr {place}, i64 0, i64 {key} acq_rel acquire")
                with code.when(code.ins(f"extractvalue {{ i64, i1 }} {pair}, 1")):
                    args = [("ptr", place), ("ptr", "%b"), ("i64", "%n"), ("i64", "%k")]
                    code.ret(code.call("ptr", _keep(module, kind, what), args))
                with code.when(code.icmp("eq", code.ins(f"extractvalue {{ i64, i1 }} {pair}, 0"), key)):
                    code.ret("null")
        code.ret("null")
        code.finish()

    return module.helper(("kernel.kept", kind, what), make)


def _columns(code: Code, what: str) -> str:
    """What a place says of %k."""
    return code.op2("or", "i64", "%k", str((code.module.vector_bytes if what == "panels" else 0) << KEPT_VECTOR))


def _filled(code: Code, place: str, what: str) -> str:
    """What a place has, if it is of a matrix of this shape."""
    panels = code.ins(f"load atomic ptr, ptr {code.ptr_add(place, 24)} acquire, align 8")
    same = code.op2("and", "i1", code.icmp("eq", code.load("i64", code.ptr_add(place, 8)), "%n"),
                    code.icmp("eq", code.load("i64", code.ptr_add(place, 16)), _columns(code, what)))
    return code.select(same, "ptr", panels, "null")


def kept_width(code: Code, kind: Prim, n: str) -> str:
    """Columns of all panels of n: the last one may be half as wide."""
    unit = str(panel_width(code.module, kind) // _parts(code.module))
    return times(code, parts(code, n, unit), unit)


def _parts(module: Module) -> int:
    """Of a whole panel, of which the last one may have a single one."""
    return 2 if tile_vectors(module) > 2 else 1


def _keep(module: Module, kind: Prim, what: str) -> str:
    """ptr (place, b, n, k): panels or rows of n rows of k, for good; null without memory."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%place"), ("ptr", "%b"), *ints("n", "k")], "ptr", attributes=COLD)
        size = laid_out_bytes(code, kind, "%n", "%k") if what == "panels" else times(
            code, "%n", times(code, parts(code, _bytes(code, kind), str(LINE)), str(LINE)))
        memory = code.call("ptr", "@aligned_alloc", [("i64", "64"), ("i64", size)])
        with code.when(code.icmp("eq", memory, "null", "ptr")):
            code.ret("null")
        with code.when(code.icmp("uge", size, str(LARGE))):
            code.call("void", in_large_pages(module), [("ptr", memory), ("i64", size)])
        if what == "panels":
            code.call("void", lay_out(module, kind), [("ptr", memory), ("ptr", "%b"), *ints("n", "k")])
        else:
            row = _bytes(code, kind)
            room = times(code, parts(code, row, str(LINE)), str(LINE))
            with code.loop("%n") as turn_:
                code.copy_bytes(code.ptr_add(memory, code.mul(turn_.index, room)),
                                code.ptr_add("%b", code.mul(turn_.index, row)), row)
        code.store("i64", "%n", code.ptr_add("%place", 8))
        code.store("i64", _columns(code, what), code.ptr_add("%place", 16))
        code.do(f"store atomic ptr {memory}, ptr {code.ptr_add('%place', 24)} release, align 8")
        code.ret(memory)
        code.finish()

    return module.helper(("kernel.keep", kind, what), make)


def _bytes(code: Code, kind: Prim) -> str:
    """Of %k elements."""
    return code.mul("%k", str(SCALARS[kind.name][1]))


def laid_out_bytes(code: Code, kind: Prim, n: str, k: str) -> str:
    """Of all panels of n rows of k."""
    return times(code, times(code, kept_width(code, kind, n), k), str(Lane(kind, code.module.vector_bytes).size))


def lay_out(module: Module, kind: Prim) -> str:
    """void (to, b, n, k): panels of n rows of k. They lie as `panels` turns them, one after the other, those of a block
    of k after those of the one before."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t = lane.scalar
        code = Code(module, name, [("ptr", "%to"), ("ptr", "%b"), *ints("n", "k")], "void",
                    attributes="noinline nounwind")
        columns, vectors = panel_width(module, kind), tile_vectors(module)
        wide = kept_width(code, kind, "%n")
        with code.loop("%k", step=DEPTH_BYTES // lane.size, rolled=True) as p:
            deep = least(code, code.sub("%k", p.index), str(DEPTH_BYTES // lane.size))
            to = code.element("%to", t, code.mul(p.index, wide))
            with code.loop("%n", step=columns, rolled=True) as j:
                left, some = code.sub("%n", j.index), _parts(module)
                few = code.icmp("sle", left, str(columns // some))
                code.call("void", turn(module, kind), [
                    ("ptr", code.element(to, t, code.mul(j.index, deep))),
                    ("ptr", code.element("%b", t, code.add(code.mul(j.index, "%k"), p.index))), ("i64", "%k"),
                    ("i64", left), ("i64", deep),
                    ("i64", code.select(few, "i64", str(vectors // some), str(vectors)) if some > 1 else str(vectors))])
        code.ret()
        code.finish()

    return module.helper(("kernel.lay_out", kind), make)
