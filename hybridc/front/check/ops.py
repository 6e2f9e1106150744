"""Operators: arithmetic, comparison, logic, `a if c else b`, `??`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.source import Span
from hybridc.base.types import (
    BOOL,
    F32,
    INT,
    STD_TYPES,
    STR,
    Named,
    Option,
    Poison,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check import expr as check_expr
from hybridc.front.check import fit as check_fit
from hybridc.front.check import place as check_place
from hybridc.front.check import tree
from hybridc.front.check.bounds import elem_of, is_float, is_int, is_number, is_resource, not_comparable, wider
from hybridc.front.check.infer import Meta
from hybridc.front.check.literal import has_fraction, literal, numeric_hint, open_literal, untyped
from hybridc.front.check.narrowing import facts
from hybridc.front.check.scope import EnumSig, StructSig
from hybridc.front.check.tensor import binary_tensor, of_models, unary_tensor
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

SET_METHODS = {"&": "_and", "|": "_or", "-": "_sub", "^": "_xor"}


# ---- unary -----------------------------------------------------------------------------------------------------------
def unary(c: Body, e: syntax.Unary, expected: Type | None) -> tree.Expr:
    if e.op == "not":
        return tree.Unary(BOOL, e.span, "not", c.condition(e.operand))
    if e.op == "-" and isinstance(e.operand, syntax.Literal):
        value = e.operand.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return literal(c, -value, e.span, expected)
    x = c.value(e.operand, expected)
    t = c.head(x.type)
    if isinstance(t, Poison):
        return x
    if isinstance(t, Tensor):
        return unary_tensor(c, e.op, x, e.span)
    if e.op in "+-" and is_number(t):
        return tree.Unary(t, e.span, e.op, x) if e.op == "-" else x
    if e.op == "~" and (is_int(t) or t == BOOL):
        return tree.Unary(t, e.span, "~", x)
    unsupported(c, e.op, t, None, e.span)
    return c.poison(e.span)


# ---- binary ----------------------------------------------------------------------------------------------------------
def binary(c: Body, e: syntax.Binary, expected: Type | None) -> tree.Expr:
    left, right = operands(c, e.op, e.left, e.right, expected)
    return combine(c, e.op, left, right, e.span)


def operands(c: Body, op: str, l: syntax.Expr, r: syntax.Expr, expected: Type | None) -> tuple[tree.Expr, tree.Expr]:
    """Both operands; a number literal takes the type of the other side, else what is expected of the whole."""
    free_l, free_r = untyped(c, l), untyped(c, r)
    if free_l and not free_r:
        right = c.value(r, expected)
        return _literal_beside(c, l, right, expected), right
    if free_r and not free_l:
        left = c.value(l, expected)
        return left, _literal_beside(c, r, left, expected)
    if isinstance(l, syntax.List) and not isinstance(r, syntax.List):
        right = c.value(r, expected)
        return c.value(l, _list_beside(c, l, right, expected)), right
    left = c.value(l, expected)
    hint = _list_beside(c, r, left, expected) if isinstance(r, syntax.List) else expected
    t = c.head(left.type)
    if hint is None and isinstance(t, Named | TupleType) and op == "+":
        hint = t
    return left, c.value(r, hint)


def _literal_beside(c: Body, e: syntax.Expr, other: tree.Expr, expected: Type | None) -> tree.Expr:
    """A number literal beside another operand: of its type; a float beside an int is the float asked for."""
    t = elem_of(c.head(other.type))
    hint: Type | None = t if isinstance(t, Prim | TypeVar) and t != BOOL else None
    if hint is not None and is_int(hint) and isinstance(c.const(e), float):
        hint = numeric_hint(expected)
    return c.value(e, hint)


def _list_beside(c: Body, e: syntax.List, other: tree.Expr, expected: Type | None) -> Type | None:
    """What is asked of a list literal beside another operand: beside a tensor it is one, of its elements."""
    t = c.head(other.type)
    if not isinstance(t, Tensor):
        return expected
    return Tensor(F32, t.shape) if is_int(t.elem) and has_fraction(c, e) else t


def combine(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    """The typed operation on checked operands; also what `op=` computes."""
    s, t = c.head(left.type), c.head(right.type)
    if isinstance(s, Poison) or isinstance(t, Poison):
        return c.poison(span)
    if isinstance(s, Meta) or isinstance(t, Meta):
        if isinstance(s, Meta) and isinstance(t, Meta) and s is not t:
            c.solver.unify(s, t)  # type: ignore[arg-type]
        elif isinstance(s, Meta) != isinstance(t, Meta):
            known = t if isinstance(s, Meta) else s
            if isinstance(known, Prim | TypeVar | Named):
                c.solver.unify(s, t)
        s, t = c.head(s), c.head(t)
        if isinstance(s, Meta) or isinstance(t, Meta):
            at = left if isinstance(s, Meta) else right
            c.error("HYB308", f"the type of this operand of `{op}` is not known here", at.span,
                    help="write a type where it is declared: `fn(x: int): ...`")
            return c.poison(span)
    if isinstance(s, Tensor) or isinstance(t, Tensor):
        return binary_tensor(c, op, left, right, span)
    if is_number(s) and is_number(t) and op != "@":
        return numbers(c, op, left, right, span)
    if s == BOOL and t == BOOL and op in "&|^":
        return tree.Binary(BOOL, span, op, left, right)
    if isinstance(s, Named) and op == "+" and c.world.method(s.key, "_add") is not None and isinstance(t, Named):
        if c.solver.attempt(s, t):
            return tree.Binary(s, span, op, left, right)
    if op == "*":
        for a, b, x in ((s, t, left), (t, s, right)):
            if isinstance(a, Named) and b == INT and c.world.method(a.key, "_repeat") is not None:
                return tree.Binary(x.type, span, op, left, right)
    method = SET_METHODS.get(op)
    if method is not None and isinstance(s, Named) and isinstance(t, Named):
        if c.world.method(s.key, method) is not None and c.solver.attempt(s, t):
            return tree.Binary(s, span, op, left, right)
    unsupported(c, op, s, t, span, (left, right))
    return c.poison(span)


def numbers(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    s, t = c.head(left.type), c.head(right.type)
    if op == "/" and is_int(s) and is_int(t):
        c.error("HYB304", f"`/` is for floats, and both operands are integers ({s} and {t})", span,
                help="`//` divides integers; or cast one, `f32(...)`")
        return c.poison(span)
    joined = join_numbers(c, op, left, right, span)
    if joined is None:
        return c.poison(span)
    left, right, k = joined
    if op in ("&", "|", "^", "<<", ">>") and not is_int(k):
        unsupported(c, op, s, t, span)
        return c.poison(span)
    if op == "/" and not is_float(k):
        c.error("HYB302", f"`/` is for floats, and `{k}` may be an integer", span, help=f"declare it `[{k}: float]`")
        return c.poison(span)
    return tree.Binary(k, span, op, left, right)


def join_numbers(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span
                 ) -> tuple[tree.Expr, tree.Expr, Type] | None:
    """Both numbers under one type: literals adapt, an int joins a float."""
    s, t = c.head(left.type), c.head(right.type)
    if s == t:
        return left, right, s
    x = c.adapted(right, s)
    if x is not None:
        return left, x, s
    x = c.adapted(left, t)
    if x is not None:
        return x, right, t
    if s == INT and is_float(t):
        return tree.Cast(t, left.span, left, True), right, t
    if t == INT and is_float(s):
        return left, tree.Cast(s, right.span, right, True), s
    help = f"cast one of them, `{wider(s, t)}(...)`"
    if isinstance(s, TypeVar) or isinstance(t, TypeVar):
        help = "a type parameter mixes with literals and with itself only"
    check_fit.of_other_floats(c, "HYB303", f"`{op}` mixes {s} and {t}", span, help,
                              (check_fit.literal_root(c, left), t), (check_fit.literal_root(c, right), s))
    return None


def declared(c: Body, t: Type) -> bool:
    """Whether a type is a struct or enum of a program, none of the library's containers."""
    return isinstance(t, Named) and t.key not in STD_TYPES.values() and isinstance(
        c.world.type(t.key), StructSig | EnumSig)


def unsupported(
    c: Body, op: str, s: Type, t: Type | None, span: Span, operands: tuple[tree.Expr, ...] = ()
) -> None:
    """Report an operator that its operands do not have."""
    a = c.show(s)
    b = None if t is None else c.show(t)
    help = None
    for x in (s, t):
        if isinstance(x, TypeVar) and not is_number(x):
            c.error("HYB302", f"`{op}` needs numbers, and `{x}` may be any type", span,
                    help=f"give it a bound: [{x}: number]")
            return
        if isinstance(x, Option):
            help = c.why_none(*operands) or "an option may be none: "
            help += "test it first, `if x != none:`, or give a default, `(x ?? 0)`"
    if help is None and (op == "+" and STR in (s, t) or op == "%" and s == STR):
        help = "put values into text with an f-string: f\"{...}\""
    if help is None and op == "-" and s == t == STR:
        help = "the number of a letter is `ord(c)`"
    if help is None and BOOL in (s, t) and op in ("+", "-", "*", "/", "//", "%", "**"):
        help = "a bool is not a number; cast it: `int(...)`"
    if help is None and t is not None and s != t and any(
            isinstance(x, Named) and x.key == STD_TYPES["list"] for x in (s, t)):
        help = f"of each element: `[x {op} ... for x in xs]`; a tensor of a list of numbers is `stack(xs)`"
    if help is None and any(x is not None and declared(c, x) for x in (s, t)):
        help = "there is no operator overloading: write a method and call it, as `a.plus(b)`"
    help = help or of_models(s, t)
    text = f"`{op}` is not for {a}" + (f" and {b}" if b is not None else "")
    c.error("HYB302", text, span, help=help)


# ---- comparison ------------------------------------------------------------------------------------------------------
def compare(c: Body, e: syntax.Compare) -> tree.Expr:
    xs = compare_operands(c, e)
    if len(xs) == 2:
        return compare_two(c, e.ops[0], xs[0], xs[1], e.span)
    # one common type for numbers, so that each operand is converted once
    kinds = [c.head(x.type) for x in xs]
    if all(is_number(k) for k in kinds):
        widest = next((k for k in kinds if is_float(k)), kinds[0])
        for i, x in enumerate(xs):
            if kinds[i] != widest:
                joined = join_numbers(c, e.ops[max(0, i - 1)], tree.Local(widest, x.span, _probe(widest)), x, e.span)
                if joined is None:
                    return c.poison(e.span)
                xs[i] = joined[1]
    ok = True
    for i, op in enumerate(e.ops):
        span = xs[i].span.to(xs[i + 1].span)
        pair = compare_two(c, op, xs[i], xs[i + 1], span)
        t = c.head(pair.type)
        if isinstance(t, Tensor):
            c.error("HYB302", "a chain of comparisons gives one bool, and comparing tensors is elementwise", span,
                    help="write `(a < b) & (b < c)`")
            return c.poison(e.span)
        inner = pair.operand if isinstance(pair, tree.Unary) else pair
        if isinstance(inner, tree.Binary):
            xs[i], xs[i + 1] = inner.left, inner.right
        ok = ok and not isinstance(t, Poison)
    return tree.Chain(BOOL, e.span, tuple(xs), e.ops) if ok else c.poison(e.span)


def _probe(t: Type) -> tree.Var:
    return tree.Var("?", "?", t)


def compare_operands(c: Body, e: syntax.Compare) -> list[tree.Expr]:
    """The operands: literals, `none` and case names take their type from those beside them."""
    done: dict[int, tree.Expr] = {}
    anchor: Type | None = None
    has_none = any(isinstance(o, syntax.Literal) and o.value is None for o in e.operands)
    for i, o in enumerate(e.operands):
        if not _open(c, o):
            at_in = i > 0 and e.ops[i - 1] in ("in", "not in")
            done[i] = _raw(c, o) if has_none else c.value(o, None if at_in else anchor)
            t = c.head(done[i].type)
            if anchor is None and not isinstance(t, Poison) and not at_in:
                anchor = t
    for i, o in enumerate(e.operands):
        if i in done:
            continue
        hint = anchor
        if i + 1 < len(e.operands) and e.ops[i] in ("in", "not in") and i + 1 in done:
            hint = item_type(c, c.head(done[i + 1].type)) or anchor
        if i > 0 and e.ops[i - 1] in ("in", "not in"):
            hint = _container_hint(c, o, done.get(i - 1))
        if hint is not None and isinstance(o, syntax.Literal) and not isinstance(o.value, str | bool | None):
            h = c.head(hint)
            while isinstance(h, Option):
                h = c.head(h.item)
            hint = elem_of(h)
            if is_int(hint) and isinstance(o.value, float):
                hint = None
        done[i] = c.value(o, hint)
    return [done[i] for i in range(len(e.operands))]


def _container_hint(c: Body, o: syntax.Expr, item: tree.Expr | None) -> Type | None:
    from_item = None if item is None else c.head(item.type)
    if from_item is None:
        return None
    if isinstance(o, syntax.List | syntax.Tuple):
        return Named("std.list:list", (from_item,))
    return Named("std.set:set", (from_item,)) if isinstance(o, syntax.SetLiteral) else None


def _open(c: Body, o: syntax.Expr) -> bool:
    match o:
        case syntax.Literal(value=None):
            return True
        case syntax.Name(id=name) if c.find(name)[0] is None and name in c.module.cases:
            return True
        case syntax.List() | syntax.MapLiteral(items=()):
            return True
    return open_literal(c, o)


def _raw(c: Body, o: syntax.Expr) -> tree.Expr:
    """An operand beside `none`: an option that is known to have a value stays an option."""
    if isinstance(o, syntax.Name) and c.find(o.id)[0] is not None:
        return check_expr.name(c, o, None, raw=True)
    x = c.value(o)
    return x.value if isinstance(x, tree.Unwrap) else x


def compare_two(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    s, t = c.head(left.type), c.head(right.type)
    if isinstance(s, Poison) or isinstance(t, Poison):
        one_bool = not isinstance(s, Tensor) and not isinstance(t, Tensor)
        return tree.Const(BOOL, span, True) if one_bool else c.poison(span)
    if op in ("in", "not in"):
        return contains(c, op, left, right, span)
    if isinstance(s, Tensor) or isinstance(t, Tensor):
        if not isinstance(s, Meta | Option) and not isinstance(t, Meta | Option):
            return binary_tensor(c, op, left, right, span)
    if is_number(s) and is_number(t):
        joined = join_numbers(c, op, left, right, span)
        if joined is None:
            return c.poison(span)
        return tree.Binary(BOOL, span, op, joined[0], joined[1])
    if op in ("==", "!="):
        return equality(c, op, left, right, span)
    left, right, k = c.join(left, right, f"`{op}`", span)
    k = c.head(k)
    if isinstance(k, Poison):
        return c.poison(span)
    if isinstance(k, Named) and c.world.method(k.key, "_subset") is not None:
        return tree.Binary(BOOL, span, op, left, right)
    if isinstance(k, Meta) or not c.meets(k, "order"):
        if isinstance(k, TypeVar):
            c.error("HYB302", f"`{op}` needs an order, and `{k}` may be any type", span,
                    help=f"give it a bound: [{k}: order]")
        elif isinstance(k, Option):
            c.error("HYB302", f"`{op}` is not for {c.show(k)}: it may be none", span,
                    help="test it first, `if x != none:`, or give a default with `??`")
        elif isinstance(k, Meta):
            c.error("HYB308", f"the type of the operands of `{op}` is not known here", span,
                    help="write a type where they are declared")
        else:
            c.error("HYB302", f"`{op}` is not for {c.show(k)}: it has no order", span,
                    help="compare a field of each; `sort(key=fn(x): x.a)` sorts by one" if declared(c, k) else None)
        return c.poison(span)
    return tree.Binary(BOOL, span, op, left, right)


def equality(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    s, t = c.head(left.type), c.head(right.type)
    for x, y, other in ((left, right, s), (right, left, t)):
        if _is_none(y) and not isinstance(other, Option | Meta):
            c.error("HYB302", f"{c.show(other)} is never none: only a `T?` can be", x.span)
            return c.poison(span)
    if isinstance(s, Option) and _is_none(right) or isinstance(t, Option) and _is_none(left):
        whole, none_first = (s, False) if _is_none(right) else (t, True)
        none = tree.Const(whole, (left if none_first else right).span, None)
        return tree.Binary(BOOL, span, op, *((none, right) if none_first else (left, none)))
    if isinstance(s, Option) != isinstance(t, Option) and not isinstance(s, Meta) and not isinstance(t, Meta):
        option = s if isinstance(s, Option) else t
        assert isinstance(option, Option)
        if isinstance(s, Option):
            right = c.coerce(right, option, f"`{op}`")
        else:
            left = c.coerce(left, option, f"`{op}`")
        k: Type = option
    else:
        joined = c.join_types(s, t)
        if joined is None:
            text, second = c.show(s), c.show(t)
            if text == second:
                c.error("HYB302", f"`{op}` compares two {text}s, which may be of different configurations", span,
                        "a method's `other: M[size]`, or `fn f[T: model](a: T, b: T)`, takes two of one")
            else:
                c.error("HYB302", f"`{op}` compares {text} with {second}: different types are never equal", span,
                        "the number of a letter is `ord(c)`, that of digits `int(s)`" if {s, t} == {STR, INT} else None)
            return c.poison(span)
        k = joined
    if isinstance(c.head(left.type), Poison) or isinstance(c.head(right.type), Poison):
        return c.poison(span)
    bad = not_comparable(c.world, c.resolve(k))
    if bad is not None:
        word = f"a {c.word(bad)} is" if is_resource(c.world, bad) else "functions are"
        c.error("HYB315", f"`{op}` is not for {c.show(k)}: {word} not compared", span)
        return c.poison(span)
    return tree.Binary(BOOL, span, op, left, right)


def _is_none(e: tree.Expr) -> bool:
    return isinstance(e, tree.Const) and e.value is None and not isinstance(e.type, Poison)


def item_type(c: Body, t: Type) -> Type | None:
    """What `x in container` compares x with."""
    if isinstance(t, Named):
        sig = c.world.method(t.key, "_has")
        if sig is not None:
            owner = c.world.type(t.key)
            return substitute(sig.params[1].type, dict(zip(owner.params, t.args)))  # type: ignore[union-attr, arg-type]
    return t.elem if isinstance(t, Tensor) else None


def contains(c: Body, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    t = c.head(right.type)
    item = item_type(c, t)
    if item is None or isinstance(t, Tensor):
        help = "compare and reduce: `any(t == x)`" if isinstance(t, Tensor) else None
        if isinstance(t, TupleType):
            help = f"write a list, `{op} [1, 2]`, or a set"
        c.error("HYB302", f"`{op}` is for lists, maps, sets, strings, not {c.show(t)}", span, help=help)
        return c.poison(span)
    left = c.coerce(left, item, f"`{op}` of a {c.show(t)}")
    if c.parallel:
        check_place.parallel_resource(c, right, span)
    x: tree.Expr = tree.Binary(BOOL, span, "in", left, right)
    return tree.Unary(BOOL, span, "not", x) if op == "not in" else x


# ---- logic -----------------------------------------------------------------------------------------------------------
def logic(c: Body, e: syntax.Logic) -> tree.Expr:
    left = c.condition(e.left, e.right if e.op == "or" else None)
    if isinstance(c.head(left.type), Option):
        c.value(e.right)
        return c.poison(e.span)
    yes, no = facts(left)
    right = c.under(yes if e.op == "and" else no, lambda: c.condition(e.right))
    if isinstance(left.type, Poison) or isinstance(right.type, Poison):
        return c.poison(e.span)
    return tree.Logic(BOOL, e.span, e.op, left, right)


def conditional(c: Body, e: syntax.Conditional, expected: Type | None) -> tree.Expr:
    cond = c.condition(e.cond)
    yes, no = facts(cond)
    hint = expected
    t_first = not open_literal(c, e.then)
    if t_first:
        then = c.under(yes, lambda: c.value(e.then, expected))
        hint = _branch_hint(c, then, expected)
        orelse = c.under(no, lambda: c.value(e.orelse, hint))
    else:
        orelse = c.under(no, lambda: c.value(e.orelse, expected))
        if not open_literal(c, e.orelse):
            hint = _branch_hint(c, orelse, expected)
        then = c.under(yes, lambda: c.value(e.then, hint))
    for x in (then, orelse):
        check_place.not_copied(c, x, "a conditional would copy it")
    then, orelse, t = c.join(then, orelse, "the branches of a conditional", e.span)
    return tree.Conditional(t, e.span, cond, then, orelse)


def _branch_hint(c: Body, x: tree.Expr, expected: Type | None) -> Type | None:
    """The type of the branch that has one guides the other, and so does an integer's where a float is expected: it may
    join a float operation as a whole."""
    t = c.head(x.type)
    joins = expected is not None and is_int(elem_of(t)) and is_float(elem_of(c.head(expected)))
    if isinstance(t, Poison) or expected is not None and not joins:
        return expected
    return t


def coalesce(c: Body, e: syntax.Coalesce, expected: Type | None) -> tree.Expr:
    option = c.value(e.option)
    if isinstance(option, tree.Unwrap):
        option = option.value
    t = c.head(option.type)
    if isinstance(t, Poison):
        c.value(e.default, expected)
        return c.poison(e.span)
    if isinstance(t, Meta):
        inner = c.fresh(e.option.span, "this option")
        c.solver.unify(t, Option(inner))
        t = Option(inner)
    if not isinstance(t, Option):
        c.error("HYB302", f"`??` is for options, and {c.show(t)} is never none", e.option.span)
        c.value(e.default, expected)
        return c.poison(e.span)
    default = c.value(e.default, t.item)
    d = c.head(default.type)
    if isinstance(d, Option) and not isinstance(c.head(t.item), Option):
        option, default, k = c.join(option, default, "`??`", e.span)
        return tree.Coalesce(k, e.span, option, default)
    item = tree.Unwrap(t.item, option.span, option)
    _, default, k = c.join(item, default, "both sides of `??`", e.span)
    return tree.Coalesce(k, e.span, option, default)
