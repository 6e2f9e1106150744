"""Kernels for other processors than this one, judged by their assembly."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from hybridc.core.ir import F32, Program
from hybridc.core.reader import read
from hybridc.llvm import backend
from hybridc.llvm.compile import Tables, compile_program, emit_modules
from hybridc.llvm.partition import whole_text
from hybridc.passes import fuse
from hybridc.passes.ownership import own
from tests.kernels.test_attention import CAUSAL, program_of
from tests.kernels.test_products import function
from tests.kernels.test_windows import convolution


def innermost(assembly: str, name: str, multiply: str) -> list[str]:
    """The lines of the loop of a function that multiplies most."""
    start = re.search(rf"^\"?{re.escape(name)}[^\n]*\"?:", assembly, re.M)
    assert start is not None, name
    body = assembly[start.end() : assembly.index(".size", start.end())]
    blocks = re.split(r"^\.\w+:", body, flags=re.M)
    return max(blocks, key=lambda block: block.count(multiply)).splitlines()


@pytest.mark.parametrize(("cpu", "name", "multiply"), [
    ("x86-64-v4", "kernel.tile6x4", "vfmadd"), ("x86-64-v3", "kernel.tile6x2", "vfmadd"),
    ("x86-64-v2", "kernel.tile6x2", "mulps"),
])  # fmt: skip
def test_the_sums_of_a_tile_stay_in_registers(cpu: str, name: str, multiply: str) -> None:
    program = Program(fns={"f": function("f", F32, False, False)})
    loop = innermost(compile_program(program, ["f"], cpu=cpu).asm, name, multiply)
    assert sum(multiply in line for line in loop) >= 12
    stored = [line for line in loop if re.search(r"mov[au]ps\s+%[xyz]mm\d+, .*\(%[re][sb]p", line)]
    assert not stored, stored


def test_aarch64() -> None:
    """Emitted for a processor with NEON: products in registers, and a kernel with an exponential of vectors."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=2, reloc="pic")
    product = Program(fns={"f": function("f", F32, False, False)})
    found = []
    windows = fuse.run(read(convolution("f32", 3, 12, (8, 32), (3, 3, 1, 1, 1, 1, 1, 1)))[0])
    for program in (product, program_of(CAUSAL), windows):
        module = backend.parse(whole_text(emit_modules(own(program), ["f"], (), (), [16], Tables())[0].text()))
        module.triple = machine.triple
        backend.optimise(module, machine, 2)
        found.append(machine.emit_assembly(module))
    loop = innermost(found[0], "kernel.tile6x2", "fmla")
    assert sum("fmla" in line and ".4s" in line for line in loop) == 12
    assert not [line for line in loop if "[sp" in line]
    assert sum("fmla" in line for line in innermost(found[2], "kernel.tile6x2", "fmla")) == 12
    assert "bl\texpf" not in found[1] and found[1].count("fmla") > 30
