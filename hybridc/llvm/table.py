"""Every operator's LLVM code, by its name: `EMIT[op.op](emitter, op)` gives the leaves of each result.

Rows of scalar operators come from scalar_ops.py (kernels use those too), the others from the files below; tensor
operators from tensor_kernels.py. How to write one: emitter.py.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridc.core.ir import Op, Prim
from hybridc.llvm import (
    aggregate_ops,
    buffer_ops,
    byte_ops,
    device,
    host_ops,
    resize,
    scans,
    static_lists,
    tensor_kernels,
    text_ops,
    vector_sort,
)
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.module import Leaves
from hybridc.llvm.scalar_ops import SCALAR_ROWS, emit_scalar

Emit = Callable[[FnEmitter, Op], tuple[Leaves, ...]]


def _scalar(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    types = tuple(a.type for a in op.args)
    out = op.outs[0].type
    assert isinstance(out, Prim)
    return ((emit_scalar(e, op.op, tuple(e.one(a) for a in op.args), types, out, dict(op.attrs)),),)  # type: ignore[arg-type]


EMIT: dict[str, Emit] = {
    **dict.fromkeys(SCALAR_ROWS, _scalar),
    **aggregate_ops.ROWS,
    **buffer_ops.ROWS,
    **byte_ops.ROWS,
    **resize.ROWS,
    **scans.ROWS,
    **static_lists.ROWS,
    **vector_sort.ROWS,
    **host_ops.ROWS,
    **text_ops.ROWS,
    **tensor_kernels.ROWS,
    **device.ROWS,
}
