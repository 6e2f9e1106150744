"""Dimension names at run time: bound from the shapes of arguments, compared where the checker could not decide.

Inside a function its own dimension names are ints, bound in its prologue by the parameter in which each first stands
alone; every other dimension of a parameter that mentions them is compared there. What is inside containers, and
constant dimensions, is compared by fits.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.types import INT, STD_TYPES, Named, Option, Tensor, TupleType, Type, list_of
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.lower import derive
from hybridc.front.lower.core import BoundDim, Lowerer, generated
from hybridc.front.lower.inside import dims_of
from hybridc.front.lower.types import erase

Get = Callable[[], ir.Atom]
AS_LIST = {STD_TYPES["map"]: "values", STD_TYPES["deque"]: "_to_list", STD_TYPES["heap"]: "_to_list"}
"""The method that gives what a container holds."""


# ---- binding ---------------------------------------------------------------------------------------------------------
def bind_dims(lw: Lowerer, own: Iterable[str], params: Sequence[tuple[str, Type, ir.Atom, Span]]) -> None:
    """Bind the names whose keys are in `own`, then compare the parameters' other dimensions that mention names."""
    for d, size, what, span in _bind_all(lw, set(own), params):
        compare(lw, d, size, what, span)


def _bind_all(
    lw: Lowerer, wanted: set[str], params: Sequence[tuple[str, Type, ir.Atom, Span]]
) -> list[tuple[Dim, Get, str, Span]]:
    """Bind names; give the dimensions that remain to be compared. What may not be there is asked only for names that
    nothing else binds, one after the other."""
    rest = [(d, size, what, span) for name, t, atom, span in params
            for d, size, what in _bind(lw, t, atom, name, wanted)]
    for _, t, atom, _ in params:
        _bind_inside(lw, t, atom, wanted)
    wanted -= lw.dims.keys()
    for _, t, atom, _ in params:
        # Only where nothing nearer says: the value must be searched.
        if wanted and lw.ctx.types.is_enum(t):
            _bind_of_enum(lw, t, atom, wanted)  # type: ignore[arg-type]
    return rest


def _bind(lw: Lowerer, t: Type, value: ir.Atom, what: str, wanted: set[str]) -> list[tuple[Dim, Get, str]]:
    """Bind what stands alone in a value's type and is there; give the dimensions that remain to be compared."""
    rest: list[tuple[Dim, Get, str]] = []
    if isinstance(t, Tensor):
        for axis, d in enumerate(t.shape):
            assert isinstance(d, Dim), f"{t} is not concrete"
            v = d.variable
            if v is not None and v.key in wanted:
                wanted.discard(v.key)
                lw.dims[v.key] = BoundDim(lw.b.op("dim", [value], ir.INT, v.name, axis=axis), v.name)
            elif d.constant is None:
                rest.append((d, size_of(lw, value, axis), f"dimension {axis} of {what}"))
    for i, (name, part) in enumerate(_parts(lw, t)):
        if any(d.constant is None for d in dims_of(lw.ctx, part)):
            rest += _bind(lw, part, lw.whole(lw.item(value, i)), what + name, wanted)
    return rest


def _parts(lw: Lowerer, t: Type) -> list[tuple[str, Type]]:
    """What is in a tuple or struct, each with how it is named there."""
    if isinstance(t, TupleType):
        return [(f"[{i}]", item) for i, item in enumerate(t.items)]
    if isinstance(t, Named) and t.key not in STD_TYPES.values() and lw.ctx.types.is_struct(t):
        return [(f".{name}", field) for name, field in lw.ctx.types.fields(t)]
    return []


def _bind_inside(lw: Lowerer, t: Type, value: ir.Atom, wanted: set[str]) -> None:
    """Bind what stands alone in the lists, maps and options of a value, as far as nothing before has."""
    if not _mentions(lw, t, wanted):
        return
    match t:
        case Option(item):
            assert isinstance(value.type, ir.OptionT)
            kind = value.type.item
            _bind_if(lw, item, lw.op("is_some", [value], ir.BOOL), lambda: lw.op("unwrap", [value], kind), wanted)
        case Named(key, (item,)) if key == STD_TYPES["list"] and not isinstance(item, Dim):
            first = {v.key: v for d in dims_of(lw.ctx, item) for v in d.variables() if v.key in wanted}
            for v in first.values():
                if not _surely(lw, item, v):
                    _keep(lw, v.key, BoundDim(_of_list(lw, t, v, value), v.name, True))
            data, size = lw.whole(lw.item(value, 0)), lw.whole(lw.item(value, 1))
            kind = lw.ctx.types.inner(item)
            there = lw.op("gt", [size, integer(0)], ir.BOOL)
            sure = {key for key, v in first.items() if _surely(lw, item, v)}
            _bind_if(lw, item, there, lambda: lw.op("buffer_get", [data, integer(0)], kind), sure)
        case Named() if held := held_lists(lw, t, value):
            for _, of, get in held:
                if _mentions(lw, of, wanted):
                    _bind_inside(lw, of, get(), wanted)
        case _:
            for i, (_, part) in enumerate(_parts(lw, t)):
                if _mentions(lw, part, wanted):
                    _bind_inside(lw, part, lw.whole(lw.item(value, i)), wanted)


def held_lists(lw: Lowerer, t: Named, value: ir.Atom) -> list[tuple[str, Type, Get]]:
    """What a container that is no list holds, as lists: how each is named, its type and its value. Keys have no
    dimensions."""
    key, args = t.key, t.args
    if key in AS_LIST:
        kept: Type = args[-1] if key != STD_TYPES["heap"] else TupleType(args)  # type: ignore[assignment, arg-type]
        return [("", list_of(kept), lambda: lw.call_method(t, AS_LIST[key], [value])[0])]
    if key == STD_TYPES["graph"]:
        edge = TupleType((INT, INT, args[1]))  # type: ignore[arg-type]
        return [(".nodes", list_of(args[0]), lambda: lw.whole(lw.item(value, 0))),  # type: ignore[arg-type]
                (".edges", list_of(edge), lambda: lw.whole(lw.item(lw.call_method(t, "_to_wire", [value])[0], 1)))]
    return []


def _surely(lw: Lowerer, t: Type, v: DimVar) -> bool:
    """Whether every value of the type binds the name."""
    if isinstance(t, Tensor):
        return any(isinstance(d, Dim) and d.variable == v for d in t.shape)
    return any(_surely(lw, part, v) for _, part in _parts(lw, t))


def _keep(lw: Lowerer, key: str, new: BoundDim) -> None:
    """Bind a name, unless what bound it before did."""
    old = lw.dims.get(key)
    if old is not None:
        old.used = new.used = True
        there = lw.op("ge", [old.atom, integer(0)], ir.BOOL)
        new = BoundDim(lw.op("select", [there, old.atom, new.atom], ir.INT), new.name, True)
    lw.dims[key] = new


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


def _of_list(lw: Lowerer, t: Named, v: DimVar, value: ir.Atom) -> ir.Atom:
    """The dimension that a variable stands for in the first element of a list that says; -1 if none does."""
    item = t.args[0]
    assert not isinstance(item, Dim)
    kind = lw.ctx.types.inner(t)

    def body(inner: Lowerer, given: list[ir.Var]) -> list[ir.Atom]:
        data, size = inner.whole(inner.item(given[0], 0)), inner.whole(inner.item(given[0], 1))

        def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
            more = inner.op("lt", [state[0], size], ir.BOOL)
            inner.if_(more, lambda: None, lambda: inner.leave(label, [], [integer(-1)]))
            found = _find(inner, item, inner.op("buffer_get", [data, state[0]], inner.ctx.types.inner(item)), v)
            said = inner.op("ge", [found, integer(0)], ir.BOOL)
            inner.if_(said, lambda: inner.leave(label, [], [found]), lambda: None)
            return [inner.op("add", [state[0], integer(1)], ir.INT)]

        return list(inner.loop([], [integer(0)], turn, ["i"], [ir.INT]))

    places = [i for i, d in enumerate(dims_of(lw.ctx, t)) if d.variable == v]
    name = f"{SEARCH}{v.name} at {places} of {lw.ctx.types.show(erase(t))}"
    made = lw.ctx.later(name, lambda symbol: generated(lw.ctx, symbol, "", [("value", kind)], [ir.INT], body))
    return lw.b.call(made, [value], [ir.INT])[0]


def _find(lw: Lowerer, t: Type, value: ir.Atom, param: object) -> ir.Atom:
    """The dimension that a variable stands for in a value; -1 if nothing says."""
    assert isinstance(param, DimVar)
    before, lw.dims = lw.dims, {}
    _bind_all(lw, {param.key}, [("", t, value, lw.b.span)])
    found = lw.dims.get(param.key)
    lw.dims = before
    return integer(-1) if found is None else found.atom


def _bind_if(lw: Lowerer, t: Type, there: ir.Atom, get: Get, wanted: set[str]) -> None:
    """Names bound inside what may not be there are -1 without it."""
    inner: dict[str, BoundDim] = {}
    before = dict(lw.dims)
    names = {v.key for d in dims_of(lw.ctx, t) for v in d.variables()} & wanted
    if not names:
        return

    def found() -> list[ir.Atom]:
        lw.dims = {k: d for k, d in before.items() if k not in names}
        value = get()
        _bind(lw, t, value, "", set(names))
        _bind_inside(lw, t, value, names - lw.dims.keys())
        inner.update({k: d for k, d in lw.dims.items() if k in names})
        return [d.atom for d in inner.values()]

    branch = lw.branch(found)
    lw.dims = before
    missing = lw.branch(lambda: [integer(-1) for _ in inner])
    outs = lw.join([branch, missing], [ir.INT] * len(inner),
                   lambda blocks, types: lw.b.if_(there, blocks[0], blocks[1], types))
    for (key, d), out in zip(inner.items(), outs, strict=True):
        _keep(lw, key, BoundDim(out, d.name, True))


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
