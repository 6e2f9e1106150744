"""Core's text: what is printed is read back the same, and whatever is read gives a program or a diagnostic."""

from __future__ import annotations

import math
import random

import pytest

from hybridc.base.source import Span
from hybridc.core.ir import BF16, F32, F64, INT, U8, Block, Const, Exit, Fn, Op, Program, StructDef, TensorT, Var
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from tests.core.generate import program_of
from tests.core.texts import parsed


def round_trip(program: Program) -> None:
    text = print_program(program)
    again, diagnostics = read(text)
    assert diagnostics == []
    assert again == program
    assert print_program(again) == text


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    round_trip(program_of(seed))


def test_strange_names_places_and_numbers() -> None:
    values = [
        Const(-(1 << 63), INT), Const(255, U8), Const(math.nan, F64), Const(-math.inf, F32), Const(-0.0, F64),
        Const(1e300, F64), Const(5e-324, F64), Const(0.1, BF16), Const(1e16, F64),
    ]  # fmt: skip
    attrs = (("a`b", (1, (), (2.5, "x\ny", True, None))), ("text", '"\\ü\u2028\ud800'), ("z", math.inf))
    spans = [Span("a b.hyb", 1, 2), Span("", 3, 4), Span("x/y-1.hyb", 5, 600), Span('q"', 0, 1)]
    x = Var(7, TensorT(F32, (3, None)), "if")
    names = ("", "list[int]", "a\nb", "inf")
    stmts = tuple(
        Op((Var(10 + i, INT, n),), "op", (v,), attrs, s)
        for i, (n, v, s) in enumerate(zip(names, values, spans, strict=False))
    )
    stmts += tuple(Op((), "op", (v, x), (), spans[0]) for v in values)
    fn = Fn("f[`x`, \"y\"]", (x,), (INT,), Block(stmts, Exit(0, (Const(3, INT),))), 'A."b"', True, spans[3])
    round_trip(Program({"struct": StructDef("struct", (("fn", INT), ("1", F64)))}, {}, {fn.name: fn}))


def test_the_negative_zero_is_kept() -> None:
    program = parsed("fn f() -> (f64) { exit 0 -0.0 }")
    (value,) = program.fns["f"].body.tail.values
    assert math.copysign(1.0, value.value) == -1.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("fn f() -> () { yield ; }", "HYB901", 21),
        ("fn f( -> () { yield }", "HYB902", 6),
        ("fn f() -> () { yield", "HYB902", 20),
        ('fn "t" f() -> () { yield }', "HYB902", 3),
        ('fn f "\\q"() -> () { yield }', "HYB903", 5),
        ("fn f(%1: int, %1: int) -> () { yield }", "HYB904", 14),
        ("fn f() -> () { yield } fn f() -> () { yield }", "HYB904", 23),
        ("fn f() -> () { yield %1 }", "HYB906", 21),
        ("fn f(x%1: int) -> (int) { yield y%1 }", "HYB906", 32),
        ("fn f(x%1: What) -> () { yield }", "HYB906", 10),
        ("fn f(x%1: int) -> () { a%2: int = add(a%2, 1) yield }", "HYB906", 38),
        ("fn f() -> () { " + "scope 1 { " * 3000, "HYB905", None),
        ("fn f() -> (" + "(" * 3000, "HYB905", None),
        ("fn f() -> (" + "buffer[" * 3000, "HYB905", None),
        ("fn f() -> (int" + "?" * 3000, "HYB905", None),
        ("fn f() -> () { op[a=" + "(" * 3000, "HYB905", None),
        ("fn f() -> (int) { yield " + "9" * 5000 + " }", "HYB903", 24),
        ("fn f() -> () { yield } extra", "HYB902", 23),
    ],
)
def test_mistakes(text: str, code: str, at: int | None) -> None:
    program, (diagnostic,) = read(text, "t.core")
    assert program is None
    assert diagnostic.code == code, diagnostic
    assert diagnostic.span.path == "t.core"
    if at is not None:
        assert diagnostic.span.start == at, diagnostic


def test_any_damage_is_a_program_or_a_diagnostic() -> None:
    rng = random.Random(1)
    text = print_program(program_of(3))[:6000]
    pieces = ["}", "{", "(", ")", "%1", "@a:1:2", "yield", "exit", "match", '"', "`", "?", "buffer[", "-", "1e", ","]
    for _ in range(300):
        at, more = rng.randrange(len(text)), rng.randrange(12)
        damaged = text[:at] + rng.choice(pieces) + text[at + more :]
        program, diagnostics = read(damaged)
        assert (program is None) == bool(diagnostics)
