"""Views of what a turn that ended early has not kept.

The last turn of a loop ends at its check, so its record holds zeros for what the rest of a turn makes. Views of that
are computed again in the reverse part; they stand in the arm of the branch that undoes the rest, since there is nothing
that they could show in the other."""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial

from hybridc.core.ir import Block, If, Match, Op, Stmt, Var, Yield
from hybridc.core.walk import free_vars, map_blocks, map_outs, substitute, tail_values


def into_arms(block: Block, views: Container[Var], fresh: Callable[[Var], Var]) -> Block:
    """The views where they are used, if that is within one branch; each arm that uses one has its own."""
    stmts: list[Stmt | None] = list(block.stmts)
    here = {s.outs[0]: i for i, s in enumerate(block.stmts)
            if isinstance(s, Op) and s.op == "tensor_view" and s.outs[0] in views}
    for v, user in (_users(block, here) if here else {}).items():
        view, branch = block.stmts[here[v]], stmts[user]
        if isinstance(branch, If | Match):
            stmts[user] = map_blocks(branch, partial(_with, view, v, fresh))
            stmts[here[v]] = None
    left = (s for s in stmts if s is not None)
    return Block(tuple(map_blocks(s, lambda inner: into_arms(inner, views, fresh)) for s in left), block.tail)


def _users(block: Block, vs: Container[Var]) -> dict[Var, int]:
    """Of those that one statement alone uses, its number."""
    found: dict[Var, int | None] = {v: None for v in tail_values(block.tail) if isinstance(v, Var) and v in vs}
    for i, s in enumerate(block.stmts):
        for v in free_vars(Block((s,), Yield())):
            if v in vs:
                found[v] = None if v in found else i
    return {v: i for v, i in found.items() if i is not None}


def _with(view: Stmt, v: Var, fresh: Callable[[Var], Var], arm: Block) -> Block:
    if v not in free_vars(arm):
        return arm
    own = fresh(v)
    inner = substitute(arm, {v: own})
    return Block((map_outs(view, lambda _: own), *inner.stmts), inner.tail)
