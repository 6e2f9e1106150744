"""The tensor functions of the language, compiled, against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc

torch = pytest.importorskip("torch")
F = torch.nn.functional
HERE = Path(__file__).parent
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def mod(device: str):
    return hybridc.load(str(HERE / "functions.hyb"), device=device)


def f32(*dims: int) -> np.ndarray:
    return RANDOM.normal(size=dims).astype(np.float32)


def t(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x)


def same(got, want, tolerance: float = 3e-6) -> None:
    """Equal values and, of arrays, types and shapes."""
    assert len(got) == len(want), (len(got), len(want))
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        w = w.detach().numpy() if isinstance(w, torch.Tensor) else np.asarray(w)
        g = np.asarray(g)
        assert g.shape == w.shape, (i, g.shape, w.shape)
        if w.dtype != np.float64:
            assert g.dtype == w.dtype or not g.shape, (i, g.dtype, w.dtype)
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance, err_msg=str(i))


def test_elementwise(mod):
    a, b = f32(37), f32(37) + 0.1
    x = t(a)
    same(
        mod.unary(a),
        [
            x.exp(),
            x.abs().sqrt(),
            (x.abs() + 1).rsqrt(),
            x.sign(),
            x.floor(),
            x.round(),
            x.sin(),
            x.cos(),
            x.tanh(),
            x.sigmoid(),
            x.relu(),
            F.gelu(x),
            F.silu(x),
            F.softplus(x * 10),
            (x.abs() + 0.1).log(),
            x.clamp(-1, 1),
            x.clamp(max=0.5),
            -x,
            torch.erf(x),
        ],
    )
    x, y = t(a), t(b)
    same(
        mod.binary(a, b),
        [
            x + y,
            x - y,
            x * y,
            x / y,
            x // y,
            x % y,
            x.abs() ** y,
            x**2,
            x**3,
            2**x,
            1 / x,
            torch.minimum(x, y),
            torch.maximum(x, torch.tensor(0.5)),
            torch.where(x > y, x, y),
            torch.where(x > 0, 1.0, x),
            x.abs().pow(1.5),
        ],
        1e-5,
    )
    v = torch.tensor(0.7, dtype=torch.float64)
    same(mod.scalars(0.7), [v.exp(), v.sqrt(), v.tanh(), 0.0, v.sigmoid(), v, v, v**2, 1.0, F.gelu(v)], 1e-12)
    i, j = RANDOM.integers(-9, 9, 11), RANDOM.integers(1, 5, 11)
    p, q = t(i), t(j)
    same(
        mod.ints(i, j),
        [
            p + q,
            p // q,
            p % q,
            p & q,
            p | q,
            p ^ q,
            p << 2,
            p >> 1,
            ~p,
            p.abs() ** 2,
            torch.minimum(p, q),
            p.sign(),
            p.clamp(-2, 2),
        ],
    )
    lt = p < q
    same(mod.bools(i, j), [p == q, p != q, lt, p >= 3, ~lt, lt & (p > 0), lt | (q < 0), lt ^ (p > 0)])
    same(mod.mixed(i, f := f32(11)), [p + t(f), p.double() / 2, p.int()])


def test_reductions(mod):
    a = f32(5, 7)
    x = t(a)
    same(mod.sums(a), [x.sum(), x.sum(0), x.sum(1), x.sum(-1, keepdim=True), x.sum(1)])
    same(
        mod.reductions(a),
        [
            x.mean(1),
            x.amax(1),
            x.amin(-1),
            x.prod(1),
            x.logsumexp(1),
            x.norm(dim=1),
            x.norm(p=1, dim=1),
            x.norm(p=float("inf"), dim=1),
            x.norm(p=3, dim=1),
        ],
        1e-5,
    )
    same(mod.whole(a), [x.mean(), x.max(), x.min(), x.prod(), x.logsumexp((0, 1)), x.norm()], 1e-5)
    same(mod.positions(a), [x.argmax(1), x.argmin(0), x.argmax(), x.argmin(1)])
    b = RANDOM.integers(0, 3, (4, 3)).astype(bool)
    y = t(b)
    same(mod.logical(b), [y.any(), y.all(), y.any(1), y.all(0), y.sum(), y.sum(0)])
    same(mod.softmaxes(a), [x.softmax(-1), x.softmax(0), x.log_softmax(-1), x.log_softmax(0), x.cumsum(0), x.cumsum(1)])
    for shape in ((), (4,), (2, 3)):
        a, b = f32(*shape), f32(*shape)
        given = (a, b) if shape else (float(a), float(b))
        same(mod.any_rank(*given), [a * b + 1, a.sum(), b.mean()], 1e-5)


def test_shapes(mod):
    a = f32(2, 3, 4)
    x = t(a)
    same(
        mod.shapes(a),
        [x.reshape(4, 6), x.reshape(-1), x.reshape(2, -1), x.permute(2, 1, 0), x.transpose(0, 1), x.permute(2, 0, 1)],
    )
    a, b = f32(3, 4), f32(3, 4)
    x, y = t(a), t(b)
    same(mod.more_shapes(a), [x.unsqueeze(1), x, x.expand(3, 3, 4), x.flip(0), x.reshape(4, 3)])
    same(mod.joined(a, b), [torch.cat([x, y]), torch.cat([x, y], 1), torch.stack([x, y]), torch.stack([x, y], -1)])
    rows = [f32(4) for _ in range(3)]
    same(mod.of_lists(rows), [np.stack(rows), np.concatenate(rows), np.stack(rows, 1)])
    for empty in (mod.of_lists,):
        with pytest.raises(ValueError):
            empty([])
    same(mod.numbers(1.5, 2.5), [np.array([1.5, 2.5], np.float32), np.array([1.5, 2.5, 4], np.float32)])
    a = f32(2, 6)
    same(mod.splits(a), torch.split(t(a), 2, 1))
    a = f32(3, 4)
    x = t(a)
    same(mod.padded(a), [F.pad(x, (1, 2)), F.pad(x, (0, 1, 1, 1), value=9), F.pad(x, (-1, 1))])
    same(
        mod.made(3),
        [
            np.zeros((3, 4), np.float32),
            np.ones(3),
            np.arange(3),
            torch.arange(0, 1, 0.25),
            np.arange(5),
            np.arange(1, 10, 3),
            np.eye(3, dtype=np.float32),
            np.full((2, 3), 7),
        ],
    )


def test_searches(mod):
    i = np.array([1, 3, 0])
    same(mod.hot(i), [F.one_hot(t(i), 4), F.one_hot(t(i), 4).float()])
    with pytest.raises(IndexError):
        mod.hot(np.array([4]))
    a = f32(4, 5)
    x = t(a)
    values, places = x.topk(2)
    same(
        mod.searches(a),
        [values, places, x.sort().values, x.sort(0, descending=True).values, x.argsort(), x.sort(0).values],
    )
    with pytest.raises(ValueError):
        mod.searches(f32(3, 1))
    i = np.array([2, 0, -1])
    same(mod.picks(a, i), [a[i], a[:, i], a[1], a[:, -1], a[0, 1], a[a > 0], a[a.sum(1) > 0]])
    with pytest.raises(IndexError):
        mod.picks(a, np.array([9]))
    same(mod.slices(a), [a[1:], a[:, :2], a[::2, 1::2], a[:, ::-1], a[1, 1:]])


def test_updates(mod):
    a, v, c = f32(3, 4), f32(4), f32(3)
    before = a.copy()
    want = [a.copy() for _ in range(9)]
    want[0][0] = v
    want[1][:, 1] = c
    want[2][1:, 0] += 10
    want[3][:] = 0
    want[4][a > 0] = 5
    want[5][a > 0] *= 2
    want[6][1, 2] -= 1
    want[7][[0, 1]] = a[[1, 0]]
    want[8] *= v
    same(mod.updates(a, v, c), want)
    np.testing.assert_array_equal(a, before)
    with pytest.raises(ValueError):
        mod.updates(a, f32(3), c)


def test_contractions(mod):
    a, b, v, w = f32(3, 5), f32(5, 4), f32(5), f32(4, 5)
    same(mod.products_of(a, b, v, w), [a @ b, a @ v, v @ b, v @ v, a @ w.T, a.T @ a], 1e-5)
    for lead in ((), (2,), (2, 3)):
        x = f32(*lead, 3, 5)
        same(mod.products(x, b, v), [x @ b, x @ v], 1e-5)
    x, y = f32(2, 3, 5), f32(2, 5, 4)
    same(mod.batched(x, y), [x @ y, x @ y], 1e-5)
    with pytest.raises(ValueError):
        mod.batched(x, f32(1, 5, 4))
    c, z = f32(4, 3), f32(2, 3, 5)
    e = np.einsum
    same(
        mod.contracted(a, b, c, z),
        [
            a @ b,
            e("ij,jk,ki->", a, b, c),
            e("ij,jk->ijk", a, b),
            e("pij,ij->pj", z, a),
            e("pij->ip", z),
            e("ij,jk->ikj", a, b),
            e("ij,ij", a, a),
        ],
        1e-5,
    )
    for m, k, n in ((1, 300, 200), (64, 64, 64), (33, 70, 129), (200, 100, 7)):
        x, y = f32(m, k), f32(k, n)
        same([mod.products_of(x, y, f32(k), f32(n, k))[0]], [x @ y], 1e-4)


def test_layers(mod):
    w, b = f32(6), f32(6)
    for lead in ((), (4,), (2, 3)):
        a = f32(*lead, 6)
        x = t(a)
        rms = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * t(w)
        same(mod.norms(a, w, b), [F.layer_norm(x, (6,), t(w), t(b)), F.layer_norm(x, (6,), t(w), t(b), 0.1), rms], 1e-5)
    x, w, g, b = f32(2, 4, 7, 6), f32(6, 4, 3, 2), f32(6, 2, 3, 3), f32(6)
    same(
        mod.convolution(x, w, g, b),
        [
            F.conv2d(t(x), t(w), t(b)),
            F.conv2d(t(x), t(w), t(b), stride=2, padding=(1, 0), dilation=(1, 2)),
            F.conv2d(t(x), t(g), padding=1, groups=2),
        ],
        1e-5,
    )
    x, w, b = f32(2, 3, 9), f32(5, 3, 4), f32(5)
    same(mod.convolution1(x, w, b), [F.conv1d(t(x), t(w), t(b)), F.conv1d(t(x), t(w), t(b), stride=2, padding=2)], 1e-5)
    x = f32(2, 3, 7, 6)
    same(mod.pools(x), [F.max_pool2d(t(x), 2), F.max_pool2d(t(x), 3, 1, 1), F.avg_pool2d(t(x), (2, 3), padding=(1, 1))])
    q, k, v = f32(2, 4, 8), f32(2, 4, 8), f32(2, 4, 8)
    mask = np.tril(np.ones((4, 4), bool))
    attend = F.scaled_dot_product_attention
    same(
        mod.attend(q, k, v, mask),
        [
            attend(t(q), t(k), t(v)),
            attend(t(q), t(k), t(v), is_causal=True),
            attend(t(q), t(k), t(v), attn_mask=t(mask)),
        ],
        1e-5,
    )
    x, y, z = f32(4, 4), np.array([0, 2, 1, 3]), f32(4, 4)
    same(
        mod.losses(x, y, z),
        [F.cross_entropy(t(x), t(y)), F.cross_entropy(t(x)[0], t(y)[0]), F.mse_loss(t(x), t(z)), x[y]],
    )
    with pytest.raises(IndexError):
        mod.losses(x, np.array([0, 4, 1, 3]), z)
    with pytest.raises(IndexError):
        mod.losses(x, np.array([0, -1, 1, 3]), z)


def test_element_types(mod):
    a, b = f32(9).astype(np.float16), torch.randn(9).bfloat16()
    got = mod.halves(t(a), b)
    x = t(a)
    for g, w in zip(got, [x * 2 + 1, b.exp(), x.sum(), b.max()], strict=True):
        np.testing.assert_allclose(float(torch.as_tensor(g).float().sum()), float(w.float().sum()), rtol=1e-2)
    a = f32(2, 3)
    want = (a[:, 0] * a.sum(1)).sum() + a.sum()
    assert mod.loops(a) == pytest.approx(want, rel=1e-5)
    assert mod.equals(a[0], a[0]) and not mod.equals(a[0], a[1]) and not mod.equals(a[0], f32(2))
