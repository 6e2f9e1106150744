"""`hybridc build --weights NAME=FILE`: the values of exported models within the artifact."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hybridc_runtime import artifact as container
from safetensors.numpy import save_file

import hybridc
from hybridc.cli import main

pytestmark = pytest.mark.usefixtures("unoptimised")

PROGRAM = """
from nn import Linear

enum Mood:
    Calm
    Loud(times: int)

model Net(n: int, k: int = 2):
    let lin = Linear(n, k)
    param w: f32[n] = normal(1.0)
    state count: int = 0
    state mean: f32[n] = zeros()
    state moods: list[Mood] = [Calm]

    fn forward(x: f32[n]) -> f32[k]:
        return self.lin(x * self.w + self.mean)

    mut fn see(x: f32[n]):
        self.count += 1
        self.mean += x
        self.moods.push(Loud(self.count))

fn within(x: f32[3]) -> f32[2]:
    return Net(3)(x)

export Net(3) as small
export Net(3) as other
export Net(4)
export within
"""
PARAMS = ("w", "lin.weight", "lin.bias")
X = np.array([1, 2, 3], np.float32)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, its cache, and files of weights."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "net.hyb").write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYB_CACHE_DIR", str(folder / "cache"))
        mod = hybridc.load(folder / "net.hyb")
        m = mod.Net(3, seed=5)
        m.see(X)
        m.see(X)
        m.save(folder / "a.safetensors")
        mod.Net(4, seed=6).save(folder / "b.safetensors")
    return folder


@pytest.fixture
def folder(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(shared / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("net.hyb", "a.safetensors", "b.safetensors"):
        shutil.copy(shared / name, tmp_path)
    return tmp_path


def source() -> Any:
    return hybridc.load(os.path.join(os.environ["HYB_CACHE_DIR"], "..", "net.hyb"))


def build(*args: str) -> Result:
    return CliRunner().invoke(main, ["build", "net.hyb", "--target", "cpu:host", *args])


def error(*args: str, code: int = 1) -> str:
    done = build(*args)
    assert done.exit_code == code, done.output
    return done.output.strip()


def same(a: object, b: object) -> bool:
    x, y = (m.state_dict() for m in (a, b))  # type: ignore[attr-defined]
    return list(x) == list(y) and all(str(x[k]) == str(y[k]) for k in x)


def test_a_model_has_the_values_of_the_file(folder: Path) -> None:
    assert build("--weights", "small=a.safetensors").exit_code == 0
    program, built = source(), hybridc.load("net.hybx")
    given = program.Net(3, seed=9)
    given.load("a.safetensors")
    assert same(built.small(), given)
    assert np.array_equal(built.small()(X), given(X))
    assert same(built.small(), built.small())
    for first in (built.small(seed=0), built.other(), built.Net(3)):  # who names a seed, or another export
        assert same(first, program.Net(3))
    assert np.array_equal(built.within(X), program.within(X))


def test_several_models_and_one_by_its_own_name(folder: Path) -> None:
    text = PROGRAM.replace("export Net(3) as other\nexport Net(4)", "export Other").replace("Net(3)", "Net(n=3)")
    Path("net.hyb").write_text(text + "\nmodel Other(n: int = 2):\n    param v: f32[n] = zeros()\n")
    save_file({"v": np.array([7, 8], np.float32)}, "other.safetensors")
    assert build("--weights", "small=a.safetensors", "--weights", "Other=other.safetensors").exit_code == 0
    built = hybridc.load("net.hybx")
    assert built.Other().state_dict()["v"].tolist() == [7, 8] and built.Other(2).state_dict()["v"].tolist() == [7, 8]
    assert built.Other(seed=0).state_dict()["v"].tolist() == [0, 0]
    assert built.small().state_dict()["count"] == 2


def test_the_same_bytes(folder: Path) -> None:
    """Of each build, and however the file has the values."""
    build("--weights", "small=a.safetensors", "-o", "one")
    build("--weights", "small=a.safetensors", "-o", "two")
    one = Path("one/net.hybx").read_bytes()
    assert one == Path("two/net.hybx").read_bytes()
    data = hybridc.load("one/net.hybx").small().state_dict()
    weights = {k: data[k] for k in ("w", "lin.bias", "lin.weight")}  # in another order, with a note, without state
    save_file(weights, "c.safetensors", metadata={"format": "pt"})
    save_file(dict(reversed(weights.items())), "d.safetensors")
    build("--weights", "small=c.safetensors", "-o", "three")
    build("--weights", "small=d.safetensors", "-o", "four")
    assert Path("three/net.hybx").read_bytes() == Path("four/net.hybx").read_bytes()
    small = hybridc.load("three/net.hybx").small()
    assert np.array_equal(small.state_dict()["w"], data["w"]) and small.state_dict()["count"] == 0


def test_compiled_again_they_stay(folder: Path) -> None:
    build("--weights", "small=a.safetensors")
    data = Path("net.hybx").read_bytes()
    done = CliRunner().invoke(main, ["build", "net.hybx", "--target", "cpu:host", "-o", "again"])
    assert done.exit_code == 0 and Path("again/net.hybx").read_bytes() == data
    zeros = {k: v * 0 for k, v in hybridc.load("net.hybx").small().state_dict().items() if k in PARAMS}
    save_file(zeros, "z.safetensors")
    args = ["build", "net.hybx", "--target", "cpu:host", "-o", "new", "--weights", "small=z.safetensors"]
    assert CliRunner().invoke(main, args).exit_code == 0
    assert not hybridc.load("new/net.hybx").small().state_dict()["w"].any()
    stranger = container.pack(container.read(data).members, "somebody", [])
    Path("stranger.hybx").write_bytes(stranger)
    assert hybridc.load("stranger.hybx").small().state_dict()["count"] == 2


def test_what_does_not_fit_is_an_error_of_the_build(folder: Path) -> None:
    def of(name: str, value: object) -> str:
        state = {k: v for k, v in source().Net(3).state_dict().items() if k in PARAMS}
        given = {**state, name: value} if value is not None else {k: v for k, v in state.items() if k != name}
        save_file(given, "x.safetensors")
        return error("--weights", "small=x.safetensors").removeprefix("net.hyb: --weights small=x.safetensors: ")

    assert error("--weights", "small=b.safetensors") == (
        "net.hyb: --weights small=b.safetensors: lin.weight: expected f32[2, 3], found f32[2, 4]")
    assert error("--weights", "nope=a.safetensors") == (
        "net.hyb: --weights nope=a.safetensors: no model is exported as `nope`; there are small, other, Net")
    assert error("--weights", "Net=a.safetensors") == (
        "net.hyb: --weights Net=a.safetensors: `Net` is exported as Net(n=3, k=2) and Net(n=4, k=2): name one, "
        "`export Net(...) as NAME`")
    assert error("--weights", "small=no.safetensors") == (
        "net.hyb: --weights small=no.safetensors: No such file or directory")
    assert error("--weights", "small=net.hyb") == (
        "net.hyb: --weights small=net.hyb: net.hyb is not a whole safetensors file")
    assert of("w", None) == "Net[3, 2]: missing w"
    assert of("v", np.zeros(3, np.float32)) == "Net[3, 2]: unknown v"
    assert of("w", np.zeros(3, np.float64)) == "w: expected f32, found f64"
    assert of("count", np.zeros((), np.int64)) == "Net[3, 2]: missing mean, moods"
    assert of("w", np.zeros(3, np.int16)) == "x.safetensors: w is of the type I16, which Hyb does not have"
    assert not Path("net.hybx").exists()


@pytest.mark.parametrize(("name", "value", "says"), [
    ("count", np.zeros((), np.int32), "count: expected int, found i32"),
    ("count", np.zeros(1, np.int64), "count: expected int, found int[1]"),
    ("mean", np.zeros(4, np.float32), "mean: expected f32[3], found f32[4]"),
    ("mean", np.zeros(3, np.float64), "mean: expected f32[3], found f64[3]"),
    ("mean", np.zeros((1, 3), np.float32), "mean: expected f32[3], found f32[1, 3]"),
])
def test_state_that_does_not_fit(folder: Path, name: str, value: np.ndarray, says: str) -> None:
    data = Path("a.safetensors").read_bytes()
    moods = container.json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
    state = {k: np.asarray(v) for k, v in source().Net(3).state_dict().items() if k != "moods"}
    save_file({**state, name: value}, "x.safetensors", metadata=moods)
    assert error("--weights", "small=x.safetensors") == f"net.hyb: --weights small=x.safetensors: {says}"
    save_file(state, "x.safetensors", metadata={"state.moods": "AAAA"})
    assert error("--weights", "small=x.safetensors").endswith("state that does not fit the model")


def test_command_lines_that_are_wrong(folder: Path) -> None:
    assert "--weights takes NAME=FILE, not 'small'" in error("--weights", "small", code=2)
    assert "--weights takes NAME=FILE, not '=a'" in error("--weights", "=a", code=2)
    twice = ("--weights", "small=a.safetensors") * 2
    assert "--weights is given twice for small" in error(*twice, code=2)
    for more in (("--emit", "core"), ("other.hyb",)):
        assert "--weights goes with one FILE, which is built" in error(*twice[:2], *more, code=2)
