"""Types of adjoints, and the functions that work on them.

The adjoint of a value is its *leaves*, kept apart: for each float a float, for each float tensor a tensor (without
elements where it is zero), for each buffer that holds floats a buffer of adjoints (what is beyond its length is zero),
for each enum that holds floats an option of an enum with the same cases (none where it is zero). Ints, bools and text
have no leaves. So the zero of a leaf's type is the zero adjoint, and nothing is made before it is needed.

Inside a buffer or an enum the leaves of an element are *packed*: one leaf as it is, several as a tuple, those of a
struct, and of what holds itself, as the struct `d NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hybridc.autodiff import deep
from hybridc.base.immutable import immutable
from hybridc.base.names import unused
from hybridc.base.types import FLOATS
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Arm,
    Atom,
    Block,
    BufferT,
    Const,
    EnumDef,
    EnumT,
    Exit,
    Fault,
    Fn,
    If,
    OptionT,
    Prim,
    Program,
    StructDef,
    StructT,
    TensorT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts, type_key, without_dims

Leaves = list[Atom]
FIRST_RECORDS = 8


@immutable(frozen=True, slots=True)
class Adjoint:
    """A leaf under way. Of a tensor or buffer: `sure` if it has the shape of its variable, or is as long; else it may
    be without elements, or shorter. Of a buffer: `hole` is the index of an element that is zero."""

    atom: Atom
    sure: bool = False
    hole: Atom | None = None


@dataclass(frozen=True)
class More:
    """A value more that each turn of a loop replaces; `init` makes it before the loop."""

    param: Var
    init: Callable[[], Atom]
    value: Atom


Adjoints = list[Adjoint | None]
"""The leaves of one value under way; None is zero."""


class Tangents:
    """Adjoints of one program; types and functions are added to it as they are asked for."""

    def __init__(self, program: Program):
        self.program = program
        self._leaves: dict[Type, tuple[Type, ...]] = {}
        self._active: dict[Type, bool] = {}
        self._made: dict[str, str] = {}
        self.carried: tuple[Atom, ...] = ()
        """What all that is being made hands on beside its own results: through branches, matches and loops."""
        self.queue: deep.Queue | deep.Levels | None = None
        """The walk whose function is being made."""

    # ---- types
    def active(self, type: Type) -> bool:
        """Does a value of the type hold floats anywhere?"""
        found = self._active.get(type)
        if found is None:
            seen: set[Type] = set()
            todo = [type]
            found = False
            while todo and not found:
                at = todo.pop()
                if at in seen:
                    continue
                seen.add(at)
                match at:
                    case Prim():
                        found = at in FLOATS
                    case TensorT(elem, _):
                        found = elem in FLOATS
                    case TupleT() | StructT():
                        todo += parts(at, self.program)
                    case OptionT(item) | BufferT(item):
                        todo.append(item)
                    case EnumT(name):
                        todo += [f for _, fields in self.program.enums[name].cases for _, f in fields]
            self._active[type] = found
        return found

    def leaves(self, type: Type) -> tuple[Type, ...]:
        """The leaves of the adjoint of a value of the type."""
        found = self._leaves.get(type)
        if found is None:
            found = self._leaves[type] = self._find_leaves(type)
        return found

    def _find_leaves(self, type: Type) -> tuple[Type, ...]:
        if not self.active(type):
            return ()
        match type:
            case Prim():
                return (type,)
            case TensorT():
                return (without_dims(type),)
            case TupleT() | StructT():
                return tuple(leaf for item in parts(type, self.program) for leaf in self.leaves(item))
            case OptionT(item):
                return self.leaves(item)
            case BufferT(item):
                return (BufferT(self.packed(item)),)
            case EnumT(name):
                return (OptionT(EnumT(self._enum(name))),)
        raise TypeError(type)

    def _enum(self, name: str) -> str:
        adjoint = f"d {name}"
        if adjoint not in self.program.enums:
            self.program.enums[adjoint] = EnumDef(adjoint, ())  # it may hold itself
            cases = []
            for case, fields in self.program.enums[name].cases:
                kinds = [k for _, f in fields for k in self.leaves(f)]
                cases.append((case, tuple((f"d{i}", k) for i, k in enumerate(kinds))))
            self.program.enums[adjoint] = EnumDef(adjoint, tuple(cases))
        return adjoint

    def packed(self, type: Type) -> Type:
        """The type of an adjoint as an element of a buffer."""
        if isinstance(type, StructT) or self._endless(type):
            name = f"d {type.name if isinstance(type, StructT) else type_key(type)}"
            if name not in self.program.structs:
                self.program.structs[name] = StructDef(name, ())  # it may hold itself, through a buffer
                fields = tuple((f"d{i}", k) for i, k in enumerate(self.leaves(type)))
                self.program.structs[name] = StructDef(name, fields)
            return StructT(name)
        kinds = self.leaves(type)
        return kinds[0] if len(kinds) == 1 else TupleT(tuple(kinds))

    def _endless(self, type: Type) -> bool:
        """A tuple or an option within itself, through a buffer of a struct: only what has a name may be."""
        return isinstance(type, TupleT | OptionT) and deep.within_itself(self.program, type)

    def part(self, type: Type, index: int) -> slice:
        """Which leaves of a tuple or struct are those of one field."""
        fields = parts(type, self.program)
        start = sum(len(self.leaves(f)) for f in fields[:index])
        return slice(start, start + len(self.leaves(fields[index])))

    def case_part(self, type: EnumT, case: str, index: int) -> slice:
        """Which fields of the adjoint of a case are the leaves of one field."""
        fields = [f for name, fs in self.program.enums[type.name].cases if name == case for _, f in fs]
        start = sum(len(self.leaves(f)) for f in fields[:index])
        return slice(start, start + len(self.leaves(fields[index])))

    # ---- leaves together and apart
    def pack(self, b: Builder, type: Type, leaves: Sequence[Atom]) -> Atom:
        kind = self.packed(type)
        if isinstance(kind, StructT):
            return b.op("struct", leaves, kind)
        return b.op("tuple", leaves, kind) if isinstance(kind, TupleT) and len(leaves) != 1 else leaves[0]

    def unpack(self, b: Builder, type: Type, packed: Atom) -> Leaves:
        kind = self.packed(type)
        if isinstance(kind, StructT) or isinstance(kind, TupleT):
            return list(b.ops("destruct", [packed], parts(kind, self.program)))
        return [packed]

    # ---- functions on adjoints
    def helper(self, name: str, params: Sequence[tuple[str, Type]], results: Sequence[Type],
               body: Callable[[Builder, list[Var]], Sequence[Atom]]) -> str:
        """A function that the reverse part calls, made when first asked for."""
        if name not in self._made:
            symbol = self._made[name] = unused(name, self.program.fns)
            b = Builder()
            vs = [b.var(k, n) for n, k in params]
            placeholder = Fn(symbol, tuple(vs), tuple(results), NEVER, symbol, True)
            self.program.fns[symbol] = placeholder  # it may call itself
            carried, self.carried, queue, self.queue = self.carried, (), self.queue, None
            b.open()
            values = body(b, vs)
            self.carried, self.queue = carried, queue
            block = b.close(Exit(0, tuple(values)))
            self.program.fns[symbol] = Fn(symbol, tuple(vs), tuple(results), block, symbol, True)
        return self._made[name]

    def zero(self, b: Builder, kind: Type) -> Atom:
        return Const(0.0, kind) if isinstance(kind, Prim) else b.op("zero", [], kind)

    def add(self, b: Builder, x: Atom, y: Atom, kind: Type) -> Atom:
        """The sum of two adjoints of the (adjoint) type `kind`; x is written in place."""
        match kind:
            case Prim():
                if isinstance(x, Const) and x.value == 0:
                    return y
                return x if isinstance(y, Const) and y.value == 0 else b.op("add", [x, y], kind)
            case TensorT():
                known = x.type if None not in x.type.dims else y.type  # type: ignore[union-attr]
                sure = None not in x.type.dims and None not in y.type.dims  # type: ignore[union-attr]
                return b.op("accumulate", [x, y], known if sure else without_dims(kind))
            case BufferT():
                return deep.walk(self, b, MERGE, [x, y])[0]
            case OptionT(item):
                def both() -> list[Atom]:
                    nodes = [b.op("unwrap", [each], item) for each in (x, y)]
                    return [b.op("some", deep.walk(self, b, MERGE, nodes), kind)]

                return self.choose(b, b.op("is_some", [x], BOOL), lambda: self.choose(
                    b, b.op("is_some", [y], BOOL), both, lambda: [x], [kind]), lambda: [y], [kind])[0]
            case TupleT() | StructT():
                fields = parts(kind, self.program)
                xs, ys = b.ops("destruct", [x], fields), b.ops("destruct", [y], fields)
                sums = [self.add(b, p, q, f) for p, q, f in zip(xs, ys, fields, strict=True)]
                return b.op("tuple" if isinstance(kind, TupleT) else "struct", sums, kind)
        raise TypeError(kind)

    def add_at(self, b: Builder, buffer: Atom, index: Atom, value: Atom, there: bool = False) -> Atom:
        """The buffer of adjoints with `value` added to an element; `there`: it is known to be long enough."""
        kind = buffer.type
        assert isinstance(kind, BufferT)
        item = kind.item

        def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
            d, i, x = v
            d = d if there else self._room(b, d, i)
            if isinstance(item, Prim):
                total = b.op("add", [b.op("buffer_get", [d, i], item), x], item)
                return [b.op("buffer_set", [d, i, total], kind)]
            without, old = b.ops("buffer_take", [d, i], [kind, item])
            return [b.op("buffer_set", [without, i, self.add(b, old, x, item)], kind)]

        known = " there" if there else ""
        name = self.helper(f"adjoint add{known} {type_key(item)}", [("d", kind), ("i", INT), ("x", item)], [kind], body)
        return b.call(name, [buffer, index, value], [kind])[0]

    def room(self, b: Builder, buffer: Atom, index: Atom) -> Atom:
        """The buffer, long enough to have element `index`."""
        kind = buffer.type
        name = self.helper(f"adjoint room {type_key(kind)}", [("d", kind), ("i", INT)], [kind],
                           lambda b, v: [self._room(b, *v)])
        return b.call(name, [buffer, index], [kind])[0]

    def _room(self, b: Builder, d: Var, i: Var) -> Var:
        length = b.op("buffer_len", [d], INT)
        there = b.op("lt", [i, length], BOOL)
        b.open()
        more = b.op("maximum", [b.op("add", [i, integer(1)], INT), b.op("mul", [length, integer(2)], INT)], INT)
        longer = b.close(Yield((b.op("buffer_resize", [d, more], d.type),)))
        b.open()
        return b.if_(there, b.close(Yield((d,))), longer, [d.type])[0]

    def take_at(self, b: Builder, buffer: Atom, index: Atom, there: bool = False) -> tuple[Atom, Atom]:
        """The buffer with element `index` zero, and the element; `there` as in `add_at`."""
        kind = buffer.type
        assert isinstance(kind, BufferT)
        item = kind.item
        if there:
            rest, old = b.ops("buffer_take", [buffer, index], [kind, item])
            return rest, old

        def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
            d, i = v
            there = b.op("lt", [i, b.op("buffer_len", [d], INT)], BOOL)
            b.open()
            yes = b.close(Yield(b.ops("buffer_take", [d, i], [kind, item])))
            b.open()
            zero = self.zero(b, item)
            return b.if_(there, yes, b.close(Yield((d, zero))), [kind, item])

        name = self.helper(f"adjoint take {type_key(item)}", [("d", kind), ("i", INT)], [kind, item], body)
        found = b.call(name, [buffer, index], [kind, item])
        return found[0], found[1]

    def count_down(self, b: Builder, count: Atom, state: Sequence[Atom],
                   body: Callable[[Var, list[Var]], Sequence[Atom]], types: Sequence[Type] = (),
                   more: Sequence[More] = ()) -> list[Var]:
        """`for i in reversed(range(count))` over values that each turn replaces; those that `body` adds to `more` come
        after them."""
        return self._count(b, count, state, body, types, True, more)

    def count_up(self, b: Builder, count: Atom, state: Sequence[Atom],
                 body: Callable[[Var, list[Var]], Sequence[Atom]], types: Sequence[Type] = ()) -> list[Var]:
        return self._count(b, count, state, body, types, False)

    def _count(self, b: Builder, count: Atom, state: Sequence[Atom], body: Callable[[Var, list[Var]], Sequence[Atom]],
               types: Sequence[Type], down: bool, more: Sequence[More] = ()) -> list[Var]:
        """It counts up in either case, and leaves at its head, as loops do that can be vectorised."""
        kinds = list(types) or [s.type for s in state]
        label = b.label()
        turn = b.var(INT, "turn")
        params = [b.var(k) for k in kinds]
        carried = self.carried
        own = [b.var(x.type) for x in carried]
        self.carried = tuple(own)
        last = b.op("sub", [count, integer(1)], INT) if down else None
        b.open()
        i = turn if last is None else b.op("sub", [last, turn], INT, "i")
        new = list(body(i, params[:]))
        for each in more:
            params.append(each.param)
            kinds.append(each.param.type)
            new.append(each.value)
        params += own
        kinds += [x.type for x in own]
        new += self.carried
        following = b.op("add", [turn, integer(1)], INT)
        rest = b.close(Yield((following, *new)))
        inits = [*state, *(each.init() for each in more), *carried]
        b.open()
        going_on = b.op("lt", [turn, count], BOOL)
        b.add(If((), going_on, Block((), Yield()), Block((), Exit(label, tuple(params))), b.span))
        for stmt in rest.stmts:
            b.add(stmt)
        return list(self._carried_from(b.loop(label, [turn, *params], [integer(0), *inits], b.close(rest.tail), kinds),
                                       len(kinds) - len(carried)))

    def push(self, b: Builder, stack: Atom, count: Atom, record: Atom) -> Var:
        """A buffer of records, of which `count` are in use, with one more."""
        kind = stack.type
        assert isinstance(kind, BufferT)

        def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
            records, n, x = v
            full = b.op("eq", [n, b.op("buffer_len", [records], INT)], BOOL)

            def grown() -> list[Atom]:
                more = b.op("maximum", [b.op("mul", [n, integer(2)], INT), integer(FIRST_RECORDS)], INT)
                return [b.op("buffer_resize", [records, more], kind)]

            (longer,) = self.choose(b, full, grown, lambda: [records], [kind])
            return [b.op("buffer_set", [longer, n, x], kind)]

        name = self.helper(
            f"tape push {type_key(kind.item)}", [("records", kind), ("n", INT), ("x", kind.item)], [kind], body)
        return b.call(name, [stack, count, record], [kind])[0]

    def pairs_apart(self, first: Type, second: Type) -> str:
        """The function that takes a buffer of pairs to two buffers."""
        both = TupleT((first, second))

        def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
            def turn(i: Var, state: list[Var]) -> list[Atom]:
                rest, pair = b.ops("buffer_take", [state[0], i], [BufferT(both), both])
                x, y = b.ops("destruct", [pair], [first, second])
                return [rest, b.op("buffer_set", [state[1], i, x], BufferT(first)),
                        b.op("buffer_set", [state[2], i, y], BufferT(second))]

            n = b.op("buffer_len", v, INT)
            state = [v[0], b.op("buffer_new", [n], BufferT(first)), b.op("buffer_new", [n], BufferT(second))]
            return self.count_up(b, n, state, turn)[1:]

        return self.helper(f"tape split {type_key(both)}", [("pairs", BufferT(both))],
                           [BufferT(first), BufferT(second)], body)

    def choose(self, b: Builder, cond: Atom, then: Callable[[], Sequence[Atom]], orelse: Callable[[], Sequence[Atom]],
               types: Sequence[Type]) -> tuple[Var, ...]:
        (first, second), more = self._arms(b, [then, orelse])
        return self._carried_from(b.if_(cond, first, second, [*types, *more]), len(types))

    def made(self, b: Builder, value: Atom, then: Callable[[], Sequence[Atom]], orelse: Callable[[], Sequence[Atom]],
             types: Sequence[Type]) -> tuple[Var, ...]:
        """`then` for a case of an enum; `orelse` for what a buffer has beyond the elements that its list put there."""
        return self.choose(b, b.op("made", [value], BOOL), then, orelse, types)

    def match(self, b: Builder, value: Atom, arm: Callable[[str, tuple[Var, ...]], Sequence[Atom]],
              types: Sequence[Type]) -> tuple[Var, ...]:
        """An arm for each case, given the case and its fields."""
        assert isinstance(value.type, EnumT)
        cases = [(case, self.case_fields(b, value.type, case)) for case, _ in self.program.enums[value.type.name].cases]
        blocks, more = self._arms(b, [partial(arm, case, fields) for case, fields in cases])
        arms = [Arm(case, fields, block) for (case, fields), block in zip(cases, blocks, strict=True)]
        return self._carried_from(b.match(value, arms, [*types, *more]), len(types))

    def _arms(self, b: Builder, runs: Sequence[Callable[[], Sequence[Atom]]]) -> tuple[list[Block], list[Type]]:
        """Blocks that give results, and after them what is carried along if one of them changes it."""
        before, made, after = self.carried, [], []
        for run in runs:
            self.carried = before
            b.open()
            values = tuple(run())
            made.append((b.close(Yield(values)), values))
            after.append(self.carried)
        self.carried = before
        changed = any(each != before for each in after)
        blocks = [Block(block.stmts, Yield((*values, *each))) if changed else block
                  for (block, values), each in zip(made, after, strict=True)]
        return blocks, [x.type for x in before] if changed else []

    def _carried_from(self, outs: tuple[Var, ...], own: int) -> tuple[Var, ...]:
        if outs[own:]:
            self.carried = outs[own:]
        return outs[:own]

    def case_fields(self, b: Builder, enum: EnumT, case: str) -> tuple[Var, ...]:
        """Variables for the fields of a case."""
        fields = next(fs for name, fs in self.program.enums[enum.name].cases if name == case)
        return tuple(b.var(k, n) for n, k in fields)

    def expect_case(self, b: Builder, value: Atom, enum: EnumT, case: str) -> tuple[Var, ...]:
        """The fields of a value that can only be of one case: an adjoint has the case of its value."""
        arms = []
        kinds: list[Type] = []
        for name, _ in self.program.enums[enum.name].cases:
            fields = self.case_fields(b, enum, name)
            if name == case:
                kinds = [f.type for f in fields]
                arms.append(Arm(name, fields, Block((), Yield(fields))))
            else:
                arms.append(Arm(name, fields, NEVER))
        return b.match(value, arms, kinds)

    # ---- enums
    def split(self, b: Builder, d: Atom, type: EnumT, case: str) -> Leaves:
        """The leaves of the fields of a case, from the adjoint of the enum."""
        kind = self.leaves(type)[0]
        assert isinstance(kind, OptionT) and isinstance(kind.item, EnumT)
        enum = kind.item
        kinds = [k for name, fs in self.program.enums[enum.name].cases if name == case for _, k in fs]
        if not kinds:
            return []
        found = self.choose(
            b, b.op("is_some", [d], BOOL),
            lambda: self.expect_case(b, b.op("unwrap", [d], enum), enum, case),
            lambda: [self.zero(b, k) for k in kinds], kinds)
        return list(found)

    def join(self, b: Builder, type: EnumT, case: str, leaves: Sequence[Atom]) -> Atom:
        """The adjoint of an enum from the leaves of the fields of its case."""
        kind = self.leaves(type)[0]
        assert isinstance(kind, OptionT)
        return b.op("some", [b.op("enum", leaves, kind.item, case=case)], kind)


def _merge(tangents: Tangents, b: Builder, v: Sequence[Var]) -> Sequence[Atom]:
    x, y = v
    return [_merge_buffers(tangents, b, x, y) if isinstance(x.type, BufferT) else _merge_enums(tangents, b, x, y)]


def _merge_buffers(tangents: Tangents, b: Builder, x: Var, y: Var) -> Atom:
    kind = x.type
    assert isinstance(kind, BufferT)
    item = kind.item

    def each(i: Var, state: list[Var]) -> Sequence[Atom]:
        rest, old = b.ops("buffer_take", [state[0], i], [kind, item])
        total = tangents.add(b, old, b.op("buffer_get", [y, i], item), item)
        return [b.op("buffer_set", [rest, i, total], kind)]

    def merged() -> Sequence[Atom]:
        count = b.op("buffer_len", [y], INT)
        return tangents.count_up(b, count, [tangents.room(b, x, b.op("sub", [count, integer(1)], INT))], each)

    empty = b.op("eq", [b.op("buffer_len", [x], INT), integer(0)], BOOL)
    return tangents.choose(b, empty, lambda: [y], merged, [kind])[0]


def _merge_enums(tangents: Tangents, b: Builder, x: Var, y: Var) -> Atom:
    kind = x.type
    assert isinstance(kind, EnumT)

    def arm(case: str, mine: tuple[Var, ...]) -> Sequence[Atom]:
        theirs = tangents.expect_case(b, y, kind, case)
        sums = [tangents.add(b, m, n, m.type) for m, n in zip(mine, theirs, strict=True)]
        return [b.op("enum", sums, kind, case=case)]

    return tangents.match(b, x, arm, [kind])[0]


MERGE = deep.Walk("adjoint merge", lambda tangents, kind: ([kind, kind], [kind]), _merge, calls=False)

NEVER = Block((), Fault("AssertionError", ()))
"""The end of what is never reached."""
