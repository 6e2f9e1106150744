"""Functions over values of types that may contain themselves: by calls for LEVELS levels, then with a queue instead of
recursion, so that a chain of a million links needs no deep stack.

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
LEVELS = 64
"""So many are gone down by calls before there is a queue."""


@dataclass(frozen=True)
class Walk:
    """`signature`: the types of the arguments and results for a head; `body`: what is done with one; `calls`: whether
    it goes down some levels by calls, which must not be where the depth of calls may be near its limit."""

    name: str
    signature: Callable[[Tangents, Type], tuple[Sequence[Type], Sequence[Type]]]
    body: Callable[[Tangents, Builder, Sequence[Var]], Sequence[Atom]]
    calls: bool = True


@dataclass(frozen=True)
class Levels:
    """A walk under way by calls."""

    of: Walk
    heads: Sequence[Type]
    level: Var

    def within(self, tangents: Tangents, b: Builder, args: Sequence[Atom]) -> Sequence[Atom]:
        """What the walk gives for a head that another one holds."""
        return _level(tangents, b, self.of, self.heads, args, b.op("add", [self.level, integer(1)], INT))


@dataclass(frozen=True)
class Item:
    """What stands for the values of one head: a case of an enum that has one for each, a tuple or the one value where
    there is one head only, which needs no block of memory."""

    heads: dict[str, Sequence[Type]]
    type: Type

    @staticmethod
    def named(program: Program, name: str, heads: dict[str, Sequence[Type]]) -> Item:
        kinds, *others = heads.values()
        if not others and kinds:
            return Item(heads, kinds[0] if len(kinds) == 1 else TupleT(tuple(kinds)))
        cases = ((case, tuple((f"v{k}", kind) for k, kind in enumerate(kinds))) for case, kinds in heads.items())
        program.enums[name] = EnumDef(name, tuple(cases))
        return Item(heads, EnumT(name))

    @property
    def alone(self) -> bool:
        """Does the queue hold the values themselves?"""
        return len(self.heads) == 1 and any(self.heads.values())

    def made(self, b: Builder, values: Sequence[Atom], case: str) -> Atom:
        if not self.alone:
            return b.op("enum", values, self.type, case=case)
        return values[0] if len(values) == 1 else b.op("tuple", values, self.type)

    def _parts(self, b: Builder, item: Var, case: str) -> tuple[Var, ...]:
        kinds = self.heads[case]
        return (item,) if len(kinds) == 1 else b.ops("destruct", [item], kinds)

    def look(
        self, tangents: Tangents, b: Builder, item: Var, arm: Callable[[str, tuple[Var, ...]], Sequence[Atom]],
        types: Sequence[Type],
    ) -> Sequence[Atom]:
        """What `arm` gives for the head that it is of, and its values."""
        if not self.alone:
            return tangents.match(b, item, arm, types)
        (case,) = self.heads
        return arm(case, self._parts(b, item, case))

    def expect(self, tangents: Tangents, b: Builder, item: Var, case: str) -> Sequence[Atom]:
        """The values, of a head that is known."""
        if self.alone:
            return self._parts(b, item, case)
        assert isinstance(self.type, EnumT)
        return tangents.expect_case(b, item, self.type, case)


@dataclass(frozen=True)
class Queue:
    """A walk under way over a family: `waiting` is what the queue holds, `done` are results. What is carried along
    (Tangents.carried) is the queue and its length on the way there, and the results and the place of the next one on
    the way back."""

    of: Walk
    heads: dict[Type, str]
    waiting: Item
    done: Item
    back: bool

    def within(self, tangents: Tangents, b: Builder, args: Sequence[Atom]) -> Sequence[Atom]:
        """What the walk gives for a head that another one holds."""
        case, kinds = self.heads[args[0].type], self.of.signature(tangents, args[0].type)[1]
        values, at = tangents.carried
        following = b.op("add", [at, integer(1)], INT)
        if self.back:
            values, found = b.ops("buffer_take", [values, at], [values.type, self.done.type])
            tangents.carried = values, following
            return self.done.expect(tangents, b, found, case)
        item = self.waiting.made(b, args, case)
        tangents.carried = tangents.push(b, values, at, item), following
        return [tangents.zero(b, k) for k in kinds]


def walk(tangents: Tangents, b: Builder, of: Walk, args: Sequence[Atom]) -> Sequence[Atom]:
    """What the walk gives for an enum or buffer, the first of its arguments."""
    head = args[0].type
    kinds, results = of.signature(tangents, head)
    queue = tangents.queue
    if queue is not None and queue.of is of and head in queue.heads:
        return queue.within(tangents, b, args)
    if isinstance(queue, Queue) and results and not queue.back:  # nobody looks at results on the way there
        return [tangents.zero(b, k) for k in results]
    own = family(tangents.program, head)

    def whole(b: Builder, v: list[Var]) -> Sequence[Atom]:
        if own and of.calls:
            return _level(tangents, b, of, own, v, integer(0))
        return _from(tangents, b, of, own, v) if own else of.body(tangents, b, v)

    name = tangents.helper(f"{of.name} {type_key(head)}", [("x", k) for k in kinds], results, whole)
    return b.call(name, args, results)


def _level(
    tangents: Tangents, b: Builder, of: Walk, own: Sequence[Type], args: Sequence[Atom], level: Atom
) -> Sequence[Atom]:
    """The results for a head of a family, at some level of calls."""
    kinds, results = of.signature(tangents, args[0].type)

    def whole(b: Builder, v: list[Var]) -> Sequence[Atom]:
        level, *values = v

        def by_calls() -> Sequence[Atom]:
            tangents.queue = Levels(of, own, level)
            found = of.body(tangents, b, values)
            tangents.queue = None
            return found

        few = b.op("lt", [level, integer(LEVELS)], BOOL)
        return tangents.choose(b, few, by_calls, lambda: _from(tangents, b, of, own, values), results)

    params = [("level", INT), *(("x", k) for k in kinds)]
    name = tangents.helper(f"{of.name} at a level of {type_key(args[0].type)}", params, results, whole)
    return b.call(name, [level, *args], results)


def within_itself(program: Program, type: Type) -> bool:
    """May a value hold others of its type?"""
    return type in _inside(program, type)


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
    kinds_of = [{case: of.signature(tangents, head)[i] for head, case in heads.items()} for i in range(2)]
    waiting, done = (Item.named(tangents.program, f"{title} {what}", kinds)
                     for what, kinds in zip(("waiting", "done"), kinds_of, strict=True))
    there, back = (Queue(of, heads, waiting, done, way) for way in (False, True))

    def whole(b: Builder, v: list[Var]) -> Sequence[Atom]:
        queue, size, starts = _there(tangents, b, there, v[0])
        return [_back(tangents, b, back, queue, size, starts)] if results else []

    head = args[0].type
    results = of.signature(tangents, head)[1]
    kinds = [done.type] if results else []
    name = tangents.helper(title, [("first", waiting.type)], kinds, whole)
    found = b.call(name, [waiting.made(b, args, heads[head])], kinds)
    return done.expect(tangents, b, found[0], heads[head]) if found else []


def _there(tangents: Tangents, b: Builder, way: Queue, first: Var) -> Sequence[Var]:
    """The queue once nothing waits any more, its length, and for each the place of the first one within it."""
    line = BufferT(way.waiting.type)
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

        way.waiting.look(tangents, b, b.op("buffer_get", [queue, i], way.waiting.type), look, [])
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
    kind = BufferT(way.done.type)

    def turn(i: Var, state: list[Var]) -> Sequence[Atom]:
        rest, item = b.ops("buffer_take", [state[0], i], [queue.type, way.waiting.type])
        tangents.queue, tangents.carried = way, (state[1], b.op("buffer_get", [starts, i], INT))
        (found,) = way.waiting.look(tangents, b, item, lambda case, fields: [
            way.done.made(b, way.of.body(tangents, b, fields), case)], [way.done.type])
        values, tangents.carried = tangents.carried[0], ()
        return [rest, b.op("buffer_set", [values, i, found], kind)]

    _, found = tangents.count_down(b, size, [queue, b.op("buffer_new", [size], kind)], turn)
    return b.op("buffer_get", [found, integer(0)], way.done.type)
