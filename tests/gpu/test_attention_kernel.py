"""Attention on a GPU is one kernel that goes over its scores once, and computes what its operators compute."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime.artifact import Contents, read_file

from hybridc import driver
from hybridc.build import write_artifact

pytestmark = pytest.mark.usefixtures("unoptimised")

triton = pytest.importorskip("triton")
BIN = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SOURCE = """\
fn plain(q: f32[H, T, D], k: f32[H, S, D], v: f32[H, S, E]) -> f32[H, T, E]:
    return attention(q, k, v)

fn causal(q: f32[H, T, 64], k: f32[H, S, 64], v: f32[H, S, 64]) -> f32[H, T, 64]:
    return attention(q, k, v, causal=true)

fn masked(q: f32[H, T, 20], k: f32[H, S, 20], v: f32[H, S, 20], m: bool[T, S]) -> f32[H, T, 20]:
    return attention(q, k, v, mask=m)

fn biased(q: f32[T, 128], k: f32[S, 128], v: f32[S, 200], m: f32[T, S]) -> f32[T, 200]:
    return attention(q, k, v, mask=m)

fn short(q: f64[3, 40, 16], k: f64[3, 40, 16], v: f64[3, 40, 16]) -> f64[3, 40, 16]:
    return attention(q, k, v, causal=true)

fn after(q: f32[T, D], k: f32[S, D], v: f32[S, D], x: f32[T, D], g: f32[D]) -> f32[T, D]:
    return x + relu(softmax(tanh(q @ k.T) * 3.0) @ v) * g
"""
NAMES = re.findall(r"fn (\w+)", SOURCE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attention") / "p.hyb"
    path.write_text(SOURCE)
    return path


def test_each_is_one_kernel(file: Path) -> None:
    text = driver.emit(str(file), "triton")
    kernels = re.findall(r"def (kernel_\w+)\(", text)
    assert [k.partition("_")[2].partition("_")[2] for k in kernels] == ["attention"] * len(NAMES)
    # Causal attention ends at the diagonal, and no kernel goes over its columns more than once.
    assert text.count("tl.minimum(n") >= 1 and text.count("best = new") == len(NAMES)


def draw(rng: np.random.Generator, *shape: int, t: type = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(t)


@pytest.mark.parametrize("h, n, m, d, e", [
    (1, 1, 1, 1, 1), (2, 5, 7, 3, 4), (3, 70, 130, 17, 65), (2, 9, 64, 130, 8), (0, 3, 3, 2, 2), (2, 0, 3, 4, 4),
    (2, 3, 0, 4, 4),
])  # fmt: skip
def test_plain(both, h: int, n: int, m: int, d: int, e: int) -> None:
    rng = np.random.default_rng(h + n)
    q, k, v = draw(rng, h, n, d), draw(rng, h, m, d), draw(rng, h, m, e)
    want, got = (mod.plain(q, k, v) for mod in both)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("n, m", [(1, 1), (64, 64), (65, 65), (130, 40), (40, 130)])
def test_causal(both, n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    q, k, v = draw(rng, 2, n, 64), draw(rng, 2, m, 64), draw(rng, 2, m, 64)
    want, got = (mod.causal(q, k, v) for mod in both)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_masks(both) -> None:
    rng = np.random.default_rng(1)
    q, k, v = draw(rng, 2, 70, 20), draw(rng, 2, 90, 20), draw(rng, 2, 90, 20)
    mask = rng.random((70, 90)) < 0.3
    mask[:, :65] &= np.arange(70)[:, None] % 2 == 0  # every other row sees nothing in its first block
    mask[7] = False  # and one nothing at all
    want, got = (mod.masked(q, k, v, mask) for mod in both)
    assert np.isnan(got[:, 7]).all() and not np.isnan(np.delete(got, 7, axis=1)).any()
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    q, k, v, bias = draw(rng, 33, 128), draw(rng, 80, 128), draw(rng, 80, 200), draw(rng, 33, 80)
    bias[:, 3] = -np.inf
    want, got = (mod.biased(q, k, v, bias) for mod in both)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:All-NaN")  # numpy, within Triton's interpreter
def test_large_scores_and_what_is_no_number(both) -> None:
    rng = np.random.default_rng(2)
    q, k, v = draw(rng, 1, 4, 8) * 100, draw(rng, 1, 200, 8) * 100, draw(rng, 1, 200, 8)
    want, got = (mod.plain(q, k, v) for mod in both)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    q[0, 1, 3], k[0, 150, 2] = np.nan, 1e38
    want, got = (mod.plain(q, k, v) for mod in both)
    assert np.array_equal(np.isnan(want), np.isnan(got)) and np.isnan(got[0, 1]).all()


def test_f64_and_what_follows(both) -> None:
    rng = np.random.default_rng(3)
    given = [draw(rng, 3, 40, 16, t=np.float64) for _ in range(3)]
    want, got = (mod.short(*given) for mod in both)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    given = [draw(rng, 30, 12), draw(rng, 50, 12), draw(rng, 50, 12), draw(rng, 30, 12), draw(rng, 12)]
    want, got = (mod.after(*given) for mod in both)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_machine_code_keeps_nothing_in_local_memory(file: Path, tmp_path: Path) -> None:
    inner = read_file(write_artifact(str(file), str(tmp_path), target="cuda:sm_90")).device()
    assert isinstance(inner, Contents)
    codes = [m for m in inner.members if m.target == "cuda:sm_90"]
    assert codes
    for m in codes:
        (tmp_path / "kernel.cubin").write_bytes(m.data)
        command = [BIN / "cuobjdump", "-res-usage", tmp_path / "kernel.cubin"]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"(?:STACK|LOCAL):(\d+)", usage) == ["0", "0"], (m.name, usage)
