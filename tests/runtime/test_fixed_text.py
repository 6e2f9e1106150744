"""Floats with so many digits after the point, beside Python's own: by whole numbers and, where these do not do, by the
C library."""

from __future__ import annotations

import random

import pytest

import hybridc

PLACES = (0, 1, 2, 3, 6, 9, 10)
SOURCE = "".join(f"""
fn fixed{n}(x: f64) -> str:
    return f"{{x:.{n}f}}"
""" for n in PLACES) + """
fn wide(x: f64) -> str:
    return f"{x:>+14,.2f}"
"""
EDGES = (
    0.0, 0.5, 1.5, 2.5, 0.125, 0.375, 2.675, 1.005, 999.995, 0.995, 9.5, 99.5, 0.001, 0.00099999, 0.0009765625,
    0.001953125, 123456789.125, 3999999999999999.5, 4e15, 4503599627370495.5, 1e300, 1e-5, float("inf"), float("nan"),
)


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("fixed") / "fixed.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def numbers():
    yield from EDGES
    rng = random.Random(3)
    for _ in range(700):
        yield rng.uniform(0, 1000)
        yield rng.randrange(10**7) / rng.choice((2, 4, 8, 16, 32, 64, 128, 1000, 100))
        yield rng.uniform(0, 1) * 10 ** rng.randint(-6, 18)


def test_as_python_writes_them(mod):
    for x in numbers():
        for y in (x, -x):
            assert [getattr(mod, f"fixed{n}")(y) for n in PLACES] == [f"{y:.{n}f}" for n in PLACES]
            assert mod.wide(y) == f"{y:>+14,.2f}"
