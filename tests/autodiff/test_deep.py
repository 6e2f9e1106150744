"""Adjoints of values that are nested deeper than calls may be are merged, converted and compared (deep.hyb); expected
values by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.interp import Interpreter
from hybridc.link import surface
from tests.leaks import live_blocks

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).with_name("deep.hyb")
DEEP = 100_000


def squares(n: int) -> int:
    return sum(x * x for x in range(1, n + 1))


def weights(n: int) -> int:
    return sum(1 + i * i if i % 2 == 0 else i * i + 4 for i in range(n))


EXPECTED = {
    "d_built": lambda n: n * (n + 1),
    "d_squares": lambda n: 4 * squares(n),
    "d_merged": lambda n: 36 * squares(n),
    "directed": lambda n: 2 * squares(n),
    "curved": lambda n: 4 * squares(n),
    "d_through_custom": lambda n: 4 * squares(n),
    "d_branches": lambda n: n * (n - 1) + 16,
    "d_terms": lambda n: 16 * (weights(n) + 9 * ((n + 1) // 2)) + 512,
}


def arguments(name: str, n: int) -> tuple[object, ...]:
    return (1.0, n) if name == "d_built" else (n,)


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(str(SOURCE))


@pytest.mark.parametrize("name", EXPECTED)
def test_deep_values(mod, name: str) -> None:
    before = live_blocks(mod)
    assert getattr(mod, name)(*arguments(name, DEEP)) == pytest.approx(EXPECTED[name](DEEP), rel=1e-12)
    assert live_blocks(mod) == before


def test_a_direction_that_is_shorter(mod) -> None:
    with pytest.raises(ValueError, match="another shape"):
        mod.misdirected(DEEP)


def test_on_the_interpreter() -> None:
    checked = driver.check(str(SOURCE))
    core, interface = driver.lower(checked, all_names=True)
    machine = Interpreter(pipeline.differentiated(core, surface.symbols(interface), checked.sources))
    for name, expected in EXPECTED.items():
        for n in (1, 2, 5):
            found = machine.call(interface.fns[name][0].symbol, arguments(name, n))
            assert found[0] == expected(n), (name, n)
