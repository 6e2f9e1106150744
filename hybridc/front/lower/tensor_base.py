"""What lowering of tensor operators and functions shares: broadcasting by the written types, checks of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hybridc.base.dims import Dim, PackVar
from hybridc.base.types import BF16, F16, F32, Prim, Tensor, Type
from hybridc.core import ir
from hybridc.core import tensor_build as t
from hybridc.core.builder import integer
from hybridc.core.types import elem, rank
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer, Value

Lowering = Callable[[Lowerer, tree.Builtin], Value]
NARROW = frozenset({F16, BF16})
LOWER: dict[str, Lowering] = {}
"""Lowering of each built-in tensor function, by the name of its tree.Builtin."""


WIDE = frozenset(
    "mean logsumexp norm softmax log_softmax gelu silu softplus layer_norm rms_norm attention cross_entropy mse"
    .split())
"""Composites that are computed in f32 where their floats are narrower, and rounded once, as in torch."""


def lowers(names: str) -> Callable[[Lowering], Lowering]:
    def mark(f: Lowering) -> Lowering:
        for name in names.split():
            LOWER[name] = _wide(f) if name in WIDE else f
        return f

    return mark


def _wide(f: Lowering) -> Lowering:
    def lower(lw: Lowerer, node: tree.Builtin) -> Value:
        kind = concrete_elem(lw, node.type)
        if kind not in NARROW:
            return f(lw, node)
        operands = tuple(
            tree.Cast(_in_f32(a.type), a.span, a, True) if concrete_elem(lw, a.type) == kind else a for a in node.args)
        found = f(lw, replace(node, type=_in_f32(node.type), args=operands))
        return t.cast(lw.b, lw.whole(found), kind)

    return lower


def _in_f32(written: Type) -> Type:
    return Tensor(F32, written.shape) if isinstance(written, Tensor) else F32


def args(lw: Lowerer, node: tree.Builtin) -> list[ir.Atom]:
    """The arguments, evaluated in order."""
    values = [lw.expr(a) for a in node.args]
    lw.b.span = node.span
    return values


# ---- broadcasting ----------------------------------------------------------------------------------------------------
def ones(written: Type, count: int) -> list[bool]:
    """For each of the `count` dimensions that a written type has when made concrete: is it the constant 1?"""
    shape = written.shape if isinstance(written, Tensor) else ()
    result: list[bool] = []
    for item in shape:
        if isinstance(item, PackVar):
            result += [False] * (count - (len(shape) - 1))
        else:
            result.append(item == Dim.of(1))
    # A type parameter of a generic function may itself stand for a tensor.
    return [False] * (count - len(result)) + result


def aligned(lw: Lowerer, operands: Sequence[tuple[Type, int]]) -> list[t.Axes]:
    """The `axes` of operands, each given by its written type and its rank: only a missing dimension or one that is
    written as 1 broadcasts."""
    flags = [ones(written, count) for written, count in operands]
    total = max(len(f) for f in flags)
    result: list[list[int | None]] = [[] for _ in flags]
    for i in range(total):
        have = [i - (total - len(f)) for f in flags]
        sized = any(h >= 0 and not f[h] for h, f in zip(have, flags, strict=True))
        for axes, h, f in zip(result, have, flags, strict=True):
            axes.append(h if h >= 0 and (not f[h] or not sized) else None)
    return [tuple(axes) for axes in result]


def stretched(lw: Lowerer, written: Type, count: int, total: int) -> t.Axes:
    """The `axes` by which a value of the type written, of `count` dimensions, goes into a place of `total`."""
    flags, lead = ones(written, count), total - count
    return tuple(i - lead if i >= lead and not flags[i - lead] else None for i in range(total))


def zip_map(lw: Lowerer, fn: str, operands: Sequence[ir.Atom], written: Sequence[Type]) -> ir.Atom:
    """`fn` elementwise, broadcasting by the written types."""
    axes = aligned(lw, [(w, rank(x.type)) for w, x in zip(written, operands, strict=True)])
    return t.map(lw.b, fn, operands, axes)


OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow", "&": "bit_and",
    "|": "bit_or", "^": "bit_xor", "<<": "shl", ">>": "shr",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}  # fmt: skip


def operate(lw: Lowerer, op: str, left: ir.Atom, right: ir.Atom, left_type: Type, right_type: Type) -> ir.Atom:
    """An elementwise operator on values of the types written."""
    if op == "**" and isinstance(right, ir.Const) and right.value in (1, 2):
        return left if right.value == 1 else t.map(lw.b, "mul", [left, left])
    return zip_map(lw, OPERATORS[op], [left, right], [left_type, right_type])


# ---- constants, sizes, checks ----------------------------------------------------------------------------------------
def number(value: float, like: ir.Atom) -> ir.Const:
    """A constant of an operand's element type."""
    kind = elem(like.type)
    return ir.Const(value if kind.name in ("bool", "int", "i32", "u8") else float(value), kind)


def concrete_elem(lw: Lowerer, written: Type) -> Prim:
    found = lw.concrete(written)
    kind = found.elem if isinstance(found, Tensor) else found
    assert isinstance(kind, Prim)
    return kind


def sizes_of(lw: Lowerer, written: Type) -> list[ir.Atom]:
    """The sizes a type names."""
    found = lw.concrete(written)
    return [lw.dim(d) for d in found.shape] if isinstance(found, Tensor) else []  # type: ignore[arg-type]


def require_equal(lw: Lowerer, a: ir.Atom, b: ir.Atom, message: str) -> None:
    """ValueError unless two sizes agree."""
    if a == b:
        return
    ok = lw.b.op("eq", [a, b], ir.BOOL)
    lw.check(ok, "ValueError", message)


def axis_of(node: tree.Builtin, count: int) -> int:
    """The `axis` attribute, from the front."""
    axis = node.attr("axis")
    assert isinstance(axis, int)
    return axis + count


def to_last(b: t.Builder, x: ir.Atom, axis: int) -> ir.Atom:
    """Exchange an axis with the last (twice is nothing)."""
    perm = list(range(rank(x.type)))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    return t.transpose(b, x, perm)


__all__ = [
    "LOWER", "Lowering", "args", "axis_of", "concrete_elem", "elem", "integer", "lowers", "number", "ones",
    "operate", "rank", "require_equal", "sizes_of", "stretched", "t", "to_last", "zip_map",
]  # fmt: skip
