"""Maps of constants are made before loops and around calls (passes/lifted.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc import driver
from hybridc.core.ir import Call, Fn, Loop, Program
from hybridc.core.verify import verify
from hybridc.core.walk import statements, statements_in
from hybridc.passes import lifted

VALUE = """fn value(c: str) -> int:
    let values = {"I": 1, "V": 5, "X": 10}
    return values.get(c) ?? 0

"""


@pytest.fixture
def after(tmp_path: Path):
    def run(text: str, *roots: str) -> dict[str, Fn]:
        path = tmp_path / "a.hyb"
        path.write_text(text)
        core, _ = driver.lower(driver.check(str(path)), all_names=True)
        made = lifted.run(Program(core.structs, core.enums, core.fns), roots)
        assert verify(made) == []
        return made.fns

    return run


def makes(fn: Fn) -> list[bool]:
    """For each map that is made, whether it is within a loop."""
    loops = [s for s in statements_in(fn) if isinstance(s, Loop)]
    inside = {id(s) for loop in loops for s in statements(loop.body)}
    return [id(s) in inside for s in statements_in(fn) if isinstance(s, Call) and "from_wire" in s.fn]


def test_callers_make_it_before_their_loops(after) -> None:
    fns = after(VALUE + "fn total(text: str) -> int:\n    var t = 0\n    for c in text:\n        if c != \" \":\n"
                "            t += value(c)\n    return t\n", "total")
    assert makes(fns["value"]) == [] and len(fns["value"].params) == 2
    assert makes(fns["total"]) == [False] and len(fns["total"].params) == 1


def test_what_is_called_from_outside_takes_no_more(after) -> None:
    fns = after(VALUE + "fn twice(c: str) -> int:\n    return value(c) + value(c)\n", "value", "twice")
    assert len(fns["value"].params) == 1 and len(fns["value within"].params) == 2
    assert [len(makes(fns[n])) for n in ("value", "value within", "twice")] == [1, 0, 1]


def test_on_some_ways_only_it_stays_there(after) -> None:
    fns = after(VALUE + "fn some(c: str) -> int:\n    return value(c) if len(c) > 0 else 0\n"
                "fn outer(c: str) -> int:\n    return some(c) + 1\n", "outer")
    assert len(fns["some"].params) == 1 and makes(fns["some"]) == [False] and makes(fns["outer"]) == []


def test_what_calls_itself_hands_it_on(after) -> None:
    fns = after("fn f(n: int) -> int:\n    let m = {0: 1, 1: 2, 2: 3}\n    return 0 if n < 1 else f(n - m[n % 3])\n"
                "fn g() -> int:\n    return f(9)\n", "g")
    assert makes(fns["f"]) == [] and makes(fns["g"]) == [False]
    assert [len(s.args) for s in statements_in(fns["f"]) if isinstance(s, Call) and s.fn == "f"] == [2]
