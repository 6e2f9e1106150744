"""How a buffer gets another length: in place if it has one owner, else as a copy.

A block that is mapped on its own (support.MAPPED) grows without being copied: the kernel moves its pages. When it is
first mapped its elements are copied, since the C library would copy them to pages that it then moves one by one, and no
large pages are asked for. They would be filled little by little, and where a computer is a virtual one the large pages
that it is given may take ten times as long to clear as small ones.
"""

from __future__ import annotations

from hybridc.core.ir import BufferT, Op, Type
from hybridc.llvm import pool, refcount, support
from hybridc.llvm.buffer_ops import (
    CTX_AND_BLOCK,
    Results,
    copy_elements,
    element_key,
    fresh_buffer,
    item_of,
)
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Module
from hybridc.llvm.spares import keep_spare, take_spare
from hybridc.llvm.support import CTX

MUCH = 128 << 10
"""Bytes that are worth telling the kernel that nobody needs them."""
SHORT = 4096
"""Bytes of a block that may as well be copied: malloc's own part, to find room and to join what is free, is more."""


def _resize(e: FnEmitter, op: Op) -> Results:
    count = e.one(op.args[1])
    if count.startswith(("%", "-")):
        with e.giving_up(op.args[:1]):
            e.check(e.icmp("sge", count, "0"), "ValueError", "negative length")
    block = e.call(
        "ptr", _resize_helper(e.module, item_of(op)), [("ptr", "%ctx"), ("ptr", e.one(op.args[0])), ("i64", count)]
    )
    e.leave_unless(e.icmp("ne", block, "null", "ptr"))
    e.sole.add(block)
    return ((block,),)


def _resize_helper(module: Module, item: Type) -> str:
    """ptr (ctx, block, count >= 0). null: no memory, and the block is released."""
    size = module.layouts.shape(item).size

    def make(name: str) -> None:
        code = Code(module, name, [*CTX_AND_BLOCK, ("i64", "%count")], "ptr", attributes="noinline nounwind")
        length = code.call("i64", support.buffer_length(module), [("ptr", "%block")])
        alone, shared = code.label("alone"), code.label("shared")
        test = code.label("test")
        code.branch(code.icmp("eq", "%block", "null", "ptr"), shared, test)
        code.start(test)
        in_place = refcount.unique(code, "%block")
        if size == 1:
            in_place = code.op2("and", "i1", in_place, code.op2("xor", "i1", pool.pooled(code, "%block"), "true"))
        code.branch(in_place, alone, shared)

        code.start(shared)
        fresh = fresh_buffer(code, size, "%count", True)
        with code.when(code.icmp("ne", fresh, "null", "ptr")):
            kept = code.call("i64", "@llvm.smin.i64", [("i64", length), ("i64", "%count")])
            copy_elements(code, item, code.ptr_add(fresh, HEADER), code.ptr_add("%block", HEADER), kept)
        code.call("void", refcount.release_helper(module, BufferT(item)), [("ptr", "%ctx"), ("ptr", "%block")])
        code.ret(fresh)

        code.start(alone)
        refcount.release_elements(code, item, code.ptr_add("%block", HEADER), "%count", length)
        args = [CTX, ("ptr", "%block"), ("i64", length), ("i64", "%count"), ("i64", str(size))]
        moved = code.call("ptr", _in_place_helper(module), args)
        with code.when(code.icmp("eq", moved, "null", "ptr")):
            code.call("void", refcount.release_helper(module, BufferT(item)), [("ptr", "%ctx"), ("ptr", "%block")])
        code.ret(moved)
        code.finish()

    return module.helper(("hyb.resize", element_key(module, item)), make)


def _bytes(code: Code, size: str, count: str) -> str:
    """How many a block with so many elements has; too many for any memory if it were more."""
    pair = code.call("{ i64, i1 }", "@llvm.umul.with.overflow.i64", [("i64", count), ("i64", size)])
    elements = code.ins(f"extractvalue {{ i64, i1 }} {pair}, 0")
    wrapped = code.ins(f"extractvalue {{ i64, i1 }} {pair}, 1")
    huge = code.op2("or", "i1", wrapped, code.icmp("ugt", elements, str(support.LIMIT)))
    return code.select(huge, "i64", str(support.LIMIT), code.add(elements, str(HEADER)))


def _to_spare(code: Code, taken: str, wanted: str) -> None:
    """A short block that grows moves to one that was kept, if there is one; it is kept itself."""
    grows = code.op2("and", "i1", code.icmp("sgt", "%count", "%length"), code.icmp("ule", wanted, str(SHORT)))
    with code.when(grows):
        spare = code.call("ptr", take_spare(code.module), [CTX, ("i64", wanted)])
        with code.when(code.icmp("ne", spare, "null", "ptr")):
            code.copy_bytes(spare, "%block", taken)
            code.store("i64", "%count", code.ptr_add(spare, 8))
            code.zero_bytes(code.ptr_add(spare, taken), code.sub(wanted, taken))
            code.call("void", keep_spare(code.module), CTX_AND_BLOCK)
            code.ret(spare)


def _in_place_helper(module: Module) -> str:
    """ptr (ctx, block, length, count >= 0, element size): the block, which has one owner, with room for `count`
    elements; what is beyond them was released. null: no memory, and the block is as short as what is left of it."""

    def make(name: str) -> None:
        params = [*CTX_AND_BLOCK, ("i64", "%length"), ("i64", "%count"), ("i64", "%size")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        wanted = _bytes(code, "%size", "%count")
        taken = code.add(code.mul("%length", "%size"), str(HEADER))
        _to_spare(code, taken, wanted)
        mapped = code.icmp("ugt", taken, str(support.MAPPED))
        unmapped = code.op2("xor", "i1", mapped, "true")
        first = code.op2("and", "i1", unmapped, code.icmp("ugt", wanted, str(support.MAPPED)))
        with code.when(first):
            own = code.call("ptr", "@calloc", [("i64", "1"), ("i64", wanted)])
            with code.when(code.icmp("ne", own, "null", "ptr")):
                code.copy_bytes(own, "%block", taken)
                code.store("i64", "%count", code.ptr_add(own, 8))
                code.call("void", "@free", [("ptr", "%block")])
                code.ret(own)
        less = code.sub(taken, wanted)
        with code.when(code.icmp("sge", less, str(MUCH))):
            # What malloc keeps of it for later takes no memory till then.
            code.call("void", support.clear_pages(module), [("ptr", code.ptr_add("%block", wanted)), ("i64", less)])
        moved = code.call("ptr", "@realloc", [("ptr", "%block"), ("i64", wanted)])
        with code.when(code.icmp("eq", moved, "null", "ptr")):
            kept = code.call("i64", "@llvm.smin.i64", [("i64", "%length"), ("i64", "%count")])
            code.store("i64", kept, code.ptr_add("%block", 8))
            support.no_memory(code)
            code.ret("null")
        with code.when(code.op2("and", "i1", unmapped, code.icmp("uge", wanted, str(support.LARGE)))):
            code.call("void", support.in_large_pages(module), [("ptr", moved), ("i64", wanted)])
        code.store("i64", "%count", code.ptr_add(moved, 8))
        with code.when(code.icmp("sgt", "%count", "%length")):
            tail = code.ptr_add(moved, taken)
            more = code.sub(wanted, taken)
            with code.when(mapped):
                code.call("void", support.clear_pages(module), [("ptr", tail), ("i64", more)])
                code.ret(moved)
            code.zero_bytes(tail, more)
        code.ret(moved)
        code.finish()

    return module.helper("hyb.resize_in_place", make)


ROWS = {"buffer_resize": _resize}
