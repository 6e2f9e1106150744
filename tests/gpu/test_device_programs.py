"""Programs mean the same with their kernels on a GPU: every tensor operator that can be one is a GPU kernel, whose Triton
source is interpreted, and host code that reads memory of the device would read none. The language's programs and the
examples run so in tests/lang; here those of other folders, generated ones, and the conformance cases, where they are
present beside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import hybridc  # noqa: E402
from tests.fuzz import campaign, engines  # noqa: E402
from tests.fuzz.program import case, file_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("unoptimised")

pytest.importorskip("triton")
CONFORMANCE = ROOT.parent / "shared" / "conformance"
TENSORS = ("f32[", "f64[", "int[", "from nn", "param ")
APART = {"HYB_PLACE": "all", "HYB_INTERPRET_APART": "1"}
LOADED = """\
import runpy, sys, hybridc
from_source = hybridc.load

def load(path, **options):
    return from_source(path, **({} if str(path).endswith(".hybx") else {"device": "interpret"}) | options)

hybridc.load = load
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script in which source is loaded for the launcher that interprets; an artifact as it was built."""


def cases() -> list[str]:
    """Conformance cases that compute with tensors."""
    found = sorted(CONFORMANCE.glob("cases/*.json"))
    return [f.stem for f in found if any(w in f.with_suffix(".hyb").read_text() for w in TENSORS)]


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="the conformance cases are not beside the checkout")
@pytest.mark.parametrize("name", cases())
def test_conformance(name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for f in (CONFORMANCE / "cases").iterdir():
        if f.name.startswith((f"{name}.", f"{name}__")) and f.suffix not in (".json", ".py"):
            (shutil.copytree if f.is_dir() else shutil.copy)(f, work / f.name)
    environment = {**os.environ, **APART, "HYB_CACHE_DIR": str(tmp_path / "cache")}
    result = tmp_path / "result.json"
    script = [sys.executable, "-c", LOADED, str(CONFORMANCE / "child.py"), name, str(result)]
    ran = subprocess.run(script, cwd=work, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(result.read_text()) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests/found").glob("*.hyb")), ids=lambda p: p.stem)
def test_what_was_found(path: Path) -> None:
    outcome = campaign.run_source(path.read_text(), 120, ("interpreter", "device"))
    assert campaign.failure_of(outcome, path.read_text()) == []


@pytest.mark.parametrize("subject, number", [("tensors", i) for i in range(4)] + [("models", i) for i in range(2)])
def test_generated(subject: str, number: int) -> None:
    source = file_of([case(f"device-{number}", "k", subject).source])
    outcome = campaign.run_source(source, 120, ("interpreter", "device"))
    assert outcome[0] == "ran" and outcome[1][1] == len(engines.INPUTS)
    assert campaign.failure_of(outcome, source) == []


def test_without_memory_for_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in APART.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "p.hyb").write_text("fn f(n: int) -> f32[?]:\n    return zeros(n)\n")
    mod = hybridc.load(tmp_path / "p.hyb", device="interpret")
    with pytest.raises(MemoryError, match="out of memory") as caught:
        mod.f(2**60)
    assert isinstance(caught.value, hybridc.RuntimeFault) and caught.value.frames[-1][1] == 2
    assert list(mod.f(2)) == [0, 0]  # usable as before
