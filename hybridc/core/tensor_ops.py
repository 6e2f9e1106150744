"""The tensor operators of Core: a small orthogonal set; everything else of the language is composed of them
(front/tensor_lower*.py), so that differentiation, fusion and code generation know only these.

b borrows, c consumes its argument. "n", "i" and so on are ints; `t` is a tensor; a tensor type of no dimension is its
scalar, and where `t or x` stands a scalar is allowed. Results never share storage with their arguments except those
of `reshape` (which consumes), `reshaped`, `part` and `tensor_view` (aliases of their parents). Sizes that do not fit
are ValueErrors that name both shapes; an index out of range is an IndexError. `axis` attributes are never negative.

shape       dim[axis](b t) -> int                     the size of a dimension
            reshape[fits](c t or x, b n...) -> t or x same elements in row-major order; one n may be -1 (what is left).
                                                      With `fits` the number of elements is known to be the same
            reshaped(b t, n...) -> t                  the same, known to fit and only looked at (passes/ownership.py)
            transpose[perm](b t)                      axis i of the result is axis perm[i] of t
            broadcast[axes](b t or x, n...)           see below; n... are all the sizes of the result
elements    map[fn, axes](b t or x ...)               the scalar operator `fn` of core/ops.py applied elementwise;
                                                      attrs of fn (`checked` of cast) stand beside
            reduce[fn, axes](b t) -> t or x           fn: sum prod max min any all argmax argmin, over `axes`
                                                      (ascending, removed from the shape; argmax, argmin: one axis, the
                                                      first of equals, result int). nan wins in max, min, argmax and
                                                      argmin. max, min, argmax, argmin of nothing: ValueError, but with
                                                      `least` the max of nothing is -inf. Of equals all share the
                                                      derivative, with `first` the first has it. Order of adding is
                                                      fixed by sizes alone; f16 and bf16 are added in f32
            cumsum[axis](b t)
            matmul[ta, tb](b a, b b)                  a: [batch..., m, k] ([.., k, m] if ta), b: [batch..., k, n]
                                                      ([.., n, k] if tb) -> [batch..., m, n]; an operand of rank 2
                                                      beside a batched one serves every batch
parts       index[kinds](b t, i...) -> t or x         basic indexing. kinds[axis] is "i" (one int, IndexError, negative
                                                      counts from the end, the axis goes), "p" (one that is known
                                                      to be there, from the front), "" (whole), or letters of
                                                      "abc" in this order: start, stop, step, each an int argument,
                                                      as in a Python slice (clamped; step 0 ValueError)
            part[kinds](b t, i...) -> t               the same where it lies side by side, only looked at
                                                      (passes/ownership.py)
            update[kinds, axes, fn](c t, b v, i...)   -> t: t with the part index[kinds] would give replaced by v,
                                                      broadcast to it by `axes`; fn="add": v is added to the part
            take[axis, wrap](b t, b idx)              idx: an int or a tensor of ints; axis of t becomes idx's axes.
                                                      IndexError; negatives count from the end if wrap, else fault
            put[axis, fn](c t, b idx, b v) -> t       fn: set add sub; v has the shape that take[axis] would give;
                                                      duplicates one after the other, in order; negatives wrap
            gather[axis](b t, b idx)                  torch.gather; negative indices are IndexErrors here and in
            scatter[axis, fn](c t, b idx, b v) -> t   scatter; fn: set add (torch.scatter, scatter_add), in order
            nonzero(b mask[n]) -> int[?]              positions of the true ones
            concat[axis](b t, ...)
            stack(b buffer, n) -> t                   the first n of a buffer of scalars or tensors of one shape, along
                                                      a new first axis (n = 0 of tensors: ValueError)
            join[axis](b buffer, n) -> t              the first n tensors of a buffer concatenated (n = 0: ValueError)
            windows(b x, kh, kw, sh, sw, ph, pw, dh, dw, fill) -> t
                                                      [N, C, H, W] -> [N, C, kh, kw, OH, OW]: what a kernel kh x kw with
                                                      stride s, padding p (of `fill`) and dilation d sees
            fold(b t, h, w, sh, sw, ph, pw, dh, dw) -> t
                                                      [N, C, kh, kw, OH, OW] -> [N, C, h, w]: what windows hold is added
                                                      up where they saw it, in order of places in a window; what lies
                                                      beside the image is left out
            unpool(b x, b d, kh, kw, sh, sw, ph, pw, dh, dw, fill) -> t
                                                      [N, C, H, W], [N, C, OH, OW] -> like x: d added up at the first
                                                      greatest element of each window (nan is the greatest)
            argsort[descending](b t, int count?) -> int tensor    along the last axis, stable; nan is the greatest;
                                                  with a count, the first so many places (all, where there are fewer)
making      tensor(b x...) -> t                       of scalars, the dims of its static type
            iota(n) -> int[n]                         0, 1, ...
            orthogonal(c t[n, m]) -> t                rows (columns if n > m) made orthonormal, in order
            tensor_view(b v[?], at, n...) -> t or x   n... elements of a flat vector from `at` on; unchecked
adjoints    accumulate(c t, b v) -> t                 t + v, where either may have no elements, which stands for zeros
                                                      of the other's shape
            shaped(c t, b n...) -> t                  t; if it has no elements, zeros of the sizes n...
            add_product(c v[n], b a, b b, at) -> v    v with a.T @ b of two matrices added, flat, from `at` on
                                                      (passes/add_into.py); ValueError where they do not fit
compare     tensor_equal(b t, b t) -> bool            same shape and equal elements (nan differs)
transfers   to_device(b t) -> t                       a copy in the GPU's memory
            to_host(b t) -> t                         a copy in the host's; waits for the kernels that make t

Broadcasting is explicit. `axes` of map has one tuple for each operand, as long as the result's rank: which axis of the
operand an axis of the result is, or None where the operand does not vary (it has no such axis, or one of size 1, which
then appears nowhere). `axes` of broadcast and update is one such tuple. Axes that are named must agree in size: an
operand of size 1 there is a ValueError like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybridc.base.types import FLOATS, INTS, NUMBERS
from hybridc.core.ir import BOOL, F32, F64, INT, BufferT, Op, Prim, Program, TensorT, Type
from hybridc.core.optable import OpRow
from hybridc.core.tensor_faults import (
    broadcast_faults,
    concat_faults,
    index_faults,
    iota_faults,
    map_faults,
    matmul_faults,
    reduce_faults,
    reshape_faults,
)
from hybridc.core.types import elem, rank

REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
PREDICATES = COMPARISONS + ("not",)
ANYWHERE = ("to_device", "to_host", "dim", "reshape", "reshaped", "tensor_view")
"""Operators outside kernels that a tensor may be given to wherever it lies: the others of these never look at its
elements (unless their result is a scalar)."""


class Wrong(TypeError):
    """A use of an operator that does not fit its typing rule."""


Args = tuple[Type, ...]
Attrs = Mapping[str, object]


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise Wrong(message)


def _tensor(t: Type) -> TensorT:
    if not isinstance(t, TensorT):
        raise Wrong(f"{t} is not a tensor")
    return t


def _ints(types: Args) -> None:
    for t in types:
        _need(t == INT, f"{t} where an int is expected")


def _result(outs: Args, element: Prim, dims: int) -> None:
    _need(len(outs) == 1, f"{len(outs)} results instead of 1")
    _need(elem(outs[0]) == element and rank(outs[0]) == dims, f"the result is {element} of rank {dims}, not {outs[0]}")


def _axis(attrs: Attrs, dims: int, name: str = "axis") -> int:
    axis = attrs.get(name)
    if not isinstance(axis, int) or not 0 <= axis < dims:
        raise Wrong(f"{name} {axis} of rank {dims}")
    return axis


def _check_axes(axes: object, dims: int, result: int) -> tuple[int | None, ...]:
    """That an axes tuple is for an operand of `dims` dimensions: ascending, and as long as the result's rank."""
    if not isinstance(axes, tuple) or len(axes) != result:
        raise Wrong(f"axes {axes} for a result of rank {result}")
    named = [a for a in axes if a is not None]
    _need(named == sorted(set(named)) and all(0 <= a < dims for a in named), f"axes {axes} for rank {dims}")
    return axes


def kept_axes(kinds: tuple[str, ...]) -> list[int]:
    """The axes of the tensor that `index` leaves."""
    return [i for i, k in enumerate(kinds) if k not in ("i", "p")]


def _kinds(attrs: Attrs, t: Type, numbers: Args) -> tuple[str, ...]:
    kinds = attrs.get("kinds")
    if not isinstance(kinds, tuple) or len(kinds) != rank(t):
        raise Wrong(f"kinds {kinds} for rank {rank(t)}")
    _need(all(k in ("", "i", "p", "a", "b", "c", "ab", "ac", "bc", "abc") for k in kinds), f"kinds {kinds}")
    _need(len(numbers) == sum(map(len, kinds)), f"{len(numbers)} ints for kinds {kinds}")
    _ints(numbers)
    return kinds


# ---- rules -----------------------------------------------------------------------------------------------------------
def _dim(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(_tensor(args[0])))
    _need(outs == (INT,), "the result is an int")


def _reshape(args: Args, attrs: Attrs, outs: Args) -> None:
    _ints(args[1:])
    _result(outs, elem(args[0]), len(args) - 1)


def _transpose(args: Args, attrs: Attrs, outs: Args) -> None:
    perm = attrs.get("perm")
    if not isinstance(perm, tuple) or sorted(perm) != list(range(rank(args[0]))):
        raise Wrong(f"perm {perm} of rank {rank(args[0])}")
    _result(outs, elem(args[0]), rank(args[0]))


def _broadcast(args: Args, attrs: Attrs, outs: Args) -> None:
    _ints(args[1:])
    _check_axes(attrs.get("axes"), rank(args[0]), len(args) - 1)
    _result(outs, elem(args[0]), len(args) - 1)


def _map(args: Args, attrs: Attrs, outs: Args) -> None:
    fn, axes = attrs.get("fn"), attrs.get("axes")
    _need(isinstance(fn, str), f"fn {fn}")
    _need(len(outs) == 1 and rank(outs[0]) > 0, "the result is one tensor")
    if not isinstance(axes, tuple) or len(axes) != len(args) or not args:
        raise Wrong(f"axes {axes} for {len(args)} operands")
    seen: set[int] = set()
    for a, t in zip(axes, args, strict=True):
        seen |= {i for i, x in enumerate(_check_axes(a, rank(t), rank(outs[0]))) if x is not None}
    _need(len(seen) == rank(outs[0]), f"axes {axes} leave an axis of the result without size")
    operands = args[1:] if fn == "select" else args
    if fn == "select":
        _need(elem(args[0]) == BOOL, "the first operand of select is bool")
    _need(len({elem(t) for t in operands}) == 1, f"operands of {fn} of different types")
    if fn != "cast":
        _need(elem(outs[0]) == (BOOL if fn in PREDICATES else elem(operands[0])), f"{fn} does not give {outs[0]}")


def _reduce(args: Args, attrs: Attrs, outs: Args) -> None:
    fn, axes, t = attrs.get("fn"), attrs.get("axes"), _tensor(args[0])
    _need(fn in REDUCTIONS, f"fn {fn}")
    if not isinstance(axes, tuple) or list(axes) != sorted(set(axes)) or not axes or axes[-1] >= rank(t) or axes[0] < 0:
        raise Wrong(f"axes {axes} of rank {rank(t)}")
    if fn in ("any", "all"):
        _need(t.elem == BOOL, f"{fn} of {t.elem}")
    if fn in ("sum", "prod"):
        _need(t.elem in NUMBERS, f"{fn} of {t.elem}")
    _need(not attrs.get("least") or fn == "max" and t.elem in FLOATS, "least is for max of floats")
    _need(not attrs.get("first") or fn == "max", "first is for max")
    if fn in ("argmax", "argmin"):
        _need(len(axes) == 1, f"{fn} over several axes")
    _result(outs, INT if fn in ("argmax", "argmin") else t.elem, rank(t) - len(axes))


def _cumsum(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(args[0]))
    _need(elem(args[0]) in NUMBERS, "cumsum of numbers")
    _result(outs, elem(args[0]), rank(args[0]))


def _matmul(args: Args, attrs: Attrs, outs: Args) -> None:
    a, b = rank(_tensor(args[0])), rank(_tensor(args[1]))
    _need(min(a, b) >= 2 and (a == b or min(a, b) == 2), f"ranks {a} and {b}")
    _need(elem(args[0]) == elem(args[1]) and elem(args[0]) in NUMBERS, "operands of one number type")
    _need(isinstance(attrs.get("ta"), bool) and isinstance(attrs.get("tb"), bool), "ta and tb are bools")
    _result(outs, elem(args[0]), max(a, b))


def _index(args: Args, attrs: Attrs, outs: Args) -> None:
    _result(outs, elem(args[0]), len(kept_axes(_kinds(attrs, args[0], args[1:]))))


def _update(args: Args, attrs: Attrs, outs: Args) -> None:
    kinds = _kinds(attrs, args[0], args[2:])
    _check_axes(attrs.get("axes"), rank(args[1]), len(kept_axes(kinds)))
    _need(elem(args[0]) == elem(args[1]), "the value has the element type of the tensor")
    _need(attrs.get("fn", "set") in ("set", "add"), f"fn {attrs.get('fn')}")
    _need(attrs.get("fn") != "add" or elem(args[0]) in NUMBERS, "adding needs numbers")
    _result(outs, elem(args[0]), rank(args[0]))


def _accumulate(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(elem(args[0]) == elem(args[1]) and elem(args[0]) in NUMBERS, "two tensors of one number type")
    _need(rank(args[0]) == rank(args[1]) > 0, "two tensors of one rank")
    _result(outs, elem(args[0]), rank(args[0]))


def _shaped(args: Args, attrs: Attrs, outs: Args) -> None:
    _ints(args[1:])
    _need(len(args) - 1 == rank(_tensor(args[0])), "a size for each axis")
    _result(outs, elem(args[0]), rank(args[0]))


def _add_product(args: Args, attrs: Attrs, outs: Args) -> None:
    _ints(args[3:])
    _need(rank(args[0]) == 1 and rank(args[1]) == rank(args[2]) == 2, "a vector and two matrices")
    _need(elem(args[0]) == elem(args[1]) == elem(args[2]) in (F32, F64), "all f32 or all f64")
    _result(outs, elem(args[0]), 1)


def _take(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(_tensor(args[0])))
    _need(elem(args[1]) in INTS, "indices are ints")
    _need(isinstance(attrs.get("wrap"), bool), "wrap is a bool")
    _result(outs, elem(args[0]), rank(args[0]) - 1 + rank(args[1]))


def _put(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(_tensor(args[0])))
    _need(attrs.get("fn") in ("set", "add", "sub"), f"fn {attrs.get('fn')}")
    _need(elem(args[1]) in INTS and elem(args[2]) == elem(args[0]), "int indices, and a value of the tensor's type")
    _need(rank(args[2]) == rank(args[0]) - 1 + rank(args[1]), f"a value of rank {rank(args[2])}")
    _result(outs, elem(args[0]), rank(args[0]))


def _gather(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(_tensor(args[0])))
    _need(elem(args[1]) in INTS and rank(args[1]) == rank(args[0]), "int indices of the tensor's rank")
    _result(outs, elem(args[0]), rank(args[0]))


def _scatter(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(attrs.get("fn") in ("set", "add"), f"fn {attrs.get('fn')}")
    _need(elem(args[2]) == elem(args[0]) and rank(args[2]) == rank(args[0]), "a value of the tensor's type and rank")
    _gather(args[:2], attrs, outs)


def _nonzero(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(elem(args[0]) == BOOL and rank(args[0]) == 1, "a mask of one dimension")
    _result(outs, INT, 1)


def _concat(args: Args, attrs: Attrs, outs: Args) -> None:
    _axis(attrs, rank(_tensor(args[0])))
    _need(len({(elem(t), rank(t)) for t in args}) == 1, "operands of one element type and rank")
    _result(outs, elem(args[0]), rank(args[0]))


def _items(args: Args) -> Type:
    _ints(args[1:2])
    if not isinstance(args[0], BufferT) or not isinstance(args[0].item, (TensorT, Prim)):
        raise Wrong(f"{args[0]} is not a buffer of tensors or scalars")
    return args[0].item


def _stack(args: Args, attrs: Attrs, outs: Args) -> None:
    item = _items(args)
    _result(outs, elem(item), rank(item) + 1)


def _join(args: Args, attrs: Attrs, outs: Args) -> None:
    item = _items(args)
    _axis(attrs, rank(item))
    _result(outs, elem(item), rank(item))


def _windows(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(rank(args[0]) == 4, "a tensor of rank 4")
    _ints(args[1:9])
    _need(args[9] == elem(args[0]), "fill has the element type")
    _result(outs, elem(args[0]), 6)


def _fold(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(rank(args[0]) == 6 and elem(args[0]) in (F32, F64), "floats of rank 6")
    _ints(args[1:])
    _result(outs, elem(args[0]), 4)


def _unpool(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(rank(args[0]) == 4 and elem(args[0]) in (F32, F64), "floats of rank 4")
    _need(rank(args[1]) == 4 and elem(args[1]) == args[10] == elem(args[0]), "d and fill of the same element type")
    _ints(args[2:10])
    _result(outs, elem(args[0]), 4)


def _argsort(args: Args, attrs: Attrs, outs: Args) -> None:
    _tensor(args[0])
    _need(len(args) < 3, "a tensor and perhaps a count")
    _ints(args[1:])
    _need(isinstance(attrs.get("descending"), bool), "descending is a bool")
    _result(outs, INT, rank(args[0]))


def _make(args: Args, attrs: Attrs, outs: Args) -> None:
    t = _tensor(outs[0]) if len(outs) == 1 else None
    _need(t is not None and all(a == t.elem for a in args), "scalars of one type")
    count = 1
    for d in t.dims:  # type: ignore[union-attr]
        _need(d is not None, "the result has constant dimensions")
        count *= d  # type: ignore[operator]
    _need(count == len(args), f"{len(args)} elements for {t}")


def _iota(args: Args, attrs: Attrs, outs: Args) -> None:
    _ints(args)
    _result(outs, INT, 1)


def _orthogonal(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(rank(args[0]) == 2 and elem(args[0]) in FLOATS, "a float matrix")
    _result(outs, elem(args[0]), 2)


def _view(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(rank(args[0]) == 1, "a vector")
    _ints(args[1:])
    _result(outs, elem(args[0]), len(args) - 2)


def _moved(to: bool) -> Callable[[Args, Attrs, Args], None]:
    def rule(args: Args, attrs: Attrs, outs: Args) -> None:
        _result(outs, elem(args[0]), rank(_tensor(args[0])))
        _need(_tensor(args[0]).device != to and _tensor(outs[0]).device == to, "from one memory to the other")

    return rule


def _equal(args: Args, attrs: Attrs, outs: Args) -> None:
    _need(elem(args[0]) == elem(args[1]) and rank(_tensor(args[0])) == rank(_tensor(args[1])), "tensors of one type")
    _need(outs == (BOOL,), "the result is a bool")


def _row(
    name: str, rule: Callable[[Args, Attrs, Args], None], count: int, more: bool = False, own: str = "b",
    alias: bool = False, late: bool = False, faults: bool = True, fault_if: Callable[[Op], bool] | None = None,
) -> OpRow:
    """`count` arguments, or at least as many if `more`."""

    def check(args: Args, attrs: Attrs, outs: Args, program: Program) -> str | None:
        if len(args) < count or (len(args) > count and not more):
            return f"{len(args)} arguments instead of {count}"
        try:
            rule(args, attrs, outs)
        except TypeError as wrong:
            return str(wrong)
        return None

    return OpRow(name, check, own, alias, late=late, faults=faults, fault_if=fault_if)


TENSOR_ROWS: tuple[OpRow, ...] = (
    _row("dim", _dim, 1, faults=False),
    _row("reshape", _reshape, 1, more=True, own="cb", fault_if=reshape_faults),
    _row("reshaped", _reshape, 1, more=True, alias=True, faults=False),
    _row("transpose", _transpose, 1, faults=False),
    _row("broadcast", _broadcast, 1, more=True, fault_if=broadcast_faults),
    _row("map", _map, 1, more=True, fault_if=map_faults),
    _row("reduce", _reduce, 1, fault_if=reduce_faults),
    _row("cumsum", _cumsum, 1, faults=False),
    _row("matmul", _matmul, 2, fault_if=matmul_faults),
    _row("index", _index, 1, more=True, fault_if=index_faults),
    _row("part", _index, 1, more=True, alias=True, fault_if=index_faults),
    _row("update", _update, 2, more=True, own="cb"),
    _row("take", _take, 2),
    _row("put", _put, 3, own="cb"),
    _row("gather", _gather, 2),
    _row("scatter", _scatter, 3, own="cb"),
    _row("nonzero", _nonzero, 1, faults=False),
    _row("concat", _concat, 1, more=True, fault_if=concat_faults),
    _row("stack", _stack, 2),
    _row("join", _join, 2),
    _row("windows", _windows, 10),
    _row("fold", _fold, 9),
    _row("unpool", _unpool, 11),
    _row("argsort", _argsort, 1, more=True, faults=False),
    _row("tensor", _make, 0, more=True, faults=False),
    _row("iota", _iota, 1, fault_if=iota_faults),
    _row("orthogonal", _orthogonal, 1, own="c", faults=False),
    _row("tensor_view", _view, 2, more=True, alias=True, faults=False),
    _row("accumulate", _accumulate, 2, own="cb", late=True),
    _row("shaped", _shaped, 1, more=True, own="cb", late=True),
    _row("add_product", _add_product, 4, own="cb", late=True),
    _row("tensor_equal", _equal, 2, faults=False),
    _row("to_device", _moved(True), 1, late=True),
    _row("to_host", _moved(False), 1, late=True),
)
