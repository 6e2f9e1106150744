"""The loop's derivative is that of finite differences; what was trained is right and thinks less about what is easy."""

from __future__ import annotations

import numpy as np
import pytest

import hybridc


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "ponder" / "ponder.hyb")


def test_the_derivative_through_the_loop(mod):
    m = mod.Ponder(5, 4, seed=3)
    row = np.array([1, 0, -1, 1, 1], np.float32)
    (_, turns), g = m.value_and_grad("loss", row, True, 0.2, 0.05)
    assert turns > 1.5
    weights = m.state_dict()
    place = 0
    for name, w in weights.items():
        along = np.random.default_rng(len(name)).normal(size=w.shape).astype(np.float32)
        both = []
        for step in (1e-2, -1e-2):
            other = mod.Ponder(5, 4)
            other.load_state_dict({**weights, name: w + np.float32(step) * along})
            both.append(other.loss(row, True, 0.2, 0.05)[0])
        expected = float(np.dot(g[place:place + w.size], along.ravel()))
        assert np.isclose((both[0] - both[1]) / 2e-2, expected, rtol=3e-2, atol=2e-3), name
        place += w.size


def test_learns(mod):
    m = mod.Ponder(4, 16, 10)
    mod.train(m, 1000, 0.01, 0.2, 0.01, hybridc.rng(0))
    assert min(mod.report(m, filled, 300, 1).right for filled in range(1, 5)) > 0.9


def test_easy_rows_take_fewer_turns(mod, examples):
    m = mod.Ponder()
    m.load(str(examples / "ponder" / "ponder.safetensors"))
    easy, middle, hard = (mod.report(m, filled, 500, 1) for filled in (1, 6, 12))
    assert min(easy.right, middle.right, hard.right) > 0.95
    assert easy.turns + 1 < middle.turns and easy.turns + 1.5 < hard.turns
