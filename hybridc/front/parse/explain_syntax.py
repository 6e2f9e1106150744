"""What a token that the grammar did not expect means in human words.

Each function in `_KNOWN` knows one kind of mistake and answers None for any other; the first that answers is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lark.exceptions import UnexpectedToken

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source, Span
from hybridc.base.types import PRIMS
from hybridc.front.parse import habits
from hybridc.front.parse.lexer import Token

_LAYOUT = ("NEWLINE", "INDENT", "DEDENT")
_WORDS = {
    "NEWLINE": "the end of the line",
    "DEDENT": "the end of the block",
    "INDENT": "an indented body",
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "FSTRING": "a string",
    "BINARY": "an operator",
    "AUGMENTED": "an assignment",
    "NOT_IN": "`not in`",
}
_MARKS = {
    "COLON": ":", "COMMA": ",", "EQUAL": "=", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{",
    "RBRACE": "}", "ARROW": "->", "DOT": ".", "QMARK": "?", "AT": "@", "STAR": "*", "MINUS": "-", "PLUS": "+",
    "VBAR": "|", "TILDE": "~", "ELLIPSIS": "...",
}
_BODIES = {
    "IF": "if", "ELIF": "elif", "ELSE": "else", "WHILE": "while", "FOR": "for", "MATCH": "match", "CASE": "case",
    "FN": "fn", "MUT": "fn", "STRUCT": "struct", "ENUM": "enum", "MODEL": "model", "TEST": "test",
}
"""What begins a line that ends with a colon and is followed by a body."""
_STATEMENTS = frozenset(
    "LET VAR IF WHILE FOR MATCH BREAK CONTINUE PASS RETURN ASSERT RAISE ELIF ELSE CASE NAME SELF NUMBER LPAR LSQB "
    "LBRACE MINUS PLUS NOT TILDE TRUE FALSE NONE PARALLEL".split()
)
_DECLARATIONS = frozenset("IMPORT FROM CONST EXTERN STRUCT ENUM MODEL EXPORT TEST".split())
_OPERANDS = frozenset("NAME NUMBER STRING FSTRING SELF TRUE FALSE NONE LPAR LSQB LBRACE PARALLEL FN".split())
_OPENING = frozenset(("LPAR", "LSQB", "LBRACE", "PARALLEL", "FN"))
_CLOSING = frozenset(("RPAR", "RSQB", "RBRACE", "QMARK"))
_SOFT = {
    "model": "model Name(size: int):",
    "export": "export name",
    "extern": "extern fn f(x: f64) -> f64",
    "test": 'test "what holds":',
    "from": "from module import name",
    "param": "param w: f32[n] = zeros()",
    "state": "state seen: int = 0",
}
"""How a declaration that begins with a soft keyword is written."""


@dataclass(frozen=True)
class _Mistake:
    """The unexpected token `tokens[at]`, in a line that begins at `begins`; `end` is where a part of a line stops."""

    path: str
    tokens: list[Token]
    at: int
    begins: int
    expected: frozenset[str]
    owner: str

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def previous(self) -> Token | None:
        return self.tokens[self.at - 1] if self.at > self.begins else None

    @property
    def following(self) -> Token | None:
        return self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None

    @property
    def line_type(self) -> str:
        return self.tokens[self.begins].type

    def span(self) -> Span:
        token = self.token
        if token.type == "DEDENT":
            # The block ended behind the line before, not where the next code happens to stand.
            token = next((t for t in reversed(self.tokens[: self.at]) if t.type == "NEWLINE"), token)
        return Span(self.path, token.start_pos, max(token.end_pos, token.start_pos + 1))

    def diagnostic(self, code: str, message: str, help: str | None = None) -> Diagnostic:
        return Diagnostic(code, message, self.span(), help)

    def wants_expression(self) -> bool:
        return {"NUMBER", "LPAR"} <= self.expected and "BINARY" not in self.expected

    def has_expression(self) -> bool:
        return "BINARY" in self.expected

    def after_operand(self) -> bool:
        previous = self.previous
        return previous is not None and (previous.type in _OPERANDS - _OPENING or previous.type in _CLOSING)


    def in_function_expression(self) -> bool:
        """Whether the token stands in what a `fn(x):` within this line gives."""
        depth, given = 0, False
        for token in reversed(self.tokens[self.begins + 1:self.at]):
            depth += (token.type in ("RPAR", "RSQB", "RBRACE")) - (token.type in ("LPAR", "LSQB", "LBRACE"))
            given = given or (token.type == "COLON" and depth <= 0)
            if token.type == "FN" and depth <= 0:
                return given
        return False


def explain(source: Source, tokens: list[Token], error: UnexpectedToken, end: Span | None) -> Diagnostic:
    """`tokens` are all those of the declaration; `end`, for a part of a line, is where it stops."""
    token = error.token
    # What the table lists includes what only other contexts of the same state allow; trying each gives the rest.
    expected = frozenset(error.accepts or error.expected)
    if token.type == "$END":
        return _unexpected_end(source, tokens, expected, end)
    at = next(i for i, t in enumerate(tokens) if t is token)
    begins = at
    while begins > 0 and tokens[begins - 1].type not in _LAYOUT:
        begins -= 1
    mistake = _Mistake(source.path, tokens, at, begins, expected, _owner(tokens, at))
    for known in _KNOWN:
        found = known(mistake)
        if found is not None:
            return found
    return _generic(mistake)


def _owner(tokens: list[Token], at: int) -> str:
    """The type of the token that begins the line whose body holds the token `at`; empty at the top."""
    depth = 0
    i = at - 1
    while i >= 0:
        kind = tokens[i].type
        if kind == "DEDENT":
            depth += 1
        elif kind == "INDENT":
            if depth == 0:
                i -= 2
                while i > 0 and tokens[i - 1].type not in _LAYOUT:
                    i -= 1
                return tokens[i].type if i >= 0 else ""
            depth -= 1
        i -= 1
    return ""


def _unexpected_end(source: Source, tokens: list[Token], expected: frozenset[str], end: Span | None) -> Diagnostic:
    if end is not None:
        wants = "an expression" if "NUMBER" in expected else _list(expected)
        return Diagnostic("HYB100", f"expected {wants}, found the end", end)
    if expected == {"INDENT"}:
        last = next((t for t in reversed(tokens) if t.type not in _LAYOUT), tokens[-1])
        return Diagnostic("HYB105", "expected an indented body below this line",
                          Span(source.path, last.start_pos, last.end_pos), "write `pass` for an empty body")
    span = Span(source.path, tokens[-1].start_pos, max(tokens[-1].end_pos, tokens[-1].start_pos + 1))
    if tokens[0].type == "AT":
        return Diagnostic("HYB100", "expected a `fn` below `@...`", span)
    return Diagnostic("HYB100", f"expected {_list(expected)}, found the end", span)


# ---- the kinds of mistakes, in the order in which they are tried -----------------------------------------------------
def _layout(m: _Mistake) -> Diagnostic | None:
    if m.token.type == "INDENT":
        return m.diagnostic("HYB104", "this line is indented, but no body begins here",
                            "line it up with the lines around it, or end the line before with `:`")
    if m.expected == {"INDENT"}:
        word = ""
        if m.at and m.tokens[m.at - 1].type == "NEWLINE":
            i = m.at - 1
            while i > 0 and m.tokens[i - 1].type not in _LAYOUT:
                i -= 1
            word = _BODIES.get(m.tokens[i].type, "")
        after = f" of the `{word}` above" if word else ""
        if m.token.type == "DEDENT":
            return m.diagnostic("HYB105", f"expected the indented body{after}", "write `pass` for an empty body")
        return m.diagnostic("HYB105", f"expected the indented body{after}", "indent this line by four spaces more")
    return None


def _habit(m: _Mistake) -> Diagnostic | None:
    habit = habits.recognise(m.tokens, m.at, m.begins)
    if habit is None:
        return None
    return Diagnostic("HYB123", habit.message, Span(m.path, habit.first.start_pos, habit.last.end_pos), habit.help)


def _reserved(m: _Mistake) -> Diagnostic | None:
    token = m.token
    if not token.value.isidentifier() or token.type in ("NAME", "NUMBER", "STRING", "FSTRING"):
        return None
    if m.at == m.begins:
        return None
    if token.type == "SELF" and "MUT" in m.expected and "RPAR" in m.expected:
        name = m.tokens[m.at - 2]
        hook = habits.hook(name.value)
        if hook is not None:
            return Diagnostic("HYB123", hook[0], Span(m.path, name.start_pos, name.end_pos), hook[1])
        return m.diagnostic("HYB113", "`self` is not listed among the parameters",
                            "a method has `self` without naming it")
    around = (m.previous.type if m.previous else "", m.following.type if m.following else "")
    named = around in (("LPAR", "EQUAL"), ("COMMA", "EQUAL")) and m.wants_expression()
    if named or ("NAME" in m.expected and "NUMBER" not in m.expected and not m.has_expression()):
        return m.diagnostic("HYB113", f"`{token.value}` is a reserved word and cannot be a name", "choose another name")
    return None


def _out_of_place(m: _Mistake) -> Diagnostic | None:
    if m.at != m.begins:
        return None
    kind, word = m.token.type, m.token.value
    if m.owner == "MATCH" and (kind == "ELSE" or word == "default"):
        return m.diagnostic("HYB119", f"expected `case`, found `{word}`", "write `case _:` for all other values")
    if kind in ("ELIF", "ELSE"):
        return m.diagnostic("HYB119", f"`{word}` has no `if` before it at this indentation",
                            "a loop has none: a variable or a `return` says how it ended" if kind == "ELSE" else None)
    if kind == "CASE":
        return m.diagnostic("HYB119", "`case` stands only in the body of a `match`")
    if kind in ("PARAM", "STATE"):
        return m.diagnostic("HYB119", f"`{word}` stands only in the body of a `model`")
    home = "MODEL" if word in ("param", "state") else ""
    if kind == "NAME" and word in _SOFT and m.owner == home:
        return m.diagnostic("HYB100", f"this is no `{word}` declaration", f"it is written `{_SOFT[word]}`")
    if m.owner == "":
        if kind in ("LET", "VAR"):
            return m.diagnostic("HYB119", f"`{word}` stands only inside a body; a module has no state of its own",
                                "write `const NAME = ...` for a constant")
        if kind in _STATEMENTS or kind in ("DEDENT", "COLON"):
            return m.diagnostic("HYB119", f"{_found(m.token)} stands outside a body; a file holds declarations",
                                "write it inside a `fn`, a `test` or a `model`")
        return None
    if kind in _DECLARATIONS:
        if kind == "STRUCT" or kind in ("ENUM", "MODEL", "CONST"):
            return m.diagnostic("HYB119", f"`{word}` is declared at the top of a file, not inside a body",
                                "write `let`" if kind == "CONST" else None)
        return m.diagnostic("HYB119", f"`{word}` stands at the top of a file, not inside a body")
    if m.owner == "MATCH":
        return m.diagnostic("HYB119", f"expected `case`, found {_found(m.token)}")
    if m.owner == "MODEL" and kind == "VAR":
        return m.diagnostic("HYB119", "a `model` has no `var`",
                            "write `state name: TYPE = ...` for what methods change")
    if m.owner in ("STRUCT", "ENUM", "MODEL") and kind in _STATEMENTS:
        what = {"STRUCT": "fields and methods", "ENUM": "cases and methods",
                "MODEL": "`param`, `let`, `state` and methods"}[m.owner]
        return m.diagnostic("HYB119", f"{_found(m.token)} stands outside a `fn`; this body holds {what}")
    return None


def _declared(m: _Mistake) -> Diagnostic | None:
    """Heads of declarations, and what stands below a decorator."""
    kind = m.token.type
    if {"FN", "MUT", "AT"} <= m.expected and "PASS" not in m.expected and m.at > 0:
        return m.diagnostic("HYB100", f"expected a `fn` below `@...`, found {_found(m.token)}")
    if m.line_type == "STRUCT" and kind == "LPAR":
        return m.diagnostic("HYB100", "a `struct` lists its fields in its body", "write `x: int` on a line below")
    if m.line_type == "ENUM" and kind == "LPAR":
        return m.diagnostic("HYB100", "an `enum` lists its cases in its body", "write `Case(x: int)` on a line below")
    if m.line_type == "MODEL" and kind == "LSQB":
        return m.diagnostic("HYB100", "a `model` has no type parameters",
                            "write configuration as `model M(size: int):`")
    if m.line_type == "EXPORT" and kind in ("FN", "STRUCT", "ENUM", "CONST"):
        return m.diagnostic("HYB100", "an `export` names what is declared elsewhere",
                            "write `export f` on its own line")
    if m.line_type == "EXTERN" and kind == "COLON" and m.expected == {"NEWLINE"}:
        return m.diagnostic("HYB100", "an `extern fn` has no body", "the host supplies it")
    return None


def _comprehension(m: _Mistake) -> Diagnostic | None:
    if m.token.type == "FOR" and "RPAR" in m.expected and m.has_expression():
        return m.diagnostic("HYB100", "a comprehension stands in brackets", "write `[x + 1 for x in xs]`")
    return None


def _missing_colon(m: _Mistake) -> Diagnostic | None:
    if "COLON" not in m.expected or m.line_type not in _BODIES:
        return None
    word = _BODIES[m.line_type]
    if m.token.type == "NEWLINE":
        return m.diagnostic("HYB114", f"expected `:` at the end of the line with `{word}`")
    if m.token.type == "LBRACE":
        return m.diagnostic("HYB114", "expected `:`, found `{`", "a body is indented below its line, without braces")
    return None


def _equals(m: _Mistake) -> Diagnostic | None:
    if m.token.type == "COLON" and m.at == m.begins + 1 and m.line_type == "NAME" and "EQUAL" in m.expected:
        name = m.tokens[m.begins].value
        return m.diagnostic("HYB100", f"expected an assignment, found `:` behind `{name}`",
                            f"declare it: `let {name}: TYPE = ...`, or `var` for what is assigned again")
    if m.token.type != "EQUAL":
        return None
    previous = m.previous
    if m.line_type in ("IF", "ELIF", "WHILE", "ASSERT", "RETURN", "CASE") and not m.wants_expression():
        return m.diagnostic("HYB100", "`=` assigns and is no expression", "write `==` to compare")
    if m.line_type in ("PARAM", "STATE") and m.expected == {"COLON"}:
        word = m.tokens[m.begins].value
        more = "; a submodel is a `let`" if word == "param" else ""
        return m.diagnostic("HYB121", f"a `{word}` needs a type", f"write `{word} name: TYPE = ...`{more}")
    if m.owner == "STRUCT" and previous is not None and m.at == m.begins + 1:
        return m.diagnostic("HYB121", f"the field `{previous.value}` needs a type",
                            f"write `{previous.value}: TYPE = ...`")
    if m.owner == "ENUM" and m.at == m.begins + 1:
        return m.diagnostic("HYB100", "a case has no value", "give it fields: `B(x: int)`")
    if m.following is None and previous is not None and m.after_operand():
        return m.diagnostic("HYB100", "an f-string has no `{x=}`", f"write `{previous.value}={{{previous.value}}}`")
    if m.after_operand() and not m.wants_expression() and m.line_type not in _DECLARATIONS:
        return m.diagnostic("HYB100", "`=` is no operator", "write `==` to compare; one assignment stands on a line")
    return None


def _bindings(m: _Mistake) -> Diagnostic | None:
    kind = m.token.type
    if m.line_type in ("LET", "VAR") and kind == "NEWLINE" and "EQUAL" in m.expected:
        word = m.tokens[m.begins].value
        return m.diagnostic("HYB100", f"`{word}` needs a value", f"write `{word} name = ...`")
    if m.line_type in ("LET", "VAR") and kind in ("LSQB", "DOT") and "EQUAL" in m.expected and m.owner != "MODEL":
        word = m.tokens[m.begins].value
        return m.diagnostic("HYB100", f"`{word}` makes a new name",
                            f"leave `{word}` out to assign to an element or field")
    if m.line_type in ("LET", "VAR") and kind == "STAR" and "NAME" in m.expected:
        return m.diagnostic("HYB100", "a `*` takes the rest of a list only in a `case`",
                            "write `let a = xs[0]` and `let rest = xs[1:]`")
    if m.line_type == "CONST" and m.expected == {"EQUAL"}:
        if kind == "COLON":
            return m.diagnostic("HYB100", "a `const` has no type of its own", "write `const NAME = ...`")
        return m.diagnostic("HYB100", f"expected `=`, found {_found(m.token)}", "write `const NAME = ...`")
    if m.line_type in ("IMPORT", "FROM"):
        if kind == "AS":
            return m.diagnostic("HYB100", "a module is not renamed", "write `from module import name as other`")
        if kind == "STAR":
            return m.diagnostic("HYB100", "`import *` is not part of Hyb", "list the names")
        if kind == "DOT" and m.at == m.begins + 1:
            return m.diagnostic("HYB100", "a module's name does not begin with a dot",
                                "modules are looked up beside this file")
        if kind == "COMMA" and m.line_type == "IMPORT":
            return m.diagnostic("HYB100", "an `import` names one module", "write one `import` a line")
    if m.expected == {"ELSE"}:
        return m.diagnostic("HYB100", f"expected `else`, found {_found(m.token)}",
                            "a conditional expression is `a if c else b`")
    return None


def _functions(m: _Mistake) -> Diagnostic | None:
    kind, previous = m.token.type, m.previous
    begins = kind in ("NEWLINE", *_STATEMENTS, *_DECLARATIONS) and previous is not None and previous.type == "COLON"
    if (begins and m.wants_expression() or kind in ("EQUAL", "AUGMENTED")) and m.in_function_expression():
        found = "assigns" if not begins else "is the end of the line" if kind == "NEWLINE" else "is a statement"
        what = "this" if kind == "NEWLINE" else f"`{m.token.value}`"
        return m.diagnostic("HYB100", f"a function expression is one expression on its line, and {what} {found}",
                            "declare `fn name(x):` with a body before, and write `name` here" if begins else
                            "a `for` loop changes a variable; a `fn` has only a copy of what it captures")
    return None


def _calls(m: _Mistake) -> Diagnostic | None:
    kind, previous = m.token.type, m.previous
    if kind == "FOR" and m.after_operand() and "RPAR" in m.expected:
        return m.diagnostic("HYB100", "a comprehension stands in brackets of its own", "write `f([... for x in xs])`")
    if kind in ("STAR", "BINARY") and m.token.value in ("*", "**") and previous is not None:
        if previous.type in ("LPAR", "COMMA") and m.wants_expression():
            return m.diagnostic("HYB100", f"`{m.token.value}` does not spread arguments or items here",
                                "pass a list as one argument")
        if previous.type in ("LSQB", "LBRACE") and m.wants_expression():
            return m.diagnostic("HYB100", f"`{m.token.value}` does not spread items here",
                                "write `xs + [x]`" if previous.type == "LSQB" else
                                "copy it, `var m = other`, and add to that")
    if kind == "RSQB" and previous is not None and previous.type == "LSQB" and m.wants_expression():
        return m.diagnostic("HYB100", "expected an index, found `]`")
    if previous is not None and previous.type == "COLON" and kind in _BODIES and m.wants_expression():
        if m.line_type in _BODIES:
            return m.diagnostic("HYB100", f"`{m.token.value}` cannot stand behind the `:` of `{_BODIES[m.line_type]}`",
                                "a body on the header's line is one simple statement; put it on a line of its own")
    return None


def _types(m: _Mistake) -> Diagnostic | None:
    kind, previous = m.token.type, m.previous
    if kind == "NONE" and not m.has_expression() and previous is not None and previous.type in ("ARROW", "COLON"):
        return m.diagnostic("HYB100", "`none` is no type", "leave `-> none` out" if previous.type == "ARROW" else
                            "a value that may be missing has the type `T?`")
    if kind == "VBAR" and "QMARK" in m.expected:
        return m.diagnostic("HYB100", "types are not joined by `|`",
                            "a value that may be missing has the type `T?`; an `enum` has a case for each kind")
    if kind == "RSQB" and m.at > 1 and m.tokens[m.at - 2].value in PRIMS and m.tokens[m.at - 1].type == "LSQB":
        elem = m.tokens[m.at - 2].value
        return m.diagnostic("HYB100", "expected a dimension, found `]`",
                            f"a list is `list[{elem}]`, a tensor `{elem}[N]` or `{elem}[?]`")
    if kind == "COMMA" and m.owner == "ENUM" and m.at == m.begins + 1:
        return m.diagnostic("HYB100", "each case of an `enum` stands on a line of its own")
    return None


_KNOWN = (
    _layout, _habit, _types, _reserved, _out_of_place, _declared, _comprehension, _missing_colon, _functions, _equals,
    _bindings, _calls)


# ---- when nothing better is known ------------------------------------------------------------------------------------
def _generic(m: _Mistake) -> Diagnostic:
    found, previous = _found(m.token), m.previous
    if m.wants_expression():
        after = f" after `{_short(previous.value)}`" if previous is not None else ""
        return m.diagnostic("HYB100", f"expected an expression{after}, found {found}")
    if m.has_expression() and m.token.type in _OPERANDS and previous is not None:
        inside = "COMMA" in m.expected and "NEWLINE" not in m.expected
        what = "an operator or a comma" if inside else "an operator or the end of the line"
        if "$END" in m.expected:
            what = "an operator"
        return m.diagnostic("HYB100", f"expected {what} after `{_short(previous.value)}`, found {found}")
    if m.has_expression():
        closing = sorted(f"`{_MARKS[t]}`" for t in m.expected if t in ("RPAR", "RSQB", "RBRACE", "COLON", "COMMA"))
        if "NEWLINE" in m.expected:
            closing.append("the end of the line")
        return m.diagnostic("HYB100", f"expected {_join(closing or ['an operator'])}, found {found}")
    return m.diagnostic("HYB100", f"expected {_list(m.expected)}, found {found}")


def _found(token: Token) -> str:
    if token.type in _LAYOUT:
        return _WORDS[token.type]
    return f"`{_short(token.value)}`"


def _short(text: str) -> str:
    text = text.split("\n")[0]
    return text if len(text) <= 30 else text[:27] + "..."


def _list(expected: frozenset[str]) -> str:
    if {"LPAR", "NAME", "FN"} <= expected and "NUMBER" not in expected and "PASS" not in expected:
        return "a type"
    if len(expected) > 6:
        # The likely ones: what ends a part or adds another.
        expected = expected & {"COMMA", "COLON", "EQUAL", "RPAR", "RSQB", "RBRACE", "NEWLINE", "IN"} or expected
    words = sorted({_WORDS.get(t) or f"`{_MARKS.get(t) or t.lower()}`" for t in expected - {"$END", "_"}})
    if len(words) > 6:
        return "a statement" if "RETURN" in expected else "a declaration"
    return _join(words or ["the end"])


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
