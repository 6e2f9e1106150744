"""What a kernel does with one row: loops over its columns, a vector at a time.

A sum runs in LANES partial sums, which are combined in pairs at the end: its order depends on the number of columns
alone. What is written for scalars only (wide.py: NotWide) runs one column at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hybridc.kernels.causal import masked
from hybridc.kernels.graph import Node
from hybridc.kernels.schedule import Action, Loop, Schedule, Segment, Time
from hybridc.llvm.code import Code
from hybridc.llvm.elementary import element
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.strided import least, times
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tensor_reduce import combine, identity
from hybridc.llvm.wide import WIDTH, NotWide, Wide, vector

LANES = 64
FEW, FEW_COSTLY = 8, 2
"""Columns up to which a loop goes one by one; of one that computes what is costly and has vectors, the second."""
AHEAD = 4096
"""Bytes: as far as memory is asked ahead of a place in a long row."""


class Columns:
    """Writes the loops of one row of a kernel."""

    k: ElementCode
    over: Collection[int]
    """Results that may lie where something lies that is read."""
    adds: bool
    """Are results added to what lies where they go?"""
    names: dict[Node, str]
    """Operands of what is passed to the kernel."""
    row: str
    """The number of the row among all, and `within` the block."""
    within: str

    def __init__(self, module: Module, plan: Schedule):
        self.module, self.plan, self.graph = module, plan, plan.graph
        self.busiest = plan.busiest()
        self.memo: dict[Node, str] = {}
        """Values and addresses of the row that is being written."""
        self.first: dict[Node, str] = {}
        """Where the rows of scratch memory of a node begin."""
        self.lasting: dict[Node, str] = {}
        """Memory for values of rows that a later segment needs."""
        self.at: Time = (0, 0)
        self.wide: Wide | None = None
        """Set while a loop of vectors is written; `mask` then says which columns there are, or is empty."""
        self.mask = ""
        self.limit = ""
        """The columns that the rows of a block need of the space that is limited (kernels/causal.py)."""
        self.masked = [n for n in plan.graph.nodes if n.space is not None and n.space == plan.limited
                       and masked(plan.graph, n)]
        """What is -inf beyond the diagonal."""
        self.below = False
        """Do all columns of the turn that is written lie before it?"""
        self.asks = False
        """Is the next row asked of memory while this one is computed?"""
        self.totals: dict[int, str] = {}
        """By number, where results are that all rows add to."""
        self.share: tuple[str, str] | None = None
        """Of columns that are cut: from which to which they are computed, in each part of a space."""
        self.apart: dict[int, int] = {}
        """Parts of the spaces whose columns may be cut (kernels/columns.py)."""

    # ---- sizes
    def size(self, c: int) -> str:
        c = self.graph.axes.find(c)
        static = self.graph.axes.static[c]
        return f"%n{c}" if static is None else str(static)

    def product(self, classes: Sequence[int]) -> str:
        total = "1"
        for c in classes:
            total = times(self.k, total, self.size(c))
        return total

    def needed(self, space: int | None) -> str:
        """Columns of a space that are computed, where they are not cut."""
        if space is not None and space == self.plan.limited and self.limit:
            return self.limit
        return self.product(self.graph.spaces[space]) if space is not None else "1"

    @contextmanager
    def spans(self, space: int | None) -> Iterator[tuple[str, str]]:
        """The columns of a space that are computed, from one to before another: in a loop over its parts, unless all
        are."""
        if self.share is None or space not in self.apart:
            yield "0", self.needed(space)
            return
        k, (first, last), count = self.k, self.share, self.apart[space]
        if count == 1:
            yield first, last
            return
        whole, width = self.needed(space), str(int(self.needed(space)) // count)
        every = k.icmp("eq", k.sub(last, first), width)
        with k.loop(k.select(every, "i64", "1", str(count))) as turn:
            before = k.mul(turn.index, width)
            yield k.add(before, first), k.select(every, "i64", whole, k.add(before, last))

    def width(self, node: Node) -> str:
        """Columns of a node."""
        return self.product(self.graph.spaces[node.space]) if node.space is not None else "1"

    # ---- one row
    def row_loops(self, segment: Segment, row: str, within: str, known: Mapping[Node, str]) -> None:
        """Everything a segment does with one row, of which values are known; `within` is its number in the block."""
        self.row, self.within = row, within
        kept = dict(self.memo)
        self.memo.update(known)
        for at in sorted(segment.loops):
            self.at = at
            for loop in segment.loops[at].values():
                self.columns(loop)
        self.at = (self.at[0], 1 << 30)
        for action in segment.rows:
            t, value = SCALARS[action.node.type.name][0], self.row_value(action.value)
            to = self.target(action)
            if action.kind == "total":
                value = self.step(action.node, self.k.load(t, to), value)
            self.k.store(t, value, to)
        self.memo = kept

    def place(self, node: Node, axes: Sequence[int], row: str) -> str:
        """The number of a row, given along all `axes`, among those of the axes that the node varies along."""
        k = self.k
        if tuple(node.rows) == tuple(axes):
            return row
        at, scale, rest = "0", "1", row
        for c in reversed(axes):
            size = self.size(c)
            if c in node.rows:
                here = k.op2("urem", "i64", rest, size) if c != axes[0] else rest
                at = k.add(times(k, here, scale), at)
                scale = times(k, scale, size)
            rest = k.op2("udiv", "i64", rest, size) if c != axes[0] else rest
        return at

    def start(self, node: Node) -> str:
        """Where this row of a tensor or of scratch memory begins."""
        found = self.memo.get(node)
        if found is not None:
            return found
        k, t = self.k, SCALARS[node.type.name][0]
        number = self.plan.kept.get(node)
        if number is not None and number >= 0:
            address = k.element(self.first[node], t, times(k, self.within, self.width(node)))
        elif number is not None:
            address = k.element(f"%o{-number - 1}", t, times(k, self.row, self.width(node)))
        else:
            at = self.row if node.all_rows else self.place(node, self.graph.rows, self.row) if node.rows else "0"
            address = k.element(self.names[node], t, times(k, at, self.width(node)))
        self.memo[node] = address
        return address

    def row_value(self, node: Node) -> str:
        """A value that is one for the row."""
        found = self.memo.get(node)
        if found is not None:
            return found
        t = SCALARS[node.type.name][0]
        match node.kind:
            case "scalar":
                return self.names[node]
            case "iota":
                return self.place(node, self.graph.rows, self.row) if node.rows else "0"
            case "load":
                at = self.row if node.all_rows else self.place(node, self.graph.rows, self.row) if node.rows else "0"
                value = self.k.load(t, self.k.element(self.names[node], t, at))
            case "reduce":
                value = self.k.load(t, self.k.element(self.lasting[node], t, self.within))
            case _:
                value = self.computed(node, [self.row_value(a) for a in node.args])
        self.memo[node] = value
        return value

    def computed(self, node: Node, values: list[str]) -> str:
        op = node.op
        assert op is not None
        if op.op == "broadcast":
            return values[0]
        attrs = {n: v for n, v in op.attrs if n not in ("fn", "axes")}
        types = tuple(a.type for a in node.args)
        code = self.wide if node.space is not None and self.wide is not None else self.k
        return element(code, str(op.attr("fn")), tuple(values), types, node.type, attrs)

    # ---- columns
    def columns(self, loop: Loop) -> None:
        for action in loop.actions:
            self.prepare(action.value)
        targets = {a: self.target(a) for a in loop.actions if a.kind != "reduce"}
        with self.spans(loop.space) as (begin, end):
            self.some_columns(loop, targets, begin, end)

    def some_columns(self, loop: Loop, targets: dict[Action, str], begin: str, count: str) -> None:
        """From one to before another; all of them if there are sums."""
        k = self.k
        sums = [a.node for a in loop.actions if a.kind == "reduce"]
        if self.vectors(loop, targets, sums, begin, count):
            return
        if not sums:
            with k.loop(count, start=begin) as turn:
                self.turn(loop, targets, turn.index)
            return
        kinds = [(SCALARS[n.type.name][0], identity(self.fn(n), n.type)) for n in sums]
        if self.few(count, FEW):
            with k.loop(count, kinds) as turn:
                new = self.turn(loop, targets, turn.index)
                turn.next = [self.step(n, old, new[n]) for n, old in zip(sums, turn.values, strict=True)]
            self.finished(sums, turn.values)
            return
        partial = [k.alloca(LANES * SCALARS[n.type.name][1], 64) for n in sums]
        with k.loop(str(LANES)) as lane:
            for p, (t, nothing) in zip(partial, kinds, strict=True):
                k.store(t, nothing, k.element(p, t, lane.index))
        filled = _whole(k, count, LANES)

        def lanes(start: str, number: str) -> None:
            with k.loop(number) as lane:
                new = self.turn(loop, targets, k.add(start, lane.index))
                for n, p, (t, _) in zip(sums, partial, kinds, strict=True):
                    at = k.element(p, t, lane.index)
                    k.store(t, self.step(n, k.load(t, at), new[n]), at)

        if filled != "0":
            with k.loop(filled, step=LANES) as block:
                lanes(block.index, str(LANES))
        if filled != count:
            lanes(filled, k.sub(count, filled) if count.startswith("%") else str(int(count) - int(filled)))
        totals = []
        for n, p, (t, _) in zip(sums, partial, kinds, strict=True):
            half = LANES // 2
            while half >= 8:
                with k.loop(str(half)) as lane:
                    a, b = k.element(p, t, lane.index), k.element(p, t, k.add(lane.index, str(half)))
                    k.store(t, self.step(n, k.load(t, a), k.load(t, b)), a)
                half //= 2
            values = [k.load(t, k.element(p, t, str(i))) for i in range(8)]
            while len(values) > 1:
                pairs = len(values) // 2
                values = [self.step(n, values[i], values[i + pairs]) for i in range(pairs)]
            totals.append(values[0])
        self.finished(sums, totals)

    def few(self, count: str, most: int) -> bool:
        return not count.startswith("%") and int(count) <= most

    def vectors(self, loop: Loop, targets: dict[Action, str], sums: list[Node], begin: str, count: str) -> bool:
        """The loop with vectors, if all in it can be; with a sum in several, which take turns."""
        k = self.k
        costly = any(n.costly for n in self.plan.computed(loop, self.at))
        if self.few(count, FEW_COSTLY if costly else FEW):
            return False
        mark, memo = k.mark(), dict(self.memo)
        self.wide = Wide(k)
        try:
            kinds = [(SCALARS[n.type.name][0], identity(self.fn(n), n.type)) for n in sums]
            parts = LANES // WIDTH
            carry = [(vector(t), f"splat ({t} {nothing})") for t, nothing in kinds for _ in range(parts)]
            open_ = count.startswith("%")
            # Shares begin, and but for the last one end, with a vector.
            all_ = self.needed(loop.space)
            even = begin != "0" and not all_.startswith("%") and int(all_) % WIDTH == 0
            filled = count if even else _whole(k, count, WIDTH)
            few = not open_ and int(count) <= LANES
            diagonal = self.diagonal(loop, filled)
            for start, stop in [(begin, filled)] if not diagonal else [(begin, diagonal), (diagonal, filled)]:
                self.below = stop == diagonal
                with k.loop(stop, carry, start=start, step=WIDTH, rolled=not few) as turn:
                    new = self.turn(loop, targets, turn.index)
                    for i, n in enumerate(sums):
                        first, *others = turn.values[i * parts : (i + 1) * parts]
                        turn.next += [*others, self.step(n, first, new[n])]
                carry = [(t, value) for (t, _), value in zip(carry, turn.values, strict=True)]
            self.below = False
            totals = [turn.values[i * parts : (i + 1) * parts] for i in range(len(sums))]
            if filled != count:
                self.rest(loop, targets, filled, count, list(zip(sums, kinds, totals, strict=True)))
        except NotWide:
            k.reset(mark)
            self.memo = memo
            return False
        finally:
            self.wide, self.mask, self.below = None, "", False
        self.finished(sums, [self.total(n, t, all_) for n, (t, _), all_ in zip(sums, kinds, totals, strict=True)])
        return True

    def diagonal(self, loop: Loop, filled: str) -> str:
        """How many columns of a loop that leaves out what lies beyond the diagonal are whole vectors before it."""
        computed = self.plan.computed(loop, self.at)
        for node in self.masked:
            if node in computed:
                (number,) = (n for n in node.args[0].args if n.space is None)
                return least(self.k, self.k.op2("and", "i64", self.row_value(number), str(-WIDTH)), filled)
        return ""

    def rest(self, loop: Loop, targets: dict[Action, str], start: str, count: str,
             sums: list[tuple[Node, tuple[str, str], list[str]]]) -> None:
        """The columns that do not fill a vector."""
        k, wide = self.k, self.wide
        assert wide is not None
        left = k.sub(count, start) if count.startswith("%") else str(int(count) - int(start))
        before, rest, done = k.here, k.label("rest"), k.label("done")
        k.branch(k.icmp("sgt", left, "0"), rest, done)
        k.start(rest)
        self.mask = wide.mask(left)
        new = self.turn(loop, targets, start)
        added = []
        for n, (t, nothing), parts in sums:
            value = wide.select(self.mask, t, new[n], nothing)
            added.append(self.step(n, parts[0], value))
        here = k.here
        k.jump(done)
        k.start(done)
        for (_, (t, _), parts), value in zip(sums, added, strict=True):
            parts[0] = k.phi(vector(t), [(parts[0], before), (value, here)])

    def total(self, node: Node, t: str, parts: list[str]) -> str:
        """Of partial results: halves of them, then of the lanes. Whichever is first, the same ones meet."""
        k, fn, wide = self.k, self.fn(node), Wide(self.k)
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [combine(wide, fn, node.type, t, parts[i], parts[i + half]) for i in range(half)]
        value, width = parts[0], WIDTH
        while width > 1:
            a, b = wide.halves(t, value, width)
            width //= 2
            value = combine(k, fn, node.type, f"<{width} x {t}>", a, b)
        return k.ins(f"extractelement <1 x {t}> {value}, i32 0")

    def finished(self, sums: list[Node], totals: Sequence[str]) -> None:
        for n, value in zip(sums, totals, strict=True):
            self.memo[n] = value
            if n in self.lasting:
                t = SCALARS[n.type.name][0]
                self.k.store(t, value, self.k.element(self.lasting[n], t, self.within))

    def fn(self, node: Node) -> str:
        assert node.op is not None
        return str(node.op.attr("fn"))

    def step(self, node: Node, a: str, b: str) -> str:
        t = SCALARS[node.type.name][0]
        return combine(self.wide or self.k, self.fn(node), node.type, t, a, b)

    def prepare(self, node: Node) -> None:
        """What of a value is the same for the row is computed before the loop."""
        if node.space is None:
            self.row_value(node)
        elif node.kind in ("load", "product", "concat") or self.plan.readable(node, self.at):
            self.start(node)
        elif node.kind == "slice" and node.args[0].kind != "load":
            self.start(node.args[0])
        else:
            for a in node.args:
                self.prepare(a)

    def target(self, action: Action) -> str:
        """Where the loop stores."""
        node = action.node
        t = SCALARS[node.type.name][0]
        if action.kind == "store":
            return self.k.element(f"%o{action.number}", t, times(self.k, self.row, self.width(node)))
        if action.kind == "total":
            return self.totals[action.number]
        if action.kind == "keep":
            return self.start(node)
        assert action.target is not None
        before = "0"
        for piece in action.target.args[: action.number]:
            width = self.width(piece)
            before = self.k.add(before, width) if (before + width).count("%") else str(int(before) + int(width))
        return self.k.element(self.start(action.target), t, before)

    def turn(self, loop: Loop, targets: dict[Action, str], column: str) -> dict[Node, str]:
        """One turn of a loop; the new values for its reductions. What lies over something that is read is stored when
        all has been read."""
        found: dict[Node, str] = {}
        sums: dict[Node, str] = {}
        if self.over:
            for action in loop.actions:
                self.value(action.value, column, found)
        for action in loop.actions:
            if action.kind == "reduce":
                sums[action.node] = self.value(action.value, column, found)
                continue
            t = SCALARS[action.node.type.name][0]
            value, to = self.value(action.value, column, found), self.k.element(targets[action], t, column)
            if action.kind == "total":
                value = self.step(action.node, self.read(t, to), value)
            if action.kind == "store" or action.kind == "keep" and self.plan.kept[action.node] < 0:
                self.ask(action.node, targets[action], column, True)
            if self.adds:
                kind = action.node.type
                value = element(self.wide or self.k, "add", (self.read(t, to), value), (kind, kind), kind, {})
            if self.wide is not None:
                self.wide.store(t, value, to, self.mask)
            else:
                self.k.store(t, value, to)
        return sums

    def value(self, node: Node, column: str, found: dict[Node, str]) -> str:
        """A value at a column, or at those of a vector."""
        value = found.get(node)
        if value is not None:
            return value
        k, t = self.k, SCALARS[node.type.name][0]
        if self.below and node in self.masked:
            value = self.value(node.args[1], column, found)
        elif node.space is None:
            value = self.row_value(node)
            if self.wide is not None:
                value = self.wide.splat(t, value)
        elif node.kind == "iota":
            value = column if self.wide is None else self.wide.numbers(column)
        elif node.kind == "load" or self.plan.readable(node, self.at):
            value = self.read(t, k.element(self.start(node), t, column))
            if node.kind == "load" and node.all_rows and self.at == self.busiest[node]:
                self.ask(node, self.start(node), column, False)
        elif node.kind == "slice":
            value = self.read(t, k.element(self.start(node.args[0]), t, k.add(column, str(node.start))))
        else:
            value = self.computed(node, [self.value(a, column, found) for a in node.args])
        found[node] = value
        return value

    def ask(self, node: Node, start: str, column: str, writes: bool) -> None:
        """Have memory bring the next row of a tensor while this one is computed: a row is gone through several times,
        and memory would wait for all but the first. Where most is computed memory has time. Of what is one row, what
        comes AHEAD."""
        if not self.asks or self.wide is None:
            return
        t, size = SCALARS[node.type.name]
        far = str(AHEAD // size) if self.plan.flat else self.width(node)
        self.k.prefetch(self.k.beyond(start, t, self.k.add(column, far)), writes=writes, near=False)

    def read(self, t: str, address: str) -> str:
        return self.wide.load(t, address, self.mask) if self.wide is not None else self.k.load(t, address)


def _whole(k: Code, count: str, of: int) -> str:
    """The part of a count that is a multiple of a power of two."""
    return k.op2("and", "i64", count, str(-of)) if count.startswith("%") else str(int(count) & -of)
