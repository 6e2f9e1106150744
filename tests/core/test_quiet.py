"""Which loops passes/quiet.py lets a search go ahead of, that no search reads beyond a buffer, and that programs mean the
same."""

from __future__ import annotations

import pytest

import hybridc
from hybridc import driver
from hybridc.core.interp import Interpreter
from hybridc.core.ir import Block, Loop, Program
from hybridc.core.verify import check_after
from hybridc.core.walk import blocks_of
from hybridc.passes import quiet
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.texts import parsed

LOOP = """
fn far(n%1: int) -> (int) {{
  exit 0 n%1
}}

fn f(xs%1: buffer[int], n%2: int, m%3: int) -> (int) {{
  s%20: int = loop 1 (i%4: int = 0, s%5: int = 0) {{
    %6: bool = lt(i%4, n%2)
    if %6 {{ yield }} else {{ exit 1 s%5 }}
    {before}
    a%8: int = if %9 {{
      {then}
    }} else {{
      {orelse}
    }}
    j%11: int = add(i%4, 1)
    yield j%11, a%8
  }}
  exit 0 s%20
}}
"""
AT = "x%7: int = buffer_get(xs%1, i%4) %9: bool = gt(x%7, m%3)"
CALL, STAY, LEAVE = "c%12: int = call far(i%4) yield c%12", "yield s%5", "exit 1 i%4"


def looped(before: str = AT, then: str = CALL, orelse: str = STAY) -> Program:
    program = parsed(LOOP.format(before=before, then=then, orelse=orelse))
    return program


def nested(block: Block, depth: int = 0) -> list[int]:
    """How deep each loop lies, from outside."""
    found = []
    for stmt in block.stmts:
        within = isinstance(stmt, Loop)
        found += [depth] * within
        for inner in blocks_of(stmt):
            found += nested(inner, depth + within)
    return found


def loops(program: Program) -> list[int]:
    """The depths of the loops of `f` after the pass, which gives the same."""
    better = quiet.run(program)
    check_after("quiet", better)
    xs = [i * 37 % 90 for i in range(300)]
    for length in (0, 3, 64, 65, 130, 300):
        for m in (-1, 50, 88, 89, 100):
            args = (xs[:length], length - 2 if length else 0, m)
            assert outcome(Interpreter(better).call, "f", args) == outcome(Interpreter(program).call, "f", args)
    return nested(better.fns["f"].body)


WITHIN, BEFORE, NONE = [0, 1, 1, 2], [0, 1, 0], [0]


@pytest.mark.parametrize(("program", "wanted"), [
    (looped(), WITHIN),
    (looped(then=STAY, orelse=CALL), WITHIN),
    (looped(then=LEAVE), BEFORE),
    (looped(then=STAY, orelse="fault ValueError"), BEFORE),
    (looped("k%30: int = add(i%4, 2) x%7: int = buffer_get(xs%1, k%30) %9: bool = gt(x%7, m%3)", then=LEAVE), BEFORE),
    (looped("x%7: int = buffer_get(xs%1, i%4) y%30: int = mul(s%5, 3) %9: bool = gt(x%7, y%30)"), WITHIN),
    (looped("x%7: int = buffer_get(xs%1, i%4) y%30: int = buffer_get(xs%1, 1) %9: bool = gt(x%7, y%30)"), WITHIN),
    (looped(AT, then=f"z%31: bool = lt(s%5, x%7) w%32: int = if z%31 {{ {CALL} }} else {{ {STAY} }} yield w%32"), WITHIN),
    # Turns that do nothing change something; what decides is elsewhere; nothing takes longer than the comparison.
    (looped(orelse="t%30: int = add(s%5, 1) yield t%30"), NONE),
    (looped("k%30: int = mul(i%4, 2) l%31: int = buffer_len(xs%1) h%33: int = floordiv(l%31, 2)"
            " x%7: int = buffer_get(xs%1, h%33) %9: bool = gt(k%30, x%7)"), NONE),
    (looped("k%30: int = bit_and(i%4, 1) x%7: int = buffer_get(xs%1, k%30) %9: bool = gt(x%7, m%3)"), NONE),
    (looped("x%7: int = call far(i%4) %9: bool = gt(x%7, m%3)"), NONE),
    (looped(then="yield i%4"), NONE),
])  # fmt: skip
def test_loops(program: Program, wanted: list[int]) -> None:
    assert loops(program) == wanted


SOURCE = """
fn first(xs: list[int], n: int, y: int) -> int:
    for i in range(n):
        if xs[i] == y:
            return i
    return -1

fn both(xs: list[int], ys: list[int], n: int) -> int:
    for i in range(n):
        if xs[i] == ys[i + 3]:
            return i
    return -1

fn many(xs: list[int], n: int, y: int) -> list[int]:
    var out: list[int] = []
    for i in range(n):
        if xs[i] == y:
            out.push(i)
    return out
"""


@pytest.fixture(scope="module", params=["loaded", "built"])
def mod(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet")
    path = folder / "quiet.hyb"
    exports = "\n".join(f"export {name}" for name in ("first", "both", "many"))
    path.write_text(SOURCE + "\n" + exports + "\n")
    if request.param == "loaded":
        return hybridc.load(str(path))
    built = path.with_suffix(".hybx")
    built.write_bytes(driver.artifact(driver.check(str(path))))
    return hybridc.load(str(built))


def test_what_comes_after_the_last_turn_is_not_needed(mod) -> None:
    """A loop may count further than a list goes if it leaves before."""
    xs = [*range(100)]
    assert mod.first(xs, 10**9, 99) == 99
    with pytest.raises(IndexError, match="100"):
        mod.first(xs, 10**9, 100)
    assert mod.both(xs, [-1] * 100, 97) == -1
    assert mod.both(xs, [-1] * 93 + [90] * 7, 97) == 90
    with pytest.raises(IndexError, match="100"):
        mod.both(xs, [-1] * 100, 98)
    assert mod.many(xs * 3, 300, 70) == [70, 170, 270]
    with pytest.raises(IndexError, match="300"):
        mod.many(xs * 3, 301, 70)


@pytest.mark.parametrize("seed", range(960, 1000))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    better = quiet.run(program)
    check_after("quiet", better)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(Interpreter(program, depth_limit=60).call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
