"""The gradient of a sum over a loop is one loop without records (passes/one_loop.py), and still the gradient."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import hybridc
from hybridc import driver, pipeline
from hybridc.core.interp import Interpreter
from hybridc.core.ir import Op, Prim, TupleT
from hybridc.core.types import show_type
from hybridc.core.values import Buffer
from hybridc.core.walk import statements

pytestmark = pytest.mark.usefixtures("unoptimised")

ONE = {
    "numbers": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        total += sin(x[i]) * x[i]
    return total * 3.0
""", lambda x: 3 * np.sum(np.sin(x) * x)),
    "rows": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        let y = x * x[i]
        total += sum(exp(y * 0.1))
    return total / N
""", lambda x: np.sum(np.exp(np.outer(x, x) * 0.1)) / len(x)),
    "loops within": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        for j in range(i):
            let d = x[i] - x[j]
            total += 1.0 / sqrt(d * d + 0.5)
    return total
""", lambda x: sum(1 / np.sqrt((x[i] - x[j]) ** 2 + 0.5) for i in range(len(x)) for j in range(i))),
    "branches": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        if x[i] > 0.0:
            total += x[i] * x[i]
        else:
            total -= exp(x[i])
    return total
""", lambda x: np.sum(np.where(x > 0, x * x, -np.exp(x)))),
    "a recurrence within": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        var h: f64 = x[i]
        for _ in range(3):
            h = tanh(h * x[0] + 0.1)
        total += h * h
    return total
""", lambda x: np.sum(np.tanh(np.tanh(np.tanh(x * x[0] + 0.1) * x[0] + 0.1) * x[0] + 0.1) ** 2)),
    "what is added to is added to afterwards too": ("""
fn later(x: f64[N], n: int) -> f64:
    if n == 0:
        return sum(x * x)
    return later(x * 0.5, n - 1)

fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        total += sin(x[i]) * x[0]
    return total - later(x, 2) * x[0]
""", lambda x: np.sum(np.sin(x)) * x[0] - np.sum(x * x) / 16 * x[0]),
    "small tensors": ("""
fn turned(r: f64, p: f64[2]) -> f64[2]:
    return [cos(r) * p[0] - sin(r) * p[1], sin(r) * p[0] + cos(r) * p[1]]

fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        let p = turned(x[i], [x[0], 1.0])
        total += dot(p, p) * p[0]
    return total
""", lambda x: np.sum((x[0] ** 2 + 1) * (np.cos(x) * x[0] - np.sin(x)))),
}
TWO = {
    "a state that is carried": ("""
fn f(x: f64[N]) -> f64:
    var h: f64 = 0.5
    for i in range(N):
        h = tanh(h * x[i] + 0.1)
    return h
""", lambda x: _carried(x)),
    "a seed that is known afterwards": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 1.0
    for i in range(N):
        total += x[i] * x[i]
    return sqrt(total)
""", lambda x: np.sqrt(1 + np.sum(x * x))),
    "an early end": ("""
fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        if total > 2.0:
            break
        total += x[i] * x[i]
    return total
""", lambda x: _ended(x)),
}
G = """
fn g(x: f64[N]) -> (f64, f64[N]):
    return value_and_grad(f)(x)
"""
GRADIENT = G + """
fn h(x: f64[N]) -> f64[N]:
    return hvp(f)(x, ones(N))
"""
LISTS = """
fn f(xs: list[f64], n: int) -> f64:
    var total: f64 = 0
    for i in range(n):
        total += xs[i] * xs[-1 - i]
    return total

fn g(xs: list[f64], n: int) -> (f64, list[f64]):
    return value_and_grad(f)(xs, n)
"""


def _carried(x):
    h = 0.5
    for v in x:
        h = np.tanh(h * v + 0.1)
    return h


def _ended(x):
    total = 0.0
    for v in x:
        if total > 2.0:
            break
        total += v * v
    return total


def written(tmp_path, source):
    path = tmp_path / "program.hyb"
    path.write_text(source)
    return str(path)


def records(path):
    """The buffers of records in what is left of the derivative of `f`."""
    checked = driver.check(path)
    core, interface = driver.lower(checked)
    core = pipeline.optimise(core, interface, checked.sources)
    found = [s for name, fn in core.fns.items() if "forward" in name or "reverse" in name
             for s in statements(fn.body) if isinstance(s, Op)]
    return [s.outs[0].type for s in found if s.op == "buffer_room" and isinstance(s.outs[0].type.item, (TupleT, Prim))]


def derivative(f, x):
    return np.array([(f(x + e) - f(x - e)) / 2e-6 for e in np.eye(len(x)) * 1e-6])


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_it_is_the_gradient(name, tmp_path):
    source, f = {**ONE, **TWO}[name]
    mod = hybridc.load(written(tmp_path, source + GRADIENT))
    for n in (1, 2, 7):
        x = np.random.default_rng(n).normal(size=n)
        value, d = mod.g(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-12)
        np.testing.assert_allclose(d, derivative(f, x), rtol=1e-6, atol=1e-7)
        along = (mod.g(x + 1e-6)[1] - mod.g(x - 1e-6)[1]) / 2e-6
        np.testing.assert_allclose(mod.h(x), along, rtol=1e-5, atol=1e-6)


def test_no_turn_at_all(tmp_path):
    mod = hybridc.load(written(tmp_path, ONE["numbers"][0] + GRADIENT))
    value, d = mod.g(np.zeros(0))
    assert value == 0.0 and d.shape == (0,)


@pytest.mark.parametrize("name", ONE)
def test_nothing_is_kept(name, tmp_path):
    inner = name == "a recurrence within"  # whose turns are kept, in what the turn before left or in new memory
    assert len(records(written(tmp_path, ONE[name][0] + G))) == 2 * inner


def test_what_flows_from_turn_to_turn_is_kept(tmp_path):
    assert records(written(tmp_path, TWO["a state that is carried"][0] + G))


def test_lists_are_added_to_in_place(tmp_path):
    path = written(tmp_path, LISTS)
    mod = hybridc.load(path)
    xs = [1.0, 2.0, 3.0, 5.0]
    assert mod.g(xs, 4) == (2 * (5.0 + 6.0), [10.0, 6.0, 4.0, 2.0])
    with pytest.raises(IndexError):
        mod.g(xs, 5)
    assert not records(path)


PARTS = """
struct Ball:
    at: (f64, f64)
    name: str
    size: f64

fn f(balls: list[Ball], n: int) -> f64:
    var total: f64 = 0
    for i in range(n):
        var t: f64 = 0
        while t < 2.0:
            var nearest: f64 = 9.0
            for b in balls:
                nearest = min(nearest, b.at[0] * b.at[0] + f64(i) * b.at[1] + b.size)
            t += nearest
        total += t * balls[i % 2].at[1] if i % 3 > 0 else t
    return total

fn g(balls: list[Ball], n: int) -> (f64, list[Ball]):
    return value_and_grad(f)(balls, n)

fn turned(balls: list[Ball], n: int) -> f64:
    var own = balls
    for i in range(n):
        own[i % 2].at = (own[i % 2].at[1], own[i % 2].at[0] * 0.5)
    return own[0].at[0] + own[1].at[1]

fn h(balls: list[Ball], n: int) -> (f64, list[Ball]):
    return value_and_grad(turned)(balls, n)
"""


def test_parts_of_elements_are_added_to_in_place(tmp_path):
    """The gradient's outer loops are one, though what they add to are lists of structs. Where parts of an element
    change places, each turn has to be undone after the next."""
    path = written(tmp_path, PARTS)
    mod = hybridc.load(path)

    def balls(x):
        return [mod.Ball((x[0], x[1]), "one", x[2]), mod.Ball((x[3], x[4]), "two", x[5])]

    x = np.array([0.7, 0.2, 0.3, 0.5, 0.4, 0.6])
    value, d = mod.g(balls(x), 7)
    assert value == mod.f(balls(x), 7) and d[1].name == "two"
    found = [v for b in d for v in (*b.at, b.size)]
    np.testing.assert_allclose(found, derivative(lambda y: mod.f(balls(y), 7), x), rtol=1e-6, atol=1e-7)
    assert not any("f64, int" in show_type(kind) for kind in records(path))
    value, d = mod.h(balls(x), 3)
    found = [v for b in d for v in (*b.at, b.size)]
    np.testing.assert_allclose(found, derivative(lambda y: mod.turned(balls(y), 3), x), rtol=1e-6, atol=1e-7)


def test_what_is_seen_outside_keeps_its_order(tmp_path):
    """A derivative of one's own may print: all of the forward part comes before it."""
    path = written(tmp_path, """
@custom_grad(back)
fn squared(x: f64) -> f64:
    print("forward", x)
    return x * x

fn back(x: f64, y: f64, d: f64) -> f64:
    print("back", x)
    return 2.0 * x * d

fn f(x: f64[N]) -> f64:
    var total: f64 = 0
    for i in range(N):
        total += squared(x[i])
    return total

fn g(x: f64[N]) -> (f64, f64[N]):
    return value_and_grad(f)(x)
""")
    code = f"import hybridc, numpy as np\nprint(hybridc.load({path!r}).g(np.array([1.0, 2.0])))"
    p = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert p.stdout.split()[:8] == ["forward", "1.0", "forward", "2.0", "back", "2.0", "back", "1.0"]


INNER = """
fn f(xs: list[f64]) -> f64:
    var total: f64 = 0
    for i, x in enumerate(xs):
        var h: f64 = x
        for k in range((i * 7) % 5):
            h = h * h * 0.5 + x
        var n = 0
        while true:
            h = sin(h) + x
            n += 1
            if h < 0.9 or n > i:
                break
        total += h * x
    return total

fn g(xs: list[f64]) -> list[f64]:
    return grad(f)(xs)

fn h(xs: list[f64], v: list[f64]) -> list[f64]:
    return hvp(f)(xs, v)
"""


def test_records_of_inner_loops_lie_in_one_place(tmp_path):
    """Each of the two inner loops has memory that all turns use, with few turns after many and many after few."""
    path = written(tmp_path, INNER)
    mod = hybridc.load(path)
    x = np.linspace(0.2, 1.2, 12)
    want = derivative(lambda v: mod.f(list(v)), x)
    np.testing.assert_allclose(mod.g(list(x)), want, rtol=1e-6, atol=1e-7)
    v = np.cos(np.arange(12.0))
    along = (np.array(mod.g(list(x + 1e-6 * v))) - mod.g(list(x - 1e-6 * v))) / 2e-6
    np.testing.assert_allclose(mod.h(list(x), list(v)), along, rtol=1e-5, atol=1e-6)
    checked = driver.check(path)
    core, interface = driver.lower(checked)
    core = pipeline.optimise(core, interface, checked.sources)
    ((found, _),) = Interpreter(core).call(interface.fns["g"][0].symbol, [(Buffer(list(x)), 12)])
    np.testing.assert_allclose(found.items()[:12], mod.g(list(x)), rtol=1e-12)
    (fn,) = (fn for name, fn in core.fns.items() if name.endswith("and reverse"))
    rooms = [s for s in fn.body.stmts if isinstance(s, Op) and s.op == "buffer_room"]
    assert [s.args[0].value for s in rooms] == [0, 0]
