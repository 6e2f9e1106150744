"""Operators that go by indices: take, put, gather, scatter, nonzero.

Kernels check indices as they go and return where the first wrong one stands (-1 for none); the function then faults
with that index."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import INT, U8, Prim
from hybridc.core.ir import Op, TensorT
from hybridc.core.types import elem
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.scalar_ops import emit_scalar
from hybridc.llvm.strided import copy_strided, strides_of, times
from hybridc.llvm.tensor_access import (
    Tensor,
    count_elements,
    load_element,
    new_tensor,
    tensor_of,
    writable,
)
from hybridc.llvm.tensor_copy import checked_index
from hybridc.llvm.tensor_map import message, product, same_size

Results = tuple[Leaves, ...]


def _as_int(k: Code, kind: Prim, value: str) -> str:
    if kind == INT:
        return value
    return k.convert("zext" if kind == U8 else "sext", SCALARS[kind.name][0], value, "i64")


def _position(k: Code, kind: Prim, base: str, at: str, n: str, wrap: bool) -> str:
    """The index at a place of an index tensor, from the front; if it is wrong the kernel returns that place."""
    llvm = SCALARS[kind.name][0]
    i = _as_int(k, kind, k.load(llvm, k.element(base, llvm, at)))
    if wrap:
        i = k.select(k.icmp("slt", i, "0"), "i64", k.add(i, n), i)
    good, bad = k.label("ok"), k.label("bad")
    k.branch(k.icmp("ult", i, n), good, bad)
    with k.out_of_line(bad):
        k.ret(at)
    k.start(good)
    return i


def _report(e: FnEmitter, bad: str, idx: Tensor, n: str) -> None:
    """IndexError for the index at the place `bad`, unless that is -1."""
    with e.unless(e.icmp("slt", bad, "0")):
        e.fault_index(_as_int(e, idx.elem, load_element(e, idx, bad)), n)


def _split(e: FnEmitter, x: Tensor, axis: int) -> tuple[str, str, str]:
    return product(e, x.dims[:axis]), x.dims[axis], product(e, x.dims[axis + 1 :])


def _axis(op: Op) -> int:
    axis = op.attr("axis")
    assert isinstance(axis, int)
    return axis


# ---- take and put ----------------------------------------------------------------------------------------------------
def emit_take(e: FnEmitter, op: Op) -> Results:
    x, axis, wrap = tensor_of(e, op.args[0]), _axis(op), bool(op.attr("wrap"))
    outer, n, inner = _split(e, x, axis)
    if not isinstance(op.args[1].type, TensorT):
        i = _as_int(e, elem(op.args[1].type), e.one(op.args[1]))
        if wrap:
            i = checked_index(e, i, n)
        else:
            e.index_check(i, n)
        dims = [*x.dims[:axis], *x.dims[axis + 1 :]]
        if not dims:
            return ((load_element(e, x, i),),)
        out = new_tensor(e, x.elem, dims)
        source = e.element(x.data, x.llvm, times(e, i, inner))
        copy_strided(e, x.elem, out.data, source, [outer, inner], [inner, "1"], [times(e, n, inner), "1"])
        return (out.leaves,)
    idx = tensor_of(e, op.args[1])
    dims = [*x.dims[:axis], *idx.dims, *x.dims[axis + 1 :]]
    out = new_tensor(e, x.elem, dims)
    count = count_elements(e, idx.dims)
    kernel = _take_kernel(e.module, x.size, idx.elem, wrap)
    args = [("ptr", out.data), ("ptr", x.data), ("ptr", idx.data)]
    bad = e.call("i64", kernel, [*args, *(("i64", v) for v in (outer, n, inner, count))])
    with e.holding(out.owner):
        _report(e, bad, idx, n)
    return (out.leaves,)


def _take_kernel(module: Module, size: int, index: Prim, wrap: bool) -> str:
    """(out, in, indices, outer, n, inner, count). Indices are checked though there is nothing to copy."""

    def make(name: str) -> None:
        params = [("ptr noalias", "%out"), ("ptr", "%x"), ("ptr", "%idx")]
        params += [("i64", f"%{p}") for p in ("outer", "n", "inner", "count")]
        k = Code(module, name, params, "i64")
        llvm = f"i{8 * size}"
        with k.loop("%count") as j:
            i = _position(k, index, "%idx", j.index, "%n", wrap)
            with k.loop("%outer") as o:
                to = k.mul(k.add(k.mul(o.index, "%count"), j.index), "%inner")
                source = k.mul(k.add(k.mul(o.index, "%n"), i), "%inner")
                target, origin = k.element("%out", llvm, to), k.element("%x", llvm, source)
                with k.loop("%inner") as c:
                    k.store(llvm, k.load(llvm, k.element(origin, llvm, c.index)), k.element(target, llvm, c.index))
        k.ret("-1")
        k.finish()

    return module.helper(("kernel.take", size, index, wrap), make)


def check_put(e: FnEmitter, op: Op) -> None:
    """ValueError unless the value has the shape of its place."""
    x, axis, idx_type = tensor_of(e, op.args[0]), _axis(op), op.args[1].type
    idx_dims: Sequence[str] = tensor_of(e, op.args[1]).dims if isinstance(idx_type, TensorT) else ()
    wanted = [*x.dims[:axis], *idx_dims, *x.dims[axis + 1 :]]
    if isinstance(op.args[2].type, TensorT):
        v = tensor_of(e, op.args[2])
        shown = message("a value of shape ", v.dims, " does not fit in a place of shape ", wanted)
        for a, b in zip(v.dims, wanted, strict=True):
            same_size(e, a, b, shown)


def emit_put(e: FnEmitter, op: Op) -> Results:
    x, axis, fn = tensor_of(e, op.args[0]), _axis(op), str(op.attr("fn"))
    idx_type, value_type = op.args[1].type, op.args[2].type
    outer, n, inner = _split(e, x, axis)
    with e.giving_up(op.args[:1]):
        check_put(e, op)
    if isinstance(value_type, TensorT):
        data = tensor_of(e, op.args[2]).data
    else:
        data = _slot(e, elem(value_type), e.one(op.args[2]))
    x = writable(e, x)
    if isinstance(idx_type, TensorT):
        idx = tensor_of(e, op.args[1])
    else:
        idx = Tensor(elem(idx_type), "null", _slot(e, elem(idx_type), e.one(op.args[1])), ("1",))
    count = count_elements(e, idx.dims)
    kernel = _put_kernel(e.module, fn, x.elem, idx.elem)
    args = [("ptr", x.data), ("ptr", idx.data), ("ptr", data)]
    bad = e.call("i64", kernel, [*args, *(("i64", s) for s in (outer, n, inner, count))])
    with e.holding(x.owner):
        _report(e, bad, idx, n)
    return (x.leaves,)


def _slot(e: FnEmitter, kind: Prim, value: str) -> str:
    """A scalar in memory."""
    slot = e.alloca(8)
    e.store(SCALARS[kind.name][0], value, slot)
    return slot


def _step(k: Code, fn: str, kind: Prim, to: str, value: str) -> None:
    """One element set or accumulated."""
    llvm = SCALARS[kind.name][0]
    if fn != "set":
        value = emit_scalar(k, fn, (k.load(llvm, to), value), (kind, kind), kind)  # type: ignore[arg-type]
    k.store(llvm, value, to)


def _put_kernel(module: Module, fn: str, kind: Prim, index: Prim) -> str:
    """(target, indices, value, outer, n, inner, count)"""

    def make(name: str) -> None:
        params = [("ptr", "%x"), ("ptr", "%idx"), ("ptr noalias", "%v")]
        params += [("i64", f"%{p}") for p in ("outer", "n", "inner", "count")]
        k = Code(module, name, params, "i64")
        llvm = SCALARS[kind.name][0]
        with k.loop("%count") as j:
            i = _position(k, index, "%idx", j.index, "%n", True)
            with k.loop("%outer") as o:
                to = k.element("%x", llvm, k.mul(k.add(k.mul(o.index, "%n"), i), "%inner"))
                source = k.element("%v", llvm, k.mul(k.add(k.mul(o.index, "%count"), j.index), "%inner"))
                with k.loop("%inner") as c:
                    _step(k, fn, kind, k.element(to, llvm, c.index), k.load(llvm, k.element(source, llvm, c.index)))
        k.ret("-1")
        k.finish()

    return module.helper(("kernel.put." + fn, kind, index), make)


# ---- gather and scatter ----------------------------------------------------------------------------------------------
def _check_fits(e: FnEmitter, what: str, x: Tensor, idx: Tensor, axis: int) -> None:
    for i in range(x.rank):
        if i != axis and idx.dims[i] != x.dims[i]:
            parts = message(f"{what} of shape ", x.dims, " by indices of shape ", idx.dims)
            e.check(e.icmp("sle", idx.dims[i], x.dims[i]), "ValueError", *parts)


def check_gather(e: FnEmitter, op: Op) -> None:
    _check_fits(e, "gather", tensor_of(e, op.args[0]), tensor_of(e, op.args[1]), _axis(op))


def emit_gather(e: FnEmitter, op: Op) -> Results:
    x, idx, axis = tensor_of(e, op.args[0]), tensor_of(e, op.args[1]), _axis(op)
    check_gather(e, op)
    out = new_tensor(e, x.elem, idx.dims)
    bad = _moved(e, None, out.data, idx.dims, x, idx, axis)
    with e.holding(out.owner):
        _report(e, bad, idx, x.dims[axis])
    return (out.leaves,)


def check_scatter(e: FnEmitter, op: Op) -> None:
    x, idx, v = (tensor_of(e, a) for a in op.args)
    _check_fits(e, "scatter", x, idx, _axis(op))
    for i in range(x.rank):
        if idx.dims[i] != v.dims[i]:
            parts = message("scatter of a value of shape ", v.dims, " by indices of shape ", idx.dims)
            e.check(e.icmp("sle", idx.dims[i], v.dims[i]), "ValueError", *parts)


def emit_scatter(e: FnEmitter, op: Op) -> Results:
    x, idx, v = (tensor_of(e, a) for a in op.args)
    axis, fn = _axis(op), str(op.attr("fn"))
    with e.giving_up(op.args[:1]):
        check_scatter(e, op)
    x = writable(e, x)
    bad = _moved(e, fn, v.data, v.dims, x, idx, axis)
    with e.holding(x.owner):
        _report(e, bad, idx, x.dims[axis])
    return (x.leaves,)


def _moved(e: FnEmitter, fn: str | None, y: str, y_dims: Sequence[str], x: Tensor, idx: Tensor, axis: int) -> str:
    """The elements of x that indices name go to y, or with `fn` come from there; the place of a wrong index, or -1."""
    kernel = _gather_kernel(e.module, fn, x.elem, idx.elem, x.rank, axis)
    sizes = [*idx.dims, *strides_of(e, x.dims), *strides_of(e, y_dims), x.dims[axis]]
    return e.call("i64", kernel, [("ptr", y), ("ptr", x.data), ("ptr", idx.data), *(("i64", s) for s in sizes)])


def _gather_kernel(module: Module, fn: str | None, kind: Prim, index: Prim, count: int, axis: int) -> str:
    """(y, x, indices, dims of the indices..., strides of x..., strides of y..., n). Gather (fn is none) writes y, the
    others go from y to x."""

    def make(name: str) -> None:
        params = [("ptr noalias", "%y"), ("ptr noalias", "%x"), ("ptr", "%idx")]
        params += [("i64", f"%{letter}{i}") for letter in "dst" for i in range(count)]
        k = Code(module, name, [*params, ("i64", "%n")], "i64")
        llvm = SCALARS[kind.name][0]

        def nest(i: int, x_at: str, y_at: str, at: str) -> None:
            if i == count:
                p = _position(k, index, "%idx", at, "%n", False)
                x = k.element("%x", llvm, k.add(x_at, k.mul(p, f"%s{axis}")))
                y = k.element("%y", llvm, y_at)
                if fn is None:
                    k.store(llvm, k.load(llvm, x), y)
                else:
                    _step(k, fn, kind, x, k.load(llvm, y))
                return
            with k.loop(f"%d{i}") as turn:
                x_next = x_at if i == axis else k.add(x_at, k.mul(turn.index, f"%s{i}"))
                y_next = k.add(y_at, k.mul(turn.index, f"%t{i}"))
                nest(i + 1, x_next, y_next, k.add(k.mul(at, f"%d{i}"), turn.index) if at != "0" else turn.index)

        nest(0, "0", "0", "0")
        k.ret("-1")
        k.finish()

    return module.helper(("kernel.gather" if fn is None else "kernel.scatter." + fn, kind, index, count, axis), make)


def emit_nonzero(e: FnEmitter, op: Op) -> Results:
    mask = tensor_of(e, op.args[0])
    n = mask.dims[0]
    with e.loop(n, [("i64", "0")]) as turn:
        one = e.convert("zext", "i1", load_element(e, mask, turn.index), "i64")
        turn.next = [e.ins(f"add i64 {turn.values[0]}, {one}")]
    out = new_tensor(e, INT, [turn.values[0]])
    with e.loop(n, [("i64", "0")]) as turn:
        at = turn.values[0]
        hit = load_element(e, mask, turn.index)
        with e.when(hit):
            e.store("i64", turn.index, e.element(out.data, "i64", at))
        turn.next = [e.ins(f"add i64 {at}, {e.convert('zext', 'i1', hit, 'i64')}")]
    return (out.leaves,)


ROWS = {
    "take": emit_take, "put": emit_put, "gather": emit_gather, "scatter": emit_scatter, "nonzero": emit_nonzero,
}  # fmt: skip
