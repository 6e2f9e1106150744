"""Expressions that are `f32` (or `int`) only for want of context: number literals, ints that join them, tensors made of
literals, `zeros(n)` and the like, functions of these, elements of a constant list.

`n * 0.1` beside an `f64` is an `f64`, as `0.1` alone would be, and so is `tensor([0.1])` beside an `f64[1]`.
"""

from __future__ import annotations

from dataclasses import replace

from hybridc.base.types import F32, F64, FLOATS, I32, INT, STD_TYPES, U8, VOID, Named, Prim, Tensor, Type
from hybridc.front.check import tree

ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%", "**"})
MADE = frozenset({"zeros", "ones", "full", "eye", "arange"})
"""Functions whose tensors have the element type that is asked for."""
FLOAT_FUNCTIONS = "exp log sqrt rsqrt sin cos tan asin acos atan tanh sigmoid relu gelu silu softplus erf log1p expm1"
"""Elementwise functions of one argument, which give what floats it has."""
FIRST = {"full": 1, "arange": 3}
"""How many of their first arguments are elements (the others are sizes)."""
ELEMENT = "std.list:list._get"
RANGES = {I32: (-(2**31), 2**31), U8: (0, 256)}


def widened(e: tree.Expr, to: Type) -> tree.Expr | None:
    """The expression with elements of the number type `to` (or of the tensor type `to`), or None if it is not soft."""
    elem = to.elem if isinstance(to, Tensor) else to
    if isinstance(elem, Prim) and (elem in FLOATS and elem != F32 or elem in RANGES):
        return _widened(e, elem)
    return None


def _widened(e: tree.Expr, elem: Prim) -> tree.Expr | None:
    soft = F32 if elem in FLOATS else INT
    match e:
        case tree.Const(type=t, value=float() | int() as value) if t == soft == F32 and not isinstance(value, bool):
            return replace(e, type=elem)
        case tree.Const(type=t, value=int() as value) if t == soft and not isinstance(value, bool):
            low, end = RANGES[elem]
            return replace(e, type=elem) if low <= value < end else None
        case tree.Cast(operand=operand, implicit=True) if _elem(e.type) == soft and _elem(operand.type) == INT:
            return replace(e, type=_of(e.type, elem))
        case tree.Unary(op="-", operand=operand):
            inner = _widened(operand, elem)
            return None if inner is None else replace(e, type=_of(e.type, elem), operand=inner)
        case tree.Binary(op=op, left=left, right=right) if op in ARITHMETIC:
            a = _widened(left, elem)
            b = None if a is None else _widened(right, elem)
            return None if a is None or b is None else replace(e, type=_of(e.type, elem), left=a, right=b)
        case tree.MakeTensor(type=t, items=items) if _elem(t) == soft:
            found = _all(items, elem)
            return None if found is None else replace(e, type=_of(t, elem), items=found)
        case tree.Builtin(type=t, name=name, args=args) if name in MADE and _elem(t) == soft and not e.attr("init"):
            count = FIRST.get(name, 0)
            found = _all(args[:count], elem)
            return None if found is None else replace(e, type=_of(t, elem), args=(*found, *args[count:]))
        case tree.Builtin(type=t, name=name, args=args) if name in FLOAT_FUNCTIONS.split() and _elem(t) == soft == F32:
            found = _all(args, elem)
            return None if found is None else replace(e, type=_of(t, elem), args=found)
        case tree.Call(fn=fn, args=(tree.Arg(value=whole), index)) if fn.key == ELEMENT and whole is not None:
            container, item = _list(whole, elem)
            if container is not None:
                return replace(e, type=item, fn=replace(fn, types=(item,)), args=(tree.Arg(container), index))
    return None


def _list(e: tree.Expr, elem: Prim) -> tuple[tree.Expr | None, Type]:
    """A list, or an element that is one, of such elements; and the type of what it holds."""
    if isinstance(e, tree.MakeList) and e.items:
        items = [_list(x, elem)[0] if isinstance(x, tree.MakeList) else _widened(x, elem) for x in e.items]
        found = tuple(x for x in items if x is not None)
        if len(found) == len(items):
            return replace(e, type=Named(STD_TYPES["list"], (found[0].type,)), items=found), found[0].type
    elif isinstance(e, tree.Call) and e.fn.key == ELEMENT and e.args[0].value is not None:
        whole, row = _list(e.args[0].value, elem)
        if whole is not None and isinstance(row, Named):
            call = replace(e, type=row, fn=replace(e.fn, types=(row,)), args=(tree.Arg(whole), e.args[1]))
            return call, row.args[0]  # type: ignore[return-value]
    return None, VOID


def of_literals(e: tree.Expr) -> bool:
    """Is this `f32`, or a container of such, only because float literals are where nothing says otherwise?"""
    match e:
        case tree.MakeList(items=items) if items:
            return all(of_literals(x) for x in items)
        case tree.Comprehension(element=element) if element is not None:
            return of_literals(element)
        case tree.Binary(op="*", left=tree.MakeList() as left):
            return of_literals(left)
    return widened(e, F64) is not None


def _all(items: tuple[tree.Expr, ...], elem: Prim) -> tuple[tree.Expr, ...] | None:
    found = [_widened(x, elem) for x in items]
    return None if any(x is None for x in found) else tuple(x for x in found if x is not None)


def _elem(t: Type) -> Type:
    return t.elem if isinstance(t, Tensor) else t


def _of(t: Type, elem: Prim) -> Type:
    return Tensor(elem, t.shape) if isinstance(t, Tensor) else elem
