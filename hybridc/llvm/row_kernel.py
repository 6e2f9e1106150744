"""A scheduled kernel graph as one LLVM function: loops over rows, within them loops over columns, a vector at a time.

The function takes the context, the addresses of its results, of the tensors it reads and its scalars, and the sizes
that are not known. Rows with products come in blocks, so that a block's intermediate rows stay in the cache. What is
done with a row is in column_loops.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hybridc.base.types import F32, F64
from hybridc.kernels.axes import whole_number
from hybridc.kernels.graph import Graph, Node, WindowSizes
from hybridc.kernels.schedule import Schedule
from hybridc.llvm import support
from hybridc.llvm.abi import fault_code
from hybridc.llvm.block_product import (
    COPY_CROWDED_FROM,
    TURN_FROM,
    copies,
    dots,
    narrow,
    panel_width,
    panels,
    room_of,
)
from hybridc.llvm.column_loops import Columns
from hybridc.llvm.emitter import CTX
from hybridc.llvm.ends import LEAST, end_of
from hybridc.llvm.kept_panels import kept_width, laid_out_bytes, lay_out, row_room
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module, symbol
from hybridc.llvm.row_product import FIRST_CACHE, LINE, row_by_rows
from hybridc.llvm.strided import least, most, parts, plus, times
from hybridc.llvm.team import LARGE, spread
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tiles import TILE_ROWS, ints, tile_heights
from hybridc.llvm.window_panels import window_panels, window_room

ON_STACK = 1 << 15
"""Bytes of scratch memory up to which it is on the stack."""
UNIT, BLOCK = 4 * TILE_ROWS, 28 * TILE_ROWS
"""Rows with products that a thread gets at least, and that go together at most."""
BLOCK_BYTES = 1 << 19
"""Of scratch memory, as long as there are more rows than a unit in a block."""
STRIP = 4096
"""Columns of a unit, where a single row is cut."""
PIECES = 4
"""For each thread, of kernels whose pieces need no preparation."""
ELEMENT_WORK, COSTLY_WORK = 8, 64
"""Of an operator at an element: as long as so many multiplications within a product take."""


@dataclass(frozen=True)
class Kernel:
    """`inputs` are the nodes that are passed, after the results; then `sizes`, classes of axes; then for each of these
    products where the panels of its matrix are kept, or null; and for each of `straight` where its rows are."""

    name: str
    inputs: tuple[Node, ...]
    sizes: tuple[int, ...]
    turned: tuple[Node, ...]
    straight: tuple[Node, ...]
    fails: bool


def kernel_of(module: Module, plan: Schedule, over: Collection[int] = (), adds: bool = False) -> Kernel:
    """Write the kernel. The results `over` may lie where something lies that it reads at the same places: of a flat
    plan. With `adds` results are added to what lies there: of a kernel of maps."""
    return _Writer(module, plan, over, adds).write()


class _Writer(Columns):
    def __init__(self, module: Module, plan: Schedule, over: Collection[int], adds: bool):
        super().__init__(module, plan)
        graph = plan.graph
        self.over, self.adds = over, adds
        self.inputs = [n for n in graph.nodes if n.kind in ("load", "matrix", "scalar")]
        self.products = graph.of_kind("product")
        self.sizes = self.open_sizes(graph)
        self.fails = bool(self.products) or any(n >= 0 for n in plan.kept.values())
        self.k = ElementCode(module, "", [], "void")
        self.turned = [n for n in self.products if n.transposed and not n.args[1].rows and not self.by_rows(n)
                       and plan.limited is None]
        self.straight = [n for n in self.products if self.each == "1" and not n.args[1].rows and self.crooked(n)]
        self.laid = [n for n in self.products if n.transposed and n.args[1].rows and not self.by_rows(n)]
        """Multiplied by a matrix of their batch, whose panels are turned once if there are several blocks."""
        self.laid_at: dict[Node, str] = {}
        """Where these panels lie in this batch, or null."""
        self.unit = 1 if self.each == "1" else UNIT
        self.block = self.most_rows()
        """Rows in a block, at most."""
        self.asks = not self.products

    def open_sizes(self, graph: Graph) -> tuple[int, ...]:
        classes = [*graph.rows, *(c for s in graph.spaces for c in s)]
        found = [graph.axes.find(c) for c in classes]
        return tuple(dict.fromkeys(c for c in found if graph.axes.static[c] is None))

    def most_rows(self) -> int:
        row = "0"
        for node, number in self.plan.kept.items():
            if number >= 0:
                row = plus(self.k, row, times(self.k, self.width(node), str(SCALARS[node.type.name][1])))
        fits = 0 if row.startswith("%") else BLOCK_BYTES // max(int(row), 1) // UNIT * UNIT
        rows = min(max(fits, 2 * UNIT), BLOCK)
        return rows if self.each.startswith("%") else min(rows, int(self.each))

    def write(self) -> Kernel:
        params = [("ptr" if i in self.over else "ptr noalias", f"%o{i}") for i in range(len(self.graph.outputs))]
        names: dict[Node, str] = {}
        for i, n in enumerate(self.inputs):
            names[n] = f"%x{i}"
            params.append((SCALARS[n.type.name][0] if n.kind == "scalar" else "ptr", names[n]))
        params += [("i64", f"%n{c}") for c in self.sizes]
        params += [("ptr", f"%kept{i}") for i in range(len(self.turned))]
        params += [("ptr", f"%straight{i}") for i in range(len(self.straight))]
        self.names = names
        large = self.large()
        if large:
            self.fails = True  # at least where the host asks it to stop
            part = self.function([*params, *ints("first", "last")], lambda: self.body("%first", "%last"),
                                 "kernel.units")

        def whole() -> None:
            if not large:
                self.body("0", self.units())
                return
            args = [(t.removesuffix(" noalias"), v) for t, v in params]
            # Each run of units copies its matrices again, and with products it polls.
            pieces, polls = (1, True) if self.products else (PIECES, False)
            self.k.ret(spread(self.k, part, args, self.units(), self.work(), pieces, polls))

        return Kernel(self.function(params, whole), tuple(self.inputs), self.sizes, tuple(self.turned),
                      tuple(self.straight), self.fails)

    def function(
        self, params: list[tuple[str, str]], write: Callable[[], None], hint: str = "kernel.fused"
    ) -> str:
        """Its symbol; it gives 0 unless `write` ends it."""
        self.k = ElementCode(self.module, symbol(hint), [("ptr", CTX), *params], "i32" if self.fails else "void")
        write()
        if not self.k.dead:
            self.k.ret("0" if self.fails else "")
        return self.module.shared(self.k)

    # ---- what threads may share (team.py)
    def large(self) -> bool:
        """May it be worth it?"""
        axes = self.graph.axes
        if any(axes.static[axes.find(c)] is None for classes in (self.graph.rows, *self.graph.spaces) for c in classes):
            return self.plan.flat or self.product(self.graph.rows) != "1"
        return self.units() != "1" and int(self.work()) >= LARGE

    def units(self) -> str:
        """What is done as one: a row; several where there are products; of a single row a strip."""
        if self.plan.flat:
            return parts(self.k, self.product(self.graph.spaces[0]), STRIP)
        if not self.products:
            return self.product(self.graph.rows)
        return times(self.k, self.product(self.graph.rows[: self.graph.batch]), self.units_of_batch())

    def work(self) -> str:
        """As much as so many multiplications within products."""
        k, row = self.k, "0"
        for node in self.graph.nodes:
            if node.space is None:
                continue
            weight = COSTLY_WORK if node.costly else ELEMENT_WORK
            each = self.width(node.args[0]) if node.kind == "product" else str(weight)
            row = plus(k, row, times(k, self.width(node), each))
        return times(k, self.product(self.graph.rows), row)

    # ---- rows
    def body(self, first: str, last: str) -> None:
        """Units first to last."""
        k, graph = self.k, self.graph
        if not self.products:
            if self.plan.flat:
                self.begin = times(k, first, str(STRIP))
                self.end = least(k, times(k, last, str(STRIP)), self.product(graph.spaces[0]))
                first, last = "0", "1"
            with self.scratch(), self.turns(first, last) as row:
                self.row_loops(self.plan.segments[0], row, "0")
            return
        batches, blocks = self.product(graph.rows[: graph.batch]), self.units_of_batch()
        with self.scratch():
            if blocks == "1":
                with self.turns(first, last) as batch:
                    self.block_rows(batch, "0", "1")
            elif batches == "1":
                self.block_rows("0", first, last)
            elif first == "0":
                with self.turns("0", batches) as batch:
                    self.block_rows(batch, "0", blocks)
            else:
                some = most(k, blocks, "1")
                with self.turns(k.op2("udiv", "i64", first, some), parts(k, last, some)) as batch:
                    before = k.mul(batch, blocks)
                    start = most(k, k.sub(first, before), "0")
                    self.block_rows(batch, start, least(k, k.sub(last, before), blocks))

    @property
    def each(self) -> str:
        """Rows of a batch."""
        return self.product(self.graph.rows[self.graph.batch :])

    def units_of_batch(self) -> str:
        return parts(self.k, self.each, self.unit)

    def block_rows(self, batch: str, first: str, last: str) -> None:
        """Units of rows of a batch, in blocks that are about as large as each other."""
        k, each = self.k, self.each
        self.begin_batch(batch)
        base = times(k, batch, each)
        begin = times(k, first, str(self.unit))
        end = least(k, times(k, last, str(self.unit)), each)
        count = end if begin == "0" else k.sub(end, begin)
        if count == "0":
            return
        blocks = most(k, parts(k, count, self.block), "1")
        self.laid_at = {}
        if blocks == "1":
            self.one_block(base, begin, count, each)
            return
        self.lay_out(k.icmp("sgt", blocks, "1"))
        step = times(k, parts(k, parts(k, count, blocks), TILE_ROWS), str(TILE_ROWS))
        with k.loop(end, start=begin, step=step) as turn:
            self.one_block(base, turn.index, least(k, k.sub(end, turn.index), step), each)

    def lay_out(self, several: str) -> None:
        """Turn the panels of this batch, if it has several blocks."""
        k = self.k
        for node, room in self.laid_room.items():
            sizes = [("i64", self.width(n)) for n in (node, node.args[0])]
            with k.when(several):
                k.call("void", lay_out(self.module, node.type), [
                    ("ptr", room), ("ptr", self.memo[node.args[1]]), *sizes])
            self.laid_at[node] = k.select(several, "ptr", room, "null")

    def one_block(self, base: str, first: str, rows: str, each: str) -> None:
        """So many rows from `first` of those of a batch, which begin at row `base`."""
        k, graph, row = self.k, self.graph, plus(self.k, base, first)
        self.poll()
        if self.plan.limited is not None:
            self.limit = least(k, self.product(graph.spaces[self.plan.limited]), plus(k, first, rows))
        for segment in self.plan.segments:
            self.multiply_all(segment.products, row, first, rows, each)
            if segment.loops or segment.rows:
                with self.turns("0", rows) as within:
                    self.row_loops(segment, plus(k, row, within), within)

    @contextmanager
    def turns(self, first: str, last: str) -> Iterator[str]:
        if (first, last) == ("0", "1"):
            yield "0"
            return
        with self.k.loop(last, start=first) as turn:
            yield turn.index

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Rows of memory for what is kept, places for values of rows that later segments need, and the room where
        products copy panels."""
        k, total = self.k, "0"
        block = least(k, self.each, str(self.block)) if self.products else "1"
        offsets: dict[Node, str] = {}
        for node, number in self.plan.kept.items():
            if number >= 0:
                offsets[node] = total
                bytes_ = times(k, times(k, self.width(node), block), str(SCALARS[node.type.name][1]))
                rounded = str(-(-int(bytes_) // 64) * 64) if not bytes_.startswith("%") else k.op2(
                    "and", "i64", k.add(bytes_, "63"), "-64")
                total = str(int(total) + int(rounded)) if not (total + rounded).count("%") else k.add(total, rounded)
        heap = bool(offsets) and (total.startswith("%") or int(total) > ON_STACK)
        self.heap: list[str] = []
        memory = self.allocate(total) if heap else k.alloca(int(total), 64) if offsets else ""
        for node, offset in offsets.items():
            self.first[node] = k.ptr_add(memory, offset)
        for node in self.plan.across:
            self.lasting[node] = k.alloca(self.block * SCALARS[node.type.name][1])
        self.room = "null"
        size = self.room_size()
        if size != "0":
            fits = not size.startswith("%") and int(size) <= ON_STACK
            self.room = k.alloca(int(size), 64) if fits else self.allocate(size)
        self.laid_room = {}
        if self.each.startswith("%") or int(self.each) > self.block:
            for node in self.laid:
                size = laid_out_bytes(k, node.type, self.width(node), self.width(node.args[0]))
                several = k.icmp("sgt", self.each, str(self.block))
                self.laid_room[node] = self.allocate(k.select(several, "i64", size, "0"))
        yield
        for m in self.heap:
            k.call("void", "@free", [("ptr", m)])

    def allocate(self, size: str) -> str:
        """Memory that begins at a line of the caches."""
        memory = self.k.call("ptr", "@malloc", [("i64", plus(self.k, size, "63"))])
        with self.k.when(self.k.icmp("eq", memory, "null", "ptr")):
            kind = str(fault_code("MemoryError"))
            self.k.call("void", support.set_fault(self.module), [("ptr", CTX), ("i64", kind)])
            self.leave()
        self.heap.append(memory)
        return self.k.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", self.k.ptr_add(memory, 63)), ("i64", "-64")])

    def leave(self) -> None:
        """Give back the memory and fail."""
        for m in self.heap:
            self.k.call("void", "@free", [("ptr", m)])
        self.k.ret("1")

    def poll(self) -> None:
        with support.interrupted(self.k, support.flag_of(self.k)):
            self.leave()

    # ---- products
    def room_size(self) -> str:
        """Bytes for a panel of any product that may copy some."""
        k, size = self.k, "0"
        for node in self.products:
            windows = self.windows_of(node)
            if windows is not None:
                size = most(k, window_room(self.module, node.type, *windows), size)
                continue
            few = not self.each.startswith("%") and int(self.each) < COPY_CROWDED_FROM
            if self.by_rows(node) or self.each == "1" or few and not node.transposed and self.whole(node):
                continue
            size = most(k, room_of(k, self.module, node.type, self.width(node.args[0])), size)
        return size

    def by_rows(self, node: Node) -> bool:
        """Are they multiplied by the rows of a matrix, since they, or those, are known to be few?"""
        few, each, columns = narrow(self.module, node.type), self.each, self.width(node)
        return node.transposed and (not each.startswith("%") and int(each) < TURN_FROM
                                    or not columns.startswith("%") and int(columns) <= few)

    def crooked(self, node: Node) -> bool:
        """Are there many rows, known to be, that do not begin on lines of the cache?"""
        n, inner, size = self.width(node), self.width(node.args[0]), SCALARS[node.type.name][1]
        if not node.transposed or n.startswith("%") or inner.startswith("%") or node.type not in (F32, F64):
            return False
        return int(inner) * size % LINE != 0 and int(n) * int(inner) * size >= FIRST_CACHE

    def whole(self, node: Node) -> bool:
        n = self.needed(node.space)
        return not n.startswith("%") and int(n) % panel_width(self.module, node.type) == 0

    def windows_of(self, node: Node) -> tuple[WindowSizes, list[int]] | None:
        """Of a product by windows: their sizes and settings."""
        op = node.args[1].op
        return None if op is None else (self.graph.windows[op], [whole_number(a) for a in op.args[1:9]])

    def begin_batch(self, batch: str) -> None:
        """Where the matrices of this batch lie."""
        for node in dict.fromkeys(p.args[1] for p in self.products):
            at = "0"
            if node.rows:
                user = next(p for p in self.products if p.args[1] is node)
                windows = self.windows_of(user)
                size = times(self.k, self.width(user), self.width(user.args[0]))
                if windows is not None:
                    size = str(windows[0].image)
                at = times(self.k, self.place(node, self.graph.rows[: self.graph.batch], batch), size)
            self.memo[node] = self.k.element(self.names[node], SCALARS[node.type.name][0], at)

    def multiply_all(self, nodes: Sequence[Node], first: str, inside: str, rows: str, each: str) -> None:
        """The block's rows of products that do not need each other: where few rows may meet matrices that are large
        together, every other time from the last row of the last one to the first (ends.py). To many it is the same."""
        k, total = self.k, "0"
        for n in nodes:
            size = times(k, self.width(n.args[0]), str(SCALARS[n.type.name][1]))
            total = plus(k, total, times(k, self.width(n), size))
        few = (each.startswith("%") or int(each) < TURN_FROM) and all(n.transposed for n in nodes)
        if len(nodes) < 2 or not few or not total.startswith("%") and int(total) < LEAST:
            for node in nodes:
                self.multiply(node, first, inside, rows, each)
            return
        end = end_of(k, self.memo[nodes[0].args[1]], total)
        forth, back, done = k.label("forth"), k.label("back"), k.label("done")
        k.branch(k.icmp("eq", end, "0"), forth, back)
        for label, order, number in ((forth, nodes, "0"), (back, nodes[::-1], "1")):
            k.start(label)
            for node in order:
                self.multiply(node, first, inside, rows, each, number)
            k.jump(done)
        k.start(done)

    def multiply(self, node: Node, first: str, inside: str, rows: str, each: str, end: str = "") -> None:
        """The block's rows of a product: from row `first`, which is row `inside` of the batch. `end`: that from which
        few rows go over the matrix, if somebody has chosen."""
        k = self.k
        row, matrix = node.args
        t = SCALARS[node.type.name][0]

        def lies(kept: Node) -> str:
            number = self.plan.kept[kept]
            if number >= 0:
                return self.first[kept]
            return k.element(f"%o{-number - 1}", t, times(k, first, self.width(kept)))

        if row in self.plan.kept:
            a = lies(row)
        else:
            a = k.element(self.names[row], t, times(k, first if row.all_rows else inside, self.width(row)))
        c = lies(node)
        if self.by_rows(node):
            self.by_dots(node, c, a, rows, end)
        elif not node.transposed or not each.startswith("%") and int(each) >= TURN_FROM:
            self.by_panels(node, c, a, rows)
        else:
            dotted, turned, done = k.label("dots"), k.label("panels"), k.label("done")
            k.branch(k.icmp("slt", each, str(TURN_FROM)), dotted, turned)
            k.start(dotted)
            self.by_dots(node, c, a, rows, end)
            k.jump(done)
            k.start(turned)
            self.by_panels(node, c, a, rows)
            k.jump(done)
            k.start(done)

    def by_dots(self, node: Node, c: str, a: str, rows: str, end: str) -> None:
        ldc, inner, b = self.width(node), self.width(node.args[0]), self.memo[node.args[1]]
        columns, size = self.needed(node.space), str(SCALARS[node.type.name][1])
        sizes = [("i64", v) for v in (columns, self.needed(node.args[0].space))]
        sizes.append(("i64", end or end_of(self.k, b, times(self.k, times(self.k, columns, inner), size))))
        if rows == "1":
            ldb = inner
            if node in self.straight:
                kept = f"%straight{self.straight.index(node)}"
                none = self.k.icmp("eq", kept, "null", "ptr")
                b, ldb = (self.k.select(none, t, *v) for t, v in (
                    ("ptr", (b, kept)), ("i64", (inner, str(row_room(node.type, int(inner)))))))
            self.k.call("void", row_by_rows(self.module, node.type), [
                ("ptr", c), ("ptr", a), ("ptr", b), ("i64", ldb), *sizes])
            return
        self.k.call("void", dots(self.module, node.type), [
            ("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), ("i64", inner), ("i64", rows), *sizes])

    def by_panels(self, node: Node, c: str, a: str, rows: str) -> None:
        k, ldc, inner, b = self.k, self.width(node), self.width(node.args[0]), self.memo[node.args[1]]
        windows = self.windows_of(node)
        if windows is not None:
            helper = window_panels(self.module, node.type, tile_heights(rows), *windows, int(ldc))
            k.call("void", helper, [("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), ("i64", rows),
                                    ("ptr", self.room)])
            return
        ldb, turned = inner if node.transposed else ldc, node.transposed
        copied = "true" if turned else copies(k, node.type, b, ldb, rows, inner)
        kept = f"%kept{self.turned.index(node)}" if node in self.turned else self.laid_at.get(node, "null")
        columns = self.needed(node.space)
        if columns != ldc and kept != "null":
            # A panel that lies in memory is whole, if it is not the last one.
            unit = str(panel_width(self.module, node.type))
            columns = least(k, times(k, parts(k, columns, unit), unit), ldc)
        wide = kept_width(k, node.type, ldc) if kept != "null" else "0"
        more = [("ptr", kept), ("i64", wide), ("i64", "0")] if turned else []
        helper = panels(self.module, node.type, tile_heights(rows), turned=turned, whole=self.whole(node))
        sizes = [("i64", s) for s in (ldb, rows, columns, self.needed(node.args[0].space))]
        k.call("void", helper, [
            ("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), *sizes, ("ptr", self.room),
            ("i1", copied), *more])


__all__ = ["Kernel", "kernel_of"]
