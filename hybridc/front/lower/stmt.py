"""Statements: blocks, conditions, loops, assignment, leaving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from hybridc.base.source import NOWHERE
from hybridc.base.types import TupleType, Void
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower.choice import alternative
from hybridc.front.lower.core import LoopLabels, Lowerer, Refused, Value, lowers
from hybridc.front.lower.cursor import Cursor, cursor_of
from hybridc.front.lower.match import bind_always
from hybridc.front.lower.mixed import Unrolled, bind, unrolled
from hybridc.front.lower.place import TensorAccess, access, update
from hybridc.front.lower.put_back import taking
from hybridc.front.lower.scan import assigned, has_continue


def block(lw: Lowerer, stmts: Sequence[tree.Stmt]) -> None:
    """Statements in order, up to one whose end cannot be reached."""
    from_outside = lw.b.span
    for at in range(len(stmts)):
        if lw.tail is not None:
            break
        stmt = taking(lw, stmts, at)
        lw.b.span = stmt.span
        try:
            statement(lw, stmt)
        except Refused as refused:
            if refused.diagnostic.span != NOWHERE:
                raise
            raise Refused(replace(refused.diagnostic, span=lw.b.span)) from None
    lw.b.span = from_outside


def statement(lw: Lowerer, stmt: tree.Stmt) -> None:
    match stmt:
        case tree.ExprStmt(value):
            lw.effect(value)
        case tree.If(cond, then, orelse):
            if_stmt(lw, cond, then, orelse)
        case tree.Return(value):
            return_stmt(lw, value)
        case tree.Let(pattern, value, span) if lw.ctx.models.any_mixed and holds_open(value.type):
            lw.b.span = span
            bind(lw, pattern, value)
        case tree.Let(pattern, value, span):
            result = lw.value(value)
            lw.b.span = span
            bind_always(lw, pattern, result, value.type)
        case tree.Assign():
            assign(lw, stmt)
        case tree.While(cond, body):
            while_stmt(lw, cond, body)
        case tree.For():
            for_stmt(lw, stmt)
        case tree.Break():
            loop = lw.loops[-1]
            lw.leave(loop.stop, loop.keys)
        case tree.Continue():
            loop = lw.loops[-1]
            assert loop.turn is not None
            lw.leave(loop.turn, loop.keys)
        case tree.Assert(cond, message, span):
            assert_stmt(lw, stmt)
        case tree.Raise(message, span):
            text = lw.expr(message)
            lw.tail = ir.Fault("HybError", (text,), span)
        case tree.LocalFn(var, value):
            lw.declare(var, lw.value(value))
        case _:
            lw.effect(stmt)  # Match, which has a handler of its own


def if_stmt(lw: Lowerer, cond: tree.Expr, then: Sequence[tree.Stmt], orelse: Sequence[tree.Stmt]) -> None:
    test = lw.expr(cond)
    if isinstance(test, ir.Const):
        block(lw, then if test.value else orelse)
        return
    lw.if_(test, lambda: block(lw, then), lambda: block(lw, orelse))


def return_stmt(lw: Lowerer, value: tree.Expr | None) -> None:
    """Leaves the function with the result and what its `mut` parameters hold now."""
    results: list[ir.Atom] = []
    if value is not None:
        if isinstance(lw.result_type, Void):
            lw.effect(value)
        else:
            results.append(lw.expr(value))
    lw.tail = ir.Exit(ir.RETURN, tuple(results + [lw.whole(lw.read(k)) for k in lw.muts]))


def assert_stmt(lw: Lowerer, stmt: tree.Assert) -> None:
    ok = lw.expr(stmt.cond)
    lw.b.span = stmt.span
    message = stmt.message
    lw.check(ok, "AssertionError", None if message is None else lambda: lw.expr(message), stmt.span)


def assign(lw: Lowerer, stmt: tree.Assign) -> None:
    """All values first, then each place in order; `place op= value` evaluates the place's indices once, first."""
    if stmt.op is not None:
        update(lw, stmt)
        return
    if len(stmt.values) == len(stmt.targets):
        values = [lw.value(v) for v in stmt.values]
        types = [v.type for v in stmt.values]
    else:
        whole = lw.value(stmt.values[0])
        values = [lw.item(whole, i) for i in range(len(stmt.targets))]
        tuple_type = stmt.values[0].type
        types = list(tuple_type.items) if isinstance(tuple_type, TupleType) else [t.type for t in stmt.targets]
    lw.b.span = stmt.span
    for target, value, type in zip(stmt.targets, values, types, strict=True):
        if isinstance(target, tree.PlaceVar) and target.var == tree.NOWHERE:
            continue
        place = access(lw, target)
        if isinstance(place, TensorAccess):
            # What broadcasts is decided by the type that is written.
            place.update(None, value, type)
        else:
            place.store(value)


# ---- loops -----------------------------------------------------------------------------------------------------------
def loop_keys(lw: Lowerer, node: object) -> list[str]:
    """The variables alive before a loop that it assigns."""
    return [key for key in assigned(lw.ctx, node) if key in lw.env]


def turn(lw: Lowerer, keys: list[str], label: int, body: Sequence[tree.Stmt], bind: Callable[[], None]) -> None:
    """One turn of a loop; `continue` leaves a scope around it."""
    def run(turn_label: int | None) -> None:
        lw.loops.append(LoopLabels(label, turn_label, keys))
        bind()
        block(lw, body)
        lw.loops.pop()

    if has_continue(lw.ctx, tuple(body)):
        lw.scope(keys, run)
    else:
        run(None)


def while_stmt(lw: Lowerer, cond: tree.Expr, body: tuple[tree.Stmt, ...]) -> None:
    keys = list(dict.fromkeys(loop_keys(lw, cond) + loop_keys(lw, body)))

    def make(label: int, _: list[ir.Var]) -> list[ir.Atom]:
        test = lw.expr(cond)
        leave_unless(lw, test, label, keys)
        if lw.tail is None:
            turn(lw, keys, label, body, lambda: None)
        return []

    lw.loop(keys, [], make)


def leave_unless(lw: Lowerer, test: ir.Atom, label: int, keys: Sequence[str], results: Sequence[ir.Atom] = ()) -> None:
    """The condition of a loop."""
    if test == boolean(True):
        return
    if test == boolean(False):
        lw.leave(label, keys, results)
        return
    lw.if_(test, lambda: None, lambda: lw.leave(label, keys, results))


def for_stmt(lw: Lowerer, stmt: tree.For) -> None:
    if lw.ctx.models.any_mixed:
        turns = unrolled(lw, stmt.iterable, stmt.body, stmt.pattern)
        if turns is not None:
            unrolled_for(lw, stmt, turns)
            return
    cursor = cursor_of(lw, stmt.iterable)
    keys = loop_keys(lw, stmt.body)
    lw.b.span = stmt.span
    for_each(lw, cursor, keys, lambda label, item: turn(
        lw, keys, label, stmt.body, lambda: bind_always(lw, stmt.pattern, item(), cursor.item_type)))


def unrolled_for(lw: Lowerer, stmt: tree.For, turns: Unrolled) -> None:
    """The body once for each item of a container of unlike submodels."""
    keys = loop_keys(lw, stmt.body)

    def one(label: int, k: int) -> None:
        turn(lw, keys, label, stmt.body, lambda: bind(lw, stmt.pattern, turns.item(k)))

    def all_turns(label: int) -> None:
        for k in range(turns.turns):
            if lw.tail is not None:
                break
            for length in turns.lengths:
                leave_unless(lw, lw.op("lt", [integer(k), length], ir.BOOL), label, keys)
            alternative(lw, partial(one, label, k))

    lw.scope(keys, all_turns)


def for_each(lw: Lowerer, cursor: Cursor, keys: list[str],
             each: Callable[[int, Callable[[], Value]], None]) -> None:
    """Run `each(label, item)` for every item of the value the cursor had at the start; `keys` are what it assigns."""
    def make(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        leave_unless(lw, cursor.more(state), label, keys)
        if lw.tail is not None:
            return []
        each(label, lambda: cursor.item(state))
        return cursor.next(state) if lw.tail is None else []

    lw.loop(keys, cursor.start, make, cursor.names)


@lowers(tree.ExprStmt, tree.If, tree.Return, tree.Let, tree.Assign, tree.While, tree.For, tree.Break, tree.Continue,
        tree.Assert, tree.Raise, tree.LocalFn)
def _statement(lw: Lowerer, stmt: tree.Stmt) -> None:
    statement(lw, stmt)
