"""A model as an nn.Module: parameters in the model's memory, autograd through compiled code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")
SOURCE = '''
from nn import Linear

model Net(d: int):
    let layers = [Linear(d, d) for i in range(2)]
    let head = Linear(d, 1)

    fn forward(x: f32[*B, d]) -> f32[*B, 1]:
        var h = x
        for layer in self.layers:
            h = tanh(layer(h))
        return self.head(h)

model Steps(d: int):
    """As many turns as the input asks for."""
    param w: f64[d, d] = normal(0.5)
    param b: f64[d] = constant(0.1)

    fn forward(x: f64[N, d], limit: int = 3, scale: f64[d] = zeros()) -> (f64[N, d], f64):
        var h = x
        var n = 0
        while n < limit and sum(h * h) > 0.01:
            h = sin(h @ self.w + self.b) * (1.0 + scale)
            n += 1
        return (h, sum(h))

model Flat(d: int):
    param w: f32[d] = zeros()
    fn count(x: f32[d]) -> int:
        return len(x)

fn shift(mut m: Net, by: f32):
    set_params(mut m, params(m) + by)
'''


ARGUMENTS = '''
struct Pair:
    a: f64[3]
    k: int

model Kinds:
    """Arguments of every kind that holds floats."""
    param w: f64[3] = constant(2)

    fn forward(x: f64[3], s: f64 = 1.5, o: f64[3]? = none, r: f64? = none, xs: list[f64[3]] = [], p: Pair? = none
               ) -> f64[3]:
        var h = self.w * x * x * s * (r ?? 1.0)
        match o:
            case none:
                pass
            case v:
                h = h + v * v * x
        for y in xs:
            h = h + y
        if p != none:
            h = h + p.a * p.k
        return h
'''


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, device: str):
    file = tmp_path_factory.mktemp("kinds") / "kinds.hyb"
    file.write_text(ARGUMENTS)
    return hybridc.load(str(file), device=device)


def not_by_interpreted_kernels(device: str) -> None:
    if device == "interpret" and not os.environ.get("HYB_SLOW"):
        pytest.skip("thousands of calls of kernels that are interpreted: HYB_SLOW=1 makes them")


def leaf(*values: float):
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64, requires_grad=True)


def test_numbers_and_options_have_derivatives(kinds, device) -> None:
    not_by_interpreted_kernels(device)
    net = kinds.Kinds().to_torch()
    x, s, o, r = leaf(1, 2, 3), leaf(0.5), leaf(3, 1, 2), leaf(2)
    assert torch.autograd.gradcheck(lambda x, s, o, r: net(x, s, o, r), (x, s, o, r))
    assert torch.autograd.gradcheck(lambda x, o: net(x, o=o), (x, o))
    assert torch.autograd.gradcheck(lambda x, r: net(x, 2.0, None, r), (x, r))
    assert torch.autograd.gradgradcheck(lambda x, s, o, r: net(x, s, o, r), (x, s, o, r))
    assert torch.autograd.gradgradcheck(lambda x, o: net(x, o=o), (x, o))
    assert torch.autograd.gradgradcheck(lambda x: net(x, 2.0, None), (x,))
    single = torch.tensor(0.5, requires_grad=True)  # of another type than the argument's
    net(x, single).sum().backward()
    assert single.grad.dtype == torch.float32 and float(single.grad) == pytest.approx(28)


def test_tensors_within_arguments_have_none_and_that_is_said(kinds) -> None:
    net = kinds.Kinds().to_torch()
    x, y = leaf(1, 2, 3), leaf(1, 1, 1)
    for given in ({"xs": [y]}, {"p": kinds.Pair(y, 2)}):
        (name,) = given
        with pytest.raises(NotImplementedError, match=f"a tensor within `{name}` requires a derivative"):
            net(x, **given)
        with torch.no_grad():
            net(x, **given)
    net(x, xs=[y.detach()]).sum().backward()
    assert x.grad is not None and y.grad is None


@pytest.fixture(scope="module")
def mod(tmp_path_factory, device: str):
    file = tmp_path_factory.mktemp("torch") / "net.hyb"
    file.write_text(SOURCE)
    return hybridc.load(str(file), device=device)


def twin(net):
    layers = []
    for _ in range(2):
        layers += [torch.nn.Linear(4, 4), torch.nn.Tanh()]
    whole = torch.nn.Sequential(*layers, torch.nn.Linear(4, 1))
    with torch.no_grad():
        for mine, theirs in zip(whole.parameters(), net.parameters(), strict=True):
            mine.copy_(theirs)
    return whole


@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 3, 4)])
def test_gradients_are_torchs(mod, shape) -> None:
    net = mod.Net(d=4, seed=1).to_torch()
    other = twin(net)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = x.detach().clone().requires_grad_()
    (net(x) ** 2).sum().backward()
    (other(y) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_names(mod) -> None:
    m = mod.Net(d=4)
    net = m.to_torch()
    assert list(net.state_dict()) == list(m.state_dict())
    assert [n for n, _ in net.named_parameters()][0] == "layers.0.weight"


def test_parameters_after_submodels(tmp_path: Path) -> None:
    """torch lists those of submodules last, whatever the order of the source; their shapes are all alike here."""
    file = tmp_path / "order.hyb"
    file.write_text("""
model Part:
    param w: f64[2] = constant(2)
    fn forward(x: f64[2]) -> f64[2]: return self.w * x

model Whole:
    let a = Part()
    param w: f64[2] = constant(3)
    let b = Part()
    param v: f64[2] = constant(5)
    fn forward(x: f64[2]) -> f64: return sum(self.b(self.a(x)) * self.w + self.v * x * x)
""")
    m = hybridc.load(file).Whole()
    net = m.to_torch()
    x = torch.tensor([1.0, 10.0], dtype=torch.float64)
    assert net(x).item() == m(x.numpy()) == 2 * 2 * 3 * 11 + 5 * 101
    net(x).backward()
    grads = {name: p.grad.tolist() for name, p in net.named_parameters()}
    assert grads == {"a.w": [6, 60], "w": [4, 40], "b.w": [6, 60], "v": [1, 100]}
    with torch.no_grad():
        dict(net.named_parameters())["w"].fill_(0.0)
    assert m(x.numpy()) == net(x).item() == 505
    assert {k: v.tolist() for k, v in m.state_dict().items()} == {"a.w": [2, 2], "w": [0, 0], "b.w": [2, 2], "v": [5, 5]}


def test_training_changes_the_model(mod) -> None:
    m = mod.Net(d=4, seed=2)
    net = m.to_torch()
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    y = (x.sum(1, keepdim=True) > 0).float()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    before = float(torch.nn.functional.mse_loss(net(x), y).detach())
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.3 * before
    np.testing.assert_allclose(m(x.numpy()), net(x).detach().numpy(), rtol=1e-5)
    np.testing.assert_array_equal(m.state_dict()["head.bias"], net.head.bias.detach().numpy())


def test_what_hyb_changes_is_seen(mod) -> None:
    m = mod.Net(d=4, seed=3)
    net = m.to_torch()
    x = torch.ones(4)
    first = net(x)
    mod.shift(m, 0.5)
    second = net(x)
    assert not torch.equal(first, second)
    np.testing.assert_array_equal(m.state_dict()["head.bias"], net.head.bias.detach().numpy())


def test_a_copy_stays_as_it_was(mod) -> None:
    import copy

    m = mod.Net(d=4, seed=4)
    other = copy.copy(m)
    kept = other.state_dict()["head.bias"].copy()
    with torch.no_grad():
        m.to_torch().head.bias.add_(1)
    assert m.state_dict()["head.bias"][0] == kept[0] + 1
    np.testing.assert_array_equal(other.state_dict()["head.bias"], kept)


def test_load_state_dict_by_assignment(mod) -> None:
    m = mod.Net(d=4, seed=5)
    net = m.to_torch()
    new = {k: torch.full_like(v, 0.25) for k, v in net.state_dict().items()}
    net.load_state_dict(new, assign=True)
    net(torch.ones(4))
    assert set(m.state_dict()["layers.1.weight"].ravel()) == {0.25}


def test_gradcheck(mod) -> None:
    net = mod.Steps(d=2, seed=1).to_torch()
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scale = torch.full((2,), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: net(x), (x,))
    assert torch.autograd.gradcheck(lambda x, s: net(x, 2, scale=s)[0], (x, scale))


def test_parameters_changed_between_forward_and_backward(mod) -> None:
    net = mod.Net(d=4).to_torch()
    out = net(torch.ones(4)).sum()
    with torch.no_grad():
        net.head.bias.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_no_forward(mod) -> None:
    with pytest.raises(ValueError, match="Flat has no forward"):
        mod.Flat(d=2).to_torch()


def test_from_an_artifact(tmp_path: Path) -> None:
    file = tmp_path / "net.hyb"
    file.write_text(SOURCE + "\nexport Net(d=4) as net\n")
    from hybridc import driver

    built = tmp_path / "net.hybx"
    built.write_bytes(driver.artifact(driver.check(str(file))))
    net = hybridc.load(str(built)).net(seed=1).to_torch()
    x = torch.ones(4, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None and bool((x.grad != 0).all())


def test_second_derivatives(mod, device) -> None:
    not_by_interpreted_kernels(device)
    net = mod.Steps(d=2, seed=1).to_torch()
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scale = torch.full((2,), 0.3, dtype=torch.float64, requires_grad=True)
    parameters = tuple(net.parameters())
    assert torch.autograd.gradgradcheck(lambda x, s, *_: net(x, 2, s), (x, scale, *parameters))
    small = mod.Net(d=4, seed=1).to_torch()
    other = twin(small)
    y = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    penalties = []
    for whole in (small, other):
        z = y.clone().requires_grad_()
        (slope,) = torch.autograd.grad(whole(z).sum(), z, create_graph=True)
        (slope**2).sum().backward()
        penalties.append([z.grad, *(p.grad for p in whole.parameters())])
    for a, b in zip(*penalties, strict=True):
        torch.testing.assert_close(a if a is not None else torch.zeros_like(b), b if b is not None else a * 0)


def test_a_second_derivative_needs_every_tensor(mod) -> None:
    net = mod.Steps(d=2, seed=1).to_torch()
    x = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(net(x)[1], x, create_graph=True)
    with pytest.raises(NotImplementedError, match="needs `scale` given"):
        slope.sum().backward()


class Surrounded(torch.nn.Module):
    """A model of torch's with a compiled one within."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.inner = inner

    def forward(self, x):
        return torch.tanh(self.inner(self.first(x))) * 2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_no_break_in_a_compiled_graph(mod, backend: str) -> None:
    torch._dynamo.reset()
    whole = Surrounded(mod.Net(d=4, seed=1).to_torch())
    compiled = torch.compile(whole, fullgraph=True, backend=backend)
    for rows in (6, 9, 2):
        x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(rows))
        found = []
        for f in (whole, compiled):
            whole.zero_grad()
            y = x.clone().requires_grad_()
            (f(y) ** 2).sum().backward()
            found.append([y.grad, *(p.grad.clone() for p in whole.parameters())])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)
    optimiser = torch.optim.SGD(whole.parameters(), 0.1)
    optimiser.step()
    torch.testing.assert_close(compiled(x), whole(x))


def test_the_operator_is_well_formed(mod) -> None:
    net = mod.Net(d=4, seed=1).to_torch()
    x = torch.randn(3, 4, requires_grad=True)
    args = (net._hyb_number, "", list(net.parameters()), [x])
    torch.library.opcheck(torch.ops.hyb.forward.default, args,
                          test_utils=("test_schema", "test_faketensor", "test_autograd_registration"))


def test_arguments_by_name_and_several_results_in_a_compiled_graph(mod) -> None:
    torch._dynamo.reset()
    net = mod.Steps(d=2, seed=1).to_torch()
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.full((2,), 0.3, dtype=torch.float64, requires_grad=True)

    def f(x, scale):
        h, total = net(x, scale=scale)
        return h.sum() * total

    want = torch.autograd.grad(f(x, scale), [x, scale, *net.parameters()])
    found = torch.autograd.grad(torch.compile(f, fullgraph=True, backend="aot_eager")(x, scale),
                                [x, scale, *net.parameters()])
    for a, b in zip(want, found, strict=True):
        torch.testing.assert_close(a, b)


LAYER = '''
extern fn teacher(x: f32[N]) -> f32[N]
extern fn teacher_back(x: f32[N], y: f32[N], d: f32[N]) -> f32[N]

fn pull(x: f32[N], y: f32[N], d: f32[N]) -> f32[N]:
    return teacher_back(x, y, d)

@custom_grad(pull)
fn taught(x: f32[N]) -> f32[N]:
    return teacher(x)

fn route(x: f32[N]) -> f32[N]:
    """What no graph of torch's holds: as many turns as the values ask for."""
    var h = x
    while norm(h) > 1.0:
        h = h * 0.7 + 0.01
    return h * x

model Layer:
    fn forward(x: f32[N]) -> f32[N]:
        return route(x)

model Around(d: int):
    param w: f32[d, d] = normal(0.5)
    fn loss(x: f32[d]) -> f32:
        return sum(taught(self.w @ x) ** 2)
'''


def test_a_function_as_a_layer_of_torch(tmp_path: Path) -> None:
    file = tmp_path / "layer.hyb"
    file.write_text(LAYER)
    mod = hybridc.load(str(file), externs={"teacher": lambda x: x, "teacher_back": lambda x, y, d: d})
    layer = mod.Layer().to_torch()
    assert not list(layer.parameters())
    whole = torch.nn.Sequential(torch.nn.Linear(3, 3), layer)
    x = torch.tensor([1.0, -2.0, 3.0])
    whole(x).sum().backward()
    h = whole[0](x).detach().requires_grad_()
    y = h
    while float(y.norm()) > 1:
        y = y * 0.7 + 0.01
    (y * h).sum().backward()
    torch.testing.assert_close(whole[0].bias.grad, h.grad)


def test_torch_as_a_layer_of_hyb(tmp_path: Path) -> None:
    file = tmp_path / "layer.hyb"
    file.write_text(LAYER)
    inner = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh())

    def forward(x):
        with torch.no_grad():
            return inner(torch.as_tensor(x)).numpy()

    def back(x, y, d):
        given = torch.as_tensor(x).clone().requires_grad_()
        return torch.autograd.grad(inner(given), given, torch.as_tensor(d))[0].numpy()

    mod = hybridc.load(str(file), externs={"teacher": forward, "teacher_back": back})
    m = mod.Around(d=3, seed=1)
    x = np.array([1.0, -2.0, 3.0], np.float32)
    value, g = m.value_and_grad("loss", x)
    w = torch.from_numpy(m.state_dict()["w"]).requires_grad_()
    want = (inner(w @ torch.from_numpy(x)) ** 2).sum()
    want.backward()
    assert value == pytest.approx(float(want.detach()), rel=1e-5)
    np.testing.assert_allclose(g.reshape(3, 3), w.grad.numpy(), rtol=1e-4, atol=1e-6)


PROCESS = """
import sys
import torch, hybridc
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

source, store, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
mod = hybridc.load(source)
net = mod.Net(d=4, seed=rank).to_torch()  # DDP takes the weights of the first
both = DistributedDataParallel(net)
optimiser = torch.optim.SGD(both.parameters(), 0.1)
x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
for step in range(5):
    optimiser.zero_grad()
    (both(x[rank::2]) ** 2).mean().backward()
    optimiser.step()
print("weights", torch.cat([p.detach().reshape(-1) for p in net.parameters()]).tolist())
dist.barrier()  # who leaves first may end the other one
dist.destroy_process_group()
"""


def test_two_processes(mod, device: str, tmp_path: Path) -> None:
    if device == "interpret":
        pytest.skip("is about processes; what they compute, the other tests have")
    file = tmp_path / "net.hyb"
    file.write_text(SOURCE)
    runs = [subprocess.Popen([sys.executable, "-c", PROCESS, str(file), str(tmp_path / "store"), str(rank)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    found = []
    for run in runs:
        out, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
        (line,) = [x for x in out.splitlines() if x.startswith("weights")]
        found.append(np.array(eval(line.removeprefix("weights"))))
    np.testing.assert_array_equal(found[0], found[1])
    net = mod.Net(d=4, seed=0).to_torch()
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        optimiser.zero_grad()
        (net(x) ** 2).mean().backward()
        optimiser.step()
    want = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()
    np.testing.assert_allclose(found[0], want, rtol=1e-4, atol=1e-6)
