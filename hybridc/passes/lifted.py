"""Maps and sets of constants are made before the loops around them, and around the calls of the function that has them.

`let values = {"I": 1, "V": 5, "X": 10}` made its map at each call of the function it stands in. It is one more
parameter now, which callers make before their loops, or are given themselves. Only for memory can its making fail, and
nobody sees it, so it may be early; what is changed later is copied then, as any value is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Call, Const, Fn, If, Loop, Match, Op, Parallel, Program, Scope, Stmt, Var
from hybridc.core.walk import (
    blocks_of,
    called,
    gradients,
    highest_id,
    kept,
    map_blocks,
    rebuilt,
    statements_in,
    substitute,
)
from hybridc.passes.entries import divided
from hybridc.passes.inline import callees_first

MAKERS = ("std.map.map_from_wire[", "std.set.set_from_wire[")
"""Functions of the library that make a container of a list, and do nothing else."""
MAKES = frozenset({"str", "tuple", "struct", "buffer_new", "buffer_set"})
MOST = 3
"""Parameters that a function gets."""

Key = Hashable
Needs = dict[str, dict[Key, None]]
"""By function, what it is to be given."""


@dataclass
class _Constant:
    """How a container of constants is made, the last statement giving it."""

    stmts: list[Op | Call]

    @property
    def var(self) -> Var:
        return self.stmts[-1].outs[0]


def run(program: Program, roots: Iterable[str]) -> Program:
    """`roots` are called from outside, and take no more than they did."""
    makers = {n for n, fn in program.fns.items() if fn.hidden and n.startswith(MAKERS)}
    if all(called(fn).isdisjoint(makers) for fn in program.fns.values()):
        return program
    fixed = set(roots) | {str(op.attr("fn")) for fn in program.fns.values() for op in gradients(fn)}
    lifting = _Lifting(program, makers, fixed)
    inside = {n for fn in program.fns.values() for n in called(fn)}
    apart = [n for n in roots if n in inside and lifting.needs[n] and not gradients(program.fns[n])]
    if apart:
        program = divided(program, apart)
        lifting = _Lifting(program, makers, fixed)
    return lifting.run()


class _Lifting:
    def __init__(self, program: Program, makers: set[str], fixed: set[str]):
        self.program, self.makers, self.fixed = program, makers, fixed
        self.constants: dict[Key, _Constant] = {}
        self.found: dict[str, dict[Var, Key]] = {
            n: dict(self.constants_of(fn)) for n, fn in program.fns.items() if not called(fn).isdisjoint(makers)}
        self.needs: Needs = {n: {} for n in program.fns}
        order, changed = callees_first(program), bool(self.constants)
        while changed:
            changed = False
            for name in order:
                wanted = dict.fromkeys([*self.needs[name], *self.at_once(name, program.fns[name].body)][:MOST])
                changed = changed or len(wanted) > len(self.needs[name])
                self.needs[name] = wanted

    def run(self) -> Program:
        if not self.constants:
            return self.program
        def rewritten(fn: Fn) -> Fn:
            decides = (*self.given(fn.name), 0, *self.found.get(fn.name, {}).items(),
                       *((n, tuple(self.given(n))) for n in called(fn)))
            return kept(fn, ("lifted", decides), lambda: _Rewriting(self, fn).run())

        fns = {n: rewritten(fn) for n, fn in self.program.fns.items()}
        return Program(self.program.structs, self.program.enums, fns)

    def given(self, name: str) -> Iterable[Key]:
        """What a function takes in addition."""
        fn = self.program.fns[name]
        return () if name in self.fixed or fn.adjoint or fn.checkpoint else self.needs[name]

    def constants_of(self, fn: Fn) -> Iterator[tuple[Var, Key]]:
        """The containers of constants that a function makes."""
        made: dict[Var, Op | Call] = {}
        for s in statements_in(fn):
            if isinstance(s, Op) and s.op in MAKES or isinstance(s, Call) and s.fn in self.makers:
                if all(isinstance(a, Const) or a in made for a in s.args):
                    made[s.outs[0]] = s
                    if isinstance(s, Call):
                        constant = _Constant(_leading_to(made, s))
                        key = _key(constant.stmts)
                        self.constants.setdefault(key, constant)
                        yield s.outs[0], key

    def at_once(self, name: str, b: Block) -> Iterator[Key]:
        """What is needed wherever the block is begun: not on some ways only, but for those within a loop."""
        for s in b.stmts:
            match s:
                case Call():
                    yield from self.of_call(name, s)
                case Loop() | Parallel():
                    yield from self.within(name, s)
                case Scope():
                    yield from self.at_once(name, s.body)

    def within(self, name: str, s: Stmt) -> Iterator[Key]:
        for b in blocks_of(s):
            for inner in b.stmts:
                if isinstance(inner, Call):
                    yield from self.of_call(name, inner)
                elif isinstance(inner, Loop | Parallel | Scope | If | Match):
                    yield from self.within(name, inner)

    def of_call(self, name: str, s: Call) -> Iterable[Key]:
        key = self.found.get(name, {}).get(s.outs[0]) if s.fn in self.makers else None
        return self.given(s.fn) if key is None else (key,)


class _Rewriting:
    def __init__(self, lifting: _Lifting, fn: Fn):
        self.lifting, self.fn = lifting, fn
        self.next_id = highest_id(fn) + 1
        self.same: dict[Var, Atom] = {}
        """Constants that are there already."""

    def run(self) -> Fn:
        lifting, name = self.lifting, self.fn.name
        params = {k: self.fresh(lifting.constants[k].var) for k in lifting.given(name)}
        if not params and name not in lifting.found and not any(map(lifting.given, called(self.fn))):
            return self.fn
        body = substitute(self.block(self.fn.body, params), self.same)
        return replace(self.fn, params=(*self.fn.params, *params.values()), body=body)

    def fresh(self, like: Var) -> Var:
        self.next_id += 1
        return replace(like, id=self.next_id - 1)

    def block(self, b: Block, outside: dict[Key, Var]) -> Block:
        there = dict(outside)
        stmts: list[Stmt] = []
        for s in b.stmts:
            match s:
                case Call():
                    key = self.lifting.found.get(self.fn.name, {}).get(s.outs[0]) if s.outs else None
                    if key is not None and key in there:
                        self.same[s.outs[0]] = there[key]
                        continue
                    if key is not None:
                        there[key] = s.outs[0]
                    elif more := list(self.lifting.given(s.fn)):
                        self.make(more, there, stmts)
                        s = replace(s, args=(*s.args, *(there[k] for k in more)))
                case Loop() | Parallel():
                    self.make(self.lifting.within(self.fn.name, s), there, stmts)
            stmts.append(map_blocks(s, lambda inner: self.block(inner, there)))
        return rebuilt(b, stmts, b.tail)

    def make(self, keys: Iterable[Key], there: dict[Key, Var], stmts: list[Stmt]) -> None:
        """Make those that are not there yet."""
        for key in dict.fromkeys(keys):
            if key not in there:
                again: dict[Var, Atom] = {}
                for s in self.lifting.constants[key].stmts:
                    out = self.fresh(s.outs[0])
                    args = tuple(again.get(a, a) for a in s.args)  # type: ignore[arg-type]
                    stmts.append(replace(s, outs=(out,), args=args))
                    again[s.outs[0]] = there[key] = out


def _leading_to(made: dict[Var, Op | Call], last: Op | Call) -> list[Op | Call]:
    """What it is made of, in order, and itself."""
    found: dict[Var, Op | Call] = {}
    todo = [last]
    while todo:
        s = todo.pop()
        found[s.outs[0]] = s
        todo += [made[a] for a in s.args if isinstance(a, Var) and a not in found]
    return [s for v, s in made.items() if v in found]


def _key(stmts: list[Op | Call]) -> Key:
    """The same for constants that are made alike."""
    places = {s.outs[0]: i for i, s in enumerate(stmts)}
    return tuple(
        (s.fn if isinstance(s, Call) else (s.op, s.attrs), s.outs[0].type,
         tuple(places[a] if isinstance(a, Var) else (repr(a.value), a.type) for a in s.args))
        for s in stmts
    )
