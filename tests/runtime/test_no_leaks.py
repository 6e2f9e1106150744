"""The fixture that looks for blocks left behind after all tests would find some."""

from __future__ import annotations

import pytest
from hybridc_runtime.memory import set_word, word
from hybridc_runtime.module import Part

import hybridc
from tests.leaks import Leaks


def test_a_block_left_behind_is_found(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.hyb").write_text("fn f(n: int) -> list[str]:\n    return [str(i) for i in range(n)]\n")
    leaks = Leaks()
    monkeypatch.setattr(Part, "__init__", leaks.watching(Part.__init__))
    mod = hybridc.load(tmp_path / "m.hyb")
    count = mod._parts[0].program.live
    kept = mod.f.native(3)
    assert mod.f(2) == ["0", "1"] and leaks.found() == []
    set_word(count, word(count) + 1)
    del mod
    assert leaks.found() == []  # a value is there yet
    del kept
    (found,) = leaks.found()
    assert found.endswith("test_a_block_left_behind_is_found: 1 blocks are left")
    set_word(count, 0)
    assert leaks.found() == []
