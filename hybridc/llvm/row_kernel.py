"""A scheduled kernel graph as one LLVM function: loops over rows, within them loops over columns that LLVM vectorises.

The function takes the context, the addresses of its results, of the tensors it reads and its scalars, and the sizes
that are not known. Rows with products come in blocks, so that a block's intermediate rows stay in the cache. A sum runs
in LANES partial sums, which are combined in pairs at the end: its order depends on the number of columns alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hybridc.kernels.graph import Graph, Node
from hybridc.kernels.schedule import Action, Loop, Schedule, Segment, Time
from hybridc.llvm import support
from hybridc.llvm.abi import OFFSET, fault_code
from hybridc.llvm.block_product import dots, pack, panel_width, panels
from hybridc.llvm.code import Module
from hybridc.llvm.elementary import element
from hybridc.llvm.emitter import CTX
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.product import DOT_ROWS, PACK_FROM
from hybridc.llvm.strided import times
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tensor_reduce import combine, identity
from hybridc.llvm.tiles import tile_heights, tile_rows

LANES = 64
FEW = 8
"""Columns up to which a reduction goes one by one."""
ON_STACK = 1 << 15
"""Bytes of scratch memory up to which it is on the stack."""


@dataclass(frozen=True)
class Kernel:
    """`inputs` are the nodes that are passed, after the results; then `sizes`, classes of axes."""

    name: str
    inputs: tuple[Node, ...]
    sizes: tuple[int, ...]
    fails: bool


def kernel_of(module: Module, plan: Schedule) -> Kernel:
    """Write the kernel."""
    return _Writer(module, plan).write()


class _Writer:
    def __init__(self, module: Module, plan: Schedule):
        self.module, self.plan, self.graph = module, plan, plan.graph
        graph = plan.graph
        self.inputs = [n for n in graph.nodes if n.kind in ("load", "matrix", "scalar")]
        self.products = graph.of_kind("product")
        self.sizes = self.open_sizes(graph)
        self.fails = bool(self.products) or any(n >= 0 for n in plan.kept.values())
        self.memo: dict[Node, str] = {}
        """Values and addresses of the row that is being written."""
        self.first: dict[Node, str] = {}
        """Where the rows of scratch memory of a node begin."""
        self.packed: dict[Node, str] = {}
        self.lasting: dict[Node, str] = {}
        self.at: Time = (0, 0)

    def open_sizes(self, graph: Graph) -> tuple[int, ...]:
        classes = [*graph.rows, *(c for s in graph.spaces for c in s)]
        found = [graph.axes.find(c) for c in classes]
        return tuple(dict.fromkeys(c for c in found if graph.axes.static[c] is None))

    def size(self, c: int) -> str:
        c = self.graph.axes.find(c)
        static = self.graph.axes.static[c]
        return f"%n{c}" if static is None else str(static)

    def product(self, classes: Sequence[int]) -> str:
        total = "1"
        for c in classes:
            total = times(self.k, total, self.size(c))
        return total

    def width(self, node: Node) -> str:
        """Columns of a node."""
        return self.product(self.graph.spaces[node.space]) if node.space is not None else "1"

    def write(self) -> Kernel:
        name = self.module.fresh("kernel.fused")
        self.module.defined.add(name)
        params = [("ptr", CTX), *(("ptr noalias", f"%o{i}") for i in range(len(self.graph.outputs)))]
        names: dict[Node, str] = {}
        for i, n in enumerate(self.inputs):
            names[n] = f"%x{i}"
            params.append((SCALARS[n.type.name][0] if n.kind == "scalar" else "ptr", names[n]))
        params += [("i64", f"%n{c}") for c in self.sizes]
        self.names = names
        self.k = ElementCode(self.module, name, params, "i32" if self.fails else "void")
        self.body()
        self.k.ret("0" if self.fails else "")
        self.k.finish()
        return Kernel(name, tuple(self.inputs), self.sizes, self.fails)

    # ---- rows
    def body(self) -> None:
        k, graph = self.k, self.graph
        batches = self.product(graph.rows[: graph.batch])
        each = self.product(graph.rows[graph.batch :])
        if not self.products:
            with self.scratch("1"), self.turns(each) as row:
                self.row_loops(self.plan.segments[0], row, "0")
            return
        block = 1 if each == "1" else 4 * tile_rows(self.module)
        with self.scratch(str(block)), self.turns(batches) as batch:
            self.begin_batch(batch, each)
            base = times(k, batch, each)
            with k.loop(each, step=block) as turn:
                self.poll()
                rest = k.sub(each, turn.index) if each != "1" else "1"
                rows = "1" if block == 1 else k.call("i64", "@llvm.smin.i64", [("i64", rest), ("i64", str(block))])
                if not each.startswith("%") and int(each) % block == 0:
                    rows = str(block)
                first = k.add(base, turn.index)
                for segment in self.plan.segments:
                    for node in segment.products:
                        self.multiply(node, first, turn.index, rows, each)
                    if segment.loops or segment.rows:
                        with self.turns(rows) as within:
                            self.row_loops(segment, k.add(first, within), within)
            self.end_batch()

    @contextmanager
    def turns(self, count: str) -> Iterator[str]:
        if count == "1":
            yield "0"
            return
        with self.k.loop(count) as turn:
            yield turn.index

    @contextmanager
    def scratch(self, block: str) -> Iterator[None]:
        """Rows of memory for what is kept, and places for values of rows that later segments need."""
        k, total = self.k, "0"
        offsets: dict[Node, str] = {}
        for node, number in self.plan.kept.items():
            if number >= 0:
                offsets[node] = total
                bytes_ = times(k, times(k, self.width(node), block), str(SCALARS[node.type.name][1]))
                rounded = str(-(-int(bytes_) // 64) * 64) if not bytes_.startswith("%") else k.op2(
                    "and", "i64", k.add(bytes_, "63"), "-64")
                total = str(int(total) + int(rounded)) if not (total + rounded).count("%") else k.add(total, rounded)
        heap = bool(offsets) and (total.startswith("%") or int(total) > ON_STACK)
        memory = self.allocate(total) if heap else k.alloca(int(total), 64) if offsets else ""
        for node, offset in offsets.items():
            self.first[node] = k.ptr_add(memory, offset)
        for node in self.plan.across:
            self.lasting[node] = k.alloca(int(block) * SCALARS[node.type.name][1])
        self.heap = [memory] if heap else []
        yield
        for m in self.heap:
            k.call("void", "@free", [("ptr", m)])

    def allocate(self, size: str) -> str:
        memory = self.k.call("ptr", "@malloc", [("i64", size)])
        with self.k.when(self.k.icmp("eq", memory, "null", "ptr")):
            kind = str(fault_code("MemoryError"))
            self.k.call("void", support.set_fault(self.module), [("ptr", CTX), ("i64", kind)])
            self.leave()
        return memory

    def leave(self) -> None:
        """Give back the memory and fail."""
        for m in getattr(self, "heap", []):
            self.k.call("void", "@free", [("ptr", m)])
        self.k.ret("1")

    def poll(self) -> None:
        k = self.k
        flag = k.load("ptr", k.ptr_add(CTX, OFFSET["flag"]))
        with k.when(k.icmp("ne", k.ins(f"load volatile i32, ptr {flag}"), "0", "i32")):
            stop = k.icmp("ne", k.call("i32", support.poll(self.module), [("ptr", CTX)]), "0", "i32")
            with k.when(stop):
                self.leave()

    # ---- products
    def begin_batch(self, batch: str, each: str) -> None:
        """The matrices of this batch: where they lie, packed if there are many rows."""
        k = self.k
        self.mark = len(self.heap)
        for node in dict.fromkeys(p.args[1] for p in self.products):
            users = [p for p in self.products if p.args[1] is node]
            n, inner = self.width(users[0]), self.width(users[0].args[0])
            at = "0"
            if node.rows:
                at = times(k, self.place(node, self.graph.rows[: self.graph.batch], batch), times(k, n, inner))
            self.memo[node] = k.element(self.names[node], SCALARS[node.type.name][0], at)
            few = DOT_ROWS if users[0].transposed else PACK_FROM
            if not each.startswith("%"):
                if int(each) > few:
                    self.packed[node] = self.pack(users[0], n, inner)
                continue
            before = k.here
            many, ready = k.label("pack"), k.label("packed")
            k.branch(k.icmp("sgt", each, str(few)), many, ready)
            k.start(many)
            fresh = self.pack(users[0], n, inner)
            self.heap.pop()
            after = k.here
            k.jump(ready)
            k.start(ready)
            self.packed[node] = k.phi("ptr", [("null", before), (fresh, after)])
            self.heap.append(self.packed[node])

    def pack(self, user: Node, n: str, inner: str) -> str:
        k, kind = self.k, user.type
        width = panel_width(self.module, kind)
        count = k.mul(k.op2("udiv", "i64", k.add(n, str(width - 1)), str(width)), str(width * SCALARS[kind.name][1]))
        memory = self.allocate(k.mul(inner, count))
        ldb = inner if user.transposed else n
        args = [("ptr", memory), ("ptr", self.memo[user.args[1]]), ("i64", ldb), ("i64", n), ("i64", inner)]
        k.call("void", pack(self.module, kind, user.transposed), args)
        self.heap.append(memory)
        return memory

    def end_batch(self) -> None:
        for m in self.heap[self.mark :]:
            self.k.call("void", "@free", [("ptr", m)])
        del self.heap[self.mark :]

    def multiply(self, node: Node, first: str, inside: str, rows: str, each: str) -> None:
        """The block's rows of a product: from row `first`, which is row `inside` of the batch."""
        k = self.k
        row, matrix = node.args
        t = SCALARS[node.type.name][0]
        n, inner = self.width(node), self.width(row)
        if row in self.plan.kept:
            number = self.plan.kept[row]
            a = self.first[row] if number >= 0 else k.element(f"%o{-number - 1}", t, times(k, first, inner))
        else:
            a = k.element(self.names[row], t, times(k, first if row.all_rows else inside, inner))
        c = self.first[node]
        packed = self.packed.get(matrix)
        if packed is not None and not each.startswith("%"):
            self.by_panels(node, c, a, packed, True, rows, n, inner)
            return
        if packed is None:
            self.unpacked(node, c, a, rows, n, inner)
            return
        plain, quick, done = k.label("plain"), k.label("panels"), k.label("done")
        k.branch(k.icmp("eq", packed, "null", "ptr"), plain, quick)
        k.start(plain)
        self.unpacked(node, c, a, rows, n, inner)
        k.jump(done)
        k.start(quick)
        self.by_panels(node, c, a, packed, True, rows, n, inner)
        k.jump(done)
        k.start(done)

    def unpacked(self, node: Node, c: str, a: str, rows: str, n: str, inner: str) -> None:
        k, b = self.k, self.memo[node.args[1]]
        if not node.transposed:
            self.by_panels(node, c, a, b, False, rows, n, inner)
            return
        sizes = [("i64", v) for v in (rows, n, inner)]
        k.call("void", dots(self.module, node.type, rows == "1"), [
            ("ptr", c), ("i64", n), ("ptr", a), ("i64", inner), ("ptr", b), ("i64", inner), *sizes])

    def by_panels(self, node: Node, c: str, a: str, b: str, packed: bool, rows: str, n: str, inner: str) -> None:
        width = panel_width(self.module, node.type)
        whole = not n.startswith("%") and int(n) % width == 0
        helper = panels(self.module, node.type, tile_heights(self.module, rows), whole=whole)
        step = times(self.k, inner, str(width)) if packed else str(width)
        sizes = [("i64", s) for s in (step, str(width) if packed else n, rows, n, inner)]
        args = [("ptr", c), ("i64", n), ("ptr", a), ("i64", inner), ("ptr", b), *sizes, ("i1", "false")]
        self.k.call("void", helper, args)

    # ---- one row
    def row_loops(self, segment: Segment, row: str, within: str) -> None:
        """Everything a segment does with one row; `within` is its number in the block."""
        self.row, self.within = row, within
        kept = dict(self.memo)
        for at in sorted(segment.loops):
            self.at = at
            for loop in segment.loops[at].values():
                self.columns(loop)
        self.at = (self.at[0], 1 << 30)
        for action in segment.rows:
            t = SCALARS[action.node.type.name][0]
            self.k.store(t, self.row_value(action.node), self.k.element(f"%o{action.number}", t, row))
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
        return element(self.k, str(op.attr("fn")), tuple(values), types, node.type, attrs)  # type: ignore[arg-type]

    # ---- columns
    def columns(self, loop: Loop) -> None:
        k = self.k
        for action in loop.actions:
            self.prepare(action.node.args[0] if action.kind == "reduce" else action.node)
        count = self.product(self.graph.spaces[loop.space])
        targets = {a: self.target(a) for a in loop.actions if a.kind != "reduce"}
        sums = [a.node for a in loop.actions if a.kind == "reduce"]
        if not sums:
            with k.loop(count) as turn:
                self.turn(loop, targets, turn.index)
            return
        kinds = [(SCALARS[n.type.name][0], identity(self.fn(n), n.type)) for n in sums]
        if not count.startswith("%") and int(count) <= FEW:
            with k.loop(count, kinds) as turn:
                new = self.turn(loop, targets, turn.index)
                turn.next = [self.step(n, old, new[n]) for n, old in zip(sums, turn.values, strict=True)]
            self.finished(sums, turn.values)
            return
        partial = [k.alloca(LANES * SCALARS[n.type.name][1], 64) for n in sums]
        with k.loop(str(LANES)) as lane:
            for p, (t, nothing) in zip(partial, kinds, strict=True):
                k.store(t, nothing, k.element(p, t, lane.index))
        filled = str(int(count) & -LANES) if not count.startswith("%") else k.op2("and", "i64", count, str(-LANES))

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
        return combine(self.k, self.fn(node), node.type, SCALARS[node.type.name][0], a, b)

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
        if action.kind == "keep":
            return self.start(node)
        assert action.target is not None
        before = "0"
        for piece in action.target.args[: action.number]:
            width = self.width(piece)
            before = self.k.add(before, width) if (before + width).count("%") else str(int(before) + int(width))
        return self.k.element(self.start(action.target), t, before)

    def turn(self, loop: Loop, targets: dict[Action, str], column: str) -> dict[Node, str]:
        """One turn of a loop; the new values for its reductions."""
        found: dict[Node, str] = {}
        sums: dict[Node, str] = {}
        for action in loop.actions:
            if action.kind == "reduce":
                sums[action.node] = self.value(action.node.args[0], column, found)
                continue
            t = SCALARS[action.node.type.name][0]
            value = self.value(action.node, column, found)
            self.k.store(t, value, self.k.element(targets[action], t, column))
        return sums

    def value(self, node: Node, column: str, found: dict[Node, str]) -> str:
        """A value at a column."""
        if node.space is None:
            return self.row_value(node)
        value = found.get(node)
        if value is not None:
            return value
        k, t = self.k, SCALARS[node.type.name][0]
        if node.kind == "load" or self.plan.readable(node, self.at):
            value = k.load(t, k.element(self.start(node), t, column))
        elif node.kind == "slice":
            value = k.load(t, k.element(self.start(node.args[0]), t, k.add(column, str(node.start))))
        else:
            value = self.computed(node, [self.value(a, column, found) for a in node.args])
        found[node] = value
        return value


__all__ = ["Kernel", "kernel_of"]
