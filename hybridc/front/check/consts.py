"""Values of expressions that are known at compile time: `const`s, dimensions, configurations, axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from hybridc.base.source import Span
from hybridc.base.types import I32, INT, U8, Type
from hybridc.front.parse import syntax
from hybridc.front.parse.as_type import dotted_name


class NotConst(Exception):
    """The expression is not a compile-time constant. `span_of` is the part that is not; `why` may say more."""

    def __init__(self, at: syntax.Expr, why: str = ""):
        super().__init__(why)
        self.at = at
        self.why = why


class ListConst(tuple[Any, ...]):
    """The value of a constant list; that of a constant tuple is a tuple."""

    __slots__ = ()


INT_RANGES: dict[Type, tuple[int, int]] = {
    INT: (-(2**63), 2**63 - 1), I32: (-(2**31), 2**31 - 1), U8: (0, 255)}


def fits(value: int, t: Type) -> bool:
    """Whether an integer type, or any number type there may be, has a value."""
    low, high = INT_RANGES.get(t, INT_RANGES[INT])
    return low <= value <= high


def too_large(value: int, t: Type) -> str:
    low, high = INT_RANGES.get(t, INT_RANGES[INT])
    return f"{value} does not fit {t} ({'64 bits' if t == INT else f'{low} to {high}'})"


def rounded(value: int | float) -> float:
    """A constant, which is exact, however large, as a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
    ">>": operator.rshift,
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
LIMIT = 1 << 4096
"""Constants are exact; beyond this they are refused rather than computed."""


def constant(e: syntax.Expr, lookup: Callable[[str], Any]) -> Any:
    """The value: an int, float, bool, str, a tuple or a ListConst. `lookup` raises KeyError for a name, with dots for
    one of another module, that is not a constant. Raises NotConst."""
    match e:
        case syntax.Literal(value=value) if value is not None:
            return value
        case syntax.Name(id=name):
            return _looked_up(e, name, lookup)
        case syntax.Attribute() if (dotted := dotted_name(e)) is not None:
            return _looked_up(e, dotted, lookup)
        case syntax.Unary(op="-", operand=x):
            return -_number(constant(x, lookup), e)
        case syntax.Unary(op="+", operand=x):
            return _number(constant(x, lookup), e)
        case syntax.Unary(op="~", operand=x):
            value = _number(constant(x, lookup), e)
            if isinstance(value, int):
                return ~value
        case syntax.Unary(op="not", operand=x):
            return not _condition(x, lookup)
        case syntax.Binary(op=op, left=l, right=r):
            return _binary(e, op, constant(l, lookup), constant(r, lookup))
        case syntax.Compare(operands=operands, ops=ops) if all(op in _COMPARE for op in ops):
            values = [constant(o, lookup) for o in operands]
            if not all(_comparable(x, y, op) for x, y, op in zip(values, values[1:], ops)):
                raise NotConst(e, "values of these types are not compared")
            return all(_COMPARE[op](x, y) for x, y, op in zip(values, values[1:], ops))
        case syntax.Logic(op=op, left=l, right=r):
            first = _condition(l, lookup)
            return first if first == (op == "or") else _condition(r, lookup)
        case syntax.Conditional(cond=c, then=t, orelse=o):
            return constant(t if _condition(c, lookup) else o, lookup)
        case syntax.Tuple(items=items):
            return tuple(constant(i, lookup) for i in items)
        case syntax.List(items=items):
            return ListConst(constant(i, lookup) for i in items)
        case syntax.Index(value=v, items=(i,)) if not isinstance(i, syntax.Slice):
            value, index = constant(v, lookup), constant(i, lookup)  # type: ignore[arg-type]
            if isinstance(value, tuple | str) and isinstance(index, int) and -len(value) <= index < len(value):
                return value[index]
            raise NotConst(e)
        case syntax.Call(fn=syntax.Name(id="len"), args=(syntax.Argument(value=v),)):
            value = constant(v, lookup)
            if isinstance(value, tuple | str):
                return len(value)
    raise NotConst(e)


def _looked_up(e: syntax.Expr, name: str, lookup: Callable[[str], Any]) -> Any:
    try:
        return lookup(name)
    except KeyError:
        raise NotConst(e) from None


def _condition(e: syntax.Expr, lookup: Callable[[str], Any]) -> bool:
    value = constant(e, lookup)
    if not isinstance(value, bool):
        raise NotConst(e, "a condition is a bool")
    return value


def _comparable(x: Any, y: Any, op: str) -> bool:
    """As in a body: numbers with each other, else what is of one type; tuples and lists by `==` and `!=` alone."""
    kinds = [float if isinstance(v, int | float) and not isinstance(v, bool) else type(v) for v in (x, y)]
    return kinds[0] is kinds[1] and (op in ("==", "!=") or kinds[0] in (float, str))


def _number(value: Any, e: syntax.Expr) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotConst(e)
    return value


def _binary(e: syntax.Expr, op: str, left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str) and op == "+":
        return left + right
    if isinstance(left, tuple) and type(left) is type(right) and op == "+":
        return type(left)(left + right)
    if isinstance(left, bool) and isinstance(right, bool) and op in "&|^":
        return _BINARY[op](left, right)
    left, right = _number(left, e), _number(right, e)
    whole = isinstance(left, int) and isinstance(right, int)
    if op in ("//", "%", "/") and right == 0:
        raise NotConst(e, "division by zero")
    if op == "**":
        if whole and (right < 0 or (abs(left) > 1 and right > 4096)):
            raise NotConst(e, "the power is negative or too large")
        try:
            result = left ** right
        except (OverflowError, ZeroDivisionError):
            raise NotConst(e, "out of range") from None
        if isinstance(result, complex):
            raise NotConst(e, "not a real number")
    elif op in _BINARY and (whole or op in ("+", "-", "*", "/", "//", "%")):
        if op in ("<<", ">>") and not 0 <= right <= 4096:
            raise NotConst(e, "the shift is negative or too large")
        try:
            result = _BINARY[op](left, right)
        except OverflowError:
            raise NotConst(e, "out of range") from None
    else:
        raise NotConst(e)
    if isinstance(result, int) and abs(result) > LIMIT:
        raise NotConst(e, "too large")
    return result


def written(value: Any, span: Span) -> syntax.Expr:
    """A constant as its literal."""
    if not isinstance(value, tuple):
        return syntax.Literal(span, value)
    kind = syntax.List if isinstance(value, ListConst) else syntax.Tuple
    return kind(span, tuple(written(v, span) for v in value))


def written_pattern(value: Any, span: Span) -> syntax.Pattern:
    """A constant as the pattern that matches it."""
    if not isinstance(value, tuple):
        return syntax.LiteralPattern(span, value)
    items = tuple(written_pattern(v, span) for v in value)
    return syntax.ListPattern(span, items, None) if isinstance(value, ListConst) else syntax.TuplePattern(span, items)


def record(value: Any) -> Any:
    """A constant as it stands in a manifest: a list is a list, a tuple `{"tuple": [...]}`."""
    if not isinstance(value, tuple):
        return value
    items = [record(v) for v in value]
    return items if isinstance(value, ListConst) else {"tuple": items}


BUILTIN_CONSTS: dict[str, float] = {"inf": math.inf, "nan": math.nan}
