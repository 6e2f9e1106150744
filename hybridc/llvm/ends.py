"""From which end a matrix is read that a few rows are multiplied by.

Weights that are more than a cache holds, read from first to last at every call, are never found in it: each line is
put out shortly before it is needed again. So a product goes over the rows of a matrix from the end where the
one before it ended. For each of ENDS places that matrices share by their addresses a context says which that is; what
it says changes the order in which results are written, and none of their bits.
"""

from __future__ import annotations

from hybridc.llvm.abi import ENDS, OFFSET
from hybridc.llvm.code import Code
from hybridc.llvm.module import Module
from hybridc.llvm.support import CTX

LEAST = 1 << 15
"""Bytes of a matrix, which with others may be more than the first cache holds."""
MIX = 0x9E3779B1


def end_of(code: Code, matrix: str, size: str) -> str:
    """i64: 1 where a matrix of so many bytes is to be read from its last row to the first, 0 from the first one on."""
    return code.call("i64", _end(code.module), [CTX, ("ptr", matrix), ("i64", size)])


def _end(module: Module) -> str:
    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%matrix"), ("i64", "%size")], "i64")
        with code.when(code.icmp("slt", "%size", str(LEAST))):
            code.ret("0")
        key = code.op2("lshr", "i64", code.convert("ptrtoint", "ptr", "%matrix", "i64"), "6")
        number = code.op2("and", "i64", code.op2("lshr", "i64", code.mul(key, str(MIX)), "24"), str(ENDS - 1))
        place = code.ptr_add(code.ptr_add("%ctx", OFFSET["ends0"]), number)
        end = code.load("i8", place)
        code.store("i8", code.op2("xor", "i8", end, "1"), place)
        code.ret(code.convert("zext", "i8", end, "i64"))
        code.finish()

    return module.helper("hyb.end", make)


def turned(code: Code, back: str, at: str, last: str, start: str = "0") -> str:
    """The place, of those from `start` to `last`, that comes in the turn of place `at`."""
    opposite = code.sub(code.add(last, start), at)
    return code.select(code.icmp("eq", back, "0"), "i64", at, opposite)
