"""A scheduled kernel graph as one LLVM function: loops over rows, within them loops over columns, a vector at a time.

The function takes the context, the addresses of its results, of the tensors it reads and its scalars, and the sizes
that are not known. Rows with products come in blocks, so that a block's intermediate rows stay in the cache. What is
done with a row is in column_loops.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hybridc.kernels.graph import Graph, Node
from hybridc.kernels.schedule import Schedule
from hybridc.llvm import support
from hybridc.llvm.abi import OFFSET, fault_code
from hybridc.llvm.block_product import dots, pack, panel_width, panels
from hybridc.llvm.code import Module
from hybridc.llvm.column_loops import Columns
from hybridc.llvm.emitter import CTX
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.product import DOT_ROWS, PACK_FROM
from hybridc.llvm.strided import times
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tiles import tile_heights, tile_rows

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


class _Writer(Columns):
    def __init__(self, module: Module, plan: Schedule):
        super().__init__(module, plan)
        graph = plan.graph
        self.inputs = [n for n in graph.nodes if n.kind in ("load", "matrix", "scalar")]
        self.products = graph.of_kind("product")
        self.sizes = self.open_sizes(graph)
        self.fails = bool(self.products) or any(n >= 0 for n in plan.kept.values())
        self.packed: dict[Node, str] = {}

    def open_sizes(self, graph: Graph) -> tuple[int, ...]:
        classes = [*graph.rows, *(c for s in graph.spaces for c in s)]
        found = [graph.axes.find(c) for c in classes]
        return tuple(dict.fromkeys(c for c in found if graph.axes.static[c] is None))

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
        name = self.module.shared(self.k)
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
                if self.plan.limited is not None:
                    all_ = self.product(graph.spaces[self.plan.limited])
                    last = ("i64", k.add(turn.index, rows))
                    self.limit = k.call("i64", "@llvm.smin.i64", [("i64", all_), last])
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
            stop = support.interrupt(k)
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
        inner = self.width(row)
        if row in self.plan.kept:
            number = self.plan.kept[row]
            a = self.first[row] if number >= 0 else k.element(f"%o{-number - 1}", t, times(k, first, inner))
        else:
            a = k.element(self.names[row], t, times(k, first if row.all_rows else inside, inner))
        c = self.first[node]
        packed = self.packed.get(matrix)
        if packed is not None and not each.startswith("%"):
            self.by_panels(node, c, a, packed, rows)
            return
        if packed is None:
            self.unpacked(node, c, a, rows)
            return
        plain, quick, done = k.label("plain"), k.label("panels"), k.label("done")
        k.branch(k.icmp("eq", packed, "null", "ptr"), plain, quick)
        k.start(plain)
        self.unpacked(node, c, a, rows)
        k.jump(done)
        k.start(quick)
        self.by_panels(node, c, a, packed, rows)
        k.jump(done)
        k.start(done)

    def unpacked(self, node: Node, c: str, a: str, rows: str) -> None:
        if not node.transposed:
            self.by_panels(node, c, a, "", rows)
            return
        ldc, inner, b = self.width(node), self.width(node.args[0]), self.memo[node.args[1]]
        sizes = [("i64", v) for v in (rows, self.needed(node.space), self.needed(node.args[0].space))]
        self.k.call("void", dots(self.module, node.type, rows == "1"), [
            ("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), ("i64", inner), *sizes])

    def by_panels(self, node: Node, c: str, a: str, packed: str, rows: str) -> None:
        """From the packed matrix, or where it lies."""
        width, ldc, inner = panel_width(self.module, node.type), self.width(node), self.width(node.args[0])
        n, k = self.needed(node.space), self.needed(node.args[0].space)
        whole = not n.startswith("%") and int(n) % width == 0
        helper = panels(self.module, node.type, tile_heights(self.module, rows), whole=whole)
        step = times(self.k, inner, str(width)) if packed else str(width)
        sizes = [("i64", s) for s in (step, str(width) if packed else ldc, rows, n, k)]
        b = packed or self.memo[node.args[1]]
        args = [("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), *sizes, ("i1", "false")]
        self.k.call("void", helper, args)


__all__ = ["Kernel", "kernel_of"]
