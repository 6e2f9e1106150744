"""Derivatives through what programs do: recursion, containers, closures, state, faults (programs.hyb); by central
differences, by hand, or by torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differences import slope

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).with_name("programs.hyb")


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(str(SOURCE), externs={"outside": lambda x: x * 3})


@pytest.mark.parametrize("name", ["heap", "sort", "deque", "foldy"])
def test_lists(mod, name: str) -> None:
    f = getattr(mod, {"foldy": "foldy"}.get(name, f"f{name}"))
    xs = [3.0, 1.0, 2.0, 0.5]
    assert getattr(mod, f"d_{name}")(xs) == pytest.approx(slope(f, (xs,), 0), rel=1e-6, abs=1e-6)


def test_the_derivative_of_an_enum_has_its_shape(mod) -> None:
    E = mod.Ex
    e = E.Add(E.Mul(E.Var(0), E.Num(3.0)), E.Call("sum", [E.Call("sin", [E.Var(1)]), E.Num(2.0), E.Var(0)]))
    value, (de, denv) = mod.d_ev(e, [0.5, 0.7])
    assert value == pytest.approx(0.5 * 3 + np.sin(0.7) + 2 + 0.5)
    assert de == E.Add(E.Mul(E.Var(0), E.Num(0.5)), E.Call("sum", [E.Call("sin", [E.Var(1)]), E.Num(1.0), E.Var(0)]))
    assert denv == pytest.approx([4.0, np.cos(0.7)])


def test_maps_keep_their_keys(mod) -> None:
    found = mod.d_map({"a": 1.0, "b": 2.0}, "b")
    want = slope(lambda v: mod.fmap({"a": v[0], "b": v[1]}, "b"), ([1.0, 2.0],), 0)
    assert list(found) == ["a", "b"] and list(found.values()) == pytest.approx(want, rel=1e-6)


def test_structs(mod) -> None:
    found = mod.d_struct(mod.P(1.5, "nm", np.array([0.5, 2.0]), [1.0, 2.0]))
    assert (found.x, found.name, found.hist) == (4.5, "nm", [1.5, 1.5])
    np.testing.assert_allclose(found.v, [13.5, 0])


def test_options_and_maps_of_lists(mod) -> None:
    assert mod.d_opt(2.0, {1: [1.0, 2.0], 5: [], 3: [1.0]}) == (6.0, {1: [2.0, 2.0], 5: [], 3: [6.0]})
    assert mod.d_opt(None, {1: [1.0]}) == (None, {1: [1.0]})


def test_tuples_graphs_texts_lists_of_tensors(mod) -> None:
    assert mod.d_tuple((2.0, (3, 4.0))) == (12.0, (3, 6.0))
    assert mod.d_graph([1.0, 2.0, 3.0]) == pytest.approx([2, 12, 12])
    assert mod.d_strs(1.5, ["a", "b", "a"]) == 15
    found = mod.d_lt([np.array([1.0, 2, 3]), np.array([4.0, 5, 6])])
    np.testing.assert_allclose(found, [[2, 3, 4], [8, 10, 12]])


def test_closures_carry_derivatives(mod) -> None:
    want = [slope(mod.fclos, (0.7, 1.3), i) for i in (0, 1)]
    assert mod.d_clos(0.7, 1.3) == pytest.approx(want, rel=1e-6)


def test_higher_orders(mod) -> None:
    assert (mod.second(2.0), mod.third(2.0)) == (48, 48)
    assert mod.mixed(2.0, 3.0) == (24, 8)
    a = np.random.default_rng(0).normal(size=(3, 3))
    x, v = np.array([1.0, 2, 3]), np.array([0.3, 0.1, -1])

    def gradient(y: np.ndarray) -> np.ndarray:
        return (a + a.T) @ y * y[0] + np.array([y @ a @ y, 0, 0])

    h = 1e-6
    np.testing.assert_allclose(mod.hess_row(x, a, v), (gradient(x + h * v) - gradient(x - h * v)) / (2 * h), rtol=1e-6)


def test_a_value_beside_the_loss(mod) -> None:
    assert mod.d_aux(3.0) == ((9.0, "at 3.0"), 6.0)


def test_derivatives_of_ones_own(mod) -> None:
    assert mod.d_custom(2.0) == 400
    assert mod.d_ext(2.0) == 7 * 2 + 6


def test_derivatives_of_ones_own_are_used_where_the_function_itself_is_differentiated(mod) -> None:
    assert mod.d_custom_itself(3.0) == (300, 100, (9, 300))
    assert mod.d_two([1.0, 2.0], 3.0) == ((9, "t"), (7, [3, 4]))
    np.testing.assert_array_equal(mod.j_custom(np.array([1.0, 2.0])), [[3, 0], [0, 3]])
    value, g = mod.Own(2).value_and_grad("loss", np.array([1.0, 2.0]))
    assert (value, list(g)) == (6, [100, 100])


def test_state_is_written(mod) -> None:
    loss, g, calls = mod.stateful(np.array([1, 2], np.float32))
    assert (loss, list(g), calls) == (10, [1, 4], 2)


def test_a_network(mod) -> None:
    torch = pytest.importorskip("torch")
    net = mod.Net(d=4)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    loss, g = net.value_and_grad("loss", x, np.zeros((5, 1), np.float32))
    weights = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in net.state_dict().items()}
    h = torch.tensor(x)
    for i in range(3):
        h = torch.tanh(h @ weights[f"layers.{i}.weight"].T + weights[f"layers.{i}.bias"])
    want = ((h @ weights["head.weight"].T + weights["head.bias"]) ** 2).mean()
    want.backward()
    assert float(loss) == pytest.approx(want.item(), rel=1e-6)
    np.testing.assert_allclose(g, np.concatenate([w.grad.numpy().ravel() for w in weights.values()]), atol=1e-6)


def test_parallel(mod) -> None:
    xs = [0.1, 0.2, 0.3]
    found = mod.d_par(xs, 1.2)
    assert found[0] == pytest.approx(slope(mod.par_total, (xs, 1.2), 0), rel=1e-6)
    assert found[1] == pytest.approx(slope(mod.par_total, (xs, 1.2), 1), rel=1e-6)


def test_exits_from_loops(mod) -> None:
    assert mod.d_labeled(1.5) == (12, pytest.approx(slope(mod.labeled, (1.5,), 0)))


def test_random_numbers_are_constants(mod) -> None:
    value, d = mod.d_rng(2.0, hybridc.rng(3))
    assert value == d  # 4 u and 2 x u at x = 2


def test_faults_come_as_from_the_function(mod) -> None:
    with pytest.raises(AssertionError, match="too steep") as caught:
        mod.d_trap(0.01)
    line = next(i for i, text in enumerate(SOURCE.read_text().splitlines(), 1) if "too steep" in text)
    assert line in caught.value.frames[-1]
    assert mod.d_trap(0.5) == -16


def test_deep_recursion(mod) -> None:
    assert mod.d_deep(3, 1.0) == 0.125
    assert mod.d_deep(2500, 1.0) == 0.0
    with pytest.raises(RecursionError):
        mod.d_deep(20000, 1.0)
