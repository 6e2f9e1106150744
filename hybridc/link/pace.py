"""How long a call of a function may last, so that the runtime knows what the call needs.

"brief"  a small bounded number of scalar steps: a caller may keep what others wait for (Python's GIL)
"plain"  it may last, but calls neither itself, nor services of the host, nor parallel workers
""       anything else
"""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.core.ir import Loop, Op, Parallel, Program, Stmt
from hybridc.core.walk import calls, count, statements
from hybridc.llvm.scalar_ops import SCALAR_ROWS

BRIEF = 2000
"""Statements, those of called functions counted at each place."""
QUICK = frozenset(SCALAR_ROWS) | {
    "select", "tuple", "struct", "get", "destruct", "enum", "tag", "some", "none", "is_some", "unwrap", "str", "dim",
}
"""Operators that take a bounded time whatever their arguments. Values made of these alone hold a bounded number of
blocks, so that releasing them is brief too."""


def _quick(s: Stmt) -> bool:
    match s:
        case Op(op="index"):
            return all(kind == "i" for kind in s.attr("kinds", ("",)))  # type: ignore[attr-defined]
        case Op():
            return s.op in QUICK
        case Loop():
            return False
    return True


def paces(program: Program, symbols: Iterable[str]) -> dict[str, str]:
    """The pace of each of these functions."""
    cost: dict[str, float] = {}
    """Of functions whose callees have been looked at; infinite for those that are not brief."""
    barred: set[str] = set()
    started: set[str] = set()
    for symbol in symbols:
        stack = [symbol]
        while stack:
            name = stack[-1]
            fn = program.fns[name]
            callees = calls(fn)
            if name not in started:
                started.add(name)
                stack += [c for c in callees if c not in started]
                continue
            stack.pop()
            if name in cost:
                continue
            body = list(statements(fn.body))
            if any(isinstance(s, Parallel) or isinstance(s, Op) and s.op == "host" for s in body):
                barred.add(name)
            if any(c in barred or c not in cost for c in callees):  # one not yet done waits for this one: a cycle
                barred.add(name)
            steps = count(fn.body) + sum(times * cost.get(c, 0) for c, times in callees.items())
            cost[name] = steps if all(map(_quick, body)) else float("inf")
    return {s: "" if s in barred else "brief" if cost[s] <= BRIEF else "plain" for s in dict.fromkeys(symbols)}
