"""What a `for` and a comprehension walk: lists, ranges, strings, maps, tensors, lists of submodels, enumerate, zip.

A cursor holds the value it had at the start (values never change), and a state of one or more atoms that each turn of
the loop carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hybridc.base.dims import Dim
from hybridc.base.types import INT, STD_TYPES, STR, ModelType, Named, Tensor, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer, Parts, Value

Atoms = Sequence[ir.Atom]
State = list[ir.Atom]


@dataclass
class Cursor:
    """`length` and `at` are there for what can be indexed (a parallel comprehension needs them)."""

    item_type: Type
    start: Atoms
    more: Callable[[Atoms], ir.Atom]
    item: Callable[[Atoms], Value]
    next: Callable[[Atoms], State]
    names: list[str] = field(default_factory=list)
    length: Callable[[], ir.Atom] | None = None
    at: Callable[[ir.Atom], Value] | None = None
    exact: bool = False
    """Are there never more turns than `length` says?"""


def cursor_of(lw: Lowerer, e: tree.Expr) -> Cursor:
    """A cursor at the start of what an expression gives (or `range`, `enumerate`, `zip`)."""
    match e:
        case tree.Builtin(name="range", args=args):
            return _range(lw, [lw.expr(a) for a in args], e)
        case tree.Builtin(name="enumerate", args=args):
            inner = cursor_of(lw, args[0])
            return _enumerate(lw, inner, lw.expr(args[1]) if len(args) > 1 else integer(0))
        case tree.Builtin(name="zip", args=args):
            return _zip(lw, [cursor_of(lw, a) for a in args])
        case tree.Builtin(name="reversed", args=(of,)) if _is_list(lw, of):
            return _reversed(lw, of)
        case tree.Call(args=(tree.Arg(value=receiver), *_)) if receiver is not None:
            walked = WALKED.get(e.fn.key)
            cursor = walked(lw, e) if walked is not None else None
            if cursor is not None:
                return cursor
        case tree.Field(value=owner, name=name):
            if isinstance(model := lw.concrete(owner.type), ModelType):
                models = lw.ctx.models.list_field(lw, model, owner, name)
                if models is not None:
                    return _indexed(lw, *models)
    return cursor_of_value(lw, lw.whole(lw.value(e)), lw.concrete(e.type))


def cursor_of_value(lw: Lowerer, value: ir.Atom, t: Type) -> Cursor:
    match t:
        case Named(key, (Tensor() | Named() | TupleType() | object() as item,)) if key == STD_TYPES["list"]:
            return _list(lw, value, item)  # type: ignore[arg-type]
        case Tensor():
            return _tensor(lw, value, t)
        case _:
            return _protocol(lw, value, t)


# ---- what has a length and an index ----------------------------------------------------------------------------------
def _indexed(lw: Lowerer, item_type: Type, length: ir.Atom, at: Callable[[ir.Atom], Value]) -> Cursor:
    return Cursor(
        item_type,
        [integer(0)],
        lambda s: lw.op("lt", [s[0], length], ir.BOOL),
        lambda s: at(s[0]),
        lambda s: [lw.op("add", [s[0], integer(1)], ir.INT)],
        ["i"],
        lambda: length,
        at,
        True,
    )


def _list(lw: Lowerer, xs: ir.Atom, item: Type) -> Cursor:
    """The elements of `data` below `size`, without the bounds check of an index."""
    data, size = lw.whole(lw.item(xs, 0)), lw.whole(lw.item(xs, 1))
    kind = lw.ctx.types.inner(item)
    return _indexed(lw, item, size, lambda i: lw.op("buffer_get", [data, i], kind))


def _tensor(lw: Lowerer, t: ir.Atom, type: Tensor) -> Cursor:
    rest = type.shape[1:]
    item = Tensor(type.elem, rest) if rest else type.elem
    whole = lw.local("tensor", type, t)

    def at(i: ir.Atom) -> Value:
        index = lw.local("i", INT, i)
        return lw.value(tree.TensorIndex(item, lw.b.span, whole, (index,)))

    first = type.shape[0]
    constant = first.constant if isinstance(first, Dim) else None
    length = integer(constant) if constant is not None else lw.op("dim", [t], ir.INT, axis=0)
    return _indexed(lw, item, length, at)


def _range(lw: Lowerer, args: Atoms, node: tree.Builtin) -> Cursor:
    start = args[0] if len(args) > 1 else integer(0)
    stop = args[1] if len(args) > 1 else args[0]
    step = args[2] if len(args) > 2 else integer(1)
    lw.b.span = node.span

    def length() -> ir.Atom:
        """max(0, (stop - start) rounded up to turns of `step`)."""
        if step == integer(1):
            turns: ir.Atom = lw.op("sub", [stop, start], ir.INT)
        elif start == integer(0):
            # division rounding up
            turns = lw.op("neg", [lw.op("floordiv", [lw.op("neg", [stop], ir.INT), step], ir.INT)], ir.INT)
        else:
            turns = _turns_between(lw, start, stop, step)
        return lw.op("maximum", [turns, integer(0)], ir.INT)

    def at(i: ir.Atom) -> Value:
        scaled = i if step == integer(1) else lw.op("mul", [i, step], ir.INT)
        return scaled if start == integer(0) else lw.op("add", [start, scaled], ir.INT)

    if isinstance(step, ir.Const) and step.value in (1, -1):
        compare = "lt" if step.value == 1 else "gt"
        return Cursor(
            INT,
            [start],
            lambda s: lw.op(compare, [s[0], stop], ir.BOOL),
            lambda s: s[0],
            lambda s: [lw.op("add", [s[0], step], ir.INT)],
            ["i"],
            length,
            at,
            step.value == 1 and isinstance(start, ir.Const) and start.value >= 0,  # else the length may wrap
        )
    if not isinstance(step, ir.Const) or step.value == 0:
        ok = boolean(False) if isinstance(step, ir.Const) else lw.op("ne", [step, integer(0)], ir.BOOL)
        lw.check(ok, "ValueError", "the step of a range is 0", node.span)
    turns = length()
    counted = _indexed(lw, INT, turns, at)
    return counted


def _turns_between(lw: Lowerer, start: ir.Atom, stop: ir.Atom, step: ir.Atom) -> ir.Atom:
    """(stop - start) / step rounded up, without the difference, which may wrap: both ends are divided."""
    whole, rest = [], []
    for end in (start, stop):
        quotient = lw.op("floordiv", [end, step], ir.INT)
        whole.append(quotient)
        rest.append(lw.op("sub", [end, lw.op("mul", [quotient, step], ir.INT)], ir.INT))
    apart = lw.op("sub", [whole[1], whole[0]], ir.INT)
    # What is left of each has the sign of the step, so the quotient of their difference lies between -1 and 1.
    more = lw.op("sub", rest[::-1], ir.INT)
    over = lw.op("neg", [lw.op("floordiv", [lw.op("neg", [more], ir.INT), step], ir.INT)], ir.INT)
    return lw.op("add", [apart, over], ir.INT)


# ---- cursors made of cursors -----------------------------------------------------------------------------------------
def _enumerate(lw: Lowerer, inner: Cursor, first: ir.Atom) -> Cursor:
    type = TupleType((INT, inner.item_type))

    def pair(number: ir.Atom, value: Value) -> Value:
        whole = lw.whole(value)
        return Parts(ir.TupleT((ir.INT, whole.type)), (number, whole))

    def at(i: ir.Atom) -> Value:
        assert inner.at is not None
        return pair(i if first == integer(0) else lw.op("add", [first, i], ir.INT), inner.at(i))

    return Cursor(
        type,
        [*inner.start, first],
        lambda s: inner.more(s[:-1]),
        lambda s: pair(s[-1], inner.item(s[:-1])),
        lambda s: [*inner.next(s[:-1]), lw.op("add", [s[-1], integer(1)], ir.INT)],
        [*inner.names, "n"],
        inner.length,
        at if inner.at is not None else None,
        inner.exact,
    )


def _zip(lw: Lowerer, cursors: list[Cursor]) -> Cursor:
    """All at once, up to the end of the shortest."""
    def split(s: Atoms) -> list[tuple[Cursor, Atoms]]:
        result, at = [], 0
        for c in cursors:
            result.append((c, s[at:at + len(c.start)]))
            at += len(c.start)
        return result

    def more(s: Atoms) -> ir.Atom:
        tests = [c.more(part) for c, part in split(s)]
        all_of = tests[0]
        for test in tests[1:]:
            all_of = lw.op("bit_and", [all_of, test], ir.BOOL)
        return all_of

    def together(items: list[Value]) -> Value:
        wholes = tuple(map(lw.whole, items))
        return Parts(ir.TupleT(tuple(w.type for w in wholes)), wholes)

    def length() -> ir.Atom:
        lengths = [c.length() for c in cursors if c.length is not None]
        least = lengths[0]
        for other in lengths[1:]:
            least = lw.op("minimum", [least, other], ir.INT)
        return least

    indexable = all(c.at is not None for c in cursors)
    return Cursor(
        TupleType(tuple(c.item_type for c in cursors)),
        [a for c in cursors for a in c.start],
        more,
        lambda s: together([c.item(part) for c, part in split(s)]),
        lambda s: [a for c, part in split(s) for a in c.next(part)],
        [n for c in cursors for n in c.names],
        length if indexable else None,
        (lambda i: together([c.at(i) for c in cursors])) if indexable else None,  # type: ignore[misc]
        all(c.exact for c in cursors),
    )


def _is_list(lw: Lowerer, e: tree.Expr) -> bool:
    t = lw.concrete(e.type)
    return isinstance(t, Named) and t.key == STD_TYPES["list"]


def _reversed(lw: Lowerer, e: tree.Expr) -> Cursor:
    """A list from the last element to the first."""
    inner = cursor_of_value(lw, lw.whole(lw.value(e)), lw.concrete(e.type))
    assert inner.at is not None and inner.length is not None
    at, length = inner.at, inner.length()
    last = lw.op("sub", [length, integer(1)], ir.INT)
    return replace(
        inner,
        start=[last],
        more=lambda s: lw.op("ge", [s[0], integer(0)], ir.BOOL),
        next=lambda s: [lw.op("sub", [s[0], integer(1)], ir.INT)],
        at=lambda i: at(lw.op("sub", [last, i], ir.INT)),
    )


def _protocol(lw: Lowerer, value: ir.Atom, t: Type) -> Cursor:
    """A container of the standard library: `_first`, `_next` give a cursor, up to `_end` where it has one and else to
    -1; `_at` the item. One without (a heap, a store) is walked as the list that `_to_list` makes of it."""
    assert isinstance(t, Named), f"cannot walk {t}"
    decl = lw.ctx.method(t, "_at")
    if decl is None:
        to_list = lw.ctx.method(t, "_to_list")
        assert to_list is not None, f"cannot walk {t}"
        items = _item_type(lw, to_list, t)
        return cursor_of_value(lw, lw.call_method(t, "_to_list", [value])[0], items)
    item = STR if t == STR else _item_type(lw, decl, t)
    start = lw.call_method(t, "_first", [value])[0]
    end = lw.call_method(t, "_end", [value])[0] if lw.ctx.method(t, "_end") is not None else None
    return Cursor(
        item,
        [start],
        lambda s: lw.op("lt", [s[0], end], ir.BOOL) if end is not None else lw.op("ge", [s[0], integer(0)], ir.BOOL),
        lambda s: lw.call_method(t, "_at", [value, s[0]])[0],
        lambda s: [lw.call_method(t, "_next", [value, s[0]])[0]],
        ["at"],
    )


def _item_type(lw: Lowerer, decl: tree.FnDecl, t: Named) -> Type:
    types = [a for a in t.args if not isinstance(a, Dim)]
    inner = Lowerer(lw.ctx)
    inner.type_args = {v.key: a for v, a in zip(decl.type_params, types, strict=False)}
    return inner.concrete(decl.result)


# ---- lists that are only walked --------------------------------------------------------------------------------------
def _split(lw: Lowerer, e: tree.Call) -> Cursor | None:
    """The parts of a text as `split` gives them, without their list; a part is from one byte to another."""
    text_at, separator, most = (a.value for a in e.args)
    if most is not None or not isinstance(separator, tree.Some | None):
        return None
    assert text_at is not None
    text = lw.expr(text_at)
    given = [] if separator is None else [lw.expr(separator.value)]
    lw.b.span = e.span

    names = ["start", "end", "block", "marks"]

    def place(name: str, args: Sequence[ir.Atom]) -> State:
        found = lw.call_method(STR, name, [text, *args])[0]
        return [lw.whole(lw.item(found, i)) for i in range(len(names))]

    return Cursor(
        STR,
        place("_first_part", given) if given else place("_first_word", []),
        lambda s: lw.op("ge", [s[0], integer(0)], ir.BOOL),
        lambda s: lw.call_method(STR, "_part", [text, *s[:2]])[0],
        lambda s: place("_next_part", [*s[1:], *given]) if given else place("_next_word", s[1:]),
        names,
    )


def _chars(lw: Lowerer, e: tree.Call) -> Cursor:
    return _protocol(lw, *_receiver(lw, e))


def _entries(names: Sequence[str]) -> Callable[[Lowerer, tree.Call], Cursor]:
    """What a map's keys, values or items are, by a cursor of the map; `names` are the methods that read there."""
    def walk(lw: Lowerer, e: tree.Call) -> Cursor:
        value, t = _receiver(lw, e)
        over = _protocol(lw, value, t)
        assert isinstance(t, Named)
        kinds = dict(zip(("_at", "_value_at"), t.args, strict=True))

        def item(s: Atoms) -> Value:
            parts = [lw.call_method(t, name, [value, s[0]])[0] for name in names]
            return Parts(ir.TupleT(tuple(p.type for p in parts)), tuple(parts)) if len(parts) > 1 else parts[0]

        types = tuple(kinds[name] for name in names)
        return replace(over, item_type=TupleType(types) if len(types) > 1 else types[0], item=item)  # type: ignore[arg-type]

    return walk


def _receiver(lw: Lowerer, e: tree.Call) -> tuple[ir.Atom, Type]:
    receiver = e.args[0].value
    assert receiver is not None
    return lw.expr(receiver), lw.concrete(receiver.type)


def _method(owner: str, name: str) -> str:
    return f"{STD_TYPES[owner]}.{name}"


WALKED: dict[str, Callable[[Lowerer, tree.Call], Cursor | None]] = {
    _method("list", "reversed"): lambda lw, e: _reversed(lw, e.args[0].value),  # type: ignore[arg-type]
    _method("str", "split"): _split,
    _method("str", "chars"): _chars,
    _method("map", "keys"): _entries(["_at"]),
    _method("map", "values"): _entries(["_value_at"]),
    _method("map", "items"): _entries(["_at", "_value_at"]),
}
"""Methods whose list is not made where it is only walked."""
