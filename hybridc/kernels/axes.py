"""Which axes of the tensors of a fused region run together.

Every axis of every value is put into a class with those it has to agree with in size (the axes that a `map` names
together, what a reduction keeps, the rows of a product). A class is one axis of the iteration; one of size 1 is none.
"""

from __future__ import annotations

from hybridc.core.ir import Atom, Const, Op, TensorT, Var
from hybridc.core.types import rank


class Unfit(Exception):
    """Why operators cannot be one kernel."""


class Axes:
    """Classes of axes, by union-find."""

    def __init__(self) -> None:
        self.above: list[int] = []
        self.static: list[int | None] = []
        """The size, where it is known."""
        self.known_by: list[tuple[Var, int] | None] = []
        """An axis of a tensor from outside that has this size."""
        self.given: list[Atom | None] = []
        """An int from outside that is this size."""
        self.total_of: list[tuple[int, ...]] = []
        """Classes whose sizes add up to this one."""
        self.of_var: dict[int, tuple[int, ...]] = {}

    def new(self, static: int | None = None, known_by: tuple[Var, int] | None = None) -> int:
        self.above.append(len(self.above))
        self.static.append(static)
        self.known_by.append(known_by)
        self.given.append(None)
        self.total_of.append(())
        return len(self.above) - 1

    def find(self, c: int) -> int:
        while self.above[c] != c:
            c = self.above[c]
        return c

    def unify(self, a: int, b: int) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        if a == b:
            return
        x, y = self.static[a], self.static[b]
        if x is not None and y is not None and x != y:
            raise Unfit(f"sizes {x} and {y} differ")
        self.above[b] = a
        self.static[a] = x if x is not None else y
        self.known_by[a] = self.known_by[a] or self.known_by[b]
        self.given[a] = self.given[a] or self.given[b]
        self.total_of[a] = self.total_of[a] or self.total_of[b]

    def is_one(self, c: int) -> bool:
        return self.static[self.find(c)] == 1

    def size(self, c: int) -> int | None:
        return self.static[self.find(c)]

    def known(self, c: int) -> bool:
        """Is there a way to get at the size?"""
        c = self.find(c)
        total = self.total_of[c]
        there = self.static[c] is not None or self.known_by[c] is not None or self.given[c] is not None
        return there or bool(total) and all(map(self.known, total))

    def set_size(self, c: int, size: int) -> None:
        self.unify(c, self.new(size))

    def define(self, v: Var, outside: bool) -> tuple[int, ...]:
        """Classes of its own for a variable's axes."""
        dims = v.type.dims if isinstance(v.type, TensorT) else ()
        self.of_var[v.id] = tuple(self.new(d, (v, i) if outside else None) for i, d in enumerate(dims))
        return self.of_var[v.id]

    def of(self, v: Var) -> tuple[int, ...]:
        return self.of_var[v.id]

    def shape(self, v: Var) -> tuple[int, ...]:
        """The classes of a variable's axes, without those of size 1."""
        return tuple(self.find(c) for c in self.of_var[v.id] if not self.is_one(c))

    def wide(self, v: Var) -> list[int]:
        return [c for c in self.of_var[v.id] if not self.is_one(c)]


def whole_number(a: object) -> int:
    """A constant int."""
    if not isinstance(a, Const):
        raise Unfit("a size or bound is not known when compiling")
    return int(a.value)


def slice_bounds(op: Op, size: int) -> tuple[int, int]:
    """Start and length of a constant slice of the last axis, as Python clamps them."""
    kind = op.attr("kinds")[-1]  # type: ignore[index]
    given = dict(zip(kind, (whole_number(a) for a in op.args[1:]), strict=True))
    start, stop, _ = slice(given.get("a"), given.get("b")).indices(size)
    return start, max(stop - start, 0)


def relate(op: Op, axes: Axes) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Define the classes of the operator's result and unify what it makes agree. For a reshape that only puts other
    leading axes in place of those there were, the two tuples of leading axes."""
    out, first = op.outs[0], op.args[0] if op.args else None
    res = axes.define(out, False)
    match op.op:
        case "map":
            for named, a in zip(op.attr("axes"), op.args, strict=True):  # type: ignore[call-overload]
                own = axes.of(a) if isinstance(a, Var) and isinstance(a.type, TensorT) else ()
                for i, axis in enumerate(named):
                    if axis is not None:
                        axes.unify(res[i], own[axis])
                for i, c in enumerate(own):
                    if i not in named:
                        axes.set_size(c, 1)
        case "reduce":
            kept = iter(res)
            for i, c in enumerate(axes.of(first)):  # type: ignore[arg-type]
                if i not in op.attr("axes"):  # type: ignore[operator]
                    axes.unify(next(kept), c)
        case "index":
            kinds = op.attr("kinds")
            own = axes.of(first)  # type: ignore[arg-type]
            if any(kinds[:-1]) or kinds[-1] not in ("a", "b", "ab"):  # type: ignore[index]
                raise Unfit("only constant slices of the last axis are views")
            size = axes.size(own[-1])
            if size is None:
                raise Unfit("a slice of an axis of unknown size")
            axes.set_size(res[-1], slice_bounds(op, size)[1])
            for r, c in zip(res[:-1], own[:-1], strict=True):
                axes.unify(r, c)
        case "concat":
            if op.attr("axis") != rank(out.type) - 1:
                raise Unfit("concatenated along another axis than the last")
            parts = [axes.of(a) for a in op.args]  # type: ignore[arg-type]
            for own in parts:
                for r, c in zip(res[:-1], own[:-1], strict=True):
                    axes.unify(r, c)
            axes.total_of[axes.find(res[-1])] = tuple(own[-1] for own in parts)
            sizes = [axes.size(own[-1]) for own in parts]
            if None not in sizes:
                axes.set_size(res[-1], sum(s for s in sizes if s is not None))
        case "matmul":
            left, right = (axes.of(v) for v in op.args)  # type: ignore[arg-type]
            m, k = (left[-1], left[-2]) if op.attr("ta") else (left[-2], left[-1])
            n, inner = (right[-2], right[-1]) if op.attr("tb") else (right[-1], right[-2])
            axes.unify(k, inner)
            axes.unify(res[-2], m)
            axes.unify(res[-1], n)
            for operand in (left, right):
                if len(operand) > 2:
                    for r, c in zip(res[:-2], operand[:-2], strict=True):
                        axes.unify(r, c)
        case "gather":
            for r, c in zip(res, axes.of(op.args[1]), strict=True):  # type: ignore[arg-type]
                axes.unify(r, c)
        case "broadcast":
            for r, wanted in zip(res, op.args[1:], strict=True):
                axes.set_size(r, whole_number(wanted))
            if isinstance(first, Var):
                own = axes.of(first) if isinstance(first.type, TensorT) else ()
                for i, axis in enumerate(op.attr("axes")):  # type: ignore[arg-type]
                    if axis is not None:
                        axes.unify(res[i], own[axis])
                for i, c in enumerate(own):
                    if i not in op.attr("axes"):  # type: ignore[operator]
                        axes.set_size(c, 1)
        case "iota":
            if isinstance(first, Const):
                axes.set_size(res[0], whole_number(first))
            else:
                axes.given[axes.find(res[0])] = first
        case "reshape":
            return _reshape(op, axes)
        case _:
            raise Unfit(f"{op.op} is a kernel of its own")
    return None


def _reshape(op: Op, axes: Axes) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    source, out = op.args[0], op.outs[0]
    if not isinstance(source, Var) or not isinstance(source.type, TensorT) or not isinstance(out.type, TensorT):
        raise Unfit("a reshape from or to a scalar")
    for r, size in zip(axes.of(out), op.args[1:], strict=True):
        if isinstance(size, Const) and size.value >= 0:
            axes.set_size(r, int(size.value))
    old, new = axes.wide(source), axes.wide(out)
    if 0 in map(axes.size, (*old, *new)):
        raise Unfit("a reshape of nothing, which says nothing of the other axes")
    if len(old) == len(new):
        open_ = [i for i, (c, d) in enumerate(zip(old, new, strict=True)) if None in (axes.size(c), axes.size(d))]
        if len(open_) <= 1:
            for x, y in zip(old, new, strict=True):
                axes.unify(x, y)
            return None
    if old and new:
        columns = axes.size(old[-1])
        if columns is not None and columns == axes.size(new[-1]):
            axes.unify(old[-1], new[-1])
            return tuple(old[:-1]), tuple(new[:-1])
    raise Unfit("a reshape that mixes rows and columns")
