"""Equality, hash, order and text of every type: generated Core functions, one per erased type.

Containers of the standard library bring their own (`_eq`, `_hash`, `_less`, `_show`). An enum that contains itself is
compared, hashed and shown with a worklist, so that deep values need no deep stack (derive_deep.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from hybridc.base.types import (
    F32,
    F64,
    FLOATS,
    INT,
    INTS,
    STD_TYPES,
    STR,
    FnType,
    ModelType,
    Named,
    Option,
    Prim,
    Tensor,
    TupleType,
    Type,
)
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.core.ops import BYTES
from hybridc.front.check import tree
from hybridc.front.lower import derive_deep
from hybridc.front.lower.core import Context, Lowerer, generated
from hybridc.front.lower.types import erase

NEAR = 16
"""Statements among which what makes an operand is looked for."""
PRIME = 0x9E3779B97F4A7C15 - (1 << 64)
"""The golden ratio in 64 bits: spreads what is close."""
FACTOR = 0xD6E8FEB86659FD93 - (1 << 64)


# ---- one operation on two atoms of a type ----------------------------------------------------------------------------
def equal(lw: Lowerer, t: Type, a: ir.Atom, b: ir.Atom, negated: bool = False) -> ir.Atom:
    """Whole values compared."""
    t = erase(lw.concrete(t))
    if isinstance(t, Prim):
        return lw.op("ne" if negated else "eq", [a, b], ir.BOOL)
    if isinstance(t, Tensor):
        same: ir.Atom = lw.op("tensor_equal", [a, b], ir.BOOL)
    elif _own(lw.ctx, t, "_eq"):
        same = lw.call_method(t, "_eq", [a, b])[0]
    elif isinstance(t, Named) and lw.ctx.types.is_enum(t) and (found := _a_case(lw, a, b)) is not None:
        same = _is_case(lw, t, *found)
    else:
        same = _call(lw, "equal", t, [a, b], ir.BOOL, _equal_body)
    return lw.not_(same) if negated else same


def less(lw: Lowerer, t: Type, a: ir.Atom, b: ir.Atom) -> ir.Atom:
    t = erase(lw.concrete(t))
    if isinstance(t, Prim):
        return lw.op("lt", [a, b], ir.BOOL)
    if _own(lw.ctx, t, "_less"):
        return lw.call_method(t, "_less", [a, b])[0]
    return _call(lw, "less", t, [a, b], ir.BOOL, _less_body)


def spread(lw: Lowerer, number: ir.Atom) -> ir.Atom:
    """An int whose bits each depend on many of the number's: in every process the same, as a hash is not."""
    turned = lw.op("mul", [number, integer(PRIME)], ir.INT)
    return lw.op("bit_xor", [turned, lw.op("lshr", [turned, integer(32)], ir.INT)], ir.INT)


def hashed(lw: Lowerer, t: Type, a: ir.Atom) -> ir.Atom:
    t = erase(lw.concrete(t))
    if isinstance(t, Prim):
        number = a if t == INT else lw.op("cast", [a], ir.INT, checked=False)
        secret = lw.op("bit_xor", [number, lw.op("hash_seed", [], ir.INT)], ir.INT)
        low = lw.op("mul", [secret, integer(FACTOR)], ir.INT)
        return lw.op("bit_xor", [low, lw.op("mulhi", [secret, integer(FACTOR)], ir.INT)], ir.INT)
    if _own(lw.ctx, t, "_hash"):
        return lw.call_method(t, "_hash", [a])[0]
    return _call(lw, "hash", t, [a], ir.INT, _hash_body)


def mixed(lw: Lowerer, seed: ir.Atom, more: ir.Atom) -> ir.Atom:
    """The hash of what came before together with one more."""
    turned = lw.op("mul", [lw.op("bit_xor", [seed, more], ir.INT), integer(PRIME)], ir.INT)
    return lw.op("bit_xor", [turned, lw.op("lshr", [turned, integer(29)], ir.INT)], ir.INT)


def shown(lw: Lowerer, t: Type, a: ir.Atom, quoted: bool) -> ir.Atom:
    """The text of a value; strings in quotes inside others (`quoted`)."""
    t = erase(lw.concrete(t))
    if t == STR:
        return format_fn(lw, "_quoted", [a]) if quoted else a
    if isinstance(t, Prim):
        return _show_scalar(lw, t, a)
    if isinstance(t, Option):
        # As its value: the text of an optional string is bare where the string's own would be.
        item, kind = t.item, lw.ctx.types.inner(t.item)
        return lw.if_(lw.op("is_some", [a], ir.BOOL),
                      lambda: [shown(lw, item, lw.op("unwrap", [a], kind), quoted)],
                      lambda: [lw.text("none")], [ir.STR])[0]
    if _own(lw.ctx, t, "_show"):
        return lw.call_method(t, "_show", [a])[0]
    return _call(lw, "show", t, [a], ir.STR, _show_body)


def _own(ctx: Context, t: Type, name: str) -> bool:
    """A method of a type of the standard library."""
    return isinstance(t, Named) and t.key in STD_TYPES.values() and ctx.method(t, name) is not None


Body = Callable[[Lowerer, Type, list[ir.Var]], Sequence[ir.Atom]]


def _call(lw: Lowerer, what: str, t: Type, args: Sequence[ir.Atom], result: ir.Type, body: Body) -> ir.Atom:
    ctx = lw.ctx
    kind = ctx.types.core(t)
    params = [(n, kind) for n in ("a", "b")[: len(args)]]
    name = f"{what} {ctx.types.show(t)}"

    def make(symbol: str) -> ir.Fn:
        return generated(ctx, symbol, name, params, [result], lambda inner, v: body(inner, t, v))

    return lw.b.call(ctx.later(name, make), args, [result])[0]


def _fields(lw: Lowerer, t: Type) -> list[Type]:
    """The types of a tuple's or struct's fields."""
    match t:
        case TupleType(items):
            return list(items)
        case _:
            return [f for _, f in lw.ctx.types.fields(t)]  # type: ignore[arg-type]


# ---- equality --------------------------------------------------------------------------------------------------------
def _answer(lw: Lowerer, value: bool) -> None:
    lw.tail = ir.Exit(ir.RETURN, (boolean(value),))


def _need(lw: Lowerer, ok: ir.Atom) -> None:
    """The whole answer is false unless `ok`."""
    lw.if_(ok, lambda: None, lambda: _answer(lw, False))


def _a_case(lw: Lowerer, a: ir.Atom, b: ir.Atom) -> tuple[ir.Atom, ir.Op] | None:
    """Of two values another one, and what makes the one whose case is known: in `token == Op("+")` the right one."""
    for made in islice(lw.b.latest(), NEAR):
        if isinstance(made, ir.Op) and made.op == "enum" and made.outs[0] in (a, b):
            return (a if made.outs[0] == b else b), made
    return None


def _is_case(lw: Lowerer, t: Named, value: ir.Atom, made: ir.Op) -> ir.Atom:
    """Nothing is made of the other value, only to be compared and freed."""
    fields = dict(lw.ctx.types.cases(t))

    def arm(case: str, xs: Sequence[ir.Var]) -> Sequence[ir.Atom]:
        if case != made.attr("case"):
            return [boolean(False)]
        return [rest(list(zip(fields[case], xs, made.args, strict=True)))]

    def rest(pairs: list[tuple[tuple[str, Type], ir.Var, ir.Atom]]) -> ir.Atom:
        if not pairs:
            return boolean(True)
        (_, kind), x, y = pairs[0]
        same = equal(lw, kind, x, y)
        if len(pairs) == 1:
            return same
        return lw.if_(same, lambda: [rest(pairs[1:])], lambda: [boolean(False)], [ir.BOOL])[0]

    return match_all(lw, value, arm, [ir.BOOL])[0]


def _equal_body(lw: Lowerer, t: Type, v: list[ir.Var]) -> Sequence[ir.Atom]:
    a, b = v
    if derive_deep.is_head(lw.ctx, t) and derive_deep.family(lw.ctx, t):
        derive_deep.equal_deep(lw, t, a, b, lambda k, x, y: equal(lw, k, x, y),
                               lambda k, x, y, each: _match_both(lw, k, x, y, each))
        return [boolean(True)]
    match t:
        case Option(item):
            there = lw.op("is_some", [a], ir.BOOL)
            _need(lw, lw.op("eq", [there, lw.op("is_some", [b], ir.BOOL)], ir.BOOL))
            kind = lw.ctx.types.inner(item)

            def both() -> None:
                _need(lw, equal(lw, item, lw.op("unwrap", [a], kind), lw.op("unwrap", [b], kind)))

            lw.if_(there, both, lambda: None)
        case FnType():
            return [boolean(False)]
        case ModelType():
            pairs = zip(lw.ctx.models.compared(lw, t, a), lw.ctx.models.compared(lw, t, b), strict=True)
            for (part, x), (_, y) in pairs:
                _need(lw, equal(lw, part, x, y))
        case Named() if lw.ctx.types.is_enum(t):
            _need(lw, lw.op("eq", [lw.op("tag", [a], ir.INT), lw.op("tag", [b], ir.INT)], ir.BOOL))
            if not _plain(lw, t):
                _match_both(lw, t, a, b, lambda kind, x, y: _need(lw, equal(lw, kind, x, y)))
        case _:
            for i, field in enumerate(_fields(lw, t)):
                _need(lw, equal(lw, field, lw.whole(lw.item(a, i)), lw.whole(lw.item(b, i))))
    return [boolean(True)]


def _plain(lw: Lowerer, t: Type) -> bool:
    return all(not fields for _, fields in lw.ctx.types.cases(t))  # type: ignore[arg-type]


def _match_both(lw: Lowerer, t: Type, a: ir.Atom, b: ir.Atom, each: Callable[[Type, ir.Atom, ir.Atom], None]) -> None:
    """Each field of two values of the same case."""
    from_cases = dict(lw.ctx.types.cases(t))  # type: ignore[arg-type]

    def arm(case: str, xs: Sequence[ir.Var]) -> None:
        if not xs:
            return

        def other(case_b: str, ys: Sequence[ir.Var]) -> None:
            if case_b == case:
                for (_, kind), x, y in zip(from_cases[case], xs, ys, strict=True):
                    if lw.tail is None:
                        each(kind, x, y)

        match_all(lw, b, other)

    match_all(lw, a, arm)


def match_all(lw: Lowerer, subject: ir.Atom, arm: Callable[[str, Sequence[ir.Var]], Sequence[ir.Atom] | None],
              types: Sequence[ir.Type] = ()) -> list[ir.Var]:
    """A match on every case of an enum."""
    assert isinstance(subject.type, ir.EnumT)
    branches, heads = [], []
    for case, fields in lw.ctx.cases(subject.type.name):
        values = tuple(lw.b.var(ft, f) for f, ft in fields)
        heads.append((case, values))
        branches.append(lw.branch(lambda c=case, v=values: arm(c, v)))  # type: ignore[misc]

    def emit(blocks: list[ir.Block], all_types: list[ir.Type]) -> Sequence[ir.Var]:
        arms = [ir.Arm(case, values, body) for (case, values), body in zip(heads, blocks, strict=True)]
        return lw.b.match(subject, arms, all_types)

    return lw.join(branches, types, emit)


# ---- order -----------------------------------------------------------------------------------------------------------
def _less_body(lw: Lowerer, t: Type, v: list[ir.Var]) -> Sequence[ir.Atom]:
    """Lexicographic; none before a value; an enum by the order of its cases."""
    a, b = v

    def step(kind: Type, x: ir.Atom, y: ir.Atom) -> None:
        lw.if_(less(lw, kind, x, y), lambda: _answer(lw, True), lambda: None)
        lw.if_(less(lw, kind, y, x), lambda: _answer(lw, False), lambda: None)

    match t:
        case Option(item):
            there, other = lw.op("is_some", [a], ir.BOOL), lw.op("is_some", [b], ir.BOOL)
            kind = lw.ctx.types.inner(item)
            both = lw.op("bit_and", [there, other], ir.BOOL)
            lw.if_(both, lambda: step(item, lw.op("unwrap", [a], kind), lw.op("unwrap", [b], kind)), lambda: None)
            return [lw.op("lt", [there, other], ir.BOOL)]
        case Named() if lw.ctx.types.is_enum(t):
            step(INT, lw.op("tag", [a], ir.INT), lw.op("tag", [b], ir.INT))
            if not _plain(lw, t):
                _match_both(lw, t, a, b, step)
        case _:
            for i, kind_of in enumerate(_fields(lw, t)):
                step(kind_of, lw.whole(lw.item(a, i)), lw.whole(lw.item(b, i)))
    return [boolean(False)]


# ---- hash ------------------------------------------------------------------------------------------------------------
def _hash_body(lw: Lowerer, t: Type, v: list[ir.Var]) -> Sequence[ir.Atom]:
    a = v[0]
    if derive_deep.is_head(lw.ctx, t) and derive_deep.family(lw.ctx, t):
        return [derive_deep.hash_deep(lw, t, a, lambda k, x: hashed(lw, k, x), lambda x, y: mixed(lw, x, y),
                                      lambda x, arm: match_all(lw, x, arm))]

    def of(kinds: Sequence[Type], items: Sequence[ir.Atom], seed: ir.Atom) -> ir.Atom:
        for kind, item in zip(kinds, items, strict=True):
            seed = mixed(lw, seed, hashed(lw, kind, item))
        return seed

    match t:
        case Option(item):
            kind = lw.ctx.types.inner(item)
            there = lw.op("is_some", [a], ir.BOOL)
            return lw.if_(there, lambda: [of([item], [lw.op("unwrap", [a], kind)], integer(1))],
                          lambda: [integer(0)], [ir.INT])
        case Named() if lw.ctx.types.is_enum(t):
            tag = lw.op("tag", [a], ir.INT)
            if _plain(lw, t):
                return [hashed(lw, INT, tag)]
            kinds = dict(lw.ctx.types.cases(t))
            return match_all(lw, a, lambda case, xs: [of([k for _, k in kinds[case]], xs, tag)], [ir.INT])
        case _:
            fields = _fields(lw, t)
            return [of(fields, [lw.whole(lw.item(a, i)) for i in range(len(fields))], integer(len(fields)))]


# ---- text ------------------------------------------------------------------------------------------------------------
def format_fn(lw: Lowerer, name: str, args: Sequence[ir.Atom]) -> ir.Atom:
    """A function of std/_format.hyb that gives a string."""
    return lw.call_fn(f"std._format:{name}", args)[0]


def show_int(lw: Lowerer, a: ir.Atom) -> ir.Atom:
    return format_fn(lw, "_show_int", [a])


def _show_scalar(lw: Lowerer, t: Prim, a: ir.Atom) -> ir.Atom:
    if t in INTS:
        return show_int(lw, a if t == INT else lw.op("cast", [a], ir.INT, checked=False))
    return format_fn(lw, f"_show_{t.name}", [a])


def _format_scalar(lw: Lowerer, t: Prim, a: ir.Atom, spec: str) -> ir.Atom:
    """By a format spec; the narrow floats as f32."""
    if t in INTS and t != INT:
        a, t = lw.op("cast", [a], ir.INT, checked=False), INT
    if t in FLOATS and t not in (F32, F64):
        a, t = lw.op("cast", [a], F32, checked=False), F32
    return format_fn(lw, f"_format_{t.name}", [a, lw.text(spec)])


def formatted(lw: Lowerer, e: tree.Expr, spec: str) -> ir.Atom:
    """A hole of an f-string."""
    t = lw.concrete(e.type)
    value = lw.expr(e)
    if spec and isinstance(t, Prim):
        return _format_scalar(lw, t, value, spec)
    text = shown(lw, t, value, False)
    return format_fn(lw, "_format_str", [text, lw.text(spec)]) if spec else text


@dataclass(frozen=True)
class Piece:
    """What a text is made longer by: a text, or the code of a character."""

    atom: ir.Atom
    code: bool = False

    def added(self, lw: Lowerer, text: ir.Atom) -> ir.Atom:
        return lw.call_method(STR, "_push_chr" if self.code else "_append", [text, self.atom])[-1]

    def text(self, lw: Lowerer) -> ir.Atom:
        return lw.call_fn(CHR, [self.atom])[0] if self.code else self.atom


CHR = "std.prelude:chr"


def pieces(lw: Lowerer, e: tree.Expr) -> list[Piece]:
    """What a text is put together of, all computed."""
    match e:
        case tree.FString(parts=parts):
            return [Piece(lw.text(p) if isinstance(p, str) else formatted(lw, p[0], p[1])) for p in parts]
        case tree.Binary(op="+", left=left, right=right):
            return [*pieces(lw, left), *pieces(lw, right)]
        case tree.Call(args=(tree.Arg(value=code),)) if e.fn.key == CHR and code is not None:
            return [Piece(lw.expr(code), True)]
    return [Piece(lw.expr(e))]


def concat(lw: Lowerer, parts: Sequence[ir.Atom]) -> ir.Atom:
    """Strings one after the other."""
    if not parts:
        return lw.text("")
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        return lw.call_method(STR, "_add", list(parts))[0]
    size: ir.Atom = integer(0)
    points: ir.Atom = integer(0)
    for part in parts:
        size = lw.op("add", [size, lw.whole(lw.item(part, 1))], ir.INT)
        points = lw.op("add", [points, lw.whole(lw.item(part, 2))], ir.INT)
    data: ir.Atom = lw.op("buffer_new", [size], BYTES)
    at: ir.Atom = integer(0)
    for part in parts:
        part_data, part_size = (lw.whole(lw.item(part, i)) for i in range(2))
        data = lw.op("buffer_copy", [data, at, part_data, integer(0), part_size], BYTES)
        at = lw.op("add", [at, part_size], ir.INT)
    return lw.op("struct", [data, size, points], ir.STR)


def _show_body(lw: Lowerer, t: Type, v: list[ir.Var]) -> Sequence[ir.Atom]:
    a = v[0]
    if derive_deep.is_head(lw.ctx, t) and derive_deep.family(lw.ctx, t):
        writer = derive_deep.Show(lw, t, lambda k, x: shown(lw, k, x, True))
        writer.push(t, a)
        return [writer.run(lambda x, arm: match_all(lw, x, arm))]
    match t:
        case TupleType(items):
            texts = [shown(lw, k, lw.whole(lw.item(a, i)), True) for i, k in enumerate(items)]
            return [_row(lw, "(", texts, ",)" if len(items) == 1 else ")")]
        case FnType():
            return [lw.text("<fn>")]
        case ModelType():
            return [lw.text(lw.ctx.types.show(t))]
        case Tensor():
            return [_show_tensor(lw, t, a)]
        case Named() if lw.ctx.types.is_enum(t):
            cases = dict(lw.ctx.types.cases(t))

            def arm(case: str, xs: Sequence[ir.Var]) -> list[ir.Atom]:
                if not xs:
                    return [lw.text(case)]
                return [_named_row(lw, case, [(n, k, x) for (n, k), x in zip(cases[case], xs, strict=True)])]

            return match_all(lw, a, arm, [ir.STR])
        case Named():
            fields = [(n, k, lw.whole(lw.item(a, i))) for i, (n, k) in enumerate(lw.ctx.types.fields(t))]
            return [_named_row(lw, lw.ctx.decls[t.key].name, fields)]
    raise AssertionError(f"no text of {t}")


def _row(lw: Lowerer, start: str, texts: Sequence[ir.Atom], end: str = ")") -> ir.Atom:
    parts: list[ir.Atom] = [lw.text(start)]
    for i, text in enumerate(texts):
        if i:
            parts.append(lw.text(", "))
        parts.append(text)
    return concat(lw, [*parts, lw.text(end)])


def _named_row(lw: Lowerer, name: str, fields: Sequence[tuple[str, Type, ir.Atom]]) -> ir.Atom:
    """As Python shows a dataclass."""
    parts: list[ir.Atom] = []
    for i, (field, kind, value) in enumerate(fields):
        parts.append(lw.text((", " if i else name + "(") + field + "="))
        parts.append(shown(lw, kind, value, True))
    return concat(lw, [*parts, lw.text(")" if fields else name + "()")])


def _show_tensor(lw: Lowerer, t: Tensor, a: ir.Atom) -> ir.Atom:
    """As nested lists."""
    rest = t.shape[1:]
    item: Type = Tensor(t.elem, rest) if rest else t.elem
    size = lw.op("dim", [a], ir.INT, axis=0)
    kinds = ("i",) + ("",) * len(rest)
    out = lw.fresh("out", STR, lw.text("["), True)

    def append(text: ir.Atom) -> None:
        grown = lw.call_method(STR, "_add", [lw.whole(lw.env[out.key]), text])[0]
        lw.env[out.key] = lw.apart(grown)

    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        i = state[0]
        lw.if_(lw.op("lt", [i, size], ir.BOOL), lambda: None, lambda: lw.leave(label, [out.key]))
        lw.if_(lw.op("gt", [i, integer(0)], ir.BOOL), lambda: append(lw.text(", ")), lambda: None)
        element = lw.op("index", [a, i], lw.ctx.types.inner(item), kinds=kinds)
        append(shown(lw, item, element, True))
        return [lw.op("add", [i, integer(1)], ir.INT)]

    lw.loop([out.key], [integer(0)], turn, ["i"])
    append(lw.text("]"))
    return lw.whole(lw.env[out.key])


