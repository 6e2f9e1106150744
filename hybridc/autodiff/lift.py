"""Before a function is differentiated: parts and views of what a loop does not change, and tensors computed of these
alone, are named before it. So its tape has them once, and what is added to their adjoints in the turns is added to that
of the whole once, after the loop."""

from __future__ import annotations

from dataclasses import replace

from hybridc.core.ir import Block, Const, Fn, Loop, Op, Stmt
from hybridc.core.ops import is_pure
from hybridc.core.walk import all_blocks, bound_in, map_blocks, outs_of

VIEWS = ("get", "tensor_view")
COMPUTED = ("iota", "map", "reduce", "reshape", "transpose", "concat", "matmul", "cumsum", "index")
"""Where they cannot fault."""


def lifted(fn: Fn) -> Fn:
    return replace(fn, body=_block(fn.body))


def _block(block: Block) -> Block:
    out: list[Stmt] = []
    for stmt in block.stmts:
        stmt = map_blocks(stmt, _block)
        if isinstance(stmt, Loop):
            found, stmt = _out_of(stmt)
            out += found
        out.append(stmt)
    return Block(tuple(out), block.tail)


def _out_of(loop: Loop) -> tuple[list[Op], Loop]:
    """What each turn begins with or comes to and finds the same, and the loop without it."""
    inside = {v for b in all_blocks(loop.body) for s in b.stmts for v in (*outs_of(s), *bound_in(s))} | set(loop.params)
    found: list[Op] = []
    kept: list[Stmt] = []
    for s in loop.body.stmts:
        if isinstance(s, Op) and _movable(s) and all(isinstance(a, Const) or a not in inside for a in s.args):
            found.append(s)
            inside.difference_update(s.outs)
        else:
            kept.append(s)
    return found, replace(loop, body=Block(tuple(kept), loop.body.tail)) if found else loop


def _movable(op: Op) -> bool:
    return op.op in VIEWS or op.op in COMPUTED and is_pure(op)
