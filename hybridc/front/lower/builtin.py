"""Built-in functions that are not about tensors (those are lowered by tensor_lower), and models' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybridc.base.types import FLOATS, ModelType, Named, Prim, Tensor, TupleType, Type
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.lower import derive
from hybridc.front.lower.core import Lowerer, Value
from hybridc.front.lower.cursor import cursor_of
from hybridc.front.lower.expr import convert, empty
from hybridc.front.lower.place import access

Lower = Callable[[Lowerer, tree.Builtin], Any]


def collect(lw: Lowerer, t: Named, e: tree.Expr) -> Value:
    """A list of what a cursor gives."""
    cursor = cursor_of(lw, e)
    out = lw.fresh("out", t, empty(lw, t), True)

    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        lw.if_(cursor.more(state), lambda: None, lambda: lw.leave(label, [out.key]))
        push(lw, out, lw.whole(cursor.item(state)))
        return cursor.next(state)

    lw.loop([out.key], cursor.start, turn, cursor.names)
    return lw.env[out.key]


def push(lw: Lowerer, out: tree.Var, item: ir.Atom, method: str = "push") -> None:
    """Add an item to a container of the compiler's own."""
    whole = lw.whole(lw.env[out.key])
    lw.env[out.key] = lw.apart(lw.call_method(out.type, method, [whole, item])[-1])


def _items(lw: Lowerer, e: tree.Builtin) -> Value:
    """`range`, `enumerate` and `zip` as values."""
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    return collect(lw, t, e)


def _len(lw: Lowerer, e: tree.Builtin) -> Any:
    t = lw.concrete(e.args[0].type)
    if isinstance(t, Tensor):
        return lw.op("dim", [lw.expr(e.args[0])], ir.INT, axis=0)
    if isinstance(t, TupleType):
        lw.value(e.args[0])
        return ir.Const(len(t.items), ir.INT)
    value = lw.expr(e.args[0])
    lw.b.span = e.span
    return lw.call_method(t, "_len", [value])[0]


def _print(lw: Lowerer, e: tree.Builtin) -> None:
    """Texts joined by spaces; the host ends the line."""
    parts: list[ir.Atom] = []
    for i, arg in enumerate(e.args):
        if i:
            parts.append(lw.text(" "))
        parts.append(derive.shown(lw, arg.type, lw.expr(arg), False))
    lw.b.span = e.span
    lw.b.ops("host", [derive.concat(lw, parts)], [], name="print")


def _extreme(op: str, method: str) -> Lower:
    """`min`, `max` of several values, or of a list."""
    def lower(lw: Lowerer, e: tree.Builtin) -> Any:
        types = [lw.concrete(a.type) for a in e.args]
        if any(isinstance(t, Tensor) for t in types) or (len(types) == 1 and isinstance(types[0], Prim)):
            return NotImplemented  # a `*B` may stand for no dimension
        if len(e.args) == 1:
            value = lw.expr(e.args[0])
            lw.b.span = e.span
            return lw.call_method(types[0], method, [value])[0]
        values = [lw.expr(a) for a in e.args]
        lw.b.span = e.span
        best = values[0]
        for value in values[1:]:
            best = pick(lw, op, types[0], best, value)
        return best

    return lower


def pick(lw: Lowerer, op: str, t: Type, a: ir.Atom, b: ir.Atom) -> ir.Atom:
    """The smaller or greater of two; the first of equals."""
    if isinstance(t, Prim):
        if t in FLOATS or t != ir.BOOL:
            return lw.op(op, [a, b], t)
        return lw.op("bit_and" if op == "minimum" else "bit_or", [a, b], t)
    better = derive.less(lw, t, b, a) if op == "minimum" else derive.less(lw, t, a, b)
    return lw.if_(better, lambda: [b], lambda: [a], [a.type])[0]


def _of_list(method: str) -> Lower:
    """A function that lists have as a method too."""
    def lower(lw: Lowerer, e: tree.Builtin) -> Any:
        t = lw.concrete(e.args[0].type)
        if isinstance(t, Tensor | Prim):  # a `*B` may stand for no dimension
            return NotImplemented
        values = [lw.expr(a) for a in e.args]
        lw.b.span = e.span
        return lw.call_method(t, method, values)[0]

    return lower


def _to_str(lw: Lowerer, e: tree.Builtin) -> Value:
    value = lw.expr(e.args[0])
    lw.b.span = e.span
    return derive.shown(lw, e.args[0].type, value, False)


def _number(name: str, t: Prim) -> Lower:
    """`int("3")`, `f64("0.5")`; of a number a checked cast."""
    def lower(lw: Lowerer, e: tree.Builtin) -> Any:
        value = lw.expr(e.args[0])
        lw.b.span = e.span
        if isinstance(value.type, Prim):
            return convert(lw, value, t, True)
        if isinstance(value.type, ir.TensorT):
            return NotImplemented
        parsed = lw.call_fn(f"std._numbers:{name}", [value])[0]
        return convert(lw, parsed, t, True)

    return lower


def _abs(lw: Lowerer, e: tree.Builtin) -> Any:
    if isinstance(lw.concrete(e.args[0].type), Tensor):
        return NotImplemented
    value = lw.expr(e.args[0])
    return lw.op("abs", [value], value.type)


def _hash(lw: Lowerer, e: tree.Builtin) -> Value:
    return derive.hashed(lw, e.args[0].type, lw.expr(e.args[0]))


# ---- models ----------------------------------------------------------------------------------------------------------
def _params(lw: Lowerer, e: tree.Builtin) -> Value:
    model = lw.value(e.args[0])
    _same_precision(lw, e.args[0].type, e.type, e)
    return lw.item(model, 0)


def _same_precision(lw: Lowerer, model: Type, vector: Type, e: tree.Builtin) -> None:
    """In a function over any model (`M: model`) this is known only now."""
    t, v = lw.concrete(model), lw.concrete(vector)
    assert isinstance(t, ModelType) and isinstance(v, Tensor)
    elem = lw.ctx.models.layout(t).elem
    if v.elem != elem:
        raise lw.refuse("HYB301", f"the parameters of {lw.ctx.types.show(t)} are {elem}, not {v.elem}", e.span)


def _num_params(lw: Lowerer, e: tree.Builtin) -> Value:
    lw.value(e.args[0])
    model = lw.concrete(e.args[0].type)
    assert isinstance(model, ModelType)
    return ir.Const(lw.ctx.models.layout(model).size, ir.INT)


def _with_params(lw: Lowerer, e: tree.Builtin) -> Value:
    value = lw.value(e.args[0])
    model = lw.concrete(e.args[0].type)
    assert isinstance(model, ModelType)
    vector = lw.expr(e.args[1])
    lw.b.span = e.span
    return lw.ctx.models.with_params(lw, model, value, vector, e.span)


def _set_params(lw: Lowerer, e: tree.Builtin) -> None:
    """`set_params(mut m, v)`: the place is the first argument."""
    place: Any = e.args[0]
    vector = lw.expr(e.args[1])
    lw.ctx.models.settle_place(lw, place)
    model = lw.concrete(place.type)
    assert isinstance(model, ModelType)
    _same_precision(lw, model, e.args[1].type, e)
    into = access(lw, place)
    lw.b.span = e.span
    into.put(lw.ctx.models.with_params(lw, model, into.take(), vector, e.span))


BUILTINS: dict[str, Lower] = {
    "len": _len,
    "print": _print,
    "range": _items,
    "enumerate": _items,
    "zip": _items,
    "min": _extreme("minimum", "_min"),
    "max": _extreme("maximum", "_max"),
    "sum": _of_list("_sum"),
    "sorted": _of_list("sorted"),
    "reversed": _of_list("reversed"),
    "abs": _abs,
    "str": _to_str,
    "repr": lambda lw, e: derive.shown(lw, e.args[0].type, lw.expr(e.args[0]), True),
    "int": _number("_parse_int", ir.INT),
    "i32": _number("_parse_int", ir.I32),
    "u8": _number("_parse_int", ir.U8),
    "f64": _number("_parse_f64", ir.F64),
    "f32": _number("_parse_f64", ir.F32),
    "f16": _number("_parse_f64", ir.F16),
    "bf16": _number("_parse_f64", ir.BF16),
    "hash": _hash,
    "params": _params,
    "num_params": _num_params,
    "with_params": _with_params,
    "set_params": _set_params,
}
