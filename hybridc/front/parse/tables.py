"""The LALR parser of `hyb.lark`: built once in a process, and kept between processes in the cache folder."""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import lark
from lark.lexer import Lexer as LarkLexer
from lark.lexer import PatternStr

from hybridc.base import made
from hybridc.front.parse.lexer import MARKS, WORD_OPERATORS, Token

STARTS = ["file", "hole", "lone_type"]


class TokenStream(LarkLexer):
    """Hands the parser the tokens that our own lexer made."""

    def __init__(self, conf: object):
        pass

    def lex(self, tokens: list[Token]) -> Iterator[Token]:  # type: ignore[override]
        return iter(tokens)


def load(builder: object) -> lark.Lark:
    """The parser, which calls the builder's method for each rule as it completes."""
    grammar = resources.files("hybridc.grammar").joinpath("hyb.lark").read_text(encoding="utf-8")
    version = f"{lark.__version__}-{sys.version_info[0]}.{sys.version_info[1]}"
    digest = hashlib.sha256(f"{version}\n{grammar}".encode()).hexdigest()[:20]
    name = f"grammar-{digest}.lark"
    path = made.find(name)
    if path is not None:
        return _build(grammar, builder, str(path))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / name
        parser = _build(grammar, builder, str(scratch))
        if scratch.is_file():
            made.keep(name, scratch.read_bytes())
    return parser


def _build(grammar: str, builder: object, cache: str) -> lark.Lark:
    return lark.Lark(grammar, parser="lalr", lexer=TokenStream, start=STARTS, keep_all_tokens=True,
                     maybe_placeholders=True, transformer=builder, cache=cache)


def spellings(parser: lark.Lark) -> dict[str, str]:
    """The grammar's name for each keyword and mark."""
    names = {t.pattern.value: t.name for t in parser.terminals if isinstance(t.pattern, PatternStr)}
    for terminal in parser.terminals:
        if not isinstance(terminal.pattern, PatternStr):
            spelled = re.compile(terminal.pattern.to_regexp())
            names.update((text, terminal.name) for text in (*MARKS, *WORD_OPERATORS) if spelled.fullmatch(text))
    return names
