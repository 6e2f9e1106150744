"""The LLVM code of every tensor operator of core/tensor_ops.py, by name. Shapes are checked in the function; the loops
are kernels, functions made once for each operator, type and pattern, that take sizes as arguments."""

from __future__ import annotations

from hybridc.llvm import (
    tensor_adjoint,
    tensor_copy,
    tensor_gather,
    tensor_map,
    tensor_matmul,
    tensor_reduce,
    tensor_sort,
    tensor_whole,
    window_adjoint,
)

ROWS = {
    **tensor_copy.ROWS, **tensor_gather.ROWS, **tensor_map.ROWS, **tensor_matmul.ROWS, **tensor_reduce.ROWS,
    **tensor_sort.ROWS, **tensor_whole.ROWS, **window_adjoint.ROWS, **tensor_adjoint.ROWS,
}  # fmt: skip
