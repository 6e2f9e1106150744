"""Derivatives of convolutions and pools: torch's, and tapes that hold images, not their windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.ir import TensorT

pytestmark = pytest.mark.usefixtures("unoptimised")
torch = pytest.importorskip("torch")
F = torch.nn.functional
R = np.random.default_rng(0)
SOURCE = """
fn f(x: f32[B, 3, H, W], w: f32[4, 3, 3, 2], v: f32[5, 4, 2, 2]) -> f32:
    let y = tanh(conv2d(x, w, stride={stride}, padding={padding}, dilation={dilation}))
    let z = max_pool2d(conv2d(y, v, padding=1), 2)
    return sum(z * z)

fn slopes(x: f32[B, 3, H, W], w: f32[4, 3, 3, 2], v: f32[5, 4, 2, 2]) -> (
    f32[B, 3, H, W], f32[4, 3, 3, 2], f32[5, 4, 2, 2]
):
    return grad(f, wrt=("x", "w", "v"))(x, w, v)
"""
EARLY = """
fn early(x: f32[1, 3, 6, 6], w: f32[4, 3, 3, 2], v: f32[5, 4, 2, 2], go: bool) -> f32:
    if not go:
        return sum(x)
    return f(x, w, v)

fn early_slopes(x: f32[1, 3, 6, 6], w: f32[4, 3, 3, 2], v: f32[5, 4, 2, 2], go: bool) -> f32[4, 3, 3, 2]:
    return grad(early, wrt="w")(x, w, v, go)
"""
"""After an early return nothing has been made."""
SETTINGS = [(1, 1, 1), ("(2, 1)", "(1, 2)", 1), (1, "(2, 1)", "(2, 1)"), (3, 2, "(1, 2)")]


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [R.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("stride, padding, dilation", SETTINGS)
def test_convolutions_as_in_torch(stride: object, padding: object, dilation: object, device: str, tmp_path: Path):
    file = tmp_path / "m.hyb"
    file.write_text(SOURCE.format(stride=stride, padding=padding, dilation=dilation))
    given = arrays((2, 3, 9, 21), (4, 3, 3, 2), (5, 4, 2, 2))
    x, w, v = (torch.tensor(g, requires_grad=True) for g in given)
    pairs = [eval(s) if isinstance(s, str) else s for s in (stride, padding, dilation)]
    z = F.max_pool2d(F.conv2d(torch.tanh(F.conv2d(x, w, None, *pairs)), v, padding=1), 2)
    wanted = torch.autograd.grad((z * z).sum(), (x, w, v))
    for got, want in zip(hybridc.load(file, device=device).slopes(*given), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(got), want.numpy(), rtol=1e-4, atol=1e-3)


def test_tapes_hold_images(tmp_path: Path):
    file = tmp_path / "m.hyb"
    file.write_text(SOURCE.format(stride=1, padding=1, dilation=1) + EARLY)
    core, interface = driver.lower(driver.check(str(file)))
    tapes = [fn for name, fn in pipeline.optimise(core, interface, {}).fns.items() if name.startswith("f forward")]
    assert tapes
    for fn in tapes:
        assert not {3, 6} & {len(t.dims) for t in fn.results if isinstance(t, TensorT)}  # columns, windows
    x, w, v = arrays((1, 3, 6, 6), (4, 3, 3, 2), (5, 4, 2, 2))
    mod = hybridc.load(file)
    assert not np.asarray(mod.early_slopes(x, w, v, False)).any()
    np.testing.assert_allclose(mod.early_slopes(x, w, v, True), mod.slopes(x, w, v)[1], rtol=1e-5)
