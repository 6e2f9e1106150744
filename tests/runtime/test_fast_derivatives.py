"""Derivatives are called fast: what they call is known once they are written out, and `m.value_and_grad`, compiled as a
program of its own, takes the model of another. Each outcome is that of the slow way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hybridc_runtime import interrupts, memory
from hybridc_runtime.calls import Caller
from hybridc_runtime.models import ModelBase

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
from nn import Linear
from optim import Adam

extern fn ask(x: f64) -> f64

fn square(x: f64) -> f64:
    return x * x

fn slope(x: f64) -> f64:
    return grad(square)(x)

fn told(x: f64) -> f64:
    print(x)
    return x * x

fn told_slope(x: f64) -> f64:
    return grad(told)(x)

fn told_change(x: f64) -> (f64, f64):
    return jvp(told)(x, 1.0)

fn asked_all(x: f64[N]) -> f64[N]:
    return x * stop_gradient(ask(1.0))

fn asked_slopes(x: f64[N]) -> f64[N, N]:
    return jacobian(asked_all)(x)

fn power(n: int, x: f64) -> f64:
    return 1.0 if n == 0 else power(n - 1, x) * x

fn power_slope(n: int, x: f64) -> f64:
    return grad(power, wrt="x")(n, x)

fn power_change(n: int, x: f64) -> (f64, f64):
    return jvp(power, wrt="x")(n, x, 1.0)

fn spread(x: f64) -> f64:
    return sum(parallel [x * f64(i) for i in range(9)])

fn spread_change(x: f64) -> (f64, f64):
    return jvp(spread)(x, 1.0)

model Net(d: int):
    let layer = Linear(d, d)
    state calls: int = 0

    fn loss(x: f32[*B, d], scale: f32 = 2.0) -> f32:
        return sum(self.layer(x) ** 2) * scale

    fn parts(x: f32[d]) -> (f32, (int, f32[d])):
        let y = self.layer(x)
        return (sum(y * y), (d, y))

    mut fn counted(x: f32[d], by: int) -> f32:
        self.calls += 10 // by
        return sum(self.layer(x) ** 2)

fn step(mut m: Net, mut opt: Adam, x: f32[m.d]) -> f32:
    let loss, g = value_and_grad(m.loss)(x)
    opt.update(mut m, g)
    return loss
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("fast") / "derived.hyb"
    file.write_text(SOURCE)
    return hybridc.load(file, externs={"ask": lambda x: x})


def awake() -> None:
    """The timer of interrupts runs: without it functions that may last are called the slow way."""
    end = time.monotonic() + 5
    while not memory.word(interrupts.AWAKE):
        assert time.monotonic() < end
        interrupts.start_timer()
        time.sleep(0.001)


def no_slow_way(patch: pytest.MonkeyPatch) -> None:
    for kind, name in ((ModelBase, "_enter"), (Caller, "__call__")):
        patch.setattr(kind, name, lambda *_: pytest.fail("on the slow way"))


def test_paces(mod: Any) -> None:
    paces = {name: entries[0].pace for name, entries in mod._parts[0].manifest.fns.items() if entries}
    assert paces["slope"] in ("brief", "plain")
    assert paces["power_slope"] == paces["power_change"] == "deep" and paces["spread_change"] == "plain"
    for name in ("told_slope", "told_change", "asked_slopes"):
        assert paces[name] == "", name


def test_forward_mode_of_a_recursive_function_on_another_thread(mod: Any) -> None:
    """It took the first thread's stack for its own."""
    found: list[Any] = []

    def run() -> None:
        found.extend(f(100, 1.0) for f in (mod.power_change, mod.power_slope) for _ in range(3))

    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == 2 * (3 * [(1.0, 100.0)] + 3 * [100.0])


def test_a_method_that_was_bound_before_it_was_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bound.hyb"
    file.write_text(SOURCE)
    m = hybridc.load(file, externs={"ask": lambda x: x}).Net(3, seed=0)
    x, bound = np.ones(3, np.float32), m.loss
    want = [bound(x) for _ in range(3)]
    awake()
    with monkeypatch.context() as patch:
        no_slow_way(patch)
        assert [bound(x), m.loss(x), type(m).loss(m, x)] == want
    assert repr(bound).startswith("<bound method loss of Net(")


def test_the_derivative_of_a_method(mod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    m, other = mod.Net(3, seed=1), mod.Net(2, seed=1)
    x, two = np.arange(3, dtype=np.float32), np.ones((2, 3), np.float32)

    def calls() -> list[Any]:
        awake()
        found = [m.value_and_grad("loss", x, 3.0), m.value_and_grad("loss", two), m.value_and_grad("loss", scale=1.0, x=x)]
        found += [m.value_and_grad("parts", x), other.value_and_grad("loss", x[:2])]
        return found

    first = calls()
    calls()
    with monkeypatch.context() as patch:
        no_slow_way(patch)
        again = calls()
    for (value, g), (value2, g2) in zip(first, again, strict=True):
        assert repr(value) == repr(value2) and g.tolist() == g2.tolist()
    assert first[0][0] == pytest.approx(3 * first[2][0]) and again[3][0][1][0] == 3


def test_wrong_calls_are_told_as_before(mod: Any) -> None:
    m, x = mod.Net(3), np.ones(3, np.float32)
    for _ in range(3):
        m.value_and_grad("loss", x)
    for args, kwargs in (((np.ones(4, np.float32),), {}), ((x, "a"), {}), ((), {}), ((x, 1, 2), {}), ((x,), {"z": 1})):
        with pytest.raises((TypeError, ValueError), match=r"value_and_grad\(Net.loss\)|argument (x|scale)"):
            m.value_and_grad("loss", *args, **kwargs)
    with pytest.raises(AttributeError, match="no method 'nothing'"):
        m.value_and_grad("nothing", x)


def test_state_is_written_and_a_fault_leaves_it(mod: Any) -> None:
    m, x = mod.Net(3), np.ones(3, np.float32)
    for k in range(5):
        awake()
        m.value_and_grad("counted", x, 2)
        assert m.state_dict()["calls"] == 5 * (k + 1)
        with pytest.raises(ZeroDivisionError):
            m.value_and_grad("counted", x, 0)
        assert m.state_dict()["calls"] == 5 * (k + 1)


def test_a_native_value_of_another_program(mod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser is of the first program, the step of one that was compiled for the model."""
    x = np.ones(3, np.float32)
    m, twin = mod.Net(3), mod.Net(3)
    opt, plain = mod.native(mod.Adam(lr=0.1), "Adam"), mod.Adam(lr=0.1)
    for _ in range(3):
        awake()
        assert mod.step(m, opt, x) == mod.step(twin, plain, x)
    with monkeypatch.context() as patch:
        no_slow_way(patch)
        awake()
        assert mod.step(m, opt, x) == mod.step(twin, plain, x)
    assert opt.to_python() == plain and plain.steps == 4
    assert np.array_equal(m.state_dict()["layer.weight"], twin.state_dict()["layer.weight"])
