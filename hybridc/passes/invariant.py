"""What is the same at every turn of a loop is computed before it, if it costs little and cannot fault.

`for dy, dx in [(-1, 0), (1, 0), (0, -1), (0, 1)]` within another loop makes the same list at each of its turns. What is
made of constants only, and only read, is made before all loops.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from hybridc.base.immutable import replace
from hybridc.core.ir import Block, Const, Fn, Loop, Op, Prim, Program, Stmt, Var
from hybridc.core.walk import (
    all_blocks,
    args_of,
    map_blocks,
    operators,
    rebuilt,
    statements,
    statements_in,
    uses,
    with_body,
)
from hybridc.passes.counted import within
from hybridc.passes.each import each

CHEAP = frozenset("get buffer_len add sub mul neg minimum maximum bit_and bit_or bit_xor bit_not".split())
MAKES = frozenset({"tuple", "struct", "some", "none", "str", "buffer_new", "buffer_set"})
READS = frozenset({"buffer_get", "buffer_len"})
LARGEST = 64
"""Elements of a list that is made early."""


def run(program: Program) -> Program:
    """Constant lists of every function."""
    return each(program, "invariant", _early)


def _early(fn: Fn) -> Fn:
    if "buffer_set" not in operators(fn) or not any(isinstance(s, Loop) for s in statements_in(fn)):
        return fn
    fixed = _fixed(fn.body)
    return with_body(fn, _block(fn.body, lambda op: not fixed.isdisjoint(op.outs))) if fixed else fn


def _fixed(body: Block) -> Set[Var]:
    """What is made of constants and then only read."""
    times = uses(body)
    found: set[Var] = set()
    for s in statements(body):
        if isinstance(s, Op) and s.op in MAKES and all(isinstance(a, Const) or a in found for a in s.args):
            small = s.op != "buffer_new" or isinstance(s.args[0], Const) and 0 < s.args[0].value <= LARGEST
            if small and (s.op != "buffer_set" or times[s.args[0]] == 1):  # type: ignore[index]
                found.update(s.outs)
    before = 0
    while len(found) != before:
        before = len(found)
        for s in statements(body):
            if not isinstance(s, Op) or s.op not in READS and found.isdisjoint(s.outs):
                found.difference_update(args_of(s))  # type: ignore[arg-type]
        for b in all_blocks(body):
            found.difference_update(b.tail.values)  # type: ignore[arg-type]
        made = [s for s in statements(body) if isinstance(s, Op) and s.outs[:1] and s.outs[0] in found]
        found = {s.outs[0] for s in made if all(isinstance(a, Const) or a in found for a in s.args)}
    return found


def hoisted(loop: Loop, out: list[Stmt], known: Set[int] = frozenset()) -> Loop:
    """The loop without what `out` has now. The elements of buffers that are `known` to be there can be read before."""
    return _without(loop, out, lambda op: op.op in CHEAP or any(o.id in known for o in op.outs))


def numbers_hoisted(block: Block) -> Block:
    """With the numbers that no turn changes computed before all loops that need not be around them."""
    return _block(block, lambda op: op.op in CHEAP and all(isinstance(o.type, Prim) for o in op.outs))


def _block(block: Block, moves: Callable[[Op], bool]) -> Block:
    out: list[Stmt] = []
    for stmt in block.stmts:
        stmt = map_blocks(stmt, lambda b: _block(b, moves))
        out.append(_without(stmt, out, moves) if isinstance(stmt, Loop) else stmt)
    return rebuilt(block, out, block.tail)


def _without(loop: Loop, out: list[Stmt], moves: Callable[[Op], bool]) -> Loop:
    inside = within(loop)

    def same(op: Op) -> bool:
        return moves(op) and not any(isinstance(a, Var) and a.id in inside for a in op.args)

    def inner(b: Block) -> Block:
        kept: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Op) and same(stmt):
                out.append(stmt)
                inside.difference_update(o.id for o in stmt.outs)
            else:
                kept.append(map_blocks(stmt, inner))
        return rebuilt(b, kept, b.tail)

    body = inner(loop.body)
    return loop if body is loop.body else replace(loop, body=body)
