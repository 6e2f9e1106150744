"""What a file exports: functions, models with their configuration, and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.suggest import nearest
from hybridc.base.types import FnRef, ModelType, TypeVar
from hybridc.front.check import access as check_access
from hybridc.front.check import generic as check_generic
from hybridc.front.check import tree
from hybridc.front.check.body import Body
from hybridc.front.check.scope import EnumSig, FnSig, Frame, ModelSig, ModuleDecls, StructSig
from hybridc.front.parse import syntax
from hybridc.front.parse.modules import Unit

if TYPE_CHECKING:
    from hybridc.front.check.checker import Checker


def export(checker: Checker, module: ModuleDecls, unit: Unit, decl: syntax.Export) -> None:
    e = decl.value
    base = e.fn if isinstance(e, syntax.Call) else e.value if isinstance(e, syntax.Index) else e
    name = base.id if isinstance(base, syntax.Name) else base.name if isinstance(base, syntax.Attribute) else "?"
    entity = module.names.get(name) if isinstance(base, syntax.Name) else None
    c = checker.body(module, checker.declarer.reader(unit, unit.name), unit.name, unit.std)
    c.frames.append(Frame(None, None))
    if isinstance(base, syntax.Attribute):
        entity = check_access.qualified(c, base)
    if entity is None or entity.kind == "missing":
        if entity is None:
            known = [n for n, x in module.names.items() if x.kind in ("fn", "model")]
            checker.report("HYB603", f"there is no fn or model `{name}` to export", base.span, nearest(name, known))
        return
    sig = checker.world.sigs.get(entity.key)
    target: FnRef | ModelType | str | None = None
    match sig:
        case FnSig() if not isinstance(e, syntax.Call):
            target = _export_fn(checker, c, sig, e)
        case ModelSig():
            target = _export_model(checker, c, sig, e)
        case StructSig() | EnumSig() if e is base and not sig.params:
            target = sig.key
        case StructSig() | EnumSig():
            checker.report("HYB603", f"`{name}` is generic: its types come with the functions whose signatures need "
                        "them", decl.span)
        case _:
            checker.report("HYB603", f"`{name}` cannot be exported: a fn, a model or a type can", decl.span)
    if target is not None:
        export = tree.Export(target, decl.alias or name, decl.span)
        if _free(checker, module, export):
            module.exports.append(export)


def _free(checker: Checker, module: ModuleDecls, export: tree.Export) -> bool:
    """Is its name of nothing else? A fn may be exported for several types, a model under its own name in several
    configurations."""
    name, key = export.name, _exported(export)
    entity = module.names.get(name)
    known = checker.world.sigs.get(entity.key) if entity is not None else None
    if known is not None and known.key != key:
        checker.report("HYB202", f"`{name}` is exported, and is the name of another declaration", export.span,
                    "write another name after `as`", ((f"`{name}` is declared here", known.span),))
        return False
    for other in module.exports:
        several = isinstance(export.target, FnRef) or known is not None
        if other.name == name and (not several or _exported(other) != key or other.target == export.target):
            checker.report("HYB202", f"`{name}` is exported twice", export.span, "write another name after `as`",
                        (("it is exported here too", other.span),))
            return False
    return True


def _export_fn(checker: Checker, c: Body, sig: FnSig, e: syntax.Expr) -> FnRef | None:
    if sig.given:
        names = ", ".join(d.name for d in sig.given)
        checker.report("HYB603", f"`{sig.name}` cannot be called from outside: no argument says what {names} is",
                       e.span, "export a function that calls it")
        return None
    explicit = [b for b in sig.brackets if isinstance(b, TypeVar)]
    if isinstance(e, syntax.Index):
        types = check_generic.bracket_types(c, sig, e.items, e.span)
        return None if types is None else FnRef(sig.key, tuple(types))
    if explicit:
        shown = ", ".join(v.name for v in explicit)
        checker.report("HYB603", f"`{sig.name}` is generic: an export says for which [{shown}]", e.span,
                    f"write `export {sig.name}[f32]`")
        return None
    return FnRef(sig.key)


def _export_model(checker: Checker, c: Body, sig: ModelSig, e: syntax.Expr) -> ModelType | None:
    if not isinstance(e, syntax.Call):
        missing = [p.name for p in sig.config if not p.has_default]
        if missing:
            checker.report("HYB603", f"an export of `{sig.name}` gives its configuration: {', '.join(missing)}",
                        e.span, f"write `export {sig.name}({', '.join(n + '=...' for n in missing)})`")
            return None
        return ModelType(sig.key, tuple(p.default for p in sig.config))
    x = c.expr(e)
    t = c.finish(x).type
    return t if isinstance(t, ModelType) else None


def _exported(export: tree.Export) -> str:
    """The key of what is exported."""
    return export.target if isinstance(export.target, str) else export.target.key
