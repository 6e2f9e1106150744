"""Blocks of enum values and short text: free ones are kept in lists, by size, so that making and dropping them needs no
malloc.

A context has for each class of sizes a list of free blocks (linked by their first word), its length, and a spare list.
A list that has grown to a batch becomes the spare one; the spare one before goes to the process's pool, where contexts
that have none look before they ask malloc for the memory of a batch. So blocks that one thread makes and another drops
come back. The pool is under a lock that nobody waits for: who does not get it at once goes on without.

Blocks that became free in another order than they were made lie anywhere, so who takes one asks for one that comes some
places later: a free block's second word is, as a rule, the block that became free RECENT before it (Roth and Sohi,
"Effective jump-pointer prefetching for linked data structures", 1999). It is a hint: any word will do.

Blocks that the host made are malloc's, and go back there. The upper half of a pooled enum block's tag is 1. A pooled
buffer (of elements of one byte) has an address of 8 beyond a multiple of 16, where malloc gives none; the host knows
those too, since it frees some. Other buffers are not pooled: they are reallocated as they grow.
"""

from __future__ import annotations

from hybridc.llvm.abi import NODE_CLASSES, OFFSET, RECENT, TEXT_CLASSES
from hybridc.llvm.code import Code
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Module
from hybridc.llvm.support import CTX, allocate_buffer, count_live, free_block, no_memory

POOLED = 1 << 32
"""Marks the tag of a block of the pool."""
STEP = 16
SLAB = 32768
"""Bytes of a batch of enum blocks."""
TEXTS = 512
"""Blocks of a batch of buffers."""
APART = 8
"""By how much addresses of pooled buffers are no multiples of 16."""
LONGEST = STEP * TEXT_CLASSES
"""Elements of the largest buffer that is pooled."""


def size_class(payload: int) -> tuple[int, int]:
    """(class, bytes) of a block with so many bytes after its header; without a class it is -1."""
    number = max(-(-payload // STEP), 1) - 1
    return (number if number < NODE_CLASSES else -1), HEADER + STEP * (number + 1)


def _field(code: Code, name: str, number: str) -> str:
    """The address of a field of a class, which may be known only when it runs."""
    if not number.startswith("%"):
        return code.ptr_add("%ctx", OFFSET[f"{name}{number}"])
    return code.ptr_add(code.ptr_add("%ctx", OFFSET[f"{name}0"]), code.mul(number, "24"))


def _pool(code: Code, number: str) -> str:
    """The address of a class in the process's pool, which may be null."""
    return code.ptr_add(code.load("ptr", code.ptr_add("%ctx", OFFSET["pool"])), code.mul(number, "16"))


def _locked(code: Code, cell: str) -> str:
    """i1: the lock is ours now."""
    return code.icmp("eq", code.ins(f"atomicrmw xchg ptr {cell}, i64 1 acquire"), "0")


def _unlock(code: Code, cell: str) -> None:
    code.do(f"store atomic i64 0, ptr {cell} release, align 8")


def allocate_node(module: Module, payload: int) -> str:
    """ptr (ctx): a block with count 1; without memory null, and the context holds the fault."""
    number, size = size_class(payload)

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "ptr")
        code.ret(_taken(code, str(number), str(size), str(SLAB // size), 0))
        code.finish()

    return module.helper(("hyb.allocate_node", number), make)


def free_node(module: Module, payload: int) -> str:
    """void (ctx, block): this block, of an enum value with a payload of so many bytes, is free."""
    number, size = size_class(payload)

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void")
        mark = code.load("i32", code.ptr_add("%block", 12))
        with code.when(code.icmp("eq", mark, "0", "i32")):
            code.call("void", free_block(module), [CTX, ("ptr", "%block")])
            code.ret()
        _put(code, str(number), str(SLAB // size))
        code.ret()
        code.finish()

    return module.helper(("hyb.free_node", number), make)


# ---- buffers of elements of one byte
def _text_class(code: Code, count: str) -> str:
    """The class of a pooled buffer with so many elements."""
    last = code.sub(code.call("i64", "@llvm.umax.i64", [("i64", count), ("i64", "1")]), "1")
    return code.add(code.op2("lshr", "i64", last, str(STEP.bit_length() - 1)), str(NODE_CLASSES))


def allocate_bytes(module: Module, clear: bool) -> str:
    """ptr (ctx, count): a buffer of elements of one byte, as allocate_buffer gives it."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%count")], "ptr", attributes="noinline nounwind")
        with code.when(code.icmp("ugt", "%count", str(LONGEST))):
            args = [CTX, ("i64", "1"), ("i64", "%count")]
            code.ret(code.call("ptr", allocate_buffer(module, clear), args))
        number = _text_class(code, "%count")
        size = code.mul(code.sub(number, str(NODE_CLASSES - 2)), str(STEP))
        block = _taken(code, number, size, str(TEXTS), APART)
        with code.when(code.icmp("eq", block, "null", "ptr")):
            code.ret("null")
        code.store("i64", "%count", code.ptr_add(block, 8))
        if clear:
            data = code.ptr_add(block, HEADER)
            for word in range(0, STEP, 8):
                code.store("i64", "0", code.ptr_add(data, word))
            with code.when(code.icmp("ugt", "%count", str(STEP))):
                code.zero_bytes(code.ptr_add(data, STEP), code.sub("%count", str(STEP)))
        code.ret(block)
        code.finish()

    return module.helper("hyb.allocate_bytes" if clear else "hyb.allocate_bytes_raw", make)


def pooled(code: Code, block: str) -> str:
    """i1: this buffer, or null, is one of the pool."""
    address = code.convert("ptrtoint", "ptr", block, "i64")
    return code.icmp("ne", code.op2("and", "i64", address, str(APART)), "0")


def free_bytes(module: Module) -> str:
    """void (ctx, block): this pooled buffer is free."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void")
        _put(code, _text_class(code, code.load("i64", code.ptr_add("%block", 8))), str(TEXTS))
        code.ret()
        code.finish()

    return module.helper("hyb.free_bytes", make)


# ---- lists of a class
def _taken(code: Code, number: str, size: str, batch: str, apart: int) -> str:
    """A block of a class, whose blocks have `size` bytes, with count 1; or null, and the context holds the fault."""
    at = _field(code, "nodes", number)
    first = code.load("ptr", at)
    empty, there, done = code.label("empty"), code.label("there"), code.label("taken")
    code.branch(code.icmp("eq", first, "null", "ptr"), empty, there)
    code.start(empty)
    args = [CTX, ("i64", number), ("i64", size), ("i64", batch), ("i64", str(apart))]
    fresh = code.call("ptr", _refill(code.module), args)
    after = code.here
    code.jump(done)
    code.start(there)
    following = code.load("ptr", first)
    code.store("ptr", following, at)
    code.prefetch(code.load("ptr", code.ptr_add(first, 8)), writes=True)
    length = _field(code, "length", number)
    code.store("i64", code.sub(code.load("i64", length), "1"), length)
    code.store("i64", "1", first)
    count_live(code, 1)
    code.jump(done)
    code.start(done)
    return code.phi("ptr", [(fresh, after), (first, there)])


def _put(code: Code, number: str, batch: str) -> None:
    """%block goes to the free ones of a class."""
    at = _field(code, "nodes", number)
    length_at = _field(code, "length", number)
    code.store("ptr", code.load("ptr", at), "%block")
    code.store("ptr", "%block", at)
    length = code.add(code.load("i64", length_at), "1")
    code.store("i64", length, length_at)
    recent = code.op2("and", "i64", length, str(RECENT - 1))
    freed = code.element(code.ptr_add("%ctx", OFFSET["freed0"]), "ptr", recent)
    code.store("ptr", code.load("ptr", freed), code.ptr_add("%block", 8))
    code.store("ptr", "%block", freed)
    count_live(code, -1)
    with code.when(code.icmp("eq", length, batch)):
        code.call("void", _give_back(code.module), [CTX, ("i64", number)])


def _give_back(module: Module) -> str:
    """void (ctx, class): the list is as long as a batch."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%class")], "void", attributes="noinline nounwind")
        spare = _field(code, "spare", "%class")
        old = code.load("ptr", spare)
        pool = _pool(code, "%class")
        with code.when(code.icmp("ne", old, "null", "ptr")):
            with code.when(_no_pool(code)):
                code.ret()
            got = _locked(code, pool)
            with code.when(code.op2("xor", "i1", got, "true")):
                code.ret()
            lists = code.ptr_add(pool, 8)
            # A list is linked to the next through the second word of its first block.
            code.store("ptr", code.load("ptr", lists), code.ptr_add(old, 8))
            code.store("ptr", old, lists)
            _unlock(code, pool)
        nodes = _field(code, "nodes", "%class")
        code.store("ptr", code.load("ptr", nodes), spare)
        code.store("ptr", "null", nodes)
        code.store("i64", "0", _field(code, "length", "%class"))
        code.ret()
        code.finish()

    return module.helper("hyb.give_back", make)


def _no_pool(code: Code) -> str:
    return code.icmp("eq", code.load("ptr", code.ptr_add("%ctx", OFFSET["pool"])), "null", "ptr")


def _refill(module: Module) -> str:
    """ptr (ctx, class, size, blocks of a batch, apart): a block, when the list is empty."""

    def make(name: str) -> None:
        params = [CTX, *(("i64", f"%{x}") for x in ("class", "size", "batch", "apart"))]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        spare_at = _field(code, "spare", "%class")
        take, fresh, ask, locked = (code.label(x) for x in ("take", "fresh", "ask", "locked"))
        found: list[tuple[str, str]] = []
        spare = code.load("ptr", spare_at)
        code.store("ptr", "null", spare_at)
        found.append((spare, code.here))
        code.branch(code.icmp("ne", spare, "null", "ptr"), take, ask)

        code.start(ask)
        pool = _pool(code, "%class")
        attempt = code.label("attempt")
        code.branch(_no_pool(code), fresh, attempt)
        code.start(attempt)
        code.branch(_locked(code, pool), locked, fresh)
        code.start(locked)
        lists = code.ptr_add(pool, 8)
        first = code.load("ptr", lists)
        with code.when(code.icmp("ne", first, "null", "ptr")):
            code.store("ptr", code.load("ptr", code.ptr_add(first, 8)), lists)
        _unlock(code, pool)
        found.append((first, code.here))
        code.branch(code.icmp("ne", first, "null", "ptr"), take, fresh)

        code.start(fresh)
        slab = code.call("ptr", "@malloc", [("i64", code.add(code.mul("%batch", "%size"), "%apart"))])
        with code.when(code.icmp("eq", slab, "null", "ptr")):
            no_memory(code)
            code.ret("null")
        made = code.ptr_add(slab, "%apart")
        last = code.sub("%batch", "1")
        with code.loop(last) as turn:
            at = code.ptr_add(made, code.mul(turn.index, "%size"))
            code.store("ptr", code.ptr_add(at, "%size"), at)
            code.store("ptr", at, code.ptr_add(at, 8))
        end = code.ptr_add(made, code.mul(last, "%size"))
        code.store("ptr", "null", end)
        code.store("ptr", end, code.ptr_add(end, 8))
        found.append((made, code.here))
        code.jump(take)

        code.start(take)
        block = code.phi("ptr", found)
        code.store("ptr", code.load("ptr", block), _field(code, "nodes", "%class"))
        code.store("i64", code.sub("%batch", "1"), _field(code, "length", "%class"))
        code.store("i64", "1", block)
        count_live(code, 1)
        code.ret(block)
        code.finish()

    return module.helper("hyb.refill", make)
