"""Products that every turn of a loop makes of its own row of a tensor become one product of all rows before the loop:
the input half of a recurrent network, whose turns need each other only for the other half.

The loop counts to the size of that tensor's first axis and is left nowhere else, so that no row is multiplied in vain.
A product whose sizes are not known to fit stays where it is, since it can fault. What it is multiplied by is the same
at every turn, or a view of such, which moves too.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core import tensor_build as tb
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import Atom, Block, Call, Const, Exit, Fn, Loop, Op, Program, Scope, Stmt, Var, Yield
from hybridc.core.types import rank
from hybridc.core.walk import (
    all_blocks,
    highest_id,
    map_blocks,
    outs_of,
    rebuilt,
    statements,
    statements_in,
    uses,
    with_body,
)
from hybridc.passes.counted import Counted, counted, within
from hybridc.passes.each import each

MOST = 16
"""Times as large as the tensor, at most, what is made ahead."""
VIEWS = ("tensor_view", "get")
"""What can be done before the loop for nothing, and cannot fault."""


def run(program: Program) -> Program:
    return each(program, "ahead", lambda fn: _Ahead(fn).run(), needs=["matmul"])


def given_rows(fn: Fn) -> set[str]:
    """The functions that a loop which counts gives a row of its own number: what they multiply it by could be made
    before the loop, if they stood there."""
    found: set[str] = set()
    for loop in statements_in(fn):
        turns = counted(loop) if isinstance(loop, Loop) else None
        if turns is not None:
            rows = {o for s in turns.rest.stmts if isinstance(s, Op) and s.op == "index" and turns.index in s.args
                    for o in s.outs}
            found.update(s.fn for s in turns.rest.stmts if isinstance(s, Call) and rows.intersection(s.args))
    return found


class _Ahead:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.b = Builder(highest_id(fn) + 1)
        self.made_by = {o.id: s for s in statements_in(fn) if isinstance(s, Op) for o in s.outs}

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_blocks(stmt, self.block)
            if isinstance(stmt, Loop):
                stmts += self.loop(stmt)
            else:
                stmts.append(stmt)
        return rebuilt(b, stmts, b.tail)

    def loop(self, loop: Loop) -> list[Stmt]:
        """The loop, and before it what its turns need no more."""
        found = counted(loop)
        if found is None or loop.inits[found.place] != integer(0) or _leaves(found.rest):
            return [loop]
        turn = _Turn(self, loop, found)
        self.b.open()
        stmts = [s for stmt in loop.body.stmts for s in turn.statement(stmt)]
        before = self.b.close(loop.body.tail).stmts
        if not before:
            return [loop]
        body = Block(tuple(stmts), loop.body.tail)
        for name in reversed(turn.rows):
            # Without a user they go: there is a row for every turn, so that nothing can fault.
            if not any(v.id == name for v in uses(body)):
                body = replace(body, stmts=tuple(s for s in body.stmts if name not in [o.id for o in outs_of(s)]))
        return [*before, replace(loop, body=body)]


class _Turn:
    """What a turn of a loop has of its own row. The builder's open block stands before the loop."""

    def __init__(self, ahead: _Ahead, loop: Loop, found: Counted):
        self.ahead, self.b, self.found = ahead, ahead.b, found
        self.own = within(loop)
        self.views: dict[int, Op] = {}
        """Views of what is the same at every turn."""
        self.moved: dict[int, Var] = {}
        """Such, before the loop."""
        self.rows: dict[int, Var] = {}
        """This turn's row, or it with an axis of one before: of which tensor."""

    def same(self, a: Atom) -> bool:
        return not isinstance(a, Var) or a.id not in self.own or a.id in self.views

    def statement(self, stmt: Stmt) -> list[Stmt]:
        """What the loop has in its place."""
        if not isinstance(stmt, Op) or not stmt.args or len(stmt.outs) != 1:
            return [stmt]
        first, out = stmt.args[0], stmt.outs[0]
        if stmt.op in VIEWS and all(map(self.same, stmt.args)):
            self.views[out.id] = stmt
        elif stmt.op == "index" and self.is_row(stmt):
            assert isinstance(first, Var)
            self.rows[out.id] = first
        elif isinstance(first, Var) and first.id in self.rows:
            if stmt.op == "reshape" and None not in tb.static(first) and tb.static(out) == (1, *tb.static(first)):
                self.rows[out.id] = self.rows[first.id]
            elif stmt.op == "matmul":
                return self.product(stmt, self.rows[first.id]) or [stmt]
        return [stmt]

    def is_row(self, op: Op) -> bool:
        """Is it the row of this turn's number, of a tensor with as many rows as there are turns?"""
        x, *ints = op.args
        if not isinstance(x, Var) or x.id in self.own or rank(x.type) not in (2, 3):
            return False
        if op.attr("kinds") != ("i", *[""] * (rank(x.type) - 1)) or ints != [self.found.index]:
            return False
        stop = self.found.stop
        if isinstance(stop, Const):
            return tb.static(x)[0] == stop.value
        size = self.ahead.made_by.get(stop.id)
        return size is not None and size.op == "dim" and size.args == (x,) and size.attr("axis") == 0

    def product(self, op: Op, x: Var) -> list[Stmt]:
        """One product of all rows before the loop, and its row in the loop; nothing if it has to stay."""
        matrix = op.args[1]
        if op.attr("ta") or not self.same(matrix) or rank(matrix.type) != 2:
            return []
        columns, inner = tb.static(matrix) if op.attr("tb") else reversed(tb.static(matrix))
        if inner is None or columns is None or tb.static(x)[-1] != inner or columns > MOST * inner:
            return []
        b, b.span = self.b, op.span
        matrix = self.before(matrix)
        sizes = tb.dims(b, x)
        rows = tb.product(b, sizes[:-1])
        all_rows = x if len(sizes) == 2 else tb.reshape(b, x, [rows, sizes[-1]])
        every = tb.matmul(b, all_rows, matrix, tb=bool(op.attr("tb")))
        flat = tb.reshape(b, every, [tb.mul(b, rows, integer(columns))])
        # A part of it without a copy.
        shape = [sizes[1] if len(sizes) == 3 else integer(1), integer(columns)]
        b.open()
        at = tb.mul(b, self.found.index, tb.product(b, shape))
        b.add(Op(op.outs, "tensor_view", (flat, at, *shape), span=op.span))
        return list(b.close(Yield()).stmts)

    def before(self, a: Atom) -> Atom:
        """What a view is before the loop."""
        if not isinstance(a, Var) or a.id not in self.views:
            return a
        if a.id not in self.moved:
            op = self.views[a.id]
            self.moved[a.id] = self.b.op(op.op, [self.before(x) for x in op.args], a.type, a.name, **dict(op.attrs))
        return self.moved[a.id]


def _leaves(block: Block) -> bool:
    """Does it go elsewhere than to its end, or to a fault?"""
    own = {s.label for s in statements(block) if isinstance(s, (Loop, Scope))}
    return any(isinstance(inner.tail, Exit) and inner.tail.label not in own for inner in all_blocks(block))
