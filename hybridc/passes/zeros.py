"""An adjoint that every call begins with nothing begins with nothing: the first sum of a derivative is then what it
adds, not a sum that looks at run time whether there is something to add to."""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.base.immutable import replace
from hybridc.core.ir import Block, Call, Fn, Op, Program, TensorT, Var
from hybridc.core.walk import all_blocks, highest_id, mentions, once
from hybridc.passes.each import each

Place = tuple[str, int]
"""A parameter: of which function, and the number."""


def run(program: Program, roots: Iterable[str] = ()) -> Program:
    """`roots` are called from outside too."""
    others = {*roots, *(n for fn in program.fns.values() for n in mentions(fn) if n not in calls_of(fn))}
    given: set[Place] = set()
    other: set[Place] = set()
    for fn in program.fns.values():
        for name, ways in calls_of(fn).items():
            for zeros, count in ways:
                given.update((name, i) for i in zeros)
                other.update((name, i) for i in range(count) if i not in zeros)
    found = {p for p in given - other if p[0] not in others}
    return each(program, "zeros", lambda fn: _begun(fn, found),
                lambda fn: tuple(i for i in range(len(fn.params)) if (fn.name, i) in found))


@once
def calls_of(fn: Fn) -> dict[str, list[tuple[frozenset[int], int]]]:
    """By function for each call: which arguments are tensors without elements that stand for zeros, and how many
    arguments there are."""
    zeros = {o for b in all_blocks(fn.body) for s in b.stmts if isinstance(s, Op) and s.op == "zero" for o in s.outs}
    found: dict[str, list[tuple[frozenset[int], int]]] = {}
    for b in all_blocks(fn.body):
        for s in b.stmts:
            if isinstance(s, Call):
                places = (i for i, a in enumerate(s.args) if a in zeros and isinstance(a.type, TensorT))
                found.setdefault(s.fn, []).append((frozenset(places), len(s.args)))
    return found


def _begun(fn: Fn, places: set[Place]) -> Fn:
    """The function with these parameters as zeros of its own."""
    next_id = highest_id(fn) + 1
    params, zeros = list(fn.params), []
    for i, p in enumerate(fn.params):
        if (fn.name, i) in places:
            params[i] = Var(next_id, p.type, p.name)
            next_id += 1
            zeros.append(Op((p,), "zero", (), (), fn.span))
    if not zeros:
        return fn
    return replace(fn, params=tuple(params), body=Block((*zeros, *fn.body.stmts), fn.body.tail))
