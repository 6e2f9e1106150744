"""A direction that a program gives for forward mode, and a derivative that a function of its own computes, has the form
of its value: tensors of the same shape, lists of the same length, the same cases of enums."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.autodiff import deep
from hybridc.autodiff.tangent import Tangents
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import (
    BOOL,
    INT,
    STR,
    Atom,
    Block,
    BufferT,
    EnumT,
    Fault,
    If,
    OptionT,
    Prim,
    StructT,
    TensorT,
    TupleT,
    Var,
    Yield,
)
from hybridc.core.types import parts

OTHER = "the derivative by a value has another shape than the value"


def check_direction(tangents: Tangents, b: Builder, value: Atom, direction: Atom) -> None:
    """A ValueError where it has not."""
    type = value.type
    if not tangents.active(type):
        return
    if isinstance(type, StructT) and isinstance(direction.type, TensorT):  # of a model: by its parameters
        value = b.op("get", [value], parts(type, tangents.program)[0], index=0)
        type = value.type
    match type:
        case Prim():
            return
        case TensorT():
            for axis, (mine, own) in enumerate(zip(t.static(value), t.static(direction), strict=True)):
                if mine is None or mine != own:
                    _require(b, t.dim(b, value, axis), t.dim(b, direction, axis))
        case TupleT() | StructT():
            kinds = parts(type, tangents.program)
            container = any(isinstance(k, BufferT) for k in kinds)
            for i, kind in enumerate(kinds):
                if kind == INT and container:  # how much of the buffer is in use
                    _require(b, b.op("get", [value], kind, index=i), b.op("get", [direction], kind, index=i))
                if tangents.active(kind):
                    check_direction(tangents, b, b.op("get", [value], kind, index=i),
                                    b.op("get", [direction], kind, index=i))
        case OptionT(item):
            there = b.op("is_some", [value], BOOL)
            _require(b, there, b.op("is_some", [direction], BOOL))

            def inside() -> Sequence[Atom]:
                check_direction(tangents, b, b.op("unwrap", [value], item), b.op("unwrap", [direction], item))
                return []

            tangents.choose(b, there, inside, lambda: [], [])
        case BufferT() | EnumT():
            deep.walk(tangents, b, CHECK, [value, direction])


def _check(tangents: Tangents, b: Builder, v: Sequence[Var]) -> Sequence[Atom]:
    (_buffers if isinstance(v[0].type, BufferT) else _enums)(tangents, b, *v)
    return []


def _require(b: Builder, mine: Atom, own: Atom) -> None:
    b.open()
    text = b.op("str", [], STR, text=OTHER)
    fault = b.close(Fault("ValueError", (text,), b.span))
    b.add(If((), b.op("eq", [mine, own], BOOL), Block((), Yield()), fault, b.span))


def _buffers(tangents: Tangents, b: Builder, value: Var, direction: Var) -> None:
    assert isinstance(value.type, BufferT)
    item = value.type.item
    count = b.op("minimum", [b.op("buffer_len", [x], INT) for x in (value, direction)], INT)

    def turn(i: Var, state: list[Var]) -> Sequence[Atom]:
        check_direction(tangents, b, b.op("buffer_get", [value, i], item), b.op("buffer_get", [direction, i], item))
        return []

    if not isinstance(item, Prim):
        tangents.count_up(b, count, [], turn)


def _enums(tangents: Tangents, b: Builder, value: Var, direction: Var) -> None:
    assert isinstance(value.type, EnumT)
    kind = value.type

    def arm(case: str, fields: tuple[Var, ...]) -> Sequence[Atom]:
        if any(tangents.active(v.type) for v in fields):
            for mine, own in zip(fields, tangents.expect_case(b, direction, kind, case), strict=True):
                check_direction(tangents, b, mine, own)
        return []

    def both() -> Sequence[Atom]:
        _require(b, b.op("tag", [value], INT), b.op("tag", [direction], INT))
        return tangents.match(b, value, arm, [])

    tangents.made(b, value, lambda: tangents.made(b, direction, both, lambda: [], []), lambda: [], [])


CHECK = deep.Walk("direction", lambda tangents, kind: ([kind, kind], []), _check)
