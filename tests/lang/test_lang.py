"""Every program of this folder: its `test` blocks on the reference interpreter, in compiled code, and from a `.hybx`."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import driver, loading, pipeline
from hybridc.base.recursion import deep_recursion
from hybridc.core.interp import Interpreter
from hybridc.core.ir import Program as Core
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.link import surface

HERE = Path(__file__).parent
ELEMENTS = ("f32[", "f64[", "int[", "f16[", "tensor(", "from nn", "param ")
"""One of these stands in every program that computes with tensors."""
FILES = sorted([*HERE.glob("*/*.hyb"), *HERE.parent.parent.glob("examples/*/*.hyb")])

EXTERNS = {"memory": {"place": lambda: "memory.store"}}
"""What a program of the examples takes from its host."""


class Program:
    """A file on its way to code, each stage made once for all tests of it."""

    def __init__(self, path: Path):
        self.path = path
        self.checked = driver.check(str(path))
        self.core, self.interface = driver.lower(self.checked, tests=True)

    def better(self) -> Core:
        """After all passes. As functions that are recognised, so that what they become is made once for all tests."""
        with deep_recursion():
            lowered, interface = driver.lower(self.checked, tests=True, later=True)
            core, origins = pipeline.recognised(pipeline.reached(lowered, interface), self.checked.sources)
            return pipeline.optimise(core, interface, self.checked.sources, origins=origins)

    def interpret(self, core: Core) -> None:
        machine = Interpreter(core)
        for title, symbol in self.interface.tests:
            assert machine.call(symbol, ()) == (), title


@pytest.fixture(scope="class", params=FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="class")
def program(path: Path) -> Program:
    return Program(path)


class TestPrograms:
    def test_interpreted(self, program: Program) -> None:
        assert program.interface.tests, "no test block"
        roots = surface.symbols(program.interface)
        program.interpret(pipeline.differentiated(program.core, roots, program.checked.sources))

    def test_interpreted_after_the_passes(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HYB_VERIFY", "1")
        program.interpret(program.better())

    def test_compiled(self, path: Path) -> None:
        assert [call() for _, call in loading.tests(str(path))]

    def test_from_an_artifact(self, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As LLVM has it before it optimises, where the other compiled code is as it makes it."""
        monkeypatch.setenv("HYB_OPT", "0")
        file = tmp_path / "program.hybx"
        file.write_bytes(driver.artifact(program.checked, tests=True))
        rebuilt = FILES.index(program.path) % 8 == 0  # from the Core that it holds
        externs = EXTERNS.get(program.path.stem)
        assert [call() for _, call in hybridc.load(str(file), trust=not rebuilt, externs=externs)._tests]

    def test_on_the_interpreted_device(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every tensor operator that can be a GPU kernel is one, its Triton source interpreted; host code that reads
        memory of the device would read none."""
        if not any(word in path.read_text() for word in ELEMENTS):
            pytest.skip("no tensors")
        pytest.importorskip("triton")
        monkeypatch.setenv("HYB_PLACE", "all")
        monkeypatch.setenv("HYB_INTERPRET_APART", "1")
        monkeypatch.setenv("HYB_OPT", "0")
        assert [call() for _, call in loading.tests(str(path), device="interpret")]

    def test_core_text_round_trip(self, program: Program) -> None:
        assert read(print_program(program.core)) == (program.core, [])
