"""Which sizes of tensors are known to be equal where a statement stands: what operators before it have compared, what
branches have asked, and what results have of their operands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hybridc.core.ir import INT, Atom, Const, If, Op, Stmt, TensorT, Var
from hybridc.core.tensor_ops import kept_axes
from hybridc.core.types import rank
from hybridc.core.walk import ends_in_yield

Size = tuple[int, int]
"""That of an axis of a variable; of an int, with axis -1; a constant, as (number, -2)."""


class Agreed:
    """Classes of sizes that are equal, by union-find. What is learnt `within` a block is forgotten at its end."""

    def __init__(self) -> None:
        self.above: dict[Size, Size] = {}
        self.learnt: list[Size] = []
        self.compared: dict[int, Op] = {}
        """Comparisons of ints, by their results."""

    @contextmanager
    def within(self) -> Iterator[None]:
        before = len(self.learnt)
        yield
        while len(self.learnt) > before:
            del self.above[self.learnt.pop()]

    def size(self, x: Atom, axis: int) -> Size:
        """That of a tensor along an axis."""
        assert isinstance(x, Var) and isinstance(x.type, TensorT)
        n = x.type.dims[axis]
        return (x.id, axis) if n is None else (n, -2)

    def number(self, n: Atom) -> Size:
        return (int(n.value), -2) if isinstance(n, Const) else (n.id, -1)

    def root(self, s: Size) -> Size:
        while s in self.above:
            s = self.above[s]
        return s

    def same(self, a: Size, b: Size) -> bool:
        return self.root(a) == self.root(b)

    def learn(self, a: Size, b: Size) -> None:
        a, b = self.root(a), self.root(b)
        if a == b or a[1] == b[1] == -2:
            return
        if a[1] == -2:  # a constant is above all that equals it
            a, b = b, a
        self.above[a] = b
        self.learnt.append(a)

    def fits(self, op: Op) -> bool:
        """Is it known before a `map` that the sizes which it compares are equal?"""
        return all(self.same(first, s) for first, *rest in self.named(op) for s in rest)

    def named(self, op: Op) -> list[list[Size]]:
        """For each axis of a map's result, the sizes that it compares; none for an axis that has none."""
        axes = op.attr("axes")
        assert isinstance(axes, tuple)
        pairs = list(zip(op.args, axes, strict=True))
        found = [[self.size(a, own[i]) for a, own in pairs if own[i] is not None] for i in range(len(axes[0]))]
        return [sizes for sizes in found if sizes]

    def after(self, stmt: Stmt) -> None:
        """What is known once the statement has been run."""
        if isinstance(stmt, If):
            self.branch(stmt)
        elif isinstance(stmt, Op) and stmt.op in ("eq", "ne") and stmt.args[0].type == INT:
            self.compared[stmt.outs[0].id] = stmt
        elif isinstance(stmt, Op) and stmt.op in ROWS:
            for a, b in ROWS[stmt.op](self, stmt):
                self.learn(a, b)

    def branch(self, stmt: If) -> None:
        """One that goes on only where two ints are equal."""
        asked = self.compared.get(stmt.cond.id) if isinstance(stmt.cond, Var) else None
        if asked is not None and not ends_in_yield(stmt.orelse if asked.op == "eq" else stmt.then):
            a, b = map(self.number, asked.args)
            self.learn(a, b)


# ---- one row for each operator: sizes that are equal after it -----------------------------------------------------
Pairs = Iterable[tuple[Size, Size]]


def _map(sizes: Agreed, op: Op) -> Pairs:
    axes = op.attr("axes")
    assert isinstance(axes, tuple)
    for a, own in zip(op.args, axes, strict=True):
        for i, axis in enumerate(own):
            if axis is not None:
                yield sizes.size(op.outs[0], i), sizes.size(a, axis)


def _reduce(sizes: Agreed, op: Op) -> Pairs:
    if isinstance(op.outs[0].type, TensorT):
        left = [i for i in range(rank(op.args[0].type)) if i not in op.attr("axes")]  # type: ignore[operator]
        for i, axis in enumerate(left):
            yield sizes.size(op.outs[0], i), sizes.size(op.args[0], axis)


def _dim(sizes: Agreed, op: Op) -> Pairs:
    axis = op.attr("axis")
    assert isinstance(axis, int)
    yield sizes.number(op.outs[0]), sizes.size(op.args[0], axis)


def _given(sizes: Agreed, op: Op) -> Pairs:
    for i, n in enumerate(op.args[1:]):
        yield sizes.size(op.outs[0], i), sizes.number(n)


def _transpose(sizes: Agreed, op: Op) -> Pairs:
    perm: tuple[int, ...] = op.attr("perm")  # type: ignore[assignment]
    for i, axis in enumerate(perm):
        yield sizes.size(op.outs[0], i), sizes.size(op.args[0], axis)


def _same(sizes: Agreed, op: Op) -> Pairs:
    for i in range(rank(op.outs[0].type)):
        yield sizes.size(op.outs[0], i), sizes.size(op.args[0], i)


def _matmul(sizes: Agreed, op: Op) -> Pairs:
    (x, y), out = op.args, op.outs[0]
    yield sizes.size(out, rank(out.type) - 2), sizes.size(x, rank(x.type) - (1 if op.attr("ta") else 2))
    yield sizes.size(out, rank(out.type) - 1), sizes.size(y, rank(y.type) - (2 if op.attr("tb") else 1))


def _index(sizes: Agreed, op: Op) -> Pairs:
    kinds = op.attr("kinds")
    assert isinstance(kinds, tuple)
    for i, axis in enumerate(kept_axes(kinds)):  # type: ignore[arg-type]
        if kinds[axis] == "":
            yield sizes.size(op.outs[0], i), sizes.size(op.args[0], axis)


ROWS: dict[str, Callable[[Agreed, Op], Pairs]] = {
    "map": _map, "reduce": _reduce, "dim": _dim, "shaped": _given, "broadcast": _given, "transpose": _transpose,
    "cumsum": _same, "update": _same, "matmul": _matmul, "index": _index, "part": _index,
}
