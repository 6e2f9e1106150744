"""GPU kernels without a GPU: the tables are complete, the source is as expected, and the machine code is good."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime.artifact import Contents, read_file

import hybridc
from hybridc import driver
from hybridc.build import write_artifact
from hybridc.core.tensor_faults import INT_FAULTS
from hybridc.core.tensor_ops import TENSOR_ROWS
from hybridc.kernels.device import HOST_ONLY, JOINED, LINES, MOVES, SCALARS_ON_HOST, SUMS, UPDATES, refusal
from hybridc.llvm.device import SINGLE
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.triton.scalars import SUPPORTED
from hybridc.triton.single import WRITERS
from tests.core.texts import parsed

pytestmark = pytest.mark.usefixtures("unoptimised")

triton = pytest.importorskip("triton")
TURNS = """\
fn f(x: f32[N], w: f32[N], n: int) -> f32:
    var total = 0.0
    for i in range(n):
        total += sum(x * w) * f32(i)
    return total
"""
BIN = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def test_every_tensor_operator_has_a_kernel_or_a_reason() -> None:
    kernels = {*MOVES, *UPDATES, *SUMS, *LINES}
    assert kernels | HOST_ONLY.keys() == {row.name for row in TENSOR_ROWS} and not kernels & HOST_ONLY.keys()
    assert set(WRITERS) == set(SINGLE) == kernels | {*JOINED}


def test_every_scalar_operator_has_a_form_or_a_reason() -> None:
    assert set(SCALAR_ROWS) - SUPPORTED <= SCALARS_ON_HOST.keys() | {*INT_FAULTS} | {"select"}


def emit(tmp_path: Path, text: str, stage: str = "triton") -> str:
    (tmp_path / "p.hyb").write_text(text)
    return driver.emit(str(tmp_path / "p.hyb"), stage, target="cuda:sm_90")


def test_a_chain_is_one_kernel_and_readable(tmp_path: Path) -> None:
    text = emit(tmp_path, "fn f(x: f32[N, D], w: f32[D]) -> f32[N, D]:\n    return softmax(tanh(x) * w)\n")
    assert text.count("def kernel_") == 1 and "libdevice.tanh(x)" in text
    compile(text, "p", "exec")


def test_kernels_as_text(tmp_path: Path) -> None:
    text = "fn f(x: f32[N, 64], w: f32[64, D]) -> (f32[N, D], int[N]):\n    let y = relu(x @ w)\n    return (y, argmax(y, axis=1))\n"
    shown = emit(tmp_path, text, "kernels")
    assert "GPU kernel, 256·x.0 + 256·w.1 bytes read" in shown or "GPU kernel, 256·w.1 + 256·x.0 bytes read" in shown
    assert "rows: x" in shown and "columns 0: 64" in shown
    assert "summed over columns 0" in shown and "store " in shown
    assert "reduce" in shown and "to_device" in shown  # a kernel of its own; a transfer


@pytest.mark.parametrize("target, word", [("cuda:sm_90", ".target sm_90a"), ("hip:gfx942", "amdgcn_target")])
def test_machine_code_as_text(tmp_path: Path, target: str, word: str) -> None:
    (tmp_path / "p.hyb").write_text("fn f(x: f32[N]) -> f32[N]:\n    return exp(x) * 2\n")
    text = driver.emit(str(tmp_path / "p.hyb"), "ptx", target=target)
    assert text.splitlines()[0].endswith(f"{target}, kernel_0_exp_mul") and word in text


def test_small_work_stays_on_the_host(tmp_path: Path) -> None:
    assert "def kernel_" not in emit(tmp_path, "fn f(x: f32[3]) -> f32[3]:\n    return x * 2\n")


def test_what_stays_the_same_goes_to_the_device_once(tmp_path: Path) -> None:
    core = emit(tmp_path, TURNS, "core")
    body = next(text for text in core.split("\n}\n") if "fused device" in text)
    head, _, loop = body.partition("loop 1 (")
    assert loop and head.count("to_device(") == 2 and "to_device(" not in loop


def test_a_product_of_what_is_put_together_is_one_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_PLACE", "all")
    text = """
struct State[H]:
    h: f32[H]

fn gates(l: State[H], r: State[K], w: f32[5, 7], b: f32[5]) -> f32[5]:
    return tanh(w @ concat(l.h, r.h) + b)
"""
    kernels = emit(tmp_path, text, "kernels")
    assert kernels.count("GPU kernel") == 1 and "concat(" in kernels and "product of" in kernels
    mod, cpu = hybridc.load(str(tmp_path / "p.hyb"), device="interpret"), hybridc.load(str(tmp_path / "p.hyb"))
    random = np.random.default_rng(0)
    w, b = random.standard_normal((5, 7), np.float32), random.standard_normal(5, np.float32)
    for n, fits in ((3, True), (6, True), (1, True), (4, False)):
        left, right = random.standard_normal(n, np.float32), random.standard_normal(7 - n if fits else 7, np.float32)
        found = []
        for m in (mod, cpu):
            states = m.State(h=left), m.State(h=right)
            if fits:
                found.append(m.gates(*states, w, b))
                np.testing.assert_allclose(found[-1], np.tanh(w @ np.concatenate([left, right]) + b), atol=1e-5)
            else:
                with pytest.raises(ValueError, match="do not fit") as fault:
                    m.gates(*states, w, b)
                found.append(str(fault.value))
        assert fits or found[0] == found[1]


def test_parts_whose_rows_were_compared_before_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates of a GRU cell, of which only the first sum can find that there are not as many rows."""
    monkeypatch.setenv("HYB_PLACE", "all")
    kernels = emit(tmp_path, "from nn import GRUCell\nexport GRUCell(8, 4)\n", "kernels").split("\nfn ")
    step = next(k for k in kernels if ".forward*1 entry" in k.partition("\n")[0])
    assert step.count("GPU kernel") - step.count("= broadcast") == 3


def test_picked_elements_join_what_is_done_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_PLACE", "all")
    text = """
fn losses(x: f32[N, M], labels: int[N]) -> f32:
    return cross_entropy(x, labels)

fn each(x: f32[N, M], labels: int[N, 1]) -> f32[N]:
    let most = max(x, axis=-1)
    return reshape(gather(x, 1, labels), N) - most

fn late(x: f32[N, M], places: int[K, 1], y: f32[L], n: int) -> f32[K]:
    return reshape(gather(x, 1, places), K) - y[0:n]

fn some(x: f32[N, 7], places: int[K, 1]) -> f32[K]:
    let found = gather(x, 1, places)
    return 2.0 * reshape(found, K)
"""
    kernels = emit(tmp_path, text, "kernels").split("\nfn ")
    assert [k.count("GPU kernel") for k in kernels[:4]] == [2, 1, 2, 1]
    mod, cpu = hybridc.load(str(tmp_path / "p.hyb"), device="interpret"), hybridc.load(str(tmp_path / "p.hyb"))
    random = np.random.default_rng(0)
    for n, m in ((70, 1030), (3, 1), (1, 40), (0, 4)):
        x, labels = random.standard_normal((n, m), np.float32), random.integers(0, m, n)
        if n:
            np.testing.assert_allclose(mod.losses(x, labels), cpu.losses(x, labels), rtol=1e-5)
        np.testing.assert_array_equal(mod.each(x, labels[:, None]), cpu.each(x, labels[:, None]))
    x, places = random.standard_normal((5, 7), np.float32), np.array([[3], [0], [6]])
    np.testing.assert_array_equal(mod.some(x, places), cpu.some(x, places))
    y, right = np.ones(9, np.float32), np.array([[3], [0], [6]])
    np.testing.assert_array_equal(mod.late(x, right, y, 3), cpu.late(x, right, y, 3))
    for n, index, kind in ((4, 6, ValueError), (4, 7, IndexError), (3, -3, IndexError)):
        right[2] = index
        faults = []
        for m in (mod, cpu):
            with pytest.raises(kind) as fault:
                m.late(x, right, y, n)
            faults.append(str(fault.value))
        assert faults[0] == faults[1]
    for wrong in (7, -1):
        labels, places[1] = np.array([1, 2, wrong, 0, wrong]), wrong
        for name, given in (("losses", labels), ("each", labels[:, None]), ("some", places)):
            said = []
            for m in (mod, cpu):
                with pytest.raises(IndexError, match=f"index {wrong} ") as fault:
                    getattr(m, name)(x, given)
                said.append((str(fault.value), fault.traceback[-1].lineno))
            assert said[0] == said[1]


def test_elements_picked_of_what_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel picks of what lies in memory: what is computed first is a kernel of its own."""
    ops = parsed("""
fn f(x%1: f32[?, ?], at%2: int[?, 1]) -> (f32[?, 1]) {
  %3: f32[?, ?] = map[axes=((0, 1,),), `fn`="exp"](x%1)
  %4: f32[?, 1] = gather[axis=1](%3, at%2)
  %5: f32[?, 1] = map[axes=((0, 1,),), `fn`="neg"](%4)
  yield %5
}
""").fns["f"].body.stmts
    assert refusal(ops, ops[-1].outs) == "elements picked of what the kernel computes"
    assert refusal(ops[1:], ops[-1].outs) is None
    monkeypatch.setenv("HYB_PLACE", "all")
    text = """
fn picked(x: f32[N, M], labels: int[N, 1]) -> f32[N]:
    return reshape(gather(exp(x), 1, labels), N) * 2.0

fn both(x: f32[N, M], labels: int[N, 1]) -> (f32[N], f32[N, M]):
    let y = x * x + 1.0
    return reshape(gather(y, 1, labels), N) - max(x, axis=-1), y
"""
    kernels = emit(tmp_path, text, "kernels").split("\nfn ")
    assert [k.count("GPU kernel") for k in kernels[:2]] == [2, 2]
    mod = hybridc.load(str(tmp_path / "p.hyb"), device="interpret")
    random = np.random.default_rng(0)
    for n, m in ((70, 300), (3, 1), (1, 40), (0, 4)):
        x, labels = random.standard_normal((n, m), np.float32), random.integers(0, m, (n, 1))
        of = np.arange(n), labels[:, 0]
        np.testing.assert_allclose(mod.picked(x, labels), np.exp(x)[of] * 2, rtol=1e-6)
        found, y = mod.both(x, labels)
        np.testing.assert_allclose(y, x * x + 1, rtol=1e-6)
        np.testing.assert_allclose(found, (x * x + 1)[of] - x.max(1), rtol=1e-5, atol=1e-5)


def test_index_out_of_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_PLACE", "all")
    (tmp_path / "p.hyb").write_text(
        "fn pick(x: f32[N], i: int[M]) -> f32[M]:\n    return x[i]\n"
        "fn put(x: f32[N], i: int[M]) -> f32[N]:\n    var y = x\n    y[i] += 1.0\n    return y\n"
    )
    mod = hybridc.load(str(tmp_path / "p.hyb"), device="interpret")
    assert list(mod.pick([1.0, 2.0, 3.0], [2, 0, -1])) == [3.0, 1.0, 3.0]
    assert list(mod.put([1.0, 2.0], [0, 0, 1])) == [3.0, 3.0]
    for f in (mod.pick, mod.put):
        with pytest.raises(IndexError, match="index 7 is out of range for length 2"):
            f([1.0, 2.0], [0, 7, 9])
    assert list(mod.pick([1.0], [0])) == [1.0]  # usable as before


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    (folder / "half.hyb").write_text(
        "fn f(a: f16[M, K], b: f16[K, N]) -> f16[M, N]:\n    return a @ b\n"
        "fn g(a: bf16[M, K], b: bf16[N, K]) -> bf16[M, N]:\n    return a @ b.T\n"
        "fn h(x: f32[N, 1024], w: f32[1024], b: f32[1024]) -> f32[N, 1024]:\n    return layer_norm(x, w, b)\n"
    )
    return write_artifact(str(folder / "half.hyb"), str(folder), target="cpu,cuda:sm_90")


def tool(name: str, code: bytes, tmp_path: Path, *options: str) -> str:
    file = tmp_path / "kernel.cubin"
    file.write_bytes(code)
    return subprocess.run([BIN / name, *options, file], capture_output=True, text=True, check=True).stdout


def test_machine_code(built: Path, tmp_path: Path) -> None:
    inner = read_file(built).device()
    assert isinstance(inner, Contents) and inner.targets()[-1] == "cuda:sm_90"
    codes = [m for m in inner.members if m.target == "cuda:sm_90"]
    assert len(codes) == 6  # three kernels, aligned and not
    for m in codes:
        usage = tool("cuobjdump", m.data, tmp_path, "-res-usage")
        assert re.findall(r"(?:STACK|LOCAL):(\d+)", usage) == ["0", "0"], usage
        if "matmul" in m.name:
            assert "HGMMA" in tool("nvdisasm", m.data, tmp_path), m.name


def test_what_says_the_same_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three updates in two programs only one is compiled; and whether it was does not show in the artifact."""
    monkeypatch.setenv("HYB_PLACE", "all")
    f = "fn f(x: f32[1024], z: f32[4096]) -> f32[4096]:\n    var y = {0}(z)\n{1}    return y\n"
    (tmp_path / "two.hyb").write_text(f.format("tanh", "    y[3:1027] = x\n    y[7:1031] = x\n"))
    (tmp_path / "one.hyb").write_text(f.format("exp", "    y[9:1033] = x\n"))
    made = {}
    for cache, names in {"cold": ["one"], "warm": ["two", "one"]}.items():
        monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / cache))
        for name in names:
            made[cache, name] = write_artifact(str(tmp_path / f"{name}.hyb"), str(tmp_path / cache), target="hip:gfx942")
        assert len(list((tmp_path / cache / "kernels").iterdir())) == len(names) + 1
    assert made["cold", "one"].read_bytes() == made["warm", "one"].read_bytes()
    inner = read_file(made["warm", "two"]).device()
    assert isinstance(inner, Contents)
    codes = [m.data for m in inner.members if m.name.startswith("hip:gfx942/") and "update" in m.name]
    assert len(codes) == 4 and len(set(codes)) == 2  # each aligned and not


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a GPU")
def test_without_a_gpu_the_cpu_code_runs(built: Path) -> None:
    with pytest.raises(OSError, match='no NVIDIA GPU .* load it with device="cpu" or device="interpret"'):
        hybridc.load(str(built), device="cuda")
    with pytest.warns(RuntimeWarning, match="no NVIDIA GPU .* The CPU code of .* runs instead"):
        mod = hybridc.load(str(built))
    ones = [[1.0] * 1024]
    assert mod.h(ones, ones[0], ones[0]).shape == (1, 1024)
    with pytest.raises(ValueError, match="no device 'tpu'"):
        hybridc.load(str(built), device="tpu")


def test_an_artifact_without_gpu_code(tmp_path: Path) -> None:
    (tmp_path / "p.hyb").write_text("fn f(x: f32[N]) -> f32[N]:\n    return x * 2\n")
    plain = write_artifact(str(tmp_path / "p.hyb"), str(tmp_path))
    with pytest.raises(ValueError, match="has no GPU code; build it with --target"):
        hybridc.load(str(plain), device="interpret")
