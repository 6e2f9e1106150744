"""The reference interpreter: operators value by value, control, faults, and that every operator has a meaning."""

from __future__ import annotations

import math

import pytest

from hybridc.core.interp import InterpFault, Interpreter, str_text, str_value
from hybridc.core.interp_compile import MAX_LOOPS
from hybridc.core.interp_ops import MAKERS
from hybridc.core.ops import OPS
from hybridc.core.values import Buffer, Some
from hybridc.core.verify import verify
from tests.core.texts import parsed

STR = "struct str { bytes: buffer[u8], size: int, count: int }\n"
LOW, HIGH = -(1 << 63), (1 << 63) - 1
inf, nan = math.inf, math.nan


def run(text: str, *args: object, fn: str = "f", **options: object) -> tuple[object, ...]:
    program = parsed(STR + text)
    assert verify(program) == []
    return Interpreter(program, **options).call(fn, args)  # type: ignore[arg-type]


def apply(op: str, types: str, result: str, *args: object) -> object:
    """An operator on parameters."""
    kinds = types.split()
    params = ", ".join(f"%{i}: {t}" for i, t in enumerate(kinds, 1))
    names = ", ".join(f"%{i}" for i in range(1, len(kinds) + 1))
    (value,) = run(f"fn f({params}) -> ({result}) {{ r%99: {result} = {op}({names}) exit 0 r%99 }}", *args)
    return value


def test_every_operator_has_a_meaning() -> None:
    assert MAKERS.keys() == OPS.keys()


@pytest.mark.parametrize(
    ("op", "types", "result", "args", "wanted"),
    [
        ("add", "int int", "int", (HIGH, 1), LOW),
        ("sub", "int int", "int", (LOW, 1), HIGH),
        ("mul", "int int", "int", (1 << 62, 4), 0),
        ("add", "u8 u8", "u8", (250, 10), 4),
        ("sub", "u8 u8", "u8", (3, 10), 249),
        ("mul", "i32 i32", "i32", (1 << 30, 2), -(1 << 31)),
        ("neg", "int", "int", (LOW,), LOW),
        ("abs", "int", "int", (LOW,), LOW),
        ("floordiv", "int int", "int", (-7, 2), -4),
        ("floordiv", "int int", "int", (LOW, -1), LOW),
        ("mod", "int int", "int", (-7, 2), 1),
        ("mod", "int int", "int", (7, -2), -1),
        ("pow", "int int", "int", (3, 200), (pow(3, 200, 1 << 64) + (1 << 63)) % (1 << 64) - (1 << 63)),
        ("pow", "f64 f64", "f64", (0.0, -1.0), inf),
        ("shl", "int int", "int", (1, 63), LOW),
        ("shl", "int int", "int", (1, 64), 0),
        ("shr", "int int", "int", (-5, 1), -3),
        ("shr", "int int", "int", (-5, 70), -1),
        ("lshr", "int int", "int", (-1, 1), HIGH),
        ("lshr", "i32 i32", "i32", (-1, 28), 15),
        ("shr", "u8 u8", "u8", (200, 3), 25),
        ("mulhi", "int int", "int", (-1, -1), -2),
        ("ctz", "int", "int", (40,), 3),
        ("ctz", "int", "int", (0,), 64),
        ("ctz", "int", "int", (LOW,), 63),
        ("place", "int int", "int", (-1, 5), 4),
        ("bit_not", "u8", "u8", (1,), 254),
        ("bit_xor", "bool bool", "bool", (True, True), False),
        ("div", "f64 f64", "f64", (1.0, 0.0), inf),
        ("div", "f64 f64", "f64", (-1.0, 0.0), -inf),
        ("div", "f64 f64", "f64", (0.0, 0.0), nan),
        ("floordiv", "f64 f64", "f64", (-7.5, 2.0), -4.0),
        ("mod", "f64 f64", "f64", (-7.5, 2.0), 0.5),
        ("add", "f32 f32", "f32", (16777216.0, 1.0), 16777216.0),
        ("mul", "f32 f32", "f32", (3e38, 10.0), inf),
        ("add", "f16 f16", "f16", (65504.0, 100.0), inf),
        ("add", "bf16 bf16", "bf16", (1.0, 1 / 256), 1.0),
        ("minimum", "f64 f64", "f64", (nan, 1.0), nan),
        ("maximum", "f64 f64", "f64", (-0.0, 0.0), 0.0),
        ("sign", "f64", "f64", (-3.5,), -1.0),
        ("round", "f64", "f64", (2.5,), 2.0),
        ("round", "f64", "f64", (-0.4,), -0.0),
        ("floor", "f64", "f64", (-0.5,), -1.0),
        ("exp", "f64", "f64", (1000.0,), inf),
        ("log", "f64", "f64", (-1.0,), nan),
        ("log", "f64", "f64", (0.0,), -inf),
        ("sqrt", "f64", "f64", (-1.0,), nan),
        ("sigmoid", "f64", "f64", (-1000.0,), 0.0),
        ("cast", "f64", "int", (-3.9,), -3),
        ("cast", "f64", "int", (nan,), 0),
        ("cast", "f64", "u8", (300.0,), 255),
        ("cast", "int", "u8", (300,), 44),
        ("cast", "int", "f32", ((1 << 24) + 1,), 16777216.0),
        ("cast", "int", "f32", ((1 << 60) + (1 << 36) + 1,), float((1 << 60) + (1 << 37))),
        ("cast", "f64", "f16", (70000.0,), inf),
        ("cast", "f64", "bf16", (1.00390625,), 1.0),
        ("cast", "f64", "bf16", (3.4e38,), inf),
        ("cast", "f64", "bool", (nan,), True),
        ("bitcast", "f64", "int", (1.0,), 0x3FF0000000000000),
        ("bitcast", "i32", "f32", (0x40490FDB,), 3.1415927410125732),
        ("eq", "f64 f64", "bool", (nan, nan), False),
        ("ne", "f64 f64", "bool", (nan, nan), True),
        ("lt", "bool bool", "bool", (False, True), True),
    ],
)  # fmt: skip
def test_scalars(op: str, types: str, result: str, args: tuple, wanted: object) -> None:
    got = apply(op, types, result, *args)
    assert repr(got) == repr(wanted)


@pytest.mark.parametrize(
    ("op", "types", "result", "args", "message"),
    [
        ("floordiv", "int int", "int", (1, 0), "ZeroDivisionError: integer division or modulo by zero"),
        ("mod", "u8 u8", "u8", (1, 0), "ZeroDivisionError: integer division or modulo by zero"),
        ("pow", "int int", "int", (2, -1), "ValueError: negative power of an integer"),
        ("shl", "int int", "int", (2, -1), "ValueError: negative shift count"),
        ("cast[checked=true]", "f64", "int", (nan,), "ValueError: value out of range for int"),
        ("cast[checked=true]", "f64", "int", (9.3e18,), "ValueError: value out of range for int"),
        ("cast[checked=true]", "int", "i32", (1 << 31,), "ValueError: value out of range for i32"),
        ("buffer_new", "int", "buffer[int]", (-1,), "ValueError: negative length"),
        ("buffer_new", "int", "buffer[int]", (1 << 60,), "MemoryError: "),
    ],
)
def test_faults(op: str, types: str, result: str, args: tuple, message: str) -> None:
    with pytest.raises(InterpFault) as info:
        apply(op, types, result, *args)
    assert str(info.value) == message


def buffers(**values: list) -> dict[str, Buffer]:
    return {k: Buffer(list(v)) for k, v in values.items()}


def test_buffers_are_values() -> None:
    old = Buffer([1, 2, 3, 4, 5])
    assert apply("buffer_set", "buffer[int] int int", "buffer[int]", old, 1, 9) == Buffer([1, 9, 3, 4, 5])
    assert apply("buffer_move", "buffer[int] int int int", "buffer[int]", old, 1, 0, 3) == Buffer([0, 1, 2, 3, 5])
    assert apply("buffer_move", "buffer[int] int int int", "buffer[int]", old, 0, 2, 3) == Buffer([3, 4, 5, 0, 0])
    assert apply("buffer_resize", "buffer[int] int", "buffer[int]", old, 2) == Buffer([1, 2])
    assert apply("buffer_resize", "buffer[int] int", "buffer[int]", old, 7) == Buffer([1, 2, 3, 4, 5, 0, 0])
    copied = apply("buffer_copy", "buffer[int] int buffer[int] int int", "buffer[int]", old, 3, old, 0, 2)
    assert copied == Buffer([1, 2, 3, 1, 2])
    assert old == Buffer([1, 2, 3, 4, 5])


def test_old_versions_of_a_buffer_stay_as_they_were() -> None:
    versions = [Buffer([0] * 5)]
    for i in range(200):
        versions.append(versions[-1].put(i % 5, i))
    model = [0] * 5
    for i, version in enumerate(versions):
        assert version.items() == model, i
        if i < 200:
            model[i % 5] = i


def test_words() -> None:
    ints = Buffer([3, -1, 1 << 62, -1 << 63, 0, 7])
    assert apply("sort_words", "buffer[int] int", "buffer[int]", ints, 5).items() == [-1 << 63, -1, 0, 3, 1 << 62, 7]
    floats = Buffer([1.5, -2.0, -0.0, 0.0, -1.0])
    assert str(apply("sort_words", "buffer[f64] int", "buffer[f64]", floats, 5).items()) == "[-2.0, -1.0, -0.0, 0.0, 1.5]"
    assert apply("packs", "", "bool") is True


def test_bytes() -> None:
    def data(s: str) -> Buffer:
        return Buffer(list(s.encode()))

    assert apply("buffer_compare", "buffer[u8] buffer[u8] int", "int", data("abc"), data("abd"), 3) == -1
    assert apply("buffer_compare", "buffer[u8] buffer[u8] int", "int", data("abc"), data("abd"), 2) == 0
    words = Buffer([7, 0x61006161, 0, -1, 0x61, 0])
    assert apply("buffer_match", "buffer[i32] int u8", "int", words, 1, 0x61) == 0b1_0000_0000_1011
    assert apply("buffer_match", "buffer[i32] int u8", "int", words, 1, 255) == 0b1111_0000_0000
    assert apply("buffer_prefetch", "buffer[i32] int", "buffer[i32]", words, 99) == words
    find = ("buffer_find", "buffer[u8] int int buffer[u8] int", "int")
    assert apply(*find, data("banana"), 2, 6, data("an"), 2) == 3
    assert apply(*find, data("banana"), 2, 4, data("an"), 2) == -1
    assert apply(*find, data("banana"), 6, 6, data(""), 0) == 6
    outside = ("buffer_outside", "buffer[u8] int int u8 u8", "int")
    assert apply(*outside, data("ab1c"), 0, 4, ord("a"), ord("z")) == ~0b1011
    assert apply(*outside, data("ab1c"), 3, 4, ord("a"), ord("z")) == ~0b1
    assert apply(*outside, data("ab1c"), 0, 2, ord("a"), ord("z")) == ~0b11
    assert apply(*outside, data("a" * 70), 0, 70, ord("a"), ord("z")) == 0
    assert apply(*outside, data("a" * 63 + "1" * 7), 0, 70, ord("a"), ord("z")) == -(2**63)
    assert apply(*outside, data("1" * 63 + "a" * 7), 0, 70, ord("a"), ord("z")) == 2**63 - 1
    same = ("buffer_same", "buffer[u8] buffer[u8] int", "bool")
    assert apply(*same, data("abc"), data("abd"), 2) and not apply(*same, data("abc"), data("abd"), 3)
    parse = ("parse_float", "buffer[u8] int int", "f64?")
    assert apply(*parse, data("x-1.5e3y"), 1, 6) == Some(-1500.0)
    assert apply(*parse, data("1_0"), 0, 3) is None
    assert apply(*parse, data(".5"), 0, 2) == Some(0.5)


def test_words_of_texts() -> None:
    def key(text: str, seed: int = 0) -> tuple[object, ...]:
        data = text.encode()
        return run("fn f(b%1: buffer[u8], n%2: int, p%3: int, s%4: int) -> (int, int, int)"
                   " { h%5: int, x%6: int, y%7: int = text_key(b%1, n%2, p%3, s%4) exit 0 h%5, x%6, y%7 }",
                   Buffer(list(data + b"?")), len(data), len(text), seed)

    assert key("abc")[1:] == (0x636261, 3 << 56)
    assert key("\x7f" * 7 + "é\0~")[1:] == (0xC37F7F7F7F7F7F7F - (1 << 64), 0x0B000000007E00A9)
    assert key("x" * 15)[1:] == (0x7878787878787878, 0x0F78787878787878)
    assert key("é" * 8)[1:] == (16, -9)
    texts = ["", "\0", "a", "b", "ab", "ba", "abc", "abcdefgh", "abcdefghi", "abcdefg" * 2, "abcdefgh" * 2, "a" * 24]
    hashes = set()
    for text in texts:
        data = Buffer(list(text.encode()))
        assert run("fn f(b%1: buffer[u8], x%2: int, y%3: int) -> (buffer[u8], int, int)"
                   " { c%4: buffer[u8], n%5: int, p%6: int = kept_text(b%1, x%2, y%3) exit 0 c%4, n%5, p%6 }",
                   data, *key(text)[1:]) == (data, len(data), len(text))
        hashes |= {key(text, seed)[0] for seed in (0, 1)}
    assert len(hashes) == 2 * len(texts)


@pytest.mark.parametrize(
    ("x", "kind", "precision", "text"),
    [
        (0.1, "0", 0, "0.1"), (1e16, "0", 0, "1e+16"), (nan, "0", 0, "nan"), (3.0, "0", 0, "3.0"),
        (2.5, "f", 0, "2"), (1234.5, "e", 2, "1.23e+03"), (0.25, "%", 1, "25.0%"), (1e-5, "g", 6, "1e-05"),
    ],
)  # fmt: skip
def test_text_of_floats(x: float, kind: str, precision: int, text: str) -> None:
    code = 0 if kind == "0" else ord(kind)
    data, size = run(
        "fn f(x%1: f64, k%2: int, p%3: int) -> (buffer[u8], int)"
        " { b%4: buffer[u8], n%5: int = format_float(x%1, k%2, p%3) exit 0 b%4, n%5 }",
        x, code, precision,
    )  # fmt: skip
    assert bytes(data.items()[:size]).decode() == text  # type: ignore[attr-defined]


def test_host_services_happen_in_order() -> None:
    seen: list = []

    def host(name: str, args: tuple, types: tuple) -> tuple:
        seen.append((name, str_text(args[0]) if name == "print" else args))
        return () if name == "print" else (args[0] * 2,)

    text = """
fn f(x%1: int) -> (int) {
  s%2: str = str[text="é1"]()
  host[name="print"](s%2)
  y%3: int = host[name="twice"](x%1)
  host[name="print"](s%2)
  exit 0 y%3
}
"""
    assert run(text, 21, host=host) == (42,)
    assert seen == [("print", "é1"), ("twice", (21,)), ("print", "é1")]
    assert str_text(str_value("aü")) == "aü"


def test_faults_carry_the_call_chain() -> None:
    text = """
hidden fn lib(i%1: int) -> () { fault IndexError i%1, 3 @lib:1:2 }
fn g(i%1: int) -> () { call lib(i%1) @user:3:4 exit 0 }
fn f(i%1: int) -> () { loop 1 (j%2: int = 0) { call g(i%1) @user:5:6 yield j%2 } yield }
"""
    with pytest.raises(InterpFault) as info:
        run(text, 7)
    assert str(info.value) == "IndexError: index 7 is out of range for length 3"
    trace = [(f, s.path, s.start) for f, s in info.value.trace]
    assert trace == [("lib", "lib", 1), ("g", "user", 3), ("f", "user", 5)]


def test_depth_of_calls() -> None:
    text = """
fn f(n%1: int) -> (int) {
  c%2: bool = eq(n%1, 0)
  r%3: int = if c%2 { yield 0 } else {
    m%4: int = sub(n%1, 1)
    k%5: int = call f(m%4)
    q%6: int = add(k%5, 1)
    yield q%6
  }
  exit 0 r%3
}
"""
    assert run(text, 9999) == (9999,)
    with pytest.raises(InterpFault, match="RecursionError"):
        run(text, 10000)


@pytest.mark.parametrize("depth", [3, MAX_LOOPS + 3, 70])
def test_deep_blocks_and_exits_through_them(depth: int) -> None:
    """Loops within loops: the innermost leaves to the label it is told, counting the turns of the outermost."""
    head = "fn f(to%1: int) -> (int) {\n"
    lines, ident = [], 10
    for i in range(1, depth + 1):
        lines.append(f"v%{1000 + i}: int = loop {i} (t%{2000 + i}: int = 0) {{")
    lines.append(f"s%{ident}: int = add(t%2001, t%{2000 + depth})")
    for i in (0, 1, 2, depth):
        c = f"c%{ident + i + 1}"
        lines.append(f"{c}: bool = eq(to%1, {i}) if {c} {{ exit {i} {i + 100} }} else {{ yield }}")
    lines.append(f"n%9: int = add(t%{2000 + depth}, 1) yield n%9 }}")
    for i in range(depth - 1, 0, -1):
        d, t = f"d%{3000 + i}", f"t%{2000 + i}"
        lines.append(f"{d}: bool = ge({t}, 2) if {d} {{ exit {i} {t} }} else {{ yield }}")
        lines.append(f"n%{4000 + i}: int = add(t%{2000 + i}, 1) yield n%{4000 + i} }}")
    text = head + "\n".join(lines) + "\nexit 0 v%1001 }"
    assert run(text, 0) == (100,)
    assert run(text, 1) == (101,)
    assert run(text, 2) == (2,)
    if depth == 3:
        assert run(text, depth) == (2,)


def test_deep_branches() -> None:
    depth = 150
    text = "fn f(x%1: int) -> (int) {\n"
    for i in range(depth):
        text += f"c%{100 + i}: bool = eq(x%1, {i})\nr%{1000 + i}: int = if c%{100 + i} {{ yield {i * 7} }} else {{\n"
    text += "y%5: int = mod(1, 0) @deep:1:2\nyield y%5 }\n"
    for i in range(depth - 1, 0, -1):
        text += f"yield r%{1000 + i} }}\n"
    text += "exit 0 r%1000 }"
    assert [run(text, i) for i in (0, 77, depth - 1)] == [(0,), (539,), ((depth - 1) * 7,)]
    with pytest.raises(InterpFault) as info:
        run(text, depth)
    assert [s.path for _, s in info.value.trace] == ["deep"]
