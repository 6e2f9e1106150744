"""What the three builders of syntax trees share: where a node stands, and how a mistake is reported."""

from __future__ import annotations

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source, Span
from hybridc.front.parse.lexer import Token
from hybridc.front.parse.syntax import Name, Node

Children = list
"""Of a grammar rule: its tokens and what its parts became, all of them, in order; None for an absent `[part]`."""


def start(item: Token | Node) -> int:
    return item.start_pos if isinstance(item, Token) else item.span.start


def end(item: Token | Node) -> int:
    return item.end_pos if isinstance(item, Token) else item.span.end


def without_tokens(c: Children) -> list:
    return [x for x in c if x.__class__ is not Token]


PYTHON_WORDS = {"None": "none", "True": "true", "False": "false"}


class Base:
    source: Source
    path: str
    diagnostics: list[Diagnostic]
    python_words: list[Name]
    """`None`, `True` and `False` used as names."""

    def span(self, first: Token | Node, last: Token | Node) -> Span:
        return Span(self.path, start(first), end(last))

    def token_span(self, token: Token) -> Span:
        return Span(self.path, token.start_pos, token.end_pos)

    def error(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(code, message, span, help))

    def report(self, code: str, message: str, start: int, end: int, help: str | None) -> None:
        self.error(code, message, Span(self.path, start, end), help)
