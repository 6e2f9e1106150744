"""Functions inside of functions: lambdas, local `fn`s, and built-in or declared things used as function values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.types import (
    INT,
    POISON,
    VOID,
    FnRef,
    FnType,
    Poison,
    Tensor,
    Type,
    list_of,
)
from hybridc.front.check import place as check_place
from hybridc.front.check import stmt as check_stmt
from hybridc.front.check import tree
from hybridc.front.check.bounds import resource_in
from hybridc.front.check.infer import Meta
from hybridc.front.check.scope import Frame, Local, ParamSig
from hybridc.front.check.signatures import returns_value
from hybridc.front.check.typeexpr import TypeReader
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def make_lambda(c: Body, e: syntax.Lambda, expected: Type | None) -> tree.Expr:
    """`fn(x): e`: parameter types come from what is expected, or from use."""
    want = expected if isinstance(expected, FnType) else None
    if want is not None and len(want.params) != len(e.params):
        c.error("HYB306", f"a function of {len(want.params)} parameter" + ("" if len(want.params) == 1 else "s")
                + f" is expected here, and this takes {len(e.params)}", e.span)
        want = None
        if expected is not None:
            return c.poison(e.span)
    frame = Frame(e, None)
    params: list[tree.Var] = []
    muts: list[bool] = []
    c.frames.append(frame)
    for i, p in enumerate(e.params):
        mut = p.mut or (want is not None and want.params[i][1])
        if p.type is not None:
            t = c.reader.type(p.type)
            if want is not None:
                c.solver.attempt(want.params[i][0], t)
        elif want is not None:
            t = c.fresh_unknowns(want.params[i][0])
        else:
            t = c.fresh(p.span, f"`{p.name}`")
        params.append(c.declare(p.name, t, "param", p.span, mut).var)
        muts.append(mut)
    result = None if want is None else c.head(want.result)
    saved = c.narrowed
    if result == VOID:
        x = c.expr(e.body)
        body: tuple[tree.Stmt, ...] = (tree.ExprStmt(x, e.body.span),)
        rt: Type = VOID
    else:
        hint = result if result is not None and not isinstance(result, Meta) else None
        x = c.expr(e.body, hint)
        if c.head(x.type) == VOID:
            body, rt = (tree.ExprStmt(x, e.body.span),), VOID
        else:
            if hint is not None:
                x = c.coerce(x, hint, "the result of this function")
            check_place.not_copied(c, x, "the result would copy it")
            body, rt = (tree.Return(x, e.body.span),), x.type
    c.narrowed = saved
    c.frames.pop()
    t = FnType(tuple((v.type, m) for v, m in zip(params, muts)), rt)
    return tree.Lambda(t, e.span, tuple(params), tuple(muts), tuple(frame.captures.values()), body, None)


def default_name(p: ParamSig | syntax.Param) -> str:
    """What the default of a local fn's parameter is called in the scope of the fn: it is computed there, once."""
    return f"{p.name} at {p.span.start}"


def local_fn(c: Body, s: syntax.Fn) -> list[tree.Stmt]:
    """A `fn` in a body, a closure that may call itself, after its defaults."""
    if s.type_params:
        c.error("HYB310", "a `fn` inside of a body has no type parameters", s.type_params[0].span,
                help="declare it outside")
    if s.mutates_self or s.extern:
        c.error("HYB506", "only a method can be a `mut fn`", s.name_span)
    for d in s.decorators:
        c.error("HYB605", "a `fn` inside of a body has no decorator", d.span, help="declare it in the file")
    key = f"{c.key}.{s.name}"
    outer = c.reader
    c.reader = outer.child(key, binding=True, value=outer.value, report=c.error, model_value=outer.model_value)
    for tp in s.type_params:
        c.reader.types[tp.name] = POISON  # type: ignore[assignment]
    frame = Frame(s, None)
    defaults: list[tree.Stmt] = []
    types: list[tuple[Type, bool]] = []
    for p in s.params:
        t: Type = POISON
        if p.type is None:
            c.error("HYB310", f"the parameter `{p.name}` needs a type", p.span, help=f"write `{p.name}: int`")
        else:
            t = c.reader.type(p.type)
            resource = resource_in(c.world, t)
            if resource is not None and not p.mut:
                c.error("HYB508", f"a {c.word(resource)} is passed only as `mut`", p.span,
                        help=f"write `mut {p.name}: {t}`")
        if p.default is not None:
            defaults.append(_default(c, p, t, outer))
        types.append((t, p.mut))
    c.frames.append(frame)
    c.reader.binding = False
    if s.result is not None:
        result: Type = c.reader.type(s.result)
    elif returns_value(s.body):
        result = c.fresh(s.name_span, f"the result of `{s.name}`")
    else:
        result = VOID
    t = FnType(tuple(types), result)
    var = c.new_var(s.name, t, False)
    c.local_fns[var.key] = [
        ParamSig(p.name, t, mut, p.default is not None, p.span) for p, (t, mut) in zip(s.params, types)]
    frame.self_local = Local(var, "let", s.name_span)
    frame.result = result
    params = [c.declare(p.name, pt, "param", p.span, mut).var for p, (pt, mut) in zip(s.params, types)]
    prologue = bind_dims(c, c.reader.new_dims, params, s.name_span)
    saved = c.narrowed
    body, falls = check_stmt.block(c, s.body)
    c.narrowed = saved
    if falls and result != VOID and not isinstance(c.head(result), Poison):
        missing_return(c, s.header, s.name, result)
    c.frames.pop()
    c.reader = outer
    value = tree.Lambda(t, s.span, tuple(params), tuple(m for _, m in types), tuple(frame.captures.values()),
                        (*prologue, *body), var if frame.self_used else None)
    c.declare(s.name, t, "let", s.name_span, var=var)
    return [*defaults, tree.LocalFn(var, value, s.span)]


def _default(c: Body, p: syntax.Param, t: Type, outer: TypeReader) -> tree.Stmt:
    assert p.default is not None
    if p.mut:
        c.error("HYB506", "a `mut` parameter has no default", p.default.span)
    inner, c.reader = c.reader, outer
    value = c.typed(p.default, t, f"the default of `{p.name}`")
    c.reader = inner
    local = c.declare(default_name(p), t, "let", p.span, var=c.new_var(p.name, t, False))
    return tree.Let(tree.BindPattern(local.var), value, p.span)


def bind_dims(c: Body, dims: list[DimVar], params: list[tree.Var], span: Span) -> list[tree.Stmt]:
    """Dimension names of a local fn are ints taken from the shapes of its arguments."""
    out: list[tree.Stmt] = []
    for d in dims:
        for v in params:
            t = c.head(v.type)
            if not isinstance(t, Tensor):
                continue
            at = next((i for i, x in enumerate(t.shape) if isinstance(x, Dim) and x.variable == d), None)
            if at is None:
                continue
            shape = tree.Builtin(list_of(INT), span, "shape", (tree.Local(t, span, v),))
            value = tree.Call(INT, span, FnRef("std.list:list._get", (INT,)),
                              (tree.Arg(shape), tree.Arg(tree.Const(INT, span, at))), (0, 1))
            var = tree.Var(d.key, d.name, INT)
            c.frame.scopes[0].setdefault(d.name, Local(var, "let", span, Dim.of(d)))
            out.append(tree.Let(tree.BindPattern(var), value, span))
            break
        else:
            c.error("HYB402", f"no parameter binds `{d.name}`", c.reader.dim_spans.get(d, span))
    return out


def missing_return(c: Body, header: Span, name: str, result: Type) -> None:
    c.error("HYB501", f"the end of `{name}` can be reached without a `return`, and its result is {c.show(result)}",
            header, help="return a value on every path, or `raise`")


def builtin_value(c: Body, e: syntax.Expr, expected: Type | None) -> tree.Expr:
    """A built-in function, struct or case as a value of fn type: as if `fn(x): f(x)` had been written."""
    if not isinstance(expected, FnType):
        text = c.checker.text(e.span)
        c.error("HYB209", f"`{text}` is not a value by itself", e.span, help=f"write `fn(x): {text}(x)`")
        return c.poison(e.span)
    names = [f"_{i}" for i in range(len(expected.params))]
    body = syntax.Call(e.span, e, tuple(syntax.Argument(e.span, None, False, syntax.Name(e.span, n)) for n in names))
    params = tuple(syntax.Param(e.span, n, None, None, False) for n in names)
    return make_lambda(c, syntax.Lambda(e.span, params, body), expected)
