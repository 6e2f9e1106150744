"""`parallel`: the body becomes a worker function of (ctx, env, index), which the host calls for every index.

What the body uses from outside is copied to `env` without counting: the caller owns it until the workers are done. Each
worker writes its own element of the result, so the order does not matter; the host picks the fault of the lowest index.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridc.core.ir import BufferT, Parallel, Var
from hybridc.core.walk import free_vars
from hybridc.llvm import refcount
from hybridc.llvm.abi import OFFSET
from hybridc.llvm.buffer_ops import element_at
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.module import Leaves


def emit_parallel(e: FnEmitter, stmt: Parallel, body: Callable[[FnEmitter], Leaves]) -> str:
    """The buffer of results."""
    t = stmt.out.type
    assert isinstance(t, BufferT)
    captured = [v for v in free_vars(stmt.body) if v != stmt.index]
    layout = e.layouts.struct([v.type for v in captured])
    env_size = -(-layout.size // 8) * 8
    span, owned = e.span, e.owned
    worker = _worker(e, stmt, captured, env_size, body)
    e.span, e.owned = span, owned

    count = e.one(stmt.count)
    if count.startswith(("%", "-")):
        e.check(e.icmp("sge", count, "0"), "ValueError", "negative length")
    result = e.alloc_buffer(e.layouts.shape(t.item).size, count)
    env = e.alloca(env_size + 8)
    operands = [leaf for v in captured for leaf in e.env[v.id]]
    for leaf, operand in zip(layout.leaves, operands, strict=True):
        e.store(leaf.llvm, operand, e.ptr_add(env, leaf.offset))
    e.store("ptr", result, e.ptr_add(env, env_size))
    run = e.load("ptr", e.ptr_add(CTX, OFFSET["parallel"]))
    with e.host_sees_depth():
        status = e.call("i32", run, [("ptr", CTX), ("ptr", worker), ("ptr", env), ("i64", count)])
    with e.unless(e.icmp("eq", status, "0", "i32")):
        # The worker has named the place already; this frame is the same function's.
        e.call("void", refcount.release_helper(e.module, t), [("ptr", CTX), ("ptr", result)])
        e.leave_silently()
    return result


def _worker(
    e: FnEmitter, stmt: Parallel, captured: list[Var], env_size: int, body: Callable[[FnEmitter], Leaves]
) -> str:
    name = e.module.fresh("hyb.worker")
    e.module.defined.add(name)
    inner = FnEmitter(e.module, e.fn, name, [("ptr", "%env"), ("i64", "%index")], [], faults=True)
    item = stmt.out.type.item  # type: ignore[union-attr]
    layout = inner.layouts.struct([v.type for v in captured])
    loaded = [inner.load(leaf.llvm, inner.ptr_add("%env", leaf.offset)) for leaf in layout.leaves]
    for v in captured:
        size = len(inner.layouts.leaves(v.type))
        inner.bind(v, tuple(loaded[:size]))
        del loaded[:size]
    inner.bind(stmt.index, ("%index",))
    value = body(inner)
    if not inner.dead:
        result = inner.load("ptr", inner.ptr_add("%env", env_size))
        inner.store_value(item, value, element_at(inner, item, result, "%index"))
        inner.leave(())
    inner.finish()
    return name
