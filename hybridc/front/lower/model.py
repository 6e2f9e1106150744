"""Models as values: reading parameters and submodels, writing state and submodels back, building one from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hybridc.base.source import Span
from hybridc.base.types import (
    FLOATS,
    STD_TYPES,
    STR,
    ModelType,
    Named,
    Option,
    Prim,
    Tensor,
    TupleType,
    Type,
)
from hybridc.core import ir, tensor_build
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower import derive
from hybridc.front.lower.choice import chosen, dispatch, key_index
from hybridc.front.lower.core import Lowerer, Parts, Value, generated, lowers, outside
from hybridc.front.lower.expr import config_constant, empty, make_list
from hybridc.front.lower.layout import Layout, Layouts, ParamSlot, StateSlot, Sub, leaves
from hybridc.front.lower.mixed import CHOSEN, ONE_BY_ONE, WHOLE, alias, choice, found, is_element, position, settle
from hybridc.front.lower.place import Access, PartAccess, VarAccess, replaced
from hybridc.front.lower.static import static, static_or_none
from hybridc.front.lower.submodel import ItemAccess, MissingPart, PartOfModel, SubAccess, offset, strided, view
from hybridc.front.lower.tensor_init import init_tensor
from hybridc.front.lower.types import UNKNOWN

Indexed = tuple[Type, ir.Atom, Callable[[ir.Atom], Value]]


class Models(Layouts):
    """What lowering does with models."""

    def struct(self, t: ModelType) -> str:
        return self.layout(t).struct

    def compared(self, lw: Lowerer, t: ModelType, value: ir.Atom) -> Iterator[tuple[Type, ir.Atom]]:
        """What a model consists of: its parameters, and every persistent value of it and of its submodels."""
        yield Tensor(self.layout(t).elem, (UNKNOWN,)), lw.whole(lw.item(value, 0))
        yield from self._states(lw, t, value, 1)

    def _states(self, lw: Lowerer, t: ModelType, value: Value, first: int) -> Iterator[tuple[Type, ir.Atom]]:
        """The persistent values, from the field `first` on of a model or of its state struct."""
        layout = self.layout(t)
        for slot in layout.states.values():
            yield slot.type, lw.whole(lw.item(value, slot.index - 1 + first))
        for sub in layout.subs.values():
            if sub.index is not None:
                yield from self._sub_states(lw, sub, lw.item(value, sub.index - 1 + first))

    def _sub_states(self, lw: Lowerer, sub: Sub, state: Value) -> Iterator[tuple[Type, ir.Atom]]:
        if sub.model is not None:
            yield from self._states(lw, sub.model, state, 0)
        for place, item in enumerate(i for i in sub.items if i.state is not None):
            yield from self._sub_states(lw, item, self.state_item(lw, sub, state, integer(place)))

    # ---- reading
    def is_part(self, lw: Lowerer, e: tree.Expr) -> bool:
        """Whether an expression that is no call or field means a submodel."""
        if not self.any_mixed or found(lw, e) is None:
            if self.any_mixed and choice(lw, e) is not None:
                raise lw.refuse("HYB809", CHOSEN, e.span, "call its methods, as in `m(x)`")
            return False
        return True

    def field_of(self, lw: Lowerer, e: tree.Field) -> Value:
        picked = chosen(lw, e)
        if picked is not None:
            result = dispatch(lw, e, picked)
            assert result is not None
            return result
        value = lw.value(e.value)
        t = lw.concrete(e.value.type)
        assert isinstance(t, ModelType)
        layout = self.layout(t)
        lw.b.span = e.span
        if e.name in layout.missing:
            return lw.op("none", [], lw.type(e.type))
        slot = layout.params.get(e.name)
        if slot is not None:
            read = view(lw, lw.whole(lw.item(value, 0)), integer(slot.offset), slot.type, slot.shape)
            optional = isinstance(lw.concrete(e.type), Option)
            return lw.op("some", [lw.whole(read)], lw.type(e.type)) if optional else read
        if e.name in layout.states:
            return lw.item(value, layout.states[e.name].index)
        sub = layout.subs.get(e.name)
        if sub is None:
            for param, given in zip(layout.decl.config, t.config, strict=True):
                if param.name == e.name:
                    return config_constant(lw, given, lw.concrete(e.type), e)
            raise AssertionError(f"{t} has no {e.name}")
        settle(lw, e.type, sub)
        return self.sub_of(lw, value, sub, lw.concrete(e.type))

    def sub_of(self, lw: Lowerer, owner: Value, sub: Sub, t: Type) -> Value:
        state = None if sub.index is None else lw.item(owner, sub.index)
        return self.build(lw, sub, t, lw.whole(lw.item(owner, 0)), integer(sub.offset), state)

    def build(self, lw: Lowerer, sub: Sub, t: Type, params: ir.Atom, at: ir.Atom, state: Value | None) -> Value:
        """The value of a submodel field: views of the owner's parameters beside its state."""
        if sub.mixed:
            raise lw.refuse("HYB809", WHOLE, lw.b.span, ONE_BY_ONE)
        if isinstance(t, Option):
            kind = lw.ctx.types.inner(t)
            if sub.kind == "none":
                return lw.op("none", [], kind)
            return lw.op("some", [lw.whole(self.build(lw, sub, t.item, params, at, state))], kind)
        if sub.kind == "model":
            assert sub.model is not None
            layout = self.layout(sub.model)
            vector = lw.op("tensor_view", [params, at, integer(layout.size)], ir.TensorT(layout.elem, (layout.size,)))
            fields = [] if state is None else [lw.item(state, i) for i in range(self._state_count(layout))]
            return Parts(ir.StructT(layout.struct), (vector, *fields))
        items: list[Value] = []
        position = 0
        for item, kind_of in zip(sub.items, _item_types(sub, t), strict=True):
            own: Value | None = None
            if item.state is not None:
                assert state is not None
                own = self.state_item(lw, sub, state, integer(position))
                position += 1
            items.append(self.build(lw, item, kind_of, params, offset(lw, at, item.offset), own))
        if sub.kind == "tuple":
            return Parts(lw.ctx.types.inner(t), tuple(items))
        assert isinstance(t, Named)
        if sub.kind == "list":
            return make_list(lw, t, [lw.whole(i) for i in items])
        whole = lw.whole(empty(lw, t))
        for i, item_value in enumerate(items):
            whole = lw.call_method(t, "_set", [whole, lw.expr(sub.key(i, lw.b.span)), lw.whole(item_value)])[-1]
        return whole

    def _state_count(self, layout: Layout) -> int:
        return len(self.ctx.core.structs[layout.struct].fields) - 1

    def state_item(self, lw: Lowerer, sub: Sub, state: Value, index: ir.Atom) -> Value:
        if sub.in_tuple:
            assert isinstance(index, ir.Const)
            return lw.item(state, int(index.value))
        item = sub.items[0].state
        assert item is not None
        return lw.op("buffer_get", [lw.whole(lw.item(state, 0)), index], item)

    def list_field(self, lw: Lowerer, t: ModelType, owner: tree.Expr, name: str) -> Indexed | None:
        """A list of submodels without making the list: its item type, length, and how to get one."""
        sub = self.layout(t).subs.get(name)
        if sub is None or sub.kind != "list" or sub.optional or sub.mixed:
            return None
        if not sub.items or sub.items[0].kind != "model":
            return None
        value = lw.value(owner)
        params = lw.whole(lw.item(value, 0))
        state = None if sub.index is None else lw.item(value, sub.index)
        item = sub.items[0].model
        assert item is not None

        def at(i: ir.Atom) -> Value:
            own = None if state is None else self.state_item(lw, sub, state, i)
            return self.build(lw, sub.items[0], item, params, strided(lw, sub, i), own)

        return item, integer(len(sub.items)), at

    def element(self, lw: Lowerer, e: tree.Call) -> Value | None:
        """`self.layers[i]`, `self.named["left"]` without making the container; None for anything else."""
        if not is_element(e):
            return None
        first, index = e.args[0].value, e.args[1].value
        assert first is not None and index is not None
        container = found(lw, first)
        if container is None or container.optional:
            return None
        if found(lw, e) is not None:
            return self.part(lw, e)
        if container.mixed:
            raise lw.refuse("HYB809", CHOSEN, e.span, "call its method here, as in `self.layers[i](x)`")
        owner = lw.concrete(first.value.type) if isinstance(first, tree.Field) else None
        if not isinstance(first, tree.Field) or not isinstance(owner, ModelType) or container.kind != "list":
            return None
        listed = self.list_field(lw, owner, first.value, first.name)
        if listed is None:
            return None
        at = lw.expr(index)
        lw.b.span = e.span
        return listed[2](self.checked_index(lw, at, len(container.items)))

    def part(self, lw: Lowerer, e: tree.Expr) -> Value:
        """A submodel, or a container of them, that an expression is known to mean."""
        sub = found(lw, e)
        assert sub is not None
        params, at, state = self._located(lw, e)
        settle(lw, e.type, sub)
        return self.build(lw, sub, lw.concrete(e.type), params, at, state)

    def _located(self, lw: Lowerer, e: tree.Expr) -> tuple[ir.Atom, ir.Atom, Value | None]:
        """The vector in which its parameters are, from where on, and its state."""
        match e:
            case tree.Local(var=var):
                named = alias(lw, var.key)
                assert named is not None
                return self._located(lw, named)
            case tree.Field(value=owner):
                sub = found(lw, e)
                value = lw.value(owner)
                lw.b.span = e.span
                assert sub is not None
                state = None if sub.index is None else lw.item(value, sub.index)
                return lw.whole(lw.item(value, 0)), integer(sub.offset), state
            case tree.TupleItem(value=container):
                return self._located_item(lw, container, e.index)
            case tree.Call():
                inside, index = e.args[0].value, e.args[1].value
                assert inside is not None and index is not None
                held = found(lw, inside)
                assert held is not None
                place = position(held, static(lw, index))
                assert place is not None
                return self._located_item(lw, inside, place)
            case tree.Unwrap(value=inner) | tree.Refine(value=inner):
                return self._located(lw, inner)
        raise AssertionError(f"no submodel: {e}")

    def _located_item(self, lw: Lowerer, container: tree.Expr, place: int) -> tuple[ir.Atom, ir.Atom, Value | None]:
        sub = found(lw, container)
        assert sub is not None
        params, at, state = self._located(lw, container)
        item = sub.items[place]
        own: Value | None = None
        if item.state is not None:
            assert state is not None
            own = self.state_item(lw, sub, state, integer(sub.state_place(place)))
        return params, offset(lw, at, item.offset), own

    def checked_index(self, lw: Lowerer, i: ir.Atom, n: int) -> ir.Atom:
        """An index from the front; IndexError when out of range."""
        if isinstance(i, ir.Const) and -n <= i.value < n:
            return integer(int(i.value) % n)
        return lw.op("place", [i, integer(n)], ir.INT)

    # ---- writing
    def settle_place(self, lw: Lowerer, place: tree.Place) -> None:
        """Let an open configuration in the type of a place be that of the submodel there."""
        if holds_open(place.type):
            sub = found(lw, place)
            if sub is not None:
                settle(lw, place.type, sub)

    def field_access(self, lw: Lowerer, base: Access, model: ModelType, name: str, t: Type) -> Access:
        layout = self.layout(model)
        if name in layout.states:
            index = layout.states[name].index
            if isinstance(base, VarAccess):
                return VarAccess(lw, t, base.key, (*base.path, index))
            return PartAccess(lw, t, base, index)
        return SubAccess(lw, t, base, layout.subs[name])

    def item_access(self, lw: Lowerer, base: Access, index: int, t: Type) -> Access | None:
        return ItemAccess(lw, t, base, integer(index)) if isinstance(base, PartOfModel) else None

    def some_access(self, base: Access, t: Type) -> Access | None:
        """An optional submodel that is there."""
        if not isinstance(base, PartOfModel):
            return None
        if base.sub.kind == "none":
            return MissingPart(base.lw, t)
        base.type = t
        return base

    def element_access(self, lw: Lowerer, base: Access, index: tree.Expr, t: Type) -> Access | None:
        if not isinstance(base, PartOfModel):
            return None
        known = static_or_none(lw, index)
        fixed = None if known is None else position(base.sub, known)
        if fixed is not None:
            return ItemAccess(lw, t, base, integer(fixed))
        at = lw.expr(index)
        count = len(base.sub.items)
        place = key_index(lw, base.sub, at) if base.sub.kind == "map" else self.checked_index(lw, at, count)
        return ItemAccess(lw, t, base, place) if count else MissingPart(lw, t)

    # ---- whole vectors
    def with_params(self, lw: Lowerer, t: ModelType, value: Value, vector: ir.Atom, span: Span) -> Value:
        """The model over another vector; ValueError if its length is another."""
        layout = self.layout(t)
        size = lw.op("dim", [vector], ir.INT, axis=0)
        ok = lw.op("eq", [size, integer(layout.size)], ir.BOOL)
        lw.check(ok, "ValueError", f"the vector does not have the {layout.size} parameters of {layout.struct}", span)
        return replaced(lw, value, (0,), vector)

    # ---- building
    def init(self, t: ModelType) -> str:
        """The Core function that builds a model from a seed."""
        layout = self.layout(t)

        def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
            vectors: list[ir.Atom] = []
            index = 0
            for leaf in leaves(self, t):
                if isinstance(leaf.slot, ParamSlot):
                    made = self._init_param(lw, leaf.model, leaf.slot, v[0], index)
                    vectors.append(made)
                    index += 1
            if vectors:
                params = vectors[0] if len(vectors) == 1 else tensor_build.concat(lw.b, vectors, 0)
            else:
                params = tensor_build.full(lw.b, ir.Const(0.0, layout.elem), [integer(0)])
            fields: list[ir.Atom] = []
            if layout.state is not None:
                state = lw.b.call(self.init_state(t), [], [layout.state])[0]
                fields = [lw.whole(lw.item(state, i)) for i in range(self._state_count(layout))]
            return [lw.op("struct", [params, *fields], ir.StructT(layout.struct))]

        title = layout.decl.name
        return self.ctx.later(f"{layout.struct}.init", lambda symbol: generated(
            self.ctx, symbol, title, [("seed", ir.INT)], [ir.StructT(layout.struct)], body))

    def _init_param(self, lw: Lowerer, model: ModelType, slot: ParamSlot, seed: ir.Atom, index: int) -> ir.Atom:
        """A parameter's first values, as a vector."""
        made = Lowerer(self.ctx)
        made.b, made.env, made.kinds, made.name = lw.b, lw.env, lw.kinds, lw.name
        made.model = model
        self.enter(made, model)
        lw.b.span = slot.decl.span
        key = derive.mixed(lw, derive.spread(lw, seed), integer(index + 1))
        value = init_tensor(made, slot.init, key)
        size = 1
        for n in slot.shape:
            size *= n
        return tensor_build.reshape(lw.b, value, [integer(size)])

    def init_state(self, t: ModelType) -> str:
        """The Core function that gives a model's first state."""
        layout = self.layout(t)
        assert layout.state is not None
        state = layout.state

        def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
            lw.model = t
            self.enter(lw, t)
            values: list[ir.Atom] = []
            for slot in layout.states.values():
                lw.b.span = slot.decl.span
                values.append(self._first_value(lw, slot))
            for sub in layout.subs.values():
                if sub.state is not None:
                    values.append(self._first_state(lw, sub))
            return [lw.op("struct", values, state)]

        return self.ctx.later(f"{layout.struct}.init state", lambda symbol: generated(
            self.ctx, symbol, layout.decl.name, [], [state], body))

    def _first_value(self, lw: Lowerer, slot: StateSlot) -> ir.Atom:
        if slot.decl.init is not None:
            return lw.expr(slot.decl.init)
        return zero(lw, slot.type, slot.decl.span)

    def _first_state(self, lw: Lowerer, sub: Sub) -> ir.Atom:
        assert sub.state is not None
        if sub.kind == "model":
            assert sub.model is not None
            return lw.b.call(self.init_state(sub.model), [], [sub.state])[0]
        items = [self._first_state(lw, i) for i in sub.items if i.state is not None]
        if sub.in_tuple:
            return lw.op("tuple", items, sub.state)
        kind = ir.BufferT(items[0].type)
        data: ir.Atom = lw.op("buffer_new", [integer(len(items))], kind)
        for i, item in enumerate(items):
            data = lw.op("buffer_set", [data, integer(i), item], kind)
        return lw.op("struct", [data, integer(len(items))], sub.state)


# ---- helpers --------------------------------------------------------------------------------------------------------
def _item_types(sub: Sub, t: Type) -> list[Type]:
    if isinstance(t, TupleType):
        return list(t.items)
    assert isinstance(t, Named)
    return [t.args[-1]] * len(sub.items)  # type: ignore[list-item]


# ---- values without an initialiser, new models -----------------------------------------------------------------------
def zero(lw: Lowerer, t: Type, span: Span) -> ir.Atom:
    """The empty value of a type."""
    match t:
        case Prim():
            return ir.Const(False if t == ir.BOOL else 0.0 if t in FLOATS else 0, t)
        case Tensor(elem, shape):
            value = ir.Const(False if elem == ir.BOOL else 0.0 if elem in FLOATS else 0, elem)  # type: ignore[arg-type]
            return tensor_build.full(lw.b, value, [lw.dim(d) for d in shape])  # type: ignore[arg-type]
        case Option():
            return lw.op("none", [], lw.type(t))
        case TupleType(items):
            return lw.op("tuple", [zero(lw, i, span) for i in items], lw.type(t))
        case Named() if t == STR:
            return lw.text("")
        case Named(key) if key in STD_TYPES.values():
            return lw.whole(empty(lw, t))
    raise lw.refuse("HYB601", "this state needs a first value", span, "write `= ...`")


@lowers(tree.MakeModel)
def make_model(lw: Lowerer, e: tree.MakeModel) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, ModelType)
    seed = integer(0) if e.seed is None else lw.expr(e.seed)
    lw.b.span = e.span
    with outside(e.span):
        struct = lw.ctx.models.struct(t)
    return lw.b.call(lw.ctx.models.init(t), [seed], [ir.StructT(struct)])[0]
