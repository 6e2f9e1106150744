"""`hybridc tune`: schedules are measured where there is a GPU, the fastest is kept and used by the next build."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hybridc_runtime.artifact import Contents, read_file
from hybridc_runtime.cuda import Cuda

from hybridc import driver, tuning
from hybridc.build import write_artifact
from hybridc.cli import main
from hybridc.triton.schedules import by_table, candidates, recalled

sys.path.insert(0, str(Path(__file__).parent.parent / "runtime"))
from test_launchers import Driver  # noqa: E402

pytestmark = pytest.mark.usefixtures("unoptimised")

pytest.importorskip("triton")
SOURCE = "fn f(x: f32[N, 64]) -> f32[N, 64]:\n    return softmax(x * 2)\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "p.hyb").write_text(SOURCE)
    return tmp_path / "p.hyb"


def test_without_a_gpu_it_says_so(file: Path) -> None:
    result = CliRunner().invoke(main, ["tune", str(file)])
    assert result.exit_code == 1
    assert re.search(r"nothing is measured: .*no NVIDIA GPU.*no AMD GPU", result.output)


class Timed(Driver):
    """A GPU on which the fourth schedule is the fastest: a launch takes as long as this says."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.modules = 0.0, 0

    def cuModuleLoadData(self, module: ctypes._Pointer, code: bytes) -> int:  # noqa: N802
        self.calls.append(("cuModuleLoadData", (code,)))
        self.modules += 1
        return 0

    def cuLaunchKernel(self, *args: object) -> int:  # noqa: N802
        self.calls.append(("cuLaunchKernel", args))
        self.now += 1e-6 if self.modules == 4 else 3e-6
        return 0

    def cuGraphLaunch(self, *args: object) -> int:  # noqa: N802
        self.now += tuning.TURNS * (1e-6 if self.modules == 4 else 3e-6)
        return 0


def test_the_fastest_is_kept_and_built(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (launch,) = driver.kernels_of(str(file)).launches
    every = candidates(launch, "cuda:sm_90")
    assert len(every) > 4 and len({str(c) for c in every}) == len(every)
    tried = every[:4]  # each takes a compiler a second
    monkeypatch.setattr(tuning, "candidates", lambda launch, target: tried)
    gpu = Timed()
    outcomes = list(tuning.tune(str(file), Cuda, library=gpu, clock=lambda: gpu.now))
    (o,) = outcomes
    assert o.tried == len(tried) == gpu.modules and o.best == tried[3] != by_table(launch, "cuda:sm_90")
    assert o.seconds == pytest.approx(1e-6) and o.before == pytest.approx(3e-6)
    assert len(gpu.named("cuMemAllocAsync")) == len(gpu.named("cuMemFreeAsync")) == 2 * len(tried)
    # Kept for this GPU and no other.
    assert recalled(launch, "cuda:sm_90") == tried[3] and recalled(launch, "cuda:sm_80") is None
    built = write_artifact(str(file), str(tmp_path), target="cpu,cuda:sm_90,cuda:sm_80")
    inner = read_file(built).device()
    assert isinstance(inner, Contents)
    constants = {m.target: m.about["constants"] for m in inner.members if m.kind == "code" and "kernel" in m.about}
    assert constants["cuda:sm_90"] == dict(tried[3].constants)
    assert constants["cuda:sm_80"] == dict(by_table(launch, "cuda:sm_80").constants)
    # A launch shares out its work by what was built.
    device = Cuda(inner.device_code(), Driver())
    assert device.kernels[0].constants == constants["cuda:sm_90"]


def test_schedules_go_by_shape_and_architecture(tmp_path: Path) -> None:
    (tmp_path / "q.hyb").write_text(
        "fn f(x: f32[N, 64], w: f32[64, 512]) -> f32[N, 512]:\n    return relu(x @ w)\n"
        "fn g(x: f32[8, 64], w: f32[64, 512]) -> f32[8, 512]:\n    return relu(x @ w) + 1.0\n"
    )
    many, few = driver.kernels_of(str(tmp_path / "q.hyb")).launches
    assert by_table(many, "cuda:sm_90").constants["ROWS"] == 64 and by_table(few, "cuda:sm_90").constants["ROWS"] == 16
    assert by_table(many, "cuda:sm_90").stages == 3 and by_table(many, "hip:gfx942").stages == 2
