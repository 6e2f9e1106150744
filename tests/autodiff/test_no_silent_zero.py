"""Where there is no derivative, that is said: at compile time with the place, or as a fault; never a zero."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import hybridc
from hybridc.cli import main

pytestmark = pytest.mark.usefixtures("unoptimised")

STORES = '''
fn inner(x: f64, mut mem: store[str, f64]) -> f64:
    mem["a"] = x
    return x * mem["a"]
fn f(x: f64, mut mem: store[str, f64]) -> f64:
    return inner(x, mut mem) * 2
fn g(x: f64, mut mem: store[str, f64]) -> f64:
    return grad(f)(x, mut mem)
'''
FINE = '''
fn f(x: f64, mut mem: store[str, f64], mut seen: store[str, int]) -> f64:
    mem["a"] = x
    print(x)
    if "b" in mem:
        seen["b"] = seen["b"] + 1
    return x * stop_gradient(mem["a"]) * len(mem)
fn g(x: f64, path: str) -> f64:
    var mem = store[str, f64](path)
    var seen = store[str, int](path + "s")
    return grad(f)(x, mut mem, mut seen)
'''
MODEL = '''
model M:
    param w: f64[2] = constant(3)
    state mem: store[str, f64] = store[str, f64]("PATH")
    mut fn loss(x: f64) -> f64:
        self.mem["x"] = x
        return sum(self.w) * self.mem["x"]
    mut fn fine(x: f64) -> f64:
        self.mem["x"] = x
        return sum(self.w) * stop_gradient(self.mem["x"])
'''
CASTS = '''
fn bins(x: f64[N]) -> f64:
    let i = int(x * 2.0)
    let k = int(stop_gradient(x[0]))
    return sum(x * i) * k
fn off(x: f64) -> f64:
    let n = int(x)
    return x * n
fn g(x: f64[N]) -> f64[N]:
    return grad(bins)(x)
'''


def write(folder: Path, text: str) -> str:
    file = folder / "m.hyb"
    file.write_text(text)
    return str(file)


def test_reads_of_a_store_are_refused_where_they_stand(tmp_path: Path) -> None:
    with pytest.raises(hybridc.CompileError) as e:
        hybridc.load(write(tmp_path, STORES))
    (d,) = e.value.diagnostics
    assert (d.code, d.help) == ("HYB604", "write `stop_gradient(...)` around it")
    assert ":4:16: error" in str(e.value) and ":8:12: note" in str(e.value)


def test_what_is_no_float_or_stands_in_stop_gradient_is_fine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert hybridc.load(write(tmp_path, FINE)).g(3.0, str(tmp_path / "kept")) == 3.0
    assert "3.0" in capfd.readouterr().out


def test_from_python(tmp_path: Path) -> None:
    mod = hybridc.load(write(tmp_path, MODEL.replace("PATH", str(tmp_path / "kept"))))
    m = mod.M()
    with pytest.raises(ValueError, match="what a store holds carries no derivative"):
        m.value_and_grad("loss", 2.0)
    value, g = m.value_and_grad("fine", 2.0)
    assert (value, list(g)) == (12.0, [2.0, 2.0])


def test_casts_to_integers_warn(tmp_path: Path) -> None:
    path = write(tmp_path, CASTS)
    with pytest.warns(hybridc.CompileWarning) as found:
        hybridc.load(path)
    (one,) = found
    assert ":3:13: warning[HYB620]: a derivative ends at this cast to an integer" in str(one.message)
    assert "int(stop_gradient(x))" in str(one.message)
    result = CliRunner().invoke(main, ["check", path])
    assert result.exit_code == 0 and result.stderr.count("warning[HYB620]") == 1
    result = CliRunner().invoke(main, ["check", path, "--error-format", "json"])
    assert json.loads(result.stderr)["severity"] == "warning"
    result = CliRunner().invoke(main, ["build", path])
    assert result.exit_code == 0 and "warning[HYB620]" in result.stderr


def test_casts_outside_of_derivatives_do_not(tmp_path: Path) -> None:
    path = write(tmp_path, CASTS[: CASTS.index("fn g")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hybridc.load(path)


REFUSED = {
    "no differentiable path": [
        "fn g(x: f64) -> f64: return grad(fn(y: f64): f64(int(y)))(x)",
        "fn g(x: f64) -> f64:\n    let h = fn(y: f64): f64(int(y))\n    return grad(h)(x)",
        "fn g(x: f64) -> f64:\n    fn h(y: f64) -> f64: return x * f64(int(y))\n    return grad(h)(x)",
        "fn g(x: f64) -> f64: return grad(fn(y: f64, z: f64): z * x, wrt=\"y\")(x, x)",
    ],
    "is extern": [
        "extern fn e(x: f64) -> f64\nfn g(x: f64) -> f64:\n    fn h(y: f64) -> f64: return e(y)\n    return grad(h)(x)",
    ],
}


@pytest.mark.parametrize("why, source", [(why, source) for why, all_ in REFUSED.items() for source in all_])
def test_functions_made_in_bodies_are_looked_into(why: str, source: str, tmp_path: Path) -> None:
    with pytest.raises(hybridc.CompileError, match=why):
        hybridc.load(write(tmp_path, source))


@pytest.mark.parametrize("source", [
    "fn g(x: f64) -> f64: return grad(fn(y: f64): f64(int(y)) * y)(x)",
    "fn g(x: f64) -> f64:\n    fn h(y: f64) -> f64: return f64(int(y)) * y\n    return grad(h)(x)",
])
def test_casts_within_them_warn(source: str, tmp_path: Path) -> None:
    with pytest.warns(hybridc.CompileWarning, match="HYB620"):
        assert hybridc.load(write(tmp_path, source)).g(2.5) == 2.0


@pytest.mark.parametrize("source, value", [
    # itself, another function, a value that is a function or a captured one, a list, a loop
    ("fn g(x: f64) -> f64:\n    fn h(y: f64, n: int) -> f64: return y if n == 0 else h(y * 2, n - 1)\n"
     "    return grad(h)(x, 3)", 8.0),
    ("fn g(x: f64) -> f64:\n    let k = fn(z: f64): z * z\n    return grad(fn(y: f64): k(y))(x)", 6.0),
    ("fn g(x: f64) -> f64:\n    var f = fn(y: f64): 0.0 * x\n    f = fn(y: f64): y * x\n    return grad(f)(x)", 3.0),
    ("fn g(x: f64) -> f64:\n    return grad(fn(y: f64): sum([y * 2 for i in range(3)]))(x)", 6.0),
    ("fn up(mut t: f64, y: f64): t += y\nfn g(x: f64) -> f64:\n    fn h(y: f64) -> f64:\n        var t: f64 = 0\n"
     "        for i in range(2): up(mut t, y)\n        return t\n    return grad(h)(x)", 2.0),
])
def test_what_has_a_path_through_them_passes(source: str, value: float, tmp_path: Path) -> None:
    assert hybridc.load(write(tmp_path, source)).g(3.0) == value
