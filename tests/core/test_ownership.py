"""Retains and releases: right on random programs, and sparing where it matters."""

from __future__ import annotations

import pytest

from hybridc.core.interp import InterpFault, Interpreter
from hybridc.core.ir import INT, Op, Program
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.values import Buffer, EnumValue, Some
from hybridc.core.verify import verify
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.generate import BB, BOTH, NEST, PAIR, TREE, B, BufferT, OptionT, program_of
from tests.core.texts import parsed

PAIR_VALUE = (Buffer([1, 2]), 7, Buffer([3]))
TREE_VALUE = EnumValue(2, (EnumValue(1, (Buffer([4]),)), EnumValue(0, ()), PAIR_VALUE))


def argument(t: object) -> object:
    values = {
        INT: 2, B: Buffer([5, 6, 7]), BB: Buffer([Buffer([1]), Buffer([])]), PAIR: PAIR_VALUE, TREE: TREE_VALUE,
        BOTH: (Buffer([9]), 1), NEST: (PAIR_VALUE, TREE_VALUE), OptionT(B): Some(Buffer([8])),
        OptionT(PAIR): Some(PAIR_VALUE), BufferT(TREE): Buffer([TREE_VALUE]),
    }  # fmt: skip
    return values[t]  # type: ignore[index]


def outcome(run, name: str, args: list) -> object:
    try:
        return run(name, args)
    except InterpFault as fault:
        return fault.kind, fault.message


def compare(program: Program) -> None:
    owned = own(program)
    assert verify(owned.program) == []
    plain = Interpreter(program, depth_limit=60)
    counting = Counting(owned, depth_limit=60)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(plain.call, fn.name, args)
        assert outcome(counting.run, fn.name, args) == expected
        counting.check_empty()


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed: int) -> None:
    program = program_of(seed)
    assert verify(program) == [], print_program(program)
    compare(program)


HEAD = """
struct str { bytes: buffer[u8], size: int, count: int }
struct List { data: buffer[int], size: int }
struct Nested { data: buffer[List], size: int }
enum Tree { Nil Node(l: Tree, xs: List, r: Tree) }
fn push(self%1: List, x%2: int) -> (List) {
  n%3: int = get[index=1](self%1)
  data%4: buffer[int] = get[index=0](self%1)
  cap%5: int = buffer_len(data%4)
  full%6: bool = ge(n%3, cap%5)
  room%7: buffer[int] = if full%6 {
    more%8: int = add(n%3, 8)
    grown%9: buffer[int] = buffer_resize(data%4, more%8)
    yield grown%9
  } else {
    yield data%4
  }
  set%10: buffer[int] = buffer_set(room%7, n%3, x%2)
  m%11: int = add(n%3, 1)
  out%12: List = struct(set%10, m%11)
  exit 0 out%12
}
fn sum(self%1: List) -> (int) {
  data%2: buffer[int] = get[index=0](self%1)
  n%3: int = get[index=1](self%1)
  s%4: int = loop 1 (i%5: int = 0, t%6: int = 0) {
    done%7: bool = ge(i%5, n%3)
    if done%7 { exit 1 t%6 } else { yield }
    x%8: int = buffer_get(data%2, i%5)
    u%9: int = add(t%6, x%8)
    j%10: int = add(i%5, 1)
    yield j%10, u%9
  }
  exit 0 s%4
}
"""


def counted(text: str) -> Counting:
    program = parsed(HEAD + text)
    assert verify(program) == []
    return Counting(own(program))


def test_pushing_in_a_loop_is_in_place() -> None:
    c = counted("""
fn main(n%1: int) -> (List) {
  b%2: buffer[int] = buffer_new(0)
  l%3: List = struct(b%2, 0)
  r%4: List = loop 1 (i%5: int = 0, xs%6: List = l%3) {
    done%7: bool = ge(i%5, n%1)
    if done%7 { exit 1 xs%6 } else { yield }
    ys%8: List = call push(xs%6, i%5)
    t%9: int = call sum(ys%8)
    j%10: int = add(i%5, 1)
    yield j%10, ys%8
  }
  exit 0 r%4
}
""")
    ((data, size),) = c.run("main", [20])
    assert size == 20 and data.items()[:20] == list(range(20))  # type: ignore[attr-defined]
    assert c.owned.borrowed == {"push": (False, True), "sum": (True,), "main": (True,)}
    assert (c.copies, c.retains) == (0, 0)


def test_what_is_put_together_to_be_looked_at_is_not_counted() -> None:
    c = counted("""
fn look(l%1: List) -> (int) {
  s%2: int = call sum(l%1)
  exit 0 s%2
}
fn main(n%1: int) -> (List) {
  b%2: buffer[int] = buffer_new(4)
  d%3: buffer[int], m%4: int = loop 1 (i%5: int = 0, data%6: buffer[int] = b%2, last%7: int = 0) {
    done%8: bool = ge(i%5, n%1)
    if done%8 { exit 1 data%6, last%7 } else { yield }
    l%9: List = struct(data%6, 4)
    t%10: int = call look(l%9)
    x%11: int = add(t%10, 1)
    set%12: buffer[int] = buffer_set(data%6, i%5, x%11)
    j%13: int = add(i%5, 1)
    yield j%13, set%12, t%10
  }
  out%14: List = struct(d%3, m%4)
  exit 0 out%14
}
""")
    ((data, last),) = c.run("main", [4])
    assert (data.items(), last) == ([1, 2, 4, 8], 7)  # type: ignore[attr-defined]
    assert (c.copies, c.retains) == (0, 0)
    assert c.owned.borrowed["look"] == (True,)


def test_what_is_looked_at_keeps_its_parts() -> None:
    c = counted("""
fn main(l%1: List) -> (int, List) {
  data%2: buffer[int] = get[index=0](l%1)
  pair%3: (buffer[int], buffer[int]) = tuple(data%2, data%2)
  set%4: buffer[int] = buffer_set(data%2, 0, 50)
  old%5: buffer[int] = get[index=1](pair%3)
  x%6: int = buffer_get(old%5, 0)
  out%7: List = struct(set%4, 1)
  exit 0 x%6, out%7
}
""")
    x, (data, _) = c.run("main", [(Buffer([3]), 1)])
    assert x == 3 and data.items() == [50]  # type: ignore[attr-defined]


def test_an_element_of_a_buffer_that_stays_is_not_counted() -> None:
    """Though a part of it is kept, which is counted, and though it is looked at in an inner loop too."""
    c = counted("""
fn main(ts%1: buffer[Tree], n%2: int) -> (Tree, int) {
  nil%3: Tree = enum[case="Nil"]()
  r%4: Tree, s%5: int = loop 1 (i%6: int = 0, last%7: Tree = nil%3, s%8: int = 0) {
    done%9: bool = ge(i%6, n%2)
    if done%9 { exit 1 last%7, s%8 } else { yield }
    t%10: Tree = buffer_get(ts%1, i%6)
    l%11: Tree, m%12: int = match t%10 {
      Nil() { yield last%7, 0 }
      Node(l%13: Tree, xs%14: List, r%15: Tree) {
        m%16: int = loop 2 (j%17: int = 0, m%18: int = 0) {
          end%19: bool = ge(j%17, n%2)
          if end%19 { exit 2 m%18 } else { yield }
          u%20: Tree = buffer_get(ts%1, j%17)
          g%21: int = tag(u%20)
          more%22: int = add(m%18, g%21)
          k%23: int = add(j%17, 1)
          yield k%23, more%22
        }
        p%24: int = call sum(xs%14)
        q%25: int = add(m%16, p%24)
        yield l%13, q%25
      }
    }
    t%26: int = add(s%8, m%12)
    j%27: int = add(i%6, 1)
    yield j%27, l%11, t%26
  }
  exit 0 r%4, s%5
}
""")
    leaf = EnumValue(0, ())
    node = EnumValue(1, (leaf, (Buffer([5]), 1), EnumValue(0, ())))
    found, total = c.run("main", [Buffer([leaf, node, leaf]), 3])
    assert (found.tag, total) == (0, 6)  # type: ignore[attr-defined]
    assert c.retains == 1
    c.check_empty()


def test_an_element_taken_is_changed_in_place() -> None:
    c = counted("""
fn main(all%1: Nested, i%2: int) -> (Nested) {
  data%3: buffer[List] = get[index=0](all%1)
  n%4: int = get[index=1](all%1)
  rest%5: buffer[List], xs%6: List = buffer_take(data%3, i%2)
  ys%7: List = call push(xs%6, 5)
  back%8: buffer[List] = buffer_set(rest%5, i%2, ys%7)
  n2%9: int = get[index=1](all%1)
  out%10: Nested = struct(back%8, n2%9)
  exit 0 out%10
}
""")
    ((data, _),) = c.run("main", [(Buffer([(Buffer([0] * 4), 2)]), 1), 0])
    assert data == Buffer([(Buffer([0, 0, 5, 0]), 3)])
    assert c.copies == 0


def test_a_part_of_a_matched_value_is_changed_in_place() -> None:
    c = counted("""
fn grow(t%1: Tree) -> (Tree) {
  r%2: Tree = match t%1 {
    Nil() {
      yield t%1
    }
    Node(l%3: Tree, xs%4: List, r%5: Tree) {
      ys%6: List = call push(xs%4, 1)
      l2%7: Tree = call grow(l%3)
      r2%8: Tree = call grow(r%5)
      new%9: Tree = enum[case="Node"](l2%7, ys%6, r2%8)
      yield new%9
    }
  }
  exit 0 r%2
}
fn size(t%1: Tree) -> (int) {
  r%2: int = match t%1 {
    Nil() { yield 0 }
    Node(l%3: Tree, xs%4: List, r%5: Tree) {
      a%6: int = call size(l%3)
      b%7: int = call sum(xs%4)
      c%8: int = add(a%6, b%7)
      yield c%8
    }
  }
  exit 0 r%2
}
""")
    nil = EnumValue(0)
    tree = EnumValue(1, (nil, (Buffer([0] * 9), 0), EnumValue(1, (nil, (Buffer([0] * 9), 0), nil))))
    (grown,) = c.run("grow", [tree])
    assert grown.fields[1][1] == 1  # type: ignore[attr-defined]
    assert c.copies == 0
    assert c.owned.borrowed["grow"] == (False,)
    assert c.owned.borrowed["size"] == (True,)
    c.retains = 0
    assert c.run("size", [grown]) == (1,)
    assert c.retains == 0


LOOKED_AT = """
fn f(x%1: f32[?, ?], i%2: int) -> (f32) {
  %3: f32[?] = index[kinds=("i", "",)](x%1, i%2)
  %4: f32[?, ?] = index[kinds=("ab", "",)](x%1, 0, i%2)
  %5: f32[?] = index[kinds=("", "i",)](x%1, i%2)
  %6: f32 = reduce[axes=(0,), fn="sum"](%3)
  %7: f32 = reduce[axes=(0, 1,), fn="sum"](%4)
  %8: f32 = reduce[axes=(0,), fn="sum"](%5)
  %9: f32 = add(%6, %7)
  %10: f32 = add(%8, %9)
  yield %10
}

fn g(x%1: f32[?, ?], i%2: int) -> (f32, f32[?, ?]) {
  %3: f32[?] = index[kinds=("i", "",)](x%1, i%2)
  %4: f32[?, ?] = update[axes=(), kinds=("i", "i",)](x%1, f32(1.0), i%2, i%2)
  %5: f32 = reduce[axes=(0,), fn="sum"](%3)
  yield %5, %4
}
"""


def test_parts_that_lie_together_and_are_looked_at_are_no_copies() -> None:
    program, diagnostics = read(LOOKED_AT)
    assert not diagnostics
    owned = own(program).program
    made = {name: [s.op for s in fn.body.stmts if isinstance(s, Op)] for name, fn in owned.fns.items()}
    assert made["f"].count("part") == 2 and made["f"].count("index") == 1 and "retain" not in made["f"]
    assert "part" not in made["g"] and "retain" not in made["g"]  # what is written later is not held back


STEP = """
enum Moment { None Some(x: f32[?]) }
fn step(m%1: f32[?], s%2: Moment, g%3: f32[?]) -> (f32[?], Moment) {
  n%4: int = dim[axis=0](g%3)
  x%5: f32[?] = scope 1 {
    match s%2 {
      None() {
        z%6: f32[?] = broadcast[axes=(none,)](f32(0.0), n%4)
        exit 1 z%6
      }
      Some(x%7: f32[?]) { exit 1 x%7 }
    }
    yield
  }
  y%8: f32[?], p%9: f32[?] = fused {
    y%10: f32[?] = map[axes=((0,), (0,),), fn="add"](x%5, g%3)
    p%11: f32[?] = map[axes=((0,), (0,),), fn="sub"](m%1, y%10)
    yield y%10, p%11
  }
  t%12: Moment = enum[case="Some"](y%8)
  k%13: int = dim[axis=0](m%1)
  full%14: bool = eq(k%13, n%4)
  if full%14 { yield } else {
    e%15: str = str[text="sizes"]()
    fault ValueError e%15
  }
  exit 0 p%9, t%12
}
fn main(m%1: f32[?], g%2: f32[?], n%3: int) -> (f32[?]) {
  none%4: Moment = enum[case="None"]()
  h%30: f32[?] = map[axes=((0,),), fn="neg"](m%1)
  m%5: f32[?], s%6: Moment = loop 1 (i%7: int = 0, m%8: f32[?] = h%30, s%9: Moment = none%4) {
    done%10: bool = ge(i%7, n%3)
    if done%10 { exit 1 m%8, s%9 } else { yield }
    p%11: f32[?], t%12: Moment = call step(m%8, s%9, g%2)
    j%13: int = add(i%7, 1)
    yield j%13, p%11, t%12
  }
  d%14: f32[?] = map[axes=((0,),), fn="neg"](g%2)
  p%15: f32[?], t%16: Moment = call step(m%5, s%6, d%14)
LATER
  exit 0 p%15
}
"""


@pytest.mark.parametrize(("later", "keeps"), [
    ("", (False, False, True)),
    ("  p%20: f32[?] = map[axes=((0,), (0,),), fn=\"add\"](m%5, p%15)", (True, False, True)),
    ("  x%20: f32[?] = index[kinds=(\"ab\",)](m%5, 0, 1)", (True, False, True)),
])
def test_a_kernel_writes_over_what_no_caller_needs(later: str, keeps: tuple[bool, ...]) -> None:
    """The first may be read after a call, or be a part of something; `g` is the caller's own parameter."""
    program = parsed(HEAD.split("struct List")[0] + STEP.replace("LATER", later))
    assert verify(program) == []
    owned = own(program)
    assert verify(owned.program) == []
    assert owned.borrowed["step"] == keeps
    step = print_program(Program(program.structs, program.enums, {"step": owned.program.fns["step"]}))
    assert step.index("dim[axis=0](m%1)") < step.index("scope")
