"""Panels of weights that are kept beside them: never those of other values than the weights have, whoever writes them."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime.fastplan import KEPT, KEPT_MARK, KEPT_PLACE
from hybridc_runtime.holds import SHOWN
from hybridc_runtime.memory import word

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")
SOURCE = Path(__file__).parent / "programs" / "kept_panels.hyb"


@pytest.fixture(scope="module", params=["source", "cpu", "cpu:x86-64-v2"])
def mod(request, tmp_path_factory):
    """From source for this machine; an artifact for any; one whose vectors are short."""
    if request.param == "source":
        return hybridc.load(SOURCE)
    file = tmp_path_factory.mktemp("kept") / "kept_panels.hybx"
    file.write_bytes(driver.build(driver.check(str(SOURCE)), request.param).data)
    return hybridc.load(file)


def rows(n, of, kind=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((n, of)).astype(kind)


def wanted(m, x):
    """`plain`, by numpy."""
    return x @ m.state_dict()["w"].T


def holds(m, x):
    """`plain` by the fast way and the general one, with what was kept before and without."""
    want = wanted(m, x)
    near = 1e-6 * max(10, abs(want).max())  # large terms may cancel out
    for _ in range(3):
        np.testing.assert_allclose(m.plain(x), want, rtol=1e-4, atol=near)
        np.testing.assert_allclose(m.plain(x=x), want, rtol=1e-4, atol=near)


def kept(m):
    """How many matrices' panels are kept; -1 where there never will be."""
    mark = word(m._owned.leaves[0] + 8)
    if mark == SHOWN:
        return -1
    table = mark - KEPT_MARK
    return 0 if mark >= 0 else sum(word(table + KEPT + KEPT_PLACE * i + 24) != 0 for i in range(word(table)))


@pytest.mark.parametrize("shape, batch", [
    ((96, 80), 12), ((96, 80), 100), ((1100, 70), 13), ((1100, 70), 40), ((1100, 70), 200)])
def test_what_is_kept_gives_the_same_bits(mod, shape, batch):
    m = mod.Layer(*shape)
    x = rows(batch, shape[0])
    for method in (m, m.plain):
        first = method(x)
        for _ in range(4):
            assert (method(x) == first).all()
    assert kept(m) == 1
    holds(m, x)


def test_of_f64(mod):
    m, x = mod.Wide(72), rows(20, 72, np.float64)
    for _ in range(4):
        np.testing.assert_allclose(m(x), x @ m.state_dict()["w"].T + 1, rtol=1e-12)
    assert kept(m) == 1


def test_few_rows_keep_nothing(mod):
    m = mod.Layer(96, 80)
    for _ in range(4):
        m.plain(rows(11, 96))
    assert kept(m) == 0


def test_rows_that_do_not_begin_on_lines(mod):
    m, x = mod.Uneven(seed=3), rows(20, 101)
    w = m.state_dict()["w"]
    first = m(x[0])
    np.testing.assert_allclose(first, np.tanh(w @ x[0]), rtol=1e-4, atol=1e-5)
    for _ in range(4):
        assert (m(x[0]) == first).all()
    assert kept(m) == 1
    for _ in range(4):  # rows and panels of one matrix
        np.testing.assert_allclose(m.plain(x), x @ w.T, rtol=1e-4, atol=1e-5)
        assert (m(x[0]) == first).all()
    assert kept(m) == 2
    wanted = sum(np.tanh(w * 0.5**i @ x[1]) for i in range(4))
    np.testing.assert_allclose(m.changed(x[1], 3), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(m(x[0]), np.tanh(w / 8 @ x[0]), rtol=1e-4, atol=1e-5)
    m.load_state_dict({"w": w})
    for _ in range(4):
        assert (m(x[0]) == first).all()


def test_by_threads(mod, monkeypatch):
    torch = pytest.importorskip("torch")
    m, x = mod.Layer(1100, 70), rows(300, 1100)
    first = m.plain(x)
    before = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            for _ in range(3):
                assert (m.plain(x) == first).all() and np.allclose(m(x), np.tanh(first), atol=1e-6)
    finally:
        torch.set_num_threads(before)
    assert kept(m) == 1


def test_one_memory_as_two_matrices(mod):
    m, x, y = mod.Layer(96, 80), rows(16, 96), rows(16, 80)
    for _ in range(4):
        np.testing.assert_allclose(m.turned(y), y @ m.state_dict()["w"].reshape(96, 80).T, rtol=1e-4, atol=1e-5)
        holds(m, x)
    assert kept(m) == 1


# ---- who writes
@pytest.mark.parametrize("before", [0, 1, 4])  # calls
@pytest.mark.parametrize("how", ["numpy", "torch", "dlpack", "buffer"])
def test_python_writes_to_shown_memory(mod, before, how):
    pytest.importorskip("torch")
    m, x = mod.Layer(96, 80), rows(16, 96)
    for _ in range(before):
        m.plain(x)
    view = m.to_torch().w.detach().view(-1)
    holds(m, x)
    if how == "numpy":
        view.numpy()[5] = 100
    elif how == "dlpack":
        np.from_dlpack(view)[5] = 100
    elif how == "buffer":
        memoryview(view.numpy())[5] = 100
    else:
        view[5] = 100
    assert m.state_dict()["w"].reshape(-1)[5] == 100
    holds(m, x)
    view.mul_(3)
    del view
    holds(m, x)
    assert kept(m) == -1
    m.scale(0.5)  # new memory, which nobody was shown
    holds(m, x)
    assert kept(m) == 1


def test_an_optimiser_of_torch(mod):
    torch = pytest.importorskip("torch")
    m, x = mod.Layer(96, 80), rows(32, 96)
    holds(m, x)
    assert kept(m) == 1
    net = m.to_torch()
    other = torch.nn.Linear(96, 80)
    with torch.no_grad():
        other.weight.copy_(net.w)
        other.bias.copy_(net.b)
    steps = [torch.optim.SGD(n.parameters(), lr=0.1, momentum=0.9) for n in (net, other)]
    t = torch.tensor(x)
    for _ in range(5):
        losses = [(net(t) ** 2).sum(), (torch.tanh(other(t)) ** 2).sum()]
        for loss, step in zip(losses, steps, strict=True):
            step.zero_grad()
            loss.backward()
            step.step()
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
        holds(m, x)
    m.scale(2.0)
    holds(m, x)
    net(t)  # the module follows
    with torch.no_grad():
        net.w.mul_(0.25)
    holds(m, x)


def test_hyb_writes(mod):
    m, x = mod.Layer(96, 80), rows(16, 96)
    for n in range(8):
        for _ in range(n):
            holds(m, x)
        if n % 2:
            m.scale(0.5 + n)
        else:
            mod.scaled(m, 0.5 + n)
    holds(m, x)
    base = wanted(m, x)
    np.testing.assert_allclose(m.steps(x, 4, 0.5), base * (1 + 0.5 + 0.25 + 0.125 + 0.0625), rtol=1e-3, atol=1e-3)
    holds(m, x)


def test_hyb_writes_to_a_copy_of_its_own(mod):
    m, x = mod.Layer(96, 80), rows(16, 96)
    for _ in range(5):
        base = wanted(m, x)
        np.testing.assert_allclose(mod.trained(m, x, 2), base * 2.75, rtol=1e-3, atol=1e-4)
        holds(m, x)


def test_weights_are_replaced(mod, tmp_path):
    m, x = mod.Layer(96, 80), rows(16, 96)
    other = mod.Layer(96, 80, seed=5)
    other.save(tmp_path / "w.safetensors")
    holds(m, x)
    m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()})
    holds(m, x)
    m.load(tmp_path / "w.safetensors")
    holds(m, x)
    assert (wanted(m, x) == wanted(other, x)).all()


def test_copies_are_apart(mod):
    torch = pytest.importorskip("torch")
    m, x = mod.Layer(96, 80), rows(16, 96)
    holds(m, x)
    copies = [copy.copy(m), copy.deepcopy(m), pickle.loads(pickle.dumps(m))]
    for i, c in enumerate(copies):
        holds(c, x)
        c.scale(float(i))
        holds(c, x)
    holds(m, x)
    net = m.to_torch()  # memory of its own: the copies keep what they have
    holds(m, x)
    with torch.no_grad():
        net.w.fill_(1)
    later = copy.copy(m)
    holds(later, x)
    with torch.no_grad():
        net.w.fill_(2)
    for c, value in ((m, 2), (later, 1)):
        assert (c.state_dict()["w"] == value).all()
        holds(c, x)


def test_what_a_method_gives_is_no_view(mod):
    m, x = mod.Layer(96, 80), rows(16, 96)
    for _ in range(4):
        m.weights()[:] = 7
        holds(m, x)
    assert (m.state_dict()["w"] != 7).all()


def test_two_models_in_a_call(mod):
    a, b, x = mod.Layer(96, 80), mod.Layer(96, 80, seed=1), rows(16, 96)
    for n in range(6):
        np.testing.assert_allclose(mod.both(a, b, x), wanted(a, x) + wanted(b, x), rtol=1e-4, atol=1e-5)
        if n == 3:
            b.scale(3.0)
    assert kept(a) == kept(b) == 1


def test_threads_call_while_another_writes(mod):
    """Each result is that of some weights the model has had, never of a mixture."""
    m, x = mod.Layer(1100, 70), rows(24, 1100)
    base = m.plain(x)
    wrong, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            found = m.plain(x)
            factor = found[0, 0] / base[0, 0]
            if not np.allclose(found, base * np.float32(2.0 ** round(np.log2(factor))), rtol=1e-3, atol=1e-4):
                wrong.append(found)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for t in threads:
        t.start()
    for n in range(300):
        m.scale(2.0 if n % 2 else 0.5)
        for _ in range(n % 5):
            m.plain(x)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong


# ---- memory
def test_what_is_kept_ends_with_the_weights(mod):
    x = rows(16, 1100)

    def size():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def work(n):
        for i in range(n):
            m = mod.Layer(1100, 70, seed=i)
            for _ in range(3):
                m.plain(x)
            assert kept(m) == 1
            if i % 3 == 1:
                m.scale(2.0)
            elif i % 3 == 2:
                m.load_state_dict(m.state_dict())

    work(20)
    before = size()
    work(100)  # of 420 kB of panels each
    assert size() - before < 10 << 20
