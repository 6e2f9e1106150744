"""Derivatives that passes/zeros.py, passes/transposed.py and kernels/totals.py have a part in, as programs: compiled from
source, from a built artifact and from the Core that it holds, and with their kernels in Triton's interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.ir import Program
from hybridc.kernels import graph, totals
from hybridc.link import surface

SOURCE = """
fn normed(x: f64[N, M], w: f64[M], b: f64[M], r: f64[N, M]) -> f64:
    return sum(layer_norm(x, w, b, eps=0.0) * r)

fn of_normed(x: f64[N, M], w: f64[M], b: f64[M], r: f64[N, M]) -> (f64[N, M], f64[M], f64[M]):
    return grad(normed, wrt=("x", "w", "b"))(x, w, b, r)

fn turned(x: f64[N, M]) -> f64:
    return sum(sin(x.T) * x.T)

fn of_turned(x: f64[N, M]) -> f64[N, M]:
    return grad(turned)(x)

fn row(x: f64[N, M], v: f64[M], k: int) -> f64:
    if k == 0:
        return sum(exp(x * v))
    return row(x * v, v, k - 1)

fn of_row(x: f64[N, M], v: f64[M], k: int) -> (f64[N, M], f64[M]):
    return grad(row, wrt=("x", "v"))(x, v, k)
"""
SIZES = [(1, 1), (2, 5), (7, 16), (65, 33), (300, 20)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.hyb"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module", params=["source", "artifact", "its Core", "interpret"])
def mod(request: pytest.FixtureRequest, path: Path) -> Any:
    if request.param == "source":
        return hybridc.load(path)
    if request.param == "interpret":
        pytest.importorskip("triton")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("HYB_PLACE", "all"), ("HYB_INTERPRET_APART", "1"), ("HYB_OPT", "0")):
                patch.setenv(name, value)
            return hybridc.load(path, device="interpret")
    built = path.with_suffix(".hybx")
    built.write_bytes(driver.build(checking.check(str(path)), "cpu:host").data)
    return hybridc.load(built, trust=request.param == "artifact")


@pytest.mark.parametrize("n, m", SIZES[1:])  # a row of one element has no deviation
def test_a_norm_of_rows(mod: Any, n: int, m: int) -> None:
    """By w and b they are sums over the rows; by x, with g = r w and the normed x, y: (g - mean(g) - y mean(g y)) / s."""
    rng = np.random.default_rng(n)
    x, r, w, b = rng.normal(size=(n, m)), rng.normal(size=(n, m)), rng.normal(size=m), rng.normal(size=m)
    s = x.std(1, keepdims=True)
    y, g = (x - x.mean(1, keepdims=True)) / s, r * w
    by_x, by_w, by_b = mod.of_normed(x, w, b, r)
    np.testing.assert_allclose(by_w, (r * y).sum(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(by_b, r.sum(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(by_x, (g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)) / s,
                               rtol=1e-8, atol=1e-8)
    assert mod.normed(x, w, b, r) == pytest.approx(((y * w + b) * r).sum())


@pytest.mark.parametrize("n, m", SIZES)
def test_what_is_turned(mod: Any, n: int, m: int) -> None:
    x = np.random.default_rng(m).normal(size=(n, m))
    np.testing.assert_allclose(mod.of_turned(x), np.cos(x) * x + np.sin(x), rtol=1e-12)
    assert mod.turned(x) == pytest.approx((np.sin(x) * x).sum())


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("n, m", SIZES)
def test_a_recursion(mod: Any, n: int, m: int, k: int) -> None:
    """sum(exp(x v^(k+1))): what each call adds to the adjoint of v, the first one to nothing."""
    rng = np.random.default_rng(n + k)
    x, v = rng.uniform(-1, 1, (n, m)), rng.uniform(0.5, 1, m)
    by_x, by_v = mod.of_row(x, v, k)
    e = np.exp(x * v ** (k + 1))
    np.testing.assert_allclose(by_x, e * v ** (k + 1), rtol=1e-11)
    np.testing.assert_allclose(by_v, (e * x * (k + 1) * v**k).sum(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", [False, True], ids=["cpu", "device"])
def test_what_changes_them(path: Path, device: bool) -> None:
    checked = checking.check(str(path))
    core, interface = driver.lower(checked)
    surface.without_curvatures(interface)
    roots = surface.symbols(interface)
    primal = pipeline.DEVICE_PRIMAL if device else pipeline.PRIMAL
    core = pipeline.differentiated(pipeline.reached(core, interface), roots, checked.sources, primal=primal)
    changed: dict[str, set[str]] = {}
    for name, run in pipeline.DEVICE_PASSES if device else pipeline.PASSES:
        before = Program(core.structs, core.enums, dict(core.fns))
        core = pipeline.passed(name, run, core, roots)
        changed.setdefault(name, set()).update(
            fn.title for n, fn in core.fns.items() if n in before.fns and fn is not before.fns[n])
    assert {"normed", "turned", "row"} <= changed["zeros"] and changed["transposed"] == {"turned"}


def test_totals_beside_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative of the norm is one kernel that goes over the rows, by w and b too."""
    found: list[int] = []
    asked = totals.totals

    def watched(*args: Any) -> Any:
        given = asked(*args)
        found.append(len(given))
        return given

    monkeypatch.setattr(graph, "totals", watched)
    driver.emit(str(path), "llvm")
    assert max(found) >= 2
