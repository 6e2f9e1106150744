"""Small functions that every object may contain: allocation, faults, the trace of call sites, the poll.

Each is made on first use (Module.helper) and is internal to the object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import llvmlite.binding as llvm

from hybridc.llvm.abi import OFFSET, TRACE_LENGTH, fault_code
from hybridc.llvm.code import Code
from hybridc.llvm.definitions import symbol
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Module
from hybridc.llvm.spares import keep_spare, take_spare

LIVE = symbol("hyb live")
"""Counted blocks that the host allocated, less those it freed; compiled code counts in its context."""
COLD = "cold noinline nounwind"
CTX = ("ptr", "%ctx")
LIMIT = 1 << 62


def context_field(code: Code, name: str) -> str:
    return code.ptr_add("%ctx", OFFSET[name])


def count_live(code: Code, change: int) -> None:
    """In code that has a context."""
    at = context_field(code, "live")
    code.store("i64", code.add(code.load("i64", at), str(change)), at)


def allocate(module: Module) -> str:
    """ptr (ctx, size): a counted block with count 1; without memory null, and the context holds the fault."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%size")], "ptr", attributes="noinline nounwind")
        block = code.call("ptr", "@malloc", [("i64", "%size")])
        with code.when(code.icmp("eq", block, "null", "ptr")):
            no_memory(code)
            code.ret("null")
        code.store("i64", "1", block)
        count_live(code, 1)
        code.ret(block)
        code.finish()

    return module.helper("hyb.allocate", make)


def no_memory(code: Code) -> None:
    """Note a MemoryError, in code that has a context."""
    code.call("void", set_fault(code.module), [CTX, ("i64", str(fault_code("MemoryError")))])


def allocate_buffer(module: Module, clear: bool, room: int = 0) -> str:
    """ptr (ctx, element size, count): a buffer with count 1, and `room` bytes after its elements; without memory null,
    and the context holds the fault."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%element"), ("i64", "%count")], "ptr", attributes="noinline nounwind")
        pair = code.call("{ i64, i1 }", "@llvm.umul.with.overflow.i64", [("i64", "%element"), ("i64", "%count")])
        size = code.ins(f"extractvalue {{ i64, i1 }} {pair}, 0")
        wrapped = code.ins(f"extractvalue {{ i64, i1 }} {pair}, 1")
        huge = code.op2("or", "i1", wrapped, code.icmp("ugt", size, str(LIMIT)))
        # More than there can be, so that malloc refuses.
        total = code.select(huge, "i64", str(LIMIT), code.add(size, str(HEADER + room)))
        kept, fresh, ready = code.label("kept"), code.label("fresh"), code.label("ready")
        spare = code.call("ptr", take_spare(module), [CTX, ("i64", total)])
        code.branch(code.icmp("ne", spare, "null", "ptr"), kept, fresh)
        code.start(kept)
        if clear:
            code.zero_bytes(code.ptr_add(spare, HEADER), code.sub(total, str(HEADER)))
        code.jump(ready)
        code.start(fresh)
        made = _memory(code, total, clear)
        with code.when(code.icmp("eq", made, "null", "ptr")):
            no_memory(code)
            code.ret("null")
        with code.when(code.icmp("uge", total, str(LARGE))):
            code.call("void", in_large_pages(module), [("ptr", made), ("i64", total)])
        after = code.here
        code.jump(ready)
        code.start(ready)
        block = code.phi("ptr", [(spare, kept), (made, after)])
        code.store("i64", "%count", code.ptr_add(block, 8))
        code.store("i64", "1", block)
        count_live(code, 1)
        code.ret(block)
        code.finish()

    return module.helper(("hyb.allocate_buffer" if clear else "hyb.allocate_buffer_raw", room), make)


SMALL = 1024
"""Bytes up to which memory is cleared by hand: the C library's calloc keeps no small blocks at hand, as its malloc
does."""


def _memory(code: Code, size: str, clear: bool) -> str:
    if not clear:
        return code.call("ptr", "@malloc", [("i64", size)])
    small, large, done = code.label("small"), code.label("large"), code.label("memory")
    code.branch(code.icmp("ule", size, str(SMALL)), small, large)
    code.start(small)
    block = code.call("ptr", "@malloc", [("i64", size)])
    with code.when(code.icmp("ne", block, "null", "ptr")):
        # Not the header too: LLVM would make a calloc of it.
        code.zero_bytes(code.ptr_add(block, HEADER), code.sub(size, str(HEADER)))
    after = code.here
    code.jump(done)
    code.start(large)
    cleared = code.call("ptr", "@calloc", [("i64", "1"), ("i64", size)])
    code.jump(done)
    code.start(done)
    return code.phi("ptr", [(block, after), (cleared, large)])


LARGE = 4 << 20
MAPPED = 32 << 20
"""From so many bytes on the C library maps each block on its own, which is full of zeros that were never written."""
PAGE = 4096
HUGE_PAGES, UNUSED = 14, 4
"""Linux's MADV_HUGEPAGE and MADV_DONTNEED."""


def in_large_pages(module: Module) -> str:
    """void (memory, size): ask the kernel for large pages, before memory of at least LARGE bytes is first touched: far
    fewer page faults, and far fewer misses when it is read here and there. Advice; what it answers does not matter."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%memory"), ("i64", "%size")], "void", attributes=COLD)
        start = code.convert("ptrtoint", "ptr", "%memory", "i64")
        # All its pages: the kernel moves only what is alike from end to end.
        first = code.op2("and", "i64", start, str(-PAGE))
        length = code.sub(code.add(start, "%size"), first)
        if "linux" in llvm.get_process_triple():
            at = code.convert("inttoptr", "i64", first, "ptr")
            code.call("i32", "@madvise", [("ptr", at), ("i64", length), ("i32", str(HUGE_PAGES))])
        code.ret()
        code.finish()

    return module.helper("hyb.in_large_pages", make)


def clear_pages(module: Module) -> str:
    """void (memory, size): zeros. On Linux whole pages take no memory until they are written: the kernel hears
    that what is in them is not needed, and then has zeros there. (As a rule nobody has touched them.)"""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%memory"), ("i64", "%size")], "void", attributes=COLD)
        if "linux" in llvm.get_process_triple():
            start = code.convert("ptrtoint", "ptr", "%memory", "i64")
            end = code.add(start, "%size")
            first = code.op2("and", "i64", code.add(start, str(PAGE - 1)), str(-PAGE))
            last = code.op2("and", "i64", end, str(-PAGE))
            with code.when(code.icmp("ult", first, last)):
                pages, rest = (code.convert("inttoptr", "i64", x, "ptr") for x in (first, last))
                args = [("ptr", pages), ("i64", code.sub(last, first)), ("i32", str(UNUSED))]
                with code.when(code.icmp("eq", code.call("i32", "@madvise", args), "0", "i32")):
                    code.zero_bytes("%memory", code.sub(first, start))
                    code.zero_bytes(rest, code.sub(end, last))
                    code.ret()
        code.zero_bytes("%memory", "%size")
        code.ret()
        code.finish()

    return module.helper("hyb.clear_pages", make)


def free_block(module: Module) -> str:
    """void (ctx, block): give back the memory of a counted block; what it held was released before."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void")
        count_live(code, -1)
        code.call("void", keep_spare(module), [CTX, ("ptr", "%block")])
        code.ret()
        code.finish()

    return module.helper("hyb.free", make)


def buffer_length(module: Module) -> str:
    """i64 (block): the length of a buffer, 0 for null."""

    def make(name: str) -> None:
        empty = module.empty()
        code = Code(module, name, [("ptr", "%block")], "i64", attributes="alwaysinline nounwind")
        block = code.select(code.icmp("eq", "%block", "null", "ptr"), "ptr", empty, "%block")
        code.ret(code.load("i64", code.ptr_add(block, 8)))
        code.finish()

    return module.helper("hyb.buffer_length", make)


# ---- faults
def _store_fault(code: Code) -> None:
    code.store("i64", "%kind", context_field(code, "fault"))
    code.store("i64", "0", context_field(code, "trace_len"))


def set_fault(module: Module) -> str:
    """void (ctx, kind): a fault without a message."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%kind")], "void", attributes=COLD)
        _store_fault(code)
        code.store("ptr", "null", context_field(code, "message"))
        code.ret()
        code.finish()

    return module.helper("hyb.set_fault", make)


def set_index_fault(module: Module) -> str:
    """void (ctx, kind, index, length)"""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%kind"), ("i64", "%a"), ("i64", "%b")], "void", attributes=COLD)
        _store_fault(code)
        code.store("i64", "%a", context_field(code, "a"))
        code.store("i64", "%b", context_field(code, "b"))
        code.store("ptr", "null", context_field(code, "message"))
        code.ret()
        code.finish()

    return module.helper("hyb.set_index_fault", make)


def _store_message(code: Code, block: str, size: str, count: str) -> None:
    code.store("ptr", block, context_field(code, "message"))
    code.store("i64", size, context_field(code, "message_size"))
    code.store("i64", count, context_field(code, "message_count"))


def set_text_fault(module: Module) -> str:
    """void (ctx, kind, str): takes the message over. The null buffer of an empty message becomes a static one, since
    null means that there is no message."""

    def make(name: str) -> None:
        empty = module.empty()
        params = [CTX, ("i64", "%kind"), ("ptr", "%bytes"), ("i64", "%size"), ("i64", "%count")]
        code = Code(module, name, params, "void", attributes=COLD)
        _store_fault(code)
        block = code.select(code.icmp("eq", "%bytes", "null", "ptr"), "ptr", empty, "%bytes")
        _store_message(code, block, "%size", "%count")
        code.ret()
        code.finish()

    return module.helper("hyb.set_text_fault", make)


MESSAGE_ROOM = 240


def set_formatted_fault(module: Module, numbers: int) -> str:
    """void (ctx, kind, format, i64...): the message is made by snprintf with %ld for each number (ASCII only)."""

    def make(name: str) -> None:
        args = [("i64", f"%n{i}") for i in range(numbers)]
        code = Code(module, name, [CTX, ("i64", "%kind"), ("ptr", "%format"), *args], "void", attributes=COLD)
        block = code.call("ptr", allocate(module), [CTX, ("i64", str(HEADER + MESSAGE_ROOM))])
        _store_fault(code)
        code.store("ptr", "null", context_field(code, "message"))
        with code.when(code.icmp("ne", block, "null", "ptr")):
            size = snprintf(code, code.ptr_add(block, HEADER), MESSAGE_ROOM, "%format", args)
            code.store("i64", size, code.ptr_add(block, 8))
            _store_message(code, block, size, size)
        code.ret()
        code.finish()

    return module.helper(("hyb.set_formatted_fault", numbers), make)


def snprintf(code: Code, target: str, room: int, format: str, args: list[tuple[str, str]]) -> str:
    """The number of bytes written, as i64."""
    code.module.declare("i32 @snprintf(ptr, i64, ptr, ...)")
    rest = "".join(f", {t} {v}" for t, v in args)
    written = code.ins(f"call i32 (ptr, i64, ptr, ...) @snprintf(ptr {target}, i64 {room}, ptr {format}{rest})")
    size = code.convert("sext", "i32", written, "i64")
    return code.call("i64", "@llvm.smin.i64", [("i64", size), ("i64", str(room - 1))])


def push_site(module: Module) -> str:
    """void (ctx, first, site): add a call site to the trace of a fault; `first` is where the function's sites begin in
    the table."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%first"), ("i64", "%own")], "void", attributes=COLD)
        site = code.add(code.load("i64", "%first"), "%own")
        length_at = context_field(code, "trace_len")
        length = code.load("i64", length_at)
        slot = code.call("i64", "@llvm.umin.i64", [("i64", length), ("i64", str(TRACE_LENGTH - 1))])
        code.store("i64", site, code.element(context_field(code, "trace"), "i64", slot))
        code.store("i64", code.add(length, "1"), length_at)
        code.ret()
        code.finish()

    return module.helper("hyb.push_site", make)


def flag_of(code: Code, context: str = "%ctx") -> str:
    """Where the host asks for a poll. It stays there during a call."""
    return code.load("ptr", code.ptr_add(context, OFFSET["flag"]))


def interrupt(code: Code, context: str = "%ctx") -> str:
    """i1: the host says that we are to stop; the context holds the fault."""
    return code.icmp("ne", code.call("i32", _poll(code.module), [("ptr", context)], SPARING), "0", "i32")


@contextmanager
def interrupted(code: Code, flag: str, context: str = "%ctx") -> Iterator[None]:
    """The poll of a kernel: what is done where it is to stop."""
    with code.when(code.icmp("ne", code.ins(f"load volatile i32, ptr {flag}"), "0", "i32")):
        with code.when(interrupt(code, context)):
            yield


SPARING = "preserve_mostcc"
"""The calling convention of what is hardly ever called: it keeps its caller's registers, which need not be saved where
it is not called."""


def _poll(module: Module) -> str:
    """i32 (ctx): ask the host whether to stop; nonzero after setting the fault."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "i32", convention=SPARING, attributes=COLD)
        callback = code.load("ptr", context_field(code, "poll"))
        stop = code.icmp("ne", code.call("i32", callback, [("ptr", "%ctx")]), "0", "i32")
        with code.when(stop):
            # The host may have said which exception it wants.
            unset = code.icmp("eq", code.load("i64", context_field(code, "fault")), "0")
            with code.when(unset):
                code.call("void", set_fault(module), [("ptr", "%ctx"), ("i64", str(fault_code("KeyboardInterrupt")))])
        code.ret(code.convert("zext", "i1", stop, "i32"))
        code.finish()

    return module.helper("hyb.poll", make)
