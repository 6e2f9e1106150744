"""Comprehensions: loops that fill a container; `parallel` ones over what has an index are Core's `parallel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hybridc.base.types import STD_TYPES, Named, TupleType, list_of
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower.builtin import push
from hybridc.front.lower.choice import alternative, among
from hybridc.front.lower.core import Lowerer, Parts, Value, lowers
from hybridc.front.lower.cursor import Cursor, cursor_of, cursor_of_value
from hybridc.front.lower.expr import empty
from hybridc.front.lower.match import bind_always, bound, is_open, test
from hybridc.front.lower.mixed import Unrolled, bind, unrolled
from hybridc.front.lower.scan import assigned


@lowers(tree.Comprehension)
def comprehension(lw: Lowerer, e: tree.Comprehension) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    if e.parallel:
        return _parallel(lw, e, t)
    out = lw.fresh("out", t, empty(lw, t), True)

    def add() -> None:
        if e.value is not None:
            _set(lw, out, lw.expr(e.element), lw.expr(e.value))
        else:
            item = lw.expr(e.element)
            lw.b.span = e.span
            push(lw, out, item, "add" if t.key == STD_TYPES["set"] else "push")

    turns(lw, e, e.clauses, out, add)
    return lw.env[out.key]


def _set(lw: Lowerer, out: tree.Var, key: ir.Atom, value: ir.Atom) -> None:
    whole = lw.whole(lw.env[out.key])
    lw.env[out.key] = lw.apart(lw.call_method(out.type, "_set", [whole, key, value])[-1])


def turns(lw: Lowerer, e: tree.Comprehension, clauses: tuple[tree.Clause, ...], out: tree.Var,
           add: Callable[[], None]) -> None:
    """The loops of the clauses, one in the other; `add` in the innermost."""
    if not clauses:
        add()
        return
    clause = clauses[0]
    if lw.ctx.models.any_mixed:
        apart = unrolled(lw, clause.iterable, e, clause.pattern)
        if apart is not None:
            _unrolled(lw, e, clauses, apart, out, add)
            return
    cursor = cursor_of(lw, clause.iterable)
    keys = [out.key, *(k for k in assigned(lw.ctx, e) if k in lw.env)]
    lw.b.span = e.span
    if e.clauses == (clause,) and not clause.conditions and is_open(clause.pattern):
        if _make_room(lw, out, cursor) and cursor.exact:
            add = partial(_fill, lw, out, e)
    _walk(lw, clause.pattern, clause.conditions, cursor, keys, lambda: turns(lw, e, clauses[1:], out, add))


def _make_room(lw: Lowerer, out: tree.Var, cursor: Cursor) -> bool:
    """A list that gets an item at every turn has room for all from the start."""
    t = lw.concrete(out.type)
    if cursor.length is None or not isinstance(t, Named) or t.key != STD_TYPES["list"]:
        return False
    kind = lw.ctx.types.inner(t)
    room = lw.op("buffer_new", [cursor.length()], ir.BufferT(lw.ctx.types.inner(t.args[0])))  # type: ignore[arg-type]
    lw.env[out.key] = Parts(kind, (room, integer(0)))
    return True


def _fill(lw: Lowerer, out: tree.Var, e: tree.Comprehension) -> None:
    """Add an item to a list that has room."""
    item = lw.expr(e.element)
    lw.b.span = e.span
    filled = lw.env[out.key]
    data, size = (lw.whole(lw.item(filled, i)) for i in range(2))
    data = lw.op("buffer_set", [data, size, item], data.type)
    lw.env[out.key] = Parts(filled.type, (data, lw.op("add", [size, integer(1)], ir.INT)))


def _unrolled(lw: Lowerer, e: tree.Comprehension, clauses: tuple[tree.Clause, ...], apart: Unrolled, out: tree.Var,
              add: Callable[[], None]) -> None:
    """A clause over a container of unlike submodels: what is inside, once for each of its items."""
    clause = clauses[0]
    keys = [out.key, *(k for k in assigned(lw.ctx, e) if k in lw.env)]

    def inside(at: int = 0) -> None:
        if at == len(clause.conditions):
            turns(lw, e, clauses[1:], out, add)
        else:
            lw.if_(lw.expr(clause.conditions[at]), lambda: inside(at + 1), lambda: None)

    def one(k: int) -> None:
        bind(lw, clause.pattern, apart.item(k))
        inside()

    def all_turns(label: int) -> None:
        for k in range(apart.turns):
            for length in apart.lengths:
                more = lw.op("lt", [integer(k), length], ir.BOOL)
                lw.if_(more, lambda: None, lambda: lw.leave(label, keys))
            alternative(lw, partial(one, k))

    lw.scope(keys, all_turns)


def _walk(lw: Lowerer, pattern: tree.Pattern, conditions: tuple[tree.Expr, ...], cursor: Cursor, keys: list[str],
          each: Callable[[], None]) -> None:
    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        lw.if_(cursor.more(state), lambda: None, lambda: lw.leave(label, keys))
        item = cursor.item(state)

        def conditional(at: int) -> None:
            if at == len(conditions):
                each()
                return
            lw.if_(lw.expr(conditions[at]), lambda: conditional(at + 1), lambda: None)

        if is_open(pattern):
            bind_always(lw, pattern, item, cursor.item_type)
            conditional(0)
        else:
            _matching(lw, pattern, item, cursor, keys, lambda: conditional(0))
        return cursor.next(state)

    lw.loop(keys, cursor.start, turn, cursor.names)


def _matching(lw: Lowerer, pattern: tree.Pattern, item: Value, cursor: Cursor, keys: list[str],
              then: Callable[[], None]) -> None:
    """A pattern of one case of an enum or a struct, whose variables live for this turn."""
    def run(label: int) -> None:
        def matched() -> None:
            then()
            if lw.tail is None:
                lw.leave(label, keys)

        test(lw, pattern, item, cursor.item_type, lambda: lw.leave(label, keys), matched)

    lw.scope(keys, run)


# ---- parallel --------------------------------------------------------------------------------------------------------
def _parallel(lw: Lowerer, e: tree.Comprehension, t: Named) -> Value:
    """One clause over what has a length and an index runs as it is; anything else first becomes a list of the items
    that the clauses give."""
    simple = len(e.clauses) == 1 and not e.clauses[0].conditions and is_open(e.clauses[0].pattern)
    if lw.ctx.models.any_mixed:
        apart = unrolled(lw, e.clauses[0].iterable, e.element, e.clauses[0].pattern)
        if apart is not None:
            if not simple:
                raise lw.refuse("HYB809", "a `parallel` over unlike submodels has one clause and no condition", e.span)
            return _parallel_unrolled(lw, e, t, apart)
    cursor = cursor_of(lw, e.clauses[0].iterable) if simple else None
    pattern = e.clauses[0].pattern
    if cursor is None or cursor.at is None:
        cursor, pattern = _materialised(lw, e, cursor)
    assert cursor.length is not None and cursor.at is not None
    lw.b.span = e.span
    count = cursor.length()
    index = lw.b.var(ir.INT, "i")
    at = cursor.at

    def body() -> list[ir.Atom]:
        bind_always(lw, pattern, at(index), cursor.item_type)
        if e.value is None:
            return [lw.expr(e.element)]
        key, value = lw.expr(e.element), lw.expr(e.value)
        return [lw.op("tuple", [key, value], ir.TupleT((key.type, value.type)))]

    item_type = lw.concrete(e.element.type)
    if e.value is not None:
        item_type = TupleType((item_type, lw.concrete(e.value.type)))
    branch = lw.branch(body)
    block = ir.Block(branch.stmts, branch.tail or ir.Yield(tuple(branch.results)))
    data = lw.b.parallel(ir.BufferT(lw.ctx.types.inner(item_type)), index, count, block)
    items = Parts(lw.ctx.types.inner(list_of(item_type)), (data, lw.op("buffer_len", [data], ir.INT)))
    if t.key == STD_TYPES["list"]:
        return items
    return _gathered(lw, t, e, lw.whole(items), list_of(item_type))


def _parallel_unrolled(lw: Lowerer, e: tree.Comprehension, t: Named, apart: Unrolled) -> Value:
    """Over unlike submodels: the number of the turn chooses among the bodies."""
    count: ir.Atom = integer(apart.turns)
    for length in apart.lengths:
        count = lw.op("minimum", [count, length], ir.INT)
    index = lw.b.var(ir.INT, "i")
    if t.key != STD_TYPES["list"]:
        raise lw.refuse("HYB809", "a `parallel` over unlike submodels makes a list", e.span)
    kind = lw.ctx.types.inner(lw.concrete(e.element.type))

    def one(k: int) -> list[ir.Atom]:
        bind(lw, e.clauses[0].pattern, apart.item(k))
        return [lw.expr(e.element)]

    def body() -> Sequence[ir.Atom]:
        return among(lw, index, apart.turns, lambda k: alternative(lw, lambda: one(k)), [kind])

    branch = lw.branch(body)
    block = ir.Block(branch.stmts, branch.tail or ir.Yield(tuple(branch.results)))
    data = lw.b.parallel(ir.BufferT(kind), index, count, block)
    return Parts(lw.ctx.types.inner(t), (data, lw.op("buffer_len", [data], ir.INT)))


def _materialised(lw: Lowerer, e: tree.Comprehension, cursor: Cursor | None) -> tuple[Cursor, tree.Pattern]:
    """A list with, for each turn, what the clauses bind; and the pattern that binds them again."""
    variables: dict[str, tree.Var] = {}
    for clause in e.clauses:
        variables.update({v.key: v for v in bound(clause.pattern)})
    kinds = TupleType(tuple(lw.concrete(v.type) for v in variables.values()))
    out = lw.fresh("turns", list_of(kinds), empty(lw, list_of(kinds)), True)

    def add() -> None:
        values = [lw.whole(lw.read(k)) for k in variables]
        push(lw, out, lw.op("tuple", values, lw.ctx.types.inner(kinds)))

    if cursor is not None:
        clause = e.clauses[0]
        _walk(lw, clause.pattern, clause.conditions, cursor, [out.key], add)
    else:
        turns(lw, e, e.clauses, out, add)
    whole = lw.whole(lw.env[out.key])
    pattern = tree.TuplePattern(tuple(tree.BindPattern(v) for v in variables.values()))
    return cursor_of_value(lw, whole, list_of(kinds)), pattern


def _gathered(lw: Lowerer, t: Named, e: tree.Comprehension, items: ir.Atom, kind: Named) -> Value:
    """A map or set of the results, in their order."""
    out = lw.fresh("out", t, empty(lw, t), True)
    cursor = cursor_of_value(lw, items, kind)

    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        lw.if_(cursor.more(state), lambda: None, lambda: lw.leave(label, [out.key]))
        item = cursor.item(state)
        if e.value is None:
            push(lw, out, lw.whole(item), "add")
        else:
            _set(lw, out, lw.whole(lw.item(item, 0)), lw.whole(lw.item(item, 1)))
        return cursor.next(state)

    lw.loop([out.key], cursor.start, turn, cursor.names)
    return lw.env[out.key]
