"""Kernels on a GPU, and transfers, in the host function: sizes are checked here, as for kernels of the CPU; results are
made; then the launcher is asked, by services of the host that take and give 64-bit words:

    device.new(bytes) -> owner, address          memory that the owner, a foreign block, holds
    device.copy(address, bytes) -> owner, address  another one with the same content
    device.in(address, bytes) -> owner, address    from the host's memory
    device.out(address, to, bytes)                 to the host's; waits for what makes it
    device.launch(kernel, batches, rows, columns, slots) -> place
                                                 `slots` is an array of 8-byte places, one for each parameter; the
                                                 result is the lowest place of an index out of range, or -1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from hybridc.core.ir import INT, Atom, Fused, Op, Prim, TensorT, Var
from hybridc.core.types import elem, rank
from hybridc.kernels.device import Launch, launch_of, picked_from
from hybridc.llvm.abi import OFFSET
from hybridc.llvm.emitter import CTX, FnEmitter, N
from hybridc.llvm.fused import shape, size_of
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves
from hybridc.llvm.strided import strides_of, times
from hybridc.llvm.tensor_access import Tensor, checked_count, count_elements, new_tensor, release_tensor, tensor_of
from hybridc.llvm.tensor_copy import Part, broadcast_sizes, check_update, checked_index, concat_dims
from hybridc.llvm.tensor_gather import check_gather, check_put, check_scatter
from hybridc.llvm.tensor_map import operands_of, product, result_dims
from hybridc.llvm.tensor_matmul import product_dims
from hybridc.llvm.tensor_reduce import check_some
from hybridc.llvm.tensor_sort import argsort_dims
from hybridc.llvm.tensor_whole import window_dims
from hybridc.llvm.window_adjoint import fold_dims, unpool_dims

Sizes = dict[str, str]


@dataclass
class Work:
    """What a kernel of a single operator is launched with: sizes of its result, the sizes it is told, and how much
    there is to share out."""

    dims: Sequence[str]
    sizes: Sizes
    rows: str
    columns: str = "1"
    batches: str = "1"
    length: str = "0"
    """What indices must be below."""


# ---- services
def service(e: FnEmitter, name: str, args: Sequence[tuple[str, str]], results: int) -> list[str]:
    """Ask the launcher: operands of 64 bits in, i64 out."""
    number = e.module.service(name, (INT,) * len(args), (INT,) * results)
    given, answer = e.alloca(8 * max(len(args), 1)), e.alloca(8 * max(results, 1))
    for i, (llvm, operand) in enumerate(args):
        e.store(llvm, operand, e.ptr_add(given, 8 * i))
    callback = e.load("ptr", e.ptr_add(CTX, OFFSET["host"]))
    asked = e.load("i64", number)
    with e.host_sees_depth():
        status = e.call("i32", callback, [("ptr", CTX), ("i64", asked), ("ptr", given), ("ptr", answer)])
    e.leave_unless(e.icmp("eq", status, "0", "i32"))
    return [e.load("i64", e.ptr_add(answer, 8 * i)) for i in range(results)]


def _memory(e: FnEmitter, name: str, args: Sequence[tuple[str, str]], t: Prim, dims: Sequence[str]) -> Tensor:
    owner, address = service(e, name, args, 2)
    return Tensor(t, e.ins(f"inttoptr i64 {owner} to ptr"), e.ins(f"inttoptr i64 {address} to ptr"), tuple(dims))


def _bytes(e: FnEmitter, t: Prim, count: str) -> str:
    return times(e, count, str(SCALARS[t.name][1]))


def new_on_device(e: FnEmitter, t: Prim, dims: Sequence[str]) -> Tensor:
    size = _bytes(e, t, checked_count(e, dims) if dims else "1")
    return _memory(e, "device.new", [("i64", size)], t, dims)


def emit_to_device(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    x = tensor_of(e, op.args[0])
    size = _bytes(e, x.elem, count_elements(e, x.dims))
    return (_memory(e, "device.in", [("ptr", x.data), ("i64", size)], x.elem, x.dims).leaves,)


def emit_to_host(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    x = tensor_of(e, op.args[0])
    out = new_tensor(e, x.elem, x.dims)
    with e.holding(out.owner):
        _read(e, x.data, out.data, _bytes(e, x.elem, count_elements(e, x.dims)))
    return (out.leaves,)


def _read(e: FnEmitter, address: str, to: str, size: str) -> None:
    service(e, "device.out", [("ptr", address), ("ptr", to), ("i64", size)], 0)


# ---- kernels
def emit_device(e: FnEmitter, stmt: Fused) -> tuple[Leaves, ...]:
    """The results' leaves."""
    launch = launch_of(stmt)
    work = _rows(e, launch) if launch.graph is not None else SINGLE[launch.kind](e, launch.op)
    e.span = stmt.span
    with ExitStack() as stack:
        results = []
        for v in stmt.body.tail.values:
            assert isinstance(v, Var)
            dims = tensor_of(e, v).dims if launch.graph is not None and isinstance(v.type, TensorT) else work.dims
            results.append(_result(e, launch, elem(v.type), dims if isinstance(v.type, TensorT) else ()))
            stack.enter_context(e.holding(results[-1].owner))
        place = _launch(e, launch, results, work)
        if launch.checked is not None:
            e.span = launch.checked.span
            _report(e, place, launch.checked.args[1], work.length)
            e.span = stmt.span
        values: list[Leaves] = []
        scalars = []
        for v, r in zip(stmt.body.tail.values, results, strict=True):
            if isinstance(v.type, TensorT):
                values.append(r.leaves)
                continue
            slot = e.alloca(8)
            _read(e, r.data, slot, str(r.size))
            values.append((e.load(r.llvm, slot),))
            scalars.append(r)
    for r in scalars:
        release_tensor(e, r)
    return tuple(values)


def _result(e: FnEmitter, launch: Launch, t: Prim, dims: Sequence[str]) -> Tensor:
    """Fresh memory, or for an update a copy of what is updated."""
    if launch.kind in ("update", "put", "scatter"):
        x = tensor_of(e, launch.op.args[0])
        size = _bytes(e, t, count_elements(e, x.dims))
        return _memory(e, "device.copy", [("ptr", x.data), ("i64", size)], t, x.dims)
    return new_on_device(e, t, dims)


def _launch(e: FnEmitter, launch: Launch, results: Sequence[Tensor], work: Work) -> str:
    args: list[tuple[str, str]] = [("ptr", r.data) for r in results]
    for a in launch.inputs:
        args.append(("ptr", tensor_of(e, a).data) if isinstance(a.type, TensorT) else
                    (SCALARS[elem(a.type).name][0], e.one(a)))
    args += [("i64", work.sizes[launch.size_name(s)]) for s in launch.sizes]
    slots = e.alloca(8 * len(args))
    for i, (llvm, operand) in enumerate(args):
        e.store(llvm, operand, e.ptr_add(slots, 8 * i))
    number = e.module.tables.kernels.number(launch)
    given = [("i64", str(number)), ("i64", work.batches), ("i64", work.rows), ("i64", work.columns), ("ptr", slots)]
    return service(e, "device.launch", given, 1)[0]


def _report(e: FnEmitter, place: str, indices: Atom, n: str) -> None:
    """IndexError for the index at a place, unless that is -1."""
    with e.unless(e.icmp("slt", place, "0")):
        t = elem(indices.type)
        llvm, size = SCALARS[t.name]
        if isinstance(indices.type, TensorT):
            slot = e.alloca(8)
            at = e.element(tensor_of(e, indices).data, llvm, place)
            _read(e, at, slot, str(size))
            value = e.load(llvm, slot)
        else:
            value = e.one(indices)
        e.fault_index(_whole(e, t, value), n)


def _whole(e: FnEmitter, t: Prim, value: str) -> str:
    """An index as an int."""
    return value if t == INT else e.convert("zext" if t.name == "u8" else "sext", SCALARS[t.name][0], value, "i64")


def _first_wrong(e: FnEmitter, op: Op) -> None:
    """IndexError for the first index that is out of range: where sizes of a later operator do not fit, no kernel is
    launched that would find it."""
    length, index = tensor_of(e, op.args[0]).dims[1], tensor_of(e, op.args[1])
    span, e.span = e.span, op.span
    slot = e.alloca(8)
    with e.loop(count_elements(e, index.dims)) as turn:
        _read(e, e.element(index.data, index.llvm, turn.index), slot, str(index.size))
        e.index_check(_whole(e, elem(op.args[1].type), e.load(index.llvm, slot)), length)
    e.span = span


def _rows(e: FnEmitter, launch: Launch) -> Work:
    graph = launch.graph
    assert graph is not None
    for op in launch.stmt.ops:
        e.span = op.span
        shape(e, op, graph.axes)
        if op is launch.checked:
            e.sooner = partial(_first_wrong, e, op)
    e.sooner = None

    def total(classes: Sequence[int]) -> str:
        return product(e, [size_of(e, graph.axes, c) for c in classes])

    outs = {n.space for n in graph.outputs}
    columns = total(graph.spaces[next(iter(outs))]) if len(outs) == 1 and None not in outs else "1"  # type: ignore[index]
    sizes = {launch.size_name(s): size_of(e, graph.axes, s) for s in launch.sizes if isinstance(s, int)}
    length = next((size_of(e, graph.axes, picked_from(graph, n)) for n in graph.of_kind("pick")), "")
    return Work((), sizes, total(graph.rows[graph.batch :]), columns, total(graph.rows[: graph.batch]), length)


def _elements(e: FnEmitter, dims: Sequence[str], sizes: Sizes | None = None) -> Work:
    """A kernel that goes over the elements of its result."""
    named = {f"d{i}": d for i, d in enumerate(dims)}
    return Work(dims, named | (sizes or {}), product(e, dims))


def _named(prefix: str, values: Sequence[str]) -> Sizes:
    return {f"{prefix}{i}": v for i, v in enumerate(values)}


def _map(e: FnEmitter, op: Op) -> Work:
    return _elements(e, result_dims(e, operands_of(e, op.args), op.attr("axes")))  # type: ignore[arg-type]


def _transpose(e: FnEmitter, op: Op) -> Work:
    x = tensor_of(e, op.args[0])
    return _elements(e, [x.dims[i] for i in op.attr("perm")])  # type: ignore[attr-defined]


def _broadcast(e: FnEmitter, op: Op) -> Work:
    return _elements(e, broadcast_sizes(e, op))


def _part(e: FnEmitter, op: Op, ints: Sequence[Atom]) -> Part:
    kinds = op.attr("kinds")
    assert isinstance(kinds, tuple)
    return Part(e, tensor_of(e, op.args[0]), kinds, [e.one(a) for a in ints])


def _index(e: FnEmitter, op: Op) -> Work:
    part = _part(e, op, op.args[1:])
    return _elements(e, part.counts, {"offset": part.offset, **_named("step", part.steps)})


def _update(e: FnEmitter, op: Op) -> Work:
    part = _part(e, op, op.args[2:])
    check_update(e, op, part)
    return _elements(e, part.counts, {"offset": part.offset, **_named("step", part.steps)})


def _concat(e: FnEmitter, op: Op) -> Work:
    axis = op.attr("axis")
    assert isinstance(axis, int)
    return _elements(e, concat_dims(e, op), _named("w", [tensor_of(e, a).dims[axis] for a in op.args]))


def _split(e: FnEmitter, op: Op) -> tuple[Tensor, Sequence[str], int, Sizes]:
    """A tensor seen as [outer, n, inner] at an axis, with a number of indices."""
    x, axis, idx = tensor_of(e, op.args[0]), op.attr("axis"), op.args[1]
    assert isinstance(axis, int)
    idx_dims: Sequence[str] = tensor_of(e, idx).dims if isinstance(idx.type, TensorT) else ()
    sizes = {"outer": product(e, x.dims[:axis]), "n": x.dims[axis], "inner": product(e, x.dims[axis + 1 :]),
             "count": product(e, idx_dims)}
    return x, idx_dims, axis, sizes


def _take(e: FnEmitter, op: Op) -> Work:
    x, idx_dims, axis, sizes = _split(e, op)
    dims = [*x.dims[:axis], *idx_dims, *x.dims[axis + 1 :]]
    if not isinstance(op.args[1].type, TensorT):
        _check_one(e, op, sizes["n"])
    # Indices are checked though there may be nothing to take.
    rows = product(e, [sizes["outer"], sizes["count"], sizes["inner"]])
    return Work(dims, sizes, rows, length=sizes["n"])


def _check_one(e: FnEmitter, op: Op, n: str) -> None:
    value = _whole(e, elem(op.args[1].type), e.one(op.args[1]))
    if op.attr("wrap", True):
        checked_index(e, value, n)
    else:
        e.index_check(value, n)


def _put(e: FnEmitter, op: Op) -> Work:
    check_put(e, op)
    _, _, _, sizes = _split(e, op)
    return Work((), sizes, product(e, [sizes["outer"], sizes["inner"]]), length=sizes["n"])


def _gather(e: FnEmitter, op: Op) -> Work:
    x, idx, axis = tensor_of(e, op.args[0]), tensor_of(e, op.args[1]), op.attr("axis")
    assert isinstance(axis, int)
    check_gather(e, op)
    work = _elements(e, idx.dims, _named("xd", x.dims))
    work.length = x.dims[axis]
    return work


def _scatter(e: FnEmitter, op: Op) -> Work:
    x, idx, v = (tensor_of(e, a) for a in op.args)
    axis = op.attr("axis")
    assert isinstance(axis, int)
    check_scatter(e, op)
    sizes = {**_named("d", idx.dims), **_named("xd", x.dims), **_named("v", v.dims)}
    others = [d for i, d in enumerate(idx.dims) if i != axis]
    return Work((), sizes, product(e, others), length=x.dims[axis])


def _iota(e: FnEmitter, op: Op) -> Work:
    n = e.one(op.args[0])
    if n.startswith(("%", "-")):
        e.check(e.icmp("sge", n, "0"), "ValueError", "a size of ", N(n), " is negative")
    return _elements(e, [n])


def _windows(e: FnEmitter, op: Op) -> Work:
    x = tensor_of(e, op.args[0])
    return _elements(e, window_dims(e, op), {"h": x.dims[2], "w": x.dims[3]})


def _fold(e: FnEmitter, op: Op) -> Work:
    sizes = zip(("kh", "kw", "rows", "columns"), tensor_of(e, op.args[0]).dims[2:], strict=True)
    return _elements(e, fold_dims(e, op), dict(sizes))


def _unpool(e: FnEmitter, op: Op) -> Work:
    rows, columns = tensor_of(e, op.args[1]).dims[2:]
    return _elements(e, unpool_dims(e, op), {"rows": rows, "columns": columns})


def _pool(e: FnEmitter, op: Op) -> Work:
    x, dims = tensor_of(e, op.args[0]), window_dims(e, op)
    return _elements(e, [*dims[:2], *dims[4:]], {"h": x.dims[2], "w": x.dims[3]})


def _accumulate(e: FnEmitter, op: Op) -> Work:
    x, v = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    have, more = count_elements(e, x.dims), count_elements(e, v.dims)
    if have.isdigit() and have != "0":
        return Work(x.dims, {"have": have, "more": more}, have)
    absent = e.icmp("eq", have, "0")
    dims = [e.select(absent, "i64", b, a) for a, b in zip(x.dims, v.dims, strict=True)]
    return Work(dims, {"have": have, "more": more}, product(e, dims))


def _shaped(e: FnEmitter, op: Op) -> Work:
    x = tensor_of(e, op.args[0])
    return _elements(e, [e.one(a) for a in op.args[1:]], {"have": count_elements(e, x.dims)})


def _reduce(e: FnEmitter, op: Op) -> Work:
    x, axes = tensor_of(e, op.args[0]), op.attr("axes")
    assert isinstance(axes, tuple)
    if op.attr("fn") in ("max", "min", "argmax", "argmin") and not op.attr("least"):
        check_some(e, str(op.attr("fn")), x, axes)
    kept = [d for i, d in enumerate(x.dims) if i not in axes]
    return Work(kept, _named("d", x.dims), product(e, kept))


def _cumsum(e: FnEmitter, op: Op) -> Work:
    x, axis = tensor_of(e, op.args[0]), op.attr("axis")
    assert isinstance(axis, int)
    outer, inner = product(e, x.dims[:axis]), product(e, x.dims[axis + 1 :])
    return Work(x.dims, {"outer": outer, "n": x.dims[axis], "inner": inner}, product(e, [outer, inner]))


def _argsort(e: FnEmitter, op: Op) -> Work:
    x, dims = tensor_of(e, op.args[0]), argsort_dims(e, op)
    sizes = {"outer": product(e, x.dims[:-1]), "n": x.dims[-1], "count": dims[-1]}
    return Work(dims, sizes, product(e, x.dims))


def _matmul(e: FnEmitter, op: Op) -> Work:
    dims = product_dims(e, op)
    a = tensor_of(e, op.args[0])
    k = a.dims[-2 if op.attr("ta") else -1]
    sizes = {"batch": product(e, dims[:-2]), "m": dims[-2], "n": dims[-1], "k": k}
    return Work(dims, sizes, dims[-2], dims[-1], sizes["batch"])


SINGLE: dict[str, Callable[[FnEmitter, Op], Work]] = {
    "map": _map, "transpose": _transpose, "broadcast": _broadcast, "index": _index, "update": _update,
    "concat": _concat, "take": _take, "put": _put, "gather": _gather, "scatter": _scatter, "iota": _iota,
    "windows": _windows, "fold": _fold, "unpool": _unpool, "accumulate": _accumulate, "shaped": _shaped,
    "reduce": _reduce, "cumsum": _cumsum, "argsort": _argsort, "matmul": _matmul, "pool": _pool,
}  # fmt: skip
ROWS = {"to_device": emit_to_device, "to_host": emit_to_host}
__all__ = ["ROWS", "SINGLE", "emit_device", "rank", "strides_of"]
