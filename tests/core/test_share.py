"""What was computed before is not computed again, and programs mean the same."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Call, Op
from hybridc.core.reader import read
from hybridc.core.values import Buffer
from hybridc.core.verify import check_after
from hybridc.core.walk import statements
from hybridc.passes import share
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome


@pytest.mark.parametrize("seed", range(400, 440))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    plain = Interpreter(program, depth_limit=60)
    better = share.run(program)
    check_after("share", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(plain.call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
        assert outcome(Counting(own(better), depth_limit=60).run, fn.name, args) == expected


TEXT = """
struct str { bytes: buffer[u8], size: int, count: int }

fn place "place"(xs%1: buffer[int], x%2: int) -> (int) {
  %9: int = loop 1 (i%3: int = 0) {
    %4: int = buffer_get(xs%1, i%3)
    %5: bool = eq(%4, x%2)
    if %5 {
      exit 1 i%3
    } else {
      yield
    }
    %6: int = add(i%3, 1)
    yield %6
  }
  yield %9
}

fn shout "shout"(x%1: int) -> (int) {
  host[name="shout"](x%1)
  yield x%1
}

fn twice "twice"(xs%1: buffer[int], x%2: int) -> (int, f64, int) {
  %3: int = scope 1 {
    %4: int = call place(xs%1, x%2)
    %5: bool = lt(%4, 0)
    if %5 {
      exit 1 7
    } else {
      yield
    }
    yield %4
  }
  %6: int = call place(xs%1, x%2)
  %7: int = add(%3, %6)
  %8: f64 = div(1.0, 0.0)
  %9: f64 = div(1.0, -0.0)
  %10: f64 = add(%8, %9)
  %11: int = call shout(x%2)
  %12: int = call shout(x%2)
  %13: int = add(%11, %12)
  yield %7, %10, %13
}
"""


def test_calls_without_effects_are_shared() -> None:
    better = share.run(read(TEXT)[0])
    check_after("share", better)
    inside = list(statements(better.fns["twice"].body))
    called = [s.fn for s in inside if isinstance(s, Call)]
    assert called == ["place", "shout", "shout"]
    assert sum(isinstance(s, Op) and s.op == "div" for s in inside) == 2  # by 0.0 and by -0.0


PARTS = """
struct str { bytes: buffer[u8], size: int, count: int }

fn twice "twice"(s%1: str, t%2: str) -> (int) {
  %3: buffer[u8] = get[index=0](s%1)
  %4: int, %14: int, %24: int = text_key(%3, 0, 0, 1)
  %5: buffer[u8] = get[index=0](s%1)
  %6: int, %16: int, %26: int = text_key(%5, 0, 0, 1)
  %7: buffer[u8] = get[index=0](t%2)
  %8: int, %18: int, %28: int = text_key(%7, 0, 0, 1)
  %9: int = add(%4, %6)
  %10: int = add(%9, %8)
  yield %10
}
"""


def test_the_same_part_of_the_same_value_is_known_to_be() -> None:
    better = share.run(read(PARTS)[0])
    check_after("share", better)
    hashed = [s for s in statements(better.fns["twice"].body) if isinstance(s, Op) and s.op == "text_key"]
    assert len(hashed) == 2  # of s once, of t


BODIES = """
struct Body { x: f64, m: f64 }

fn moved "moved"(bs%1: buffer[Body], i%2: int, j%3: int) -> (f64, f64, f64) {
  %4: Body = buffer_get(bs%1, j%3)
  %5: f64 = get[index=1](%4)
  %6: buffer[Body], %7: Body = buffer_take(bs%1, i%2)
  %8: f64, %9: f64 = destruct(%7)
  %10: f64 = add(%8, %5)
  %11: Body = struct(%10, %9)
  %12: buffer[Body] = buffer_set(%6, i%2, %11)
  %13: Body = buffer_get(%12, j%3)
  %14: f64 = get[index=1](%13)
  %15: buffer[Body], %16: Body = buffer_take(%12, j%3)
  %17: f64, %18: f64 = destruct(%16)
  %19: Body = struct(%17, %17)
  %20: buffer[Body] = buffer_set(%15, j%3, %19)
  %21: Body = buffer_get(%20, i%2)
  %22: f64 = get[index=0](%21)
  %23: f64 = get[index=1](%21)
  exit 0 %14, %22, %23
}
"""


def test_parts_that_updates_leave_alone() -> None:
    """The mass of j is the same after i has moved; where things are is not, nor the mass that is overwritten."""
    program = read(BODIES)[0]
    better = share.run(program)
    check_after("share", better)
    left = [s for s in statements(better.fns["moved"].body) if isinstance(s, Op) and s.op == "get"]
    assert [s.attr("index") for s in left] == [1, 0, 1]
    for i, j in ((0, 0), (0, 1), (1, 0)):
        results = [Interpreter(p).call("moved", (Buffer([(1.0, 2.0), (4.0, 8.0)]), i, j)) for p in (program, better)]
        assert results[0] == results[1]
