"""What a loop adds up from nothing, only for it to be added to something, is added to that at once.

So come the derivatives of a function's tensors where it is called with rows of the caller's: the call's reverse part
begins with zeros, its loop adds to parts of these, and the caller adds the sum to a row of its own sum. And a sum to
which maps add after the loop begins with what these make. Only where derivatives say that the sizes fit, by `shaped`;
one of what has its shape for certain goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Exit, Loop, Op, Program, Stmt, TensorT, Var, Yield
from hybridc.core.types import rank
from hybridc.core.walk import (
    all_blocks,
    args_of,
    blocks_of,
    free_vars,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
    rebuilt,
    substitute,
    uses,
    with_body,
)
from hybridc.passes.each import each


def run(program: Program) -> Program:
    return each(program, "sums", lambda fn: with_body(fn, _Sums(uses(fn.body)).block(fn.body)), needs=["shaped"])


@dataclass(frozen=True)
class Sum:
    """Of a loop: the parameter that it adds to, whose last value is a result, and where these stand."""

    at: int
    param: Var
    links: tuple[Op, ...]
    out: Var


@dataclass
class _Sums:
    uses: dict[Var, int]
    makers: dict[Var, Op] = field(default_factory=dict)
    instead: dict[Var, Atom] = field(default_factory=dict)

    def atom(self, a: Atom) -> Atom:
        return self.instead.get(a, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        stmts: list[Stmt] = []
        for s in b.stmts:
            s = map_blocks(map_atoms(s, self.atom), self.block)
            if isinstance(s, Op):
                self.makers.update((o, s) for o in s.outs)
                if s.op == "shaped" and s.args[0].type == s.outs[0].type and self.is_sure(s.args[0]):
                    self.instead[s.outs[0]] = s.args[0]
                    self.uses[s.args[0]] += self.uses.get(s.outs[0], 0) - 1  # type: ignore[index]
                    continue
            stmts.append(s)
        k = 0
        while k < len(stmts):
            loop = stmts[k]
            for found in self.sums(loop) if isinstance(loop, Loop) else ():
                made = self.in_place(stmts, stmts.index(loop), found)
                if made is not None:
                    stmts, loop = made
                    k = stmts.index(loop)
            k += 1
        return rebuilt(b, stmts, map_tail(b.tail, self.atom))

    def is_sure(self, a: Atom) -> bool:
        """Does the tensor have its shape, whatever its elements are?"""
        op = self.makers.get(a) if isinstance(a, Var) else None
        if op is None or op.op != "map":
            return op is not None and op.op == "shaped"
        axes = op.attr("axes")
        assert isinstance(axes, tuple)
        return any(isinstance(x.type, TensorT) and None not in own and self.is_sure(x)
                   for x, own in zip(op.args, axes, strict=True))

    # ---- what a loop adds up
    def sums(self, loop: Loop) -> list[Sum]:
        exits = [b.tail for b in all_blocks(loop.body) if isinstance(b.tail, Exit) and b.tail.label == loop.label]
        if len(exits) != 1 or not isinstance(loop.body.tail, Yield):
            return []
        found = []
        for at, (p, init, end) in enumerate(zip(loop.params, loop.inits, loop.body.tail.values, strict=True)):
            links = self.links(loop.body.stmts, p, end) if self.begins_with_nothing(init) else ()
            if links and self.uses.get(p) == 2 and exits[0].values.count(p) == 1:
                found.append(Sum(at, p, links, loop.outs[exits[0].values.index(p)]))
        return [s for s in found if self.uses.get(s.out) == 1]

    def begins_with_nothing(self, init: Atom) -> bool:
        made = self.makers.get(init) if isinstance(init, Var) and self.uses.get(init) == 1 else None
        if made is None or made.op != "shaped" or made.outs[0].type.device:  # type: ignore[union-attr]
            return False
        zero = self.makers.get(made.args[0]) if isinstance(made.args[0], Var) else None
        return zero is not None and zero.op == "zero"

    def links(self, stmts: Sequence[Stmt], at: Atom, end: Atom) -> tuple[Op, ...]:
        """The additions that lead from one value of the sum to another, if nothing else does."""
        found: list[Op] = []
        for s in stmts:
            if isinstance(s, Op) and s.op == "update" and s.args[0] == at and s.attr("fn") == "add":
                found.append(s)
                at = s.outs[0]
                if self.uses.get(s.outs[0]) != 1:
                    return ()
        return tuple(found) if at == end else ()

    # ---- where it goes
    def in_place(self, stmts: list[Stmt], k: int, found: Sum) -> tuple[list[Stmt], Loop] | None:
        """The statements, of which that at `k` is the loop, with the sum where it belongs."""
        loop = stmts[k]
        assert isinstance(loop, Loop)
        shape, last = None, self.next_use(stmts, k, found.out)
        if isinstance(last, Op) and last.op == "shaped" and self.uses.get(last.outs[0]) == 1:
            shape, last = last, self.next_use(stmts, k, last.outs[0])
        if not isinstance(last, Op):
            return None
        value = found.out if shape is None else shape.outs[0]
        at = next(i for i, s in enumerate(stmts) if s is last)
        later = {o for s in stmts[k:at] for o in outs_of(s)}
        moved: list[Stmt] = []
        if last.op == "accumulate" and last.args[0] == value:
            first = last.args[1]
            made = self.makers.get(first) if isinstance(first, Var) and self.uses.get(first) == 1 else None
            if made is None or made.op != "map" or not self.is_sure(first) or not later.isdisjoint(made.args):
                return None
            new = self.begun(loop, found, first, last.outs[0], ())
            moved = [made] if first in later else []
        elif last.op == "update" and last.args[1] == value and last.attr("fn") == "add":
            target, *place = last.args[0], *last.args[2:]
            if not _is_row(last) or not later.isdisjoint((target, *place)) or self.mentioned(stmts[k:at], target):
                return None
            new = self.begun(loop, found, target, last.outs[0], place)
        else:
            return None
        gone = {id(s) for s in (shape, last, self.makers[loop.inits[found.at]], *moved)}  # type: ignore[index]
        before = [s for s in stmts[:k] if id(s) not in gone]
        return [*before, *moved, new, *(s for s in stmts[k + 1 :] if id(s) not in gone)], new

    def next_use(self, stmts: Sequence[Stmt], k: int, v: Var) -> Stmt | None:
        return next((s for s in stmts[k + 1 :] if v in args_of(s)), None)

    def mentioned(self, stmts: Sequence[Stmt], a: Atom) -> bool:
        return any(a in args_of(s) or any(a in free_vars(b) for b in blocks_of(s)) for s in stmts)

    def begun(self, loop: Loop, found: Sum, first: Atom, out: Var, place: Sequence[Atom]) -> Loop:
        """The loop that begins with another tensor, and adds at this place of it."""
        names = {v: Var(v.id, first.type, v.name) for v in (found.param, *(o for op in found.links for o in op.outs))}

        def added(s: Stmt) -> Stmt:
            if not any(s is op for op in found.links):
                return s
            assert isinstance(s, Op)
            kinds = (*("i" for _ in place), *s.attr("kinds"))  # type: ignore[misc]
            attrs = tuple((key, kinds if key == "kinds" else x) for key, x in s.attrs)
            return replace(s, outs=(names[s.outs[0]],), args=(*s.args[:2], *place, *s.args[2:]), attrs=attrs)

        body = substitute(Block(tuple(map(added, loop.body.stmts)), loop.body.tail), names)
        params, inits = list(loop.params), list(loop.inits)
        params[found.at], inits[found.at] = names[found.param], first
        return replace(loop, params=tuple(params), inits=tuple(inits), body=body,
                       outs=tuple(out if o == found.out else o for o in loop.outs))


def _is_row(update: Op) -> bool:
    """Is the value all that lies at an index along the first axes?"""
    kinds = update.attr("kinds")
    assert isinstance(kinds, tuple)
    n = rank(update.args[1].type)
    return n > 0 and kinds == (*("i",) * (len(kinds) - n), *("",) * n) and update.attr("axes") == tuple(range(n))
