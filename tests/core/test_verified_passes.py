"""Which pass made a mistake is said, though by default Core is verified after the last one only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hybridc import checking, driver, pipeline
from hybridc.core.ir import Block, Program, Yield
from hybridc.core.verify import CoreError, check_after


def forgets_its_result(core: Program) -> Program:
    return Program(core.structs, core.enums, {n: replace(f, body=Block((), Yield())) for n, f in core.fns.items()})


def optimised(folder: Path) -> Program:
    path = folder / "one.hyb"
    path.write_text("fn f(x: int) -> int:\n    return x + 1\n\nexport f\n")
    checked = checking.check(str(path))
    core, interface = driver.lower(checked)
    return pipeline.optimise(core, interface, checked.sources)


def with_pass(monkeypatch: pytest.MonkeyPatch, run: pipeline.Pass) -> None:
    monkeypatch.setattr(pipeline, "PASSES", [*pipeline.PASSES[:3], ("broken", run), *pipeline.PASSES[3:]])


@pytest.mark.parametrize("each", [None, "1"])
def test_the_pass_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, each: str | None) -> None:
    with_pass(monkeypatch, lambda core, _: forgets_its_result(core))
    if each:
        monkeypatch.setenv("HYB_VERIFY", each)
    else:
        monkeypatch.delenv("HYB_VERIFY")
    with pytest.raises(CoreError, match="after broken:\n.*0 values instead of 1"):
        optimised(tmp_path)


def test_nothing_is_verified_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_pass(monkeypatch, lambda core, _: forgets_its_result(core))
    monkeypatch.setenv("HYB_VERIFY", "0")
    with pytest.raises(ValueError, match="zip"):  # a later pass breaks down
        optimised(tmp_path)


def test_good_passes_are_verified_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named: list[str] = []
    for module in (driver, pipeline):
        monkeypatch.setattr(module, "check_after", lambda name, *rest: (named.append(name), check_after(name, *rest)))
    monkeypatch.delenv("HYB_VERIFY")
    optimised(tmp_path)
    assert named == ["all passes"]
    monkeypatch.setenv("HYB_VERIFY", "1")
    optimised(tmp_path)
    assert {name for name, _ in pipeline.PASSES} <= {*named} and "lower" in named
