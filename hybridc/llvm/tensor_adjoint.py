"""Tensors that derivatives are added up in: without elements one stands for zeros, so nothing is made before it is
needed, and what nobody else holds is added to in place."""

from __future__ import annotations

from hybridc.core.ir import Op, Prim
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves
from hybridc.llvm.refcount import release_helper, retain_helper
from hybridc.llvm.scalar_ops import emit_scalar
from hybridc.llvm.tensor_access import Tensor, count_elements, new_tensor, tensor_of, writable

Results = tuple[Leaves, ...]


def add_elements(e: FnEmitter, kind: Prim, target: str, source: str, count: str) -> None:
    """target[i] += source[i] for every i below `count`."""
    llvm = SCALARS[kind.name][0]

    def make(name: str) -> None:
        k = Code(e.module, name, [("ptr noalias", "%to"), ("ptr noalias", "%from"), ("i64", "%n")], "void")
        with k.loop("%n") as turn:
            to = k.element("%to", llvm, turn.index)
            pair = k.load(llvm, to), k.load(llvm, k.element("%from", llvm, turn.index))
            k.store(llvm, emit_scalar(k, "add", pair, (kind, kind), kind), to)  # type: ignore[arg-type]
        k.ret()
        k.finish()

    kernel = e.module.helper(("kernel.accumulate", kind), make)
    e.call("void", kernel, [("ptr", target), ("ptr", source), ("i64", count)])


def emit_accumulate(e: FnEmitter, op: Op) -> Results:
    t, x = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    have, more = count_elements(e, t.dims), count_elements(e, x.dims)
    if have.isdigit() and have != "0":
        t = writable(e, t)
        add_elements(e, t.elem, t.data, x.data, more)
        return (t.leaves,)
    theirs, ours, done = e.label("theirs"), e.label("ours"), e.label("done")
    e.branch(e.icmp("eq", have, "0"), theirs, ours)
    with e.out_of_line(theirs):
        e.call("void", release_helper(e.module), [("ptr", CTX), ("ptr", t.owner)])
        e.call("void", retain_helper(e.module), [("ptr", CTX), ("ptr", x.owner)])
        from_theirs = e.here
        e.jump(done)
    e.share([x.owner])
    e.start(ours)
    mine = writable(e, t)
    add_elements(e, t.elem, mine.data, x.data, more)
    from_ours = e.here
    e.jump(done)
    e.start(done)
    leaves = [e.phi("ptr", [(x.owner, from_theirs), (mine.owner, from_ours)]),
              e.phi("ptr", [(x.data, from_theirs), (mine.data, from_ours)])]
    leaves += [e.phi("i64", [(a, from_theirs), (b, from_ours)]) for a, b in zip(x.dims, mine.dims, strict=True)]
    return (tuple(leaves),)


def emit_shaped(e: FnEmitter, op: Op) -> Results:
    t = tensor_of(e, op.args[0])
    sizes = [e.one(a) for a in op.args[1:]]
    absent, done = e.label("absent"), e.label("done")
    before = e.here
    e.branch(e.icmp("eq", count_elements(e, t.dims), "0"), absent, done)
    with e.out_of_line(absent):
        e.call("void", release_helper(e.module), [("ptr", CTX), ("ptr", t.owner)])
        fresh = new_tensor(e, t.elem, sizes, clear=True)
        from_absent = e.here
        e.jump(done)
    e.start(done)
    owner = e.phi("ptr", [(t.owner, before), (fresh.owner, from_absent)])
    data = e.phi("ptr", [(t.data, before), (fresh.data, from_absent)])
    return (Tensor(t.elem, owner, data, tuple(sizes)).leaves,)


ROWS = {"accumulate": emit_accumulate, "shaped": emit_shaped}
