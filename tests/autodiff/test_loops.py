"""What loops keep for their reverse parts: memory within a stated size, products made once, and what Core shows of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from differences import slope
from written_out import derived

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.ir import F64, BufferT, Loop, Op
from hybridc.core.walk import statements

LONG = """
fn known(a: f64, n: int) -> f64:
    var x = a
    var t: f64 = 0
    for k in range(n):
        x = 0.5 * (x + a / x) + 0.001 * sin(x)
        t += x * x
    return t

fn unknown(a: f64, n: int) -> f64:
    var x = a
    var t: f64 = 0
    while true:
        x = 0.5 * (x + a / x) + 0.001 * sin(x)
        t += x * x
        n_left = n_left - 1
        if n_left == 0:
            return t

fn states(a: f64[200], n: int) -> f64:
    var x = a
    for i in range(n):
        x = sin(x * a) + x * 0.5
    return sum(x)

fn printing(a: f64, n: int) -> f64:
    var x = a
    for i in range(n):
        print(i)
        x = x * a
    return x

fn d_known(a: f64, n: int) -> (f64, f64):
    return value_and_grad(known)(a, n)

fn d_unknown(a: f64, n: int) -> (f64, f64):
    return value_and_grad(unknown)(a, n)

fn d_states(a: f64[200], n: int) -> (f64, f64[200]):
    return value_and_grad(states)(a, n)

fn d_printing(a: f64, n: int) -> f64:
    return grad(printing)(a, n)
""".replace("    var t: f64 = 0\n    while", "    var t: f64 = 0\n    var n_left = n\n    while")
MEASURE = r"""
import re, sys
import numpy as np
import hybridc

def peak():  # KiB, of this process alone
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])

m = hybridc.load(sys.argv[1])
a = np.linspace(0.1, 1.0, 200)
calls = {"known": (2.0, 400_000), "unknown": (2.0, 400_000), "states": (a, 8_000)}
name = sys.argv[2]
f = getattr(m, "d_" + name)
f(calls[name][0], 10)
before = peak()
value, slope = f(*calls[name])
print((peak() - before) / 1024, repr(float(value)), repr(float(np.sum(slope))))
"""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("long") / "long.hyb"
    file.write_text(LONG)
    return file


def measured(file: Path, name: str, **env: str) -> tuple[float, float, float]:
    """How many MiB more a process of its own needs for a derivative; the value; the sum of the derivative. It finds the
    program compiled: compiling takes more memory than what is measured."""
    patch = pytest.MonkeyPatch()
    for key, text in env.items():
        patch.setenv(key, text)
    hybridc.load(file)
    patch.undo()
    done = subprocess.run([sys.executable, "-c", MEASURE, str(file), name], env={**os.environ, **env}, text=True,
                          capture_output=True, check=True)
    grown, value, slope = map(float, done.stdout.split())
    return grown, value, slope


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("name", ["known", "unknown", "states"])
def test_a_tape_of_a_stated_size(long: Path, name: str) -> None:
    """A record is 16 to 32 bytes of the scalar loops, 3 200 of the one over vectors."""
    whole, value, slope = measured(long, name)
    small, same, alike = measured(long, name, HYB_TAPE="1000000")
    assert whole > 6
    assert small < 4
    assert same == value
    assert alike == pytest.approx(slope, rel=1e-9)


def test_few_turns_of_every_kind(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers of turns around the borders of segments."""
    plain = hybridc.load(long)
    monkeypatch.setenv("HYB_TAPE", "1")
    kept = hybridc.load(long)
    for n in range(1, 12):
        assert kept.d_known(2.0, n) == pytest.approx(plain.d_known(2.0, n), rel=1e-12)
        assert kept.d_unknown(2.0, n) == pytest.approx(plain.d_unknown(2.0, n), rel=1e-12)
    assert kept.d_known(2.0, 0) == (0, 0)


def test_what_prints_is_done_once(long: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HYB_TAPE", "1")
    assert hybridc.load(long).d_printing(2.0, 4) == 5 * 2.0**4
    assert capfd.readouterr().out.split() == ["0", "1", "2", "3"]


# ---- what is kept ----------------------------------------------------------------------------------------------------
PAIRS = """
fn energy(x: list[f64], m: list[f64]) -> f64:
    var e: f64 = 0
    for i in range(len(x)):
        for j in range(i):
            let d = x[i] - x[j]
            e += m[i] * m[j] / sqrt(d * d + 0.01)
    return e
fn g(x: list[f64], m: list[f64]) -> list[f64]:
    return grad(energy)(x, m)
"""


def test_records_of_for_loops(tmp_path: Path) -> None:
    """Two floats a turn: no counters, no condition, no places, no elements of what is there anyway; made at once, as
    many as there are turns."""
    forward = derived(PAIRS, tmp_path, "energy forward")
    assert "buffer[(f64, f64)]" in forward and "buffer_room" in forward
    assert "tape push" not in forward and "bool," not in forward
    reverse = derived(PAIRS, tmp_path, "energy reverse")
    assert "adjoint add there f64" in reverse and "adjoint add f64" not in reverse


ZIPPED = """
fn f(xs: list[f64], ys: list[f64]) -> f64:
    var s: f64 = 0.5
    for x, y in zip(xs, ys):
        s = s * x + sin(y * s)
    return s
fn g(xs: list[f64], ys: list[f64]) -> (list[f64], list[f64]):
    return grad(f, wrt=("xs", "ys"))(xs, ys)
"""


def test_records_of_loops_over_several(tmp_path: Path) -> None:
    """They are made at once too: as many as the shortest has."""
    assert "tape push" not in derived(ZIPPED, tmp_path, "f forward")
    mod = hybridc.load(tmp_path / "m.hyb")
    xs = [0.3, 0.5, 0.7, 1.1, 0.2, 0.9, 0.4]
    for n, m in ((0, 3), (2, 3), (3, 2), (7, 6)):
        given = xs[:n], xs[:m]
        for at in (0, 1):
            assert mod.g(*given)[at] == pytest.approx(slope(mod.f, given, at), rel=1e-7)


CALLED = """
fn total(xs: list[f64], k: int) -> f64:
    if k > 3:
        return total(xs, k - 1)
    var s: f64 = 0
    for i in range(len(xs)):
        s += xs[i] * xs[i] * k
    return s
fn outer(xs: list[f64]) -> f64:
    var ys = xs
    var s: f64 = 0
    for k in range(4):
        s += total(ys, k)
        ys[k] = ys[k] * s
    return s
fn plain(xs: list[f64]) -> f64:
    var s: f64 = 0
    for i in range(len(xs)):
        s += xs[i] * xs[i] * i
    return s
fn g(xs: list[f64]) -> list[f64]:
    return grad(outer)(xs)
fn h(xs: list[f64]) -> list[f64]:
    return grad(plain)(xs)
"""


def test_elements_are_read_again_where_the_list_is_held(tmp_path: Path) -> None:
    """Whoever takes the derivative holds it; of a function on the way the elements are kept, since a list that a tape
    held would be copied when it is changed next."""
    assert "records" not in derived(CALLED, tmp_path, "plain forward")
    way = derived(CALLED, tmp_path, "total within forward")
    assert "buffer[f64]" in way and "records" in way
    m = hybridc.load(tmp_path / "m.hyb")
    xs = [0.5, 1.5, -0.25, 0.75, 1.0]
    assert m.h(xs) == [2 * x * i for i, x in enumerate(xs)]
    slopes = [(m.outer([x + e * (i == j) for j, x in enumerate(xs)]) - m.outer([x - e * (i == j) for j, x in enumerate(xs)]))
              / (2 * e) for i in range(5) for e in [1e-6]]
    np.testing.assert_allclose(m.g(xs), slopes, rtol=1e-6)


def test_an_element_that_all_turns_read(tmp_path: Path) -> None:
    """Its derivative is added up in a number; where there is no turn, its place need not exist."""
    assert derived(PAIRS, tmp_path, "energy reverse").count("adjoint add there") == 2
    file = tmp_path / "fixed.hyb"
    file.write_text("""
fn f(x: list[f64], k: int, n: int) -> f64:
    var total = x[0]
    for i in range(n):
        if i != 2:
            total += x[k] * x[i] * x[k]
        total += x[k]
    return total
fn g(x: list[f64], k: int, n: int) -> list[f64]:
    return grad(f)(x, k, n)
""")
    mod = hybridc.load(file)
    assert mod.g([2.0, 3.0], 7, 0) == [1.0, 0.0]
    assert mod.g([2.0, 3.0], -1, 2) == [1.0 + 9, 9 + 2 * 2 * 3 + 2 * 3 * 3 + 2]
    with pytest.raises(IndexError):
        mod.g([2.0, 3.0], 7, 1)


RARE = """
fn f(xs: list[f64]) -> f64:
    var kept: list[f64] = [1.0]
    var total: f64 = 0.0
    for i, x in enumerate(xs):
        if i % 3 == 2:
            var y = x
            for k in kept:
                y = sin(y * k) + x
            kept.push(y)
            total += y * x
        else:
            total += x * x * kept[-1]
    return total
fn g(xs: list[f64]) -> list[f64]:
    return grad(f)(xs)
"""


def test_what_few_turns_keep_is_apart(tmp_path: Path) -> None:
    forward = derived(RARE, tmp_path, "f whole forward") + derived(RARE, tmp_path, "f forward")
    assert "tape f" in forward and "enum[case=\"Tape\"]" in forward
    mod = hybridc.load(tmp_path / "m.hyb")
    xs = [0.3, 0.5, 0.7, 1.1, 0.2, 0.9, 0.4, 0.8]
    assert mod.g(xs) == pytest.approx(slope(mod.f, (xs,), 0), rel=1e-7)


NEEDED_RARELY = """
fn f(xs: list[f64]) -> f64:
    var kept: list[f64] = [1.0]
    var total: f64 = 0.0
    for i, x in enumerate(xs):
        let z = x * 0.5 + kept[-1]
        if i % 3 == 2:
            var y = x
            for k in kept:
                y = sin(y * k) * z + x
                if y > 10.0:
                    y = y * z
            kept.push(y)
            total += y * z
        else:
            total += z * 2.0
    return total
fn g(xs: list[f64]) -> list[f64]:
    return grad(f)(xs)
"""


def test_what_few_turns_need_is_kept_by_these(tmp_path: Path) -> None:
    """z, the length of `kept` for the loop, and what the inner loop keeps, stand in the block of the arm; a turn's
    record has the place of kept[-1] and the block."""
    way = derived(NEEDED_RARELY, tmp_path, "f whole forward") + derived(NEEDED_RARELY, tmp_path, "f forward")
    mod = hybridc.load(tmp_path / "m.hyb")
    (rooms,) = {line.split(" = ")[0] for line in way.splitlines() if "buffer_room" in line and "tape f" in line}
    assert "f64" not in rooms
    xs = [0.3, 0.5, 0.7, 1.1, 0.2, 0.9, 0.4, 0.8, 1.3]
    assert mod.g(xs) == pytest.approx(slope(mod.f, (xs,), 0), rel=1e-7)
    assert mod.g([]) == [] and mod.g([0.5]) == [1.0]


RECURRENT = """
model RNN(d: int):
    param w: f64[d, d] = glorot()
    param u: f64[d, d] = glorot()
    param b: f64[d] = zeros()
    fn loss(x: f64[T, d]) -> f64:
        var h: f64[d] = zeros()
        for t in range(T):
            h = tanh(self.w @ h + x[t] @ self.u + self.b)
        return sum(h)
    fn odd(x: f64[T, d]) -> f64:
        var h: f64[d] = zeros()
        for t in range(T):
            if t % 2 == 1:
                h = tanh(self.w @ h + x[t])
        return sum(h)
fn g(m: RNN[40], x: f64[T, 40]) -> f64[?]:
    return grad(m.loss)(x)
fn g_odd(m: RNN[40], x: f64[T, 40]) -> f64[?]:
    return grad(m.odd)(x)
"""


def test_products_after_the_loop(tmp_path: Path) -> None:
    reverse = derived(RECURRENT, tmp_path, "RNN[40].loss reverse")
    inside, after = reverse[: reverse.rindex("yield")], reverse[reverse.rindex("yield"):]
    assert after.count("matmul") == 2 and inside.count("matmul") == 1
    mod = hybridc.load(tmp_path / "m.hyb")
    net = mod.RNN(40, seed=3)
    random = np.random.default_rng(0)
    for steps in (0, 1, 5):
        x = random.normal(size=(steps, 40))
        for name in ("loss", "odd"):
            w, u, b = (torch.tensor(net.state_dict()[k], requires_grad=True) for k in "wub")
            h = torch.zeros(40, dtype=torch.float64)
            for t, row in enumerate(torch.tensor(x)):
                if name == "loss":
                    h = torch.tanh(w @ h + row @ u + b)
                elif t % 2 == 1:
                    h = torch.tanh(w @ h + row)
            total = h.sum() + 0 * (w.sum() + u.sum() + b.sum())
            total.backward()
            want = np.concatenate([p.grad.numpy().ravel() for p in (w, u, b)])
            found = (mod.g if name == "loss" else mod.g_odd)(net, x)
            np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


SLICES = """
fn triangle_times(l: f64[L], x: f64[D]) -> f64[D]:
    var y = x * x
    var at = 0
    for i in range(D):
        let n = D - 1 - i
        y[i + 1:] += l[at:at + n] * x[i]
        at += n
    return y
fn f(l: f64[L], x: f64[D], n: int) -> f64:
    var s: f64 = 0
    for i in range(n):
        let y = triangle_times(l, x * f64(i))
        s += sum(y * y)
    return s
fn updated(l: f64[L], x: f64[D], n: int) -> f64:
    var s: f64 = 0
    var z = l
    for i in range(n):
        s += sum(triangle_times(z, x))
        z[i] += x[0]
    return s
fn g(l: f64[L], x: f64[D], n: int) -> (f64[L], f64[D]):
    return grad(f, wrt=("l", "x"))(l, x, n)
fn g_updated(l: f64[L], x: f64[D], n: int) -> (f64[L], f64[D]):
    return grad(updated, wrt=("l", "x"))(l, x, n)
"""


def test_what_is_held_is_read_again(tmp_path: Path) -> None:
    """Of `f` the tape has no slice nor argument, nor where slices begin, which follows from the turn (`at` goes up by
    one less each time); `updated` may not hold `z`."""
    held, kept = derived(SLICES, tmp_path, "triangle_times forward").split("fn `triangle_times forward")[1:]
    heads = [text[: text.index("{")] for text in (held, kept)]
    assert sorted("buffer[" in head for head in heads) == [False, True]
    assert "buffer[int]" not in "".join(heads)
    assert all(head[head.index("->"):].count("f64[?]") <= 2 for head in heads)
    mod = hybridc.load(tmp_path / "m.hyb")
    l, x = np.array([0.3, -0.4, 0.9, 0.7, 0.2, 0.5]), np.array([0.7, 1.1, -0.6, 0.4])
    for name in ("f", "updated"):
        found = getattr(mod, {"f": "g", "updated": "g_updated"}[name])(l, x, 3)
        for i in range(2):
            np.testing.assert_allclose(found[i], slope(getattr(mod, name), (l, x, 3), i), rtol=1e-6, atol=1e-8)


ROWS = """
fn f(a: list[list[f64]], n: int) -> f64:
    var m = a
    for k in range(n):
        for i in range(k + 1, n):
            for j in range(k + 1, n):
                m[i][j] -= m[k][j] * m[i][k]
    return m[n - 1][n - 1]

fn g(a: list[list[f64]], n: int) -> list[list[f64]]:
    return grad(f)(a, n)
"""


def test_a_number_in_a_row_is_added_where_it_lies(tmp_path: Path) -> None:
    """Nothing is made for one number, and what is put back has nothing to be added to."""
    back = derived(ROWS, tmp_path, "f reverse")
    loop = back[back.index("= loop") : back.rindex("  }")]
    assert "adjoint add" not in loop and loop.count("add(") >= 2
    assert "merge" not in loop and "zero()" not in loop


def test_rows_of_adjoints_are_at_hand(tmp_path: Path) -> None:
    """Where the rows that the reverse part changes are different ones and long enough, its inner loop asks nothing."""
    derived(ROWS, tmp_path, "f reverse")
    checked = checking.check(str(tmp_path / "m.hyb"))
    core, interface = driver.lower(checked)
    core = pipeline.optimise(core, interface, checked.sources)
    rows = BufferT(F64)
    loops = [s for fn in core.fns.values() if "reverse" in fn.name for s in statements(fn.body)
             if isinstance(s, Loop) and sum(p.type == rows for p in s.params) > 1]
    asking = [any(isinstance(s, Op) and s.op == "buffer_resize" for s in statements(loop.body)) for loop in loops]
    assert not asking[0] and any(asking)


SMOOTHED = """
fn f(xs: list[f64], h: f64) -> f64:
    var y = xs
    for i in range(len(y)):
        y[i] += h / 6.0 * y[i - 2]
    return sum(y)

fn g(xs: list[f64], h: f64) -> list[f64]:
    return grad(f)(xs, h)
"""


def test_what_no_turn_changes_and_places_are_not_kept(tmp_path: Path) -> None:
    """A quotient of what is there before the loop is computed before it; a place, from the end too, follows from the
    index and the length."""
    assert "records" not in derived(SMOOTHED, tmp_path, "f forward")
    m = hybridc.load(tmp_path / "m.hyb")
    for n in (2, 3, 7):
        xs = [0.5 + 0.3 * i for i in range(n)]
        assert m.g(xs, 1.7) == pytest.approx(slope(m.f, (xs, 1.7), 0), rel=1e-6)
    with pytest.raises(IndexError):
        m.g([1.0], 1.7)


HELD = """
struct Edge:
    a: int
    b: int
    w: f64

fn f(xs: list[f64], edges: list[Edge], rows: list[list[f64]]) -> f64:
    var total: f64 = 0
    for e in edges:
        let d = xs[e.a] - xs[e.b]
        total += e.w * d * d * (1.0 + total * 0.01)
    for row in rows:
        var z: f64 = 0
        for r, x in zip(row, xs):
            z += r * x
        total += z * sin(z)
    return total

fn g(xs: list[f64], edges: list[Edge], rows: list[list[f64]]) -> (f64, (list[f64], list[list[f64]])):
    return value_and_grad(f, wrt=("xs", "rows"))(xs, edges, rows)
"""


def test_elements_of_held_structs_and_rows_are_read_again(tmp_path: Path) -> None:
    """Places that stand in a list of structs are not kept, nor numbers of rows of a list of lists."""
    whole = derived(HELD, tmp_path, "f forward")
    assert "-> (f64, int, int, buffer[f64], buffer[(f64, f64, int)])" in whole  # the sums, and the turns of a row's loop
    m = hybridc.load(tmp_path / "m.hyb")
    xs = [0.5, -0.3, 0.8]
    edges = [m.Edge(a, b, 0.3 + a) for a, b in ((0, 1), (1, 2), (2, 0), (1, -2))]
    rows = [[0.1 * i + j for j in range(3 - i % 2)] for i in range(4)]
    value, (by_xs, by_rows) = m.g(xs, edges, rows)
    assert value == m.f(xs, edges, rows)
    assert by_xs == pytest.approx(slope(m.f, (xs, edges, rows), 0), rel=1e-6)
    for i, row in enumerate(rows):
        def f(changed: list[float], i: int = i) -> float:
            return float(m.f(xs, edges, [*rows[:i], changed, *rows[i + 1 :]]))
        assert by_rows[i] == pytest.approx(slope(f, (row,), 0), rel=1e-6)
