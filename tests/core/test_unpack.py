"""Parameters that are only taken apart are passed as parts, and programs mean the same."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after, verify
from hybridc.passes import unpack
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.generate import program_of
from tests.core.test_ownership import argument, outcome
from tests.core.texts import parsed


@pytest.mark.parametrize("seed", range(300, 340))
def test_random_programs_keep_their_meaning(seed: int) -> None:
    program = program_of(seed)
    plain = Interpreter(program, depth_limit=60)
    for fn in program.fns.values():
        better = unpack.run(program, [fn.name])
        check_after("unpack", better)
        args = [argument(p.type) for p in fn.params]
        expected = outcome(plain.call, fn.name, args)
        assert outcome(Interpreter(better, depth_limit=60).call, fn.name, args) == expected
        assert outcome(Counting(own(better), depth_limit=60).run, fn.name, args) == expected


TEXT = """
struct str { bytes: buffer[u8], size: int, count: int }
struct pair { left: buffer[int], right: int }

fn inner "inner"(p%1: pair, n%2: int) -> (int) {
  %3: int = get[index=1](p%1)
  %4: int = add(%3, n%2)
  yield %4
}

fn passes "passes"(p%1: pair) -> (int) {
  %2: int = call inner(p%1, 3)
  yield %2
}

fn keeps "keeps"(p%1: pair) -> (pair) {
  %2: int = call passes(p%1)
  yield p%1
}

fn root "root"(p%1: pair) -> (int, pair) {
  %2: int = call passes(p%1)
  %3: pair = call keeps(p%1)
  yield %2, %3
}
"""


def test_what_is_handed_on_is_unpacked_and_what_is_kept_is_not() -> None:
    program = parsed(TEXT)
    assert verify(program) == []
    done = unpack.run(program, ["root"])
    check_after("unpack", done)
    assert [len(done.fns[n].params) for n in ("inner", "passes", "keeps", "root")] == [3, 2, 1, 1]
    assert "call inner(" in print_program(done)
