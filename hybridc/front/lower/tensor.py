"""Tensor operators, casts, indexing, updates and literals to Core. The built-in functions are in tensor_lower_*.py;
`LOWER` has them all, by the names that front/check/tensor.py gives."""

from __future__ import annotations

from hybridc.base.types import BOOL, INT, INTS, Tensor
from hybridc.core import ir
from hybridc.core import tensor_build as t
from hybridc.core.builder import integer
from hybridc.core.types import rank
from hybridc.front.check import tree
from hybridc.front.lower import (
    tensor_layers as tensor_lower_layers,
)
from hybridc.front.lower import (
    tensor_math as tensor_lower_math,
)
from hybridc.front.lower import (
    tensor_shape as tensor_lower_shape,
)
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.tensor_base import LOWER, concrete_elem, number, ones, operate
from hybridc.front.lower.tensor_init import init_tensor


# ---- operators -------------------------------------------------------------------------------------------------------
def lower_binary(lw: Lowerer, node: tree.Binary) -> ir.Atom:
    if node.op == "@":
        return lower_matmul(lw, node)
    left, right = lw.expr(node.left), lw.expr(node.right)
    lw.b.span = node.span
    return operate(lw, node.op, left, right, node.left.type, node.right.type)


def lower_unary(lw: Lowerer, node: tree.Unary) -> ir.Atom:
    value = lw.expr(node.operand)
    lw.b.span = node.span
    if node.op == "+":
        return value
    return t.map(lw.b, {"-": "neg", "~": "bit_not", "not": "not"}[node.op], [value])


def lower_cast(lw: Lowerer, node: tree.Cast) -> ir.Atom:
    value = lw.expr(node.operand)
    lw.b.span = node.span
    return t.cast(lw.b, value, concrete_elem(lw, node.type), not node.implicit)


def _turned(e: tree.Expr, lw: Lowerer) -> tree.Expr | None:
    """What `e` is the transpose of, in its last two axes."""
    if isinstance(e, tree.Builtin):
        shape = lw.concrete(e.type)
        count = len(shape.shape) if isinstance(shape, Tensor) else 0
        if e.name == "T" and count == 2:
            return e.args[0]
        if e.name == "transpose" and count >= 2 and set(e.attr("axes", ())) == {-2, -1}:  # type: ignore[call-overload]
            return e.args[0]
    return None


def lower_matmul(lw: Lowerer, node: tree.Binary) -> ir.Atom:
    """A transposed operand is read where it lies."""
    left, right = _turned(node.left, lw), _turned(node.right, lw)
    x, y = lw.expr(left or node.left), lw.expr(right or node.right)
    lw.b.span = node.span
    flags = ones(node.left.type, rank(x.type)), ones(node.right.type, rank(y.type))
    return tensor_lower_layers.matmul(lw, x, y, *flags, ta=left is not None, tb=right is not None)


# ---- literals --------------------------------------------------------------------------------------------------------
def make_tensor(lw: Lowerer, node: tree.MakeTensor) -> ir.Atom:
    kind = lw.concrete(node.type)
    assert isinstance(kind, Tensor)
    items = [lw.expr(i) for i in node.items]
    lw.b.span = node.span
    sizes = [lw.dim(d) for d in kind.shape]  # type: ignore[arg-type]
    element = concrete_elem(lw, node.type)
    if not items:
        return t.full(lw.b, ir.Const(False if element == BOOL else 0 if element in INTS else 0.0, element), sizes)
    tail = rank(items[0].type)
    if not tail:
        return t.make(lw.b, element, [int(s.value) for s in sizes], items)  # type: ignore[union-attr]
    rows = [t.insert_axis(lw.b, i, 0) for i in items]
    whole = t.concat(lw.b, rows, 0)
    nest = sizes[: len(sizes) - tail]
    if len(nest) == 1:
        return whole
    return t.reshape(lw.b, whole, [*nest, *t.dims(lw.b, whole)[1:]])


__all__ = [
    "INT", "LOWER", "init_tensor", "integer", "lower_binary", "lower_cast",
    "lower_matmul", "lower_unary", "make_tensor", "number", "tensor_lower_math", "tensor_lower_shape",
]
