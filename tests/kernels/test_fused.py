"""Fused kernels compute what their operators compute one by one."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.ir import Fn, Fused, Program
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.values import InterpFault
from hybridc.core.verify import check_after, verify
from hybridc.core.walk import statements
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Context, Loaded, NativeFault
from hybridc.passes import fuse
from tests.core.texts import parsed
from tests.kernels.generate import Made
from tests.tensor.running import _struct, pack
from tests.tensor.running import read as read_tensor

PER_PROGRAM = 20


def fused_statements(program: Program) -> list[Fused]:
    return [s for f in program.fns.values() for s in statements(f.body) if isinstance(s, Fused)]


def run_native(
    loaded: Loaded, fn: Fn, arrays: list[np.ndarray], context: Context | None = None
) -> list[np.ndarray]:
    keep: list = []
    args = pack([(x, p.type) for x, p in zip(arrays, fn.params, strict=True)], keep)
    fields: list = []
    for t in fn.results:
        fields += [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * len(t.dims)]  # type: ignore[union-attr]
    results = _struct(fields)()
    loaded.call(fn.name, ctypes.addressof(args), ctypes.addressof(results), context or Context())
    found, at = [], 0
    for t in fn.results:
        count = len(t.dims)  # type: ignore[union-attr]
        dims = [getattr(results, f"f{at + 2 + k}") for k in range(count)]
        found.append(read_tensor(getattr(results, f"f{at + 1}"), dims, t.elem))  # type: ignore[union-attr]
        at += 2 + count
    return found


@pytest.mark.parametrize("group", range(6))
def test_random_functions(group: int) -> None:
    made = [Made(group * PER_PROGRAM + i) for i in range(PER_PROGRAM)]
    plain, names = Program(), []
    for i, m in enumerate(made):
        names.append(f"f{i}")
        plain.fns[f"f{i}"] = replace(m.fn, name=f"f{i}")
    assert verify(plain) == []
    better = fuse.run(plain)
    check_after("fuse", better)
    again, diagnostics = read(print_program(better))
    assert again == better, diagnostics
    loaded = Loaded(compile_program(better, names))
    unfused = Loaded(compile_program(plain, names))
    count = len(fused_statements(better))
    assert count > PER_PROGRAM // 3, count
    rng = np.random.default_rng(group)
    for name, m in zip(names, made, strict=True):
        arrays = [rng.uniform(-2, 2, s).astype(np.float32) for s in m.shapes]
        with np.errstate(all="ignore"):
            want = Interpreter(plain).call(name, arrays)
            middle = Interpreter(better).call(name, arrays)
        got = run_native(loaded, plain.fns[name], arrays)
        alone = run_native(unfused, plain.fns[name], arrays)
        for g, a, w, i in zip(got, alone, want, middle, strict=True):
            np.testing.assert_array_equal(i, w)
            # What one operator after the other gives differs too: the greater of the two bounds.
            finite = np.isfinite(np.asarray(w, np.float64)) & (np.abs(w) < 1e30)
            slack = np.abs(np.where(finite, a, 0).astype(np.float64) - np.where(finite, w, 0))
            bound = 4 * slack + 2e-5 * np.abs(np.where(finite, w, 0)) + 2e-5 * scale_of(w, finite)
            difference = np.abs(np.where(finite, g, 0).astype(np.float64) - np.where(finite, w, 0))
            assert g.shape == np.shape(w)
            assert (difference <= bound).all(), (name, m.fn, g, w)


def scale_of(w: object, finite: np.ndarray) -> float:
    values = np.where(finite, np.abs(np.asarray(w, np.float64)), 0)
    return float(values.max(initial=0.0)) + 1.0


SOFTMAX = """
fn f(x%1: f32[?, ?]) -> (f32[?, ?]) {
  a%2: f32[?] = reduce[axes=(1,), `fn`="max"](x%1)
  b%3: f32[?, ?] = map[axes=((0, 1,), (0, none,),), `fn`="sub"](x%1, a%2)
  c%4: f32[?, ?] = map[axes=((0, 1,),), `fn`="exp"](b%3)
  d%5: f32[?] = reduce[axes=(1,), `fn`="sum"](c%4)
  e%6: f32[?, ?] = map[axes=((0, 1,), (0, none,),), `fn`="div"](c%4, d%5)
  yield e%6
}
"""


def program_of(text: str) -> Program:
    program = parsed(text)
    assert verify(program) == []
    better = fuse.run(program)
    check_after("fuse", better)
    return better


def test_softmax_is_one_kernel() -> None:
    better = program_of(SOFTMAX)
    (statement,) = better.fns["f"].body.stmts
    assert isinstance(statement, Fused) and len(statement.ops) == 5


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("columns", [1, 2, 3, 5, 8, 64, 200])
def test_softmax_of_nan_and_infinities(columns: int, known: bool) -> None:
    better = program_of(SOFTMAX.replace("?, ?", f"?, {columns}") if known else SOFTMAX)
    x = np.random.default_rng(0).standard_normal((6, columns)).astype(np.float32)
    x[1, -1], x[2, 0], x[3, :] = np.nan, np.inf, -np.inf
    x[4, columns // 2] = -np.inf
    with np.errstate(all="ignore"):
        (want,) = Interpreter(better).call("f", [x])
    (got,) = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [x])
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-7)


def test_the_order_of_a_sum_depends_on_sizes_alone() -> None:
    """Where the rows stand, and how many there are, changes no bit."""
    better = program_of(SOFTMAX)
    loaded = Loaded(compile_program(better, ["f"]))
    x = np.random.default_rng(1).standard_normal((9, 333)).astype(np.float32)
    (whole,) = run_native(loaded, better.fns["f"], [x])
    for i in range(9):
        (one,) = run_native(loaded, better.fns["f"], [x[i : i + 1]])
        assert one.tobytes() == whole[i].tobytes()


def test_sizes_that_do_not_fit_fault_as_the_operators_would() -> None:
    text = """
fn f(x%1: f32[?, ?], y%2: f32[?], z%3: f32[?, ?]) -> (f32[?, ?]) {
  a%4: f32[?, ?] = map[axes=((0, 1,), (none, 0,),), `fn`="add"](x%1, y%2)
  b%5: f32[?, ?] = matmul[ta=false, tb=true](a%4, z%3)
  c%6: f32[?, ?] = map[axes=((0, 1,),), `fn`="tanh"](b%5)
  yield c%6
}
"""
    better = program_of(text)
    assert len(fused_statements(better)) == 1
    loaded = Loaded(compile_program(better, ["f"]))
    for shapes in (((2, 3), (4,), (5, 3)), ((2, 3), (3,), (5, 4)), ((2, 3), (4,), (5, 7))):
        arrays = [np.ones(s, np.float32) for s in shapes]
        before = loaded.live
        with pytest.raises(InterpFault) as expected:
            Interpreter(better).call("f", arrays)
        with pytest.raises(NativeFault) as found:
            run_native(loaded, better.fns["f"], arrays)
        assert (found.value.kind, str(found.value).split(": ", 1)[1]) == ("ValueError", expected.value.message)
        assert loaded.live == before + 1  # the message


def test_a_product_of_what_is_put_together() -> None:
    """Pieces of any length: their sizes are asked of them, so that what they make together is never in memory."""
    program = program_of("""
fn f(x%1: f32[?], y%2: f32[?], w%3: f32[6, 7], b%4: f32[6]) -> (f32[6]) {
  a%6: f32[?] = concat[axis=0](x%1, y%2, x%1)
  n%7: int = dim[axis=0](a%6)
  r%8: f32[1, ?] = reshape(a%6, 1, n%7)
  p%9: f32[6, 1] = matmul[ta=false, tb=true](w%3, r%8)
  q%10: f32[6] = reshape(p%9, 6)
  s%11: f32[6] = map[axes=((0,), (0,),), `fn`="add"](q%10, b%4)
  yield s%11
}
""")
    assert [op.op for op in fused_statements(program)[0].ops] == ["concat", "reshape", "matmul", "reshape", "map"]
    loaded = Loaded(compile_program(program, ["f"]))
    random = np.random.default_rng(0)
    w, b = random.standard_normal((6, 7)).astype(np.float32), random.standard_normal(6).astype(np.float32)
    for n, m in ((2, 3), (0, 7), (3, 1), (2, 4), (0, 0), (7, 0)):
        x, y = (random.standard_normal(k).astype(np.float32) for k in (n, m))
        arrays = [x, y, w, b]
        if 2 * n + m == 7:
            want = w @ np.concatenate([x, y, x]) + b
            np.testing.assert_allclose(Interpreter(program).call("f", arrays)[0], want, atol=1e-5)
            np.testing.assert_allclose(run_native(loaded, program.fns["f"], arrays)[0], want, atol=1e-5)
            continue
        with pytest.raises(InterpFault) as expected:
            Interpreter(program).call("f", arrays)
        with pytest.raises(NativeFault) as found:
            run_native(loaded, program.fns["f"], arrays)
        assert (found.value.kind, str(found.value).split(": ", 1)[1]) == ("ValueError", expected.value.message)


@pytest.mark.parametrize("kind, dtype", [("int", np.int64), ("i32", np.int32), ("u8", np.uint8)])
def test_whole_numbers_by_constants_are_one_kernel(kind: str, dtype: type) -> None:
    """What is shifted or divided by a constant cannot fault, so it joins; by a negative shift it does, and does not."""
    steps = [("lshr", 3), ("shl", 2), ("shr", 1), ("shl", 70), ("shr", 70), ("lshr", 70), ("floordiv", 7), ("mod", 5),
             ("floordiv", 8), ("mod", 16)]
    steps += [] if kind == "u8" else [("floordiv", -3), ("mod", -7), ("floordiv", -1)]
    text = f"fn f(b%1: {kind}[?]) -> ({', '.join([f'{kind}[?]'] * len(steps))}) {{\n"
    for n, (fn, by) in enumerate(steps, 1):
        number = by if kind == "int" else f"{kind}({by})"
        text += f"  a%{2 * n}: {kind}[?] = map[axes=((0,), (none,),), `fn`=\"{fn}\"](b%{2 * n - 1}, {number})\n"
        text += f"  b%{2 * n + 1}: {kind}[?] = map[axes=((0,), (0,),), `fn`=\"bit_xor\"](a%{2 * n}, b%1)\n"
    text += f"  yield {', '.join(f'b%{2 * n + 1}' for n in range(1, len(steps) + 1))}\n}}\n"
    better = program_of(text)
    assert len(fused_statements(better)) == 1 and len(better.fns["f"].body.stmts) == 1
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, 0, 1, *range(-20, 20), 1000003], np.int64).astype(dtype)
    want = Interpreter(better).call("f", [x])
    for g, w in zip(run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [x]), want, strict=True):
        np.testing.assert_array_equal(g, w)
    if kind == "int":
        negative = program_of(text.replace("(b%1, 3)", "(b%1, -3)"))
        assert [s.op for s in negative.fns["f"].body.stmts if not isinstance(s, Fused)] == ["map"]
        with pytest.raises(InterpFault) as expected:
            Interpreter(negative).call("f", [x])
        with pytest.raises(NativeFault) as found:
            run_native(Loaded(compile_program(negative, ["f"])), negative.fns["f"], [x])
        assert str(found.value).split(": ", 1)[1] == expected.value.message


def test_what_is_between_keeps_its_order() -> None:
    """An operator that could stop the program is not moved past an effect, nor a value past one who needs it."""
    text = """
fn f(x%1: f32[?], y%2: f32[?]) -> (f32[?], f32) {
  a%3: f32[?] = map[axes=((0,), (0,),), `fn`="add"](x%1, y%2)
  i%4: f32 = index[kinds=("i",)](a%3, 0)
  b%5: f32[?] = map[axes=((0,), (none,),), `fn`="mul"](a%3, i%4)
  c%6: f32[?] = map[axes=((0,),), `fn`="exp"](b%5)
  yield c%6, i%4
}
"""
    better = program_of(text)
    assert [[op.attr("fn") for op in s.ops] for s in fused_statements(better)] == [["add"], ["mul", "exp"]]


def test_rows_that_are_regrouped() -> None:
    """A layer over [batch, place, feature] multiplies [batch * place, feature]."""
    text = """
fn f(x%1: f32[?, 4], w%2: f32[6, 4], b%3: f32[6], n%4: int, m%5: int) -> (f32[?, ?, 6]) {
  a%6: f32[?, 6] = matmul[ta=false, tb=true](x%1, w%2)
  c%7: f32[?, ?, 6] = reshape(a%6, n%4, m%5, 6)
  d%8: f32[?, ?, 6] = map[axes=((0, 1, 2,), (none, none, 0,),), `fn`="add"](c%7, b%3)
  yield d%8
}
"""
    better = program_of(text)
    assert len(fused_statements(better)) == 1
    fn = better.fns["f"]
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((6, 4), (6, 4), (6,)))
    (got,) = run_native(Loaded(compile_program(better, ["f"])), fn, [x, w, b, 2, 3])  # type: ignore[list-item]
    np.testing.assert_allclose(got, (x @ w.T + b).reshape(2, 3, 6), rtol=1e-5, atol=1e-6)


def test_a_reshape_of_nothing_is_no_view() -> None:
    """Nothing can be regrouped to any number of rows, so its sizes do not tell that of others: this has one row."""
    text = """
fn f(x%1: f32[0]) -> (f32[2]) {
  a%2: f32[0] = map[axes=((0,), (none,),), `fn`="mul"](x%1, f32(2.0))
  b%3: f32[2, 0] = reshape(a%2, 2, 0)
  c%4: f32[0] = reshape(b%3, 0)
  d%5: f32[2] = broadcast[axes=(none,)](f32(0.0), 2)
  e%6: f32[2] = concat[axis=0](c%4, d%5)
  yield e%6
}
"""
    better = program_of(text)
    assert all("reshape" not in [op.op for op in statement.ops] for statement in fused_statements(better))
    (got,) = run_native(Loaded(compile_program(better, ["f"])), better.fns["f"], [np.zeros(0, np.float32)])
    assert got.tolist() == [0, 0]


def test_equal_kernels_are_one_function() -> None:
    """Of statements that compute the same; one that reduces otherwise has its own."""
    same = SOFTMAX + SOFTMAX.replace("fn f(", "fn g(") + SOFTMAX.replace("fn f(", "fn h(").replace('"max"', '"min"')
    program = parsed(same)
    better = fuse.run(program)
    compiled = compile_program(better, ["f", "g", "h"])
    assert sum('@"kernel.fused' in line for line in compiled.llvm.splitlines() if line.startswith("define")) == 2
    loaded = Loaded(compiled)
    x = np.random.default_rng(3).standard_normal((5, 40)).astype(np.float32)
    for name in ("f", "g", "h"):
        (want,) = Interpreter(better).call(name, [x])
        np.testing.assert_allclose(run_native(loaded, better.fns[name], [x])[0], want, rtol=2e-6)
