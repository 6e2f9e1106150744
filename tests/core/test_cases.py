"""Cases of enums that nothing makes are dropped where no value comes from outside, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.ir import Program
from hybridc.link import pace, surface
from hybridc.passes import cases

INSIDE = """
enum Shade:
    Red
    Green(x: int)
    Blue(x: int)

fn shade(i: int) -> Shade:
    return Shade.Blue(i) if i > 2 else Shade.Red

fn shades(n: int) -> list[str]:
    var seen: set[Shade] = {}
    for i in range(n):
        seen.add(shade(i))
    let all = sorted(list(seen), key=fn(s): value(s))
    return [f"{s} {value(s)}" for s in all]

fn value(s: Shade) -> int:
    match s:
        case Red:
            return 0
        case Green(x):
            return 1 // (x - x)
        case Blue(x):
            return x

export shades
"""
OUTSIDE = """
enum Shade:
    Red
    Green(x: int)

fn twice(f: fn(int) -> int, x: int) -> int:
    return f(f(x))

fn value(s: Shade) -> int:
    match s:
        case Red:
            return 0
        case Green(x):
            return x

fn made() -> int:
    return value(Shade.Red) + twice(fn(x): x + 1, 3)
"""


def optimised(text: str, path: Path) -> tuple[Program, dict[str, str]]:
    path.write_text(text)
    checked = driver.check(str(path))
    core, interface = driver.lower(checked)
    core = pipeline.reached(core, interface)
    return core, pace.paces(core, [e.symbol for group in interface.fns.values() for e in group])


def test_values_that_stay_inside(tmp_path: Path) -> None:
    core, paces = optimised(INSIDE, tmp_path / "p.hyb")
    cases = {name: [case for case, _ in e.cases] for name, e in core.enums.items()}
    assert [c for name, c in cases.items() if name.startswith("fn(Shade)")] == [["lambda in shades"]]
    assert "" not in paces.values()  # nothing asks the host
    assert hybridc.load(tmp_path / "p.hyb").shades(5) == ["Red 0", "Blue(x=3) 3", "Blue(x=4) 4"]


def test_values_that_come_from_outside(tmp_path: Path) -> None:
    core, _ = optimised(OUTSIDE, tmp_path / "p.hyb")
    assert [case for case, _ in core.enums["Shade"].cases] == ["Red", "Green"]
    mod = hybridc.load(tmp_path / "p.hyb")
    assert mod.twice(lambda x: x * 10, 7) == 700
    assert mod.value(mod.Shade.Green(4)) == 4
    assert mod.made() == 5


@pytest.mark.parametrize("given", ["extern fn chosen() -> Shade", "extern fn chosen() -> fn(int) -> int"])
def test_values_that_the_host_gives(tmp_path: Path, given: str) -> None:
    use = "value(chosen())" if "Shade" in given else "chosen()(2)"
    text = f"{OUTSIDE}\n{given}\n\nfn ask() -> int:\n    return {use}\n\nexport ask\n"
    core, _ = optimised(text, tmp_path / "p.hyb")
    cases = [case for name, e in core.enums.items() if name in ("Shade", "fn(int) -> int") for case, _ in e.cases]
    assert ("Green" if "Shade" in given else "Host") in cases


DERIVATIVE = """
enum Shape:
    Dot
    Ball(r: f64)
    Box(a: f64, b: f64)
fn area(x: f64, n: int) -> f64:
    var s: f64 = 0
    for i in range(n):
        match Ball(x) if i % 2 == 0 else Box(x, x * x):
            case Dot:
                s += x
            case Ball(r):
                s += r * r
            case Box(a, b):
                s += a * b * b
    return s
fn slope(x: f64, n: int) -> f64:
    return grad(area)(x, n)
"""


def test_not_after_derivatives_are_written_out(tmp_path):
    file = tmp_path / "m.hyb"
    file.write_text(DERIVATIVE)
    checked = checking.check(str(file))
    core, interface = driver.lower(checked)
    assert len(cases.run(core, ()).enums["Shape"].cases) == 2
    core = pipeline.differentiated(core, surface.symbols(interface), checked.sources)
    with pytest.raises(AssertionError, match="part of a derivative"):
        cases.run(core, ())
