"""Statements. Each check says whether the end of the statement can be reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.base.dims import PackVar
from hybridc.base.source import Span
from hybridc.base.types import (
    INT,
    POISON,
    STR,
    VOID,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    substitute,
)
from hybridc.front.check import (
    fn as check_fn,
)
from hybridc.front.check import (
    grad as check_grad,
)
from hybridc.front.check import (
    match as check_match,
)
from hybridc.front.check import (
    ops as check_ops,
)
from hybridc.front.check import (
    place as check_place,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.bounds import is_resource
from hybridc.front.check.fit import literal_root
from hybridc.front.check.infer import Meta
from hybridc.front.check.narrowing import changed_names, facts
from hybridc.front.check.soft import of_literals
from hybridc.front.check.tensor import update_value
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def block(c: Body, stmts: Sequence[syntax.Stmt]) -> tuple[tuple[tree.Stmt, ...], bool]:
    """The statements of a body in a scope of their own, and whether its end can be reached."""
    c.push()
    done: list[tree.Stmt] = []
    reached = True
    for s in stmts:
        out, falls = statement(c, s)
        if reached:
            done += out
        reached = reached and falls
    c.pop()
    return tuple(done), reached


def statement(c: Body, s: syntax.Stmt) -> tuple[list[tree.Stmt], bool]:
    match s:
        case syntax.Let():
            return [let(c, s)], True
        case syntax.Assign():
            return assign(c, s), True
        case syntax.ExprStmt():
            return expression(c, s)
        case syntax.If():
            return if_(c, s)
        case syntax.While():
            return while_(c, s)
        case syntax.For():
            return for_(c, s)
        case syntax.Break():
            return [tree.Break(s.span)], False
        case syntax.Continue():
            return [tree.Continue(s.span)], False
        case syntax.Pass():
            return [], True
        case syntax.Return():
            return [return_(c, s)], False
        case syntax.Assert():
            cond = c.condition(s.cond)
            message = None if s.message is None else c.typed(s.message, STR, "the message of `assert`")
            c.narrowed = c.narrowed | facts(cond)[0]
            return [tree.Assert(cond, message, s.span)], True
        case syntax.Raise():
            return [tree.Raise(c.typed(s.message, STR, "what is raised"), s.span)], False
        case syntax.Match():
            return match_(c, s)
        case syntax.Fn():
            return check_fn.local_fn(c, s), True
    return [], True


# ---- let and var -----------------------------------------------------------------------------------------------------
def let(c: Body, s: syntax.Let) -> tree.Stmt:
    word = "var" if s.mutable else "let"
    if s.type is not None:
        before = len(c.checker.diagnostics)
        declared = c.reader.type(s.type)
        after = len(c.checker.diagnostics)
        value = c.value(s.value, declared)
        if after > before:
            c.checker.forgive(after, ("HYB404", "HYB308"))
        value = c.coerce(value, declared, f"the value of `{_name(s.pattern)}`")
        t = declared
    else:
        value = c.value(s.value)
        t = value.type
    fresh = check_place.not_copied(c, value, f"`{word} {_name(s.pattern)} = ...` would copy it")
    held = is_resource(c.world, c.resolve(t)) and not isinstance(c.head(t), ModelType)
    unheld = fresh and held and not s.mutable and not c.std
    if unheld:
        c.error("HYB508", f"a {c.word(t)} is held in a `var`", s.span, help=f"write `var {_name(s.pattern)} = ...`")
    if isinstance(s.pattern, syntax.Bind):
        dim = c.known_dim(value) if not s.mutable and c.head(t) == INT else None
        if dim is not None and any(v.name == "?" for v in dim.variables()):
            dim = None
        local = c.declare(s.pattern.name, t, word, s.pattern.span, s.mutable or unheld, dim)
        if s.mutable and isinstance(c.head(t), Option) and isinstance(value, tree.Some):
            c.narrowed = c.narrowed | {local.var.key}
        if s.type is None and (root := local.var if of_literals(value) else literal_root(c, value)):
            c.of_literals[local.var.key] = root
        params = None if s.mutable else check_grad.parameters(c, value)
        if params is not None:
            c.local_fns[local.var.key] = params
        return tree.Let(tree.BindPattern(local.var), value, s.span)
    return tree.Let(check_match.binding(c, s.pattern, t, s.mutable, word), value, s.span)


def _name(p: syntax.Pattern) -> str:
    return p.name if isinstance(p, syntax.Bind) else "_" if isinstance(p, syntax.Wildcard) else "(...)"


# ---- assignment ------------------------------------------------------------------------------------------------------
def assign(c: Body, s: syntax.Assign) -> list[tree.Stmt]:
    if len(s.targets) > 1:
        return assign_many(c, s)
    target = s.targets[0]
    if s.op is None and _dropped(target):
        return [tree.ExprStmt(c.value(s.value), s.span)]
    if isinstance(target, syntax.Index) and len(target.items) == 1 and isinstance(target.items[0], syntax.Slice):
        base = check_place.place(c, target.value, "assign")
        base = base and check_place.held(c, base)
        sliced = None if base is None else check_place.set_slice(c, base, target, s)
        if sliced is not None:
            return sliced
        place = None if base is None else check_place.index_place(c, base, target)
    else:
        place = check_place.place(c, target, "assign")
    if place is None:
        c.expr(s.value, POISON)
        return []
    t = c.head(place.type)
    if s.op is not None and isinstance(t, Option) and check_place.place_path(place) in c.narrowed:
        # What is known to be there is changed by assigning the whole.
        changed = syntax.Binary(s.span, s.op, target, s.value, target.span.to(s.value.span))
        s = syntax.Assign(s.span, s.targets, None, changed)
    if s.op is None:
        if isinstance(place, tree.PlaceTensor):
            value = c.value(s.value, t)
            value = update_value(c, place.type, None, value, s.span)
        else:
            value = c.value(s.value, t)
            check_place.not_copied(c, value, "an assignment would copy it")
            value = c.coerce(value, t, f"the new value of `{c.checker.text(target.span)}`", check_place.root_of(place))
        after_assign(c, place, t, value)
        return [tree.Assign((place,), None, (value,), s.span)]
    value = augmented(c, s, place, t)
    check_place.changed(c, place)
    return [tree.Assign((place,), s.op, (value,), s.span)]


def _dropped(target: syntax.Expr) -> bool:
    """`x, _ = f()`: what nobody wants, as in a `let`."""
    return isinstance(target, syntax.Name) and target.id == "_"


def after_assign(c: Body, place: tree.Place, t: Type, value: tree.Expr) -> None:
    check_place.changed(c, place)
    path = check_place.place_path(place)
    if path is not None and isinstance(t, Option) and isinstance(value, tree.Some):
        c.narrowed = c.narrowed | {path}


def augmented(c: Body, s: syntax.Assign, place: tree.Place, t: Type) -> tree.Expr:
    """The right side of `place op= value`, of the type that the operator asks for."""
    assert s.op is not None
    hint: Type | None = t.elem if isinstance(t, Tensor) else t
    value = c.value(s.value, hint)
    if isinstance(t, Tensor) or isinstance(c.head(value.type), Tensor):
        return update_value(c, place.type, s.op, value, s.span)
    # the operator on the place's value: a stand-in that only its type matters of
    root = check_place.root_of(place)
    whole = tree.Local(root.type, place.span, root)
    probe = whole if isinstance(place, tree.PlaceVar) else tree.Builtin(t, place.span, "part", (whole,))
    result = check_ops.combine(c, s.op, probe, value, s.span)
    if isinstance(c.head(result.type), Poison):
        return c.poison(s.span)
    if not c.solver.attempt(t, result.type):
        c.error("HYB301", f"`{s.op}=` would make {c.show(result.type)} of {c.show(t)}", s.span,
                help=f"cast the right side: `{c.show(t)}(...)`")
        return c.poison(s.span)
    assert isinstance(result, tree.Binary)
    return result.right if result.left is probe or result.left == probe else value


def assign_many(c: Body, s: syntax.Assign) -> list[tree.Stmt]:
    if isinstance(s.value, syntax.Tuple):
        if len(s.value.items) != len(s.targets):
            c.error("HYB306", f"{len(s.targets)} targets for {len(s.value.items)} values", s.span)
            return []
        places = [None if _dropped(t) else check_place.place(c, t, "assign") for t in s.targets]
        values: list[tree.Expr] = []
        for i, (p, v) in enumerate(zip(places, s.value.items)):
            if _dropped(s.targets[i]):
                values.append(c.value(v))
                places[i] = tree.PlaceVar(values[i].type, v.span, tree.NOWHERE)
                continue
            if p is None:
                values.append(c.expr(v, POISON))
                continue
            value = c.value(v, p.type)
            check_place.not_copied(c, value, "an assignment would copy it")
            values.append(update_value(c, p.type, None, value, v.span) if isinstance(p, tree.PlaceTensor)
                          else c.coerce(value, p.type, "the new value"))
        if any(p is None for p in places):
            return []
        for p in places:
            assert p is not None
            check_place.changed(c, p)
        return [tree.Assign(tuple(p for p in places if p is not None), None, tuple(values), s.span)]
    value = c.value(s.value)
    t = c.head(value.type)
    items = t.items if isinstance(t, TupleType) and len(t.items) == len(s.targets) else [t for _ in s.targets]
    places = [tree.PlaceVar(item, target.span, tree.NOWHERE) if _dropped(target)
              else check_place.place(c, target, "assign") for target, item in zip(s.targets, items)]
    if isinstance(t, Poison) or any(p is None for p in places):
        return []
    if not isinstance(t, TupleType) or len(t.items) != len(places):
        c.error("HYB301", f"{len(places)} targets for {c.show(t)}", s.value.span)
        return []
    known = [p for p in places if p is not None]
    value = c.coerce(value, TupleType(tuple(p.type for p in known)), "the new values")
    for p in known:
        check_place.changed(c, p)
    return [tree.Assign(tuple(known), None, (value,), s.span)]


def expression(c: Body, s: syntax.ExprStmt) -> tuple[list[tree.Stmt], bool]:
    x = c.expr(s.value)
    if isinstance(s.value, syntax.Compare):
        assign = "assign with `=`; or " if s.value.ops == ("==",) else ""
        c.checker.warn(c.module.name, "HYB512", "the result of this comparison is dropped", s.span,
                       f"{assign}write `assert` before what is to hold")
    # the library's own `raise`s of other exceptions
    falls = not (isinstance(x, tree.Call) and x.fn.key.startswith("std.core:_raise"))
    return [tree.ExprStmt(x, s.span)], falls


# ---- control ---------------------------------------------------------------------------------------------------------
def if_(c: Body, s: syntax.If) -> tuple[list[tree.Stmt], bool]:
    cond = c.condition(s.cond)
    yes, no = facts(cond)
    before = c.narrowed
    c.narrowed = before | yes
    then, a = block(c, s.then)
    after_then = c.narrowed
    c.narrowed = before | no
    orelse, b = block(c, s.orelse)
    after_else = c.narrowed
    c.narrowed = after_then & after_else if a and b else after_then if a else after_else if b else before
    return [tree.If(cond, then, orelse, s.span)], a or b


def forget_changed(c: Body, *nodes: object) -> None:
    """Before a loop: what its body may change is not known to have a value."""
    for name in changed_names(nodes):
        local = c.find(name)[0]
        if local is not None and local.var.mutable:
            c.lost |= {p: name for p in c.narrowed if p == local.var.key or p.startswith(local.var.key + ".")}
            c.forget(local.var.key)


def while_(c: Body, s: syntax.While) -> tuple[list[tree.Stmt], bool]:
    forget_changed(c, s.cond, s.body)
    cond = c.condition(s.cond)
    yes, no = facts(cond)
    before = c.narrowed
    c.narrowed = before | yes
    body, _ = block(c, s.body)
    breaks = has_break(s.body)
    c.narrowed = before & c.narrowed if breaks else (before & c.narrowed) | no
    forget_changed(c, s.body)
    if not breaks:
        c.narrowed = c.narrowed | no
    forever = isinstance(cond, tree.Const) and cond.value is True and not isinstance(cond.type, Poison)
    return [tree.While(cond, body, s.span)], not forever or breaks


def has_break(stmts: Sequence[syntax.Stmt]) -> bool:
    """Whether a `break` of this loop stands in its body."""
    for s in stmts:
        match s:
            case syntax.Break():
                return True
            case syntax.If(then=a, orelse=b):
                if has_break(a) or has_break(b):
                    return True
            case syntax.Match(cases=cases):
                if any(has_break(k.body) for k in cases):
                    return True
    return False


def for_(c: Body, s: syntax.For) -> tuple[list[tree.Stmt], bool]:
    over, item = iterable(c, s.iterable)
    forget_changed(c, s.body)
    before = c.narrowed
    c.push()
    pattern = loop_binding(c, s.pattern, over, item)
    body, _ = block(c, s.body)
    c.pop()
    c.narrowed = before & c.narrowed
    return [tree.For(pattern, over, body, s.span)], True


def loop_binding(c: Body, p: syntax.Pattern, over: tree.Expr, item: Type) -> tree.Pattern:
    """What a loop binds in each turn."""
    t = c.head(over.type)
    if isinstance(p, syntax.TuplePattern) and isinstance(t, Named) and t.name == "map":
        if not isinstance(c.head(item), TupleType | Poison):
            c.error("HYB504", f"a loop over a map gives its keys, and {c.show(item)} cannot be taken apart", p.span,
                    help="write `.items()` for keys and values")
            item = POISON
    return check_match.binding(c, p, item, False, "loop")


def iterable(c: Body, e: syntax.Expr) -> tuple[tree.Expr, Type]:
    """What a loop walks over, and the type of each item."""
    x = c.value(e)
    t = c.head(x.type)
    return x, item_of(c, t, x.span)


def item_of(c: Body, t: Type, span: Span) -> Type:
    match t:
        case Poison():
            return POISON
        case Tensor(elem, shape) if not isinstance(shape[0], PackVar):
            return elem if len(shape) == 1 else Tensor(elem, shape[1:])
        case Named(key):
            sig = c.world.method(key, "_at")
            if sig is not None and sig.result is not None:
                owner = c.world.type(key)
                return substitute(sig.result, dict(zip(owner.params, t.args)))  # type: ignore[union-attr, arg-type]
            sig = c.world.method(key, "_to_list")
            if sig is not None and isinstance(sig.result, Named):
                owner = c.world.type(key)
                return substitute(sig.result.args[0], dict(zip(owner.params, t.args)))  # type: ignore
        case Meta():
            c.error("HYB308", "the type of what is looped over is not known here", span,
                    help="write its type where it is declared")
            return POISON
    help = None
    if isinstance(t, Tensor):
        help = "its first axis is not known: reshape it, `reshape(x, [-1, n])`"
    elif t == INT:
        help = "write `range(n)`"
    elif isinstance(t, Option):
        help = "it may be none: test it first, `if x != none:`"
    elif isinstance(t, TupleType):
        help = "take it apart: `let a, b = t`"
    elif isinstance(t, Named) and t.name == "graph":
        help = "its nodes are numbers: `for u in range(len(g))`, from which `g.edges(u)` lead"
    c.error("HYB312", f"{c.show(t)} cannot be looped over", span, help=help)
    return POISON


def return_(c: Body, s: syntax.Return) -> tree.Stmt:
    frame = c.frame
    frame.returns += 1
    if s.value is None:
        if frame.result is not None and c.head(frame.result) not in (VOID,) and not isinstance(
                c.head(frame.result), Poison):
            c.error("HYB301", f"the result is {c.show(frame.result)}, and this `return` gives none", s.span)
        return tree.Return(None, s.span)
    if frame.result is None:
        # the result type is being inferred: the first return decides, the others agree
        value = c.value(s.value)
        check_place.not_copied(c, value, "`return` would copy it")
        frame.result = value.type
        return tree.Return(value, s.span)
    want = c.head(frame.result)
    if want == VOID:
        c.expr(s.value)
        c.error("HYB301", "this function has no result type, so `return` has no value", s.span,
                help="write the result type in its header: `-> int`")
        return tree.Return(None, s.span)
    value = c.value(s.value, want)
    check_place.not_copied(c, value, "`return` would copy it")
    return tree.Return(c.coerce(value, want, f"the result of `{c.result_name()}`"), s.span)


def match_(c: Body, s: syntax.Match) -> tuple[list[tree.Stmt], bool]:
    subject = c.value(s.subject)
    t = c.head(subject.type)
    ok = not isinstance(t, Poison)
    if ok and not check_match.can_match(c, t) or isinstance(t, FnType):
        simple = all(isinstance(k.pattern, syntax.Bind | syntax.Wildcard) for k in s.cases)
        if not simple:
            c.error("HYB504", f"{c.show(t)} cannot be matched", s.subject.span)
            t, ok = POISON, False
    cases: list[tree.MatchCase] = []
    reached = False
    before = c.narrowed
    after: set[str] | None = None
    errors = len(c.checker.diagnostics)
    none_taken = False
    for k in s.cases:
        c.narrowed = before
        c.push()
        if none_taken and isinstance(t, Option) and isinstance(k.pattern, syntax.Bind):
            # after `case none:` a name stands for the value that is there
            pattern: tree.Pattern = tree.SomePattern(check_match.pattern(c, k.pattern, t.item, check_match.Names()))
        else:
            pattern = check_match.pattern(c, k.pattern, t, check_match.Names())
        none_taken = none_taken or (k.guard is None and isinstance(pattern, tree.NonePattern))
        pattern_errors = len(c.checker.diagnostics)
        if pattern_errors > errors:
            ok = False
        elif cases:
            rows = [x.pattern for x in cases if x.guard is None]
            c.narrowed = c.narrowed | check_match.never_none(c, pattern, rows, t)
        guard = None
        if k.guard is not None:
            guard = c.condition(k.guard)
            c.narrowed = c.narrowed | facts(guard)[0]
        body, falls = block(c, k.body)
        c.pop()
        errors = len(c.checker.diagnostics)
        cases.append(tree.MatchCase(pattern, guard, body))
        if falls:
            after = set(c.narrowed) if after is None else after & c.narrowed
        reached = reached or falls
    c.narrowed = before if after is None else after
    if ok:
        check_match.exhaustive(c, s, subject, cases)
    return [tree.Match(subject, tuple(cases), s.span)], reached


