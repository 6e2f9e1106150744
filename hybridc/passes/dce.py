"""Deletes what nothing needs: pure operators and calls, results of branches, parameters of loops, functions.

What can fault, has an effect, or may not end stays.
"""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    RETURN,
    Arm,
    Atom,
    Block,
    Call,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    Tail,
    Var,
    Yield,
)
from hybridc.core.ops import OPS, is_pure
from hybridc.core.walk import (
    all_blocks,
    args_of,
    blocks_of,
    called,
    calls,
    diverges,
    mentions,
    once,
    rebuilt,
    statements,
    statements_in,
    unchanged,
    with_body,
)
from hybridc.passes.each import each


def prune(program: Program, roots: Iterable[str]) -> Program:
    """Only the functions that the roots can call."""
    kept: dict[str, None] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = None
            todo += mentions(program.fns[name])
    return Program(program.structs, program.enums, {n: f for n, f in program.fns.items() if n in kept})


def run(program: Program) -> Program:
    """Every function without its dead statements."""
    pure = pure_functions(program)
    return each(program, "dce", lambda fn: _Dce(fn, pure).run(), lambda fn: called(fn) & pure, settles=True)


def pure_functions(program: Program) -> frozenset[str]:
    """Functions that only compute: no fault, no effect, no loop, no recursion."""
    pure = {n for n, fn in program.fns.items() if _only_computes(fn)}
    ordered: dict[str, bool] = {}

    def visit(name: str, path: frozenset[str]) -> bool:
        if name not in pure or name in path:
            return False
        if name not in ordered:
            ordered[name] = all(visit(c, path | {name}) for c in calls(program.fns[name]))
        return ordered[name]

    return frozenset(n for n in program.fns if visit(n, frozenset()))


def silent_functions(program: Program) -> frozenset[str]:
    """Functions that nobody outside can see running: without effects."""
    loud = {n for n, fn in program.fns.items() if _has_effect(fn)}
    callers: dict[str, list[str]] = {}
    for name, fn in program.fns.items():
        for callee in calls(fn):
            callers.setdefault(callee, []).append(name)
    todo = list(loud)
    while todo:
        for caller in callers.get(todo.pop(), ()):
            if caller not in loud:
                loud.add(caller)
                todo.append(caller)
    return frozenset(program.fns.keys() - loud)


@once
def _has_effect(fn: Fn) -> bool:
    """But for what it calls."""
    return any(isinstance(s, Op) and OPS[s.op].effect for s in statements_in(fn))


@once
def _only_computes(fn: Fn) -> bool:
    """But for what it calls."""
    return not any(_impure(b) for b in all_blocks(fn.body))


def _impure(b: Block) -> bool:
    return isinstance(b.tail, Fault) or any(
        isinstance(s, (Loop, Parallel, Fused)) or (isinstance(s, Op) and not is_pure(s)) for s in b.stmts
    )


class _Dce:
    def __init__(self, fn: Fn, pure: frozenset[str]):
        self.fn = fn
        self.pure = pure
        self.needed: set[int] = set()
        self.targets: dict[int, tuple[Var, ...]] = {}
        """For each label, the variables that its exits give."""
        self.lasting: dict[int, bool] = {}

    def run(self) -> Fn:
        results = tuple(Var(-1 - i, t) for i, t in enumerate(self.fn.results))
        self.needed.update(r.id for r in results)
        self.targets[RETURN] = results
        self.mark(self.fn.body, results)
        return with_body(self.fn, self.sweep(self.fn.body, results))

    # ---- what is needed
    def need(self, atoms: Iterable[Atom]) -> None:
        for a in atoms:
            if isinstance(a, Var):
                self.needed.add(a.id)

    def flow(self, targets: Iterable[Var], values: Iterable[Atom]) -> None:
        self.need(v for t, v in zip(targets, values, strict=True) if t.id in self.needed)

    def mark(self, b: Block, yields: tuple[Var, ...]) -> None:
        """From the end, so that what needs a variable is seen before what makes it; but a turn of a loop makes the
        parameters of the next, so its body is looked through until no more of them are needed."""
        match b.tail:
            case Yield(values) if not _cut(b):
                self.flow(yields, values)
            case Exit(label, values):
                self.flow(self.targets[label], values)
            case Fault(_, values, _):
                self.need(values)
        for stmt in reversed(b.stmts):
            if isinstance(stmt, (Loop, Scope)):
                self.targets[stmt.label] = stmt.outs
            if not self.stays(stmt):
                continue
            match stmt:
                case Op() | Call() | Parallel() | Fused():
                    self.need(args_of(stmt))
                    if isinstance(stmt, Parallel):
                        result = Var(-1000000 - stmt.out.id, stmt.out.type)
                        self.needed.add(result.id)
                        self.mark(stmt.body, (result,))
                case If() | Match():
                    self.need(args_of(stmt))
                    for inner in blocks_of(stmt):
                        self.mark(inner, stmt.outs)
                case Scope():
                    self.mark(stmt.body, stmt.outs)
                case Loop():
                    before = -1
                    while before < (now := sum(p.id in self.needed for p in stmt.params)):
                        before = now
                        self.mark(stmt.body, stmt.params)
                    self.flow(stmt.params, stmt.inits)

    def stays(self, stmt: Stmt) -> bool:
        outs = (stmt.out,) if isinstance(stmt, Parallel) else stmt.outs
        return any(o.id in self.needed for o in outs) or self.lasts(stmt)

    def lasts(self, stmt: Stmt) -> bool:
        """Must it stay though its results are not used?"""
        match stmt:
            case Op():
                return not is_pure(stmt)
            case Call():
                return stmt.fn not in self.pure
            case Fused():
                return any(not is_pure(op) for op in stmt.ops)
        key = id(stmt)
        if key not in self.lasting:
            within = [stmt, *(i for b in blocks_of(stmt) for i in statements(b))]
            own = {s.label for s in within if isinstance(s, (Loop, Scope))}
            self.lasting[key] = isinstance(stmt, (Loop, Parallel)) or any(
                self.block_lasts(b, own) for inner in blocks_of(stmt) for b in all_blocks(inner)
            )
        return self.lasting[key]

    def block_lasts(self, b: Block, own: set[int]) -> bool:
        if isinstance(b.tail, Fault) or (isinstance(b.tail, Exit) and b.tail.label not in own):
            return True
        return _impure(b) or any(isinstance(s, Call) and s.fn not in self.pure for s in b.stmts)

    # ---- what is left
    def kept(self, targets: tuple[Var, ...], values: tuple[Atom, ...]) -> tuple[Atom, ...]:
        return tuple(v for t, v in zip(targets, values, strict=True) if t.id in self.needed)

    def sweep(self, b: Block, yields: tuple[Var, ...]) -> Block:
        stmts = tuple(self.one(s) for s in b.stmts if self.stays(s))
        tail: Tail = b.tail
        match tail:
            case Yield(values) if not _cut(b):
                tail = _with(tail, self.kept(yields, values))
            case Exit(label, values):
                tail = _with(tail, self.kept(self.targets[label], values))
        return rebuilt(b, stmts, tail)

    def one(self, stmt: Stmt) -> Stmt:
        new = self.swept(stmt)
        return stmt if unchanged(stmt, new) else new

    def swept(self, stmt: Stmt) -> Stmt:
        match stmt:
            case If(outs, cond, then, orelse, span):
                return If(self.vars(outs), cond, self.sweep(then, outs), self.sweep(orelse, outs), span)
            case Match(outs, subject, arms, span):
                swept_arms = tuple(Arm(a.case, a.fields, self.sweep(a.body, outs)) for a in arms)
                return Match(self.vars(outs), subject, swept_arms, span)
            case Scope(outs, label, body, span):
                return Scope(self.vars(outs), label, self.sweep(body, outs), span)
            case Loop(outs, label, params, inits, body, span):
                swept = self.sweep(body, params)
                return Loop(self.vars(outs), label, self.vars(params), self.kept(params, inits), swept, span)
            case Parallel(out, index, count, body, span):
                result = Var(-1000000 - out.id, out.type)
                return Parallel(out, index, count, self.sweep(body, (result,)), span)
        return stmt

    def vars(self, vs: tuple[Var, ...]) -> tuple[Var, ...]:
        return tuple(v for v in vs if v.id in self.needed)


def _with(tail: Tail, values: tuple[Atom, ...]) -> Tail:
    return tail if len(values) == len(tail.values) else replace(tail, values=values)


def _cut(b: Block) -> bool:
    """Is the end of the block never reached?"""
    return bool(b.stmts) and diverges(b.stmts[-1])
