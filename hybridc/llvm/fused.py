"""Fused statements in the host function: sizes are checked operator by operator, as if each ran alone; then the results
are made, and one kernel (row_kernel.py) fills them.

A result whose elements are computed from those at the same place takes the memory of an operand that is needed no more,
if nobody else has it: vectors that a training step moves on stay where they are, in the caches. What only goes to a
part of a tensor is computed there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from hybridc.core.ir import Block, Fused, Op, TensorT, Var, Yield
from hybridc.core.types import elem
from hybridc.kernels.axes import Axes
from hybridc.kernels.graph import Graph, Node, graph_of, pooling
from hybridc.kernels.late import divided_late
from hybridc.kernels.schedule import Schedule, schedule
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.kept_panels import kept_rows
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves
from hybridc.llvm.refcount import release_helper
from hybridc.llvm.row_kernel import Kernel, kernel_of
from hybridc.llvm.tensor_access import (
    Tensor,
    count_elements,
    in_place_of,
    load_element,
    new_tensor,
    tensor_of,
    writable,
)
from hybridc.llvm.tensor_copy import broadcast_sizes, check_update, concat_dims, iota_size, part_of, reshape_dims
from hybridc.llvm.tensor_gather import check_gather
from hybridc.llvm.tensor_map import operands_of, product, result_dims
from hybridc.llvm.tensor_matmul import kept, product_dims
from hybridc.llvm.tensor_reduce import check_some
from hybridc.llvm.tensor_whole import window_dims
from hybridc.llvm.window_pool import emit_pool


def emit_fused(e: FnEmitter, stmt: Fused, dying: Sequence[Var] = ()) -> tuple[tuple[Leaves, ...], set[Var]]:
    """The results' leaves. Those of `dying`, which the function owns and would release next, whose memory results may
    have taken: they are released here."""
    if pooling(stmt.ops, [v for v in stmt.body.tail.values if isinstance(v, Var)]):
        return (emit_pool(e, *stmt.ops),), set()
    if stmt.taken:
        return (_into_part(e, stmt),), set()
    graph = graph_of(stmt)
    for op in stmt.ops:
        e.span = op.span
        shape(e, op, graph.axes)
    e.span = stmt.span
    plan = schedule(divided_late(graph))
    over = _over(plan, dying)
    kernel = kernel_of(e.module, plan, over)
    left = []
    with ExitStack() as stack:
        results: list[Tensor] = []
        for i, v in enumerate(stmt.body.tail.values):
            assert isinstance(v, Var)
            if i in over:
                made, fresh, unused = in_place_of(e, tensor_of(e, over[i]), tensor_of(e, v).dims)
                results.append(made)
                stack.enter_context(e.holding(fresh))
                left.append(unused)
            elif isinstance(v.type, TensorT):
                results.append(new_tensor(e, elem(v.type), tensor_of(e, v).dims))
                stack.enter_context(e.holding(results[-1].owner))
            else:
                results.append(Tensor(elem(v.type), "null", e.alloca(SCALARS[elem(v.type).name][1]), ()))
        _run(e, kernel, graph, [r.data for r in results])
    for owner in left:
        e.call("void", release_helper(e.module), [("ptr", CTX), ("ptr", owner)])
    return tuple(r.leaves if r.dims else (load_element(e, r, "0"),) for r in results), set(over.values())


def _into_part(e: FnEmitter, stmt: Fused) -> Leaves:
    """The tensor that is taken over, with a part replaced or added to."""
    *ops, last = stmt.ops
    value = last.args[1]
    graph = graph_of(Fused((), Block(tuple(ops), Yield((value,))), stmt.span))
    with e.giving_up(stmt.taken):
        for op in ops:
            e.span = op.span
            shape(e, op, graph.axes)
        e.span = last.span
        target = tensor_of(e, stmt.taken[0])
        part = part_of(e, last, target)
        check_update(e, last, part)
    target = writable(e, target)
    kernel = kernel_of(e.module, schedule(graph), adds=last.attr("fn") == "add")
    to = e.element(target.data, target.llvm, part.offset)
    with e.holding(target.owner):
        _run(e, kernel, graph, [to])
    return target.leaves


def _run(e: FnEmitter, kernel: Kernel, graph: Graph, results: Sequence[str]) -> None:
    """The kernel's call, given where its results go."""
    args = [("ptr", CTX), *(("ptr", r) for r in results), *_given(e, kernel, graph)]
    if kernel.fails:
        e.leave_unless(e.icmp("eq", e.call("i32", kernel.name, args), "0", "i32"))
    else:
        e.call("void", kernel.name, args)


def _over(plan: Schedule, dying: Sequence[Var]) -> dict[int, Var]:
    """By the number of a result the operand whose memory it may take. Every tensor is read at the place that is
    written, and at no other."""
    loads = plan.graph.of_kind("load")
    if not dying or not plan.flat or any(n.space is None for n in loads):
        return {}
    free = [v for v in dying if any(n.atom == v for n in loads)]
    found: dict[int, Var] = {}
    for i, node in enumerate(plan.graph.outputs):
        taken = next((v for v in free if elem(v.type) == node.type), None)
        if taken is not None:
            found[i] = taken
            free.remove(taken)
    return found


def _given(e: FnEmitter, kernel: Kernel, graph: Graph) -> list[tuple[str, str]]:
    """The kernel's arguments after its results."""
    args = []
    for node in kernel.inputs:
        if node.kind == "scalar":
            args.append((SCALARS[node.type.name][0], e.one(node.atom)))  # type: ignore[arg-type]
        else:
            args.append(("ptr", tensor_of(e, node.atom).data))  # type: ignore[arg-type]
    args += [("i64", size_of(e, graph.axes, c)) for c in kernel.sizes]
    args += [("ptr", _kept(e, node, graph)) for node in kernel.turned]
    return args + [("ptr", _kept(e, node, graph, rows=True)) for node in kernel.straight]


def _kept(e: FnEmitter, node: Node, graph: Graph, rows: bool = False) -> str:
    """Where the panels, or the rows, of a product's matrix are kept, or null."""
    def count(classes: Sequence[int]) -> str:
        return product(e, [size_of(e, graph.axes, c) for c in classes])

    assert node.space is not None and node.args[0].space is not None and node.args[1].atom is not None
    matrix = tensor_of(e, node.args[1].atom)
    n, k = count(graph.spaces[node.space]), count(graph.spaces[node.args[0].space])
    if rows:
        given = [("ptr", matrix.owner), ("ptr", matrix.data), ("i64", n), ("i64", k)]
        return e.call("ptr", kept_rows(e.module, node.type), given)
    return kept(e, matrix, n, k, count(graph.rows[graph.batch :]))


def size_of(e: FnEmitter, axes: Axes, c: int) -> str:
    """The operand for the size of an axis of the iteration."""
    c = axes.find(c)
    static = axes.static[c]
    if static is not None:
        return str(static)
    known = axes.known_by[c]
    if known is not None:
        return tensor_of(e, known[0]).dims[known[1]]
    given = axes.given[c]
    if given is not None:
        return e.one(given)
    assert axes.total_of[c]
    total = "0"
    for part in axes.total_of[c]:
        total = e.add(total, size_of(e, axes, part))
    return total


def shape(e: FnEmitter, op: Op, axes: Axes) -> None:
    """Check the sizes of an operator's arguments, and give its result sizes and no memory."""
    out = op.outs[0]
    match op.op:
        case "map":
            dims = result_dims(e, operands_of(e, op.args), op.attr("axes"))  # type: ignore[arg-type]
        case "reduce":
            x, gone = tensor_of(e, op.args[0]), op.attr("axes")
            assert isinstance(gone, tuple)
            if op.attr("fn") in ("max", "min") and not op.attr("least"):
                check_some(e, str(op.attr("fn")), x, gone)
            dims = [d for i, d in enumerate(x.dims) if i not in gone]
        case "index":
            x = tensor_of(e, op.args[0])
            dims = [*x.dims[:-1], str(axes.size(axes.of(out)[-1]))]
        case "concat":
            dims = concat_dims(e, op)
        case "matmul":
            dims = product_dims(e, op)
        case "gather":
            check_gather(e, op)
            dims = list(tensor_of(e, op.args[1]).dims)
        case "broadcast":
            dims = broadcast_sizes(e, op)
        case "windows":
            dims = window_dims(e, op)
        case "iota":
            dims = [iota_size(e, op)]
        case "reshape":
            x = tensor_of(e, op.args[0])
            sizes = [e.one(a) for a in op.args[1:]]
            dims = sizes if op.attr("fits") else reshape_dims(e, x.dims, count_elements(e, x.dims), sizes)
        case _:
            raise AssertionError(op.op)
    if isinstance(out.type, TensorT):
        e.bind(out, ("null", "null", *dims))
    else:
        e.bind(out, ("0",))
