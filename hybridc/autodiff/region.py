"""What the reverse part of a function needs of its forward part, and where it is kept.

The variables of a function belong to *regions*: the function, the body of a loop, of a scope, of a parallel, an arm
that does not leave its context (one that leaves belongs to the region of the context, since it ends with it). A
variable that the reverse part needs is *saved* with its region, or computed again there where that is cheap:

    function   the tape: more results of the forward part, arguments of the reverse part
    path       of a function that calls itself, as the function's own region: a record on the stack that its calls share
               (recursion.py). An arm that leaves the function is one, and so is what follows a branch with such arms
    loop       a record for each turn, pushed on a buffer
    arm, scope more results of the statement, which are then variables of the region around; arms share them, but what
               an arm with records of its own keeps in each turn of a loop around it is a block apart
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, field

from hybridc.autodiff.heads import Head, Step, steps_of
from hybridc.autodiff.sizes import Origins, same_size, updated
from hybridc.autodiff.structure import exits, leaving
from hybridc.core.builder import Builder, attrs_of, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    Atom,
    Block,
    BufferT,
    Const,
    EnumT,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Prim,
    Scope,
    TensorT,
    TupleT,
    Type,
    Var,
)
from hybridc.core.ops import may_fault
from hybridc.core.types import show_type
from hybridc.core.walk import args_of, blocks_of, bound_in, outs_of

VIEWS = frozenset({"tensor_view", "get"})
"""Computed again always: what they look at is kept instead, once for all. (A number is kept itself, rather than the
whole that it is a part of, which could not be written in place then.)"""
CHEAP = VIEWS | frozenset(
    "add sub mul floordiv mod shl shr neg eq ne lt le gt ge not bit_and bit_or bit_xor select minimum maximum cast dim"
    " buffer_len unwrap is_some tag destruct".split()
)
"""Computed again where everything they need is there anyway, or is computed again from what is there."""
ARITHMETIC = ("add", "sub", "mul", "neg")
"""In loops also where they are applied to the elements of tensors: that costs less than memory that was put aside."""
DEPTH = 4
"""So many after one another."""
FAR = 1 << 32
"""What is added to a place of a list and does not make it wrap."""


@dataclass
class Region:
    kind: str
    parent: Region | None = None
    pushed: bool = False
    """Is what it saves a record on the stack of a function that calls itself? All of it has been done then, wherever
    the reverse part takes the record."""
    needed: dict[Var, None] = field(default_factory=dict)
    groups: list[list[Region]] = field(default_factory=list)
    """The regions within, those of one statement together."""
    stack: Var | None = None
    """Of a loop or parallel: the records, in the region around."""
    count: Var | None = None
    """Of a loop: its turns, in the region around."""
    saved: list[Var] = field(default_factory=list)
    again: list[Op] = field(default_factory=list)
    """What is computed again, in order."""
    slots: list[Var] = field(default_factory=list)
    """Of an arm or scope: the results of its statement that keep `saved`, one for each."""
    box: Var | None = None
    """Of an arm: the one slot that keeps all of it, a block apart."""
    start: int = 0
    """Of an arm: how many variables there are before its statement."""
    outs: list[Var] = field(default_factory=list)
    """Of an arm or scope: all the results that its statement has more."""
    head: Head | None = None
    """Of a loop that ends there, and there alone."""
    steps: dict[Var, Step] = field(default_factory=dict)
    """Of a loop: what follows from the number of the turn."""
    counted: list[Var] = field(default_factory=list)
    """Those of them that are computed again."""

    def around(self) -> Iterable[Region]:
        region = self.parent
        while region is not None:
            yield region
            region = region.parent

    @property
    def complete(self) -> bool:
        """Has everything in it been done wherever the reverse part comes to it? An early end leaves the rest undone."""
        region: Region | None = self
        while region is not None and region.kind == "arm":
            region = region.parent
        return region is not None and (region.pushed or region.head is not None)

    @property
    def record(self) -> Type:
        """The type of a loop's record."""
        kinds = [v.type for v in self.saved]
        return kinds[0] if len(kinds) == 1 else TupleT(tuple(kinds))


class Regions:
    """Of one function in the form of structure.py. New variables come from `b`."""

    def __init__(
        self, fn: Fn, b: Builder, block_of: Callable[[Sequence[Type]], EnumT], held: Set[Var],
        lasting: Set[Var], at_hand: Set[Var] | None = None,
    ):
        """`block_of` declares a block that holds values of these types. Elements of what is `held` are read again, and
        those of lists that are `lasting` in loops within, for which the list is kept.
        `at_hand`, of a function that calls itself, are variables that the reverse part has without a tape."""
        self.b = b
        self.held = held
        self.lasting = lasting
        self.at_hand = at_hand or frozenset()
        self.block_of = block_of
        self.root = Region("function", pushed=at_hand is not None)
        self.of: dict[int, Region] = {p.id: self.root for p in fn.params}
        """The region of each variable."""
        self.within: dict[int, Region] = {}
        """The region of each block, by identity."""
        self.following: dict[int, Region] = {}
        """That of what follows a branch with arms that leave the function, where this is no part of the one before."""
        self.makers: dict[int, Op] = {}
        """The operator that makes a variable."""
        self.twins: dict[Hashable, Op] = {}
        """Operators by what they take, and the stretch of a block, without a way out, where they stand."""
        self.stretch: dict[int, tuple[int, int]] = {}
        """That of the operator which makes a variable."""
        self.straight = id(fn.body), 0
        """The stretch that a call always comes to."""
        self.order: dict[int, int] = {p.id: i for i, p in enumerate(fn.params)}
        self.steps: dict[Var, Step] = {}
        self.extra: dict[int, list[Op]] = {}
        """Operators of the forward part that look at a variable for the reverse part alone, by that variable."""
        self._extra: dict[tuple[int, str, object], Var] = {}
        self.looks: set[Var] = set()
        """What these make."""
        self.kept: set[Var] = set()
        """What is saved, with whatever region."""
        self.users: dict[int, set[int]] = {}
        """The regions, by identity, for which the reverse part uses a variable."""
        self.instead: dict[Var, Atom] = {}
        """What stands in the reverse part for variables of arms and scopes."""
        self.block(fn.body, self.root)
        self.sizes = Origins(fn, self.makers, self.order, same_size)
        self.updates = Origins(fn, self.makers, self.order, updated)

    def var(self, type: Type, region: Region | None, name: str = "") -> Var:
        """A new variable of the forward part."""
        v = self.b.var(type, name)
        if region is not None:
            self.of[v.id] = region
            self.order[v.id] = len(self.order)
        return v

    # ---- assigning
    def block(self, block: Block, region: Region) -> None:
        self.within[id(block)] = region
        stretch = 0
        for stmt in block.stmts:
            start = len(self.order)
            here = region
            if region.pushed and leaving(stmt):
                region = self.following[id(stmt)] = self._path(region)
            for v in outs_of(stmt):
                self.define(v, region)
                if isinstance(stmt, Op):
                    self.makers[v.id] = stmt
                    self.stretch[v.id] = where = (id(block), stretch)
                    self.twins[where, stmt.op, stmt.args, stmt.attrs] = stmt
            stretch += leaving(stmt)
            match stmt:
                case If(_, _, then, orelse):
                    self.arms(here, [((), then), ((), orelse)], start)
                case Match(_, _, arms):
                    self.arms(here, [(a.fields, a.body) for a in arms], start)
                case Loop() | Scope() | Parallel():
                    kind = type(stmt).__name__.lower()
                    inner = Region(kind, region)
                    if kind != "scope":
                        inner.count = self.var(INT, region, "turns") if kind == "loop" else None
                        inner.stack = self.var(BufferT(INT), region, "records")  # its type is known at the end
                    region.groups.append([inner])
                    if isinstance(stmt, Loop):
                        inner.steps = steps_of(stmt)
                        self.steps.update(inner.steps)
                    for v in bound_in(stmt):
                        self.define(v, inner)
                    self.block(stmt.body, inner)

    def arms(self, region: Region, arms: list[tuple[tuple[Var, ...], Block]], start: int) -> None:
        group = []
        for fields, body in arms:
            if not exits(body):
                inner = Region("arm", region, start=start)
                group.append(inner)
            else:
                inner = self._path(region) if region.pushed else region
            for v in fields:
                self.define(v, inner)
            self.block(body, inner)
        region.groups.append(group)

    @staticmethod
    def _path(region: Region) -> Region:
        inner = Region("path", region, pushed=True)
        region.groups.append([inner])
        return inner

    def define(self, v: Var, region: Region) -> None:
        self.of[v.id] = region
        self.order[v.id] = len(self.order)

    # ---- needing
    def need(self, a: Atom) -> Atom:
        """An atom of the forward part, for use in the reverse part."""
        if isinstance(a, Var) and a not in self.at_hand:
            self.of[a.id].needed[a] = None
        return a

    def twin(self, op: Op, name: str) -> Var | None:
        """What another elementwise operator makes of the same, wherever the operator itself has been."""
        attrs = attrs_of({**dict(op.attrs), "fn": name}) if op.op == "map" else op.attrs
        found = self.twins.get((self.stretch[op.outs[0].id], "map" if op.op == "map" else name, op.args, attrs))
        return None if found is None else found.outs[0]

    def look(self, x: Var, op: str, kind: Type, **attrs: object) -> Var:
        """What an operator says of a variable, for use in the reverse part."""
        key = (x.id, op, attrs_of(attrs))
        found = self._extra.get(key)
        if found is None:
            found = self._extra[key] = self.var(kind, self.of[x.id])
            made = Op((found,), op, (x,), attrs_of(attrs))
            self.makers[found.id] = made
            self.looks.add(found)
            self.extra.setdefault(x.id, []).append(made)
        self.need(found)
        return found

    def size(self, x: Var, axis: int) -> Atom:
        """The size of a tensor, for use in the reverse part."""
        assert isinstance(x.type, TensorT)
        static = x.type.dims[axis]
        found = self.sizes.of(x, axis) if static is None else integer(static)
        return self.look(found[0], "dim", INT, axis=found[1]) if isinstance(found, tuple) else self.need(found)

    def length(self, buffer: Var) -> Var:
        """The length of a buffer, for use in the reverse part."""
        first = self.updates.of(buffer, 0)
        assert isinstance(first, tuple)
        return self.look(first[0], "buffer_len", INT)

    def stays(self, p: Var) -> bool:
        """Does a loop only update the tensor or buffer that is this parameter?"""
        return isinstance(p.type, TensorT | BufferT) and self.updates.of(p, 0) != (p, 0)

    # ---- deciding
    def settle(self, body: Block, marked: Sequence[Region]) -> None:
        """Once everything needed is known: what is saved, what computed again. The reverse part, `body`, names by their
        numbers the regions that it comes to."""
        self._uses(body, self.root, marked)
        for region in reversed(list(self.all())):  # inner ones may bring in what is outside
            self._again(region)
            self._use((a for op in region.again for a in op.args), region)
            self._use((a for v in region.counted for a in region.steps[v].outside), region)
        self._keep(self.root)
        self.kept = {v for region in self.all() for v in region.saved}

    def all(self) -> Iterable[Region]:
        return self._all(self.root)

    def _all(self, region: Region) -> Iterable[Region]:
        yield region
        for group in region.groups:
            for inner in group:
                yield from self._all(inner)

    def _uses(self, block: Block, region: Region, marked: Sequence[Region]) -> None:
        for s in block.stmts:
            if isinstance(s, Op) and s.op == "restore":
                region = marked[s.attr("region")]  # type: ignore[call-overload]
            self._use(args_of(s), region)
            for inner in blocks_of(s):
                self._uses(inner, region, marked)
        self._use(block.tail.values, region)

    def _use(self, atoms: Iterable[Atom], region: Region) -> None:
        for a in atoms:
            if isinstance(a, Var):
                self.users.setdefault(a.id, set()).add(id(region))

    def _again(self, region: Region) -> None:
        """Latest first, since what is computed again may need what came before it. Views bring in what they look at."""
        def place(v: Var) -> int:
            return self.order.get(v.id, -1)

        todo = sorted(region.needed, key=place)
        done: set[int] = set()
        again: dict[int, tuple[Op, ...]] = {}
        while todo:
            v = todo.pop()
            if v.id in done:
                continue
            done.add(v.id)
            if v in region.steps:
                region.counted.append(v)
                for a in region.steps[v].outside:
                    self.need(a)
                continue
            op = self.makers.get(v.id)
            if op is None:
                continue
            brought = op.args if self._looks(op) else self._made_of(v)
            if not brought:
                continue
            for a in brought:
                if isinstance(a, Var) and a not in self.of[a.id].needed:
                    self.need(a)
                    if self.of[a.id] is region:
                        insort(todo, a, key=place)
            again[v.id] = self._place_again(op) if op.op == "place" else (op,)
        in_order = (op for i in sorted(again, key=lambda i: self.order[i]) for op in again[i])
        region.again = list(dict.fromkeys(in_order))

    def _looks(self, op: Op) -> bool:
        """Is it made again always, of what it looks at? So are windows, which are many times as large as their image,
        and windows in another shape; where none have been made, an image has no size."""
        source = self.makers.get(op.args[0].id) if op.op == "reshape" and isinstance(op.args[0], Var) else op
        if source is not None and source.op == "windows":
            return all(self._done(made.outs[0]) for made in (source, op))
        return op.op in VIEWS and not isinstance(op.outs[0].type, Prim)

    def _done(self, v: Var) -> bool:
        """Has it been made wherever the reverse part comes to its region?"""
        return self.of[v.id].complete or self.stretch[v.id] == self.straight

    def _place_again(self, op: Op) -> tuple[Op, ...]:
        """The place of an index that has passed its check."""
        (place,), (index, length) = op.outs, op.args
        if self.is_index(index):
            return (Op((place,), "add", (index, integer(0))),)
        below, more = self.b.var(BOOL), self.b.var(INT)
        return (Op((below,), "lt", (index, integer(0))), Op((more,), "select", (below, length, integer(0))),
                Op((place,), "add", (index, more)))

    def _made_of(self, v: Var, depth: int = DEPTH) -> tuple[Atom, ...]:
        """What the operator that makes it takes, and what makes that, up to what is needed anyway; nothing if it cannot
        be computed again from there cheaply."""
        op = self.makers.get(v.id)
        if op is None or depth == 0:
            return ()
        if op.op == "buffer_get":
            if not (op.args[0] in self.lasting or self.from_held(op.args[0])) or not self.of[v.id].complete:
                return ()
        elif op.op == "index" or op.op == "map" and op.attr("fn") in ARITHMETIC:
            if not self.of[v.id].complete:  # then it has stopped nothing
                return ()
        elif op.op != "place" and (op.op not in CHEAP or may_fault(op)):
            return ()
        found: list[Atom] = []
        for a in op.args[:1] if op.op == "place" and self.is_index(op.args[0]) else op.args:
            found.append(a)
            if isinstance(a, Var) and not self.is_there(a) and not self.once_for(a, v):
                inner = self._made_of(a, depth - 1)
                if not inner:
                    return ()
                found += inner
        return tuple(found)

    def is_there(self, a: Var) -> bool:
        """Is it in the reverse part anyway?"""
        return a in self.of[a.id].needed or a in self.steps or a in self.held or a in self.at_hand

    def from_held(self, a: Atom) -> bool:
        """Is it held, or a part of an element of what is?"""
        while isinstance(a, Var) and a not in self.held:
            op = self.makers.get(a.id)
            a = op.args[0] if op is not None and op.op in ("get", "destruct", "buffer_get") else integer(0)
        return isinstance(a, Var)

    def once_for(self, a: Var, v: Var) -> bool:
        """Is it a number, or a list to hold, from outside of the loop in which v is? To keep it costs no more than one
        turn's v."""
        region: Region | None = self.of[v.id]
        loops = False
        while region is not None and region is not self.of[a.id]:
            loops = loops or region.kind in ("loop", "parallel")
            region = region.parent
        return loops and (isinstance(a.type, Prim) or a in self.lasting)

    def index_of(self, a: Atom) -> Atom:
        """The index, without the check that it has passed."""
        op = self.makers.get(a.id) if isinstance(a, Var) else None
        return op.args[0] if op is not None and op.op == "place" and self.is_index(op.args[0]) else a

    def is_index(self, a: Atom) -> bool:
        """Is it never negative, a number that goes up from one that is not?"""
        step = self.steps.get(a) if isinstance(a, Var) else None
        return step is not None and (step.by or 0) > 0 and self._from_0(step.start)

    def _from_0(self, a: Atom) -> bool:
        if isinstance(a, Const):
            return int(a.value) >= 0
        op = self.makers.get(a.id)
        more = op is not None and op.op == "add" and isinstance(op.args[1], Const) and 0 <= int(op.args[1].value) < FAR
        return self.is_index(op.args[0] if op is not None and more else a)

    def _keep(self, region: Region) -> None:
        for group in region.groups:
            for inner in group:
                self._keep(inner)
            if group and group[0].kind in ("arm", "scope"):
                self._share(region, group)
            for inner in group:
                if inner.kind in ("loop", "parallel") and inner.saved:
                    assert inner.stack is not None
                    inner.stack = Var(inner.stack.id, BufferT(inner.record), inner.stack.name)
                    region.needed[inner.stack] = None
                elif inner.kind in ("loop", "parallel"):
                    inner.stack = None
        repeated = {o.id for op in region.again for o in op.outs} | {v.id for v in region.counted}
        region.saved = sorted((v for v in region.needed if v.id not in repeated), key=lambda v: v.type == BOOL)

    def _share(self, region: Region, group: list[Region]) -> None:
        """Arms keep values of one type in the same place."""
        pool: dict[str, list[Var]] = {}
        outs: list[Var] = []
        for inner in group:
            if self._apart(inner):
                inner.saved += self._used_only_in(inner)
                inner.box = self.var(self.block_of([v.type for v in inner.saved]), region)
                outs.append(inner.box)
                region.needed[inner.box] = None
                continue
            taken: dict[str, int] = {}
            for v in inner.saved:
                key = show_type(v.type)
                at = taken.get(key, 0)
                taken[key] = at + 1
                places = pool.setdefault(key, [])
                if at == len(places):
                    places.append(self.var(v.type, region))
                    outs.append(places[at])
                    region.needed[places[at]] = None
                inner.slots.append(places[at])
                self.instead[v] = places[at]
        for inner in group:
            inner.outs = outs

    def _apart(self, arm: Region) -> bool:
        """An arm that keeps records, which takes time anyway, within a loop, whose other turns then need no room for
        what it keeps."""
        return (arm.kind == "arm" and len(arm.saved) > 1 and _has_records(arm)
                and any(r.kind in ("loop", "parallel") for r in arm.around()))

    def _used_only_in(self, arm: Region) -> list[Var]:
        """What the regions around it need only within the arm; it is there before the arm. The arm keeps it then: other
        turns of the loop need no room for it."""
        within = set(map(id, self._all(arm)))
        found: list[Var] = []
        for outer in arm.around():
            repeated = {o for op in outer.again for o in op.outs} | set(outer.counted)
            mine = [v for v in outer.needed if v not in repeated and self._made_at(v) < arm.start
                    and within.issuperset(self.users.get(v.id) or {0})]
            for v in mine:
                del outer.needed[v]
            found += mine
            if outer.kind != "arm":
                return found
        return found

    def _made_at(self, v: Var) -> int:
        looked_at = self.makers[v.id].args[0] if v in self.looks else v
        assert isinstance(looked_at, Var)
        return self.order[looked_at.id]


def _has_records(region: Region) -> bool:
    return any(inner.stack is not None or _has_records(inner) for group in region.groups for inner in group)
