"""Which loops passes/unswitch.py writes twice, and that programs mean the same."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import If, Loop, Program
from hybridc.core.verify import check_after
from hybridc.core.walk import calls, statements, with_body
from hybridc.passes import unswitch
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.texts import parsed

LOOP = """
fn far(n%1: int, i%2: int) -> (int, int) {{
  %3: int = mul(n%1, i%2)
  exit 0 %3, 2
}}

fn f(n%1: int, m%2: int) -> (int) {{
  s%20: int = loop 1 (i%3: int = 0, s%4: int = 0) {{
    %5: bool = lt(i%3, 5)
    if %5 {{ yield }} else {{ exit 1 s%4 }}
    {asked}
    a%7: int, b%8: int = if %6 {{
      {then}
    }} else {{
      {orelse}
    }}
    p%9: int = mul(a%7, b%8)
    t%10: int = add(s%4, p%9)
    j%11: int = add(i%3, 1)
    yield j%11, t%10
  }}
  exit 0 s%20
}}
"""
SAME, CALL = "%6: bool = eq(n%1, m%2)", "c%12: int, d%13: int = call far(n%1, i%3) yield c%12, d%13"


def looped(asked: str = SAME, then: str = "yield i%3, 1", orelse: str = CALL) -> Program:
    program = parsed(LOOP.format(asked=asked, then=then, orelse=orelse))
    return program


def loops(better: Program) -> list[Loop]:
    check_after("unswitch", better)
    return [s for s in statements(better.fns["f"].body) if isinstance(s, Loop)]


def versions(program: Program) -> list[int]:
    """How often each loop of `f` calls something, after the pass, and that it gives the same."""
    better = unswitch.run(program)
    for args in ((3, 3), (3, 4), (0, 0)):
        assert Interpreter(better).call("f", args) == Interpreter(program).call("f", args)
    fn = better.fns["f"]
    assert any(isinstance(s, If) for s in fn.body.stmts)
    return [sum(calls(with_body(fn, loop.body)).values()) for loop in loops(better)]


def test_a_call_that_no_turn_or_every_turn_makes() -> None:
    assert versions(looped()) == [0, 1]
    assert versions(looped(then=CALL, orelse="yield i%3, 1")) == [0, 1]
    assert versions(looped("k%14: int = add(n%1, 1) %6: bool = lt(k%14, m%2)")) == [0, 1]


def test_two_questions_are_one() -> None:
    more = """%30: bool = ne(m%2, 3)
    e%31: int, g%32: int = if %30 { h%33: int, l%34: int = call far(m%2, i%3) yield h%33, l%34 } else { yield 1, 1 }
    """
    assert versions(looped(more + SAME, then="yield e%31, g%32")) == [0, 2]


READ = """b%40: buffer[int] = buffer_new(9) c%41: buffer[int] = buffer_set(b%40, i%3, n%1)
      x%42: int = buffer_get(c%41, i%3) yield x%42, 1"""


def test_a_constant_where_the_other_way_reads_memory() -> None:
    assert versions(looped(then="yield 2, 3", orelse=READ)) == [0, 0]
    assert len(loops(unswitch.run(looped(then="yield i%3, 1", orelse=READ)))) == 1
    assert len(loops(unswitch.run(looped(then="yield 2, 3", orelse="x%42: int = add(i%3, 1) yield x%42, 1")))) == 1


@pytest.mark.parametrize("program", [
    looped("%6: bool = eq(n%1, i%3)"),  # a turn may find out otherwise
    looped(then="q%15: int = mul(i%3, 3) yield q%15, 1"),  # does something too
    looped(then="exit 0 s%4"),
    looped("u%16: int = floordiv(7, n%1) %6: bool = eq(u%16, m%2)", orelse="yield 1, 2"),
])  # fmt: skip
def test_loops_that_stay(program: Program) -> None:
    assert len(loops(unswitch.run(program))) == 1


@pytest.mark.parametrize("seed", range(900, 930))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    better = unswitch.run(program)
    check_after("unswitch", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(Interpreter(program, depth_limit=60).call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
