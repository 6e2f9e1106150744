"""What operators on small tensors compute, element by element: one row for each operator. Elements stand in row-major
order; a scalar is its own element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from hybridc.base.immutable import immutable
from hybridc.base.types import FLOATS
from hybridc.core.ir import BOOL, INT, Atom, Attrs, Const, Op, Prim, TensorT, Type
from hybridc.core.ops import op_row
from hybridc.core.tensor_faults import sizes_agree
from hybridc.core.types import LARGEST, PLAIN, shape, small

COMPUTED = 4
"""Elements up to which one instruction for each is better than a loop, where they lie in memory."""
PRODUCTS = 64
"""Multiplications of a product of matrices that is written out."""

Elements = tuple[Atom, ...]
Of = Callable[[Atom], Elements]
New = Callable[[str, Sequence[Atom], Prim, Attrs], Atom]
"""Appends an operator on scalars, of this type and with these attributes."""
Places = npt.NDArray[np.intp]


def count(t: Type) -> int:
    """How many elements a small tensor or a scalar has."""
    return prod(shape(t))


def part(dims: Sequence[int], kinds: Sequence[str], numbers: Sequence[Atom]) -> Places | None:
    """Which elements `index` takes, in the shape that it gives them; None where that is not known, none is taken or it
    stops the program."""
    values = [n.value for n in numbers if isinstance(n, Const)]
    if len(values) < len(numbers):
        return None
    index: list[int | slice] = []
    for kind, size in zip(kinds, dims, strict=True):
        taken = {letter: int(values.pop(0)) for letter in kind}
        if "i" in taken:
            if not -size <= taken["i"] < size:
                return None
            index.append(taken["i"])
        elif taken.get("c") == 0:
            return None
        else:
            index.append(slice(taken.get("a"), taken.get("b"), taken.get("c")))
    found = np.asarray(np.arange(prod(dims)).reshape(tuple(dims))[tuple(index)])
    return found if found.size else None


def spread(axes: Sequence[int | None], dims: Sequence[int], result: Sequence[int]) -> list[int]:
    """For each element of the result that of an operand."""
    strides = [prod(dims[i + 1 :]) for i in range(len(dims))]
    return [
        sum(at[i] * strides[a] for i, a in enumerate(axes) if a is not None) for at in np.ndindex(*result)
    ]


def fits_spread(axes: Sequence[int | None], dims: Sequence[int], result: Sequence[int]) -> bool:
    """Do the axes that are named agree in size?"""
    return all(a is None or dims[a] == n for a, n in zip(axes, result, strict=True))


def _known(t: Type) -> bool:
    return small(t) or t in PLAIN


def _quiet(op: Op) -> bool:
    """All operands and the result are small or scalars, and it cannot stop the program."""
    return _known(op.outs[0].type) and all(_known(a.type) for a in op.args) and not op_row(op.op).may_fault(op)


# ---- arithmetic ------------------------------------------------------------------------------------------------------
def _map_fits(op: Op) -> bool:
    return _quiet(op) and sizes_agree(op)


def _map(op: Op, of: Of, new: New) -> Elements:
    result, elem = shape(op.outs[0].type), op.outs[0].type.elem  # type: ignore[union-attr]
    attrs = tuple(a for a in op.attrs if a[0] not in ("fn", "axes"))
    operands = [
        [of(a)[i] for i in spread(axes, shape(a.type), result)]
        for a, axes in zip(op.args, op.attr("axes"), strict=True)  # type: ignore[call-overload]
    ]
    return tuple(new(str(op.attr("fn")), args, elem, attrs) for args in zip(*operands, strict=True))


def _chain(fn: str, terms: Sequence[Atom], t: Prim, new: New) -> Atom:
    """In the order of kernels: the next term stands first, so that its product, not the one before, is one instruction
    with the addition."""
    total = terms[0]
    for x in terms[1:]:
        total = new(fn, (x, total), t, ())
    return total


REDUCTIONS = {"sum": "add", "prod": "mul"}
"""Not the extremes: what their derivative gives each of equals is not what pairs of them are given."""


def _reduce_fits(op: Op) -> bool:
    return op.attr("fn") in REDUCTIONS and _quiet(op)


def _reduce(op: Op, of: Of, new: New) -> Elements:
    dims, axes = shape(op.args[0].type), op.attr("axes")
    places = np.arange(prod(dims)).reshape(dims)
    rows = np.moveaxis(places, axes, range(-len(axes), 0)).reshape(count(op.outs[0].type), -1)  # type: ignore
    elements, t = of(op.args[0]), op.args[0].type.elem  # type: ignore[union-attr]
    return tuple(_chain(REDUCTIONS[str(op.attr("fn"))], [elements[i] for i in row], t, new) for row in rows)


def _matrices(op: Op) -> tuple[Places, Places]:
    """Places of the elements of both operands, as (m, k) and (k, n)."""
    a, b = (np.arange(count(x.type)).reshape(shape(x.type)) for x in op.args)
    return a.T if op.attr("ta") else a, b.T if op.attr("tb") else b


def _matmul_fits(op: Op) -> bool:
    if not _quiet(op) or any(len(shape(a.type)) != 2 for a in op.args):
        return False
    a, b = _matrices(op)
    return a.size * b.shape[1] <= PRODUCTS


def _matmul(op: Op, of: Of, new: New) -> Elements:
    (a, b), t = _matrices(op), op.outs[0].type.elem  # type: ignore[union-attr]
    x, y = of(op.args[0]), of(op.args[1])
    return tuple(
        _chain("add", [new("mul", (x[i], y[j]), t, ()) for i, j in zip(row, column, strict=True)], t, new)
        for row in a for column in b.T
    )


# ---- moving ----------------------------------------------------------------------------------------------------------
def _index_part(op: Op, first: int) -> Places | None:
    return part(shape(op.args[0].type), op.attr("kinds"), op.args[first:])  # type: ignore[arg-type]


def _index_fits(op: Op) -> bool:
    return small(op.args[0].type) and _index_part(op, 1) is not None


def _index(op: Op, of: Of, new: New) -> Elements:
    elements = of(op.args[0])
    return tuple(elements[i] for i in _index_part(op, 1).ravel())  # type: ignore[union-attr]


def _update_fits(op: Op) -> bool:
    if not small(op.args[0].type) or not _known(op.args[1].type):
        return False
    places = _index_part(op, 2)
    return places is not None and fits_spread(op.attr("axes"), shape(op.args[1].type), places.shape)  # type: ignore


def _update(op: Op, of: Of, new: New) -> Elements:
    elements, given, places = list(of(op.args[0])), of(op.args[1]), _index_part(op, 2)
    assert places is not None and isinstance(op.outs[0].type, TensorT)
    values = spread(op.attr("axes"), shape(op.args[1].type), places.shape)  # type: ignore[arg-type]
    for i, k in zip(places.ravel(), values, strict=True):
        added = op.attr("fn") == "add"
        elements[i] = new("add", (elements[i], given[k]), op.outs[0].type.elem, ()) if added else given[k]
    return tuple(elements)


def _same(op: Op, of: Of, new: New) -> Elements:
    return of(op.args[0])


def _transpose(op: Op, of: Of, new: New) -> Elements:
    t, elements = op.args[0].type, of(op.args[0])
    return tuple(elements[i] for i in np.arange(count(t)).reshape(shape(t)).transpose(op.attr("perm")).ravel())  # type: ignore


def _broadcast(op: Op, of: Of, new: New) -> Elements:
    elements, x = of(op.args[0]), op.args[0].type
    return tuple(elements[i] for i in spread(op.attr("axes"), shape(x), shape(op.outs[0].type)))  # type: ignore[arg-type]


def _concat(op: Op, of: Of, new: New) -> Elements:
    elements = [e for a in op.args for e in of(a)]
    first = np.cumsum([0, *(count(a.type) for a in op.args)])
    places = [np.arange(count(a.type)).reshape(shape(a.type)) + at for a, at in zip(op.args, first, strict=False)]
    return tuple(elements[i] for i in np.concatenate(places, axis=op.attr("axis")).ravel())  # type: ignore[call-overload]


def _tensor(op: Op, of: Of, new: New) -> Elements:
    return tuple(e for a in op.args for e in of(a))


def zero_of(t: Prim) -> Const:
    return Const(False if t == BOOL else 0.0 if t in FLOATS else 0, t)


def _zero(op: Op, of: Of, new: New) -> Elements:
    """As a tensor it would be one without elements, at which nobody looks."""
    return (zero_of(op.outs[0].type.elem),) * count(op.outs[0].type)  # type: ignore[union-attr]


def _iota(op: Op, of: Of, new: New) -> Elements:
    return tuple(Const(i, INT) for i in range(count(op.outs[0].type)))


def _dim(op: Op, of: Of, new: New) -> Elements:
    return (Const(shape(op.args[0].type)[op.attr("axis")], INT),)  # type: ignore[call-overload]


def _stop_gradient(op: Op, of: Of, new: New) -> Elements:
    return tuple(new("stop_gradient", (e,), op.outs[0].type.elem, ()) for e in of(op.args[0]))  # type: ignore[union-attr]


def _of_small(op: Op) -> bool:
    return small(op.args[0].type)


def _to_small(op: Op) -> bool:
    return small(op.outs[0].type) and _quiet(op)


@immutable(frozen=True, slots=True)
class Row:
    """`fits`: whether this use of the operator can be written out; `make`: the elements of its result."""

    fits: Callable[[Op], bool]
    make: Callable[[Op, Of, New], Elements]


ROWS = {
    "map": Row(_map_fits, _map),
    "reduce": Row(_reduce_fits, _reduce),
    "matmul": Row(_matmul_fits, _matmul),
    "index": Row(_index_fits, _index),
    "update": Row(_update_fits, _update),
    "reshape": Row(_quiet, _same),
    "transpose": Row(_of_small, _transpose),
    "broadcast": Row(_to_small, _broadcast),
    "concat": Row(_to_small, _concat),
    "tensor": Row(_to_small, _tensor),
    "iota": Row(_to_small, _iota),
    "zero": Row(_to_small, _zero),
    "dim": Row(_of_small, _dim),
    "stop_gradient": Row(_of_small, _stop_gradient),
}


def row(op: Op, at_hand: bool = False) -> Row | None:
    """How this operator is written out, if it can be. `at_hand`: elements of an operand are scalars already."""
    found = ROWS.get(op.op)
    if found is None or not _known(op.outs[0].type) or not found.fits(op):
        return None
    computed = op.op in ("map", "reduce") and max(count(v.type) for v in (*op.args, *op.outs)) > COMPUTED
    return None if computed and not at_hand else found


def one_by_one(op: Op) -> list[tuple[tuple[Atom, ...], int]] | None:
    """Of an update of a few elements of a large tensor by a small one: the index of each, and which element it gets."""
    if op.op != "update" or small(op.args[0].type) or not small(op.args[1].type):
        return None
    numbers, sizes = list(op.args[2:]), []
    places: list[tuple[Atom, ...]] = [()]
    for kind, size in zip(op.attr("kinds"), op.args[0].type.dims, strict=True):  # type: ignore
        given = [numbers.pop(0) for _ in kind]
        if kind == "i":
            places = [(*p, *given) for p in places]
            continue
        taken = part([size], [kind], given) if size is not None and size <= LARGEST else None
        if taken is None:
            return None
        places = [(*p, Const(int(i), INT)) for p in places for i in taken]
        sizes.append(len(taken))
    axes, dims = op.attr("axes"), shape(op.args[1].type)
    if len(places) > LARGEST or not fits_spread(axes, dims, sizes):  # type: ignore[arg-type]
        return None
    return list(zip(places, spread(axes, dims, sizes), strict=True))  # type: ignore[arg-type]
