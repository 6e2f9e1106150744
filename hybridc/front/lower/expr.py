"""Expressions that are neither calls nor closures nor models' own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar as Parameter

from hybridc.base.dims import Dim
from hybridc.base.types import (
    FLOATS,
    STD_TYPES,
    STR,
    FnRef,
    ModelType,
    Named,
    Option,
    Prim,
    Tensor,
    TupleType,
    Type,
    list_of,
)
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.check import tree
from hybridc.front.lower import derive
from hybridc.front.lower import tensor as tensor_lower
from hybridc.front.lower.core import Lowerer, Parts, Value, lowers
from hybridc.front.lower.fits import refine
from hybridc.front.lower.static import as_config, static_or_none
from hybridc.front.lower.tensor_index import lower_index
from hybridc.front.lower.values import Values

ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow",
              "&": "bit_and", "|": "bit_or", "^": "bit_xor", "<<": "shl", ">>": "shr"}
COMPARISON = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
METHODS = {"+": "_add", "*": "_repeat", "&": "_and", "|": "_or", "-": "_sub", "^": "_xor"}
"""Operators of strings, lists and sets."""


# ---- constants and names ---------------------------------------------------------------------------------------------
@lowers(tree.Const)
def const(lw: Lowerer, e: tree.Const) -> Value:
    t = lw.concrete(e.type)
    if e.value is None:
        return lw.op("none", [], lw.type(t))
    if isinstance(t, Option):
        return lw.op("some", [lw.whole(const(lw, tree.Const(t.item, e.span, e.value)))], lw.type(t))
    if isinstance(e.value, str):
        return lw.text(e.value)
    assert isinstance(t, Prim), f"constant of type {t}"
    if t in FLOATS:
        return ir.Const(float(e.value), t)
    return ir.Const(e.value, t)


@lowers(tree.Local)
def local(lw: Lowerer, e: tree.Local) -> Value:
    if lw.ctx.models.is_part(lw, e):
        return lw.ctx.models.part(lw, e)
    return lw.read(e.var.key)


@lowers(tree.ConfigValueOf)
def config_value(lw: Lowerer, e: tree.ConfigValueOf) -> Value:
    """A configuration value as a constant of the program."""
    model = lw.concrete(e.model)
    assert isinstance(model, ModelType)
    decl = lw.ctx.decls[model.key]
    assert isinstance(decl, tree.ModelDecl)
    for param, value in zip(decl.config, model.config, strict=True):
        if param.name == e.name:
            return config_constant(lw, value, lw.concrete(e.type), e)
    return config_constant(lw, as_config(lw.ctx.models.let(lw, model, e.name)), lw.concrete(e.type), e)


def config_constant(lw: Lowerer, value: object, t: Type, e: tree.Typed) -> Value:
    match value:
        case Dim():
            number = lw.dim(value)
            return ir.Const(float(number.value), t) if t in FLOATS and isinstance(number, ir.Const) else number  # type: ignore[arg-type]
        case FnRef():
            return lw.value(tree.FnValue(t, e.span, value))
        case tuple() if isinstance(t, TupleType):
            items = [lw.whole(config_constant(lw, v, k, e)) for v, k in zip(value, t.items, strict=True)]
            return Parts(lw.type(t), tuple(items))
        case tuple():
            assert isinstance(t, Named)
            return make_list(lw, t, [lw.whole(config_constant(lw, v, t.args[0], e)) for v in value])  # type: ignore[arg-type]
        case None | bool() | float() | int() | str():
            return const(lw, tree.Const(t, e.span, value))
    raise AssertionError(f"configuration value {value!r}")


@lowers(tree.DimValue)
def dim_value(lw: Lowerer, e: tree.DimValue) -> Value:
    return lw.dim(e.dim)


# ---- operators -------------------------------------------------------------------------------------------------------
@lowers(tree.Unary)
def unary(lw: Lowerer, e: tree.Unary) -> Value:
    if isinstance(lw.concrete(e.type), Tensor):
        return tensor_lower.lower_unary(lw, e)
    value = lw.expr(e.operand)
    lw.b.span = e.span
    if e.op == "not":
        return lw.not_(value)
    if e.op == "-" and isinstance(value, ir.Const) and value.type in FLOATS:
        return ir.Const(-value.value, value.type)
    return value if e.op == "+" else lw.op({"-": "neg", "~": "bit_not"}[e.op], [value], value.type)


@lowers(tree.Binary)
def binary(lw: Lowerer, e: tree.Binary) -> Value:
    left_type, right_type = lw.concrete(e.left.type), lw.concrete(e.right.type)
    if e.op == "in":
        return contains(lw, e)
    if e.op == "@" or isinstance(lw.concrete(e.type), Tensor):
        return tensor_lower.lower_binary(lw, e)
    if e.op in ("==", "!="):
        none = tree.Const
        for side, other in ((e.left, e.right), (e.right, e.left)):
            if isinstance(side, none) and side.value is None:
                value = lw.expr(other)
                lw.b.span = e.span
                there = lw.op("is_some", [value], ir.BOOL)
                return there if e.op == "!=" else lw.not_(there)
        if left_type == STR:
            # What is asked of a configuration's texts is known.
            known = static_or_none(lw, e)
            if known is not None:
                return boolean(known)
    if e.op == "*" and (_single(e.left) or _single(e.right)):
        return repeated(lw, e)
    left, right = lw.expr(e.left), lw.expr(e.right)
    lw.b.span = e.span
    return operate(lw, e.op, left_type, right_type, left, right, lw.type(e.type))


def _single(e: tree.Expr) -> bool:
    return isinstance(e, tree.MakeList) and len(e.items) == 1


def repeated(lw: Lowerer, e: tree.Binary) -> Value:
    """`[x] * n` makes no list of one element first, so that it is seen how long the result is."""
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    first, second = (lw.expr(x.items[0] if isinstance(x, tree.MakeList) else x) for x in (e.left, e.right))
    lw.b.span = e.span
    item, times = (first, second) if _single(e.left) else (second, first)
    return lw.call_fn("std.list:_repeated", [item, times], t.args)[0]  # type: ignore[arg-type]


def operate(lw: Lowerer, op: str, left_type: Type, right_type: Type, left: ir.Atom, right: ir.Atom,
            out: ir.Type) -> Value:
    """A binary operator on scalars and on structural values."""
    if op in COMPARISON:
        if op in ("==", "!="):
            same = derive.equal(lw, left_type, left, right, negated=op == "!=")
            return same
        return compare(lw, op, left_type, left, right)
    if isinstance(left_type, Prim):
        if isinstance(right_type, Prim):
            return lw.op(ARITHMETIC[op], [left, right], out)
        left_type, left, right = right_type, right, left  # `3 * xs`
    assert isinstance(left_type, Named), f"{left_type} {op}"
    return lw.call_method(left_type, METHODS[op], [left, right])[0]


def compare(lw: Lowerer, op: str, t: Type, left: ir.Atom, right: ir.Atom) -> ir.Atom:
    """An order: of numbers by the operator, of anything else by `less`; of sets inclusion."""
    if isinstance(t, Prim):
        return lw.op(COMPARISON[op], [left, right], ir.BOOL)
    if isinstance(t, Named) and t.key == STD_TYPES["set"]:
        if op in (">", ">="):
            left, right = right, left
        inside = lw.call_method(t, "_subset", [left, right])[0]
        if op in ("<=", ">="):
            return inside
        sizes = [lw.call_method(t, "_len", [side])[0] for side in (left, right)]
        return lw.op("bit_and", [inside, lw.op("lt", sizes, ir.BOOL)], ir.BOOL)
    if op in (">", "<="):
        left, right = right, left
    less = derive.less(lw, t, left, right)
    return less if op in ("<", ">") else lw.not_(less)


def contains(lw: Lowerer, e: tree.Binary) -> Value:
    container = lw.concrete(e.right.type)
    item, whole = lw.expr(e.left), lw.expr(e.right)
    lw.b.span = e.span
    if isinstance(container, Tensor):
        return tensor_lower.lower_binary(lw, e)
    return lw.call_method(container, "_has", [whole, item])[0]


@lowers(tree.Chain)
def chain(lw: Lowerer, e: tree.Chain) -> Value:
    """`a < b <= c`, stopping at the first false."""
    def step(at: int, left: ir.Atom) -> ir.Atom:
        right = lw.expr(e.operands[at + 1])
        lw.b.span = e.span
        kinds = lw.concrete(e.operands[at].type), lw.concrete(e.operands[at + 1].type)
        if e.ops[at] in ("in", "not in"):
            inside = lw.call_method(kinds[1], "_has", [right, left])[0]
            ok: ir.Atom = inside if e.ops[at] == "in" else lw.not_(inside)
        else:
            ok = lw.whole(operate(lw, e.ops[at], *kinds, left, right, ir.BOOL))
        if at + 1 == len(e.ops):
            return ok
        return lw.if_(ok, lambda: [step(at + 1, right)], lambda: [boolean(False)], [ir.BOOL])[0]

    return step(0, lw.expr(e.operands[0]))


@lowers(tree.Logic)
def logic(lw: Lowerer, e: tree.Logic) -> Value:
    left = lw.expr(e.left)
    lw.b.span = e.span
    if isinstance(left, ir.Const):
        return lw.expr(e.right) if bool(left.value) == (e.op == "and") else left
    if e.op == "and":
        return lw.if_(left, lambda: [lw.expr(e.right)], lambda: [boolean(False)], [ir.BOOL])[0]
    return lw.if_(left, lambda: [boolean(True)], lambda: [lw.expr(e.right)], [ir.BOOL])[0]


@lowers(tree.Conditional)
def conditional(lw: Lowerer, e: tree.Conditional) -> Value:
    cond = lw.expr(e.cond)
    lw.b.span = e.span
    if isinstance(cond, ir.Const):
        return lw.value(e.then if cond.value else e.orelse)
    return lw.if_(cond, lambda: [lw.expr(e.then)], lambda: [lw.expr(e.orelse)], [lw.type(e.type)])[0]


@lowers(tree.Coalesce)
def coalesce(lw: Lowerer, e: tree.Coalesce) -> Value:
    option = lw.expr(e.option)
    lw.b.span = e.span
    assert isinstance(option.type, ir.OptionT)
    item = option.type.item
    there = lw.op("is_some", [option], ir.BOOL)
    if isinstance(lw.concrete(e.type), Option) and lw.concrete(e.option.type) == lw.concrete(e.type):
        return lw.if_(there, lambda: [option], lambda: [lw.expr(e.default)], [lw.type(e.type)])[0]
    return lw.if_(there, lambda: [lw.op("unwrap", [option], item)], lambda: [lw.expr(e.default)], [lw.type(e.type)])[0]


@lowers(tree.Cast)
def cast(lw: Lowerer, e: tree.Cast) -> Value:
    t = lw.concrete(e.type)
    if isinstance(t, Tensor):
        return tensor_lower.lower_cast(lw, e)
    value = lw.expr(e.operand)
    lw.b.span = e.span
    return convert(lw, value, t, checked=not e.implicit)


def convert(lw: Lowerer, value: ir.Atom, t: Type, checked: bool) -> ir.Atom:
    """A scalar as another scalar type."""
    assert isinstance(t, Prim)
    if value.type == t:
        return value
    if isinstance(value, ir.Const) and t in FLOATS and value.type not in FLOATS and abs(value.value) < 2 ** 53:
        return ir.Const(float(value.value), t)
    return lw.op("cast", [value], t, checked=checked)


# ---- options ---------------------------------------------------------------------------------------------------------
@lowers(tree.Some)
def some(lw: Lowerer, e: tree.Some) -> Value:
    return lw.op("some", [lw.expr(e.value)], lw.type(e.type))


@lowers(tree.Unwrap)
def unwrap(lw: Lowerer, e: tree.Unwrap) -> Value:
    option = lw.expr(e.value)
    assert isinstance(option.type, ir.OptionT)
    return lw.op("unwrap", [option], option.type.item)


@lowers(tree.Refine)
def refine_expr(lw: Lowerer, e: tree.Refine) -> Value:
    value = lw.expr(e.value)
    lw.b.span = e.span
    return refine(lw, value, lw.concrete(e.type), e.span, e.what)


# ---- aggregates ------------------------------------------------------------------------------------------------------
@lowers(tree.MakeTuple)
def make_tuple(lw: Lowerer, e: tree.MakeTuple) -> Value:
    t = lw.ctx.types.inner(lw.concrete(e.type))
    return Parts(t, tuple(lw.value(i) for i in e.items))


@lowers(tree.MakeStruct)
def make_struct(lw: Lowerer, e: tree.MakeStruct) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    decl = lw.ctx.decls[t.key]
    assert isinstance(decl, tree.StructDecl)
    items = fields_with_defaults(lw, t, decl, e.fields, decl.fields)
    return Parts(lw.ctx.types.inner(t), tuple(items))


@lowers(tree.MakeEnum)
def make_enum(lw: Lowerer, e: tree.MakeEnum) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    decl = lw.ctx.decls[t.key]
    assert isinstance(decl, tree.EnumDecl)
    case = next(c for c in decl.cases if c.name == e.case)
    values = [lw.whole(v) for v in fields_with_defaults(lw, t, decl, e.fields, case.fields)]
    lw.b.span = e.span
    return lw.op("enum", values, lw.ctx.types.inner(t), case=e.case)


def fields_with_defaults(lw: Lowerer, t: Named, decl: tree.StructDecl | tree.EnumDecl,
                         given: tuple[tree.Expr | None, ...], fields: tuple[tree.FieldDecl, ...]) -> list[Value]:
    values: list[Value] = []
    there = Lowerer(lw.ctx)
    for param, arg in zip(decl.params, t.args, strict=True):
        if isinstance(arg, Dim):
            there.consts[param.key] = arg
        else:
            there.type_args[param.key] = arg
    for e, field in zip(given, fields, strict=True):
        if e is not None:
            values.append(lw.value(e))
        else:
            assert field.default is not None
            values.append(default_value(lw, field.default, there))
    return values


def default_value(lw: Lowerer, default: tree.Expr, there: Values) -> Value:
    """A default, evaluated here, with what types and configuration are where it is declared."""
    if id(default) in lw.ctx.open_defaults:
        raise lw.refuse("HYB319", "this default is needed to make itself, without end", default.span)
    lw.ctx.open_defaults.add(id(default))
    saved = lw.type_args, lw.consts, lw.packs, lw.model, lw.self_type
    lw.type_args, lw.packs, lw.model, lw.self_type = there.type_args, there.packs, there.model, there.self_type
    lw.consts = {**lw.consts, **there.consts}
    try:
        return lw.value(default)
    finally:
        lw.type_args, lw.consts, lw.packs, lw.model, lw.self_type = saved
        lw.ctx.open_defaults.remove(id(default))


@lowers(tree.Field)
def field(lw: Lowerer, e: tree.Field) -> Value:
    t = lw.concrete(e.value.type)
    if isinstance(t, ModelType):
        return lw.ctx.models.field_of(lw, e)
    index = [name for name, _ in lw.ctx.types.fields(t)].index(e.name)  # type: ignore[arg-type]
    value = lw.value(e.value)
    lw.b.span = e.span
    return lw.item(value, index)


@lowers(tree.TupleItem)
def tuple_item(lw: Lowerer, e: tree.TupleItem) -> Value:
    if lw.ctx.models.is_part(lw, e):
        return lw.ctx.models.part(lw, e)
    return lw.item(lw.value(e.value), e.index)


@lowers(tree.TensorIndex)
def tensor_index(lw: Lowerer, e: tree.TensorIndex) -> Value:
    return lower_index(lw, e)


@lowers(tree.MakeTensor)
def make_tensor(lw: Lowerer, e: tree.MakeTensor) -> Value:
    return tensor_lower.make_tensor(lw, e)


MANY = 3
"""Entries of a map or set that is made by a function."""
LONG = 16
"""Items of a literal that go to their places as they come: of thousands that waited for the last one, each place that
may fault would have to say that all before are to be freed."""
Item = Parameter("Item")


# ---- containers ------------------------------------------------------------------------------------------------------
def make_list(lw: Lowerer, t: Named, items: list[ir.Atom]) -> Value:
    """A list of the items: a buffer of exactly their number."""
    return _filled(lw, t, len(items), items)


def _written(lw: Lowerer, t: Named, items: Sequence[Item], value: Callable[[Item], ir.Atom]) -> Value:
    """A list that the source writes out, at the span of the builder."""
    span = lw.b.span

    def values() -> Iterable[ir.Atom]:
        for item in items:
            found = value(item)
            lw.b.span = span
            yield found

    return _filled(lw, t, len(items), values() if len(items) >= LONG else list(values()))


def _filled(lw: Lowerer, t: Named, number: int, items: Iterable[ir.Atom]) -> Value:
    kind = ir.BufferT(lw.ctx.types.inner(t.args[0]))  # type: ignore[arg-type]
    data: ir.Atom = lw.op("buffer_new", [integer(number)], kind)
    for i, value in enumerate(items):
        data = lw.op("buffer_set", [data, integer(i), value], kind)
    return Parts(lw.ctx.types.inner(t), (data, integer(number)))


@lowers(tree.MakeList)
def make_list_expr(lw: Lowerer, e: tree.MakeList) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    lw.b.span = e.span
    return _written(lw, t, e.items, lw.expr)


def empty(lw: Lowerer, t: Named) -> Value:
    """An empty container: the default of each field of its struct."""
    decl = lw.ctx.decls[t.key]
    assert isinstance(decl, tree.StructDecl)
    if t.key == STD_TYPES["list"]:
        return make_list(lw, t, [])
    values = fields_with_defaults(lw, t, decl, tuple(None for _ in decl.fields), decl.fields)
    return Parts(lw.ctx.types.inner(t), tuple(values))


@lowers(tree.MakeMap)
def make_map(lw: Lowerer, e: tree.MakeMap) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    lw.b.span = e.span
    if len(e.items) >= MANY:
        pair = TupleType(t.args)  # type: ignore[arg-type]

        def entry(item: tuple[tree.Expr, tree.Expr]) -> ir.Atom:
            return lw.op("tuple", [lw.expr(part) for part in item], lw.ctx.types.inner(pair))

        return _made_of(lw, "std.map:map_from_wire", t, pair, e.items, entry)
    entries = [(lw.expr(k), lw.expr(v)) for k, v in e.items]
    lw.b.span = e.span
    whole = lw.whole(empty(lw, t))
    for key, value in entries:
        whole = lw.call_method(t, "_set", [whole, key, value])[-1]
    return whole


@lowers(tree.MakeSet)
def make_set(lw: Lowerer, e: tree.MakeSet) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, Named)
    lw.b.span = e.span
    if len(e.items) >= MANY:
        return _made_of(lw, "std.set:set_from_wire", t, t.args[0], e.items, lw.expr)  # type: ignore[arg-type]
    items = [lw.expr(i) for i in e.items]
    lw.b.span = e.span
    whole = lw.whole(empty(lw, t))
    for item in items:
        whole = lw.call_method(t, "add", [whole, item])[-1]
    return whole


def _made_of(
    lw: Lowerer, key: str, t: Named, item: Type, items: Sequence[Item], value: Callable[[Item], ir.Atom],
) -> Value:
    """What a function of the library makes of a list of items: shorter than the steps one by one."""
    types = [a for a in t.args if not isinstance(a, Dim)]
    return lw.call_fn(key, [lw.whole(_written(lw, list_of(item), items, value))], types)[0]


@lowers(tree.FString)
def fstring(lw: Lowerer, e: tree.FString) -> Value:
    parts = [piece.text(lw) for piece in derive.pieces(lw, e)]
    lw.b.span = e.span
    return derive.concat(lw, parts)
