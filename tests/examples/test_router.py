"""The plan of who computes what, the layer and its derivative agree with a plain computation; experts specialise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hybridc


@pytest.fixture(scope="module")
def train(script):
    return script("router/train.py")


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "router" / "router.hyb")


def test_a_plan_keeps_the_first_of_each_expert(mod):
    chance = np.random.default_rng(0)
    for tokens, experts, capacity in ((20, 4, 5), (7, 3, 100), (50, 8, 9), (1, 2, 1)):
        chosen = np.stack([chance.permutation(experts)[:2] for _ in range(tokens)])
        p = mod.plan(chosen, experts, capacity)
        flat = chosen.ravel()
        kept = [np.flatnonzero(flat == e)[:capacity] for e in range(experts)]
        assert p.starts == [0, *np.cumsum([len(k) for k in kept])]
        assert list(p.weights) == list(np.concatenate(kept)) and list(p.tokens) == list(np.concatenate(kept) // 2)
        assert p.dropped == 2 * tokens - len(p.tokens)


def plain(weights, x, labels, top, balance):
    """The same in PyTorch, token by token, with room for all."""
    router, up, down = (weights[f"experts.{n}"] for n in ("router.weight", "up", "down"))
    scores = torch.softmax(x @ router.T, 1)
    best, chosen = torch.topk(scores, top)
    shares = best / best.sum(1, keepdim=True)
    y = torch.stack([
        sum(shares[t, k] * (torch.nn.functional.gelu(x[t] @ up[chosen[t, k]]) @ down[chosen[t, k]]) for k in range(top))
        for t in range(len(x))])
    count = len(up)
    used = torch.bincount(chosen.ravel(), minlength=count) / chosen.numel()
    logits = (x + y) @ weights["head.weight"].T + weights["head.bias"]
    return torch.nn.functional.cross_entropy(logits, labels) + balance * count * (used * scores.mean(0)).sum()


def test_loss_and_derivative_are_those_of_torch(mod, train):
    m = mod.Reader(6, 4, 2, room=4.0, seed=2)
    images, labels = train.digits()
    weights = {n: torch.tensor(w, requires_grad=True) for n, w in m.state_dict().items()}
    expected = plain(weights, torch.tensor(images[:30]), torch.tensor(labels[:30]), 2, 0.3)
    expected.backward()
    (loss, dropped), g = m.value_and_grad("loss", images[:30], labels[:30], 0.3)
    assert dropped == 0 and np.isclose(loss, expected.item(), rtol=1e-5)
    assert np.allclose(g, np.concatenate([w.grad.numpy().ravel() for w in weights.values()]), atol=2e-5)


def test_experts_beat_a_dense_network_that_costs_as_much(mod, train):
    rights = []
    for config in ((16, 8, 2), (32, 1, 1)):
        m, _, dropped = train.trained(mod, config, 16, 1500)
        right, shares = train.asked(mod, m, 16)
        rights.append(right)
        if config[1] > 1:
            assert dropped < 0.1 and np.sort(shares, axis=1)[:, -2:].sum(axis=1).mean() > 0.5
            assert shares.mean(axis=0).max() < 0.3
    assert rights[0] > 0.8 and rights[0] > rights[1] + 0.03
