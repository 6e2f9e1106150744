"""Before ownership: a new buffer of bytes that is filled at once is one operator.

`buffer_copy(buffer_new(n), 0, source, start, n)` becomes `buffer_cut(source, start, n)`: one call instead of two, no
bytes cleared that are then written, and no memory at all where it is one ASCII character, as in programs that read text
letter by letter. Runs after `views`, which makes the copies that are only read no copies.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import INT, Block, Const, Fn, Op, Program, Var
from hybridc.core.ops import BYTES, OPS
from hybridc.core.walk import map_blocks, uses
from hybridc.passes.each import each


def run(program: Program) -> Program:
    return each(program, "cuts", _cut, needs=["buffer_copy"])


def _cut(fn: Fn) -> Fn:
    times, gone = uses(fn.body), set[int]()

    def block(b: Block) -> Block:
        stmts = [map_blocks(s, block) for s in b.stmts]
        made: dict[Var, Op] = {}
        for i, stmt in enumerate(stmts):
            if not isinstance(stmt, Op) or stmt.op not in ("buffer_new", "buffer_copy") and (
                OPS[stmt.op].effect or OPS[stmt.op].may_fault(stmt)
            ):
                made.clear()  # what may end the function stays before and after what it was before and after
            elif stmt.op == "buffer_new" and stmt.outs[0].type == BYTES and times.get(stmt.outs[0]) == 1:
                made[stmt.outs[0]] = stmt
            elif stmt.op == "buffer_copy" and isinstance(stmt.args[0], Var) and stmt.args[0] in made:
                _, at, source, start, count = stmt.args
                new = made.pop(stmt.args[0])
                if at == Const(0, INT) and new.args == (count,):
                    stmts[i] = Op(stmt.outs, "buffer_cut", (source, start, count), (), stmt.span)
                    gone.add(id(new))
        return Block(tuple(s for s in stmts if id(s) not in gone), b.tail)

    body = block(fn.body)
    return replace(fn, body=body) if gone else fn
