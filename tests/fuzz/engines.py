"""Runs a file of cases on every engine: each `run_NAME(p, q, x, s) -> str` on some inputs."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from hybridc_runtime.artifact import load_artifact
from hybridc_runtime.module import Module

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.base.source import Source
from hybridc.core import ir
from hybridc.core.interface import Interface
from hybridc.core.interp import Interpreter, str_text, str_value
from hybridc.core.printer import print_program
from hybridc.core.values import InterpFault
from hybridc.core.verify import check_after
from hybridc.link import artifact as container
from hybridc.link import surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm import backend, processors
from hybridc.llvm.compile import Compiled
from tests.fuzz.stores import SUFFIX, StoreHost

Input = tuple[int, int, float, str]
INPUTS: list[Input] = [
    (0, 1, 0.5, ""), (5, -3, -2.25, "abcé"), (-1, 0, 0.0, "a,b a"), (2**62, 7, float("inf"), "12"),
    (3, 3, 63.75, "🦊a🦊"), (-(2**63), 2**63 - 1, float("nan"), " x\n"),
]  # fmt: skip
DEPTH = 400
"""How many calls may be nested here."""


@dataclass
class Outcome:
    """What one call did: text or fault (kind, message, line), and what it printed."""

    text: str | None = None
    fault: tuple[str, str, int] | None = None
    printed: str = ""


@dataclass
class Report:
    """Outcomes by engine, case and input; `leaks`: engines that left memory behind, by case."""

    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    leaks: list[tuple[str, str, int]] = field(default_factory=list)


class Unit:
    """A file of cases, compiled once."""

    def __init__(self, path: Path):
        self.path = path
        self.checked = checking.check(str(path))
        self.source = Source(str(path), path.read_text())
        self.core, self.interface = driver.lower(self.checked)
        surface.without_curvatures(self.interface)
        self.names = [name for name in self.interface.fns if name.startswith("run_")]
        self.code: tuple[ir.Program, Compiled] | None = None

    def optimised(self, guarded: bool = False) -> ir.Program:
        """After all passes, verified again even where HYB_VERIFY saves the verifier its work after each."""
        core = pipeline.optimise(self.core, self.interface, self.checked.sources, guarded=guarded)
        check_after("all passes", core)
        return core

    def interpreted(self, core: ir.Program | None = None) -> dict[str, list[Outcome]]:
        """Every case on the reference interpreter."""
        roots = surface.symbols(self.interface)
        host = StoreHost()
        machine = Interpreter(
            pipeline.differentiated(self.core, roots, self.checked.sources) if core is None else core, host, depth_limit=DEPTH)
        found: dict[str, list[Outcome]] = {}
        for name in self.names:
            entry = self.interface.fns[name][0]
            found[name] = []
            for p, q, x, s in INPUTS:
                outcome = Outcome()
                host.begin()
                printed = io.StringIO()
                with redirect_stdout(printed):
                    try:
                        outcome.text = str_text(machine.call(entry.symbol, (p, q, x, str_value(s)))[0])
                    except InterpFault as fault:
                        places = [span for _, span in fault.trace if span.path == str(self.path)]
                        line = self.source.line_column(places[0].start)[0] if places else 0
                        outcome.fault = (fault.kind, fault.message, line)
                outcome.printed = printed.getvalue()
                found[name].append(outcome)
        return found

    def native(self, core: ir.Program, opt: int) -> bytes:
        """The artifact at one of LLVM's levels; all are made from one text."""
        with mock.patch.dict(os.environ, HYB_OPT=str(opt)):
            if self.code is None or self.code[0] is not core:
                code = driver.native(core, self.interface, [processors.HOST])[0]
            else:
                code = at_level(self.code[1], opt)
        self.code = core, code
        manifest = manifest_of(self.path.stem, str(self.path), self.interface, core, code.tables, self.checked.sources, {})
        return container.pack(manifest, [code], print_program(core), container.digests(self.checked.sources))

    def on_device(self) -> Module:
        """Loaded with every tensor operator that can be a GPU kernel as one, whose Triton source is interpreted."""
        asked = {"HYB_PLACE": "all", "HYB_INTERPRET_APART": "1"}
        os.environ.update(asked)
        try:
            return hybridc.load(self.path, device="interpret")
        finally:
            for name in asked:
                os.environ.pop(name)

    def called(self, module: Module, leaks: list[tuple[str, str, int]], engine: str) -> dict[str, list[Outcome]]:
        """Every case from Python."""
        found: dict[str, list[Outcome]] = {}
        part = module._parts[0]
        for name in self.names:
            function = getattr(module, name)
            found[name] = []
            before = part.program.live_blocks()
            for given in INPUTS:
                outcome = Outcome()
                printed = io.StringIO()
                with redirect_stdout(printed):
                    try:
                        outcome.text = function(*given)
                    except hybridc.RuntimeFault as fault:
                        line = fault.frames[-1][1] if fault.frames else 0
                        outcome.fault = (type(fault).__name__, str(fault), line)
                outcome.printed = printed.getvalue()
                found[name].append(outcome)
            left = part.program.live_blocks() - before
            if left:
                leaks.append((engine, name, left))
        return found


def at_level(code: Compiled, opt: int) -> Compiled:
    """The same code by another of LLVM's levels."""
    return replace(code, objects=list(backend.objects([(text, code.cpu) for text in code.pieces], opt)), opt=opt)


ENGINES = ("interpreter", "O0", "artifact")
"""Those that run every program; `passes`, `guarded` (with the checks of Core that somebody else made) and `device` are
asked for."""


def run(path: Path, engines: Iterable[str] = ENGINES, every_pass: bool = True) -> Report:
    """Every case of a file on the engines. CompileError if the file has errors. Core is verified after `every_pass`, or
    after the last only, which saves a tenth of the time."""
    settings = {"HYB_DEPTH": str(DEPTH), "HYB_VERIFY": str(int(every_pass))}
    with mock.patch.dict(os.environ, settings), contextlib.chdir(path.parent):
        return _run(path, engines)


def _run(path: Path, engines: Iterable[str]) -> Report:
    report = Report()
    unit = Unit(path)
    core: ir.Program | None = None
    for engine in engines:
        for left in path.parent.glob(f"*{SUFFIX}*"):
            left.unlink()
        if engine != "interpreter" and core is None:
            core = unit.optimised()
        match engine:
            case "interpreter":
                report.outcomes[engine] = unit.interpreted()
            case "passes":
                report.outcomes[engine] = unit.interpreted(core)
            case "O0":
                assert core is not None
                module = load_artifact(unit.native(core, 0), trust=True)
                report.outcomes[engine] = unit.called(module, report.leaks, engine)
            case "artifact":
                assert core is not None
                file = path.with_suffix(".hybx")
                file.write_bytes(unit.native(core, 3))
                report.outcomes[engine] = unit.called(hybridc.load(file, trust=True), report.leaks, engine)
                file.unlink()
            case "guarded":
                module = load_artifact(unit.native(unit.optimised(guarded=True), 2), trust=True)
                report.outcomes[engine] = unit.called(module, report.leaks, engine)
            case "device":
                report.outcomes[engine] = unit.called(unit.on_device(), report.leaks, engine)
    return report


__all__ = ["ENGINES", "INPUTS", "Input", "Interface", "Outcome", "Report", "Unit", "run"]
