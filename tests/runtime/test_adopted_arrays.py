"""Large arrays that a call gives lie in the memory that compiled code made, if nobody else has it."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
fn twice(x: f32[N]) -> f32[N]:
    return x + x

fn same(x: f32[N]) -> f32[N]:
    return x

fn pair(x: f32[N]) -> (f32[N], int, f32[N]):
    return (x + x, 3, x * 3.0)

fn two(x: f32[N]) -> (f32[N], f32[N]):
    let y = x + x
    return (y, y)

fn rows(x: f32[N]) -> list[f32[N]]:
    let y = x + x
    return [y, y, x * 3.0]

struct Named:
    name: str
    x: f32[?]

fn named(x: f32[N]) -> Named:
    return Named("a", x + x)

model Kept(n: int):
    state last: f32[n] = zeros()
    state all: list[f32[n]] = []

    mut fn push(x: f32[n]) -> f32[n]:
        self.last = x + x
        self.all.push(self.last)
        return self.last

    fn seen() -> f32[n]:
        return self.last

    fn history() -> list[f32[n]]:
        return self.all

export Kept(3000)
"""
X = np.arange(3000, dtype=np.float32)


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("adopted") / "adopted.hyb"
    path.write_text(SOURCE)
    return hybridc.load(str(path))


def fast(function: Any, *args: Any) -> Any:
    """The value of a call that is served by machine code, as all after the first ones."""
    for _ in range(3):
        value = function(*args)
    return value


def adopted(a: np.ndarray) -> bool:
    """Its memory is a block's, and it is an array like any other."""
    flags = a.flags
    assert flags.c_contiguous and flags.aligned and flags.writeable
    return not flags.owndata and type(a.base).__name__ == "PyCapsule"


def test_what_nobody_else_has_is_not_copied(mod: Any) -> None:
    y = fast(mod.twice, X)
    assert adopted(y) and np.array_equal(y, 2 * X)
    a, n, b = fast(mod.pair, X)
    assert adopted(a) and adopted(b) and n == 3 and np.array_equal(a, 2 * X) and np.array_equal(b, 3 * X)
    assert adopted(fast(mod.named, X).x)
    small = fast(mod.twice, X[:100])
    assert not adopted(small) and np.array_equal(small, 2 * X[:100])


def test_what_others_have_is_copied(mod: Any) -> None:
    x = X.copy()
    y = fast(mod.same, x)
    y += 1
    assert np.array_equal(x, X)
    a, b = fast(mod.two, X)
    a[:] = 0
    assert np.array_equal(b, 2 * X)
    first, second, third = fast(mod.rows, X)
    first[:] = 0
    assert np.array_equal(second, 2 * X) and np.array_equal(third, 3 * X)


def test_state_does_not_change_with_what_was_given_out(mod: Any) -> None:
    m = mod.Kept(3000)
    y = fast(m.push, X)
    y[:] = 0
    for _ in range(3):
        seen, history = m.seen(), m.history()
        assert np.array_equal(seen, 2 * X) and all(np.array_equal(h, 2 * X) for h in history)
        seen[:] = 0
        for h in history:
            h[:] = 0


def test_it_stays_after_the_module_and_goes_on_any_thread(tmp_path: Any) -> None:
    path = tmp_path / "gone.hyb"
    path.write_text(SOURCE)
    module = hybridc.load(str(path))
    program = module._parts[0].program
    y = fast(module.twice, X)
    view = y[10:20]
    gc.collect()
    before = program.live_blocks()
    found = [fast(module.twice, X)]
    assert adopted(found[0])
    gc.collect()
    assert program.live_blocks() == before + 1
    thread = threading.Thread(target=found.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert program.live_blocks() == before
    del module, y
    gc.collect()
    assert np.array_equal(view, 2 * X[10:20])
    del view
    gc.collect()
    assert program.live_blocks() == before - 1
