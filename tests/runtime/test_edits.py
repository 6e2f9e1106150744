"""A file that is edited and loaded again in the same process: what it computes, where it faults, and what is wrong with
it are those of the text as it is now."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

TEXT = '''"""Parts."""
const SIZE = 2
struct Box:
    xs: list[int]
    fn at(i: int) -> int:
        return self.xs[i]  # at Box.at
    fn twice(i: int) -> int:
        # a remark
        return self.at(i) * SIZE  # at Box.twice
fn small(x: int) -> int:
    assert x < 10, f"{x} is not small"  # at small
    return x
fn first(xs: list[int], i: int = 5) -> int:
    return Box(xs).twice(i) + small(xs[0])  # at first
fn other(x: int) -> int:
    return 10 // x  # at other
fn kind(n: int) -> int:
    match n:
        case n:
            return 1
        case _:  # unused
            return 2
'''
Edit = Callable[[str], str]


def put(find: str, by: str) -> Edit:
    def edit(text: str) -> str:
        assert find in text
        return text.replace(find, by)

    return edit


EDITS: dict[str, Edit] = {
    "a line at the top": lambda text: "# more\n" + text,
    "a line between": put("fn small", "\n# more\n\nfn small"),
    "no doc": put('"""Parts."""\n', ""),
    "a remark": put("# a remark", "# a longer remark\n        # in two lines"),
    "a body": put("    return x\n", "    let y = x\n    return y\n"),
    "a method": put("return self.xs[i]", "let k = i\n        return self.xs[k]"),
    "a signature": put("fn small(x: int)", "fn small(x: int, more: bool = true)"),
    "a default": put("i: int = 5", "i: int = 7"),
    "a constant": put("SIZE = 2", "SIZE = 1 + 1"),
    "a name": put("small", "little"),
    "a field": put("    xs: list[int]\n", "    xs: list[int]\n    more: int = 0\n"),
    "removed": lambda text: text[:text.index("fn other")] + text[text.index("fn kind"):],
    "moved": lambda text: text.replace(other(text), "") + other(text),
    "two of a name": put("fn kind", "test \"one\":\n    assert true\ntest \"one\":\n    assert true\nfn kind"),
}


def other(text: str) -> str:
    return text[text.index("fn other"):text.index("fn kind")]


def places(text: str, path: Path, *marks: str) -> list[tuple[str, int]]:
    lines = text.splitlines()
    return [(str(path), 1 + next(i for i, line in enumerate(lines) if line.endswith(f"# at {m}"))) for m in marks]


def raised(f: Callable[[], object], kind: type[Exception]) -> list[tuple[str, int]]:
    """Where in Hyb an exception came from."""
    with pytest.raises(kind) as info:
        f()
    return [(f.filename, f.lineno) for f in traceback.extract_tb(info.tb) if f.filename.endswith(".hyb")]


def look(path: Path, text: str) -> None:
    """Load a text and see that all is where it is."""
    path.write_text(text)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        mod = hybridc.load(str(path))
    unused = 1 + next(i for i, line in enumerate(text.splitlines()) if line.endswith("# unused"))
    assert [f"{path}:{unused}:" in str(w.message) for w in said] == [True]
    little = "little" if "fn little" in text else "small"
    assert mod.first([1, 2, 3, 4, 5, 6, 7, 8]) == (17 if "i: int = 7" in text else 13)
    assert raised(lambda: mod.first([1]), IndexError) == places(text, path, "first", "Box.twice", "Box.at")
    marks = [m.replace("small", little) for m in ("first", "small")]
    assert raised(lambda: mod.first([50], 0), AssertionError) == places(text, path, *marks)
    if "fn other" in text:
        assert raised(lambda: mod.other(0), ZeroDivisionError) == places(text, path, "other")


def wrong(path: Path, text: str, code: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(hybridc.CompileError) as info:
        hybridc.load(str(path))
    assert [d.code for d in info.value.diagnostics] == [code]
    return [line for line in str(info.value).splitlines() if line.startswith(str(path))]


def test_places_after_edits(tmp_path: Path) -> None:
    """Each by itself, then all of them."""
    path = tmp_path / "m.hyb"
    look(path, TEXT)
    for edit in EDITS.values():
        assert edit(TEXT) != TEXT
        look(path, edit(TEXT))
    text = TEXT
    for name, edit in EDITS.items():
        text = edit(text) if name != "removed" else text
    look(path, text)


LATE = (
    ("""model P(n: int):
    param w: f32[n] = zeros()
model M(n: int):
    let parts = [P(n), P(n)]
    mut fn again():
        self.parts = [P(n), P(n)]  # here
fn late():
    var m = M(2)
    m.again()
""", "HYB806"),
    ("""fn late(x: f64) -> f64:
    return x if x < 1.0 else grad(late)(x - 1.0)  # here
""", "HYB604"),
)
"""What is found by lowering, and by differentiation."""


@pytest.mark.filterwarnings("ignore::hybridc.CompileWarning")
@pytest.mark.parametrize("lines", [0, 3])
def test_errors_after_an_edit(lines: int, tmp_path: Path) -> None:
    path = tmp_path / "m.hyb"
    look(path, TEXT)
    text = "# more\n" * lines + TEXT
    first, small = (1 + text[:text.index(f"fn {name}")].count("\n") for name in ("first", "small"))
    found = wrong(path, text.replace("small(xs[0])", "small(xs)"), "HYB301")
    assert found[0].startswith(f"{path}:{first + 1}:")
    found = wrong(path, text.replace("fn first", "fn small"), "HYB202")
    assert [f.split(": ")[0] for f in found] == [f"{path}:{first}:4", f"{path}:{small}:4"]
    found = wrong(path, text.replace("small(xs[0])", "small(xs[0)"), "HYB109")
    assert found[0].startswith(f"{path}:{first + 1}:")
    for more, code in LATE:
        found = wrong(path, text + more, code)
        assert found[0].startswith(f"{path}:{1 + (text + more[:more.index('# here')]).count(chr(10))}:")
