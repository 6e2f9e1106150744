"""Submodels of several configurations in one list: what is given to one must have the sizes of its configuration, which
only lowering knows. On the interpreter, in compiled code, from a `.hybx`, and with kernels on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.interp import Interpreter
from hybridc.core.values import InterpFault
from hybridc.link import surface

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
model Part(n: int):
    param w: f32[n] = ones()
    state kept: f32[n] = zeros()

    fn total(x: f32[n]) -> f32:
        var s = 0.0
        for i in range(n):
            s += x[i] * self.w[i]
        return s

    fn forward(xs: list[f32[n]]) -> f32:
        return self.total(xs[0])

    mut fn keep(x: f32[n]) -> f32:
        self.kept = x
        var s = 0.0
        for i in range(n):
            s += self.kept[i]
        return s

fn outside(p: Part, x: f32[p.n]) -> f32:
    return p.total(x)

fn through(f: fn(f32[?]) -> f32, x: f32[?]) -> f32:
    return f(x)

model Whole(sizes: list[int]):
    let parts = [Part(sizes[i]) for i in range(len(sizes))]

    fn called(x: f32[?]) -> f32:
        return sum([p.total(x) for p in self.parts])

    fn held(x: f32[?]) -> f32:
        return sum([p([x]) for p in self.parts])

    fn chosen(x: f32[?], i: int) -> f32:
        return self.parts[i].total(x)

    fn passed(x: f32[?]) -> f32:
        return sum([through(p.total, x) for p in self.parts])

    fn bare(x: f32[?]) -> f32:
        return sum([outside(p, x) for p in self.parts])

    fn derived(x: f32[?]) -> f32:
        var s = 0.0
        for p in self.parts:
            let y, d = value_and_grad(p.total, wrt="x")(x)
            s += y + sum(d)
        return s

    mut fn written(x: f32[?], i: int) -> f32:
        return self.parts[i].keep(x)

fn called(n: int) -> f32:
    return Whole([3, 5]).called(ones(n))

fn held(n: int) -> f32:
    return Whole([3, 5]).held(ones(n))

fn chosen(n: int) -> f32:
    return Whole([5, 3]).chosen(ones(n), 0)

fn passed(n: int) -> f32:
    return Whole([3, 5]).passed(ones(n))

fn bare(n: int) -> f32:
    return Whole([3, 5]).bare(ones(n))

fn derived(n: int) -> f32:
    return Whole([3, 5]).derived(ones(n))

fn written(n: int) -> f32:
    var w = Whole([5, 3])
    return w.written(ones(n), 0)

fn fits(n: int) -> f32:
    return Whole([3, 3]).called(ones(n))
"""
NAMES = ["called", "held", "chosen", "passed", "bare", "derived", "written"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("open") / "parts.hyb"
    file.write_text(SOURCE)
    return file


@pytest.fixture(scope="module")
def interpreted(file: Path) -> Any:
    checked = checking.check(str(file))
    core, interface = driver.lower(checked)
    surface.without_curvatures(interface)
    machine = Interpreter(pipeline.differentiated(core, surface.symbols(interface), checked.sources))
    return lambda name, n: machine.call(interface.fns[name][0].symbol, (n,))[0]


@pytest.fixture(scope="module", params=["source", "artifact"])
def loaded(request: pytest.FixtureRequest, file: Path) -> Any:
    if request.param == "source":
        return hybridc.load(file)
    built = file.with_suffix(".hybx")
    built.write_bytes(driver.build(checking.check(str(file)), "cpu:host").data)
    return hybridc.load(built, trust=True)


@pytest.mark.parametrize("name", NAMES)
def test_interpreted(interpreted: Any, name: str) -> None:
    with pytest.raises(InterpFault, match="is 3, not 5"):
        interpreted(name, 3)
    assert interpreted("fits", 3) == 6


@pytest.mark.parametrize("name", NAMES)
def test_compiled(loaded: Any, name: str) -> None:
    """It read beyond the end, and gave what lay there."""
    with pytest.raises(ValueError, match="dimension 0 of .* is 3, not 5"):
        getattr(loaded, name)(3)
    assert loaded.fits(3) == 6


def test_on_a_device(file: Path, device: str) -> None:
    mod = hybridc.load(file, device=device)
    for name in ("called", "passed"):
        with pytest.raises(ValueError, match="dimension 0 of .* is 3, not 5"):
            getattr(mod, name)(3)
    assert mod.fits(3) == 6


def test_a_state_of_one_is_not_assigned_from_outside(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.hyb"
    wrong.write_text(SOURCE.replace("return self.parts[i].keep(x)", "self.parts[i].kept = x\n        return 0.0"))
    with pytest.raises(hybridc.CompileError, match=r"wrong.hyb:\d+:\d+: error\[HYB809\](.|\n)*call a method of it"):
        hybridc.load(wrong)
