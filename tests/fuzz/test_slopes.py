"""Small differentiable programs with fixed seeds: derivatives in compiled code, on the interpreter and by central
differences are the same. `HYB_FUZZ_SECONDS` is how long each part may take, if given."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.fuzz import campaign  # noqa: E402
from tests.fuzz.slopes import judge, program  # noqa: E402

PROGRAMS, PARTS, SIZE = 2048, 8, 128
SECONDS = os.environ.get("HYB_FUZZ_SECONDS")


@pytest.mark.parametrize("part", range(PARTS))
def test_derivatives_are_what_differences_say(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last part divides every loop."""
    if part == PARTS - 1:
        monkeypatch.setenv("HYB_TAPE", "1")
    each = PROGRAMS // PARTS
    first, count, seconds = (part * 100_000, 100_000, float(SECONDS)) if SECONDS else (part * each, each, None)
    check(campaign.run("ci", count, SIZE, 900, None, "slopes", seconds, first, which=("interpreter", "O0")))


def test_derivatives_of_several_constructs() -> None:
    check(campaign.run("woven", 24, 24, 900, None, "woven", which=("interpreter", "O0")))


def test_derivatives_that_llvm_optimises() -> None:
    check(campaign.run("optimised", 16, 16, 900, None, "slopes", which=("interpreter", "artifact")))


def check(tally: campaign.Tally) -> None:
    assert [f"{f.kind} {f.seed} {f.detail}" for f in tally.failures] == []
    assert tally.calls == len(judge.POINTS) * tally.cases == tally.judged + tally.undecided + tally.faults
    assert tally.undecided + tally.faults <= tally.calls * 0.03


def test_every_construct_is_in_many_programs() -> None:
    sources = [f.read_text() for f in Path(program.__file__).parent.glob("*.py")]
    constructs = {name for text in sources for name in re.findall(r'\.uses\("([^"]+)"\)', text)}
    assert len(constructs) > 60
    used: Counter[str] = Counter()
    for case in campaign.make("ci", 0, PROGRAMS, "slopes"):
        used.update(case.used)
    assert {name: used[name] for name in constructs if used[name] < 5} == {}
    assert {kind for kind in program.KINDS if not any(name.endswith(f" {kind}") for name in used)} == set()


WRONG = """
fn back(a: f64, r: f64, d: f64) -> f64:
    return {back}

@custom_grad(back)
fn twice(a: f64) -> f64:
    return 2.0 * a

fn loss_k(p: int, x: f64, w: list[f64], q: int) -> f64:
    return {loss}

fn slope_k(p: int, x: f64, xs: list[f64], q: int) -> (f64, f64, list[f64]):
    let v, (gx, gw) = value_and_grad(loss_k, wrt=("x", "w"))(p, x, xs, q)
    return (v, gx, gw)

export slope_k
"""


@pytest.mark.parametrize("back, loss, wrong, undecided", [
    ("2.0 * d", "twice(x) * w[0]", 0, 0),
    ("2.0001 * d", "twice(x) * w[0]", 1, 0),  # another derivative
    ("2.0 * d", "twice(x) * relu(w[0] - 0.3119)", 0, 1),  # a kink at one of the points
    ("2.0 * d", "sin(x * w[0] * 1e9)", 0, 3),  # too steep for any width
    ("2.0 * d", "1e11 * x + sin(x * w[0] * 1e17)", 0, 3),  # the same, beside what is large
])  # fmt: skip
def test_what_is_wrong_is_told_from_what_cannot_be_told(
    back: str, loss: str, wrong: int, undecided: int, tmp_path: Path
) -> None:
    path = tmp_path / "case.hyb"
    path.write_text(WRONG.format(back=back, loss=loss))
    found = judge.run(path)
    assert (len(found.wrong), found.undecided) == (wrong, undecided), found
    assert all("WRONG SLOPE" in what for _, what in found.wrong)
