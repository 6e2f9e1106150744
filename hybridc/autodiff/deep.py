"""Functions over values of types that may contain themselves: with a queue instead of recursion, so that a chain of a
million links needs no deep stack.

What such a function does with one value is written once, as if it were recursive; `walk` stands for the calls. A type's
*family* is what it contains that contains it, its *heads* the enums and buffers among these. A function of a family
goes along a queue that each head puts those within it on, in the order of the calls; then back from the last one to
the first, where the results of those within are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    BufferT,
    EnumDef,
    EnumT,
    Exit,
    OptionT,
    Program,
    StructT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts, type_key

if TYPE_CHECKING:
    from hybridc.autodiff.tangent import Tangents

FIRST_PLACES = 8


@dataclass(frozen=True)
class Walk:
    """`signature`: the types of the arguments and results for a head; `body`: what is done with one."""

    name: str
    signature: Callable[[Tangents, Type], tuple[Sequence[Type], Sequence[Type]]]
    body: Callable[[Tangents, Builder, Sequence[Var]], Sequence[Atom]]


@dataclass(frozen=True)
class Queue:
    """A walk under way over a family: those that wait are values of the enum `waiting`, results are of the enum `done`;
    each has a case for each head. What is carried along (Tangents.carried) is the queue and its length on the way
    there, and the results and the place of the next one on the way back."""

    of: Walk
    heads: dict[Type, str]
    waiting: EnumT
    done: EnumT
    back: bool

    def within(self, tangents: Tangents, b: Builder, args: Sequence[Atom]) -> Sequence[Atom]:
        """What the walk gives for a head that another one holds."""
        case, kinds = self.heads[args[0].type], self.of.signature(tangents, args[0].type)[1]
        values, at = tangents.carried
        following = b.op("add", [at, integer(1)], INT)
        if self.back:
            values, found = b.ops("buffer_take", [values, at], [values.type, self.done])
            tangents.carried = values, following
            return tangents.expect_case(b, found, self.done, case)
        item = b.op("enum", args, self.waiting, case=case)
        tangents.carried = tangents.push(b, values, at, item), following
        return [tangents.zero(b, k) for k in kinds]


def walk(tangents: Tangents, b: Builder, of: Walk, args: Sequence[Atom]) -> Sequence[Atom]:
    """What the walk gives for an enum or buffer, the first of its arguments."""
    head = args[0].type
    kinds, results = of.signature(tangents, head)
    queue = tangents.queue
    if queue is not None and queue.of is of and head in queue.heads:
        return queue.within(tangents, b, args)
    if queue is not None and results and not queue.back:  # nobody looks at results on the way there
        return [tangents.zero(b, k) for k in results]
    own = family(tangents.program, head)

    def whole(b: Builder, v: list[Var]) -> Sequence[Atom]:
        return _from(tangents, b, of, own, v) if own else of.body(tangents, b, v)

    name = tangents.helper(f"{of.name} {type_key(head)}", [("x", k) for k in kinds], results, whole)
    return b.call(name, args, results)


def family(program: Program, type: Type) -> list[Type]:
    """The heads of its family; none if it does not contain itself."""
    inside = _inside(program, type)
    if type not in inside:
        return []
    return [x for x in sorted(inside, key=type_key) if isinstance(x, EnumT | BufferT) and type in _inside(program, x)]


def _inside(program: Program, type: Type) -> set[Type]:
    """The types of all that a value may hold."""
    found: set[Type] = set()
    todo = _held(program, type)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += _held(program, one)
    return found


def _held(program: Program, type: Type) -> list[Type]:
    match type:
        case TupleT() | StructT():
            return list(parts(type, program))
        case OptionT(item) | BufferT(item):
            return [item]
        case EnumT(name):
            return [field for _, fields in program.enums[name].cases for _, field in fields]
    return []


def _from(tangents: Tangents, b: Builder, of: Walk, own: Sequence[Type], args: Sequence[Var]) -> Sequence[Atom]:
    """The results for a head of a family."""
    heads = {head: type_key(head) for head in own}
    title = f"{of.name} within {' '.join(heads.values())}"
    waiting, done = EnumT(f"{title} waiting"), EnumT(f"{title} done")
    for i, enum in enumerate((waiting, done)):
        cases = [(case, of.signature(tangents, head)[i]) for head, case in heads.items()]
        tangents.program.enums[enum.name] = EnumDef(enum.name, tuple(
            (case, tuple((f"v{k}", kind) for k, kind in enumerate(kinds))) for case, kinds in cases))
    there, back = (Queue(of, heads, waiting, done, way) for way in (False, True))

    def whole(b: Builder, v: list[Var]) -> Sequence[Atom]:
        queue, size, starts = _there(tangents, b, there, v[0])
        return [_back(tangents, b, back, queue, size, starts)] if results else []

    head = args[0].type
    results = of.signature(tangents, head)[1]
    name = tangents.helper(title, [("first", waiting)], [done] if results else [], whole)
    found = b.call(name, [b.op("enum", args, waiting, case=heads[head])], [done] if results else [])
    return tangents.expect_case(b, found[0], done, heads[head]) if found else []


def _there(tangents: Tangents, b: Builder, way: Queue, first: Var) -> Sequence[Var]:
    """The queue once nothing waits any more, its length, and for each the place of the first one within it."""
    line = BufferT(way.waiting)
    label = b.label()
    i, queue, size, starts = b.var(INT, "i"), b.var(line), b.var(INT), b.var(BufferT(INT))
    b.open()
    more = b.op("lt", [i, size], BOOL)

    def turn() -> Sequence[Atom]:
        following = tangents.push(b, starts, i, size)
        tangents.queue, tangents.carried = way, (queue, size)

        def look(case: str, fields: tuple[Var, ...]) -> Sequence[Atom]:
            way.of.body(tangents, b, fields)
            return []

        tangents.match(b, b.op("buffer_get", [queue, i], way.waiting), look, [])
        longer, tangents.carried = tangents.carried, ()
        return [b.op("add", [i, integer(1)], INT), *longer, following]

    b.open()
    again = b.close(Yield(tuple(turn())))
    outs = b.if_(more, again, Block((), Exit(label, (queue, size, starts))), [v.type for v in (i, queue, size, starts)])
    body = b.close(Yield(outs))
    alone = b.op("buffer_set", [b.op("buffer_new", [integer(FIRST_PLACES)], line), integer(0), first], line)
    inits: list[Atom] = [integer(0), alone, integer(1), tangents.zero(b, starts.type)]
    return b.loop(label, [i, queue, size, starts], inits, body, [line, INT, starts.type])


def _back(tangents: Tangents, b: Builder, way: Queue, queue: Var, size: Var, starts: Var) -> Atom:
    """The result for the first."""
    kind = BufferT(way.done)

    def turn(i: Var, state: list[Var]) -> Sequence[Atom]:
        rest, item = b.ops("buffer_take", [state[0], i], [queue.type, way.waiting])
        tangents.queue, tangents.carried = way, (state[1], b.op("buffer_get", [starts, i], INT))
        (found,) = tangents.match(b, item, lambda case, fields: [
            b.op("enum", way.of.body(tangents, b, fields), way.done, case=case)], [way.done])
        values, tangents.carried = tangents.carried[0], ()
        return [rest, b.op("buffer_set", [values, i, found], kind)]

    _, found = tangents.count_down(b, size, [queue, b.op("buffer_new", [size], kind)], turn)
    return b.op("buffer_get", [found, integer(0)], way.done)
