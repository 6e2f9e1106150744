"""Operators that only move elements: shape, basic indexing, updates, joining, making. The copying itself is in
strided.py."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.ir import BufferT, Const, Op, Prim, TensorT
from hybridc.core.types import elem, rank
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter, N
from hybridc.llvm.layout import HEADER, SCALARS
from hybridc.llvm.module import Leaves
from hybridc.llvm.scalar_ops import emit_scalar
from hybridc.llvm.strided import copy_strided, plus, strides_of, times, write_strided
from hybridc.llvm.tensor_access import (
    Tensor,
    count_elements,
    load_element,
    new_tensor,
    release_tensor,
    store_element,
    tensor_of,
    writable,
)
from hybridc.llvm.tensor_map import message, product, same_size

Results = tuple[Leaves, ...]


def fill(e: Code, kind: Prim, target: str, value: str, count: str) -> None:
    """The same value everywhere."""
    llvm = SCALARS[kind.name][0]

    def make(name: str) -> None:
        k = Code(e.module, name, [("ptr", "%to"), (llvm, "%value"), ("i64", "%n")], "void")
        with k.loop("%n") as turn:
            k.store(llvm, "%value", k.element("%to", llvm, turn.index))
        k.ret()
        k.finish()

    kernel = e.module.helper(("kernel.fill", llvm), make)
    e.call("void", kernel, [("ptr", target), (llvm, value), ("i64", count)])


# ---- shape -----------------------------------------------------------------------------------------------------------
def emit_dim(e: FnEmitter, op: Op) -> Results:
    axis = op.attr("axis")
    assert isinstance(axis, int)
    return ((tensor_of(e, op.args[0]).dims[axis],),)


def emit_reshape(e: FnEmitter, op: Op) -> Results:
    """The same memory under other sizes."""
    sizes = [e.one(a) for a in op.args[1:]]
    source = op.args[0]
    if not isinstance(source.type, TensorT):
        x = None
        total, shown = "1", message("a number")
        dims: Sequence[str] = ()
    else:
        x = tensor_of(e, source)
        total, dims = count_elements(e, x.dims), x.dims
        shown = message("a tensor of shape ", dims)
    with e.giving_up(op.args[:1]):
        wrong = [*shown, *message(" does not fit in shape ", sizes)]
        new = sizes if op.attr("fits") else _resolved(e, sizes, total, wrong)
    if x is None:
        if not new:
            return (e.leaves(source),)
        out = new_tensor(e, elem(source.type), new)
        store_element(e, out, "0", e.one(source))
        return (out.leaves,)
    if not new:
        value = load_element(e, x, "0")
        release_tensor(e, x)
        return ((value,),)
    return ((x.owner, x.data, *new),)


def emit_reshaped(e: FnEmitter, op: Op) -> Results:
    x = tensor_of(e, op.args[0])
    return ((x.owner, x.data, *(e.one(a) for a in op.args[1:])),)


def reshape_dims(e: FnEmitter, dims: Sequence[str], total: str, sizes: list[str]) -> list[str]:
    """The sizes that a tensor of these dims gets."""
    parts = message("a tensor of shape ", dims, " does not fit in shape ", sizes)
    return _resolved(e, sizes, total, parts)


def _resolved(e: FnEmitter, sizes: list[str], total: str, parts: Sequence[str | N]) -> list[str]:
    """Sizes checked against the number of elements; what -1 stands for."""
    if not any(s.startswith(("%", "-")) for s in sizes):
        count = 1
        for s in sizes:
            count *= int(s)
        same_size(e, str(count), total, parts)
        return sizes
    if sizes.count("-1") == 1 and not any(s.startswith("%") for s in sizes if s != "-1"):
        given = 1
        for s in sizes:
            given *= 1 if s == "-1" else int(s)
        if given <= 0:
            e.check("false", "ValueError", *parts)
            return ["0"] * len(sizes)
        left = e.op2("udiv", "i64", total, str(given))
        same_size(e, e.mul(left, str(given)), total, parts)
        return [left if s == "-1" else s for s in sizes]
    # Sizes known only now, any of which may be -1.
    rest, open_ = "1", "0"
    fine = "true"
    for s in sizes:
        minus = e.icmp("eq", s, "-1")
        open_ = e.add(open_, e.convert("zext", "i1", minus, "i64"))
        fine = e.op2("and", "i1", fine, e.icmp("sge", s, "-1"))
        pair = e.call("{ i64, i1 }", "@llvm.smul.with.overflow.i64", [
            ("i64", rest), ("i64", e.select(minus, "i64", "1", s))])
        rest = e.ins(f"extractvalue {{ i64, i1 }} {pair}, 0")
        wrapped = e.ins(f"extractvalue {{ i64, i1 }} {pair}, 1")
        fine = e.op2("and", "i1", fine, e.op2("xor", "i1", wrapped, "true"))
    safe = e.select(e.icmp("eq", rest, "0"), "i64", "1", rest)
    left = e.op2("sdiv", "i64", total, safe)
    whole = e.select(e.icmp("eq", open_, "0"), "i64", rest, e.select(
        e.icmp("eq", rest, "0"), "i64", "-1", e.mul(left, rest)))
    fine = e.op2("and", "i1", fine, e.icmp("sle", open_, "1"))
    e.check(e.op2("and", "i1", fine, e.icmp("eq", whole, total)), "ValueError", *parts)
    return [s if not s.startswith(("%", "-")) else e.select(e.icmp("eq", s, "-1"), "i64", left, s) for s in sizes]


def emit_transpose(e: FnEmitter, op: Op) -> Results:
    x, perm = tensor_of(e, op.args[0]), op.attr("perm")
    assert isinstance(perm, tuple)
    dims = [x.dims[i] for i in perm]
    out = new_tensor(e, x.elem, dims)
    have = strides_of(e, x.dims)
    copy_strided(e, x.elem, out.data, x.data, dims, strides_of(e, dims), [have[i] for i in perm])
    return (out.leaves,)


def broadcast_sizes(e: FnEmitter, op: Op) -> list[str]:
    """The sizes that the operator names, checked."""
    axes, source = op.attr("axes"), op.args[0]
    assert isinstance(axes, tuple)
    sizes = [e.one(a) for a in op.args[1:]]
    for s in sizes:
        if s.startswith(("%", "-")):
            e.check(e.icmp("sge", s, "0"), "ValueError", "a size of ", N(s), " is negative")
    if isinstance(source.type, TensorT):
        x = tensor_of(e, source)
        for a, s in zip(axes, sizes, strict=True):
            if a is not None:
                shown = message("a tensor of shape ", x.dims, " does not fit in shape ", sizes)
                same_size(e, x.dims[a], s, shown)
    return sizes


def emit_broadcast(e: FnEmitter, op: Op) -> Results:
    axes, source = op.attr("axes"), op.args[0]
    assert isinstance(axes, tuple)
    sizes = broadcast_sizes(e, op)
    kind = elem(source.type)
    if not isinstance(source.type, TensorT):
        zero = isinstance(source, Const) and not source.value and str(source.value) != "-0.0"
        out = new_tensor(e, kind, sizes, clear=zero)
        if not zero:
            fill(e, kind, out.data, e.one(source), count_elements(e, sizes))
        return (out.leaves,)
    x = tensor_of(e, source)
    out = new_tensor(e, kind, sizes)
    have = strides_of(e, x.dims)
    froms = ["0" if a is None else have[a] for a in axes]
    copy_strided(e, kind, out.data, x.data, sizes, strides_of(e, sizes), froms)
    return (out.leaves,)


# ---- parts -----------------------------------------------------------------------------------------------------------
class Part:
    """What `kinds` and ints select of a tensor: the offset of its first element, and for each axis that is kept its
    count and step."""

    def __init__(self, e: FnEmitter, x: Tensor, kinds: tuple[str, ...], ints: list[str]):
        strides = strides_of(e, x.dims)
        self.offset = "0"
        self.counts: list[str] = []
        self.steps: list[str] = []
        given = iter(ints)
        for kind, n, stride in zip(kinds, x.dims, strides, strict=True):
            if kind == "":
                self.counts.append(n)
                self.steps.append(stride)
                continue
            if kind in ("i", "p"):
                at = next(given)
                if kind == "i":
                    at = checked_index(e, at, n)
                self.offset = e.add(self.offset, times(e, at, stride))
                continue
            bounds = {letter: next(given) for letter in kind}
            start, count, step = slice_of(e, bounds, n)
            self.offset = e.add(self.offset, times(e, start, stride))
            self.counts.append(count)
            self.steps.append(times(e, step, stride))


def checked_index(e: FnEmitter, i: str, n: str) -> str:
    """An index from the front; IndexError (with the index as given) if there is no such element."""
    if not i.startswith("%") and not n.startswith("%"):
        known = int(i) + int(n) if int(i) < 0 else int(i)
        if 0 <= known < int(n):
            return str(known)
    at = e.select(e.icmp("slt", i, "0"), "i64", e.ins(f"add i64 {i}, {n}"), i) if i.startswith(("%", "-")) else i
    with e.unless(e.icmp("ult", at, n)):
        e.fault_index(i, n)
    return at


def slice_of(e: FnEmitter, bounds: dict[str, str], n: str) -> tuple[str, str, str]:
    """Start, count and step of a Python slice of `n` elements."""
    step = bounds.get("c", "1")
    if all(not v.startswith("%") for v in (*bounds.values(), n)) and step != "0":
        found = range(*slice(*(int(bounds[k]) if k in bounds else None for k in "abc")).indices(int(n)))
        return str(found.start if len(found) else 0), str(len(found)), step
    if step.startswith("%") or step == "0":
        e.check(e.icmp("ne", step, "0"), "ValueError", "a slice's step is 0")
    back = e.icmp("slt", step, "0") if step.startswith(("%", "-")) else "false"
    low = e.select(back, "i64", "-1", "0") if back != "false" else "0"
    high = e.select(back, "i64", e.ins(f"sub i64 {n}, 1"), n) if back != "false" else n

    def clamped(v: str) -> str:
        if v.startswith(("%", "-")):
            v = e.select(e.icmp("slt", v, "0"), "i64", e.ins(f"add i64 {v}, {n}"), v)
        v = e.call("i64", "@llvm.smax.i64", [("i64", v), ("i64", low)])
        return e.call("i64", "@llvm.smin.i64", [("i64", v), ("i64", high)])

    begin = e.select(back, "i64", high, "0") if back != "false" else "0"
    finish = e.select(back, "i64", "-1", n) if back != "false" else n
    start = clamped(bounds["a"]) if "a" in bounds else begin
    stop = clamped(bounds["b"]) if "b" in bounds else finish
    length = e.ins(f"sub i64 {stop}, {start}")
    if back == "false":
        length = e.call("i64", "@llvm.smax.i64", [("i64", length), ("i64", "0")])
        if step == "1":
            return start, length, step
    return start, _count(e, length, step, back), step


def _count(e: FnEmitter, length: str, step: str, back: str) -> str:
    """Elements of a slice whose step may be negative."""
    span = length if back == "false" else e.select(back, "i64", e.ins(f"sub i64 0, {length}"), length)
    size = e.call("i64", "@llvm.abs.i64", [("i64", step), ("i1", "false")])
    span = e.call("i64", "@llvm.smax.i64", [("i64", span), ("i64", "0")])
    empty = e.icmp("eq", span, "0")
    # Rounded up without overflow: one and what fits into the rest.
    more = e.op2("udiv", "i64", e.ins(f"sub i64 {span}, 1"), size)
    return e.select(empty, "i64", "0", e.ins(f"add i64 {more}, 1"))


def _kinds(op: Op) -> tuple[str, ...]:
    kinds = op.attr("kinds")
    assert isinstance(kinds, tuple)
    return kinds


def part_of(e: FnEmitter, op: Op, x: Tensor) -> Part:
    """What an operator indexes or updates."""
    return Part(e, x, _kinds(op), [e.one(a) for a in op.args[2 if op.op == "update" else 1 :]])


def emit_index(e: FnEmitter, op: Op) -> Results:
    x = tensor_of(e, op.args[0])
    part = part_of(e, op, x)
    if not part.counts:
        return ((load_element(e, x, part.offset),),)
    out = new_tensor(e, x.elem, part.counts)
    source = e.element(x.data, x.llvm, part.offset)
    copy_strided(e, x.elem, out.data, source, part.counts, strides_of(e, part.counts), part.steps)
    return (out.leaves,)


def emit_part(e: FnEmitter, op: Op) -> Results:
    """Where it lies."""
    x = tensor_of(e, op.args[0])
    part = part_of(e, op, x)
    return ((x.owner, e.element(x.data, x.llvm, part.offset), *part.counts),)


def check_update(e: FnEmitter, op: Op, part: Part) -> None:
    """ValueError unless the value fits in the part."""
    value, axes = op.args[1], op.attr("axes")
    assert isinstance(axes, tuple)
    if isinstance(value.type, TensorT):
        v = tensor_of(e, value)
        for i, a in enumerate(axes):
            if a is not None:
                shown = message("a value of shape ", v.dims, " does not fit in a place of shape ", part.counts)
                same_size(e, v.dims[a], part.counts[i], shown)


def emit_update(e: FnEmitter, op: Op) -> Results:
    target, value, axes = tensor_of(e, op.args[0]), op.args[1], op.attr("axes")
    assert isinstance(axes, tuple)
    with e.giving_up(op.args[:1]):
        part = part_of(e, op, target)
        check_update(e, op, part)
    v = tensor_of(e, value) if isinstance(value.type, TensorT) else None
    target = writable(e, target)
    to = e.element(target.data, target.llvm, part.offset)
    adds = op.attr("fn") == "add"
    if v is None and not part.counts:
        new = e.one(value)
        if adds:
            pair = (e.load(target.llvm, to), new)
            new = emit_scalar(e, "add", pair, (target.elem, target.elem), target.elem)
        e.store(target.llvm, new, to)
        return (target.leaves,)
    if v is None:
        slot = e.alloca(8)
        e.store(target.llvm, e.one(value), slot)
        source, froms = slot, ["0"] * len(part.counts)
    else:
        have = strides_of(e, v.dims)
        source, froms = v.data, ["0" if a is None else have[a] for a in axes]
    write_strided(e, target.elem, to, source, part.counts, part.steps, froms, adds)
    return (target.leaves,)


# ---- several tensors -------------------------------------------------------------------------------------------------
def concat_dims(e: FnEmitter, op: Op) -> list[str]:
    """The sizes of what is concatenated, checked."""
    xs, axis = [tensor_of(e, a) for a in op.args], op.attr("axis")
    assert isinstance(axis, int)
    first = list(xs[0].dims)
    total = "0"
    for x in xs:
        for i in range(x.rank):
            if i != axis:
                shown = message("shapes ", xs[0].dims, " and ", x.dims, " do not fit in concat")
                same_size(e, first[i], x.dims[i], shown)
        total = plus(e, total, x.dims[axis])
    return [*first[:axis], total, *first[axis + 1 :]]


def emit_concat(e: FnEmitter, op: Op) -> Results:
    xs, axis = [tensor_of(e, a) for a in op.args], op.attr("axis")
    assert isinstance(axis, int)
    dims = concat_dims(e, op)
    total = dims[axis]
    out = new_tensor(e, xs[0].elem, dims)
    outer, inner = product(e, dims[:axis]), product(e, dims[axis + 1 :])
    row = times(e, total, inner)
    at = "0"
    for x in xs:
        width = times(e, x.dims[axis], inner)
        copy_strided(e, x.elem, e.element(out.data, x.llvm, at), x.data, [outer, width], [row, "1"], [width, "1"])
        at = plus(e, at, width)
    return (out.leaves,)


def emit_stack(e: FnEmitter, op: Op) -> Results:
    """Of a buffer of scalars or tensors."""
    buffer, n = e.one(op.args[0]), e.one(op.args[1])
    assert isinstance(op.args[0].type, BufferT)
    item = op.args[0].type.item
    kind = elem(item)
    data = e.ptr_add(buffer, HEADER)
    if not rank(item):
        out = new_tensor(e, kind, [n])
        e.copy_bytes(out.data, data, times(e, n, str(out.size)))
        return (out.leaves,)
    e.check(e.icmp("sgt", n, "0"), "ValueError", "stack of an empty list")
    size = e.layouts.shape(item).size
    dims = [e.load("i64", e.ptr_add(data, 16 + 8 * i)) for i in range(rank(item))]
    with e.loop(n) as turn:
        at = e.ptr_add(data, e.mul(turn.index, str(size)))
        other = [e.load("i64", e.ptr_add(at, 16 + 8 * i)) for i in range(rank(item))]
        for d, o in zip(dims, other, strict=True):
            same_size(e, d, o, message("shapes ", dims, " and ", other, " do not fit in stack"))
    out = new_tensor(e, kind, [n, *dims])
    width = e.mul(count_elements(e, dims), str(out.size))
    with e.loop(n) as turn:
        at = e.ptr_add(data, e.mul(turn.index, str(size)))
        e.copy_bytes(e.ptr_add(out.data, e.mul(turn.index, width)), e.load("ptr", e.ptr_add(at, 8)), width)
    return (out.leaves,)


def emit_join(e: FnEmitter, op: Op) -> Results:
    """A buffer of tensors, concatenated."""
    buffer, n, axis = e.one(op.args[0]), e.one(op.args[1]), op.attr("axis")
    assert isinstance(op.args[0].type, BufferT) and isinstance(axis, int)
    item = op.args[0].type.item
    count = rank(item)
    data = e.ptr_add(buffer, HEADER)
    e.check(e.icmp("sgt", n, "0"), "ValueError", "concat of an empty list")
    size = e.layouts.shape(item).size
    first = [e.load("i64", e.ptr_add(data, 16 + 8 * i)) for i in range(count)]
    with e.loop(n, [("i64", "0")]) as turn:
        at = e.ptr_add(data, e.mul(turn.index, str(size)))
        other = [e.load("i64", e.ptr_add(at, 16 + 8 * i)) for i in range(count)]
        for i in range(count):
            if i != axis:
                same_size(e, first[i], other[i], message("shapes ", first, " and ", other, " do not fit in concat"))
        turn.next = [e.add(turn.values[0], other[axis])]
    dims = [*first[:axis], turn.values[0], *first[axis + 1 :]]
    out = new_tensor(e, elem(item), dims)
    outer, inner = product(e, dims[:axis]), product(e, dims[axis + 1 :])
    row = times(e, dims[axis], inner)
    with e.loop(n, [("i64", "0")]) as turn:
        at = e.ptr_add(data, e.mul(turn.index, str(size)))
        width = times(e, e.load("i64", e.ptr_add(at, 16 + 8 * axis)), inner)
        source = e.load("ptr", e.ptr_add(at, 8))
        to = e.element(out.data, out.llvm, turn.values[0])
        copy_strided(e, out.elem, to, source, [outer, width], [row, "1"], [width, "1"])
        turn.next = [e.add(turn.values[0], width)]
    return (out.leaves,)


# ---- making ----------------------------------------------------------------------------------------------------------
def emit_tensor(e: FnEmitter, op: Op) -> Results:
    t = op.outs[0].type
    assert isinstance(t, TensorT)
    out = new_tensor(e, t.elem, [str(d) for d in t.dims])
    fill_elements(e, out, op)
    return (out.leaves,)


def fill_elements(e: FnEmitter, out: Tensor, op: Op) -> None:
    for i, a in enumerate(op.args):
        store_element(e, out, str(i), e.one(a))


def iota_size(e: FnEmitter, op: Op) -> str:
    n = e.one(op.args[0])
    if n.startswith(("%", "-")):
        e.check(e.icmp("sge", n, "0"), "ValueError", "a size of ", N(n), " is negative")
    return n


def emit_iota(e: FnEmitter, op: Op) -> Results:
    n = iota_size(e, op)
    t = op.outs[0].type
    assert isinstance(t, TensorT)
    out = new_tensor(e, t.elem, [n])
    with e.loop(n) as turn:
        store_element(e, out, turn.index, turn.index)
    return (out.leaves,)


def emit_view(e: FnEmitter, op: Op) -> Results:
    """A part of a flat vector, in place."""
    v = tensor_of(e, op.args[0])
    at, *sizes = [e.one(a) for a in op.args[1:]]
    if not sizes:
        return ((load_element(e, v, at),),)
    return ((v.owner, e.element(v.data, v.llvm, at), *sizes),)


ROWS = {
    "dim": emit_dim, "reshape": emit_reshape, "reshaped": emit_reshaped, "transpose": emit_transpose,
    "broadcast": emit_broadcast, "index": emit_index, "part": emit_part, "update": emit_update, "concat": emit_concat,
    "stack": emit_stack, "join": emit_join, "tensor": emit_tensor, "iota": emit_iota, "tensor_view": emit_view,
}  # fmt: skip
