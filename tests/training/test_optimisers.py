"""Optimisers and schedules against torch's; loaders; a gradient over `parallel` with the same bits on any threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybridc

torch = pytest.importorskip("torch")
SOURCE = Path(__file__).with_name("optimisers.hyb")
N = 37


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(str(SOURCE))


CASES = {
    "sgd": [(0.1, 0.0, 0.0, 0.0, False), (0.1, 0.9, 0.0, 0.0, False), (0.1, 0.9, 0.3, 0.05, False),
            (0.1, 0.8, 0.0, 0.0, True), (0.1, 0.0, 0.0, 0.1, False)],
    "adam": [(0.05, 0.0), (0.05, 0.1)],
    "adamw": [(0.05, 0.01), (0.05, 0.3)],
    "rmsprop": [(0.05, 0.0, 0.0, False), (0.05, 0.1, 0.0, False), (0.05, 0.0, 0.9, False), (0.05, 0.0, 0.5, True),
                (0.05, 0.0, 0.0, True)],
}  # fmt: skip


def theirs(name: str, p: object, setting: tuple) -> object:
    match name, setting:
        case "sgd", (lr, momentum, dampening, decay, nesterov):
            return torch.optim.SGD([p], lr, momentum, dampening, decay, nesterov)
        case "adam", (lr, decay):
            return torch.optim.Adam([p], lr, weight_decay=decay)
        case "adamw", (lr, decay):
            return torch.optim.AdamW([p], lr, betas=(0.8, 0.95), weight_decay=decay)
        case _, (lr, decay, momentum, centered):
            return torch.optim.RMSprop([p], lr, weight_decay=decay, momentum=momentum, centered=centered)


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n, ss in CASES.items() for s in ss])
def test_follow_torchs(mod, name: str, setting: tuple) -> None:
    m = mod.Single(N, seed=1)
    gs = np.random.default_rng(0).normal(size=(8, N)).astype(np.float32)
    p = torch.nn.Parameter(torch.from_numpy(m.state_dict()["w"].copy()))
    optimiser = theirs(name, p, setting)
    for g in gs:
        p.grad = torch.from_numpy(g)
        optimiser.step()
    getattr(mod, name)(m, gs, *setting)
    np.testing.assert_allclose(m.state_dict()["w"], p.detach().numpy(), rtol=2e-5, atol=2e-6)


RUNNING = {
    "sgd": ("SGD", {"momentum": 0.9}, ["velocity"]),
    "adam": ("Adam", {"betas": (0.9, 0.9)}, ["first", "second"]),
    "adamw": ("AdamW", {"betas": (0.9, 0.9)}, ["first", "second"]),
    "rmsprop": ("RMSProp", {"alpha": 0.9, "momentum": 0.9, "centered": True}, ["square", "average", "velocity"]),
}


@pytest.mark.parametrize("name", RUNNING)
def test_means_of_nothing_become_zero(mod, name: str) -> None:
    """And do not stay at a few units of the last place, with which processors are slow."""
    kind, settings, means = RUNNING[name]
    m, opt = mod.Single(N, seed=1), getattr(mod, kind)(**settings)
    again = getattr(mod, f"again_{name}")
    again(m, opt, np.full(N, 3.0, np.float32), 2)
    assert all((getattr(opt, mean).x != 0).all() for mean in means)
    again(m, opt, np.zeros(N, np.float32), 1200)
    assert all((getattr(opt, mean).x == 0).all() for mean in means)


def test_double(mod) -> None:
    m = mod.Double(N, seed=1)
    gs = np.random.default_rng(0).normal(size=(8, N))
    p = torch.nn.Parameter(torch.from_numpy(m.state_dict()["w"].copy()))
    optimiser = torch.optim.Adam([p], float(np.float32(0.05)))
    for g in gs:
        p.grad = torch.from_numpy(g)
        optimiser.step()
    mod.adam64(m, gs, 0.05)
    np.testing.assert_allclose(m.state_dict()["w"], p.detach().numpy(), rtol=1e-6)


def test_another_size(mod) -> None:
    with pytest.raises(ValueError):
        mod.another_size(mod.Single(3), mod.Single(4), np.ones(3, np.float32), np.ones(4, np.float32))


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clip(mod, most: float) -> None:
    g = np.random.default_rng(0).normal(size=N).astype(np.float32)
    p = torch.nn.Parameter(torch.zeros(N))
    p.grad = torch.from_numpy(g.copy())
    torch.nn.utils.clip_grad_norm_([p], most)
    np.testing.assert_allclose(mod.clipped(g, most), p.grad.numpy(), rtol=1e-5)


def test_schedules(mod) -> None:
    n = 40
    found = np.array(mod.rates(n))
    p = torch.nn.Parameter(torch.zeros(1))
    make = torch.optim.lr_scheduler
    for column, schedule in enumerate([
        lambda o: make.StepLR(o, 7, 0.5), lambda o: make.ExponentialLR(o, 0.9),
        lambda o: make.LinearLR(o, 0.3, 1.0, 20), lambda o: make.CosineAnnealingLR(o, 30, 0.01),
    ]):  # fmt: skip
        optimiser = torch.optim.SGD([p], 0.1)
        steps = schedule(optimiser)
        want = []
        for _ in range(n if column != 3 else 31):  # torch's goes up again after its end
            want.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            steps.step()
        np.testing.assert_allclose(found[: len(want), column], want, rtol=1e-4, atol=1e-7)
    warm = found[:, 4]
    np.testing.assert_allclose(warm[:6], 0.1 * np.arange(6) / 5, rtol=1e-5)
    assert (np.diff(warm[5:31]) < 0).all() and warm[30] == warm[39] == pytest.approx(0.01)


def test_loaders(mod) -> None:
    order, tensors, lists = mod.orders(10, 4, False, hybridc.rng(3))
    assert sorted(order) == list(range(10)) and list(order) != list(range(10))
    assert [len(b) for b in tensors] == [len(b) for b in lists] == [4, 4, 2]
    assert sorted(np.concatenate(tensors)) == list(range(10))
    assert sorted(int(x) for b in lists for x in b) == list(range(10))
    again = mod.orders(10, 4, False, hybridc.rng(3))
    assert list(again[0]) == list(order) and again[2] == lists
    assert [len(b) for b in mod.orders(10, 4, True, hybridc.rng(3))[2]] == [4, 4]
    assert mod.orders(0, 4, False, hybridc.rng(3))[2] == []
    with pytest.raises(ValueError, match="one element or more"):
        mod.orders(3, 0, False, hybridc.rng(3))
    firsts = [int(mod.orders(5, 5, False, hybridc.rng(seed))[0][0]) for seed in range(2000)]
    assert (np.abs(np.bincount(firsts, minlength=5) / 2000 - 0.2) < 0.04).all()


PROGRAM = """
import sys
import numpy as np, hybridc
mod = hybridc.load(sys.argv[1])
m = mod.Net(5, seed=1)
r = np.random.default_rng(0)
loss, g = m.value_and_grad("loss", r.normal(size=(33, 5)).astype("f"), r.normal(size=33).astype("f"))
print(np.float32(loss).tobytes().hex(), g.tobytes().hex())
"""


def test_gradients_side_by_side_have_the_same_bits(mod) -> None:
    found = set()
    for threads in ("1", "2", "5"):
        run = subprocess.run([sys.executable, "-c", PROGRAM, str(SOURCE)], capture_output=True, text=True, timeout=200,
                             env={**os.environ, "HYB_THREADS": threads, "OMP_NUM_THREADS": threads})
        assert run.returncode == 0, run.stderr
        found.add(run.stdout)
    assert len(found) == 1
    m = mod.Net(5, seed=1)
    r = np.random.default_rng(0)
    x, y = r.normal(size=(33, 5)).astype("f"), r.normal(size=33).astype("f")
    _, g = m.value_and_grad("loss", x, y)
    parts = [m.value_and_grad("one", a, float(b))[1].astype(np.float64) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(g, np.mean(parts, axis=0), rtol=1e-4, atol=1e-6)


def test_training_with_state_dropout_and_schedule(mod) -> None:
    r = np.random.default_rng(1)
    x = r.normal(size=(160, 5)).astype("f")
    y = np.tanh(x[:, 0] * x[:, 1] + x[:, 2]).astype("f")
    m, k = mod.Net(5, seed=3), mod.Net(5, seed=3)
    losses = mod.fit(m, x, y, 40, 9)
    assert losses[-1] < 0.5 * losses[0]
    assert int(m.state_dict()["norm.num_batches_tracked"]) == 400
    assert mod.fit(k, x, y, 40, 9) == losses  # the seed says everything
    for a, b in zip(m.state_dict().values(), k.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_called_in_several_places_they_write_over_nothing_that_is_kept(mod) -> None:
    m = mod.Single(N, seed=1)
    start = m.state_dict()["w"].copy()
    gs = np.random.default_rng(0).normal(size=(3, N)).astype(np.float32)
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = torch.optim.Adam([p], 0.05)
    wanted = [start]
    for g in np.concatenate([gs, gs]):
        p.grad = torch.from_numpy(g)
        optimiser.step()
        wanted.append(p.detach().numpy().copy())
    for got, want in zip(mod.in_two_places(m, gs), (wanted[i] for i in (0, 3, 6, 1)), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(m.state_dict()["w"], start)
