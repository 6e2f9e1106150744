"""A loop that adds to a tensor at every turn begins with one of full size.

Derivatives begin with a tensor without elements, which stands for zeros, and `shaped` gives it its size before what
is added. In a loop that is asked at every turn; asked once before the loop, the turns only add, in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybridc.core.ir import Atom, Block, Const, Fn, Loop, Op, Program, Stmt, Var, Yield
from hybridc.core.walk import highest_id, map_blocks, rebuilt, substitute, with_body
from hybridc.passes.counted import within
from hybridc.passes.each import each

SAME_SIZE = frozenset({"update", "put", "scatter", "accumulate", "add_product", "shaped"})
"""Their result is as large as their first argument, where that has elements."""


def run(program: Program) -> Program:
    return each(program, "full_size", lambda fn: _FullSize(fn).run())


class _FullSize:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.next_id = highest_id(fn) + 1
        self.origin: dict[int, Atom] = {}
        """A value as large as a variable."""

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_blocks(stmt, self.block)
            if isinstance(stmt, Loop):
                before, stmt = self.loop(stmt)
                out += before
            elif isinstance(stmt, Op) and stmt.op in SAME_SIZE:
                self.origin[stmt.outs[0].id] = stmt.args[0]
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def loop(self, loop: Loop) -> tuple[Sequence[Stmt], Loop]:
        """What is made before it, and the loop."""
        if not isinstance(loop.body.tail, Yield) or len(loop.body.tail.values) != len(loop.params):
            return (), loop
        inside = within(loop)
        asked = {
            op.args[0]: op for op in reversed(loop.body.stmts)
            if isinstance(op, Op) and op.op == "shaped" and op.args[0] in loop.params
            and all(isinstance(n, Const) or n.id not in inside for n in op.args[1:])
        }
        before: list[Stmt] = []
        inits = list(loop.inits)
        instead: dict[Var, Atom] = {}
        params = list(loop.params)
        for i, p in enumerate(loop.params):
            op = asked.get(p)
            if op is None or not self.grows_from(loop.body.tail.values[i], op.outs[0]):
                continue
            full = replace(op.outs[0], id=self.next_id)
            carried = replace(op.outs[0], id=self.next_id + 1)
            self.next_id += 2
            before.append(replace(op, outs=(full,), args=(inits[i], *op.args[1:])))
            inits[i], params[i] = full, carried
            instead[p] = instead[op.outs[0]] = carried
            self.origin[full.id] = before[-1].args[0]  # type: ignore[union-attr]
        if not before:
            return (), loop
        gone = set(instead)
        kept = [s for s in loop.body.stmts if not (isinstance(s, Op) and s.op == "shaped" and s.outs[0] in gone)]
        body = substitute(Block(tuple(kept), loop.body.tail), instead)
        return before, replace(loop, params=tuple(params), inits=tuple(inits), body=body)

    def grows_from(self, v: Atom, start: Var) -> bool:
        """Is the value made of another one by operators that keep its size?"""
        while v != start:
            if not isinstance(v, Var) or v.id not in self.origin:
                return False
            v = self.origin[v.id]
        return True
