"""`x[i, :, idx]` and updates of such places to Core."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.dims import Dim, PackVar
from hybridc.base.types import BOOL, INT, Tensor, Type
from hybridc.core import ir
from hybridc.core import tensor_build as t
from hybridc.core.types import elem, rank
from hybridc.front.check import tree
from hybridc.front.lower import tensor_layers as tensor_lower_layers
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.tensor_base import ones, operate, stretched, zip_map


class Indices:
    """Evaluated indices of a tensor of rank `count`: `kinds` and `ints` of the basic ones, and the tensors, each with
    its axis of what the basic ones leave."""

    def __init__(self, lw: Lowerer, indices: Sequence[tree.Expr | tree.SliceIndex], count: int):
        self.kinds: list[str] = []
        self.ints: list[ir.Atom] = []
        self.tensors: list[tuple[int, ir.Atom, Type]] = []
        kept = 0
        for n, i in enumerate(indices):
            if isinstance(i, tree.SliceIndex) and i.rest:
                left = count - len(self.kinds) - sum(_covers(x) for x in indices[n + 1:])
                self.kinds += [""] * left
                kept += left
            elif isinstance(i, tree.SliceIndex):
                kind = ""
                for letter, bound in zip("abc", (i.start, i.stop, i.step), strict=True):
                    if bound is not None:
                        kind += letter
                        self.ints.append(lw.expr(bound))
                self.kinds.append(kind)
                kept += 1
            else:
                value = lw.expr(i)
                if isinstance(value.type, ir.TensorT):
                    self.tensors.append((kept, value, i.type))
                    covers = rank(value.type) if value.type.elem == BOOL else 1
                    self.kinds += [""] * covers
                    kept += covers
                else:
                    self.kinds.append("i")
                    self.ints.append(value)
        self.kinds += [""] * (count - len(self.kinds))

    @property
    def basic(self) -> bool:
        """The basic indices select everything."""
        return not any(self.kinds)


def _covers(index: tree.Expr | tree.SliceIndex) -> int:
    """How many axes an index is for: of a mask all that it has."""
    if isinstance(index, tree.SliceIndex) or not isinstance(index.type, Tensor) or index.type.elem != BOOL:
        return 1
    return len(index.type.shape)


class Picked:
    """What the tensors among the indices pick from `part`: elements `indices` of axis `at` of `merged`, in which the
    axes that they cover are one."""

    def __init__(self, lw: Lowerer, part: ir.Atom, found: Indices):
        self.lw, self.sizes = lw, t.dims(lw.b, part)
        self.perm = list(range(rank(part.type)))
        self.at, first, _ = found.tensors[0]
        if elem(first.type) == BOOL:
            self.covers = rank(first.type)
            _check_mask(lw, part, first, self.at)
            self.merged = self._merge(part)
            flat = first if self.covers == 1 else t.reshape(lw.b, first, [t.product(lw.b, t.dims(lw.b, first))])
            self.indices = t.nonzero(lw.b, flat)
            return
        self.covers = len(found.tensors)
        axes = [at for at, _, _ in found.tensors]
        if axes != list(range(self.at, self.at + self.covers)):
            self.at, self.perm = 0, [*axes, *(i for i in self.perm if i not in axes)]
        self.merged = self._merge(t.transpose(lw.b, part, self.perm))
        self.indices = self._row_major(found) if self.covers > 1 else first

    def _merge(self, part: ir.Atom) -> ir.Atom:
        if self.covers == 1:
            return part
        sizes, end = t.dims(self.lw.b, part), self.at + self.covers
        return t.reshape(self.lw.b, part, [*sizes[:self.at], t.product(self.lw.b, sizes[self.at:end]), *sizes[end:]])

    def _row_major(self, found: Indices) -> ir.Atom:
        """Several indices as one, of elements in row-major order; each is checked against its own axis."""
        b = self.lw.b
        total: ir.Atom | None = None
        written: Type = INT
        for axis, idx, kind in found.tensors:
            size = self.sizes[axis]
            inside = t.take(b, t.iota(b, size), 0, idx, True)
            if total is None:
                total, written = inside, kind
            else:
                total = zip_map(self.lw, "add", [t.map(b, "mul", [total, size], _beside_number(total)), inside],
                                [written, kind])
                written = _together(written, kind)
        assert total is not None
        return total

    def back(self, new: ir.Atom) -> ir.Atom:
        """`merged`, changed, in the form of `part`."""
        if self.covers > 1:
            new = t.reshape(self.lw.b, new, [self.sizes[i] for i in self.perm])
        return t.transpose(self.lw.b, new, [self.perm.index(i) for i in range(len(self.perm))])


def _beside_number(x: ir.Atom) -> list[t.Axes]:
    return [tuple(range(rank(x.type))), (None,) * rank(x.type)]


def _together(a: Type, b: Type) -> Type:
    """The type of two tensors of ints that broadcast."""
    shapes = [s.shape if isinstance(s, Tensor) else () for s in (a, b)]
    longest = max(map(len, shapes))
    out: list[Dim | PackVar] = []
    for back in range(longest, 0, -1):
        items = [s[-back] for s in shapes if len(s) >= back]
        out.append(next((d for d in items if d != Dim.of(1)), items[0]))
    return Tensor(INT, tuple(out))


def _check_mask(lw: Lowerer, part: ir.Atom, mask: ir.Atom, at: int) -> None:
    for i in range(rank(mask.type)):
        want, have = t.dim(lw.b, part, at + i), t.dim(lw.b, mask, i)
        if want != have:
            ok = lw.b.op("eq", [want, have], ir.BOOL)
            lw.check(ok, "ValueError", "a mask's shape is not that of what it selects from")


def lower_index(lw: Lowerer, node: tree.TensorIndex) -> ir.Atom:
    whole = lw.expr(node.value)
    found = Indices(lw, node.indices, rank(whole.type))
    lw.b.span = node.span
    part = t.index(lw.b, whole, found.kinds, found.ints)
    if not found.tensors:
        return part
    picked = Picked(lw, part, found)
    return t.take(lw.b, picked.merged, picked.at, picked.indices, True)


def assign_index(
    lw: Lowerer, base: ir.Atom, place: tree.PlaceTensor, op: str | None, value: ir.Atom, value_type: Type
) -> ir.Atom:
    """`base` with the place assigned, or updated with `op`; `value_type` is the value's type as written."""
    found = Indices(lw, place.indices, rank(base.type))
    lw.b.span = place.span
    if not found.tensors:
        if op in ("+", "-") and not found.basic:
            # One operator: nothing but the value is in memory of its own, and derivatives pass through.
            added = value if op == "+" else t.map(lw.b, "neg", [value])
            return _update(lw, base, found, added, value_type, fn="add")
        if op is not None:
            old = t.index(lw.b, base, found.kinds, found.ints)
            value, value_type = combine(lw, op, old, value, place.type, value_type), place.type
        if found.basic and rank(value.type) == rank(base.type) and op is not None:
            return value
        return _update(lw, base, found, value, value_type)
    picked = Picked(lw, t.index(lw.b, base, found.kinds, found.ints), found)
    shape = t.dims(lw.b, picked.merged)
    shape[picked.at : picked.at + 1] = t.dims(lw.b, picked.indices)
    if op is not None and op not in ("+", "-"):
        old = t.take(lw.b, picked.merged, picked.at, picked.indices, True)
        value, value_type = combine(lw, op, old, value, place.type, value_type), place.type
    how = {"+": "add", "-": "sub"}.get(op or "", "set")
    axes = stretched(lw, value_type, rank(value.type), len(shape))
    if axes != tuple(range(rank(value.type))):
        value = t.broadcast(lw.b, value, axes, shape)
    new = picked.back(t.put(lw.b, picked.merged, picked.at, picked.indices, value, how))
    if found.basic:
        return new
    return _update(lw, base, found, new, None)


def combine(lw: Lowerer, op: str, old: ir.Atom, value: ir.Atom, place: Type, value_type: Type) -> ir.Atom:
    if op == "@":
        flags = ones(place, rank(old.type)), ones(value_type, rank(value.type))
        return tensor_lower_layers.matmul(lw, old, value, *flags)
    return operate(lw, op, old, value, place, value_type)


def _update(
    lw: Lowerer, base: ir.Atom, found: Indices, value: ir.Atom, value_type: Type | None, **attrs: str,
) -> ir.Atom:
    """The part that the basic indices name, replaced, or with `fn="add"` the value added to it."""
    kept = sum(k != "i" for k in found.kinds)
    axes = tuple(range(kept)) if value_type is None else stretched(lw, value_type, rank(value.type), kept)
    return t.update(lw.b, base, found.kinds, value, found.ints, axes, **attrs)


__all__ = ["Indices", "assign_index", "lower_index"]
