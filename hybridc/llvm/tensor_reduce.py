"""Reductions and running sums.

A tensor is seen as [outer, n, inner], n being what is reduced; several runs of axes are reduced one after the other.
Rows (inner is 1) are added in a fixed order that depends on n alone: 32 partial results for floats, combined at the
end, so that the loop vectorises. Columns are added row by row into the result. f16 and bf16 are added as f32.
"""

from __future__ import annotations

import math

from hybridc.base.types import BF16, BOOL, F16, F32, F64, FLOATS, U8, Prim
from hybridc.core.ir import Op, TensorT
from hybridc.core.types import elem
from hybridc.llvm.casts import narrow, widen
from hybridc.llvm.code import Code, float_text
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.support import CTX, flag_of, interrupted
from hybridc.llvm.tensor_access import Tensor, load_element, new_tensor, release_tensor, tensor_of
from hybridc.llvm.tensor_map import product
from hybridc.llvm.wide import WIDTH, Wide

LANES, VECTORS = 8, 4
STRIP = 1 << 16
"""Elements of a running sum between two polls."""


def _wide(kind: Prim) -> str:
    """The LLVM type that partial results have."""
    return "float" if kind in (F16, BF16) else SCALARS[kind.name][0]


def identity(fn: str, kind: Prim) -> str:
    """What changes nothing."""
    if kind == BOOL:
        return "true" if fn == "all" else "false"
    if kind in FLOATS:
        value = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}[fn]
        return float_text(value, _wide(kind))
    bits = int(SCALARS[kind.name][0][1:])
    low, high = (0, (1 << bits) - 1) if kind == U8 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return str({"sum": 0, "prod": 1, "max": low, "min": high}[fn])


def combine(k: Code | Wide, fn: str, kind: Prim, t: str, a: str, b: str) -> str:
    """One step; `t` may be a vector of the type. Which of two zeros is the greater does not matter."""
    if kind == BOOL:
        return k.op2("and" if fn == "all" else "or", t, a, b)
    floats = kind in FLOATS
    if fn in ("sum", "prod"):
        word = "add" if fn == "sum" else "mul"
        return k.op2("f" + word if floats else word, t, a, b)
    count, scalar = t[1:-1].split(" x ") if t.startswith("<") else ("", t)
    short = {"float": "f32", "double": "f64"}.get(scalar, scalar)
    suffix = f"v{count}{short}" if count else short
    name = f"{fn}imum" if floats else ("u" if kind == U8 else "s") + fn
    return k.call(t, f"@llvm.{name}.{suffix}", [(t, a), (t, b)], "nsz" if floats else "")


def _load(k: Code, kind: Prim, base: str, index: str) -> str:
    llvm = SCALARS[kind.name][0]
    value = k.load(llvm, k.element(base, llvm, index))
    return widen(k, value, kind) if kind in (F16, BF16) else value


def _store(k: Code, kind: Prim, value: str, base: str, index: str) -> None:
    llvm = SCALARS[kind.name][0]
    k.store(llvm, narrow(k, value, kind) if kind in (F16, BF16) else value, k.element(base, llvm, index))


def _row_kernel(module: Module, fn: str, kind: Prim) -> str:
    """(in, n): the result of n elements in a row."""

    def make(name: str) -> None:
        t = _wide(kind)
        k = Code(module, name, [("ptr", "%x"), ("i64", "%n")], t, attributes="noinline nounwind")
        start = identity(fn, kind)
        if kind == BOOL or kind in (F16, BF16):
            with k.loop("%n", [(t, start)]) as turn:
                turn.next = [combine(k, fn, kind, t, turn.values[0], _load(k, kind, "%x", turn.index))]
            k.ret(turn.values[0])
            k.finish()
            return
        vector = f"<{LANES} x {t}>"
        block = LANES * VECTORS
        filled = k.op2("and", "i64", "%n", str(-block))
        splat = "<" + ", ".join([f"{t} {start}"] * LANES) + ">"
        size = SCALARS[kind.name][1]
        with k.loop(filled, [(vector, splat)] * VECTORS, step=block) as turn:
            at = k.element("%x", t, turn.index)
            for i, partial in enumerate(turn.values):
                part = k.ins(f"load {vector}, ptr {k.ptr_add(at, LANES * size * i)}, align {size}")
                turn.next.append(combine(k, fn, kind, vector, partial, part))
        a, b, c, d = turn.values
        both = combine(k, fn, kind, vector, combine(k, fn, kind, vector, a, b), combine(k, fn, kind, vector, c, d))
        with k.loop("%n", [(t, start)], start=filled) as rest:
            rest.next = [combine(k, fn, kind, t, rest.values[0], _load(k, kind, "%x", rest.index))]
        lanes = [k.ins(f"extractelement {vector} {both}, i32 {i}") for i in range(LANES)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [combine(k, fn, kind, t, lanes[i], lanes[i + half]) for i in range(half)]
        k.ret(combine(k, fn, kind, t, lanes[0], rest.values[0]))
        k.finish()

    return module.helper(("kernel.row." + fn, kind), make)


def _rows_kernel(module: Module, fn: str, kind: Prim) -> str:
    """void (out, in, outer, n)"""
    row = _row_kernel(module, fn, kind)

    def make(name: str) -> None:
        llvm = SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr", "%x"), ("i64", "%outer"), ("i64", "%n")]
        k = Code(module, name, params, "void")
        with k.loop("%outer") as turn:
            at = k.element("%x", llvm, k.mul(turn.index, "%n"))
            _store(k, kind, k.call(_wide(kind), row, [("ptr", at), ("i64", "%n")]), "%out", turn.index)
        k.ret()
        k.finish()

    return module.helper(("kernel.rows." + fn, kind), make)


def _columns_kernel(module: Module, fn: str, kind: Prim) -> str:
    """void (out, in, outer, n, inner)"""

    def make(name: str) -> None:
        llvm, t = SCALARS[kind.name][0], _wide(kind)
        params = [("ptr noalias", "%out"), ("ptr", "%x"), ("i64", "%outer"), ("i64", "%n"), ("i64", "%inner")]
        k = Code(module, name, params, "void")
        start = identity(fn, kind)
        block = k.mul("%n", "%inner")
        with k.loop("%outer") as o:
            to = k.element("%out", llvm, k.mul(o.index, "%inner"))
            source = k.element("%x", llvm, k.mul(o.index, block))
            if kind in (F16, BF16):
                with k.loop("%inner") as c:
                    with k.loop("%n", [(t, start)]) as i:
                        x = _load(k, kind, source, k.add(k.mul(i.index, "%inner"), c.index))
                        i.next = [combine(k, fn, kind, t, i.values[0], x)]
                    _store(k, kind, i.values[0], to, c.index)
            else:
                with k.loop("%inner") as c:
                    _store(k, kind, start, to, c.index)
                with k.loop("%n") as i:
                    row = k.element(source, llvm, k.mul(i.index, "%inner"))
                    with k.loop("%inner") as c:
                        old = _load(k, kind, to, c.index)
                        _store(k, kind, combine(k, fn, kind, t, old, _load(k, kind, row, c.index)), to, c.index)
        k.ret()
        k.finish()

    return module.helper(("kernel.columns." + fn, kind), make)


def _best_kernel(module: Module, fn: str, kind: Prim) -> str:
    """void (out, in, outer, n, inner): positions of the first greatest or least; the first nan wins."""
    scalar = kind in (BOOL, F16, BF16)
    most = "" if scalar else _row_kernel(module, fn[3:], kind)
    first = "" if scalar else _first_kernel(module, kind)

    def make(name: str) -> None:
        t, llvm = _wide(kind), SCALARS[kind.name][0]
        params = [("ptr noalias", "%out"), ("ptr", "%x"), ("i64", "%outer"), ("i64", "%n"), ("i64", "%inner")]
        k = Code(module, name, params, "void")

        def rows() -> None:
            with k.loop("%outer") as o:
                row = k.element("%x", llvm, k.mul(o.index, "%n"))
                value = k.call(t, most, [("ptr", row), ("i64", "%n")])
                place = k.call("i64", first, [("ptr", row), ("i64", "%n"), (t, value)])
                k.store("i64", place, k.element("%out", "i64", o.index))

        def columns() -> None:
            together = "0" if scalar else k.op2("and", "i64", "%inner", str(-WIDTH))
            with k.loop("%outer") as o:
                source = k.element("%x", llvm, k.mul(o.index, k.mul("%n", "%inner")))
                to = k.element("%out", "i64", k.mul(o.index, "%inner"))
                if not scalar:
                    with k.loop(together, step=WIDTH) as c:
                        at = k.element(to, "i64", c.index)
                        _best_of_columns(k, Wide(k), fn, kind, k.element(source, llvm, c.index), at)
                with k.loop("%inner", start=together) as c:
                    at = k.element(to, "i64", c.index)
                    _best_of_columns(k, k, fn, kind, k.element(source, llvm, c.index), at)

        if scalar:
            columns()
        else:
            k.fork(k.icmp("eq", "%inner", "1"), rows, columns)
        k.ret()
        k.finish()

    return module.helper(("kernel." + fn, kind), make)


def _best_of_columns(k: Code, w: Code | Wide, fn: str, kind: Prim, source: str, to: str) -> None:
    """Of one column, or as many side by side as `w` has."""
    t, llvm = _wide(kind), SCALARS[kind.name][0]

    def load(address: str) -> str:
        value = w.load(llvm, address)
        return widen(k, value, kind) if kind in (F16, BF16) else value

    of = w.vector if isinstance(w, Wide) else str
    carry = [(of(t), load(source)), (of("i64"), "zeroinitializer" if isinstance(w, Wide) else "0")]
    with k.loop("%n", carry, start="1") as i:
        best, at = i.values
        x = load(k.element(source, llvm, k.mul(i.index, "%inner")))
        if kind in FLOATS:  # greater, or a nan where there was none
            better = w.fcmp("ugt" if fn == "argmax" else "ult", t, x, best)
            better = w.op2("and", "i1", better, w.fcmp("ord", t, best, best))
        else:
            sign = "u" if kind in (U8, BOOL) else "s"
            better = w.icmp(sign + ("gt" if fn == "argmax" else "lt"), x, best, t)
        index = w.splat("i64", i.index) if isinstance(w, Wide) else i.index
        i.next = [w.select(better, t, x, best), w.select(better, "i64", index, at)]
    w.store("i64", i.values[1], to)


def _first_kernel(module: Module, kind: Prim) -> str:
    """i64 (in, n, value): where the value is first, which is there; if it is nan, the first nan."""

    def make(name: str) -> None:
        t = _wide(kind)
        k = Code(module, name, [("ptr", "%x"), ("i64", "%n"), (t, "%value")], "i64", attributes="noinline nounwind")
        block = LANES * VECTORS
        w = Wide(k, block)

        def found(w: Code | Wide, x: str, value: str) -> str:
            if kind not in FLOATS:
                return w.icmp("eq", x, value, t)
            # One that is no nan was found among none.
            return w.op2("or", "i1", w.fcmp("oeq", t, x, value), w.fcmp("uno", t, x, x))

        value, bits = w.splat(t, "%value"), f"i{block}"
        filled = k.op2("and", "i64", "%n", str(-block))
        with k.loop(filled, step=block) as turn:
            here = found(w, w.load(t, k.element("%x", t, turn.index)), value)
            mask = k.ins(f"bitcast {w.vector('i1')} {here} to {bits}")
            with k.when(k.icmp("ne", mask, "0", bits)):
                place = k.call(bits, f"@llvm.cttz.{bits}", [(bits, mask), ("i1", "true")])
                k.ret(k.add(turn.index, k.convert("zext", bits, place, "i64")))
        with k.loop("%n", start=filled) as turn, k.when(found(k, k.load(t, k.element("%x", t, turn.index)), "%value")):
            k.ret(turn.index)
        k.ret("0")
        k.finish()

    return module.helper(("kernel.first", kind), make)


def emit_reduce(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    fn, axes = str(op.attr("fn")), op.attr("axes")
    assert isinstance(axes, tuple)
    x = tensor_of(e, op.args[0])
    kind = elem(op.outs[0].type)
    if fn in ("max", "min", "argmax", "argmin") and not op.attr("least"):
        check_some(e, fn, x, axes)
    # Runs of neighbouring axes, the last one first: what is left then is smaller for the next.
    runs: list[list[int]] = []
    for a in axes:
        if runs and runs[-1][-1] == a - 1:
            runs[-1].append(a)
        else:
            runs.append([a])
    current, fresh = x, False
    for run in reversed(runs):
        dims = current.dims
        outer, n, inner = (product(e, d) for d in (dims[: run[0]], dims[run[0] : run[-1] + 1], dims[run[-1] + 1 :]))
        left = (*dims[: run[0]], *dims[run[-1] + 1 :])
        if not left and fn not in ("argmax", "argmin"):
            row = _row_kernel(e.module, fn, current.elem)
            value = e.call(_wide(kind), row, [("ptr", current.data), ("i64", n)])
            if fresh:
                release_tensor(e, current)
            return ((narrow(e, value, kind) if kind in (F16, BF16) else value,),)
        if fresh:
            with e.holding(current.owner):
                out = new_tensor(e, kind, left)
        else:
            out = new_tensor(e, kind, left or ("1",))
        args = [("ptr", out.data), ("ptr", current.data), ("i64", outer), ("i64", n)]
        if fn in ("argmax", "argmin"):
            e.call("void", _best_kernel(e.module, fn, x.elem), [*args, ("i64", inner)])
        elif inner == "1":
            e.call("void", _rows_kernel(e.module, fn, kind), args)
        else:
            e.call("void", _columns_kernel(e.module, fn, kind), [*args, ("i64", inner)])
        if fresh:
            release_tensor(e, current)
        current, fresh = out, True
    if isinstance(op.outs[0].type, TensorT):
        return (current.leaves,)
    value = load_element(e, current, "0")
    release_tensor(e, current)
    return ((value,),)


def check_some(e: FnEmitter, fn: str, x: Tensor, axes: tuple[int, ...]) -> None:
    """ValueError where there are results but nothing to take them from."""
    count = product(e, [x.dims[a] for a in axes])
    if count.startswith("%") or count == "0":
        rest = product(e, [d for i, d in enumerate(x.dims) if i not in axes])
        some = e.op2("or", "i1", e.icmp("ne", count, "0"), e.icmp("eq", rest, "0"))
        e.check(some, "ValueError", f"{fn} of nothing")
    # Where there are no results the kernels do nothing.


def emit_cumsum(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    x, axis = tensor_of(e, op.args[0]), op.attr("axis")
    assert isinstance(axis, int)
    out = new_tensor(e, x.elem, x.dims)
    kind = x.elem

    def make(name: str) -> None:
        t, llvm = _wide(kind), SCALARS[kind.name][0]
        sizes = [("i64", n) for n in ("%outer", "%n", "%inner")]
        k = Code(e.module, name, [CTX, ("ptr noalias", "%out"), ("ptr", "%x"), *sizes], "i32")
        block, flag = k.mul("%n", "%inner"), flag_of(k)
        with k.loop("%outer") as o, k.loop("%inner") as c:
            at = k.add(k.mul(o.index, block), c.index)
            to, source = k.element("%out", llvm, at), k.element("%x", llvm, at)
            with k.loop("%n", [(t, identity("sum", kind))], step=STRIP) as strip:
                with interrupted(k, flag):
                    k.ret("1")
                end = k.call("i64", "@llvm.smin.i64", [("i64", k.add(strip.index, str(STRIP))), ("i64", "%n")])
                with k.loop(end, [(t, strip.values[0])], start=strip.index) as i:
                    place = k.mul(i.index, "%inner")
                    total = combine(k, "sum", kind, t, i.values[0], _load(k, kind, source, place))
                    _store(k, kind, total, to, place)
                    i.next = [total]
                strip.next = [i.values[0]]
        k.ret("0")
        k.finish()

    kernel = e.module.helper(("kernel.cumsum", kind), make)
    sizes = [product(e, d) for d in (x.dims[:axis], [x.dims[axis]], x.dims[axis + 1 :])]
    status = e.call("i32", kernel, [CTX, ("ptr", out.data), ("ptr", x.data), *(("i64", s) for s in sizes)])
    with e.holding(out.owner):
        e.leave_unless(e.icmp("eq", status, "0", "i32"))
    return (out.leaves,)


ROWS = {"reduce": emit_reduce, "cumsum": emit_cumsum}
__all__ = ["F32", "F64", "ROWS", "combine", "identity"]
