"""Between adjoints and derivatives as the program sees them: a derivative by a value of type T is a T, with the
adjoint where the value has floats and everything else as in the value."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.autodiff import deep
from hybridc.autodiff.tangent import Leaves, Tangents
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    BufferT,
    EnumT,
    OptionT,
    Prim,
    StructT,
    TensorT,
    TupleT,
    Var,
)
from hybridc.core.types import parts


def shaped(b: Builder, d: Atom, like: Atom) -> Atom:
    """A tensor's adjoint with the tensor's shape, zeros if it has no elements."""
    assert isinstance(like.type, TensorT) and isinstance(d.type, TensorT)
    if d.type.dims == like.type.dims and None not in d.type.dims:
        return d
    return b.op("shaped", [d, *t.dims(b, like)], TensorT(d.type.elem, like.type.dims))


def give(tangents: Tangents, b: Builder, value: Atom, leaves: Sequence[Atom]) -> Atom:
    """The derivative by `value` whose adjoint has these leaves."""
    type = value.type
    if not tangents.active(type):
        return value
    match type:
        case Prim():
            return leaves[0]
        case TensorT():
            return shaped(b, leaves[0], value)
        case TupleT() | StructT():
            fields = [
                give(tangents, b, b.op("get", [value], kind, index=i), leaves[tangents.part(type, i)])
                for i, kind in enumerate(parts(type, tangents.program))
            ]
            return b.op("tuple" if isinstance(type, TupleT) else "struct", fields, type)
        case OptionT(item):
            return tangents.choose(
                b, b.op("is_some", [value], BOOL),
                lambda: [b.op("some", [give(tangents, b, b.op("unwrap", [value], item), leaves)], type)],
                lambda: [value], [type])[0]
    return deep.walk(tangents, b, GIVE, [value, leaves[0]])[0]


def _give(tangents: Tangents, b: Builder, v: Sequence[Var]) -> Sequence[Atom]:
    return [(_give_buffer if isinstance(v[0].type, BufferT) else _give_enum)(tangents, b, *v)]


def _give_buffer(tangents: Tangents, b: Builder, value: Var, d: Var) -> Atom:
    type = value.type
    assert isinstance(type, BufferT)
    count = b.op("buffer_len", [value], INT)
    if tangents.packed(type.item) == type.item and isinstance(type.item, Prim):
        return b.op("buffer_resize", [d, count], type)
    item = type.item

    def turn(i: Var, state: list[Var]) -> Sequence[Atom]:
        d, out = state
        rest, packed = tangents.take_at(b, d, i)
        element = give(tangents, b, b.op("buffer_get", [value, i], item), tangents.unpack(b, item, packed))
        return [rest, b.op("buffer_set", [out, i, element], type)]

    return tangents.count_up(b, count, [d, b.op("buffer_new", [count], type)], turn)[1]


def _give_enum(tangents: Tangents, b: Builder, value: Var, d: Var) -> Atom:
    type = value.type
    assert isinstance(type, EnumT)

    def arm(case: str, fields: tuple[Var, ...]) -> Sequence[Atom]:
        leaves = tangents.split(b, d, type, case)
        given = [give(tangents, b, v, leaves[tangents.case_part(type, case, i)]) for i, v in enumerate(fields)]
        return [b.op("enum", given, type, case=case)]

    return tangents.made(b, value, lambda: tangents.match(b, value, arm, [type]), lambda: [value], [type])[0]


def absorb(tangents: Tangents, b: Builder, derivative: Atom) -> Leaves:
    """The leaves of a derivative that the program made."""
    type = derivative.type
    if not tangents.active(type):
        return []
    match type:
        case Prim() | TensorT():
            return [derivative]
        case TupleT() | StructT():
            return [
                leaf for i, kind in enumerate(parts(type, tangents.program))
                for leaf in absorb(tangents, b, b.op("get", [derivative], kind, index=i))
            ]
        case OptionT(item):
            kinds = tangents.leaves(item)
            return list(tangents.choose(
                b, b.op("is_some", [derivative], BOOL),
                lambda: absorb(tangents, b, b.op("unwrap", [derivative], item)),
                lambda: [tangents.zero(b, k) for k in kinds], kinds))
    return list(deep.walk(tangents, b, ABSORB, [derivative]))


def _absorb(tangents: Tangents, b: Builder, v: Sequence[Var]) -> Sequence[Atom]:
    return [(_absorb_buffer if isinstance(v[0].type, BufferT) else _absorb_enum)(tangents, b, v[0])]


def _absorb_buffer(tangents: Tangents, b: Builder, value: Var) -> Atom:
    type = value.type
    assert isinstance(type, BufferT)
    kind = tangents.leaves(type)[0]
    if kind == type:
        return value
    count = b.op("buffer_len", [value], INT)

    def turn(i: Var, state: list[Var]) -> Sequence[Atom]:
        leaves = absorb(tangents, b, b.op("buffer_get", [value, i], type.item))
        return [b.op("buffer_set", [state[0], i, tangents.pack(b, type.item, leaves)], kind)]

    return tangents.count_up(b, count, [b.op("buffer_new", [count], kind)], turn)[0]


def _absorb_enum(tangents: Tangents, b: Builder, value: Var) -> Atom:
    type = value.type
    assert isinstance(type, EnumT)

    def arm(case: str, fields: tuple[Var, ...]) -> Sequence[Atom]:
        leaves = [leaf for v in fields for leaf in absorb(tangents, b, v)]
        return [tangents.join(b, type, case, leaves)]

    kinds = tangents.leaves(type)
    return tangents.made(b, value, lambda: tangents.match(b, value, arm, kinds),
                         lambda: [tangents.zero(b, k) for k in kinds], kinds)[0]


GIVE = deep.Walk("derivative", lambda tangents, kind: ([kind, *tangents.leaves(kind)], [kind]), _give)
ABSORB = deep.Walk("adjoint of", lambda tangents, kind: ([kind], tangents.leaves(kind)), _absorb)
