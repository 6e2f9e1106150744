"""Finding, reading and parsing files: the one asked for and everything it imports.

`import a.b` is looked up beside the importing file, then in the root, then in the standard library. Standard modules
that define built-in types are always read; they may import each other in circles, a user's files may not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from pathlib import PurePath
from typing import Protocol

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source, Sources, Span
from hybridc.front.parse import syntax
from hybridc.front.parse.habits import MODULES
from hybridc.front.parse.parser import Parts, parse_whole

PRELUDE = ("core", "str", "list", "map", "set", "heap", "deque", "graph", "store", "rng", "prelude",
           "_elementwise")
"""Standard modules that every program has: the built-in types and functions."""


@lru_cache(maxsize=1)
def std_names() -> frozenset[str]:
    """The names of the standard modules there are."""
    folder = resources.files("hybridc.std")
    return frozenset(f.name[:-4] for f in folder.iterdir() if f.name.endswith(".hyb"))


@cache
def std_text(name: str) -> str:
    return resources.files("hybridc.std").joinpath(name + ".hyb").read_text(encoding="utf-8")


def not_utf8(path: str, error: UnicodeDecodeError) -> tuple[Diagnostic, Source]:
    """The error of a file that is not UTF-8, and its text with signs in the places of what is none; of an artifact
    that there is no text."""
    if error.object.startswith(b"HYBX"):
        message, help = "this is an artifact, and source is wanted", "name the `.hyb` file that it was built from"
        return Diagnostic("HYB101", message, Span(path, 0, 0), help), Source(path, "")
    at = len(error.object[: error.start].decode("utf-8"))
    byte = f"0x{error.object[error.start]:02x}"
    message = f"this is not UTF-8 text: the byte {byte} stands for no character"
    diagnostic = Diagnostic("HYB101", message, Span(path, at, at + 1), "save the file as UTF-8")
    return diagnostic, Source(path, error.object.decode("utf-8", "replace"))


@dataclass
class Unit:
    """One parsed file. `imports` maps each import's dotted name to the module it means; `broken` are the names of
    declarations that could not be read; `parts` are for when it is parsed again."""

    name: str
    path: str
    file: syntax.File
    std: bool
    imports: dict[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    parts: Parts = field(default_factory=dict)


class Before(Protocol):
    """What is known of a file that was read before."""

    source: Source
    file: syntax.File
    parts: Parts


@dataclass
class Reader:
    """Reads files on demand; `units` are in an order in which what is imported comes first (circles in std apart)."""

    text_of: Callable[[str], str]
    root: str
    cached_std: Collection[str] = ()
    std_text_of: Callable[[str], str] | None = None
    std_modules: frozenset[str] | None = None
    before: Callable[[str, str], Before | None] = lambda name, path: None
    """A module as it was when it was last read, by its name and path."""
    units: dict[str, Unit] = field(default_factory=dict)
    sources: Sources = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    std_used: dict[str, None] = field(default_factory=dict)
    absent: dict[str, None] = field(default_factory=dict)
    """Where an import was looked for in vain."""
    _paths: dict[str, str] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _ready: list[Unit] = field(default_factory=list)

    def std_known(self) -> frozenset[str]:
        return self.std_modules if self.std_modules is not None else std_names()

    def ordered(self) -> list[Unit]:
        return self._ready

    def read_prelude(self) -> None:
        for name in PRELUDE:
            if name in self.std_known():
                self.read_std(name)

    def read_std(self, name: str) -> str:
        module = "std." + name
        self.std_used[name] = None
        if module in self.units or name in self.cached_std:
            return module
        text = (self.std_text_of or std_text)(name)
        path = f"<std>/{name}.hyb"
        unit = self._parse(module, path, text, True)
        self._imports(unit)
        self._ready.append(unit)
        return module

    def read_shown(self, *paths: str) -> None:
        """The text of standard modules that were not read, since they had been checked: a message points into them."""
        for path in paths:
            name = path.removeprefix("<std>/").removesuffix(".hyb")
            if path.startswith("<std>/") and path not in self.sources and name in self.std_known():
                self.sources[path] = Source(path, (self.std_text_of or std_text)(name))

    def read_main(self, path: str) -> str | None:
        """The module name of the file asked for, or None if it cannot be read."""
        name = self._module_name(path)
        try:
            text = self.text_of(path)
        except (OSError, KeyError) as error:
            self._error("HYB203", f"cannot read {path}: {_reason(error)}", Span(path, 0, 0))
            return None
        except UnicodeDecodeError as error:
            self._not_utf8(path, error)
            return None
        return self._read_user(name, path, text, Span(path, 0, 0))

    def _read_user(self, name: str, path: str, text: str, span: Span) -> str:
        self._paths[os.path.normpath(path)] = name
        stem = PurePath(path).stem
        if stem in self.std_known():
            self.sources.setdefault(path, Source(path, text))
            self._error("HYB205", f"`{stem}` is the name of a standard module; a file may not bear it", span,
                        help="give the file another name")
        unit = self._parse(name, path, text, False)
        self._open.append(name)
        self._imports(unit)
        self._open.pop()
        self._ready.append(unit)
        return name

    def _parse(self, name: str, path: str, text: str, std: bool) -> Unit:
        before = None if std else self.before(name, path)
        if before is not None and before.source.text == text:
            source, unit = before.source, Unit(name, path, before.file, std, parts=before.parts)
        else:
            source = Source(path, text)
            parsed = parse_whole(source, None if std else before.parts if before is not None else {})
            self.diagnostics += parsed.diagnostics
            unit = Unit(name, path, parsed.file, std, broken=parsed.broken, parts=parsed.parts)
        self.sources[path] = source
        self.units[name] = unit
        return unit

    def _imports(self, unit: Unit) -> None:
        for decl in unit.file.decls:
            if isinstance(decl, syntax.Import):
                dotted = ".".join(decl.module)
                module = self._import(unit, dotted, decl.span)
                if module is not None:
                    unit.imports[dotted] = module

    def _import(self, unit: Unit, dotted: str, span: Span) -> str | None:
        if unit.std:
            if dotted in self.std_known():
                return self.read_std(dotted)
            self._error("HYB203", f"there is no standard module `{dotted}`", span)
            return None
        relative = dotted.replace(".", "/") + ".hyb"
        beside = os.path.join(os.path.dirname(unit.path), relative)
        for path in dict.fromkeys((beside, os.path.join(self.root, relative))):
            known = self._paths.get(os.path.normpath(path))
            if known is not None:
                if known in self._open:
                    circle = self._open[self._open.index(known):] + [known]
                    self._error("HYB204", f"files import each other in a circle: {' → '.join(circle)}", span,
                                help="move what both need into a third file")
                    return None
                return known if known in self.units else None
            try:
                text = self.text_of(path)
            except (OSError, KeyError):
                self.absent[path] = None
                continue
            except UnicodeDecodeError as error:
                self._not_utf8(path, error)
                return None
            return self._read_user(self._module_name(path), path, text, span)
        if dotted in self.std_known():
            return self.read_std(dotted)
        self._error("HYB203", f"there is no module `{dotted}`: no file {relative} beside {os.path.basename(unit.path)} "
                    "or in the root, and no standard module of this name", span, MODULES.get(dotted.split(".")[0]))
        return None

    def _not_utf8(self, path: str, error: UnicodeDecodeError) -> None:
        """Says where the first byte is that does not belong."""
        diagnostic, self.sources[path] = not_utf8(path, error)
        self.diagnostics.append(diagnostic)

    def _module_name(self, path: str) -> str:
        full, root = os.path.abspath(path), os.path.abspath(self.root)
        relative = os.path.relpath(full, root)
        if relative.startswith(".."):
            relative = os.path.basename(full)
        return relative.removesuffix(".hyb").replace(os.sep, ".")

    def _error(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(code, message, span, help))


def _reason(error: BaseException) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "no such file"
