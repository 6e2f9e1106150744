"""Where text stands: files and spans, as offsets; lines and columns only when something is rendered.

A place within a declaration of a user's file counts from where the declaration begins, so that an edit elsewhere in the
file leaves the declaration, and all that is made of it, what it was. `in_file` makes it a place in the file again."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from hybridc.base.immutable import immutable


@immutable(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of the file `path`."""

    path: str
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`, in the same file."""
        return Span(self.path, self.start, max(self.end, other.end))


NOWHERE = Span("", 0, 0)
MARK = "\0"
"""Stands in the path of a place before what names the declaration that the place counts from."""


@dataclass
class Source:
    """One file: its path as shown to the user, its text, and where its lines begin. `parts`: where its declarations
    begin, by the paths of the places that count from there."""

    path: str
    text: str
    parts: dict[str, int] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list, repr=False)

    def line_column(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        if not self._starts:
            self._starts = [0] + [i + 1 for i, c in enumerate(self.text) if c == "\n"]
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a line (from 1), without its end."""
        self.line_column(0)
        start = self._starts[line - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


Sources = dict[str, Source]
"""Every file that was read, by path."""


def texts(sources: Sources) -> list[tuple[str, str]]:
    """Path and text of every source that is a file: of the user's own, that is."""
    return [(path, source.text) for path, source in sources.items() if path[:1] != "<"]


def in_file(span: Span, sources: Sources) -> Span:
    """A place in its file."""
    path, mark, _ = span.path.partition(MARK)
    if not mark:
        return span
    begin = sources[path].parts[span.path]
    return Span(path, begin + span.start, begin + span.end)
