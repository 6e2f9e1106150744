"""Products that every turn of a loop makes of its own row of a tensor become one product of all rows before the loop:
the input half of a recurrent network, whose turns need each other only for the other half.

The loop counts to the size of that tensor's first axis and is left nowhere else, so that no row is multiplied in vain.
One that may end earlier makes a strip of rows when it comes to a row that is not made: twice as many each time, so that
no more are made in vain than are used. A product whose sizes are not known to fit stays where it is, since it can
fault. What it is multiplied by is the same at every turn, or a view of such, which moves too.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core import tensor_build as tb
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Atom, Block, Call, Const, Exit, Fn, Loop, Op, Program, Scope, Stmt, Var, Yield
from hybridc.core.tensor_build import typed
from hybridc.core.types import elem, rank
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
from hybridc.passes.counted import ONE, counted, within
from hybridc.passes.each import each

MOST = 16
"""Times as large as the tensor, at most, what is made ahead."""
STRIP, LONGEST = 4, 256
"""Rows of a loop's first strip, and of its longest."""
LARGE = 16_384
"""Elements of a matrix from which strips gain: what is smaller is read from the first cache at every turn."""
VIEWS = ("tensor_view", "get")
"""What can be done before the loop for nothing, and cannot fault."""


def run(program: Program, strips: bool) -> Program:
    """`strips`: rows may be multiplied that nobody asks for."""
    return each(program, f"ahead {strips}", lambda fn: _Ahead(fn, strips).run(), needs=["matmul"])


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
    def __init__(self, fn: Fn, strips: bool):
        self.fn, self.strips = fn, strips
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
        if found is not None and loop.inits[found.place] == integer(0) and not _leaves(found.rest):
            return self.made(loop, _Turn(self, loop, found.index, found.stop))
        index = _goes_up(loop) if self.strips else None
        return [loop] if index is None else self.made(loop, _Strips(self, loop, index))

    def made(self, loop: Loop, turn: _Turn) -> list[Stmt]:
        self.b.open()
        stmts = [s for stmt in loop.body.stmts for s in turn.statement(stmt)]
        before = self.b.close(loop.body.tail).stmts
        if not before:
            return [loop]
        assert isinstance(loop.body.tail, Yield)
        body = Block(tuple(stmts), Yield((*loop.body.tail.values, *turn.again)))
        for name in reversed(turn.rows):
            # Without a user they go: there is a row for every turn, so that nothing can fault.
            if turn.all_there and not any(v.id == name for v in uses(body)):
                body = replace(body, stmts=tuple(s for s in body.stmts if name not in [o.id for o in outs_of(s)]))
        params, inits = (*loop.params, *turn.params), (*loop.inits, *turn.inits)
        return [*before, replace(loop, params=params, inits=inits, body=body)]


class _Turn:
    """What a turn of a loop has of its own row. The builder's open block stands before the loop."""

    all_there = True
    """Are there as many rows as turns?"""

    def __init__(self, ahead: _Ahead, loop: Loop, index: Atom, stop: Atom | None = None):
        self.ahead, self.b, self.index, self.stop = ahead, ahead.b, index, stop
        self.own = within(loop)
        self.params: list[Var] = []
        self.inits: list[Atom] = []
        self.again: list[Atom] = []
        """What the loop carries besides."""
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
        elif stmt.op == "reshape" and isinstance(first, Var) and first.id in self.rows:
            if None not in tb.static(first) and tb.static(out) == (1, *tb.static(first)):
                self.rows[out.id] = self.rows[first.id]
        elif stmt.op == "matmul":
            return self.product(stmt) or [stmt]
        return [stmt]

    def is_row(self, op: Op) -> bool:
        """Is it the row of this turn's number, of a tensor with as many rows as there are turns?"""
        x, *ints = op.args
        if not isinstance(x, Var) or x.id in self.own or rank(x.type) not in (2, 3):
            return False
        if op.attr("kinds") != ("i", *[""] * (rank(x.type) - 1)) or ints != [self.index]:
            return False
        if not self.all_there:
            return rank(x.type) == 2
        if isinstance(self.stop, Const):
            return tb.static(x)[0] == self.stop.value
        size = self.ahead.made_by.get(self.stop.id) if self.stop is not None else None
        return size is not None and size.op == "dim" and size.args == (x,) and size.attr("axis") == 0

    def product(self, op: Op) -> list[Stmt]:
        """One product of all rows before the loop, and its row in the loop; nothing if it has to stay."""
        for place, row in enumerate(op.args):
            if isinstance(row, Var) and row.id in self.rows:
                found = self.of_row(op, self.rows[row.id], op.args[1 - place], place == 0)
                if found:
                    return found
        return []

    def of_row(self, op: Op, x: Var, matrix: Atom, first: bool) -> list[Stmt]:
        """The row times the matrix, or, where it does not stand `first`, the matrix times the row as a column."""
        across = bool(op.attr("tb"))
        if op.attr("ta") or not (first or across and rank(x.type) == 2):
            return []
        if not self.same(matrix) or rank(matrix.type) != 2:
            return []
        columns, inner = tb.static(matrix) if across else reversed(tb.static(matrix))
        if inner is None or columns is None or tb.static(x)[-1] != inner or columns > MOST * inner:
            return []
        if not self.all_there and columns * inner < LARGE:
            return []
        self.b.span = op.span
        return self.row(op, x, self.before(matrix), across, columns, first)

    def row(self, op: Op, x: Var, matrix: Atom, across: bool, columns: int, first: bool) -> list[Stmt]:
        b = self.b
        sizes = tb.dims(b, x)
        rows = tb.product(b, sizes[:-1])
        all_rows = x if len(sizes) == 2 else tb.reshape(b, x, [rows, sizes[-1]])
        every = tb.matmul(b, all_rows, matrix, tb=across)
        flat = tb.reshape(b, every, [tb.mul(b, rows, integer(columns))])
        # A part of it without a copy.
        shape = [sizes[1] if len(sizes) == 3 else integer(1), integer(columns)]
        b.open()
        at = tb.mul(b, self.index, tb.product(b, shape))
        b.add(Op(op.outs, "tensor_view", (flat, at, *(shape if first else reversed(shape))), span=op.span))
        return list(b.close(Yield()).stmts)

    def before(self, a: Atom) -> Atom:
        """What a view is before the loop."""
        if not isinstance(a, Var) or a.id not in self.views:
            return a
        if a.id not in self.moved:
            op = self.views[a.id]
            self.moved[a.id] = self.b.op(op.op, [self.before(x) for x in op.args], a.type, a.name, **dict(op.attrs))
        return self.moved[a.id]


class _Strips(_Turn):
    """The same for a loop that may end before the rows do."""

    all_there = False

    def row(self, op: Op, x: Var, matrix: Atom, across: bool, columns: int, first: bool) -> list[Stmt]:
        b, (size, inner) = self.b, tb.dims(self.b, x)
        flat = tb.reshape(b, x, [tb.mul(b, size, inner)])
        strip = b.var(typed(elem(x.type), [None]), "strip")
        start, end, most = (b.var(INT, name) for name in ("start", "end", "most"))
        none = tb.full(b, Const(0.0, elem(x.type)), [integer(0)])
        b.open()
        b.open()
        last = b.op("minimum", [b.op("add", [self.index, most], INT), size], INT)
        count = b.op("sub", [last, self.index], INT)
        at, shape = tb.mul(b, self.index, inner), typed(elem(x.type), [None, *tb.static(x)[1:]])
        part = b.op("tensor_view", [flat, at, count, inner], shape)
        made = tb.reshape(b, tb.matmul(b, part, matrix, tb=across), [tb.mul(b, count, integer(columns))])
        twice = b.op("minimum", [tb.mul(b, most, integer(2)), integer(LONGEST)], INT)
        more = b.close(Yield((made, self.index, last, twice)))
        old = (strip, start, end, most)
        late = b.op("ge", [self.index, end], BOOL)
        new = b.if_(late, more, Block((), Yield(old)), [v.type for v in old])
        row = [integer(1), integer(columns)]
        at = tb.mul(b, b.op("sub", [self.index, new[1]], INT), integer(columns))
        b.add(Op(op.outs, "tensor_view", (new[0], at, *(row if first else reversed(row))), span=op.span))
        stmts = list(b.close(Yield()).stmts)
        self.params += old
        self.inits += [none, integer(0), integer(0), integer(STRIP)]
        self.again += new
        return stmts


def _goes_up(loop: Loop) -> Var | None:
    """A number that is not negative and one more at every turn."""
    tail = loop.body.tail
    if not isinstance(tail, Yield) or len(tail.values) != len(loop.params):
        return None
    sums = {s.outs[0]: s.args for s in loop.body.stmts if isinstance(s, Op) and s.op == "add" and len(s.outs) == 1}
    for param, init, again in zip(loop.params, loop.inits, tail.values, strict=True):
        if param.type == INT and isinstance(init, Const) and init.value >= 0 and isinstance(again, Var):
            if sums.get(again) in ((param, ONE), (ONE, param)):
                return param
    return None


def _leaves(block: Block) -> bool:
    """Does it go elsewhere than to its end, or to a fault?"""
    own = {s.label for s in statements(block) if isinstance(s, (Loop, Scope))}
    return any(isinstance(inner.tail, Exit) and inner.tail.label not in own for inner in all_blocks(block))
