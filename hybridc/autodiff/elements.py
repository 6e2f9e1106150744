"""What is added to the adjoint of an element of a buffer is added where that lies, also to a part of it alone: to one
field of a struct, to one number of a list within a list. A derivative of the whole element, zero but for that part,
would take time for all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hybridc.autodiff.tangent import Adjoint, Tangents
from hybridc.core.builder import Builder
from hybridc.core.ir import INT, Atom, BufferT, Fn, Op, Prim, StructT, TupleT, Type, Var
from hybridc.core.types import parts, type_key
from hybridc.core.walk import statements_in

if TYPE_CHECKING:
    from hybridc.autodiff.reverse import Reverse

Step = tuple[Atom, int]
"""An element of a buffer, and a leaf of its adjoint."""


def wholes(fn: Fn, tangents: Tangents) -> dict[int, tuple[Var, int]]:
    """Of a variable that is a part of another one: that, and the first of its leaves there. So what is added to the
    part, in a loop say, is added to the whole at once."""
    found: dict[int, tuple[Var, int]] = {}
    for s in statements_in(fn):
        if isinstance(s, Op) and s.op in ("get", "destruct", "unwrap") and isinstance(s.args[0], Var):
            first = s.attr("index", 0)
            assert isinstance(first, int)
            for i, o in enumerate(s.outs):
                start = 0 if s.op == "unwrap" else tangents.part(s.args[0].type, first + i).start
                found[o.id] = (s.args[0], start)
    return found


def place_of(r: Reverse, buffer: Var) -> tuple[Var, list[Step]]:
    """Where to add to the adjoint of a buffer: to that of another one, through these steps, where it is a part of an
    element that was read in the same turn, so that each of its elements would be as much work as all."""
    steps: list[Step] = []
    while True:
        number, leaf, whole = r.place(buffer, 0)
        op = r.regions.makers.get(number)
        if op is None or op.op != "buffer_get" or (number, leaf) in r.env or not _same_turn(r, whole):
            return buffer, steps
        holder = op.args[0]
        if not r.is_active(holder):
            return buffer, steps
        assert isinstance(holder, Var)
        steps.insert(0, (op.args[1], leaf))
        buffer = holder


def _same_turn(r: Reverse, v: Var) -> bool:
    """Was it made in the turn, or outside of loops in the function, that is under way?"""
    region = r.regions.of[v.id]
    while region.kind in ("arm", "scope") and region.parent is not None:
        region = region.parent
    return region is (r.regions.root if r.turn is None else r.turn.region)


def add(r: Reverse, buffer: Var, index: Atom, added: Mapping[int, Atom]) -> None:
    """Add to leaves of the adjoint of an element."""
    whole, steps = place_of(r, buffer)
    kind = r.tangents.leaves(whole.type)[0]
    sums = r.env.pop(r.key(whole, 0), None) or Adjoint(r.tangents.zero(r.b, kind))
    path = [(r.need(i), leaf) for i, leaf in steps]
    # In loops it is at hand for the passes that take rows out of them.
    here = r.turn is not None and len(path) == 1
    new = _added(r.tangents, r.b, sums, path, r.need(index), added, here)
    r.add(whole, 0, Adjoint(new, sums.sure))


def take(r: Reverse, v: Var, leaf: int) -> None:
    """Before a loop or call adds to the adjoint of a list to which nothing has been added alone: if it is an element,
    what has been added to it in the adjoint of the whole is taken out, and goes back where the element was read. So
    the sum goes on; else a list of zeros would be made each time, and merged."""
    number, _, whole = r.place(v, leaf)
    op = r.regions.makers.get(number)
    if op is None or op.op != "buffer_get" or not r.is_active(op.args[0]):
        return
    holder, index = op.args
    assert isinstance(holder, Var)
    key = r.key(holder, 0)
    if key not in r.env:
        take(r, holder, 0)
    sums = r.env.get(key)
    if sums is not None:
        rest, item = r.tangents.take_at(r.b, sums.atom, r.need(index), sums.sure)
        r.env[key] = Adjoint(rest, sums.sure, sums.hole)
        r.add_all(whole, [Adjoint(x) for x in r.tangents.unpack(r.b, whole.type, item)])


def _added(
    tangents: Tangents, b: Builder, sums: Adjoint, path: Sequence[Step], index: Atom, added: Mapping[int, Atom],
    here: bool = False,
) -> Atom:
    """`here`: without a function of its own."""
    kind = sums.atom.type
    assert isinstance(kind, BufferT)
    steps, leaves = [leaf for _, leaf in path], list(added)
    if here:
        places = [*((i, leaf) for i, leaf in path), (index, -1)]
        return _within(tangents, b, sums.atom, places, added, sums.sure)

    def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
        d, *rest = v
        places, values = rest[: len(steps) + 1], rest[len(steps) + 1 :]
        return [_within(tangents, b, d, list(zip(places, [*steps, -1], strict=True)),
                        dict(zip(leaves, values, strict=True)), sums.sure)]

    name = "adjoint add{} {} at {} of {}".format(
        " there" if sums.sure else "", ", ".join(map(str, leaves)), ".".join(map(str, steps)) or "it", type_key(kind))
    params = [("d", kind), *(("i", INT) for _ in (*path, index)), *(("x", x.type) for x in added.values())]
    helper = tangents.helper(name, params, [kind], body)  # type: ignore[arg-type]
    return b.call(helper, [sums.atom, *(i for i, _ in path), index, *added.values()], [kind])[0]


def _within(
    tangents: Tangents, b: Builder, d: Atom, path: Sequence[Step], added: Mapping[int, Atom], there: bool
) -> Atom:
    (index, leaf), *deeper = path
    kind = d.type
    assert isinstance(kind, BufferT)
    item = kind.item
    if not there:
        d = tangents.room(b, d, index)
    if isinstance(item, Prim):
        total = b.op("add", [b.op("buffer_get", [d, index], item), added[0]], item)
        return b.op("buffer_set", [d, index, total], kind)
    without, old = b.ops("buffer_take", [d, index], [kind, item])
    kinds: Sequence[Type] = parts(item, tangents.program) if isinstance(item, TupleT | StructT) else [item]
    fields: list[Atom] = list(b.ops("destruct", [old], kinds)) if isinstance(item, TupleT | StructT) else [old]
    if deeper:
        fields[leaf] = _within(tangents, b, fields[leaf], deeper, added, False)
    else:
        for k, x in added.items():
            fields[k] = tangents.add(b, fields[k], x, kinds[k])
    whole = fields[0] if item == kinds[0] else b.op("struct" if isinstance(item, StructT) else "tuple", fields, item)
    return b.op("buffer_set", [without, index, whole], kind)
