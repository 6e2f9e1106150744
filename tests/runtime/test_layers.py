"""Module `nn` beside torch: the same `state_dict`, the same values, the same derivatives, for each signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import RuntimeFault

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(scope="module")
def mod():
    return hybridc.load(Path(__file__).parent / "programs" / "layers.hyb")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)


def rand(*shape):
    return torch.randn(*shape)


def same(mod, name, theirs, *inputs, call=None, keywords=None, **config):
    """Our layer with the weights of theirs gives its values and its derivatives; ours, for more questions."""
    args = config.pop("args")
    ours = getattr(mod, name)(*args, **config)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn_like(p) * 0.5)
    ours.load_state_dict(theirs.state_dict())
    assert [k for k, _ in theirs.named_parameters()] == [p.path for p in ours._model.params]
    theirs.eval()
    xs = [x.clone().requires_grad_() for x in inputs]
    want = (call or (lambda *a: theirs(*a)))(*xs)
    close(ours(*inputs, **(keywords or {})), want)
    net = ours.to_torch()
    ys = [x.clone().requires_grad_() for x in inputs]
    found = net(*ys, **(keywords or {}))
    close(found, want)
    weight = torch.randn_like(want)
    (want * weight).sum().backward()
    (found * weight).sum().backward()
    for mine, their in zip([*ys, *net.parameters()], [*xs, *theirs.parameters()], strict=True):
        close(mine.grad, their.grad)
    return ours


def close(found, want):
    np.testing.assert_allclose(torch.as_tensor(found).detach().numpy(), want.detach().numpy(), rtol=2e-4, atol=2e-5)


def test_linear(mod):
    x = rand(2, 3)
    same(mod, "Linear", nn.Linear(3, 4), x, args=(3, 4))
    ours = same(mod, "Linear", nn.Linear(3, 4, bias=False), x, args=(3, 4), bias=False)
    assert list(ours.state_dict()) == ["weight"] and ours(x[0].numpy()).shape == (4,)
    with pytest.raises(KeyError, match="unknown bias"):
        ours.load_state_dict(nn.Linear(3, 4).state_dict())


def test_norms(mod):
    x = rand(2, 3, 4)
    same(mod, "LayerNorm", nn.LayerNorm(4), x, args=(4,))
    same(mod, "LayerNorm", nn.LayerNorm(4, eps=0.1, bias=False), x, args=(4, 0.1), bias=False)
    same(mod, "LayerNorm", nn.LayerNorm(4, elementwise_affine=False), x, args=(4,), elementwise_affine=False)
    same(mod, "RMSNorm", nn.RMSNorm(4, eps=1e-5), x, args=(4,))
    same(mod, "RMSNorm", nn.RMSNorm(4, eps=0.1, elementwise_affine=False), x, args=(4, 0.1), elementwise_affine=False)


@pytest.mark.parametrize("config", [
    {}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 3, "bias": False}, {"groups": 2, "stride": 3},
    {"padding": "same"}, {"padding": "valid"}], ids=str)
def test_conv1d(mod, config):
    same(mod, "Conv1d", nn.Conv1d(4, 6, 3, **config), rand(2, 4, 9), args=(4, 6, 3), **config)


@pytest.mark.parametrize(("kernel", "config"), [
    (3, {}), ((2, 3), {"stride": (2, 1), "padding": (0, 2)}), ((3, 1), {"dilation": (2, 1), "bias": False}),
    (2, {"groups": 2, "padding": 1, "dilation": 2}), ((1, 4), {"groups": 4, "stride": 2}),
    ((2, 4), {"padding": "same", "dilation": (3, 1)})], ids=str)
def test_conv2d(mod, kernel, config):
    same(mod, "Conv2d", nn.Conv2d(4, 8, kernel, **config), rand(2, 4, 7, 6), args=(4, 8, kernel), **config)


def test_what_padding_may_be(mod):
    with pytest.raises(ValueError, match=r"""padding: expected one of \(int, int\), "same", "valid", found 'full'"""):
        mod.Conv2d(4, 8, 3, padding="full")
    with pytest.raises(ValueError, match="Conv1d.. argument kernel_size: expected int, found str"):
        mod.Conv1d(4, 6, "same")
    with pytest.raises(ValueError, match='padding "same" is for a stride of 1'):
        mod.Conv1d(4, 6, 3, 2, "same")(np.zeros((1, 4, 9), np.float32))


def test_groups_that_do_not_divide(mod):
    with pytest.raises(ValueError, match="groups"):
        mod.Conv1d(4, 6, 3, groups=4)(np.zeros((1, 4, 9), np.float32))


@pytest.mark.parametrize("bias", [True, False])
def test_cells(mod, bias):
    x, h, c = rand(2, 3), rand(2, 4), rand(2, 4)
    same(mod, "GRUCell", nn.GRUCell(3, 4, bias=bias), x, h, args=(3, 4, bias))
    theirs = nn.LSTMCell(3, 4, bias=bias)
    ours = mod.LSTMCell(3, 4, bias=bias)
    ours.load_state_dict(theirs.state_dict())
    for found, want in zip(ours(x, (h, c)), theirs(x, (h, c)), strict=True):
        close(found, want)


def test_cells_begin_with_zeros(mod):
    x = rand(2, 3)
    same(mod, "GRUCell", nn.GRUCell(3, 4), x, args=(3, 4))
    theirs, ours = nn.LSTMCell(3, 4), mod.LSTMCell(3, 4)
    ours.load_state_dict(theirs.state_dict())
    for found, want in zip(ours(x), theirs(x), strict=True):
        close(found, want)
    for found, want in zip(ours(x[0]), theirs(x[0]), strict=True):
        close(found, want)


def test_layers_of_nothing(mod):
    """Without inputs there is the bias alone, zero as in torch."""
    m = mod.Linear(0, 2)
    assert m(torch.zeros(3, 0)).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("bias", [True, False])
def test_attention(mod, bias):
    theirs = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    x, y, z = rand(2, 5, 8), rand(2, 6, 8), rand(2, 6, 8)
    config = {"args": (8, 2), "bias": bias}
    ours = same(mod, "Attention", theirs, x, call=lambda x: theirs(x, x, x)[0], **config)
    hidden = torch.ones(5, 5).triu(1).bool()
    mask = torch.rand(5, 5) < 0.6
    mask.fill_diagonal_(True)
    for keywords, blocked in (({"causal": True}, hidden), ({"mask": mask}, ~mask),
                              ({"mask": mask, "causal": True}, ~mask | hidden)):
        close(ours(x, **keywords), theirs(x, x, x, attn_mask=blocked)[0])
    close(ours(x, y, z), theirs(x, y, z)[0])
    close(ours(x, y), theirs(x, y, y)[0])
    close(ours(x, value=x * 2), theirs(x, x, x * 2)[0])
    wide = torch.rand(5, 6) < 0.5
    wide[:, 0] = True
    close(ours(x, y, z, mask=wide), theirs(x, y, z, attn_mask=~wide)[0])
    close(ours(x[0], y[0]), theirs(x[:1], y[:1], y[:1])[0][0])
    with pytest.raises(ValueError, match="dimension 1 of .* is 6, but T is 5"):
        ours(x, mask=wide)


def test_padding_is_not_attended_to(mod):
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    ours = mod.Attention(8, 2)
    ours.load_state_dict(theirs.state_dict())
    x, y = rand(3, 5, 8), rand(3, 4, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = padding[2, 1] = True
    close(ours(x, key_padding_mask=padding), theirs(x, x, x, key_padding_mask=padding)[0])
    close(ours(x[0], key_padding_mask=padding[0]), theirs(x[:1], x[:1], x[:1], key_padding_mask=padding[:1])[0][0])
    seen = torch.rand(5, 4) < 0.7
    seen[:, 0] = True
    short = torch.zeros(3, 4, dtype=torch.bool)
    short[1, 2:] = True
    want = theirs(x, y, y, attn_mask=~seen, key_padding_mask=short)[0]
    close(ours(x, y, mask=seen, key_padding_mask=short), want)
    close(ours.train(x, hybridc.rng(0), y, mask=seen, key_padding_mask=short), want)
    encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True).eval()
    block = mod.TransformerBlock(8, 2, 12)
    block.load_state_dict(encoder.state_dict())
    close(block(x, src_key_padding_mask=padding), encoder(x, src_key_padding_mask=padding))


def test_attention_in_training(mod):
    x, y = rand(2, 5, 8), rand(2, 6, 8)
    mask = torch.rand(5, 6) < 0.6
    mask[:, 0] = True
    still = mod.Attention(8, 2)
    close(still.train(x, hybridc.rng(1), causal=True), torch.as_tensor(still(x, causal=True)))
    close(still.train(x, hybridc.rng(1), y, mask=mask), torch.as_tensor(still(x, y, mask=mask)))
    dropping = mod.Attention(8, 2, dropout=0.5)
    rows = torch.stack([torch.as_tensor(dropping.train(x, hybridc.rng(i))) for i in range(1500)])
    assert rows.std(0).max() > 0.05
    np.testing.assert_allclose(rows.mean(0).numpy(), torch.as_tensor(dropping(x)).numpy(), atol=0.1)


@pytest.mark.parametrize(("config", "norm_first"), [({}, False), ({"activation": "gelu", "bias": False}, True)])
def test_transformer_block(mod, config, norm_first):
    theirs = nn.TransformerEncoderLayer(8, 2, 12, norm_first=norm_first, batch_first=True, **config)
    x = rand(2, 5, 8)
    hidden = torch.ones(5, 5).triu(1).bool()
    ours = same(mod, "TransformerBlock", theirs, x, args=(8, 2, 12), norm_first=norm_first, **config)
    close(ours(x, causal=True), theirs(x, src_mask=hidden))
    close(ours(x, mask=~hidden), theirs(x, src_mask=hidden))
    a, b = (torch.as_tensor(ours.train(x, hybridc.rng(seed))) for seed in (1, 2))
    assert (a != b).any() and (a - ours(x)).abs().max() > 0.01


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5)], ids=str)
def test_batch_norm_in_training(mod, shape):
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](3, momentum=0.3)
    ours = mod.BatchNorm(3, momentum=0.3)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn_like(p))
    ours.load_state_dict(theirs.state_dict())
    for _ in range(2):
        x = rand(*shape) * 2 + 1
        close(ours.train(x), theirs(x))
    theirs.eval()
    close(ours(x), theirs(x))
    state = ours.state_dict()
    for name, want in theirs.state_dict().items():
        close(torch.as_tensor(state[name]), want)
    with pytest.raises(RuntimeFault, match="more than one value"):
        ours.train(torch.zeros(1, 3))


def test_batch_norm_without(mod):
    x = rand(4, 3, 5)
    same(mod, "BatchNorm", nn.BatchNorm1d(3, affine=False), x, args=(3,), affine=False)
    same(mod, "BatchNorm", nn.BatchNorm1d(3, track_running_stats=False), x, args=(3,), track_running_stats=False)


def test_dropout(mod):
    x = torch.ones(10000)
    d = mod.Dropout(0.25)
    assert torch.equal(torch.as_tensor(d(x)), x)
    y = torch.as_tensor(d.train(x, hybridc.rng(3)))
    assert set(y.tolist()) == {0.0, float(torch.tensor(1 / 0.75))} and abs((y == 0).float().mean() - 0.25) < 0.02


def test_embedding(mod):
    theirs = nn.Embedding(5, 3)
    ours = mod.Embedding(5, 3)
    ours.load_state_dict(theirs.state_dict())
    index = torch.tensor([[0, 4], [2, 2]])
    close(ours(index), theirs(index))
    for wrong in (5, -1):
        with pytest.raises(IndexError):
            ours(torch.tensor([wrong]))


def test_padding_does_not_learn(mod):
    assert (mod.Embedding(5, 3, padding_idx=2).state_dict()["weight"] == 0).all(1).tolist() == [0, 0, 1, 0, 0]
    index = torch.tensor([[0, 2], [2, 4]])
    theirs = nn.Embedding(5, 3, padding_idx=2)
    ours = mod.Embedding(5, 3, padding_idx=2)
    ours.load_state_dict({"weight": rand(5, 3)})
    net = ours.to_torch()
    theirs.load_state_dict(net.state_dict())
    close(ours(index), theirs(index))
    for m in (net, theirs):
        m(index).pow(2).sum().backward()
    close(net.weight.grad, theirs.weight.grad)


def test_first_values(mod):
    """As torch's: their bounds and spread, not the numbers."""
    bounds = {"Linear": ((50, 60), 50), "Conv1d": ((10, 60, 5), 50), "Conv2d": ((10, 60, (5, 2)), 100),
              "LSTMCell": ((50, 100), 100)}
    for name, (args, fan_in) in bounds.items():
        for array in getattr(mod, name)(*args, seed=1).state_dict().values():
            assert abs(array).max() <= fan_in ** -0.5 and array.std() == pytest.approx((3 * fan_in) ** -0.5, rel=0.2)
    grouped = mod.Conv2d(8, 60, 3, groups=4).state_dict()["weight"]
    assert grouped.shape == (60, 2, 3, 3) and abs(grouped).max() == pytest.approx(18 ** -0.5, rel=0.02)
    attention = mod.Attention(32, 4).state_dict()
    assert abs(attention["in_proj_weight"]).max() == pytest.approx((6 / 128) ** 0.5, rel=0.01)
    assert not attention["in_proj_bias"].any() and not attention["out_proj.bias"].any()
