"""The `.hybx` file: nothing of it is used unless all of it is as it was made, and it says why not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hybridc_runtime
import numpy as np
import pytest
from hybridc_runtime import artifact as container
from hybridc_runtime.manifest import VERSION

import hybridc
from hybridc import driver, rebuild
from hybridc.build import write_artifact

pytestmark = pytest.mark.usefixtures("unoptimised")

SMALL = """
fn double(x: int) -> int:
    return 2 * x
"""
PROGRAM = '''
"""Of everything that crosses."""
struct P:
    x: int = 3
    y: f64 = 1.5

enum E:
    A
    B(x: int, y: str)

model M(n: int = 2):
    param w: f32[n] = ones()
    state seen: list[int] = []

    fn forward(x: f32[n]) -> f32:
        return sum(x * self.w)

    mut fn see(k: int):
        self.seen.push(k)

fn f(xs: list[int], m: map[str, int], s: set[int], h: heap[int, int], p: P, e: E?, g: fn(int) -> int) -> (int, str):
    let name = "none" if e == none else str(e ?? A)
    return (g(xs[0]) + len(m) + len(s) + len(h) + p.x, name)

fn product(a: f32[N, K], b: f32[K, M]) -> f32[N, M]:
    return softmax(a @ b)

fn at(xs: list[int], i: int) -> int:
    return xs[i]
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.hyb"
    path.write_text(SMALL)
    return driver.build(driver.check(str(path)), "cpu:x86-64-v2").data


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("program") / "program.hyb"
    path.write_text(PROGRAM)
    return driver.build(driver.check(str(path))).data


def repacked(data: bytes, **changes: Callable[[bytes], bytes]) -> bytes:
    """With members changed, and digests that are right: what somebody could send."""
    contents = container.read(data)
    members = [
        container.Member(m.name, m.kind, changes[key](m.data) if (key := m.name.replace(".", "_")) in changes else m.data,
                         m.target, m.requires, m.about)
        for m in contents.members
    ]
    return container.pack(members, contents.compiler, contents.sources)


def use(module: object) -> None:
    m = module
    fs = m.f([1], {"a": 1}, {2}, [(1, 2)], m.P(x=4), m.E.B(1, "z"), lambda x: x + 1)  # type: ignore[attr-defined]
    assert fs == (9, "B(x=1, y='z')")
    assert m.M()([1.0, 2.0]) == 3.0  # type: ignore[attr-defined]
    assert abs(float(m.product([[1.0, 2.0]] * 3, [[1.0, 0.5, 2.0]] * 2).sum()) - 3) < 1e-6  # type: ignore[attr-defined]
    with pytest.raises(IndexError) as error:
        m.at([1], 7)  # type: ignore[attr-defined]
    assert [(line, name) for _, line, name in error.value.frames] == [(29, "at")]


# ---- damage
def parts(data: bytes) -> list[tuple[int, str]]:
    """Where each part ends, and what a message about a change in it says."""
    contents = container.read(data)
    at = len(data) - sum(len(m.data) for m in contents.members)
    ends = [(4, "not a .hybx file"), (8, "of schema"), (at, "its table of members does not match its digest")]
    for m in contents.members:
        at += len(m.data)
        ends.append((at, f"{m.name} does not match its digest"))
    return ends


def test_every_byte_changed(small: bytes) -> None:
    ends = parts(small)
    which = 0
    for i in range(len(small)):
        while i >= ends[which][0]:
            which += 1
        for bit in (1 << i % 8, 0xFF) if i > 200 else [1 << k for k in range(8)]:
            changed = bytearray(small)
            changed[i] ^= bit
            with pytest.raises(ValueError) as error:
                container.read(bytes(changed))
            assert ends[which][1] in str(error.value), i


def test_every_truncation(small: bytes) -> None:
    ends = parts(small)
    for n in range(len(small)):
        with pytest.raises(ValueError) as error:
            container.read(small[:n])
        where = next(i for i, (end, _) in enumerate(ends) if n < end)
        expected = "not a .hybx" if n < 4 else "its header has 48 bytes" if n < 48 else "its table" if where < 3 else \
            f"truncated: it ends within {container.read(small).members[where - 3].name}"
        assert expected in str(error.value), n
    with pytest.raises(ValueError, match="3 bytes stand after its last member"):
        container.read(small + b"abc")


def test_other_schemas(small: bytes) -> None:
    for digits in (b"0001", b"0002", b"9999", b"x\xff\x00 "):
        with pytest.raises(ValueError, match="is of schema .*, and this version of hybridc reads 0004: build it again"):
            container.read(small[:4] + digits + small[8:])
    newer = repacked(small, manifest_json=lambda d: d.replace(b'{"version":%d' % VERSION, b'{"version":77'))
    with pytest.raises(ValueError, match="format 77"):
        hybridc_runtime.load_artifact(newer, trust=True)


@pytest.mark.parametrize("table", [
    b"", b"[]", b"{}", b"null", b'{"compiler":1,"sources":[],"members":[]}', b'{"compiler":"","sources":[],"members":[{}]}',
    b'{"compiler":"","sources":[[1,2]],"members":[]}', b'{"compiler":"","sources":[],"members":7}', b"[" * 100_000,
    b'{"compiler":"","sources":[],"members":[{"name":"a","kind":"code","size":-1,"sha256":""}]}',
    b'{"compiler":"","sources":[],"members":[{"name":"a","kind":"evil","size":0,"sha256":""}]}', b"\xff\xfe",
])
def test_tables_with_right_digests(table: bytes) -> None:
    data = container.MAGIC + len(table).to_bytes(8, "little") + hashlib.sha256(table).digest() + table
    with pytest.raises(ValueError, match="table of members that is not well formed"):
        container.read(data)


def test_huge_sizes(small: bytes) -> None:
    for length in (2**63, 2**64 - 1, len(small)):
        with pytest.raises(ValueError, match="does not match its digest"):
            container.read(small[:8] + length.to_bytes(8, "little") + small[16:])


# ---- what is in it
def test_contents(program: bytes) -> None:
    contents = container.read(program)
    assert contents.compiler.startswith("hybridc ") and "llvmlite" in contents.compiler
    [(path, digest)] = contents.sources
    assert path.endswith("program.hyb") and digest == hashlib.sha256(PROGRAM.encode()).hexdigest()
    assert [m.kind for m in contents.members] == ["manifest", "core", "code", "code", "code"]
    assert contents.targets()[1:] == ["cpu:x86-64-v3", "cpu:x86-64-v2"]
    text = container.describe(contents)
    assert "export   fn at(xs: list[int], i: int) -> int" in text and "export   model M[2]" in text
    assert json.loads(contents.member("manifest.json").data)["version"] == VERSION


def test_two_clean_builds_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "p.hyb").write_text(PROGRAM)
    found = []
    for i in range(2):
        folder = tmp_path / f"out{i}"
        env = os.environ | {"PYTHONHASHSEED": str(i), "HYB_CACHE_DIR": str(tmp_path / f"cache{i}")}
        command = [sys.executable, "-m", "hybridc", "build", "p.hyb", "-o", str(folder)]
        subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=120)
        found.append((folder / "p.hybx").read_bytes())
    assert found[0] == found[1]


# ---- processors
V2 = {"popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}


@pytest.mark.parametrize("has, target", [(V2, "cpu:x86-64-v2"), (V3, "cpu:x86-64-v3")])
def test_code_is_chosen_by_features(program: bytes, has: set[str], target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has <= container.features():
        pytest.skip("this processor is older")
    monkeypatch.setattr(container, "features", lambda: frozenset(has))
    assert container.read(program).code("cpu", has).target == target
    use(hybridc_runtime.load_artifact(program, trust=True))


def test_this_processor_comes_first(program: bytes) -> None:
    contents = container.read(program)
    assert contents.code("cpu", container.features()) == contents.member("host.a")
    use(hybridc_runtime.load_artifact(program, trust=True))


def test_no_code_fits(program: bytes) -> None:
    with pytest.raises(ValueError) as error:
        container.read(program).code("cpu", {"sse3", "ssse3"})
    assert "no code that this processor can run" in str(error.value)
    assert "cpu:x86-64-v2 needs popcnt, sse4.1, sse4.2" in str(error.value) and "`hybridc build`" in str(error.value)


def test_processors_of_targets() -> None:
    assert driver.processors_of("cpu:x86-64-v2,cpu:x86-64-v3") == ["x86-64-v3", "x86-64-v2"]
    for bad in ("cpu:nonsense", "cpu:x86-64-v9", 'cpu:a"b', "gpu", "", ",", "cpu:i386"):
        with pytest.raises(hybridc.CompileError, match="HYB702"):
            driver.processors_of(bad)


# ---- origin
def test_what_was_built_here_loads(tmp_path: Path) -> None:
    (tmp_path / "p.hyb").write_text(PROGRAM)
    path = write_artifact(str(tmp_path / "p.hyb"), None)
    use(hybridc_runtime.load_artifact(path))
    use(hybridc.load(path))


def test_strangers_code_is_not_run(program: bytes, tmp_path: Path) -> None:
    """Code that is no code at all, with digests that are right."""
    evil = repacked(program, host_o=lambda d: b"\xcc" * len(d), **{"x86-64-v3_o": lambda d: b"\xcc" * len(d)})
    path = tmp_path / "evil.hybx"
    path.write_bytes(evil)
    with pytest.raises(ValueError, match="was not built here.*trust=True"):
        hybridc_runtime.load_artifact(path)
    use(hybridc.load(path))
    use(hybridc.load(path))  # from the cache


def test_trust(program: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.hybx"
    path.write_bytes(program)
    without_core = repacked(program, core_txt=lambda d: b"not Core")
    use(hybridc.load(path, trust=True))
    path.write_bytes(without_core)
    use(hybridc.load(path, trust=True))
    with pytest.raises(ValueError, match="Core that cannot be read"):
        hybridc.load(path)


# ---- compiled again
def test_rebuilt_is_the_same(program: bytes) -> None:
    contents = container.read(program)
    cpus = driver.processors_of("cpu")
    assert rebuild.rebuilt(contents, cpus, guarded=False).data == program
    other = rebuild.rebuilt(contents, ["x86-64-v2"])
    assert container.read(other.data).targets() == ["cpu:x86-64-v2"]
    assert rebuild.rebuilt(container.read(other.data), cpus, guarded=False).data == program


def test_build_of_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "p.hyb").write_text(PROGRAM)
    path = write_artifact(str(tmp_path / "p.hyb"), None)
    again = write_artifact(str(path), str(tmp_path / "again"))
    assert again.read_bytes() == path.read_bytes()
    assert again.with_suffix(".pyi").read_bytes() == path.with_suffix(".pyi").read_bytes()


def _json(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        record = json.loads(data)
        change(record)
        return json.dumps(record).encode()

    return changed


LIES: dict[str, Callable[[dict], object]] = {
    "another type of an argument": lambda r: r["fns"]["at"][0]["params"][0].update(type="int"),
    "another result": lambda r: r["fns"]["at"][0].update(result=["struct", "str"]),
    "a mut that is none": lambda r: r["fns"]["at"][0]["params"][0].update(mut=True),
    "a missing function": lambda r: r["fns"]["at"][0].update(symbol="nowhere"),
    "a list that is a str": lambda r: r["kinds"]["list[int]"].update(kind="str"),
    "a list of something else": lambda r: r["kinds"]["list[int]"].update(args=["f64"]),
    "a struct that is a list": lambda r: r["kinds"]["P"].update(kind="list", args=["int"]),
    "an enum that is a struct": lambda r: r["kinds"]["E"].update(kind="struct"),
    "a kind of nothing": lambda r: r["kinds"].update(Q={"kind": "struct"}),
    "a kind that does not exist": lambda r: r["kinds"]["P"].update(kind="evil"),
    "a map without helpers": lambda r: r["kinds"]["map[str, int]"].update(helpers={}),
    "helpers of another container": lambda r: r["kinds"]["map[str, int]"].update(helpers=r["kinds"]["set[int]"]["helpers"]),
    "a parameter outside": lambda r: r["models"][0]["params"][0].update(offset=1 << 40),
    "a state elsewhere": lambda r: r["models"][0]["states"][0].update(route=["params"]),
    "a model of another struct": lambda r: r["models"][0].update(struct="P"),
    "elements of another type": lambda r: r["models"][0].update(elem="f64"),
    "a type that is none": lambda r: r["fns"]["at"][0].update(result=["evil"]),
    "a function value without apply": lambda r: r["kinds"]["fn(int) -> int"].update(helpers={}),
    "a default of another type": lambda r: r["kinds"]["P"]["helpers"].update({"default.x": "at"}),
    "no functions": lambda r: r.update(fns=7),
    "no kinds": lambda r: r.pop("kinds"),
    "a list for an object": lambda r: r.update(models=[[]]),
    "deep types": lambda r: r["fns"]["at"][0].update(result=_deep(5000)),
}


def _deep(n: int) -> object:
    t: object = "int"
    for _ in range(n):
        t = ["option", t]
    return t


@pytest.mark.parametrize("lie", LIES)
def test_manifests_that_do_not_fit(program: bytes, lie: str, tmp_path: Path) -> None:
    path = tmp_path / "p.hybx"
    try:
        path.write_bytes(repacked(program, manifest_json=_json(LIES[lie])))
    except RecursionError:
        deep = b'["option",' * 5000 + b'"int"' + b"]" * 5000
        path.write_bytes(repacked(program, manifest_json=lambda d: d.replace(b'"result":"int"', b'"result":' + deep)))
    with pytest.raises(ValueError, match="manifest that (is not well formed|does not fit its Core)"):
        hybridc.load(path)


@pytest.mark.parametrize("change", [
    lambda d: b"\xff", lambda d: d[: len(d) // 2], lambda d: d.replace(b"struct str", b"struct xtr"), lambda d: b"",
    lambda d: d.replace(b"buffer_get", b"release"), lambda d: d + b"fn at() -> () {\n  yield\n}\n",
])
def test_core_that_is_not_sound(program: bytes, change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "p.hybx"
    path.write_bytes(repacked(program, core_txt=change))
    with pytest.raises(ValueError):
        hybridc.load(path)


KERNELS = """
fn f(x: f32[N, 64], w: f32[64, 32]) -> f32[N, 32]:
    return relu(x @ w)
"""


def test_an_artifact_for_gpus_keeps_its_kernels(tmp_path: Path, cache: Path) -> None:
    """Of unknown origin it is compiled again with them, where the device needs them."""
    pytest.importorskip("triton")
    (tmp_path / "k.hyb").write_text(KERNELS)
    path = write_artifact(str(tmp_path / "k.hyb"), None, target="cpu:host,cuda:sm_90")
    again = subprocess.run([sys.executable, "-m", "hybridc", "build", "k.hybx", "-o", "again", "--target", "cpu:host,cuda:sm_90"],
                           cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "k.hybx").read_bytes() == path.read_bytes()
    for note in cache.rglob("*"):
        if note.is_file():
            note.unlink()  # nobody knows who built it
    x, w = np.ones((3, 64), np.float32), np.full((64, 32), 0.5, np.float32)
    mod = hybridc.load(path, device="interpret")
    assert np.all(mod.f(x, w) == 32)
    assert np.all(hybridc.load(path, device="cpu").f(x, w) == 32)
    assert np.all(hybridc.load(path).f(x, w) == 32)
