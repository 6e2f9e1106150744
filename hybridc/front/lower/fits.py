"""Values that must have the dimensions of their types, everywhere inside.

Core knows no dimension inside structs, enums and buffers, and trusts the checker, whose types hold within a program.
What comes from outside (arguments from Python, results of externs, what a store held) and what the checker could not
decide is compared here: through tuples, options and containers on the spot, through a type that contains itself by a
function of its own, with a worklist, so that a deep value needs no deep stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import MARK, Span
from hybridc.base.types import STD_TYPES, Named, Option, Tensor, TupleType, Type, Void
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.check.infer import map_dims
from hybridc.front.lower import derive
from hybridc.front.lower.core import BoundDim, Context, Instance, Lowerer, generated
from hybridc.front.lower.derive_deep import Stack
from hybridc.front.lower.dims import bind_dims, compare, held_lists, size_of
from hybridc.front.lower.inside import dims_of, inside, is_declared, unchecked
from hybridc.front.lower.instance import enter_instance
from hybridc.front.lower.types import erase


def needs_check(lw: Lowerer, t: Type) -> bool:
    """Some dimension in the type is a number, a name, or made of names."""
    return any(all(lw.find_dim(v) is not None for v in lw.concrete_dim(d).variables()) for d in dims_of(lw.ctx, t))


def deep_check(lw: Lowerer, t: Type, value: ir.Atom, what: str, span: Span) -> None:
    """ValueError unless every dimension in a value is what its type says."""
    _visit(lw, lw.concrete(t), value, what, span, {})


def _visit(lw: Lowerer, t: Type, value: ir.Atom, what: str, span: Span, heads: dict[Type, Stack]) -> None:
    """What is inside `t`; a value of one of `heads` waits on its stack."""
    if not needs_check(lw, t):
        return
    match t:
        case Tensor():
            for axis, d in enumerate(t.shape):
                assert isinstance(d, Dim)
                compare(lw, d, size_of(lw, value, axis), f"dimension {axis} of {what}", span)
        case TupleType(items):
            for i, item in enumerate(items):
                if needs_check(lw, item):
                    _visit(lw, item, lw.whole(lw.item(value, i)), f"{what}[{i}]", span, heads)
        case Option(item):
            assert isinstance(value.type, ir.OptionT)
            inner = value.type.item
            there = lw.op("is_some", [value], ir.BOOL)
            lw.if_(there, lambda: _visit(lw, item, lw.op("unwrap", [value], inner), what, span, heads), lambda: None)
        case Named(key, args) if key == STD_TYPES["list"]:
            _elements(lw, args[0], value, what, span, heads)  # type: ignore[arg-type]
        case Named() if held := held_lists(lw, t, value):
            for name, kind, get in held:
                _visit(lw, kind, get(), what + name, span, heads)
        case Named() if t in heads:
            heads[t].push(value)
        case Named() if is_declared(lw.ctx, t) and erase(t) in map(erase, inside(lw.ctx, t)):
            _call(lw, t, value, what, span)
        case Named() if is_declared(lw.ctx, t):
            _members(lw, t, value, what, span, heads)


def _elements(lw: Lowerer, t: Type, xs: ir.Atom, what: str, span: Span, heads: dict[Type, Stack]) -> None:
    data, size = lw.whole(lw.item(xs, 0)), lw.whole(lw.item(xs, 1))
    kind = lw.ctx.types.inner(t)
    keys = [k for stack in heads.values() for k in stack.keys]

    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        more = lw.op("lt", [state[0], size], ir.BOOL)
        lw.if_(more, lambda: None, lambda: lw.leave(label, keys))
        element = lw.op("buffer_get", [data, state[0]], kind)
        _visit(lw, t, element, f"an element of {what}", span, heads)
        return [lw.op("add", [state[0], integer(1)], ir.INT)]

    lw.loop(keys, [integer(0)], turn, ["i"])


def _fields(lw: Lowerer, t: Named, value: ir.Atom, what: str, span: Span, heads: dict[Type, Stack]) -> None:
    for i, (name, field) in enumerate(lw.ctx.types.fields(t)):
        if needs_check(lw, field):
            _visit(lw, field, lw.whole(lw.item(value, i)), f"{what}.{name}", span, heads)


def _members(lw: Lowerer, t: Named, value: ir.Atom, what: str, span: Span, heads: dict[Type, Stack]) -> None:
    """The fields of a struct, or of the case that an enum's value is."""
    if lw.ctx.types.is_struct(t):
        _fields(lw, t, value, what, span, heads)
        return
    cases = dict(lw.ctx.types.cases(t))

    def arm(case: str, fields: Sequence[ir.Var]) -> list[ir.Atom]:
        for (name, field), v in zip(cases[case], fields, strict=True):
            if needs_check(lw, field):
                _visit(lw, field, v, f"`{name}` of a {case} in {what}", span, heads)
        return []

    derive.match_all(lw, value, arm)


def _call(lw: Lowerer, t: Named, value: ir.Atom, what: str, span: Span) -> None:
    """A type that contains itself: by a function that is given the dimensions its arguments name."""
    known: dict[Dim, tuple[DimVar, ir.Atom, bool]] = {}

    def given(d: Dim) -> Dim:
        d = lw.concrete_dim(d)
        bounds = [lw.find_dim(v) for v in d.variables()]
        maybe = any(b is not None and b.maybe for b in bounds)
        if d.constant is not None or any(b is None for b in bounds) or maybe and d.variable is None:
            return d
        if d not in known:
            known[d] = (DimVar(f"given {len(known)}", str(d)), lw.dim(d), maybe)
        return Dim.of(known[d][0])

    own = map_dims(t, given)
    assert isinstance(own, Named)
    ctx, kind = lw.ctx, lw.ctx.types.inner(t)
    params = [("value", kind), *[(v.name, ir.INT) for v, _, _ in known.values()]]

    def body(inner: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        for (var, _, maybe), atom in zip(known.values(), v[1:], strict=True):
            inner.dims[var.key] = BoundDim(atom, var.name, maybe)
        inner.b.span = span
        _worklist(inner, own, v[0], what, span)
        return []

    place = span.path.replace(MARK, " ")
    name = f"dimensions of {own} in {what} at {place}:{span.start}"
    made = ctx.later(name, lambda symbol: generated(ctx, symbol, "", params, [], body))
    lw.b.call(made, [value, *[atom for _, atom, _ in known.values()]], [])


def _worklist(lw: Lowerer, t: Named, value: ir.Atom, what: str, span: Span) -> None:
    heads: dict[Type, Stack] = {}
    seen: set[Type] = set()
    for one in [t, *inside(lw.ctx, t)]:
        # What comes back with other dimensions is left to a function of its own.
        if is_declared(lw.ctx, one) and erase(one) not in seen and needs_check(lw, one) and t in inside(lw.ctx, one):
            seen.add(erase(one))
            heads[one] = Stack(lw, f"stack {len(heads)}", lw.ctx.types.inner(one))
    heads[t].push(value)
    keys = [k for stack in heads.values() for k in stack.keys]

    def turn(label: int, _: list[ir.Var]) -> list[ir.Atom]:
        def next_of(rest: list[tuple[Type, Stack]]) -> None:
            if not rest:
                lw.leave(label, keys)
                return
            head, stack = rest[0]
            assert isinstance(head, Named)
            lw.if_(stack.waiting(), lambda: _members(lw, head, stack.pop(), what, span, heads),
                   lambda: next_of(rest[1:]))

        next_of(list(heads.items()))
        return []

    lw.loop(keys, [], turn)


def refine(lw: Lowerer, value: ir.Atom, new: Type, span: Span, what: str = "the value") -> ir.Atom:
    """A value under a type that says more about its dimensions."""
    deep_check(lw, new, value, what, span)
    if isinstance(new, Tensor) and isinstance(value.type, ir.TensorT):
        kind = lw.type(new)
        assert isinstance(kind, ir.TensorT)
        if kind != value.type and any(d is not None for d in kind.dims):
            sizes = [lw.b.op("dim", [value], ir.INT, axis=i) if d is None else integer(d)
                     for i, d in enumerate(kind.dims)]
            return lw.op("reshape", [value, *sizes], kind)
    return value


def check_of(ctx: Context, t: Type, name: str, span: Span) -> str:
    """A function that compares a value with a type whose dimensions are numbers; "" if the type says nothing."""
    if not unchecked(ctx, t):
        return ""

    def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = span
        deep_check(lw, t, v[0], name, span)
        return []

    params = [("value", ctx.types.inner(t))]
    return ctx.later(f"{t} of {name}", lambda symbol: generated(ctx, symbol, "", params, [], body))


def checked(ctx: Context, decl: tree.FnDecl, instance: Instance, symbol: str) -> str:
    """The function behind one that first compares the arguments with the types of its parameters."""
    spec = Lowerer(ctx)
    enter_instance(spec, instance, decl)
    kinds = [(p.var.name, ctx.types.inner(spec.concrete(p.var.type))) for p in decl.params]
    results = [] if isinstance(decl.result, Void) else [spec.type(decl.result)]
    results += [spec.type(p.var.type) for p in decl.params if p.mut]
    title = ctx.title(decl)

    def check(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        enter_instance(lw, instance, decl)
        lw.b.span = decl.span
        own = [d.key for d in decl.dims if d.key not in lw.consts]
        own += [x.key for pack in decl.packs for d in lw.packs[pack.key] for x in d.variables()]
        typed = [(p.var.name, lw.concrete(p.var.type), a, decl.span) for p, a in zip(decl.params, v, strict=True)]
        bind_dims(lw, own, typed)
        for name, t, a, span in typed:
            deep_check(lw, t, a, name, span)
        return []

    def make_check(name: str) -> ir.Fn:
        made = generated(ctx, name, title, kinds, [], check)
        return replace(made, hidden=decl.key.startswith("std."), span=decl.span)

    checker = ctx.later(f"{symbol} check", make_check)

    def through(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = decl.span
        lw.b.call(checker, v, [])
        return list(lw.b.call(symbol, v, results))

    return ctx.later(f"{symbol} entry", lambda name: generated(ctx, name, "", kinds, results, through))
