"""Puts small functions where they are called.

Call chains must stay as the user wrote them, so a function is only inlined if nobody can miss its frame: library code
(`hidden`), or code that can neither fault nor be interrupted. What is inlined bears the place of the call, which is
where a fault in library code is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from operator import is_

from hybridc.base.immutable import replace
from hybridc.base.source import Span
from hybridc.core.ir import (
    INT,
    RETURN,
    Atom,
    Block,
    Call,
    Exit,
    Fault,
    Fn,
    Loop,
    Op,
    Program,
    Scope,
    Stmt,
    Tail,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.walk import (
    Freshener,
    all_blocks,
    calls,
    diverges,
    exits_to,
    gradients,
    highest_id,
    highest_label,
    map_atoms,
    map_blocks,
    map_tail,
    rebuilt,
    size,
    statements,
    statements_in,
    with_body,
)
from hybridc.passes.ahead import given_rows
from hybridc.passes.dce import pure_functions

SMALL = 16
"""Statements of a function that is inlined wherever it is called."""
REPEATED = 40
"""Statements of a function that is inlined into a loop: one that sets a key is then told where the key was found."""
ONCE = 120
"""Statements of a function that is inlined if it is called in one place only, or multiplies a row of a loop's own."""
WITH_TENSORS = 800
"""Statements of a function of tensors that is inlined where these would cross into another memory."""
LARGEST = 4000
"""Statements beyond which a function takes nothing more in."""


def run(program: Program, roots: Iterable[str] = (), tensors: bool = False) -> Program:
    """Callees first, so that what is inlined is finished. `roots` are called from outside too. `tensors`: larger ones
    too, if they take and give some."""
    places: dict[str, int] = dict.fromkeys(roots, 2)
    for fn in program.fns.values():
        for name, times in calls(fn).items():
            places[name] = places.get(name, 0) + times
    pure = pure_functions(program)
    done: dict[str, Fn] = {}

    def wanted(name: str, rows: Collection[str], repeated: Collection[str]) -> bool:
        callee = done.get(name)
        if callee is None or callee.adjoint or callee.checkpoint or not (callee.hidden or name in pure):
            return False
        if differentiates(callee, program):
            return False
        crosses = tensors and any(isinstance(t, TensorT) for t in (*callee.results, *(p.type for p in callee.params)))
        once = places.get(name) == 1 or name in rows and _multiplies(callee)
        if size(callee) > (WITH_TENSORS if crosses else ONCE if once else REPEATED if name in repeated else SMALL):
            return False
        return name not in calls(callee)

    for name in callees_first(program):
        fn = program.fns[name]
        rows, repeated = given_rows(fn), _repeated(fn)
        taken = [done[c] for c in calls(fn) if wanted(c, rows, repeated)]
        if taken and size(fn) < LARGEST:
            spared = _now_and_then(fn, taken) | _searches(fn, taken)
            fn = into(fn, [c for c in taken if c.name not in spared])
        done[name] = fn
    return Program(program.structs, program.enums, {n: done[n] for n in program.fns})


def _now_and_then(fn: Fn, taken: list[Fn]) -> set[str]:
    """Those that stay apart so that the function stays small, and goes where it is called: large ones that it calls on
    some ways only. A map that sets a key that it has needs none of what adds one. (What is put together becomes smaller
    yet: half of it goes on.)"""
    always = {s.fn for s in fn.body.stmts if isinstance(s, Call)}
    large = [c for c in taken if size(c) > SMALL and c.name not in always]
    rest = size(fn) + sum(size(c) for c in taken if size(c) <= SMALL)
    return {c.name for c in large} if fn.hidden and rest <= 2 * SMALL else set()


def _searches(fn: Fn, taken: list[Fn]) -> set[str]:
    """Library code that looks for a place in a loop, and is come to on some ways only, stays apart: a walk over a map
    has the next entry at hand, mostly."""
    always = {s.fn for body in (fn.body, *(s.body for s in statements_in(fn) if isinstance(s, Loop)))
              for s in body.stmts if isinstance(s, Call)}
    return {c.name for c in taken if c.name not in always and c.hidden and c.results == (INT,) and not calls(c)
            and any(isinstance(s, Loop) for s in statements_in(c))}


def _repeated(fn: Fn) -> set[str]:
    """The functions that a loop calls."""
    return {s.fn for loop in statements_in(fn) if isinstance(loop, Loop) for s in statements(loop.body)
            if isinstance(s, Call)}


def _multiplies(fn: Fn) -> bool:
    return any(isinstance(s, Op) and s.op == "matmul" for s in statements_in(fn))


def differentiates(fn: Fn, program: Program) -> bool:
    """Before derivatives are written out: what takes one, and what chooses between such functions, stays apart, so that
    only a function that runs one is held up by it."""
    return bool(gradients(fn)) or any(gradients(program.fns[c]) for c in calls(fn))


def into(fn: Fn, taken: list[Fn]) -> Fn:
    """A function with what these do in the place of their calls. They are kept as what was looked at, so that none of
    them can be taken for another."""
    for others, made in fn.known.get("inline", ()):
        if len(others) == len(taken) and all(map(is_, others, taken)):
            return made  # type: ignore[no-any-return]
    names = {callee.name: callee for callee in taken}
    made = inlined(fn, names, names.__contains__)
    fn.known["inline"] = (*fn.known.get("inline", ())[-1:], (taken, made))
    return made


def inlined(fn: Fn, done: dict[str, Fn], wanted: Callable[[str], bool]) -> Fn:
    """With what the wanted functions do in the place of their calls."""
    return _Inliner(fn, done, wanted).run()


def callees_first(program: Program) -> list[str]:
    order: list[str] = []
    seen: set[str] = set()
    for root in program.fns:
        stack = [(root, iter(calls(program.fns[root])))] if root not in seen else []
        seen.add(root)
        while stack:
            name, rest = stack[-1]
            callee = next(rest, None)
            if callee is None:
                order.append(name)
                stack.pop()
            elif callee not in seen:
                seen.add(callee)
                stack.append((callee, iter(calls(program.fns[callee]))))
    return order


class _Inliner:
    def __init__(self, fn: Fn, done: dict[str, Fn], wanted: Callable[[str], bool]) -> None:
        self.fn = fn
        self.done = done
        self.wanted = wanted
        self.fresh = Freshener(highest_id(fn) + 1, highest_label(fn) + 1)
        self.value: dict[int, Atom] = {}

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_atoms(stmt, self.atom)
            if isinstance(stmt, Call) and self.wanted(stmt.fn):
                tail = self.call(stmt, out)
                if tail is not None:
                    return Block(tuple(out), tail)
            else:
                out.append(map_blocks(stmt, self.block))
                if diverges(out[-1]):  # what was inlined may never return
                    return Block(tuple(out), Yield())
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def call(self, stmt: Call, out: list[Stmt]) -> Tail | None:
        """Append what the callee does; a tail if it never returns."""
        callee = self.done[stmt.fn]
        values: dict[Var, Atom] = dict(zip(callee.params, stmt.args, strict=True))
        body = _at(callee.body, stmt.span)
        early = any(
            isinstance(b.tail, Exit) and b.tail.label == RETURN for b in all_blocks(body) if b is not body
        )
        if early:
            label = self.fresh.label()
            copied = self.fresh.copy(body, values, {RETURN: label})
            if isinstance(copied.tail, Exit):
                copied = Block(copied.stmts, Yield(copied.tail.values))
            assert exits_to(copied, label)
            out.append(Scope(stmt.outs, label, copied, stmt.span))
            return None
        copied = self.fresh.copy(body, values, {})
        out += copied.stmts
        if copied.stmts and diverges(copied.stmts[-1]):
            return Yield()
        if isinstance(copied.tail, Fault):
            return copied.tail
        self.value.update((o.id, v) for o, v in zip(stmt.outs, copied.tail.values, strict=True))
        return None


def _at(b: Block, span: Span) -> Block:
    """The block with every place replaced by the place of the call."""
    tail = replace(b.tail, span=span) if isinstance(b.tail, Fault) else b.tail
    return Block(tuple(map_blocks(replace(s, span=span), lambda i: _at(i, span)) for s in b.stmts), tail)
