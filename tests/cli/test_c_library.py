"""`hybridc build --c-header`: C programs call compiled Hyb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybridc

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "c"
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
SANITIZE = ["-Wall", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"]


def build(source: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "p.hyb").write_text(source)
    return subprocess.run([sys.executable, "-m", "hybridc", "build", "p.hyb", "--c-header", "--target", "cpu:x86-64-v2", *more],
                          cwd=folder, capture_output=True, text=True, timeout=200)


def run(source: str, body: str, folder: Path) -> str:
    """What a C program prints that has `body` as its main; under the sanitizers, which see every leak too."""
    done = build(source, folder)
    assert done.returncode == 0, done.stderr
    (folder / "main.c").write_text(
        '#include <stdio.h>\n#include "p.h"\n#define TRY(x) if (x) printf("%s\\n", p_error())\n'
        f"int main(void) {{\n{body}\nreturn 0;\n}}\n")
    done = subprocess.run(["cc", *SANITIZE, "main.c", "./libp.so", "-o", "main", "-lpthread"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, timeout=100,
                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(EXAMPLE, folder)
    # Its own make, whichever runs the tests.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "-s", f"HYBRIDC={sys.executable} -m hybridc"], cwd=folder, capture_output=True, text=True, timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    loss, *lines = done.stdout.splitlines()
    assert float(loss.split()[1]) < 0.05
    assert lines == ["0 xor 0 is 0", "0 xor 1 is 1", "1 xor 0 is 1", "1 xor 1 is 0", "AssertionError: nothing to learn from (xor.hyb:33)"]


VALUES = '''
enum Color:
    Red
    Green

struct Both:
    name: str
    values: list[int]
    color: Color
    maybe: f64?

fn many(n: int, mut xs: list[int], c: Color, o: str?, t: (int, f32), u: u8, b: bool) -> (Both, str?, bool):
    xs.push(n)
    let squares = parallel [i * i for i in xs]
    return (Both(name=f"n{n}", values=squares, color=c, maybe=f64(t[1]) if b else none), o, not b)

fn turned(x: f32[N, 3], by: f32 = 2.0) -> f32[3, N]:
    return x.T * by

fn mean(xs: list[f64]) -> f64:
    """Of a list
    that is not empty."""
    assert len(xs) > 0, "mean of nothing"
    return sum(xs) / len(xs)

fn at(xs: list[int], i: int) -> int:
    return xs[i]

fn greet(name: str) -> str:
    print(f"hello {name}")
    return name + "!"

fn free(mut n: int):
    n += 1

fn down(n: int) -> int:
    return 0 if n == 0 else 1 + down(n - 1)

fn lower(s: str) -> str:
    return s.lower()

fn apply(f: fn(int) -> int) -> int:
    return f(1)

fn shown(s: str) -> str:
    return f"{[s]}"
'''


def test_values(tmp_path: Path) -> None:
    assert run(VALUES, r'''
int64_t start[2] = {3, 4}, n = 1;
p_int_1 xs = {start, {2}};
p_Both_optional_str_bool r;
for (int i = 0; i < 3; i++) {
    int64_t *old = xs.data;
    TRY(p_many(7, &xs, p_Color_Green, (p_optional_str){i > 0, "yes"}, (p_int_f32){1, 2.5f}, 3, i != 1, &r));
    if (i) p_free(old);
    printf("%s %ld %ld %ld %d %g %s %d\n", r.a.name, (long)r.a.values.data[2], (long)xs.shape[0], (long)r.a.color, r.a.maybe.there,
           r.a.maybe.there ? r.a.maybe.value : 0, r.b.there ? r.b.value : "none", r.c);
    p_free(r.a.name); p_free(r.a.values.data); if (r.b.there) p_free(r.b.value);
}
TRY(p_many(7, &xs, 9, (p_optional_str){1, "yes"}, (p_int_f32){1, 2.5f}, 3, 1, &r));
TRY(p_many(7, &xs, 0, (p_optional_str){1, "\xc0\x80"}, (p_int_f32){1, 2.5f}, 3, 1, &r));
p_free(xs.data);
float x[] = {1, 2, 3, 4, 5, 6};
p_f32_2 y;
TRY(p_turned((p_f32_2){x, {2, 3}}, 2, &y));
printf("%ld %ld %g %g %g\n", (long)y.shape[0], (long)y.shape[1], y.data[0], y.data[1], y.data[2]);
p_free(y.data);
TRY(p_turned((p_f32_2){x, {3, 2}}, 2, &y));
TRY(p_turned((p_f32_2){x, {-1, 3}}, 2, &y));
TRY(p_turned((p_f32_2){NULL, {0, 3}}, 2, &y)); p_free(y.data);
double d = -1, few[] = {1, 2, 6};
TRY(p_mean((p_f64_1){few, {3}}, &d)); printf("%g\n", d);
TRY(p_mean((p_f64_1){few, {0}}, &d)); printf("%g\n", d);
int64_t out;
TRY(p_at((p_int_1){start, {2}}, -1, &out)); printf("%ld\n", (long)out);
TRY(p_at((p_int_1){start, {2}}, 2, &out));
TRY(p_down(1000, &out)); printf("%ld\n", (long)out);
TRY(p_down(10000000, &out));
char *s;
TRY(p_greet("\xc3\x9cml", &s)); printf("%s\n", s); p_free(s);
TRY(p_greet("nobody", &s)); printf("%s\n", s); p_free(s);
TRY(p_lower("ABC", &s)); printf("%s\n", s); p_free(s);
TRY(p_lower("\xc3\x9c", &s));
TRY(p_shown("\xe6\x97\xa5\xc3\xa9", &s)); printf("%s\n", s); p_free(s);
TRY(p_shown("\xc3\xa9\xc2\x85\xc2\xa0\x01", &s)); printf("%s\n", s); p_free(s);
TRY(p_free_(&n)); printf("%ld\n", (long)n);
''', tmp_path) == """n7 49 3 1 1 2.5 none 0
n7 49 4 1 0 0 yes 1
n7 49 5 1 1 2.5 yes 0
ValueError: not a case of Color
ValueError: text that is not UTF-8
3 2 2 8 4
ValueError: dimension 1 of an array is not 3
ValueError: an array whose lengths do not fit its data
3
AssertionError: mean of nothing (p.hyb:23)
3
4
IndexError: index 2 is out of range for length 2 (p.hyb:27)
1000
RecursionError: maximum call depth exceeded (p.hyb:36)
hello \u00dcml
\u00dcml!
hello nobody
nobody!
abc
HostError: this needs Python (p.hyb:40)
['\u65e5\u00e9']
['\u00e9\\x85\\xa0\\x01']
2
"""
    header = (tmp_path / "p.h").read_text()
    assert "/* Of a list\n    that is not empty. */" in header and "\n   apply: fn(int) -> int has no form in C\n" in header
    plus = subprocess.run(["c++", "-fsyntax-only", "-Wall", "-Werror", "-x", "c++", "p.h"], cwd=tmp_path, capture_output=True, text=True)
    assert plus.returncode == 0, plus.stderr


NET = '''
from nn import Linear

model Net(width: int = 8, name: str = "q\\"*/"):
    let a = Linear(4, width)
    state seen: int = 0
    state names: list[str] = []

    fn forward(x: f32[4]) -> f32[width]:
        return tanh(self.a(x))

    mut fn step(x: f32[4], fails: bool) -> int:
        self.seen += 1
        self.names.push(f"{self.seen}")
        set_params(mut self, params(self) * 0.5)
        assert not fails, "as asked"
        return self.seen + len(self.names)

fn both(mut m: Net, n: Net, x: f32[4]) -> f32:
    m.seen += 10
    return m(x)[0] - n(x)[0]

export Net(width=3) as net
export both
'''


def test_a_model(tmp_path: Path) -> None:
    found = run(NET, r'''
float x[] = {1, 2, 3, 4}, d, before[15], after[15];
p_net *a, *b;
int64_t n;
p_f32_1 y;
TRY(p_net_new(3, &a)); TRY(p_net_new(3, &b));
TRY(p_net_forward(a, (p_f32_1){x, {4}}, &y));
printf("%.5f %.5f %.5f\n", y.data[0], y.data[1], y.data[2]); p_free(y.data);
TRY(p_net_forward(a, (p_f32_1){x, {3}}, &y));
p_net_get_params(a, before);
TRY(p_net_step(a, (p_f32_1){x, {4}}, 1, &n));
TRY(p_net_step(a, (p_f32_1){x, {4}}, 0, &n)); printf("%ld\n", (long)n);
p_net_get_params(a, after); printf("%g\n", after[3] / before[3]);
TRY(p_both(a, b, (p_f32_1){x, {4}}, &d));
TRY(p_net_step(a, (p_f32_1){x, {4}}, 0, &n)); printf("%ld\n", (long)n);
TRY(p_net_set_params(a, before, 15)); TRY(p_net_set_params(a, before, 14));
TRY(p_both(a, a, (p_f32_1){x, {4}}, &d)); printf("%g\n", d);
TRY(p_net_load(a, "w.safetensors"));
TRY(p_net_load(b, "main.c")); TRY(p_net_load(b, "none")); TRY(p_net_load(b, "other.safetensors"));
TRY(p_net_forward(a, (p_f32_1){x, {4}}, &y));
printf("%.5f %.5f %.5f\n", y.data[0], y.data[1], y.data[2]); p_free(y.data);
p_net_free(a); p_net_free(b); p_net_free(NULL);
''', _weights(tmp_path))
    mod = hybridc.load(tmp_path / "p.hyb")
    x = np.array([1, 2, 3, 4], np.float32)
    first, last = (" ".join(f"{v:.5f}" for v in mod.Net(width=3, seed=s)(x)) for s in (3, 9))
    assert found == f"""{first}
ValueError: dimension 0 of an array is not 4
AssertionError: as asked (p.hyb:16)
2
0.5
14
ValueError: Net[3, "q\\"*/"] has 15 parameters
0
ValueError: main.c is not a .safetensors file
OSError: none cannot be read
ValueError: other.safetensors has no a.weight of 12 elements of type F32
{last}
"""


def _weights(folder: Path) -> Path:
    (folder / "p.hyb").write_text(NET)
    mod = hybridc.load(folder / "p.hyb")
    mod.Net(width=3, seed=9).save(folder / "w.safetensors")
    mod.Net(width=4, seed=9).save(folder / "other.safetensors")
    return folder


def test_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert build(VALUES, tmp_path / name).returncode == 0
        made.append([(tmp_path / name / f).read_bytes() for f in ("p.h", "libp.so")])
    assert made[0] == made[1]


@pytest.mark.parametrize("source, compiler, message", [
    ("extern fn f(x: int) -> int\n\nfn g() -> int:\n    return f(1)\n", "cc", "p: f needs Python, so there is no library for C"),
    ("fn g() -> int:\n    var m = store[str, int](\"m\")\n    return len(m)\n", "cc", "_store_len, _store_open needs Python"),
    ("fn g() -> int:\n    return 1\n", "no-such-compiler", "--c-header needs a C compiler, and there is no no-such-compiler"),
    ("fn g() -> int:\n    return 1\n", "false", "false -std"),
])  # fmt: skip
def test_refusals(source: str, compiler: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler)
    done = build(source, tmp_path)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "p.h").exists()


def test_names_of_parameters_fields_and_functions_meet_none_of_the_librarys(tmp_path: Path) -> None:
    """Nor words of C, nor each other: `end` beside `end_`, letters beyond ASCII, a method that is called as the handle's
    own function."""
    source = """struct Span:
    begin: int
    end: int
    end_: int
    größe: f32
    länge: f32

enum Kind:
    Ä
    Ö

model Net(n: int = 1):
    state k: int = 0
    param w: f32[n] = zeros()

    mut fn free(model: int, result: int) -> int:
        self.k += model
        return self.k + result

fn f(mut code: int, args: int, begin: int, ctx: str, fail: int) -> str:
    code += args - begin
    return ctx

fn g(α: int, β: int, unix: int) -> int: return 100 * α + 10 * β + unix
fn g_(span: Span) -> Span: return Span(span.end_, span.begin, span.end, span.länge, span.größe)
fn error() -> int: return 1
fn error_() -> Kind: return Ö
export Net
export f
export g
export g_
export error
export error_
"""
    printed = run(source, """
    int64_t n = 5, r; char *s; p_Span a = {1, 2, 3, 4.0f, 5.0f}; p_Net *m;
    TRY(p_f(&n, 7, 2, "text", 0, &s)); printf("%ld %s\\n", n, s); p_free(s);
    TRY(p_g(1, 2, 3, &r)); printf("%ld\\n", r);
    TRY(p_g_(a, &a)); printf("%ld %ld %ld %g %g\\n", a.begin, a.end, a.end_, a.gru00f6u00dfe, a.lu00e4nge);
    TRY(p_error_(&r)); printf("%ld ", r);
    TRY(p_error__(&r)); printf("%d\\n", r == p_Kind_u00d6);
    TRY(p_Net_new(0, &m));
    TRY(p_Net_free_(m, 3, 4, &r)); printf("%ld\\n", r);
    p_Net_free(m);
""", tmp_path)
    assert printed == "10 text\n123\n3 1 2 5 4\n1 1\n7\n"
