"""The road from a file to code, as literal lists of stages; each stage can be entered and printed alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridc_runtime.more import More
from hybridc_runtime.packed import packed

from hybridc.autodiff import driver as autodiff
from hybridc.autodiff.tangent import Tangents
from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.dims import Dim
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import NOWHERE, Source, Sources, in_file
from hybridc.base.targets import UnknownTarget, parse_targets
from hybridc.base.types import FnRef, FnType, ModelType, Named, TupleType, Type, TypeVar, show_config
from hybridc.checking import Checked, check, read_text
from hybridc.core import ir
from hybridc.core.interface import Interface
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.core.walk import gradients, map_spans, mentions
from hybridc.front.check import tree
from hybridc.front.check.config_fns import fits
from hybridc.front.check.scope import ParamSig, World
from hybridc.front.lower import program as lowering
from hybridc.front.lower.interface import Leading, plain
from hybridc.front.lower.kept import KeptFns
from hybridc.front.parse import dump
from hybridc.front.parse.parser import parse
from hybridc.kernels.device import Kernels, refusal
from hybridc.kernels.show import show_kernels
from hybridc.link import artifact as container
from hybridc.link import cache, pace, stays, surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm import processors
from hybridc.llvm.compile import Compiled, compile_for
from hybridc.llvm.module import Tables
from hybridc.passes import (
    add_into,
    ahead,
    apart,
    bounds,
    cases,
    dce,
    fuse,
    guard,
    inline,
    into_part,
    invariant,
    one_loop,
    options,
    place,
    prefetch,
    reassociate,
    recognise,
    remainders,
    reuse,
    scalars,
    share,
    simplify,
    sink,
    spread,
    tables,
    trap,
    unpack,
    whole,
)
from hybridc.triton import binaries
from hybridc.triton.source import KernelInfo, module_of, record

STAGES = ["tokens", "ast", "core", "kernels", "llvm", "asm", "triton", "ptx"]
"""What can be printed."""
RECOGNISER = recognise.Recogniser()
LOWERED = KeptFns()
EXAMPLE_GPU = "cuda:sm_90"
"""The GPU whose machine code is printed where none is named."""

Pass = Callable[[ir.Program, Sequence[str]], ir.Program]
Passes = list[tuple[str, Pass]]

PRIMAL: Passes = [
    ("prune", dce.prune),
    ("unpack", unpack.run),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("inline", inline.run),
    ("prune", dce.prune),
    ("options", lambda core, roots: options.run(core)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("scalars", scalars.run),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("ahead", lambda core, roots: ahead.run(core)),
    ("dce", lambda core, roots: dce.run(core)),
]
"""What every program goes through, and those with derivatives before these are written out too."""

PASSES: Passes = [
    *PRIMAL,
    ("one_loop", lambda core, roots: one_loop.run(core)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("dce", lambda core, roots: dce.run(core)),
    ("reuse", lambda core, roots: reuse.run(core)),
    ("prune", dce.prune),
    ("spread", lambda core, roots: spread.run(core)),
    ("share", lambda core, roots: share.run(core)),
    ("sink", lambda core, roots: sink.run(core)),
    ("fuse", lambda core, roots: fuse.run(core)),
    ("add_into", lambda core, roots: add_into.run(core)),
    ("into_part", lambda core, roots: into_part.run(core)),
    ("invariant", lambda core, roots: invariant.run(core)),
    ("tables", lambda core, roots: tables.run(core)),
    ("remainders", lambda core, roots: remainders.run(core)),
    ("bounds", lambda core, roots: bounds.run(core)),
    ("prefetch", lambda core, roots: prefetch.run(core)),
    ("reassociate", lambda core, roots: reassociate.run(core)),
]
"""Core to Core, given the functions that are called from outside; `optimise` says when the verifier runs."""

DEVICE_PRIMAL = [(name, run) for name, run in PRIMAL if name != "scalars"]
"""Elements of a GPU's tensors do not go to the host one by one."""

DEVICE_PASSES: Passes = [
    *DEVICE_PRIMAL,
    ("inline", lambda core, roots: inline.run(core, roots, tensors=True)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("ahead", lambda core, roots: ahead.run(core)),
    ("dce", lambda core, roots: dce.run(core)),
    ("prune", dce.prune),
    ("spread", lambda core, roots: spread.run(core)),
    ("sink", lambda core, roots: sink.run(core)),
    ("fuse", lambda core, roots: fuse.run(core, refusal)),
    ("place", lambda core, roots: place.run(core, everything=knobs.place_everything())),
    ("bounds", lambda core, roots: bounds.run(core)),
    ("prefetch", lambda core, roots: prefetch.run(core)),
]
"""The same for a program with its kernels on a GPU."""


def lower(
    checked: Checked, *, models: Sequence[ModelType] = (), all_names: bool = False, tests: bool = False,
    leading: Leading | None = None, later: bool = False,
) -> tuple[ir.Program, Interface]:
    """Core, and what it offers; CompileError for what cannot be compiled. If each pass is verified, so is this, unless
    it is to be `later`, when functions have been recognised; then those that were lowered before are taken again, and
    places count from where declarations begin."""
    kept = LOWERED if later else None
    core, interface, diagnostics = lowering.lower(checked.program, models, all_names, tests, leading, kept)
    if diagnostics:
        raise CompileError(diagnostics, checked.sources)
    if later:
        return core, interface
    if knobs.verify_each():
        check_after("lower", core)
    return in_files(core, checked.sources), interface


def in_files(core: ir.Program, sources: Sources) -> ir.Program:
    """With all places in their files."""
    fns = {name: map_spans(fn, lambda span: in_file(span, sources)) for name, fn in core.fns.items()}
    return ir.Program(core.structs, core.enums, fns)


def optimise(
    core: ir.Program, interface: Interface, sources: dict[str, Source], *, device: bool = False, guarded: bool = False,
    origins: recognise.Origins | None = None,
) -> ir.Program:
    """All passes; CompileError for a derivative that does not exist. `guarded`: with the checks of Core that somebody
    else made. `origins`: its functions are those of the RECOGNISER. What they give is verified; if it is not well
    formed, or one of them breaks down, so is what each of them gives: CoreError names the first with a mistake."""
    each = knobs.verify_each()

    def made(each: bool) -> ir.Program:
        return _optimised(core, interface, sources, device=device, guarded=guarded, origins=origins, each=each)

    with deep_recursion():
        if each or not knobs.verify():
            return made(each)
        try:
            better = made(each=False)
            check_after("all passes", better, ir.Program())
        except CompileError:
            raise
        except Exception:
            check_after("lower", core)
            made(each=True)
            raise
        return better


def _optimised(
    core: ir.Program, interface: Interface, sources: dict[str, Source], *, device: bool, guarded: bool,
    origins: recognise.Origins | None, each: bool,
) -> ir.Program:
    roots = surface.symbols(interface)
    core = reached(core, interface, not each)
    if knobs.trap_nan():  # before anything is inlined, so that every operator still knows its place
        core = passed("trap", lambda core, _: trap.run(core, ()), core, roots, each)
    seen = set(core.fns)
    core = differentiated(core, roots, sources, origins, DEVICE_PRIMAL if device else PRIMAL, each)
    if origins:
        core = RECOGNISER.made(core)
    if knobs.trap_nan():
        core = passed("trap", lambda core, _: trap.run(core, seen), core, roots, each)
    if guarded:
        core = passed("guard", lambda core, roots: guard.run(core, roots, interface), core, roots, each)
    for name, run in DEVICE_PASSES if device else PASSES:
        core = passed(name, run, core, roots, each)
    return core


def reached(core: ir.Program, interface: Interface, later: bool = False) -> ir.Program:
    """The functions that can be called, and in them what can happen. It is verified `later`."""
    roots = surface.symbols(interface)
    core = dce.prune(core, roots)
    enums = surface.enums(interface, core)
    core = passed("cases", lambda core, _: cases.run(core, enums), core, roots, not later)
    return dce.prune(core, roots)


def recognised(core: ir.Program, sources: Sources) -> tuple[ir.Program, recognise.Origins]:
    """With the functions that this process has compiled before in their places; those that are new are verified if
    each pass is."""
    origins: recognise.Origins = {}
    if knobs.trap_nan():  # which writes places into the program
        core = in_files(core, sources)
    else:
        core, origins = RECOGNISER.program(core)
    if knobs.verify_each():
        check_after("lower", core, ir.Program())
    return core, origins


def passed(name: str, run: Pass, core: ir.Program, roots: Sequence[str], each: bool = True) -> ir.Program:
    """What a pass makes, verified if `each` is."""
    before = ir.Program(dict(core.structs), dict(core.enums), dict(core.fns))  # a pass may add to its own
    core = run(core, roots)
    if each and knobs.verify():
        check_after(name, core, before)
    return core


def differentiated(
    core: ir.Program, roots: Sequence[str], sources: dict[str, Source], origins: recognise.Origins | None = None,
    primal: Passes = PRIMAL, each: bool = True,
) -> ir.Program:
    """With every derivative written out, of functions that have been optimised: those that are differentiated or take
    derivatives, and what they call. `origins` as `optimise` has them, `each` as `passed` has it."""
    wanted = autodiff.targets(core)
    if any(gradients(fn) for fn in core.fns.values()):
        core = passed("apart", lambda core, _: apart.run(core, roots, wanted, Tangents(core).active), core, roots, each)
        for name, run in [*primal, ("share", lambda core, _: share.run(core))]:
            core = _within(core, name, run, roots, wanted, each)
        core = passed("whole", lambda core, _: whole.run(core, wanted, Tangents(core).active), core, roots, each)
    try:
        return passed("autodiff", lambda core, _: autodiff.run(core), core, roots, each)
    except autodiff.Refused as refused:
        place = recognise.absolute(refused.op.span, origins or {})
        raise CompileError([Diagnostic("HYB604", refused.why, place)], sources) from None


ON_BOTH_SIDES = ("prune", "unpack", "scalars")
"""Passes that change what a call looks like, on both of its sides."""


def _within(
    core: ir.Program, name: str, run: Pass, roots: Sequence[str], wanted: Sequence[str], each: bool
) -> ir.Program:
    """A pass before derivatives are written out: over what is `wanted` for them, and who takes them. The rest is
    optimised afterwards, with them."""
    if name in ON_BOTH_SIDES:
        return passed(name, run, core, [*roots, *wanted], each)
    inner = dce.prune(core, [*wanted, *(n for n, fn in core.fns.items() if gradients(fn))])
    others = {n: fn for n, fn in core.fns.items() if n not in inner.fns}
    held = {*roots, *(n for fn in others.values() for n in mentions(fn))} & inner.fns.keys()
    made = passed(name, run, inner, [*wanted, *sorted(held)], each)
    stay = {n: made.fns.get(n, fn) for n, fn in core.fns.items() if n in others or n in made.fns}
    return ir.Program(made.structs, made.enums, {**stay, **made.fns})


def native(core: ir.Program, interface: Interface, cpus: Sequence[str]) -> list[Compiled]:
    """Machine code of everything the interface names, for each of these processors."""
    with deep_recursion():
        return compile_for(
            core, surface.symbols(interface), surface.types(interface, core),
            cpus=cpus, opt=knobs.opt_level(), once=surface.once(interface, core), kept=cache.OBJECTS,
        )


def gpus_of(target: str) -> list[str]:
    """The GPUs that targets name."""
    return [f"{kind}:{name}" for kind, name in parse_targets(target) if kind != "cpu"]


def processors_of(target: str) -> list[str]:
    """The processors that targets name: `cpu` is this one and the levels that others have, the most demanding first."""
    found: dict[str, None] = {}
    named = [name for kind, name in parse_targets(target) if kind == "cpu"]
    for name in named or [""]:
        found.update(dict.fromkeys([name] if name else [processors.HOST, *processors.levels()]))
    try:
        return sorted(found, key=lambda cpu: -len(processors.features(cpu)))
    except ValueError as e:
        raise UnknownTarget(str(e)) from None


@dataclass
class Built:
    """An artifact, and what it offers."""

    data: bytes
    interface: Interface
    core: ir.Program


def build(checked: Checked, target: str = "cpu", weights: Mapping[str, str] | None = None) -> Built:
    """The artifact of what a program exports, with the values of exported models from files (name -> path); ValueError
    for one that does not fit, OSError for one that cannot be read."""
    cpus = processors_of(target)
    core, interface = lower(checked)
    surface.without_curvatures(interface)
    return finish(core, interface, checked.path, checked.sources, cpus, gpus=gpus_of(target), weights=weights)


def finish(
    core: ir.Program, interface: Interface, path: str, sources: Sources, cpus: Sequence[str], *, portable: bool = True,
    files: Sequence[tuple[str, str]] | None = None, gpus: Sequence[str] = (), launched: bool = False,
    weights: Mapping[str, str] | None = None, values: Mapping[str, bytes] | None = None, guarded: bool = False,
    again: bool = False,
) -> Built:
    """From Core to an artifact, which holds the Core too if it is to be `portable`. `files` are the sources that it was
    made from with their digests, if `sources` is not all of them. Code for `gpus`, or with `launched` what the launcher
    that interprets kernels needs, is an artifact within. `weights` are files with the values of exported models;
    `values` are such values as an artifact has them. `guarded` as `optimise` has it. `again`: it is likely that this
    process compiles much of it again."""
    core = reached(core, interface, again or not knobs.verify_each())
    pace.mark(core, interface)  # while it still shows what is the library's
    text = print_program(in_files(core, sources) if again else core) if portable else ""
    given = {**(values or {}), **with_weights(interface, core, weights or {})}
    origins: recognise.Origins = {}
    if again:
        core, origins = recognised(core, sources)
    better = optimise(core, interface, sources, guarded=guarded, origins=origins)
    pace.mark(better, interface)
    stays.mark(better, interface)
    codes = native(better, interface, cpus)
    manifest = manifest_of(Path(path).stem, path, interface, better, codes[0].tables, sources, origins)
    more = [container.values(name, data) for name, data in sorted(given.items())]
    if gpus or launched:
        more.append(container.within(launchable(core, interface, path, sources, cpus, gpus, guarded, origins)))
    return Built(container.pack(manifest, codes, text, files or container.digests(sources), more), interface, core)


def with_weights(interface: Interface, core: ir.Program, weights: Mapping[str, str]) -> dict[str, bytes]:
    """The values of exported models from files (name -> path), found out before the work of compiling."""
    if not weights:
        return {}
    manifest = manifest_of("", "", interface, core, Tables(), {}, {})
    found = {}
    for name, file in weights.items():
        try:
            found[name] = packed(manifest, name, file)
        except OSError as e:
            raise OSError(f"--weights {name}={file}: {e.strerror or e}") from None
        except ValueError as e:
            raise ValueError(f"--weights {name}={file}: {e}") from None
    return found


def launchable(
    core: ir.Program, interface: Interface, path: str, sources: Sources, cpus: Sequence[str], gpus: Sequence[str],
    guarded: bool, origins: recognise.Origins,
) -> bytes:
    """The artifact of a program with its kernels on a GPU: host code that launches them, their Triton source, and their
    machine code."""
    name = Path(path).stem
    better = optimise(core, interface, sources, device=True, guarded=guarded, origins=origins)
    stays.mark(better, interface)
    codes = native(better, interface, cpus)
    manifest = manifest_of(name, path, interface, better, codes[0].tables, sources, origins)
    source, infos = module_of(name, codes[0].tables.kernels)
    try:
        made = [b for gpu in gpus for b in binaries.build(*module_of(name, codes[0].tables.kernels, gpu), [gpu])]
    except binaries.Failed as failed:
        raise CompileError([Diagnostic("HYB703", str(failed), NOWHERE)], {}) from None
    members = [container.triton(source, record(infos)), *map(container.binary, made)]
    return container.pack(manifest, codes, "", [], members)


def kernels_of(path: str, root: str | None = None) -> Kernels:
    """What of a file a GPU runs."""
    checked = check(path, root)
    core, interface = lower(checked)
    surface.without_curvatures(interface)
    better = optimise(core, interface, checked.sources, device=True)
    return native(better, interface, processors_of("cpu")[:1])[0].tables.kernels


def artifact(
    checked: Checked, *, all_names: bool = False, tests: bool = False, more: More | None = None, portable: bool = True,
    launched: bool = False,
) -> bytes:
    """The bytes of a `.hybx` for this processor: the exports, with `all_names` everything the file declares, but for
    the derivatives of methods, or with `more` only what that asks for; without Core if it need not be `portable`; with
    `launched` for launchers too."""
    models = [] if more is None else [model_type(checked.program, *m) for m in more.models]
    owner = models[0] if more is not None and (more.table != "fns" or not more.call) else None
    leading = None if more is None or not more.leading else Leading(more.call, owner, dict(more.leading))
    core, interface = lower(checked, models=models, all_names=all_names, tests=tests, leading=leading, later=True)
    if more is not None and more.call:
        structs = (m.struct for m in interface.models
                   if owner is not None and (m.key, m.config) == (owner.key, [plain(c) for c in owner.config]))
        surface.keep_call(interface, more.call, more.table, next(structs, ""))
    elif more is not None:
        surface.keep_model(interface, models[0].key, core)
    if all_names and (more is None or not more.call):  # loaded, not built: it can compile more
        surface.without_derivatives(interface)
    elif more is None:
        surface.without_curvatures(interface)
    cpus = [processors.HOST]
    sources = checked.sources
    return finish(core, interface, checked.path, sources, cpus, portable=portable, launched=launched, again=True).data


def model_type(program: tree.Program, key: str, config: Sequence[Any]) -> ModelType:
    """A configuration as Python gives it, as a type."""
    decl = program.decls[key]
    assert isinstance(decl, tree.ModelDecl)
    values = []
    for param, value in zip(decl.config, config, strict=True):
        made = _config_value(program, value)
        _check_config(program, f"{decl.name}() argument {param.name}", made, param.type)
        values.append(made)
    return ModelType(key, tuple(values))


def _check_config(program: tree.Program, what: str, made: Any, t: Type) -> None:
    """TypeError for a function or a model where another function, or no model, is expected; in lists too."""
    match made, t:
        case tuple(), Named(_, (item,)):
            for x in made:
                _check_config(program, what, x, item)  # type: ignore[arg-type]
        case tuple(), TupleType(items):
            for x, k in zip(made, items):
                _check_config(program, what, x, k)
        case _:
            asked = isinstance(t, TypeVar) and t.bound == "model"
            if isinstance(made, ModelType) != asked:
                raise TypeError(f"{what}: expected {'a model' if asked else f'{t}, found the model {made}'}")
            if isinstance(made, FnRef) and not _is_of(program, made, t):
                raise TypeError(f"{what}: expected {t}, and {show_config(made)} is another function")


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
    """Whether a function is of a fn type."""
    decl = program.decls[fn.key]
    assert isinstance(decl, tree.FnDecl)
    params = [ParamSig(p.var.name, p.var.type, p.mut, p.default is not None, decl.span) for p in decl.params]
    return isinstance(t, FnType) and fits(World(), decl, params, decl.result, t)


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
    gpus = gpus_of(target)
    core = optimise(core, interface, checked.sources, device=stage in ("triton", "ptx") or bool(gpus))
    if stage == "core":
        return print_program(core)
    if stage == "kernels":
        return show_kernels(core)
    compiled = native(core, interface, processors_of(target)[:1])[0]
    if stage in ("llvm", "asm"):
        return compiled.llvm if stage == "llvm" else compiled.asm
    text, infos = module_of(Path(path).stem, compiled.tables.kernels)
    return text if stage == "triton" else machine_text(text, infos, gpus or [EXAMPLE_GPU])


def machine_text(source: str, infos: Sequence[KernelInfo], gpus: Sequence[str]) -> str:
    """The machine code of kernels as its assembler reads it: PTX, for AMD's GPUs GCN."""
    parts = []
    for gpu in gpus:
        mark = "//" if gpu.startswith("cuda") else ";"
        try:
            texts = binaries.texts(source, infos, gpu)
        except binaries.Failed as failed:
            raise CompileError([Diagnostic("HYB703", str(failed), NOWHERE)], {}) from None
        parts += [f"{mark} {gpu}, {name}\n{text.strip()}\n" for name, text in texts.items()]
    return "\n".join(parts) or "// nothing here is a GPU kernel\n"
