"""The road from a file to code, stage by stage; each stage can be entered and printed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridc_runtime.more import More
from hybridc_runtime.packed import packed

from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import NOWHERE, Source, Sources
from hybridc.base.targets import UnknownTarget, parse_targets
from hybridc.base.types import ModelType
from hybridc.checking import Checked, check, read_text
from hybridc.core import ir
from hybridc.core.interface import Interface
from hybridc.core.printer import print_program
from hybridc.core.verify import check_after
from hybridc.front.check.config_given import model_type
from hybridc.front.lower import program as lowering
from hybridc.front.lower.interface import Leading, plain
from hybridc.front.lower.kept import KeptFns
from hybridc.front.parse import dump
from hybridc.front.parse.parser import parse
from hybridc.kernels.device import Kernels
from hybridc.kernels.show import show_kernels
from hybridc.link import artifact as container
from hybridc.link import cache, pace, stays, surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm import processors
from hybridc.llvm.compile import Compiled, compile_for
from hybridc.llvm.module import Tables
from hybridc.passes import recognise
from hybridc.pipeline import in_files, optimise, reached, recognised
from hybridc.triton import binaries
from hybridc.triton.source import KernelInfo, module_of, record

STAGES = ["tokens", "ast", "core", "kernels", "llvm", "asm", "triton", "ptx"]
"""What can be printed."""
LOWERED = KeptFns()
EXAMPLE_GPU = "cuda:sm_90"
"""The GPU whose machine code is printed where none is named."""


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


def native(core: ir.Program, interface: Interface, cpus: Sequence[str], later: bool = False) -> list[Compiled]:
    """Machine code of everything the interface names, for each of these processors; or `later`, as it is called."""
    with deep_recursion():
        return compile_for(
            core, surface.symbols(interface), surface.types(interface, core),
            cpus=cpus, opt=knobs.opt_level(), once=surface.once(interface, core), kept=cache.OBJECTS, later=later,
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


@deep_recursion()
def build(checked: Checked, target: str = "cpu", weights: Mapping[str, str] | None = None) -> Built:
    """The artifact of what a program exports, with the values of exported models from files (name -> path); ValueError
    for one that does not fit, OSError for one that cannot be read."""
    cpus = processors_of(target)
    core, interface = lower(checked)
    surface.without_curvatures(interface)
    return finish(core, interface, checked.path, checked.sources, cpus, gpus=gpus_of(target), weights=weights)


@deep_recursion()
def finish(
    core: ir.Program, interface: Interface, path: str, sources: Sources, cpus: Sequence[str], *, portable: bool = True,
    files: Sequence[tuple[str, str]] | None = None, gpus: Sequence[str] = (), launched: bool = False,
    weights: Mapping[str, str] | None = None, values: Mapping[str, bytes] | None = None, guarded: bool = False,
    again: bool = False, later: bool = False,
) -> Built:
    """From Core to an artifact, which holds the Core too if it is to be `portable`. `files` are the sources that it was
    made from with their digests, if `sources` is not all of them. Code for `gpus`, or with `launched` what the launcher
    that interprets kernels needs, is an artifact within. `weights` are files with the values of exported models;
    `values` are such values as an artifact has them. `guarded` as `optimise` has it. `again`: it is likely that this
    process compiles much of it again. `later`: it is for the cache, and may hold code that is still to be made."""
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
    codes = native(better, interface, cpus, later)
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


@deep_recursion()
def kernels_of(path: str, root: str | None = None) -> Kernels:
    """What of a file a GPU runs."""
    checked = check(path, root)
    core, interface = lower(checked)
    surface.without_curvatures(interface)
    better = optimise(core, interface, checked.sources, device=True)
    return native(better, interface, processors_of("cpu")[:1])[0].tables.kernels


@deep_recursion()
def artifact(
    checked: Checked, *, all_names: bool = False, tests: bool = False, more: More | None = None, portable: bool = True,
    launched: bool = False, later: bool = False,
) -> bytes:
    """The bytes of a `.hybx` for this processor: the exports, with `all_names` everything the file declares, but for
    the derivatives of methods, or with `more` only what that asks for; without Core if it need not be `portable`; if it
    is to be `launched`, that for launchers alone; its code as `finish` has it."""
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
        surface.without_derivatives(interface, core)
    elif more is None:
        surface.without_curvatures(interface)
    cpus, sources = [processors.HOST], checked.sources
    if launched:
        core = reached(core, interface, later=True)
        pace.mark(core, interface)
        core, origins = recognised(core, sources)
        return launchable(core, interface, checked.path, sources, cpus, (), False, origins)
    return finish(core, interface, checked.path, sources, cpus, portable=portable, again=True, later=later).data


@deep_recursion()
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
    surface.without_curvatures(interface)
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
