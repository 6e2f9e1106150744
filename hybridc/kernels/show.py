"""Kernels as text: what each one's graph computes, whatever machine runs it."""

from __future__ import annotations

from collections.abc import Iterator

from hybridc.core.ir import Block, Fused, Op, Program, Var
from hybridc.core.printer import show_atom, show_attr
from hybridc.core.tensor_ops import TENSOR_ROWS
from hybridc.core.types import show_type
from hybridc.core.walk import blocks_of
from hybridc.kernels.axes import Unfit
from hybridc.kernels.cost import cost_of
from hybridc.kernels.graph import Graph, Node, graph_of

VIEWS = frozenset({"dim", "reshape", "tensor_view"})
"""Tensor operators that look at no element."""
OPERATORS = frozenset(r.name for r in TENSOR_ROWS) - VIEWS


def show_kernels(program: Program) -> str:
    """The kernels of every function: of a graph its rows, its spaces of columns and its nodes; of an operator that is a
    kernel of its own, what it is given; and transfers."""
    parts = []
    for fn in program.fns.values():
        shown = [_kernel(i, stmt) for i, stmt in enumerate(_kernels(fn.body))]
        if shown:
            params = ", ".join(f"{show_atom(p)}: {show_type(p.type)}" for p in fn.params)
            parts.append("\n".join([f"fn {fn.title or fn.name}({params})", *shown]))
    return "\n\n".join(parts) + "\n" if parts else "# nothing here computes with tensors\n"


def _kernels(b: Block) -> Iterator[Op | Fused]:
    for stmt in b.stmts:
        if isinstance(stmt, Fused) or isinstance(stmt, Op) and stmt.op in OPERATORS:
            yield stmt
            continue
        for inner in blocks_of(stmt):
            yield from _kernels(inner)


def _kernel(number: int, stmt: Op | Fused) -> str:
    if isinstance(stmt, Op):
        return f"  {number}: {_operator(stmt)}"
    results = [v for v in stmt.body.tail.values if isinstance(v, Var)]
    cost = cost_of(stmt.ops, stmt.args, results)
    head = f"{'GPU kernel' if stmt.device else 'kernel'}, {cost.read} bytes read, {cost.written} written"
    try:
        graph = graph_of(stmt)
    except Unfit:  # an operator that has a GPU kernel of its own
        lines = [_operator(op) for op in stmt.ops]
    else:
        names = _names(graph)
        lines = [*_axes(graph), *(_node(n, names) for n in graph.nodes if n.kind != "scalar")]
        outs = zip(stmt.outs, graph.outputs, strict=True)
        lines += [f"store {names[n]} as {show_atom(v)}: {show_type(v.type)}" for v, n in outs]
    return "\n".join([f"  {number}: {head}, {cost.operations} operations", *(f"    {line}" for line in lines)])


def _operator(op: Op) -> str:
    attrs = ", ".join(f"{n}={show_attr(v)}" for n, v in op.attrs)
    outs = ", ".join(f"{show_atom(v)}: {show_type(v.type)}" for v in op.outs)
    return f"{outs} = {op.op}{f'[{attrs}]' if attrs else ''}({', '.join(map(show_atom, op.args))})"


def _axes(graph: Graph) -> list[str]:
    """The iteration: `rows`, the first of which choose the matrices of products, and each space of columns."""

    def sizes(classes: tuple[int, ...]) -> str:
        return " × ".join(_size(graph, c) for c in classes) or "1"

    batch = f", of which {graph.batch} choose matrices" if graph.batch else ""
    spaces = [f"columns {i}: {sizes(s)}" for i, s in enumerate(graph.spaces)]
    return [f"rows: {sizes(graph.rows)}{batch}", *spaces]


def _size(graph: Graph, c: int) -> str:
    """A number, or of what it is a size: `x.0` is the first of x."""
    axes = graph.axes
    c = axes.find(c)
    known, given, total = axes.known_by[c], axes.given[c], axes.total_of[c]
    if axes.static[c] is not None:
        return str(axes.static[c])
    if known is not None:
        return f"{show_atom(known[0])}.{known[1]}"
    if given is not None:
        return show_atom(given)
    return f"({' + '.join(_size(graph, t) for t in total)})"


def _names(graph: Graph) -> dict[Node, str]:
    """As Core calls what a node makes; a load is what it loads."""
    names: dict[Node, str] = {}
    for n in graph.nodes:
        names[n] = show_atom(n.op.outs[0]) if n.op is not None else show_atom(n.atom)  # type: ignore[arg-type]
    return names


def _node(n: Node, names: dict[Node, str]) -> str:
    varies = [*(["rows"] if n.all_rows else ["some rows"] if n.rows else []),
              *([f"columns {n.space}"] if n.space is not None else [])]
    args = ", ".join(names[a] for a in n.args)
    what: str
    match n.kind:
        case "load" | "matrix":
            what = n.kind
        case "iota":
            what = "its number"
        case "pick":
            what = f"{show_atom(n.atom)} at column {args}"  # type: ignore[arg-type]
        case "slice":
            what = f"{args} from column {n.start}"
        case "product":
            what = f"{args} summed over columns {n.args[0].space}{', the matrix transposed' if n.transposed else ''}"
            what = "product of " + what
        case _:
            fn = n.op.attr("fn") if n.op is not None and n.op.op in ("map", "reduce") else n.kind
            over = f" over columns {n.args[0].space}" if n.kind == "reduce" else ""
            what = f"{'broadcast' if n.op is not None and n.op.op == 'broadcast' else fn}({args}){over}"
    return f"{names[n]}: {n.type.name} [{', '.join(varies)}] = {what}"


__all__ = ["show_kernels"]
