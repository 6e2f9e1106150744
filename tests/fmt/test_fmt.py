"""`hybridc fmt`: one style, found again whatever the layout was, with the same meaning and the same comments."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

import hybridc
from hybridc import checking, driver
from hybridc.base.source import Source
from hybridc.core.printer import print_program
from hybridc.fmt import format_source
from hybridc.front.parse.parser import tokens

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(p for p in ROOT.rglob("*.hyb") if not {".venv", "build"} & set(p.relative_to(ROOT).parts))
MESSY = '''"""A doc."""
import   a.b
from c import (d,e  as f)
const  PI=3.14
# about P
struct P [T,N] :
   x:T
   y : f32[ N ]=zeros( )   # of y


   fn m ( mut q : list[ int ] , k:int=3 ) -> fn( int )->int :
      return fn( x ) : x+k
enum E :
  A
  B( x:int,y :E )
@custom_grad( back )
fn f( x : f32[*B,N],y:fn(int),z:int=-1 )->f32[ * B ] :
    var t=x[ : , 1 : ,a+1 :] [0]**-2
    if not(x==y)and - z<3 or ~ a!= b : return  {'a':1 ,"b" : 2}[ 'a' ]
    else :
        # alone
        pass

    # at the end of f
    match  x :
        case A|B( _ , y=C( [ a,*rest ] ) )  if a  not   in rest : t[ i ] , t[j]=t[j],t[i]
        case - 1 : g( mut  xs , key = fn( a , b ) : a , k=mut ys )
    return parallel [ f ( x ) ?? 1 .g + 1_0 .g + 1.5 .g + 1..g for x , y in zs if x if y ]
extern  pure fn h( x:f64 )->f64
export  M( size = 8 )  as  small
model  M :
  param w:f32[3]=glorot( )
  let  a=Linear( 3,3 )
  fn forward( x:f32[3])->f32[3] : return self.w@x
test  "t" :
    assert [ x for x in a ] == [
        1,   # one
        2 , 3 ]   , "why"
'''
NEAT = '''"""A doc."""
import a.b
from c import (d, e as f)
const PI = 3.14

# about P
struct P[T, N]:
    x: T
    y: f32[N] = zeros()  # of y

    fn m(mut q: list[int], k: int = 3) -> fn(int) -> int:
        return fn(x): x + k

enum E:
    A
    B(x: int, y: E)

@custom_grad(back)
fn f(x: f32[*B, N], y: fn(int), z: int = -1) -> f32[*B]:
    var t = x[:, 1:, a + 1:][0] ** -2
    if not (x == y) and -z < 3 or ~a != b: return {"a": 1, "b": 2}["a"]
    else:
        # alone
        pass

    # at the end of f
    match x:
        case A | B(_, y=C([a, *rest])) if a not in rest: t[i], t[j] = t[j], t[i]
        case -1: g(mut xs, key=fn(a, b): a, k=mut ys)
    return parallel [f(x) ?? 1 .g + 1_0 .g + 1.5.g + 1..g for x, y in zs if x if y]

extern pure fn h(x: f64) -> f64
export M(size=8) as small

model M:
    param w: f32[3] = glorot()
    let a = Linear(3, 3)
    fn forward(x: f32[3]) -> f32[3]: return self.w @ x

test "t":
    assert [x for x in a] == [
        1,  # one
        2, 3], "why"
'''


def formatted(text: str) -> str:
    return format_source(Source("x.hyb", text))


def test_the_style() -> None:
    assert formatted(MESSY) == NEAT
    assert formatted(NEAT) == NEAT


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_can_be_formatted(path: Path) -> None:
    """That they are, `make lint` says."""
    text = path.read_bytes().decode()
    try:
        found = format_source(Source(str(path), text))
    except hybridc.CompileError:
        assert "# error: HYB1" in text  # a test of syntax errors
        return
    assert formatted(found) == found


def scrambled(text: str, g: random.Random) -> str:
    """The same tokens and comments in another layout: other indentation, spaces, line breaks inside brackets, more empty
    lines, line ends of another system."""
    lexed = tokens(Source("x.hyb", text))
    step = g.randint(1, 7)
    out, level, depth, start = [], 0, 0, True
    stream = sorted(lexed.tokens + lexed.comments, key=lambda t: t.start_pos)
    for i, t in enumerate(stream):
        if t.type in ("INDENT", "DEDENT"):
            level += 1 if t.type == "INDENT" else -1
        elif t.type == "NEWLINE":
            after = stream[i + 1] if i + 1 < len(stream) else None
            if after is None or after.type != "COMMENT" or "\n" in text[t.start_pos:after.start_pos]:
                out.append("\n" + "\n" * (text.count("\n", t.start_pos, after.start_pos) > 1 and g.randint(1, 3)
                                          if after is not None and after.type != "DEDENT" else 0))
            start = True
        elif t.type == "COMMENT":
            return text  # where comments stand is part of what they say
        else:
            if start:
                out.append(" " * (step * level))
            elif depth and g.random() < 0.1:
                out.append("\n" + " " * g.randint(0, 9))
            else:
                out.append(" " * g.randint(1, 3))
            start = False
            depth += (t.type in ("LPAR", "LSQB", "LBRACE")) - (t.type in ("RPAR", "RSQB", "RBRACE"))
            out.append("not in" if t.type == "NOT_IN" else text[t.start_pos:t.end_pos])
    return "".join(out)


@pytest.mark.parametrize("path", [p for p in FILES if "#" not in p.read_text(errors="replace")],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_layout_does_not_matter(path: Path) -> None:
    text = path.read_bytes().decode()
    blanks = _without_blanks(formatted(text))
    for seed in range(2):
        other = scrambled(text, random.Random(seed))
        assert _without_blanks(formatted(other)) == blanks


def _without_blanks(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line)


def test_line_ends_and_marks() -> None:
    assert formatted("\ufefffn f():\r\n    pass\r\n\r\n\r\n\r\nfn g():\r\n    pass") == \
        "fn f():\n    pass\n\nfn g():\n    pass\n"
    assert formatted("") == "" and formatted("\n\n # a \n") == "# a\n"
    assert formatted("const A = 1\n\n\n\n\nconst B = 2\nconst C = 3\n") == "const A = 1\n\nconst B = 2\nconst C = 3\n"


@pytest.mark.parametrize("text, wanted", [
    ("let x = (1,)", "let x = (1,)"), ("let x = (1, 2,)", "let x = (1, 2)"), ("let x = [1,]", "let x = [1]"),
    ("let x = f(1,)", "let x = f(1)"), ("let x = t[1,]", "let x = t[1,]"), ("let x = {1,}", "let x = {1}"),
    ("let x = 'it'", 'let x = "it"'), ("let x = 'a\"b'", "let x = 'a\"b'"), ("let x = f'{a}'", "let x = f'{a}'"),
    ("let x: int??=none", "let x: int?? = none"), ("let x = a??b", "let x = a ?? b"),
    ("let x = (-1)- -2*-x", "let x = (-1) - -2 * -x"), ("t[?,1]+=1", "t[?, 1] += 1"),
    ("let f:fn(int)->int=fn(x):x", "let f: fn(int) -> int = fn(x): x"), ("x[a:b,::2]=1", "x[a:b, ::2] = 1"),
])
def test_tokens(text: str, wanted: str) -> None:
    assert formatted(f"fn f():\n    {text}\n") == f"fn f():\n    {wanted}\n"


def test_long_lines() -> None:
    names = ", ".join(f"name{i}" for i in range(30))
    assert formatted(f"fn f():\n    g({names})\n").splitlines()[1] == "    g("
    conditions = " and ".join(f"condition{i} == {i}" for i in range(9))
    assert formatted(f"fn f():\n    return ({conditions})\n") == (
        "fn f():\n    return (\n        " + "\n        and ".join(f"condition{i} == {i}" for i in range(9)) + "\n    )\n"
    )
    params = ", ".join(f"parameter{i}: list[(int, str)]" for i in range(6))
    out = formatted(f"fn f({params}) -> (int, str): return (1, \"{'x' * 100}\")\n")
    assert out.splitlines()[0] == "fn f(" and out.splitlines()[7] == ") -> (int, str):"
    assert out.splitlines()[8].startswith("    return (1,")
    assert all(len(line) <= 120 for line in out.splitlines()[:8])


@pytest.mark.parametrize("name", ["lang/control/branches", "lang/models/building", "lang/std/layers", "autodiff/programs"])
def test_core_is_the_same(name: str, tmp_path: Path) -> None:
    source = next((p for p in FILES if str(p).endswith(name + ".hyb")), None)
    if source is None:
        pytest.skip("there is no such file any more")
    found = []
    for text in (source.read_text(), scrambled(source.read_text(), random.Random(7))):
        path = tmp_path / source.name
        path.write_text(text)
        core, _ = driver.lower(checking.check(str(path)))
        found.append(print_program(core, spans=False))
    assert found[0] == found[1]


# ---- the command
def run(*args: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "hybridc", "fmt", *args]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, timeout=60)


def test_command(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    good, messy, bad = tmp_path / "good.hyb", tmp_path / "sub" / "messy.hyb", tmp_path / "bad.hyb"
    good.write_text("fn f():\n    pass\n")
    messy.write_text("fn  f( ) :\n  pass")
    bad.write_text("fn f(:\n")
    checked = run("--check", "good.hyb", "sub", cwd=tmp_path)
    assert checked.returncode == 1 and checked.stderr == b"sub/messy.hyb is not formatted\n"
    assert messy.read_text() == "fn  f( ) :\n  pass"
    done = run("good.hyb", "sub", cwd=tmp_path)
    assert done.returncode == 0 and messy.read_text() == good.read_text()
    assert run("--check", "good.hyb", "sub", cwd=tmp_path).returncode == 0
    refused = run("good.hyb", "bad.hyb", cwd=tmp_path)
    assert refused.returncode == 1 and b"bad.hyb:1:" in refused.stderr and bad.read_text() == "fn f(:\n"
    assert b'"code": "HYB1' in run("bad.hyb", "--error-format=json", cwd=tmp_path).stderr


def test_standard_input(tmp_path: Path) -> None:
    done = run("-", cwd=tmp_path, stdin="fn f( ): print('é')".encode())
    assert done.returncode == 0 and done.stdout.decode() == 'fn f(): print("é")\n'
    assert run("--check", "-", cwd=tmp_path, stdin=b"fn f( ): pass").returncode == 1
    for text in (b"fn f(", b"\xff\xfe", b"\x00"):
        bad = run("-", cwd=tmp_path, stdin=text)
        assert bad.returncode == 1 and b"<stdin>:1:" in bad.stderr and b"Traceback" not in bad.stderr
    absent = run("absent.hyb", cwd=tmp_path)
    assert absent.returncode == 1 and absent.stderr.startswith(b"absent.hyb: ")


def test_a_body_that_goes_below_its_header_makes_a_block() -> None:
    """The empty lines are there at once, and not only when the result is formatted again."""
    long = " + ".join(["self.some_field"] * 8)
    assert formatted(f"struct P:\n    some_field: int\n    fn sum() -> int: return {long}  # all\n") == (
        f"struct P:\n    some_field: int\n\n    fn sum() -> int:\n        return {long}  # all\n"
    )


def test_a_function_that_is_a_statement_is_no_declaration() -> None:
    names = ["some_name_that_is_long"] * 6
    assert formatted(f"fn f(): fn(): [{', '.join(names)}]\n") == (
        f"fn f():\n    fn(): [\n        {', '.join(names[:4])},\n        {', '.join(names[4:])},\n    ]\n"
    )
