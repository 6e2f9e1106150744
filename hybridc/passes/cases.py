"""Drops the cases of enums that nothing makes, and what would be done with them.

Of a function's type this is mostly the case of a function of Python, where no value of the type comes from outside:
what calls it may ask the host for anything then, and is called more slowly for it.

The cases that are left have other numbers. Nothing knows these before derivatives are written out, whose reverse parts
keep the number of a case and compare it with constants: so this has to be done before.
"""

from __future__ import annotations

from collections.abc import Collection

from hybridc.base.immutable import replace
from hybridc.core.ir import Block, Const, EnumDef, EnumT, Fn, Match, Op, Program
from hybridc.core.walk import all_blocks, kept, map_blocks, once, rebuilt, statements_in, with_body


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
    for fn in program.fns.values():
        assert _numbered(fn).isdisjoint(fewer), f"`{fn.name}` knows numbers of cases; it is part of a derivative"
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


@once
def _numbered(fn: Fn) -> frozenset[str]:
    """The enums of whose cases it keeps a number, or compares it with a constant."""
    found = statements_in(fn)
    tags = {s.outs[0]: s.args[0].type for s in found if isinstance(s, Op) and s.op == "tag"}
    if not tags:
        return frozenset()
    keeping = [s.args for s in found if isinstance(s, Op) and (
        s.op in ("tuple", "struct", "buffer_set") or s.op == "eq" and any(isinstance(a, Const) for a in s.args))]
    keeping += [b.tail.values for b in all_blocks(fn.body)]
    return frozenset(tags[a].name for args in keeping for a in args if a in tags)  # type: ignore[union-attr, index]


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
