"""Matrix products: sizes checked, batches, and which kernel multiplies. f16 and bf16 are multiplied as f32."""

from __future__ import annotations

from hybridc.base.types import BF16, F16, F32, F64, Prim
from hybridc.core.ir import Op
from hybridc.llvm.block_product import TURN_FROM
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import CTX, FnEmitter, N
from hybridc.llvm.kept_panels import kept_panels
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.product import matrix_product
from hybridc.llvm.strided import times
from hybridc.llvm.tensor_access import Tensor, count_elements, new_tensor, release_tensor, tensor_of, writable
from hybridc.llvm.tensor_map import map_kernel, message, product, same_size
from hybridc.llvm.tiles import ints


def _integer_product(module: Module, kind: Prim) -> str:
    """i32 (ctx, c, a, b, m, n, k, a_row, a_k, b_k, b_n), never failing."""
    llvm = SCALARS[kind.name][0]

    def make(name: str) -> None:
        params = [("ptr", CTX), ("ptr noalias", "%c"), ("ptr", "%a"), ("ptr", "%b"),
                  *ints("m", "n", "k", "a_row", "a_k", "b_k", "b_n")]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        with code.loop("%m") as i:
            out = code.element("%c", llvm, code.mul(i.index, "%n"))
            with code.loop("%n") as j:
                code.store(llvm, "0", code.element(out, llvm, j.index))
            with code.loop("%k") as p:
                at = code.add(code.mul(i.index, "%a_row"), code.mul(p.index, "%a_k"))
                a = code.load(llvm, code.element("%a", llvm, at))
                line = code.element("%b", llvm, code.mul(p.index, "%b_k"))
                with code.loop("%n") as j:
                    b = code.load(llvm, code.element(line, llvm, code.mul(j.index, "%b_n")))
                    to = code.element(out, llvm, j.index)
                    code.store(llvm, code.op2("add", llvm, code.load(llvm, to), code.op2("mul", llvm, a, b)), to)
        code.ret("0")
        code.finish()

    return module.helper(("kernel.matmul", kind), make)


def product_dims(e: FnEmitter, op: Op) -> list[str]:
    """The sizes of a product; ValueError where those of its sides do not fit."""
    a, b = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    (k, m) = a.dims[-2:] if ta else (a.dims[-1], a.dims[-2])
    (n, inner) = b.dims[-2:] if tb else (b.dims[-1], b.dims[-2])
    shown = message("shapes ", [*a.dims[:-2], m, k], " and ", [*b.dims[:-2], inner, n], " do not fit in `@`")
    same_size(e, k, inner, shown)
    batch = a.dims[:-2] if a.rank >= b.rank else b.dims[:-2]
    if a.rank == b.rank:
        for x, y in zip(a.dims[:-2], b.dims[:-2], strict=True):
            same_size(e, x, y, shown)
    return [*batch, m, n]


def emit_matmul(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    a, b = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    dims = product_dims(e, op)
    m, n = dims[-2:]
    sides = a.dims[-2 if ta else -1], b.dims[-1 if tb else -2]
    k = next((s for s in sides if not s.startswith("%")), sides[0])
    kind = a.elem
    if kind not in (F16, BF16):
        out = new_tensor(e, kind, dims)
        _multiply(e, out, a, b, m, n, k, ta, tb)
        return (out.leaves,)
    wide_a = _cast(e, a, F32)
    with e.holding(wide_a.owner):
        wide_b = _cast(e, b, F32)
        with e.holding(wide_b.owner):
            product_ = new_tensor(e, F32, dims)
            _multiply(e, product_, wide_a, wide_b, m, n, k, ta, tb)
            with e.holding(product_.owner):
                out = _cast(e, product_, kind)
    for temporary in (wide_a, wide_b, product_):
        release_tensor(e, temporary)
    return (out.leaves,)


def _cast(e: FnEmitter, x: Tensor, to: Prim) -> Tensor:
    out = new_tensor(e, to, x.dims)
    kernel = map_kernel(e.module, "cast", (x.elem,), to, (("checked", False),), ((True,),), (True,), False)
    e.call("void", kernel, [("ptr", out.data), ("i64", count_elements(e, x.dims)), ("ptr", x.data)])
    return out


def _multiply(e: FnEmitter, out: Tensor, a: Tensor, b: Tensor, m: str, n: str, k: str, ta: bool, tb: bool) -> None:
    left, right, rows, columns = a, b, m, n
    if n == "1":
        # A matrix by a vector: the vector by the matrix, which lies the other way.
        left, right, rows, columns, ta, tb = b, a, "1", m, False, not ta
    elif m == "1":
        ta = False  # a single column lies as a row does
    if out.elem in (F32, F64):
        kernel = matrix_product(e.module, out.elem, ta, tb)
        sizes = [("i64", v) for v in (rows, columns, k)]
    else:
        kernel = _integer_product(e.module, out.elem)
        strides = (*(("1", rows) if ta else (k, "1")), *(("1", k) if tb else (columns, "1")))
        sizes = [("i64", v) for v in (rows, columns, k, *strides)]
    batch = product(e, out.dims[:-2])
    steps = [times(e, *x) if t.rank > 2 else "0" for t, x in (
        (left, (left.dims[-1], left.dims[-2])), (right, (right.dims[-1], right.dims[-2])))]
    turned = out.elem in (F32, F64) and tb
    with e.holding(out.owner):
        if batch == "1":
            sides = [("ptr", x.data) for x in (out, left, right)]
            more = [("ptr", kept(e, right, columns, k, rows) if right.rank == 2 and not ta else "null")] * turned
            _call(e, kernel, [*sides, *sizes, *more])
            return
        step = times(e, m, n)
        with e.loop(batch) as turn:
            places = [
                e.element(x.data, x.llvm, e.mul(turn.index, s) if s != "0" else "0")
                for x, s in ((out, step), (left, steps[0]), (right, steps[1]))
            ]
            _call(e, kernel, [*(("ptr", p) for p in places), *sizes, *[("ptr", "null")] * turned])


def kept(e: FnEmitter, matrix: Tensor, n: str, k: str, rows: str) -> str:
    """Where panels of a matrix of n rows of k are kept, to multiply so many rows by, or null."""
    if not rows.startswith("%") and int(rows) < TURN_FROM or matrix.elem not in (F32, F64):
        return "null"
    return e.call("ptr", kept_panels(e.module, matrix.elem), [
        ("ptr", matrix.owner), ("ptr", matrix.data), *(("i64", size) for size in (n, k, rows))])


def _call(e: FnEmitter, kernel: str, args: list[tuple[str, str]]) -> None:
    failed = e.call("i32", kernel, [("ptr", CTX), *args])
    e.leave_unless(e.icmp("eq", failed, "0", "i32"))


def emit_add_product(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    v, a, b = (tensor_of(e, x) for x in op.args[:3])
    at = e.one(op.args[3])
    (k, m), (inner, n) = a.dims, b.dims
    with e.giving_up(op.args[:1]):
        shown = ["the product of ", *message("shapes ", [m, k], " and ", b.dims, " does not fit in a vector of ")]
        shown += [N(v.dims[0]), " from ", N(at), " on"]
        same_size(e, k, inner, shown)
        last = e.sub(v.dims[0], times(e, m, n))
        fits = e.op2("and", "i1", e.icmp("sge", at, "0"), e.icmp("sle", at, last))
        e.check(fits, "ValueError", *shown)
    v = writable(e, v)
    kernel = matrix_product(e.module, v.elem, True, False, adds=True)
    with e.holding(v.owner):
        places = [e.element(v.data, v.llvm, at), a.data, b.data]
        _call(e, kernel, [*(("ptr", p) for p in places), *(("i64", size) for size in (m, n, k))])
    return (v.leaves,)


ROWS = {"matmul": emit_matmul, "add_product": emit_add_product}
