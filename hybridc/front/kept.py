"""Modules that this process has checked before: a module is taken again where its text is what it was and each of its
imports means the very module that it meant then. What is not changed by an edit is neither parsed nor checked. Of a
module that an edit did change, declarations with the same text are not parsed again (parse.py), and those that are
checked to the same are the very same objects, so that what was made of them is found (lower_kept.py)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.source import Source
from hybridc.front import syntax
from hybridc.front.parse import Parts
from hybridc.front.scope import ModuleDecls

if TYPE_CHECKING:
    from hybridc.front.modules import Unit

LASTS = 8
"""Programs for which a module is kept that none of them has."""


@dataclass
class KeptModule:
    """A module without errors: its file, the syntax of that, what its imports meant, and what came of it."""

    source: Source
    file: syntax.File
    imports: dict[str, ModuleDecls]
    decls: ModuleDecls
    warnings: dict[Diagnostic, None]
    parts: Parts
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
        if found is None or found.file is not unit.file or found.imports.keys() != unit.imports.keys():
            return None
        if any(modules.get(unit.imports[dotted]) is not decls for dotted, decls in found.imports.items()):
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
