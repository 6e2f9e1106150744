"""Operators on buffers. Indices are the library's responsibility and are not checked; a buffer that has another owner
is copied before it is written."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.core.ir import BufferT, Op, Type
from hybridc.core.ops import BYTES
from hybridc.llvm import pool, refcount, support
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Leaves, Module

Results = tuple[Leaves, ...]
CTX = ("ptr", "%ctx")
CTX_AND_BLOCK = [CTX, ("ptr", "%block")]


def element_at(e: Code, item: Type, block: str, index: str) -> str:
    """The address of an element."""
    size = e.layouts.shape(item).size
    if not index.startswith("%"):
        return e.ptr_add(block, HEADER + size * int(index))
    data = e.ptr_add(block, HEADER)
    if size in (1, 2, 4, 8):
        return e.element(data, f"i{8 * size}", index)
    return e.ptr_add(data, e.mul(index, str(size)))


def item_of(op: Op) -> Type:
    t = op.args[0].type
    assert isinstance(t, BufferT)
    return t.item


def fresh_buffer(code: Code, size: int, count: str, clear: bool) -> str:
    """A buffer with one owner, or null, and then the context holds the fault."""
    if size == 1:
        return code.call("ptr", pool.allocate_bytes(code.module, clear), [CTX, ("i64", count)])
    return code.call("ptr", support.allocate_buffer(code.module, clear), [CTX, ("i64", str(size)), ("i64", count)])


# ---- one owner
def unique_helper(module: Module, item: Type) -> str:
    """ptr (ctx, block): a block of the same contents with one owner, in exchange for the caller's; one without elements
    stays as it is. null for another: the context holds a MemoryError (the old block is released then too)."""

    def make(name: str) -> None:
        code = Code(module, name, CTX_AND_BLOCK, "ptr", attributes="noinline nounwind")
        with code.when(code.icmp("eq", "%block", "null", "ptr")):
            code.ret("null")
        with code.when(refcount.unique(code, "%block")):
            code.ret("%block")
        length = code.load("i64", code.ptr_add("%block", 8))
        with code.when(code.icmp("eq", length, "0")):
            code.ret("%block")
        size = code.layouts.shape(item).size
        fresh = fresh_buffer(code, size, length, False)
        with code.when(code.icmp("ne", fresh, "null", "ptr")):
            copy_elements(code, item, code.ptr_add(fresh, HEADER), code.ptr_add("%block", HEADER), length)
        code.call("void", refcount.release_helper(module, BufferT(item)), [("ptr", "%ctx"), ("ptr", "%block")])
        code.ret(fresh)
        code.finish()

    return module.helper(("hyb.unique", element_key(module, item)), make)


def element_key(module: Module, item: Type) -> object:
    """Elements without counted parts are alike when their size is."""
    shape = module.layouts.shape(item)
    return item if shape.counted else shape.size


def copy_elements(code: Code, item: Type, target: str, source: str, count: str) -> None:
    """Copy to memory that holds nothing to be released; the copies are owners too."""
    shape = code.layouts.shape(item)
    code.copy_bytes(target, source, code.mul(count, str(shape.size)))
    retain_elements(code, item, target, count)


def retain_elements(code: Code, item: Type, data: str, count: str) -> None:
    shape = code.layouts.shape(item)
    if not shape.counted:
        return
    with code.loop(count) as turn:
        at = code.ptr_add(data, code.mul(turn.index, str(shape.size)))
        for leaf in shape.leaves:
            if leaf.counted is not None:
                refcount.retain_here(code, code.load("ptr", code.ptr_add(at, leaf.offset)))


def owned(e: FnEmitter, item: Type, block: str, may_be_null: bool = False) -> str:
    """A block that may be written: itself, or a copy if it is shared. It is not null but where that is said."""
    if e.alone(block):
        return block
    copy, ready = e.label("copy"), e.label("mine")
    arrivals: list[tuple[str, str]] = []
    if may_be_null:
        test = e.label("test")
        arrivals.append(("null", e.here))
        e.branch(e.icmp("eq", block, "null", "ptr"), ready, test)
        e.start(test)
    arrivals.append((block, e.here))
    e.branch(refcount.unique(e, block), ready, copy, likely=True)
    with e.out_of_line(copy):
        fresh = e.call("ptr", unique_helper(e.module, item), [("ptr", "%ctx"), ("ptr", block)])
        e.leave_unless(e.icmp("ne", fresh, "null", "ptr"))
        copied = e.here
        e.jump(ready)
    e.start(ready)
    mine = e.phi("ptr", [*arrivals, (fresh, copied)])
    e.sole.add(mine)
    return mine


def _checked(e: FnEmitter, block: str, result: str) -> str:
    """The result of a helper that gives null for a block when there is no memory."""
    ok = e.op2("or", "i1", e.icmp("ne", result, "null", "ptr"), e.icmp("eq", block, "null", "ptr"))
    e.leave_unless(ok)
    e.sole.add(result)
    return result


# ---- the operators
def _new(e: FnEmitter, op: Op) -> Results:
    t = op.outs[0].type
    assert isinstance(t, BufferT)
    count = e.one(op.args[0])
    if op.op == "buffer_room" and count == "0":
        return (("null",),)
    if count == "0":
        return ((e.module.empty(),),)
    if count.startswith(("%", "-")):
        e.check(e.icmp("sge", count, "0"), "ValueError", "negative length")
    block = fresh_buffer(e, e.layouts.shape(t.item).size, count, True)
    e.leave_unless(e.icmp("ne", block, "null", "ptr"))
    e.sole.add(block)
    if e.layouts.counted(t.item):
        e.blank[block] = set()
    return ((block,),)


def _len(e: FnEmitter, op: Op) -> Results:
    return ((e.buffer_length(e.one(op.args[0])),),)


def _place(e: FnEmitter, op: Op) -> Results:
    """An index from the front needs one comparison; one from the end is out of line."""
    index, length = (e.one(a) for a in op.args)
    if not index.startswith("%"):
        place = e.add(length, index) if index.startswith("-") else index
        with e.unless(e.icmp("ult", place, length)):
            e.fault_index(index, length)
        return ((place,),)
    front, ready, back = e.icmp("ult", index, length), e.label("place"), e.label("back")
    before = e.here
    e.branch(front, ready, back, likely=True)
    with e.out_of_line(back):
        wrapped = e.add(index, length)
        with e.unless(e.icmp("ult", wrapped, length)):
            e.fault_index(index, length)
        after = e.here
        e.jump(ready)
    e.start(ready)
    return ((e.phi("i64", [(index, before), (wrapped, after)]),),)


def _get(e: FnEmitter, op: Op) -> Results:
    item = item_of(op)
    value = e.load_value(item, element_at(e, item, e.one(op.args[0]), e.one(op.args[1])))
    if op.op == "buffer_get" and op.outs[0].id not in e.lent:
        e.retain(item, value)
    return (value,)


def _set(e: FnEmitter, op: Op) -> Results:
    item = item_of(op)
    with e.giving_up(op.args[2:]):
        block = owned(e, item, e.one(op.args[0]))
    index = e.one(op.args[1])
    at = element_at(e, item, block, index)
    old = e.load_value(item, at) if e.layouts.counted(item) and not _is_first(e, block, index) else ()
    e.store_value(item, e.leaves(op.args[2]), at)
    for helper, operand in refcount.release_plan(e.module, item, old) if old else ():
        with e.when(e.icmp("ne", operand, "null", "ptr")):  # what is pushed, or on a tape, comes where nothing is
            e.call("void", helper, [CTX, ("ptr", operand)])
    return ((block,),)


def _is_first(e: FnEmitter, block: str, index: str) -> bool:
    """Is nothing at the index of the block yet, before what is written now?"""
    if index.startswith("%"):  # may be any
        e.blank.pop(block, None)
    written = e.blank.get(block)
    if written is None or index in written:
        return False
    written.add(index)
    return True


def _take(e: FnEmitter, op: Op) -> Results:
    item = item_of(op)
    block = owned(e, item, e.one(op.args[0]))
    at = element_at(e, item, block, e.one(op.args[1]))
    value = e.load_value(item, at)
    e.store_value(item, e.zero(item), at)
    return ((block,), value)


def _move(e: FnEmitter, op: Op) -> Results:
    block, target, source, count = (e.one(a) for a in op.args)
    args = [("ptr", "%ctx"), ("ptr", block), ("i64", target), ("i64", source), ("i64", count)]
    return ((_checked(e, block, e.call("ptr", _move_helper(e.module, item_of(op)), args)),),)


def _move_helper(module: Module, item: Type) -> str:
    """ptr (ctx, block, dst, src, n)"""
    size = str(module.layouts.shape(item).size)

    def make(name: str) -> None:
        params = [*CTX_AND_BLOCK, ("i64", "%dst"), ("i64", "%src"), ("i64", "%n")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        block = code.call("ptr", unique_helper(module, item), CTX_AND_BLOCK)
        nothing = code.op2("or", "i1", code.icmp("eq", block, "null", "ptr"), code.icmp("eq", "%dst", "%src"))
        with code.when(nothing):
            code.ret(block)
        data = code.ptr_add(block, HEADER)
        # Of [dst, dst + n) what is not in [src, src + n) is overwritten, and the other way round vacated: each is one
        # stretch, at one end, since both are as long.
        target_end, source_end = code.add("%dst", "%n"), code.add("%src", "%n")
        forward = code.icmp("sgt", "%dst", "%src")
        lost = _difference(code, forward, "%dst", target_end, "%src", source_end)
        vacated = _difference(code, code.op2("xor", "i1", forward, "true"), "%src", source_end, "%dst", target_end)
        refcount.release_elements(code, item, data, *lost)
        code.copy_bytes(
            code.ptr_add(data, code.mul("%dst", size)),
            code.ptr_add(data, code.mul("%src", size)),
            code.mul("%n", size),
            move=True,
        )
        start, stop = vacated
        code.zero_bytes(code.ptr_add(data, code.mul(start, size)), code.mul(code.sub(stop, start), size))
        code.ret(block)
        code.finish()

    return module.helper(("hyb.move", element_key(module, item)), make)


def _difference(code: Code, later: str, start: str, stop: str, other_start: str, other_stop: str) -> tuple[str, str]:
    """[start, stop) without the other range, which is as long; `later`: it begins after the other."""
    first = code.select(later, "i64", code.call("i64", "@llvm.smax.i64", [("i64", start), ("i64", other_stop)]), start)
    last = code.select(later, "i64", stop, code.call("i64", "@llvm.smin.i64", [("i64", stop), ("i64", other_start)]))
    return first, last


Made = Callable[[], str]


def single_or_several(e: FnEmitter, count: str, llvm: str, single: Made, several: Made) -> str:
    """What is done with a single byte, as letters are, stands where it is wanted; what is done with more is called."""
    return single() if count == "1" else e.either(e.icmp("eq", count, "1"), llvm, single, several)


def _copy(e: FnEmitter, op: Op) -> Results:
    target, at, source, start, count = (e.one(a) for a in op.args)
    item = item_of(op)
    if not count.startswith("%") and int(count) > 0 and not e.layouts.counted(item):
        # A few elements, as when one is appended: no call.
        block = owned(e, item, target)
        size = e.layouts.shape(item).size * int(count)
        e.copy_bytes(element_at(e, item, block, at), element_at(e, item, source, start), str(size))
        return ((block,),)
    args = [("ptr", "%ctx"), ("ptr", target), ("i64", at), ("ptr", source), ("i64", start), ("i64", count)]
    if op.outs[0].type != BYTES:
        return ((_checked(e, target, e.call("ptr", _copy_helper(e.module, item), args)),),)

    def single() -> str:
        block = owned(e, item, target)
        e.store("i8", e.load("i8", element_at(e, item, source, start)), element_at(e, item, block, at))
        return block

    def several() -> str:
        return _checked(e, target, e.call("ptr", _copy_helper(e.module, item), args))

    made = single_or_several(e, count, "ptr", single, several)
    e.sole.add(made)
    return ((made,),)


def _copy_helper(module: Module, item: Type) -> str:
    """ptr (ctx, block, at, source, from, n)"""
    size = str(module.layouts.shape(item).size)

    def make(name: str) -> None:
        params = [*CTX_AND_BLOCK, ("i64", "%at"), ("ptr", "%source"), ("i64", "%from"), ("i64", "%n")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        block = code.call("ptr", unique_helper(module, item), CTX_AND_BLOCK)
        with code.when(code.icmp("eq", block, "null", "ptr")):
            code.ret("null")
        data = code.ptr_add(block, HEADER)
        refcount.release_elements(code, item, data, "%at", code.add("%at", "%n"))
        source = code.ptr_add(code.ptr_add("%source", HEADER), code.mul("%from", size))
        copy_elements(code, item, code.ptr_add(data, code.mul("%at", size)), source, "%n")
        code.ret(block)
        code.finish()

    return module.helper(("hyb.copy", element_key(module, item)), make)


def _part(e: FnEmitter, op: Op) -> Results:
    """An address from which the elements are found as those of a block are; there is no count at it, and no length."""
    block, start, _ = (e.one(a) for a in op.args)
    size = e.layouts.shape(item_of(op)).size
    return ((e.ptr_add(block, e.mul(start, str(size)) if start.startswith("%") else size * int(start)),),)


# ---- bytes
def _prefetch(e: FnEmitter, op: Op) -> Results:
    block, index = (e.one(a) for a in op.args)
    size = e.layouts.shape(item_of(op)).size
    e.prefetch(e.beyond(e.ptr_add(block, HEADER), "i8", e.mul(index, str(size))))
    return ((block,),)


ROWS: dict[str, Callable[[FnEmitter, Op], Results]] = {
    "buffer_new": _new, "buffer_room": _new,
    "buffer_len": _len,
    "place": _place,
    "buffer_get": _get, "buffer_at": _get,
    "buffer_set": _set,
    "buffer_take": _take,
    "buffer_move": _move,
    "buffer_copy": _copy,
    "buffer_part": _part,
    "buffer_prefetch": _prefetch,
}
