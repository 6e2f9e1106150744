"""What a call from Python costs: an empty body with two scalars, a tensor, a list; ctypes and numba beside."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

import hybridc

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def calls():
    return hybridc.load(str(HERE / "calls.hyb"))


@pytest.mark.benchmark(group="two scalars")
def test_hyb_scalars(benchmark, calls):
    assert benchmark(calls.scalars, 1.0, 2.0) == 1.0


@pytest.mark.benchmark(group="two scalars")
def test_ctypes_scalars(benchmark):
    copysign = ctypes.CDLL("libm.so.6").copysign
    copysign.argtypes, copysign.restype = [ctypes.c_double, ctypes.c_double], ctypes.c_double
    assert benchmark(copysign, 1.0, 2.0) == 1.0


@pytest.mark.benchmark(group="two scalars")
def test_numba_scalars(benchmark):
    numba = pytest.importorskip("numba")
    first = numba.njit(lambda a, b: a)
    first(1.0, 2.0)
    assert benchmark(first, 1.0, 2.0) == 1.0


@pytest.mark.benchmark(group="a tensor of 16")
def test_hyb_tensor(benchmark, calls):
    assert benchmark(calls.tensor_in, np.zeros(16, np.float32)) == 16


@pytest.mark.benchmark(group="a tensor of 16")
def test_numba_tensor(benchmark):
    numba = pytest.importorskip("numba")
    size = numba.njit(lambda x: x.shape[0])
    x = np.zeros(16, np.float32)
    size(x)
    assert benchmark(size, x) == 16


@pytest.mark.benchmark(group="a list of 100 ints")
def test_hyb_list(benchmark, calls):
    assert benchmark(calls.list_in, list(range(100))) == 100
