"""Hashing, comparing and searching bytes: as the interpreter does, wherever they lie, and without reading what is not there."""

from __future__ import annotations

import ctypes
import mmap
import random

import pytest

from hybridc.core.builder import Builder, integer
from hybridc.core.interp_ops import buffer_outside, kept_text, text_key
from hybridc.core.ir import BOOL, INT, U8, BufferT, Const, Fn, Program, Yield
from hybridc.core.values import Buffer
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded
from hybridc.llvm.support import PAGE

I64, PTR = ctypes.c_int64, ctypes.c_void_p
TEXT = BufferT(U8)
HEADER = 16
NONE, READ_WRITE = 0, 3


LETTERS = (ord("a"), ord("y"))


def byte(x: int) -> Const:
    return Const(x, U8)


@pytest.fixture(scope="module")
def jit() -> Loaded:
    b = Builder()
    text, n, points, seed = b.var(TEXT), b.var(INT), b.var(INT), b.var(INT)
    b.open()
    found = b.ops("text_key", (text, n, points, seed), (INT, INT, INT))
    key = Fn("key", (text, n, points, seed), (INT, INT, INT), b.close(Yield(tuple(found))))
    b = Builder()
    far, x, y = b.var(TEXT), b.var(INT), b.var(INT)
    b.open()
    found = b.ops("kept_text", (far, x, y), (TEXT, INT, INT))
    kept = Fn("kept", (far, x, y), (TEXT, INT, INT), b.close(Yield(tuple(found))))
    b = Builder()
    far, x, y, n = b.var(TEXT), b.var(INT), b.var(INT), b.var(INT)
    b.open()
    looked, *sizes = b.ops("kept_text", (far, x, y), (TEXT, INT, INT))
    first = b.op("buffer_outside", (looked, integer(0), n, *map(byte, LETTERS)), INT)
    found = (first, b.op("buffer_len", (looked,), INT), *sizes)
    seen = Fn("seen", (far, x, y, n), (INT,) * 4, b.close(Yield(found)))
    b = Builder()
    one, other, n = b.var(TEXT), b.var(TEXT), b.var(INT)
    b.open()
    same = Fn("same", (one, other, n), (BOOL,), b.close(Yield((b.op("buffer_same", (one, other, n), BOOL),))))
    b = Builder()
    text, start, n = b.var(TEXT), b.var(INT), b.var(INT)
    b.open()
    found = b.op("buffer_outside", (text, start, n, *map(byte, LETTERS)), INT)
    outside = Fn("outside", (text, start, n), (INT,), b.close(Yield((found,))))
    program = Program(fns={f.name: f for f in (key, kept, seen, same, outside)})
    return Loaded(compile_program(program, list(program.fns), (TEXT,)))


@pytest.fixture(scope="module")
def page():
    """The address of three pages, of which the last is not there."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = mmap.mmap(-1, 3 * PAGE)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(PTR(at + 2 * PAGE), PAGE, NONE) == 0
    yield at
    libc.mprotect(PTR(at + 2 * PAGE), PAGE, READ_WRITE)


def put(end: int, data: bytes) -> int:
    """A buffer with these bytes, which nobody frees; the last one stands before `end`."""
    block = end - len(data) - HEADER
    ctypes.memmove(block, (-1).to_bytes(8, "little", signed=True) + len(data).to_bytes(8, "little") + data,
                   HEADER + len(data))
    return block


@pytest.mark.parametrize("n", [*range(36), 63, 64, 65, 100])
def test_keys(jit: Loaded, page: int, n: int) -> None:
    some = random.Random(n)
    data = some.randbytes(n)
    for seed in (0, 1, -5, 2**62):
        wanted = [*text_key(Buffer(list(data)), n, n // 2, seed)]
        for end in (page + 2 * PAGE, page + PAGE, page + PAGE + 1, page + PAGE + 9, page + 1000):
            # What comes after them does not count.
            for more in (b"", some.randbytes(7)):
                args = [(PTR, put(end, data + more)), (I64, n), (I64, n // 2), (I64, seed)]
                assert jit.scalars("key", args, [I64] * 3) == wanted


@pytest.mark.parametrize("n", [*range(19), 40])
def test_kept_texts(jit: Loaded, page: int, n: int) -> None:
    text = "".join(random.Random(n).choices("zé5€🙂\0", k=n))
    while len(text.encode()) > n:
        text = text[1:]
    data = text.encode().rjust(n)
    points = len(data.decode())
    far = put(page + PAGE, data if n > 15 else b"another text, which is long")
    _, *words = text_key(Buffer(list(data)), n, points, 0)
    args = [(PTR, far), *((I64, x) for x in words)]
    if n <= 15:
        kept, *sizes = kept_text(Buffer([]), *words)
        assert kept.items() == list(data) and sizes == [n, points]
    block, *sizes = jit.scalars("kept", args, [PTR, I64, I64])
    assert (block == far) == (n > 15) and sizes == [n, points]
    assert ctypes.string_at(block, HEADER + n)[8:] == n.to_bytes(8, "little") + data
    wanted = buffer_outside(Buffer(list(data)), 0, n, *LETTERS)
    assert jit.scalars("seen", [*args, (I64, n)], [I64] * 4) == [wanted, n, n, points]


@pytest.mark.parametrize("n", [*range(36), 100])
def test_comparisons(jit: Loaded, page: int, n: int) -> None:
    some = random.Random(n)
    data = some.randbytes(n)
    for end in (page + 2 * PAGE, page + PAGE + 3):
        one = put(end, data)
        for changed in [None, *range(n)]:
            other = bytearray(data + some.randbytes(5))
            if changed is not None:
                other[changed] ^= 1 << some.randrange(8)
            there = put(page + 1500, bytes(other))
            for x, y in ((one, there), (there, one)):
                assert jit.scalars("same", [(PTR, x), (PTR, y), (I64, n)], [ctypes.c_bool])[0] == (changed is None)


@pytest.mark.parametrize("n", [*range(36), 63, 64, 65, 100, 128, 129])
def test_bytes_outside(jit: Loaded, page: int, n: int) -> None:
    some = random.Random(n)
    for end in (page + 2 * PAGE, page + PAGE + 3):
        for most in (ord("y"), 255):
            data = bytes(some.randint(ord("a") - 1, most) for _ in range(n))
            block = put(end, data)
            for start in {0, n, n // 2, max(n - 64, 0), max(n - 17, 0)}:
                wanted = buffer_outside(Buffer(list(data)), start, n, *LETTERS)
                assert jit.scalars("outside", [(PTR, block), (I64, start), (I64, n)], [I64])[0] == wanted
    assert jit.scalars("outside", [(PTR, 0), (I64, 0), (I64, 0)], [I64])[0] == -1
