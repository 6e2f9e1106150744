"""Which parameters a function only reads: its callers keep them, and nothing is counted for the call."""

from __future__ import annotations

from itertools import dropwhile

from hybridc.core.ir import Call, Exit, Fault, Fn, Fused, Loop, Match, Op, Program, TensorT, Var, Yield
from hybridc.core.ops import OPS, may_fault
from hybridc.core.walk import all_blocks, calls
from hybridc.passes.liveness import Counted

Borrowed = dict[str, tuple[bool, ...]]
TOGETHER = frozenset({"tuple", "struct", "some"})
"""Operators that put values together without memory of their own: what is only looked at takes nothing over."""


def renames(op: Op) -> bool:
    """Does it only give a tensor other sizes, without a question?"""
    return op.op == "reshape" and not may_fault(op) and all(
        isinstance(v.type, TensorT) and v.type.dims for v in (op.outs[0], op.args[0]))


def lies_together(op: Op) -> bool:
    """Is it a part of a tensor whose elements lie side by side: at an index along the first axes, from one index to
    another along the next, and all of the others?"""
    if op.op != "index" or not isinstance(op.outs[0].type, TensorT) or op.outs[0].type.device:
        return False
    kinds = op.attr("kinds")
    assert isinstance(kinds, tuple)
    rest = list(dropwhile(lambda kind: kind == "i", kinds))
    return "c" not in rest[0] and not any(rest[1:])


def infer_borrowed(program: Program, counted: Counted) -> Borrowed:
    """The greatest solution: a parameter is borrowed unless some path takes it, or a part of it, over."""
    borrowed = {n: (True,) * len(f.params) for n, f in program.fns.items()}
    callers: dict[str, set[str]] = {}
    for name, fn in program.fns.items():
        for callee in calls(fn):
            callers.setdefault(callee, set()).add(name)
    waiting = dict.fromkeys(program.fns)
    while waiting:
        name = next(iter(waiting))
        del waiting[name]
        fn = program.fns[name]
        consumed = consumed_vars(fn, borrowed, counted)
        now = tuple(old and p.id not in consumed for p, old in zip(fn.params, borrowed[name], strict=True))
        if now != borrowed[name]:
            borrowed[name] = now
            waiting.update(dict.fromkeys(sorted(callers.get(name, ()))))
    return borrowed


def consumed_vars(fn: Fn, borrowed: Borrowed, counted: Counted) -> frozenset[int]:
    """Of a function and of what is known of those that it calls."""
    key = "consumed", tuple(borrowed[name] for name in calls(fn))
    found = fn.known.get(key)
    if found is None:
        found = fn.known[key] = frozenset(_consumed_vars(fn, borrowed, counted))
    return found  # type: ignore[no-any-return]


def _consumed_vars(fn: Fn, borrowed: Borrowed, counted: Counted) -> set[int]:
    """Variables that are taken over somewhere, or of which a part is. A field of a matched enum that is only returned
    or yielded does not count for the enum: keeping it costs one count, as taking over the enum would. A tuple, struct
    or option that is made takes its parts over if it is taken over itself."""
    direct: set[int] = set()
    made_of: dict[int, list[int]] = {}
    handed_on: set[int] = set()
    part_of: dict[int, int] = {}
    field_of: dict[int, int] = {}

    def note(atoms: tuple, into: set[int]) -> None:
        for a in atoms:
            if isinstance(a, Var) and counted.of(a.type):
                into.add(a.id)

    for b in all_blocks(fn.body):
        for stmt in b.stmts:
            match stmt:
                case Op():
                    row = OPS[stmt.op]
                    if row.alias:
                        if isinstance(stmt.args[0], Var):
                            part_of[stmt.outs[0].id] = stmt.args[0].id
                    elif stmt.op in TOGETHER or renames(stmt):
                        made_of[stmt.outs[0].id] = [a.id for a in stmt.args if isinstance(a, Var) and counted(a)]
                    else:
                        note(tuple(a for i, a in enumerate(stmt.args) if row.mode(i) == "c"), direct)
                case Call():
                    lent = borrowed[stmt.fn]
                    note(tuple(a for a, keeps in zip(stmt.args, lent, strict=True) if not keeps), direct)
                case Fused():
                    note(stmt.taken, direct)
                case Loop():
                    note(stmt.inits, handed_on)
                case Match():
                    if isinstance(stmt.subject, Var):
                        field_of.update((f.id, stmt.subject.id) for arm in stmt.arms for f in arm.fields)
        if isinstance(b.tail, (Yield, Exit, Fault)):
            note(b.tail.values, handed_on)

    found: set[int] = set()
    todo = [(v, True) for v in direct] + [(v, False) for v in handed_on]
    seen: set[tuple[int, bool]] = set()
    while todo:
        v, strong = todo.pop()
        if (v, strong) in seen:
            continue
        seen.add((v, strong))
        found.add(v)
        todo += [(a, True) for a in made_of.get(v, ())]
        if v in part_of:
            todo.append((part_of[v], strong))
        if v in field_of and strong:
            todo.append((field_of[v], True))
    return found
