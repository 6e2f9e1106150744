"""A small tensor, made of its elements, in the memory of one like it that is needed no more: the new position of a body
lies where the old one lay, if nobody else has that."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.ir import Op, Prim, Stmt, TensorT, Var
from hybridc.core.ops import is_pure
from hybridc.core.types import shape, small
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.module import Leaves
from hybridc.llvm.refcount import release_helper
from hybridc.llvm.tensor_access import in_place_of, tensor_of
from hybridc.llvm.tensor_copy import fill_elements


def made_next(stmts: Sequence[Stmt], at: int, old: Var | None, over: dict[int, Var]) -> bool:
    """Does a tensor like the `old` one, which statement `at` releases, come next, with nothing but arithmetic between
    the two? Then its memory waits for that: `over` says for each statement in the memory of what it makes its own."""
    if old is None or not small(old.type):
        return False
    for i, stmt in enumerate(stmts[at + 1 :], at + 1):
        if not isinstance(stmt, Op):
            return False
        if stmt.op == "tensor" and i not in over and _alike(stmt.outs[0], old):
            over[i] = old
            return True
        if stmt.op not in ("release", "tensor") and not _arithmetic(stmt):
            return False
    return False


def _arithmetic(op: Op) -> bool:
    return is_pure(op) and all(isinstance(o.type, Prim) for o in op.outs)


def _alike(one: Var, other: Var) -> bool:
    a, b = one.type, other.type
    return isinstance(a, TensorT) and isinstance(b, TensorT) and a.elem == b.elem and shape(a) == shape(b)


def emit_made_over(e: FnEmitter, op: Op, old: Var) -> Leaves:
    """The tensor, in the memory of one that would have been released before."""
    e.owned = (*e.owned, old)
    made, _, left = in_place_of(e, tensor_of(e, old), [str(n) for n in shape(old.type)])
    fill_elements(e, made, op)
    if left != "null":
        e.call("void", release_helper(e.module), [("ptr", CTX), ("ptr", left)])
    return made.leaves
