"""A new buffer of bytes that is filled at once is one operator (passes/cuts.py)."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.reader import read
from hybridc.core.values import Buffer
from hybridc.passes import cuts
from tests.core.test_passes import PASSES, after, same_text

PASSES["cuts"] = cuts.run
FN = "fn f(s%1: buffer[u8], at%2: int, n%3: int) -> (buffer[u8]) {{ {} exit 0 r%9 }}"
CUT = "r%9: buffer[u8] = buffer_cut(s%1, at%2, n%3)"


@pytest.mark.parametrize(("before", "wanted"), [
    ("b%5: buffer[u8] = buffer_new(n%3) r%9: buffer[u8] = buffer_copy(b%5, 0, s%1, at%2, n%3)", CUT),
    # What cannot fail may stand between.
    ("b%5: buffer[u8] = buffer_new(n%3) x%6: int = add(at%2, 1)"
     " r%9: buffer[u8] = buffer_copy(b%5, 0, s%1, x%6, n%3)",
     "x%6: int = add(at%2, 1) r%9: buffer[u8] = buffer_cut(s%1, x%6, n%3)"),
    # More room than is filled, filled later on, used elsewhere, something that may fail between.
    ("m%4: int = add(n%3, 1) b%5: buffer[u8] = buffer_new(m%4)"
     " r%9: buffer[u8] = buffer_copy(b%5, 0, s%1, at%2, n%3)", ""),
    ("b%5: buffer[u8] = buffer_new(n%3) r%9: buffer[u8] = buffer_copy(b%5, 1, s%1, at%2, n%3)", ""),
    ("b%5: buffer[u8] = buffer_new(n%3) c%6: buffer[u8] = buffer_copy(b%5, 0, s%1, at%2, n%3)"
     " r%9: buffer[u8] = buffer_copy(c%6, 0, b%5, at%2, n%3)", ""),
    ("b%5: buffer[u8] = buffer_new(n%3) x%6: int = floordiv(at%2, n%3)"
     " r%9: buffer[u8] = buffer_copy(b%5, 0, s%1, x%6, n%3)", ""),
])
def test_what_is_joined(before: str, wanted: str) -> None:
    same_text(after(FN.format(before), "cuts"), FN.format(wanted or before))


def test_meaning() -> None:
    program, _ = read(FN.format(CUT))
    machine = Interpreter(program)
    for at, n, found in ((0, 1, b"a"), (1, 2, b"bc"), (3, 0, b""), (0, 3, b"abc")):
        (part,) = machine.call("f", (Buffer(list(b"abc")), at, n))
        assert bytes(part.items()) == found
