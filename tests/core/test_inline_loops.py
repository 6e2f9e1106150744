"""What a loop calls of the library stands in it, however many functions use the same: a key is looked for once, and a
word that is only looked at is not cut out. What a walk over a map needs where entries were removed does not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import hybridc
from hybridc import driver, pipeline
from hybridc.checking import check
from hybridc.core.ir import Call, Loop, Program
from hybridc.core.walk import statements, statements_in

SOURCE = """
fn count(text: str) -> map[str, int]:
    var found: map[str, int] = {}
    for word in text.split():
        found[word] = found.get(word, 0) + 1
    return found

fn letters(text: str) -> map[str, int]:
    var found: map[str, int] = {}
    for word in text.split():
        found[word] = found.get(word, 0) + len(word)
    return found

fn first(words: list[str]) -> map[str, int]:
    var found: map[str, int] = {}
    for i, word in enumerate(words):
        if word not in found:
            found[word] = i
    return found
"""

WALKS = """
fn entries(xs: map[int, int]) -> int:
    var found = 0
    for k, v in xs.items():
        found += k * v
    return found

fn entries_left(n: int, removed: list[int]) -> int:
    var xs = {i: i + 1 for i in range(n)}
    for x in removed:
        xs.remove(x)
    return entries(xs)

fn elements(xs: set[int]) -> int:
    var found = 0
    for x in xs:
        found += x
    return found
"""


def optimised(path: Path, source: str) -> Program:
    path.write_text(source)
    checked = check(str(path))
    core, interface = driver.lower(checked)
    return pipeline.optimise(core, interface, checked.sources)


def test_a_key_is_looked_for_once_and_no_word_is_cut_out(tmp_path: Path) -> None:
    path = tmp_path / "p.hyb"
    better = optimised(path, SOURCE)
    for name in ("count", "letters"):
        (loop,) = (s for s in better.fns[name].body.stmts if isinstance(s, Loop))
        called = Counter(s.fn.rpartition(".")[2] for s in statements(loop.body) if isinstance(s, Call))
        assert called["_find"] == 1 and "_set" not in called and "_part" not in called
    mod = hybridc.load(str(path))
    text = " to be or not  to be\n"
    assert mod.count(text) == Counter(text.split())
    assert mod.letters(text) == {"to": 4, "be": 4, "or": 2, "not": 3}
    assert mod.first(text.split()) == {"to": 0, "be": 1, "or": 2, "not": 3}


def test_a_walk_over_a_map_has_the_next_entry_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "p.hyb"
    better = optimised(path, WALKS)
    for name in ("entries", "elements"):
        within = better.fns.get(f"{name} within", better.fns[name])
        (loop,) = (s for s in statements_in(within) if isinstance(s, Loop))
        called = Counter(s.fn.rpartition(".")[2] for s in statements(loop.body) if isinstance(s, Call))
        assert called == {"_not_removed": 1}
    mod = hybridc.load(str(path))
    for removed in (set(), {0}, {99}, set(range(0, 100, 2)), set(range(3, 97)), set(range(100))):
        left = [x for x in range(100) if x not in removed]
        assert mod.entries_left(100, sorted(removed)) == sum(x * (x + 1) for x in left)
        assert mod.elements(set(left)) == sum(left)
