"""Pooling: the reduction of each window of an image, without the windows in memory."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import Prim
from hybridc.core.ir import Op
from hybridc.kernels.axes import whole_number
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.strided import times
from hybridc.llvm.tensor_access import new_tensor, tensor_of
from hybridc.llvm.tensor_reduce import combine, identity
from hybridc.llvm.tensor_whole import gathered, window_dims
from hybridc.llvm.wide import WIDTH, Wide, vector


def emit_pool(e: FnEmitter, windows: Op, reduce: Op) -> Leaves:
    x = tensor_of(e, windows.args[0])
    n, channels, _, _, rows, columns = window_dims(e, windows)
    out = new_tensor(e, x.elem, [n, channels, rows, columns])
    settings = tuple(whole_number(a) for a in windows.args[1:9])
    kernel = _pool_kernel(e.module, x.elem, str(reduce.attr("fn")), settings)
    args = [("ptr", out.data), ("ptr", x.data), (x.llvm, e.one(windows.args[9]))]
    e.call("void", kernel, [
        *args, *(("i64", size) for size in (times(e, n, channels), x.dims[2], x.dims[3], rows, columns))])
    return out.leaves


def _pool_kernel(module: Module, kind: Prim, fn: str, settings: Sequence[int]) -> str:
    """void (out, x, fill, planes, h, w, rows, columns): of each window of each plane."""
    height, width, down, step, above, left, dy, dx = settings

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr", "%x"), (t, "%fill")]
        params += [("i64", f"%{n}") for n in ("planes", "h", "w", "rows", "columns")]
        k = Code(module, name, params, "void")
        wide, nothing = Wide(k), f"splat ({t} {identity(fn, kind)})"
        with k.loop("%planes") as plane, k.loop("%rows") as r:
            image = k.element("%x", t, k.mul(plane.index, k.mul("%h", "%w")))
            to = k.element("%out", t, k.mul(k.add(k.mul(plane.index, "%rows"), r.index), "%columns"))
            with k.loop("%columns", step=WIDTH, rolled=True) as c:
                with k.loop(str(height), [(vector(t), nothing)]) as i:
                    y = k.sub(k.add(k.mul(r.index, str(down)), k.mul(i.index, str(dy))), str(above))
                    inside = k.icmp("ult", y, "%h")
                    line = k.element(image, t, k.mul(k.select(inside, "i64", y, "0"), "%w"))
                    end = k.select(inside, "i64", "%w", "0")
                    with k.loop(str(width), [(vector(t), i.values[0])]) as j:
                        at = k.sub(k.add(k.mul(c.index, str(step)), k.mul(j.index, str(dx))), str(left))
                        value = gathered(k, t, line, at, step, end)
                        j.next = [combine(wide, fn, kind, t, j.values[0], value)]
                    i.next = list(j.values)
                wide.store(t, i.values[0], k.element(to, t, c.index), wide.mask(k.sub("%columns", c.index)))
        k.ret()
        k.finish()

    return module.helper(("kernel.pool", kind, fn, tuple(settings)), make)


__all__ = ["emit_pool"]
