"""The kernel graph: what a fused region computes, whatever machine runs it.

The iteration is `rows` (axes of the result, flattened) and, for each row, loops over column *spaces*. A node is
- a `load` of a tensor from outside, a `scalar` from outside or constant, an `iota`: the number of the row or column,
- a `map`: a scalar operator at a place of its space, or once for a row where it varies along no column,
- a `reduce` over the whole space of its argument: one value for a row,
- a `total`, a reduction over the rows, which is a result (totals.py; on CPUs only),
- a `slice`: constant columns of another space; a `concat` of spaces,
- a `pick`: of each row of a matrix from outside, one element, whose column is a value (on GPUs only),
- a `product`: a row times a matrix from outside, whose columns are another space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hybridc.base.types import BF16, F16, F32, F64, INTS
from hybridc.core.ir import Atom, Const, Fused, Op, Prim, TensorT, Var
from hybridc.core.tensor_faults import INT_FAULTS, element_faults
from hybridc.core.types import elem
from hybridc.kernels.axes import Axes, Unfit, relate, slice_bounds, whole_number
from hybridc.kernels.totals import long_enough, totals

FUSIBLE = ("map", "reduce", "reshape", "index", "concat", "matmul", "broadcast", "iota", "windows", "gather")
"""Windows as the matrix of a product that is never in memory."""
RUN = 16
"""Elements of the longest vector."""
COSTLY = frozenset(
    "exp log sqrt rsqrt sin cos tan tanh asin acos atan erf log1p expm1 sigmoid atan2 pow div floordiv mod".split()
)
"""Scalar operators that are not computed twice."""


@dataclass(eq=False)
class Node:
    kind: str
    type: Prim
    args: tuple[Node, ...] = ()
    atom: Atom | None = None
    """Of a load or scalar."""
    op: Op | None = None
    rows: tuple[int, ...] = ()
    """The row axes it varies along, in order."""
    all_rows: bool = False
    """Its rows are those of the iteration, in one run."""
    space: int | None = None
    start: int = 0
    """Of a slice: the first column."""
    transposed: bool = False
    """Of a product: the matrix lies with the summed axis last."""
    written: bool = False
    """Of a constant: it stands in the kernel, which is not told it, since some other would be a fault."""

    @property
    def costly(self) -> bool:
        return self.op is not None and self.op.attr("fn") in COSTLY


@dataclass(frozen=True)
class WindowSizes:
    """Of a matrix whose columns are windows: each image's channels, height and width, and how many windows stand beside
    each other."""

    channels: int
    height: int
    width: int
    across: int

    @property
    def image(self) -> int:
        return self.channels * self.height * self.width


@dataclass
class Graph:
    axes: Axes
    rows: tuple[int, ...] = ()
    batch: int = 0
    """So many leading row axes choose the matrices of products."""
    spaces: list[tuple[int, ...]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    windows: dict[Op, WindowSizes] = field(default_factory=dict)
    """Of the windows that are matrices of products, whose nodes have these operators."""

    def of_kind(self, kind: str) -> list[Node]:
        return [n for n in self.nodes if n.kind == kind]


def graph_of(fused: Fused) -> Graph:
    """The graph of a fused statement; Unfit if it has none."""
    return build(fused.ops, [v for v in fused.body.tail.values if isinstance(v, Var)])


def build(ops: Sequence[Op], results: Sequence[Var]) -> Graph:
    """Of operators in order and those of their results that are wanted."""
    return _Builder(ops, results).graph


class _Builder:
    def __init__(self, ops: Sequence[Op], results: Sequence[Var]):
        self.ops = ops
        self.axes = Axes()
        self.graph = Graph(self.axes)
        self.inner = {o.id for op in ops for o in op.outs}
        bounds = (op.args[-1] for op in ops if op.op == "map" and op.attr("fn") in INT_FAULTS)
        self.written = {a for a in bounds if isinstance(a, Const) and a.type in INTS}
        self.of: dict[object, Node] = {}
        self.same_rows: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.windowed: dict[int, Op] = {}
        """Windows, and what these are reshaped to; no values of their own."""
        if not results:
            raise Unfit("nobody needs the results")
        for op in ops:
            _allowed(op)
            for a in op.args:
                if isinstance(a, Var) and a.id not in self.inner and a.id not in self.axes.of_var:
                    self.axes.define(a, True)
            if self.window(op):
                continue
            regrouped = relate(op, self.axes)
            if regrouped:
                self.same_rows.append(regrouped)
        self.find_spaces(results)
        self.find_rows()
        for op in ops:
            self.add(op)
        if any(v.id in self.windowed for v in results):
            raise Unfit("windows are a kernel of their own")
        self.graph.outputs = [self.of[v] for v in results]
        self.check(results)

    def window(self, op: Op) -> bool:
        """Windows, and the matrix [image, place within a window, window] that they are reshaped to."""
        source, out, axes = op.args[0] if op.args else None, op.outs[0], self.axes
        if op.op == "windows":
            self.graph.windows[op] = window_sizes(op, axes)
            axes.define(out, False)
            axes.unify(axes.of(out)[0], axes.of(source)[0])  # type: ignore[arg-type]
        elif op.op == "reshape" and isinstance(source, Var) and source.id in self.windowed:
            whole = self.windowed[source.id]
            sizes, settings = self.graph.windows[whole], [whole_number(a) for a in whole.args[1:9]]
            dims = axes.define(out, False)
            if source.id != whole.outs[0].id or len(dims) != 3:
                raise Unfit("windows in another shape than a product's")
            axes.unify(dims[0], axes.of(source)[0])
            axes.set_size(dims[1], sizes.channels * settings[0] * settings[1])
            axes.set_size(dims[2], sizes.across * window_count(sizes.height, settings[0::2]))
        else:
            return False
        self.windowed[out.id] = op if op.op == "windows" else self.windowed[source.id]  # type: ignore[union-attr]
        return True

    def shape(self, v: Var) -> tuple[int, ...]:
        return self.axes.shape(v)

    def values(self) -> list[Var]:
        """Every tensor, those from outside that are matrices of products not."""
        found: dict[Var, None] = {}
        for op in self.ops:
            if op.outs[0].id in self.windowed:
                continue
            weight = op.args[0] if op.op == "gather" else _weight(op, self.axes)
            for v in (*op.args, *op.outs):
                if isinstance(v, Var) and isinstance(v.type, TensorT) and v != weight:
                    found[v] = None
        return list(found)

    # ---- columns
    def find_spaces(self, results: Sequence[Var]) -> None:
        spaces: dict[int, tuple[int, ...]] = {}
        self.totals = totals(self.ops, self.axes)

        def space(classes: Sequence[int]) -> None:
            found = tuple(self.axes.find(c) for c in classes if not self.axes.is_one(c))
            if not found:
                raise Unfit("a reduction or product over an axis of size 1")
            for c in found:
                if spaces.setdefault(c, found) != found:
                    raise Unfit("reductions over different axes")

        for op in self.ops:
            own = self.axes.of(op.outs[0])
            match op.op:
                case "reshape" if op.outs[0].id in self.windowed:
                    continue
                case "reduce" if op.outs[0].id in self.totals:
                    if self.totals[op.outs[0].id]:
                        space(self.totals[op.outs[0].id])
                case "reduce":
                    whole = self.axes.of(op.args[0])  # type: ignore[arg-type]
                    space([whole[i] for i in op.attr("axes")])  # type: ignore[attr-defined]
                case "index":
                    space(own[-1:])
                    space(self.axes.of(op.args[0])[-1:])  # type: ignore[arg-type]
                case "concat":
                    space(own[-1:])
                    for a in op.args:
                        space(self.axes.of(a)[-1:])  # type: ignore[arg-type]
                case "matmul":
                    left = self.axes.of(op.args[0])  # type: ignore[arg-type]
                    space([left[-2] if op.attr("ta") else left[-1]])
                    space([own[-2] if _swapped(op, self.axes) else own[-1]])
        if not spaces:
            self.widest(results, space)
        self.graph.spaces = list(dict.fromkeys(spaces.values()))
        if self.totals and all(op.op != "reduce" or op.outs[0].id in self.totals for op in self.ops):
            for columns in self.graph.spaces:
                long_enough(self.axes, columns)

    def widest(self, results: Sequence[Var], space) -> None:
        """Without reductions: the longest run of last axes that every value has whole or not at all."""
        shapes = [self.shape(v) for v in self.values()]
        full = max((self.shape(v) for v in results), key=len)
        for n in range(len(full), 0, -1):
            run = full[-n:]
            if all(s[len(s) - n :] == run or not set(s) & set(run) for s in shapes):
                space(run)
                return
        if full:
            raise Unfit("axes that are not in one order")

    def split(self, v: Var) -> tuple[tuple[int, ...], int | None]:
        """Row axes and column space of a value."""
        shape = self.shape(v)
        for i, s in enumerate(self.graph.spaces):
            if set(shape) & set(s):
                if shape[len(shape) - len(s) :] != s:
                    raise Unfit("columns that are not the last axes")
                shape = shape[: len(shape) - len(s)]
                if any(c in t for c in shape for t in self.graph.spaces):
                    raise Unfit("an axis that is both row and column")
                return shape, i
        return shape, None

    # ---- rows
    def find_rows(self) -> None:
        tuples = [self.split(v)[0] for v in self.values()]
        self.graph.rows = max(tuples, key=len, default=())
        find = self.axes.find
        same = {self.graph.rows}
        pairs = [tuple(tuple(find(c) for c in side if not self.axes.is_one(c)) for side in p) for p in self.same_rows]
        grew = True
        while grew:
            grew = False
            for x, y in pairs:
                if (x in same) != (y in same):
                    same |= {x, y}
                    grew = True
        if any(x not in same for x, _ in pairs):
            raise Unfit("a reshape of other rows")
        self.whole = same
        # Of several names for the same rows, those whose sizes can be asked for.
        known = [t for t in sorted(same) if all(map(self.axes.known, t))]
        self.graph.rows = max(known, key=len, default=())
        if not known or not all(self.axes.known(c) for s in self.graph.spaces for c in s):
            raise Unfit("a size that is known only within")

    def placed(self, node: Node, v: Var) -> Node:
        rows, node.space = self.split(v)
        if rows in self.whole:
            node.rows, node.all_rows = self.graph.rows, True
            return node
        left = iter(self.graph.rows)
        if not all(c in left for c in rows):
            raise Unfit("rows in another order")
        node.rows = rows
        return node

    # ---- nodes
    def node(self, a: Atom) -> Node:
        key = a if isinstance(a, Var) else (repr(a.value), a.type)  # 0.0 and -0.0 are two
        found = self.of.get(key)
        if found is None:
            tensor = isinstance(a, Var) and isinstance(a.type, TensorT)
            found = Node("load" if tensor else "scalar", elem(a.type), atom=a)
            found.written = a in self.written
            if tensor:
                self.placed(found, a)  # type: ignore[arg-type]
            self.of[key] = found
            self.graph.nodes.append(found)
        return found

    def add(self, op: Op) -> None:
        out = op.outs[0]
        if out.id in self.windowed:
            return
        if op.op in ("reshape", "broadcast"):
            source = self.node(op.args[0])
            self.of[out] = source
            if op.op == "broadcast":
                self.of[out] = self.keep(Node("map", source.type, (source,), op=op), out)
            return
        if op.op == "matmul":
            self.product(op)
            return
        if op.op == "iota":
            self.keep(Node("iota", elem(out.type), op=op), out)
            return
        if op.op == "gather":
            if any(op.args[0] in other.outs for other in self.ops):
                raise Unfit("elements picked of what the kernel computes")
            self.keep(Node("pick", elem(out.type), (self.node(op.args[1]),), atom=op.args[0], op=op), out)
            return
        args = tuple(self.node(a) for a in (op.args if op.op in ("map", "concat") else op.args[:1]))
        if out.id in self.totals:
            self.total(op, args[0])
            return
        kind = {"index": "slice"}.get(op.op, op.op)
        node = Node(kind, elem(out.type), args, op=op)
        if kind == "slice":
            size = self.axes.size(self.axes.of(op.args[0])[-1])  # type: ignore[arg-type]
            assert size is not None
            node.start = slice_bounds(op, size)[0]
        self.keep(node, out)
        if kind in ("reduce", "slice", "concat") and any(a.space is None for a in args):
            raise Unfit("columns of a value that has none")

    def total(self, op: Op, x: Node) -> None:
        """The columns of rows first, if these go too."""
        out = op.outs[0]
        if x.space is not None and not self.totals[out.id]:
            x = Node("reduce", x.type, (x,), op=op, rows=x.rows, all_rows=x.all_rows)
            self.graph.nodes.append(x)
        self.keep(Node("total", elem(out.type), (x,), op=op), out)

    def keep(self, node: Node, out: Var) -> Node:
        self.of[out] = self.placed(node, out)
        self.graph.nodes.append(node)
        return node

    def product(self, op: Op) -> None:
        swapped = _swapped(op, self.axes)
        row, weight = (op.args[1], op.args[0]) if swapped else op.args
        assert isinstance(weight, Var) and isinstance(row, Var)
        windows = self.windowed.get(weight.id)
        if weight.id in self.inner and (windows is None or weight == windows.outs[0] or op.attr("tb") or swapped):
            raise Unfit("a product whose right side is computed in the same kernel")
        source = self.node(row)
        if source.space is None:
            raise Unfit("a product of a value without columns")
        matrix = self.of.get((weight, "matrix"))
        if matrix is None:
            lead = tuple(self.axes.find(c) for c in self.axes.of(weight)[:-2] if not self.axes.is_one(c))
            if lead != self.graph.rows[: len(lead)]:
                raise Unfit("matrices chosen by other axes than the leading ones")
            lies = weight if windows is None else windows.args[0]
            matrix = Node("matrix", elem(weight.type), atom=lies, op=windows, rows=lead)
            self.of[weight, "matrix"] = matrix
            self.graph.nodes.append(matrix)
        self.graph.batch = max(self.graph.batch, len(matrix.rows))
        node = Node("product", elem(weight.type), (source, matrix), op=op)
        node.transposed = True if swapped else bool(op.attr("tb"))
        self.keep(node, op.outs[0])

    def check(self, results: Sequence[Var]) -> None:
        for node, v in zip(self.graph.outputs, results, strict=True):
            if not node.all_rows and node.kind != "total":
                raise Unfit("a result that is the same for several rows")
            if node.kind == "load" or isinstance(v.type, TensorT) and self.split(v)[1] != node.space:
                raise Unfit("a result that is only a view")
        if len(self.graph.of_kind("pick")) > 1:
            raise Unfit("two that check indices")
        for node in self.graph.nodes:
            if any(a.kind == "total" for a in node.args):
                raise Unfit("a total of all rows, which is there after the last one")
            if node.kind == "total" and (node.args[0].rows != self.graph.rows or not self.graph.rows):
                raise Unfit("a total of other rows")
            if node.kind == "total" and self.graph.of_kind("product"):
                raise Unfit("a total beside a product")
            if node.kind == "product":
                row = node.args[0]
                if not row.all_rows and (row.kind != "load" or row.rows != self.graph.rows[self.graph.batch :]):
                    raise Unfit("a product whose left side is the same for several rows")
            if node.kind in ("reduce", "product", "concat", "slice", "pick") and not node.all_rows:
                raise Unfit(f"a {node.kind} that is the same for several rows")
            if node.kind == "map" and not node.all_rows and node.space is not None and not cheap(node):
                raise Unfit("a computation that is the same for several rows")
            costly = node.op is not None and str(node.op.attr("fn")) in COSTLY
            if node.kind == "map" and not node.rows and self.graph.rows and costly:
                raise Unfit("a computation that is the same for every row")


def window_count(size: int, settings: Sequence[int]) -> int:
    """Windows along an axis, given their length, stride, padding and dilation."""
    length, stride, padding, dilation = settings
    return (size + 2 * padding - dilation * (length - 1) - 1) // stride + 1


def window_sizes(op: Op, axes: Axes) -> WindowSizes:
    settings, fill = [whole_number(a) for a in op.args[1:9]], op.args[9]
    _, *sizes = map(axes.size, axes.of(op.args[0]))  # type: ignore[arg-type]
    channels, height, width = sizes
    if channels is None or height is None or width is None:
        raise Unfit("windows of an image whose size is not known when compiling")
    if not isinstance(fill, Const) or fill.value != 0 or min(settings[:4] + settings[6:]) < 1:
        raise Unfit("windows that are padded with something else than 0")
    across = window_count(width, settings[1::2])
    if min(across, window_count(height, settings[0::2]), *settings[4:6], 0) < 0 or across < 1:
        raise Unfit("a window that does not fit")
    return WindowSizes(channels, height, width, across)


def in_vectors(graph: Graph) -> None:
    """Unfit where a vector of windows, or what they begin with, does not lie in one line of the image; and where
    elements are picked, one by one."""
    if graph.of_kind("pick"):
        raise Unfit("gather is a kernel of its own")
    for op, sizes in graph.windows.items():
        if whole_number(op.args[4]) != 1 or sizes.across % RUN:
            raise Unfit("windows in lines of odd lengths, or apart")


def pooling(ops: Sequence[Op], results: Sequence[Var]) -> bool:
    """Windows and the reduction of each."""
    if [op.op for op in ops] != ["windows", "reduce"] or list(results) != list(ops[1].outs):
        return False
    of, axes, fn = ops[1].args[0], ops[1].attr("axes"), ops[1].attr("fn")
    return of == ops[0].outs[0] and axes == (2, 3) and fn in ("max", "min", "sum")


def cheap(node: Node) -> bool:
    """Is it a comparison or the like, of values that are there, which may as well be computed at every row?"""
    quick = node.op is not None and node.op.attr("fn") not in COSTLY
    return quick and all(a.kind in ("load", "scalar", "iota") for a in node.args)


def _weight(op: Op, axes: Axes) -> Atom | None:
    if op.op != "matmul":
        return None
    return op.args[0] if _swapped(op, axes) else op.args[1]


def _swapped(op: Op, axes: Axes) -> bool:
    """A matrix times one vector, which is the row of the kernel's product."""
    if not op.attr("tb") or op.attr("ta"):
        return False
    a, b = (axes.of(v) for v in op.args)  # type: ignore[arg-type]
    return len(a) == 2 and len(b) == 2 and axes.is_one(b[-2]) and not axes.is_one(a[-2])


def _allowed(op: Op) -> None:
    """Operators whose elements cannot fault, of types that a kernel computes with."""
    if op.op not in FUSIBLE:
        raise Unfit(f"{op.op} is a kernel of its own")
    kind = elem(op.outs[0].type)
    match op.op:
        case "map":
            fn = op.attr("fn")
            if fn == "cast" and op.attr("checked") or element_faults(op):
                raise Unfit(f"{fn} can fault")
            if fn == "pow" and elem(op.args[-1].type) in INTS:
                raise Unfit("a power of integers")
        case "reduce":
            if op.attr("fn") in ("argmax", "argmin"):
                raise Unfit("a search is a kernel of its own")
            if kind in (F16, BF16):
                raise Unfit("a reduction in half precision")
        case "matmul":
            if kind not in (F32, F64):
                raise Unfit(f"a product of {kind.name}")
            if op.attr("ta"):
                raise Unfit("a product whose left side lies the other way")
        case "gather":
            out, places = op.outs[0], op.args[1]
            assert isinstance(out.type, TensorT) and isinstance(places, Var)
            if op.attr("axis") != 1 or len(out.type.dims) != 2 or out.type.dims[1] != 1:
                raise Unfit("gather is a kernel of its own")
        case "broadcast":
            for size in op.args[1:]:
                if whole_number(size) < 0:
                    raise Unfit("a negative size")
        case "iota":
            if isinstance(op.args[0], Const) and whole_number(op.args[0]) < 0:
                raise Unfit("a negative size")


__all__ = [
    "COSTLY", "FUSIBLE", "Const", "Graph", "Node", "Unfit", "WindowSizes", "build", "graph_of", "in_vectors",
    "pooling", "window_count",
]  # fmt: skip
