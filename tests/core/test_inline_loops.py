"""What a loop calls of the library stands in it, however many functions use the same: a key is looked for once, and a
word that is only looked at is not cut out."""

from __future__ import annotations

from collections import Counter

import hybridc
from hybridc import driver, pipeline
from hybridc.checking import check
from hybridc.core.ir import Call, Loop
from hybridc.core.walk import statements

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


def test_a_key_is_looked_for_once_and_no_word_is_cut_out(tmp_path) -> None:
    path = tmp_path / "p.hyb"
    path.write_text(SOURCE)
    checked = check(str(path))
    core, interface = driver.lower(checked)
    better = pipeline.optimise(core, interface, checked.sources)
    for name in ("count", "letters"):
        (loop,) = (s for s in better.fns[name].body.stmts if isinstance(s, Loop))
        called = Counter(s.fn.rpartition(".")[2] for s in statements(loop.body) if isinstance(s, Call))
        assert called["_find"] == 1 and "_set" not in called and "_walked_part" not in called
    mod = hybridc.load(str(path))
    text = " to be or not  to be\n"
    assert mod.count(text) == Counter(text.split())
    assert mod.letters(text) == {"to": 4, "be": 4, "or": 2, "not": 3}
    assert mod.first(text.split()) == {"to": 0, "be": 1, "or": 2, "not": 3}
