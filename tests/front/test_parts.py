"""A file read in parts, of which those of before are taken again, is the file read at once: every node, every place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from hybridc.base.source import MARK, Source, Span, in_file
from hybridc.front.parse.parser import Parts, parse_whole
from hybridc.front.parse.syntax import File, Node

TESTS = Path(__file__).parent.parent
FILES = sorted((TESTS / "lang").rglob("*.hyb")) + sorted((TESTS.parent / "examples").rglob("*.hyb"))


def nodes(file: File, source: Source) -> Iterator[object]:
    """All there is in a file, with places in it."""
    waiting: list[object] = [file]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Span):
            yield in_file(one, {source.path: source})
        elif isinstance(one, Node):
            yield type(one)
            waiting += [getattr(one, f.name) for f in fields(one)]
        elif isinstance(one, tuple):
            yield len(one)
            waiting += one
        else:
            yield one


def both(path: str, text: str, known: Parts) -> Parts:
    """Read a text at once and in parts, which are given."""
    whole, divided = Source(path, text), Source(path, text)
    once, parts = parse_whole(whole), parse_whole(divided, known)
    assert list(nodes(once.file, whole)) == list(nodes(parts.file, divided))
    assert (once.diagnostics, once.broken) == (parts.diagnostics, parts.broken)
    assert set(parts.parts) <= set(divided.parts) and all(p.startswith(path + MARK) for p in divided.parts)
    return parts.parts


@pytest.mark.parametrize("path", FILES[::3], ids=lambda p: p.stem)
def test_the_same_tree(path: Path) -> None:
    text = path.read_text()
    first = both("t.hyb", text, {})
    lines = re.sub(r"\n(?=(fn|struct|enum|test|model) )", "\n# a line\n\n", text)
    again = both("t.hyb", "# one more\n" + lines + "\n# the end", first)
    assert len(first) == len(again) and all(again[name] is part for name, part in first.items())


TEXT = '''"""Doc."""
import a
@custom_grad(back)
fn f(x: f64) -> f64:
    return x  # said

fn g(x: int) -> str:
    if x > 1:
        return f"{x + 1} and {f'{x}'}"
    # a remark
    return """two
fn lines"""
# of h
struct h:
    x: int
test "one":
    assert f(1.0) == 1.0
test "one":
    fn g(y: int) -> int:
        return y
    assert g(2) == 2
const LAST = [1,
 2]
'''


@pytest.mark.parametrize("find, put, taken", [
    ("import a", "import b", 7),
    ("# of h\n", "", 8),
    ("# said", "# said more", 8),
    ("# a remark", "# another", 7),
    ("fn lines", "fn more", 7),
    ("fn f(x: f64)", "fn f(x: f32)", 7),
    ("fn g(x: int)", "fn k(x: int)", 7),
    ('test "one":\n    assert f(1.0) == 1.0\n', "", 6),  # the second is now the first of its name
    ("    return y", "    return None", 7),
    ("    return y", "    return y +", 7),
    (" 2]\n", " 2", 7),
    ("struct h:\n    x: int\n", "struct h:\n", 7),
    ("    x: int\n", "", 7),
    ("struct h", "struct g", 7),
    ('"""Doc."""\n', "", 7),
    ('"""two\nfn lines"""', '"""two\nfn lines"', 3),
    ("const LAST = [1,\n 2]\n", "const LAST = 1", 7),
])
def test_after_an_edit(find: str, put: str, taken: int) -> None:
    first = both("t.hyb", TEXT, {})
    assert len(first) == 8 and TEXT.count(find) == 1
    second = both("t.hyb", TEXT.replace(find, put), first)
    assert sum(second.get(name) is part for name, part in first.items()) == taken
    assert all(both("t.hyb", TEXT, second)[name].text == part.text for name, part in first.items())
