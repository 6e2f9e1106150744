"""Before derivatives are written out: what they go through and can also be called from outside, with containers as
arguments, has a counterpart for the program's own calls. Its signature is the compiler's to change, so containers are
passed as their parts (passes/unpack.py), of which a derivative reads again what it would have to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hybridc.base.names import unused
from hybridc.core.ir import BufferT, Program, StructT, Type
from hybridc.core.types import parts
from hybridc.core.walk import calls, gradients
from hybridc.passes.whole import named, reached, with_others


def run(program: Program, roots: Iterable[str], targets: Iterable[str], active: Callable[[Type], bool]) -> Program:
    """`roots` are called from outside, `targets` the functions that are differentiated. A value of an `active` type may
    carry a derivative."""
    through = reached(program, targets, active)
    called = {name for fn in program.fns.values() for name in calls(fn)}
    changed: dict[str, str] = {}
    for name in roots:
        fn = program.fns[name]
        plain = not (gradients(fn) or fn.checkpoint or name in targets)
        if plain and name in called and name in through and any(holds_memory(p.type, program) for p in fn.params):
            changed[name] = unused(f"{name} within", program.fns)
    if not changed:
        return program
    fns = {name: with_others(fn, changed, {}) for name, fn in program.fns.items()}
    fns.update((new, named(fns[name], new)) for name, new in changed.items())
    return Program(program.structs, program.enums, fns)


def holds_memory(t: Type, program: Program) -> bool:
    return isinstance(t, StructT) and any(isinstance(part, BufferT) for part in parts(t, program))
