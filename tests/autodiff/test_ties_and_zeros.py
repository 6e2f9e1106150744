"""Derivatives of first and second order where elements are equal or zero: torch's, in compiled code, on the interpreted
device and on the reference interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.interp import Interpreter

pytestmark = pytest.mark.usefixtures("unoptimised")
torch = pytest.importorskip("torch")
F = torch.nn.functional
R = np.random.default_rng(0)
FACTORS = np.array([[1.0, 1, 0], [0, -1, 0], [2, 2, 2]])
LEVELS = R.integers(0, 3, (1, 2, 5, 6)).astype(float)
"""Few different numbers, so that most windows have several that are the greatest."""

SOURCE = """
fn f(x: f64[{dims}]) -> f64:
    let y = {value}
    return sum(sin(y * 0.5 + 0.3) * y)

fn along(x: f64[{dims}], v: f64[{dims}]) -> f64:
    return sum(grad(f)(x) * v)

fn orders(x: f64[{dims}], v: f64[{dims}]) -> (f64[{dims}], f64, f64[{dims}], f64[{dims}]):
    return (grad(f)(x), jvp(f)(x, v)[1], hvp(f)(x, v), grad(along)(x, v))
"""
CASES = {
    "prod of columns": ("prod(x, axis=0, keepdim=true)", "A, B", FACTORS, lambda x: x.prod(0, keepdim=True)),
    "prod in the middle": ("prod(x, axis=(1, 3))", "A, B, H, W", LEVELS - 1, lambda x: x.prod(3).prod(1)),
    "max_pool2d": (
        "max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2))",
        "A, B, H, W",
        LEVELS,
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_in_torch(name: str, device: str, tmp_path: Path) -> None:
    value, dims, x, fn = CASES[name]
    file = tmp_path / "m.hyb"
    file.write_text(SOURCE.format(value=value, dims=dims))
    v = R.normal(size=x.shape)
    given = torch.tensor(x, requires_grad=True)
    y = fn(given)
    (first,) = torch.autograd.grad((torch.sin(y * 0.5 + 0.3) * y).sum(), given, create_graph=True)
    directed = (first * torch.tensor(v)).sum()
    (second,) = torch.autograd.grad(directed, given)
    wanted = [z.detach().numpy() for z in (first, directed, second, second)]

    checked = driver.check(str(file))
    core, interface = driver.lower(checked)
    entry = interface.fns["orders"][0].symbol
    machine = Interpreter(pipeline.differentiated(core, [entry], checked.sources))
    ((*interpreted,),) = machine.call(entry, (x, v))  # type: ignore[misc]
    for found in (hybridc.load(str(file), device=device).orders(x, v), interpreted):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


UNWANTED = """
fn stopped(r: f64[N], x: f64[N]) -> f64:
    let g = sqrt(r)
    var s: f64 = 0
    for t in range(N):
        s += stop_gradient(g[t] + 1) * x[t]
    return s

fn best(r: f64[N], x: f64[N]) -> f64:
    let g = sqrt(r)
    var at: f64 = -inf
    var s: f64 = 0
    for t in range(N):
        if g[t] * x[t] > at:
            at = g[t] * x[t]
            s += x[t]
    return s

fn of_stopped(r: f64[N], x: f64[N]):
    return grad(stopped, wrt=("r", "x"))(r, x)

fn of_best(r: f64[N], x: f64[N]):
    return grad(best, wrt=("r", "x"))(r, x)
"""


def test_what_only_decides_or_is_stopped_needs_no_derivative(tmp_path: Path) -> None:
    """That of a root of 0 is infinite, and infinitely many times nothing was nan."""
    file = tmp_path / "m.hyb"
    file.write_text(UNWANTED)
    mod = hybridc.load(file)
    r, x = np.array([0.0, 4.0]), np.array([3.0, 5.0])
    np.testing.assert_array_equal(mod.of_stopped(r, x), [[0, 0], [1, 3]])
    np.testing.assert_array_equal(mod.of_best(r, x), [[0, 0], [1, 1]])


ENDS = """
fn soft(x: f32[N]) -> f32:
    return sum(softplus(x))

fn d_soft(x: f32[N]) -> f32[N]:
    return grad(soft)(x)

fn dd_soft(x: f32[N]) -> f32[N]:
    return hvp(soft)(x, ones(N))

fn norms(x: f64[A, N]) -> f64:
    return sum(norm(x, p=3, axis=1)) + sum(norm(x, p=1.5, axis=1)) + sum(norm(x, p=0.5, axis=1))

fn d_norms(x: f64[A, N]) -> f64[A, N]:
    return grad(norms)(x)
"""


def test_where_a_part_that_is_not_taken_is_infinite(tmp_path: Path) -> None:
    """The derivative of softplus was nan where e to the power of x is infinite, from 89 on in f32, and that of a norm
    with another power than 2 of nothing but zeros."""
    file = tmp_path / "m.hyb"
    file.write_text(ENDS)
    mod = hybridc.load(file)
    x = np.array([89, 1e4, np.inf, 20.5, 20, 0, -100, -np.inf], np.float32)
    np.testing.assert_allclose(mod.d_soft(x), [1, 1, 1, 1, 1, 0.5, 0, 0], atol=1e-7)
    np.testing.assert_allclose(mod.dd_soft(x), [0, 0, 0, 0, 0, 0.25, 0, 0], atol=1e-7)
    y = np.array([[0.0, 0, 0], [0, 2, 0], [3, 0, -4]])
    given = torch.tensor(y, requires_grad=True)
    sum(given.norm(p=p, dim=1).sum() for p in (3, 1.5, 0.5)).backward()
    np.testing.assert_allclose(mod.d_norms(y), given.grad, rtol=1e-12)
