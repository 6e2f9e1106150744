"""Patterns. A pattern that can fail is lowered in continuation-passing form: what follows a test stands inside it, and
failing leaves a scope, so cases are tried in order with no test repeated on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hybridc.base.types import INT, STR, Named, Option, Prim, Tensor, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower import derive
from hybridc.front.lower.core import Lowerer, Value, lowers
from hybridc.front.lower.scan import assigned
from hybridc.front.lower.static import static_or_none

Then = Callable[[], None]


# ---- patterns that always match --------------------------------------------------------------------------------------
def bind_always(lw: Lowerer, pattern: tree.Pattern, value: Value, t: Type) -> None:
    """Bind the variables of a pattern that cannot fail."""
    t = lw.concrete(t)
    match pattern:
        case tree.AnyPattern():
            pass
        case tree.BindPattern(var):
            lw.declare(var, value)
        case tree.TuplePattern(items) if isinstance(t, Tensor):
            _bind_rows(lw, items, value, t)
        case tree.TuplePattern(items):
            assert isinstance(t, TupleType)
            for i, (item, kind) in enumerate(zip(items, t.items, strict=True)):
                if not isinstance(item, tree.AnyPattern):
                    bind_always(lw, item, lw.item(value, i), kind)
        case tree.StructPattern(fields):
            for i, (item, (_, kind)) in enumerate(zip(fields, lw.ctx.types.fields(t), strict=True)):  # type: ignore[arg-type]
                if not isinstance(item, tree.AnyPattern):
                    bind_always(lw, item, lw.item(value, i), kind)
        case _:
            def unreachable() -> None:
                lw.tail = lw.fault("HybError", "a value that no pattern matches")

            _bind_refutable(lw, pattern, value, t, unreachable)


def _bind_rows(lw: Lowerer, items: Sequence[tree.Pattern], value: Value, t: Tensor) -> None:
    """The rows of a tensor whose first dimension is known."""
    rest = t.shape[1:]
    kind: Type = Tensor(t.elem, rest) if rest else t.elem
    whole = lw.local("rows", t, value)
    for i, item in enumerate(items):
        if not isinstance(item, tree.AnyPattern):
            index = tree.Const(INT, lw.b.span, i)
            bind_always(lw, item, lw.value(tree.TensorIndex(kind, lw.b.span, whole, (index,))), kind)


def _bind_refutable(lw: Lowerer, pattern: tree.Pattern, value: Value, t: Type, failed: Then) -> None:
    """A pattern that the checker found to match always (an enum of one case): its variables outlive the test."""
    found = bound(pattern)
    types = [lw.type(v.type) for v in found]

    def run(label: int) -> None:
        def leave() -> None:
            lw.leave(label, [], [lw.whole(lw.read(v.key)) for v in found])

        test(lw, pattern, value, t, failed, leave)

    outs = lw.scope([], run, types)
    for var, out in zip(found, outs, strict=True):
        lw.declare(var, out)


def bound(pattern: tree.Pattern) -> list[tree.Var]:
    """The variables that a pattern binds, once each, in order."""
    found: dict[str, tree.Var] = {}

    def look(p: tree.Pattern) -> None:
        match p:
            case tree.BindPattern(var):
                found[var.key] = var
            case tree.SomePattern(inner):
                look(inner)
            case tree.EnumPattern(_, fields) | tree.StructPattern(fields):
                for f in fields:
                    look(f)
            case tree.TuplePattern(items):
                for i in items:
                    look(i)
            case tree.OrPattern(items):
                look(items[0])
            case tree.ListPattern(before, rest, after):
                for i in (*before, *((rest,) if rest is not None else ()), *after):
                    look(i)
            case _:
                pass

    look(pattern)
    return list(found.values())


def is_open(pattern: tree.Pattern) -> bool:
    """Matches everything, whatever the type."""
    match pattern:
        case tree.AnyPattern() | tree.BindPattern():
            return True
        case tree.TuplePattern(items) | tree.StructPattern(items):
            return all(map(is_open, items))
        case tree.OrPattern(items):
            return any(map(is_open, items))
        case _:
            return False


# ---- tests -----------------------------------------------------------------------------------------------------------
def test(lw: Lowerer, pattern: tree.Pattern, value: Value, t: Type, failed: Then, then: Then) -> None:
    """Lower `then` where the pattern matches and `failed` (which leaves) where it does not."""
    t = lw.concrete(t)
    match pattern:
        case tree.AnyPattern():
            then()
        case tree.BindPattern(var):
            lw.declare(var, value)
            then()
        case tree.ConstPattern(literal):
            same = derive.equal(lw, t, lw.whole(value), lw.whole(constant(lw, literal, t)))
            _guard(lw, same, failed, then)
        case tree.NonePattern():
            _guard(lw, lw.not_(lw.op("is_some", [lw.whole(value)], ir.BOOL)), failed, then)
        case tree.SomePattern(inner):
            assert isinstance(t, Option)
            whole = lw.whole(value)
            item = t.item

            def unwrap() -> None:
                assert isinstance(whole.type, ir.OptionT)
                test(lw, inner, lw.op("unwrap", [whole], whole.type.item), item, failed, then)

            _guard(lw, lw.op("is_some", [whole], ir.BOOL), failed, unwrap)
        case tree.TuplePattern(items) if isinstance(t, Tensor):
            _bind_rows(lw, items, value, t)
            then()
        case tree.TuplePattern(items):
            assert isinstance(t, TupleType)
            _all(lw, [(p, i, k) for i, (p, k) in enumerate(zip(items, t.items, strict=True))], value, failed, then)
        case tree.StructPattern(fields):
            kinds = [k for _, k in lw.ctx.types.fields(t)]  # type: ignore[arg-type]
            _all(lw, [(p, i, k) for i, (p, k) in enumerate(zip(fields, kinds, strict=True))], value, failed, then)
        case tree.EnumPattern(case, fields):
            _case(lw, case, fields, lw.whole(value), t, failed, then)
        case tree.ListPattern():
            _list(lw, pattern, value, t, failed, then)
        case tree.OrPattern(items):
            _either(lw, pattern, items, value, t, failed, then)


def constant(lw: Lowerer, literal: int | float | bool | str, t: Type) -> Value:
    return lw.value(tree.Const(t, lw.b.span, literal))


def _guard(lw: Lowerer, ok: ir.Atom, failed: Then, then: Then) -> None:
    if isinstance(ok, ir.Const):
        (then if ok.value else failed)()
        return
    lw.if_(ok, then, failed)


def _all(lw: Lowerer, parts: list[tuple[tree.Pattern, int, Type]], value: Value, failed: Then, then: Then) -> None:
    """Fields in order."""
    parts = [p for p in parts if not isinstance(p[0], tree.AnyPattern)]

    def step(at: int) -> None:
        if at == len(parts):
            then()
            return
        pattern, index, kind = parts[at]
        test(lw, pattern, lw.item(value, index), kind, failed, lambda: step(at + 1))

    step(0)


def _case(lw: Lowerer, case: str, fields: Sequence[tree.Pattern], subject: ir.Atom, t: Type, failed: Then,
          then: Then) -> None:
    kinds = dict(lw.ctx.types.cases(t))  # type: ignore[arg-type]

    def arm(values: Sequence[ir.Var]) -> None:
        parts = [(p, v, k) for p, v, (_, k) in zip(fields, values, kinds[case], strict=True)
                 if not isinstance(p, tree.AnyPattern)]

        def step(at: int) -> None:
            if at == len(parts):
                then()
                return
            pattern, value, kind = parts[at]
            test(lw, pattern, value, kind, failed, lambda: step(at + 1))

        step(0)

    derive.match_all(lw, subject, lambda name, values: arm(values) if name == case else failed())


def _list(lw: Lowerer, pattern: tree.ListPattern, value: Value, t: Type, failed: Then, then: Then) -> None:
    """Length first, then the items from the front, the back, and what is between."""
    assert isinstance(t, Named)
    item: Type = t.args[0]  # type: ignore[assignment]
    kind = lw.ctx.types.inner(item)
    whole = lw.whole(value)
    data, size = lw.whole(lw.item(whole, 0)), lw.whole(lw.item(whole, 1))
    known = len(pattern.before) + len(pattern.after)
    ok = lw.op("eq" if pattern.rest is None else "ge", [size, integer(known)], ir.BOOL)

    def items() -> None:
        parts: list[tuple[tree.Pattern, Callable[[], Value], Type]] = []
        for i, p in enumerate(pattern.before):
            parts.append((p, lambda i=i: lw.op("buffer_get", [data, integer(i)], kind), item))  # type: ignore[misc]
        for i, p in enumerate(pattern.after):
            back = len(pattern.after) - i

            def from_end(back: int = back) -> Value:
                at = lw.op("sub", [size, integer(back)], ir.INT)
                return lw.op("buffer_get", [data, at], kind)

            parts.append((p, from_end, item))
        if pattern.rest is not None:
            def middle() -> Value:
                some = ir.OptionT(ir.INT)
                start = lw.op("some", [integer(len(pattern.before))], some)
                stop = lw.op("some", [lw.op("sub", [size, integer(len(pattern.after))], ir.INT)], some)
                return lw.call_method(t, "_slice", [whole, start, stop, lw.op("none", [], some)])[0]

            parts.append((pattern.rest, middle, t))
        parts = [p for p in parts if not isinstance(p[0], tree.AnyPattern)]

        def step(at: int) -> None:
            if at == len(parts):
                then()
                return
            p, get, kind_of = parts[at]
            test(lw, p, get(), kind_of, failed, lambda: step(at + 1))

        step(0)

    _guard(lw, ok, failed, items)


def _either(lw: Lowerer, pattern: tree.OrPattern, items: Sequence[tree.Pattern], value: Value, t: Type, failed: Then,
            then: Then) -> None:
    """Alternatives: the first that matches gives the variables."""
    found = bound(pattern)
    if all(isinstance(p, tree.ConstPattern) for p in items) and isinstance(t, Prim):
        whole = lw.whole(value)
        tests = [derive.equal(lw, t, whole, lw.whole(constant(lw, p.value, t))) for p in items]  # type: ignore[union-attr]
        any_of = tests[0]
        for one in tests[1:]:
            any_of = lw.op("bit_or", [any_of, one], ir.BOOL)
        _guard(lw, any_of, failed, then)
        return
    types = [lw.type(v.type) for v in found]

    def run(done: int) -> None:
        def leave() -> None:
            lw.leave(done, [], [lw.whole(lw.read(v.key)) for v in found])

        for p in items[:-1]:
            if lw.tail is None:
                def one(missed: int, p: tree.Pattern = p) -> None:
                    test(lw, p, value, t, lambda: lw.leave(missed, []), leave)

                lw.scope([], one)
        if lw.tail is None:
            test(lw, items[-1], value, t, failed, leave)

    outs = lw.scope([], run, types)
    if lw.tail is not None:
        return
    for var, out in zip(found, outs, strict=True):
        lw.declare(var, out)
    then()


# ---- the statement ---------------------------------------------------------------------------------------------------
@lowers(tree.Match)
def match_stmt(lw: Lowerer, stmt: tree.Match) -> None:
    stmt = _decided(lw, stmt)
    subject = lw.value(stmt.subject)
    if any(isinstance(c.pattern, tree.BindPattern) for c in stmt.cases):
        subject = lw.whole(subject)
    lw.b.span = stmt.span
    t = lw.concrete(stmt.subject.type)
    if lw.ctx.types.is_enum(t):
        subject = lw.whole(subject)
        if _by_case(lw, stmt, subject, t):
            return
    keys = [k for k in assigned(lw.ctx, stmt.cases) if k in lw.env]

    def run(done: int) -> None:
        for case in stmt.cases:
            if lw.tail is not None:
                break
            lw.b.span = stmt.span
            _try_case(lw, case, subject, t, keys, done)
        if lw.tail is None:
            lw.tail = lw.fault("HybError", "a value that no case matches")

    lw.scope(keys, run)


def _decided(lw: Lowerer, stmt: tree.Match) -> tree.Match:
    """With the one case that a text of the configuration leads to, where that is known."""
    known = static_or_none(lw, stmt.subject) if stmt.subject.type == STR else None
    if known is None:
        return stmt
    for case in stmt.cases:
        texts = case.pattern.items if isinstance(case.pattern, tree.OrPattern) else (case.pattern,)
        if case.guard is not None or not all(isinstance(p, (tree.ConstPattern, tree.AnyPattern)) for p in texts):
            break
        if any(isinstance(p, tree.AnyPattern) or p.value == known for p in texts):  # type: ignore[union-attr]
            return replace(stmt, cases=(replace(case, pattern=tree.AnyPattern()),))
    return stmt


def _try_case(lw: Lowerer, case: tree.MatchCase, subject: Value, t: Type, keys: list[str], done: int) -> None:
    def matched(missed: int | None) -> None:
        def run_body() -> None:
            _block(lw, case.body)
            if lw.tail is None:
                lw.leave(done, keys)

        if case.guard is None:
            run_body()
            return
        assert missed is not None
        ok = lw.expr(case.guard)
        _guard(lw, ok, lambda: lw.leave(missed, keys), run_body)

    if case.guard is None and is_open(case.pattern):
        test(lw, case.pattern, subject, t, lambda: None, lambda: matched(None))
        return
    lw.scope(keys, lambda missed: test(lw, case.pattern, subject, t, lambda: lw.leave(missed, keys),
                                       lambda: matched(missed)))


def _block(lw: Lowerer, body: Sequence[tree.Stmt]) -> None:
    for stmt in body:
        if lw.tail is not None:
            break
        lw.b.span = stmt.span
        lw.effect(stmt)  # type: ignore[arg-type]


def _by_case(lw: Lowerer, stmt: tree.Match, subject: ir.Atom, t: Type) -> bool:
    """One Core match, where each case of the enum has one row without further tests, or falls to a last open row that
    serves one case only."""
    rows: dict[str, tree.MatchCase] = {}
    rest: tree.MatchCase | None = None
    for case in stmt.cases:
        if case.guard is not None or rest is not None:
            return False
        patterns = case.pattern.items if isinstance(case.pattern, tree.OrPattern) else (case.pattern,)
        for p in patterns:
            match p:
                case tree.EnumPattern(name, fields) if name not in rows and all(map(is_open, fields)):
                    if len(patterns) > 1 and (bound(p) or len(case.body) > 1):
                        return False
                    rows[name] = case
                case tree.AnyPattern() | tree.BindPattern() if len(patterns) == 1:
                    rest = case
                case _:
                    return False
    names = [name for name, _ in lw.ctx.types.cases(t)]  # type: ignore[arg-type]
    missing = [n for n in names if n not in rows]
    if len(missing) > 1 or (missing and rest is None):
        return False
    kinds = dict(lw.ctx.types.cases(t))  # type: ignore[arg-type]

    def arm(name: str, values: Sequence[ir.Var]) -> None:
        case = rows.get(name, rest)
        assert case is not None
        patterns = case.pattern.items if isinstance(case.pattern, tree.OrPattern) else (case.pattern,)
        for p in patterns:
            if isinstance(p, tree.EnumPattern) and p.case == name:
                for field, value, (_, kind) in zip(p.fields, values, kinds[name], strict=True):
                    bind_always(lw, field, value, kind)
        if isinstance(case.pattern, tree.BindPattern):
            lw.declare(case.pattern.var, subject)
        _block(lw, case.body)

    derive.match_all(lw, subject, arm)
    return True
