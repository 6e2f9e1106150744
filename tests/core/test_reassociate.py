"""What comes from the turn before is last in a chain of minima (passes/reassociate.py), and programs mean the same."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.verify import check_after
from hybridc.passes import reassociate
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.test_passes import PASSES, after, same_text

PASSES["reassociate"] = reassociate.run
LOOP = """
fn f(xs%1: buffer[int], n%2: int) -> (int) {{
  %20: int = loop 1 (best%3: int = 7, i%4: int = 0) {{
    %5: bool = lt(i%4, n%2)
    if %5 {{ yield }} else {{ exit 1 best%3 }}
    a%6: int = buffer_get(xs%1, i%4)
    b%7: int = add(a%6, 1)
    c%8: int = add(best%3, a%6)
{}
    %19: int = add(i%4, 1)
    yield d%12, %19
  }}
  exit 0 %20
}}
"""


@pytest.mark.parametrize(("before", "wanted"), [
    ("d%9: int = minimum(c%8, a%6) d%12: int = minimum(d%9, b%7)",
     "d%9: int = minimum(a%6, b%7) d%12: int = minimum(d%9, c%8)"),
    ("d%9: int = maximum(a%6, c%8) d%12: int = maximum(b%7, d%9)",
     "d%9: int = maximum(a%6, b%7) d%12: int = maximum(d%9, c%8)"),
    # Two more, of which the last is not known before the others.
    ("d%9: int = minimum(c%8, a%6) d%10: int = minimum(d%9, b%7) d%12: int = minimum(d%10, i%4)",
     "d%9: int = minimum(a%6, b%7) d%10: int = minimum(d%9, i%4) d%12: int = minimum(d%10, c%8)"),
    # As it should be, of two kinds, of both that are late, and used elsewhere.
    ("d%9: int = minimum(a%6, b%7) d%12: int = minimum(d%9, c%8)", ""),
    ("d%9: int = minimum(c%8, a%6) d%12: int = maximum(d%9, b%7)", ""),
    ("d%9: int = minimum(c%8, a%6) d%12: int = minimum(d%9, best%3)", ""),
    ("d%9: int = minimum(c%8, a%6) d%10: int = minimum(d%9, b%7) d%12: int = add(d%10, d%9)", ""),
])
def test_chains(before: str, wanted: str) -> None:
    same_text(after(LOOP.format(before), "reassociate"), LOOP.format(wanted or before))


def test_floats_stay() -> None:
    text = LOOP.format("d%9: f64 = cast(c%8) d%10: f64 = cast(a%6) d%11: f64 = minimum(d%9, d%10)"
                       " d%13: f64 = minimum(d%11, 0.0) d%12: int = cast[checked=false](d%13)").replace("cast(", "cast[checked=false](")
    same_text(after(text, "reassociate"), text)


@pytest.mark.parametrize("seed", range(700, 740))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    better = reassociate.run(program)
    check_after("reassociate", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(Interpreter(program, depth_limit=60).call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
