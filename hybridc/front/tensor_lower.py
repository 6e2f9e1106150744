"""Tensor operators, casts, indexing, updates and literals to Core. The built-in functions are in tensor_lower_*.py;
`LOWER` has them all, by the names that front/tensor_check.py gives."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import BOOL, INT, INTS, Tensor, Type
from hybridc.core import ir
from hybridc.core import tensor_build as t
from hybridc.core.builder import integer
from hybridc.core.tensor_ops import elem, rank
from hybridc.front import tensor_lower_layers, tensor_lower_math, tensor_lower_shape, tree
from hybridc.front.lower_core import Lowerer
from hybridc.front.tensor_lower_base import LOWER, aligned, concrete_elem, number, ones, zip_map
from hybridc.front.tensor_lower_init import init_tensor

OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow", "&": "bit_and",
    "|": "bit_or", "^": "bit_xor", "<<": "shl", ">>": "shr",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}  # fmt: skip


# ---- operators -------------------------------------------------------------------------------------------------------
def lower_binary(lw: Lowerer, node: tree.Binary) -> ir.Atom:
    if node.op == "@":
        return lower_matmul(lw, node)
    left, right = lw.expr(node.left), lw.expr(node.right)
    lw.b.span = node.span
    return operate(lw, node.op, left, right, node.left.type, node.right.type)


def operate(lw: Lowerer, op: str, left: ir.Atom, right: ir.Atom, left_type: Type, right_type: Type) -> ir.Atom:
    """An elementwise operator on values of the types written."""
    if op == "**" and isinstance(right, ir.Const) and right.value in (1, 2):
        return left if right.value == 1 else t.map(lw.b, "mul", [left, left])
    return zip_map(lw, OPERATORS[op], [left, right], [left_type, right_type])


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
    flags = ones(lw, node.left.type, rank(x.type)), ones(lw, node.right.type, rank(y.type))
    return tensor_lower_layers.matmul(lw, x, y, *flags, ta=left is not None, tb=right is not None)


# ---- indexing --------------------------------------------------------------------------------------------------------
class Indices:
    """Evaluated indices of a tensor of rank `count`: `kinds` and `ints` of the basic ones, and one tensor (`special`)
    at axis `at` of what the basic ones leave, which covers `covers` axes (more than one for a mask)."""

    def __init__(self, lw: Lowerer, indices: Sequence[tree.Expr | tree.SliceIndex], count: int):
        self.kinds: list[str] = []
        self.ints: list[ir.Atom] = []
        self.special: ir.Atom | None = None
        self.at = 0
        self.covers = 1
        kept = 0
        for i in indices:
            if isinstance(i, tree.SliceIndex):
                kind = ""
                for letter, bound in zip("abc", (i.start, i.stop, i.step), strict=True):
                    if bound is not None:
                        kind += letter
                        self.ints.append(lw.expr(bound))
                self.kinds.append(kind)
                kept += 1
                continue
            value = lw.expr(i)
            if isinstance(value.type, ir.TensorT):
                self.special, self.at = value, kept
                if value.type.elem == BOOL:
                    self.covers = rank(value.type)
                self.kinds += [""] * self.covers
                kept += self.covers
            else:
                self.kinds.append("i")
                self.ints.append(value)
        self.kinds += [""] * (count - len(self.kinds))

    @property
    def basic(self) -> bool:
        """The basic indices select everything."""
        return not any(self.kinds)


def lower_index(lw: Lowerer, node: tree.TensorIndex) -> ir.Atom:
    whole = lw.expr(node.value)
    found = Indices(lw, node.indices, rank(whole.type))
    lw.b.span = node.span
    part = t.index(lw.b, whole, found.kinds, found.ints)
    if found.special is None:
        return part
    part, indices = _positions(lw, part, found)
    return t.take(lw.b, part, found.at, indices, True)


def _positions(lw: Lowerer, part: ir.Atom, found: Indices) -> tuple[ir.Atom, ir.Atom]:
    """The indices as ints; for a mask, with the axes that it covers made one."""
    special = found.special
    assert special is not None
    if elem(special.type) != BOOL:
        return part, special
    _check_mask(lw, part, special, found.at)
    if found.covers > 1:
        sizes = t.dims(lw.b, part)
        at, end = found.at, found.at + found.covers
        merged = t.product(lw.b, sizes[at:end])
        part = t.reshape(lw.b, part, [*sizes[:at], merged, *sizes[end:]])
        special = t.reshape(lw.b, special, [merged])
    return part, t.nonzero(lw.b, special)


def _check_mask(lw: Lowerer, part: ir.Atom, mask: ir.Atom, at: int) -> None:
    for i in range(rank(mask.type)):
        want, have = t.dim(lw.b, part, at + i), t.dim(lw.b, mask, i)
        if want != have:
            ok = lw.b.op("eq", [want, have], ir.BOOL)
            lw.check(ok, "ValueError", "a mask's shape is not that of what it selects from")


def assign_index(
    lw: Lowerer, base: ir.Atom, place: tree.PlaceTensor, op: str | None, value: ir.Atom, value_type: Type
) -> ir.Atom:
    """`base` with the place assigned, or updated with `op`; `value_type` is the value's type as written."""
    found = Indices(lw, place.indices, rank(base.type))
    lw.b.span = place.span
    if found.special is None:
        if op is not None:
            old = t.index(lw.b, base, found.kinds, found.ints)
            value, value_type = combine(lw, op, old, value, place.type, value_type), place.type
        if found.basic and rank(value.type) == rank(base.type) and op is not None:
            return value
        return _update(lw, base, found, value, place.type, value_type)
    part = t.index(lw.b, base, found.kinds, found.ints)
    sizes = t.dims(lw.b, part)
    merged, indices = _positions(lw, part, found)
    shape = t.dims(lw.b, merged)
    shape[found.at : found.at + 1] = t.dims(lw.b, indices)
    if op is not None and op not in ("+", "-"):
        old = t.take(lw.b, merged, found.at, indices, True)
        value, value_type = combine(lw, op, old, value, place.type, value_type), place.type
    how = {"+": "add", "-": "sub"}.get(op or "", "set")
    axes = aligned(lw, [(value_type, rank(value.type))], len(shape))[0]
    if axes != tuple(range(rank(value.type))):
        value = t.broadcast(lw.b, value, axes, shape)
    new = t.put(lw.b, merged, found.at, indices, value, how)
    if found.covers > 1:
        new = t.reshape(lw.b, new, sizes)
    if found.basic:
        return new
    return _update(lw, base, found, new, None, None)


def combine(lw: Lowerer, op: str, old: ir.Atom, value: ir.Atom, place: Type, value_type: Type) -> ir.Atom:
    if op == "@":
        flags = ones(lw, place, rank(old.type)), ones(lw, value_type, rank(value.type))
        return tensor_lower_layers.matmul(lw, old, value, *flags)
    return operate(lw, op, old, value, place, value_type)


def _update(
    lw: Lowerer, base: ir.Atom, found: Indices, value: ir.Atom, place: Type | None, value_type: Type | None
) -> ir.Atom:
    """The part that the basic indices name, replaced."""
    kept = sum(k != "i" for k in found.kinds)
    count = rank(value.type)
    flags = ones(lw, value_type, count) if value_type is not None else [False] * count
    lead = kept - count
    axes = tuple(i - lead if i >= lead and not flags[i - lead] else None for i in range(kept))
    return t.update(lw.b, base, found.kinds, value, found.ints, axes)


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
    "INT", "LOWER", "assign_index", "init_tensor", "integer", "lower_binary", "lower_cast", "lower_index",
    "lower_matmul", "lower_unary", "make_tensor", "number", "tensor_lower_math", "tensor_lower_shape",
]
