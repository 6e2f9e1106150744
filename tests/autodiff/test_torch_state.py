"""Modules of PyTorch made of models whose `forward` writes state."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")

STATEFUL = '''
model Counter(d: int):
    param w: f32[d] = constant(2.0)
    state n: int = 0
    state last: f32[d] = ones()

    mut fn forward(x: f32[d]) -> f32[d]:
        self.n += 1
        let y = x * self.w * self.n + self.last * self.w
        self.last = stop_gradient(y)
        return y

model Wrap(inner: model):
    mut fn forward(x: f32[D]) -> f32[D]:
        return self.inner(x)
'''


def test_a_derivative_sees_the_state_before_its_call(tmp_path: Path) -> None:
    file = tmp_path / "stateful.hyb"
    file.write_text(STATEFUL)
    mod = hybridc.load(file)
    for m in (mod.Counter(2), mod.Wrap(mod.Counter(2))):
        net = m.to_torch()
        (w,) = net.parameters()
        x = torch.tensor([1.0, 3.0], requires_grad=True)
        first, second = net(x), net(x)
        assert first.tolist() == [4.0, 8.0] and second.tolist() == [12.0, 28.0]
        (d,) = torch.autograd.grad(second.sum(), [w], create_graph=True)
        assert d.tolist() == [1 * 2 + 4.0, 3 * 2 + 8.0]
        (dd,) = torch.autograd.grad((d * d).sum() / 2, [x])
        assert dd.tolist() == [12.0, 28.0]
        first.sum().backward()
        assert w.grad.tolist() == [2.0, 4.0] and x.grad.tolist() == [2.0, 2.0]
        with torch.no_grad():
            w += 1
        assert net(x).tolist() == [1 * 3 * 3 + 12 * 3, 3 * 3 * 3 + 28 * 3]
        seen = torch.compile(net, backend="eager")
        assert seen(x).shape == (2,)
        (n,) = [v for k, v in m.state_dict().items() if k.endswith("n")]
        assert n == 4
