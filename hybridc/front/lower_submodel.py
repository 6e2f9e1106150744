"""Submodels and parameters of a model as places: what is read of them are views of the model's vector and parts of its
state; what is written goes back there."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import ModelType, Type, TypeVar
from hybridc.core import ir, tensor_build
from hybridc.core.builder import integer
from hybridc.front import tree
from hybridc.front.lower_context import Context, Parts, Value
from hybridc.front.lower_core import Lowerer
from hybridc.front.lower_layout import ParamSlot, Sub
from hybridc.front.lower_place import Access, replaced
from hybridc.front.lower_scan import place_root, walk


# ---- views -----------------------------------------------------------------------------------------------------------
def view(lw: Lowerer, params: ir.Atom, at: ir.Atom, t: Type, shape: Sequence[int]) -> ir.Atom:
    """A parameter, in the flat vector."""
    return lw.op("tensor_view", [params, at, *map(integer, shape)], lw.type(t))


def offset(lw: Lowerer, at: ir.Atom, more: int) -> ir.Atom:
    if isinstance(at, ir.Const):
        return integer(int(at.value) + more)
    return lw.op("add", [at, integer(more)], ir.INT) if more else at


def strided(lw: Lowerer, sub: Sub, i: ir.Atom) -> ir.Atom:
    """Where item `i` of a list of submodels begins."""
    if isinstance(i, ir.Const):
        return integer(sub.offset + int(i.value) * sub.stride)
    return offset(lw, lw.op("mul", [i, integer(sub.stride)], ir.INT), sub.offset)


# ---- places ----------------------------------------------------------------------------------------------------------
class SubAccess(Access):
    """A submodel field. Writing one back writes its state, and its parameters where they may be others."""

    def __init__(self, lw: Lowerer, type: Type, base: Access, sub: Sub):
        super().__init__(lw, type)
        self.base, self.sub = base, sub
        self.view: ir.Atom | None = None

    def load(self) -> Value:
        lw = self.lw
        value = lw.ctx.models.sub_of(lw, self.base.load(), self.sub, self.type)
        if isinstance(value, Parts) and self.sub.kind == "model":
            self.view = lw.whole(value.items[0])
        return value

    def store(self, value: Value) -> None:
        self.write(value, False)

    def write(self, value: Value, params_kept: bool) -> None:
        lw = self.lw
        if self.sub.kind != "model":
            raise lw.refuse("HYB806", "a list, tuple or map of submodels is not assigned as a whole", lw.b.span)
        new = lw.apart(value)
        assert isinstance(new, Parts)
        whole = self.base.take()
        if self.sub.index is not None:
            state = Parts(_must(self.sub.state), new.items[1:])
            whole = replaced(lw, whole, (self.sub.index,), state)
        if not params_kept and new.items[0] != self.view:
            whole = write_params(lw, whole, integer(self.sub.offset), self.sub.size, lw.whole(new.items[0]))
        self.base.put(whole)


class ItemAccess(Access):
    """A submodel in a list, tuple or map of them."""

    def __init__(self, lw: Lowerer, type: Type, field: SubAccess, index: ir.Atom):
        super().__init__(lw, type)
        self.field, self.index = field, index
        self.view: ir.Atom | None = None

    def _item(self) -> Sub:
        sub = self.field.sub
        return sub.items[int(self.index.value)] if isinstance(self.index, ir.Const) else sub.items[0]

    def _at(self) -> ir.Atom:
        sub = self.field.sub
        if isinstance(self.index, ir.Const):
            return integer(sub.offset + sub.items[int(self.index.value)].offset)
        return strided(self.lw, sub, self.index)

    def _state_index(self) -> ir.Atom:
        sub = self.field.sub
        if sub.kind == "tuple":
            assert isinstance(self.index, ir.Const)
            return integer(sum(s.state is not None for s in sub.items[: int(self.index.value)]))
        return self.index

    def load(self) -> Value:
        lw, sub, item = self.lw, self.field.sub, self._item()
        owner = self.field.base.load()
        state: Value | None = None
        if item.state is not None:
            assert sub.index is not None
            state = lw.ctx.models.state_item(lw, sub, lw.item(owner, sub.index), self._state_index())
        value = lw.ctx.models.build(lw, item, self.type, lw.whole(lw.item(owner, 0)), self._at(), state)
        if isinstance(value, Parts):
            self.view = lw.whole(value.items[0])
        return value

    def store(self, value: Value) -> None:
        self.write(value, False)

    def write(self, value: Value, params_kept: bool) -> None:
        lw, sub, item = self.lw, self.field.sub, self._item()
        new = lw.apart(value)
        assert isinstance(new, Parts)
        whole = lw.apart(self.field.base.take())
        if item.state is not None:
            assert sub.index is not None
            state = Parts(item.state, new.items[1:])
            index = self._state_index()
            if sub.kind == "tuple":
                assert isinstance(index, ir.Const)
                whole = replaced(lw, whole, (sub.index, int(index.value)), state)
            else:
                data = lw.whole(lw.item(lw.item(whole, sub.index), 0))
                changed = lw.op("buffer_set", [data, index, lw.whole(state)], data.type)
                whole = replaced(lw, whole, (sub.index, 0), changed)
        if not params_kept and new.items[0] != self.view:
            whole = write_params(lw, whole, self._at(), item.size, lw.whole(new.items[0]))
        self.field.base.put(whole)


class ParamAccess(Access):
    """A parameter, as a place."""

    def __init__(self, lw: Lowerer, type: Type, base: Access, slot: ParamSlot):
        super().__init__(lw, type)
        self.base, self.slot = base, slot

    def load(self) -> Value:
        params = self.lw.whole(self.lw.item(self.base.load(), 0))
        return view(self.lw, params, integer(self.slot.offset), self.slot.type, self.slot.shape)

    def store(self, value: Value) -> None:
        size = 1
        for n in self.slot.shape:
            size *= n
        flat = tensor_build.reshape(self.lw.b, self.lw.whole(value), [integer(size)])
        whole = self.base.take()
        self.base.put(write_params(self.lw, whole, integer(self.slot.offset), size, flat))


def write_params(lw: Lowerer, owner: Value, at: ir.Atom, size: int, vector: ir.Atom) -> Value:
    """The owner with a part of its vector replaced."""
    params = lw.whole(lw.item(owner, 0))
    stop = offset(lw, at, size)
    return replaced(lw, owner, (0,), tensor_build.update(lw.b, params, ("ab",), vector, [at, stop], (0,)))


def keeps_params(
    ctx: Context, decl: tree.FnDecl, position: int, seen: frozenset[tuple[str, int]] = frozenset()
) -> bool:
    """Whether a function leaves the parameters of the model at a `mut` position as they are."""
    if (decl.key, position) in seen:
        return True
    seen = seen | {(decl.key, position)}
    key = decl.params[position].var.key

    def rooted(place: object) -> bool:
        return isinstance(place, _PLACES) and place_root(place).key == key  # type: ignore[arg-type]

    for node in walk(decl.body):
        match node:
            case tree.Builtin(name="set_params", args=args) if rooted(args[0]):
                return False
            case tree.Assign(targets=targets):
                if any(rooted(p) and isinstance(p.type, (ModelType, TypeVar)) for p in targets):
                    return False
            case tree.Call(fn=fn, args=args):
                for i, arg in enumerate(args):
                    if arg.place is not None and rooted(arg.place) and isinstance(
                            arg.place.type, (ModelType, TypeVar)):
                        if not keeps_params(ctx, ctx.fn(fn.key), i, seen):
                            return False
            case tree.CallValue(args=args) | tree.CallMethod(args=args):
                if any(rooted(a.place) for a in args):
                    return False
                if isinstance(node, tree.CallMethod) and rooted(node.receiver.place):
                    return False
    return True


_PLACES = (tree.PlaceVar, tree.PlaceField, tree.PlaceItem, tree.PlaceElement, tree.PlaceTensor)


def _must(t: ir.Type | None) -> ir.Type:
    assert t is not None
    return t
