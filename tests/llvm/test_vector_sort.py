"""Lists and tensors are sorted alike with the vectors of this processor and without them, whatever they hold, and where
splitting does not help."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import numpy as np
import pytest

import hybridc
from hybridc.build import write_artifact
from hybridc.llvm import vector_sort
from hybridc.llvm.counting_sort import APART, BLOCK, FEWEST

PROGRAM = """
fn ints(mut xs: list[int]):
    xs.sort()

fn floats(mut xs: list[f64]):
    xs.sort()

fn order(xs: list[f64]) -> list[int]:
    return sorted([i for i in range(len(xs))], key=fn(i): xs[i])

fn int_order(xs: list[int]) -> list[int]:
    return sorted([i for i in range(len(xs))], key=fn(i): xs[i])

fn places(x: f32[*B, N], y: f64[N], z: int[N]) -> (int[*B, N], int[*B, N], int[N], int[N]):
    return (argsort(x), argsort(x, descending=true), argsort(y), argsort(z, descending=true))

fn leading(x: f32[N]) -> int[?]:
    let values, where = topk(x, N - 1)
    return where

fn slope(xs: list[f64]) -> f64:
    let ys = xs.sorted()
    var total: f64 = 0
    for i in range(len(ys)):
        total += f64(i) * ys[i]
    return total

fn gradient(xs: list[f64]) -> list[f64]:
    return grad(slope)(xs)

fn change(xs: list[f64], d: list[f64]) -> f64:
    return jvp(slope)(xs, d)[1]
"""
GREATEST = (1 << 63) - 1
NUMBERS: dict[str, Callable[[int], list[int]]] = {
    "any": lambda n: [random.randint(-GREATEST - 1, GREATEST) for _ in range(n)],
    "few": lambda n: [random.randint(0, 3) for _ in range(n)],
    "greatest": lambda n: [random.choice([GREATEST, GREATEST - 1, random.randint(-9, 9)]) for _ in range(n)],
    "least": lambda n: [random.choice([-GREATEST - 1, random.randint(-9, 9)]) for _ in range(n)],
    "down": lambda n: list(range(n, 0, -1)),
    "teeth": lambda n: [i % 17 for i in range(n)],
    "late": lambda n: [*range(n - n // 3), *(random.randint(-9, n) for _ in range(n // 3))],
    "close": lambda n: [(1 << 62) + random.randint(0, 7) for _ in range(n - 1)] + [-1 << 62],
}
SIZES = [1, 2, 12, 13, 16, 47, 63, 64, 65, 127, 128, 129, 255, 300, 1000, 1025, 4100]


@pytest.fixture(scope="module", params=["host", "x86-64-v3", "heap"])
def mod(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """`heap`: with the vectors of this processor, but after the first split by a heap."""
    folder = tmp_path_factory.mktemp("sorts")
    (folder / "p.hyb").write_text(PROGRAM)
    random.seed(7)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "heap":
            patch.setattr(vector_sort, "SPLITS", 1)
        cpu = "host" if request.param == "heap" else request.param
        made = write_artifact(str(folder / "p.hyb"), str(folder / "p.hybx"), target=f"cpu:{cpu}")
    return hybridc.load(made)


@pytest.mark.parametrize("kind", NUMBERS)
def test_lists(mod, kind: str) -> None:
    for n in SIZES:
        xs = NUMBERS[kind](n)
        given = xs[:]
        mod.ints(given)
        assert given == sorted(xs), n
        fs = [x / 3 if i % 5 else random.choice([0.0, -0.0]) for i, x in enumerate(xs)]
        given = fs[:]
        mod.floats(given)
        assert list(map(repr, given)) == list(map(repr, sorted(fs))), n
        assert mod.order(fs) == sorted(range(n), key=fs.__getitem__), n


@pytest.mark.parametrize("low", [-GREATEST - 1, -40, GREATEST - 60_000])
@pytest.mark.parametrize("n", [FEWEST - 1, FEWEST, FEWEST + 1, BLOCK + 1, 4 * BLOCK + 3])
def test_what_lies_close_is_counted(mod, n: int, low: int) -> None:
    """As many numbers as are counted in several places, as there are elements, and one more or less; all in one place
    but for one that is seen early or late."""
    rng = np.random.default_rng(n)
    for size in (1, 2, 9, APART - 1, APART, APART + 1, min(n, 50_000) - 1, min(n, 50_000), min(n + 1, 50_000)):
        xs = low + rng.integers(0, size, n)
        for changed in (xs, np.sort(xs)[::-1].copy()):
            for place, far in ((None, 0), (n - 1, GREATEST), (0, -GREATEST - 1), (n // 2, GREATEST)):
                if place is not None:
                    changed[place] = far
                given = changed.tolist()
                mod.ints(given)
                assert given == np.sort(changed).tolist(), (size, place)
        assert mod.int_order(xs.tolist()) == np.argsort(xs, kind="stable").tolist(), size


def test_nan_comes_last(mod) -> None:
    xs = [float("nan") if i % 7 == 3 else float(-i % 50) for i in range(200)]
    given = xs[:]
    mod.floats(given)
    assert given[:171] == sorted(x for x in xs if x == x) and all(x != x for x in given[171:])
    assert mod.order(xs)[171:] == [i for i in range(200) if i % 7 == 3]


@pytest.mark.parametrize("n", [20, 200, 3000])
def test_what_order_does_not_tell_apart_comes_as_it_came(mod, n: int) -> None:
    """Nans of both signs and of any bits, zeros of both signs: their bits are in the order of the given ones."""
    nans = [0x7FF8000000000000, 0xFFF8000000000000, 0xFFF8000000000007, 0x7FF8000000000003]
    odd = [*struct.unpack("4d", struct.pack("4Q", *nans)), 0.0, -0.0, float("inf"), float("-inf")]
    for chosen in (odd[:4], odd[4:], odd, odd[1:2], odd[5:6]):
        xs = [random.choice(chosen) if i % 3 else random.gauss(0, 1) for i in range(n)]
        given = xs[:]
        mod.floats(given)
        wanted = sorted(xs, key=lambda x: (x != x, x if x == x else 0))
        assert struct.pack(f"{n}d", *given) == struct.pack(f"{n}d", *wanted)


@pytest.mark.parametrize("kind", NUMBERS)
def test_tensors(mod, kind: str) -> None:
    for n in SIZES:
        z = np.array(NUMBERS[kind](n))
        y = z / 3.0
        y[::11] = -0.0
        y[1::13] = np.nan
        x = np.stack([y, -y, y[::-1]]).astype(np.float32)
        up, down, of_y, of_z = mod.places(x, y, z)
        assert (up == np.argsort(x, -1, kind="stable")).all(), n
        assert (down == n - 1 - np.argsort(x[:, ::-1], -1, kind="stable")[:, ::-1]).all(), n
        assert (of_y == np.argsort(y, kind="stable")).all(), n
        assert (of_z == n - 1 - np.argsort(z[::-1], kind="stable")[::-1]).all(), n
        assert (mod.leading(x[0]) == down[0, : n - 1]).all(), n


def test_ranks_that_differ_in_their_last_digits_only(mod) -> None:
    """So many that insertion gives up."""
    n = 3000
    y = 1.0 + np.random.default_rng(1).integers(0, 1 << 9, n) * 2.0**-52
    y[0], y[1] = -1e300, 1e300
    z = y.view(np.int64)
    x = np.zeros((1, n), np.float32)
    _, _, of_y, of_z = mod.places(x, y, z)
    assert (of_y == np.argsort(y, kind="stable")).all()
    assert (of_z == n - 1 - np.argsort(z[::-1], kind="stable")[::-1]).all()
    assert mod.order(y.tolist()) == np.argsort(y, kind="stable").tolist()


def test_derivatives(mod) -> None:
    for n in (5, 60, 300):
        xs = [random.random() for _ in range(n)]
        ranks = [0.0] * n
        for rank, i in enumerate(sorted(range(n), key=xs.__getitem__)):
            ranks[i] = float(rank)
        assert mod.gradient(xs) == ranks
        assert mod.change(xs, [1.0] * n) == sum(ranks)
