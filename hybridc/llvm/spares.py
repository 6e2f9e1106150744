"""Free buffers that a context keeps for the next ones of the same size, as the vectors of a training step are, turn
after turn. The C library's malloc keeps small blocks at hand, but few, and makes a list of its free blocks anew at each
larger one.

A context has a table of lists of free blocks (linked by their first word), each of one size as malloc has it. A block
whose place belongs to another size sends the blocks there back, and when all together are more than the context's
budget they all go back. A budget of 0, which contexts have that nobody clears up after, is malloc alone.
"""

from __future__ import annotations

from hybridc.llvm.abi import OFFSET, SPARES
from hybridc.llvm.code import Code
from hybridc.llvm.module import Module

LARGEST = 64 << 10
"""Bytes of a block that is kept: of larger ones malloc's part is small."""
CTX = ("ptr", "%ctx")


def _place(code: Code, size: str) -> str:
    """The address of the list for blocks of a size: its first block, and the size that it is of now. Sizes of up to two
    kilobytes have a place each, as the rows that a triangular loop makes need; larger ones share these."""
    number = code.op2("lshr", "i64", size, "4")
    number = code.op2("xor", "i64", number, code.op2("lshr", "i64", number, str(SPARES.bit_length() - 1)))
    number = code.op2("and", "i64", number, str(SPARES - 1))
    return code.ptr_add(code.ptr_add("%ctx", OFFSET["spare_block0"]), code.mul(number, "16"))


def _held(code: Code) -> str:
    return code.ptr_add("%ctx", OFFSET["held"])


def take_spare(module: Module) -> str:
    """ptr (ctx, size): a block for so many bytes that was kept, or null."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("i64", "%size")], "ptr")
        # As malloc rounds: its blocks are multiples of 16 bytes, 8 of which are its own.
        usable = code.sub(code.op2("and", "i64", code.add("%size", "23"), "-16"), "8")
        at = _place(code, usable)
        block = code.load("ptr", at)
        same = code.icmp("eq", code.load("i64", code.ptr_add(at, 8)), usable)
        with code.when(code.op2("and", "i1", same, code.icmp("ne", block, "null", "ptr"))):
            code.store("ptr", code.load("ptr", block), at)
            code.store("i64", code.sub(code.load("i64", _held(code)), usable), _held(code))
            code.ret(block)
        code.ret("null")
        code.finish()

    return module.helper("hyb.take_spare", make)


def keep_spare(module: Module) -> str:
    """void (ctx, block): keep a free block, or give it back."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void")
        budget = code.load("i64", code.ptr_add("%ctx", OFFSET["budget"]))
        size = code.call("i64", "@malloc_usable_size", [("ptr", "%block")])
        most = code.call("i64", "@llvm.umin.i64", [("i64", budget), ("i64", str(LARGEST))])
        with code.when(code.icmp("ugt", size, most)):
            code.call("void", "@free", [("ptr", "%block")])
            code.ret()
        at = _place(code, size)
        size_at = code.ptr_add(at, 8)
        with code.when(code.icmp("ne", code.load("i64", size_at), size)):
            code.call("void", _empty(module), [CTX, ("ptr", at)])
            code.store("i64", size, size_at)
        with code.when(code.icmp("ugt", code.add(code.load("i64", _held(code)), size), budget)):
            code.call("void", _empty_all(module), [CTX])
        code.store("i64", code.add(code.load("i64", _held(code)), size), _held(code))
        code.store("ptr", code.load("ptr", at), "%block")
        code.store("ptr", "%block", at)
        code.ret()
        code.finish()

    return module.helper("hyb.keep_spare", make)


def _empty(module: Module) -> str:
    """void (ctx, list): give a list's blocks back."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%list")], "void", attributes="noinline nounwind")
        size = code.load("i64", code.ptr_add("%list", 8))
        head, body, done = code.label("head"), code.label("body"), code.label("done")
        code.jump(head)
        code.start(head)
        block = code.load("ptr", "%list")
        code.branch(code.icmp("eq", block, "null", "ptr"), done, body)
        code.start(body)
        code.store("ptr", code.load("ptr", block), "%list")
        code.store("i64", code.sub(code.load("i64", _held(code)), size), _held(code))
        code.call("void", "@free", [("ptr", block)])
        code.jump(head)
        code.start(done)
        code.ret()
        code.finish()

    return module.helper("hyb.empty_spares", make)


def _empty_all(module: Module) -> str:
    """void (ctx): give all of them back."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "void", attributes="noinline nounwind")
        first = code.ptr_add("%ctx", OFFSET["spare_block0"])
        with code.loop(str(SPARES)) as turn:
            code.call("void", _empty(module), [CTX, ("ptr", code.ptr_add(first, code.mul(turn.index, "16")))])
        code.ret()
        code.finish()

    return module.helper("hyb.empty_all_spares", make)
