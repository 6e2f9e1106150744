"""Short buffers of bytes are pooled: every size around those of the pool, growing, dropped by Python, by other threads
and as the message of a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(Path(__file__).parent / "programs" / "short_text.hyb")


def wanted(n: int) -> list[str]:
    return [f"r{i}" + "abcdefgh" * (i % 12) for i in range(n)]


def test_every_size(mod) -> None:
    for n in (0, 1, 13, 700, 3000):
        assert mod.grown(n) == wanted(n)
        kept = mod.grown.native(n)
        assert mod.joined(kept) == "".join(wanted(n))
        del kept
        assert mod.flags(n) == [i % 3 == 0 for i in range(n)]
    assert live_blocks(mod) == 0


def test_other_threads(mod) -> None:
    assert mod.spread(400) == sum(len("".join(wanted(i % 40))) for i in range(400))
    assert live_blocks(mod) == 0


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 64, 65, 90])
def test_the_message_of_a_fault(mod, size: int) -> None:
    for _ in range(600):  # more than a batch
        with pytest.raises(hybridc.RuntimeFault, match="^" + "x" * size + "$"):
            mod.refused(["x"] * size)
    assert live_blocks(mod) == 0


def test_one_letter_needs_no_memory(mod) -> None:
    """Each ASCII character has a text that is there for ever; whoever changes it has another one."""
    text = "".join(map(chr, range(128)))
    kept = mod.letters.native(text)
    assert live_blocks(mod) <= 2  # the list, and its text's elements
    assert mod.joined(kept) == text and kept.to_python() == list(text)
    for words in (text, "aé漢🙂z", "x"):
        assert mod.letters(words) == list(words)
        assert mod.doubled(words) == words[0] + "".join(3 * c for c in words)
        assert mod.doubled(words) == words[0] + "".join(3 * c for c in words)
        for n in (0, 1, 2, 20):
            assert mod.parts(words, n) == [words[i:i + n] for i in range(len(words))]
    del kept
    assert live_blocks(mod) == 0
