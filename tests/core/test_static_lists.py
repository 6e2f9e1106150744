"""Lists of constants that are only read are one operator (passes/static_lists.py)."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.reader import read
from hybridc.passes import static_lists
from hybridc.passes.borrow import infer_borrowed
from hybridc.passes.liveness import Counted
from tests.core.test_passes import PASSES, after, same_text

PASSES["static_lists"] = lambda program: static_lists.run(program, infer_borrowed(program, Counted(program)))
MADE = "a%2: buffer[int] = buffer_new(2) b%3: buffer[int] = buffer_set(a%2, 0, 7) c%4: buffer[int] = buffer_set(b%3, 1, 9)"
OF = "c%4: buffer[int] = buffer_of[items=(7, 9)]()"
FN = "fn f(i%1: int) -> (int) {{ {} {} }}"
LOOK = "fn look(b%1: buffer[int]) -> (int) { x%2: int = buffer_get(b%1, 1) exit 0 x%2 }"
KEEP = "fn keep(b%1: buffer[int]) -> (buffer[int]) { x%2: buffer[int] = buffer_set(b%1, 0, 1) exit 0 x%2 }"


@pytest.mark.parametrize(("rest", "read"), [
    ("x%5: int = buffer_get(c%4, i%1) exit 0 x%5", True),
    ("x%5: int = buffer_len(c%4) exit 0 x%5", True),
    ("x%5: int = call look(c%4) exit 0 x%5", True),
    # Written to, also by what it is given to; written only afterwards; carried by a loop.
    ("d%5: buffer[int] = buffer_set(c%4, i%1, 1) x%6: int = buffer_get(d%5, 0) exit 0 x%6", False),
    ("d%5: buffer[int] = call keep(c%4) x%6: int = buffer_get(d%5, 0) exit 0 x%6", False),
    ("x%5: int = buffer_get(c%4, 0) d%6: buffer[int], y%7: int = buffer_take(c%4, 1) exit 0 y%7", False),
    ("x%5: int = loop 1 (d%6: buffer[int] = c%4) { y%7: int = buffer_get(d%6, 0) exit 1 y%7 } exit 0 x%5", False),
])
def test_what_is_only_read(rest: str, read: bool) -> None:
    others = "\n".join((LOOK, KEEP)) + "\n"
    same_text(after(others + FN.format(MADE, rest), "static_lists"), others + FN.format(OF if read else MADE, rest))


def test_a_list_in_a_list() -> None:
    kind = "struct List { data: buffer[int], size: int }\n"
    inner = MADE + " l%5: List = struct(c%4, 2)"
    outer = "d%6: buffer[(List, bool)] = buffer_new(2) t%7: (List, bool) = tuple(l%5, true)" \
        " e%8: buffer[(List, bool)] = buffer_set(d%6, 1, t%7)"
    rest = "x%9: (List, bool) = buffer_get(e%8, i%1) y%10: List = get[index=0](x%9) z%11: int = get[index=1](y%10) exit 0 z%11"
    made = after(kind + FN.format(inner + " " + outer, rest), "static_lists")
    wanted = "e%8: buffer[(List, bool)] = buffer_of[items=((((), 0), false), (((7, 9), 2), true))]()"
    same_text(made, kind + FN.format(wanted, rest))
    machine = Interpreter(read(made)[0])
    assert [machine.call("f", (i,)) for i in range(2)] == [(0,), (2,)]
