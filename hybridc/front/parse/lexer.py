"""Text to tokens: words, numbers, strings and punctuation, with the layout made visible as NEWLINE, INDENT, DEDENT.

A lexical mistake becomes a diagnostic and lexing goes on, at the latest at the next declaration that begins a line.
What would make any later stage recurse too deeply (brackets, blocks, chains of operators or `elif`) is refused here,
where it can be counted without recursion.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source, Span

MAX_NESTING = 100
"""Brackets inside brackets, and blocks inside blocks."""
MAX_CHAIN = 1000
"""Operators, calls and attributes in one expression, and `elif`s in one `if`: the depth of the tree they make."""
MAX_DIGITS = 400
MAX_DIAGNOSTICS = 100

SOFT = {
    "model": r" +(?!(?:if|in|and|or|not|is)\b)[^\W\d]",
    "param": r" +(?!(?:if|in|and|or|not|is)\b)[^\W\d]",
    "state": r" +(?!(?:if|in|and|or|not|is)\b)[^\W\d]",
    "export": r" +(?!(?:if|in|and|or|not|is)\b)[^\W\d]",
    "from": r" +(?:(?!(?:if|in|and|or|not|is)\b)[^\W\d]|\.)",
    "extern": r" +(?:fn|pure|mut)\b",
    "test": r" *(?:[fF]?[\"'])",
}
"""A soft keyword is one where it begins a line and this follows; anywhere else it is a name."""
_SOFT = {word: re.compile(follow) for word, follow in SOFT.items()}

_RESYNC = re.compile(
    r"\n(?=(?:fn|struct|enum|const|import)[ ]+[^\W\d]|(?:mut|extern|pure)[ ]+(?:fn|pure)\b|test[ ]+[\"']"
    r"|(?:model|export|from)[ ]+(?!(?:if|in|and|or|not|is|for|else)\b)[^\W\d])"
)
"""The end of a line before one that can only begin a declaration."""

MARKS = tuple(
    "**= //= <<= >>= ... -> ?? == != <= >= += -= *= /= %= @= &= |= ^= ** // << >> "
    "- + * / % @ & | ^ ~ < > = . , : ? ( ) [ ] { }".split()
)
"""Longer ones first."""
WORD_OPERATORS = ("and", "or")

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\f]+|\r(?=\n)|\\\r?\n)
  | (?P<newline>\n)
  | (?P<comment>\#[^\n\r]*)
  | (?P<string>[fF]?(?:
        \"{3}[^"\\]*(?:(?:\\[\s\S]|"(?!""))[^"\\]*)*\"{3} | '{3}[^'\\]*(?:(?:\\[\s\S]|'(?!''))[^'\\]*)*'{3}
      | "(?!"")[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*" | '(?!'')[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'))
  | (?P<unterminated>[fF]?(?:\"{3}|'{3}|["']))
  | (?P<name>[^\W\d]\w*)
  | (?P<number>(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+
      |(?:[0-9](?:_?[0-9])*\.(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*|[0-9](?:_?[0-9])*)
       (?:[eE][+-]?[0-9](?:_?[0-9])*)?)
      (?P<tail>\w*))
  | (?P<op>"""
    + "|".join(map(re.escape, MARKS))
    + r""")
  | (?P<stray>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_INDENT = re.compile(r"[ \t\f]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"[ \t\f]*(\#[^\n\r]*)?(?:\r?\n|\Z)")
_SPLIT_QUESTIONS = re.compile(r"[ ]*(?:[\]),=:?]|\r?\n|\#|->|\Z)")
_SPLIT_INSIDE = re.compile(r"(?:[ \t\f\r\n]|\#[^\n]*)*(?:[\]),=:?}]|->|\Z)")
"""What follows an option of an option, at the end of a line and inside brackets."""
_PAIRS = {")": "(", "]": "[", "}": "{"}
_COUNTED = frozenset("not and or if else in fn for".split())
_OPERATORS = frozenset("+ - * / // % ** @ & | ^ ~ << >> == != < <= > >= ?? ? . ->".split())
_STRAY_HELP = {
    "!": "write `not x`, or `!=` to compare",
    ";": "write each statement on its own line",
    "$": None,
    "`": None,
}


class Token:
    """One token; `start_pos` and `end_pos` are offsets in the file. Lark's parser asks for the other attributes."""

    __slots__ = ("type", "value", "start_pos", "end_pos")
    line = column = end_line = end_column = None

    def __init__(self, type: str, value: str, start_pos: int, end_pos: int):
        self.type = type
        self.value = value
        self.start_pos = start_pos
        self.end_pos = end_pos

    def __repr__(self) -> str:
        return f"Token({self.type}, {self.value!r}, {self.start_pos})"


@dataclass
class Lexed:
    """`starts`: the tokens that begin a top-level line; `comments` stand apart, in the order written; `bad`: the
    offsets of all lexical errors, of which `diagnostics` holds the first hundred."""

    tokens: list[Token] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    comments: list[Token] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)


class _Group:
    """A bracket that is open (or the line itself): how deep a tree what stands in it will make."""

    __slots__ = ("char", "start", "operators", "nested", "deepest")

    def __init__(self, char: str, start: int):
        self.char = char
        self.start = start
        self.operators = 0
        self.nested = 0
        self.deepest = 0

    def comma(self) -> None:
        self.deepest = max(self.deepest, self.operators + self.nested)
        self.operators = self.nested = 0


class Lexer:
    """Lexes one file, or with `inside` a part of it that stands in brackets of its own (the hole of an f-string)."""

    def __init__(self, source: Source, spellings: dict[str, str]):
        self.path = source.path
        self.text = source.text
        self.spellings = spellings
        self.out = Lexed()
        self.blocks = [0]
        self.chains = [0]
        self.groups = [_Group("", 0)]
        self.line_kind = ""
        self.too_long = False

    def error(self, code: str, message: str, start: int, end: int, help: str | None = None) -> None:
        self.out.bad.append(start)
        if len(self.out.diagnostics) < MAX_DIAGNOSTICS:
            span = Span(self.path, start, min(max(end, start + 1), max(len(self.text), start + 1)))
            self.out.diagnostics.append(Diagnostic(code, message, span, help))

    # ---- the file ----------------------------------------------------------------------------------------------------
    def file(self) -> Lexed:
        text = self.text
        pos = 1 if text.startswith("\ufeff") else 0
        end = len(text)
        if lone := _SURROGATE.search(text):
            self.error("HYB101", "bytes that are not UTF-8", lone.start(), lone.end())
        while pos < end:
            blank = self._blank(pos)
            pos = blank if blank else self._line(self._layout(pos), end)
        self._close_blocks(end, 0)
        return self.out

    def part(self, start: int, end: int) -> Lexed:
        self.groups.append(_Group("{", start))
        pos = start
        while pos < end:
            pos = self._line(pos, end)
        for group in self.groups[2:]:
            self.error("HYB109", f"`{group.char}` is never closed", group.start, group.start + 1)
        return self.out

    def _layout(self, pos: int) -> int:
        """The indentation of a line that is not blank, as INDENT and DEDENTs; the offset of its first token."""
        text = self.text
        match = _INDENT.match(text, pos)
        assert match is not None
        first = match.end()
        width = first - pos
        if "\t" in match.group() or "\f" in match.group():
            tab = pos + min(i for i, c in enumerate(match.group()) if c in "\t\f")
            self.error("HYB102", "a tab in the indentation; indent with spaces only", tab, first,
                       "replace each tab by four spaces")
            width = len(match.group().expandtabs(4))
        blocks = self.blocks
        if width > blocks[-1]:
            blocks.append(width)
            self.chains.append(0)
            self._add("INDENT", pos, first)
            if len(blocks) == MAX_NESTING + 2:
                self.error("HYB111", f"blocks are nested more than {MAX_NESTING} deep", first, first + 1,
                           "move the inner blocks to a fn of their own")
        else:
            inner = self._close_blocks(first, width)
            if width != blocks[-1]:
                self.error("HYB103", "the indentation matches no block around this line", pos, first,
                           f"indent it by {blocks[-1]} or {inner} spaces")
        if width == 0:
            self.out.starts.append(len(self.out.tokens))
        if text.startswith("elif", first):
            self.chains[-1] += 1
            if sum(self.chains) == MAX_CHAIN + 1:
                self.error("HYB112", f"more than {MAX_CHAIN} `elif`s", first, first + 4, "use a map, or `match`")
        elif not text.startswith("else", first):
            self.chains[-1] = 0
        return first

    def _close_blocks(self, at: int, width: int) -> int:
        """Ends the blocks that are indented by more than `width`; the width of the last of them."""
        closed = 0
        while self.blocks[-1] > width:
            closed = self.blocks.pop()
            self.chains.pop()
            self._add("DEDENT", at, at)
        return closed

    def _blank(self, pos: int) -> int:
        """Of a line without code the end, otherwise 0; a comment on it is kept."""
        match = _BLANK.match(self.text, pos)
        if match is None:
            return 0
        if match.group(1):
            self.out.comments.append(Token("COMMENT", match.group(1), match.start(1), match.end(1)))
        return match.end()

    # ---- one logical line --------------------------------------------------------------------------------------------
    def _add(self, kind: str, start: int, end: int) -> None:
        self.out.tokens.append(Token(kind, self.text[start:end], start, end))

    def _line(self, pos: int, end: int) -> int:
        """The tokens of a logical line, to its NEWLINE; the offset after it."""
        text, tokens, groups = self.text, self.out.tokens, self.groups
        spelling = self.spellings.get
        depth = len(groups)
        begin = pos
        first = len(tokens)
        self.too_long = False
        match_at = _TOKEN.match
        groups[-1].operators = groups[-1].nested = groups[-1].deepest = 0
        while pos < end:
            match = match_at(text, pos, end)
            assert match is not None
            kind = match.lastgroup
            start, pos = pos, match.end()
            if kind == "space":
                if text[start] == "\\":
                    self.error("HYB101", "a backslash does not join lines here", start, start + 1,
                               "lines join inside brackets")
            elif kind == "name":
                word = match.group()
                self._word(word, spelling(word, "NAME"), start, pos, len(tokens) == first and depth == 1)
            elif kind == "op":
                value = match.group()
                if value in "([{":
                    if not self._open(value, start):
                        return self._resync(start)
                elif value in ")]}":
                    self._close(value, start)
                elif value == ",":
                    groups[-1].comma()
                    tokens.append(Token("COMMA", value, start, pos))
                elif value == "??" and (_SPLIT_QUESTIONS if len(groups) == 1 else _SPLIT_INSIDE).match(text, pos, end):
                    # `T??` is an option of an option: nothing follows that could be a default.
                    self._count(start, start + 1)
                    self._count(start + 1, pos)
                    tokens.append(Token("QMARK", "?", start, start + 1))
                    tokens.append(Token("QMARK", "?", start + 1, pos))
                else:
                    if value in _OPERATORS:
                        self._count(start, pos)
                    tokens.append(Token(spelling(value, value), value, start, pos))
            elif kind == "newline":
                if len(groups) == 1:
                    self._newline(begin, start)
                    return pos
                if depth == 1 and _RESYNC.match(text, start):
                    self._unclosed()
                    self._newline(begin, start)
                    return pos
            elif kind == "string":
                tokens.append(Token("FSTRING" if text[start] in "fF" else "STRING", match.group(), start, pos))
            elif kind == "number" or kind == "tail":
                self._number(match.group(), match.group("tail"), start, pos)
            elif kind == "comment":
                self.out.comments.append(Token("COMMENT", match.group(), start, pos))
            elif kind == "unterminated":
                pos = self._unterminated(match.group(), start, end)
            else:
                char = match.group()
                self._stray(char, start)
                if depth == 1 and char in "\x00\r":
                    # One complaint about what is not text is enough for a line.
                    stop = text.find("\n", pos)
                    pos = end if stop < 0 else stop
        if depth == 1:
            self._unclosed()
            self._newline(begin, end)
        return pos

    def _newline(self, begin: int, at: int) -> None:
        tokens = self.out.tokens
        last = tokens[-1].end_pos if tokens and tokens[-1].end_pos > begin else at
        tokens.append(Token("NEWLINE", "\n", last, last + 1))
        self.line_kind = ""

    def _word(self, word: str, kind: str, start: int, end: int, begins: bool) -> None:
        tokens = self.out.tokens
        if begins:
            if word in _SOFT:
                kind = kind if _SOFT[word].match(self.text, end) else "NAME"
            self.line_kind = kind
        elif word in _SOFT:
            kind = "NAME"
        if kind == "AS":
            after = tokens[-1].type if tokens else ""
            if self.line_kind not in ("FROM", "IMPORT", "EXPORT") or after not in ("NAME", "RPAR", "RSQB"):
                kind = "NAME"
        if word in _COUNTED:
            self._count(start, end)
            if kind == "IN" and tokens and tokens[-1].type == "NOT":
                tokens[-1] = Token("NOT_IN", "not in", tokens[-1].start_pos, end)
                return
        if kind == "NAME" and not word.isascii():
            word = unicodedata.normalize("NFKC", word)
            if not word.isidentifier():
                self.error("HYB101", f"`{word}` cannot be a name", start, end)
        tokens.append(Token(kind, word, start, end))

    def _number(self, text: str, tail: str, start: int, end: int) -> None:
        number = text[: len(text) - len(tail)]
        if tail:
            self.error("HYB108", f"`{text[:40]}` is no number", start, end, "put a space between a number and a word")
        elif len(number) > MAX_DIGITS:
            self.error("HYB108", f"a number of more than {MAX_DIGITS} digits", start, end)
        elif len(number) > 1 and number[0] == "0" and number.strip("0_") and number.replace("_", "").isdigit():
            self.error("HYB108", "a whole number does not begin with 0", start, end, "octal numbers begin with `0o`")
        self.out.tokens.append(Token("NUMBER", number, start, end))

    def _stray(self, char: str, start: int) -> None:
        previous = self.out.diagnostics[-1] if self.out.diagnostics else None
        if previous and previous.code == "HYB101" and previous.span.end == start:
            # One diagnostic for a run of them.
            self.out.diagnostics[-1] = Diagnostic(previous.code, previous.message, Span(self.path, previous.span.start,
                                                  start + 1), previous.help)
            return
        shown = f"`{char}`" if char.isprintable() else f"U+{ord(char):04X}"
        self.error("HYB101", f"the character {shown} means nothing here", start, start + 1, _STRAY_HELP.get(char))

    def _unterminated(self, opening: str, start: int, end: int) -> int:
        self.out.tokens.append(Token("STRING", '""', start, start + len(opening)))
        if len(opening) >= 3:
            self.error("HYB106", f"this string is never closed with `{opening.lstrip('fF')}`",
                       start, start + len(opening))
            return end
        stop = self.text.find("\n", start, end)
        stop = end if stop < 0 else stop
        self.error("HYB106", f"this string is not closed with `{opening[-1]}` on its line", start, stop,
                   'a string over several lines stands between `"""`')
        return stop

    # ---- brackets and depth ------------------------------------------------------------------------------------------
    def _count(self, start: int, end: int) -> None:
        group = self.groups[-1]
        group.operators += 1
        if group.operators + group.nested > MAX_CHAIN and not self.too_long:
            self.too_long = True
            self.error("HYB112", f"an expression of more than {MAX_CHAIN} operators and calls", start, end,
                       "name its parts with `let`, or use a list and `sum`")

    def _open(self, char: str, start: int) -> bool:
        self.out.tokens.append(Token(self.spellings[char], char, start, start + 1))
        self._count(start, start + 1)
        self.groups.append(_Group(char, start))
        if len(self.groups) > MAX_NESTING + 1:
            self.error("HYB111", f"brackets are nested more than {MAX_NESTING} deep", start, start + 1,
                       "name the inner parts with `let`")
            return False
        return True

    def _close(self, char: str, start: int) -> None:
        groups, opening = self.groups, _PAIRS[char]
        if groups[-1].char != opening or (groups[-1].char == "{" and self.text[groups[-1].start] != "{"):
            if all(group.char != opening for group in groups):
                self.error("HYB110", f"`{char}` closes nothing", start, start + 1)
                return
            while groups[-1].char != opening:
                inner = groups.pop()
                self.error("HYB109", f"`{inner.char}` is never closed", inner.start, inner.start + 1)
        group = groups.pop()
        if not groups:
            groups.append(group)
            self.error("HYB110", f"`{char}` closes nothing", start, start + 1)
            return
        group.comma()
        parent = groups[-1]
        parent.nested = max(parent.nested, group.deepest + 1)
        self.out.tokens.append(Token(self.spellings[char], char, start, start + 1))
        if parent.operators + parent.nested > MAX_CHAIN:
            self._count(start, start + 1)

    def _unclosed(self) -> None:
        if len(self.groups) > 1:
            group = self.groups[-1]
            self.error("HYB109", f"`{group.char}` is never closed", group.start, group.start + 1)
            del self.groups[1:]

    def _resync(self, pos: int) -> int:
        """Past everything, to the next line that can only begin a declaration."""
        match = _RESYNC.search(self.text, pos)
        del self.groups[1:]
        stop = len(self.text) if match is None else match.start()
        self._newline(pos, stop)
        return stop + 1


def lex(source: Source, spellings: dict[str, str]) -> Lexed:
    """The tokens of a file; `spellings` gives the grammar's name for each keyword and mark."""
    return Lexer(source, spellings).file()


def lex_part(source: Source, spellings: dict[str, str], start: int, end: int) -> Lexed:
    """The tokens of a part of a file that is one expression, whatever its lines."""
    return Lexer(source, spellings).part(start, end)
