"""Distributions are those of enumeration; answers teach the digits, and a reader teaches a new task."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hybridc


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "digitsum" / "digitsum.hyb")


@pytest.fixture(scope="module")
def train(script):
    return script("digitsum/train.py")


def test_distributions_are_those_of_enumeration(mod):
    reader = mod.Reader(5)
    images = list(np.random.default_rng(0).random((3, 64), np.float32) * 3)
    digits = [np.asarray(reader.digit(x), np.float64) for x in images]
    of_sum, of_count, places = np.zeros(28), np.zeros(4), np.zeros((3, 10))
    for seen in itertools.product(range(10), repeat=3):
        p = digits[0][seen[0]] * digits[1][seen[1]] * digits[2][seen[2]]
        of_sum[sum(seen)] += p
        of_count[seen.count(4)] += p
        places[range(3), sorted(seen)] += p
    assert np.allclose(reader.sum_of(images), of_sum, atol=1e-6)
    assert np.allclose(reader.count_of(images, 4), of_count, atol=1e-6)
    assert np.allclose(reader.sorted_of(images), places, atol=1e-6)


@pytest.mark.parametrize("kind", ["Sum", "Largest", "Count", "Sorted"])
def test_the_derivative_of_each_task_is_right(mod, train, kind):
    reader = mod.Reader(3)
    images, digits = train.digit_lists(np.random.default_rng(5), 1, held_out=True)[0]
    asked = train.question(mod, kind, images, digits)
    _, g = reader.value_and_grad("loss", asked)
    start = np.concatenate([v.ravel() for v in reader.state_dict().values()])
    along = np.random.default_rng(1).normal(size=start.shape).astype(np.float32)

    def at(step):
        moved, place = {}, 0
        for name, v in reader.state_dict().items():
            moved[name] = (start + np.float32(step) * along)[place:place + v.size].reshape(v.shape)
            place += v.size
        other = mod.Reader(3)
        other.load_state_dict(moved)
        return other.loss(asked)

    assert np.isclose((at(1e-2) - at(-1e-2)) / 2e-2, float(np.dot(g, along)), rtol=2e-2, atol=1e-2)


def test_answers_teach_digits_and_a_new_task(mod, train):
    reader = train.train(mod, train.KINDS, 1500, 6)
    held = train.digit_lists(np.random.default_rng(2), 200, held_out=True)
    assert min(train.right(mod, reader, kind, held) for kind in train.KINDS) > 0.85
    few = train.loops(train.digit_lists(np.random.default_rng(3), 60, held_out=False))
    taught, fresh = mod.transfer(reader, few, 40, 0.05), mod.Looped(fixed=False)
    mod.learn(fresh, few, 40, 0.003)
    assert train.loops_right(taught, train.loops(held)) > 0.85 > 0.5 > train.loops_right(fresh, train.loops(held))
