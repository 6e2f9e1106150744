"""Drops the cases of enums that nothing makes, and what would be done with them.

Of a function's type this is mostly the case of a function of Python, where no value of the type comes from outside:
what calls it may ask the host for anything then, and is called more slowly for it.
"""

from __future__ import annotations

from collections.abc import Collection

from hybridc.base.immutable import replace
from hybridc.core.ir import Block, EnumDef, EnumT, Fn, Match, Op, Program
from hybridc.core.walk import kept, map_blocks, once, rebuilt, statements_in, with_body


def run(program: Program, outside: Collection[str]) -> Program:
    """Values of the enums in `outside` may come from there."""
    made: dict[str, set[str]] = {}
    for fn in program.fns.values():
        for name, case in _made(fn):
            made.setdefault(name, set()).add(case)
    enums = dict(program.enums)
    for name, cases in made.items():
        kept = tuple(c for c in program.enums[name].cases if c[0] in cases)
        if name not in outside and len(kept) < len(program.enums[name].cases):
            enums[name] = EnumDef(name, kept)
    fewer = {n: {case for case, _ in e.cases} for n, e in enums.items() if e is not program.enums[n]}
    if not fewer:
        return program
    return Program(program.structs, enums, {n: _without(fn, fewer) for n, fn in program.fns.items()})


@once
def _made(fn: Fn) -> frozenset[tuple[str, str]]:
    """The enums and their cases of which it makes values."""
    found = [s for s in statements_in(fn) if isinstance(s, Op) and s.op == "enum"]
    return frozenset((s.outs[0].type.name, str(s.attr("case"))) for s in found)  # type: ignore[union-attr]


@once
def _matched(fn: Fn) -> frozenset[str]:
    """The enums between whose cases it chooses."""
    found = [s.subject.type for s in statements_in(fn) if isinstance(s, Match)]
    return frozenset(t.name for t in found if isinstance(t, EnumT))


def _without(fn: Fn, fewer: dict[str, set[str]]) -> Fn:
    concerned = {name: frozenset(fewer[name]) for name in sorted(_matched(fn)) if name in fewer}
    if not concerned:
        return fn

    def block(b: Block) -> Block:
        stmts = []
        for s in b.stmts:
            if isinstance(s, Match) and isinstance(s.subject.type, EnumT) and s.subject.type.name in concerned:
                s = replace(s, arms=tuple(a for a in s.arms if a.case in concerned[s.subject.type.name]))
            stmts.append(map_blocks(s, block))
        return rebuilt(b, stmts, b.tail)

    return kept(fn, ("cases", *concerned.items()), lambda: with_body(fn, block(fn.body)))
