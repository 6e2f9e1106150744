"""Functions that are called from outside and within: what the program's own calls pass, and what traces show."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.ir import Op, Program
from hybridc.core.verify import verify
from hybridc.core.walk import calls, statements
from hybridc.link import surface
from hybridc.passes import entries
from hybridc.passes.liveness import Counted
from hybridc.passes.views import run as views

SOURCE = """
fn letter(s: str, i: int) -> str:
    return s[i]

fn turned(s: str) -> bool:
    var j = len(s) - 1
    for i in range(len(s) // 2):
        if s[i] != s[j]:
            return false
        j -= 1
    return true

fn among(text: str) -> int:
    var n = 0
    for word in text.split(" "):
        if turned(word):
            n += 1
    return n

fn last(text: str) -> str:
    return letter(text[1:], len(text))

fn depth(xs: list[int], n: int) -> int:
    return 0 if n == 0 else depth(xs[1:], n - 1) + xs[0]

fn alone(s: str) -> int:
    return len(s)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("entries") / "entries.hyb"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def better(source: Path) -> Program:
    checked = driver.check(str(source))
    core, interface = driver.lower(checked)
    return pipeline.optimise(core, interface, checked.sources)


def test_who_has_two(source: Path) -> None:
    core, interface = driver.lower(driver.check(str(source)))
    made = entries.run(core, surface.symbols(interface))
    assert verify(made) == []
    assert {n for n in made.fns if n.endswith(" within")} == {"letter within", "turned within", "depth within"}
    assert dict(calls(made.fns["turned"])) == {"turned within": 1} and made.fns["turned"].hidden
    assert calls(made.fns["among"])["turned within"] == 1 and calls(made.fns["depth within"])["depth within"] == 1
    assert not entries.run(made, ["alone"]).fns["alone"].hidden


def test_a_word_that_is_only_read_is_not_made(better: Program) -> None:
    fn = views(better, Counted(better)).fns["among"]
    ops = [s.op for s in statements(fn.body) if isinstance(s, Op)]
    assert "buffer_part" in ops and "buffer_copy" not in ops


def test_calls_from_outside_and_traces(source: Path) -> None:
    mod = hybridc.load(source)
    assert mod.among("level noon word a") == 3 and mod.turned("abcba") and not mod.turned("ab")
    assert mod.depth([1, 2, 3, 4], 3) == 6 and mod.alone("é") == 1 and mod.letter("abc", -1) == "c"
    with pytest.raises(IndexError) as e:
        mod.last("abc")
    assert [name for _, _, name in e.value.frames] == ["last", "letter"]
    with pytest.raises(IndexError) as e:
        mod.letter("abc", 3)
    assert [name for _, _, name in e.value.frames] == ["letter"]
    with pytest.raises(IndexError) as e:
        mod.depth([1, 2], 3)
    assert [name for _, _, name in e.value.frames] == ["depth"] * 3
