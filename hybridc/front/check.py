"""The checker: from a file to a typed program, or to all the errors in it.

    program, diagnostics, sources = check("main.hyb", read_text)

`check` never raises on any input. The standard library is checked once: `Checker(std_cache=...)` takes modules checked
before (`ModuleDecls` by name, picklable, one by one), and `std_modules()` gives those that this checker has checked;
`check` itself keeps them for the life of the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import Sources, Span
from hybridc.base.types import POISON, STD_TYPES, VOID, FnRef, ModelType, Poison, TypeVar
from hybridc.front import (
    check_access,
    check_custom,
    check_fn,
    check_generic,
    check_model,
    check_stmt,
    signatures,
    syntax,
    tree,
)
from hybridc.front.check_body import Body
from hybridc.front.config_fns import check_given
from hybridc.front.declare import Declarer
from hybridc.front.endless import endless_field, growing_fields
from hybridc.front.gradients import Wanted, check_gradients
from hybridc.front.kept import KeptModule, KeptModules
from hybridc.front.modules import Reader, Unit
from hybridc.front.scope import ConstSig, Entity, EnumSig, FnSig, Frame, ModelSig, ModuleDecls, StructSig, World
from hybridc.front.typeexpr import TypeReader, nearest

MAX_ERRORS = 200


class Checker:
    """Checks one file with everything it imports."""

    def __init__(self, text_of: Callable[[str], str], root: str | None = None,
                 std_cache: Mapping[str, ModuleDecls] | None = None,
                 std_text_of: Callable[[str], str] | None = None, std_names: frozenset[str] | None = None,
                 kept: KeptModules | None = None):
        self.std_cache = dict(std_cache or {})
        self.root = root
        self.reader = Reader(text_of, root or ".", frozenset(n.removeprefix("std.") for n in self.std_cache),
                             std_text_of, std_names, kept or KeptModules())
        self.kept = self.reader.kept
        self.sources: Sources = self.reader.sources
        self.diagnostics: list[Diagnostic] = []
        self.world = World()
        self.declarer = Declarer(self.world, self.diagnostics)
        self.prelude: dict[str, Entity] = {}
        self.std_core: dict[str, Entity] = {}
        self.prepared: set[str] = set()
        self.preparing: list[str] = []
        self.warned: dict[str, dict[Diagnostic, None]] = {}
        """By module, as the gradients."""
        self.gradients: dict[str, Wanted] = {}
        self._checking: list[str] = []
        self._checked: set[str] = set()

    # -- the run -------------------------------------------------------------------------------------------------------
    def run(self, path: str) -> tree.Program | None:
        """The typed program; None if there are errors (in `diagnostics`)."""
        if self.root is None:
            self.reader.root = os.path.dirname(path) or "."
        with deep_recursion():
            self.reader.read_prelude()
            main = self.reader.read_main(path)
            self.diagnostics += self.reader.diagnostics
            self._load_cached()
            known = self._load_kept()
            self.check_units([unit for unit in self.reader.ordered() if unit.name not in known])
        if main is None or self.diagnostics:
            for d in self.diagnostics:
                self.reader.read_shown(d.span.path, *(span.path for _, span in d.notes))
            return None
        self._keep(known)
        return self._program(main)

    def check_std(self) -> None:
        """Check every module of the standard library."""
        self.reader.read_prelude()
        for name in sorted(self.reader.std_known()):
            self.reader.read_std(name)
        self.diagnostics += self.reader.diagnostics
        self._load_cached()
        self.check_units(self.reader.ordered())

    def std_modules(self) -> dict[str, ModuleDecls]:
        """The checked standard modules, by name ("std.list"), to be given to other checkers."""
        return {n: m for n, m in self.world.modules.items() if n.startswith("std.")}

    def _load_cached(self) -> None:
        waiting = [f"std.{n}" for n in self.reader.std_used]
        while waiting:
            name = waiting.pop()
            module = self.std_cache.get(name)
            if module is None or name in self.world.modules:
                continue
            self._load(module)
            waiting += module.imports

    def _load(self, module: ModuleDecls) -> None:
        self.world.modules[module.name] = module
        self.world.sigs.update(module.sigs)
        self.world.decls.update(module.decls)

    # -- modules that were checked before ------------------------------------------------------------------------------
    def _load_kept(self) -> dict[str, KeptModule]:
        """Those of the program, by name."""
        known: dict[str, KeptModule] = {}
        for unit in self.reader.ordered():
            found = self.kept.module(unit, self.world.modules)
            if found is not None:
                known[unit.name] = found
                self._load(found.decls)
                self.warned[unit.name] = found.warnings
        return known

    def _keep(self, known: Mapping[str, KeptModule]) -> None:
        """Keep all modules of a program without errors."""
        modules = self.world.modules
        found = {}
        for unit in self.reader.ordered():
            if not unit.std:
                imports = {dotted: modules[name] for dotted, name in unit.imports.items()}
                text = self.sources[unit.path].text
                found[unit.name, unit.path] = known.get(unit.name) or KeptModule(
                    text, unit.file, imports, modules[unit.name], self.warned.get(unit.name, {}), 0)
        self.kept.keep(found)

    def check_units(self, units: list[Unit]) -> None:
        d = self.declarer
        for unit in units:
            d.names(unit)
        self._find_prelude()
        for unit in units:
            d.imports(unit)
        d.constants()
        for unit in units:
            d.params_of_types(unit)
        for unit in units:
            d.shapes(unit)
        self._refuse_endless()
        for unit in units:
            signatures.functions(d, unit)
        for unit in units:
            self._models(unit)
        for unit in units:
            self._bodies(unit)
        check_given(self)
        if not self.diagnostics:
            for name, wanted in self.gradients.items():
                check_gradients(self.world, wanted, self.report, partial(self.warn, name))

    def _refuse_endless(self) -> None:
        for sig in list(self.world.sigs.values()):
            if isinstance(sig, StructSig) and not sig.key.startswith("std."):
                field = endless_field(sig, self.world)
                if field is not None:
                    self.report("HYB310", f"`{sig.name}` would hold itself, without end, in `{field.name}`", field.span,
                                help=f"refer to it through a list or an enum: `{field.name}: list[{sig.name}]`")
        for owner, field in growing_fields(self.world):
            self.report("HYB319", f"`{owner.name}` needs itself of ever larger types, without end, in `{field.name}`",
                        field.span, help="give it the parameters that it has there")
            field.type = POISON

    def _find_prelude(self) -> None:
        for name, key in STD_TYPES.items():
            if key in self.world.sigs:
                self.prelude[name] = Entity("struct", key)
        prelude = self.world.modules.get("std.prelude")
        if prelude is not None:
            self.prelude.update({n: e for n, e in prelude.names.items() if e.key.startswith("std.prelude:")})
        core = self.world.modules.get("std.core")
        if core is not None:
            self.std_core = {n: e for n, e in core.names.items() if e.key.startswith("std.core:")}

    def _models(self, unit: Unit) -> None:
        """Members of models, then the signatures of their methods."""
        models = [m for m in unit.file.decls if isinstance(m, syntax.Model)
                  and f"{unit.name}:{m.name}" in self.declarer.types
                  and self.declarer.types[f"{unit.name}:{m.name}"][0] is m]
        for m in models:
            check_model.prepare(self, f"{unit.name}:{m.name}")
        for m in models:
            key = f"{unit.name}:{m.name}"
            sig = self.world.model(key)
            signatures.methods(self.declarer, unit, m, sig, self.declarer.types[key][1], check_access.own_type(sig),
                                  {*sig.member_names, *(p.name for p in sig.config)})

    def _bodies(self, unit: Unit) -> None:
        module = self.world.modules[unit.name]
        for key, source in list(self.declarer.fns.items()):
            if source.unit is unit:
                self.check_fn(key)
        for key, (decl, reader) in list(self.declarer.types.items()):
            if key.rpartition(":")[0] == unit.name:
                self._defaults(module, key, decl, reader)
        tests = 0
        for decl in unit.file.decls:
            if isinstance(decl, syntax.Test):
                tests += 1
                self._test(module, unit, decl, tests)
        for decl in unit.file.decls:
            if isinstance(decl, syntax.Export):
                self._export(module, unit, decl)
        module.public = {n: e.key for n, e in module.names.items()
                         if e.kind in ("fn", "struct", "enum", "model", "const")}
        module.files = (unit.path,)

    # -- bodies --------------------------------------------------------------------------------------------------------
    def body(self, module: ModuleDecls, reader: TypeReader, key: str, std: bool, model: ModelSig | None = None) -> Body:
        return Body(self, module, reader, key, std, model)

    def check_fn(self, key: str) -> None:
        """Check a function, unless that is done."""
        if key in self._checked or key not in self.declarer.fns:
            return
        self._checked.add(key)
        source = self.declarer.fns[key]
        sig = self.world.fn(key)
        module = self.world.modules[sig.module]
        self._checking.append(key)
        model = self.world.sigs.get(sig.owner) if sig.owner is not None else None
        c = self.body(module, source.reader, key, source.unit.std, model if isinstance(model, ModelSig) else None)
        c.sig = sig
        # what is not known in the body may be so for what is wrong in the signature
        c.had_errors = any(isinstance(t, Poison) for t in (sig.result, *(p.type for p in sig.params)))
        decl = self._fn_body(c, sig, source.fn)
        self._checking.pop()
        module.decls[key] = self.world.decls[key] = c.finish(decl)

    def _fn_body(self, c: Body, sig: FnSig, fn: syntax.Fn) -> tree.FnDecl:
        frame = Frame(fn, sig.result)
        c.frames.append(frame)
        written = {p.name: p for p in fn.params}
        defaults: dict[str, tree.Expr] = {}
        for p in sig.params:
            default = written[p.name].default if p.name in written else None
            if default is not None:
                if p.mut:
                    c.error("HYB506", "a `mut` parameter has no default", default.span)
                defaults[p.name] = c.typed(default, p.type, f"the default of `{p.name}`")
        params: list[tree.ParamDecl] = []
        for p in sig.params:
            var = tree.Var(f"{sig.key}.{p.name}", p.name, p.type, p.mut)
            local = c.declare(p.name, p.type, "param", p.span, p.mut, var=var)
            c._counts[p.name] = 1
            params.append(tree.ParamDecl(local.var, p.mut, defaults.get(p.name)))
        body: tuple[tree.Stmt, ...] = ()
        if sig.host is None:
            body, falls = check_stmt.block(c, fn.body)
            if sig.result is None:
                sig.result = c.resolve(frame.result) if frame.result is not None else VOID
                frame.result = sig.result
            result = c.head(sig.result)
            if falls and result != VOID and not isinstance(result, Poison):
                check_fn.missing_return(c, fn.header, sig.name, result)
        result_type = c.finish(sig.result if sig.result is not None else VOID)
        sig.result = result_type
        c.frames.pop()
        return tree.FnDecl(sig.key, sig.name, sig.type_params, sig.dims, sig.packs, tuple(params), result_type, body,
                           fn.header, sig.owner, sig.host, sig.doc, check_custom.custom_grad(c, sig, fn))

    def ensure_result(self, c: Body, sig: FnSig, span: Span) -> None:
        """The result type of a function that does not say it comes from its body."""
        if sig.result is not None:
            return
        if sig.key in self._checking:
            c.error("HYB316", f"`{sig.name}` calls itself, so its result type must be written", span,
                    help=f"write `fn {sig.name}(...) -> int:`")
            return
        self.check_fn(sig.key)
        if sig.result is None:
            sig.result = POISON

    def _defaults(self, module: ModuleDecls, key: str, decl: object, reader: TypeReader) -> None:
        """Defaults of fields."""
        sig = self.world.type(key)
        if isinstance(sig, StructSig) and isinstance(decl, syntax.Struct):
            fields = self._field_decls(module, key, decl.fields, sig.fields, reader)
            module.decls[key] = tree.StructDecl(key, sig.name, sig.params, fields, sig.methods, sig.span, decl.doc)
        elif isinstance(sig, EnumSig) and isinstance(decl, syntax.Enum):
            cases = tuple(
                tree.CaseDecl(k.name, self._field_decls(module, key, k.fields or (), sig.cases[k.name], reader))
                for k in {k.name: k for k in reversed(decl.cases)}.values())
            order = list(sig.cases)
            module.decls[key] = tree.EnumDecl(key, sig.name, sig.params,
                                              tuple(sorted(cases, key=lambda k: order.index(k.name))), sig.methods,
                                              sig.span, decl.doc)
        if key in module.decls:
            self.world.decls[key] = module.decls[key]

    def _field_decls(self, module: ModuleDecls, key: str, params: tuple[syntax.Param, ...], sigs: object,
                     reader: TypeReader) -> tuple[tree.FieldDecl, ...]:
        written = {p.name: p for p in reversed(params)}
        out: list[tree.FieldDecl] = []
        for f in sigs:  # type: ignore[attr-defined]
            default = written[f.name].default
            x = None
            if default is not None:
                c = self.body(module, reader, f"{key}.{f.name}", reader.std)
                c.had_errors = isinstance(f.type, Poison)
                c.frames.append(Frame(None, None))
                x = c.finish(c.typed(default, f.type, f"the default of `{f.name}`"))
            out.append(tree.FieldDecl(f.name, f.type, x))
        return tuple(out)

    def _test(self, module: ModuleDecls, unit: Unit, decl: syntax.Test, number: int) -> None:
        key = f"{unit.name}:test#{number}"
        c = self.body(module, self.declarer.reader(unit, key), key, unit.std)
        c.frames.append(Frame(None, VOID))
        body, _ = check_stmt.block(c, decl.body)
        fn = tree.FnDecl(key, decl.name, (), (), (), (), VOID, body, decl.span)
        module.decls[key] = self.world.decls[key] = c.finish(fn)
        module.tests.append(tree.Test(decl.name, key, decl.span))

    # -- exports -------------------------------------------------------------------------------------------------------
    def _export(self, module: ModuleDecls, unit: Unit, decl: syntax.Export) -> None:
        e = decl.value
        base = e.fn if isinstance(e, syntax.Call) else e.value if isinstance(e, syntax.Index) else e
        name = base.id if isinstance(base, syntax.Name) else base.name if isinstance(base, syntax.Attribute) else "?"
        entity = module.names.get(name) if isinstance(base, syntax.Name) else None
        c = self.body(module, self.declarer.reader(unit, unit.name), unit.name, unit.std)
        c.frames.append(Frame(None, None))
        if isinstance(base, syntax.Attribute):
            entity = check_access.qualified(c, base)
        if entity is None or entity.kind == "missing":
            if entity is None:
                known = [n for n, x in module.names.items() if x.kind in ("fn", "model")]
                self.report("HYB603", f"there is no fn or model `{name}` to export", base.span, nearest(name, known))
            return
        sig = self.world.sigs.get(entity.key)
        target: FnRef | ModelType | str | None = None
        match sig:
            case FnSig() if not isinstance(e, syntax.Call):
                target = self._export_fn(c, sig, e)
            case ModelSig():
                target = self._export_model(c, sig, e)
            case StructSig() | EnumSig() if e is base and not sig.params:
                target = sig.key
            case StructSig() | EnumSig():
                self.report("HYB603", f"`{name}` is generic: its types come with the functions whose signatures need "
                            "them", decl.span)
            case _:
                self.report("HYB603", f"`{name}` cannot be exported: a fn, a model or a type can", decl.span)
        if target is not None:
            export = tree.Export(target, decl.alias or name, decl.span)
            if self._free(module, export):
                module.exports.append(export)

    def _free(self, module: ModuleDecls, export: tree.Export) -> bool:
        """Is its name of nothing else? A fn may be exported for several types, a model under its own name in several
        configurations."""
        name, key = export.name, _exported(export)
        entity = module.names.get(name)
        known = self.world.sigs.get(entity.key) if entity is not None else None
        if known is not None and known.key != key:
            self.report("HYB202", f"`{name}` is exported, and is the name of another declaration", export.span,
                        "write another name after `as`", ((f"`{name}` is declared here", known.span),))
            return False
        for other in module.exports:
            several = isinstance(export.target, FnRef) or known is not None
            if other.name == name and (not several or _exported(other) != key or other.target == export.target):
                self.report("HYB202", f"`{name}` is exported twice", export.span, "write another name after `as`",
                            (("it is exported here too", other.span),))
                return False
        return True

    def _export_fn(self, c: Body, sig: FnSig, e: syntax.Expr) -> FnRef | None:
        explicit = [b for b in sig.brackets if isinstance(b, TypeVar)]
        if isinstance(e, syntax.Index):
            types = check_generic.bracket_types(c, sig, e.items, e.span)
            return None if types is None else FnRef(sig.key, tuple(types))
        if explicit:
            shown = ", ".join(v.name for v in explicit)
            self.report("HYB603", f"`{sig.name}` is generic: an export says for which [{shown}]", e.span,
                        f"write `export {sig.name}[f32]`")
            return None
        return FnRef(sig.key)

    def _export_model(self, c: Body, sig: ModelSig, e: syntax.Expr) -> ModelType | None:
        if not isinstance(e, syntax.Call):
            missing = [p.name for p in sig.config if not p.has_default]
            if missing:
                self.report("HYB603", f"an export of `{sig.name}` gives its configuration: {', '.join(missing)}",
                            e.span, f"write `export {sig.name}({', '.join(n + '=...' for n in missing)})`")
                return None
            return ModelType(sig.key, tuple(p.default for p in sig.config))
        x = c.expr(e)
        t = c.finish(x).type
        return t if isinstance(t, ModelType) else None

    # -- the result ----------------------------------------------------------------------------------------------------
    def _program(self, main: str) -> tree.Program:
        module = self.world.modules[main]
        program = tree.Program(main, dict(self.world.decls), list(module.exports), list(module.tests),
                               dict(module.public))
        program.files = list(self.sources)
        program.doc = self.reader.units[main].file.doc
        sigs = {name: self.world.sigs.get(key) for name, key in module.public.items()}
        program.constants = {name: sig.value for name, sig in sigs.items() if isinstance(sig, ConstSig)}
        return program

    def report(self, code: str, message: str, span: Span, help: str | None = None,
               notes: tuple[tuple[str, Span], ...] = ()) -> None:
        found = Diagnostic(code, message, span, help, notes)
        if found not in self.diagnostics and len(self.diagnostics) < MAX_ERRORS:
            self.diagnostics.append(found)

    def warn(self, module: str, code: str, message: str, span: Span, help: str | None = None) -> None:
        """What is allowed, and may not be meant; `module` is the one for which it is found out."""
        self.warned.setdefault(module, {})[Diagnostic(code, message, span, help, severity="warning")] = None

    @property
    def warnings(self) -> list[Diagnostic]:
        return list({d: None for unit in self.reader.ordered() for d in self.warned.get(unit.name, ())})

    def forgive(self, since: int, codes: tuple[str, ...]) -> None:
        """Take back later messages of these kinds: they follow from what was reported before."""
        self.diagnostics[since:] = [d for d in self.diagnostics[since:] if d.code not in codes]

    def text(self, span: Span) -> str:
        """The text of a span."""
        source = self.sources.get(span.path)
        return source.text[span.start:span.end] if source is not None else ""


def _exported(export: tree.Export) -> str:
    """The key of what is exported."""
    return export.target if isinstance(export.target, str) else export.target.key


_STD: dict[str, ModuleDecls] = {}
"""Standard modules checked in this process, without errors."""


def check(path: str, text_of: Callable[[str], str], root: str | None = None,
          std_cache: Mapping[str, ModuleDecls] | None = None
          ) -> tuple[tree.Program | None, list[Diagnostic], Sources]:
    """The typed program of a file, its errors, and every file that was read. The program is None if there are errors.
    `root` is where imports are looked up beside the importing file; by default the file's folder."""
    checker = Checker(text_of, root, std_cache if std_cache is not None else _STD)
    program = checker.run(path)
    if std_cache is None and not any(d.span.path.startswith("<std>") for d in checker.diagnostics):
        _STD.update(checker.std_modules())
    return program, checker.diagnostics, checker.sources


