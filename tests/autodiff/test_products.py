"""What is added to derivatives of matrices by functions that call themselves, by methods called in loops, and by rows
of tables: beside torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core import ir
from hybridc.core.printer import print_program
from hybridc.link import surface

pytestmark = pytest.mark.usefixtures("unoptimised")

PROGRAM = """
enum Tree:
    Leaf(word: int)
    Node(left: Tree, right: Tree)
    Many(below: list[Tree])

model Net(words: int = 6, dim: int = 64):
    param embed: f64[words, dim] = normal(0.5)
    param w: f64[dim, 2 * dim] = glorot()
    param u: f64[dim, dim] = glorot()
    param b: f64[dim] = zeros()
    param cube: f64[2, 3, 4] = normal(0.5)

    fn encode(t: Tree) -> f64[dim]:
        match t:
            case Leaf(word):
                return self.embed[word]
            case Node(left, right):
                return tanh(self.w @ concat(self.encode(left), self.encode(right)) + self.b)
            case Many(below):
                var h: f64[dim] = zeros()
                for one in below:
                    h = tanh(self.encode(one) @ self.u + h)
                return h

    fn loss(t: Tree) -> f64:
        return sum(self.encode(t))

    fn twice(t: Tree) -> f64:
        return self.loss(t) * self.loss(t)

    fn rest(t: Tree, depth: int) -> f64:
        '''Further down the model is another one, of parameters that depend on these.'''
        if depth == 0:
            return sum(self.w @ concat(self.encode(t), self.b))
        return with_params(self, params(self) * 0.5).rest(t, depth - 1) + sum(self.u @ self.b)

    fn cell(x: f64[dim]) -> f64[dim]:
        return tanh(self.u @ x + self.b)

    fn looped(xs: list[f64[dim]]) -> f64:
        var total: f64 = 0.0
        for x in xs:
            total += sum(self.cell(x) * self.cell(x))
        return total

    fn rows(i: int, j: int) -> f64:
        var total = sum(self.embed[i] * self.embed[j]) + sum(self.cube[i] * self.cube[-1])
        for k in range(3):
            total += sum(self.embed[k] * self.embed[i])
        return total
"""
SIZES = {"embed": (6, 64), "w": (64, 128), "u": (64, 64), "b": (64,), "cube": (2, 3, 4)}


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("products") / "net.hyb"
    file.write_text(PROGRAM)
    return hybridc.load(file)


class Peer:
    """The same in PyTorch, over parts of one vector."""

    def __init__(self, p: torch.Tensor):
        self.p = p
        sizes = [int(np.prod(shape)) for shape in SIZES.values()]
        for (name, shape), part in zip(SIZES.items(), p.split(sizes), strict=True):
            setattr(self, name, part.reshape(shape))

    def encode(self, t: Any) -> torch.Tensor:
        if isinstance(t, int):
            return self.embed[t]
        if isinstance(t, tuple):
            return torch.tanh(self.w @ torch.cat([self.encode(x) for x in t]) + self.b)
        h = torch.zeros(64, dtype=torch.float64)
        for one in t:
            h = torch.tanh(self.encode(one) @ self.u + h)
        return h

    def loss(self, t: Any) -> torch.Tensor:
        return self.encode(t).sum()

    def twice(self, t: Any) -> torch.Tensor:
        return self.loss(t) * self.loss(t)

    def rest(self, t: Any, depth: int) -> torch.Tensor:
        if depth == 0:
            return (self.w @ torch.cat([self.encode(t), self.b])).sum()
        return Peer(self.p * 0.5).rest(t, depth - 1) + (self.u @ self.b).sum()

    def looped(self, xs: np.ndarray) -> torch.Tensor:
        return sum((torch.tanh(self.u @ x + self.b) ** 2).sum() for x in torch.tensor(xs))

    def rows(self, i: int, j: int) -> torch.Tensor:
        total = (self.embed[i] * self.embed[j]).sum() + (self.cube[i] * self.cube[-1]).sum()
        return total + sum((self.embed[k] * self.embed[i]).sum() for k in range(3))


def as_hyb(mod: Any, t: Any) -> Any:
    if isinstance(t, int):
        return mod.Tree.Leaf(t)
    parts = [as_hyb(mod, x) for x in t]
    return mod.Tree.Node(*parts) if isinstance(t, tuple) else mod.Tree.Many(parts)


TREES = [3, (1, 2), ((1, 2), (3, (3, 1))), [1], [(1, 2), 4, [5, (2, 2)]], ([1, 2, 3], (0, [])), []]


@pytest.mark.parametrize(("method", "more"), [("loss", []), ("twice", []), ("rest", [2])])
@pytest.mark.parametrize("tree", TREES, ids=str)
def test_functions_that_call_themselves(mod: Any, tree: Any, method: str, more: list[int]) -> None:
    compare(mod, method, [as_hyb(mod, tree), *more], [tree, *more])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_methods_called_in_loops(mod: Any, count: int) -> None:
    xs = np.random.default_rng(1).normal(size=(count, 64))
    compare(mod, "looped", [list(xs)], [xs])


@pytest.mark.parametrize(("i", "j"), [(0, 1), (1, 1), (-1, 0), (1, -6)])
def test_rows_of_tables(mod: Any, i: int, j: int) -> None:
    compare(mod, "rows", [i, j], [i, j])


def compare(mod: Any, method: str, given: list[Any], same: list[Any]) -> None:
    net = mod.Net(seed=4)
    state = net.state_dict()
    p = torch.tensor(np.concatenate([state[n].ravel() for n in SIZES]), requires_grad=True)
    want = getattr(Peer(p), method)(*same)
    (gradient,) = torch.autograd.grad(want, p) if isinstance(want, torch.Tensor) and want.requires_grad else (0 * p,)
    value, found = net.value_and_grad(method, *given)
    assert value == pytest.approx(float(torch.as_tensor(want).detach()), rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(found, gradient.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_what_is_made_of_them(tmp_path: Path) -> None:
    """No product of the size of a matrix where one is added for each call, and no zeros of the size of a table."""
    file = tmp_path / "net.hyb"
    file.write_text(PROGRAM + """
fn g(m: Net, t: Tree) -> f64[?]:
    return grad(m.loss)(t)
fn g_looped(m: Net, xs: list[f64[64]]) -> f64[?]:
    return grad(m.looped)(xs)
""")
    checked = checking.check(str(file))
    core, interface = driver.lower(checked)
    core = pipeline.differentiated(core, surface.symbols(interface), checked.sources)
    within = {name: fn for name, fn in core.fns.items() if "encode reverse" in name}
    text = print_program(ir.Program(core.structs, core.enums, within))
    large = [line for line in text.splitlines() if "f64[64, 128] =" in line or "f64[6, 64] =" in line]
    assert large and all("tensor_view" in line for line in large)
    assert not any(name.startswith("Net[6, 64].cell") for name in core.fns if "reverse" in name)  # it is in the loop
