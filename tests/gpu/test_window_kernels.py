"""A convolution on a GPU is one product that reads the image, with its activation; pooling is one kernel. Windows are in
memory only where the size of the image is not known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
SOURCE = """\
fn plain(x: f32[B, 3, 9, 8], w: f32[5, 3, 3, 3], b: f32[5]) -> f32[B, 5, ?, ?]:
    return relu(conv2d(x, w, b, padding=1))

fn strided(x: f32[B, 2, 11, 13], w: f32[4, 2, 3, 2]) -> f32[B, 4, ?, ?]:
    return conv2d(x, w, stride=(2, 3), padding=(0, 1), dilation=(1, 2))

fn line(x: f64[B, 3, 20], w: f64[4, 3, 5]) -> f64[B, 4, ?]:
    return tanh(conv1d(x, w, padding=2) * 0.5)

fn largest(x: f32[B, 3, 9, 8]) -> f32[B, 3, ?, ?]:
    return max_pool2d(x, 3, stride=2, padding=1)

fn averages(x: f32[B, 3, H, W]) -> f32[B, 3, ?, ?]:
    return avg_pool2d(x, 2)

fn open(x: f32[1, 2, H, W], w: f32[3, 2, 3, 3]) -> f32[1, 3, ?, ?]:
    return relu(conv2d(x, w))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windows") / "p.hyb"
    path.write_text(SOURCE)
    return path


def test_few_kernels(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_PLACE", "all")
    source, head = driver.emit(str(file), "triton"), r"def kernel_\d+_(\w+)\("
    assert re.findall(head, source) == [
        "windows_matmul_add_le", "windows_matmul", "windows_matmul_mul_tanh", "windows_max", "windows_sum", "div",
        "windows", "matmul_le_select",
    ]  # fmt: skip


def draw(*shape: int, t: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(t)


def tensors(*given: np.ndarray):
    return [torch.tensor(x) for x in given]


@pytest.mark.parametrize("batch", [1, 3, 0])
def test_against_torch(both, batch: int) -> None:
    f = torch.nn.functional
    x, w, b = draw(batch, 3, 9, 8), draw(5, 3, 3, 3), draw(5)
    wanted = {"plain": (torch.relu(f.conv2d(*tensors(x, w, b), padding=1)), (x, w, b))}
    x, w = draw(batch, 2, 11, 13), draw(4, 2, 3, 2)
    wanted["strided"] = f.conv2d(*tensors(x, w), stride=(2, 3), padding=(0, 1), dilation=(1, 2)), (x, w)
    x, w = draw(batch, 3, 20, t=np.float64), draw(4, 3, 5, t=np.float64)
    wanted["line"] = torch.tanh(f.conv1d(*tensors(x, w), padding=2) * 0.5), (x, w)
    x = draw(batch, 3, 9, 8)
    wanted["averages"] = f.avg_pool2d(*tensors(x), 2), (x,)
    wanted["largest"] = f.max_pool2d(*tensors(x), 3, stride=2, padding=1), (x,)
    for name, (want, args) in wanted.items():
        for mod in both:
            np.testing.assert_allclose(getattr(mod, name)(*args), want.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_is_no_number_and_open_sizes(both) -> None:
    x = draw(1, 3, 9, 8)
    x[0, 1, 4, 4], x[0, 2, 0, 0] = np.nan, np.inf
    for name in ("largest", "averages"):
        want, got = (getattr(mod, name)(x) for mod in both)
        np.testing.assert_array_equal(got, want)
    x, w = draw(1, 2, 7, 6), draw(3, 2, 3, 3)
    want, got = (mod.open(x, w) for mod in both)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    for mod in both:
        with pytest.raises(ValueError, match="does not fit"):
            mod.open(draw(1, 2, 2, 6), w)
