"""What passes/tables.py, counters.py, invariant.py and remainders.py do on small programs, what passes/bounds.py reads
before a loop, and that programs mean the same."""

from __future__ import annotations

import re

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Program
from hybridc.core.verify import check_after
from hybridc.core.walk import with_body
from hybridc.passes import invariant, remainders, tables
from hybridc.passes.counters import counters
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.test_passes import PASSES, after, same_text
from tests.core.texts import parsed


def all_counters(program: Program) -> Program:
    return Program(program.structs, program.enums, {n: counters(fn) for n, fn in program.fns.items()})


PASSES.update(tables=tables.run, invariant=invariant.run, counters=all_counters, remainders=remainders.run)

ROW = "struct row { data: buffer[int], size: int }\n"
FILLED = """
  w%3: int = maximum(m%2, 0)
  h%4: int = maximum(n%1, 0)
  b%5: buffer[row] = buffer_new(h%4)
  t%6: buffer[row] = loop 1 (p%7: buffer[row] = b%5, i%8: int = 0) {
    %9: bool = lt(i%8, n%1)
    if %9 { yield } else { exit 1 p%7 }
    d%10: buffer[int] = buffer_new(w%3)
    r%11: row = struct(d%10, SIZE)
    q%12: buffer[row] = buffer_set(p%7, i%8, r%11)
    j%13: int = add(i%8, 1)
    yield q%12, j%13
  }
"""
READ = """
  k%30: int = place(1, h%4)
  s%31: row = buffer_get(TABLE, k%30)
  c%32: int = get[index=1](s%31)
  exit 0 c%32
"""


def length(middle: str = "", table: str = "t%6", size: str = "w%3", filled: str = FILLED) -> str:
    """What a function gives, after the pass, that gives the length of a row."""
    body = filled.replace("SIZE", size) + middle + READ.replace("TABLE", table)
    text = after(f"{ROW}fn f(n%1: int, m%2: int, o%50: row) -> (int) {{{body}}}", "tables")
    return text.split("  exit 0 ")[-1].split("\n")[0]


TAKEN = """
  u%20: buffer[row], a%21: row = buffer_take(t%6, 0)
  e%22: buffer[int] = get[index=0](a%21)
  g%23: int = get[index=1](a%21)
  e%24: buffer[int] = buffer_set(e%22, 0, 7)
  a%25: row = struct(e%24, LENGTH)
  v%26: buffer[row] = buffer_set(u%20, PLACE, a%25)
"""


def taken(size: str = "g%23", place: str = "0") -> str:
    return TAKEN.replace("LENGTH", size).replace("PLACE", place)


def test_rows_that_stay_as_long_as_they_were_made() -> None:
    assert length() == "w%3"
    assert length(size="5") == "5"
    assert length(taken(), "v%26") == "w%3"
    assert length(taken("w%3"), "v%26") == "w%3"
    # Another row of the table in the place of one.
    assert length("z%20: row = buffer_get(t%6, 1) v%26: buffer[row] = buffer_set(t%6, 0, z%20)", "v%26") == "w%3"
    # Of one that is changed in a loop.
    loop = """
      v%26: buffer[row] = loop 2 (y%40: buffer[row] = t%6, x%41: int = 0) {
        %42: bool = lt(x%41, 3)
        if %42 { yield } else { exit 2 y%40 }
        """ + taken().replace("t%6", "y%40").replace("v%26", "y%44") + """
        x%43: int = add(x%41, 1)
        yield y%44, x%43
      }"""
    assert length(loop, "v%26") == "w%3"


def test_rows_that_may_have_another_length() -> None:
    assert length(taken("n%1"), "v%26") == "c%32"
    assert length("v%26: buffer[row] = buffer_set(t%6, 0, o%50)", "v%26") == "c%32"
    # While it is taken out there is none; and where another is put, it is never back.
    assert length(taken(), "u%20") == "c%32"
    assert length(taken(place="1"), "v%26") == "c%32"
    # New places hold rows without elements, and so does what no turn fills.
    assert length("v%26: buffer[row] = buffer_resize(t%6, 9)", "v%26") == "c%32"
    assert length(filled=FILLED.replace("buffer_new(h%4)", "buffer_new(9)")) == "c%32"
    assert length(filled=FILLED.replace("i%8: int = 0", "i%8: int = 1")) == "c%32"
    early = "if %9 { yield } else { exit 1 p%7 }"
    assert length(filled=FILLED.replace(early, early + "%14: bool = eq(i%8, 3) if %14 { exit 1 p%7 } else { yield }")
                  ) == "c%32"
    # A length of each turn.
    assert length(size="i%8") == "c%32"
    # One of two tables of different lengths.
    assert length(two("3"), "v%26") == "c%32"
    assert length(two("w%3"), "v%26") == "w%3"


def two(size: str) -> str:
    """Another table, whose rows have this length, and one of both."""
    other = FILLED.replace("  w%3: int = maximum(m%2, 0)\n", "").replace("SIZE", size)
    other = re.sub(r"%(\d+)", lambda m: f"%{int(m[1]) + 60}" if int(m[1]) > 3 else m[0], other)
    other = other.replace("loop 1", "loop 3").replace("exit 1", "exit 3")
    return other + "%90: bool = lt(n%1, m%2) v%26: buffer[row] = if %90 { yield t%6 } else { yield t%66 }"


LOOP = """
fn f(a%1: int, n%2: int) -> (int, int, int) {{
{}  c%10: int, i%11: int, o%12: int = loop 1 (c%3: int = {}, i%4: int = a%1, o%5: int = 1) {{
    %6: bool = lt(i%4, n%2)
    if %6 {{ yield }} else {{ exit 1 c%3, i%4, o%5 }}
    c%7: int = add(c%3, 1)
    i%8: int = add(1, i%4)
    o%9: int = mul(o%5, c%3)
    yield c%7, i%8, o%9
  }}
  exit 0 {}, {}, o%12
}}
"""


def test_what_a_loop_counts_to() -> None:
    same_text(
        after(LOOP.format("", "5", "c%10", "i%11"), "counters"),
        LOOP.format("""  %13: int = maximum(n%2, a%1)
  %14: int = sub(%13, a%1)
  %15: int = add(%14, 5)
  %16: int = maximum(n%2, a%1)
""", "5", "%15", "%16"))


def test_counters_that_are_one() -> None:
    text = after(LOOP.format("", "a%1", "c%10", "i%11"), "counters", "simplify", "dce")
    same_text(text, """
fn f(a%1: int, n%2: int) -> (int, int, int) {
  %13: int = maximum(n%2, a%1)
  %14: int = maximum(n%2, a%1)
  o%12: int = loop 1 (i%4: int = a%1, o%5: int = 1) {
    %6: bool = lt(i%4, n%2)
    if %6 { yield } else { exit 1 o%5 }
    i%8: int = add(1, i%4)
    o%9: int = mul(o%5, i%4)
    yield i%8, o%9
  }
  exit 0 %13, %14, o%12
}
""")


def test_numbers_are_what_they_were() -> None:
    before = parsed(LOOP.format("", "5", "c%10", "i%11"))
    better = all_counters(before)
    check_after("counters", better)
    for args in ([0, 4], [3, 3], [7, 2], [-2, 2]):
        assert Interpreter(better).call("f", args) == Interpreter(before).call("f", args)


CONSTANT = """
fn f(n%1: int) -> (int) {{
{}  r%2: int = loop 1 (s%3: int = 0, i%4: int = 0) {{
    %5: bool = lt(i%4, n%1)
    if %5 {{ yield }} else {{ exit 1 s%3 }}
{}    x%9: (int, int) = buffer_get({}, 1)
    y%10: int = get[index=1](x%9)
    s%11: int = add(s%3, y%10)
    j%12: int = add(i%4, 1)
    yield s%11, j%12
  }}
  exit 0 r%2
}}
"""
MADE = """p%6: (int, int) = tuple(0, 1)
    b%7: buffer[(int, int)] = buffer_new(2)
    b%8: buffer[(int, int)] = buffer_set(b%7, 1, p%6)
"""


def test_constant_lists_are_made_before_loops() -> None:
    same_text(after(CONSTANT.format("", MADE, "b%8"), "invariant"), CONSTANT.format(MADE, "", "b%8"))


@pytest.mark.parametrize("made", [
    MADE.replace("tuple(0, 1)", "tuple(0, i%4)"),
    MADE + "z%20: buffer[(int, int)] = buffer_set(b%8, 0, p%6)\n",
    MADE.replace("buffer_new(2)", "buffer_new(n%1)"),
])
def test_others_stay(made: str) -> None:
    text = CONSTANT.format("", made, "b%8")
    moved = "buffer_new" in after(text, "invariant").split("loop 1")[0]
    assert not moved


REMAINDER = """
fn f(xs%1: buffer[int], n%2: int, k%3: int) -> (int) {{
  m%4: int = maximum(0, n%2)
  r%5: int = loop 1 (s%6: int = 0, i%7: int = {start}) {{
    %8: bool = lt(i%7, n%2)
    if %8 {{ yield }} else {{ exit 1 s%6 }}
    a%9: int = add(i%7, k%3)
    b%10: int = mod(a%9, {by})
{place}    d%12: int = buffer_get(xs%1, {at})
    t%13: int = add(s%6, d%12)
    j%14: int = add(i%7, 1)
    yield t%13, j%14
  }}
  exit 0 r%5
}}
"""


@pytest.mark.parametrize(("by", "size", "start", "gone"), [
    ("n%2", "m%4", "0", True), ("n%2", "n%2", "2", True),
    ("n%2", "m%4", "-1", False), ("k%3", "m%4", "0", False), ("n%2", "k%3", "0", False), ("k%3", "k%3", "0", False),
])
def test_remainders_need_no_check(by: str, size: str, start: str, gone: bool) -> None:
    place = f"    c%11: int = place(b%10, {size})\n"
    text = REMAINDER.format(by=by, start=start, place=place, at="c%11")
    wanted = REMAINDER.format(by=by, start=start, place="", at="b%10") if gone else text
    same_text(after(text, "remainders"), wanted)


PASSED = """
fn f(xs%1: buffer[int], k%2: int, n%3: int) -> (buffer[int]) {{
  h%4: int = buffer_len(xs%1)
  p%5: int = place(k%2, h%4)
  first%6: int = {first}
  r%7: buffer[int] = loop 1 (b%8: buffer[int] = xs%1, i%9: int = first%6) {{
    %10: bool = lt(i%9, n%3)
    if %10 {{ yield }} else {{ exit 1 b%8 }}
    q%11: int = place(i%9, h%4)
    x%12: int = buffer_get(b%8, p%5)
    y%13: int = mul(x%12, 3)
    c%14: buffer[int] = buffer_set(b%8, q%11, y%13)
    j%15: int = add(i%9, 1)
    yield c%14, j%15
  }}
  exit 0 r%7
}}
"""


@pytest.mark.parametrize(("first", "before"), [
    ("add(p%5, 1)", True), ("add(4, p%5)", True),
    ("add(p%5, 0)", False), ("sub(p%5, 1)", False), ("add(k%2, 1)", False), ("add(p%5, 4294967296)", False),
])
def test_what_is_read_before_all_that_is_written(first: str, before: bool) -> None:
    quick = after(PASSED.format(first=first), "bounds").split("else")[0]
    assert ("buffer_get" in quick.split("loop")[0]) == before


@pytest.mark.parametrize("seed", range(800, 840))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    better = remainders.run(tables.run(invariant.run(program)))
    for name, fn in better.fns.items():
        better.fns[name] = with_body(counters(fn), invariant.numbers_hoisted(counters(fn).body))
    check_after("tables", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(Interpreter(program, depth_limit=60).call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
