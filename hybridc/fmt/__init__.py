"""One style for every file: `hybridc fmt`.

The text is made from tokens and comments; line breaks, spaces and quotes of the author count for nothing, but for empty
lines (one is kept) and breaks around comments inside brackets. The result says the same: its syntax tree is compared
with the original's.

    lines.py      from tokens and comments to lines
    spacing.py    what stands between two tokens
    breaking.py   long lines
"""

from __future__ import annotations

from hybridc.base.diagnostic import CompileError
from hybridc.base.source import Source
from hybridc.fmt.breaking import INDENT, broken, parted
from hybridc.fmt.lines import DECLARATIONS, Line, lines_of
from hybridc.fmt.spacing import space
from hybridc.front.parse.dump import dump_ast
from hybridc.front.parse.parser import parse, tokens


class FormatError(Exception):
    """The formatter would have changed what a file says: a mistake of its own."""


def format_source(source: Source) -> str:
    """The text in Hyb's style; CompileError if it is not Hyb."""
    file, diagnostics = parse(source)
    if file is None:
        raise CompileError(diagnostics, {source.path: source})
    lexed = tokens(source)
    text = _text(lines_of(source, lexed))
    again = Source(source.path, text)
    file_again, _ = parse(again)
    same = file_again is not None and dump_ast(file_again) == dump_ast(file)
    if not same or [_bare(t.value) for t in tokens(again).comments] != [_bare(t.value) for t in lexed.comments]:
        raise FormatError(f"{source.path} would say something else when formatted; it is left as it is")
    return text


def _bare(comment: str) -> str:
    return comment.rstrip()


def _text(lines: list[Line]) -> str:
    for line in lines:
        space(line.pieces)
    lines = [part for line in lines for part in parted(line)]
    _mark(lines)
    out: list[str] = []
    for i, line in enumerate(lines):
        if i and line.blank and not lines[i - 1].opens:
            out.append("")
        indent = INDENT * line.level
        if not line.pieces:
            out.append(" " * indent + line.comment)
            continue
        rows = broken(line.pieces, indent)
        if line.comment:
            rows[-1] += f"  {line.comment}"
        out += rows
    return "".join(row + "\n" for row in out)


def _mark(lines: list[Line]) -> None:
    """Which lines open a block, and where an empty line must stand: around declarations that have a body, but for
    functions inside functions."""
    code = [i for i, line in enumerate(lines) if line.pieces]
    for i, after in zip(code, code[1:], strict=False):
        lines[i].opens = lines[after].level > lines[i].level
    owners: list[str] = []
    """Heads of the blocks around the line."""
    ended: int | None = None
    """The level of a declaration whose body has ended, until something stands below it."""
    for i, line in enumerate(lines):
        if line.pieces:
            while len(owners) > line.level:
                owners.pop()
        declares = line.opens and line.head in DECLARATIONS and not {"FN", "TEST"} & set(owners)
        if ended is not None and line.level <= ended:
            line.blank = True
            ended = None
        if declares:
            lines[_first(lines, i)].blank = True
        if line.opens:
            owners.append(line.head)
        if declares:
            ended = line.level


def _first(lines: list[Line], i: int) -> int:
    """Where a declaration begins, with its decorators and the comments right above."""
    while i and lines[i - 1].level == lines[i].level and not lines[i].blank and not lines[i - 1].opens and (
        not lines[i - 1].pieces or lines[i - 1].head == "AT"
    ):
        i -= 1
    return i
