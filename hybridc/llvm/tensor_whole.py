"""Operators on whole tensors: the windows of convolutions and pools, equality, orthonormal rows."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import BF16, F16, F32, F64, FLOATS, Prim
from hybridc.core.ir import Atom, Op
from hybridc.llvm.casts import widen
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.strided import plus, times
from hybridc.llvm.tensor_access import count_elements, new_tensor, tensor_of, writable
from hybridc.llvm.tensor_map import message
from hybridc.llvm.wide import SHORT, WIDTH, Wide, vector

Results = tuple[Leaves, ...]


# ---- windows ---------------------------------------------------------------------------------------------------------
def check_settings(e: FnEmitter, positive: Sequence[str], padding: Sequence[str]) -> None:
    for v, low in (*((v, 1) for v in positive), *((v, 0) for v in padding)):
        if v.startswith(("%", "-")) or int(v) < low:
            e.check(e.icmp("sge", v, str(low)), "ValueError",
                    "a window's size, stride and dilation are positive and its padding is not negative")


def window_dims(e: FnEmitter, op: Op, settings: Sequence[Atom] = ()) -> list[str]:
    """The sizes of the windows' tensor, checked."""
    x = tensor_of(e, op.args[0])
    kh, kw, sh, sw, ph, pw, dh, dw = (e.one(a) for a in settings or op.args[1:9])
    n, channels, height, width = x.dims
    check_settings(e, [kh, kw, sh, sw, dh, dw], [ph, pw])
    spans = []
    outs = []
    for size, k, s, p, d in ((height, kh, sh, ph, dh), (width, kw, sw, pw, dw)):
        area = plus(e, size, times(e, p, "2"))
        reach = plus(e, times(e, d, plus(e, k, "-1")), "1")
        spans.append((reach, area))
        outs.append((plus(e, plus(e, area, "1"), times(e, reach, "-1")), s))
    parts = message("a window of ", [s[0] for s in spans], " does not fit in ", [s[1] for s in spans])
    dims = []
    for room, s in outs:
        if room.startswith("%") or int(room) < 1:
            e.check(e.icmp("sge", room, "1"), "ValueError", *parts)
        less = plus(e, room, "-1")
        if not less.startswith("%") and not s.startswith("%") and int(less) >= 0 and int(s) > 0:
            dims.append(str(int(less) // int(s) + 1))
        else:
            dims.append(plus(e, e.op2("sdiv", "i64", less, s), "1"))
    return [n, channels, kh, kw, *dims]


def emit_windows(e: FnEmitter, op: Op) -> Results:
    x = tensor_of(e, op.args[0])
    kh, kw, sh, sw, ph, pw, dh, dw, fill = (e.one(a) for a in op.args[1:])
    dims = window_dims(e, op)
    n, channels, height, width = x.dims
    rows, columns = dims[-2:]
    out = new_tensor(e, x.elem, dims)
    kernel = _windows_kernel(e.module, x.elem)
    sizes = [times(e, n, channels), height, width, kh, kw, sh, sw, ph, pw, dh, dw, rows, columns]
    args = [("ptr", out.data), ("ptr", x.data), (x.llvm, fill)]
    e.call("void", kernel, args + [("i64", s) for s in sizes])
    return (out.leaves,)


WINDOW_SIZES = ("planes", "h", "w", "kh", "kw", "sh", "sw", "ph", "pw", "dh", "dw", "rows", "columns")
"""What kernels of windows are told: of the image, of a window, how windows lie, and how many there are."""
MASKED = (4, 8)
"""Bytes of elements of which some of a vector are read and written at once."""
SIZE = {"float": 4, "double": 8, "i32": 4, "i64": 8}


def _windows_kernel(module: Module, kind: Prim) -> str:
    def make(name: str) -> None:
        llvm = SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr", "%x"), (llvm, "%fill"), *(("i64", f"%{n}") for n in WINDOW_SIZES)]
        k = Code(module, name, params, "void")
        area = k.mul("%h", "%w")
        out_area = k.mul("%rows", "%columns")
        with k.loop("%planes") as plane, k.loop("%kh") as i, k.loop("%kw") as j, k.loop("%rows") as r:
            source = k.element("%x", llvm, k.mul(plane.index, area))
            cell = k.add(k.mul(k.add(k.mul(plane.index, "%kh"), i.index), "%kw"), j.index)
            to = k.element("%out", llvm, k.add(k.mul(cell, out_area), k.mul(r.index, "%columns")))
            y = k.ins(f"sub i64 {k.add(k.mul(r.index, '%sh'), k.mul(i.index, '%dh'))}, %ph")
            inside_y = k.icmp("ult", y, "%h")
            start = k.ins(f"sub i64 {k.mul(j.index, '%dw')}, %pw")
            line = k.element(source, llvm, k.mul(k.select(inside_y, "i64", y, "0"), "%w"))
            width = k.select(inside_y, "i64", "%w", "0")
            if SCALARS[kind.name][1] in MASKED:
                close, apart, done = k.label("close"), k.label("apart"), k.label("done")
                k.branch(k.icmp("eq", "%sw", "1"), close, apart)
                for label, step in ((close, 1), (apart, "%sw")):
                    k.start(label)
                    _window_line(k, llvm, to, line, start, step, width)
                    k.jump(done)
                k.start(done)
            else:
                _one_by_one(k, llvm, to, line, start, width)
        k.ret()
        k.finish()

    return module.helper(("kernel.windows", kind), make)


def _window_line(k: Code, llvm: str, to: str, line: str, start: str, step: int | str, width: str) -> None:
    """%columns elements of a line of so many, each a step on from `start`, which may lie before it; %fill beside it."""
    wide = Wide(k)
    with k.loop("%columns", step=WIDTH, rolled=True) as c:
        at = k.add(k.mul(c.index, str(step)), start)
        value = gathered(k, llvm, line, at, step, width)
        wide.store(llvm, value, k.element(to, llvm, c.index), wide.mask(k.sub("%columns", c.index)))


def gathered(k: Code, llvm: str, line: str, at: str, step: int | str, width: str) -> str:
    """A vector of elements of a line of so many, each a step on, from `at` on; %fill beside the line. A step of 1 or 2
    is known to be that."""
    wide, t = Wide(k), vector(llvm)
    fill, size = wide.splat(llvm, "%fill"), wide.splat("i64", width)
    if step in (1, 2):
        parts = []
        for part in range(int(step)):
            first = k.add(at, str(part * WIDTH))
            inside = wide.icmp("ult", wide.numbers(first), size, "i64")
            parts.append(wide.select(inside, llvm, wide.load(llvm, k.beyond(line, llvm, first), inside), fill))
        evens = ", ".join(f"i32 {2 * i}" for i in range(WIDTH))
        return parts[0] if step == 1 else k.ins(
            f"shufflevector {t} {parts[0]}, {t} {parts[1]}, <{WIDTH} x i32> <{evens}>")
    steps = wide.op2("mul", "i64", wide.numbers("0"), wide.splat("i64", str(step)))
    places = wide.op2("add", "i64", steps, wide.splat("i64", at))
    inside = wide.icmp("ult", places, size, "i64")
    name = f"@llvm.masked.gather.v{WIDTH}{SHORT.get(llvm, llvm)}.v{WIDTH}p0"
    where = k.ins(f"getelementptr {llvm}, ptr {line}, {vector('i64')} {places}")
    args = [(vector("ptr"), where), ("i32 immarg", str(SIZE[llvm])), (vector("i1"), inside), (t, fill)]
    k.module.declare(f"{t} {name}({', '.join(kind for kind, _ in args)})")
    given = ", ".join(f"{kind.removesuffix(' immarg')} {v}" for kind, v in args)
    return k.ins(f"call {t} {name}({given})")


def _one_by_one(k: Code, llvm: str, to: str, line: str, start: str, width: str) -> None:
    """The same."""
    with k.loop("%columns") as c:
        at = k.add(k.mul(c.index, "%sw"), start)
        read, write, here = k.label("read"), k.label("write"), k.here
        k.branch(k.icmp("ult", at, width), read, write)
        k.start(read)
        value = k.load(llvm, k.element(line, llvm, at))
        k.jump(write)
        k.start(write)
        chosen = k.phi(llvm, [("%fill", here), (value, read)])
        k.store(llvm, chosen, k.element(to, llvm, c.index))


# ---- whole tensors ---------------------------------------------------------------------------------------------------
def emit_equal(e: FnEmitter, op: Op) -> Results:
    a, b = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    same = "true"
    for x, y in zip(a.dims, b.dims, strict=True):
        if x != y:
            same = e.op2("and", "i1", same, e.icmp("eq", x, y))
    # Of tensors of different shapes no element is compared.
    count = e.select(same, "i64", count_elements(e, a.dims), "0") if same != "true" else count_elements(e, a.dims)
    kind = a.elem

    def make(name: str) -> None:
        llvm = SCALARS[kind.name][0]
        k = Code(e.module, name, [("ptr", "%a"), ("ptr", "%b"), ("i64", "%n")], "i1")
        with k.loop("%n") as turn:
            x, y = (k.load(llvm, k.element(p, llvm, turn.index)) for p in ("%a", "%b"))
            if kind in (F16, BF16):
                x, y = widen(k, x, kind), widen(k, y, kind)
            t = "float" if kind in (F16, BF16) else llvm
            differs = k.fcmp("une", t, x, y) if kind in FLOATS else k.icmp("ne", x, y, t)
            with k.when(differs):
                k.ret("false")
        k.ret("true")
        k.finish()

    kernel = e.module.helper(("kernel.equal", kind), make)
    elements = e.call("i1", kernel, [("ptr", a.data), ("ptr", b.data), ("i64", count)])
    return ((elements if same == "true" else e.op2("and", "i1", same, elements),),)


def emit_orthogonal(e: FnEmitter, op: Op) -> Results:
    """Rows (columns of a tall matrix) made orthonormal one after the other, each twice against those before it."""
    x = tensor_of(e, op.args[0])
    x = writable(e, x)
    kind = x.elem
    assert kind in (F32, F64)

    def make(name: str) -> None:
        t = SCALARS[kind.name][0]
        params = [("ptr", "%x"), ("i64", "%rows"), ("i64", "%n"), ("i64", "%row"), ("i64", "%step")]
        k = Code(e.module, name, params, "void", attributes="noinline nounwind")

        def place(row: str, i: str) -> str:
            return k.element("%x", t, k.add(k.mul(row, "%row"), k.mul(i, "%step")))

        def dot(a: str, b: str) -> str:
            from_zero = "0.0"
            with k.loop("%n", [(t, from_zero)]) as c:
                both = k.ins(f"fmul contract {t} {k.load(t, place(a, c.index))}, {k.load(t, place(b, c.index))}")
                c.next = [k.ins(f"fadd contract {t} {c.values[0]}, {both}")]
            return c.values[0]

        with k.loop("%rows") as i:
            with k.loop("2"), k.loop(i.index) as j:
                share = dot(i.index, j.index)
                with k.loop("%n") as c:
                    part = k.ins(f"fmul contract {t} {share}, {k.load(t, place(j.index, c.index))}")
                    to = place(i.index, c.index)
                    k.store(t, k.ins(f"fsub contract {t} {k.load(t, to)}, {part}"), to)
            length = k.call(t, f"@llvm.sqrt.{'f32' if kind == F32 else 'f64'}", [(t, dot(i.index, i.index))])
            with k.loop("%n") as c:
                to = place(i.index, c.index)
                k.store(t, k.ins(f"fdiv {t} {k.load(t, to)}, {length}"), to)
        k.ret()
        k.finish()

    kernel = e.module.helper(("kernel.orthogonal", kind), make)
    n, m = x.dims
    tall = e.icmp("sgt", n, m)
    sizes = [e.select(tall, "i64", m, n), e.select(tall, "i64", n, m), e.select(tall, "i64", "1", m),
             e.select(tall, "i64", m, "1")]
    e.call("void", kernel, [("ptr", x.data), *(("i64", s) for s in sizes)])
    return (x.leaves,)


ROWS = {"windows": emit_windows, "tensor_equal": emit_equal, "orthogonal": emit_orthogonal}
