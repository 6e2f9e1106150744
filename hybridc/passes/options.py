"""An option that a branch makes and that is only looked at afterwards is the branch's condition and what it holds.

`m.get(k) ?? d` is a function that ends early where there is nothing, and a look at what it gave. Inlined, that is a
scope with one early end, which is a branch; then no option is made, and where the condition is known nobody asks again.
"""

from __future__ import annotations

from hybridc.core.ir import (
    BOOL,
    Atom,
    Block,
    Const,
    Exit,
    Fn,
    If,
    Op,
    OptionT,
    Program,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.walk import (
    all_blocks,
    args_of,
    diverges,
    exits_to,
    highest_id,
    map_atoms,
    map_blocks,
    map_tail,
    rebuilt,
    statements_in,
    tail_values,
    with_body,
)
from hybridc.passes.each import each

LOOKS = frozenset({"is_some", "unwrap"})


def run(program: Program) -> Program:
    """Every function."""
    return each(program, "options", lambda fn: _Options(fn).run())


class _Options:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.next = highest_id(fn) + 1
        self.used: set[Atom] = {a for b in all_blocks(fn.body) for a in tail_values(b.tail)}
        """What is used otherwise than by looking at it."""
        for s in statements_in(fn):
            if not (isinstance(s, Op) and s.op in LOOKS):
                self.used.update(args_of(s))
        self.known: dict[Atom, tuple[Atom, Atom]] = {}
        """Of options that are made no more: is there something, and what."""
        self.value: dict[Atom, Atom] = {}

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a, a)

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for s in b.stmts:
            self.statement(s, out)
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def statement(self, s: Stmt, out: list[Stmt]) -> None:
        if isinstance(s, Scope):
            branch = branch_of(s)
            if branch is not None:
                for inner in branch:
                    self.statement(inner, out)
                return
        s = map_atoms(s, self.atom)
        if isinstance(s, Op) and s.op in LOOKS and s.args[0] in self.known:
            self.value[s.outs[0]] = self.known[s.args[0]][s.op == "unwrap"]
            return
        s = map_blocks(s, self.block)
        if isinstance(s, If):
            self.split(s, out)
        else:
            out.append(s)

    def split(self, s: If, out: list[Stmt]) -> None:
        """Appended, with what options hold instead of these."""
        inverse = Var(self.next, BOOL)
        self.next += 1
        inverted = False
        for k, o in enumerate(s.outs):
            if not isinstance(o.type, OptionT) or o in self.used:
                continue
            arms = (s.then, s.orelse)
            made = [_made(arm, k) if _yields(arm) else None for arm in arms]
            if not any(made) or any(m is None and _yields(arm) for m, arm in zip(made, arms, strict=True)):
                continue
            held = Var(self.next, o.type.item)
            self.next += 1
            then, orelse = (self.holding(arm, k, m, held) for arm, m in zip(arms, made, strict=True))
            s = If((*s.outs[:k], held, *s.outs[k + 1 :]), s.cond, then, orelse, s.span)
            there = [m.op == "some" for m in made if m is not None]
            one = len(set(there)) == 1
            self.known[o] = Const(there[0], BOOL) if one else s.cond if there[0] else inverse, held
            inverted |= not one and not there[0]
        if inverted:
            out.append(Op((inverse,), "not", (s.cond,), (), s.span))
        out.append(s)

    def holding(self, arm: Block, k: int, made: Op | None, held: Var) -> Block:
        """An arm that gives what the option holds, or zero."""
        if made is None:
            return arm
        stmts, value = arm.stmts, made.args[0] if made.args else Var(self.next, held.type)
        if not made.args:
            self.next += 1
            stmts = (*stmts, Op((value,), "zero", (), (), made.span))  # type: ignore[arg-type]
        values = tail_values(arm.tail)
        return Block(stmts, Yield((*values[:k], value, *values[k + 1 :])))


def _yields(arm: Block) -> bool:
    return isinstance(arm.tail, Yield) and not (arm.stmts and diverges(arm.stmts[-1]))


def _made(arm: Block, k: int) -> Op | None:
    """The operator that makes the k-th value of an arm, if it is `some` or `none`."""
    value = tail_values(arm.tail)[k]
    return next((s for s in arm.stmts if isinstance(s, Op) and s.op in ("some", "none") and s.outs[0] == value), None)


def branch_of(scope: Scope) -> tuple[Stmt, ...] | None:
    """The same as a branch, with what stands before it, if there is one early end and it decides at once."""
    body, label = scope.body, scope.label
    for i, s in enumerate(body.stmts):
        if not exits_to(Block((s,), Yield()), label):
            continue
        if not isinstance(s, If):
            return None
        then, orelse = s.then, s.orelse
        swapped = exits_to(then, label)
        ends, goes_on = (then, orelse) if swapped else (orelse, then)
        if s.outs or goes_on.stmts or not isinstance(goes_on.tail, Yield) or not isinstance(ends.tail, Exit):
            return None
        rest = Block(body.stmts[i + 1 :], body.tail)
        if ends.tail.label != label or exits_to(Block(ends.stmts, Yield()), label) or exits_to(rest, label):
            return None
        early = Block(ends.stmts, Yield(ends.tail.values))
        arms = (early, rest) if swapped else (rest, early)
        return (*body.stmts[:i], If(scope.outs, s.cond, *arms, s.span))
    return None
