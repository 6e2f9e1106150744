"""Names of a program that the compiler uses too."""

from __future__ import annotations

import hybridc

SOURCE = """
enum T:
    Leaf
    Node(l: T, r: T)

struct release:
    x: int = 1

    fn T() -> int:
        return self.x

fn live() -> int:
    return 1

fn drain(n: int) -> T:
    if n == 0:
        return Leaf
    return Node(drain(n - 1), drain(n - 1))

fn allocate(n: int) -> list[T]:
    return [drain(2) for i in range(n)]

fn free(xs: list[T]) -> int:
    return len(xs) + release().T()
"""


def test_functions_named_as_the_compilers_own(tmp_path):
    path = tmp_path / "names.hyb"
    path.write_text(SOURCE)
    m = hybridc.load(path)
    assert m.live() == 1
    assert m.free(m.allocate(3)) == 4
    assert m.drain(1) == m.T.Node(m.T.Leaf, m.T.Leaf)
