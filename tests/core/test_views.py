"""Copies of parts that are only read are not made: on Core, and on what the library makes of strings and lists."""

from __future__ import annotations

import pytest

from hybridc import driver, pipeline
from hybridc.checking import check
from hybridc.core.interp import Interpreter
from hybridc.core.ir import Op, Program
from hybridc.core.reader import read
from hybridc.core.values import Buffer
from hybridc.core.verify import verify
from hybridc.core.walk import statements
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.texts import parsed

BYTES = Buffer([7, 1, 2, 3, 9])


def owned(text: str) -> Counting:
    program = parsed(text)
    assert verify(program) == []
    return Counting(own(program))


def same(text: str, *given: list) -> Counting:
    """Run both ways: the answers are the same, and every block has been counted right."""
    counting = owned(text)
    plain = Interpreter(read(text)[0])  # type: ignore[arg-type]
    for args in given:
        assert counting.run("main", args) == plain.call("main", args)
    return counting


def ops(program: Program, fn: str = "main") -> list[str]:
    return [s.op for s in statements(program.fns[fn].body) if isinstance(s, Op)]


LOOK = """
fn same(a%1: buffer[u8], b%2: buffer[u8], n%3: int) -> (bool) {
  c%4: int = buffer_compare(a%1, b%2, n%3)
  d%5: bool = eq(c%4, 0)
  exit 0 d%5
}
"""


def test_what_is_only_read_is_looked_at() -> None:
    c = same(LOOK + """
fn main(b%1: buffer[u8], i%2: int) -> (int, int, bool) {
  new%3: buffer[u8] = buffer_new(2)
  part%4: buffer[u8] = buffer_copy(new%3, 0, b%1, i%2, 2)
  h%5: int, i%45: int, j%55: int = text_key(part%4, 2, 2, 1)
  n%6: int = buffer_len(part%4)
  s%7: bool = call same(part%4, b%1, 2)
  exit 0 h%5, n%6, s%7
}
""", [BYTES, 0], [BYTES, 3])
    assert ops(c.program) == ["buffer_part", "text_key"]


KEPT = """
fn main(b%1: buffer[u8], keep%2: bool, all%20: buffer[(buffer[u8], int)]) -> (int, buffer[(buffer[u8], int)]) {
  new%3: buffer[u8] = buffer_new(3)
  part%4: buffer[u8] = buffer_copy(new%3, 0, b%1, 1, 3)
  pair%5: (buffer[u8], int) = tuple(part%4, 3)
  h%6: int, i%46: int, j%56: int = text_key(part%4, 3, 3, 1)
  out%7: buffer[(buffer[u8], int)] = if keep%2 {
    x%8: u8 = buffer_get(part%4, 0)
    more%9: buffer[(buffer[u8], int)] = buffer_set(all%20, 0, pair%5)
    yield more%9
  } else {
    yield all%20
  }
  exit 0 h%6, out%7
}
"""


def test_what_one_branch_keeps_is_copied_there() -> None:
    all = Buffer([(Buffer([1]), 0), (Buffer([2]), 0)])
    c = same(KEPT, [BYTES, True, all], [BYTES, False, all])
    assert ops(c.program)[:2] == ["buffer_part", "text_key"]
    assert ops(c.program).index("buffer_cut") > ops(c.program).index("buffer_get")


REFUSED = {
    "kept on every way": """
  all%8: buffer[buffer[u8]] = buffer_new(1)
  more%9: buffer[buffer[u8]] = buffer_set(all%8, 0, part%4)
  exit 0 b%1, more%9
""",
    "kept at every turn": """
  all%8: buffer[buffer[u8]] = buffer_new(4)
  more%9: buffer[buffer[u8]] = loop 1 (i%10: int = 0, all%11: buffer[buffer[u8]] = all%8) {
    go%12: bool = lt(i%10, 4)
    if go%12 { yield } else { exit 1 all%11 }
    set%13: buffer[buffer[u8]] = buffer_set(all%11, i%10, part%4)
    j%14: int = add(i%10, 1)
    yield j%14, set%13
  }
  exit 0 b%1, more%9
""",
    "the source is written meanwhile": """
  b%8: buffer[u8] = buffer_set(b%1, 1, x%20)
  y%9: u8 = buffer_get(part%4, 0)
  m%10: int = cast[checked=true](y%9)
  all%11: buffer[buffer[u8]] = buffer_new(m%10)
  exit 0 b%8, all%11
""",
    "a part of what it stands in is taken over meanwhile": """
  pair%8: (buffer[u8], int) = tuple(b%1, 1)
  again%9: buffer[u8] = get[index=0](pair%8)
  b%10: buffer[u8] = buffer_resize(again%9, 9)
  y%11: u8 = buffer_get(part%4, 0)
  m%12: int = cast[checked=true](y%11)
  all%13: buffer[buffer[u8]] = buffer_new(m%12)
  exit 0 b%10, all%13
""",
}


@pytest.mark.parametrize("why", REFUSED)
def test_else_the_copy_is_made(why: str) -> None:
    c = same("""
fn main(b%1: buffer[u8], n%2: int, x%20: u8) -> (buffer[u8], buffer[buffer[u8]]) {
  new%3: buffer[u8] = buffer_new(n%2)
  part%4: buffer[u8] = buffer_copy(new%3, 0, b%1, 1, n%2)
""" + REFUSED[why] + "}\n", [BYTES, 3, 5])
    assert "buffer_part" not in ops(c.program)


def test_written_after_the_last_look() -> None:
    c = same("""
fn main(b%1: buffer[u8], x%2: u8) -> (int, buffer[u8]) {
  new%3: buffer[u8] = buffer_new(2)
  part%4: buffer[u8] = buffer_copy(new%3, 0, b%1, 2, 2)
  h%5: int, i%45: int, j%55: int = text_key(part%4, 2, 2, 1)
  b%6: buffer[u8] = buffer_set(b%1, 2, x%2)
  exit 0 h%5, b%6
}
""", [BYTES, 0])
    assert "buffer_part" in ops(c.program) and c.copies == 0


LIBRARY = {
    "words": ("fn main(text: str) -> int:\n    var counts: map[str, int] = {}\n    for w in text.split():\n"
              "        counts[w] = (counts.get(w) ?? 0) + 1\n    return counts[\"a\"] * 10 + len(counts)\n", "a b a é a"),
    "characters": ("fn main(text: str) -> int:\n    var n = 0\n    for c in text:\n        if c == \"é\" or c == \"a\":\n"
                   "            n += 1\n    return n * 10 + (1 if text[2] == \"b\" else 0)\n", "a b a é a"),
    "parts": ("fn main(text: str) -> int:\n    let known = {\"3\": 1, \"50\": 2}\n    var n = 0\n"
              "    for p in text.split(\",\"):\n        n += known.get(p) ?? 10\n    return n\n", "3,4,50"),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_in_programs(name: str, tmp_path) -> None:
    source, text = LIBRARY[name]
    (tmp_path / "p.hyb").write_text(source)
    checked = check(str(tmp_path / "p.hyb"))
    core = pipeline.optimise(*driver.lower(checked), checked.sources)
    counting = Counting(own(core))
    assert "buffer_part" in ops(counting.program)
    data = Buffer(list(text.encode()))
    args = [(data, len(data), len(text))]
    assert counting.run("main", args) == Interpreter(core).call("main", args)


ENTRIES = """
struct Entry { first: int, second: int, far: buffer[u8] }

fn main(all%1: buffer[Entry], i%2: int, keep%3: bool, out%20: buffer[buffer[u8]]) -> (int, int, buffer[buffer[u8]]) {
  entry%4: Entry = buffer_get(all%1, i%2)
  x%5: int, y%6: int, far%7: buffer[u8] = destruct(entry%4)
  key%8: buffer[u8], n%9: int, p%10: int = kept_text(far%7, x%5, y%6)
  h%11: int, x%12: int, y%13: int = text_key(key%8, n%9, p%10, 1)
  len%14: int = buffer_len(key%8)
  """


ALL = Buffer([(0x636261, 3 << 56, Buffer([])), (17, -18, Buffer(list(b"more than fifteen")))])


@pytest.mark.parametrize("i", [0, 1])
def test_a_key_of_a_map_is_looked_at(i: int) -> None:
    c = same(ENTRIES + "exit 0 h%11, len%14, out%20 }\n", [ALL, i, True, Buffer([Buffer([])])])
    assert "kept_part" in ops(c.program) and "kept_text" not in ops(c.program)


def test_a_key_of_a_map_is_made_where_it_is_kept() -> None:
    out = Buffer([Buffer([])])
    c = same(ENTRIES + """more%15: buffer[buffer[u8]] = if keep%3 {
    set%16: buffer[buffer[u8]] = buffer_set(out%20, 0, key%8)
    yield set%16
  } else { yield out%20 }
  exit 0 h%11, len%14, more%15 }
""", *([ALL, i, keep, out] for i in (0, 1) for keep in (True, False)))
    assert ops(c.program).index("kept_part") < ops(c.program).index("kept_text")
    c = same(ENTRIES + """set%15: buffer[buffer[u8]] = buffer_set(out%20, 0, key%8)
  exit 0 h%11, len%14, set%15 }
""", *([ALL, i, True, out] for i in (0, 1)))
    assert "kept_part" not in ops(c.program)
