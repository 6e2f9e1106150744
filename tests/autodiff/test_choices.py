"""Estimators of choices: `exact` against sums over all ways, the unbiased ones against `exact`, the others by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

LOGITS, X = np.array([0.2, -0.3, 0.4], np.float32), 0.8


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(str(Path(__file__).with_name("choices.hyb")))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def expected(logits: np.ndarray, x: float) -> float:
    """The mean of `two_steps` over all ways."""

    def reward(i: int, y: float) -> float:
        return i * i * 0.5 - y * i + y * y

    def further(total: float, i: int, k: int) -> float:
        if k == i:
            return total
        p = softmax(logits * x + k)
        return sum(p[j] * further(total * 0.5 + reward(j, x * i), i, k + 1) for j in range(3))

    p = softmax(logits)
    return sum(p[i] * (reward(1, x) if i == 1 else further(reward(i, x), i, 0)) for i in range(3))


def slopes() -> np.ndarray:
    h = 1e-5
    point = np.array([*LOGITS, X], np.float64)
    found = []
    for i in range(4):
        high, low = point.copy(), point.copy()
        high[i] += h
        low[i] -= h
        found.append((expected(high[:3], high[3]) - expected(low[:3], low[3])) / (2 * h))
    return np.array(found)


def test_exact_sums_over_all_ways(mod) -> None:
    value, (by_logits, by_x) = mod.d_exact(LOGITS, X, hybridc.rng(0))
    assert value == pytest.approx(expected(LOGITS.astype(np.float64), X), rel=1e-5)
    np.testing.assert_allclose([*by_logits, by_x], slopes(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["reinforce", "rloo"])
def test_unbiased(mod, which: str) -> None:
    n = 20000
    mean, variance = mod.means(LOGITS, X, n, which, hybridc.rng(7))
    error = np.abs(mean - slopes())
    assert (error < 4.5 * np.sqrt(variance / n)).all(), (mean, slopes())
    assert (variance > 0).all()


def test_rloo_varies_less_than_one_sample(mod) -> None:
    _, one = mod.means(LOGITS, X, 4000, "reinforce", hybridc.rng(1))
    _, four = mod.means(LOGITS, X, 4000, "rloo", hybridc.rng(1))
    assert (four[:3] < one[:3] / 3).all()


def test_outside_of_derivatives_all_are_samples(mod) -> None:
    for f in (mod.two_steps_exact, mod.two_steps_reinforce, mod.two_steps_rloo):
        g, h = hybridc.rng(3), hybridc.rng(3)
        assert [f(LOGITS, X, g) for _ in range(20)] == [mod.two_steps_exact(LOGITS, X, h) for _ in range(20)]


def test_relaxed(mod) -> None:
    w = np.array([1.0, -2.0, 0.5], np.float32)
    seen = set()
    for seed in range(20):
        value, d = mod.d_straight(LOGITS, w, hybridc.rng(seed))
        i = int(np.argmin(np.abs(w**2 - value)))
        assert value == pytest.approx(w[i] ** 2)
        p = softmax(LOGITS)
        np.testing.assert_allclose(d, 2 * w[i] * p * (w - p @ w), rtol=1e-5)
        seen.add(i)
    assert seen == {0, 1, 2}
    value, d = mod.d_gumbel(LOGITS, w, hybridc.rng(2))
    assert min(abs(w**2 - value)) < 1e-6 and abs(d.sum()) < 1e-6 and (d != 0).any()
    counts = np.zeros(3)
    for seed in range(3000):
        value, _ = mod.d_gumbel(LOGITS, w, hybridc.rng(seed))
        counts[int(np.argmin(np.abs(w**2 - value)))] += 1
    assert (np.abs(counts / 3000 - softmax(LOGITS)) < 0.04).all()


def test_argmax(mod) -> None:
    r = np.random.default_rng(0)
    x, w = r.normal(size=(2, 4)), r.normal(size=(2, 4))
    value, d = mod.d_greedy(x, w)
    assert value == pytest.approx(2 * sum(w[i, x[i].argmax()] for i in range(2)))
    p, q = softmax(x), softmax(x / 2)
    want = p * (w - (p * w).sum(-1, keepdims=True)) + q * (w - (q * w).sum(-1, keepdims=True)) / 2
    np.testing.assert_allclose(d, want, rtol=1e-9)


def test_models_and_aux(mod) -> None:
    m = mod.policy(seed=1)
    (value, last), g = m.value_and_grad("loss", 1, hybridc.rng(0))
    w = m.state_dict()["w"].astype(np.float64)

    def whole(w: np.ndarray) -> float:
        p = softmax(w)
        return sum(p[1, a] * p[a, b] * (a * b + w[a, b]) for a in range(3) for b in range(3))

    assert value == pytest.approx(whole(w), rel=1e-5) and last in (0, 1, 2)
    h = 1e-5
    for i in range(9):
        e = np.zeros(9)
        e[i] = h
        e = e.reshape(3, 3)
        assert g[i] == pytest.approx((whole(w + e) - whole(w - e)) / (2 * h), abs=1e-4)


def test_second_derivatives(mod) -> None:
    p = softmax(LOGITS.astype(np.float64))
    v = np.array([0.0, 1.0, 4.0])

    def first(logits: np.ndarray) -> np.ndarray:
        p = softmax(logits)
        return p * (v - p @ v)

    h = 1e-5
    want = []
    for i in range(3):
        e = np.zeros(3)
        e[i] = h
        want.append(((first(LOGITS + e) ** 2).sum() - (first(LOGITS - e) ** 2).sum()) / (2 * h))
    np.testing.assert_allclose(mod.curvature(LOGITS, hybridc.rng(0)), want, rtol=1e-3, atol=1e-4)
    assert p.sum() == pytest.approx(1)


def test_the_generator_goes_on(mod) -> None:
    g = hybridc.rng(5)
    first, second = (mod.d_reinforce(LOGITS, X, g)[1][1] for _ in range(2))
    others = [mod.d_reinforce(LOGITS, X, g)[1][1] for _ in range(10)]
    assert len({first, second, *others}) > 1


def test_what_does_not_go_together(mod) -> None:
    with pytest.raises(ValueError, match="do not go together"):
        mod.d_both(LOGITS, hybridc.rng(0))


REFUSED = {
    "this is no estimator": "g.categorical(x, estimator=best)",
    "this is no estimator.*": "g.categorical(x, estimator=rloo)",
    "argmax is none": "argmax(x, estimator=rloo(3))",
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str, tmp_path: Path) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(f"fn f(x: f32[3], mut g: rng) -> int:\n    return {REFUSED[message]}\n")
    with pytest.raises(hybridc.CompileError, match=message) as e:
        hybridc.load(str(file))
    assert "HYB621" in str(e.value)


MADE = '''
fn f(x: f32[3]) -> f32:
    var g = rng(0)
    return f32(g.categorical(x, estimator=reinforce))
fn d(x: f32[3]) -> f32[3]:
    return grad(f)(x)
'''
SILENT = '''
fn f(x: f32[3], mut g: rng) -> f32:
    return x[g.categorical(x)] * f32(argmax(x)) * f32(argmax(stop_gradient(x)))
fn d(x: f32[3], mut g: rng) -> f32[3]:
    return grad(f)(x, mut g)
'''
FORWARD = '''
fn f(x: f32[3], mut g: rng) -> f32:
    return f32(g.categorical(x, estimator=exact))
fn d(x: f32[3], mut g: rng) -> (f32, f32):
    return jvp(f)(x, mut g, x)
'''


def test_a_generator_made_within(tmp_path: Path) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(MADE)
    with pytest.raises(hybridc.CompileError, match=":3:13: error.HYB621"):
        hybridc.load(str(file))


def test_choices_without_estimator_warn(tmp_path: Path) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(SILENT)
    with pytest.warns(hybridc.CompileWarning, match="estimator=") as found:
        hybridc.load(str(file))
    assert sorted(str(w.message).split(": ")[0].split(":", 1)[1] for w in found) == ["3:14", "3:38"]


def test_forward_mode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(FORWARD)
    with pytest.raises(hybridc.CompileError, match="differentiated by `grad` alone"):
        hybridc.load(str(file))
