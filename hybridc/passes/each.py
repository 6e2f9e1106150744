"""A pass that makes each function anew by itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from hybridc.core.ir import Fn, Program

_ITSELF = object()
"""A function is not kept in what is known of it: nobody but the collector of garbage could let go of it then."""


def nothing(fn: Fn) -> Hashable:
    """For passes that look at the function alone."""
    return ()


def each(
    program: Program, name: Hashable, one: Callable[[Fn], Fn], looked_at: Callable[[Fn], Hashable] = nothing,
    settles: bool = False,
) -> Program:
    """With every function as `one` makes it. It may look at the function, at the types that this names, and else only
    at what `looked_at` says; so where all that is as it was, what was made then is taken again. `settles`: of what it
    made it makes that very thing."""
    def settled(fn: Fn) -> Fn:
        made = one(fn)
        if settles:
            made.known[name, looked_at(made)] = _ITSELF
        return made

    fns = {n: kept(fn, (name, looked_at(fn)), lambda fn=fn: settled(fn)) for n, fn in program.fns.items()}  # type: ignore[misc]
    return Program(program.structs, program.enums, fns)


def kept(fn: Fn, key: Hashable, make: Callable[[], Fn]) -> Fn:
    """What is made of a function; `key` says which pass makes it, and all else that it looks at."""
    made = fn.known.get(key)
    if made is None:
        made = make()
        fn.known[key] = _ITSELF if made is fn else made
    return fn if made is _ITSELF else made
