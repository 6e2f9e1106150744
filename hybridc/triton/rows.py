"""A kernel graph as Triton source: a program holds a block of ROWS rows and COLUMNS of their columns.

Every value is computed where it is needed, from loads: a value at columns is a tile [ROWS, COLUMNS] (or [1, COLUMNS],
[ROWS, 1] where it does not vary), so a slice is the value at other columns and a concatenation a choice between pieces.
Reductions go over the columns in blocks and are finished before what needs them; where a row fits in one block
everything stays in registers. A product goes over the summed axis in blocks of DEPTH, its left side computed on the
way, so that norms and activations before it need no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from hybridc.base.types import BF16, BOOL, F16, F64, FLOATS
from hybridc.core.ir import Const
from hybridc.kernels.device import Launch, columns, picked_from
from hybridc.kernels.graph import Graph, Node
from hybridc.kernels.online import online
from hybridc.triton.attention import write_attention
from hybridc.triton.blocks import Blocks
from hybridc.triton.reductions import across, dot, filled, fn_of, identity, step
from hybridc.triton.scalars import scalar
from hybridc.triton.text import Writer, constant, narrowed, widened
from hybridc.triton.windows import window_tile


@dataclass(frozen=True)
class Columns:
    """Some columns of a space: the names of their numbers and of which exist."""

    name: str
    ok: str
    block: str
    """The name of the constant that says how many there are."""
    start: str = ""
    """What is added to numbers from 0 on."""


def grid_columns(graph: Graph) -> int | None:
    """The space whose columns are shared out among programs: that of the results where no reduction of theirs needs
    whole rows."""
    attention = online(graph)
    if attention is not None:
        return attention.product.space
    spaces = {n.space for n in graph.outputs}
    if len(spaces) != 1 or None in spaces:
        return None
    if any(n.kind == "reduce" and _over_product(n.args[0]) for n in graph.nodes):
        return None
    if graph.of_kind("reduce") and not graph.of_kind("product"):
        return None
    return spaces.pop()


def _over_product(node: Node) -> bool:
    return node.kind == "product" or any(map(_over_product, node.args))


def write_rows(w: Writer, launch: Launch, blocks: Blocks) -> None:
    """The body of the kernel's function, whose parameters source.py names."""
    Rows(w, launch, blocks).write()


class Rows:
    """Writes the body of one kernel."""

    def __init__(self, w: Writer, launch: Launch, blocks: Blocks):
        assert launch.graph is not None
        self.w, self.launch, self.graph = w, launch, launch.graph
        self.blocks = blocks
        self.inputs = {a: f"x{i}" for i, a in enumerate(launch.inputs)}
        self.memo: dict[tuple[Node, str], str] = {}
        self.depth = {n: self.level(n) for n in self.graph.nodes}
        self.shared = grid_columns(self.graph)
        self.held: dict[Node, tuple[str, Columns]] = {}
        """Left sides of products that are computed already, and their columns."""

    def level(self, node: Node) -> int:
        """How many reductions stand before it, one after the other."""
        found: dict[Node, int] = {}
        for n in self.graph.nodes:
            found[n] = max((found[a] for a in n.args), default=0) + (n.kind == "reduce")
        return found[node]

    # ---- sizes
    def size(self, classes: Sequence[int]) -> str:
        """The product of sizes of axes."""
        known, names = 1, []
        for c in map(self.graph.axes.find, classes):
            static = self.graph.axes.static[c]
            if static is None:
                names.append(f"n{c}")
            else:
                known *= static
        if not names or not known:
            return str(known)
        text = " * ".join(names if known == 1 else [*names, str(known)])
        return f"({text})" if len(names) > 1 or known != 1 else text

    def width(self, node: Node) -> str:
        return self.size(self.graph.spaces[node.space]) if node.space is not None else "1"

    # ---- the whole
    def write(self) -> None:
        w, graph = self.w, self.graph
        rows = self.size(graph.rows)
        program = "tl.program_id(0).to(tl.int64)"
        if self.shared is not None:
            # One axis of the grid is not limited to 65535 programs.
            space = graph.spaces[self.shared]
            w.line(f"across = tl.cdiv({self.size(space)}, {self.block(self.shared)})")
            w.line(f"down = {program} // across")
            program = "down"
        if graph.batch:
            # The programs of one batch are the rows of one.
            each, batches = self.size(graph.rows[graph.batch :]), self.size(graph.rows[: graph.batch])
            w.line(f"blocks = tl.cdiv({each}, ROWS)")
            w.line(f"batch = {program} // blocks")
            w.line(f"within = {program} % blocks * ROWS + tl.arange(0, ROWS)[:, None]")
            w.line(f"row = batch * {each} + within")
            w.line(f"row_ok = (within < {each}) & (batch < {batches})")
        else:
            w.line(f"row = {program} * ROWS + tl.arange(0, ROWS)[:, None]")
            w.line(f"row_ok = row < {rows}")
        self.whole: dict[int, Columns] = {}
        attention = online(graph)
        if attention is not None:
            write_attention(self, attention)
        else:
            for level in range(max(self.depth.values()) + 1):
                self.reductions(level)
        self.results()

    def fits(self, space: int) -> bool:
        """Do all columns lie in one block?"""
        total = 1
        for c in self.graph.spaces[space]:
            size = self.graph.axes.size(c)
            if size is None:
                return False
            total *= size
        return total <= self.blocks.columns[space]

    @contextmanager
    def over(self, space: int) -> Iterator[Columns]:
        """All columns of a space, block by block; or this program's share of them."""
        w, n, block = self.w, self.size(self.graph.spaces[space]), self.block(space)
        if space == self.shared:
            if space not in self.whole:
                self.whole[space] = self.columns(f"tl.program_id(0).to(tl.int64) % across * {block} + ", space)
            yield self.whole[space]
        elif self.fits(space):
            if space not in self.whole:
                self.whole[space] = self.columns("", space)
            yield self.whole[space]
        else:
            before = dict(self.memo)
            start = w.name("start")
            with w.block(f"for {start} in range(0, {n}, {block}):"):
                yield self.columns(f"{start} + ", space)
            self.memo = before

    def block(self, space: int) -> str:
        return f"COLUMNS{space}" if len(self.graph.spaces) > 1 else "COLUMNS"

    def columns(self, start: str, space: int, block: str = "") -> Columns:
        block = block or self.block(space)
        name = self.w.let("column", f"{start}tl.arange(0, {block})[None, :]")
        ok = self.w.let("column_ok", f"{name} < {self.size(self.graph.spaces[space])}")
        return Columns(name, ok, block, start)

    # ---- reductions
    def reductions(self, level: int) -> None:
        """All that become known at a level, those over one space in one loop."""
        for space in range(len(self.graph.spaces)):
            here = [n for n in self.graph.of_kind("reduce") if self.depth[n] == level and n.args[0].space == space]
            if not here:
                continue
            if self.shared != space and self.fits(space):
                with self.over(space) as c:
                    for n in here:
                        x = self.value(n.args[0], c)
                        full = self.masked(n.args[0], x, c, identity(n))
                        self.finish(n, full)
                continue
            for n in here:
                self.prepare(n.args[0])
            block = self.block(space)
            sums = {n: self.w.let("partial", filled(f"(ROWS, {block})", fn_of(n), n.type)) for n in here}
            shared, self.shared = self.shared, None
            with self.over(space) as c:
                for n in here:
                    x = self.masked(n.args[0], self.value(n.args[0], c), c, identity(n))
                    self.w.line(f"{sums[n]} = {step(n, sums[n], x)}")
            self.shared = shared
            for n in here:
                self.finish(n, sums[n])

    def masked(self, node: Node, x: str, c: Columns, nothing: str) -> str:
        return f"tl.where(row_ok & {c.ok}, {x}, {nothing})"

    def finish(self, node: Node, tile: str) -> None:
        hint = node.op.outs[0].name if node.op is not None and node.op.outs[0].name else fn_of(node)
        if not tile.isidentifier():
            tile = self.w.let("tile", tile)
        self.memo[node, ""] = self.w.let(hint, across(fn_of(node), node.type, tile))

    # ---- results
    def results(self) -> None:
        w = self.w
        outs = list(enumerate(self.graph.outputs))
        for i, n in outs:
            if n.space is None:
                w.line(f"tl.store(o{i} + row, {self.stored(n, self.row_value(n))}, mask=row_ok)")
        for space in range(len(self.graph.spaces)):
            here = [(i, n) for i, n in outs if n.space == space]
            if not here:
                continue
            if space != self.shared and not self.fits(space):
                for _, n in here:
                    self.prepare(n)
            with self.over(space) as c:
                for i, n in here:
                    value = self.value(n, c)
                    at = f"o{i} + row * {self.width(n)} + {c.name}"
                    w.line(f"tl.store({at}, {self.stored(n, value)}, mask=row_ok & {c.ok})")

    def stored(self, node: Node, value: str) -> str:
        return narrowed(node.type, value)

    # ---- values
    def prepare(self, node: Node) -> None:
        """What of a value is the same for the row is computed before a loop."""
        if node.space is None:
            self.row_value(node)
            return
        for a in node.args:
            if a.kind != "matrix":
                self.prepare(a)

    def row_value(self, node: Node) -> str:
        """A value that is one for the row: [ROWS, 1], or a scalar."""
        found = self.memo.get((node, ""))
        if found is not None:
            return found
        match node.kind:
            case "scalar":
                assert node.atom is not None
                text = constant(node.atom) if isinstance(node.atom, Const) else self.inputs[node.atom]
                if not isinstance(node.atom, Const) and node.type in (BOOL, F16, BF16):
                    text = self.w.let("s", widened(node.type, text))
                self.memo[node, ""] = text
                return text
            case "load":
                at = self.row_at(node)
                loaded = f"tl.load({self.inputs[node.atom]}{' + ' + at if at else ''}{', mask=row_ok' if at else ''})"  # type: ignore[index]
                value = self.w.let(self.hint(node), widened(node.type, loaded))
            case "iota":
                value = self.w.let("number", f"{self.row_at(node) or '0 * row'}")
            case "map":
                value = self.computed(node, [self.row_value(a) for a in node.args])
            case "pick":
                value = self.picked(node, self.row_value(node.args[0]), "row", "row_ok", "ROWS")
            case _:
                raise AssertionError(node.kind)
        self.memo[node, ""] = value
        return value

    def value(self, node: Node, c: Columns) -> str:
        """A value at some columns of its space."""
        if node.space is None:
            return self.row_value(node)
        found = self.memo.get((node, c.name))
        if found is not None:
            return found
        match node.kind:
            case "load":
                value = self.load(node, c)
            case "iota":
                value = self.w.let("number", f"{c.name}.to(tl.int64)")
            case "pick":
                value = self.picked(node, self.value(node.args[0], c), f"{c.name}.to(tl.int64)", c.ok, c.block)
            case "slice":
                value = self.value(node.args[0], self.shifted(c, node.start, str(node.start)))
            case "concat":
                value = self.pieces(node, c)
            case "product":
                value = self.product(node, c)
            case _:
                value = self.computed(node, [self.value(a, c) for a in node.args])
        self.memo[node, c.name] = value
        return value

    def hint(self, node: Node) -> str:
        if node.op is not None:
            return node.op.outs[0].name
        return getattr(node.atom, "name", "") or "x"

    def computed(self, node: Node, values: list[str]) -> str:
        op = node.op
        assert op is not None
        if op.op == "broadcast":
            return values[0]
        text = scalar(str(op.attr("fn")), values, [a.type for a in node.args], node.type)
        return self.w.let(op.outs[0].name or str(op.attr("fn")), text)

    def shifted(self, c: Columns, by: int, text: str) -> Columns:
        if not by and text == "0":
            return c
        key = f"{c.name} + {text}"
        name = self.memo.get((None, key))  # type: ignore[arg-type]
        if name is None:
            name = self.memo[None, key] = self.w.let("column", key)  # type: ignore[index]
        return Columns(name, c.ok, c.block)

    def pieces(self, node: Node, c: Columns) -> str:
        """Of a concatenation: the piece that a column lies in."""
        w, before, value = self.w, "0", ""
        for piece in node.args:
            width = self.width(piece)
            end = width if before == "0" else f"{before} + {width}"
            if before.isdigit() and width.isdigit():
                end = str(int(before) + int(width))
            name = c.name if before == "0" else w.let("column", f"{c.name} - ({before})")
            ok = w.let("column_ok", f"{c.ok} & ({name} >= 0) & ({name} < {width})")
            part = self.value(piece, Columns(name, ok, c.block))
            value = part if not value else f"tl.where({ok}, {part}, {value})"
            if value != part:
                value = w.let(node.op.outs[0].name if node.op else "joined", value)
            before = end
        return value

    # ---- memory
    def row_at(self, node: Node) -> str:
        """The number of a tensor's row for each row of the iteration; empty where it has one."""
        if node.all_rows:
            return "row" if self.graph.rows else ""
        if not node.rows:
            return ""
        key = (None, f"row at {node.rows}")
        found = self.memo.get(key)  # type: ignore[arg-type]
        if found is None:
            found = self.memo[key] = self.w.let("row_at", self.place(node.rows, self.graph.rows, "row"))  # type: ignore[index]
        return found

    def place(self, wanted: Sequence[int], axes: Sequence[int], row: str) -> str:
        """Of a row along all axes, its number among those along some of them."""
        if tuple(wanted) == tuple(axes):
            return row
        terms, scale, rest = [], "1", row
        for c in reversed(axes):
            size, first = self.size([c]), c == axes[0]
            if c in wanted:
                here = rest if first else f"{rest} % {size}"
                terms.append(here if scale == "1" else f"{here} * {scale}")
                scale = size if scale == "1" else f"{scale} * {size}"
            if not first:
                rest = f"({rest} // {size})"
        return f"({' + '.join(reversed(terms))})" if terms else "0"

    def load(self, node: Node, c: Columns) -> str:
        at = self.row_at(node)
        base = self.inputs[node.atom]  # type: ignore[index]
        where = f"{base} + {at} * {self.width(node)} + {c.name}" if at else f"{base} + {c.name}"
        mask = f"row_ok & {c.ok}" if at else c.ok
        return self.w.let(self.hint(node), widened(node.type, f"tl.load({where}, mask={mask}, other=0)"))

    def picked(self, node: Node, index: str, at: str, ok: str, count: str) -> str:
        """Of the matrix's row `at`, of so many, the element at an index; the first wrong index is noted."""
        w, n = self.w, self.size([picked_from(self.graph, node)])
        index = w.let("index", f"{index}.to(tl.int64)")
        wrong = w.let("wrong", f"{ok} & (({index} < 0) | ({index} >= {n}))")
        at = w.let("at", at)
        w.line(f"note_wrong(fault, tl.reshape({wrong}, ({count},)), tl.reshape({at}, ({count},)))")
        where = f"{self.inputs[node.atom]} + {at} * {n} + {index}"  # type: ignore[index]
        return w.let(self.hint(node), widened(node.type, f"tl.load({where}, mask={ok} & ~{wrong}, other=0)"))

    # ---- products
    def product(self, node: Node, c: Columns) -> str:
        """A row by a matrix, over the summed axis in blocks."""
        w, row = self.w, node.args[0]
        kind = node.type
        assert row.space is not None and kind in FLOATS
        out = node.op.outs[0].name if node.op is not None else ""
        zeros = f"tl.zeros((ROWS, {c.block}), {'tl.float64' if kind == F64 else 'tl.float32'})"
        self.prepare(row)
        self.begin(node)
        if node in self.held:
            return w.let(out or "product", self.multiplied(node, *self.held[node], c, zeros))
        total, inner = w.let("total", zeros), self.width(row)
        before = dict(self.memo)
        start = w.name("start")
        with w.block(f"for {start} in range(0, {inner}, DEPTH):"):
            k = self.columns(f"{start} + ", row.space, "DEPTH")
            w.line(f"{total} = {self.multiplied(node, self.left(row, k), k, c, total)}")
        self.memo = before
        return w.let(out or "product", total)

    def hold(self, node: Node) -> None:
        """Compute the left side of a product before the loop that it stands in, if one step of DEPTH holds it."""
        row = node.args[0]
        self.begin(node)
        self.prepare(row)
        assert row.space is not None
        sizes = [self.graph.axes.size(c) for c in self.graph.spaces[row.space]]
        if None not in sizes and prod(s for s in sizes if s is not None) <= self.blocks.depth:
            k = self.columns("", row.space, "DEPTH")
            self.held[node] = self.left(row, k), k

    def begin(self, node: Node) -> None:
        """What of a product is the same for all columns: where its matrix begins."""
        row, matrix = node.args
        if (matrix, "") not in self.memo:
            base = self.inputs[matrix.atom]  # type: ignore[index]
            if matrix.rows:
                chosen = self.place(matrix.rows, self.graph.rows[: self.graph.batch], "batch")
                size = f"{self.width(node)} * {self.width(row)}"
                if matrix.op is not None:
                    size = str(self.graph.windows[matrix.op].image)
                base = self.w.let("matrix", f"{base} + {chosen} * ({size})")
            self.memo[matrix, ""] = base

    def left(self, row: Node, k: Columns) -> str:
        """A product's left side, zero where nothing is."""
        return self.w.let("left", f"tl.where(row_ok & {k.ok}, {self.value(row, k)}, 0.0)")

    def multiplied(self, node: Node, left: str, k: Columns, c: Columns, total: str) -> str:
        """A total and the product of some columns of the left side with what of the matrix belongs to them."""
        w, (row, matrix) = self.w, node.args
        inner, n, base = self.width(row), self.width(node), self.memo[matrix, ""]
        down = w.let("inner", f"{k.start}tl.arange(0, {k.block})[:, None]")
        ok = f"({down} < {inner}) & {c.ok}"
        if matrix.op is not None:
            right = w.let("right", window_tile(w, matrix.op, self.graph.windows[matrix.op], base, down, c.name, ok))
        else:
            where = f"{c.name} * {inner} + {down}" if node.transposed else f"{down} * {n} + {c.name}"
            right = w.let("right", f"tl.load({base} + {where}, mask={ok}, other=0.0)")
        return dot(node.type, left, right, total)


__all__ = ["Rows", "columns", "grid_columns", "write_rows"]
