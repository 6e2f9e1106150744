"""Each workload as Hyb and its peers run it: a function of no arguments for each, over the same arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import hybridc

try:
    import jax
    import jax.numpy as jnp
except ImportError:  # it is then no peer
    jax = jnp = None

HERE = Path(__file__).parent
Run = Callable[[], object]


@dataclass
class Workload:
    name: str
    flops: float
    hyb: Run
    torch: Callable[..., object]
    inputs: tuple[torch.Tensor, ...]
    jax: Callable[..., object] | None = None
    onnx: Callable[[], Run | None] = field(default=lambda: None)
    data: int = 1
    """How many of the inputs are not parameters."""
    bytes: int = 0
    """That must come from memory or go there, where that is what takes the time."""

    def eager(self) -> Run:
        return lambda: self.torch(*self.inputs)

    def compiled(self) -> Run:
        """By torch.compile, with parameters that it may lay out as it likes."""
        data = self.inputs[: self.data]
        whole = isinstance(self.torch, torch.nn.Module)
        function = self.torch if whole else Frozen(self.torch, self.inputs[self.data :])
        torch._dynamo.reset()
        quick = torch.compile(function.eval(), mode="max-autotune", dynamic=False)
        return lambda: quick(*data)


class Frozen(torch.nn.Module):
    """A function whose last arguments are known."""

    def __init__(self, function: Callable[..., object], params: tuple[torch.Tensor, ...]):
        super().__init__()
        self.function = function
        self.params = torch.nn.ParameterList([torch.nn.Parameter(p, requires_grad=False) for p in params])

    def forward(self, *data: torch.Tensor) -> object:
        return self.function(*data, *self.params)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def workloads(device: str = "cpu") -> Iterator[Workload]:
    mod = hybridc.load(str(HERE / "models.hyb"), device=device)
    for n in (64, 256, 1024):
        x, w = arrays((n, n), (n, n))
        yield Workload(f"product {n}³", 2 * n**3, lambda x=x, w=w: mod.product(x, w), torch.mm,
                       (torch.tensor(x), torch.tensor(w)), lambda x, w: x @ w, data=2)
    for m, k, n in ((1, 128, 128), (8, 128, 512), (32, 256, 256)):
        layer = mod.Layer(k, n, seed=0)
        w, b = (layer.state_dict()[p] for p in ("w", "b"))
        (x,) = arrays((m, k))
        yield Workload(
            f"linear {m}×{k}×{n}, bias, GELU", 2 * m * k * n, lambda layer=layer, x=x: layer(x),
            lambda x, w, b: F.gelu(F.linear(x, w, b)), tuple(map(torch.tensor, (x, w, b))),
            lambda x, w, b: jax.nn.gelu(x @ w.T + b, approximate=False))
    yield from nets(mod)
    yield from cells(mod)
    yield from rows(mod)
    yield from larger(mod)
    for t in (32, 256, 1024):
        qkv = arrays(*[(8, t, 64)] * 3)
        yield Workload(
            f"attention, 8 heads, T = {t}, causal", 2 * 8 * t * t * 64, lambda qkv=qkv: mod.attend(*qkv),
            lambda q, k, v: F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0],
            tuple(map(torch.tensor, qkv)), attention_jax, data=3)


def attention_jax(q, k, v):  # type: ignore[no-untyped-def]
    scores = jnp.einsum("htd,hsd->hts", q, k) / np.float32(np.sqrt(q.shape[-1]))
    scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    return jnp.einsum("hts,hsd->htd", jax.nn.softmax(scores, -1), v)


def nets(mod) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    net = mod.Net(784, 512, 10, seed=0)
    sd = net.state_dict()
    params = [sd[p] for p in ("first.w", "first.b", "second.w", "second.b", "w", "b")]

    def in_torch(x, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
        return F.linear(F.gelu(F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)), w3, b3)

    def in_jax(x, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
        h = jax.nn.gelu(x @ w1.T + b1, approximate=False)
        return jax.nn.gelu(h @ w2.T + b2, approximate=False) @ w3.T + b3

    for batch in (1, 32, 512):
        (x,) = arrays((batch, 784))
        yield Workload(f"MLP 784-512-512-10, batch {batch}", 2 * batch * (784 * 512 + 512 * 512 + 5120),
                       lambda x=x: net(x), in_torch, tuple(map(torch.tensor, (x, *params))), in_jax,
                       lambda x=x: onnx_mlp(x, params))


def onnx_mlp(x: np.ndarray, params: list[np.ndarray]) -> Run | None:
    try:
        import onnx
        import onnxruntime as ort
        from onnx import helper, numpy_helper
    except ImportError:
        return None
    names = ["w1", "b1", "w2", "b2", "w3", "b3"]
    nodes, value = [], "x"
    for i in (1, 2, 3):
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"g{i}"], transB=1))
        value = f"g{i}"
        if i < 3:
            nodes.append(helper.make_node("Gelu", [value], [f"h{i}"]))
            value = f"h{i}"
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("g3", kind, [len(x), 10])],
        [numpy_helper.from_array(p, n) for n, p in zip(names, params, strict=True)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def cells(mod) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    def lstm(x, h, c, wi, wh, bi, bh):  # type: ignore[no-untyped-def]
        i, f, g, o = jnp.split(x @ wi.T + bi + h @ wh.T + bh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def gru(x, h, wi, wh, bi, bh):  # type: ignore[no-untyped-def]
        (a, b, c), (d, e, f) = jnp.split(x @ wi.T + bi, 3, axis=-1), jnp.split(h @ wh.T + bh, 3, axis=-1)
        r, z = jax.nn.sigmoid(a + d), jax.nn.sigmoid(b + e)
        return (1 - z) * jnp.tanh(c + r * f) + z * h

    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for size in (128, 256):
        for batch in (1, 16):
            x, h, c = arrays(*[(batch, size)] * 3)
            cell = mod.LSTMCell(size, size, seed=0)
            params = [torch.tensor(cell.state_dict()[n]) for n in names]
            yield Workload(
                f"LSTM cell {size}, batch {batch}", 16 * batch * size * size,
                lambda cell=cell, x=x, h=h, c=c: cell(x, (h, c)),
                lambda x, h, c, *p: torch.lstm_cell(x, [h, c], *p), (*map(torch.tensor, (x, h, c)), *params), lstm,
                data=3)
            gate = mod.GRUCell(size, size, seed=0)
            params = [torch.tensor(gate.state_dict()[n]) for n in names]
            yield Workload(
                f"GRU cell {size}, batch {batch}", 12 * batch * size * size, lambda gate=gate, x=x, h=h: gate(x, h),
                lambda x, h, *p: torch.gru_cell(x, h, *p), (*map(torch.tensor, (x, h)), *params), gru, data=2)
    (xs,) = arrays((100, 128))
    sequence = mod.Sequence(128, seed=0)
    params = [torch.tensor(sequence.state_dict()["cell." + n]) for n in names]

    def in_torch(xs, *p):  # type: ignore[no-untyped-def]
        zero = xs.new_zeros(1, 128)
        return torch.lstm(xs[:, None], (zero[None], zero[None]), list(p), True, 1, 0.0, False, False, False)[0][-1, 0]

    def in_jax(xs, *p):  # type: ignore[no-untyped-def]
        zero = jnp.zeros(128)
        return jax.lax.scan(lambda s, x: (lstm(x, *s, *p), None), (zero, zero), xs)[0][0]

    yield Workload("LSTM 128, sequence of 100", 1600 * 128 * 128, lambda: sequence(xs), in_torch,
                   (torch.tensor(xs), *params), in_jax)


def rows(mod) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    x, y, w, b = arrays((4096, 1024), (4096, 1024), (1024,), (1024,))
    tx, ty, tw, tb = map(torch.tensor, (x, y, w, b))
    labels = np.random.default_rng(1).integers(0, 1024, 4096)
    yield Workload("softmax 4096×1024", 0, lambda: mod.softmax_rows(x), lambda x: torch.softmax(x, -1), (tx,),
                   lambda x: jax.nn.softmax(x, -1), bytes=2 * x.nbytes)

    def norm(x, y, w, b):  # type: ignore[no-untyped-def]
        z = x + y
        z = z - z.mean(-1, keepdims=True)
        return z * jax.lax.rsqrt((z * z).mean(-1, keepdims=True) + 1e-5) * w + b

    yield Workload("layer norm + residual 4096×1024", 0, lambda: mod.norm_residual(x, y, w, b),
                   lambda x, y, w, b: F.layer_norm(x + y, (1024,), w, b), (tx, ty, tw, tb), norm, data=2,
                   bytes=3 * x.nbytes)
    yield Workload("GELU 4096×1024", 0, lambda: mod.gelu_rows(x), F.gelu, (tx,),
                   lambda x: jax.nn.gelu(x, approximate=False), bytes=2 * x.nbytes)
    (line,) = arrays((1_000_000,))
    yield Workload("sort 10⁶", 0, lambda: mod.ordered(line), lambda x: torch.sort(x)[0], (torch.tensor(line),),
                   lambda x: jnp.sort(x))
    yield Workload("argsort 4096×1024", 0, lambda: mod.places(x), lambda x: torch.argsort(x, stable=True), (tx,),
                   lambda x: jnp.argsort(x))
    yield Workload("cross entropy 4096×1024", 0, lambda: mod.losses(x, labels), F.cross_entropy,
                   (tx, torch.tensor(labels)),
                   lambda x, t: -jnp.take_along_axis(jax.nn.log_softmax(x, -1), t[:, None], 1).mean(), data=2,
                   bytes=x.nbytes)


def larger(mod) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    net = mod.ConvNet(seed=0)
    names = ("first.weight", "first.bias", "second.weight", "second.bias", "head.weight", "head.bias")
    params = [torch.tensor(net.state_dict()[n]) for n in names]

    def conv_torch(x, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
        a = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=1)), 2)
        b = F.max_pool2d(F.relu(F.conv2d(a, w2, b2, padding=1)), 2)
        return F.linear(b.flatten(1), w3, b3)

    def conv_jax(x, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
        def layer(x, w, b):  # type: ignore[no-untyped-def]
            y = jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]
            return jax.lax.reduce_window(jax.nn.relu(y), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

        return layer(layer(x, w1, b1), w2, b2).reshape(len(x), -1) @ w3.T + b3

    for batch in (1, 16):
        (x,) = arrays((batch, 3, 32, 32))
        flops = 2 * batch * (1024 * 32 * 27 + 256 * 64 * 288 + 40960)
        yield Workload(f"conv net 3×32×32, batch {batch}", flops, lambda x=x: net(x), conv_torch,
                       (torch.tensor(x), *params), conv_jax)
    block = mod.TransformerBlock(256, 8, 1024, seed=0)
    layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True).eval()
    layer.load_state_dict({n: torch.tensor(v) for n, v in block.state_dict().items()})
    (x,) = arrays((1, 128, 256))

    def block_jax(x):  # type: ignore[no-untyped-def]
        weights = block.state_dict()

        def norm(x, name):  # type: ignore[no-untyped-def]
            x = x - x.mean(-1, keepdims=True)
            x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)
            return x * weights[name + ".weight"] + weights[name + ".bias"]

        def linear(x, name):  # type: ignore[no-untyped-def]
            return x @ weights[name + "weight"].T + weights[name + "bias"]

        parts = jnp.split(linear(x[0], "self_attn.in_proj_"), 3, -1)
        q, k, v = (y.reshape(128, 8, 32).transpose(1, 0, 2) for y in parts)
        p = jax.nn.softmax(q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(32)), -1)
        y = norm(x[0] + linear((p @ v).transpose(1, 0, 2).reshape(128, 256), "self_attn.out_proj."), "norm1")
        return norm(y + linear(jax.nn.relu(linear(y, "linear1.")), "linear2."), "norm2")[None]

    yield Workload("transformer block, dim 256, T = 128", 2 * 128 * (256 * 1024 + 2 * 256 * 1024 + 2 * 128 * 256),
                   lambda: block(x), layer, (torch.tensor(x),), block_jax)
