"""LLVM itself: text to an optimised module to an object."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding import ffi

from hybridc.llvm.processors import ready

llvmlite.opaque_pointers_enabled = True
HELPER = "hyb-llvm"
"""Begins the names of threads that compile a piece."""


class Kept(Protocol):
    """Objects that were made before, by name."""

    def find(self, name: str) -> bytes | None: ...

    def keep(self, made: dict[str, bytes]) -> None: ...


def version() -> str:
    """Of llvmlite, which fixes that of LLVM."""
    return llvmlite.__version__


@cache
def _settle() -> None:
    """What LLVM has to be told for the whole process, once. Loops that add up floats may compute what they add in
    vectors, as long as it is added one by one, in order; LLVM does so on Arm. And a minimum stays an instruction that
    chooses: as a branch it is quicker only where a processor can foresee which of the two it is."""
    llvm.set_option("hybridc", "-force-ordered-reductions")
    llvm.set_option("hybridc", "-x86-cmov-converter=false")


def target_machine(cpu: str, opt: int) -> llvm.TargetMachine:
    """For a CPU by LLVM's name, or "host" for this one with all it can do."""
    ready()
    _settle()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name, features = _processor(cpu)
    return target.create_target_machine(cpu=name, features=features, opt=opt, reloc="pic", codemodel="small")


@cache
def _processor(cpu: str) -> tuple[str, str]:
    return (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()) if cpu == "host" else (cpu, "")


def parse(text: str, context: llvm.ContextRef | None = None) -> llvm.ModuleRef:
    ready()
    module = llvm.parse_assembly(text, context)
    module.triple = llvm.get_process_triple()
    return module


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, opt: int) -> None:
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=opt)
    options.slp_vectorization = opt >= 2
    options.loop_vectorization = opt >= 2
    options.loop_unrolling = opt >= 2
    # Core's own inliner has done most of it; LLVM's usual 225 doubles the time that compiling takes.
    options.inlining_threshold = 60
    builder = llvm.create_pass_builder(machine, options)
    _unlocked("LLVMPY_RunNewModulePassManager")(builder.getModulePassManager(), module, builder)


def assembly(text: str, cpu: str, opt: int) -> str:
    """What a piece becomes, for a person to read."""
    machine = target_machine(cpu, opt)
    with _parsed(text) as module:
        optimise(module, machine, opt)
        return machine.emit_assembly(module)


def objects(jobs: Sequence[tuple[str, str]], opt: int, kept: Kept | None = None) -> Iterator[bytes]:
    """The objects of (text, processor), in their order: as kept, or made now, as many at once as this process has
    processors."""
    names = [_name(text, cpu, opt) if kept else f"{i}" for i, (text, cpu) in enumerate(jobs)]
    found = {name: data for name in names if kept and (data := kept.find(name)) is not None}
    missing = {name: job for name, job in zip(names, jobs, strict=True) if name not in found}
    if missing:
        # The longest first, so that none of them is begun when the others are done.
        order = sorted(missing, key=lambda name: -len(missing[name][0]))
        made = dict(zip(order, _side_by_side(lambda name: _object(*missing[name], opt), order), strict=True))
        if kept:
            kept.keep(made)
        found |= made
    return iter([found[name] for name in names])


def helps() -> bool:
    """Is this thread one of those that `objects` waits for?"""
    return threading.current_thread().name.startswith(HELPER)


def _side_by_side(make: Callable[[str], bytes], names: Sequence[str]) -> list[bytes]:
    workers = min(len(names), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers == 1:
        return list(map(make, names))
    with ThreadPoolExecutor(workers, HELPER) as pool:
        try:
            made = pool.map(make, names)
        except RuntimeError:  # no thread begins any more, as the process ends
            return list(map(make, names))
        try:
            return list(made)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _name(text: str, cpu: str, opt: int) -> str:
    """Of an object: the digest of what decides what is in it (and the compiler's own, which the cache adds)."""
    state = hashlib.sha256(repr((version(), _processor(cpu), opt)).encode())
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def _object(text: str, cpu: str, opt: int) -> bytes:
    machine = target_machine(cpu, opt)
    with _parsed(text) as module:
        optimise(module, machine, opt)
        with ffi.OutputString() as error:
            held = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, error)
            if not held:
                raise RuntimeError(str(error))
        try:
            return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(held), ffi.lib.LLVMPY_GetBufferSize(held))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(held)


@contextmanager
def _parsed(text: str) -> Iterator[llvm.ModuleRef]:
    """In an LLVM context of its own, as threads need it."""
    context = llvm.create_context()
    module = parse(text, context)
    try:
        yield module
    finally:
        module.close()
        context.close()


def _unlocked(name: str) -> Any:
    """A function of llvmlite's library. llvmlite lets one thread in at a time, but LLVM wants that only of those that
    share a context."""
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)
