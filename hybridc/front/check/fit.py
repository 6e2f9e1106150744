"""What fits what: a value where a type is asked for, and two values under one type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim
from hybridc.base.source import Span
from hybridc.base.types import (
    BOOL,
    F32,
    F64,
    FLOATS,
    INT,
    INTS,
    POISON,
    STD_TYPES,
    STR,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import tree
from hybridc.front.check.bounds import elem_of, is_int, is_number, model_of
from hybridc.front.check.consts import fits, rounded, too_large
from hybridc.front.check.infer import Meta, is_unknown
from hybridc.front.check.open_models import fresh_config
from hybridc.front.check.soft import widened

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

EMPTY = frozenset({"deque", "heap", "graph"})
"""Containers whose empty ones have no literal."""
ANY_CONFIGURATION = ("a parameter that is a bare model is of any configuration, each of its own: name one for both, "
                     "`a: M[N], b: M[N]`, or copy what has been learned, `set_params(mut a, params(b))`")


def _any(t: Type) -> bool:
    """Is it a model of a configuration that the program does not say?"""
    return isinstance(t, TypeVar) or isinstance(t, ModelType) and any(
        isinstance(v, TypeVar) or isinstance(v, Dim) and v.constant is None for v in t.config)


def _listed(t: Type) -> Type | None:
    """What a list holds."""
    return t.args[0] if isinstance(t, Named) and t.key == STD_TYPES["list"] else None  # type: ignore[return-value]


def coerce(c: Body, e: tree.Expr, to: Type, what: str, into: tree.Var | None = None) -> tree.Expr:
    """The expression as a value of type `to`: literals adapt, options wrap, dimensions that may differ are checked
    at run time; everything else is an error. `into`: the variable that takes it."""
    to, frm = c.head(to), c.head(e.type)
    if isinstance(to, Poison) or isinstance(frm, Poison):
        c.solver.unify(to, frm)  # what nothing else decides is wrong already too
        return e
    if not isinstance(to, Meta):
        literal = adapted(c, e, to)
        if literal is not None and (isinstance(e, tree.Const) or literal.type == to):
            return literal
        e = literal or e
    if isinstance(to, Option) and not isinstance(frm, Option):
        if isinstance(frm, Meta):
            c.solver.unify(frm, to)
            return e
        mark = c.solver.mark()
        inner = _fit(c, e, to.item, what)
        if inner is not None:
            return tree.Some(Option(inner.type), e.span, inner)
        c.solver.undo(mark)
    else:
        fitted = _fit(c, e, to, what)
        if fitted is not None:
            return fitted
    _mismatch(c, e, to, what, into)
    return c.poison(e.span)


def _fit(c: Body, e: tree.Expr, to: Type, what: str) -> tree.Expr | None:
    """The expression under the type `to`, or None if it does not fit."""
    head = c.head(to)
    literal = adapted(c, e, head)
    if literal is not None and (isinstance(e, tree.Const) or literal.type == head):
        return literal
    e = literal or e
    start = len(c.solver.undecided)
    waiting = len(c.solver.postponed)
    before = c.resolve(e.type)
    if not c.solver.unify(to, e.type):
        del c.solver.undecided[start:]
        return None
    open_dims = len(c.solver.postponed) > waiting
    undecided = c.solver.undecided[start:]
    del c.solver.undecided[start:]
    if undecided and not open_dims:
        return tree.Refine(_promised(before, c.resolve(to)), e.span, e, what)
    return e


def _promised(frm: Type, to: Type) -> Type:
    """`to`, where it leaves dimensions open as `frm` has them."""
    if isinstance(frm, Tensor) and isinstance(to, Tensor) and len(frm.shape) == len(to.shape):
        shape = tuple(a if isinstance(b, Dim) and any(is_unknown(v) for v in b.variables()) else b
                      for a, b in zip(frm.shape, to.shape))
        return Tensor(to.elem, shape)
    return to


def adapted(c: Body, e: tree.Expr, to: Type) -> tree.Expr | None:
    """What takes its type from context (number literals, and what is made of them) as `to`; None for anything
    else, and where nothing changes."""
    if isinstance(e, tree.Const):
        return None if e.value is None else literal_as(c, e, to)
    return widened(e, to)


def literal_as(c: Body, e: tree.Const, to: Type) -> tree.Expr | None:
    """A number literal as another number type; None if `e` is none or needs no change."""
    value = e.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if to == e.type:
        return None
    if to in FLOATS or (isinstance(to, TypeVar) and "float" in c.bounds_of(to)):
        return tree.Const(to, e.span, rounded(value))
    whole = to in INTS or (isinstance(to, TypeVar) and "number" in c.bounds_of(to))
    if whole and isinstance(value, int) and e.type == INT:
        if not fits(value, to):
            c.error("HYB313", too_large(value, to), e.span)
            return c.poison(e.span)
        return tree.Const(to, e.span, value)
    return None


def literal_root(c: Body, e: tree.Expr | None) -> tree.Var | None:
    """The variable that `e` is, or an element of, if that is f32 only because it begins with literals."""
    while True:
        match e:
            case tree.Local(var=var):
                return c.of_literals.get(var.key)
            case tree.TensorIndex(value=value):
                e = value
            case tree.Builtin(name="part", args=(value, *_)):
                e = value
            case tree.Call(fn=fn, args=(tree.Arg(value=value), *_)) if fn.key == f"{STD_TYPES['list']}._get":
                e = value
            case _:
                return None


def _literal_pairs(c: Body, e: tree.Expr, into: tree.Var | None, want: Type | None, found: Type | None
                   ) -> tuple[tuple[tree.Var | None, Type | None], ...]:
    """What is given, and what takes it, each with the floats that it would have to be of."""
    return (literal_root(c, e), want), (c.of_literals.get(into.key) if into is not None else None, found)


def of_other_floats(c: Body, code: str, message: str, span: Span, help: str | None,
                    *pairs: tuple[tree.Var | None, Type | None]) -> None:
    """An error. Where a variable, the first of a pair, is f32 only because of literals, and other floats would fit,
    the remedy is how it is declared; which is said once."""
    for var, elem in pairs:
        if var is not None and elem in FLOATS and elem != F32:
            if (var.key, elem) in c.blamed:
                c.had_errors = True
                return
            c.blamed.add((var.key, elem))
            t = str(c.resolve(var.type)).replace(str(F32), str(elem))
            help = f"a literal alone is f32: declare `{'var' if var.mutable else 'let'} {var.name}: {t} = ...`"
            break
    c.error(code, message, span, help=help)


def _mismatch(c: Body, e: tree.Expr, to: Type, what: str, into: tree.Var | None) -> None:
    """`expected ..., found ...`, with a remedy where one is known."""
    want, found = c.resolve(to), c.resolve(e.type)
    help: str | None = None
    pairs: tuple[tuple[tree.Var | None, Type | None], ...] = ()
    te, fe = elem_of(want), elem_of(found)
    ranks = [len(t.shape) if isinstance(t, Tensor) else 0 for t in (want, found)]
    if te != fe and te in FLOATS | INTS and fe in FLOATS | INTS and ranks[0] == ranks[1]:
        help, pairs = f"cast it: `{te}(...)`", _literal_pairs(c, e, into, te, fe)
    elif isinstance(want, Named) and isinstance(e, tree.MakeList | tree.MakeMap) and want.name in EMPTY:
        help = f"an empty one is `{c.show(want)}()`, to which the rest is added"
    elif isinstance(want, Named) and want.name == "store":
        help = f"it is opened by `{c.show(want)}(path)`"
    elif isinstance(found, Option) and not isinstance(want, Option):
        help = f"{c.why_none(e)}give a default, `... ?? default`, or test it first, `if x != none:`"
    elif isinstance(want, Named) and want.name == "str":
        help = "show it: `f\"{...}\"`" if not isinstance(found, FnType | ModelType) else None
    elif isinstance(want, Named) and want.name == "list" and want.args == (STR,) and isinstance(found, Named) and (
        found.name == "list"
    ):
        help = "show each: `[str(x) for x in xs]`"
    elif want == BOOL and found in INTS:
        help = "write the comparison, `... != 0`"
    elif model_of(want) is not None and model_of(want) == model_of(found):
        help = ANY_CONFIGURATION if _any(want) or _any(found) else None
    elif isinstance(want, Tensor) and te is not None and _listed(found) is not None:
        help = "a list is made a tensor by `stack(...)`"
    elif {_listed(want), _listed(found)} == {F32, F64}:
        help = f"convert each element: `[{_listed(want)}(x) for x in ...]`"
        pairs = _literal_pairs(c, e, into, _listed(want), _listed(found))
    elif isinstance(want, Tensor) and isinstance(found, Tensor):
        if what.startswith("the new value of") and ranks[0] == ranks[1]:
            help = f"a size that changes is `?` in the declared type: `{te}[{', '.join('?' for _ in want.shape)}]`"
        c.error("HYB401", f"{what}: expected {want}, found {found}", e.span, help=help)
        return
    of_other_floats(c, "HYB301", f"{what}: expected {want}, found {found}", e.span, help, *pairs)


def join(c: Body, a: tree.Expr, b: tree.Expr, what: str, span: Span) -> tuple[tree.Expr, tree.Expr, Type]:
    """Two expressions under one type: branches of a conditional, elements of a list."""
    s, t = c.head(a.type), c.head(b.type)
    if isinstance(s, Poison) or isinstance(t, Poison):
        return a, b, s if isinstance(t, Poison) else t
    if s == t:
        return a, b, s
    literal = adapted(c, a, t)
    if literal is not None:
        return literal, b, t
    literal = adapted(c, b, s)
    if literal is not None:
        return a, literal, s
    if isinstance(s, Option) != isinstance(t, Option) and not isinstance(s, Meta) and not isinstance(t, Meta):
        to = s if isinstance(s, Option) else t
        return coerce(c, a, to, what), coerce(c, b, to, what), to
    joined = join_types(c, s, t)
    if joined is None:
        same = model_of(s) is not None and model_of(s) == model_of(t)
        numbers = sorted((k for k in (s, t) if is_number(k)), key=is_int)
        help = f"cast one of them, `{numbers[0]}(...)`" if len(numbers) == 2 else None
        c.error("HYB301", f"{what}: {c.show(s)} and {c.show(t)} are different types", span,
                help=ANY_CONFIGURATION if same else help)
        return a, b, POISON
    return a, b, joined


def join_types(c: Body, s: Type, t: Type) -> Type | None:
    """One type for two values: dimensions that may differ become `?`."""
    s, t = c.head(s), c.head(t)
    if isinstance(s, Tensor) and isinstance(t, Tensor) and len(s.shape) == len(t.shape):
        if not c.solver.unify(s.elem, t.elem):
            return None
        items = []
        for x, y in zip(s.shape, t.shape):
            if isinstance(x, Dim) and isinstance(y, Dim):
                items.append(x if c.equal_dims(x, y) else c.fresh_dim())
            elif x == y:
                items.append(x)  # type: ignore[arg-type]
            else:
                return None
        return Tensor(s.elem, tuple(items))
    if isinstance(s, Named) and isinstance(t, Named) and s.key == t.key and s.args:
        args: list[Any] = []
        for a, b in zip(s.args, t.args):
            if isinstance(a, Dim) and isinstance(b, Dim):
                args.append(a if c.equal_dims(a, b) else c.fresh_dim())
            else:
                joined = join_types(c, a, b)  # type: ignore[arg-type]
                if joined is None:
                    return None
                args.append(joined)
        return Named(s.key, tuple(args))
    if isinstance(s, TupleType) and isinstance(t, TupleType) and len(s.items) == len(t.items):
        parts = [join_types(c, a, b) for a, b in zip(s.items, t.items)]
        return None if any(p is None for p in parts) else TupleType(tuple(parts))  # type: ignore[arg-type]
    if isinstance(s, Option) and isinstance(t, Option):
        inner = join_types(c, s.item, t.item)
        return None if inner is None else Option(inner)
    if isinstance(s, ModelType) and isinstance(t, ModelType) and s.key == t.key and len(s.config) == len(t.config):
        config: list[Any] = []
        for v, w in zip(s.config, t.config):
            if isinstance(v, Dim) and isinstance(w, Dim):
                config.append(v if c.equal_dims(v, w) else c.fresh_dim())
            else:
                config.append(v if v == w else fresh_config(c, "_"))
        return ModelType(s.key, tuple(config))
    return s if c.solver.unify(s, t) else None
