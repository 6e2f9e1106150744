"""HYB_TRAP_NAN=1: the operator that makes a nan is a fault at its line."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pytest

import hybridc

SOURCE = """
fn inner(x: f64[N]) -> f64:
    let y = x - 2.0
    let z = log(y)
    return sum(z * z)
fn f(x: f64[N]) -> f64:
    return inner(x) * 2.0
fn d_root(x: f64) -> f64:
    return grad(fn(z: f64): sqrt(z * z * 0.0) * z)(x)
fn d_f(x: f64[N]) -> f64[N]:
    return grad(f)(x)
fn masked(x: f64[N]) -> f64:
    return sum(where(x > 0.0, log(x), 0.0))
fn given(x: f64) -> f64:
    return x * 2.0 + nan
"""


def test_the_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(SOURCE)
    bad = np.array([3.0, 1.0])
    assert np.isnan(hybridc.load(str(file)).f(bad))
    monkeypatch.setenv("HYB_TRAP_NAN", "1")
    mod = hybridc.load(str(file))
    for function, value, what, line in (
        (mod.f, bad, "log", 4), (mod.d_f, bad, "log", 4), (mod.d_root, 3.0, "mul", 9),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`{what}` made nan") as e:
            function(value)
        last = traceback.extract_tb(e.value.__traceback__)[-1]
        assert (last.filename, last.lineno) == (str(file), line)
    assert mod.masked(np.array([1.0, -1.0])) == 0  # what a `where` leaves out may be nan
    assert np.isnan(mod.given(1.0)) and np.isnan(mod.given(float("nan")))
    assert mod.f(np.array([3.0, 4.0])) == pytest.approx(2 * np.log(2) ** 2)
