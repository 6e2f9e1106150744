"""Makes a failing program small: removes declarations and statements, then replaces expressions by parts of them or by
literals, as long as it fails in the same way. It works on text and the parser's spans, and knows nothing of how the
program was made."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

from hybridc.base.source import Source
from hybridc.front.parse import syntax
from hybridc.front.parse.parser import parse
from tests.fuzz import campaign
from tests.fuzz.engines import ENGINES

FEWER = (("passes",), ("interpreter", "passes"), ("interpreter", "O0"), ("interpreter", "artifact"), ENGINES)
"""Engines to shrink with: the quickest on which it fails alike."""
LITERALS = ("0", "1", "true", "false", '""', "0.0", "[]", "none")


def shrink(
    source: str, fails: Callable[[str], bool] | None = None, timeout: float = 60, seconds: float = 300
) -> str:
    """The smallest found. `fails` says whether a text fails as the original does."""
    if fails is None:
        wanted = campaign.signature(source, timeout)
        if not wanted:
            raise ValueError("the program does not fail")
        which = next(w for w in FEWER if w == ENGINES or campaign.signature(source, timeout, w) == wanted)

        def fails(text: str) -> bool:
            return campaign.signature(text, timeout, which) == wanted

    until = time.monotonic() + seconds
    best = source
    while time.monotonic() < until:
        before = best
        best = _blocks(best, fails, until)
        best = _expressions(best, fails, until)
        if best == before:
            break
    return best


def _blocks(text: str, fails: Callable[[str], bool], until: float) -> str:
    """Without blocks: a line with all that is indented below it; or the header only, what is in it moved out."""
    changed = True
    while changed:
        changed = False
        lines = text.split("\n")
        at = len(lines) - 1
        while at >= 0 and time.monotonic() < until:
            for candidate in _without(lines, at):
                joined = "\n".join(candidate)
                if joined != text and fails(joined):
                    lines, text, changed = candidate, joined, True
                    break
            at = min(at, len(lines)) - 1
    return text


def _without(lines: list[str], at: int) -> Iterator[list[str]]:
    line = lines[at]
    if not line.strip():
        yield lines[:at] + lines[at + 1 :]
        return
    indent = len(line) - len(line.lstrip())
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    while end > at + 1 and not lines[end - 1].strip():
        end -= 1
    yield lines[:at] + lines[end:]
    if end > at + 1:
        yield lines[:at] + [body[4:] for body in lines[at + 1 : end]] + lines[end:]
        yield lines[: at + 1] + [" " * (indent + 4) + "pass"] + lines[end:]


def _expressions(text: str, fails: Callable[[str], bool], until: float) -> str:
    changed = True
    while changed and time.monotonic() < until:
        changed = False
        for start, end, candidates in _spans(text):
            for candidate in candidates:
                if len(candidate) >= end - start or time.monotonic() > until:
                    continue
                new = text[:start] + candidate + text[end:]
                if fails(new):
                    text, changed = new, True
                    break
            if changed:
                break
    return text


def _spans(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """Places of expressions, large ones first, with what may stand there instead."""
    file, diagnostics = parse(Source("case.hyb", text))
    if file is None or diagnostics:
        return
    found: dict[tuple[int, int], list[str]] = {}

    def walk(node: object) -> list[tuple[int, int]]:
        inner: list[tuple[int, int]] = []
        if isinstance(node, list | tuple):
            for item in node:
                inner += walk(item)
            return inner
        if not dataclasses.is_dataclass(node):
            return inner
        for f in dataclasses.fields(node):
            inner += walk(getattr(node, f.name))
        span = getattr(node, "span", None)
        if span is not None and isinstance(node, syntax.Expr):
            key = (span.start, span.end)
            options = [text[a:b] for a, b in inner if b - a < span.end - span.start]
            found.setdefault(key, []).extend([*options, *LITERALS])
            return [key, *inner]
        return inner

    walk(file)
    for (start, end), options in sorted(found.items(), key=lambda i: i[0][0] - i[0][1]):
        if end - start > 1:
            yield start, end, list(dict.fromkeys(sorted(options, key=len)))[:40]


__all__ = ["shrink"]
