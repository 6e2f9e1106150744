"""What is no program, and arguments that do not fit: a diagnostic or an exception that says where, never anything from
inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

HEAD = "fn f() -> int:\n    return "
DEEP = {
    "parentheses": HEAD + "(" * 5000 + "1" + ")" * 5000 + "\n",
    "lists": HEAD + "[" * 5000 + "]" * 5000 + "\n",
    "signs": HEAD + "-" * 5000 + "1\n",
    "nots": HEAD + "not " * 5000 + "true\n",
    "sums": HEAD + "+".join("1" * 5000) + "\n",
    "powers": HEAD + "2 ** " * 3000 + "1\n",
    "defaults": HEAD + "none ?? " * 3000 + "1\n",
    "conditionals": HEAD + "1 if true else " * 3000 + "2\n",
    "attributes": HEAD + "x" + ".y" * 5000 + "\n",
    "calls": HEAD + "x" + "()" * 5000 + "\n",
    "indices": HEAD + "x" + "[0]" * 5000 + "\n",
    "lambdas": HEAD + "fn(x): " * 3000 + "2\n",
    "holes": HEAD + "f'{" * 3000 + "\n",
    "blocks": "fn f():\n" + "".join("    " * i + "if true:\n" for i in range(1, 300)) + "    " * 300 + "pass\n",
    "elifs": "fn f(n: int):\n    if n == 0: pass\n" + "    elif n == 1: pass\n" * 3000,
    "types": "fn f(x: " + "list[" * 3000 + "int" + "]" * 3000 + "):\n    pass\n",
    "options": "fn f(x: int" + "?" * 3000 + "):\n    pass\n",
    "patterns": "fn f(x: int):\n    match x:\n        case " + "(" * 3000 + "1" + ")" * 3000 + ": pass\n",
}
BROKEN = {
    # name: (bytes, line, column, words)
    "a stray byte": (b"fn f() -> int:\n    return 1\xff\n", 2, 13, "not UTF-8 text: the byte 0xff"),
    "latin-1": ("fn f() -> str:\n    # é\n    return 'é'\n".encode("latin-1"), 2, 7, "not UTF-8"),
    "utf-16": ("fn f() -> int:\n    return 1\n".encode("utf-16"), 1, 1, "not UTF-8"),
    "a zero": (b"fn f() -> int:\n    return 1\x00\n", 2, 13, "U+0000"),
    "a strange character": (b"fn f() -> int:\n    return 1 $ 2\n", 2, 14, "`$`"),
    "a tab": (b"fn f() -> int:\n\treturn 1\n", 2, 1, "spaces only"),
    "an open string": (b"fn f() -> str:\n    return 'abc\n", 2, 12, "not closed"),
    "an open long string": (b'fn f() -> str:\n    return """abc\n', 2, 12, "never closed"),
    "an open bracket": (b"fn f() -> int:\n    return (1 + 2\n\nfn g():\n    pass\n", 2, 12, "never closed"),
    "a bracket too much": (b"fn f() -> int:\n    return 1)\n", 2, 13, "closes nothing"),
    "an indent too much": (b"fn f() -> int:\n  return 1\n   return 2\n", 3, 1, "indented"),
    "an indent that fits nothing": (b"fn f() -> int:\n        let x = 1\n    return x\n", 3, 1, "indent"),
    "no text": (b"fn f(:\n", 1, 5, "`(` is never closed"),
    "a surrogate": (b"fn f() -> str:\n    return '\\ud800'\n", 2, 13, "U+D800"),
    "a number without end": (b"const A = 10 ** 10 ** 10\nfn f() -> int:\n    return 1\n", 1, 11, "too large"),
    "a shift without end": (b"const A = 1 << (1 << 40)\nfn f() -> int:\n    return 1\n", 1, 11, "too large"),
    "a dimension without end": (b"fn f(x: f32[(N + M) ** 100000]) -> int:\n    return 1\n", 1, 24, "small constant"),
    "a constant of itself": (b"const A = B\nconst B = A\nfn f() -> int:\n    return A\n", 1, 7, "depends on itself"),
    "a missing module": (b"import nowhere.at_all\nfn f() -> int:\n    return nowhere.at_all.g()\n", 1, 1, "no module"),
}


def errors(path: Path) -> str:
    with pytest.raises(hybridc.CompileError) as found:
        hybridc.load(path)
    return str(found.value)


@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting(name, tmp_path):
    file = tmp_path / "deep.hyb"
    file.write_text(DEEP[name])
    text = errors(file)
    assert "deep" in text.split("error")[1] or "more than 1000" in text, text
    assert text.count("error[") == 1 and len(text) < 1000


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text(name, tmp_path):
    data, line, column, words = BROKEN[name]
    file = tmp_path / "broken.hyb"
    file.write_bytes(data)
    text = errors(file)
    assert text.startswith(f"{file}:{line}:{column}: error[HYB") and words in text, text
    assert text.count("error[") == 1, text


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n", "\ufefffn f() -> int:\n    return 1\n", "fn f() -> int: return 1",
                                  "fn f() -> int:\r\n    return 1\r\n"])
def test_odd_but_well_formed(text, tmp_path):
    file = tmp_path / "odd.hyb"
    file.write_bytes(text.encode())
    mod = hybridc.load(file)
    assert not text.strip("\n#") or not hasattr(mod, "f") or mod.f() == 1


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot read" in errors(tmp_path / "missing.hyb") and "cannot read" in errors(tmp_path)
    with pytest.raises(FileNotFoundError):
        hybridc.load(tmp_path / "missing.hybx")
    (tmp_path / "no.hybx").write_bytes(b"fn f(): pass")
    with pytest.raises(ValueError, match=r"no\.hybx"):
        hybridc.load(tmp_path / "no.hybx")
    with pytest.raises(TypeError):
        hybridc.load(None)


def test_circles_of_imports(tmp_path):
    (tmp_path / "a.hyb").write_text("import b\nfn f() -> int:\n    return b.g()\n")
    (tmp_path / "b.hyb").write_text("from c import h\nfn g() -> int:\n    return h()\n")
    (tmp_path / "c.hyb").write_text("from a import f\nfn h() -> int:\n    return f()\n")
    text = errors(tmp_path / "a.hyb")
    assert "c.hyb:1:1" in text and "a → b → c → a" in text and text.count("error[") == 1
    (tmp_path / "d.hyb").write_text("import d\nfn f() -> int:\n    return d.f()\n")
    assert "d → d" in errors(tmp_path / "d.hyb")


def test_an_import_with_errors(tmp_path):
    (tmp_path / "main.hyb").write_text("import other\nfrom other import g\nfn f() -> int:\n    return other.g() + g() + 'x'\n")
    (tmp_path / "other.hyb").write_text("fn g( -> int:\n    return 1\n")
    text = errors(tmp_path / "main.hyb")
    assert "other.hyb:1:5" in text and text.count("error[") == 1
    (tmp_path / "other.hyb").write_bytes(b"fn g() -> int:\n    return 1\xc3\n")
    text = errors(tmp_path / "main.hyb")
    assert "other.hyb:2:13" in text and "UTF-8" in text and text.count("error[") == 1
    (tmp_path / "other.hyb").write_text("fn g() -> int:\n    return ''\n")
    assert "other.hyb:2:12" in errors(tmp_path / "main.hyb")


# ---- arguments from Python ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mod():
    return hybridc.load(Path(__file__).with_name("arguments.hyb"))


class Odd:
    pass


class OnGpu:
    """Stands for a tensor in the memory of a GPU."""

    shape, dtype = (3, 2), np.dtype(np.float32)

    def __dlpack__(self, **options):
        raise BufferError("not here")

    def __dlpack_device__(self):
        return 2, 0


X32, X64 = np.zeros((3, 2), np.float32), np.zeros((3, 2))
MISFITS = {
    "whole": [None, True, 2.5, 2**63, "1", b"1", [1], (1,), {}, Odd(), np.float32(1), np.bool_(True), np.zeros(3), abs, int, 1j],
    "small": [256, -1, np.int64(300), 1.0],
    "real": ["1.0", None, True, 1j, [1.0], Odd(), float],
    "yes": [1, 0, None, "true", np.int64(1)],
    "text": [1, b"s", None, ["s"], "\ud800", str],
    "items": [1, "12", {1: 2}, [1, "a"], [None], [1.5], [True], {1, 2}, iter([1]), X32],
    "nested": [[1], [(1,)], [(1, {"a": ["b"]})], [(1, {2: [1.0]})]],
    "keys": [[("a", 1)], {"a": "b"}, {1: 1}, None],
    "members": [[1], {"a"}, {1: 1}],
    "pair": [(1,), (1, "a", 2), [1, "a"], (1, 2), ("a", 1), 1],
    "maybe": ["a", 2.5, [None]],
    "point": [1, (1.0, "p"), {"x": 1.0}, Odd()],
    "shape_of": [1, None, "Dot", Odd()],
    "called": [1, None, "f"],
    "matrix": [1.0, None, "x", X64, X32.astype(">f4"), np.zeros((3, 2), np.int64), np.zeros(3, np.float32), X32.T, [[1.0], [1.0, 2.0], []],
               np.array([["a"]]), np.array([[1, "a"]], object), OnGpu(), Odd(), np.float32],
    "ints": [X32, np.zeros(3), np.zeros(3, np.int32), np.zeros(3, bool), ["a"], [1.5], 3],
    "mask": [np.zeros(3, np.int64), [1, 0], 1],
}


@pytest.mark.parametrize("name", MISFITS)
def test_arguments_that_do_not_fit(mod, name):
    function = getattr(mod, name)
    for value in MISFITS[name]:
        with pytest.raises(ValueError) as found:
            function(value)
        assert isinstance(found.value, hybridc.RuntimeFault), value
        param = str(function.__signature__).strip("(").split(":")[0]
        assert f"argument {param}" in str(found.value) or f" of {param} " in str(found.value), (value, found.value)


def test_places_in_what_does_not_fit(mod):
    with pytest.raises(ValueError, match=r"xs\[1\]\[1\]\['b'\]\[2\].* expected f32, found str"):
        mod.nested([(1, {}), (2, {"a": [], "b": [1.0, 2.0, "c"]})])
    with pytest.raises(ValueError, match=r"x: expected f32\[3, \?\], found f64\[3, 2\]"):
        mod.matrix(X64)
    with pytest.raises(ValueError, match="only arrays in host memory"):
        mod.matrix(OnGpu())


def test_tensors_of_torch_that_do_not_fit(mod):
    torch = pytest.importorskip("torch")
    for value in (torch.zeros(3, 2, dtype=torch.float64), torch.zeros(2, 2), torch.zeros(3, 2, device="meta"), torch.zeros(3, 2).to_sparse()):
        with pytest.raises(ValueError, match="argument x|of x "):
            mod.matrix(value)
    with pytest.raises(ValueError, match="sparse"):
        mod.matrix(torch.zeros(3, 2).to_sparse())
    with pytest.raises(ValueError, match="meta"):
        mod.matrix(torch.zeros(3, 2, device="meta"))


def test_shapes_that_do_not_fit(mod):
    with pytest.raises(ValueError, match="dimension 1 of x is 2, but N is 3"):
        mod.square(X32)
    with pytest.raises(ValueError, match="dimension 0 of y is 3, but N is 2"):
        mod.same(np.zeros(2, np.float32), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="an element of xs is 3, but N is 2"):
        mod.rows([np.zeros(2, np.float32), np.zeros(3, np.float32)])
    with pytest.raises(ValueError, match="an empty list or `none` binds nothing"):
        mod.rows([])


def test_wrong_calls(mod):
    for args, kwargs, words in (
        ((), {}, "needs n"), ((1, 2), {}, "takes 1 argument"), ((1,), {"n": 1}, "'n' twice"), ((), {"m": 1}, "no parameter 'm'"),
    ):
        with pytest.raises(TypeError, match=words):
            mod.whole(*args, **kwargs)
    for value in ((1,), np.array([1]), range(3)):
        with pytest.raises(TypeError, match="xs.* changes its argument in place"):
            mod.pushed(value, 1)
    with pytest.raises(TypeError, match="n.* changes its argument in place"):
        mod.bumped(3)
    with pytest.raises(TypeError, match="g.* changes its argument in place"):
        mod.drawn(3)
    xs = [1]
    with pytest.raises(ValueError, match="argument n"):
        mod.pushed(xs, "a")
    assert xs == [1]


def test_classes_and_models(mod):
    for args, kwargs in (((), {}), ((1, "a", 3), {}), ((), {"y": 3})):
        with pytest.raises(TypeError):
            mod.Point(*args, **kwargs)
    for wrong in (lambda: mod.Net("a"), lambda: mod.Net(2, 3), lambda: mod.Net(size=2.5), lambda: mod.Net(width=2),
                  lambda: mod.Net(seed="a"), lambda: mod.Net(-1)):
        with pytest.raises((TypeError, ValueError, hybridc.CompileError)):
            wrong()
    m = mod.Net(2)
    for value in (np.zeros(3, np.float32), np.zeros(2), "x", None):
        with pytest.raises(ValueError, match="x"):
            m(value)
    with pytest.raises(ValueError, match="m"):
        mod.score(3, np.zeros(2, np.float32))
    with pytest.raises(AttributeError):
        m.nothing()
