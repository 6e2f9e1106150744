"""Dimension names at run time: bound from the shapes of arguments, compared where the checker could not decide.

Inside a function its own dimension names are ints, bound in its prologue by the parameter in which each first stands
alone; every other dimension of a parameter that mentions them is compared there. What is inside containers, and
constant dimensions, is compared by lower_fits.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.types import STD_TYPES, Named, Option, Tensor, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front import derive
from hybridc.front.lower_core import BoundDim, Lowerer, generated
from hybridc.front.lower_inside import dims_of
from hybridc.front.lower_types import erase

Get = Callable[[], ir.Atom]


# ---- binding ---------------------------------------------------------------------------------------------------------
def bind_dims(lw: Lowerer, own: Iterable[str], params: Sequence[tuple[str, Type, ir.Atom, Span]]) -> None:
    """Bind the names whose keys are in `own`, then compare the parameters' other dimensions that mention names."""
    wanted = set(own)
    rest: list[tuple[Dim, Get, str, Span]] = []
    for name, t, atom, span in params:
        for d, size, what in _bind(lw, t, atom, name, wanted):
            rest.append((d, size, what, span))
    for _, t, atom, _ in params:
        # Only where nothing nearer says: the value must be searched.
        if wanted and lw.ctx.types.is_enum(t):
            _bind_of_enum(lw, t, atom, wanted)  # type: ignore[arg-type]
    for d, size, what, span in rest:
        compare(lw, d, size, what, span)


def _bind(lw: Lowerer, t: Type, value: ir.Atom, what: str, wanted: set[str]) -> list[tuple[Dim, Get, str]]:
    """Bind what stands alone in a value's type; give the dimensions that remain to be compared."""
    rest: list[tuple[Dim, Get, str]] = []
    if not any(d.constant is None for d in dims_of(lw.ctx, t)):
        return rest
    match t:
        case Tensor(_, shape):
            for axis, d in enumerate(shape):
                assert isinstance(d, Dim), f"{t} is not concrete"
                v = d.variable
                if v is not None and v.key in wanted:
                    wanted.discard(v.key)
                    lw.dims[v.key] = BoundDim(lw.b.op("dim", [value], ir.INT, v.name, axis=axis), v.name)
                elif d.constant is None:
                    rest.append((d, size_of(lw, value, axis), f"dimension {axis} of {what}"))
        case TupleType(items):
            for i, item in enumerate(items):
                if any(d.constant is None for d in dims_of(lw.ctx, item)):
                    rest += _bind(lw, item, lw.whole(lw.item(value, i)), f"{what}[{i}]", wanted)
        case Option(item):
            if _mentions(lw, item, wanted):
                assert isinstance(value.type, ir.OptionT)
                inner = value.type.item
                there = lw.op("is_some", [value], ir.BOOL)
                _bind_if(lw, item, there, lambda: lw.op("unwrap", [value], inner), wanted)
        case Named(key, args) if key == STD_TYPES["list"]:
            if _mentions(lw, t, wanted):
                data, size = lw.whole(lw.item(value, 0)), lw.whole(lw.item(value, 1))
                kind = lw.ctx.types.inner(args[0])  # type: ignore[arg-type]
                there = lw.op("gt", [size, integer(0)], ir.BOOL)
                _bind_if(lw, args[0], there, lambda: lw.op("buffer_get", [data, integer(0)], kind), wanted)  # type: ignore[arg-type]
        case Named(key, args) if key == STD_TYPES["map"]:
            if _mentions(lw, args[1], wanted):  # type: ignore[arg-type]
                values = lw.call_method(t, "values", [value])[0]
                _bind(lw, Named(STD_TYPES["list"], args[1:]), values, what, wanted)
        case Named() if t.key not in STD_TYPES.values() and lw.ctx.types.is_struct(t):
            for i, (name, field) in enumerate(lw.ctx.types.fields(t)):
                if any(d.constant is None for d in dims_of(lw.ctx, field)):
                    rest += _bind(lw, field, lw.whole(lw.item(value, i)), f"{what}.{name}", wanted)
        case _:
            pass
    return rest


def _bind_of_enum(lw: Lowerer, t: Named, value: ir.Atom, wanted: set[str]) -> None:
    for position, arg in enumerate(t.args):
        v = arg.variable if isinstance(arg, Dim) else None
        if v is not None and v.key in wanted:
            wanted.discard(v.key)
            lw.dims[v.key] = BoundDim(_of_enum(lw, t, position, value), v.name, True)


SEARCH = "dimension "
"""What the names of functions that search a value for a dimension begin with."""


def without_searches(lw: Lowerer, stmts: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
    """The prologue without the searches whose result nothing has asked for."""
    unused = {d.atom for d in lw.dims.values() if not d.used}
    return tuple(s for s in stmts if not (
        isinstance(s, ir.Call) and s.fn.startswith(SEARCH) and len(s.outs) == 1 and s.outs[0] in unused))


def _of_enum(lw: Lowerer, t: Named, position: int, value: ir.Atom) -> ir.Atom:
    """The dimension that an enum's bracket parameter stands for in a value; -1 if nothing in it says."""
    ctx = lw.ctx
    erased = erase(t)
    kind = ctx.types.inner(t)
    param: Any = ctx.decls[t.key].params[position]  # type: ignore[union-attr]
    args = list(erased.args)  # type: ignore[union-attr]
    args[position] = Dim.of(param)
    own = Named(t.key, tuple(args))

    def body(inner: Lowerer, v: list[ir.Var]) -> list[ir.Atom]:
        def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
            cases = dict(ctx.types.cases(own))

            def arm(case: str, fields: Sequence[ir.Var]) -> list[ir.Atom]:
                for (_, field), atom in zip(cases[case], fields, strict=True):
                    if field == own:
                        return [atom]  # its value says the same: look there in the next turn
                    if any(d.variable == param for d in dims_of(ctx, field)):
                        inner.leave(label, [], [_find(inner, field, atom, param)])
                        return []
                inner.leave(label, [], [integer(-1)])
                return []

            return list(derive.match_all(inner, state[0], arm, [kind]))

        return list(inner.loop([], [v[0]], turn, ["at"], [ir.INT]))

    name = f"{SEARCH}{getattr(param, 'name', position)} of {ctx.types.show(erased)}"
    made = ctx.later(name, lambda symbol: generated(ctx, symbol, "", [("value", kind)], [ir.INT], body))
    return lw.b.call(made, [value], [ir.INT])[0]


def _find(lw: Lowerer, t: Type, value: ir.Atom, param: object) -> ir.Atom:
    """The dimension that a variable stands for in a value; -1 if nothing says."""
    assert isinstance(param, DimVar)
    before, wanted = lw.dims, {param.key}
    lw.dims = {}
    _bind(lw, t, value, "", wanted)
    if wanted and lw.ctx.types.is_enum(t):
        _bind_of_enum(lw, t, value, wanted)  # type: ignore[arg-type]
    found = lw.dims.get(param.key)
    lw.dims = before
    return integer(-1) if found is None else found.atom


def _bind_if(lw: Lowerer, t: Type, there: ir.Atom, get: Get, wanted: set[str]) -> None:
    """Names bound inside what may not be there are -1 without it."""
    inner: dict[str, BoundDim] = {}
    before = dict(lw.dims)

    def found() -> list[ir.Atom]:
        _bind(lw, t, get(), "", wanted)
        inner.update({k: d for k, d in lw.dims.items() if k not in before})
        return [d.atom for d in inner.values()]

    branch = lw.branch(found)
    lw.dims = before
    missing = lw.branch(lambda: [integer(-1) for _ in inner])
    outs = lw.join([branch, missing], [ir.INT] * len(inner),
                   lambda blocks, types: lw.b.if_(there, blocks[0], blocks[1], types))
    for (key, d), out in zip(inner.items(), outs, strict=True):
        lw.dims[key] = BoundDim(out, d.name, True)


def _mentions(lw: Lowerer, t: object, keys: set[str]) -> bool:
    return any(v.key in keys for d in dims_of(lw.ctx, t) for v in d.variables())


# ---- comparing -------------------------------------------------------------------------------------------------------
def size_of(lw: Lowerer, value: ir.Atom, axis: int) -> Get:
    return lambda: lw.b.op("dim", [value], ir.INT, axis=axis)


def compare(lw: Lowerer, d: Dim, size: Get, what: str, span: Span) -> None:
    """ValueError unless the size is what the dimension says; unknown dimensions say nothing."""
    d = lw.concrete_dim(d)
    bounds = [lw.find_dim(v) for v in d.variables()]
    if any(b is None for b in bounds):
        return
    got = size()
    if len(bounds) == 1 and bounds[0] is not None and bounds[0].atom == got:
        return
    maybe = [b for b in bounds if b is not None and b.maybe]
    if maybe:
        # A name that nothing has bound is not compared.
        known = lw.op("ge", [maybe[0].atom, integer(0)], ir.BOOL)
        lw.if_(known, lambda: _compare(lw, d, got, what, span), lambda: None)
        return
    _compare(lw, d, got, what, span)


def _compare(lw: Lowerer, d: Dim, got: ir.Atom, what: str, span: Span) -> None:
    saved, lw.b.span = lw.b.span, span
    want = lw.dim(d)
    if want != got:
        ok = lw.op("eq", [got, want], ir.BOOL)
        middle = ", not " if d.constant is not None else f", but {d} is "
        lw.check(ok, "ValueError", lambda: _message(lw, f"{what} is ", got, middle, want), span)
    lw.b.span = saved


def _message(lw: Lowerer, prefix: str, got: ir.Atom, middle: str, want: ir.Atom) -> ir.Atom:
    params: list[tuple[str, ir.Type]] = [("prefix", ir.STR), ("got", ir.INT), ("middle", ir.STR), ("want", ir.INT)]

    def body(inner: Lowerer, v: list[ir.Var]) -> list[ir.Atom]:
        return [derive.concat(inner, [v[0], derive.show_int(inner, v[1]), v[2], derive.show_int(inner, v[3])])]

    name = lw.ctx.later("shape message", lambda symbol: generated(lw.ctx, symbol, "", params, [ir.STR], body))
    return lw.b.call(name, [lw.text(prefix), got, lw.text(middle), want], [ir.STR])[0]
