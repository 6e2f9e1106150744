"""Floats to text and back, against Python."""

from __future__ import annotations

import ctypes
import random
import struct

import numpy as np
import pytest

from hybridc.core.builder import Builder
from hybridc.core.ir import F32, F64, INT, U8, BufferT, Fn, OptionT, Program, Yield
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Context, Loaded

I64, F64C, PTR = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
TEXT = BufferT(U8)


@pytest.fixture(scope="module")
def jit() -> Loaded:
    b = Builder()
    x, kind, precision = b.var(F64), b.var(INT), b.var(INT)
    b.open()
    outs = b.ops("format_float", (x, kind, precision), (TEXT, INT))
    show = Fn("show", (x, kind, precision), (TEXT, INT), b.close(Yield(outs)))
    b = Builder()
    y = b.var(F32)
    b.open()
    outs = b.ops("format_float32", (y,), (TEXT, INT))
    show32 = Fn("show32", (y,), (TEXT, INT), b.close(Yield(outs)))
    b = Builder()
    text, start, n = b.var(TEXT), b.var(INT), b.var(INT)
    b.open()
    read = Fn(
        "read",
        (text, start, n),
        (OptionT(F64),),
        b.close(Yield((b.op("parse_float", (text, start, n), OptionT(F64)),))),
    )
    program = Program(fns={f.name: f for f in (show, show32, read)})
    return Loaded(compile_program(program, list(program.fns), (TEXT,)))


def take(jit: Loaded, block: int, size: int) -> str:
    text = ctypes.string_at(block + 16, size).decode()
    value = PTR(block)
    jit.release("hyb release buffer[u8]", ctypes.addressof(value), Context())
    assert jit.live == 0
    return text


def show(jit: Loaded, x: float, kind: str = "\0", precision: int = 6) -> str:
    return take(jit, *jit.scalars("show", [(F64C, x), (I64, ord(kind)), (I64, precision)], [PTR, I64]))


def test_the_shortest_text(jit):
    some = random.Random(1)
    bits = [struct.unpack("d", struct.pack("Q", some.getrandbits(64)))[0] for _ in range(2000)]
    plain = [0.0, -0.0, 1.0, -1.5, 0.1, 1e16, 1e15, 123456789012345680.0, 0.0001, 0.00001, 5e-324, 1e22, 100.0]
    rounded = [round(some.uniform(-1000, 1000), some.randrange(6)) for _ in range(500)]
    powers = [2.0**k for k in range(-1074, 1024, 7)] + [7.120236347223045e-307]
    tiny = [5e-324 * some.getrandbits(20) for _ in range(100)]
    for x in [*bits, *plain, *rounded, *powers, *tiny, float("inf"), -float("inf"), float("nan")]:
        assert show(jit, x) == repr(x)


def test_the_shortest_text_of_a_single(jit):
    some = random.Random(2)
    numbers = [np.uint32(some.getrandbits(32)).view(np.float32) for _ in range(2000)]
    for x in [*numbers, *map(np.float32, (0.1, 1.0, 1e15, 1e16, 3e-5, 1.2379401e27, 1e-45))]:
        text = take(jit, *jit.scalars("show32", [(ctypes.c_float, float(x))], [PTR, I64]))
        if np.isfinite(x):
            assert np.float32(float(text)) == x
            digits = np.format_float_scientific(x, unique=True, trim="-")
            assert float(text) == float(digits), (text, digits)
            assert text == repr(float(digits))
        else:
            assert text == str(float(x))


@pytest.mark.parametrize("kind", "efg%")
@pytest.mark.parametrize("precision", [0, 1, 6, 20])
def test_formats(jit, kind, precision):
    for x in (0.0, -0.0, 1.0, 0.125, 2.5, -1234567.891, 1e300, 1e-300, 0.045, float("inf"), float("nan")):
        assert show(jit, x, kind, precision) == format(x, f".{precision}{kind}")


@pytest.mark.parametrize("text", ["1", "-1.5e3", "+.5", "inf", "-Infinity", "nan", "1e400", "5.", "007"])
def test_what_is_a_number(jit, text):
    assert repr(read(jit, text)) == repr(float(text))


@pytest.mark.parametrize(
    "text", ["", "0x10", "1p3", "1_000", " 1", "1e", "infin", "nan(1)", "1 2", "é", "--1", "1e5.5"]
)
def test_what_is_none(jit, text):
    assert read(jit, text) is None


def read(jit: Loaded, text: str) -> float | None:
    data = b"?" + text.encode()
    block = (ctypes.c_char * (16 + len(data)))()
    struct.pack_into("qq", block, 0, -1, len(data))
    block[16:] = data
    has, value = jit.scalars(
        "read", [(PTR, ctypes.addressof(block)), (I64, 1), (I64, len(data) - 1)], [ctypes.c_bool, F64C]
    )
    return value if has else None
