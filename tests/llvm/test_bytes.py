"""Hashing, comparing and searching bytes: as the interpreter does, wherever they lie, and without reading what is not there."""

from __future__ import annotations

import ctypes
import mmap
import random

import pytest

from hybridc.core.builder import Builder
from hybridc.core.interp_ops import buffer_outside, text_hash, text_words, words_text
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
    words = b.ops("text_words", (text, n, points), (INT, INT))
    found = b.op("text_hash", (text, *words, seed), INT)
    hashed = Fn("hashed", (text, n, points, seed), (INT, INT, INT), b.close(Yield((*words, found))))
    b = Builder()
    x, y = b.var(INT), b.var(INT)
    b.open()
    text = b.op("words_text", (x, y), TEXT)
    spelled = Fn("spelled", (x, y), (TEXT,), b.close(Yield((text,))))
    b = Builder()
    one, other, n = b.var(TEXT), b.var(TEXT), b.var(INT)
    b.open()
    same = Fn("same", (one, other, n), (BOOL,), b.close(Yield((b.op("buffer_same", (one, other, n), BOOL),))))
    b = Builder()
    text, start, n = b.var(TEXT), b.var(INT), b.var(INT)
    b.open()
    found = b.op("buffer_outside", (text, start, n, *map(byte, LETTERS)), INT)
    outside = Fn("outside", (text, start, n), (INT,), b.close(Yield((found,))))
    program = Program(fns={f.name: f for f in (hashed, spelled, same, outside)})
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
def test_words_and_hashes(jit: Loaded, page: int, n: int) -> None:
    some = random.Random(n)
    data = some.randbytes(n)
    words = text_words(Buffer(list(data)), n, n // 2)
    for seed in (0, 1, -5, 2**62):
        wanted = [*words, text_hash(Buffer(list(data)), *words, seed)]
        for end in (page + 2 * PAGE, page + PAGE, page + PAGE + 1, page + PAGE + 9, page + 1000):
            # What comes after them does not count.
            for more in (b"", some.randbytes(7)):
                args = [(PTR, put(end, data + more)), (I64, n), (I64, n // 2), (I64, seed)]
                assert jit.scalars("hashed", args, [I64] * 3) == wanted


@pytest.mark.parametrize("n", range(16))
def test_texts_of_words(jit: Loaded, n: int) -> None:
    data = random.Random(n).randbytes(n)
    words = text_words(Buffer(list(data)), n, n)
    assert words_text(*words).items() == list(data)
    block = jit.scalars("spelled", [(I64, x) for x in words], [PTR])[0]
    assert ctypes.string_at(block, HEADER + n)[8:] == n.to_bytes(8, "little") + data


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
