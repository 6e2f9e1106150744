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
from hybridc.base.source import Sources, Span, in_file
from hybridc.base.types import INT, POISON, STD_TYPES, VOID, Option, Poison, Type
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    custom as check_custom,
)
from hybridc.front.check import (
    export as check_export,
)
from hybridc.front.check import (
    fn as check_fn,
)
from hybridc.front.check import (
    model as check_model,
)
from hybridc.front.check import (
    signatures,
    tree,
)
from hybridc.front.check import (
    stmt as check_stmt,
)
from hybridc.front.check.body import Body
from hybridc.front.check.config_fns import check_given
from hybridc.front.check.declare import Declarer
from hybridc.front.check.endless import MOST, endless_field, endless_states, growing_fields, large_field
from hybridc.front.check.gradients import check_gradients
from hybridc.front.check.kept import Aside, KeptBody, KeptModule, KeptModules, without_marks
from hybridc.front.check.outline import Outline, outline_of
from hybridc.front.check.same import same
from hybridc.front.check.scope import ConstSig, Entity, EnumSig, FnSig, Frame, ModelSig, ModuleDecls, StructSig, World
from hybridc.front.check.typeexpr import TypeReader
from hybridc.front.parse import syntax
from hybridc.front.parse.modules import Reader, Unit

MAX_ERRORS = 200


class Checker:
    """Checks one file with everything it imports."""

    def __init__(self, text_of: Callable[[str], str], root: str | None = None,
                 std_cache: Mapping[str, ModuleDecls] | None = None,
                 std_text_of: Callable[[str], str] | None = None, std_names: frozenset[str] | None = None,
                 kept: KeptModules | None = None):
        self.std_cache = dict(std_cache or {})
        self.root = root
        self.kept = kept or KeptModules()
        self.reader = Reader(text_of, root or ".", frozenset(n.removeprefix("std.") for n in self.std_cache),
                             std_text_of, std_names, self.kept.before)
        self.sources: Sources = self.reader.sources
        self.diagnostics: list[Diagnostic] = []
        self.world = World()
        self.declarer = Declarer(self.world, self.diagnostics)
        self.prelude: dict[str, Entity] = {}
        self.std_core: dict[str, Entity] = {}
        self.prepared: set[str] = set()
        self.preparing: list[str] = []
        self.asides: dict[str, dict[str, Aside]] = {}
        """By module, and by function or test: what bodies have beside their trees."""
        self.outlines: dict[str, Outline] = {}
        self.bodies: dict[str, dict[str, KeptBody]] = {}
        self._again: dict[str, KeptBody] = {}
        """The bodies of before, of modules that look as they did."""
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
                self.diagnostics = [d.in_file(self.sources) for d in self.diagnostics]
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
                self.asides[unit.name] = {"": Aside(warnings=found.warnings)}
        return known

    def _settle(self, unit: Unit) -> None:
        """Declarations that are what they were are those of before."""
        before = self.kept.before(unit.name, unit.path)
        if before is not None:
            module, bodies = self.world.modules[unit.name], self.bodies.get(unit.name, {})
            for key, old in before.decls.decls.items():
                if key in module.decls and same(old, module.decls[key]):
                    module.decls[key] = self.world.decls[key] = old
                    if key in bodies:
                        bodies[key].decl = old  # type: ignore[assignment]

    def _keep(self, known: Mapping[str, KeptModule]) -> None:
        """Keep all modules of a program without errors."""
        for unit in self.reader.ordered():
            if unit.name not in known and not unit.std:
                self._settle(unit)
        found = {}
        for unit in self.reader.ordered():
            if not unit.std:
                bodies = without_marks(self.bodies.get(unit.name, {}), self.world.sigs)
                found[unit.name, unit.path] = known.get(unit.name) or KeptModule(
                    self.sources[unit.path], unit.file, unit.parts, self.outlines[unit.name], bodies,
                    self.world.modules[unit.name], self._warnings(unit))
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
            d.defaults(unit)
        for unit in units:
            d.shapes(unit)
        self._refuse_endless()
        for unit in units:
            signatures.functions(d, unit)
        for unit in units:
            self._models(unit)
        for model, state in endless_states(self.world):
            self.report("HYB310", f"`{model.name}` would hold itself, without end, in `{state.name}`", state.span,
                        help=f"hold it in a list, which may be empty: `state {state.name}: list[...] = []`")
        for unit in units:
            self._outline(unit)
        for unit in units:
            self._bodies(unit)
        check_given(self)
        if not self.diagnostics:
            for unit in units:
                wanted = [w for aside in self.asides.get(unit.name, {}).values() for w in aside.gradients]
                check_gradients(self.world, wanted, self.report, partial(self.warn, unit.name))

    def _outline(self, unit: Unit) -> None:
        """What bodies are checked by, and the bodies of before if that is what it was."""
        if unit.std:
            return
        fns = {key: source.fn for key, source in self.declarer.fns.items() if source.unit is unit}
        outline = self.outlines[unit.name] = outline_of(unit, self.world.modules, fns)
        before = self.kept.before(unit.name, unit.path)
        if before is not None and not unit.broken and before.outline.like(outline):
            self._again.update(before.bodies)

    def _refuse_endless(self) -> None:
        structs = [s for s in self.world.sigs.values() if isinstance(s, StructSig) and not s.key.startswith("std.")]
        endless = [(sig, field) for sig in structs if (field := endless_field(sig, self.world)) is not None]
        for sig, field in endless:
            self.report("HYB310", f"`{sig.name}` would hold itself, without end, in `{field.name}`", field.span,
                        help=f"refer to it through a list or an enum: `{field.name}: list[{sig.name}]`")
        known: dict[Type, int] = {}
        for sig in structs if not endless else ():
            if (field := large_field(sig, self.world, known)) is not None:
                item = field.type.item if isinstance(field.type, Option) else field.type
                self.report("HYB310", f"with `{field.name}` a `{sig.name}` has more than {MOST} parts, all of which "
                            "are copied with it", field.span,
                            help=f"refer to it through a list: `{field.name}: list[{item}]`")
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
                check_export.export(self, module, unit, decl)
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
        model = self.world.sigs.get(sig.owner) if sig.owner is not None else None
        if self._taken(module, key, source.fn):
            sig.result = self._again[key].decl.result
            return
        self._checking.append(key)
        c = self.body(module, source.reader, key, source.unit.std, model if isinstance(model, ModelSig) else None)
        c.sig = sig
        # what is not known in the body may be so for what is wrong in the signature
        c.had_errors = any(isinstance(t, Poison) for t in (sig.result, *(p.type for p in sig.params)))
        decl = self._fn_body(c, sig, source.fn)
        decl = c.finish(decl)
        self._checking.pop()
        self._made(module, key, source.fn, decl)

    def _taken(self, module: ModuleDecls, key: str, node: syntax.Fn | syntax.Test) -> bool:
        """Take a body of before, if there is that of this syntax."""
        found = self._again.get(key)
        if found is None or found.syntax is not node:
            return False
        self.asides.setdefault(module.name, {})[key] = found.aside
        self._made(module, key, node, found.decl)
        return True

    def _made(self, module: ModuleDecls, key: str, node: syntax.Fn | syntax.Test, decl: tree.FnDecl) -> None:
        module.decls[key] = self.world.decls[key] = decl
        aside = self.asides.get(module.name, {}).get(key) or Aside()
        self.bodies.setdefault(module.name, {})[key] = KeptBody(node, decl, aside)

    def aside(self, module: str) -> Aside:
        """Of the body that is being checked."""
        return self.asides.setdefault(module, {}).setdefault(self._checking[-1] if self._checking else "", Aside())

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
        params += [tree.ParamDecl(tree.Var(f"{d.key} given", d.name, INT), False, None) for d in sig.given]
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
                           fn.header, sig.owner, sig.host, sig.doc, check_custom.custom_grad(c, sig, fn), sig.given)

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
        module.tests.append(tree.Test(decl.name, key, decl.span))
        if self._taken(module, key, decl):
            return
        self._checking.append(key)
        c = self.body(module, self.declarer.reader(unit, key), key, unit.std)
        c.frames.append(Frame(None, VOID))
        body, _ = check_stmt.block(c, decl.body)
        fn = tree.FnDecl(key, decl.name, (), (), (), (), VOID, body, decl.span)
        fn = c.finish(fn)
        self._checking.pop()
        self._made(module, key, decl, fn)

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
        self.aside(module).warnings[Diagnostic(code, message, span, help, severity="warning")] = None

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for unit in self.reader.ordered()
                for d in sorted({d.in_file(self.sources): None for d in self._warnings(unit)}, key=_place)]

    def _warnings(self, unit: Unit) -> dict[Diagnostic, None]:
        return {d: None for aside in self.asides.get(unit.name, {}).values() for d in aside.warnings}

    def forgive(self, since: int, codes: tuple[str, ...]) -> None:
        """Take back later messages of these kinds: they follow from what was reported before."""
        self.diagnostics[since:] = [d for d in self.diagnostics[since:] if d.code not in codes]

    def text(self, span: Span) -> str:
        """The text of a span."""
        span = in_file(span, self.sources)
        source = self.sources.get(span.path)
        return source.text[span.start:span.end] if source is not None else ""


def _place(d: Diagnostic) -> tuple[int, str]:
    return d.span.start, d.code


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


