"""Values cross both ways, are released, and what does not fit is named."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from core_module import BOOL, F32, F64, I32, INT, STR, TEXT, U8, entry, interface, live, module
from hybridc_runtime import ArgumentError, RuntimeFault

from hybridc.core import ir
from hybridc.core.interface import Kind

pytestmark = pytest.mark.usefixtures("unoptimised")

TYPES = STR + """
struct `list[int]` { data: buffer[int], size: int }
struct `list[list[int]]` { data: buffer[`list[int]`], size: int }
struct `list[str]` { data: buffer[str], size: int }
struct `list[Tree]` { data: buffer[Tree], size: int }
struct Point { x: f64, y: f64, label: str }
enum Color { Red Green }
enum Tree { Leaf(word: int) Node(left: Tree, right: Tree) Many(items: `list[Tree]`, pair: (Tree, int)?) Empty }
"""
INTS, LISTS, TEXTS = ir.StructT("list[int]"), ir.StructT("list[list[int]]"), ir.StructT("list[str]")
POINT, COLOR, TREE = ir.StructT("Point"), ir.EnumT("Color"), ir.EnumT("Tree")
KINDS = {
    "str": Kind("str"), "list[int]": Kind("list", [INT]), "list[list[int]]": Kind("list", [INTS]),
    "list[str]": Kind("list", [TEXT]), "list[Tree]": Kind("list", [TREE]),
    "Point": Kind("struct", title="main:Point", shown=["f64", "f64", "str"]),
    "Color": Kind("enum", title="main:Color"), "Tree": Kind("enum", title="main:Tree"),
}
SCALARS = ir.TupleT((INT, F64, BOOL, I32, U8, F32))
ECHOES = {
    "scalars": SCALARS, "text": TEXT, "ints": INTS, "lists": LISTS, "texts": TEXTS, "maybe": ir.OptionT(INT),
    "pairs": ir.OptionT(ir.TupleT((INT, TEXT))), "point": POINT, "color": COLOR, "tree": TREE,
    "vector": ir.TensorT(F32, (None,)), "matrix": ir.TensorT(F64, (2, None)),
}
SHOWN = {
    "scalars": "(int, f64, bool, i32, u8, f32)", "text": "str", "ints": "`list[int]`", "lists": "`list[list[int]]`",
    "texts": "`list[str]`", "maybe": "int?", "pairs": "(int, str)?", "point": "Point", "color": "Color", "tree": "Tree",
    "vector": "f32[?]", "matrix": "f64[2, ?]",
}


@pytest.fixture(scope="module")
def mod():
    text = TYPES + "".join(f"fn {name}(x%1: {t}) -> ({t}) {{ yield x%1 }}\n" for name, t in SHOWN.items())
    text += "fn both(x%1: `list[int]`, y%2: int) -> (int, `list[int]`) { yield y%2, x%1 }\n"
    made = interface(**{name: entry(name, ("x", t), result=t) for name, t in ECHOES.items()})
    made.fns["both"] = [entry("both", ("x", INTS), ("y", INT), result=INT, mut="x")]
    made.kinds = dict(KINDS)
    made.classes = {"Point": "Point", "Color": "Color", "Tree": "Tree"}
    return module(text, made)


@pytest.mark.parametrize("name, value", [
    ("scalars", (-(1 << 63), 0.1, True, -5, 255, 0.5)), ("text", "naïve 🦊\0x"), ("text", ""), ("ints", []),
    ("ints", [1, -2, 1 << 62]), ("lists", [[1], [], [2, 3]]), ("texts", ["a", "", "é"]), ("maybe", None), ("maybe", 0),
    ("pairs", (1, "x")), ("pairs", None),
])
def test_round_trip(mod, name, value):
    before = live(mod)
    found = getattr(mod, name)(value)
    assert found == value and type(found) is type(value)
    assert live(mod) == before


def test_classes(mod):
    p = mod.Point(1.0, y=2.0, label="p")
    before = live(mod)
    assert mod.point(p) == p and repr(mod.point(p)) == "Point(x=1.0, y=2.0, label='p')"
    assert mod.color(mod.Color.Green) is mod.Color.Green
    t = mod.Tree.Node(mod.Tree.Leaf(1), mod.Tree.Many([mod.Tree.Leaf(2), mod.Tree.Empty], (mod.Tree.Empty, 3)))
    assert mod.tree(t) == t and isinstance(t, mod.Tree) and not isinstance(mod.Tree.Empty, mod.Tree.Leaf)
    assert mod.tree(mod.Tree.Many([], None)) == mod.Tree.Many([], None)
    assert live(mod) == before
    assert repr(t.left) == "Tree.Leaf(word=1)" and copy.copy(t) is t and {t.left: 1}[mod.tree(t).left] == 1
    match t:
        case mod.Tree.Node(mod.Tree.Leaf(n), right):
            assert n == 1 and right.items[1] == mod.Tree.Empty
        case _:
            pytest.fail("no match")


def test_deep(mod):
    leaf = mod.Tree.Leaf(0)
    t = leaf
    for _ in range(100_000):
        t = mod.Tree.Node(t, leaf)
    before = live(mod)
    found = mod.tree(t)
    assert found == t and live(mod) == before
    shared = leaf
    for _ in range(60):
        shared = mod.Tree.Node(shared, shared)
    found = mod.tree(shared)
    assert found.left is found.right and live(mod) == before


def test_cycle(mod):
    items = []
    t = mod.Tree.Many(items, None)
    items.append(t)
    before = live(mod)
    with pytest.raises(ArgumentError, match="contains itself"):
        mod.tree(t)
    assert live(mod) == before


@pytest.mark.parametrize("name, value, words", [
    ("scalars", (1 << 63, 0.1, True, 0, 0, 0.0), ["x[0]", "int", "out of range"]),
    ("scalars", (1.5, 0.1, True, 0, 0, 0.0), ["expected int, found float"]),
    ("scalars", (1, "x", True, 0, 0, 0.0), ["x[1]: expected f64, found str"]),
    ("scalars", (1, 0.0, True, 0, 256, 0.0), ["x[4]", "u8"]), ("scalars", (1, 0.0, 1, 0, 0, 0.0), ["bool"]),
    ("text", 5, ["argument x: expected str, found int"]), ("text", "\ud800", ["surrogate"]),
    ("lists", [[1], ["a"]], ["argument x[1][0]: expected int, found str"]), ("ints", "abc", ["list[int]", "str"]),
    ("maybe", "no", ["expected int?, found str"]), ("pairs", (1, "x", 2), ["(int, str)"]),
    ("vector", [1e300], ["1e+300, which is out of range"]), ("vector", [2**70, "a"], ["list of str"]),
    ("vector", np.ma.masked_equal(np.ones(2, np.float32), 1), ["f32[2] with masked elements"]),
    ("vector", [1.0, "a"], ["f32[?]"]), ("vector", np.zeros(3), ["expected f32[?], found f64[3]"]),
    ("vector", np.zeros((2, 2), np.float32), ["found f32[2, 2]"]), ("matrix", np.zeros((3, 2)), ["f64[2, ?]", "f64[3, 2]"]),
    ("vector", None, ["none"]), ("vector", "abc", ["str"]), ("point", 3, ["Point"]), ("tree", None, ["Tree", "none"]),
])
def test_misfits(mod, name, value, words):
    before = live(mod)
    with pytest.raises(ValueError) as e:
        getattr(mod, name)(value)
    assert isinstance(e.value, RuntimeFault) and all(w in str(e.value) for w in words), e.value
    assert live(mod) == before


def test_path_in_struct(mod):
    with pytest.raises(ValueError, match=r"argument x\.label: expected str, found int"):
        mod.point(mod.Point(1.0, 2.0, 3))


def test_arity(mod):
    for args, kw in (((), {}), ((1, 2), {}), ((), {"z": 1}), ((1,), {"x": 1})):
        with pytest.raises(TypeError):
            mod.maybe(*args, **kw)
    assert mod.maybe(x=4) == 4


def test_tensors(mod):
    a = np.arange(6, dtype=np.float32)
    found = mod.vector(a)
    assert found.dtype == np.float32 and (found == a).all() and found is not a
    found[0] = 9
    assert a[0] == 0
    assert (mod.vector(a[::2]) == a[::2]).all() and (mod.vector([1, 2.5]) == [1, 2.5]).all()
    assert (mod.vector(memoryview(a)) == a).all()
    big = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    before = live(mod)
    found = mod.vector(big)
    assert (found == big).all()
    del found
    assert live(mod) == before
    assert mod.matrix(np.zeros((2, 0))).shape == (2, 0)
    torch = pytest.importorskip("torch")
    t = mod.vector(torch.arange(3, dtype=torch.float32))
    assert isinstance(t, torch.Tensor) and t.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="f64"):
        mod.vector(torch.zeros(3, dtype=torch.float64))


def test_mut_and_native(mod):
    xs = [1, 2]
    assert mod.both(xs, 5) == 5 and xs == [1, 2]
    with pytest.raises(TypeError, match="tuple"):
        mod.both((1, 2), 5)
    before = live(mod)
    n = mod.native([1, 2, 3], "list[int]")
    assert len(n) == 3 and n[-1] == 3 and list(n) == [1, 2, 3] and n == [1, 2, 3] and "1, 2, 3" in repr(n)
    assert mod.both(n, 1) == 1 and n.to_python() == [1, 2, 3] and mod.ints(n) == [1, 2, 3]
    m = mod.ints.native(n)
    assert m == n and mod.lists([[1]]) == [[1]]
    del n, m
    assert live(mod) == before
    with pytest.raises(ValueError, match="list"):
        mod.native([], "list[bool]")


def test_a_native_tensor_has_the_sizes_that_are_said(mod):
    assert mod.native([[1, 2], [3, 4]], "f64[2, ?]").to_python().shape == (2, 2)
    with pytest.raises(ValueError, match=r"native value: expected f64\[3, 2\], found f64\[2, 2\]"):
        mod.native([[1, 2], [3, 4]], "f64[3, 2]")
    with pytest.raises(ValueError, match=r"expected f64\[3, 2\], found f64\[2, 2\]"):
        mod.native(mod.native([[1, 2], [3, 4]], "f64[2, 2]"), "f64[3, 2]")


def test_tensors_that_torch_does_not_give(mod):
    """One that only stands for others."""
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"argument x: expected f32\[\?\], found f32\[3\], whose elements torch does not give"):
        torch.func.vmap(mod.vector)(torch.zeros(2, 3))


def test_changing_what_cannot_be_changed(mod):
    with pytest.raises(TypeError, match="an int cannot be changed"):
        mod.both(3, 5)
