"""What a process compiled before changes nothing: generated programs and edits of them, whose functions have the names
of others before, become the text and the manifest that they become in a process of their own."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hybridc_runtime import artifact

from hybridc import checking, driver, pipeline
from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.front.check.checker import Checker
from hybridc.front.check.kept import KeptModule, KeptModules
from hybridc.front.lower.kept import Keeper, KeptFns
from hybridc.front.lower.notes import Record
from hybridc.llvm import backend, partition
from hybridc.passes.recognise import Recogniser
from tests.fuzz.program import case

SECONDS = float(os.environ.get("HYB_FUZZ_SECONDS", "8")) / 4
EACH = 1 if os.environ.get("HYB_FUZZ_SECONDS") else 2
"""Of the edits of modules and of one file, each or every second one is made by itself."""
SUBJECTS = ("data", "all", "tiny", "gradients", "tensors", "data", "models")
NUMBER = re.compile(r"(?<![\w.])\d(?![\w.])")


class Compiler:
    """Compiles with or without what was compiled before; LLVM is left out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.texts: list[str] = []
        self.kept = KeptModules(), KeptFns(), Recogniser()
        self.patch = monkeypatch
        monkeypatch.setattr(backend, "objects", self.objects)
        monkeypatch.setattr(partition, "WHOLE", 400)

    def objects(self, jobs: Sequence[tuple[str, str]], opt: int, kept: object = None) -> Iterator[bytes]:
        self.texts = [text for text, _ in jobs]
        return iter([b""] * len(jobs))

    def compiled(self, path: Path, fresh: bool) -> tuple[list[str], bytes, list[str]] | list[str]:
        """The texts, the manifest and the warnings, or the errors."""
        modules, lowered, recogniser = (KeptModules(), KeptFns(), Recogniser()) if fresh else self.kept
        self.patch.setattr(checking, "KEPT", modules)
        self.patch.setattr(driver, "LOWERED", lowered)
        self.patch.setattr(pipeline, "RECOGNISER", recogniser)
        try:
            checked = checking.check(str(path))
            data = driver.artifact(checked, all_names=True, portable=False)
        except CompileError as e:
            return _shown(e.diagnostics)
        return self.texts, artifact.read(data).member("manifest.json").data, _shown(checked.warnings)


    def edited(
        self, folder: Path, edits: Sequence[tuple[str, str, str]], fresh: bool, modules: dict[str, str] | None = None,
    ) -> object:
        """What the modules become after these edits. One of MODULES is looked at by itself too."""
        for name, text in (modules or MODULES).items():
            for module, find, put in edits:
                text = text.replace(find, put, 1) if module == name else text
            (folder / f"{name}.hyb").write_text(text)
        first = self.compiled(folder / "more.hyb", fresh) if len(edits) == 2 and not modules else None
        whole = self.compiled(folder / "main.hyb", fresh)
        return (first, whole) if first else whole

    def edited_file(self, path: Path, edits: Sequence[tuple[str, str, str]], fresh: bool) -> object:
        """What FILE becomes after these edits."""
        text = FILE
        for _, find, put in edits:
            text = text.replace(find, put, 1)
        path.write_text(text)
        return self.compiled(path, fresh)


def _shown(diagnostics: list[Diagnostic]) -> list[str]:
    return [f"{d.code} {d.message} {d.span} {d.notes}" for d in diagnostics]


def edited(text: str, rng: random.Random) -> str:
    """A text with a line more, another number, its declarations in another order, or one of them gone."""
    parts = re.split(r"\n(?=\S)", text)
    match rng.randint(0, 4):
        case 0:
            parts.insert(rng.randrange(len(parts) + 1), "# a line")
        case 1 | 2:
            numbers = list(NUMBER.finditer(text))
            if numbers:
                at = rng.choice(numbers)
                return f"{text[:at.start()]}{rng.randint(0, 9)}{text[at.end():]}"
        case 3:
            rng.shuffle(parts)
        case 4:
            del parts[rng.randrange(len(parts))]
    return "\n".join(parts)


def steps(seed: str) -> Iterator[str]:
    """Programs of several cases, each with a few edits."""
    for n in range(100_000):
        rng = random.Random(f"{seed} {n}")
        cases = [case(f"{seed} {n} {name}", name, rng.choice(SUBJECTS)).source for name in "abc"[:rng.randint(1, 3)]]
        text = "\n".join(cases)
        yield text
        for _ in range(rng.randint(1, 4)):
            text = edited(text, rng)
            yield text


def test_what_was_compiled_before_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch)
    path = tmp_path / "case.hyb"
    compared = divided = 0
    until = time.monotonic() + SECONDS
    for tried, text in enumerate(steps(os.environ.get("HYB_FUZZ_SEED", "ci"))):
        path.write_text(text)
        warm = compiler.compiled(path, fresh=False)
        cold = compiler.compiled(path, fresh=True)
        assert warm == cold, text
        compared += not isinstance(warm, list)
        divided += not isinstance(warm, list) and len(warm[0]) > 1
        if time.monotonic() > until and (compared >= 5 and divided or tried > 60):
            break
    assert compared >= 5 and divided > 0


MODULES = {
    "base": '''"""Shapes."""
const SIDE = 3
struct Point:
    x: int
    y: f64 = 1.5
    fn size() -> f64:
        return f64(self.x) * self.y
enum Tree:
    Leaf(p: Point)
    Node(left: Tree, right: Tree)
struct Pair[A, B]:
    a: A
    b: B
fn scale(p: Point, by: int = 2) -> int:
    return p.x * by * SIDE
fn twice(f: fn(int) -> int, n: int) -> int:
    return f(f(n))
fn least[T: order](xs: list[T]) -> T:
    return sorted(xs)[0]
fn told(n: int):
    return n + SIDE
extern pure fn outside(n: int) -> int
''',
    "layers": '''from base import SIDE
model Layer(n: int, wide: bool = false):
    param w: f32[n, SIDE] = glorot()
    state seen: int = 0
    fn forward(x: f32[n]) -> f32[SIDE]:
        return x @ self.w
model Net(n: int):
    let first = Layer(n)
    let both = [Layer(n), Layer(n)]
    let other = (Layer(n, true), Layer(n))
    fn forward(x: f32[n]) -> f32[SIDE]:
        return self.first(x) + self.both[0](x) * self.both[1](x)
''',
    "tools": '''from base import Point, Tree, Pair, scale, twice, told, least, outside
fn leaves(t: Tree) -> int:
    match t:
        case Leaf(p):
            return scale(p)
        case Node(left, right):
            return leaves(left) + leaves(right)
fn shown(t: Tree) -> str:
    return f"{t} of {leaves(t)}"
fn bent(x: f64) -> f64:
    return x * Point(int(x)).size()
fn slope(x: f64) -> f64:
    return grad(bent)(x)
fn same(a: list[Point], b: list[Point]) -> bool:
    return a == b
fn sums(n: int) -> int:
    fn inner(k: int) -> int:
        return 1 if k < 1 else inner(k - 1) + told(k)
    return twice(inner, n) + twice(fn(k): k + n, 4) + outside(n)
fn pairs(xs: list[int]) -> map[str, Pair[int, Point]]:
    var found: map[str, Pair[int, Point]] = {}
    for x in xs:
        found[f"{x}"] = Pair(least(xs), Point(x))
    return found
''',
    "more": '''from base import Point, twice
fn sums(n: int) -> int:
    return twice(fn(k): k * n, 5)
fn nearest(ps: list[Point]) -> list[Point]:
    var own = ps
    own.sort(key=fn(p): p.size())
    return own
fn kind(n: int) -> str:
    match n:
        case 1:
            return "one"
        case n:
            return "many"
        case _:
            return "never"
''',
    "main": '''import more
from layers import Net
from tools import leaves, shown, slope, same, sums, pairs
from base import Tree, Point, scale
fn run(n: int) -> int:
    let t = Node(Leaf(Point(n)), Leaf(Point(2, 0.5)))
    return leaves(t) + sums(n) + more.sums(n) + scale(Point(1), by=3) + len(pairs([n])) + len(more.kind(n))
fn net(x: f32[4]) -> f32[3]:
    return Net(4, seed=1)(x)
''',
}
EDITS = (
    ("base", "const SIDE = 3", "const SIDE = 4"),
    ("base", "const SIDE = 3", "const SIDE = 1 + 2"),
    ("base", "    x: int\n", "    x: int\n    z: int = 7\n"),
    ("base", "    y: f64 = 1.5", "    y: f64 = 2.5"),
    ("base", "    x: int\n    y", "    x: i32\n    y"),
    ("base", "self.x) * self.y", "self.x) * self.y + 1.0"),
    ("base", "    Leaf(p: Point)\n", "    Leaf(p: Point)\n    Empty\n"),
    ("base", "    a: A\n    b: B\n", "    b: B\n    a: A\n"),
    ("base", "by: int = 2", "by: int = 5"),
    ("base", "by: int = 2", "by: int = SIDE"),
    ("base", "fn scale(p: Point, by", "fn scale(p: Point, more: int = 1, by"),
    ("base", "return p.x * by", "let q = p\n    return q.x * by"),
    ("base", "return f(f(n))", "return f(f(f(n)))"),
    ("base", "sorted(xs)[0]", "sorted(xs)[len(xs) - 1]"),
    ("base", "return n + SIDE", "return f64(n)"),
    ("base", "extern pure fn outside(n: int)", "extern pure fn outside(n: int, m: int = 3)"),
    ("base", '"""Shapes."""\n', ""),
    ("base", "struct Point:\n", "struct Point:\n    \"\"\"Where.\"\"\"\n"),
    ("layers", "n: int, wide: bool = false", "n: int, wide: bool = true"),
    ("layers", "n: int, wide: bool = false", "n: int, wide: bool = false, extra: int = 2"),
    ("layers", "let first = Layer(n)", "let first = Layer(n, true)"),
    ("layers", "(Layer(n, true), Layer(n))", "(Layer(n), Layer(n))"),
    ("layers", "state seen: int = 0", "state seen: f64 = 0.0"),
    ("layers", "param w: f32[n, SIDE] = glorot()", "param w: f32[n, SIDE] = zeros()"),
    ("tools", "fn leaves", "# a line more\nfn leaves"),
    ("tools", "    fn inner(k: int) -> int:\n        return 1", "    fn inner(k: int) -> int:\n        return 2"),
    ("tools", "twice(fn(k): k + n, 4)", "twice(fn(k): k - n, 4) + twice(fn(k): k * n, 4)"),
    ("tools", "fn bent(x: f64) -> f64:\n", "fn bent(x: f64) -> f64:\n    \"\"\"Is bent.\"\"\"\n"),
    ("tools", "x * Point", "x * x * Point"),
    ("tools", "return a == b", "return a != b"),
    ("tools", "import Point, Tree, Pair,", "import Point, Tree, Pair as Two, Pair,"),
    ("tools", "leaves(left)", "leaves(right)"),
    ("more", "fn sums", "fn told(n: int) -> int:\n    return n\nfn sums"),
    ("more", "fn(k): k * n", "fn(k): k * n + 1"),
    ("more", "p.size())", "-p.size())"),
    ("more", 'case 1:\n            return "one"', 'case 1 | 2:\n            return "few"'),
    ("more", "from base import Point, twice\n", "from base import Point, twice\nstruct Pair:\n    n: int\n"),
    ("more", "fn sums(n: int) -> int:\n", "fn apart(n: int) -> int:\n    return n\nfn sums(n: int) -> int:\n"),
    ("more", '        case _:\n            return "never"\n', ""),
    ("main", "Net(4, seed=1)", "Net(4, seed=2)"),
    ("main", "from base import Tree, Point, scale\n", "from base import Tree, Point, scale, told\n"),
    ("main", "import more\n", "import more as other\n"),
    ("main", "import more\n", "import more\nimport base\n"),
    ("main", "fn run", "fn many(m: Net, x: f32[4]) -> f32[3]:\n    return m(x)\nfn run"),
    ("main", "more.sums(n)", "more.told(n)"),
)
"""Of a callee's signature, a struct's fields, constants, imports, configurations, defaults, names, places and docs."""


def test_edits_of_modules_change_what_they_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch)
    again = count(monkeypatch)
    until = time.monotonic() + SECONDS
    plain = compiler.edited(tmp_path, (), fresh=True)
    fine = wrong = 0
    for edits in edits_of(EDITS[::EACH], random.Random(os.environ.get("HYB_FUZZ_SEED", "ci"))):
        warm = compiler.edited(tmp_path, edits, fresh=False)
        assert warm == (compiler.edited(tmp_path, edits, fresh=True) if edits else plain), edits
        fine += not isinstance(warm, list)
        wrong += isinstance(warm, list)
        if fine + wrong > len(EDITS) // EACH and time.monotonic() > until:
            break
    assert wrong > 0 and again["modules"] > fine and again["functions"] > 10 * fine


FILE = re.sub(r"^(?:from|import) .*\n", "", "".join(MODULES[name] for name in ("base", "layers", "tools", "main")),
              flags=re.M).replace("more.sums", "sums").replace("len(more.kind(n))", "n") + """
model Wide(sizes: list[int], rate: f64 = 0.5):
    param w: f32[sizes[0], sizes[1]] = zeros()
    fn forward(x: f32[sizes[0]]) -> f32[sizes[1]]:
        return x @ self.w
    fn scaled(x: f64) -> f64:
        return x * self.rate
fn half(x: f64):
    return x / 2.0
fn quarter(x: f64):
    return half(half(x))
fn steep(x: f64) -> f64:
    return grad(quarter)(x) + grad(fn(y: f64): half(y) * f64(int(y)))(x)
fn wide(x: f32[2]) -> f32[3]:
    return Wide([2, 3])(x)
fn which(n: int) -> str:
    match n:
        case n:
            return f"{n}"
        case _:
            return "never"
test "sums":
    assert sums(1) > 0
test "sums":
    assert half(quarter(8.0)) == 1.0
"""
EDITS_OF_FILE = (
    *((n, find, put) for n, find, put in EDITS if find in FILE),
    ("", "fn half", "# a line more\nfn half"),
    ("", "return x / 2.0", "return x / 2.0  # of it"),
    ("", "return x / 2.0", "return int(x) / 2"),
    ("", "return x / 2.0", "return int(x)"),
    ("", "return half(half(x))", "return half(x)"),
    ("", "fn half(x: f64):", "fn half(x: f64) -> f64:"),
    ("", "fn half(x: f64):", "fn half[T: float](x: T) -> T:"),
    ("", "fn half(x: f64):\n    return x / 2.0\n", ""),
    ("", "fn which", "fn half(n: int) -> int:\n    return n\nfn which"),
    ("", "case n:\n            return f", "case 0:\n            return f"),
    ("", "x: f32[sizes[0]]", "x: f32[2]"),
    ("", "sizes: list[int], rate: f64 = 0.5", "sizes: list[int], rate: f64 = 1.0"),
    ("", "rate: f64 = 0.5", "rate: int = 1"),
    ("", 'test "sums":\n    assert sums(1) > 0\n', ""),
    ("", "assert sums(1) > 0", "assert sums(1) > 1"),
    ("", "f64(int(y))", "f64(int(y)) + y"),
)
"""Those of MODULES, and of functions that do not say what they give, derivatives, lists of dimensions, warnings, tests."""


def test_edits_of_one_file_change_what_they_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch)
    again = count(monkeypatch)
    until = time.monotonic() + SECONDS
    path = tmp_path / "file.hyb"
    plain = compiler.edited_file(path, (), fresh=True)
    assert not isinstance(plain, list)
    fine = wrong = 0
    for edits in edits_of(EDITS_OF_FILE[EACH - 1 :: EACH], random.Random(os.environ.get("HYB_FUZZ_SEED", "ci"))):
        warm = compiler.edited_file(path, edits, fresh=False)
        assert warm == (compiler.edited_file(path, edits, fresh=True) if edits else plain), edits
        fine += not isinstance(warm, list)
        wrong += isinstance(warm, list)
        if fine + wrong > len(EDITS_OF_FILE) // EACH and time.monotonic() > until:
            break
    assert wrong > 0 and again["bodies"] > 3 * fine and again["functions"] > 10 * fine


def edits_of(known: Sequence[tuple[str, str, str]], rng: random.Random) -> Iterator[tuple[tuple[str, str, str], ...]]:
    """Each by itself, at times back again, then several, one more or one less each time."""
    for edit in rng.sample(known, len(known)):
        yield (edit,)
        if rng.random() < 0.3:
            yield ()
    edits: list[tuple[str, str, str]] = []
    while True:
        if len(edits) > 3 or edits and rng.random() < 0.4:
            edits.pop(rng.randrange(len(edits)))
        else:
            edits.append(rng.choice(known))
        yield tuple(edits)


def count(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many modules, bodies and functions are taken again."""
    found = {"modules": 0, "bodies": 0, "functions": 0}
    module, body, function = Checker._load_kept, Checker._taken, Keeper._again

    def load_kept(checker: Checker) -> dict[str, KeptModule]:
        known = module(checker)
        found["modules"] += len(known)
        return known

    def taken(checker: Checker, *asked: Any) -> bool:
        is_taken = body(checker, *asked)
        found["bodies"] += is_taken
        return is_taken

    def again(keeper: Keeper, record: Record) -> None:
        found["functions"] += 1
        function(keeper, record)

    monkeypatch.setattr(Checker, "_load_kept", load_kept)
    monkeypatch.setattr(Checker, "_taken", taken)
    monkeypatch.setattr(Keeper, "_again", again)
    return found
