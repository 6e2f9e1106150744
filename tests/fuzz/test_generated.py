"""Generated programs with fixed seeds agree on every engine. `HYB_FUZZ_SECONDS` is how long each of the three
large tests may take, 15 s unless given; `make fuzz` gives five minutes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.fuzz import campaign, compare, engines, shrink, source  # noqa: E402
from tests.fuzz.oracle import Oracle  # noqa: E402
from tests.fuzz.program import case, file_of  # noqa: E402

SECONDS = float(os.environ.get("HYB_FUZZ_SECONDS", "8"))


@pytest.mark.parametrize("subject, size", [("all", 10), ("tiny", 100), ("gradients", 8)])
def test_programs_mean_the_same_on_every_engine(subject: str, size: int) -> None:
    tally = campaign.run("ci", 100_000, size, 240, None, subject, SECONDS)
    assert tally.cases >= size
    assert [f"{f.kind} {f.seed} {f.detail}" for f in tally.failures] == []
    assert tally.calls == 6 * (tally.cases - tally.constant)


@pytest.mark.parametrize("subject, size", [("data", 10), ("tensors", 20)])
def test_programs_mean_what_python_says(subject: str, size: int) -> None:
    """The interpreter agrees with an evaluator that shares only the parser with it."""
    tally = campaign.run("oracle", 100_000, size, 240, None, subject, max(SECONDS / 4, 4), which=("interpreter", "oracle"))
    assert tally.judged >= size
    assert [f"{f.kind} {f.seed} {f.detail}" for f in tally.failures] == []


def test_checks_of_a_strangers_core_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "case.hyb"
    path.write_text(file_of([c.source for c in campaign.make("guarded", 0, 12, "small")]))
    report = engines.run(path, ("interpreter", "guarded"))
    assert list(compare.disagreements(report)) == []


def test_the_same_seed_gives_the_same_program() -> None:
    assert case("7", "k").source == case("7", "k").source != case("8", "k").source


def test_hostile_text_gets_diagnostics(tmp_path: Path) -> None:
    state, tally = campaign.isolated(lambda: source.run("ci", 1_000_000, tmp_path, max(0.7 * SECONDS, 10)), SECONDS + 120)
    assert state == "done", tally
    assert tally.inputs >= 20 and tally.accepted > 0  # on a busy machine
    assert [(w.kind, w.data) for w in tally.wrong] == []


def test_a_failing_program_shrinks() -> None:
    program = case("3", "k").source + "\nfn bad(a: int) -> int:\n    let b = a * 2\n    if b > 3:\n        return b // (a - a) + 7\n    return 1\n"

    def fails(text: str) -> bool:
        return "// (a - a)" in text

    small = shrink.shrink(program, fails, seconds=60)
    assert fails(small) and len(small.strip().splitlines()) <= 5, small


def test_what_is_wrong_is_seen() -> None:
    """A program whose meaning depends on the engine, a crash and a hang are told apart."""
    assert campaign.isolated(lambda: 3, 30) == ("done", 3)
    assert campaign.isolated(lambda: os.kill(os.getpid(), 9), 30) == ("crash", "SIGKILL")
    assert campaign.isolated(lambda: time.sleep(60), 0.5) == ("hang", None)
    refused = campaign.run_source("fn run_a(p: int, q: int, x: f64, s: str) -> str:\n    return p\n", 60)
    assert campaign.failure_of(refused, "")[0].kind == "refused HYB301"


def test_the_oracle_evaluates_what_it_is_given_once() -> None:
    text = "fn run_k(p: int, q: int, x: f64, s: str) -> str:\n    var xs = [0.5, 2]\n    return f'{exp(xs.pop() - 2)} {xs}'\n"
    assert [o.text for o in Oracle(text).outcomes("run_k")] == ["1.0 [0.5]"] * len(engines.INPUTS)


def test_the_oracle_knows_the_signs_of_zeros(tmp_path: Path) -> None:
    values = "{min(z, -z)} {min(-z, z)} {max(-z, z)} {max(z, -z)} {min([z, -z])} {max([-z, z])}"
    text = f"fn run_k(p: int, q: int, x: f64, s: str) -> str:\n    let z = f64(q - q)\n    return f'{values}'\n\nexport run_k\n"
    assert [o.text for o in Oracle(text).outcomes("run_k")] == ["-0.0 -0.0 0.0 0.0 0.0 -0.0"] * len(engines.INPUTS)
    (tmp_path / "case.hyb").write_text(text)
    assert {o.text for o in engines.run(tmp_path / "case.hyb", ["interpreter", "O0"]).outcomes["O0"]["run_k"]} == {"-0.0 -0.0 0.0 0.0 0.0 -0.0"}


def test_the_oracle_compares_heaps_by_what_they_give() -> None:
    body = ["let a = heap[int, str]()", "var b = a", "b.push(q, s)", "return f'{a == b} {b == b} {[b].index(b)}'"]
    text = "fn run_k(p: int, q: int, x: f64, s: str) -> str:\n    " + "\n    ".join(body) + "\n"
    assert [o.text for o in Oracle(text).outcomes("run_k")] == ["false true 0"] * len(engines.INPUTS)
