"""Calls with tensors of PyTorch are fast calls with arrays over the same memory: each outcome is that of the slow way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hybridc_runtime.calls import Caller
from hybridc_runtime.models import ModelBase

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")
SOURCE = """
from nn import Linear

model Net(d: int):
    let layer = Linear(d, d)
    state calls: int = 0

    fn forward(x: f32[*B, d]) -> f32[*B, d]:
        return tanh(self.layer(x))

    fn loss(x: f32[B, d], scale: f32 = 1.0) -> f32:
        return sum(self(x) ** 2) * scale

    mut fn counted(x: f32[d]) -> (f32[d], int):
        self.calls += 1
        return (self(x), self.calls)

fn scaled(x: f64[N], by: f64 = 2.0) -> f64[N]:
    return x * by

fn leading(x: f32[*B, 2]) -> f32[*B]:
    return sum(x, axis=-1)

fn halves(x: bf16[N]) -> bf16[N]:
    return x + x

fn parts(x: f32[N]) -> (list[f32[N]], f32):
    return ([x, x * 2.0], sum(x))

fn fill(mut x: f32[N], y: f32[N]) -> f32:
    x += y
    return sum(x)

fn step(x: f32[N], s: (f32[N], (f32[N], int))) -> ((f32[N], int), f32[N]):
    return ((x + s[0], s[1][1] + 1), s[1][0] * 2.0)

fn total(xs: list[f32[N]], ys: list[(f32[N], int)]) -> f32:
    var t: f32 = 0
    for x in xs:
        t += sum(x)
    for y, n in ys:
        t += sum(y) * n
    return t

fn picked(x: f32[N], at: int[K], keep: bool[K]) -> (f32[K], int):
    return (where(keep, x[at], 0.0), K)
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("torch") / "given.hyb"
    file.write_text(SOURCE)
    return hybridc.load(file)


def shown(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return "tensor", str(x.dtype), tuple(x.shape), x.to_dense().tolist()
    return [type(x).__name__, *map(shown, x)] if isinstance(x, (tuple, list)) else (type(x).__name__, x)


def outcome(f: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return shown(f(*args, **kwargs))
    except Exception as e:  # whatever it is, both ways are to raise it
        return type(e), str(e)


def rows(mod: Any) -> dict[str, list[tuple[Any, ...]]]:
    """By function: arguments that a fast call takes first, then some that it leaves to the slow way."""
    x, wide = torch.arange(3.0), torch.arange(12.0).reshape(3, 4)
    grad = torch.ones(3, dtype=torch.float64, requires_grad=True)
    return {
        "scaled": [(x.double(),), (x.double(), 3.0), (wide.double()[:, 1],), (grad,), (torch.nn.Parameter(x.double()),),
                   (x,), (wide.double(),), (x.double(), "a"), (x.double().to_sparse(),), (x.double(), torch.tensor(2.0))],
        "leading": [(wide[:, :2],), (wide.reshape(3, 2, 2),), (wide[0, :2],), (wide,), (wide.double()[:, :2],)],
        "halves": [(x.bfloat16(),), (x,)],
        "parts": [(x,)],
        "step": [(x, (x + 1, (x.clone(), 3))), (x.numpy(), (x, (x, 3))), (x, (x, (x, 3.0))), (x, (x, (x.double(), 3))),
                 (x, (wide[0], (x, 3))), (x, (x.numpy(), (x.tolist(), 3)))],
        "total": [([x, x + 1], [(x, 2), (x, 3)]), ([], [(x, 2)]), ([x], []), ([x.numpy(), x], []), ([x, x.numpy()], []),
                  ([x, wide[0]], []), ([x, None], []), ([[x]], []), ([x], [(x, x)])],
        "fill": [(x.clone(), x), (x, 1.0)],
        "picked": [(x, torch.tensor([2, 0]), torch.tensor([True, False])), (x, torch.tensor([5, 0]), torch.tensor([True, False])),
                   (x, torch.tensor([2, 0], dtype=torch.int32), torch.tensor([True, False])),
                   (x, np.array([2, 0]), torch.tensor([True, False]))],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["scaled", "leading", "halves", "parts", "fill", "picked", "step", "total"])
def test_as_on_the_slow_way(mod: Any, name: str) -> None:
    for i, args in enumerate(rows(mod)[name]):
        f, again = getattr(mod, name), [tuple(a.clone() if isinstance(a, torch.Tensor) and a.is_leaf and not a.requires_grad
                                              else a for a in args) for _ in range(2)]
        slow = outcome(lambda *given, f=f: f._choose(given, {}, False), *again[0])
        for _ in range(3):
            f(*rows(mod)[name][0])  # whatever comes second is fast
        assert outcome(f, *again[1]) == slow, i
        assert [shown(a) for a in again[0]] == [shown(a) for a in again[1]], i


def test_plain_calls_are_fast(mod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    m, x = mod.Net(3, seed=1), torch.rand(2, 3)
    w, b = (torch.from_numpy(np.array(v)) for v in list(m.state_dict().values())[:2])

    def calls() -> list[Any]:
        return [m(x), m(x[0]), m.loss(x), m.loss(scale=2.0, x=x), m.value_and_grad("loss", x), mod.scaled(x[0].double()),
                mod.leading(x[:, :2]), mod.step(x[0], (x[0], (x[1], 2))), mod.total([x[0], x[1]], [(x[0], 1)])]

    def fast() -> list[Any] | None:
        with monkeypatch.context() as patch:
            for kind, name in ((ModelBase, "_enter"), (Caller, "__call__")):
                patch.setattr(kind, name, lambda *_: pytest.fail("on the slow way"))
            try:
                return calls()
            except pytest.fail.Exception:
                return None

    tries = ((calls(), calls(), fast())[2] for _ in range(4))  # on a busy machine the timer may have gone to sleep
    found = next((f for f in tries if f is not None), None)
    assert found is not None, "on the slow way"
    assert torch.allclose(found[0], torch.tanh(x @ w.T + b), atol=1e-6) and torch.equal(found[0][0], found[1])
    assert type(found[2]) is float and found[3] == pytest.approx(2 * found[2]) and type(found[4][1]) is torch.Tensor
    before = m.state_dict()["calls"]
    assert m.counted(x[0])[1] == before + 1 and m.state_dict()["calls"] == before + 1


def test_memory_of_its_own(mod: Any) -> None:
    """What is made is no view of what was given, also where it is the same."""
    x = torch.ones(3, dtype=torch.float64)
    for _ in range(3):
        y = mod.scaled(x, 1.0)
    y += 1
    assert x.tolist() == [1, 1, 1] and mod.scaled(x, 1.0).tolist() == [1, 1, 1]
