"""One small input of each example gives the same result with every kernel that a GPU would run interpreted, and what it
takes is built for NVIDIA's and AMD's GPUs with none present. That compiles dozens of kernels four times for each example
and takes minutes, so it only runs with `HYB_SLOW=1`; `HYB_SLOW=2` builds the whole examples, training too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime.artifact import Contents, read_file

import hybridc
from hybridc.build import write_artifact

pytestmark = pytest.mark.usefixtures("unoptimised")

pytest.importorskip("triton")
TARGETS = "cuda:sm_90,hip:gfx942"
SMALL = {
    "alphazero": """\
from alphazero import Player, Guide, Position

fn small() -> (f32[9], f32[2, 10]):
    let m = Player(3, 3, 3, 9, 16, seed=3)
    var g = rng(1)
    let shares = m.search(m.play(m.play(Position(), 4), 0), 12, Guide.Network, 0.0, mut g)
    let x: f32[2, 27] = sin(reshape(f32(arange(2 * 27)), 2, 27))
    return (shares, m(x))
""",
    "treelstm": """\
from treelstm import TreeLSTM, parse

fn small() -> (f32[?], f32):
    let m = TreeLSTM(8, seed=3)
    let t = parse("[MAX 2 9 [MIN 4 7 ] 0 ]")
    return (m(t), m.loss(t))
""",
    "translate": """\
from translate import Translator, Example

fn small() -> (str, f32, f32):
    let m = Translator(8, seed=3)
    let found = m.translate("2.3.04", 2, 2)
    return (found.iso, found.surprise, m.loss(Example("2.3.04", "20")))
""",
    "ponder": """\
from ponder import Ponder

fn small() -> (int, f32, f32):
    let m = Ponder(5, 8, 6, seed=3)
    let row: f32[5] = [1, 0, -1, 1, 1]
    let thought = m(row)
    let loss, turns = m.loss(row, true, 0.2, 0.05)
    return (thought.turns, loss, turns)
""",
    "memory": """\
from memory import Recogniser

fn small() -> (int, f32[?]):
    var m = Recogniser(4, seed=3)
    let images = [sin(f32(arange(64)) * f32(i + 1)) for i in range(2)]
    m.see(images)
    for i, x in enumerate(images):
        m.remember(x, i)
    let found = m.recognise(images[1])
    return (found ?? -1, m.key(images[0]))
""",
    "router": """\
from router import Reader

fn small() -> (f32[?, 10], f32, int):
    let m = Reader(8, 4, seed=3)
    let x = sin(reshape(f32(arange(6 * 64)), 6, 64))
    let loss, full = m.loss(x, [0, 1, 2, 3, 4, 5], 0.1)
    return (m(x), loss, full)
""",
    "routes": """\
from routes import Surveyor, random_map, shortest_way

fn small() -> (f32[?], list[int]):
    let s = Surveyor(8, 2, seed=3)
    var g = rng(2)
    let m = random_map(3, mut g)
    let costs = s(m)
    return (costs, shortest_way(m, costs))
""",
    "digitsum": """\
from digitsum import Reader, Question, Task

fn small() -> (f32, f32, list[int]):
    let m = Reader(8, seed=3)
    let images = [sin(f32(arange(64)) * f32(i + 1)) for i in range(3)]
    let sum, largest = (Question(Task.Sum, images, [7]), Question(Task.Largest, images, [5]))
    return (m.loss(sum), m.loss(largest), m.answer(Task.Sorted, images))
""",
}


@pytest.fixture(params=SMALL)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    (tmp_path / "small.hyb").write_text(SMALL[request.param])
    return request.param, tmp_path / "small.hyb"


def flat(value: object) -> list[object]:
    parts = value if isinstance(value, (tuple, list)) else [value]
    return [x for p in parts for x in (flat(p) if isinstance(p, (tuple, list)) else [p])]


def test_the_same_result(program, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = program
    results = []
    for device in ("cpu", "interpret"):
        externs = {"place": lambda device=device: str(tmp_path / f"{device}.store")} if name == "memory" else None
        monkeypatch.setenv("HYB_PLACE", "all")
        monkeypatch.setenv("HYB_INTERPRET_APART", "1")
        mod = hybridc.load(path, root=str(examples / name), device=device, externs=externs)
        results.append(flat(mod.small()))
    for want, got in zip(*results, strict=True):
        if isinstance(want, (str, int)):
            assert want == got
        else:
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def test_is_built(program, examples: Path, tmp_path: Path) -> None:
    name, path = program
    slow = os.environ.get("HYB_SLOW")
    if not slow:
        pytest.skip("many kernels, which take minutes: HYB_SLOW=1 builds them")
    root = str(examples / name)
    if slow == "2":
        path, root = examples / name / f"{name}.hyb", None
    inner = read_file(write_artifact(str(path), str(tmp_path), target=f"cpu,{TARGETS}", root=root)).device()
    assert isinstance(inner, Contents)
    targets = {m.target for m in inner.members if not m.target.startswith("cpu")}
    assert set(TARGETS.split(",")) <= targets
