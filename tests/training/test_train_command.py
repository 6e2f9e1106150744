"""`hybridc train`: goes on bit for bit after kill -9, says what is wrong, keeps what was reached."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from hybridc_runtime import weights

import hybridc
from hybridc.cli import main
from hybridc.training import checkpoint, curve

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = str(Path(__file__).with_name("goes_on.hyb"))
ARGS = ["phase=Phase.Warm", "log=[]", "opt=AdamW(lr=0.02)"]


def command(function: str, folder: Path, *more: str) -> list[str]:
    return ["train", SOURCE, function, *more, "-o", str(folder)]


def invoke(*args: str):
    return CliRunner().invoke(main, list(args))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    result = invoke(*command("train", folder, *ARGS, "--calls", "40", "--seed", "7", "--every", "0"))
    assert result.exit_code == 0, result.output
    return folder


def same(a: Path, b: Path) -> None:
    for name in (checkpoint.NAME, "m.safetensors", "loss.svg"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_what_is_kept(whole: Path) -> None:
    asked = checkpoint.asked_of(whole / checkpoint.NAME)
    assert asked["seed"] == 7 and asked["calls"] == 40 and asked["function"] == "goes_on.train"
    assert asked["arguments"]["opt"] == "AdamW(lr=0.02)" and len(asked["sources"]) == 64
    tensors, metadata = weights.load(whole / checkpoint.NAME)
    losses = tensors["losses"][1]
    assert len(losses) == 40 and losses[-5:].mean() < 0.5 * losses[:5].mean()
    assert {"m/a.weight", "m/norm.running_mean", "opt", "phase", "log"} <= set(tensors)
    assert {"g", "m/state.seen"} <= set(metadata)
    root = ElementTree.parse(whole / "loss.svg").getroot()
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(line.attrib["points"].split()) == 40
    m = hybridc.load(SOURCE).Net()
    m.load(whole / "m.safetensors")
    assert m.state_dict()["seen"] == {"batches": 800}


def test_in_two_runs(whole: Path, tmp_path: Path) -> None:
    for calls in ("11", "40"):
        assert invoke(*command("train", tmp_path, *ARGS, "--calls", calls, "--seed", "7")).exit_code == 0
    same(whole, tmp_path)


def test_killed(whole: Path, tmp_path: Path) -> None:
    """Killed several times, at any moment, while it writes checkpoints after every call."""
    full = [sys.executable, "-m", "hybridc", *command("train", tmp_path, *ARGS, "--seed", "7", "--every", "0")]
    seen = 0
    for stop in (3, 9, 20):
        run = subprocess.Popen([*full, "--calls", "1000000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 100
        while seen < stop and time.monotonic() < end and run.poll() is None:
            if (tmp_path / checkpoint.NAME).exists():
                seen = checkpoint.asked_of(tmp_path / checkpoint.NAME)["calls"]
            time.sleep(0.001)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert stop <= seen, run.stderr.read() if run.stderr else ""
        seen = checkpoint.asked_of(tmp_path / checkpoint.NAME)["calls"]
        if seen >= 40:
            break
    if seen > 40:
        other = tmp_path / "longer"
        assert invoke(*command("train", other, *ARGS, "--calls", str(seen), "--seed", "7")).exit_code == 0
        whole = other
    result = invoke(*command("train", tmp_path, *ARGS, "--calls", str(max(seen, 40)), "--seed", "7"))
    assert result.exit_code == 0 and f"going on after call {seen}" in result.stderr
    same(whole, tmp_path)
    assert not list(tmp_path.glob(".*.tmp"))


def test_other_arguments(whole: Path) -> None:
    result = invoke(*command("train", whole, *ARGS, "--calls", "50", "--seed", "8"))
    assert result.exit_code == 1 and "was made with seed 7, not 8; --fresh starts again" in result.stderr


def test_interrupted(tmp_path: Path) -> None:
    full = [sys.executable, "-m", "hybridc", *command("endless", tmp_path, "--calls", "10", "--every", "1000")]
    run = subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None and "call 1/10" in run.stderr.readline()
    time.sleep(1.0)
    run.send_signal(signal.SIGINT)
    assert "stopped after call 2" in run.stderr.read() and run.wait(20) == 130
    before = hybridc.load(SOURCE).Net().state_dict()["a.weight"]
    kept = weights.load(tmp_path / checkpoint.NAME)[0]["m/a.weight"][1]
    np.testing.assert_array_equal(kept, before + 1 + 1)


def test_faults_keep_what_was_reached(tmp_path: Path) -> None:
    result = invoke(*command("breaks", tmp_path, "--calls", "10"))
    assert result.exit_code == 1 and "AssertionError: enough" in result.stderr and "goes_on.hyb" in result.stderr
    assert checkpoint.asked_of(tmp_path / checkpoint.NAME)["calls"] == 2
    result = invoke(*command("diverge", tmp_path / "nan", "--calls", "10", "--every", "0"))
    assert result.exit_code == 1 and "the loss of call 4 is nan" in result.stderr and "HYB_TRAP_NAN=1" in result.stderr
    assert checkpoint.asked_of(tmp_path / "nan" / checkpoint.NAME)["calls"] == 3


WRONG = {
    "there is no function `nothing`": ["nothing"],
    "has no parameter `x`": ["train", "x=3"],
    "needs `log`: say log=VALUE": ["train", "phase=Phase.Warm"],
    "'phase' is not NAME=VALUE": ["train", "phase"],
    "neither a literal nor a call": ["train", "log=[][0]", "phase=Phase.Warm"],
    "is no expression": ["train", "log=[", "phase=Phase.Warm"],
    "there is no open": ["train", "log=open(3)", "phase=Phase.Warm"],
    "gives 3, not a loss": ["no_loss"],
    "data is read from": ["train", "log=@x.txt", "phase=Phase.Warm"],
    "No such file": ["train", "log=@none.json", "phase=Phase.Warm"],
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes(message: str, tmp_path: Path) -> None:
    function, *rest = WRONG[message]
    result = invoke(*command(function, tmp_path, *rest, "--calls", "2"))
    assert result.exit_code == 1 and message in result.stderr, result.stderr
    assert "Traceback" not in result.stderr


def test_damaged(tmp_path: Path) -> None:
    (tmp_path / checkpoint.NAME).write_bytes(b"nothing")
    result = invoke(*command("breaks", tmp_path, "--calls", "1"))
    assert result.exit_code == 1 and "--fresh starts again" in result.stderr
    assert invoke(*command("breaks", tmp_path, "--calls", "1", "--fresh")).exit_code == 0


def test_data_from_files(tmp_path: Path) -> None:
    source = tmp_path / "m.hyb"
    source.write_text("fn f(mut total: list[f32], x: f32[N], y: list[int]) -> f32:\n"
                      "    total.push(sum(x) + f32(sum(y)))\n    return total[-1]\n")
    np.savez(tmp_path / "d.npz", x=np.arange(3, dtype=np.float32))
    (tmp_path / "y.json").write_text("[1, 2]")
    run = subprocess.run([sys.executable, "-m", "hybridc", "train", "m.hyb", "f", "total=[]", "x=@d.npz:x", "y=@y.json",
                          "--calls", "2"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    assert list(weights.load(tmp_path / "m.train" / checkpoint.NAME)[0]["losses"][1]) == [6.0, 6.0]


def test_curves() -> None:
    for losses in ([], [1.0], [0.0, -1.0, 5.0], [float("nan"), 2.0], [1e-30, 1e30], list(range(1, 5000))):
        root = ElementTree.fromstring(curve.svg([float(x) for x in losses], "a < b & c"))
        (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
        points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
        assert min(len(losses), 1) <= len(points) <= curve.MOST_POINTS
        assert all(0 <= x <= curve.WIDTH and 0 <= y <= curve.HEIGHT for x, y in points)


def test_a_model_whose_type_says_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "typed.hyb"
    path.write_text(
        "from nn import Linear\n\n"
        "model Net(sizes: list[int], act: str = \"relu\"):\n    let net = Linear(sizes[0], sizes[1])\n\n"
        "    fn forward(x: f32[2]) -> f32[3]:\n        return self.net(x)\n\n"
        "fn train(mut m: Net[[2, 3], \"tanh\"], step: int) -> f32:\n"
        "    set_params(mut m, params(m) * 0.5)\n    return sum(abs(params(m)))\n"
    )
    result = invoke("train", str(path), "train", "--calls", "3", "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert weights.load(tmp_path / "m.safetensors")[0]["net.weight"][1].shape == (3, 2)


def test_the_only_exported_configuration(tmp_path: Path) -> None:
    path = tmp_path / "exported.hyb"
    text = (
        "from nn import Linear\n\n"
        "model Net(d: int, act: str):\n    let net = Linear(d, 3)\n\n"
        "    fn forward(x: f32[d]) -> f32[3]:\n        return self.net(x)\n\n"
        "fn train(mut m: Net, step: int) -> f32:\n"
        "    set_params(mut m, params(m) * 0.5)\n    return sum(abs(params(m)))\n\n"
        "export train\nexport Net(2, \"tanh\")"
    )
    for name in ("", " as small"):
        path.write_text(text + name + "\n")
        result = invoke("train", str(path), "train", "--calls", "2", "-o", str(tmp_path), "--fresh")
        assert result.exit_code == 0, result.output
        assert weights.load(tmp_path / "m.safetensors")[0]["net.weight"][1].shape == (3, 2)
