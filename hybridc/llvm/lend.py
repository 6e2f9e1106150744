"""Elements of buffers that are only looked at: taking them out need not count them.

`x = buffer_get(b, i)` gives a count of its own, which a later `release(x)` gives back: in `a[i][j]` twice an atomic
operation for nothing. Where, between the two, nothing is released or consumed (so that nobody can free or overwrite the
element), or only after the last use of x, both are left out. Where b itself is held all the while, it does not matter
what else is released: nobody writes to what another holds. `lent` finds those variables; the code generator neither
retains them, nor releases them, nor names them in clean-ups.
"""

from __future__ import annotations

from hybridc.core.ir import Block, Call, Exit, Fault, Fn, Fused, If, Loop, Match, Op, Parallel, Scope, Stmt, Var, Yield
from hybridc.core.ops import OPS
from hybridc.core.walk import all_blocks, args_of, blocks_of, outs_of, statements_in
from hybridc.llvm.layout import Layouts
from hybridc.passes.liveness import Counted
from hybridc.passes.ownership import OwnedProgram

FARTHEST = 80
"""Statements that are looked at after a buffer_get, those within others included."""


class _No(Exception):
    """The variable has to be counted."""


def lent(owned: OwnedProgram, fn: Fn, layouts: Layouts) -> set[int]:
    """Ids of the function's variables that are not counted."""
    found: set[int] = set()
    counted = Counted(owned.program)
    holders = _holders(fn)
    blocks = [b for b in all_blocks(fn.body) if any(isinstance(s, Op) and s.op == "buffer_get" for s in b.stmts)]
    before = -1
    while len(found) != before:
        before = len(found)
        for block in blocks:
            for i, stmt in enumerate(block.stmts):
                if (
                    isinstance(stmt, Op)
                    and stmt.op == "buffer_get"
                    and counted(stmt.outs[0])
                    and stmt.outs[0].id not in found
                ):
                    buffer = stmt.args[0]
                    holder = buffer if isinstance(buffer, Var) and buffer.id in holders - found else None
                    scan = _Scan(owned, layouts, counted, found, stmt.outs[0], holder)
                    try:
                        if scan.window(block, i + 1):
                            found |= scan.tokens.keys()
                    except _No:
                        pass
    return found


def _holders(fn: Fn) -> set[int]:
    """Variables that have a count of their own until they give it away, and parameters, for which the caller may."""
    found = {p.id for p in fn.params}
    for s in statements_in(fn):
        match s:
            case Op() if OPS[s.op].alias or OPS[s.op].looks:
                pass
            case Loop():
                found.update(v.id for v in (*s.outs, *s.params))
            case _:
                found.update(v.id for v in outs_of(s))
    return found


class _State:
    """On one way through the code: which counted leaves have to be given back, and whether something may have been
    freed."""

    def __init__(self, held: set[int], stale: bool):
        self.held = held
        self.stale = stale

    def copy(self) -> _State:
        return _State(set(self.held), self.stale)


class _Scan:
    def __init__(self, owned: OwnedProgram, layouts: Layouts, counted: Counted, known: set[int], start: Var,
                 holder: Var | None):
        self.holder = holder
        """Holds the element for as long as it is not given away."""
        self.owned, self.layouts, self.counted, self.known = owned, layouts, counted, known
        leaves = layouts.leaves(start.type)
        self.tokens: dict[int, list[int]] = {start.id: [i if leaf.counted else -1 for i, leaf in enumerate(leaves)]}
        """The element and the parts that are named: for each leaf its place in the element, -1 if it is not counted. A
        part may be released instead of the whole."""
        self.names = {start.id}
        """Those, and what else leads into the element."""
        self.left = FARTHEST
        self.exits: dict[int, list[_State]] = {}
        """For each loop and scope that is being looked at, what holds where it is left."""

    def window(self, block: Block, start: int) -> bool:
        """Are the counts given back in what follows in the block?"""
        (whole,) = self.tokens.values()
        state = _State({i for i in whole if i >= 0}, False)
        for stmt in block.stmts[start:]:
            self.statement(stmt, state)
            if not state.held:
                return True
        return self.ends(block, state)

    def ends(self, block: Block, state: _State) -> bool:
        """At the end of the outermost block: only a way out that has given everything back will do."""
        return not state.held

    def block(self, block: Block, state: _State) -> bool:
        """A block within; whether it goes on after the statement it belongs to."""
        for stmt in block.stmts:
            self.statement(stmt, state)
        tail = block.tail
        if any(isinstance(v, Var) and v.id in self.names and self.counted(v) for v in tail.values):
            raise _No
        if self.holder in tail.values:
            state.stale = True
        if isinstance(tail, Fault):
            if state.held:
                raise _No
            return False
        if state.held and state.stale:
            raise _No
        if isinstance(tail, Exit) and tail.label in self.exits:
            self.exits[tail.label].append(state)
        return isinstance(tail, Yield)

    def statement(self, stmt: Stmt, state: _State) -> None:
        self.left -= 1
        if self.left < 0:
            raise _No
        if isinstance(stmt, Op) and stmt.op == "release":
            (v,) = stmt.args
            assert isinstance(v, Var)
            if v.id in self.tokens:
                given = {i for i in self.tokens[v.id] if i >= 0}
                if not given <= state.held:
                    raise _No
                state.held -= given
            elif v.id not in self.known:
                self.gone(v, state)
            return
        used = any(isinstance(a, Var) and a.id in self.names for a in args_of(stmt))
        if used and (state.stale or not state.held):
            raise _No
        match stmt:
            case Op():
                self.operator(stmt, used, state)
            case Call():
                lends = self.owned.borrowed[stmt.fn]
                for a, keeps in zip(stmt.args, lends, strict=True):
                    if self.counted(a) and not keeps:
                        self.consume(a, state)
            case Fused():
                for a in stmt.taken:
                    self.consume(a, state)
            case If() | Match() | Scope() | Loop() | Parallel():
                if isinstance(stmt, Match) and used:
                    self.names.update(f.id for arm in stmt.arms for f in arm.fields if self.counted(f))
                if isinstance(stmt, Loop):
                    for a in stmt.inits:
                        if self.counted(a):
                            self.consume(a, state)
                self.inside(stmt, state)

    def inside(self, stmt: Stmt, state: _State) -> None:
        """All ways out of a statement give the same back, and a turn of a loop that another follows nothing."""
        ends: list[_State] = []
        if isinstance(stmt, (Loop, Scope)):
            self.exits[stmt.label] = ends
        for inner in blocks_of(stmt):
            within = state.copy()
            if not self.block(inner, within):
                continue
            if not isinstance(stmt, (Loop, Parallel)):
                ends.append(within)
            elif within.held != state.held:
                raise _No
        if isinstance(stmt, Parallel):
            ends.append(state)
        if any(end.held != ends[0].held for end in ends):
            raise _No
        if ends and not ends[0].held:
            state.held = ends[0].held
        elif any(end.held != state.held for end in ends):
            raise _No

    def consume(self, a: object, state: _State) -> None:
        if isinstance(a, Var) and a.id in self.names:
            raise _No
        self.gone(a, state)

    def gone(self, a: object, state: _State) -> None:
        if self.holder is None or a == self.holder:
            state.stale = True

    def operator(self, op: Op, used: bool, state: _State) -> None:
        row = OPS[op.op]
        if op.op == "retain" and not used:
            return
        if row.effect or op.op == "retain":
            raise _No
        if used and isinstance(op.args[0], Var) and op.args[0].id in self.tokens and self.part(op, op.args[0]):
            return
        if row.alias or row.looks:
            if used:
                self.names.update(v.id for v in op.outs)
            return
        for i, a in enumerate(op.args):
            if row.mode(i) == "c" and self.counted(a):
                self.consume(a, state)

    def part(self, op: Op, whole: Var) -> bool:
        """Name parts of the element; whether the operator does that."""
        tokens = self.tokens[whole.id]
        match op.op:
            case "unwrap":
                parts = [tokens[1:]]
            case "get":
                start, stop = self.layouts.leaf_range(whole.type, int(op.attr("index")))  # type: ignore[call-overload]
                parts = [tokens[start:stop]]
            case "destruct":
                ranges = [self.layouts.leaf_range(whole.type, i) for i in range(len(op.outs))]
                parts = [tokens[start:stop] for start, stop in ranges]
            case "reshaped" | "part" | "tensor_view":  # the same memory
                (given,) = {i for i in tokens if i >= 0}
                parts = [[given if leaf.counted else -1 for leaf in self.layouts.leaves(op.outs[0].type)]]
            case _:
                return False
        for v, own in zip(op.outs, parts, strict=True):
            self.names.add(v.id)
            if any(i >= 0 for i in own):
                self.tokens[v.id] = own
        return True
