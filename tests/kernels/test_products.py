"""Matrix products against numpy: sizes on both sides of every threshold, both ways a side can lie, every processor."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import F32, F64, Fn, Prim, Program, TensorT, Yield
from hybridc.llvm.abi import ENDS, OFFSET
from hybridc.llvm.compile import compile_program
from hybridc.llvm.ends import LEAST
from hybridc.llvm.jit import Context, Loaded
from tests.kernels.test_fused import fused_statements, program_of, run_native

SIZES = [
    (1, 1, 1), (1, 300, 10), (1, 17, 130), (2, 16, 16), (3, 5, 31), (5, 33, 64), (13, 64, 33), (14, 100, 10), (15, 8, 32),
    (24, 256, 48), (15, 160, 70), (12, 65, 33), (29, 257, 65), (97, 19, 100), (300, 600, 70), (100, 40, 1100), (7, 1030, 3), (291, 270, 530), (200, 1100, 90),
    (40, 15, 130), (12, 65, 3), (31, 70, 16), (518, 40, 7), (205, 1100, 9), (26, 0, 4), (50, 6, 2), (4, 0, 5), (0, 4, 5),
    (4, 5, 0), (19, 90, 200), (53, 70, 64), (5, 40, 200),
]  # fmt: skip
"""m, k, n"""


def function(name: str, kind: Prim, ta: bool, tb: bool, known: tuple[int | None, int | None] = (None, None)) -> Fn:
    """`known`: the rows and columns of the result, where the types say them."""
    b = Builder()
    m, n = known
    x, y = (b.var(TensorT(kind, dims)) for dims in ((None, m) if ta else (m, None), (n, None) if tb else (None, n)))
    b.open()
    result = t.matmul(b, x, y, ta=ta, tb=tb)
    return Fn(name, (x, y), (result.type,), b.close(Yield((result,))))


TURNS = [(ta, tb) for ta in (False, True) for tb in (False, True)]


@cache
def made(kind: Prim, cpu: str = "host", known: tuple[int | None, int | None] = (None, None)) -> tuple[Program, Loaded]:
    """f0 to f3, each with its sides as TURNS say."""
    program = Program(fns={f"f{i}": function(f"f{i}", kind, *turn, known) for i, turn in enumerate(TURNS)})
    return program, Loaded(compile_program(program, list(program.fns), cpu=cpu))


@pytest.mark.parametrize("kind", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3", "x86-64-v2"])
def test_sizes(cpu: str, kind: Prim) -> None:
    program, loaded = made(kind, cpu)
    rng = np.random.default_rng(0)
    dtype = np.float32 if kind == F32 else np.float64
    for m, k, n in SIZES:
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        bound = np.finfo(dtype).eps * (np.sqrt(k) + 4) * (np.abs(a) @ np.abs(b))
        for i, (ta, tb) in enumerate(TURNS):
            left, right = (np.ascontiguousarray(x.T if turned else x, dtype) for x, turned in ((a, ta), (b, tb)))
            want = (left.T if ta else left).astype(np.float64) @ (right.T if tb else right).astype(np.float64)
            (got,) = run_native(loaded, program.fns[f"f{i}"], [left, right])
            assert got.shape == (m, n)
            assert (np.abs(got - want) <= bound).all(), (m, k, n, ta, tb)


@pytest.mark.parametrize("m, k, n", [(1, 70, 300), (1, 40, 256), (1, 64, 390), (1, 3, 5), (1, 1100, 44), (300, 70, 1), (5, 3, 1), (44, 1100, 1), (1, 9, 1)])
def test_one_row_or_one_column(m: int, k: int, n: int) -> None:
    program, loaded = made(F32, known=(m if m == 1 else None, n if n == 1 else None))
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    want, bound = a.astype(np.float64) @ b, np.finfo(np.float32).eps * (np.sqrt(k) + 4) * (np.abs(a) @ np.abs(b))
    for i, (ta, tb) in enumerate(TURNS):
        left, right = (np.ascontiguousarray(x.T if turned else x) for x, turned in ((a, ta), (b, tb)))
        (got,) = run_native(loaded, program.fns[f"f{i}"], [left, right])
        assert got.shape == (m, n) and (np.abs(got - want) <= bound).all(), (ta, tb)


def test_what_is_not_finite_reaches_its_row_and_column_only() -> None:
    program, loaded = made(F32)
    rng = np.random.default_rng(1)
    for m, k, n in SIZES:
        if 0 in (m, k, n):
            continue
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
        a[m - 1, k - 1], b[0, n - 1] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            want = np.isfinite(a.astype(np.float64) @ b)
        for i, right in enumerate((b, np.ascontiguousarray(b.T))):
            (got,) = run_native(loaded, program.fns[f"f{i}"], [a, right])
            np.testing.assert_array_equal(np.isfinite(got), want)


def test_the_same_bits_wherever_a_row_stands() -> None:
    """Large products go in blocks; what a row gives does not depend on its neighbours."""
    program, loaded = made(F32)
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((331, 700)).astype(np.float32), rng.standard_normal((700, 45)).astype(np.float32)
    (whole,) = run_native(loaded, program.fns["f0"], [a, b])
    for first in (0, 14, 200, 290):
        (part,) = run_native(loaded, program.fns["f0"], [np.ascontiguousarray(a[first : first + 30]), b])
        np.testing.assert_array_equal(part, whole[first : first + 30])


@pytest.mark.parametrize("kind", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3"])
def test_a_row_by_rows_at_any_address(cpu: str, kind: Prim) -> None:
    """Rows that lie across lines of the cache are read from the line on: the bits are the same, and what lies before
    and after the matrix does not matter."""
    program, loaded = made(kind, cpu)
    rng = np.random.default_rng(3)
    dtype = np.float32 if kind == F32 else np.float64
    for n, k in [(300, 126), (64, 256), (130, 257), (67, 1030), (65, 255), (200, 64), (9, 1000), (1, 70), (640, 96)]:
        x, w = rng.standard_normal((1, k)).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
        x[0, 0], x[0, k - 1] = -0.0, 1e20
        want = x.astype(np.float64) @ w.T.astype(np.float64)
        bound = np.finfo(dtype).eps * (np.sqrt(k) + 4) * (np.abs(x) @ np.abs(w.T))
        first = None
        for offset in range(17):
            room = np.full(n * k + 64, np.nan, dtype)
            lies = room[offset : offset + n * k].reshape(n, k)
            lies[:] = w
            (got,) = run_native(loaded, program.fns["f1"], [x, lies])
            first = got if first is None else first
            assert (np.abs(got - want) <= bound).all(), (n, k, offset)
            np.testing.assert_array_equal(got, first)


@pytest.mark.parametrize("cpu", ["host", "x86-64-v3"])
@pytest.mark.parametrize("n, k", [(1100, 256), (1107, 250), (4100, 70)])
def test_the_same_bits_from_either_end(cpu: str, n: int, k: int) -> None:
    """Few rows by a large matrix: it is read from the end where it was left, of which the results know nothing."""
    program, loaded = made(F32, cpu)
    rng = np.random.default_rng(4)
    w = rng.standard_normal((n, k)).astype(np.float32)
    assert w.nbytes >= LEAST
    context, start = Context(), OFFSET["ends0"] // 8
    for rows in (1, 2, 5, 8, 11):
        x = rng.standard_normal((rows, k)).astype(np.float32)
        bound = np.finfo(np.float32).eps * (np.sqrt(k) + 4) * (np.abs(x) @ np.abs(w.T))
        found, ends = [], []
        for _ in range(3):
            found += run_native(loaded, program.fns["f1"], [x, w], context)
            ends.append(any(context.memory[start : start + ENDS // 8]))
        assert (np.abs(found[0] - x.astype(np.float64) @ w.T) <= bound).all()
        np.testing.assert_array_equal(found[1], found[0])
        np.testing.assert_array_equal(found[2], found[0])
        assert ends in ([True, False, True], [False, True, False])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rows", [1, 5, 14])
def test_two_products_of_a_kernel_from_either_end(rows: int, known: bool) -> None:
    """Together they are large enough: at every other call the second one comes first, from its last row on."""
    program = program_of("""
fn f(x%1: f32[ROWS, 250], h%2: f32[ROWS, 256], w%3: f32[530, 250], u%4: f32[530, 256]) -> (f32[ROWS, 530]) {
  p%5: f32[ROWS, 530] = matmul[ta=false, tb=true](x%1, w%3)
  q%6: f32[ROWS, 530] = matmul[ta=false, tb=true](h%2, u%4)
  s%7: f32[ROWS, 530] = map[axes=((0, 1,), (0, 1,),), `fn`="add"](p%5, q%6)
  yield s%7
}
""".replace("ROWS", str(rows) if known else "?"))
    assert len(fused_statements(program)) == 1
    loaded = Loaded(compile_program(program, ["f"]))
    rng = np.random.default_rng(5)
    x, h, w, u = (rng.standard_normal(s).astype(np.float32) for s in ((rows, 250), (rows, 256), (530, 250), (530, 256)))
    context, start = Context(), OFFSET["ends0"] // 8
    found, ends = [], []
    for _ in range(3):
        found += run_native(loaded, program.fns["f"], [x, h, w, u], context)
        ends.append([byte for word in context.memory[start : start + ENDS // 8] for byte in word.to_bytes(8, "little")])
    np.testing.assert_allclose(found[0], x.astype(np.float64) @ w.T + h.astype(np.float64) @ u.T, atol=1e-4)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    if rows < 12 or not known:
        assert [sum(e) for e in ends] == [1, 0, 1]


@pytest.mark.parametrize("kind", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3"])
def test_a_row_of_known_length_has_the_bits_of_any(cpu: str, kind: Prim) -> None:
    """A kernel that is written for rows of a length adds up in the order of the general one, at any address and from
    either end, also where rows are not a whole number of blocks."""
    rng = np.random.default_rng(6)
    dtype = np.float32 if kind == F32 else np.float64
    for n, k in [(530, 64), (512, 128), (270, 128), (1100, 32), (160, 256), (300, 48)]:
        program = program_of("""
fn f(x%1: KIND[1, INNER], w%2: KIND[ROWS, INNER], b%3: KIND[1, ROWS]) -> (KIND[1, ROWS]) {
  p%4: KIND[1, ROWS] = matmul[ta=false, tb=true](x%1, w%2)
  q%5: KIND[1, ROWS] = map[axes=((0, 1,), (0, 1,),), `fn`="add"](p%4, b%3)
  yield q%5
}
""".replace("KIND", kind.name).replace("ROWS", str(n)).replace("INNER", str(k)))
        assert len(fused_statements(program)) == 1
        loaded = Loaded(compile_program(program, ["f"], cpu=cpu))
        x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((1, k), (n, k), (1, n)))
        general, beside = made(kind, cpu)
        (product,) = run_native(beside, general.fns["f1"], [x, w])
        context = Context()
        for offset in (0, 0, 1, 5):
            room = np.full(n * k + 64, np.nan, dtype)
            begin = -room.ctypes.data % 64 // room.itemsize + offset
            lies = room[begin : begin + n * k].reshape(n, k)
            lies[:] = w
            (got,) = run_native(loaded, program.fns["f"], [x, lies, b], context)
            np.testing.assert_array_equal(got, product + b)
