"""Products that turns of a loop make of their own rows are one product before it (passes/ahead.py), where that changes
nothing; the numbers are those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import hybridc
from hybridc import driver
from hybridc.passes import ahead
from tests.core.test_passes import PASSES, after, same_text

PASSES["ahead"] = lambda program: ahead.run(program, strips=True)

LSTM = """
from nn import LSTMCell

model Sequence(inputs: int, size: int):
    let cell = LSTMCell(inputs, size)

    fn forward(xs: f32[T, inputs]) -> f32[size]:
        var state: (f32[size], f32[size]) = (zeros(), zeros())
        for x in xs:
            state = self.cell(x, state)
        return state[0]

    fn batch(xs: f32[T, B, inputs]) -> f32[B, size]:
        var state: (f32[B, size], f32[B, size]) = (zeros(B, size), zeros(B, size))
        for t in range(T):
            state = self.cell(xs[t], state)
        return state[0]

    fn one(x: f32[inputs]) -> f32[size]:
        return self.cell(x, (zeros(), zeros()))[0]

    fn loss(xs: f32[T, inputs]) -> f32:
        return sum(self(xs) * self(xs))

    fn batch_loss(xs: f32[T, B, inputs]) -> f32:
        return sum(self.batch(xs) * self.batch(xs))

export Sequence(5, 7)
"""


def test_a_recurrent_network(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "sequence.hyb"
    path.write_text(LSTM)
    mod = hybridc.load(str(path))
    m = mod.Sequence(5, 7, seed=3)
    net = torch.nn.LSTM(5, 7)
    with torch.no_grad():
        for name, value in m.state_dict().items():
            getattr(net, name.removeprefix("cell.") + "_l0").copy_(torch.from_numpy(value))
    random = np.random.default_rng(0)
    for shape in ((6, 5), (1, 5), (6, 3, 5)):
        x = random.standard_normal(shape, dtype=np.float32)
        given = torch.from_numpy(x).requires_grad_()
        want = net(given)[0][-1]
        got = m(x) if len(shape) == 2 else m.batch(x)
        np.testing.assert_allclose(got, want.detach().numpy(), atol=1e-5)
        net.zero_grad()
        (want * want).sum().backward()
        _, g = m.value_and_grad("loss" if len(shape) == 2 else "batch_loss", x)
        wanted = np.concatenate([p.grad.numpy().ravel() for p in net.parameters()])
        np.testing.assert_allclose(g, wanted, atol=2e-5)
        if shape == (1, 5):
            np.testing.assert_allclose(m.one(x[0]), got, atol=1e-6)
    assert m(np.zeros((0, 5), np.float32)).tolist() == [0] * 7


def test_a_cell_that_is_called_elsewhere_too(tmp_path) -> None:
    """It stands in the loop that gives it its rows: the input half is one product before it."""
    path = tmp_path / "sequence.hyb"
    path.write_text(LSTM)
    core = driver.emit(str(path), "core")
    forward = core[core.index("fn `Sequence[5, 7].forward`") :]
    assert "matmul" in forward[: forward.index("loop")]


ROWS = """
fn f(x%1: f32[?, 4], w%2: f32[3, 4]) -> (f32[3]) {
  n%3: int = dim[axis=0](x%1)
  z%4: f32[3] = broadcast[axes=(none,)](f32(0.0), 3)
  r%5: f32[3] = loop 1 (s%6: f32[3] = z%4, i%7: int = 0) {
    t%8: bool = lt(i%7, n%3)
    if t%8 {
      yield
    } else {
      exit 1 s%6
    }
    row%9: f32[4] = index[kinds=("i", "",)](x%1, i%7)
    line%10: f32[1, 4] = reshape(row%9, 1, 4)
    p%11: f32[1, 3] = matmul[ta=false, tb=true](line%10, w%2)
    q%12: f32[3] = reshape(p%11, 3)
    a%13: f32[3] = map[axes=((0,), (0,),), `fn`="add"](s%6, q%12)
    j%14: int = add(i%7, 1)
    yield a%13, j%14
  }
  yield r%5
}
"""


def test_a_function_goes_where_a_loop_gives_it_its_rows() -> None:
    """And stays apart elsewhere, as do functions that multiply nothing."""
    long = "".join(f"""
  m%{i + 1}: f32[3] = map[axes=((0,),), `fn`="tanh"](m%{i})""" for i in range(50, 100))
    text = ROWS.replace("""    line%10: f32[1, 4] = reshape(row%9, 1, 4)
    p%11: f32[1, 3] = matmul[ta=false, tb=true](line%10, w%2)
    q%12: f32[3] = reshape(p%11, 3)
""", "    q%12: f32[3] = call g(row%9, w%2)\n").replace("  yield r%5", "  e%30: f32[3] = call g(y%31, w%2)\n  yield r%5, e%30")
    text = text.replace(") -> (f32[3])", ", y%31: f32[4]) -> (f32[3], f32[3])") + f"""
hidden fn g(x%1: f32[4], w%2: f32[3, 4]) -> (f32[3]) {{
  line%3: f32[1, 4] = reshape(x%1, 1, 4)
  p%4: f32[1, 3] = matmul[ta=false, tb=true](line%3, w%2)
  m%50: f32[3] = reshape(p%4, 3){long}
  yield m%100
}}
"""
    outside = text.replace("call g(row%9, w%2)", "call g(y%31, w%2)")
    none = text.replace("matmul[ta=false, tb=true](line%3, w%2)", "broadcast[axes=(none, none,)](f32(0.0), 1, 3)")
    for source, left in ((text, 0), (outside, 2), (none, 2)):
        assert after(source, "inline").count("call g") == left, source
    before = after(text, "inline", "ahead")
    assert "matmul" in before[: before.index("loop")]


def test_rows() -> None:
    got = after(ROWS, "ahead")
    same_text(got, """
fn f(x%1: f32[?, 4], w%2: f32[3, 4]) -> (f32[3]) {
  n%3: int = dim[axis=0](x%1)
  z%4: f32[3] = broadcast[axes=(none,)](f32(0.0), 3)
  %15: int = dim[axis=0](x%1)
  %16: f32[?, 3] = matmul[ta=false, tb=true](x%1, w%2)
  %17: int = mul(%15, 3)
  %18: f32[?] = reshape(%16, %17)
  r%5: f32[3] = loop 1 (s%6: f32[3] = z%4, i%7: int = 0) {
    t%8: bool = lt(i%7, n%3)
    if t%8 {
      yield
    } else {
      exit 1 s%6
    }
    %19: int = mul(i%7, 3)
    p%11: f32[1, 3] = tensor_view(%18, %19, 1, 3)
    q%12: f32[3] = reshape(p%11, 3)
    a%13: f32[3] = map[axes=((0,), (0,),), `fn`="add"](s%6, q%12)
    j%14: int = add(i%7, 1)
    yield a%13, j%14
  }
  yield r%5
}
""")


@pytest.mark.parametrize("change", [
    ("dim[axis=0](x%1)", "add(1, 2)"),  # other turns than there are rows
    ("w%2: f32[3, 4]", "w%2: f32[3, ?]"),  # sizes that may not fit
    ("i%7: int = 0)", "i%7: int = 1)"),
    ("(line%10, w%2)", "(line%10, v%20)"),  # another matrix at every turn
    ("yield a%13, j%14", "c%21: bool = lt(j%14, 3)\n    if c%21 {\n      yield\n    } else {\n      exit 1 a%13\n    }\n"
                         "    yield a%13, j%14"),  # rows that are never used
])
def test_what_stays(change: tuple[str, str]) -> None:
    text = ROWS.replace(*change)
    if "v%20" in text:
        text = text.replace("    p%11", '    v%20: f32[3, 4] = map[axes=((0, 1,),), `fn`="neg"](w%2)\n    p%11')
    same_text(after(text, "ahead"), text)


EARLY = """
model Net(d: int):
    param w: f32[d, d] = glorot()
    param u: f32[d, d] = glorot()

    fn loss(x: f32[T, d], end: int) -> f32:
        var h: f32[d] = zeros()
        var t = 0
        while t < T and t != end:
            h = tanh(self.w @ h + self.u @ x[t])
            t += 1
        return sum(h * h)

    fn by_rows(x: f32[T, d], end: int) -> f32:
        var h: f32[1, d] = zeros()
        for row in x:
            if h[0, 0] > 2.0:
                break
            h = tanh(h @ self.w.T + reshape(row, 1, d) @ self.u.T)
        return sum(h * h)

    fn all(x: f32[T, d], end: int) -> f32:
        var h: f32[d] = zeros()
        for t in range(T):
            h = tanh(self.w @ h + self.u @ x[t])
        return sum(h * h)

    fn first(x: f32[T, d], u: f32[d, d]) -> f32[d]:
        for t in range(T):
            let y = u @ x[t]
            if y[0] > 0.5:
                return y
        return zeros()

export Net(128)
"""


@pytest.mark.parametrize("method", ["loss", "by_rows", "all"])
def test_rows_of_a_loop_that_may_end(tmp_path, method: str) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "early.hyb"
    path.write_text(EARLY)
    m = hybridc.load(str(path)).Net(128, seed=1)
    w, u = (torch.tensor(m.state_dict()[n], requires_grad=True) for n in ("w", "u"))
    for turns, end in ((40, 40), (40, 13), (40, 4), (3, 40), (1, 1), (0, 0)):
        if method != "loss":
            end = turns
        x = np.random.default_rng(turns).standard_normal((turns, 128), dtype=np.float32)
        h = torch.zeros(128)
        for row in torch.from_numpy(x[:end]):
            h = torch.tanh(w @ h + u @ row)
        want = (h * h).sum()
        w.grad = u.grad = None
        value, g = m.value_and_grad(method, x, end)
        assert value == pytest.approx(float(want.detach()), abs=1e-4)
        if want.requires_grad:
            want.backward()
        wanted = [torch.zeros_like(p) if p.grad is None else p.grad for p in (w, u)]
        np.testing.assert_allclose(g, torch.cat([p.ravel() for p in wanted]).numpy(), atol=1e-3)


def test_strips(tmp_path) -> None:
    path = tmp_path / "early.hyb"
    path.write_text(EARLY)
    core = driver.emit(str(path), "core")

    def text(name: str) -> str:
        return core[core.index(f"fn `Net[128].{name}`") :].partition("\n}\n")[0]

    for name in ("loss", "by_rows", "first"):
        assert text(name).count("strip%") == 2, name  # as it begins, and as it stays
    before, loop = text("all").split(" = loop ")
    assert before.count("matmul") == 1 and loop.count("matmul") == 1


def test_a_row_that_is_not_come_to_traps_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "early.hyb"
    path.write_text(EARLY)
    x = np.zeros((3, 128), np.float32)
    x[0, 0], x[2] = 1, np.inf
    u = np.eye(128, dtype=np.float32)
    for trap in ("0", "1"):
        monkeypatch.setenv("HYB_TRAP_NAN", trap)
        m = hybridc.load(str(path)).Net(128, seed=1)
        assert m.first(x, u)[0] == 1
