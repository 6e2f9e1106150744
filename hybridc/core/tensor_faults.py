"""Which uses of a tensor operator may stop the program, as far as static sizes and constants tell."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from hybridc.base.types import FLOATS, INTS
from hybridc.core.ir import BOOL, I32, INT, U8, Atom, Const, Op, Prim, TensorT
from hybridc.core.types import elem, rank

UNFIT = " do not fit: only a size that is known to be 1 broadcasts (`let y: f32[N, 1] = x` says that it is)"
"""What is said after the shapes of operands whose sizes differ when the program runs."""
INT_FAULTS = ("floordiv", "mod", "pow", "shl", "shr", "lshr")
"""Scalar operators that can fault on integers."""


def cast_faults(source: Prim, target: Prim) -> bool:
    """Are there values that a checked cast refuses?"""
    if target in FLOATS or BOOL in (source, target) or source == target:
        return False
    width = {U8: 1, I32: 2, INT: 3}
    return source not in width or width[source] > width[target]


def int_faults(fn: str, by: Atom) -> bool:
    """Can this operator of INT_FAULTS stop the program, given what it divides, shifts or raises by?"""
    if elem(by.type) not in INTS:
        return False
    return not isinstance(by, Const) or (by.value == 0 if fn in ("floordiv", "mod") else by.value < 0)


def element_faults(op: Op) -> bool:
    """Are there elements for which a map stops the program?"""
    fn = str(op.attr("fn"))
    if fn == "cast":
        return bool(op.attr("checked")) and cast_faults(elem(op.args[0].type), elem(op.outs[0].type))
    return fn in INT_FAULTS and int_faults(fn, op.args[-1])


def map_faults(op: Op) -> bool:
    return element_faults(op) or not sizes_agree(op)


def sizes_agree(op: Op) -> bool:
    """Static sizes show that the named axes of a map's operands fit."""
    result = rank(op.outs[0].type)
    for i in range(result):
        known = set()
        for axes, a in zip(op.attr("axes"), op.args, strict=True):  # type: ignore[call-overload]
            if axes[i] is not None:
                known.add(a.type.dims[axes[i]])  # type: ignore[union-attr]
                if a.type.dims[axes[i]] is None:  # type: ignore[union-attr]
                    known.add(a)
        if len(known) > 1 and not (len(known) == 2 and None in known):
            return False
    return True


def reduce_faults(op: Op) -> bool:
    if op.attr("fn") not in ("max", "min", "argmax", "argmin") or op.attr("least"):
        return False
    dims = op.args[0].type.dims  # type: ignore[union-attr]
    return any(not dims[a] for a in op.attr("axes"))  # type: ignore[attr-defined]


def reshape_faults(op: Op) -> bool:
    if op.attr("fits"):
        return False
    sizes = _known(op.args[1:])
    dims = op.args[0].type.dims if isinstance(op.args[0].type, TensorT) else ()
    return sizes is None or None in dims or prod(sizes) != prod(dims)  # type: ignore[arg-type]


def broadcast_faults(op: Op) -> bool:
    sizes = _known(op.args[1:])
    axes: tuple[int | None, ...] = op.attr("axes")  # type: ignore[assignment]
    return sizes is None or any(a is not None and op.args[0].type.dims[a] != n  # type: ignore[union-attr]
                                for a, n in zip(axes, sizes, strict=True))


def matmul_faults(op: Op) -> bool:
    x, y = (a.type.dims for a in op.args)  # type: ignore[union-attr]
    inner, other = x[-2 if op.attr("ta") else -1], y[-1 if op.attr("tb") else -2]
    batches = len(x) == len(y) and (x[:-2] != y[:-2] or None in x[:-2])
    return inner is None or inner != other or batches


def concat_faults(op: Op) -> bool:
    axis = op.attr("axis")
    beside = {a.type.dims[:axis] + a.type.dims[axis + 1 :] for a in op.args}  # type: ignore
    return len(beside) > 1 or None in beside.pop()


def iota_faults(op: Op) -> bool:
    return _known(op.args) is None


def _known(sizes: Sequence[Atom]) -> list[int] | None:
    """The sizes, if all are constants that a tensor may have."""
    found = [a.value for a in sizes if isinstance(a, Const) and a.value >= 0]
    return found if len(found) == len(sizes) else None  # type: ignore[return-value]


def index_faults(op: Op) -> bool:
    numbers = iter(op.args[1:])
    for kind, size in zip(op.attr("kinds"), op.args[0].type.dims, strict=True):  # type: ignore
        given = [next(numbers) for _ in kind]
        if kind == "i":
            i = given[0]
            if size is None or not isinstance(i, Const) or not -size <= i.value < size:
                return True
        elif "c" in kind and not (isinstance(given[-1], Const) and given[-1].value):
            return True
    return False
