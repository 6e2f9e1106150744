"""What the bodies of a module are checked by, beside their own text. Where it is what it was, a body with the text that
it had is what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hybridc.front.check import tree
from hybridc.front.check.same import same
from hybridc.front.check.scope import Entity, FnSig, ModelSig, ModuleDecls, Sig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.parse.modules import Unit


@dataclass(frozen=True)
class Outline:
    """A module before its bodies are checked: what names mean, the signatures and types of all that it declares, the
    modules that it imports, and the functions whose results come from their bodies."""

    names: dict[str, Entity]
    cases: dict[str, tuple[str, ...]]
    sigs: dict[str, Sig]
    decls: dict[str, tree.Decl]
    imports: dict[str, ModuleDecls]
    unsaid: dict[str, syntax.Fn]

    def like(self, other: Outline) -> bool:
        """Is all the same? Imports and bodies are if they are the very same."""
        return (_identical(self.imports, other.imports) and _identical(self.unsaid, other.unsaid)
                and same(self.names, other.names) and same(self.cases, other.cases)
                and same(self.sigs, other.sigs) and same(self.decls, other.decls))


def outline_of(unit: Unit, modules: Mapping[str, ModuleDecls], fns: Mapping[str, syntax.Fn]) -> Outline:
    """Of a module of which all is known but the bodies of its `fns`."""
    module = modules[unit.name]
    imports = {dotted: modules[name] for dotted, name in unit.imports.items()}
    unsaid = {key: fns[key] for key, sig in module.sigs.items() if isinstance(sig, FnSig) and sig.result is None}
    sigs = {key: _as_it_is(sig) for key, sig in module.sigs.items()}
    return Outline(dict(module.names), dict(module.cases), sigs, dict(module.decls), imports, unsaid)


def _as_it_is(sig: Sig) -> Sig:
    """A copy of what bodies may still add to."""
    if isinstance(sig, FnSig):
        return replace(sig)
    if isinstance(sig, ModelSig):
        return replace(sig, config=tuple(replace(c, indices=set(c.indices)) for c in sig.config))
    return sig


def _identical(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return a.keys() == b.keys() and all(a[key] is b[key] for key in a)
