"""Adjoints of windows and of pools: what windows hold is added up where they saw it."""

from __future__ import annotations

from hybridc.base.types import Prim
from hybridc.core.ir import Op
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.strided import least, most, times
from hybridc.llvm.tensor_access import new_tensor, tensor_of
from hybridc.llvm.tensor_map import message, same_size
from hybridc.llvm.tensor_whole import SIZE, WINDOW_SIZES, check_settings, gathered, window_dims
from hybridc.llvm.wide import SHORT, WIDTH, Wide, vector

Results = tuple[Leaves, ...]


# ---- windows ---------------------------------------------------------------------------------------------------------
def fold_dims(e: FnEmitter, op: Op) -> list[str]:
    """The sizes of the image that windows are added up to, checked."""
    n, channels = tensor_of(e, op.args[0]).dims[:2]
    size, (sh, sw, ph, pw, dh, dw) = ([e.one(a) for a in given] for given in (op.args[1:3], op.args[3:]))
    check_settings(e, [sh, sw, dh, dw], [ph, pw])
    for length in size:
        if length.startswith(("%", "-")):
            e.check(e.icmp("sge", length, "0"), "ValueError", *message("an image of ", size))
    return [n, channels, *size]


def emit_fold(e: FnEmitter, op: Op) -> Results:
    x = tensor_of(e, op.args[0])
    kh, kw, rows, columns = x.dims[2:]
    dims = fold_dims(e, op)
    out = new_tensor(e, x.elem, dims, clear=True)
    sizes = [times(e, *dims[:2]), *dims[2:], kh, kw, *(e.one(a) for a in op.args[3:]), rows, columns]
    e.call("void", _fold_kernel(e.module, x.elem), [("ptr", out.data), ("ptr", x.data), *(("i64", s) for s in sizes)])
    return (out.leaves,)


def _fold_kernel(module: Module, kind: Prim) -> str:
    """Of windows a step of 1 apart the part of a line that lies in the image is added at once."""

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr noalias", "%x"), *(("i64", f"%{n}") for n in WINDOW_SIZES)]
        k = Code(module, name, params, "void")

        def add(to: str, value: str) -> None:
            k.store(t, k.op2("fadd", t, k.load(t, to), k.load(t, value)), to)

        with k.loop("%planes") as plane, k.loop("%kh") as i, k.loop("%kw") as j, k.loop("%rows") as r:
            y = k.sub(k.add(k.mul(r.index, "%sh"), k.mul(i.index, "%dh")), "%ph")
            with k.when(k.icmp("ult", y, "%h")):
                line = k.element("%out", t, k.mul(k.add(k.mul(plane.index, "%h"), y), "%w"))
                cell = k.add(k.mul(k.add(k.mul(plane.index, "%kh"), i.index), "%kw"), j.index)
                values = k.element("%x", t, k.mul(k.add(k.mul(cell, "%rows"), r.index), "%columns"))
                start = k.sub(k.mul(j.index, "%dw"), "%pw")
                close, apart, done = k.label("close"), k.label("apart"), k.label("done")
                k.branch(k.icmp("eq", "%sw", "1"), close, apart)
                k.start(close)
                first = most(k, k.sub("0", start), "0")
                stop = least(k, k.sub("%w", start), "%columns")
                with k.loop(stop, start=first) as c:
                    add(k.element(line, t, k.add(c.index, start)), k.element(values, t, c.index))
                k.jump(done)
                k.start(apart)
                with k.loop("%columns") as c:
                    at = k.add(k.mul(c.index, "%sw"), start)
                    with k.when(k.icmp("ult", at, "%w")):
                        add(k.element(line, t, at), k.element(values, t, c.index))
                k.jump(done)
                k.start(done)
        k.ret()
        k.finish()

    return module.helper(("kernel.fold", kind), make)


# ---- pools -----------------------------------------------------------------------------------------------------------
def unpool_dims(e: FnEmitter, op: Op) -> list[str]:
    """The sizes of the image, checked with those of the windows' values."""
    x, d = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    n, channels, _, _, *there = window_dims(e, op, op.args[2:10])
    wanted = [n, channels, *there]
    shown = [*message("shapes ", d.dims, " and ", wanted, " do not fit in unpool")]
    for have, want in zip(d.dims, wanted, strict=True):
        same_size(e, have, want, shown)
    return list(x.dims)


def emit_unpool(e: FnEmitter, op: Op) -> Results:
    x, d = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    dims = unpool_dims(e, op)
    out = new_tensor(e, x.elem, dims, clear=True)
    *settings, fill = (e.one(a) for a in op.args[2:])
    sizes = [times(e, *dims[:2]), *dims[2:], *settings, *d.dims[2:]]
    e.call("void", _unpool_kernel(e.module, x.elem), [
        ("ptr", out.data), ("ptr", x.data), ("ptr", d.data), (x.llvm, fill), *(("i64", s) for s in sizes)])
    return (out.leaves,)


def _unpool_kernel(module: Module, kind: Prim) -> str:
    """Windows that stand side by side at a time: the place of the first greatest element of each is found, then what
    belongs to one place in all of them is added to a line of the image."""

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr noalias", "%x"), ("ptr noalias", "%d"), (t, "%fill")]
        k = Code(module, name, [*params, *(("i64", f"%{n}") for n in WINDOW_SIZES)], "void")
        area = k.mul("%h", "%w")
        with k.loop("%planes") as plane, k.loop("%rows") as r:
            start = k.mul(plane.index, area)
            values = k.element("%d", t, k.mul(k.add(k.mul(plane.index, "%rows"), r.index), "%columns"))
            close, apart, done = k.label("close"), k.label("apart"), k.label("done")
            paired, other = k.label("paired"), k.label("other")
            k.branch(k.icmp("eq", "%sw", "1"), close, other)
            k.start(other)
            k.branch(k.icmp("eq", "%sw", "2"), paired, apart)
            for label, step in ((close, 1), (paired, 2), (apart, "%sw")):
                k.start(label)
                _unpool_line(k, t, start, r.index, values, step)
                k.jump(done)
            k.start(done)
        k.ret()
        k.finish()

    return module.helper(("kernel.unpool", kind), make)


def _unpool_line(k: Code, t: str, start: str, row: str, values: str, step: int | str) -> None:
    """The windows of a line of windows; the image's elements begin at `start`."""
    wide = Wide(k)

    def line(base: str, i: str) -> tuple[str, str]:
        """The image's line at row i of the windows, and how long it is: 0 beside the image."""
        y = k.sub(k.add(k.mul(row, "%sh"), k.mul(i, "%dh")), "%ph")
        inside = k.icmp("ult", y, "%h")
        at = k.add(start, k.mul(k.select(inside, "i64", y, "0"), "%w"))
        return k.element(base, t, at), k.select(inside, "i64", "%w", "0")

    with k.loop("%columns", step=WIDTH, rolled=True) as c:

        def first(j: str) -> str:
            return k.sub(k.add(k.mul(c.index, str(step)), k.mul(j, "%dw")), "%pw")

        lowest = f"splat ({t} 0xFFF0000000000000)"
        found = [(vector(t), lowest), (vector("i64"), "zeroinitializer")]
        with k.loop("%kh", found, rolled=True) as i:
            image, end = line("%x", i.index)
            with k.loop("%kw", list(zip([v for v, _ in found], i.values, strict=True)), rolled=True) as j:
                best, place = j.values
                value = gathered(k, t, image, first(j.index), step, end)
                # nan is the greatest, and of several the first.
                over = wide.op2("and", "i1", wide.fcmp("ugt", t, value, best), wide.fcmp("ord", t, best, best))
                number = wide.splat("i64", k.add(k.mul(i.index, "%kw"), j.index))
                j.next = [wide.select(over, t, value, best), wide.select(over, "i64", number, place)]
            i.next = list(j.values)
        places = i.values[1]
        some = wide.mask(k.sub("%columns", c.index))
        given = wide.load(t, k.element(values, t, c.index), some)
        with k.loop("%kh", rolled=True) as i:
            image, end = line("%out", i.index)
            with k.loop("%kw", rolled=True) as j:
                number = wide.splat("i64", k.add(k.mul(i.index, "%kw"), j.index))
                mine = wide.op2("and", "i1", wide.icmp("eq", places, number), some)
                added_apart(k, t, image, first(j.index), step, end, wide.select(mine, t, given, "zeroinitializer"))


def added_apart(k: Code, t: str, line: str, at: str, step: int | str, width: str, values: str) -> None:
    """A vector added to elements of a line of so many, each a step on, from `at` on; what lies beside the line is left
    out. A step of 1 or 2 is known to be that."""
    wide, size = Wide(k), Wide(k).splat("i64", width)
    if step in (1, 2):
        for part in range(int(step)):
            first = k.add(at, str(part * WIDTH))
            inside = wide.icmp("ult", wide.numbers(first), size, "i64")
            address = k.beyond(line, t, first)
            more = values if step == 1 else _with_zeros(k, t, values, part)
            wide.store(t, wide.op2("fadd", t, wide.load(t, address, inside), more), address, inside)
        return
    steps = wide.op2("mul", "i64", wide.numbers("0"), wide.splat("i64", str(step)))
    places = wide.op2("add", "i64", steps, wide.splat("i64", at))
    inside = wide.icmp("ult", places, size, "i64")
    where = k.ins(f"getelementptr {t}, ptr {line}, {vector('i64')} {places}")
    name, mask = f"v{WIDTH}{SHORT[t]}.v{WIDTH}p0", f"{vector('i1')} {inside}"
    k.module.declare(
        f"{vector(t)} @llvm.masked.gather.{name}({vector('ptr')}, i32 immarg, {vector('i1')}, {vector(t)})")
    k.module.declare(f"void @llvm.masked.scatter.{name}({vector(t)}, {vector('ptr')}, i32 immarg, {vector('i1')})")
    old = k.ins(f"call {vector(t)} @llvm.masked.gather.{name}({vector('ptr')} {where}, i32 {SIZE[t]}, {mask}, "
                f"{vector(t)} zeroinitializer)")
    new = wide.op2("fadd", t, old, values)
    k.do(f"call void @llvm.masked.scatter.{name}({vector(t)} {new}, {vector('ptr')} {where}, i32 {SIZE[t]}, {mask})")


def _with_zeros(k: Code, t: str, values: str, part: int) -> str:
    """Half of a vector, a zero after each element."""
    half = WIDTH // 2
    places = ", ".join(f"i32 {part * half + i}, i32 {WIDTH}" for i in range(half))
    return k.ins(f"shufflevector {vector(t)} {values}, {vector(t)} zeroinitializer, <{WIDTH} x i32> <{places}>")


ROWS = {"fold": emit_fold, "unpool": emit_unpool}
