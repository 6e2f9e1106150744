"""The reverse part of `parallel`: its turns in a fixed number of chunks, which depend on nothing but their number. Each
chunk has sums of its own, which are added up in order, so the result is the same for any number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.autodiff.tangent import Adjoint, Adjoints
from hybridc.core.builder import integer
from hybridc.core.ir import BOOL, INT, Atom, BufferT, Parallel, TupleT, Var, Yield

if TYPE_CHECKING:
    from hybridc.autodiff.reverse import Reverse

CHUNK_BITS = 3


def reverse_parallel(r: Reverse, s: Parallel) -> None:
    (d,) = r.pop(s.out)
    outside = r.outside(s.body)
    if d is None or not outside:
        return
    region = r.regions.within[id(s.body)]
    count = r.need(s.count)
    b, tangents = r.b, r.tangents
    kinds = [kind for _, _, kind in outside]
    item = s.out.type.item  # type: ignore[union-attr]
    packed = tangents.packed(item)
    before = [r.pop_or_zero(*key) for key in outside]
    env = r.env
    chunk = b.var(INT, "chunk")

    def bound(of: Atom) -> Atom:
        return b.op("shr", [b.op("mul", [of, count], INT), integer(CHUNK_BITS)], INT)

    b.open()
    low = bound(chunk)
    high = bound(b.op("add", [chunk, integer(1)], INT))

    def turn(k: Var, sums: list[Var]) -> list[Atom]:
        i = b.op("add", [low, k], INT)
        there = b.op("lt", [i, b.op("buffer_len", [d.atom], INT)], BOOL)
        (element,) = tangents.choose(
            b, there, lambda: [b.op("buffer_get", [d.atom, i], packed)], lambda: [tangents.zero(b, packed)], [packed])
        r.env = {(v.id, leaf): Adjoint(x) for (v, leaf, _), x in zip(outside, sums, strict=True)}
        r.mark(region, i)
        leaves: Adjoints = [Adjoint(x) for x in tangents.unpack(b, item, element)]
        r.sequence(s.body.stmts, s.body.tail, None, [leaves])
        return [r.pop_or_zero(*key) for key in outside]

    zeros = [tangents.zero(b, k) for k in kinds]
    sums = tangents.count_down(b, b.op("sub", [high, low], INT), zeros, turn, kinds)
    body = b.close(Yield((b.op("tuple", sums, TupleT(tuple(kinds))),)))
    parts = b.parallel(BufferT(TupleT(tuple(kinds))), chunk, integer(1 << CHUNK_BITS), body)
    r.env = env

    def total(i: Var, state: list[Var]) -> list[Atom]:
        more = b.ops("destruct", [b.op("buffer_get", [parts, i], TupleT(tuple(kinds)))], kinds)
        return [tangents.add(b, x, y, k) for x, y, k in zip(state, more, kinds, strict=True)]

    found = tangents.count_up(b, integer(1 << CHUNK_BITS), before, total, kinds)
    for (v, leaf, _), x in zip(outside, found, strict=True):
        r.env[v.id, leaf] = Adjoint(x)
