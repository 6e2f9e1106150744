"""What is known of each function before its code is made: can it fault, can it call itself."""

from __future__ import annotations

from collections.abc import Iterator

from hybridc.core.ir import Fault, Fn, Fused, Loop, Op, Parallel, Program, Stmt
from hybridc.core.ops import may_fault
from hybridc.core.walk import all_blocks, calls, statements_in


def blocks_and_faults(fn: Fn) -> Iterator[Stmt | Fault]:
    """Every statement and fault of a function."""
    yield from statements_in(fn)
    for block in all_blocks(fn.body):
        if isinstance(block.tail, Fault):
            yield block.tail


class Facts:
    def __init__(self, program: Program, scalar_ops: frozenset[str]):
        self.program = program
        self._scalar_ops = scalar_ops
        """Operators that need no memory; they fault only as the table says."""
        self.calls: dict[str, list[str]] = {}
        own: set[str] = set()
        for fn in program.fns.values():
            self.calls[fn.name] = list(calls(fn))
            key = "may fault", scalar_ops
            faults = fn.known.get(key)
            if faults is None:
                faults = fn.known[key] = any(self._faults(s) for s in blocks_and_faults(fn))
            if faults:
                own.add(fn.name)
        self._recursive = self._cycles()
        self._faulting = self._spread(own | self._recursive)

    def may_fault(self, name: str) -> bool:
        return name in self._faulting

    def is_recursive(self, name: str) -> bool:
        return name in self._recursive

    def reachable(self, roots: list[str]) -> list[Fn]:
        """The functions that the roots need, in the program's order."""
        seen: set[str] = set()
        todo = list(roots)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.calls[name]
        return [fn for fn in self.program.fns.values() if fn.name in seen]

    def _faults(self, s: Stmt | Fault) -> bool:
        match s:
            case Fault() | Loop() | Parallel() | Fused():
                return True
            case Op():
                if s.op in self._scalar_ops:
                    return may_fault(s)
                if s.op == "enum":
                    return bool(s.args)
                return True
        return False

    def _spread(self, faulting: set[str]) -> set[str]:
        """With all who call one of these."""
        callers: dict[str, list[str]] = {}
        for name, callees in self.calls.items():
            for callee in callees:
                callers.setdefault(callee, []).append(name)
        todo = list(faulting)
        while todo:
            for caller in callers.get(todo.pop(), ()):
                if caller not in faulting:
                    faulting.add(caller)
                    todo.append(caller)
        return faulting

    def _cycles(self) -> set[str]:
        """Functions on a cycle of calls: Tarjan's components, without recursion."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        found: set[str] = set()
        for root in self.calls:
            if root in index:
                continue
            work = [(root, iter(self.calls[root]))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                name, rest = work[-1]
                for callee in rest:
                    if callee not in index:
                        index[callee] = low[callee] = len(index)
                        stack.append(callee)
                        on_stack.add(callee)
                        work.append((callee, iter(self.calls[callee])))
                        break
                    if callee in on_stack:
                        low[name] = min(low[name], index[callee])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[name])
                    if low[name] == index[name]:
                        component = []
                        while True:
                            member = stack.pop()
                            on_stack.discard(member)
                            component.append(member)
                            if member == name:
                                break
                        if len(component) > 1 or name in self.calls[name]:
                            found.update(component)
        return found
