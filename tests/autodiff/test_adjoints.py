"""The adjoint of every operator and built-in tensor function, against central differences in f64; in compiled code and
on the reference interpreter."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from differences import slope

import hybridc
from hybridc import driver, pipeline
from hybridc.autodiff.activity import CONSTANT
from hybridc.autodiff.rules import ADJOINTS, UNSUPPORTED
from hybridc.autodiff.scalar_rules import SCALAR_ADJOINTS
from hybridc.autodiff.tensor_rules import TENSOR_ADJOINTS
from hybridc.core.interp import Interpreter
from hybridc.core.ops import OPS

pytestmark = pytest.mark.usefixtures("unoptimised")

CASES: dict[str, tuple[str, tuple]] = {}
R = np.random.default_rng(0)
x3, X, Y = R.normal(size=3), R.normal(size=(3, 4)), R.normal(size=(4, 2))
P = np.abs(R.normal(size=5)) + 0.3


def case(name: str, text: str, *args: object) -> None:
    CASES[name] = (text, args)


for u in [
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "abs",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "relu",
    "gelu",
    "silu",
    "softplus",
    "erf",
]:
    case(u, f"fn f(x: f64[N]) -> f64:\n    return sum({u}(x) * x)", P)
for u in ["sum", "mean", "max", "min", "prod", "logsumexp"]:
    case(u, f"fn f(x: f64[A, B]) -> f64:\n    return sum({u}(x, axis=0) * {u}(x, axis=0)) + {u}(x)", X)
    case(u + "k", f"fn f(x: f64[A, B]) -> f64:\n    return sum({u}(x, axis=1, keepdim=true) * x)", X)
for u in ["softmax", "log_softmax", "cumsum"]:
    case(u, f"fn f(x: f64[A, B]) -> f64:\n    let y = {u}(x, axis=1)\n    return sum(y * y * x)", X)
case("norm", "fn f(x: f64[N]) -> f64:\n    return norm(x) ** 3", x3)
case("matmul", "fn f(x: f64[A, B], y: f64[B, C]) -> f64:\n    return sum((x @ y) ** 2)", X, Y)
case("matvec", "fn f(x: f64[A, B], y: f64[B]) -> f64:\n    return sum((x @ y) ** 2)", X, Y[:, 0].copy())
case("vecmat", "fn f(y: f64[A], x: f64[A, B]) -> f64:\n    return sum((y @ x) ** 3)", x3, X)
case("dot", "fn f(x: f64[N], y: f64[N]) -> f64:\n    return dot(x, y) ** 2", x3, R.normal(size=3))
case("outer", "fn f(x: f64[N], y: f64[M]) -> f64:\n    return sum(outer(x, y) ** 3)", x3, P)
case(
    "bmm",
    "fn f(x: f64[Q, A, B], y: f64[Q, B, C]) -> f64:\n    return sum((x @ y) ** 2)",
    R.normal(size=(2, 3, 4)),
    R.normal(size=(2, 4, 2)),
)
case("bmm2", "fn f(x: f64[Q, A, B], y: f64[B, C]) -> f64:\n    return sum((x @ y) ** 2)", R.normal(size=(2, 3, 4)), Y)
case("bmm3", "fn f(x: f64[A, B], y: f64[Q, B, C]) -> f64:\n    return sum((x @ y) ** 2)", X, R.normal(size=(2, 4, 2)))
case(
    "T",
    "fn f(x: f64[A, B], y: f64[C, B]) -> f64:\n    return sum((x @ y.T) ** 2) + sum((x.T @ x) ** 2)",
    X,
    R.normal(size=(2, 4)),
)
case("einsum", 'fn f(x: f64[A, B], y: f64[B, C]) -> f64:\n    return sum(einsum("ab,bc->ca", x, y) ** 2)', X, Y)
case(
    "bcast",
    "fn f(x: f64[A, B], y: f64[B], z: f64) -> f64:\n    return sum((x * y + z) ** 2 / (y * y + 1.0))",
    X,
    R.normal(size=4),
    0.7,
)
case(
    "bcast1",
    "fn f(x: f64[A, 1], y: f64[1, B]) -> f64:\n    return sum((x * y + x) ** 3)",
    R.normal(size=(3, 1)),
    R.normal(size=(1, 4)),
)
case(
    "index",
    "fn f(x: f64[A, B]) -> f64:\n    return x[1, 2] * x[0, -1] + sum(x[1:, ::2] ** 2) + sum(x[-1] ** 3) + sum(x[::-1, 1] * x[:, 2])",
    X,
)
case(
    "update",
    "fn f(x: f64[A, B]) -> f64:\n    var y = x * 2\n    y[0, 1] = y[1, 1] * 3\n    y[:, 0] = y[:, 1] ** 2\n    y[1] += y[2]\n    return sum(y ** 2)",
    X,
)
case(
    "gather",
    "fn f(x: f64[N]) -> f64:\n    let i = tensor([0, 2, 2, 1])\n    var y = x[i] ** 2\n    y[tensor([1, 1])] += x[0]\n    y[tensor([0, 3, 0])] = x\n    return sum(y * y * f64(tensor([1.0, 2.0, 3.0, 4.0])))",
    x3,
)
case("mask", "fn f(x: f64[N]) -> f64:\n    return sum(x[x > 0.0] ** 2)", x3)
case(
    "concat",
    "fn f(x: f64[N], y: f64[M]) -> f64:\n    let c = concat(x, y, x)\n    return sum(c ** 3) + sum(stack([x, x * 2]) ** 2)",
    x3,
    P,
)
case("split", "fn f(x: f64[6]) -> f64:\n    let a, b, c = split(x, 3)\n    return sum(a * b * c * c)", R.normal(size=6))
case("sort", "fn f(x: f64[N]) -> f64:\n    return sum(sort(x) ** 2 * f64(tensor([1.0, 2.0, 3.0])))", x3)
case("topk", "fn f(x: f64[N]) -> f64:\n    let v, i = topk(x, 2)\n    return v[0] * v[1] ** 2", x3)
case(
    "where",
    "fn f(x: f64[N], y: f64[N]) -> f64:\n    return sum(where(x > y, x * y, y ** 2) + minimum(x, y) * maximum(x, y) + clamp(x, -0.5, 0.5) ** 2)",
    x3,
    R.normal(size=3),
)
case(
    "shape",
    "fn f(x: f64[A, B]) -> f64:\n    let y = reshape(x, [2, 6])\n    return sum(transpose(y, 0, 1) ** 2 * permute(reshape(x, [3, 2, 2]), 1, 0, 2)[0, 0, 0]) + sum(expand(x[0], 3, 4) * x) + sum(flip(x, axis=1) * x) + sum(pad(x, [1, 1]) ** 2)",
    X,
)
case(
    "scatter",
    "fn f(x: f64[N], y: f64[4]) -> f64:\n    let i = tensor([0, 2, 2, 1])\n    return sum(scatter_add(x * x, 0, i, y * y) ** 2)",
    x3,
    R.normal(size=4),
)
case(
    "layer_norm",
    "fn f(x: f64[A, B], w: f64[B], b: f64[B]) -> f64:\n    return sum(layer_norm(x, w, b) ** 3) + sum(rms_norm(x, w) ** 2)",
    X,
    R.normal(size=4),
    R.normal(size=4),
)
case("ce", "fn f(x: f64[A, B]) -> f64:\n    return cross_entropy(x, tensor([0, 3, 1])) + mse(x, x * x)", X)
case(
    "conv",
    "fn f(x: f64[1, 2, 5, 5], w: f64[3, 2, 3, 3]) -> f64:\n    return sum(max_pool2d(conv2d(x, w, stride=1, padding=1), 2) ** 2) + sum(avg_pool2d(x, 2) ** 2)",
    R.normal(size=(1, 2, 5, 5)),
    R.normal(size=(3, 2, 3, 3)),
)
case(
    "attention",
    "fn f(q: f64[T, D], k: f64[T, D], v: f64[T, D]) -> f64:\n    return sum(attention(q, k, v, causal=true) ** 2)",
    X,
    R.normal(size=(3, 4)),
    R.normal(size=(3, 4)),
)
case("pow", "fn f(x: f64[N], y: f64[N]) -> f64:\n    return sum(abs(x) ** y) + sum(pow(abs(x), 2.5))", x3, P[:3].copy())
case(
    "scal",
    "fn f(x: f64, y: f64) -> f64:\n    return x ** y + x % y + atan2(x, y) + min(x, y) * max(x, y) + x / y + abs(-x)",
    1.3,
    2.7,
)
case("emb", "fn f(w: f64[V, D]) -> f64:\n    return sum(embedding(tensor([1, 1, 0]), w) ** 3)", X)
case("onehot", "fn f(x: f64[N]) -> f64:\n    return sum(f64(one_hot(tensor([0, 2]), 3)) @ x ** 2)", x3)
case(
    "forrow",
    "fn f(x: f64[A, B]) -> f64:\n    var h: f64[B] = zeros()\n    for r in x:\n        h = tanh(h + r * 0.5)\n    return sum(h)",
    X,
)
case(
    "parallel",
    "fn f(x: f64[N]) -> f64:\n    let ys = parallel [sin(x[i] * x[0]) * i for i in range(N)]\n    return sum(ys) ** 2",
    P,
)
case("f32", "fn f(x: f64[N]) -> f64:\n    return f64(sum(f32(x) ** 2))", x3)
case("stop", "fn f(x: f64) -> f64:\n    return x * x + 0.0 * stop_gradient(x)", 1.5)


def program(text: str) -> tuple[str, int]:
    """With `d`, the value and derivatives by all parameters."""
    signature = text[5 : text.index(") ->")]
    params = re.findall(r"(\w+): (f64(?:\[[^\]]*\])?)", signature)
    names = ", ".join(n for n, _ in params)
    wrt = ", ".join(f'"{n}"' for n, _ in params) + ("," if len(params) == 1 else "")
    types = ", ".join(t for _, t in params)
    result = f"({types})" if len(params) > 1 else types
    head = f"fn d({signature}) -> (f64, {result}):\n"
    return f"{text}\n\n{head}    return value_and_grad(f, wrt=({wrt}))({names})\n", len(params)


@pytest.mark.parametrize("name", CASES)
def test_against_central_differences(name: str, tmp_path: Path) -> None:
    text, args = CASES[name]
    source, count = program(text)
    file = tmp_path / "m.hyb"
    file.write_text(source)
    module = hybridc.load(str(file))
    value, found = module.d(*args)
    found = found if count > 1 else (found,)
    h, tolerance = (1e-2, 1e-2) if name == "f32" else (1e-6, 1e-5)
    assert value == module.f(*args)
    for i in range(len(args)):
        np.testing.assert_allclose(found[i], slope(module.f, args, i, h), rtol=tolerance, atol=tolerance)
    checked = driver.check(str(file))
    core, interface = driver.lower(checked)
    entry = interface.fns["d"][0].symbol
    machine = Interpreter(pipeline.differentiated(core, [entry], checked.sources))
    ((value2, found2),) = machine.call(entry, args)  # type: ignore[misc]
    assert value2 == pytest.approx(value, rel=1e-6)
    for a, b in zip(found2 if count > 1 else (found2,), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if name == "f32" else 1e-9, atol=1e-9)


def test_every_operator_has_an_adjoint_or_says_why_not() -> None:
    tables = [set(ADJOINTS), set(CONSTANT), set(UNSUPPORTED), set(TENSOR_ADJOINTS), set(SCALAR_ADJOINTS)]
    for i, a in enumerate(tables):
        for b in tables[i + 1 :]:
            assert not a & b
    assert set().union(*tables) == set(OPS)
