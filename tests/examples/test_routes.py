"""Ways are scipy's, the loss's derivative is the difference of ways, and a short training finds good ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

import hybridc


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "routes" / "routes.hyb")


@pytest.fixture(scope="module")
def train(script):
    return script("routes/train.py")


def test_ways_are_shortest(mod):
    g = hybridc.rng(7)
    for _ in range(20):
        m = mod.random_map(9, g)
        costs = mod.true_costs(m)
        lengths = dijkstra(csr_matrix((costs, (m.start, m.end)), (81, 81)), indices=m.source)
        way = mod.shortest_way(m, costs)
        assert np.isclose(mod.length_of(way, costs), lengths[m.target], rtol=1e-5)


def test_the_derivative_is_that_of_the_lengths(mod):
    """Ways do not change with a small step, so the loss is the difference of two sums of costs."""
    m, s = mod.random_map(6, hybridc.rng(8)), mod.Surveyor(4, 1, seed=3)
    good = mod.shortest_way(m, mod.true_costs(m))
    loss, g = s.value_and_grad("loss", m, good, 0.5, 3, 11)
    weights = s.state_dict()
    along = {n: np.random.default_rng(len(n)).normal(size=w.shape).astype(np.float32) for n, w in weights.items()}
    both = []
    for step in (1e-3, -1e-3):
        other = mod.Surveyor(4, 1)
        other.load_state_dict({n: w + np.float32(step) * along[n] for n, w in weights.items()})
        both.append(other.loss(m, good, 0.5, 3, 11))
    expected = float(np.dot(g, np.concatenate([a.ravel() for a in along.values()])))
    assert np.isclose((both[0] - both[1]) / 2e-3, expected, rtol=3e-2, atol=2e-2)


def test_learns(mod, train):
    before, straight = mod.excess(mod.Surveyor(), 12, 100, 5)
    after, _ = mod.excess(train.trained(mod, 600), 12, 100, 5)
    assert after < 0.06 < 0.4 < min(before, straight)
