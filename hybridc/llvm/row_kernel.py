"""A scheduled kernel graph as one LLVM function: loops over rows, within them loops over columns, a vector at a time.

The function takes the context, the addresses of its results, of the tensors it reads and its scalars, and the sizes
that are not known. Rows with products come in blocks, so that a block's intermediate rows stay in the cache. What is
done with a row is in column_loops.py, with products in kernel_products.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hybridc.kernels.columns import apart
from hybridc.kernels.graph import Graph, Node
from hybridc.kernels.schedule import Schedule
from hybridc.llvm import support
from hybridc.llvm.abi import fault_code
from hybridc.llvm.block_product import panel_width
from hybridc.llvm.definitions import symbol
from hybridc.llvm.emitter import CTX
from hybridc.llvm.kept_panels import laid_out_bytes, lay_out
from hybridc.llvm.kernel_products import Products
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.strided import least, most, parts, plus, times
from hybridc.llvm.team import LARGE, READING, spread
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tensor_reduce import identity
from hybridc.llvm.tiles import TILE_ROWS, ints
from hybridc.llvm.wide import WIDTH

ON_STACK = 1 << 15
"""Bytes of scratch memory up to which it is on the stack."""
UNIT, BLOCK = 4 * TILE_ROWS, 28 * TILE_ROWS
"""Rows with products that a thread gets at least, and that go together at most."""
FEW_ROWS = 2 * TILE_ROWS
"""That go together where columns beyond the diagonal are left out."""
NEAR = 1 << 21
"""Bytes of matrices of which the second cache holds the half that is read on average."""
BLOCK_BYTES = 1 << 19
"""Of scratch memory, as long as there are more rows than a unit in a block."""
STRIP = 4096
"""Columns of a unit, where a single row is cut."""
PIECES = 4
"""For each thread, of kernels whose pieces need no preparation."""
SHARES, SHARE = 16, 32
"""At most so many shares of rows add up by themselves, of at least so many rows."""
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


class _Writer(Products):
    def __init__(self, module: Module, plan: Schedule, over: Collection[int], adds: bool):
        super().__init__(module, plan)
        graph = plan.graph
        self.over, self.adds = over, adds
        self.inputs = [n for n in graph.nodes if n.kind in ("load", "matrix", "scalar") and not n.written]
        self.sizes = self.open_sizes(graph)
        self.added = [i for i, n in enumerate(graph.outputs) if n.kind == "total"]
        """Numbers of results that all rows add to."""
        self.rooms: list[str] = []
        """Where the shares of rows add up, but for the first."""
        self.fails = bool(self.products or self.added) or any(n >= 0 for n in plan.kept.values())
        self.unit = 1 if self.each == "1" else UNIT
        self.block = self.most_rows()
        """Rows in a block, at most."""
        self.numbers = [n for n in graph.of_kind("iota") if n.space is None and n.rows == graph.rows[graph.batch :]
                        and len(n.rows) == 1]
        """Numbers of rows within their batch."""
        self.asks = not self.products
        self.strip = STRIP if plan.flat else max([WIDTH, *(panel_width(module, n.type) for n in self.products)])
        """Columns of a unit, where threads share columns."""
        self.apart = {0: 1} if plan.flat else apart(graph, self.strip)

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
        names.update((n, str(n.atom.value)) for n in self.graph.nodes if n.written)  # type: ignore[union-attr]
        params += [("i64", f"%n{c}") for c in self.sizes]
        params += [("ptr", f"%kept{i}") for i in range(len(self.turned))]
        params += [("ptr", f"%straight{i}") for i in range(len(self.straight))]
        self.names = names
        large = self.large()
        if large:
            self.fails = True  # at least where the host asks it to stop
            rooms = [("ptr", f"%room{i}") for i in self.added]
            part = self.function([*params, *rooms, ("i1", "%columns"), *ints("first", "last")], self.part,
                                 "kernel.units")

        def whole() -> None:
            with self.sums():
                if not large:
                    self.body("0", self.units())
                    return
                columns, units = self.cut()
                args = [*((t.removesuffix(" noalias"), v) for t, v in params), *(("ptr", v) for v in self.rooms),
                        ("i1", columns)]
                # Each run of units copies its matrices again, and with products it polls.
                pieces, polls = (1, True) if self.products else (PIECES, False)
                status = spread(self.k, part, args, units, self.work(), pieces, polls)
                if not self.added:
                    self.k.ret(status)
                    return
                with self.k.when(self.k.icmp("ne", status, "0", "i32")):
                    self.leave()

        return Kernel(self.function(params, whole), tuple(self.inputs), self.sizes, tuple(self.turned),
                      tuple(self.straight), self.fails)

    def function(
        self, params: list[tuple[str, str]], write: Callable[[], None], hint: str = "kernel.fused"
    ) -> str:
        """Its symbol; it gives 0 unless `write` ends it."""
        self.k = ElementCode(self.module, symbol(hint), [("ptr", CTX), *params], "i32" if self.fails else "void")
        self.heap: list[str] = []
        write()
        if not self.k.dead:
            self.k.ret("0" if self.fails else "")
        return self.module.shared(self.k)

    # ---- what threads may share (team.py)
    def large(self) -> bool:
        """May it be worth it?"""
        axes = self.graph.axes
        if any(axes.static[axes.find(c)] is None for classes in (self.graph.rows, *self.graph.spaces) for c in classes):
            return self.plan.flat or bool(self.apart) or self.product(self.graph.rows) != "1"
        return self.cut()[1] != "1" and int(self.work()) >= LARGE

    def cut(self) -> tuple[str, str]:
        """i1: are columns shared, and not rows? And into how many units: the more of both."""
        rows = self.units()
        if not self.apart:
            return "false", rows
        columns = parts(self.k, self.width(self.graph.outputs[0]), self.strip)
        if "1" in (rows, columns):
            return ("true", columns) if rows == "1" else ("false", rows)
        if not (rows + columns).count("%"):
            return ("true", columns) if int(columns) > int(rows) else ("false", rows)
        return self.k.icmp("sgt", columns, rows), most(self.k, rows, columns)

    def part(self) -> None:
        """Units of what is shared."""
        k, (columns, _) = self.k, self.cut()
        self.rooms = [f"%room{i}" for i in self.added]
        if columns == "false":
            self.body("%first", "%last")
            return
        first, last = (times(k, v, str(self.strip)) for v in ("%first", "%last"))
        all_ = self.width(self.graph.outputs[0])
        last = least(k, last, all_)
        if columns == "true":
            self.share = first, last
            self.body("0", self.units())
            return
        self.share = k.select(columns, "i64", first, "0"), k.select(columns, "i64", last, all_)
        self.body(k.select(columns, "i64", "0", "%first"), k.select(columns, "i64", self.units(), "%last"))

    def units(self) -> str:
        """Of rows that are done as one: a row; several where there are products."""
        if not self.products:
            rows = self.product(self.graph.rows)
            return self.shares_of(rows) if self.added else rows
        return times(self.k, self.product(self.graph.rows[: self.graph.batch]), self.units_of_batch())

    def work(self) -> str:
        """As much as so many multiplications within products."""
        k, row, multiplied = self.k, "0", "0"
        for node in self.graph.nodes:
            if node.kind == "product":
                multiplied = plus(k, multiplied, times(k, self.width(node), self.width(node.args[0])))
            elif node.space is not None:
                row = plus(k, row, times(k, self.width(node), str(COSTLY_WORK if node.costly else ELEMENT_WORK)))
        rows = self.product(self.graph.rows)
        return plus(k, times(k, rows, row), times(k, most(k, rows, str(READING)), multiplied))

    # ---- what all rows add to
    def shares_of(self, rows: str) -> str:
        """Into how many shares rows are cut, each of which adds up by itself: by their number alone, so that results
        are the same for any number of threads."""
        k = self.k
        if not rows.startswith("%"):
            return str(min(max(int(rows) // SHARE, 1), SHARES))
        return least(k, most(k, k.op2("udiv", "i64", rows, str(SHARE)), "1"), str(SHARES))

    @contextmanager
    def rows_of(self, unit: str) -> Iterator[str]:
        """The rows of a unit, one after the other; what they add to begins with nothing."""
        k = self.k
        if not self.added:
            yield unit
            return
        rows = self.product(self.graph.rows)
        shares = self.shares_of(rows)
        for i, room in zip(self.added, self.rooms, strict=True):
            node = self.graph.outputs[i]
            t = SCALARS[node.type.name][0]
            width = self.width(node)
            first = k.icmp("eq", unit, "0")
            other = k.element(room, t, times(k, k.sub(unit, "1"), width))
            self.totals[i] = k.select(first, "ptr", f"%o{i}", other)
            with k.loop(width) as column:
                k.store(t, identity(self.fn(node), node.type), k.element(self.totals[i], t, column.index))
        begin, end = (k.op2("udiv", "i64", times(k, u, rows), shares) for u in (unit, k.add(unit, "1")))
        with k.loop(end, start=begin) as row:
            yield row.index

    @contextmanager
    def sums(self) -> Iterator[None]:
        """Rooms where all shares but the first add up; at the end theirs go to the results, in order."""
        k = self.k
        if not self.added:
            yield
            return
        more = k.sub(self.shares_of(self.product(self.graph.rows)), "1")
        nodes = [self.graph.outputs[i] for i in self.added]
        sizes = [times(k, self.width(n), str(SCALARS[n.type.name][1])) for n in nodes]
        self.rooms = [self.allocate(times(k, more, size)) for size in sizes]
        yield
        for i, node, room in zip(self.added, nodes, self.rooms, strict=True):
            t, width = SCALARS[node.type.name][0], self.width(node)
            with k.loop(more) as share:
                source = k.element(room, t, times(k, share.index, width))
                with k.loop(width) as column:
                    to = k.element(f"%o{i}", t, column.index)
                    k.store(t, self.step(node, k.load(t, to), k.load(t, k.element(source, t, column.index))), to)
        self.free()

    # ---- rows
    def body(self, first: str, last: str) -> None:
        """Units first to last."""
        k, graph = self.k, self.graph
        if not self.products:
            with self.scratch(), self.turns(first, last) as unit, self.rows_of(unit) as row:
                self.row_loops(self.plan.segments[0], row, "0", {})
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

    def units_of_batch(self) -> str:
        return parts(self.k, self.each, self.unit)

    def block_rows(self, batch: str, first: str, last: str) -> None:
        """Units of rows of a batch, in blocks that are about as large as each other."""
        k, each = self.k, self.each
        if each == "0":
            return
        self.begin_batch(batch)
        base = times(k, batch, each)
        begin = times(k, first, str(self.unit))
        end = least(k, times(k, last, str(self.unit)), each)
        count = end if begin == "0" else k.sub(end, begin)
        if count == "0":
            return
        blocks = most(k, parts(k, count, self.at_once(count)), "1")
        self.laid_at = {}
        if blocks == "1":
            self.one_block(base, begin, count, each)
            return
        self.lay_out(k.icmp("sgt", blocks, "1"))
        step = times(k, parts(k, parts(k, count, blocks), TILE_ROWS), str(TILE_ROWS))
        with k.loop(end, start=begin, step=step) as turn:
            self.one_block(base, turn.index, least(k, k.sub(end, turn.index), step), each)

    def at_once(self, count: str) -> str:
        """Rows of a block, at most. Where columns beyond the diagonal are left out they are few, since a block computes
        as many columns as its last row needs; unless the batch's matrices, which each block reads, lie in no cache."""
        k = self.k
        if self.plan.limited is None or not count.startswith("%") and int(count) <= self.fewest:
            return str(self.block)
        total = "0"
        for node in self.products:
            of_row = times(k, self.width(node), str(SCALARS[node.type.name][1]))
            total = plus(k, total, times(k, of_row, self.width(node.args[0])))
        return k.select(k.icmp("sle", total, str(NEAR)), "i64", str(self.fewest), str(self.block))

    @property
    def fewest(self) -> int:
        """Rows of a block, of which several may come after each other."""
        return self.block if self.plan.limited is None else min(FEW_ROWS, self.block)

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
                    number = plus(k, first, within)
                    self.row_loops(segment, plus(k, row, within), within, {n: number for n in self.numbers})

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
        before = len(self.heap)
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
        if self.each.startswith("%") or int(self.each) > self.fewest:
            for node in self.laid:
                size = laid_out_bytes(k, node.type, self.width(node), self.width(node.args[0]))
                several = k.icmp("sgt", self.each, str(self.fewest))
                self.laid_room[node] = self.allocate(k.select(several, "i64", size, "0"))
        yield
        self.free(before)

    def free(self, first: int = 0) -> None:
        """Memory that was allocated, from this one on."""
        for m in self.heap[first:]:
            self.k.call("void", "@free", [("ptr", m)])
        del self.heap[first:]

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


__all__ = ["Kernel", "kernel_of"]
