"""The road from a file to code, as literal lists of stages; each stage can be entered and printed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hybridc_runtime.more import More

from hybridc.autodiff import driver as autodiff
from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.dims import Dim
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import NOWHERE, Source
from hybridc.base.types import FnRef, FnType, ModelType, Type, TypeVar
from hybridc.checking import Checked, check, read_text
from hybridc.core import ir
from hybridc.core.interface import Interface
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.core.walk import gradients
from hybridc.front import dump, tree
from hybridc.front import lower as lowering
from hybridc.front.lower_interface import plain
from hybridc.front.lower_types import erase
from hybridc.front.parse import parse
from hybridc.link import artifact as container
from hybridc.link import pace, surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm.compile import Compiled, compile_program
from hybridc.passes import bounds, dce, fuse, inline, simplify, unpack

STAGES = ["tokens", "ast", "core", "llvm", "asm"]

PRIMAL: list[tuple[str, Callable[[ir.Program, Sequence[str]], ir.Program]]] = [
    ("prune", dce.prune),
    ("unpack", unpack.run),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("inline", inline.run),
    ("prune", dce.prune),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("dce", lambda core, roots: dce.run(core)),
]
"""What every program goes through, and those with derivatives before these are written out too."""

PASSES: list[tuple[str, Callable[[ir.Program, Sequence[str]], ir.Program]]] = [
    *PRIMAL,
    ("prune", dce.prune),
    ("fuse", lambda core, roots: fuse.run(core)),
    ("bounds", lambda core, roots: bounds.run(core)),
]
"""Core to Core, given the functions that are called from outside; the verifier runs after each."""


def lower(
    checked: Checked, *, models: Sequence[ModelType] = (), all_names: bool = False, tests: bool = False
) -> tuple[ir.Program, Interface]:
    """Core, verified, and what it offers; CompileError for what cannot be compiled."""
    core, interface, diagnostics = lowering.lower(checked.program, models=models, all_names=all_names, tests=tests)
    if diagnostics:
        raise CompileError(diagnostics, checked.sources)
    if knobs.verify():
        check_after("lower", core)
    return core, interface


def optimise(core: ir.Program, interface: Interface, sources: dict[str, Source]) -> ir.Program:
    """All passes, each followed by the verifier; CompileError for a derivative that does not exist."""
    roots = surface.symbols(interface)
    with deep_recursion():
        core = differentiated(dce.prune(core, roots), roots, sources)
        for name, run in PASSES:
            core = passed(name, run, core, roots)
    return core


def passed(
    name: str, run: Callable[[ir.Program, Sequence[str]], ir.Program], core: ir.Program, roots: Sequence[str]
) -> ir.Program:
    core = run(core, roots)
    if knobs.verify():
        check_after(name, core)
    return core


def differentiated(core: ir.Program, roots: Sequence[str], sources: dict[str, Source]) -> ir.Program:
    """With every derivative written out, of functions that have been optimised."""
    wanted = autodiff.targets(core)
    if any(gradients(fn) for fn in core.fns.values()):
        for name, run in PRIMAL:
            core = passed(name, run, core, [*roots, *wanted])
    try:
        return passed("autodiff", lambda core, _: autodiff.run(core), core, roots)
    except autodiff.Refused as refused:
        raise CompileError([Diagnostic("HYB604", refused.why, refused.op.span)], sources) from None


def native(core: ir.Program, interface: Interface, target: str = "cpu") -> Compiled:
    """Machine code for everything the interface names."""
    with deep_recursion():
        return compile_program(
            core, surface.symbols(interface), surface.types(interface, core),
            cpu=_processor(target), opt=knobs.opt_level(), once=surface.once(interface),
        )


def _processor(target: str) -> str:
    kind, _, name = target.partition(":")
    if kind != "cpu":
        message = f"there is no target {target!r}; targets are cpu and cpu:NAME"
        raise CompileError([Diagnostic("HYB701", message, NOWHERE)], {})
    return name or "host"


def artifact(
    checked: Checked, *, target: str = "cpu", all_names: bool = False, tests: bool = False,
    more: More | None = None,
) -> bytes:
    """The bytes of a `.hybx`: the exports, with `all_names` everything the file declares, but for the derivatives of
    methods, or with `more` only what that asks for."""
    models = [] if more is None else [model_type(checked.program, *m) for m in more.models]
    core, interface = lower(checked, models=models, all_names=all_names, tests=tests)
    if more is not None and more.call:
        config = [plain(c) for c in models[0].config]
        owner = next((m.struct for m in interface.models if m.key == models[0].key and m.config == config), "")
        surface.keep_call(interface, more.call, more.table, owner)
    elif more is not None:
        surface.keep_model(interface, models[0].key, core)
    if all_names and (more is None or not more.call):  # loaded, not built: it can compile more
        surface.without_derivatives(interface)
    elif more is None:
        surface.without_curvatures(interface)
    pace.mark(core, interface)  # while it still shows what is the library's
    core = optimise(core, interface, checked.sources)
    compiled = native(core, interface, target)
    name = Path(checked.path).stem
    manifest = manifest_of(name, checked.path, interface, core, compiled.sites, compiled.hosts, checked.sources)
    return container.pack(manifest, compiled, print_program(core))


def model_type(program: tree.Program, key: str, config: Sequence[Any]) -> ModelType:
    """A configuration as Python gives it, as a type."""
    decl = program.decls[key]
    assert isinstance(decl, tree.ModelDecl)
    values = []
    for param, value in zip(decl.config, config, strict=True):
        made = _config_value(program, value)
        what = f"{decl.name}() argument {param.name}"
        if isinstance(made, ModelType) != (isinstance(param.type, TypeVar) and param.type.bound == "model"):
            raise TypeError(f"{what}: expected {'a model' if not isinstance(made, ModelType) else param.type}")
        if isinstance(made, FnRef) and not _is_of(program, made, param.type):
            raise TypeError(f"{what}: expected {param.type}, and {made.key.rpartition(':')[2]} is another function")
        values.append(made)
    return ModelType(key, tuple(values))


def _config_value(program: tree.Program, value: Any) -> Any:
    match value:
        case bool() | float() | str() | None:
            return value
        case int():
            return Dim.of(value)
        case list() | tuple():
            return tuple(_config_value(program, v) for v in value)
        case {"fn": name} if isinstance(program.decls.get(program.names.get(name, name)), tree.FnDecl):
            return FnRef(program.names.get(name, name))
        case {"model": key, "config": config}:
            return model_type(program, key, config)
    kind = type(value).__name__
    raise TypeError(f"a configuration argument is an int, float, bool, str, a list of these, a function of the module "
                    f"or a model, not {kind}")


def _is_of(program: tree.Program, fn: FnRef, t: Type) -> bool:
    """Whether a function that needs no type argument is of a fn type."""
    decl = program.decls[fn.key]
    assert isinstance(decl, tree.FnDecl)
    given = FnType(tuple((p.var.type, p.mut) for p in decl.params), decl.result)
    return not decl.type_params and erase(given) == erase(t)


def emit(path: str, stage: str, *, root: str | None = None, target: str = "cpu") -> str:
    """The text of one stage of a file."""
    if stage in ("tokens", "ast"):
        source = Source(path, read_text(path))
        if stage == "tokens":
            return dump.dump_tokens(source)
        file, diagnostics = parse(source)
        if file is None or diagnostics:
            raise CompileError(diagnostics, {path: source})
        return dump.dump_ast(file)
    checked = check(path, root)
    core, interface = lower(checked)
    core = optimise(core, interface, checked.sources)
    if stage == "core":
        return print_program(core)
    compiled = native(core, interface, target)
    return compiled.llvm if stage == "llvm" else compiled.asm
