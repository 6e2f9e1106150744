"""Where values lie (passes/place.py): what loops carry and branches give stays on the device where kernels make it, and
goes to the host once where something there asks for it."""

from __future__ import annotations

import pytest

from hybridc.core.ir import Loop, Op, Program
from hybridc.core.verify import check_after, verify
from hybridc.core.walk import statements
from hybridc.passes import place
from tests.core.texts import parsed


def placed(text: str) -> Program:
    program = parsed(text)
    assert verify(program) == []
    better = place.run(program, everything=True)
    check_after("place", better)
    return better


def transfers(program: Program) -> tuple[list[str], list[str]]:
    """Within loops, and elsewhere."""
    fn = program.fns["f"]
    every = [s.op for s in statements(fn.body) if isinstance(s, Op) and s.op in ("to_host", "to_device")]
    turns = [i.op for s in statements(fn.body) if isinstance(s, Loop) for i in statements(s.body)
             if isinstance(i, Op) and i.op in ("to_host", "to_device")]
    for op in turns:
        every.remove(op)
    return turns, every


LOOP = """
fn f(x%1: f32[?], n%2: int) -> (f32[?]) {
  r%3: f32[?] = loop 1 (s%4: f32[?] = x%1, i%5: int = 0) {
    t%6: bool = lt(i%5, n%2)
    if t%6 {
      yield
    } else {
      exit 1 s%4
    }
    a%7: f32[?] = map[axes=((0,),), `fn`="exp"](s%4)
    j%8: int = add(i%5, 1)
    yield a%7, j%8
  }
  yield r%3
}
"""


def test_what_a_loop_carries() -> None:
    assert transfers(placed(LOOP)) == ([], ["to_device", "to_host"])


def test_what_the_host_reads_at_every_turn() -> None:
    """The host's own operator asks for it: nothing is gained by keeping it there."""
    text = LOOP.replace("    j%8", "    q%9: buffer[f32[?]] = buffer_new(1)\n"
                        "    w%10: buffer[f32[?]] = buffer_set(q%9, 0, s%4)\n    j%8")
    turns, others = transfers(placed(text))
    assert sorted(turns) == ["to_device", "to_host"] and others == []


def test_what_is_read_under_another_name() -> None:
    text = LOOP.replace("(s%4)\n    j%8", "(v%9)\n    j%8").replace(
        "    a%7", "    d%10: int = dim[axis=0](s%4)\n    v%9: f32[?] = reshape(s%4, d%10)\n    a%7")
    assert transfers(placed(text)) == ([], ["to_device", "to_host"])


def test_what_the_host_makes_at_every_turn() -> None:
    text = LOOP.replace("yield a%7, j%8", "yield x%1, j%8")
    turns, _ = transfers(placed(text))
    assert "to_host" not in turns


IF = """
fn f(x%1: f32[?], c%2: bool) -> (f32[?]) {
  r%3: f32[?], u%8: f32[?] = if c%2 {
    a%4: f32[?] = map[axes=((0,),), `fn`="exp"](x%1)
    yield a%4, a%4
  } else {
    b%5: f32[?] = map[axes=((0,),), `fn`="sin"](x%1)
    yield b%5, x%1
  }
  e%6: f32[?] = map[axes=((0,), (0,),), `fn`="add"](r%3, r%3)
  yield e%6
}
"""


def test_what_a_branch_gives() -> None:
    """One result is made by kernels both ways; the other one comes from the host, though it is the same variable."""
    turns, others = transfers(placed(IF))
    assert turns == [] and sorted(others) == ["to_device", "to_device", "to_host", "to_host"]


@pytest.mark.parametrize("index, views", [("1", 1), ("-1", 0), ("3", 0)])
def test_a_known_row_is_a_view(index: str, views: int) -> None:
    text = f"""
fn f(x%1: f32[3, ?]) -> (f32[?]) {{
  a%2: f32[3, ?] = map[axes=((0, 1,),), `fn`="exp"](x%1)
  b%3: f32[?] = index[kinds=("i", "",)](a%2, {index})
  c%4: f32[?] = map[axes=((0,),), `fn`="exp"](b%3)
  yield c%4
}}
"""
    program = placed(text)
    assert sum(isinstance(s, Op) and s.op == "tensor_view" for s in statements(program.fns["f"].body)) == views


def test_loops_within_loops() -> None:
    text = """
fn f(x%1: f32[?], n%2: int) -> (f32[?]) {
  r%3: f32[?] = loop 1 (s%4: f32[?] = x%1, i%5: int = 0) {
    t%6: bool = lt(i%5, n%2)
    if t%6 {
      yield
    } else {
      exit 1 s%4
    }
    k%11: f32[?] = loop 2 (p%12: f32[?] = s%4, h%13: int = 0) {
      t%14: bool = lt(h%13, i%5)
      if t%14 {
        yield
      } else {
        exit 2 p%12
      }
      a%15: f32[?] = map[axes=((0,),), `fn`="exp"](p%12)
      g%16: int = add(h%13, 1)
      yield a%15, g%16
    }
    j%8: int = add(i%5, 1)
    yield k%11, j%8
  }
  yield r%3
}
"""
    assert transfers(placed(text)) == ([], ["to_device", "to_host"])
