"""Tangents of operators. A scalar operator's is the sum of what scalar_rules.py says for each argument, since its
derivative is a number for each element; an operator that is linear is applied to the tangents; few are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hybridc.autodiff.convert import give
from hybridc.autodiff.factors import others
from hybridc.autodiff.rules import UNSUPPORTED, Refused, moved, resized
from hybridc.autodiff.scalar_rules import SCALAR_ADJOINTS, Elem, Elementwise
from hybridc.autodiff.tangent import Adjoint, Tangents
from hybridc.autodiff.tensor_rules import first_of
from hybridc.base.immutable import replace
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Atom, BufferT, Const, EnumT, Op, Prim, TensorT, Var
from hybridc.core.types import elem, rank, type_key

if TYPE_CHECKING:
    from hybridc.autodiff.push import Push

Rule = Callable[["Push", Op], None]


def nothing(tangents: Tangents, b: Builder, like: Atom) -> Atom:
    """A zero of the form of a value that is a float, a tensor, or made of them."""
    return give(tangents, b, like, [tangents.zero(b, k) for k in tangents.leaves(like.type)])


# ---- scalar operators ------------------------------------------------------------------------------------------------
def _elementwise(p: Push, op: Op) -> None:
    name = str(op.attr("fn")) if op.op == "map" else op.op
    out = op.outs[0]
    m = Elementwise(p, op)
    total: Elem | None = None
    for i, rule in enumerate(SCALAR_ADJOINTS[name]):
        if rule is None or not p.is_active(op.args[i]) or p.of(op.args[i])[0] is None:
            continue
        d = Elem(m, p.tensor(op.args[i]), m.axes[i])
        one = m.op("cast", d, to=elem(out.type)) if name == "cast" else rule(m, d)
        total = one if total is None else total + one
    if total is None:
        p.set(out, [None])
        return
    x = total.atom
    if None in total.axes:
        x = t.broadcast(p.b, x, total.axes, p.sizes(out))
    p.set(out, [Adjoint(x, True)])


# ---- linear operators ------------------------------------------------------------------------------------------------
LINEAR = {
    "reshape": (0,), "transpose": (0,), "broadcast": (0,), "cumsum": (0,), "index": (0,), "update": (0, 1),
    "take": (0,), "put": (0, 2), "gather": (0,), "scatter": (0, 2), "concat": None, "windows": (0, 9), "tensor": None,
    "tensor_view": (0,), "fold": (0,), "unpool": (1,),
}  # fmt: skip
"""Operators on tensors that are linear in these arguments together, None: in all."""


def _same_of(p: Push, op: Op, args: Sequence[Atom]) -> Adjoint:
    """The operator itself, on tangents."""
    out = p.b.var(op.outs[0].type)
    p.b.add(replace(op, outs=(out,), args=tuple(args)))
    return Adjoint(out, True)


def _linear(p: Push, op: Op) -> None:
    places = LINEAR[op.op]
    args = [p.tensor(a) if places is None or i in places else a for i, a in enumerate(op.args)]
    p.set(op.outs[0], [_same_of(p, op, args)])


def _reduce(p: Push, op: Op) -> None:
    x, out, b = op.args[0], op.outs[0], p.b
    axes, fn = op.attr("axes"), op.attr("fn")
    assert isinstance(axes, tuple)
    d = p.tensor(x)
    count = rank(x.type)
    beside = [tuple(range(count)), t.left_out(count, axes)]
    if fn == "sum":
        p.set(out, [Adjoint(t.reduce(b, "sum", d, axes), True)])
    elif op.attr("first"):
        mine = first_of(b, x, out, axes)
        share = t.map(b, "select", [mine, d, Const(0.0, elem(x.type))], [beside[0], beside[0], (None,) * count])
        p.set(out, [Adjoint(t.reduce(b, "sum", share, axes), True)])
    elif fn in ("max", "min"):
        at = t.cast(b, t.map(b, "eq", [x, out], beside), elem(x.type))
        share = t.reduce(b, "sum", t.map(b, "mul", [at, d]), axes)
        p.set(out, [Adjoint(t.map(b, "div", [share, t.reduce(b, "sum", at, axes)]), True)])
    else:
        assert fn == "prod"
        each = others(p.tangents, b, x, out, axes)
        p.set(out, [Adjoint(t.reduce(b, "sum", t.map(b, "mul", [each, d]), axes), True)])


def _matmul(p: Push, op: Op) -> None:
    x, y = op.args
    total: Atom | None = None
    for i, a in enumerate((x, y)):
        if p.is_active(a) and p.of(a)[0] is not None:
            args = [p.tensor(x), y] if i == 0 else [x, p.tensor(y)]
            one = _same_of(p, op, args).atom
            total = one if total is None else t.map(p.b, "add", [total, one])
    p.set(op.outs[0], [None if total is None else Adjoint(total, True)])


def _items(p: Push, op: Op) -> None:
    """`stack` and `join` of a buffer, whose tangent may be shorter, or have elements without elements."""
    buffer, count = op.args
    kind = p.tangents.leaves(buffer.type)[0]
    tangents = p.tangents
    assert isinstance(kind, BufferT) and isinstance(buffer.type, BufferT)
    item = buffer.type.item

    def body(b: Builder, v: list[Var]) -> list[Atom]:
        values, d, n = v

        def turn(i: Var, state: list[Var]) -> list[Atom]:
            rest, one = tangents.take_at(b, state[0], i)
            if isinstance(item, TensorT):
                value = b.op("buffer_get", [values, i], item)
                one = b.op("shaped", [one, *t.dims(b, value)], item)
            return [rest, b.op("buffer_set", [state[1], i, one], kind)]

        return [*tangents.count_up(b, n, [d, b.op("buffer_new", [n], kind)], turn)[1:]]

    name = tangents.helper(
        f"tangents {type_key(item)}", [("values", buffer.type), ("d", kind), ("n", INT)], [kind], body)
    (full,) = p.b.call(name, [buffer, *p.filled(buffer), count], [kind])
    p.set(op.outs[0], [_same_of(p, op, [full, count])])


def _accumulate(p: Push, op: Op) -> None:
    x, y = op.args
    (dx,), (dy,) = p.of(x), p.of(y)
    if dx is None or dy is None:
        p.set(op.outs[0], [Adjoint((dx or dy).atom)] if dx or dy else [None])  # type: ignore[union-attr]
        return
    kind = p.tangents.leaves(op.outs[0].type)[0]
    p.set(op.outs[0], [Adjoint(p.b.op("accumulate", [dx.atom, dy.atom], kind))])


def _shaped(p: Push, op: Op) -> None:
    (d,) = p.of(op.args[0])
    p.set(op.outs[0], [None if d is None else Adjoint(d.atom)])


# ---- aggregates ------------------------------------------------------------------------------------------------------
def _together(p: Push, op: Op) -> None:
    p.set(op.outs[0], [d for a in op.args for d in p.of(a)])


def _parts(p: Push, op: Op) -> None:
    first = op.attr("index", 0)
    assert isinstance(first, int)
    leaves = p.of(op.args[0])
    for i, o in enumerate(op.outs):
        p.set(o, leaves[p.tangents.part(op.args[0].type, first + i)])


def _same(p: Push, op: Op) -> None:
    p.set(op.outs[0], p.of(op.args[0]))


def _enum(p: Push, op: Op) -> None:
    kind = op.outs[0].type
    assert isinstance(kind, EnumT)
    leaves = [x for a in op.args for x in p.filled(a)]
    p.set(op.outs[0], [Adjoint(p.tangents.join(p.b, kind, str(op.attr("case")), leaves))])


def _select(p: Push, op: Op) -> None:
    """Of an aggregate: leaf by leaf."""
    x, y = p.filled(op.args[1]), p.filled(op.args[2])
    p.set(op.outs[0], [Adjoint(p.b.op("select", [op.args[0], a, b], a.type)) for a, b in zip(x, y, strict=True)])


# ---- buffers ---------------------------------------------------------------------------------------------------------
def _item(a: Atom) -> BufferT:
    assert isinstance(a.type, BufferT)
    return a.type


def _unpacked(p: Push, buffer: Atom, packed: Atom) -> list[Adjoint | None]:
    return [Adjoint(x) for x in p.tangents.unpack(p.b, _item(buffer).item, packed)]


def _buffer_get(p: Push, op: Op) -> None:
    buffer, index = op.args
    (d,) = p.filled(buffer)
    packed = p.tangents.packed(_item(buffer).item)
    there = p.b.op("lt", [index, p.b.op("buffer_len", [d], INT)], BOOL)
    (found,) = p.tangents.choose(p.b, there, lambda: [p.b.op("buffer_get", [d, index], packed)],
                                 lambda: [p.tangents.zero(p.b, packed)], [packed])
    p.set(op.outs[0], _unpacked(p, buffer, found))


def _buffer_set(p: Push, op: Op) -> None:
    buffer, index, value = op.args
    (d,) = p.filled(buffer)
    if all(x is None for x in p.of(value)):
        p.set(op.outs[0], [Adjoint(p.tangents.take_at(p.b, d, index)[0])])
        return
    packed = p.tangents.pack(p.b, _item(buffer).item, p.filled(value))
    d = p.tangents.room(p.b, d, index)
    p.set(op.outs[0], [Adjoint(p.b.op("buffer_set", [d, index, packed], d.type))])


def _buffer_take(p: Push, op: Op) -> None:
    buffer, index = op.args
    (d,) = p.filled(buffer)
    rest, packed = p.tangents.take_at(p.b, d, index)
    p.set(op.outs[0], [Adjoint(rest)])
    if p.is_active(op.outs[1]):
        p.set(op.outs[1], _unpacked(p, buffer, packed))


def _buffer_resize(p: Push, op: Op) -> None:
    (d,) = p.filled(op.args[0])
    p.set(op.outs[0], [Adjoint(resized(p.tangents, p.b, d, op.args[1]))])


def _buffer_move(p: Push, op: Op) -> None:
    (d,) = p.filled(op.args[0])
    to, source, n = op.args[1:]
    p.set(op.outs[0], [Adjoint(moved(p.tangents, p.b, d, source, to, n))])


def _buffer_copy(p: Push, op: Op) -> None:
    target, at, source, start, count = op.args
    (d,), (others,) = p.filled(target), p.filled(source)
    kind, tangents = d.type, p.tangents
    assert isinstance(kind, BufferT)

    def body(b: Builder, v: list[Var]) -> list[Atom]:
        d, at, others, start, n = v
        last = b.op("sub", [b.op("add", [at, n], INT), integer(1)], INT)

        def written() -> list[Atom]:
            def turn(i: Var, state: list[Var]) -> list[Atom]:
                from_ = b.op("add", [start, i], INT)
                there = b.op("lt", [from_, b.op("buffer_len", [others], INT)], BOOL)
                (x,) = tangents.choose(b, there, lambda: [b.op("buffer_get", [others, from_], kind.item)],
                                       lambda: [tangents.zero(b, kind.item)], [kind.item])
                return [b.op("buffer_set", [state[0], b.op("add", [at, i], INT), x], kind)]

            return tangents.count_up(b, n, [tangents.room(b, d, last)], turn)  # type: ignore[return-value]

        return list(tangents.choose(b, b.op("gt", [n, integer(0)], BOOL), written, lambda: [d], [kind]))

    name = tangents.helper(f"tangent copy {type_key(kind)}", [
        ("d", kind), ("at", INT), ("source", kind), ("start", INT), ("n", INT)], [kind], body)
    p.set(op.outs[0], [Adjoint(x) for x in p.b.call(name, [d, at, others, start, count], [kind])])


PUSH: dict[str, Rule] = {
    **dict.fromkeys(LINEAR, _linear), "map": _elementwise, "reduce": _reduce, "matmul": _matmul, "stack": _items,
    "join": _items, "accumulate": _accumulate, "shaped": _shaped, "tuple": _together, "struct": _together,
    "get": _parts, "destruct": _parts, "enum": _enum, "some": _same, "unwrap": _same, "buffer_get": _buffer_get,
    "buffer_set": _buffer_set, "buffer_take": _buffer_take, "buffer_resize": _buffer_resize,
    "buffer_move": _buffer_move, "buffer_copy": _buffer_copy, **dict.fromkeys(SCALAR_ADJOINTS, _elementwise),
}  # fmt: skip


def apply(p: Push, op: Op) -> None:
    """The tangents of the results of an operator with active arguments."""
    if op.op in UNSUPPORTED:
        raise Refused(op, UNSUPPORTED[op.op])
    if op.op == "select" and not isinstance(op.outs[0].type, Prim):
        _select(p, op)
    else:
        PUSH[op.op](p, op)
