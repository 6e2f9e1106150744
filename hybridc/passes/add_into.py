"""A product that is only added to a part of a vector, or to what a loop has added up so far, is added there as it is
computed. So come the derivatives of weights: products of matrices, each of which goes to its part of the vector of all
parameters. Before, each was written to memory of its own, read, and added."""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.base.types import F32, F64
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import Block, Const, Fn, Fused, Op, Program, Stmt, TensorT, Var, Yield
from hybridc.core.ops import is_pure, may_fault
from hybridc.core.walk import highest_id, map_blocks, rebuilt, uses, with_body
from hybridc.passes.each import each

OF_SIZES = frozenset({
    "matmul", "update", "shaped", "reshape", "accumulate", "map", "reduce", "broadcast", "add_product",
})
"""Tensor operators that stop the program for sizes that do not fit, if at all, as a product does."""


def run(program: Program) -> Program:
    return each(program, "add_into", lambda fn: _Into(fn, uses(fn.body), Builder(highest_id(fn) + 1)).run(),
                needs=["matmul"])


@dataclass
class _Into:
    fn: Fn
    uses: dict[Var, int]
    b: Builder

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        made: dict[Var, Op] = {}
        """By operators of this block: what could be moved to where it is added."""
        for stmt in b.stmts:
            if isinstance(stmt, Op):
                made.update((o, stmt) for o in stmt.outs if stmt.op in ("matmul", "reshape") and self.uses.get(o) == 1)
                parts = self.product(stmt, made) or self.whole(stmt, made)
                if parts is not None and _can_wait(parts[-1], out):
                    out = [s for s in out if not any(s is p for p in parts)]
                    out += self.into_part(stmt, parts[-1]) if stmt.op == "update" else self.into_whole(stmt, parts[-1])
                    continue
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
        start, stop = op.args[2:]
        if product is None or not _adds(product) or not isinstance(start, Const) or not isinstance(stop, Const):
            return None
        return (flat, product) if start.value >= 0 and stop.value - start.value == _elements(product) else None

    def whole(self, op: Op, made: dict[Var, Op]) -> tuple[Op] | None:
        """The product that is added to what there may be of a matrix, if it can wait for it."""
        product = made.get(op.args[1]) if op.op == "accumulate" and isinstance(op.args[1], Var) else None
        return (product,) if product is not None and _adds(product) and op.args[0] != op.args[1] else None

    def into_part(self, op: Op, product: Op) -> list[Stmt]:
        return [Op(op.outs, "add_product", (op.args[0], *product.args, op.args[2]), (), op.span)]

    def into_whole(self, op: Op, product: Op) -> list[Stmt]:
        """By way of a vector, which lies where the matrix does."""
        b, (out,) = self.b, op.outs
        b.span = op.span
        b.open()
        sizes = t.dims(b, product.outs[0])
        sums = b.op("shaped", [op.args[0], *sizes], out.type)
        flat = t.reshape(b, sums, [integer(_elements(product))])
        added = b.op("add_product", [flat, *product.args, integer(0)], flat.type)
        return [*b.close(Yield()).stmts, Op((out,), "reshape", (added, *sizes), (), op.span)]


def _adds(product: Op) -> bool:
    """Is it a product of two matrices, of known size, as `add_product` makes them?"""
    kind = product.outs[0].type
    if product.op != "matmul" or product.attr("ta") is not True or product.attr("tb") is not False:
        return False
    if not isinstance(kind, TensorT) or kind.elem not in (F32, F64) or len(kind.dims) != 2 or None in kind.dims:
        return False
    return all(isinstance(a.type, TensorT) and len(a.type.dims) == 2 for a in product.args)


def _elements(product: Op) -> int:
    height, width = t.static(product.outs[0])
    assert height is not None and width is not None
    return height * width


def _can_wait(product: Op, out: list[Stmt]) -> bool:
    """Is whatever stands after a product indifferent to whether it has stopped the program?"""
    if not may_fault(product):
        return True
    after = out[next(i for i, s in enumerate(out) if s is product) + 1 :]
    return all(isinstance(s, Fused) or isinstance(s, Op) and (s.op in OF_SIZES or is_pure(s)) for s in after)
