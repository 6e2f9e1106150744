"""What is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc.base.diagnostic import CompileError
from hybridc.driver import check

CASES = [
    ("fn f(a: f32[3, 4], b: f32[5, 6]):\n    a @ b", ["[3, 4]", "[5, 6]", "4 is not 5"]),
    ("fn f(a: f32[3], b: f32[4]):\n    a + b", ["[3]", "[4]"]),
    ("fn f(a: f32[N, 3], b: f32[N, 4]):\n    minimum(a, b)", ["[N, 3]", "[N, 4]"]),
    ("fn f(a: f32[*B, 3], b: f32[N, 3]):\n    a * b", ["[*B, 3]", "[N, 3]"]),
    ("fn f(a: f32[3], b: f64[3]):\n    a + b", ["f32", "f64", "cast"]),
    ("fn f(a: int[3], b: i32[3]):\n    a + b", ["int", "i32", "cast"]),
    ("fn f(a: int[3], b: int[3]):\n    a / b", ["//"]),
    ("fn f(a: f32[3]):\n    sum(a, dim=0)", ["axis="]),
    ("fn f(a: f32[3]):\n    softmax(a, dim=0)", ["axis="]),
    ("fn f(a: f32[3]):\n    sum(a, keepdims=true)", ["keepdims", "keepdim="]),
    ("fn f(a: f32[3]):\n    sum(a, axis=1)", ["axis 1", "[3]"]),
    ("fn f(a: f32[*B, 3]):\n    sum(a, axis=0)", ["*", "axis=-1"]),
    ("fn f(a: f32[3], n: int):\n    sum(a, axis=n)", ["constant"]),
    ("fn f(a: int[3]):\n    mean(a)", ["floats", "f32(x)"]),
    ("fn f(a: f32[3]):\n    any(a)", ["bools", "!= 0"]),
    ("fn f(a: f32[2, 3]):\n    reshape(a, 4, 2)", ["[2, 3]", "[4, 2]", "6", "8"]),
    ("fn f(a: f32[2, 3]):\n    reshape(a, -1, 4)", ["6", "4"]),
    ("fn f(a: f32[2, 3], b: f32[2, 4]):\n    concat(a, b)", ["[2, 3]", "[2, 4]"]),
    ("fn f(a: f32[3], b: f32[4]):\n    stack([a, b])", ["[3]", "[4]"]),
    ("fn f(a: f32[7]):\n    split(a, 2)", ["[7]", "2"]),
    ("fn f(a: f32[3]):\n    let x = zeros()", ["context"]),
    ("fn f(a: f32[3]):\n    let x: f32[?] = zeros()", ["not known"]),
    ('fn f(a: f32[3, 4], b: f32[5, 2]):\n    einsum("ij,jk->ik", a, b)', ["`j`", "4", "5"]),
    ('fn f(a: f32[3, 4]):\n    einsum("ijk->i", a)', ["ijk", "[3, 4]"]),
    ('fn f(a: f32[3, 4]):\n    einsum("ij->k", a)', ["`k`"]),
    ('fn f(a: f32[3]):\n    einsum("...ij->...", a)', ["`...ij` has 2 letters", "[3]"]),
    ('fn f(a: f32[*B, N]):\n    einsum("ij->j", a)', ["`ij` has 2 letters", "[*B, N]"]),
    ('fn f(a: f32[*B, N], b: f32[*C, N]):\n    einsum("...i,...i->...", a, b)', ["[*B]", "[*C]"]),
    ("fn f(a: f32[3]):\n    topk(a, 5)", ["5", "3"]),
    ("fn f(a: f32[3]):\n    a[0, 1]", ["[3]", "too many"]),
    ("fn f(a: f32[3]):\n    a[1.5]", ["int"]),
    ("fn f(a: f32[3], m: bool[4]):\n    a[m]", ["[4]", "[3]"]),
    ("fn f(a: f32[3]):\n    var t = a\n    t[0:2] = tensor([1.0, 2.0, 3.0])", ["[3]", "[2]"]),
    ("fn f(a: f32[3], b: f32[4]):\n    var t = a\n    t += b", ["[3]", "[4]"]),
    ("fn f(a: int[3]):\n    var t = a\n    t += 0.5", ["int", "f32"]),
    ("fn f():\n    tensor([[1, 2], [3]])", ["equally long"]),
    ("fn f(x: f32[N, 4], w: f32[3]):\n    layer_norm(x, w)", ["[N, 4]", "[3]"]),
    ("fn f(x: f32[2, 3, 5, 5], w: f32[4, 2, 3, 3]):\n    conv2d(x, w)", ["3 channels", "2"]),
    ("fn f(x: f32[1, 1, 2, 2], w: f32[1, 1, 3, 3]):\n    conv2d(x, w)", ["window"]),
    ('fn f(x: f32[2, 5], w: f32[4, 2, 3]):\n    conv1d(x, w, stride=2, padding="same")', ["stride of 1"]),
    ('fn f(x: f32[2, 5], w: f32[4, 2, 3]):\n    conv1d(x, w, padding="full")', ["\"same\" or \"valid\""]),
    ("fn f(x: f32[3, 4], y: int[5]):\n    cross_entropy(x, y)", ["[3, 4]", "[5]"]),
    ("fn f(q: f32[3, 4], k: f32[3, 5]):\n    attention(q, k, k)", ["[3, 4]", "[3, 5]"]),
    ("fn f(x: f32[3]):\n    exp(x, 1)", ["1 argument"]),
    ("fn f(x: str):\n    exp(x)", ["str"]),
    ("fn f(x: f32[3]) -> f32[4]:\n    return exp(x)", ["[3]", "[4]"]),
    ("fn f(x: f32[3]):\n    if x > 0:\n        pass", ["bool"]),
    ("fn f(x: f32[3]):\n    not x", ["not"]),
    ("fn f(x: f32[3], i: int[2], v: f32[4]):\n    scatter_add(x, 0, i, v)", ["[2]", "[4]"]),
    # a `*` name where the number of axes must be known
    ("fn f(x: f32[N], w: f32[*B]):\n    layer_norm(x, w)", ["[N]", "[*B]"]),
    ("fn f(x: f32[*B], y: f32[3]):\n    outer(x, y)", ["two vectors", "f32[*B]"]),
    ("fn f(x: f32[*B]):\n    dot(x, x)", ["two vectors", "f32[*B]"]),
    ("fn f(x: f32[*B], y: int):\n    cross_entropy(x, y)", ["[*B]", "[N, C]"]),
    ("fn f(x: f32[*B, C], y: int[*B]):\n    cross_entropy(x, y)", ["[*B, C]", "[N, C]"]),
    ("fn f(i: int, w: f32[N, *B]):\n    embedding(i, w)", ["[entries, size]", "[N, *B]"]),
    ("fn f(x: f32[*B, N], i: int[*C, N]):\n    gather(x, -1, i)", ["[*B, N]", "[*C, N]"]),
    ("fn f(x: f32[*B, N], i: int[*C, N]):\n    scatter_add(x, -1, i, x)", ["[*B, N]", "[*C, N]"]),
    ("fn f(x: f32[*B, 3], y: f32[3, *B]):\n    concat(x, y, axis=-1)", ["[*B, 3]", "[3, *B]"]),
    ("fn f(x: f32[*B]):\n    len(x)", ["f32[*B]", "no length", "f32[*B, N]"]),
    ("fn f(x: f32[*B, 3]):\n    for y in x:\n        print(y)", ["f32[*B, 3]", "reshape"]),
    ("fn f(x: f32[*B]):\n    jacobian(fn(y: f32[*B]): y * y)(x)", ["f32[*B]", "two `*` names"]),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_refused(number: int, tmp_path: Path) -> None:
    source, words = CASES[number]
    path = tmp_path / "t.hyb"
    path.write_text(source + "\n")
    with pytest.raises(CompileError) as caught:
        check(str(path))
    text = str(caught.value)
    assert len(caught.value.diagnostics) == 1, text
    for word in words:
        assert word in text, (word, text)
