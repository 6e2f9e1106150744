"""What a token that the grammar did not expect means in human words."""

from __future__ import annotations

from lark.exceptions import UnexpectedToken

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source, Span
from hybridc.front.lexer import Token


def explain(source: Source, tokens: list[Token], error: UnexpectedToken, end: Span | None) -> Diagnostic:
    token = error.token
    if token.type == "$END":
        last = tokens[-1]
        return Diagnostic("HYB100", "unexpected end", end or Span(source.path, last.start_pos, last.end_pos))
    return Diagnostic("HYB100", f"unexpected {token.type} expected {error.expected}", Span(source.path, token.start_pos, token.end_pos))
