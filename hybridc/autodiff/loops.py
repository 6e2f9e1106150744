"""The reverse part of a loop: its turns from last to first. The adjoints of what it gives flow into the last turn only,
those of what a turn hands on come from the next.

A product with one row or column in each turn, of which the loop's matrix needs the derivative, is not made there: its
two vectors are kept, and the sum of all these matrices is one product after the loop. What is added to the adjoint of
an element that every turn reads is added up in a number, and to the element after the loop. Adjoints of buffers of
which the loop only reads elements are as long as these from the start, so adding to one needs no look at its length;
and those of tensors of which it reads parts, and of what it only updates, have their shapes from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hybridc.autodiff.heads import head_of
from hybridc.autodiff.tangent import Adjoint, More
from hybridc.core import tensor_build as t
from hybridc.core.builder import integer
from hybridc.core.ir import BOOL, Atom, Block, Const, Loop, Op, Parallel, Prim, TensorT, Type, Var, Yield
from hybridc.core.types import elem
from hybridc.core.walk import all_blocks, args_of, bound_in, free_vars, outs_of, statements

if TYPE_CHECKING:
    from hybridc.autodiff.region import Region
    from hybridc.autodiff.reverse import Context, Reverse

READS = ("buffer_get", "buffer_len")
TENSOR_READS = ("index", "take", "gather")
PARTS = ("get", "destruct", "unwrap")
LARGE = 256
"""Elements of a matrix for whose derivative this is worth while."""


@dataclass
class Turn:
    """Of the loop whose turn is under way; `depth` is that of the reverse part's blocks there."""

    region: Region
    index: Var
    count: Atom
    depth: int
    outside: frozenset[tuple[int, int]]
    """The leaves of adjoints that come from outside of the loop."""
    more: list[More] = field(default_factory=list)
    after: list[tuple[int, Callable[[Sequence[Var]], None]]] = field(default_factory=list)
    """What is done after the loop with so many of the values of `more`, in order."""


def add_product(r: Reverse, x: Atom, left: Atom, right: Atom) -> bool:
    """Keep two vectors whose outer product is to be added to the adjoint of `x` after the loop; False if it has to be
    added here."""
    turn = r.turn
    if turn is None or not isinstance(x, Var) or r.key(x, 0) not in turn.outside or r.b.depth != turn.depth:
        return False
    sizes = t.static(x)
    if len(sizes) != 2 or None in sizes or sizes[0] * sizes[1] < LARGE:  # type: ignore[operator]
        return False
    for part, n in zip((left, right), sizes, strict=True):
        assert n is not None
        kind = TensorT(elem(x.type), (None, n))
        rows = r.b.var(kind)
        row = t.reshape(r.b, part, [integer(n)])
        new = r.b.op("update", [rows, row, turn.index], kind, kinds=("i", ""), axes=(0,), fn="set")
        none = partial(t.full, r.b, Const(0.0, elem(x.type)), [turn.count, integer(n)])
        turn.more.append(More(rows, none, new))
    turn.after.append((2, lambda rows: r.give(x, t.matmul(r.b, rows[0], rows[1], True, False))))
    return True


def add_element(r: Reverse, buffer: Atom, index: Atom, d: Atom) -> bool:
    """Keep what is to be added to the adjoint of a number in a buffer, if all turns read the same one; False if it has
    to be added here."""
    turn = r.turn
    if turn is None or not isinstance(buffer, Var) or r.key(buffer, 0) not in turn.outside or r.b.depth != turn.depth:
        return False
    fixed = r.regions.index_of(index)
    if isinstance(fixed, Var) and turn.region in (r.regions.of[fixed.id], *r.regions.of[fixed.id].around()):
        return False
    assert isinstance(d.type, Prim)
    total = r.b.var(d.type)
    turn.more.append(More(total, partial(Const, 0.0, d.type), r.b.op("add", [total, d], d.type)))

    def add(found: Sequence[Var]) -> None:
        leaves = r.tangents.leaves(buffer.type)
        sums = r.env.pop(r.key(buffer, 0), None) or Adjoint(r.tangents.zero(r.b, leaves[0]))
        some = r.b.op("gt", [turn.count, integer(0)], BOOL)
        (new,) = r.tangents.choose(
            r.b, some, lambda: [r.tangents.add_at(r.b, sums.atom, r.need(fixed), found[0], sums.sure)],
            lambda: [sums.atom], leaves)
        r.add(buffer, 0, Adjoint(new, sums.sure))

    turn.after.append((1, add))
    return True


def reverse_loop(r: Reverse, s: Loop, context: Callable[..., Context]) -> None:
    outs = [r.pop(o) for o in s.outs]
    if not any(d is not None for leaves in outs for d in leaves):
        return
    region = r.regions.within[id(s.body)]
    assert region.count is not None
    head = head_of(s, r.active)
    if head is not None and r.stack is not None and r.stack.within(statements(Block(head.first, Yield()))):
        head = None  # the last turn leaves records too
    region.head = head
    turns = r.need(region.count)
    outside = r.outside(s.body, s.params)
    b, tangents = r.b, r.tangents
    given: list[Type] = []
    state: list[Atom] = []
    handed = r.leaf_types(s.params)
    stays = {p for p in s.params if head is not None and p.id in r.active and r.regions.stays(p)}

    def ended(p: Var) -> list[Atom]:
        """The adjoint of a parameter, complete."""
        found = r.pop(p)
        if p not in stays:
            return r.filled(found, p.type)
        return [_whole(r, found[0] or Adjoint(tangents.zero(b, tangents.leaves(p.type)[0])), p)]

    if head is not None:  # the last turn does nothing but give these
        for v, d in zip(head.values, outs, strict=True):
            r.add_all(v, d)
        state += [x for p in s.params if p.id in r.active for x in ended(p)]
        handed = [k for p in s.params if p.id in r.active
                  for k in ((p.type,) if p in stays and isinstance(p.type, TensorT) else tangents.leaves(p.type))]
    else:
        given = r.leaf_types(s.outs)
        state += [x for o, d in zip(s.outs, outs, strict=True) if o.id in r.active for x in r.filled(d, o.type)]
        state += [tangents.zero(b, k) for k in handed]
    read = {**_only_read(r, s), **_parts_read(r, s)}
    whole = [read.get(r.key(v, k)) for v, k, _ in outside]

    def gathered(place: tuple[Var, int, Type], of: Var | None) -> Atom:
        """What has been added to an adjoint from outside."""
        d = r.so_far(*place)
        return d.atom if of is None else _whole(r, d, of)

    state += [gathered(place, of) for place, of in zip(outside, whole, strict=True)]
    env, around = r.env, r.turn
    first, last = len(given), len(given) + len(handed)
    more: list[More] = []

    def turn(i: Var, values: list[Var]) -> list[Atom]:
        r.turn = Turn(region, i, turns, b.depth, frozenset(r.key(v, k) for v, k, _ in outside), more)
        r.env = {(v.id, k): Adjoint(x, of is not None)
                 for (v, k, _), x, of in zip(outside, values[last:], whole, strict=True)}
        r.mark(region, i)
        yields = r.grouped(s.params, values[first:last], stays)
        if head is not None:
            r.sequence(head.turn, s.body.tail, None, yields)
        else:
            r.sequence(s.body.stmts, s.body.tail, context(s.label, r.grouped(s.outs, values[:first])), yields)
        new = [tangents.zero(b, k) for k in given]
        for p in s.params:
            if p.id in r.active:
                new += ended(p)
        after.extend(r.turn.after)
        r.turn = around
        return new + [gathered(place, of) for place, of in zip(outside, whole, strict=True)]

    after: list[tuple[int, Callable[[Sequence[Var]], None]]] = []
    kinds = [*given, *handed]
    kinds += [of.type if of is not None and isinstance(of.type, TensorT) else kind
              for (_, _, kind), of in zip(outside, whole, strict=True)]
    found = tangents.count_down(b, turns, state, turn, kinds, more)
    r.env = env
    for (v, k, _), x, of in zip(outside, found[last:], whole, strict=False):
        r.env[v.id, k] = Adjoint(x, of is not None)
    for init, leaves in zip(s.inits, r.grouped(s.params, found[first:last], stays), strict=True):
        r.add_all(init, leaves)
    at = len(kinds)
    for count, use in after:
        use(found[at : at + count])
        at += count


def _only_read(r: Reverse, s: Loop) -> dict[tuple[int, int], Var]:
    """Buffers from outside of which the loop only reads elements, by the place of their adjoints."""
    found: dict[tuple[int, int], Var] = {}
    others: set[tuple[int, int]] = set()
    within = r.regions.within[id(s.body)]

    def used(atoms: Iterable[Atom]) -> None:
        for a in atoms:
            if isinstance(a, Var) and a.id in r.active:
                others.update(r.key(a, k) for k in range(len(r.tangents.leaves(a.type))))

    for block in all_blocks(s.body):
        for stmt in block.stmts:
            first, *rest = args_of(stmt) or (None,)
            if not isinstance(stmt, Op) or stmt.op not in (*READS, *PARTS):
                used(args_of(stmt))
                continue
            used(a for a in rest if a is not None)
            if stmt.op in READS and isinstance(first, Var) and first.id in r.active:
                region: Region | None = r.regions.of[first.id]
                while region is not None and region is not within:
                    region = region.parent
                if region is None:
                    found.setdefault(r.key(first, 0), first)
        used(block.tail.values)
    for stmt in statements(s.body):
        if isinstance(stmt, Parallel):  # it adds to sums of its own
            used(free_vars(stmt.body))
    return {key: v for key, v in found.items() if key not in others}


def _parts_read(r: Reverse, s: Loop) -> dict[tuple[int, int], Var]:
    """Tensors from outside of which the loop reads parts, by the place of their adjoints; not parts of vectors, to
    whose adjoints it adds."""
    makers, found = r.regions.makers, {}
    defined = {v for block in all_blocks(s.body) for stmt in block.stmts for v in (*outs_of(stmt), *bound_in(stmt))}
    for stmt in statements(s.body):
        x = stmt.args[0] if isinstance(stmt, Op) and stmt.op in TENSOR_READS else None
        if isinstance(x, Var) and x.id in r.active and x not in defined and x not in s.params:
            if x.id not in makers or makers[x.id].op != "tensor_view":
                found[r.key(x, 0)] = x
    return found


def _whole(r: Reverse, d: Adjoint, of: Var) -> Atom:
    """The adjoint of a tensor or buffer, with its shape or as long as that."""
    if d.sure or isinstance(of.type, TensorT):
        return r.shaped(d, of)
    return r.tangents.room(r.b, d.atom, t.sub(r.b, r.regions.length(of), integer(1)))
