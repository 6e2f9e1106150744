"""Passes keep the meaning of random programs, and do what they are for on small ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridc.core.interp import InterpFault, Interpreter
from hybridc.core.ir import Program
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.values import Buffer
from hybridc.core.verify import check_after, verify
from hybridc.passes import bounds, dce, inline, options, simplify
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.texts import parsed

PASSES = {
    "inline": inline.run, "simplify": simplify.run, "dce": dce.run, "bounds": bounds.run, "options": options.run,
}
PIPELINE = ("simplify", "inline", "options", "simplify", "dce", "simplify", "options", "dce", "bounds")


def optimised(program: Program) -> Program:
    for name in PIPELINE:
        program = PASSES[name](program)
        check_after(name, program)
    return program


@pytest.mark.parametrize("seed", [*range(200, 300), 5121, 6814])
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed, (10, 16, 24)[seed % 3] if seed > 5000 else 12)
    for i, name in enumerate(program.fns):
        program.fns[name] = replace(program.fns[name], hidden=i < 2)
    better = optimised(program)
    plain, fast = Interpreter(program, depth_limit=60), Interpreter(better, depth_limit=60)
    counting = Counting(own(better), depth_limit=60)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(plain.call, fn.name, args)
        if isinstance(expected, tuple) and expected[0] == "RecursionError":
            continue  # inlining uses up fewer calls
        assert outcome(fast.call, fn.name, args) == expected
        assert outcome(counting.run, fn.name, args) == expected


def after(text: str, *names: str) -> str:
    program = parsed(text)
    assert verify(program) == []
    for name in names:
        program = PASSES[name](program)
        check_after(name, program)
    return print_program(program)


def same_text(got: str, wanted: str) -> None:
    program = parsed(wanted)
    assert got == print_program(program)


def test_constants_and_branches() -> None:
    same_text(
        after(
            """
fn f(x%1: int) -> (int) {
  a%2: int = add(2, 3)
  c%3: bool = gt(a%2, 4)
  r%4: int = if c%3 { b%5: int = mul(x%1, 1) yield b%5 } else { fault ValueError }
  s%6: int = add(r%4, 0)
  exit 0 s%6
}
""",
            "simplify",
        ),
        "fn f(x%1: int) -> (int) { exit 0 x%1 }",
    )


def test_a_fault_is_not_folded_away() -> None:
    text = "fn f() -> (int) { a%1: int = floordiv(1, 0) exit 0 3 }"
    same_text(after(text, "simplify", "dce"), text)


def test_what_is_put_together_is_not_taken_apart() -> None:
    same_text(
        after(
            """
struct P { a: int, b: f64 }
enum E { A(x: int) B }
fn f(x%1: int, y%2: f64) -> (int, f64) {
  p%3: P = struct(x%1, y%2)
  o%4: P? = some(p%3)
  c%5: bool = is_some(o%4)
  r%6: f64 = if c%5 { q%7: P = unwrap(o%4) z%8: f64 = get[index=1](q%7) yield z%8 } else { yield 0.0 }
  e%9: E = enum[case="A"](x%1)
  s%10: int = match e%9 { A(v%11: int) { yield v%11 } B() { yield 0 } }
  exit 0 s%10, r%6
}
""",
            "simplify",
            "dce",
        ),
        "struct P { a: int, b: f64 } enum E { A(x: int) B } fn f(x%1: int, y%2: f64) -> (int, f64) { exit 0 x%1, y%2 }",
    )


FOUND = """
fn f(x%1: int, xs%2: buffer[f64]) -> (f64) {
  n%3: int = buffer_len(xs%2)
  o%4: f64? = scope 1 {
    gone%5: bool = ge(x%1, n%3)
    if gone%5 { none%6: f64? = none() exit 1 none%6 } else { yield }
    v%7: f64 = buffer_get(xs%2, x%1)
    some%8: f64? = some(v%7)
    yield some%8
  }
  there%9: bool = is_some(o%4)
  r%10: f64 = if there%9 { v%11: f64 = unwrap(o%4) yield v%11 } else { yield 0.5 }
  exit 0 r%10
}
"""


def test_an_option_that_is_only_looked_at_is_a_branch() -> None:
    same_text(
        after(FOUND, "options", "simplify", "dce"),
        """
fn f(x%1: int, xs%2: buffer[f64]) -> (f64) {
  n%3: int = buffer_len(xs%2)
  gone%5: bool = ge(x%1, n%3)
  %13: f64 = if gone%5 {
    %14: f64 = zero()
    yield %14
  } else {
    v%7: f64 = buffer_get(xs%2, x%1)
    yield v%7
  }
  r%10: f64 = if gone%5 { yield 0.5 } else { yield %13 }
  exit 0 r%10
}
""",
    )


def test_an_option_that_goes_elsewhere_stays() -> None:
    """Given away, or made by something that is no branch: another early end, or one that is decided further within."""
    kept = FOUND.replace("-> (f64)", "-> (f64, f64?)").replace("exit 0 r%10", "exit 0 r%10, o%4")
    text = after(kept, "options")
    assert "is_some(o%4)" in text and "scope" not in text
    twice = FOUND.replace("v%7: f64 = buffer_get", """low%15: bool = lt(x%1, 0)
    if low%15 { none%16: f64? = none() exit 1 none%16 } else { yield }
    v%7: f64 = buffer_get""")
    assert "scope 1" in after(twice, "options")
    within = FOUND.replace("gone%5: bool = ge", """scope 2 {
      low%15: bool = lt(x%1, 0)
      if low%15 { none%16: f64? = none() exit 1 none%16 } else { yield }
      yield
    }
    gone%5: bool = ge""")
    assert "scope 1" in after(within, "options")
    for text, args in ((FOUND, (3, 0)), (kept, (3, 0)), (twice, (3, 0, -1)), (within, (3, 0, -1))):
        before, later = (Interpreter(read(t)[0]) for t in (text, after(text, "options")))  # type: ignore[arg-type]
        for x in args:
            given = (x, Buffer([1.25, 2.5]))
            assert x == 0 or before.call("f", given)[0] == 0.5
            assert before.call("f", given) == later.call("f", given)


def test_dead_results_and_loop_parameters() -> None:
    same_text(
        after(
            """
fn f(n%1: int) -> (int) {
  a%2: int, b%3: int = loop 1 (i%4: int = 0, dead%5: int = 0, same%6: int = n%1) {
    c%7: bool = ge(i%4, same%6)
    if c%7 { exit 1 i%4, dead%5 } else { yield }
    j%8: int = add(i%4, 1)
    d%9: int = add(dead%5, j%8)
    yield j%8, d%9, same%6
  }
  exit 0 a%2
}
""",
            "simplify",
            "dce",
        ),
        """
fn f(n%1: int) -> (int) {
  a%2: int = loop 1 (i%4: int = 0) {
    c%7: bool = ge(i%4, n%1)
    if c%7 { exit 1 i%4 } else { yield }
    j%8: int = add(i%4, 1)
    yield j%8
  }
  exit 0 a%2
}
""",
    )


LIBRARY = """
hidden fn at(b%1: buffer[int], i%2: int) -> (int) @lib:0:9 {
  n%3: int = buffer_len(b%1) @lib:1:2
  c%4: bool = lt(i%2, n%3)
  if c%4 { yield } else { fault IndexError i%2, n%3 @lib:3:4 }
  x%5: int = buffer_get(b%1, i%2)
  exit 0 x%5
}
fn shown(i%1: int) -> (int) { r%2: int = mod(7, i%1) @user:5:6 exit 0 r%2 }
fn main(b%1: buffer[int], i%2: int) -> (int) @user:7:8 {
  x%3: int = call at(b%1, i%2) @user:10:20
  y%4: int = call shown(x%3) @user:30:40
  exit 0 y%4
}
"""


def test_inlined_library_code_faults_at_the_call() -> None:
    program = parsed(LIBRARY)
    inlined = dce.prune(inline.run(program), ["main"])
    check_after("inline", inlined)
    assert set(inlined.fns) == {"shown", "main"}
    for p in (program, inlined):
        seen = []
        for args in ([0], 5), ([1], 3):
            with pytest.raises(InterpFault) as info:
                Interpreter(p).call("main", [argument_buffer(args[0]), args[1]])
            trace = [(f, s.path, s.start) for f, s in info.value.trace if not p.fns[f].hidden]
            seen.append((str(info.value), trace))
        assert seen == [
            ("IndexError: index 5 is out of range for length 1", [("main", "user", 10)]),
            ("IndexError: index 3 is out of range for length 1", [("main", "user", 10)]),
        ]
        with pytest.raises(InterpFault) as info:
            Interpreter(p).call("main", [argument_buffer([0]), 0])
        assert [(f, s.start) for f, s in info.value.trace] == [("shown", 5), ("main", 30)]


def argument_buffer(items: list[int]) -> Buffer:
    return Buffer(list(items))
