"""Submodels and parameters of a model as places: what is read of them are views of the model's vector and parts of its
state; what is written goes back there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from hybridc.base.types import ModelType, Option, Type, TypeVar
from hybridc.core import ir, tensor_build
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower.context import Context, Parts, Value
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.layout import Sub
from hybridc.front.lower.place import Access, replaced
from hybridc.front.lower.scan import place_root, walk


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
class PartOfModel(Access):
    """A submodel, or a container of them, inside the model that `owner` is a place of. Writing one back writes its
    state, and its parameters where they may be others."""

    def __init__(self, lw: Lowerer, type: Type, owner: Access, sub: Sub):
        super().__init__(lw, type)
        self.owner, self.sub = owner, sub
        self.view: ir.Atom | None = None

    @abstractmethod
    def at(self) -> ir.Atom:
        """Where its parameters begin in the owner's vector."""

    @abstractmethod
    def state_of(self, owner: Value) -> Value:
        """Its state in an owner."""

    @abstractmethod
    def with_state(self, owner: Value, state: Value) -> Value:
        """The owner with another state of this part."""

    def load(self) -> Value:
        lw, owner = self.lw, self.owner.load()
        state = None if self.sub.state is None else self.state_of(owner)
        value = lw.ctx.models.build(lw, self.sub, self.type, lw.whole(lw.item(owner, 0)), self.at(), state)
        if isinstance(value, Parts) and self.sub.kind == "model":
            self.view = lw.whole(value.items[0])
        return value

    def store(self, value: Value) -> None:
        self.write(value, False)

    def write(self, value: Value, params_kept: bool) -> None:
        lw, sub = self.lw, self.sub
        if isinstance(self.type, Option):
            raise lw.refuse("HYB806", "whether there is an optional submodel is settled when the program is compiled",
                            lw.b.span, "change it in place: `if self.sub != none: self.sub = Sub(3)`")
        if sub.kind != "model":
            raise lw.refuse("HYB806", "a list, tuple or map of submodels is not assigned as a whole", lw.b.span)
        new = lw.apart(value)
        assert isinstance(new, Parts)
        whole = lw.apart(self.owner.take())
        if sub.state is not None:
            whole = self.with_state(whole, Parts(sub.state, new.items[1:]))
        if not params_kept and new.items[0] != self.view:
            whole = write_params(lw, whole, self.at(), sub.size, lw.whole(new.items[0]))
        self.owner.put(whole)


class SubAccess(PartOfModel):
    """A submodel field."""

    def at(self) -> ir.Atom:
        return integer(self.sub.offset)

    def state_of(self, owner: Value) -> Value:
        assert self.sub.index is not None
        return self.lw.item(owner, self.sub.index)

    def with_state(self, owner: Value, state: Value) -> Value:
        assert self.sub.index is not None
        return replaced(self.lw, owner, (self.sub.index,), state)


class MissingPart(Access):
    """A submodel that this configuration does not have, where an option was found to be there or an index or key was
    found among none: never reached."""

    def load(self) -> Value:
        kind = self.lw.ctx.types.inner(self.type)
        return self.lw.op("unwrap", [self.lw.op("none", [], ir.OptionT(kind))], kind)

    def store(self, value: Value) -> None:
        pass


class ItemAccess(PartOfModel):
    """A submodel in a list, tuple or map of them."""

    def __init__(self, lw: Lowerer, type: Type, container: PartOfModel, index: ir.Atom):
        items = container.sub.items
        super().__init__(lw, type, container.owner, items[int(index.value) if isinstance(index, ir.Const) else 0])
        self.container, self.index = container, index

    def at(self) -> ir.Atom:
        lw, start = self.lw, self.container.at()
        if isinstance(self.index, ir.Const):
            return offset(lw, start, self.sub.offset)
        along = lw.op("mul", [self.index, integer(self.container.sub.stride)], ir.INT)
        return offset(lw, along, int(start.value)) if isinstance(start, ir.Const) else lw.op(
            "add", [along, start], ir.INT)

    def _place(self) -> ir.Atom:
        """Where its state is among those of the container."""
        if isinstance(self.index, ir.Const) and self.container.sub.in_tuple:
            return integer(self.container.sub.state_place(int(self.index.value)))
        return self.index

    def state_of(self, owner: Value) -> Value:
        return self.lw.ctx.models.state_item(
            self.lw, self.container.sub, self.container.state_of(owner), self._place())

    def with_state(self, owner: Value, state: Value) -> Value:
        lw, place = self.lw, self._place()
        all_states = lw.apart(self.container.state_of(owner))
        if self.container.sub.in_tuple:
            assert isinstance(place, ir.Const)
            return self.container.with_state(owner, replaced(lw, all_states, (int(place.value),), state))
        data = lw.whole(lw.item(all_states, 0))
        changed = lw.op("buffer_set", [data, place, lw.whole(state)], data.type)
        return self.container.with_state(owner, replaced(lw, all_states, (0,), changed))


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
                if isinstance(node, tree.CallMethod) and rooted(node.place):
                    return False
    return True


_PLACES = (tree.PlaceVar, tree.PlaceField, tree.PlaceItem, tree.PlaceElement, tree.PlaceTensor, tree.PlaceSome)
