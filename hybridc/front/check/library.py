"""What the language adds to types of the library: methods with `key=` or with a shape in brackets, and values made by a
call, `set(xs)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hybridc.base.types import INT, STD_TYPES, Named, Poison, Type
from hybridc.front.check import (
    builtin as check_builtin,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    choice as check_choice,
)
from hybridc.front.check import (
    make as check_make,
)
from hybridc.front.check import (
    new as check_new,
)
from hybridc.front.check import (
    ops as check_ops,
)
from hybridc.front.check import (
    tree,
)
from hybridc.front.check.scope import FnSig, StructSig
from hybridc.front.check.tensor import BUILTINS as TENSOR_BUILTINS
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def method(c: Body, receiver: tree.Expr, t: Type, fn: syntax.Attribute, e: syntax.Call, brackets: Any,
           expected: Type | None) -> tree.Expr | None:
    """`xs.sort(key=f)`, `m.get(k, 0)`, `g.normal[3, 4]()`; None if the method is an ordinary one."""
    if not isinstance(t, Named):
        return None
    if t.key in (STD_TYPES["map"], STD_TYPES["store"]) and fn.name == "get" and len(e.args) == 2:
        c.prechecked[id(fn.value)] = receiver  # as `m.get(k) ?? 0`
        found = syntax.Call(e.span, fn, e.args[:1])
        return check_ops.coalesce(c, syntax.Coalesce(e.span, found, e.args[1].value), expected)
    if brackets is None and fn.name in check_builtin.BY_KEY and any(a.name == "key" for a in e.args):
        sig = c.world.method(t.key, check_builtin.BY_KEY[fn.name])
        if sig is not None:
            return check_call.call_fn(c, sig, (fn.value, receiver), e, None, expected)
    if t.key == STD_TYPES["rng"] and fn.name == "categorical" and brackets is None and check_choice.asks(e):
        return check_choice.categorical(c, receiver, fn, e, expected)
    if t.key == STD_TYPES["rng"] and brackets is not None:
        return draw(c, e, fn, receiver, brackets, expected)
    return None


def draw(c: Body, e: syntax.Call, fn: syntax.Attribute, receiver: tree.Expr, brackets: tuple[Any, ...],
         expected: Type | None) -> tree.Expr:
    """`g.normal[3, 4]()`: a vector of as many numbers, in that shape."""
    sig = c.world.method(STD_TYPES["rng"], f"_{fn.name}_tensor")
    if sig is None:
        c.error("HYB306", f"`{fn.name}` takes no arguments in brackets", fn.name_span)
        return c.poison(e.span)
    count: syntax.Expr = syntax.Literal(e.span, 1)
    for i, b in enumerate(brackets):
        count = b if i == 0 else syntax.Binary(e.span, "*", count, b, e.span)
    inner = syntax.Call(e.span, fn, (*e.args, syntax.Argument(e.span, None, False, count)))
    drawn = check_call.call_fn(c, sig, (fn.value, receiver), inner, None, None)
    if isinstance(c.head(drawn.type), Poison):
        return drawn
    c.prechecked[id(inner)] = drawn
    shaped = syntax.Call(e.span, syntax.Name(e.span, "reshape"),
                         tuple(syntax.Argument(x.span, None, False, x) for x in (inner, *brackets)))
    return TENSOR_BUILTINS["reshape"](c, shaped, expected)


def make_container(c: Body, sig: StructSig, e: syntax.Call, brackets: Any, expected: Type | None) -> tree.Expr | None:
    """`str(x)`, `list(xs)`, `set(xs)`, `store[K, V](path)`, `rng(seed)`, `heap[int, str]()`; None for other structs."""
    if sig.key != STD_TYPES.get(sig.name) or c.module.name == f"std.{sig.name}":
        return None
    given = None
    if brackets is not None:
        given = c.reader.generic(sig, brackets, e.fn.span)
        if isinstance(given, Poison):
            check_call.poison_args(c, e)
            return c.poison(e.span)
    if sig.name == "str":
        return check_builtin.to_str(c, e)
    if sig.name == "rng":
        args = [a if a.name is None else syntax.Argument(a.span, None, a.mut, a.value) for a in e.args
                if a.name in (None, "seed")]
        if len(e.args) != 1 or len(args) != 1:
            c.error("HYB306", "`rng` takes its seed: `rng(0)`", e.span)
            return c.poison(e.span)
        seed = c.typed(args[0].value, INT, "the seed of `rng`")
        return tree.MakeStruct(Named(sig.key), e.span, (seed, *(None for _ in sig.fields[1:])))
    if sig.name == "store":
        if given is None and not isinstance(expected, Named):
            c.error("HYB308", "what this store holds is not known here", e.span, help="write `store[str, int](path)`")
            check_call.poison_args(c, e)
            return c.poison(e.span)
        opener = c.world.sigs.get("std.store:_open")
        if isinstance(opener, FnSig):
            return check_call.call_fn(c, opener, None, e, given.args if isinstance(given, Named) else None, expected)
    if not e.args:
        _, t = check_new.fresh_args(c, sig, e.span)
        if given is not None:
            c.solver.unify(t, given)
        elif expected is not None:
            c.solver.attempt(expected, t)
        return tree.MakeStruct(t, e.span, tuple(None for _ in sig.fields))
    if sig.name in ("list", "set", "deque") and len(e.args) == 1 and e.args[0].name is None:
        return collected(c, sig.name, e, given, expected)
    if sig.name == "map" and len(e.args) == 1 and e.args[0].name is None:
        return collected(c, "map", e, given, expected)
    c.error("HYB306", f"`{sig.name}(...)` takes nothing, or one value to copy the elements of", e.span)
    check_call.poison_args(c, e)
    return c.poison(e.span)


def collected(c: Body, name: str, e: syntax.Call, given: Type | None, expected: Type | None) -> tree.Expr:
    """`set(xs)`: as a comprehension over it."""
    span = e.span
    want = given if given is not None else expected
    if name == "deque":
        sig = c.world.sigs.get("std.deque:deque_from_wire")
        if isinstance(sig, FnSig):
            return check_call.call_fn(c, sig, None, e, given.args if isinstance(given, Named) else None, expected)
    if name == "map":
        pair = syntax.TuplePattern(span, (syntax.Bind(span, "_k"), syntax.Bind(span, "_v")))
        clause = syntax.ForClause(span, pair, e.args[0].value, ())
        comp = syntax.Comprehension(span, "map", syntax.Name(span, "_k"), syntax.Name(span, "_v"), (clause,), False)
    else:
        clause = syntax.ForClause(span, syntax.Bind(span, "_x"), e.args[0].value, ())
        comp = syntax.Comprehension(span, name, syntax.Name(span, "_x"), None, (clause,), False)
    return check_make.comprehension(c, comp, want)
