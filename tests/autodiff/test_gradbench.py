"""GradBench's problems (bench/gradients/gradbench.hyb) beside PyTorch, or what mathematics says of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hybridc

SOURCE = Path(__file__).parents[2] / "bench" / "gradients" / "gradbench.hyb"
Tensor = torch.Tensor


@pytest.fixture(scope="module")
def mod() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_OPT", "0")
    loaded = hybridc.load(SOURCE)
    patch.undo()
    return loaded


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def agree(found: tuple[Any, ...], f: Any, args: tuple[np.ndarray, ...]) -> None:
    """Value and gradients beside torch's of `f`."""
    value, slopes = found
    given = [torch.tensor(a, requires_grad=True) for a in args]
    want = f(*given)
    assert value == pytest.approx(float(want.detach()), rel=1e-12)
    for d, w in zip(slopes, torch.autograd.grad(want, given), strict=True):
        np.testing.assert_allclose(d, w.numpy(), rtol=1e-9, atol=1e-10)


def test_gmm(mod: Any, random: np.random.Generator) -> None:
    n, k, d, gamma, m = 7, 3, 4, 1.5, 2
    below = d * (d - 1) // 2
    shapes = ((k,), (k, d), (k, d), (k, below))
    args = tuple(random.normal(size=s) for s in shapes)
    x = random.normal(size=(n, d))
    a = 0.5 * (d + m + 1)

    def peer(alphas: Tensor, means: Tensor, qs: Tensor, ls: Tensor) -> Tensor:
        lower = torch.zeros(k, d, d, dtype=torch.float64)
        columns, rows = np.triu_indices(d, 1)  # column by column
        lower[:, rows, columns] = ls
        q = lower + torch.diag_embed(qs.exp())
        y = torch.einsum("kij,nkj->nki", q, torch.tensor(x)[:, None] - means)
        inner = alphas + qs.sum(1) - 0.5 * (y * y).sum(2)
        prior = (0.5 * gamma**2 * (q * q).sum() - m * qs.sum()
                 - k * ((d + m + 1) * d * (math.log(gamma) - 0.5 * math.log(2))
                        - float(torch.special.multigammaln(torch.tensor(a, dtype=torch.float64), d))))
        return (-0.5 * n * d * math.log(2 * math.pi) + torch.logsumexp(inner, 1).sum()
                - n * torch.logsumexp(alphas, 0) + prior)

    log_gamma = [math.lgamma(a - 0.5 * j) for j in range(d)]
    agree(mod.gmm_gradient(*args, x, gamma, m, log_gamma), peer, args)


def turned(r: Tensor, x: Tensor) -> Tensor:
    """x rotated by the exponential of the matrix of r."""
    zero = torch.zeros((), dtype=torch.float64)
    cross = torch.stack([torch.stack([zero, -r[2], r[1]]), torch.stack([r[2], zero, -r[0]]),
                         torch.stack([-r[1], r[0], zero])])
    return torch.matrix_exp(cross) @ x


def project(camera: Tensor, point: Tensor, weight: Tensor, feature: Tensor) -> Tensor:
    p = turned(camera[:3], point - camera[3:6])
    x = p[:2] / p[2]
    square = x @ x
    return weight * (x * (1 + camera[9] * square + camera[10] * square**2) * camera[6] + camera[7:9] - feature)


def test_ba(mod: Any, random: np.random.Generator) -> None:
    c, p, n = 2, 5, 8
    cameras, points, weights = random.normal(size=(c, 11)), random.normal(size=(p, 3)), random.normal(size=n)
    points[:, 2] += 5
    features = random.normal(size=(n, 2))
    seen = np.stack([random.integers(0, c, n), random.integers(0, p, n)], 1)

    def peer(cameras: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(n):
            e = project(cameras[seen[i, 0]], points[seen[i, 1]], weights[i], torch.tensor(features[i]))
            total = total + e @ e + (1 - weights[i] ** 2) ** 2
        return total

    agree(mod.ba_gradient(cameras, points, weights, features, seen), peer, (cameras, points, weights))
    block = mod.ba_jacobian(cameras[0], points[0], weights[0], features[0])
    given = tuple(torch.tensor(v) for v in (cameras[0], points[0], weights[0], features[0]))
    want = torch.autograd.functional.jacobian(project, given)
    for d, w in zip(block, want[:3], strict=True):
        np.testing.assert_allclose(d, w.numpy().reshape(d.shape), rtol=1e-9, atol=1e-10)


def test_ba_without_rotation(mod: Any) -> None:
    """Where the formula for an angle would divide by 0."""
    camera = np.array([0, 0, 0, 0.1, 0.2, 0.3, 2, 0, 0, 0.1, 0.2])
    given = (torch.tensor(camera), torch.tensor([1.0, 2, 4]).double(), torch.tensor(1.5).double(), torch.zeros(2).double())
    want = torch.autograd.functional.jacobian(project, given)
    found = mod.ba_jacobian(camera, np.array([1.0, 2, 4]), 1.5, np.zeros(2))
    np.testing.assert_allclose(found[0], want[0], rtol=1e-9)


def test_hand(mod: Any, random: np.random.Generator) -> None:
    bones, v, p = 21, 6, 4
    parents = [-1, *(0 if i % 4 == 0 else i for i in range(20))]
    theta = random.normal(size=26) * 0.3
    at_rest, to_bone = (np.tile(np.eye(4), (bones, 1, 1)) for _ in range(2))
    at_rest[:, :3], to_bone[:, :3] = random.normal(size=(2, bones, 3, 4))
    vertices = np.concatenate([random.normal(size=(v, 3)), np.ones((v, 1))], 1)
    weights = random.uniform(size=(v, bones))
    points, nearest = random.normal(size=(p, 3)), random.integers(0, v, p)

    def about(axis: int, angle: Tensor) -> Tensor:
        direction = torch.zeros(3, dtype=torch.float64)
        direction[axis] = 1
        return torch.stack([turned(direction * angle, e) for e in torch.eye(3, dtype=torch.float64)], 1)

    def peer(theta: Tensor) -> Tensor:
        angles = [torch.zeros(3, dtype=torch.float64)]
        for at in range(6, 26, 4):
            rest = torch.zeros(1, dtype=torch.float64)
            angles += [rest.expand(3), torch.cat([theta[at : at + 2], rest]),
                       *(torch.cat([theta[at + j : at + j + 1], rest, rest]) for j in (2, 3))]
        placed: list[Tensor] = []
        for b, a in enumerate(angles):
            turn = torch.eye(4, dtype=torch.float64)
            turn[:3, :3] = about(2, a[2]) @ about(1, a[1]) @ about(0, a[0])
            own = torch.tensor(at_rest[b]) @ turn
            placed.append(own if parents[b] < 0 else placed[parents[b]] @ own)
        moved = torch.einsum("vb,bij,bjk,vk->vi", torch.tensor(weights), torch.stack(placed), torch.tensor(to_bone),
                             torch.tensor(vertices))[:, :3]
        return torch.stack([torch.tensor(points[i]) - turned(theta[:3], moved[nearest[i]]) - theta[3:6] for i in range(p)])

    args = (theta, parents, at_rest, to_bone, vertices, weights, points, nearest)
    np.testing.assert_allclose(mod.hand(*args), peer(torch.tensor(theta)), rtol=1e-9, atol=1e-10)
    want = torch.autograd.functional.jacobian(peer, torch.tensor(theta))
    np.testing.assert_allclose(mod.hand_jacobian(*args), want, rtol=1e-9, atol=1e-9)


def test_lstm(mod: Any, random: np.random.Generator) -> None:
    layers, h, t = 2, 3, 5
    main, extra = random.normal(size=(2 * layers, 4 * h)), random.normal(size=(3, h))
    start, sequence = random.normal(size=(2 * layers, h)), random.normal(size=(t, h))

    def peer(main: Tensor, extra: Tensor) -> Tensor:
        state = list(torch.tensor(start))
        total = torch.zeros((), dtype=torch.float64)
        for now, following in zip(torch.tensor(sequence[:-1]), torch.tensor(sequence[1:]), strict=True):
            x = now * extra[0]
            for l in range(layers):
                f, i, o, c = (torch.stack([x, state[2 * l], x, state[2 * l]]) * main[2 * l].reshape(4, h)
                              + main[2 * l + 1].reshape(4, h))
                state[2 * l + 1] = state[2 * l + 1] * f.sigmoid() + i.sigmoid() * c.tanh()
                x = state[2 * l] = o.sigmoid() * state[2 * l + 1].tanh()
            guess = x * extra[1] + extra[2]
            total = total + (following * (guess - torch.log(2 + guess.exp().sum()))).sum()
        return -total / ((t - 1) * h)

    agree(mod.lstm_gradient(main, extra, start, sequence), peer, (main, extra))


def test_det(mod: Any, random: np.random.Generator) -> None:
    a = random.normal(size=(5, 5))
    value, slope = mod.det_gradient(a.tolist())
    assert value == pytest.approx(np.linalg.det(a))
    np.testing.assert_allclose(slope, np.linalg.det(a) * np.linalg.inv(a).T, rtol=1e-9)


def test_ode(mod: Any) -> None:
    """y_i(t) = t^(i+1) / (i+1)! x_0 ... x_i; the method is exact to the fourth power."""
    x = [0.7, 1.3, 0.9, 1.1]
    value, slope = mod.ode_gradient(x, 10)
    assert value == pytest.approx(2**4 / 24 * math.prod(x))
    assert slope == pytest.approx([value / v for v in x])
    more = [*x, 0.8, 1.2]
    value, slope = mod.ode_gradient(more, 100)
    assert value == pytest.approx(2**6 / 720 * math.prod(more), rel=1e-6)
    assert slope == pytest.approx([value / v for v in more], rel=1e-6)


def test_saddle(mod: Any) -> None:
    lowest, highest = mod.saddle()
    assert [*lowest, *highest] == pytest.approx([0, 0, 0, 0], abs=1e-5)


def test_particle(mod: Any) -> None:
    """The same flight in numpy ends at the origin."""
    w = mod.particle(0.0)
    at, speed = np.array([0.0, 8]), np.array([0.75, 0])
    while True:
        force = sum((at - c) / np.linalg.norm(at - c) ** 3 for c in (np.array([10, 10 - w]), np.array([10.0, 0])))
        following = at + 0.1 * speed
        if following[1] <= 0:
            break
        at, speed = following, speed + 0.1 * force
    assert at[0] - at[1] / speed[1] * speed[0] == pytest.approx(0, abs=1e-3)
    assert w == pytest.approx(0.2072, abs=1e-4)


def test_kmeans(mod: Any, random: np.random.Generator) -> None:
    """Of a centre to which n points are nearest: 2 sum(c - p), and 2 n."""
    centres, points = random.normal(size=(4, 2)), random.normal(size=(30, 2))
    cost, slope, curve = mod.kmeans_step(centres, points)
    distance = ((points[:, None] - centres) ** 2).sum(2)
    nearest = distance.argmin(1)
    assert cost == pytest.approx(distance.min(1).sum())
    for k, c in enumerate(centres):
        mine = points[nearest == k]
        np.testing.assert_allclose(slope[k], 2 * (c - mine).sum(0))
        np.testing.assert_allclose(curve[k], 2.0 * len(mine))


def test_llsq(mod: Any, random: np.random.Generator) -> None:
    n, x = 20, random.normal(size=4)
    t = np.linspace(-1, 1, n)
    powers = t[:, None] ** np.arange(4)
    miss = powers @ x - np.sign(t)
    value, slope = mod.llsq_gradient(x.tolist(), n)
    assert value == pytest.approx(0.5 * miss @ miss)
    assert slope == pytest.approx(powers.T @ miss)


def test_crf(random: np.random.Generator) -> None:
    """bench/gradients/crf.hyb, in both forms."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_OPT", "0")
    mod = hybridc.load(SOURCE.with_name("crf.hyb"))
    patch.undo()
    scores, moves = (random.normal(size=s).astype(np.float32) for s in ((7, 5), (5, 5)))
    labels = random.integers(0, 5, 7)
    s, m = torch.tensor(scores, requires_grad=True), torch.tensor(moves, requires_grad=True)
    alpha = s[0]
    for row in s[1:]:
        alpha = row + torch.logsumexp(alpha[:, None] + m, 0)
    loss = torch.logsumexp(alpha, 0) - s[range(7), labels].sum() - m[labels[:-1], labels[1:]].sum()
    want = torch.autograd.grad(loss, (s, m))
    for f in (mod.nll_gradient, mod.products_gradient):
        value, slopes = f(scores, moves, labels)
        assert value == pytest.approx(loss.item(), rel=1e-5)
        for d, w in zip(slopes, want, strict=True):
            np.testing.assert_allclose(d, w, atol=1e-5)
