"""A product that is only added to a part of a vector is added there as it is computed. So come the derivatives of
weights: products of matrices, each of which goes to its part of the vector of all parameters. Before, each was written
to memory of its own, read, and added."""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.base.types import F32, F64
from hybridc.core.ir import Block, Const, Fn, Fused, Op, Program, Stmt, TensorT, Var
from hybridc.core.ops import is_pure, may_fault
from hybridc.core.walk import map_blocks, rebuilt, uses, with_body
from hybridc.passes.each import each

OF_SIZES = frozenset({
    "matmul", "update", "shaped", "reshape", "accumulate", "map", "reduce", "broadcast", "add_product",
})
"""Tensor operators that stop the program for sizes that do not fit, if at all, as a product does."""


def run(program: Program) -> Program:
    return each(program, "add_into", lambda fn: _Into(fn, uses(fn.body)).run())


@dataclass
class _Into:
    fn: Fn
    uses: dict[Var, int]

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        made: dict[Var, Op] = {}
        """By operators of this block: what could be moved to where it is added."""
        for stmt in b.stmts:
            if isinstance(stmt, Op):
                made.update((o, stmt) for o in stmt.outs if stmt.op in ("matmul", "reshape") and self.uses.get(o) == 1)
                parts = self.product(stmt, made)
                if parts is not None and _can_wait(parts[1], out):
                    flat, product = parts
                    out = [s for s in out if s is not flat and s is not product]
                    at = stmt.args[2]
                    stmt = Op(stmt.outs, "add_product", (stmt.args[0], *product.args, at), (), stmt.span)
            else:
                stmt = map_blocks(stmt, self.block)
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def product(self, op: Op, made: dict[Var, Op]) -> tuple[Op, Op] | None:
        """The reshape and the product that an update adds to a part of a vector, if they can wait for it."""
        if op.op != "update" or op.attr("fn") != "add" or op.attr("kinds") != ("ab",) or op.attr("axes") != (0,):
            return None
        flat = made.get(op.args[1]) if isinstance(op.args[1], Var) else None
        if flat is None or flat.op != "reshape" or not isinstance(flat.args[0], Var):
            return None
        product = made.get(flat.args[0])
        if product is None or product.op != "matmul":
            return None
        if product.attr("ta") is not True or product.attr("tb") is not False:
            return None
        t = product.outs[0].type
        start, stop = op.args[2:]
        if not isinstance(t, TensorT) or t.elem not in (F32, F64) or len(t.dims) != 2 or None in t.dims:
            return None
        if any(len(a.type.dims) != 2 for a in product.args if isinstance(a.type, TensorT)):
            return None
        if not isinstance(start, Const) or not isinstance(stop, Const) or start.value < 0:
            return None
        return (flat, product) if stop.value - start.value == t.dims[0] * t.dims[1] else None  # type: ignore[operator]


def _can_wait(product: Op, out: list[Stmt]) -> bool:
    """Is whatever stands after a product indifferent to whether it has stopped the program?"""
    if not may_fault(product):
        return True
    after = out[next(i for i, s in enumerate(out) if s is product) + 1 :]
    return all(isinstance(s, Fused) or isinstance(s, Op) and (s.op in OF_SIZES or is_pure(s)) for s in after)
