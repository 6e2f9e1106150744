"""Which parameters a function only reads: its callers keep them, and nothing is counted for the call. But where no
caller needs a tensor after a call, and a kernel may write its result over it, the function takes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import dropwhile

from hybridc.core.ir import (
    Atom,
    Call,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Program,
    Scope,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.ops import OPS, may_fault
from hybridc.core.walk import all_blocks, calls, once, outs_of, statements_in
from hybridc.passes.liveness import Counted, Liveness

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
    given = given_up(program, counted)
    borrowed = {n: tuple((n, i) not in given for i in range(len(f.params))) for n, f in program.fns.items()}
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


def given_up(program: Program, counted: Counted) -> set[tuple[str, int]]:
    """Parameters, by function and place, that a kernel may write its result over, and that no caller needs after its
    call: the parameters and moments of an optimiser that is called in several places."""
    wanted = {(n, i) for n, f in program.fns.items() for i in _over(f)}
    names = {n for n, _ in wanted}
    called, needed = set(), set()
    for fn in program.fns.values():
        for call, after, mine in () if names.isdisjoint(calls(fn)) else _calls_in(fn, counted):
            for i, a in enumerate(call.args):
                called.add((call.fn, i))
                if a not in mine or a.id in after or call.args.count(a) > 1:  # type: ignore[union-attr]
                    needed.add((call.fn, i))
    return wanted & called - needed


def _calls_in(fn: Fn, counted: Counted) -> Iterator[tuple[Call, Collection[int], set[Atom]]]:
    """Its calls, with the ids of what is needed after each, and what is its own (`_own`)."""
    live, mine = Liveness(fn, counted), _own(fn)
    for b in all_blocks(fn.body):
        for s, after in zip(b.stmts, live.after(b), strict=True):
            if isinstance(s, Call):
                yield s, after, mine


@once
def _over(fn: Fn) -> set[int]:
    """Which parameters are operands of kernels that make a tensor like them, or enums that hold such an operand; if
    nothing looks at a part of them."""
    wanted: set[Atom] = set()
    comes_from: dict[Var, list[Atom]] = {}
    apart = _looked_into(fn)
    for s in statements_in(fn):
        match s:
            case Fused(outs) if not s.device:
                kinds = {o.type.elem for o in outs if isinstance(o.type, TensorT)}
                wanted.update(a for a in s.args if isinstance(a.type, TensorT) and a.type.elem in kinds)
            case If(outs):
                _handed(outs, [s.then.tail.values, s.orelse.tail.values], comes_from)
            case Match(outs):
                _handed(outs, [arm.body.tail.values for arm in s.arms if isinstance(arm.body.tail, Yield)], comes_from)
                for arm in s.arms:
                    comes_from.update((f, [s.subject]) for f in arm.fields)
            case Scope(outs, label, body):
                tails = [b.tail for b in all_blocks(body)]
                ends = [t.values for t in tails if isinstance(t, Exit) and t.label == label]
                _handed(outs, ends, comes_from)
    todo = list(wanted)
    while todo:
        a = todo.pop()
        for x in comes_from.get(a, ()) if isinstance(a, Var) else ():
            if x not in wanted:
                wanted.add(x)
                todo.append(x)
    return {i for i, p in enumerate(fn.params) if p in wanted and p not in apart}


def _handed(outs: Sequence[Var], ends: Sequence[Sequence[Atom]], into: dict[Var, list[Atom]]) -> None:
    for i, o in enumerate(outs):
        into[o] = [values[i] for values in ends if i < len(values)]


@once
def _looked_into(fn: Fn) -> set[Atom]:
    """Of what something is a part."""
    return {s.args[0] for s in statements_in(fn)
            if isinstance(s, Op) and s.args and (OPS[s.op].alias or OPS[s.op].looks or s.op == "index")}


def _own(fn: Fn) -> set[Atom]:
    """What is made in a function, or handed on by its loops; no part of anything, and nothing is a part of it."""
    found: set[Atom] = set()
    for s in statements_in(fn):
        if not isinstance(s, Op) or not (OPS[s.op].alias or OPS[s.op].looks or s.op == "index"):
            found.update(outs_of(s))
        found.update(s.params if isinstance(s, Loop) else ())
    return found - _looked_into(fn)


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
