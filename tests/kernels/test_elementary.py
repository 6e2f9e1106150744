"""The polynomials of llvm/elementary.py keep to 2.5 units in the last place, and to nan, infinities and subnormals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybridc.core.ir import F32, TensorT
from tests.tensor.running import Case, Programs

EXACT = {
    "exp": math.exp, "log": math.log, "tanh": math.tanh, "erf": math.erf, "log1p": math.log1p, "sin": math.sin,
    "cos": math.cos, "sqrt": math.sqrt,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -80 else math.exp(x) / (1 + math.exp(x)),
}  # fmt: skip
WIDE = np.concatenate([
    np.linspace(-30, 30, 60001), np.linspace(-1.5, 1.5, 30001), np.geomspace(1e-38, 1e38, 4001),
    -np.geomspace(1e-38, 1e38, 4001), np.array([1e-45, -1e-45, 3e-39, -0.99999994, 88.7, -87.4, -100.0, -103.0]),
]).astype(np.float32)  # fmt: skip
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)


def exactly(fn: str, x: float) -> float:
    try:
        return EXACT[fn](x)
    except OverflowError:
        return math.inf
    except ValueError:
        return -math.inf if x == {"log": 0.0, "log1p": -1.0}.get(fn) else math.nan


@pytest.mark.parametrize("fn", EXACT)
def test_error_in_last_places(fn: str) -> None:
    cases = [Case("map", [(x, TensorT(F32, (None,)))], TensorT(F32, (None,)), {"fn": fn, "axes": ((0,),)})
             for x in (WIDE, SPECIAL)]
    programs = Programs(cases, opt=2)
    got, special = (np.asarray(programs.native(i), np.float64) for i in range(2))
    want = np.array([exactly(fn, float(x)) for x in WIDE])
    with np.errstate(all="ignore"):
        nearest = want.astype(np.float32)
        unit = np.maximum(np.spacing(np.abs(nearest)), np.float32(1e-45)).astype(np.float64)
    finite = np.isfinite(nearest)
    errors = np.abs(got[finite] - want[finite]) / unit[finite]
    assert errors.max() <= 2.5, (fn, errors.max(), WIDE[finite][errors.argmax()])
    np.testing.assert_array_equal(got[~finite], nearest[~finite].astype(np.float64))
    with np.errstate(all="ignore"):
        limits = {
            "exp": [np.nan, np.inf, 0, 1, 1], "log": [np.nan, np.inf, np.nan, -np.inf, -np.inf],
            "tanh": [np.nan, 1, -1, 0, -0.0], "erf": [np.nan, 1, -1, 0, -0.0], "log1p": [np.nan, np.inf, np.nan, 0, -0.0],
            "sigmoid": [np.nan, 1, 0, 0.5, 0.5], "sin": [np.nan, np.nan, np.nan, 0, -0.0],
            "cos": [np.nan, np.nan, np.nan, 1, 1], "sqrt": [np.nan, np.inf, np.nan, 0, -0.0],
        }[fn]  # fmt: skip
    np.testing.assert_array_equal(special, limits)
    assert (np.signbit(special[3:]) == np.signbit(np.array(limits[3:]))).all()
