"""The parser's tables are kept between processes, and nothing depends on that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybridc.base import made
from hybridc.base.source import Source
from hybridc.front.parse import tables
from hybridc.front.parse.lexer import MARKS, WORD_OPERATORS
from hybridc.front.parse.parser import parse


def test_the_cache_is_written_read_and_replaced_when_spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "PACKAGE", tmp_path)
    first = tables.spellings(tables.load(None))
    (kept,) = tmp_path.iterdir()
    assert tables.spellings(tables.load(None)) == first
    kept.write_bytes(b"spoilt")
    assert tables.spellings(tables.load(None)) == first


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("HYB_CACHE_DIR", str(blocked / "inside"))
    monkeypatch.setattr(made, "PACKAGE", blocked / "inside")
    assert tables.spellings(tables.load(None))["fn"] == "FN"


def test_the_lexer_knows_every_mark_of_the_grammar() -> None:
    names = tables.spellings(tables.load(None))
    words = {text for text in names if text.isidentifier()}
    assert set(names) - words == set(MARKS)
    assert set(WORD_OPERATORS) <= words
    reserved = (
        "fn let var mut if elif else for in while break continue return match case pass and or not true false none "
        "self parallel assert raise struct enum import const"
    )
    assert words == set(reserved.split()) | set("model param state from as export extern test".split())


def test_many_threads() -> None:
    texts = [f"fn f{i}():\n    return f'{{x + {i}}}'\n" * 20 + ("fn g(:\n" if i % 2 else "") for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: len(parse(Source("t", text))[1]), texts))
    assert found == [i % 2 for i in range(16)]
