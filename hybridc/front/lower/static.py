"""What is known of an expression when the program is compiled: values over constants and a model's configuration."""

from __future__ import annotations

from typing import Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.types import FnRef, ModelType, TypeVar
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer, Refused


def known(lw: Lowerer) -> dict[str, Any]:
    """The variables of comprehensions over submodels, in the turn that is being laid out."""
    return lw.ctx.memo.setdefault("known", {})


def know(lw: Lowerer, variable: Dim | DimVar | TypeVar, value: Any) -> None:
    """Let a configuration variable stand for a value. The tables are copied: what was begun with them keeps them."""
    if isinstance(variable, Dim):
        if variable.variable is None:
            return
        variable = variable.variable
    if isinstance(variable, DimVar):
        lw.consts = {**lw.consts, variable.key: value}
    else:
        lw.type_args = {**lw.type_args, variable.key: value}
        lw.consts = {**lw.consts, **config_dims(variable.key, value)}


def config_dims(key: str, value: Any) -> dict[str, Dim]:
    """The dimensions that a configuration value gives: an int itself, and the items of a list of ints."""
    if isinstance(value, Dim):
        return {key: value}
    if not isinstance(value, tuple):
        return {}
    items = [(i, item) for i, item in enumerate(value) if isinstance(item, Dim)]
    return {f"{key}[{at}]": item for i, item in items for at in (i, i - len(value))}


def static_or_none(lw: Lowerer, e: tree.Expr) -> Any:
    """The value of an expression of simple arithmetic, or None if it is another or known at run time only."""
    try:
        return _static(lw, e)
    except _FAILURES:
        return None


def static(lw: Lowerer, e: tree.Expr) -> Any:
    """The value of an expression over constants and configuration."""
    try:
        return _static(lw, e)
    except _FAILURES:
        return lw.ctx.evaluate(lw, e)


def _static(lw: Lowerer, e: tree.Expr) -> Any:
    match e:
        case tree.Const(value=value):
            return value
        case tree.DimValue(dim=d):
            constant = lw.concrete_dim(d).constant
            if constant is not None:
                return constant
        case tree.Local(var=var):
            if var.key in known(lw):
                return known(lw)[var.key]
            if var.key in lw.consts:
                return lw.consts[var.key].constant
            here = lw.env.get(var.key)
            if isinstance(here, ir.Const):
                return here.value
        case tree.ConfigValueOf(model=_, name=name):
            model = lw.concrete(e.model) if e.model != lw.self_type else lw.model
            model = model if isinstance(model, ModelType) else lw.model
            assert isinstance(model, ModelType)
            return config_of(lw, model, name)
        case tree.Unary(op="not", operand=operand):
            return not _static(lw, operand)
        case tree.Unary(op="-", operand=operand):
            return _exact(-_static(lw, operand))
        case tree.Logic(op=op, left=left, right=right):
            first = _static(lw, left)
            return (first and _static(lw, right)) if op == "and" else (first or _static(lw, right))
        case tree.Conditional(cond=cond, then=then, orelse=orelse):
            return _static(lw, then if _static(lw, cond) else orelse)
        case tree.Binary(op=op, left=left, right=right):
            return _exact(_OPERATORS[op](_exact(_static(lw, left)), _exact(_static(lw, right))))
        case tree.Chain(operands=operands, ops=ops):
            values = [_exact(_static(lw, x)) for x in operands]
            return all(_OPERATORS[op](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case tree.MakeList(items=items) | tree.MakeTuple(items=items):
            return tuple(_static(lw, i) for i in items)
        case tree.TupleItem(value=value, index=index):
            return _static(lw, value)[index]
        case tree.FnValue(fn=fn):
            return fn
        case tree.Builtin(name="range", args=args):
            return range(*(_static(lw, a) for a in args))
        case tree.Builtin(name="len", args=args):
            return len(_static(lw, args[0]))
        case tree.Builtin(name="enumerate", args=args):
            return tuple(enumerate(*(_static(lw, a) for a in args)))
        case tree.Builtin(name="zip", args=args):
            return tuple(zip(*(_static(lw, a) for a in args), strict=False))
        case tree.Call(args=args) if e.fn.key.endswith("._get"):
            return _static(lw, args[0].value)[_static(lw, args[1].value)]  # type: ignore[arg-type]
        case tree.Call(args=args) if e.fn.key.endswith("._len"):
            return len(_static(lw, args[0].value))  # type: ignore[arg-type]
    raise lw.refuse("HYB805", "this is not known when the program is compiled", e.span)


def _exact(value: Any) -> Any:
    """A value with which Python computes as Hyb does; floats and ints of more than 64 bits are the interpreter's."""
    if isinstance(value, float) or type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise OverflowError
    return value


def config_of(lw: Lowerer, model: ModelType, name: str) -> Any:
    """A configuration argument, or a compile-time value, as a plain value."""
    decl = lw.ctx.models.decl(model)
    for param, given in zip(decl.config, model.config, strict=True):
        if param.name == name:
            return _plain(given)
    return lw.ctx.models.let(lw, model, name)


def _plain(value: Any) -> Any:
    if isinstance(value, Dim):
        return value.constant
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def as_config(value: Any) -> Any:
    """A plain value as it stands in a model's type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Dim.of(value)
    if isinstance(value, tuple | range):
        return tuple(map(as_config, value))
    assert value is None or isinstance(value, bool | float | str | FnRef)
    return value


_FAILURES = (Refused, ArithmeticError, IndexError, KeyError, TypeError, ValueError)
_OPERATORS: dict[str, Any] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // b,
    "%": lambda a, b: a % b, "**": lambda a, b: a**b, "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "in": lambda a, b: a in b, "not in": lambda a, b: a not in b,
    "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b,
}  # fmt: skip
