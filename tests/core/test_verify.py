"""The verifier: one broken program for each thing it must notice."""

from __future__ import annotations

import pytest

from hybridc.core.ir import INT, Block, Fn, Program, Var, Yield
from hybridc.core.reader import read
from hybridc.core.verify import CoreError, check_after, verify
from tests.core.texts import parsed

HEAD = """
struct str { bytes: buffer[u8], size: int, count: int }
enum E { A(x: int) B }
fn two(x%1: int, y%2: f64) -> (int, f64) { exit 0 x%1, y%2 }
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(x%1: int) -> (f64) { exit 0 x%1 }", "value 0 is int instead of f64"),
        ("(x%1: int) -> (int) { exit 0 }", "0 values instead of 1"),
        ("(x%1: int) -> (int) { exit 3 x%1 }", "no enclosing construct has label 3"),
        ("(x%1: int) -> (int) { a%2: int = add(x%1, 1.0) exit 0 a%2 }", "takes (int, int), not (int, f64)"),
        ("(x%1: int) -> (int) { a%2: f64 = add(x%1, 1) exit 0 x%1 }", "gives (int), not (f64)"),
        ("(x%1: int) -> (int) { a%2: int = frobnicate(x%1) exit 0 a%2 }", "no such operator"),
        ("(x%1: int) -> (int) { a%2: int = call nothing(x%1) exit 0 a%2 }", "no such function"),
        ("(x%1: int) -> (int) { a%2: int = call two(x%1, 1.0) exit 0 a%2 }", "1 results instead of 2"),
        ("(x%1: int) -> (int) { call two(x%1) exit 0 x%1 }", "1 values instead of 2"),
        ("(x%1: int) -> (int) { if x%1 { yield } else { yield } exit 0 x%1 }", "condition: value 0 is int"),
        ("(x%1: bool) -> (int) { y%2: int = if x%1 { yield 1 } else { yield } exit 0 y%2 }", "0 values instead of 1"),
        ("(x%1: bool) -> (int) { if x%1 { a%2: int = add(1, 2) yield } else { yield } exit 0 a%2 }", "not visible"),
        ("(x%1: bool) -> (int) { if x%1 { exit 0 1 } else { exit 0 2 } a%2: int = add(1, 2) yield }", "reached"),
        ("(x%1: bool) -> (int) { if x%1 { exit 0 1 } else { exit 0 2 } exit 0 3 }", "values after a statement"),
        ("() -> (int) { loop 1 () { yield } exit 0 1 }", "values after a statement"),
        ("(e%1: E) -> (int) { y%2: int = match e%1 { A(x%3: int) { yield 1 } } exit 0 y%2 }", "arms ['A'] for cases"),
        ("(e%1: E) -> () { match e%1 { B() { yield } A(x%3: int) { yield } } exit 0 }", "arms ['B', 'A']"),
        ("(e%1: E) -> () { match e%1 { A() { yield } B() { yield } } exit 0 }", "0 results instead of 1"),
        ("(e%1: E) -> () { match e%1 { A(x%3: f64) { yield } B() { yield } } exit 0 }", "is f64 instead of int"),
        ("(x%1: int) -> () { match x%1 { } exit 0 }", "the subject is no enum"),
        ("() -> (int) { r%1: int = loop 1 (i%2: int = 1.0) { exit 1 i%2 } exit 0 r%1 }", "is f64 instead of int"),
        ("() -> (int) { r%1: int = loop 1 (i%2: int = 1) { exit 1 } exit 0 r%1 }", "0 values instead of 1"),
        ("() -> () { scope 1 { exit 1 } scope 1 { exit 1 } exit 0 }", "label 1 is used twice"),
        ("() -> () { p%1: buffer[int] = parallel i%2: int < 3 { exit 0 } exit 0 }", "no enclosing construct has label"),
        ("() -> () { p%1: buffer[int] = parallel i%2: int < 3 { yield 1.0 } exit 0 }", "is f64 instead of int"),
        ("() -> () { p%1: int = parallel i%2: int < 3 { yield 1 } exit 0 }", "the result is a buffer"),
        ("() -> () { fault Nonsense }", "no kind of fault"),
        ("() -> () { fault ValueError 1 }", "the values of a fault"),
        ("() -> () { fault ValueError 1, 2 }", "the values of a fault"),
        ("() -> (u8) { exit 0 u8(256) }", "256 is no u8"),
        ("() -> (f64) { exit 0 f64(1) }", "1 is no f64"),
        ("(t%1: (int, f64)) -> () { x%2: int = get[index=1](t%1) exit 0 }", "gives (f64), not (int)"),
        ("(t%1: (int, f64)) -> () { x%2: int = get[index=2](t%1) exit 0 }", "has index 2"),
        ('() -> () { x%2: E = enum[case="C"]() exit 0 }', "has case 'C'"),
        ("(b%1: buffer[int]) -> () { x%2: f64 = buffer_get(b%1, 0) exit 0 }", "gives (int), not (f64)"),
        ("(b%1: buffer[int]) -> () { x%2: buffer[int] = select(true, b%1, b%1) exit 0 }", "holds counted memory"),
    ],
)
def test_is_refused(body: str, message: str) -> None:
    program = parsed(HEAD + "fn f" + body)
    errors = verify(program)
    assert errors and all(e.startswith("f, ") for e in errors)
    assert any(message in e for e in errors), errors


def test_dimensions_are_knowledge() -> None:
    program, _ = read("fn f(x%1: f32[3]) -> (f32[?]) { exit 0 x%1 } fn g(x%1: f32[?]) -> (f32[4]) { exit 0 x%1 }")
    assert program is not None and verify(program) == []


def test_assigned_twice_and_unknown_types() -> None:
    x = Var(1, INT)
    program = Program(fns={"f": Fn("f", (x, x), (), Block((), Yield()))})
    assert verify(program) == ["f, its header: %1 is assigned twice"]
    program, _ = read("struct A { b: B } struct B { a: A? }")
    assert program is not None and verify(program) == ["struct A: contains itself"]
    with pytest.raises(CoreError, match="after dance:\nstruct A: contains itself"):
        check_after("dance", program)


CALLS = """
struct P { a: int, b: int }
fn low "low"(x%1: int) -> (int) { exit 0 x%1 }
fn high "high"(x%1: int) -> (int) { y%2: int = call low(x%1) exit 0 y%2 }
fn made "made"(x%1: int) -> (P) { p%2: P = struct(x%1, x%1) exit 0 p%2 }
"""


def changed(**others: str) -> tuple[Program, Program]:
    """The program, and one with other declarations where the rest is the same objects; "" for none."""
    good, _ = read(CALLS)
    assert good is not None and verify(good) == []
    new = Program(dict(good.structs), dict(good.enums), dict(good.fns))
    for name, text in others.items():
        found = read("\n".join(line for line in CALLS.splitlines() if f" {name} " not in line) + "\n" + text)[0]
        assert found is not None
        for mine, theirs in ((new.structs, found.structs), (new.fns, found.fns)):
            mine.pop(name, None)  # type: ignore[attr-defined]
            if name in theirs:
                mine[name] = theirs[name]  # type: ignore[index]
    return good, new


@pytest.mark.parametrize(("others", "message"), [
    ({"low": 'fn low "low"(x%1: int) -> (f64) { exit 0 x%1 }'}, "value 0 is int instead of f64"),
    ({"low": 'fn low "low"(x%1: f64) -> (int) { exit 0 2 }'}, "high"),
    ({"low": ""}, "no such function"),
    ({"P": "struct P { a: int, b: f64 }"}, "made"),
])
def test_what_was_good_before(others: dict[str, str], message: str) -> None:
    """Only what changed is looked at, and what it changes for others."""
    good, new = changed(**others)
    assert any(message in e for e in verify(new, good)) and verify(new, good) == verify(new)
    same, other = changed(low='fn low "low"(x%1: int) -> (int) { y%2: int = add(x%1, 1) exit 0 y%2 }')
    assert verify(other, same) == []
