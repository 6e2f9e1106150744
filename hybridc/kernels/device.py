"""Which kernels a GPU can run, and what each is given: shared by the pass that places them (passes/place.py), the host
code that launches them (llvm/device.py) and the Triton source (hybridc/triton).

A kernel is either a graph (kernels/graph.py) or one operator that has a kernel of its own, of which MOVES go from a
place of the result to places of the operands, and the others walk along an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hybridc.base.types import BOOL, FLOATS, I32, INT, INTS, U8, Prim
from hybridc.core.ir import Atom, Block, Const, Fused, Op, TensorT, Var, Yield
from hybridc.core.tensor_faults import INT_FAULTS, element_faults
from hybridc.core.types import elem, rank
from hybridc.kernels.graph import Graph, Node, Unfit, build, pooling
from hybridc.kernels.online import online

MOVES = (
    "map", "transpose", "broadcast", "index", "concat", "take", "gather", "iota", "windows", "accumulate", "shaped",
)  # fmt: skip
"""Each element of the result is one element of an operand, or a scalar operator of several."""
UPDATES = ("update", "put", "scatter")
"""The result is a copy of the first operand, of which the kernel then changes a part."""
SUMS = ("fold", "unpool")
"""Each element of the result is a sum of some of an operand, in order."""
JOINED = ("pool",)
"""Two operators that are one kernel: a reduction of each window."""
LINES = ("reduce", "cumsum", "argsort", "matmul")
"""Along an axis of any place."""
CHECKED = ("take", "gather", "put", "scatter")
"""Kernels that check indices, and say where the first wrong one stands."""
SCALARS_ON_HOST = {
    "floordiv": "floor division of floats", "mod": "the remainder of floats", "pow": "a power of integers",
    "mulhi": "the high half of a product", "ctz": "the number of zeros that end a number",
}
"""Scalar operators that GPU kernels do not compute, for the types that the text names."""
HOST_ONLY = {
    "nonzero": "its result's size depends on the elements", "stack": "it reads a list", "join": "it reads a list",
    "orthogonal": "it runs once, for an initial value", "tensor": "it is made of the host's scalars",
    "tensor_equal": "the program goes on by its result", "dim": "sizes are the host's",
    "reshape": "it only renames sizes", "reshaped": "it only renames sizes",
    "part": "it is made after kernels are", "add_product": "the CPU's own way to add a product",
    "tensor_view": "it is a part of a vector, without a copy",
    "to_device": "it is a transfer", "to_host": "it is a transfer",
}
"""Tensor operators that are never GPU kernels, and why."""
NODES = {"load", "scalar", "iota", "map", "reduce", "slice", "concat", "product", "matrix", "pick"}
"""Kinds of nodes that kernels of rows are written from."""
WIDEST_WHOLE = 512
"""Columns that a program holds at once where what follows a product needs all of them."""


@dataclass(frozen=True)
class Launch:
    """One kernel of a fused statement: its results, the atoms from outside that it reads (tensors and scalars;
    constants stand in its text), and the sizes it is told: classes of axes of a graph, or what llvm/device.py knows by
    name."""

    kind: str
    """`rows` for a graph, else the operator."""
    stmt: Fused
    inputs: tuple[Var, ...]
    sizes: tuple[int | str, ...]
    graph: Graph | None = None

    @property
    def op(self) -> Op:
        return self.stmt.ops[0]

    @property
    def checked(self) -> Op | None:
        """The operator whose indices the kernel checks."""
        return next((op for op in self.stmt.ops if op.op in CHECKED), None)

    def size_name(self, size: int | str) -> str:
        return f"n{size}" if isinstance(size, int) else size


def launch_of(stmt: Fused) -> Launch:
    """What a statement's kernel is; Unfit, with the reason, where a GPU runs none."""
    results = [v for v in stmt.body.tail.values if isinstance(v, Var)]
    inputs = tuple(a for a in stmt.args if isinstance(a, Var))
    try:
        graph = build(stmt.ops, results)
        fits(graph)
    except Unfit:
        if pooling(stmt.ops, results):
            return Launch("pool", stmt, inputs, ("d0", "d1", "d2", "d3", "h", "w"))
        if len(stmt.ops) > 1:
            raise
        single(stmt.ops[0])
        return Launch(stmt.ops[0].op, stmt, inputs, size_names(stmt.ops[0]))
    used = {n.atom for n in graph.nodes if n.atom is not None}
    classes = [*graph.rows, *(c for s in graph.spaces for c in s)]
    classes += [picked_from(graph, n) for n in graph.of_kind("pick")]
    open_ = dict.fromkeys(c for c in map(graph.axes.find, classes) if graph.axes.static[c] is None)
    return Launch("rows", stmt, tuple(a for a in inputs if a in used), tuple(open_), graph)


def refusal(ops: Sequence[Op], results: Sequence[Var]) -> str | None:
    """Why a GPU cannot run these operators as one kernel."""
    try:
        launch_of(Fused(tuple(results), Block(tuple(ops), Yield(tuple(results))), device=True))
    except Unfit as unfit:
        return str(unfit)
    return None


# ---- graphs
def picked_from(graph: Graph, pick: Node) -> int:
    """The axis of a matrix along which elements are picked."""
    assert isinstance(pick.atom, Var)
    return graph.axes.of(pick.atom)[1]


def fits(graph: Graph) -> None:
    """Unfit where a graph is not one GPU kernel: a program holds a block of rows and some of their columns, so what
    needs whole rows of a product is only for those that are not wide, but for attention."""
    unknown = {n.kind for n in graph.nodes} - NODES
    if unknown:
        raise Unfit(f"{min(unknown)} in a kernel has no GPU form")
    for node in graph.nodes:
        if node.kind == "map" and node.op is not None and node.op.op == "map":
            _scalar(node.op)
    if online(graph) is not None:
        return
    above = _above_products(graph)
    for node in graph.nodes:
        if node.kind == "product" and node.args[0] in above:
            raise Unfit("a product of a product")
        if node.kind == "reduce" and node.args[0] in above:
            width = columns(graph, node.args[0])
            if width is None or width > WIDEST_WHOLE:
                raise Unfit("a reduction over the wide rows of a product")
    if above and len({n.space for n in graph.outputs if n.space is not None}) > 1:
        raise Unfit("results of different widths beside a product")


def _above_products(graph: Graph) -> set[Node]:
    found: set[Node] = set()
    for node in graph.nodes:
        if node.kind == "product" or any(a in found for a in node.args):
            found.add(node)
    return found


def columns(graph: Graph, node: Node) -> int | None:
    """How many columns a node has, if that is known."""
    total = 1
    for c in graph.spaces[node.space] if node.space is not None else ():
        size = graph.axes.size(c)
        if size is None:
            return None
        total *= size
    return total


# ---- single operators
def single(op: Op) -> None:
    """Unfit where an operator has no kernel of its own."""
    if op.op in HOST_ONLY:
        raise Unfit(f"{op.op} runs on the host: {HOST_ONLY[op.op]}")
    if op.op not in (*MOVES, *UPDATES, *SUMS, *LINES):
        raise Unfit(f"{op.op} has no GPU kernel")
    if op.op == "map":
        _scalar(op)


def _scalar(op: Op) -> None:
    """Unfit for a scalar operator that could fault or has no form."""
    fn, source, target = str(op.attr("fn")), elem(op.args[-1].type), elem(op.outs[0].type)
    if fn == "cast" and op.attr("checked") and not lossless(source, target):
        raise Unfit("a cast that can fault")
    if fn in INT_FAULTS and source in INTS:
        if element_faults(op) or fn == "pow":
            raise Unfit(f"{fn} of integers can fault" if fn != "pow" else SCALARS_ON_HOST[fn])
    elif fn in ("floordiv", "mod", "mulhi", "ctz"):
        raise Unfit(f"{SCALARS_ON_HOST[fn]} has no GPU form")


def lossless(source: Prim, target: Prim) -> bool:
    """A cast that is never out of range."""
    if source == BOOL or target in FLOATS or target == BOOL or source == target:
        return True
    return (source, target) in ((U8, I32), (U8, INT), (I32, INT))


def size_names(op: Op) -> tuple[str, ...]:
    """The sizes that the kernel of a single operator is told, in order; llvm/device.py gives their values."""
    out = rank(op.outs[0].type)
    dims = tuple(f"d{i}" for i in range(out))
    first = rank(op.args[0].type) if op.args else 0
    match op.op:
        case "map":
            return dims
        case "index":
            return (*dims, "offset", *(f"step{i}" for i in range(out)))
        case "update":
            kept = sum(k != "i" for k in op.attr("kinds"))  # type: ignore[attr-defined]
            return (*(f"d{i}" for i in range(kept)), "offset", *(f"step{i}" for i in range(kept)))
        case "concat":
            return (*dims, *(f"w{i}" for i in range(len(op.args))))
        case "take" | "put":
            return "outer", "n", "inner", "count"
        case "gather" | "scatter":
            return (*(f"d{i}" for i in range(first)), *(f"xd{i}" for i in range(first)),
                    *(f"v{i}" for i in range(first) if op.op == "scatter"))
        case "iota" | "shaped":
            return (*dims, "have") if op.op == "shaped" else dims
        case "accumulate":
            return "have", "more"
        case "windows":
            return (*dims, "h", "w")
        case "fold":
            return (*dims, "kh", "kw", "rows", "columns")
        case "unpool":
            return (*dims, "rows", "columns")
        case "reduce":
            return tuple(f"d{i}" for i in range(first))
        case "cumsum":
            return "outer", "n", "inner"
        case "argsort":
            return ("outer", "n", "count")[: 1 + len(op.args)]
        case "matmul":
            return "batch", "m", "n", "k"
    return dims


# ---- the kernels of a program
@dataclass
class Kernels:
    """Every kernel once, by number."""

    launches: list[Launch] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)

    def number(self, launch: Launch) -> int:
        key = shape_of(launch.stmt)
        if key not in self._numbers:
            self._numbers[key] = len(self.launches)
            self.launches.append(launch)
        return self._numbers[key]


def shape_of(stmt: Fused) -> object:
    """The same for statements that differ only in the names of their variables."""
    names: dict[int, int] = {}

    def atom(a: Atom) -> object:
        if isinstance(a, Const):
            return (repr(a.value), a.type)
        return (names.setdefault(a.id, len(names)), a.type)

    ops = tuple((op.op, op.attrs, tuple(map(atom, op.args)), tuple(map(atom, op.outs))) for op in stmt.ops)
    return ops, tuple(map(atom, stmt.body.tail.values))


def tensors(launch: Launch) -> list[Var]:
    return [v for v in launch.inputs if isinstance(v.type, TensorT)]
