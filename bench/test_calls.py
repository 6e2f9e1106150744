"""What a call from Python costs: an empty body with two scalars, a tensor, a list; ctypes and numba beside.

Each round makes 1 000 calls in a loop, so a figure in µs is ns per call, the loop's own (about 20 ns) included.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

import hybridc

HERE = Path(__file__).parent


def thousand(f, *args):
    """A function that calls f a thousand times."""
    if len(args) == 2:
        a, b = args

        def calls() -> None:
            for _ in range(1000):
                f(a, b)
    else:
        (a,) = args

        def calls() -> None:
            for _ in range(1000):
                f(a)

    return calls


@pytest.fixture(scope="module")
def hyb():
    return hybridc.load(str(HERE / "calls.hyb"))


@pytest.mark.benchmark(group="two scalars")
def test_hyb_scalars(benchmark, hyb):
    assert hyb.scalars(1.0, 2.0) == 1.0
    benchmark(thousand(hyb.scalars, 1.0, 2.0))


@pytest.mark.benchmark(group="two scalars")
def test_ctypes_scalars(benchmark):
    copysign = ctypes.CDLL("libm.so.6").copysign
    copysign.argtypes, copysign.restype = [ctypes.c_double, ctypes.c_double], ctypes.c_double
    assert copysign(1.0, 2.0) == 1.0
    benchmark(thousand(copysign, 1.0, 2.0))


@pytest.mark.benchmark(group="two scalars")
def test_numba_scalars(benchmark):
    numba = pytest.importorskip("numba")
    first = numba.njit(lambda a, b: a)
    assert first(1.0, 2.0) == 1.0
    benchmark(thousand(first, 1.0, 2.0))


@pytest.mark.benchmark(group="a tensor of 16")
def test_hyb_tensor(benchmark, hyb):
    x = np.zeros(16, np.float32)
    assert hyb.tensor_in(x) == 16
    benchmark(thousand(hyb.tensor_in, x))


@pytest.mark.benchmark(group="a tensor of 16")
def test_numba_tensor(benchmark):
    numba = pytest.importorskip("numba")
    size = numba.njit(lambda x: x.shape[0])
    x = np.zeros(16, np.float32)
    assert size(x) == 16
    benchmark(thousand(size, x))


@pytest.mark.benchmark(group="a list of 100 ints")
def test_hyb_list(benchmark, hyb):
    xs = list(range(100))
    assert hyb.list_in(xs) == 100
    benchmark(thousand(hyb.list_in, xs))


@pytest.mark.benchmark(group="values")
@pytest.mark.parametrize("name", ["list of 100 floats", "enum", "struct", "mut struct", "array result", "method"])
def test_hyb_values(benchmark, hyb, name):
    x = np.zeros(16, np.float32)
    point = hyb.Point(1.0, 2.0, "p")
    f, args = {
        "list of 100 floats": (hyb.floats, ([0.5] * 100,)), "enum": (hyb.shape, (hyb.Shape.Box(1.0, 2.0),)),
        "struct": (hyb.point, (point,)), "mut struct": (hyb.move, (point, 1.0)), "array result": (hyb.double, (x,)),
        "method": (hyb.Scale(16), (x,)),
    }[name]
    for _ in range(3):
        f(*args)
    benchmark(thousand(f, *args))
