"""Generated programs mean the same compiled and interpreted, and leave no memory behind, whether they fault or not."""

from __future__ import annotations

import ctypes
import math
import sys
from pathlib import Path

import pytest

from hybridc.core.interp import Interpreter
from hybridc.core.values import InterpFault
from hybridc.core.verify import verify
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Loaded, NativeFault

sys.path.insert(0, str(Path(__file__).parent))
import generate  # noqa: E402

I64, F64 = ctypes.c_int64, ctypes.c_double
ARGS = [(0, 1), (5, -3), (2**62, 7), (-1, 0)]


@pytest.mark.parametrize("seed", range(60))
def test_generated(seed):
    program = generate.program(seed)
    assert verify(program) == []
    name = list(program.fns)[-1]
    compiled = compile_program(program, [name], opt=1)
    jit = Loaded(compiled)
    for args in ARGS:
        try:
            want: object = tuple(Interpreter(program).call(name, args))
        except InterpFault as fault:
            want = (fault.kind, fault.message)
        try:
            got: object = tuple(jit.scalars(name, [(I64, a) for a in args], [I64, F64, I64]))
        except NativeFault as fault:
            message = fault.message
            if fault.kind == "IndexError":
                message = f"index {fault.index[0]} is out of range for length {fault.index[1]}"
            got = (fault.kind, message or "")
        assert got == want or all(math.isclose(a, b) for a, b in zip(got, want, strict=True)), args
        assert jit.live == 0, args
