"""Runs Hyb source on the reference interpreter: parse, check, lower, verify, run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hybridc.base.diagnostic import CompileError
from hybridc.core import ir
from hybridc.core.interp import Interpreter
from hybridc.core.interp_ops import str_text, str_value
from hybridc.core.verify import check_after
from hybridc.front.check.checker import check
from hybridc.front.lower.program import lower

Run = Callable[..., str]


@pytest.fixture
def core(tmp_path: Path) -> Callable[[str], ir.Program]:
    def build(source: str) -> ir.Program:
        path = tmp_path / "case.hyb"
        path.write_text(source)
        checked, wrong, sources = check(str(path), lambda p: Path(p).read_text())
        if checked is None or wrong:
            raise CompileError(wrong, sources)
        program, _, refused = lower(checked, all_names=True)
        if refused:
            raise CompileError(refused, sources)
        check_after("lower", program)
        return program

    return build


@pytest.fixture
def run(core: Callable[[str], ir.Program]) -> Run:
    """`run(source)` gives the text that `main` returns."""
    def go(source: str, *args: object, fn: str = "main") -> str:
        printed: list[str] = []

        def host(name: str, values: tuple[object, ...], types: object) -> tuple[object, ...]:
            assert name == "print"
            printed.append(str_text(values[0]))
            return ()

        machine = Interpreter(core(source), host)
        results = machine.call(fn, [str_value(a) if isinstance(a, str) else a for a in args])
        return "".join(printed) + "".join(str_text(r) for r in results)

    return go
