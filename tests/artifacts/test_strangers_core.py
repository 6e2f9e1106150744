"""Core that is well formed and still lies, as somebody could send it: rebuilt with checks, it faults and does no harm."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import artifact as container
from hybridc_runtime import origin

import hybridc
from hybridc import driver, rebuild
from hybridc.build import write_artifact
from hybridc.core.interface import Interface
from hybridc.core.interp import InterpFault, Interpreter, print_host
from hybridc.core.reader import read
from hybridc.core.verify import check_after
from hybridc.passes import guard
from tests.core.texts import parsed

pytestmark = pytest.mark.usefixtures("unoptimised")

FAR = 1 << 40
OF_INTS = {
    "get": "%9: int = buffer_get(%3, i%2)",
    "get_before": "%8: int = sub(-1, i%2) %9: int = buffer_get(%3, %8)",
    "put": "%8: buffer[int] = buffer_set(%3, i%2, 7) %9: int = buffer_get(%8, 0)",
    "take": "%8: buffer[int], %9: int = buffer_take(%3, i%2)",
    "move_to": "%8: buffer[int] = buffer_move(%3, i%2, 0, 1) %9: int = buffer_len(%8)",
    "move_from": "%8: buffer[int] = buffer_move(%3, 0, i%2, 1) %9: int = buffer_len(%8)",
    "move_many": "%8: buffer[int] = buffer_move(%3, 0, 1, i%2) %9: int = buffer_len(%8)",
    "copy_to": "%8: buffer[int] = buffer_copy(%3, i%2, %3, 0, 1) %9: int = buffer_len(%8)",
    "copy_from": "%8: buffer[int] = buffer_copy(%3, 0, %3, i%2, 1) %9: int = buffer_len(%8)",
    "copy_wraps": "%8: buffer[int] = buffer_copy(%3, 9223372036854775807, %3, 0, 1) %9: int = buffer_len(%8)",
    "sort": "%8: buffer[int] = sort_words(%3, i%2) %9: int = buffer_len(%8)",
    "compare": "%7: buffer[u8] = buffer_new(2) %9: int = buffer_compare(%7, %7, i%2)",
    "match_bytes": "%7: buffer[i32] = buffer_new(4) %9: int = buffer_match(%7, i%2, u8(0))",
    "key": "%7: buffer[u8] = buffer_new(2) %9: int, %8: int, %6: int = text_key(%7, i%2, 1, 0)",
    "kept": "%7: buffer[u8] = buffer_new(2) %8: int = mul(i%2, 1048576) %6: buffer[u8], %5: int, %4: int = kept_text(%7, 0, %8) %9: int = buffer_len(%6)",
    "find": "%7: buffer[u8] = buffer_new(2) %9: int = buffer_find(%7, 0, i%2, %7, 1)",
    "outside": "%7: buffer[u8] = buffer_new(2) %9: int = buffer_outside(%7, 0, i%2, u8(0), u8(9))",
    "outside_from": "%7: buffer[u8] = buffer_new(2) %9: int = buffer_outside(%7, i%2, 2, u8(0), u8(9))",
    "same": "%7: buffer[u8] = buffer_new(2) %8: bool = buffer_same(%7, %7, i%2) %9: int = cast[checked=false](%8)",
    "parse": "%7: buffer[u8] = buffer_new(2) %8: f64? = parse_float(%7, 0, i%2) %5: bool = is_some(%8) %9: int = cast[checked=false](%5)",
    "digits": "%7: buffer[u8], %9: int = format_float(1.0, 37, 2147483647)",
    "stack": "%7: int[?] = stack(%3, i%2) %9: int = dim[axis=0](%7)",
    "view": "%6: int[?] = iota(4) %7: int[?, ?] = tensor_view(%6, 0, i%2, 8388608) %9: int = index[kinds=(\"i\", \"i\")](%7, 3, 3)",
    "view_at": "%6: int[?] = iota(4) %9: int = tensor_view(%6, i%2)",
    "no_case": "%7: buffer[E] = buffer_new(1) %8: E = buffer_get(%7, 0) %9: int = tag(%8)",
    "no_case_matched": "%7: buffer[E] = buffer_new(1) %8: E = buffer_get(%7, 0) %9: int = match %8 {"
    " Leaf(x%4: int) { yield x%4 } Node(l%5: E, r%6: E) { yield 1 } }",
    "message": "%7: buffer[u8] = buffer_new(1) %8: str = struct(%7, i%2, i%2) fault ValueError %8",
    "printed": "%7: buffer[u8] = buffer_new(1) %8: str = struct(%7, i%2, i%2) host[name=\"_print\"](%8) %9: int = add(0, 0)",
    "dims": "%9: int = call dims_inside(i%2)",
}
"""Of a buffer %3 of two ints and an int i%2, which is far away: %9 is the result."""
HELPERS = """
fn dims_inside(i%1: int) -> (int) {
  %2: int[?] = iota(4)
  %3: int[1000000000] = call dims_claimed(%2)
  %4: int = index[kinds=("i",)](%3, 999999999)
  yield %4
}

fn dims_claimed(t%1: int[1000000000]) -> (int[1000000000]) {
  yield t%1
}
"""
RESULTS = {
    "text": ("str", "%3: buffer[u8] = buffer_new(1) %4: str = struct(%3, i%1, i%1) yield %4"),
    "items": ("list[str]", "%3: buffer[str] = buffer_new(1) %4: `list[str]` = struct(%3, i%1) yield %4"),
    "text_inside": ("list[str]", "%3: buffer[u8] = buffer_new(1) %4: str = struct(%3, i%1, i%1) %5: buffer[str] = buffer_new(1)"
                    " %6: buffer[str] = buffer_set(%5, 0, %4) %7: `list[str]` = struct(%6, 1) yield %7"),
    "text_perhaps": ("str?", "%3: buffer[u8] = buffer_new(1) %4: str = struct(%3, i%1, i%1) %5: str? = some(%4) yield %5"),
    "negative": ("list[str]", "%2: int = sub(0, i%1) %3: buffer[str] = buffer_new(1) %4: `list[str]` = struct(%3, %2) yield %4"),
    "tree": ("E", "%3: buffer[E] = buffer_new(1) %4: E = buffer_get(%3, 0) yield %4"),
    "branch": ("E", "%2: E = enum[case=\"Leaf\"](1) %3: buffer[E] = buffer_new(1) %4: E = buffer_get(%3, 0)"
               " %5: E = enum[case=\"Node\"](%2, %4) yield %5"),
}
"""Functions of an int i%1, which is far away: what they give is not what their type says."""
BASE = """
enum E:
    Leaf(x: int)
    Node(l: E, r: E)

model M(n: int = 2):
    param w: f32[n] = ones()

    fn forward(x: f32[n]) -> f32:
        return sum(x * self.w)

fn some(e: E) -> int:
    match e:
        case Leaf(x):
            return x
        case Node(l, r):
            return some(l) + some(r)

"""
VALUES = {"str": '""', "list[str]": '["a"]', "E": "Leaf(1)", "str?": "none"}


def replaced(core: str, name: str, body: str) -> str:
    """With another body of a function."""
    made, count = re.subn(rf"(?ms)^(fn {name} .*?\{{\n).*?^\}}\n", lambda m: m.group(1) + body + "\n}\n", core)
    assert count == 1
    return made


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> container.Contents:
    lines = [f"fn {name}(xs: list[int], i: int) -> int:\n    print(\"\")\n    return xs[i]\n" for name in OF_INTS]
    lines += [f"fn {name}(i: int) -> {t}:\n    return {VALUES[t]}\n" for name, (t, _) in RESULTS.items()]
    path = tmp_path_factory.mktemp("honest") / "p.hyb"
    path.write_text(BASE + "\n".join(lines))
    return container.read(driver.build(driver.check(str(path)), "cpu:x86-64-v2").data)


@pytest.fixture(scope="module")
def hostile(honest: container.Contents) -> str:
    core = honest.core()
    for name, body in OF_INTS.items():
        end = "" if "fault" in body else " yield %9"
        core = replaced(core, name, f"  %3: buffer[int] = get[index=0](xs%1) {body}{end}")
    for name, (_, body) in RESULTS.items():
        core = replaced(core, name, "  " + body)
    return core.replace("broadcast[axes=(none,)](f32(1.0), 2)", "broadcast[axes=(none,)](f32(1.0), 1)") + HELPERS


@pytest.fixture(scope="module")
def module(honest: container.Contents, hostile: str, tmp_path_factory: pytest.TempPathFactory) -> object:
    path = tmp_path_factory.mktemp("hostile") / "p.hybx"
    members = [
        container.Member(m.name, m.kind, hostile.encode() if m.name == "core.txt" else m.data, m.target, m.requires, m.about)
        for m in honest.members
    ]
    path.write_bytes(container.pack(members, honest.compiler, honest.sources))
    return hybridc.load(path)


@pytest.mark.parametrize("name", OF_INTS)
def test_memory_outside_is_not_reached(module: object, name: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        getattr(module, name)([1, 2], FAR)


@pytest.mark.parametrize("name", RESULTS)
def test_values_that_are_not_what_they_seem(module: object, name: str) -> None:
    with pytest.raises(ValueError, match="the artifact's Core is wrong"):
        getattr(module, name)(FAR)


def test_parameters_that_are_not_there(module: object) -> None:
    with pytest.raises(ValueError, match="another number of parameters"):
        module.M()  # type: ignore[attr-defined]


def test_what_is_within_works(module: object) -> None:
    m = module
    assert m.get([1, 2], 1) == 2 and m.take([1, 2], 0) == 1 and m.put([1, 2], 1) == 1  # type: ignore[attr-defined]
    assert m.items(1) == [""] and m.text(1) == "\0"  # type: ignore[attr-defined]
    assert m.some(m.E.Node(m.E.Leaf(2), m.E.Leaf(3))) == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("op, why", [
    ("release(xs%1)", "holds release"),
    ("retain(xs%1)", "holds retain"),
    ("host[name=\"device.launch\"](i%2)", "asks for device.launch"),
    ("fused { %4: int[?] = iota(i%2) yield }", "holds a fused kernel"),
    ("%4: int[?] = iota(i%2) %5: int[?] device = to_device(%4)", "holds to_device"),
    ("%4: int[?] = iota(4) %5: int = index[kinds=(\"p\",)](%4, i%2)", "an index without a check"),
])
def test_what_only_passes_make_is_refused(honest: container.Contents, op: str, why: str) -> None:
    core, diagnostics = read(replaced(honest.core(), "get", f"  {op} yield i%2"))
    assert core is not None and not diagnostics
    assert any(why in wrong for wrong in guard.refused(core))


def test_the_interpreter_checks_alike(hostile: str) -> None:
    core = parsed(hostile)
    guarded = guard.run(core, ["get"], Interface())
    check_after("guard", guarded)
    with pytest.raises(InterpFault, match="beyond what there is"):
        Interpreter(guarded, print_host).call("get", ((np.array([]), 0), FAR))


def test_what_is_made_of_a_strangers_core_stays_a_strangers(honest: container.Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "p.hybx"
    path.write_bytes(rebuild.rebuilt(honest, ["x86-64-v2"], guarded=False).data)
    made = write_artifact(str(path), str(tmp_path / "made"), target="cpu:x86-64-v2")
    digest = container.read_file(str(made)).digest
    assert origin.known(digest) and origin.foreign(digest)
    again = write_artifact(str(made), str(tmp_path / "again"), target="cpu:x86-64-v2")
    assert again.read_bytes() == made.read_bytes() != path.read_bytes()
    hybridc.load(made)
