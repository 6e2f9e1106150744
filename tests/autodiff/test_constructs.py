"""Every construct of the language within a loss (constructs.hyb, arrays.hyb, nested.hyb), lists that are handed on and
changed (handed_on.hyb), and losses as few would write them (unusual_functions.hyb, unusual_data.hyb): the derivative in
compiled code and on the interpreter, forward mode and second derivatives, all beside central differences. And by models
and their parameters (models.hyb)."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from differences import slope

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.interp import Interpreter
from hybridc.core.values import Buffer
from hybridc.link import surface

HERE = Path(__file__).parent
SOURCES = {name: (HERE / f"{name}.hyb").read_text() for name in (
    "constructs", "arrays", "nested", "handed_on", "unusual_functions", "unusual_data", "recursion")}
OF = {name: file for file, text in SOURCES.items()
      for name in re.findall(r"^fn (f_\w+)\(xs: list\[f64\]\) -> f64", text, re.M)}
BUILT = ("handed_on", "unusual_functions", "unusual_data")
NAMES = list(OF)
POINTS = ([0.7, 1.3, 0.9, 0.55, 1.1], [1.41, 0.62, 0.35, 1.27, 0.78])
DIRECTION = [0.3, -0.5, 0.2, 0.9, -0.4]
KINDS = {
    "d": "fn d_{0}(xs: list[f64]) -> list[f64]:\n    return grad({0})(xs)\n",
    "j": "fn j_{0}(xs: list[f64], v: list[f64]) -> (f64, f64):\n    return jvp({0})(xs, v)\n",
    "h": "fn h_{0}(xs: list[f64], v: list[f64]) -> list[f64]:\n    return hvp({0})(xs, v)\n",
}


def written(folder: Path, source: str, kind: str) -> Path:
    """The program, with a derivative of each function."""
    names = [name for name, file in OF.items() if file == source]
    exports = [f"export {letter}{name}" for letter in ("", f"{kind}_") for name in names]
    file = folder / f"{source}_{kind}.hyb"
    file.write_text("\n".join([SOURCES[source], *(KINDS[kind].format(name) for name in names), *exports]))
    return file


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All functions: those of BUILT from an artifact, the last of them made again from the Core that it holds, the others
    as `load` compiles them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_OPT", "0")
    folder = tmp_path_factory.mktemp("compiled")
    for source in BUILT:
        checked = checking.check(str(written(folder, source, "d")))
        (folder / f"{source}.hybx").write_bytes(driver.build(checked, "cpu:host").data)
    files = {source: hybridc.load(folder / f"{source}.hybx", trust=source != BUILT[-1]) if source in BUILT
             else hybridc.load(written(folder, source, "d")) for source in SOURCES}
    patch.undo()
    return SimpleNamespace(**{f"{letter}{name}": getattr(files[file], f"{letter}{name}")
                              for name, file in OF.items() for letter in ("", "d_")})


class Interpreted:
    """The functions of a program on the reference interpreter, from Core before any pass."""

    def __init__(self, file: Path):
        checked = checking.check(str(file))
        core, self.interface = driver.lower(checked)
        surface.without_curvatures(self.interface)
        self.machine = Interpreter(pipeline.differentiated(core, surface.symbols(self.interface), checked.sources))

    def call(self, name: str, *args: list[float]) -> Any:
        """Lists are given, a list or numbers come back."""
        given = [(Buffer(list(a)), len(a)) for a in args]
        (found,) = self.machine.call(self.interface.fns[name][0].symbol, given)
        return found[0].items()[: found[1]] if isinstance(found, tuple) and isinstance(found[0], Buffer) else found


@pytest.fixture(scope="module", params=list(KINDS))
def interpreted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Interpreted]]:
    folder = tmp_path_factory.mktemp("interpreted")
    return request.param, {source: Interpreted(written(folder, source, request.param)) for source in SOURCES}


@pytest.mark.parametrize("name", NAMES)
def test_gradient(mod: Any, name: str) -> None:
    for xs in POINTS:
        want = slope(getattr(mod, name), (xs,), 0)
        assert getattr(mod, f"d_{name}")(xs) == pytest.approx(want, rel=1e-5, abs=1e-5)
        assert any(want)


@pytest.mark.parametrize("name", NAMES)
def test_interpreted(mod: Any, interpreted: tuple[str, dict[str, Interpreted]], name: str) -> None:
    kind, machine = interpreted[0], interpreted[1][OF[name]]
    xs, along, h = POINTS[0], np.array(DIRECTION), 1e-5
    gradient = getattr(mod, f"d_{name}")
    match kind:
        case "d":
            assert machine.call(f"d_{name}", xs) == pytest.approx(gradient(xs), rel=1e-9, abs=1e-12)
        case "j":
            value, change = machine.call(f"j_{name}", xs, DIRECTION)
            assert value == pytest.approx(getattr(mod, name)(xs))
            assert change == pytest.approx(np.dot(gradient(xs), along), rel=1e-9, abs=1e-12)
        case "h":
            up, down = (gradient(list(np.array(xs) + s * h * along)) for s in (1, -1))
            want = (np.array(up) - np.array(down)) / (2 * h)
            assert machine.call(f"h_{name}", xs, DIRECTION) == pytest.approx(want, rel=1e-5, abs=1e-5)


# ---- models ----------------------------------------------------------------------------------------------------------
X = np.array([0.3, -0.4, 0.8])


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any, np.ndarray]:
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_OPT", "0")
    mod = hybridc.load(HERE / "models.hyb")
    patch.undo()
    net = mod.Deep(3, seed=1)
    return mod, net, np.concatenate([v.ravel() for k, v in net.state_dict().items() if k in "wb"])


@pytest.mark.parametrize("name", ["by_params", "set_p"])
def test_vectors_that_become_parameters(models: tuple[Any, Any, np.ndarray], name: str) -> None:
    mod, net, v = models
    want = slope(getattr(mod, name), (v, net, X), 0)
    np.testing.assert_allclose(getattr(mod, f"d_{name}")(v, net, X), want, rtol=1e-6, atol=1e-6)


def test_by_a_model(models: tuple[Any, Any, np.ndarray]) -> None:
    mod, net, v = models
    by_model, by_x = mod.d_of_model(net, X)
    np.testing.assert_allclose(by_model, slope(mod.of_model_v, (v, net, X), 0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_x, slope(mod.of_model, (net, X), 1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mod.d_of_list([net, net], X), slope(mod.of_list, ([net, net], X), 1), rtol=1e-6)


def test_through_training(models: tuple[Any, Any, np.ndarray]) -> None:
    mod, net, _ = models
    assert mod.meta(0.1, net, X) == pytest.approx(slope(mod.inner_train, (0.1, 2, net, X), 0), rel=1e-6)


def test_a_struct_of_lists_and_maps(models: tuple[Any, Any, np.ndarray]) -> None:
    mod = models[0]

    def value(v: list[float]) -> float:
        return float(mod.hyper(mod.Hyper(v[0], v[1:3], {"n0": v[3], "zz": v[4]}), v[5]))

    _, (d, by_x) = mod.d_hyper(mod.Hyper(0.5, [1.0, 2.0], {"n0": 2.0, "zz": 1.0}), 0.7)
    found = [d.lr, *d.moms, d.names["n0"], d.names["zz"], by_x]
    assert found == pytest.approx(slope(value, ([0.5, 1.0, 2.0, 2.0, 1.0, 0.7],), 0), rel=1e-6)


def test_casts_and_generic_functions(models: tuple[Any, Any, np.ndarray]) -> None:
    mod = models[0]
    assert mod.d_generic([0.5, 2.0], 1.5) == ([3.0, 2.25], 4.0)
    assert mod.d_casts(0.5, 1.25) == (2.5625, 0.625)  # x^2 y^2 + x: 2 x y^2 + 1 and 2 x^2 y
