"""A file's text to its syntax tree, or to every syntax error in it. Nothing here raises, whatever the text."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import lark
from lark.exceptions import UnexpectedToken

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.names import unused
from hybridc.base.source import MARK, Source, Span
from hybridc.base.types import PRIMS
from hybridc.front.parse import tables
from hybridc.front.parse.build_base import PYTHON_WORDS
from hybridc.front.parse.build_decl import Declarations
from hybridc.front.parse.explain_syntax import explain
from hybridc.front.parse.lexer import Lexed, Token, lex, lex_part
from hybridc.front.parse.syntax import Decl, Enum, Expr, ExprStmt, File, FnType, Import, Literal, Node, TypeExpr


class Builder(Declarations):
    """Builds the tree while Lark parses; its state is that of the one file being parsed."""

    def begin(self, source: Source) -> None:
        self.diagnostics = []
        self.type_only = {}
        self.jumps = []
        self.python_words = []
        self.read(source)

    def read(self, source: Source) -> None:
        """What comes now stands in this text."""
        self.source = source
        self.path = source.path

    def parse_hole(self, start: int, end: int) -> Expr | None:
        lexed = lex_part(self.source, _parser().spellings, start, end)
        if lexed.diagnostics:
            self.diagnostics += lexed.diagnostics
            return None
        if not lexed.tokens:
            return None
        return _run(self, lexed.tokens, "hole", Span(self.path, end, end + 1))


@dataclass
class _Parser:
    lark: lark.Lark
    builder: Builder
    spellings: dict[str, str]


_loaded: list[_Parser] = []
_lock = threading.RLock()
"""There is one builder, so one file at a time."""


def _parser() -> _Parser:
    if not _loaded:
        builder = Builder()
        parser = tables.load(builder)
        _loaded.append(_Parser(parser, builder, tables.spellings(parser)))
    return _loaded[0]


def parse(source: Source) -> tuple[File | None, list[Diagnostic]]:
    """The file's tree and no diagnostics, or None and all its syntax errors in order of place."""
    found = parse_whole(source)
    return (None if found.diagnostics else found.file), found.diagnostics


@dataclass
class Part:
    """What stands at the top of a file, mostly one declaration, without errors: its text, and what it is."""

    text: str
    decls: list[Decl | ExprStmt]


Parts = Mapping[str, Part]
"""By the paths of the places in them."""


@dataclass
class Parsed:
    """The declarations of a file that are well formed, the names of those that are not, and its syntax errors."""

    file: File
    broken: tuple[str, ...]
    diagnostics: list[Diagnostic]
    parts: dict[str, Part] = field(default_factory=dict)


def parse_whole(source: Source, known: Parts | None = None) -> Parsed:
    """What can be read of a file, so that its other errors can be found beside those of syntax. Given what was `known`
    of the file before, places count from where their declarations begin, which `source.parts` then says, and what has
    the text that it had is the very same."""
    with _lock:
        parser = _parser()
        builder = parser.builder
        builder.begin(source)
        lexed = lex(source, parser.spellings)
        decls: list[Decl | ExprStmt] = []
        broken: dict[str, None] = {}
        parts: dict[str, Part] = {}
        bodiless = False
        bad = sorted(lexed.bad)
        for chunk, begin, stop in _chunks(lexed, len(source.text)):
            first = bisect.bisect_left(bad, begin)
            if first < len(bad) and bad[first] < stop:
                # What is not even words makes no sense as a declaration: one complaint is enough.
                broken |= dict.fromkeys(_declared(chunk))
                continue
            path, text = "", ""
            if known is not None:
                begin = chunk[0].start_pos
                path, text = _part(source, chunk)
                part = known.get(path)
                if part is not None and part.text == text:
                    decls += part.decls
                    parts[path] = part
                    bodiless = False
                    continue
                _move(chunk, -begin)
                builder.read(Source(path, source.text[begin:stop]))
            builder.type_only.clear()
            builder.jumps.clear()
            before, words = len(builder.diagnostics), len(builder.python_words)
            made = _run(builder, chunk, "file", None) or ()
            _refuse_types(builder)
            new = {d.code for d in builder.diagnostics[before:]}
            if bodiless and new == {"HYB119"}:
                del builder.diagnostics[before:]  # the body that was missed, at the margin
            bodiless = "HYB105" in new
            if new:
                broken |= dict.fromkeys(_declared(chunk))
            else:
                decls += made
                if known is not None and len(builder.python_words) == words:
                    parts[path] = Part(text, list(made))
        doc, rest = _file_doc(builder, decls)
        _refuse_python_words(builder, rest, broken)
        broken |= {name.id: None for name in builder.python_words}
        found = {d.in_file({source.path: source}) for d in builder.diagnostics + lexed.diagnostics}
        diagnostics = sorted(found, key=lambda d: (d.span.start, d.code))
        return Parsed(File(Span(source.path, 0, len(source.text)), doc, rest), tuple(broken), diagnostics, parts)


def _part(source: Source, chunk: list[Token]) -> tuple[str, str]:
    """A path for the places in a part of a file, which is noted, and its text."""
    begin = chunk[0].start_pos
    last = next((t for t in reversed(chunk) if t.type not in ("NEWLINE", "DEDENT")), chunk[-1])
    text = source.text[begin:last.end_pos]
    name = None
    if chunk[0].type != "TEST":
        name = next((t.value for before, t in zip(chunk, chunk[1:]) if before.type in _DECLARING), None)
    path = unused(source.path + MARK + (name or text.partition("\n")[0]), source.parts)
    source.parts[path] = begin
    return path, text


def _move(tokens: list[Token], by: int) -> None:
    for token in tokens:
        token.start_pos += by
        token.end_pos += by


_DECLARING = frozenset({"FN", "STRUCT", "ENUM", "MODEL", "CONST"})


def _declared(chunk: list[Token]) -> list[str]:
    """What a declaration that cannot be read was meant to declare: its name (none where it cannot be one), of an enum
    its cases too, and every name in what is no declaration but those of numbers; a test declares nothing."""
    if chunk[0].type == "TEST":
        return []
    if chunk[0].value in ("def", "class", "func", "function") and len(chunk) > 1:
        return [str(chunk[1].value)]
    for i, token in enumerate(chunk[:-1]):
        if token.type in _DECLARING:
            if chunk[i + 1].type != "NAME":
                return []
            cases = [t for t in chunk[i + 2 :] if t.type == "NAME" and str(t.value)[:1].isupper()]
            return [str(t.value) for t in [chunk[i + 1], *(cases if token.type == "ENUM" else ())]]
        if token.type == "NEWLINE" and chunk[0].type != "AT":
            break
    return [str(t.value) for t in chunk if t.type == "NAME" and str(t.value) not in PRIMS]


def parse_type(source: Source) -> tuple[TypeExpr | None, list[Diagnostic]]:
    """A text that is one type, such as `list[(Tree, int)]`."""
    with _lock:
        parser = _parser()
        builder = parser.builder
        builder.begin(source)
        lexed = lex_part(source, parser.spellings, 0, len(source.text))
        if lexed.diagnostics:
            return None, lexed.diagnostics
        end = len(source.text)
        result = _run(builder, lexed.tokens, "lone_type", Span(source.path, end, end + 1))
        _refuse_types(builder)
        return (None, builder.diagnostics) if builder.diagnostics else (result, [])


def tokens(source: Source) -> Lexed:
    """The tokens of a file, with its comments and lexical errors."""
    with _lock:
        return lex(source, _parser().spellings)


def _chunks(lexed: Lexed, end: int) -> list[tuple[list[Token], int, int]]:
    """The tokens of each top-level declaration, and the part of the text they stand in."""
    tokens = lexed.tokens
    starts: list[int] = []
    for i, at in enumerate(lexed.starts):
        after_decorator = i > 0 and tokens[lexed.starts[i - 1]].type == "AT" and starts
        if not after_decorator:
            starts.append(at)
    if tokens and (not starts or starts[0] != 0):
        starts.insert(0, 0)
    chunks = []
    for i, at in enumerate(starts):
        stop = starts[i + 1] if i + 1 < len(starts) else len(tokens)
        if at < stop:
            begin = tokens[at].start_pos if i else 0
            chunks.append((tokens[at:stop], begin, tokens[stop].start_pos if stop < len(tokens) else end + 1))
    return chunks


def _run(builder: Builder, tokens: list[Token], start: str, end: Span | None):
    try:
        return _parser().lark.parse(tokens, start=start)
    except UnexpectedToken as error:
        builder.diagnostics.append(explain(builder.source, tokens, error, end))
        return None


def _refuse_types(builder: Builder) -> None:
    for node in builder.type_only.values():
        help = "`x ?? default` takes the value of an option"
        if isinstance(node, FnType):
            help = "a function expression does not say the type of its result: `fn(x: int): x + 1`"
        builder.error("HYB118", "a type cannot stand here", node.span, help)
    builder.type_only.clear()


def _file_doc(builder: Builder, decls: list) -> tuple[str | None, tuple[Decl, ...]]:
    doc = None
    for i, decl in enumerate(decls):
        if isinstance(decl, ExprStmt):
            if i == 0 and isinstance(decl.value, Literal):
                doc = str(decl.value.value)
            else:
                builder.error("HYB119", "a string here says nothing", decl.span,
                              "a doc stands first in a file or a body, a comment behind `#`")
    return doc, tuple(d for d in decls if not isinstance(d, ExprStmt))


def _refuse_python_words(builder: Builder, decls: tuple[Decl, ...], broken: Collection[str]) -> None:
    """`None`, `True` and `False`, unless the file gives these names a meaning of its own."""
    if not builder.python_words:
        return
    own = {case.name for d in decls if isinstance(d, Enum) for case in d.cases}
    own |= {name for d in decls if isinstance(d, Import) for _, name, _ in d.names or ()}
    own |= {d.name for d in decls if isinstance(d, Node) and hasattr(d, "name")} | set(broken)
    for name in builder.python_words:
        if name.id not in own:
            right = PYTHON_WORDS[name.id]
            builder.error("HYB123", f"`{name.id}` is written `{right}`", name.span, f"write `{right}`")
