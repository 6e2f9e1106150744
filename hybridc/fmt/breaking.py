"""A logical line as one or more lines of text.

What fits on a line stands on one. Else a body beside its header goes below it, or a bracket is opened: what stands in
it goes one level deeper, on a line of its own if it fits there, else one item on each line, with a comma after the last
where one may stand. How the author broke the line does not matter, but for two things: a body stays beside its header
where it fits, and where a comment stands within brackets, the author's breaks are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.fmt.lines import CLOSING, OPENING, Line, Piece, body_beside
from hybridc.fmt.spacing import SIGNS

WIDTH = 120
INDENT = 4
LOOSE = (
    ("or",), ("and",), ("==", "!=", "<", "<=", ">", ">="), ("??",), ("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"),
    ("*", "/", "//", "%", "@"),
)
"""Binary operators by how loosely they bind: a line that is too long is broken before the loosest."""


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join((" " if p.space and i else "") + p.text for i, p in enumerate(pieces))


def fits(text: str, indent: int) -> bool:
    """Does each line of it? A string over several lines has lines of its own."""
    first, *rest = text.split("\n")
    return indent + len(first) <= WIDTH and (not rest or len(rest[-1]) <= WIDTH)


def parted(line: Line) -> list[Line]:
    """A header whose body stands beside it, and does not fit there, as the header and the body below."""
    body = None if any(p.kind == "COMMENT" for p in line.pieces) else body_beside(line.pieces)
    if body is None or fits(text_of(_plain(line.pieces)), INDENT * line.level):
        return [line]
    below = Line(line.level + 1, line.pieces[body:], line.comment)
    below.pieces[0].space = False
    return [Line(line.level, line.pieces[:body], "", line.blank), below]


def broken(pieces: list[Piece], indent: int) -> list[str]:
    """The lines of a logical line whose block is indented by so much."""
    if any(p.kind == "COMMENT" for p in pieces):
        return _as_written(pieces, indent)
    pieces = _plain(pieces)
    return _lines(pieces, indent, _preferred(pieces))


def _preferred(pieces: list[Piece]) -> int | None:
    """Of a function's or model's header the bracket of its parameters."""
    kinds = [p.kind for p in pieces]
    if not {"FN", "MODEL"} & set(kinds[:3]):
        return None
    depth = 0
    for i, kind in enumerate(kinds):
        if kind == "LPAR" and not depth:
            return i
        depth += (kind in OPENING) - (kind in CLOSING)
    return None


def _as_written(pieces: list[Piece], indent: int) -> list[str]:
    """Broken where the author did, and after each comment."""
    lines: list[str] = []
    row: list[Piece] = []
    depth = at = 0
    for i, p in enumerate(pieces):
        if row and (p.broken or pieces[i - 1].kind == "COMMENT"):
            lines.append(" " * (indent + INDENT * at) + _row(row))
            row = []
        if not row:
            at = depth - (p.kind in CLOSING)
        depth += (p.kind in OPENING) - (p.kind in CLOSING)
        row.append(p)
    lines.append(" " * (indent + INDENT * at) + _row(row))
    return lines


def _row(row: list[Piece]) -> str:
    if len(row) > 1 and row[-1].kind == "COMMENT":
        return f"{text_of(row[:-1])}  {row[-1].text}"
    return text_of(row)


def _plain(pieces: list[Piece]) -> list[Piece]:
    """Without commas after the last of several items."""
    out: list[Piece] = []
    opened: list[tuple[int, int]] = []
    """Of each open bracket its place in `out`, and how many commas stand in it."""
    for p in pieces:
        if p.kind in OPENING:
            opened.append((len(out), 0))
        elif p.kind == "COMMA" and opened:
            opened[-1] = (opened[-1][0], opened[-1][1] + 1)
        elif p.kind in CLOSING:
            at, commas = opened.pop()
            if out[-1].kind == "COMMA" and _drops(out, at, commas):
                out.pop()
        out.append(p)
    return out


def _drops(out: list[Piece], at: int, commas: int) -> bool:
    """Whether the comma before the end of a bracket says nothing: not that of `(x,)`."""
    if commas > 1:
        return True
    if out[at].kind == "LBRACE":
        return True
    applied = not out[at].space and at > 0 and out[at - 1].kind in ("NAME", *CLOSING)
    return applied == (out[at].kind == "LPAR")


def _lines(pieces: list[Piece], indent: int, preferred: int | None = None) -> list[str]:
    whole = text_of(pieces)
    if fits(whole, indent):
        return [" " * indent + whole]
    group = _group(pieces, indent, preferred)
    if group is None:
        return [" " * indent + whole]
    start, end = group
    head = pieces[:start + 1]
    tail = pieces[end:]
    tail[0].space = False
    return [
        " " * indent + text_of(head),
        *_inside(pieces[start:end + 1], indent + INDENT),
        *_lines(tail, indent),
    ]


def _group(pieces: list[Piece], indent: int, preferred: int | None) -> tuple[int, int] | None:
    """The bracket to open: the last that leaves what stands before and after it short enough, else the longest."""
    found: list[tuple[int, int]] = []
    depth = start = 0
    for i, p in enumerate(pieces):
        if p.kind in OPENING:
            if not depth:
                start = i
            depth += 1
        elif p.kind in CLOSING and depth:
            depth -= 1
            if not depth and i > start + 1:
                found.append((start, i))
    for pair in found:
        if pair[0] == preferred:
            return pair
    for start, end in reversed(found):
        if fits(text_of(pieces[:start + 1]), indent) and fits(text_of(pieces[end:]), indent) and end - start > 2:
            return start, end
    return max(found, key=lambda g: len(text_of(pieces[g[0]:g[1]])), default=None)


def _inside(group: list[Piece], indent: int) -> list[str]:
    """What stands between two brackets, without them."""
    inner = group[1:-1]
    inner[0].space = False
    flat = text_of(inner)
    if fits(flat, indent):
        return [" " * indent + flat]
    items = _split(inner, "COMMA")
    if len(items) == 1 or any(p.kind == "FOR" for p in _outside(inner)):
        return _operands(inner, indent)
    trailing = inner[-1].kind != "COMMA"
    comma = Piece("COMMA", ",")
    if all(len(item) <= 3 and len(text_of(item)) <= 24 for item in items):
        return _filled(items, indent, trailing)
    out: list[str] = []
    for i, item in enumerate(items):
        item[0].space = False
        out += _lines(item + [comma] if trailing and i + 1 == len(items) else item, indent)
    return out


def _filled(items: list[list[Piece]], indent: int, trailing: bool) -> list[str]:
    """Short items, as many on a line as fit."""
    rows = [""]
    for i, item in enumerate(items):
        item[0].space = False
        text = text_of(item) + ("," if trailing and i + 1 == len(items) else "")
        if rows[-1] and indent + len(rows[-1]) + 1 + len(text) > WIDTH:
            rows.append("")
        rows[-1] += (" " if rows[-1] else "") + text
    return [" " * indent + row for row in rows]


def _outside(pieces: list[Piece]) -> list[Piece]:
    """What stands in no inner bracket."""
    out, depth = [], 0
    for p in pieces:
        depth -= p.kind in CLOSING
        if not depth:
            out.append(p)
        depth += p.kind in OPENING
    return out


def _split(pieces: list[Piece], kind: str) -> list[list[Piece]]:
    """Parts that end with a piece of this kind, outside of inner brackets."""
    parts: list[list[Piece]] = [[]]
    depth = 0
    for p in pieces:
        depth += (p.kind in OPENING) - (p.kind in CLOSING)
        parts[-1].append(p)
        if not depth and p.kind == kind:
            parts.append([])
    return parts if parts[-1] else parts[:-1]


def _operands(pieces: list[Piece], indent: int) -> list[str]:
    """One expression that is too long: broken before the clauses of a comprehension, before `if` and `else`, or before
    its loosest operators; else within a bracket of its own."""
    top = _outside(pieces)
    texts = {p.text for p in top[1:]}
    if any(p.kind == "FN" for p in top[:1]):
        return _lines(pieces, indent)
    for words in (("for",), ("if", "else"), *LOOSE):
        if texts & set(words):
            cut = ("for", "if") if words == ("for",) else words
            rows = _before(pieces, set(cut))
            if len(rows) > 1:
                return [line for row in rows for line in _lines(row, indent)]
    return _lines(pieces, indent)


def _before(pieces: list[Piece], words: set[str]) -> list[list[Piece]]:
    rows: list[list[Piece]] = [[]]
    depth = 0
    for i, p in enumerate(pieces):
        depth -= p.kind in CLOSING
        between = p.space and (i + 1 == len(pieces) or pieces[i + 1].space or p.kind not in SIGNS)
        if not depth and rows[-1] and between and p.text in words and p.kind not in ("STRING", "FSTRING"):
            rows.append([])
        depth += p.kind in OPENING
        rows[-1].append(p)
    for row in rows:
        row[0].space = False
    return rows
