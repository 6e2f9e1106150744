"""Who frees what: makes every function count its references right, by `retain` and `release` operators.

What the code generator is given, and has to do
- `retain(x)` (no result) adds one count to every counted block in x; `release(x)` gives one back. A variable is a name
  for a value; its counts belong to the variable, so after `retain(x)` two consumers may take x.
- An operator takes over the arguments that its row marks `c` and only reads the others; its results are new counts of
  their own, except that the result of an `alias` row (get, unwrap, tensor_view, reshaped, part, buffer_at) is a part of
  its argument and carries none. (Where the pass *moves* out of a struct or option, it simply goes on to treat the parts
  as the owners: there is nothing to do.) So `buffer_get` retains what it copies; it becomes `buffer_at` where the
  buffer is never taken over and the element neither. The fields of a `match` arm are parts of the subject.
- `borrowed[fn][i]`: a call reads argument i; else the callee takes it over, also when it faults (it then releases it,
  in its prologue too, if the call depth is exceeded). Results of calls are owned by the caller.
- The values of `exit`, `yield` and of a fault (the message) are handed over. Everything else that a function owns has
  been released before the tail, so a tail needs no clean-up. Parameters of loops are handed over by the initial values
  and each `yield`.
- Fault clean-up: `cleanup[id(stmt)]` are the variables whose counts the function still has to release when that
  operator, call or parallel faults. Consumed arguments are not among them: an operator or call that faults has disposed
  of what it consumes. A statement not in the table has nothing to release. For a
  `loop` it is what is owned at the head of its body, before the first statement (parameters included), for polling.
- The body of a `parallel` is a function of its own: everything from outside is borrowed in it, `cleanup` of statements
  inside names only what the body owns, and the value it yields is handed over. If a turn faults, the parallel does: it
  releases the elements made so far, and `cleanup[id(parallel)]`.
- Identity: keep the OwnedProgram, and look statements up as the very objects that are in it.

How it decides
    A variable of a counted type is, at each point, owned (its count is this frame's to give back), an alias of a parent
    (part of a value that stays alive as long as the alias is needed; or, only to be looked at, a tensor under other
    sizes, a part of a tensor that nobody takes over, or a tuple or struct put together of such values), or borrowed for
    good. The last use of an owner moves it where it is consumed; a use that is not the last, or of an alias, is
    preceded by a retain; an owner that is needed no more is released right after the statement of its last use, at the
    head of the branch that does not use it, or before the exit. So a list that nobody else holds reaches `buffer_set`
    with a count of one, and is written in place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    RETURN,
    Arm,
    Atom,
    Block,
    Call,
    EnumT,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    StructT,
    TupleT,
    Var,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.types import parts
from hybridc.core.walk import args_of, calls, diverges, highest_id, map_blocks
from hybridc.passes import cuts, static_lists, views
from hybridc.passes.borrow import TOGETHER, Borrowed, consumed_vars, infer_borrowed, lies_together, renames
from hybridc.passes.each import each
from hybridc.passes.hoist import hoist_gets
from hybridc.passes.liveness import Counted, Live, Liveness

Cleanup = dict[int, tuple[Var, ...]]
"""By the identity of a statement: what to release if it faults."""


@dataclass
class OwnedProgram:
    """See the head of this file."""

    program: Program
    borrowed: dict[str, tuple[bool, ...]]
    cleanup: Cleanup


def own(program: Program) -> OwnedProgram:
    """Insert retains and releases. The program must not contain any yet."""
    counted = Counted(program)
    prepared = each(program, "hoist", lambda fn: hoist_gets(fn, counted))
    prepared = cuts.run(views.run(prepared, counted))
    borrowed = infer_borrowed(prepared, counted)
    prepared = static_lists.run(prepared, borrowed)

    def framed(fn: Fn) -> Fn:
        cleanup: Cleanup = {}
        made = _Frame(prepared, fn, borrowed, counted, cleanup).run()
        made.known["cleanup"] = cleanup
        return made

    def looked_at(fn: Fn) -> Hashable:
        return borrowed[fn.name], tuple(borrowed[name] for name in calls(fn))

    owned = each(prepared, "own", framed, looked_at)
    cleanup = {i: found for fn in owned.fns.values() for i, found in fn.known["cleanup"].items()}
    return OwnedProgram(owned, borrowed, cleanup)


Owned = dict[int, Var]
"""What the frame must give back, in order of acquisition."""


class _Frame:
    def __init__(self, program: Program, fn: Fn, borrowed: Borrowed, counted: Counted, cleanup: Cleanup):
        self.program = program
        self.fn = fn
        self.borrowed = borrowed
        self.counted = counted
        self.cleanup = cleanup
        self.live = Liveness(fn, counted)
        self.consumed = consumed_vars(fn, borrowed, counted)
        self.next_id = highest_id(fn) + 1
        self.parents: dict[int, list[int]] = {}
        self.children: dict[int, list[Var]] = {}
        self.field: dict[int, int] = {}
        """For an alias made by `get`: which field."""
        self.views: set[int] = set()
        """Aliases that never take the place of what they look into."""
        self.home: dict[int, int] = {}
        """The block (its number in `here`) in which an alias was made."""
        self.here = 0
        self.blocks = 0

    def run(self) -> Fn:
        owned: Owned = {}
        for p, lent in zip(self.fn.params, self.borrowed[self.fn.name], strict=True):
            if self.counted(p) and not lent:
                owned[p.id] = p
        body = self.block(self.fn.body, owned, frozenset(), {RETURN: frozenset()})
        return replace(self.fn, body=body)

    # ---- what is needed
    def needed(self, v: int, live: Live) -> bool:
        """Is the variable, or an alias into it, used later?"""
        return v in live or any(self.needed(c.id, live) for c in self.children.get(v, ()))

    def needed_aliases(self, v: int, live: Live) -> list[Var]:
        """The outermost aliases into `v` that are themselves used later."""
        found: list[Var] = []
        for c in self.children.get(v, ()):
            found += [c] if c.id in live else self.needed_aliases(c.id, live)
        return found

    def adopt(self, parent: Var, child: Var) -> None:
        """From here on `child` is an alias into `parent`."""
        self.parents.setdefault(child.id, []).append(parent.id)
        self.children.setdefault(parent.id, []).append(child)
        self.home[child.id] = self.here

    def emancipate(self, child: Var) -> None:
        """The child is no alias any more."""
        for parent in self.parents.pop(child.id):
            self.children[parent] = [c for c in self.children[parent] if c.id != child.id]

    # ---- statements that are inserted
    def retain(self, v: Var, out: list[Stmt]) -> None:
        out.append(Op((), "retain", (v,)))

    def release(self, v: Var, out: list[Stmt]) -> None:
        out.append(Op((), "release", (v,)))

    def release_dead(self, owned: Owned, live: Live, out: list[Stmt]) -> None:
        for v in [v for v in owned.values() if not self.needed(v.id, live)]:
            del owned[v.id]
            self.release(v, out)

    def consume(self, atoms: Iterable[Atom], also: Iterable[Atom], live: Live, owned: Owned, out: list[Stmt]) -> None:
        """Make one count of each atom free to be taken; `also` is what the same statement borrows."""
        busy = live | {a.id for a in also if isinstance(a, Var)}
        times: dict[int, int] = {}
        taken: dict[int, Var] = {}
        for a in atoms:
            if isinstance(a, Var) and self.counted(a):
                times[a.id] = times.get(a.id, 0) + 1
                taken[a.id] = a
        # Parts before wholes: a part that is kept no longer holds back the whole.
        for v in sorted(taken.values(), key=lambda v: -self.depth(v.id)):
            count = times[v.id]
            if v.id in owned and v.id not in busy:
                self.set_free(v, busy, owned, out)
                if not self.needed(v.id, busy):
                    del owned[v.id]
                    count -= 1
            for _ in range(count):
                self.retain(v, out)

    def depth(self, v: int) -> int:
        return 1 + max(map(self.depth, self.parents.get(v, ())), default=-1)

    def set_free(self, v: Var, busy: Live, owned: Owned, out: list[Stmt]) -> None:
        """Give every alias into `v` that is needed a count of its own, if all were made in this block: cheaper than
        keeping `v`, whose other parts could then not be written in place."""
        aliases = self.needed_aliases(v.id, busy)
        if all(self.home[a.id] == self.here for a in aliases):
            for a in aliases:
                self.retain(a, out)
                self.emancipate(a)
                owned[a.id] = a

    # ---- blocks
    def block(self, b: Block, owned: Owned, yields: Live, exits: dict[int, Live]) -> Block:
        """`owned` at its head; it becomes what is owned at its end. `yields` and `exits`: what is used after them."""
        outer = self.here
        self.blocks += 1
        self.here = self.blocks
        out: list[Stmt] = []
        self.release_dead(owned, self.live.at_head(b), out)
        block = self.rest(b, 0, owned, yields, exits, out)
        self.here = outer
        return block

    def rest(self, b: Block, start: int, owned: Owned, yields: Live, exits: dict[int, Live], out: list[Stmt]) -> Block:
        after = self.live.after(b)
        for i in range(start, len(b.stmts)):
            self.statement(b.stmts[i], after[i], owned, exits, out)
            if diverges(b.stmts[i]):
                return Block(tuple(out), b.tail if isinstance(b.tail, Fault) else Yield())
            for a in args_of(b.stmts[i]):
                if isinstance(a, Var) and a.id in owned and a.id not in after[i]:
                    self.split(a, after[i], owned, out)
            self.release_dead(owned, after[i], out)
        match b.tail:
            case Yield(values):
                self.leave(values, yields, owned, out)
            case Exit(label, values):
                self.leave(values, exits[label], owned, out)
            case Fault(_, values, _):
                self.leave(values, frozenset(), owned, out)
        return Block(tuple(out), b.tail)

    def leave(self, values: Sequence[Atom], live: Live, owned: Owned, out: list[Stmt]) -> None:
        self.consume(values, (), live, owned, out)
        self.release_dead(owned, live, out)

    def record(self, stmt: Stmt, owned: Owned) -> None:
        if owned:
            self.cleanup[id(stmt)] = tuple(owned.values())

    def acquire(self, outs: Iterable[Var], owned: Owned) -> None:
        for o in outs:
            if self.counted(o):
                owned[o.id] = o

    # ---- statements
    def statement(self, stmt: Stmt, after: Live, owned: Owned, exits: dict[int, Live], out: list[Stmt]) -> None:
        match stmt:
            case Op():
                self.operator(stmt, after, owned, out)
            case Call(outs, fn, args, _):
                lent = self.borrowed[fn]
                self.consume(
                    [a for a, b in zip(args, lent, strict=True) if not b],
                    [a for a, b in zip(args, lent, strict=True) if b],
                    after, owned, out,
                )  # fmt: skip
                stmt = replace(stmt)
                self.record(stmt, owned)
                out.append(stmt)
                self.acquire(outs, owned)
            case Fused():
                self.consume(stmt.taken, [a for a in stmt.args if a not in stmt.taken], after, owned, out)
                stmt = replace(stmt)
                self.record(stmt, owned)
                out.append(stmt)
                self.acquire(stmt.outs, owned)
            case If():
                kept = self.kept(owned, after)
                out.append(map_blocks(stmt, lambda b: self.branch(b, owned, after, exits, kept)))
                self.settle(owned, kept, stmt.outs)
            case Match():
                kept = self.kept(owned, after)
                arms = tuple(self.arm(stmt, a, owned, after, exits, kept) for a in stmt.arms)
                out.append(replace(stmt, arms=arms))
                self.settle(owned, kept, stmt.outs)
            case Scope(outs, label, body, _):
                kept = self.kept(owned, after)
                body = self.branch(body, owned, after, {**exits, label: after}, kept)
                out.append(replace(stmt, body=body))
                self.settle(owned, kept, outs)
            case Loop():
                self.loop(stmt, after, owned, exits, out)
            case Parallel(result, _, _, body, _):
                body = self.block(body, {}, frozenset(), {})
                stmt = replace(stmt, body=body)
                self.record(stmt, owned)
                out.append(stmt)
                self.acquire((result,), owned)

    def kept(self, owned: Owned, after: Live) -> list[int]:
        """What is still owned when the construct is over, however it ends."""
        return [v for v in owned if self.needed(v, after)]

    def settle(self, owned: Owned, kept: list[int], outs: Iterable[Var]) -> None:
        for v in [v for v in owned if v not in kept]:
            del owned[v]
        self.acquire(outs, owned)

    def branch(self, b: Block, owned: Owned, after: Live, exits: dict[int, Live], kept: list[int]) -> Block:
        mine = dict(owned)
        block = self.block(b, mine, after, exits)
        self.agree(block, mine, kept)
        return block

    def agree(self, block: Block, mine: Owned, kept: list[int]) -> None:
        if isinstance(block.tail, Yield) and not any(map(diverges, block.stmts[-1:])):
            assert set(mine) == set(kept), f"{self.fn.name}: a branch ends owning {sorted(mine)}, not {sorted(kept)}"

    def loop(self, stmt: Loop, after: Live, owned: Owned, exits: dict[int, Live], out: list[Stmt]) -> None:
        again = self.live.again(stmt)
        self.consume(stmt.inits, (), again, owned, out)
        self.release_dead(owned, again, out)
        kept = self.kept(owned, after)
        mine = dict(owned)
        self.acquire(stmt.params, mine)
        head = dict(mine)
        body = self.block(stmt.body, mine, again, {**exits, stmt.label: after})
        self.agree(body, mine, list(owned))
        stmt = replace(stmt, body=body)
        self.record(stmt, head)
        out.append(stmt)
        self.settle(owned, kept, stmt.outs)

    def arm(self, stmt: Match, arm: Arm, owned: Owned, after: Live, exits: dict[int, Live], kept: list[int]) -> Arm:
        mine = dict(owned)
        out: list[Stmt] = []
        outer = self.here
        self.blocks += 1
        self.here = self.blocks
        live = self.live.at_head(arm.body)
        start = 0
        if isinstance(stmt.subject, Var) and self.counted(stmt.subject):
            for f in arm.fields:
                if self.counted(f):
                    self.adopt(stmt.subject, f)
            self.release_dead(mine, live, out)
            start, live = self.leading_aliases(arm.body, mine, out)
            self.open_up(stmt.subject, live, mine, out)
        self.release_dead(mine, live, out)
        block = self.rest(arm.body, start, mine, after, exits, out)
        self.here = outer
        self.agree(block, mine, kept)
        return Arm(arm.case, arm.fields, block)

    def leading_aliases(self, b: Block, owned: Owned, out: list[Stmt]) -> tuple[int, Live]:
        """Pass the block's first statements as long as they only name parts; what is live then."""
        live = self.live.at_head(b)
        for i, stmt in enumerate(b.stmts):
            if not (isinstance(stmt, Op) and OPS[stmt.op].alias):
                return i, live
            live = self.live.after(b)[i]
            self.operator(stmt, live, owned, out)
        return len(b.stmts), live

    def open_up(self, subject: Var, live: Live, owned: Owned, out: list[Stmt]) -> None:
        """Where parts of a matched value are consumed and the value itself is not needed: keep the parts, let go of
        the value at once, so that a part nobody else holds can be written in place."""
        if subject.id not in owned or subject.id in live:
            return
        aliases = self.needed_aliases(subject.id, live)
        if all(self.home[a.id] == self.here for a in aliases) and any(self.reaches_consumer(a) for a in aliases):
            for a in aliases:
                self.retain(a, out)
                self.emancipate(a)
                owned[a.id] = a
            del owned[subject.id]
            self.release(subject, out)

    def reaches_consumer(self, v: Var) -> bool:
        return v.id in self.consumed

    def operator(self, op: Op, after: Live, owned: Owned, out: list[Stmt]) -> None:
        row = OPS[op.op]
        if row.alias:
            self.alias(op, after, owned, out)
            return
        if renames(op) and op.outs[0].id not in self.consumed:
            self.alias(replace(op, op="reshaped"), after, owned, out)
            return
        if lies_together(op) and op.outs[0].id not in self.consumed and self.stays(op.args[0]):
            op = replace(op, op="part")
            self.record(op, owned)
            self.alias(op, after, owned, out)
            return
        if op.op == "buffer_get" and self.counted(op.outs[0]) and op.outs[0].id not in self.consumed and self.stays(
                op.args[0]):
            self.views.add(op.outs[0].id)
            self.alias(replace(op, op="buffer_at"), after, owned, out)
            return
        if op.op in TOGETHER and op.outs[0].id not in self.consumed or row.looks:
            self.view(op, out)
            return
        taken = [a for i, a in enumerate(op.args) if row.mode(i) == "c"]
        lent = [a for i, a in enumerate(op.args) if row.mode(i) != "c"]
        self.consume(taken, lent, after, owned, out)
        op = replace(op)
        self.record(op, owned)  # even one that cannot fault may find no memory
        out.append(op)
        self.acquire(op.outs, owned)

    def stays(self, whole: Atom) -> bool:
        """Is a tensor or buffer never taken over, nor what it is a part of? Else it could be written in place after
        this, which would copy it while somebody looks at a part."""
        assert isinstance(whole, Var)
        found = [whole.id]
        for v in found:
            found += self.parents.get(v, ())
        return self.consumed.isdisjoint(found)

    def alias(self, op: Op, after: Live, owned: Owned, out: list[Stmt]) -> None:
        out.append(op)
        part, whole = op.outs[0], op.args[0]
        if not isinstance(whole, Var):
            return
        if self.counted(part):
            self.adopt(whole, part)
            if op.op == "get":
                index = op.attr("index")
                assert isinstance(index, int)
                self.field[part.id] = index
        if whole.id in owned and whole.id not in after:
            self.split(whole, after, owned, out)

    def view(self, op: Op, out: list[Stmt]) -> None:
        """What is put together only to be looked at is an alias of its parts; so is a part of a buffer of that."""
        out.append(op)
        self.views.add(op.outs[0].id)
        for a in dict.fromkeys(op.args):
            if isinstance(a, Var) and self.counted(a):
                self.adopt(a, op.outs[0])

    def split(self, whole: Var, after: Live, owned: Owned, out: list[Stmt]) -> None:
        """The last mention of an owned aggregate: if its parts in use were all named in this block, they become the
        owners, and the other parts are released."""
        children = [c for c in self.children.get(whole.id, ()) if self.needed(c.id, after)]
        if not children or any(self.home[c.id] != self.here or c.id in self.views for c in children):
            return
        if not isinstance(whole.type, (TupleT, StructT)):
            if len(children) == 1 and not isinstance(whole.type, EnumT):  # an option, a view of a tensor
                del owned[whole.id]
                self.emancipate(children[0])
                owned[children[0].id] = children[0]
            return
        owners: dict[int, Var] = {}
        for c in children:
            self.emancipate(c)
            first = owners.setdefault(self.field[c.id], c)
            if first is c:
                owned[c.id] = c
            else:  # a second name for the same part
                self.retain(c, out)
                owned[c.id] = c
        del owned[whole.id]
        dead: list[Var] = []
        for i, t in enumerate(parts(whole.type, self.program)):
            if i not in owners and self.counted.of(t):
                dead.append(Var(self.next_id, t))
                self.next_id += 1
                out.append(Op((dead[-1],), "get", (whole,), (("index", i),)))
        for v in dead:
            self.release(v, out)
