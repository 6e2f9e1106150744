"""The tokens of Core's text, from which a reader takes one after the other."""

from __future__ import annotations

import json
import math
import re

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.immutable import immutable
from hybridc.base.source import NOWHERE, Span

MAX_DIGITS = 400

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|\#[^\n]*)
  | (?P<place>@(?:"(?:[^"\\\n]|\\.)*"|[A-Za-z0-9_./<>-]+):[0-9]+:[0-9]+)
  | (?P<var>(?:[A-Za-z_][A-Za-z0-9_.]*|`(?:[^`\\\n]|\\.)*`)?%[0-9]+)
  | (?P<quoted>`(?:[^`\\\n]|\\.)*`)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<number>-?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|inf\b))
  | (?P<arrow>->)
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<mark>[{}()\[\]:,=?<])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r"}


@immutable(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    at: int


class Stop(Exception):
    """The first mistake."""

    def __init__(self, code: str, message: str, span: Span):
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, span)


class Tokens:
    def __init__(self, text: str, path: str):
        self.path = path
        self.tokens = self.split(text)
        self.at = 0

    def split(self, text: str) -> list[Token]:
        tokens: list[Token] = []
        at = 0
        while at < len(text):
            m = _TOKEN.match(text, at)
            if m is None:
                raise Stop("HYB901", f"unexpected {text[at]!r}", Span(self.path, at, at + 1))
            assert m.lastgroup is not None
            if m.lastgroup != "space":
                tokens.append(Token(m.lastgroup, m.group(), at))
            at = m.end()
        tokens.append(Token("end", "", len(text)))
        return tokens

    def declared(self) -> tuple[set[str], set[str]]:
        """The names after `enum` and `struct`, which types may mention before the declaration."""
        found: dict[str, set[str]] = {"enum": set(), "struct": set()}
        for before, name in zip(self.tokens, self.tokens[1:], strict=False):
            if before.kind == "word" and before.text in found and name.kind in ("word", "quoted"):
                found[before.text].add(self.unquote(name))
        return found["enum"], found["struct"]

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def span(self, t: Token) -> Span:
        return Span(self.path, t.at, t.at + max(1, len(t.text)))

    def wrong(self, message: str, token: Token | None = None, code: str = "HYB902") -> Stop:
        return Stop(code, message, self.span(token or self.next))

    def expected(self, what: str) -> Stop:
        found = "the end" if self.next.kind == "end" else self.next.text
        return self.wrong(f"expected {what}, found {found}")

    def take(self) -> Token:
        token = self.next
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, text: str) -> bool:
        if self.next.text == text and self.next.kind in ("word", "mark", "arrow"):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.expected(f"`{text}`")

    def unquote(self, token: Token) -> str:
        if token.kind == "word":
            return token.text
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), token.text[1:-1])

    def name(self) -> str:
        if self.next.kind not in ("word", "quoted"):
            raise self.expected("a name")
        return self.unquote(self.take())

    def string(self) -> str:
        token = self.take()
        return self.decode(token.text, token)

    def decode(self, text: str, token: Token) -> str:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise self.wrong(f"not a string: {error.msg}", token, "HYB903") from error
        assert isinstance(value, str)
        return value

    def number(self) -> int | float:
        token = self.take()
        if token.kind == "word" and token.text in ("nan", "inf"):
            return math.nan if token.text == "nan" else math.inf
        if token.kind != "number":
            self.at -= token.kind != "end"
            raise self.expected("a number")
        if len(token.text) > MAX_DIGITS:
            raise self.wrong("a number this long", token, "HYB903")
        if token.text.lstrip("-").isdigit():
            return int(token.text)
        return float(token.text)

    def integer(self) -> int:
        token = self.next
        value = self.number()
        if not isinstance(value, int):
            raise self.wrong("expected an integer", token)
        return value

    def place(self) -> Span:
        if self.next.kind != "place":
            return NOWHERE
        token = self.take()
        path, start, end = token.text[1:].rsplit(":", 2)
        if len(start) > 18 or len(end) > 18:
            raise self.wrong("a place this far", token, "HYB903")
        return Span(self.decode(path, token) if path.startswith('"') else path, int(start), int(end))
