"""A file as the formatter sees it: logical lines with their level, comments, and where an empty line stood."""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridc.base.source import Source
from hybridc.front.parse.lexer import Lexed, Token

OPENING = frozenset("LPAR LSQB LBRACE".split())
CLOSING = frozenset("RPAR RSQB RBRACE".split())
HEADS = frozenset("IF ELIF ELSE WHILE FOR MATCH CASE FN STRUCT ENUM MODEL TEST".split())
"""What a line with a body begins with; `mut fn` too."""
DECLARATIONS = frozenset("FN STRUCT ENUM MODEL TEST".split())


@dataclass(slots=True)
class Piece:
    """A token, or a comment inside brackets. `broken`: a line ended before it."""

    kind: str
    text: str
    broken: bool = False
    space: bool = False


@dataclass(slots=True)
class Line:
    """A logical line at its level of blocks, or a comment that has a line for itself (no pieces). `blank`: an empty
    line stood before it."""

    level: int
    pieces: list[Piece] = field(default_factory=list)
    comment: str = ""
    blank: bool = False
    opens: bool = False
    """Does a block follow?"""

    @property
    def head(self) -> str:
        """The keyword that says what it is; none of an expression, a lambda too."""
        kinds = [p.kind for p in self.pieces[:2]]
        if kinds == ["FN", "LPAR"]:
            return ""
        return kinds[1] if kinds[:1] == ["MUT"] and len(kinds) > 1 else kinds[0] if kinds else ""


def lines_of(source: Source, lexed: Lexed) -> list[Line]:
    """The lines of a file without lexical errors."""
    return _Reader(source, lexed).lines()


class _Reader:
    def __init__(self, source: Source, lexed: Lexed):
        self.text = source.text
        self.tokens = sorted(lexed.tokens + lexed.comments, key=lambda t: t.start_pos)
        self.out: list[Line] = []
        self.level = 0
        self.widths = [0]
        """Of the indentation of each level that is open in the source."""
        self.before = [0]
        """The same, at the last line of code."""
        self.waiting: list[tuple[Token, bool]] = []
        self.end = 0
        """Of what has been read, to find empty lines."""

    def lines(self) -> list[Line]:
        pieces: list[Piece] = []
        blank = False
        for token in self.tokens:
            match token.type:
                case "INDENT":
                    self.level += 1
                    self.widths.append(token.end_pos - token.start_pos)
                case "DEDENT":
                    self.level -= 1
                    self.widths.pop()
                case "NEWLINE":
                    self._code(pieces, blank)
                    pieces = []
                    self.end = token.start_pos
                case "COMMENT" if not pieces:
                    self._comment(token)
                case _:
                    if not pieces:
                        self._place(self.level)
                        blank = self._blank(token.start_pos)
                    broken = bool(pieces) and "\n" in self.text[self.end:token.start_pos]
                    pieces.append(Piece(token.type, self._spelled(token), broken))
                    self.end = token.end_pos
        self._place(0)
        return self.out

    def _spelled(self, token: Token) -> str:
        if token.type == "NOT_IN":
            return "not in"
        text = self.text[token.start_pos:token.end_pos]
        return _quoted(text) if token.type == "STRING" else text.rstrip() if token.type == "COMMENT" else text

    def _blank(self, start: int) -> bool:
        return self.text.count("\n", self.end, start) > 1

    def _code(self, pieces: list[Piece], blank: bool) -> None:
        self.out.append(Line(self.level, pieces, "", blank))
        self.before = self.widths[:]

    def _comment(self, token: Token) -> None:
        text = self.text[token.start_pos:token.end_pos].rstrip()
        if self.out and not self.waiting and self.out[-1].pieces and "\n" not in self.text[self.end:token.start_pos]:
            self.out[-1].comment = text
        else:
            self.waiting.append((token, self._blank(token.start_pos)))
        self.end = token.end_pos

    def _place(self, level: int) -> None:
        """Comments with lines for themselves belong to the block of the next line, or to one that ends here, by where
        they stand."""
        for token, blank in self.waiting:
            column = token.start_pos - (self.text.rfind("\n", 0, token.start_pos) + 1)
            at = level
            while at + 1 < len(self.before) and column >= self.before[at + 1]:
                at += 1
            self.out.append(Line(at, [], self.text[token.start_pos:token.end_pos].rstrip(), blank))
        self.waiting.clear()


def _quoted(text: str) -> str:
    """A plain string in double quotes, where that changes nothing else."""
    if text[0] == "'" and text[:3] != "'''" and '"' not in text and "\\" not in text:
        return f'"{text[1:-1]}"'
    return text


def body_beside(pieces: list[Piece]) -> int | None:
    """Where a body begins that stands on its header's line."""
    at = _header_end(pieces) if Line(0, pieces).head in HEADS else None
    return None if at is None or at + 1 == len(pieces) else at + 1


def _header_end(pieces: list[Piece]) -> int | None:
    """The colon that ends a header: the first outside of brackets that is not a lambda's."""
    depth = 0
    lambdas = 0
    declares = Line(0, pieces).head == "FN"
    for i, p in enumerate(pieces):
        if p.kind in OPENING:
            depth += 1
        elif p.kind in CLOSING:
            depth -= 1
        elif depth:
            continue
        elif p.kind == "FN" and not declares:
            lambdas += 1
        elif p.kind == "COLON":
            if not lambdas:
                return i
            lambdas -= 1
    return None
