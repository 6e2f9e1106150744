"""Expressions that are `f32` only for want of context: float literals, and ints that join them.

`n * 0.1` beside an `f64` is an `f64`, as `0.1` alone would be.
"""

from __future__ import annotations

from dataclasses import replace

from hybridc.base.types import F32, FLOATS, INT, Prim, Tensor, Type
from hybridc.front import tree

ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%", "**"})


def widened(e: tree.Expr, to: Type) -> tree.Expr | None:
    """The expression with elements of the float type `to` (or of the tensor type `to`), or None if it is not soft."""
    elem = to.elem if isinstance(to, Tensor) else to
    if not isinstance(elem, Prim) or elem not in FLOATS or elem == F32:
        return None
    return _widened(e, elem)


def _widened(e: tree.Expr, elem: Prim) -> tree.Expr | None:
    match e:
        case tree.Const(type=t, value=float()) if t == F32:
            return replace(e, type=elem)
        case tree.Cast(operand=operand, implicit=True) if _elem(e.type) == F32 and _elem(operand.type) == INT:
            return replace(e, type=_of(e.type, elem))
        case tree.Unary(op="-", operand=operand):
            inner = _widened(operand, elem)
            return None if inner is None else replace(e, type=_of(e.type, elem), operand=inner)
        case tree.Binary(op=op, left=left, right=right) if op in ARITHMETIC:
            a = _widened(left, elem)
            b = None if a is None else _widened(right, elem)
            return None if a is None or b is None else replace(e, type=_of(e.type, elem), left=a, right=b)
    return None


def _elem(t: Type) -> Type:
    return t.elem if isinstance(t, Tensor) else t


def _of(t: Type, elem: Prim) -> Type:
    return Tensor(elem, t.shape) if isinstance(t, Tensor) else elem
