"""What is unusual or wrong gives the same on the CPU and in interpreted GPU kernels: empty and single dimensions, arrays
that lie anyhow in memory, values that are no numbers, indices out of range, sizes beyond 32 bits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import hybridc
from hybridc import driver
from hybridc.triton.source import parameters

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")
UNARY = "exp log sqrt rsqrt abs sign floor round sin cos tanh sigmoid relu gelu silu softplus erf".split()
SOURCE = """\
fn elementwise(x: f32[*B], y: f32[*B]) -> f32[*B]:
    return x * y + 1.0

fn sums(x: f32[N, M]) -> (f32[N], f32[M], f32):
    return (sum(x, axis=1), sum(x, axis=0), sum(x))

fn largest(x: f32[N, M]) -> f32[N]:
    return max(x, axis=1)

fn product(x: f32[N, K], y: f32[K, M]) -> f32[N, M]:
    return relu(x @ y + 0.5)

fn soft(x: f32[N, M]) -> f32[N, M]:
    return softmax(x)

fn joined(x: f32[N, M], y: f32[N, L]) -> f32[N, M + L]:
    return concat(x, y, axis=1) * 2

fn ones(x: f32[N, 1], y: f32[1, M]) -> f32[N, M]:
    return x - y

fn gathered(x: f32[N, M], i: int[L]) -> f32[L, M]:
    return x[i]

fn put(x: f32[N], i: int[L]) -> f32[N]:
    var y = x
    y[i] += 1.0
    return y

fn scattered(x: f32[N, M], i: int[N, L], v: f32[N, L]) -> f32[N, M]:
    return scatter_add(x, 1, i, v)

fn picked(x: f32[N, M], i: int[N, L]) -> f32[N, L]:
    return gather(x, 1, i)

fn loss(x: f32[N, M], labels: int[N]) -> f32:
    return cross_entropy(x, labels)

fn words(t: f32[V, D], i: int[N]) -> f32[N, D]:
    return embedding(i, t)

fn reductions(x: f32[N, M]) -> (f32[N], f32[N], f32[N], f32[N], int[N], int[N]):
    return (max(x, axis=1), min(x, axis=1), prod(x, axis=1), mean(x, axis=1), argmax(x, axis=1), argmin(x, axis=1))

fn pairs(x: f32[N], y: f32[N]) -> (f32[N], f32[N], f32[N], f32[N]):
    return (minimum(x, y), maximum(x, y), x / y, where(x < y, x, y))

fn every(x: f32[N]) -> f32[UNARY, N]:
    return stack([LIST])
"""


@pytest.fixture(scope="module")
def mod(device: str, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("bad") / "p.hyb"
    text = SOURCE.replace("UNARY", str(len(UNARY))).replace("LIST", ", ".join(f"{f}(x)" for f in UNARY))
    path.write_text(text)
    return hybridc.load(path, device=device)


def f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_empty_dimensions(mod) -> None:
    assert mod.elementwise(f32(0, 3), f32(0, 3)).shape == (0, 3)
    for got, want in zip(mod.sums(f32(0, 3)), (np.zeros(0), np.zeros(3), 0.0), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(mod.sums(f32(2, 0))[0], np.zeros(2))
    np.testing.assert_array_equal(mod.product(f32(2, 0), f32(0, 3)), np.full((2, 3), 0.5))
    assert mod.product(f32(0, 2), f32(2, 3)).shape == (0, 3) and mod.soft(f32(3, 0)).shape == (3, 0)
    x = f32(2, 3)
    np.testing.assert_array_equal(mod.joined(x, f32(2, 0)), x * 2)
    assert mod.gathered(x, np.zeros(0, np.int64)).shape == (0, 3)
    np.testing.assert_array_equal(mod.put(f32(3), np.zeros(0, np.int64)), f32(3))
    with pytest.raises(ValueError, match="max of nothing|max of no|empty"):
        mod.largest(f32(2, 0))
    assert mod.largest(f32(2, 1)).shape == (2,)


def test_dimension_one(mod) -> None:
    x, y = f32(3, 1), f32(1, 4)
    np.testing.assert_array_equal(mod.ones(x, y), x - y)
    np.testing.assert_array_equal(mod.ones(x[:1], y[:, :1]), x[:1] - y[:, :1])
    np.testing.assert_allclose(mod.product(f32(1, 1), f32(1, 1)), np.maximum(f32(1, 1) ** 2 + 0.5, 0), rtol=1e-6)
    np.testing.assert_array_equal(mod.soft(f32(3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError):
        mod.elementwise(f32(3, 1), f32(3, 4))  # a named dimension does not broadcast


def test_arrays_that_lie_anyhow(mod) -> None:
    x = f32(6, 8)
    raw = np.zeros(6 * 8 * 4 + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    misaligned = raw[1:].view(np.float32).reshape(6, 8)
    for given in (x[::2, ::-1], x.T, np.asfortranarray(x), x[1:5, 3:6], misaligned, np.broadcast_to(x[:1], (4, 8))):
        np.testing.assert_allclose(mod.elementwise(given, given), given * given + 1, rtol=1e-6)
        np.testing.assert_allclose(mod.sums(given)[1], given.sum(0), rtol=1e-4, atol=1e-5)
    t = torch.tensor(x)
    np.testing.assert_allclose(mod.elementwise(t.T[1:], t.T[1:]), (t.T * t.T + 1)[1:], rtol=1e-6)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 1e-40, 88.0, -104.0, 3e38], np.float32)


def test_values_that_are_no_numbers(mod) -> None:
    x = torch.tensor(SPECIAL)
    f = torch.nn.functional
    torchs = {n: getattr(torch, n, None) or getattr(f, n) for n in UNARY}
    # torch's vectors make gelu(inf) a nan and gelu(3e38) infinite.
    torchs["gelu"] = lambda x: (x.double() * 0.5 * (1 + torch.erf(x.double() * 0.5**0.5))).float()
    torchs |= {"silu": f.silu, "softplus": f.softplus, "relu": f.relu}
    for name, got in zip(UNARY, mod.every(SPECIAL), strict=True):
        if name in ("sin", "cos"):
            got, want = got[:-1], torchs[name](x)[:-1]  # 3e38 has no exact place on the circle
        else:
            want = torchs[name](x)
        np.testing.assert_allclose(got, want.numpy(), rtol=2e-5, atol=1e-37, err_msg=name)


def test_pairs_and_reductions_of_what_is_no_number(mod) -> None:
    x, y = (torch.tensor(np.ascontiguousarray(a)) for a in np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1))
    wanted = torch.minimum(x, y), torch.maximum(x, y), x / y, torch.where(x < y, x, y)
    for got, want in zip(mod.pairs(x.numpy(), y.numpy()), wanted, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-6)
    rows = torch.tensor(np.stack([np.roll(SPECIAL, i)[:4] for i in range(len(SPECIAL))]))
    wanted = rows.amax(1), rows.amin(1), rows.prod(1), rows.mean(1), rows.argmax(1), rows.argmin(1)
    for i, (got, want) in enumerate(zip(mod.reductions(rows.numpy()), wanted, strict=True)):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-6, err_msg=str(i))


@pytest.mark.parametrize("name, args, index, length", [
    ("gathered", (f32(3, 2), [0, 3]), 3, 3), ("gathered", (f32(3, 2), [-4, 0]), -4, 3), ("put", (f32(3), [0, 7]), 7, 3),
    ("scattered", (f32(2, 3), [[0, 1], [2, 3]], f32(2, 2)), 3, 3), ("picked", (f32(2, 3), [[0], [-1]]), -1, 3),
    ("loss", (f32(2, 3), [0, 3]), 3, 3), ("words", (f32(4, 2), [1, 9]), 9, 4),
])  # fmt: skip
def test_an_index_out_of_range(mod, name: str, args: tuple, index: int, length: int) -> None:
    given = [np.array(a, np.int64) if isinstance(a, list) else a for a in args]
    with pytest.raises(IndexError, match=f"{index}.* (out of range|length).*{length}") as caught:
        getattr(mod, name)(*given)
    assert isinstance(caught.value, hybridc.RuntimeFault) and caught.value.frames
    np.testing.assert_array_equal(mod.put(np.zeros(2, np.float32), np.array([1, 1, -1])), [0, 3])  # usable as before


def test_places_are_counted_in_64_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_PLACE", "all")
    (tmp_path / "p.hyb").write_text(SOURCE.replace("UNARY", "1").replace("LIST", "exp(x)"))
    source = driver.emit(str(tmp_path / "p.hyb"), "triton")
    assert source.count("tl.program_id(0)") > 15
    assert not re.findall(r"tl\.program_id\(0\)(?!\.to\(tl\.int64\))", source)
    for launch in driver.kernels_of(str(tmp_path / "p.hyb")).launches:
        assert {t for _, kind, t in parameters(launch) if kind == "size"} <= {"i64"}
