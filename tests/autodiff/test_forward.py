"""Forward mode, Hessian products, Jacobians and checkpoints: against reverse mode, central differences, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from differences import slope
from test_adjoints import CASES

import hybridc
from hybridc import driver, pipeline
from hybridc.autodiff.activity import CONSTANT
from hybridc.autodiff.push_rules import PUSH
from hybridc.autodiff.rules import UNSUPPORTED
from hybridc.core.interp import Interpreter
from hybridc.core.ops import OPS

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).with_name("forward.hyb")


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(str(SOURCE))


def program(text: str) -> str:
    """With the derivative, that in a direction, and that of the derivative in it."""
    signature = text[5 : text.index(") ->")]
    params = re.findall(r"(\w+): (f64(?:\[[^\]]*\])?)", signature)
    names = ", ".join(n for n, _ in params)
    wrt = ", ".join(f'"{n}"' for n, _ in params) + ("," if len(params) == 1 else "")
    types = ", ".join(t for _, t in params)
    result = f"({types})" if len(params) > 1 else types
    more = ", ".join(f"d_{n}: {t}" for n, t in params)
    given = f"{names}, {', '.join(f'd_{n}' for n, _ in params)}"
    return "\n".join([
        text, f"fn g({signature}) -> {result}:", f"    return grad(f, wrt=({wrt}))({names})",
        f"fn t({signature}, {more}) -> (f64, f64):", f"    return jvp(f, wrt=({wrt}))({given})",
        f"fn h({signature}, {more}) -> {result}:", f"    return hvp(f, wrt=({wrt}))({given})", "",
    ])


@pytest.mark.parametrize("name", CASES)
def test_directions(name: str, tmp_path: Path) -> None:
    text, args = CASES[name]
    file = tmp_path / "m.hyb"
    file.write_text(program(text))
    module = hybridc.load(str(file))
    r = np.random.default_rng(1)
    directions = [r.normal(size=x.shape) if isinstance(x, np.ndarray) else r.normal() for x in args]

    def whole(found: object) -> tuple:
        return found if len(args) > 1 else (found,)  # type: ignore[return-value]

    value, along = module.t(*args, *directions)
    assert value == pytest.approx(module.f(*args), rel=1e-6 if name == "f32" else 1e-13)
    want = sum(np.sum(g * d) for g, d in zip(whole(module.g(*args)), directions, strict=True))
    assert along == pytest.approx(want, rel=1e-5 if name == "f32" else 1e-9, abs=1e-9)
    if name != "f32":
        e = 1e-6
        high = whole(module.g(*(x + e * d for x, d in zip(args, directions, strict=True))))
        low = whole(module.g(*(x - e * d for x, d in zip(args, directions, strict=True))))
        for found, a, b in zip(whole(module.h(*args, *directions)), high, low, strict=True):
            np.testing.assert_allclose(found, (a - b) / (2 * e), rtol=2e-5, atol=2e-5)
    checked = driver.check(str(file))
    core, interface = driver.lower(checked)
    entries = [interface.fns[n][0].symbol for n in "th"]
    machine = Interpreter(pipeline.differentiated(core, entries, checked.sources))
    ((value2, along2),) = machine.call(entries[0], [*args, *directions])
    assert (value2, along2) == pytest.approx((value, along), rel=1e-6, abs=1e-9)
    (curved,) = machine.call(entries[1], [*args, *directions])
    for a, b in zip(whole(curved), whole(module.h(*args, *directions)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 if name == "f32" else 1e-7, atol=1e-7)


def test_every_operator_has_a_tangent_or_says_why_not() -> None:
    tables = [set(PUSH), set(CONSTANT), set(UNSUPPORTED)]
    for i, a in enumerate(tables):
        for b in tables[i + 1 :]:
            assert not a & b
    assert set().union(*tables) == set(OPS)


def test_enums(mod) -> None:
    E = mod.Ex
    e = E.Add(E.Mul(E.Var(0), E.Num(3.0)), E.Call("sum", [E.Call("sin", [E.Var(1)]), E.Num(2.0), E.Var(0)]))
    d = E.Add(E.Mul(E.Var(0), E.Num(0.7)), E.Call("sum", [E.Call("sin", [E.Var(1)]), E.Num(-1.0), E.Var(0)]))
    value, along = mod.along_tree(e, [0.5, 0.7], d, [0.1, -0.3])
    assert value == pytest.approx(0.5 * 3 + np.sin(0.7) + 2 + 0.5)
    assert along == pytest.approx(0.5 * 0.7 + 0.1 * 3 - 0.3 * np.cos(0.7) - 1 + 0.1)
    with pytest.raises(ValueError, match="has another shape than the value"):
        mod.along_tree(e, [0.5, 0.7], E.Num(1.0), [0.1, -0.3])
    with pytest.raises(ValueError, match="has another shape than the value"):
        mod.along_tree(e, [0.5, 0.7], d, [0.1])


def test_results_of_any_type(mod) -> None:
    p = mod.P(1.5, "nm", np.array([0.5, 2.0]), [1.0, 2.0])
    q, d = mod.along_records(p, mod.P(1.0, "", np.array([0.1, 5.0]), [3.0, 4.0]))
    assert (q.x, q.name, q.hist) == (0.75, "nm", [1.0, 2.0, 0.75])
    assert (d.x, d.name, d.hist) == (pytest.approx(0.65), "nm", pytest.approx([3.0, 4.0, 0.65]))
    np.testing.assert_allclose(d.v, [0.1, 1.3])
    value, d = mod.along_map({"a": 2.0, "b": 3.0}, "b", {"a": 0.5, "b": 0.1})
    assert value == {"a": 2.0, "b": 9.0, "z": 9.0}
    assert list(d) == ["a", "b", "z"] and list(d.values()) == pytest.approx([0.5, 0.6, 0.3])
    assert mod.along_aux(3.0, 0.5) == ((9.0, "at 3.0"), (3.0, "at 3.0"))
    assert mod.along_option(3.0, 0.5) == (9.0, 3.0)
    assert mod.along_option(None, None) == (None, None)
    with pytest.raises(ValueError, match="has another shape than the value"):
        mod.along_option(1.0, None)


def test_lists_loops_and_closures(mod) -> None:
    xs, d = [3.0, 1.0, 2.0, 0.5], [0.3, -0.2, 0.1, 0.7]
    assert mod.along_queues(xs, d)[1] == pytest.approx(np.dot(slope(mod.queues, (xs,), 0), d), rel=1e-6)
    value, found = mod.along_parallel(xs, 0.7, d, 0.2)
    assert value == pytest.approx(np.sin(np.array(xs) * 0.7) * 0.7)
    x, dx = np.array(xs), np.array(d)
    assert found == pytest.approx(np.sin(x * 0.7) * 0.2 + 0.7 * np.cos(x * 0.7) * (dx * 0.7 + x * 0.2))
    assert mod.along_while(0.8, 2.0)[1] == pytest.approx(2 * slope(mod.until, (0.8,), 0), rel=1e-6)
    want = [slope(mod.closures, (0.7, 1.3), i) for i in (0, 1)]
    assert mod.along_closures(0.7, 1.3, 0.5, -1.0)[1] == pytest.approx(0.5 * want[0] - want[1], rel=1e-6)


def test_a_derivative_of_its_own_is_transposed(mod) -> None:
    assert mod.along_custom(2.0, 0.5) == (8.0, pytest.approx(0.5 * (200 * 2 + 4)))


def test_jacobians(mod) -> None:
    r = np.random.default_rng(2)
    x, w = r.normal(size=3), r.normal(size=(2, 3))
    y = np.tanh(w @ x)
    want = ((1 - y**2)[:, None] * w) * x[0] + np.outer(y, [1, 0, 0])
    np.testing.assert_allclose(mod.rows(x, w), want)
    by_x, by_w = mod.rows_of_two(x, w)
    np.testing.assert_allclose(by_x, want)
    by_hand = np.zeros((2, 2, 3))
    for i in range(2):
        by_hand[i, i] = (1 - y[i] ** 2) * x * x[0]
    np.testing.assert_allclose(by_w, by_hand)
    assert mod.steep(2.0) == 12
    np.testing.assert_allclose(mod.from_one(0.3), [1, 0.6, np.cos(0.3)])
    hessian = mod.hessian(x, w)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9)
    v, u = r.normal(size=3), r.normal(size=(2, 3))
    np.testing.assert_allclose(mod.curved(x, w, v), hessian @ v)
    np.testing.assert_allclose(mod.curved_by_two(x, w, v, u * 0)[0], hessian @ v)
    with pytest.raises(ValueError):
        mod.curved(x, w, np.ones(4))


def test_orders(mod) -> None:
    assert mod.forward_twice(2.0) == 48
    assert mod.reverse_over_forward(2.0) == 48
    assert mod.fifth(1.5) == pytest.approx(720 * 1.5)


def test_models(mod) -> None:
    m = mod.net(seed=1)
    r = np.random.default_rng(3)
    x = r.normal(size=(5, 4)).astype(np.float32)
    value, g = m.value_and_grad("plain", x)
    v = r.normal(size=g.shape).astype(np.float32)
    assert mod.along_model(m, x, v) == pytest.approx((value, float(g @ v)), rel=1e-4)
    again, g2 = m.value_and_grad("loss", x)
    assert again == value
    np.testing.assert_array_equal(g, g2)
    with pytest.raises(ValueError, match="has another shape than the value"):
        mod.along_model(m, x, v[:-1])
    found = mod.curved_model(m, x, v)
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(4, 4).double() for _ in range(3)] + [torch.nn.Linear(4, 1).double()]
    parameters = [p for layer in layers for p in layer.parameters()]
    with torch.no_grad():
        for p, own in zip(parameters, m.state_dict().values(), strict=True):
            p.copy_(torch.from_numpy(own))

    def loss(*ps):
        h = torch.from_numpy(x).double()
        for k in range(3):
            for _ in range(4):
                h = torch.tanh(torch.nn.functional.linear(h, ps[2 * k], ps[2 * k + 1]))
        return (torch.nn.functional.linear(h, ps[6], ps[7]) ** 2).sum()

    parts, at = [], 0
    for p in parameters:
        parts.append(torch.from_numpy(v[at : at + p.numel()]).double().reshape(p.shape))
        at += p.numel()
    _, products = torch.autograd.functional.hvp(loss, tuple(p.detach() for p in parameters), tuple(parts))
    np.testing.assert_allclose(found, torch.cat([p.reshape(-1) for p in products]).numpy(), rtol=2e-3, atol=2e-3)


def test_checkpoints_change_nothing(mod) -> None:
    assert mod.again([3.0, 1.0, 2.0], 0.7) == mod.once([3.0, 1.0, 2.0], 0.7)
    E = mod.Ex
    e = E.Mul(E.Var(0), E.Var(0))
    assert mod.d_depth(e, 6, 0.8) == pytest.approx(slope(lambda x: mod.depth(e, 6, x), (0.8,), 0), rel=1e-6)


REFUSED = {
    "jvp": "fn f(x: f64) -> int:\n    return 3\nfn g(x: f64) -> int:\n    return jvp(f)(x, x)[0]\n",
    "hvp": "fn f(x: f64[N]) -> f64[N]:\n    return x\nfn g(x: f64[N]) -> f64[N]:\n    return hvp(f)(x, x)\n",
    "jacobian": "fn f(x: f64) -> list[f64]:\n    return [x]\nfn g(x: f64) -> f64:\n    return jacobian(f)(x)\n",
    "jacobian` is by": "fn f(x: list[f64]) -> f64:\n    return x[0]\nfn g(x: list[f64]) -> list[f64]:\n"
                       "    return jacobian(f)(x)\n",
    "checkpoint": "fn f(x: f64) -> f64:\n    return checkpoint(x)(x)\n",
    "no differentiable path": "fn f(x: f64) -> f64:\n    return f64(int(x))\nfn g(x: f64) -> f64:\n"
                              "    return jvp(f)(x, x)[1]\n",
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what: str, tmp_path: Path) -> None:
    file = tmp_path / "m.hyb"
    file.write_text(REFUSED[what])
    with pytest.raises(hybridc.CompileError, match=what):
        hybridc.load(str(file))
