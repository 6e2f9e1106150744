"""Free buffers are kept by size for the next ones, within a budget, and go back with the context."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hybridc_runtime import glue
from hybridc_runtime.memory import word
from hybridc_runtime.native import SPARE_BYTES

import hybridc
from hybridc.llvm.abi import CONTEXT_SIZE, OFFSET, RECENT, SPARES
from tests.leaks import live_blocks

SOURCE = """
fn ones_then_zeros(n: int, turns: int) -> f32:
    var worst: f32 = 0.0
    for i in range(turns):
        let a: f32[?] = ones(n)
        let b = a + 1.0
        worst += sum(b) * 0.0
        let c = clear(n + i % 3)
        worst = max(worst, max(abs(c)))
    return worst

fn clear(n: int) -> f32[?]:
    let c: f32[?] = zeros(n)
    return c

fn rows(n: int, size: int) -> list[f32[?]]:
    return [clear(size + i) for i in range(n)]

fn drop(n: int, size: int) -> int:
    let all = rows(n, size)
    return len(all)

fn grown(n: int) -> int:
    var xs: list[int] = []
    for i in range(n):
        xs.push(i)
    return sum(xs)

fn workers(n: int, size: int) -> list[f32]:
    return parallel [sum(clear(size + i) + 1.0) for i in range(n)]

fn failing(n: int) -> int:
    let x: f32[?] = ones(n)
    assert sum(x) < 0.0, "no"
    return 0
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("spares") / "spares.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def live(mod):
    gc.collect()
    return live_blocks(mod)


def chains(context):
    """Of each list its size, and how many blocks it has."""
    for i in range(glue.SPARES):
        at, n = context + glue.SPARE_BUFFERS + 16 * i, 0
        block = word(at)
        while block:
            block, n = word(block), n + 1
        yield word(at + 8), n


def check(mod):
    """What contexts keep is what they say, and no more than they may."""
    kept = 0
    for p in mod._parts:
        for context in p.program.contexts:
            held = word(context + glue.BUDGET + 8)
            assert held == sum(size * n for size, n in chains(context)) <= SPARE_BYTES
            kept += held
    return kept


def test_the_runtime_and_the_compiler_agree():
    assert OFFSET["budget"] == glue.BUDGET and OFFSET["spare_block0"] == glue.SPARE_BUFFERS
    assert RECENT == glue.RECENT and SPARES == glue.SPARES and OFFSET["trace"] == glue.TRACE and CONTEXT_SIZE == glue.CONTEXT_SIZE


@pytest.mark.parametrize("n", [1, 10, 100, 255, 1000, 5000, 300_000, 2_000_000])
def test_cleared_again(mod, n):
    assert mod.ones_then_zeros(n, 7) == 0
    check(mod)


def test_many_sizes_and_more_than_may_be_kept(mod):
    before = live(mod)
    for size in (1, 60, 3000, 70_000):
        assert mod.drop(300, size) == 300
        check(mod)
    assert mod.grown(100_000) == 4_999_950_000
    assert live(mod) == before
    assert check(mod) > 0


def test_each_small_size_has_a_place(mod):
    """Rows that become longer from turn to turn, as the tape of an elimination's are, do not drive each other out."""
    mod.drop(200, 16)
    kept = {size for p in mod._parts for context in p.program.contexts for size, n in chains(context) if n}
    assert len(set(range(88, 889, 16)) & kept) >= 45  # of 51; a few are in use, or were taken for something else


def test_workers_and_faults(mod):
    before = live(mod)
    assert mod.workers(64, 2000) == [2000 + i for i in range(64)]
    for _ in range(3):
        with pytest.raises(AssertionError, match="no"):
            mod.failing(4000)
    check(mod)
    assert live(mod) == before


def test_values_outlive_what_made_them(mod):
    kept = mod.rows.native(50, 5000)
    for _ in range(5):
        mod.ones_then_zeros(5000, 20)
        mod.drop(50, 5000)
    assert all((np.asarray(kept[i]) == 0).all() for i in range(50))
    check(mod)
