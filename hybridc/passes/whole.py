"""Before derivatives are written out: a function that is differentiated takes in what is called in few places of all
that is differentiated, even if it is also called elsewhere or from outside. Then what does not change in a loop is not
kept for each turn, and what a turn adds to derivatives is seen by the loop. The functions themselves stay as they are;
their counterparts are differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hybridc.base.immutable import replace
from hybridc.base.names import unused
from hybridc.core.ir import Block, Call, Fn, Op, Program, Stmt, Type
from hybridc.core.walk import DERIVATIVES, calls, count, gradients, kept, map_blocks, rebuilt, with_body
from hybridc.passes.dce import pure_functions
from hybridc.passes.inline import LARGEST, ONCE, callees_first, differentiates, into

FEW = 2
"""A method that is differentiated is itself offered, which is another place."""


def run(program: Program, targets: Iterable[str], active: Callable[[Type], bool]) -> Program:
    """`targets` are the functions that are differentiated. A value of an `active` type may carry a derivative."""
    through = reached(program, targets, active)
    places: dict[str, int] = {}
    for name in through:
        for callee, times in calls(program.fns[name]).items():
            places[callee] = places.get(callee, 0) + times
    pure = pure_functions(program)
    done: dict[str, Fn] = {}

    def wanted(name: str) -> bool:
        fn = done.get(name)
        return (fn is not None and places[name] <= FEW and (fn.hidden or name in pure) and not fn.checkpoint
                and not differentiates(fn, program) and name not in calls(fn) and count(fn.body) <= ONCE)

    changed: dict[str, str] = {}
    for name in callees_first(program):
        fn = program.fns[name]
        if name not in through or gradients(fn):
            continue
        if count(fn.body) < LARGEST and any(wanted(c) for c in calls(fn)):
            fn = into(fn, [done[c] for c in calls(fn) if wanted(c)])
            changed[name] = unused(f"{name} whole", program.fns)
        done[name] = fn
    grew = True
    while grew:
        more = [n for n, fn in done.items() if n not in changed and any(c in changed for c in calls(fn))]
        changed.update((n, unused(f"{n} whole", program.fns)) for n in more)
        grew = bool(more)
    fns = {name: with_others(fn, {}, changed) for name, fn in program.fns.items()}
    fns.update((new, named(with_others(done[name], changed, {}), new)) for name, new in changed.items())
    return Program(program.structs, program.enums, fns)


def reached(program: Program, targets: Iterable[str], active: Callable[[Type], bool]) -> set[str]:
    """What derivatives go through."""
    found: set[str] = set()
    todo = list(targets)
    while todo:
        name = todo.pop()
        fn = program.fns[name]
        if name not in found and not fn.adjoint and any(map(active, fn.results)):
            found.add(name)
            todo += calls(fn)
    return found


def with_others(fn: Fn, called: dict[str, str], differentiated: dict[str, str]) -> Fn:
    """With these functions instead of others."""
    calling = {name: called[name] for name in calls(fn) if name in called}
    through = dict.fromkeys(str(op.attr("fn")) for op in gradients(fn))
    deriving = {name: differentiated[name] for name in through if name in differentiated}
    if not calling and not deriving:
        return fn

    def stmt(s: Stmt) -> Stmt:
        if isinstance(s, Call):
            return replace(s, fn=calling[s.fn]) if s.fn in calling else s
        if isinstance(s, Op):
            target = str(s.attr("fn")) if s.op in DERIVATIVES else ""
            if target not in deriving:
                return s
            return replace(s, attrs=tuple((k, deriving[target] if k == "fn" else v) for k, v in s.attrs))
        return map_blocks(s, block)

    def block(b: Block) -> Block:
        return rebuilt(b, list(map(stmt, b.stmts)), b.tail)

    return kept(fn, ("others", *calling.items(), "", *deriving.items()), lambda: with_body(fn, block(fn.body)))


def named(fn: Fn, name: str) -> Fn:
    """The function under another name."""
    return kept(fn, ("named", name), lambda: replace(fn, name=name))
