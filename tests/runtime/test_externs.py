"""What a host supplies: Python callables, C functions, numba's; and functions that change what they are given."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
extern fn fill(mut xs: list[int])
extern fn filled(xs: list[int], mut ys: list[int]) -> int
extern fn double(mut v: f32[N])
extern fn call(x: int) -> int
extern fn print(x: str) -> str
extern pure fn curve(x: f64) -> f64

fn fills() -> list[int]:
    var xs = [1]
    fill(mut xs)
    return xs

fn fills_the_second() -> (int, list[int], list[int]):
    let xs = [1]
    var ys = [2]
    let n = filled(xs, mut ys)
    return (n, xs, ys)

fn doubles(v: f32[N]) -> f32[N]:
    var w = v
    double(mut w)
    return w

fn with_call(f: fn(int) -> int, x: int) -> (int, int): return (call(x), f(x))
fn with_print() -> str: return print("a")
fn bends(x: f64) -> f64: return curve(x)

fn changes(f: fn(list[int], mut list[int])) -> (list[int], list[int]):
    let xs = [1]
    var ys = [2]
    f(xs, mut ys)
    return (xs, ys)

fn changes_first(f: fn(mut list[int], list[int])) -> (list[int], list[int]):
    var xs = [1]
    let ys = [2]
    f(mut xs, ys)
    return (xs, ys)

fn adder(n: int) -> fn(int) -> int: return fn(x): x + n
fn both(f: fn(int, int) -> int) -> int: return f(1, 2)
"""


def both(xs: list[int], ys: list[int]) -> None:
    xs.append(8)
    ys.append(9)


def scale(v: Any) -> None:
    v *= 2


GIVEN: dict[str, Any] = {
    "fill": lambda xs: xs.append(5), "filled": lambda xs, ys: (both(xs, ys), len(ys))[1], "double": scale,
    "call": lambda x: -x, "print": lambda s: s + "!", "curve": math.cos,
}  # fmt: skip


def load(path: Path, **more: Any) -> Any:
    return hybridc.load(path, externs={**GIVEN, **more})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("externs") / "supplied.hyb"
    file.write_text(SOURCE)
    return file


@pytest.fixture(scope="module")
def mod(path: Path) -> Any:
    return load(path)


def test_what_is_marked_is_changed(mod: Any) -> None:
    """And nothing else, whatever else has its type, with a result and without."""
    assert mod.fills() == [1, 5]
    assert mod.fills_the_second() == (2, [1], [2, 9])
    assert mod.doubles(np.array([1, 2], np.float32)).tolist() == [2, 4]
    assert mod.changes(both) == ([1], [2, 9])
    assert mod.changes_first(both) == ([1, 8], [2])


def test_names_of_services(mod: Any) -> None:
    assert mod.with_call(lambda x: x + 1, 5) == (-5, 6)
    assert mod.with_print() == "a!"


def test_c_functions(path: Path) -> None:
    sin = ctypes.CDLL("libm.so.6").sin
    assert load(path, curve=sin).bends(1.0) == math.sin(1.0)
    sin.argtypes, sin.restype = [ctypes.c_double], ctypes.c_double
    third = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: x / 3)
    for value, of_three in ((sin, math.sin(3.0)), (third, 1.0), (ctypes.cast(third, ctypes.c_void_p).value, 1.0)):
        assert load(path, curve=value).bends(3.0) == of_three


def test_c_functions_of_other_types(path: Path) -> None:
    single = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(lambda x: x)
    with pytest.raises(TypeError) as error:
        load(path, curve=single)
    assert str(error.value) == "extern curve is the C function (double) -> double, and what is given (float) -> float"
    two = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)(lambda x, y: x)
    with pytest.raises(TypeError, match=r"what is given \(double, double\) -> double"):
        load(path, curve=two)
    assert load(path, call=ctypes.CFUNCTYPE(ctypes.c_longlong, ctypes.c_long)(lambda x: 2 * x)).with_call(abs, -4) == (-8, 4)
    with pytest.raises(TypeError, match="extern fill is a C function, which takes and gives scalars only"):
        load(path, fill=single)


def test_numba(path: Path) -> None:
    numba = pytest.importorskip("numba")
    assert load(path, curve=numba.cfunc("float64(float64)")(lambda x: x * 5)).bends(2.0) == 10
    assert load(path, curve=numba.njit(lambda x: x * 7)).bends(2.0) == 14
    with pytest.raises(TypeError, match="extern curve is the C function"):
        load(path, curve=numba.cfunc("int64(int64)")(lambda x: x))


def test_what_is_no_function(path: Path) -> None:
    for value in (3, True, "sin", None):
        with pytest.raises(TypeError, match="extern curve must be a function or a C function pointer, found"):
            load(path, curve=value)
    for externs in (3, ["curve"], lambda x: x):
        with pytest.raises(TypeError, match="externs are a dict of functions by name"):
            hybridc.load(path, externs=externs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="extern fn call, curve, double, fill, filled, print not supplied"):
        hybridc.load(path)


def test_function_values_take_what_they_declare(mod: Any) -> None:
    add = mod.adder(3)
    assert add(4) == 7
    for args in ((), (1, 2)):
        with pytest.raises(TypeError, match=rf"<fn\(int\) -> int> takes 1 argument, {len(args)} were given"):
            add(*args)
    with pytest.raises(TypeError, match="takes 1 argument, 2 were given"):
        mod.both(add)
