"""Core functions to LLVM: blocks, branches, loops, calls."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from hybridc.core.ir import (
    RETURN,
    Block,
    BufferT,
    Call,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.llvm.branches import Branches, Strip
from hybridc.llvm.buffer_ops import owned
from hybridc.llvm.device import emit_device
from hybridc.llvm.emitter import CTX, FnEmitter, call_fn, load_results
from hybridc.llvm.fused import emit_fused
from hybridc.llvm.lanes import lanes_of
from hybridc.llvm.made_over import emit_made_over, made_next
from hybridc.llvm.module import Leaves
from hybridc.llvm.parallel import emit_parallel
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.llvm.table import EMIT
from hybridc.llvm.tensor_access import tensor_of, writable
from hybridc.llvm.unit import Join, Pace, fn_symbol, leaf_types, pace, pace_of
from hybridc.passes.counted import Counted, counted, positive_stop

KEEPS_SOLE = frozenset(SCALAR_ROWS) | {
    *"tuple struct get destruct some is_some unwrap release enum dim index update take put".split(),
    *(name for name in EMIT if name.startswith("buffer_")),
}
"""Operators that give no argument, or no part of one that goes on living, another owner."""
WRITES = ("buffer_set", "buffer_take", "update")
STRIP = 4096
"""Turns between two polls of a loop whose turns are quick."""


class Writer(Branches):
    """Writes blocks into one function."""

    # ---- blocks and statements
    def block(self, block: Block, end: Join, start: int = 0) -> None:
        """Write a block, from a statement on; its yield arrives at `end`."""
        released: set[Var | None] = set()
        """By a kernel, before its statement."""
        over: dict[int, Var] = {}
        parts = 0
        """Of a condition that are written."""
        for i, stmt in enumerate(block.stmts[start:], start):
            if parts:
                parts -= 1
                continue
            if isinstance(stmt, If) and (several := self.conditions(block, i)):
                self.put_together(several)
                parts = len(several) - 1
                if self.e.dead:
                    return
                continue
            old = self.released(stmt)
            if isinstance(stmt, Fused) and not stmt.device:
                released |= self.fused(stmt, takewhile(bool, map(self.released, block.stmts[i + 1 :])))
            elif old not in released and not made_next(block.stmts, i, old, over):
                self.stmt(stmt, over.get(i))
            if self.e.dead:
                return
        tail = block.tail
        match tail:
            case Yield(values):
                self.arrive(end, values)
            case Exit(label, values):
                self.arrive(self.targets[label], values)
            case Fault():
                self.fault(tail)

    def stmt(self, stmt: Stmt, over: Var | None = None) -> None:
        e = self.e
        e.span = stmt.span
        e.owned = self.unit.owned.get(id(stmt), ())
        if self.strip and pace_of(self.unit, stmt) == Pace.SLOW:
            e.store("i64", e.add(self.strip.index, "1"), self.strip.limit)
        if id(stmt) in self.instead:
            self.instead.pop(id(stmt))(lambda: self.stmt(stmt))
            return
        match stmt:
            case Op():
                results = EMIT[stmt.op](e, stmt) if over is None else (emit_made_over(e, stmt, over),)
                if stmt.op not in KEEPS_SOLE:
                    for a in stmt.args:
                        e.share(e.leaves(a))
                assert len(results) == len(stmt.outs), f"{stmt.op} gives {len(results)} results"
                for var, value in zip(stmt.outs, results, strict=True):
                    e.bind(var, value)
            case Call():
                place = self.itself if stmt.fn == e.fn.name else None
                self.bind(stmt.outs, (place or self.called)(stmt))
            case Fused():
                for var, value in zip(stmt.outs, emit_device(e, stmt), strict=True):
                    e.bind(var, value)
            case If():
                self.if_(stmt)
            case Match():
                self.match(stmt)
            case Loop():
                self.loop(stmt)
            case Scope():
                end = self.join(stmt.outs, "scope")
                self.targets[stmt.label] = end
                self.block(stmt.body, end)
                self.bind(stmt.outs, self.meet(end))
            case Parallel():
                self.parallel(stmt)

    def released(self, stmt: Stmt) -> Var | None:
        """The variable whose count a statement gives back, and nothing else."""
        found = stmt.args[0] if isinstance(stmt, Op) and stmt.op == "release" else None
        return found if isinstance(found, Var) and found.id not in self.e.lent else None

    def fused(self, stmt: Fused, dying: Iterable[Var | None]) -> set[Var]:
        """A kernel of the host; the variables that it has released, of those that would be next."""
        e = self.e
        e.span = stmt.span
        e.owned = self.unit.owned.get(id(stmt), ())
        results, released = emit_fused(e, stmt, [v for v in dying if v is not None])
        for var, value in zip(stmt.outs, results, strict=True):
            e.bind(var, value)
        return released

    def fault(self, tail: Fault) -> None:
        e = self.e
        e.span = tail.span
        e.owned = self.unit.owned.get(id(tail), ())
        leaves = [leaf for a in tail.values for leaf in e.leaves(a)]
        if len(leaves) == 2:
            e.fault_index(leaves[0], leaves[1])
        elif leaves:
            e.fault_with_message(tail.kind, tuple(leaves))
        else:
            e.fault(tail.kind)

    def called(self, stmt: Call) -> Leaves:
        """What a function gives that is called, or written in place."""
        if self.unit.stands_in(self.e.fn, stmt.fn):
            return self.in_place(stmt)
        e = self.e
        self.unit.needed.add(stmt.fn)
        callee = e.module.program.fns[stmt.fn]
        args = [("ptr", CTX)]
        for a in stmt.args:
            args += zip(e.layouts.types(a.type), e.leaves(a), strict=True)
        results = leaf_types(self.unit, callee.results)
        faults = self.unit.facts.may_fault(stmt.fn)
        e.share(operand for _, operand in args)
        if self.unit.facts.is_recursive(stmt.fn):
            args.append(("i64", e.next_depth()))
        status, found = call_fn(e, fn_symbol(stmt.fn), args, results, faults)
        if faults:
            e.leave_unless(e.icmp("eq", status, "0", "i32"))
        return tuple(load_results(e, found, results))

    def in_place(self, stmt: Call) -> Leaves:
        """A call of another function, written in place."""
        callee = self.unit.module.program.fns[stmt.fn]
        values = [self.e.leaves(a) for a in stmt.args]
        self.e.share(leaf for value in values for leaf in value)
        with self.e.level(callee, self.unit.lent(callee.name), None):
            for var, value in zip(callee.params, values, strict=True):
                self.e.bind(var, value)
            writer = Writer(self.unit, self.e)
            writer.strip = self.strip
            return writer.body(callee)

    def body(self, fn: Fn) -> Leaves:
        """Write a function's body; what it returns."""
        end = Join(self.e.label("return"), leaf_types(self.unit, fn.results))
        self.targets[RETURN] = end
        self.block(fn.body, end)
        return self.meet(end)

    def loop(self, stmt: Loop) -> None:
        turns = counted(stmt)
        outer, self.strip = self.strip, None
        known = self.e.positive
        stop = positive_stop(stmt, turns)
        if stop is not None:
            self.e.positive |= {self.e.one(stop)}
        lanes = None if self.e.fn.name in self.unit.once else lanes_of(self.e, stmt, turns)
        if lanes is not None:
            self.instead |= lanes.instead
            self.turns(stmt)
        elif turns is not None and pace(self.unit, turns.rest) < Pace.SLOW:
            self.strips(stmt, turns)
        else:
            self.turns(stmt)
        self.e.positive = known
        self.strip = outer

    def turns(self, stmt: Loop) -> None:
        """A loop that polls at every turn."""
        e = self.e
        end = self.join(stmt.outs, "done")
        self.targets[stmt.label] = end
        initial = tuple(leaf for a in stmt.inits for leaf in e.leaves(a))
        types = leaf_types(self.unit, [v.type for v in stmt.params])
        head, before = e.label("loop"), e.here
        e.jump(head)
        e.start(head)
        # What was known before the loop may have changed in an earlier turn.
        hoped = {i for i, leaf in enumerate(initial) if e.alone(leaf) and (id(stmt), i) not in self.unit.doubtful}
        phis = [e.phi_slot(llvm) for llvm in types]
        self.begin(stmt, phis, hoped)
        e.poll()
        turn = Join(e.label("turn"), types)
        self.block(stmt.body, turn)
        if turn.arrivals:
            self.unit.doubtful.update((id(stmt), i) for i in hoped & turn.shared)
        again = self.meet(turn)
        incoming = [(initial, before)]
        if not e.dead:
            incoming.append((again, e.here))
            e.jump(head)
        for i, (_, slot) in enumerate(phis):
            e.fill_phi(slot, [(leaves[i], block) for leaves, block in incoming])
        self.bind(stmt.outs, self.meet(end))

    def strips(self, stmt: Loop, turns: Counted) -> None:
        """A counted loop of quick turns, in strips: the poll, and the test whether a buffer or tensor that every turn
        writes has one owner, stand between strips, so that what is left is a loop that can be vectorised. One that ends
        within its first strip does not poll: what is around it does. What some turns do that may last ends their strip.
        """
        e = self.e
        slow = pace(self.unit, turns.rest) > Pace.QUICK
        end = self.join(stmt.outs, "done")
        self.targets[stmt.label] = end
        initial = tuple(leaf for a in stmt.inits for leaf in e.leaves(a))
        types = leaf_types(self.unit, [v.type for v in stmt.params])
        at = len(leaf_types(self.unit, [v.type for v in stmt.params[: turns.place]]))
        stop = e.one(turns.stop)
        hoped = {i for i, leaf in enumerate(initial) if e.alone(leaf) and (id(stmt), i) not in self.unit.doubtful}
        enter, strip, first, after, more, leave = (
            e.label(hint) for hint in ("enter", "strip", "loop", "strip_end", "more", "leave")
        )
        before = e.here
        e.branch(e.icmp("slt", initial[at], stop), enter, leave)
        e.start(enter)
        limit = self.strip_end(initial[at], stop)
        e.jump(strip)

        e.start(strip)
        outer = [e.phi_slot(llvm) for llvm in types]
        limits = e.phi_slot("i64")
        self.begin(stmt, outer, hoped)
        entering = self.made_sole(stmt, turns, inside := set(hoped))
        last = e.alloca(8) if slow else limits[0]
        if slow:
            e.store("i64", limits[0], last)
        here = e.here
        e.jump(first)
        e.start(first)
        phis = [e.phi_slot(llvm) for llvm in types]
        self.begin(stmt, phis, inside)
        e.bind(turns.test, ("true",))
        e.natural |= {phis[at][0]} if initial[at].isdigit() else set()
        turn = Join(e.label("turn"), types)
        self.strip = Strip(phis[at][0], last) if slow else None
        self.block(turns.rest, turn)
        self.strip = None
        if turn.arrivals:
            self.unit.doubtful.update((id(stmt), i) for i in inside & turn.shared)
        again = self.meet(turn)
        entries, starts, ends = [(initial, enter)], [(entering, here)], [(limit, enter)]
        leaves = [(initial, before)]
        if not e.dead:
            # The index is one more than before, so it comes to the limit exactly.
            starts.append((again, e.here))
            limit = e.load("i64", last) if slow else limits[0]
            e.branch(e.icmp("ne", again[at], limit), first, after)
            e.start(after)
            leaves.append((again, after))
            e.branch(e.icmp("slt", again[at], stop), more, leave)
            e.start(more)
            self.bind(stmt.params, again)
            # What the loop's fault releases, not that of the statement written last.
            e.span, e.owned = stmt.span, self.unit.owned.get(id(stmt), ())
            e.poll()
            ends.append((self.strip_end(again[at], stop), e.here))
            entries.append((again, e.here))
            e.jump(strip)
        e.fill_phi(limits[1], ends)
        for i in range(len(types)):
            e.fill_phi(outer[i][1], [(values[i], block) for values, block in entries])
            e.fill_phi(phis[i][1], [(values[i], block) for values, block in starts])

        e.start(leave)
        final = [e.phi_slot(llvm) for llvm in types]
        self.begin(stmt, final, hoped)
        for i in range(len(types)):
            e.fill_phi(final[i][1], [(values[i], block) for values, block in leaves])
        e.bind(turns.test, ("false",))
        self.block(turns.leave, end)
        self.bind(stmt.outs, self.meet(end))

    def begin(self, stmt: Loop, phis: list[tuple[str, int]], sole: set[int]) -> None:
        """In a block that begins with these values of a loop's parameters; those at `sole` have one owner."""
        self.e.blank.clear()
        self.e.sole.clear()
        self.e.sole.update(phis[i][0] for i in sole)
        self.bind(stmt.params, tuple(name for name, _ in phis))

    def strip_end(self, index: str, stop: str) -> str:
        """Where a strip ends that begins at index < stop."""
        e = self.e
        if index.isdigit() and int(index) < STRIP:
            return e.call("i64", "@llvm.smin.i64", [("i64", stop), ("i64", str(int(index) + STRIP))])
        return e.add(index, e.call("i64", "@llvm.umin.i64", [("i64", e.sub(stop, index)), ("i64", str(STRIP))]))

    def made_sole(self, stmt: Loop, turns: Counted, hoped: set[int]) -> Leaves:
        """The parameters at the beginning of a strip, of at least one turn: a buffer or tensor that every turn writes
        is copied now if it has another owner. Adds to `hoped` what has one owner from here on."""
        e = self.e
        written = {
            a
            for s in turns.rest.stmts
            for a in (s.taken if isinstance(s, Fused) else s.args[:1] if isinstance(s, Op) and s.op in WRITES else ())
            if a in stmt.params
        }
        out: list[str] = []
        cleanup = e.owned
        for p in stmt.params:
            leaves = e.leaves(p)
            place = len(out)
            if p in written and place not in hoped and (id(stmt), place) not in self.unit.doubtful:
                e.owned = tuple(v for v in cleanup if v != p)
                if isinstance(p.type, BufferT):
                    e.bind(p, (owned(e, p.type.item, leaves[0], may_be_null=True),))
                else:
                    e.bind(p, writable(e, tensor_of(e, p)).leaves)
                leaves = e.leaves(p)
                hoped.add(place)
            out += leaves
        e.owned = cleanup
        return tuple(out)

    # ---- parallel
    def parallel(self, stmt: Parallel) -> None:
        def body(inner: FnEmitter) -> Leaves:
            """The worker's code; the value it gives for its index."""
            inner.lent = self.e.lent
            writer = Writer(self.unit, inner)
            end = Join(inner.label("item"), inner.layouts.types(stmt.out.type.item))  # type: ignore[union-attr]
            writer.block(stmt.body, end)
            return writer.meet(end)

        self.e.bind(stmt.out, (emit_parallel(self.e, stmt, body),))
