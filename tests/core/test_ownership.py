"""Retains and releases: right on random programs, and sparing where it matters."""

from __future__ import annotations

import pytest

from hybridc.core.interp import Interpreter, InterpFault
from hybridc.core.ir import INT, Program
from hybridc.core.printer import print_program
from hybridc.core.values import Buffer, EnumValue, Some
from hybridc.core.verify import verify
from hybridc.passes.ownership import own
from tests.core.counting import Counting
from tests.core.generate import B, BB, BOTH, NEST, PAIR, TREE, BufferT, OptionT, program_of

PAIR_VALUE = (Buffer([1, 2]), 7, Buffer([3]))
TREE_VALUE = EnumValue(2, (EnumValue(1, (Buffer([4]),)), EnumValue(0, ()), PAIR_VALUE))


def argument(t: object) -> object:
    values = {
        INT: 2, B: Buffer([5, 6, 7]), BB: Buffer([Buffer([1]), Buffer([])]), PAIR: PAIR_VALUE, TREE: TREE_VALUE,
        BOTH: (Buffer([9]), 1), NEST: (PAIR_VALUE, TREE_VALUE), OptionT(B): Some(Buffer([8])),
        OptionT(PAIR): Some(PAIR_VALUE), BufferT(TREE): Buffer([TREE_VALUE]),
    }  # fmt: skip
    return values[t]  # type: ignore[index]


def outcome(run, name: str, args: list) -> object:
    try:
        return run(name, args)
    except InterpFault as fault:
        return fault.kind, fault.message


def compare(program: Program) -> None:
    owned = own(program)
    assert verify(owned.program) == []
    plain = Interpreter(program, depth_limit=60)
    counting = Counting(owned, depth_limit=60)
    for fn in program.fns.values():
        args = [argument(p.type) for p in fn.params]
        expected = outcome(plain.call, fn.name, args)
        assert outcome(counting.run, fn.name, args) == expected
        counting.check_empty()


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed: int) -> None:
    program = program_of(seed)
    assert verify(program) == [], print_program(program)
    compare(program)
