"""A function that can be called from outside, and takes containers, is one for the program's own calls and one for
those from outside, which calls it.

Of a loaded source every function can be called from Python, so its parameters have to stay as they are. The program's
own calls pass a text or list as its parts (passes/unpack.py), and a part of a text or list that is only read there
need not be made (passes/views.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hybridc.base.immutable import replace
from hybridc.base.names import unused
from hybridc.core.ir import Block, Call, Fn, Program, Var, Yield
from hybridc.core.walk import calls, gradients, kept
from hybridc.passes.apart import holds_memory
from hybridc.passes.unpack import unpacked
from hybridc.passes.whole import named, with_others


def run(program: Program, roots: Iterable[str]) -> Program:
    """`roots` are called from outside."""
    called = {name for fn in program.fns.values() for name in calls(fn)}
    wanted = [n for n in roots if n in called and _takes_containers(program.fns[n], program)]
    if not wanted:
        return program
    opened = {name for name, _ in unpacked(program, set())}
    return divided(program, [n for n in wanted if n in opened])


def divided(program: Program, names: Collection[str]) -> Program:
    """With a function for the program's own calls beside each of these."""
    changed = {n: unused(f"{n} within", program.fns) for n in names}
    if not changed:
        return program
    fns = {name: with_others(fn, changed, {}) for name, fn in program.fns.items()}
    fns.update((new, named(fns[name], new)) for name, new in changed.items())
    fns.update((name, _entry(program.fns[name], new)) for name, new in changed.items())
    return Program(program.structs, program.enums, fns)


def _takes_containers(fn: Fn, program: Program) -> bool:
    return not (gradients(fn) or fn.checkpoint) and any(holds_memory(p.type, program) for p in fn.params)


def _entry(fn: Fn, within: str) -> Fn:
    """The function as it is seen from outside; traces name the one that it calls."""
    def made() -> Fn:
        outs = tuple(Var(len(fn.params) + i + 1, t) for i, t in enumerate(fn.results))
        params = tuple(Var(i + 1, p.type, p.name) for i, p in enumerate(fn.params))
        body = Block((Call(outs, within, params, fn.span),), Yield(outs))
        return replace(fn, params=params, body=body, hidden=True)

    return kept(fn, ("entry", within), made)
