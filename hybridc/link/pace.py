"""How long a call of a function may last, so that the runtime knows what the call needs.

"brief"  a small bounded number of scalar steps: a caller may keep what others wait for (Python's GIL)
"plain"  it may last, but calls neither itself nor services of the host
"deep"   as plain, but it or what it calls may call itself: the stack must be known
""       anything else
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from hybridc.core.interface import Interface
from hybridc.core.ir import Call, Fault, Fn, Loop, Op, Parallel, Program, Stmt
from hybridc.core.walk import DERIVATIVES, blocks_of, calls, once, statements_in
from hybridc.link import surface
from hybridc.llvm.scalar_ops import SCALAR_ROWS

BRIEF = 2000
"""Statements, those of called functions counted at each place."""
QUICK = frozenset(SCALAR_ROWS) | {
    "select", "tuple", "struct", "get", "destruct", "enum", "tag", "made", "some", "none", "is_some", "unwrap", "str",
    "dim",
}
"""Operators that take a bounded time whatever their arguments. Values made of scalars by these alone hold a bounded
number of blocks, so that releasing them is brief too."""


OUTSIDE = ("host", *DERIVATIVES)
"""Operators that may do anything: ask the host, or call functions."""


def _quick(s: Stmt) -> bool:
    match s:
        case Op(op="index"):
            return all(kind == "i" for kind in s.attr("kinds", ("",)))  # type: ignore[attr-defined]
        case Op():
            return s.op in QUICK
        case Loop() | Parallel():
            return False
    return True


def _steps(program: Program, fn: Fn, cost: dict[str, float]) -> float:
    """Statements of a call at most, infinite if not bounded or not quick. What only leads to a fault is free as far
    as the library makes its message: a fault takes much longer than that anyway."""
    steps: float = 0
    todo = [(fn.body, False)]
    while todo and steps < inf:
        block, doomed = todo.pop()
        doomed = doomed or isinstance(block.tail, Fault)
        for s in block.stmts:
            steps += 1
            if isinstance(s, Call):
                steps += 0 if doomed and program.fns[s.fn].hidden else cost.get(s.fn, 0)
            elif not (_quick(s) or doomed and isinstance(s, Op)):
                return inf
            todo += [(inner, doomed) for inner in blocks_of(s)]
    return steps


@once
def _goes_outside(fn: Fn) -> bool:
    return any(isinstance(s, Op) and s.op in OUTSIDE for s in statements_in(fn))


def paces(program: Program, symbols: Iterable[str]) -> dict[str, str]:
    """The pace of each of these functions."""
    symbols = list(symbols)
    cost: dict[str, float] = {}
    """Of functions whose callees have been looked at; infinite for those that are not brief."""
    barred: set[str] = set()
    deep: set[str] = set()
    started: set[str] = set()
    stack = symbols[:]
    while stack:
        fn = program.fns[stack[-1]]
        callees = calls(fn)
        if fn.name not in started:
            started.add(fn.name)
            stack += [c for c in callees if c not in started]
            continue
        stack.pop()
        if fn.name in cost:
            continue
        if _goes_outside(fn):
            barred.add(fn.name)
        if any(c in deep or c not in cost for c in callees):  # one not yet done waits for this one: a cycle
            deep.add(fn.name)
        cost[fn.name] = inf if fn.name in deep else _steps(program, fn, cost)
    _spread(program, barred, cost)
    return {
        s: "" if s in barred else "deep" if s in deep else "brief" if cost[s] <= BRIEF else "plain" for s in symbols
    }


def _spread(program: Program, barred: set[str], reached: Iterable[str]) -> None:
    """Who calls what is barred is barred too, through cycles as well."""
    callers: dict[str, list[str]] = {}
    for name in reached:
        for callee in calls(program.fns[name]):
            callers.setdefault(callee, []).append(name)
    todo = list(barred)
    while todo:
        for caller in callers.get(todo.pop(), ()):
            if caller not in barred:
                barred.add(caller)
                todo.append(caller)


def mark(program: Program, interface: Interface) -> None:
    """Write the paces of the functions that Python sees into their entries. Done before any pass, while the program
    shows what is the library's, and once more when derivatives are written out, for those that may do anything before:
    what a derivative calls and how long it takes is seen only then."""
    entries = [e for e in surface.entries(interface) if not e.pace]
    found = paces(program, [e.symbol for e in entries])
    for e in entries:
        e.pace = found[e.symbol]
