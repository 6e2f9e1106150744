"""Types and defaults that would need ever new ones are refused where they stand, and those that come back are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc import driver
from hybridc.base.diagnostic import CompileError

REFUSED = {
    "a fn of lists": ("fn f[T](x: T, n: int) -> int:\n    return 0 if n == 0 else f([x], n - 1)\n"
                      "fn g() -> int:\n    return f(1, 3)\n", [2]),
    "a fn of pairs, within a lambda": ("fn f[T](x: T, n: int) -> int:\n    let h = fn(y: T): f((y, y), n - 1)\n"
                                       "    return h(x) if n > 0 else 0\nfn g() -> int:\n    return f(1, 3)\n", [2]),
    "a method": ("struct Box[T]:\n    x: T\n    fn deep(n: int) -> int:\n"
                 "        return n if n == 0 else Box(self).deep(n - 1)\nfn g() -> int:\n    return Box(1).deep(3)\n", [4]),
    "an enum": ("enum L[T]:\n    Nil\n    Cons(x: T, rest: L[(T, T)])\nfn g(x: L[int]) -> int:\n    return 1\n", [3]),
    "two structs": ("struct A[T]:\n    x: list[B[T?]]\nstruct B[U]:\n    y: list[A[U]]\n"
                    "fn g(x: A[int]) -> int:\n    return 1\n", [2]),
    "a field's default": ("struct S:\n    a: list[S] = [S()]\nfn g() -> S:\n    return S()\n", [2]),
    "two defaults": ("struct S:\n    a: list[T] = [T()]\nstruct T:\n    a: list[S] = [S()]\n", [2, 4]),
    "an argument's default": ("fn f(a: int = f()) -> int:\n    return a\n", [1]),
}
FINE = {
    "arguments that change places": "struct A[T, U]:\n    x: T\n    y: list[A[U, T]]\n    z: list[A[int, list[int]]]\n"
                                    "fn g(x: A[int, str]) -> int:\n    return len(x.y)\n",
    "itself within others": "enum J[T]:\n    Leaf(x: T)\n    Obj(m: map[str, J[T]])\n    Fn(m: fn(T) -> J[T])\n"
                            "fn g(x: J[list[int]]) -> int:\n    return 1\n",
    "a default that is given": "struct S:\n    a: list[S] = [S(a=[])]\nfn g() -> S:\n    return S()\n",
}


def lower(text: str, folder: Path) -> None:
    file = folder / "program.hyb"
    file.write_text(text)
    driver.lower(driver.check(str(file)))


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, tmp_path: Path) -> None:
    text, lines = REFUSED[what]
    with pytest.raises(CompileError) as e:
        lower(text, tmp_path)
    assert {d.code for d in e.value.diagnostics} == {"HYB319"}
    assert all(f"program.hyb:{line}:" in str(e.value) for line in lines)


@pytest.mark.parametrize("what", FINE)
def test_fine(what: str, tmp_path: Path) -> None:
    lower(FINE[what], tmp_path)
