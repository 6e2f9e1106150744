"""Processors by name: what their code needs, and how wide their vectors are."""

from __future__ import annotations

import os
import platform
import re
from functools import cache

import llvmlite.binding as llvm

LEVELS = ("x86-64-v3", "x86-64-v2")
"""Of the x86-64 psABI, the most demanding first: an artifact has code for them too, so that it runs on others."""
HOST = "host"

SYSTEM = frozenset(
    "64bit aes cldemote clflushopt clwb clzero cmov crc32 cx16 cx8 enqcmd fsgsbase fxsr hreset invpcid kl lwp mmx"
    " movdir64b movdiri mwaitx pconfig pku prefetchi prfchw ptwrite rdpid rdpru rdrnd rdseed rtm sahf serialize sgx sha"
    " sha512 shstk sm3 sm4 sse sse2 tsxldtrk uintr usermsr vaes waitpkg wbnoinvd widekl xsave xsavec xsaveopt"
    " xsaves".split()
)
"""Features that every x86-64 has, or that serve instructions which are asked for by name, as our code never does."""


@cache
def ready() -> None:
    """LLVM knows no machine before this."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _host_features() -> dict[str, bool]:
    return dict(llvm.get_host_cpu_features())


@cache
def features(cpu: str) -> frozenset[str]:
    """What code for a processor may use beyond `SYSTEM`, by LLVM's names; ValueError if LLVM does not know it."""
    if cpu == HOST:
        return frozenset(name for name, has in _host_features().items() if has) - SYSTEM
    every = _inlined(cpu) if re.fullmatch(r"[A-Za-z0-9._-]+", cpu) else frozenset()
    if "sse2" not in every:
        raise ValueError(f"there is no x86-64 processor {cpu!r}; named are the levels x86-64, x86-64-v2, x86-64-v3 and "
                         "x86-64-v4, and processors as LLVM calls them, such as haswell or znver4")
    return every - SYSTEM


def _inlined(cpu: str) -> frozenset[str]:
    """LLVM inlines a function only into one whose processor has all features that the function asks for: so it is asked
    which of many functions, one for each feature, it inlines into one for `cpu`."""
    ready()
    names = sorted(_host_features())
    lines = ["declare void @keep(i32)", "define void @all() #0 {"]
    lines += [f"  call void @f{i}()" for i in range(len(names))] + ["  ret void", "}"]
    for i in range(len(names)):
        lines += [f"define internal void @f{i}() #{i + 1} {{", f"  call void @keep(i32 {i})", "  ret void", "}"]
    lines.append(f'attributes #0 = {{ "target-cpu"="{cpu}" "target-features"="+64bit" }}')
    for i, f in enumerate(names):
        lines.append(f'attributes #{i + 1} = {{ "target-cpu"="x86-64" "target-features"="+{f}" }}')
    module = llvm.parse_assembly("\n".join(lines))
    module.triple = llvm.get_process_triple()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="x86-64")
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    with _quiet():
        builder.getModulePassManager().run(module, builder)
    left = str(module.get_function("all"))
    return frozenset(f for i, f in enumerate(names) if f"@f{i}(" not in left)


class _quiet:  # noqa: N801 (used as a statement)
    """LLVM writes to stderr about processors that it does not know; we say it better."""

    def __enter__(self) -> None:
        self.kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        os.dup2(self.kept, 2)
        os.close(self.kept)


def vector_bytes(cpu: str) -> int:
    """Bytes of the widest vectors that a processor computes with."""
    has = features(cpu)
    return 64 if "avx512dq" in has else 32 if "avx" in has else 16


def levels() -> tuple[str, ...]:
    """What an artifact holds beside the code for this processor."""
    return LEVELS if platform.machine() == "x86_64" else ()


def host_name() -> str:
    """This processor, by LLVM's name."""
    return llvm.get_host_cpu_name()
