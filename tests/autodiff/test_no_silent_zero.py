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
