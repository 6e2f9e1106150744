"""Syntax trees, compared with what a person wrote down."""

from __future__ import annotations

from dataclasses import fields

import pytest
from tree_text import body, expr, parsed, show

from hybridc.base.source import Source, Span
from hybridc.front.parse import syntax as s
from hybridc.front.parse.dump import dump_ast, dump_tokens
from hybridc.front.parse.parser import parse_type


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("-2 ** 2", "(- (2 ** 2))"),
        ("2 ** 3 ** 2", "(2 ** (3 ** 2))"),
        ("2 ** -1", "(2 ** (- 1))"),
        ("2 * -3 ** 2", "(2 * (- (3 ** 2)))"),
        ("7 - 3 - 2", "((7 - 3) - 2)"),
        ("-7 // 2 * 2", "(((- 7) // 2) * 2)"),
        ("2 + 3 * 4 % 5", "(2 + ((3 * 4) % 5))"),
        ("a @ b + c", "((a @ b) + c)"),
        ("1 | 2 ^ 3 & 4 << 1", "(1 | (2 ^ (3 & (4 << 1))))"),
        ("~1 + 2", "((~ 1) + 2)"),
        ("1 << 2 + 1", "(1 << (2 + 1))"),
        ("a & 3 == 2", "((a & 3) == 2)"),
        ("a or b and not c", "(a or (b and (not c)))"),
        ("not a == b", "(not (a == b))"),
        ("not not a", "(not (not a))"),
        ("a <= x < b", "(a <= x < b)"),
        ("(a < b) < c", "((a < b) < c)"),
        ("x not in a == b", "(x not in a == b)"),
        ("x in xs and y", "((x in xs) and y)"),
        ("a ?? b ?? c", "(a ?? (b ?? c))"),
        ("a ?? b | c == d", "((a ?? (b | c)) == d)"),
        ("a + 1 ?? b * 2", "((a + 1) ?? (b * 2))"),
        ("x ?? -1", "(x ?? (- 1))"),
        ('"a" if x > 8 else "b" if y else "c"', "('a' if (x > 8) else ('b' if y else 'c'))"),
        ("fn(x): x + n if c else d", "fn(x): ((x + n) if c else d)"),
        ("fn(): 1", "fn(): 1"),
        ("fn(x: int, mut y): fn(z): x", "fn(x: type int, mut y): fn(z): x"),
        ("-x.f(1)[2] ** 3", "(- (x.f(1)[2] ** 3))"),
        ("a.b.T", "a.b.T"),
        ("f(1, n=2, ys=mut zs)", "f(1, n=2, ys=mut zs)"),
        ("f(mut a.b[0], g,)", "f(mut a.b[0], g)"),
        ("value_and_grad(mut m.loss)(x)", "value_and_grad(mut m.loss)(x)"),
        ("f(from=model, test=param, state=as)", "f(from=model, test=param, state=as)"),
        ("x[i, :, 1:3]", "x[i, ::, 1:3:]"),
        ("s[::-1]", "s[::(- 1)]"),
        ("x[a:, :b, ::c]", "x[a::, :b:, ::c]"),
        ("[]", "[]"),
        ("[1, 2,]", "[1, 2]"),
        ("()", "()"),
        ("(1,)", "(1)"),
        ("(1)", "1"),
        ("(1, (2, 3))", "(1, (2, 3))"),
        ("{}", "map{}"),
        ("{1: 2, a: fn(y): -y}", "map{1: 2, a: fn(y): (- y)}"),
        ("{1, 2}", "set{1, 2}"),
        ("[f(x) for x in xs]", "list(f(x) for bind x in xs)"),
        (
            "[a for (a, _), c in zip(xs, ys) if a if c for d in e]",
            "list(a for ((bind a, _), bind c) in zip(xs, ys) if a if c for bind d in e)",
        ),
        ("{k: v for k, v in m}", "map(k: v for (bind k, bind v) in m)"),
        ("{k for k in m}", "set(k for bind k in m)"),
        ("parallel [f(x) for x in xs]", "parallel list(f(x) for bind x in xs)"),
        ("[x for x in a or b if c]", "list(x for bind x in (a or b) if c)"),
        ("none", "None"),
        ("[true, false, self.x]", "[True, False, self.x]"),
        ("1, 2", "(1, 2)"),
        ("_x._y", "_x._y"),
    ],
)
def test_expressions(text: str, tree: str) -> None:
    assert show(expr(text)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1_000", 1000),
        ("0xFF", 255),
        ("0b1_01", 5),
        ("0o17", 15),
        ("00", 0),
        ("9223372036854775808", 2**63),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("1_0.5E+2", 1050.0),
        ("2e3", 2000.0),
        ('"a\\tb"', "a\tb"),
        ("'\"'", '"'),
        ('"\\x41\\u00e9\\U0001F600\\101\\0"', "Aé😀A\0"),
        ('"\\N{BULLET}"', "•"),
        ('"""a\n  "b" \\\nc"""', 'a\n  "b" c'),
        ("'''x'''", "x"),
        ('""', ""),
        ('"a" \'b\' "c"', "abc"),
        ('"\\\\n"', "\\n"),
        ('"é𝒳"', "é𝒳"),
        ('"""a\r\nb\\r\\n"""', "a\nb\r\n"),
    ],
)
def test_literals(text: str, value: object) -> None:
    node = expr(text)
    assert isinstance(node, s.Literal)
    assert node.value == value and type(node.value) is type(value)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('f"{n:>6}|"', "f<{n:>6}||>"),
        ('f"{a + 1}{a * 2:>4}"', "f<{(a + 1):}|{(a * 2):>4}>"),
        ('f"{{{a}}}"', "f<{|{a:}|}>"),
        ("f\"{'in' + 'ner'}\"", "f<{('in' + 'ner'):}>"),
        ("f'{m[\"k\"]}'", "f<{m['k']:}>"),
        ('f"{len(xs) if a > 0 else -1}"', "f<{(len(xs) if (a > 0) else (- 1)):}>"),
        ('f"{x[1:2]:.3f} {(fn(y): y)(1)}"', "f<{x[1:2:]:.3f}| |{fn(y): y(1):}>"),
        ('f"{a != b}"', "f<{(a != b):}>"),
        ('F"{ {1: 2}[1] }"', "f<{map{1: 2}[1]:}>"),
        ('f"plain\\n"', "f<plain\n>"),
        ('f""', "f<>"),
        ('f"""{\n  a\n}"""', "f<{a:}>"),
        ('"x" f"{a}" "y{"', "f<x|{a:}|y{>"),
        ("f\"{f'{a}'}\"", "f<{f<{a:}>:}>"),
    ],
)
def test_fstrings(text: str, tree: str) -> None:
    assert show(expr(text)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("int", "type int"),
        ("nn.Linear", "type nn.Linear"),
        ("list[int]", "type list[int]"),
        ("list[list[int]]", "type list[type list[int]]"),
        ("list[(Tree, int)]", "type list[type (type Tree, type int)]"),
        ("f32[*B, 2 * D, ?]", "type f32[*B, (2 * D), ?]"),
        ("f32[(D + 1) * (D - 1)]", "type f32[((D + 1) * (D - 1))]"),
        ("f32[m.size]", "type f32[m.size]"),
        ('M[8, "relu", (3, 4), [1]]', "type M[8, 'relu', (3, 4), [1]]"),
        ("int?", "type int?"),
        ("int??", "type int??"),
        ("(int, str)?", "type (type int, type str)?"),
        ("(int)", "type int"),
        ("fn(int) -> int", "type fn(type int) -> type int"),
        ("fn(A, mut B) -> C?", "type fn(type A, mut type B) -> type C?"),
        ("(fn(int) -> int)?", "type fn(type int) -> type int?"),
        ("fn()", "type fn()"),
        ("fn(fn(int), str)", "type fn(type fn(type int), type str)"),
        ("fn(A) -> fn(B) -> C", "type fn(type A) -> type fn(type B) -> type C"),
        ("list[fn(int) -> int]", "type list[type fn(type int) -> type int]"),
        ("map[str, (fn(int), int?)]", "type map[str, type (type fn(type int), type int?)]"),
        ("map[(int, bool), f64[N]?]", "type map[type (type int, type bool), type f64[N]?]"),
    ],
)
def test_types(text: str, tree: str) -> None:
    kind, diagnostics = parse_type(Source("t", text))
    assert kind is not None, diagnostics
    assert show(kind) == tree
    (let,) = body(f"let x: {text} = y")
    assert isinstance(let, s.Let) and let.type is not None
    assert show(let.type) == tree
    fn = parsed(f"fn f(x: {text}) -> {text}:\n    pass\n").decls[0]
    assert isinstance(fn, s.Fn) and fn.result is not None
    assert show(fn.params[0].type) == tree == show(fn.result)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("list[int]()", "list[int]()"),
        ("list[list[int?]]()", "list[list[type int?]]()"),
        ("list[(int, str)]()", "list[(int, str)]()"),
        ("list[(int?, str)]()", "list[type (type int?, type str)]()"),
        ("heap[int, fn(str) -> int]()", "heap[int, type fn(type str) -> type int]()"),
        ("heap[(fn(int))?, fn(mut int)]()", "heap[type fn(type int)?, type fn(mut type int)]()"),
        ("g.normal[3, *S, ?]()", "g.normal[3, *S, ?]()"),
        ('store[str, f32[d]]("path")', "store[str, f32[d]]('path')"),
        ("xs[ys[i]]", "xs[ys[i]]"),
        ("x[fn(y): y]", "x[fn(y): y]"),
    ],
)
def test_brackets_that_hold_types_or_indices(text: str, tree: str) -> None:
    assert show(expr(text)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("0", "0"),
        ("-1 | 1", "-1 | 1"),
        ("-0.5", "-0.5"),
        ('"one" | "eins"', "'one' | 'eins'"),
        ("true", "True"),
        ("none", "None"),
        ("_", "_"),
        ("other", "bind other"),
        ("_x", "bind _x"),
        ("PI", "case PI"),
        ("Unknown", "case Unknown"),
        ("Expr.Num(_)", "case Expr.Num(_)"),
        ("a.b", "case a.b"),
        ("Add(Num(0), x) | Add(x, Num(0))", "case Add(case Num(0), bind x) | case Add(bind x, case Num(0))"),
        ("Neg(inner=Add(right=Num(value=v)))", "case Neg(inner=case Add(right=case Num(value=bind v)))"),
        ("Empty()", "case Empty()"),
        ("(0, y)", "(0, bind y)"),
        ("(x)", "bind x"),
        ("(x,)", "(bind x)"),
        ("a, B", "(bind a, case B)"),
        ("[]", "[]"),
        ("[a, *rest]", "[bind a, *bind rest]"),
        ("[*_, (1, b)]", "[*_, (1, bind b)]"),
        ("(0 | 1, _)", "(0 | 1, _)"),
    ],
)
def test_patterns(text: str, tree: str) -> None:
    (match,) = body(f"match x:\n    case {text} if a == b: pass")
    assert isinstance(match, s.Match)
    (case,) = match.cases
    assert show(case.pattern) == tree
    assert case.guard is not None and show(case.guard) == "(a == b)"


def test_statements() -> None:
    let, var, typed, swap, slice_, call, back, nothing, check, fail = body(
        "let a, (b, _) = t\nvar n = 0\nlet xs: list[int] = []\nxs[i], s.f = xs[j], 1\nt[:, 0] @= v\nf(x)\nreturn 1, 2\n"
        'return\nassert a, "why"\nraise f"{a}"'
    )
    assert isinstance(let, s.Let) and show(let.pattern) == "(bind a, (bind b, _))" and not let.mutable
    assert isinstance(var, s.Let) and var.mutable and show(var.value) == "0"
    assert isinstance(typed, s.Let) and show(typed.type) == "type list[int]"
    assert isinstance(swap, s.Assign) and [show(t) for t in swap.targets] == ["xs[i]", "s.f"] and swap.op is None
    assert show(swap.value) == "(xs[j], 1)"
    assert isinstance(slice_, s.Assign) and slice_.op == "@" and show(slice_.targets[0]) == "t[::, 0]"
    assert isinstance(call, s.ExprStmt) and show(call.value) == "f(x)"
    assert isinstance(back, s.Return) and show(back.value) == "(1, 2)"
    assert isinstance(nothing, s.Return) and nothing.value is None
    assert isinstance(check, s.Assert) and show(check.message) == "'why'"
    assert isinstance(fail, s.Raise) and show(fail.message) == "f<{a:}>"


@pytest.mark.parametrize("op", "+ - * / // % ** @ & | ^ << >>".split())
def test_every_augmented_assignment(op: str) -> None:
    (statement,) = body(f"x {op}= 1")
    assert isinstance(statement, s.Assign) and statement.op == op


def test_compound_statements() -> None:
    choose, loop, each = body(
        "if a: pass\nelif b:\n    x = 1\nelif c: return\nelse:\n    y = 2\n    z = 3\n"
        "while true: break\nfor (n, s), flag in ts:\n    continue"
    )
    assert isinstance(choose, s.If) and isinstance(choose.then[0], s.Pass)
    (second,) = choose.orelse
    assert isinstance(second, s.If) and show(second.cond) == "b"
    (third,) = second.orelse
    assert isinstance(third, s.If) and len(third.orelse) == 2
    assert isinstance(loop, s.While) and isinstance(loop.body[0], s.Break)
    assert isinstance(each, s.For) and show(each.pattern) == "((bind n, bind s), bind flag)"


def test_functions() -> None:
    text = (
        "@custom_grad(back)\n"
        "fn f[T: number, F: forward(f32[*B, N]) -> f32[*B, M], *S](x: T, mut ys: list[T], n: int = 3) -> int:\n"
        '    """Says."""\n'
        "    fn inner(c: int) -> int: return c\n"
        "    return inner(n)\n"
    )
    (fn,) = parsed(text).decls
    assert isinstance(fn, s.Fn)
    assert (
        fn.doc == "Says."
        and fn.name == "f"
        and [show(p) for p in fn.params] == ["x: type T", "mut ys: type list[T]", "n: type int = 3"]
    )
    plain, method, pack = fn.type_params
    assert (plain.name, plain.bound, plain.method) == ("T", "number", None)
    assert method.method is not None and method.method.name == "forward"
    assert [show(kind) for kind, _ in method.method.params] == ["type f32[*B, N]"]
    assert show(method.method.result) == "type f32[*B, M]"
    assert (pack.name, pack.pack) == ("S", True)
    assert [d.name for d in fn.decorators] == ["custom_grad"] and show(fn.decorators[0].args[0]) == "back"
    assert text[fn.header.start : fn.header.end].startswith("fn f[") and text[: fn.header.end].endswith("-> int")
    assert text[fn.name_span.start : fn.name_span.end] == "f"
    inner, _ = fn.body
    assert isinstance(inner, s.Fn) and inner.doc is None


def test_extern() -> None:
    one, two = parsed("extern fn f(x: f64) -> f64\n@custom_grad(d)\nextern pure fn g(x: f64) -> f64\n").decls
    assert isinstance(one, s.Fn) and one.extern and not one.pure
    assert isinstance(two, s.Fn) and two.extern and two.pure and two.decorators


def test_types_that_are_declared() -> None:
    struct, enum, empty, lower = parsed(
        'struct S[T, N]:\n    """Doc."""\n    a: T\n    test: f32[N] = zeros()\n\n    fn top() -> T?: return none\n'
        "    mut fn push(x: T):\n        pass\n"
        "enum E[T]:\n    A\n    B(x: T, n: int)\n    Empty()\n    fn kind() -> int: return 1\n"
        "struct Nothing: pass\nstruct list[T]:\n    _data: buffer[T]\n"
    ).decls
    assert isinstance(struct, s.Struct) and struct.doc == "Doc."
    assert [show(f) for f in struct.fields] == ["a: type T", "test: type f32[N] = zeros()"]
    assert [(m.name, m.mutates_self) for m in struct.methods] == [("top", False), ("push", True)]
    assert isinstance(enum, s.Enum) and [t.name for t in enum.type_params] == ["T"]
    assert [(c.name, c.fields if c.fields is None else len(c.fields)) for c in enum.cases] == [
        ("A", None),
        ("B", 2),
        ("Empty", 0),
    ]
    assert [m.name for m in enum.methods] == ["kind"]
    assert isinstance(empty, s.Struct) and empty.fields == ()
    assert isinstance(lower, s.Struct) and lower.name == "list" and lower.fields[0].name == "_data"


def test_model() -> None:
    (model,) = parsed(
        'model M(size: int, inner: model, act: str = "relu"):\n    """Doc."""\n    param w: f32[size] = zeros()\n'
        "    let head = Linear(size, 2)\n    let k: int = 3\n    state seen: int = 0\n"
        "    mut fn forward(x: f32[size]) -> f32:\n        self.seen += 1\n        return sum(x)\n"
    ).decls
    assert isinstance(model, s.Model) and model.doc == "Doc."
    assert [show(p) for p in model.config] == ["size: type int", "inner: type model", "act: type str = 'relu'"]
    param, head, k, state, forward = model.members
    assert isinstance(param, s.ModelParam) and show(param.type) == "type f32[size]" and show(param.init) == "zeros()"
    assert isinstance(head, s.ModelLet) and head.type is None and show(head.value) == "Linear(size, 2)"
    assert isinstance(k, s.ModelLet) and show(k.type) == "type int"
    assert isinstance(state, s.ModelState) and show(state.init) == "0"
    assert isinstance(forward, s.Fn) and forward.mutates_self


def test_other_declarations() -> None:
    file = parsed(
        '"""Doc."""\nimport a.b\nfrom nn import Linear, GRUCell as Cell\nfrom x import (y,\n  z,\n)\nconst PI = 3.14\n'
        'export f\nexport f[f32]\nexport M(size=8) as name\ntest "what holds":\n    assert true\n'
    )
    assert file.doc == "Doc."
    module, names, wrapped, const, f, typed, alias, test = file.decls
    assert isinstance(module, s.Import) and module.module == ("a", "b") and module.names is None
    assert isinstance(names, s.Import) and names.names is not None
    assert [n[:2] for n in names.names] == [("Linear", "Linear"), ("GRUCell", "Cell")]
    assert isinstance(wrapped, s.Import) and wrapped.names is not None and [n[0] for n in wrapped.names] == ["y", "z"]
    assert isinstance(const, s.Const) and const.name == "PI" and show(const.value) == "3.14"
    assert isinstance(f, s.Export) and show(f.value) == "f" and f.alias is None
    assert isinstance(typed, s.Export) and show(typed.value) == "f[f32]"
    assert isinstance(alias, s.Export) and show(alias.value) == "M(size=8)" and alias.alias == "name"
    assert isinstance(test, s.Test) and test.name == "what holds"


def test_soft_keywords_are_names_elsewhere() -> None:
    statements = body(
        "var model = 1\nmodel = 2\nmodel += test(state)\nparam.x = 1\nstate[0] = from\n"
        "test(1)\nexport\nlet as = extern\n"
        "let hole, synth = choose, example\nfor model in param: pass\nfrom.state(test=param)\nlet f = fn(state): state"
    )
    assert len(statements) == 12
    (struct,) = parsed("struct S:\n    state: int\n    param: int = 1\n    model: int\n").decls
    assert isinstance(struct, s.Struct) and [f.name for f in struct.fields] == ["state", "param", "model"]


def test_layout() -> None:
    text = (
        "fn f(\n    a: int,\n    b: int,\n) -> int:  # why\n\n    # a comment\n"
        "    let xs = [\n  a,  # inside\n\n        b,\n    ]\n"
        "  # oddly indented\n    if a > (b\n+ 1):\n          return 1\n\n    return (xs[0]\n"
        "        + xs[1]\n)\n\n\n# end"
    )
    for variant in (text, text.replace("\n", "\r\n"), "\ufeff" + text, text + "\n   "):
        (fn,) = parsed(variant).decls
        assert isinstance(fn, s.Fn) and len(fn.body) == 3
    assert parsed("").decls == () and parsed("\n  \n# only\n").decls == ()
    assert parsed('"""Doc"""').doc == "Doc"


def test_spans_cover_the_text_of_each_node() -> None:
    text = "fn f():\n    let x = (a + b) * g(c)[1:2] ?? -d.e\n"
    (fn,) = parsed(text).decls
    assert isinstance(fn, s.Fn)
    seen = []
    waiting: list[object] = [fn.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
        elif isinstance(node, s.Node):
            seen.append(text[node.span.start : node.span.end])
            waiting += [getattr(node, f.name) for f in fields(node)]
    assert sorted(seen) == sorted(
        [
            "let x = (a + b) * g(c)[1:2] ?? -d.e",
            "x",
            "(a + b) * g(c)[1:2] ?? -d.e",
            "(a + b) * g(c)[1:2]",
            "(a + b)",
            "a",
            "b",
            "g(c)[1:2]",
            "g(c)",
            "g",
            "c",
            "c",
            "1:2",
            "1",
            "2",
            "-d.e",
            "d.e",
            "d",
        ]
    )


def test_spans_inside_fstrings_are_offsets_in_the_file() -> None:
    text = 'fn f():\n    let x = "é" f"a{ b + c :>3}"\n'
    (fn,) = parsed(text).decls
    assert isinstance(fn, s.Fn) and isinstance(fn.body[0], s.Let) and isinstance(fn.body[0].value, s.FString)
    hole = fn.body[0].value.parts[1]
    assert isinstance(hole, tuple) and text[hole[0].span.start : hole[0].span.end] == "b + c"


def test_long_but_flat_programs() -> None:
    assert len(body("\n".join(["x = 1"] * 3000))) == 3000
    items = expr("[" + "1 + 2, " * 3000 + "]")
    assert isinstance(items, s.List) and len(items.items) == 3000
    deep = expr(" + ".join(["1"] * 1000))
    assert isinstance(deep, s.Binary)
    expr("(" * 100 + "1" + ")" * 100)


def test_dumps() -> None:
    source = Source("t.hyb", "fn f(x: int) -> int:  # c\n    return x + 1\n")
    assert dump_tokens(source).splitlines()[:6] == [
        "1:1 FN 'fn'",
        "1:4 NAME 'f'",
        "1:5 LPAR '('",
        "1:6 NAME 'x'",
        "1:7 COLON ':'",
        "1:9 NAME 'int'",
    ]
    assert "1:23 COMMENT '# c'" in dump_tokens(source) and "2:1 INDENT" in dump_tokens(source)
    file = parsed("fn f(x: int) -> int:\n    return x + 1\n")
    assert dump_ast(file) == (
        "File doc=None\n  decls: []\n"
        "    Fn name='f' type_params=() doc=None mutates_self=False extern=False pure=False decorators=()\n"
        "      params: []\n        Param name='x' default=None mut=False\n"
        "          type: TypeName name='int' args=None\n"
        "      result: TypeName name='int' args=None\n      body: []\n        Return\n          value: Binary op='+'\n"
        "            left: Name id='x'\n            right: Literal value=1\n"
    )
    assert dump_ast(parsed("const X = " + "-" * 900 + "1\n")).count("Unary") == 900


def test_file_span() -> None:
    assert parsed("const A = 1\n").span == Span("t.hyb", 0, 12)
