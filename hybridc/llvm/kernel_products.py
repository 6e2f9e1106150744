"""Products within a kernel: a block's rows, or those of its columns that are shared, times matrices from memory."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import F32, F64
from hybridc.kernels.axes import whole_number
from hybridc.kernels.graph import Node, WindowSizes
from hybridc.kernels.schedule import Schedule
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
from hybridc.llvm.ends import LEAST, end_of
from hybridc.llvm.kept_panels import kept_width, row_room
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.row_product import FIRST_CACHE, LINE, row_by_rows, written_out
from hybridc.llvm.strided import least, most, parts, plus, times
from hybridc.llvm.tensor_map import Kernel as ElementCode
from hybridc.llvm.tiles import tile_heights
from hybridc.llvm.window_panels import window_panels, window_room


class Products(Columns):
    """Writes the products of a kernel."""

    room: str
    """Where a panel is copied."""

    def __init__(self, module: Module, plan: Schedule):
        super().__init__(module, plan)
        self.k = ElementCode(module, "", [], "void")
        self.products = plan.graph.of_kind("product")
        self.turned = [n for n in self.products if n.transposed and not n.args[1].rows and not self.by_rows(n)
                       and plan.limited is None]
        self.straight = [n for n in self.products if self.each == "1" and not n.args[1].rows and self.crooked(n)]
        self.laid = [n for n in self.products if n.transposed and n.args[1].rows and not self.by_rows(n)]
        """Multiplied by a matrix of their batch, whose panels are turned once if there are several blocks."""
        self.laid_at: dict[Node, str] = {}
        """Where these panels lie in this batch, or null."""

    @property
    def each(self) -> str:
        """Rows of a batch."""
        return self.product(self.graph.rows[self.graph.batch :])

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
            columns = self.width(n)
            if self.share is not None and n.space in self.apart:
                columns = times(k, k.sub(self.share[1], self.share[0]), str(self.apart[n.space]))
            total = plus(k, total, times(k, columns, size))
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
        with self.spans(node.space) as span:
            if self.by_rows(node):
                self.by_dots(node, c, a, rows, end, span)
            elif not node.transposed or not each.startswith("%") and int(each) >= TURN_FROM:
                self.by_panels(node, c, a, rows, span)
            else:
                dotted, turned, done = k.label("dots"), k.label("panels"), k.label("done")
                k.branch(k.icmp("slt", each, str(TURN_FROM)), dotted, turned)
                k.start(dotted)
                self.by_dots(node, c, a, rows, end, span)
                k.jump(done)
                k.start(turned)
                self.by_panels(node, c, a, rows, span)
                k.jump(done)
                k.start(done)

    def by_dots(self, node: Node, c: str, a: str, rows: str, end: str, span: tuple[str, str]) -> None:
        ldc, inner, b = self.width(node), self.width(node.args[0]), self.memo[node.args[1]]
        k, (t, size), (first, last) = self.k, SCALARS[node.type.name], span
        columns = k.sub(last, first)
        line, ldb = b, inner
        if node in self.straight:
            kept = f"%straight{self.straight.index(node)}"
            none = k.icmp("eq", kept, "null", "ptr")
            line, ldb = (k.select(none, t, *v) for t, v in (
                ("ptr", (b, kept)), ("i64", (inner, str(row_room(node.type, int(inner)))))))
        c, line = k.element(c, t, first), k.element(line, t, times(k, first, ldb))
        sizes = [("i64", v) for v in (columns, self.needed(node.args[0].space))]
        sizes.append(("i64", end or end_of(k, line, times(k, times(k, columns, inner), str(size)))))
        if rows == "1":
            known = node not in self.straight and not (ldc + inner).count("%")
            length = int(inner) if known and written_out(self.module, node.type, int(ldc), int(inner)) else 0
            k.call("void", row_by_rows(self.module, node.type, length), [
                ("ptr", c), ("ptr", a), ("ptr", line), ("i64", ldb), *sizes])
            return
        k.call("void", dots(self.module, node.type), [
            ("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", line), ("i64", ldb), ("i64", rows), *sizes])

    def by_panels(self, node: Node, c: str, a: str, rows: str, span: tuple[str, str]) -> None:
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
        first, columns = span[0], k.sub(span[1], span[0])
        if node.space == self.plan.limited and kept != "null":
            # A panel that lies in memory is whole, if it is not the last one.
            unit = str(panel_width(self.module, node.type))
            columns = least(k, times(k, parts(k, columns, unit), unit), ldc)
        wide = kept_width(k, node.type, ldc) if kept != "null" else "0"
        more = [("ptr", kept), ("i64", wide), ("i64", first)] if turned else []
        t = SCALARS[node.type.name][0]
        c, b = k.element(c, t, first), k.element(b, t, times(k, first, ldb) if turned else first)
        helper = panels(self.module, node.type, tile_heights(rows), turned=turned, whole=self.whole(node))
        sizes = [("i64", s) for s in (ldb, rows, columns, self.needed(node.args[0].space))]
        k.call("void", helper, [
            ("ptr", c), ("i64", ldc), ("ptr", a), ("i64", inner), ("ptr", b), *sizes, ("ptr", self.room),
            ("i1", copied), *more])
