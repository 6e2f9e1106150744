"""What the text of a literal says: Python's numbers, escapes and f-strings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

Report = Callable[[str, str, int, int, "str | None"], None]
"""Takes a diagnostic's code, message, start and end offset in the file, and help."""

_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|N\{(?P<name>[^{}\n]*)\}|(?P<newline>\r?\n)|(?P<other>[\s\S]))"
    r"|(?P<crlf>\r\n)"
)
_NAMED = re.compile(r"\\N\{[^{}\n]*\}")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CONVERSION = re.compile(r"!([a-z])(?=[:}])")


def number(text: str) -> int | float:
    """The value of a number as the lexer found it."""
    plain = text.replace("_", "")
    if plain[:2].lower() in ("0x", "0o", "0b"):
        return int(plain, 0)
    if plain.isdigit():
        return int(plain)
    return float(plain)


def body(text: str) -> tuple[int, int]:
    """Where the inside of a string literal begins and ends, counted from its start."""
    prefix = 1 if text[0] in "fF" else 0
    quotes = 3 if text.startswith(('"""', "'''"), prefix) and len(text) >= prefix + 6 else 1
    return prefix + quotes, len(text) - quotes


def unescape(text: str, at: int, report: Report) -> str:
    """`text` with its escapes replaced; `at` is its offset in the file."""
    if "\\" not in text and "\r" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        start, end = at + match.start(), at + match.end()
        kind = match.lastgroup
        value = match.group(kind) if kind else ""
        if kind == "newline":
            return ""
        if kind == "crlf":
            return "\n"
        if kind == "octal":
            return chr(int(value, 8))
        if kind == "name":
            try:
                return unicodedata.lookup(value)
            except KeyError:
                report("HYB107", f"no character is named `{value}`", start, end, None)
                return ""
        if kind in ("x", "u", "U"):
            code = int(value, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                report("HYB107", f"U+{code:04X} is no character", start, end, None)
                return ""
            return chr(code)
        if value not in _SIMPLE:
            report("HYB107", f"`\\{value}` is no escape", start, end, f"write `\\\\{value}` for a backslash")
        return _SIMPLE.get(value, "")

    return _ESCAPE.sub(replace, text)


def string(text: str, at: int, report: Report) -> str:
    """The value of a string literal that begins at offset `at`."""
    start, end = body(text)
    return unescape(text[start:end], at + start, report)


Hole = tuple[int, int, str, str]
"""Offsets in the file of the expression in a hole, its conversion (`!r`) and its format spec."""


def fstring(text: str, at: int, report: Report) -> list[str | Hole]:
    """The parts of an f-string that begins at offset `at`."""
    pos, end = body(text)
    parts: list[str | Hole] = []
    plain: list[str] = []
    while pos < end:
        brace = _next_brace(text, pos, end)
        if brace > pos:
            plain.append(unescape(text[pos:brace], at + pos, report))
        if brace == end:
            break
        char = text[brace]
        if text[brace + 1 : brace + 2] == char and brace + 1 < end:
            plain.append(char)
            pos = brace + 2
        elif char == "}":
            report("HYB115", "a lone `}` in an f-string", at + brace, at + brace + 1, "write `}}` for the character")
            pos = brace + 1
        else:
            hole_end, colon, stop = _hole(text, brace + 1, end)
            if stop < 0:
                report("HYB115", "a `{` in an f-string that is never closed", at + brace, at + brace + 1,
                       "write `{{` for the character, and the other kind of quote inside a hole")
                break
            if not text[brace + 1 : hole_end].strip():
                report("HYB115", "an empty hole in an f-string", at + brace, at + stop + 1, None)
            spec = "" if colon < 0 else unescape(text[colon + 1 : stop], at + colon + 1, report)
            if "{" in spec:
                report("HYB115", "a format spec holds no holes", at + colon + 1, at + stop, None)
            conversion = _CONVERSION.search(text, brace, stop + 1)
            letter = conversion[1] if conversion and conversion.start() + 2 == hole_end else ""
            if letter:
                hole_end -= 2
            if letter not in ("", "r", "s"):
                report("HYB115", f"`!{letter}` is not part of Hyb's f-strings", at + hole_end, at + hole_end + 2,
                       "`!r` shows a value as it is within a list, `!s` as `str` does")
            if plain:
                parts.append("".join(plain))
                plain = []
            parts.append((at + brace + 1, at + hole_end, letter, spec))
            pos = stop + 1
    if plain:
        parts.append("".join(plain))
    return parts


def _next_brace(text: str, pos: int, end: int) -> int:
    """The next `{` or `}` that is not part of a `\\N{...}`."""
    while pos < end:
        char = text[pos]
        if char == "\\":
            name = _NAMED.match(text, pos, end)
            pos = name.end() if name else pos + 2
        elif char in "{}":
            return pos
        else:
            pos += 1
    return end


def _hole(text: str, pos: int, end: int) -> tuple[int, int, int]:
    """End of a hole's expression, its colon (-1 without one) and its closing brace (-1 if there is none)."""
    depth = 0
    while pos < end:
        char = text[pos]
        if char in "([{":
            depth += 1
        elif char in ")]" or (char == "}" and depth):
            depth -= 1
        elif char == "}":
            return pos, -1, pos
        elif char in "'\"":
            pos = _skip_string(text, pos, end)
            continue
        elif char == ":" and depth == 0:
            stop = _spec_end(text, pos + 1, end)
            return pos, pos, stop
        pos += 1
    return end, -1, -1


def _spec_end(text: str, pos: int, end: int) -> int:
    depth = 0
    while pos < end:
        if text[pos] == "{":
            depth += 1
        elif text[pos] == "}":
            if depth == 0:
                return pos
            depth -= 1
        pos += 1
    return -1


def _skip_string(text: str, pos: int, end: int) -> int:
    quote = text[pos]
    quote = quote * 3 if text.startswith(quote * 3, pos) else quote
    pos += len(quote)
    while pos < end:
        if text[pos] == "\\":
            pos += 2
        elif text.startswith(quote, pos):
            return pos + len(quote)
        else:
            pos += 1
    return end
