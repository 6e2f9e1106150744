"""Blocks of enum values: free ones are kept in lists, by size, so that making and dropping nodes needs no malloc.

A context has for each class of sizes a list of free blocks (linked by their first word), its length, and a spare list.
A list that has grown to a batch becomes the spare one; the spare one before goes to the process's pool, where contexts
that have none look before they ask malloc for the memory of a batch. So blocks that one thread makes and another drops
come back. The pool is under a lock that nobody waits for: who does not get it at once goes on without.
The upper half of a pooled block's tag is 1: blocks that the host made are malloc's, and go back there. Buffers are not
pooled: they are reallocated, and the host frees some.
"""

from __future__ import annotations

from hybridc.llvm.abi import CLASSES, OFFSET
from hybridc.llvm.code import Code, Module
from hybridc.llvm.layout import HEADER
from hybridc.llvm.support import CTX, count_live, free_block, no_memory

POOLED = 1 << 32
"""Marks the tag of a block of the pool."""
STEP = 16
SLAB = 32768
"""Bytes of a batch."""


def size_class(payload: int) -> tuple[int, int]:
    """(class, bytes) of a block with so many bytes after its header; without a class it is -1."""
    number = max(-(-payload // STEP), 1) - 1
    return (number if number < CLASSES else -1), HEADER + STEP * (number + 1)


def _field(code: Code, name: str, number: int) -> str:
    return code.ptr_add("%ctx", OFFSET[f"{name}{number}"])


def _pool(code: Code, number: int) -> str:
    """The address of a class in the process's pool, which may be null."""
    return code.ptr_add(code.load("ptr", code.ptr_add("%ctx", OFFSET["pool"])), 16 * number)


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
        at = _field(code, "nodes", number)
        block = code.load("ptr", at)
        with code.when(code.icmp("eq", block, "null", "ptr")):
            code.ret(code.call("ptr", _refill(module, number, size), [CTX]))
        code.store("ptr", code.load("ptr", block), at)
        length = _field(code, "length", number)
        code.store("i64", code.sub(code.load("i64", length), "1"), length)
        code.store("i64", "1", block)
        count_live(code, 1)
        code.ret(block)
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
        at = _field(code, "nodes", number)
        length_at = _field(code, "length", number)
        code.store("ptr", code.load("ptr", at), "%block")
        code.store("ptr", "%block", at)
        length = code.add(code.load("i64", length_at), "1")
        code.store("i64", length, length_at)
        count_live(code, -1)
        with code.when(code.icmp("eq", length, str(SLAB // size))):
            code.call("void", _give_back(module, number), [CTX])
        code.ret()
        code.finish()

    return module.helper(("hyb.free_node", number), make)


def _give_back(module: Module, number: int) -> str:
    """void (ctx): the list is as long as a batch."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "void", attributes="noinline nounwind")
        spare = _field(code, "spare", number)
        old = code.load("ptr", spare)
        pool = _pool(code, number)
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
        nodes = _field(code, "nodes", number)
        code.store("ptr", code.load("ptr", nodes), spare)
        code.store("ptr", "null", nodes)
        code.store("i64", "0", _field(code, "length", number))
        code.ret()
        code.finish()

    return module.helper(("hyb.give_back", number), make)


def _no_pool(code: Code) -> str:
    return code.icmp("eq", code.load("ptr", code.ptr_add("%ctx", OFFSET["pool"])), "null", "ptr")


def _refill(module: Module, number: int, size: int) -> str:
    """ptr (ctx): a block, when the list is empty."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "ptr", attributes="noinline nounwind")
        spare_at = _field(code, "spare", number)
        take, fresh, ask, locked = (code.label(x) for x in ("take", "fresh", "ask", "locked"))
        found: list[tuple[str, str]] = []
        spare = code.load("ptr", spare_at)
        code.store("ptr", "null", spare_at)
        found.append((spare, code.here))
        code.branch(code.icmp("ne", spare, "null", "ptr"), take, ask)

        code.start(ask)
        pool = _pool(code, number)
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
        slab = code.call("ptr", "@malloc", [("i64", str(SLAB // size * size))])
        with code.when(code.icmp("eq", slab, "null", "ptr")):
            no_memory(code)
            code.ret("null")
        with code.loop(str(SLAB // size - 1)) as turn:
            at = code.ptr_add(slab, code.mul(turn.index, str(size)))
            code.store("ptr", code.ptr_add(at, size), at)
        code.store("ptr", "null", code.ptr_add(slab, (SLAB // size - 1) * size))
        found.append((slab, code.here))
        code.jump(take)

        code.start(take)
        block = code.phi("ptr", found)
        code.store("ptr", code.load("ptr", block), _field(code, "nodes", number))
        code.store("i64", str(SLAB // size - 1), _field(code, "length", number))
        code.store("i64", "1", block)
        count_live(code, 1)
        code.ret(block)
        code.finish()

    return module.helper(("hyb.refill", number), make)
