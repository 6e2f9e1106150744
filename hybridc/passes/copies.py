"""Copies that remain: where a container is written that its program still needs as it was.

A value that is written and not needed afterwards is written in place. Where it is needed, the ownership pass counts it
once more right before it is taken over by what writes it (an operator, a function, a loop), which then has to copy. So
does the writing of an element that stays in its container too. Found in owned Core, without regard to which part of a
struct is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    Call,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Prim,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.walk import all_blocks, args_of, statements_in
from hybridc.passes.borrow import TOGETHER
from hybridc.passes.liveness import Counted
from hybridc.passes.ownership import OwnedProgram

WRITES = frozenset(
    "buffer_set buffer_take buffer_resize buffer_move buffer_copy buffer_scan sort_words update put scatter"
    " accumulate".split()
)
"""Operators that write into their first argument where nobody else holds it."""
APART = frozenset({"get", "destruct", "unwrap"})


@dataclass(frozen=True)
class Copy:
    """`what` is written by `stmt`. `element`: it stays in the container it was read from."""

    what: Var
    stmt: Stmt
    element: bool


def copies(owned: OwnedProgram) -> dict[str, list[Copy]]:
    """For each function that copies, in the order of the program."""
    counted = Counted(owned.program)
    written = {fn.name: _written(fn, {}) for fn in owned.program.fns.values()}
    changed = True
    while changed:
        changed = False
        for fn in owned.program.fns.values():
            now = _written(fn, {name: _params(owned.program.fns[name], w) for name, w in written.items()})
            changed = changed or now != written[fn.name]
            written[fn.name] = now
    params = {name: _params(owned.program.fns[name], w) for name, w in written.items()}
    found = {n: list(_copies(fn, written[n], params, counted)) for n, fn in owned.program.fns.items()}
    return {n: c for n, c in found.items() if c}


def _params(fn: Fn, written: set[int]) -> tuple[bool, ...]:
    return tuple(p.id in written for p in fn.params)


def _writes(stmt: Stmt, params: dict[str, tuple[bool, ...]], written: set[int]) -> list[Var]:
    """The variables that a statement itself writes or hands to what does."""
    match stmt:
        case Op() if stmt.op in WRITES or stmt.op == "destruct" and any(o.id in written for o in stmt.outs):
            args = stmt.args[:1]
        case Op() if stmt.op in TOGETHER and stmt.outs[0].id in written and len(_buffers(stmt)) == 1:
            args = _buffers(stmt)
        case Call():
            args = tuple(a for a, w in zip(stmt.args, params.get(stmt.fn, (False,) * len(stmt.args)), strict=True) if w)
        case Loop():
            args = tuple(a for a, p in zip(stmt.inits, stmt.params, strict=True) if p.id in written)
        case _:
            args = ()
    return [a for a in args if isinstance(a, Var)]


def _buffers(op: Op) -> tuple[Atom, ...]:
    return tuple(a for a in op.args if not isinstance(a.type, Prim))


def _written(fn: Fn, params: dict[str, tuple[bool, ...]]) -> set[int]:
    """Variables whose value, or that of a part, is written somewhere."""
    sources: dict[int, list[int]] = {}

    def flow(targets: tuple[Var, ...], values: tuple[object, ...]) -> None:
        for t, v in zip(targets, values, strict=False):
            if isinstance(v, Var):
                sources.setdefault(t.id, []).append(v.id)

    def walk(block: Block, yields: tuple[Var, ...], exits: dict[int, tuple[Var, ...]]) -> None:
        for stmt in block.stmts:
            match stmt:
                case Op() if stmt.op in APART or stmt.op in TOGETHER:
                    for o in stmt.outs:
                        for a in stmt.args:
                            flow((o,), (a,))
                case If():
                    walk(stmt.then, stmt.outs, exits)
                    walk(stmt.orelse, stmt.outs, exits)
                case Match():
                    for arm in stmt.arms:
                        walk(arm.body, stmt.outs, exits)
                case Scope():
                    walk(stmt.body, stmt.outs, {**exits, stmt.label: stmt.outs})
                case Loop():
                    flow(stmt.params, stmt.inits)
                    walk(stmt.body, stmt.params, {**exits, stmt.label: stmt.outs})
                case Parallel():
                    walk(stmt.body, (), {})
        match block.tail:
            case Yield(values):
                flow(yields, values)
            case Exit(label, values):
                flow(exits.get(label, ()), values)

    walk(fn.body, (), {RETURN: ()})
    found: set[int] = set()
    before = -1
    while len(found) != before:  # whether a loop writes a parameter is known when what it does in its body is
        before = len(found)
        todo = [v.id for s in statements_in(fn) for v in _writes(s, params, found)]
        while todo:
            v = todo.pop()
            if v not in found:
                found.add(v)
                todo += sources.get(v, ())
    return found


def _copies(
    fn: Fn, written: set[int], params: dict[str, tuple[bool, ...]], counted: Counted
) -> Iterator[Copy]:
    for block in all_blocks(fn.body):
        kept: set[int] = set()
        for stmt in block.stmts:
            if isinstance(stmt, Op) and stmt.op == "retain":
                kept.update(a.id for a in args_of(stmt) if isinstance(a, Var))
                continue
            for v in _writes(stmt, params, written):
                if v.id in kept:
                    yield Copy(v, stmt, False)
            if isinstance(stmt, Op) and stmt.op == "buffer_get" and stmt.outs[0].id in written:
                if counted(stmt.outs[0]):
                    yield Copy(stmt.outs[0], stmt, True)
            kept.clear()
