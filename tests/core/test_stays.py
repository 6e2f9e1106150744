"""What of a function's arguments its results may share memory with (link/stays.py)."""

from __future__ import annotations

import pytest

from hybridc.link.stays import shares
from tests.core.texts import parsed

TEXT = """
enum Tree { Leaf(x: f32[?]) Node(left: Tree, right: Tree) }

fn fresh(a%1: f32[?], b%2: f32[?]) -> (f32[?]) {
  %3: f32[?] = map[axes=((0,), (0,),), `fn`="add"](a%1, b%2)
  yield %3
}

fn part(a%1: (f32[?], f32[?]), b%2: f32[?]) -> (f32[?], f32[?]) {
  %3: f32[?] = get[index=1](a%1)
  %4: f32[?] = tensor_view(b%2, 0, 3)
  exit 0 %3, %4
}

fn loops(a%1: f32[?], b%2: f32[?], n%3: int) -> (f32[?]) {
  %9: f32[?] = loop 1 (x%4: f32[?] = a%1, y%5: f32[?] = b%2, i%6: int = 0) {
    %7: bool = lt(i%6, n%3)
    if %7 {
      yield
    } else {
      exit 1 x%4
    }
    %8: int = add(i%6, 1)
    yield y%5, x%4, %8
  }
  yield %9
}

fn kept(xs%1: buffer[f32[?]], x%2: f32[?], y%3: f32[?]) -> (f32[?], buffer[f32[?]]) {
  %4: f32[?] = buffer_get(xs%1, 0)
  %5: buffer[f32[?]] = buffer_set(xs%1, 0, x%2)
  %6: f32[?] = accumulate(%4, y%3)
  yield %6, %5
}

fn joined(xs%1: buffer[f32[?]], ys%2: buffer[f32[?]], n%3: int) -> (buffer[f32[?]]) {
  %4: buffer[f32[?]] = buffer_copy(xs%1, 0, ys%2, 0, n%3)
  yield %4
}

fn leftmost(t%1: Tree, other%2: f32[?]) -> (f32[?]) {
  %6: f32[?] = match t%1 {
    Leaf(x%3: f32[?]) {
      yield x%3
    }
    Node(left%4: Tree, right%5: Tree) {
      %7: f32[?] = call leftmost(left%4, other%2)
      yield %7
    }
  }
  yield %6
}

fn through(a%1: f32[?], t%2: Tree) -> (f32[?], Tree) {
  %3: Tree = enum[case="Leaf"](a%1)
  %4: f32[?] = call leftmost(%3, a%1)
  %5: f32[?] = call fresh(%4, a%1)
  yield %5, %3
}

fn asked(a%1: f32[?], b%2: f32[?]) -> (f32) {
  %3: f32 = host[name="look"](b%2)
  yield %3
}
"""


@pytest.mark.parametrize(
    ("name", "results", "kept"),
    [
        ("fresh", [0], 0),
        ("part", [0b01, 0b10], 0),
        ("loops", [0b11], 0),
        ("kept", [0b101, 0b011], 0),
        ("joined", [0b011], 0),
        ("leftmost", [0b01], 0),
        ("through", [0, 0b01], 0),
        ("asked", [0], 0b10),
    ],
)
def test_results_share(name, results, kept):
    program = parsed(TEXT)
    found = shares(program, [name])[name]
    assert (found.results, found.kept) == (results, kept)
