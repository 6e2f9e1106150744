"""Recursion to exactly the depth that is allowed, whatever the compiler makes of the calls; the chain of calls of a
fault below, and what the calls held."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.interp import InterpFault, Interpreter
from hybridc.link import surface
from tests.leaks import live_blocks

SOURCE = Path(__file__).parent / "recursion.hyb"
LINES = SOURCE.read_text().splitlines()
DEPTH = 10_000
"""Calls that may be nested."""


def line_of(mark: str) -> int:
    (found,) = [i for i, line in enumerate(LINES, 1) if line.endswith("# " + mark)]
    return found


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(SOURCE)


BELOW = {
    # The calls below the first, and the result, of an argument n.
    "chain": (lambda m, n: m.chain(n), lambda n: n),
    "twice": (lambda m, n: m.twice(n), lambda n: 0),
    "tail": (lambda m, n: m.tail(n, 0), lambda n: n),
    "either": (lambda m, n: m.either(n), lambda n: n - n // 3),
    "within": (lambda m, n: m.within(n, 5), lambda n: 5 + max(n - 1, 0)),
    "looped": (lambda m, n: m.looped(n), lambda n: n),
    "listed": (lambda m, n: m.listed(n), lambda n: list(range(1, n + 1))),
    "total": (lambda m, n: m.total_of(n), lambda n: n),
}


@pytest.mark.parametrize("name", BELOW)
def test_results(mod, name):
    call, expected = BELOW[name]
    for n in (*range(25), 100, 999):
        assert call(mod, n) == expected(n)


@pytest.mark.parametrize("name", BELOW)
def test_the_depth_that_is_allowed(mod, name):
    call, expected = BELOW[name]
    assert call(mod, DEPTH - 1) == expected(DEPTH - 1)
    for n in (DEPTH, DEPTH + 1, DEPTH + 7, 3 * DEPTH):
        with pytest.raises(RecursionError, match="maximum call depth exceeded"):
            call(mod, n)
    assert call(mod, 12) == expected(12)


@pytest.mark.parametrize("name", ["local", "nested", "to_given"])
def test_calls_of_function_values_are_as_deep_as_others(mod, name):
    """But for the functions around the first, which count where they stand apart."""
    checked = driver.check(str(SOURCE))
    core, interface = driver.lower(checked)
    symbol = next(e.symbol for e in surface.entries(interface) if e.symbol == name)
    machines = [Interpreter(p) for p in (core, pipeline.optimise(core, interface, checked.sources))]
    args = (1,) if name == "local" else ()
    for call in (getattr(mod, name), *(lambda *args, m=m: m.call(symbol, args)[0] for m in machines)):
        for n in (0, 1, 12, DEPTH - 3):
            assert call(n, *args) == n
        with pytest.raises((RecursionError, InterpFault), match="maximum call depth exceeded"):
            call(DEPTH + 1, *args)


def test_values_deeper_than_calls_may_be(mod):
    with pytest.raises(RecursionError):
        mod.linked(DEPTH + 5)
    assert mod.total_of(30) == 30


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9, 17, 40])
def test_every_call_is_in_the_chain(mod, n):
    with pytest.raises(IndexError) as found:
        mod.digging([], n)
    chain = [(line, name) for _, line, name in found.value.frames]
    assert chain == [
        *[(line_of("digging"), "digging")] * n,
        (line_of("digging outer"), "digging"),
        (line_of("outer"), "outer"),
        (line_of("element"), "element"),
    ]


@pytest.mark.parametrize("n", [0, 3, 12, 30])
def test_what_calls_held_is_given_back(mod, n):
    before = live_blocks(mod)
    with pytest.raises(IndexError) as found:
        mod.held([1, 2], n)
    chain = [(line, name) for _, line, name in found.value.frames]
    assert chain == [
        *[(line_of("held"), "held")] * n, (line_of("held element"), "held"), (line_of("element"), "element"),
    ]
    assert live_blocks(mod) == before
