"""What is said of text that is no Hyb: where, with which code, in which words; and that nothing ever raises."""

from __future__ import annotations

import random
import re

import pytest

from hybridc.base.diagnostic import Diagnostic, render
from hybridc.base.source import Source
from hybridc.front.parse.parser import parse, parse_type

HEAD = "fn f(n: int) -> int:\n    "


def errors(text: str) -> list[Diagnostic]:
    file, diagnostics = parse(Source("t.hyb", text))
    assert (file is None) == bool(diagnostics)
    return diagnostics


def places(text: str) -> list[tuple[str, int, int]]:
    source = Source("t.hyb", text)
    return [(d.code, *source.line_column(d.span.start)) for d in errors(text)]


# Each: the text, the code, line and column, the text that is marked, words of the message or help.
IN_BODY = [
    ("let a = n +", "HYB100", 12, "\n", "expected an expression after `+`"),
    ("let a = n + # why\n    return a", "HYB100", 12, " ", "the end of the line"),
    ("let if = 3", "HYB113", 5, "if", "reserved word"),
    ("return x.match", "HYB113", 10, "match", "reserved word"),
    ("g(if=3)", "HYB113", 3, "if", "reserved word"),
    ("x++", "HYB123", 2, "++", "`+= 1`"),
    ("if a = b:\n        pass", "HYB100", 6, "=", "`==`"),
    ("if a && b: pass", "HYB123", 6, "&&", "`and`"),
    ('return f"{m["a"]}"', "HYB123", 8, 'f"{m["a', "the other kind of quote"),
    ("if a || b: pass", "HYB123", 6, "||", "`or`"),
    ("if !a: pass", "HYB101", 4, "!", "`not x`"),
    ("if a\n        pass", "HYB114", 5, "\n", "expected `:`"),
    ("while a {\n    }", "HYB114", 9, "{", "without braces"),
    ("if a: pass\n    else if b: pass", "HYB123", 1, "else if", "`elif`"),
    ("let g = fn(x):\n        return x", "HYB100", 15, "\n", "declare `fn name(x):`"),
    ("let g = fold(xs, fn(a, x): return a + x)", "HYB100", 28, "return", "`return` is a statement"),
    ("map(xs, fn(x): total += x)", "HYB100", 22, "+=", "a `for` loop"),
    ("let g = lambda x: x", "HYB123", 9, "lambda", "`fn(x): x + 1`"),
    ("if x is none: pass", "HYB123", 6, "is", "`==`"),
    ("let x = None", "HYB123", 9, "None", "`none`"),
    ("while True: break", "HYB123", 7, "True", "`true`"),
    ("match x:\n        case None: pass", "HYB123", 14, "None", "`none`"),
    ("return x;", "HYB101", 9, ";", "its own line"),
    ("let mut x = 3", "HYB123", 1, "let mut", "`var`"),
    ("x: int = 3", "HYB100", 2, ":", "`let x: TYPE = ...`"),
    ("x := 3", "HYB123", 3, ":=", "`let x = ...`"),
    ("let x", "HYB100", 6, "\n", "needs a value"),
    ("let a[0] = x", "HYB100", 6, "[", "leave `let` out"),
    ("x = y = 3", "HYB100", 7, "=", "one assignment"),
    ("a + b = 3", "HYB116", 1, "a + b", "assigned"),
    ("f(x) += 3", "HYB116", 1, "f(x)", "assigned"),
    ("return a if b", "HYB100", 14, "\n", "expected `else`"),
    ("return x y", "HYB100", 10, "y", "an operator or the end of the line"),
    ("return [1 2]", "HYB100", 11, "2", "an operator or a comma"),
    ("f(x for x in xs)", "HYB100", 5, "for", "brackets"),
    ("any(x > 3 for x in xs)", "HYB100", 11, "for", "brackets"),
    ("f(*xs)", "HYB100", 3, "*", "spread"),
    ("f(a=1, 2)", "HYB120", 8, "2", "by name"),
    ("xs[]", "HYB100", 4, "]", "expected an index"),
    ("if x: if y: pass", "HYB100", 7, "if", "one simple statement"),
    ("try:\n        pass", "HYB123", 1, "try", "`try`"),
    ("with open(x) as f: pass", "HYB123", 1, "with", "`with`"),
    ("yield x", "HYB123", 1, "yield", "list"),
    ("if let y = x: pass", "HYB123", 1, "if let", "`let x = ...`"),
    ("parallel for x in xs: pass", "HYB123", 1, "parallel for", "`parallel [f(x) for x in xs]`"),
    ("for x in xs: pass\n    else: pass", "HYB119", 5, "else", "a loop has none"),
    ("print x", "HYB123", 1, "print", "`print(...)`"),
    ("c = a ? b : d", "HYB123", 7, "?", "`a if c else b`"),
    ("xs.map(x => x)", "HYB123", 10, "=>", "`fn(x): x + 1`"),
    ("xs.map(fn(x) => x)", "HYB123", 14, "=>", "`fn(x): x + 1`"),
    ("a <> b", "HYB123", 3, "<>", "`!=`"),
    ("a == not b", "HYB100", 6, "not", "parentheses"),
    ("let x = int?", "HYB118", 9, "int?", "a type"),
    ("let x = a + fn(int) -> int", "HYB100", 13, "fn", "an expression"),
    ("let x: 3 = 3", "HYB100", 8, "3", "a type"),
    ("let x: list[1:2] = 3", "HYB117", 13, "1:2", "slice"),
    ("return fn(1): 3", "HYB100", 11, "1", "a name"),
    ("return 1abc", "HYB108", 8, "1abc", "no number"),
    ("return 012", "HYB108", 8, "012", "`0o`"),
    ("return 0x", "HYB108", 8, "0x", "no number"),
    ("return " + "9" * 5000, "HYB108", 8, "9" * 5000, "digits"),
    ("return 'a", "HYB106", 8, "'a", "closed"),
    ('return "\\q"', "HYB107", 9, "\\q", "escape"),
    ('return "\\ud800"', "HYB107", 9, "\\ud800", "no character"),
    ('return "\\N{NO SUCH}"', "HYB107", 9, "\\N{NO SUCH}", "NO SUCH"),
    ('return f"{a"', "HYB115", 10, "{", "never closed"),
    ('return f"a}"', "HYB115", 11, "}", "`}}`"),
    ('return f"{}"', "HYB115", 10, "{}", "empty"),
    ("return sum(x for x in xs)", "HYB100", 14, "for", "in brackets"),
    ('return f"{x!a}"', "HYB115", 12, "!a", "`!a`"),
    ('return f"{x:{w}}"', "HYB115", 13, "{w}", "no holes"),
    ('return f"{a b}"', "HYB100", 13, "b", "an operator"),
    ('return f"{a +}"', "HYB100", 14, "}", "expression"),
    ("break", "HYB119", 1, "break", "outside a loop"),
    ("for x in xs:\n        fn g():\n            continue", "HYB119", 13, "continue", "outside a loop"),
    ("struct S: pass", "HYB119", 1, "struct", "top of a file"),
    ("import a", "HYB119", 1, "import", "top of a file"),
    ("param w: f32 = 1", "HYB119", 1, "param", "`model`"),
    ("mut fn g(): pass", "HYB119", 1, "mut fn g()", "method"),
    ("elif x: pass", "HYB119", 1, "elif", "no `if`"),
    ("match x:\n        1: pass", "HYB119", 9, "1", "`case`"),
    ("match x:\n        case [*a, *b]: pass", "HYB100", 20, "b", "at most"),
    ("x = 3 $ 4", "HYB101", 7, "$", "`$`"),
    ("x = \\\n        3", "HYB101", 5, "\\", "brackets"),
    ("return (a + b", "HYB109", 8, "(", "never closed"),
    ("return a)", "HYB110", 9, ")", "closes nothing"),
    ('return r"\\n"', "HYB123", 8, 'r"\\n"', "twice"),
    ('return b"ab"', "HYB123", 8, 'b"ab"', "bytes"),
    ("let x: int | none = 3", "HYB100", 12, "|", "`T?`"),
    ("let x: none = 3", "HYB100", 8, "none", "`T?`"),
    ("let x: int[] = 3", "HYB100", 12, "]", "`list[int]`"),
    ("match x:\n        case 1: pass\n        default: pass", "HYB119", 9, "default", "`case _:`"),
    ("match x:\n        case 1: pass\n        else: pass", "HYB119", 9, "else", "`case _:`"),
    ("const N = 3", "HYB119", 1, "const", "`let`"),
    ("let a, *b = xs", "HYB100", 8, "*", "`let rest = xs[1:]`"),
    ("return [*xs, 1]", "HYB100", 9, "*", "`xs + [x]`"),
    ("return {**m, 1: 2}", "HYB100", 9, "**", "`var m = other`"),
    ("return Point{x: 1}", "HYB123", 8, "Point{", "`Point(x=1, y=2)`"),
    ("return new Point(1)", "HYB123", 8, "new", "`P(1, 2)`"),
    ('return f"{a=}"', "HYB100", 12, "=", "`a={a}`"),
    ("for i in 1..5: pass", "HYB123", 10, "1..5", "`range(a, b)`"),
    ("for i in a..b: pass", "HYB123", 11, "..", "`range(a, b)`"),
    ("int b = 3", "HYB123", 1, "int b", "`var b: int = ...`"),
]


@pytest.mark.parametrize(("text", "code", "column", "marked", "words"), IN_BODY)
def test_in_a_body(text: str, code: str, column: int, marked: str, words: str) -> None:
    whole = HEAD + text + "\n\nfn good() -> int:\n    return 1\n"
    found = errors(whole)
    assert [d.code for d in found] == [code], found
    (error,) = found
    shift = 4 if Source("", whole).line_column(error.span.start)[0] == 2 or marked == "else if" else 0
    assert Source("", whole).line_column(error.span.start)[1] == column + shift
    assert whole[error.span.start : error.span.end] == marked
    assert words in f"{error.message} {error.help}"


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "words"),
    [
        ("def f(x: int):\n    pass\n", "HYB123", 1, 1, "`fn`"),
        ("class A(B):\n    x: int\n", "HYB123", 1, 1, "`struct`"),
        ("let a = 3\n", "HYB119", 1, 1, "`const"),
        ("fn f() -> none: pass\n", "HYB100", 1, 11, "leave"),
        ("enum E:\n    A, B\n", "HYB100", 2, 6, "a line of its own"),
        ("struct S:\n    x: int\n    fn __init__(x: int): pass\n", "HYB123", 3, 8, "`M(8)`"),
        ("model M(n: int):\n    fn __init__(self, n: int): pass\n", "HYB123", 2, 8, "`M(8)`"),
        ("model M(n: int):\n    fn __call__(self, n: int): pass\n", "HYB123", 2, 8, "`forward`"),
        ("enum E:\n    A\n    fn __add__(x: E) -> E: return x\n", "HYB123", 3, 8, "`a.plus(b)`"),
        ("return 1\n", "HYB119", 1, 1, "outside a body"),
        ("print(3)\n", "HYB119", 1, 1, "outside a body"),
        ("fn f() -> int:\n return 1\n  return 2\n", "HYB104", 3, 1, "indented"),
        ("fn f():\n    if x:\n    return 1\n", "HYB105", 3, 5, "`if`"),
        ("fn f():\n\nfn g(): pass\n", "HYB105", 1, 7, "body"),
        ("fn f():\n        pass\n    pass\n", "HYB103", 3, 1, "0 or 8"),
        ("  fn f(): pass\n", "HYB104", 1, 1, "indented"),
        ("fn f(n: int) -> int:\n\treturn n\n", "HYB102", 2, 1, "tab"),
        ("fn f(n: int) -> int:\n  \treturn n\n", "HYB102", 2, 3, "spaces"),
        ("fn f(:\n", "HYB109", 1, 5, "never closed"),
        ("fn f()\n    pass\n", "HYB114", 1, 7, "`:`"),
        ("fn f(): \n", "HYB105", 1, 7, "body"),
        ("fn f() int: pass\n", "HYB100", 1, 8, "`->`"),
        ("fn match(): pass\n", "HYB113", 1, 4, "reserved"),
        ("fn f(self, x: int): pass\n", "HYB113", 1, 6, "`self`"),
        ("fn f(x): pass\n", "HYB121", 1, 6, "needs a type"),
        ("fn f(a: int, a: int): pass\n", "HYB122", 1, 14, "`a`"),
        ("fn f(a: int = 3, b: int): pass\n", "HYB120", 1, 18, "default"),
        ("mut fn f(): pass\n", "HYB119", 1, 1, "method"),
        ('"""open', "HYB106", 1, 1, "never closed"),
        ("\x00", "HYB101", 1, 1, "U+0000"),
        ("import a as b\n", "HYB100", 1, 10, "from module import"),
        ("import a, b\n", "HYB100", 1, 9, "one module"),
        ("from a import *\n", "HYB100", 1, 15, "list the names"),
        ("from . import b\n", "HYB100", 1, 6, "dot"),
        ("const N: int = 3\n", "HYB100", 1, 8, "no type"),
        ("struct S:\n    a = 3\n", "HYB121", 2, 7, "needs a type"),
        ("struct S:\n    a: int\n    a: str\n", "HYB122", 3, 5, "`a`"),
        ("struct S:\n    a: int\n    'text'\n", "HYB119", 3, 5, "doc"),
        ("struct S(x: int): pass\n", "HYB100", 1, 9, "in its body"),
        ("enum E:\n    A = 1\n", "HYB100", 2, 7, "no value"),
        ("enum E:\n    A(int)\n", "HYB121", 2, 7, "name and a type"),
        ("enum E:\n    A\n    x = 1\n", "HYB100", 3, 7, "no value"),
        ("model M():\n    param w = zeros()\n", "HYB121", 2, 13, "needs a type"),
        ("model M():\n    var x = 1\n", "HYB119", 2, 5, "`state name"),
        ("model M():\n    self.x = 1\n", "HYB119", 2, 5, "`param`"),
        ("model M[T](): pass\n", "HYB100", 1, 8, "no type parameters"),
        ("@custom_grad(b)\nstruct S:\n    x: int\n", "HYB100", 2, 1, "`fn`"),
        ("@custom_grad(b)\n", "HYB100", 1, 16, "`fn`"),
        ("extern fn f(x: f64) -> f64:\n    return x\n", "HYB100", 1, 27, "no body"),
        ("test foo:\n    pass\n", "HYB100", 1, 1, 'test "what holds"'),
        ("export\n", "HYB100", 1, 1, "`export name`"),
        ("fn f():\n    return ((1)\n\nfn g(): pass\n", "HYB109", 2, 12, "never closed"),
        ("const A = 1\n\n'text'\n", "HYB119", 3, 1, "doc"),
    ],
)
def test_in_a_file(text: str, code: str, line: int, column: int, words: str) -> None:
    found = errors(text)
    assert places(text)[:1] == [(code, line, column)], found
    assert words in f"{found[0].message} {found[0].help}"


def test_every_independent_error_is_reported() -> None:
    text = (
        "fn a() -> int:\n    return +\n\nfn b(x: list[int) -> int:\n    return 1\n\nstruct S:\n    x = 3\n\n"
        "fn good(): pass\n\nfn c():\n    let s = 'open\n\nlet d = 3\n"
        "fn e(): (\n\n@x\nfn h(): return )\nenum E:\n    A B\n"
    )
    assert [p[:2] for p in places(text)] == [
        ("HYB100", 2),
        ("HYB109", 4),
        ("HYB121", 8),
        ("HYB106", 13),
        ("HYB119", 15),
        ("HYB109", 16),
        ("HYB110", 19),
        ("HYB100", 21),
    ]


def test_a_name_of_ones_own_may_be_none_or_true() -> None:
    assert errors("enum E:\n    None\n    Some(x: int)\n\nfn f() -> E: return None\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000 + "1" + ")" * 5000,
        "x = " + "[" * 5000,
        "x = " + "-" * 5000 + "1",
        "x = " + "not " * 5000 + "a",
        "x = " + "+".join(["1"] * 5000),
        "x = " + "2 ** " * 5000 + "1",
        "x = " + "a ?? " * 5000 + "1",
        "x = a" + ".b" * 5000,
        "x = a" + "()" * 5000,
        "x = a" + "[0]" * 5000,
        "x = " + "fn(x): " * 5000 + "1",
        "x = " + "1 if a else " * 5000 + "1",
        "x = " + ("(" + "1 + " * 30) * 90 + "1" + ")" * 90,
        "let x: " + "list[" * 5000 + "int" + "]" * 5000 + " = 1",
        "let x: int" + "?" * 5000 + " = 1",
        "let x: " + "fn() -> " * 5000 + "int = 1",
        "match x:\n        case " + "A(" * 5000 + "1" + ")" * 5000 + ": pass",
        "if a: pass\n" + "    elif b: pass\n" * 5000,
        "".join("    " * i + "if x:\n" for i in range(1, 300)),
    ],
    ids=range(19),
)
def test_what_is_too_deep_is_refused(text: str) -> None:
    assert {d.code for d in errors(HEAD + text + "\n")} <= {"HYB111", "HYB112"}
    assert len(errors(HEAD + text + "\n\nfn g(): +\n")) >= 1


def test_an_error_after_too_deep_nesting_is_found() -> None:
    assert [p[:2] for p in places(HEAD + "x = " + "(" * 5000 + "\n\nfn g():\n    return +\n")] == [
        ("HYB111", 2),
        ("HYB100", 5),
    ]


def test_there_is_an_end_to_complaints() -> None:
    assert len(errors("$\n" * 10_000)) < 200


def test_types_alone() -> None:
    for text in ("", "3", "list[", "list[int", "int]", "fn(", "a b", "1:2", "list[1:2]", "int?x", "\x00", "int\nint"):
        kind, found = parse_type(Source("t", text))
        assert kind is None and found


def test_the_marks_stand_below_the_span() -> None:
    text = HEAD + "let if = 3\n"
    (error,) = errors(text)
    assert render(error, {"t.hyb": Source("t.hyb", text)}).splitlines() == [
        "t.hyb:2:9: error[HYB113]: `if` is a reserved word and cannot be a name",
        "    2 |     let if = 3",
        "      |         ^^",
        "  help: choose another name",
    ]
    marks = re.compile(r"^[\s|\d│┃:>]*[\^~━]+", re.M)
    for bad in (
        "\x00",
        '"""open',
        "fn f(:\n",
        "",
        "\tx",
        "fn f():\n    x = " + "1 " * 1000,
        "fn f(",
        "x = \x1b[31m!",
        "fn f():\n  x = (\n1\n+",
    ):
        for error in errors(bad):
            shown = render(error, {"t.hyb": Source("t.hyb", bad)})
            assert marks.search(shown) and "\x1b" not in shown and "\x00" not in shown


FRAGMENTS = (
    '( ) [ ] { } : fn let mut if else elif match case \' " """ f" f"{ # \\ é ? ?? -> * ** = == + - not in for 1 1. 0x '
    ".5 1e "
    "none model param state from import export test @ parallel struct enum extern self true , ; ! _ and return as while"
).split() + ["\n", "\n    ", "\n        ", "\t", "\r", "\r\n", "\x00", "\ud800", "\ufeff", " ", " "]


@pytest.mark.parametrize("seed", range(8))
def test_nothing_raises(seed: int) -> None:
    """Made of fragments, or a good program with a few places spoilt."""
    rng = random.Random(seed)
    good = (
        HEAD + "match n:\n        case A(x, [1, *_]) if x in n: return f'{x + 1:>3}'\n"
        "    return parallel [g(mut y) for y in z]\n"
    )
    good += "model M(a: int = 1):\n    param w: f32[2 * a, ?] = zeros()\n    state s: (int, str?) = none\n"
    refused = 0
    for _ in range(150):
        if rng.random() < 0.3:
            text = "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(80)))
        else:
            text = good
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(text) + 1)
                text = text[:at] + rng.choice([*FRAGMENTS, ""]) + text[at + rng.randrange(6) :]
        source = Source("t.hyb", text)
        found = errors(text)
        refused += bool(found)
        for error in found:
            assert 0 <= error.span.start < error.span.end
            assert render(error, {"t.hyb": source}).startswith("t.hyb:")
    assert refused > 50
