"""Services of the host: `ctx.host(ctx, id, args, results)`, with arguments and results as C structs in memory."""

from __future__ import annotations

from hybridc.core.ir import Op
from hybridc.llvm.abi import OFFSET
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.module import Leaves


def _host(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    params, results = tuple(a.type for a in op.args), tuple(v.type for v in op.outs)
    number = e.module.service(str(op.attr("name")), params, results)
    given, wanted = e.layouts.struct(params), e.layouts.struct(results)
    arguments, answer = e.alloca(given.size), e.alloca(wanted.size)
    operands = [leaf for a in op.args for leaf in e.leaves(a)]
    for leaf, operand in zip(given.leaves, operands, strict=True):
        e.store(leaf.llvm, operand, e.ptr_add(arguments, leaf.offset))
    callback = e.load("ptr", e.ptr_add(CTX, OFFSET["host"]))
    asked = e.load("i64", number)
    with e.host_sees_depth():
        status = e.call("i32", callback, [("ptr", CTX), ("i64", asked), ("ptr", arguments), ("ptr", answer)])
    e.leave_unless(e.icmp("eq", status, "0", "i32"))
    loaded = [e.load(leaf.llvm, e.ptr_add(answer, leaf.offset)) for leaf in wanted.leaves]
    values: list[Leaves] = []
    for t in results:
        count = len(e.layouts.leaves(t))
        values.append(tuple(loaded[:count]))
        del loaded[:count]
    return tuple(values)


ROWS = {"host": _host}
