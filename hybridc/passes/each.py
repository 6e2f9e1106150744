"""A pass that makes each function anew by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from hybridc.core.ir import Fn, Program
from hybridc.core.walk import keep, kept, operators


def nothing(fn: Fn) -> Hashable:
    """For passes that look at the function alone."""
    return ()


def each(
    program: Program, name: Hashable, one: Callable[[Fn], Fn], looked_at: Callable[[Fn], Hashable] = nothing,
    settles: bool = False, needs: Collection[str] = (),
) -> Program:
    """With every function as `one` makes it. It may look at the function, at the types that this names, and else only
    at what `looked_at` says; so where all that is as it was, what was made then is taken again. `settles`: of what it
    made it makes that very thing. `needs`: it changes only what has one of these operators."""
    def settled(fn: Fn) -> Fn:
        made = one(fn)
        if settles:
            keep(made, (name, looked_at(made)), made)
        return made

    fns = {}
    for n, fn in program.fns.items():
        concerned = not needs or not operators(fn).isdisjoint(needs)
        fns[n] = kept(fn, (name, looked_at(fn)), lambda fn=fn: settled(fn)) if concerned else fn  # type: ignore[misc]
    return Program(program.structs, program.enums, fns)
