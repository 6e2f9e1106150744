"""What is made of the items of a comprehension alone, without a list: `sum([x * x for x in xs])`, `min`, `max`, `any`,
`all`, `prod`, `len`, and `", ".join([str(x) for x in xs])`. All items are computed, in order, as for the list."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hybridc.base.types import BOOL, FLOATS, INT, STD_TYPES, STR, Named, Prim, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.check import tree
from hybridc.front.lower import derive
from hybridc.front.lower.comp import turns
from hybridc.front.lower.core import Lowerer, Parts, Value

Fold = Callable[[Lowerer, tree.Call], Value | None]


def folded(lw: Lowerer, e: tree.Call) -> Value | None:
    """What the call gives, if it is one of these."""
    how = FOLDS.get(e.fn.key)
    return None if how is None else how(lw, e)


def _items(lw: Lowerer, e: tree.Call, position: int = 0) -> tree.Comprehension | None:
    """The comprehension of a list that is an argument."""
    found = e.args[position].value
    if not isinstance(found, tree.Comprehension) or found.parallel or found.value is not None:
        return None
    t = lw.concrete(found.type)
    return found if isinstance(t, Named) and t.key == STD_TYPES["list"] else None


def _walk(lw: Lowerer, items: tree.Comprehension, type: Type, start: Value, step: Callable[[Value], Value]) -> Value:
    """What `step` makes of what was there before, and evaluates the item for, turn by turn."""
    out = lw.fresh("folded", type, start, True)

    def add() -> None:
        lw.env[out.key] = step(lw.env[out.key])

    turns(lw, items, items.clauses, out, add)
    return lw.env[out.key]


def _each(operator: str, start: int, kinds: tuple[Prim, ...] = ()) -> Fold:
    """Items that are scalars, one operator after another."""
    def fold(lw: Lowerer, e: tree.Call) -> Value | None:
        items = _items(lw, e)
        t = lw.concrete(items.element.type) if items is not None else None
        given = [a.value for a in e.args[1:] if a.value is not None]
        if items is None or not isinstance(t, Prim) or given or kinds and t not in kinds or not kinds and t == BOOL:
            return None
        element, first = items.element, boolean(bool(start)) if t == BOOL else _number(start, t)
        return _walk(lw, items, t, first, lambda old: lw.op(operator, [lw.whole(old), lw.expr(element)], t))

    return fold


def _number(value: int, t: Prim) -> ir.Const:
    return ir.Const(float(value) if t in FLOATS else value, t)


def _extreme(compare: str) -> Fold:
    """The first of the least or greatest scalars; where there is none, what the list's own method says."""
    def fold(lw: Lowerer, e: tree.Call) -> Value | None:
        items = _items(lw, e)
        t = lw.concrete(items.element.type) if items is not None else None
        if items is None or not isinstance(t, Prim) or t == BOOL or any(a.value is not None for a in e.args[1:]):
            return None
        element = items.element

        def step(old: Value) -> Value:
            x = lw.expr(element)
            best, some = (lw.whole(lw.item(old, i)) for i in range(2))
            better = lw.op("bit_or", [lw.not_(some), lw.op(compare, [x, best], ir.BOOL)], ir.BOOL)
            return Parts(both, (lw.op("select", [better, x, best], t), boolean(True)))

        both = ir.TupleT((t, ir.BOOL))
        found = _walk(lw, items, TupleType((t, BOOL)), Parts(both, (_number(0, t), boolean(False))), step)
        lw.b.span = e.span
        list_type = lw.concrete(items.type)

        def nothing() -> list[ir.Atom]:
            none = lw.op("none", [], ir.OptionT(t))
            return [lw.call_method(list_type, e.fn.key.rpartition(".")[2], [_no_items(lw, list_type), none])[0]]

        return lw.if_(lw.whole(lw.item(found, 1)), lambda: [lw.whole(lw.item(found, 0))], nothing, [t])[0]

    return fold


def _no_items(lw: Lowerer, list_type: Type) -> ir.Atom:
    kind = lw.type(list_type)
    assert isinstance(list_type, Named)
    data = lw.op("buffer_new", [integer(0)], ir.BufferT(lw.type(list_type.args[0])))  # type: ignore[arg-type]
    return lw.op("struct", [data, integer(0)], kind)


def _count(lw: Lowerer, e: tree.Call) -> Value | None:
    """How many items conditions let through. Without any the list is made, of a length that is known: one that is too
    large has no memory, and is not counted for years."""
    items = _items(lw, e)
    if items is None or not any(c.conditions for c in items.clauses):
        return None
    element = items.element

    def step(old: Value) -> Value:
        lw.value(element)
        return lw.op("add", [lw.whole(old), integer(1)], ir.INT)

    return _walk(lw, items, INT, integer(0), step)


def _join(lw: Lowerer, e: tree.Call) -> Value | None:
    given = _items(lw, e, 1)
    separator = e.args[0].value
    if given is None or separator is None:
        return None
    element, between = given.element, lw.expr(separator)

    def step(old: Value) -> Value:
        text, some = lw.item(old, 0), lw.whole(lw.item(old, 1))
        items = derive.pieces(lw, element)
        lw.b.span = e.span
        before = lw.whole(text)
        if not (isinstance(separator, tree.Const) and separator.value == ""):
            longer = partial(derive.Piece(between).added, lw, before)
            before = lw.if_(some, lambda: [longer()], lambda: [before], [ir.STR])[0]
        for piece in items:
            before = piece.added(lw, before)
        return Parts(both, (lw.apart(before), boolean(True)))

    both = ir.TupleT((ir.STR, ir.BOOL))
    start = Parts(both, (lw.apart(lw.text("")), boolean(False)))
    return lw.item(_walk(lw, given, TupleType((STR, BOOL)), start, step), 0)


FOLDS: dict[str, Fold] = {
    f"{STD_TYPES['list']}._sum": _each("add", 0),
    f"{STD_TYPES['list']}._prod": _each("mul", 1),
    f"{STD_TYPES['list']}._any": _each("bit_or", 0, (BOOL,)),
    f"{STD_TYPES['list']}._all": _each("bit_and", 1, (BOOL,)),
    f"{STD_TYPES['list']}._min": _extreme("lt"),
    f"{STD_TYPES['list']}._max": _extreme("gt"),
    f"{STD_TYPES['list']}._len": _count,
    f"{STD_TYPES['str']}.join": _join,
}
