"""Which lists a tape holds rather than their elements, and how the adjoint of an element is added to. What comes out is
looked at in test_constructs.py (handed_on.hyb)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from written_out import derived

import hybridc

LAYERS = """
fn dense(rows: list[list[f64]], x: list[f64]) -> list[f64]:
    return [tanh(sum([a * b for a, b in zip(row, x)])) for row in rows]
fn loss(rows: list[list[f64]], x: list[f64], n: int) -> f64:
    var h = x
    for _ in range(n):
        h = dense(rows, h)
    return h[0]
fn g(rows: list[list[f64]], x: list[f64], n: int) -> list[list[f64]]:
    return grad(loss)(rows, x, n)
"""


def recording(text: str) -> int:
    """How many loops keep a record of each turn."""
    return sum("= loop " in line and " records%" in line for line in text.splitlines())


def test_lists_that_functions_make_of_lists_are_held(tmp_path: Path) -> None:
    """Of a row its result and the number of its turns are kept, of a turn these and the list that it begins with."""
    assert "buffer[(f64, int)]) @" in derived(LAYERS, tmp_path, "dense within forward")
    whole = derived(LAYERS, tmp_path, "loss forward x-- and")
    assert "buffer[(int, int, buffer[f64], buffer[(f64, int)])]" in whole


TURNS = """
fn turns(x: float64, n: int) -> f64:
    var total: f64 = 0
    var old = [x]
    for k in range(n):
        {make}
        for i in range(len(h)):
            total += h[i] * h[i] * h[i]
        {change}
    return total + old[0]
fn g(x: f64, n: int) -> f64:
    return grad(turns)(x, n)
""".replace("float64", "f64")


@pytest.mark.parametrize("make, change, held", [
    ("let h = [sin(x * i) for i in range(k)]", "pass", True),
    ("let h = [sin(x * i) for i in range(k)] if k > 3 else [x, x * k]", "pass", True),
    ("let h = [sin(x * i) for i in range(k)]", "old = h", True),  # the one before is let go
    ("var h = [sin(x * i) for i in range(k)]", "h.push(total)\n        total += h[0]", False),  # changed by its own name
    ("let h = [sin(x * i) for i in range(k)]", "old = h\n        old[0] = total", False),  # by another one
    ("let h = old", "old[0] = total", False),  # it has been another one's before
    ("let h = old", "old = [x * k, total]", True),
])  # fmt: skip
def test_what_is_changed_is_not_held(make: str, change: str, held: bool, tmp_path: Path) -> None:
    """A record of what each turn reads is kept of a list that the tape would make to be copied."""
    text = derived(TURNS.format(make=make, change=change), tmp_path, "turns forward x- and")
    assert recording(text) == 2 - held


READS = """
fn reads(rows: list[list[f64]], turns: int) -> f64:
    var total: f64 = 0
    for k in range(turns):
        let row = rows[k % 2]
        for j in range(2):
            total += row[j] * row[j]
    return total
fn g(rows: list[list[f64]], turns: int) -> (f64, list[list[f64]]):
    return value_and_grad(reads)(rows, turns)
"""


def test_a_row_is_added_to_where_it_lies(tmp_path: Path) -> None:
    """A turn that reads two numbers of a row takes no time for the others."""
    file = tmp_path / "m.hyb"
    file.write_text(READS)
    m = hybridc.load(file)

    def seconds(n: int) -> float:
        rows = m.native([[0.5] * n, [0.25] * n], "list[list[f64]]")
        assert m.g.native(rows, 4)[1] == [[2.0, 2.0, *[0.0] * (n - 2)], [1.0, 1.0, *[0.0] * (n - 2)]]
        spent = []
        for _ in range(3):
            start = time.thread_time()
            m.g.native(rows, 20_000)
            spent.append(time.thread_time() - start)
        return min(spent)

    assert seconds(20_000) < 5 * seconds(20)
