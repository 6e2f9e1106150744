"""Modules that this process has checked before: a module is taken again where its text is what it was and each of its
imports means the very module that it meant then. What is not changed by an edit is neither parsed nor checked. Of a
module that an edit did change, declarations with the same text are not parsed again (parse/parser.py), their bodies are
not checked again unless the module looks different from without (outline.py), and declarations that are checked to the
same are the very same objects, so that what was made of them is found (lower/kept.py)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source
from hybridc.front.check import tree
from hybridc.front.check.gradients import Wanted
from hybridc.front.check.outline import Outline
from hybridc.front.check.scope import ModelSig, ModuleDecls, Sig
from hybridc.front.parse import syntax
from hybridc.front.parse.parser import Parts

if TYPE_CHECKING:
    from hybridc.front.parse.modules import Unit

LASTS = 8
"""Programs for which a module is kept that none of them has."""


@dataclass
class Aside:
    """What a body has beside its tree: derivatives that are to exist, and warnings."""

    gradients: Wanted = field(default_factory=list)
    warnings: dict[Diagnostic, None] = field(default_factory=dict)


@dataclass
class KeptBody:
    """A function or a test that was checked."""

    syntax: syntax.Fn | syntax.Test
    decl: tree.FnDecl
    aside: Aside


def without_marks(bodies: Mapping[str, KeptBody], sigs: Mapping[str, Sig]) -> dict[str, KeptBody]:
    """Those that leave no mark on the signature of their model: they may say which items of a list of its configuration
    are dimensions."""
    marked = {key for key, sig in sigs.items() if isinstance(sig, ModelSig) and any(c.indices for c in sig.config)}
    return {key: body for key, body in bodies.items() if body.decl.owner not in marked}


@dataclass
class KeptModule:
    """A module without errors: its file, the syntax of that, what its bodies were checked by, and what came of it."""

    source: Source
    file: syntax.File
    parts: Parts
    outline: Outline
    bodies: dict[str, KeptBody]
    decls: ModuleDecls
    warnings: dict[Diagnostic, None]
    used: int = 0


@dataclass
class KeptModules:
    """By name and path."""

    modules: dict[tuple[str, str], KeptModule] = field(default_factory=dict)
    programs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, name: str, path: str) -> KeptModule | None:
        """A module as it was when it was last checked."""
        return self.modules.get((name, path))

    def module(self, unit: Unit, modules: Mapping[str, ModuleDecls]) -> KeptModule | None:
        """What was checked before, if it is what checking it now among these modules would give."""
        found = self.modules.get((unit.name, unit.path))
        if found is None or found.file is not unit.file or found.outline.imports.keys() != unit.imports.keys():
            return None
        if any(modules.get(unit.imports[dotted]) is not decls for dotted, decls in found.outline.imports.items()):
            return None
        return found

    def keep(self, found: Mapping[tuple[str, str], KeptModule]) -> None:
        """Of one program all its modules, those that were kept already among them."""
        with self.lock:
            self.programs += 1
            for module in found.values():
                module.used = self.programs
            kept = {at: m for at, m in self.modules.items() if m.used >= self.programs - LASTS}
            self.modules = kept | dict(found)
