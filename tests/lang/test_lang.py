"""Every program of this folder: its `test` blocks on the reference interpreter, in compiled code, and from a `.hybx`."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybridc
from hybridc import driver, loading
from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.link import surface

HERE = Path(__file__).parent
ELEMENTS = ("f32[", "f64[", "int[", "f16[", "tensor(", "from nn", "param ")
"""One of these stands in every program that computes with tensors."""
FILES = sorted([*HERE.glob("*/*.hyb"), *HERE.parent.parent.glob("examples/*/*.hyb")])

EXTERNS = {"memory": {"place": lambda: "memory.store"}}
"""What a program of the examples takes from its host."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
class TestPrograms:
    def test_interpreted(self, path: Path) -> None:
        checked = driver.check(str(path))
        core, interface = driver.lower(checked, tests=True)
        assert interface.tests, "no test block"
        machine = Interpreter(driver.differentiated(core, surface.symbols(interface), checked.sources))
        for title, symbol in interface.tests:
            assert machine.call(symbol, ()) == (), title

    def test_interpreted_after_the_passes(self, path: Path) -> None:
        checked = driver.check(str(path))
        core, interface = driver.lower(checked, tests=True)
        machine = Interpreter(driver.optimise(core, interface, checked.sources))
        for title, symbol in interface.tests:
            assert machine.call(symbol, ()) == (), title

    def test_compiled(self, path: Path) -> None:
        assert [call() for _, call in loading.tests(str(path))]

    def test_from_an_artifact(self, path: Path, tmp_path: Path) -> None:
        file = tmp_path / "program.hybx"
        file.write_bytes(driver.artifact(driver.check(str(path)), tests=True))
        rebuilt = FILES.index(path) % 8 == 0  # from the Core that it holds
        assert [call() for _, call in hybridc.load(str(file), trust=not rebuilt, externs=EXTERNS.get(path.stem))._tests]

    def test_on_the_interpreted_device(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every tensor operator that can be a GPU kernel is one, its Triton source interpreted; host code that reads
        memory of the device would read none."""
        if not any(word in path.read_text() for word in ELEMENTS):
            pytest.skip("no tensors")
        pytest.importorskip("triton")
        monkeypatch.setenv("HYB_PLACE", "all")
        monkeypatch.setenv("HYB_INTERPRET_APART", "1")
        assert [call() for _, call in loading.tests(str(path), device="interpret")]

    def test_core_text_round_trip(self, path: Path) -> None:
        core, _ = driver.lower(driver.check(str(path)), tests=True)
        assert read(print_program(core)) == (core, [])
