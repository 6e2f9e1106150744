"""Places: what is assigned or passed as `mut`. An access has evaluated its index expressions, once, in order.

`load` and `store` read and write the whole place. `take` and `put` go together: between them the place holds nothing of
use, so that the value has a single owner and is changed in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hybridc.base.types import STD_TYPES, STR, ModelType, Named, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower import derive
from hybridc.front.lower.core import Lowerer, Parts, Value
from hybridc.front.lower.scan import assigned, place_root
from hybridc.front.lower.tensor_index import assign_index


class Access(ABC):
    """A place of type `type` (concrete)."""

    def __init__(self, lw: Lowerer, type: Type):
        self.lw, self.type = lw, type

    @abstractmethod
    def load(self) -> Value:
        """What is there."""

    @abstractmethod
    def store(self, value: Value) -> None:
        """Put another value there."""

    def take(self) -> Value:
        return self.load()

    def put(self, value: Value) -> None:
        self.store(value)


class VarAccess(Access):
    """A variable, or a field at any depth of one that is kept apart."""

    def __init__(self, lw: Lowerer, type: Type, key: str, path: tuple[int, ...] = ()):
        super().__init__(lw, type)
        self.key, self.path = key, path

    def load(self) -> Value:
        value = self.lw.read(self.key)
        for index in self.path:
            value = self.lw.item(value, index)
        return value

    def store(self, value: Value) -> None:
        old = self.lw.read(self.key)
        self.lw.env[self.key] = replaced(self.lw, old, self.path, self.lw.apart(value))


def replaced(lw: Lowerer, old: Value, path: Sequence[int], new: Value) -> Value:
    """The value with the field at `path` replaced."""
    if not path:
        return new
    old = lw.apart(old)
    assert isinstance(old, Parts)
    items = list(old.items)
    items[path[0]] = replaced(lw, items[path[0]], path[1:], new)
    return Parts(old.type, tuple(items))


class PartAccess(Access):
    """A field of an element: taken with it."""

    def __init__(self, lw: Lowerer, type: Type, base: Access, index: int):
        super().__init__(lw, type)
        self.base, self.index = base, index
        self.rest: Value | None = None

    def load(self) -> Value:
        return self.lw.item(self.base.load(), self.index)

    def store(self, value: Value) -> None:
        whole = self.base.take()
        self.base.put(replaced(self.lw, whole, (self.index,), value))

    def take(self) -> Value:
        self.rest = self.lw.apart(self.base.take())
        return self.lw.item(self.rest, self.index)

    def put(self, value: Value) -> None:
        assert self.rest is not None
        self.base.put(replaced(self.lw, self.rest, (self.index,), value))


class ElementAccess(Access):
    """`xs[i]`, `m[k]` of a container."""

    def __init__(self, lw: Lowerer, type: Type, base: Access, index: Value):
        super().__init__(lw, type)
        self.base, self.index = base, lw.whole(index)

    def load(self) -> Value:
        return self.lw.call_method(self.base.type, "_get", [self.lw.whole(self.base.load()), self.index])[0]

    def store(self, value: Value) -> None:
        self._write("_set", value)

    def take(self) -> Value:
        whole = self.lw.whole(self.base.take())
        value, rest = self.lw.call_method(self.base.type, "_take", [whole, self.index])
        self.base.put(rest)
        return value

    def put(self, value: Value) -> None:
        self._write("_put", value)

    def _write(self, method: str, value: Value) -> None:
        new = self.lw.whole(value)
        whole = self.lw.whole(self.base.take())
        self.base.put(self.lw.call_method(self.base.type, method, [whole, self.index, new])[0])


class SomeAccess(Access):
    """The value of an option that is known to have one."""

    def __init__(self, lw: Lowerer, type: Type, base: Access):
        super().__init__(lw, type)
        self.base = base

    def load(self) -> Value:
        return self._value(self.base.load())

    def store(self, value: Value) -> None:
        self.base.store(self._option(value))

    def take(self) -> Value:
        return self._value(self.base.take())

    def put(self, value: Value) -> None:
        self.base.put(self._option(value))

    def _value(self, option: Value) -> Value:
        return self.lw.op("unwrap", [self.lw.whole(option)], self.lw.ctx.types.inner(self.type))

    def _option(self, value: Value) -> Value:
        return self.lw.op("some", [self.lw.whole(value)], self.lw.ctx.types.inner(self.base.type))


class TensorAccess(Access):
    """`t[i, j]`, `t[:, 0]`, `t[idx]`; the place's indices are constants and variables."""

    def __init__(self, lw: Lowerer, type: Type, base: Access, place: tree.PlaceTensor):
        super().__init__(lw, type)
        self.base, self.place = base, place

    def load(self) -> Value:
        whole = self.lw.local("tensor", self.base.type, self.base.load())
        return self.lw.value(tree.TensorIndex(self.place.type, self.place.span, whole, self.place.indices))

    def store(self, value: Value) -> None:
        self.update(None, value, self.type)

    def update(self, op: str | None, value: Value, type: Type) -> None:
        new = self.lw.whole(value)
        whole = self.lw.whole(self.base.take())
        self.base.put(assign_index(self.lw, whole, self.place, op, new, type))


def access(lw: Lowerer, place: tree.Place) -> Access:
    """Evaluate the index expressions of a place, outermost container first."""
    lw.ctx.models.settle_place(lw, place)
    type = lw.concrete(place.type)
    match place:
        case tree.PlaceVar(var=var):
            return VarAccess(lw, type, var.key)
        case tree.PlaceField(base=base, name=name):
            inner = access(lw, base)
            if isinstance(inner.type, ModelType):
                return lw.ctx.models.field_access(lw, inner, inner.type, name, type)
            index = [f for f, _ in lw.ctx.types.fields(inner.type)].index(name)  # type: ignore[arg-type]
            return _part(lw, type, inner, index)
        case tree.PlaceItem(base=base, index=index):
            inner = access(lw, base)
            items = lw.ctx.models.item_access(lw, inner, index, type)
            return items if items is not None else _part(lw, type, inner, index)
        case tree.PlaceElement(base=base, index=index_expr):
            inner = access(lw, base)
            items = lw.ctx.models.element_access(lw, inner, index_expr, type)
            return items if items is not None else ElementAccess(lw, type, inner, lw.value(index_expr))
        case tree.PlaceSome(base=base):
            inner = access(lw, base)
            submodel = lw.ctx.models.some_access(inner, type)
            return submodel if submodel is not None else SomeAccess(lw, type, inner)
        case tree.PlaceTensor(base=base, indices=indices):
            inner = access(lw, base)
            frozen = tuple(_freeze_index(lw, i) for i in indices)
            return TensorAccess(lw, type, inner, tree.PlaceTensor(place.type, place.span, base, frozen))
    raise AssertionError(f"no place {place!r}")


def overlap(lw: Lowerer, one: Access, other: Access) -> ir.Atom | None:
    """Whether two places within one variable are the same, or one is part of the other, for all that their indices
    say; None where no index decides."""
    decide: list[ir.Atom] = []
    for x, y in zip(_steps(one), _steps(other)):
        if isinstance(x, VarAccess) and isinstance(y, VarAccess):
            apart = any(i != j for i, j in zip(x.path, y.path))
        elif isinstance(x, PartAccess) and isinstance(y, PartAccess):
            apart = x.index != y.index
        elif isinstance(x, ElementAccess) and isinstance(y, ElementAccess):
            apart = _differ(x.index, y.index)
            decide.append(_same_element(lw, x, y))
        else:
            apart = not (isinstance(x, SomeAccess) and isinstance(y, SomeAccess))
        if apart:
            return None
    same = decide[0] if decide else None
    for more in decide[1:]:
        same = lw.op("bit_and", [same, more], ir.BOOL)  # type: ignore[list-item]
    return same


def _steps(place: Access) -> list[Access]:
    """From the variable to the place."""
    found = [place]
    while isinstance(place, PartAccess | ElementAccess | SomeAccess | TensorAccess):
        place = place.base
        found.append(place)
    return found[::-1]


def _differ(i: ir.Atom, j: ir.Atom) -> bool:
    """Are these constants that are never the same index, whatever the length?"""
    values = [a.value for a in (i, j) if isinstance(a, ir.Const) and isinstance(a.value, int)]
    return len(values) == 2 and values[0] != values[1] and (values[0] < 0) == (values[1] < 0)


def _same_element(lw: Lowerer, x: ElementAccess, y: ElementAccess) -> ir.Atom:
    kind = x.base.type
    assert isinstance(kind, Named)
    if kind.key == STD_TYPES["map"] or kind.key == STD_TYPES["store"]:
        return derive.equal(lw, kind.args[0], x.index, y.index)  # type: ignore[arg-type]
    return lw.op("eq", [_from_start(lw, x), _from_start(lw, y)], ir.BOOL)


def _from_start(lw: Lowerer, x: ElementAccess) -> ir.Atom:
    if isinstance(x.index, ir.Const) and isinstance(x.index.value, int) and x.index.value >= 0:
        return x.index
    size = lw.call_method(x.base.type, "_len", [lw.whole(x.base.load())])[0]
    behind = lw.op("lt", [x.index, integer(0)], ir.BOOL)
    return lw.op("select", [behind, lw.op("add", [x.index, size], ir.INT), x.index], ir.INT)


def _part(lw: Lowerer, type: Type, base: Access, index: int) -> Access:
    if isinstance(base, VarAccess):
        return VarAccess(lw, type, base.key, (*base.path, index))
    return PartAccess(lw, type, base, index)


def _freeze(lw: Lowerer, e: tree.Expr) -> tree.Expr:
    """The expression evaluated now, as one that can be read again."""
    if isinstance(e, (tree.Const, tree.DimValue)) or (isinstance(e, tree.Local) and not e.var.mutable):
        return e
    return lw.local("index", e.type, lw.value(e))


def _freeze_index(lw: Lowerer, index: tree.Expr | tree.SliceIndex) -> tree.Expr | tree.SliceIndex:
    if isinstance(index, tree.SliceIndex):
        start, stop, step = (None if e is None else _freeze(lw, e) for e in (index.start, index.stop, index.step))
        return tree.SliceIndex(start, stop, step, index.rest)
    return _freeze(lw, index)


APPENDED = 3
"""Pieces of a text that are added to another one by one; more are put together first."""


def update(lw: Lowerer, stmt: tree.Assign) -> None:
    """`place op= value`."""
    target, value, op = stmt.targets[0], stmt.values[0], stmt.op
    assert op is not None
    place = access(lw, target)
    lw.b.span = stmt.span
    if isinstance(place, TensorAccess):
        whole = lw.value(value)
        lw.b.span = stmt.span
        place.update(op, whole, value.type)
        return
    reads_first = place_root(target).key in assigned(lw.ctx, value)
    old = place.load() if reads_first else None
    text = lw.concrete(target.type) == STR and op == "+"
    new: list[derive.Piece] | Value = derive.pieces(lw, value) if text else lw.value(value)
    lw.b.span = stmt.span
    moved = old is None
    if old is None:
        # A value without counted parts is only read; anything else is taken out, to be changed in place.
        old = place.take()
    if isinstance(new, list):
        longer = lw.whole(old)
        for piece in new if len(new) <= APPENDED else [derive.Piece(derive.concat(lw, [p.text(lw) for p in new]))]:
            longer = piece.added(lw, longer)
        result: Value = longer
    else:
        result = lw.value(tree.Binary(target.type, stmt.span, op, lw.local("old", target.type, old),
                                      lw.local("new", value.type, new)))
    if moved:
        place.put(result)
    else:
        place.store(result)


