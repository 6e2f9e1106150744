"""Parameters that are read at each call lie in large pages, where the system has any."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import memory

import hybridc

SOURCE = """
model Wide(n: int):
    param w: f32[n, n] = zeros()
    fn forward(x: f32[n]) -> f32[n]:
        return self.w @ x

export Wide(600)
export Wide(20)
"""


def collapses() -> bool:
    if memory._madvise is None:
        return False
    room = memory.allocate(3 * memory.LARGE_PAGE)
    memory.MEMORY[room:room + 3 * memory.LARGE_PAGE] = bytes(3 * memory.LARGE_PAGE)  # what was never touched is not moved
    try:
        return memory._madvise(memory.align_up(room, memory.LARGE_PAGE), memory.LARGE_PAGE, memory.COLLAPSE) == 0
    finally:
        memory.free(room)


def large(address: int) -> int:
    """Bytes in large pages of the mapping that an address lies in."""
    found = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            found = int(line.split()[1]) << 10
    return found


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("pages") / "wide.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    pages: list[int] = []
    monkeypatch.setattr(memory, "_madvise", lambda page, size, advice: pages.append(page) or -1)
    return pages


def test_large_parameters_and_no_small_ones(mod, asked: list[int]) -> None:
    m = mod.Wide(600, seed=0)
    data, count = m._flat()
    first, last = (at // memory.LARGE_PAGE for at in (data, data + count * 4 - 1))
    assert [page // memory.LARGE_PAGE for page in asked] == list(range(first, last + 1))
    asked.clear()
    mod.Wide(20, seed=0)
    assert asked == []


def test_those_that_are_given_later(mod, asked: list[int]) -> None:
    m = mod.Wide(600, seed=0)
    asked.clear()
    m.load_state_dict({"w": np.eye(600, dtype=np.float32)})
    assert len(asked) in (1, 2)
    x = np.arange(600, dtype=np.float32)
    np.testing.assert_array_equal(m(x), x)


@pytest.mark.skipif(not collapses(), reason="this system has no large pages to give")
def test_they_lie_there(mod) -> None:
    m = mod.Wide(600, seed=0)
    m.load_state_dict({"w": np.eye(600, dtype=np.float32) * 2})
    assert large(m._flat()[0]) >= memory.LARGE_PAGE
    x = np.arange(600, dtype=np.float32)
    np.testing.assert_array_equal(m(x), 2 * x)
