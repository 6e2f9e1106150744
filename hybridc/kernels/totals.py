"""Reductions over the rows of a kernel: each row adds to one result, which has the columns of a row or is a number.

So come the derivatives of what all rows share (scales, biases, a loss): beside the rows' own results, in one run over
the rows. A reduction is one where its operand has other columns behind the axes that go, or where what goes ends in
the columns of another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.ir import Op, TensorT, Var
from hybridc.kernels.axes import Axes, Unfit

LEAST = 16
"""Columns of rows that are gone through one by one for a total alone."""


def totals(ops: Sequence[Op], axes: Axes) -> dict[int, tuple[int, ...]]:
    """By the ids of such reductions' results, the columns that these have."""
    gone: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    """What goes, of all axes."""
    columns: dict[tuple[int, ...], None] = {}
    for op in ops:
        if op.op == "reduce":
            x = op.args[0]
            assert isinstance(x, Var)
            own, all_ = axes.of(x), axes.shape(x)
            going = tuple(axes.find(own[i]) for i in op.attr("axes") if not axes.is_one(own[i]))  # type: ignore[attr-defined]
            gone[op.outs[0].id] = going, all_
            if all_[len(all_) - len(going) :] == going:
                columns[going] = None
            elif all_[: len(going)] == going:
                columns[all_[len(going) :]] = None
        elif op.op in ("index", "concat"):
            columns[axes.shape(op.outs[0])[-1:]] = None
    if len(columns) == 1 and all(going in columns for going, _ in gone.values()):
        return {}
    shapes = {axes.shape(v) for op in ops for v in (*op.args, *op.outs)
              if isinstance(v, Var) and isinstance(v.type, TensorT) and v.id in axes.of_var}
    found: dict[int, tuple[int, ...]] = {}
    for v, (going, all_) in gone.items():
        kept = all_[len(going) :]
        if kept and all_[: len(going)] == going:
            found[v] = kept
        elif going == all_:
            if any(c and (c != going and going[-len(c) :] == c or (*going, *c) in shapes) for c in columns):
                found[v] = ()
    return found


def long_enough(axes: Axes, columns: Sequence[int]) -> None:
    """Unfit where rows are known to be short."""
    size = 1
    for c in columns:
        n = axes.size(c)
        if n is None:
            return
        size *= n
    if size < LEAST:
        raise Unfit("short rows that would go one by one")
