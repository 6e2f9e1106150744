"""Adjoints of aggregates, enums, options and buffers, and the table of all rules: each operator of Core has one, gives
nothing that carries a derivative, or says why it has none."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.autodiff import elements
from hybridc.autodiff.loops import add_element
from hybridc.autodiff.reverse import Reverse
from hybridc.autodiff.scalar_rules import elementwise
from hybridc.autodiff.tangent import Adjoint, Tangents
from hybridc.autodiff.tensor_rules import TENSOR_ADJOINTS
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Atom, BufferT, EnumT, Op, Prim, Type, Var
from hybridc.core.types import type_key
from hybridc.core.walk import DERIVATIVES


class Refused(Exception):
    """There is no derivative; at the operator's place."""

    def __init__(self, op: Op, why: str):
        super().__init__(why)
        self.op = op
        self.why = why


# ---- aggregates ------------------------------------------------------------------------------------------------------
def _together(r: Reverse, op: Op) -> None:
    leaves = r.pop(op.outs[0])
    kind = op.outs[0].type
    for i, a in enumerate(op.args):
        r.add_all(a, leaves[r.tangents.part(kind, i)])


def _part(r: Reverse, op: Op) -> None:
    """The adjoint of a part is kept in that of the whole (Reverse.place)."""


def _enum(r: Reverse, op: Op) -> None:
    kind, case = op.outs[0].type, str(op.attr("case"))
    assert isinstance(kind, EnumT)
    (d,) = r.pop(op.outs[0])
    if d is not None:
        leaves = [Adjoint(x) for x in r.tangents.split(r.b, d.atom, kind, case)]
        for i, a in enumerate(op.args):
            r.add_all(a, leaves[r.tangents.case_part(kind, case, i)])


def _same(r: Reverse, op: Op) -> None:
    r.add_all(op.args[0], r.pop(op.outs[0]))


def _select(r: Reverse, op: Op) -> None:
    """Of an aggregate: leaf by leaf. (Of a number: scalar_rules.py.)"""
    cond = r.need(op.args[0])
    for k, d in enumerate(r.pop(op.outs[0])):
        if d is not None:
            zero = r.tangents.zero(r.b, d.atom.type)
            r.add(op.args[1], k, Adjoint(r.b.op("select", [cond, d.atom, zero], d.atom.type)))
            r.add(op.args[2], k, Adjoint(r.b.op("select", [cond, zero, d.atom], d.atom.type)))


# ---- buffers ---------------------------------------------------------------------------------------------------------
def _item(a: Atom) -> Type:
    assert isinstance(a.type, BufferT)
    return a.type.item


def _buffer_get(r: Reverse, op: Op) -> None:
    buffer, index = op.args
    leaves = r.pop(op.outs[0])
    if all(d is None for d in leaves) or not r.is_active(buffer):
        return
    item = _item(buffer)
    assert isinstance(buffer, Var)
    if isinstance(item, Prim) and leaves[0] is not None and add_element(r, buffer, index, leaves[0].atom):
        return
    elements.add(r, buffer, index, {k: d.atom for k, d in enumerate(leaves) if d is not None})


def _buffer_set(r: Reverse, op: Op) -> None:
    buffer, index, value = op.args
    (d,) = r.pop(op.outs[0])
    if d is None:
        return
    rest, packed = r.tangents.take_at(r.b, d.atom, r.need(index), d.sure)
    r.add(buffer, 0, Adjoint(rest, d.sure, index))
    if r.is_active(value):
        r.add_all(value, [Adjoint(x) for x in r.tangents.unpack(r.b, _item(buffer), packed)])


def _buffer_take(r: Reverse, op: Op) -> None:
    buffer, index = op.args
    (d,), leaves = r.pop(op.outs[0]), r.pop(op.outs[1])
    if d is None and all(x is None for x in leaves):
        return
    item = _item(buffer)
    d = d or Adjoint(r.tangents.zero(r.b, r.tangents.leaves(buffer.type)[0]))
    sums = d.atom
    if d.hole != index:
        sums = r.tangents.take_at(r.b, sums, r.need(index), d.sure)[0]
    if any(x is not None for x in leaves):
        if not d.sure:
            sums = r.tangents.room(r.b, sums, r.need(index))
        packed = r.tangents.pack(r.b, item, r.filled(leaves, item))
        sums = r.b.op("buffer_set", [sums, r.need(index), packed], sums.type)
    r.add(buffer, 0, Adjoint(sums, d.sure))


def resized(tangents: Tangents, b: Builder, d: Atom, size: Atom) -> Atom:
    """A buffer of adjoints without what is beyond `size`."""
    kind = d.type

    def body(b: Builder, v: list[Var]) -> list[Atom]:
        sums, n = v
        longer = b.op("gt", [b.op("buffer_len", [sums], INT), n], BOOL)
        return list(tangents.choose(
            b, longer, lambda: [b.op("buffer_resize", [sums, n], kind)], lambda: [sums], [kind]))

    name = tangents.helper(f"adjoint resize {type_key(kind)}", [("d", kind), ("n", INT)], [kind], body)
    return b.call(name, [d, size], [kind])[0]


def _buffer_resize(r: Reverse, op: Op) -> None:
    """What was added is no more; what was cut off was 0."""
    buffer = op.args[0]
    (d,) = r.pop(op.outs[0])
    if d is None or not isinstance(buffer, Var) or not r.is_active(buffer):
        return
    before = r.regions.look(buffer, "buffer_len", INT)
    r.add_leaf(buffer, 0, resized(r.tangents, r.b, d.atom, before))


def moved(tangents: Tangents, b: Builder, d: Atom, source: Atom, to: Atom, count: Atom) -> Atom:
    """A buffer of adjoints with `count` of them moved; what is left is 0."""
    kind = d.type

    def body(b: Builder, v: list[Var]) -> list[Atom]:
        sums, source, to, n = v

        def moved() -> list[Atom]:
            last = b.op("sub", [b.op("add", [b.op("maximum", [source, to], INT), n], INT), integer(1)], INT)
            return [b.op("buffer_move", [tangents.room(b, sums, last), to, source, n], kind)]

        return list(tangents.choose(b, b.op("gt", [n, integer(0)], BOOL), moved, lambda: [sums], [kind]))

    name = tangents.helper(
        f"adjoint move {type_key(kind)}", [("d", kind), ("source", INT), ("to", INT), ("n", INT)], [kind], body)
    return b.call(name, [d, source, to, count], [kind])[0]


def _buffer_move(r: Reverse, op: Op) -> None:
    """Moved back; what was moved over is 0."""
    buffer, *places = op.args
    (d,) = r.pop(op.outs[0])
    if d is not None:
        to, source, count = map(r.need, places)
        r.add_leaf(buffer, 0, moved(r.tangents, r.b, d.atom, to, source, count))


def _buffer_copy(r: Reverse, op: Op) -> None:
    target, at, source, start, count = op.args
    (d,) = r.pop(op.outs[0])
    if d is None:
        return
    kind, tangents = d.atom.type, r.tangents

    def body(b: Builder, v: list[Var]) -> list[Atom]:
        sums, at, others, start, n = v

        def turn(i: Var, state: list[Var]) -> list[Atom]:
            rest, x = tangents.take_at(b, state[0], b.op("add", [at, i], INT))
            return [rest, tangents.add_at(b, state[1], b.op("add", [start, i], INT), x)]

        return list(tangents.count_down(b, n, [sums, others], turn))

    name = tangents.helper(f"adjoint copy {type_key(kind)}", [
        ("d", kind), ("at", INT), ("source", kind), ("start", INT), ("n", INT)], [kind, kind], body)
    active = isinstance(source, Var) and r.is_active(source)
    others = r.pop_or_zero(source, 0, kind) if active else tangents.zero(r.b, kind)  # type: ignore[arg-type]
    rest, more = r.b.call(name, [d.atom, r.need(at), others, r.need(start), r.need(count)], [kind, kind])
    r.add_leaf(target, 0, rest)
    r.add_leaf(source, 0, more)


Rule = Callable[[Reverse, Op], None]
ADJOINTS: dict[str, Rule] = {
    "tuple": _together, "struct": _together, "get": _part, "destruct": _part, "enum": _enum, "some": _same,
    "unwrap": _part, "buffer_get": _buffer_get, "buffer_set": _buffer_set, "buffer_take": _buffer_take,
    "buffer_resize": _buffer_resize, "buffer_move": _buffer_move, "buffer_copy": _buffer_copy,
}  # fmt: skip
UNSUPPORTED = {
    **dict.fromkeys(DERIVATIVES, "the pass has written it out"),
    "bitcast": "the bits of a number have no derivative",
    "reshaped": "ownership comes after differentiation",
    "part": "ownership comes after differentiation",
    "sort_words": "`packs` is no in what is differentiated",
    **dict.fromkeys(("buffer_scan", "scans"), "they are made after differentiation"),
    "buffer_prefetch": "it is taken out of what is differentiated",
    "buffer_of": "ownership comes after differentiation",
    "buffer_at": "ownership comes after differentiation",
    "buffer_part": "ownership comes after differentiation",
    "buffer_cut": "ownership comes after differentiation",
    "kept_part": "ownership comes after differentiation",
    "add_product": "it is made after differentiation",
    "to_device": "placement comes after differentiation",
    "to_host": "placement comes after differentiation",
    "orthogonal": "making a matrix orthogonal has no derivative here",
}


def apply(r: Reverse, op: Op) -> None:
    """What the operator adds to the adjoints of its arguments."""
    if op.op in UNSUPPORTED:
        raise Refused(op, UNSUPPORTED[op.op])
    if op.op in ADJOINTS:
        ADJOINTS[op.op](r, op)
        return
    if op.op == "select" and not isinstance(op.outs[0].type, Prim):
        _select(r, op)
        return
    out = op.outs[0]
    (d,) = r.pop(out)
    if d is None:
        return
    if op.op in TENSOR_ADJOINTS:
        TENSOR_ADJOINTS[op.op](r, op, r.shaped(d, out))
    else:
        elementwise(r, op, d.atom)

