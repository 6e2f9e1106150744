"""Before a function is differentiated: parts and views of what a loop does not change, and numbers and tensors computed
of these alone, are named before it. So its tape has them once, and what is added to their adjoints in the turns is
added to that of the whole once, after the loop."""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Const, Fn, If, Loop, Op, Prim, Stmt, Var, Yield
from hybridc.core.ops import is_pure
from hybridc.core.walk import all_blocks, bound_in, map_blocks, outs_of, statements_in, substitute

VIEWS = ("get", "tensor_view")
COMPUTED = ("iota", "map", "reduce", "reshape", "transpose", "concat", "matmul", "cumsum", "index")
"""Where they cannot fault."""


def portable(fn: Fn) -> Fn:
    """With the branches taken that a processor without the operator `packs` takes: what sorts there moves the elements
    with operators that have derivatives. And without prefetches."""
    ops = [s for s in statements_in(fn) if isinstance(s, Op) and s.op in ("packs", "buffer_prefetch")]
    return replace(fn, body=_decided(fn.body, {o for s in ops for o in s.outs})) if ops else fn


def _decided(block: Block, asked: set[Var]) -> Block:
    """Without the branches on those of these that are conditions, which do not hold; the others are what they are made
    of."""
    out: list[Stmt] = []
    known: dict[Var, Atom] = {}
    for stmt in block.stmts:
        if isinstance(stmt, If) and stmt.cond in asked:
            other = _decided(stmt.orelse, asked)
            out += other.stmts
            if not isinstance(other.tail, Yield):
                return Block(tuple(out), other.tail)
            values = (known.get(v, v) if isinstance(v, Var) else v for v in other.tail.values)
            known.update(zip(stmt.outs, values, strict=True))
        elif isinstance(stmt, Op) and stmt.op == "buffer_prefetch":
            whole = stmt.args[0]
            known[stmt.outs[0]] = known.get(whole, whole) if isinstance(whole, Var) else whole
        else:
            out.append(map_blocks(stmt, lambda b: _decided(b, asked)))
    return substitute(Block(tuple(out), block.tail), known)


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
    numbers = all(isinstance(a.type, Prim) for a in (*op.args, *op.outs))
    return op.op in VIEWS or (op.op in COMPUTED or numbers) and is_pure(op)
