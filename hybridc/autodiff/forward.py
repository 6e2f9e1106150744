"""The forward part of a function: the function itself, which also keeps what the reverse part needs (region.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hybridc.autodiff.absent import at_host
from hybridc.autodiff.heads import bounds_of
from hybridc.autodiff.region import Region
from hybridc.autodiff.reverse import TAPE, Reverse
from hybridc.autodiff.structure import exits
from hybridc.base.immutable import replace
from hybridc.core.builder import integer
from hybridc.core.ir import (
    INT,
    RETURN,
    Arm,
    Atom,
    Block,
    BufferT,
    Call,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    Tail,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.walk import blocks_of, diverges, outs_of, statements

if TYPE_CHECKING:
    from hybridc.autodiff.driver import Driver
    from hybridc.autodiff.recursion import Stack

Defined = set[int]
Ending = Callable[[Sequence[Atom], Defined], Tail]
"""The tail for these values, where these variables are defined."""


class Forward:
    """Made after the reverse part, which says what it needs."""

    def __init__(self, driver: Driver, reverse: Reverse):
        self.driver = driver
        self.tangents = driver.tangents
        self.reverse = reverse
        self.regions = reverse.regions
        self.b = reverse.b
        self.stack = reverse.stack
        self.top: tuple[Atom, ...] = ()
        """Of a function that calls itself: the stack so far, and the number of its records."""
        self.path = [self.regions.root]
        """The regions that the place is in, or behind, which leave records at the end."""

    def build(self, name: str) -> Fn:
        """The tape is more results: what the function's region saves and its caller has not, or the stack (which is a
        parameter too) and the number of its records."""
        fn, root, stack = self.reverse.fn, self.regions.root, self.stack
        self.b.open()
        defined: Defined = set()
        self.define(fn.params, defined)
        head = self.b.close(Yield())
        given = () if stack is None else (self.b.var(stack.group.kind, "records"), self.b.var(INT, "top"))
        self.top = given
        tape = given or [v for v in root.saved if v not in fn.params]

        def done(values: Sequence[Atom], defined: Defined) -> Exit:
            if stack is not None:
                self.push(stack, defined)
                return Exit(RETURN, (*values, *self.top))
            kept = zip(root.saved, self.kept(root, defined), strict=True)
            return Exit(RETURN, (*values, *(x for v, x in kept if v not in fn.params)))

        body = self.block(fn.body, done, defined, done)
        return replace(fn, name=name, params=(*fn.params, *given), results=(*fn.results, *(v.type for v in tape)),
                       adjoint="", body=Block((*head.stmts, *body.stmts), body.tail))

    def push(self, stack: Stack, defined: Defined) -> None:
        """The records of a way through the function that ends here."""
        group = stack.group
        for region in reversed(self.path):
            if region.saved:
                records, top = self.top
                kept = dict(zip(region.saved, self.kept(region, defined), strict=True))
                fields = [self.zero(kind) if v is None else kept[v]
                          for v, kind in zip(group.places(region), group.slots, strict=True)]
                record = self.b.op("struct", fields, group.record)
                self.top = (self.tangents.push(self.b, records, top, record), self.b.op("add", [top, integer(1)], INT))

    def zero(self, kind: Type) -> Atom:
        return self.b.op("zero", [], kind)

    def kept(self, region: Region, defined: Defined) -> list[Atom]:
        """What a region saves; what did not come about is zero."""
        return [v if v.id in defined else self.zero(v.type) for v in region.saved]

    def in_slots(self, region: Region, defined: Defined) -> list[Atom]:
        """The same in the places that an arm shares with others."""
        kept = {} if region.box is not None else dict(zip(region.slots, region.saved, strict=True))
        found: list[Atom] = []
        for slot in region.outs:
            if slot == region.box:
                found.append(self.b.op("enum", self.kept(region, defined), slot.type, case=TAPE))
                continue
            v = kept.get(slot)
            found.append(v if v is not None and v.id in defined else self.zero(slot.type))
        return found

    def define(self, vs: Sequence[Var], defined: Defined) -> None:
        """From here on there are these; what is asked of them for the reverse part alone follows."""
        for v in vs:
            defined.add(v.id)
            for op in self.regions.extra.get(v.id, ()):
                out = op.outs[0]
                if out in self.regions.kept:
                    self.b.add(op)
                    defined.add(out.id)

    # ---- blocks
    def block(self, block: Block, leave: Ending, defined: Defined, end: Ending, first: Sequence[Var] = ()) -> Block:
        """`leave` makes the tail of an exit from the context, `end` that of the block's own end; `first` are variables
        that the block begins with."""
        self.b.open()
        defined, path = set(defined), list(self.path)
        region = self.regions.within[id(block)]
        if region.pushed and region not in self.path:
            self.path.append(region)
        self.define(first, defined)
        tail = self.stmts(block, leave, defined, end)
        self.path = path
        return self.b.close(tail)

    def stmts(self, block: Block, leave: Ending, defined: Defined, end: Ending) -> Tail:
        for s in block.stmts:
            self.stmt(s, leave, defined)
            if diverges(s):
                return Yield()
            if id(s) in self.regions.following:
                self.path.append(self.regions.following[id(s)])
            self.define(outs_of(s), defined)
        match block.tail:
            case Yield(values):
                return end(values, defined)
            case Exit(_, values):
                return leave(values, defined)
        return block.tail

    def stmt(self, s: Stmt, leave: Ending, defined: Defined) -> None:
        self.b.span = s.span
        match s:
            case Op():
                at_host(self.b, s, self.tangents, self.reverse.is_active)
                self.b.add(s)
            case Call():
                tape = self.reverse.tapes.get(id(s))
                if self.stack is not None and id(s) in self.stack.calls:
                    outs = self.new_top()
                    self.b.add(replace(s, fn=self.stack.calls[id(s)].shared_forward, outs=(*s.outs, *outs),
                                       args=(*s.args, *self.top)))
                    self.top = outs
                elif tape is None:
                    self.b.add(s)
                else:
                    self.b.add(replace(s, fn=self.reverse.forwards[id(s)], outs=(*s.outs, *tape)))
                    defined.update(v.id for v in tape)
            case If():
                arms = [((), s.then), ((), s.orelse)]
                (then, orelse), more = self.arms(s, arms, leave, defined)
                self.b.add(replace(s, outs=(*s.outs, *more), then=then, orelse=orelse))
            case Match():
                bodies, more = self.arms(s, [(a.fields, a.body) for a in s.arms], leave, defined)
                made = tuple(Arm(a.case, a.fields, body) for a, body in zip(s.arms, bodies, strict=True))
                self.b.add(replace(s, outs=(*s.outs, *more), arms=made))
            case Scope():
                region, outs = self.regions.within[id(s.body)], self.new_top(s)
                body = self.block(
                    s.body, lambda vs, d: Exit(s.label, (*vs, *self.in_slots(region, d), *self.handed_on(outs))),
                    defined, self.end_of(region, outs))
                self.b.add(replace(s, outs=(*s.outs, *region.outs, *outs), body=body))
                defined.update(v.id for v in region.outs)
                self.top = outs or self.top
            case Loop():
                self.loop(s, defined)
            case Parallel():
                self.parallel(s, defined)

    def arms(self, s: Stmt, arms: Sequence[tuple[Sequence[Var], Block]], leave: Ending, defined: Defined
             ) -> tuple[list[Block], list[Var]]:
        """The arms, and the results that keep what they save."""
        bodies: list[Block] = []
        more: list[Var] = []
        before, outs = self.top, self.new_top(s)
        for fields, body in arms:
            region = self.regions.within[id(body)]
            self.top = before
            if exits(body):
                bodies.append(self.block(body, leave, defined, lambda vs, d: Yield(tuple(vs)), fields))
                continue
            more = region.outs
            bodies.append(self.block(body, leave, defined, self.end_of(region, outs), fields))
        defined.update(v.id for v in more)
        self.top = outs or before
        return bodies, [*more, *outs]

    def end_of(self, region: Region, top: Sequence[Var]) -> Ending:
        """The end of an arm, or of a scope's body: what it yields, what it saves, and the stack if it is new then."""
        return lambda values, defined: Yield((*values, *self.in_slots(region, defined), *self.handed_on(top)))

    # ---- the stack
    def new_top(self, within: Stmt | None = None) -> tuple[Var, ...]:
        """Variables for the stack after a statement, if something in it pushes."""
        if self.stack is None or within is not None and not any(
                id(s) in self.stack.calls for block in blocks_of(within) for s in statements(block)):
            return ()
        return tuple(self.b.var(a.type) for a in self.top)

    def handed_on(self, new: Sequence[Var]) -> tuple[Atom, ...]:
        return self.top if new else ()

    # ---- loops
    def loop(self, s: Loop, defined: Defined) -> None:
        region = self.regions.within[id(s.body)]
        assert region.count is not None and region.parent is not None
        if region.count not in region.parent.needed:  # nothing flows back through it
            self.b.add(s)
            return
        turns = self.b.var(INT, "turns")
        stack = None if region.stack is None else self.b.var(region.stack.type, "records")
        params, inits, outs = [*s.params, turns], [*s.inits, integer(0)], [*s.outs, region.count]
        size = None
        if stack is not None:
            assert region.stack is not None
            size = self.size(s, region)
            params.append(stack)
            inits.append(self.b.op("buffer_room", [integer(0) if size is None else size], stack.type))
            outs.append(region.stack)
        before, top, inner = self.top, self.new_top(s), self.new_top(s)
        self.top = inner or before

        def more(defined: Defined) -> tuple[Atom, ...]:
            following = self.b.op("add", [turns, integer(1)], INT)
            if stack is None:
                return (following,)
            record = self.record(region, defined)
            if size is not None:
                return following, self.b.op("buffer_set", [stack, turns, record], stack.type)
            return following, self.tangents.push(self.b, stack, turns, record)

        def left(values: Sequence[Atom], defined: Defined) -> Exit:
            if region.head is None:
                return Exit(s.label, (*values, *more(defined), *self.handed_on(top)))
            return Exit(s.label, (*values, turns, *([] if stack is None else [stack]), *self.handed_on(top)))

        body = self.block(
            s.body, left, defined, lambda vs, d: Yield((*vs, *more(d), *self.handed_on(top))), s.params)
        self.b.add(replace(s, outs=(*outs, *top), params=(*params, *inner),
                           inits=(*inits, *(before if inner else ())), body=body))
        defined.update(v.id for v in outs)
        self.top = top or before

    def size(self, s: Loop, region: Region) -> Atom | None:
        """How many records there will be, if that is known before the first turn."""
        bounds = [] if region.head is None else bounds_of(s, region.head, region.steps)
        size: Atom | None = None
        for step, limit in bounds:
            more = self.b.op("sub", [limit, step.start], INT)
            size = more if size is None else self.b.op("minimum", [size, more], INT)
        return None if size is None else self.b.op("maximum", [size, integer(0)], INT)

    def record(self, region: Region, defined: Defined) -> Atom:
        kept = self.kept(region, defined)
        return kept[0] if len(kept) == 1 else self.b.op("tuple", kept, region.record)

    def parallel(self, s: Parallel, defined: Defined) -> None:
        region = self.regions.within[id(s.body)]
        if region.stack is None:
            self.b.add(s)
            return
        assert isinstance(s.out.type, BufferT) and isinstance(region.stack.type, BufferT)
        item, record = s.out.type.item, region.stack.type.item
        both = TupleT((item, record))

        def end(values: Sequence[Atom], defined: Defined) -> Tail:
            return Yield((self.b.op("tuple", [values[0], self.record(region, defined)], both),))

        body = self.block(s.body, end, defined, end, [s.index])
        pairs = self.b.parallel(BufferT(both), s.index, s.count, body)

        name = self.tangents.pairs_apart(item, record)
        self.b.add(Call((s.out, region.stack), name, (pairs,), s.span))
        defined.add(region.stack.id)
