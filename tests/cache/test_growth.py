"""What compiling takes is in proportion to the program: of one twice as long, at most three times as many calls of
Python's functions, and LLVM makes at most three times as many instructions of its text. (Squared, it would be four.)"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path

import pytest

import hybridc
from hybridc import driver
from hybridc.llvm import backend

MOST = 3


def chain(n: int) -> str:
    """Each function calls the one before."""
    return "\n".join(f"fn f{i}(x: int) -> int:\n    return x * {i} + {f'f{i - 1}(x)' if i else '1'}\n"
                     for i in range(n))


def calls_from_two_places(n: int) -> str:
    """Each function calls the one before twice, and all are differentiated: by 2 ** n ways the last leads to the
    first."""
    first = "fn f0(x: f64) -> f64:\n    return sin(x)\n"
    steps = [f"fn f{i}(x: f64) -> f64:\n    if x > {i}:\n        return f{i - 1}(x)\n    return f{i - 1}(x * 0.5) * x\n"
             for i in range(1, n)]
    return "\n".join([first, *steps, f"fn d(x: f64) -> f64:\n    return grad(f{n - 1})(x)\n"])


def calls_in_loops(n: int) -> str:
    """The same, in loops, whose turns leave records."""
    first = "fn f0(x: f64) -> f64:\n    return sin(x)\n"
    steps = [f"fn f{i}(x: f64) -> f64:\n    var s = x\n    for j in range(3):\n"
             f"        s += f{i - 1}(s) * f{i - 1}(x + j)\n    return s\n" for i in range(1, n)]
    return "\n".join([first, *steps, f"fn d(x: f64) -> f64:\n    return grad(f{n - 1})(x)\n"])


def submodels(n: int) -> str:
    """Each model has the one before, and calls it twice."""
    first = "model M0:\n    param w: f32[4] = ones()\n\n    fn forward(x: f32[4]) -> f32[4]:\n        return self.w * x\n"
    steps = [f"model M{i}:\n    let a = M{i - 1}()\n    param w: f32[4] = ones()\n\n"
             "    fn forward(x: f32[4]) -> f32[4]:\n        return self.a(x) + self.w * self.a(x * 2.0)\n"
             for i in range(1, n)]
    return "\n".join([first, *steps, f"fn loss(m: M{n - 1}, x: f32[4]) -> f32:\n    return sum(m(x))\n",
                      f"fn d(m: M{n - 1}, x: f32[4]) -> f32[?]:\n    return grad(loss)(m, x)\n"])


def structs(n: int) -> str:
    """Each struct holds two lists of the one before."""
    steps = [f"struct S{i}:\n    a: list[S{i - 1}]\n    b: map[str, S{i - 1}]\n" for i in range(1, n)]
    return "\n".join(["struct S0:\n    a: int\n", *steps,
                      f"fn same(x: S{n - 1}, y: S{n - 1}) -> bool:\n    return x == y\n"])


def elifs(n: int) -> str:
    ways = "".join(f'    elif x == "w{i}": return {i}\n' for i in range(n))
    return f'fn f(x: str) -> int:\n    if x == "": return -1\n{ways}    else: return -2\n'


def lists_in_a_map(n: int) -> str:
    entries = ", ".join(f'"k{i}": [{i}, {i + 1}]' for i in range(n))
    return f"fn f() -> map[str, list[int]]:\n    return {{{entries}}}\n"


def rows(n: int) -> str:
    return f"fn f() -> list[list[int]]:\n    return [{', '.join(f'[{i}, 2]' for i in range(n))}]\n"


def layers(n: int) -> str:
    """A gradient through a tower of layers, written out."""
    steps = "".join(f"    a = tanh(a) * x + {i}.0\n" for i in range(n))
    return (f"fn l(x: f64[N]) -> f64:\n    var a = x\n{steps}    return sum(a)\n\n"
            "fn d(x: f64[N]) -> f64[N]:\n    return grad(l)(x)\n")


def text_added(n: int) -> str:
    return f"fn f(x: str) -> str:\n    return {' + '.join('x' for _ in range(n))}\n"


def pieces_of_text(n: int) -> str:
    return f'fn f(x: int) -> str:\n    return f"{" ".join(f"{{x + {i}:05d}}" for i in range(n))}"\n'


def comprehensions(n: int) -> str:
    steps = "".join(f"    t = [x + {i} for x in t if x != {i}]\n" for i in range(n))
    return f"fn f(xs: list[int]) -> list[int]:\n    var t = xs\n{steps}    return t\n"


PROGRAMS = [(chain, 100), (calls_from_two_places, 10), (calls_in_loops, 8), (submodels, 10), (structs, 8), (elifs, 100),
            (lists_in_a_map, 100), (rows, 200), (layers, 30)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("program", "n"), PROGRAMS, ids=lambda p: getattr(p, "__name__", p))
def test_python(program: Callable[[int], str], n: int, tmp_path: Path) -> None:
    def calls(size: int) -> int:
        path = tmp_path / f"of_{size}.hyb"
        path.write_text(program(size))
        with cProfile.Profile() as profile:
            hybridc.load(path)
        return pstats.Stats(profile).total_calls

    calls(2)  # what is done once in a process
    base, once, twice = calls(3), calls(n), calls(2 * n)
    assert twice - base <= MOST * (once - base)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("program", "n"), [(text_added, 40), (pieces_of_text, 40), (comprehensions, 20)],
                         ids=lambda p: getattr(p, "__name__", p))
def test_llvm(program: Callable[[int], str], n: int, tmp_path: Path) -> None:
    def instructions(size: int) -> int:
        path = tmp_path / f"of_{size}.hyb"
        path.write_text(program(size))
        text = driver.emit(str(path), "llvm")
        with backend._parsed(text) as module:
            backend.optimise(module, backend.target_machine("x86-64-v3", 2), 2)
            return sum(1 for f in module.functions for block in f.blocks for _ in block.instructions)

    base, once, twice = instructions(2), instructions(n), instructions(2 * n)
    assert twice - base <= MOST * (once - base)
