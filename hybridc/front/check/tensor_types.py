"""What the rules of tensor functions share: the checker as they see it, element types, shapes, broadcasting, axes.

Axes in the typed tree count from the end (-1 is the last), because `*B` may stand for any number of leading dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from hybridc.base.dims import Dim, DimVar, PackVar, Shape, show_shape
from hybridc.base.source import Span
from hybridc.base.types import (
    BF16,
    BOOL,
    F16,
    F32,
    F64,
    FLOATS,
    I32,
    INT,
    INTS,
    POISON,
    U8,
    Option,
    Poison,
    Prim,
    Tensor,
    Type,
    TypeVar,
)
from hybridc.front.check import tree
from hybridc.front.check.bounds import wider
from hybridc.front.check.consts import fits, rounded, too_large
from hybridc.front.check.infer import is_dim_meta
from hybridc.front.check.soft import widened
from hybridc.front.parse import syntax


class Context(Protocol):
    """The checker."""

    had_errors: bool
    prechecked: dict[int, tree.Expr]
    """What was made of an expression already, by its `id`, for who asks next."""

    def expr(self, e: syntax.Expr, expected: Type | None = None) -> tree.Expr: ...

    def coerce(self, e: tree.Expr, to: Type, what: str) -> tree.Expr: ...

    def error(
        self, code: str, message: str, span: Span, help: str | None = None, notes: tuple[tuple[str, Span], ...] = ()
    ) -> None: ...

    def const(self, e: syntax.Expr) -> int | float | bool | str | tuple[object, ...] | None:
        """The value of a constant expression, None if it is none."""

    def dim_of(self, e: tree.Expr) -> Dim:
        """An int expression as a dimension; a fresh `?` if it is no polynomial."""

    def fresh_dim(self) -> Dim: ...

    def resolve(self, t: Type) -> Type: ...

    def poison(self, span: Span) -> tree.Expr: ...

    def equal_dims(self, a: Dim, b: Dim) -> bool | None: ...


class Stop(Exception):
    """The error is reported; the expression is poison."""


ONE = Dim.of(1)


# ---- types -----------------------------------------------------------------------------------------------------------
def elem(t: Type) -> Type:
    """The element type of a tensor; a scalar's own type."""
    return t.elem if isinstance(t, Tensor) else t


def shape(t: Type) -> Shape:
    return t.shape if isinstance(t, Tensor) else ()


def of_shape(element: Type, dims: Shape) -> Type:
    return Tensor(element, dims) if dims else element


def is_scalar(t: Type) -> bool:
    """A number, a bool, or a type parameter bound to numbers."""
    return isinstance(t, Prim) or isinstance(t, TypeVar) and t.bound in ("number", "float", "int")


def is_numeric(t: Type) -> bool:
    """A tensor or a scalar."""
    return isinstance(t, Tensor) or is_scalar(t)


def is_float(t: Type) -> bool:
    return t in FLOATS or isinstance(t, TypeVar) and t.bound == "float"


def is_int(t: Type) -> bool:
    return t in INTS or isinstance(t, TypeVar) and t.bound == "int"


def hint(expected: Type | None) -> Type | None:
    """What a context asks of a tensor function: a tensor or a scalar, or nothing."""
    if isinstance(expected, Option):
        expected = expected.item
    return expected if expected is not None and is_numeric(expected) else None


def plain(ctx: Context, e: tree.Expr) -> tree.Expr:
    """The expression with its type as known now."""
    t = ctx.resolve(e.type)
    if isinstance(t, Poison):
        raise Stop
    return e if t is e.type else replace(e, type=t)  # type: ignore[type-var]


# ---- element types ---------------------------------------------------------------------------------------------------
def is_literal(e: tree.Expr) -> bool:
    """A number that takes its type from its context."""
    if isinstance(e, tree.Const):
        return isinstance(e.value, (int, float)) and not isinstance(e.value, bool)
    if isinstance(e, tree.Unary):
        return e.op == "-" and is_literal(e.operand)
    return False


def has_float(e: tree.Expr) -> bool:
    if isinstance(e, tree.Unary):
        return has_float(e.operand)
    return isinstance(e, tree.Const) and isinstance(e.value, float)


def adapt(e: tree.Expr, to: Type) -> tree.Expr:
    """A literal with another type."""
    if isinstance(e, tree.Unary):
        return tree.Unary(to, e.span, e.op, adapt(e.operand, to))
    assert isinstance(e, tree.Const) and isinstance(e.value, (int, float))
    return tree.Const(to, e.span, rounded(e.value) if is_float(to) else e.value)


def cast(e: tree.Expr, to: Type) -> tree.Expr:
    """An int or int tensor that joins a float operation."""
    if elem(e.type) == to:
        return e
    if is_literal(e) and (is_float(to) or not has_float(e)):
        return adapt(e, to)
    return tree.Cast(of_shape(to, shape(e.type)), e.span, e, True)


def join(
    ctx: Context, operands: Sequence[tree.Expr], span: Span, what: str, floats: bool = False,
    expected: Type | None = None,
) -> tuple[Type, list[tree.Expr]]:
    """Give operands one element type: literals adapt, an int joins floats. `floats`: the result must be a float, an
    int becomes the float expected or f32. Bools do not mix with numbers."""
    firm = {k for e in operands if (is_float(k := elem(e.type)) or k in (I32, U8)) and not is_literal(e)
            and widened(e, F64) is None}
    if len(firm) == 1:
        (only,) = firm
        operands = [widened(e, only) or e for e in operands]
    typed = [e for e in operands if not is_literal(e)]
    kinds = list(dict.fromkeys(elem(e.type) for e in typed))
    wanted = elem(expected) if expected is not None else None
    float_kinds = [k for k in kinds if is_float(k)]
    if BOOL in kinds:
        if len(kinds) > 1 or len(typed) < len(operands):
            other = next((str(k) for k in kinds if k != BOOL), "a number")
            ctx.error("HYB303", f"{what} mixes bool and {other}", span, "cast the bool, `f32(x)` or `int(x)`")
            raise Stop
        target: Type = BOOL
    elif float_kinds:
        target = float_kinds[0]
        strange = [k for k in kinds if k != target and k != INT]
        if strange:
            ctx.error("HYB303", f"{what} mixes {target} and {strange[0]}", span,
                      f"cast one of them, `{wider(target, strange[0])}(x)`")
            raise Stop
    elif len(kinds) > 1:
        ctx.error("HYB303", f"{what} mixes {kinds[0]} and {kinds[1]}", span,
                  f"cast one of them, `{wider(kinds[0], kinds[1])}(x)`")
        raise Stop
    elif kinds and not isinstance(kinds[0], (Prim, TypeVar)):
        ctx.error("HYB302", f"{what} is for numbers and tensors, not {kinds[0]}", span)
        raise Stop
    elif any(has_float(e) for e in operands if is_literal(e)):
        target = wanted if wanted is not None and is_float(wanted) else F32
        if kinds and kinds[0] != INT:
            ctx.error("HYB303", f"{what} mixes {kinds[0]} and a float", span, "cast to a float first, as in `f32(x)`")
            raise Stop
    elif kinds:
        target = kinds[0]
    else:
        target = wanted if wanted is not None and (is_float(wanted) or is_int(wanted)) else INT
    if floats and not is_float(target):
        if target != INT:
            ctx.error("HYB303", f"{what} is for floats, not {target}", span, "cast first, as in `f32(x)`")
            raise Stop
        target = wanted if wanted is not None and is_float(wanted) else F32
    for e in operands:
        if is_int(target) and isinstance(e, tree.Const) and isinstance(e.value, int) and not fits(e.value, target):
            ctx.error("HYB313", too_large(e.value, target), e.span)
            raise Stop
    return target, [cast(e, target) for e in operands]


# ---- shapes ----------------------------------------------------------------------------------------------------------
def _known(d: Dim) -> int:
    """How much a dimension says: a number most, `?` least."""
    if d.constant is not None:
        return 2
    return 0 if any(v.name == "?" for v in d.variables()) else 1


def same_dim(ctx: Context, a: Dim, b: Dim) -> Dim | None:
    """The dimension that both are if they agree (checked at run time where undecided); None if they cannot."""
    if ctx.equal_dims(a, b) is False:
        return None
    return b if _known(b) > _known(a) else a


def broadcast(ctx: Context, shapes: Sequence[Shape], span: Span, what: str) -> Shape:
    """The shape of an elementwise operation: a missing dimension or one that is the constant 1 broadcasts."""
    result: list[Dim | PackVar] = []
    longest = max(map(len, shapes))
    for back in range(1, longest + 1):
        items = [s[-back] for s in shapes if len(s) >= back]
        packs = {i for i in items if isinstance(i, PackVar)}
        if packs:
            others = [i for i in items if not isinstance(i, PackVar)]
            if len(packs) > 1 or others:
                if ctx.had_errors and any(map(is_dim_meta, packs)):
                    raise Stop  # what would say its number has an error
                _mismatch(ctx, shapes, span, what, "how many dimensions a `*` name stands for is not known here")
            # Everything in front of a pack would have to line up with its unknown number of dimensions.
            result.append(packs.pop())
            continue
        agreed: Dim | None = ONE
        for d in items:
            if d == ONE:
                continue
            assert isinstance(d, Dim) and agreed is not None
            agreed = d if agreed == ONE else same_dim(ctx, agreed, d)
            if agreed is None:
                _mismatch(ctx, shapes, span, what)
        result.append(agreed)  # type: ignore[arg-type]
    return tuple(reversed(result))


def _mismatch(ctx: Context, shapes: Sequence[Shape], span: Span, what: str, why: str | None = None) -> None:
    shown = [show_shape(s) for s in shapes if s]
    ctx.error("HYB401", f"shapes {' and '.join(shown)} do not fit in {what}", span,
              why or "dimensions must be equal; only a missing one or one known to be 1 broadcasts")
    raise Stop


def same_shape(ctx: Context, a: Shape, b: Shape, span: Span, what: str) -> Shape:
    """The shape of two that must be equal."""
    if len(a) != len(b):
        _mismatch(ctx, (a, b), span, what, "the shapes must be equal")
    result: list[Dim | PackVar] = []
    for x, y in zip(a, b, strict=True):
        if isinstance(x, PackVar) or isinstance(y, PackVar):
            if x != y:
                _mismatch(ctx, (a, b), span, what, "the shapes must be equal")
            result.append(x)
            continue
        agreed = same_dim(ctx, x, y)
        if agreed is None:
            _mismatch(ctx, (a, b), span, what, "the shapes must be equal")
        result.append(agreed)  # type: ignore[arg-type]
    return tuple(result)


def size(dims: Shape) -> Dim | None:
    """The number of elements, None with a `*` name in it."""
    total = ONE
    for d in dims:
        if isinstance(d, PackVar):
            return None
        total = total * d
    return total


def has_rank(dims: Shape, n: int) -> bool:
    """Whether these are `n` dimensions, none of them a `*` name that may stand for more or fewer."""
    return len(dims) == n and not any(isinstance(d, PackVar) for d in dims)


def divided(ctx: Context, d: Dim, n: int) -> Dim | None:
    """d / n: exact where every coefficient divides; None if it provably does not, else a `?` (checked at run time)."""
    if all(c % n == 0 for _, c in d.terms):
        return Dim(tuple((m, c // n) for m, c in d.terms))
    return None if d.constant is not None else ctx.fresh_dim()


# ---- axes ------------------------------------------------------------------------------------------------------------
def find_axis(ctx: Context, value: object, dims: Shape, span: Span, what: str, extra: int = 0) -> int:
    """An axis from the end, of `dims` (or of a result with `extra` dimensions more)."""
    rank = len(dims) + extra
    if isinstance(value, bool) or not isinstance(value, int):
        ctx.error("HYB314", f"the axis of {what} is a constant int", span)
        raise Stop
    packed = any(isinstance(d, PackVar) for d in dims)
    if packed:
        known = rank - 1 - next(i for i, d in enumerate(dims) if isinstance(d, PackVar))
        if -known <= value < 0:
            return value
        ctx.error("HYB405", f"axis {value} of {show_shape(dims)} falls where `*` stands for any number of dimensions",
                  span, "count from the end: axis=-1 is the last")
        raise Stop
    if not -rank <= value < rank:
        ctx.error("HYB405", f"axis {value} is out of range for shape {show_shape(dims)} in {what}", span,
                  f"axes are {-rank} to {rank - 1}" if rank else "a scalar has no axes")
        raise Stop
    return value if value < 0 else value - rank


def find_axes(ctx: Context, value: object, dims: Shape, span: Span, what: str) -> tuple[int, ...]:
    """One axis or several, from the end, ascending."""
    values = value if isinstance(value, tuple) else (value,)
    axes = [find_axis(ctx, v, dims, span, what) for v in values]
    if len(set(axes)) < len(axes):
        ctx.error("HYB405", f"an axis of {what} is given twice", span)
        raise Stop
    return tuple(sorted(axes))


def drop_axes(dims: Shape, axes: Sequence[int], keep: bool) -> Shape:
    """The shape that a reduction leaves."""
    gone = {len(dims) + a for a in axes}
    if keep:
        return tuple(ONE if i in gone else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in gone)


def replace_axis(dims: Shape, axis: int, new: Shape) -> Shape:
    at = len(dims) + axis
    return dims[:at] + new + dims[at + 1 :]


def dim_at(dims: Shape, axis: int) -> Dim:
    d = dims[len(dims) + axis]
    assert isinstance(d, Dim)
    return d


def is_unknown(d: Dim) -> bool:
    return any(v.name == "?" for v in d.variables())


__all__ = [
    "BF16", "BOOL", "F16", "F32", "F64", "I32", "INT", "ONE", "POISON", "U8",
    "Context", "Dim", "DimVar", "PackVar", "Shape", "Stop", "Tensor", "Type",
    "adapt", "broadcast", "cast", "dim_at", "divided", "drop_axes", "elem", "find_axes", "find_axis",
    "has_float", "has_rank", "hint",
    "is_float", "is_int", "is_literal", "is_numeric", "is_scalar", "is_unknown", "join", "of_shape", "replace_axis",
    "plain", "same_dim", "same_shape", "shape", "show_shape", "size",
]  # fmt: skip
