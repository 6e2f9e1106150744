"""LLVM itself: text to an optimised module to an object."""

from __future__ import annotations

from functools import cache

import llvmlite
import llvmlite.binding as llvm

from hybridc.llvm.processors import ready

llvmlite.opaque_pointers_enabled = True


def version() -> str:
    """Of llvmlite, which fixes that of LLVM."""
    return llvmlite.__version__


@cache
def _keep_order() -> None:
    """Loops that add up floats may compute what they add in vectors, as long as it is added one by one, in order. LLVM
    does so on Arm and has to be told elsewhere; only for the whole process, and only once."""
    llvm.set_option("hybridc", "-force-ordered-reductions")


@cache
def target_machine(cpu: str, opt: int) -> llvm.TargetMachine:
    """For a CPU by LLVM's name, or "host" for this one with all it can do."""
    ready()
    _keep_order()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    if cpu == "host":
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    else:
        features = ""
    return target.create_target_machine(cpu=cpu, features=features, opt=opt, reloc="pic", codemodel="small")


def parse(text: str) -> llvm.ModuleRef:
    ready()
    module = llvm.parse_assembly(text)
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
    builder.getModulePassManager().run(module, builder)
