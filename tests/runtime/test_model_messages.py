"""What users of PyTorch try with a model from Python, and what they are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
from nn import Linear
from optim import AdamW

model Net(dim: int):
    let layer = Linear(dim, dim)
    param scale: f32[dim] = ones()
    state calls: int = 0

    fn forward(x: f32[dim]) -> f32[dim]:
        return self.layer(x) * self.scale

    fn loss(x: f32[dim]) -> f32:
        return sum(self(x))

fn keep(mut opt: AdamW):
    opt.lr = 0.5

export Net(3) as small
export keep
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("told") / "net.hyb"
    file.write_text(SOURCE)
    return hybridc.load(file)


def test_attributes(mod: Any) -> None:
    m = mod.Net(3)
    for name, why in (("dim", "configuration"), ("scale", "load_state_dict"), ("layer", "load_state_dict"), ("calls", "mut fn")):
        with pytest.raises(AttributeError, match=why):
            setattr(m, name, 1)
    m.note = "mine"
    assert m.note == "mine" and m.dim == 3 and m.state_dict()["calls"] == 0
    for name in ("parameters", "eval", "to"):
        with pytest.raises(AttributeError, match="to_torch"):
            getattr(m, name)
    for name, path in (("scale", "'scale'"), ("calls", "'calls'"), ("layer", "'layer.weight', 'layer.bias'")):
        with pytest.raises(AttributeError, match=rf"state_dict\(\) has {path}$"):
            getattr(m, name)
    with pytest.raises(AttributeError, match="has no 'nothing'$"):
        _ = m.nothing


def test_the_derivative_is_of_a_method_by_name(mod: Any) -> None:
    m, x = mod.Net(3), np.ones(3, np.float32)
    for _ in range(3):
        with pytest.raises(TypeError, match="the name of a method, 'loss'"):
            m.value_and_grad(m.loss, x)
        m.value_and_grad("loss", x)


def test_an_exported_model_has_its_configuration(mod: Any) -> None:
    assert mod.small(seed=1).dim == 3
    for args, kwargs in (((3,), {}), ((), {"dim": 3})):
        with pytest.raises(TypeError, match=r"small\(\) takes seed= only"):
            mod.small(*args, **kwargs)


def test_a_class_of_the_same_name(mod: Any) -> None:
    class AdamW:
        lr = 0.1

    with pytest.raises(TypeError, match=r"a .*test_a_class_of_the_same_name.*AdamW cannot be changed"):
        mod.keep(AdamW())


def test_parameters_of_another_type(mod: Any) -> None:
    torch = pytest.importorskip("torch")
    net = mod.Net(3).to_torch()
    x = torch.ones(3)
    before = net(x)
    net.to(torch.float64)
    with pytest.raises(TypeError, match=r"its parameters are torch.float32, one of the module's is torch.float64"):
        net(x)
    net.to(torch.float32)
    assert torch.equal(net(x), before)


def test_a_size_that_differs_says_of_what(mod: Any, tmp_path: Any) -> None:
    file = tmp_path / "sizes.hyb"
    file.write_text(
        "from nn import Linear\n\nmodel Wrong(dim: int):\n    let a = Linear(dim, dim)\n    let b = Linear(3 * dim, dim)\n\n"
        "    fn forward(x: f32[dim]) -> f32[dim]:\n        return self.b(self.a(x))\n\n"
        "model Grown(sizes: list[int]):\n    let layers = [Linear(sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)]\n\n"
        "    fn forward(x: f32[sizes[0]]) -> f32[?]:\n        var h = self.layers[0](x)\n        for layer in self.layers:\n"
        "            h = layer(x)\n        return h\n")
    other = hybridc.load(file)
    with pytest.raises(ValueError, match="dimension 0 of `x` of `forward` is 8, not 24"):
        other.Wrong(8)(np.ones(8, np.float32))
    with pytest.raises(ValueError, match="dimension 0 of x is 2, not 3"):
        other.Grown([2, 3, 4])(np.ones(2, np.float32))


def test_submodels_that_are_not_there(tmp_path) -> None:
    """An index or key of submodels is missing as one of a list or map is, where there are none too."""
    (tmp_path / "rows.hyb").write_text("""
model Cell:
    state n: int = 0

    mut fn step(): self.n += 1

model Row(k: int):
    let cells = [Cell() for i in range(k)]
    let named = {f"a{i}": Cell() for i in range(k)}
    let numbered = {i * 10: Cell() for i in range(k)}

    mut fn at(i: int): self.cells[i].step()

    mut fn of(name: str): self.named[name].step()

    mut fn number(i: int): self.numbered[i].step()

    fn seen(name: str) -> int: return self.named[name].n
""")
    mod = hybridc.load(tmp_path / "rows.hyb")
    for k in (0, 1, 2):
        m = mod.Row(k)
        with pytest.raises(IndexError, match=f"index 2 is out of range for length {k}"):
            m.at(2)
        for call in (m.of, m.seen):
            with pytest.raises(KeyError, match="^'a7'$"):
                call("a7")
        with pytest.raises(KeyError, match="^5$"):
            m.number(5)
